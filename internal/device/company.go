package device

import (
	"errors"
	"fmt"
	"path/filepath"

	"flipside/internal/deployment"
	"flipside/internal/eventlog"
	"flipside/internal/menderclient"
	"flipside/internal/menderstore"
)

// LogDir is where the event log is.
func (d *Device) LogDir() string { return eventlog.Dir(d.StateDir()) }

// Working is the flipside that works on this device right now, and where its work stands as far as
// its log tells; nil if there is none.
func (d *Device) Working() *deployment.Holder {
	h := deployment.Working(d.StateDir())
	d.locate(h)
	return h
}

func (d *Device) locate(h *deployment.Holder) {
	if h == nil {
		return
	}
	run, ok := eventlog.Of(d.LogDir(), h.PID, h.Since)
	if !ok {
		return
	}
	at := run.Position()
	h.Phase = string(at.Phase)
	if at.Percent >= 0 {
		h.Percent = &at.Percent
	}
}

// located adds to the error of somebody who found another one at work where that work stands.
func (d *Device) located(err error) error {
	var busy *deployment.BusyError
	if errors.As(err, &busy) {
		d.locate(busy.Holder)
	}
	return err
}

// alone makes sure that Mender's client does not change the device too. Its daemon, as long as it
// has nothing to do, is a danger and no obstacle.
func (d *Device) alone() error {
	for _, p := range menderclient.Running(d.o.Proc) {
		text, busy := d.at(p)
		if busy {
			return &deployment.BusyError{Other: text}
		}
		d.warn("%s", text)
	}
	return nil
}

// at says what a process of Mender's client does, and whether it is in the way.
func (d *Device) at(p menderclient.Process) (text string, busy bool) {
	switch {
	case !p.Daemon():
		return fmt.Sprintf("Mender's client is at work: %v", p), true
	case d.clientRecord():
		return fmt.Sprintf("the daemon of Mender's client is at an update: %v", p), true
	}
	return fmt.Sprintf("the daemon of Mender's client runs (%v): it may begin an update at any time, also now; `systemctl stop mender-updated mender-client` stops it", p), false
}

// clientRecord says whether Mender's client has recorded an update in progress.
func (d *Device) clientRecord() bool {
	store, err := menderstore.Read(filepath.Join(d.o.Datastore, "mender-store"))
	return err == nil && store.Pending
}

// otherClients tells of all of them, for the status.
func (d *Device) otherClients() (texts []string) {
	for _, p := range menderclient.Running(d.o.Proc) {
		text, _ := d.at(p)
		texts = append(texts, text)
	}
	return texts
}

// State is where the deployment in progress stands; deployment.None if there is none.
func (d *Device) State() deployment.State {
	r, err := d.store.Record()
	if err != nil {
		return deployment.None
	}
	return r.State
}
