package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

const stdinName = "standard input"

// openPath opens a file, a block device, a named pipe, or a file in a directory.
func openPath(ctx context.Context, path string, o Options) (*Source, error) {
	return openNamed(ctx, path, path, o)
}

// openFileURL opens file:///path, file://localhost/path and file:/path (RFC 8089).
func openFileURL(ctx context.Context, uri string, o Options) (*Source, error) {
	_, rest, _ := strings.Cut(uri, ":")
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		host, path, _ := strings.Cut(after, "/")
		if host != "" && !strings.EqualFold(host, "localhost") {
			return nil, &Error{
				Op: "opening", URI: uri, usage: true,
				Err:  fmt.Errorf("a file: URL names a file of this device, not of %q", host),
				Hint: "write file:///path with three slashes",
			}
		}
		rest = "/" + path
	}
	// Not url.Parse: whoever typed a ? or # into a file URL means the file with that name.
	path, err := url.PathUnescape(rest)
	if err != nil {
		return nil, &Error{
			Op: "opening", URI: uri, usage: true, Err: err,
			Hint: "in a file: URL a percent sign is written %25",
		}
	}
	return openNamed(ctx, path, uri, o)
}

func openNamed(ctx context.Context, path, name string, o Options) (*Source, error) {
	// O_NONBLOCK: opening a named pipe must not wait for its writer, where ctx could not stop it.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	for err == unix.EINTR {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, explainOpen(name, err)
	}
	src, err := openDescriptor(ctx, fd, name, false)
	if errors.Is(err, unix.EISDIR) && o.Choose != nil {
		return openDir(ctx, path, name, o)
	}
	return src, err
}

// openStdin reads what somebody else opened and will close.
func openStdin(ctx context.Context, _ string, o Options) (*Source, error) {
	fd := -1
	if conn, err := o.Stdin.SyscallConn(); err == nil {
		// Not Stdin.Fd, which would change how the descriptor behaves.
		_ = conn.Control(func(n uintptr) { fd = int(n) }) // fails only if closed: then fd stays -1
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, explainOpen(stdinName, err)
	}
	return openDescriptor(ctx, dup, stdinName, true)
}

// openDescriptor makes a Source of fd, or closes it. started: somebody else opened it, and may have
// read the beginning.
func openDescriptor(ctx context.Context, fd int, name string, started bool) (*Source, error) {
	f := os.NewFile(uintptr(fd), name)
	in, err := newBody(ctx, f, fd, name, started)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &Source{ctx: ctx, in: in, name: name}, nil
}

// newBody looks at what was opened. The body takes f over unless there is an error.
func newBody(ctx context.Context, f *os.File, fd int, name string, started bool) (body, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, explainOpen(name, err)
	}
	mode := info.Mode()
	switch {
	case mode.IsDir():
		return nil, explainOpen(name, unix.EISDIR)
	case term.IsTerminal(fd):
		return nil, &Error{
			Op: "opening", URI: name, usage: true,
			Err:  errors.New("it is a terminal, not an artifact"),
			Hint: "give the artifact through a pipe, like: xz -dc release.mender.xz | flipside install -",
		}
	case mode.IsRegular() && started:
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, explainOpen(name, err)
		}
		return onlyOnce{&file{f: f, name: name, size: info.Size() - at}}, nil
	case mode.IsRegular():
		return &file{f: f, name: name, size: info.Size()}, nil
	case mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0:
		return &file{f: f, name: name, size: -1}, nil
	}
	return newPipe(ctx, f, fd, name)
}

// file reads a regular file or a block device.
type file struct {
	f    *os.File
	name string
	size int64 // when it was opened; -1: unknown
	at   int64
}

// onlyOnce hides that a file can seek.
type onlyOnce struct{ body }

func (f *file) Size() int64  { return f.size }
func (f *file) Close() error { return f.f.Close() }

func (f *file) Read(p []byte) (int, error) {
	n, err := f.f.Read(p)
	f.at += int64(n)
	if err == io.EOF && f.at < f.size {
		return n, &Error{
			Op: "reading", URI: f.name,
			Err:  fmt.Errorf("it became shorter while it was read: %s of %s", size(f.at), size(f.size)),
			Hint: "wait until nobody writes to the file any more",
		}
	}
	if err != nil && err != io.EOF {
		return n, explainRead(f.name, err)
	}
	return n, err
}

// Seek makes Source.Rewind work; it is only ever asked for the beginning.
func (f *file) Seek(offset int64, whence int) (int64, error) {
	at, err := f.f.Seek(offset, whence)
	if err != nil {
		return at, explainRead(f.name, err)
	}
	f.at = at
	return at, nil
}
