package artifact_test

import (
	"archive/tar"
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flipside/artifact"
)

// member is an entry of a tar archive; Typeflag 0 is a plain file.
type member struct {
	name    string
	content string
	flag    byte
}

// plan is an artifact made by hand, piece by piece, so that every piece can be made wrong while
// the checksums of the others stay right.
type plan struct {
	version  string
	info     string // header-info
	typeInfo string
	metaData string // "" leaves the file out
	scripts  []member
	files    []member // of the payload

	header   func([]member) []member       // changes the header's files
	packed   func(string) string           // packs header and payload
	manifest func(lines []string) []string // changes the manifest
	sign     func(manifest string) string  // makes manifest.sig; nil: not signed
	outer    func([]member) []member       // changes the entries of the artifact
	end      func(string) string           // changes the whole file
}

// newPlan is a good artifact with two payload files.
func newPlan() *plan {
	same := func(m []member) []member { return m }
	return &plan{
		version:  `{"format":"mender","version":3}`,
		info:     `{"payloads":[{"type":"directory"}],"artifact_provides":{"artifact_name":"release-2"},"artifact_depends":{"device_type":["sandbox"]}}`,
		typeInfo: `{"type":"directory","artifact_provides":{"directory.version":"2"},"clears_artifact_provides":["directory.*"]}`,
		files:    []member{{name: "one", content: "the first file\n"}, {name: "two", content: strings.Repeat("the second file\n", 100)}},
		header:   same,
		packed:   func(s string) string { return s },
		manifest: func(lines []string) []string { return lines },
		outer:    same,
		end:      func(s string) string { return s },
	}
}

// wrongSum makes the manifest wrong about the first file.
func (p *plan) wrongSum() {
	p.manifest = func(lines []string) []string {
		lines[0] = sum("something else") + "  data/0000/one"
		return lines
	}
}

func sum(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func tarred(members []member) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: 0o644, Typeflag: m.flag, Size: int64(len(m.content))}
		if m.flag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink {
			h.Linkname, h.Size, m.content = m.content, 0, ""
		}
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

func (p *plan) bytes() []byte {
	header := []member{{name: "header-info", content: p.info}}
	header = append(header, p.scripts...)
	header = append(header, member{name: "headers/0000/type-info", content: p.typeInfo})
	if p.metaData != "" {
		header = append(header, member{name: "headers/0000/meta-data", content: p.metaData})
	}
	packedHeader := p.packed(tarred(p.header(header)))

	var lines []string
	for _, f := range p.files {
		lines = append(lines, sum(f.content)+"  data/0000/"+f.name)
	}
	lines = append(lines, sum(packedHeader)+"  header.tar", sum(p.version)+"  version")
	manifest := strings.Join(p.manifest(lines), "\n") + "\n"

	entries := []member{{name: "version", content: p.version}, {name: "manifest", content: manifest}}
	if p.sign != nil {
		entries = append(entries, member{name: "manifest.sig", content: p.sign(manifest)})
	}
	entries = append(entries,
		member{name: "header.tar", content: packedHeader},
		member{name: "data/0000.tar", content: p.packed(tarred(p.files))})
	return []byte(p.end(tarred(p.outer(entries))))
}

const artifacts = "../testdata/artifacts"

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(artifacts, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func publicKey(t testing.TB, name string) artifact.PublicKey {
	t.Helper()
	k, err := artifact.ParsePublicKey(testdata(t, "keys/"+name+".pub"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// openFile opens the first file of an artifact.
func openFile(t *testing.T, src io.Reader) (*artifact.Reader, *artifact.Payload, *artifact.File) {
	t.Helper()
	r, err := artifact.NewReader(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.Next()
	if err != nil {
		t.Fatal(err)
	}
	return r, p, f
}

// contents is what a Reader hands out: the payload files by name.
type contents map[string]string

// readAll reads an artifact to its end, each file through Read or through WriteTo.
func readAll(r io.Reader, keys ...artifact.PublicKey) (*artifact.Header, contents, error) {
	rd, err := artifact.NewReader(r, keys)
	if err != nil {
		return nil, nil, err
	}
	defer rd.Close()
	c := contents{}
	for {
		p, err := rd.Next()
		if err == io.EOF {
			return rd.Header(), c, nil
		}
		if err != nil {
			return nil, c, err
		}
		if err := readPayload(p, c); err != nil {
			return nil, c, err
		}
	}
}

func readPayload(p *artifact.Payload, c contents) error {
	for i := 0; ; i++ {
		f, err := p.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var b strings.Builder
		if i%2 == 0 {
			_, err = io.Copy(&b, f)
		} else {
			_, err = io.Copy(&b, struct{ io.Reader }{f})
		}
		c[f.Name] = b.String()
		if err != nil {
			return err
		}
		if f.Size != int64(b.Len()) || f.SHA256 != sha256.Sum256([]byte(b.String())) {
			return fmt.Errorf("%s: size %d and checksum %x do not fit the content", f.Name, f.Size, f.SHA256)
		}
	}
}

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func privateKey(t testing.TB, name string) crypto.Signer {
	t.Helper()
	k, err := artifact.ParsePrivateKey(testdata(t, "keys/"+name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// smallSpec is the artifact of newPlan, for Write.
func smallSpec(c artifact.Compression) artifact.Spec {
	return artifact.Spec{
		Name:            "release-2",
		Depends:         artifact.Depends{"device_type": {"sandbox"}},
		SoftwareVersion: "release-2",
		Type:            "directory",
		Files:           []artifact.FileSpec{artifact.FileBytes("one", []byte("the first file\n"))},
		Compression:     c,
	}
}

func written(t testing.TB, s artifact.Spec) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := artifact.Write(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// signed signs a manifest as mender-artifact does with an ECDSA key, but with openssl's way to do it.
func signed(t testing.TB, key crypto.Signer, manifest string) []byte {
	t.Helper()
	digest := sha256.Sum256([]byte(manifest))
	sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(sig))
}
