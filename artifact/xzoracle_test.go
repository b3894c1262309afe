package artifact

// These tests stand inside the package because its LZMA2 decoder is compared byte by byte, without the
// checksums around it that would refuse nearly everything that a fuzzer makes.

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
	oracle "github.com/ulikunitz/xz/lzma"

	"flipside/internal/hosttest"
)

// maxOracle is how much is unpacked of what a fuzzer makes: a few bytes may say that they are megabytes.
const maxOracle = 8 << 20

// FuzzLZMA2 reads anything as LZMA2, and compares with what ulikunitz/xz finds there.
func FuzzLZMA2(f *testing.F) {
	program := hosttest.Tool(f, "xz-utils", "xz")
	for _, content := range oracleContents() {
		for _, p := range []oracle.Properties{{LC: 3, LP: 0, PB: 2}, {LC: 0, LP: 4, PB: 0}, {LC: 1, LP: 2, PB: 4}} {
			var b bytes.Buffer
			w, err := oracle.Writer2Config{Properties: &p, DictCap: 8 << 10}.NewWriter2(&b)
			if err == nil {
				_, err = io.WriteString(w, content)
			}
			if err == nil {
				err = w.Close()
			}
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b.Bytes(), uint16(4<<10))
			// Behind a chunk that is not packed, one that goes on with the state, or with the properties, that
			// there are not, and one that states them.
			const plain = "\x01\x00\x00a"
			for _, control := range []byte{0x80, 0xa0, 0xc0} {
				if first := b.Bytes(); first[0] >= 0xe0 {
					next := append([]byte{control | first[0]&0x1f}, first[1:5]...)
					if control == 0xc0 {
						next = append(next, first[5])
					}
					f.Add(slices.Concat([]byte(plain), next, first[6:]), uint16(0))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, packed []byte, more uint16) {
		size := minXZDict + int(more)
		var l lzma2
		l.restart(bytes.NewReader(packed), size)
		ours, err := io.ReadAll(io.LimitReader(&l, maxOracle))
		theirs, theirErr := oracleLZMA2(packed, size)
		if agree := (err == nil) == (theirErr == nil) && (err != nil || bytes.Equal(ours, theirs)); agree {
			return
		}
		// The oracle does not look whether a chunk was used up. Where we differ, xz decides.
		judge := exec.CommandContext(t.Context(), program, "--format=raw", fmt.Sprintf("--lzma2=dict=%d", size), "-dc")
		judge.Stdin = bytes.NewReader(packed)
		real, xzErr := judge.Output()
		if (err == nil) != (xzErr == nil) || err == nil && !bytes.Equal(ours, real) {
			t.Errorf("%d bytes, %v; the oracle: %d bytes, %v; xz: %d bytes, %v", len(ours), err, len(theirs), theirErr, len(real), xzErr)
		}
	})
}

func oracleLZMA2(packed []byte, size int) ([]byte, error) {
	r, err := oracle.Reader2Config{DictCap: size}.NewReader2(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, maxOracle))
	if err == nil && len(b) < maxOracle && !r.EOS() {
		err = io.ErrUnexpectedEOF // it does not insist on the end being there
	}
	return b, err
}

// FuzzXZ reads what ulikunitz/xz has packed, and then the same with a damaged byte.
func FuzzXZ(f *testing.F) {
	for i, content := range oracleContents() {
		f.Add([]byte(content), uint16(i), uint32(i*17))
	}
	f.Fuzz(func(t *testing.T, content []byte, options uint16, damage uint32) {
		properties := oracle.Properties{LC: int(options) % 5, PB: int(options) / 5 % 5}
		properties.LP = int(options) / 25 % (5 - properties.LC)
		var b bytes.Buffer
		w, err := xz.WriterConfig{
			Properties: &properties,
			DictCap:    minXZDict << (options >> 8 % 5),
			BlockSize:  int64(options)%1000*16 + 100,
			CheckSum:   []byte{xz.CRC32, xz.CRC64, xz.SHA256}[options%3],
		}.NewWriter(&b)
		if err == nil {
			_, err = w.Write(content)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := unxz(b.Bytes()); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d of %d bytes, %v", len(got), len(content), err)
		}
		damaged := b.Bytes()
		damaged[int(damage>>8)%len(damaged)] ^= byte(damage) | 1
		if got, err := unxz(damaged); err == nil {
			t.Errorf("%d bytes of what is damaged, %d were packed", len(got), len(content))
		}
	})
}

func unxz(packed []byte) ([]byte, error) {
	x := newXZReader(bufio.NewReader(bytes.NewReader(packed)), 0)
	defer x.Close()
	return io.ReadAll(io.LimitReader(x, maxOracle))
}

// oracleContents have all that LZMA knows: literals, matches near and far, repeated ones, and what
// does not compress.
func oracleContents() []string {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 3000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	var text strings.Builder
	for i := range 300 {
		fmt.Fprintf(&text, "line %d of a file, with %x in it\n", i, i*i*40503)
	}
	return []string{"", "a", strings.Repeat("\x00", 5000), string(noise), text.String(), text.String() + string(noise) + text.String()[77:]}
}
