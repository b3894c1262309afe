package cmdline

import "strings"

// Seen is what a command line says, as far as it can be told without understanding it: how to
// answer must be known even where the command line library refuses it.
type Seen struct {
	Command string            // "install", "sandbox create"; "" for none
	Options map[string]string // by the name that was used; "true" for one that takes no value
}

// Look reads a command line that Arrange has put into order.
func Look(arranged []string, spec Spec) Seen {
	s := Seen{Options: map[string]string{}}
	for len(arranged) > 0 {
		arg := arranged[0]
		arranged = arranged[1:]
		switch {
		case arg == "--":
			return s
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			s.word(arg, spec)
		default:
			arranged = s.option(arg, arranged, spec)
		}
	}
	return s
}

func (s *Seen) word(word string, spec Spec) {
	if s.Command == "" {
		s.Command = word
	} else if _, known := spec.Commands[s.Command+" "+word]; known {
		s.Command += " " + word
	}
}

// option takes an option, and returns what is left of the words behind it.
func (s *Seen) option(arg string, rest []string, spec Spec) []string {
	name, value, valued := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	takesValue, own := spec.Commands[s.Command][name]
	if !own {
		takesValue = spec.Global[name]
	}
	switch {
	case valued:
	case !takesValue:
		value = "true"
	case len(rest) > 0:
		value, rest = rest[0], rest[1:]
	}
	s.Options[name] = value
	return rest
}
