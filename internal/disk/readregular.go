package disk

import (
	"fmt"
	"os"
)

// ReadRegular reads a file that somebody configured. It does not wait for the other end of a pipe.
func ReadRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return os.ReadFile(path)
}
