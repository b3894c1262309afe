package conformance_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"flipside/artifact"
)

// How modules take a payload.
const (
	streams = `while next=$(cat stream-next) && [ -n "$next" ]; do
	mkdir -p "$DEVICE/got"
	cat "$next" >"$DEVICE/got/${next##*/}"
done`
	keeps = `cp -r files "$DEVICE/got"`
)

const (
	autoCalls = "ProvidePayloadFileSizes Download SupportsRollback ArtifactInstall NeedsArtifactReboot ArtifactCommit Cleanup"
	// What a refused artifact makes flipside say: nothing was begun.
	untouched = "Streaming failed. | System not modified."
)

// got checks the payload's files that a module took: names and contents.
func got(files ...string) func(*device, []ran) {
	return func(d *device, _ []ran) {
		entries, err := os.ReadDir(d.path("got"))
		if err != nil || len(entries) != len(files)/2 {
			d.t.Fatalf("the module got %v, %v; want %q", entries, err, files)
		}
		for i := 0; i < len(files); i += 2 {
			if text := d.read(filepath.Join("got", files[i])); text != files[i+1] {
				d.t.Errorf("the module got %s with %.100q; want %.100q", files[i], text, files[i+1])
			}
		}
	}
}

// argued checks what the module was called with in a state.
func argued(state string) func(*device, []ran) {
	return func(d *device, _ []ran) {
		tree := d.path("var/modules/v3/payloads/0000/tree")
		want := strings.Join([]string{d.path("usr/modules/v3/rootfs-image"), state, tree, "2", tree, ""}, "\n")
		if got := d.read("argv"); got != want {
			d.t.Errorf("the module was called with program, arguments, their number, and directory:\n%s\nwant\n%s", got, want)
		}
	}
}

const argv = `printf '%s\n' "$0" "$1" "$2" "$#" "$PWD" >"$DEVICE/argv"`

// contains makes the payload one of these files: names and contents.
func contains(files ...string) func(*artifact.Spec) {
	return func(s *artifact.Spec) {
		s.Type, s.Files = "rootfs-image", nil
		// More than one file is against what the tool makes of a root file system, not of this type.
		s.SoftwareVersion = ""
		for i := 0; i < len(files); i += 2 {
			s.Files = append(s.Files, artifact.FileBytes(files[i], []byte(files[i+1])))
		}
	}
}

// becomes makes the module do something else from the next command on.
func becomes(state, what string) func(*device) {
	return func(d *device) { d.does(map[string]string{state: what}) }
}

const whyAskedFirst = "the module is asked before it installs: one that cannot answer changes nothing (fault 29)"

