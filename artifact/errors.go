package artifact

import (
	"errors"
	"fmt"
	"strings"
)

// ErrRefused is matched by every error that says "this artifact must not be used". An error that
// does not match it says nothing about the artifact: it comes from the source or from the device.
var ErrRefused = errors.New("artifact refused")

// The reasons for refusing an artifact, for errors.Is. Each of them also matches ErrRefused.
var (
	ErrMalformed   error = &reason{"artifact is malformed"}
	ErrChecksum    error = &reason{"checksum is wrong"}
	ErrTruncated   error = &reason{"artifact is truncated"}
	ErrUnsigned    error = &reason{"artifact is not signed"}
	ErrSignature   error = &reason{"signature is wrong"}
	ErrUnsupported error = &reason{"artifact is not supported"}
)

type reason struct{ text string }

func (r *reason) Error() string        { return r.text }
func (r *reason) Is(target error) bool { return target == ErrRefused }

// refusal is an error with its reason. The text is all in err; why is only for errors.Is.
type refusal struct {
	why error
	err error
}

func (r *refusal) Error() string   { return r.err.Error() }
func (r *refusal) Unwrap() []error { return []error{r.why, r.err} }

func refuse(why error, format string, args ...any) error {
	return &refusal{why: why, err: fmt.Errorf(format, args...)}
}

// DependsError says that an artifact depends on something that the device does not have. It does
// not match ErrRefused: the artifact is good, but not for this device.
type DependsError struct {
	Key    string   // "device_type", "artifact_name", …
	Wanted []string // the values that would do
	Has    string   // the device's value; "" if it has none
}

func (e *DependsError) Error() string {
	has := "has none"
	if e.Has != "" {
		has = fmt.Sprintf("has %q", e.Has)
	}
	return fmt.Sprintf("artifact depends on %s %s, the device %s", e.Key, quoteAll(e.Wanted), has)
}

func quoteAll(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = fmt.Sprintf("%q", v)
	}
	return strings.Join(quoted, " or ")
}
