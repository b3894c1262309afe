package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"flipside/internal/cmdline"
	"flipside/internal/source"
)

// run reads args, which cmdline.Arrange has put into order, and does what they say.
//
// The library's App.Run is not called. It can print help with text/template, which calls methods by
// names that it knows only when it runs; where that may happen the Go linker has to keep every
// exported method of every type: 1.2 MB of code that nobody calls. Its options, commands and
// contexts do not need it.
func run(ctx context.Context, app *cli.App, args []string) error {
	root := &cli.Command{
		Name: app.Name, HelpName: app.Name, Usage: app.Usage,
		Flags: append(slices.Clone(app.Flags), cli.VersionFlag), Subcommands: app.Commands,
	}
	return runCommand(cli.NewContext(app, nil, &cli.Context{Context: ctx}), root, args)
}

// runCommand runs c with args, or the command below it that they name.
func runCommand(parent *cli.Context, c *cli.Command, args []string) error {
	set, err := parse(c, args)
	if err != nil {
		return usage("%w", cmdline.Explain(err))
	}
	at := cli.NewContext(parent.App, set, parent)
	at.Command = c
	switch sub := c.Command(at.Args().First()); {
	case at.Bool("help"):
		return help(at.App, c)
	case at.Bool("version"):
		_, err := fmt.Fprintf(os.Stdout, "%s version %s\n", at.App.Name, at.App.Version)
		return err
	case sub != nil:
		return runCommand(at, sub, at.Args().Tail())
	case c.Action == nil:
		return noCommand(at)
	}
	return c.Action(at)
}

// noCommand is what there is to do where a command should stand and does not.
func noCommand(at *cli.Context) error {
	asked := at.Command
	for i, word := range at.Args().Slice() {
		if i == 0 && word == "help" {
			continue
		}
		if asked = asked.Command(word); asked == nil {
			return usage("no such command: %s", source.Redact(word))
		}
	}
	if at.NArg() == 0 {
		return usage("no command given")
	}
	return help(at.App, asked)
}

// parse reads the options of c; what follows them is left as the set's arguments.
func parse(c *cli.Command, args []string) (*flag.FlagSet, error) {
	set := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard) // the caller tells what is wrong
	for _, option := range allFlags(c) {
		if _, many := option.(*cli.StringSliceFlag); many {
			values := new(list)
			for _, name := range option.Names() {
				set.Var(values, name, "")
			}
		} else if err := option.Apply(set); err != nil {
			return nil, err
		}
	}
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for _, option := range c.Flags {
		if err := settle(set, option.Names(), given); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// allFlags are the options of c, and --help.
func allFlags(c *cli.Command) []cli.Flag { return append(slices.Clone(c.Flags), cli.HelpFlag) }

// list is the value of an option that may be repeated, while it is read. The library's own cuts at
// commas, which headers and names of files may have, unless App.Run tells it otherwise.
type list []string

func (l *list) String() string         { return strings.Join(*l, " ") }
func (l *list) Set(value string) error { *l = append(*l, strings.TrimSpace(value)); return nil }

// settle gives an option by all its names the value that it was given by one.
func settle(set *flag.FlagSet, names []string, given map[string]bool) error {
	var used []string
	for _, name := range names {
		if given[name] {
			used = append(used, name)
		}
	}
	switch {
	case len(used) == 0:
		return nil
	case len(used) > 1:
		return fmt.Errorf("%s and %s are the same option", dashed(used[0]), dashed(used[1]))
	}
	value := set.Lookup(used[0]).Value
	if values, many := value.(*list); many {
		value = cli.NewStringSlice(*values...)
	}
	for _, name := range names {
		set.Lookup(name).Value = value
	}
	return nil
}
