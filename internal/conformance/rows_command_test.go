package conformance_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"flipside/artifact"
)

// What modules do.
var (
	yes     = "echo Yes"
	no      = "echo No"
	fails   = "exit 1"
	canUndo = map[string]string{"SupportsRollback": yes}
)

// canUndoBut is canUndo, and does something in these states: name and shell, in turns.
func canUndoBut(state, what string, more ...string) map[string]string {
	all := map[string]string{"SupportsRollback": yes, state: what}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// Reasons for differences.
const (
	whyUsage         = "standard output is for results: what is wrong with a command line, and the way to the help, go to standard error"
	whyUndecided     = "resume decides nothing: in a boot script it would commit every update before anybody saw it work"
	whyCleanName     = "that cleaning up failed says nothing about the update, which is committed: its name stays clean"
	whyBefore        = "an artifact is looked at before anything is said or done about it"
	whyClientsRecord = "an update that Mender's client has begun is that client's to end: flipside says so, and touches nothing"
	whyLooking       = "show-provides only looks: the bootstrap artifact counts until something is recorded, and stays"
)

func initially(provides artifact.Provides) func(*device) {
	return func(d *device) { d.provides(provides) }
}

func never(d *device) { d.remove("var/bootstrap.mender") }

// The commands, as Mender's client tests them. Its update module is one for rootfs-image.
var commandRows = map[string]row{
	"CLI-01": {stdout: nothing, why: whyUsage},
	"CLI-02": {setup: never},
	"CLI-03": {setup: initially(artifact.Provides{"artifact_name": "my-name"})},
	"CLI-04": {stdout: nothing, why: whyUsage, check: says("no such option: --bogus-option")},
	"CLI-05": {stdout: nothing, why: whyUsage, check: says(`unexpected argument "bogus-argument"`)},
	"CLI-06": {setup: initially(artifact.Provides{"artifact_name": "my-name", "artifact_group": "my-group", "rootfs-image.version": "1", "single-file.version": "2"})},
	"CLI-07": {stdout: "- ; -", why: whyUsage, check: says("no such option: --bogus-option", `unexpected argument "bogus-argument"`)},
	"CLI-08": {},
	"CLI-09": {},
	"CLI-10": {
		setup: func(d *device) {
			d.flipside("install", d.path("A.mender"))
			d.calls()
			d.installs("A2", func(s *artifact.Spec) {
				s.Depends["artifact_name"] = []string{"test"}
				s.Depends["rootfs-image.checksum"] = []string{"notyourcorrectchecksum"}
			}, nil)
		},
		exit: "7", stdout: "Streaming failed. | System not modified.", why: whyBefore,
		check: says("artifact depends on rootfs-image.checksum"),
	},
	"CLI-11": {does: map[string]string{"ProvidePayloadFileSizes": yes, "Download": fails}},
	"CLI-12": {does: canUndo},
	"CLI-13": {does: canUndo},
	"CLI-14": {does: canUndoBut("ArtifactInstall", fails)},
	"CLI-15": {does: canUndoBut("Download", fails), check: says("update module rootfs-image, Download: exit status 1")},
	"CLI-16": {does: canUndoBut("ArtifactInstall", fails, "ArtifactRollback", fails), exit: "3"},
	"CLI-17": {does: map[string]string{"ArtifactInstall": fails}, exit: "3"},
	"CLI-18": {
		does: map[string]string{"ArtifactInstall": fails},
		setup: func(d *device) {
			d.flipside("install", d.path("A.mender"))
			d.calls()
			d.remove("does")
		},
	},
	"CLI-19": {},
	"CLI-20": {
		does: canUndo, then: []func(d *device){func(d *device) { d.does(map[string]string{"SupportsRollback": no}) }},
		state: "installed",
	},
	"CLI-21": {does: map[string]string{"NeedsArtifactReboot": yes}},
	"CLI-22": {does: map[string]string{"NeedsArtifactReboot": yes}},
	"CLI-23": {does: canUndo, exit: "0 ; 5", provides: previousRelease, state: "installed"},
	"CLI-24": {does: canUndoBut("ArtifactRollback", fails), exit: "0 ; 3 ; 2"},
	"CLI-25": {
		does: map[string]string{"Cleanup": fails}, why: whyCleanName,
		provides: "artifact_name=test, rootfs-image.checksum=" + checksum + ", rootfs-image.version=test",
	},
	"CLI-26": {does: canUndoBut("ArtifactInstall", fails, "ArtifactFailure", fails), exit: "3"},
	"CLI-27": {stdout: nothing, why: whyUsage, check: says("too many arguments: artifact2")},
	"CLI-28": {stdout: nothing, why: whyUsage, check: says("install needs a path to an artifact")},
	"CLI-29": {stdout: nothing, why: whyUsage, check: says("no such option: --bogus")},
	"CLI-30": {does: canUndo, artifact: func(s *artifact.Spec) { s.SoftwareVersion = "" }},
	"CLI-33": {artifact: nullPayload},
	"CLI-34": {setup: serve},
	"CLI-35": {
		does: canUndo, why: whyUndecided, state: "installed",
		calls:    "ProvidePayloadFileSizes Download SupportsRollback ; - ; ArtifactInstall NeedsArtifactReboot ; -",
		stdout:   "Installing artifact... | Streamed to storage, but not installed/enabled. ; - ; " + uncommitted + " ; " + uncommitted,
		provides: "artifact_name=previous, rootfs-image.version=previous",
	},
	"CLI-36": {},
	"CLI-37": {scripts: []string{"ArtifactCommit_Leave_00"}},
	"CLI-38": {does: canUndo},
	"CLI-39": {does: canUndoBut("ArtifactInstall", fails)},
	"CLI-40": {
		exit: "0 ; 0", stdout: "flipside version development ; flipside version development",
		why: "--version is a question that can be answered, whatever else is on the line",
	},
	"CLI-41": {check: func(d *device, runs []ran) {
		if !strings.Contains(runs[0].stdout, "update embedded Linux devices") {
			d.t.Errorf("the help is %q", runs[0].stdout)
		}
	}},
	"BOOT-01": {setup: func(d *device) { d.provides(artifact.Provides{"artifact_name": "test"}) }, check: keepsBootstrap},
	"BOOT-02": {setup: never},
	"BOOT-03": {setup: func(d *device) { d.clientsStore(map[string]string{"artifact-name": "foobar"}) }, check: keepsBootstrap},
	"BOOT-04": {
		setup: func(d *device) {
			d.config(map[string]any{"ArtifactVerifyKey": testKey(d.t, "rsa.pub")})
			d.provides(artifact.Provides{"artifact_name": "test"})
		},
		stdout: "artifact_name=unknown", provides: "artifact_name=unknown", check: says("artifact is not signed"),
		why: "with keys configured nothing is taken that none of them has signed",
	},
	"BOOT-05": {
		setup: func(d *device) {
			d.config(map[string]any{"ArtifactVerifyKey": testKey(d.t, "rsa.pub")})
			d.artifact("var/bootstrap.mender", artifact.Spec{Name: "test", Depends: forTest(), Provides: artifact.Provides{}, Key: signer(d.t, "rsa.key")})
		},
	},
}

// checksum is that of the payload of the artifact A.
const checksum = "f2ca1bb6c7e907d06dafe4687e579fce76b37e4e93b7605022da52e6ccc26fd2"

const uncommitted = "Installed, but not committed. | Use 'commit' to update, or 'rollback' to roll back the update."

// says checks that each run says its text on standard error.
func says(texts ...string) func(*device, []ran) {
	return func(d *device, runs []ran) {
		for i, text := range texts {
			if !strings.Contains(runs[i].stderr, text) {
				d.t.Errorf("command %d: standard error:\n%s\nwant in it: %s", i+1, runs[i].stderr, text)
			}
		}
	}
}

// keepsBootstrap: looking at the device changes nothing on it.
func keepsBootstrap(d *device, _ []ran) {
	if !exists(d.t, d.path("var/bootstrap.mender")) {
		d.t.Error("bootstrap.mender is gone; want it there: " + whyLooking)
	}
}

func nullPayload(s *artifact.Spec) {
	*s = artifact.Spec{Name: "test", Depends: s.Depends, Provides: artifact.Provides{}}
}

// serve puts the artifact A on a web server.
func serve(d *device) {
	s := httptest.NewServer(http.FileServer(http.Dir(d.dir)))
	d.t.Cleanup(s.Close)
	d.url = s.URL + "/A.mender"
}

const keys = "../../testdata/artifacts/keys"

func testKey(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(keys, name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
