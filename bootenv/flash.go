package bootenv

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"flipside/internal/disk"
)

// flash is what raw flash needs besides reading and writing: the ioctls of the kernel's character
// devices for MTD chips and UBI volumes. Tests have a chip of their own.
type flash interface {
	// Chip describes an MTD device.
	Chip(f disk.File) (chip, error)
	// Bad says whether the erase block at an offset is marked bad (NAND).
	Bad(f disk.File, at int64) (bool, error)
	// Erase erases whole erase blocks.
	Erase(f disk.File, at, length int64) error
	// Locked, Lock and Unlock are about write protection; many chips have none and say so.
	Locked(f disk.File, at, length int64) (bool, error)
	Lock(f disk.File, at, length int64) error
	Unlock(f disk.File, at, length int64) error
	// StartUpdate begins to replace the content of a UBI volume by the next bytes written. Until
	// all have come, the volume has no content.
	StartUpdate(f disk.File, bytes int64) error
}

// chipType is the kernel's number for a kind of MTD device.
type chipType uint8

// The kinds that U-Boot keeps an environment on.
const (
	chipNOR       chipType = 3
	chipNAND      chipType = 4
	chipDataFlash chipType = 6
	chipMLCNAND   chipType = 8
)

// chip describes an MTD device. Sizes are in bytes.
type chip struct {
	Type      chipType
	Size      int64
	EraseSize int64
	WriteSize int64 // what can be programmed at once: a page on NAND, 1 on NOR
}

// kernelFlash is the real thing. The request numbers differ between architectures; package unix
// has those of each.
type kernelFlash struct{}

func (kernelFlash) Chip(f disk.File) (chip, error) {
	var info unix.MtdInfo
	if err := ioctl(f, unix.MEMGETINFO, unsafe.Pointer(&info)); err != nil {
		return chip{}, err
	}
	return chip{
		Type:      chipType(info.Type),
		Size:      int64(info.Size),
		EraseSize: int64(info.Erasesize),
		WriteSize: int64(info.Writesize),
	}, nil
}

func (kernelFlash) Bad(f disk.File, at int64) (bool, error) {
	// The result is in the return value, which package unix has no function for.
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.MEMGETBADBLOCK, uintptr(unsafe.Pointer(&at)))
	switch {
	case errno == unix.EOPNOTSUPP:
		return false, nil
	case errno != 0:
		return false, errno
	}
	return r != 0, nil
}

func (kernelFlash) Erase(f disk.File, at, length int64) error {
	block := unix.EraseInfo64{Start: uint64(at), Length: uint64(length)}
	return ioctl(f, unix.MEMERASE64, unsafe.Pointer(&block))
}

func (kernelFlash) Locked(f disk.File, at, length int64) (bool, error) {
	block, err := eraseInfo(at, length)
	if err != nil {
		return false, err
	}
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.MEMISLOCKED, uintptr(unsafe.Pointer(&block)))
	if errno != 0 {
		return false, errno
	}
	return r != 0, nil
}

func (kernelFlash) Lock(f disk.File, at, length int64) error {
	block, err := eraseInfo(at, length)
	if err != nil {
		return err
	}
	return ioctl(f, unix.MEMLOCK, unsafe.Pointer(&block))
}

func (kernelFlash) Unlock(f disk.File, at, length int64) error {
	block, err := eraseInfo(at, length)
	if err != nil {
		return err
	}
	return ioctl(f, unix.MEMUNLOCK, unsafe.Pointer(&block))
}

// eraseInfo is for the requests that exist with 32 bits only.
func eraseInfo(at, length int64) (unix.EraseInfo, error) {
	if at != int64(uint32(at)) || length != int64(uint32(length)) {
		return unix.EraseInfo{}, errors.ErrUnsupported
	}
	return unix.EraseInfo{Start: uint32(at), Length: uint32(length)}, nil
}

func (kernelFlash) StartUpdate(f disk.File, bytes int64) error {
	return ioctl(f, unix.UBI_IOCVOLUP, unsafe.Pointer(&bytes))
}

func ioctl(f disk.File, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
