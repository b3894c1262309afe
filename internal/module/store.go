package module

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"flipside/artifact"
	"flipside/internal/disk"
)

// syncEvery is how many bytes are written to a file before the medium has to catch up: what is
// shown as done is done, and a large file does not fill the memory of a small device.
const syncEvery = 16 << 20

// store puts the payload's files into the tree, durably.
func (h *Handler) store(ctx context.Context, p *artifact.Payload) error {
	dir := filepath.Join(h.c.Work, "files")
	if err := h.c.FS.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("storing the payload: %w", err)
	}
	for {
		f, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := h.storeFile(ctx, dir, f); err != nil {
			return err
		}
	}
	err := h.c.FS.SyncDir(dir)
	if err == nil {
		err = h.c.FS.SyncDir(h.c.Work)
	}
	if err != nil {
		return fmt.Errorf("storing the payload: %w", err)
	}
	return nil
}

// storeFile stores one file; one that turns out to be damaged does not stay.
func (h *Handler) storeFile(ctx context.Context, dir string, f *artifact.File) error {
	path := filepath.Join(dir, f.Name)
	out, err := h.c.FS.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, fileMode)
	if err != nil {
		return fmt.Errorf("storing payload file %s: %w", f.Name, err)
	}
	synced := &syncedWriter{f: out}
	w := &counter{ctx: ctx, sink: h.c.Sink, file: f, w: synced, safe: func() int64 { return synced.safe }}
	err = w.copy()
	ours := w.err
	if err == nil {
		ours = out.Sync()
	}
	if cerr := out.Close(); err == nil && ours == nil {
		ours = cerr
	}
	if err == nil && ours == nil {
		w.end()
		return nil
	}
	_ = h.c.FS.Remove(path) // best effort: the whole tree goes anyway
	if ours == nil {
		return err // the artifact's
	}
	return fmt.Errorf("storing payload file %s: %w", f.Name, ours)
}

// syncedWriter appends to a file and syncs it every syncEvery bytes.
type syncedWriter struct {
	f             disk.File
	written, safe int64
}

func (w *syncedWriter) Write(p []byte) (int, error) {
	n, err := w.f.WriteAt(p, w.written)
	w.written += int64(n)
	if err == nil && w.written-w.safe >= syncEvery {
		if err = w.f.Sync(); err == nil {
			w.safe = w.written
		}
	}
	return n, err
}
