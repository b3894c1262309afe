// Package payload is the contract between the stories (install, commit, rollback) and the code
// that applies one kind of payload: root filesystem images natively (package slot), everything
// else through update modules (package module). Package payloadtest checks a Handler against it.
package payload

import (
	"context"
	"encoding/json"
	"errors"

	"flipside/artifact"
)

// Reboot is what a handler wants after ArtifactInstall.
type Reboot string

const (
	NoReboot        Reboot = "No"
	RebootRequired  Reboot = "Yes"
	RebootAutomatic Reboot = "Automatic" // the updater may do it; without a daemon the same as Yes
)

var (
	// ErrNotRebooted: the payload takes effect with a reboot, and there was none yet.
	ErrNotRebooted = errors.New("the device was not rebooted since the install")
	// ErrFellBack: the bootloader gave the new system up and booted the old one.
	ErrFellBack = errors.New("the device fell back to the old system")
	// ErrUnfit: the payload does not fit this device (too large, wrong number of files).
	ErrUnfit = errors.New("the payload does not fit this device")
)

// Handler applies the payload of one deployment. A Handler lives in one process; what it has to
// know after a reboot it gives to the caller as Memory, who keeps it in the deployment record and
// passes it to the constructor of the next one.
//
// All methods stop when ctx is done and leave nothing running.
type Handler interface {
	// Prepare checks that the payload can be applied here and now, and makes ready (work tree).
	// It changes nothing that matters: no slot, no boot environment. Called once, first.
	// On success SupportsRollback can be answered, unless the handler must run Download first.
	Prepare(ctx context.Context, h *artifact.Header) error
	// Memory is what the next process needs to know. Asked after Prepare, Download and Install.
	Memory() json.RawMessage
	// Download takes the payload's bytes to where Install can find them. It must not activate
	// them. An error after the first byte may leave the inactive place invalid. Not repeatable.
	Download(ctx context.Context, p *artifact.Payload) error
	// Install activates what Download brought, on trial where the handler supports rollback.
	Install(ctx context.Context) error
	// NeedsReboot says whether Install takes effect with a reboot. Asked after Install.
	NeedsReboot(ctx context.Context) (Reboot, error)
	// SupportsRollback says whether Rollback works. Asked after Download and before Install,
	// and again, perhaps in a later process, before a Rollback.
	SupportsRollback(ctx context.Context) (bool, error)
	// Ready returns nil if Commit may be called now, ErrNotRebooted or ErrFellBack (wrapped) if
	// the device does not run what was installed. It changes nothing.
	Ready(ctx context.Context) error
	// Commit makes what Install did permanent. Repeatable.
	Commit(ctx context.Context) error
	// Committed says, after an interrupted Commit, whether it took effect: asked before undoing.
	// A handler that cannot tell returns false: its Rollback must cope with both.
	Committed(ctx context.Context) (bool, error)
	// Rollback undoes Install, and Commit if it happened. Repeatable.
	Rollback(ctx context.Context) error
	// Failure tells the handler that the deployment failed. Repeatable.
	Failure(ctx context.Context) error
	// Cleanup ends it: nothing of the deployment but its effect is left. Repeatable; also after
	// a failed Download; also in a process that never called Prepare.
	Cleanup(ctx context.Context) error
}
