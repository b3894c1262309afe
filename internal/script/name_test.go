package script_test

import (
	"testing"

	"flipside/internal/script"
)

func TestParseName(t *testing.T) {
	for name, want := range map[string]script.Name{
		"ArtifactInstall_Enter_05_wifi":     {script.ArtifactInstall, script.Enter, "05", "wifi"},
		"ArtifactInstall_Enter_05":          {script.ArtifactInstall, script.Enter, "05", ""},
		"ArtifactInstall_Leave_99_a_b.sh":   {script.ArtifactInstall, script.Leave, "99", "a_b.sh"},
		"ArtifactCommit_Error_00_ü":         {script.ArtifactCommit, script.Error, "00", "ü"},
		"ArtifactRollback_Enter_01":         {script.ArtifactRollback, script.Enter, "01", ""},
		"ArtifactRollbackReboot_Enter_01":   {script.ArtifactRollbackReboot, script.Enter, "01", ""},
		"ArtifactReboot_Leave_01":           {script.ArtifactReboot, script.Leave, "01", ""},
		"ArtifactFailure_Leave_01":          {script.ArtifactFailure, script.Leave, "01", ""},
		"Download_Enter_01":                 {script.Download, script.Enter, "01", ""},
		"Idle_Enter_01":                     {script.Idle, script.Enter, "01", ""},
		"Sync_Error_01__":                   {script.Sync, script.Error, "01", "_"},
		"ArtifactInstall_Enter_05_Leave_06": {script.ArtifactInstall, script.Enter, "05", "Leave_06"},
	} {
		if got, ok := script.ParseName(name); !ok || got != want {
			t.Errorf("ParseName(%q) = %+v, %v; want %+v", name, got, ok, want)
		}
	}
	for _, name := range []string{
		"", "_", "__", "version", "ArtifactInstall", "ArtifactInstall_Enter", "ArtifactInstall_Enter_",
		"ArtifactInstall_Enter_1", "ArtifactInstall_Enter_001", "ArtifactInstall_Enter_1a", "ArtifactInstall_Enter_٣٤",
		"ArtifactInstall_Enter_05_", "ArtifactInstall_Enter_05wifi", "ArtifactInstall_Enter_05_a b",
		"ArtifactInstall_Enter_05_a\n", "ArtifactInstall_Enter_05\n", "ArtifactInstall_Enter_05_a/b",
		"ArtifactInstall_Enter_05_\x00", "xArtifactInstall_Enter_05", " ArtifactInstall_Enter_05",
		"artifactinstall_Enter_05", "ArtifactInstall_enter_05", "ArtifactInstall_Begin_05", "Artifact_Enter_05",
		"../ArtifactInstall_Enter_05", "ArtifactVerifyReboot_Enter_05",
	} {
		if got, ok := script.ParseName(name); ok {
			t.Errorf("ParseName(%q) = %+v; want none", name, got)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("ArtifactInstall_Enter_05_wifi")
	f.Add("Download_Leave_00")
	f.Fuzz(func(t *testing.T, name string) {
		n, ok := script.ParseName(name)
		if !ok {
			return
		}
		again := string(n.State) + "_" + string(n.Action) + "_" + n.Order
		if n.Label != "" {
			again += "_" + n.Label
		}
		if again != name {
			t.Errorf("ParseName(%q) = %+v, which is %q", name, n, again)
		}
	})
}
