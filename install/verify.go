package install

import (
	"context"
	"errors"
	"fmt"
	"io"

	"flipside/artifact"
	"flipside/internal/device"
)

// Verify reads a whole artifact, checks all that an install would check of it, and whether it
// fits the device. It writes nothing and needs no lock. The verdict is one sentence.
func Verify(ctx context.Context, d *device.Device, r io.Reader) (verdict string, err error) {
	keys, err := d.Keys()
	if err != nil {
		return "", err
	}
	ar, err := artifact.NewReader(d.Counted(r), keys)
	if err != nil {
		return "", err
	}
	defer ar.Close()
	h := ar.Header()
	if err := d.Fits(h); err != nil {
		return "", err
	}
	if err := verifyPayloads(ctx, d, ar); err != nil {
		return "", err
	}
	signature := "its signature was not checked, because no keys are configured"
	if len(keys) > 0 {
		signature = "its signature is right"
	}
	return fmt.Sprintf("%s is complete, %s, and it fits this device", h.Name, signature), nil
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
