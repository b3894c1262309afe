package doctor_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"flipside/bootenv"
	"flipside/internal/deployment"
	"flipside/internal/doctor"
	"flipside/internal/slot"
)

// want is what must be found, and nothing else.
type want struct {
	level doctor.Level
	check string
	text  string // a part of it
	fix   string // a part of what to do
}

func problem(check, text, fix string) want { return want{doctor.Problem, check, text, fix} }
func warning(check, text, fix string) want { return want{doctor.Warning, check, text, fix} }

// broken is one thing that is wrong with a healthy device.
type broken struct {
	name string
	hurt func(*fixture)
	want []want
}

func check(t *testing.T, start func(*testing.T) *fixture, table []broken) {
	t.Helper()
	for _, b := range table {
		t.Run(b.name, func(t *testing.T) {
			f := start(t)
			b.hurt(f)
			d := f.examine()
			found := bad(d)
			for _, w := range b.want {
				i := slices.IndexFunc(found, func(f doctor.Finding) bool {
					return f.Level == w.level && f.Check == w.check && strings.Contains(f.Text, w.text)
				})
				if i < 0 {
					t.Errorf("no %s of %s with %q in %+v", w.level, w.check, w.text, found)
					continue
				}
				if !strings.Contains(found[i].Fix, w.fix) {
					t.Errorf("%+v; want a fix with %q", found[i], w.fix)
				}
				found = slices.Delete(found, i, i+1)
			}
			if len(found) > 0 {
				t.Errorf("also found: %+v", found)
			}
			if want := !slices.ContainsFunc(b.want, func(w want) bool { return w.level == doctor.Problem }); d.Healthy() != want {
				t.Errorf("Healthy = %v; want %v", d.Healthy(), want)
			}
		})
	}
}

