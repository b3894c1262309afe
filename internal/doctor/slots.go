package doctor

import (
	"context"
	"errors"
	"fmt"

	"flipside/internal/disk"
	"flipside/internal/slot"
)

// slots: the two partitions, which of them runs, and whether the other one can be written.
func (e *examination) slots(context.Context) {
	c := e.Config
	switch {
	case c.RootfsPartA == "" && c.RootfsPartB == "" && e.Broken():
		e.warn(Slots, "correct the configuration, and examine again", "not examined: the configuration is broken, and what can be read of it names none")
		return
	case c.RootfsPartA == "" && c.RootfsPartB == "" && c.RootfsHandler == "module":
		e.ok(Slots, "none are configured: root filesystem images are up to an update module")
		return
	case c.RootfsPartA == "" && c.RootfsPartB == "":
		e.warn(Slots, "set RootfsPartA and RootfsPartB in mender.conf, unless this device is to install payloads of update modules only",
			"none are configured: root filesystem images cannot be installed")
		return
	}
	if a, b := e.partition("A", c.RootfsPartA), e.partition("B", c.RootfsPartB); !a || !b {
		return
	}
	pair, err := slot.Find(e.Slots)
	switch {
	case errors.Is(err, slot.ErrActiveUnknown):
		e.problem(ActiveSlot, "RootfsPartA and RootfsPartB must name the partitions that the bootloader starts; compare with `findmnt /` and /proc/cmdline", "%v", err)
		c := e.Slots
		c.Booted = "A" // whichever: what is of interest here is the same
		if pair, err := slot.Find(c); err == nil {
			e.sizes(pair)
		}
	case err != nil:
		e.problem(Slots, "RootfsPartA and RootfsPartB must name two partitions, whose numbers the bootloader knows", "%v", err)
	default:
		e.pair = &pair
		e.sizes(pair)
		e.ok(ActiveSlot, "%s runs: %s", pair.Active(), pair.How())
		e.inactive(pair)
	}
}

// partition looks at one of the two alone, as Find stops at the first that is wrong.
func (e *examination) partition(name, path string) bool {
	key := "RootfsPart" + name
	if path == "" {
		e.problem(Slots, "set "+key+" in mender.conf", "slot %s: %s is not configured", name, key)
		return false
	}
	c := e.Slots
	c.PartA, c.PartB = path, ""
	_, err := slot.Find(c)
	var wrong *slot.ConfigError
	if !errors.As(err, &wrong) || wrong.Path == "" {
		return true // all that is wrong is that PartB is not configured
	}
	e.problem(Slots, key+" in mender.conf must name a partition or a UBI volume as this kernel calls it: see lsblk, /dev/disk/by-partuuid, ubinfo -a",
		"slot %s, %s=%s: %v", name, key, path, disk.Cause(wrong.Err))
	return false
}

func (e *examination) sizes(p slot.Pair) {
	e.ok(Slots, "%s is a %s of %s; %s is a %s of %s", p.A, p.A.Kind, size(p.A.Size), p.B, p.B.Kind, size(p.B.Size))
	if p.A.Size != p.B.Size {
		e.warn(Slots, "make both partitions the same size, or build images for the smaller one",
			"the slots differ in size, by %s: an image that fits one may not fit the other", size(max(p.A.Size, p.B.Size)-min(p.A.Size, p.B.Size)))
	}
	for _, s := range []slot.Slot{p.A, p.B} {
		if s.Size == 0 {
			e.problem(Slots, "make the partition as large as an image", "%s has no size: nothing fits", s)
		}
	}
}

func (e *examination) inactive(p slot.Pair) {
	err := slot.Refuse(e.Slots, p)
	switch {
	case err == nil:
		e.ok(InactiveSlot, "%s is free to be written", p.Inactive())
	case errors.Is(err, slot.ErrInUse):
		e.problem(InactiveSlot, "unmount it, or end what uses it, and see to it that nothing mounts it at boot (/etc/fstab, automounters)", "%v", err)
	default:
		e.problem(InactiveSlot, "installing is refused as long as this is so: make the partition writable and independent of what runs", "%v", err)
	}
}

// size says bytes as a person would, and exactly where they are no round number.
func size(n int64) string {
	const mib = 1 << 20
	switch {
	case n%mib == 0 || n > 100*mib:
		return fmt.Sprintf("%d MiB", n/mib)
	case n >= mib:
		return fmt.Sprintf("%.1f MiB", float64(n)/mib)
	}
	return fmt.Sprintf("%d bytes", n)
}
