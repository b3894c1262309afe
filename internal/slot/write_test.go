package slot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"flipside/artifact"
	"flipside/internal/disk"
	"flipside/internal/hosttest"
	"flipside/internal/payload"
	"flipside/internal/progress"
	"flipside/internal/slot"
)

// device is slot B of a world whose partition 3 is m, with its size.
func (m *medium) slot(t *testing.T) (slot.Slot, slot.Access) {
	t.Helper()
	w := newWorld(t)
	w.mount("179:2", "/", "ext4", "/dev/root", "rw")
	w.write("sys/devices/mmcblk0/mmcblk0p3/size", fmt.Sprintln(len(m.content)/512))
	p, err := slot.Find(w.config())
	if err != nil {
		t.Fatal(err)
	}
	return p.Inactive(), slot.Access{Config: w.config(), FS: m}
}

// cached makes m refuse direct access.
func (m *medium) cached() *medium {
	m.onOpen = func(flag int) error {
		if flag&unix.O_DIRECT != 0 {
			return syscall.EINVAL
		}
		return nil
	}
	return m
}

// put writes image to s, reads it back, and closes s.
func put(t *testing.T, a slot.Access, s slot.Slot, image []byte) (slot.Stats, error) {
	t.Helper()
	target, err := slot.Open(a, s)
	if err != nil {
		return slot.Stats{}, err
	}
	stats, err := target.WriteAndReadBack(t.Context(), blocks{bytes.NewReader(image)}, int64(len(image)))
	return stats, errors.Join(err, target.Close())
}

func TestWriteSizes(t *testing.T) {
	for _, size := range []int{1, 511, 512, 513, 4096, mib - 1, mib, mib + 1, 5*mib + 777, 12 * mib} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			image := noise(size, 5)
			want := func(before []byte) []byte { return append(bytes.Clone(image), before[size:]...) }

			s := newSlots(t, 12*mib)
			before := hosttest.Read(t, s.b)
			stats, err := put(t, slot.Access{Config: s.config}, s.inactive(t), image)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(hosttest.Read(t, s.b), want(before)) {
				t.Error("the file is not the image followed by what was there")
			}
			if stats.Written+stats.Skipped != int64(size) || stats.Skipped != 0 {
				t.Errorf("file: %+v; want all %d bytes written", stats, size)
			}

			for name, m := range map[string]*medium{"direct": newMedium(12 * mib), "cached": newMedium(12 * mib).cached()} {
				before := bytes.Clone(m.content)
				dev, access := m.slot(t)
				stats, err := put(t, access, dev, image)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if !bytes.Equal(m.durable, want(before)) {
					t.Errorf("%s: what a power cut leaves is not the image followed by what was there", name)
				}
				if stats.Written != int64(size) {
					t.Errorf("%s: %+v; want all %d bytes written", name, stats, size)
				}
			}
		})
	}
}

// TestWriteDirect: direct access is asked for, exclusively, and only in whole sectors.
func TestWriteDirect(t *testing.T) {
	m := newMedium(4 * mib)
	dev, access := m.slot(t)
	if _, err := put(t, access, dev, noise(2*mib+700, 1)); err != nil {
		t.Fatal(err)
	}
	const want = os.O_RDWR | unix.O_EXCL | unix.O_DIRECT
	if len(m.opens) != 1 || m.opens[0] != want {
		t.Errorf("opened with %#x; want once, with %#x", m.opens, want)
	}
	for _, s := range append(m.writes, m.reads...) {
		if s.at%512 != 0 || s.n%512 != 0 {
			t.Errorf("access to %d bytes at %d; want whole sectors", s.n, s.at)
		}
	}
	if m.syncs != 1 {
		t.Errorf("%d syncs; want 1", m.syncs)
	}
}

