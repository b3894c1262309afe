package conformance_test

import (
	"testing"

	"flipside/artifact"
)

// TestOwn is what neither table has, in the same form: what Mender's client cannot do, or was never
// seen to do.
func TestOwn(t *testing.T) {
	const stored = "Installing artifact... | Streamed to storage, but not installed/enabled."
	for name, own := range map[string]struct {
		commands []string
		row      row
	}{
		"stops are for the update that is asked for": {[]string{"install A", "install --stop-before Cleanup A"}, row{
			does: map[string]string{"Download": killed}, exit: "killed ; 0", state: "cleaning",
			calls: "ProvidePayloadFileSizes Download ; " +
				"Cleanup ProvidePayloadFileSizes Download SupportsRollback ArtifactInstall NeedsArtifactReboot ArtifactCommit",
		}},
		"commit needs no device type": {[]string{"install A", "commit"}, row{
			does: canUndo, then: []func(*device){deviceTypeFile("")}, exit: "0 ; 0", provides: testRelease,
		}},
		"rollback needs no device type": {[]string{"install A", "rollback"}, row{
			does: canUndo, then: []func(*device){deviceTypeFile("")}, exit: "0 ; 0", provides: previousRelease,
		}},
		"commit needs no keys": {[]string{"install A", "commit"}, row{
			does: canUndo, exit: "0 ; 0", provides: testRelease,
			then: []func(*device){func(d *device) {
				d.config(map[string]any{"ArtifactVerifyKey": "/nonexistent"})
			}},
		}},
		// The operator asked for the rollback, so it is no failure; that it failed is.
		"a failed rollback fails after a power loss": {[]string{"install A", "rollback", "resume"}, row{
			does: canUndoBut("ArtifactRollback", fails, "ArtifactFailure", killed), exit: "0 ; killed ; 3",
			calls: "ProvidePayloadFileSizes Download SupportsRollback ArtifactInstall NeedsArtifactReboot ; " +
				"SupportsRollback ArtifactRollback ArtifactFailure ; ArtifactFailure Cleanup",
			stdout: "Installing artifact... | " + uncommitted + " ; - ; -", provides: brokenRelease,
			check: says("", "", "update module rootfs-image, ArtifactRollback: exit status 1"),
		}},
		"the first cause is told after a power loss": {[]string{"install A", "resume"}, row{
			does: canUndoBut("ArtifactInstall", fails, "ArtifactRollback", killed), exit: "killed ; 1", provides: previousRelease,
			check: says("", "update module rootfs-image, ArtifactInstall: exit status 1"),
		}},
		"stop before Download_Leave": {[]string{"install --stop-before Download_Leave A", "resume --stop-before Download_Leave", "resume"}, row{
			scripts: []string{"Download_Leave_00"}, does: canUndo, exit: "0 ; 0 ; 0", state: "installed",
			calls:  "ProvidePayloadFileSizes Download SupportsRollback ; - ; Download_Leave_00 ArtifactInstall NeedsArtifactReboot",
			stdout: stored + " ; - ; " + uncommitted,
		}},
		"an update that is only stored is dropped": {[]string{"install --stop-before Download_Leave A", "rollback", "rollback"}, row{
			exit: "0 ; 0 ; 2", calls: "ProvidePayloadFileSizes Download SupportsRollback ; Cleanup ; -",
			stdout: stored + " ; System not modified. ; No update in progress.", provides: previousRelease,
		}},
		"options may stand behind": {[]string{"install A --reboot-exit-code", "resume --reboot-exit-code"}, row{
			does: canUndoBut("NeedsArtifactReboot", yes), exit: "4 ; 4", state: "installed",
		}},
		"the oldest spelling":       {[]string{"-install A", "-commit"}, row{does: canUndo, exit: "0 ; 0", provides: testRelease}},
		"standard input is no file": {[]string{"install - A"}, row{exit: "1", stdout: nothing, check: says("too many arguments")}},
		"nothing is left of an artifact that does not fit": {[]string{"install A"}, row{
			artifact: func(s *artifact.Spec) {
				s.Depends["artifact_name"] = []string{"other"}
				s.Scripts = []artifact.Script{{Name: "ArtifactInstall_Enter_00", Content: []byte("#!/bin/sh\n")}}
			},
			exit: "7", check: func(d *device, _ []ran) {
				for _, name := range []string{"var/scripts", "var/modules"} {
					if exists(d.t, d.path(name)) {
						d.t.Errorf("%s is left", name)
					}
				}
			},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own.row.run(t, scenario{id: name, client: "flipside", commands: own.commands})
		})
	}
}

