package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"flipside/artifact"
	"flipside/internal/deployment"
	"flipside/internal/device"
)

// Plan tells what Run would do with the artifact that open returns, and fails as Run would fail up
// to the first byte that it writes. It writes nothing, not even a lock, and reads no more than the
// artifact's header and, for a second at most, what follows.
func Plan(ctx context.Context, d *device.Device, open func(context.Context) (io.ReadCloser, error)) (*device.Plan, error) {
	if err := d.Free(); err != nil {
		return nil, err
	}
	note, err := wouldClear(ctx, d)
	if err != nil {
		return nil, err
	}
	keys, err := d.Keys()
	if err != nil {
		return nil, err
	}
	src, err := open(ctx)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	ar, err := artifact.NewReader(d.Counted(src), keys)
	if err != nil {
		return nil, err
	}
	defer ar.Close()
	p, err := d.Plan(ctx, ar.Header())
	if err != nil {
		return nil, err
	}
	if note != "" {
		p.Notes = append(p.Notes, note)
	}
	if p.Target == nil {
		return p, nil
	}
	return p, measure(ctx, d, ar, p)
}

// wouldClear is clearTheWay without doing it.
func wouldClear(ctx context.Context, d *device.Device) (note string, err error) {
	x, err := d.Current()
	switch {
	case errors.Is(err, deployment.ErrNone):
		return "", nil
	case err != nil:
		return "", err
	case x.Record.State == deployment.Downloading || gaveUp(ctx, x):
		return fmt.Sprintf("what is left of the update to %s is cleaned up first", x.Record.Artifact.Name), nil
	}
	return "", &deployment.BusyError{Record: &x.Record}
}

// measure finds out how large the image is, and how fast it comes.
func measure(ctx context.Context, d *device.Device, ar *artifact.Reader, p *device.Plan) error {
	began := time.Now()
	payload, err := ar.Next()
	if err != nil {
		return err
	}
	file, err := payload.Next()
	if errors.Is(err, io.EOF) {
		return nil // Run finds that, too, when it wants to write
	}
	if err != nil {
		return err
	}
	if err := d.FitsSlot(p.PayloadType, file.Size); err != nil {
		return err
	}
	p.ImageSize = file.Size
	return p.Estimate(ctx, file, began)
}
