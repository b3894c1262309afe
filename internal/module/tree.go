package module

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"flipside/artifact"
	"flipside/internal/atomicfile"
	"flipside/internal/disk"
)

// The tree is nobody's business but the module's, which runs as we do.
const (
	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600
)

// buildTree makes the work tree of protocol version 3, durably, over any older one.
func (h *Handler) buildTree(header *artifact.Header) error {
	if err := h.dropTree(); err != nil {
		return err
	}
	if err := makeDirs(h.c.FS, filepath.Dir(h.c.Work)); err != nil {
		return err
	}
	for _, dir := range []string{"", "header", "tmp"} {
		if err := h.c.FS.Mkdir(filepath.Join(h.c.Work, dir), dirMode); err != nil {
			return err
		}
	}
	files, err := h.treeFiles(header)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := atomicfile.Write(h.c.FS, filepath.Join(h.c.Work, f.name), f.content, fileMode); err != nil {
			return err
		}
	}
	return h.c.FS.SyncDir(filepath.Dir(h.c.Work))
}

type treeFile struct {
	name    string
	content []byte
}

// treeFiles: what is the device's ends with a newline, what is the artifact's does not; so it is
// in Mender's client, and modules in shell count on the one or the other.
func (h *Handler) treeFiles(header *artifact.Header) ([]treeFile, error) {
	p := header.Payloads[0]
	files := []treeFile{
		{"version", []byte("3\n")},
		{"current_artifact_name", line(h.c.Current.Name)},
		{"current_artifact_group", line(h.c.Current.Group)},
		{"current_device_type", line(h.c.Current.DeviceType)},
		{"header/artifact_name", []byte(header.Name)},
		{"header/artifact_group", []byte(header.Group)},
		{"header/payload_type", []byte(p.Type)},
	}
	for _, j := range []struct {
		name string
		text json.RawMessage
	}{
		{"header-info", header.Info},
		{"type-info", p.TypeInfo},
		{"meta-data", p.MetaData},
	} {
		content, err := pretty(j.text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", j.name, err)
		}
		files = append(files, treeFile{"header/" + j.name, content})
	}
	return files, nil
}

// line is s and a newline; nothing if there is no s.
func line(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s + "\n")
}

// pretty is JSON for people and line-based tools; "null" for none.
func pretty(text json.RawMessage) ([]byte, error) {
	if len(text) == 0 {
		return []byte("null"), nil
	}
	var b bytes.Buffer
	err := json.Indent(&b, bytes.TrimSpace(text), "", "  ")
	return b.Bytes(), err
}

// checkTree makes sure that the module finds its own tree.
func (h *Handler) checkTree() error {
	owner, err := os.ReadFile(filepath.Join(h.c.Work, "header", "payload_type"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s is not there or not complete", ErrNoTree, h.c.Work)
	case err != nil:
		return err
	case string(owner) != h.c.Type:
		return fmt.Errorf("%w: %s is that of payload type %q", ErrNoTree, h.c.Work, owner)
	}
	return nil
}

// dropTree removes the tree: whatever happens on the way, a part of it is never taken for it.
func (h *Handler) dropTree() error {
	old := h.c.Work + ".old"
	if err := disk.RemoveAll(h.c.FS, old); err != nil { // what a power cut left behind
		return err
	}
	err := h.c.FS.Rename(h.c.Work, old)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := h.c.FS.SyncDir(filepath.Dir(h.c.Work)); err != nil {
		return err
	}
	return disk.RemoveAll(h.c.FS, old)
}

// makeDirs is os.MkdirAll through fsys, durably.
func makeDirs(fsys disk.FS, dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := makeDirs(fsys, parent); err != nil {
		return err
	}
	if err := fsys.Mkdir(dir, dirMode); err != nil {
		return err
	}
	return fsys.SyncDir(parent)
}
