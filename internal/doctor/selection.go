package doctor

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"flipside/bootenv"
)

// stored is an environment as it was read, so that all checks are about the same moment.
type stored bootenv.Vars

func (s stored) Read(_ context.Context, names ...string) (bootenv.Vars, error) {
	picked := bootenv.Vars{}
	for _, name := range names {
		if value, ok := s[name]; ok {
			picked[name] = value
		}
	}
	return picked, nil
}

func (stored) Write(context.Context, bootenv.Vars) error { return errors.ErrUnsupported }

func (stored) Inspect(context.Context) (bootenv.Report, error) {
	return bootenv.Report{}, errors.ErrUnsupported
}

// selection: what boots next, against what runs.
func (e *examination) selection(ctx context.Context) {
	vars := stored{}
	for name, value := range e.vars {
		if name != bootenv.VarWantProof { // it has a check of its own
			vars[name] = value
		}
	}
	sel, err := bootenv.ReadSelection(ctx, vars)
	if err != nil {
		e.problem(Selection, "set the variables of Mender's boot scripts: "+bootenv.VarPart+" to the number of the partition that runs, "+bootenv.VarTrial+" to 0; and see to it that the bootloader's default environment has them",
			"%v", err)
		return
	}
	e.hexadecimal(sel.Part)
	if e.pair == nil {
		e.ok(Selection, "the bootloader starts partition %d next%s", sel.Part, onTrial(sel))
		return
	}
	next, known := e.pair.WithPart(sel.Part)
	active := e.pair.Active()
	switch {
	case !known:
		e.problem(Selection, "RootfsPartA and RootfsPartB must end in the numbers that the bootloader uses; or correct "+bootenv.VarPart,
			"the bootloader starts partition %d next, which is neither %s nor %s", sel.Part, e.pair.A, e.pair.B)
	case sel.Trial && e.record == nil:
		e.problem(Selection, "commit it or roll it back with the tool that installed it; if there is none, set "+bootenv.VarTrial+" to 0 and "+bootenv.VarPart+" to "+strconv.Itoa(active.Part),
			"%s is on trial, and flipside did not install it: installing is refused", next)
	case next.Name != active.Name && e.record == nil:
		e.warn(Selection, "reboot; or, if it is not to run, set "+bootenv.VarPart+" to "+strconv.Itoa(active.Part),
			"%s runs, but the bootloader starts %s next: installing is refused until then", active, next)
	default:
		e.ok(Selection, "the bootloader starts %s next%s", next, onTrial(sel))
	}
}

func onTrial(s bootenv.Selection) string {
	if s.Trial {
		return ", on trial"
	}
	return ""
}

// hexadecimal: U-Boot takes the kernel from the one number, and hands the other one to the kernel.
// GRUB does not use it, and leaves it behind.
func (e *examination) hexadecimal(part int) {
	hex, defined := e.vars[bootenv.VarPartHex]
	want := strconv.FormatInt(int64(part), 16)
	if e.uboot && defined && !strings.EqualFold(hex, want) {
		e.problem(Selection, "fw_setenv "+bootenv.VarPartHex+" "+want,
			"%s is %d and %s is %q, which should be %q: U-Boot would start the kernel of one system with the files of the other",
			bootenv.VarPart, part, bootenv.VarPartHex, hex, want)
	}
}
