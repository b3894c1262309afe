package faultdisk

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// node is a file or a directory, by whatever name.
type node struct {
	id   int
	mode fs.FileMode
	info fs.FileInfo // to know it again

	// Where it is now. A root has no parent, and its path as its name; what was removed has
	// neither.
	parent *node
	name   string

	// Of a directory: what is in it now, and what is in it on the medium.
	now, synced map[string]*node

	// Of a regular file: open, so that a removed one can come back. See data.go.
	file  *os.File
	marks []*mark

	link string // of a symbolic link: where it leads
}

func (n *node) path() string {
	if n.parent == nil {
		return n.name
	}
	return filepath.Join(n.parent.path(), n.name)
}

// entry gives a name in a directory to a node, or, if that is nil, to nobody.
type entry struct {
	dir  *node
	name string
	node *node
}

// change is what happens to names at once or not at all.
type change struct {
	op      string
	entries []entry
}

func (c *change) touches(dirs map[*node]bool) bool {
	return slices.ContainsFunc(c.entries, func(e entry) bool { return dirs[e.dir] })
}

func (c *change) addDirs(dirs map[*node]bool) {
	for _, e := range c.entries {
		dirs[e.dir] = true
	}
}

// reach brings c to the medium.
func (c *change) reach() {
	for _, e := range c.entries {
		if e.node == nil {
			delete(e.dir.synced, e.name)
		} else {
			e.dir.synced[e.name] = e.node
		}
	}
}

// happened notes what has just become of names. The medium does not know of it yet.
func (d *FS) happened(op string, entries ...entry) {
	for _, e := range entries {
		if old := e.dir.now[e.name]; old != nil && old.parent == e.dir && old.name == e.name {
			old.parent, old.name = nil, ""
		}
	}
	for _, e := range entries {
		if e.node == nil {
			delete(e.dir.now, e.name)
			continue
		}
		e.dir.now[e.name] = e.node
		e.node.parent, e.node.name = e.dir, e.name
	}
	d.pending = append(d.pending, &change{op, entries})
}

// syncDir brings to the medium what became of the names in dir, and what that is bound to by
// renames from elsewhere.
func (d *FS) syncDir(dir *node) {
	dirs := map[*node]bool{dir: true}
	var reach, rest []*change
	for _, c := range slices.Backward(d.pending) {
		if c.touches(dirs) {
			c.addDirs(dirs)
			reach = append(reach, c)
		} else {
			rest = append(rest, c)
		}
	}
	for _, c := range slices.Backward(reach) {
		c.reach()
	}
	slices.Reverse(rest)
	d.pending = rest
}

func (d *FS) syncAll() {
	for _, c := range d.pending {
		c.reach()
	}
	d.pending = nil
}

// Mkdir is os.Mkdir.
func (d *FS) Mkdir(name string, perm fs.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run(action{op: Op{Kind: Mkdir, Path: name}, do: func() error {
		at, err := d.find(name)
		if err != nil {
			return err
		}
		if err := os.Mkdir(name, perm); err != nil {
			return err
		}
		return d.created("mkdir", at)
	}})
}

// created notes that there is something new at a place.
func (d *FS) created(op string, at place) error {
	info, err := os.Lstat(at.path())
	if err != nil {
		return err
	}
	n, err := d.newNode(at.path(), info)
	if err != nil {
		return err
	}
	d.happened(op+" "+at.path(), entry{at.dir, at.name, n})
	return nil
}

// Rename is os.Rename.
func (d *FS) Rename(oldpath, newpath string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run(action{op: Op{Kind: Rename, Path: oldpath, To: newpath}, do: func() error {
		from, err := d.find(oldpath)
		if err != nil {
			return err
		}
		to, err := d.find(newpath)
		if err != nil {
			return err
		}
		n := from.node()
		if err := os.Rename(oldpath, newpath); err != nil {
			return err
		}
		if from != to {
			op := fmt.Sprintf("rename %s to %s", oldpath, newpath)
			d.happened(op, entry{from.dir, from.name, nil}, entry{to.dir, to.name, n})
		}
		return nil
	}})
}

// Remove is os.Remove.
func (d *FS) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run(action{op: Op{Kind: Remove, Path: name}, do: func() error {
		at, err := d.find(name)
		if err != nil {
			return err
		}
		if err := os.Remove(name); err != nil {
			return err
		}
		d.happened("remove "+name, entry{at.dir, at.name, nil})
		return nil
	}})
}

// SyncDir makes the names in dir last.
func (d *FS) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run(action{op: Op{Kind: SyncDir, Path: dir}, do: func() error {
		n, err := d.findDir(dir)
		if err != nil {
			return err
		}
		if err := d.noticeAll(n); err != nil {
			return err
		}
		d.syncDir(n)
		return nil
	}})
}
