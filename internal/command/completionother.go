package command

import (
	"fmt"
	"strings"
)

// zsh is the completion for zsh.
func (w words) zsh() string {
	var b strings.Builder
	b.WriteString("#compdef flipside\n# zsh completion for flipside. To use it, put it into a directory of $fpath as _flipside.\n\n_flipside() {\n")
	w.zshLevel(&b, 1, w.options, w.top(), "")
	b.WriteString("}\n\n# when it is sourced, not autoloaded\nif [ \"$funcstack[1]\" = _flipside ]; then _flipside \"$@\"; else compdef _flipside flipside; fi\n")
	return b.String()
}

// zshLevel completes commands with their options, and what comes before them.
func (w words) zshLevel(b *strings.Builder, depth int, options []option, commands []commandWords, group string) {
	tabs := strings.Repeat("\t", depth)
	fmt.Fprintf(b, "%slocal state line ret=1\n%stypeset -A opt_args\n", tabs, tabs)
	fmt.Fprintf(b, "%s_arguments -C%s \\\n%s\t'1: :->command' '*:: :->rest' && ret=0\n", tabs, zshOptions(options, tabs), tabs)
	fmt.Fprintf(b, "%scase $state in\n%scommand)\n%s\tlocal -a commands=(\n", tabs, tabs, tabs)
	for _, c := range commands {
		fmt.Fprintf(b, "%s\t\t'%s:%s'\n", tabs, c.name, zshQuote(c.usage))
	}
	fmt.Fprintf(b, "%s\t)\n%s\t_describe command commands && ret=0 ;;\n%srest)\n%s\tcase $words[1] in\n", tabs, tabs, tabs, tabs)
	for _, c := range commands {
		fmt.Fprintf(b, "%s\t%s)\n", tabs, c.name)
		if c.group {
			w.zshLevel(b, depth+2, c.options, w.below(c.name), c.name)
		} else {
			fmt.Fprintf(b, "%s\t\t_arguments%s%s && ret=0\n", tabs, zshOptions(append(c.options, w.options...), tabs+"\t\t"), zshArgument(c.argument, tabs+"\t\t"))
		}
		fmt.Fprintf(b, "%s\t\t;;\n", tabs)
	}
	fmt.Fprintf(b, "%s\tesac ;;\n%sesac\n", tabs, tabs)
	if group == "" {
		fmt.Fprintf(b, "%sreturn ret\n", tabs)
	}
}

// zshOptions are arguments of _arguments, each on a line of its own.
func zshOptions(options []option, tabs string) string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, o := range options {
		for _, name := range o.names {
			if seen[name] {
				continue
			}
			seen[name] = true
			value := ""
			if o.value != "" {
				value = ":" + o.value + ":" + zshChoice(o.value)
			}
			fmt.Fprintf(&b, " \\\n%s\t'*%s[%s]%s'", tabs, name, zshQuote(o.usage), value)
		}
	}
	return b.String()
}

func zshArgument(name, tabs string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" \\\n%s\t'1:%s:%s'", tabs, name, zshChoice(name))
}

// zshChoice completes a value called name.
func zshChoice(name string) string {
	switch {
	case choices(name) != nil:
		return "(" + strings.Join(choices(name), " ") + ")"
	case isFile(name):
		return "_files"
	case isDir(name):
		return "_files -/"
	}
	return " "
}

// zshQuote is text between single quotes and brackets, and before a colon.
func zshQuote(text string) string {
	return strings.NewReplacer(`'`, `'\''`, `[`, `\[`, `]`, `\]`, `:`, `\:`).Replace(text)
}

// fish is the completion for fish.
func (w words) fish() string {
	var b strings.Builder
	b.WriteString("# fish completion for flipside. To use it: flipside completion fish | source\n\ncomplete -c flipside -f\n")
	for _, o := range w.options {
		fishOption(&b, "", o)
	}
	// __fish_use_subcommand would take the value of an option for a command.
	none := "not __fish_seen_subcommand_from " + strings.Join(names(w.top()), " ")
	for _, c := range w.top() {
		fmt.Fprintf(&b, "complete -c flipside -n '%s' -a %s -d %s\n", none, c.name, fishQuote(c.usage))
		seen := "__fish_seen_subcommand_from " + c.name
		if !c.group {
			fishCommand(&b, seen, c)
			continue
		}
		sub := w.below(c.name)
		all := strings.Join(names(sub), " ")
		for _, s := range sub {
			fmt.Fprintf(&b, "complete -c flipside -n '%s; and not __fish_seen_subcommand_from %s' -a %s -d %s\n", seen, all, s.name, fishQuote(s.usage))
			fishCommand(&b, seen+"; and __fish_seen_subcommand_from "+s.name, s)
		}
	}
	return b.String()
}

func fishCommand(b *strings.Builder, condition string, c commandWords) {
	for _, o := range c.options {
		fishOption(b, condition, o)
	}
	if choice := fishChoice(c.argument); choice != "" {
		fmt.Fprintf(b, "complete -c flipside -n '%s'%s\n", condition, choice)
	}
}

func fishOption(b *strings.Builder, condition string, o option) {
	b.WriteString("complete -c flipside")
	if condition != "" {
		b.WriteString(" -n '" + condition + "'")
	}
	for _, name := range o.names {
		if long, ok := strings.CutPrefix(name, "--"); ok {
			b.WriteString(" -l " + long)
		} else {
			b.WriteString(" -s " + strings.TrimPrefix(name, "-"))
		}
	}
	if o.value != "" {
		b.WriteString(" -r" + fishChoice(o.value))
	}
	fmt.Fprintf(b, " -d %s\n", fishQuote(o.usage))
}

// fishChoice completes a value called name.
func fishChoice(name string) string {
	switch {
	case choices(name) != nil:
		return " -a " + fishQuote(strings.Join(choices(name), " "))
	case isFile(name):
		return " -F"
	case isDir(name):
		return " -a '(__fish_complete_directories)'"
	}
	return ""
}

func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
