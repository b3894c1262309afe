package bootenv_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"flipside/bootenv"
	"flipside/bootenv/internal/boottest"
	"flipside/bootenv/internal/ubootenv"
)

// norMachine has a chip whose two copies of 0x1000 are at 0xC000 and 0xD000.
func norMachine(t *testing.T, content []byte) (*machine, *chip) {
	t.Helper()
	m := newMachine(t)
	c := newChip(bootenv.ChipNOR, 0, 0x10000, 0x1000, 1)
	copy(c.data[0xC000:], content)
	m.add(t, "/dev/mtd0", "mtd0", "mtd", c)
	return m, c
}

const norConfig = "/dev/mtd0 0xC000 0x1000 0x1000\n/dev/mtd0 0xD000 0x1000 0x1000\n"

func TestNORRecorded(t *testing.T) {
	v := boottest.Open(t, vectors)
	for file, want := range map[string]struct {
		current int
		foo     string
	}{
		"d_init":               {1, "one"}, // written by libubootenv
		"d_two":                {0, "two"},
		"d_three":              {1, "three"},
		"u_four":               {0, "four"}, // by U-Boot's tool
		"cut-before-obsolete":  {0, "two"},  // both flags are 1: the first copy, old or new
		"cut-before-obsolete2": {0, "two"},
		"flag-ff":              {0, "two"},
	} {
		t.Run(file, func(t *testing.T) {
			m, c := norMachine(t, v.File(t, "uboot/mtd-nor/"+file+".bin"))
			env := m.open(t, norConfig)
			if got := read(t, env, "foo")["foo"]; got != want.foo {
				t.Errorf("foo=%s; want %s", got, want.foo)
			}
			if r := inspect(t, env); !r.Copies[want.current].Current {
				t.Errorf("copies %+v; want %d to be the current one", r.Copies, want.current)
			}
			write(t, env, bootenv.Vars{"foo": "new"})
			if got := read(t, env, "foo")["foo"]; got != "new" {
				t.Errorf("foo=%s after a write", got)
			}
			written, old := 0xC000+0x1000*(1-want.current), 0xC000+0x1000*want.current
			if c.data[written+4] != 1 || c.data[old+4] != 0 {
				t.Errorf("flags %d in the new copy, %d in the old; want 1 and 0", c.data[written+4], c.data[old+4])
			}
			if want := []int64{int64(written)}; !slices.Equal(c.erased, want) {
				t.Errorf("erased %#x; want %#x", c.erased, want)
			}
		})
	}
}

// flashPowerCuts writes with the power cut at every change of the chips.
func flashPowerCuts(t *testing.T, p *power, restore func(), env bootenv.Env, changes, old bootenv.Vars) {
	t.Helper()
	want := maps.Clone(old)
	maps.Copy(want, changes)
	seen := map[bool]int{}
	for n := 1; ; n++ {
		restore()
		p.changes, p.cutAt = 0, n
		err := env.Write(t.Context(), changes)
		p.cutAt = 0
		if err != nil && !errors.Is(err, boottest.ErrPower) {
			t.Fatalf("power cut at change %d: %v", n, err)
		}
		got := read(t, env)
		if !maps.Equal(got, want) && (err == nil || !maps.Equal(got, old)) {
			t.Fatalf("power cut at change %d: neither old nor new: %q", n, got)
		}
		seen[maps.Equal(got, want)]++
		write(t, env, bootenv.Vars{"after": "cut"})
		if got := read(t, env)["after"]; got != "cut" {
			t.Fatalf("power cut at change %d: after=%q after another write", n, got)
		}
		if err == nil {
			if seen[true] == 0 || seen[false] == 0 {
				t.Errorf("seen new and old: %v", seen)
			}
			return
		}
	}
}

