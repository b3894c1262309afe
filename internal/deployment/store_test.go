package deployment_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"flipside/artifact"
	"flipside/internal/deployment"
	"flipside/internal/disk"
)

func initial() (artifact.Provides, error) {
	return artifact.Provides{"artifact_name": "release-1"}, nil
}

func open(t *testing.T, dir string) *deployment.Store {
	t.Helper()
	s, err := deployment.OpenStore(disk.OS{}, dir, initial)
	if err != nil {
		t.Fatalf("OpenStore: %v", err)
	}
	return s
}

// walk enters states in order.
func walk(t *testing.T, s *deployment.Store, r *deployment.Record, states ...deployment.State) {
	t.Helper()
	for _, state := range states {
		if err := s.Enter(r, state); err != nil {
			t.Fatalf("Enter(%s): %v", state, err)
		}
	}
}

func release2() *deployment.Record {
	return &deployment.Record{
		ID:       "1",
		Artifact: deployment.Artifact{Name: "release-2", PayloadType: "rootfs-image", Provides: artifact.Provides{"rootfs-image.version": "2"}, ClearsProvides: []string{"rootfs-image.*"}},
		Memory:   []byte(`{"part":3}`),
	}
}

func TestStoreKeepsADeployment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "flipside")
	r := release2()
	walk(t, open(t, dir), r, deployment.Downloading, deployment.Fetched, deployment.Downloaded, deployment.Installing)

	got, err := open(t, dir).Record()
	if err != nil || got.State != deployment.Installing || got.Artifact.Name != "release-2" || string(got.Memory) != `{"part":3}` {
		t.Errorf("Record after opening again = %+v, %v", got, err)
	}
	if name := open(t, dir).Provides()["artifact_name"]; name != "release-1" {
		t.Errorf("artifact_name while installing is %q; want release-1", name)
	}
}

func TestStoreEndsInOneWrite(t *testing.T) {
	for outcome, want := range map[deployment.Outcome]string{
		deployment.Succeeded:    "release-2",
		deployment.Inconsistent: "release-2_INCONSISTENT",
		deployment.RolledBack:   "release-1",
		deployment.Unchanged:    "release-1",
	} {
		t.Run(string(outcome), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "flipside")
			s, r := open(t, dir), release2()
			walk(t, s, r, deployment.Downloading)
			r.Outcome = outcome
			walk(t, s, r, deployment.Cleaning)
			if err := s.End(r); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir)
			if _, err := s.Record(); !errors.Is(err, deployment.ErrNone) {
				t.Errorf("Record after End: %v; want ErrNone", err)
			}
			if got := s.Provides()["artifact_name"]; got != want {
				t.Errorf("artifact_name = %q; want %q", got, want)
			}
		})
	}
}

func TestStoreRefusesTransitions(t *testing.T) {
	s, r := open(t, filepath.Join(t.TempDir(), "flipside")), release2()
	if err := s.Enter(r, deployment.Installing); err == nil {
		t.Error("a deployment could begin by installing")
	}
	walk(t, s, r, deployment.Downloading, deployment.Downloading)
	if err := s.End(r); err == nil {
		t.Error("a deployment could end without cleaning")
	}
	if err := s.SetProvides(nil); err == nil {
		t.Error("provides could be replaced during a deployment")
	}
}

// TestStoreSurvivesDamage damages the newest copy in every way: the other one, one state behind,
// must be used, with a warning.
func TestStoreSurvivesDamage(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"half":      func(b []byte) []byte { return b[:len(b)/2] },
		"bit":       func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"zeros":     func(b []byte) []byte { return make([]byte, len(b)) },
		"not JSON":  func([]byte) []byte { return []byte("hello") },
		"very long": func([]byte) []byte { return []byte(strings.Repeat(" ", 5<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "flipside")
			r := release2()
			walk(t, open(t, dir), r, deployment.Downloading, deployment.Fetched, deployment.Downloaded)
			newest := filepath.Join(dir, "state-0.json") // writes alternate, beginning with 0
			data, err := os.ReadFile(newest)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(newest, damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, dir)
			got, err := s.Record()
			if err != nil || got.State != deployment.Fetched {
				t.Errorf("state = %q, %v; want the one before, %q", got.State, err, deployment.Fetched)
			}
			if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], newest) {
				t.Errorf("warnings %q; want one that names %s", s.Warnings, newest)
			}
			walk(t, s, &got, deployment.Downloaded)
			if s := open(t, dir); len(s.Warnings) != 0 {
				t.Errorf("after the next write there are still warnings: %q", s.Warnings)
			}
		})
	}
}

