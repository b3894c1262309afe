package source

import (
	"errors"
	"time"
)

// Error is what went wrong with a source. By ErrUsage a caller tells a wrong argument (nothing to
// wait for) from a source that is unreachable or was lost.
type Error struct {
	Op        string // "opening", "downloading", "reading"
	URI       string // as Source.Name: without secrets
	Err       error  // the cause, one sentence
	Retryable bool   // the same call may work later, with nothing changed on this device
	Hint      string // what a person can do; may be empty

	usage bool
}

// ErrUsage is in the chain of an *Error whose cause is on this side of the source: no such file, no
// permission to read it, a directory, a terminal as standard input, an unknown kind of URL, a
// certificate file that cannot be read, a proxy address that is none, a file that is on two sticks.
var ErrUsage = errors.New("wrong argument")

// ErrChanged is in the chain of an *Error that ends a download because the file on the server became
// another one. Who has done nothing yet with what was read may open the source again.
var ErrChanged = errors.New("changed")

func (e *Error) Error() string { return e.Op + " " + e.URI + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrUsage) work.
func (e *Error) Is(target error) bool { return target == ErrUsage && e.usage }

// failure is why one try did not work, and whether another one makes sense.
type failure struct {
	text  string        // one sentence
	err   error         // below text, for errors.Is; may be nil
	hint  string        //
	retry bool          // another try may work
	early bool          // the address may be wrong: not worth much patience unless the server was reached before
	wrong bool          // it is wrong, as far as one can tell: worth none
	usage bool          // see ErrUsage
	after time.Duration // the server asked for that much patience
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.err }

// as turns the failure into what callers see.
func (f *failure) as(op, uri string) *Error {
	return &Error{Op: op, URI: uri, Err: f, Retryable: f.retry, Hint: f.hint, usage: f.usage}
}

// with says the same in other words.
func (f *failure) with(text string) *failure {
	g := *f
	g.text, g.err = text, f
	return &g
}
