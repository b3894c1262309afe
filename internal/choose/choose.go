// Package choose finds the artifact to install among the files of a directory: a USB stick that was
// used before, a share with all releases. It reads headers only; the artifact that it chooses is
// verified like any other when it is installed.
//
//	entry, err := choose.From(ctx, "/media/usb", entries, choose.Options{Keys: keys, Fits: device.Fits})
//
// What is no artifact, is damaged, is not signed as it must be, or is for another device is skipped,
// and said. Of those that fit the newest is taken, see Newest.
package choose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"flipside/artifact"
	"flipside/internal/source"
)

// Options say what fits, and who decides.
type Options struct {
	Keys []artifact.PublicKey
	// Fits checks a verified header against the device.
	Fits func(*artifact.Header) error
	// Yes takes the newest without asking.
	Yes bool
	// Ask asks a person; it returns an index of Question.Fits, or ErrDeclined. nil: there is nobody.
	Ask func(context.Context, Question) (int, error)
	// Note tells why a file is skipped, and which one is taken, where nobody is asked.
	Note func(text string)
}

// Question is what a person has to decide.
type Question struct {
	Where   string
	Fits    []Candidate // the newest first
	Skipped []Skipped
}

// Candidate is an artifact that fits.
type Candidate struct {
	source.Entry
	Artifact string // its name
}

func (c Candidate) String() string {
	return fmt.Sprintf("%s (%s)", source.Printable(c.Name), source.Printable(c.Artifact))
}

// Skipped is a file that was not taken, and why.
type Skipped struct {
	source.Entry
	Why error
}

func (s Skipped) String() string { return fmt.Sprintf("skipped %s: %v", s.Path(), s.Why) }

// ErrDeclined means that the person who was asked wants none.
var ErrDeclined = errors.New("none was chosen")

// ManyError means that several artifacts fit and nobody said which one.
type ManyError struct{ Question }

func (e *ManyError) Error() string {
	var names []string
	const enough = 5
	for _, c := range e.Fits[:min(len(e.Fits), enough)] {
		names = append(names, c.String())
	}
	if len(e.Fits) > enough {
		names = append(names, "...")
	}
	return fmt.Sprintf("%s: %d artifacts fit this device: %s", e.Where, len(e.Fits), strings.Join(names, ", "))
}

// Hint says what to do.
func (e *ManyError) Hint() string {
	places := map[string]bool{}
	for _, c := range e.Fits {
		places[c.Place] = true
	}
	if len(places) > 1 {
		return fmt.Sprintf("they are in %d places: name one, like %s", len(places), e.Fits[0].Path())
	}
	return fmt.Sprintf("--yes takes the newest, %s; or name one of them", source.Printable(e.Fits[0].Name))
}

// From chooses. The error matches source.ErrNothing if no file claims to be an artifact. If none
// fits, it is like the error of an install of one of them: of one that is not for this device,
// otherwise of one that is refused.
func From(ctx context.Context, where string, entries []source.Entry, o Options) (source.Entry, error) {
	q, err := examine(ctx, where, entries, o)
	if err != nil {
		return source.Entry{}, err
	}
	if o.Ask == nil || o.Yes || len(q.Fits) < 2 {
		for _, s := range q.Skipped {
			o.Note(s.String())
		}
	}
	switch {
	case len(q.Fits) == 0:
		return source.Entry{}, none(q)
	case len(q.Fits) == 1 || o.Yes && samePlace(q.Fits):
		c := q.Fits[0]
		o.Note("taking " + c.String() + " from " + c.Place)
		return c.Entry, nil
	case o.Yes || o.Ask == nil:
		return source.Entry{}, &ManyError{q}
	}
	i, err := o.Ask(ctx, q)
	if err != nil {
		return source.Entry{}, err
	}
	return q.Fits[i].Entry, nil
}

