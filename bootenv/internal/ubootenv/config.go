package ubootenv

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Limits on what a configuration may ask for.
const (
	MaxConfig  = 64 << 10 // bytes of an fw_env.config: room for a thousand comment lines
	MaxSize    = 16 << 20 // of a copy, which is held in memory; real ones have 4 KiB to 1 MiB
	maxSector  = 64 << 20 // of an erase block, which is held in memory when only a part changes
	maxSectors = 1 << 16
)

// ErrYAML means that a configuration has the other form that libubootenv knows.
var ErrYAML = errors.New("this is libubootenv's YAML form; flipside reads the form with one line per copy, \"DEVICE OFFSET SIZE [SECTOR-SIZE [SECTORS]]\"")

// Config is what an fw_env.config says.
type Config struct {
	Copies  []Location // one or two
	Ignored []int      // numbers of the lines that fw_printenv ignores, except comments
}

// Location is where a copy is.
type Location struct {
	Path       string
	Offset     int64 // negative: from the end of a block device
	Size       int   // of the environment
	SectorSize int64 // of an erase block; 0: ask the chip
	Sectors    int64 // that may be used on NAND, bad ones included; 0: as many as the size needs
	NoLock     bool  // do not lock and unlock the flash sectors
}

// ParseConfig parses an fw_env.config as U-Boot's fw_printenv and libubootenv do: one line per
// copy, offsets as in C, sizes always hexadecimal. It differs where those read a typing error as
// another number: that is an error here.
func ParseConfig(data []byte) (Config, error) {
	if len(data) > MaxConfig {
		return Config{}, fmt.Errorf("%d bytes are too many, the limit is %d", len(data), MaxConfig)
	}
	var c Config
	for i, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		at, ok, err := parseLine(line)
		switch {
		case err != nil:
			return Config{}, fmt.Errorf("line %d: %w", i+1, err)
		case ok && len(c.Copies) < 2:
			c.Copies = append(c.Copies, at)
		default:
			c.Ignored = append(c.Ignored, i+1)
		}
	}
	if len(c.Copies) == 0 {
		if text := strings.TrimSpace(string(data)); strings.HasPrefix(text, "{") || strings.Contains(text, "devices:") {
			return Config{}, ErrYAML
		}
		return Config{}, errors.New("no line says where the environment is")
	}
	return c, c.check()
}

func (c Config) check() error {
	if len(c.Copies) < 2 {
		return nil
	}
	a, b := c.Copies[0], c.Copies[1]
	if a.Size != b.Size {
		return fmt.Errorf("the copies have different sizes, %#x and %#x", a.Size, b.Size)
	}
	// With offsets of different sign, the medium's size decides; that is checked when it is known.
	if sameSign := a.Offset < 0 == (b.Offset < 0); a.Path == b.Path && sameSign && Overlap(a.Offset, b.Offset, a.Size) {
		return fmt.Errorf("the copies overlap, at %#x and %#x", a.Offset, b.Offset)
	}
	return nil
}

// Overlap says whether two ranges of size bytes have a byte in common.
func Overlap(a, b int64, size int) bool {
	if a > b {
		a, b = b, a
	}
	return uint64(b)-uint64(a) < uint64(size)
}

// parseLine returns false for a line that is no location.
func parseLine(line string) (at Location, ok bool, err error) {
	columns := strings.Fields(line)
	if len(columns) < 3 || !startsNumber(columns[1]) {
		return at, false, nil
	}
	at.Path = columns[0]
	if at.Offset, err = parseOffset(columns[1]); err != nil {
		return at, false, err
	}
	size, err := parseHex(columns[2])
	if err != nil || size <= crcSize+2 || size > MaxSize {
		return at, false, fmt.Errorf("%q is not a size of an environment; sizes are hexadecimal", columns[2])
	}
	at.Size = int(size)
	return at, true, at.parseOptional(columns[3:])
}

// parseOptional takes the columns that may be missing. Words behind the numbers are a comment.
func (at *Location) parseOptional(columns []string) (err error) {
	for i, column := range columns {
		n, err := parseHex(column)
		if err != nil {
			if startsDecimal(column) {
				return fmt.Errorf("%q is not a hexadecimal number", column)
			}
			return nil
		}
		switch limit := []int64{maxSector, maxSectors, 1}; {
		case i >= len(limit):
			return nil
		case n < 0 || n > limit[i]:
			return fmt.Errorf("column %d: %q is too large", i+4, column)
		}
		switch i {
		case 0:
			at.SectorSize = n
		case 1:
			at.Sectors = n
		case 2:
			at.NoLock = n == 1
		}
	}
	return nil
}

func startsDecimal(s string) bool { return s[0] >= '0' && s[0] <= '9' }

func startsNumber(s string) bool { return startsDecimal(strings.TrimLeft(s, "+-") + " ") }

// parseOffset is C's %lli, for a whole word: 0x for hexadecimal, 0 for octal.
func parseOffset(s string) (int64, error) {
	sign, digits := "", s
	if s[0] == '-' || s[0] == '+' {
		sign, digits = s[:1], s[1:]
	}
	base := 10
	if rest, ok := cutHexPrefix(digits); ok {
		base, digits = 16, rest
	} else if len(digits) > 1 && digits[0] == '0' {
		base = 8
	}
	n, err := strconv.ParseInt(sign+digits, base, 64)
	switch {
	case err == nil && digits[0] != '+' && digits[0] != '-':
		return n, nil
	case base == 8:
		return 0, fmt.Errorf("%q is not an offset; with a 0 in front it is octal", s)
	}
	return 0, fmt.Errorf("%q is not an offset", s)
}

// parseHex is C's %lx, for a whole word.
func parseHex(s string) (int64, error) {
	digits, _ := cutHexPrefix(s)
	n, err := strconv.ParseUint(digits, 16, 63)
	return int64(n), err
}

func cutHexPrefix(s string) (string, bool) {
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		return s[2:], true
	}
	return s, false
}
