package source

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// download reads a file from a web server, and goes on after a failure where it was.
type download struct {
	*retries
	target target
	tls    *tls.Config // nil if it could not be made, see tlsErr
	tlsErr error       // matters only if there is TLS
	limit  limiter

	conn    *attempt    // nil: not connected
	version version     // of the file that the bytes belong to
	asked   atomic.Bool // the server wanted a client certificate, and there was none
	noted   bool        // what is odd about the way that certificates are checked
	err     error       // sticks
}

func openHTTP(ctx context.Context, uri string, o Options) (*Source, error) {
	t, err := parseTarget(uri)
	if err != nil {
		return nil, err
	}
	d := &download{retries: newRetries(ctx, o, t.name), target: t, limit: limiter{rate: o.LimitRate}}
	if err = d.prepare(); err == nil {
		err = d.connect()
	}
	if err != nil {
		_ = d.Close() // nothing was stored in it
		return nil, err
	}
	return &Source{ctx: ctx, in: d, name: t.name}, nil
}

// prepare checks what was asked for, before anybody is connected to.
func (d *download) prepare() error {
	d.tls, d.tlsErr = newTLS(d.o)
	if d.target.url.Scheme == "https" {
		if d.tlsErr != nil {
			return d.fail(explain(d.tlsErr, d.o.now()))
		}
		d.noteTLS()
	}
	if err := checkHeader(d.o.Header); err != nil {
		return d.fail(explain(err, d.o.now()))
	}
	return nil
}

func (d *download) Close() error {
	d.cancel()
	d.disconnect()
	if d.err == nil {
		d.err = d.closed()
	}
	return nil
}

func (d *download) disconnect() {
	if d.conn != nil {
		d.conn.close()
		d.conn = nil
	}
}

func (d *download) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for d.err == nil {
		if d.conn == nil {
			d.err = d.connect()
			continue
		}
		n, err := d.readOnce(p)
		switch {
		case n > 0:
			return n, nil // first; an error sticks to the connection and comes again
		case err == io.EOF:
			d.disconnect()
			d.err = io.EOF
		case err != nil:
			d.disconnect()
			d.err = d.after(explainBody(err))
		}
	}
	return 0, d.err
}

// readOnce reads from the connection there is. io.EOF means the end of the file.
func (d *download) readOnce(p []byte) (int, error) {
	if err := d.limit.wait(d.ctx); err != nil {
		return 0, err
	}
	n, err := d.conn.Read(d.limit.cut(p))
	d.limit.took(n)
	if again := min(d.conn.skip, int64(n)); again > 0 {
		d.conn.skip -= again
		n = copy(p, p[again:n])
	}
	whole := d.size.Load()
	if whole >= 0 && d.at+int64(n) > whole {
		return 0, &failure{text: "the server sent more than it had announced", hint: "the server is broken"}
	}
	d.at += int64(n)
	switch {
	case whole >= 0 && d.at == whole && err != nil:
		return n, io.EOF // complete: how the connection ended does not matter
	case err == io.EOF && (whole >= 0 || d.conn.skip > 0):
		return n, io.ErrUnexpectedEOF
	case err == io.EOF:
		d.size.Store(d.at)
	}
	return n, err
}

// connect tries until there is a connection that gives the bytes from d.at on.
func (d *download) connect() error {
	for {
		a, f := d.try()
		if f == nil {
			d.conn = a
			return nil
		}
		if err := d.after(f); err != nil {
			return err
		}
	}
}

// accept looks at the answer to a request for the bytes from d.at on. skip says how many bytes at
// the beginning of its body we have already.
func (d *download) accept(resp *http.Response) (skip int64, _ *failure) {
	whole, partial := resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusPartialContent
	switch {
	case whole && d.at == 0:
		d.version = versionOf(resp, resp.ContentLength)
		d.size.Store(resp.ContentLength)
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
			d.o.Notify("the server sends a web page instead of a file: is it a login page?")
		}
		return 0, nil
	case whole:
		return d.acceptWhole(resp)
	case partial && d.at > 0:
		return 0, d.acceptRange(resp)
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && d.at > 0:
		return 0, d.acceptNothing(resp)
	}
	return 0, statusFailure(resp)
}

// acceptWhole takes a server that sends all again. Unless it is surely the same file, that is the
// end: what was delivered cannot be taken back.
func (d *download) acceptWhole(resp *http.Response) (skip int64, _ *failure) {
	v := versionOf(resp, resp.ContentLength)
	switch {
	case d.version.differs(v):
		return 0, changed()
	case !d.version.equals(v):
		return 0, &failure{
			text: "the server cannot resume a download, and does not say whether it still has the same file",
			hint: "start again; a server with range requests, or at least ETag headers, would have helped",
		}
	}
	d.o.Notify("the server cannot resume: reading the first " + size(d.at) + " again")
	return d.at, nil
}

func (d *download) acceptRange(resp *http.Response) *failure {
	r, ok := parseContentRange(resp.Header.Get("Content-Range"))
	if !ok || r.first != d.at {
		return &failure{
			text: fmt.Sprintf("the server was asked for the bytes from %d on and sent others", d.at),
			hint: "start again; the server handles range requests wrongly",
		}
	}
	v := versionOf(resp, r.total)
	if d.version.differs(v) {
		return changed()
	}
	if d.version.size < 0 && r.total >= 0 {
		d.version.size = r.total
		d.size.Store(r.total)
	}
	return nil
}

// acceptNothing is for a connection that was lost after the last byte of a file of unknown size.
func (d *download) acceptNothing(resp *http.Response) *failure {
	r, ok := parseContentRange(resp.Header.Get("Content-Range"))
	if !ok {
		return statusFailure(resp)
	}
	if r.total != d.at || d.version.differs(versionOf(resp, r.total)) {
		return changed()
	}
	d.size.Store(d.at)
	_ = resp.Body.Close() // the words that explain the status
	resp.Body = http.NoBody
	return nil
}

func changed() *failure {
	return &failure{
		text: "the file on the server was exchanged during the download", err: ErrChanged,
		hint: "start again to get the new file",
	}
}
