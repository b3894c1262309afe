package script

import (
	"fmt"
	"slices"
)

// Step is a script that an install would run.
type Step struct {
	Script string `json:"script"`
	From   string `json:"from"` // "device", "artifact"
	When   string `json:"when"` // "install", "commit", "failure": on the way back
}

// steps are the states and actions in the order in which a deployment comes to them.
var steps = []struct {
	state  State
	action Action
	when   string
}{
	{Download, Enter, "install"}, {Download, Leave, "install"},
	{ArtifactInstall, Enter, "install"}, {ArtifactInstall, Leave, "install"},
	{ArtifactCommit, Enter, "commit"}, {ArtifactCommit, Leave, "commit"},
	{Download, Error, "failure"}, {ArtifactInstall, Error, "failure"}, {ArtifactCommit, Error, "failure"},
	{ArtifactRollback, Enter, "failure"}, {ArtifactRollback, Leave, "failure"},
	{ArtifactFailure, Enter, "failure"}, {ArtifactFailure, Leave, "failure"},
}

// Plan is what scripts would run, in order: those of the device, and those with these names, which
// an artifact brings. An error is one that Run would return too.
func (r *Runner) Plan(fromArtifact []string) ([]Step, error) {
	all := []Step{}
	for _, s := range steps {
		if !s.state.inArtifact() {
			scripts, err := r.find(r.RootfsDir, s.state, s.action)
			if err != nil {
				return nil, fmt.Errorf("looking for %s_%s scripts: %w", s.state, s.action, err)
			}
			for _, f := range scripts {
				all = append(all, Step{f.name, "device", s.when})
			}
			continue
		}
		for _, name := range slices.Sorted(slices.Values(fromArtifact)) {
			if n, ok := ParseName(name); ok && n.State == s.state && n.Action == s.action {
				all = append(all, Step{name, "artifact", s.when})
			}
		}
	}
	return all, nil
}
