package artifact_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"flipside/artifact"
)

// refused is what becomes of a bad artifact.
type refused struct {
	why  error
	text string // in the error's text
	sin  func(p *plan)
}

func checkRefused(t *testing.T, table map[string]refused, keys ...artifact.PublicKey) {
	t.Helper()
	for name, c := range table {
		t.Run(name, func(t *testing.T) {
			p := newPlan()
			c.sin(p)
			h, _, err := readAll(bytes.NewReader(p.bytes()), keys...)
			if h != nil || !errors.Is(err, c.why) || !errors.Is(err, artifact.ErrRefused) {
				t.Fatalf("read with %v; want %v", err, c.why)
			}
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("the error is %q; want %q in it", err, c.text)
			}
		})
	}
}

func TestGoodPlan(t *testing.T) {
	for name, change := range map[string]func(*plan){
		"as it is":                   func(p *plan) {},
		"no files":                   func(p *plan) { p.files = nil },
		"an empty file":              func(p *plan) { p.files = []member{{name: "empty"}} },
		"a name with dots":           func(p *plan) { p.files[0].name = "..a..b.." },
		"a name with blanks":         func(p *plan) { p.files[0].name = "one  file" },
		"a name in UTF-8":            func(p *plan) { p.files[0].name = "größe" },
		"a long name":                func(p *plan) { p.files[0].name = strings.Repeat("x", 255) },
		"no newline at the end":      func(p *plan) { p.manifest = func(l []string) []string { return []string{strings.Join(l, "\n")} } },
		"zeros after the end":        func(p *plan) { p.end = func(s string) string { return s + strings.Repeat("\x00", 20000) } },
		"old tar":                    func(p *plan) { p.outer = func(m []member) []member { m[0].flag = '\x00'; return m } },
		"header.tar.gz but not":      func(p *plan) { p.outer = renamed("header.tar", "header.tar.gz") },
		"header.tar.xz in manifest":  func(p *plan) { p.manifest = replaced("  header.tar", "  header.tar.xz") },
		"data/0000.tar.zst but not":  func(p *plan) { p.outer = renamed("data/0000.tar", "data/0000.tar.zst") },
		"unknown keys":               func(p *plan) { p.info = strings.Replace(p.info, "{", `{"new":{"a":[1]},"Payloads":7,`, 1) },
		"depends as a string":        func(p *plan) { p.typeInfo = `{"type":"directory","artifact_depends":{"a":"b"}}` },
		"depends as a list":          func(p *plan) { p.typeInfo = `{"type":"directory","artifact_depends":{"a":["b","c"]}}` },
		"device_type said again":     func(p *plan) { p.typeInfo = `{"type":"directory","artifact_depends":{"device_type":"sandbox"}}` },
		"type-info without its type": func(p *plan) { p.typeInfo = `{"type":""}` },
		"meta-data":                  func(p *plan) { p.metaData = `{"a":[{"b":9007199254740993}]}` },
		"empty meta-data": func(p *plan) {
			p.header = func(m []member) []member { return append(m, member{name: "headers/0000/meta-data"}) }
		},
		"null payload": func(p *plan) {
			p.info = strings.Replace(p.info, `"directory"`, "null", 1)
			p.typeInfo, p.files = `{"type":null}`, nil
		},
		"scripts": func(p *plan) {
			p.scripts = []member{{name: "scripts/ArtifactRollbackReboot_Error_99_a_b.c"}, {name: "scripts/ArtifactFailure_Enter_00"}}
		},
	} {
		p := newPlan()
		change(p)
		if _, files, err := readAll(bytes.NewReader(p.bytes())); err != nil || len(files) != len(p.files) {
			t.Errorf("%s: %d files, %v", name, len(files), err)
		}
	}
}

func renamed(from, to string) func([]member) []member {
	return func(m []member) []member {
		for i := range m {
			if m[i].name == from {
				m[i].name = to
			}
		}
		return m
	}
}

func replaced(from, to string) func([]string) []string {
	return func(lines []string) []string {
		return []string{strings.Replace(strings.Join(lines, "\n"), from, to, 1)}
	}
}

func added(m ...member) func([]member) []member {
	return func(all []member) []member { return append(all, m...) }
}

func dropped(name string) func([]member) []member {
	return func(m []member) []member {
		return slices.DeleteFunc(m, func(m member) bool { return m.name == name })
	}
}

