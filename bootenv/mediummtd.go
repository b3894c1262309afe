package bootenv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"flipside/bootenv/internal/ubootenv"
	"flipside/internal/disk"
)

// mtdMedium is a part of a raw flash chip. Flash is erased in blocks; what shares a block with the
// environment is read before and written back after.
type mtdMedium struct {
	host         host
	path         string
	major, minor uint32
	at           ubootenv.Location
	chip         chip
	unit         int64 // that is erased
}

// maxEraseSize is beyond every chip; a block is held in memory.
const maxEraseSize = 64 << 20

func (h host) mtd(path string, at ubootenv.Location, info fs.FileInfo) (medium, error) {
	f, err := h.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	c, err := h.flash.Chip(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("reading what chip %s is: %w", path, err)
	}
	m := &mtdMedium{host: h, path: path, at: at, chip: c, unit: c.EraseSize}
	m.major, m.minor = number(info)
	switch c.Type {
	case chipNOR, chipDataFlash:
		// A chip may have smaller sectors at one end than its usual ones: the configuration knows.
		if at.SectorSize > 0 && at.SectorSize < m.unit {
			m.unit = at.SectorSize
		}
	case chipNAND, chipMLCNAND:
	default:
		return nil, fmt.Errorf("%s is an MTD device of type %d, which is neither NOR nor NAND flash", path, c.Type)
	}
	if c.EraseSize <= 0 || c.EraseSize > maxEraseSize {
		return nil, fmt.Errorf("%s has erase blocks of %d bytes", path, c.EraseSize)
	}
	if at.Offset < 0 || at.Offset > c.Size-int64(at.Size) {
		return nil, fmt.Errorf("%s has %d bytes: no environment of %d fits at %#x", path, c.Size, at.Size, at.Offset)
	}
	return m, nil
}

func (m *mtdMedium) nand() bool { return m.chip.Type == chipNAND || m.chip.Type == chipMLCNAND }

// extent is what one erase block has of a copy.
type extent struct {
	block int64 // where the erase block begins
	from  int   // in the block
	n     int   // bytes of the copy
}

// extents are the good erase blocks that the copy is in, in order. On NAND, bad ones are skipped.
func (m *mtdMedium) extents(f disk.File) ([]extent, error) {
	block := m.at.Offset / m.unit * m.unit
	from := int(m.at.Offset - block)
	end := m.end(block, from)
	var list []extent
	for rest := m.at.Size; rest > 0; block += m.unit {
		if block+m.unit > end {
			return nil, fmt.Errorf("%s has too few good erase blocks from %#x to %#x (column 5 of the configuration says how many may be used)", m.path, m.at.Offset, end)
		}
		if m.nand() {
			bad, err := m.host.flash.Bad(f, block)
			if err != nil {
				return nil, fmt.Errorf("asking for bad blocks of %s: %w", m.path, err)
			}
			if bad {
				continue
			}
		}
		n := min(int(m.unit)-from, rest)
		list = append(list, extent{block, from, n})
		rest -= n
		from = 0
	}
	return list, nil
}

// end is where the blocks end that may be used.
func (m *mtdMedium) end(block int64, from int) int64 {
	if !m.nand() {
		return m.chip.Size
	}
	usable := (int64(from+m.at.Size) + m.unit - 1) / m.unit * m.unit
	if sectorSize := max(m.at.SectorSize, m.chip.EraseSize); m.at.Sectors > 0 {
		usable = m.at.Sectors * sectorSize
	}
	return min(block+usable, m.chip.Size)
}

// with opens the device and finds the extents.
func (m *mtdMedium) with(flag int, do func(f disk.File, list []extent) error) error {
	f, err := m.host.fs.OpenFile(m.path, flag, 0)
	if err != nil {
		return err
	}
	list, err := m.extents(f)
	if err == nil {
		err = do(f, list)
	}
	return errors.Join(err, f.Close())
}

