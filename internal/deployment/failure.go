package deployment

import "strings"

// DeviceState is what a failed run left behind, in one word.
type DeviceState string

const (
	DeviceUnchanged    DeviceState = "unchanged"             // as before the run
	SlotInvalid        DeviceState = "inactive-slot-invalid" // as before, but the inactive slot holds half an image
	DeviceRolledBack   DeviceState = "rolled-back"           // the update was activated and taken back
	DevicePending      DeviceState = "pending"               // the way back has begun, and is not over
	Switched           DeviceState = "switched"              // the update is active; a later step failed
	DeviceInconsistent DeviceState = "inconsistent"          // could not be undone
)

// Failure says what went wrong, and in what state the device is now.
type Failure struct {
	During string // "writing the payload", "ArtifactInstall", …
	Device DeviceState
	Err    error
	Plain  bool // Err says enough to a person: of an artifact that is no good it does not matter when that was seen
}

func (f *Failure) Error() string {
	text := f.Err.Error()
	// Modules and scripts name the state themselves, sources say that they were downloading.
	if f.Plain || strings.Contains(strings.ToLower(" "+text), strings.ToLower(" "+f.During)) {
		return text
	}
	return f.During + ": " + text
}

func (f *Failure) Unwrap() error { return f.Err }
