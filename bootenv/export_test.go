package bootenv

import (
	"time"

	"flipside/internal/disk"
)

// What the tests put in the place of the kernel's flash drivers.
type (
	Flash    = flash
	Chip     = chip
	ChipType = chipType
)

const (
	ChipNOR  = chipNOR
	ChipNAND = chipNAND
)

// Host is a machine for a test; zero fields are the real one's.
type Host struct {
	Root, Sys string
	Flash     Flash
	LockLimit time.Duration
}

// Open is Open on that machine.
func (h Host) Open(o Options) (Env, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	real := realHost(o.FS)
	if h.Root != "" {
		real.root = h.Root
	}
	if h.Sys != "" {
		real.sys = h.Sys
	}
	if h.Flash != nil {
		real.flash = h.Flash
	}
	if h.LockLimit != 0 {
		real.locks.limit = h.LockLimit
	}
	return real.open(o)
}
