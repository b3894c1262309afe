package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"flipside/bootenv/bootsim"
	"flipside/internal/disk"
)

// Boot does what U-Boot with Mender's scripts would do at a reset, and then what the kernel would:
// it starts one of the slots. With fail, what is selected does not come up; the bootloader's log
// tells what became of it. An error means that nothing came up at all.
func (s Sandbox) Boot(ctx context.Context, fail bool) (log []string, err error) {
	u := bootsim.UBoot{Config: s.path("etc/fw_env.config"), PartA: partA, PartB: partB}
	tried := 0
	comesUp := func(part int) bool {
		if tried == 0 {
			tried = part
		}
		return !fail || part != tried
	}
	part, log, err := u.Boot(ctx, disk.OS{}, comesUp)
	if err != nil {
		return log, err
	}
	if err := s.run(part); err != nil {
		return log, err
	}
	return append(log, fmt.Sprintf("slot %s is up", map[int]string{partA: "A", partB: "B"}[part])), nil
}

// run makes part what / is, in a new boot.
func (s Sandbox) run(part int) error {
	if err := os.WriteFile(s.path("run/boot_id"), []byte(rand.Text()+"\n"), 0o644); err != nil {
		return err
	}
	root, temp := s.path("run/root"), s.path("run/root.new")
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Join("..", "dev", filepath.Base(s.slot(part))), temp); err != nil {
		return err
	}
	return os.Rename(temp, root)
}
