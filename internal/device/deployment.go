package device

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"flipside/artifact"
	"flipside/internal/atomicfile"
	"flipside/internal/deployment"
	"flipside/internal/eventlog"
	"flipside/internal/module"
	"flipside/internal/payload"
	"flipside/internal/progress"
	"flipside/internal/script"
	"flipside/internal/slot"
)

// rootfsImage is the payload type that flipside handles itself.
const rootfsImage = "rootfs-image"

// Deployment is the deployment in progress, with all that works on it. The stories in install,
// commit and rollback move it through the state table.
type Deployment struct {
	Handler payload.Handler // nil for a null payload
	Record  deployment.Record
	Result  *deployment.Result

	dev      *Device
	stops    deployment.Stops
	scripts  *script.Runner
	failures []*deployment.Failure
	spoiled  atomic.Bool // the inactive slot may hold part of an image

	unrecorded bool               // the disk does not have the state of the way back
	doubtful   []deployment.State // could not be recorded, and may be on disk nonetheless
}

// Begin makes a deployment of an artifact that fits, and checks that its payload can be applied.
// Nothing on the device has changed when it returns, and nothing is recorded.
func (d *Device) Begin(ctx context.Context, h *artifact.Header) (*Deployment, error) {
	if n := len(h.Payloads); n != 1 {
		return nil, fmt.Errorf("%w: the artifact has %d payloads; only one is supported", payload.ErrUnfit, n)
	}
	if err := d.Fits(h); err != nil {
		return nil, err
	}
	x := &Deployment{
		Record: deployment.Record{ID: rand.Text(), Started: time.Now().UTC(), Artifact: deployment.FromHeader(h)},
		Result: &deployment.Result{Artifact: h.Name},
		dev:    d,
		stops:  d.o.Stops,
	}
	if x.Record.Artifact.PayloadType == "" {
		return x, nil
	}
	if err := d.equip(x); err != nil {
		return nil, err
	}
	if err := x.Handler.Prepare(ctx, h); err != nil {
		return nil, err
	}
	return x, script.Save(d.o.FS, d.artifactScripts(), h.Scripts)
}

// Current is the deployment that an earlier process began, or deployment.ErrNone.
func (d *Device) Current() (*Deployment, error) {
	record, err := d.store.Record()
	if err != nil {
		return nil, err
	}
	x := &Deployment{
		Record: record,
		Result: &deployment.Result{Artifact: record.Artifact.Name, Resumed: true},
		dev:    d,
		stops:  d.o.Stops,
	}
	return x, d.equip(x)
}

// Take runs work on the deployment that an earlier process began, and makes its result. The lock is
// held all the while.
func (d *Device) Take(work func(*Deployment) error) (*deployment.Result, error) {
	lock, err := d.Lock()
	if err != nil {
		return &deployment.Result{}, err
	}
	defer lock.Release()
	x, err := d.Current()
	if err != nil {
		return &deployment.Result{NothingToDo: errors.Is(err, deployment.ErrNone)}, err
	}
	return x.Finish(work(x))
}

// equip gives x its handler and its state scripts.
func (d *Device) equip(x *Deployment) error {
	x.scripts = &script.Runner{
		RootfsDir:     d.rootfsScripts(),
		ArtifactDir:   d.artifactScripts(),
		Timeout:       seconds(d.Config.StateScriptTimeoutSeconds, defaultScriptTimeout),
		RetryInterval: seconds(d.Config.StateScriptRetryIntervalSeconds, defaultScriptRetryInterval),
		RetryTimeout:  seconds(d.Config.StateScriptRetryTimeoutSeconds, defaultScriptRetryTimeout),
		Sink:          d.o.Sink,
		Waiting:       d.waiting,
		Wake:          d.o.Wake,
	}
	if x.Record.Artifact.PayloadType == rootfsImage && d.Config.RootfsHandler != "module" {
		return d.equipRootfs(x)
	}
	return d.equipModule(x)
}

// waiting shows the script that waits to other processes, who can then wake it.
func (d *Device) waiting(w *script.Wait) {
	var shown *deployment.Waiting
	if w != nil {
		shown = &deployment.Waiting{Script: w.Script, Since: w.Since, Until: w.Until}
	}
	if d.lock != nil {
		if err := d.lock.SetWaiting(shown); err != nil {
			d.warn("telling others that a script waits: %v", err)
		}
	}
	// Not before it is true: somebody may act on it at once.
	if w != nil {
		d.Note("`flipside resume` in another shell runs it at once; it is given up at %s", w.Until.Format(time.DateTime))
	}
}