// TestWriteNoDirect: devices that take O_DIRECT when opened, and refuse it when used.
func TestWriteNoDirect(t *testing.T) {
	m := newMedium(4 * mib)
	m.onRead = func(at int64, p []byte) error {
		if m.opens[len(m.opens)-1]&unix.O_DIRECT != 0 {
			return syscall.EINVAL
		}
		return nil
	}
	dev, access := m.slot(t)
	if _, err := put(t, access, dev, noise(3*mib, 1)); err != nil {
		t.Fatal(err)
	}
	if last := m.opens[len(m.opens)-1]; len(m.opens) != 2 || last != os.O_RDWR|unix.O_EXCL {
		t.Errorf("opened with %#x; want twice, the second time without O_DIRECT", m.opens)
	}
}

func TestWriteSkipsWhatIsThere(t *testing.T) {
	image := noise(10*mib+100, 3)
	for name, m := range map[string]*medium{"direct": newMedium(12 * mib), "cached": newMedium(12 * mib).cached()} {
		t.Run(name, func(t *testing.T) {
			dev, access := m.slot(t)
			if _, err := put(t, access, dev, image); err != nil {
				t.Fatal(err)
			}
			m.writes = nil
			stats, err := put(t, access, dev, image)
			if err != nil {
				t.Fatal(err)
			}
			if stats.Skipped != int64(len(image)) || stats.Written != 0 || len(m.writes) != 0 {
				t.Errorf("second time: %+v and %d writes; want all skipped", stats, len(m.writes))
			}
			image[4*mib+5]++
			stats, err = put(t, access, dev, image)
			if err != nil {
				t.Fatal(err)
			}
			if stats.Written != 4096 || stats.Skipped != int64(len(image))-4096 {
				t.Errorf("after one change: %+v; want 4 KiB written", stats)
			}
			if !bytes.Equal(m.durable[:len(image)], image) {
				t.Error("the slot does not have the image")
			}
		})
	}
}

// TestWriteStopsComparing: where nothing matches, reading would be wasted; where it does again,
// it is worth while again.
func TestWriteStopsComparing(t *testing.T) {
	const size = 400
	m := newMedium(size * mib / 16)
	big := &repeating{medium: m, block: noise(mib, 7)}
	dev, access := m.slot(t)
	dev.Size, access.FS = size*mib, big

	target, err := slot.Open(access, dev)
	if err != nil {
		t.Fatal(err)
	}
	other := noise(mib, 8)
	if _, err := target.Write(t.Context(), blocks{repeat(other, size)}, size*mib); err != nil {
		t.Fatal(err)
	}
	if reads := big.reads.Swap(0); reads > 8+2+size/8 {
		t.Errorf("%d blocks were compared, of %d that differ", reads, size)
	}
	stats, err := target.Write(t.Context(), blocks{repeat(big.block, size)}, size*mib)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Written != 0 {
		t.Errorf("%+v; want all skipped", stats)
	}
	// Half of it matches: most of that half is found.
	half := io.MultiReader(repeat(other, size/2), repeat(big.block, size/2))
	stats, err = target.Write(t.Context(), blocks{half}, size*mib)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Skipped < (size/2-70)*mib {
		t.Errorf("%+v; want about half skipped", stats)
	}
	// Zeros are another matter than data.
	clear(big.block)
	zeros := io.MultiReader(repeat(other, size/2), repeat(make([]byte, mib), size/2))
	stats, err = target.Write(t.Context(), blocks{zeros}, size*mib)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Skipped != size/2*mib || stats.Zeroed != 0 {
		t.Errorf("%+v; want all zeros skipped", stats)
	}
	copy(big.block, other)
	stats, err = target.Write(t.Context(), blocks{repeat(make([]byte, mib), 20)}, 20*mib)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Written != 20*mib {
		t.Errorf("%+v; want all zeros written", stats)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}

// repeating is a device that has the same block everywhere, and forgets what is written.
type repeating struct {
	*medium
	block []byte
	reads atomic.Int64
}

func (r *repeating) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	return &repeatingFile{mediumFile{r.medium, name}, r}, nil
}

