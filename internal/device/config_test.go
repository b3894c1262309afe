package device_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flipside/artifact"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/disk"
	"flipside/internal/progress"
)

// layout makes a device's directories and returns the options to open it.
func layout(t *testing.T, files map[string]string) device.Options {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	return device.Options{
		FS: disk.OS{}, Sink: progress.Discard,
		ConfDir: filepath.Join(dir, "etc"), Datastore: filepath.Join(dir, "data"), DataDir: filepath.Join(dir, "share"),
	}
}

func TestConfigMerges(t *testing.T) {
	d, err := device.Open(layout(t, map[string]string{
		"data/mender.conf": `{"RootfsPartA": "/dev/a2", "RootfsPartB": "/dev/b3", "ArtifactVerifyKey": "old.pem", "ModuleTimeoutSeconds": 5}`,
		"etc/mender.conf":  "\xef\xbb\xbf" + `{"rootfsparta": "/dev/c2", "ArtifactVerifyKeys": ["1.pem", "2.pem"], "ServerURL": 7}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	c := d.Config
	if c.RootfsPartA != "/dev/c2" || c.RootfsPartB != "/dev/b3" || c.ModuleTimeoutSeconds != 5 {
		t.Errorf("merged configuration is %+v", c)
	}
	if c.ArtifactVerifyKey != "" || len(c.ArtifactVerifyKeys) != 2 {
		t.Errorf("keys are %q and %q; want the main file's two only", c.ArtifactVerifyKey, c.ArtifactVerifyKeys)
	}
}

// TestConfigFailsClosed: nothing that is wrong with a configuration may end in a device that
// takes unsigned artifacts.
func TestConfigFailsClosed(t *testing.T) {
	for name, conf := range map[string]string{
		"empty file":       "",
		"comment":          "// keys\n{}",
		"syntax":           `{"ArtifactVerifyKey": "k.pem",}`,
		"string for list":  `{"ArtifactVerifyKeys": "k.pem"}`,
		"list for string":  `{"ArtifactVerifyKey": ["k.pem"]}`,
		"empty key":        `{"ArtifactVerifyKey": ""}`,
		"both":             `{"ArtifactVerifyKey": "k.pem", "ArtifactVerifyKeys": ["k.pem"]}`,
		"trailing":         `{} {}`,
		"unknown handler":  `{"RootfsHandler": "magic"}`,
		"half of programs": `{"BootEnvSet": ["fw_setenv"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := device.Open(layout(t, map[string]string{"etc/mender.conf": conf}))
			if err == nil || !strings.Contains(err.Error(), "configuration") {
				t.Errorf("Open with %s: %v; want a configuration error", conf, err)
			}
		})
	}
}

func TestConfigMissing(t *testing.T) {
	o := layout(t, nil)
	if _, err := device.Open(o); err != nil {
		t.Errorf("Open without configuration files: %v", err)
	}
	o.ConfFile = filepath.Join(o.ConfDir, "elsewhere.conf")
	if _, err := device.Open(o); err == nil {
		t.Error("Open with a missing --config succeeded")
	}
}

func TestKeysFailClosed(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"missing":  {"etc/mender.conf": `{"ArtifactVerifyKey": "/nonexistent.pem"}`},
		"no paths": {"etc/mender.conf": `{"ArtifactVerifyKeys": [""]}`},
	} {
		d, err := device.Open(layout(t, files))
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := d.Keys(); err == nil {
			t.Errorf("%s: Keys = %d keys; want an error", name, len(keys))
		}
	}
}

func TestDeviceType(t *testing.T) {
	for content, want := range map[string]string{
		"device_type=beaglebone\n":                    "beaglebone",
		"device_type=beaglebone":                      "beaglebone",
		"# a comment\r\n\r\ndevice_type=rpi4\r\n\r\n": "rpi4",
		"other=1\n device_type= two words \n":         "two words",
		"":                                            "",
		"device_type=\n":                              "",
		"device_type=a\ndevice_type=b":                "",
		"Device_Type=a\n":                             "",
	} {
		d, err := device.Open(layout(t, map[string]string{"data/device_type": content}))
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Type()
		if got != want || (err == nil) != (want != "") {
			t.Errorf("device_type file %q: %q, %v; want %q", content, got, err, want)
		}
	}
}

func TestInitialProvides(t *testing.T) {
	d, err := device.Open(layout(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := d.ArtifactName(); got != "unknown" {
		t.Errorf("artifact name of a fresh device is %q; want unknown", got)
	}
	d, err = device.Open(layout(t, map[string]string{"etc/artifact_info": "artifact_name=factory-7\n"}))
	if err != nil {
		t.Fatal(err)
	}
	if got := d.ArtifactName(); got != "factory-7" {
		t.Errorf("artifact name is %q; want that of artifact_info", got)
	}
}

// TestLockLooksAgain: what another process did before the lock was free counts.
func TestLockLooksAgain(t *testing.T) {
	o := layout(t, map[string]string{"data/device_type": "device_type=test\n"})
	open := func() *device.Device {
		t.Helper()
		d, err := device.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	early, other := open(), open()
	lock, err := other.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := early.Lock(); err == nil {
		t.Fatal("two locks at a time")
	}
	x := null(t, other)
	if err := x.Adopt(); err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if lock, err = early.Lock(); err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if got := early.ArtifactName(); got != "release-2" {
		t.Errorf("artifact name with the lock held is %q; want that of the other process", got)
	}
}

// null is a deployment without a payload.
func null(t *testing.T, d *device.Device) *device.Deployment {
	t.Helper()
	x, err := d.Begin(t.Context(), &artifact.Header{Name: "release-2", Payloads: []artifact.PayloadHeader{{}}})
	if err != nil {
		t.Fatal(err)
	}
	x.Record.Outcome = deployment.Succeeded
	return x
}
