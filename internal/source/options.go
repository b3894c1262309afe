package source

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"time"

	"flipside/internal/usb"
)

// Limits that hold where Options do not say otherwise.
const (
	DefaultRetries        = 10
	DefaultConnectTimeout = 30 * time.Second
	DefaultStallTimeout   = 60 * time.Second
	// FirstContact is how long a server is tried that could never be reached: its address may be
	// wrong, and a person waits. Options.Retries, where set, count instead.
	FirstContact = 10 * time.Second
)

// Options say how to get at a source. The zero value is fine. All but the last few concern networks.
type Options struct {
	// Retries is how many tries in a row may bring nothing new before the download is given up.
	// 0 means DefaultRetries, but FirstContact as long as the server was never reached; less than 0
	// none.
	Retries int
	// Timeout limits everything from Open to the last byte; 0: no limit.
	Timeout time.Duration
	// ConnectTimeout limits name lookup and connection, and again the TLS handshake.
	// 0 means DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// StallTimeout is how long the server may send nothing while bytes are waited for.
	// 0 means DefaultStallTimeout, less than 0 no limit.
	StallTimeout time.Duration
	// LimitRate is the highest average speed in bytes per second; 0: no limit.
	LimitRate int64

	// Header goes with every request to the server of the URI, and to no other that it redirects to.
	Header http.Header
	// UserAgent is what we call ourselves, like "flipside/1.2".
	UserAgent string

	// TrustedCerts is a PEM file of certificates to trust beside those of the system.
	TrustedCerts string
	// Certificate is a PEM file with a client certificate, Key one with its key; an empty Key means
	// that Certificate holds both.
	Certificate, Key string
	// SkipVerify believes any server certificate.
	SkipVerify bool
	// NotBefore is a moment that is surely past (build time, newest state on the device), and
	// Evidence what is of that moment, like "this flipside" or a file. A clock that is behind it is
	// wrong, and server certificates are then checked as of NotBefore.
	NotBefore time.Time
	Evidence  string

	// Notify gets what a person may want to know while waiting, like
	// "connection lost at 20.0 MiB of 64.0 MiB, trying again in 2 s". Called from Open and Read.
	Notify func(text string)
	// Warn gets what a person ought to act upon: that the server is not verified, or that the clock
	// is wrong. nil means Notify.
	Warn func(text string)
	// Backoff is how long to wait after so many failures in a row (1 and up). nil means one second,
	// doubled each time up to a minute, with a quarter of chance either way.
	Backoff func(failures int) time.Duration
	// Dial connects to host:port. nil means the network.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Stdin is what "-" reads. nil means os.Stdin. It is not closed.
	Stdin *os.File

	// Choose chooses a file where the URI names a directory. nil: a directory is no source.
	Choose Chooser
	// WaitMedium is how long to wait until a medium that the URI asks for is plugged in.
	WaitMedium time.Duration
	// USB is where the kernel shows its USB disks.
	USB usb.System

	insist bool // Retries were asked for
	dials  bool // Dial was given
}

func (o Options) withDefaults() Options {
	o.insist = o.Retries > 0
	switch {
	case o.Retries == 0:
		o.Retries = DefaultRetries
	case o.Retries < 0:
		o.Retries = 0
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = DefaultConnectTimeout
	}
	switch {
	case o.StallTimeout == 0:
		o.StallTimeout = DefaultStallTimeout
	case o.StallTimeout < 0:
		o.StallTimeout = 0 // from here on: no limit
	}
	if o.UserAgent == "" {
		o.UserAgent = "flipside"
	}
	if o.Notify == nil {
		o.Notify = func(string) {}
	}
	if o.Warn == nil {
		o.Warn = o.Notify
	}
	if o.Backoff == nil {
		o.Backoff = backoff
	}
	o.dials = o.Dial != nil
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Stdin == nil {
		o.Stdin = os.Stdin
	}
	return o
}

// backoff doubles, with chance, so that a fleet whose server went down does not come back as one.
func backoff(failures int) time.Duration {
	const longest = 60 * time.Second
	d := longest
	if failures < 7 {
		d = time.Second << (failures - 1)
	}
	return d*3/4 + rand.N(d/2)
}
