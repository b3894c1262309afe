package ubootenv_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"flipside/bootenv/internal/boottest"
	"flipside/bootenv/internal/ubootenv"
)

const vectors = "../../testdata/vectors.zip"

// copies reads the images of a vector as its fw_env.config says.
func copies(t *testing.T, v boottest.Vectors, name string) (images [][]byte, redundant bool) {
	t.Helper()
	c, err := ubootenv.ParseConfig(v.File(t, "uboot/"+name+"/fw_env.config"))
	if err != nil {
		t.Fatalf("%s: ParseConfig: %v", name, err)
	}
	for _, at := range c.Copies {
		data := v.File(t, "uboot/"+name+"/"+filepath.Base(at.Path))
		offset := at.Offset
		if offset < 0 {
			offset += int64(len(data))
		}
		data = data[min(offset, int64(len(data))):]
		images = append(images, data[:min(at.Size, len(data))])
	}
	return images, len(c.Copies) == 2
}

func TestDecodeRecorded(t *testing.T) {
	v := boottest.Open(t, vectors)
	why := map[string]error{
		"single-2000-bigendian":    ubootenv.ErrByteOrder,
		"single-zeros":             ubootenv.ErrNever,
		"single-ff":                ubootenv.ErrNever,
		"single-read-as-redundant": ubootenv.ErrOneCopy,
		"redund-read-as-single":    ubootenv.ErrTwoCopies,
		"single-corrupt":           ubootenv.ErrChecksum,
		"single-corrupt-padding":   ubootenv.ErrChecksum,
		"single-size-mismatch":     ubootenv.ErrChecksum,
		"redund-corrupt-both":      ubootenv.ErrChecksum,
	}
	for _, vector := range boottest.JSON[[]boottest.UBootVector](t, v, "uboot/vectors.json") {
		t.Run(vector.Name, func(t *testing.T) {
			images, redundant := copies(t, v, vector.Name)
			for i, data := range images {
				image, err := ubootenv.Decode(data, redundant)
				want := vector.Copies[i]
				if (err == nil) != want.CRCOK {
					t.Fatalf("copy %d: Decode = %v; want a good checksum: %v", i, err, want.CRCOK)
				}
				if err != nil {
					if why[vector.Name] != nil && !errors.Is(err, why[vector.Name]) {
						t.Errorf("copy %d: Decode = %v; want %v", i, err, why[vector.Name])
					}
					continue
				}
				if !slices.EqualFunc(image.Entries, want.Entries, same) {
					t.Errorf("copy %d: entries %q; want %q", i, image.Entries, want.Entries)
				}
				if image.Flags != want.Flags {
					t.Errorf("copy %d: flags %d; want %d", i, image.Flags, want.Flags)
				}
				if wantMissing := vector.Name == "no-terminator" || vector.Name == "full-no-final-nul"; image.Unterminated != (wantMissing && i == 0) {
					t.Errorf("copy %d: Unterminated = %v", i, image.Unterminated)
				}
				checkEncode(t, image, len(data), redundant)
				if vector.UBootReads != nil && !maps.Equal(uboot(image.Vars()), vector.UBootReads) {
					t.Errorf("Vars = %q; U-Boot reads %q", uboot(image.Vars()), vector.UBootReads)
				}
			}
		})
	}
}

// same compares an entry with a recorded one; long ones were recorded as "begin...<N chars>".
func same(entry, recorded string) bool {
	begin, length, short := strings.Cut(recorded, "...<")
	if !short {
		return entry == recorded
	}
	return strings.HasPrefix(entry, begin) && length == fmt.Sprintf("%d chars>", len(entry))
}

