package doctor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"flipside/internal/disk"
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

// clients are the names of Mender's client, newest first.
var clients = [...]string{"mender-update", "mender-client", "mender"}

func (e *examination) daemon() {
	files, _ := filepath.Glob(filepath.Join(e.how.Proc, "[0-9]*", "cmdline"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		words := strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
		isDaemon := func(word string) bool { return strings.TrimLeft(word, "-") == "daemon" }
		if slices.Contains(clients[:], filepath.Base(words[0])) && slices.ContainsFunc(words[1:], isDaemon) {
			e.warn(MenderClient, "stop it and keep it from starting: systemctl disable --now mender-updated mender-client",
				"its daemon runs (process %s, %s): it may begin an update at any time, also while flipside works", filepath.Base(filepath.Dir(file)), words[0])
			return
		}
	}
}
