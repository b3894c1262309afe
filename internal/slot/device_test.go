package slot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"flipside/artifact"
	"flipside/bootenv"
	"flipside/bootenv/bootsim"
	"flipside/internal/disk"
	"flipside/internal/hosttest"
	"flipside/internal/progress"
	"flipside/internal/slot"
)

// board is a whole device made of files: two slots, a U-Boot environment in two copies, and the
// U-Boot that reads it.
type board struct {
	*slots
	t     *testing.T
	fs    disk.FS
	sink  progress.Sink
	skip  bool // do not read back
	boots int

	old, new []byte // images of what runs at first, and of what is installed
}

const slotSize = 8 * mib

// newBoard runs slot A, part 2.
func newBoard(t *testing.T) *board {
	t.Helper()
	return newBoardOf(t, slotSize, 7*mib+123)
}

func newBoardOf(t *testing.T, slotSize, imageSize int) *board {
	t.Helper()
	b := &board{slots: newSlots(t, slotSize), t: t, fs: disk.OS{}, sink: progress.Discard, new: noise(imageSize, 44)}
	b.old = hosttest.Read(t, b.a)
	b.put("env", string(make([]byte, 2*0x4000)))
	b.put("fw_env.config", fmt.Sprintf("%[1]s 0x0 0x4000\n%[1]s 0x4000 0x4000\n", b.path("env")))
	if err := os.Mkdir(b.path("lock"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.reset(0)
	return b
}

func (b *board) path(name string) string { return filepath.Join(b.dir, name) }

func (b *board) put(name, content string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// reset powers the board up; the system of part bad does not come up. It returns the part that
// runs then.
func (b *board) reset(bad int) int {
	b.t.Helper()
	u := bootsim.UBoot{Config: b.path("fw_env.config"), PartA: 2, PartB: 3}
	part, log, err := u.Boot(context.Background(), disk.OS{}, func(part int) bool { return part != bad })
	if err != nil {
		b.t.Fatalf("booting: %v; log %q", err, log)
	}
	b.boots++
	b.boot(b.t, map[int]string{2: b.a, 3: b.b}[part])
	return part
}

func (b *board) env() bootenv.Env {
	b.t.Helper()
	env, err := bootenv.Open(bootenv.Options{FS: b.fs, FwEnvConfig: b.path("fw_env.config"), LockDirs: []string{b.path("lock")}})
	if err != nil {
		b.t.Fatal(err)
	}
	return env
}

func (b *board) selection() bootenv.Selection {
	b.t.Helper()
	sel, err := bootenv.ReadSelection(context.Background(), b.env())
	if err != nil {
		b.t.Fatal(err)
	}
	return sel
}

// open is a new process.
func (b *board) open(memory json.RawMessage) *slot.Rootfs {
	return slot.NewRootfs(slot.RootfsConfig{
		Slots: b.config, Env: b.env(), FS: b.fs, Memory: memory, Sink: b.sink, ReadBack: !b.skip,
		BootID: func() (string, error) { return fmt.Sprintf("boot-%d", b.boots), nil },
	})
}

// holds says what is in a slot: "old" and "new" if it is all of that.
func (b *board) holds(part int) string {
	b.t.Helper()
	content := hosttest.Read(b.t, map[int]string{2: b.a, 3: b.b}[part])
	switch {
	case bytes.Equal(content, b.old):
		return "old"
	case bytes.HasPrefix(content, b.new):
		return "new"
	}
	return "rubbish"
}

// files makes an artifact of files.
func (b *board) artifact(files ...artifact.FileSpec) []byte {
	b.t.Helper()
	var out bytes.Buffer
	err := artifact.Write(&out, artifact.Spec{
		Name: "release-2", Depends: artifact.Depends{"device_type": {"board"}}, Type: "rootfs-image",
		Files: files, Compression: artifact.None,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Bytes()
}

func (b *board) image() []byte { return b.artifact(artifact.FileBytes("rootfs.ext4", b.new)) }

// download runs Prepare and Download.
func (b *board) download(h *slot.Rootfs, mender []byte) error {
	b.t.Helper()
	r, err := artifact.NewReader(bytes.NewReader(mender), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	if err := h.Prepare(b.t.Context(), r.Header()); err != nil {
		return err
	}
	p, err := r.Next()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := h.Download(b.t.Context(), p); err != nil {
		return err
	}
	if _, err := r.Next(); err != io.EOF {
		b.t.Fatalf("after Download, the next payload: %v; want io.EOF", err)
	}
	return nil
}

// install goes up to the reboot, and returns the memory.
func (b *board) install() json.RawMessage {
	b.t.Helper()
	h := b.open(nil)
	if err := b.download(h, b.image()); err != nil {
		b.t.Fatal(err)
	}
	if err := h.Install(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return h.Memory()
}
