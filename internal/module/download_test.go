package module_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"flipside/artifact"
	"flipside/internal/hosttest"
	"flipside/internal/module"
	"flipside/internal/proc"
	"flipside/internal/progress"
)

// big is more than a pipe's buffer and than a piece of the artifact's reader.
var big = strings.Repeat("0123456789abcdef", 3<<20/16)

// download prepares and downloads an artifact.
func (r *recorder) download(ctx context.Context, t *testing.T, packed []byte) error {
	t.Helper()
	a := open(t, packed)
	h := r.handler(t)
	if err := h.Prepare(ctx, a.Header()); err != nil {
		t.Fatal(err)
	}
	p, err := a.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Download(ctx, p); err != nil {
		return err
	}
	if _, err := a.Next(); err != io.EOF {
		t.Errorf("after Download there is %v; want %v", err, io.EOF)
	}
	return nil
}

// checkPipes makes sure that nobody can wait at a pipe any more.
func (r *recorder) checkPipes(t *testing.T) {
	t.Helper()
	for _, name := range []string{"stream-next", "stream-next.new", "streams"} {
		if _, err := os.Lstat(filepath.Join(r.Work, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still in the tree: %v", name, err)
		}
	}
}

func TestStreams(t *testing.T) {
	for name, list := range map[string][]string{
		"one":   {"file", "content"},
		"two":   {"b", "first", "a", "second"},
		"empty": {"empty", ""},
		"mixed": {"test.tar.gz", "", "test.tar", big, "test", "", "a b", "x"},
	} {
		for _, sized := range []string{"Yes", "No", ""} {
			t.Run(name+" "+sized, func(t *testing.T) {
				if strings.Contains(name, "mixed") && sized == "Yes" {
					list = list[:6] // the recorder does not know where a name with a blank ends
				}
				r := newRecorder(t)
				r.does(t, "ProvidePayloadFileSizes", "echo "+sized)
				r.does(t, "DownloadWithFileSizes", loop(`echo "$next" >>$RECORDER/announced`))
				r.does(t, "Download", loop(`echo "$next" >>$RECORDER/announced`))
				if err := r.download(t.Context(), t, pack(t, list...)); err != nil {
					t.Fatal(err)
				}
				state := "Download"
				if sized == "Yes" {
					state = "DownloadWithFileSizes"
				}
				if got, want := r.calls(t), []string{"ProvidePayloadFileSizes", state}; !slices.Equal(got, want) {
					t.Errorf("calls = %v; want %v", got, want)
				}
				want, announced := make(map[string]string), ""
				for i := 0; i < len(list); i += 2 {
					want[list[i]] = list[i+1]
					announced += "streams/" + list[i]
					if sized == "Yes" {
						announced += " " + strconv.Itoa(len(list[i+1]))
					}
					announced += "\n"
				}
				if got := hosttest.Files(t, filepath.Join(r.dir, "payload")); !maps.Equal(got, want) {
					t.Errorf("payload = %.60q; want %.60q", got, want)
				}
				if got := string(hosttest.Read(t, filepath.Join(r.dir, "announced"))); got != announced {
					t.Errorf("announced: %q; want %q", got, announced)
				}
				if got := hosttest.Files(t, filepath.Join(r.Work, "files")); got != nil {
					t.Errorf("files = %q; want no such directory", slices.Collect(maps.Keys(got)))
				}
				r.checkPipes(t)
			})
		}
	}
}

// loop is a module that reads all streams into the recorder's directory payload.
func loop(and string) string {
	return `mkdir -p $RECORDER/payload
while next=$(cat stream-next); [ -n "$next" ]; do
	` + and + `
	[ $state = Download ] && name=$next || name=${next% *}
	cat "$name" >"$RECORDER/payload/${name#streams/}"
done`
}

// Modules that read nothing find the files in the tree.
func TestStoredFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		does string
		list []string
	}{
		"one":                     {"exit 0", []string{"file", "content"}},
		"several":                 {"exit 0", []string{"test.tar.gz", "1", "test.tar", big, "empty", ""}},
		"a directory of its own":  {"mkdir files; echo mine >files/mine; echo >files/a", []string{"a", "1"}},
		"after removing the pipe": {"rm stream-next", []string{"a", "1"}},
		"and the streams too":     {"rm -r stream-next streams", []string{"a", "1"}},
	} {
		for _, sized := range []string{"Yes", "No"} {
			t.Run(name+" "+sized, func(t *testing.T) {
				r := newRecorder(t)
				r.does(t, "ProvidePayloadFileSizes", "echo "+sized)
				r.does(t, "Download", tc.does)
				r.does(t, "DownloadWithFileSizes", tc.does)
				if err := r.download(t.Context(), t, pack(t, tc.list...)); err != nil {
					t.Fatal(err)
				}
				want := make(map[string]string)
				for i := 0; i < len(tc.list); i += 2 {
					want[tc.list[i]] = tc.list[i+1]
				}
				if strings.Contains(tc.does, "mine") {
					want["mine"] = "mine\n"
				}
				if got := hosttest.Files(t, filepath.Join(r.Work, "files")); !maps.Equal(got, want) {
					t.Errorf("files = %.60q; want %.60q", got, want)
				}
				r.checkPipes(t)
			})
		}
	}
}

