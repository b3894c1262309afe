package conformance_test

import (
	"archive/tar"
	"bytes"
	"crypto"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"

	"flipside/artifact"
	"flipside/internal/hosttest"
)

// member is an entry of a tar archive.
type member struct{ name, content string }

// plan is an artifact made by hand, so that it can be made wrong: for each piece, the checksums of
// the others stay right.
type plan struct {
	version  string
	info     string // header-info
	typeInfo string
	files    []member // of the payload

	header   func([]member) []member       // changes the files of the header
	manifest func(lines []string) []string // changes the manifest
	outer    func([]member) []member       // changes the entries of the artifact
	end      func(string) string           // changes the whole file
}

func newPlan() *plan {
	same := func(m []member) []member { return m }
	return &plan{
		version:  `{"format":"mender","version":3}`,
		info:     `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"test"},"artifact_depends":{"device_type":["` + deviceType + `"]}}`,
		typeInfo: `{"type":"rootfs-image"}`,
		files:    []member{{"rootfs", "test\n"}},
		header:   same,
		manifest: func(lines []string) []string { return lines },
		outer:    same,
		end:      func(s string) string { return s },
	}
}

// crafted makes A an artifact made by hand.
func crafted(change func(*plan)) func(*device) {
	return func(d *device) {
		d.t.Helper()
		p := newPlan()
		change(p)
		d.write("A.mender", p.text(d.t))
	}
}

func sum(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func (p *plan) text(t *testing.T) string {
	header := tarred(t, p.header([]member{{"header-info", p.info}, {"headers/0000/type-info", p.typeInfo}}))
	var lines []string
	for _, f := range p.files {
		lines = append(lines, sum(f.content)+"  data/0000/"+f.name)
	}
	lines = p.manifest(append(lines, sum(header)+"  header.tar", sum(p.version)+"  version"))
	return p.end(tarred(t, p.outer([]member{
		{"version", p.version}, {"manifest", strings.Join(lines, "\n") + "\n"},
		{"header.tar", header}, {"data/0000.tar", tarred(t, p.files)},
	})))
}

func tarred(t *testing.T, members []member) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		err := w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.content))})
		if err == nil {
			_, err = io.WriteString(w, m.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// added adds a file to the header, with this one before it; "" is the beginning.
func added(after string, m member) func([]member) []member {
	return func(all []member) []member {
		var result []member
		if after == "" {
			result = append(result, m)
		}
		for _, one := range all {
			result = append(result, one)
			if one.name == after {
				result = append(result, m)
			}
		}
		return result
	}
}

func signer(t *testing.T, name string) crypto.Signer {
	t.Helper()
	k, err := artifact.ParsePrivateKey(hosttest.Read(t, testKey(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}
