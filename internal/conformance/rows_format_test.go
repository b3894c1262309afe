package conformance_test

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"flipside/artifact"
	"flipside/internal/hosttest"
)

// refused is an artifact that is wrong before its payload begins: nothing was begun.
func refused(text string, change func(*plan)) row {
	return row{setup: crafted(change), exit: "6", calls: nothing, stdout: untouched, check: says(text)}
}

// good is an artifact made by hand that is right.
func good(change func(*plan)) row { return row{setup: crafted(change), calls: autoCalls} }

// refusedTwice is refused, for two artifacts.
func refusedTwice(first, second func(*plan)) row {
	return row{
		setup: crafted(first), then: []func(*device){crafted(second)},
		exit: "6 ; 6", calls: "- ; -", stdout: untouched + " ; " + untouched,
	}
}

func header(change func([]member) []member) func(*plan) {
	return func(p *plan) { p.header = change }
}

func lines(change func([]string) []string) func(*plan) {
	return func(p *plan) { p.manifest = change }
}

func metaData(text string) func(*plan) {
	return header(added("headers/0000/type-info", member{"headers/0000/meta-data", text}))
}

// made is an artifact made by the real mender-artifact, with these options.
func made(options ...string) func(*device) {
	return func(d *device) { d.tool("A", "rootfs-image", options...) }
}

// tool runs mender-artifact write for a payload file with "test\n" in it.
func (d *device) tool(name, kind string, options ...string) {
	d.t.Helper()
	d.write("rootfs", "test\n")
	args := []string{"write", kind, "-t", deviceType, "-n", "test", "-o", d.path(name + ".mender"), "-f", d.path("rootfs")}
	must(d.t, d.dir, hosttest.Tool(d.t, "mender-artifact", "mender-artifact"), append(args, options...)...)
}

// trusts makes the device take only what one of these keys has signed.
func trusts(keys ...string) func(*device) {
	return func(d *device) {
		var paths []string
		for _, key := range keys {
			paths = append(paths, testKey(d.t, key))
		}
		d.config(map[string]any{"ArtifactVerifyKeys": paths})
	}
}

func both(first, second func(*device)) func(*device) {
	return func(d *device) {
		first(d)
		second(d)
	}
}

// signed makes an artifact with the real tool, signed with a test key.
func signed(key string) func(*device) {
	return func(d *device) { made("-k", testKey(d.t, key))(d) }
}

// numbers, as far as JSON can hold them, and lists.
const (
	exactNumbers   = `{"max":9007199254740991,"min":-9007199254740991}`
	roundedNumbers = `{"max":9007199254740992,"min":-9007199254740992}`
)

// keepsMetaData checks that the module was given the numbers as they are in the artifact.
func keepsMetaData(text string) row {
	r := good(metaData(text))
	r.does = map[string]string{"ArtifactInstall": `tr -d ' \n' <header/meta-data >"$DEVICE/meta-data"`}
	r.check = func(d *device, _ []ran) {
		if got := d.read("meta-data"); got != text {
			d.t.Errorf("the module was given the meta-data %s; want %s", got, text)
		}
	}
	return r
}