func TestNORPowerCut(t *testing.T) {
	for current := range 2 {
		t.Run(fmt.Sprint(current), func(t *testing.T) {
			start := slices.Repeat([]byte{0xFF}, 0x400)
			copy(start[0x200*current:], image(t, 0x200, true, 1, "a=1", "b="+strings.Repeat("x", 100)))
			copy(start[0x200*(1-current):], image(t, 0x200, true, 0, "a=0"))
			m := newMachine(t)
			c := newChip(bootenv.ChipNOR, 0, 0x400, 0x200, 1)
			m.add(t, "/dev/mtd0", "mtd0", "mtd", c)
			env := m.open(t, "/dev/mtd0 0 200\n/dev/mtd0 0x200 200\n")
			restore := func() { copy(c.data, start) }
			flashPowerCuts(t, c.power, restore, env, bootenv.Vars{"a": "2"}, bootenv.Vars{"a": "1", "b": strings.Repeat("x", 100)})
		})
	}
}

// TestNORSharedSector: what is in the erase sectors besides the environment survives.
func TestNORSharedSector(t *testing.T) {
	m := newMachine(t)
	c := newChip(bootenv.ChipNOR, 0, 0x4000, 0x1000, 1)
	for i := range c.data {
		c.data[i] = byte(i * 7)
	}
	copy(c.data[0x1100:], image(t, 0x400, true, 1, "a=1"))
	copy(c.data[0x2E00:], image(t, 0x400, true, 0)) // in two sectors
	want := slices.Clone(c.data)
	m.add(t, "/dev/mtd0", "mtd0", "mtd", c)
	env := m.open(t, "/dev/mtd0 0x1100 400\n/dev/mtd0 0x2E00 400\n")
	if r := inspect(t, env); len(r.Warnings) < 3 || !strings.Contains(r.Warnings[0], "shares an erase block") {
		t.Errorf("warnings %q; want that erase blocks are shared", r.Warnings)
	}
	write(t, env, bootenv.Vars{"a": "2"})
	write(t, env, bootenv.Vars{"a": "3"})
	wantVars(t, read(t, env), bootenv.Vars{"a": "3"})
	if want := []int64{0x2000, 0x3000, 0x1000}; !slices.Equal(c.erased, want) {
		t.Errorf("erased %#x; want %#x", c.erased, want)
	}
	copy(want[0x1100:], c.data[0x1100:0x1500])
	copy(want[0x2E00:], c.data[0x2E00:0x3200])
	if !bytes.Equal(c.data, want) {
		t.Error("data around the environment has changed")
	}
}

// TestNORSmallerSectors: chips with small sectors at one end report the size of the large ones.
func TestNORSmallerSectors(t *testing.T) {
	m := newMachine(t)
	c := newChip(bootenv.ChipNOR, 0, 0x4000, 0x1000, 1)
	m.add(t, "/dev/mtd0", "mtd0", "mtd", c)
	copy(c.data, image(t, 0x400, true, 1, "a=1"))
	env := m.open(t, "/dev/mtd0 0 400 400\n/dev/mtd0 0x400 400 400\n")
	// The chip of this test refuses to erase a part of its sectors, so nothing is lost.
	if err := env.Write(t.Context(), bootenv.Vars{"a": "2"}); err == nil {
		t.Error("a part of a sector was erased")
	}
	wantVars(t, read(t, env), bootenv.Vars{"a": "1"})
}

func TestNORBothCopiesInOneSector(t *testing.T) {
	m, c := norMachine(t, nil)
	copy(c.data[0xC000:], image(t, 0x400, true, 1, "a=1"))
	copy(c.data[0xC800:], image(t, 0x400, true, 0))
	before := slices.Clone(c.data)
	env := m.open(t, "/dev/mtd0 0xC000 400\n/dev/mtd0 0xC800 400\n")
	wantVars(t, read(t, env), bootenv.Vars{"a": "1"})
	if err := env.Write(t.Context(), bootenv.Vars{"a": "2"}); err == nil || !strings.Contains(err.Error(), "one erase block") {
		t.Errorf("Write = %v; want a refusal", err)
	}
	if !bytes.Equal(c.data, before) {
		t.Error("the refused write has changed something")
	}
	wantWarning(t, inspect(t, env), "one erase block")
}

