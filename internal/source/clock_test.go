package source_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"flipside/internal/source"
	"flipside/internal/webtest"
)

// In a synctest bubble it is the first of January 2000: the clock of a device without a battery.
func TestDeviceWithoutAClock(t *testing.T) {
	clearProxies(t)
	a := webtest.NewAuthority(t)
	pair, err := tls.LoadX509KeyPair(a.Issue("example.org", 2025, 2027))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		notBefore time.Time
		words     string // of the error; "" if there is to be none
		warnings  []string
	}{
		"nothing known": {time.Time{}, "the server's certificate is not valid before 2025-01-01 00:00, and here it is 2000-01-01 00:00", nil},
		"built lately": {time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), "", []string{
			"the clock of this device is wrong: it says 2000-01-01, but this flipside is of 2026-05-01; certificates are checked as of 2026-05-01",
		}},
		"built long ago": {time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC), "is not valid before 2025-01-01 00:00, and here it is 2024-05-01 00:00", []string{
			"the clock of this device is wrong: it says 2000-01-01, but this flipside is of 2024-05-01; certificates are checked as of 2024-05-01",
		}},
		"a day behind":           {time.Date(2000, 1, 1, 23, 0, 0, 0, time.UTC), "and here it is 2000-01-01 00:00", nil},
		"built before the clock": {time.Date(1999, 5, 1, 0, 0, 0, 0, time.UTC), "and here it is 2000-01-01 00:00", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWeb(t, size)
			synctest.Test(t, func(t *testing.T) {
				w := newWire()
				server := &http.Server{Handler: s, ErrorLog: quiet()}
				served := make(chan error, 1)
				go func() {
					served <- server.Serve(tls.NewListener(eager{w}, &tls.Config{Certificates: []tls.Certificate{pair}}))
				}()
				o := s.options(w)
				o.TrustedCerts, o.NotBefore, o.Evidence = a.File, test.notBefore, "this flipside"
				var warnings []string
				o.Warn = func(text string) { warnings = append(warnings, text) }
				src, err := source.Open(t.Context(), "https://example.org/a.mender", o)
				if test.words == "" {
					if err != nil {
						t.Fatal(err)
					}
					checkRead(t, src, s.data)
				} else if e := wantError(t, err, test.words, false); e.Hint != "set the clock of this device" {
					t.Errorf("hint %q; want it to be about the clock", e.Hint)
				}
				if !slices.Equal(warnings, test.warnings) || len(s.notes) > 0 {
					t.Errorf("warnings %q, notes %q; want %q and none", warnings, s.notes, test.warnings)
				}
				if err := server.Close(); err != nil {
					t.Error(err)
				}
				<-served
			})
		})
	}
}

// eager is a wire whose server need not wait for the client to read: in a TLS handshake that fails
// both sides talk at once.
type eager struct{ *wire }

func (e eager) Accept() (net.Conn, error) {
	conn, err := e.wire.Accept()
	if err != nil {
		return nil, err
	}
	c := &eagerConn{Conn: conn, queue: make(chan []byte, 1000), closed: make(chan struct{})}
	go c.send()
	return c, nil
}

type eagerConn struct {
	net.Conn
	queue  chan []byte
	closed chan struct{}
	once   sync.Once
}

// send ends with Close, which the server calls.
func (c *eagerConn) send() {
	for {
		select {
		case b := <-c.queue:
			_, _ = c.Conn.Write(b) // an error comes again when the server reads
		case <-c.closed:
			return
		}
	}
}

func (c *eagerConn) Write(b []byte) (int, error) {
	select {
	case c.queue <- slices.Clone(b):
		return len(b), nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *eagerConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
