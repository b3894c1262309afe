package command

import (
	"strings"

	"github.com/urfave/cli/v2"

	"flipside/internal/deployment"
	"flipside/internal/progress"
)

// words is the command line as --help tells it: the source of the completions and the man page.
type words struct {
	usage    string
	options  []option // of all commands
	commands []commandWords
}

type commandWords struct {
	name     string // "install", "sandbox create"
	usage    string
	argument string // "URI", "DIR"; "" for none
	options  []option
	group    bool // it is nothing without a command of its own
}

type option struct {
	names []string // "--config", "-c"
	value string   // "FILE"; "" if it takes none
	usage string
}

func wordsOf(app *cli.App) words {
	w := words{usage: app.Usage, options: append(optionsOf(app.Flags), option{names: []string{"--version", "-v"}, usage: "print the version"})}
	w.add("", app.Commands)
	return w
}

func (w *words) add(parent string, commands []*cli.Command) {
	for _, c := range commands {
		name := strings.TrimSpace(parent + " " + c.Name)
		w.commands = append(w.commands, commandWords{name, c.Usage, c.ArgsUsage, optionsOf(c.Flags), c.Subcommands != nil})
		w.add(name, c.Subcommands)
	}
}

// optionsOf are flags, and --help, which each command has. A flag's value has its name between
// backquotes in the usage.
func optionsOf(flags []cli.Flag) (all []option) {
	for _, f := range flags {
		var o option
		for _, name := range f.Names() {
			o.names = append(o.names, dashed(name))
		}
		if d, ok := f.(cli.DocGenerationFlag); ok {
			o.usage = d.GetUsage()
			if parts := strings.Split(o.usage, "`"); d.TakesValue() && len(parts) == 3 {
				o.value = parts[1]
			}
			o.usage = strings.ReplaceAll(o.usage, "`", "")
		}
		all = append(all, o)
	}
	return append(all, option{names: []string{"--help", "-h"}, usage: "show help"})
}

// choices are the values that something called name can have; nil if they are not known.
func choices(name string) []string {
	switch name {
	case "MODE":
		return []string{string(progress.Auto), string(progress.Bar), string(progress.Plain), string(progress.JSON), string(progress.None)}
	case "LEVEL":
		return []string{"error", "warning", "info"}
	case "STATE":
		return deployment.StopNames()
	case "SHELL":
		return []string{"bash", "zsh", "fish"}
	}
	return nil
}

// isFile and isDir say whether something called name is looked for in the file system.
func isFile(name string) bool { return name == "FILE" || name == "URI" }
func isDir(name string) bool  { return name == "DIR" }

// top are the commands that are typed first.
func (w words) top() (all []commandWords) {
	for _, c := range w.commands {
		if !strings.Contains(c.name, " ") {
			all = append(all, c)
		}
	}
	return all
}

// below are the commands of a group, with the names that are typed there.
func (w words) below(group string) (all []commandWords) {
	for _, c := range w.commands {
		if name, ok := strings.CutPrefix(c.name, group+" "); ok {
			c.name = name
			all = append(all, c)
		}
	}
	return all
}

func names(commands []commandWords) (all []string) {
	for _, c := range commands {
		all = append(all, c.name)
	}
	return all
}

// dashed is the name of an option as it is typed.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
