package bootenv_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"flipside/bootenv"
	"flipside/bootenv/internal/ubootenv"
	"flipside/internal/disk"
	"flipside/internal/hosttest"
)

const vectors = "testdata/vectors.zip"

// inDir makes the relative paths of a recorded fw_env.config, and its name, absolute.
func inDir(t *testing.T, dir string) (config string) {
	t.Helper()
	config = filepath.Join(dir, "fw_env.config")
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "/") && !strings.HasPrefix(line, "#") && strings.TrimSpace(line) != "" {
			line = dir + "/" + line
		}
		lines.WriteString(line)
	}
	if err := os.WriteFile(config, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// noLocks: tests that are alone need none.
var noLocks = []string{}

// open opens a U-Boot environment.
func open(t *testing.T, config string) bootenv.Env {
	t.Helper()
	return openFS(t, config, disk.OS{})
}

func openFS(t *testing.T, config string, fsys disk.FS) bootenv.Env {
	t.Helper()
	env, err := bootenv.Open(bootenv.Options{FwEnvConfig: config, FS: fsys, LockDirs: noLocks})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func read(t *testing.T, env bootenv.Env, names ...string) bootenv.Vars {
	t.Helper()
	vars, err := env.Read(t.Context(), names...)
	if err != nil {
		t.Fatalf("Read = %v", err)
	}
	return vars
}

func write(t *testing.T, env bootenv.Env, changes bootenv.Vars) {
	t.Helper()
	if err := env.Write(t.Context(), changes); err != nil {
		t.Fatalf("Write(%v) = %v", changes, err)
	}
}

func inspect(t *testing.T, env bootenv.Env) bootenv.Report {
	t.Helper()
	r, err := env.Inspect(t.Context())
	if err != nil {
		t.Fatalf("Inspect = %v", err)
	}
	return r
}

func wantVars(t *testing.T, got, want bootenv.Vars) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("variables %q; want %q", got, want)
	}
}

// wantWarning checks that exactly one warning has the text.
func wantWarning(t *testing.T, r bootenv.Report, text string) {
	t.Helper()
	n := 0
	for _, w := range r.Warnings {
		if strings.Contains(w, text) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("warnings %q; want one with %q", r.Warnings, text)
	}
}

// files makes an environment in regular files: one fw_env.config with a line per image.
func files(t *testing.T, images ...[]byte) (config string) {
	t.Helper()
	dir := t.TempDir()
	var lines strings.Builder
	for i, data := range images {
		path := filepath.Join(dir, fmt.Sprintf("env%d", i))
		writeFile(t, path, data)
		fmt.Fprintf(&lines, "%s 0x0 %#x\n", path, len(data))
	}
	config = filepath.Join(dir, "fw_env.config")
	writeFile(t, config, []byte(lines.String()))
	return config
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
		t.Fatal(err)
	}
}

func image(t *testing.T, size int, redundant bool, flags byte, entries ...string) []byte {
	t.Helper()
	data, err := ubootenv.Image{Flags: flags, Entries: entries}.Encode(size, redundant)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// run runs a program that has to succeed and returns its output.
func run(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%s %q: %v: %s", name, args, err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// printed parses the output of fw_printenv for values without newlines.
func printed(out string) bootenv.Vars {
	vars := make(bootenv.Vars)
	for line := range strings.Lines(out) {
		if name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "="); value != "" {
			vars[name] = value
		}
	}
	return vars
}

func libubootenv(t *testing.T) (printenv, setenv string) {
	t.Helper()
	return hosttest.Tool(t, "libubootenv-tool", "fw_printenv"), hosttest.Tool(t, "libubootenv-tool", "fw_setenv")
}
