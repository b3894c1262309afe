package artifact_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"flipside/artifact"
	"flipside/internal/hosttest"
)

// pipe packs with a real tool.
func pipe(t testing.TB, s string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(s)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, errs.String())
	}
	return out.String()
}

// bigPlan has a payload of several blocks, which compress neither well nor not at all, and zeros.
func bigPlan() *plan {
	p := newPlan()
	content := string(noise(3<<20 + 12345))
	p.files = append(p.files, member{name: "big", content: content + strings.Repeat("\x00", 700000)})
	return p
}

// TestRealCompressors reads what gzip, xz and zstd write, in their less usual ways too.
func TestRealCompressors(t *testing.T) {
	hosttest.Tool(t, "xz-utils", "xz")
	hosttest.Tool(t, "zstd", "zstd")
	hosttest.Tool(t, "gzip", "gzip")
	for _, command := range []string{
		"gzip -1", "gzip -9n",
		"xz -0", "xz -6", "xz -9", "xz -0 -C none", "xz -0 -C crc32", "xz -0 -C sha256",
		"xz -0 --block-size=100000", "xz -0 -T2 --block-size=1000000", "xz -0 --block-size=1024",
		"xz --lzma2=preset=1,dict=4KiB", "xz --lzma2=preset=1,lc=1,lp=3,pb=0", "xz --lzma2=dict=1536KiB",
		"zstd -1", "zstd -19", "zstd --ultra -22", "zstd -3 --no-check", "zstd --fast=5", "zstd -19 --long=27", "zstd -1 -T2",
	} {
		t.Run(command, func(t *testing.T) {
			words := strings.Fields(command)
			p := bigPlan()
			p.packed = func(s string) string { return pipe(t, s, words[0], append(words[1:], "-c")...) }
			if _, got, err := readAll(bytes.NewReader(p.bytes())); err != nil || got["big"] != p.files[2].content {
				t.Errorf("%d bytes, %v", len(got["big"]), err)
			}
		})
	}
}

// TestXZPresets reads what xz writes at each of its presets, of content that has matches near and far,
// literals, zeros, and pieces that do not compress.
func TestXZPresets(t *testing.T) {
	hosttest.Tool(t, "xz-utils", "xz")
	text := string(textual(256 << 10))
	content := text + string(noise(100<<10)) + strings.Repeat("\x00", 50<<10) + text[1000:]
	for preset := range 10 {
		for _, kind := range []string{"", "e"} {
			option := fmt.Sprintf("-%d%s", preset, kind)
			t.Run(option, func(t *testing.T) {
				p := newPlan()
				p.files = append(p.files, member{name: "big", content: content})
				p.packed = func(s string) string { return pipe(t, s, "xz", option, "-c") }
				if _, got, err := readAll(bytes.NewReader(p.bytes())); err != nil || got["big"] != content {
					t.Errorf("%d bytes, %v", len(got["big"]), err)
				}
			})
		}
	}
}

