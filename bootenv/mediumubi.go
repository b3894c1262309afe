package bootenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"flipside/bootenv/internal/ubootenv"
	"flipside/internal/disk"
)

// ubiMedium is a UBI volume. An update that was cut short leaves a marker: every read then says
// EBADF, until the volume is updated again.
type ubiMedium struct {
	host host
	path string
	size int
}

func (h host) ubi(path string, at ubootenv.Location, node string) (medium, error) {
	if name, err := os.Readlink(node); err == nil && !strings.Contains(filepath.Base(name), "_") {
		return nil, fmt.Errorf("%s is a UBI device, not one of its volumes: add \"_\" and a number or \":\" and a name", path)
	}
	if at.Offset != 0 {
		return nil, fmt.Errorf("%s is a UBI volume, which can only be replaced as a whole: the offset must be 0", path)
	}
	return &ubiMedium{host: h, path: path, size: at.Size}, nil
}

func (m *ubiMedium) read() ([]byte, error) {
	f, err := m.host.fs.OpenFile(m.path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	data, err := readFull(f, 0, make([]byte, m.size))
	if errors.Is(err, unix.EBADF) {
		err = errors.New("an update of the volume was cut short; the next write repairs it")
	}
	return data, errors.Join(err, f.Close())
}

func (m *ubiMedium) write(image []byte) error {
	// The volume must not be open elsewhere, not even here.
	f, err := m.host.fs.OpenFile(m.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = m.host.flash.StartUpdate(f, int64(len(image))); err != nil {
		err = fmt.Errorf("starting the update of %s: %w", m.path, err)
	} else if _, err = f.WriteAt(image, 0); err == nil {
		err = syncFlash(f)
	}
	return errors.Join(err, f.Close())
}

func (m *ubiMedium) scheme() ubootenv.Scheme { return ubootenv.Incremental }

func (m *ubiMedium) isolated(other medium) error {
	if o, ok := other.(*ubiMedium); ok && o.path == m.path {
		return fmt.Errorf("both copies are in %s", m.path)
	}
	return nil
}

func (m *ubiMedium) warnings(medium) []string { return nil }

// syncFlash is Sync where drivers that write at once may not know it.
func syncFlash(f disk.File) error {
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}
