package slot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Find finds both slots and which of them runs.
//
// What counts is device numbers, never names. / is looked for on the slots in this order, and the
// first answer stands:
//
//  1. the device of / (st_dev), and the devices which that one is made of (dm-verity, LUKS, RAID);
//  2. a UBI volume: below ubiblock, or as the mount table names it;
//  3. the source that the mount table names for /, for file systems without a device number of
//     their own (btrfs);
//  4. the directories below an overlay;
//  5. root= on the kernel's command line, if / is on no device that is known not to be a slot:
//     a device, PARTUUID=, PARTLABEL=, UUID=, LABEL=, or a UBI volume.
//
// If / is on neither slot, or that cannot be told, the error matches ErrActiveUnknown and says
// what was tried.
func Find(c Config) (Pair, error) {
	a, b, err := c.slots()
	if err != nil {
		return Pair{}, err
	}
	f := &finder{Config: c, a: a, b: b}
	if err := f.search(); err != nil {
		return Pair{}, err
	}
	return f.pair()
}

// finder looks for / on the two slots.
type finder struct {
	Config
	a, b Slot

	found string   // "A" or "B"
	how   string   // how it was found
	tried []string // what was looked at in vain
}

func (f *finder) search() error {
	root, err := f.stat(f.root())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrActiveUnknown, err)
	}
	if f.AllowFiles && root.Mode.Type() != os.ModeDir {
		return f.match(fmt.Sprintf("%s designates it", f.root()), root.identity())
	}
	steps := []func(Node) error{f.byDevice, f.byVolume, f.bySource, f.byOverlay, f.byCommandLine}
	for _, step := range steps {
		if err := step(root); err != nil || f.found != "" {
			return err
		}
	}
	return nil
}

// match looks for things, which / is on according to how, among the slots.
func (f *finder) match(how string, things ...identity) error {
	var a, b bool
	for _, id := range things {
		a = a || id == f.a.node.identity()
		b = b || id == f.b.node.identity()
	}
	switch {
	case a && b:
		return fmt.Errorf("%w: %s, and both slots are part of that", ErrActiveUnknown, how)
	case a:
		f.found, f.how = f.a.Name, how
	case b:
		f.found, f.how = f.b.Name, how
	default:
		f.tried = append(f.tried, how)
	}
	return nil
}

// pair is the answer, if there is one that the operator does not contradict.
func (f *finder) pair() (Pair, error) {
	p := Pair{A: f.a, B: f.b, active: f.found, how: f.how}
	switch {
	case f.Booted != "" && f.Booted != f.a.Name && f.Booted != f.b.Name:
		return Pair{}, fmt.Errorf("there is no slot %q", f.Booted)
	case f.found == "" && f.Booted != "":
		p.active, p.how = f.Booted, "the operator says so"
	case f.found == "":
		return Pair{}, fmt.Errorf("%w: it is neither slot A (%s) nor slot B (%s); looked at: %s",
			ErrActiveUnknown, f.a.Device, f.b.Device, strings.Join(f.tried, "; "))
	case f.Booted != "" && f.Booted != f.found:
		return Pair{}, fmt.Errorf("slot %s is said to run, but slot %s does: %s", f.Booted, f.found, f.how)
	}
	return p, nil
}

// byDevice: the device of /, and what that is made of.
func (f *finder) byDevice(root Node) error {
	if root.Dev.Major == 0 {
		f.tried = append(f.tried, fmt.Sprintf("%s has no device of its own (%s)", f.root(), root.Dev))
		return nil
	}
	return f.onDevice(fmt.Sprintf("%s is on device %s", f.root(), root.Dev), root.Dev)
}

func (f *finder) onDevice(how string, dev Number) error {
	chain, err := f.below(dev)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrActiveUnknown, how, err)
	}
	if err := f.match(how, blockDevice(dev)); err != nil || f.found != "" || len(chain) == 1 {
		return err
	}
	var names []string
	var things []identity
	for _, n := range chain[1:] {
		names = append(names, f.blockName(n))
		things = append(things, blockDevice(n))
	}
	return f.match(fmt.Sprintf("%s (%s), which is made of %s", how, f.blockName(dev), strings.Join(names, ", ")), things...)
}

// byVolume: a read-only file system on ubiblock0_1 is on UBI volume ubi0_1.
func (f *finder) byVolume(root Node) error {
	name, ok := strings.CutPrefix(f.blockName(root.Dev), "ubiblock")
	if !ok || root.Dev.Major == 0 {
		return nil
	}
	id, ok := f.volumeNamed("ubi" + name)
	if !ok {
		return nil
	}
	return f.match(fmt.Sprintf("%s is on ubiblock%s", f.root(), name), id)
}

