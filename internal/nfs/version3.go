package nfs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Programs and their versions.
const (
	programPortmap = 100000
	programNFS     = 100003
	programMount   = 100005
)

// version3 follows RFC 1813. A separate service, found by the port mapper, gives the first handle.
type version3 struct {
	host string
	o    Options
	rpc  *rpc
}

func open3(ctx context.Context, host string, o Options) (protocol, error) {
	port := o.Port
	if port == 0 {
		var err error
		if port, err = portOf(ctx, host, programNFS, o); err != nil {
			return nil, err
		}
	}
	c, err := connect(ctx, o.Dial, join(host, port), o.Timeout)
	if err != nil {
		return nil, err
	}
	return &version3{host, o, c}, nil
}

// portOf asks the port mapper (RFC 1833, section 3).
func portOf(ctx context.Context, host string, program uint32, o Options) (int, error) {
	c, err := connect(ctx, o.Dial, join(host, 111), o.Timeout)
	if err != nil {
		return 0, fmt.Errorf("asking the port mapper: %w", err)
	}
	defer c.close()
	var args encoder
	args.uint32(program, 3, 6, 0) // version 3, by TCP
	d, err := c.call(ctx, programPortmap, 2, 3, args)
	if err != nil {
		return 0, fmt.Errorf("asking the port mapper: %w", err)
	}
	port := d.uint32()
	switch {
	case d.bad || port > math.MaxUint16:
		return 0, ErrGarbage
	case port == 0:
		return 0, &RPCError{text: "the server does not offer NFS version 3 by TCP", OtherVersion: true}
	}
	return int(port), nil
}

func (v *version3) close() error { return v.rpc.close() }

// root asks the mount service (RFC 1813, appendix I). What is exported is the path or something above
// it; the longest wins, because another file system may be exported below.
func (v *version3) root(ctx context.Context, path []string) (File, []string, error) {
	port := v.o.MountPort
	if port == 0 {
		var err error
		if port, err = portOf(ctx, v.host, programMount, v.o); err != nil {
			return File{}, nil, err
		}
	}
	c, err := connect(ctx, v.o.Dial, join(v.host, port), v.o.Timeout)
	if err != nil {
		return File{}, nil, fmt.Errorf("connecting to the mount service: %w", err)
	}
	defer c.close()
	best := &StatusError{Code: errNoEnt, text: "the server exports neither /" + strings.Join(path, "/") + " nor anything above it"}
	for n := len(path); n >= 0; n-- {
		f, err := v.mount(ctx, c, "/"+strings.Join(path[:n], "/"))
		if err == nil {
			return f, path[n:], nil
		}
		var s *StatusError
		switch {
		case !errors.As(err, &s):
			return File{}, nil, err
		case s.Temporary():
			return File{}, nil, s
		case s.Denied() && !best.Denied():
			best = &StatusError{Code: s.Code, text: "the server does not export /" + strings.Join(path[:n], "/") + " to this device"}
		}
	}
	return File{}, nil, best
}

// mount gets the handle of an exported directory.
func (v *version3) mount(ctx context.Context, c *rpc, dir string) (File, error) {
	var args encoder
	args.opaque([]byte(dir))
	d, err := c.call(ctx, programMount, 3, 1, args)
	if err == nil {
		err = status(d)
	}
	if err != nil {
		return File{}, err
	}
	f := File{handle: slices.Clone(d.opaque(64))}
	flavors := d.uint32()
	usable := flavors == 0
	for ; flavors > 0 && !d.bad; flavors-- {
		flavor := d.uint32()
		usable = usable || flavor <= 1 // none, AUTH_SYS
	}
	switch {
	case d.bad:
		return File{}, ErrGarbage
	case !usable:
		return File{}, &StatusError{Code: errWrongSec}
	}
	return v.stat(ctx, f)
}

// do calls a procedure that begins with a handle.
func (v *version3) do(ctx context.Context, procedure uint32, f File, args encoder) (*decoder, error) {
	var e encoder
	e.opaque(f.handle)
	d, err := v.rpc.call(ctx, programNFS, 3, procedure, append(e, args...))
	if err != nil {
		return nil, err
	}
	return d, status(d)
}

func (v *version3) stat(ctx context.Context, f File) (File, error) {
	d, err := v.do(ctx, 1, f, nil)
	if err != nil {
		return File{}, err
	}
	f.Attr = attr3(d)
	return f, d.err()
}

// attr3 takes a fattr3.
func attr3(d *decoder) (a Attr) {
	a.Kind = d.uint32()
	d.take(4 * 4) // mode, links, owner, group
	a.Size = size(d)
	d.take(8 + 8 + 8) // used, device, file system
	a.ID = d.uint64()
	d.take(8) // access time
	seconds, nanoseconds := d.uint32(), d.uint32()
	a.Modified = time.Unix(int64(seconds), int64(nanoseconds))
	d.take(8) // change time
	return a
}

// size takes a size that a file can have here.
func size(d *decoder) int64 {
	n := d.uint64()
	if n > math.MaxInt64 {
		d.bad = true
		return 0
	}
	return int64(n)
}

// maybeAttr3 takes a post_op_attr.
func maybeAttr3(d *decoder) *Attr {
	if !d.bool() {
		return nil
	}
	a := attr3(d)
	return &a
}

func (v *version3) lookup(ctx context.Context, dir File, name string) (File, error) {
	var args encoder
	args.opaque([]byte(name))
	d, err := v.do(ctx, 3, dir, args)
	if err != nil {
		return File{}, err
	}
	f := File{handle: slices.Clone(d.opaque(64))}
	a := maybeAttr3(d)
	if err := d.err(); err != nil {
		return File{}, err
	}
	if a == nil {
		return v.stat(ctx, f)
	}
	f.Attr = *a
	return f, nil
}

func (v *version3) readlink(ctx context.Context, f File) (string, error) {
	d, err := v.do(ctx, 5, f, nil)
	if err != nil {
		return "", err
	}
	maybeAttr3(d)
	target := d.text(maxTarget)
	return target, d.err()
}

func (v *version3) read(ctx context.Context, f File, offset int64, count int) ([]byte, bool, *Attr, error) {
	var args encoder
	args.uint64(uint64(offset))
	args.uint32(uint32(count))
	d, err := v.do(ctx, 6, f, args)
	if err != nil {
		return nil, false, nil, err
	}
	a := maybeAttr3(d)
	n := d.uint32()
	eof := d.bool()
	data := d.opaque(maxRead)
	if int64(n) != int64(len(data)) {
		d.bad = true
	}
	return data, eof, a, d.err()
}

// names is READDIR, which every server has.
func (v *version3) names(ctx context.Context, dir File, from place) (page, error) {
	var args encoder
	args.uint64(from.cookie)
	args.fixed(from.verifier[:])
	args.uint32(pageSize)
	d, err := v.do(ctx, 16, dir, args)
	if err != nil {
		return page{}, err
	}
	maybeAttr3(d)
	p := page{next: from}
	copy(p.next.verifier[:], d.take(verifierSize))
	for d.bool() {
		d.uint64() // file id
		p.names = append(p.names, d.text(maxName))
		p.next.cookie = d.uint64()
	}
	p.last = d.bool()
	return p, d.err()
}