// What goes wrong on the module's side.
func TestBadModules(t *testing.T) {
	for name, tc := range map[string]struct {
		does string
		list []string // "file" with big content if nil
		want string   // in the error
	}{
		"fails at once":                     {does: `exit 2`, want: "exit status 2"},
		"is killed at once":                 {does: `kill -9 $$`, want: "killed by signal 9"},
		"reads one name, fails":             {does: `cat stream-next; exit 2`, want: "exit status 2"},
		"reads one name, exits":             {does: `cat stream-next`, want: "exited before"},
		"opens stream-next, does not read":  {does: `: <stream-next`, want: "exited before"},
		"opens it, does not read, goes on":  {does: `: <stream-next; ` + strings.ReplaceAll(loop(""), "while", "cat streams/file; while"), list: []string{"a", "1"}, want: "exit status 1"},
		"reads part of a name":              {does: `head -c 3 stream-next`, want: "exited before"},
		"reads part of a stream, exits":     {does: `head -c 1000 $(cat stream-next) >/dev/null`, want: "stopped reading streams/file after"},
		"reads part of a stream, fails":     {does: `head -c 1000 $(cat stream-next) >/dev/null; exit 3`, want: "exit status 3"},
		"reads part of a stream, is killed": {does: `head -c 1000 $(cat stream-next) >/dev/null; kill -9 $$`, want: "killed by signal 9"},
		"reads part of a stream, goes on":   {does: `head -c 1000 $(cat stream-next) >/dev/null; cat stream-next; cat hold`, want: "stopped reading streams/file after"},
		"no final read, large":              {does: `cat $(cat stream-next) >/dev/null`, want: "exited before"},
		"no final read, empty":              {does: `cat $(cat stream-next) >/dev/null`, list: []string{"a", ""}, want: "exited before"},
		"only one of two":                   {does: `cat $(cat stream-next) >/dev/null`, list: []string{"a", "1", "b", "2"}, want: "exited before"},
		"second name, not its stream":       {does: `cat $(cat stream-next) >/dev/null; cat stream-next`, list: []string{"a", "1", "b", "2"}, want: "exited before"},
		"fails at the end":                  {does: loop("") + "; exit 1", want: "exit status 1"},
		"removes the streams":               {does: `cat stream-next; rm -r streams; cat hold`, want: "streams/file: no such file"},
		"takes the place of a pipe":         {does: `mkdir streams/file; cat stream-next; cat hold`, want: "mkfifo"},
		"takes the place of a file":         {does: `mkdir -p files/file`, want: "storing payload file file: "},
		"takes the place of files":          {does: `echo >files`, want: "storing payload file file: "},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(t)
			hold := hosttest.FIFO(t)
			r.does(t, "Download", strings.ReplaceAll(tc.does, "hold", hold))
			if tc.list == nil {
				tc.list = []string{"file", big}
			}
			err := r.download(t.Context(), t, pack(t, tc.list...))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Download = %v; want an error with %q", err, tc.want)
			}
			r.checkPipes(t)
			if err := r.handler(t).Cleanup(t.Context()); err != nil {
				t.Errorf("Cleanup = %v; want nil", err)
			}
		})
	}
}

// Where it hangs does not matter: the timeout ends it.
func TestModulesThatHang(t *testing.T) {
	for name, does := range map[string]string{
		"at once":                `cat hold`,
		"after a name":           `cat stream-next; cat hold`,
		"asking twice":           `cat stream-next; cat stream-next`,
		"not reading its stream": `exec 3<$(cat stream-next); cat hold`,
		"reading some":           `exec 3<$(cat stream-next); head -c 1000 <&3 >/dev/null; cat hold`,
		"at the end":             loop("") + "; cat hold",
		"at a stream of its own": `cat stream-next; mkfifo streams/x; cat streams/x`,
		"in the background":      `exec 3<$(cat stream-next); cat hold <&3 & cat hold`,
		"ignoring the signal":    `trap '' TERM; exec 3<$(cat stream-next); while :; do read x <hold; done`,
		"without the pipe":       `rm stream-next; cat hold`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(t)
			r.Timeout = 10 * short
			r.does(t, "Download", strings.ReplaceAll(does, "hold", hosttest.FIFO(t)))
			if err := r.download(t.Context(), t, pack(t, "file", big)); !errors.Is(err, proc.ErrTimeout) {
				t.Errorf("Download = %v; want %v", err, proc.ErrTimeout)
			}
			r.checkPipes(t)
		})
	}
}

