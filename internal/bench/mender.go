package main

import (
	"context"
	"os"
	"os/exec"
)

// mender is Mender's own client, 3.x, which insists on running from the active slot: its / is the first
// loop device, in a mount namespace of its own that has the programs of this machine. The boot environment
// is a file there. Making all that takes about 0.03 s, which are part of the time.
var mender = peer{
	name: "Mender", programs: []string{"mender", "unshare", "chroot"}, prepare: makeMender, suffix: "mender-client",
	knows: map[string]string{"none": "", "gzip": "", "lzma": ""},
	run: func(r *rig, file string) (string, []string) {
		return "unshare", []string{"--mount", "sh", "-ec", menderScript, "sh", r.file("mender-root"), r.loopA, r.loopB, file}
	},
}

const menderScript = `
client=$(command -v mender)
mount --make-rprivate /
mount "$2" "$1"
cd "$1"
mkdir -p usr dev proc sys tmp run etc/mender var/lib/mender
for dir in bin sbin lib lib64; do ln -sfn usr/$dir $dir; done
for dir in usr dev proc sys; do mount --rbind /$dir $dir; done
mount -t tmpfs tmpfs tmp
touch tmp/mender tmp/artifact
mount --bind "$client" tmp/mender
mount --bind "$4" tmp/artifact
cp /etc/ld.so.cache etc
printf '{"RootfsPartA":"%s","RootfsPartB":"%s"}' "$2" "$3" >etc/mender/mender.conf
echo device_type=sandbox >var/lib/mender/device_type
rm -f var/lib/mender/mender-store*
echo artifact_name=old >etc/mender/artifact_info
printf 'mender_boot_part=%s\nupgrade_available=0\nbootcount=0\n' "${2##*[!0-9]}" >tmp/env
cat >tmp/fw_printenv <<'end'
#!/bin/sh
for name; do grep "^$name=" /tmp/env | tail -n 1; done
end
cat >tmp/fw_setenv <<'end'
#!/bin/sh
if [ "$1" = -s ]; then sed 's/[= ]/=/' >>/tmp/env; else echo "$1=$2" >>/tmp/env; fi
end
chmod +x tmp/fw_printenv tmp/fw_setenv
exec chroot . env PATH=/tmp:/usr/sbin:/usr/bin /tmp/mender --no-syslog install /tmp/artifact`

// makeMender gives the active slot a file system, and the peer a name for the artifact.
func makeMender(ctx context.Context, r *rig, compression, _, file string) error {
	if err := os.MkdirAll(r.file("mender-root"), 0o755); err != nil {
		return err
	}
	if err := remove(file); err != nil {
		return err
	}
	if err := os.Link(r.artifact(compression), file); err != nil {
		return err
	}
	return output(exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", r.loopA))
}
