package choose_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"flipside/internal/choose"
	"flipside/internal/source"
)

var question = choose.Question{
	Where: "/media/usb",
	Fits: []choose.Candidate{
		{Entry: source.Entry{Place: "/media/usb", Name: "b.mender"}, Artifact: "release-2"},
		{Entry: source.Entry{Place: "/media/usb", Name: "a.mender"}, Artifact: "release-1"},
	},
	Skipped: []choose.Skipped{{Entry: source.Entry{Place: "/media/usb", Name: "c.mender"}, Why: errors.New("damaged")}},
}

// pipe stands for a terminal: Ask only reads lines.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return r, w
}

func TestAsk(t *testing.T) {
	for answer, want := range map[string]struct {
		i   int
		err error
	}{
		"\n": {0, nil}, "y\n": {0, nil}, "1\n": {0, nil}, " 2 \n": {1, nil},
		"n\n": {0, choose.ErrDeclined}, "Q\n": {0, choose.ErrDeclined}, "": {0, choose.ErrDeclined},
	} {
		t.Run(strings.TrimSpace(answer), func(t *testing.T) {
			in, answers := pipe(t)
			shown, out := pipe(t)
			if _, err := answers.WriteString(answer); err != nil {
				t.Fatal(err)
			}
			if err := answers.Close(); err != nil {
				t.Fatal(err)
			}
			i, err := choose.Ask(t.Context(), in, out, question)
			if i != want.i || !errors.Is(err, want.err) {
				t.Errorf("Ask = %d, %v; want %d, %v", i, err, want.i, want.err)
			}
			_ = out.Close()
			text, err := io.ReadAll(shown)
			if err != nil {
				t.Fatal(err)
			}
			const all = "skipped /media/usb/c.mender: damaged\nartifacts for this device in /media/usb:\n" +
				"  1  b.mender (release-2)  <- newest\n  2  a.mender (release-1)\nwhich one? 1 to 2, Enter for 1, n for none: "
			if string(text) != all {
				t.Errorf("shown:\n%s\nwant:\n%s", text, all)
			}
		})
	}
}

func TestAskAgain(t *testing.T) {
	in, answers := pipe(t)
	shown, out := pipe(t)
	done := make(chan error, 1)
	go func() {
		i, err := choose.Ask(t.Context(), in, out, question)
		if err == nil && i != 1 {
			err = errors.New("not the second")
		}
		done <- err
	}()
	for _, answer := range []string{"what?\n", "3\n", "0\n", "2\n"} {
		// Not before the question: a pipe would join the answers, as a terminal does not.
		buf := make([]byte, 1000)
		for seen := ""; !strings.HasSuffix(seen, "none: "); {
			n, err := shown.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			seen += string(buf[:n])
		}
		if _, err := answers.WriteString(answer); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAskIsInterrupted(t *testing.T) {
	in, _ := pipe(t)
	_, out := pipe(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := choose.Ask(ctx, in, out, question); done <- err }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Ask = %v; want context.Canceled", err)
	}
}
