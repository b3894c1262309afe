package acceptance_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"flipside/internal/storytest"
)

const testdata = "../../testdata"

// program is flipside as it is shipped; TestMain builds it, before any test.
var program string

func TestMain(m *testing.M) { os.Exit(withProgram(m)) }

func withProgram(m *testing.M) int {
	dir, err := os.MkdirTemp("", "flipside-acceptance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if program, err = storytest.Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// sandboxed is a sandbox, and the program to use it with.
type sandboxed struct {
	*testing.T
	dir, program string
}

func newSandbox(t *testing.T, slotMiB int) sandboxed {
	t.Helper()
	s := sandboxed{t, filepath.Join(t.TempDir(), "dev"), program}
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
	data, err := os.ReadFile(filepath.Join(testdata, "artifacts", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
