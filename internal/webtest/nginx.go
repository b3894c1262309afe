package webtest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Site is one web site of an nginx.
type Site struct {
	Cert, Key  string // files; with them the site speaks TLS and HTTP/2, else plain http
	ClientCA   string // file; with it, only clients with a certificate of that authority are served
	Directives string // more of nginx's own words for a server block, like "root DIR;"
}

// Nginx runs the real server until the test ends, and returns the addresses of its sites, like
// "https://127.0.0.1:40001".
func Nginx(t *testing.T, sites ...Site) (urls []string) {
	t.Helper()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		if nginx, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Fatalf("this test needs nginx (Debian package nginx-light): %v", err)
		}
	}
	run := t.TempDir()
	if err := os.Chmod(run, 0o755); err != nil {
		t.Fatal(err)
	}
	var (
		servers strings.Builder
		sockets []*os.File
		inherit strings.Builder
	)
	for i, site := range sites {
		socket, addr := listening(t)
		sockets = append(sockets, socket)
		fmt.Fprintf(&inherit, "%d;", 3+i) // file descriptor 3 is the first of ExtraFiles
		servers.WriteString(site.block(addr))
		urls = append(urls, site.scheme()+"://"+addr)
	}
	config := filepath.Join(run, "nginx.conf")
	text := fmt.Sprintf(`daemon off; error_log %[1]s/error.log; pid %[1]s/pid;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
%[2]s}
`, run, servers.String())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, exec.Command(nginx, "-p", run, "-c", config, "-e", run+"/error.log"), sockets, inherit.String(), run+"/error.log")
	return urls
}

func (s Site) scheme() string {
	if s.Cert == "" {
		return "http"
	}
	return "https"
}

func (s Site) block(addr string) string {
	if s.Cert == "" {
		return fmt.Sprintf("  server { listen %s; %s }\n", addr, s.Directives)
	}
	clients := ""
	if s.ClientCA != "" {
		clients = fmt.Sprintf("ssl_client_certificate %s; ssl_verify_client on;", s.ClientCA)
	}
	return fmt.Sprintf("  server { listen %s ssl http2; ssl_certificate %s; ssl_certificate_key %s; %s %s }\n", addr, s.Cert, s.Key, clients, s.Directives)
}

// listening makes a socket for nginx to take over (its way of upgrading itself), so that no port is
// guessed and no connection comes too early.
func listening(t *testing.T) (socket *os.File, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err = l.(*net.TCPListener).File()
	if err = errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return socket, l.Addr().String()
}

func start(t *testing.T, cmd *exec.Cmd, sockets []*os.File, inherit, log string) {
	t.Helper()
	var output bytes.Buffer
	cmd.Env = append(os.Environ(), "NGINX="+inherit)
	cmd.ExtraFiles = sockets
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil || t.Failed() {
			text, readErr := os.ReadFile(log)
			t.Logf("nginx: %v\n%s%s%v", err, &output, text, readErr)
		}
	})
	for _, s := range sockets {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Share makes a directory with one file that nginx can read: if root runs the test, nobody serves.
func Share(t *testing.T, name string, data []byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
