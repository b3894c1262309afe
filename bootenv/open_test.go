package bootenv_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flipside/bootenv"
	"flipside/bootenv/internal/boottest"
	"flipside/bootenv/internal/ubootenv"
	"flipside/internal/hosttest"
)

// TestOpen: what is found on a device, and in which order.
func TestOpen(t *testing.T) {
	v := boottest.Open(t, vectors)
	uboot := files(t, image(t, 1024, true, 1, "mender_boot_part=9"), image(t, 1024, true, 0))
	put := func(root, dir string) {
		src := v.Extract(t, "mender-grubenv/22-committed")
		if err := os.CopyFS(filepath.Join(root, dir), os.DirFS(src)); err != nil {
			t.Fatal(err)
		}
	}
	fwEnv := func(root string) { writeFile(t, root+"/etc/fw_env.config", hosttest.Read(t, uboot)) }
	for _, tt := range []struct {
		name    string
		prepare func(root string)
		options bootenv.Options
		source  string // its end; "" for an error
		err     error
	}{
		{"nothing", func(string) {}, bootenv.Options{}, "", bootenv.ErrNoConfig},
		{"U-Boot", fwEnv, bootenv.Options{}, "/etc/fw_env.config", nil},
		{"GRUB before U-Boot", func(root string) { fwEnv(root); put(root, "boot/grub/grub-mender-grubenv") }, bootenv.Options{}, "/boot/grub/grub-mender-grubenv", nil},
		{"the ESP first", func(root string) {
			put(root, "boot/efi/grub-mender-grubenv")
			put(root, "boot/grub/grub-mender-grubenv")
		}, bootenv.Options{}, "/boot/efi/grub-mender-grubenv", nil},
		{"EFI/BOOT", func(root string) { put(root, "boot/efi/EFI/BOOT") }, bootenv.Options{}, "/boot/efi/EFI/BOOT", nil},
		{"boot/grub", func(root string) { put(root, "boot/grub") }, bootenv.Options{}, "/boot/grub", nil},
		{"a plain GRUB is not Mender's", func(root string) { fwEnv(root); writeFile(t, root+"/boot/grub/grubenv", nil) }, bootenv.Options{}, "/etc/fw_env.config", nil},
		{"configured directory, the last line", func(root string) {
			put(root, "data/grubenv")
			put(root, "boot/efi/grub-mender-grubenv")
			writeFile(t, root+"/etc/mender_grubenv.config", []byte("# comment\nENV_DIR=/nosuch\nENV_DIR=\"/data/grubenv\"\n"))
		}, bootenv.Options{}, "/data/grubenv", nil},
		{"configured directory is missing", func(root string) {
			fwEnv(root)
			writeFile(t, root+"/etc/mender_grubenv.config", []byte("ENV_DIR=/nosuch\n"))
		}, bootenv.Options{}, "", bootenv.ErrNoConfig},
		{"explicit fw_env.config before GRUB", func(root string) { put(root, "boot/grub") }, bootenv.Options{FwEnvConfig: uboot}, uboot, nil},
		{"explicit and missing", fwEnv, bootenv.Options{FwEnvConfig: "/nosuch/fw_env.config"}, "", bootenv.ErrNoConfig},
		{"explicit GRUB, missing", fwEnv, bootenv.Options{GrubDir: "/nosuch"}, "", bootenv.ErrNoConfig},
		{"explicit programs", fwEnv, bootenv.Options{Print: []string{"a", "b"}, Set: []string{"c"}}, "a b, c", nil},
		{"YAML", func(root string) {
			writeFile(t, root+"/etc/fw_env.config", []byte("uboot:\n  size: 0x4000\n  devices:\n    - path: /dev/mtd0\n"))
		}, bootenv.Options{}, "", ubootenv.ErrYAML},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			tt.prepare(root)
			env, err := bootenv.Host{Root: root}.Open(tt.options)
			if tt.source == "" {
				if !errors.Is(err, tt.err) {
					t.Errorf("Open = %v; want %v", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Open = %v", err)
			}
			if tt.options.Print != nil {
				return // TestProgramsAreTools
			}
			if r := inspect(t, env); !strings.HasSuffix(r.Source, tt.source) {
				t.Errorf("source %s; want %s", r.Source, tt.source)
			}
			if got := read(t, env, "mender_boot_part"); got["mender_boot_part"] == "" {
				t.Errorf("variables %q", got)
			}
		})
	}
}

// TestOpenDefaultLocks: without LockDirs, the locks are where the tools have them.
func TestOpenDefaultLocks(t *testing.T) {
	root := t.TempDir()
	uboot := files(t, image(t, 1024, true, 1, "a=1"), image(t, 1024, true, 0))
	writeFile(t, root+"/etc/fw_env.config", hosttest.Read(t, uboot))
	for _, dir := range []string{"/run", "/var/lock"} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	env, err := bootenv.Host{Root: root}.Open(bootenv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	write(t, env, bootenv.Vars{"a": "2"})
	if env, err = (bootenv.Host{Root: root}).Open(bootenv.Options{GrubDir: grubDirWith(t, "a=1\n")}); err != nil {
		t.Fatal(err)
	}
	write(t, env, bootenv.Vars{"a": "2"})
	for _, name := range []string{"/run/fw_printenv.lock", "/var/lock/fw_printenv.lock", "/var/lock/grub-mender-grubenv-set.lock"} {
		if got := hosttest.Read(t, root+name); !bytes.Equal(got, nil) {
			t.Errorf("%s has %q", name, got)
		}
	}
}

func grubDirWith(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	writeGrubenv(t, dir+"/grubenv", text)
	return dir
}
