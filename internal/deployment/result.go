package deployment

// Result is what one run of install, commit, rollback or resume did, also when it failed.
type Result struct {
	Artifact string // name of the artifact that the run was about

	Device DeviceState // what a run that went well left behind

	NullPayload bool // nothing to install: recorded at once
	Streamed    bool // the payload is stored, but not installed
	Installed   bool // ArtifactInstall happened in this run
	Committed   bool // ArtifactCommit happened in this run
	Resumed     bool // the run took up what another one had begun
	Kept        bool // it stopped, and the deployment is still in progress

	DownloadFailed bool
	InstallFailed  bool
	CommitFailed   bool

	FailedBefore bool // a step of an earlier run, and that is not over

	CannotRollBack   bool // the handler does not support rollback, so the run committed at once
	NotModified      bool // failed before anything was activated
	RolledBack       bool
	RollbackFailed   bool // a step of the way back failed
	RollbackRefused  bool // not supported, and needed
	PostCommitFailed bool
	CleanupFailed    bool

	RebootRequired bool // what was done takes effect with the next reboot
	NothingToDo    bool // no deployment in progress
}

// Summary is the result block of Mender's client, line by line, in the same words: scripts grep
// for them. Two of its faults are mended: a failed step is named also when cleaning up failed
// too, and the reboot sentence has a line of its own.
func (r *Result) Summary() []string {
	var lines []string
	add := func(when bool, text string) bool {
		if when {
			lines = append(lines, text)
		}
		return when
	}
	add(r.CannotRollBack && r.Installed && (r.Committed || r.CommitFailed), "Update Module doesn't support rollback. Committing immediately.")
	add(r.NullPayload, "Artifact with empty payload. Committing immediately.")

	switch {
	case add(r.NothingToDo, "No update in progress."):
	case add(r.DownloadFailed, "Streaming failed."):
	case add(r.InstallFailed, "Installation failed."):
	case add(r.CommitFailed, "Committing failed."):
	case r.RolledBack || r.RollbackFailed || r.RollbackRefused || r.NotModified:
	case add(r.Installed && r.Committed, "Installed and committed."):
	case add(r.Committed, "Committed."):
	case r.Installed && r.Kept:
		lines = append(lines, "Installed, but not committed.", "Use 'commit' to update, or 'rollback' to roll back the update.")
	case add(r.Streamed && r.Kept, "Streamed to storage, but not installed/enabled."):
	case add(r.Resumed && !r.Kept && !r.FailedBefore, "Cleaned up."):
	}

	switch {
	case add(r.RollbackFailed, "Rollback failed. System may be in an inconsistent state."):
	case add(r.RollbackRefused, "Update Module does not support rollback. System may be in an inconsistent state."):
	case add(r.NotModified, "System not modified."):
	case add(r.RolledBack, "Rolled back."):
	}
	add(r.PostCommitFailed, "One or more post-commit steps failed.")
	add(r.CleanupFailed, "Cleanup failed.")
	add(r.RebootRequired && r.Installed, "At least one payload requested a reboot of the device it updated.")
	return lines
}
