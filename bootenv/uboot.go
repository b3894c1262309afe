package bootenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"flipside/bootenv/internal/ubootenv"
)

// uboot is a U-Boot environment that an fw_env.config describes.
type uboot struct {
	host     host
	source   string // the fw_env.config
	config   ubootenv.Config
	lockDirs []string
}

func (h host) openUBoot(source string, lockDirs []string) (Env, error) {
	data, err := readConfig(source)
	if err != nil {
		return nil, noConfig(err)
	}
	config, err := ubootenv.ParseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", source, err)
	}
	if lockDirs == nil {
		lockDirs = []string{h.path("/run"), h.path("/var/lock")}
	}
	return &uboot{host: h, source: source, config: config, lockDirs: lockDirs}, nil
}

func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, ubootenv.MaxConfig+1))
	return data, errors.Join(err, f.Close())
}

func (u *uboot) Read(ctx context.Context, names ...string) (Vars, error) {
	held, err := u.host.locks.take(ctx, u.lockDirs, ubootLock, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer held.release()
	copies := u.load()
	current, err := copies.current()
	if err != nil {
		return nil, u.wrap("reading", err)
	}
	return pick(copies[current].image.Vars(), names), nil
}

func (u *uboot) Write(ctx context.Context, changes Vars) error {
	if err := checkChanges(changes); err != nil {
		return err
	}
	held, err := u.host.locks.take(ctx, u.lockDirs, ubootLock, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer held.release()
	if err := u.load().write(changes); err != nil {
		return u.wrap("writing", err)
	}
	return nil
}

func (u *uboot) wrap(doing string, err error) error {
	err = fmt.Errorf("%s the U-Boot environment of %s: %w", doing, u.source, err)
	if errors.Is(err, ErrCorrupt) && len(u.config.Ignored) > 0 {
		err = fmt.Errorf("%w (%s)", err, u.ignoredLines())
	}
	return err
}

func (u *uboot) ignoredLines() string {
	return fmt.Sprintf("of %s, what stands in lines %v is ignored", u.source, u.config.Ignored)
}

// ubootCopy is a copy as it was found.
type ubootCopy struct {
	at     ubootenv.Location
	medium medium // nil if it could not be found out what the place is
	data   []byte
	image  ubootenv.Image
	err    error // why it is not valid
}

func (c *ubootCopy) name() string { return fmt.Sprintf("%s at %#x", c.at.Path, c.at.Offset) }

// ubootCopies are one copy, or two in the order of the configuration.
type ubootCopies []*ubootCopy

func (u *uboot) load() ubootCopies {
	var copies ubootCopies
	for _, at := range u.config.Copies {
		c := &ubootCopy{at: at}
		c.medium, c.err = u.host.medium(at)
		copies = append(copies, c)
	}
	copies.addMissing(u.host)
	redundant := len(copies) == 2
	for _, c := range copies {
		if c.medium == nil {
			continue
		}
		if m, ok := c.medium.(*fileMedium); ok {
			m.alone = !redundant
		}
		if c.data, c.err = c.medium.read(); c.err == nil {
			c.image, c.err = ubootenv.Decode(c.data, redundant)
		}
	}
	return copies
}

// addMissing: of two copies in files, U-Boot creates the second when it first saves.
func (copies ubootCopies) addMissing(h host) {
	if len(copies) < 2 {
		return
	}
	for i, c := range copies {
		other, ok := copies[1-i].medium.(*fileMedium)
		if ok && !other.block && !other.missing && errors.Is(c.err, fs.ErrNotExist) {
			c.medium = h.missingFile(c.at)
		}
	}
}

// current is the index of the copy that U-Boot would load.
func (copies ubootCopies) current() (int, error) {
	for _, c := range copies {
		if c.medium == nil {
			// Perhaps U-Boot can see it, and it is the current one.
			return 0, c.err
		}
	}
	first, last := copies[0], copies[len(copies)-1]
	switch {
	case first == last && first.err == nil:
		return 0, nil
	case first == last:
		return 0, fmt.Errorf("%w: %s: %w", ErrCorrupt, first.name(), first.err)
	case first.medium.scheme() != last.medium.scheme():
		return 0, fmt.Errorf("the copies %s and %s are on different kinds of media", first.name(), last.name())
	case first.err == nil && last.err == nil:
		return first.medium.scheme().Current(first.image.Flags, last.image.Flags), nil
	case first.err == nil:
		return 0, nil
	case last.err == nil:
		return 1, nil
	}
	return 0, fmt.Errorf("%w: %s: %w; %s: %w", ErrCorrupt, first.name(), first.err, last.name(), last.err)
}

// write changes variables in the copy that is not current, so that the current one stays good
// until the new one is on the medium and has been read back. The checksum covers the copy, and
// the flags that make it the current one are in its first sector: incomplete, it is not valid.
func (copies ubootCopies) write(changes Vars) error {
	i, err := copies.current()
	if err != nil {
		return err
	}
	old, target := copies[i], copies[len(copies)-1-i]
	if !changed(old.image.Vars(), changes) {
		return nil
	}
	if err := old.image.CheckAccess(changes); err != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	image := old.image.With(changes)
	redundant := target != old
	if redundant {
		image.Flags = old.medium.scheme().Next(old.image.Flags)
		if err := target.medium.isolated(old.medium); err != nil {
			return err
		}
	}
	data, err := image.Encode(target.at.Size, redundant)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	if err := target.store(data); err != nil {
		return err
	}
	return old.markObsolete()
}

func (c *ubootCopy) store(data []byte) error {
	if err := c.medium.write(data); err != nil {
		return fmt.Errorf("%s: %w", c.name(), err)
	}
	return verify(c.name(), c.medium.read, data)
}

// markObsolete clears the flags of a replaced copy where two copies of the same age would
// otherwise look alike. Until then, a power cut leaves either.
func (c *ubootCopy) markObsolete() error {
	m, ok := c.medium.(obsoleter)
	if !ok || c.medium.scheme() != ubootenv.Boolean {
		return nil
	}
	if err := m.obsolete(); err != nil {
		return fmt.Errorf("marking the old copy, %s: %w", c.name(), err)
	}
	return verify(c.name(), c.medium.read, ubootenv.Obsolete(c.data))
}

func (u *uboot) Inspect(ctx context.Context) (Report, error) {
	r := Report{Kind: "U-Boot, one copy", Source: u.source}
	if len(u.config.Copies) == 2 {
		r.Kind = "U-Boot, two copies"
	}
	held, err := u.host.locks.take(ctx, u.lockDirs, ubootLock, unix.LOCK_SH)
	if err != nil {
		return r, err
	}
	defer held.release()
	copies := u.load()
	current, err := copies.current()
	for i, c := range copies {
		r.Copies = append(r.Copies, c.report(err == nil && i == current))
	}
	if len(u.config.Ignored) > 0 {
		r.Warnings = append(r.Warnings, u.ignoredLines())
	}
	if err != nil {
		r.Warnings = append(r.Warnings, err.Error())
		return r, nil
	}
	r.Warnings = append(r.Warnings, copies.warnings(current)...)
	return r, nil
}

func (c *ubootCopy) report(current bool) Copy {
	r := Copy{Path: c.at.Path, Offset: c.at.Offset, Valid: c.err == nil, Current: current}
	switch {
	case c.err != nil:
		r.Problem = c.err.Error()
	case c.image.Rejected():
		r.Problem = "it has a value without a name: U-Boot ignores the whole copy; the next write repairs it"
	case c.image.Unterminated:
		r.Problem = "its end mark is missing: libubootenv cannot read it; the next write repairs it"
	}
	return r
}

// other is the medium of the other copy, or nil.
func (copies ubootCopies) other(i int) medium {
	if len(copies) < 2 {
		return nil
	}
	return copies[1-i].medium
}

func (copies ubootCopies) warnings(current int) []string {
	var list []string
	for i, c := range copies {
		if c.err != nil {
			list = append(list, fmt.Sprintf("copy %d of the environment, %s, is not valid: %v; the next write repairs it", i+1, c.name(), c.err))
		}
		list = append(list, c.medium.warnings(copies.other(i))...)
	}
	old, target := copies[current], copies[len(copies)-1-current]
	if target != old {
		if err := target.medium.isolated(old.medium); err != nil {
			list = append(list, err.Error())
		}
	}
	if problem := old.report(true).Problem; problem != "" {
		list = append(list, fmt.Sprintf("the current copy of the environment, %s: %s", old.name(), problem))
	}
	return append(list, ubootDoubts(pick(old.image.Vars(), nil))...)
}
