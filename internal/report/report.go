// Package report says how a run ended: the exit code, and what failed, what the device runs now
// and what to do next, for a person and as data for a script.
package report

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"flipside/artifact"
	"flipside/bootenv"
	"flipside/commit"
	"flipside/internal/choose"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/module"
	"flipside/internal/payload"
	"flipside/internal/slot"
	"flipside/internal/source"
	"flipside/rollback"
)

// Exit codes. 0, 1, 2 and 4 mean what they mean in Mender's client; scripts must treat codes that
// they do not know as failures.
const (
	Done           = 0
	Failed         = 1  // the device is as before, or wrong usage
	NoDeployment   = 2  // nothing to commit, roll back or resume
	Inconsistent   = 3  // failed and could not be undone
	RebootRequired = 4  // done; only with --reboot-exit-code
	Busy           = 5  // another deployment, another flipside or Mender's client is in the way
	Refused        = 6  // the artifact is damaged, malformed or not signed as it must be
	Unfit          = 7  // the artifact is not for this device, or not for what is set up on it
	SourceLost     = 8  // the source is unreachable or was lost
	FellBack       = 9  // the new system did not come up
	Interrupted    = 10 // by the operator; cleaned up
)

// Meanings are those of the exit codes, in words.
var Meanings = [...]string{
	Done:           "done",
	Failed:         "failed; the device is as before, untouched or rolled back; or wrong usage",
	NoDeployment:   "nothing in progress to commit, roll back or resume",
	Inconsistent:   "failed and could not be undone",
	RebootRequired: "done, and a reboot is required; only with --reboot-exit-code",
	Busy:           "another deployment is in progress, or another flipside or Mender's client is at work",
	Refused:        "artifact refused: damaged, malformed, unsigned or wrongly signed",
	Unfit:          "artifact does not fit this device: device type, depends, slot too small, no such update module",
	SourceLost:     "source unreachable or lost, retries used up",
	FellBack:       "the device fell back: the new system did not come up, the old one runs",
	Interrupted:    "interrupted by the operator; cleaned up",
}

// Report is how a failed run ended.
type Report struct {
	Code           int                    `json:"code"`
	Phase          string                 `json:"phase,omitempty"` // the step that failed
	Cause          string                 `json:"cause,omitempty"`
	Hint           string                 `json:"hint,omitempty"`
	Retryable      bool                   `json:"retryable"` // the same command may work later
	DeviceState    deployment.DeviceState `json:"device_state"`
	RebootRequired bool                   `json:"reboot_required"`
	Device         string                 `json:"device,omitempty"` // what the device runs now, as a sentence: after a failure
}

// Of makes the report of a run that ended with err. running is the name of the artifact that the
// device has; "" if the run was not about a device.
func Of(err error, result *deployment.Result, running string) Report {
	r := Report{Cause: strings.ReplaceAll(err.Error(), "\n", "; then: "), DeviceState: deployment.DeviceUnchanged}
	var failure *deployment.Failure
	if errors.As(err, &failure) {
		r.Phase = failure.During
		r.DeviceState = failure.Device
	}
	if result != nil {
		r.RebootRequired = result.RebootRequired
	}
	r.Code, r.Hint, r.Retryable = classify(err)
	if r.Code == Interrupted {
		r.Cause = interrupted.Replace(r.Cause)
	}
	if r.Hint == "" && r.DeviceState == deployment.DevicePending {
		r.Hint = "`flipside resume` brings it to an end"
	}
	if r.DeviceState == deployment.DeviceInconsistent {
		r.Code, r.Hint = Inconsistent, "the update could not be undone: install a good artifact, or call whoever made this one"
	}
	if running != "" {
		r.Device = r.sentence(running)
	}
	return r
}

// interrupted says in one word what the library says in several, depending on who was asked.
var interrupted = strings.NewReplacer(
	context.Canceled.Error(), "interrupted",
	"interrupt signal received", "interrupted",
	"terminated signal received", "interrupted",
)

// Lines are the three lines that a person reads.
func (r Report) Lines() []string {
	lines := []string{"error: " + printable(r.Cause)}
	if r.Device != "" {
		lines = append(lines, printable(r.Device))
	}
	if r.Hint != "" {
		lines = append(lines, "hint: "+r.Hint)
	}
	return lines
}

// sentence says what the device runs now.
func (r Report) sentence(running string) string {
	reboot := ""
	if r.RebootRequired {
		reboot = " after the next reboot"
	}
	switch r.DeviceState {
	case deployment.SlotInvalid:
		return fmt.Sprintf("the running system was not changed; it is still %s. The inactive slot holds an incomplete image, which is never booted", running)
	case deployment.DeviceRolledBack:
		return fmt.Sprintf("the update was rolled back; the device runs %s%s", running, reboot)
	case deployment.DevicePending:
		return fmt.Sprintf("the update is not taken back yet; until then the device is %s", running)
	case deployment.Switched:
		return fmt.Sprintf("the update took effect; the device is %s", running)
	case deployment.DeviceInconsistent:
		return fmt.Sprintf("the device may be in an inconsistent state; it calls itself %s", running)
	}
	if running == device.UnknownName {
		return "the device was not changed"
	}
	return fmt.Sprintf("the device was not changed; it still runs %s", running)
}

