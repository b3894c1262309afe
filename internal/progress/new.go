package progress

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// Mode says how to show progress.
type Mode string

const (
	Auto  Mode = "auto"  // a bar on a terminal that can, plain lines elsewhere
	Bar   Mode = "bar"   // one line that is drawn again and again
	Plain Mode = "plain" // lines, for logs and files
	JSON  Mode = "json"  // a Line for each event, for programs
	None  Mode = "none"  // no progress, but notes, warnings and the output of programs
)

// ParseMode reads a Mode.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Auto, Bar, Plain, JSON, None:
		return m, nil
	}
	return "", fmt.Errorf("%q is not a way to show progress: auto, bar, plain, json or none", s)
}

// New returns a Display on w, usually os.Stderr. Close it before writing to the same terminal.
func New(w *os.File, mode Mode) *Display {
	if mode == Auto || mode == "" {
		mode = Plain
		if term.IsTerminal(int(w.Fd())) && canReturn(os.Getenv("TERM")) {
			mode = Bar
		}
	}
	switch mode {
	case Bar:
		return NewBar(w, Terminal{Width: func() int { return width(w) }, Unicode: unicode(os.Getenv)})
	case JSON:
		return NewStream(w)
	case None:
		return NewQuiet(w)
	}
	return NewPlain(w)
}

// canReturn says whether a terminal is known to go back to the beginning of a line.
func canReturn(name string) bool { return name != "" && name != "dumb" && name != "unknown" }

// width asks the terminal. A serial line has no answer; then the environment may know.
func width(w *os.File) int {
	if columns, _, err := term.GetSize(int(w.Fd())); err == nil && columns > 0 {
		return columns
	}
	columns, _ := strconv.Atoi(os.Getenv("COLUMNS")) // 0 if there is none
	return columns
}

// unicode says whether the terminal surely shows more than ASCII: the locale says so, and it is an
// emulator on somebody's desk, not the console of the device.
func unicode(getenv func(string) string) bool {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = strings.ToLower(getenv(name)); locale != "" {
			break
		}
	}
	if !strings.Contains(locale, "utf-8") && !strings.Contains(locale, "utf8") {
		return false
	}
	name := getenv("TERM")
	for _, able := range []string{
		"xterm", "screen", "tmux", "rxvt", "konsole", "gnome", "vte", "alacritty", "kitty", "foot", "wezterm", "st-",
	} {
		if strings.HasPrefix(name, able) {
			return true
		}
	}
	return false
}
