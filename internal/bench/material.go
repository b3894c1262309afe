package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"flipside/artifact"
)

// material is what all contenders work with.
type material struct {
	dir   string
	image string // what is installed
	old   string // the same with a tenth of its files' bytes changed
	noise string // something else
}

func (m material) file(name string) string  { return filepath.Join(m.dir, name) }
func (m material) artifact(c string) string { return m.file(c + ".mender") }

// payload is the packed tar archive inside of an artifact: the same bytes for tools that know no
// artifacts.
func (m material) payload(c string) string { return m.file(c + ".payload") }

// makeMaterial makes what is not there yet: it is the same every time on the same machine.
func makeMaterial(ctx context.Context, o options) (material, error) {
	m := material{dir: filepath.Join(o.dir, fmt.Sprintf("%d", o.size>>20))}
	m.image, m.old, m.noise = m.file("image.ext4"), m.file("old.ext4"), m.file("noise")
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return m, err
	}
	if err := m.images(ctx, o.size); err != nil {
		return m, err
	}
	for _, c := range o.compressions {
		if err := once(m.artifact(c), func(file string) error { return m.pack(ctx, c, file) }); err != nil {
			return m, err
		}
		if err := once(m.payload(c), func(file string) error { return unwrap(m.artifact(c), file) }); err != nil {
			return m, err
		}
	}
	return m, nil
}

// once makes a file unless it is there, whole.
func once(file string, make func(file string) error) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	fmt.Fprintln(os.Stderr, "making", file)
	if err := make(file + ".part"); err != nil {
		return fmt.Errorf("making %s: %w", file, err)
	}
	return os.Rename(file+".part", file)
}

// images makes root filesystems that are about two thirds full with files of this machine.
func (m material) images(ctx context.Context, size int64) error {
	tree := m.file("tree")
	if _, err := os.Stat(m.old); err == nil {
		return nil
	}
	fmt.Fprintln(os.Stderr, "collecting files")
	if err := errors.Join(os.RemoveAll(tree), os.MkdirAll(tree, 0o755)); err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	files, err := collect("/usr", tree, size*5/8)
	if err != nil {
		return err
	}
	mkfs := func(file string) error {
		c := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-U", "00000000-0000-4000-8000-000000000001",
			"-E", "hash_seed=00000000-0000-4000-8000-000000000002,root_owner=0:0", "-d", tree, file, fmt.Sprintf("%dM", size>>20))
		c.Env = append(os.Environ(), "E2FSPROGS_FAKE_TIME=1700000000")
		return output(c)
	}
	if err := once(m.image, mkfs); err != nil {
		return err
	}
	if err := change(files); err != nil {
		return err
	}
	if err := once(m.noise, func(file string) error { return writeNoise(file, size) }); err != nil {
		return err
	}
	return once(m.old, mkfs)
}

// collect copies files from root to tree, in the order of their names, until there are most bytes.
func collect(root, tree string, most int64) (files []string, err error) {
	total := int64(0)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // some may not be read
		}
		info, err := d.Info()
		if err != nil || info.Size() > most/16 || total >= most {
			return nil
		}
		total += info.Size()
		to := filepath.Join(tree, strings.TrimPrefix(path, root))
		files = append(files, to)
		return copyFile(path, to)
	})
	return files, err
}

func copyFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// change changes a tenth of all bytes, in some of the files. Zeros stay: where they are nothing is stored.
func change(files []string) error {
	all, changed := 0, 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if all += len(data); (changed+len(data))*10 > all {
			continue
		}
		changed += len(data)
		for i, c := range data {
			if c != 0 && c != 0xff {
				data[i] = ^c
			}
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pack makes an artifact with Mender's tool, or with our own writer where that does not know the
// compression.
func (m material) pack(ctx context.Context, c, file string) error {
	err := output(exec.CommandContext(ctx, "mender-artifact", "write", "rootfs-image", "-t", "sandbox", "-n", "bench",
		"-f", m.image, "-o", file, "--compression", c, "--no-progress"))
	if err == nil || c != string(artifact.Zstd) {
		return err
	}
	image, err := artifact.FilePath(m.image)
	if err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(artifact.Write(f, artifact.Spec{
		Name: "bench", Depends: artifact.Depends{"device_type": {"sandbox"}}, Type: "rootfs-image",
		Files: []artifact.FileSpec{image}, Compression: artifact.Compression(c),
	}), f.Close())
}

// unwrap takes the last entry out of an artifact.
func unwrap(file, to string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(lastEntry(f, out), out.Close())
}

func output(c *exec.Cmd) error {
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, out)
	}
	return nil
}
