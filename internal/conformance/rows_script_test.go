package conformance_test

import (
	"slices"
	"strings"

	"flipside/artifact"
)

// With these does a script that asked to be run again, or a module, what takes too long. A signal
// to the waiting flipside is what `flipside resume` sends; so nobody has to wait for an interval.
const (
	hangs = "exec sleep 600"
	again = "kill -USR1 $PPID; exit 21"
)

// times makes a script ask n times to be run again, and then do something else.
func times(n, then string) string {
	return `[ $(grep -c "^$state$" "$DEVICE/calls") -gt ` + n + ` ] || { ` + again + `; }
` + then
}

// scripts are one of each, and more.
func scripts(more ...string) []string {
	return append([]string{
		"Download_Enter_01", "Download_Leave_01", "Download_Error_01",
		"ArtifactInstall_Enter_01", "ArtifactInstall_Leave_01", "ArtifactInstall_Error_01",
		"ArtifactCommit_Enter_01", "ArtifactCommit_Leave_01", "ArtifactCommit_Error_01",
		"ArtifactRollback_Enter_01", "ArtifactRollback_Leave_01",
		"ArtifactFailure_Enter_01", "ArtifactFailure_Leave_01",
	}, more...)
}

func without(scripts []string, name string) []string {
	return slices.DeleteFunc(scripts, func(s string) bool { return s == name })
}