// classify finds the exit code and the hint. The order matters: the first match counts.
func classify(err error) (code int, hint string, retryable bool) {
	var busy *deployment.BusyError
	var lost *source.Error
	var depends *artifact.DependsError
	var many *choose.ManyError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, choose.ErrDeclined):
		return Interrupted, "start again when it suits", true
	case errors.As(err, &busy):
		return Busy, busyHint(busy), busy.Record == nil
	case errors.Is(err, device.ErrForeign):
		return Busy, "commit it or roll it back with Mender's client; if that is gone, move the file away once the device runs what it shall keep", false
	case errors.Is(err, deployment.ErrNone):
		return NoDeployment, "", false
	case errors.As(err, &lost):
		if errors.Is(err, source.ErrUsage) {
			return Failed, lost.Hint, lost.Retryable
		}
		return SourceLost, lost.Hint, lost.Retryable
	case errors.As(err, &many):
		return Failed, many.Hint(), false
	case errors.Is(err, artifact.ErrRefused):
		return Refused, refusedHint(err), false
	case errors.As(err, &depends):
		return Unfit, dependsHint(depends), false
	case errors.Is(err, module.ErrNoModule):
		return Unfit, "put that update module on the device, or get an artifact of another payload type", false
	case errors.Is(err, payload.ErrUnfit):
		return Unfit, "get the artifact that is made for this device", false
	case errors.Is(err, payload.ErrFellBack):
		return FellBack, "find out why the new system did not come up; `flipside rollback` ends this update, and so does the next install", false
	}
	return Failed, failedHint(err), false
}

func busyHint(e *deployment.BusyError) string {
	if e.Holder != nil {
		return "wait until it has ended; `flipside status --follow` shows it, `flipside cancel` ends it"
	}
	if e.Other != "" {
		return "wait until it has ended; two updaters at a time ruin the update of both"
	}
	switch e.Record.State.Recovery() {
	case deployment.Wait:
		if e.Record.State == deployment.Installed {
			return "`flipside commit` keeps it, `flipside rollback` goes back"
		}
		return "`flipside resume` goes on with it, `flipside rollback` drops it"
	default:
		return "it was interrupted: `flipside resume` brings it to an end"
	}
}

func dependsHint(e *artifact.DependsError) string {
	if e.Key == artifact.KeyDeviceType {
		return "get the artifact that is made for this device"
	}
	return "get the artifact that is made for what this device has; `flipside show-provides` lists that"
}

func refusedHint(err error) string {
	switch {
	case errors.Is(err, artifact.ErrUnsigned):
		return "only signed artifacts are taken, because verification keys are configured"
	case errors.Is(err, artifact.ErrSignature):
		return "it was signed with another key than those of this device, or changed afterwards"
	case errors.Is(err, artifact.ErrUnsupported):
		return "make it in Mender Artifact format 3, without augmented parts"
	}
	return "get the artifact again, and compare its checksum with the original's"
}

// failedHint is about failures that are neither the artifact's nor the source's fault.
func failedHint(err error) string {
	switch {
	case errors.Is(err, payload.ErrNotRebooted):
		return "reboot, then commit"
	case errors.Is(err, commit.ErrWrongState), errors.Is(err, rollback.ErrWrongState):
		return "`flipside resume` brings it to an end; `flipside status` tells more"
	case errors.Is(err, rollback.ErrUnsupported):
		return "commit it, or install another artifact after that"
	case errors.Is(err, syscall.ENOSPC):
		return "make room where the error says"
	case errors.Is(err, syscall.EROFS):
		return "make it writable: is it mounted read-only?"
	case errors.Is(err, fs.ErrPermission):
		return "run it as root"
	}
	if hint := setupHint(err); hint != "" {
		return hint
	}
	return bootHint(err)
}

// setupHint is about what an integrator sets up.
func setupHint(err error) string {
	switch {
	case errors.Is(err, device.ErrConfig):
		return "correct it: what a broken configuration meant is never guessed"
	case errors.Is(err, device.ErrDatastore):
		return "--datastore names another directory, --sandbox a device made of files"
	case errors.Is(err, device.ErrKey):
		return "check ArtifactVerifyKey and ArtifactVerifyKeys in mender.conf, and --key"
	case errors.Is(err, device.ErrType):
		return "the file must have the line device_type=NAME; DeviceTypeFile in mender.conf names another file"
	case errors.Is(err, device.ErrNoSlots), errors.Is(err, slot.ErrActiveUnknown), errors.As(err, new(*slot.ConfigError)):
		return "RootfsPartA and RootfsPartB in mender.conf must name the partitions of the two systems"
	case errors.Is(err, deployment.ErrStateLost):
		return "without both files the device forgets what it has and what is in progress; keep them for whoever looks into it, then remove them"
	}
	return ""
}

// bootHint is about slots and bootloaders.
func bootHint(err error) string {
	switch {
	case errors.Is(err, slot.ErrInUse):
		return "unmount the inactive slot, or end what uses it"
	case errors.Is(err, slot.ErrOnTrial):
		return "use the tool that installed it"
	case errors.Is(err, bootenv.ErrNoConfig):
		return "say where the bootloader keeps its variables: /etc/fw_env.config, or FwEnvConfig or GrubEnvDir in mender.conf"
	case errors.Is(err, bootenv.ErrCorrupt):
		return "U-Boot makes a new one when it boots; GRUB's must be restored from a backup"
	case errors.Is(err, bootenv.ErrCanary):
		return "fw_env.config and U-Boot must agree on the place; after a correction, reboot once"
	case errors.Is(err, bootenv.ErrBusy):
		return "try again when that program has ended"
	}
	return ""
}
