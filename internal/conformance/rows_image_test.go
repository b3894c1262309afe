package conformance_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"

	"flipside/artifact"
	"flipside/internal/hosttest"
)

// slotSize is that of a slot of a sandbox, in MiB and in bytes.
const (
	slotMiB  = "2"
	slotSize = 2 << 20
)

// image is a root file system of n bytes that flipside finds nothing to skip in.
func image(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// sandbox makes the device one with two slots, as flipside makes it out of files; it runs slot A.
func (d *device) sandbox() {
	d.t.Helper()
	if r := d.flipside("sandbox", "create", "--device-type", deviceType, "--slot-size", slotMiB, d.path("sandbox")); r.exit != "0" {
		d.t.Fatalf("making a sandbox: %s", r.stderr)
	}
	d.global = []string{"--sandbox", d.path("sandbox")}
}

// imaged is a device with two slots, and an artifact for them.
func imaged(change func(*artifact.Spec)) func(*device) {
	return func(d *device) {
		d.sandbox()
		d.installs("A", func(s *artifact.Spec) {
			s.Files, s.Compression = []artifact.FileSpec{artifact.FileBytes("rootfs", image(slotSize/2))}, artifact.None
			if change != nil {
				change(s)
			}
		}, nil)
	}
}

// trusting makes the sandbox take only what a key has signed.
func (d *device) trusting(public string) {
	d.t.Helper()
	const conf = "sandbox/etc/mender/mender.conf"
	all := map[string]any{}
	if err := json.Unmarshal([]byte(d.read(conf)), &all); err != nil {
		d.t.Fatal(err)
	}
	all["ArtifactVerifyKey"] = testKey(d.t, public)
	text, err := json.Marshal(all)
	if err != nil {
		d.t.Fatal(err)
	}
	d.write(conf, string(text))
}

// signature is a scenario of signatures: what the artifact is signed with and what the device trusts,
// "" for nothing; and what is wrong with it.
func signature(private, public string, wrong func(d *device)) row {
	return row{setup: func(d *device) {
		imaged(func(s *artifact.Spec) {
			if private != "" {
				s.Key = signer(d.t, private)
			}
		})(d)
		if public != "" {
			d.trusting(public)
		}
		if wrong != nil {
			wrong(d)
		}
	}, state: "installed", check: written(slotSize / 2)}
}

// but is a row that must be refused, with n bytes of the image in the inactive slot by then.
func (r row) but(exit string, n int, text string) row {
	r.exit, r.state = exit, ""
	r.check = all(written(n), says(text))
	return r
}

// anything is how much of an image may be in the inactive slot if its end was wrong.
const anything = -1

// written checks how much of the image is in the inactive slot; only what is whole is booted.
func written(n int) func(*device, []ran) {
	return func(d *device, runs []ran) {
		slot, err := os.ReadFile(d.path("sandbox/dev/mmcblk0p3"))
		if err != nil {
			d.t.Fatal(err)
		}
		if n != anything && !bytes.Equal(slot, append(image(slotSize / 2)[:n], make([]byte, slotSize-n)...)) {
			d.t.Errorf("the inactive slot does not hold the first %d bytes of the image, and nothing else", n)
		}
		if next := d.next(); (next == "B") != (runs[0].exit == "0") {
			d.t.Errorf("the bootloader starts slot %s next; the exit code was %s", next, runs[0].exit)
		}
	}
}

// next is the slot that the bootloader starts next.
func (d *device) next() string {
	d.t.Helper()
	var s struct {
		Bootloader struct {
			NextSlot string `json:"next_slot"`
		}
	}
	if err := json.Unmarshal([]byte(d.flipside("status", "--json").stdout), &s); err != nil {
		d.t.Fatal(err)
	}
	return s.Bootloader.NextSlot
}

// boots checks which slot is started in the end, and by whose decision.
func boots(slot, variables string) func(*device, []ran) {
	return func(d *device, _ []ran) {
		if next := d.next(); next != slot {
			d.t.Errorf("the bootloader starts slot %s next; want %s", next, slot)
		}
		if got := d.variables(); got != variables {
			d.t.Errorf("the bootloader's variables are %s; want %s", got, variables)
		}
	}
}

// variables are those of the boot environment that matter, as the real tool prints them.
func (d *device) variables() string {
	d.t.Helper()
	out := must(d.t, d.dir, hosttest.Tool(d.t, "libubootenv-tool", "fw_printenv"), "-c", d.path("sandbox/etc/fw_env.config"),
		"mender_boot_part", "mender_boot_part_hex", "upgrade_available")
	return strings.Join(strings.Fields(out), " ")
}

func (d *device) setVariables(script string) {
	d.t.Helper()
	d.write("variables", script)
	must(d.t, d.dir, hosttest.Tool(d.t, "libubootenv-tool", "fw_setenv"), "-c", d.path("sandbox/etc/fw_env.config"), "-s", d.path("variables"))
}

const (
	onA = "mender_boot_part=2 mender_boot_part_hex=2 upgrade_available=0"
	onB = "mender_boot_part=3 mender_boot_part_hex=3 upgrade_available=0"
)

// damaged turns over a bit of the artifact, at the first place where text stands, or after it.
func damaged(text string, behind int) func(*device) {
	return func(d *device) {
		b := []byte(d.read("A.mender"))
		at := bytes.Index(b, []byte(text))
		if at < 0 {
			d.t.Fatalf("%q is not in the artifact", text)
		}
		b[at+behind] ^= 1
		d.write("A.mender", string(b))
	}
}

// Root file systems: what Mender tests with whole images, done on a device made of files; and what
// is left by a client that was replaced in the middle of an update.
var imageRows = map[string]row{
	"IMG-01": {setup: imaged(nil), check: boots("A", onA)},
	"IMG-02": {setup: both(imaged(nil), serve), check: boots("A", onA)},
	"IMG-03": {
		setup: imaged(func(s *artifact.Spec) {
			s.Files = []artifact.FileSpec{artifact.FileBytes("rootfs", image(slotSize+1))}
		}), exit: "7", check: all(written(0), says("2097153 bytes")),
	},
	"IMG-04": {setup: both(imaged(nil), serve), check: boots("B", onB)},
	"IMG-05": signature("", "", nil),
	"IMG-06": signature("rsa.key", "rsa.pub", nil),
	"IMG-07": signature("rsa.key", "rsa.pub", damaged("data/0000/rootfs", -3)).but("6", 0, "matches no key (1 tried)"),
	"IMG-08": signature("rsa.key", "", nil),
	"IMG-09": signature("", "rsa.pub", nil).but("6", 0, "artifact is not signed"),
	"IMG-10": signature("rsa.key", "rsa.pub", damaged(string(image(slotSize / 2)[:64]), slotSize/2-1)).but("6", anything, "checksum of rootfs"),
	"IMG-11": signature("demo.key", "demo.pub", nil),
	"IMG-12": signature("demo.key", "demo.pub", damaged("data/0000/rootfs", -3)).but("6", 0, "matches no key (1 tried)"),
	"IMG-13": signature("demo.key", "", nil),
	"IMG-14": signature("", "demo.pub", nil).but("6", 0, "artifact is not signed"),
	"IMG-15": signature("demo.key", "demo.pub", damaged(string(image(slotSize / 2)[:64]), slotSize/2-1)).but("6", anything, "checksum of rootfs"),
	"IMG-16": signature("demo.key", "demo.pub", damaged("header-info", 512+3)).but("6", 0, "checksum of header.tar"),
	"IMG-17": {
		setup: func(d *device) {
			imaged(nil)(d)
			d.setVariables("mender_check_saveenv_canary=1\nmender_saveenv_canary=\n")
		},
		then: []func(*device){func(d *device) {
			d.write("sandbox/dev/uboot-env", strings.Repeat("\x00", 2*0x4000))
		}},
		check: says("canary", "no copy of the boot environment is valid"),
	},
	"IMG-18": {
		setup: func(d *device) {
			imaged(func(s *artifact.Spec) {
				s.Scripts = []artifact.Script{{Name: "ArtifactInstall_Leave_01", Content: []byte("#!/bin/sh\nexit 1\n")}}
			})(d)
		},
		check: boots("A", onA),
	},
	"IMG-19": {setup: imaged(nil), check: boots("A", onA)},
	"IMG-20": {setup: clientsUpdate, exit: "5", stdout: nothing, why: whyClientsRecord, check: says("commit it or roll it back with Mender's client")},

	"CLI-31": {
		setup: clientsUpdate, exit: "5 ; 5", calls: "- ; -", stdout: "System not modified. ; -",
		provides: clientsRelease, why: whyClientsRecord,
		check: says("an update of Mender's client is in progress", "commit it or roll it back with Mender's client"),
	},
	"CLI-32": {
		setup: clientsUpdate, exit: "5 ; 5", calls: "- ; -", stdout: "System not modified. ; -",
		provides: clientsRelease, why: whyClientsRecord,
		check: says("an update of Mender's client is in progress", "commit it or roll it back with Mender's client"),
	},
}

// clientsRelease is what Mender's client had installed before the update that waits.
const clientsRelease = "artifact_group=canary, artifact_name=release-1, extra=two, rootfs-image.rb.version=1"

// clientsUpdate makes the device one on which Mender's client waits for a commit.
func clientsUpdate(d *device) {
	d.write("var/mender-store", string(hosttest.Read(d.t, "../menderstore/testdata/mender-3.4-waiting.mdb")))
}
