package powerloss_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"flipside/bootenv"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/disk"
)

// What must never be.
var (
	errIncomplete = errors.New("what may boot is no complete image")
	errNoBoot     = errors.New("the device does not boot")
	errTrialLeft  = errors.New("no deployment is left, but a trial")
	errProvides   = errors.New("the provides do not name what the next boot runs")
	errStatus     = errors.New("status does not know")
	errNoEnd      = errors.New("what status proposes leads nowhere")
	errLost       = errors.New("what was done was lost")
)

// check looks at the device for what must never be.
func (r *rig) check(ctx context.Context) error {
	status, err := r.status(ctx)
	if err != nil {
		return err
	}
	sel := bootenv.Selection{Part: status.Bootloader.NextPart, Trial: status.Bootloader.Trial}
	if err := r.checkBoot(sel); err != nil {
		return err
	}
	if status.Deployment == nil && sel.Trial {
		return fmt.Errorf("%w: partition %d", errTrialLeft, sel.Part)
	}
	return r.checkProvides(sel, status)
}

// checkBoot makes sure that all that the bootloader may choose, and what runs, is complete. It
// knows nothing of deployments.
func (r *rig) checkBoot(sel bootenv.Selection) error {
	running, err := r.running()
	if err != nil {
		return err
	}
	parts := []int{sel.Part, running}
	if sel.Trial {
		parts = append(parts, otherPart(sel.Part))
	}
	for _, part := range parts {
		if name, err := r.holds(part); err != nil {
			return err
		} else if name == "" {
			return fmt.Errorf("%w: partition %d; the bootloader selects %+v", errIncomplete, part, sel)
		}
	}
	return nil
}

// status is what the status command says, which must be complete.
func (r *rig) status(ctx context.Context) (device.Status, error) {
	d, err := device.Open(r.options(disk.OS{}))
	if err != nil {
		return device.Status{}, fmt.Errorf("%w: %w", errStatus, err)
	}
	if _, err := d.Current(); err != nil && !errors.Is(err, deployment.ErrNone) {
		return device.Status{}, fmt.Errorf("%w: %w", errStatus, err)
	}
	s := d.Status(ctx)
	for s.Working != nil && ctx.Err() == nil { // see do
		runtime.Gosched()
		s = d.Status(ctx)
	}
	for _, problem := range []string{s.Slots.Problem, s.Bootloader.Problem} {
		if problem != "" {
			return s, fmt.Errorf("%w: %s", errStatus, problem)
		}
	}
	if len(s.Next) == 0 {
		return s, fmt.Errorf("%w what to do", errStatus)
	}
	return s, nil
}

const inconsistent = "_INCONSISTENT"

func (r *rig) checkProvides(sel bootenv.Selection, s device.Status) error {
	if r.payload == rootfs {
		return r.checkProvidesOfSlots(sel, s)
	}
	return r.checkProvidesOfApp(s)
}

// checkProvidesOfSlots: until a commit took effect, the provides name what the device goes back to.
func (r *rig) checkProvidesOfSlots(sel bootenv.Selection, s device.Status) error {
	part := sel.Part
	if sel.Trial {
		part = otherPart(part)
	}
	name, err := r.holds(part)
	if err != nil || name == s.Artifact {
		return err
	}
	if x := s.Deployment; x != nil && !sel.Trial && name == x.Artifact.Name && slices.Contains(confirming, x.State) {
		return nil // the selection changes before the provides do
	}
	return fmt.Errorf("%w: %s, the bootloader selects %+v, which is %s", errProvides, s.Artifact, sel, name)
}

// confirming are the states in which the selection may be final already, and the provides not.
var confirming = []deployment.State{deployment.Committing, deployment.Confirmed, deployment.Committed, deployment.RollingBack, deployment.Cleaning}

// checkProvidesOfApp: once a deployment is over, the name is that of the file, or says that it
// may not be.
func (r *rig) checkProvidesOfApp(s device.Status) error {
	if s.Deployment != nil || strings.HasSuffix(s.Artifact, inconsistent) {
		return nil
	}
	if app, err := r.app(); err != nil {
		return err
	} else if app != s.Artifact {
		return fmt.Errorf("%w: %s, the application is %s", errProvides, s.Artifact, app)
	}
	if kept, err := os.ReadFile(r.path("app.previous")); err == nil && len(kept) > 0 {
		return fmt.Errorf("%w: the module's Cleanup is missing", errNoEnd)
	}
	return nil
}

