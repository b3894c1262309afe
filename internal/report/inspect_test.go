package report_test

import (
	"strings"
	"testing"

	"flipside/artifact"
	"flipside/internal/device"
	"flipside/internal/report"
)

const evil = "\x1b[31mred\a\u009b2J\r\nname \u202e"

// TestHarmless: a terminal obeys nothing of what anybody may have put into an artifact.
func TestHarmless(t *testing.T) {
	var inspect, status strings.Builder
	c := report.Contents{
		Name: evil, Group: evil, Depends: artifact.Depends{evil: {evil}}, Provides: artifact.Provides{evil: evil},
		ClearsProvides: []string{evil}, Scripts: []string{evil},
		Payloads: []report.PayloadContents{{Type: evil, MetaData: []byte(`"` + evil + `"`), Files: []report.FileContents{{Name: evil}}}},
	}
	if err := c.Print(&inspect); err != nil {
		t.Fatal(err)
	}
	if err := report.Status(&status, device.Status{Artifact: evil, Warnings: []string{evil}}); err != nil {
		t.Fatal(err)
	}
	plan := report.Plan(&device.Plan{Artifact: evil, Depends: []device.Match{{Key: evil, Wanted: []string{evil}, Has: evil}}})
	for name, text := range map[string]string{"inspect": inspect.String(), "status": status.String(), "plan": strings.Join(plan, "\n")} {
		if strings.ContainsAny(text, "\x1b\a\r\u009b\u202e") || strings.Contains(text, "\nname") {
			t.Errorf("%s is %q", name, text)
		}
		if !strings.Contains(text, "?[31mred??2J??name ?") {
			t.Errorf("%s leaves out what can be shown: %q", name, text)
		}
	}
}
