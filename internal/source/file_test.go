package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"flipside/internal/hosttest"
	"flipside/internal/source"
)

// artifact makes a file and returns its path and content.
func artifact(t *testing.T, name string) (string, []byte) {
	t.Helper()
	data := bytes.Repeat([]byte("mender"), 10000)
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, data
}

// checkRead reads src to its end and closes it.
func checkRead(t *testing.T, src *source.Source, want []byte) {
	t.Helper()
	got, err := io.ReadAll(src)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, %v; want the %d of the source", len(got), err, len(want))
	}
	if n := src.In(); n < int64(len(want)) {
		t.Errorf("In() = %d; want at least %d", n, len(want))
	}
	if err := src.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
}

// wantError checks that err is an *Error with these words, and returns it.
func wantError(t *testing.T, err error, words string, usage bool) *source.Error {
	t.Helper()
	var e *source.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T); want a *source.Error", err, err)
	}
	if !strings.Contains(e.Error(), words) {
		t.Errorf("error %q; want it to say %q", e, words)
	}
	if got := errors.Is(err, source.ErrUsage); got != usage {
		t.Errorf("error %q is a usage error: %v; want %v", e, got, usage)
	}
	return e
}

func TestFile(t *testing.T) {
	path, data := artifact(t, "release 2%.mender")
	escaped := strings.NewReplacer(" ", "%20", "%", "%25").Replace(path)
	for _, uri := range []string{path, "file://" + escaped, "file://localhost" + escaped, "file://LOCALHOST" + escaped, "FILE:" + escaped} {
		t.Run(uri, func(t *testing.T) {
			src, err := source.Open(t.Context(), uri, source.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if src.Size() != int64(len(data)) || src.Name() != uri || !src.Rewindable() {
				t.Errorf("Size %d, Name %q, Rewindable %v; want %d, %q, true", src.Size(), src.Name(), src.Rewindable(), len(data), uri)
			}
			checkRead(t, src, data)
		})
	}
}

func TestFileWithAColonInItsName(t *testing.T) {
	path, data := artifact(t, "release:2.mender")
	t.Chdir(filepath.Dir(path))
	src, err := source.Open(t.Context(), "release:2.mender", source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkRead(t, src, data)
}

func TestRewindStaysWithTheSameFile(t *testing.T) {
	path, data := artifact(t, "a.mender")
	src, err := source.Open(t.Context(), path, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, src); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if err := src.Rewind(); err != nil {
		t.Fatal(err)
	}
	checkRead(t, src, data)
	if n := src.In(); n != 2*int64(len(data)) {
		t.Errorf("In() = %d; want %d", n, 2*len(data))
	}
}

func TestFileErrors(t *testing.T) {
	path, _ := artifact(t, "a.mender")
	dir := filepath.Dir(path)
	for uri, want := range map[string]string{
		"":                             "no artifact named",
		dir + "/missing.mender":        "missing.mender: no such file or directory",
		path + "/below":                "not a directory",
		dir:                            "is a directory",
		"file://" + dir:                "is a directory",
		"file://" + dir + "/no%zz":     "invalid URL escape",
		"file://server/share/a.mender": `not of "server"`,
		"ftp://user:secret@host/a":     "opening ftp://...: this kind of source is not supported",
		"s3+v4://bucket/a.mender":      "opening s3+v4://...: this kind of source is not supported",
		"path://x":                     "no such file",
	} {
		t.Run(uri, func(t *testing.T) {
			_, err := source.Open(t.Context(), uri, source.Options{})
			if e := wantError(t, err, want, true); e.Retryable {
				t.Errorf("%q is said to be retryable", e)
			}
		})
	}
}

func TestFileWithoutPermission(t *testing.T) {
	path, _ := artifact(t, "a.mender")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error)
	go func() {
		if os.Geteuid() == 0 {
			// This thread alone becomes nobody; it ends with the goroutine because it is never unlocked.
			runtime.LockOSThread()
			if err := unix.Setfsuid(65534); err != nil {
				opened <- err
				return
			}
		}
		_, err := source.Open(t.Context(), path, source.Options{})
		opened <- err
	}()
	if e := wantError(t, <-opened, "permission denied", true); e.Hint == "" {
		t.Errorf("%q has no hint", e)
	}
}

func TestMediumError(t *testing.T) {
	// Reading one's own memory at address 0 gives EIO, as a stick does that was pulled out.
	src, err := source.Open(t.Context(), "/proc/self/mem", source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	_, err = io.Copy(io.Discard, src)
	e := wantError(t, err, "reading /proc/self/mem: input/output error", false)
	if !e.Retryable || !strings.Contains(e.Hint, "pulled out") || !errors.Is(err, unix.EIO) {
		t.Errorf("error %#v; want it retryable, with a hint, EIO in its chain", e)
	}
}

func TestFileThatShrinks(t *testing.T) {
	path, _ := artifact(t, "a.mender")
	src, err := source.Open(t.Context(), path, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if err := os.Truncate(path, 1000); err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, src)
	wantError(t, err, "it became shorter while it was read: 1000 B of 58.6 KiB", false)
}

func TestStdin(t *testing.T) {
	path, data := artifact(t, "a.mender")
	for _, uri := range []string{"-", "/dev/stdin"} {
		t.Run(uri+" file", func(t *testing.T) {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			const begun = 6 // bytes that the shell's read has taken
			if _, err := f.Seek(begun, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			src, err := source.Open(t.Context(), uri, source.Options{Stdin: f})
			if err != nil {
				t.Fatal(err)
			}
			if src.Size() != int64(len(data))-begun || src.Rewindable() || src.Name() != "standard input" {
				t.Errorf("Size %d, Rewindable %v, Name %q", src.Size(), src.Rewindable(), src.Name())
			}
			if err := src.Rewind(); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("Rewind() = %v; want ErrUnsupported", err)
			}
			checkRead(t, src, data[begun:])
		})
		t.Run(uri+" pipe", func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			wrote := make(chan error, 1)
			go func() {
				_, err := w.Write(data)
				wrote <- errors.Join(err, w.Close())
			}()
			src, err := source.Open(t.Context(), uri, source.Options{Stdin: r})
			if err != nil {
				t.Fatal(err)
			}
			if src.Size() != -1 || src.Rewindable() {
				t.Errorf("Size %d, Rewindable %v; want -1, false", src.Size(), src.Rewindable())
			}
			checkRead(t, src, data)
			if err := <-wrote; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStdinErrors(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	_, err = source.Open(t.Context(), "-", source.Options{Stdin: dir})
	wantError(t, err, "opening standard input: is a directory", true)
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = source.Open(t.Context(), "-", source.Options{Stdin: dir})
	wantError(t, err, "opening standard input: it is closed", true)

	_, err = source.Open(t.Context(), "-", source.Options{Stdin: terminal(t)})
	wantError(t, err, "opening standard input: it is a terminal", true)
}

// terminal returns a pseudo terminal.
func terminal(t *testing.T) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("pseudo terminals are needed: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("pseudo terminals are needed: %v", err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return slave
}

func TestCancelWhileWaitingForAPipe(t *testing.T) {
	fifo := hosttest.FIFO(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	for name, test := range map[string]struct {
		uri string
		o   source.Options
	}{
		"stdin":                     {"-", source.Options{Stdin: r}},
		"named pipe without writer": {fifo, source.Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			src, err := source.Open(ctx, test.uri, test.o)
			if err != nil {
				t.Fatal(err)
			}
			go cancel()
			if n, err := src.Read(make([]byte, 10)); n != 0 || err != context.Canceled {
				t.Errorf("Read = %d, %v; want 0, context.Canceled", n, err)
			}
			if err := src.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNamedPipe(t *testing.T) {
	_, data := artifact(t, "a.mender")
	fifo := hosttest.FIFO(t)
	src, err := source.Open(t.Context(), fifo, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(fifo, data, 0) }()
	checkRead(t, src, data)
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

func TestCancelledContext(t *testing.T) {
	path, _ := artifact(t, "a.mender")
	ctx, cancel := context.WithCancel(t.Context())
	src, err := source.Open(ctx, path, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	cancel()
	if _, err := src.Read(make([]byte, 10)); err != context.Canceled {
		t.Errorf("Read = %v; want context.Canceled", err)
	}
	if _, err := source.Open(ctx, path, source.Options{}); err != context.Canceled {
		t.Errorf("Open = %v; want context.Canceled", err)
	}
}
