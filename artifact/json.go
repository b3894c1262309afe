package artifact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// object is a JSON object, one level deep. Keys are exact: package json would take "Payloads" for
// "payloads", and the last of two equal keys, so that two readers may see two different things.
type object map[string]json.RawMessage

// parseObject takes text for one JSON object in which, at any depth, no key stands twice.
func parseObject(text []byte) (object, error) {
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil || o == nil {
		return nil, errors.New("not a JSON object")
	}
	return o, nil
}

// sub is the object under key; nil if there is none.
func (o object) sub(key string) (object, error) {
	raw, ok := o[key]
	if !ok {
		return nil, nil
	}
	var s object
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return nil, fmt.Errorf("%s is not a JSON object", key)
	}
	return s, nil
}

// word is the string under key, fit to be printed; "" if there is none or it is empty.
func (o object) word(key string) (string, error) {
	raw, ok := o[key]
	if !ok {
		return "", nil
	}
	s, err := parseString(raw)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	if s == "" {
		return "", nil
	}
	if err := checkWord(s); err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return s, nil
}

// stringMap is the object of strings under key; nil if there is none.
func (o object) stringMap(key string) (map[string]string, error) {
	sub, err := o.sub(key)
	if err != nil || sub == nil {
		return nil, err
	}
	m := make(map[string]string, len(sub))
	for k, raw := range sub {
		if err := checkWord(k); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if m[k], err = parseString(raw); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", key, k, err)
		}
	}
	return m, nil
}

// parseString is strict where package json takes null for "".
func parseString(raw json.RawMessage) (string, error) {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", fmt.Errorf("%.40s is not a string", raw)
	}
	return *s, nil
}

// parseStrings takes a list of strings; never nil without an error.
func parseStrings(raw json.RawMessage) ([]string, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || list == nil {
		return nil, fmt.Errorf("%.40s is not a list of strings", raw)
	}
	values := make([]string, len(list))
	for i, raw := range list {
		var err error
		if values[i], err = parseString(raw); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// checkJSON refuses what different readers may read differently.
func checkJSON(text []byte) error {
	if len(text) > maxJSON {
		return fmt.Errorf("%d bytes of JSON; at most %d are accepted", len(text), maxJSON)
	}
	if !utf8.Valid(text) || !json.Valid(text) {
		return errors.New("not valid JSON")
	}
	var open []map[string]bool // the objects around us with their keys; nil for a list
	key := false               // a key is due
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return nil // the end: it is valid JSON
		}
		switch t := token.(type) {
		case json.Delim:
			if open, err = nest(open, t); err != nil {
				return err
			}
		case string:
			if key {
				if open[len(open)-1][t] {
					return fmt.Errorf("key %q stands twice", t)
				}
				open[len(open)-1][t] = true
				key = false
				continue
			}
		}
		key = len(open) > 0 && open[len(open)-1] != nil
	}
}

func nest(open []map[string]bool, d json.Delim) ([]map[string]bool, error) {
	switch d {
	case '{':
		open = append(open, map[string]bool{})
	case '[':
		open = append(open, nil)
	default:
		return open[:len(open)-1], nil
	}
	if len(open) > maxJSONDepth {
		return nil, fmt.Errorf("JSON is nested deeper than %d", maxJSONDepth)
	}
	return open, nil
}