func TestBrokenConfiguration(t *testing.T) {
	check(t, healthy, []broken{
		{"not JSON", func(f *fixture) {
			f.must(os.Rename(f.path(conf), f.path(data+"mender.conf"))) // the fallback still says the rest
			f.write(conf, "{\n\"RootfsPartA\": \n}")
		}, []want{problem(doctor.Configuration, "line 3", "correct it")}},
		{"wrong type", func(f *fixture) { f.key("ModuleTimeoutSeconds", "soon") }, []want{problem(doctor.Configuration, "ModuleTimeoutSeconds has the wrong type", "correct it")}},
		{"both ways to name keys", func(f *fixture) { f.key("ArtifactVerifyKeys", []string{f.path("etc/mender/verify-key.pem")}) }, []want{
			problem(doctor.Configuration, "both set", "correct it")}},
		{"no such handler", func(f *fixture) { f.key("RootfsHandler", "other") }, []want{problem(doctor.Configuration, `RootfsHandler is "other"`, "correct mender.conf")}},
		{"a directory", func(f *fixture) {
			f.must(os.Rename(f.path(conf), f.path(data+"mender.conf")))
			f.mkdir(conf)
		}, []want{problem(doctor.Configuration, "not a regular file", "correct it")}},
		{"named and missing", func(f *fixture) { f.o.FallbackFile = f.path("nowhere") }, []want{problem(doctor.Configuration, "command line names", "name a file that is there")}},
		{"misspelled", func(f *fixture) { f.key("ModuleTimoutSeconds", 5) }, []want{warning(doctor.Configuration, "looks like ModuleTimeoutSeconds", "write it ModuleTimeoutSeconds")}},
		{"misspelled with underscores", func(f *fixture) { f.key("state_script_timeout_seconds", 5) }, []want{warning(doctor.Configuration, "looks like StateScriptTimeoutSeconds", "write it StateScriptTimeoutSeconds")}},
		{"misspelled inside", func(f *fixture) { f.key("HttpsClient", map[string]any{"Certifcate": ""}) }, []want{warning(doctor.Configuration, "HttpsClient.Certificate", "write it HttpsClient.Certificate")}},
		{"misspelled verification", func(f *fixture) { f.key("ArtifactVerfyKeys", []string{"x"}) }, []want{problem(doctor.Configuration, "signatures", "write it ArtifactVerifyKeys")}},
		{"twice", func(f *fixture) {
			text, err := os.ReadFile(f.path(conf))
			f.must(err)
			f.write(conf, strings.Replace(string(text), "{", `{"SkipVerify": false, "skipverify": false,`, 1))
		}, []want{warning(doctor.Configuration, "twice", "keep one")}},
		{"negative", func(f *fixture) { f.key("StateScriptTimeoutSeconds", -5) }, []want{warning(doctor.Configuration, "is -5", "a number of seconds")}},
		{"Mender's other keys", func(f *fixture) {
			f.key("ServerURL", "https://example.org")
			f.key("InventoryPollIntervalSeconds", 5)
			f.key("Vendor", "x")
		}, nil},
		{"none", func(f *fixture) { f.remove(conf) }, []want{
			warning(doctor.Configuration, "there is no configuration", "RootfsPartA and RootfsPartB, and the keys"), warning(doctor.Slots, "none are configured", "set RootfsPartA and RootfsPartB"), warning(doctor.Environment, "not examined", "FwEnvConfig"),
		}},
		{"no key", func(f *fixture) { f.remove("etc/mender/verify-key.pem") }, []want{problem(doctor.Keys, "no such file", "put a public key in PEM format there")}},
		{"private key", func(f *fixture) { f.copy("../../testdata/artifacts/keys/demo.key", "etc/mender/verify-key.pem") }, []want{problem(doctor.Keys, "not a public key", "openssl pkey -in PRIVATE.key -pubout")}},
		{"no certificate", func(f *fixture) { f.key("ServerCertificate", f.path("nowhere")) }, []want{problem(doctor.HTTPS, "no such file", "put the server's certificate")}},
		{"empty certificate", func(f *fixture) { f.key("ServerCertificate", f.path(conf)) }, []want{problem(doctor.HTTPS, "no certificate in PEM format", "put the server's certificate")}},
		{"key without certificate", func(f *fixture) { f.key("HttpsClient", map[string]any{"Key": "k"}) }, []want{problem(doctor.HTTPS, "HttpsClient.Certificate is not set", "set HttpsClient.Certificate too")}},
		{"client certificate", func(f *fixture) { f.key("HttpsClient", map[string]any{"Certificate": f.path(conf)}) }, []want{problem(doctor.HTTPS, "client certificate", "both files in PEM format")}},
		{"no verification of servers", func(f *fixture) { f.key("SkipVerify", true) }, []want{warning(doctor.HTTPS, "SkipVerify", "remove SkipVerify")}},
	})
}

