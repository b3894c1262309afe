package bootsim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"flipside/bootenv"
	"flipside/bootenv/internal/grubenv"
	"flipside/internal/disk"
)

// GRUB is a GRUB with the boot script of grub-mender-grubenv.
type GRUB struct {
	Dir          string // of mender_grubenv1 and mender_grubenv2
	PartA, PartB int
}

// Boot powers the device up, like UBoot.Boot.
func (g GRUB) Boot(ctx context.Context, fsys disk.FS, kernelBoots func(part int) bool) (part int, log []string, err error) {
	start := func() (attempt, error) {
		return &grubRun{GRUB: g, fs: fsys, ram: make(map[string]string), log: &log}, nil
	}
	part, err = boot(ctx, start, kernelBoots)
	return part, log, err
}

// grubRun is one power-up.
type grubRun struct {
	GRUB
	fs  disk.FS
	ram map[string]string
	log *[]string
}

// saved are the variables that the script loads and saves; the rest of a block stays as it is.
var saved = [...]string{bootenv.VarCount, bootenv.VarPart, bootenv.VarTrial, varMachine}

func (r *grubRun) logf(format string, args ...any) {
	*r.log = append(*r.log, fmt.Sprintf(format, args...))
}

func (r *grubRun) run() (int, error) {
	if err := r.checkAndRestore(); err != nil {
		return 0, err
	}
	if err := r.loadEnv("mender_grubenv1/env", saved[:]); err != nil {
		return 0, err
	}
	if !r.valid() {
		if r.ram[bootenv.VarPart] != strconv.Itoa(r.PartB) {
			r.ram[bootenv.VarPart] = strconv.Itoa(r.PartA)
		}
		r.logf("The environment is corrupt. Trying to boot from partition %s", r.ram[bootenv.VarPart])
	}
	if r.trial() {
		if err := r.count(); err != nil {
			return 0, err
		}
	}
	return atoi(r.ram[bootenv.VarPart]), nil
}

func (r *grubRun) trial() bool { return r.ram[bootenv.VarTrial] == "1" }

func (r *grubRun) valid() bool {
	part, count, trial := r.ram[bootenv.VarPart], r.ram[bootenv.VarCount], r.ram[bootenv.VarTrial]
	return (part == strconv.Itoa(r.PartA) || part == strconv.Itoa(r.PartB)) &&
		(count == "0" || count == "1") && (trial == "0" || trial == "1")
}

// checkAndRestore repairs a copy whose lock says that it was being written. It looks at one only.
func (r *grubRun) checkAndRestore() error {
	for _, c := range [...]struct{ edited, other string }{
		{"mender_grubenv2", "mender_grubenv1"},
		{"mender_grubenv1", "mender_grubenv2"},
	} {
		r.ram["editing"] = "invalid"
		if err := r.loadEnv(c.edited+"/lock", []string{"editing"}); err != nil {
			return err
		}
		if r.ram["editing"] == "0" {
			continue
		}
		if err := r.loadEnv(c.other+"/env", saved[:]); err != nil {
			return err
		}
		if err := r.saveEnv(c.edited+"/env", saved[:]); err != nil {
			return err
		}
		return r.setLock(c.edited, "0")
	}
	return nil
}

// count is what happens in a trial: the first boot is counted, the second falls back.
func (r *grubRun) count() error {
	if r.ram[bootenv.VarCount] == "0" {
		r.logf("Booting new update...")
		r.ram[bootenv.VarCount] = "1"
		return r.save()
	}
	r.logf("Rolling back...")
	other := r.PartA
	if r.ram[bootenv.VarPart] == strconv.Itoa(r.PartA) {
		other = r.PartB
	}
	r.ram[bootenv.VarPart], r.ram[bootenv.VarTrial], r.ram[bootenv.VarCount] = strconv.Itoa(other), "0", "0"
	return r.save()
}

// save is mender_save_env: both copies, each under its lock.
func (r *grubRun) save() error {
	// The script assigns it, so that it is defined from here on, if only to nothing.
	r.ram[varMachine] += ""
	for _, dir := range [...]string{"mender_grubenv2", "mender_grubenv1"} {
		if err := r.setLock(dir, "1"); err != nil {
			return err
		}
		if err := r.saveEnv(dir+"/env", saved[:]); err != nil {
			return err
		}
		if err := r.setLock(dir, "0"); err != nil {
			return err
		}
	}
	return nil
}

func (r *grubRun) setLock(dir, value string) error {
	r.ram["editing"] = value
	return r.saveEnv(dir+"/lock", []string{"editing"})
}

// loadEnv is load_env: variables that the block does not have keep their values.
func (r *grubRun) loadEnv(name string, names []string) error {
	block, err := r.block(name)
	if err != nil || block == nil {
		return err
	}
	vars := block.Vars()
	for _, n := range names {
		if value, defined := vars[n]; defined {
			r.ram[n] = value
		}
	}
	return nil
}

// saveEnv is save_env: it writes over the bytes that the file has, and can add none.
func (r *grubRun) saveEnv(name string, names []string) error {
	block, err := r.block(name)
	if err != nil || block == nil {
		return err
	}
	for _, n := range names {
		if value, defined := r.ram[n]; defined {
			block.Set(n, value)
		} else {
			block.Unset(n)
		}
	}
	data, err := block.Bytes()
	if err != nil {
		r.logf("error: environment block too small.")
		return nil
	}
	return writeRange(r.fs, filepath.Join(r.Dir, name), 0, data)
}

// block reads a block. A damaged one is nil: GRUB prints an error, and the script goes on.
func (r *grubRun) block(name string) (*grubenv.Block, error) {
	f, err := r.fs.OpenFile(filepath.Join(r.Dir, name), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		r.logf("error: file %s not found.", name)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, grubenv.MaxSize))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	block, err := grubenv.Parse(data)
	if err != nil {
		r.logf("error: invalid environment block.")
		return nil, nil
	}
	return block, nil
}
