// Package nfs reads files from NFS servers without the kernel's help: version 4.0 (RFC 7530) and
// version 3 (RFC 1813) over TCP, with AUTH_SYS. It is as small as reading one file allows: no
// writing, no locks, no state on the server. Version 4.0 lets anybody read with a special state
// identifier, so that nothing has to be opened there.
//
//	fs, err := nfs.Mount(ctx, "server", "/export/releases/r2.mender", nfs.Options{})
//	if err != nil { … }
//	defer fs.Close()
//	file, err := fs.Find(ctx)
//	data, eof, err := fs.Read(ctx, file, 0, nfs.MaxRead)
//
// Every call ends within Options.Timeout, or with its context. It trusts nothing that the server
// sends: sizes are limited before memory is taken.
package nfs

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options say how to talk to a server.
type Options struct {
	Version   int           // 3 or 4; 0: 4, and 3 where the server does not have it
	Port      int           // of NFS; 0: 2049 for version 4, what the port mapper says for version 3
	MountPort int           // of the mount service, version 3 only; 0: what the port mapper says
	Timeout   time.Duration // of connecting and of each call; 0: 30 s
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error)
}

const (
	nfsPort   = 2049
	maxHandle = 128     // of version 4; those of version 3 have 64
	maxRead   = 1 << 20 // what one call may ask for
	maxName   = 255     // what Linux takes as a file name (NAME_MAX)
	maxTarget = 4096    // of a symbolic link
	maxLinks  = 16      // symbolic links on the way to a file
	maxParts  = 128     // of a path
)

// MaxRead is the most that Read returns at once.
const MaxRead = maxRead

// Kinds of files (RFC 1813, ftype3; RFC 7530, nfs_ftype4).
const (
	Regular   = 1
	Directory = 2
	symlink   = 5
)

// Attr is what is known of a file.
type Attr struct {
	Kind     uint32
	Size     int64
	ID       uint64
	Modified time.Time
}

// File is a file or directory on the server.
type File struct {
	Attr
	handle []byte
}

// protocol is a version of NFS.
type protocol interface {
	// root returns a directory as near to the end of path as the server lets us begin, and the rest.
	root(ctx context.Context, path []string) (File, []string, error)
	lookup(ctx context.Context, dir File, name string) (File, error)
	readlink(ctx context.Context, f File) (string, error)
	// names returns those in dir from a place on, as many as one call gives.
	names(ctx context.Context, dir File, from place) (page, error)
	read(ctx context.Context, f File, offset int64, count int) ([]byte, bool, *Attr, error)
	close() error
}

// FS is a connection to a server that has the path.
type FS struct {
	p    protocol
	top  File // what links may not lead out of
	rest []string
}

// Mount connects to host, for one path of the server.
func Mount(ctx context.Context, host, path string, o Options) (*FS, error) {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Dial == nil {
		o.Dial = Dial
	}
	parts, err := split(path)
	if err != nil {
		return nil, err
	}
	switch o.Version {
	case 3:
		return begin(ctx, host, parts, o, open3)
	case 4:
		return begin(ctx, host, parts, o, open4)
	}
	fs, err := begin(ctx, host, parts, o, open4)
	if err == nil || ctx.Err() != nil || !worthAnother(err) {
		return fs, err
	}
	fs, err3 := begin(ctx, host, parts, o, open3)
	var status *StatusError
	if err3 == nil || ctx.Err() != nil || errors.As(err3, &status) {
		return fs, err3
	}
	var rpc *RPCError
	if errors.As(err, &rpc) {
		return nil, err3
	}
	return nil, err // there is no version 3
}

// worthAnother says whether version 3 may do where version 4 failed with err.
func worthAnother(err error) bool {
	var rpc *RPCError
	var status *StatusError
	switch {
	case errors.As(err, &rpc):
		return true
	case errors.As(err, &status):
		return status.Code == errMinorVersion || status.missing() || status.Denied()
	}
	return refused(err) // version 3 may be on another port
}

// begin connects, and looks for where the path begins.
func begin(ctx context.Context, host string, path []string, o Options, open func(context.Context, string, Options) (protocol, error)) (*FS, error) {
	p, err := open(ctx, host, o)
	if err != nil {
		return nil, err
	}
	top, rest, err := p.root(ctx, path)
	if err != nil {
		_ = p.close() // nothing was stored in it
		return nil, err
	}
	return &FS{p: p, top: top, rest: rest}, nil
}

// Close ends the connection.
func (fs *FS) Close() error { return fs.p.close() }

// Find returns the file that the path of Mount names. Symbolic links are followed as far as they
// stay below the export.
func (fs *FS) Find(ctx context.Context) (File, error) { return fs.walk(ctx, fs.rest) }

// In returns a file in the directory that the path names.
func (fs *FS) In(ctx context.Context, name string) (File, error) {
	return fs.walk(ctx, append(slices.Clone(fs.rest), name))
}

// Read returns at most count bytes from offset on, and whether they are the last ones. It returns
// ErrChanged if the file is not as f says any more.
func (fs *FS) Read(ctx context.Context, f File, offset int64, count int) (data []byte, eof bool, err error) {
	data, eof, now, err := fs.p.read(ctx, f, offset, min(count, maxRead))
	switch {
	case err != nil:
		return nil, false, err
	case now != nil && !f.Same(*now):
		return nil, false, ErrChanged
	case len(data) > count:
		return nil, false, ErrGarbage
	case len(data) == 0 && !eof && count > 0:
		return nil, false, ErrGarbage // it would go on like that for ever
	}
	return data, eof, nil
}

// Same says whether a and b are the same version of the same file.
func (a Attr) Same(b Attr) bool {
	return a.Kind == b.Kind && a.Size == b.Size && a.ID == b.ID && a.Modified.Equal(b.Modified)
}

// walk follows a path from the top.
func (fs *FS) walk(ctx context.Context, path []string) (File, error) {
	at := []File{fs.top} // the directories on the way, to go back up
	todo, links := slices.Clone(path), 0
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if name == ".." {
			if len(at) == 1 {
				return File{}, ErrOutside
			}
			at = at[:len(at)-1]
			continue
		}
		f, err := fs.p.lookup(ctx, at[len(at)-1], name)
		if err != nil {
			return File{}, err
		}
		if f.Kind != symlink {
			at = append(at, f)
			continue
		}
		target, err := fs.p.readlink(ctx, f)
		if err != nil {
			return File{}, err
		}
		if links++; links > maxLinks || strings.HasPrefix(target, "/") {
			return File{}, ErrOutside
		}
		parts, err := split(target)
		if err != nil {
			return File{}, err
		}
		todo = append(parts, todo...)
	}
	return at[len(at)-1], nil
}

// split returns the parts of a path.
func split(path string) ([]string, error) {
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." {
			continue
		}
		if len(part) > maxName {
			return nil, errors.New("a name in the path is too long")
		}
		parts = append(parts, part)
	}
	if len(parts) > maxParts {
		return nil, errors.New("the path is too long")
	}
	return parts, nil
}

func join(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
