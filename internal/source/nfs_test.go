package source_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"flipside/internal/nfs/nfstest"
	"flipside/internal/source"
)

const nfsURI = "nfs://server/export/a.mender"

// What a server may do to a read.
var (
	hangsUp  readStep = func(*nfsShare, uint64, uint32, <-chan struct{}) []byte { return nil }
	isSilent readStep = func(_ *nfsShare, _ uint64, _ uint32, gone <-chan struct{}) []byte { <-gone; return nil }
	garbage  readStep = func(*nfsShare, uint64, uint32, <-chan struct{}) []byte { return nfstest.Words(0, 1, 2, 3) }
	nothing  readStep = func(s *nfsShare, _ uint64, _ uint32, _ <-chan struct{}) []byte {
		return nfstest.Words(0, 1, s.attr(1), 0, 0, "")
	}
	tooMuch  readStep = func(s *nfsShare, o uint64, c uint32, g <-chan struct{}) []byte { return readProperly(s, o, c+1, g) }
	announce readStep = func(s *nfsShare, _ uint64, _ uint32, _ <-chan struct{}) []byte {
		return nfstest.Words(0, 1, s.attr(1), 1<<30, 0, 1<<30)
	}
	partly readStep = func(s *nfsShare, o uint64, c uint32, g <-chan struct{}) []byte {
		return readProperly(s, o, min(c, 1000), g)
	}
	changes readStep = func(s *nfsShare, o uint64, c uint32, g <-chan struct{}) []byte {
		s.mtime++
		return readProperly(s, o, c, g)
	}
)

func refuses(status int) readStep {
	return func(*nfsShare, uint64, uint32, <-chan struct{}) []byte { return nfstest.Words(status, 0) }
}

func TestNFS(t *testing.T) {
	for _, size := range []int{0, 1, 1 << 20, 3<<20 + 5} {
		s := newNFSShare(t, size)
		got, _, err := s.download(nfsURI, nil)
		if err != nil || !bytes.Equal(got, s.data) {
			t.Errorf("got %d bytes, %v; want the %d of the file", len(got), err, size)
		}
	}
}

