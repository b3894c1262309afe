package powerloss_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"flipside/artifact"
	"flipside/bootenv"
	"flipside/bootenv/bootsim"
	"flipside/commit"
	"flipside/install"
	"flipside/internal/deployment"
	"flipside/internal/device"
	"flipside/internal/disk"
	"flipside/internal/disk/faultdisk"
	"flipside/internal/progress"
	"flipside/internal/sandbox"
	"flipside/rollback"
)

const releases = 3

// Sizes of slots. Images are a little shorter.
const (
	smallSlot = 16 << 10       // for speed
	largeSlot = 1<<20 + 64<<10 // more than is written at once
)

func releaseName(i int) string { return fmt.Sprintf("release-%d", i) }

// image is different from every other one in every sector.
func image(name string, size int) []byte {
	line := []byte("this is " + name + " ")
	return bytes.Repeat(line, size/len(line)+1)[:size]
}

// rig is a sandbox device that is used again and again.
type rig struct {
	dir       string
	sandbox   sandbox.Sandbox
	payload   string // type
	slotSize  int
	imageSize int
	images    map[string][]byte // by release: what a slot holds, to its end
	artifacts map[string][]byte // by release
	torn      []byte            // a slot that holds none of the images
}

// newRig makes a device that runs release-1 and has never been updated.
func newRig(t *testing.T, payloadType string, slotSize int) *rig {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	dir := filepath.Join(faultdisk.TempDir(t), "device")
	s, err := sandbox.Create(t.Context(), dir, sandbox.Spec{
		SlotSize:  int64(slotSize),
		VerifyKey: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	})
	must(t, err)
	r := &rig{
		dir: s.Dir, sandbox: s, payload: payloadType, slotSize: slotSize, imageSize: slotSize - 3*512 - 100,
		images: map[string][]byte{}, artifacts: map[string][]byte{},
	}
	for i := 1; i <= releases; i++ {
		name := releaseName(i)
		r.images[name] = append(image(name, r.imageSize), make([]byte, slotSize-r.imageSize)...)
		r.artifacts[name] = r.artifact(t, name, key)
	}
	must(t, r.fillEnv(t.Context()))
	must(t, os.WriteFile(r.slot(partA), r.images[releaseName(1)], 0o644))
	must(t, os.WriteFile(r.path("app"), []byte(releaseName(1)+"\n"), 0o644))
	for _, module := range []string{"app", "app-forward"} {
		program, err := filepath.Abs(filepath.Join("testdata", module))
		must(t, err)
		must(t, os.Symlink(program, r.path("usr/share/mender/modules/v3/"+module)))
	}
	return r
}

// fillEnv makes the environment so long that the checksum of a copy and the variables that matter
// lie in different sectors, so that a copy can be torn.
func (r *rig) fillEnv(ctx context.Context) error {
	d, err := device.Open(r.options(disk.OS{}))
	if err != nil {
		return err
	}
	env, err := d.BootEnv()
	if err != nil {
		return err
	}
	filler := bootenv.Vars{}
	for _, name := range []string{"a", "c", "n"} { // between the others, which U-Boot sorts
		filler[name] = strings.Repeat(name, 700)
	}
	return env.Write(ctx, filler)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// artifact is a release as an artifact for the rig's payload type.
func (r *rig) artifact(t *testing.T, name string, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	file := artifact.FileBytes("app", []byte(name+"\n"))
	if r.payload == rootfs {
		file = artifact.FileBytes("rootfs.img", r.images[name][:r.imageSize])
	}
	spec := artifact.Spec{
		Name:        name,
		Depends:     artifact.Depends{artifact.KeyDeviceType: {"sandbox"}},
		Type:        r.payload,
		Files:       []artifact.FileSpec{file},
		Compression: artifact.None,
		Key:         key,
	}
	// The first release to be installed has no script; and images have none, so that no program is
	// started while another test is at work.
	if r.payload != rootfs && name != releaseName(2) {
		spec.Scripts = []artifact.Script{{Name: "ArtifactInstall_Enter_00_nothing", Content: []byte("#!/bin/true\n")}}
	}
	var b bytes.Buffer
	must(t, artifact.Write(&b, spec))
	return b.Bytes()
}

const rootfs = "rootfs-image"

// The partition numbers of the sandbox.
const (
	partA = 2
	partB = 3
)

func otherPart(part int) int { return partA + partB - part }

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }
func (r *rig) slot(part int) string    { return r.path(fmt.Sprintf("dev/mmcblk0p%d", part)) }

func (r *rig) options(fsys disk.FS) device.Options {
	o := r.sandbox.Options()
	o.FS, o.Sink = fsys, progress.Discard
	return o
}

