package source_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"flipside/internal/source"
)

const size = 1 << 20

func TestDownload(t *testing.T) {
	s := newWeb(t, size)
	took := s.within("http://example.org/dir/a%20b.mender?token=secret#part", func(o *source.Options) {
		o.UserAgent = "flipside/1.2"
		o.Header = http.Header{"X-Key": {"k"}, "Range": {"bytes=5-"}, "Accept-Encoding": {"gzip"}, "Host": {"other.example"}}
	}, func(src *source.Source, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if want := "http://example.org/dir/a%20b.mender?..."; src.Name() != want || src.Size() != size || src.Rewindable() {
			t.Errorf("Name %q, Size %d, Rewindable %v; want %q, %d, false", src.Name(), src.Size(), src.Rewindable(), want, size)
		}
		checkRead(t, src, s.data)
	})
	if took != 0 || len(s.notes) > 0 {
		t.Errorf("took %s with notes %q; want no waiting", took, s.notes)
	}
	for key, want := range map[string]string{
		"User-Agent": "flipside/1.2", "X-Key": "k", "Range": "", "If-Range": "", "Accept-Encoding": "identity", "Referer": "", "Authorization": "",
	} {
		if got := s.header(0, key); got != want {
			t.Errorf("%s: %q; want %q", key, got, want)
		}
	}
	if r := s.requests[0]; r.RequestURI != "/dir/a%20b.mender?token=secret" || r.Host != "other.example" {
		t.Errorf("request for %s from %s", r.RequestURI, r.Host)
	}
}

func TestChunkedBody(t *testing.T) {
	s := newWeb(t, size)
	s.chunked = true
	s.wantWhole(nil)
}

func TestEmptyFile(t *testing.T) {
	newWeb(t, 0).wantWhole(nil)
}

func TestContentEncodingIsLeftAlone(t *testing.T) {
	s := newWeb(t, size)
	s.steps = []step{func(s *web, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		properly(s, w, r)
	}}
	s.wantWhole(nil)
}

func TestWebPageIsNoted(t *testing.T) {
	s := newWeb(t, 100)
	s.steps = []step{func(s *web, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		properly(s, w, r)
	}}
	s.wantWhole(nil)
	if len(s.notes) != 1 || !strings.Contains(s.notes[0], "web page") {
		t.Errorf("notes %q; want one about a web page", s.notes)
	}
}

func TestResumeAfterACutAnywhere(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		for i := range 21 {
			at := size / 20 * i
			t.Run(fmt.Sprintf("chunked=%v,%d", chunked, at), func(t *testing.T) {
				s := newWeb(t, size, cut(at))
				s.chunked = chunked
				s.wantWhole(nil)
				wantRange, wantIf := fmt.Sprintf("bytes=%d-", at), `"v1"`
				if at == 0 {
					wantRange, wantIf = "", ""
				}
				if got, got2 := s.header(1, "Range"), s.header(1, "If-Range"); got != wantRange || got2 != wantIf {
					t.Errorf("Range: %s, If-Range: %s; want %s, %s", got, got2, wantRange, wantIf)
				}
			})
		}
	}
}

func TestNotesWhileRetrying(t *testing.T) {
	s := newWeb(t, 3<<20, answer(500), cut(1<<20), answer(503, "Retry-After", "7"), cut(0))
	took := s.wantWhole(func(o *source.Options) {
		o.Backoff = func(failures int) time.Duration { return time.Duration(failures) * time.Second }
	})
	want := []string{
		"the server answered 500 Internal Server Error, trying again in 1 s",
		"connection lost at 1.0 MiB of 3.0 MiB, trying again in 1 s",
		"the server answered 503 Service Unavailable at 1.0 MiB of 3.0 MiB, trying again in 7 s",
		"connection lost at 1.0 MiB of 3.0 MiB, trying again in 3 s",
	}
	if !slices.Equal(s.notes, want) {
		t.Errorf("notes:\n%s\nwant:\n%s", strings.Join(s.notes, "\n"), strings.Join(want, "\n"))
	}
	if took != 12*time.Second {
		t.Errorf("took %s; want 12 s", took)
	}
}

func TestProgressRenewsThePatience(t *testing.T) {
	var steps []step
	for range 15 {
		steps = append(steps, cut(65<<10))
	}
	newWeb(t, size, steps...).wantWhole(func(o *source.Options) { o.Retries = 1 })
}

func TestTricklingServerIsGivenUp(t *testing.T) {
	var steps []step
	for range 100 {
		steps = append(steps, cut(10))
	}
	s := newWeb(t, size, steps...)
	e, _ := s.wantFailure("connection lost at 50 B of 1.0 MiB; given up after 5 tries", func(o *source.Options) { o.Retries = 4 })
	if !e.Retryable || e.Hint == "" || e.Op != "downloading" || e.URI != "http://example.org/a.mender" {
		t.Errorf("error %#v", e)
	}
	if s.count() != 5 {
		t.Errorf("%d requests; want 5", s.count())
	}
}

