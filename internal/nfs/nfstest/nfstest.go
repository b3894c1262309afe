// Package nfstest is how NFS goes over the wire, for servers that tests make up: numbers and texts as
// XDR (RFC 4506), calls and replies in records (RFC 5531, section 11). It is only for tests.
package nfstest

import (
	"encoding/binary"
	"io"
)

// lastPart marks the last fragment of a record; we write records of one fragment.
const lastPart uint32 = 1 << 31

// Words is XDR of numbers (int and uint32 take four bytes, uint64 eight), texts (string), and what is
// XDR already ([]byte).
func Words(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		case uint32:
			b = binary.BigEndian.AppendUint32(b, p)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, p)
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
			b = append(b, make([]byte, -len(p)&3)...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

// ReadCall reads a call: its number (xid) and all that follows.
func ReadCall(r io.Reader) (call []byte, err error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	call = make([]byte, binary.BigEndian.Uint32(head)&^lastPart)
	_, err = io.ReadFull(r, call)
	return call, err
}

// Reply is the record with the answer to a call: its number, and body, which begins with the word
// for a reply.
func Reply(call, body []byte) []byte {
	return Words(lastPart|uint32(4+len(body)), call[:4], body)
}

// Accepted begins the body of a reply to a call that was accepted and done.
func Accepted(results []byte) []byte { return Words(1, 0, 0, 0, 0, results) }
