package bootsim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"flipside/bootenv"
	"flipside/bootenv/internal/ubootenv"
	"flipside/internal/disk"
)

// UBoot is a U-Boot with Mender's patches: it counts the boots of a trial in its environment, and
// beyond the limit switches to the other partition.
type UBoot struct {
	Config       string // path of the fw_env.config that says where the environment is, in files
	PartA, PartB int
	// Defaults is the environment that is built into the bootloader, used when no stored copy is
	// valid. nil is Mender's.
	Defaults map[string]string
}

func (u UBoot) defaults() map[string]string {
	if u.Defaults != nil {
		return maps.Clone(u.Defaults)
	}
	return map[string]string{
		bootenv.VarPart: strconv.Itoa(u.PartA), bootenv.VarPartHex: strconv.FormatInt(int64(u.PartA), 16),
		bootenv.VarTrial: "0", bootenv.VarCount: "0", bootenv.VarLimit: "1",
		bootenv.VarFallback:  "run mender_altbootcmd; run bootcmd",
		"bootcmd":            "run mender_setup; run mender_boot",
		bootenv.VarWantProof: "1",
	}
}

// Boot powers the device up. It returns the partition whose kernel booted, and what U-Boot printed.
// kernelBoots says whether a partition has a kernel that can be loaded and started; a system that
// starts and dies later is a Boot that is followed by another.
func (u UBoot) Boot(ctx context.Context, fsys disk.FS, kernelBoots func(part int) bool) (part int, log []string, err error) {
	data, err := os.ReadFile(u.Config)
	if err != nil {
		return 0, nil, err
	}
	config, err := ubootenv.ParseConfig(data)
	if err != nil {
		return 0, nil, fmt.Errorf("reading %s: %w", u.Config, err)
	}
	start := func() (attempt, error) {
		run := &ubootRun{UBoot: u, fs: fsys, copies: config.Copies, log: &log}
		return run, run.load()
	}
	part, err = boot(ctx, start, kernelBoots)
	return part, log, err
}

// ubootRun is one power-up.
type ubootRun struct {
	UBoot
	fs      disk.FS
	copies  []ubootenv.Location
	ram     map[string]string
	current int  // index of the copy that was loaded or last saved; -1: none
	flags   byte // of that copy
	log     *[]string
}

func (r *ubootRun) logf(format string, args ...any) {
	*r.log = append(*r.log, fmt.Sprintf(format, args...))
}

func (r *ubootRun) redundant() bool { return len(r.copies) == 2 }

func (r *ubootRun) load() error {
	r.current = -1
	var current ubootenv.Image
	for i, at := range r.copies {
		data, err := readRange(r.fs, at)
		if err != nil {
			return err
		}
		image, err := ubootenv.Decode(data, r.redundant())
		if err != nil {
			continue
		}
		if r.current < 0 || ubootenv.Incremental.Current(current.Flags, image.Flags) == 1 {
			r.current, current = i, image
		}
	}
	r.flags = current.Flags
	if r.current < 0 || current.Rejected() {
		r.logf("*** Warning - bad CRC, using default environment")
		r.ram = r.defaults()
		return nil
	}
	r.logf("Loading Environment... OK")
	r.ram = current.Vars()
	for name, value := range r.ram {
		r.ram[name] = unescape(value)
	}
	return nil
}

// readRange returns less than the size of the environment where the file ends before it.
func readRange(fsys disk.FS, at ubootenv.Location) ([]byte, error) {
	f, err := fsys.OpenFile(at.Path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.NewSectionReader(f, at.Offset, int64(at.Size)))
	return data, errors.Join(err, f.Close())
}

func (r *ubootRun) run() (int, error) {
	if err := r.countBoot(); err != nil {
		return 0, err
	}
	if err := r.checkLimit(); err != nil {
		return 0, err
	}
	if err := r.setup(); err != nil {
		return 0, err
	}
	part := atoi(r.ram[bootenv.VarPart])
	r.logf("booting partition %d: %s=%s %s=%s", part, bootenv.VarCount, r.ram[bootenv.VarCount], bootenv.VarTrial, r.ram[bootenv.VarTrial])
	return part, nil
}

func (r *ubootRun) trial() bool { return r.ram[bootenv.VarTrial] == "1" }

func (r *ubootRun) counting() bool { return atoi(r.ram[bootenv.VarTrial]) != 0 }

// countBoot is U-Boot's CONFIG_BOOTCOUNT_ENV: the count is stored during a trial only.
func (r *ubootRun) countBoot() error {
	count := 1
	if r.counting() {
		count += atoi(r.ram[bootenv.VarCount])
	}
	r.ram[bootenv.VarCount] = strconv.Itoa(count)
	if !r.counting() {
		return nil
	}
	return r.save()
}

// checkLimit runs altbootcmd, which is mender_altbootcmd, when a trial has had its boots.
func (r *ubootRun) checkLimit() error {
	limit := atoi(r.ram[bootenv.VarLimit])
	if limit == 0 || !r.counting() || atoi(r.ram[bootenv.VarCount]) <= limit {
		return nil
	}
	r.logf("Warning: Bootlimit (%d) exceeded. Using altbootcmd.", limit)
	if r.ram[bootenv.VarFallback] == "" {
		return fmt.Errorf("%w: %s is not defined", ErrPrompt, bootenv.VarFallback)
	}
	other := r.PartA
	if r.ram[bootenv.VarPart] == strconv.Itoa(r.PartA) {
		other = r.PartB
	}
	r.ram[bootenv.VarPart] = strconv.Itoa(other)
	r.ram[bootenv.VarPartHex] = strconv.FormatInt(int64(other), 16)
	r.ram[bootenv.VarTrial] = "0"
	return r.save()
}

// setup is mender_setup, as far as it is about the environment: it proves that U-Boot can save.
func (r *ubootRun) setup() error {
	if r.ram[bootenv.VarProof] == "1" {
		return nil
	}
	r.ram[bootenv.VarProof] = "1"
	return r.save()
}

// save is saveenv: the whole environment goes to the other copy.
func (r *ubootRun) save() error {
	r.logf("Saving Environment... OK")
	var image ubootenv.Image
	for _, name := range slices.Sorted(maps.Keys(r.ram)) {
		if value := r.ram[name]; value != "" {
			image.Entries = append(image.Entries, name+"="+escape(value))
		}
	}
	target := 0
	if r.redundant() && r.current == 0 {
		target = 1
	}
	image.Flags = r.flags + 1
	if r.current < 0 {
		image.Flags = 1
	}
	at := r.copies[target]
	data, err := image.Encode(at.Size, r.redundant())
	if err != nil {
		return err
	}
	r.current, r.flags = target, image.Flags
	return writeRange(r.fs, at.Path, at.Offset, data)
}

func writeRange(fsys disk.FS, path string, offset int64, data []byte) error {
	f, err := fsys.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(data, offset); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// unescape is what U-Boot's import does to a stored value, escape what its export does.
func unescape(s string) string {
	var value strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		value.WriteByte(s[i])
	}
	return value.String()
}

func escape(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }
