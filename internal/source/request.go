package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const maxRedirects = 10

// attempt is one request and the body of its answer. It has its own connections: those of an
// attempt that failed are not to be trusted, HTTP/2 would go on using a dead one.
type attempt struct {
	ctx       context.Context
	cancel    context.CancelCauseFunc
	transport *http.Transport
	body      io.ReadCloser
	skip      int64       // so many bytes at the beginning of body we had before
	stall     *time.Timer // cancels ctx; nil: no limit
	patience  time.Duration
	err       error // sticks
}

// try asks for the file from d.at on.
func (d *download) try() (*attempt, *failure) {
	a := &attempt{transport: d.newTransport(), patience: d.o.StallTimeout}
	a.ctx, a.cancel = context.WithCancelCause(d.ctx)
	client := &http.Client{Transport: a.transport, CheckRedirect: d.checkRedirect}
	resp, err := client.Do(d.newRequest(a.ctx))
	if err != nil {
		a.close()
		return nil, d.o.suspectClock(d.suspectCertificate(explain(err, d.o.now())))
	}
	a.body = resp.Body
	skip, f := d.accept(resp)
	if f != nil {
		a.close()
		if code := resp.StatusCode; code == http.StatusBadRequest || code == http.StatusForbidden {
			f = d.suspectCertificate(f)
		}
		d.reached = true
		return nil, f
	}
	d.reached = true
	a.body, a.skip = resp.Body, skip
	if a.patience > 0 {
		a.stall = time.AfterFunc(a.patience, func() {
			a.cancel(&failure{
				text: "no byte came for " + patience(a.patience), err: unix.ETIMEDOUT, retry: true, hint: hintConnection,
			})
		})
		a.stall.Stop()
	}
	return a, nil
}

// Read reads the body. Only waiting counts as stalling, not a caller who takes time.
func (a *attempt) Read(p []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	if a.stall != nil {
		a.stall.Reset(a.patience)
		defer a.stall.Stop()
	}
	n, err := a.body.Read(p)
	if err != nil && err != io.EOF {
		var stalled *failure
		if errors.As(context.Cause(a.ctx), &stalled) {
			err = stalled
		}
	}
	a.err = err
	return n, err
}

func (a *attempt) close() {
	a.cancel(nil)
	if a.body != nil {
		_ = a.body.Close() // we read what we wanted; the transport is thrown away too
	}
	a.transport.CloseIdleConnections()
}

func (d *download) newRequest(ctx context.Context) *http.Request {
	req := (&http.Request{
		Method: http.MethodGet, URL: new(url.URL), Header: d.o.Header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	*req.URL = *d.target.url
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Host = req.Header.Get("Host")
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", d.o.UserAgent)
	}
	if d.target.auth != "" {
		req.Header.Set("Authorization", d.target.auth)
	}
	// The bytes as they are: their number and their order must mean the same at every try.
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Del("Range")
	req.Header.Del("If-Range")
	if d.at > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(d.at, 10)+"-")
		if condition := d.version.condition(); condition != "" {
			req.Header.Set("If-Range", condition)
		}
	}
	return req
}

// checkRedirect is asked by net/http before it follows.
func (d *download) checkRedirect(req *http.Request, via []*http.Request) error {
	from, to := via[len(via)-1].URL, req.URL
	switch {
	case len(via) > maxRedirects:
		return &failure{
			text: fmt.Sprintf("more than %d redirects", maxRedirects),
			hint: "the server sends us in a circle; check the address",
		}
	case to.Scheme != "http" && to.Scheme != "https":
		return &failure{text: fmt.Sprintf("the server redirects to %q, which is no web address", to.Scheme+":")}
	case from.Scheme == "https" && to.Scheme == "http":
		return &failure{
			text: fmt.Sprintf("the server redirects from https to plain http (%s)", to.Host),
			hint: "whoever listens could exchange the file; give the http:// address if that is what you want",
		}
	case to.Scheme == "https" && d.tlsErr != nil:
		return d.tlsErr
	case to.Scheme == "https" && from.Scheme == "http":
		d.noteTLS()
	}
	// Any header of the user may be a secret for the first server, and so may the query of its URL.
	req.Header.Del("Referer")
	if origin(via[0].URL) != origin(to) {
		for key := range d.o.Header {
			delete(req.Header, key)
		}
		req.Header.Del("Authorization")
		req.Header.Set("User-Agent", d.o.UserAgent)
		req.Header.Set("Accept-Encoding", "identity")
	}
	return nil
}

// suspectCertificate replaces the hint where a missing client certificate may be the reason. Whether
// the server says so depends on who is faster: with TLS 1.3 it finds out when we are talking already.
func (d *download) suspectCertificate(f *failure) *failure {
	if d.asked.Load() && !d.reached && !f.usage {
		f.hint = "the server asks for a client certificate: it is HttpsClient in mender.conf"
	}
	return f
}

func (d *download) newTransport() *http.Transport {
	config := d.tls.Clone()
	if config != nil && len(config.Certificates) == 0 {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			d.asked.Store(true)
			return new(tls.Certificate), nil // none
		}
	}
	return &http.Transport{
		Proxy:                  proxyFor,
		DialContext:            d.dial,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    d.o.ConnectTimeout,
		ResponseHeaderTimeout:  d.o.StallTimeout,
		MaxResponseHeaderBytes: 256 << 10, // cookies and policies; the default is 10 MiB
		ReadBufferSize:         64 << 10,
		DisableCompression:     true, // would unpack what is to be passed on as it is
		ForceAttemptHTTP2:      true,
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			return proxyAnswer(resp)
		},
	}
}

// dial limits the time for lookup and connection, and says so.
func (d *download) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, d.o.ConnectTimeout)
	defer cancel()
	conn, err := d.o.Dial(limited, network, addr)
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	var (
		timeout net.Error
		lookup  *net.DNSError
	)
	if errors.As(err, &timeout) && timeout.Timeout() && !errors.As(err, &lookup) && !errors.Is(err, unix.ETIMEDOUT) {
		return nil, &failure{
			text: fmt.Sprintf("connecting to %s took longer than %s", addr, patience(d.o.ConnectTimeout)), err: err, retry: true, early: true,
			hint: "check the address, and whether a firewall is in between",
		}
	}
	return nil, err
}
