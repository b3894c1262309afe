// Package sandbox makes a device out of plain files: two slots, a redundant U-Boot environment, a
// data directory, and a simulated bootloader. Everything but the bootloader is the code that runs
// on hardware, so that a person can try flipside without any, and without being root.
package sandbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"flipside/bootenv"
	"flipside/internal/device"
	"flipside/internal/disk"
)

// The slots' partition numbers, as on a device whose first partition is for booting.
const (
	partA = 2
	partB = 3
)

// envSize is the size of each of the two copies of the U-Boot environment.
const envSize = 0x4000

// Sandbox is a device made of the files below Dir.
type Sandbox struct{ Dir string } // absolute

// Spec says what device to make.
type Spec struct {
	DeviceType string // "" is "sandbox"
	SlotSize   int64  // bytes
	VerifyKey  []byte // PEM; nil: artifacts need no signature
}

// Create makes the device in dir, which must not exist or be empty, and boots it: it runs slot A.
func Create(ctx context.Context, dir string, spec Spec) (Sandbox, error) {
	s, err := at(dir)
	if err != nil {
		return s, err
	}
	if strings.ContainsFunc(s.Dir, unicode.IsSpace) {
		return s, fmt.Errorf("%s has a blank in its name: fw_env.config cannot name files below it", s.Dir)
	}
	if entries, err := os.ReadDir(s.Dir); err == nil && len(entries) > 0 {
		return s, fmt.Errorf("%s is not empty", dir)
	}
	for _, d := range []string{"dev", "run", "etc/mender/scripts", "var/lib/mender", "usr/share/mender/modules/v3"} {
		if err := os.MkdirAll(s.path(d), 0o755); err != nil {
			return s, err
		}
	}
	// Sparse files: they take room only as they are written. The environment is all zeros, as in
	// a factory; the bootloader's first boot fills it.
	for name, size := range map[string]int64{s.slot(partA): spec.SlotSize, s.slot(partB): spec.SlotSize, s.env(): 2 * envSize} {
		if err := makeSparse(name, size); err != nil {
			return s, err
		}
	}
	if err := s.writeConfig(spec); err != nil {
		return s, err
	}
	if _, err = s.Boot(ctx, false); err != nil {
		return s, err
	}
	return s, s.firstBoot(ctx)
}

// firstBoot writes the environment as Mender's images do when they first come up, and so fills its
// second copy.
func (s Sandbox) firstBoot(ctx context.Context) error {
	env, err := bootenv.Open(bootenv.Options{FS: disk.OS{}, FwEnvConfig: s.path("etc/fw_env.config"), LockDirs: []string{s.path("run")}})
	if err != nil {
		return err
	}
	return env.Write(ctx, bootenv.Vars{"mender_systemd_machine_id": strings.ToLower(rand.Text())})
}

// Open finds the device in dir.
func Open(dir string) (Sandbox, error) {
	s, err := at(dir)
	if err != nil {
		return s, err
	}
	if _, err := os.Stat(s.slot(partA)); errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("%s is not a sandbox: `flipside sandbox create %s` makes one", dir, dir)
	}
	return s, nil
}

func at(dir string) (Sandbox, error) {
	abs, err := filepath.Abs(dir)
	return Sandbox{Dir: abs}, err
}

func (s Sandbox) path(name string) string { return filepath.Join(s.Dir, filepath.FromSlash(name)) }
func (s Sandbox) slot(part int) string    { return s.path(fmt.Sprintf("dev/mmcblk0p%d", part)) }
func (s Sandbox) env() string             { return s.path("dev/uboot-env") }

func makeSparse(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// writeConfig writes what an integrator would put on a device.
func (s Sandbox) writeConfig(spec Spec) error {
	config := map[string]any{
		"RootfsPartA": s.slot(partA),
		"RootfsPartB": s.slot(partB),
		"FwEnvConfig": s.path("etc/fw_env.config"),
	}
	files := map[string]string{
		"etc/fw_env.config":          fmt.Sprintf("%[1]s 0x0 %#[2]x\n%[1]s %#[2]x %#[2]x\n", s.env(), envSize),
		"etc/mender/artifact_info":   "artifact_name=release-1\n",
		"var/lib/mender/device_type": "device_type=" + cmp.Or(spec.DeviceType, "sandbox") + "\n",
	}
	if spec.VerifyKey != nil {
		files["etc/mender/verify-key.pem"] = string(spec.VerifyKey)
		config["ArtifactVerifyKey"] = s.path("etc/mender/verify-key.pem")
	}
	conf, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	files["etc/mender/mender.conf"] = string(conf) + "\n"
	for name, data := range files {
		if err := os.WriteFile(s.path(name), []byte(data), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Options open the sandbox as a device.
func (s Sandbox) Options() device.Options {
	return device.Options{
		ConfDir:    s.path("etc/mender"),
		DataDir:    s.path("usr/share/mender"),
		Datastore:  s.path("var/lib/mender"),
		Root:       s.path("run/root"),
		BootIDFile: s.path("run/boot_id"),
		FileSlots:  true,
		LockDirs:   []string{s.path("run")},
		Proc:       s.path("proc"), // no updater of the computer that it is made on works on it
	}
}
