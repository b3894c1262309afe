package command

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"flipside/internal/demo"
	"flipside/internal/sandbox"
)

// playground are the commands that make and drive a device made of files.
func (f *flipside) playground() []*cli.Command {
	return []*cli.Command{
		{Name: "sandbox", Usage: "make and boot a device made of files", Subcommands: []*cli.Command{
			{
				Name: "create", ArgsUsage: "DIR", Usage: "make a device in DIR", Action: f.sandboxCreate,
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "device-type", Value: "sandbox", Usage: "its device `TYPE`"},
					&cli.Int64Flag{Name: "slot-size", Value: 64, Usage: "size of each slot in `MiB`"},
				},
			},
			{
				Name: "boot", ArgsUsage: "DIR", Usage: "do what the bootloader would do", Action: f.sandboxBoot,
				Flags: []cli.Flag{&cli.BoolFlag{Name: "fail", Usage: "what is selected does not come up"}},
			},
		}},
		{Name: "demo", Usage: "show the whole life of an update on a device made of files", Action: f.demo},
	}
}

func (f *flipside) sandboxCreate(c *cli.Context) error {
	dir, err := argument(c, "a directory")
	if err != nil {
		return err
	}
	const mib = 1 << 20
	if n := c.Int64("slot-size"); n < 1 || n > 1<<20 {
		return usage("a slot of %d MiB is not possible", n)
	}
	s, err := sandbox.Create(c.Context, dir, sandbox.Spec{DeviceType: c.String("device-type"), SlotSize: c.Int64("slot-size") * mib})
	if err != nil {
		return err
	}
	f.print(fmt.Sprintf("%s is a device of type %s; use it with: flipside --sandbox %s install ARTIFACT", s.Dir, c.String("device-type"), dir))
	return nil
}

func (f *flipside) sandboxBoot(c *cli.Context) error {
	dir, err := argument(c, "a directory")
	if err != nil {
		return err
	}
	s, err := sandbox.Open(dir)
	if err != nil {
		return err
	}
	lines, err := s.Boot(c.Context, c.Bool("fail"))
	for _, line := range lines {
		f.print(line)
	}
	return err
}

func (f *flipside) demo(c *cli.Context) error {
	if err := noArgument(c); err != nil {
		return err
	}
	return demo.Run(c.Context, os.Stdout, f.Program.Demo, f.Program.Run)
}
