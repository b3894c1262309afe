package nfs_test

import (
	"context"
	"net"
	"testing"
	"time"

	"flipside/internal/nfs"
	"flipside/internal/nfs/nfstest"
)

// serve answers the n-th call with the n-th body, under a proper header unless raw, and then goes.
func serve(c net.Conn, raw bool, bodies <-chan []byte) {
	defer c.Close()
	for {
		call, err := nfstest.ReadCall(c)
		if err != nil {
			return
		}
		body, ok := <-bodies
		if !ok {
			return
		}
		if !raw {
			body = nfstest.Reply(call, nfstest.Accepted(body))
		}
		if _, err := c.Write(body); err != nil {
			return
		}
	}
}

// FuzzServer answers with anything: no panic, no hang, no more than was asked for.
func FuzzServer(f *testing.F) {
	be := nfstest.Words
	attr3 := be(1, 0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 0, 0, 7, 0, 0, 9, 0, 9, 0)
	mounted := be(0, "handle", 1, 1)
	dir3 := be(2, attr3[4:])
	list3 := be(0, 0, 0, 0, 1, 0, 7, "a.mender", 0, 1, 0, 1)
	f.Add(3, false, mounted, be(0, dir3), list3)
	f.Add(3, false, mounted, be(0, attr3), be(0, 1, attr3, 5, 1, "hello"))
	f.Add(3, false, mounted, be(0, attr3), be(0, 0, 5, 0, "hel"))
	f.Add(3, false, be(13), be(2), be(0, "handle", 1<<30))
	f.Add(3, false, be(0, "handle", 1, 6), be(0), be(70))
	file4 := be(0, "", 4, 22, 0, 15, 0, 10, 0, "handle", 9, 0, 2, 1<<1|1<<4|1<<20, 1<<21, 36, 1, 0, 5, 0, 7, 0, 9, 0)
	f.Add(4, false, be(0, "", 3, 24, 0, 10, 0, "root", 9, 0, 2, 1<<1|1<<4|1<<20, 1<<21, 36, 2, 0, 5, 0, 7, 0, 9, 0), file4, be(10021))
	f.Add(4, false, be(10021), []byte{}, be(0, "", 1<<31-1))
	f.Add(4, true, be(uint32(1<<31|4), 0), be(1<<31-1), []byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add(4, true, make([]byte, 8192), be(16), be(0))
	f.Fuzz(func(t *testing.T, version int, raw bool, one, two, three []byte) {
		bodies := make(chan []byte, 3)
		bodies <- one
		bodies <- two
		bodies <- three
		close(bodies)
		served := make(chan struct{}, 100)
		n := 0
		dial := func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			n++
			go func() { serve(server, raw, bodies); served <- struct{}{} }()
			return client, nil
		}
		defer func() {
			for range n {
				<-served
			}
		}()
		fs, err := nfs.Mount(t.Context(), "server", "/a", nfs.Options{Version: 3 + version&1, Port: 1, MountPort: 2, Timeout: 100 * time.Millisecond, Dial: dial})
		if err != nil {
			return
		}
		defer fs.Close()
		file, err := fs.Find(t.Context())
		if err != nil {
			return
		}
		if file.Kind == nfs.Directory {
			names, _ := fs.List(t.Context(), file)
			for _, name := range names {
				if name == "" || name == ".." || len(name) > 255 {
					t.Errorf("a file is called %q", name)
				}
			}
			return
		}
		if data, _, err := fs.Read(t.Context(), file, 0, 5); err == nil && len(data) > 5 {
			t.Errorf("read %d bytes; asked for 5", len(data))
		}
	})
}