// State scripts.
var scriptRows = map[string]row{
	"SCR-01": {scripts: scripts()},
	"SCR-02": {scripts: scripts("Download_Enter_02"), does: map[string]string{"Download_Enter_01": fails}},
	"SCR-03": {scripts: scripts(), does: map[string]string{"Download": fails}},
	"SCR-04": {scripts: scripts("Download_Error_02"), does: map[string]string{"Download_Enter_01": fails, "Download_Error_01": fails}},
	"SCR-05": {scripts: scripts("Download_Error_02"), does: map[string]string{"Download_Leave_01": fails, "Download_Error_01": fails}},
	"SCR-06": {
		scripts: scripts("ArtifactInstall_Enter_02", "ArtifactInstall_Error_02"), exit: "3",
		does: map[string]string{"ArtifactInstall_Enter_01": fails, "ArtifactInstall_Enter_02": fails, "ArtifactInstall_Error_01": fails},
	},
	"SCR-07": {
		scripts: scripts("ArtifactInstall_Error_02"), exit: "3",
		does: map[string]string{"ArtifactInstall": fails, "ArtifactInstall_Error_01": fails},
	},
	"SCR-08": {
		scripts: scripts("ArtifactInstall_Leave_02", "ArtifactInstall_Error_02"), exit: "3",
		does: map[string]string{"ArtifactInstall_Leave_02": fails, "ArtifactInstall_Error_01": fails},
	},
	"SCR-09": {
		scripts: scripts("ArtifactInstall_Enter_02", "ArtifactCommit_Error_02"), exit: "3",
		does: map[string]string{"ArtifactCommit_Enter_01": fails},
	},
	"SCR-10": {
		scripts: scripts("ArtifactInstall_Enter_02", "ArtifactCommit_Error_02"), exit: "3",
		does: map[string]string{"ArtifactCommit": fails},
	},
	"SCR-11": {scripts: scripts("ArtifactInstall_Leave_02"), exit: "3", does: map[string]string{"ArtifactCommit_Leave_01": fails}},
	"SCR-12": {
		scripts: scripts("ArtifactInstall_Leave_02"), exit: "3",
		does: map[string]string{"ArtifactCommit_Leave_01": fails, "ArtifactCommit_Error_01": fails},
	},
	"SCR-13": {
		scripts: without(scripts("Download_Enter_02", "ArtifactInstall_Enter_02", "ArtifactFailure_Enter_02", "ArtifactFailure_Leave_02"), "ArtifactCommit_Error_01"),
		does:    map[string]string{"ArtifactCommit_Enter_01": fails, "ArtifactFailure_Enter_01": fails, "ArtifactFailure_Enter_02": fails},
		exit:    "3",
	},
	"SCR-14": {
		scripts: without(scripts("Download_Enter_02", "ArtifactInstall_Enter_02", "ArtifactFailure_Enter_02", "ArtifactFailure_Leave_02"), "ArtifactCommit_Error_01"),
		does:    map[string]string{"ArtifactCommit_Enter_01": fails, "ArtifactFailure_Leave_01": fails, "ArtifactFailure_Leave_02": fails},
		exit:    "3",
	},
	"SCR-15": {scripts: scripts("ArtifactInstall_Enter_02"), does: canUndo},

	"EXE-01": {scripts: []string{"Download_Enter_01"}},
	"EXE-02": {
		scripts: []string{"Download_Enter_01"}, setup: func(d *device) { d.write("etc/scripts/version", "foobar") },
		check: says(`etc/scripts/version says "foobar"; want 2 or 3`),
	},
	"EXE-03": {
		scripts: []string{"Download_Enter_01"}, setup: func(d *device) { d.write("etc/scripts/version", "2") },
		then: []func(*device){func(d *device) { d.write("etc/scripts/version", "3\n") }},
	},
	"EXE-04": {scripts: []string{"ArtifactInstall_Enter_01"}},
	"EXE-05": {scripts: []string{"ArtifactInstall_Enter_01"}, does: canUndoBut("ArtifactInstall_Enter_01", fails)},
	"EXE-06": {scripts: []string{"ArtifactInstall_Enter_10_b", "ArtifactInstall_Enter_02", "ArtifactInstall_Enter_10_a", "ArtifactInstall_Enter_01"}},
	"EXE-07": {
		scripts: []string{"Download_Enter_01", "Download_Leave_01"},
		calls:   "Download_Enter_01 ProvidePayloadFileSizes Download SupportsRollback Download_Leave_01 ArtifactInstall NeedsArtifactReboot ArtifactCommit Cleanup",
	},
	"EXE-08": {
		scripts: []string{"Download_Error_01", "Download_Error_02"},
		does:    map[string]string{"Download": fails, "Download_Error_01": fails, "Download_Error_02": "exit 2"},
		calls:   "ProvidePayloadFileSizes Download Download_Error_01 Download_Error_02 Cleanup",
		check:   all(says("Download_Error_01: exit status 1"), says("Download_Error_02: exit status 2")),
	},
	"EXE-09": {
		scripts: []string{"ArtifactCommit_Enter_01"}, does: map[string]string{"ArtifactCommit_Enter_01": times("5", "")},
		calls: "ProvidePayloadFileSizes Download SupportsRollback ArtifactInstall NeedsArtifactReboot" +
			strings.Repeat(" ArtifactCommit_Enter_01", 6) + " ArtifactCommit Cleanup",
	},
	"EXE-10": {
		scripts: []string{"Download_Leave_01"}, does: map[string]string{"Download_Leave_01": times("5", fails)},
		calls: "ProvidePayloadFileSizes Download SupportsRollback" + strings.Repeat(" Download_Leave_01", 6) + " Cleanup",
		check: says("state script Download_Leave_01: exit status 1"),
	},
	"EXE-12": {
		scripts: []string{"Download_Leave_01"}, does: map[string]string{"Download_Leave_01": "exit 21"}, setup: impatient,
		calls: "ProvidePayloadFileSizes Download SupportsRollback Download_Leave_01 Cleanup",
		check: says("state script Download_Leave_01: still asked to be run later after 1s"),
	},
	"EXE-14": {
		scripts: []string{"Download_Leave_01", "Download_Leave_02"}, does: map[string]string{"Download_Leave_02": "exit 21"}, setup: impatient,
		calls: "ProvidePayloadFileSizes Download SupportsRollback Download_Leave_01 Download_Leave_02 Cleanup",
		check: says("state script Download_Leave_02: still asked to be run later after 1s"),
	},
	"EXE-16": {
		scripts: []string{"Download_Error_01", "Download_Error_02", "Download_Error_03"}, setup: impatient,
		does:  map[string]string{"Download": fails, "Download_Error_01": fails, "Download_Error_02": "exit 21"},
		calls: "ProvidePayloadFileSizes Download Download_Error_01 Download_Error_02 Download_Error_03 Cleanup",
		check: all(says("Download_Error_01: exit status 1"), says("Download_Error_02: still asked to be run later")),
	},
	"EXE-17": {
		scripts: []string{"Download_Leave_01", "Download_Leave_02", "Download_Leave_03"},
		does:    map[string]string{"Download_Leave_02": times("2", ""), "Download_Leave_03": "exit 42"},
		calls: "ProvidePayloadFileSizes Download SupportsRollback Download_Leave_01" +
			strings.Repeat(" Download_Leave_02", 3) + " Download_Leave_03 Cleanup",
		check: says("state script Download_Leave_03: exit status 42"),
	},
	"EXE-18": {
		scripts: []string{"Download_Leave_01"}, does: map[string]string{"Download_Leave_01": hangs},
		setup: func(d *device) { d.config(map[string]any{"StateScriptTimeoutSeconds": 1}) },
		check: says("state script Download_Leave_01: timed out after 1s"),
	},
	"GOV-01": {
		then: []func(*device){
			func(d *device) { d.remove("etc/scripts") },
			func(d *device) { d.write("etc/scripts/version", "3") },
			func(d *device) {
				write(d.t, d.path("etc/scripts/Download_Enter_01"), recorder(d.t), 0o755)
				d.write("etc/scripts/version", "1")
			},
			func(d *device) { d.remove("etc/scripts/version") },
			func(d *device) { d.write("etc/scripts/version", "foo") },
		},
		exit: "0 ; 0 ; 0 ; 1 ; 0 ; 1", why: "a missing version file means the version that there is, as for the client in C++",
	},
}

