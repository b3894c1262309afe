package device

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"flipside/artifact"
	"flipside/bootenv"
	"flipside/internal/deployment"
	"flipside/internal/payload"
	"flipside/internal/slot"
)

// Status is where the device stands. Parts that cannot be found out say why; the rest is there.
type Status struct {
	Artifact   string             `json:"artifact"`
	DeviceType string             `json:"device_type,omitempty"`
	Provides   artifact.Provides  `json:"provides"`
	Slots      SlotStatus         `json:"slots"`
	Bootloader BootStatus         `json:"bootloader"`
	Deployment *DeploymentStatus  `json:"deployment,omitempty"`
	Working    *deployment.Holder `json:"working,omitempty"` // the process that works right now
	Warnings   []string           `json:"warnings,omitempty"`
	Next       []string           `json:"next"` // what to do now, as sentences or commands
}

// SlotStatus tells which slot runs.
type SlotStatus struct {
	Active   *slot.Slot `json:"active,omitempty"`
	Inactive *slot.Slot `json:"inactive,omitempty"`
	How      string     `json:"how,omitempty"` // how the active slot was found
	Problem  string     `json:"problem,omitempty"`
}

// BootStatus tells what the bootloader will do.
type BootStatus struct {
	NextPart    int            `json:"next_part,omitempty"`
	NextSlot    string         `json:"next_slot,omitempty"`
	Trial       bool           `json:"trial"`
	Environment bootenv.Report `json:"environment"`
	Problem     string         `json:"problem,omitempty"`
}

// DeploymentStatus is the deployment in progress.
type DeploymentStatus struct {
	deployment.Record
	Running  bool `json:"running"`   // the installed system is what runs now
	FellBack bool `json:"fell_back"` // the bootloader gave it up
}

// Status looks at everything and changes nothing.
func (d *Device) Status(ctx context.Context) Status {
	s := Status{
		Artifact: d.ArtifactName(),
		Provides: d.Provides(),
		Working:  d.Working(),
		Warnings: append(slices.Clone(d.store.Warnings), d.otherClients()...),
	}
	if d.foreign != nil {
		s.Warnings = append(s.Warnings, d.foreign.Error())
	}
	if t, err := d.Type(); err != nil {
		s.Warnings = append(s.Warnings, err.Error())
	} else {
		s.DeviceType = t
	}
	if d.hasSlots() {
		pair := d.slotStatus(&s.Slots)
		d.bootStatus(ctx, pair, &s)
	}
	d.deploymentStatus(ctx, &s)
	s.Next = next(&s)
	return s
}

// ArtifactName is the name of what the device has.
func (d *Device) ArtifactName() string {
	return or(d.store.Provides()["artifact_name"], UnknownName)
}

// hasSlots says whether the device is configured for root filesystem updates at all.
func (d *Device) hasSlots() bool { return d.Config.RootfsPartA != "" || d.Config.RootfsPartB != "" }

func errNoSlots() error {
	return fmt.Errorf("%w: RootfsPartA and RootfsPartB are not configured", ErrNoSlots)
}

func (d *Device) slotStatus(s *SlotStatus) *slot.Pair {
	pair, err := slot.Find(d.slotConfig())
	if err != nil {
		s.Problem = err.Error()
		return nil
	}
	active, inactive := pair.Active(), pair.Inactive()
	s.Active, s.Inactive, s.How = &active, &inactive, pair.How()
	return &pair
}

func (d *Device) bootStatus(ctx context.Context, pair *slot.Pair, s *Status) {
	env, err := d.BootEnv()
	if err != nil {
		s.Bootloader.Problem = err.Error()
		return
	}
	if s.Bootloader.Environment, err = env.Inspect(ctx); err != nil {
		s.Bootloader.Problem = err.Error()
		return
	}
	s.Warnings = append(s.Warnings, s.Bootloader.Environment.Warnings...)
	sel, err := bootenv.ReadSelection(ctx, env)
	if err != nil {
		s.Bootloader.Problem = err.Error()
		s.Warnings = slices.DeleteFunc(s.Warnings, func(w string) bool { return strings.Contains(err.Error(), w) })
		return
	}
	s.Bootloader.NextPart, s.Bootloader.Trial = sel.Part, sel.Trial
	if pair == nil {
		return
	}
	if next, ok := pair.WithPart(sel.Part); ok {
		s.Bootloader.NextSlot = next.Name
	} else {
		s.Bootloader.Problem = fmt.Sprintf("the bootloader selects partition %d, which is neither slot", sel.Part)
	}
}

func (d *Device) deploymentStatus(ctx context.Context, s *Status) {
	x, err := d.Current()
	if errors.Is(err, deployment.ErrNone) {
		return
	}
	s.Deployment = &DeploymentStatus{}
	if record, rerr := d.store.Record(); rerr == nil {
		s.Deployment.Record = record
	}
	if err != nil {
		s.Warnings = append(s.Warnings, err.Error())
		return
	}
	if s.Deployment.State != deployment.Installed {
		return
	}
	err = x.Handler.Ready(ctx)
	s.Deployment.Running = err == nil
	s.Deployment.FellBack = errors.Is(err, payload.ErrFellBack)
}

// next says what to do now.
func next(s *Status) []string {
	if s.Working != nil && s.Working.Waiting != nil {
		return []string{"flipside resume   # run the waiting script now", "flipside cancel   # do not wait for it any longer"}
	}
	if s.Working != nil {
		return []string{"wait for the running flipside to end", "flipside status --follow   # watch it", "flipside cancel   # end it"}
	}
	if s.Deployment == nil {
		if active := s.Slots.Active; active != nil && s.Bootloader.NextSlot != "" && s.Bootloader.NextSlot != active.Name {
			return []string{"reboot   # the bootloader will start slot " + s.Bootloader.NextSlot}
		}
		if s.Slots.Problem != "" || s.Bootloader.Problem != "" {
			return []string{"mend the problem above; until then only update modules can install"}
		}
		return []string{"flipside install URI"}
	}
	switch x := s.Deployment; x.State.Recovery() {
	case deployment.CleanUp:
		return []string{"flipside install URI   # the interrupted download is cleaned up first"}
	case deployment.Wait:
		if s.Bootloader.Problem != "" && x.Artifact.PayloadType == rootfsImage {
			return append([]string{"mend the problem above first"}, nextDecision(x)...)
		}
		return nextDecision(x)
	default:
		return []string{"flipside resume"}
	}
}

func nextDecision(x *DeploymentStatus) []string {
	switch {
	case x.State != deployment.Installed:
		return []string{"flipside resume     # go on", "flipside rollback   # drop it"}
	case !x.SupportsRollback:
		return []string{"flipside commit     # it cannot be rolled back"}
	case x.FellBack:
		return []string{"find out why it did not come up", "flipside rollback   # end this update; or install another one"}
	case x.Running:
		return []string{"flipside commit     # keep it", "flipside rollback   # go back"}
	default:
		return []string{"reboot", "flipside commit     # then, to keep it", "flipside rollback   # or, to go back"}
	}
}
