package menderclient_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"flipside/internal/menderclient"
)

func TestRunning(t *testing.T) {
	for cmdline, want := range map[string]string{
		"/usr/bin/mender-update daemon":                           "process 77, mender-update daemon",
		"mender -daemon":                                          "process 77, mender daemon",
		"/usr/bin/mender --config /etc/x daemon":                  "process 77, mender daemon",
		"mender-update --log-level debug install http://u:p@h/x":  "process 77, mender-update install",
		"mender-update rollback":                                  "process 77, mender-update rollback",
		"mender-update commit --stop-before ArtifactCommit_Leave": "process 77, mender-update commit",
		"mender-client --install https://example.org":             "process 77, mender-client install",
		"mender-update show-artifact":                             "",
		"mender-auth daemon":                                      "",
		"mender-connect daemon":                                   "",
		"/bin/sh /usr/bin/mender-update daemon":                   "",
		"cat mender-update daemon":                                "",
		"":                                                        "",
	} {
		proc := t.TempDir()
		write(t, filepath.Join(proc, "77/cmdline"), strings.ReplaceAll(cmdline, " ", "\x00")+"\x00")
		write(t, filepath.Join(proc, "cmdline"), "mender\x00daemon\x00") // the kernel's
		got := ""
		for _, p := range menderclient.Running(proc) {
			got += p.String()
		}
		if got != want {
			t.Errorf("%q: found %q; want %q", cmdline, got, want)
		}
	}
	if got := menderclient.Running(filepath.Join(t.TempDir(), "nowhere")); got != nil {
		t.Errorf("without /proc: found %v; want nothing", got)
	}
}

// TestRunningReally: the kernel's /proc has what the fixtures have.
func TestRunningReally(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "read line", "daemon")
	cmd.Args[0] = "mender-update"
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, p := range menderclient.Running("/proc") {
		found = found || p == menderclient.Process{PID: cmd.Process.Pid, Program: "mender-update", Action: "daemon"}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // read has found no line
	if !found {
		t.Errorf("process %d was not found", cmd.Process.Pid)
	}
}

func write(t *testing.T, name, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}
