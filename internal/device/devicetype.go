package device

import (
	"fmt"
	"os"
	"strings"

	"flipside/internal/disk"
)

// readDeviceType reads a device_type file: the line "device_type=NAME". Blank lines, comments,
// carriage returns and other keys do not matter; a missing, empty or second name does: a device
// that does not know what it is must not accept what is made for others.
func readDeviceType(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrType, path, disk.Cause(err))
	}
	name := ""
	for line := range strings.Lines(string(data)) {
		value, found := strings.CutPrefix(strings.TrimSpace(line), "device_type=")
		if !found {
			continue
		}
		value = strings.TrimSpace(value)
		if name != "" && name != value {
			return "", fmt.Errorf("%w: %s names two, %q and %q", ErrType, path, name, value)
		}
		name = value
	}
	if name == "" {
		return "", fmt.Errorf("%w: no device_type= line with a name in %s", ErrType, path)
	}
	return name, nil
}
