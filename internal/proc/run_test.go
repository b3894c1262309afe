package proc_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flipside/internal/proc"
)

// short is a time that a test waits for on purpose; long is one that must never be over.
const (
	short = 50 * time.Millisecond
	long  = time.Hour
)

func shell(text string) proc.Command {
	return proc.Command{Path: "/bin/sh", Args: []string{"-c", text}, Timeout: long, KillAfter: short}
}

func TestOutputAndArguments(t *testing.T) {
	var out, errs bytes.Buffer
	dir := t.TempDir()
	c := shell(`echo "$0,$1,$V"; pwd; echo oops >&2`)
	c.Args = append(c.Args, "zero", "one two")
	c.Dir, c.Env, c.Stdout, c.Stderr = dir, []string{"V=x"}, &out, &errs
	if err := proc.Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "zero,one two,x\n"+dir+"\n"; got != want {
		t.Errorf("stdout = %q; want %q", got, want)
	}
	if got, want := errs.String(), "oops\n"; got != want {
		t.Errorf("stderr = %q; want %q", got, want)
	}
}

func TestOneWriterKeepsTheOrder(t *testing.T) {
	var out bytes.Buffer
	c := shell(`for i in 1 2 3; do echo $i; echo e$i >&2; done`)
	c.Stdout, c.Stderr = &out, &out
	if err := proc.Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "1\ne1\n2\ne2\n3\ne3\n"; got != want {
		t.Errorf("output = %q; want %q", got, want)
	}
}

func TestStdin(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		in   io.Reader
		want string
	}{
		"none is empty":       {"cat; echo end", nil, "end\n"},
		"a reader":            {"cat", strings.NewReader("hello"), "hello"},
		"more than it reads":  {"head -c 3", strings.NewReader(strings.Repeat("x", 1<<20)), "xxx"},
		"never read":          {"echo end", strings.NewReader(strings.Repeat("x", 1<<20)), "end\n"},
		"the file of another": {"cat", openWith(t, "from a file"), "from a file"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c := shell(tc.text)
			c.Stdin, c.Stdout = tc.in, &out
			if err := proc.Run(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if out.String() != tc.want {
				t.Errorf("output = %q; want %q", out.String(), tc.want)
			}
		})
	}
}

