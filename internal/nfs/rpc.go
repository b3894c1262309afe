package nfs

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	maxReply     = maxRead + 64<<10 // the largest is that of a read; the rest of it is small
	maxFragments = 1024             // of one reply: real servers send one
	maxStale     = 16               // answers to what was given up; one call is under way at a time
)

// rpc calls procedures of one server by ONC RPC version 2 over TCP (RFC 5531), one at a time. After
// an error that is no *RPCError it is of no use any more.
type rpc struct {
	conn    net.Conn
	r       *bufio.Reader
	xid     uint32
	cred    []byte
	timeout time.Duration
}

// connect opens a connection. timeout limits the connecting, and each call.
func connect(ctx context.Context, dial dialFunc, addr string, timeout time.Duration) (*rpc, error) {
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := dial(within, "tcp", addr)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return &rpc{conn: conn, r: bufio.NewReaderSize(conn, 64<<10), xid: rand.Uint32(), cred: authSys(), timeout: timeout}, nil
}

func (c *rpc) close() error { return c.conn.Close() }

// authSys says who asks (RFC 5531, appendix A): user and group of this process, as kernels do.
func authSys() []byte {
	name, _ := os.Hostname() // only for the server's log
	name = name[:min(len(name), 255)]
	var body, e encoder
	body.uint32(0)
	body.opaque([]byte(name))
	body.uint32(uint32(os.Geteuid()), uint32(os.Getegid()), 0)
	e.uint32(1) // AUTH_SYS
	e.opaque(body)
	e.uint32(0, 0) // verifier: none
	return e
}

// call calls a procedure and returns what comes after the header of its reply.
func (c *rpc) call(ctx context.Context, program, version, procedure uint32, args []byte) (*decoder, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := c.conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) }) // wakes us up
	defer stop()
	c.xid++
	var e encoder
	e.uint32(0, c.xid, 0, 2, program, version, procedure)
	e = append(append(e, c.cred...), args...)
	binary.BigEndian.PutUint32(e, uint32(len(e)-4)|lastFragment)
	if _, err := c.conn.Write(e); err != nil {
		return nil, why(ctx, err)
	}
	for range maxStale {
		reply, err := c.record()
		if err != nil {
			return nil, why(ctx, err)
		}
		d := &decoder{b: reply}
		if d.uint32() != c.xid {
			continue
		}
		return d, accepted(d)
	}
	return nil, ErrGarbage
}

// why is the context's error where that is why the connection had enough.
func why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

const lastFragment = 1 << 31

// record reads one message (RFC 5531, section 11). It takes memory as bytes come, not as they are
// announced.
func (c *rpc) record() ([]byte, error) {
	var message []byte
	for range maxFragments {
		var head [4]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			return nil, err
		}
		n := int(binary.BigEndian.Uint32(head[:]) &^ lastFragment)
		if n > maxReply-len(message) {
			return nil, ErrGarbage
		}
		for n > 0 {
			const step = 256 << 10
			at := len(message)
			message = append(message, make([]byte, min(n, step))...)
			if _, err := io.ReadFull(c.r, message[at:]); err != nil {
				return nil, err
			}
			n -= len(message) - at
		}
		if head[0]&0x80 != 0 {
			return message, nil
		}
	}
	return nil, ErrGarbage
}

// RPCError is a server that does not do what it is asked for at all.
type RPCError struct {
	text         string
	OtherVersion bool // it does not speak this version of the protocol
}

func (e *RPCError) Error() string { return e.text }

// accepted checks the header of a reply.
func accepted(d *decoder) error {
	if d.uint32() != 1 { // REPLY
		return ErrGarbage
	}
	if d.uint32() != 0 { // MSG_ACCEPTED
		if d.uint32() == 0 {
			return &RPCError{text: "the server speaks another version of RPC"}
		}
		return &RPCError{text: fmt.Sprintf("the server refuses who we are (authentication error %d)", d.uint32())}
	}
	d.uint32()
	d.opaque(400)
	stat := d.uint32()
	if err := d.err(); err != nil {
		return err
	}
	switch stat {
	case 0:
		return nil
	case 1, 2:
		return &RPCError{text: "the server does not speak this version of the protocol", OtherVersion: true}
	case 3:
		return &RPCError{text: "the server does not know the procedure"}
	}
	return &RPCError{text: fmt.Sprintf("the server refuses the call (status %d)", stat)}
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Dial connects from a port below 1024 if it may: that is how NFS servers know that it is root who
// asks, and most ask for it.
func Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if os.Geteuid() == 0 {
		const lowest, highest, tries = 600, 1023, 20
		for range tries {
			d := net.Dialer{LocalAddr: &net.TCPAddr{Port: lowest + rand.IntN(highest-lowest+1)}}
			conn, err := d.DialContext(ctx, network, addr)
			switch {
			case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EADDRNOTAVAIL):
				continue
			case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
			return conn, err
		}
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}