func TestNORLockedSectors(t *testing.T) {
	for config, want := range map[string]map[int64]bool{
		norConfig: {0xC000: true, 0xD000: true},
		"/dev/mtd0 0xC000 1000 1000 1 1\n/dev/mtd0 0xD000 1000 1000 1 1\n": nil, // do not unlock
	} {
		m, c := norMachine(t, append(image(t, 0x1000, true, 1, "a=1"), image(t, 0x1000, true, 0)...))
		c.locked = map[int64]bool{0xC000: true, 0xD000: true}
		env := m.open(t, config)
		err := env.Write(t.Context(), bootenv.Vars{"a": "2"})
		if want == nil {
			if err == nil {
				t.Errorf("%q: Write has written to a locked sector", config)
			}
			continue
		}
		if err != nil || !maps.Equal(c.locked, want) {
			t.Errorf("%q: Write = %v, then locked are %v; want %v", config, err, c.locked, want)
		}
		wantVars(t, read(t, env), bootenv.Vars{"a": "2"})
	}
}

// nandMachine is as recorded: two chips with erase blocks of 0x4000, a bad block each, an
// environment of two blocks that may use four.
func nandMachine(t *testing.T, state string) (*machine, [2]*chip) {
	t.Helper()
	v := boottest.Open(t, vectors)
	m := newMachine(t)
	var chips [2]*chip
	for i := range chips {
		c := newChip(bootenv.ChipNAND, uint32(2*i), 0x14000, 0x4000, 0x200)
		copy(c.data, v.File(t, fmt.Sprintf("uboot/mtd-nand/%s-mtd%d.bin", state, i)))
		c.bad[int64(i)*0x4000] = true
		name := fmt.Sprintf("mtd%d", i)
		m.add(t, "/dev/"+name, name, "mtd", c)
		chips[i] = c
	}
	return m, chips
}

const nandConfig = "/dev/mtd0 0x0 0x8000 0x4000 4\n/dev/mtd1 0x0 0x8000 0x4000 4\n"

func TestNANDRecorded(t *testing.T) {
	for state, want := range map[string]string{"s1": "one", "s2": "two", "s3": "three"} {
		t.Run(state, func(t *testing.T) {
			m, chips := nandMachine(t, state)
			env := m.open(t, nandConfig)
			if got := read(t, env, "foo")["foo"]; got != want {
				t.Errorf("foo=%s; want %s", got, want)
			}
			r := inspect(t, env)
			target := slices.IndexFunc(r.Copies, func(c bootenv.Copy) bool { return !c.Current })
			write(t, env, bootenv.Vars{"foo": "new"})
			if got := read(t, env, "foo")["foo"]; got != "new" {
				t.Errorf("foo=%s after a write", got)
			}
			blocks := [2][]int64{{0x4000, 0x8000}, {0, 0x8000}} // the first two that are good
			if got := chips[target].erased; !slices.Equal(got, blocks[target]) || len(chips[1-target].erased) > 0 {
				t.Errorf("erased %#x in chip %d, %#x in the other; want %#x", got, target, chips[1-target].erased, blocks[target])
			}
		})
	}
}

