package acceptance_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestExitCode8 is the part of testdata/script/exit-codes.txtar that takes a web server.
func TestExitCode8(t *testing.T) {
	s := newSandbox(t, 1)
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	r := s.refused("8", "404", "install", "--json", server.URL+"/next.mender")
	for _, field := range []string{`"command":"install"`, `"code":8`, `"device_state":"unchanged"`, `"retryable":`, `"hint":`} {
		if !strings.Contains(r.Stdout, field) {
			t.Errorf("result %s; want %s", r.Stdout, field)
		}
	}
}

// TestStoriesWithJSONAreValidated: only what exits and refused run is held against the schema.
func TestStoriesWithJSONAreValidated(t *testing.T) {
	unseen := regexp.MustCompile(`(?m)^flipside .*(--json|--progress json).*$`)
	stories, err := filepath.Glob(testdata + "/script/*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatalf("stories: %v, %v", stories, err)
	}
	for _, name := range stories {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if line := unseen.Find(text); line != nil {
			t.Errorf("%s: %s: say `exits 0 flipside ...`, which checks what it prints", name, line)
		}
	}
}