// TestConcatenated: what is packed in parts is one content, in all formats; xz may be padded.
func TestConcatenated(t *testing.T) {
	hosttest.Tool(t, "xz-utils", "xz")
	hosttest.Tool(t, "zstd", "zstd")
	parts := func(s string, between string, name string, args ...string) string {
		half := len(s) / 2
		return pipe(t, s[:half], name, args...) + between + pipe(t, s[half:], name, args...)
	}
	for name, packed := range map[string]func(string) string{
		"gzip": func(s string) string { return parts(s, "", "gzip", "-c") },
		"xz":   func(s string) string { return parts(s, "", "xz", "-0c") },
		"xz, padded": func(s string) string {
			return parts(s, "\x00\x00\x00\x00\x00\x00\x00\x00", "xz", "-0c") + "\x00\x00\x00\x00"
		},
		"zstd":        func(s string) string { return parts(s, "", "zstd", "-c") },
		"zstd, skips": func(s string) string { return "\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + pipe(t, s, "zstd", "-c") },
	} {
		p := newPlan()
		p.packed = packed
		if _, _, err := readAll(bytes.NewReader(p.bytes())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRefusePacked damages what is packed, with the outside being right.
func TestRefusePacked(t *testing.T) {
	hosttest.Tool(t, "xz-utils", "xz")
	hosttest.Tool(t, "zstd", "zstd")
	for name, pack := range map[string]func(string) string{
		"gzip": func(s string) string { return pipe(t, s, "gzip", "-c") },
		"xz":   func(s string) string { return pipe(t, s, "xz", "-0c") },
		"zstd": func(s string) string { return pipe(t, s, "zstd", "-c") },
	} {
		packed := func(change func(string) string) func(*plan) {
			return func(p *plan) { p.packed = func(s string) string { return change(pack(s)) } }
		}
		cutAt := func(n int) func(*plan) { return packed(func(s string) string { return s[:n] }) }
		table := map[string]refused{
			"trailing data":  {artifact.ErrMalformed, "", packed(func(s string) string { return s + "xyz" })},
			"trailing zeros": {artifact.ErrMalformed, "", packed(func(s string) string { return s + "\x00" })},
			"only the magic": {artifact.ErrMalformed, "", cutAt(6)},
			"check is wrong": {artifact.ErrMalformed, "", packed(func(s string) string { return s[:len(s)-4] + "\x01\x02\x03\x04" })},
			"end cut off":    {artifact.ErrMalformed, "", packed(func(s string) string { return s[:len(s)-1] })},
			"half of it":     {artifact.ErrMalformed, "", packed(func(s string) string { return s[:len(s)/2] })},
			"twice packed":   {artifact.ErrMalformed, "", packed(pack)},
		}
		t.Run(name, func(t *testing.T) { checkRefused(t, table) })
	}
}

// TestGzipHeaderCut: a decoder that reports the end in the middle of something is not believed.
func TestGzipHeaderCut(t *testing.T) {
	whole := "\x1f\x8b\x08\x1e\x00\x00\x00\x00\x00\x03\x02\x00abname\x00comment\x00\x12\x34"
	for n := 2; n <= len(whole); n++ {
		p := newPlan()
		p.outer = func(m []member) []member { m[3].content = whole[:n]; return m }
		if _, _, err := readAll(bytes.NewReader(p.bytes())); !errors.Is(err, artifact.ErrMalformed) {
			t.Errorf("%d bytes of a gzip header: %v", n, err)
		}
		p = newPlan()
		p.packed = func(string) string { return whole[:n] }
		if _, _, err := readAll(bytes.NewReader(p.bytes())); !errors.Is(err, artifact.ErrMalformed) {
			t.Errorf("%d bytes of a gzip header as header: %v", n, err)
		}
	}
}

// TestDamagedXZ damages, one after the other, all bytes of an xz file that are not packed data:
// headers, checks, index and footer. Even where the content would be right, that is noticed.
func TestDamagedXZ(t *testing.T) {
	hosttest.Tool(t, "xz-utils", "xz")
	for _, check := range []struct {
		name string
		size int
	}{{"none", 0}, {"crc32", 4}, {"crc64", 8}, {"sha256", 32}} {
		p := newPlan()
		xz := pipe(t, tarred(p.files), "xz", "-0c", "--block-size=2048", "-C", check.name)
		index := int(binary.LittleEndian.Uint32([]byte(xz[len(xz)-8:]))+1) * 4
		for i := range xz {
			if i >= 24 && i < len(xz)-12-index-check.size {
				continue
			}
			p.outer = func(m []member) []member {
				m[3].content = xz[:i] + string([]byte{xz[i] ^ 0x21}) + xz[i+1:]
				return m
			}
			if _, _, err := readAll(bytes.NewReader(p.bytes())); !errors.Is(err, artifact.ErrRefused) {
				t.Errorf("check %s, byte %d of %d is damaged: %v", check.name, i, len(xz), err)
			}
		}
	}
}

// allocated is how much f allocates in all, garbage included.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestBombs: whatever is stated or unpacked, the memory used has a bound.
func TestBombs(t *testing.T) {
	hosttest.Tool(t, "xz-utils", "xz")
	hosttest.Tool(t, "gzip", "gzip")
	zeros := strings.Repeat("\x00", 64<<20)
	gz := func(s string) string { return pipe(t, s, "gzip", "-c") }
	window := func(s string, options ...zstd.EOption) string {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, append(options, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))...)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, s)
		w.Close()
		return b.String()
	}
	huge := func(s string) string { return withDictionary(pipe(t, s, "xz", "-0c"), 40) }
	table := map[string]struct {
		refused
		limit uint64 // of allocations
	}{
		"a script of 64 MiB": {refused{artifact.ErrMalformed, "at most", func(p *plan) {
			p.packed = gz
			p.scripts = []member{{name: "scripts/ArtifactInstall_Enter_00", content: zeros}}
		}}, 20 << 20},
		"many scripts": {refused{artifact.ErrMalformed, "more than 16777216 bytes unpacked", func(p *plan) {
			p.packed = gz
			for _, s := range manyScripts(30) {
				s.content = zeros[:1<<20]
				p.scripts = append(p.scripts, s)
			}
		}}, 40 << 20},
		"zeros behind the header": {refused{artifact.ErrMalformed, "zeros after the end", func(p *plan) {
			p.packed = func(s string) string { return gz(s + zeros) }
		}}, 8 << 20},
		"xz, 4 GiB dictionary": {refused{artifact.ErrUnsupported, "xz: a dictionary of 4294967296 bytes is not supported", func(p *plan) {
			p.packed = huge
		}}, 8 << 20},
		"xz, 4 GiB dictionary in the second stream": {refused{artifact.ErrUnsupported, "xz: a dictionary of 4294967296 bytes", func(p *plan) {
			p.packed = func(s string) string { return pipe(t, s[:100], "xz", "-0c") + huge(s[100:]) }
		}}, 40 << 20},
		"zstd, 512 MiB window": {refused{artifact.ErrUnsupported, "zstd: a window of more than 134217728 bytes is not supported", func(p *plan) {
			p.packed = func(s string) string { return window(s+zeros[:1<<20], zstd.WithWindowSize(512<<20)) }
		}}, 16 << 20},
	}
	for name, c := range table {
		t.Run(name, func(t *testing.T) {
			p := newPlan()
			c.sin(p)
			b := p.bytes()
			var err error
			if got := allocated(func() { _, err = artifact.Verify(bytes.NewReader(b), nil) }); got > c.limit {
				t.Errorf("%d bytes allocated; at most %d expected", got, c.limit)
			}
			if !errors.Is(err, c.why) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("read with %v; want %q", err, c.text)
			}
		})
	}
}

