// Package deployment is what is going on, across reboots: the state table, the record that
// outlives a power cut, the lock, and how a run ended. It knows nothing of slots or modules.
package deployment

import (
	"encoding/json"
	"errors"
	"time"

	"flipside/artifact"
)

// ErrNone means that no deployment is in progress.
var ErrNone = errors.New("no update in progress")

// ErrStopped ends a run at a stop point that the operator asked for. It is not a failure.
var ErrStopped = errors.New("stopped as asked")

// Outcome is how a deployment ends. It is decided before Cleaning, and on disk with it.
type Outcome string

const (
	Undecided    Outcome = ""
	Succeeded    Outcome = "succeeded"
	Unchanged    Outcome = "unchanged"    // nothing was activated: the provides stay
	RolledBack   Outcome = "rolled-back"  // activated and undone: the provides stay
	Inconsistent Outcome = "inconsistent" // could not be undone: the name gets a suffix
)

// inconsistentSuffix marks the artifact name of a device that holds parts of a failed update.
// Mender's server and its users know it.
const inconsistentSuffix = "_INCONSISTENT"

// Record is one deployment, as it is on disk.
type Record struct {
	State    State     `json:"state"`
	ID       string    `json:"id"`      // unique, for logs
	Started  time.Time `json:"started"` // by the device's clock, which may be wrong
	Artifact Artifact  `json:"artifact"`

	SupportsRollback bool `json:"supports_rollback"` // the handler's answer before ArtifactInstall
	RebootWanted     bool `json:"reboot_wanted"`     // the handler's answer after it

	Outcome Outcome `json:"outcome,omitempty"`
	Failure string  `json:"failure,omitempty"` // the first error, in words
	Asked   bool    `json:"asked,omitempty"`   // the operator asked for the rollback

	// Memory is what the handler wants to know after a reboot.
	Memory json.RawMessage `json:"memory,omitempty"`
}

// Artifact is what the record keeps of an artifact's header.
type Artifact struct {
	Name           string            `json:"name"`
	Group          string            `json:"group,omitempty"`
	PayloadType    string            `json:"payload_type"` // "" is the null payload
	Provides       artifact.Provides `json:"provides"`     // null: the artifact has none; differs from {}
	ClearsProvides []string          `json:"clears_provides"`
}

// FromHeader takes from h what a Record keeps.
func FromHeader(h *artifact.Header) Artifact {
	return Artifact{
		Name:           h.Name,
		Group:          h.Group,
		PayloadType:    h.Payloads[0].Type,
		Provides:       h.Provides,
		ClearsProvides: h.ClearsProvides,
	}
}

// header is the inverse of FromHeader, as far as the provides are concerned.
func (a Artifact) header() *artifact.Header {
	return &artifact.Header{Name: a.Name, Group: a.Group, Provides: a.Provides, ClearsProvides: a.ClearsProvides}
}

// NewProvides are what the device has after r's outcome, when it had before.
func (r *Record) NewProvides(before artifact.Provides) artifact.Provides {
	switch r.Outcome {
	case Succeeded:
		return before.Updated(r.Artifact.header())
	case Inconsistent:
		h := r.Artifact.header()
		h.Name += inconsistentSuffix
		return before.Updated(h)
	default:
		return before
	}
}
