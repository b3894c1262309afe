// Package device is this machine, put together from its configuration: device type, keys, slots
// and boot environment, state scripts, update modules, and the deployment in progress.
package device

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"flipside/artifact"
	"flipside/bootenv"
	"flipside/internal/deployment"
	"flipside/internal/disk"
	"flipside/internal/progress"
	"flipside/internal/slot"
)

// What stands in the way before an artifact is looked at.
var (
	// ErrDatastore means that the data directory cannot be used.
	ErrDatastore = errors.New("data directory")
	// ErrKey means that a verification key cannot be read.
	ErrKey = errors.New("verification key")
	// ErrType means that the device does not know its type.
	ErrType = errors.New("device type")
	// ErrNoSlots means that the device has no slots to write a root filesystem to.
	ErrNoSlots = errors.New("this device is not set up for root filesystem updates")
)

// Options say which device, and how to talk about it. Empty paths mean Mender's defaults, FS and
// Sink must be set.
type Options struct {
	FS       disk.FS
	Sink     progress.Sink
	Announce func(line string) // prints a line that scripts may wait for; nil: nobody does

	ConfFile     string // --config
	FallbackFile string // --fallback-config
	ConfDir      string // MENDER_CONF_DIR, /etc/mender: mender.conf, rootfs state scripts
	DataDir      string // MENDER_DATA_DIR, /usr/share/mender: update modules
	Datastore    string // MENDER_DATASTORE_DIR, /var/lib/mender: device_type and all state

	Keys       []string // --key: more verification keys
	NoReadBack bool     // --no-verify-media
	Stops      deployment.Stops
	Command    string // what the lock file says of us
	Root       string // what / is: a symbolic link to the running slot's file in a sandbox
	BootIDFile string // /proc/sys/kernel/random/boot_id
	FileSlots  bool   // slots may be plain files: in a sandbox, never on a device
	LockDirs   []string
	Wake       <-chan struct{} // runs a waiting state script again at once
	Locked     func()          // called once this process may work on the device; nil: nobody minds
	Proc       string          // /proc, or where a sandbox looks for processes of other updaters
}

func (o *Options) setDefaults() {
	def := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	def(&o.ConfDir, "/etc/mender")
	def(&o.DataDir, "/usr/share/mender")
	def(&o.Datastore, "/var/lib/mender")
	def(&o.Root, "/")
	def(&o.BootIDFile, "/proc/sys/kernel/random/boot_id")
	def(&o.Proc, "/proc")
}

// Device is this machine. Open reads; nothing is changed before a Deployment begins.
type Device struct {
	Config *Config

	o     Options
	store *deployment.Store
	lock  *deployment.Lock // while this process works

	foreign error // ErrForeign, if that is so
	input   *progress.Input
}

// Open reads configuration and state. What cannot be read is an error: there is no default that
// would be safe. Keys and device type are read when an artifact comes in: a commit or a rollback
// must not fail for want of them.
func Open(o Options) (*Device, error) {
	o.setDefaults()
	if err := checkDatastore(o.Datastore); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrDatastore, o.Datastore, err)
	}
	config, err := loadConfig(
		configFile{or(o.FallbackFile, filepath.Join(o.Datastore, "mender.conf")), o.FallbackFile != ""},
		configFile{or(o.ConfFile, filepath.Join(o.ConfDir, "mender.conf")), o.ConfFile != ""},
	)
	if err != nil {
		return nil, err
	}
	d := &Device{Config: config, o: o, input: &progress.Input{}}
	d.o.Sink = d.input.Sink(o.Sink)
	if d.store, err = deployment.OpenStore(o.FS, d.StateDir(), d.initialProvides); err != nil {
		return nil, err
	}
	for _, w := range d.store.Warnings {
		d.warn("%s", w)
	}
	return d, nil
}

