// Package bootenv reads and writes the environments of bootloaders: what says which of two slots
// boots next, and whether on trial. It speaks the stored formats itself: U-Boot's, in files, on
// block devices, raw flash and UBI volumes, as fw_env.config describes them; GRUB's block, alone or
// in Mender's pair of copies. Other bootloaders are reached through configured programs.
//
// It knows nothing of artifacts, slots and deployments.
//
//	env, err := bootenv.Open(bootenv.Options{})
//	...
//	err = bootenv.Try(ctx, env, 3) // boot partition 3 next, fall back if it is not confirmed
//
// A write is safe against power loss at any instant wherever the medium allows it, which is
// everywhere but in an environment with a single copy: the copy that the bootloader uses is not
// touched before the other one is complete, synced, and read back from the medium. A damaged copy
// is repaired by the next write. There are no default environments here: when nothing valid is
// stored, that is an error.
package bootenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"flipside/internal/disk"
)

// What a caller may decide by.
var (
	// ErrNoConfig: neither a GRUB environment nor an fw_env.config was found. The device has no
	// bootloader that is known here, or its integration is not complete.
	ErrNoConfig = errors.New("no boot environment is configured")
	// ErrCorrupt: no stored copy is valid. Nothing is ever written then; the bootloader has to
	// make a new environment, or a person.
	ErrCorrupt = errors.New("no copy of the boot environment is valid")
	// ErrTooLarge: the variables do not fit. Nothing was changed.
	ErrTooLarge = errors.New("the variables do not fit into the boot environment")
	// ErrReadOnly: U-Boot's variable .flags forbids the change. Nothing was changed.
	ErrReadOnly = errors.New("the boot environment forbids the change")
	// ErrReadBack: what is stored is not what was written. The medium is not to be trusted; what
	// boots next has to be read anew.
	ErrReadBack = errors.New("the boot environment reads back differently")
	// ErrBusy: another program holds the environment's lock, and did so for too long. Nothing was
	// changed; trying again may help.
	ErrBusy = errors.New("another program uses the boot environment")
	// ErrCanary: U-Boot has never saved this environment, so that what is written here would not
	// count: fw_env.config and U-Boot disagree about the place, or U-Boot cannot write to it.
	ErrCanary = errors.New("U-Boot does not use this boot environment")
	// ErrNotSelected: the part that was to be confirmed is not the one that boots: the bootloader
	// has fallen back, or the trial was never started.
	ErrNotSelected = errors.New("the bootloader does not select it")
)

// Vars are variables of a boot environment: name to value. In a Write an empty value deletes; a
// Read has no variables with empty values, as U-Boot has none.
type Vars map[string]string

// Env is a bootloader's environment.
type Env interface {
	// Read returns the named variables, or all; undefined ones are missing from the map.
	Read(ctx context.Context, names ...string) (Vars, error)
	// Write changes variables: all or nothing, durable on return, read back from the medium. It
	// does nothing if they have their values already. After an error the old or the new values
	// hold, never a mixture.
	Write(ctx context.Context, changes Vars) error
	// Inspect says how the environment is stored and what is wrong with it. It changes nothing.
	Inspect(ctx context.Context) (Report, error)
}

// Report describes an environment, for status, doctor and warnings.
type Report struct {
	Kind     string   `json:"kind"`               // "U-Boot, two copies", "GRUB, Mender's two copies", …
	Source   string   `json:"source"`             // the file that configures it, or the programs
	Copies   []Copy   `json:"copies,omitempty"`   //
	Warnings []string `json:"warnings,omitempty"` // full sentences without a period
}

// Copy is one stored copy.
type Copy struct {
	Path    string `json:"path"`
	Offset  int64  `json:"offset"`
	Valid   bool   `json:"valid"`
	Current bool   `json:"current"`
	Problem string `json:"problem,omitempty"`
}

// Options say where to look. The zero value is a device as Mender integrates it.
type Options struct {
	FS          disk.FS // nil = disk.OS
	FwEnvConfig string  // "" = /etc/fw_env.config, if there is no GRUB environment
	// GrubDir has mender_grubenv1 and mender_grubenv2, or a single file grubenv.
	// "" = search as grub-mender-grubenv does.
	GrubDir string
	// Print and Set are programs to use instead of the native formats, with their arguments.
	// Print writes all variables as lines "name=value". Set, started with "-s -" as further
	// arguments, reads such lines and stores them at once; an empty value deletes. fw_printenv and
	// fw_setenv are such programs, and grub-mender-grubenv-print and -set.
	Print, Set []string
	LockDirs   []string // nil = /run and /var/lock
}

// Open finds the boot environment: the programs if they are given, then FwEnvConfig, GrubDir, the
// GRUB environment of Mender, /etc/fw_env.config. It reads configuration, not the environment.
func Open(o Options) (Env, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	return realHost(o.FS).open(o)
}

// host is what a test replaces besides the FS.
type host struct {
	fs    disk.FS
	root  string // of the paths that are searched
	sys   string // where sysfs is
	flash flash
	locks lockPolicy
}

func realHost(fsys disk.FS) host {
	return host{fs: fsys, root: "/", sys: "/sys", flash: kernelFlash{}, locks: waitForLocks}
}

func (h host) open(o Options) (Env, error) {
	switch {
	case len(o.Print) > 0 && len(o.Set) > 0:
		return programs{print: o.Print, set: o.Set}, nil
	case len(o.Print) > 0 || len(o.Set) > 0:
		return nil, errors.New("of the programs for the boot environment only one is configured: both are needed, one to print and one to set")
	case o.FwEnvConfig != "":
		return h.openUBoot(o.FwEnvConfig, o.LockDirs)
	case o.GrubDir != "":
		return h.openGrub(o.GrubDir, o.LockDirs)
	}
	dir, err := h.findMenderGrub()
	if err != nil {
		return nil, err
	}
	if dir != "" {
		return h.openGrub(dir, o.LockDirs)
	}
	return h.openUBoot(h.path("/etc/fw_env.config"), o.LockDirs)
}

// noConfig makes the error for a missing file the one that callers know.
func noConfig(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNoConfig, err)
	}
	return err
}

// checkChanges refuses what some bootloader or program would not store as it is meant.
func checkChanges(changes Vars) error {
	for name, value := range changes {
		odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '=' || r == '\\' }
		if name == "" || name[0] == '#' || strings.ContainsFunc(name, odd) {
			return fmt.Errorf("%q cannot be the name of a boot variable", name)
		}
		if strings.Contains(value, "\x00") {
			return fmt.Errorf("boot variable %s: a value cannot have a NUL byte", name)
		}
	}
	return nil
}

// changed says whether any of the changes differs from vars.
func changed(vars map[string]string, changes Vars) bool {
	for name, value := range changes {
		if vars[name] != value {
			return true
		}
	}
	return false
}

// pick returns the named variables, or all, without empty ones.
func pick(vars map[string]string, names []string) Vars {
	picked := make(Vars)
	for name, value := range vars {
		if value != "" && (len(names) == 0 || slices.Contains(names, name)) {
			picked[name] = value
		}
	}
	return picked
}

// path is an absolute path below the root.
func (h host) path(name string) string { return filepath.Join(h.root, name) }
