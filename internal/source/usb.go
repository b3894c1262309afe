package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"flipside/internal/disk"
	"flipside/internal/usb"
)

// stickLook is how often we look whether a stick was plugged in.
const stickLook = 250 * time.Millisecond

// stickURI is what a usb: URI says.
type stickURI struct {
	uri, label, uuid string
	path             string // below the root of the file system; "." is the root
}

// openUSB opens usb:[LABEL=...|UUID=...][/path], see Open.
func openUSB(ctx context.Context, uri string, o Options) (*Source, error) {
	s, err := parseStick(uri)
	if err != nil {
		return nil, err
	}
	volumes, err := s.wait(ctx, o)
	if err != nil {
		return nil, err
	}
	sticks, err := s.mount(volumes, o)
	if err != nil {
		return nil, err
	}
	src, used, err := s.pick(ctx, sticks, o)
	for _, st := range sticks {
		if st != used {
			_ = st.root.Close() // nothing was written
		}
	}
	if err != nil {
		return nil, err
	}
	src.release = used.root.Close
	return src, nil
}

func parseStick(uri string) (stickURI, error) {
	_, rest, _ := strings.Cut(uri, ":")
	rest, err := url.PathUnescape(rest)
	if err != nil {
		return stickURI{}, &Error{Op: "opening", URI: uri, usage: true, Err: err, Hint: "in a usb: URL a percent sign is written %25"}
	}
	s := stickURI{uri: Printable(uri)}
	first, below, _ := strings.Cut(rest, "/")
	switch key, value, _ := strings.Cut(first, "="); {
	case strings.EqualFold(key, "LABEL") && value != "":
		s.label = value
	case strings.EqualFold(key, "UUID") && value != "":
		s.uuid = value
	default:
		below = rest
	}
	s.path = path.Clean("/" + below)[1:]
	if s.path == "" {
		s.path = "."
	}
	return s, nil
}

func (s stickURI) failed(text, hint string) *Error {
	return &Error{Op: "opening", URI: s.uri, Err: errors.New(text), Hint: hint, Retryable: true}
}

// wanted says whether the URI means v. Without a label or UUID it means any stick, but no hard disk
// and nothing that the device itself runs from.
func (s stickURI) wanted(v usb.Volume) bool {
	switch {
	case s.label != "":
		return v.Label == s.label
	case s.uuid != "":
		return strings.EqualFold(v.UUID, s.uuid)
	}
	return v.Removable
}

// wait returns the volumes that the URI means, as soon as there are some.
func (s stickURI) wait(ctx context.Context, o Options) ([]usb.Volume, error) {
	until := time.Now().Add(o.WaitMedium)
	for told := false; ; told = true {
		all, err := o.USB.Volumes()
		if err != nil {
			return nil, &Error{Op: "opening", URI: s.uri, Err: disk.Cause(err), Hint: "is sysfs mounted at /sys?"}
		}
		var usable []usb.Volume
		var broken error
		for _, v := range all {
			switch {
			case v.Err == nil && s.wanted(v):
				usable = append(usable, v)
			case v.Err != nil && v.Removable:
				broken = fmt.Errorf("%s: %w", v.Name, v.Err)
			}
		}
		if len(usable) > 0 {
			return usable, nil
		}
		left := time.Until(until)
		if left <= 0 {
			return nil, s.none(all, broken)
		}
		if !told {
			o.Notify("waiting up to " + patience(o.WaitMedium) + " for a USB stick")
		}
		if err := sleep(ctx, min(left, stickLook)); err != nil {
			return nil, err
		}
	}
}

