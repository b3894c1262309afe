package slot

import (
	"context"
	"fmt"

	"flipside/bootenv"
	"flipside/internal/payload"
)

// The half of Rootfs that works after the reboot: it decides about what the first half installed.

// Ready returns nil if the installed slot runs and will run again.
func (r *Rootfs) Ready(ctx context.Context) error {
	_, err := r.ready(ctx)
	return err
}

func (r *Rootfs) ready(ctx context.Context) (bootenv.Selection, error) {
	if err := r.remembered(); err != nil {
		return bootenv.Selection{}, err
	}
	pair, sel, err := r.look(ctx)
	if err != nil {
		return sel, err
	}
	if pair.Active().Part != r.memory.Part {
		return sel, r.notRunning(pair, sel)
	}
	if sel.Part != r.memory.Part {
		return sel, fmt.Errorf("%s runs as installed, but the bootloader has selected %s", pair.Active(), pair.describe(sel.Part))
	}
	return sel, nil
}

// notRunning says why something else than the installed slot runs.
func (r *Rootfs) notRunning(pair Pair, sel bootenv.Selection) error {
	bootID, err := r.c.BootID()
	if err != nil {
		return fmt.Errorf("boot id: %w", err)
	}
	active, target := pair.Active(), r.memory.target()
	pending := sel == bootenv.Selection{Part: r.memory.Part, Trial: true}
	switch {
	case bootID == r.memory.BootID && sel.Part == r.memory.Part:
		return fmt.Errorf("%s was installed, %s still runs: %w", target, active, payload.ErrNotRebooted)
	case bootID == r.memory.BootID:
		return fmt.Errorf("%s was installed, but the bootloader has selected %s since", target, pair.describe(sel.Part))
	case pending:
		return fmt.Errorf("%s was installed and is still on trial, but after a reboot %s runs: the bootloader does not follow this environment",
			target, active)
	}
	return fmt.Errorf("%s was installed, %s runs: %w", target, active, payload.ErrFellBack)
}

// Commit ends the trial. It refuses while anything else than the installed slot runs.
func (r *Rootfs) Commit(ctx context.Context) error {
	sel, err := r.ready(ctx)
	if err != nil {
		return err
	}
	if !sel.Trial {
		return nil // done already
	}
	return r.flags(func() error { return bootenv.Confirm(ctx, r.c.Env, r.memory.Part) })
}

// Committed asks the bootloader.
func (r *Rootfs) Committed(ctx context.Context) (bool, error) {
	if err := r.remembered(); err != nil {
		return false, err
	}
	sel, err := bootenv.ReadSelection(ctx, r.c.Env)
	return sel == bootenv.Selection{Part: r.memory.Part}, err
}

// Rollback selects the slot that ran when the image was installed. Where that runs already, the
// device is as it was; where the new slot runs, it takes effect with a reboot, see
// RebootNeededAfterRollback.
func (r *Rootfs) Rollback(ctx context.Context) error {
	if r.err == nil && r.memory == (memory{}) {
		return nil // Prepare has refused: there is nothing to undo
	}
	if r.err != nil {
		return r.err
	}
	back := bootenv.Selection{Part: r.memory.From}
	if sel, err := bootenv.ReadSelection(ctx, r.c.Env); err == nil && sel == back {
		return nil // never installed, undone already, or the bootloader fell back
	}
	// An environment that cannot be read now may still be written; if not, that error counts.
	return r.flags(func() error { return bootenv.Revert(ctx, r.c.Env, back.Part) })
}

// RebootNeededAfterRollback reports whether the running slot is another than the one selected.
func (r *Rootfs) RebootNeededAfterRollback(ctx context.Context) (bool, error) {
	pair, sel, err := r.look(ctx)
	return err == nil && pair.Active().Part != sel.Part, err
}

// Failure has nothing to do.
func (r *Rootfs) Failure(ctx context.Context) error { return nil }

// Cleanup has nothing to do: a slot that is not selected may hold anything.
func (r *Rootfs) Cleanup(ctx context.Context) error { return nil }
