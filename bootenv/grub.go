package bootenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"flipside/bootenv/internal/grubenv"
	"flipside/internal/disk"
)

// openGrub opens the environment in a directory: Mender's two copies, or a single grubenv.
func (h host) openGrub(dir string, lockDirs []string) (Env, error) {
	if lockDirs == nil {
		lockDirs = []string{h.path("/var/lock")}
	}
	if hasMenderGrub(dir) {
		return &menderGrub{host: h, dir: dir, lockDirs: lockDirs}, nil
	}
	file := filepath.Join(dir, "grubenv")
	if _, err := os.Stat(file); err != nil {
		return nil, noConfig(err)
	}
	return &grubFile{host: h, path: file, lockDirs: lockDirs}, nil
}

func hasMenderGrub(dir string) bool {
	for _, copy := range []string{"mender_grubenv1", "mender_grubenv2"} {
		if info, err := os.Stat(filepath.Join(dir, copy)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// menderGrubDirs is where grub-mender-grubenv looks, in this order.
var menderGrubDirs = [...]string{
	"/boot/efi/grub-mender-grubenv",
	"/boot/grub/grub-mender-grubenv",
	"/boot/efi/EFI/BOOT",
	"/boot/grub",
}

// findMenderGrub finds the directory of Mender's GRUB environment, or "".
func (h host) findMenderGrub() (string, error) {
	config := h.path("/etc/mender_grubenv.config")
	data, err := readConfig(config)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if dir := configuredGrubDir(string(data)); dir != "" {
		if dir = h.path(dir); !hasMenderGrub(dir) {
			return "", fmt.Errorf("%w: %s names %s, which has no mender_grubenv1", ErrNoConfig, config, dir)
		}
		return dir, nil
	}
	for _, dir := range menderGrubDirs {
		if dir = h.path(dir); hasMenderGrub(dir) {
			return dir, nil
		}
	}
	return "", nil
}

// configuredGrubDir is the last ENV_DIR of a shell script of assignments.
func configuredGrubDir(script string) (dir string) {
	for line := range strings.Lines(script) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "ENV_DIR="); ok {
			dir = strings.Trim(value, `"'`)
		}
	}
	return dir
}

// grubFile is a grubenv of its own. It has no checksum and no second copy: it is overwritten in
// place, which is one sector as long as the variables that change are in the first 512 bytes.
type grubFile struct {
	host     host
	path     string
	lockDirs []string
}

func (g *grubFile) Read(ctx context.Context, names ...string) (Vars, error) {
	held, err := g.host.locks.take(ctx, g.lockDirs, grubLock, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer held.release()
	block, err := g.load()
	if err != nil {
		return nil, err
	}
	return pick(block.Vars(), names), nil
}

func (g *grubFile) load() (*grubenv.Block, error) {
	data, err := readFile(g.host.fs, g.path)
	if err != nil {
		return nil, err
	}
	block, err := grubenv.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, g.path, err)
	}
	return block, nil
}

func (g *grubFile) Write(ctx context.Context, changes Vars) error {
	if err := checkChanges(changes); err != nil {
		return err
	}
	held, err := g.host.locks.take(ctx, g.lockDirs, grubLock, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer held.release()
	block, err := g.load()
	if err != nil {
		return err
	}
	if !changed(block.Vars(), changes) {
		return nil
	}
	data, err := applyToBlock(block, changes)
	if err == nil {
		err = overwrite(g.host.fs, g.path, data)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", g.path, err)
	}
	return nil
}

func (g *grubFile) Inspect(ctx context.Context) (Report, error) {
	r := Report{Kind: "GRUB, one block", Source: g.path}
	held, err := g.host.locks.take(ctx, g.lockDirs, grubLock, unix.LOCK_SH)
	if err != nil {
		return r, err
	}
	defer held.release()
	c := Copy{Path: g.path, Valid: true, Current: true}
	block, err := g.load()
	if err != nil {
		c = Copy{Path: g.path, Problem: err.Error()}
		r.Warnings = append(r.Warnings, err.Error())
	} else {
		if _, err := block.Bytes(); err != nil {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s cannot be written: %v", g.path, err))
		}
		if err := checkGrub(block.Vars()); err != nil {
			r.Warnings = append(r.Warnings, err.Error())
		}
		r.Warnings = append(r.Warnings, "the environment has one copy without a checksum: a power cut while it is saved may damage it")
	}
	r.Copies = []Copy{c}
	return r, nil
}

// applyToBlock changes the block and returns its bytes. It makes sure that GRUB will find the
// changes: in a block that was edited by hand, a line without "=" swallows the next one.
func applyToBlock(block *grubenv.Block, changes Vars) ([]byte, error) {
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if value := changes[name]; value != "" {
			block.Set(name, value)
		} else {
			block.Unset(name)
		}
	}
	if changed(block.Vars(), changes) {
		return nil, errors.New("the block has a line without \"=\", which hides the changes from GRUB")
	}
	data, err := block.Bytes()
	if errors.Is(err, grubenv.ErrTooLarge) {
		return nil, fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return data, err
}

// readFile reads a whole small file as the medium has it.
func readFile(fsys disk.FS, path string) ([]byte, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > grubenv.MaxSize {
		return nil, fmt.Errorf("%s is no file of an environment block", path)
	}
	return readUncached(fsys, path, 0, int(info.Size()))
}

// overwrite writes a small file in place and reads it back. It is not truncated before: a power
// cut in between would leave it empty, and GRUB cannot make it grow again. A file that is missing
// or too short grows here; what is longer is cut after it has the new content.
func overwrite(fsys disk.FS, path string, data []byte) error {
	f, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	before, err := replaceContent(f, data)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if before == 0 { // it may be new
		if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
			return err
		}
	}
	read := func() ([]byte, error) { return readFile(fsys, path) }
	return verify(path, read, data)
}

func replaceContent(f disk.File, data []byte) (before int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return 0, err
	}
	if info.Size() > int64(len(data)) {
		if err := f.Truncate(int64(len(data))); err != nil {
			return 0, err
		}
	}
	return info.Size(), f.Sync()
}
