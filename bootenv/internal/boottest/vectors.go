// Package boottest is what the tests of boot environments have in common: recorded environments,
// and a disk whose power can be cut.
package boottest

import (
	"archive/zip"
	"encoding/json"
	"io/fs"
	"os"
	"testing"
)

// Vectors are recorded environments; testdata/README.md says what there is.
type Vectors struct{ *zip.ReadCloser }

// Open opens the vectors.zip at path.
func Open(t testing.TB, path string) Vectors {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = z.Close() })
	return Vectors{z}
}

// Extract copies a directory of the vectors to a new one and returns its name.
func (v Vectors) Extract(t testing.TB, name string) string {
	t.Helper()
	sub, err := fs.Sub(v, name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, sub); err != nil {
		t.Fatal(err)
	}
	return dir
}

// File is the content of a file of the vectors.
func (v Vectors) File(t testing.TB, name string) []byte {
	t.Helper()
	data, err := fs.ReadFile(v, name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// JSON parses a file of the vectors.
func JSON[T any](t testing.TB, v Vectors, name string) T {
	t.Helper()
	var x T
	if err := json.Unmarshal(v.File(t, name), &x); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return x
}

// UBootVector is an entry of uboot/vectors.json.
type UBootVector struct {
	Name        string
	Description string
	Copies      []UBootCopy
	Libubootenv Printed           `json:"libubootenv"`
	UBootTool   Printed           `json:"uboot_tool"`
	AfterSetNew *AfterSetNew      `json:"after_set_new"`
	UBootReads  map[string]string `json:"uboot_reads"`
}

// UBootCopy is a copy as it was recorded. Long entries are abbreviated.
type UBootCopy struct {
	CRCOK   bool `json:"crc_ok"`
	Flags   byte
	Entries []string
}

// Printed is what an fw_printenv made of an environment.
type Printed struct {
	RC     any // a number, or text if it did not end
	Stdout string
}

// AfterSetNew says what "fw_setenv new 1" wrote.
type AfterSetNew struct {
	Written []int
	Flags   []byte
}
