package bootenv_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"flipside/bootenv"
	"flipside/internal/hosttest"
	"flipside/internal/proc"
)

// script makes a program.
func script(t *testing.T, text string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return []string{path}
}

func openPrograms(t *testing.T, print, set []string) bootenv.Env {
	t.Helper()
	env, err := bootenv.Open(bootenv.Options{Print: print, Set: set})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// TestProgramsAreTools uses the real fw_printenv and fw_setenv.
func TestProgramsAreTools(t *testing.T) {
	printenv, setenv := libubootenv(t)
	config := files(t, image(t, 4096, true, 1, "a=1", "mender_boot_part=2", "upgrade_available=0"), image(t, 4096, true, 0))
	env := openPrograms(t, []string{printenv, "-c", config}, []string{setenv, "-c", config})
	native := open(t, config)
	wantVars(t, read(t, env), read(t, native))
	wantVars(t, read(t, env, "a", "nosuch"), bootenv.Vars{"a": "1"})
	for _, changes := range []bootenv.Vars{
		{"a": "", "b": "2", "c": `x y="z" \ $d`},
		{"b": "3", "mender_boot_part": "3"},
		{"nosuch": ""},
	} {
		write(t, env, changes)
		wantVars(t, read(t, env), read(t, native))
	}
	wantVars(t, read(t, env), bootenv.Vars{"b": "3", "c": `x y="z" \ $d`, "mender_boot_part": "3", "upgrade_available": "0"})
	before := inspect(t, native).Copies
	write(t, env, bootenv.Vars{"b": "3"})
	if after := inspect(t, native).Copies; after[0] != before[0] {
		t.Error("a write without changes has written")
	}
	if r := inspect(t, env); r.Kind != "programs" || len(r.Warnings) > 0 || !strings.Contains(r.Source, setenv) {
		t.Errorf("Inspect = %+v", r)
	}
	if err := bootenv.Try(t.Context(), env, 2); err != nil {
		t.Fatal(err)
	}
	if got := selected(t, native); got != (bootenv.Selection{Part: 2, Trial: true}) {
		t.Errorf("selected %+v", got)
	}
}

func TestProgramsFail(t *testing.T) {
	good := script(t, "echo a=1\necho upgrade_available=0\necho mender_boot_part=2\n")
	asked := filepath.Join(t.TempDir(), "asked")
	for name, tt := range map[string]struct {
		print, set []string
		changes    bootenv.Vars
		want       error
		text       string
	}{
		"reports success and does nothing": {good, script(t, "cat >/dev/null; exit 0"), bootenv.Vars{"a": "2"}, bootenv.ErrReadBack, ""},
		"fails":                            {good, script(t, "echo flash is full >&2; exit 3"), bootenv.Vars{"a": "2"}, nil, "exit status 3: flash is full"},
		"does not print":                   {script(t, "echo no config >&2; exit 1"), good, bootenv.Vars{"a": "2"}, nil, "no config"},
		"prints without end":               {script(t, "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=1; done"), good, bootenv.Vars{"a": "2"}, nil, "prints too much"},
		"is missing":                       {[]string{"/nosuch/program"}, good, bootenv.Vars{"a": "2"}, os.ErrNotExist, ""},
		"line break":                       {good, script(t, "touch "+asked), bootenv.Vars{"a": "2\nb=3"}, nil, "line break"},
		"long line":                        {good, script(t, "touch "+asked), bootenv.Vars{"a": strings.Repeat("x", 1000)}, nil, "too long"},
		"bad name":                         {good, script(t, "touch "+asked), bootenv.Vars{"a=b": "1"}, nil, "name"},
	} {
		t.Run(name, func(t *testing.T) {
			env := openPrograms(t, tt.print, tt.set)
			err := env.Write(t.Context(), tt.changes)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Write = %v; want an error, %v, %q", err, tt.want, tt.text)
			}
			if _, err := os.Stat(asked); err == nil {
				t.Error("the program was started")
			}
		})
	}
	env := openPrograms(t, script(t, "echo broken >&2; exit 1"), good)
	_, err := env.Read(t.Context())
	var exit *proc.ExitError
	if !errors.As(err, &exit) || exit.Code != 1 {
		t.Errorf("Read = %v; want exit status 1", err)
	}
	wantWarning(t, inspect(t, env), "broken")
}

func TestProgramsAreStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	started := filepath.Join(t.TempDir(), "started")
	if err := unix.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	env := openPrograms(t, script(t, "echo yes >"+started+"; exec sleep 1000"), []string{"true"})
	result := make(chan error)
	go func() {
		_, err := env.Read(ctx)
		result <- err
	}()
	hosttest.Read(t, started) // waits for the program
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Read = %v; want context.Canceled", err)
	}
	if _, err := env.Inspect(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Inspect = %v; want context.Canceled", err)
	}
}

func TestProgramsNeedBoth(t *testing.T) {
	for _, o := range []bootenv.Options{{Print: []string{"true"}}, {Set: []string{"true"}}} {
		if _, err := bootenv.Open(o); err == nil {
			t.Errorf("Open(%+v) has succeeded", o)
		}
	}
}
