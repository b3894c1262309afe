package menderstore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"flipside/internal/menderstore"
)

func TestImageIsSound(t *testing.T) {
	want := &menderstore.Store{
		ArtifactName: imageName, ArtifactGroup: imageGroup, Provides: map[string]string{"extra": "two"},
		Pending: true, PendingKey: "standalone-state", PendingState: []byte(imagePending),
	}
	empty := &menderstore.Store{}
	for name, test := range map[string]struct {
		change func(m *image)
		want   *menderstore.Store
	}{
		"as built":                       {func(m *image) {}, want},
		"first meta page torn":           {func(m *image) { clear(m.at(0, 0)) }, want},
		"second meta page torn":          {func(m *image) { clear(m.at(1, 0)) }, empty},
		"second meta page half old":      {func(m *image) { m.put32(m.metaAt(1, 4, 0), 7) }, empty},
		"first commit newer":             {func(m *image) { m.setWord(m.metaAt(0, 24, 13), 3) }, empty},
		"no key of the first branch":     {func(m *image) { m.nodes(2, 1, m.branch("zzz", 3), m.branch("artifact-provides", 4)) }, want},
		"other flags of pages":           {func(m *image) { m.put16(m.at(3, m.word+2), 0x8000|0x10|2) }, want},
		"more overflow pages than used":  {func(m *image) { m.put32(m.at(5, m.word+4), 7) }, want},
		"an address where it was mapped": {func(m *image) { m.setWord(m.metaAt(1, 8, 0), 0x7fff0000) }, want},
	} {
		t.Run(name, func(t *testing.T) {
			eachMachine(t, func(t *testing.T, newImage func() *image) {
				m := newImage()
				test.change(m)
				got, err := menderstore.Decode(bytes.NewReader(m.data))
				if err != nil || !reflect.DeepEqual(got, test.want) {
					t.Errorf("Decode = %+v, %v; want %+v", got, err, test.want)
				}
			})
		})
	}
}

