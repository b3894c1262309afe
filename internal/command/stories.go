package command

import (
	"context"
	"errors"
	"fmt"
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
			Name: "install", ArgsUsage: "URI", Usage: "install an artifact from a file, an http(s) URL, or - for standard input",
			Flags: sourceFlags(reboot, stop,
				&cli.StringSliceFlag{Name: "key", Usage: "verify the signature with the public key in `FILE` too"},
				&cli.BoolFlag{Name: "no-verify-media", Usage: "do not read back what was written"},
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
	f.result, err = f.again(func() (*deployment.Result, error) {
		return install.Run(c.Context, d, func(ctx context.Context) (io.ReadCloser, error) {
			return source.Open(ctx, uri, f.sourceOf(d, o))
		})
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
	f.recordEnd(c, err)
	f.closeSink()
	for _, line := range f.result.Summary() {
		fmt.Println(line)
	}
	if err != nil {
		return err
	}
	if f.result.Kept || f.result.RebootRequired {
		for _, step := range f.device.Status(c.Context).Next {
			f.say("next: %s", step)
		}
	}
	if f.rebootCode(c) {
		return errReboot
	}
	return nil
}