func TestNANDBadBlocks(t *testing.T) {
	m, chips := nandMachine(t, "s3")
	env := m.open(t, nandConfig)
	chips[1].bad[0xC000] = true // behind the copy: no matter
	wantVars(t, read(t, env, "foo"), bootenv.Vars{"foo": "three"})

	// Three of four blocks are bad: the copy is lost, the other one is not.
	chips[1].bad[0x8000] = true
	wantVars(t, read(t, env, "foo"), bootenv.Vars{"foo": "two"})
	wantWarning(t, inspect(t, env), "too few good erase blocks")
	if err := env.Write(t.Context(), bootenv.Vars{"foo": "x"}); err == nil || !strings.Contains(err.Error(), "too few good erase blocks") {
		t.Errorf("Write = %v; want that there are too few blocks", err)
	}
	wantVars(t, read(t, env, "foo"), bootenv.Vars{"foo": "two"})

	// Without a number of sectors, nothing beyond the size of the environment is used.
	m, chips = nandMachine(t, "s3")
	chips[0].bad, chips[1].bad = nil, nil
	for _, c := range chips {
		copy(c.data, image(t, 0x8000, true, 1, "a=1"))
	}
	env = m.open(t, "/dev/mtd0 0x0 0x8000\n/dev/mtd1 0x0 0x8000\n")
	write(t, env, bootenv.Vars{"a": "2"})
	chips[1].bad = map[int64]bool{0x4000: true}
	if _, err := env.Read(t.Context()); err != nil {
		t.Errorf("Read = %v; want the first copy", err)
	}
}

func TestNANDPowerCut(t *testing.T) {
	m := newMachine(t)
	p := new(power)
	config := ""
	var chips [2]*chip
	for i := range chips {
		c := newChip(bootenv.ChipNAND, uint32(2*i), 0x600, 0x200, 0x40)
		c.power = p
		c.bad[0x200] = true
		name := fmt.Sprintf("mtd%d", i)
		m.add(t, "/dev/"+name, name, "mtd", c)
		config += "/dev/" + name + " 0x0 280 200 3\n"
		chips[i] = c
	}
	env := m.open(t, config)
	old := bootenv.Vars{"a": "1", "b": strings.Repeat("x", 500)}
	restore := func() {
		for i, c := range chips {
			for j := range c.data {
				c.data[j] = 0xFF
			}
			data := image(t, 0x280, true, byte(255+i), "a=1", "b="+old["b"]) // 255, then 0: the second
			copy(c.data, data[:0x200])
			copy(c.data[0x400:], data[0x200:])
		}
	}
	flashPowerCuts(t, p, restore, env, bootenv.Vars{"a": "2", "b": strings.Repeat("y", 550)}, old)
	// Programming 0xFF would not show in the data, but it uses up a page's one programming.
	if chips[0].end != 0x480 {
		t.Errorf("pages behind the environment were programmed, up to %#x; want 0x480", chips[0].end)
	}
}

// ubiMachine has two volumes, ubi0_0 "uboot-env" and ubi0_1 "uboot-env-r", on mtd2.
func ubiMachine(t *testing.T, content ...[]byte) (*machine, [2]*volume) {
	t.Helper()
	m := newMachine(t)
	p := new(power)
	var volumes [2]*volume
	for i := range volumes {
		volumes[i] = &volume{power: p, minor: uint32(i + 1), size: 0x8000, data: content[i]}
		name := fmt.Sprintf("ubi0_%d", i)
		m.add(t, "/dev/"+name, name, "ubi", volumes[i])
		writeFile(t, m.sys+"/class/ubi/"+name+"/name", []byte([]string{"uboot-env\n", "uboot-env-r\n"}[i]))
	}
	writeFile(t, m.sys+"/class/ubi/ubi0/mtd_num", []byte("2\n"))
	return m, volumes
}

func TestUBIRecorded(t *testing.T) {
	v := boottest.Open(t, vectors)
	for _, config := range []string{"fw_env.config", "fw_env.by-name.config", "fw_env.by-mtd.config"} {
		t.Run(config, func(t *testing.T) {
			m, _ := ubiMachine(t, v.File(t, "uboot/ubi/vol0.bin"), v.File(t, "uboot/ubi/vol1.bin"))
			env := m.open(t, string(v.File(t, "uboot/ubi/"+config)))
			if got := read(t, env, "foo")["foo"]; got != "three" {
				t.Errorf("foo=%s; want three", got)
			}
			write(t, env, bootenv.Vars{"foo": "four"})
			if got := read(t, env, "foo")["foo"]; got != "four" {
				t.Errorf("foo=%s; want four", got)
			}
			if im, err := ubootenv.Decode(m.nodes["/dev/ubi0_0"].(*volume).data, true); err != nil || im.Flags != 3 {
				t.Errorf("volume 0 has flags %d, %v; want 3", im.Flags, err)
			}
		})
	}
}

