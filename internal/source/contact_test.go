package source_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"flipside/internal/source"
)

func TestConnectionErrors(t *testing.T) {
	dns := func(notFound bool) error {
		return &net.OpError{Op: "dial", Err: &net.DNSError{Name: "example.org", Err: "no such host", IsNotFound: notFound}}
	}
	for _, test := range []struct {
		err   error
		words string
		tries int
	}{
		{syscall.ECONNREFUSED, "connection refused; given up", 3},
		{syscall.EHOSTUNREACH, "the host cannot be reached; given up", 3},
		{syscall.ENETUNREACH, "the network cannot be reached; given up", 3},
		{syscall.ETIMEDOUT, "connection timed out; given up", 3},
		{syscall.ECONNRESET, "connection lost; given up", 3},
		{dns(false), `looking up the host name "example.org": no such host; given up`, 3},
		{dns(true), `the host name "example.org" is not known; given up`, 3},
		{errors.New("something strange"), "something strange; given up", 3},
	} {
		t.Run(test.err.Error(), func(t *testing.T) {
			tries := 0
			e, _ := newWeb(t, size).wantFailure(test.words, func(o *source.Options) {
				o.Retries = 2
				o.Dial = func(context.Context, string, string) (net.Conn, error) {
					tries++
					return nil, test.err
				}
			})
			if tries != test.tries || !e.Retryable {
				t.Errorf("%d tries, retryable %v; want %d, true", tries, e.Retryable, test.tries)
			}
			if errno := syscall.Errno(0); errors.As(test.err, &errno) && !errors.Is(e, errno) {
				t.Errorf("%v does not have %v in its chain", e, errno)
			}
		})
	}
}

// An address that may be wrong is not worth minutes, unless somebody says so.
func TestFirstContact(t *testing.T) {
	refused := func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
	unknown := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Name: "example.org", IsNotFound: true}
	}
	silent := func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	doubled := func(failures int) time.Duration { return time.Second << (failures - 1) }
	for name, test := range map[string]struct {
		dial    func(context.Context, string, string) (net.Conn, error)
		retries int
		words   string
		took    time.Duration
	}{
		"refused":          {refused, 0, "connection refused; given up after 4 tries", 7 * time.Second},
		"refused, insist":  {refused, 5, "connection refused; given up after 6 tries", 31 * time.Second},
		"refused, no more": {refused, -1, "connection refused", 0},
		"unknown":          {unknown, 0, `the host name "example.org" is not known`, 0},
		"unknown, insist":  {unknown, 2, "is not known; given up after 3 tries", 3 * time.Second},
		"silent":           {silent, 0, "connecting to example.org:80 took longer than 30 s", 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			e, took := newWeb(t, size).wantFailure(test.words, func(o *source.Options) {
				o.Dial, o.Retries, o.Backoff = test.dial, test.retries, doubled
			})
			if took != test.took || !e.Retryable || strings.HasSuffix(e.Error(), "tries") != (strings.Contains(test.words, "tries")) {
				t.Errorf("%q took %s, retryable %v; want %s", e, took, e.Retryable, test.took)
			}
			if hinted := strings.Contains(e.Hint, "--retries"); hinted != (test.took == 7*time.Second) {
				t.Errorf("hint %q", e.Hint)
			}
		})
	}
	// A server that answered once is worth them: it is no wrong address.
	s := newWeb(t, size, answer(503))
	dials := 0
	s.wantFailure("connection refused; given up after 11 tries", func(o *source.Options) {
		dial := o.Dial
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials++; dials == 1 {
				return dial(ctx, network, addr)
			}
			return nil, syscall.ECONNREFUSED
		}
	})
}

func TestUnknownNameIsRetriedOnceTheServerWasReached(t *testing.T) {
	s := newWeb(t, size, cut(size/2))
	calls := 0
	s.wantWhole(func(o *source.Options) {
		dial := o.Dial
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if calls++; calls == 2 {
				return nil, &net.DNSError{Name: "example.org", IsNotFound: true}
			}
			return dial(ctx, network, addr)
		}
	})
	if calls != 3 {
		t.Errorf("%d connections; want 3", calls)
	}
}