// impatient makes flipside give up on a script that keeps asking, soon.
func impatient(d *device) { d.config(map[string]any{"StateScriptRetryTimeoutSeconds": 1}) }

// goScripts are those of the tests of Mender's client in Go.
func goScripts() []string {
	var all []string
	for _, state := range []string{"Download", "ArtifactInstall", "ArtifactCommit", "ArtifactRollback", "ArtifactFailure"} {
		for _, action := range []string{"Enter", "Leave", "Error"} {
			all = append(all, state+"_"+action+"_00")
		}
	}
	return all
}

const (
	whyFailure  = "as Mender's client in C++: whatever is rolled back, the module and the scripts hear of the failure"
	whyCleanup  = "as Mender's client in C++: what was prepared is cleaned up"
	whyNoError  = "as Mender's client in C++: what is committed has no way back for an Error script to go"
	whyHarmless = "that a script fails which runs after the rollback does not undo the rollback (fault 5)"
)

const goInstall = "Download_Enter_00 ProvidePayloadFileSizes Download SupportsRollback Download_Leave_00 " +
	"ArtifactInstall_Enter_00 ArtifactInstall ArtifactInstall_Leave_00 NeedsArtifactReboot"

const goWayBack = "ArtifactRollback_Enter_00 ArtifactRollback ArtifactRollback_Leave_00 " +
	"ArtifactFailure_Enter_00 ArtifactFailure ArtifactFailure_Leave_00 Cleanup"

const (
	previousRelease = "artifact_name=previous, rootfs-image.version=previous"
	testRelease     = "artifact_name=test, rootfs-image.checksum=" + checksum + ", rootfs-image.version=test"
)

