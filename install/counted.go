package install

import (
	"io"

	"flipside/internal/device"
	"flipside/internal/progress"
)

// counted tells how far a reader was read.
type counted struct {
	r     io.Reader
	d     *device.Device
	phase progress.Phase
	n     int64
	told  int64
	total int64 // 0: unknown
}

func newCounted(r io.Reader, d *device.Device, phase progress.Phase) *counted {
	c := &counted{r: r, d: d, phase: phase}
	if s, ok := r.(interface{ Size() int64 }); ok { // -1: unknown
		c.total = max(s.Size(), 0)
	}
	return c
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	const often = 1 << 20 // enough for any display
	if c.n-c.told >= often {
		c.told = c.n
		c.tell(progress.Advance)
	}
	return n, err
}

func (c *counted) tell(kind progress.Kind) {
	c.d.Emit(progress.Event{Kind: kind, Phase: c.phase, Done: c.n, In: c.n, Total: c.total})
}
