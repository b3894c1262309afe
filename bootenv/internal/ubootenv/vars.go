package ubootenv

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ErrReadOnly means that the variable .flags forbids the change.
var ErrReadOnly = errors.New("the variable is read-only")

// Vars are the variables as U-Boot understands the entries: the last of a name wins, "name" and
// "name=" delete it, blanks before a name do not count, and "#" begins a comment. Values are as
// stored: U-Boot's import takes one level of backslashes away, its export doubles them.
func (im Image) Vars() map[string]string {
	vars := make(map[string]string, len(im.Entries))
	for _, e := range im.Entries {
		switch name, value := parse(e); {
		case name == "":
		case value == "":
			delete(vars, name)
		default:
			vars[name] = value
		}
	}
	return vars
}

// parse returns an empty name for what is no variable.
func parse(entry string) (name, value string) {
	entry = strings.TrimLeft(entry, " \t")
	if strings.HasPrefix(entry, "#") {
		return "", ""
	}
	name, value, _ = strings.Cut(entry, "=")
	return name, value
}

// Rejected: an entry has a value and no name. U-Boot then drops the whole environment, although
// its checksum is right, and takes its built-in defaults.
func (im Image) Rejected() bool { return slices.ContainsFunc(im.Entries, rejected) }

func rejected(entry string) bool {
	entry = strings.TrimLeft(entry, " \t")
	return len(entry) > 1 && entry[0] == '='
}

// With returns the image with changes; an empty value deletes. Entries of other names stay as they
// are and where they are, except those that make U-Boot drop the environment.
func (im Image) With(changes map[string]string) Image {
	entries := make([]string, 0, len(im.Entries)+len(changes))
	rest := maps.Clone(changes)
	for _, e := range im.Entries {
		name, _ := parse(e)
		if _, changed := changes[name]; !changed {
			if !rejected(e) {
				entries = append(entries, e)
			}
			continue
		}
		// The first entry of the name gets the value, the others go: the last would win.
		if value := rest[name]; value != "" {
			entries = append(entries, name+"="+value)
		}
		delete(rest, name)
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		if rest[name] != "" {
			entries = append(entries, name+"="+rest[name])
		}
	}
	im.Entries, im.Unterminated = entries, false
	return im
}

// CheckAccess refuses changes of variables that .flags declares read-only ("name:sr") or
// write-once ("name:so"). Names in .flags are taken literally: only a U-Boot with CONFIG_REGEX
// knows patterns there.
func (im Image) CheckAccess(changes map[string]string) error {
	vars := im.Vars()
	for flag := range strings.SplitSeq(vars[".flags"], ",") {
		name, attributes, _ := strings.Cut(flag, ":")
		value, changed := changes[name]
		if !changed || value == vars[name] || len(attributes) < 2 {
			continue
		}
		_, exists := vars[name]
		if access := attributes[1]; access == 'r' || access == 'o' && exists {
			return fmt.Errorf("%w: %s, by .flags", ErrReadOnly, name)
		}
	}
	return nil
}
