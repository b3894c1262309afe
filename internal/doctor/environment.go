package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"flipside/bootenv"
)

// environment: the bootloader's variables, and where they are stored.
func (e *examination) environment(ctx context.Context) {
	if e.Options.FileSlots && !e.namesEnvironment() {
		e.warn(Environment, "name the one of the sandbox in mender.conf (FwEnvConfig)", "not examined: the configuration names none, and this machine's own is not the sandbox's")
		return
	}
	env, err := e.BootEnv()
	if errors.Is(err, bootenv.ErrNoConfig) && !e.hasSlots() && !e.namesEnvironment() {
		return // nothing would use it
	}
	if err != nil {
		fix := "say where the bootloader keeps its variables: /etc/fw_env.config, or FwEnvConfig or GrubEnvDir in mender.conf"
		if !errors.Is(err, bootenv.ErrNoConfig) {
			fix = "correct the file that the message names: one line for each copy, DEVICE OFFSET SIZE; see fw_env.config(5)"
		}
		e.problem(Environment, fix, "%v", err)
		return
	}
	report, err := env.Inspect(ctx)
	if err == nil {
		e.vars, err = env.Read(ctx)
	}
	if err != nil {
		e.unreadable(report, err)
		return
	}
	e.env = env
	e.uboot, e.grub = strings.HasPrefix(report.Kind, "U-Boot"), strings.HasPrefix(report.Kind, "GRUB")
	e.ok(Environment, "%s, from %s, can be read", report.Kind, report.Source)
	e.copies(report)
	e.doubts(report)
	for _, c := range report.Copies {
		e.forceRO(c.Path)
	}
	e.canary()
	e.selection(ctx)
	e.fallback()
}

func (e *examination) namesEnvironment() bool {
	c := e.Config
	return c.FwEnvConfig != "" || c.GrubEnvDir != "" || len(c.BootEnvPrint) > 0
}

func (e *examination) unreadable(report bootenv.Report, err error) {
	switch {
	case errors.Is(err, bootenv.ErrBusy):
		e.warn(Environment, "examine again when that program has ended", "%v", err)
	case errors.Is(err, bootenv.ErrCorrupt) && strings.HasPrefix(report.Kind, "GRUB"):
		e.problem(Environment, "make it anew with the bootloader's package, or with grub-editenv, and set the variables of Mender's boot scripts: mender_boot_part to the number of the partition that runs, upgrade_available to 0, bootcount to 0", "%v", err)
	case errors.Is(err, bootenv.ErrCorrupt):
		e.problem(Environment, "check that offset and size of each copy in "+report.Source+" are those that the bootloader was built with; if they are, reboot: most bootloaders make a new environment", "%v", err)
	case errors.Is(err, os.ErrNotExist):
		e.problem(Environment, "name devices that are there in "+report.Source, "%v", err)
	case len(e.Config.BootEnvPrint) > 0:
		e.problem(Environment, "correct BootEnvPrint in mender.conf, or the program: it must print NAME=VALUE lines, and end with 0", "%v", err)
	default:
		e.problem(Environment, "see to it that it can be read: "+report.Source, "%v", err)
	}
}

func (e *examination) copies(report bootenv.Report) {
	for i, c := range report.Copies {
		state := "valid"
		if c.Current {
			state = "valid and current"
		}
		switch {
		case strings.HasPrefix(c.Problem, aboutVariables):
		case c.Problem != "" && c.Valid:
			e.warn(Environment, repairs, "copy %d, %s at %#x: %s", i+1, c.Path, c.Offset, c.Problem)
		case c.Problem != "":
			e.warn(Environment, repairs+"; if it comes back, the bootloader's idea of the place differs from "+report.Source,
				"copy %d, %s at %#x, is not valid (%s): there is no other one to fall back to", i+1, c.Path, c.Offset, c.Problem)
		default:
			e.ok(Environment, "copy %d, %s at %#x, is %s", i+1, c.Path, c.Offset, state)
		}
	}
}

const repairs = "any write repairs it, also the write test of this command"

// aboutVariables begins what bootenv says of single variables, which have checks of their own here.
const aboutVariables = "boot variable "

// doubts passes on what bootenv warns of, but for what the other checks here say at more length.
func (e *examination) doubts(report bootenv.Report) {
	for _, w := range report.Warnings {
		if said(report, w) {
			continue
		}
		switch {
		case strings.Contains(w, "overlap"):
			e.problem(Environment, "give each copy a place of its own, in "+report.Source+" and in the bootloader", "%s", w)
		case strings.Contains(w, "ignored"):
			e.warn(Environment, "correct these lines: DEVICE OFFSET SIZE, one line for each copy, at most two", "%s", w)
		case strings.Contains(w, "differ"):
			e.warn(Environment, repairs, "%s", w)
		case strings.Contains(w, "one copy"):
			e.warn(Environment, "build the bootloader with a redundant environment, and describe both copies", "%s", w)
		default:
			e.warn(Environment, "correct "+report.Source+", or the bootloader's configuration", "%s", w)
		}
	}
}

