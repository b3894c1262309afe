package source_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"flipside/internal/source"
)

func redirect(code int, to string) step { return answer(code, "Location", to) }

func TestRedirectsAreFollowed(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		s := newWeb(t, size, redirect(code, "/other?x=1"), redirect(code, "http://cdn.example.net/a"), cut(size/2), redirect(code, "http://cdn2.example.net/b"))
		s.wantWhole(nil)
		// A resumed download begins at the address that was given: presigned addresses grow old.
		var got []string
		for _, r := range s.requests {
			got = append(got, r.Host+r.RequestURI)
		}
		want := []string{"example.org/a.mender", "example.org/other?x=1", "cdn.example.net/a", "example.org/a.mender", "cdn2.example.net/b"}
		if !slices.Equal(got, want) {
			t.Errorf("%d: requests %q; want %q", code, got, want)
		}
		if got := s.header(4, "Range"); got != fmt.Sprintf("bytes=%d-", size/2) {
			t.Errorf("%d: Range of the redirected request %q", code, got)
		}
	}
}

func TestRedirectsThatAreNotFollowed(t *testing.T) {
	for name, test := range map[string]struct{ to, words string }{
		"circle":       {"/a.mender", "more than 10 redirects"},
		"other scheme": {"ftp://example.org/a.mender", `redirects to "ftp:"`},
		"file":         {"file:///etc/passwd", `redirects to "file:"`},
		"nowhere":      {"", "302 Found"},
		"nonsense":     {"http://user:secret@[::1", "redirects to something that is no web address"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWeb(t, size)
			for range 20 {
				s.steps = append(s.steps, redirect(302, test.to))
			}
			e, took := s.wantFailure(test.words, nil)
			if e.Retryable || took != 0 {
				t.Errorf("%q: retryable %v, took %s; want an error at once", e, e.Retryable, took)
			}
			if n := s.count(); n > 11 {
				t.Errorf("%d requests; want the first and at most 10 redirected ones", n)
			}
		})
	}
}

func TestTenRedirectsAreNotTooMany(t *testing.T) {
	s := newWeb(t, size)
	for range 10 {
		s.steps = append(s.steps, redirect(302, "/a.mender"))
	}
	s.wantWhole(nil)
}

func TestSecretsStayWithTheServerTheyAreFor(t *testing.T) {
	for to, kept := range map[string]bool{
		"/elsewhere":                      true,
		"http://example.org:80/elsewhere": true,
		"http://example.org:8080/":        false,
		"http://cdn.example.org/":         false, // net/http alone would trust a subdomain
		"http://other.example/":           false,
	} {
		t.Run(to, func(t *testing.T) {
			s := newWeb(t, size, redirect(302, to))
			s.within("http://user:p%40ss@example.org/a.mender?signature=x", func(o *source.Options) {
				o.Header = http.Header{"X-Key": {"secret"}, "x-raw": {"secret"}, "Cookie": {"secret"}, "User-Agent": {"secret"}}
				o.UserAgent = "flipside"
			}, func(src *source.Source, err error) {
				if err != nil {
					t.Fatal(err)
				}
				checkRead(t, src, s.data)
			})
			if got := s.header(0, "Authorization"); got != "Basic dXNlcjpwQHNz" {
				t.Errorf("Authorization: %q; want that of user:p@ss", got)
			}
			want := map[bool]string{true: "secret", false: ""}[kept]
			for _, key := range []string{"X-Key", "X-Raw", "Cookie"} {
				if got := s.header(1, key); got != want {
					t.Errorf("%s: %q after the redirect; want %q", key, got, want)
				}
			}
			if got := s.header(1, "Authorization"); (got != "") != kept {
				t.Errorf("Authorization: %q after the redirect; want it kept: %v", got, kept)
			}
			if got := s.header(1, "User-Agent"); (got == "secret") != kept {
				t.Errorf("User-Agent: %q after the redirect", got)
			}
			if got := s.header(1, "Referer"); got != "" {
				t.Errorf("Referer: %q; want none", got)
			}
		})
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	refused := func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
	for _, uri := range []string{
		"http://secret:secret@example.org/a.mender?key=secret#secret",
		"https://secret@example.org/a.mender",
		"http://user:secret#@example.org/a.mender",
		"http://user:secret?x@example.org/a.mender",
		"http://user:sec\\secret@example.org/",
		"http://user:%zzsecret@example.org/",
		"http://user:secret@exa mple.org/",
		"http://user:secret@[::1/",
		"http://user:secret@/",
		"http://user:secret@:80/",
		"http://user:123/secret@example.org/a.mender",
		"http://user:53123/x@example.org/a.mender",
		"http://user:53123?x@example.org/a.mender",
		"http://user:53123#x@example.org/a.mender",
		"http:secret",
		"HTTP://user:secret\x7f@example.org/",
		"ftp://user:secret@example.org/",
	} {
		var notes []string
		src, err := source.Open(t.Context(), uri, source.Options{
			Dial: refused, Retries: 1, Backoff: nil, Timeout: 1, Notify: func(s string) { notes = append(notes, s) },
		})
		if err == nil {
			t.Fatalf("%s: opened", uri)
		}
		var e *source.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v is no *source.Error", uri, err)
			continue
		}
		if all := fmt.Sprintf("%v|%s|%s|%v|%+v", err, e.URI, e.Hint, e.Err, notes); strings.Contains(all, "secret") || strings.Contains(all, "53123") {
			t.Errorf("%s: shown in %q", uri, all)
		}
		if name := source.Redact(uri); strings.Contains(name, "secret") || strings.Contains(name, "53123") {
			t.Errorf("Redact(%s) = %s", uri, name)
		}
		if src != nil {
			t.Errorf("%s: a Source beside the error", uri)
		}
	}
}