// TestFaults accounts for all that is known to be wrong with Mender's client. Other tests refer to
// the numbers.
func TestFaults(t *testing.T) {
	rows := allRows(t)
	for i, f := range faults {
		if f.number != i+1 || f.text == "" {
			t.Errorf("fault %d stands where %d should, or has no text", f.number, i+1)
		}
		if _, here := rows[f.test]; !here && !testExists(t, f.test) {
			t.Errorf("fault %d: there is no test %s", f.number, f.test)
		}
	}
}

// fault is one of Mender's client, and the scenario or test that shows that flipside does not have it.
type fault struct {
	number int
	text   string
	test   string
}

var faults = []fault{
	{1, "an update that failed and was stopped on its way back is recorded as good by the next resume", "STOP-11"},
	{2, "after a power loss a module that cannot roll back is said to have rolled back", "LOSS-03"},
	{3, "a commit that rolls back exits with 0", "LOSS-09"},
	{4, "resume commits what nobody has decided on", "LOSS-07"},
	{5, "a failing script whose failure means nothing makes later steps fail", "FAULT-05"},
	{6, "cleaning up failed, so the artifact's name says that the device is broken", "CLI-25"},
	{7, "provides that are cleared altogether stay", "FAULT-07"},
	{8, "patterns match what they should not, or crash the client", "FAULT-08b"},
	{9, "an empty artifact name is taken, and then nothing works any more", "FAULT-09"},
	{10, "a damaged record makes every command fail, without a word on the way out", "FAULT-10"},
	{11, "what was only downloaded cannot be dropped", "STOP-17"},
	{12, "what was never installed is rolled back", "STOP-16"},
	{13, "a failed cleanup hides what failed before", "OUT-03"},
	{14, "what failed is not said if it was a question", "UM-27"},
	{15, "a failure is not explained at all", "OUT-19"},
	{16, "the help for a wrong command line goes to standard output", "CLI-01"},
	{17, "two sentences stand on one line", "OUT-05"},
	{18, "a missing module is only found when the update has begun", "OUT-15"},
	{19, "show-provides has no order", "CLI-06"},
	{20, "an empty payload file crashes the client", "FAULT-20"},
	{21, "a header without payloads crashes the client", "HDR-17"},
	{22, "some values of NO_PROXY crash the client", "internal/source.TestNoProxy"},
	{23, "two installs at a time destroy each other", "internal/conformance.TestScheduled"},
	{24, "a module that asks twice for one file waits for hours", "internal/module.TestModulesThatHang"},
	{25, "a child in the background holds the client up", "internal/proc.TestBackgroundChild"},
	{26, "a script that takes too long goes on in parallel with what follows", "internal/proc.TestTimeout"},
	{27, "a timeout of 0 means at once", "internal/script.TestZeroTimes"},
	{28, "one script that keeps asking to be run later keeps the others from being run", "EXE-16"},
	{29, "an answer must come in one piece; one that cannot be understood breaks the device", "UM-29"},
	{30, "what is killed when is not what the manual says", "internal/proc.TestStopping"},
	{31, "modules may not be links", "FAULT-31"},
	{32, "the work tree stays if the artifact does not fit", "CTX-19"},
	{33, "state scripts are stored before they are verified", "artifact.TestVerifyUsesNothingUnsigned"},
	{34, "modules and scripts can wait for the terminal", "internal/proc.TestStdin"},
	{35, "a commit before the reboot throws the update away", "FAULT-35"},
	{36, "a second file is noticed when the first is written", "internal/slot.TestRootfsDownloadRefuses"},
	{37, "a mistake in the configuration switches the signatures off", "FAULT-37b"},
	{38, "the signature of the bootstrap artifact is not checked", "BOOT-04"},
	{39, "the manifest need not list the header, and may list what is not there", "FAULT-39"},
	{40, "a module has seen a wrong payload before anybody knows that it is wrong", "UM-34"},
	{41, "an artifact without payload is not matched with the device", "FAULT-41"},
	{42, "the payload's type is said twice, and not compared", "FAULT-42"},
	{43, "lists in the depends of type-info are refused", "FAULT-43"},
	{44, "a signature that ends with a newline is refused", "artifact.TestVerifyOpenSSL"},
	{45, "two files of one name overwrite each other", "FAULT-45"},
	{46, "a blank line in device_type breaks every update", "CTX-12"},
	{47, "an empty key option refuses unsigned artifacts, and does not say why", "internal/device.TestConfigFailsClosed"},
	{48, "a broken transfer is given up, redirects are not followed", "internal/source.TestResumeAfterACutAnywhere"},
	{49, "connecting can take for ever", "internal/source.TestConnectTime"},
	{50, "proxy variables that are strange make every command fail", "FAULT-50"},
	{51, "a server behind a proxy is called by the proxy's name", "internal/source.TestThroughAProxy"},
	{52, "a client certificate is loaded where none is used", "internal/source.TestTLSFiles"},
	{53, "some URLs cannot be used", "internal/source.TestBlanksAndIPv6InURLs"},
}
