package slot

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctlInt64 is an ioctl that takes a pointer to a 64-bit number.
func ioctlInt64(fd uintptr, request uint, value int64) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uintptr(request), uintptr(unsafe.Pointer(&value)))
	if errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}
