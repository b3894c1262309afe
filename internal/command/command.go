// Package command is flipside's command line: options and arguments in, words and an exit code
// out. It is the only place that prints, and the only one that knows the command line library.
package command

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"flipside/internal/cmdline"
	"flipside/internal/demo"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/progress"
	"flipside/internal/source"
)

// Program is what the commands need to know of the program that they are part of.
type Program struct {
	Version string
	Built   string // seconds since 1970; "": ask the Go toolchain
	Demo    demo.Artifacts
}

// Run is the whole program: arguments (without the program's name) in, exit code out.
func (p Program) Run(args []string) (exitCode int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the first signal ends cleanly, the second one kills
	f := &flipside{Program: p, built: builtAt(p.Built), wake: make(chan struct{}, 1)}
	defer f.listen()()
	app := f.app()
	ourWay(app.Commands)
	spec := specOf(app)
	args = cmdline.Arrange(args, spec)
	err := f.answer.open(cmdline.Look(args, spec))
	if err == nil {
		err = app.RunContext(ctx, append([]string{app.Name}, args...))
	}
	return f.end(err)
}

// flipside is one run of the program.
type flipside struct {
	Program
	built    time.Time          // the program; zero: not known
	opening  bool               // the command is about a device
	device   *device.Device     // once it is open
	result   *deployment.Result // once there is one
	displays []*progress.Display
	watch    progress.Sink // what the command line made of the displays
	log      *os.File      // --log-file; it is open until the program ends
	wake     chan struct{} // SIGUSR1: another process says "run the waiting script now"
	yes      bool          // --yes
	answer
}

// listen takes the signals that do not end a run, until the function that it returns is called.
// SIGUSR1 runs a waiting state script again. A terminal that is gone (SIGHUP) or a reader that is
// gone (SIGPIPE) must not stop an update half way. They are taken, not ignored: what is ignored
// would be ignored by scripts and modules too.
func (f *flipside) listen() (stop func()) {
	signals := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		defer close(done)
		for s := range signals {
			if s != syscall.SIGUSR1 {
				continue
			}
			select {
			case f.wake <- struct{}{}:
			default: // it is awake already
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

func (f *flipside) app() *cli.App {
	return &cli.App{
		Name:                      "flipside",
		Usage:                     "update embedded Linux devices from Mender Artifacts",
		Version:                   f.Version,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {}, // run decides on the exit code
		OnUsageError:              misused,
		Action:                    noCommand,
		Flags:                     globalFlags(),
		Commands:                  slices.Concat(f.stories(), f.questions(), f.playground(), f.papers()),
	}
}

// ourWay makes commands complain as the program does, where the library would print its help on
// standard output, and takes their argument for an argument even if it is "help".
func ourWay(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError, c.HideHelpCommand = misused, true
		if c.Subcommands == nil {
			c.Flags = withJSON(c)
		}
		if c.Subcommands != nil {
			c.Action = noCommand
			ourWay(c.Subcommands)
		}
	}
}

// misused is a command line that the library does not understand.
func misused(_ *cli.Context, err error, _ bool) error { return usage("%w", cmdline.Explain(err)) }

// noCommand is what there is to do without one.
func noCommand(c *cli.Context) error {
	switch word := c.Args().First(); word {
	case "help":
		return cli.ShowAppHelp(c)
	case "":
		return usage("no command given")
	default:
		return usage("no such command: %s", source.Redact(word))
	}
}