func TestRefuseWholeFile(t *testing.T) {
	whole := func(content string) func(*plan) {
		return func(p *plan) { p.end = func(string) string { return content } }
	}
	checkRefused(t, map[string]refused{
		"empty":        {artifact.ErrTruncated, "the artifact is empty", whole("")},
		"html":         {artifact.ErrMalformed, "got an HTML page instead of an artifact", whole("\xef\xbb\xbf\r\n <!DOCTYPE HTML><html><body>Please log in")},
		"html in caps": {artifact.ErrMalformed, "got an HTML page", whole("<HTML><HEAD>")},
		"xhtml":        {artifact.ErrMalformed, "got an HTML page", whole(`<?xml version="1.0"?><!DOCTYPE html>`)},
		"text":         {artifact.ErrMalformed, "not a Mender artifact", whole(strings.Repeat("Mumbo jumbo. ", 100))},
		"short text":   {artifact.ErrMalformed, "not a Mender artifact", whole("Mumbo jumbo.")},
		"zeros":        {artifact.ErrMalformed, `not a Mender artifact: unexpected the end where "version" should be`, whole(strings.Repeat("\x00", 10240))},
		"trailing data": {artifact.ErrMalformed, "data after the end", func(p *plan) {
			p.end = func(s string) string { return s + strings.Repeat("\x00", 1024) + "x" }
		}},
		"trailing artifact": {artifact.ErrMalformed, "data after the end", func(p *plan) { p.end = func(s string) string { return s + s } }},
		"endless zeros":     {artifact.ErrMalformed, "more than 1048576 zeros", func(p *plan) { p.end = func(s string) string { return s + strings.Repeat("\x00", 2<<20) } }},
		"no end of archive": {artifact.ErrTruncated, "not complete", func(p *plan) { p.end = func(s string) string { return s[:len(s)-1024] } }},
		"half an end":       {artifact.ErrTruncated, "not complete", func(p *plan) { p.end = func(s string) string { return s[:len(s)-512] } }},
	})
}

func TestRefuseOrder(t *testing.T) {
	swapped := func(i, j int) func(*plan) {
		return func(p *plan) {
			p.outer = func(m []member) []member { m[i], m[j] = m[j], m[i]; return m }
		}
	}
	outer := func(change func([]member) []member) func(*plan) {
		return func(p *plan) { p.outer = change }
	}
	checkRefused(t, map[string]refused{
		"manifest first":          {artifact.ErrMalformed, `unexpected manifest where "version" should be`, swapped(0, 1)},
		"header before manifest":  {artifact.ErrMalformed, `unexpected header.tar where "manifest"`, swapped(1, 2)},
		"data before header":      {artifact.ErrMalformed, `unexpected data/0000.tar where "manifest.sig" or "header.tar"`, swapped(2, 3)},
		"no version":              {artifact.ErrMalformed, "unexpected manifest", outer(dropped("version"))},
		"no manifest":             {artifact.ErrMalformed, "unexpected header.tar", outer(dropped("manifest"))},
		"no header":               {artifact.ErrMalformed, "unexpected data/0000.tar", outer(dropped("header.tar"))},
		"no payload":              {artifact.ErrMalformed, `unexpected the end where "data/0000.tar"`, outer(dropped("data/0000.tar"))},
		"two payloads":            {artifact.ErrMalformed, `unexpected data/0000.tar where "the end"`, outer(added(member{name: "data/0000.tar", content: tarred(nil)}))},
		"a second payload":        {artifact.ErrMalformed, `"data/0001.tar" does not belong`, outer(added(member{name: "data/0001.tar", content: tarred(nil)}))},
		"payload number one":      {artifact.ErrMalformed, `"data/0001.tar" does not belong`, outer(renamed("data/0000.tar", "data/0001.tar"))},
		"unknown entry":           {artifact.ErrMalformed, `"readme" does not belong`, outer(added(member{name: "readme"}))},
		"entry with dot":          {artifact.ErrMalformed, `"./version" does not belong`, outer(renamed("version", "./version"))},
		"unknown suffix":          {artifact.ErrMalformed, `"header.tar.bz2" does not belong`, outer(renamed("header.tar", "header.tar.bz2"))},
		"directory":               {artifact.ErrMalformed, "not a plain file", outer(func(m []member) []member { return append([]member{{name: "data/", flag: '5'}}, m...) })},
		"version is a link":       {artifact.ErrMalformed, "not a plain file", outer(func(m []member) []member { m[0].flag, m[0].content = '2', "x"; return m })},
		"augmented manifest":      {artifact.ErrUnsupported, "augmented artifacts are not supported", outer(func(m []member) []member { return slices.Insert(m, 2, member{name: "manifest-augment"}) })},
		"augmented header":        {artifact.ErrUnsupported, "header-augment.tar.gz", outer(func(m []member) []member { return slices.Insert(m, 3, member{name: "header-augment.tar.gz"}) })},
		"header cut, not packed":  {artifact.ErrMalformed, "the end of the archive is missing", func(p *plan) { p.packed = func(s string) string { return s[:len(s)-1024] } }},
		"payload cut, not packed": {artifact.ErrMalformed, "reading two: unexpected EOF", func(p *plan) { p.outer = cut("data/0000.tar", 2000) }},
		"payload of no bytes":     {artifact.ErrMalformed, "the end of the archive is missing", func(p *plan) { p.outer = cut("data/0000.tar", 0) }},
		"data after the payload": {artifact.ErrMalformed, "data after the end of the archive", outer(func(m []member) []member {
			m[3].content += "x"
			return m
		})},
	})
}

