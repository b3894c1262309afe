package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// explainOpen says why a file could not be opened. Nothing of it heals by waiting.
func explainOpen(name string, err error) *Error {
	e := &Error{Op: "opening", URI: name, Err: err, usage: true}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Hint = "check the path; is the medium mounted?"
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "check the permissions, or run as root"
	case errors.Is(err, unix.EISDIR):
		e.Hint = "name the artifact in it"
	case errors.Is(err, unix.EBADF):
		e.Err = errors.New("it is closed")
	case isMediumError(err):
		return explainRead(name, err)
	}
	return e
}

// explainRead says why a file could not be read on.
func explainRead(name string, err error) *Error {
	e := &Error{Op: "reading", URI: name, Err: err}
	var path *fs.PathError
	if errors.As(err, &path) {
		e.Err = path.Err // the name is said already
	}
	if isMediumError(err) {
		e.Retryable = true
		e.Hint = "was the medium pulled out? plug it in, check it and try again"
	}
	return e
}

// isMediumError says whether the thing below the file went away or is broken.
func isMediumError(err error) bool {
	for _, e := range []unix.Errno{
		unix.EIO, unix.ENODEV, unix.ENXIO, unix.ENOMEDIUM, unix.ESTALE, unix.EREMOTEIO, unix.EBADMSG,
		unix.ETIMEDOUT, unix.ESHUTDOWN, unix.ENOTCONN, unix.EHOSTDOWN,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// explainBody turns an error in the middle of an answer into a failure. What it says beyond that,
// like the words of HTTP/2, helps nobody.
func explainBody(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return lost(err)
}

// explain turns what net/http returned instead of an answer into a failure. now is the time that
// certificates were checked against.
func explain(err error, now time.Time) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f // made by us in a hook of net/http
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the URL, which has secrets
	}
	for _, explainer := range []func(error) *failure{
		explainLookup, explainConnection,
		func(err error) *failure { return explainCertificate(err, now) },
		explainTLS, explainTransfer,
	} {
		if f := explainer(err); f != nil {
			return throughProxy(err, f)
		}
	}
	return throughProxy(err, &failure{text: err.Error(), err: err, retry: true})
}

// throughProxy names the proxy as the one that the failure is about.
func throughProxy(err error, f *failure) *failure {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "proxyconnect" {
		f.text = "connecting to the proxy: " + f.text
		f.hint = "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY in the environment"
	}
	return f
}

func explainLookup(err error) *failure {
	var dns *net.DNSError
	switch {
	case !errors.As(err, &dns):
		return nil
	case dns.IsNotFound:
		return &failure{
			text: fmt.Sprintf("the host name %q is not known", dns.Name), err: err, retry: true, wrong: true,
			hint: "check the name and the DNS settings of this device",
		}
	}
	return &failure{
		text: fmt.Sprintf("looking up the host name %q: %s", dns.Name, dns.Err), err: err, retry: true, early: true,
		hint: "check the network and the DNS settings of this device",
	}
}

func explainConnection(err error) *failure {
	const network = "check the cable and the network settings of this device"
	for errno, words := range map[unix.Errno][2]string{
		unix.ECONNREFUSED:  {"connection refused", "check the port, and whether the server runs"},
		unix.EHOSTUNREACH:  {"the host cannot be reached", network},
		unix.ENETUNREACH:   {"the network cannot be reached", network},
		unix.ENETDOWN:      {"the network is down", network},
		unix.ETIMEDOUT:     {"connection timed out", network},
		unix.EADDRNOTAVAIL: {"the address cannot be reached from here", network},
	} {
		if errors.Is(err, errno) {
			return &failure{text: words[0], err: err, hint: words[1], retry: true, early: true}
		}
	}
	return nil
}

func explainCertificate(err error, now time.Time) *failure {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		other   *tls.CertificateVerificationError
	)
	const day = "2006-01-02 15:04"
	switch {
	case errors.As(err, &unknown):
		return &failure{
			text: "the server's certificate is signed by an unknown authority", err: err,
			hint: "name the certificate of that authority with --trusted-certs, or as ServerCertificate in mender.conf",
		}
	case errors.As(err, &host):
		return &failure{
			text: fmt.Sprintf("the server's certificate is for %s, not for %q", names(host.Certificate), host.Host), err: err,
			hint: "check the host name; if it is right, the server is set up wrongly or is another one",
		}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil && now.Before(invalid.Cert.NotBefore):
		return &failure{
			text: fmt.Sprintf("the server's certificate is not valid before %s, and here it is %s",
				invalid.Cert.NotBefore.UTC().Format(day), now.UTC().Format(day)), err: err,
			hint: "set the clock of this device",
		}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return &failure{
			text: fmt.Sprintf("the server's certificate expired on %s, and here it is %s",
				invalid.Cert.NotAfter.UTC().Format(day), now.UTC().Format(day)), err: err,
			hint: "renew the certificate of the server, or set the clock of this device",
		}
	case errors.As(err, &other):
		return &failure{text: "the server's certificate is not good: " + other.Err.Error(), err: err}
	}
	return nil
}

// names lists what a certificate is for.
func names(c *x509.Certificate) string {
	var all []string
	for _, name := range c.DNSNames {
		all = append(all, fmt.Sprintf("%q", name))
	}
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	const enough = 5
	switch {
	case len(all) == 0:
		return "no host"
	case len(all) > enough:
		all = append(all[:enough], "others")
	}
	return strings.Join(all, ", ")
}

func explainTLS(err error) *failure {
	var (
		op     *net.OpError
		record tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &record):
		return &failure{
			text: "the server does not speak TLS on this port", err: err,
			hint: "check the port; is it http:// instead of https://?",
		}
	case errors.As(err, &op) && op.Op == "remote error":
		return &failure{
			text: "the server refused the TLS connection: " + strings.TrimPrefix(op.Err.Error(), "tls: "), err: err,
			hint: "check the certificates of both sides",
		}
	}
	return nil
}

func explainTransfer(err error) *failure {
	var timeout interface{ Timeout() bool }
	switch {
	case strings.HasPrefix(err.Error(), "failed to parse Location header"):
		// Without the address: presigned URLs are secrets.
		return &failure{text: "the server redirects to something that is no web address", err: err, hint: "the server is broken"}
	case errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded):
		return &failure{text: "the server did not answer in time", err: err, retry: true, hint: hintConnection}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET),
		errors.Is(err, unix.EPIPE), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe),
		strings.HasPrefix(err.Error(), "http2: "): // net/http does not export these
		return lost(err)
	}
	return nil
}

const hintConnection = "check the connection to the server and try again"

// lost is the failure of a connection that worked before.
func lost(err error) *failure {
	return &failure{text: "connection lost", err: err, retry: true, hint: hintConnection}
}