// Update modules, protocol version 3.
var moduleRows = withPairs(map[string]row{
	"UM-01": {
		setup: func(d *device) {
			some := artifact.Depends{"device_type": {"Some device type"}}
			d.artifact("var/bootstrap.mender", artifact.Spec{Name: "name", Group: "group", Depends: some, Provides: artifact.Provides{}})
			d.write("var/device_type", "device_type=Some device type\n")
		},
		artifact: func(s *artifact.Spec) { s.Depends["device_type"] = []string{"Some device type"} },
		does:     map[string]string{"ArtifactInstall": `cp -r . "$DEVICE/tree"`},
		check: func(d *device, _ []ran) {
			for name, want := range map[string]string{
				"version": "3\n", "current_artifact_name": "name\n", "current_artifact_group": "group\n",
				"current_device_type": "Some device type\n", "header/artifact_group": "", "header/artifact_name": "test",
				"header/payload_type": "rootfs-image", "header/meta-data": "null", "files/rootfs": "test\n",
			} {
				if got := d.read(filepath.Join("tree", name)); got != want {
					d.t.Errorf("tree/%s is %q; want %q", name, got, want)
				}
			}
		},
	},
	"UM-02": {does: map[string]string{"ProvidePayloadFileSizes": yes}},
	"UM-03": {does: map[string]string{"ProvidePayloadFileSizes": no}},
	"UM-04": {},
	"UM-05": {does: map[string]string{"ProvidePayloadFileSizes": "echo Some bogus answer"}, check: says(`it answered "Some bogus answer`)},
	"UM-06": {does: map[string]string{"ProvidePayloadFileSizes": "echo Yes; echo more"}},
	"UM-07": {does: map[string]string{"Download": "exit 2"}, check: says("exit status 2")},
	"UM-08": {does: map[string]string{"Download": streams}, check: got("rootfs", "test\n")},
	"UM-09": {does: map[string]string{"Download": `head -c 1 "$(cat stream-next)" >/dev/null`}},
	"UM-10": {does: map[string]string{"Download": `cat stream-next >/dev/null`}},
	"UM-11": {does: map[string]string{"Download": `exec 3<stream-next`}},
	"UM-12": {does: map[string]string{"Download": `cat stream-next >/dev/null; exit 2`}, check: says("exit status 2")},
	"UM-13": {does: map[string]string{"Download": `cat "$(cat stream-next)" >/dev/null`}},
	"UM-14": {does: map[string]string{"Download": streams}, artifact: contains("one", "1\n", "two", "2\n"), check: got("one", "1\n", "two", "2\n")},
	"UM-15": {does: map[string]string{"ArtifactInstall": keeps}, check: got("rootfs", "test\n")},
	"UM-16": {does: map[string]string{"ArtifactInstall": keeps}, artifact: contains("one", "1\n", "two", "2\n"), check: got("one", "1\n", "two", "2\n")},
	"UM-17": {does: map[string]string{"Download": "mkdir -p files/rootfs"}, check: says("is a directory")},
	"UM-18": {does: map[string]string{"Download": hangs}, setup: shortModules, check: says("timed out after 1s")},
	"UM-19": {
		does: map[string]string{"ProvidePayloadFileSizes": yes, "DownloadWithFileSizes": `next=$(cat stream-next)
		echo "$next" >"$DEVICE/announced"
		mkdir "$DEVICE/got"
		cat "${next% *}" >"$DEVICE/got/rootfs"
		cat stream-next`},
		check: func(d *device, runs []ran) {
			got("rootfs", "test\n")(d, runs)
			if line := d.read("announced"); line != "streams/rootfs 5\n" {
				d.t.Errorf("announced was %q", line)
			}
		},
	},
	"UM-20": {does: map[string]string{"ArtifactInstall": argv}, check: argued("ArtifactInstall")},
	"UM-22": {does: map[string]string{"ArtifactCommit": argv}, check: argued("ArtifactCommit")},
	"UM-23": {does: canUndoBut("ArtifactInstall", fails, "ArtifactRollback", argv), check: argued("ArtifactRollback")},
	"UM-24": {does: canUndoBut("ArtifactInstall", fails, "ArtifactFailure", argv), check: argued("ArtifactFailure")},
	"UM-25": {does: map[string]string{"Cleanup": argv}, check: argued("Cleanup")},
	"UM-26": {
		does: map[string]string{"NeedsArtifactReboot": yes},
		then: []func(*device){becomes("NeedsArtifactReboot", no), becomes("NeedsArtifactReboot", "echo Automatic")},
	},
	"UM-27": {
		does: canUndoBut("NeedsArtifactReboot", "echo bogus"), then: []func(*device){becomes("NeedsArtifactReboot", "echo Yes; echo more")},
		check: says(`it answered "bogus`, `it answered "Yes\nmore`),
	},
	"UM-28": {does: canUndo, then: []func(*device){nil, becomes("SupportsRollback", no)}},
	"UM-29": {
		does: map[string]string{"SupportsRollback": "echo bogus"}, then: []func(*device){becomes("SupportsRollback", "echo Yes; echo more")},
		calls:    "ProvidePayloadFileSizes Download SupportsRollback Cleanup ; ProvidePayloadFileSizes Download SupportsRollback Cleanup",
		stdout:   "Installing artifact... | Streaming failed. | System not modified. ; Installing artifact... | Streaming failed. | System not modified.",
		provides: previousRelease, why: whyAskedFirst,
	},
	"UM-30": {
		does: canUndo, then: []func(*device){func(d *device) { d.remove("var/modules/v3/payloads/0000/tree") }},
		exit: "0 ; 3", check: says("", "work tree is gone"),
	},
	"UM-31": {does: canUndoBut("ArtifactInstall", hangs), setup: shortModules, check: says("timed out after 1s")},
	"UM-32": {
		setup: crafted(func(p *plan) { p.files[0].name = "../rootfs" }), exit: "6", calls: nothing, stdout: untouched, why: whyBefore,
	},
	"UM-33": {setup: crafted(func(p *plan) { p.info = strings.Replace(p.info, `"rootfs-image"`, `"../../test_payload"`, 1) }), exit: "6"},
	"UM-34": replaced("test.tar.gz"),
	"UM-35": replaced("test.tar.xz"),
	"UM-36": replaced("test.tar.zst"),
	"UM-49": unlisted(0, "one", "two"),
	"UM-50": unlisted(1, "one", "two"),
	"UM-51": unlisted(1, "one", "two", "three"),

	"GOM-01": {does: map[string]string{"ArtifactInstall": keeps}, check: got("rootfs", "test\n")},
	"GOM-02": {does: map[string]string{"Download": streams, "ArtifactInstall": "[ ! -e files ]"}, check: got("rootfs", "test\n")},
	"GOM-03": {does: map[string]string{"Download": fails}},
	"GOM-04": {does: map[string]string{"Download": `head -c 1 stream-next >/dev/null`}},
	"GOM-05": {
		does: map[string]string{"Download": `head -c 1 "$(cat stream-next)" >/dev/null; cat stream-next >/dev/null`}, artifact: contains("big", strings.Repeat("x", 1<<20)),
		check: says("it stopped reading streams/big after"),
	},
	"GOM-06": {does: map[string]string{"Download": `rm -r streams; cat stream-next >/dev/null`}},
	"GOM-07": {does: map[string]string{"Download": `: >files`}},
	"GOM-08": {does: map[string]string{"ArtifactInstall": keeps}, artifact: contains("one", "1\n", "two", "2\n"), check: got("one", "1\n", "two", "2\n")},
	"GOM-09": {does: map[string]string{"Download": streams}, artifact: contains("one", "1\n", "two", "2\n"), check: got("one", "1\n", "two", "2\n")},
	"GOM-10": {does: map[string]string{"Download": `cat "$(cat stream-next)" >/dev/null`}, artifact: contains("one", "1\n", "two", "2\n")},
	"GOM-11": {does: map[string]string{"Download": `cat "$(cat stream-next)" >/dev/null; cat stream-next >/dev/null`}, artifact: contains("one", "1\n", "two", "2\n")},
	"GOM-12": {
		does: map[string]string{"Download": `cat "$(cat stream-next)" >/dev/null`}, exit: "1",
		why: "as Mender's client in C++: a module that does not look for another file may have missed one",
	},
	"GOM-13": {does: map[string]string{"Download": streams + "\nexit 1"}},
	"GOM-14": {does: map[string]string{"Download": hangs}, setup: shortModules},
	"GOM-15": {does: map[string]string{"Download": streams + "\n" + hangs}, setup: shortModules},
})

