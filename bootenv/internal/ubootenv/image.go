// Package ubootenv is the stored form of a U-Boot environment: the image of one copy, the choice
// between two copies, and fw_env.config, which says where they are. It reads and writes nothing.
//
// The image is a CRC-32 in the byte order of the CPU, in environments with two copies a flags
// byte, and "name=value" strings that end with a NUL each, the list with one more.
package ubootenv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"slices"
)

// What Decode says about a copy that the bootloader does not take either.
var (
	ErrChecksum  = errors.New("its checksum is wrong")
	ErrNever     = errors.New("it was never written")
	ErrByteOrder = errors.New("its checksum has the byte order of another kind of CPU")
	ErrOneCopy   = errors.New("it belongs to an environment with one copy, not two")
	ErrTwoCopies = errors.New("it belongs to an environment with two copies, not one")
)

const crcSize = 4

// FlagsPos is where the flags byte is in a copy of two. The checksum does not cover it.
const FlagsPos = 4

// Image is the content of one copy.
type Image struct {
	// Flags says which of two copies is the current one. 0 if there is only one.
	Flags byte
	// Entries are the stored strings byte for byte and in order, also those that are no variables.
	Entries []string
	// Unterminated: the NUL after the last entry is missing. U-Boot takes it, libubootenv does not.
	Unterminated bool
}

func headerSize(redundant bool) int {
	if redundant {
		return crcSize + 1
	}
	return crcSize
}

// Decode parses a copy. The size of the environment is the size of data; redundant says that the
// environment has two copies, and so a flags byte.
func Decode(data []byte, redundant bool) (Image, error) {
	header := headerSize(redundant)
	if len(data) <= header {
		return Image{}, fmt.Errorf("%d bytes are no environment", len(data))
	}
	if err := check(data, redundant); err != nil {
		return Image{}, err
	}
	var im Image
	if redundant {
		im.Flags = data[FlagsPos]
	}
	im.Entries, im.Unterminated = split(data[header:])
	return im, nil
}

// check tells a damaged copy from one that only looks so because the configuration is wrong.
func check(data []byte, redundant bool) error {
	sum := binary.NativeEndian.Uint32(data)
	actual := crc32.ChecksumIEEE(data[headerSize(redundant):])
	switch {
	case sum == actual:
		return nil
	case bits.ReverseBytes32(sum) == actual:
		return ErrByteOrder
	case uniform(data):
		return ErrNever
	case sum == crc32.ChecksumIEEE(data[headerSize(!redundant):]):
		if redundant {
			return ErrOneCopy
		}
		return ErrTwoCopies
	}
	return ErrChecksum
}

// uniform: all 0x00 (a new eMMC) or all 0xFF (erased flash).
func uniform(data []byte) bool {
	return (data[0] == 0 || data[0] == 0xFF) && bytes.Count(data, data[:1]) == len(data)
}

func split(area []byte) (entries []string, unterminated bool) {
	for len(area) > 0 && area[0] != 0 {
		entry, rest, found := bytes.Cut(area, []byte{0})
		entries = append(entries, string(entry))
		area, unterminated = rest, !found || len(rest) == 0
	}
	return entries, unterminated
}

// Encode makes the image of a copy of size bytes. Its error means that the entries do not fit. The
// padding is zero, so that equal environments have equal images and no memory content gets out.
func (im Image) Encode(size int, redundant bool) ([]byte, error) {
	header := headerSize(redundant)
	need := header + 1 // the NUL that ends the list: without its room libubootenv cannot read it
	for _, e := range im.Entries {
		need += len(e) + 1
	}
	if need > size {
		return nil, fmt.Errorf("%d bytes are needed, the environment has %d", need, size)
	}
	data := make([]byte, header, size)
	for _, e := range im.Entries {
		data = append(append(data, e...), 0)
	}
	data = data[:size]
	if redundant {
		data[FlagsPos] = im.Flags
	}
	binary.NativeEndian.PutUint32(data, crc32.ChecksumIEEE(data[header:]))
	return data, nil
}

// Obsolete is the image data with the flags byte of an obsolete copy on NOR flash.
func Obsolete(data []byte) []byte {
	data = slices.Clone(data)
	data[FlagsPos] = FlagObsolete
	return data
}
