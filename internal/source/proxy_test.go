package source_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"flipside/internal/source"
)

// clearProxies makes the environment of the test the only one.
func clearProxies(t *testing.T) {
	t.Helper()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUEST_METHOD"} {
		t.Setenv(name, "")
		t.Setenv(strings.ToLower(name), "")
	}
}

func TestProxyChoice(t *testing.T) {
	const proxy = "proxy.example:3128"
	for _, test := range []struct {
		uri string
		env string // NAME=value, one in a line
		to  string // what is connected to
	}{
		{"http://example.org/", "", "example.org:80"},
		{"http://example.org/", "HTTP_PROXY=http://proxy.example:3128", proxy},
		{"http://example.org/", "http_proxy=proxy.example:3128", proxy},
		{"http://example.org/", "http_proxy=http://user:p%40ss@proxy.example:3128", proxy},
		{"http://example.org/", "HTTP_PROXY=http://proxy.example:3128\nhttp_proxy=http://other:1", proxy},
		{"http://example.org/", "http_proxy=http://proxy.example", "proxy.example:80"},
		{"http://example.org/", "http_proxy=socks5://proxy.example", "proxy.example:1080"},
		{"http://example.org/", "HTTPS_PROXY=http://proxy.example:3128", "example.org:80"},
		{"https://example.org/", "HTTPS_PROXY=http://proxy.example:3128", proxy},
		{"https://example.org/", "HTTP_PROXY=http://proxy.example:3128", "example.org:443"},
		{"http://example.org/", "REQUEST_METHOD=GET\nHTTP_PROXY=http://proxy.example:3128", "example.org:80"},
		{"http://example.org/", "REQUEST_METHOD=GET\nhttp_proxy=http://proxy.example:3128", proxy},
		{"http://localhost/", "http_proxy=http://proxy.example:3128", "localhost:80"},
		{"http://127.0.0.1:99/", "http_proxy=http://proxy.example:3128", "127.0.0.1:99"},
		{"http://[::1]/", "http_proxy=http://proxy.example:3128", "[::1]:80"},
	} {
		checkProxy(t, test.uri, test.env, test.to)
	}
}

func TestNoProxy(t *testing.T) {
	const direct = true
	for _, test := range []struct {
		host, list string
		direct     bool
	}{
		{"example.org", "example.org", direct},
		{"example.org", "EXAMPLE.ORG", direct},
		{"www.example.org", "example.org", direct},
		{"badexample.org", "example.org", !direct},
		{"example.org", ".example.org", !direct},
		{"www.example.org", ".example.org", direct},
		{"www.example.org", "*.example.org", direct},
		{"org", ".a-suffix-that-is-longer-than-the-host", !direct},
		{"example.org", "a.example, example.org", direct},
		{"example.org", "a.example example.org b.example", direct},
		{"example.org", "a.example\texample.org\n", direct},
		{"example.org", ",, ,", !direct},
		{"example.org", "a.example,*", direct},
		{"example.org", "example.org:80", direct},
		{"example.org:8080", "example.org:80", !direct},
		{"example.org:8080", "example.org:8080", direct},
		{"192.0.2.7", "192.0.2.7", direct},
		{"192.0.2.7", "192.0.2.7:80", direct},
		{"192.0.2.7", "192.0.2.7:81", !direct},
		{"192.0.2.7", "192.0.2.0/24", direct},
		{"192.0.3.7", "192.0.2.0/24", !direct},
		{"192.0.2.7", "2.7", !direct},
		{"[2001:db8::7]", "2001:db8::7", direct},
		{"[2001:db8::7]", "[2001:db8::7]", direct},
		{"[2001:db8::7]:8080", "[2001:db8::7]:8080", direct},
		{"[2001:db8::7]:8080", "[2001:db8::7]:80", !direct},
		{"[2001:db8::7]", "2001:db8::/32", direct},
		{"example.org", "192.0.2.0/24", !direct},
	} {
		to := "proxy.example:3128"
		if test.direct {
			to = test.host
			if !strings.Contains(strings.TrimSuffix(to[strings.LastIndex(to, "]")+1:], ""), ":") {
				to += ":80"
			}
		}
		for _, name := range []string{"NO_PROXY", "no_proxy"} {
			checkProxy(t, "http://"+test.host+"/", "http_proxy=proxy.example:3128\n"+name+"="+strings.ReplaceAll(test.list, "\n", " "), to)
		}
	}
}