func TestNFSGoesOnWhereItWas(t *testing.T) {
	const size = 3<<20 + 5
	for name, steps := range map[string][]readStep{
		"connection lost":     {hangsUp},
		"lost in the middle":  {readProperly, hangsUp, hangsUp, readProperly, hangsUp},
		"less than asked for": {partly, partly, partly},
		"stale handle":        {readProperly, refuses(70)},
		"busy":                {readProperly, refuses(10008)},
		"input/output error":  {readProperly, refuses(5)},
		"garbage":             {readProperly, garbage},
		"nothing":             {readProperly, nothing},
		"more than asked for": {readProperly, tooMuch},
		"absurd size":         {readProperly, announce},
		"silence":             {readProperly, isSilent},
	} {
		t.Run(name, func(t *testing.T) {
			s := newNFSShare(t, size, steps...)
			got, took, err := s.download(nfsURI, nil)
			if err != nil || !bytes.Equal(got, s.data) {
				t.Fatalf("got %d bytes, %v; want the %d of the file; notes %q", len(got), err, size, s.notes)
			}
			if name != "less than asked for" && !strings.Contains(strings.Join(s.notes, "\n"), "trying again in") {
				t.Errorf("notes %q; want one about another try", s.notes)
			}
			if took > 5*time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestNFSEnds(t *testing.T) {
	many := func(step readStep) (all []readStep) {
		for range 100 {
			all = append(all, step)
		}
		return all
	}
	for name, test := range map[string]struct {
		server func(*nfsShare)
		uri    string
		words  string
		hint   string
		within time.Duration
		retry  bool
	}{
		"no such file":   {func(s *nfsShare) {}, "nfs://server/export/b.mender", "downloading nfs://server/export/b.mender: no such file or directory on the server", "check the path", time.Second, true},
		"no such export": {func(s *nfsShare) {}, "nfs://server/other/a.mender", "the server exports neither /other/a.mender nor anything above it", "what the server exports", time.Second, true},
		"no permission":  {func(s *nfsShare) { s.mount = 13 }, nfsURI, "the server does not export /export/a.mender to this device", "export it to the address", time.Second, true},
		"file denied":    {func(s *nfsShare) { s.find = 13 }, nfsURI, "the server denies access", "export it", time.Second, true},
		"directory":      {func(s *nfsShare) {}, "nfs://server/export", "it is a directory", "name the artifact in it", time.Second, false},
		"exchanged":      {func(s *nfsShare) { s.steps = []readStep{readProperly, changes} }, nfsURI, "was exchanged during the download", "start again", time.Second, false},
		"exchanged, lost": {func(s *nfsShare) {
			s.steps = []readStep{readProperly, func(s *nfsShare, _ uint64, _ uint32, _ <-chan struct{}) []byte { s.mtime++; return nil }}
		}, nfsURI, "was exchanged during the download", "", time.Minute, false},
		"shorter now": {func(s *nfsShare) {
			s.steps = []readStep{readProperly, func(s *nfsShare, _ uint64, _ uint32, _ <-chan struct{}) []byte {
				s.data = s.data[:1<<20+10]
				return nil
			}}
		}, nfsURI, "was exchanged during the download", "", time.Minute, false},
		"silent for ever":   {func(s *nfsShare) { s.steps = many(isSilent) }, nfsURI, "the server did not answer in time; given up after 11 tries", "", 30 * time.Minute, true},
		"hangs up for ever": {func(s *nfsShare) { s.steps = append(many(hangsUp)[:0], many(hangsUp)...) }, nfsURI, "connection lost; given up after 11 tries", "", 30 * time.Minute, true},
		"status for ever":   {func(s *nfsShare) { s.steps = many(refuses(10008)) }, nfsURI, "the server has no time for us now; given up after 11 tries", "", 30 * time.Minute, true},
		"unknown status":    {func(s *nfsShare) { s.steps = many(refuses(12345)) }, nfsURI, "the server refuses with status 12345", "", 30 * time.Minute, true},
		"another version":   {func(s *nfsShare) {}, nfsURI + "?vers=4", "does not speak this version of the protocol", "vers=3", time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newNFSShare(t, 2<<20)
			test.server(s)
			_, took, err := s.download(test.uri, nil)
			e := wantError(t, err, test.words, false)
			if !strings.Contains(e.Hint, test.hint) || e.Retryable != test.retry {
				t.Errorf("hint %q, retryable %v; want %q, %v", e.Hint, e.Retryable, test.hint, test.retry)
			}
			if took > test.within {
				t.Errorf("it took %v; want at most %v", took, test.within)
			}
		})
	}
}

func TestNFSTimeLimit(t *testing.T) {
	s := newNFSShare(t, 2<<20, readProperly, isSilent, isSilent, isSilent)
	_, took, err := s.download(nfsURI, func(o *source.Options) { o.Timeout = 90 * time.Second })
	wantError(t, err, "not complete within 1m30s at 1.0 MiB of 2.0 MiB", false)
	if took != 90*time.Second {
		t.Errorf("it took %v; want 1m30s", took)
	}
}

func TestNFSWithoutRetries(t *testing.T) {
	s := newNFSShare(t, 2<<20, hangsUp)
	_, took, err := s.download(nfsURI, func(o *source.Options) { o.Retries = -1 })
	wantError(t, err, "connection lost", false)
	if took > time.Second || len(s.notes) > 0 {
		t.Errorf("it took %v, notes %q; want no other try", took, s.notes)
	}
}

func TestNFSRateLimit(t *testing.T) {
	s := newNFSShare(t, 1<<20)
	got, took, err := s.download(nfsURI, func(o *source.Options) { o.LimitRate = 100 << 10 })
	if err != nil || len(got) != len(s.data) || took < 9*time.Second || took > 12*time.Second {
		t.Errorf("%d bytes in %v, %v; want %d in about 10 s", len(got), took, err, len(s.data))
	}
}

func TestNFSIsCancelled(t *testing.T) {
	s := newNFSShare(t, 2<<20, readProperly, isSilent)
	s.until = 10 * time.Second
	got, took, err := s.download(nfsURI, nil)
	if err != context.Canceled || took != s.until || len(got) != 1<<20 {
		t.Errorf("%d bytes in %v, %v; want context.Canceled after %v", len(got), took, err, s.until)
	}
}

func TestNFSIsReadOnce(t *testing.T) {
	s := newNFSShare(t, 2<<20)
	s.within(nfsURI, nil, func(src *source.Source, err error) {
		if err != nil || src.Rewindable() || src.Size() != 2<<20 || src.Name() != nfsURI {
			t.Errorf("%v; want a source of 2 MiB that cannot be read again", err)
		}
	})
}

func TestNFSDirectory(t *testing.T) {
	s := newNFSShare(t, 5000)
	var all []string
	got, _, err := s.download("nfs://server/export/", func(o *source.Options) { o.Choose = taking("a.mender", &all) })
	if err != nil || !bytes.Equal(got, s.data) || len(all) != 1 {
		t.Errorf("got %d bytes, %v, entries %q; want the file", len(got), err, all)
	}
	_, _, err = s.download("nfs://server/export/", func(o *source.Options) { o.Choose = taking("b.mender", &all) })
	wantError(t, err, "opening nfs://server/export/: there is no artifact in it", false)
}

func TestNFSAddress(t *testing.T) {
	for uri, words := range map[string]string{
		"nfs://":                                   "not a valid URL",
		"nfs:/export/a":                            "not a valid URL",
		"nfs://server":                             "not a valid URL",
		"nfs://server/":                            "not a valid URL",
		"nfs://user@server/a":                      "not a valid URL",
		"nfs://server:0/a":                         `"0" is not a port`,
		"nfs://server:99999/a":                     `"99999" is not a port`,
		"nfs://server/a?vers=4.2":                  `NFS version "4.2" is not supported`,
		"nfs://server/a?mountport=x":               `"x" is not a port`,
		"nfs://server/a?ro":                        `unknown option "ro"`,
		"nfs://server/" + strings.Repeat("x", 300): "a name in the path is too long",
	} {
		_, err := source.Open(t.Context(), uri, source.Options{Retries: -1})
		wantError(t, err, words, !strings.Contains(words, "too long"))
	}
}