func TestBrokenSlots(t *testing.T) {
	check(t, healthy, []broken{
		{"B is gone", func(f *fixture) { f.remove("dev/mmcblk0p3") }, []want{problem(doctor.Slots, "slot B, RootfsPartB=", "RootfsPartB in mender.conf must name")}},
		{"both are gone", func(f *fixture) { f.remove("dev/mmcblk0p2"); f.remove("dev/mmcblk0p3") },
			[]want{problem(doctor.Slots, "slot A, RootfsPartA=", "RootfsPartA in mender.conf must name"), problem(doctor.Slots, "slot B, RootfsPartB=", "RootfsPartB in mender.conf must name")}},
		{"a directory", func(f *fixture) { f.remove("dev/mmcblk0p3"); f.mkdir("dev/mmcblk0p3") }, []want{problem(doctor.Slots, "neither a block device nor", "lsblk")}},
		{"only one", func(f *fixture) { f.key("RootfsPartA", "") }, []want{problem(doctor.Slots, "RootfsPartA is not configured", "set RootfsPartA")}},
		{"the same twice", func(f *fixture) { f.key("RootfsPartB", f.path("dev/mmcblk0p2")) }, []want{problem(doctor.Slots, "are the same", "two partitions")}},
		{"not the same size", func(f *fixture) { f.must(os.Truncate(f.path("dev/mmcblk0p3"), 3<<20)) }, []want{warning(doctor.Slots, "differ in size, by 2 MiB", "the same size")}},
		{"empty", func(f *fixture) {
			f.must(os.Truncate(f.path("dev/mmcblk0p2"), 0))
			f.must(os.Truncate(f.path("dev/mmcblk0p3"), 0))
		}, []want{problem(doctor.Slots, "slot A", "as large as an image"), problem(doctor.Slots, "slot B", "as large as an image")}},
		{"neither runs", func(f *fixture) { f.link("../etc/fw_env.config", "run/root") }, []want{problem(doctor.ActiveSlot, "cannot tell which slot runs", "findmnt /")}},
	})
	check(t, metal, []broken{
		{"files", func(f *fixture) { f.how.Stat = nil }, []want{
			problem(doctor.Slots, "slot A", "RootfsPartA in mender.conf"), problem(doctor.Slots, "slot B", "RootfsPartB in mender.conf"), problem(doctor.DataDirectory, "same file system", "third partition"),
		}},
		{"neither runs", func(f *fixture) { f.lies(f.o.Root, slot.Number{Major: 179, Minor: 9}) }, []want{problem(doctor.ActiveSlot, "cannot tell which slot runs", "findmnt /")}},
		{"mounted", func(f *fixture) { f.write("proc/self/mountinfo", "26 1 179:3 / /mnt rw - ext4 /dev/mmcblk0p3 rw\n") }, []want{problem(doctor.InactiveSlot, "mounted on /mnt", "unmount it")}},
		{"read-only", func(f *fixture) { f.write("sys/dev/block/179:3/ro", "1\n") }, []want{problem(doctor.InactiveSlot, "read-only", "make the partition writable")}},
	})
}

