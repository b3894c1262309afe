package faultdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// place is where a path leads: a directory, and a name in it.
type place struct {
	dir  *node
	name string
}

// find walks to path, and adopts what it meets for the first time.
func (d *FS) find(path string) (place, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return place{}, err
	}
	for _, root := range d.roots {
		if rest, below := strings.CutPrefix(path, root.name+"/"); below {
			return d.walk(root, rest)
		}
	}
	return place{}, fmt.Errorf("%s is not on this disk", path)
}

func (d *FS) walk(dir *node, path string) (place, error) {
	for {
		name, rest, deeper := strings.Cut(path, "/")
		if err := d.notice(dir, name); err != nil {
			return place{}, err
		}
		if !deeper {
			return place{dir, name}, nil
		}
		next := dir.now[name]
		switch {
		case next == nil:
			return place{}, &fs.PathError{Op: "find", Path: filepath.Join(dir.path(), name), Err: fs.ErrNotExist}
		case !next.mode.IsDir():
			return place{}, fmt.Errorf("%s is no directory", next.path())
		}
		dir, path = next, rest
	}
}

// findDir is find for a directory itself.
func (d *FS) findDir(path string) (*node, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	for _, root := range d.roots {
		if root.name == path {
			return root, nil
		}
	}
	at, err := d.find(path)
	if err != nil {
		return nil, err
	}
	if n := at.node(); n != nil && n.mode.IsDir() {
		return n, nil
	}
	return nil, &fs.PathError{Op: "find", Path: path, Err: fs.ErrNotExist}
}

// node is what is there now, or nil.
func (p place) node() *node { return p.dir.now[p.name] }

func (p place) path() string { return filepath.Join(p.dir.path(), p.name) }

// real is what the real file system has at a path, or nil.
func real(path string) (fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return info, err
}

func (d *FS) newRoot(dir string) (*node, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is no directory", dir)
	}
	root, err := d.newNode(path, info)
	if err != nil {
		return nil, err
	}
	root.name = path
	return root, nil
}

// newNode makes the node of what is at path.
func (d *FS) newNode(path string, info fs.FileInfo) (n *node, err error) {
	n = &node{id: len(d.nodes), mode: info.Mode(), info: info}
	switch {
	case n.mode.IsDir():
		n.now, n.synced = map[string]*node{}, map[string]*node{}
	case n.mode.IsRegular():
		// Not for writing: the kernel does not run a program that somebody may write.
		if n.file, err = os.Open(path); err != nil {
			return nil, err
		}
		n.marks = []*mark{newMark(info.Size())}
	case n.mode.Type() == fs.ModeSymlink:
		if n.link, err = os.Readlink(path); err != nil {
			return nil, err
		}
	}
	d.nodes = append(d.nodes, n)
	return n, nil
}

// notice makes sure that what is known of a name is what is there.
func (d *FS) notice(dir *node, name string) error {
	path, known := filepath.Join(dir.path(), name), dir.now[name]
	info, err := real(path)
	switch {
	case err != nil:
		return err
	case info == nil && known == nil, info != nil && known != nil && os.SameFile(info, known.info):
		return nil
	case info == nil:
		d.vanished(known)
		return nil
	}
	n, err := d.newNode(path, info)
	if err != nil {
		return err
	}
	d.happened("appearing "+path, entry{dir, name, n})
	return nil
}

// vanished notes that n was removed by somebody else, with all that was in it.
func (d *FS) vanished(n *node) {
	for _, name := range slices.Sorted(maps.Keys(n.now)) {
		d.vanished(n.now[name])
	}
	d.happened("vanishing "+n.path(), entry{n.parent, n.name, nil})
}

// noticeAll is notice for all names in dir.
func (d *FS) noticeAll(dir *node) error {
	list, err := os.ReadDir(dir.path())
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(dir.now))
	for _, e := range list {
		names = append(names, e.Name())
	}
	for _, name := range names {
		if err := d.notice(dir, name); err != nil {
			return err
		}
	}
	return nil
}

// adoptAll is noticeAll for dir and all directories below.
func (d *FS) adoptAll(dir *node) error {
	if err := d.noticeAll(dir); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(dir.now)) {
		if n := dir.now[name]; n.mode.IsDir() {
			if err := d.adoptAll(n); err != nil {
				return err
			}
		}
	}
	return nil
}