func openWith(t *testing.T, content string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestExit(t *testing.T) {
	for text, want := range map[string]struct {
		exit proc.ExitError
		text string
	}{
		"exit 1":     {proc.ExitError{Code: 1}, "exit status 1"},
		"exit 21":    {proc.ExitError{Code: 21}, "exit status 21"},
		"kill -9 $$": {proc.ExitError{Code: -1, Signal: syscall.SIGKILL}, "killed by signal 9 (killed)"},
		"kill $$":    {proc.ExitError{Code: -1, Signal: syscall.SIGTERM}, "killed by signal 15 (terminated)"},
	} {
		err := proc.Run(t.Context(), shell(text))
		var got *proc.ExitError
		if !errors.As(err, &got) || *got != want.exit || err.Error() != want.text {
			t.Errorf("Run(%q) = %v; want %s", text, err, want.text)
		}
	}
}

func TestStartErrors(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("exit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		filepath.Join(dir, "missing"):        os.ErrNotExist,
		dir:                                  os.ErrPermission,
		plain:                                syscall.ENOEXEC, // no "#!"
		"no-program-of-this-name-is-in-PATH": os.ErrNotExist,
	} {
		var out bytes.Buffer
		err := proc.Run(t.Context(), proc.Command{Path: path, Stdout: &out, Stdin: strings.NewReader("x")})
		if !errors.Is(err, want) && !strings.Contains(errText(err), "not found in $PATH") {
			t.Errorf("Run(%s) = %v; want %v", path, err, want)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestWriterErrorDoesNotStopTheProgram(t *testing.T) {
	full := errors.New("full")
	marker := filepath.Join(t.TempDir(), "marker")
	c := shell(`head -c 1000000 /dev/zero; touch ` + marker)
	c.Stdout = writerFunc(func(p []byte) (int, error) { return 0, full })
	if err := proc.Run(t.Context(), c); !errors.Is(err, full) {
		t.Errorf("Run = %v; want %v", err, full)
	}
	if _, err := os.Stat(marker); err != nil {
		t.Errorf("the program did not reach its end: %v", err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestCancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	marker := filepath.Join(t.TempDir(), "marker")
	if err := proc.Run(ctx, shell("touch "+marker)); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v; want %v", err, context.Canceled)
	}
	if _, err := os.Stat(marker); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the program ran: %v", err)
	}
}

// The programs print their process IDs when they are where they should be stopped.
func TestStopping(t *testing.T) {
	for name, tc := range map[string]struct {
		text      string
		pids      int // how many process IDs it prints; all must be gone after Run
		killAfter time.Duration
		last      string // what it prints on its way out
	}{
		"dies of the signal": {
			text: `echo $$; exec cat ` + "FIFO", pids: 1, killAfter: long},
		"ends in good order": {
			text: `trap 'echo bye; exit 0' TERM; echo $$; while :; do read x <FIFO; done`, pids: 1,
			killAfter: long, last: "bye"},
		"ignores the signal": {
			text: `trap '' TERM; echo $$; while :; do read x <FIFO; done`, pids: 1, killAfter: short},
		"stopped itself": {
			text: `echo $$; kill -STOP $$`, pids: 1, killAfter: long},
		"child that needs its time": {
			// The shell in front dies at once; the one behind it says its last word.
			text: `sh -c 'trap "echo bye; exit" TERM; echo $$; while :; do read x <FIFO; done' & echo $$; read x <FIFO`,
			pids: 2, killAfter: long, last: "bye"},
		"child that ignores the signal, without our pipe": {
			text: `P=$(exec 3>&1; sh -c 'trap "" TERM; echo $$ >&3; exec 3>&- >/dev/null; while :; do read x <FIFO; done' & ); echo $P; echo $$; read x <FIFO`,
			pids: 2, killAfter: short},
	} {
		t.Run(name, func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("the operator's wish")
			var pids []int
			var last string
			lines := proc.NewLines(func(line string) {
				if pid, err := strconv.Atoi(line); err == nil {
					if pids = append(pids, pid); len(pids) == tc.pids {
						cancel(why)
					}
				}
				last = line
			})
			c := shell(strings.ReplaceAll(tc.text, "FIFO", fifo))
			c.Stdout, c.KillAfter = lines, tc.killAfter
			if err := proc.Run(ctx, c); !errors.Is(err, why) {
				t.Errorf("Run = %v; want %v", err, why)
			}
			for _, pid := range pids {
				if running(t, pid) {
					t.Errorf("process %d of %v is still running", pid, pids)
				}
			}
			if len(pids) != tc.pids {
				t.Errorf("the program printed %d process IDs; want %d", len(pids), tc.pids)
			}
			if tc.last != "" && last != tc.last {
				t.Errorf("last line = %q; want %q", last, tc.last)
			}
		})
	}
}

// running tells a process from none and from a dead one that waits for its new parent.
func running(t *testing.T, pid int) bool {
	t.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

func TestTimeout(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	c := shell("cat " + fifo)
	c.Timeout = short
	err := proc.Run(t.Context(), c)
	if !errors.Is(err, proc.ErrTimeout) {
		t.Errorf("Run = %v; want %v", err, proc.ErrTimeout)
	}
}

func TestBackgroundChild(t *testing.T) {
	for name, text := range map[string]string{
		"holds our pipe":         `sh -c 'echo $$; exec cat FIFO' & read x <READY`,
		"holds nothing":          `(sh -c 'echo $$; exec cat FIFO >/dev/null' &) ; read x <READY`,
		"does not hear TERM":     `sh -c 'trap "" TERM; echo $$; while :; do read x <FIFO; done' & read x <READY`,
		"leaves a session alone": `setsid sh -c 'echo $$; exec cat FIFO' & read x <READY`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fifo, ready := filepath.Join(dir, "fifo"), filepath.Join(dir, "ready")
			for _, f := range []string{fifo, ready} {
				if err := syscall.Mkfifo(f, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			// Held open, so that writing the one never waits, and the readers of the other do.
			hold, err := os.OpenFile(ready, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer hold.Close()
			daemon := strings.Contains(text, "setsid")
			pid := 0
			c := shell(strings.NewReplacer("FIFO", fifo, "READY", ready).Replace(text))
			c.Stdout = proc.NewLines(func(line string) {
				pid, _ = strconv.Atoi(line)
				_, _ = hold.WriteString("go\n")
			})
			if err := proc.Run(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if pid == 0 {
				t.Fatal("the child did not start")
			}
			if got := running(t, pid); got != daemon {
				t.Errorf("the child is running: %v; want %v", got, daemon)
			}
			if daemon {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A Run killed with its whole process must not leave its child.
func TestChildDiesWithUs(t *testing.T) {
	if os.Getenv("PROC_TEST_CHILD") != "" {
		c := shell(`echo $$; read x <` + os.Getenv("PROC_TEST_CHILD"))
		c.Stdout = os.Stdout
		t.Fatalf("Run returned %v", proc.Run(context.Background(), c))
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	us, err := os.StartProcess("/proc/self/exe", []string{os.Args[0], "-test.run=^TestChildDiesWithUs$"}, &os.ProcAttr{
		Env:   append(os.Environ(), "PROC_TEST_CHILD="+fifo),
		Files: []*os.File{nil, in, in},
	})
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if err := us.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := us.Wait(); err != nil {
		t.Fatal(err)
	}
	for { // until it has exited; if it does not, the test's own deadline tells
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(child), Events: unix.POLLIN}}, -1)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			t.Fatal(err)
		}
	}
}
