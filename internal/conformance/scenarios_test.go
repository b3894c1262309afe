package conformance_test

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"flipside/artifact"
	"flipside/internal/hosttest"
)

// scenario is what Mender's client does: a row of the tables in testdata. Cells that tell of several
// commands are cut at " ; "; an empty cell says nothing.
type scenario struct {
	id       string
	client   string
	commands []string
	exit     []string // exit codes
	calls    []string // of the module and of scripts
	stdout   []string // lines, with " | " between them
	provides string   // of the device, in the end
}

// row is what a scenario needs to be run, and what flipside does otherwise.
type row struct {
	setup    func(d *device)        // the device is "previous" before it
	artifact func(s *artifact.Spec) // changes the artifact A
	scripts  []string               // state scripts of the artifact, and, if Download_*, of the device
	does     map[string]string      // what the module and scripts do, by state: shell
	then     []func(d *device)      // before the second command, before the third …

	// Cells that replace those of the table. Where they contradict one that is not empty, why says
	// why. That a failure has an exit code of its own instead of 1 needs no reason.
	exit, calls, stdout, provides string
	why                           string

	state string // of the deployment that is left; "" if none is
	check func(d *device, runs []ran)
}

func TestScenarios(t *testing.T) {
	rows := allRows(t)
	known := map[string]bool{}
	for _, s := range allScenarios(t) {
		known[s.id] = true
		if r, ok := rows[s.id]; ok {
			t.Run(s.id, func(t *testing.T) {
				t.Parallel()
				r.run(t, s)
			})
		} else if elsewhere[s.id] == "" && notOurs[s.id] == "" {
			t.Errorf("%s: nobody accounts for it", s.id)
		}
	}
	for id := range rows {
		if !known[id] {
			t.Errorf("%s: there is no such scenario", id)
		}
	}
}

// allRows are the rows of all tables, by the ID of their scenario.
func allRows(t *testing.T) map[string]row {
	t.Helper()
	all := map[string]row{}
	for _, rows := range []map[string]row{
		commandRows, scriptRows, oldClientRows, moduleRows, matchRows, formatRows, imageRows, otherRows, outcomeRows,
	} {
		for id, r := range rows {
			if _, twice := all[id]; twice {
				t.Errorf("%s is there twice", id)
			}
			all[id] = r
		}
	}
	return all
}

func allScenarios(t *testing.T) []scenario {
	t.Helper()
	return append(readScenarios(t, "scenarios.csv"), readScenarios(t, "outcomes.csv")...)
}

// TestElsewhere makes sure that the tests which account for scenarios elsewhere exist.
func TestElsewhere(t *testing.T) {
	ids := map[string]bool{}
	for _, s := range allScenarios(t) {
		ids[s.id] = true
	}
	rows := allRows(t)
	for id := range notOurs {
		if _, here := rows[id]; !ids[id] || here || elsewhere[id] != "" {
			t.Errorf("%s is not ours, but no scenario, or accounted for twice", id)
		}
	}
	for id, test := range elsewhere {
		if _, here := rows[id]; !ids[id] || here || !testExists(t, test) {
			t.Errorf("%s: %s: no such scenario, no such test, or accounted for twice", id, test)
		}
	}
}

// testExists says whether "DIRECTORY.TestName" is a test.
func testExists(t *testing.T, test string) bool {
	t.Helper()
	dir, name, _ := strings.Cut(test, ".")
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		return strings.Contains(string(hosttest.Read(t, file)), "\nfunc "+name+"(t *testing.T)")
	})
}

func readScenarios(t *testing.T, file string) []scenario {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var all []scenario
	for _, line := range lines[1:] {
		at := func(column string) string { return line[slices.Index(lines[0], column)] }
		all = append(all, scenario{
			id: at("id"), client: at("client"), commands: cut(at("commands")), exit: cut(at("exit")), calls: cut(at("calls")),
			stdout: cut(at("stdout")), provides: at("provides"),
		})
	}
	return all
}

// cut returns what a cell says of each command, or nil if it says nothing.
func cut(cell string) []string {
	if cell == "" {
		return nil
	}
	return strings.Split(cell, " ; ")
}

func (r row) run(t *testing.T, s scenario) {
	want := r.want(t, s)
	d := newDevice(t)
	d.provides(artifact.Provides{"artifact_name": "previous", "rootfs-image.version": "previous"})
	d.installs("A", r.artifact, r.scripts)
	d.does(r.does)
	if r.setup != nil {
		r.setup(d)
	}
	var runs []ran
	for i, command := range want.commands {
		if i > 0 && i <= len(r.then) && r.then[i-1] != nil {
			r.then[i-1](d)
		}
		got := d.flipside(d.arguments(command)...)
		runs = append(runs, got)
		check := func(what string, want []string, got string) {
			if want != nil && want[i] != got {
				t.Errorf("command %d, %s: %s\n got %s\nwant %s", i+1, command, what, got, want[i])
			}
		}
		check("exit code", want.exit, got.exit)
		check("calls", want.calls, d.calls())
		check("stdout", want.stdout, got.lines())
		if err := got.explained(); err != "" {
			t.Errorf("command %d, %s: %s", i+1, command, err)
		}
		if t.Failed() {
			t.Logf("command %d, %s: stderr:\n%s", i+1, command, got.stderr)
		}
	}
	if r.check != nil {
		r.check(d, runs)
	}
	if d.broken {
		return // its provides cannot be asked for
	}
	now := d.status()
	if want.provides != "" && now.has() != want.provides {
		t.Errorf("provides in the end:\n got %s\nwant %s", now.has(), want.provides)
	}
	if state := cell([]string{r.state}, ""); now.state() != state {
		t.Errorf("the deployment is %s in the end; want %s", now.state(), state)
	}
	if tree := d.path("var/modules/v3/payloads/0000/tree"); now.Deployment == nil && exists(t, tree) {
		t.Errorf("the work tree is left, but no deployment")
	}
}

