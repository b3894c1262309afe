// Package webtest is a real web server, an authority for its certificates, and a bad network in
// front of it. It is only for tests.
package webtest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Fault is what becomes of the bytes that a server sends on one connection, TLS and all.
type Fault func(c *Conn) error

// Conn is one connection through the network. Whoever serves it may return at any time; then the
// connection is reset.
type Conn struct {
	client *net.TCPConn
	server *bufio.Reader
	gone   <-chan struct{} // closed when the client has gone
}

// Network passes connections on to a server: the first ones each with a fault of its own, all
// others with Then.
type Network struct {
	First []Fault
	Then  Fault // nil: Pass
}

// To opens the network until the test ends, and returns the address by which it leads to the
// server at addr. Both are host:port.
func (n Network) To(t *testing.T, addr string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; ; i++ {
			client, err := l.Accept()
			if err != nil {
				return
			}
			fault := n.Then
			if i < len(n.First) {
				fault = n.First[i]
			}
			if fault == nil {
				fault = Pass
			}
			all.Go(func() { relay(client.(*net.TCPConn), addr, fault) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // which ends Accept; clients are gone by now, or time out
		all.Wait()
	})
	return l.Addr().String()
}

// longest is after what a connection ends even if both sides sleep: no test takes as long.
const longest = time.Minute

func relay(client *net.TCPConn, addr string, fault Fault) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return // the client sees the connection go
	}
	deadline := time.Now().Add(longest)
	_ = errors.Join(client.SetDeadline(deadline), server.SetDeadline(deadline)) // both are open
	gone := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		defer close(gone)
		_, _ = io.Copy(server, client) // ends when either side goes
		_ = server.Close()
	})
	if fault(&Conn{client, bufio.NewReaderSize(server, 64<<10), gone}) != nil {
		_ = client.SetLinger(0) // reset
	}
	_ = errors.Join(client.Close(), server.Close()) // ends asking
	asking.Wait()
}

// errFault ends a connection with a reset.
var errFault = errors.New("fault")

// Pass changes nothing.
func Pass(c *Conn) error {
	_, err := io.Copy(c.client, c.server)
	return err
}

// Cut resets the connection after so many bytes.
func Cut(after int64) Fault {
	return func(c *Conn) error {
		if _, err := io.CopyN(c.client, c.server, after); err != nil {
			return err
		}
		return errFault
	}
}

// End closes the connection after so many bytes, as a server does that was stopped.
func End(after int64) Fault {
	return func(c *Conn) error {
		_, err := io.CopyN(c.client, c.server, after)
		return err
	}
}

// Stall sends nothing more after so many bytes, until the client goes.
func Stall(after int64) Fault { return StallAndTell(after, nil) }

// StallAndTell is Stall, and says to stalled, unless that is nil, when nothing more comes.
func StallAndTell(after int64, stalled chan<- struct{}) Fault {
	return func(c *Conn) error {
		if _, err := io.CopyN(c.client, c.server, after); err != nil {
			return err
		}
		if stalled != nil {
			stalled <- struct{}{}
		}
		<-c.gone
		return nil
	}
}

// Slow sends a bit at a time, with a break after each.
func Slow(bit int64, after time.Duration) Fault {
	return func(c *Conn) error {
		tick := time.NewTicker(after)
		defer tick.Stop()
		for {
			if _, err := io.CopyN(c.client, c.server, bit); err != nil {
				if err == io.EOF {
					return nil
				}
				return err
			}
			select {
			case <-tick.C:
			case <-c.gone:
				return errFault
			}
		}
	}
}

// Corrupt turns a bit over, at bytes from the beginning.
func Corrupt(at int64) Fault {
	return func(c *Conn) error {
		if _, err := io.CopyN(c.client, c.server, at); err != nil {
			return err
		}
		b, err := c.server.ReadByte()
		if err != nil {
			return err
		}
		if _, err := c.client.Write([]byte{b ^ 4}); err != nil {
			return err
		}
		return Pass(c)
	}
}

// Head replaces text in the head of the first answer, which must be plain http, and leaves the
// rest to then.
func Head(change *strings.Replacer, then Fault) Fault {
	return func(c *Conn) error {
		var head bytes.Buffer
		for !bytes.HasSuffix(head.Bytes(), []byte("\r\n\r\n")) {
			line, err := c.server.ReadBytes('\n')
			if err != nil {
				return err
			}
			head.Write(line)
		}
		if _, err := change.WriteString(c.client, head.String()); err != nil {
			return err
		}
		return then(c)
	}
}
