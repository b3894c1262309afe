// Package install is the install command: from the first byte of an artifact to an update on
// trial, or to a committed one where the payload cannot be rolled back.
package install

import (
	"context"
	"errors"
	"io"

	"flipside/artifact"
	"flipside/commit"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/payload"
	"flipside/internal/script"
	"flipside/rollback"
)

// Run installs the artifact that open returns; it is opened once the device is known to be free,
// and closed. Until the last byte is verified nothing is activated; until the header is verified
// and fits nothing is changed.
func Run(ctx context.Context, d *device.Device, open func(context.Context) (io.ReadCloser, error)) (*deployment.Result, error) {
	refused := &deployment.Result{NotModified: true}
	lock, err := d.Lock()
	if err != nil {
		return refused, err
	}
	defer lock.Release()
	if err := clearTheWay(ctx, d); err != nil {
		return refused, err
	}
	refused.DownloadFailed = true
	keys, err := d.Keys()
	if err != nil {
		return refused, err
	}
	src, err := open(ctx)
	if err != nil {
		return refused, err
	}
	defer src.Close()
	if err := firstPass(ctx, d, src, keys); err != nil {
		return refused, err
	}
	ar, err := artifact.NewReader(d.Counted(src), keys)
	if err != nil {
		return refused, err
	}
	defer ar.Close()
	x, err := d.Begin(ctx, ar.Header())
	if err != nil {
		return refused, err
	}
	d.Announce("Installing artifact...")
	if x.Handler == nil {
		return x.Finish(adopt(x, ar))
	}
	return x.Finish(download(ctx, x, ar))
}

// clearTheWay refuses to install over a deployment that waits for a decision. What is left of an
// interrupted download, and of an update that the bootloader gave up, needs none: it is ended.
func clearTheWay(ctx context.Context, d *device.Device) error {
	x, err := d.Current()
	if errors.Is(err, deployment.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	x.DoNotStop()
	switch {
	case x.Record.State == deployment.Downloading:
		d.Note("cleaning up after an interrupted download of %s", x.Record.Artifact.Name)
		_, err = x.Finish(rollback.Drop(ctx, x))
		return err
	case gaveUp(ctx, x):
		d.Note("%s did not come up and the device fell back; ending that update first", x.Record.Artifact.Name)
		x.Record.Asked = true
		_, err = x.Finish(rollback.Back(context.WithoutCancel(ctx), x))
		return err
	}
	return &deployment.BusyError{Record: &x.Record}
}

// gaveUp says whether the bootloader did not keep what was installed.
func gaveUp(ctx context.Context, x *device.Deployment) bool {
	return x.Record.State == deployment.Installed && errors.Is(x.Handler.Ready(ctx), payload.ErrFellBack)
}

// adopt records an artifact without a payload, once its end was verified too.
func adopt(x *device.Deployment, ar *artifact.Reader) error {
	x.Result.NullPayload = true
	for {
		switch _, err := ar.Next(); {
		case errors.Is(err, io.EOF):
			x.Record.Outcome = deployment.Succeeded
			x.Result.Installed, x.Result.Committed = true, true
			return x.Adopt()
		case err != nil:
			x.Result.DownloadFailed, x.Result.NotModified = true, true
			return err
		}
	}
}

// download brings the payload to where it can be installed, activating nothing.
func download(ctx context.Context, x *device.Deployment, ar *artifact.Reader) error {
	if err := x.Enter(deployment.Downloading); err != nil {
		x.Result.DownloadFailed, x.Result.NotModified = true, true
		return err
	}
	during, err := "Download_Enter", x.Scripts(ctx, script.Download, script.Enter)
	if err == nil {
		during, err = "download", x.Fetch(ctx, ar)
	}
	if err == nil {
		// Asked now, while nothing is activated: a module that cannot answer changes nothing.
		during = "SupportsRollback"
		x.Record.SupportsRollback, err = x.Handler.SupportsRollback(ctx)
	}
	if err != nil {
		return downloadFailed(ctx, x, during, err)
	}
	if err := x.Enter(deployment.Fetched); err != nil {
		return abandon(ctx, x, err)
	}
	return leaveDownload(ctx, x)
}

// leaveDownload runs the Download_Leave scripts: the place where products wait for a maintenance
// window, perhaps for days.
func leaveDownload(ctx context.Context, x *device.Deployment) error {
	if err := x.Scripts(ctx, script.Download, script.Leave); err != nil {
		return downloadFailed(ctx, x, "Download_Leave", err)
	}
	x.Result.Streamed = true
	if err := x.Enter(deployment.Downloaded); err != nil {
		return abandon(ctx, x, err)
	}
	return activate(ctx, x)
}

func downloadFailed(ctx context.Context, x *device.Deployment, during string, err error) error {
	x.Failed(during, err)
	x.Result.DownloadFailed = true
	x.Ignored(context.WithoutCancel(ctx), script.Download, script.Error)
	return rollback.Drop(ctx, x)
}

// abandon ends a deployment whose next state could not be recorded, unless it only stopped.
func abandon(ctx context.Context, x *device.Deployment, err error) error {
	if errors.Is(err, deployment.ErrStopped) {
		x.Result.Streamed = true
		return err
	}
	return errors.Join(err, rollback.Drop(ctx, x))
}

// activate installs what was downloaded.
func activate(ctx context.Context, x *device.Deployment) error {
	if err := x.Enter(deployment.Installing); err != nil {
		return abandon(ctx, x, err)
	}
	during, err := "ArtifactInstall_Enter", x.Scripts(ctx, script.ArtifactInstall, script.Enter)
	if err == nil {
		during, err = "ArtifactInstall", x.Handler.Install(ctx)
	}
	if err == nil {
		during, err = "ArtifactInstall_Leave", x.Scripts(ctx, script.ArtifactInstall, script.Leave)
	}
	if err != nil {
		x.Failed(during, err)
		x.Result.InstallFailed = true
		x.Ignored(context.WithoutCancel(ctx), script.ArtifactInstall, script.Error)
		return rollback.Undo(ctx, x)
	}
	reboot, err := x.Handler.NeedsReboot(ctx)
	if err != nil {
		x.Failed("NeedsArtifactReboot", err)
		return rollback.Undo(ctx, x)
	}
	x.Record.RebootWanted = reboot != payload.NoReboot
	return installed(ctx, x)
}

// installed leaves the decision to the operator where there is one to make.
func installed(ctx context.Context, x *device.Deployment) error {
	x.Result.Installed = true
	x.Result.RebootRequired = x.Record.RebootWanted
	if err := x.Enter(deployment.Installed); err != nil {
		if errors.Is(err, deployment.ErrStopped) {
			return err
		}
		x.Failed("", err)
		return rollback.Undo(ctx, x)
	}
	if x.Record.SupportsRollback {
		x.Done()
		return nil
	}
	x.Result.CannotRollBack = true
	err := commit.Confirm(ctx, x)
	if x.Result.Committed {
		x.Done()
	}
	return err
}
