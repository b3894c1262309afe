package report

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"flipside/artifact"
)

// Contents is all that an artifact says of itself, and what it was found to contain.
type Contents struct {
	Name           string            `json:"artifact_name"`
	Group          string            `json:"artifact_group,omitempty"`
	Signed         bool              `json:"signed"` // a signature is there; it was not checked
	Depends        artifact.Depends  `json:"depends"`
	Provides       artifact.Provides `json:"provides"`
	ClearsProvides []string          `json:"clears_provides"`
	Scripts        []string          `json:"state_scripts"`
	Payloads       []PayloadContents `json:"payloads"`
}

// PayloadContents is one payload.
type PayloadContents struct {
	Type     string          `json:"type"` // "" for none
	MetaData json.RawMessage `json:"meta_data,omitempty"`
	Files    []FileContents  `json:"files"`
}

// FileContents is one file of a payload.
type FileContents struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// Inspect reads an artifact to its end. Its checksums are verified, its signature is not.
func Inspect(r io.Reader) (*Contents, error) {
	ar, err := artifact.NewReader(r, nil)
	if err != nil {
		return nil, err
	}
	defer ar.Close()
	h := ar.Header()
	c := &Contents{
		Name: h.Name, Group: h.Group, Signed: h.Signed,
		Depends: h.Depends, Provides: h.Provides, ClearsProvides: h.ClearsProvides,
		Scripts: []string{},
	}
	for _, s := range h.Scripts {
		c.Scripts = append(c.Scripts, s.Name)
	}
	for {
		p, err := ar.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return nil, err
		}
		files, err := inspectFiles(p)
		if err != nil {
			return nil, err
		}
		c.Payloads = append(c.Payloads, PayloadContents{Type: p.Type, MetaData: p.MetaData, Files: files})
	}
}

func inspectFiles(p *artifact.Payload) ([]FileContents, error) {
	files := []FileContents{}
	for {
		f, err := p.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(io.Discard, f); err != nil {
			return nil, err
		}
		files = append(files, FileContents{Name: f.Name, Size: f.Size, SHA256: hex.EncodeToString(f.SHA256[:])})
	}
}

// Print writes c for a person.
func (c *Contents) Print(w io.Writer) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-17s %s\n", label, printable(fmt.Sprintf(format, args...)))
	}
	line("artifact:", "%s", c.Name)
	if c.Group != "" {
		line("group:", "%s", c.Group)
	}
	signed := "no"
	if c.Signed {
		signed = "yes (`flipside verify` checks it with the device's keys)"
	}
	line("signed:", "%s", signed)
	for _, key := range slices.Sorted(maps.Keys(c.Depends)) {
		line("depends:", "%s = %s", key, strings.Join(c.Depends[key], " or "))
	}
	for _, key := range slices.Sorted(maps.Keys(c.Provides)) {
		line("provides:", "%s = %s", key, c.Provides[key])
	}
	if len(c.ClearsProvides) > 0 {
		line("clears provides:", "%s", strings.Join(c.ClearsProvides, ", "))
	}
	for _, script := range c.Scripts {
		line("state script:", "%s", script)
	}
	for _, p := range c.Payloads {
		kind := p.Type
		if kind == "" {
			kind = "none"
		}
		line("payload:", "%s", kind)
		for _, f := range p.Files {
			line("  file:", "%s, %d bytes, sha256 %s", f.Name, f.Size, f.SHA256)
		}
		if p.MetaData != nil {
			line("  meta-data:", "%s", p.MetaData)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