// app is the release of the application.
func (r *rig) app() (string, error) {
	data, err := os.ReadFile(r.path("app"))
	return strings.TrimSpace(string(data)), err
}

// proposals are the actions that status proposes, with those that nobody can prevent.
func proposals(s device.Status) (actions []string) {
	for _, line := range s.Next {
		switch words := strings.Fields(line); {
		case words[0] == "flipside":
			actions = append(actions, words[1])
		case words[0] == "reboot":
			actions = append(actions, doBoot)
		}
	}
	if s.Bootloader.Trial {
		actions = append(actions, doBoot, doFailBoot)
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}

// clean says whether nothing is left to do but the next update.
func clean(s device.Status) bool {
	return s.Deployment == nil && !s.Bootloader.Trial && s.Bootloader.NextSlot == s.Slots.Active.Name
}

// Two people who do what status proposes: one would like to have the update, the other would not.
var people = []struct {
	name       string
	preference []string
}{
	{"forward", []string{doResume, doBoot, doCommit, doInstall, doRollback}},
	{"back", []string{doRollback, doResume, doFailBoot, doBoot, doInstall, doCommit}},
}

// finish does what status proposes until the device is clean, and then a whole update. It ends
// early in a state that is known to come to a good end, and adds those that it came by.
func (r *rig) finish(ctx context.Context, preference []string, known map[string]bool) error {
	var prints, told []string
	for range 12 {
		here, err := r.take()
		if err != nil {
			return err
		}
		print := r.fingerprint(here)
		if !known[print] {
			prints = append(prints, print)
			s, err := r.status(ctx)
			if err != nil {
				return err
			}
			if !clean(s) {
				action := choose(s, preference)
				told = append(told, action)
				if err := r.perform(ctx, action); err != nil {
					return fmt.Errorf("%w, after %q", err, told)
				}
				continue
			}
			if err := r.wholeUpdate(ctx); err != nil {
				return fmt.Errorf("%w, after %q", err, told)
			}
		}
		for _, p := range prints {
			known[p] = true
		}
		return nil
	}
	return fmt.Errorf("%w: %q", errNoEnd, told)
}

func choose(s device.Status, preference []string) string {
	offered := proposals(s)
	if s.Deployment == nil {
		return doBoot // only that is missing
	}
	for _, action := range preference {
		if slices.Contains(offered, action) {
			return action
		}
	}
	return doBoot
}

// perform does one thing on a disk without faults. What it returns is not the command's error, as
// a command may have to tell of what went wrong before.
func (r *rig) perform(ctx context.Context, action string) error {
	if action == doBoot || action == doFailBoot {
		if err := r.boot(ctx, action == doFailBoot); err != nil {
			return err
		}
	} else if _, err := r.do(ctx, action, disk.OS{}); err != nil {
		_ = err
	}
	return r.check(ctx)
}

// wholeUpdate installs the next release, to its end.
func (r *rig) wholeUpdate(ctx context.Context) error {
	s, err := r.status(ctx)
	if err != nil {
		return err
	}
	want := r.next(s.Artifact)
	if _, err := r.do(ctx, doInstall, disk.OS{}); err != nil {
		return fmt.Errorf("the next update: %w", err)
	}
	if s, err = r.status(ctx); err != nil {
		return err
	}
	if s.Deployment != nil { // else it could not be rolled back
		if err := r.boot(ctx, false); err != nil {
			return err
		}
		if _, err := r.do(ctx, doCommit, disk.OS{}); err != nil {
			return fmt.Errorf("the next update's commit: %w", err)
		}
	}
	if err := r.check(ctx); err != nil {
		return fmt.Errorf("after the next update: %w", err)
	}
	if s, err = r.status(ctx); err != nil {
		return err
	}
	if !clean(s) || s.Artifact != want {
		return fmt.Errorf("the next update: %w: it should be %s, and is %s", errNoEnd, want, s.Artifact)
	}
	if _, err := os.Lstat(r.path("var/lib/mender/modules/v3/payloads/0000/tree")); err == nil {
		return fmt.Errorf("the next update: %w: its work tree is left", errNoEnd)
	}
	return nil
}
