package artifact

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Header is what an artifact says of itself, verified: nothing of it is handed out before the
// manifest's signature (if keys were given) and the header's checksum were found right.
type Header struct {
	Name  string // artifact_name, never empty
	Group string // artifact_group, "" if none

	Depends        Depends  // header and type-info together; "device_type" is always there
	Provides       Provides // type-info artifact_provides; nil if the key is absent
	ClearsProvides []string // type-info clears_artifact_provides; nil if absent, empty if []

	Payloads []PayloadHeader // exactly one
	Scripts  []Script        // in order of the archive

	Signed bool            // a signature is there (it was verified only if keys were given)
	Info   json.RawMessage // header-info as it stands in the artifact
}

// PayloadHeader describes one payload.
type PayloadHeader struct {
	Type     string          // "rootfs-image", …; "" is the null payload of a bootstrap artifact
	TypeInfo json.RawMessage // type-info as it stands in the artifact
	MetaData json.RawMessage // meta-data, a JSON object; nil if there is none
}

// Script is a state script as delivered. Its name was accepted by ParseScriptName.
type Script struct {
	Name    string // "ArtifactInstall_Enter_00_label"
	Content []byte
}

// The files of the header, in their legal order: scripts are as many as there are.
const (
	fileInfo     = "header-info"
	dirScripts   = "scripts/"
	fileTypeInfo = "headers/0000/type-info"
	fileMetaData = "headers/0000/meta-data"
)

// readHeader reads the unpacked header archive.
func readHeader(r io.Reader) (*Header, error) {
	h := &Header{}
	a := newArchive(io.LimitReader(r, maxHeader))
	err := h.read(a)
	if err != nil && a.in.n == maxHeader {
		return nil, fmt.Errorf("more than %d bytes unpacked", maxHeader)
	}
	return h, err
}