func cut(name string, n int) func([]member) []member {
	return func(m []member) []member {
		for i := range m {
			if m[i].name == name {
				m[i].content = m[i].content[:n]
			}
		}
		return m
	}
}

func TestRefuseVersion(t *testing.T) {
	version := func(s string) func(*plan) { return func(p *plan) { p.version = s } }
	checkRefused(t, map[string]refused{
		"1":                {artifact.ErrUnsupported, "format version 1 are not supported", version(`{"format":"mender","version":1}`)},
		"2":                {artifact.ErrUnsupported, "format version 2 are not supported", version(`{"format":"mender","version":2}`)},
		"4":                {artifact.ErrUnsupported, "format version 4 are not supported", version(`{"format":"mender","version":4}`)},
		"a string":         {artifact.ErrUnsupported, `version "3"`, version(`{"format":"mender","version":"3"}`)},
		"missing":          {artifact.ErrUnsupported, "version", version(`{"format":"mender"}`)},
		"other format":     {artifact.ErrMalformed, `the format is "rauc"`, version(`{"format":"rauc","version":3}`)},
		"no format":        {artifact.ErrMalformed, "not a Mender artifact", version(`{"version":3}`)},
		"two versions":     {artifact.ErrMalformed, `key "version" stands twice`, version(`{"format":"mender","version":3,"version":4}`)},
		"not JSON":         {artifact.ErrMalformed, "version: not valid JSON", version(`mender 3`)},
		"a list":           {artifact.ErrMalformed, "not a JSON object", version(`[3]`)},
		"trailing JSON":    {artifact.ErrMalformed, "not valid JSON", version(`{"format":"mender","version":3}{}`)},
		"too large":        {artifact.ErrMalformed, "at most 4096", version(`{"format":"mender","version":3}` + strings.Repeat(" ", 5000))},
		"not the listed":   {artifact.ErrChecksum, "checksum of version", func(p *plan) { p.manifest = replaced(sum(p.version), sum("other")) }},
		"not listed":       {artifact.ErrMalformed, "version is not listed in the manifest", func(p *plan) { p.manifest = func(l []string) []string { return l[:3] } }},
		"listed elsewhere": {artifact.ErrMalformed, "version is not listed", func(p *plan) { p.manifest = replaced("  version", "  data/0000/version") }},
	})
}