// uboot takes the backslashes out as U-Boot's import does.
func uboot(vars map[string]string) map[string]string {
	for name, value := range vars {
		vars[name] = strings.NewReplacer(`\\`, `\`, `\`, "").Replace(value)
	}
	return vars
}

func checkEncode(t *testing.T, image ubootenv.Image, size int, redundant bool) {
	t.Helper()
	encoded, err := image.Encode(size, redundant)
	if image.Unterminated {
		if err == nil {
			t.Errorf("Encode makes room for an end mark where there was none")
		}
		return
	}
	if err != nil || len(encoded) != size {
		t.Fatalf("Encode = %d bytes, %v; want %d", len(encoded), err, size)
	}
	again, err := ubootenv.Decode(encoded, redundant)
	if err != nil || !reflect.DeepEqual(again, image) {
		t.Errorf("Decode(Encode(%+v)) = %+v, %v", image, again, err)
	}
}

func TestEncodeIsExact(t *testing.T) {
	// The checksum, "a=1", its NUL, the NUL that ends the list, zeros.
	got, err := ubootenv.Image{Entries: []string{"a=1"}}.Encode(16, false)
	area := append([]byte("a=1\x00\x00"), make([]byte, 7)...)
	want := append(binary.NativeEndian.AppendUint32(nil, crc32.ChecksumIEEE(area)), area...)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Encode = %x, %v; want %x", got, err, want)
	}
	for _, tt := range []struct {
		value     int // bytes of the value of "a"
		redundant bool
		fits      bool
	}{
		{64 - 4 - 2 - 2, false, true},
		{64 - 4 - 2 - 1, false, false},
		{64 - 5 - 2 - 2, true, true},
		{64 - 5 - 2 - 1, true, false},
	} {
		image := ubootenv.Image{Entries: []string{"a=" + strings.Repeat("x", tt.value)}}
		if _, err := image.Encode(64, tt.redundant); (err == nil) != tt.fits {
			t.Errorf("Encode(a value of %d bytes, redundant %v) = %v; want that it fits: %v", tt.value, tt.redundant, err, tt.fits)
		}
	}
}

func TestCurrent(t *testing.T) {
	for _, tt := range []struct {
		scheme ubootenv.Scheme
		f0, f1 byte
		want   int
	}{
		// As U-Boot 2026.10 and both fw_printenv choose.
		{ubootenv.Incremental, 2, 1, 0},
		{ubootenv.Incremental, 1, 2, 1},
		{ubootenv.Incremental, 1, 0, 0},
		{ubootenv.Incremental, 7, 7, 0},
		{ubootenv.Incremental, 255, 0, 1},
		{ubootenv.Incremental, 0, 255, 0},
		{ubootenv.Incremental, 255, 1, 0},
		{ubootenv.Incremental, 0, 128, 1},
		{ubootenv.Incremental, 2, 200, 1},
		{ubootenv.Incremental, 0, 200, 1},
		{ubootenv.Incremental, 254, 255, 1},
		{ubootenv.Incremental, 255, 255, 0},
		{ubootenv.Boolean, 1, 0, 0},
		{ubootenv.Boolean, 0, 1, 1},
		{ubootenv.Boolean, 1, 1, 0},
		{ubootenv.Boolean, 0, 0, 0},
		{ubootenv.Boolean, 0xFF, 1, 0},
		{ubootenv.Boolean, 1, 0xFF, 1},
		{ubootenv.Boolean, 0, 0xFF, 1},
		{ubootenv.Boolean, 0xFF, 0xFF, 0},
	} {
		if got := tt.scheme.Current(tt.f0, tt.f1); got != tt.want {
			t.Errorf("scheme %d, flags %d and %d: copy %d; want %d", tt.scheme, tt.f0, tt.f1, got, tt.want)
		}
	}
}

// Whatever the flags are, a copy that is written next has to be the current one.
func TestNextIsCurrent(t *testing.T) {
	for f0 := range 256 {
		for f1 := range 256 {
			flags := [2]byte{byte(f0), byte(f1)}
			old := ubootenv.Incremental.Current(flags[0], flags[1])
			flags[1-old] = ubootenv.Incremental.Next(flags[old])
			if got := ubootenv.Incremental.Current(flags[0], flags[1]); got != 1-old {
				t.Errorf("flags %d, %d: after a write to copy %d with %d, copy %d is current", f0, f1, 1-old, flags[1-old], got)
			}
		}
	}
	for old := range 2 {
		flags := [2]byte{}
		flags[1-old] = ubootenv.Boolean.Next(1)
		flags[old] = ubootenv.FlagObsolete
		if got := ubootenv.Boolean.Current(flags[0], flags[1]); got != 1-old {
			t.Errorf("boolean flags %v: copy %d; want %d", flags, got, 1-old)
		}
	}
}

func TestWith(t *testing.T) {
	for _, tt := range []struct {
		name    string
		entries []string
		changes map[string]string
		want    []string
	}{
		{"in place", []string{"a=1", "b=2", "c=3"}, map[string]string{"b": "x"}, []string{"a=1", "b=x", "c=3"}},
		{"new ones sorted at the end", []string{"z=1"}, map[string]string{"b": "2", "a": "1"}, []string{"z=1", "a=1", "b=2"}},
		{"delete", []string{"a=1", "b=2"}, map[string]string{"a": ""}, []string{"b=2"}},
		{"delete what is missing", []string{"b=2"}, map[string]string{"a": ""}, []string{"b=2"}},
		{"duplicates become one", []string{"a=1", "b=2", "a=3"}, map[string]string{"a": "4"}, []string{"a=4", "b=2"}},
		{"a later deletion goes", []string{"a=1", "a"}, map[string]string{"a": "4"}, []string{"a=4"}},
		{"blanks before the name", []string{" \ta=1"}, map[string]string{"a": "4"}, []string{"a=4"}},
		{"strangers stay as they are", []string{"#c=3", " lead=2", "noval", "empty=", `bs=a\b`, "dup=1", "dup=2", "a=1"},
			map[string]string{"a": "2"}, []string{"#c=3", " lead=2", "noval", "empty=", `bs=a\b`, "dup=1", "dup=2", "a=2"}},
		{"what U-Boot rejects goes", []string{"=x", "a=1"}, map[string]string{"a": "2"}, []string{"a=2"}},
		{"longer names are others", []string{"ab=1"}, map[string]string{"a": "2"}, []string{"ab=1", "a=2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			image := ubootenv.Image{Entries: tt.entries, Unterminated: true}
			got := image.With(tt.changes)
			if !slices.Equal(got.Entries, tt.want) || got.Unterminated {
				t.Errorf("%q With %q = %q; want %q", tt.entries, tt.changes, got.Entries, tt.want)
			}
			for name, value := range tt.changes {
				if got.Vars()[name] != value {
					t.Errorf("Vars[%q] = %q; want %q", name, got.Vars()[name], value)
				}
			}
		})
	}
}

func TestCheckAccess(t *testing.T) {
	image := ubootenv.Image{Entries: []string{"ro=x", "once=x", "free=x", ".flags=ro:sr,once:so,free:sw,new:so,short:,never:sr"}}
	for _, tt := range []struct {
		name, value string
		ok          bool
	}{
		{"ro", "y", false}, {"ro", "", false}, {"ro", "x", true},
		{"once", "y", false}, {"once", "", false}, {"new", "y", true}, {"never", "y", false},
		{"free", "y", true}, {"short", "y", true}, {"other", "y", true},
	} {
		err := image.CheckAccess(map[string]string{tt.name: tt.value})
		if tt.ok && err != nil || !tt.ok && !errors.Is(err, ubootenv.ErrReadOnly) {
			t.Errorf("CheckAccess(%s=%s) = %v; want that it is allowed: %v", tt.name, tt.value, err, tt.ok)
		}
	}
}

func TestParseConfig(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []ubootenv.Location
		ignored    []int
	}{
		{"one", "/dev/mmcblk0 0x400000 0x20000\n", []ubootenv.Location{{Path: "/dev/mmcblk0", Offset: 0x400000, Size: 0x20000}}, nil},
		{"two, tabs, comments, CRLF, no newline", "# comment\r\n\r\n  \t/dev/mmcblk0\t0x800000  0x20000\r\n/dev/mmcblk0 0x1000000 0x20000",
			[]ubootenv.Location{{Path: "/dev/mmcblk0", Offset: 0x800000, Size: 0x20000}, {Path: "/dev/mmcblk0", Offset: 0x1000000, Size: 0x20000}}, nil},
		{"decimal offset, hexadecimal size", "f 32768 2000 # words", []ubootenv.Location{{Path: "f", Offset: 32768, Size: 0x2000}}, nil},
		{"octal offset", "f 010 2000", []ubootenv.Location{{Path: "f", Offset: 8, Size: 0x2000}}, nil},
		{"capital X and sign", "f +0X10 0X2000", []ubootenv.Location{{Path: "f", Offset: 16, Size: 0x2000}}, nil},
		{"from the end", "/dev/sda -0x4000 0x2000\n/dev/sda -8192 0x2000", []ubootenv.Location{{Path: "/dev/sda", Offset: -0x4000, Size: 0x2000}, {Path: "/dev/sda", Offset: -0x2000, Size: 0x2000}}, nil},
		{"flash", "/dev/mtd0 0 8000 4000 4 1", []ubootenv.Location{{Path: "/dev/mtd0", Size: 0x8000, SectorSize: 0x4000, Sectors: 4, NoLock: true}}, nil},
		{"hexadecimal count", "/dev/mtd0 0 8000 4000 10 0", []ubootenv.Location{{Path: "/dev/mtd0", Size: 0x8000, SectorSize: 0x4000, Sectors: 16}}, nil},
		{"beyond 4 GiB", "/dev/sda 0xC0000000 4000\n/dev/sda 0x1C0000000 4000", []ubootenv.Location{{Path: "/dev/sda", Offset: 3 << 30, Size: 0x4000}, {Path: "/dev/sda", Offset: 7 << 30, Size: 0x4000}}, nil},
		{"ignored", " # indented\nf 0 2000\ntwo words\ng 0 2000\nh 0 2000\n", []ubootenv.Location{{Path: "f", Size: 0x2000}, {Path: "g", Size: 0x2000}}, []int{1, 3, 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ubootenv.ParseConfig([]byte(tt.text))
			if err != nil || !slices.Equal(got.Copies, tt.want) || !slices.Equal(got.Ignored, tt.ignored) {
				t.Errorf("ParseConfig(%q) = %+v, %v; want %+v, ignored lines %v", tt.text, got, err, tt.want, tt.ignored)
			}
		})
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":              "",
		"only comments":        "# /dev/mtd0 0 1000\n",
		"bad octal":            "f 08 2000",
		"unit behind offset":   "f 4k 2000",
		"unit behind size":     "f 0 16K",
		"decimal point":        "f 0 1.5",
		"two signs":            "f --4 2000",
		"sign behind 0x":       "f 0x-4 2000",
		"digit separators":     "f 1_000 2000",
		"size 0":               "f 0 0",
		"size of the header":   "f 0 6",
		"negative size":        "f 0 -2000",
		"huge size":            "f 0 40000000",
		"huge offset":          "f 0x10000000000000000 2000",
		"huge sector":          "f 0 2000 7fffffffffff",
		"number with a tail":   "f 0 2000 4000h",
		"unequal sizes":        "f 0 2000\ng 0 4000",
		"overlap":              "f 0 2000\nf 0x1fff 2000",
		"the same place twice": "f 0 2000\nf 0 2000",
		"too long":             strings.Repeat("# comment\n", ubootenv.MaxConfig/10+1) + "f 0 2000",
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := ubootenv.ParseConfig([]byte(text)); err == nil {
				t.Errorf("ParseConfig(%.80q) = %+v; want an error", text, c)
			}
		})
	}
	for _, text := range []string{
		"uboot:\n  size: 0x4000\n  devices:\n    - path: /dev/mtd0\n      offset: 0xA0000\n",
		`{"uboot": {"size": "0x4000"}}`,
	} {
		if _, err := ubootenv.ParseConfig([]byte(text)); !errors.Is(err, ubootenv.ErrYAML) {
			t.Errorf("ParseConfig(%q) = %v; want ErrYAML", text, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, redundant := range []bool{false, true} {
		for _, entries := range [][]string{nil, {"a=1"}, {" a=1", "#b", "c", "d=", `e=\`, "=x", "a=2"}} {
			data, err := ubootenv.Image{Entries: entries, Flags: 3}.Encode(64, redundant)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, redundant)
		}
	}
	f.Add([]byte{}, true)
	f.Add([]byte{1, 2, 3, 4, 5}, true)
	f.Fuzz(func(t *testing.T, data []byte, redundant bool) {
		header := 4
		if redundant {
			header = 5
		}
		if len(data) > header { // or the fuzzer would never come past the checksum
			data = append(binary.NativeEndian.AppendUint32(nil, crc32.ChecksumIEEE(data[header:])), data[4:]...)
		}
		image, err := ubootenv.Decode(data, redundant)
		if err != nil {
			return
		}
		if len(image.Entries) > len(data) {
			t.Fatalf("%d entries in %d bytes", len(image.Entries), len(data))
		}
		changes := map[string]string{"new": "1", "a": ""}
		changed := image.With(changes)
		want := image.Vars()
		want["new"] = "1"
		delete(want, "a")
		if got := changed.Vars(); !maps.Equal(got, want) || changed.Rejected() {
			t.Errorf("%q With %q has the variables %q; want %q", image.Entries, changes, got, want)
		}
		if encoded, err := changed.Encode(len(data)+8, redundant); err == nil {
			again, err := ubootenv.Decode(encoded, redundant)
			if err != nil || !slices.Equal(again.Entries, changed.Entries) {
				t.Errorf("Decode(Encode(%q)) = %q, %v", changed.Entries, again.Entries, err)
			}
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	f.Add("/dev/mtd0 0x0 0x8000 0x4000 4 1\n/dev/mtd1 -010 8000\n")
	f.Add("# comment\r\nf 32768 2000 words\n")
	f.Add("a:\n devices:\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ubootenv.ParseConfig([]byte(text))
		if err != nil {
			return
		}
		var again strings.Builder
		for _, at := range c.Copies {
			if at.Size <= 0 || at.Size > ubootenv.MaxSize || at.SectorSize < 0 || at.Sectors < 0 || strings.ContainsAny(at.Path, " \t\n") {
				t.Errorf("ParseConfig(%q) = %+v", text, at)
			}
			lock := 0
			if at.NoLock {
				lock = 1
			}
			fmt.Fprintf(&again, " %s %d %x %x %x %d\n", at.Path, at.Offset, at.Size, at.SectorSize, at.Sectors, lock)
		}
		if c2, err := ubootenv.ParseConfig([]byte(again.String())); err != nil || !slices.Equal(c2.Copies, c.Copies) {
			t.Errorf("ParseConfig(%q) = %+v, %v; want %+v", again.String(), c2, err, c)
		}
	})
}
