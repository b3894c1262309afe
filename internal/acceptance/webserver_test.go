package acceptance_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

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
	s.interrupted(server.URL+"/hangs", byInterrupt, func(io.Reader) { <-arrived })

	// Nobody listens there any more. It may be a server that is coming up: the person decides.
	server.Close()
	s.interrupted(server.URL+"/good.mender", byInterrupt, func(stderr io.Reader) {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), "connection refused, trying again in ") {
				return
			}
		}
		t.Error("no word of a refused connection")
	})
}
