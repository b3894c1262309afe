package deployment_test

import (
	"testing"

	"flipside/internal/deployment"
)

// world is a model of a device: what the disk says, and what really happened to the slots. Every
// act of a process takes effect either wholly or not at all; a power cut may fall before and
// after each. The model is small enough to go through all histories.
type world struct {
	state     deployment.State   // on disk
	outcome   deployment.Outcome // on disk
	switched  bool               // the bootloader selects the new slot
	trial     bool               // and falls back, unless confirmed
	complete  bool               // the new slot holds a complete image
	provides  string             // "old", "new" or "inconsistent"
	deploying bool
}

// act is one effect; it is durable when it returns.
type act func(*world)

func enter(s deployment.State) act { return func(w *world) { w.state = s; w.deploying = true } }
func decide(o deployment.Outcome) act {
	return func(w *world) { w.state = deployment.Cleaning; w.outcome = o }
}
func startWriting(w *world) { w.complete = false }
func endWriting(w *world)   { w.complete = true }
func selectNew(w *world)    { w.switched, w.trial = true, true }
func confirm(w *world)      { w.trial = false }
func selectOld(w *world)    { w.switched, w.trial = false, false }
func end(w *world) {
	if w.outcome == deployment.Succeeded {
		w.provides = "new"
	}
	w.state, w.outcome, w.deploying = deployment.None, deployment.Undecided, false
}

var (
	installActs = []act{enter(deployment.Downloading), startWriting, endWriting, enter(deployment.Fetched), enter(deployment.Downloaded), enter(deployment.Installing), selectNew, enter(deployment.Installed)}
	commitActs  = []act{enter(deployment.Committing), confirm, enter(deployment.Confirmed), enter(deployment.Committed), decide(deployment.Succeeded), end}
	concludes   = []act{enter(deployment.Committed), decide(deployment.Succeeded), end}
	backActs    = []act{enter(deployment.RollingBack), selectOld, enter(deployment.Failing), decide(deployment.RolledBack), end}
	dropActs    = []act{decide(deployment.Unchanged), end}
)

// recoveryActs is what a process does that finds w, by the table; nil if it waits.
func recoveryActs(t *testing.T, w *world) []act {
	switch r := w.state.Recovery(); r {
	case deployment.Nothing, deployment.Wait:
		return nil
	case deployment.CleanUp:
		return dropActs
	case deployment.RollBack:
		return backActs
	case deployment.AskCommitted:
		if w.switched && !w.trial {
			return append([]act{enter(deployment.Confirmed)}, concludes...)
		}
		return backActs
	case deployment.GoOn:
		return concludes
	case deployment.Repeat:
		switch w.state {
		case deployment.RollingBack:
			return backActs
		case deployment.Failing:
			return []act{decide(deployment.RolledBack), end}
		case deployment.Cleaning:
			return []act{end}
		}
	}
	t.Fatalf("no recovery for state %q", w.state)
	return nil
}

// check holds after every single act, which is where a power cut would stop.
func check(t *testing.T, w *world, history string) {
	t.Helper()
	if w.switched && !w.complete {
		t.Fatalf("%s: the bootloader selects an incomplete image", history)
	}
	if !w.deploying && w.trial {
		t.Fatalf("%s: a trial is left without a deployment", history)
	}
	if !w.deploying && (w.provides == "new") != w.switched {
		t.Fatalf("%s: provides say %s, but the next boot is new=%v", history, w.provides, w.switched)
	}
}

// explore runs acts to their end, and with a power cut before each of them, if cuts allow, from
// which the device recovers with one cut less. A cut on trial may be followed by a boot that
// comes up, or by one that does not. It returns how many histories there were.
func explore(t *testing.T, w world, acts []act, cuts int, history string) (histories int) {
	for _, a := range acts {
		if cuts > 0 {
			histories += recover(t, w, cuts, history)
		}
		if cuts > 0 && w.trial {
			fallen := w
			selectOld(&fallen)
			histories += recover(t, fallen, cuts, history+" fell back,")
		}
		a(&w)
		check(t, &w, history)
	}
	return histories + 1
}

func recover(t *testing.T, w world, cuts int, history string) int {
	return explore(t, w, recoveryActs(t, &w), cuts-1, history+" cut in "+string(w.state)+",")
}

// TestModel shows that the table keeps the promises of the design through every history with up
// to three power cuts: whatever the bootloader may choose is complete; no deployment, no trial;
// the provides name what the next boot runs.
func TestModel(t *testing.T) {
	fresh := world{provides: "old"}
	installed := fresh
	for _, a := range installActs {
		a(&installed)
	}
	ways := explore(t, fresh, installActs, 3, "install")
	ways += explore(t, installed, commitActs, 3, "commit")
	ways += explore(t, installed, backActs, 3, "rollback")
	if ways < 100 {
		t.Errorf("explored %d histories; that is not all of them", ways)
	}
}

// TestModelFindsFaults shows that the model would notice.
func TestModelFindsFaults(t *testing.T) {
	for name, acts := range map[string][]act{
		"act before record":    {enter(deployment.Downloading), startWriting, endWriting, selectNew, enter(deployment.Installing), end},
		"select before sync":   {enter(deployment.Downloading), startWriting, enter(deployment.Installing), selectNew, endWriting},
		"drop before deselect": {enter(deployment.Downloading), endWriting, selectNew, end},
	} {
		w := world{provides: "old"}
		broken := false
		for _, a := range acts {
			a(&w)
			broken = broken || w.switched && !w.complete || !w.deploying && w.trial || !w.deploying && (w.provides == "new") != w.switched
		}
		if !broken {
			t.Errorf("%s: the model did not notice", name)
		}
	}
}

func TestParseStops(t *testing.T) {
	stops, err := deployment.ParseStops([]string{"Cleanup", "ArtifactInstall_Enter"})
	if err != nil || !stops[deployment.Cleaning] || !stops[deployment.Downloaded] || len(stops) != 2 {
		t.Errorf("ParseStops = %v, %v; want cleaning and downloaded", stops, err)
	}
	for _, name := range []string{"cleanup", "", "ArtifactReboot_Enter"} {
		if _, err := deployment.ParseStops([]string{name}); err == nil {
			t.Errorf("ParseStops(%q) succeeded; want an error", name)
		}
	}
}
