package acceptance_test

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"flipside/internal/storytest"
	"flipside/internal/webtest"
)

// interruption is a way in which an operator, or a service manager, ends an install.
type interruption func(s sandboxed, install *os.Process)

func byInterrupt(s sandboxed, install *os.Process) { s.signal(install, os.Interrupt) }
func byTerm(s sandboxed, install *os.Process)      { s.signal(install, syscall.SIGTERM) }

func (s sandboxed) signal(p *os.Process, sig os.Signal) {
	s.Helper()
	if err := p.Signal(sig); err != nil {
		s.Fatal(err)
	}
}

func byCancel(s sandboxed, _ *os.Process) {
	s.Helper()
	r := s.must("0", "--sandbox", s.dir, "cancel")
	if r.Stdout != "Cancelled.\n" || !strings.Contains(r.Stderr, "release-1") {
		s.Errorf("cancel says %q, %q; want Cancelled, and what the device runs", r.Stdout, r.Stderr)
	}
}

// TestStalledIsInterrupted: a server that sends nothing any more, before its answer, in the header
// and in the payload of the artifact, keeps nobody from ending the install.
func TestStalledIsInterrupted(t *testing.T) {
	t.Parallel()
	w := newWeb(t)
	for where, after := range map[string]int64{"answer": 0, "header": 2000, "payload": int64(len(w.artifact) / 2)} {
		for how, by := range map[string]interruption{"SIGINT": byInterrupt, "SIGTERM": byTerm, "cancel": byCancel} {
			t.Run(where+", "+how, func(t *testing.T) {
				t.Parallel()
				stalled := make(chan struct{}, 1)
				url := through(t, w.plain, webtest.Network{Then: webtest.StallAndTell(after, stalled)})
				newSandbox(t, 2).interrupted(url, by, func(io.Reader) { <-stalled })
			})
		}
	}
}

// interrupted installs from url, and ends that when ready returns: in good order, and with a device
// that can be used as before.
func (s sandboxed) interrupted(url string, by interruption, ready func(stderr io.Reader)) {
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
	by(s, cmd.Process)
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