func TestRefuseManifest(t *testing.T) {
	line := func(s string) func(*plan) {
		return func(p *plan) { p.manifest = func(l []string) []string { return append(l, s) } }
	}
	abc := sum("abc")
	malformed := func(text string, sin func(*plan)) refused { return refused{artifact.ErrMalformed, text, sin} }
	checkRefused(t, map[string]refused{
		"empty":              malformed("line 1", func(p *plan) { p.manifest = func([]string) []string { return nil } }),
		"an empty line":      malformed("line 5", line("\n")),
		"63 digits":          malformed("line 5", line(abc[1:]+"  data/0000/x")),
		"65 digits":          malformed("line 5", line("0"+abc+"  data/0000/x")),
		"66 digits":          malformed("line 5", line("00"+abc+"  data/0000/x")),
		"no digits":          malformed("line 5", line(strings.Repeat("g", 64)+"  data/0000/x")),
		"capital digits":     malformed("line 5", line(strings.ToUpper(abc)+"  data/0000/x")),
		"one blank":          malformed("line 5", line(abc+" data/0000/x")),
		"three blanks":       malformed("not a plain file name", line(abc+"   data/0000/x")),
		"tab":                malformed("line 5", line(abc+"\tdata/0000/x")),
		"binary mark":        malformed("line 5", line(abc+" *data/0000/x")),
		"no name":            malformed("line 5", line(abc+"  ")),
		"no name, no blanks": malformed("line 5", line(abc)),
		"carriage return":    malformed("control characters", line(abc+"  data/0000/x\r")),
		"NUL":                malformed("control characters", line(abc+"  data/0000/x\x00")),
		"all on one line":    malformed("line 1", func(p *plan) { p.manifest = func(l []string) []string { return []string{strings.Join(l, "")} } }),
		"twice":              malformed("listed twice", line(abc+"  data/0000/one")),
		"two headers":        malformed("header.tar is listed twice", line(abc+"  header.tar.gz")),
		"absolute":           malformed("not a plain file name", line(abc+"  /etc/passwd")),
		"dots":               malformed("not a plain file name", line(abc+"  data/0000/../x")),
		"sub directory":      malformed("not a plain file name", line(abc+"  data/0000/a/b")),
		"other payload":      malformed("not a plain file name", line(abc+"  data/0001/a")),
		"name too long":      malformed("at most 255", line(abc+"  data/0000/"+strings.Repeat("x", 256))),
		"not UTF-8":          malformed("not UTF-8", line(abc+"  data/0000/\xff")),
		"too large":          malformed("at most 1048576", line(strings.Repeat("x", 1<<20))),
		"file missing":       malformed("listed in the manifest, but missing: data/0000/x", line(abc+"  data/0000/x")),
		"other missing":      malformed("listed in the manifest, but missing: readme", line(abc+"  readme")),
		"header not listed":  malformed("header.tar is not listed", func(p *plan) { p.manifest = func(l []string) []string { return slices.Delete(l, 2, 3) } }),
		"file not listed":    malformed("data/0000/one is not listed", func(p *plan) { p.manifest = func(l []string) []string { return l[1:] } }),
		"last not listed":    malformed("data/0000/two is not listed", func(p *plan) { p.manifest = func(l []string) []string { return slices.Delete(l, 1, 2) } }),
		"header changed":     {artifact.ErrChecksum, "checksum of header.tar", func(p *plan) { p.manifest = func(l []string) []string { l[2] = abc + "  header.tar"; return l } }},
		"file changed":       {artifact.ErrChecksum, "checksum of one", func(p *plan) { p.manifest = func(l []string) []string { l[0] = abc + "  data/0000/one"; return l } }},
		"last file changed":  {artifact.ErrChecksum, "checksum of two", func(p *plan) { p.manifest = func(l []string) []string { l[1] = abc + "  data/0000/two"; return l } }},
	})
}

