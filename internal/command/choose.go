package command

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/term"

	"flipside/internal/choose"
	"flipside/internal/device"
	"flipside/internal/source"
)

// chooserOn is chooser for a device that is only looked for when it comes to choosing.
func (f *flipside) chooserOn(o device.Options) source.Chooser {
	return func(ctx context.Context, where string, entries []source.Entry) (source.Entry, error) {
		d, err := device.Open(o)
		if err != nil {
			return source.Entry{}, fmt.Errorf("%s is a directory, and there is no device to choose for: %w", where, err)
		}
		return f.chooser(d)(ctx, where, entries)
	}
}

// chooser chooses an artifact for d where the source is a directory. There is somebody to ask if
// both the question and the answer go by a terminal.
func (f *flipside) chooser(d *device.Device) source.Chooser {
	return func(ctx context.Context, where string, entries []source.Entry) (source.Entry, error) {
		keys, err := d.Keys()
		if err != nil {
			return source.Entry{}, err
		}
		o := choose.Options{Keys: keys, Fits: d.Fits, Yes: f.yes, Note: func(text string) { d.Note("%s", text) }}
		if term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())) {
			o.Ask = func(ctx context.Context, q choose.Question) (int, error) {
				return choose.Ask(ctx, os.Stdin, os.Stderr, q)
			}
		}
		return choose.From(ctx, where, entries, o)
	}
}
