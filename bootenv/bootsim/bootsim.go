// Package bootsim does what bootloaders with Mender's boot scripts do to their stored environments
// and which partition they boot: for tests, and for trying out updates without a device. It works
// on the same bytes as the real ones, saves through a disk.FS, so that power can be cut inside, and
// was checked against recordings of U-Boot 2026.10 and GRUB 2.06.
//
//	u := bootsim.UBoot{Config: "fw_env.config", PartA: 2, PartB: 3}
//	part, log, err := u.Boot(ctx, disk.OS{}, func(part int) bool { return part != 3 })
package bootsim

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// ErrPrompt: the bootloader has given up and waits for a person.
var ErrPrompt = errors.New("the bootloader stopped at its prompt")

// maxResets is more than any environment needs to come to an end: without a limit, a trial
// without a boot limit would reset for ever, as the real one does.
const maxResets = 10

// varMachine is a variable of Mender's boot scripts that only they look at.
const varMachine = "mender_systemd_machine_id"

// attempt is one run of a bootloader's scripts up to the kernel.
type attempt interface {
	// run returns the partition whose kernel is to be loaded.
	run() (part int, err error)
	// trial says whether the bootloader resets when that fails.
	trial() bool
	logf(format string, args ...any)
}

// boot repeats attempts until a kernel boots.
func boot(ctx context.Context, start func() (attempt, error), kernelBoots func(part int) bool) (int, error) {
	for range maxResets {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		a, err := start()
		if err != nil {
			return 0, err
		}
		part, err := a.run()
		if err != nil {
			return 0, err
		}
		if kernelBoots(part) {
			return part, nil
		}
		a.logf("partition %d: no kernel that boots", part)
		if !a.trial() {
			return 0, fmt.Errorf("%w: partition %d does not boot", ErrPrompt, part)
		}
		a.logf("resetting ...")
	}
	return 0, fmt.Errorf("the bootloader has reset %d times and would go on", maxResets)
}

// atoi is a number as a boot script understands it: digits up to something else, or 0.
func atoi(s string) int {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(s[:end])
	if err != nil {
		return 0
	}
	return n
}
