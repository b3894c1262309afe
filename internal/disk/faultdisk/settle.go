package faultdisk

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// The seeds with a meaning of their own.
const (
	LoseAll = 0 // nothing survives that was not synced
	KeepAll = 1 // everything does
)

// Settle turns the power off, if it is still on, and makes the real files what a power cut at this
// moment could have left: which of the possibilities is up to seed. It says what was lost. The FS
// is of no use afterwards.
func (d *FS) Settle(seed uint64) (lost []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	for _, root := range d.roots {
		if err := d.adoptAll(root); err != nil {
			return nil, errors.Join(err, d.close())
		}
	}
	for _, n := range d.nodes {
		if n.file == nil {
			continue
		}
		name := cmp.Or(n.path(), "a file without a name")
		what, err := n.settle(newDice(seed, n.id))
		if err != nil {
			return lost, errors.Join(fmt.Errorf("settling %s: %w", name, err), d.close())
		}
		if what != "" {
			lost = append(lost, name+": "+what)
		}
	}
	lost = append(lost, d.settleNames(newDice(seed, len(d.nodes)))...)
	return lost, errors.Join(d.build(), d.close())
}

// settleNames decides which of the pending changes have reached the medium, and returns the others.
func (d *FS) settleNames(dice *dice) (lost []string) {
	stopped := map[*node]bool{}
	for _, c := range d.pending {
		if !c.touches(stopped) && dice.keep() {
			c.reach()
			continue
		}
		c.addDirs(stopped)
		lost = append(lost, c.op)
	}
	d.pending = nil
	return lost
}

// build makes the real tree what the medium has.
func (d *FS) build() error {
	if len(d.roots) == 0 {
		return nil
	}
	limbo, err := os.MkdirTemp(filepath.Dir(d.roots[0].name), ".limbo-")
	if err != nil {
		return err
	}
	b := builder{limbo: &node{name: limbo, now: map[string]*node{}}}
	err = b.takeAway(d.nodes)
	for _, root := range d.roots {
		if err == nil {
			err = b.bring(root)
		}
	}
	return errors.Join(err, os.RemoveAll(limbo))
}

type builder struct{ limbo *node }

// takeAway moves to limbo what is not where it should be.
func (b builder) takeAway(nodes []*node) error {
	for _, dir := range nodes {
		for _, name := range slices.Sorted(maps.Keys(dir.now)) {
			n := dir.now[name]
			if dir.synced[name] == n {
				continue
			}
			if err := b.move(n, b.limbo, strconv.Itoa(n.id)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b builder) move(n, dir *node, name string) error {
	if err := os.Rename(n.path(), filepath.Join(dir.path(), name)); err != nil {
		return err
	}
	n.parent, n.name = dir, name
	return nil
}

// bring makes a directory and all below it complete.
func (b builder) bring(dir *node) error {
	for _, name := range slices.Sorted(maps.Keys(dir.synced)) {
		n := dir.synced[name]
		if err := b.place(n, dir, name); err != nil {
			return err
		}
		if err := b.bring(n); err != nil {
			return err
		}
	}
	return nil
}

func (b builder) place(n, dir *node, name string) error {
	switch path := filepath.Join(dir.path(), name); {
	case n.parent == dir && n.name == name:
		return nil
	case n.parent != nil:
		return b.move(n, dir, name)
	default:
		n.parent, n.name = dir, name
		return n.make(path)
	}
}

// make makes n anew, which was removed.
func (n *node) make(path string) error {
	switch {
	case n.mode.IsDir():
		return os.Mkdir(path, n.mode.Perm())
	case n.file != nil:
		return n.copyOut(path)
	case n.mode.Type() == fs.ModeSymlink:
		return os.Symlink(n.link, path)
	}
	return nil // pipes and sockets are no loss
}

// dice decides what survives.
type dice struct {
	rand   *rand.Rand
	chance float64
}

// newDice makes the dice for one of the things that a seed decides about: what comes of one does
// not depend on how many decisions another one takes.
func newDice(seed uint64, about int) *dice {
	d := &dice{rand: rand.New(rand.NewPCG(seed, uint64(about)))}
	switch seed {
	case LoseAll:
	case KeepAll:
		d.chance = 1
	default:
		// Nearly nothing, half of it, or nearly everything: each finds what the others do not.
		d.chance = []float64{0.1, 0.5, 0.9}[seed%3]
	}
	return d
}

func (d *dice) keep() bool { return d.rand.Float64() < d.chance }

// some is how many of n things in a row survive.
func (d *dice) some(n int) int {
	kept := 0
	for kept < n && d.keep() {
		kept++
	}
	return kept
}
