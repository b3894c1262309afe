package source_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flipside/internal/hosttest"
	"flipside/internal/source"
	"flipside/internal/webtest"
)

// serve starts a real TLS server with a certificate of a. It asks for a client certificate if clients is true.
func serve(t *testing.T, a *webtest.Authority, handler http.Handler, host string, from, to int, clients, http2 bool) *httptest.Server {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.Issue(host, from, to))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = http2
	server.Config.ErrorLog = quiet()
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	if clients {
		server.TLS.ClientCAs = x509.NewCertPool()
		server.TLS.ClientCAs.AddCert(a.Cert)
		server.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestTLS(t *testing.T) {
	clearProxies(t)
	a, other := webtest.NewAuthority(t), webtest.NewAuthority(t)
	year := time.Now().Year()
	client, clientKey := a.Issue("device", year-1, year+1)
	stranger, strangerKey := other.Issue("stranger", year-1, year+1)
	both := filepath.Join(a.Dir, "both.pem")
	if err := os.WriteFile(both, append(hosttest.Read(t, client), hosttest.Read(t, clientKey)...), 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := source.Options{TrustedCerts: a.File}
	for name, test := range map[string]struct {
		host     string // in the certificate
		from, to int    // years
		clients  bool
		o        source.Options
		words    string // of the error; "" if there is to be none
		hint     string
	}{
		"trusted":                       {"127.0.0.1", year - 1, year + 1, false, trusting, "", ""},
		"unknown authority":             {"127.0.0.1", year - 1, year + 1, false, source.Options{}, "signed by an unknown authority", "ServerCertificate"},
		"another authority":             {"127.0.0.1", year - 1, year + 1, false, source.Options{TrustedCerts: other.File}, "signed by an unknown authority", "ServerCertificate"},
		"unknown, not verified":         {"127.0.0.1", year - 1, year + 1, false, source.Options{SkipVerify: true}, "", ""},
		"wrong host":                    {"example.org", year - 1, year + 1, false, trusting, `is for "example.org", not for "127.0.0.1"`, "host name"},
		"wrong host, not verified":      {"example.org", year - 1, year + 1, false, source.Options{SkipVerify: true}, "", ""},
		"expired":                       {"127.0.0.1", 1991, 2001, false, trusting, "expired on 2001-01-01 00:00", "renew"},
		"not yet valid":                 {"127.0.0.1", 2150, 2160, false, trusting, "is not valid before 2150-01-01 00:00, and here it is " + time.Now().UTC().Format("2006-"), "clock"},
		"not yet, but later known":      {"127.0.0.1", 2150, 2160, false, source.Options{TrustedCerts: a.File, NotBefore: time.Date(2151, 1, 1, 0, 0, 0, 0, time.UTC), Evidence: "the state file"}, "", ""},
		"later known, expired":          {"127.0.0.1", 2020, 2149, false, source.Options{TrustedCerts: a.File, NotBefore: time.Date(2151, 1, 1, 0, 0, 0, 0, time.UTC), Evidence: "the state file"}, "expired on 2149-01-01 00:00, and here it is 2151", "if the clock is right, correct the state file"},
		"NotBefore is long past":        {"127.0.0.1", year - 1, year + 1, false, source.Options{TrustedCerts: a.File, NotBefore: time.Date(1995, 1, 1, 0, 0, 0, 0, time.UTC)}, "", ""},
		"client certificate":            {"127.0.0.1", year - 1, year + 1, true, source.Options{TrustedCerts: a.File, Certificate: client, Key: clientKey}, "", ""},
		"client certificate, one file":  {"127.0.0.1", year - 1, year + 1, true, source.Options{TrustedCerts: a.File, Certificate: both}, "", ""},
		"client certificate missing":    {"127.0.0.1", year - 1, year + 1, true, trusting, "the server refused the TLS connection", "HttpsClient"},
		"client certificate of another": {"127.0.0.1", year - 1, year + 1, true, source.Options{TrustedCerts: a.File, Certificate: stranger, Key: strangerKey}, "the server refused the TLS connection", "both sides"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWeb(t, size)
			server := serve(t, a, s, test.host, test.from, test.to, test.clients, true)
			var notes []string
			test.o.Notify = func(text string) {
				// With TLS 1.3, a server that refuses our certificate races with our request: the first
				// tries may only see the connection go.
				if !test.clients || !strings.Contains(text, "trying again") {
					notes = append(notes, text)
				}
			}
			test.o.Retries = 1000
			test.o.Backoff = func(int) time.Duration { return 0 }
			src, err := source.Open(t.Context(), server.URL, test.o)
			if test.words == "" {
				if err != nil {
					t.Fatal(err)
				}
				checkRead(t, src, s.data)
				if s.requests[0].ProtoMajor != 2 {
					t.Errorf("protocol %s; want HTTP/2", s.requests[0].Proto)
				}
			} else {
				e := wantError(t, err, test.words, false)
				if e.Retryable || !strings.Contains(e.Hint, test.hint) {
					t.Errorf("%q: retryable %v, hint %q; want %q in it", e, e.Retryable, e.Hint, test.hint)
				}
			}
			want := ""
			switch {
			case test.o.SkipVerify:
				want = "the server's certificate is NOT verified"
			case test.o.NotBefore.After(time.Now()):
				want = "but the state file is of 2151-01-01; certificates are checked as of 2151-01-01"
			}
			if want == "" && len(notes) > 0 || want != "" && (len(notes) != 1 || !strings.Contains(notes[0], want)) {
				t.Errorf("notes %q; want %q and no other", notes, want)
			}
		})
	}
}

func TestTLSFiles(t *testing.T) {
	clearProxies(t)
	a := webtest.NewAuthority(t)
	cert, key := a.Issue("device", 2020, 2100)
	_, otherKey := a.Issue("other", 2020, 2100)
	empty := filepath.Join(a.Dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		o     source.Options
		words string
	}{
		"no such authority":       {source.Options{TrustedCerts: a.Dir + "/missing.pem"}, "missing.pem: no such file"},
		"no authority in it":      {source.Options{TrustedCerts: empty}, "no certificate in PEM format in " + empty},
		"a key as an authority":   {source.Options{TrustedCerts: key}, "no certificate in PEM format in " + key},
		"no such certificate":     {source.Options{Certificate: a.Dir + "/missing.pem", Key: key}, "missing.pem"},
		"no such key":             {source.Options{Certificate: cert, Key: a.Dir + "/missing.key"}, "missing.key"},
		"key without certificate": {source.Options{Key: key}, "there is a key, " + key + ", but no certificate"},
		"certificate without key": {source.Options{Certificate: cert}, "reading the client certificate " + cert},
		"key of another":          {source.Options{Certificate: cert, Key: otherKey}, "private key does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := source.Open(t.Context(), "https://example.org/", test.o)
			wantError(t, err, test.words, true)

			// Plain http does not care, unless it is sent to https.
			s := newWeb(t, size)
			s.wantWhole(func(o *source.Options) {
				o.TrustedCerts, o.Certificate, o.Key = test.o.TrustedCerts, test.o.Certificate, test.o.Key
			})
			s = newWeb(t, size, redirect(302, "https://example.org/"))
			_, _, err = s.download(func(o *source.Options) {
				o.TrustedCerts, o.Certificate, o.Key = test.o.TrustedCerts, test.o.Certificate, test.o.Key
			})
			wantError(t, err, test.words, true)
		})
	}
}

