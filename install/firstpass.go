package install

import (
	"context"
	"io"
	"runtime/debug"

	"flipside/artifact"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/progress"
)

// rereadable is what a source of bytes may be able to do beside reading.
type rereadable interface {
	Rewindable() bool
	Rewind() error
	Size() int64 // -1: unknown
}

// SinglePass hides that what open returns can be read a second time: Run then begins to write
// before it has seen the end of the artifact, as it does with what comes from a network.
func SinglePass(open func(context.Context) (io.ReadCloser, error)) func(context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		r, err := open(ctx)
		if err != nil {
			return nil, err
		}
		return struct{ io.ReadCloser }{r}, nil
	}
}

// firstPass verifies the whole artifact before anything is changed, where it can be read twice. A
// damaged stick is then noticed while the inactive slot still holds what one may want to go back to.
func firstPass(ctx context.Context, d *device.Device, r io.Reader, keys []artifact.PublicKey) error {
	src, ok := r.(rereadable)
	if !ok || !src.Rewindable() {
		return nil
	}
	c := &counted{r: r, d: d, total: max(src.Size(), 0)}
	d.Emit(progress.Event{Kind: progress.Begin, Phase: progress.VerifySource, Total: c.total})
	if _, err := verifyAll(ctx, d, c, keys); err != nil {
		return &deployment.Failure{During: string(progress.VerifySource), Device: deployment.DeviceUnchanged, Err: err, Plain: true}
	}
	d.Emit(progress.Event{Kind: progress.End, Phase: progress.VerifySource, In: c.n, Total: c.total})
	debug.FreeOSMemory() // the second pass needs as much, and a dictionary of xz is most of it
	return src.Rewind()
}

// counted tells how far a reader was read.
type counted struct {
	r     io.Reader
	d     *device.Device
	n     int64
	told  int64
	total int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	const often = 1 << 20 // enough for any display
	if c.n-c.told >= often {
		c.told = c.n
		c.d.Emit(progress.Event{Kind: progress.Advance, Phase: progress.VerifySource, Done: c.n, In: c.n, Total: c.total})
	}
	return n, err
}
