package slot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"flipside/artifact"
	"flipside/bootenv"
	"flipside/internal/disk"
	"flipside/internal/payload"
	"flipside/internal/progress"
)

// RootfsConfig is what a Rootfs works with.
type RootfsConfig struct {
	Slots    Config
	Env      bootenv.Env
	FS       disk.FS         // nil is disk.OS
	Memory   json.RawMessage // of the handler that an earlier process had; nil for a new deployment
	Sink     progress.Sink   // nil is progress.Discard
	ReadBack bool            // read the slot back from the medium before it may be activated

	// BootID is different after each boot; nil is the kernel's.
	BootID func() (string, error)
	// UpdateVolume is Access.UpdateVolume.
	UpdateVolume func(f disk.File, size int64) error
}

// Rootfs is the payload.Handler of "rootfs-image": one file, the image of a root filesystem, goes
// into the inactive slot, which the bootloader then boots on trial.
//
// Whenever the power goes, the device has a complete system to boot:
//
//   - Download writes only a slot that is neither running nor selected, while no update is on
//     trial. Whatever the bootloader does, fall back included, it boots the other one.
//   - Download returns after the slot was synced, and, with ReadBack, read from the medium. Only
//     then does Memory say that the slot is complete, and without that Install refuses. So the
//     selection changes after the image, never before.
//   - Install is one write of the boot environment, which is old or new, never half: the old
//     system, or the new one on trial, with the old one untouched behind it.
//   - Commit is one such write too, and only while the new slot runs, which proves that it boots.
//     A cut leaves the trial, or its end; Committed tells which.
//   - Rollback is one such write, of where the device came from. That slot was running, and has
//     not been written since: while an update is on trial Download refuses, and a rollback never
//     writes an image. So it may be repeated, before and after the reboot, and after Commit.
//
// Failure and Cleanup have nothing to do: a slot that is not selected may hold anything.
type Rootfs struct {
	c      RootfsConfig
	memory memory
	err    error // of reading the memory: every method that needs it returns it
}

var _ payload.Handler = (*Rootfs)(nil)

// memory is what a Rootfs has to know after a reboot.
type memory struct {
	Slot     string `json:"slot"`    // "A" or "B": the target
	Device   string `json:"device"`  // where it was then, for messages
	Part     int    `json:"part"`    // target's number in the boot environment
	From     int    `json:"from"`    // the number of the slot that ran
	BootID   string `json:"boot_id"` // of the boot in which it was installed
	Complete bool   `json:"complete"`
	Size     int64  `json:"size,omitempty"`   // of the image, if complete
	SHA256   string `json:"sha256,omitempty"` // the same
}

func (m memory) target() string { return fmt.Sprintf("slot %s (%s)", m.Slot, m.Device) }

// NewRootfs makes a handler: for a new deployment, or, with Memory, for one that an earlier
// process began.
func NewRootfs(c RootfsConfig) *Rootfs {
	if c.FS == nil {
		c.FS = disk.OS{}
	}
	if c.Sink == nil {
		c.Sink = progress.Discard
	}
	if c.BootID == nil {
		c.BootID = kernelBootID
	}
	r := &Rootfs{c: c}
	if len(c.Memory) == 0 || string(c.Memory) == "null" {
		return r
	}
	if err := json.Unmarshal(c.Memory, &r.memory); err != nil {
		r.err = fmt.Errorf("what is remembered of the rootfs-image: %w", err)
	} else if r.memory.Slot == "" || r.memory.Part == r.memory.From {
		r.err = fmt.Errorf("what is remembered of the rootfs-image makes no sense: %s", c.Memory)
	}
	return r
}

func kernelBootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}

// Memory is nil before Prepare.
func (r *Rootfs) Memory() json.RawMessage {
	if r.err != nil || r.memory == (memory{}) {
		return r.c.Memory
	}
	data, err := json.Marshal(r.memory)
	if err != nil {
		panic(err) // strings and numbers
	}
	return data
}

// remembered returns an error unless there is a deployment.
func (r *Rootfs) remembered() error {
	if r.err == nil && r.memory == (memory{}) {
		return errors.New("no slot was prepared by this deployment")
	}
	return r.err
}

// Prepare finds the slot to write, and refuses everything that can be refused before the image's
// size is known.
func (r *Rootfs) Prepare(ctx context.Context, h *artifact.Header) error {
	pair, err := r.writable(ctx)
	if err != nil {
		return err
	}
	target := pair.Inactive()
	if err := probe(r.access(), target); err != nil {
		return err
	}
	bootID, err := r.c.BootID()
	if err != nil {
		return fmt.Errorf("boot id: %w", err)
	}
	r.warn(ctx)
	r.memory = memory{Slot: target.Name, Device: target.Device, Part: target.Part, From: pair.Active().Part, BootID: bootID}
	r.err = nil
	return nil
}

