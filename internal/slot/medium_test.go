package slot_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"flipside/artifact"
	"flipside/internal/disk"
	"flipside/internal/progress"
	"flipside/internal/slot"
)

const mib = 1 << 20

// medium is a device in memory, behind a disk.FS that opens it under every name. What is written
// is volatile until Sync. Hooks may fail operations.
type medium struct {
	disk.OS

	mu       sync.Mutex
	content  []byte // as read
	durable  []byte // what a power cut leaves
	opens    []int  // flags
	writes   []span
	reads    []span
	syncs    int
	appended int64 // where Write goes on

	onOpen  func(flag int) error
	onWrite func(at int64, p []byte) error // before it has an effect
	onRead  func(at int64, p []byte) error
	onSync  func() error
	onClose func() error
}

type span struct{ at, n int64 }

func newMedium(size int) *medium {
	m := &medium{content: noise(size, 99)}
	m.durable = bytes.Clone(m.content)
	return m
}

func (m *medium) OpenFile(name string, flag int, _ fs.FileMode) (disk.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opens = append(m.opens, flag)
	if m.onOpen != nil {
		if err := m.onOpen(flag); err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
	return &mediumFile{m, name}, nil
}

// mediumFile has no descriptor, so that a cached write must use Sync to get anywhere.
type mediumFile struct {
	*medium
	name string
}

func (f *mediumFile) Name() string                { return f.name }
func (f *mediumFile) Fd() uintptr                 { return ^uintptr(0) }
func (f *mediumFile) Read([]byte) (int, error)    { return 0, errors.New("not to be used") }
func (f *mediumFile) Truncate(int64) error        { return errors.New("not to be used") }
func (f *mediumFile) Stat() (fs.FileInfo, error)  { return mediumInfo{}, nil }
func (f *mediumFile) Write(p []byte) (int, error) { return f.put(p, f.appended) }

func (f *mediumFile) Close() error {
	if f.onClose != nil {
		return f.onClose()
	}
	return nil
}

func (f *mediumFile) ReadAt(p []byte, at int64) (int, error) {
	if f.onRead != nil {
		if err := f.onRead(at, p); err != nil {
			return 0, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads = append(f.reads, span{at, int64(len(p))})
	n := copy(p, f.content[min(at, int64(len(f.content))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *mediumFile) WriteAt(p []byte, at int64) (int, error) { return f.put(p, at) }

func (f *mediumFile) put(p []byte, at int64) (int, error) {
	if f.onWrite != nil {
		if err := f.onWrite(at, p); err != nil {
			return 0, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = append(f.writes, span{at, int64(len(p))})
	f.appended = at + int64(len(p))
	return copy(f.content[at:], p), nil
}

func (f *mediumFile) Sync() error {
	if f.onSync != nil {
		if err := f.onSync(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncs++
	copy(f.durable, f.content)
	return nil
}

// mediumInfo has no Sys: nothing to compare with.
type mediumInfo struct{ fs.FileInfo }

func (mediumInfo) Sys() any { return nil }

// noise is n bytes that do not repeat.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

// sink keeps events.
type sink struct {
	mu     sync.Mutex
	events []progress.Event
	on     func(progress.Event)
}

func (s *sink) Emit(e progress.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	if s.on != nil {
		s.on(e)
	}
}

// at makes s do something when a phase begins.
func (s *sink) at(phase progress.Phase, do func()) {
	s.on = func(e progress.Event) {
		if e.Kind == progress.Begin && e.Phase == phase {
			do()
		}
	}
}

// blocks are what a reader reads, as an artifact has it.
type blocks struct{ io.Reader }

func (b blocks) Block() (*artifact.Block, error) {
	data := make([]byte, artifact.BlockSize) // the allocator aligns large pieces
	n, err := io.ReadFull(b, data)
	if err == io.ErrUnexpectedEOF {
		err = nil // not what the reader wraps
	}
	if err != nil {
		return nil, err
	}
	return &artifact.Block{Data: data[:n]}, nil
}

// slots are two plain files of size bytes, of which A runs: a sandbox.
type slots struct {
	dir    string
	a, b   string
	config slot.Config
}

func newSlots(t *testing.T, size int) *slots {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &slots{dir: dir, a: filepath.Join(dir, "root2"), b: filepath.Join(dir, "root3")}
	for i, file := range []string{s.a, s.b} {
		if err := os.WriteFile(file, noise(size, uint64(i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.boot(t, s.a)
	s.config = slot.Config{PartA: s.a, PartB: s.b, Root: filepath.Join(dir, "running"), AllowFiles: true, Proc: s.proc(t)}
	return s
}

// proc has the two tables that a sandbox needs.
func (s *slots) proc(t *testing.T) string {
	t.Helper()
	for name, content := range map[string]string{
		"self/mountinfo": "27 1 179:1 / / rw - ext4 /dev/root rw\n",
		"swaps":          "Filename Type Size Used Priority\n",
	} {
		file := filepath.Join(s.dir, "proc", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(s.dir, "proc")
}

// boot makes file the running slot.
func (s *slots) boot(t *testing.T, file string) {
	t.Helper()
	link := filepath.Join(s.dir, "running")
	_ = os.Remove(link)
	if err := os.Symlink(filepath.Base(file), link); err != nil {
		t.Fatal(err)
	}
}

// inactive is slot B.
func (s *slots) inactive(t *testing.T) slot.Slot {
	t.Helper()
	p, err := slot.Find(s.config)
	if err != nil {
		t.Fatal(err)
	}
	return p.Inactive()
}