func TestBackoffGrowsAndIsLimited(t *testing.T) {
	s := newWeb(t, size)
	for range 100 {
		s.steps = append(s.steps, answer(502))
	}
	_, took := s.wantFailure("the server answered 502 Bad Gateway; given up after 11 tries", nil)
	// 1+2+4+8+16+32+60+60+60+60 seconds, a quarter more or less.
	if took < 227*time.Second || took > 379*time.Second {
		t.Errorf("took %s; want about five minutes", took)
	}
}

func TestStatus(t *testing.T) {
	for code, want := range map[int]struct {
		words string
		tries int
	}{
		204: {"204 No Content", 1}, 206: {"206 Partial Content", 1}, 300: {"300 Multiple Choices", 1}, 302: {"302 Found", 1}, 304: {"304 Not Modified", 1},
		400: {"400 Bad Request", 1}, 401: {"401 Unauthorized", 1}, 403: {"403 Forbidden", 1}, 404: {"404 Not Found", 1},
		407: {"the proxy answered 407 Proxy Authentication Required", 1}, 410: {"410 Gone", 1}, 416: {"416 Requested Range Not Satisfiable", 1},
		408: {"408 Request Timeout", 3}, 425: {"425 Too Early", 3}, 429: {"429 Too Many Requests", 3},
		500: {"500 Internal Server Error", 3}, 501: {"501 Not Implemented", 1}, 502: {"502 Bad Gateway", 3}, 504: {"504 Gateway Timeout", 3},
		505: {"505 HTTP Version Not Supported", 1}, 599: {"answered 599", 3},
	} {
		t.Run(itoa(code), func(t *testing.T) {
			s := newWeb(t, size, answer(code), answer(code), answer(code))
			e, _ := s.wantFailure(want.words, func(o *source.Options) { o.Retries = 2 })
			if s.count() != want.tries || e.Retryable != (want.tries > 1) {
				t.Errorf("%d requests, retryable %v; want %d", s.count(), e.Retryable, want.tries)
			}
		})
	}
}

func TestStatusInTheMiddle(t *testing.T) {
	s := newWeb(t, size, cut(size/2), answer(404))
	s.wantFailure("the server answered 404 Not Found at 512.0 KiB of 1.0 MiB", nil)
	if s.count() != 2 {
		t.Errorf("%d requests; want 2", s.count())
	}
}

func TestRetryAfter(t *testing.T) {
	date := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return date.Add(d).Format(http.TimeFormat) }
	for name, test := range map[string]struct {
		header []string
		want   time.Duration
	}{
		"seconds":        {[]string{"Retry-After", "120"}, 120 * time.Second},
		"server's time":  {[]string{"Retry-After", at(30 * time.Second), "Date", at(0)}, 30 * time.Second},
		"past":           {[]string{"Retry-After", at(-time.Hour), "Date", at(0)}, time.Second},
		"less than ours": {[]string{"Retry-After", "0"}, time.Second},
		"nonsense":       {[]string{"Retry-After", "-5"}, time.Second},
		"ten minutes":    {[]string{"Retry-After", "600"}, 600 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWeb(t, size, answer(429, test.header...))
			took := s.wantWhole(func(o *source.Options) { o.Backoff = func(int) time.Duration { return time.Second } })
			if took != test.want {
				t.Errorf("waited %s; want %s", took, test.want)
			}
		})
	}
	for _, long := range []string{"601", "99999999999999999", at(time.Hour)} {
		s := newWeb(t, size, answer(503, "Retry-After", long, "Date", at(0)))
		e, took := s.wantFailure("wants us back in", nil)
		if took != 0 || !e.Retryable {
			t.Errorf("Retry-After %s: waited %s, retryable %v; want an error at once", long, took, e.Retryable)
		}
	}
}

func TestStall(t *testing.T) {
	s := newWeb(t, size, stall(size/2), stall(0))
	took := s.wantWhole(func(o *source.Options) {
		o.StallTimeout = 20 * time.Second
		o.Backoff = func(int) time.Duration { return time.Second }
	})
	if took != 42*time.Second {
		t.Errorf("took %s; want two stalls of 20 s and two waits of 1 s", took)
	}
	if want := "no byte came for 20 s at 512.0 KiB of 1.0 MiB, trying again in 1 s"; len(s.notes) == 0 || s.notes[0] != want {
		t.Errorf("notes %q; want the first to be %q", s.notes, want)
	}
}

