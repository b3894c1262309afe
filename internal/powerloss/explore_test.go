package powerloss_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"flipside/internal/disk"
	"flipside/internal/disk/faultdisk"
)

var (
	cutsFlag  = flag.Int("cuts", 2, "power cuts in a row")
	seedFlag  = flag.Uint64("seed", 100, "first seed for losses at random")
	seedsFlag = flag.Int("seeds", 1, "how many of them, at each cut")
)

// seeds are what to lose at the n-th operation: all that is possible, nothing, and something, which
// is something else at each.
func seeds(n int) []uint64 {
	list := []uint64{faultdisk.LoseAll, faultdisk.KeepAll}
	for i := range *seedsFlag {
		list = append(list, *seedFlag+uint64(n**seedsFlag+i))
	}
	return list
}

// state is a device, with the way there.
type state struct {
	snapshot
	way  []string
	cuts int
}

func (s state) then(step string, after snapshot) state {
	return state{after, append(append([]string(nil), s.way...), step), s.cuts}
}

func (s state) String() string { return strings.Join(s.way, "\n\t") }

// explorer visits every state that a device can come to, with as many cuts as are allowed, and
// checks it. States that only differ in what makes no difference are one.
type explorer struct {
	*rig
	wrap    func(disk.FS) disk.FS // a fault to be found; nil for none
	blind   bool                  // no cuts at the end of commands
	hasty   bool                  // nothing before the first state file of a command
	ending  bool                  // from new states only to a good end
	maxCuts int

	visited map[string]bool            // states with the power on
	off     map[string]bool            // and with the power off
	ended   map[string]map[string]bool // states from which a person has come to a good end
	queue   []state
	all     []state // that were in the queue
	work    []work  // to be cut, when all is known that one comes to without
	runs    int     // commands that were cut
}

func newExplorer(r *rig, maxCuts int) *explorer {
	x := &explorer{rig: r, maxCuts: maxCuts, visited: map[string]bool{}, off: map[string]bool{}, ended: map[string]map[string]bool{}}
	for _, p := range people {
		x.ended[p.name] = map[string]bool{}
	}
	return x
}

// work is something that was done, and can be cut.
type work struct {
	state
	action string
	ops    []faultdisk.Op
}