func TestStoreRefusesWhatItDoesNotKnow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "flipside")
	walk(t, open(t, dir), release2(), deployment.Downloading)
	file := filepath.Join(dir, "state-0.json")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"newer version":     strings.Replace(string(good), `"version":1`, `"version":2`, 1),
		"both copies wrong": "x",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := deployment.OpenStore(disk.OS{}, dir, initial); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: OpenStore error %v; want one that names %s", name, err, file)
		}
	}
	state := `{"provides":{},"deployment":{"state":"teleporting"}}`
	content := fmt.Sprintf(`{"version":1,"sequence":7,"crc32":%d,"state":%s}`, crc32.ChecksumIEEE([]byte(state)), state)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := deployment.OpenStore(disk.OS{}, dir, initial); err == nil || !strings.Contains(err.Error(), "teleporting") {
		t.Errorf("unknown state: %v; want an error that names it", err)
	}
}

// fullDisk has room for the first n files.
type fullDisk struct {
	disk.OS
	n int
}

func (f *fullDisk) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	if f.n--; f.n < 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOSPC}
	}
	return f.OS.OpenFile(name, flag, perm)
}

func TestStoreOnAFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "flipside")
	s, err := deployment.OpenStore(&fullDisk{n: 2}, dir, initial)
	if err != nil {
		t.Fatal(err)
	}
	r := release2()
	walk(t, s, r, deployment.Downloading, deployment.Fetched)
	if err := s.Enter(r, deployment.Downloaded); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Enter on a full disk: %v; want ENOSPC", err)
	}
	if r.State != deployment.Fetched {
		t.Errorf("the record says %q after a failed Enter; want %q", r.State, deployment.Fetched)
	}
	if got, err := open(t, dir).Record(); err != nil || got.State != deployment.Fetched {
		t.Errorf("on disk: %q, %v; want %q", got.State, err, deployment.Fetched)
	}
}

func TestLockNamesItsHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "flipside")
	if h := deployment.Working(dir); h != nil {
		t.Errorf("Working without a lock file = %+v", h)
	}
	lock, err := deployment.Acquire(dir, "install x.mender")
	if err != nil {
		t.Fatal(err)
	}
	_, err = deployment.Acquire(dir, "commit")
	var busy *deployment.BusyError
	if !errors.As(err, &busy) || busy.Holder == nil || busy.Holder.PID != os.Getpid() || busy.Holder.Command != "install x.mender" {
		t.Errorf("second Acquire: %v; want a BusyError that names this process and its command", err)
	}
	if h := deployment.Working(dir); h == nil || h.Command != "install x.mender" {
		t.Errorf("Working = %+v; want the holder", h)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := deployment.Acquire(dir, "commit")
	if err != nil {
		t.Fatalf("Acquire after Release: %v", err)
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
}

// TestAskingIsNotInTheWay: who only wants to know who works must not look like somebody who does.
func TestAskingIsNotInTheWay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "flipside")
	var asking sync.WaitGroup
	defer asking.Wait()
	stop := make(chan struct{})
	defer close(stop)
	asking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = deployment.Working(dir)
			}
		}
	})
	for range 1000 {
		lock, err := deployment.Acquire(dir, "install x.mender")
		if err != nil {
			t.Fatalf("Acquire while somebody asks: %v", err)
		}
		if err := lock.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReload: between opening the store and getting the lock, others may work.
func TestReload(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "flipside")
	early, late := open(t, dir), open(t, dir)
	r := deployment.Record{ID: "1", Artifact: deployment.Artifact{Name: "release-2"}}
	if err := late.Enter(&r, deployment.Downloading); err != nil {
		t.Fatal(err)
	}
	before := early.Provides()
	if err := early.Reload(); err != nil {
		t.Fatal(err)
	}
	if got, err := early.Record(); err != nil || got.ID != "1" {
		t.Errorf("Record after Reload = %+v, %v; want what was recorded since", got, err)
	}
	if err := early.Enter(&r, deployment.Fetched); err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, dir).Record(); err != nil || got.State != deployment.Fetched || !maps.Equal(early.Provides(), before) {
		t.Errorf("on disk: %+v, %v; provides %v; want fetched, and %v", got, err, early.Provides(), before)
	}
}