// A process that has left the module's group may hold a stream for ever: without the module nobody
// waits for it.
func TestStreamHeldByADaemon(t *testing.T) {
	r := newRecorder(t)
	hold, leave := hosttest.FIFO(t), hosttest.FIFO(t)
	r.does(t, "Download", `exec 3<$(cat stream-next); setsid cat `+hold+` 0<&3 & read x <`+leave)
	var ends []*os.File
	for _, fifo := range []string{hold, leave} {
		end, err := os.OpenFile(fifo, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer end.Close() // ends the daemon
		ends = append(ends, end)
	}
	r.Sink = sinkFunc(func(e progress.Event) {
		if e.Kind == progress.Begin { // the stream is open
			_, _ = ends[1].WriteString("go\n")
		}
	})
	err := r.download(t.Context(), t, pack(t, "file", big))
	if err == nil || !strings.HasPrefix(err.Error(), "update module recorder, Download: ") {
		t.Errorf("Download = %v; want that the module did not finish", err)
	}
}

// After the end every visit of stream-next hears of it.
func TestTheEndMayBeHeardTwice(t *testing.T) {
	r := newRecorder(t)
	r.does(t, "Download", loop("")+"; cat stream-next; cat stream-next")
	if err := r.download(t.Context(), t, pack(t)); err != nil {
		t.Errorf("Download = %v; want nil", err)
	}
}

// A module may keep its visit of stream-next open while it reads the stream.
func TestSlowVisitors(t *testing.T) {
	r := newRecorder(t)
	r.does(t, "Download", `exec 3<stream-next; read a <&3; cat $a >/dev/null
exec 4<stream-next; read b <&4; cat $b >/dev/null
echo $a $b; cat <&3; cat <&4; cat stream-next`)
	if err := r.download(t.Context(), t, pack(t, "a", "1", "b", big)); err != nil {
		t.Fatal(err)
	}
	if got, want := r.output(), []string{"recorder: streams/a streams/b"}; !slices.Equal(got, want) {
		t.Errorf("output = %q; want %q", got, want)
	}
}

func TestSizeQuestion(t *testing.T) {
	for text, want := range map[string]error{
		"echo I would rather not": module.ErrProtocol,
		"echo Yes; echo No":       module.ErrProtocol,
		"echo Automatic":          module.ErrProtocol,
		"echo Yes; exit 1":        &module.CallError{},
	} {
		r := newRecorder(t)
		r.does(t, "ProvidePayloadFileSizes", text)
		err := r.download(t.Context(), t, pack(t))
		var call *module.CallError
		if !errors.As(err, &call) || errors.Is(want, module.ErrProtocol) && !errors.Is(err, want) {
			t.Errorf("Download with %q = %v; want %v", text, err, want)
		}
		if got, want := r.calls(t), []string{"ProvidePayloadFileSizes"}; !slices.Equal(got, want) {
			t.Errorf("calls with %q = %v; want %v", text, got, want)
		}
	}
}

// A damaged file is never the whole of what a module gets, and no stored file.
func TestDamagedPayload(t *testing.T) {
	for _, where := range []string{"the first bytes", "the last bytes"} {
		packed := pack(t, "good", "good", "bad", "the first bytes"+big+"the last bytes", "never", "never")
		at := bytes.Index(packed, []byte(where))
		packed[at] ^= 1
		for name, does := range map[string]string{
			// It has some time to go wrong: it does not end before it is killed.
			"streamed": "trap '' TERM; mkdir $RECORDER/payload" + `
while next=$(cat stream-next); [ -n "$next" ]; do
	cat $next >$RECORDER/payload/part
	mv $RECORDER/payload/part $RECORDER/payload/${next#streams/}
done
touch $RECORDER/payload/end`,
			"stored": "exit 0",
		} {
			t.Run(name+" "+where, func(t *testing.T) {
				r := newRecorder(t)
				r.does(t, "Download", does)
				err := r.download(t.Context(), t, packed)
				if !errors.Is(err, artifact.ErrChecksum) {
					t.Errorf("Download = %v; want %v", err, artifact.ErrChecksum)
				}
				got := hosttest.Files(t, filepath.Join(r.dir, "payload"))
				if name == "stored" {
					got = hosttest.Files(t, filepath.Join(r.Work, "files"))
				}
				delete(got, "part")
				if want := map[string]string{"good": "good"}; !maps.Equal(got, want) {
					t.Errorf("files = %.60q; want %q", got, want)
				}
				r.checkPipes(t)
			})
		}
	}
}

func TestTruncatedArtifact(t *testing.T) {
	packed := pack(t, "a", "first", "b", "second")
	second := bytes.Index(packed, []byte("second"))
	for name, end := range map[string]int{
		"in the first file": bytes.Index(packed, []byte("first")) + 3,
		"between the files": second - 512,
		"in the second":     second + 3,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(t)
			r.does(t, "Download", "trap '' TERM; "+loop("")+"; touch $RECORDER/end")
			if err := r.download(t.Context(), t, packed[:end]); err == nil {
				t.Error("Download = nil; want an error")
			}
			if _, err := os.Stat(filepath.Join(r.dir, "end")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the module took a part for the whole: %v", err)
			}
		})
	}
}

