package script_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"flipside/internal/proc"
	"flipside/internal/progress"
	"flipside/internal/script"
)

// later exits with 21 so many times, and goes on then.
func later(times string) string {
	return `[ $(grep -c $(basename $0) LOG) -gt ` + times + ` ] || exit 21`
}

func TestRetry(t *testing.T) {
	const name = "ArtifactInstall_Enter_01"
	for title, tc := range map[string]struct {
		scripts map[string]string
		code    int // of the error; 0 for success
		ran     map[string]int
	}{
		"and succeed": {
			map[string]string{name: later("5")}, 0, map[string]int{name: 6}},
		"and fail": {
			map[string]string{name: later("5") + "; exit 1"}, 1, map[string]int{name: 6}},
		"and the next script": {
			map[string]string{name: "", "ArtifactInstall_Enter_02": later("2"), "ArtifactInstall_Enter_03": "exit 42"}, 42,
			map[string]int{name: 1, "ArtifactInstall_Enter_02": 3, "ArtifactInstall_Enter_03": 1}},
		"two of them": {
			map[string]string{name: later("2"), "ArtifactInstall_Enter_02": later("1")}, 0,
			map[string]int{name: 3, "ArtifactInstall_Enter_02": 2}},
	} {
		t.Run(title, func(t *testing.T) {
			d := newDevice(t)
			var waits []string
			d.Waiting = func(w *script.Wait) { waits = append(waits, waitText(w)) }
			for name, text := range tc.scripts {
				d.add(t, d.ArtifactDir, name, text)
			}
			err := d.Run(t.Context(), script.ArtifactInstall, script.Enter)
			var exit *proc.ExitError
			if tc.code == 0 && err != nil || tc.code != 0 && (!errors.As(err, &exit) || exit.Code != tc.code) {
				t.Errorf("Run = %v; want exit status %d", err, tc.code)
			}
			counts := make(map[string]int)
			for _, name := range d.ran(t) {
				counts[name]++
			}
			var wantWaits []string
			for _, name := range []string{name, "ArtifactInstall_Enter_02", "ArtifactInstall_Enter_03"} {
				if counts[name] != tc.ran[name] {
					t.Errorf("%s ran %d times; want %d", name, counts[name], tc.ran[name])
				}
				if tc.ran[name] > 1 {
					wantWaits = append(wantWaits, name, "over")
				}
			}
			if !slices.Equal(waits, wantWaits) {
				t.Errorf("waits = %v; want %v", waits, wantWaits)
			}
		})
	}
}

func waitText(w *script.Wait) string {
	if w == nil {
		return "over"
	}
	return w.Script
}

func TestRetryTimeout(t *testing.T) {
	for _, tc := range []struct {
		action script.Action
		ran    []string
		errs   int
	}{
		{script.Enter, []string{"01", "02"}, 1},
		{script.Error, []string{"00", "01", "02", "03"}, 2}, // the others still get their turn
	} {
		d := newDevice(t)
		d.RetryTimeout = short
		prefix := "ArtifactInstall_" + string(tc.action) + "_"
		if tc.action == script.Error {
			d.add(t, d.ArtifactDir, prefix+"00", "exit 1")
		}
		d.add(t, d.ArtifactDir, prefix+"01", "")
		d.add(t, d.ArtifactDir, prefix+"02", "echo not now >&2; exit 21")
		d.add(t, d.ArtifactDir, prefix+"03", "")
		err := d.Run(t.Context(), script.ArtifactInstall, tc.action)
		if !errors.Is(err, script.ErrRetryTimeout) {
			t.Errorf("%s: Run = %v; want %v", tc.action, err, script.ErrRetryTimeout)
		}
		if n := len(strings.Split(err.Error(), "\n")); n != tc.errs {
			t.Errorf("%s: Run = %q; want %d errors", tc.action, err, tc.errs)
		}
		var got, want []string
		for _, name := range slices.Compact(d.ran(t)) {
			got = append(got, strings.TrimPrefix(name, prefix))
		}
		if want = tc.ran; !slices.Equal(got, want) {
			t.Errorf("%s: ran %v; want %v", tc.action, got, want)
		}
	}
}

