package nfs

import (
	"context"
	"fmt"
	"strings"
)

const (
	maxListing   = 10000    // names in a directory
	maxCalls     = 10000    // to list it
	pageSize     = 32 << 10 // bytes that one call may return
	verifierSize = 8
)

// place is how far a directory was listed, in the server's words.
type place struct {
	cookie   uint64
	verifier [verifierSize]byte
}

// page is a piece of a directory.
type page struct {
	names []string
	next  place
	last  bool
}

var errTooMany = fmt.Errorf("there are more than %d files in the directory", maxListing)

// List returns the names in the directory that Find found, without "." and "..".
func (fs *FS) List(ctx context.Context, dir File) ([]string, error) {
	var names []string
	at := place{}
	for range maxCalls {
		p, err := fs.p.names(ctx, dir, at)
		if err != nil {
			return nil, err
		}
		for _, name := range p.names {
			if namesFile(name) {
				names = append(names, name)
			}
		}
		switch {
		case len(names) > maxListing:
			return nil, errTooMany
		case p.last:
			return names, nil
		case len(p.names) == 0:
			return nil, ErrGarbage
		}
		at = p.next
	}
	return nil, errTooMany
}

// namesFile tells a file in the directory from what leads out of it.
func namesFile(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}
