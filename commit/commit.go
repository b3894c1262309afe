// Package commit is the commit command: it makes permanent what was installed, once the device
// runs it.
package commit

import (
	"context"
	"errors"
	"fmt"

	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/script"
	"flipside/rollback"
)

// ErrWrongState means that there is nothing to commit yet, or no more.
var ErrWrongState = errors.New("cannot commit from this state")

// ErrInterrupted means that an earlier commit was cut short before it took effect. The update was
// rolled back.
var ErrInterrupted = errors.New("the commit was interrupted before it took effect")

// Run commits the deployment in progress. It refuses, and changes nothing, when the device was
// not rebooted, fell back, or runs something else than what was installed.
func Run(ctx context.Context, d *device.Device) (*deployment.Result, error) {
	return d.Take(func(x *device.Deployment) error { return run(ctx, x) })
}

func run(ctx context.Context, x *device.Deployment) error {
	switch x.Record.State {
	case deployment.Installed:
		if err := x.Handler.Ready(ctx); err != nil {
			return err
		}
		return Confirm(ctx, x)
	case deployment.Committing:
		return TakeUp(ctx, x)
	default:
		return fmt.Errorf("%w: the update is %s", ErrWrongState, x.Record.State)
	}
}

// Confirm makes the installed update permanent. A failure on the way takes it back.
func Confirm(ctx context.Context, x *device.Deployment) error {
	if err := x.Enter(deployment.Committing); err != nil {
		return err
	}
	during, err := "ArtifactCommit_Enter", x.Scripts(ctx, script.ArtifactCommit, script.Enter)
	if err == nil {
		during, err = "ArtifactCommit", x.Handler.Commit(ctx)
	}
	if err != nil {
		x.Failed(during, err)
		x.Result.CommitFailed = true
		x.Ignored(context.WithoutCancel(ctx), script.ArtifactCommit, script.Error)
		return rollback.Undo(ctx, x)
	}
	return confirmed(ctx, x)
}

// TakeUp goes on with a commit that was interrupted. Only the handler knows whether it took
// effect: between that and the next state on disk lies one power cut that no order avoids.
func TakeUp(ctx context.Context, x *device.Deployment) error {
	took, err := x.Handler.Committed(ctx)
	if err != nil {
		return err
	}
	if took {
		return confirmed(ctx, x)
	}
	x.Failed("", ErrInterrupted)
	x.Result.CommitFailed = true
	return rollback.Undo(ctx, x)
}

func confirmed(ctx context.Context, x *device.Deployment) error {
	x.Result.Committed = true
	if err := x.Enter(deployment.Confirmed); err != nil {
		return err
	}
	return Conclude(ctx, x)
}

// Conclude is the rest of a commit that took effect: it can only go forth.
func Conclude(ctx context.Context, x *device.Deployment) error {
	ctx = context.WithoutCancel(ctx)
	if err := x.Enter(deployment.Committed); err != nil {
		return err
	}
	outcome := deployment.Succeeded
	if err := x.Scripts(ctx, script.ArtifactCommit, script.Leave); err != nil {
		x.Failed("ArtifactCommit_Leave", err)
		x.Result.PostCommitFailed = true
		outcome = deployment.Inconsistent
	}
	return x.End(ctx, outcome)
}
