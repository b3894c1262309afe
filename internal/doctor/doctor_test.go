package doctor_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flipside/bootenv"
	"flipside/internal/deployment"
	"flipside/internal/doctor"
)

func TestHealthy(t *testing.T) {
	for name, make := range map[string]func(*testing.T) *fixture{"U-Boot": healthy, "partitions": metal, "GRUB": grub} {
		t.Run(name, func(t *testing.T) {
			f := make(t)
			for _, how := range []bool{false, true} {
				f.how.WriteTest = how
				d := f.examine()
				if !d.Healthy() || len(bad(d)) > 0 {
					t.Errorf("write test %v: %+v; want nothing", how, bad(d))
				}
				for _, found := range d.Findings {
					if found.Fix != "" {
						t.Errorf("%+v: nothing is wrong, and it has a fix", found)
					}
				}
			}
		})
	}
}

// TestKernel asks this machine's kernel, and not the fixture.
func TestKernel(t *testing.T) {
	f := healthy(t)
	f.how = doctor.Options{}
	if d := f.examine(); !d.Healthy() {
		t.Errorf("Examine = %+v; want no problems", bad(d))
	}
}

func TestFound(t *testing.T) {
	f := healthy(t)
	d := f.examine()
	for check, want := range map[string]string{
		doctor.Configuration: f.path(conf) + " was read",
		doctor.Keys:          "verify-key.pem verifies artifacts",
		doctor.DataDirectory: "has room for 100 MiB",
		doctor.DeviceType:    "sandbox",
		doctor.Slots:         "mmcblk0p2) is a file of 1 MiB; slot B",
		doctor.ActiveSlot:    "slot A (" + f.path("dev/mmcblk0p2") + ") runs: " + f.path("run/root") + " designates it",
		doctor.InactiveSlot:  "mmcblk0p3) is free",
		doctor.Environment:   "U-Boot, two copies, from " + f.path("etc/fw_env.config"),
		doctor.Canary:        "U-Boot has saved",
		doctor.Selection:     "starts slot A",
		doctor.Fallback:      "when a trial has had 1 boot ",
		doctor.Modules:       "single-file",
		doctor.Scripts:       "Download_Enter_05_wifi",
		doctor.Clock:         "2026-07-01",
	} {
		if got := find(t, d, check); got.Level != doctor.OK || !strings.Contains(got.Text, want) {
			t.Errorf("%s: %+v; want %q", check, got, want)
		}
	}
	inEffect := false
	for _, found := range d.Findings {
		inEffect = inEffect || found.Check == doctor.Configuration && strings.Contains(found.Text, "RootfsPartA="+f.path("dev/mmcblk0p2")+", RootfsPartB=")
	}
	if !inEffect {
		t.Errorf("%+v: the values in effect are not among them", d.Findings)
	}
}

// TestNothingChanges: without the write test, whatever is wrong.
func TestNothingChanges(t *testing.T) {
	for name, hurt := range map[string]func(*fixture){
		"healthy":     func(*fixture) {},
		"environment": func(f *fixture) { f.scratch(0) },
		"state":       func(f *fixture) { f.deploy(deployment.Downloading); f.write(state+"state-1.json", "{") },
		"leftovers":   func(f *fixture) { f.mkdir(data + "scripts.new"); f.mkdir(data + "modules/v3/payloads/0000/tree") },
		"trial":       func(f *fixture) { f.setenv(bootenv.Vars{"upgrade_available": "1"}); f.how.WriteTest = true },
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy(t)
			f.mkdir(state)
			f.write(state+"lock", "")
			hurt(f)
			before := tree(t, f.dir)
			f.examine()
			after := tree(t, f.dir)
			delete(before, "var/lib/mender/flipside/lock") // the write test says in it who it is
			delete(after, "var/lib/mender/flipside/lock")
			if !maps.Equal(before, after) {
				t.Errorf("the device changed: %v; want %v", after, before)
			}
		})
	}
}

// tree is all that a device has, by path.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		what := fmt.Sprint(info.Mode(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %x", sha256.Sum256(content))
		}
		name, err := filepath.Rel(dir, path)
		all[name] = what
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWriteTest(t *testing.T) {
	for name, make := range map[string]func(*testing.T) *fixture{"U-Boot": healthy, "GRUB": grub} {
		t.Run(name, func(t *testing.T) {
			f := make(t)
			f.setenv(bootenv.Vars{"flipside_doctor": "left behind"})
			before, err := f.env().Read(t.Context())
			f.must(err)
			f.how.WriteTest = true
			d := f.examine()
			if got := find(t, d, doctor.WriteTest); got.Level != doctor.OK {
				t.Errorf("Examine = %+v; want ok", got)
			}
			after, err := f.env().Read(t.Context())
			f.must(err)
			delete(before, "flipside_doctor")
			if !maps.Equal(before, after) {
				t.Errorf("the environment is %v; want %v", after, before)
			}
		})
	}
}

