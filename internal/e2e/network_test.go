package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
)

// breaking is a web server that breaks the first connections off, after some bytes each.
type breaking struct {
	path   string
	breaks int // how often
	mu     sync.Mutex
	ranges []string // of the requests
}

func (b *breaking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.ranges = append(b.ranges, r.Header.Get("Range"))
	broken := len(b.ranges) <= b.breaks
	b.mu.Unlock()
	if broken {
		w = &limited{ResponseWriter: w, left: 3 * mib}
	}
	http.ServeFile(w, r, b.path)
}

// limited breaks the connection off.
type limited struct {
	http.ResponseWriter
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return l.ResponseWriter.Write(p)
}

// connectionLost installs from a server on the host, whose connection breaks twice.
func connectionLost(u *unit) {
	b := &breaking{path: filepath.Join(u.shelf.dir, "release-2.mender"), breaks: 2}
	server := httptest.NewServer(b)
	u.t.Cleanup(server.Close)
	if a := u.run("network"); a.code != 0 {
		u.fatalf("network: %s%s", a.out, a.stderr)
	}
	port := server.Listener.Addr().(*net.TCPAddr).Port
	u.flipside(0, fmt.Sprintf("install http://10.0.2.2:%d/release-2.mender", port))
	b.mu.Lock()
	ranges := fmt.Sprintf("%q", b.ranges)
	n := len(b.ranges)
	b.mu.Unlock()
	if n != 3 || b.ranges[1] == "" || b.ranges[2] == "" {
		u.fatalf("requests for the ranges %s; want three, the last two for the rest", ranges)
	}
	u.ends(partB, release(2))
}