func TestRefuseHeader(t *testing.T) {
	header := func(change func([]member) []member) func(*plan) {
		return func(p *plan) { p.header = change }
	}
	script := func(name string) func(*plan) {
		return func(p *plan) { p.scripts = []member{{name: "scripts/" + name, content: "#!/bin/sh\n"}} }
	}
	malformed := func(text string, sin func(*plan)) refused { return refused{artifact.ErrMalformed, text, sin} }
	checkRefused(t, map[string]refused{
		"empty":                  malformed("headers/0000/type-info is missing", header(func([]member) []member { return nil })),
		"no header-info":         malformed(`unexpected "headers/0000/type-info"`, header(dropped("header-info"))),
		"no type-info":           malformed("headers/0000/type-info is missing", header(dropped("headers/0000/type-info"))),
		"two type-infos":         malformed(`unexpected "headers/0000/type-info"`, header(func(m []member) []member { return append(m, m[1]) })),
		"a second type-info":     malformed(`unexpected "headers/0001/type-info"`, header(added(member{name: "headers/0001/type-info"}))),
		"type-info number one":   malformed(`unexpected "headers/0001/type-info"`, header(renamed("headers/0000/type-info", "headers/0001/type-info"))),
		"two header-infos":       malformed(`unexpected "header-info"`, header(func(m []member) []member { return append(m, m[0]) })),
		"type-info first":        malformed(`unexpected "headers/0000/type-info"`, header(func(m []member) []member { m[0], m[1] = m[1], m[0]; return m })),
		"meta-data first":        malformed(`unexpected "headers/0000/meta-data"`, header(func(m []member) []member { return slices.Insert(m, 1, member{name: "headers/0000/meta-data"}) })),
		"two meta-datas":         malformed(`unexpected "headers/0000/meta-data"`, header(added(member{name: "headers/0000/meta-data"}, member{name: "headers/0000/meta-data"}))),
		"script after type-info": malformed(`unexpected "scripts/`, header(added(member{name: "scripts/ArtifactInstall_Enter_00"}))),
		"unknown file":           malformed(`unexpected "readme"`, header(added(member{name: "readme"}))),
		"directory":              malformed("not a plain file", header(added(member{name: "scripts/", flag: '5'}))),
		"script is a link": malformed("not a plain file", func(p *plan) {
			p.scripts = []member{{name: "scripts/ArtifactInstall_Enter_00", flag: '2', content: "/bin/sh"}}
		}),
		"script twice":            malformed("is there twice", func(p *plan) { p.scripts = slices.Repeat([]member{{name: "scripts/ArtifactInstall_Enter_00"}}, 2) }),
		"script outside":          malformed("not the name of a state script", script("../ArtifactInstall_Enter_00")),
		"script in a directory":   malformed("not the name of a state script", script("x/ArtifactInstall_Enter_00")),
		"script label outside":    malformed("not the name of a state script", script("ArtifactInstall_Enter_00_../x")),
		"script of Download":      malformed("not the name of a state script", script("Download_Enter_00")),
		"script of Idle":          malformed("not the name of a state script", script("Idle_Enter_00")),
		"script for no action":    malformed("not the name of a state script", script("ArtifactInstall_00")),
		"script for other action": malformed("not the name of a state script", script("ArtifactInstall_Begin_00")),
		"script in lower case":    malformed("not the name of a state script", script("artifactInstall_Enter_00")),
		"script with one digit":   malformed("not the name of a state script", script("ArtifactInstall_Enter_0")),
		"script with 3 digits":    malformed("not the name of a state script", script("ArtifactInstall_Enter_000")),
		"script with a sign":      malformed("not the name of a state script", script("ArtifactInstall_Enter_+1")),
		"script, empty label":     malformed("not the name of a state script", script("ArtifactInstall_Enter_00_")),
		"script, blank in label":  malformed("not the name of a state script", script("ArtifactInstall_Enter_00_a b")),
		"script, other label":     malformed("not the name of a state script", script("ArtifactInstall_Enter_00-a")),
		"257 scripts":             malformed("more than 256 state scripts", func(p *plan) { p.scripts = manyScripts(257) }),
		"too large, not packed": malformed("at most 8388608", func(p *plan) {
			p.scripts = []member{{name: "scripts/ArtifactInstall_Enter_00", content: strings.Repeat("x", 9<<20)}}
		}),
		"one file, much JSON": malformed("bytes of JSON", func(p *plan) { p.metaData = `{"a":"` + strings.Repeat("x", 2<<20) + `"}` }),
		"data after the archive": malformed("data after the end of the archive", func(p *plan) {
			p.packed = func(s string) string { return s + "x" }
		}),
	})
}

func manyScripts(n int) (scripts []member) {
	for i := range n {
		scripts = append(scripts, member{name: fmt.Sprintf("scripts/ArtifactInstall_Enter_00_%d", i)})
	}
	return scripts
}

