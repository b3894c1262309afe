package device

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"flipside/artifact"
	"flipside/internal/menderstore"
	"flipside/internal/progress"
)

// UnknownName is what Mender's client calls the artifact of a device that was never updated.
const UnknownName = "unknown"

// initialProvides is what the device has before flipside recorded anything: what Mender's client
// recorded, else the bootstrap artifact, else the artifact_info file of older integrations.
func (d *Device) initialProvides() (artifact.Provides, error) {
	for _, source := range []func() (artifact.Provides, error){d.fromMenderStore, d.fromBootstrap, d.fromArtifactInfo} {
		switch p, err := source(); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		default:
			return p, nil
		}
	}
	return artifact.Provides{"artifact_name": UnknownName}, nil
}

// ErrForeign means that an update of Mender's client waits for its decision. Until then this
// device can be looked at, and not changed.
var ErrForeign = errors.New("an update of Mender's client is in progress")

// fromMenderStore reads the database of Mender's client. It is never written, so that the device
// can go back to that client.
func (d *Device) fromMenderStore() (artifact.Provides, error) {
	path := filepath.Join(d.o.Datastore, "mender-store")
	store, err := menderstore.Read(path)
	if errors.Is(err, menderstore.ErrDamaged) {
		d.warn("%v; starting without it", err)
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	d.foreign = nil
	if store.Pending {
		d.foreign = fmt.Errorf("%w, recorded in %s", ErrForeign, path)
	}
	if store.ArtifactName == "" {
		return nil, fs.ErrNotExist
	}
	p := artifact.Provides{}
	for key, value := range store.Provides {
		p[key] = value
	}
	p["artifact_name"] = store.ArtifactName
	if store.ArtifactGroup != "" {
		p["artifact_group"] = store.ArtifactGroup
	}
	return p, nil
}

// fromBootstrap reads the artifact without payload that describes a freshly flashed device. It is
// verified and must fit like any other artifact. One that is no good is no reason to refuse the
// repair that an install may be.
func (d *Device) fromBootstrap() (artifact.Provides, error) {
	path := filepath.Join(d.o.Datastore, "bootstrap.mender")
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h, err := d.readBootstrap(f)
	if err != nil {
		d.warn("bootstrap artifact %s: %v; starting without it", path, err)
		return nil, fs.ErrNotExist
	}
	return artifact.Provides(nil).Updated(h), nil
}

func (d *Device) readBootstrap(r io.Reader) (*artifact.Header, error) {
	keys, err := d.Keys()
	if err != nil {
		return nil, err
	}
	ar, err := artifact.NewReader(r, keys)
	if err != nil {
		return nil, err
	}
	defer ar.Close()
	h := ar.Header()
	if len(h.Payloads) != 1 || h.Payloads[0].Type != "" {
		return nil, errors.New("it has a payload")
	}
	deviceType, err := d.Type()
	if err != nil {
		return nil, err
	}
	if err := h.Depends.Satisfied(artifact.Provides{"device_type": deviceType}); err != nil {
		return nil, err
	}
	for {
		if _, err := ar.Next(); errors.Is(err, io.EOF) {
			return h, nil
		} else if err != nil {
			return nil, err
		}
	}
}

// fromArtifactInfo reads the line artifact_name=NAME.
func (d *Device) fromArtifactInfo() (artifact.Provides, error) {
	data, err := os.ReadFile(filepath.Join(d.o.ConfDir, "artifact_info"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		if name, found := strings.CutPrefix(strings.TrimSpace(line), "artifact_name="); found && name != "" {
			return artifact.Provides{"artifact_name": name}, nil
		}
	}
	return nil, fs.ErrNotExist
}

func (d *Device) warn(format string, args ...any) {
	d.o.Sink.Emit(progress.Event{Kind: progress.Warning, Text: fmt.Sprintf(format, args...)})
}
