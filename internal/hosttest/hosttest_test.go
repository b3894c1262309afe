package hosttest_test

import (
	"fmt"
	"os"
	"testing"

	"flipside/internal/hosttest"
)

// verdict is what becomes of a test.
type verdict string

func (v *verdict) Skip(args ...any)  { *v = verdict("skipped: " + fmt.Sprint(args...)) }
func (v *verdict) Fatal(args ...any) { *v = verdict("failed: " + fmt.Sprint(args...)) }

// TestLacks: a test is skipped at home, never in CI.
func TestLacks(t *testing.T) {
	for ci, want := range map[string]verdict{"": "skipped: no moon", "true": "failed: no moon"} {
		t.Setenv("CI", ci)
		var got verdict
		hosttest.Lacks(&got, "no moon")
		if got != want {
			t.Errorf("CI=%q: the test is %q; want %q", ci, got, want)
		}
	}
}

// TestLoop: what is written to the device is in the file.
func TestLoop(t *testing.T) {
	file := hosttest.Image(t, 1<<20)
	device := hosttest.Loop(t, file)
	if err := os.WriteFile(device, []byte("here"), 0); err != nil {
		t.Fatal(err)
	}
	hosttest.Run(t, "coreutils", "sync", device)
	data, err := os.ReadFile(file)
	if err != nil || string(data[:4]) != "here" || len(data) != 1<<20 {
		t.Errorf("the file begins with %q, %v; want what was written", data[:4], err)
	}
}
