package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"flipside/internal/nfs"
)

// share is what an nfs: URI says.
type share struct {
	host, path     string
	address, query string // as they were written
	name           string // for people
	o              nfs.Options
}

// openNFS opens nfs://server[:port]/export/file[?vers=3|4][&mountport=...], or what is chosen in the
// directory of that name. It does not need the kernel's NFS, see package nfs.
func openNFS(ctx context.Context, uri string, o Options) (*Source, error) {
	s, err := parseShare(uri)
	if err != nil {
		return nil, err
	}
	s.o.Timeout = o.StallTimeout
	if s.o.Timeout == 0 {
		s.o.Timeout = 24 * time.Hour // no limit
	}
	dial := nfs.Dial
	if o.dials {
		dial = o.Dial
	}
	s.o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		within, cancel := context.WithTimeout(ctx, o.ConnectTimeout)
		defer cancel()
		return dial(within, network, addr)
	}
	f := &remote{share: s, retries: newRetries(ctx, o, s.name), limit: limiter{rate: o.LimitRate}}
	if err := f.connect(); err != nil {
		_ = f.Close() // nothing was stored in it
		return nil, err
	}
	if f.file.Kind == nfs.Directory {
		defer f.Close()
		return f.choose(ctx, o)
	}
	f.size.Store(f.file.Size)
	return &Source{ctx: ctx, in: f, name: s.name}, nil
}

// below is the URI of a file in the directory.
func (s share) below(name string) string {
	u := url.URL{Scheme: "nfs", Host: s.address, Path: strings.TrimSuffix(s.path, "/") + "/" + name, RawQuery: s.query}
	return u.String()
}

func parseShare(uri string) (share, error) {
	u, err := url.Parse(uri)
	bad := func(text, hint string) (share, error) {
		return share{}, (&failure{text: text, hint: hint, usage: true}).as("opening", "nfs://...")
	}
	const form = "write nfs://server/path, or nfs://server:port/path?vers=3; in a path, % is %25 and ? is %3F"
	if err != nil || u.Hostname() == "" || u.Opaque != "" || u.User != nil || u.Fragment != "" || strings.Trim(u.Path, "/") == "" {
		return bad("not a valid URL", form)
	}
	s := share{host: u.Hostname(), path: u.Path, address: u.Host, query: u.RawQuery, name: "nfs://" + u.Host + Printable(u.Path)}
	if s.o.Port, err = port(u.Port()); err != nil {
		return bad(err.Error(), form)
	}
	for key, values := range u.Query() {
		value := values[len(values)-1]
		switch {
		case key == "vers" && value == "3":
			s.o.Version = 3
		case key == "vers" && (value == "4" || value == "4.0"):
			s.o.Version = 4
		case key == "vers":
			return bad(fmt.Sprintf("NFS version %q is not supported", value), "vers=3 and vers=4 (which means 4.0) are; without vers both are tried")
		case key == "mountport":
			if s.o.MountPort, err = port(value); err != nil {
				return bad(err.Error(), form)
			}
		default:
			return bad(fmt.Sprintf("unknown option %q", key), "the options are vers and mountport")
		}
	}
	return s, nil
}

// port reads a port; "" is 0.
func port(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a port", s)
	}
	return int(n), nil
}

// remote reads a file of an NFS server, and goes on after a failure where it was.
type remote struct {
	*retries
	share share
	limit limiter

	fs   *nfs.FS  // nil: not connected
	file nfs.File // whose bytes were delivered
	rest []byte   // was read ahead
	err  error    // sticks
}

func (f *remote) Close() error {
	f.cancel()
	f.disconnect()
	return nil
}

func (f *remote) disconnect() {
	if f.fs != nil {
		_ = f.fs.Close() // nothing was stored in it
		f.fs = nil
	}
}

