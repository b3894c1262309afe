// Package module runs update modules, protocol version 3: the programs that apply every kind of
// payload which flipside does not apply itself. A module is a program named as the payload type.
// It is called as
//
//	/usr/share/mender/modules/v3/TYPE STATE TREE
//
// with the work tree as its working directory, and /dev/null as its standard input. The tree holds
// what the module needs to know, and lasts from Prepare to Cleanup, over all reboots.
//
// A Handler keeps nothing in memory: its state is the tree.
package module

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"flipside/artifact"
	"flipside/internal/disk"
	"flipside/internal/payload"
	"flipside/internal/progress"
)

// DefaultTimeout is how long a call may take if Config does not say: Mender's default.
const DefaultTimeout = 4 * time.Hour

var (
	// ErrNoModule means that there is no update module for the payload type, or that it cannot
	// be run.
	ErrNoModule = errors.New("no update module for this payload type")
	// ErrNoTree means that the work tree is not there, or is another deployment's.
	ErrNoTree = errors.New("the update module's work tree is gone")
	// ErrProtocol means that a module did not do what the protocol asks of it.
	ErrProtocol = errors.New("the update module broke the protocol")
)

// Config says which module, and where it works.
type Config struct {
	Dir  string // of the modules: /usr/share/mender/modules/v3
	Type string // payload type: the module's name in Dir
	Work string // work tree: <datastore>/modules/v3/payloads/0000/tree

	Timeout   time.Duration // for one call; 0 = DefaultTimeout
	KillAfter time.Duration // from SIGTERM to SIGKILL; 0 = proc.DefaultKillAfter

	Sink    progress.Sink   // gets what the module prints, line by line; nil for nobody
	Current Current         // what the device has before the deployment
	Memory  json.RawMessage // not needed: all that a module remembers is in its tree
	FS      disk.FS         // nil = disk.OS
}

// Current is what a module is told about the device.
type Current struct {
	Name, Group, DeviceType string // artifact_name, artifact_group, device type; "" if there is none
}

// Handler is the payload.Handler of update modules.
type Handler struct {
	c       Config
	program string
}

var _ payload.Handler = (*Handler)(nil)

// New returns the Handler of one module. Whether the module is there is for Prepare to find out:
// a deployment must be ended also where it is gone.
func New(c Config) (*Handler, error) {
	if err := checkType(c.Type); err != nil {
		return nil, err
	}
	// Modules run in another directory than we do.
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return nil, err
	}
	if c.Work, err = filepath.Abs(c.Work); err != nil {
		return nil, err
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Sink == nil {
		c.Sink = progress.Discard
	}
	if c.FS == nil {
		c.FS = disk.OS{}
	}
	return &Handler{c: c, program: filepath.Join(c.Dir, c.Type)}, nil
}

// checkType: the type comes from an artifact, and names a program.
func checkType(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsFunc(name, func(r rune) bool {
		return r == '/' || unicode.IsControl(r)
	}) {
		return fmt.Errorf("%w: %q cannot be the name of one", ErrNoModule, name)
	}
	return nil
}

// Prepare checks that the module can be run, and builds the work tree anew.
func (h *Handler) Prepare(ctx context.Context, header *artifact.Header) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if n := len(header.Payloads); n != 1 {
		return fmt.Errorf("%w: the artifact has %d payloads; only one is supported", payload.ErrUnfit, n)
	}
	if err := h.checkProgram(); err != nil {
		return err
	}
	if err := h.buildTree(header); err != nil {
		return errors.Join(fmt.Errorf("building the update module's work tree: %w", err), h.dropTree())
	}
	return nil
}

// Usable says whether the module can be run. It changes nothing.
func (h *Handler) Usable() error { return h.checkProgram() }

// checkProgram follows symbolic links: distributions install modules that way.
func (h *Handler) checkProgram() error {
	info, err := os.Stat(h.program)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: %s is not there", ErrNoModule, h.program)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNoModule, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s is not a regular file", ErrNoModule, h.program)
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%w: %s is not executable", ErrNoModule, h.program)
	}
	return nil
}

// Memory is nil: the next process finds everything in the work tree.
func (h *Handler) Memory() json.RawMessage { return nil }

// Install runs ArtifactInstall.
func (h *Handler) Install(ctx context.Context) error { return h.call(ctx, "ArtifactInstall") }

// NeedsReboot asks NeedsArtifactReboot.
func (h *Handler) NeedsReboot(ctx context.Context) (payload.Reboot, error) {
	answer, err := h.ask(ctx, "NeedsArtifactReboot", "Yes", "No", "Automatic")
	if err != nil {
		return "", err
	}
	return payload.Reboot(answer), nil
}

// SupportsRollback asks SupportsRollback.
func (h *Handler) SupportsRollback(ctx context.Context) (bool, error) {
	answer, err := h.ask(ctx, "SupportsRollback", "Yes", "No")
	return answer == "Yes", err
}

// Ready is always nil: the protocol leaves it to ArtifactCommit to refuse.
func (h *Handler) Ready(context.Context) error { return nil }

// Commit runs ArtifactCommit.
func (h *Handler) Commit(ctx context.Context) error { return h.call(ctx, "ArtifactCommit") }

// Committed is always false: the protocol has no such question.
func (h *Handler) Committed(context.Context) (bool, error) { return false, nil }

// Rollback runs ArtifactRollback.
func (h *Handler) Rollback(ctx context.Context) error { return h.call(ctx, "ArtifactRollback") }

// Failure runs ArtifactFailure. Without a tree there is nobody to tell: the module knows nothing of
// the deployment, and whoever needed it before has said so.
func (h *Handler) Failure(ctx context.Context) error {
	return h.callIfTree(ctx, "ArtifactFailure")
}

// Cleanup runs Cleanup, and removes the work tree whatever came of it. Without a tree there is
// nothing to do.
func (h *Handler) Cleanup(ctx context.Context) error {
	return errors.Join(h.callIfTree(ctx, "Cleanup"), h.dropTree())
}
