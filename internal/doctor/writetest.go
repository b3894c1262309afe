package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"

	"flipside/bootenv"
	"flipside/internal/deployment"
	"flipside/internal/disk"
)

// scratch is the variable of the write test.
const scratch = "flipside_doctor"

// writeTest: that the environment can be read does not mean that it can be written.
func (e *examination) writeTest(ctx context.Context) {
	if !e.how.WriteTest {
		return
	}
	const later = "examine again when that is over"
	switch {
	case e.env == nil:
		e.warn(WriteTest, "see what is said of the environment", "not done: the environment cannot be read")
		return
	case e.Broken():
		e.warn(WriteTest, "correct the configuration, and examine again", "not done: the configuration is broken, and may mean another environment")
		return
	}
	lock, err := deployment.Acquire(e.StateDir, "flipside doctor")
	var busy *deployment.BusyError
	switch {
	case errors.As(err, &busy):
		e.warn(WriteTest, later, "not done: %v", err)
		return
	case err != nil:
		e.warn(WriteTest, "see what is said of the data directory", "not done: taking flipside's lock: %v", disk.Cause(err))
		return
	}
	defer func() { _ = lock.Release() }() // it only closes a file
	if why := e.mustNotWrite(ctx); why != "" {
		e.warn(WriteTest, later, "not done: %s", why)
		return
	}
	if err := tryWriting(ctx, e.env); err != nil {
		e.problem(WriteTest, "see to it that the place of the environment is not write-protected, and that no other program writes it", "%v", err)
		return
	}
	e.ok(WriteTest, "a variable was stored, read back and removed, which has written both copies where there are two")
}

// mustNotWrite asks anew, now that nobody else may change anything.
func (e *examination) mustNotWrite(ctx context.Context) string {
	store, err := e.openStore()
	if err != nil {
		return err.Error()
	}
	if record, err := store.Record(); err == nil {
		return fmt.Sprintf("the update to %s is in progress (%s)", record.Artifact.Name, record.State)
	}
	vars, err := e.env.Read(ctx, bootenv.VarTrial)
	if err != nil {
		return err.Error()
	}
	if trial := vars[bootenv.VarTrial]; trial != "0" && trial != "" {
		return fmt.Sprintf("the bootloader has an update on trial (%s is %s)", bootenv.VarTrial, trial)
	}
	return ""
}

// tryWriting leaves the environment as it was. What an earlier test that was cut short left behind
// goes too.
func tryWriting(ctx context.Context, env bootenv.Env) (err error) {
	before, err := env.Read(ctx)
	if err != nil {
		return err
	}
	delete(before, scratch)
	value := rand.Text()
	writeErr := env.Write(ctx, bootenv.Vars{scratch: value})
	if writeErr == nil {
		var vars bootenv.Vars
		if vars, writeErr = env.Read(ctx, scratch); writeErr == nil && vars[scratch] != value {
			writeErr = fmt.Errorf("%w: %s is %q; %q was written", bootenv.ErrReadBack, scratch, vars[scratch], value)
		}
	}
	// Also when the operator has had enough.
	ctx = context.WithoutCancel(ctx)
	if err := env.Write(ctx, bootenv.Vars{scratch: ""}); err != nil {
		return errors.Join(writeErr, fmt.Errorf("removing %s again: %w", scratch, err))
	}
	if writeErr != nil {
		return writeErr
	}
	after, err := env.Read(ctx)
	if err == nil && !maps.Equal(before, after) {
		err = errors.New("other variables changed in the meantime")
	}
	return err
}