func TestBrokenEnvironment(t *testing.T) {
	setenv := func(vars bootenv.Vars) func(*fixture) { return func(f *fixture) { f.setenv(vars) } }
	config := func(lines string) func(*fixture) {
		return func(f *fixture) {
			f.write("etc/fw_env.config", strings.ReplaceAll(lines, "ENV", f.path("dev/uboot-env")))
		}
	}
	check(t, healthy, []broken{
		{"no fw_env.config", func(f *fixture) { f.remove("etc/fw_env.config") }, []want{problem(doctor.Environment, "no boot environment is configured", "/etc/fw_env.config, or FwEnvConfig")}},
		{"nonsense", config("what is this\n"), []want{problem(doctor.Environment, "fw_env.config", "DEVICE OFFSET SIZE")}},
		{"no device", config("/nowhere 0x0 0x4000\n"), []want{problem(doctor.Environment, "/nowhere", "name devices that are there")}},
		{"wrong offset", config("ENV 0x100 0x4000\n"), []want{problem(doctor.Environment, "no copy of the boot environment is valid", "offset and size of each copy")}},
		{"overlap", config("ENV 0x0 0x4000\nENV 0x2000 0x4000\n"), []want{problem(doctor.Environment, "overlap", "one line for each copy")}},
		{"a line too many", config("ENV 0x0 0x4000\nENV 0x4000 0x4000\nENV 0x8000 0x4000\n"), []want{warning(doctor.Environment, "lines [3] is ignored", "at most two")}},
		{"a copy is damaged", func(f *fixture) { f.scratch(0) }, []want{warning(doctor.Environment, "copy 1", "any write repairs it")}},
		{"both copies are damaged", func(f *fixture) { f.scratch(0); f.scratch(1) }, []want{problem(doctor.Environment, "no copy of the boot environment is valid", "offset and size of each copy")}},
		{"canary", setenv(bootenv.Vars{"mender_saveenv_canary": ""}), []want{problem(doctor.Canary, "never saved", "CONFIG_ENV_OFFSET")}},
		{"no canary", setenv(bootenv.Vars{"mender_check_saveenv_canary": ""}), []want{warning(doctor.Canary, "nothing proves", "mender_check_saveenv_canary=1")}},
		{"trial", setenv(bootenv.Vars{"upgrade_available": "1"}), []want{problem(doctor.Selection, "did not install it", "the tool that installed it")}},
		{"other slot", setenv(bootenv.Vars{"mender_boot_part": "3", "mender_boot_part_hex": "3"}), []want{warning(doctor.Selection, "starts slot B", "set mender_boot_part to 2")}},
		{"no slot", setenv(bootenv.Vars{"mender_boot_part": "16", "mender_boot_part_hex": "10"}), []want{problem(doctor.Selection, "neither slot A", "must end in the numbers")}},
		{"hexadecimal", setenv(bootenv.Vars{"mender_boot_part_hex": "3"}), []want{problem(doctor.Selection, "mender_boot_part_hex", "fw_setenv mender_boot_part_hex 2")}},
		{"no part", setenv(bootenv.Vars{"mender_boot_part": ""}), []want{problem(doctor.Selection, "mender_boot_part is not defined", "the number of the partition that runs")}},
		{"no trial variable", setenv(bootenv.Vars{"upgrade_available": ""}), []want{problem(doctor.Selection, "upgrade_available is not defined", "upgrade_available to 0")}},
		{"no limit", setenv(bootenv.Vars{"bootlimit": ""}), []want{problem(doctor.Fallback, "does not fall back", "fw_setenv bootlimit 1")}},
		{"no altbootcmd", setenv(bootenv.Vars{"altbootcmd": ""}), []want{problem(doctor.Fallback, "stops at its prompt", "fw_setenv altbootcmd")}},
		{"count", setenv(bootenv.Vars{"bootcount": "many"}), []want{warning(doctor.Fallback, "no number", "fw_setenv bootcount 0")}},
	})
	programs := func(print ...string) func(*fixture) {
		return func(f *fixture) {
			f.write("vars", "mender_boot_part=2\nupgrade_available=0\n")
			f.key("BootEnvPrint", append(print, f.path("vars")))
			f.key("BootEnvSet", []string{"true"})
		}
	}
	check(t, healthy, []broken{
		{"programs", programs("cat"), nil},
		{"programs that fail", programs("false"), []want{problem(doctor.Environment, "false", "correct BootEnvPrint")}},
		{"programs of something else", programs("echo"), []want{problem(doctor.Selection, "mender_boot_part is not defined", "the number of the partition that runs")}},
	})
	check(t, singleCopy, []broken{
		{"one copy", func(f *fixture) {}, []want{warning(doctor.Environment, "has one copy", "redundant environment")}},
	})
	bootPartition := func(force, ro, locked string) func(*fixture) {
		return func(f *fixture) {
			f.must(os.Rename(f.path("dev/uboot-env"), f.path("dev/mmcblk0boot0")))
			f.write("etc/fw_env.config", f.path("dev/mmcblk0boot0")+" 0 0x4000\n"+f.path("dev/mmcblk0boot0")+" 0x4000 0x4000\n")
			const dir = "sys/class/block/mmcblk0boot0/"
			f.write(dir+"ro", ro)
			f.write(dir+"ro_lock_until_next_power_on", locked)
			if force != "" {
				f.write(dir+"force_ro", force)
			}
		}
	}
	twice := func(w want) []want { return []want{w, w} } // both copies are there
	check(t, healthy, []broken{
		{"eMMC", bootPartition("1\n", "1\n", "0\n"), nil},
		{"eMMC without force_ro", bootPartition("", "1\n", "0\n"), twice(warning(doctor.ForceRO, "force_ro", "has force_ro"))},
		{"eMMC locked", bootPartition("1\n", "1\n", "1\n"), twice(problem(doctor.ForceRO, "locked", "ro_lock_until_next_power_on"))},
		{"eMMC protected", bootPartition("0\n", "1\n", "0\n"), twice(problem(doctor.ForceRO, "write-protected", "mmc writeprotect"))},
	})
	check(t, grub, []broken{
		{"GRUB: cut short", func(f *fixture) {
			f.write("boot/efi/grub-mender-grubenv/mender_grubenv2/lock", grubBlock("editing=1\n"))
		}, []want{warning(doctor.Environment, "copy 2", "any write repairs it")}},
		{"GRUB: the copies differ", func(f *fixture) {
			f.write("boot/efi/grub-mender-grubenv/mender_grubenv2/env", grubBlock("bootcount=0\nmender_boot_part=3\nupgrade_available=0\n"))
		}, []want{warning(doctor.Environment, "differ", "any write repairs it")}},
		{"GRUB: hexadecimal is not used", setenv(bootenv.Vars{"mender_boot_part_hex": "3"}), nil},
		{"GRUB: count", setenv(bootenv.Vars{"bootcount": "7"}), []want{problem(doctor.Fallback, "neither 0 nor 1", "set it to 0")}},
		{"GRUB: neither copy", func(f *fixture) {
			f.write("boot/efi/grub-mender-grubenv/mender_grubenv1/env", "")
			f.write("boot/efi/grub-mender-grubenv/mender_grubenv2/env", "")
		}, []want{problem(doctor.Environment, "no copy of the boot environment is valid", "grub-editenv")}},
	})
}

