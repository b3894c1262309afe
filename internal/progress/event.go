// Package progress carries what a running command has to tell to whoever watches: a person at a
// terminal, a script, a log. Those who do the work emit Events into a Sink; what becomes of them
// is the Sink's business. A Sink never fails and never blocks the work.
package progress

// Kind says what an Event tells.
type Kind string

const (
	Begin   Kind = "begin"    // Phase begins; Total is its size in bytes, 0 if it has none; Text may say what of it
	Advance Kind = "advance"  // Done bytes of Phase are safely where they belong
	End     Kind = "end"      // Phase is complete
	Note    Kind = "note"     // Text is worth knowing
	Warning Kind = "warning"  // Text is worth acting upon
	Output  Kind = "output"   // Text is one line that the program From printed
	Done    Kind = "done"     // all phases are complete, synced and verified: only now it is 100 %
	LeftOut Kind = "left-out" // Text, "5 lines ...", is missing here: the reader was too slow, or the log is full
)

// Phase is a part of the work that takes time, named as a person would name it.
type Phase string

const (
	VerifySource Phase = "verify source" // checking the whole artifact before anything is written
	Verify       Phase = "verify"        // the same, where nothing else is to be done
	Download     Phase = "download"      // payload bytes to the inactive slot or to a module
	Sync         Phase = "sync"          // waiting for the medium
	ReadBack     Phase = "read back"     // reading the slot again and comparing
	Scripts      Phase = "scripts"       // state scripts and update modules; Text of Begin says which
	BootFlags    Phase = "boot flags"    // changing the boot environment
)

// Event is one thing that happened. Sizes are bytes.
type Event struct {
	Kind    Kind   `json:"event"`
	Phase   Phase  `json:"phase,omitempty"`
	Done    int64  `json:"done,omitempty"`    // payload bytes finished in this phase
	Total   int64  `json:"total,omitempty"`   // payload bytes in this phase; 0: unknown or none
	In      int64  `json:"in,omitempty"`      // bytes taken from the source, compressed
	Written int64  `json:"written,omitempty"` // bytes written to the medium
	Skipped int64  `json:"skipped,omitempty"` // bytes that were there already
	Zeroed  int64  `json:"zeroed,omitempty"`  // bytes that the medium made zero by itself
	Text    string `json:"text,omitempty"`
	From    string `json:"from,omitempty"` // the script or module that printed Text
}

// Sink takes events. Emit may be called from several goroutines.
type Sink interface {
	Emit(Event)
}

// Discard is a Sink that ignores everything.
var Discard Sink = discard{}

type discard struct{}

func (discard) Emit(Event) {}
