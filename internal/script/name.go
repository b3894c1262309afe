package script

import (
	"strings"
	"unicode"
)

// State is the part of a deployment that a script belongs to.
type State string

const (
	Download         State = "Download" // scripts of the device; all others come with the artifact
	ArtifactInstall  State = "ArtifactInstall"
	ArtifactCommit   State = "ArtifactCommit"
	ArtifactRollback State = "ArtifactRollback"
	ArtifactFailure  State = "ArtifactFailure"

	// Scripts for these are legal and never run: the reboot is the operator's, and nobody is
	// idle or syncs without a daemon.
	ArtifactReboot         State = "ArtifactReboot"
	ArtifactRollbackReboot State = "ArtifactRollbackReboot"
	Idle                   State = "Idle"
	Sync                   State = "Sync"
)

// Action is when in its State a script runs.
type Action string

const (
	Enter Action = "Enter" // before the work
	Leave Action = "Leave" // after it, if it went well
	Error Action = "Error" // after it, if it did not
)

// Name is the name of a state script, taken apart: ArtifactInstall_Enter_05_wifi.
type Name struct {
	State  State
	Action Action
	Order  string // two digits
	Label  string // "wifi"; "" if there is none
}

// ParseName takes the name of a file apart; false if it is not that of a state script.
func ParseName(name string) (Name, bool) {
	parts := strings.SplitN(name, "_", 4)
	if len(parts) < 3 {
		return Name{}, false
	}
	n := Name{State: State(parts[0]), Action: Action(parts[1]), Order: parts[2]}
	if !n.State.known() || !n.Action.known() || !twoDigits(n.Order) {
		return Name{}, false
	}
	if len(parts) == 4 {
		n.Label = parts[3]
		if n.Label == "" || strings.ContainsFunc(n.Label, notInLabel) {
			return Name{}, false
		}
	}
	return n, true
}

func (s State) known() bool {
	switch s {
	case Download, Idle, Sync:
		return true
	}
	return s.inArtifact()
}

// inArtifact says whether scripts of s come with an artifact.
func (s State) inArtifact() bool {
	switch s {
	case ArtifactInstall, ArtifactReboot, ArtifactRollback, ArtifactRollbackReboot, ArtifactCommit, ArtifactFailure:
		return true
	}
	return false
}

func (a Action) known() bool { return a == Enter || a == Leave || a == Error }

func twoDigits(s string) bool {
	return len(s) == 2 && '0' <= s[0] && s[0] <= '9' && '0' <= s[1] && s[1] <= '9'
}

// notInLabel: blanks are against the format; a name with a slash is more than a name.
func notInLabel(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '/' }
