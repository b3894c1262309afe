package conformance_test

import (
	"os"
	"strings"

	"flipside/artifact"
)

// killed makes a module or a script kill flipside, once.
const killed = `rm "$DEVICE/does/$state"; kill -9 $PPID; ` + hangs

const (
	whyTwoFailures  = "what failed is told also if cleaning up failed too (fault 13), and each sentence has a line of its own (fault 17)"
	whyOwnLine      = "each sentence has a line of its own (fault 17)"
	whyNothingToDo  = "what was not installed is dropped; the module has nothing to take back, and is not asked (faults 11 and 12)"
	whyInterrupted  = "a power cut in the middle of an update is told as a failure, once"
	whyAsked        = "a module that cannot roll back is not said to have done it (fault 2)"
	whyResumed      = "a resume that takes the update back, for whatever reason, fails: nobody must take the update for installed (fault 1)"
	whyCommitFailed = "a commit that takes the update back fails (fault 3)"
	whyNoDecision   = "a power cut before the operator could decide decides nothing: what was being installed is taken back (fault 4)"
	whyGood         = "what is right is taken (faults 20, 29, 31, 43)"
	whyExact        = "what an artifact says is matched exactly, and holds (faults 7, 8)"
	whyChecked      = "what contradicts itself, or is not listed, is not taken (faults 9, 39, 41, 42, 45)"
	whyClosed       = "a configuration that cannot be understood does not turn the signatures off (fault 37)"
)

func previousIs(more ...string) func(*device) {
	p := artifact.Provides{"artifact_name": "previous"}
	for _, key := range more {
		p[key] = "1"
	}
	return initially(p)
}

