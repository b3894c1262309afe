package storytest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// prepare makes a program ready to run as the story's own exec does.
func prepare(ts *testscript.TestScript, args []string) (cmd *exec.Cmd, stdout, stderr *output) {
	path := args[0]
	if !strings.Contains(path, "/") {
		for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
			if _, err := os.Stat(filepath.Join(dir, path)); err == nil {
				path = filepath.Join(dir, path)
				break
			}
		}
	}
	cmd = exec.Command(path, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"WORK", "PATH", "HOME", "TMPDIR", "RECORDER", "ARTIFACTS", "GORACE", "GOCOVERDIR",
		"MENDER_CONF_DIR", "MENDER_DATA_DIR", "MENDER_DATASTORE_DIR"} {
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	stdout, stderr = new(output), new(output)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = 5 * time.Second // what it left behind may hold its output
	return cmd, stdout, stderr
}

func runCommand(ts *testscript.TestScript, args []string, environ ...string) Ran {
	cmd, stdout, stderr := prepare(ts, args)
	cmd.Env = append(cmd.Env, environ...)
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	return Outcome(cmd, stdout.String(), stderr.String())
}

// show makes the output the one that the story's stdout and stderr look at.
func show(ts *testscript.TestScript, r Ran) {
	_, _ = io.WriteString(ts.Stdout(), r.Stdout)
	_, _ = io.WriteString(ts.Stderr(), r.Stderr)
}

func cmdExits(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "exits CODE COMMAND...")
	r := runCommand(ts, args[1:])
	show(ts, r)
	ts.Check(r.Check(args[0]))
}

// background is a program that runs while the story goes on.
type background struct {
	cmd            *exec.Cmd
	stdout, stderr *output
	ended          chan struct{}
	terminal       *terminal // nil: none
}

func cmdStart(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "start NAME COMMAND...")
	start(ts, args[0], args[1:], nil)
}

func cmdFeed(ts *testscript.TestScript, args []string) {
	need(ts, args, 3, "feed NAME FILE COMMAND...")
	r, w, err := os.Pipe()
	ts.Check(err)
	ts.Defer(func() { _ = w.Close() })
	start(ts, args[0], args[2:], r)
	ts.Check(r.Close())
	ts.Check(w.SetWriteDeadline(time.Now().Add(30 * time.Second)))
	if _, err := io.WriteString(w, ts.ReadFile(args[1])); err != nil {
		ts.Fatalf("feeding %s: %v", args[0], err)
	}
}

func start(ts *testscript.TestScript, name string, args []string, stdin *os.File) {
	cmd, stdout, stderr := prepare(ts, args)
	if stdin != nil {
		cmd.Stdin = stdin
	}
	launch(ts, name, &background{cmd: cmd, stdout: stdout, stderr: stderr, ended: make(chan struct{})})
}

func launch(ts *testscript.TestScript, name string, b *background) {
	cmd := b.cmd
	ts.Check(cmd.Start())
	go func() {
		defer close(b.ended)
		_ = cmd.Wait() // how it ended is in ProcessState
	}()
	storyOf(ts).programs[name] = b
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		<-b.ended
	})
}

func backgroundNamed(ts *testscript.TestScript, name string) *background {
	b := storyOf(ts).programs[name]
	if b == nil {
		ts.Fatalf("%s was not started", name)
	}
	return b
}

func cmdSignal(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "signal NAME SIGNAL")
	s, ok := signals[args[1]]
	if !ok {
		ts.Fatalf("unknown signal %s", args[1])
	}
	ts.Check(backgroundNamed(ts, args[0]).cmd.Process.Signal(s))
}

func cmdEnds(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "ends NAME CODE")
	b := backgroundNamed(ts, args[0])
	select {
	case <-b.ended:
	case <-time.After(30 * time.Second):
		ts.Fatalf("%s does not end", strings.Join(b.cmd.Args, " "))
	}
	if b.terminal != nil {
		<-b.terminal.read
	}
	// A terminal ends lines in its own way, and shows the keys that are pressed.
	r := Outcome(b.cmd, b.stdout.String(), strings.NewReplacer("\r\n", "\n", "^C", "").Replace(b.stderr.String()))
	show(ts, r)
	ts.Check(r.Check(args[1]))
}

func cmdNothingRuns(ts *testscript.TestScript, _ []string) {
	// What was killed may take a moment to be gone, and its children one more.
	var left []string
	for range 500 {
		if left = running("WORK=" + ts.Getenv("WORK")); len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("still running: %q", left)
}

// running returns the command lines of the processes that have mark in their environment.
func running(mark string) (lines []string) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range environs {
		data, err := os.ReadFile(name)
		if err == nil && slices.Contains(strings.Split(string(data), "\x00"), mark) {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
			lines = append(lines, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return lines
}
