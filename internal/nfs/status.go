package nfs

import (
	"errors"
	"fmt"
	"syscall"
)

var (
	// ErrChanged means that the file is not the one any more that was found.
	ErrChanged = errors.New("the file on the server was exchanged")
	// ErrOutside means that a symbolic link leads out of the export, or in a circle.
	ErrOutside = errors.New("a symbolic link leads out of the export, or nowhere")
)

// Codes of statuses; those of versions 3 and 4, and of the mount service, are the same numbers.
const (
	errPerm         = 1
	errNoEnt        = 2
	errIO           = 5
	errAccess       = 13
	errNotDir       = 20
	errIsDir        = 21
	errInvalid      = 22
	errTooLong      = 63
	errStale        = 70
	errBadHandle    = 10001
	errServerFault  = 10006
	errDelay        = 10008 // NFS3ERR_JUKEBOX too
	errGrace        = 10013
	errExpired      = 10014
	errWrongSec     = 10016
	errMinorVersion = 10021
)

var statusTexts = map[uint32]string{
	errPerm: "the server does not allow it", errNoEnt: "no such file or directory on the server",
	errIO: "input/output error on the server", errAccess: "the server denies access",
	errNotDir: "not a directory", errIsDir: "is a directory", errInvalid: "the server calls the request invalid",
	errTooLong: "the name is too long for the server", errStale: "the server has lost the file",
	errBadHandle: "the server has lost the file", errServerFault: "the server has a fault",
	errDelay: "the server has no time for us now", errGrace: "the server has just been started and does not serve yet",
	errExpired: "the server has lost the file", errWrongSec: "the server demands Kerberos, which is not supported",
	errMinorVersion: "the server does not speak NFS 4.0",
}

// StatusError is what a server says instead of doing what it was asked for.
type StatusError struct {
	Code uint32
	text string
}

func (e *StatusError) Error() string {
	switch {
	case e.text != "":
		return e.text
	case statusTexts[e.Code] != "":
		return statusTexts[e.Code]
	}
	return fmt.Sprintf("the server refuses with status %d", e.Code)
}

// Is maps what has a meaning for files.
func (e *StatusError) Is(target error) bool {
	return target == syscall.ENOENT && e.missing() || target == syscall.EACCES && e.Denied()
}

// missing says whether the file or export does not exist.
func (e *StatusError) missing() bool { return e.Code == errNoEnt || e.Code == errNotDir }

// Denied says whether the server does not let us have it.
func (e *StatusError) Denied() bool {
	return e.Code == errPerm || e.Code == errAccess || e.Code == errWrongSec
}

// Temporary says whether it may be different in a moment. A handle that was lost is found again by
// its path.
func (e *StatusError) Temporary() bool {
	switch e.Code {
	case errIO, errStale, errBadHandle, errServerFault, errDelay, errGrace, errExpired:
		return true
	}
	return false
}

func status(d *decoder) error {
	code := d.uint32()
	if err := d.err(); err != nil {
		return err
	}
	if code != 0 {
		return &StatusError{Code: code}
	}
	return nil
}

// refused says whether nobody listens.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
