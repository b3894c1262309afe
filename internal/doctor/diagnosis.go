package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Diagnosis is what an examination found, in the order of the checklist. As JSON it is
//
//	{"healthy": false, "findings": [{"check": "canary", "level": "problem", "text": …, "fix": …}]}
type Diagnosis struct {
	Findings []Finding
}

// Healthy says that there is no problem. There may be warnings.
func (d Diagnosis) Healthy() bool { return d.count(Problem) == 0 }

func (d Diagnosis) count(level Level) (n int) {
	for _, f := range d.Findings {
		if f.Level == level {
			n++
		}
	}
	return n
}

// MarshalJSON adds the verdict to the findings.
func (d Diagnosis) MarshalJSON() ([]byte, error) {
	findings := d.Findings
	if findings == nil {
		findings = []Finding{}
	}
	return json.Marshal(struct {
		Healthy  bool      `json:"healthy"`
		Findings []Finding `json:"findings"`
	}{d.Healthy(), findings})
}

// Print writes the diagnosis for a person: a line for each finding, what to do below it, and the
// verdict at the end.
func (d Diagnosis) Print(w io.Writer) error {
	const line = "%-8s %-15s %s\n"
	var b strings.Builder
	for _, f := range d.Findings {
		fmt.Fprintf(&b, line, f.Level, f.Check, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(&b, line, "", "", "fix: "+f.Fix)
		}
	}
	fmt.Fprintln(&b, d.verdict())
	_, err := io.WriteString(w, b.String())
	return err
}

func (d Diagnosis) verdict() string {
	text := counted(d.count(Problem), "problem") + ", " + counted(d.count(Warning), "warning")
	if d.Healthy() {
		return "healthy: " + text
	}
	return "not healthy: " + text
}

func counted(n int, what string) string {
	switch n {
	case 0:
		return "no " + what + "s"
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
