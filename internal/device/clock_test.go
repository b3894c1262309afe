package device_test

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"

	"flipside/internal/device"
)

func TestNewestTime(t *testing.T) {
	state := func(sequence int, deployment string) string {
		doc := `{"provides":{}` + deployment + `}`
		return fmt.Sprintf(`{"version":1,"sequence":%d,"crc32":%d,"state":%s}`, sequence, crc32.ChecksumIEEE([]byte(doc)), doc)
	}
	files := map[string]string{
		"etc/mender.conf": "{}", "data/mender.conf": "{}", "data/device_type": "device_type=x\n",
		"data/flipside/state-0.json": state(2, ""), "data/flipside/state-1.json": state(1, ""),
	}
	old, later := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	newest := func(files map[string]string, newer string) (time.Time, string, string) {
		t.Helper()
		o := layout(t, files)
		dir := filepath.Dir(o.Datastore)
		for name := range files {
			at := old
			if name == newer {
				at = later
			}
			if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
				t.Fatal(err)
			}
		}
		d, err := device.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		got, file := d.NewestTime()
		return got, file, filepath.Join(dir, newer)
	}
	for newer := range files {
		if got, file, want := newest(files, newer); !got.Equal(later) || file != want {
			t.Errorf("NewestTime() = %v, %s; want %v, %s", got, file, later, want)
		}
	}
	// The time within a file that was copied without its own.
	files["data/flipside/state-0.json"] = state(2, `,"deployment":{"state":"installed","started":"2023-05-01T00:00:00Z"}`)
	if got, what, _ := newest(files, ""); !got.Equal(time.Date(2023, 5, 1, 0, 0, 0, 0, time.UTC)) || what != "the update in progress" {
		t.Errorf("NewestTime() = %v, %s; want that of the update in progress", got, what)
	}
	if got, file, _ := newest(nil, ""); !got.IsZero() || file != "" {
		t.Errorf("NewestTime() = %v, %s; want nothing of a device without files", got, file)
	}
}
