// Package storytest is what the stories in testdata/script can say beside testscript's own
// commands, and what a device looks like from outside. It is only for tests.
//
//	exits CODE COMMAND...        the command ends with exactly this code; if it is flipside and a
//	                             failure, it says so in the three lines; what it prints as JSON is as
//	                             the schema says (so have all that print JSON run by exits or refused)
//	refused CODE flipside ...    the same, and: slots, boot environment, provides and deployment are
//	                             what they were, and nothing is left running. The inactive slot may
//	                             differ only if the second line says so. The device is the one of
//	                             --sandbox, or $DEVICE.
//	remember DIR, same DIR       slots and boot environment of a device are what they were; same
//	                             DIR inactive: but for the inactive slot
//	snapshot NAME DIR...         remembers all that is below the directories: bytes, times, listings
//	untouched NAME               and nothing of that has changed since
//	start NAME COMMAND...        in the background
//	feed NAME FILE COMMAND...    the same, with a pipe as standard input, into which FILE was put; it
//	                             stays open: more might come
//	signal NAME SIGNAL           to its process: INT, TERM, KILL, HUP
//	ends NAME CODE               like exits, for what was started; or the signal that ended it
//	terminal NAME COMMAND...     in the background, on a terminal of its own, which shows its standard error
//	press NAME ctrl-c            on its keyboard
//	hang-up NAME                 takes its terminal away
//	shows NAME REGEXP            waits until what it has written so far has a match
//	nothing-runs                 no process that the story began is left
//	mkartifact FILE KEY=VALUE... writes an artifact: name, type (none: null payload), device,
//	                             depends (key:value), provides, clears, group, script, key (a
//	                             private key), size or file, compression
//	flip FILE OFFSET             turns a bit over; a negative offset counts from the end
//	pad FILE SIZE                makes a file longer, or shorter
//	json KEY...                  standard output was a JSON object with exactly these keys
//	lines FILE                   the file has JSON lines, the last one a result; it is made the
//	                             standard output
//	result KEY=JSON...           these fields of the result, the last line of standard output, are so;
//	                             KEY: it is there; !KEY: it is not
//	needs-root                   the story needs root: without it, it is skipped, but not in CI
//	loop VAR FILE                $VAR is a loop device on the file
//	mount ARGS... DIR            mount(8), until the story ends
//	machine DIR uboot|grub       a device with real block devices, see machine.go
//	power-on DIR [fail]          boots it; fail: what is selected does not come up
//
// $ARTIFACTS and $MODULES are directories of testdata, $RECORDER is for the update module there.
package storytest

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// Params runs the stories in testdata/script. program builds flipside and returns its path.
func Params(testdata string, program func() (string, error)) testscript.Params {
	return testscript.Params{
		Dir:                filepath.Join(testdata, "script"),
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ARTIFACTS", filepath.Join(testdata, "artifacts"))
			e.Setenv("MODULES", filepath.Join(testdata, "modules"))
			e.Setenv("RECORDER", filepath.Join(e.WorkDir, "recorder"))
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else each process sleeps a second
			e.Values[storyKey{}] = &story{
				test: e.T(), program: program,
				programs: map[string]*background{}, looks: map[string]Look{}, machines: map[string]machine{},
				snapshots: map[string]map[string]string{}, watched: map[string][]string{},
			}
			return os.Mkdir(filepath.Join(e.WorkDir, "recorder"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":        plain(cmdExits),
			"refused":      plain(cmdRefused),
			"remember":     plain(cmdRemember),
			"same":         plain(cmdSame),
			"start":        plain(cmdStart),
			"feed":         plain(cmdFeed),
			"signal":       plain(cmdSignal),
			"ends":         plain(cmdEnds),
			"terminal":     plain(cmdTerminal),
			"press":        plain(cmdPress),
			"hang-up":      plain(cmdHangUp),
			"shows":        plain(cmdShows),
			"nothing-runs": plain(cmdNothingRuns),
			"mkartifact":   plain(cmdMakeArtifact),
			"flip":         plain(cmdFlip),
			"pad":          plain(cmdPad),
			"json":         plain(cmdJSON),
			"snapshot":     plain(cmdSnapshot),
			"untouched":    plain(cmdUntouched),
			"lines":        plain(cmdLines),
			"result":       plain(cmdResult),
			"needs-root":   plain(cmdNeedsRoot),
			"loop":         plain(cmdLoop),
			"mount":        plain(cmdMount),
			"machine":      plain(cmdMachine),
			"power-on":     plain(cmdPowerOn),
		},
	}
}

// story is what the commands of one story share.
type story struct {
	test    testscript.T
	program func() (string, error)

	programs map[string]*background
	looks    map[string]Look    // by the device's directory
	machines map[string]machine // by their directory

	snapshots map[string]map[string]string
	watched   map[string][]string // the directories of each snapshot
}

type storyKey struct{}

func storyOf(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

// plain is a command that cannot be negated.
func plain(f func(ts *testscript.TestScript, args []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("this command cannot be negated")
		}
		f(ts, args)
	}
}

func need(ts *testscript.TestScript, args []string, n int, usage string) {
	if len(args) < n {
		ts.Fatalf("usage: %s", usage)
	}
}

func cmdFlip(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "flip FILE OFFSET")
	at, err := strconv.ParseInt(args[1], 0, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	info, err := f.Stat()
	ts.Check(err)
	if at < 0 {
		at += info.Size()
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	ts.Check(err)
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	ts.Check(err)
}

func cmdPad(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "pad FILE SIZE")
	size, err := strconv.ParseInt(args[1], 0, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

func cmdJSON(ts *testscript.TestScript, want []string) {
	var object map[string]json.RawMessage
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &object))
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(object)); !slices.Equal(got, want) {
		ts.Fatalf("keys are %q; want %q", got, want)
	}
}