func TestDamage(t *testing.T) {
	for name, test := range map[string]struct {
		change func(m *image)
		want   string // in the error's text
	}{
		"empty file":             {func(m *image) { m.data = nil }, "only 0 bytes"},
		"zeros":                  {func(m *image) { clear(m.data) }, "no LMDB meta page"},
		"version":                {bothMetas(func(m *image, i int) { m.put32(m.metaAt(i, 4, 0), 999) }), "version 999"},
		"page size 0":            {bothMetas(func(m *image, i int) { m.put32(m.metaAt(i, 8, 2), 0) }), "page size of 0"},
		"page size odd":          {bothMetas(func(m *image, i int) { m.put32(m.metaAt(i, 8, 2), 513) }), "page size of 513"},
		"page size huge":         {bothMetas(func(m *image, i int) { m.put32(m.metaAt(i, 8, 2), 1<<31) }), "page size of 2147483648"},
		"meta pages swapped":     {bothMetas(func(m *image, i int) { m.setWord(m.at(i, 0), uint64(1-i)) }), "the meta page at 0 is number 1"},
		"meta pages far away":    {bothMetas(func(m *image, i int) { m.setWord(m.at(i, 0), 1<<31) }), "is number 2147483648"},
		"many values for a key":  {func(m *image) { m.put16(m.metaAt(1, 20, 7), 4) }, "another kind"},
		"too deep":               {func(m *image) { m.put16(m.metaAt(1, 22, 7), 33) }, "33 levels"},
		"no levels":              {func(m *image) { m.put16(m.metaAt(1, 22, 7), 0) }, "0 levels"},
		"no root":                {func(m *image) { m.setWord(m.metaAt(1, 24, 11), 1<<(8*m.word)-1) }, "2 levels with root"},
		"root in the meta pages": {func(m *image) { m.setWord(m.metaAt(1, 24, 11), 1) }, "page 1 is outside"},
		"root beyond the file":   {func(m *image) { m.setWord(m.metaAt(1, 24, 11), 1<<31) }, "is outside"},
		"root not yet written":   {func(m *image) { m.setWord(m.metaAt(1, 24, 12), 1) }, "page 2 is outside"},
		"file cut":               {func(m *image) { m.data = m.data[:3*imagePage] }, "page 3 is outside"},
		"circle": {func(m *image) {
			m.nodes(2, 1, m.branch("", 2))
		}, "page 2 is of kind 0x1, not 0x2"},
		"circle of the greatest depth": {func(m *image) {
			m.nodes(2, 1, m.branch("", 2))
			m.put16(m.metaAt(1, 22, 7), 32)
		}, "page 2 is of kind 0x1, not 0x2"},
		"leaf too early":          {func(m *image) { m.put16(m.metaAt(1, 22, 7), 3) }, "page 3 is of kind 0x2, not 0x1"},
		"empty branch":            {func(m *image) { m.nodes(2, 1) }, "branch page 2 is empty"},
		"page of another place":   {func(m *image) { m.setWord(m.at(3, 0), 4) }, "says that it is page 4"},
		"free space too low":      {func(m *image) { m.put16(m.at(3, m.word+4), 2) }, "free space"},
		"free space odd":          {func(m *image) { m.put16(m.at(3, m.word+4), uint16(m.pageHeader()+3)) }, "free space"},
		"free space reversed":     {func(m *image) { m.put16(m.at(3, m.word+6), uint16(m.pageHeader())) }, "free space"},
		"free space too high":     {func(m *image) { m.put16(m.at(3, m.word+6), imagePage+2) }, "free space"},
		"node in the header":      {func(m *image) { m.put16(m.at(3, m.pageHeader()), 0) }, "node 0 is at 0"},
		"node beyond the page":    {func(m *image) { m.put16(m.at(3, m.pageHeader()), imagePage-7) }, "node 0 is at 505"},
		"key too long":            {func(m *image) { m.put16(m.nodeAt(3, 0)[6:], 512) }, "too long a key"},
		"key leaves the page":     {func(m *image) { m.put16(m.nodeAt(3, 0)[6:], 200) }, "too long a key"},
		"keys not in order":       {func(m *image) { m.nodeAt(3, 0)[8] = 'b' }, "not in order"},
		"equal keys":              {func(m *image) { m.nodes(3, 2, m.leaf("k", "", 0), m.leaf("k", "", 0)) }, "not in order"},
		"branch not in order":     {func(m *image) { m.nodes(2, 1, m.branch("", 3), m.branch("b", 4), m.branch("a", 3)) }, "not in order"},
		"value leaves the page":   {func(m *image) { m.put32(m.nodeAt(3, 0), 400) }, "leaves its page"},
		"value too large":         {func(m *image) { m.put32(m.nodeAt(3, 0), 1<<32-1) }, "has 4294967295 bytes"},
		"value a database":        {func(m *image) { m.put16(m.nodeAt(3, 0)[4:], 2) }, "of another kind"},
		"big value without page":  {func(m *image) { m.nodes(3, 2, m.leaf("artifact-name", "xy", 1)) }, "leaves its page"},
		"big value on a leaf":     {func(m *image) { m.header(5, 2) }, `page 5 is of kind 0x2, not 0x4, for the value of "artifact-provides"`},
		"big value's pages few":   {func(m *image) { m.put32(m.at(5, m.word+4), 1) }, "leaves its pages"},
		"big value's file cut":    {func(m *image) { m.data = m.data[:6*imagePage] }, "leaves its pages"},
		"provides not JSON":       {func(m *image) { copy(m.data[len(m.data)-imagePage:], bytes.Repeat([]byte("x"), 100)) }, "artifact-provides: "},
		"provides a list":         {setProvides(`["a"]`), "artifact-provides: "},
		"provides with a number":  {setProvides(`{"a":1}`), "artifact-provides: "},
		"provides with a null":    {setProvides(`{"a":null}`), `artifact-provides: "a" is null`},
		"provides with two texts": {setProvides(`{"a":"b"} {}`), "artifact-provides: "},
	} {
		t.Run(name, func(t *testing.T) {
			eachMachine(t, func(t *testing.T, newImage func() *image) {
				m := newImage()
				test.change(m)
				store, err := menderstore.Decode(bytes.NewReader(m.data))
				if !errors.Is(err, menderstore.ErrDamaged) || !strings.Contains(err.Error(), test.want) || store != nil {
					t.Errorf("Decode = %+v, %v; want ErrDamaged with %q", store, err, test.want)
				}
			})
		})
	}
}

