package conformance_test

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"

	"flipside/artifact"
	"flipside/internal/hosttest"
)

// clientsStore makes the device one that Mender's client worked on, with these records in its
// database.
func (d *device) clientsStore(records map[string]string) {
	d.t.Helper()
	var dump strings.Builder
	dump.WriteString("VERSION=3\nformat=bytevalue\ntype=btree\nmapsize=8388608\nHEADER=END\n")
	for _, key := range slices.Sorted(maps.Keys(records)) {
		fmt.Fprintf(&dump, " %x\n %x\n", key, records[key])
	}
	dump.WriteString("DATA=END\n")
	cmd := exec.CommandContext(soon(d.t), hosttest.Tool(d.t, "lmdb-utils", "mdb_load"), "-n", d.path("var/mender-store"))
	cmd.Stdin = strings.NewReader(dump.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("mdb_load: %v: %s", err, out)
	}
}

// is says what is on the device, what the artifact brings, and what it clears.
func is(before, brings artifact.Provides, clears ...string) row {
	return row{
		setup:    initially(before),
		artifact: func(s *artifact.Spec) { s.SoftwareVersion, s.Provides, s.ClearsProvides = "", brings, clears },
	}
}

// needs is an artifact with these depends beside the device type.
func needs(depends artifact.Depends) row {
	return row{setup: initially(inGroupG()), artifact: depending(depends)}
}

func depending(depends artifact.Depends) func(*artifact.Spec) {
	return func(s *artifact.Spec) {
		maps.Copy(s.Depends, depends)
		s.SoftwareVersion, s.ClearsProvides = "", []string{} // what is there stays
	}
}

func inGroupG() artifact.Provides {
	return artifact.Provides{"artifact_name": "n", "artifact_group": "g", "something_else": "1"}
}

// unfit is needs, and refused.
func unfit(depends artifact.Depends, says string) row {
	r := needs(depends)
	r.exit, r.stdout, r.why, r.check = "7", untouched, whyBefore, saysInAll(says)
	return r
}

// saysInAll checks that each run says text on standard error.
func saysInAll(text string) func(*device, []ran) {
	return func(d *device, runs []ran) { says(slices.Repeat([]string{text}, len(runs))...)(d, runs) }
}

// depends makes A another artifact, before a command.
func depends(depends artifact.Depends) func(*device) {
	return func(d *device) { d.installs("A", depending(depends), nil) }
}

func deviceTypeFile(content string) func(*device) {
	return func(d *device) { d.write("var/device_type", content) }
}

// clears is a device that provides a key, and an artifact that clears a pattern.
func clears(key, pattern string) row {
	return is(artifact.Provides{"artifact_name": "previous", key: "1"}, artifact.Provides{}, pattern)
}

// clearsOf is the same, for four keys.
func clearsOf(pattern string) row {
	return is(artifact.Provides{
		"artifact_name": "previous", "test_key_1": "1", "test_key_2": "1", "test_key_test_1": "1", "test_key_test_2": "1",
	}, artifact.Provides{}, pattern)
}

const whyOldStore = "what Mender's client wrote is only where flipside begins: if that is damaged, it says so, and can still be installed over"

const whyAnyEnd = "blank lines, line ends and other keys in device_type do no harm (fault 46)"

