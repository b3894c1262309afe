package bootenv

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// menderGrub is Mender's GRUB environment: two copies of a block, each with a lock that says
// "editing" while the copy is written. GRUB's boot script restores an edited copy 2 from copy 1,
// or else an edited copy 1 from copy 2, and then uses copy 1. It never looks at the blocks
// themselves: that they are good is on whoever writes them.
type menderGrub struct {
	host     host
	dir      string
	lockDirs []string
}

func (g *menderGrub) Read(ctx context.Context, names ...string) (Vars, error) {
	held, err := g.host.locks.take(ctx, g.lockDirs, grubLock, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer held.release()
	pair, err := g.load()
	if err != nil {
		return nil, err
	}
	source, err := pair.source()
	if err != nil {
		return nil, g.wrap("reading", err)
	}
	return pick(source.vars(), names), nil
}

// Write brings both copies to the new values, also when only one of them has other ones: a write
// that was cut short between the copies would else come back to life in a later one.
func (g *menderGrub) Write(ctx context.Context, changes Vars) error {
	if err := checkChanges(changes); err != nil {
		return err
	}
	held, err := g.host.locks.take(ctx, g.lockDirs, grubLock, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer held.release()
	pair, err := g.load()
	if err == nil {
		err = pair.write(changes)
	}
	if err != nil {
		return g.wrap("writing", err)
	}
	return nil
}

func (g *menderGrub) wrap(doing string, err error) error {
	return fmt.Errorf("%s the GRUB environment in %s: %w", doing, g.dir, err)
}

// grubPair are the two copies as they were found.
type grubPair [2]*grubCopy

func (g *menderGrub) load() (pair grubPair, err error) {
	for i := range pair {
		dir := filepath.Join(g.dir, fmt.Sprintf("mender_grubenv%d", i+1))
		if pair[i], err = loadGrubCopy(g.host.fs, dir); err != nil {
			return pair, err
		}
	}
	return pair, nil
}

// preferred is the copy that GRUB's boot script takes, going by the locks alone.
func (p grubPair) preferred() int {
	if !p[1].editing() && p[0].editing() {
		return 1
	}
	return 0
}

// source is the copy with the values that hold: the one that GRUB takes if its content is good,
// else the other if that was not being written. A block with variables that GRUB would refuse is
// better than none: it can be read, and written over.
func (p grubPair) source() (*grubCopy, error) {
	first := p[p.preferred()]
	second := p[1-p.preferred()]
	switch {
	case first.sound() == nil:
		return first, nil
	case second.sound() == nil && !second.editing():
		return second, nil
	case first.block != nil:
		return first, nil
	case second.block != nil:
		return second, nil
	}
	return nil, fmt.Errorf("%w: %s: %w; %s: %w", ErrCorrupt, p[0].env, p[0].err, p[1].env, p[1].err)
}

func (p grubPair) write(changes Vars) error {
	source, err := p.source()
	if err != nil {
		return err
	}
	if !changed(source.vars(), changes) && p.consistent() {
		return nil
	}
	old, err := applyToBlock(source.block, nil)
	if err != nil {
		return err
	}
	data, err := applyToBlock(source.block, changes)
	if err != nil {
		return err
	}
	// Copy 2 is written first, and GRUB then restores it from copy 1 if that is cut short: so
	// copy 1 must have the old values.
	if source != p[0] {
		if err := p[0].write(old); err != nil {
			return err
		}
	}
	return p.writeBoth(data)
}

// writeBoth has a good copy at every instant: copy 1 while the lock of copy 2 says "editing", and
// copy 2 while that of copy 1 does.
func (p grubPair) writeBoth(data []byte) error {
	for _, c := range []*grubCopy{p[1], p[0]} {
		if err := c.write(data); err != nil {
			return err
		}
	}
	return nil
}

// consistent: nothing is to be repaired.
func (p grubPair) consistent() bool {
	for _, c := range p {
		if c.block == nil || c.editing() || c.sumProblem() != nil {
			return false
		}
	}
	return maps.Equal(p[0].vars(), p[1].vars())
}

func (g *menderGrub) Inspect(ctx context.Context) (Report, error) {
	r := Report{Kind: "GRUB, Mender's two copies", Source: g.dir}
	held, err := g.host.locks.take(ctx, g.lockDirs, grubLock, unix.LOCK_SH)
	if err != nil {
		return r, err
	}
	defer held.release()
	pair, err := g.load()
	if err != nil {
		return r, err
	}
	source, err := pair.source()
	if err != nil {
		r.Warnings = append(r.Warnings, err.Error())
	}
	for i, c := range pair {
		r.Copies = append(r.Copies, Copy{Path: c.env, Valid: c.block != nil, Current: c == source, Problem: c.problem()})
		if problem := c.problem(); problem != "" {
			r.Warnings = append(r.Warnings, fmt.Sprintf("copy %d of the environment, %s: %s", i+1, c.env, problem))
		}
	}
	if pair[0].block != nil && pair[1].block != nil && !maps.Equal(pair[0].vars(), pair[1].vars()) {
		r.Warnings = append(r.Warnings, "the copies of the environment differ: a write was cut short; the next write brings them together")
	}
	return r, nil
}
