package module

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"flipside/internal/proc"
	"flipside/internal/progress"
)

// CallError is a call of a module that failed.
type CallError struct {
	Module string // its name: the payload type
	State  string // what it was called for: "ArtifactInstall"
	Err    error  // a *proc.ExitError, proc.ErrTimeout, ErrProtocol, the context's, …
	Stderr string // the end of what it wrote to its standard error, at most 10 KiB
}

func (e *CallError) Error() string {
	return fmt.Sprintf("update module %s, %s: %v", e.Module, e.State, e.Err)
}

func (e *CallError) Unwrap() error { return e.Err }

// call runs the module for a state that has no answer.
func (h *Handler) call(ctx context.Context, state string) error {
	if err := h.checkTree(); err != nil {
		return h.failed(state, err)
	}
	h.c.Sink.Emit(progress.Event{Kind: progress.Begin, Phase: progress.Scripts, Text: fmt.Sprintf("update module %s, %s", h.c.Type, state)})
	err := h.run(ctx, state, nil)
	if err == nil {
		h.c.Sink.Emit(progress.Event{Kind: progress.End, Phase: progress.Scripts})
	}
	return err
}

// callIfTree is call, but nil where there is no tree of this module.
func (h *Handler) callIfTree(ctx context.Context, state string) error {
	if err := h.checkTree(); errors.Is(err, ErrNoTree) {
		return nil
	}
	return h.call(ctx, state)
}

// ask runs the module for a state with an answer, which must be one of the given words. No answer
// is "No".
func (h *Handler) ask(ctx context.Context, state string, words ...string) (string, error) {
	if err := h.checkTree(); err != nil {
		return "", h.failed(state, err)
	}
	var a answer
	if err := h.run(ctx, state, &a); err != nil {
		return "", err
	}
	word := strings.TrimRight(string(a.text), " \t\r\n")
	if word == "" {
		return "No", nil
	}
	if a.tooLong || !slices.Contains(words, word) {
		return "", h.failed(state, fmt.Errorf("%w: it answered %.80q; want one of %s", ErrProtocol, a.text, strings.Join(words, ", ")))
	}
	return word, nil
}

// run runs the module. Its standard output goes to out or, if that is nil, to the Sink.
func (h *Handler) run(ctx context.Context, state string, out io.Writer) error {
	var tail proc.Tail
	lines, errLines := h.lines(), h.lines()
	if out == nil {
		out = lines
	}
	err := proc.Run(ctx, proc.Command{
		Path:      h.program,
		Args:      []string{state, h.c.Work},
		Dir:       h.c.Work,
		Stdout:    out,
		Stderr:    io.MultiWriter(errLines, &tail),
		Timeout:   h.c.Timeout,
		KillAfter: h.c.KillAfter,
	})
	lines.Flush()
	errLines.Flush()
	if err != nil {
		return &CallError{Module: h.c.Type, State: state, Err: err, Stderr: tail.String()}
	}
	return nil
}

func (h *Handler) lines() *proc.Lines {
	return proc.NewLines(func(line string) {
		h.c.Sink.Emit(progress.Event{Kind: progress.Output, Phase: progress.Scripts, Text: line, From: h.c.Type})
	})
}

// failed is err as the failure of a call.
func (h *Handler) failed(state string, err error) error {
	var already *CallError
	if errors.As(err, &already) {
		return err
	}
	return &CallError{Module: h.c.Type, State: state, Err: err}
}

// answer keeps what a module prints, as much of it as an answer may have.
type answer struct {
	text    []byte
	tooLong bool
}

// Write never fails.
func (a *answer) Write(p []byte) (int, error) {
	const enough = 1 << 10 // for a word, and for showing what came instead of it
	n := len(p)
	if room := enough - len(a.text); n > room {
		p, a.tooLong = p[:room], true
	}
	a.text = append(a.text, p...)
	return n, nil
}