// bySource: what the mount table names.
func (f *finder) bySource(root Node) error {
	if root.Dev.Major != 0 {
		return nil // byDevice was more precise
	}
	m, ok, err := f.mountOfRoot()
	if err != nil || !ok {
		return err
	}
	how := fmt.Sprintf("the mount table names %s (%s) for %s", m.source, m.fstype, f.root())
	things := f.things(m)
	if len(things) == 1 && things[0].mode == os.ModeDevice {
		return f.onDevice(how, things[0].number)
	}
	return f.match(how, things...)
}

// byOverlay: the file systems that an overlay shows.
func (f *finder) byOverlay(root Node) error {
	m, ok, err := f.mountOfRoot()
	if err != nil || !ok || m.fstype != "overlay" {
		return err
	}
	for _, dir := range m.lowerDirs() {
		n, err := f.stat(dir)
		if err != nil || n.Dev == root.Dev {
			// Not there any more: an initramfs mounted it.
			f.tried = append(f.tried, fmt.Sprintf("the overlay's directory %s is out of sight", dir))
			continue
		}
		how := fmt.Sprintf("%s is an overlay on %s, on device %s", f.root(), dir, n.Dev)
		if err := f.onDevice(how, n.Dev); err != nil || f.found != "" {
			return err
		}
	}
	return nil
}

func (f *finder) mountOfRoot() (mount, bool, error) {
	all, err := f.mounts()
	if err != nil {
		return mount{}, false, fmt.Errorf("%w: %w", ErrActiveUnknown, err)
	}
	m, ok := f.rootMount(all)
	return m, ok, nil
}

// byCommandLine: what the bootloader told the kernel. It is the last resort, because an initramfs
// may have mounted something else.
func (f *finder) byCommandLine(root Node) error {
	if f.isPlain(root.Dev) {
		return nil // / is on a real device that is no slot, whatever the command line says
	}
	data, err := os.ReadFile(filepath.Join(f.proc(), "cmdline"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrActiveUnknown, err)
	}
	value, ok := rootArgument(string(data))
	if !ok {
		f.tried = append(f.tried, "there is no root= on the kernel's command line")
		return nil
	}
	return f.match(fmt.Sprintf("the kernel was told root=%s", value), f.rootArgumentThings(value)...)
}

// isPlain reports whether n is a device that stands for itself: not made of others, and not one
// like loop, whose content comes from elsewhere.
func (f *finder) isPlain(n Number) bool {
	if _, err := os.Stat(f.blockDir(n)); err != nil || n.Major == 0 {
		return false
	}
	name := f.blockName(n)
	for _, virtual := range []string{"loop", "dm-", "md", "ubiblock", "ram", "nbd"} {
		if strings.HasPrefix(name, virtual) {
			return false
		}
	}
	return true
}

// rootArgument is the value of the last root=, which is the one that the kernel takes.
func rootArgument(cmdline string) (value string, ok bool) {
	for _, arg := range strings.Fields(cmdline) {
		if v, found := strings.CutPrefix(strings.Trim(arg, `"`), "root="); found {
			value, ok = strings.Trim(v, `"`), true
		}
	}
	return value, ok
}

// rootArgumentThings is what root=value stands for; nothing if that cannot be told.
func (f *finder) rootArgumentThings(value string) []identity {
	for key, dir := range map[string]string{
		"PARTUUID=":  "by-partuuid",
		"PARTLABEL=": "by-partlabel",
		"UUID=":      "by-uuid",
		"LABEL=":     "by-label",
	} {
		if id, ok := strings.CutPrefix(value, key); ok {
			return f.tagged(strings.TrimSuffix(key, "="), dir, id)
		}
	}
	if id, ok := f.volumeNamed(value); ok {
		return []identity{id}
	}
	if n, err := parseNumber(value); err == nil {
		return []identity{blockDevice(n)}
	}
	if n, err := f.stat(filepath.Join(f.dev(), strings.TrimPrefix(value, "/dev/"))); err == nil && n.isBlock() {
		return []identity{n.identity()}
	}
	return nil
}

// tagged are the devices with a tag: as the links below /dev/disk say, or the kernel itself.
func (f *finder) tagged(key, dir, id string) []identity {
	for _, name := range []string{id, strings.ToLower(id)} {
		n, err := f.stat(filepath.Join(f.dev(), "disk", dir, escapeTag(name)))
		if err == nil && n.isBlock() {
			return []identity{n.identity()}
		}
	}
	property := map[string]string{"PARTUUID": "PARTUUID", "PARTLABEL": "PARTNAME"}[key]
	var all []identity
	for _, s := range []Slot{f.a, f.b} {
		if s.Kind == Block && property != "" && strings.EqualFold(f.uevent(s.node.Rdev)[property], id) {
			all = append(all, s.node.identity())
		}
	}
	return all
}

// escapeTag writes a tag as udev does in the names of links.
func escapeTag(tag string) string {
	var b strings.Builder
	for _, c := range []byte(tag) {
		plain := c >= utf8.RuneSelf || strings.IndexByte("#+-.:=@_", c) >= 0 ||
			'0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}