func checkDatastore(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	return disk.Cause(err)
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// Keys verify artifacts; without any, signatures are not checked. A key that cannot be read is
// an error even if others can.
func (d *Device) Keys() ([]artifact.PublicKey, error) {
	var keys []artifact.PublicKey
	for _, file := range append(d.Config.keyFiles(), d.o.Keys...) {
		if file == "" {
			return nil, fmt.Errorf("%w: the name of its file is empty", ErrKey)
		}
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%w %s: %w", ErrKey, file, disk.Cause(err))
		}
		key, err := artifact.ParsePublicKey(pem)
		if err != nil {
			return nil, fmt.Errorf("%w %s: %w", ErrKey, file, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// StateDir holds what flipside remembers: the state files and the lock.
func (d *Device) StateDir() string { return filepath.Join(d.o.Datastore, "flipside") }

// Type is the device type.
func (d *Device) Type() (string, error) {
	return readDeviceType(or(d.Config.DeviceTypeFile, filepath.Join(d.o.Datastore, "device_type")))
}

// Provides is what the device has now.
func (d *Device) Provides() artifact.Provides { return d.store.Provides() }

// Lock keeps every other flipside from changing this device until it is released.
func (d *Device) Lock() (lock *deployment.Lock, err error) {
	if d.lock, err = deployment.Acquire(d.StateDir(), d.o.Command); err != nil {
		return nil, d.located(err)
	}
	if err := d.free(); err != nil {
		return nil, errors.Join(err, d.lock.Release())
	}
	if d.o.Locked != nil {
		d.o.Locked()
	}
	return d.lock, nil
}

// free makes sure, under the lock, that nobody else works on the device.
func (d *Device) free() error {
	// Another process may have worked since Open.
	if err := d.store.Reload(); err != nil {
		return err
	}
	if err := d.alone(); err != nil {
		return err
	}
	return d.foreign
}

// Announce prints a line of Mender's client that scripts may wait for.
func (d *Device) Announce(line string) {
	if d.o.Announce != nil {
		d.o.Announce(line)
	}
}

// Emit tells whoever watches what happens.
func (d *Device) Emit(e progress.Event) { d.o.Sink.Emit(e) }

// Counted is r, an artifact; what is read of it is told with the events of the download.
func (d *Device) Counted(r io.Reader) io.Reader { return d.input.Reader(r) }

// Taken is how much was read of what is Counted, in bytes.
func (d *Device) Taken() int64 { return d.input.Taken() }

// Note tells whoever watches.
func (d *Device) Note(format string, args ...any) {
	d.o.Sink.Emit(progress.Event{Kind: progress.Note, Text: fmt.Sprintf(format, args...)})
}

// BootEnv opens the boot environment. Devices that only use update modules have none.
func (d *Device) BootEnv() (bootenv.Env, error) {
	return bootenv.Open(bootenv.Options{
		FS:          d.o.FS,
		FwEnvConfig: d.Config.FwEnvConfig,
		GrubDir:     d.Config.GrubEnvDir,
		Print:       d.Config.BootEnvPrint,
		Set:         d.Config.BootEnvSet,
		LockDirs:    d.o.LockDirs,
	})
}

// Fits checks an artifact's device type and depends against this device.
func (d *Device) Fits(h *artifact.Header) error {
	deviceType, err := d.Type()
	if err != nil {
		return err
	}
	has := d.Provides()
	if has == nil {
		has = artifact.Provides{}
	}
	has["device_type"] = deviceType
	return h.Depends.Satisfied(has)
}

// FitsSlot checks that a payload file of size bytes fits the inactive slot, if that is where it goes.
func (d *Device) FitsSlot(payloadType string, size int64) error {
	if payloadType != rootfsImage || d.Config.RootfsHandler == "module" {
		return nil
	}
	if !d.hasSlots() {
		return errNoSlots()
	}
	pair, err := slot.Find(d.slotConfig())
	if err != nil {
		return err
	}
	return pair.Inactive().Fits(size)
}

func (d *Device) modules() string { return filepath.Join(d.o.DataDir, "modules", "v3") }
func (d *Device) moduleWork() string {
	return filepath.Join(d.o.Datastore, "modules", "v3", "payloads", "0000", "tree")
}
func (d *Device) rootfsScripts() string   { return filepath.Join(d.o.ConfDir, "scripts") }
func (d *Device) artifactScripts() string { return filepath.Join(d.o.Datastore, "scripts") }

// bootID changes with every boot.
func (d *Device) bootID() (string, error) {
	id, err := os.ReadFile(d.o.BootIDFile)
	return strings.TrimSpace(string(id)), err
}

func (d *Device) slotConfig() slot.Config {
	return slot.Config{
		PartA:      d.Config.RootfsPartA,
		PartB:      d.Config.RootfsPartB,
		Root:       d.o.Root,
		AllowFiles: d.o.FileSlots,
	}
}
