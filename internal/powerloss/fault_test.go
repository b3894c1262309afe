package powerloss_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"flipside/internal/disk/faultdisk"
)

// fault is how operations fail.
type fault struct {
	err    error
	sticky bool // all later ones too
	meets  func(faultdisk.Kind) bool
}

var allFaults = []fault{
	// A bad sector, a loose contact.
	{syscall.EIO, false, func(faultdisk.Kind) bool { return true }},
	// A full disk.
	{syscall.ENOSPC, true, func(k faultdisk.Kind) bool {
		return k == faultdisk.Create || k == faultdisk.Write || k == faultdisk.Mkdir
	}},
	// A file system that has found itself damaged.
	{syscall.EROFS, true, faultdisk.Kind.Changes},
}

// matters says what is worth its time.
func (f fault) matters(k faultdisk.Kind) bool {
	return k == faultdisk.Create || k == faultdisk.SyncDir || !f.sticky && k.Changes()
}

var errSilent = errors.New("the command told of no error, and did something else than without the fault")

// faults lets every operation of every command fail, in every situation that a single cut can lead
// to, and of the first install. Hasty, each command is taken in one situation only.
func faults(t *testing.T, r *rig, hasty bool, installs ...string) {
	start := starts(t, r)
	x := newExplorer(r, 1)
	x.hasty = hasty
	if err := x.explore(t.Context(), start[updated], doInstall); err != nil {
		t.Fatal(err) // the tests of cuts say more
	}
	tasks, err := x.tasks(t.Context())
	must(t, err)
	for _, name := range installs {
		tasks = append(tasks, task{start[name], doInstall})
	}
	x.ending, x.runs = true, 0
	for _, k := range tasks {
		if err := x.faultsOf(t.Context(), k.state, k.action); err != nil {
			t.Error(err)
		}
	}
	t.Logf("seed %d: %d commands with faults, of %d kinds, %d different states", *seedFlag, x.runs, len(tasks), len(x.visited))
	if x.runs < 200 || len(tasks) < 4 {
		t.Errorf("only %d commands of %d kinds had faults", x.runs, len(tasks))
	}
}

// task is something to do in some state.
type task struct {
	state
	action string
}

// tasks are the commands in the situations that were found. A situation is what the commands
// decide by.
func (x *explorer) tasks(ctx context.Context) (list []task, err error) {
	seen := map[string]bool{}
	for _, s := range x.all {
		if err := x.put(s.snapshot); err != nil {
			return nil, err
		}
		status, err := x.status(ctx)
		if err != nil {
			return nil, err
		}
		d := status.Deployment
		if d == nil {
			continue
		}
		for _, action := range proposals(status) {
			if action == doBoot || action == doFailBoot {
				continue // bootloaders do not take errors for something that happens
			}
			situation := action
			if !x.hasty {
				situation = fmt.Sprint(action, d.State, d.Outcome, d.Asked, d.Running, d.FellBack, status.Bootloader.NextPart, status.Bootloader.Trial)
			}
			if !seen[situation] {
				seen[situation] = true
				list = append(list, task{s, action})
			}
		}
	}
	return list, nil
}

// faultsOf does one thing in s, with every fault at every operation.
func (x *explorer) faultsOf(ctx context.Context, s state, action string) error {
	want, ops, wantErr, err := x.withFault(ctx, s, action, fault{}, 0)
	if err != nil {
		return err
	}
	for i := x.first(ops); i < len(ops); i++ {
		op := ops[i]
		for _, f := range allFaults {
			if !f.meets(op.Kind) || x.hasty && !f.matters(op.Kind) {
				continue
			}
			got, _, gotErr, err := x.withFault(ctx, s, action, f, i+1)
			if err != nil {
				return err
			}
			x.runs++
			if wantErr == nil && gotErr == nil && got != want {
				return fmt.Errorf("%w: %s, %v at operation %d, %v\\n\\t%v\\nwithout:\\n%s\\nwith:\\n%s", errSilent, action, f.err, i+1, op, s, want, got)
			}
		}
	}
	return nil
}

// withFault does it with a fault at the n-th operation, and then makes sure that the device comes
// to a good end: as it is, and also if the power goes now. It returns what became of it.
func (x *explorer) withFault(ctx context.Context, s state, action string, f fault, n int) (outcome string, ops []faultdisk.Op, doErr, err error) {
	if err := x.put(s.snapshot); err != nil {
		return "", nil, nil, err
	}
	d, err := x.disk()
	if err != nil {
		return "", nil, nil, err
	}
	if f.sticky {
		d.FailFrom(n, f.err)
	} else {
		d.Fail(n, f.err)
	}
	_, doErr = x.do(ctx, action, x.wrapped(d))
	ops = d.Ops()
	if err := d.Evict(); err != nil {
		return "", ops, doErr, err
	}
	now, err := x.take()
	if err != nil {
		return "", ops, doErr, err
	}
	what := ""
	if 0 < n && n <= len(ops) {
		what = fmt.Sprintf("%s with %v at operation %d, %v: %v", action, f.err, n, ops[n-1], doErr)
	}
	if outcome, err = x.outcome(ctx); err != nil {
		return "", ops, doErr, fmt.Errorf("%w\\n\\t%v\\n\\t%s", err, s, what)
	}
	lost, err := d.Settle(*seedFlag + uint64(n))
	if err != nil {
		return "", ops, doErr, err
	}
	off, err := x.take()
	if err != nil {
		return "", ops, doErr, err
	}
	if err := x.powerUpOnce(ctx, s.then(fmt.Sprintf("%s; then a cut, lost %q", what, lost), off)); err != nil {
		return "", ops, doErr, err
	}
	if err := x.put(now); err != nil {
		return "", ops, doErr, err
	}
	if err := x.arrive(ctx, s.then(what, now)); err != nil {
		return "", ops, doErr, err
	}
	return outcome, ops, doErr, x.visitAll(ctx)
}

// outcome is what a command is there for.
func (x *explorer) outcome(ctx context.Context) (string, error) {
	s, err := x.status(ctx)
	if err != nil {
		return "", err
	}
	app, err := x.app()
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%v, %s, next part %d, trial %v, application %s", s.Provides, s.Artifact, s.Bootloader.NextPart, s.Bootloader.Trial, app)
	if d := s.Deployment; d != nil {
		text += fmt.Sprintf(", deployment is %s, outcome %q", d.State, d.Outcome)
	}
	return text, nil
}
