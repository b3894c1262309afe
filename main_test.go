package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"flipside/internal/storytest"
)

// TestMain makes the test binary be flipside when it is called by that name, as the stories do:
// so they run the real main, with the race detector if the tests have it.
func TestMain(m *testing.M) {
	testscript.Main(tidy{m}, map[string]func(){"flipside": main})
}

// tidy removes, after all tests, what they built.
type tidy struct{ *testing.M }

func (t tidy) Run() int {
	dir, err := os.MkdirTemp("", "flipside-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	programDir = dir
	return t.M.Run()
}

var programDir string // set once, before any test

// program builds flipside as the README says, once.
var program = sync.OnceValues(func() (string, error) {
	name := filepath.Join(programDir, "flipside")
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "urfave_cli_no_docs", "-ldflags", "-s -w", "-o", name, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return name, nil
})

// TestStories runs testdata/script/*.txtar. Package storytest says what they can say.
func TestStories(t *testing.T) {
	testdata, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, storytest.Params(testdata, program))
}

// sandboxed is a sandbox, and the program to use it with.
type sandboxed struct {
	*testing.T
	dir, program string
}

func newSandbox(t *testing.T, slotMiB int) sandboxed {
	t.Helper()
	name, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s := sandboxed{t, filepath.Join(t.TempDir(), "dev"), name}
	s.must("0", "sandbox", "create", "--slot-size", strconv.Itoa(slotMiB), s.dir)
	return s
}

func (s sandboxed) exec(args []string, environ ...string) storytest.Ran {
	s.Helper()
	cmd := exec.CommandContext(s.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), environ...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		s.Fatal(err)
	}
	return storytest.Outcome(cmd, stdout.String(), stderr.String())
}

// must runs flipside, which must end with code.
func (s sandboxed) must(code string, args ...string) storytest.Ran {
	s.Helper()
	r := s.exec(append([]string{s.program}, args...))
	if err := r.Check(code); err != nil {
		s.Fatal(err)
	}
	return r
}

// refused runs flipside on the sandbox; see the story's command. The error must match want.
func (s sandboxed) refused(code, want string, args ...string) storytest.Ran {
	s.Helper()
	command := []string{s.program, "--sandbox", s.dir}
	r, err := storytest.Refused(s.dir, code, append(slices.Clone(command), "status", "--json"), append(command, args...), s.exec)
	if err != nil {
		s.Fatal(err)
	}
	if f, _ := storytest.FailureIn(r.Stderr); !regexp.MustCompile(want).MatchString(f.What) {
		s.Errorf("%s: error is %q; want a match for %q", strings.Join(args, " "), f.What, want)
	}
	if code == "6" && !slices.Contains(args, "--json") && !strings.Contains(r.Stdout, "System not modified.") {
		s.Errorf("%s: standard output is %q; want System not modified", strings.Join(args, " "), r.Stdout)
	}
	return r
}

func readArtifact(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/artifacts", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestNoArtifact: what people give by mistake.
func TestNoArtifact(t *testing.T) {
	s := newSandbox(t, 1)
	for name, c := range map[string]struct{ content, code, want string }{
		"empty":   {"", "6", "empty"},
		"text":    {strings.Repeat("hello\n", 1000), "6", ""},
		"zeros":   {strings.Repeat("\x00", 10240), "6", ""},
		"page":    {"<!DOCTYPE html>\n<html><body>Please log in</body></html>", "6", "an HTML page instead of an artifact"},
		"noise":   {string(storytest.Noise("noise", 100_000)), "6", ""},
		"gzip":    {"\x1f\x8b\x08\x00\x00\x00\x00\x00" + strings.Repeat("x", 2000), "6", ""},
		"program": {"\x7fELF" + strings.Repeat("\x00", 5000), "6", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(file, []byte(c.content), 0o644); err != nil {
				t.Fatal(err)
			}
			s.T = t
			s.refused(c.code, c.want, "install", file)
		})
	}
	s.T = t
	s.refused("1", "no such file or directory$", "install", "nowhere.mender")
	s.refused("1", "there is no artifact in it$", "install", t.TempDir())
	s.refused("6", "format version 2", "install", "testdata/artifacts/format-2.mender")
	s.refused("6", "augmented", "install", "testdata/artifacts/augmented.mender")
}

// TestTruncated: wherever an artifact ends too early, it is refused as incomplete.
func TestTruncated(t *testing.T) {
	for _, c := range []struct {
		artifact string
		step     int
		slotMiB  int
	}{
		{"release-2.mender", 4 << 10, 48},
		{"rootfs-rsa.mender", 512, 1},
		{"rootfs-xz.mender", 4 << 10, 1},
		{"rootfs-zstd.mender", 4 << 10, 1},
	} {
		t.Run(c.artifact, func(t *testing.T) {
			s := newSandbox(t, c.slotMiB)
			data := readArtifact(t, c.artifact)
			file := filepath.Join(t.TempDir(), c.artifact)
			for at := 0; at < endOfLast(t, data); at += c.step {
				if err := os.WriteFile(file, data[:at], 0o644); err != nil {
					t.Fatal(err)
				}
				s.refused("6", "empty|not complete", "install", file)
			}
		})
	}
}

// entry is where an entry of a tar archive is.
type entry struct {
	name            string
	header, content int // offsets
	size            int
}

