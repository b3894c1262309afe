package doctor

import (
	"os/exec"
	"slices"
	"strings"
)

// moduleTools are the programs that the update modules of Mender's own distribution cannot do
// without, beside a shell and what every system has.
var moduleTools = map[string][]string{
	"deb":       {"dpkg"},
	"directory": {"tar"},
	"docker":    {"docker", "jq"},
	"rpm":       {"rpm"},
}

// tools: a module that starts, and then does not find what it calls. A module of the same name that
// somebody else wrote may need none of them, so its text has to name them too.
func (e *examination) tools(name, path string) {
	const longest = 64 << 10 // no module of these is as long
	text, err := firstBytes(path, longest)
	if err != nil || !strings.HasPrefix(string(text), "#!") {
		return
	}
	words := called(string(text))
	missing := slices.DeleteFunc(slices.Clone(moduleTools[name]), func(tool string) bool {
		_, err := exec.LookPath(tool)
		return err == nil || !slices.Contains(words, tool)
	})
	if len(missing) > 0 {
		all := strings.Join(missing, " and ")
		e.warn(Modules, "install "+all+"; or remove the module: its updates fail half way", "%s calls %s, which is not in $PATH", path, all)
	}
}

// called is every word of a script that could be the name of a program.
func called(script string) (words []string) {
	for line := range strings.Lines(script) {
		code, _, _ := strings.Cut(line, "#")
		words = append(words, strings.FieldsFunc(code, func(r rune) bool {
			return strings.ContainsRune(" \t\n\"'`$(){}|&;", r)
		})...)
	}
	return words
}
