package storytest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"flipside/bootenv/bootsim"
	"flipside/internal/disk"
	"flipside/internal/hosttest"
)

func cmdNeedsRoot(ts *testscript.TestScript, _ []string) {
	hosttest.NeedRoot(storyOf(ts).test, "mounts")
}

// tool runs a program of the system, and returns what it prints.
func tool(ts *testscript.TestScript, name string, args ...string) string {
	packages := map[string]string{"mke2fs": "e2fsprogs", "losetup": "mount", "mount": "mount", "umount": "mount"}
	if _, err := exec.LookPath(name); err != nil {
		ts.Fatalf("%s is missing: install the package %s", name, packages[name])
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		ts.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func loopOn(ts *testscript.TestScript, file string) (device string) {
	device = tool(ts, "losetup", "--find", "--show", file)
	ts.Defer(func() { _ = exec.Command("losetup", "--detach", device).Run() })
	return device
}

func cmdLoop(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "loop VAR FILE")
	ts.Setenv(args[0], loopOn(ts, ts.MkAbs(args[1])))
}

// mountAt mounts at dir until the story ends, with everything below it.
func mountAt(ts *testscript.TestScript, dir string, args ...string) {
	tool(ts, "mount", append(args, dir)...)
	ts.Defer(func() { _ = exec.Command("umount", "--recursive", "--lazy", dir).Run() })
}

func cmdMount(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "mount ARGS... DIR")
	last := len(args) - 1
	mountAt(ts, ts.MkAbs(args[last]), args[:last]...)
}

// machine is a device with real block devices, mounts and a root of its own; only its power button
// and its bootloader are simulated. In its directory are
//
//	dev/      mmcblk0p2, mmcblk0p3 and the boot environment: files behind loop devices
//	data/     the data partition, /var/lib/mender
//	root/     where the running slot is mounted: chroot DIR/root /bin/flipside ...
//	run/root  a link that names the running slot
type machine struct {
	Dir, Bootloader string
	Loops           map[int]string // by partition
	Env             string         // loop device of U-Boot's environment
}

// rootTree makes the tree of a root filesystem with flipside in it.
func (m machine) rootTree(ts *testscript.TestScript, dir, release string) {
	for _, d := range []string{"bin", "etc/mender", "proc", "sys", "dev", "run", "tmp", "boot/efi/grub-mender-grubenv", "var/lib/mender", "usr/share/mender/modules/v3"} {
		ts.Check(os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	files := map[string]string{
		"etc/mender/artifact_info": "artifact_name=" + release + "\n",
		"etc/mender/mender.conf":   `{"RootfsPartA": "/var/lib/mender/parts/rootfs2", "RootfsPartB": "/var/lib/mender/parts/rootfs3"}`,
	}
	if m.Bootloader == "uboot" {
		files["etc/fw_env.config"] = "/var/lib/mender/parts/env 0x0 0x4000\n/var/lib/mender/parts/env 0x4000 0x4000\n"
	}
	for name, content := range files {
		ts.Check(os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	program, err := storyOf(ts).program()
	ts.Check(err)
	data, err := os.ReadFile(program)
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, "bin/flipside"), data, 0o755))
}

const rootfsSize = 16 << 20

// cmdMachine makes DIR a machine that runs release-1 from partition 2, and DIR/release-2.ext4 the
// next root filesystem for it.
func cmdMachine(ts *testscript.TestScript, args []string) {
	need(ts, args, 2, "machine DIR uboot|grub")
	m := machine{Dir: ts.MkAbs(args[0]), Bootloader: args[1], Loops: map[int]string{}}
	for _, d := range []string{"dev", "data/parts", "root", "run"} {
		ts.Check(os.MkdirAll(filepath.Join(m.Dir, d), 0o755))
	}
	for release, image := range map[string]string{"release-1": "dev/mmcblk0p2", "release-2": "release-2.ext4"} {
		tree := filepath.Join(m.Dir, "tree")
		m.rootTree(ts, tree, release)
		tool(ts, "mke2fs", "-q", "-t", "ext4", "-d", tree, filepath.Join(m.Dir, image), strconv.Itoa(rootfsSize/1024))
		ts.Check(os.RemoveAll(tree))
	}
	ts.Check(os.WriteFile(filepath.Join(m.Dir, "dev/mmcblk0p3"), nil, 0o644))
	ts.Check(os.Truncate(filepath.Join(m.Dir, "dev/mmcblk0p3"), rootfsSize))
	for part := 2; part <= 3; part++ {
		m.Loops[part] = loopOn(ts, fmt.Sprintf("%s/dev/mmcblk0p%d", m.Dir, part))
		ts.Check(os.Symlink(m.Loops[part], fmt.Sprintf("%s/data/parts/rootfs%d", m.Dir, part)))
	}
	ts.Check(os.WriteFile(filepath.Join(m.Dir, "data/device_type"), []byte("device_type=sandbox\n"), 0o644))
	m.makeEnv(ts)
	storyOf(ts).machines[args[0]] = m
	ts.Defer(func() { _ = exec.Command("umount", "--recursive", "--lazy", filepath.Join(m.Dir, "root")).Run() })
	m.powerOn(ts, false)
}

// makeEnv makes a boot environment as a factory leaves it: U-Boot's is empty, GRUB's is not.
func (m *machine) makeEnv(ts *testscript.TestScript) {
	if m.Bootloader == "uboot" {
		env := filepath.Join(m.Dir, "dev/env")
		ts.Check(os.WriteFile(env, make([]byte, 0x8000), 0o644))
		m.Env = loopOn(ts, env)
		ts.Check(os.Symlink(m.Env, filepath.Join(m.Dir, "data/parts/env")))
		config := fmt.Sprintf("%[1]s 0x0 0x4000\n%[1]s 0x4000 0x4000\n", m.Env)
		ts.Check(os.WriteFile(filepath.Join(m.Dir, "fw_env.config"), []byte(config), 0o644))
		return
	}
	for _, name := range []string{"mender_grubenv1", "mender_grubenv2"} {
		dir := filepath.Join(m.Dir, "dev/grub-mender-grubenv", name)
		ts.Check(os.MkdirAll(dir, 0o755))
		for file, vars := range map[string]string{
			"env":  "mender_boot_part=2\nmender_boot_part_hex=2\nupgrade_available=0\nbootcount=0\nmender_systemd_machine_id=\n",
			"lock": "editing=0\n",
		} {
			block := "# GRUB Environment Block\n" + vars
			block += strings.Repeat("#", 1024-len(block))
			ts.Check(os.WriteFile(filepath.Join(dir, file), []byte(block), 0o644))
			if file == "lock" {
				sum := fmt.Sprintf("%x  lock\n", sha256.Sum256([]byte(block)))
				ts.Check(os.WriteFile(filepath.Join(dir, "lock.sha256sum"), []byte(sum), 0o644))
			}
		}
	}
}

func cmdPowerOn(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "power-on DIR [fail]")
	m, ok := storyOf(ts).machines[args[0]]
	if !ok {
		ts.Fatalf("%s is no machine", args[0])
	}
	m.powerOn(ts, len(args) > 1 && args[1] == "fail")
}

