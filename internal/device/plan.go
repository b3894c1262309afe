package device

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"flipside/artifact"
	"flipside/bootenv"
	"flipside/internal/deployment"
	"flipside/internal/module"
	"flipside/internal/payload"
	"flipside/internal/script"
	"flipside/internal/slot"
)

// Plan is what an install of an artifact would do, found out without changing anything.
type Plan struct {
	Artifact      string           `json:"artifact"`
	Signed        bool             `json:"signed"`
	Keys          []string         `json:"keys"`         // files; with any, the signature was found right
	Depends       []Match          `json:"depends"`      // all hold
	Provides      []bootenv.Change `json:"provides"`     // by the commit
	PayloadType   string           `json:"payload_type"` // "" for none
	Module        string           `json:"module,omitempty"`
	ImageSize     int64            `json:"image_size,omitempty"` // bytes, uncompressed
	Target        *slot.Slot       `json:"target,omitempty"`     // of a root filesystem; the image fits
	ReadBack      bool             `json:"read_back"`
	Scripts       []script.Step    `json:"scripts"`
	BootVariables []bootenv.Change `json:"boot_variables"`
	Reboot        string           `json:"reboot"` // "yes", "no"; "module": it says so after installing
	Speed         *Speed           `json:"speed,omitempty"`
	AtLeastMS     int64            `json:"at_least_ms,omitempty"` // that long at least, by Speed
	Notes         []string         `json:"notes,omitempty"`
}

// Match is a key that the artifact depends on.
type Match struct {
	Key    string   `json:"key"`
	Wanted []string `json:"wanted"` // any of these
	Has    string   `json:"has"`
}

// Speed is what was measured to estimate how long an install takes, in bytes per second.
type Speed struct {
	Source float64 `json:"source"`         // the source, unpacked
	Slot   float64 `json:"slot,omitempty"` // reading the slot
}

// Free returns nil if no process works on the device, and a *deployment.BusyError if one does. The
// lock would say so too, but to take it is to write.
func (d *Device) Free() error {
	if d.foreign != nil {
		return d.foreign
	}
	if h := deployment.Working(d.StateDir()); h != nil {
		return &deployment.BusyError{Holder: h}
	}
	return nil
}

// Plan looks at everything that Begin looks at, and has its errors. It writes nothing.
func (d *Device) Plan(ctx context.Context, h *artifact.Header) (*Plan, error) {
	if n := len(h.Payloads); n != 1 {
		return nil, fmt.Errorf("%w: the artifact has %d payloads; only one is supported", payload.ErrUnfit, n)
	}
	if err := d.Fits(h); err != nil {
		return nil, err
	}
	x := &Deployment{Record: deployment.Record{Artifact: deployment.FromHeader(h)}, dev: d}
	p := &Plan{
		Artifact: h.Name, Signed: h.Signed, Keys: append(d.Config.keyFiles(), d.o.Keys...),
		PayloadType: h.Payloads[0].Type, Reboot: "no",
		Scripts: []script.Step{}, BootVariables: []bootenv.Change{},
	}
	if p.Keys == nil {
		p.Keys = []string{}
	}
	d.planProvides(p, h)
	if p.PayloadType == "" {
		return p, nil
	}
	if err := d.equip(x); err != nil {
		return nil, err
	}
	var names []string
	for _, s := range h.Scripts {
		names = append(names, s.Name)
	}
	var err error
	if p.Scripts, err = x.scripts.Plan(names); err != nil {
		return nil, err
	}
	if m, ok := x.Handler.(*module.Handler); ok {
		p.Module, p.Reboot = filepath.Join(d.modules(), p.PayloadType), "module"
		return p, m.Usable()
	}
	return p, d.planRootfs(ctx, p, x, h)
}

// planProvides compares what the artifact needs and brings with what the device has.
func (d *Device) planProvides(p *Plan, h *artifact.Header) {
	has := d.Provides()
	deviceType, _ := d.Type() // Fits has read it
	p.Depends, p.Provides = []Match{}, []bootenv.Change{}
	for _, key := range slices.Sorted(maps.Keys(h.Depends)) {
		value := has[key]
		if key == artifact.KeyDeviceType {
			value = deviceType
		}
		p.Depends = append(p.Depends, Match{key, h.Depends[key], value})
	}
	after := has.Updated(h)
	keys := maps.Clone(after)
	maps.Copy(keys, has)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if has[key] != after[key] {
			p.Provides = append(p.Provides, bootenv.Change{Name: key, Old: has[key], New: after[key]})
		}
	}
}

func (d *Device) planRootfs(ctx context.Context, p *Plan, x *Deployment, h *artifact.Header) error {
	if err := x.Handler.Prepare(ctx, h); err != nil { // it writes nothing
		return err
	}
	pair, err := slot.Find(d.slotConfig())
	if err != nil {
		return err
	}
	target := pair.Inactive()
	p.Target, p.ReadBack, p.Reboot = &target, !d.o.NoReadBack, "yes"
	env, err := d.BootEnv()
	if err != nil {
		return err
	}
	p.BootVariables, err = bootenv.Preview(ctx, env, target.Part)
	return err
}

// Estimate measures how fast the image comes, and how fast the slot can be read. Nobody can know
// how fast the slot takes it without writing: the install cannot be faster than AtLeastMS, and may
// be slower. Where little can be measured, there is no estimate. The image began to come at began.
func (p *Plan) Estimate(ctx context.Context, image io.Reader, began time.Time) (err error) {
	const most = 32 << 20 // bytes
	var s Speed
	if s.Source, err = slot.Speed(ctx, image, began, most); err != nil || s.Source == 0 {
		return err
	}
	seconds := float64(p.ImageSize) / s.Source
	if p.ReadBack {
		if s.Slot, err = slot.ReadSpeed(ctx, *p.Target); err != nil {
			return err
		}
		if s.Slot > 0 {
			seconds += float64(p.ImageSize) / s.Slot
		}
	}
	p.Speed, p.AtLeastMS = &s, int64(seconds*1000)
	return nil
}
