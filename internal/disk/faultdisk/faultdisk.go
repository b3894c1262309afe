// Package faultdisk is a disk.FS for tests that fails, or loses its power, at any operation that
// one names, and then leaves on the disk what a real power cut could have left there.
//
// It works on real files, so that the code under test reads, lists and stats them as ever:
//
//	d, err := faultdisk.New(dir)
//	d.Cut(17)           // the power goes during the 17th operation that changes something
//	err = work(d)       // from there on every operation returns ErrPowerCut
//	lost, err := d.Settle(seed)
//
// # What a power cut leaves
//
// The model is a disk that makes good on no more than it has promised:
//
//   - What a file's Sync has covered stays. What was written since is there or not, each sector
//     of 512 bytes for itself; a sector is never torn. A lost overwrite leaves what was there
//     before, a lost append zeros. The interrupted write is one of these.
//   - A file's size may be that of any moment since its last Sync. A truncation may be lost, and
//     with it all that was done to the file afterwards; it is not kept without what was written
//     before it, as file systems that order data before metadata see to that.
//   - What a directory's SyncDir has covered stays. Of the creations, renames and removals in it
//     since, the first few have happened and the others have not: the order within a directory is
//     kept, as by every journal. Nothing is promised between directories; that a file was synced
//     says nothing about its name. A rename is never half done, and one between two directories
//     counts in the order of both.
//   - A Sync that was interrupted has promised nothing. One that has failed is worse: the kernel
//     takes the pages that it could not write for clean, and the next Sync does not bring them to
//     the medium. Here these are half of them. Reads show what was written, except those past the
//     cache (O_DIRECT).
//
// This allows for everything that ext4, in its default mode, may do, and for more.
//
// Files and names that come or go without the FS (by another process, or by package os) are
// noticed: they are unsynced until a SyncDir, so that code that goes round the FS is caught. Content
// that changes so is not noticed, and counts as synced.
//
// Pre-images are held in memory, MaxUnsynced bytes at most.
package faultdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"flipside/internal/disk"
)

// ErrPowerCut is what every operation returns once the power is off.
var ErrPowerCut = errors.New("the power is off")

// ErrUnsynced means that more was written without a Sync than the FS can remember.
var ErrUnsynced = errors.New("too much is unsynced")

// MaxUnsynced is how many bytes of pre-images are held.
const MaxUnsynced = 64 << 20

// Kind is what an operation does.
type Kind string

const (
	Open     Kind = "open"
	Create   Kind = "create"
	Truncate Kind = "truncate"
	Read     Kind = "read"
	Write    Kind = "write"
	Sync     Kind = "sync"
	Close    Kind = "close"
	Rename   Kind = "rename"
	Remove   Kind = "remove"
	Mkdir    Kind = "mkdir"
	SyncDir  Kind = "syncdir"
)

// Changes says whether such an operation changes what is, or will be, on the disk. Between two of
// these all power cuts are the same.
func (k Kind) Changes() bool { return k != Open && k != Read && k != Close }

// Op is an operation as it was asked for.
type Op struct {
	Kind   Kind
	Path   string
	To     string // of a Rename
	Offset int64  // of a Read or Write; of a Truncate the size
	Length int    // of a Read or Write
}

func (o Op) String() string {
	switch o.Kind {
	case Rename:
		return fmt.Sprintf("%s %s to %s", o.Kind, o.Path, o.To)
	case Read, Write:
		return fmt.Sprintf("%s %s, %d bytes at %d", o.Kind, o.Path, o.Length, o.Offset)
	}
	return fmt.Sprintf("%s %s", o.Kind, o.Path)
}

// FS is the disk. It may be used from several goroutines.
type FS struct {
	mu      sync.Mutex
	ops     []Op
	changes int // of ops, those that change something
	off     bool

	cutAt  int
	onCut  func()
	failAt int
	sticky bool
	errno  error

	roots    []*node
	nodes    []*node   // all there ever were, in order of appearance
	pending  []*change // of names, that no SyncDir has covered
	unsynced int       // bytes of pre-images
}

var _ disk.FS = (*FS)(nil)

// New makes an FS of the directories and all that is in them, which counts as synced. They must lie
// on one file system. Operations elsewhere are refused. It holds files open until Settle or Close.
func New(dirs ...string) (*FS, error) {
	d := &FS{}
	for _, dir := range dirs {
		root, err := d.newRoot(dir)
		if err == nil {
			d.roots = append(d.roots, root)
			err = d.adoptAll(root)
		}
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	d.syncAll()
	return d, nil
}

// Cut makes the power fail during the n-th operation that changes something, counted from 1. It
// may have happened or not, or in part: that is for Settle to decide. Then is called at that
// moment, unless it is nil: to stop what does not come by here.
func (d *FS) Cut(n int, then func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAt, d.onCut = n, then
}

// Fail makes the n-th operation fail with err, counted from 1. A write writes the first half; all
// other operations do nothing.
func (d *FS) Fail(n int, err error) { d.fail(n, err, false) }

// FailFrom makes the n-th operation fail with err, and all later ones that change something: the
// disk is full, or has become read-only.
func (d *FS) FailFrom(n int, err error) { d.fail(n, err, true) }

func (d *FS) fail(n int, err error, sticky bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failAt, d.errno, d.sticky = n, err, sticky
}

// Ops are the operations up to now, those that failed included.
func (d *FS) Ops() []Op {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.ops)
}

// Changes is how many of Ops change something.
func (d *FS) Changes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changes
}

// Off says whether the power is off.
func (d *FS) Off() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

// action is how an operation is done.
type action struct {
	op   Op
	do   func() error
	fail func(error) error // what is done of it if it fails; nil: nothing
}

// run does an operation, or what is left of it. The caller holds the lock.
func (d *FS) run(a action) error {
	if d.off {
		return &fs.PathError{Op: string(a.op.Kind), Path: a.op.Path, Err: ErrPowerCut}
	}
	d.ops = append(d.ops, a.op)
	changes := a.op.Kind.Changes()
	if changes {
		d.changes++
	}
	if d.fails(changes) {
		err := error(&fs.PathError{Op: string(a.op.Kind), Path: a.op.Path, Err: d.errno})
		if a.fail != nil {
			err = a.fail(err)
		}
		return err
	}
	if !changes || d.changes != d.cutAt {
		return a.do()
	}
	var err error
	if a.op.Kind != Sync && a.op.Kind != SyncDir { // these two only make promises
		err = a.do()
	}
	d.off = true
	if d.onCut != nil {
		d.onCut()
	}
	return errors.Join(&fs.PathError{Op: string(a.op.Kind), Path: a.op.Path, Err: ErrPowerCut}, err)
}

func (d *FS) fails(changes bool) bool {
	n := len(d.ops)
	return d.failAt > 0 && (n == d.failAt || d.sticky && changes && n > d.failAt)
}

// Close lets go of all files, as they are. It is not a power cut.
func (d *FS) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.close()
}

func (d *FS) close() error {
	d.off = true
	var errs []error
	for _, n := range d.nodes {
		if n.file != nil {
			errs = append(errs, n.file.Close())
			n.file = nil
		}
	}
	return errors.Join(errs...)
}