func TestBrokenData(t *testing.T) {
	states := []deployment.State{deployment.Downloading, deployment.Fetched, deployment.Downloaded, deployment.Installing, deployment.Installed}
	check(t, healthy, []broken{
		{"no directory", func(f *fixture) { f.remove(data) }, []want{problem(doctor.DataDirectory, "no such file", "make it"), problem(doctor.DeviceType, "no such file", "write the line device_type=NAME")}},
		{"a file", func(f *fixture) { f.remove(data); f.write(strings.TrimSuffix(data, "/"), "") },
			[]want{problem(doctor.DataDirectory, "not a directory", "make it"), problem(doctor.DeviceType, "not a directory", "write the line device_type=NAME"), problem(doctor.State, "not a directory", "see to it that it can be read"), problem(doctor.MenderClient, "not a directory", "see to it that it can be read"), problem(doctor.Configuration, "not a directory", "correct it")}},
		{"read-only", func(f *fixture) { f.space.ReadOnly = true }, []want{problem(doctor.DataDirectory, "mounted read-only", "/etc/fstab")}},
		{"full", func(f *fixture) { f.space.Free = 1000 }, []want{problem(doctor.DataDirectory, "full", "make room")}},
		{"no inodes", func(f *fixture) { f.space.Files = 0 }, []want{problem(doctor.DataDirectory, "room for no files", "remove some")}},
		{"little room", func(f *fixture) { f.space.Free = 1 << 20 }, []want{warning(doctor.DataDirectory, "room for 1 MiB only", "make room")}},
		{"no device type", func(f *fixture) { f.remove(data + "device_type") }, []want{problem(doctor.DeviceType, "no such file", "write the line device_type=NAME")}},
		{"empty device type", func(f *fixture) { f.write(data+"device_type", "device_type=\n") }, []want{problem(doctor.DeviceType, "no device_type= line", "write the line device_type=NAME")}},
		{"damaged state", func(f *fixture) {
			f.deploy(states[:2]...)
			f.write(state+"state-0.json", "{")
			f.remove(data + "scripts")
		}, []want{warning(doctor.State, "state-0.json", "the next update writes it anew"), warning(doctor.Deployment, "fetched", "flipside status")}},
		{"lost state", func(f *fixture) { f.write(state+"state-0.json", "{") }, []want{problem(doctor.State, "no readable state", "keep both files")}},
		{"newer state", func(f *fixture) { f.write(state+"state-0.json", `{"version": 9}`) }, []want{problem(doctor.State, "version 9", "install the flipside that wrote it")}},
		{"interrupted download", func(f *fixture) { f.deploy(states[:1]...) }, []want{warning(doctor.Deployment, "nothing was activated", "the next install")}},
		{"interrupted install", func(f *fixture) { f.deploy(states[:4]...) }, []want{warning(doctor.Deployment, "was interrupted while it was installing", "`flipside resume`")}},
		{"waiting", func(f *fixture) { f.deploy(states...) }, []want{warning(doctor.Deployment, "waits for a decision", "`flipside commit`")}},
		{"state.new", func(f *fixture) { f.write(state+"state-1.json.new", "{") }, []want{warning(doctor.Leftovers, "state-1.json.new", "rm -r")}},
		{"scripts.new", func(f *fixture) { f.mkdir(data + "scripts.new") }, []want{warning(doctor.Leftovers, "scripts.new", "rm -r")}},
		{"work tree", func(f *fixture) { f.mkdir(data + "modules/v3/payloads/0000/tree") }, []want{warning(doctor.Leftovers, "tree", "rm -r")}},
	})
	check(t, metal, []broken{
		{"in memory", func(f *fixture) { f.space.Volatile = true }, []want{problem(doctor.DataDirectory, "in memory", "mount a partition there")}},
		{"in the running slot", func(f *fixture) { f.lies(f.o.Datastore, slot.Number{Major: 179, Minor: 2}) }, []want{problem(doctor.DataDirectory, "same file system as", "third partition")}},
		{"in the other slot", func(f *fixture) { f.lies(f.o.Datastore, slot.Number{Major: 179, Minor: 3}) }, []want{problem(doctor.DataDirectory, "which is a slot", "third partition")}},
	})
}