// want is what flipside is to do in a scenario.
func (r row) want(t *testing.T, s scenario) scenario {
	t.Helper()
	s.calls = asked(s)
	free := true // nothing is contradicted
	for _, cell := range []struct {
		name, ours string
		theirs     *[]string
	}{{"exit", r.exit, &s.exit}, {"calls", r.calls, &s.calls}, {"stdout", r.stdout, &s.stdout}} {
		if cell.ours == "" {
			continue
		}
		ours := cut(cell.ours)
		if len(ours) != len(s.commands) {
			t.Fatalf("%s: %q is not for %d commands", cell.name, cell.ours, len(s.commands))
		}
		if slices.Equal(ours, *cell.theirs) {
			t.Errorf("%s: %q is no difference", cell.name, cell.ours)
		}
		free = free && (*cell.theirs == nil || cell.name == "exit" && sameSense(ours, *cell.theirs))
		*cell.theirs = ours
	}
	if r.provides != "" {
		if r.provides == s.provides {
			t.Errorf("provides: %q is no difference", r.provides)
		}
		free = free && s.provides == ""
		s.provides = r.provides
	}
	if free != (r.why == "") {
		t.Errorf("a difference needs a reason, and a reason a difference; the reason is %q", r.why)
	}
	return s
}

// sameSense says whether what failed still fails, and nothing else does.
func sameSense(ours, theirs []string) bool {
	for i := range ours {
		if ours[i] != theirs[i] && (theirs[i] != "1" || ours[i] == "0" || ours[i] == "2" || ours[i] == "4") {
			return false
		}
	}
	return len(ours) == len(theirs)
}

// asked moves the question SupportsRollback. Mender's client in C++ asks when the module has
// installed, the one in Go before; flipside asks at the end of the download, while nothing is
// changed, so that a module which cannot answer does no harm. The client in Go did not know
// ProvidePayloadFileSizes.
func asked(s scenario) []string {
	var all []string
	for i, c := range s.calls {
		c = afterInstall.ReplaceAllString(c, "NeedsArtifactReboot$1")
		if strings.HasPrefix(s.client, "Go") {
			c = strings.Replace(c, " Download ", " ProvidePayloadFileSizes Download ", 1)
			c = strings.Replace(c, "Download_Leave_00 SupportsRollback", "Download_Leave_00", 1)
		}
		all = append(all, download.ReplaceAllStringFunc(c, func(call string) string {
			if strings.HasSuffix(call, "Cleanup") || strings.HasSuffix(call, "Download_Error") || !strings.Contains(call, " ") && s.exit[i] != "0" {
				return call // it failed
			}
			words := strings.Fields(call)
			return strings.Join(slices.Insert(words, 1, "SupportsRollback"), " ")
		}))
	}
	return all
}

var afterInstall = regexp.MustCompile(`NeedsArtifactReboot SupportsRollback( ArtifactCommit.*| SupportsRollback.*|)$`)

var download = regexp.MustCompile(`\bDownload(WithFileSizes)?( (Cleanup|Download_Error|Download_Leave|ArtifactInstall)|$)`)

// installs writes the artifact NAME.mender: a payload for the module rootfs-image, as
// mender-artifact makes it, and what change makes of it. Scripts may be given by name; they are
// recorders.
func (d *device) installs(name string, change func(*artifact.Spec), scripts []string) {
	d.t.Helper()
	spec := artifact.Spec{
		Name: "test", Depends: forTest(), SoftwareVersion: "test",
		Type: "rootfs-image", Files: []artifact.FileSpec{artifact.FileBytes("rootfs", []byte("test\n"))},
	}
	for _, script := range scripts {
		if strings.HasPrefix(script, "Download_") {
			write(d.t, d.path("etc/scripts/"+script), recorder(d.t), 0o755)
		} else {
			spec.Scripts = append(spec.Scripts, artifact.Script{Name: script, Content: []byte(recorder(d.t))})
		}
	}
	if change != nil {
		change(&spec)
	}
	d.artifact(name+".mender", spec)
}

// arguments are the words of a command of the tables.
func (d *device) arguments(command string) []string {
	var args []string
	if command == nothing {
		return args
	}
	for _, word := range strings.Fields(command) {
		switch word {
		case "A", "A2":
			word = d.path(word + ".mender")
			if args[0] == "install" {
				// The reference reads once, and finds what is wrong on the way. So do we with what comes
				// from elsewhere; what becomes of it there is the question here.
				args = append(args, "--single-pass")
			}
		case "URL":
			word = d.url
		case "boot":
			word = d.path("sandbox")
			args = append(args, "sandbox", "boot")
		}
		args = append(args, word)
	}
	return args
}

// explained says what is missing in how a failure was told.
func (r ran) explained() string {
	failed := r.exit != "0" && r.exit != "4" && r.exit != "killed"
	told := bytes.Count([]byte(r.stderr), []byte("flipside: error: "))
	switch {
	case failed && told != 1:
		return "a failure needs one line with the error"
	case !failed && told != 0:
		return "there is an error, but no failure"
	}
	return ""
}
