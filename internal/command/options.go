package command

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"flipside/internal/cmdline"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/disk"
	"flipside/internal/sandbox"
)

func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "configuration `FILE`"},
		&cli.StringFlag{Name: "fallback-config", Aliases: []string{"b"}, Usage: "configuration `FILE` that the other one overrides"},
		&cli.StringFlag{Name: "datastore", Aliases: []string{"data", "d"}, Usage: "`DIR` of device_type and state; or MENDER_DATASTORE_DIR"},
		&cli.StringFlag{Name: "log-file", Aliases: []string{"L"}, Usage: "write messages to `FILE` too"},
		&cli.StringFlag{Name: "log-level", Aliases: []string{"l"}, Value: "info", Usage: "`LEVEL` of messages: error, warning, info"},
		&cli.StringFlag{Name: "trusted-certs", Aliases: []string{"E"}, Usage: "`FILE` with more certificate authorities for https"},
		&cli.BoolFlag{Name: "skipverify", Usage: "do not verify the server's certificate"},
		&cli.StringFlag{Name: "sandbox", Usage: "work on the device made of files in `DIR`"},
		&cli.StringFlag{Name: "progress", Value: "auto", Usage: "show progress as `MODE`: auto, bar, plain, json, none"},
		&cli.StringFlag{Name: "progress-fd", Usage: "write what happens as JSON lines to the open file `N`"},
		&cli.BoolFlag{Name: "json", Usage: "answer in JSON, see docs/json.md"},
	}
}

// withJSON are the flags of c, and --json, if c can answer so.
func withJSON(c *cli.Command) []cli.Flag {
	if noJSON[c.Name] || slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f.Names()[0] == "json" }) {
		return c.Flags
	}
	return append(slices.Clone(c.Flags), &cli.BoolFlag{Name: "json", Usage: "print JSON lines: what happens, and the result"})
}

// specOf tells cmdline which options take values.
func specOf(app *cli.App) cmdline.Spec {
	options := func(flags []cli.Flag) cmdline.Options {
		o := cmdline.Options{"help": false, "h": false}
		for _, flag := range flags {
			_, isBool := flag.(*cli.BoolFlag)
			for _, name := range flag.Names() {
				o[name] = !isBool
			}
		}
		return o
	}
	spec := cmdline.Spec{Global: options(app.Flags), Commands: map[string]cmdline.Options{}}
	for _, c := range app.Commands {
		spec.Commands[c.Name] = options(c.Flags)
		for _, sub := range c.Subcommands {
			spec.Commands[c.Name+" "+sub.Name] = options(sub.Flags)
		}
	}
	return spec
}

// usageError is a wrong command line.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// noEmptyOption refuses an option whose value is "", as a script's unset variable makes it: it must
// not turn a sandbox into the device itself.
func noEmptyOption(c *cli.Context) error {
	for _, flag := range c.App.Flags {
		if _, ok := flag.(*cli.StringFlag); ok && c.IsSet(flag.Names()[0]) && c.String(flag.Names()[0]) == "" {
			return usage("option --%s needs a value", flag.Names()[0])
		}
	}
	return nil
}

// open opens the device that the global options name.
func (f *flipside) open(c *cli.Context) (*device.Device, error) {
	return f.openWith(c, func(*device.Options) {})
}

// openAlone is open for a command without an argument.
func (f *flipside) openAlone(c *cli.Context) (*device.Device, error) {
	if err := noArgument(c); err != nil {
		return nil, err
	}
	return f.open(c)
}

// openWith is open with more options.
func (f *flipside) openWith(c *cli.Context, more func(*device.Options)) (*device.Device, error) {
	f.opening = true
	o, err := f.deviceOptions(c)
	if err != nil {
		return nil, err
	}
	more(&o)
	if f.device, err = device.Open(o); err != nil {
		return nil, err
	}
	return f.device, nil
}

func (f *flipside) deviceOptions(c *cli.Context) (device.Options, error) {
	o := device.Options{
		ConfDir:   os.Getenv("MENDER_CONF_DIR"),
		DataDir:   os.Getenv("MENDER_DATA_DIR"),
		Datastore: cmp.Or(c.String("datastore"), os.Getenv("MENDER_DATASTORE_DIR")),
	}
	if err := noEmptyOption(c); err != nil {
		return o, err
	}
	if dir := c.String("sandbox"); dir != "" {
		if c.IsSet("datastore") {
			return o, usage("--sandbox and --datastore exclude each other")
		}
		s, err := sandbox.Open(dir)
		if err != nil {
			return o, err
		}
		o = s.Options()
	}
	sink, err := f.sink(c)
	if err != nil {
		return o, err
	}
	stops, err := deployment.ParseStops(c.StringSlice("stop-before"))
	if err != nil {
		return o, usage("%w", err)
	}
	o.FS = disk.OS{}
	o.Sink = sink
	o.Announce = f.print
	o.ConfFile = c.String("config")
	o.FallbackFile = c.String("fallback-config")
	o.Keys = c.StringSlice("key")
	o.NoReadBack = c.Bool("no-verify-media")
	o.Stops = stops
	o.Wake = f.wake
	o.Command = strings.Join(append([]string{c.Command.Name}, redacted(c.Args().Slice())...), " ")
	return o, nil
}

func argument(c *cli.Context, what string) (string, error) {
	switch {
	case c.NArg() > 1:
		return "", usage("too many arguments: %s", strings.Join(redacted(c.Args().Tail()), " "))
	case c.Args().First() == "":
		return "", usage("%s needs %s", c.Command.Name, what)
	}
	return c.Args().First(), nil
}

func noArgument(c *cli.Context) error {
	if c.Args().Present() {
		return usage("unexpected argument %q", c.Args().First())
	}
	return nil
}