// said: the copies, the canary, and what single variables say have checks of their own.
func said(report bootenv.Report, warning string) bool {
	for _, c := range report.Copies {
		if c.Problem != "" && strings.Contains(warning, c.Problem) {
			return true
		}
	}
	return strings.HasPrefix(warning, aboutVariables) || strings.HasPrefix(warning, bootenv.ErrCanary.Error())
}

// forceRO: the kernel protects the boot partitions of an eMMC. bootenv takes that back while it
// writes, if it can.
func (e *examination) forceRO(path string) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return // that the copy cannot be read is known already
	}
	name := filepath.Base(real)
	if disk, n, ok := strings.Cut(name, "boot"); !ok || !strings.HasPrefix(disk, "mmcblk") || len(n) != 1 {
		return
	}
	dir := filepath.Join(e.how.Sys, "class/block", name)
	force, ro := readWord(filepath.Join(dir, "force_ro")), readWord(filepath.Join(dir, "ro"))
	switch {
	case force == "":
		e.warn(ForceRO, "use a kernel whose MMC driver has force_ro, or unlock the partition at boot", "%s is an eMMC boot partition, and there is no %s/force_ro to unlock it", path, dir)
	case readWord(filepath.Join(dir, "ro_lock_until_next_power_on")) == "1":
		e.problem(ForceRO, "remove what writes 1 to ro_lock_until_next_power_on, in the bootloader or at boot, and switch the power off and on", "%s is locked until the power is switched off", path)
	case force == "0" && ro == "1":
		e.problem(ForceRO, "see the eMMC's write protection: mmc writeprotect boot get", "%s is read-only although force_ro is 0: the eMMC itself is write-protected", path)
	case force == "1" && unix.Access(filepath.Join(dir, "force_ro"), unix.W_OK) != nil:
		e.problem(ForceRO, "mount sysfs so that it can be written, and run as root", "%s is protected, and %s/force_ro cannot be written", path, dir)
	default:
		e.ok(ForceRO, "%s can be unlocked for writing (force_ro is %s now)", path, force)
	}
}

// readWord is the content of a file of sysfs, or nothing.
func readWord(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// canary: U-Boot with Mender's scripts proves that it saves to the place that is read here.
func (e *examination) canary() {
	switch want, has := e.vars[bootenv.VarWantProof], e.vars[bootenv.VarProof]; {
	case want == "1" && has == "1":
		e.ok(Canary, "U-Boot has saved this environment")
	case want == "1":
		e.problem(Canary, "fw_env.config and U-Boot (CONFIG_ENV_OFFSET, CONFIG_ENV_SIZE, the device) must agree on the place; correct it, then reboot once",
			"%s is not 1: U-Boot never saved this environment, so what is written here would not count", bootenv.VarProof)
	case e.uboot:
		e.warn(Canary, "build U-Boot with Mender's environment, which sets "+bootenv.VarWantProof+"=1; or make sure yourself, with printenv at U-Boot's prompt after the write test or an fw_setenv",
			"%s is not set: nothing proves that U-Boot uses this environment", bootenv.VarWantProof)
	}
}

// fallback: without it, a system that does not come up stays selected.
func (e *examination) fallback() {
	switch count := e.vars[bootenv.VarCount]; {
	case e.uboot:
		e.ubootFallback()
	case e.grub && count != "0" && count != "1":
		e.problem(Fallback, "set it to 0 with grub-mender-grubenv-set or grub-editenv",
			"boot variable %s is %q, and neither 0 nor 1: GRUB takes the environment for damaged, and starts the first system whatever is selected", bootenv.VarCount, count)
	case e.grub:
		e.ok(Fallback, "GRUB falls back when a trial has had 1 boot")
	}
}

func (e *examination) ubootFallback() {
	limit, err := strconv.Atoi(e.vars[bootenv.VarLimit])
	count := e.vars[bootenv.VarCount]
	switch _, countErr := strconv.Atoi(count); {
	case err != nil || limit <= 0:
		e.problem(Fallback, fmt.Sprintf("set it, in U-Boot's default environment and here: fw_setenv %s 1", bootenv.VarLimit),
			"boot variable %s is %q: U-Boot does not fall back from a system that does not come up", bootenv.VarLimit, e.vars[bootenv.VarLimit])
	case e.vars[bootenv.VarFallback] == "":
		e.problem(Fallback, "set it as Mender does: fw_setenv altbootcmd 'run mender_altbootcmd; run bootcmd'; U-Boot from 2025.04 on needs CONFIG_BOOTCOUNT_ALTBOOTCMD",
			"boot variable %s is set and %s is not: instead of falling back, U-Boot stops at its prompt", bootenv.VarLimit, bootenv.VarFallback)
	case count != "" && countErr != nil:
		e.warn(Fallback, "fw_setenv bootcount 0", "boot variable %s is %q, which is no number", bootenv.VarCount, count)
	default:
		e.ok(Fallback, "U-Boot falls back when a trial has had %s (%s is %q)", counted(limit, "boot"), bootenv.VarFallback, e.vars[bootenv.VarFallback])
	}
}
