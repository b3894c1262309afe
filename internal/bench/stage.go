package main

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"flipside/artifact"
	"flipside/internal/pages"
)

const block = 1 << 20

// stage does one part of an installation alone, in a process of its own: these are the limits.
func stage(name string, args []string) error {
	switch {
	case name == "source" && len(args) == 1:
		return withFile(args[0], os.O_RDONLY, func(f *os.File) error { return discard(f, io.Discard) })
	case name == "hash" && len(args) == 1:
		return withFile(args[0], os.O_RDONLY, func(f *os.File) error { return discard(f, sha256.New()) })
	case name == "decode" && len(args) == 1:
		return withFile(args[0], os.O_RDONLY, decode)
	case name == "write" && len(args) == 2:
		return withFile(args[0], os.O_RDONLY, func(from *os.File) error {
			return withFile(args[1], os.O_WRONLY|unix.O_DIRECT, func(to *os.File) error { return copyDirect(from, to) })
		})
	case name == "read" && len(args) == 2:
		return withFile(args[0], os.O_RDONLY, func(like *os.File) error {
			return withFile(args[1], os.O_RDONLY|unix.O_DIRECT, func(f *os.File) error { return readDirect(like, f) })
		})
	}
	return fmt.Errorf("no stage %s %q", name, args)
}

func withFile(name string, flags int, do func(f *os.File) error) error {
	f, err := os.OpenFile(name, flags, 0)
	if err != nil {
		return err
	}
	return errors.Join(do(f), f.Close())
}

func discard(f *os.File, w io.Writer) error {
	_, err := io.CopyBuffer(w, struct{ io.Reader }{f}, make([]byte, block))
	return err
}

// decode unpacks an artifact, with the same code as flipside. Its checksums are computed beside.
func decode(f *os.File) error {
	r, err := artifact.NewReader(f, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	p, err := r.Next()
	if err != nil {
		return err
	}
	for {
		file, err := p.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := file.WriteTo(io.Discard); err != nil {
			return err
		}
	}
}

// each calls do for every block of size bytes, from two goroutines, with aligned memory.
func each(size int64, do func(buf []byte, at int64) error) error {
	memory, err := pages.Alloc(2 * block)
	if err != nil {
		return err
	}
	var errs [2]error
	var wg sync.WaitGroup
	for i := range int64(2) {
		wg.Go(func() {
			for at := i * block; at < size && errs[i] == nil; at += 2 * block {
				errs[i] = do(memory[i*block:][:min(block, size-at)], at)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs[0], errs[1], pages.Free(memory))
}

func sizeOf(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// copyDirect is the fastest way to write that we know: two writes of 1 MiB in flight.
func copyDirect(from, to *os.File) error {
	err := each(sizeOf(from), func(buf []byte, at int64) error {
		if _, err := from.ReadAt(buf, at); err != nil {
			return err
		}
		_, err := to.WriteAt(buf, at)
		return err
	})
	return errors.Join(err, to.Sync())
}

func readDirect(like, f *os.File) error {
	return each(sizeOf(like), func(buf []byte, at int64) error {
		_, err := f.ReadAt(buf, at)
		return err
	})
}

// lastEntry copies an artifact's payload: data/0000.tar, packed.
func lastEntry(from io.Reader, to io.Writer) error {
	for t := tar.NewReader(from); ; {
		h, err := t.Next()
		if err != nil {
			return err
		}
		if strings.HasPrefix(h.Name, "data/") {
			_, err := io.Copy(to, t)
			return err
		}
	}
}

func writeNoise(file string, size int64) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{1}), size)
	return errors.Join(err, f.Close())
}
