package storytest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Ran is how a program ended.
type Ran struct {
	Args           []string
	Code           int            // -1: by a signal
	Signal         syscall.Signal // 0: by itself
	Stdout, Stderr string
}

// Outcome is how cmd ended, which was waited for.
func Outcome(cmd *exec.Cmd, stdout, stderr string) Ran {
	r := Ran{Args: cmd.Args, Code: cmd.ProcessState.ExitCode(), Stdout: stdout, Stderr: stderr}
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		r.Signal = s.Signal()
	}
	return r
}

// Check returns an error unless the program ended with want: an exit code, or a signal's name. A failure of
// flipside must also be told as FailureIn wants it.
func (r Ran) Check(want string) error {
	if signal, ok := signals[want]; ok {
		if r.Signal != signal {
			return fmt.Errorf("%s: exit code %d, signal %v; want signal %s", strings.Join(r.Args, " "), r.Code, r.Signal, want)
		}
		return nil
	}
	if strconv.Itoa(r.Code) != want {
		return fmt.Errorf("%s: exit code %d, signal %v; want exit code %s\n%s", strings.Join(r.Args, " "), r.Code, r.Signal, want, r.Stderr)
	}
	if !isFlipside(r.Args) {
		return nil
	}
	if err := r.validAnswer(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(r.Args, " "), err)
	}
	if diagnosed := r.Code == 1 && r.has("doctor"); r.Code != 0 && r.Code != 4 && !r.machineStderr() && !diagnosed {
		if _, err := FailureIn(r.Stderr); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(r.Args, " "), err)
		}
	}
	return nil
}

func isFlipside(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return filepath.Base(a) == "flipside" })
}

var signals = map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP}

// Failure is the three lines that flipside says when it fails. The latter two are "" if they are
// not there.
type Failure struct {
	What   string // failed
	Device string // what it runs now
	Hint   string // what to do
}

// jargon is what a technician should not have to read.
var jargon = regexp.MustCompile(`%!|unmarshal|\bstruct\b|goroutine|\bnil\b|panic|<nil>|\bEOF\b|&\{|context canceled|exit status -1`)

// FailureIn finds the failure in what flipside wrote to standard error. It must be the last thing
// there, once, and in words that a technician can read.
func FailureIn(stderr string) (Failure, error) {
	var f Failure
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "flipside: error: ") })
	if at < 0 {
		return f, fmt.Errorf("no error line in:\n%s", stderr)
	}
	f.What = strings.TrimPrefix(lines[at], "flipside: error: ")
	for _, line := range lines[at+1:] {
		rest, ours := strings.CutPrefix(line, "flipside: ")
		hint, isHint := strings.CutPrefix(rest, "hint: ")
		switch {
		case ours && isHint && f.Hint == "":
			f.Hint = hint
		case ours && !isHint && f.Device == "" && f.Hint == "" && !strings.HasPrefix(rest, "error: "):
			f.Device = rest
		default:
			return f, fmt.Errorf("a line too many after the error: %q in:\n%s", line, stderr)
		}
	}
	for _, text := range []string{f.What, f.Device, f.Hint} {
		if err := readable(text); err != nil {
			return f, err
		}
	}
	return f, nil
}

// readable says what a person would find odd in a line.
func readable(text string) error {
	if text == "" {
		return nil
	}
	if word := jargon.FindString(text); word != "" {
		return fmt.Errorf("%q is no word for a technician, in: %s", word, text)
	}
	parts := strings.Split(text, ": ")
	for i, part := range parts {
		if part == "" || slices.Contains(parts[:i], part) {
			return fmt.Errorf("%q is said twice, in: %s", part, text)
		}
	}
	return nil
}