type repeatingFile struct {
	mediumFile
	r *repeating
}

func (f *repeatingFile) ReadAt(p []byte, at int64) (int, error) {
	f.r.reads.Add(1)
	return copy(p, f.r.block[at%mib:]), nil
}
func (f *repeatingFile) WriteAt(p []byte, at int64) (int, error) { return len(p), nil }
func (f *repeatingFile) Sync() error                             { return nil }

// repeat is block, n times.
func repeat(block []byte, n int) io.Reader {
	return &repeater{block: block, left: int64(n) * int64(len(block))}
}

type repeater struct {
	block []byte
	left  int64
}

func (r *repeater) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	at := (int64(len(r.block)) - r.left%int64(len(r.block))) % int64(len(r.block))
	n := copy(p[:min(int64(len(p)), r.left)], r.block[at:])
	r.left -= int64(n)
	return n, nil
}

func TestWriteRefusesSizes(t *testing.T) {
	m := newMedium(2 * mib)
	dev, access := m.slot(t)
	target, err := slot.Open(access, dev)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	for size, want := range map[int64]string{
		0:         "the image is empty",
		-1:        "the image is empty",
		2*mib + 1: "the image has 2097153 bytes (2.0 MiB), slot B (" + dev.Device + ") has 2097152 bytes (2.0 MiB)",
		1 << 60:   "the image has 1152921504606846976 bytes",
	} {
		_, err := target.Write(t.Context(), blocks{iotest.ErrReader(errors.New("was read"))}, size)
		if !errors.Is(err, payload.ErrUnfit) || !strings.Contains(err.Error(), want) {
			t.Errorf("Write of %d bytes: %v; want ErrUnfit with %q", size, err, want)
		}
	}
	if len(m.writes) != 0 {
		t.Errorf("%d writes; want none", len(m.writes))
	}
}

// TestWriteErrors: whatever fails is told, and ends the writing.
func TestWriteErrors(t *testing.T) {
	const size = 20
	boom := errors.New("boom")
	image := noise(size*mib, 4)
	for name, test := range map[string]struct {
		arrange func(m *medium)
		src     func() io.Reader
		want    error
		text    string
		most    int // writes, at most
	}{
		"I/O error": {func(m *medium) { m.failAt(3, syscall.EIO) }, nil, syscall.EIO, "writing slot B", 6},
		"full":      {func(m *medium) { m.failAt(0, syscall.ENOSPC) }, nil, syscall.ENOSPC, "at 0 bytes", 3},
		"last":      {func(m *medium) { m.failAt(size-1, syscall.EIO) }, nil, syscall.EIO, "(19.0 MiB)", size - 1},
		"sync":      {func(m *medium) { m.onSync = func() error { return syscall.EIO } }, nil, syscall.EIO, "syncing slot B", size},
		"sync of a window": {
			func(m *medium) { m.cached().onSync = func() error { return syscall.EIO } }, nil, syscall.EIO, "writing slot B", 12,
		},
		"close":    {func(m *medium) { m.onClose = func() error { return boom } }, nil, boom, "", size},
		"source":   {nil, func() io.Reader { return io.MultiReader(bytes.NewReader(image[:5*mib+3]), iotest.ErrReader(boom)) }, boom, "", 5},
		"checksum": {nil, func() io.Reader { return io.MultiReader(bytes.NewReader(image), iotest.ErrReader(boom)) }, boom, "", size},
		"short":    {nil, func() io.Reader { return bytes.NewReader(image[:7*mib+1]) }, io.ErrUnexpectedEOF, "the image ends after 7340033 of 20971520 bytes", 7},
		"empty":    {nil, func() io.Reader { return bytes.NewReader(nil) }, io.ErrUnexpectedEOF, "the image ends after 0 of", 0},
		"long":     {nil, func() io.Reader { return io.MultiReader(bytes.NewReader(image), strings.NewReader("x")) }, nil, "goes on after its end", size},
		"what the source wraps is passed on": {
			nil, func() io.Reader { return iotest.ErrReader(fmt.Errorf("%w: %w", boom, io.ErrUnexpectedEOF)) }, boom, "boom", 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMedium(size * mib)
			if test.arrange != nil {
				test.arrange(m)
			}
			src := io.Reader(bytes.NewReader(image))
			if test.src != nil {
				src = test.src()
			}
			dev, access := m.slot(t)
			target, err := slot.Open(access, dev)
			if err != nil {
				t.Fatal(err)
			}
			_, err = target.Write(t.Context(), blocks{src}, size*mib)
			err = errors.Join(err, target.Close())
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Write: %v; want %v with %q", err, test.want, test.text)
			}
			if len(m.writes) > test.most {
				t.Errorf("%d writes; want no more than %d", len(m.writes), test.most)
			}
		})
	}
}