func (d *Device) equipRootfs(x *Deployment) error {
	if !d.hasSlots() {
		return errNoSlots()
	}
	env, err := d.BootEnv()
	if err != nil {
		return err
	}
	x.Handler = slot.NewRootfs(slot.RootfsConfig{
		Slots:    d.slotConfig(),
		Env:      env,
		FS:       d.o.FS,
		Memory:   x.Record.Memory,
		Sink:     spoiling{d.o.Sink, &x.spoiled},
		ReadBack: !d.o.NoReadBack,
		BootID:   d.bootID,
	})
	return nil
}

// spoiling notes when bytes begin to go into the inactive slot.
type spoiling struct {
	progress.Sink
	spoiled *atomic.Bool
}

func (s spoiling) Emit(e progress.Event) {
	if e.Kind == progress.Begin && e.Phase == progress.Download {
		s.spoiled.Store(true)
	}
	s.Sink.Emit(e)
}

func (d *Device) equipModule(x *Deployment) error {
	provides := d.Provides()
	// The type is for the work tree, which Begin makes: it has made sure that there is one. The end
	// of a deployment does not depend on it.
	deviceType, _ := d.Type()
	var err error
	x.Handler, err = module.New(module.Config{
		Dir:     d.modules(),
		Type:    x.Record.Artifact.PayloadType,
		Work:    d.moduleWork(),
		Timeout: seconds(d.Config.ModuleTimeoutSeconds, defaultModuleTimeout),
		Sink:    d.o.Sink,
		Current: module.Current{Name: provides["artifact_name"], Group: provides["artifact_group"], DeviceType: deviceType},
		Memory:  x.Record.Memory,
		FS:      d.o.FS,
	})
	return err
}

// Enter records that x is in state, before the work of that state begins. It returns
// deployment.ErrStopped, with the state on disk, if the operator asked to stop there.
func (x *Deployment) Enter(state deployment.State) error {
	if x.Handler != nil {
		x.Record.Memory = x.Handler.Memory()
	}
	err := x.dev.store.Enter(&x.Record, state)
	if errors.Is(err, syscall.ENOSPC) && eventlog.GiveWay(x.dev.o.FS, x.dev.LogDir()) {
		err = x.dev.store.Enter(&x.Record, state)
	}
	if err != nil {
		if errors.Is(err, atomicfile.ErrUnsettled) {
			x.doubtful = append(x.doubtful, state)
		}
		return err
	}
	x.doubtful = nil
	if x.stops[state] {
		return deployment.ErrStopped
	}
	return nil
}

// EnterAnyway is Enter on the way back: that the state cannot be recorded (a full disk) is a
// failure, but undoing goes on, if every state that may be on disk leads to undoing again. From
// the others, a later process would go forth with what was undone: then its error is Enter's. An
// installed update that the bootloader has given up is not among these: Ready refuses it.
// Otherwise it returns deployment.ErrStopped or nil.
func (x *Deployment) EnterAnyway(state deployment.State) error {
	told := x.unrecorded
	err := x.Enter(state)
	x.unrecorded = err != nil && !errors.Is(err, deployment.ErrStopped)
	if !x.unrecorded {
		return err
	}
	for _, s := range append(x.doubtful, x.Record.State) {
		if r := s.Recovery(); r == deployment.GoOn || r == deployment.Wait && !x.Selects() {
			return err
		}
	}
	if !told {
		x.Failed("", err)
	}
	return nil
}

// Scripts runs the state scripts of one state and action.
func (x *Deployment) Scripts(ctx context.Context, s script.State, a script.Action) error {
	return x.scripts.Run(ctx, s, a)
}

// Ignored runs scripts whose errors change nothing any more; they were shown when they happened.
func (x *Deployment) Ignored(ctx context.Context, s script.State, a script.Action) {
	if err := x.Scripts(ctx, s, a); err != nil {
		x.Warn(err)
	}
}

// Warn shows an error that does not decide anything.
func (x *Deployment) Warn(err error) {
	x.dev.o.Sink.Emit(progress.Event{Kind: progress.Warning, Text: err.Error()})
}

// Failed notes that a step went wrong. The first one is the cause of everything that follows.
func (x *Deployment) Failed(during string, err error) {
	f := &deployment.Failure{During: during, Err: err}
	x.failures = append(x.failures, f)
	if x.Record.Failure == "" {
		x.Record.Failure = f.Error()
	}
}

