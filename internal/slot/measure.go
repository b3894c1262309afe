package slot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ReadSpeed reads the beginning of s for at most a second, and returns bytes per second; 0 if that
// was too little to tell. It writes nothing.
func ReadSpeed(ctx context.Context, s Slot) (perSecond float64, err error) {
	const most = 64 << 20 // bytes: enough for the fastest media
	f, err := os.Open(s.Device)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", s, err)
	}
	defer f.Close()
	// What is in memory says nothing of the medium. UBI volumes have no cache to drop.
	_ = unix.Fadvise(int(f.Fd()), 0, most, unix.FADV_DONTNEED)
	perSecond, err = Speed(ctx, f, time.Now(), most)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", s, err)
	}
	return perSecond, nil
}

// Speed reads from r for at most a second and most bytes, and returns bytes per second; 0 if that
// was too little to tell. It began when somebody may have begun to read ahead for r.
func Speed(ctx context.Context, r io.Reader, began time.Time, most int64) (perSecond float64, err error) {
	const enough = 256 << 10 // bytes: less is all in some buffer
	buf := make([]byte, 64<<10)
	until, n := time.Now().Add(time.Second), int64(0)
	for n < most && time.Now().Before(until) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		got, err := r.Read(buf)
		n += int64(got)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	took := time.Since(began).Seconds()
	if n < enough || took <= 0 {
		return 0, nil
	}
	return float64(n) / took, nil
}