func TestBrokenPrograms(t *testing.T) {
	module := func(content string) func(*fixture) { return func(f *fixture) { f.program(modules+"odd", content) } }
	check(t, healthy, []broken{
		{"module not executable", func(f *fixture) { f.chmod(modules+"single-file", 0o644) }, []want{warning(doctor.Modules, "not executable", "chmod +x")}},
		{"module without interpreter", module("#!/no/such/python3\n"), []want{problem(doctor.Modules, "/no/such/python3 is not there", "install the interpreter")}},
		{"module without env's interpreter", module("#!/usr/bin/env -S no-such-python\n"), []want{problem(doctor.Modules, "no-such-python is not in $PATH", "install the interpreter")}},
		{"module of another system", module("#!/bin/sh\r\n"), []want{problem(doctor.Modules, "carriage return", "line ends of Unix")}},
		{"module that is text", module("echo hello\n"), []want{problem(doctor.Modules, "#!", "begin it with #!/bin/sh")}},
		{"module that is empty", module("#!\n"), []want{problem(doctor.Modules, "no interpreter", "begin it with #!/bin/sh")}},
		{"module that leads nowhere", func(f *fixture) { f.link("nowhere", modules+"odd") }, []want{problem(doctor.Modules, "no such file", "put what it leads to there")}},
		{"tools of a module", func(f *fixture) {
			f.t.Setenv("PATH", f.path("usr/bin"))
			f.program("usr/bin/sh", "")
			f.program(modules+"docker", "#!/bin/sh\n# needs jq\ncommand -v docker && docker run $(jq -r .containers[] meta-data)\n")
			f.program(modules+"directory", "#!/bin/sh\ncp -a files dest # tar would do too\n")
		}, []want{warning(doctor.Modules, "docker calls docker and jq,", "install docker and jq")}},
		{"tools that are there", func(f *fixture) { f.program(modules+"directory", "#!/bin/sh\ntar -xf update.tar -C /\n") }, nil},
		{"binary module", module("\x7fELF and so on"), nil},
		{"no modules", func(f *fixture) { f.remove("usr") }, nil},
		{"rootfs-image module", func(f *fixture) {
			f.configure(func(c map[string]any) {
				delete(c, "RootfsPartA")
				delete(c, "RootfsPartB")
				c["RootfsHandler"] = "module"
			})
			f.program(modules+"rootfs-image", "#!/bin/sh\n")
		}, nil},
		{"no rootfs-image module", func(f *fixture) { f.key("RootfsHandler", "module") }, []want{problem(doctor.Modules, "rootfs-image, which is not there", "remove RootfsHandler")}},

		{"script misnamed", func(f *fixture) { f.program(scripts+"Download_Enter_5_check", "#!/bin/sh\n") }, []want{warning(doctor.Scripts, "not named like", "name it like")}},
		{"script of artifacts", func(f *fixture) { f.program(scripts+"ArtifactInstall_Enter_00", "#!/bin/sh\n") }, []want{warning(doctor.Scripts, "come with the artifact", "mender-artifact write --script")}},
		{"script of a daemon", func(f *fixture) { f.program(scripts+"Sync_Enter_00", "#!/bin/sh\n") }, []want{warning(doctor.Scripts, "no state Sync", "remove it")}},
		{"script not executable", func(f *fixture) { f.chmod(scripts+"Download_Enter_05_wifi", 0o644) }, []want{problem(doctor.Scripts, "not executable", "chmod +x")}},
		{"script without interpreter", func(f *fixture) { f.program(scripts+"Download_Leave_05", "#!/no/lua\n") }, []want{problem(doctor.Scripts, "/no/lua", "install the interpreter")}},
		{"script that is a directory's name", func(f *fixture) { f.mkdir(scripts + "Download_Leave_05") }, nil},
		{"scripts of another version", func(f *fixture) { f.write(scripts+"version", "9") }, []want{problem(doctor.Scripts, `says "9"`, "write 3")}},
		{"scripts without version", func(f *fixture) { f.remove(scripts + "version") }, nil},
	})
}

