package module

import (
	"context"
	"io"

	"flipside/artifact"
	"flipside/internal/progress"
)

// counter copies a payload file to where it goes. It tells of the progress, stops with ctx, and
// keeps the errors of this side apart from those of the artifact.
type counter struct {
	ctx  context.Context
	sink progress.Sink
	file *artifact.File
	w    io.Writer
	safe func() int64 // how much of what was written is where it belongs; nil: all

	written int64
	err     error // of ctx or w
}

// copy copies the whole file.
func (c *counter) copy() error {
	c.emit(progress.Event{Kind: progress.Begin, Total: c.file.Size, Text: c.file.Name})
	_, err := c.file.WriteTo(c)
	return err
}

func (c *counter) Write(p []byte) (n int, err error) {
	if c.ctx.Err() != nil {
		c.err = context.Cause(c.ctx)
		return 0, c.err
	}
	n, c.err = c.w.Write(p)
	c.written += int64(n)
	done := c.written
	if c.safe != nil {
		done = c.safe()
	}
	c.emit(progress.Event{Kind: progress.Advance, Done: done, Total: c.file.Size, Written: c.written})
	return n, c.err
}

// end tells that all of the file is where it belongs.
func (c *counter) end() {
	c.emit(progress.Event{Kind: progress.End, Done: c.written, Total: c.file.Size, Written: c.written})
}

func (c *counter) emit(e progress.Event) {
	e.Phase = progress.Download
	c.sink.Emit(e)
}
