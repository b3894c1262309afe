package artifact_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"flipside/artifact"
)

// zstdMaker writes frames of zstd in all the ways that there are, by chance.
type zstdMaker struct {
	*rand.Rand
	out []byte
}

// frames packs content into frames, with some to be skipped between them.
func (z *zstdMaker) frames(content string) string {
	z.out = nil
	for first := true; first || len(content) > 0; first = false {
		if z.IntN(4) == 0 {
			skipped := z.IntN(300)
			z.out = binary.LittleEndian.AppendUint32(z.out, 0x184d2a50+uint32(z.IntN(16)))
			z.out = binary.LittleEndian.AppendUint32(z.out, uint32(skipped))
			z.out = append(z.out, make([]byte, skipped)...)
		}
		n := len(content)
		if z.IntN(3) > 0 {
			n = z.IntN(n + 1)
		}
		z.frame(content[:n])
		content = content[n:]
	}
	return string(z.out)
}

func (z *zstdMaker) frame(content string) {
	flags := byte(0) // no checksum, which the frames of real zstd have
	var size []byte
	switch n := uint64(len(content)); {
	case z.IntN(2) == 0: // a window of 128 KiB, and no size
		size = []byte{7 << 3}
	case n < 256:
		flags, size = flags|0x20, []byte{byte(n)}
	case n < 65536+256 && z.IntN(2) == 0:
		flags, size = flags|0x60, binary.LittleEndian.AppendUint16(nil, uint16(n-256))
	case z.IntN(2) == 0:
		flags, size = flags|0xa0, binary.LittleEndian.AppendUint32(nil, uint32(n))
	default: // a window as well
		flags, size = flags|0xc0, binary.LittleEndian.AppendUint64([]byte{7 << 3}, n)
	}
	z.out = append(binary.LittleEndian.AppendUint32(z.out, 0xfd2fb528), flags)
	z.out = append(z.out, size...)
	for last := false; !last; {
		n := min(1+z.IntN(128<<10), len(content))
		if z.IntN(50) == 0 {
			n = 0
		}
		last = n == len(content)
		z.block(content[:n], last)
		content = content[n:]
	}
}

func (z *zstdMaker) block(content string, last bool) {
	header := uint32(len(content)) << 3
	if last {
		header |= 1
	}
	body := content
	if content != "" && strings.Count(content, content[:1]) == len(content) {
		header |= 1 << 1
		body = content[:1]
	}
	z.out = append(z.out, byte(header), byte(header>>8), byte(header>>16))
	z.out = append(z.out, body...)
}

// TestZstdZeros: zeros are zeros wherever they stand, and nothing else is.
func TestZstdZeros(t *testing.T) {
	p := newPlan()
	p.files[0].content = strings.Repeat("\x00", 300000) + incompressible(5000) + strings.Repeat("x", 200000) + strings.Repeat("\x00", 500)
	for seed := range uint64(100) {
		z := &zstdMaker{Rand: rand.New(rand.NewPCG(seed, 0))}
		p.packed = z.frames
		_, got, err := readAll(bytes.NewReader(p.bytes()))
		if err != nil || got["one"] != p.files[0].content || got["two"] != p.files[1].content {
			t.Errorf("seed %d: %d and %d bytes, %v", seed, len(got["one"]), len(got["two"]), err)
		}
	}
}

// TestZstdZerosCut: what ends anywhere before its end is refused, and so is a block of zeros that is
// larger than blocks may be.
func TestZstdZerosCut(t *testing.T) {
	p := newPlan()
	p.files[0].content = strings.Repeat("\x00", 1000)
	whole := ""
	p.packed = func(s string) string {
		whole = (&zstdMaker{Rand: rand.New(rand.NewPCG(7, 0))}).frames(s)
		return whole
	}
	p.bytes()
	refuse := func(what string, packed string) {
		p.outer = func(m []member) []member { m[3].content = packed; return m }
		if _, _, err := readAll(bytes.NewReader(p.bytes())); !errors.Is(err, artifact.ErrRefused) {
			t.Errorf("%s: %v; want a refusal", what, err)
		}
	}
	for n := 0; n < len(whole); n += 5 {
		refuse("cut", whole[:n])
	}
	refuse("large", "\x28\xb5\x2f\xfd\x00\x38"+"\x03\x00\x80"+"\x00")
}
