package storytest

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"flipside/internal/hosttest"
)

// output is what a program has written so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// terminal is a pseudo terminal of 80 columns with one program on it. What it shows is the
// program's standard error, to story commands.
type terminal struct {
	master *os.File
	read   chan struct{} // closed when nothing more will be read from it
}

// cmdTerminal starts a program as a person does: in a session of its own, whose terminal is its
// standard input, output and error.
func cmdTerminal(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "terminal NAME COMMAND...")
	master, slave := hosttest.Terminal(storyOf(ts).test, 80)
	ts.Defer(func() { _ = master.Close() })
	cmd, stdout, stderr := prepare(ts, args[1:])
	cmd.Env = append(cmd.Env, "TERM=vt100")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	term := &terminal{master, make(chan struct{})}
	b := &background{cmd: cmd, stdout: stdout, stderr: stderr, ended: make(chan struct{}), terminal: term}
	launch(ts, args[0], b)
	ts.Check(slave.Close())
	go func() {
		defer close(term.read)
		_, _ = io.Copy(stderr, master) // ends when no program has the terminal any more
	}()
}

func cmdPress(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "press NAME ctrl-c")
	b := backgroundNamed(ts, args[0])
	if b.terminal == nil || args[1] != "ctrl-c" {
		ts.Fatalf("there is no key %s", args[1])
	}
	_, err := b.terminal.master.Write([]byte{3})
	ts.Check(err)
}

// cmdHangUp takes the terminal away, as a connection that is lost does.
func cmdHangUp(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "hang-up NAME")
	b := backgroundNamed(ts, args[0])
	if b.terminal == nil {
		ts.Fatalf("%s has no terminal", args[0])
	}
	ts.Check(b.terminal.master.Close())
}

func cmdShows(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "shows NAME REGEXP")
	b := backgroundNamed(ts, args[0])
	want, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	seen := func() string { return b.stdout.String() + "\n" + b.stderr.String() }
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if want.MatchString(strings.ReplaceAll(seen(), "\r", "\n")) {
			return
		}
	}
	ts.Fatalf("%s does not show %q, but:\n%s", strings.Join(b.cmd.Args, " "), args[1], seen())
}
