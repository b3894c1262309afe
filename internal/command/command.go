// Package command is flipside's command line: options and arguments in, words and an exit code
// out. It is the only place that prints, and the only one that knows the command line library.
package command

import (
	"context"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"flipside/internal/cmdline"
	"flipside/internal/demo"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/eventlog"
	"flipside/internal/progress"
)

// Program is what the commands need to know of the program that they are part of.
type Program struct {
	Version string
	Built   string // seconds since 1970; "": ask the Go toolchain
	Demo    demo.Artifacts
}

// Run is the whole program: arguments (without the program's name) in, exit code out.
func (p Program) Run(args []string) (exitCode int) {
	ctx, interrupt := context.WithCancelCause(context.Background())
	defer interrupt(nil)
	f := &flipside{Program: p, built: builtAt(p.Built), wake: make(chan struct{}, 1)}
	defer f.listen(interrupt)()
	app := f.app()
	ourWay(app.Name, app.Commands)
	spec := specOf(app)
	args = cmdline.Arrange(args, spec)
	err := f.answer.open(cmdline.Look(args, spec))
	if err == nil {
		err = run(ctx, app, args)
	}
	return f.end(err)
}

// flipside is one run of the program.
type flipside struct {
	Program
	built            time.Time          // the program; zero: not known
	opening          bool               // the command is about a device
	device           *device.Device     // once it is open
	result           *deployment.Result // once there is one
	displays         []*progress.Display
	watch            progress.Sink // what the command line made of the displays
	recorder         *eventlog.Log // of a command that changes the device
	working          atomic.Bool   // it is such a command
	interruptionTold func()        // waits until it is
	log              *os.File      // --log-file; it is open until the program ends
	wake             chan struct{} // SIGUSR1: another process says "run the waiting script now"
	yes              bool          // --yes
	answer
}

func (f *flipside) app() *cli.App {
	return &cli.App{
		Name:     "flipside",
		Usage:    "update embedded Linux devices from Mender Artifacts",
		Version:  f.Version,
		Flags:    globalFlags(),
		Commands: slices.Concat(f.stories(), f.questions(), f.seat(), f.playground(), f.papers()),
	}
}

// ourWay completes commands, which are typed after path.
func ourWay(path string, commands []*cli.Command) {
	for _, c := range commands {
		c.HelpName = path + " " + c.Name
		if c.Subcommands == nil {
			c.Flags = withJSON(c)
		}
		ourWay(c.HelpName, c.Subcommands)
	}
}
