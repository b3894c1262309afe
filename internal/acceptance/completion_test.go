package acceptance_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"flipside/internal/hosttest"
)

// paper writes what flipside prints with args to a file, and returns its name.
func paper(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, out, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// tool runs a program of a Debian package; it must say nothing on standard error.
func tool(t *testing.T, pkg string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), hosttest.Tool(t, pkg, args[0]), args[1:]...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "HOME="+t.TempDir())
	for _, name := range []string{"a name.mender", "dir/x"} {
		file := filepath.Join(cmd.Dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v: %v\n%s", args, err, stderr.String())
	}
	return string(out)
}

// completions are lines to complete, and words that must, and that must not, be offered.
var completions = []struct {
	line      []string
	want, not []string
}{
	{[]string{""}, []string{"install", "commit", "sandbox", "man"}, []string{"create", "--json"}},
	{[]string{"ins"}, []string{"install"}, []string{"commit"}},
	{[]string{"install", "--no-v"}, []string{"--no-verify-media"}, []string{"--fail"}},
	{[]string{"install", "--re"}, []string{"--reboot-exit-code"}, nil},
	{[]string{"--sandbox", "dir", "comm"}, []string{"commit"}, nil},
	{[]string{"--sandbox", "install", "sandbox", "cr"}, []string{"create"}, nil},
	{[]string{"install", "--progress", "pl"}, []string{"plain"}, []string{"json"}},
	{[]string{"--log-level", ""}, []string{"error", "warning", "info"}, nil},
	{[]string{"install", "--stop-before", "Artifact"}, []string{"ArtifactCommit_Enter"}, []string{"Cleanup"}},
	{[]string{"install", "a"}, []string{"a name.mender"}, []string{"dir"}},
	{[]string{"sandbox", "boot", "di"}, []string{"dir"}, nil},
	{[]string{"sandbox", ""}, []string{"create", "boot"}, []string{"install"}},
	{[]string{"completion", "b"}, []string{"bash"}, []string{"fish"}},
	{[]string{"status", "--fa"}, nil, []string{"--fail"}},
}

func quoted(line []string) []string {
	line = slices.Clone(line)
	for i := range line {
		line[i] = "'" + line[i] + "'"
	}
	return line
}

func checkOffer(t *testing.T, line []string, offered string, want, not []string) {
	t.Helper()
	var words []string
	for word := range strings.Lines(offered) {
		word, _, _ = strings.Cut(strings.TrimSuffix(word, "\n"), "\t") // fish adds a description
		words = append(words, strings.TrimSuffix(strings.ReplaceAll(word, `\ `, " "), "/"))
	}
	for _, w := range want {
		if !slices.Contains(words, w) {
			t.Errorf("flipside %q offers %q; want %s", line, words, w)
		}
	}
	for _, w := range not {
		if slices.Contains(words, w) {
			t.Errorf("flipside %q offers %s", line, w)
		}
	}
}

func TestCompletionInBash(t *testing.T) {
	file := paper(t, "flipside.bash", "completion", "bash")
	for _, c := range completions {
		script := "source " + file + "; complete -p flipside >/dev/null || exit 1; COMP_WORDS=(flipside " + strings.Join(quoted(c.line), " ") +
			"); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _flipside; printf '%s\\n' \"${COMPREPLY[@]}\""
		checkOffer(t, c.line, tool(t, "bash", "bash", "--norc", "-c", script), c.want, c.not)
	}
	equals := tool(t, "bash", "bash", "--norc", "-c", "source "+file+"; COMP_WORDS=(flipside --progress = ba); COMP_CWORD=3; _flipside; echo ${COMPREPLY[@]}")
	if equals != "bar\n" {
		t.Errorf("--progress=ba offers %q; want bar", equals)
	}
}

func TestCompletionInFish(t *testing.T) {
	file := paper(t, "flipside.fish", "completion", "fish")
	tool(t, "fish", "fish", "-n", file)
	for _, c := range completions {
		line := "flipside " + strings.Join(c.line, " ")
		checkOffer(t, c.line, tool(t, "fish", "fish", "--private", "-c", "source "+file+"; complete -C '"+line+"'"), c.want, c.not)
	}
}

func TestCompletionInZsh(t *testing.T) {
	file := paper(t, "_flipside", "completion", "zsh")
	tool(t, "zsh", "zsh", "-n", file)
	// Loaded for real, it must define itself.
	out := tool(t, "zsh", "zsh", "-f", "-c", "autoload -Uz compinit; compinit -u -D; source "+file+"; print $_comps[flipside]")
	if out != "_flipside\n" {
		t.Errorf("zsh completes flipside with %q", out)
	}
}

func TestManPage(t *testing.T) {
	file := paper(t, "flipside.8", "man")
	text := tool(t, "groff-base", "groff", "-man", "-Tascii", "-ww", "-P-c", "-P-b", "-P-u", "-P-o", file)
	for _, want := range []string{"flipside install URI", "--reboot-exit-code", "--progress MODE", "EXIT STATUS", "the device fell back"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if lint := tool(t, "mandoc", "mandoc", "-T", "lint", "-W", "warning", file); lint != "" {
		t.Errorf("mandoc: %s", lint)
	}
}
