package slot

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"flipside/bootenv"
)

// Refuse returns nil if the inactive slot of p may be written, as far as the kernel's tables tell:
// nobody has it, or a disk around it, or a part of it, mounted, swapped to or mapped, it has
// nothing to do with what runs, and it is not read-only. An error says which, and matches ErrInUse
// if somebody could let go. Open asks the kernel itself, which is the last word.
func Refuse(c Config, p Pair) error {
	target := p.Inactive()
	if err := c.refuse(target, p.Active()); err != nil {
		return fmt.Errorf("%s cannot be written: %w", target, err)
	}
	return nil
}

func (c Config) refuse(target, active Slot) error {
	if target.Kind == Block {
		ro, err := c.readOnly(target.node.Rdev)
		if err != nil {
			return err
		}
		if ro {
			return errors.New("it is read-only")
		}
	}
	touched, err := c.touched(target)
	if err != nil {
		return err
	}
	if what, ok := touched[active.node.identity()]; ok {
		return fmt.Errorf("%s is %s, which runs", what, active)
	}
	if err := c.refuseMounted(touched); err != nil {
		return err
	}
	if err := c.refuseSwap(touched); err != nil {
		return err
	}
	return c.refuseHeld(target)
}

// touched is everything that writing target would change, with what to call it: target, the disk
// that it is part of, its own partitions, and devices made of these.
func (c Config) touched(target Slot) (map[identity]string, error) {
	all := map[identity]string{target.node.identity(): "it"}
	if target.Kind != Block {
		return all, nil
	}
	above, err := c.above(target.node.Rdev)
	if err != nil {
		return nil, err
	}
	for _, n := range above[1:] {
		all[blockDevice(n)] = "its part " + c.blockName(n)
	}
	if disk, ok := c.disk(target.node.Rdev); ok {
		all[blockDevice(disk)] = "its whole disk " + c.blockName(disk)
	}
	return all, nil
}

func (c Config) refuseMounted(touched map[identity]string) error {
	mounts, err := c.mounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		for _, id := range c.things(m) {
			if what, ok := touched[id]; ok {
				return fmt.Errorf("%s is mounted on %s: %w", what, m.point, ErrInUse)
			}
		}
	}
	return nil
}

func (c Config) refuseSwap(touched map[identity]string) error {
	swaps, err := c.swaps()
	if err != nil {
		return err
	}
	for id, path := range swaps {
		if what, ok := touched[id]; ok {
			return fmt.Errorf("%s is swap space (%s): %w", what, path, ErrInUse)
		}
	}
	return nil
}

// refuseHeld: a mapped device holds what it is made of even when nobody has it mounted.
func (c Config) refuseHeld(target Slot) error {
	if target.Kind != Block {
		return nil
	}
	if names := c.holders(target.node.Rdev); len(names) > 0 {
		return fmt.Errorf("it is held by %s: %w", strings.Join(names, ", "), ErrInUse)
	}
	return nil
}

// holders are the devices made of n, with the names that their owners gave them: "dm-0 (data)".
func (c Config) holders(n Number) []string {
	numbers, _ := related(filepath.Join(c.blockDir(n), "holders"))
	var names []string
	for _, h := range numbers {
		name := c.blockName(h)
		if label := readLine(filepath.Join(c.blockDir(h), "dm/name")); label != "" {
			name += " (" + label + ")"
		}
		names = append(names, name)
	}
	return names
}

// busy makes the kernel's answer to an exclusive open readable.
func (c Config) busy(s Slot, err error) error {
	switch {
	case errors.Is(err, syscall.EBUSY):
		by := "another program"
		if names := c.holders(s.node.Rdev); s.Kind == Block && len(names) > 0 {
			by = strings.Join(names, ", ")
		} else if where := c.mountedElsewhere(s); where != "" {
			by = where
		}
		return fmt.Errorf("%s is held by %s: %w", s, by, ErrInUse)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s is read-only, or needs more rights: %w", s, err)
	}
	return fmt.Errorf("opening %s: %w", s, err)
}

// mountedElsewhere says which process sees s mounted in a mount namespace that is not ours.
func (c Config) mountedElsewhere(s Slot) string {
	tables, _ := filepath.Glob(filepath.Join(c.proc(), "[0-9]*", "mountinfo"))
	for _, table := range tables {
		process := filepath.Base(filepath.Dir(table))
		mounts, _ := c.mountsOf(process)
		for _, m := range mounts {
			if slices.Contains(c.things(m), s.node.identity()) {
				name := readLine(filepath.Join(c.proc(), process, "comm"))
				return fmt.Sprintf("a mount on %s in the mount namespace of process %s (%s)", m.point, process, name)
			}
		}
	}
	return ""
}

// RefuseSelection returns nil if an update may begin while the bootloader is going to do what sel
// says: it selects the slot that runs, without a trial. Otherwise a power cut could boot a slot
// that is being written.
func RefuseSelection(p Pair, sel bootenv.Selection) error {
	if sel.Trial {
		return fmt.Errorf("%w: %s is to be committed or rolled back first", ErrOnTrial, p.describe(sel.Part))
	}
	if sel.Part != p.Active().Part {
		return fmt.Errorf("%s runs, but the bootloader has selected %s: writing now could leave nothing to boot; reboot first",
			p.Active(), p.describe(sel.Part))
	}
	return nil
}

// describe names what the boot environment calls part.
func (p Pair) describe(part int) string {
	if s, ok := p.WithPart(part); ok {
		return s.String()
	}
	return fmt.Sprintf("part %d, which is neither slot", part)
}