const ubiConfig = "/dev/ubi0_0 0 200\n/dev/ubi0_1 0 200\n"

func TestUBIPowerCut(t *testing.T) {
	m, volumes := ubiMachine(t, nil, nil)
	env := m.open(t, ubiConfig)
	restore := func() {
		for i, v := range volumes {
			v.marker, v.data = false, image(t, 0x200, true, byte(1+i), "a=1")
		}
	}
	flashPowerCuts(t, volumes[0].power, restore, env, bootenv.Vars{"a": "2"}, bootenv.Vars{"a": "1"})
}

// TestUBIInterruptedUpdate: a volume whose update was cut short by another program, and one that
// was never written, are invalid copies; the next write repairs them.
func TestUBIInterruptedUpdate(t *testing.T) {
	for bad := range 2 {
		for _, marker := range []bool{false, true} {
			m, volumes := ubiMachine(t, image(t, 0x200, true, 5, "a=1"), image(t, 0x200, true, 5, "a=1"))
			volumes[bad].data, volumes[bad].marker = nil, marker
			env := m.open(t, ubiConfig)
			wantVars(t, read(t, env), bootenv.Vars{"a": "1"})
			wantWarning(t, inspect(t, env), fmt.Sprintf("copy %d", bad+1))
			write(t, env, bootenv.Vars{"a": "2"})
			wantVars(t, read(t, env), bootenv.Vars{"a": "2"})
			if r := inspect(t, env); !r.Copies[0].Valid || !r.Copies[1].Valid {
				t.Errorf("copies %+v after a write", r.Copies)
			}
		}
	}
}

func TestOddDevices(t *testing.T) {
	m, _ := ubiMachine(t, nil, nil)
	m.add(t, "/dev/ubi0", "ubi0", "ubi", &volume{power: new(power), minor: 0})
	m.add(t, "/dev/ttyS0", "ttyS0", "tty", &volume{power: new(power), minor: 9})
	m.add(t, "/dev/mtd9", "mtd9", "mtd", newChip(1, 18, 0x1000, 0x1000, 1))
	m.add(t, "/dev/mtd8", "mtd8", "mtd", newChip(bootenv.ChipNOR, 16, 0x1000, 0x1000, 1))
	m.nodes["/dev/mtdblock0"] = &blockDev{major: 31}
	m.nodes["/dev/unknown"] = &volume{power: new(power), minor: 77}
	for config, want := range map[string]string{
		"/dev/ubi0 0 200":            "one of its volumes",
		"/dev/ubi0:nosuch 0 200":     "no volume of that name",
		"/dev/mtd3:uboot-env 0 200":  "not attached",
		"/dev/ubi0_0 0x200 200":      "offset must be 0",
		"/dev/ttyS0 0 200":           "neither an MTD device nor a UBI volume",
		"/dev/mtd9 0 200":            "neither NOR nor NAND",
		"/dev/mtd8 0xF00 200":        "no environment of 512 fits",
		"/dev/mtd8 -0x200 200":       "no environment of 512 fits",
		"/dev/mtdblock0 0 200":       "/dev/mtdN",
		"/dev/unknown 0 200":         "finding out what",
		t.TempDir() + " 0 200":       "neither a file",
		"/dev/nosuch-flipside 0 200": "no such file",
	} {
		env := m.open(t, config)
		if _, err := env.Read(t.Context()); err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, bootenv.ErrCorrupt) {
			t.Errorf("%s: Read = %v; want %q", config, err, want)
		}
		if err := env.Write(t.Context(), bootenv.Vars{"a": "1"}); err == nil {
			t.Errorf("%s: Write has succeeded", config)
		}
		wantWarning(t, inspect(t, env), want)
	}
}
