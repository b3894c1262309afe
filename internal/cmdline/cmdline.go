// Package cmdline puts a command line into the order that the command line library needs: global
// options, command, its options, arguments. People and old scripts write options wherever they
// like; the library ignores those that stand after an argument, which is the one thing that must
// not happen to --reboot-exit-code.
package cmdline

import (
	"errors"
	"regexp"
	"strings"
)

// Spec is what Arrange has to know of a program.
type Spec struct {
	Global   Options
	Commands map[string]Options // by "install" or, for a command of a command, "sandbox create"
}

// Options are names without dashes; true: the option takes a value.
type Options map[string]bool

// oldSpelling are the commands of Mender's first clients, which custom scripts still use.
var oldSpelling = map[string]string{
	"-install": "install", "--install": "install",
	"-commit": "commit", "--commit": "commit",
	"-rollback": "rollback", "--rollback": "rollback",
}

// Arrange returns args (without the program's name) in order. Options that the spec does not know
// stay with the command, so that the library refuses them by name. An option at the end that lacks
// its value stays at the end, whatever else is left out for that: the library must not take an
// argument for it. After "--" nothing is an option.
func Arrange(args []string, spec Spec) []string {
	var a arranged
	for len(args) > 0 {
		arg := args[0]
		if word, ok := oldSpelling[arg]; ok && a.command == nil {
			arg = word
		}
		switch {
		case arg == "--":
			return a.words(args)
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			a.word(arg, spec)
			args = args[1:]
		default:
			args = args[a.option(args, spec):]
		}
	}
	return a.words(nil)
}

type arranged struct {
	global, command, options, arguments []string

	help bool // asked for, so that arguments do not matter
}

// word takes a command or an argument.
func (a *arranged) word(word string, spec Spec) {
	_, known := spec.Commands[strings.Join(append(a.command, word), " ")]
	if len(a.command) == 0 || known && len(a.arguments) == 0 {
		a.command = append(a.command, word)
		return
	}
	a.arguments = append(a.arguments, word)
}

// option takes the option at the head of args, and returns how many words it has.
func (a *arranged) option(args []string, spec Spec) int {
	name, _, valued := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
	takesValue, own := spec.Commands[strings.Join(a.command, " ")][name]
	global := false
	if !own {
		takesValue, global = spec.Global[name]
	}
	n := 1
	if takesValue && !valued {
		n = 2
	}
	if n > len(args) {
		n, a.options, a.arguments = 1, nil, nil
		if global {
			a.command = nil
		}
	}
	a.help = a.help || name == "help" || name == "h"
	if global || len(a.command) == 0 {
		a.global = append(a.global, args[:n]...)
	} else {
		a.options = append(a.options, args[:n]...)
	}
	return n
}

func (a *arranged) words(literal []string) []string {
	var words []string
	if a.help {
		a.arguments, literal = nil, nil // the library would look for help on them
	}
	for _, part := range [][]string{a.global, a.command, a.options, a.arguments, literal} {
		words = append(words, part...)
	}
	return words
}

// complaints are what the command line library says, and what we say instead.
var complaints = []struct {
	theirs *regexp.Regexp
	ours   string
}{
	{regexp.MustCompile(`^flag provided but not defined: (-.)$`), "no such option: $1"},
	{regexp.MustCompile(`^flag provided but not defined: (-.*)$`), "no such option: -$1"},
	{regexp.MustCompile(`^flag needs an argument: (-.)$`), "option $1 needs a value"},
	{regexp.MustCompile(`^flag needs an argument: (-.*)$`), "option -$1 needs a value"},
	{regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([^:]*): .*$`), "option --$2 cannot be $1"},
	{regexp.MustCompile(`^bad flag syntax: (.*)$`), "no such option: $1"},
}

// Explain says in the words of our users what the library found wrong with a command line.
func Explain(err error) error {
	for _, c := range complaints {
		if text := err.Error(); c.theirs.MatchString(text) {
			return errors.New(c.theirs.ReplaceAllString(text, c.ours))
		}
	}
	return err
}
