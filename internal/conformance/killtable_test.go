package conformance_test

import (
	"fmt"
	"maps"
	"strings"
)

// A path is what a run calls, and under which state each call stands on disk: what is found there
// if that call never ends. "STATE/WHY" tells apart what is in one state for different reasons.
//
//	fetched: Download_Leave; installing: ArtifactInstall_Enter ArtifactInstall
//
// State scripts are there for each state and action, one each.
const (
	downloading = "downloading: Download_Enter ProvidePayloadFileSizes Download SupportsRollback"
	fetched     = "fetched: Download_Leave"
	installing  = "installing: ArtifactInstall_Enter ArtifactInstall ArtifactInstall_Leave NeedsArtifactReboot"
	committing  = "committing: ArtifactCommit_Enter ArtifactCommit"
	concluding  = "committed: ArtifactCommit_Leave; cleaning/succeeded: Cleanup"

	toInstalled = downloading + "; " + fetched + "; " + installing
	toCommitted = committing + "; " + concluding
)

// back is the way back, for a reason: "asked" for, or something "failed".
func back(why string) string {
	return fmt.Sprintf("rolling-back/%s: ArtifactRollback_Enter ArtifactRollback ArtifactRollback_Leave; %s", why, failure(why))
}

// failure is the end of the way back; "broken" if there was no other part of it.
func failure(why string) string {
	return fmt.Sprintf("failing/%[1]s: ArtifactFailure_Enter ArtifactFailure ArtifactFailure_Leave; cleaning/%[1]s: Cleanup", why)
}

// dropped is the end of what was never installed.
func dropped(why string) string { return "cleaning/" + why + ": Cleanup" }

// story is what happens if nobody pulls the plug: a few commands, and the path of the last.
type story struct {
	name     string
	commands []string
	does     map[string]string // what fails
	path     string
}

// ending is how a command has to end that finds the device in some state.
type ending struct {
	exit string
	path string
	is   string // what the device has then: "old", "new", "broken"; or, if the update is still in progress, what is found next
}

// recovery is how the commands end. The zero value of commit, rollback and install is a refusal:
// nothing is called, and what was found stays.
type recovery struct{ resume, commit, rollback, install ending }

// world is a kind of module: what may happen with it, and what to do when that was cut short.
type world struct {
	does       map[string]string
	stories    []story
	recoveries map[string]recovery // by what is found
}

// The same for all modules.
func common() map[string]recovery {
	return map[string]recovery{
		"committed":          {resume: ending{"0", concluding, "new"}},
		"cleaning/succeeded": {resume: ending{"0", dropped("succeeded"), "new"}},
		// A download that was cut short, or failed, is dropped. That it was, is told once, as a failure.
		"cleaning/cut":     {resume: ending{"1", dropped("cut"), "old"}},
		"cleaning/dropped": {resume: ending{"0", dropped("dropped"), "old"}},
	}
}

// canUndoWorld has a module that supports rollback. An update that was cut short before the
// operator could decide is taken back, and so is a commit of which the module does not know whether
// it happened. Whoever did not ask for that hears of a failure.
func canUndoWorld() world {
	w := world{
		does: canUndo,
		stories: []story{
			{"install", []string{"install A"}, nil, toInstalled},
			{"commit", []string{"install A", "commit"}, nil, toCommitted},
			{"rollback", []string{"install A", "rollback"}, nil, "installed: SupportsRollback; " + back("asked")},
			{"drop", []string{"install --stop-before ArtifactInstall_Enter A", "rollback"}, nil, dropped("dropped")},
			{"failed download", []string{"install A"}, map[string]string{"Download": fails},
				"downloading: Download_Enter ProvidePayloadFileSizes Download Download_Error; " + dropped("cut")},
			{"failed install", []string{"install A"}, map[string]string{"ArtifactInstall": fails},
				downloading + "; " + fetched + "; installing: ArtifactInstall_Enter ArtifactInstall ArtifactInstall_Error SupportsRollback; " + back("failed")},
			{"failed commit", []string{"install A", "commit"}, map[string]string{"ArtifactCommit": fails},
				"committing: ArtifactCommit_Enter ArtifactCommit ArtifactCommit_Error SupportsRollback; " + back("failed")},
		},
		recoveries: map[string]recovery{
			"downloading": {
				resume:   ending{"1", dropped("cut"), "old"},
				rollback: ending{"0", dropped("dropped"), "old"},
				install:  ending{"0", dropped("dropped") + "; " + toInstalled, "installed"},
			},
			"fetched": {
				resume:   ending{"0", fetched + "; " + installing, "installed"},
				rollback: ending{"0", dropped("dropped"), "old"},
			},
			"downloaded": {
				resume:   ending{"0", installing, "installed"},
				rollback: ending{"0", dropped("dropped"), "old"},
			},
			"installing": {
				resume:   ending{"1", "installing: SupportsRollback; " + back("failed"), "old"},
				rollback: ending{"0", "installing: SupportsRollback; " + back("asked"), "old"},
			},
			"installed": {
				resume:   ending{"0", "", "installed"}, // it is the operator's decision
				commit:   ending{"0", toCommitted, "new"},
				rollback: ending{"0", "installed: SupportsRollback; " + back("asked"), "old"},
			},
			"committing": {
				resume:   ending{"1", "committing: SupportsRollback; " + back("failed"), "old"},
				commit:   ending{"1", "committing: SupportsRollback; " + back("failed"), "old"},
				rollback: ending{"0", "committing: SupportsRollback; " + back("asked"), "old"},
			},
			"rolling-back/asked": {
				resume:   ending{"0", back("asked"), "old"},
				rollback: ending{"0", "rolling-back/asked: SupportsRollback; " + back("asked"), "old"},
			},
			"rolling-back/failed": {
				resume:   ending{"1", back("failed"), "old"},
				rollback: ending{"0", "rolling-back/failed: SupportsRollback; " + back("asked"), "old"},
			},
			"failing/asked":   {resume: ending{"0", failure("asked"), "old"}},
			"failing/failed":  {resume: ending{"1", failure("failed"), "old"}},
			"cleaning/asked":  {resume: ending{"0", dropped("asked"), "old"}},
			"cleaning/failed": {resume: ending{"1", dropped("failed"), "old"}},
		},
	}
	maps.Copy(w.recoveries, common())
	return w
}