func (m *mtdMedium) read() (data []byte, err error) {
	err = m.with(os.O_RDONLY, func(f disk.File, list []extent) error {
		for _, e := range list {
			part, err := readFull(f, e.block+int64(e.from), make([]byte, e.n))
			if err != nil {
				return err
			}
			data = append(data, part...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

func (m *mtdMedium) write(image []byte) error {
	return m.with(os.O_RDWR, func(f disk.File, list []extent) error {
		for _, e := range list {
			if err := m.replace(f, e, image[:e.n]); err != nil {
				return fmt.Errorf("%s, erase block %#x: %w", m.path, e.block, err)
			}
			image = image[e.n:]
		}
		return syncFlash(f)
	})
}

// replace writes a part of the copy into an erase block. It always erases: a block whose erasure
// was cut short may read as erased and still not hold what is programmed.
func (m *mtdMedium) replace(f disk.File, e extent, part []byte) error {
	data := make([]byte, m.unit)
	if len(part) < len(data) {
		if _, err := readFull(f, e.block, data); err != nil {
			return fmt.Errorf("reading the data around the environment: %w", err)
		}
	}
	copy(data[e.from:], part)
	data = m.trim(data, e.from+len(part))
	return m.unlocked(f, e.block, func() error {
		if err := m.host.flash.Erase(f, e.block, m.unit); err != nil {
			return fmt.Errorf("erasing: %w", err)
		}
		_, err := f.WriteAt(data, e.block)
		return err
	})
}

// trim leaves erased pages behind the copy unprogrammed, as they were.
func (m *mtdMedium) trim(data []byte, least int) []byte {
	n := len(data)
	for n > least && data[n-1] == 0xFF {
		n--
	}
	if page := int(m.chip.WriteSize); page > 1 {
		n = (n + page - 1) / page * page
	}
	return data[:min(n, len(data))]
}

// unlocked calls do while the erase block is not write-protected.
func (m *mtdMedium) unlocked(f disk.File, block int64, do func() error) error {
	if m.at.NoLock {
		return do()
	}
	locked, err := m.host.flash.Locked(f, block, m.unit)
	if err != nil {
		// The chip cannot say. Many such chips can be unlocked; if not, writing will tell.
		_ = m.host.flash.Unlock(f, block, m.unit)
		return do()
	}
	if !locked {
		return do()
	}
	if err := m.host.flash.Unlock(f, block, m.unit); err != nil {
		return fmt.Errorf("unlocking: %w", err)
	}
	err = do()
	// A chip that cannot lock again has its environment all the same.
	_ = m.host.flash.Lock(f, block, m.unit)
	return err
}

// obsolete clears the flags byte: on NOR flash bits can be cleared without erasing.
func (m *mtdMedium) obsolete() error {
	return m.with(os.O_RDWR, func(f disk.File, list []extent) error {
		pos := ubootenv.FlagsPos
		for _, e := range list {
			if pos >= e.n {
				pos -= e.n
				continue
			}
			return m.unlocked(f, e.block, func() error {
				if _, err := f.WriteAt([]byte{ubootenv.FlagObsolete}, e.block+int64(e.from+pos)); err != nil {
					return err
				}
				return syncFlash(f)
			})
		}
		return nil
	})
}

func (m *mtdMedium) scheme() ubootenv.Scheme {
	if m.nand() {
		return ubootenv.Incremental
	}
	return ubootenv.Boolean
}

// isolated refuses two copies in one erase block: erasing it for one would destroy the other.
func (m *mtdMedium) isolated(other medium) error {
	o, ok := other.(*mtdMedium)
	if !ok || o.major != m.major || o.minor != m.minor {
		return nil
	}
	return m.with(os.O_RDONLY, func(f disk.File, mine []extent) error {
		theirs, err := o.extents(f)
		if err != nil {
			return err
		}
		for _, a := range mine {
			for _, b := range theirs {
				if ubootenv.Overlap(a.block, b.block, int(max(m.unit, o.unit))) {
					return fmt.Errorf("both copies are in one erase block of %s, at %#x: writing one would risk the other", m.path, a.block)
				}
			}
		}
		return nil
	})
}

func (m *mtdMedium) warnings(medium) (list []string) {
	err := m.with(os.O_RDONLY, func(f disk.File, extents []extent) error {
		for _, e := range extents {
			if int64(e.n) < m.unit {
				list = append(list, fmt.Sprintf("the environment shares an erase block of %s with other data, at %#x: a power cut while it is saved may lose that data", m.path, e.block))
			}
		}
		return nil
	})
	if err != nil {
		return nil // reading the copy says it too
	}
	return list
}
