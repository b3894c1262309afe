package deployment

import (
	"fmt"
	"slices"
	"strings"
)

// State is where a deployment stands. What is on disk was written before the work of that state
// began, so after a power cut it names the work that may or may not have happened.
type State string

const (
	None        State = ""             // no deployment
	Downloading State = "downloading"  // bytes flow to the inactive slot or to a module
	Fetched     State = "fetched"      // all bytes are there and verified; before Download_Leave
	Downloaded  State = "downloaded"   // before ArtifactInstall_Enter
	Installing  State = "installing"   // handlers activate; the selection may have changed
	Installed   State = "installed"    // on trial, waiting for a reboot and a decision
	Committing  State = "committing"   // handlers confirm
	Confirmed   State = "confirmed"    // handlers have confirmed; before ArtifactCommit_Leave
	Committed   State = "committed"    // decided: cannot be undone any more
	RollingBack State = "rolling-back" // handlers undo
	Failing     State = "failing"      // telling scripts and handlers of the failure
	Cleaning    State = "cleaning"     // the last step
)

// Recovery is what has to happen when a process finds a deployment that no process works on.
type Recovery string

const (
	Nothing      Recovery = "nothing"
	CleanUp      Recovery = "clean up"            // nothing was activated
	Wait         Recovery = "wait"                // for the operator's decision
	RollBack     Recovery = "roll back"           // it is unknown how much was activated
	AskCommitted Recovery = "ask whether it took" // then go on, or roll back
	GoOn         Recovery = "go on"
	Repeat       Recovery = "repeat"
)

// table is the whole state machine. Whoever changes it changes the power-loss tests first.
var table = map[State]struct {
	next     []State
	recovery Recovery
}{
	None:        {[]State{Downloading}, Nothing},
	Downloading: {[]State{Fetched, Cleaning}, CleanUp},
	Fetched:     {[]State{Downloaded, Cleaning}, Wait},
	Downloaded:  {[]State{Installing, Cleaning}, Wait},
	Installing:  {[]State{Installed, RollingBack, Failing}, RollBack},
	Installed:   {[]State{Committing, RollingBack}, Wait},
	Committing:  {[]State{Confirmed, RollingBack, Failing}, AskCommitted},
	Confirmed:   {[]State{Committed, RollingBack}, GoOn},
	Committed:   {[]State{Cleaning}, GoOn},
	RollingBack: {[]State{Failing, Cleaning}, Repeat},
	Failing:     {[]State{Cleaning}, Repeat},
	Cleaning:    {[]State{None}, Repeat},
}

// Recovery says what to do with a deployment found in s.
func (s State) Recovery() Recovery { return table[s].recovery }

// mayEnter says whether to may follow s. Every state but None may be entered again: that is
// what repeating means.
func (s State) mayEnter(to State) bool {
	return s == to && s != None || slices.Contains(table[s].next, to)
}

func (s State) known() bool {
	_, ok := table[s]
	return ok
}

// stopPoints are the places where an operator may hold a deployment, by the names that Mender's
// client gave them, and the state that is on disk while it is held there.
var stopPoints = []struct {
	name  string
	state State
}{
	{"Download_Leave", Fetched},
	{"ArtifactInstall_Enter", Downloaded},
	{"ArtifactCommit_Enter", Installed},
	{"ArtifactCommit_Leave", Confirmed},
	{"ArtifactRollback_Enter", RollingBack},
	{"ArtifactFailure_Enter", Failing},
	{"Cleanup", Cleaning},
}

// Stops is the set of states at which a run stops as soon as they are on disk.
type Stops map[State]bool

// ParseStops takes the arguments of --stop-before.
func ParseStops(names []string) (Stops, error) {
	stops := Stops{}
	for _, name := range names {
		state := None
		for _, p := range stopPoints {
			if p.name == name {
				state = p.state
			}
		}
		if state == None {
			return nil, fmt.Errorf("cannot stop before unsupported state %q; known are %s", name, strings.Join(StopNames(), ", "))
		}
		stops[state] = true
	}
	return stops, nil
}

// StopNames are the names that ParseStops knows.
func StopNames() []string {
	var names []string
	for _, p := range stopPoints {
		names = append(names, p.name)
	}
	return names
}
