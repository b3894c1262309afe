package source_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"flipside/internal/source"
	"flipside/internal/webtest"
)

// startNginx serves dir to clients that a certificate of a lets in, and returns its address.
func startNginx(t *testing.T, a *webtest.Authority, dir string) string {
	t.Helper()
	cert, key := a.Issue("127.0.0.1", 2020, 2100)
	return webtest.Nginx(t, webtest.Site{Cert: cert, Key: key, ClientCA: a.File, Directives: "root " + dir + ";"})[0]
}

// leaky passes connections on, and breaks the n-th one after limits[n] bytes from the server.
type leaky struct {
	mu     sync.Mutex
	limits []int64
}

func (l *leaky) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || len(l.limits) == 0 {
		return conn, err
	}
	limit := l.limits[0]
	l.limits = l.limits[1:]
	return &leakyConn{Conn: conn, left: limit}, nil
}

type leakyConn struct {
	net.Conn
	left int64
}

func (c *leakyConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

func TestNginx(t *testing.T) {
	clearProxies(t)
	a := webtest.NewAuthority(t)
	client, clientKey := a.Issue("device", 2020, 2100)
	data := newWeb(t, 8<<20).data
	dir := webtest.Share(t, "a.mender", data)
	base := startNginx(t, a, dir)
	var notes []string
	link := &leaky{limits: []int64{100, 2 << 20, 3 << 20, 1 << 20}}
	o := source.Options{
		TrustedCerts: a.File, Certificate: client, Key: clientKey,
		Backoff: func(int) time.Duration { return 0 },
		Notify:  func(text string) { notes = append(notes, text) },
		Dial:    link.Dial,
	}
	src, err := source.Open(t.Context(), base+"/a.mender", o)
	if err != nil {
		t.Fatal(err)
	}
	checkRead(t, src, data)
	if len(notes) != 4 || !strings.HasPrefix(notes[3], "connection lost at 6.0 MiB of 8.0 MiB") && !strings.HasPrefix(notes[3], "connection lost at 5.") {
		t.Errorf("notes %q; want four lost connections, the last near the end", notes)
	}

	_, err = source.Open(t.Context(), base+"/missing.mender", o)
	wantError(t, err, "the server answered 404 Not Found", false)

	o.Certificate, o.Key = "", ""
	_, err = source.Open(t.Context(), base+"/a.mender", o)
	if e := wantError(t, err, "the server answered 400 Bad Request", false); !strings.Contains(e.Hint, "client certificate") {
		t.Errorf("hint %q; want it to name the client certificate", e.Hint)
	}
}

func TestNginxExchangesTheFile(t *testing.T) {
	clearProxies(t)
	a := webtest.NewAuthority(t)
	client, clientKey := a.Issue("device", 2020, 2100)
	dir := webtest.Share(t, "a.mender", newWeb(t, 8<<20).data)
	file := filepath.Join(dir, "a.mender")
	link := &leaky{limits: []int64{2 << 20}}
	src, err := source.Open(t.Context(), startNginx(t, a, dir)+"/a.mender", source.Options{
		TrustedCerts: a.File, Certificate: client, Key: clientKey,
		Backoff: func(int) time.Duration { return 0 },
		Dial:    link.Dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := io.CopyN(io.Discard, src, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", bytes.Repeat([]byte("new"), 3<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, src)
	wantError(t, err, "the file on the server was exchanged during the download", false)
}
