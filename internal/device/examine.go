package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"flipside/artifact"
	"flipside/bootenv"
	"flipside/internal/disk"
	"flipside/internal/slot"
)

// Anatomy is where the parts of a device are and what its configuration says, as far as it can be
// read: for whoever examines a device, also one that cannot be opened.
type Anatomy struct {
	Options Options // with the defaults filled in
	Sources []ConfigSource
	Config  *Config // what Sources say; where one is broken, the keys that could be read
	Err     error   // what makes no sense about the keys together; nil if a source is broken

	Slots    slot.Config
	KeyFiles []string // of the configuration and of the options
	TypeFile string
	StateDir string
	Modules  string // update modules
	WorkTree string // of the update module at work

	RootfsScripts   string
	ArtifactScripts string
}

// ConfigSource is one configuration file, in the order in which they are read: a later one counts
// more.
type ConfigSource struct {
	Path     string
	Explicit bool   // somebody named it: it must be there
	Data     []byte // nil if it could not be read
	Err      error  // matches fs.ErrNotExist if it is missing
}

// Dissect looks at the configuration of the device that o describes. It changes nothing.
func Dissect(o Options) Anatomy {
	o.setDefaults()
	d := &Device{Config: &Config{}, o: o}
	a := Anatomy{Options: o, Config: d.Config, Sources: []ConfigSource{
		{Path: or(o.FallbackFile, filepath.Join(o.Datastore, "mender.conf")), Explicit: o.FallbackFile != ""},
		{Path: or(o.ConfFile, filepath.Join(o.ConfDir, "mender.conf")), Explicit: o.ConfFile != ""},
	}}
	for i := range a.Sources {
		s := &a.Sources[i]
		if s.Data, s.Err = disk.ReadRegular(s.Path); s.Err == nil {
			s.Err = d.Config.merge(s.Data)
		}
		if s.Err != nil {
			// What else it says is good enough to look at, though not to act on.
			_ = json.Unmarshal(bytes.TrimPrefix(s.Data, []byte("\xef\xbb\xbf")), d.Config)
		}
	}
	if !a.brokenSource() {
		a.Err = d.Config.check()
	}
	a.Slots = d.slotConfig()
	a.KeyFiles = append(a.KeyFiles, d.Config.keyFiles()...)
	a.KeyFiles = append(a.KeyFiles, o.Keys...)
	a.TypeFile = or(d.Config.DeviceTypeFile, filepath.Join(o.Datastore, "device_type"))
	a.StateDir = d.StateDir()
	a.Modules, a.WorkTree = d.modules(), d.moduleWork()
	a.RootfsScripts, a.ArtifactScripts = d.rootfsScripts(), d.artifactScripts()
	return a
}

func (a Anatomy) brokenSource() bool {
	return slices.ContainsFunc(a.Sources, func(s ConfigSource) bool { return s.Err != nil && !s.Absent() })
}

// Absent says that the file is not there and need not be.
func (s ConfigSource) Absent() bool { return errors.Is(s.Err, os.ErrNotExist) && !s.Explicit }

// Broken says whether a configuration file, or all of them together, cannot be understood: then
// Device cannot be opened, and Config is not all that was meant.
func (a Anatomy) Broken() bool { return a.Err != nil || a.brokenSource() }

// BootEnv opens the boot environment.
func (a Anatomy) BootEnv() (bootenv.Env, error) {
	return (&Device{Config: a.Config, o: a.Options}).BootEnv()
}

// Type is the device type.
func (a Anatomy) Type() (string, error) { return readDeviceType(a.TypeFile) }

// Key reads one of KeyFiles.
func (a Anatomy) Key(file string) (artifact.PublicKey, error) {
	pem, err := disk.ReadRegular(file)
	if err != nil {
		return artifact.PublicKey{}, disk.Cause(err)
	}
	return artifact.ParsePublicKey(pem)
}
