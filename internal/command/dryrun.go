package command

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"

	"flipside/install"
	"flipside/internal/device"
	"flipside/internal/report"
)

// dryRun is install --dry-run.
func (f *flipside) dryRun(c *cli.Context, d *device.Device, open func(context.Context) (io.ReadCloser, error)) error {
	plan, err := install.Plan(c.Context, d, open)
	if err != nil {
		return err
	}
	f.more = func(r *report.Result) { r.Artifact, r.Plan = plan.Artifact, plan }
	f.closeSink()
	for _, line := range report.Plan(plan) {
		f.print(line)
	}
	return nil
}
