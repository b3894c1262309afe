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
	if _, err := verifyAll(ctx, d, r, keys, progress.VerifySource); err != nil {
		return &deployment.Failure{During: string(progress.VerifySource), Device: deployment.DeviceUnchanged, Err: err, Plain: true}
	}
	debug.FreeOSMemory() // the second pass needs as much, and a dictionary of xz is most of it
	return src.Rewind()
}
