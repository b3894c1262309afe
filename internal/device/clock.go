package device

import (
	"os"
	"path/filepath"
	"time"
)

// NewestTime is the newest moment that the device has kept, and the file that it is of. Whatever
// the clock says, it is not earlier than that, unless the clock was ahead when the file was
// written. The zero time means that nothing is known.
func (d *Device) NewestTime() (newest time.Time, file string) {
	files := []string{
		or(d.o.ConfFile, filepath.Join(d.o.ConfDir, "mender.conf")),
		or(d.o.FallbackFile, filepath.Join(d.o.Datastore, "mender.conf")),
		or(d.Config.DeviceTypeFile, filepath.Join(d.o.Datastore, "device_type")),
	}
	states, _ := filepath.Glob(filepath.Join(d.StateDir(), "state-*.json")) // fails for bad patterns only
	for _, name := range append(files, states...) {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(newest) {
			newest, file = info.ModTime(), name
		}
	}
	// Copying files may lose their times, but not what is in them.
	if r, err := d.store.Record(); err == nil && r.Started.After(newest) {
		newest, file = r.Started, "the update in progress"
	}
	return newest, file
}
