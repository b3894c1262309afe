package e2e_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestPowerCut first proves that it finds faults, with builds that are broken on purpose; then it
// cuts the power of the real one.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	start := *seed
	if start == 0 {
		start = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", start)
	for _, b := range boards() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			broken := faultsOf(t, b)
			l := newLab(t, b, func(dir string) {
				for _, f := range broken {
					putProgram(t, filepath.Join(dir, f.name), buildWith(t, b, f.overlay))
				}
			})
			chapter := timed(t)
			history := l.record()
			chapter("recording updates")
			for _, f := range broken {
				l.proves(f, rand.New(rand.NewPCG(start, 0)))
				chapter("finding a build that has " + f.what)
			}
			l.cut(history, *cuts, start)
			chapter("power cuts")
		})
	}
}

// cut cuts the power n times: half of them somewhere in history, and half of them while the device
// recovers from the cut before.
func (l *lab) cut(history recording, n int, seed uint64) {
	l.t.Helper()
	worst := time.Duration(0)
	last := history
	started, done := time.Now(), 0
	for i := range n {
		if *limit > 0 && time.Since(started) > *limit {
			break
		}
		random := rand.New(rand.NewPCG(seed, uint64(i+1)))
		r, what := history, "history"
		if i%2 == 1 {
			r, what = last, "recovery"
		}
		at := r.pick(random)
		content := r.cut(at.event, random)
		person := random.IntN(len(persons))
		began := time.Now()
		next, err := l.recover(content.clone(), person)
		worst = max(worst, time.Since(began))
		if err != nil {
			l.t.Fatalf("cut %d of the %s, %s; a person %s; the disk is in %s: %v", i+1, what, at, persons[person].name, keep(content), err)
		}
		if testing.Verbose() {
			l.t.Logf("cut %d: %5.1f s  %s: %s; a person %s", i+1, time.Since(began).Seconds(), what, at.phase, persons[person].name)
		}
		last = next
		done++
	}
	l.t.Logf("%d power cuts, 0 failures; the longest recovery took %.1f s", done, worst.Seconds())
}

// keep saves a disk for whoever looks into a failure.
func keep(content *blob) string {
	f, err := os.CreateTemp("", "flipside-e2e-*.img")
	if err != nil {
		return err.Error()
	}
	err = f.Truncate(content.size)
	for i, chunk := range content.chunks {
		if err == nil {
			_, err = f.WriteAt(chunk[:min(chunkBytes, content.size-i*chunkBytes)], i*chunkBytes)
		}
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err.Error()
	}
	return f.Name()
}

// timed returns what ends a chapter of a story.
func timed(t *testing.T) func(what string) {
	began := time.Now()
	return func(what string) {
		t.Helper()
		t.Logf("%5.1f s  %s", time.Since(began).Seconds(), what)
		began = time.Now()
	}
}
