package acceptance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flipside/internal/storytest"
	"flipside/internal/webtest"
)

// install is a flipside that installs in the background.
type install struct {
	sandboxed
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

func (s sandboxed) start(url string, options ...string) *install {
	s.Helper()
	i := &install{sandboxed: s}
	i.cmd = exec.CommandContext(s.Context(), s.program, append([]string{"--sandbox", s.dir, "install", url}, options...)...)
	i.cmd.Stdout, i.cmd.Stderr = &i.stdout, &i.stderr
	if err := i.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	return i
}

// brings waits until the install has ended well, and checks that the slot has the whole image. It
// returns what the install told.
func (i *install) brings(image []byte) string {
	i.Helper()
	_ = i.cmd.Wait() // its exit code is looked at below
	told := i.stderr.String()
	if err := storytest.Outcome(i.cmd, i.stdout.String(), told).Check("0"); err != nil {
		i.Error(err)
		return told
	}
	slot, err := os.ReadFile(filepath.Join(i.dir, "dev/mmcblk0p3"))
	if err != nil {
		i.Fatal(err)
	}
	if !bytes.HasPrefix(slot, image) {
		i.Error("the inactive slot does not have the image")
	}
	return told
}

// TestCutAnywhere cuts the connection at each of 20 places of the answer, head and all.
func TestCutAnywhere(t *testing.T) {
	t.Parallel()
	w := newWeb(t)
	var all []*install
	for n := range int64(20) {
		at := n * int64(len(w.artifact)) / 20
		all = append(all, newSandbox(t, 2).start(through(t, w.plain, webtest.Network{First: []webtest.Fault{webtest.Cut(at)}})))
	}
	for n, i := range all {
		if told := i.brings(w.image); !strings.Contains(told, "connection lost") || !strings.Contains(told, "trying again in 1 s") {
			t.Errorf("place %d: no word of a lost connection in %q", n, told)
		}
	}
}

// TestCutForEver: wherever the connection is cut each time, there is one error, and the device is as
// before.
func TestCutForEver(t *testing.T) {
	t.Parallel()
	w := newWeb(t)
	for n := range int64(20) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			cut := webtest.Network{Then: webtest.Cut(n * int64(len(w.artifact)) / 20)}
			if err := newSandbox(t, 2).unmoved(badSource{
				url: through(t, w.plain, cut), options: []string{"--retries", "0"},
				code: "8", what: "connection lost", hint: "check the connection",
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHardNetwork: what a download survives.
func TestHardNetwork(t *testing.T) {
	t.Parallel()
	w := newWeb(t)
	half := int64(len(w.artifact) / 2)
	first := func(faults ...webtest.Fault) webtest.Network { return webtest.Network{First: faults} }
	trust := []string{"--trusted-certs", w.authority.File}
	for name, c := range map[string]struct {
		url     string
		options []string
		config  string   // of the device
		told    []string // in this order
		after   time.Duration
	}{
		"untroubled":          {url: through(t, w.plain, first())},
		"stalled":             {url: through(t, w.plain, first(webtest.Stall(half))), options: []string{"--stall-timeout", "1s"}, told: []string{"no byte came for 1 s at ", "trying again"}},
		"no range, but a tag": {url: through(t, w.norange, first(webtest.Cut(half))), told: []string{"connection lost", "the server cannot resume: reading the first "}},
		"slow":                {url: through(t, w.plain, webtest.Network{Then: webtest.Slow(64<<10, 20*time.Millisecond)})},
		"kept slow":           {url: through(t, w.plain, first()), options: []string{"--limit-rate", "700k"}, after: time.Second},
		"HTTP/2, clients": {
			url:    through(t, w.clients, first(webtest.Cut(2000), webtest.Cut(half), webtest.Stall(half/2))),
			config: fmt.Sprintf(`"ServerCertificate": %q, "HttpsClient": {"Certificate": %q, "Key": %q}`, w.authority.File, w.clientCert, w.clientKey),
			// A stall within TLS is one of the head, or of the body.
			options: []string{"--stall-timeout", "1s"}, told: []string{"trying again", "connection lost at ", "trying again in"},
		},
		// Of the header, a part is there: nothing was done with it yet.
		"file exchanged early": {
			url: through(t, w.plain, webtest.Network{
				First: []webtest.Fault{webtest.End(2000)},
				Then:  webtest.Head(strings.NewReplacer(`ETag: "`, `ETag: "other-`), webtest.Pass),
			}),
			told: []string{"connection lost at 1.", "exchanged during the download at 1.", "; starting again with the new one"},
		},
		"not verified":             {url: through(t, w.expired, first()), options: []string{"--skipverify"}, told: []string{"warning: the server's certificate is NOT verified (--skipverify"}},
		"not verified, configured": {url: through(t, w.elsewhere, first()), config: `"SkipVerify": true`, told: []string{"warning: the server's certificate is NOT verified"}},
		// A sandbox of a time when the server's certificate was valid already: the clock is behind.
		"clock behind": {url: through(t, w.future, first()), options: trust, told: []string{
			"warning: the clock of this device is wrong: it says ", "but ", "device_type is of ", "; certificates are checked as of "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSandbox(t, 2)
			if c.config != "" {
				s.configure(c.config)
			}
			if name == "clock behind" {
				later := time.Now().AddDate(5, 0, 0)
				if err := os.Chtimes(filepath.Join(s.dir, "var/lib/mender/device_type"), later, later); err != nil {
					t.Fatal(err)
				}
			}
			begun := time.Now()
			rest := s.start(c.url, c.options...).brings(w.image)
			told := rest
			for _, text := range c.told {
				_, after, found := strings.Cut(rest, text)
				if !found {
					t.Fatalf("told:\n%s\nwant %q in it", told, c.told)
				}
				rest = after
			}
			if len(c.told) == 0 && strings.Contains(told, "trying again") {
				t.Errorf("told:\n%s\nwant no trouble", told)
			}
			if took := time.Since(begun); took < c.after {
				t.Errorf("took %s; want at least %s", took, c.after)
			}
		})
	}
}

// configure adds keys to the sandbox's mender.conf.
func (s sandboxed) configure(keys string) {
	s.Helper()
	name := filepath.Join(s.dir, "etc/mender/mender.conf")
	data, err := os.ReadFile(name)
	if err != nil {
		s.Fatal(err)
	}
	var before, more map[string]any
	if err := json.Unmarshal(data, &before); err != nil {
		s.Fatal(err)
	}
	if err := json.Unmarshal([]byte("{"+keys+"}"), &more); err != nil {
		s.Fatal(err)
	}
	for key, value := range more {
		before[key] = value
	}
	if data, err = json.Marshal(before); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		s.Fatal(err)
	}
}

// TestHeaders: what --header says goes to the server, and nowhere else.
func TestHeaders(t *testing.T) {
	w := newWeb(t)
	file := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(file, []byte("X-Token: hush-file\n\n  Cookie: hush-cookie\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSandbox(t, 2)
	answered := make(chan http.Header, 10)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		header := r.Header.Clone()
		header.Set("Status", s.exec([]string{s.program, "--sandbox", s.dir, "status"}).Stdout)
		answered <- header
		_, _ = rw.Write(w.artifact) // the client may be gone
	}))
	t.Cleanup(server.Close)
	log := filepath.Join(t.TempDir(), "log")
	url := strings.Replace(server.URL, "://", "://hush-user:hush-password@", 1) + "/next.mender?signature=hush-query"
	secrets := []string{"--header", "X-Key: hush-key", "--header", "@" + file, "--log-file", log}
	told := s.start(url, secrets...).brings(w.image)
	got := <-answered
	for name, want := range map[string]string{"X-Key": "hush-key", "X-Token": "hush-file", "Cookie": "hush-cookie", "User-Agent": "flipside/development"} {
		if got.Get(name) != want {
			t.Errorf("%s: %q; want %q", name, got.Get(name), want)
		}
	}
	if user, password, _ := (&http.Request{Header: got}).BasicAuth(); user != "hush-user" || password != "hush-password" {
		t.Errorf("user %q, password %q", user, password)
	}
	logged, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.ReadFile(filepath.Join(s.dir, "var/lib/mender/flipside/lock"))
	if err != nil {
		t.Fatal(err)
	}
	events := s.must("0", "--sandbox", s.dir, "log", "--json").Stdout
	all := map[string]string{"standard error": told, "the log": string(logged), "the lock file": string(lock), "the status": got.Get("Status"), "the log of events": events}
	if !strings.Contains(events, `"source":"`+server.URL+`/next.mender?..."`) {
		t.Errorf("the log of events does not name the source:\n%s", events)
	}
	if !strings.Contains(all["the status"], "install "+server.URL+"/next.mender?...") {
		t.Errorf("the status does not name the source:\n%s", all["the status"])
	}
	for where, text := range all {
		if strings.Contains(text, "hush") {
			t.Errorf("%s shows a secret:\n%s", where, text)
		}
	}
	for _, command := range [][]string{{"verify"}, {"inspect"}} {
		args := append(append([]string{"--sandbox", s.dir}, command...), append([]string{url}, secrets...)...)
		if r := s.must("0", args...); strings.Contains(r.Stdout+r.Stderr, "hush") {
			t.Errorf("%s shows a secret:\n%s%s", command, r.Stdout, r.Stderr)
		}
		if got := <-answered; got.Get("X-Key") != "hush-key" {
			t.Errorf("%s: X-Key: %q", command, got.Get("X-Key"))
		}
	}
}

// TestBuildTime: a program that knows when it was built knows that it is not 1970. The server's
// certificate is not valid yet; for this program it is, because it was built some years from now.
func TestBuildTime(t *testing.T) {
	t.Parallel()
	w := newWeb(t)
	later := time.Now().AddDate(5, 0, 0)
	program, err := storytest.Build(t.Context(), t.TempDir(), fmt.Sprintf("main.built=%d", later.Unix()))
	if err != nil {
		t.Fatal(err)
	}
	// A file of the device that is of a time still later by a generation is wrong itself.
	s := newSandbox(t, 2)
	absurd := later.AddDate(30, 0, 0)
	if err := os.Chtimes(filepath.Join(s.dir, "var/lib/mender/device_type"), absurd, absurd); err != nil {
		t.Fatal(err)
	}
	s.program = program
	want := later.UTC().Format("but this flipside is of 2006-01-02; certificates are checked as of 2006-01-02")
	for _, args := range [][]string{{"inspect"}, {"inspect", "--sandbox", s.dir}, {"verify", "--sandbox", s.dir}, {"install", "--sandbox", s.dir}} {
		r := s.must("0", append(args, "--trusted-certs", w.authority.File, w.future+"/"+artifactName)...)
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("%s: standard error is %q; want %q in it", args[0], r.Stderr, want)
		}
	}
}