// End cleans up and drops the record: the device now has what follows from outcome. Where that
// cannot be recorded the record stays, to be taken up later, and with it what the handler needs to
// repeat its way back. A download that was not activated needs nothing: it is cleaned up anyway,
// which on a full disk may be what makes room.
func (x *Deployment) End(ctx context.Context, outcome deployment.Outcome) error {
	x.Record.Outcome = outcome
	if x.unrecorded {
		return nil // and told already
	}
	entered := x.Enter(deployment.Cleaning)
	if errors.Is(entered, deployment.ErrStopped) || entered != nil && outcome != deployment.Unchanged {
		return entered
	}
	if err := x.Handler.Cleanup(context.WithoutCancel(ctx)); err != nil {
		x.Result.CleanupFailed = true
		x.Failed("Cleanup", err)
	}
	if entered != nil {
		if err := x.Enter(deployment.Cleaning); err != nil {
			return err
		}
	}
	return x.dev.store.End(&x.Record)
}

// StopsHere says whether the operator asked to stop where x already stands.
func (x *Deployment) StopsHere() bool { return x.stops[x.Record.State] }

// DoNotStop makes x go to its end: where the operator asked to stop is meant for another one.
func (x *Deployment) DoNotStop() { x.stops = nil }

// Done tells whoever watches that nothing more is to come: written, synced, verified, selected, and
// committed if nobody is to decide on that.
func (x *Deployment) Done() { x.dev.o.Sink.Emit(progress.Event{Kind: progress.Done}) }

// Finish turns what a run returned into its result and its failure. err is what stopped the
// run early, if anything did; the steps that went wrong are known already.
func (x *Deployment) Finish(err error) (*deployment.Result, error) {
	_, recordErr := x.dev.store.Record()
	x.Result.Kept = recordErr == nil
	if err != nil && !errors.Is(err, deployment.ErrStopped) {
		x.Failed("", err)
	}
	if len(x.failures) == 0 {
		x.Result.Device = x.reached()
		return x.Result, nil
	}
	first := x.failures[0]
	for _, f := range x.failures[1:] {
		if !sameCause(first, f) {
			first.Err = errors.Join(first.Err, f)
		}
	}
	first.Device = x.deviceState()
	return x.Result, first
}

// sameCause says whether b has nothing to tell beside a: a full disk fails every step.
func sameCause(a, b error) bool {
	var an, bn syscall.Errno
	return errors.As(a, &an) && errors.As(b, &bn) && an == bn
}

// CheckReboot notes, after a rollback, whether the running system is still the one that was rolled
// back.
func (x *Deployment) CheckReboot(ctx context.Context) {
	h, ok := x.Handler.(interface {
		RebootNeededAfterRollback(context.Context) (bool, error)
	})
	if !ok {
		return
	}
	needed, err := h.RebootNeededAfterRollback(ctx)
	if err != nil {
		x.Warn(err)
	}
	x.Result.RebootRequired = needed
}

// Selects says whether x is undone by one change of the bootloader's selection. If that fails, it is
// to be repeated.
func (x *Deployment) Selects() bool {
	_, ok := x.Handler.(*slot.Rootfs)
	return ok
}

// reached says what a run that went well left behind.
func (x *Deployment) reached() deployment.DeviceState {
	if state := x.deviceState(); state != deployment.SlotInvalid && state != deployment.DeviceUnchanged {
		return state
	}
	if x.Result.Installed {
		return deployment.Switched
	}
	return deployment.DeviceUnchanged // what was downloaded is complete
}

// deviceState says what a failed run left behind.
func (x *Deployment) deviceState() deployment.DeviceState {
	switch {
	case x.Record.Outcome == deployment.Inconsistent:
		return deployment.DeviceInconsistent
	case x.Record.Outcome == deployment.RolledBack:
		return deployment.DeviceRolledBack
	case x.Record.Outcome == deployment.Succeeded || x.Result.Committed:
		return deployment.Switched
	case x.Result.Kept && (x.Record.State == deployment.Installing || x.Record.State == deployment.RollingBack):
		return deployment.DevicePending
	case x.spoiled.Load():
		return deployment.SlotInvalid
	default:
		return deployment.DeviceUnchanged
	}
}

// Fetch takes the payload from the artifact, to its very end: what returns nil was verified.
func (x *Deployment) Fetch(ctx context.Context, r *artifact.Reader) error {
	p, err := r.Next()
	if err != nil {
		return err
	}
	if err := x.Handler.Download(ctx, p); err != nil {
		return err
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// Adopt ends a deployment without a payload: all that it brings is provides, in one write.
func (x *Deployment) Adopt() error {
	return x.dev.store.SetProvides(x.Record.NewProvides(x.dev.store.Provides()))
}
