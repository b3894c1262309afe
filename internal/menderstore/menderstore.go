// Package menderstore reads what Mender's client recorded about a device: its artifact name, its
// group and what it provides. With it a device that carries Mender can be taken over as it is.
//
// The client (Go 3.x and C++ 4 and 5 alike) keeps them in the file mender-store of its data
// directory, an LMDB database in a single file. Only its unnamed main database is used; keys and
// values are plain bytes without a terminating zero. The package never writes, takes no lock, and
// reads the files of every LMDB 0.9: words of 4 or 8 bytes in either byte order.
//
//	store, err := menderstore.Read("/var/lib/mender/mender-store")
//	switch {
//	case errors.Is(err, fs.ErrNotExist): // Mender's client never ran here
//	case errors.Is(err, menderstore.ErrDamaged): // the client would start a new database
//	}
package menderstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrDamaged is matched when the file cannot be understood: it is not an LMDB database, one of an
// unknown version, or damaged. Mender's client puts such a file aside and starts a new one.
var ErrDamaged = errors.New("not a sound LMDB database")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

const (
	// LMDB stops at 1 MiB unless told otherwise, and the client does not tell it otherwise.
	maxFile  = 16 << 20
	maxValue = 1 << 20

	// How often a file is read again because the client committed in the meantime.
	maxReads = 10
)

// The keys that Mender's client uses.
const (
	keyName     = "artifact-name"
	keyGroup    = "artifact-group"
	keyProvides = "artifact-provides"
)

// pendingKeys have a record while an update is in progress: by hand, or by the daemon.
var pendingKeys = [...]string{"standalone-state", "state", "state-uncommitted"}

// Store is what Mender's client has recorded.
type Store struct {
	ArtifactName  string            // "" if none
	ArtifactGroup string            // "" if none
	Provides      map[string]string // without artifact_name and artifact_group; nil if there is no record

	Pending      bool            // an update of Mender's client is in progress
	PendingKey   string          // "standalone-state", or the daemon's "state" or "state-uncommitted"
	PendingState json.RawMessage // the record under that key; nil if it is not JSON
}

// Read reads the database in the file path. Errors of the file system are returned as they are
// (errors.Is fs.ErrNotExist); a file that makes no sense is ErrDamaged.
func Read(path string) (*Store, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // asked before opening, which may wait forever on a FIFO
		return nil, fmt.Errorf("reading %s: %w", path, damaged("not a regular file"))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	store, err := Decode(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return store, nil
}

// Decode is Read for a file that is already open. The client may be writing to it.
func Decode(r io.ReaderAt) (*Store, error) {
	data, err := settled(r)
	if err != nil {
		return nil, err
	}
	db, err := open(data)
	if err != nil {
		return nil, err
	}
	return decode(db)
}

// settled reads all of r while nobody commits. LMDB leaves the pages of the newest commit alone
// until the next one, so that unchanged meta pages mean an unmixed database.
func settled(r io.ReaderAt) ([]byte, error) {
	for range maxReads {
		data, err := readUpTo(r, maxFile+1)
		if err != nil {
			return nil, err
		}
		if len(data) > maxFile {
			return nil, damaged("larger than %d MiB", maxFile>>20)
		}
		metas := min(2*maxPageSize, len(data))
		again, err := readUpTo(r, metas)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(again, data[:metas]) {
			return data, nil
		}
	}
	return nil, errors.New("the file changes all the time: Mender's client is writing to it")
}

func readUpTo(r io.ReaderAt, limit int) ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(r, 0, int64(limit)))
}

func decode(db *database) (*Store, error) {
	name, err := db.get(keyName)
	if err != nil {
		return nil, err
	}
	group, err := db.get(keyGroup)
	if err != nil {
		return nil, err
	}
	provides, err := db.get(keyProvides)
	if err != nil {
		return nil, err
	}
	store := &Store{ArtifactName: string(name), ArtifactGroup: string(group)}
	if provides != nil {
		if store.Provides, err = decodeProvides(provides); err != nil {
			return nil, err
		}
	}
	if err := store.findPending(db); err != nil {
		return nil, err
	}
	return store, nil
}

// decodeProvides leaves out the name and the group, which have keys of their own. The Go client
// puts the name "unknown" among the provides of a new device and forgets it there.
func decodeProvides(value []byte) (map[string]string, error) {
	var provides map[string]*string
	if err := json.Unmarshal(value, &provides); err != nil {
		return nil, damaged("%s: %v", keyProvides, err)
	}
	if provides == nil { // the JSON word null
		return nil, nil
	}
	delete(provides, "artifact_name")
	delete(provides, "artifact_group")
	texts := make(map[string]string, len(provides))
	for key, text := range provides {
		if text == nil {
			return nil, damaged("%s: %q is null", keyProvides, key)
		}
		texts[key] = *text
	}
	return texts, nil
}

// findPending takes a record that is not JSON for one, too: Mender's client does not go on either
// before it is gone.
func (s *Store) findPending(db *database) error {
	for _, key := range pendingKeys {
		value, err := db.get(key)
		if err != nil {
			return err
		}
		if value == nil {
			continue
		}
		s.Pending, s.PendingKey = true, key
		if json.Valid(value) {
			s.PendingState = bytes.Clone(value) // not the whole file with it
		}
		return nil
	}
	return nil
}
