package source_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"flipside/internal/source"
)

// exchanged puts another file in the place of the old one, and goes on with next.
func exchanged(size int, next step) step {
	return func(s *web, w http.ResponseWriter, r *http.Request) {
		s.etag = `"v2"`
		s.data = bytes.Repeat([]byte("new"), size/3)
		next(s, w, r)
	}
}

func TestFileExchangedBeforeTheFirstByte(t *testing.T) {
	s := newWeb(t, size, cut(0), exchanged(600, properly))
	s.wantWhole(nil) // the new file, and Size is its size
	if len(s.data) != 600 {
		t.Errorf("the file has %d bytes; want 600", len(s.data))
	}
}

func TestFileExchangedInTheMiddle(t *testing.T) {
	const words = "the file on the server was exchanged during the download"
	modified := func(day int) string {
		return time.Date(2030, 1, day, 0, 0, 0, 0, time.UTC).Format(http.TimeFormat)
	}
	// partial answers with a range from the middle of the file, whatever the conditions.
	partial := func(total int, header ...string) step {
		return func(s *web, w http.ResponseWriter, r *http.Request) {
			answer(206, append(header, "Content-Range", fmt.Sprintf("bytes %d-%d/%d", size/2, total-1, total))...)(s, w, r)
			_, _ = w.Write(s.data[size/2:]) // the client may be gone
		}
	}
	// first is the beginning of the file with these headers.
	first := func(header ...string) step {
		return func(s *web, w http.ResponseWriter, r *http.Request) {
			s.etag = ""
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			cut(size/2)(s, w, r)
		}
	}
	for name, test := range map[string]struct {
		steps   []step
		words   string
		ifRange string // of the second request
	}{
		"new tag, If-Range respected":  {[]step{cut(size / 2), exchanged(size, properly)}, words, `"v1"`},
		"new tag, If-Range ignored":    {[]step{first("ETag", `"v1"`), partial(size, "ETag", `"v2"`)}, words, `"v1"`},
		"new tag, Range ignored":       {[]step{cut(size / 2), exchanged(size, whole)}, words, `"v1"`},
		"new weak tag":                 {[]step{first("ETag", `W/"v1"`), partial(size, "ETag", `W/"v2"`)}, words, ""},
		"new time":                     {[]step{first("Last-Modified", modified(1)), partial(size, "Last-Modified", modified(2))}, words, modified(1)},
		"weak tag, new time":           {[]step{first("ETag", `W/"v1"`, "Last-Modified", modified(1)), partial(size, "Last-Modified", modified(2))}, words, modified(1)},
		"new size":                     {[]step{first(), partial(size + 1)}, words, ""},
		"new size, Range ignored":      {[]step{first(), exchanged(3000, func(s *web, w http.ResponseWriter, r *http.Request) { s.etag = ""; whole(s, w, r) })}, words, ""},
		"shorter than what came":       {[]step{func(s *web, w http.ResponseWriter, r *http.Request) { s.chunked = true; first()(s, w, r) }, answer(416, "Content-Range", "bytes */100")}, words, ""},
		"no way to tell":               {[]step{first(), func(s *web, w http.ResponseWriter, r *http.Request) { whole(s, w, r) }}, "does not say whether it still has the same file", ""},
		"other bytes than asked for":   {[]step{cut(size / 2), answer(206, "Content-Range", fmt.Sprintf("bytes 0-%d/%d", size-1, size))}, "asked for the bytes from 524288 on and sent others", `"v1"`},
		"range without Content-Range":  {[]step{cut(size / 2), answer(206)}, "and sent others", `"v1"`},
		"malformed Content-Range":      {[]step{cut(size / 2), answer(206, "Content-Range", "bytes 524288-+9/10")}, "and sent others", `"v1"`},
		"Content-Range past the end":   {[]step{cut(size / 2), answer(206, "Content-Range", "bytes 524288-524289/524289")}, "and sent others", `"v1"`},
		"not a range, without a total": {[]step{cut(size / 2), answer(416)}, "416 Requested Range Not Satisfiable at 512.0 KiB", `"v1"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWeb(t, size, test.steps...)
			old := s.data
			got, _, err := s.download(nil)
			if e := wantError(t, err, test.words, false); e.Retryable {
				t.Errorf("%q is said to be retryable", e)
			}
			if !bytes.Equal(got, old[:size/2]) {
				t.Errorf("got %d bytes; want the %d of the old file and none of the new", len(got), size/2)
			}
			if got := s.header(1, "If-Range"); got != test.ifRange {
				t.Errorf("If-Range: %q; want %q", got, test.ifRange)
			}
			if s.count() != 2 {
				t.Errorf("%d requests; want 2", s.count())
			}
		})
	}
}

func TestServerThatCannotResume(t *testing.T) {
	noRanges := func(next step) step {
		return func(s *web, w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); next(s, w, r) }
	}
	dated := func(next step) step {
		return func(s *web, w http.ResponseWriter, r *http.Request) {
			s.etag = ""
			w.Header().Set("Last-Modified", "Tue, 01 Jan 2030 00:00:00 GMT")
			noRanges(next)(s, w, r)
		}
	}
	for name, steps := range map[string][]step{
		"same tag":                  {cut(size / 2), whole},
		"same time and size":        {dated(cut(size / 2)), dated(whole)},
		"breaks again before":       {cut(size / 2), noRanges(cut(size / 4)), whole},
		"breaks again behind":       {cut(size / 4), noRanges(cut(size / 2)), whole},
		"breaks again at that byte": {cut(size / 4), noRanges(cut(size / 4)), whole},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWeb(t, size, steps...)
			s.wantWhole(nil)
			if all := strings.Join(s.notes, "\n"); !strings.Contains(all, "the server cannot resume: reading the first") {
				t.Errorf("notes %q; want one that the server cannot resume", s.notes)
			}
		})
	}
}

func TestServerThatGivesLessThanAskedFor(t *testing.T) {
	// It may (RFC 9110, section 15.3.7); with chunks, net/http does not see that something is missing.
	part := func(from, to int) step {
		return func(s *web, w http.ResponseWriter, r *http.Request) {
			answer(206, "Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, size))(s, w, r)
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(s.data[from:to])
		}
	}
	newWeb(t, size, cut(size/4), part(size/4, size/2), part(size/2, size)).wantWhole(nil)
}

func TestCutAfterTheLastByteOfUnknownSize(t *testing.T) {
	s := newWeb(t, size)
	s.steps = []step{func(s *web, w http.ResponseWriter, r *http.Request) {
		s.chunked = true
		properly(s, w, r)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // the last chunk, of no bytes, is missing
	}}
	s.wantWhole(nil)
	if got := s.header(1, "Range"); got != fmt.Sprintf("bytes=%d-", size) {
		t.Errorf("Range: %q; want what comes after the last byte", got)
	}
}

func TestMoreThanAnnounced(t *testing.T) {
	s := newWeb(t, size, cut(size/2), func(s *web, w http.ResponseWriter, r *http.Request) {
		answer(206, "Content-Range", fmt.Sprintf("bytes %d-%d/%d", size/2, size-1, size))(s, w, r)
		_, _ = w.Write(append(s.data[size/2:], "more"...)) // the client may be gone
	})
	e, _ := s.wantFailure("the server sent more than it had announced", nil)
	if e.Retryable {
		t.Errorf("%q is said to be retryable", e)
	}
}

// FuzzResume answers the second request with anything.
func FuzzResume(f *testing.F) {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"1\"\r\n\r\n"
	for _, seed := range []string{
		"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nETag: \"1\"\r\n\r\n56789",
		"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/*\r\nContent-Length: 5\r\n\r\n56789",
		head + "0123456789",
		"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */5\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://[::1/%zz\r\n\r\n",
		"HTTP/1.1 503 no\r\nRetry-After: 99999999999999999999\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"1\"\r\n\r\n5\r\n01234\r\nzz",
		"\x00\x01",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, second []byte) {
		w := newWire()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, answer := range []string{head + "01234", string(second)} {
				_ = reply(w, func(c net.Conn, _ *http.Request) error {
					_, err := io.WriteString(c, answer)
					return err
				}) // an error means that the client had enough
			}
			_ = w.Close()
		}()
		src, err := source.Open(t.Context(), "http://example.org/a", source.Options{
			Dial: w.Dial, Retries: 2, Backoff: func(int) time.Duration { return 0 }, Timeout: 10 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(src)
		if !bytes.HasPrefix(got, []byte("01234")) || len(got) > 10 {
			t.Errorf("got %q", got)
		}
		if err == nil && int64(len(got)) != src.Size() {
			t.Errorf("got %d bytes without an error; want %d", len(got), src.Size())
		}
		_ = w.Close()
		_ = src.Close()
		<-done
	})
}