func TestServerThatNeverAnswers(t *testing.T) {
	hang := func(_ *web, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	s := newWeb(t, size, hang, hang)
	e, took := s.wantFailure("the server did not answer in time; given up after 2 tries", func(o *source.Options) {
		o.Retries = 1
		o.StallTimeout = 10 * time.Second
		o.Backoff = func(int) time.Duration { return 0 }
	})
	if took != 20*time.Second || !e.Retryable {
		t.Errorf("took %s, retryable %v; want 20 s, true", took, e.Retryable)
	}
}

func TestReaderThatTakesTimeIsNoStall(t *testing.T) {
	s := newWeb(t, size)
	s.within("http://example.org/", func(o *source.Options) { o.StallTimeout = time.Second }, func(src *source.Source, err error) {
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 10)
		if _, err := io.ReadFull(src, b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		checkRead(t, src, s.data[10:])
	})
	if s.count() != 1 {
		t.Errorf("%d requests; want 1", s.count())
	}
}

func TestTotalTime(t *testing.T) {
	for name, steps := range map[string][]step{
		"while reading": {stall(size / 2)},
		"while waiting": {cut(size / 2), answer(500, "Retry-After", "400")},
	} {
		t.Run(name, func(t *testing.T) {
			e, took := newWeb(t, size, steps...).wantFailure("not complete within 5m0s at 512.0 KiB of 1.0 MiB", func(o *source.Options) {
				o.Timeout = 5 * time.Minute
				o.StallTimeout = -1
			})
			if took != 5*time.Minute || !e.Retryable || !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("took %s, retryable %v; want 5 min, true", took, e.Retryable)
			}
		})
	}
}

func TestConnectTime(t *testing.T) {
	e, took := newWeb(t, size).wantFailure("connecting to example.org:80 took longer than 5 s", func(o *source.Options) {
		o.Retries = -1
		o.ConnectTimeout = 5 * time.Second
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	if took != 5*time.Second || !e.Retryable {
		t.Errorf("took %s, retryable %v; want 5 s, true", took, e.Retryable)
	}
}

func TestLimitRate(t *testing.T) {
	took := newWeb(t, size, cut(size/2)).wantWhole(func(o *source.Options) {
		o.LimitRate = size / 10
		o.Backoff = func(int) time.Duration { return 0 }
	})
	if took < 9800*time.Millisecond || took > 10200*time.Millisecond {
		t.Errorf("took %s; want 10 s", took)
	}
}

func TestCancel(t *testing.T) {
	for name, steps := range map[string][]step{
		"while opening": {func(_ *web, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		"while reading": {stall(size / 2)},
		"while waiting": {cut(size / 2), answer(500, "Retry-After", "100")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWeb(t, size, steps...)
			synctest.Test(t, func(t *testing.T) {
				w := newWire()
				server := &http.Server{Handler: s}
				go func() { _ = server.Serve(w) }() // ends with Close below
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(5*time.Second, cancel)
				start := time.Now()
				src, err := source.Open(ctx, "http://example.org/", s.options(w))
				if err == nil {
					_, err = io.ReadAll(src)
					defer src.Close()
				}
				if err != context.Canceled || time.Since(start) != 5*time.Second {
					t.Errorf("%v after %s; want context.Canceled after 5 s", err, time.Since(start))
				}
				if err := server.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestReadAfterClose(t *testing.T) {
	s := newWeb(t, size)
	s.within("http://example.org/", nil, func(src *source.Source, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if err := src.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := src.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Read after Close = %v; want ErrClosed", err)
		}
	})
}

func TestRealNetwork(t *testing.T) {
	now := func(int) time.Duration { return 0 }
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("x"), 100<<10)
	served := make(chan error, 1)
	go func() { served <- serveRaw(l, data) }()
	src, err := source.Open(t.Context(), "http://"+l.Addr().String()+"/", source.Options{Backoff: now})
	if err != nil {
		t.Fatal(err)
	}
	checkRead(t, src, data)
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = source.Open(t.Context(), "http://"+l.Addr().String()+"/", source.Options{Backoff: now, Retries: 2})
	if e := wantError(t, err, "connection refused; given up after 3 tries", false); !errors.Is(e, syscall.ECONNREFUSED) {
		t.Errorf("%v does not have ECONNREFUSED in its chain", e)
	}
}

// serveRaw resets the first connection in the middle, and ends the second without a length.
func serveRaw(l net.Listener, data []byte) error {
	return errors.Join(
		reply(l, func(conn net.Conn, _ *http.Request) error {
			_, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: \"1\"\r\n\r\n%s", len(data), data[:len(data)/2])
			return errors.Join(err, conn.(*net.TCPConn).SetLinger(0)) // close with a reset
		}),
		reply(l, func(conn net.Conn, r *http.Request) error {
			var from int // what came before the reset is up to the kernel
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err != nil && from > 0 {
				return err
			}
			status := fmt.Sprintf("206 Partial Content\r\nContent-Range: bytes %d-%d/%d", from, len(data)-1, len(data))
			if from == 0 {
				status = "200 OK"
			}
			_, err := fmt.Fprintf(conn, "HTTP/1.0 %s\r\nETag: \"1\"\r\n\r\n%s", status, data[from:])
			return err
		}),
	)
}

// reply treats one connection.
func reply(l net.Listener, write func(net.Conn, *http.Request) error) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	return errors.Join(write(conn, r), conn.Close())
}
