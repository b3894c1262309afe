package module

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"flipside/artifact"
)

// Download gives the payload to the module, as a stream for each file; or, if the module does not
// want streams, puts the files into the tree for it.
func (h *Handler) Download(ctx context.Context, p *artifact.Payload) error {
	sized, err := h.ask(ctx, "ProvidePayloadFileSizes", "Yes", "No")
	if err != nil {
		return err
	}
	d := &download{h: h, payload: p, state: "Download"}
	if sized == "Yes" {
		d.state, d.sized = "DownloadWithFileSizes", true
	}
	err = d.prepare()
	if err == nil {
		err = d.run(ctx)
	}
	if err = errors.Join(err, d.cleanUp()); err != nil {
		return err
	}
	if d.visited {
		return nil
	}
	return h.store(ctx, p)
}

// download is the call of a module for Download, while it lasts: the module asks at stream-next
// for the next stream, and reads that, until there are no more.
type download struct {
	h       *Handler
	payload *artifact.Payload
	state   string
	sized   bool // streams are announced with their sizes
	next    announcer

	alive     context.Context // until the module has ended
	visited   bool            // the module came to stream-next
	complete  bool            // and learned there that it has everything
	sourceErr error           // the artifact is at fault
	kept      []*os.File      // pipes whose end the module must not see: it would mean success
}

func (d *download) prepare() error {
	err := os.Mkdir(d.streams(""), dirMode)
	if err == nil {
		d.next, err = newAnnouncer(d.h.c.Work)
	}
	if err != nil {
		return d.h.failed(d.state, err)
	}
	return nil
}

func (d *download) streams(name string) string {
	return filepath.Join(d.h.c.Work, "streams", name)
}

// cleanUp leaves no pipe that somebody could wait at for ever.
func (d *download) cleanUp() error {
	return errors.Join(
		os.RemoveAll(d.next.path),
		os.RemoveAll(d.next.path+".new"),
		os.RemoveAll(d.streams("")))
}

func (d *download) run(ctx context.Context) error {
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	alive, ended := context.WithCancel(context.WithoutCancel(ctx))
	defer ended()
	d.alive = alive
	var callErr error
	go func() {
		defer ended()
		callErr = d.h.run(running, d.state, nil)
	}()
	feedErr := d.feed(ctx)
	if !errors.Is(feedErr, errGone) {
		if d.sourceErr == nil {
			d.awaitLastWords()
		}
		stop(feedErr)
	}
	<-alive.Done()
	for _, pipe := range d.kept {
		_ = pipe.Close()
	}
	return d.outcome(feedErr, callErr)
}

// awaitLastWords gives a module that does not read on the time to exit by itself: its exit status
// is the better reason.
func (d *download) awaitLastWords() {
	const enough = 2 * time.Second
	t := time.NewTimer(enough)
	defer t.Stop()
	select {
	case <-d.alive.Done():
	case <-t.C:
	}
}

func (d *download) outcome(feedErr, callErr error) error {
	switch {
	case d.sourceErr != nil:
		return d.sourceErr
	case callErr != nil:
		return callErr
	case !errors.Is(feedErr, errGone):
		return d.h.failed(d.state, feedErr)
	case d.visited && !d.complete:
		return d.h.failed(d.state, fmt.Errorf(
			"%w: it exited before it had read all streams and, at the end, an empty stream-next", ErrProtocol))
	}
	return nil
}

// feed serves the module until it has ended (errGone), or something goes wrong.
func (d *download) feed(ctx context.Context) error {
	for {
		visitor, err := d.next.await(d.alive.Done())
		if errors.Is(err, fs.ErrNotExist) { // the module removed it: it will not come again
			<-d.alive.Done()
			return errGone
		}
		if err != nil {
			return err
		}
		d.visited = true
		if err := d.serve(ctx, visitor); err != nil {
			return err
		}
	}
}

// serve gives a visitor of stream-next the next file of the payload, or tells it that there are
// no more; that it may hear as often as it likes.
func (d *download) serve(ctx context.Context, visitor *os.File) error {
	if d.complete {
		return d.next.tell(visitor, "")
	}
	f, err := d.payload.Next()
	if errors.Is(err, io.EOF) {
		d.complete = true
		return d.next.tell(visitor, "")
	}
	if err == nil {
		err = makeFIFO(d.streams(f.Name))
	} else {
		d.sourceErr = err
	}
	if err != nil {
		d.kept = append(d.kept, visitor)
		return err
	}
	text := "streams/" + f.Name + "\n"
	if d.sized {
		text = fmt.Sprintf("streams/%s %d\n", f.Name, f.Size)
	}
	if err := d.next.tell(visitor, text); err != nil {
		return err
	}
	return d.stream(ctx, f)
}

// stream writes a file to its pipe.
func (d *download) stream(ctx context.Context, f *artifact.File) error {
	path := d.streams(f.Name)
	pipe, err := openForReader(path, d.alive.Done())
	if err != nil {
		return err
	}
	// Whoever else may hold the pipe: without the module, nobody is written to.
	release := context.AfterFunc(d.alive, func() { _ = pipe.SetWriteDeadline(time.Unix(1, 0)) })
	defer release()
	w := &counter{ctx: ctx, sink: d.h.c.Sink, file: f, w: pipe}
	if err := w.copy(); err != nil {
		d.kept = append(d.kept, pipe)
		if w.err == nil {
			d.sourceErr = err
		}
		if errors.Is(w.err, syscall.EPIPE) {
			return fmt.Errorf("%w: it stopped reading streams/%s after %d of %d bytes", ErrProtocol, f.Name, w.written, f.Size)
		}
		return err
	}
	w.end()
	// Nobody should wait at it again. If the module was first to remove it, all the better.
	_ = os.Remove(path)
	return pipe.Close()
}