func TestRetryTimeoutBetweenRuns(t *testing.T) {
	d := newDevice(t)
	d.RetryInterval, d.RetryTimeout = long, short
	d.add(t, d.ArtifactDir, "ArtifactInstall_Enter_01", "echo not now >&2; exit 21")
	err := d.Run(t.Context(), script.ArtifactInstall, script.Enter)
	var failed *script.RunError
	if !errors.As(err, &failed) || !errors.Is(err, script.ErrRetryTimeout) {
		t.Fatalf("Run = %v; want %v in a RunError", err, script.ErrRetryTimeout)
	}
	if want := (script.RunError{Script: "ArtifactInstall_Enter_01", Err: failed.Err, Stderr: "not now\n"}); *failed != want {
		t.Errorf("Run = %+v; want %+v", *failed, want)
	}
	if got, want := d.ran(t), []string{"ArtifactInstall_Enter_01"}; !slices.Equal(got, want) {
		t.Errorf("ran %v; want %v", got, want)
	}
}

func TestWake(t *testing.T) {
	d := newDevice(t)
	d.RetryInterval = long
	wake := make(chan struct{}, 1)
	d.Wake = wake
	d.Waiting = func(w *script.Wait) {
		if w != nil {
			if got := w.Until.Sub(w.Since); got != d.RetryTimeout {
				t.Errorf("waits %s; want %s", got, d.RetryTimeout)
			}
			wake <- struct{}{}
		}
	}
	d.add(t, d.ArtifactDir, "ArtifactInstall_Enter_01", later("1"))
	d.mustRun(t, script.ArtifactInstall, script.Enter, "ArtifactInstall_Enter_01", "ArtifactInstall_Enter_01")
	if notes := d.texts(progress.Note); len(notes) != 1 || !strings.Contains(notes[0], "ArtifactInstall_Enter_01") {
		t.Errorf("notes = %q; want one that names the script", notes)
	}
}

func TestCancelWhileWaiting(t *testing.T) {
	d := newDevice(t)
	d.RetryInterval = long
	ctx, cancel := context.WithCancel(t.Context())
	var waits []string
	d.Waiting = func(w *script.Wait) {
		waits = append(waits, waitText(w))
		cancel()
	}
	d.add(t, d.ArtifactDir, "ArtifactInstall_Error_01", "exit 21")
	d.add(t, d.ArtifactDir, "ArtifactInstall_Error_02", "")
	if err := d.Run(ctx, script.ArtifactInstall, script.Error); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v; want %v", err, context.Canceled)
	}
	if got, want := d.ran(t), []string{"ArtifactInstall_Error_01"}; !slices.Equal(got, want) {
		t.Errorf("ran %v; want %v", got, want)
	}
	if want := []string{"ArtifactInstall_Error_01", "over"}; !slices.Equal(waits, want) {
		t.Errorf("waits = %v; want %v", waits, want)
	}
}

// Zero times are Mender's defaults, not the end of every script.
func TestZeroTimes(t *testing.T) {
	d := newDevice(t)
	wake := make(chan struct{}, 1)
	r := script.Runner{ArtifactDir: d.ArtifactDir, Wake: wake, Waiting: func(w *script.Wait) {
		if w == nil {
			return
		}
		if got, want := w.Until.Sub(w.Since), script.DefaultRetryTimeout; got != want {
			t.Errorf("waits %s; want %s", got, want)
		}
		wake <- struct{}{}
	}}
	d.add(t, d.ArtifactDir, "ArtifactInstall_Enter_01", later("1"))
	if err := r.Run(t.Context(), script.ArtifactInstall, script.Enter); err != nil {
		t.Errorf("Run = %v; want nil", err)
	}
	if _, err := os.Stat(filepath.Join(d.ArtifactDir, "ArtifactInstall_Enter_01")); err != nil {
		t.Error(err)
	}
}