// replaced is a payload file that was exchanged when the manifest was written already.
func replaced(name string) row {
	return row{
		setup: crafted(func(p *plan) {
			p.files = []member{{name: name, content: "another file\n"}}
			p.manifest = func(lines []string) []string {
				lines[0] = sum("the right file\n") + "  data/0000/" + name
				return lines
			}
		}),
		does: map[string]string{"Cleanup": `ls files >"$DEVICE/left" 2>/dev/null || :`}, exit: "6",
		check: func(d *device, runs []ran) {
			says("checksum of "+name)(d, runs)
			if left := d.read("left"); left != "" {
				d.t.Errorf("the wrong file is left to the module: %s", left)
			}
		},
	}
}

// unlisted is a payload whose file number i is not in the manifest.
func unlisted(i int, names ...string) row {
	return row{
		setup: crafted(func(p *plan) {
			p.files = nil
			for _, name := range names {
				p.files = append(p.files, member{name: name, content: name})
			}
			p.manifest = func(lines []string) []string { return slices.Delete(lines, i, i+1) }
		}),
		does: map[string]string{"Cleanup": `ls files 2>/dev/null >"$DEVICE/left" || :`}, exit: "6",
		check: func(d *device, runs []ran) {
			says("data/0000/"+names[i]+" is not listed in the manifest")(d, runs)
			if left := strings.Fields(d.read("left")); !slices.Equal(left, names[:i]) {
				d.t.Errorf("the module was left with %q; want what stands before the unlisted file, %q", left, names[:i])
			}
		},
	}
}

// withPairs adds the scenarios with two files that differ in how they are packed only.
func withPairs(rows map[string]row) map[string]row {
	for id, pair := range map[string][2]string{
		"UM-37": {".gz", ""}, "UM-38": {"", ".gz"}, "UM-39": {".xz", ""}, "UM-40": {"", ".xz"},
		"UM-41": {".zst", ""}, "UM-42": {"", ".zst"}, "UM-43": {".gz", ".zst"}, "UM-44": {".gz", ".xz"},
		"UM-45": {".xz", ".gz"}, "UM-46": {".xz", ".zst"}, "UM-47": {".zst", ".gz"}, "UM-48": {".zst", ".xz"},
	} {
		files := []string{"test.tar" + pair[0], "the first\n", "test.tar" + pair[1], "the second\n"}
		rows[id] = row{does: map[string]string{"ArtifactInstall": keeps}, artifact: contains(files...), check: got(files...)}
	}
	return rows
}
