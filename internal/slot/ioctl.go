package slot

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctlInt64 is an ioctl that takes a pointer to a 64-bit number.
func ioctlInt64(fd uintptr, request uint, value int64) error {
	return ioctl(fd, request, unsafe.Pointer(&value))
}

// ioctlInt64s is an ioctl that takes a pointer to two 64-bit numbers.
func ioctlInt64s(fd uintptr, request uint, values [2]int64) error {
	return ioctl(fd, request, unsafe.Pointer(&values))
}

func ioctl(fd uintptr, request uint, argument unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uintptr(request), uintptr(argument))
	if errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}
