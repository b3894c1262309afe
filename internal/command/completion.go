package command

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

// papers are the commands that print what --help knows in other forms.
func (f *flipside) papers() []*cli.Command {
	return []*cli.Command{
		{
			Name: "completion", ArgsUsage: "SHELL", Usage: "print what makes bash, zsh or fish complete commands and options",
			Action: f.completion,
		},
		{Name: "man", Usage: "print the man page: flipside man | man -l -", Action: f.man},
	}
}

func (f *flipside) completion(c *cli.Context) error {
	shell, err := argument(c, "the name of a shell: bash, zsh or fish")
	if err != nil {
		return err
	}
	w := wordsOf(c.App)
	text := ""
	switch shell {
	case "bash":
		text = w.bash()
	case "zsh":
		text = w.zsh()
	case "fish":
		text = w.fish()
	default:
		return usage("no completion for %q: bash, zsh or fish", shell)
	}
	_, err = io.WriteString(os.Stdout, text)
	return err
}

// bash is the completion for bash, which needs no other package.
func (w words) bash() string {
	var b strings.Builder
	b.WriteString(`# bash completion for flipside. To use it: source <(flipside completion bash)

_flipside_reply() { mapfile -t COMPREPLY < <(compgen "${@:2}" -- "$1"); }

_flipside() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= word i
	COMPREPLY=()
	# --option=value comes as three words
	if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
`)
	fmt.Fprintf(&b, "\t\t%s) [[ ${COMP_WORDS[i+1]} == = ]] && ((i++)); ((i++)) ;;\n", strings.Join(w.valued(), " | "))
	b.WriteString("\t\t-*) ;;\n\t\t*)\n\t\t\tcase \"$command\" in\n\t\t\t'') command=$word ;;\n")
	for _, c := range w.commands {
		if c.group {
			fmt.Fprintf(&b, "\t\t\t%s) case $word in %s) command+=\" $word\" ;; esac ;;\n", c.name, strings.Join(names(w.below(c.name)), " | "))
		}
	}
	b.WriteString("\t\t\tesac ;;\n\t\tesac\n\tdone\n\tcase $prev in\n")
	for _, value := range w.values() {
		fmt.Fprintf(&b, "\t%s) %s; return ;;\n", strings.Join(w.taking(value), " | "), bashChoice(value))
	}
	b.WriteString("\tesac\n\tcase \"$command\" in\n")
	fmt.Fprintf(&b, "\t'') word='%s'\n\t\t[[ $cur == -* ]] || word='%s' ;;\n", strings.Join(optionNames(w.options), " "), strings.Join(names(w.top()), " "))
	for _, c := range w.commands {
		fmt.Fprintf(&b, "\t'%s') word='%s'\n", c.name, strings.Join(optionNames(append(c.options, w.options...)), " "))
		if c.group {
			fmt.Fprintf(&b, "\t\t[[ $cur == -* ]] || word='%s' ;;\n", strings.Join(names(w.below(c.name)), " "))
		} else {
			fmt.Fprintf(&b, "\t\t[[ $cur == -* ]] || { %s; return; } ;;\n", bashChoice(c.argument))
		}
	}
	b.WriteString("\t*) return ;;\n\tesac\n\t_flipside_reply \"$cur\" -W \"$word\"\n}\n\ncomplete -F _flipside flipside\n")
	return b.String()
}

// bashChoice completes a value called name.
func bashChoice(name string) string {
	switch {
	case choices(name) != nil:
		return `_flipside_reply "$cur" -W '` + strings.Join(choices(name), " ") + `'`
	case isFile(name):
		return `compopt -o filenames 2>/dev/null; _flipside_reply "$cur" -f`
	case isDir(name):
		return `compopt -o filenames 2>/dev/null; _flipside_reply "$cur" -d`
	}
	return ":"
}

// every option, of the program and all commands.
func (w words) every() []option {
	all := append([]option{}, w.options...)
	for _, c := range w.commands {
		all = append(all, c.options...)
	}
	return all
}

// valued are the names of all options that take a value.
func (w words) valued() []string {
	var all []string
	for _, value := range w.values() {
		all = append(all, w.taking(value)...)
	}
	return all
}

// values are what the values of options are called, each once.
func (w words) values() (all []string) {
	for _, o := range w.every() {
		if o.value != "" {
			all = appendNew(all, o.value)
		}
	}
	return all
}

// taking are the names of the options whose value is called so.
func (w words) taking(value string) (all []string) {
	for _, o := range w.every() {
		if o.value == value {
			all = appendNew(all, o.names...)
		}
	}
	return all
}

func optionNames(options []option) (all []string) {
	for _, o := range options {
		all = appendNew(all, o.names...)
	}
	return all
}

func appendNew(list []string, words ...string) []string {
	for _, word := range words {
		known := false
		for _, old := range list {
			known = known || old == word
		}
		if !known {
			list = append(list, word)
		}
	}
	return list
}
