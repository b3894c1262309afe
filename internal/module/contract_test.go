package module_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flipside/internal/payload"
	"flipside/internal/payload/payloadtest"
)

// TestContract runs the suite for all handlers with a module that does what a good one does: what
// it installs is a file, whose predecessor it keeps in its tree.
func TestContract(t *testing.T) {
	payloadtest.Run(t, func(t *testing.T) payloadtest.Subject {
		r := newRecorder(t)
		app := filepath.Join(t.TempDir(), "app")
		if err := os.WriteFile(app, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("APP", app)
		r.does(t, "SupportsRollback", "echo Yes")
		r.does(t, "ArtifactInstall", `cp "$APP" tmp/old.new; mv tmp/old.new tmp/old; cksum <"$RECORDER/payload/file" >"$APP"`)
		r.does(t, "ArtifactRollback", `[ ! -e tmp/old ] || cp tmp/old "$APP"`)
		return payloadtest.Subject{
			Artifact: pack(t, "file", strings.Repeat("new ", payloadtest.MinArtifact/4)),
			Open: func(memory json.RawMessage) payload.Handler {
				r.Memory = memory
				return r.handler(t)
			},
			Effect: func() string {
				data, err := os.ReadFile(app)
				if err != nil {
					t.Fatal(err)
				}
				return string(data)
			},
			Reboots: payload.NoReboot,
			Leftovers: func() []string {
				left, err := filepath.Glob(filepath.Join(filepath.Dir(r.Work), "*"))
				if err != nil {
					t.Fatal(err)
				}
				return left
			},
		}
	})
}
