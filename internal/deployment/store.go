package deployment

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"flipside/artifact"
	"flipside/internal/atomicfile"
	"flipside/internal/disk"
)

const (
	// storeVersion is the format of the state files; a newer one is refused, never guessed at.
	storeVersion = 1
	// maxStateFile bounds what is read back: provides and one record, some KiB in practice.
	maxStateFile = 4 << 20
)

// Store keeps what the device has (the provides) and the deployment in progress, in one document
// in each of two files, DIR/state-0.json and DIR/state-1.json. A change is one write of the whole
// document to the older file: provides and record change together or not at all, and if a file
// is lost the other one is exactly one step behind, which the state table allows for.
type Store struct {
	fsys disk.FS
	dir  string

	sequence uint64 // of the document in memory; 0: nothing on disk yet
	next     int    // the file that the next change goes to
	doc      document

	// Warnings says what was wrong with the files, for the user.
	Warnings []string
}

type document struct {
	Provides   artifact.Provides `json:"provides"`
	Deployment *Record           `json:"deployment,omitempty"`
}

// file is what one state file holds. The sum is over State as it stands in the file.
type file struct {
	Version  int             `json:"version"`
	Sequence uint64          `json:"sequence"`
	CRC32    uint32          `json:"crc32"`
	State    json.RawMessage `json:"state"`
}

// OpenStore reads the state in dir, which need not exist yet. If there is no state, the device
// has what initial returns: it may come from an earlier updater. initial's provides are not
// written before the first change.
func OpenStore(fsys disk.FS, dir string, initial func() (artifact.Provides, error)) (*Store, error) {
	s := &Store{fsys: fsys, dir: dir}
	var damaged []error
	for i := range 2 {
		f, doc, err := readFile(s.path(i))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errDamaged):
			damaged = append(damaged, err)
		case err != nil:
			return nil, err
		case f.Sequence > s.sequence:
			s.sequence, s.doc, s.next = f.Sequence, doc, 1-i
		}
	}
	if s.sequence > 0 {
		for _, err := range damaged {
			s.Warnings = append(s.Warnings, fmt.Sprintf("%v; using the other copy, %s", err, s.path(1-s.next)))
		}
		return s, nil
	}
	if len(damaged) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrStateLost, errors.Join(damaged...))
	}
	provides, err := initial()
	if err != nil {
		return nil, err
	}
	s.doc.Provides = provides
	return s, nil
}

// Reload reads the state again: what OpenStore read may be old by the time that the lock is held.
func (s *Store) Reload() error {
	has := s.doc.Provides
	again, err := OpenStore(s.fsys, s.dir, func() (artifact.Provides, error) { return has, nil })
	if err != nil {
		return err
	}
	*s = *again
	return nil
}

// ErrStateLost means that there is state, and no copy of it can be read.
var ErrStateLost = errors.New("no readable state")

// errDamaged marks a state file that a power cut or a bad medium may have left; the other copy
// will do. A file of a newer flipside is not damaged, and is never overwritten.
var errDamaged = errors.New("damaged")

func readFile(name string) (file, document, error) {
	info, err := os.Stat(name)
	if err != nil {
		return file{}, document{}, err
	}
	if info.Size() > maxStateFile {
		return file{}, document{}, fmt.Errorf("state file %s is %w: %d bytes long", name, errDamaged, info.Size())
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return file{}, document{}, fmt.Errorf("state file: %w", err)
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return file{}, document{}, fmt.Errorf("state file %s is %w: %w", name, errDamaged, err)
	}
	if f.Version != storeVersion {
		return file{}, document{}, fmt.Errorf("state file %s has version %d; this flipside knows version %d: use the flipside that wrote it", name, f.Version, storeVersion)
	}
	if got := crc32.ChecksumIEEE(f.State); got != f.CRC32 {
		return file{}, document{}, fmt.Errorf("state file %s is %w: checksum %d, want %d", name, errDamaged, got, f.CRC32)
	}
	var doc document
	if err := json.Unmarshal(f.State, &doc); err != nil {
		return file{}, document{}, fmt.Errorf("state file %s: %w", name, err)
	}
	if r := doc.Deployment; r != nil && (!r.State.known() || r.State == None) {
		return file{}, document{}, fmt.Errorf("state file %s: unknown state %q: use the flipside that wrote it", name, r.State)
	}
	return f, doc, nil
}

func (s *Store) path(i int) string {
	return filepath.Join(s.dir, fmt.Sprintf("state-%d.json", i))
}

// Provides is what the device has. The caller gets a copy.
func (s *Store) Provides() artifact.Provides { return maps.Clone(s.doc.Provides) }

// Record is the deployment in progress, or ErrNone. The caller gets a copy.
func (s *Store) Record() (Record, error) {
	if s.doc.Deployment == nil {
		return Record{}, ErrNone
	}
	return *s.doc.Deployment, nil
}

// Enter makes r, with r.State = to, the deployment in progress. It is on the medium when Enter
// returns nil: only then may the work of that state begin.
func (s *Store) Enter(r *Record, to State) error {
	from := None
	if s.doc.Deployment != nil {
		from = s.doc.Deployment.State
	}
	if !from.mayEnter(to) {
		return fmt.Errorf("a deployment cannot go from %q to %q", from, to)
	}
	next := *r
	next.State = to
	if err := s.write(document{Provides: s.doc.Provides, Deployment: &next}); err != nil {
		return fmt.Errorf("recording that the deployment is %s: %w", to, err)
	}
	r.State = to
	return nil
}

// End drops the record and gives the device what follows from its outcome, in one write.
func (s *Store) End(r *Record) error {
	if from := s.doc.Deployment; from == nil || !from.State.mayEnter(None) {
		return errors.New("a deployment can only end after cleaning")
	}
	if err := s.write(document{Provides: r.NewProvides(s.doc.Provides)}); err != nil {
		return fmt.Errorf("recording the end of the deployment: %w", err)
	}
	return nil
}

// SetProvides records provides that did not come from a deployment: those of a bootstrap
// artifact. It is refused while a deployment is in progress.
func (s *Store) SetProvides(p artifact.Provides) error {
	if s.doc.Deployment != nil {
		return errors.New("a deployment is in progress")
	}
	return s.write(document{Provides: p})
}

func (s *Store) write(doc document) error {
	state, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	data, err := json.Marshal(file{Version: storeVersion, Sequence: s.sequence + 1, CRC32: crc32.ChecksumIEEE(state), State: state})
	if err != nil {
		return err
	}
	if err := s.makeDir(); err != nil {
		return err
	}
	if err := atomicfile.Write(s.fsys, s.path(s.next), append(data, '\n'), 0o600); err != nil {
		return err
	}
	s.sequence++
	s.next = 1 - s.next
	s.doc = doc
	return nil
}

func (s *Store) makeDir() error {
	if s.sequence > 0 {
		return nil // there are files in it
	}
	if err := s.fsys.Mkdir(s.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Also if it exists: then the lock made it, which does not see to its durability.
	return s.fsys.SyncDir(filepath.Dir(s.dir))
}
