package disk

import (
	"errors"
	"io/fs"
)

// Cause is err without the system call and the path, for a message that says the path already.
func Cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