// withDictionary changes the dictionary size that the first block of an xz file states.
func withDictionary(xz string, coded byte) string {
	b := []byte(xz)
	block := b[12:]
	block = block[:(int(block[0])+1)*4]
	block[4] = coded
	binary.LittleEndian.PutUint32(block[len(block)-4:], crc32.ChecksumIEEE(block[:len(block)-4]))
	return string(b)
}

// TestUnsupportedXZ: filters that artifacts do not have are named as what they are.
func TestUnsupportedXZ(t *testing.T) {
	hosttest.Tool(t, "xz-utils", "xz")
	checkRefused(t, map[string]refused{
		"x86": {artifact.ErrUnsupported, "other filters than LZMA2", func(p *plan) {
			p.packed = func(s string) string { return pipe(t, s, "xz", "-c", "--x86", "--lzma2") }
		}},
		"unknown check": {artifact.ErrUnsupported, "xz: a stream of a kind (000f)", func(p *plan) {
			p.packed = func(s string) string {
				return "\xfd7zXZ\x00\x00\x0f" + string(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte("\x00\x0f"))))
			}
		}},
		"no dictionary size": {artifact.ErrMalformed, "xz: a block states no dictionary size", func(p *plan) {
			p.packed = func(s string) string { return withDictionary(pipe(t, s, "xz", "-0c"), 41) }
		}},
		"delta": {artifact.ErrUnsupported, "other filters than LZMA2", func(p *plan) {
			p.packed = func(s string) string { return pipe(t, s, "xz", "-c", "--delta", "--lzma2") }
		}},
	})
}

