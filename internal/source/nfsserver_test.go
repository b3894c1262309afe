package source_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"flipside/internal/nfs/nfstest"
	"flipside/internal/source"
)

// nfsShare is an NFS version 3 server on a wire, with one file, /export/a.mender. Its steps say how it
// treats the first reads; all others it answers properly.
type nfsShare struct {
	t     *testing.T
	data  []byte
	mtime uint32
	steps []readStep
	mount uint32        // status of the mount service
	find  uint32        // status of a look-up
	only3 bool          // NFS version 4 is not spoken
	until time.Duration // when the operator has had enough; 0: never

	mu    sync.Mutex
	reads int
	calls int
	notes []string
}

// readStep returns what to answer to a read, or nil to give up the connection. It may wait for gone,
// which is closed when the client is.
type readStep func(s *nfsShare, offset uint64, count uint32, gone <-chan struct{}) []byte

func newNFSShare(t *testing.T, size int, steps ...readStep) *nfsShare {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	return &nfsShare{t: t, data: data, mtime: 1000, steps: steps, only3: true}
}

// attr is a fattr3.
func (s *nfsShare) attr(kind int) []byte {
	return nfstest.Words(kind, 0o644, 1, 0, 0, uint64(len(s.data)), uint64(0), 0, 0, uint64(1), uint64(7), 0, 0, int(s.mtime), 0, 0, 0)
}

// properly answers a read.
func readProperly(s *nfsShare, offset uint64, count uint32, _ <-chan struct{}) []byte {
	from := min(offset, uint64(len(s.data)))
	to := min(from+uint64(count), uint64(len(s.data)))
	eof := 0
	if to == uint64(len(s.data)) {
		eof = 1
	}
	return nfstest.Words(0, 1, s.attr(1), int(to-from), eof, string(s.data[from:to]))
}

// serve answers calls until the client is gone.
func (s *nfsShare) serve(c net.Conn) {
	defer c.Close()
	gone := make(chan struct{})
	calls := make(chan []byte)
	go func() {
		defer close(gone)
		for {
			call, err := nfstest.ReadCall(c)
			if err != nil {
				return
			}
			calls <- call
		}
	}()
	defer func() { <-gone }()
	defer c.Close()
	for {
		select {
		case <-gone:
			return
		case call := <-calls:
			reply := s.answer(call, gone)
			if reply == nil {
				return
			}
			if _, err := c.Write(nfstest.Reply(call, reply)); err != nil {
				return
			}
		}
	}
}

// answer is the reply to a call without its xid.
func (s *nfsShare) answer(call []byte, gone <-chan struct{}) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	at := func(i int) int { return int(binary.BigEndian.Uint32(call[i:])) }
	program, version, procedure := at(12), at(16), at(20)
	cred := (at(28) + 3) &^ 3
	args := call[32+cred+8:]
	done := func(body ...any) []byte { return nfstest.Accepted(nfstest.Words(body...)) }
	switch {
	case program == 100003 && version == 4 && s.only3:
		return nfstest.Words(1, 0, 0, 0, 2, 3, 3) // PROG_MISMATCH
	case program == 100000:
		return done(map[int]int{100003: 2049, 100005: 2048}[int(binary.BigEndian.Uint32(args))])
	case program == 100005:
		n := binary.BigEndian.Uint32(args)
		if string(args[4:4+n]) != "/export" || s.mount != 0 {
			return done(int(max(s.mount, 2)))
		}
		return done(0, "top", 1, 1)
	}
	handle := binary.BigEndian.Uint32(args)
	name := string(args[4 : 4+handle])
	rest := args[4+(handle+3)&^3:]
	switch procedure {
	case 1:
		if name == "top" {
			return done(0, s.attr(2))
		}
		return done(0, s.attr(1))
	case 3:
		n := binary.BigEndian.Uint32(rest)
		switch file := string(rest[4 : 4+n]); {
		case s.find != 0:
			return done(int(s.find), 0)
		case file != "a.mender" || name != "top":
			return done(2, 0)
		}
		return done(0, "file", 0, 0) // no attributes: the client has to ask
	case 6:
		offset, count := binary.BigEndian.Uint64(rest), binary.BigEndian.Uint32(rest[8:])
		step := readProperly
		if s.reads < len(s.steps) {
			step = s.steps[s.reads]
		}
		s.reads++
		if body := step(s, offset, count, gone); body != nil {
			return done(body)
		}
	case 16:
		return done(0, 0, uint64(0), 1, uint64(1), ".", uint64(1), 1, uint64(7), "a.mender", uint64(2), 0, 1)
	}
	return nil
}

// within opens uri in a bubble, and returns how much time passed there.
func (s *nfsShare) within(uri string, change func(*source.Options), check func(src *source.Source, err error)) (took time.Duration) {
	s.t.Helper()
	synctest.Test(s.t, func(t *testing.T) {
		w := newWire()
		var serving sync.WaitGroup
		serving.Go(func() {
			for {
				c, err := w.Accept()
				if err != nil {
					return
				}
				serving.Go(func() { s.serve(c) })
			}
		})
		o := source.Options{Dial: w.Dial, Notify: func(text string) { s.notes = append(s.notes, text) }}
		if change != nil {
			change(&o)
		}
		start := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if s.until > 0 {
			time.AfterFunc(s.until, cancel)
		}
		src, err := source.Open(ctx, uri, o)
		check(src, err)
		took = time.Since(start)
		if src != nil {
			if err := src.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return took
}

// download reads all.
func (s *nfsShare) download(uri string, change func(*source.Options)) (got []byte, took time.Duration, err error) {
	s.t.Helper()
	took = s.within(uri, change, func(src *source.Source, openErr error) {
		if err = openErr; err == nil {
			got, err = io.ReadAll(src)
		}
	})
	if !bytes.HasPrefix(s.data, got) && err != nil {
		s.t.Errorf("got %d bytes that are not the beginning of the file", len(got))
	}
	return got, took, err
}
