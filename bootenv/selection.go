package bootenv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// The variables through which Mender's bootloader integrations choose a partition.
const (
	VarPart      = "mender_boot_part"            // partition or UBI volume that boots
	VarPartHex   = "mender_boot_part_hex"        // the same: U-Boot reads partition numbers as hexadecimal
	VarTrial     = "upgrade_available"           // 1: boots are counted, and too many switch the partition
	VarCount     = "bootcount"                   // boots of the trial
	VarLimit     = "bootlimit"                   // of U-Boot: how many boots a trial has
	VarFallback  = "altbootcmd"                  // of U-Boot: what runs beyond the limit
	VarWantProof = "mender_check_saveenv_canary" // of U-Boot: 1 if VarProof has to be 1
	VarProof     = "mender_saveenv_canary"       // U-Boot sets and saves it
)

// Selection is what the bootloader will do next.
type Selection struct {
	Part  int  // partition or UBI volume number that boots next
	Trial bool // it boots on trial: the bootloader falls back unless Confirm is called
}

// ReadSelection reads it, and checks the saveenv canary: if the environment asks for the check, it
// must show that U-Boot has saved it, or the error is ErrCanary.
func ReadSelection(ctx context.Context, env Env) (Selection, error) {
	vars, err := env.Read(ctx, VarPart, VarTrial, VarWantProof, VarProof)
	if err != nil {
		return Selection{}, err
	}
	if err := checkCanary(vars); err != nil {
		return Selection{}, err
	}
	return parseSelection(vars)
}

func checkCanary(vars Vars) error {
	if vars[VarWantProof] == "1" && vars[VarProof] != "1" {
		return fmt.Errorf("%w: %s is not 1; U-Boot sets it when it saves the environment that the configuration describes", ErrCanary, VarProof)
	}
	return nil
}

func parseSelection(vars Vars) (s Selection, err error) {
	if s.Part, err = parsePart(vars); err != nil {
		return Selection{}, err
	}
	switch trial, defined := vars[VarTrial]; {
	case !defined:
		return Selection{}, fmt.Errorf("boot variable %s is not defined", VarTrial)
	case trial != "0" && trial != "1":
		return Selection{}, fmt.Errorf("boot variable %s is %q; it must be 0 or 1", VarTrial, trial)
	default:
		s.Trial = trial == "1"
	}
	return s, nil
}

func parsePart(vars Vars) (int, error) {
	part, defined := vars[VarPart]
	if !defined {
		return 0, fmt.Errorf("boot variable %s is not defined", VarPart)
	}
	// 31 bits: more than there are partitions. No sign: the bootloader would not take it.
	n, err := strconv.ParseUint(part, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("boot variable %s is %q; it must be the number of a partition", VarPart, part)
	}
	return int(n), nil
}

// Try selects part on trial, with a fresh boot count, in one write: with less than all of it, the
// fallback would go to the wrong partition. It can be repeated. It refuses what the bootloader
// could not come back from: another trial that is not decided, or the partition that is selected
// already, as the fallback always goes to the other one.
func Try(ctx context.Context, env Env, part int) error {
	s, err := ReadSelection(ctx, env)
	switch {
	case err != nil:
		return fmt.Errorf("selecting partition %d on trial: %w", part, err)
	case s.Trial && s.Part != part:
		return fmt.Errorf("selecting partition %d on trial: partition %d is still on trial", part, s.Part)
	case !s.Trial && s.Part == part:
		return fmt.Errorf("selecting partition %d on trial: it is selected already, so there is nothing to fall back to", part)
	}
	if err := checkPart(part); err != nil {
		return fmt.Errorf("selecting partition %d on trial: %w", part, err)
	}
	if err := env.Write(ctx, trial(part)); err != nil {
		return fmt.Errorf("selecting partition %d on trial: %w", part, err)
	}
	return nil
}

// Confirm ends the trial of part: it stays selected. If it is not selected, the error is
// ErrNotSelected: the bootloader has fallen back. It can be repeated. The boot count stays as it
// is, as in Mender: without a trial it has no meaning, and the next Try resets it.
func Confirm(ctx context.Context, env Env, part int) error {
	s, err := ReadSelection(ctx, env)
	if err == nil && s.Part != part {
		err = fmt.Errorf("%w, but partition %d", ErrNotSelected, s.Part)
	}
	if err == nil {
		err = env.Write(ctx, Vars{VarTrial: "0"})
	}
	if err != nil {
		return fmt.Errorf("confirming partition %d: %w", part, err)
	}
	return nil
}

// Revert selects part without a trial, whatever was selected. It can be repeated, before and
// after the bootloader has fallen back, and repairs a selection that cannot be read.
func Revert(ctx context.Context, env Env, part int) error {
	vars, err := env.Read(ctx, VarWantProof, VarProof)
	if err == nil {
		err = checkCanary(vars)
	}
	if err == nil {
		err = checkPart(part)
	}
	if err == nil {
		err = env.Write(ctx, choice(part, Vars{VarTrial: "0"}))
	}
	if err != nil {
		return fmt.Errorf("selecting partition %d: %w", part, err)
	}
	return nil
}

func checkPart(part int) error {
	if part < 0 {
		return fmt.Errorf("%d is not the number of a partition", part)
	}
	return nil
}

// trial is what selects part on trial.
func trial(part int) Vars { return choice(part, Vars{VarTrial: "1", VarCount: "0"}) }

// choice is the choice of a partition together with other changes. GRUB has no use for the
// hexadecimal number and leaves it behind when it falls back, but Mender writes it there too.
func choice(part int, changes Vars) Vars {
	changes[VarPart] = strconv.Itoa(part)
	changes[VarPartHex] = strconv.FormatInt(int64(part), 16)
	return changes
}

// checkGrub says whether GRUB would take the variables: it takes anything else for a damaged
// environment, and boots the first partition.
func checkGrub(vars Vars) error {
	if _, err := parseSelection(vars); err != nil {
		return err
	}
	if count := vars[VarCount]; count != "0" && count != "1" {
		return errors.New("boot variable " + VarCount + " is neither 0 nor 1")
	}
	return nil
}

// ubootDoubts are warnings about a U-Boot environment that is stored well.
func ubootDoubts(vars Vars) (list []string) {
	if err := checkCanary(vars); err != nil {
		list = append(list, err.Error())
	}
	if _, mender := vars[VarPart]; !mender {
		return append(list, "boot variable "+VarPart+" is not defined: this is no environment of a U-Boot that Mender is integrated with")
	}
	if _, err := parseSelection(vars); err != nil {
		list = append(list, err.Error())
	}
	limit, err := strconv.Atoi(vars[VarLimit])
	switch {
	case err != nil || limit == 0:
		list = append(list, "boot variable "+VarLimit+" is not set: U-Boot does not fall back from a partition that does not come up")
	case vars[VarFallback] == "":
		// A U-Boot from 2025.04 on, built with an empty CONFIG_BOOTCOUNT_ALTBOOTCMD, deletes it.
		list = append(list, "boot variable "+VarLimit+" is set and "+VarFallback+" is not: instead of falling back, U-Boot stops at its prompt")
	}
	return list
}