// explore returns the first thing that must not be, with the way there.
func (x *explorer) explore(ctx context.Context, start state, first string) error {
	if err := x.toItsEnd(ctx, start, first); err != nil {
		return err
	}
	for range x.maxCuts + 1 {
		if err := x.visitAll(ctx); err != nil {
			return err
		}
		// A state counts as the one with the fewest cuts: so all of those come first.
		list := x.work
		x.work = nil
		for _, w := range list {
			if err := x.cutEverywhere(ctx, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// visitAll visits new states until there are no more.
func (x *explorer) visitAll(ctx context.Context) error {
	for len(x.queue) > 0 {
		s := x.queue[0]
		x.queue = x.queue[1:]
		if err := x.visit(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// visit goes on from s with everything that can be done there.
func (x *explorer) visit(ctx context.Context, s state) error {
	if err := x.put(s.snapshot); err != nil {
		return err
	}
	status, err := x.status(ctx)
	if err != nil {
		return fmt.Errorf("%w\n\t%v", err, s)
	}
	for _, p := range people {
		if err := x.put(s.snapshot); err != nil {
			return err
		}
		if err := x.finish(ctx, p.preference, x.ended[p.name]); err != nil {
			return fmt.Errorf("%w\n\t%v\n\tthe person who wants to go %s", err, s, p.name)
		}
	}
	if x.ending || clean(status) {
		return nil
	}
	for _, action := range proposals(status) {
		if err := x.toItsEnd(ctx, s, action); err != nil {
			return err
		}
	}
	return nil
}

// cutEverywhere does w again, with a cut at each of its operations.
func (x *explorer) cutEverywhere(ctx context.Context, w work) error {
	if w.cuts == x.maxCuts {
		return nil
	}
	w.cuts++
	first := x.first(w.ops)
	for _, p := range cutPoints(w.ops[first:], count(w.ops[:first])) {
		for _, seed := range p.seeds {
			if err := x.cutShort(ctx, w.state, w.action, p.cut, seed); err != nil {
				return err
			}
		}
	}
	return nil
}

// cutPoint is where to cut, and what to lose there.
type cutPoint struct {
	cut   int
	seeds []uint64
}

// first is the operation to begin with.
func (x *explorer) first(ops []faultdisk.Op) int {
	if !x.hasty {
		return 0
	}
	return max(0, slices.IndexFunc(ops, func(op faultdisk.Op) bool { return isState(op.Path) }))
}

// count is how many of ops change something.
func count(ops []faultdisk.Op) (n int) {
	for _, op := range ops {
		if op.Kind.Changes() {
			n++
		}
	}
	return n
}

// cutPoints are all that may differ, from the cut-th one on. During a promise nothing changes: it
// is as if the power went during the operation before. To lose all leaves the same until something
// more was promised.
func cutPoints(ops []faultdisk.Op, cut int) (points []cutPoint) {
	promised := true
	for _, op := range ops {
		switch {
		case !op.Kind.Changes():
			continue
		case op.Kind == faultdisk.Sync || op.Kind == faultdisk.SyncDir:
			promised = true
			cut++
			continue
		}
		cut++
		list := seeds(cut)
		if !promised {
			list = slices.DeleteFunc(list, func(seed uint64) bool { return seed == faultdisk.LoseAll })
		}
		promised = false
		points = append(points, cutPoint{cut, list})
	}
	return points
}

// toItsEnd does it without a cut, which comes right after it: what is done must be done for good.
func (x *explorer) toItsEnd(ctx context.Context, s state, action string) error {
	if err := x.put(s.snapshot); err != nil {
		return err
	}
	d, err := x.disk()
	if err != nil {
		return err
	}
	_, doErr := x.do(ctx, action, x.wrapped(d))
	before, err := x.take()
	if err != nil {
		return err
	}
	var lost []string
	if x.blind {
		err = d.Close()
	} else {
		lost, err = d.Settle(faultdisk.LoseAll)
	}
	if err != nil {
		return err
	}
	after, err := x.take()
	if err != nil {
		return err
	}
	next := s.then(fmt.Sprintf("%s: %v", action, doErr), after)
	if x.essence(before) != x.essence(after) {
		return fmt.Errorf("%w: %q\n\t%v", errLost, lost, next)
	}
	x.work = append(x.work, work{s, action, d.Ops()})
	return x.arrive(ctx, next)
}

// cutShort does it with a cut, and powers the device up again.
func (x *explorer) cutShort(ctx context.Context, s state, action string, cut int, seed uint64) error {
	if err := x.put(s.snapshot); err != nil {
		return err
	}
	d, err := x.disk()
	if err != nil {
		return err
	}
	d.Cut(cut, x.cutPower)
	_, doErr := x.do(ctx, action, x.wrapped(d))
	ops := d.Ops()
	lost, err := d.Settle(seed)
	if err != nil {
		return err
	}
	x.runs++
	if len(ops) == 0 {
		return fmt.Errorf("%s did nothing: %w\n\t%v", action, doErr, s)
	}
	step := fmt.Sprintf("%s, cut %d at %v, seed %d, lost %q: %v", action, cut, ops[len(ops)-1], seed, lost, doErr)
	off, err := x.take()
	if err != nil {
		return err
	}
	return x.powerUpOnce(ctx, s.then(step, off))
}

// powerUpOnce is powerUpBothWays, if that was not done before.
func (x *explorer) powerUpOnce(ctx context.Context, off state) error {
	print := x.fingerprint(off.snapshot)
	if x.off[print] {
		return nil
	}
	x.off[print] = true
	return x.powerUpBothWays(ctx, off)
}

// powerUpBothWays boots what is selected, and, if that is on trial, also lets it not come up.
func (x *explorer) powerUpBothWays(ctx context.Context, off state) error {
	sel, err := x.selection(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w\n\t%v", errStatus, err, off)
	}
	if err := x.checkBoot(sel); err != nil {
		return fmt.Errorf("%w\n\t%v", err, off)
	}
	for _, fails := range []bool{false, true} {
		if fails && !sel.Trial {
			return nil
		}
		if err := x.put(off.snapshot); err != nil {
			return err
		}
		if err := x.boot(ctx, fails); err != nil {
			return fmt.Errorf("%w\n\t%v", err, off)
		}
		on, err := x.take()
		if err != nil {
			return err
		}
		if err := x.arrive(ctx, off.then(fmt.Sprintf("power up, fails: %v", fails), on)); err != nil {
			return err
		}
	}
	return nil
}

// arrive checks the device, and takes it up for a visit if it is new.
func (x *explorer) arrive(ctx context.Context, s state) error {
	print := x.fingerprint(s.snapshot)
	if x.visited[print] {
		return nil
	}
	x.visited[print] = true
	if err := x.check(ctx); err != nil {
		return fmt.Errorf("%w\n\t%v", err, s)
	}
	x.queue = append(x.queue, s)
	x.all = append(x.all, s)
	return nil
}

func (x *explorer) wrapped(d disk.FS) disk.FS {
	if x.wrap == nil {
		return d
	}
	return x.wrap(d)
}

// essence is what must survive whatever was said to be done: all but leftovers.
func (x *explorer) essence(s snapshot) string {
	kept := snapshot{}
	for name, t := range s {
		if !strings.HasSuffix(name, ".new") && !strings.Contains(name, ".old") {
			kept[name] = t
		}
	}
	return x.fingerprint(kept)
}

// The devices to start with: one that was never updated, and one that was.
const (
	fresh   = "never updated"
	updated = "updated once"
)

func starts(t *testing.T, r *rig) map[string]state {
	t.Helper()
	first, err := r.take()
	must(t, err)
	must(t, r.wholeUpdate(t.Context()))
	second, err := r.take()
	must(t, err)
	return map[string]state{
		fresh:   {snapshot: first, way: []string{fresh}},
		updated: {snapshot: second, way: []string{updated}},
	}
}

// cuts explores the devices of a rig, from the first install on.
func cuts(t *testing.T, r *rig, maxCuts int, hasty bool, from ...string) {
	start := starts(t, r)
	for _, name := range from {
		x := newExplorer(r, maxCuts)
		x.hasty = hasty
		if err := x.explore(t.Context(), start[name], doInstall); err != nil {
			t.Errorf("%v", err)
		}
		t.Logf("%s, seed %d: %d commands cut short, %d different states", name, *seedFlag, x.runs, len(x.visited))
		if x.runs < 80 {
			t.Errorf("%s: only %d commands were cut short", name, x.runs)
		}
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	t.Run("cuts", func(t *testing.T) { cuts(t, newRig(t, rootfs, smallSlot), *cutsFlag, false, fresh, updated) })
	t.Run("faults", func(t *testing.T) { faults(t, newRig(t, rootfs, smallSlot), false, fresh, updated) })
	t.Run("cuts of large images", func(t *testing.T) { cuts(t, newRig(t, rootfs, largeSlot), max(1, *cutsFlag-1), false, fresh, updated) })
}

// TestModules does less, unless somebody has the time: programs take theirs.
func TestModules(t *testing.T) {
	t.Parallel()
	if *cutsFlag <= 2 {
		t.Run("app cuts", func(t *testing.T) { cuts(t, newRig(t, "app", smallSlot), 1, true, updated) })
		t.Run("app faults", func(t *testing.T) { faults(t, newRig(t, "app", smallSlot), true, updated) })
		t.Run("app-forward cuts", func(t *testing.T) { cuts(t, newRig(t, "app-forward", smallSlot), 1, false, fresh) })
		return
	}
	for _, module := range []string{"app", "app-forward"} {
		t.Run(module+" cuts", func(t *testing.T) { cuts(t, newRig(t, module, smallSlot), max(1, *cutsFlag-1), false, fresh, updated) })
		t.Run(module+" faults", func(t *testing.T) { faults(t, newRig(t, module, smallSlot), false, fresh, updated) })
	}
}
