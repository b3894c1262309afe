package source

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// version is what a server says about the file it sends, to notice when it becomes another one.
type version struct {
	etag     string // "" if none
	modified string // Last-Modified, as sent; "" if none
	size     int64  // -1: unknown
}

// versionOf reads an answer that carries the file, 200, or a range of it, 206 of total size.
func versionOf(resp *http.Response, total int64) version {
	return version{resp.Header.Get("ETag"), resp.Header.Get("Last-Modified"), total}
}

// differs says whether the two are surely not the same file. Servers may leave things out of a
// partial answer (RFC 9110, section 15.3.7).
func (v version) differs(w version) bool {
	other := func(a, b string) bool { return a != "" && b != "" && a != b }
	return other(strings.TrimPrefix(v.etag, "W/"), strings.TrimPrefix(w.etag, "W/")) ||
		other(v.modified, w.modified) ||
		v.size >= 0 && w.size >= 0 && v.size != w.size
}

// equals says whether the two are surely the same file, byte by byte.
func (v version) equals(w version) bool {
	if v.differs(w) {
		return false
	}
	return v.strong() && v.etag == w.etag || v.modified != "" && v.modified == w.modified && v.size >= 0 && v.size == w.size
}

// strong says whether the entity tag stands for exact bytes (RFC 9110, section 8.8.1).
func (v version) strong() bool { return strings.HasPrefix(v.etag, `"`) }

// condition is the value of If-Range: what makes the server send all of a file that changed.
func (v version) condition() string {
	if v.strong() {
		return v.etag
	}
	return v.modified
}

// contentRange is a parsed Content-Range header: "bytes 100-199/200", "bytes 100-199/*", "bytes */200".
type contentRange struct {
	first, last int64 // -1: the range does not exist
	total       int64 // -1: unknown
}

func parseContentRange(s string) (contentRange, bool) {
	bad := contentRange{-1, -1, -1}
	s, ok := strings.CutPrefix(s, "bytes ")
	span, totalText, found := strings.Cut(s, "/")
	if !ok || !found {
		return bad, false
	}
	r := bad
	if totalText != "*" {
		if r.total, ok = parseSize(totalText); !ok {
			return bad, false
		}
	}
	if span == "*" {
		return r, true
	}
	firstText, lastText, _ := strings.Cut(span, "-")
	var okFirst, okLast bool
	r.first, okFirst = parseSize(firstText)
	r.last, okLast = parseSize(lastText)
	if !okFirst || !okLast || r.last < r.first || r.total >= 0 && r.last >= r.total {
		return bad, false
	}
	return r, true
}

// parseSize reads digits; strconv alone would take a sign too.
func parseSize(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}

// statusText is "404 Not Found", in our words: those of the server are not to be trusted.
func statusText(code int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))
}

// statusFailure is an answer that is not the file.
func statusFailure(resp *http.Response) *failure {
	code := resp.StatusCode
	f := &failure{text: "the server answered " + statusText(code)}
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		f.retry, f.hint = true, "the server has no time for us now; try again later"
	case http.StatusUnauthorized, http.StatusForbidden:
		f.hint = "does the server want a user name and password (http://user:password@host/), or a header?"
	case http.StatusBadRequest, http.StatusNotFound, http.StatusGone:
		f.hint = "check the address"
	case http.StatusProxyAuthRequired:
		f.text = "the proxy answered " + statusText(code)
		f.hint = "write HTTP_PROXY=http://user:password@host:port"
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		f.hint = "is it a web server that can send files?"
	default:
		if code >= 500 {
			f.retry, f.hint = true, "the server has a problem; try again later"
		}
	}
	f.after = retryAfter(resp)
	return f
}

// retryAfter reads the header Retry-After: seconds, or a date, which we count from the server's own
// Date because the clock of a device is often wrong.
func retryAfter(resp *http.Response) time.Duration {
	value := resp.Header.Get("Retry-After")
	if seconds, ok := parseSize(value); ok {
		const most = int64(1 << 30) // of what a Duration holds; more than any patience
		return time.Duration(min(seconds, most)) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	from, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		from = time.Now()
	}
	return max(at.Sub(from), 0)
}