// samePlace says whether all are in one directory. Of two sticks, which are two people's or two
// projects', the newest is a guess.
func samePlace(all []Candidate) bool {
	return !slices.ContainsFunc(all, func(c Candidate) bool { return c.Place != all[0].Place })
}

// examine sorts the files. What is plainly no artifact, by its name, is not mentioned.
func examine(ctx context.Context, where string, entries []source.Entry, o Options) (Question, error) {
	q := Question{Where: where}
	for _, e := range entries {
		if !strings.HasSuffix(strings.ToLower(e.Name), ".mender") {
			if why := partial(e.Name); why != nil {
				q.Skipped = append(q.Skipped, Skipped{e, why})
			}
			continue
		}
		name, err := look(ctx, e, o)
		var lost *source.Error
		switch {
		case err == nil:
			q.Fits = append(q.Fits, Candidate{e, name})
		case ctx.Err() != nil:
			return q, ctx.Err()
		case errors.As(err, &lost) && lost.Retryable && !errors.Is(err, syscall.EIO):
			return q, err // the server is gone; a bad spot on a medium says nothing of the other files
		default:
			q.Skipped = append(q.Skipped, Skipped{e, err})
		}
	}
	newestFirst(q.Fits)
	return q, nil
}

// partial recognizes what browsers and copying programs call a file that they have not finished.
func partial(name string) error {
	name = strings.ToLower(name)
	for _, end := range []string{".part", ".partial", ".crdownload", ".download", ".filepart", ".tmp"} {
		if strings.HasSuffix(name, ".mender"+end) {
			return errPartial
		}
	}
	return nil
}

// Why a file is skipped by its name.
var (
	errPartial = errors.New("the copy or download is not complete")
	errMac     = errors.New("not an artifact, but what macOS keeps beside one")
	errHidden  = errors.New("hidden file")
	errEmpty   = errors.New("empty file")
)

// look returns the name of the artifact in a file, or why it does not do.
func look(ctx context.Context, e source.Entry, o Options) (name string, err error) {
	switch {
	case strings.HasPrefix(e.Name, "._"):
		return "", errMac
	case strings.HasPrefix(e.Name, "."):
		return "", errHidden
	case e.Size == 0:
		return "", errEmpty
	}
	src, err := e.Open(ctx)
	if err != nil {
		return "", err
	}
	defer src.Close()
	r, err := artifact.NewReader(src, o.Keys)
	if err != nil {
		return "", err
	}
	defer r.Close()
	return r.Header().Name, o.Fits(r.Header())
}

// noneError says that nothing fits. Its cause decides on the exit code.
type noneError struct {
	text  string
	cause error
}

func (e *noneError) Error() string { return e.text }
func (e *noneError) Unwrap() error { return e.cause }

// none is the error if no file fits.
func none(q Question) error {
	if len(q.Skipped) == 0 {
		return source.ErrNothing
	}
	best := q.Skipped[0]
	for _, s := range q.Skipped[1:] {
		if rank(s.Why) > rank(best.Why) {
			best = s
		}
	}
	if rank(best.Why) == 0 {
		return fmt.Errorf("%w (skipped %s: %w)", source.ErrNothing, source.Printable(best.Name), best.Why)
	}
	others := ""
	if n := len(q.Skipped) - 1; n > 0 {
		others = fmt.Sprintf(" (and %d more skipped)", n)
	}
	return &noneError{fmt.Sprintf("%s: nothing there can be installed here: %s: %v%s", q.Where, source.Printable(best.Name), best.Why, others), best.Why}
}

// rank is how near a file is to be one for this device.
func rank(why error) int {
	var lost *source.Error
	switch {
	case errors.Is(why, errMac), errors.Is(why, errHidden), errors.Is(why, errEmpty), errors.Is(why, errPartial):
		return 0
	case errors.As(why, &lost):
		return 1
	case errors.Is(why, artifact.ErrRefused):
		return 2
	}
	return 3 // a good artifact that does not fit
}