func TestRedirectErrorsDoNotShowSecrets(t *testing.T) {
	s := newWeb(t, size, redirect(302, "ftp://user:secret@example.org/?secret"))
	e, _ := s.wantFailure("redirects to", nil)
	if all := e.Error() + e.Hint; strings.Contains(all, "secret") {
		t.Errorf("the password is shown in %q", all)
	}
}

func TestRedact(t *testing.T) {
	for uri, want := range map[string]string{
		"next.mender": "next.mender", "-": "-", "": "", "a b:c?d": "a b:c?d", "file:///r%202.mender": "file:///r%202.mender",
		"https://example.org:8443/a%20b.mender":    "https://example.org:8443/a%20b.mender",
		"https://u:p@example.org:8443/a?token=x#y": "https://example.org:8443/a?...",
		"http://example.org/@scope/a.mender":       "http://example.org/...",
		"HTTPS://u:p@":                             "https://...",
		"ftp://u:p@example.org/":                   "ftp://...",
	} {
		if got := source.Redact(uri); got != want {
			t.Errorf("Redact(%q) = %q; want %q", uri, got, want)
		}
		if got := source.Web(uri); got != strings.HasPrefix(strings.ToLower(uri), "http") {
			t.Errorf("Web(%q) = %v", uri, got)
		}
	}
}

func TestBadURLs(t *testing.T) {
	for _, uri := range []string{"http://", "http:///a.mender", "https://:443/", "http:a.mender", "http://a b/"} {
		_, err := source.Open(t.Context(), uri, source.Options{})
		wantError(t, err, "not a valid URL", true)
	}
}

func TestBadHeader(t *testing.T) {
	for _, h := range []http.Header{{"X": {"a\nb"}}, {"X Y": {"a"}}, {"": {"a"}}, {"X": {"\x00"}}} {
		_, err := source.Open(t.Context(), "http://example.org/", source.Options{Header: h})
		wantError(t, err, "a request header cannot be sent", true)
	}
}

func TestBlanksAndIPv6InURLs(t *testing.T) {
	s := newWeb(t, size)
	var dialed string
	s.within("http://[2001:db8::1]:8080/my release.mender", func(o *source.Options) {
		dial := o.Dial
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialed = addr
			return dial(ctx, network, addr)
		}
	}, func(src *source.Source, err error) {
		if err != nil {
			t.Fatal(err)
		}
		checkRead(t, src, s.data)
	})
	if got := s.requests[0].RequestURI; got != "/my%20release.mender" || dialed != "[2001:db8::1]:8080" {
		t.Errorf("request for %s at %s", got, dialed)
	}
}