// What Mender's client was seen to do, by running it: results, --stop-before, power loss, and the
// rough edges that flipside mends.
var outcomeRows = map[string]row{
	"OUT-01": {does: canUndoBut("NeedsArtifactReboot", "echo Automatic"), state: "installed"},
	"OUT-02": {
		does:   map[string]string{"Download": fails, "Cleanup": fails},
		stdout: "Installing artifact... | Streaming failed. | System not modified. | Cleanup failed.", why: whyTwoFailures,
	},
	"OUT-03": {
		does:   canUndoBut("ArtifactInstall", fails, "Cleanup", fails),
		stdout: "Installing artifact... | Installation failed. | Rolled back. | Cleanup failed.", why: whyTwoFailures,
	},
	"OUT-04": {does: map[string]string{"NeedsArtifactReboot": fails}, exit: "3"},
	"OUT-05": {
		does: map[string]string{"NeedsArtifactReboot": yes, "ArtifactCommit": fails}, exit: "3", why: whyOwnLine,
		stdout: "Installing artifact... | Update Module doesn't support rollback. Committing immediately. | Committing failed. | " +
			"Update Module does not support rollback. System may be in an inconsistent state. | At least one payload requested a reboot of the device it updated.",
	},
	"OUT-06": {
		does: map[string]string{"NeedsArtifactReboot": yes, "Cleanup": fails}, why: whyOwnLine,
		stdout: "Installing artifact... | Update Module doesn't support rollback. Committing immediately. | Installed and committed. | " +
			"Cleanup failed. | At least one payload requested a reboot of the device it updated.",
		provides: testRelease,
	},
	"OUT-07": {does: canUndoBut("ArtifactCommit", fails)},
	"OUT-08": {does: canUndoBut("Cleanup", fails), provides: testRelease, why: whyCleanName},
	"OUT-09": {scripts: []string{"ArtifactCommit_Leave_00"}, does: canUndoBut("ArtifactCommit_Leave_00", fails), exit: "0 ; 3"},
	"OUT-10": {},
	"OUT-11": {does: canUndo, state: "downloaded"},
	"OUT-12": {
		does:   canUndoBut("Cleanup", fails),
		stdout: "Installing artifact... | " + uncommitted + " ; Rolled back. | Cleanup failed.", why: whyOwnLine,
	},
	"OUT-13": {exit: "0 ; 1 ; 1 ; 5 ; 0"},
	"OUT-14": {does: canUndoBut("ArtifactFailure", fails), exit: "0 ; 3"},
	"OUT-15": {
		setup: func(d *device) { d.remove("usr/modules/v3/rootfs-image") },
		exit:  "7", stdout: untouched, why: whyBefore, check: says("no update module for this payload type"),
	},
	"OUT-16": {
		does: canUndo, setup: func(d *device) { d.installs("A2", nullPayload, nil) },
		exit: "0 ; 5", state: "installed",
	},
	"OUT-17": {artifact: nullPayload},
	"OUT-18": {scripts: []string{"ArtifactRollback_Enter_00"}, does: canUndoBut("ArtifactRollback_Enter_00", fails), exit: "0 ; 3"},
	"OUT-19": {
		artifact: depending(artifact.Depends{"device_type": {"other"}}), exit: "7", stdout: untouched, why: whyBefore,
		check: says(`artifact depends on device_type "other"`),
	},
	"OUT-20": {},

	"STOP-01": {},
	"STOP-02": {},
	"STOP-03": {},
	"STOP-04": {does: canUndo},
	"STOP-05": {does: canUndoBut("ArtifactInstall", fails), exit: "1 ; 1", why: whyResumed},
	"STOP-06": {does: canUndo},
	"STOP-07": {does: canUndoBut("ArtifactInstall", fails), exit: "1 ; 1", why: whyResumed},
	"STOP-08": inconsistent("ArtifactInstall", "Installation failed."),
	"STOP-09": {},
	"STOP-10": {does: canUndoBut("ArtifactInstall", fails), exit: "1 ; 1", why: whyResumed},
	"STOP-11": inconsistent("ArtifactInstall", "Installation failed."),
	"STOP-12": inconsistent("ArtifactCommit", "Update Module doesn't support rollback. Committing immediately. | Committing failed."),
	"STOP-13": {
		does: map[string]string{"Download": fails}, exit: "1 ; 1", why: whyResumed,
		stdout: "Installing artifact... | Streaming failed. | System not modified. ; System not modified.",
	},
	"STOP-14": {},
	"STOP-15": {check: says(`cannot stop before unsupported state "Cleanup_Enter"`)},
	"STOP-16": {
		does: canUndo, calls: "ProvidePayloadFileSizes Download SupportsRollback ; Cleanup", why: whyNothingToDo,
		stdout: "Installing artifact... | Streamed to storage, but not installed/enabled. ; System not modified.",
	},
	"STOP-17": {
		exit: "0 ; 0", calls: "ProvidePayloadFileSizes Download SupportsRollback ; Cleanup", why: whyNothingToDo,
		stdout: "Installing artifact... | Streamed to storage, but not installed/enabled. ; System not modified.",
	},

	"LOSS-01": {
		does: map[string]string{"Download": killed}, exit: "killed ; 1", calls: "ProvidePayloadFileSizes Download ; Cleanup",
		stdout: "Installing artifact... ; System not modified.", why: whyInterrupted,
	},
	"LOSS-02": {
		does: canUndoBut("ArtifactInstall", killed), exit: "killed ; 1", why: whyAsked,
		calls: lossInstall + " ; SupportsRollback ArtifactRollback ArtifactFailure Cleanup",
	},
	"LOSS-03": {
		does: map[string]string{"ArtifactInstall": killed}, exit: "killed ; 3", why: whyAsked,
		calls: lossInstall + " ; SupportsRollback ArtifactFailure Cleanup", stdout: "Installing artifact... ; " + cannotUndo,
		provides: brokenRelease,
	},
	"LOSS-04": {does: canUndoBut("ArtifactInstall", killed)},
	"LOSS-05": {
		does: map[string]string{"ArtifactInstall": killed}, exit: "killed ; 1 ; 3", why: whyAsked,
		calls:    lossInstall + " ; SupportsRollback ; SupportsRollback ArtifactFailure Cleanup",
		stdout:   "Installing artifact... ; " + cannotUndo + " ; " + cannotUndo,
		provides: brokenRelease,
	},
	"LOSS-06": {does: canUndoBut("ArtifactInstall", killed), exit: "killed ; 1 ; 5", state: "installing"},
	"LOSS-07": {
		does: canUndoBut("NeedsArtifactReboot", killed), exit: "killed ; 1", why: whyNoDecision,
		calls:  lossInstall + " NeedsArtifactReboot ; SupportsRollback ArtifactRollback ArtifactFailure Cleanup",
		stdout: "Installing artifact... ; Rolled back.", provides: previousRelease,
	},
	"LOSS-08": {
		does: canUndoBut("ArtifactCommit", killed), exit: "0 ; killed ; 1", why: whyCommitFailed,
		calls:  lossInstall + " NeedsArtifactReboot ; ArtifactCommit ; SupportsRollback ArtifactRollback ArtifactFailure Cleanup",
		stdout: "Installing artifact... | " + uncommitted + " ; - ; Committing failed. | Rolled back.",
	},
	"LOSS-09": {
		does: canUndoBut("ArtifactCommit", killed), exit: "0 ; killed ; 1", why: whyCommitFailed,
		calls:  lossInstall + " NeedsArtifactReboot ; ArtifactCommit ; SupportsRollback ArtifactRollback ArtifactFailure Cleanup",
		stdout: "Installing artifact... | " + uncommitted + " ; - ; Committing failed. | Rolled back.",
	},
	"LOSS-10": {
		scripts: []string{"ArtifactCommit_Enter_00"},
		does:    canUndoBut("ArtifactCommit_Enter_00", killed), exit: "0 ; killed ; 1", why: whyCommitFailed,
		calls:  lossInstall + " NeedsArtifactReboot ; ArtifactCommit_Enter_00 ; SupportsRollback ArtifactRollback ArtifactFailure Cleanup",
		stdout: "Installing artifact... | " + uncommitted + " ; - ; Committing failed. | Rolled back.",
	},
	"LOSS-11": {scripts: []string{"ArtifactCommit_Leave_00"}, does: canUndoBut("ArtifactCommit_Leave_00", killed)},
	"LOSS-12": {does: canUndoBut("Cleanup", killed)},
	"LOSS-13": {does: canUndoBut("ArtifactRollback", killed)},
	"LOSS-14": {does: canUndoBut("ArtifactFailure", killed)},
	"LOSS-15": {does: canUndoBut("ArtifactInstall", fails, "ArtifactRollback", killed)},
	"LOSS-16": {does: map[string]string{"ArtifactInstall": fails, "ArtifactFailure": killed}, exit: "killed ; 3"},
	"LOSS-17": {does: map[string]string{"ArtifactInstall": fails, "Cleanup": killed}, exit: "killed ; 3"},
	"LOSS-18": {
		does:   map[string]string{"Download": fails, "Cleanup": killed},
		stdout: "Installing artifact... ; System not modified.", why: "nothing was installed, so nothing was rolled back",
	},
	"LOSS-19": {
		does: map[string]string{"ArtifactCommit": killed}, exit: "killed ; 3", why: whyAsked,
		calls:  lossInstall + " NeedsArtifactReboot ArtifactCommit ; SupportsRollback ArtifactFailure Cleanup",
		stdout: "Installing artifact... ; Committing failed. | " + cannotUndo, provides: brokenRelease,
	},

	"FAULT-05": {
		scripts: []string{"ArtifactInstall_Error_00"}, does: canUndoBut("ArtifactInstall", fails, "ArtifactInstall_Error_00", fails),
		stdout: "Installing artifact... | Installation failed. | Rolled back.", provides: previousRelease, why: whyHarmless,
	},
	"FAULT-05b": {
		scripts: []string{"ArtifactCommit_Error_00"}, does: canUndoBut("ArtifactCommit", fails, "ArtifactCommit_Error_00", fails),
		stdout: "Installing artifact... | " + uncommitted + " ; Committing failed. | Rolled back.", provides: previousRelease, why: whyHarmless,
	},
	"FAULT-05c": {
		scripts: []string{"ArtifactFailure_Leave_00"}, does: canUndoBut("ArtifactFailure_Leave_00", fails),
		exit: "0 ; 0", why: whyHarmless,
	},
	"FAULT-07": {
		artifact: func(s *artifact.Spec) { s.SoftwareVersion, s.ClearsProvides = "", []string{"*"} },
		provides: "artifact_name=test", why: whyExact,
	},
	"FAULT-08": {
		setup:    previousIs("foo", "foofoo", "foo.x.foo"),
		artifact: func(s *artifact.Spec) { s.SoftwareVersion, s.ClearsProvides = "", []string{"foo"} },
		provides: "artifact_name=test, foo.x.foo=1, foofoo=1", why: whyExact,
	},
	"FAULT-08b": {
		setup:    previousIs("x"),
		artifact: func(s *artifact.Spec) { s.SoftwareVersion, s.ClearsProvides = "", []string{"*longsuffix"} },
		exit:     "0", stdout: committed, provides: "artifact_name=test, x=1", why: whyExact,
	},
	"FAULT-09": {
		does: canUndo, setup: crafted(func(p *plan) { p.info = strings.Replace(p.info, `"artifact_name":"test"`, `"artifact_name":""`, 1) }),
		exit: "6", calls: nothing, stdout: untouched, provides: previousRelease, why: whyChecked,
	},
	"FAULT-10": {
		does: canUndo, then: []func(*device){func(d *device) {
			for _, name := range []string{"var/flipside/state-0.json", "var/flipside/state-1.json"} {
				d.write(name, d.read(name)[1:])
			}
			d.broken = true
		}},
		check: says("", "keep them for whoever looks into it, then remove them"),
	},
	"FAULT-20": {
		artifact: contains("empty", ""), does: map[string]string{"Download": streams}, check: got("empty", ""),
		exit: "0", calls: autoCalls, stdout: committed, why: whyGood,
	},
	"FAULT-29": {
		does: map[string]string{"SupportsRollback": `printf Ye; printf 's\n'`},
		exit: "0", calls: lossInstall + " NeedsArtifactReboot", stdout: "Installing artifact... | " + uncommitted,
		provides: previousRelease, state: "installed", why: whyGood,
	},
	"FAULT-29b": {
		does: map[string]string{"SupportsRollback": `printf 'Yes\r\n'`},
		exit: "0", calls: lossInstall + " NeedsArtifactReboot", stdout: "Installing artifact... | " + uncommitted,
		provides: previousRelease, state: "installed", why: whyGood,
	},
	"FAULT-31": {
		setup: func(d *device) {
			if err := os.Rename(d.path("usr/modules/v3/rootfs-image"), d.path("module")); err != nil {
				d.t.Fatal(err)
			}
			if err := os.Symlink(d.path("module"), d.path("usr/modules/v3/rootfs-image")); err != nil {
				d.t.Fatal(err)
			}
		},
		exit: "0", calls: autoCalls, stdout: committed, provides: testRelease, why: whyGood,
	},
	"FAULT-35": {
		setup: imaged(nil), state: "installed", check: all(boots("B", "mender_boot_part=3 mender_boot_part_hex=3 upgrade_available=1"), says("", "hint: reboot, then commit")),
		stdout: "Installing artifact... | " + uncommitted + " | At least one payload requested a reboot of the device it updated. ; -",
		why:    "a commit that comes too early changes nothing (fault 35)",
	},
	"FAULT-37": {
		setup: func(d *device) {
			d.config(map[string]any{"ArtifactVerifyKeys": testKey(d.t, "rsa.pub")})
			d.broken = true
		},
		exit: "1", calls: nothing, stdout: nothing, why: whyClosed, check: says("ArtifactVerifyKeys has the wrong type"),
	},
	"FAULT-37b": {
		setup: func(d *device) { d.write("etc/mender.conf", "// keys\n{}"); d.broken = true },
		exit:  "1", calls: nothing, stdout: nothing, why: whyClosed, check: says("it is not JSON"),
	},
	"FAULT-39": {
		setup: crafted(lines(func(l []string) []string { return append(l[:1], l[2]) })),
		exit:  "6", calls: nothing, stdout: untouched, provides: previousRelease, why: whyChecked,
	},
	"FAULT-39b": {
		setup: crafted(lines(func(l []string) []string { return append(l, sum("x")+"  data/0000/more") })), exit: "6",
		calls:  "ProvidePayloadFileSizes Download Cleanup",
		stdout: "Installing artifact... | Streaming failed. | System not modified.", provides: previousRelease, why: whyChecked,
	},
	"FAULT-41": {
		artifact: func(s *artifact.Spec) { nullPayload(s); s.Depends["device_type"] = []string{"other"} },
		exit:     "7", stdout: untouched, provides: previousRelease, why: whyChecked,
	},
	"FAULT-42": {
		setup: crafted(func(p *plan) { p.typeInfo = `{"type":"other"}` }),
		exit:  "6", calls: nothing, stdout: untouched, provides: previousRelease, why: whyChecked,
	},
	"FAULT-43": {
		setup: crafted(func(p *plan) {
			p.typeInfo = `{"type":"rootfs-image","artifact_depends":{"artifact_name":["previous","other"]}}`
		}),
		exit: "0", calls: autoCalls, stdout: committed, provides: "artifact_name=test", why: whyGood,
	},
	"FAULT-45": {
		setup: crafted(func(p *plan) { p.files = append(p.files, p.files[0]) }),
		exit:  "6", calls: nothing, stdout: untouched, provides: previousRelease, why: whyChecked,
	},
	"FAULT-50": {
		setup: func(d *device) {
			d.env = []string{"http_proxy=http://proxy:1", "HTTP_PROXY=http://proxy:2", "no_proxy=a,b", "NO_PROXY=a,b"}
		},
		exit: "0 ; 0", calls: "- ; " + autoCalls, stdout: "previous ; " + committed, provides: testRelease,
		why: "how to reach a server is of no interest to who does not want to (fault 50)",
	},
}

const (
	lossInstall   = "ProvidePayloadFileSizes Download SupportsRollback ArtifactInstall"
	cannotUndo    = "Update Module does not support rollback. System may be in an inconsistent state."
	brokenRelease = "artifact_name=test_INCONSISTENT, rootfs-image.checksum=" + checksum + ", rootfs-image.version=test"
	committed     = "Installing artifact... | Update Module doesn't support rollback. Committing immediately. | Installed and committed."
)

// inconsistent is a failure that cannot be undone, was told, and is resumed.
func inconsistent(state, what string) row {
	return row{
		does: map[string]string{state: fails}, exit: "3 ; 3", provides: brokenRelease, why: whyResumed,
		stdout: "Installing artifact... | " + what + " | " + cannotUndo + " ; -",
	}
}

// all makes one check of several.
func all(checks ...func(*device, []ran)) func(*device, []ran) {
	return func(d *device, runs []ran) {
		for _, check := range checks {
			check(d, runs)
		}
	}
}
