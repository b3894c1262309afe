package nfs

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Operations of version 4.0 (RFC 7530, section 16).
const (
	opGetAttr   = 9
	opGetFH     = 10
	opLookup    = 15
	opPutFH     = 22
	opPutRootFH = 24
	opRead      = 25
	opReadDir   = 26
	opReadLink  = 27
)

// Attributes that are asked for, by their numbers, which is also their order in an answer.
const (
	attrType     = 1
	attrSize     = 4
	attrFileID   = 20
	attrModified = 53
)

// version4 follows RFC 7530: one port, one program, one tree with all exports in it.
type version4 struct{ rpc *rpc }

func open4(ctx context.Context, host string, o Options) (protocol, error) {
	c, err := connect(ctx, o.Dial, join(host, cmp.Or(o.Port, nfsPort)), o.Timeout)
	if err != nil {
		return nil, err
	}
	return &version4{c}, nil
}

func (v *version4) close() error { return v.rpc.close() }

// compound is a list of operations that the server does one after the other.
type compound struct {
	e   encoder
	ops []uint32
}

func (c *compound) op(number uint32) *encoder {
	c.ops = append(c.ops, number)
	c.e.uint32(number)
	return &c.e
}

func on(f File) *compound {
	c := &compound{}
	c.op(opPutFH).opaque(f.handle)
	return c
}

func (c *compound) getAttr() {
	c.op(opGetAttr).uint32(2, 1<<attrType|1<<attrSize|1<<attrFileID, 1<<(attrModified-32))
}

// do calls c and returns its answers; each must be taken in turn with answer.
func (v *version4) do(ctx context.Context, c *compound) (*answers, error) {
	var e encoder
	e.opaque(nil) // tag
	e.uint32(0, uint32(len(c.ops)))
	d, err := v.rpc.call(ctx, programNFS, 4, 1, append(e, c.e...))
	if err != nil {
		return nil, err
	}
	if err := status(d); err != nil {
		return nil, err
	}
	d.opaque(maxTarget) // tag
	if int64(d.uint32()) != int64(len(c.ops)) {
		d.bad = true
	}
	return &answers{d, c.ops}, d.err()
}

// answers are what is left of the answers to a compound.
type answers struct {
	*decoder
	ops []uint32
}

// next goes to the next answer, over the one of PUTFH and others that have no content.
func (a *answers) next(op uint32) {
	for len(a.ops) > 0 {
		is := a.ops[0]
		a.ops = a.ops[1:]
		if a.uint32() != is || a.uint32() != 0 {
			a.bad = true
		}
		if is == op {
			return
		}
	}
	a.bad = true
}

// file takes the answers to GETFH and GETATTR.
func (a *answers) file() (File, error) {
	a.next(opGetFH)
	f := File{handle: slices.Clone(a.opaque(maxHandle))}
	a.next(opGetAttr)
	f.Attr = a.attr()
	return f, a.err()
}

// attr takes a fattr4 (RFC 7530, section 5). All that was asked for must be there.
func (a *answers) attr() (attr Attr) {
	words := a.uint32()
	var set uint64
	for i := uint32(0); i < words && !a.bad; i++ {
		word := a.uint32()
		if i < 2 {
			set |= uint64(word) << (32 * i)
		} else if word != 0 {
			a.bad = true
		}
	}
	const asked = 1<<attrType | 1<<attrSize | 1<<attrFileID | 1<<attrModified
	d := &decoder{b: a.opaque(1024)}
	if set != asked {
		a.bad = true
		return attr
	}
	attr.Kind = d.uint32()
	attr.Size = size(d)
	attr.ID = d.uint64()
	seconds, nanoseconds := int64(d.uint64()), d.uint32()
	attr.Modified = time.Unix(seconds, int64(nanoseconds))
	a.bad = a.bad || d.bad
	return attr
}

func (v *version4) root(ctx context.Context, path []string) (File, []string, error) {
	c := &compound{}
	c.op(opPutRootFH)
	c.op(opGetFH)
	c.getAttr()
	a, err := v.do(ctx, c)
	if err != nil {
		return File{}, nil, err
	}
	f, err := a.file()
	return f, path, err
}

func (v *version4) lookup(ctx context.Context, dir File, name string) (File, error) {
	c := on(dir)
	c.op(opLookup).opaque([]byte(name))
	c.op(opGetFH)
	c.getAttr()
	a, err := v.do(ctx, c)
	if err != nil {
		return File{}, err
	}
	return a.file()
}

func (v *version4) readlink(ctx context.Context, f File) (string, error) {
	c := on(f)
	c.op(opReadLink)
	a, err := v.do(ctx, c)
	if err != nil {
		return "", err
	}
	a.next(opReadLink)
	target := a.text(maxTarget)
	return target, a.err()
}

func (v *version4) read(ctx context.Context, f File, offset int64, count int) ([]byte, bool, *Attr, error) {
	c := on(f)
	c.getAttr()
	e := c.op(opRead)
	e.fixed(make([]byte, 16)) // the anonymous state identifier: section 9.1.4.3
	e.uint64(uint64(offset))
	e.uint32(uint32(count))
	a, err := v.do(ctx, c)
	if err != nil {
		return nil, false, nil, err
	}
	a.next(opGetAttr)
	now := a.attr()
	a.next(opRead)
	eof := a.bool()
	data := a.opaque(maxRead)
	return data, eof, &now, a.err()
}

func (v *version4) names(ctx context.Context, dir File, from place) (page, error) {
	c := on(dir)
	e := c.op(opReadDir)
	e.uint64(from.cookie)
	e.fixed(from.verifier[:])
	e.uint32(pageSize, pageSize, 0) // no attributes
	a, err := v.do(ctx, c)
	if err != nil {
		return page{}, err
	}
	a.next(opReadDir)
	p := page{next: from}
	copy(p.next.verifier[:], a.take(verifierSize))
	for a.bool() {
		p.next.cookie = a.uint64()
		p.names = append(p.names, a.text(maxName))
		for words := a.uint32(); words > 0 && !a.bad; words-- {
			a.uint32() // which attributes come: none
		}
		a.opaque(maxTarget) // their values
	}
	p.last = a.bool()
	return p, a.err()
}