func (f *remote) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for f.err == nil && len(f.rest) == 0 {
		switch {
		case f.at == f.Size():
			f.err = io.EOF
		case f.fs == nil:
			f.err = f.connect()
		default:
			f.fetch()
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	if n > 0 {
		return n, nil // first; the error comes again
	}
	return 0, f.err
}

// fetch reads ahead.
func (f *remote) fetch() {
	err := f.limit.wait(f.ctx)
	if err == nil {
		count := nfs.MaxRead
		if f.limit.rate > 0 {
			count = int(min(int64(count), max(f.limit.rate/10, 1)))
		}
		count = int(min(int64(count), f.Size()-f.at))
		f.rest, _, err = f.fs.Read(f.ctx, f.file, f.at, count)
	}
	if err == nil && len(f.rest) == 0 {
		err = nfs.ErrChanged // it is shorter than it said
	}
	if err != nil {
		f.disconnect()
		f.err = f.after(explainNFS(err, f.o))
		return
	}
	f.limit.took(len(f.rest))
	f.at += int64(len(f.rest))
}

// connect tries until there is a connection that has the file.
func (f *remote) connect() error {
	for {
		err := f.try()
		if err == nil {
			f.reached = true
			return nil
		}
		f.disconnect()
		if err := f.after(explainNFS(err, f.o)); err != nil {
			return err
		}
	}
}

// try connects once. What was delivered must belong to the file that is there now.
func (f *remote) try() error {
	var err error
	if f.fs, err = nfs.Mount(f.ctx, f.share.host, f.share.path, f.share.o); err != nil {
		return err
	}
	file, err := f.fs.Find(f.ctx)
	if err != nil {
		return err
	}
	switch {
	case f.at > 0 && !file.Same(f.file.Attr):
		return nfs.ErrChanged
	case file.Kind != nfs.Regular && file.Kind != nfs.Directory:
		return errNoFile
	case file.Kind == nfs.Directory && f.o.Choose == nil:
		return errDirectory
	}
	f.file = file
	return nil
}

var (
	errNoFile    = errors.New("it is not a file")
	errDirectory = errors.New("it is a directory")
)

// choose opens what is chosen in the directory that f is.
func (f *remote) choose(ctx context.Context, o Options) (*Source, error) {
	names, err := f.fs.List(f.ctx, f.file)
	if err != nil {
		return nil, explainNFS(err, o).as("listing", f.name)
	}
	var entries []Entry
	for _, name := range names {
		file, err := f.fs.In(f.ctx, name)
		var status *nfs.StatusError
		if err != nil && !errors.Is(err, nfs.ErrOutside) && !errors.As(err, &status) {
			return nil, explainNFS(err, o).as("listing", f.name)
		}
		if err != nil || file.Kind != nfs.Regular {
			continue
		}
		entries = append(entries, Entry{Place: f.name, Name: name, Size: file.Size, Modified: file.Modified, open: func(ctx context.Context) (*Source, error) {
			return openNFS(ctx, f.share.below(name), o)
		}})
	}
	return choose(ctx, f.name, o, false, entries)
}

// explainNFS says why it did not work.
func explainNFS(err error, o Options) *failure {
	var status *nfs.StatusError
	var rpc *nfs.RPCError
	switch {
	case errors.Is(err, nfs.ErrChanged):
		return changed()
	case errors.Is(err, nfs.ErrOutside):
		return &failure{text: err.Error(), err: err, hint: "name the file that it leads to"}
	case errors.Is(err, errDirectory):
		return &failure{text: err.Error(), err: err, hint: "name the artifact in it"}
	case errors.Is(err, errNoFile):
		return &failure{text: err.Error(), err: err}
	case errors.As(err, &rpc):
		return &failure{text: err.Error(), err: err, hint: "?vers=3 or ?vers=4 behind the path asks for one version of NFS; does the server offer it?"}
	case errors.As(err, &status) && status.Denied():
		return &failure{text: err.Error(), err: err, retry: true, wrong: true, hint: "export it to the address of this device on the server (exports: ro, insecure unless flipside runs as root)"}
	case errors.As(err, &status) && status.Temporary():
		return &failure{text: err.Error(), err: err, retry: true, hint: "look at the server"}
	case errors.As(err, &status):
		return &failure{text: err.Error(), err: err, retry: true, wrong: true, hint: "check the path: first what the server exports, then what is below it"}
	case errors.Is(err, nfs.ErrGarbage):
		return &failure{text: err.Error(), err: err, retry: true, wrong: true, hint: "is it an NFS server, and is the port right?"}
	}
	return explain(err, o.now())
}
