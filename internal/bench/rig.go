package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// rig is a device whose slots are loop devices on the disk to be measured.
type rig struct {
	options
	material
	loopA, loopB string
	sandbox      string
	self         string
	present      []peer
}

// beyond is how much larger than the image the slots are: a tar archive with the image has to fit.
const beyond = 4 << 20

func newRig(ctx context.Context, o options, m material) (_ *rig, err error) {
	r := &rig{options: o, material: m, sandbox: m.file("device")}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.self, err = os.Executable(); err != nil {
		return r, err
	}
	if r.loopA, err = r.loop(ctx, "slot-a", 16<<20); err != nil {
		return r, err
	}
	if r.loopB, err = r.loop(ctx, "slot-b", o.size+beyond); err != nil {
		return r, err
	}
	if err = r.device(ctx); err != nil {
		return r, err
	}
	if o.peers {
		err = r.preparePeers(ctx)
	}
	return r, err
}

// loop makes a loop device with a file that has all its room already.
func (r *rig) loop(ctx context.Context, name string, size int64) (string, error) {
	file := r.file(name)
	if err := output(exec.CommandContext(ctx, "fallocate", "-l", strconv.FormatInt(size, 10), file)); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "losetup", "-f", "--show", "--direct-io=on", file).Output()
	if err != nil {
		return "", fmt.Errorf("losetup: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// device is flipside's sandbox with the loop devices as slots.
func (r *rig) device(ctx context.Context) error {
	if err := os.RemoveAll(r.sandbox); err != nil {
		return err
	}
	if err := output(exec.CommandContext(ctx, r.flipside, "sandbox", "create", "--slot-size", "1", r.sandbox)); err != nil {
		return err
	}
	for name, loop := range map[string]string{"mmcblk0p2": r.loopA, "mmcblk0p3": r.loopB} {
		path := filepath.Join(r.sandbox, "dev", name)
		if err := errors.Join(os.Remove(path), os.Symlink(loop, path)); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) close() {
	for _, loop := range []string{r.loopA, r.loopB} {
		if loop == "" {
			continue
		}
		if err := output(exec.Command("losetup", "-d", loop)); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
}

// fill makes the slot hold what a case wants, on the medium.
func (r *rig) fill(ctx context.Context, target string) error {
	content := map[string]string{"fresh": r.noise, "identical": r.image, "changed": r.old}[target]
	if content == "" {
		return fmt.Errorf("no target %q: fresh, identical, changed", target)
	}
	return output(exec.CommandContext(ctx, r.self, "stage", "write", content, r.loopB))
}

// holds makes sure that a contender did its work.
func (r *rig) holds(ctx context.Context) error {
	return output(exec.CommandContext(ctx, "cmp", "-n", strconv.FormatInt(r.size, 10), r.image, r.loopB))
}

// cost is what one run took.
type cost struct {
	Wall    float64 `json:"wall_s"`
	CPU     float64 `json:"cpu_s"`
	RSS     float64 `json:"peak_rss_mib"` // of the largest process
	Written float64 `json:"written_mib"`  // to the slot
}

// run runs a command and says what it cost. The program time tells the peak memory: what the kernel
// counts for our own child begins with our own memory.
func (r *rig) run(c *exec.Cmd) (cost, error) {
	memory := r.file("memory")
	c.Args = append([]string{"time", "-o", memory, "-f", "%M", c.Path}, c.Args[1:]...)
	c.Path = "/usr/bin/time"
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	before := r.sectorsWritten()
	begin := time.Now()
	if err := c.Run(); err != nil {
		return cost{}, fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, out.String())
	}
	wall := time.Since(begin)
	kib, err := os.ReadFile(memory)
	if err != nil {
		return cost{}, err
	}
	peak, _ := strconv.ParseFloat(strings.TrimSpace(string(kib)), 64)
	return cost{
		Wall:    wall.Seconds(),
		CPU:     (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds(),
		RSS:     peak / 1024,
		Written: float64(r.sectorsWritten()-before) / 2048,
	}, nil
}

// sectorsWritten is the seventh number that the kernel counts for a block device.
func (r *rig) sectorsWritten() int64 {
	data, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(r.loopB), "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data))
	n, _ := strconv.ParseInt(fields[6], 10, 64)
	return n
}
