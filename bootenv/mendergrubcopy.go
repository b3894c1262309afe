package bootenv

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"flipside/bootenv/internal/grubenv"
	"flipside/internal/disk"
)

// grubCopy is one of Mender's two copies: the files env, lock and lock.sha256sum of a directory.
type grubCopy struct {
	fs  disk.FS
	dir string
	env string // path of the block

	block *grubenv.Block // nil if it is not valid
	err   error          // why
	lock  []byte         // content, nil if missing
	sum   []byte         // content, nil if missing
}

// varEditing is the one variable of a lock.
const varEditing = "editing"

func loadGrubCopy(fsys disk.FS, dir string) (*grubCopy, error) {
	c := &grubCopy{fs: fsys, dir: dir, env: filepath.Join(dir, "env")}
	env, err := readIfExists(fsys, c.env)
	if err != nil {
		return nil, err
	}
	if c.lock, err = readIfExists(fsys, c.path("lock")); err != nil {
		return nil, err
	}
	if c.sum, err = readIfExists(fsys, c.path("lock.sha256sum")); err != nil {
		return nil, err
	}
	if c.block, c.err = grubenv.Parse(env); c.err != nil {
		c.block = nil
	}
	return c, nil
}

// readIfExists: a file that is missing is as bad as an empty one, and repaired as well.
func readIfExists(fsys disk.FS, path string) ([]byte, error) {
	data, err := readFile(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (c *grubCopy) path(name string) string { return filepath.Join(c.dir, name) }

// vars are without empty ones: what GRUB saves from an undefined variable is no difference.
func (c *grubCopy) vars() Vars {
	if c.block == nil {
		return nil
	}
	return pick(c.block.Vars(), nil)
}

// editing is what GRUB makes of the lock: everything but a clear 0 is an edited copy.
func (c *grubCopy) editing() bool {
	block, err := grubenv.Parse(c.lock)
	return err != nil || block.Vars()[varEditing] != "0"
}

// sound says whether GRUB would take the content.
func (c *grubCopy) sound() error {
	if c.block == nil {
		return c.err
	}
	return checkGrub(c.vars())
}

// sumProblem: Mender's Linux tools know the state of the lock from its checksum alone.
func (c *grubCopy) sumProblem() error {
	if want := sumLine(c.lock); len(c.sum) < sumDigits || string(c.sum[:sumDigits]) != string(want[:sumDigits]) {
		return errors.New("the checksum of its lock is wrong")
	}
	return nil
}

const sumDigits = 2 * sha256.Size

func sumLine(lock []byte) []byte {
	sum := sha256.Sum256(lock)
	return []byte(hex.EncodeToString(sum[:]) + "  lock\n")
}

func (c *grubCopy) problem() string {
	var repaired error
	switch {
	case c.block == nil:
		repaired = c.err
	case c.editing():
		repaired = errors.New("a write was cut short")
	case c.sumProblem() != nil:
		repaired = c.sumProblem()
	case checkGrub(c.vars()) != nil:
		return checkGrub(c.vars()).Error()
	default:
		return ""
	}
	return fmt.Sprintf("%v; the next write repairs it", repaired)
}

// write replaces the block under the lock. Every step is on the medium before the next begins.
func (c *grubCopy) write(data []byte) error {
	if err := c.makeDir(); err != nil {
		return err
	}
	if err := c.setEditing("1"); err != nil {
		return err
	}
	if err := c.put("env", data); err != nil {
		return err
	}
	unlocked, err := c.lockBytes("0")
	if err != nil {
		return err
	}
	if sum := sumLine(unlocked); string(c.sum) != string(sum) {
		if err := c.put("lock.sha256sum", sum); err != nil {
			return err
		}
		c.sum = sum
	}
	return c.setEditing("0")
}

// makeDir: the directory of a copy may be lost with a sector of its file system; that is why each
// copy has its own.
func (c *grubCopy) makeDir() error {
	err := c.fs.Mkdir(c.dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.fs.SyncDir(filepath.Dir(c.dir))
}

func (c *grubCopy) setEditing(value string) error {
	data, err := c.lockBytes(value)
	if err != nil {
		return err
	}
	if err := c.put("lock", data); err != nil {
		return err
	}
	c.lock = data
	return nil
}

// lockBytes changes the lock if it is one; else it makes the lock that Mender's images have.
func (c *grubCopy) lockBytes(value string) ([]byte, error) {
	if block, err := grubenv.Parse(c.lock); err == nil {
		block.Set(varEditing, value)
		if data, err := block.Bytes(); err == nil {
			return data, nil
		}
	}
	block := grubenv.New(grubenv.DefaultSize)
	block.Set(varEditing, value)
	return block.Bytes()
}

func (c *grubCopy) put(name string, data []byte) error {
	path := c.path(name)
	if err := overwrite(c.fs, path, data); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
