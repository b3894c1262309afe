package slot_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"flipside/internal/disk"
	"flipside/internal/hosttest"
	"flipside/internal/slot"
)

// TestWriteOnlyWhatDiffers: within a block only the 4 KiB (or the sectors, if they are larger) that
// differ are written.
func TestWriteOnlyWhatDiffers(t *testing.T) {
	const size = 3*mib + 700
	for name, test := range map[string]struct {
		changes []int // bytes that differ
		written int64
	}{
		"none":             {nil, 0},
		"first and last":   {[]int{0, size - 1}, 4096 + 700},
		"neighbours":       {[]int{4095, 4096, 8192}, 3 * 4096},
		"two blocks":       {[]int{mib - 1, mib}, 2 * 4096},
		"32 places":        {every(32, 8192), 32 * 4096},
		"too many places":  {every(33, 8192), mib},
		"hardly any equal": {every(255, 4096), mib},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, m := range map[string]*medium{"direct": newMedium(4 * mib), "cached": newMedium(4 * mib).cached()} {
				dev, access := m.slot(t)
				image := bytes.Clone(m.content[:size])
				for _, at := range test.changes {
					image[at] ^= 1
				}
				behind := bytes.Clone(m.content[size:])
				stats, err := put(t, access, dev, image)
				if err != nil {
					t.Fatal(err)
				}
				if want := (slot.Stats{Written: test.written, Skipped: size - test.written}); stats != want {
					t.Errorf("%s: %+v; want %+v", kind, stats, want)
				}
				if !bytes.Equal(m.durable, append(image, behind...)) {
					t.Errorf("%s: the slot does not have the image, followed by what was there", kind)
				}
			}
		})
	}
}

// every is n numbers, so far apart.
func every(n, apart int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i * apart
	}
	return all
}

// zeroing is what a device does for Access.Zero.
func (m *medium) zeroing(t *testing.T, calls *atomic.Int64, err error) func(disk.File, int64, int64) error {
	return func(_ disk.File, at, n int64) error {
		calls.Add(1)
		if at%512 != 0 || n%512 != 0 {
			t.Errorf("%d bytes at %d shall be zeroed; want whole sectors", n, at)
		}
		if err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		clear(m.content[at : at+n])
		return nil
	}
}

// TestZero: a device that makes zeros is not sent them, one that only says so is.
func TestZero(t *testing.T) {
	image := noise(9*mib, 5)
	clear(image[2*mib : 5*mib])
	clear(image[8*mib:])
	image = image[:9*mib-100] // the last block has no whole number of sectors
	for name, test := range map[string]struct {
		most  int64 // write_zeroes_max_bytes
		err   error
		calls int64
		want  slot.Stats
	}{
		"it can":         {1 << 30, nil, 3, slot.Stats{Written: 6*mib - 100, Zeroed: 3 * mib}},
		"it cannot":      {0, nil, 0, slot.Stats{Written: 9*mib - 100}},
		"it says it can": {1 << 30, syscall.EOPNOTSUPP, 1, slot.Stats{Written: 9*mib - 100}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMedium(12 * mib)
			w := newWorld(t)
			w.mount("179:2", "/", "ext4", "/dev/root", "rw")
			w.write("sys/devices/mmcblk0/mmcblk0p3/size", fmt.Sprintln(12*mib/512))
			w.write("sys/devices/mmcblk0/queue/write_zeroes_max_bytes", fmt.Sprintln(test.most))
			p := find(t, w.config())
			var calls atomic.Int64
			access := slot.Access{Config: w.config(), FS: m, Zero: m.zeroing(t, &calls, test.err)}
			stats, err := put(t, access, p.Inactive(), image)
			if err != nil {
				t.Fatal(err)
			}
			// Two writers may ask at once before they know that it cannot.
			if n := calls.Load(); stats != test.want || n < min(test.calls, 1) || n > test.calls+1 {
				t.Errorf("%+v with %d calls; want %+v with %d", stats, n, test.want, test.calls)
			}
			if !bytes.Equal(m.durable[:len(image)], image) {
				t.Error("the slot does not have the image")
			}
		})
	}
}

// TestZeroThatDoesNot: a device that reports zeros and keeps the old content is found out.
func TestZeroThatDoesNot(t *testing.T) {
	m := newMedium(12 * mib)
	dev, access := m.slot(t)
	if err := errors.Join(
		os.MkdirAll(access.Config.Sys+"/dev/block/179:0/queue", 0o755),
		os.WriteFile(access.Config.Sys+"/dev/block/179:0/queue/write_zeroes_max_bytes", []byte("1048576\n"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	access.Zero = func(disk.File, int64, int64) error { return nil }
	if _, err := put(t, access, dev, make([]byte, 3*mib)); !errors.Is(err, slot.ErrReadBack) {
		t.Errorf("WriteAndReadBack: %v; want ErrReadBack", err)
	}
}

// TestLoopZero asks a real device, whose file is sparse afterwards.
func TestLoopZero(t *testing.T) {
	c, p := loops(t, 16*mib)
	if err := os.WriteFile(c.PartB, noise(16*mib, 1), 0); err != nil {
		t.Fatal(err)
	}
	image := make([]byte, 16*mib)
	copy(image[5*mib:], noise(2*mib, 2))
	stats, err := put(t, slot.Access{Config: c}, p.Inactive(), image)
	if err != nil {
		t.Fatal(err)
	}
	if want := (slot.Stats{Written: 2 * mib, Zeroed: 14 * mib}); stats != want {
		t.Errorf("%+v; want %+v", stats, want)
	}
	if !bytes.Equal(hosttest.Read(t, c.PartB), image) {
		t.Error("the device does not have the image")
	}
	stats, err = put(t, slot.Access{Config: c}, p.Inactive(), image)
	if want := (slot.Stats{Skipped: 16 * mib}); err != nil || stats != want {
		t.Errorf("again: %+v, %v; want %+v", stats, err, want)
	}
}