// xzOf is an xz file with one block of LZMA2 data, up to that data.
func xzOf(lzma2 string) string {
	flags := "\x00\x00"
	block := "\x02\x00\x21\x01\x00\x00\x00\x00"
	crc := func(s string) string {
		return string(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(s))))
	}
	return "\xfd7zXZ\x00" + flags + crc(flags) + block + crc(block) + lzma2
}

// TestRefuseLZMA2: data that no packer writes.
func TestRefuseLZMA2(t *testing.T) {
	damaged := "xz: the packed data is damaged"
	for name, c := range map[string]struct{ lzma2, want string }{
		"ends at once":             {"", "unexpected EOF"},
		"unknown control":          {"\x03", damaged},
		"plain, not begun":         {"\x02\x00\x00a", damaged},
		"packed, not begun":        {"\x80\x00\x00\x00\x04", damaged},
		"no properties":            {"\x01\x00\x00a\x80\x00\x00\x00\x04", damaged},
		"reset without properties": {"\x01\x00\x00a\xa0\x00\x00\x00\x04", damaged},
		"plain, cut in its size":   {"\x01\x00", "unexpected EOF"},
		"plain, cut":               {"\x01\x00\x07abc", "unexpected EOF"},
		"packed, cut in its size":  {"\xe0\x00\x00", "unexpected EOF"},
		"packed, cut before props": {"\xe0\x00\x00\x00\x04", "unexpected EOF"},
		"packed, cut":              {"\xe0\x00\x00\x00\x09\x5dabc", "unexpected EOF"},
		"properties out of range":  {"\xe0\x00\x00\x00\x04\xe1", damaged},
		"too much context":         {"\xe0\x00\x00\x00\x04\x08", damaged},
		"packed too short":         {"\xe0\x00\x00\x00\x03\x5d\x00abc", damaged},
		"packed without zero":      {"\xe0\x00\x00\x00\x04\x5dabcde", damaged},
		"not used up":              {"\xe0\x00\x00\x00\x0e\x5d" + strings.Repeat("\x00", 15), damaged},
		"used up too early":        {"\xe0\x01\xff\x00\x05\x5d\x00\x00\x00\x00\x00\x00", damaged},
		"match before the begin":   {"\xe0\x10\x00\x00\x05\x5d\x00\xff\xff\xff\xfe\xff", damaged},
	} {
		p := newPlan()
		p.outer = func(m []member) []member { m[3].content = xzOf(c.lzma2); return m }
		_, _, err := readAll(bytes.NewReader(p.bytes()))
		if !errors.Is(err, artifact.ErrMalformed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

// TestPayloadMemory: a large payload needs the read-ahead and the dictionary, not its size.
func TestPayloadMemory(t *testing.T) {
	for _, c := range []artifact.Compression{artifact.None, artifact.Gzip, artifact.Zstd} {
		s := smallSpec(c)
		s.Files = []artifact.FileSpec{artifact.FileBytes("zeros", make([]byte, 40<<20))}
		b := written(t, s)
		var err error
		if got := allocated(func() { _, err = artifact.Verify(bytes.NewReader(b), nil) }); err != nil || got > 16<<20 {
			t.Errorf("%s: %d bytes allocated, %v", c, got, err)
		}
	}
}
