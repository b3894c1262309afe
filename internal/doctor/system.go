package doctor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"flipside/internal/disk"
	"flipside/internal/menderclient"
	"flipside/internal/menderstore"
)

// clock: a device without a battery comes up in 1970, where no certificate is valid yet.
func (e *examination) clock(context.Context) {
	now := e.how.Now()
	if now.Before(e.how.Built) {
		e.warn(Clock, "set it (NTP, a real-time clock), before anything is downloaded by https",
			"it says %s, which is before this program was made (%s): certificates look as if they were not valid yet",
			now.UTC().Format(time.DateOnly), e.how.Built.UTC().Format(time.DateOnly))
		return
	}
	e.ok(Clock, "it says %s", now.UTC().Format(time.RFC3339))
}

// bootID: by it, commit knows whether the device was rebooted.
func (e *examination) bootID(context.Context) {
	file := e.Options.BootIDFile
	switch id, err := os.ReadFile(file); {
	case err != nil:
		e.problem(BootID, "mount /proc", "%s: %v; without it, a commit cannot tell a fallback from a reboot that is still to come", file, disk.Cause(err))
	case len(bytes.TrimSpace(id)) == 0:
		e.problem(BootID, "use a kernel that has it", "%s is empty", file)
	default:
		e.ok(BootID, "the kernel tells one boot from another")
	}
}

// menderClient: two updaters on one device.
func (e *examination) menderClient(context.Context) {
	path := filepath.Join(e.Options.Datastore, "mender-store")
	store, err := menderstore.Read(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case errors.Is(err, menderstore.ErrDamaged):
		e.warn(MenderClient, "remove it if Mender's client is not used any more; `flipside show-provides` tells what is known without it", "%v", err)
	case err != nil:
		e.problem(MenderClient, "see to it that it can be read", "%v", err)
	case store.Pending:
		e.problem(MenderClient, "commit it or roll it back with Mender's client", "an update of Mender's client is in progress (%s in %s)", store.PendingKey, path)
	default:
		e.ok(MenderClient, "it has recorded %s in %s, from which flipside takes over", store.ArtifactName, path)
	}
	e.daemon()
}

// daemon: two updaters at a time write to the same slot.
func (e *examination) daemon() {
	for _, p := range menderclient.Running(e.Options.Proc) {
		if p.Daemon() {
			e.warn(MenderClient, "stop it and keep it from starting: systemctl disable --now mender-updated mender-client",
				"its daemon runs (%v): it may begin an update at any time, also while flipside works", p)
			continue
		}
		e.problem(MenderClient, "wait until it has ended: until then nothing can be installed", "it is at work: %v", p)
	}
}