// cannotUndoWorld has a module that does not support rollback: an update is committed as soon as
// it is installed. What was cut short in between is broken, and says so in its name; a rollback is
// refused and changes nothing.
func cannotUndoWorld() world {
	const all = toInstalled + "; " + toCommitted
	w := world{
		stories: []story{
			{"install", []string{"install A"}, nil, all},
			{"failed download", []string{"install A"}, map[string]string{"Download": fails},
				"downloading: Download_Enter ProvidePayloadFileSizes Download Download_Error; " + dropped("cut")},
			{"failed install", []string{"install A"}, map[string]string{"ArtifactInstall": fails},
				downloading + "; " + fetched + "; installing: ArtifactInstall_Enter ArtifactInstall ArtifactInstall_Error SupportsRollback; " + failure("broken")},
			{"failed commit", []string{"install A"}, map[string]string{"ArtifactCommit": fails},
				toInstalled + "; committing: ArtifactCommit_Enter ArtifactCommit ArtifactCommit_Error SupportsRollback; " + failure("broken")},
			{"failed after the commit", []string{"install A"}, map[string]string{"ArtifactCommit_Leave": fails},
				toInstalled + "; " + committing + "; committed: ArtifactCommit_Leave; cleaning/broken: Cleanup"},
			{"drop", []string{"install --stop-before ArtifactInstall_Enter A", "rollback"}, nil, dropped("dropped")},
		},
		recoveries: map[string]recovery{
			"downloading": {
				resume:   ending{"1", dropped("cut"), "old"},
				rollback: ending{"0", dropped("dropped"), "old"},
				install:  ending{"0", dropped("dropped") + "; " + all, "new"},
			},
			"fetched": {
				resume:   ending{"0", fetched + "; " + installing + "; " + toCommitted, "new"},
				rollback: ending{"0", dropped("dropped"), "old"},
			},
			"downloaded": {
				resume:   ending{"0", installing + "; " + toCommitted, "new"},
				rollback: ending{"0", dropped("dropped"), "old"},
			},
			"installing": {
				resume:   ending{"3", "installing: SupportsRollback; " + failure("broken"), "broken"},
				rollback: ending{"1", "installing: SupportsRollback", "installing"},
			},
			"installed": {
				resume:   ending{"0", toCommitted, "new"},
				commit:   ending{"0", toCommitted, "new"},
				rollback: ending{"1", "installed: SupportsRollback", "installed"},
			},
			"committing": {
				resume:   ending{"3", "committing: SupportsRollback; " + failure("broken"), "broken"},
				commit:   ending{"3", "committing: SupportsRollback; " + failure("broken"), "broken"},
				rollback: ending{"1", "committing: SupportsRollback", "committing"},
			},
			// It is known already that the device is broken, and every command says so.
			"failing/broken": {
				resume:   ending{"3", failure("broken"), "broken"},
				commit:   ending{"3", "", "failing/broken"},
				rollback: ending{"3", "", "failing/broken"},
			},
			"cleaning/broken": {
				resume:   ending{"3", dropped("broken"), "broken"},
				commit:   ending{"3", "", "cleaning/broken"},
				rollback: ending{"3", "", "cleaning/broken"},
			},
		},
	}
	maps.Copy(w.recoveries, common())
	return w
}

// after returns how a command ends that finds the device so.
func (w world) after(found, command string) ending {
	r := w.recoveries[found]
	e := map[string]ending{"resume": r.resume, "commit": r.commit, "rollback": r.rollback, "install A": r.install}[command]
	switch {
	case e.exit != "":
		return e
	case command == "install A":
		return ending{"5", "", found}
	}
	return ending{"1", "", found}
}

// step is one call of a path, and what is found if it does not end.
type step struct{ found, call string }

func steps(path string) []step {
	var all []step
	for _, part := range strings.Split(path, "; ") {
		found, calls, _ := strings.Cut(part, ": ")
		for _, call := range strings.Fields(calls) {
			if strings.Contains(call, "_") {
				call += "_00" // a state script
			}
			all = append(all, step{found, call})
		}
	}
	return all
}

// called are the calls of steps, as a cell of the tables.
func called(steps []step) string {
	var words []string
	for _, s := range steps {
		words = append(words, s.call)
	}
	return cell(words, " ")
}
