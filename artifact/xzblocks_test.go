package artifact_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"flipside/artifact"
	"flipside/internal/hosttest"
)

// processors makes the rest of a test, or of a fuzz target's run, have n of them. With more than one,
// blocks of xz that state their sizes are unpacked at the same time.
func processors(t testing.TB, n int) {
	before := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

func incompressible(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return string(b)
}

// counting counts what is read.
type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += n
	return n, err
}

// TestBlocksAhead: by the time when the first bytes come out, a second block was read, if there is a
// second processor, and if the block says how large it is.
func TestBlocksAhead(t *testing.T) {
	hosttest.Tool(t, "xz-utils", "xz")
	const size = 8 << 20
	p := newPlan()
	packed := func(mib int, options string) []byte {
		p.files = []member{{name: "big", content: incompressible(mib << 20)}}
		p.packed = func(s string) string { return pipe(t, s, "xz", "-0c", "--block-size=8MiB", options) }
		return p.bytes()
	}
	sizes, noSizes := packed(26, "-T2"), packed(9, "-T1")
	for name, c := range map[string]struct {
		file       []byte
		processors int
		blocks     int
	}{
		"two processors":   {sizes, 2, 2},
		"three processors": {sizes, 3, 3},
		"one processor":    {sizes, 1, 0},
		"no sizes":         {noSizes, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			processors(t, c.processors)
			src := &counting{Reader: bytes.NewReader(c.file)}
			// Without blocks being read ahead it is what the pipeline takes, about 4 MiB.
			want := min(c.blocks, runtime.NumCPU())
			r, _, _ := openFile(t, src)
			if err := r.Close(); err != nil || src.n/size != want {
				t.Errorf("%d bytes were read: %d blocks; want %d", src.n, src.n/size, want)
			}
		})
	}
}

// TestBlocksMemory: blocks take as much memory as the largest dictionary, or else only their own.
func TestBlocksMemory(t *testing.T) {
	hosttest.Tool(t, "xz-utils", "xz")
	processors(t, 2)
	p := newPlan()
	p.files = []member{{name: "zeros", content: strings.Repeat("\x00", 80<<20)}}
	for size, limit := range map[string]uint64{"20MiB": 76 << 20, "33MiB": 12 << 20} {
		p.packed = func(s string) string { return pipe(t, s, "xz", "-0c", "-T2", "--block-size="+size) }
		b := p.bytes()
		var err error
		if got := allocated(func() { _, err = artifact.Verify(bytes.NewReader(b), nil) }); err != nil || got > limit {
			t.Errorf("blocks of %s: %d bytes allocated, at most %d expected; %v", size, got, limit, err)
		}
	}
}

// TestBlocksAlike: what is damaged, cut or lies about itself is refused in the same words, after the
// same bytes, however many blocks are unpacked at the same time.
func TestBlocksAlike(t *testing.T) {
	hosttest.Tool(t, "xz-utils", "xz")
	p := newPlan()
	p.files = []member{{name: "big", content: incompressible(150 << 10)}}
	for _, check := range []string{"none", "crc32", "crc64", "sha256"} {
		xz := pipe(t, tarred(p.files), "xz", "-0c", "-T2", "--block-size=32KiB", "-C", check)
		two := xz + pipe(t, strings.Repeat("\x00", 100<<10), "xz", "-0c", "-T2", "--block-size=32KiB", "-C", check)
		alike(t, check, p, xz)
		alike(t, check+", two streams", p, two)
		index := len(xz) - 12 - int(binary.LittleEndian.Uint32([]byte(xz[len(xz)-8:]))+1)*4
		for _, i := range []int{6, 12, 13, 14, 16, 20, 24, 40, 32 << 10, 33 << 10, 65 << 10, index - 40, index - 5, index - 1, index, index + 1, index + 3, len(xz) - 12, len(xz) - 5, len(xz) - 1} {
			alike(t, fmt.Sprintf("%s, byte %d is damaged", check, i), p, xz[:i]+string([]byte{xz[i] ^ 0x21})+xz[i+1:])
			alike(t, fmt.Sprintf("%s, cut at %d", check, i), p, xz[:i])
			alike(t, fmt.Sprintf("%s, %d twice", check, i), p, xz[:i]+xz)
		}
		for size := range uint64(3) { // the first block's sizes, one off
			alike(t, fmt.Sprintf("%s, size %d is wrong", check, size), p, withSizes(xz, size&1, size>>1))
		}
	}
}

// alike reads the packed payload with one processor and with four.
func alike(t *testing.T, name string, p *plan, packed string) {
	t.Helper()
	p.outer = func(m []member) []member { m[3].content = packed; return m }
	b := p.bytes()
	read := func(n int) (contents, error) {
		before := runtime.GOMAXPROCS(n)
		defer runtime.GOMAXPROCS(before)
		_, got, err := readAll(bytes.NewReader(b))
		return got, err
	}
	one, oneErr := read(1)
	four, fourErr := read(4)
	if fmt.Sprint(oneErr) != fmt.Sprint(fourErr) {
		t.Errorf("%s: with four processors %v; with one %v", name, fourErr, oneErr)
	}
	if !maps.Equal(one, four) {
		t.Errorf("%s: with four processors %d bytes; with one %d", name, len(four["big"]), len(one["big"]))
	}
}

// withSizes adds to the sizes that the first block of an xz file states.
func withSizes(xz string, packed, unpacked uint64) string {
	b := []byte(xz)
	block := b[12:]
	block = block[:(int(block[0])+1)*4]
	packed0, n := binary.Uvarint(block[2:])
	unpacked0, m := binary.Uvarint(block[2+n:])
	binary.PutUvarint(block[2:], packed0+packed)
	binary.PutUvarint(block[2+n:2+n+m], unpacked0-unpacked)
	binary.LittleEndian.PutUint32(block[len(block)-4:], crc32.ChecksumIEEE(block[:len(block)-4]))
	return string(b)
}

// FuzzBlocks reads anything as a packed payload, with one processor and with four.
func FuzzBlocks(f *testing.F) {
	hosttest.Tool(f, "xz-utils", "xz")
	p := newPlan()
	for _, block := range []string{"512", "1KiB", "1MiB"} {
		f.Add([]byte(pipe(f, tarred(p.files), "xz", "-0c", "-T2", "--block-size="+block)))
	}
	f.Fuzz(func(t *testing.T, packed []byte) { alike(t, "fuzzed", newPlan(), string(packed)) })
}
