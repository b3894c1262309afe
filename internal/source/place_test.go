package source_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"flipside/internal/source"
)

// taking chooses the file of that name, and keeps what there was to choose from.
func taking(name string, all *[]string) source.Chooser {
	return func(_ context.Context, _ string, entries []source.Entry) (source.Entry, error) {
		*all = nil
		found := source.Entry{}
		for _, e := range entries {
			*all = append(*all, e.Name)
			if e.Name == name {
				found = e
			}
		}
		if found.Name == "" {
			return found, source.ErrNothing
		}
		return found, nil
	}
}

func TestDirectory(t *testing.T) {
	path, data := artifact(t, "b.mender")
	dir := filepath.Dir(path)
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"inside": "b.mender", "outside": "../../etc/passwd", "absolute": "/etc/passwd", "nowhere": "x", "loop": "loop", "up": "sub/../b.mender"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	var all []string
	for _, name := range []string{"b.mender", "inside", "up"} {
		src, err := source.Open(t.Context(), dir, source.Options{Choose: taking(name, &all)})
		if err != nil {
			t.Fatal(err)
		}
		if src.Size() != int64(len(data)) || src.Name() != filepath.Join(dir, name) || !src.Rewindable() {
			t.Errorf("Size %d, Name %q, Rewindable %v; want %d, %q, true", src.Size(), src.Name(), src.Rewindable(), len(data), name)
		}
		checkRead(t, src, data)
	}
	if len(all) != 4 || all[0] != "a" || all[1] != "b.mender" {
		t.Errorf("entries %q; want a, b.mender, inside, up", all)
	}
	_, err := source.Open(t.Context(), dir+"/", source.Options{Choose: taking("x", &all)})
	if e := wantError(t, err, "there is no artifact in it", true); !errors.Is(e, source.ErrNothing) || e.Hint == "" {
		t.Errorf("error %#v; want ErrNothing with a hint", e)
	}
}

func TestDirectoryFileExchangedForALink(t *testing.T) {
	path, _ := artifact(t, "a.mender")
	_, err := source.Open(t.Context(), filepath.Dir(path), source.Options{
		Choose: func(ctx context.Context, _ string, entries []source.Entry) (source.Entry, error) {
			if err := errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path)); err != nil {
				t.Fatal(err)
			}
			return entries[0], nil
		},
	})
	wantError(t, err, "path escapes from parent", true)
}

func TestDirectoryIsOpenedForChoosing(t *testing.T) {
	path, data := artifact(t, "a.mender")
	src, err := source.Open(t.Context(), filepath.Dir(path), source.Options{
		Choose: func(ctx context.Context, _ string, entries []source.Entry) (source.Entry, error) {
			src, err := entries[0].Open(ctx)
			if err != nil {
				return source.Entry{}, err
			}
			_, err = io.CopyN(io.Discard, src, 10)
			return entries[0], errors.Join(err, src.Close())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	checkRead(t, src, data)
}
