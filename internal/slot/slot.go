// Package slot is about the two places for a root filesystem, slot A and slot B: finding out
// which of them runs, refusing to touch anything but the other one, writing an image into it,
// reading it back from the medium, and selecting it in the bootloader (Rootfs, the payload.Handler
// for "rootfs-image").
//
// It does not know how artifacts are packed (package artifact) or how bootloaders store their
// choice (package bootenv).
//
// Slots are configured as in Mender's client: RootfsPartA and RootfsPartB name a partition
// ("/dev/mmcblk0p2", a link below /dev/disk/by-partuuid and the like) or a UBI volume ("ubi0_1",
// "/dev/ubi0_1", "ubi0:rootfs-a"). The decimal number that ends the device's name is what the boot
// environment calls the slot.
//
//	pair, err := slot.Find(slot.Config{PartA: "/dev/mmcblk0p2", PartB: "/dev/mmcblk0p3"})
//	fmt.Println(pair.Active().Name, pair.How()) // A, "/ is on device 179:2"
package slot

import (
	"errors"
	"fmt"

	"flipside/internal/disk"
)

var (
	// ErrActiveUnknown: it could not be determined which slot runs. Nothing may be written.
	ErrActiveUnknown = errors.New("cannot tell which slot runs")
	// ErrInUse: the slot to write is mounted, swapped to, or held by somebody.
	ErrInUse = errors.New("in use")
	// ErrOnTrial: the bootloader has an update on trial that was neither committed nor undone.
	ErrOnTrial = errors.New("an update is on trial already")
	// ErrReadBack: the medium returned something else than was written.
	ErrReadBack = errors.New("the medium returned something else than was written")
)

// ConfigError says why what is configured cannot be a slot.
type ConfigError struct {
	Slot string // "A" or "B"
	Key  string // RootfsPartA or RootfsPartB
	Path string // its value; "" if there is none
	Err  error  // nil if there is none
}

func (e *ConfigError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("slot %s: %s is not configured", e.Slot, e.Key)
	}
	return fmt.Sprintf("slot %s, %s=%s: %v", e.Slot, e.Key, e.Path, disk.Cause(e.Err))
}

func (e *ConfigError) Unwrap() error { return e.Err }

// Kind is what a slot is made of.
type Kind string

const (
	Block  Kind = "block device"
	Volume Kind = "UBI volume"
	File   Kind = "file" // only where Config.AllowFiles says so
)

// Slot is one of the two places for a root filesystem.
type Slot struct {
	Name   string `json:"name"`   // "A" or "B"
	Path   string `json:"path"`   // as configured
	Device string `json:"device"` // what Path leads to
	Part   int    `json:"part"`   // its number in the boot environment
	Size   int64  `json:"size"`   // bytes that fit
	Kind   Kind   `json:"kind"`

	node Node
}

// String names s as a person would: "slot B (/dev/mmcblk0p3)".
func (s Slot) String() string { return fmt.Sprintf("slot %s (%s)", s.Name, s.Device) }

// Pair is both slots, and which of them runs.
type Pair struct {
	A, B Slot

	active string
	how    string
}

// Active is the slot that / runs from.
func (p Pair) Active() Slot {
	if p.active == p.B.Name {
		return p.B
	}
	return p.A
}

// Inactive is the other slot: the only one that may be written.
func (p Pair) Inactive() Slot {
	if p.active == p.B.Name {
		return p.A
	}
	return p.B
}

// How says how the active slot was found: "/ is on device 179:2".
func (p Pair) How() string { return p.how }

// WithPart is the slot that the boot environment calls part.
func (p Pair) WithPart(part int) (Slot, bool) {
	switch part {
	case p.A.Part:
		return p.A, true
	case p.B.Part:
		return p.B, true
	}
	return Slot{}, false
}