func TestCancelDownload(t *testing.T) {
	for name, does := range map[string]string{
		"before it reads": "echo ready; cat hold",
		"in a stream":     "exec 3<$(cat stream-next); echo ready; cat hold",
		"while storing":   "exit 0",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(t)
			why := errors.New("the operator's wish")
			ctx, cancel := context.WithCancelCause(t.Context())
			r.Sink = sinkFunc(func(e progress.Event) {
				if e.Text == "ready" || name == "while storing" && e.Kind == progress.Advance {
					cancel(why)
				}
			})
			r.does(t, "Download", strings.ReplaceAll(does, "hold", hosttest.FIFO(t)))
			if err := r.download(ctx, t, pack(t, "file", big)); !errors.Is(err, why) {
				t.Errorf("Download = %v; want %v", err, why)
			}
			r.checkPipes(t)
		})
	}
}

func TestProgress(t *testing.T) {
	for name, does := range map[string]string{"streamed": loop(""), "stored": "exit 0"} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(t)
			r.does(t, "Download", does)
			if err := r.download(t.Context(), t, pack(t, "a", big, "b", "1")); err != nil {
				t.Fatal(err)
			}
			var got []progress.Event
			var done int64
			for _, e := range r.events {
				switch {
				case e.Phase != progress.Download:
				case e.Kind == progress.Advance:
					if e.Done < done || e.Done > e.Total || e.Written < e.Done {
						t.Errorf("%+v after %d bytes", e, done)
					}
					done = e.Done
				default:
					got = append(got, e)
					done = 0
				}
			}
			n := int64(len(big))
			want := []progress.Event{
				{Kind: progress.Begin, Phase: progress.Download, Total: n, Text: "a"},
				{Kind: progress.End, Phase: progress.Download, Done: n, Total: n, Written: n},
				{Kind: progress.Begin, Phase: progress.Download, Total: 1, Text: "b"},
				{Kind: progress.End, Phase: progress.Download, Done: 1, Total: 1, Written: 1},
			}
			if !slices.Equal(got, want) {
				t.Errorf("events = %+v; want %+v", got, want)
			}
		})
	}
}

// What is not synced yet is not done.
func TestProgressOfALargeStoredFile(t *testing.T) {
	const piece = 16 << 20
	r := newRecorder(t)
	r.does(t, "Download", "exit 0")
	if err := r.download(t.Context(), t, pack(t, "file", strings.Repeat("x", 2*piece+1))); err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, e := range r.events {
		if e.Kind == progress.Advance || e.Kind == progress.End {
			got = append(got, e.Done)
		}
	}
	if got, want := slices.Compact(got), []int64{0, piece, 2 * piece, 2*piece + 1}; !slices.Equal(got, want) {
		t.Errorf("done: %v; want %v", got, want)
	}
}

// A disk that fails at any operation of storing is an error, and what is left is cleaned up.
func TestStoringOnABadDisk(t *testing.T) {
	for n := 0; ; n++ {
		r := newRecorder(t)
		r.does(t, "Download", "exit 0")
		a := open(t, pack(t, "a", "1", "b", big))
		if err := r.handler(t).Prepare(t.Context(), a.Header()); err != nil {
			t.Fatal(err)
		}
		p, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		r.FS = &failingFS{left: n, once: true}
		err = r.handler(t).Download(t.Context(), p)
		if err == nil {
			if n < 8 {
				t.Errorf("storing took %d operations only; were they counted?", n)
			}
			return
		}
		if !errors.Is(err, errFull) || !strings.HasPrefix(err.Error(), "storing ") {
			t.Errorf("Download with operation %d failing = %v; want %v while storing", n, err, errFull)
		}
	}
}