// checkProxy checks where a download connects to in that environment.
func checkProxy(t *testing.T, uri, env, to string) {
	t.Helper()
	t.Run(uri+" "+env, func(t *testing.T) {
		clearProxies(t)
		for line := range strings.SplitSeq(env, "\n") {
			if name, value, ok := strings.Cut(line, "="); ok {
				t.Setenv(name, value)
			}
		}
		stop := errors.New("far enough")
		var dialed []string
		_, err := source.Open(t.Context(), uri, source.Options{Retries: -1, Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			dialed = append(dialed, addr)
			return nil, stop
		}})
		if !errors.Is(err, stop) || len(dialed) != 1 || dialed[0] != to {
			t.Errorf("connected to %q (%v); want %q", dialed, err, to)
		}
	})
}

func TestProxyThatIsNone(t *testing.T) {
	for _, value := range []string{"http://user:secret/x@proxy:80", "ftp://secret@proxy", "://secret", "http://user:%zz@secret"} {
		t.Run(value, func(t *testing.T) {
			clearProxies(t)
			t.Setenv("https_proxy", value)
			_, err := source.Open(t.Context(), "https://example.org/", source.Options{})
			e := wantError(t, err, "the environment variable https_proxy is not the address of a proxy", true)
			if strings.Contains(e.Error()+e.Hint, "secret") {
				t.Errorf("%q shows the password", e)
			}
			// Files do not care.
			path, data := artifact(t, "a.mender")
			src, err := source.Open(t.Context(), path, source.Options{})
			if err != nil {
				t.Fatal(err)
			}
			checkRead(t, src, data)
		})
	}
}

func TestThroughAProxy(t *testing.T) {
	clearProxies(t)
	t.Setenv("http_proxy", "http://user:p%40ss@proxy.example:3128")
	s := newWeb(t, size, cut(size/2))
	s.wantWhole(nil)
	if r := s.requests[1]; r.RequestURI != "http://example.org/a.mender" || r.Host != "example.org" {
		t.Errorf("request for %s from %s; want the whole address and the host", r.RequestURI, r.Host)
	}
	if got := s.header(1, "Proxy-Authorization"); got != "Basic dXNlcjpwQHNz" {
		t.Errorf("Proxy-Authorization: %q; want that of user:p@ss", got)
	}
}

func TestProxyThatRefuses(t *testing.T) {
	for code, words := range map[int]string{
		407: "the proxy refused the connection: 407 Proxy Authentication Required",
		503: "the proxy refused the connection: 503 Service Unavailable; given up after 2 tries",
	} {
		clearProxies(t)
		t.Setenv("https_proxy", "http://user:secret@proxy.example:3128")
		s := newWeb(t, size, answer(code), answer(code))
		s.within("https://example.org/", func(o *source.Options) { o.Retries = 1 }, func(_ *source.Source, err error) {
			e := wantError(t, err, words, false)
			if !strings.Contains(e.Hint, "HTTPS_PROXY") || strings.Contains(e.Error()+e.Hint, "secret") {
				t.Errorf("error %q, hint %q", e, e.Hint)
			}
		})
		if got := s.requests[0].Method; got != http.MethodConnect {
			t.Errorf("%d: method %s; want CONNECT", code, got)
		}
	}
}

func TestProxyThatIsDown(t *testing.T) {
	clearProxies(t)
	t.Setenv("http_proxy", "http://proxy.example:3128")
	_, err := source.Open(t.Context(), "http://example.org/", source.Options{
		Retries: -1,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Name: "proxy.example", IsNotFound: true}
		},
	})
	wantError(t, err, `connecting to the proxy: the host name "proxy.example" is not known`, false)
}
