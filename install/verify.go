package install

import (
	"context"
	"errors"
	"fmt"
	"io"

	"flipside/artifact"
	"flipside/internal/device"
	"flipside/internal/progress"
)

// Verify reads a whole artifact, checks all that an install would check of it, and whether it
// fits the device. It writes nothing and needs no lock. The verdict is one sentence.
func Verify(ctx context.Context, d *device.Device, r io.Reader) (verdict string, err error) {
	keys, err := d.Keys()
	if err != nil {
		return "", err
	}
	h, err := verifyAll(ctx, d, r, keys, progress.Verify)
	if err != nil {
		return "", err
	}
	d.Emit(progress.Event{Kind: progress.Done})
	signature := "its signature was not checked, because no keys are configured"
	if len(keys) > 0 {
		signature = "its signature is right"
	}
	return fmt.Sprintf("%s is complete, %s, and it fits this device", h.Name, signature), nil
}

// verifyAll reads a whole artifact, and emits phase. That it is for another device is noticed before the
// payload is read, that it is too large before its end.
func verifyAll(ctx context.Context, d *device.Device, r io.Reader, keys []artifact.PublicKey, phase progress.Phase) (*artifact.Header, error) {
	c := newCounted(r, d, phase)
	c.tell(progress.Begin)
	ar, err := artifact.NewReader(c, keys)
	if err != nil {
		return nil, err
	}
	defer ar.Close()
	if err := d.Fits(ar.Header()); err != nil {
		return nil, err
	}
	if err := verifyPayloads(ctx, d, ar); err != nil {
		return nil, err
	}
	c.tell(progress.End)
	return ar.Header(), nil
}

func verifyPayloads(ctx context.Context, d *device.Device, ar *artifact.Reader) error {
	for {
		p, err := ar.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := verifyFiles(ctx, d, p); err != nil {
			return err
		}
	}
}

func verifyFiles(ctx context.Context, d *device.Device, p *artifact.Payload) error {
	for {
		f, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := d.FitsSlot(p.Type, f.Size); err != nil {
			return err
		}
		if _, err := io.Copy(discard{ctx}, f); err != nil {
			return err
		}
	}
}

// discard forgets bytes until its context is done.
type discard struct{ ctx context.Context }

func (d discard) Write(b []byte) (int, error) { return len(b), d.ctx.Err() }