// Depends, provides and device type.
var matchRows = map[string]row{
	"CTX-01": {setup: func(d *device) {
		d.remove("var/device_type")
		d.write("elsewhere", "device_type="+deviceType+"\n")
		d.config(map[string]any{"DeviceTypeFile": d.path("elsewhere")})
	}},
	"CTX-02": {setup: func(d *device) {
		d.clientsStore(map[string]string{"artifact-name": "n", "artifact-group": "g", "artifact-provides": `{"one":"1","two":"2"}`})
	}},
	"CTX-03": {setup: never},
	"CTX-04": {
		setup: func(d *device) {
			d.clientsStore(map[string]string{"artifact-name": "n", "artifact-provides": `{"one":`})
		},
		exit: "0", why: whyOldStore, check: says("starting without it"),
	},
	"CTX-05": {
		setup: func(d *device) {
			d.clientsStore(map[string]string{"artifact-name": "n", "artifact-provides": `{"one":1}`})
		},
		exit: "0", why: whyOldStore, check: says("starting without it"),
	},
	"CTX-06": {artifact: func(s *artifact.Spec) {
		s.Group, s.SoftwareVersion, s.Provides = "g", "", artifact.Provides{"one": "1", "two": "2"}
	}},
	"CTX-07": {
		artifact: func(s *artifact.Spec) {
			s.SoftwareVersion, s.Provides = "", artifact.Provides{"one": `"quoted" \ 'and' {so} on`}
		},
		provides: `artifact_name=test, one="quoted" \ 'and' {so} on`,
	},
	"CTX-08": {artifact: func(s *artifact.Spec) { s.Group, s.SoftwareVersion = "g", "" }},
	"CTX-09": is(artifact.Provides{"artifact_name": "n", "artifact_group": "g", "something_different": "1", "something_extra": "1", "something_extra2": "1"}, nil, "something_extra*"),
	"CTX-10": is(artifact.Provides{"artifact_name": "n", "artifact_group": "g", "something_different": "1"}, nil, "artifact_group"),
	"CTX-11": is(artifact.Provides{"artifact_name": "n", "something_different": "1", "something_extra": "1"},
		artifact.Provides{"something_extra": "2"}, "something_different", "something_extra"),
	"CTX-12": {
		setup: deviceTypeFile("device_type=" + deviceType + "\n"),
		then: []func(*device){
			deviceTypeFile("device_type=" + deviceType),
			func(d *device) { d.remove("var/device_type") },
			deviceTypeFile(""),
			deviceTypeFile(deviceType + "\n"),
			deviceTypeFile("device_type " + deviceType + "\n"),
			deviceTypeFile("device_type=" + deviceType + "\nmore\n"),
			deviceTypeFile("device_type=" + deviceType + "\n\nmore\n"),
		},
		exit: "0 ; 0 ; 1 ; 1 ; 1 ; 1 ; 0 ; 0", why: whyAnyEnd,
	},
	"CTX-13": {},
	"CTX-14": needs(artifact.Depends{"artifact_name": {"n"}, "artifact_group": {"g"}}),
	"CTX-15": needs(artifact.Depends{"device_type": {"other", deviceType}, "artifact_name": {"m", "n"}, "artifact_group": {"g", "h"}}),
	"CTX-16": {
		setup: initially(inGroupG()), artifact: depending(artifact.Depends{"artifact_name": {"n"}}),
		then: []func(*device){depends(artifact.Depends{"artifact_group": {"g"}})},
	},
	"CTX-17": unfit(artifact.Depends{"artifact_name": {"other"}}, "artifact depends on artifact_name"),
	"CTX-18": unfit(artifact.Depends{"artifact_group": {"other"}}, "artifact depends on artifact_group"),
	"CTX-19": unfit(artifact.Depends{"device_type": {"other"}}, "artifact depends on device_type"),
	"CTX-20": {
		artifact: depending(artifact.Depends{"artifact_group": {"g"}}), exit: "7", stdout: untouched, why: whyBefore,
		check: says("artifact depends on artifact_group"),
	},
	"CTX-21": {
		setup: initially(inGroupG()), artifact: depending(artifact.Depends{"something_else": {"1"}}),
		then: []func(*device){depends(artifact.Depends{"something_else": {"2"}}), depends(artifact.Depends{"anything_else": {"1"}})},
		exit: "0 ; 7 ; 7",
	},
	"CTX-22": {
		setup: emptyDepends(`"device_type":[]`),
		then:  []func(*device){emptyDepends(`"device_type":["test"],"artifact_name":[]`), emptyDepends(`"device_type":["test"],"artifact_group":[]`)},
		exit:  "6 ; 6 ; 6",
	},

	"CLR-01": clears("abc_123_def_456_ghi", "abc_123_def_456_ghi"),
	"CLR-02": clears("abc_123_def_456_ghi", "abc_123_def_456_g"),
	"CLR-03": clears("abc_123_def_456_ghi", "abc*def*ghi"),
	"CLR-04": clears("abc_123_def_456_ghi", "abc*123*def*ghi"),
	"CLR-05": clears("abc_123_def_456_ghi", "*def*456*"),
	"CLR-06": clears("abc_123_def_456_ghi", "abc*789*ghi"),
	"CLR-07": clears("hello_world", "hello*world"),
	"CLR-08": clears("hello_world", "hello*worlds"),
	"CLR-09": clears("a_b_c", "a*_*b*"),
	"CLR-10": clears("a_b_c", "a*c*b"),
	"CLR-11": clears("abc", "*a*bc*"),
	"CLR-12": clears("abcabcabc", "a*c*a*c*"),
	"CLR-13": clears("test_key_1", "test_*"),
	"CLR-14": clears("test_key_1", "test_"),
	"CLR-15": clears("best_test_key_1", "test_*"),
	"CLR-16": clears("test_key_1", ""),
	"CLR-18": clears("abc", "*"),
	"CLR-22": clears("abc", "xyz"),
	"CLR-23": clears("abc", "abc*"),
	"CLR-24": clears("abc", "*abc"),
	"CLR-25": clears("abc", "a*xyz"),
	"CLR-26": clears("test_string", "test_*test_*"),
	"CLR-27": clears("test_string", "test_*string*"),
	"CLR-28": clears("test_test_key", "***"),
	"CLR-29": clearsOf(""),
	"CLR-30": clearsOf("*"),
	"CLR-31": clearsOf("test_key*"),
	"CLR-32": clearsOf("test_key_test*"),
	"CLR-33": clearsOf("key*"),
	"CLR-34": clearsOf("test_key_test_1"),
	"CLR-35": clearsOf("test_key_"),

	"GOD-01": {
		setup:    initially(artifact.Provides{"artifact_name": "another"}),
		artifact: depending(artifact.Depends{"artifact_name": {"OldArtifact"}, "artifact_group": {"testGroup"}, "testKey": {"testValue"}}),
		then: []func(*device){
			initially(artifact.Provides{"artifact_name": "OldArtifact"}),
			initially(artifact.Provides{"artifact_name": "OldArtifact", "artifact_group": "testGroup"}),
			initially(artifact.Provides{"artifact_name": "OldArtifact", "artifact_group": "testGroup", "testKey": "other"}),
			initially(artifact.Provides{"artifact_name": "OldArtifact", "artifact_group": "testGroup", "testKey": "testValue"}),
		},
		exit: "7 ; 7 ; 7 ; 7 ; 0",
	},
}

func emptyDepends(depends string) func(*device) {
	return crafted(func(p *plan) {
		p.info = strings.Replace(p.info, `"device_type":["test"]`, depends, 1)
	})
}