func TestBrokenSystem(t *testing.T) {
	check(t, healthy, []broken{
		{"clock", func(f *fixture) { f.how.Now = func() time.Time { return time.Unix(0, 0) } }, []want{warning(doctor.Clock, "1970-01-01", "set it")}},
		{"no boot id", func(f *fixture) { f.remove("run/boot_id") }, []want{problem(doctor.BootID, "no such file", "mount /proc")}},
		{"empty boot id", func(f *fixture) { f.write("run/boot_id", "\n") }, []want{problem(doctor.BootID, "empty", "use a kernel")}},
		{"Mender's update", func(f *fixture) { f.copy("../menderstore/testdata/mender-3.4-waiting.mdb", data+"mender-store") },
			[]want{problem(doctor.MenderClient, "in progress", "commit it or roll it back with Mender's client")}},
		{"Mender's store", func(f *fixture) { f.copy("../menderstore/testdata/mender-3.4-committed.mdb", data+"mender-store") }, nil},
		{"Mender's store is damaged", func(f *fixture) { f.write(data+"mender-store", "?") }, []want{warning(doctor.MenderClient, "not a sound", "remove it if")}},
		{"Mender's daemon", func(f *fixture) { f.write("proc/77/cmdline", "/usr/bin/mender-update\x00daemon\x00") }, []want{warning(doctor.MenderClient, "process 77", "systemctl disable --now")}},
		{"Mender's old daemon", func(f *fixture) { f.write("proc/77/cmdline", "mender\x00-daemon\x00") }, []want{warning(doctor.MenderClient, "process 77", "systemctl disable --now")}},
		{"Mender's client at work", func(f *fixture) { f.write("proc/77/cmdline", "mender-update\x00install\x00x.mender\x00") }, []want{problem(doctor.MenderClient, "at work: process 77, mender-update install", "wait until it has ended")}},
		{"not a daemon", func(f *fixture) { f.write("proc/77/cmdline", "/usr/bin/mender-update\x00show-artifact\x00") }, nil},
	})
}
