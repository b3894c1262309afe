package command

import (
	"context"
	"errors"
	"io"

	"github.com/urfave/cli/v2"

	"flipside/commit"
	"flipside/install"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/source"
	"flipside/rollback"
)

// stories are the commands that change the device.
func (f *flipside) stories() []*cli.Command {
	stop := &cli.StringSliceFlag{Name: "stop-before", Usage: "stop before `STATE` and keep the update there; may be repeated"}
	reboot := &cli.BoolFlag{Name: "reboot-exit-code", Usage: "exit with 4 if the update takes effect with a reboot"}
	return []*cli.Command{
		{
			Name: "install", ArgsUsage: "URI", Usage: "install an artifact from a file, a directory, an http(s) URL, usb:, nfs://, or - for standard input",
			Flags: sourceFlags(reboot, stop,
				&cli.StringSliceFlag{Name: "key", Usage: "verify the signature with the public key in `FILE` too"},
				&cli.BoolFlag{Name: "single-pass", Usage: "do not verify a file completely before the first byte is written"},
				&cli.BoolFlag{Name: "no-verify-media", Usage: "do not read back what was written"},
				&cli.BoolFlag{Name: "dry-run", Usage: "tell what would be done, and write nothing"},
			),
			Action: f.install,
		},
		{Name: "commit", Usage: "keep the installed update", Flags: []cli.Flag{stop}, Action: f.story(commit.Run)},
		{Name: "rollback", Usage: "take the update back", Flags: []cli.Flag{stop}, Action: f.story(rollback.Run)},
		{Name: "resume", Usage: "go on with an update that was stopped or interrupted", Flags: []cli.Flag{reboot, stop}, Action: f.story(install.Resume)},
	}
}

// install is the command.
func (f *flipside) install(c *cli.Context) error {
	uri, o, err := f.sourceArguments(c)
	if err != nil {
		return err
	}
	d, err := f.openToWork(c, uri)
	if err != nil {
		return err
	}
	open := func(ctx context.Context) (io.ReadCloser, error) { return source.Open(ctx, uri, f.sourceOf(d, o)) }
	if c.Bool("single-pass") {
		open = install.SinglePass(open)
	}
	if c.Bool("dry-run") {
		return f.dryRun(c, d, open)
	}
	makeRoom()
	f.result, err = f.again(func() (*deployment.Result, error) {
		return install.Run(c.Context, d, open)
	})
	return f.finish(c, err)
}

// story is a command without an argument that moves the deployment in progress.
func (f *flipside) story(tell func(context.Context, *device.Device) (*deployment.Result, error)) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := noArgument(c); err != nil {
			return err
		}
		d, err := f.openToWork(c, "")
		if err != nil {
			return err
		}
		f.result, err = tell(c.Context, d)
		return f.finish(c, err)
	}
}

// errReboot is success that asks for a reboot.
var errReboot = errors.New("reboot required")

// finish prints the result block of a story and passes its error on.
func (f *flipside) finish(c *cli.Context, err error) error {
	if err == nil && (f.result.Kept || f.result.RebootRequired) {
		f.next = f.device.Status(c.Context).Next
	}
	if err == nil && f.result.RebootRequired && c.Bool("reboot-exit-code") {
		err = errReboot
	}
	f.interruptionTold()
	f.recordEnd(err)
	f.closeSink()
	for _, line := range f.result.Summary() {
		f.print(line)
	}
	return err
}