func TestRefuseJSON(t *testing.T) {
	info := func(s string) func(*plan) { return func(p *plan) { p.info = s } }
	infoWith := func(from, to string) func(*plan) {
		return func(p *plan) { p.info = strings.Replace(p.info, from, to, 1) }
	}
	types := func(s string) func(*plan) { return func(p *plan) { p.typeInfo = s } }
	meta := func(s string) func(*plan) { return func(p *plan) { p.metaData = s } }
	null := func(change func(*plan)) func(*plan) {
		return func(p *plan) {
			p.info = strings.Replace(p.info, `"directory"`, "null", 1)
			p.typeInfo, p.files = `{"type":null}`, nil
			change(p)
		}
	}
	malformed := func(text string, sin func(*plan)) refused { return refused{artifact.ErrMalformed, text, sin} }
	checkRefused(t, map[string]refused{
		"no JSON":             malformed("header-info: not valid JSON", info("mender")),
		"nothing":             malformed("header-info: not valid JSON", info("")),
		"null":                malformed("header-info: not a JSON object", info("null")),
		"trailing JSON":       malformed("not valid JSON", infoWith("{", "{}{")),
		"invalid UTF-8":       malformed("not valid JSON", infoWith("release-2", "\xff")),
		"key twice":           malformed(`key "payloads" stands twice`, infoWith("{", `{"payloads":[],`)),
		"key twice, hidden":   malformed(`key "payloads" stands twice`, infoWith("{", `{"p\u0061yloads":[],`)),
		"key twice, deep":     malformed(`key "a" stands twice`, infoWith("{", `{"x":[[{"b":"a","a":1,"a":2}]],`)),
		"deep":                malformed("nested deeper than 64", infoWith("{", `{"x":`+strings.Repeat("[", 64)+strings.Repeat("]", 64)+",")),
		"no payloads":         malformed("no list of payloads", infoWith(`"payloads"`, `"Payloads"`)),
		"payloads empty":      malformed("no list of payloads", infoWith(`{"type":"directory"}`, "")),
		"payloads null":       malformed("no list of payloads", infoWith(`[{"type":"directory"}]`, "null")),
		"payload null":        malformed("a payload without type", infoWith(`{"type":"directory"}`, "null")),
		"payload no object":   malformed("no list of payloads", infoWith(`{"type":"directory"}`, "7")),
		"two payloads":        {artifact.ErrUnsupported, "2 payloads", infoWith(`[`, `[{"type":"x"},`)},
		"no type":             malformed("a payload without type", infoWith(`"type"`, `"Type"`)),
		"type empty":          malformed("payload type: an empty name", infoWith(`"directory"`, `""`)),
		"type a number":       malformed("payload type: 7 is not a string", infoWith(`"directory"`, `7`)),
		"type outside":        malformed("payload type", infoWith(`"directory"`, `"../sh"`)),
		"type ..":             malformed("payload type", infoWith(`"directory"`, `".."`)),
		"type absolute":       malformed("payload type", infoWith(`"directory"`, `"/bin/sh"`)),
		"type with newline":   malformed("payload type", infoWith(`"directory"`, `"a\nb"`)),
		"no name":             malformed("no artifact_name", infoWith("artifact_name", "name")),
		"name empty":          malformed("no artifact_name", infoWith("release-2", "")),
		"name a list":         malformed("artifact_name", infoWith(`"release-2"`, `["a"]`)),
		"name null":           malformed("null is not a string", infoWith(`"release-2"`, `null`)),
		"name with newline":   malformed("control characters", infoWith("release-2", `a\nb`)),
		"name too long":       malformed("at most 255", infoWith("release-2", strings.Repeat("x", 256))),
		"no provides":         malformed("no artifact_name", infoWith("artifact_provides", "provides")),
		"provides a list":     malformed("artifact_provides is not a JSON object", infoWith(`{"artifact_name":"release-2"}`, "[]")),
		"group a number":      malformed("artifact_group: 1 is not a string", infoWith(`"release-2"`, `"r","artifact_group":1`)),
		"no depends":          malformed("no device_type", infoWith("artifact_depends", "depends")),
		"depends null":        malformed("not a JSON object", infoWith(`{"device_type":["sandbox"]}`, "null")),
		"no device_type":      malformed("no device_type", infoWith("device_type", "device")),
		"device_type empty":   malformed("device_type: no value would do", infoWith(`["sandbox"]`, "[]")),
		"device_type null":    malformed("device_type: null is not a list", infoWith(`["sandbox"]`, "null")),
		"device_type numbers": malformed("device_type: 1 is not a string", infoWith(`["sandbox"]`, "[1]")),
		"other depends empty": malformed("artifact_name: no value would do", infoWith(`["sandbox"]`, `["sandbox"],"artifact_name":[]`)),
		"depends with a line": malformed("control characters", infoWith(`["sandbox"]`, `["sandbox"],"a\nb":["c"]`)),

		"type-info, no JSON":         malformed("type-info: not valid JSON", types("")),
		"type-info, no type":         malformed("no type", types("{}")),
		"type-info, other type":      malformed(`type "other" contradicts header-info, which says "directory"`, types(`{"type":"other"}`)),
		"type-info, null":            malformed("type null contradicts", types(`{"type":null}`)),
		"type-info, type a list":     malformed("type", types(`{"type":["directory"]}`)),
		"type-info, provides a list": malformed("artifact_provides", types(`{"type":"directory","artifact_provides":[]}`)),
		"type-info, provides null":   malformed("artifact_provides", types(`{"type":"directory","artifact_provides":null}`)),
		"type-info, provides lists":  malformed("artifact_provides: a", types(`{"type":"directory","artifact_provides":{"a":["b"]}}`)),
		"type-info, empty key":       malformed("an empty name", types(`{"type":"directory","artifact_provides":{"":"b"}}`)),
		"type-info, clears a string": malformed("clears_artifact_provides", types(`{"type":"directory","clears_artifact_provides":"a"}`)),
		"type-info, clears null":     malformed("clears_artifact_provides", types(`{"type":"directory","clears_artifact_provides":null}`)),
		"type-info, depends number":  malformed("artifact_depends: a", types(`{"type":"directory","artifact_depends":{"a":1}}`)),
		"type-info, depends empty":   malformed("a: no value would do", types(`{"type":"directory","artifact_depends":{"a":[]}}`)),
		"type-info, other device":    malformed(`device_type contradicts header-info, which says "sandbox"`, types(`{"type":"directory","artifact_depends":{"device_type":["other"]}}`)),
		"type-info, more devices":    malformed("device_type contradicts", types(`{"type":"directory","artifact_depends":{"device_type":["other","sandbox"]}}`)),

		"meta-data, a list":   malformed("meta-data: not a JSON object", meta("[1]")),
		"meta-data, a brace":  malformed("meta-data: not valid JSON", meta("{")),
		"meta-data, a blank":  malformed("meta-data: not valid JSON", meta(" ")),
		"meta-data, null":     malformed("meta-data: not a JSON object", meta("null")),
		"meta-data, a string": malformed("meta-data: not a JSON object", meta(`"a"`)),

		"null payload, meta-data":     malformed("state scripts or meta-data", null(func(p *plan) { p.metaData = "{}" })),
		"null payload, script":        malformed("state scripts or meta-data", null(func(p *plan) { p.scripts = manyScripts(1) })),
		"null payload, type":          malformed(`type "directory" contradicts`, null(func(p *plan) { p.typeInfo = `{"type":"directory"}` })),
		"null payload, no type-info":  malformed("type-info is missing", null(func(p *plan) { p.header = dropped("headers/0000/type-info") })),
		"null payload, two of them":   malformed(`unexpected "headers/0001/type-info"`, null(func(p *plan) { p.header = added(member{name: "headers/0001/type-info"}) })),
		"null payload, no data":       malformed("unexpected the end", null(func(p *plan) { p.outer = dropped("data/0000.tar") })),
		"null payload, with a file":   malformed("files for a payload of type null", null(func(p *plan) { p.files = []member{{name: "x"}} })),
		"null payload, listed a file": malformed("files for a payload of type null", null(func(p *plan) { p.manifest = func(l []string) []string { return append(l, sum("")+"  data/0000/x") } })),
	})
}