// powerOn boots: the bootloader selects a slot, and it becomes root. With fail, what is selected
// first does not come up.
func (m machine) powerOn(ts *testscript.TestScript, fail bool) {
	root := filepath.Join(m.Dir, "root")
	if err := exec.Command("mountpoint", "-q", root).Run(); err == nil {
		tool(ts, "umount", "--recursive", root)
	}
	tried := 0
	comesUp := func(part int) bool {
		if tried == 0 {
			tried = part
		}
		return !fail || part != tried
	}
	var part int
	var log []string
	var err error
	switch m.Bootloader {
	case "uboot":
		part, log, err = bootsim.UBoot{Config: filepath.Join(m.Dir, "fw_env.config"), PartA: 2, PartB: 3}.Boot(context.Background(), disk.OS{}, comesUp)
	default:
		part, log, err = bootsim.GRUB{Dir: filepath.Join(m.Dir, "dev/grub-mender-grubenv"), PartA: 2, PartB: 3}.Boot(context.Background(), disk.OS{}, comesUp)
	}
	ts.Logf("%s", strings.Join(log, "\n"))
	ts.Check(err)
	_ = os.Remove(filepath.Join(m.Dir, "run/root"))
	ts.Check(os.Symlink(fmt.Sprintf("../dev/mmcblk0p%d", part), filepath.Join(m.Dir, "run/root")))
	bootID := filepath.Join(m.Dir, "run/boot_id")
	ts.Check(os.WriteFile(bootID, fmt.Appendf(nil, "%x\n", rand.Uint64()), 0o644))

	tool(ts, "mount", "-o", "ro", m.Loops[part], root)
	tool(ts, "mount", "--make-private", root)
	tool(ts, "mount", "-t", "proc", "proc", root+"/proc")
	tool(ts, "mount", "-t", "sysfs", "sysfs", root+"/sys")
	tool(ts, "mount", "-t", "tmpfs", "tmpfs", root+"/run")
	tool(ts, "mount", "--bind", "/dev", root+"/dev")
	tool(ts, "mount", "--bind", filepath.Join(m.Dir, "data"), root+"/var/lib/mender")
	tool(ts, "mount", "--bind", bootID, root+"/proc/sys/kernel/random/boot_id")
	if m.Bootloader == "grub" {
		tool(ts, "mount", "--bind", filepath.Join(m.Dir, "dev/grub-mender-grubenv"), root+"/boot/efi/grub-mender-grubenv")
	}
}
