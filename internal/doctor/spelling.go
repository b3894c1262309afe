package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"flipside/internal/device"
)

// othersKeys are keys of Mender's client that mean nothing to flipside. They are no misspellings.
var othersKeys = [...]string{
	"Servers", "ServerURL", "TenantToken", "DeviceTier", "UpdatePollIntervalSeconds", "InventoryPollIntervalSeconds",
	"RetryPollIntervalSeconds", "RetryPollCount", "RetryDownloadCount", "DaemonLogLevel", "UpdateLogPath",
	"UpdateControlMapExpirationTimeSeconds", "UpdateControlMapBootExpirationTimeSeconds",
	"BootUtilitiesSetActivePart", "BootUtilitiesGetNextActivePart", "Connectivity", "DBus", "Security",
}

// spelling: a key that nobody knows is ignored, which is how Mender's keys for its server are
// treated, and how a misspelled key disappears.
func (e *examination) spelling(path string, data []byte) {
	var config struct{ HttpsClient json.RawMessage }
	names, err := objectKeys(data)
	if err != nil || json.Unmarshal(bytes.TrimPrefix(data, bom), &config) != nil {
		return // the configuration's own check says so
	}
	known := reflect.TypeFor[device.Config]()
	e.misspelled(path, "", names, append(fieldsOf(known), othersKeys[:]...))
	if client, ok := known.FieldByName("HttpsClient"); ok && len(config.HttpsClient) > 0 {
		if names, err := objectKeys(config.HttpsClient); err == nil {
			e.misspelled(path, "HttpsClient.", names, append(fieldsOf(client.Type), "SSLEngine"))
		}
	}
}

var bom = []byte("\xef\xbb\xbf")

func fieldsOf(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		names = append(names, t.Field(i).Name)
	}
	return names
}

func (e *examination) misspelled(path, prefix string, names, known []string) {
	seen := map[string]bool{}
	for _, name := range names {
		if lower := strings.ToLower(name); seen[lower] {
			e.warn(Configuration, "keep one of them", "%s has the key %s%s twice: only the last one counts", path, prefix, name)
		} else {
			seen[lower] = true
		}
		meant, ok := nearest(name, known)
		if !ok {
			continue
		}
		fix := fmt.Sprintf("write it %s%s, or remove it", prefix, meant)
		text := fmt.Sprintf("%s has the key %s%s, which means nothing; it looks like %s%s", path, prefix, name, prefix, meant)
		if strings.HasPrefix(meant, "ArtifactVerifyKey") {
			e.problem(Configuration, fix, "%s: signatures may be meant to be checked, and are not", text)
		} else {
			e.warn(Configuration, fix, "%s", text)
		}
	}
}

// maxTypos is how many letters may be wrong in what still looks like a key.
const maxTypos = 2

// nearest is the known key that name is a misspelling of, if it is one.
func nearest(name string, known []string) (string, bool) {
	best, bestTypos := "", maxTypos+1
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return "", false
		}
		if n := distance(letters(name), letters(k)); n < bestTypos && n*2 < len(k) {
			best, bestTypos = k, n
		}
	}
	return best, best != ""
}

// letters is a key without what people put between words.
func letters(key string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(key))
}

// distance is how many bytes have to be inserted, removed or replaced to get from a to b
// (Levenshtein). Keys are short; what is not is far from all of them.
func distance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// objectKeys are the keys of a JSON object as they stand in the file, each as often as it does.
func objectKeys(data []byte) (names []string, err error) {
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, bom)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("not an object: %v", err)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("%v is not a key", t)
		}
		names = append(names, name)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
	}
	return names, nil
}