func TestRefusePayload(t *testing.T) {
	files := func(m ...member) func(*plan) { return func(p *plan) { p.files = m } }
	// unlisted makes the files differ from the manifest's.
	unlisted := func(m ...member) func(*plan) {
		return func(p *plan) {
			p.outer = func(all []member) []member {
				all[3].content = tarred(m)
				return all
			}
		}
	}
	malformed := func(text string, sin func(*plan)) refused { return refused{artifact.ErrMalformed, text, sin} }
	one := newPlan().files[0]
	checkRefused(t, map[string]refused{
		"directory":        malformed("not a plain file", unlisted(member{name: "dir/", flag: '5'})),
		"symlink":          malformed("not a plain file", unlisted(member{name: "one", flag: '2', content: "/etc/shadow"})),
		"hard link":        malformed("not a plain file", unlisted(member{name: "one", flag: '1', content: "two"})),
		"device":           malformed("not a plain file", unlisted(member{name: "one", flag: '3'})),
		"FIFO":             malformed("not a plain file", unlisted(member{name: "one", flag: '6'})),
		"twice":            malformed("data/0000/one is there twice", unlisted(one, one)),
		"one missing":      malformed("missing: data/0000/two", unlisted(one)),
		"all missing":      malformed("missing: data/0000/one, data/0000/two", unlisted()),
		"one too many":     malformed("data/0000/three is not listed", unlisted(one, member{name: "three"})),
		"outside":          malformed("not a plain file name", files(member{name: "../x"})),
		"absolute":         malformed("not a plain file name", files(member{name: "/etc/passwd"})),
		"sub directory":    malformed("not a plain file name", files(member{name: "a/b"})),
		"dot":              malformed("not a plain file name", files(member{name: "."})),
		"with dot":         malformed("not a plain file name", unlisted(member{name: "./one", content: one.content})),
		"shorter":          {artifact.ErrChecksum, "checksum of one", unlisted(member{name: "one", content: one.content[1:]})},
		"longer":           {artifact.ErrChecksum, "checksum of one", unlisted(member{name: "one", content: one.content + "x"})},
		"swapped contents": {artifact.ErrChecksum, "checksum of one", unlisted(member{name: "one", content: newPlan().files[1].content})},
	})
}

