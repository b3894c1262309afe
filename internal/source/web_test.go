package source_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"flipside/internal/source"
)

// wire is a network in memory with one server. In a synctest bubble no time passes on it but what
// timers wait for.
type wire struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newWire() *wire { return &wire{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (w *wire) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case w.conns <- server:
		return client, nil
	case <-w.closed:
	case <-ctx.Done():
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: net.ErrClosed}
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error   { w.once.Do(func() { close(w.closed) }); return nil }
func (w *wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }

// web is a web server with one file. Its steps say how it treats the first requests; all others
// it answers properly.
type web struct {
	t       *testing.T
	data    []byte
	etag    string // as in the header; "" none
	chunked bool
	steps   []step

	mu       sync.Mutex
	requests []*http.Request
	notes    []string
}

type step func(s *web, w http.ResponseWriter, r *http.Request)

func newWeb(t *testing.T, size int, steps ...step) *web {
	t.Helper()
	data := make([]byte, size)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(data) // never fails
	return &web{t: t, data: data, etag: `"v1"`, steps: steps}
}

func (s *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n := len(s.requests)
	s.requests = append(s.requests, r)
	s.mu.Unlock()
	if n < len(s.steps) {
		s.steps[n](s, w, r)
		return
	}
	properly(s, w, r)
}

// header returns a header of the n-th request.
func (s *web) header(n int, key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n >= len(s.requests) {
		s.t.Fatalf("there were only %d requests", len(s.requests))
	}
	return s.requests[n].Header.Get(key)
}

func (s *web) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// options make a download from the web server on w, and keep its notes.
func (s *web) options(w *wire) source.Options {
	return source.Options{Dial: w.Dial, Notify: func(text string) { s.notes = append(s.notes, text) }}
}

// properly is net/http's own idea of a file, with ranges.
func properly(s *web, w http.ResponseWriter, r *http.Request) {
	if s.etag != "" {
		w.Header().Set("ETag", s.etag)
	}
	if s.chunked {
		w = unsized{w}
	}
	http.ServeContent(w, r, "a.mender", time.Time{}, bytes.NewReader(s.data))
}

// unsized makes net/http send chunks.
type unsized struct{ http.ResponseWriter }

func (u unsized) WriteHeader(code int) {
	u.Header().Del("Content-Length")
	u.ResponseWriter.WriteHeader(code)
}

// cut gives up the connection after so many bytes of body.
func cut(after int) step {
	return func(s *web, w http.ResponseWriter, r *http.Request) {
		properly(s, &short{ResponseWriter: w, left: after, end: func() { panic(http.ErrAbortHandler) }}, r)
	}
}

// stall goes silent after so many bytes of body, until the client goes away.
func stall(after int) step {
	return func(s *web, w http.ResponseWriter, r *http.Request) {
		properly(s, &short{ResponseWriter: w, left: after, end: func() { <-r.Context().Done(); panic(http.ErrAbortHandler) }}, r)
	}
}

// short lets so many bytes through, and then does what end does.
type short struct {
	http.ResponseWriter
	left int
	end  func()
}

func (s *short) Write(p []byte) (int, error) {
	if len(p) < s.left {
		s.left -= len(p)
		return s.ResponseWriter.Write(p)
	}
	_, _ = s.ResponseWriter.Write(p[:s.left]) // the end comes anyway
	_ = http.NewResponseController(s.ResponseWriter).Flush()
	s.end()
	return 0, io.ErrShortWrite
}

// answer sends a status and headers.
func answer(code int, header ...string) step {
	return func(_ *web, w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// whole ignores Range.
func whole(s *web, w http.ResponseWriter, r *http.Request) {
	r.Header.Del("Range")
	properly(s, w, r)
}

// within runs a download in a bubble: the server, Open and what is done with the Source. It returns
// how much time passed there.
func (s *web) within(uri string, change func(*source.Options), check func(src *source.Source, err error)) (took time.Duration) {
	s.t.Helper()
	synctest.Test(s.t, func(t *testing.T) {
		w := newWire()
		server := &http.Server{Handler: s}
		served := make(chan error, 1)
		go func() { served <- server.Serve(w) }()
		o := s.options(w)
		if change != nil {
			change(&o)
		}
		start := time.Now()
		src, err := source.Open(t.Context(), uri, o)
		check(src, err)
		took = time.Since(start)
		if src != nil {
			if err := src.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
	return took
}

// download reads all, in a bubble.
func (s *web) download(change func(*source.Options)) (got []byte, took time.Duration, err error) {
	s.t.Helper()
	took = s.within("http://example.org/a.mender", change, func(src *source.Source, openErr error) {
		if err = openErr; err != nil {
			return
		}
		got, err = io.ReadAll(src)
		if err == nil && src.Size() != int64(len(got)) {
			s.t.Errorf("Size() = %d at the end; want %d", src.Size(), len(got))
		}
	})
	return got, took, err
}

// wantWhole checks that the download brought the file.
func (s *web) wantWhole(change func(*source.Options)) time.Duration {
	s.t.Helper()
	got, took, err := s.download(change)
	if err != nil || !bytes.Equal(got, s.data) {
		s.t.Fatalf("got %d bytes, %v; want the %d of the file; notes %q", len(got), err, len(s.data), s.notes)
	}
	return took
}

// wantFailure checks that it did not, and why.
func (s *web) wantFailure(words string, change func(*source.Options)) (*source.Error, time.Duration) {
	s.t.Helper()
	got, took, err := s.download(change)
	e := wantError(s.t, err, words, false)
	if !bytes.HasPrefix(s.data, got) {
		s.t.Errorf("got %d bytes that are not the beginning of the file", len(got))
	}
	return e, took
}

func itoa(n int) string { return strconv.Itoa(n) }

// quiet is a log that nobody reads: what the server thinks of clients that went away.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
