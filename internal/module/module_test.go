package module_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"flipside/artifact"
	"flipside/internal/hosttest"
	"flipside/internal/module"
	"flipside/internal/payload"
	"flipside/internal/proc"
	"flipside/internal/progress"
)

// short is a time that a test waits for on purpose; long is one that must never be over.
const (
	short = 50 * time.Millisecond
	long  = time.Hour
)

// recorder is the test module of this name, on a device.
type recorder struct {
	module.Config
	dir string // its directory, see testdata/modules/recorder

	mu     sync.Mutex
	events []progress.Event
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{dir: t.TempDir()}
	t.Setenv("RECORDER", r.dir)
	r.Config = module.Config{
		Dir: "../../testdata/modules", Type: "recorder",
		Work:    filepath.Join(t.TempDir(), "modules", "v3", "payloads", "0000", "tree"),
		Timeout: long, KillAfter: short, Sink: r,
		Current: module.Current{Name: "release-1", Group: "stable", DeviceType: "some device"},
	}
	return r
}

func (r *recorder) Emit(e progress.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// does makes the module do what text says in a state.
func (r *recorder) does(t *testing.T, state, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, state), []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r *recorder) handler(t *testing.T) *module.Handler {
	t.Helper()
	h, err := module.New(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// prepared is a handler with its tree.
func (r *recorder) prepared(t *testing.T) *module.Handler {
	t.Helper()
	h := r.handler(t)
	if err := h.Prepare(t.Context(), open(t, pack(t)).Header()); err != nil {
		t.Fatal(err)
	}
	return h
}

// calls returns the states that the module was called for, and forgets them.
func (r *recorder) calls(t *testing.T) []string {
	t.Helper()
	log := filepath.Join(r.dir, "log")
	data, err := os.ReadFile(log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.RemoveAll(log); err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

func (r *recorder) output() []string {
	var lines []string
	for _, e := range r.events {
		if e.Kind == progress.Output {
			lines = append(lines, e.From+": "+e.Text)
		}
	}
	return lines
}

// pack makes an artifact for the recorder, with these payload files: names and contents.
func pack(t *testing.T, files ...string) []byte {
	t.Helper()
	spec := artifact.Spec{
		Name: "release-2", Depends: artifact.Depends{"device_type": {"some device"}},
		Provides: artifact.Provides{"app": "2"}, Type: "recorder", Compression: artifact.None,
	}
	if len(files) == 0 {
		files = []string{"file", "content"}
	}
	for i := 0; i < len(files); i += 2 {
		spec.Files = append(spec.Files, artifact.FileBytes(files[i], []byte(files[i+1])))
	}
	return write(t, spec)
}

func write(t *testing.T, spec artifact.Spec) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := artifact.Write(&b, spec); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func open(t *testing.T, packed []byte) *artifact.Reader {
	t.Helper()
	r, err := artifact.NewReader(bytes.NewReader(packed), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// Every simple state: how it is called, and what comes of its exit status.
func TestStates(t *testing.T) {
	for state, method := range map[string]func(*module.Handler, context.Context) error{
		"ArtifactInstall":  (*module.Handler).Install,
		"ArtifactCommit":   (*module.Handler).Commit,
		"ArtifactRollback": (*module.Handler).Rollback,
		"ArtifactFailure":  (*module.Handler).Failure,
		"Cleanup":          (*module.Handler).Cleanup,
	} {
		t.Run(state, func(t *testing.T) {
			r := newRecorder(t)
			h := r.prepared(t)
			r.does(t, state, `echo "$#" "$1" "$2"; pwd; cat; echo to stderr >&2`)
			if err := method(h, t.Context()); err != nil {
				t.Errorf("%s = %v; want nil", state, err)
			}
			if got := r.calls(t); !slices.Equal(got, []string{state}) {
				t.Errorf("calls = %v; want only %s", got, state)
			}
			got := r.output()
			slices.Sort(got)
			want := []string{"recorder: " + r.Work, "recorder: 2 " + state + " " + r.Work, "recorder: to stderr"}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("output = %q; want %q", got, want)
			}
			begin := progress.Event{Kind: progress.Begin, Phase: progress.Scripts, Text: "update module recorder, " + state}
			end := progress.Event{Kind: progress.End, Phase: progress.Scripts}
			if first, last := r.events[0], r.events[len(r.events)-1]; first != begin || last != end {
				t.Errorf("events begin with %+v and end with %+v; want %+v and %+v", first, last, begin, end)
			}
		})
		t.Run(state+" fails", func(t *testing.T) {
			r := newRecorder(t)
			h := r.prepared(t)
			r.does(t, state, `echo the reason >&2; exit 2`)
			err := method(h, t.Context())
			var call *module.CallError
			if !errors.As(err, &call) {
				t.Fatalf("%s = %v; want a CallError", state, err)
			}
			if got, want := call.Error(), "update module recorder, "+state+": exit status 2"; got != want {
				t.Errorf("%s = %q; want %q", state, got, want)
			}
			if got, want := call.Stderr, "the reason\n"; got != want {
				t.Errorf("Stderr = %q; want %q", got, want)
			}
		})
		t.Run(state+" takes too long", func(t *testing.T) {
			r := newRecorder(t)
			r.Timeout = short
			h := r.prepared(t)
			r.does(t, state, "read x <"+hosttest.FIFO(t))
			if err := method(h, t.Context()); !errors.Is(err, proc.ErrTimeout) {
				t.Errorf("%s = %v; want %v", state, err, proc.ErrTimeout)
			}
		})
		t.Run(state+" without a tree", func(t *testing.T) {
			r := newRecorder(t)
			err := method(r.handler(t), t.Context())
			want := module.ErrNoTree
			if state == "Cleanup" || state == "ArtifactFailure" { // nothing to end, nobody to tell
				want = nil
			}
			if !errors.Is(err, want) {
				t.Errorf("%s = %v; want %v", state, err, want)
			}
			if got := r.calls(t); len(got) != 0 {
				t.Errorf("calls = %v; want none", got)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	ask := func(h *module.Handler, ctx context.Context, state string) (string, error) {
		if state == "NeedsArtifactReboot" {
			a, err := h.NeedsReboot(ctx)
			return string(a), err
		}
		yes, err := h.SupportsRollback(ctx)
		return map[bool]string{true: "Yes", false: "No"}[yes], err
	}
	const refused = "refused"
	for text, want := range map[string]string{
		`echo Yes`:                      "Yes",
		`echo No`:                       "No",
		`printf Yes`:                    "Yes",
		`printf Ye; printf 's\n'`:       "Yes",
		`printf 'Yes\r\n'`:              "Yes",
		`printf 'Yes \n'`:               "Yes",
		`printf 'Yes\n\n'`:              "Yes",
		`:`:                             "No",
		`echo`:                          "No",
		`echo Automatic`:                "Automatic",
		`echo yes`:                      refused,
		`echo YES`:                      refused,
		`printf ' Yes\n'`:               refused,
		`echo Yes; echo No`:             refused,
		`echo Yes; echo and more`:       refused,
		`echo Yes, by all means`:        refused,
		`echo Yes; exit 1`:              refused,
		`echo Yes; kill -9 $$`:          refused,
		`head -c 1000000 /dev/zero`:     refused,
		`echo Yes; yes '' | head -2000`: refused, // however blank it is
		`echo Yes; echo hint >&2`:       "Yes",
	} {
		for _, state := range []string{"NeedsArtifactReboot", "SupportsRollback"} {
			want := want
			if want == "Automatic" && state == "SupportsRollback" {
				want = refused
			}
			r := newRecorder(t)
			h := r.prepared(t)
			r.does(t, state, text)
			got, err := ask(h, t.Context(), state)
			if err != nil {
				got = refused
			}
			if got != want {
				t.Errorf("%s with %q = %s, %v; want %s", state, text, got, err, want)
			}
			if strings.Contains(text, "hint") {
				if got, want := r.output(), []string{"recorder: hint"}; !slices.Equal(got, want) {
					t.Errorf("output = %q; want %q", got, want)
				}
			}
		}
	}
}

func TestRefusedAnswerIsShown(t *testing.T) {
	r := newRecorder(t)
	h := r.prepared(t)
	r.does(t, "SupportsRollback", "echo maybe")
	_, err := h.SupportsRollback(t.Context())
	want := `update module recorder, SupportsRollback: the update module broke the protocol: it answered "maybe\n"; want one of Yes, No`
	if !errors.Is(err, module.ErrProtocol) || err.Error() != want {
		t.Errorf("SupportsRollback = %v; want %s", err, want)
	}
}

func TestNothingToAsk(t *testing.T) {
	r := newRecorder(t)
	h := r.handler(t)
	if err := h.Ready(t.Context()); err != nil {
		t.Errorf("Ready = %v; want nil", err)
	}
	if done, err := h.Committed(t.Context()); done || err != nil {
		t.Errorf("Committed = %v, %v; want false", done, err)
	}
	if got := h.Memory(); got != nil {
		t.Errorf("Memory = %s; want none", got)
	}
	if got := r.calls(t); len(got) != 0 {
		t.Errorf("calls = %v; want none", got)
	}
}

func TestTypes(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../recorder", "a/b", "/bin/true", "a\x00b", "a\nb"} {
		if _, err := module.New(module.Config{Dir: "/usr", Type: name, Work: "/x"}); !errors.Is(err, module.ErrNoModule) {
			t.Errorf("New with type %q = %v; want %v", name, err, module.ErrNoModule)
		}
	}
}

func TestModuleThatCannotRun(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plain"), []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	for name, why := range map[string]string{
		"missing": "is not there", "plain": "is not executable", "directory": "is not a regular file", "dangling": "is not there",
	} {
		r := newRecorder(t)
		r.Dir, r.Type = dir, name
		err := r.handler(t).Prepare(t.Context(), open(t, pack(t)).Header())
		if !errors.Is(err, module.ErrNoModule) || !strings.Contains(err.Error(), filepath.Join(dir, name)+" "+why) {
			t.Errorf("Prepare with %s = %v; want %v that says %q", name, err, module.ErrNoModule, why)
		}
		if _, err := os.Stat(r.Work); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Prepare with %s made a tree: %v", name, err)
		}
	}
}

func TestModuleMayBeALink(t *testing.T) {
	r := newRecorder(t)
	program, err := filepath.Abs(filepath.Join(r.Dir, "recorder"))
	if err != nil {
		t.Fatal(err)
	}
	r.Dir = t.TempDir()
	if err := os.Symlink(program, filepath.Join(r.Dir, "recorder")); err != nil {
		t.Fatal(err)
	}
	h := r.prepared(t)
	if err := h.Install(t.Context()); err != nil {
		t.Errorf("Install = %v; want nil", err)
	}
}

func TestMoreThanOnePayload(t *testing.T) {
	r := newRecorder(t)
	h := &artifact.Header{Name: "x", Payloads: []artifact.PayloadHeader{{Type: "recorder"}, {Type: "recorder"}}}
	if err := r.handler(t).Prepare(t.Context(), h); !errors.Is(err, payload.ErrUnfit) {
		t.Errorf("Prepare = %v; want %v", err, payload.ErrUnfit)
	}
}

func TestCancel(t *testing.T) {
	r := newRecorder(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.Sink = sinkFunc(func(e progress.Event) { cancel() })
	h := r.prepared(t)
	r.does(t, "ArtifactInstall", "echo ready; read x <"+hosttest.FIFO(t))
	if err := h.Install(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Install = %v; want %v", err, context.Canceled)
	}
	if err := h.Prepare(ctx, open(t, pack(t)).Header()); !errors.Is(err, context.Canceled) {
		t.Errorf("Prepare = %v; want %v", err, context.Canceled)
	}
}

type sinkFunc func(progress.Event)

func (f sinkFunc) Emit(e progress.Event) { f(e) }

// The tree outlives the handler, with all that the module put there, until Cleanup.
func TestAfterAReboot(t *testing.T) {
	r := newRecorder(t)
	r.does(t, "ArtifactInstall", "echo old >tmp/backup")
	if err := r.prepared(t).Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.does(t, "ArtifactRollback", "cat tmp/backup header/artifact_name")
	h := r.handler(t)
	if err := h.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := r.output(), []string{"recorder: old", "recorder: release-2"}; !slices.Equal(got, want) {
		t.Errorf("output = %q; want %q", got, want)
	}
	for range 2 { // it may be repeated
		if err := h.Cleanup(t.Context()); err != nil {
			t.Errorf("Cleanup = %v; want nil", err)
		}
	}
	if got, want := r.calls(t), []string{"ArtifactInstall", "ArtifactRollback", "Cleanup"}; !slices.Equal(got, want) {
		t.Errorf("calls = %v; want %v", got, want)
	}
	if got, _ := filepath.Glob(r.Work + "*"); got != nil {
		t.Errorf("Cleanup left %v", got)
	}
}

func TestTreeOfAnother(t *testing.T) {
	r := newRecorder(t)
	r.prepared(t)
	r.Type = "other"
	h := r.handler(t)
	want := `update module other, ArtifactInstall: the update module's work tree is gone: ` + r.Work + ` is that of payload type "recorder"`
	if err := h.Install(t.Context()); err == nil || err.Error() != want {
		t.Errorf("Install = %v; want %s", err, want)
	}
}

// Cleanup removes the tree even where the module cannot be called any more.
func TestCleanupRemovesTheTreeAnyway(t *testing.T) {
	for name, change := range map[string]func(r *recorder){
		"module fails":   func(r *recorder) { r.does(t, "Cleanup", "exit 1") },
		"module is gone": func(r *recorder) { r.Dir = filepath.Join(r.Dir, "nowhere") },
	} {
		r := newRecorder(t)
		r.prepared(t)
		change(r)
		var call *module.CallError
		if err := r.handler(t).Cleanup(t.Context()); !errors.As(err, &call) {
			t.Errorf("%s: Cleanup = %v; want a CallError", name, err)
		}
		if _, err := os.Stat(r.Work); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the tree is still there: %v", name, err)
		}
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatalf("%q: %v", a, err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	ja, _ := json.Marshal(x)
	jb, _ := json.Marshal(y)
	return bytes.Equal(ja, jb)
}