// The state machine of Mender's client in Go.
var oldClientRows = map[string]row{
	"GO-01": {scripts: goScripts()},
	"GO-02": {scripts: goScripts(), does: canUndo, state: "installed"},
	"GO-03": {scripts: goScripts(), does: canUndo},
	"GO-04": {scripts: goScripts(), does: canUndo, calls: goInstall + " ; SupportsRollback " + goWayBack, why: whyFailure},
	"GO-05": {
		scripts: goScripts(), does: canUndoBut("Download_Enter_00", fails),
		calls: "Download_Enter_00 Download_Error_00 Cleanup", why: whyCleanup,
	},
	"GO-06": {scripts: goScripts(), does: canUndoBut("Download", fails)},
	"GO-07": {scripts: goScripts(), does: canUndoBut("Download_Leave_00", fails)},
	"GO-08": {scripts: goScripts(), does: canUndoBut("ArtifactInstall_Enter_00", fails)},
	"GO-09": {scripts: goScripts(), does: canUndoBut("ArtifactInstall", fails)},
	"GO-10": {scripts: goScripts(), does: canUndoBut("ArtifactInstall_Leave_00", fails)},
	"GO-11": {scripts: goScripts(), does: canUndoBut("ArtifactCommit_Enter_00", fails)},
	"GO-12": {scripts: goScripts(), does: canUndoBut("ArtifactCommit", fails)},
	"GO-13": {
		scripts: goScripts(), does: canUndoBut("ArtifactCommit_Leave_00", fails), exit: "0 ; 3",
		calls: goInstall + " ; ArtifactCommit_Enter_00 ArtifactCommit ArtifactCommit_Leave_00 Cleanup", why: whyNoError,
	},
	"GO-14": {scripts: goScripts(), does: map[string]string{"ArtifactCommit_Enter_00": fails}, exit: "3"},
	"GO-15": {scripts: goScripts(), does: map[string]string{"ArtifactCommit": fails}, exit: "3"},
	"GO-16": {
		scripts: goScripts(), does: map[string]string{"ArtifactCommit_Leave_00": fails}, exit: "3",
		calls: goInstall + " ArtifactCommit_Enter_00 ArtifactCommit ArtifactCommit_Leave_00 Cleanup", why: whyNoError,
	},
	"GO-17": {scripts: goScripts(), does: canUndoBut("ArtifactRollback_Enter_00", fails), exit: "0 ; 3"},
	"GO-18": {scripts: goScripts(), does: canUndoBut("ArtifactRollback", fails), exit: "0 ; 3"},
	"GO-19": {
		scripts: goScripts(), does: canUndoBut("ArtifactRollback_Leave_00", fails),
		exit: "0 ; 0", provides: previousRelease, why: whyHarmless,
	},
	"GO-20": {scripts: goScripts(), does: canUndoBut("ArtifactInstall", fails, "ArtifactRollback_Enter_00", fails), exit: "3"},
	"GO-21": {scripts: goScripts(), does: canUndoBut("ArtifactInstall", fails, "ArtifactRollback", fails), exit: "3"},
	"GO-22": {
		scripts: goScripts(), does: canUndoBut("ArtifactInstall", fails, "ArtifactRollback_Leave_00", fails),
		provides: previousRelease, why: whyHarmless,
	},
	"GO-23": {scripts: goScripts(), does: canUndoBut("Download", hangs), setup: shortModules},
	"GO-24": {scripts: goScripts(), does: canUndoBut("ArtifactInstall", hangs), setup: shortModules},

	"GOP-01": {does: canUndo, setup: initially(artifact.Provides{"artifact_name": "previous"}), artifact: brings("v1", "rootfs-image.*")},
	"GOP-02": {does: canUndo, setup: initially(artifact.Provides{"artifact_name": "previous", "rootfs-image.version": "v0"}), artifact: brings("v1", "rootfs-image.*")},
	"GOP-03": {
		does: canUndo, setup: initially(artifact.Provides{"artifact_name": "previous", "rootfs-image.version": "v1"}),
		artifact: func(s *artifact.Spec) {
			s.SoftwareVersion, s.Provides, s.ClearsProvides = "", artifact.Provides{"rootfs-image.single-file.version": "v1"}, []string{"rootfs-image.single-file.*"}
		},
	},
	"GOP-04": {artifact: func(s *artifact.Spec) {
		nullPayload(s)
		s.Provides, s.ClearsProvides = artifact.Provides{"rootfs-image.version": "vBoot"}, []string{"rootfs-image.*"}
	}},
	"GOP-05": {does: canUndo, setup: initially(inGroup("old")), artifact: brings("v1", "rootfs-image.*")},
	"GOP-06": {does: canUndo, setup: initially(inGroup("old")), artifact: inNew(brings("v1", "rootfs-image.*"))},
	"GOP-07": {does: canUndo, artifact: inNew(brings("v1", "rootfs-image.*"))},
	"GOP-08": {does: canUndo, setup: initially(inGroup("old")), artifact: brings("v1", "rootfs-image.*", "artifact_group")},
	"GOP-09": {does: canUndo, setup: initially(inGroup("old")), artifact: inNew(brings("v1", "rootfs-image.*", "artifact_group"))},
	"GOP-10": {does: canUndo, artifact: inNew(brings("v1", "rootfs-image.*", "artifact_group"))},
	"GOP-11": {
		does: canUndo, artifact: brings("v1", `rootfs-image.*\`), exit: "0 ; 0",
		provides: "artifact_name=test, rootfs-image.version=v1", why: "as Mender's client in C++: only * is special in a pattern",
	},
	"GOP-12": {does: canUndo, setup: initially(inGroup("old")), artifact: brings("v1")},
}

// shortModules makes flipside give up soon on a module that takes long.
func shortModules(d *device) { d.config(map[string]any{"ModuleTimeoutSeconds": 1}) }

// brings makes an artifact provide a version of the root file system, and clear what the patterns
// say; none leave that out.
func brings(version string, clears ...string) func(*artifact.Spec) {
	return func(s *artifact.Spec) {
		s.SoftwareVersion, s.Provides, s.ClearsProvides = "", artifact.Provides{"rootfs-image.version": version}, clears
	}
}

func inGroup(group string) artifact.Provides {
	return artifact.Provides{"artifact_name": "previous", "artifact_group": group, "rootfs-image.version": "v0"}
}

func inNew(change func(*artifact.Spec)) func(*artifact.Spec) {
	return func(s *artifact.Spec) {
		change(s)
		s.Group = "new"
	}
}