// none says why no volume will do.
func (s stickURI) none(all []usb.Volume, broken error) error {
	var others []string
	for _, v := range all {
		others = append(others, Printable(v.String()))
	}
	switch {
	case errors.Is(broken, fs.ErrPermission):
		return &Error{Op: "opening", URI: s.uri, Err: broken, Hint: "run as root", usage: true}
	case (s.label != "" || s.uuid != "") && len(others) > 0:
		return s.failed("there is no such stick, only "+strings.Join(others, ", "), "plug it in, or check the name; --wait 60s waits for it")
	case broken != nil:
		e := s.failed(broken.Error(), "format the stick, with vfat for example, or plug in another one")
		e.Err = broken
		return e
	}
	return s.failed("there is no USB stick", "plug it in; --wait 60s waits for it")
}

// stick is a volume that is mounted.
type stick struct {
	place string // "usb:LABEL=RELEASE"
	root  *os.Root
}

// mount mounts what can be mounted. It is an error if nothing can.
func (s stickURI) mount(volumes []usb.Volume, o Options) ([]*stick, error) {
	var sticks []*stick
	var failed error
	for _, v := range volumes {
		root, err := usb.Mount(v)
		if err != nil {
			failed = s.unmountable(v, err)
			if len(volumes) > 1 {
				o.Notify(failed.Error())
			}
			continue
		}
		place := "usb:UUID=" + v.UUID
		switch {
		case v.Label != "":
			place = "usb:LABEL=" + url.PathEscape(v.Label)
		case v.UUID == "":
			place = "usb:"
		}
		sticks = append(sticks, &stick{place, root})
	}
	if len(sticks) == 0 {
		return nil, failed
	}
	return sticks, nil
}

func (s stickURI) unmountable(v usb.Volume, err error) *Error {
	e := &Error{Op: "mounting", URI: Printable(v.String()), Err: disk.Cause(err)}
	var unsupported *usb.UnsupportedError
	switch {
	case errors.As(err, &unsupported):
		e.Hint = "format the stick with a file system that the device has: cat /proc/filesystems"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		e.Hint, e.usage = "run as root", true
	case errors.Is(err, unix.EBUSY):
		e.Hint = "something else uses the stick: unmount it"
	default:
		e.Hint, e.Retryable = "is its file system damaged? check it on a computer, or use another stick", true
	}
	return e
}

// pick opens the file that the path names, or what is chosen among the directories of that name on
// all sticks.
func (s stickURI) pick(ctx context.Context, sticks []*stick, o Options) (src *Source, used *stick, err error) {
	var entries []Entry
	var files []*stick
	found := false
	for _, st := range sticks {
		info, err := st.root.Stat(s.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, nil, s.lost(st, err)
		case !info.IsDir():
			files = append(files, st)
			continue
		}
		found = true
		there, err := entriesIn(st.root, s.path, path.Join(st.place, s.path))
		if err != nil {
			return nil, nil, err
		}
		for _, e := range there {
			open := e.open
			e.open = func(ctx context.Context) (*Source, error) { used = st; return open(ctx) }
			entries = append(entries, e)
		}
	}
	switch {
	case len(files) == 1:
		name := path.Join(files[0].place, s.path)
		src, err = openBelow(ctx, files[0].root, s.path, Printable(name))
		return src, files[0], err
	case len(files) > 1:
		e := s.failed(fmt.Sprintf("it is on %d sticks: %s and %s", len(files), files[0].place, files[1].place), "say which one: usb:LABEL=.../path, or usb:UUID=.../path")
		e.usage, e.Retryable = true, false // both are there: it takes another argument, not another time
		return nil, nil, e
	case !found:
		return nil, nil, s.failed("no such file or directory on the stick", "check the path; is it the right stick?")
	case o.Choose == nil:
		return nil, nil, s.failed("it is a directory", "name the artifact in it")
	}
	src, err = choose(ctx, s.uri, o, false, entries)
	return src, used, err
}

// lost is an error of a stick that was there a moment ago.
func (s stickURI) lost(st *stick, err error) *Error {
	e := explainRead(path.Join(st.place, s.path), err)
	if e.Hint == "" {
		e.Hint = "check the path"
	}
	return e
}
