package bootenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"flipside/internal/proc"
)

// programs is an environment behind programs: for bootloaders that are not known here. What they
// stored is read back through them, as some report success and store nothing.
type programs struct {
	print, set []string
}

// Bounds on what a program may do.
const (
	programTimeout = time.Minute
	maxPrinted     = 4 << 20 // twice an environment of 1 MiB, and more
	// maxLine is what all versions of libubootenv's fw_setenv take: they cut longer lines of a
	// script in two and read the rest as another variable.
	maxLine = 1000
)

func (p programs) Read(ctx context.Context, names ...string) (Vars, error) {
	vars, err := p.readAll(ctx)
	if err != nil {
		return nil, err
	}
	return pick(vars, names), nil
}

// readAll never names the variables it wants: for one that is undefined, fw_printenv fails or
// prints an empty value, and grub-mender-grubenv-print prints a variable of its own script.
func (p programs) readAll(ctx context.Context) (Vars, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := limitedBuffer{room: maxPrinted, full: cancel}
	if err := p.run(ctx, p.print, nil, &out); err != nil {
		return nil, fmt.Errorf("reading the boot environment: %w", err)
	}
	vars := make(Vars)
	for line := range strings.Lines(out.text.String()) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok && name != "" {
			vars[name] = value
		}
	}
	return vars, nil
}

func (p programs) Write(ctx context.Context, changes Vars) error {
	if err := checkChanges(changes); err != nil {
		return err
	}
	script, err := setScript(changes)
	if err != nil {
		return err
	}
	vars, err := p.readAll(ctx)
	if err != nil {
		return err
	}
	if !changed(vars, changes) {
		return nil
	}
	argv := append(slices.Clone(p.set), "-s", "-")
	if err := p.run(ctx, argv, strings.NewReader(script), nil); err != nil {
		return fmt.Errorf("writing the boot environment: %w", err)
	}
	if vars, err = p.readAll(ctx); err != nil {
		return err
	}
	if changed(vars, changes) {
		return fmt.Errorf("%w: %s reported success", ErrReadBack, p.set[0])
	}
	return nil
}

// setScript is in the form that all such programs understand.
func setScript(changes Vars) (string, error) {
	var script strings.Builder
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		line := name + "=" + changes[name]
		if strings.ContainsAny(line, "\n\r") || len(line) > maxLine {
			return "", fmt.Errorf("boot variable %s: the value is too long or has a line break", name)
		}
		script.WriteString(line + "\n")
	}
	return script.String(), nil
}

func (p programs) run(ctx context.Context, argv []string, stdin *strings.Reader, stdout *limitedBuffer) error {
	var stderr proc.Tail
	c := proc.Command{Path: argv[0], Args: argv[1:], Stderr: &stderr, Timeout: programTimeout}
	if stdin != nil {
		c.Stdin = stdin
	}
	if stdout != nil {
		c.Stdout = stdout
	}
	err := proc.Run(ctx, c)
	if err == nil {
		return nil
	}
	if said := strings.TrimSpace(stderr.String()); said != "" {
		return fmt.Errorf("%s: %w: %s", argv[0], err, said)
	}
	return fmt.Errorf("%s: %w", argv[0], err)
}

func (p programs) Inspect(ctx context.Context) (Report, error) {
	r := Report{Kind: "programs", Source: strings.Join(p.print, " ") + ", " + strings.Join(p.set, " ")}
	vars, err := p.readAll(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return r, err
		}
		r.Warnings = append(r.Warnings, err.Error())
		return r, nil
	}
	if _, err := parseSelection(vars); err != nil {
		r.Warnings = append(r.Warnings, err.Error())
	}
	return r, nil
}

// limitedBuffer takes no more than its room, so that a program cannot fill the memory. When it is
// full, it has the program stopped.
type limitedBuffer struct {
	text bytes.Buffer // not embedded: its ReadFrom would know no limit
	room int
	full func(error)
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > b.room {
		err := errors.New("it prints too much")
		b.full(err)
		return 0, err
	}
	return b.text.Write(p)
}
