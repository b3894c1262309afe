package storytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// Look is all that a refused command must leave as it was: the bytes of slots and boot environment,
// by name, and what the device says of itself.
type Look struct {
	files      map[string]uint64
	inactive   string // the inactive slot's name in files
	deployment string // JSON
	provides   string
}

// seed makes sums of different moments comparable.
var seed = maphash.MakeSeed()

// LookAt looks at the device whose slots and environment are the files in dir/dev, and which
// dir/run/root says what it runs.
func LookAt(dir string) (Look, error) {
	l := Look{files: map[string]uint64{}}
	active, err := os.Readlink(filepath.Join(dir, "run/root"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	err = filepath.WalkDir(filepath.Join(dir, "dev"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		var h maphash.Hash
		h.SetSeed(seed)
		if _, err := io.Copy(&h, f); err != nil {
			return err
		}
		l.files[path] = h.Sum64()
		if strings.HasPrefix(e.Name(), "mmcblk0p") && e.Name() != filepath.Base(active) {
			l.inactive = path
		}
		return nil
	})
	return l, err
}

// ask adds what `flipside status --json` says; nothing if it cannot say anything.
func (l *Look) ask(status Ran) {
	var s struct {
		Deployment json.RawMessage `json:"deployment"`
		Provides   json.RawMessage `json:"provides"`
	}
	if json.Unmarshal([]byte(status.Stdout), &s) == nil {
		l.deployment, l.provides = string(s.Deployment), string(s.Provides)
	}
}

// Compare returns how l differs from before; butInactive: the inactive slot may.
func (l Look) Compare(before Look, butInactive bool) error {
	for name, sum := range before.files {
		if l.files[name] != sum && !(butInactive && name == before.inactive) {
			return fmt.Errorf("%s has changed", name)
		}
	}
	if len(l.files) != len(before.files) {
		return fmt.Errorf("files are %v; want %v", slices.Collect(maps.Keys(l.files)), slices.Collect(maps.Keys(before.files)))
	}
	if l.deployment != before.deployment {
		return fmt.Errorf("the deployment is %q; want %q", l.deployment, before.deployment)
	}
	if l.provides != before.provides {
		return fmt.Errorf("the provides are %s; want %s", l.provides, before.provides)
	}
	return nil
}

// Refused runs a flipside command that must fail with code and leave the device in dir as it was.
// status is the command that tells what the device says of itself; run runs a program with one more
// variable in its environment.
func Refused(dir, code string, status, args []string, run func(args []string, environ ...string) Ran) (Ran, error) {
	seen := func() (Look, error) {
		l, err := LookAt(dir)
		l.ask(run(status))
		return l, err
	}
	before, err := seen()
	if err != nil {
		return Ran{}, err
	}
	mark := fmt.Sprintf("REFUSED=%d", rand.Uint64())
	r := run(args, mark)
	if err := r.Check(code); err != nil {
		return r, err
	}
	if left := running(mark); len(left) > 0 {
		return r, fmt.Errorf("still running: %q", left)
	}
	after, err := seen()
	if err != nil {
		return r, err
	}
	f, _ := FailureIn(r.Stderr) // check has looked at it
	if err := after.Compare(before, strings.Contains(f.Device, "inactive slot holds an incomplete image")); err != nil {
		return r, fmt.Errorf("%s, after %q: %w", strings.Join(args, " "), f.What, err)
	}
	return r, nil
}

func cmdRefused(ts *testscript.TestScript, args []string) {
	need(ts, args, 3, "refused CODE flipside ...")
	code, args := args[0], args[1:]
	program := slices.IndexFunc(args, func(a string) bool { return filepath.Base(a) == "flipside" })
	if program < 0 {
		ts.Fatalf("refused is about flipside")
	}
	dir, status := ts.Getenv("DEVICE"), slices.Clone(args[:program+1])
	if i := slices.Index(args, "--sandbox"); i >= 0 {
		dir, status = args[i+1], append(status, args[i:i+2]...)
	}
	r, err := Refused(ts.MkAbs(dir), code, append(status, "status", "--json"), args, func(args []string, environ ...string) Ran {
		return runCommand(ts, args, environ...)
	})
	show(ts, r)
	ts.Check(err)
}

func cmdRemember(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "remember DIR")
	l, err := LookAt(ts.MkAbs(args[0]))
	ts.Check(err)
	storyOf(ts).looks[args[0]] = l
}

func cmdSame(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "same DIR [inactive]")
	now, err := LookAt(ts.MkAbs(args[0]))
	ts.Check(err)
	before, ok := storyOf(ts).looks[args[0]]
	if !ok {
		ts.Fatalf("%s is not remembered", args[0])
	}
	ts.Check(now.Compare(before, len(args) > 1 && args[1] == "inactive"))
}