func entries(t *testing.T, data []byte) (all []entry) {
	t.Helper()
	r := bytes.NewReader(data)
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		at := len(data) - r.Len()
		all = append(all, entry{h.Name, at - 512, at, int(h.Size)})
	}
}

// endOfLast is where the content of the last entry ends.
func endOfLast(t *testing.T, data []byte) int {
	all := entries(t, data)
	last := all[len(all)-1]
	return last.content + last.size
}

// TestFlipped turns over a bit in every kind of byte that an artifact has: in the header of each
// entry, and at the beginning, in the middle and at the end of its content.
func TestFlipped(t *testing.T) {
	for artifact, key := range map[string]string{
		"rootfs-rsa.mender":  "rsa.pub",
		"rootfs-xz.mender":   "demo.pub",
		"rootfs-zstd.mender": "rsa.pub",
	} {
		t.Run(artifact, func(t *testing.T) {
			s := newSandbox(t, 1)
			data := readArtifact(t, artifact)
			file := filepath.Join(t.TempDir(), artifact)
			for _, e := range entries(t, data) {
				for what, at := range map[string]int{
					"name": e.header, "size": e.header + 134, "checksum": e.header + 150, "type": e.header + 156,
					"beginning": e.content, "middle": e.content + e.size/2, "end": e.content + e.size - 1,
				} {
					bad := slices.Clone(data)
					bad[at] ^= 4
					if err := os.WriteFile(file, bad, 0o644); err != nil {
						t.Fatal(err)
					}
					r := s.exec([]string{s.program, "--sandbox", s.dir, "inspect", file})
					if r.Code == 0 && e.name != "manifest.sig" {
						t.Errorf("%s of %s: inspect takes it", what, e.name)
					}
					s.refused("6", "", "install", "--key", "testdata/artifacts/keys/"+key, file)
				}
			}
			s.must("0", "--sandbox", s.dir, "install", "--key", "testdata/artifacts/keys/"+key, "testdata/artifacts/"+artifact)
		})
	}
}

// TestWebServer installs from one, and fails as web servers make one fail.
func TestWebServer(t *testing.T) {
	s := newSandbox(t, 1)
	good := readArtifact(t, "rootfs-rsa.mender")
	arrived := make(chan struct{})
	broken := 0
	mux := http.NewServeMux()
	serve := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(good))
	}
	mux.HandleFunc("/good.mender", serve)
	mux.Handle("/moved.mender", http.RedirectHandler("/good.mender", http.StatusFound))
	mux.HandleFunc("/breaks.mender", func(w http.ResponseWriter, r *http.Request) {
		if broken++; broken > 1 {
			serve(w, r)
			return
		}
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(good)))
		_, _ = w.Write(good[:5000])
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "<html><body>Please log in</body></html>")
	})
	mux.HandleFunc("/forbidden", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) })
	mux.HandleFunc("/hangs", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(good[:5000])
		_ = http.NewResponseController(w).Flush()
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	for _, path := range []string{"/good.mender", "/moved.mender", "/breaks.mender"} {
		s.must("0", "--sandbox", s.dir, "install", server.URL+path)
		s.must("0", "--sandbox", s.dir, "rollback")
	}
	s.must("0", "--sandbox", s.dir, "verify", server.URL+"/good.mender")
	s.must("0", "inspect", server.URL+"/good.mender")

	s.refused("8", "404", "install", server.URL+"/nowhere.mender")
	s.refused("8", "403", "install", server.URL+"/forbidden")
	r := s.refused("6", "an HTML page instead of an artifact", "install", server.URL+"/login")
	if !strings.Contains(r.Stderr, "is it a login page?") {
		t.Errorf("standard error does not tell of a login page: %s", r.Stderr)
	}
	secret := strings.Replace(server.URL, "://", "://user:secret@", 1)
	if r := s.refused("8", "404", "install", secret+"/nowhere.mender?token=hidden"); strings.Contains(r.Stderr, "secret") || strings.Contains(r.Stderr, "hidden") {
		t.Errorf("standard error tells a secret: %s", r.Stderr)
	}
	s.interrupted(server.URL+"/hangs", func(io.Reader) { <-arrived })

	// Nobody listens there any more. It may be a server that is coming up: the person decides.
	server.Close()
	s.interrupted(server.URL+"/good.mender", func(stderr io.Reader) {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), "connection refused, trying again in ") {
				return
			}
		}
		t.Error("no word of a refused connection")
	})
}

// interrupted installs from url, and interrupts that when ready returns.
func (s sandboxed) interrupted(url string, ready func(stderr io.Reader)) {
	s.Helper()
	before, err := storytest.LookAt(s.dir)
	if err != nil {
		s.Fatal(err)
	}
	cmd := exec.CommandContext(s.Context(), s.program, "--sandbox", s.dir, "install", url)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	ready(stderr)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		s.Fatal(err)
	}
	rest, _ := io.ReadAll(stderr)
	_ = cmd.Wait() // its exit code is looked at below
	if err := storytest.Outcome(cmd, "", string(rest)).Check("10"); err != nil {
		s.Error(err)
	}
	s.refused("2", "no update in progress", "resume")
	after, err := storytest.LookAt(s.dir)
	if err == nil {
		err = after.Compare(before, true)
	}
	if err != nil {
		s.Error(err)
	}
}
