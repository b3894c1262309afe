package main

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"flipside/internal/storytest"
)

// TestMain makes the test binary be flipside when it is called by that name, as the stories do:
// so they run the real main, with the race detector if the tests have it. What takes more than a
// story can say is in internal/acceptance.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"flipside": main})
}

// TestStories runs testdata/script/*.txtar. Package storytest says what they can say.
func TestStories(t *testing.T) {
	testdata, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	// For machines with a root of their own, where the test binary does not run.
	dir := t.TempDir()
	program := sync.OnceValues(func() (string, error) { return storytest.Build(t.Context(), dir) })
	testscript.Run(t, storytest.Params(testdata, program))
}
