package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"flipside/internal/source"
)

// startNginx runs the real server on a socket of ours, and returns its https address. It serves
// dir to clients that a certificate of a lets in.
func startNginx(t *testing.T, a *authority, dir string) string {
	t.Helper()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		if nginx, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Fatalf("this test needs nginx (Debian package nginx-light): %v", err)
		}
	}
	cert, key := a.issue("127.0.0.1", 2020, 2100)
	// nginx takes over a listening socket (its way of upgrading itself), so that no port is guessed
	// and no connection comes too early.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	run := t.TempDir()
	if err := os.Chmod(run, 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(run, "nginx.conf")
	text := fmt.Sprintf(`daemon off; error_log %[1]s/error.log; pid %[1]s/pid;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server {
    listen %[2]s ssl http2; root %[3]s;
    ssl_certificate %[4]s; ssl_certificate_key %[5]s; ssl_client_certificate %[6]s; ssl_verify_client on;
  }
}
`, run, l.Addr(), dir, cert, key, a.file)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	cmd := exec.Command(nginx, "-p", run, "-c", config, "-e", run+"/error.log")
	cmd.Env = append(os.Environ(), "NGINX=3;") // file descriptor 3
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil || t.Failed() {
			log, readErr := os.ReadFile(run + "/error.log")
			t.Logf("nginx: %v\n%s%s%v", err, &output, log, readErr)
		}
	})
	if err := errors.Join(socket.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	return "https://" + l.Addr().String()
}

// share makes a directory with one artifact that nginx can read: if root runs the test, nobody serves.
func share(t *testing.T, data []byte) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "a.mender"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
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
	a := newAuthority(t)
	client, clientKey := a.issue("device", 2020, 2100)
	data := newWeb(t, 8<<20).data
	dir := share(t, data)
	base := startNginx(t, a, dir)
	var notes []string
	link := &leaky{limits: []int64{100, 2 << 20, 3 << 20, 1 << 20}}
	o := source.Options{
		TrustedCerts: a.file, Certificate: client, Key: clientKey,
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
	a := newAuthority(t)
	client, clientKey := a.issue("device", 2020, 2100)
	dir := share(t, newWeb(t, 8<<20).data)
	file := filepath.Join(dir, "a.mender")
	link := &leaky{limits: []int64{2 << 20}}
	src, err := source.Open(t.Context(), startNginx(t, a, dir)+"/a.mender", source.Options{
		TrustedCerts: a.file, Certificate: client, Key: clientKey,
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