// Mender Artifact format 3, and signatures.
var formatRows = map[string]row{
	"PAR-01": {setup: made("--compression", "none")},
	"PAR-02": {setup: made("--compression", "gzip")},
	"PAR-03": {setup: made("--compression", "lzma")},
	// Debian's tool cannot do zstd.
	"PAR-04": {artifact: func(s *artifact.Spec) { s.Compression = artifact.Zstd }},
	"PAR-05": {setup: func(d *device) { d.write("A.mender", strings.Repeat("Mumbo jumbo. ", 1000)) }, exit: "6"},
	"PAR-06": {does: map[string]string{"Download": streams}, artifact: contains("one", "1\n", "two", "2\n"), check: got("one", "1\n", "two", "2\n")},
	"PAR-07": {artifact: nullPayload},
	"PAR-08": {setup: both(trusts("rsa.pub"), signed("rsa.key")), then: []func(*device){trusts("other.pub")}, exit: "0 ; 6"},
	"PAR-09": {setup: both(trusts("demo.pub"), signed("demo.key")), then: []func(*device){trusts("other.pub")}, exit: "0 ; 6"},
	"PAR-10": {setup: signed("rsa.key")},
	"PAR-11": {setup: both(trusts("demo.pub"), signed("demo.key"))},
	"PAR-12": {setup: both(trusts("other.pub", "rsa.pub"), signed("demo.key")), exit: "6"},
	"PAR-13": refused("checksum of header.tar", lines(func(l []string) []string { l[1] = sum("other") + "  header.tar"; return l })),
	"PAR-14": refused("checksum of version", lines(func(l []string) []string { l[2] = sum("other") + "  version"; return l })),
	"PAR-15": refused("type-info is missing", header(func(m []member) []member { return m[:1] })),
	"PAR-16": refused(`unexpected "headers/0001/type-info"`, header(added("headers/0000/type-info", member{"headers/0001/type-info", `{"type":"rootfs-image"}`}))),
	"PAR-17": refused("no list of payloads", func(p *plan) { p.info = strings.Replace(p.info, `{"type":"rootfs-image"}`, "", 1) }),
	"PAR-18": refused("type-info is missing", func(p *plan) {
		emptyPayload(p)
		p.header = func(m []member) []member { return m[:1] }
	}),
	"PAR-19": refused(`unexpected "headers/0001/type-info"`, func(p *plan) {
		emptyPayload(p)
		p.header = added("headers/0000/type-info", member{"headers/0001/type-info", `{"type":null}`})
	}),

	"HDR-01": {setup: func(d *device) {
		d.provides(artifact.Provides{"artifact_name": "previous", "artifact_group": "g", "a": "b"})
		d.write("ArtifactInstall_Enter_00", recorder(d.t))
		made("-N", "previous", "-G", "g", "-g", "h", "-d", "a:b", "-p", "c:d", "--clears-provides", "a", "-s", d.path("ArtifactInstall_Enter_00"),
			"--software-name", "n", "--software-version", "v", "--software-filesystem", "fs", "-k", testKey(d.t, "rsa.key"))(d)
	}, provides: "artifact_group=h, artifact_name=test, c=d, fs.n.version=v, rootfs-image.checksum=" + checksum},
	"HDR-02": {setup: func(d *device) {
		d.provides(artifact.Provides{"artifact_name": "previous", "artifact_group": "g", "a": "b"})
		d.write("ArtifactInstall_Enter_00", recorder(d.t))
		d.write("meta-data", `{"one":["two"]}`)
		d.module("some-type")
		d.tool("A", "module-image", "-T", "some-type", "-N", "previous", "-G", "g", "-g", "h", "-d", "a:b", "-p", "c:d", "--clears-provides", "a",
			"-s", d.path("ArtifactInstall_Enter_00"), "-m", d.path("meta-data"),
			"--software-name", "n", "--software-version", "v", "--software-filesystem", "fs", "-k", testKey(d.t, "rsa.key"))
	}, provides: "artifact_group=h, artifact_name=test, c=d, fs.n.version=v"},
	"HDR-03": {
		scripts: []string{"ArtifactInstall_Enter_00", "ArtifactFailure_Leave_99_last"},
		check: func(d *device, _ []ran) {
			entries, err := os.ReadDir(d.path("var/scripts"))
			if err != nil || len(entries) != 3 { // and the version
				d.t.Errorf("var/scripts has %v, %v; want two scripts and the version", entries, err)
			}
		},
	},
	"HDR-04": {scripts: []string{"ArtifactInstall_Enter_00"}},
	"HDR-05": good(func(*plan) {}),
	"HDR-06": refused(`unexpected "headers/0001/type-info"`, header(func(m []member) []member { m[1].name = "headers/0001/type-info"; return m })),
	"HDR-07": refused(`unexpected "headers/0000/type-info"`, header(func(m []member) []member { slices.Reverse(m); return m })),
	"HDR-08": good(metaData(`{"a":"b"}`)),
	"HDR-09": refused("headers/0000/meta-data", metaData(`["a"]`)),
	"HDR-10": good(metaData(`{"n":1.5,"s":"x","l":[1,"a",null]}`)),
	"HDR-11": good(metaData(`{"l":[{"a":1},{"b":2}]}`)),
	"HDR-12": refused("headers/0000/meta-data", metaData("{")),
	"HDR-13": refused("headers/0000/meta-data", metaData(" ")),
	"HDR-14": keepsMetaData(exactNumbers),
	"HDR-15": keepsMetaData(roundedNumbers),
	"HDR-16": refused("scripts/", header(added("header-info", member{"scripts/../../ArtifactInstall_Enter_00", "#!/bin/sh\n"}))),
	"HDR-17": refused("no list of payloads", func(p *plan) {
		p.info = strings.Replace(p.info, `{"type":"rootfs-image"}`, "", 1)
		p.header = func(m []member) []member { return m[:1] }
	}),

	"MAN-01": good(func(*plan) {}),
	"MAN-02": refusedTwice(
		lines(func(l []string) []string { l[0] = l[0][1:]; return l }),
		lines(func(l []string) []string { l[0] = "0" + l[0]; return l })),
	"MAN-03": refused("manifest line 4", lines(func(l []string) []string { return append(l, sum("x")+"  ") })),
	"MAN-04": refusedTwice(
		lines(func(l []string) []string { l[0] = strings.Replace(l[0], "  ", " ", 1); return l }),
		lines(func(l []string) []string { l[0] = strings.Replace(l[0], "  ", "   ", 1); return l })),
	"MAN-05": refused("not listed in the manifest", lines(func(l []string) []string { return []string{strings.Join(l, " ")} })),
	"MAN-06": refused("manifest line 1", lines(func(l []string) []string { l[0] = strings.Replace(l[0], "  ", "\n", 1); return l })),
	"MAN-07": {
		does: map[string]string{"ArtifactInstall": keeps}, check: got("one.tar.gz", "1\n", "two.tar.xz", "2\n", "three.tar.zst", "3\n"),
		setup: crafted(func(p *plan) {
			p.files = []member{{"one.tar.gz", "1\n"}, {"two.tar.xz", "2\n"}, {"three.tar.zst", "3\n"}}
			p.manifest = func(l []string) []string { l[3] += ".gz"; return l }
			p.outer = func(m []member) []member { m[2].name = "header.tar.gz"; return m }
		}),
	},
	"MAN-08": good(func(p *plan) { p.files[0].name = strings.Repeat("x", 100-len("data/0000/")) }),
	"MAN-09": {
		setup: crafted(func(p *plan) { p.files[0].name = strings.Repeat("x", 101) }), exit: "0", calls: autoCalls,
		why: "as Mender's client in Go: a name is good if a file system takes it",
	},

	"PAY-01": {
		setup: unlisted(0, "one", "two").setup, then: []func(*device){unlisted(1, "one", "two").setup}, exit: "6 ; 6",
	},
	"PAY-02": {
		setup: crafted(func(p *plan) {
			p.manifest = func(l []string) []string { l[0] = sum("other") + "  data/0000/rootfs"; return l }
		}),
		exit: "6", check: says("checksum of rootfs"),
	},
	"TAR-01": {
		setup: crafted(func(p *plan) { p.end = func(s string) string { return s + "more" } }), exit: "6",
		check: says("data after the end of the archive"),
	},
	"TAR-02": good(func(p *plan) { p.end = func(s string) string { return s + strings.Repeat("\x00", 20<<10) } }),
	"TAR-03": refused("", func(p *plan) {
		p.end = func(s string) string { return s[:512*2] + strings.Repeat("x", 512) + s[512*3:] }
	}),
	"VER-01": refused("version 2", func(p *plan) { p.version = `{"format":"mender","version":2}` }),
	"VER-02": refused("format", func(p *plan) { p.version = `{"format":"other","version":3}` }),
	"VER-03": refusedTwice(
		func(p *plan) { p.version = "Mumbo jumbo." },
		func(p *plan) { p.version = fmt.Sprintf("%q", `{"format":"mender","version":3}`) }),
}

func emptyPayload(p *plan) {
	p.info = strings.Replace(p.info, `"rootfs-image"`, "null", 1)
	p.typeInfo, p.files = `{"type":null}`, nil
}
