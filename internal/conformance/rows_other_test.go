package conformance_test

// Configuration and sources.
var otherRows = map[string]row{
	"CFG-04": {
		setup: func(d *device) {
			d.write("var/mender.conf", `{"ModuleTimeoutSeconds": 5}`)
			d.write("etc/mender.conf", `{"ModuleTimeoutSeconds": 6,`)
			d.broken = true
		},
		exit: "1", why: whyClosed, check: says("etc/mender.conf: it is not JSON"),
	},
	"CFG-13": {
		setup: func(d *device) {
			d.write("var/mender.conf", `{"RootfsHandler": "native", "ModuleTimeoutSeconds": 5}`)
		},
	},
	"CFG-07": {setup: func(d *device) {
		d.write("etc/mender.conf", `{"Servers": [{"ServerURL": "a"}], "ServerURL": "b", "RootfsHandler": "module"}`)
	}},
	"CFG-09": {setup: func(d *device) {
		d.write("etc/mender.conf", `{"rootfsHandler": "magic", "RootfsHandler": "native", "RootfsHandler": "native", "rOOTFSHANDLER": "module"}`)
	}},
	// A server that is not there is waited for; see internal/source.
	"GOD-02": {setup: func(d *device) {
		d.config(map[string]any{"HttpsClient": map[string]string{"Certificate": "/nonexistent", "Key": "/nonexistent"}})
		d.url = "https://127.0.0.1:1/A.mender"
	}, check: says("no such file or directory", "/nonexistent")},
	"GOD-03": {does: canUndoBut("NeedsArtifactReboot", yes), state: "installed"},
}

// elsewhere says which test accounts for a scenario that none of the tests here runs.
var elsewhere = map[string]string{
	"CLR-17": "artifact.TestClearsProvides", // a key without a name is nothing that an artifact can bring
	"CLR-19": "artifact.TestClearsProvides",
	"CLR-20": "artifact.TestClearsProvides",
	"CLR-21": "artifact.TestClearsProvides",
	"CFG-01": "internal/script.TestZeroTimes",
	"CFG-02": "internal/device.TestConfigMerges",
	"CFG-03": "internal/device.TestConfigMerges",
	"CFG-05": "internal/device.TestConfigMerges",
	"CFG-06": "internal/device.TestConfigFailsClosed",
	"CFG-08": "internal/device.TestConfigMerges",
	"CFG-11": "internal/cmdline.TestArrange",
	"CFG-12": "internal/source.TestProxyChoice",
	"EXE-11": "internal/script.TestRetryTimeout",
	"EXE-13": "internal/script.TestRetryTimeout",
	"EXE-15": "internal/script.TestRetryTimeout",
}

// notOurs says why a scenario is none of flipside's business.
var notOurs = map[string]string{
	"UM-21":  "nobody calls ArtifactReboot where the reboot is the operator's",
	"CFG-10": "DeviceTier is about Mender's orchestrator",
	"CFG-14": "DaemonLogLevel is the daemon's; --log-level says how much flipside tells",
}