func TestNoDowngrade(t *testing.T) {
	clearProxies(t)
	a := webtest.NewAuthority(t)
	s := newWeb(t, size, redirect(302, "http://example.org/a.mender"))
	server := serve(t, a, s, "127.0.0.1", 2020, 2100, false, true)
	_, err := source.Open(t.Context(), server.URL, source.Options{TrustedCerts: a.File})
	if e := wantError(t, err, "the server redirects from https to plain http (example.org)", false); e.Retryable {
		t.Errorf("%q is said to be retryable", e)
	}
}

func TestUpgradeToHTTPS(t *testing.T) {
	clearProxies(t)
	a := webtest.NewAuthority(t)
	s := newWeb(t, size, cut(size/2))
	secure := serve(t, a, s, "127.0.0.1", 2020, 2100, false, true)
	plain := httptest.NewServer(http.RedirectHandler(secure.URL, http.StatusFound))
	defer plain.Close()
	var notes []string
	src, err := source.Open(t.Context(), plain.URL, source.Options{
		TrustedCerts: a.File, NotBefore: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
		Backoff: func(int) time.Duration { return 0 }, Notify: func(text string) { notes = append(notes, text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	checkRead(t, src, s.data)
	if len(notes) != 2 || !strings.Contains(notes[0], "clock") || !strings.Contains(notes[1], "connection lost") {
		t.Errorf("notes %q; want the clock, once, and the lost connection", notes)
	}
}

func TestResumeOverHTTP2AndHTTP1(t *testing.T) {
	clearProxies(t)
	a := webtest.NewAuthority(t)
	for name, http2 := range map[string]bool{"HTTP/2": true, "HTTP/1.1": false} {
		t.Run(name, func(t *testing.T) {
			s := newWeb(t, size, cut(0), cut(size/4), answer(503), cut(size/4))
			server := serve(t, a, s, "127.0.0.1", 2020, 2100, false, http2)
			src, err := source.Open(t.Context(), server.URL, source.Options{TrustedCerts: a.File, Backoff: func(int) time.Duration { return 0 }})
			if err != nil {
				t.Fatal(err)
			}
			checkRead(t, src, s.data)
			if s.count() != 5 || !strings.HasPrefix(s.requests[4].Proto, name) {
				t.Errorf("%d requests by %s; want 5 by %s", s.count(), s.requests[4].Proto, name)
			}
		})
	}
}

func TestPlainServerOnHTTPSPort(t *testing.T) {
	clearProxies(t)
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	_, err := source.Open(t.Context(), strings.Replace(plain.URL, "http:", "https:", 1), source.Options{})
	if e := wantError(t, err, "the server does not speak TLS on this port", false); e.Retryable || !strings.Contains(e.Hint, "http://") {
		t.Errorf("%q: retryable %v, hint %q", e, e.Retryable, e.Hint)
	}
}
