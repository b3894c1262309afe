package menderstore_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"flipside/internal/hosttest"
	"flipside/internal/menderstore"
)

func TestReadClientsDatabase(t *testing.T) {
	provides := map[string]string{"extra": "two", "rootfs-image.rb.version": "1"}
	const state = `{"Version":1,"ArtifactName":"release-2","ArtifactGroup":"",` +
		`"ArtifactTypeInfoProvides":{"rootfs-image.rb.version":"2"},` +
		`"ArtifactClearsProvides":["rootfs-image.rb.*"],"PayloadTypes":["rb"]}`
	many := map[string]string{}
	for i := range 150 {
		many[fmt.Sprintf("module-%03d.version", i)] = fmt.Sprintf("1.%d", i)
	}
	for file, want := range map[string]*menderstore.Store{
		"mender-3.4-committed.mdb": {ArtifactName: "release-1", ArtifactGroup: "canary", Provides: provides},
		"mender-3.4-waiting.mdb": {ArtifactName: "release-1", ArtifactGroup: "canary", Provides: provides,
			Pending: true, PendingKey: "standalone-state", PendingState: []byte(state)},
		"i386.mdb":  {ArtifactName: "release-7", ArtifactGroup: "canary", Provides: many},
		"s390x.mdb": {ArtifactName: "release-7", ArtifactGroup: "canary", Provides: many},
	} {
		t.Run(file, func(t *testing.T) {
			wantStore(t, filepath.Join("testdata", file), want)
		})
	}
}

func TestReadRecords(t *testing.T) {
	for name, test := range map[string]struct {
		records map[string]string
		want    menderstore.Store
	}{
		"nothing":   {},
		"name only": {map[string]string{"artifact-name": "r1"}, menderstore.Store{ArtifactName: "r1"}},
		"similar keys": {
			map[string]string{"artifact-nam": "x", "artifact-name-": "y", "artifact-groups": "z", "artifact-provides ": "{}"},
			menderstore.Store{},
		},
		"empty values": {
			map[string]string{"artifact-name": "", "artifact-group": "", "artifact-provides": "{}"},
			menderstore.Store{Provides: map[string]string{}},
		},
		"null provides": {map[string]string{"artifact-provides": "null"}, menderstore.Store{}},
		"the Go client's new device": {
			map[string]string{"artifact-name": "r1", "artifact-provides": `{"artifact_name":"unknown","artifact_group":"g","a":"b"}`},
			menderstore.Store{ArtifactName: "r1", Provides: map[string]string{"a": "b"}},
		},
		"the daemon at work": {
			map[string]string{"state": `{"Version":2}`},
			menderstore.Store{Pending: true, PendingKey: "state", PendingState: []byte(`{"Version":2}`)},
		},
		"the daemon at work after its own update": {
			map[string]string{"state-uncommitted": `{}`},
			menderstore.Store{Pending: true, PendingKey: "state-uncommitted", PendingState: []byte(`{}`)},
		},
		"a record that is not JSON": {
			map[string]string{"standalone-state": `{"Version":`},
			menderstore.Store{Pending: true, PendingKey: "standalone-state"},
		},
		"an empty record": {
			map[string]string{"standalone-state": ""},
			menderstore.Store{Pending: true, PendingKey: "standalone-state"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "mender-store")
			load(t, path, test.records)
			wantStore(t, path, &test.want)
		})
	}
}

func TestReadManyPagesAndOverflow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mender-store")
	records := map[string]string{
		"artifact-name":     strings.Repeat("n", 5000),
		"artifact-group":    "canary",
		"artifact-provides": `{"long":"` + strings.Repeat("v", 300_000) + `"}`,
		"standalone-state":  "17",
	}
	for i := range 400 { // before, between and after our keys
		for _, prefix := range []string{"a", "artifact-h", "m", "t", ""} {
			records[fmt.Sprintf("%s%0200d", prefix, i)] = strings.Repeat("x", 1+i%900)
		}
	}
	load(t, path, records)
	if depth := stat(t, path, "Tree depth"); depth < "3" {
		t.Fatalf("the tree has %s levels; want 3 at least", depth)
	}
	wantStore(t, path, &menderstore.Store{
		ArtifactName:  records["artifact-name"],
		ArtifactGroup: "canary",
		Provides:      map[string]string{"long": strings.Repeat("v", 300_000)},
		Pending:       true, PendingKey: "standalone-state", PendingState: []byte("17"),
	})
}

func TestReadAfterManyCommits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mender-store")
	for i := range 12 {
		name := fmt.Sprintf("release-%d", i)
		load(t, path, map[string]string{
			"artifact-name":            name,
			"artifact-provides":        fmt.Sprintf(`{"round":"%d"%*s}`, i, 700*i, ""),
			fmt.Sprintf("other-%d", i): strings.Repeat("x", 500),
		})
		wantStore(t, path, &menderstore.Store{ArtifactName: name, Provides: map[string]string{"round": fmt.Sprint(i)}})
	}
}

func wantStore(t *testing.T, path string, want *menderstore.Store) {
	t.Helper()
	got, err := menderstore.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Read(%s) = %+v; want %+v", path, got, want)
	}
}

// load writes records with LMDB itself.
func load(t *testing.T, path string, records map[string]string) {
	t.Helper()
	var dump strings.Builder
	dump.WriteString("VERSION=3\nformat=bytevalue\ntype=btree\nmapsize=8388608\nHEADER=END\n")
	for _, key := range slices.Sorted(maps.Keys(records)) {
		fmt.Fprintf(&dump, " %x\n %x\n", key, records[key])
	}
	dump.WriteString("DATA=END\n")
	cmd := exec.Command(hosttest.Tool(t, "lmdb-utils", "mdb_load"), "-n", path)
	cmd.Stdin = strings.NewReader(dump.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mdb_load: %v: %s", err, out)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
}

// stat is a line of mdb_stat's words about the main database.
func stat(t *testing.T, path, name string) string {
	t.Helper()
	out, err := exec.Command(hosttest.Tool(t, "lmdb-utils", "mdb_stat"), "-n", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), name+": "); found {
			return value
		}
	}
	t.Fatalf("mdb_stat says nothing of %s: %s", name, out)
	return ""
}