func TestRefuseSignature(t *testing.T) {
	key := privateKey(t, "demo")
	good := func(manifest string) string { return string(signed(t, key, manifest)) }
	signs := func(f func(string) string) func(*plan) { return func(p *plan) { p.sign = f } }
	p := newPlan()
	p.sign = good
	if h, _, err := readAll(bytes.NewReader(p.bytes()), publicKey(t, "demo")); err != nil || !h.Signed {
		t.Fatalf("the good one: %v", err)
	}
	checkRefused(t, map[string]refused{
		"missing":     {artifact.ErrUnsigned, "not signed", func(p *plan) {}},
		"empty":       {artifact.ErrSignature, "matches no key (2 tried)", signs(func(string) string { return "" })},
		"no base64":   {artifact.ErrSignature, "manifest.sig", signs(func(string) string { return "!!!" })},
		"garbage":     {artifact.ErrSignature, "matches no key", signs(func(string) string { return base64Of(strings.Repeat("x", 64)) })},
		"zeros":       {artifact.ErrSignature, "matches no key", signs(func(string) string { return base64Of(strings.Repeat("\x00", 64)) })},
		"of other":    {artifact.ErrSignature, "matches no key", signs(func(m string) string { return good(m + "\n") })},
		"other key's": {artifact.ErrSignature, "matches no key", signs(func(m string) string { return string(signed(t, privateKey(t, "other"), m)) })},
		"too large":   {artifact.ErrMalformed, "at most 16384", signs(func(string) string { return strings.Repeat("A", 20000) })},
		"twice":       {artifact.ErrMalformed, "unexpected manifest.sig", func(p *plan) { p.sign = good; p.outer = func(m []member) []member { return slices.Insert(m, 3, m[2]) } }},
		"before": {artifact.ErrMalformed, "unexpected manifest.sig", func(p *plan) {
			p.sign = good
			p.outer = func(m []member) []member { m[1], m[2] = m[2], m[1]; return m }
		}},
		"good, not so": {artifact.ErrChecksum, "checksum of one", func(p *plan) { p.sign = good; p.manifest = replaced(sum(p.files[0].content), sum("")) }},
	}, publicKey(t, "demo"), publicKey(t, "rsa"))
	// Without keys nobody looks at it, but it may not be endless.
	p = newPlan()
	p.sign = func(string) string { return "!!!" }
	if h, _, err := readAll(bytes.NewReader(p.bytes())); err != nil || !h.Signed {
		t.Errorf("garbage for a signature, no keys: %v", err)
	}
}

// TestVerifyUsesNothingUnsigned: with keys, the header of an artifact with a wrong signature is not
// even looked at.
func TestVerifyUsesNothingUnsigned(t *testing.T) {
	p := newPlan()
	p.sign = func(string) string { return "AAAA" }
	p.info = "this would be refused for other reasons"
	_, err := artifact.NewReader(bytes.NewReader(p.bytes()), []artifact.PublicKey{publicKey(t, "demo")})
	if !errors.Is(err, artifact.ErrSignature) {
		t.Errorf("got %v", err)
	}
	p.sign = nil
	if _, err := artifact.NewReader(bytes.NewReader(p.bytes()), []artifact.PublicKey{{}}); !errors.Is(err, artifact.ErrUnsigned) {
		t.Errorf("got %v", err)
	}
}

func TestErrorReasons(t *testing.T) {
	all := []error{artifact.ErrMalformed, artifact.ErrChecksum, artifact.ErrTruncated, artifact.ErrUnsigned, artifact.ErrSignature, artifact.ErrUnsupported}
	for _, err := range all {
		if !errors.Is(err, artifact.ErrRefused) {
			t.Errorf("%v is not a refusal", err)
		}
		for _, other := range all {
			if err != other && errors.Is(err, other) {
				t.Errorf("%v matches %v", err, other)
			}
		}
	}
	if errors.Is(io.ErrUnexpectedEOF, artifact.ErrRefused) {
		t.Error("any error matches ErrRefused")
	}
}
