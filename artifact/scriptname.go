package artifact

import "strings"

// ScriptName is the name of a state script, taken apart: ArtifactInstall_Enter_05_wifi.
type ScriptName struct {
	State  string // "ArtifactInstall"
	Action string // "Enter", "Leave", "Error"
	Order  string // two digits
	Label  string // "wifi"; "" if there is none
}

// ParseScriptName takes the name of a state script in an artifact apart; false if it is none.
// Scripts for the reboot states are legal, though nothing runs them where no daemon reboots.
func ParseScriptName(name string) (ScriptName, bool) {
	var n ScriptName
	parts := strings.SplitN(name, "_", 4)
	if len(parts) < 3 || checkFileName(name) != nil {
		return n, false
	}
	n.State, n.Action, n.Order = parts[0], parts[1], parts[2]
	if len(parts) == 4 {
		n.Label = parts[3]
		if n.Label == "" || strings.ContainsAny(n.Label, " \t") {
			return ScriptName{}, false
		}
	}
	return n, scriptStates[n.State] && scriptActions[n.Action] && isOrder(n.Order)
}

var scriptStates = map[string]bool{
	"ArtifactInstall": true, "ArtifactReboot": true, "ArtifactRollback": true,
	"ArtifactRollbackReboot": true, "ArtifactCommit": true, "ArtifactFailure": true,
}

var scriptActions = map[string]bool{"Enter": true, "Leave": true, "Error": true}

func isOrder(s string) bool {
	return len(s) == 2 && strings.Trim(s, "0123456789") == ""
}
