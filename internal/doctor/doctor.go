// Package doctor examines how a device is integrated: whether flipside has all that it needs to
// update it and to come back, before an update finds out. Each thing is looked at by itself, so
// that a device with a broken configuration, which cannot be opened, still gets a diagnosis of the
// rest.
//
// Nothing is changed, unless the write test is asked for, see Options.
//
//	d := doctor.Examine(ctx, deviceOptions, doctor.Options{})
//	err := d.Print(os.Stdout)
//	if !d.Healthy() { ... }
package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"flipside/bootenv"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/disk"
	"flipside/internal/progress"
	"flipside/internal/slot"
)

// Level says how bad a finding is.
type Level string

const (
	OK      Level = "ok"
	Warning Level = "warning" // updates work; something else does not, or will not
	Problem Level = "problem" // updates, or the way back from them, do not work
)

// The checks, as Finding.Check names them.
const (
	Configuration = "configuration"
	Keys          = "keys"
	HTTPS         = "https"
	Slots         = "slots"
	ActiveSlot    = "active-slot"
	InactiveSlot  = "inactive-slot"
	Environment   = "environment"
	Canary        = "canary"
	Selection     = "selection"
	Fallback      = "fallback"
	ForceRO       = "force-ro"
	WriteTest     = "write-test"
	DataDirectory = "data-directory"
	DeviceType    = "device-type"
	State         = "state"
	Deployment    = "deployment"
	Leftovers     = "leftovers"
	Modules       = "modules"
	Scripts       = "scripts"
	Clock         = "clock"
	BootID        = "boot-id"
	MenderClient  = "mender-client"
)

// Finding is what was found about one thing.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Text  string `json:"text"`          // what is so, or what is wrong
	Fix   string `json:"fix,omitempty"` // what to do about it; "" if Level is OK
}

// Options say how to examine. The zero value is right on a device.
type Options struct {
	// WriteTest stores a variable, flipside_doctor, in the boot environment, reads it back and
	// removes it: two writes, so that both copies are written. It is left out, with a warning,
	// while the bootloader has something on trial, a deployment is in progress or another flipside
	// is at work; it takes flipside's lock.
	WriteTest bool

	Built time.Time        // when this program was built; zero: not known
	Now   func() time.Time // nil is time.Now

	Proc, Sys, Dev string                                // "" is /proc, /sys and /dev
	Stat           func(path string) (slot.Node, error)  // what a path is, links followed; nil asks the kernel
	Space          func(directory string) (Space, error) // of the file system; nil asks the kernel
}

func (o *Options) setDefaults() {
	def := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	def(&o.Proc, "/proc")
	def(&o.Sys, "/sys")
	def(&o.Dev, "/dev")
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Built.IsZero() {
		o.Built = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC) // before flipside began
	}
	if o.Stat == nil {
		o.Stat = kernelStat
	}
	if o.Space == nil {
		o.Space = kernelSpace
	}
}

// Examine goes through the checklist for the device that o describes.
func Examine(ctx context.Context, o device.Options, how Options) Diagnosis {
	how.setDefaults()
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	if o.Sink == nil {
		o.Sink = progress.Discard
	}
	e := &examination{Anatomy: device.Dissect(o), how: how}
	e.Slots.Proc, e.Slots.Sys, e.Slots.Dev, e.Slots.Stat = how.Proc, how.Sys, how.Dev, how.Stat
	for _, check := range []func(context.Context){
		e.configuration, e.keys, e.https,
		e.dataDirectory, e.deviceType, e.state, e.leftovers,
		e.slots, e.environment,
		e.modules, e.scripts,
		e.clock, e.bootID, e.menderClient,
		e.writeTest, // last: it reads anew what may have changed in the meantime
	} {
		check(ctx)
	}
	return Diagnosis{Findings: e.findings}
}

// examination is one examination under way: what earlier checks found out for later ones.
type examination struct {
	device.Anatomy
	how      Options
	findings []Finding

	pair   *slot.Pair         // nil: it is not known which slot runs
	record *deployment.Record // nil: no deployment, or it cannot be read
	holder *deployment.Holder // the flipside that is at work
	env    bootenv.Env        // nil if it cannot be read
	uboot  bool               // env is U-Boot's
	grub   bool               // env is GRUB's
	vars   bootenv.Vars       // of env
}

func (e *examination) ok(check, format string, args ...any) {
	e.add(Finding{Check: check, Level: OK, Text: fmt.Sprintf(format, args...)})
}

func (e *examination) warn(check, fix, format string, args ...any) {
	e.add(Finding{Check: check, Level: Warning, Fix: fix, Text: fmt.Sprintf(format, args...)})
}

func (e *examination) problem(check, fix, format string, args ...any) {
	e.add(Finding{Check: check, Level: Problem, Fix: fix, Text: fmt.Sprintf(format, args...)})
}

// add keeps every text on one line, whatever the device's files contributed to it.
func (e *examination) add(f Finding) {
	f.Text = oneLine(f.Text)
	e.findings = append(e.findings, f)
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ReplaceAll(s, "\n", "; "))
}

// hasSlots says whether the device is meant to install root filesystem images.
func (e *examination) hasSlots() bool {
	return e.Config.RootfsPartA != "" || e.Config.RootfsPartB != ""
}
