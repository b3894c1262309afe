#!/bin/sh
# Makes the artifacts in this directory again, with the real mender-artifact. README.md says what
# they are. The result is equivalent, not identical: mender-artifact writes the time of day into
# them, and ECDSA signatures are different each time.
#
# Needs: mender-artifact e2fsprogs openssl zstd xz-utils (packages of Debian 12)
set -eu

cd "$(dirname "$0")"
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export E2FSPROGS_FAKE_TIME=1700000000 SOURCE_DATE_EPOCH=1700000000 LC_ALL=C TZ=UTC

# Keys for tests and the demonstration: they are public, never trust them.
mkdir -p keys
if [ ! -e keys/demo.key ]; then
	openssl ecparam -name prime256v1 -genkey -noout -out keys/demo.key
	openssl genrsa -traditional -out keys/rsa.key 3072
	openssl genpkey -algorithm ed25519 -out keys/ed25519.key
	openssl ecparam -name prime256v1 -genkey -noout -out keys/other.key
	for k in demo rsa ed25519 other; do
		openssl pkey -in keys/$k.key -pubout -out keys/$k.pub
	done
fi

# words FILE LINES SEED: text that looks like documentation, the same for the same seed.
words() {
	awk -v lines="$2" -v seed="$3" 'BEGIN {
		n = split("the a device update slot boot image service daemon network config option value file path when if then starts stops reads writes default system kernel module driver sensor gateway interface timeout retry log level state partition environment variable user group permission set unset enabled disabled restart after before requires wants see also section note warning example", w, " ")
		srand(seed)
		for (l = 0; l < lines; l++) {
			line = ""
			for (i = 0; i < 6 + int(rand() * 6); i++) line = line w[1 + int(rand() * n)] " "
			print line
		}
	}' > "$1"
}

# tree DIR RELEASE: the root file system of a small device.
tree() {
	mkdir -p "$1/etc/init.d" "$1/etc/network" "$1/usr/bin" "$1/usr/lib/modules" "$1/usr/share/doc" "$1/var/log" "$1/dev" "$1/proc" "$1/sys" "$1/tmp"
	printf 'NAME="Sandbox Linux"\nID=sandbox\nVERSION_ID=%s\nPRETTY_NAME="Sandbox Linux %s"\n' "$2" "$2" > "$1/etc/os-release"
	echo sandbox > "$1/etc/hostname"
	printf '127.0.0.1 localhost\n127.0.1.1 sandbox\n' > "$1/etc/hosts"
	printf 'root:x:0:0:root:/root:/bin/sh\n' > "$1/etc/passwd"
	printf '/dev/root / ext4 defaults 0 1\n' > "$1/etc/fstab"
	i=0
	while [ $i -lt 120 ]; do
		d=$1/usr/share/doc/package-$((i / 8))
		mkdir -p "$d"
		# Every tenth file is another one in each release, as updates go.
		if [ $((i % 10)) = 0 ]; then seed=$((i + $2 * 1000)); else seed=$i; fi
		words "$d/README.$i" $((4 + i % 7)) $seed
		if [ $((i % 6)) = 0 ]; then
			printf '#!/bin/sh\n# service %s of release %s\nexec /usr/bin/service-%s "$@"\n' $i "$2" $i > "$1/etc/init.d/service-$i"
			chmod 755 "$1/etc/init.d/service-$i"
		fi
		i=$((i + 1))
	done
	find "$1" -exec touch -h -d @1700000000 {} +
}

# image FILE DIR SIZE SEED: an ext4 file system that is the same each time.
image() {
	mke2fs -q -t ext4 -d "$2" -L rootfs -m 0 -U 00000000-0000-4000-8000-00000000000"$4" \
		-E hash_seed=00000000-0000-4000-8000-00000000000"$4",root_owner=0:0 "$1" "$3"
}

for r in 2 3; do
	tree "$work/tree-$r" $r
	image "$work/release-$r.ext4" "$work/tree-$r" 48M $r
done
mkdir "$work/small" && echo "a small one" > "$work/small/hello"
touch -d @1700000000 "$work/small/hello" "$work/small"
image "$work/small.ext4" "$work/small" 1M 1

cd "$work"
words one.conf 20 1
words two.conf 2000 2
: > empty.conf
printf '{"destination":"/etc/app","mode":420,"nested":{"list":[1,2,{"a":null}]}}' > meta-data.json
for s in ArtifactInstall_Enter_00_check ArtifactInstall_Leave_10_sync ArtifactCommit_Enter_50 ArtifactReboot_Enter_01_announce; do
	printf '#!/bin/sh\necho "$0"\n' > $s
done

ma() { # mender-artifact write KIND FILE: the rest as it is
	kind=$1; out=$2; shift 2
	mender-artifact write "$kind" -t sandbox -o "$here/$out" "$@" > /dev/null 2> log || { cat log >&2; exit 1; }
}

ma rootfs-image release-2.mender -n release-2 -f release-2.ext4 -k "$here/keys/demo.key" --no-progress --compression lzma
ma rootfs-image release-3.mender -n release-3 -f release-3.ext4 -k "$here/keys/demo.key" --no-progress --compression lzma

ma rootfs-image rootfs-unsigned.mender -n small-1 -f small.ext4 --no-progress
ma rootfs-image rootfs-rsa.mender -n small-1 -f small.ext4 -k "$here/keys/rsa.key" --no-progress
ma rootfs-image rootfs-xz.mender -n small-1 -f small.ext4 -k "$here/keys/demo.key" --no-progress --compression lzma
ma module-image module-plain.mender -n files-1 -T single-file -f one.conf --compression none
ma module-image module-3-files.mender -n files-1 -T directory -f one.conf -f two.conf -f empty.conf -m meta-data.json -k "$here/keys/demo.key"
ma module-image module-scripts.mender -n scripts-1 -T directory -f one.conf \
	-s ArtifactInstall_Enter_00_check -s ArtifactInstall_Leave_10_sync -s ArtifactCommit_Enter_50 -s ArtifactReboot_Enter_01_announce
ma module-image module-depends.mender -n depends-1 -T directory -f one.conf -t other-device \
	-N release-2 -N release-3 -G stable -g beta -d rootfs-image.version:release-2 -d feature:on \
	-p feature:extra -p second:value --clears-provides 'feature*'
ma bootstrap-artifact bootstrap.mender -n release-1 -p rootfs-image.version:release-1 -k "$here/keys/rsa.key"

# What is to be refused.
ma rootfs-image format-2.mender -v 2 -n small-1 -f small.ext4 --no-progress
ma module-image augmented.mender -n files-1 -T directory -f one.conf --augment-file empty.conf --augment-type directory

# Debian's mender-artifact is built without zstd: pack rootfs-rsa.mender again by hand. The files are
# the real ones, the packing is zstd's own, the signature openssl's.
mkdir z && tar -C z -xf "$here/rootfs-rsa.mender" && cd z
for f in header data/0000; do
	gzip -dc $f.tar.gz | zstd -q -19 > $f.tar.zst
	rm $f.tar.gz
done
sed -i '/header\.tar/d' manifest
sha256sum header.tar.zst >> manifest
openssl dgst -sha256 -sign "$here/keys/rsa.key" manifest | base64 > manifest.sig
tar --format=ustar --blocking-factor=2 --owner=0 --group=0 --mtime=@0 -cf "$here/rootfs-zstd.mender" version manifest manifest.sig header.tar.zst data/0000.tar.zst

cd "$here"
chmod 644 *.mender keys/*
ls -l *.mender
