package cmdline_test

import (
	"maps"
	"strings"
	"testing"

	"flipside/internal/cmdline"
)

func TestLook(t *testing.T) {
	spec := cmdline.Spec{
		Global: cmdline.Options{"json": false, "progress": true},
		Commands: map[string]cmdline.Options{
			"install": {"json": false, "key": true}, "sandbox": {}, "sandbox create": {"json": false},
		},
	}
	for line, want := range map[string]struct {
		command string
		options map[string]string
	}{
		"":                                  {"", map[string]string{}},
		"install x --json":                  {"install", map[string]string{"json": "true"}},
		"--json=false install x":            {"install", map[string]string{"json": "false"}},
		"install --key --json x":            {"install", map[string]string{"key": "--json"}},
		"install --progress=json -- --json": {"install", map[string]string{"progress": "json"}},
		"install x --progress":              {"", map[string]string{"progress": ""}},
		"sandbox create --json d":           {"sandbox create", map[string]string{"json": "true"}},
		"sandbox destroy --json":            {"sandbox", map[string]string{"json": "true"}},
		"update --json --force":             {"update", map[string]string{"json": "true", "force": "true"}},
		"-json -install x --key k":          {"install", map[string]string{"json": "true", "key": "k"}},
	} {
		got := cmdline.Look(cmdline.Arrange(strings.Fields(line), spec), spec)
		if got.Command != want.command || !maps.Equal(got.Options, want.options) {
			t.Errorf("Look(%q) = %q %v; want %q %v", line, got.Command, got.Options, want.command, want.options)
		}
	}
}