func bothMetas(change func(m *image, page int)) func(m *image) {
	return func(m *image) {
		change(m, 0)
		change(m, 1)
	}
}

func setProvides(provides string) func(m *image) {
	return func(m *image) { *m = *newImage(m.order, m.word, provides) }
}

// TestEveryByteWrong turns over every byte, and cuts the file at every place.
func TestEveryByteWrong(t *testing.T) {
	eachMachine(t, func(t *testing.T, newImage func() *image) {
		sound := newImage().data
		for i := range sound {
			data := bytes.Clone(sound)
			for _, mask := range []byte{0x01, 0xff} {
				data[i] = sound[i] ^ mask
				decodeSafely(t, data)
			}
			if err := decodeSafely(t, sound[:i]); i < 3*imagePage && err == nil {
				t.Errorf("Decode of the first %d bytes = nil; want ErrDamaged", i)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, word := range []int{8, 4} {
			f.Add(newImage(order, word, imageProvides).data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { decodeSafely(t, data) })
}

// decodeSafely checks what holds for all bytes whatever.
func decodeSafely(t *testing.T, data []byte) error {
	t.Helper()
	store, err := menderstore.Decode(bytes.NewReader(data))
	switch {
	case err != nil && !errors.Is(err, menderstore.ErrDamaged):
		t.Errorf("Decode = %v; want ErrDamaged", err)
	case (err == nil) != (store != nil):
		t.Errorf("Decode = %+v, %v; want one of the two", store, err)
	case store != nil && store.Pending != (store.PendingKey != ""):
		t.Errorf("Decode = %+v; want Pending and PendingKey together", store)
	}
	return err
}

func TestReadNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := menderstore.Read(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of a missing file = %v; want fs.ErrNotExist", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, newImage(binary.LittleEndian, 8, imageProvides).data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 16<<20+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{dir: "not a regular file", fifo: "not a regular file", large: "larger than 16 MiB"} {
		_, err := menderstore.Read(path)
		if !errors.Is(err, menderstore.ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("Read(%s) = %v; want ErrDamaged with the path and %q", path, err, want)
		}
	}
	if err := os.Truncate(large, 16<<20); err != nil {
		t.Fatal(err)
	}
	if store, err := menderstore.Read(large); err != nil || store.ArtifactName != imageName {
		t.Errorf("Read of 16 MiB = %+v, %v; want %s", store, err, imageName)
	}
}

// changing is a file that somebody replaces before each time that it is read from the beginning.
type changing struct {
	next    func() []byte
	current []byte
}

func (c *changing) ReadAt(b []byte, offset int64) (int, error) {
	if offset == 0 {
		c.current = c.next()
	}
	return bytes.NewReader(c.current).ReadAt(b, offset)
}

func TestDecodeWhileClientWrites(t *testing.T) {
	// A commit in the middle of the first reading: old meta pages, a leaf that is in use again.
	mixed := newImage(binary.LittleEndian, 8, imageProvides)
	mixed.nodes(3, 2, mixed.leaf("artifact-name", "wrong", 0))
	after := newImage(binary.LittleEndian, 8, imageProvides)
	after.setWord(after.metaAt(0, 24, 13), 3)
	after.put16(after.metaAt(0, 22, 7), 2)
	after.setWord(after.metaAt(0, 24, 11), 2)
	reads := 0
	store, err := menderstore.Decode(&changing{next: func() []byte {
		reads++
		if reads == 1 {
			return mixed.data
		}
		return after.data
	}})
	if err != nil || store.ArtifactName != imageName {
		t.Errorf("Decode = %+v, %v; want %s", store, err, imageName)
	}

	_, err = menderstore.Decode(&changing{next: func() []byte {
		reads++
		after.setWord(after.metaAt(0, 24, 13), uint64(reads))
		return after.data
	}})
	if err == nil || errors.Is(err, menderstore.ErrDamaged) || !strings.Contains(err.Error(), "writing") {
		t.Errorf("Decode of a file that never settles = %v; want an error that is not ErrDamaged", err)
	}
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

func TestDecodeReadError(t *testing.T) {
	if _, err := menderstore.Decode(broken{}); !errors.Is(err, io.ErrClosedPipe) || errors.Is(err, menderstore.ErrDamaged) {
		t.Errorf("Decode = %v; want the read error, and not ErrDamaged", err)
	}
}
