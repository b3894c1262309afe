package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"flipside/internal/disk"
)

// Entry is a file in a directory that a URI names.
type Entry struct {
	Place    string // the directory, as people name it: "/media/usb", "usb:LABEL=RELEASE"
	Name     string // of the file in it
	Size     int64
	Modified time.Time

	open func(ctx context.Context) (*Source, error)
}

// Path is the entry's name for people, and, for a directory, what Open takes.
func (e Entry) Path() string { return Printable(strings.TrimSuffix(e.Place, "/") + "/" + e.Name) }

// Printable is s, quoted if a terminal would take something in it for a command: whoever wrote a
// stick chose the names on it.
func Printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// Open opens the file. The Source must be closed before the choice is made.
func (e Entry) Open(ctx context.Context) (*Source, error) { return e.open(ctx) }

// Chooser chooses among the files of all directories that a URI means; their order is that of their
// names. where is the URI for people. If none of the files is an artifact at all its error matches
// ErrNothing.
type Chooser func(ctx context.Context, where string, entries []Entry) (Entry, error)

// ErrNothing means that there is no artifact in a directory.
var ErrNothing = errors.New("there is no artifact in it")

// maxEntries is more than anybody keeps in one directory; what a broken file system lists has no end.
const maxEntries = 10000

// choose asks the chooser, and opens what it has chosen.
func choose(ctx context.Context, where string, o Options, local bool, entries []Entry) (*Source, error) {
	if len(entries) > maxEntries {
		return nil, &Error{
			Op: "opening", URI: where, usage: true, Err: fmt.Errorf("there are more than %d files in it", maxEntries),
			Hint: "name the artifact in it",
		}
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path(), b.Path()) })
	chosen, err := o.Choose(ctx, where, entries)
	if errors.Is(err, ErrNothing) {
		return nil, &Error{Op: "opening", URI: where, usage: local, Err: err, Hint: "put an artifact there, or name the place where it is"}
	}
	if err != nil {
		return nil, err
	}
	return chosen.Open(ctx)
}

// openDir opens what is chosen in a directory of this device.
func openDir(ctx context.Context, dir, name string, o Options) (*Source, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, explainOpen(name, disk.Cause(err))
	}
	defer root.Close()
	entries, err := entriesIn(root, ".", name)
	if err != nil {
		return nil, err
	}
	return choose(ctx, name, o, true, entries)
}

// entriesIn lists the regular files in a directory below root, which people call place. Symbolic
// links are followed as far as they stay below root.
func entriesIn(root *os.Root, dir, place string) ([]Entry, error) {
	d, err := root.Open(dir)
	if err != nil {
		return nil, explainOpen(place, disk.Cause(err))
	}
	defer d.Close()
	names, err := d.Readdirnames(maxEntries + 1)
	if err != nil && err != io.EOF {
		return nil, explainRead(place, err)
	}
	var entries []Entry
	for _, name := range names {
		below := path.Join(dir, name)
		info, err := root.Stat(below)
		if err != nil || !info.Mode().IsRegular() {
			continue // a directory, or a link to nowhere
		}
		entries = append(entries, Entry{
			Place: place, Name: name, Size: info.Size(), Modified: info.ModTime(),
			open: func(ctx context.Context) (*Source, error) {
				return openBelow(ctx, root, below, Printable(path.Join(place, name)))
			},
		})
	}
	return entries, nil
}

// openBelow opens a regular file below root.
func openBelow(ctx context.Context, root *os.Root, below, name string) (*Source, error) {
	// O_NONBLOCK: see openNamed.
	f, err := root.OpenFile(below, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, explainOpen(name, disk.Cause(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a file")
	}
	if err != nil {
		_ = f.Close()
		return nil, explainOpen(name, err)
	}
	return &Source{ctx: ctx, in: &file{f: f, name: name, size: info.Size()}, name: name}, nil
}
