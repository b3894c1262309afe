package report

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"flipside/artifact"
	"flipside/internal/deployment"
	"flipside/internal/progress"
)

// Result is how a run ended, for a script: the last line of every stream of JSON lines. See
// docs/json.md; within one version fields are only added.
type Result struct {
	Version int       `json:"v"` // progress.LineVersion
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`   // "result"
	Command string    `json:"command"` // "install", "sandbox create"; "" if none was given
	Report
	Artifact       string             `json:"artifact,omitempty"`        // what the run was about
	DeviceArtifact string             `json:"device_artifact,omitempty"` // what the device has now
	InProgress     bool               `json:"in_progress"`               // an update waits for a decision, or to be taken up
	Bytes          progress.Totals    `json:"bytes"`
	ElapsedMS      int64              `json:"elapsed_ms"`
	Provides       *artifact.Provides `json:"provides,omitempty"`
	Plan           any                `json:"plan,omitempty"`
	Text           []string           `json:"text,omitempty"` // what the command tells people on standard output
	Next           []string           `json:"next,omitempty"` // what to do now, as sentences or commands
}

// Line is r as one line of JSON, without its end.
func (r Result) Line(now time.Time) string {
	r.Version, r.Time, r.Event = progress.LineVersion, now.UTC(), "result"
	var line strings.Builder
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false) // hints have quotes and arrows
	if err := e.Encode(r); err != nil {
		panic(err) // strings, numbers and lists of them
	}
	return strings.TrimSuffix(line.String(), "\n")
}

// ParseResult reads what Line has written.
func ParseResult(line []byte) (Result, error) {
	var r Result
	err := json.Unmarshal(line, &r)
	return r, err
}

// Short is r without what may be long.
func (r Result) Short() Result {
	r.Provides, r.Plan, r.Text, r.Next = nil, nil, nil, nil
	for _, text := range []*string{&r.Cause, &r.Hint, &r.Device, &r.Artifact, &r.DeviceArtifact} {
		*text = short(*text)
	}
	return r
}

func short(text string) string {
	const most = 512
	if len(text) <= most {
		return text
	}
	return text[:most] + " (cut)"
}

// Words are what r tells a person: the lines of the result, and those of the failure.
func (r Result) Words() []string {
	if r.Cause == "" {
		return r.Text
	}
	return append(slices.Clone(r.Text), r.Lines()...)
}

// Good is the report of a run that did what was asked.
func Good(result *deployment.Result) Report {
	r := Report{DeviceState: deployment.DeviceUnchanged}
	if result != nil {
		r.RebootRequired = result.RebootRequired
		if result.Device != "" {
			r.DeviceState = result.Device
		}
	}
	return r
}

// Wrong is the report of a wrong command line.
func Wrong(err error) Report {
	return Report{
		Code: Failed, Cause: err.Error(), Hint: "`flipside --help` lists commands and options",
		DeviceState: deployment.DeviceUnchanged,
	}
}
