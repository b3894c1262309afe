package e2e_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"flipside/internal/deployment"
	"flipside/internal/device"
)

// What must never be.
var (
	errNoBoot     = errors.New("the device does not boot")
	errIncomplete = errors.New("what boots is no complete image")
	errTrialLeft  = errors.New("no deployment is left, but a trial")
	errProvides   = errors.New("the provides do not name what the device has")
	errStatus     = errors.New("status does not know")
	errNoEnd      = errors.New("what status proposes leads nowhere")
)

// patient is a unit after a power cut. What it finds wrong is returned, not fatal: the proofs
// expect it.
type patient struct {
	*unit
	lab   *lab
	steps []string // what was done with it
}

// persons do what status proposes, with different wishes.
var persons = []struct {
	name   string
	wishes []string
	update bool // at the end, install the next release
}{
	{"who wants the update", []string{"resume", "reboot", "commit", "install", "rollback"}, false},
	{"who wants it back", []string{"rollback", "resume", "reboot", "install", "commit"}, false},
	{"who only reboots", []string{"reboot", "resume", "rollback", "install", "commit"}, false},
	{"who installs again", []string{"rollback", "resume", "reboot", "install", "commit"}, true},
}

// recover powers the device up on what a cut has left, and does what status proposes until nothing
// is left to do. What was recorded meanwhile can be cut again.
func (l *lab) recover(content *blob, person int) (recording, error) {
	p := &patient{unit: l.unit(content), lab: l}
	p.disk.record()
	p.disk.setPhase("boot")
	err := p.live(persons[person].wishes)
	if err == nil && persons[person].update {
		err = p.update()
	}
	if p.machine != nil {
		p.kill()
	}
	if err != nil {
		err = fmt.Errorf("%w\nafter %q\nthe console:\n%s", err, p.steps, p.console.tail())
	}
	return p.disk.recording(), err
}

func (p *patient) live(wishes []string) error {
	if err := p.boot(); err != nil {
		return err
	}
	for range 12 {
		s, err := p.check()
		if err != nil {
			return err
		}
		if clean(s) {
			return nil
		}
		if err := p.do(choose(s, wishes)); err != nil {
			return err
		}
	}
	return errNoEnd
}

var booting = regexp.MustCompile(`e2e: booting partition (\d+)`)

// boot powers up, and makes sure that whatever the bootloader tried is a complete image.
func (p *patient) boot() error {
	p.steps = append(p.steps, "boot")
	before := p.disk.content()
	mark := p.console.mark()
	if err := p.tryPower(); err != nil {
		return fmt.Errorf("%w: %w", errNoBoot, err)
	}
	for _, m := range booting.FindAllStringSubmatch(p.console.since(mark), -1) {
		part, err := strconv.Atoi(m[1])
		if err != nil {
			return err
		}
		if p.holds(before, part) == "" {
			return fmt.Errorf("%w: partition %d", errIncomplete, part)
		}
	}
	if got := p.holds(before, p.now.part); got != p.now.release {
		return fmt.Errorf("%w: partition %d says that it is %s, and is %q", errIncomplete, p.now.part, p.now.release, got)
	}
	return nil
}

// check looks for what must never be.
func (p *patient) check() (device.Status, error) {
	s, err := p.askStatus()
	if err != nil {
		return s, fmt.Errorf("%w: %w", errStatus, err)
	}
	for _, problem := range []string{s.Slots.Problem, s.Bootloader.Problem} {
		if problem != "" {
			return s, fmt.Errorf("%w: %s", errStatus, problem)
		}
	}
	if len(s.Next) == 0 || s.Slots.Active == nil || s.Slots.Active.Part != p.now.part {
		return s, fmt.Errorf("%w: it says that %v runs, which is partition %d, and what to do is %q", errStatus, s.Slots.Active, p.now.part, s.Next)
	}
	if s.Deployment == nil && s.Bootloader.Trial {
		return s, fmt.Errorf("%w: partition %d", errTrialLeft, s.Bootloader.NextPart)
	}
	return s, p.checkParts(s)
}

// checkParts: whatever may boot next is complete; and until a commit took effect, the provides name
// what the device goes back to.
func (p *patient) checkParts(s device.Status) error {
	content := p.disk.content()
	kept := s.Bootloader.NextPart
	if s.Bootloader.Trial {
		if p.holds(content, kept) == "" {
			return fmt.Errorf("%w: partition %d, on trial", errIncomplete, kept)
		}
		kept = other(kept)
	}
	name := p.holds(content, kept)
	switch {
	case name == "":
		return fmt.Errorf("%w: partition %d", errIncomplete, kept)
	case name == s.Artifact:
		return nil
	}
	if x := s.Deployment; x != nil && !s.Bootloader.Trial && name == x.Artifact.Name && slices.Contains(confirming, x.State) {
		return nil // the selection changes before the provides do
	}
	return fmt.Errorf("%w: %s; partition %d is %s; next boots %d, trial %v", errProvides, s.Artifact, kept, name, s.Bootloader.NextPart, s.Bootloader.Trial)
}

// confirming are the states in which the selection may be final already, and the provides not.
var confirming = []deployment.State{deployment.Committing, deployment.Confirmed, deployment.Committed, deployment.RollingBack, deployment.Cleaning}

// clean says whether nothing is left to do but the next update.
func clean(s device.Status) bool {
	return s.Deployment == nil && !s.Bootloader.Trial && s.Bootloader.NextSlot == s.Slots.Active.Name
}

// choose takes the first wish that status proposes.
func choose(s device.Status, wishes []string) string {
	offered := map[string]bool{"reboot": s.Bootloader.Trial || s.Deployment == nil}
	for _, line := range s.Next {
		words := strings.Fields(line)
		switch {
		case words[0] == "reboot":
			offered["reboot"] = true
		case words[0] == "flipside" && len(words) > 1:
			offered[words[1]] = true
		}
	}
	for _, wish := range wishes {
		if offered[wish] {
			return wish
		}
	}
	return "reboot"
}

// do does one thing. A command's exit code is not looked at: it may have to tell of what went wrong
// before.
func (p *patient) do(action string) error {
	p.disk.setPhase(action)
	if action == "reboot" {
		if err := p.shutDown(); err != nil {
			return err
		}
		return p.boot()
	}
	p.steps = append(p.steps, action)
	if action == "install" {
		s, err := p.askStatus()
		if err != nil {
			return err
		}
		action += " /media/" + p.lab.next(s.Artifact) + ".mender"
	}
	_, err := p.try("flipside " + action)
	return err
}

// update installs the next release, to its end.
func (p *patient) update() error {
	s, err := p.askStatus()
	if err != nil {
		return err
	}
	want := p.lab.next(s.Artifact)
	for _, action := range []string{"install", "reboot", "commit"} {
		if err := p.do(action); err != nil {
			return err
		}
	}
	if s, err = p.check(); err != nil {
		return fmt.Errorf("after the next update: %w", err)
	}
	if !clean(s) || s.Artifact != want || p.now.release != want {
		return fmt.Errorf("the next update: %w: it should be %s, and is %s; %s runs", errNoEnd, want, s.Artifact, p.now.release)
	}
	return nil
}