// failAt fails the write of block i.
func (m *medium) failAt(i int64, err error) {
	m.onWrite = func(at int64, _ []byte) error {
		if at == i*mib {
			return err
		}
		return nil
	}
}

// TestWriteReadErrors: that the old content cannot be read does not keep the new from being written.
func TestWriteReadErrors(t *testing.T) {
	m := newMedium(3 * mib)
	dev, access := m.slot(t)
	m.onRead = func(int64, []byte) error { return syscall.EIO }
	image := noise(2*mib+5, 6)
	_, err := put(t, access, dev, image)
	if !bytes.Equal(m.durable[:len(image)], image) {
		t.Error("the slot does not have the image")
	}
	if !errors.Is(err, syscall.EIO) || errors.Is(err, slot.ErrReadBack) || !strings.Contains(err.Error(), "reading back") {
		t.Errorf("reading back: %v; want EIO", err)
	}
}

func TestWriteCancelled(t *testing.T) {
	for name, after := range map[string]int{"at once": 0, "in the middle": 5} {
		t.Run(name, func(t *testing.T) {
			m := newMedium(20 * mib)
			dev, access := m.slot(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			m.onWrite = func(at int64, _ []byte) error {
				if at == int64(after)*mib {
					cancel(errors.New("interrupted"))
				}
				return nil
			}
			if after == 0 {
				cancel(errors.New("interrupted"))
			}
			target, err := slot.Open(access, dev)
			if err != nil {
				t.Fatal(err)
			}
			_, err = target.Write(ctx, blocks{repeat(noise(mib, 2), 20)}, 20*mib)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Write: %v; want context.Canceled", err)
			}
			if most := map[int]int{0: 0, 5: 9}[after]; len(m.writes) > most {
				t.Errorf("%d writes; want no more than %d", len(m.writes), most)
			}
			if err := target.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestWritePipeline: two writes are in flight, of the blocks that were taken last.
func TestWritePipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMedium(40 * mib)
		dev, access := m.slot(t)
		var gates [40]chan struct{} // in the order of the blocks, so that what may be read is known
		for i := range gates {
			gates[i] = make(chan struct{})
		}
		var inFlight atomic.Int64
		m.onWrite = func(at int64, _ []byte) error {
			inFlight.Add(1)
			<-gates[at/mib]
			inFlight.Add(-1)
			return nil
		}
		target, err := slot.Open(access, dev)
		if err != nil {
			t.Fatal(err)
		}
		src := &counting{r: repeat(noise(mib, 3), 40)}
		done := make(chan error)
		go func() {
			_, err := target.Write(t.Context(), blocks{src}, 40*mib)
			done <- err
		}()
		for i := range int64(40) {
			synctest.Wait()
			if want := min(2, 40-i); inFlight.Load() != want {
				t.Fatalf("after %d writes, %d are in flight; want %d", i, inFlight.Load(), want)
			}
			if want := min(i+2, 40) * mib; src.n.Load() != want {
				t.Fatalf("after %d writes, %d bytes were read; want %d", i, src.n.Load(), want)
			}
			close(gates[i])
		}
		if err := errors.Join(<-done, target.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestWriteWaits: nothing is written far ahead of a write that takes long, for a device's cache would
// have to keep it.
func TestWriteWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMedium(10 * mib)
		dev, access := m.slot(t)
		gate := make(chan struct{})
		m.onWrite = func(at int64, _ []byte) error {
			if at == 2*mib {
				<-gate
			}
			return nil
		}
		target, err := slot.Open(access, dev)
		if err != nil {
			t.Fatal(err)
		}
		image := noise(10*mib, 3)
		done := make(chan error)
		go func() {
			_, err := target.Write(t.Context(), blocks{bytes.NewReader(image)}, 10*mib)
			done <- err
		}()
		synctest.Wait()
		m.mu.Lock()
		if n := len(m.writes); n != 5 {
			t.Errorf("%d writes while the third one waits; want the two before it, and three after it", n)
		}
		m.mu.Unlock()
		close(gate)
		if err := errors.Join(<-done, target.Close()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.durable, image) {
			t.Error("the slot does not have the image")
		}
	})
}

// TestWriteCancelledInFlight: what is written when the operator interrupts is finished, what waits
// is not begun.
func TestWriteCancelledInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMedium(10 * mib)
		dev, access := m.slot(t)
		gate := make(chan struct{})
		m.onWrite = func(int64, []byte) error { <-gate; return nil }
		target, err := slot.Open(access, dev)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := target.Write(ctx, blocks{repeat(noise(mib, 3), 10)}, 10*mib)
			done <- err
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(gate)
		if err := <-done; !errors.Is(err, context.Canceled) || len(m.writes) != 2 {
			t.Errorf("Write: %v, after %d writes; want context.Canceled, and the 2 in flight", err, len(m.writes))
		}
		if err := target.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

type counting struct {
	r io.Reader
	n atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// TestWriteProgress: progress only counts what is on the medium, and never goes back.
func TestWriteProgress(t *testing.T) {
	for name, m := range map[string]*medium{"direct": newMedium(30 * mib), "cached": newMedium(30 * mib).cached()} {
		t.Run(name, func(t *testing.T) {
			const size = 30*mib - 10
			dev, access := m.slot(t)
			var safe, last int64
			note := func() { // what is on the medium: written, or synced if there is a cache
				m.mu.Lock()
				defer m.mu.Unlock()
				for _, w := range m.writes {
					safe = max(safe, w.at+w.n)
				}
			}
			m.onSync = func() error { note(); return nil }
			s := &sink{on: func(e progress.Event) {
				if name == "direct" {
					note()
				}
				if e.Phase == progress.Download && e.Kind == progress.Advance {
					if e.Done < last || e.Done > safe || e.Total != size {
						t.Errorf("%+v, after %d, with %d bytes on the medium", e, last, safe)
					}
					last = e.Done
				}
			}}
			access.Sink = s
			if _, err := put(t, access, dev, noise(size, 1)); err != nil {
				t.Fatal(err)
			}
			if last != size {
				t.Errorf("in the end progress was %d; want %d", last, size)
			}
			var got []string
			for _, e := range s.events {
				if e.Kind != progress.Advance {
					got = append(got, fmt.Sprintf("%s %s %d/%d", e.Kind, e.Phase, e.Done, e.Total))
				}
			}
			want := fmt.Sprintf("begin download 0/%d, end download %[1]d/%[1]d, begin sync 0/0, end sync 0/0, begin read back 0/%[1]d, end read back %[1]d/%[1]d", size)
			if strings.Join(got, ", ") != want {
				t.Errorf("events %s; want %s", strings.Join(got, ", "), want)
			}
		})
	}
}

// TestWriteAllocations: memory does not grow with the image.
func TestWriteAllocations(t *testing.T) {
	m := newMedium(mib)
	dev, access := m.slot(t)
	block := noise(mib, 7)
	dev.Size, access.FS = 256*mib, &repeating{medium: m, block: block}
	target, err := slot.Open(access, dev)
	if err != nil {
		t.Fatal(err)
	}
	other := &artifact.Block{Data: noise(mib, 8)}
	allocations := func(n int) float64 {
		return testing.AllocsPerRun(5, func() {
			if _, err := target.Write(t.Context(), &same{other, n}, int64(n)*mib); err != nil {
				t.Error(err)
			}
		})
	}
	few, many := allocations(8), allocations(256)
	if many > few+8 {
		t.Errorf("8 blocks take %v allocations, 256 blocks %v", few, many)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}

// same is one block, so often.
type same struct {
	block *artifact.Block
	left  int
}

func (s *same) Block() (*artifact.Block, error) {
	if s.left == 0 {
		return nil, io.EOF
	}
	s.left--
	return s.block, nil
}

// TestWriteOneProcessor: nothing waits for a second one.
func TestWriteOneProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s := newSlots(t, 9*mib)
	image := noise(9*mib, 5)
	if _, err := put(t, slot.Access{Config: s.config}, s.inactive(t), image); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(hosttest.Read(t, s.b), image) {
		t.Error("the slot does not have the image")
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Run("what is busy", func(t *testing.T) {
		m := newMedium(mib)
		m.onOpen = func(int) error { return syscall.EBUSY }
		dev, access := m.slot(t)
		_, err := slot.Open(access, dev)
		if !errors.Is(err, slot.ErrInUse) || !strings.Contains(err.Error(), "is held by another program") {
			t.Errorf("Open: %v; want ErrInUse", err)
		}
	})
	t.Run("what another namespace has mounted", func(t *testing.T) {
		w := newWorld(t)
		w.mount("179:2", "/", "ext4", "/dev/root", "rw")
		w.write("proc/4711/mountinfo", "27 1 179:3 / /sealed rw - ext4 /dev/x rw\n")
		w.write("proc/4711/comm", "containerd\n")
		p, err := slot.Find(w.config())
		if err != nil {
			t.Fatal(err)
		}
		m := newMedium(mib)
		m.onOpen = func(int) error { return syscall.EBUSY }
		_, err = slot.Open(slot.Access{Config: w.config(), FS: m}, p.Inactive())
		if !errors.Is(err, slot.ErrInUse) || !strings.Contains(err.Error(), "a mount on /sealed in the mount namespace of process 4711 (containerd)") {
			t.Errorf("Open: %v; want ErrInUse", err)
		}
	})
	t.Run("what is read-only", func(t *testing.T) {
		m := newMedium(mib)
		m.onOpen = func(int) error { return syscall.EROFS }
		dev, access := m.slot(t)
		if _, err := slot.Open(access, dev); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("Open: %v; want EROFS", err)
		}
	})
	t.Run("what is gone", func(t *testing.T) {
		s := newSlots(t, mib)
		b := s.inactive(t)
		if err := os.Remove(s.b); err != nil {
			t.Fatal(err)
		}
		if _, err := slot.Open(slot.Access{Config: s.config}, b); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Open: %v; want ErrNotExist", err)
		}
		if _, err := os.Stat(s.b); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Open created %s", s.b)
		}
	})
	t.Run("what became something else", func(t *testing.T) {
		s := newSlots(t, mib)
		b := s.inactive(t)
		if err := os.Rename(s.a, s.b); err != nil { // the running slot, under the other's name
			t.Fatal(err)
		}
		if _, err := slot.Open(slot.Access{Config: s.config}, b); err == nil || !strings.Contains(err.Error(), "became something else") {
			t.Errorf("Open: %v; want an error", err)
		}
	})
}

// TestWriteVolume: UBI is told the size first, and takes everything in order.
func TestWriteVolume(t *testing.T) {
	w := newWorld(t)
	c := w.config()
	ubi(w, &c)
	w.mount("0:14", "/", "ubifs", "ubi0:rootfs-a", "rw")
	p, err := slot.Find(c)
	if err != nil {
		t.Fatal(err)
	}
	m := newMedium(100 * 126976)
	var announced int64
	access := slot.Access{Config: c, FS: m, UpdateVolume: func(f disk.File, size int64) error {
		if len(m.writes) > 0 || f.Name() != w.dev("ubi0_1") {
			t.Errorf("UpdateVolume of %s after %d writes", f.Name(), len(m.writes))
		}
		announced = size
		return nil
	}}
	image := noise(9*mib+33, 2)
	stats, err := put(t, access, p.Inactive(), image)
	if err != nil {
		t.Fatal(err)
	}
	if announced != int64(len(image)) || stats.Written != announced || !bytes.Equal(m.durable[:len(image)], image) {
		t.Errorf("announced %d, %+v; want %d bytes, and all in the volume", announced, stats, len(image))
	}
	var next int64
	for _, s := range m.writes {
		if s.at != next {
			t.Errorf("write at %d; want %d", s.at, next)
		}
		next += s.n
	}
	if next != announced {
		t.Errorf("%d bytes were written; want what was announced, %d", next, announced)
	}
	if flags := m.opens[0]; flags != os.O_RDWR {
		t.Errorf("opened with %#x; want O_RDWR", flags)
	}
	access.UpdateVolume = func(disk.File, int64) error { return syscall.EBUSY }
	if _, err := put(t, access, p.Inactive(), image); !errors.Is(err, slot.ErrInUse) {
		t.Errorf("a volume that is open elsewhere: %v; want ErrInUse", err)
	}
	// Without UBI behind it, the real call must say so and not write.
	access.UpdateVolume = nil
	m.writes = nil
	if _, err := put(t, access, p.Inactive(), image); err == nil || len(m.writes) > 0 {
		t.Errorf("not a volume: %v after %d writes; want an error before any", err, len(m.writes))
	}
}

func TestReadBack(t *testing.T) {
	image := noise(5*mib+99, 2)
	for name, test := range map[string]struct {
		spoil func(m *medium)
		want  error
		text  string
	}{
		"right":        {func(m *medium) {}, nil, ""},
		"first byte":   {func(m *medium) { m.content[0]++ }, slot.ErrReadBack, "between byte 0 and byte 1048575"},
		"last byte":    {func(m *medium) { m.content[5*mib+98]++ }, slot.ErrReadBack, "between byte 5242880 and byte 5242978"},
		"two places":   {func(m *medium) { m.content[mib]++; m.content[3*mib]-- }, slot.ErrReadBack, "between byte 1048576 and byte 4194303"},
		"behind":       {func(m *medium) { m.content[5*mib+99]++ }, nil, ""},
		"shorter":      {func(m *medium) { m.content = m.content[:2*mib] }, io.ErrUnexpectedEOF, "at 2097152 bytes"},
		"out of order": {func(m *medium) { m.onRead = func(int64, []byte) error { return syscall.EIO } }, syscall.EIO, "reading back slot B"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMedium(6 * mib)
			dev, access := m.slot(t)
			events := &sink{}
			events.at(progress.ReadBack, func() { test.spoil(m) })
			access.Sink = events
			_, err := put(t, access, dev, image)
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Errorf("WriteAndReadBack: %v; want %v with %q", err, test.want, test.text)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		s := newSlots(t, 6*mib)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		events := &sink{}
		events.at(progress.ReadBack, cancel)
		target, err := slot.Open(slot.Access{Config: s.config, Sink: events}, s.inactive(t))
		if err != nil {
			t.Fatal(err)
		}
		defer target.Close()
		_, err = target.WriteAndReadBack(ctx, blocks{bytes.NewReader(image)}, int64(len(image)))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("WriteAndReadBack: %v; want context.Canceled", err)
		}
	})
}