// disk is the part of the device that has to survive.
func (r *rig) disk() (*faultdisk.FS, error) {
	return faultdisk.New(r.path("dev"), r.path("var/lib/mender"))
}

// cutPower stops what does not come by the disk: programs.
func (r *rig) cutPower() { _ = os.WriteFile(r.path("power-off"), nil, 0o600) }

func (r *rig) powerUp() error {
	if err := os.Remove(r.path("power-off")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// What can be done with the device.
const (
	doInstall  = "install"
	doCommit   = "commit"
	doRollback = "rollback"
	doResume   = "resume"
	doBoot     = "boot"
	doFailBoot = "boot that fails"
)

// do runs a command in a process of its own, in which changes go through fsys.
func (r *rig) do(ctx context.Context, action string, fsys disk.FS) (*deployment.Result, error) {
	switch action {
	case doBoot, doFailBoot:
		return nil, r.bootOn(ctx, fsys, action == doFailBoot)
	}
	for {
		result, err := r.command(ctx, action, fsys)
		var busy *deployment.BusyError
		if !errors.As(err, &busy) || busy.Holder == nil || ctx.Err() != nil {
			return result, err
		}
		// A program that another test is just starting has all our files open, for a moment, and
		// with them our lock.
		runtime.Gosched()
	}
}

func (r *rig) command(ctx context.Context, action string, fsys disk.FS) (*deployment.Result, error) {
	d, err := device.Open(r.options(fsys))
	if err != nil {
		return nil, err
	}
	switch action {
	case doInstall:
		file := r.artifacts[r.next(d.ArtifactName())]
		return install.Run(ctx, d, func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(file)), nil
		})
	case doCommit:
		return commit.Run(ctx, d)
	case doRollback:
		return rollback.Run(ctx, d)
	case doResume:
		return install.Resume(ctx, d)
	}
	return nil, fmt.Errorf("no such action: %s", action)
}

// next is the release after name, which may be marked as inconsistent.
func (r *rig) next(name string) string {
	for i := 1; i <= releases; i++ {
		if strings.HasPrefix(name, releaseName(i)) {
			return releaseName(i%releases + 1)
		}
	}
	return releaseName(1)
}

// boot resets the device and starts what the bootloader starts. If it fails, what is on trial does
// not come up.
func (r *rig) boot(ctx context.Context, fails bool) error {
	if err := r.powerUp(); err != nil {
		return err
	}
	if fails {
		return r.bootOn(ctx, disk.OS{}, true)
	}
	log, err := r.sandbox.Boot(ctx, false)
	if err != nil {
		return fmt.Errorf("%w: %w: %s", errNoBoot, err, strings.Join(log, "; "))
	}
	return nil
}

// bootOn is boot with a bootloader that saves its environment through fsys.
func (r *rig) bootOn(ctx context.Context, fsys disk.FS, fails bool) error {
	sel, err := r.selection(ctx)
	if err != nil {
		return err
	}
	u := bootsim.UBoot{Config: r.path("etc/fw_env.config"), PartA: partA, PartB: partB}
	part, log, err := u.Boot(ctx, fsys, func(part int) bool { return !fails || part != sel.Part })
	if err != nil {
		return fmt.Errorf("%w: %w: %s", errNoBoot, err, strings.Join(log, "; "))
	}
	return r.start(part)
}

// start makes part what runs.
func (r *rig) start(part int) error {
	root := r.path("run/root")
	if err := os.Remove(root); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join("..", "dev", filepath.Base(r.slot(part))), root); err != nil {
		return err
	}
	return os.WriteFile(r.path("run/boot_id"), []byte(rand.Text()), 0o644)
}

// selection is what the bootloader will do.
func (r *rig) selection(ctx context.Context) (bootenv.Selection, error) {
	d, err := device.Open(r.options(disk.OS{}))
	if err != nil {
		return bootenv.Selection{}, err
	}
	env, err := d.BootEnv()
	if err != nil {
		return bootenv.Selection{}, err
	}
	return bootenv.ReadSelection(ctx, env)
}

// holds is the release that is complete in a slot, or "".
func (r *rig) holds(part int) (string, error) {
	data, err := os.ReadFile(r.slot(part))
	if err != nil {
		return "", err
	}
	return r.identify(data), nil
}

func (r *rig) identify(data []byte) string {
	for name, image := range r.images {
		if bytes.HasPrefix(data, image[:r.imageSize]) {
			return name
		}
	}
	return ""
}

// running is the slot that runs.
func (r *rig) running() (int, error) {
	link, err := os.Readlink(r.path("run/root"))
	if err != nil {
		return 0, err
	}
	if filepath.Base(link) == filepath.Base(r.slot(partA)) {
		return partA, nil
	}
	return partB, nil
}