func TestWriteTestRepairs(t *testing.T) {
	f := healthy(t)
	f.scratch(0)
	f.how.WriteTest = true
	if d := f.examine(); find(t, d, doctor.WriteTest).Level != doctor.OK || len(bad(d)) != 1 {
		t.Fatalf("Examine = %+v; want a warning of the copy and a good write test", bad(d))
	}
	if d := f.examine(); len(bad(d)) > 0 {
		t.Errorf("afterwards %+v; want nothing", bad(d))
	}
}

func TestWriteTestRefused(t *testing.T) {
	for name, test := range map[string]struct {
		hurt  func(*fixture)
		level doctor.Level
		text  string
	}{
		"on trial":       {func(f *fixture) { f.setenv(bootenv.Vars{"upgrade_available": "1"}) }, doctor.Warning, "on trial"},
		"in progress":    {func(f *fixture) { f.deploy(deployment.Downloading) }, doctor.Warning, "release-2 is in progress"},
		"no environment": {func(f *fixture) { f.remove("etc/fw_env.config") }, doctor.Warning, "cannot be read"},
		"broken":         {func(f *fixture) { f.key("ModuleTimeoutSeconds", "soon") }, doctor.Warning, "the configuration is broken"},
		"forbidden":      {func(f *fixture) { f.setenv(bootenv.Vars{".flags": "flipside_doctor:sr"}) }, doctor.Problem, "forbids"},
		"no program that works": {func(f *fixture) {
			f.write("vars", "mender_boot_part=2\nupgrade_available=0\n")
			f.key("BootEnvPrint", []string{"cat", f.path("vars")})
			f.key("BootEnvSet", []string{"false"})
		}, doctor.Problem, "false"},
		"at work": {func(f *fixture) {
			lock, err := deployment.Acquire(f.path(state), "flipside install x")
			f.must(err)
			f.t.Cleanup(func() { f.must(lock.Release()) })
		}, doctor.Warning, "flipside install x"},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy(t)
			test.hurt(f)
			f.how.WriteTest = true
			got := find(t, f.examine(), doctor.WriteTest)
			if got.Level != test.level || got.Fix == "" || !strings.Contains(got.Text, test.text) {
				t.Errorf("Examine = %+v; want %s: %q", got, test.level, test.text)
			}
			env, err := os.ReadFile(f.path("dev/uboot-env"))
			f.must(err)
			if strings.Contains(string(env), "flipside_doctor=") {
				t.Error("the environment has the variable of the write test")
			}
		})
	}
}

// TestEverythingBroken: there is still a diagnosis.
func TestEverythingBroken(t *testing.T) {
	f := healthy(t)
	f.write(conf, "{")
	f.remove(data)
	f.remove("run/boot_id")
	d := f.examine()
	for _, check := range []string{doctor.Configuration, doctor.DataDirectory, doctor.DeviceType, doctor.BootID} {
		if got := find(t, d, check); got.Level != doctor.Problem || got.Fix == "" {
			t.Errorf("%+v; want a problem with a fix", got)
		}
	}
	if d.Healthy() {
		t.Error("Healthy = true")
	}
}

func TestPrint(t *testing.T) {
	d := doctor.Diagnosis{Findings: []doctor.Finding{
		{Check: doctor.DeviceType, Level: doctor.OK, Text: "raspberrypi4"},
		{Check: doctor.Canary, Level: doctor.Problem, Text: "U-Boot never saved this environment", Fix: "correct fw_env.config"},
		{Check: doctor.Clock, Level: doctor.Warning, Text: "it says 1970-01-01", Fix: "set it"},
		{Check: doctor.Leftovers, Level: doctor.Warning, Text: "a", Fix: "b"},
	}}
	const want = `ok       device-type     raspberrypi4
problem  canary          U-Boot never saved this environment
                         fix: correct fw_env.config
warning  clock           it says 1970-01-01
                         fix: set it
warning  leftovers       a
                         fix: b
not healthy: 1 problem, 2 warnings
`
	var b bytes.Buffer
	if err := d.Print(&b); err != nil || b.String() != want {
		t.Errorf("Print = %v\n%s\nwant\n%s", err, &b, want)
	}
	if err := d.Print(full{}); !errors.Is(err, errFull) {
		t.Errorf("Print to a full disk = %v; want its error", err)
	}
}

type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestJSON(t *testing.T) {
	for want, d := range map[string]doctor.Diagnosis{
		`{"healthy":true,"findings":[]}`: {},
		`{"healthy":false,"findings":[{"check":"clock","level":"problem","text":"a","fix":"b"}]}`: {
			Findings: []doctor.Finding{{Check: "clock", Level: doctor.Problem, Text: "a", Fix: "b"}}},
		`{"healthy":true,"findings":[{"check":"clock","level":"ok","text":"a"}]}`: {
			Findings: []doctor.Finding{{Check: "clock", Level: doctor.OK, Text: "a"}}},
	} {
		if got, err := json.Marshal(d); err != nil || string(got) != want {
			t.Errorf("Marshal = %s, %v; want %s", got, err, want)
		}
	}
}
