// Package rollback is the rollback command, and the way back for everything that fails after
// something was activated. Every step of it is repeatable, and all later steps are taken even if
// an earlier one fails.
package rollback

import (
	"context"
	"errors"
	"fmt"

	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/script"
)

// ErrWrongState means that the deployment is where it cannot be rolled back.
var ErrWrongState = errors.New("cannot roll back from this state")

// ErrUnsupported means that the update module cannot roll back. Nothing was changed.
var ErrUnsupported = errors.New("the update module does not support rollback")

// Run takes the deployment in progress back, because the operator asked for it. Where nothing
// was installed yet it just drops what was downloaded.
func Run(ctx context.Context, d *device.Device) (*deployment.Result, error) {
	return d.Take(func(x *device.Deployment) error { return run(ctx, x) })
}

func run(ctx context.Context, x *device.Deployment) error {
	switch x.Record.State {
	case deployment.Downloading, deployment.Fetched, deployment.Downloaded:
		return Drop(ctx, x)
	case deployment.Installing, deployment.Installed, deployment.Committing, deployment.Confirmed, deployment.RollingBack:
	default:
		return fmt.Errorf("%w: the update is %s", ErrWrongState, x.Record.State)
	}
	// Asked again: the module may be another one than at the time of the install.
	supported, err := x.Handler.SupportsRollback(ctx)
	if err != nil {
		return err
	}
	if !supported {
		x.Result.RollbackRefused = true
		return ErrUnsupported
	}
	x.Record.Asked = true
	return Back(context.WithoutCancel(ctx), x)
}

// Drop ends a deployment of which nothing was activated.
func Drop(ctx context.Context, x *device.Deployment) error {
	x.Result.NotModified = true
	return x.End(context.WithoutCancel(ctx), deployment.Unchanged)
}

// Undo takes back a deployment that failed after something may have been activated. Where the
// handler cannot undo, the device is left inconsistent, and says so in its artifact name.
func Undo(ctx context.Context, x *device.Deployment) error {
	ctx = context.WithoutCancel(ctx) // whatever stopped the way forth must not stop the way back
	supported, err := x.Handler.SupportsRollback(ctx)
	if err == nil && supported {
		return Back(ctx, x)
	}
	if err != nil {
		x.Failed("SupportsRollback", err)
		x.Result.RollbackFailed = true
	} else {
		x.Result.RollbackRefused = true
	}
	x.Record.Outcome = deployment.Inconsistent
	return Fail(ctx, x)
}

// Back runs the whole way back: rolling back, failing, cleaning.
func Back(ctx context.Context, x *device.Deployment) error {
	if err := x.EnterAnyway(deployment.RollingBack); err != nil {
		return err
	}
	x.Record.Outcome = deployment.RolledBack
	if err := x.Scripts(ctx, script.ArtifactRollback, script.Enter); err != nil {
		impossible(x, "ArtifactRollback_Enter", err)
	}
	if err := x.Handler.Rollback(ctx); err != nil {
		impossible(x, "ArtifactRollback", err)
		if x.Selects() {
			// It has happened or not, nothing between; and a trial must not be left without a record.
			x.Record.Outcome = deployment.Undecided
			return nil
		}
	}
	x.Ignored(ctx, script.ArtifactRollback, script.Leave)
	x.Result.RolledBack = x.Record.Outcome == deployment.RolledBack
	x.CheckReboot(ctx)
	return Fail(ctx, x)
}

// Fail tells scripts and handler that the deployment failed, and ends it with the outcome that is
// on record.
func Fail(ctx context.Context, x *device.Deployment) error {
	if err := x.EnterAnyway(deployment.Failing); err != nil {
		return err
	}
	if err := x.Scripts(ctx, script.ArtifactFailure, script.Enter); err != nil {
		impossible(x, "ArtifactFailure_Enter", err)
	}
	if err := x.Handler.Failure(ctx); err != nil {
		impossible(x, "ArtifactFailure", err)
	}
	x.Ignored(ctx, script.ArtifactFailure, script.Leave)
	x.Result.RolledBack = x.Record.Outcome == deployment.RolledBack
	return x.End(ctx, x.Record.Outcome)
}

// impossible notes that a step of the way back failed: the device is not what it was.
func impossible(x *device.Deployment, during string, err error) {
	x.Failed(during, err)
	x.Record.Outcome = deployment.Inconsistent
	x.Result.RollbackFailed = true
}