func (h *Header) read(a *archive) error {
	for last := ""; ; {
		e, err := a.next()
		if err == io.EOF {
			return h.finish(last)
		}
		if err != nil {
			return err
		}
		if !headerFollows(last, e.Name) {
			return fmt.Errorf("unexpected %q after %q", e.Name, last)
		}
		last = e.Name
		content, err := a.content(e, maxHeader)
		if err != nil {
			return err
		}
		if err := h.add(e.Name, content); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
}

// headerFollows is the legal order of the header's files.
func headerFollows(last, name string) bool {
	scripts := strings.HasPrefix(last, dirScripts)
	switch {
	case name == fileInfo:
		return last == ""
	case name == fileTypeInfo, strings.HasPrefix(name, dirScripts):
		return last == fileInfo || scripts
	case name == fileMetaData:
		return last == fileTypeInfo
	}
	return false
}

func (h *Header) add(name string, content []byte) error {
	switch name {
	case fileInfo:
		return h.addInfo(content)
	case fileTypeInfo:
		return h.addTypeInfo(content)
	case fileMetaData:
		return h.addMetaData(content)
	}
	return h.addScript(strings.TrimPrefix(name, dirScripts), content)
}

// finish checks what can only be known at the end.
func (h *Header) finish(last string) error {
	if last != fileTypeInfo && last != fileMetaData {
		return fmt.Errorf("%s is missing", fileTypeInfo)
	}
	if p := h.Payloads[0]; p.Type == "" && (p.MetaData != nil || len(h.Scripts) > 0) {
		return fmt.Errorf("state scripts or meta-data for a payload of type null, which is not installed by anything")
	}
	return nil
}

func (h *Header) addInfo(text []byte) error {
	o, err := parseObject(text)
	if err != nil {
		return err
	}
	h.Info = text
	provides, err := o.sub("artifact_provides")
	if err != nil {
		return err
	}
	if h.Name, err = provides.word(KeyName); err != nil {
		return err
	}
	if h.Name == "" {
		return fmt.Errorf("no %s", KeyName)
	}
	if h.Group, err = provides.word(KeyGroup); err != nil {
		return err
	}
	depends, err := o.sub("artifact_depends")
	if err != nil {
		return err
	}
	if h.Depends, err = parseDepends(depends); err != nil {
		return err
	}
	if len(h.Depends[KeyDeviceType]) == 0 {
		return fmt.Errorf("no %s in artifact_depends", KeyDeviceType)
	}
	return h.addPayloads(o["payloads"])
}

func (h *Header) addPayloads(raw json.RawMessage) error {
	var payloads []object
	if err := json.Unmarshal(raw, &payloads); err != nil || len(payloads) == 0 {
		return fmt.Errorf("no list of payloads")
	}
	if n := len(payloads); n > 1 {
		return refuse(ErrUnsupported, "%d payloads; artifacts with more than one are not supported", n)
	}
	kind, ok := payloads[0]["type"]
	if !ok {
		return fmt.Errorf("a payload without type")
	}
	p := PayloadHeader{}
	if !isNull(kind) {
		var err error
		if p.Type, err = parseString(kind); err != nil {
			return fmt.Errorf("payload type: %w", err)
		}
		// It becomes the name of a program.
		if err := checkFileName(p.Type); err != nil {
			return fmt.Errorf("payload type: %w", err)
		}
	}
	h.Payloads = []PayloadHeader{p}
	return nil
}

func (h *Header) addTypeInfo(text []byte) error {
	o, err := parseObject(text)
	if err != nil {
		return err
	}
	p := &h.Payloads[0]
	p.TypeInfo = text
	if err := sameType(o, p.Type); err != nil {
		return err
	}
	provides, err := o.stringMap("artifact_provides")
	if err != nil {
		return err
	}
	h.Provides = provides
	if raw, ok := o["clears_artifact_provides"]; ok {
		if h.ClearsProvides, err = parseStrings(raw); err != nil {
			return fmt.Errorf("clears_artifact_provides: %w", err)
		}
	}
	sub, err := o.sub("artifact_depends")
	if err != nil {
		return err
	}
	depends, err := parseDepends(sub)
	if err != nil {
		return err
	}
	return h.Depends.add(depends)
}

// sameType checks the type in type-info against the one in header-info. mender-artifact 3.9 leaves
// the former empty in a rootfs-image, so "" says nothing.
func sameType(typeInfo object, want string) error {
	raw, ok := typeInfo["type"]
	if !ok {
		return fmt.Errorf("no type")
	}
	if isNull(raw) {
		if want == "" {
			return nil
		}
		return fmt.Errorf("type null contradicts header-info, which says %q", want)
	}
	got, err := parseString(raw)
	if err != nil {
		return fmt.Errorf("type: %w", err)
	}
	if got != "" && got != want {
		return fmt.Errorf("type %q contradicts header-info, which says %q", got, want)
	}
	return nil
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// parseDepends takes the values of each key as a list or as a single string: both are written.
func parseDepends(o object) (Depends, error) {
	d := Depends{}
	for key, raw := range o {
		if err := checkWord(key); err != nil {
			return nil, fmt.Errorf("artifact_depends: %w", err)
		}
		values, err := parseStrings(raw)
		if err != nil {
			one, notOne := parseString(raw)
			if notOne != nil {
				return nil, fmt.Errorf("artifact_depends: %s: %w", key, err)
			}
			values = []string{one}
		}
		if len(values) == 0 {
			return nil, fmt.Errorf("artifact_depends: %s: no value would do", key)
		}
		d[key] = values
	}
	return d, nil
}

// add adds other's keys to d. A key may stand in both only if it says the same: which of two
// different answers is meant is not for us to guess.
func (d Depends) add(other Depends) error {
	for key, values := range other {
		old, ok := d[key]
		if ok && !slices.Equal(slices.Sorted(slices.Values(old)), slices.Sorted(slices.Values(values))) {
			return fmt.Errorf("artifact_depends: %s contradicts header-info, which says %s", key, quoteAll(old))
		}
	}
	maps.Copy(d, other)
	return nil
}

func (h *Header) addMetaData(text []byte) error {
	if len(text) == 0 {
		return nil // mender-artifact writes an empty one for a rootfs-image
	}
	if _, err := parseObject(text); err != nil {
		return err
	}
	h.Payloads[0].MetaData = text
	return nil
}

func (h *Header) addScript(name string, content []byte) error {
	if _, ok := ParseScriptName(name); !ok {
		return fmt.Errorf("not the name of a state script")
	}
	if len(h.Scripts) == maxScripts {
		return fmt.Errorf("more than %d state scripts", maxScripts)
	}
	for _, s := range h.Scripts {
		if s.Name == name {
			return fmt.Errorf("is there twice")
		}
	}
	h.Scripts = append(h.Scripts, Script{Name: name, Content: content})
	return nil
}
