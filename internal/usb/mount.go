package usb

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"flipside/internal/disk"
)

// drivers are the kernel's names for a type of file system, the best first. The kernel loads a module
// by itself if there is one.
func drivers(kind string) []string {
	switch kind {
	case "ext":
		return []string{"ext4", "ext3", "ext2"}
	case "ntfs":
		return []string{"ntfs3", "ntfs"}
	}
	return []string{kind}
}

// UnsupportedError is a file system that this kernel does not have.
type UnsupportedError struct{ Type string }

func (e *UnsupportedError) Error() string { return "the kernel of this device has no " + e.Type }

// Mount makes a volume readable: read-only, without devices, programs and privileges on it. Nobody
// else sees the mount; it ends when the Root and all files opened below it are closed, or when the
// process ends in whatever way. A volume that is mounted already is read where it is.
func Mount(v Volume) (*os.Root, error) {
	if v.Err != nil {
		return nil, v.Err
	}
	if v.mounted != "" {
		root, err := os.OpenRoot(v.mounted)
		return root, disk.Cause(err)
	}
	device, err := v.open()
	if err != nil {
		return nil, err
	}
	defer device.Close()
	// The node itself, whatever its name may come to mean.
	node := fmt.Sprintf("/proc/self/fd/%d", device.Fd())
	for _, driver := range drivers(v.Type) {
		root, err := mountDetached(driver, node)
		if errors.Is(err, unix.ENOSYS) { // a kernel before 5.2
			root, err = mountAside(driver, node)
		}
		if !errors.Is(err, unix.ENODEV) {
			return root, err
		}
	}
	return nil, &UnsupportedError{drivers(v.Type)[0]}
}

// mountDetached makes a mount that is nowhere but in a descriptor (fsopen and fsmount, Linux 5.2).
func mountDetached(driver, device string) (*os.Root, error) {
	config, err := unix.Fsopen(driver, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(config)
	if err := unix.FsconfigSetString(config, "source", device); err != nil {
		return nil, err
	}
	if err := unix.FsconfigSetFlag(config, "ro"); err != nil {
		return nil, err
	}
	if err := unix.FsconfigCreate(config); err != nil {
		return nil, err
	}
	const attributes = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	mount, err := unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, err
	}
	defer unix.Close(mount) // the Root keeps it
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", mount))
	return root, disk.Cause(err)
}

// mountAside mounts in a namespace that a thread of its own has for a moment. The mount point can be
// any directory: nobody sees what it hides. The thread must not be used for anything after that: it
// ends with its goroutine, because it is never unlocked.
func mountAside(driver, device string) (root *os.Root, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread never ends, and /proc/self is about it. While we hold it, another
			// goroutine gets another thread.
			defer runtime.UnlockOSThread()
			root, err = mountAside(driver, device)
			return
		}
		root, err = mountHere(driver, device)
	}()
	<-done
	return root, err
}

func mountHere(driver, device string) (*os.Root, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, err
	}
	const point, flags = "/dev", unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount(device, point, driver, flags, ""); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(point)
	return root, errors.Join(disk.Cause(err), unix.Unmount(point, unix.MNT_DETACH))
}
