package nfs

import (
	"encoding/binary"
	"errors"
)

// ErrGarbage means that the server does not follow its protocol. It is not worth another try
// by itself, but the next connection may lead to a better server.
var ErrGarbage = errors.New("the server's answer makes no sense")

// encoder appends values in XDR (RFC 4506): big-endian, padded to four bytes.
type encoder []byte

func (e *encoder) uint32(values ...uint32) {
	for _, v := range values {
		*e = binary.BigEndian.AppendUint32(*e, v)
	}
}

func (e *encoder) uint64(v uint64) { *e = binary.BigEndian.AppendUint64(*e, v) }

// fixed appends bytes whose number both sides know.
func (e *encoder) fixed(b []byte) {
	*e = append(*e, b...)
	*e = append(*e, make([]byte, padding(len(b)))...)
}

func (e *encoder) opaque(b []byte) {
	e.uint32(uint32(len(b)))
	e.fixed(b)
}

func padding(n int) int { return -n & 3 }

// decoder takes values from a message that is all there. After the first thing that does not fit it
// gives zeros only; bad says so. What it hands out is never larger than the message.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32() uint32 {
	if v := d.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if v := d.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (d *decoder) bool() bool { return d.uint32() != 0 }

// opaque takes bytes with their number in front, at most limit of them.
func (d *decoder) opaque(limit int) []byte {
	n := d.uint32()
	if int64(n) > int64(limit) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.take(int(n))
	d.take(padding(int(n)))
	return v
}

func (d *decoder) text(limit int) string { return string(d.opaque(limit)) }

// err is ErrGarbage if something did not fit.
func (d *decoder) err() error {
	if d.bad {
		return ErrGarbage
	}
	return nil
}