// writable finds the slots, and refuses an inactive one that must not be written now.
func (r *Rootfs) writable(ctx context.Context) (Pair, error) {
	pair, sel, err := r.look(ctx)
	if err != nil {
		return pair, err
	}
	if err := RefuseSelection(pair, sel); err != nil {
		return pair, err
	}
	return pair, Refuse(r.c.Slots, pair)
}

// look finds what runs, and what the bootloader will do.
func (r *Rootfs) look(ctx context.Context) (Pair, bootenv.Selection, error) {
	pair, err := Find(r.c.Slots)
	if err != nil {
		return pair, bootenv.Selection{}, err
	}
	sel, err := bootenv.ReadSelection(ctx, r.c.Env)
	return pair, sel, err
}

// warn passes on what is not right with the boot environment, though it can be read.
func (r *Rootfs) warn(ctx context.Context) {
	report, err := r.c.Env.Inspect(ctx)
	if err != nil {
		report.Warnings = append(report.Warnings, "inspecting the boot environment: "+err.Error())
	}
	for _, w := range report.Warnings {
		r.c.Sink.Emit(progress.Event{Kind: progress.Warning, Text: w})
	}
}

func (r *Rootfs) access() Access {
	return Access{Config: r.c.Slots, FS: r.c.FS, Sink: r.c.Sink, UpdateVolume: r.c.UpdateVolume}
}

// Download writes the payload's one file into the inactive slot.
func (r *Rootfs) Download(ctx context.Context, p *artifact.Payload) error {
	if err := r.remembered(); err != nil {
		return err
	}
	pair, err := r.writable(ctx)
	if err != nil {
		return err
	}
	if err := r.unchanged(pair); err != nil {
		return err
	}
	r.memory.Complete = false
	f, err := firstFile(p)
	if err != nil {
		return err
	}
	if err := r.write(ctx, pair.Inactive(), p, f); err != nil {
		return err
	}
	r.memory.Complete, r.memory.Size, r.memory.SHA256 = true, f.Size, fmt.Sprintf("%x", f.SHA256)
	return nil
}

// unchanged makes sure that the slots still are what they were in Prepare, perhaps a reboot ago.
func (r *Rootfs) unchanged(pair Pair) error {
	if active := pair.Active(); active.Part != r.memory.From {
		return fmt.Errorf("%s runs now, which is where the image was going to be written: start again", active)
	}
	if target := pair.Inactive(); target.Part != r.memory.Part {
		return fmt.Errorf("%s is part %d now, and was part %d: start again", target, target.Part, r.memory.Part)
	}
	return nil
}

func firstFile(p *artifact.Payload) (*artifact.File, error) {
	f, err := p.Next()
	if err == io.EOF {
		return nil, fmt.Errorf("%w: a rootfs-image has one file, this one has none", payload.ErrUnfit)
	}
	return f, err
}

// lastFile refuses a second file. By now the first one is in the slot, where it does no harm.
func lastFile(p *artifact.Payload) error {
	f, err := p.Next()
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: a rootfs-image has one file, this one also has %q", payload.ErrUnfit, f.Name)
}

func (r *Rootfs) write(ctx context.Context, target Slot, p *artifact.Payload, f *artifact.File) (err error) {
	t, err := Open(r.access(), target)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := t.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("closing %s: %w", target, cerr)
		}
	}()
	if r.c.ReadBack {
		_, err = t.WriteAndReadBack(ctx, f, f.Size)
	} else {
		_, err = t.Write(ctx, f, f.Size)
	}
	if err != nil {
		return err
	}
	return lastFile(p)
}

// Install selects the slot on trial, if nothing has changed since Prepare.
func (r *Rootfs) Install(ctx context.Context) error {
	if err := errors.Join(ctx.Err(), r.remembered()); err != nil {
		return err
	}
	if !r.memory.Complete {
		return fmt.Errorf("%s does not hold a complete image", r.memory.target())
	}
	pair, sel, err := r.look(ctx)
	if err != nil {
		return err
	}
	if err := r.unchanged(pair); err != nil {
		return err
	}
	if err := RefuseSelection(pair, sel); err != nil {
		return err
	}
	// This boot is the one to leave: days may have passed, with a reboot, since Prepare.
	if r.memory.BootID, err = r.c.BootID(); err != nil {
		return fmt.Errorf("boot id: %w", err)
	}
	return r.flags(func() error { return bootenv.Try(ctx, r.c.Env, r.memory.Part) })
}

// flags shows that the boot environment is being changed, which takes time on some devices.
func (r *Rootfs) flags(change func() error) error {
	r.c.Sink.Emit(progress.Event{Kind: progress.Begin, Phase: progress.BootFlags})
	if err := change(); err != nil {
		return err
	}
	r.c.Sink.Emit(progress.Event{Kind: progress.End, Phase: progress.BootFlags})
	return nil
}

// NeedsReboot: always, and whoever installs may do it.
func (r *Rootfs) NeedsReboot(context.Context) (payload.Reboot, error) {
	return payload.RebootAutomatic, nil
}

// SupportsRollback: always.
func (r *Rootfs) SupportsRollback(context.Context) (bool, error) { return true, nil }
