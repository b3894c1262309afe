package install

import (
	"context"
	"errors"
	"fmt"

	"flipside/commit"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/payload"
	"flipside/rollback"
)

// ErrInterrupted means that the deployment was interrupted where it cannot go on, and was taken
// back.
var ErrInterrupted = errors.New("the update was interrupted")

// Resume takes up the deployment that was stopped or interrupted, as its state asks for. A
// decision that is the operator's stays so: what is installed is neither committed nor rolled
// back. A deployment that Resume has to take back is a failure, unless the operator had asked for
// the rollback.
func Resume(ctx context.Context, d *device.Device) (*deployment.Result, error) {
	result, err := d.Take(func(x *device.Deployment) error { return takeUp(ctx, x) })
	return result, wake(d, err)
}

// takeUp goes on from where x stands.
func takeUp(ctx context.Context, x *device.Deployment) error {
	x.Result.RolledBack = x.Record.Outcome == deployment.RolledBack
	x.Result.NotModified = x.Record.Outcome == deployment.Unchanged
	if x.StopsHere() {
		return deployment.ErrStopped
	}
	// What failed before fails again, unless that is over: the operator asked for the way back, and
	// it worked.
	if x.Record.Failure != "" && (!x.Record.Asked || x.Record.Outcome == deployment.Inconsistent) {
		x.Result.FailedBefore = true
		x.Failed("", errors.New(x.Record.Failure))
	}
	return resume(ctx, x)
}

// wake answers a resume while another process holds the lock: if that one only waits for a state
// script, the script is run again at once.
func wake(d *device.Device, err error) error {
	var busy *deployment.BusyError
	if !errors.As(err, &busy) || busy.Holder == nil || busy.Holder.Waiting == nil {
		return err
	}
	d.Note("%s is run again now, by process %d", busy.Holder.Waiting.Script, busy.Holder.PID)
	return busy.Holder.Wake()
}

func resume(ctx context.Context, x *device.Deployment) error {
	switch state := x.Record.State; state {
	case deployment.Downloading:
		x.Failed("download", ErrInterrupted)
		return rollback.Drop(ctx, x)
	case deployment.Fetched:
		return leaveDownload(ctx, x)
	case deployment.Downloaded:
		return activate(ctx, x)
	case deployment.Installing:
		x.Failed("ArtifactInstall", ErrInterrupted)
		return rollback.Undo(ctx, x)
	case deployment.Installed:
		return wait(ctx, x)
	case deployment.Committing:
		return commit.TakeUp(ctx, x)
	case deployment.Confirmed, deployment.Committed:
		return commit.Conclude(ctx, x)
	case deployment.RollingBack:
		return rollback.Back(context.WithoutCancel(ctx), x)
	case deployment.Failing:
		return rollback.Fail(context.WithoutCancel(ctx), x)
	case deployment.Cleaning:
		return x.End(ctx, x.Record.Outcome)
	default:
		return fmt.Errorf("cannot resume: the update is %s", state)
	}
}

// wait stands still before the operator's decision. Where there is none to make, because the
// handler cannot roll back, the deployment goes on to its commit.
func wait(ctx context.Context, x *device.Deployment) error {
	if !x.Record.SupportsRollback {
		return commit.Confirm(ctx, x)
	}
	x.Result.Installed = true
	x.Result.RebootRequired = x.Record.RebootWanted
	if err := x.Handler.Ready(ctx); !errors.Is(err, payload.ErrNotRebooted) {
		return err
	}
	return nil
}
