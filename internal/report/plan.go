package report

import (
	"fmt"
	"strings"
	"time"

	"flipside/bootenv"
	"flipside/internal/device"
)

// Plan tells a person what an install would do, line by line.
func Plan(p *device.Plan) []string {
	var lines []string
	line := func(label, format string, args ...any) {
		lines = append(lines, printable(fmt.Sprintf("%-15s %s", label, fmt.Sprintf(format, args...))))
	}
	line("artifact:", "%s", p.Artifact)
	line("signature:", "%s", signature(p))
	for _, m := range p.Depends {
		line("depends:", "%s = %s: the device has %s", m.Key, strings.Join(m.Wanted, " or "), m.Has)
	}
	for _, c := range p.Provides {
		line("provides:", "%s: %s", c.Name, change(c))
	}
	planPayload(p, line)
	for _, s := range p.Scripts {
		line("script:", "%s, of the %s%s", s.Script, s.From, when(s.When))
	}
	for _, c := range p.BootVariables {
		line("boot variable:", "%s: %s", c.Name, change(c))
	}
	line("reboot:", "%s", map[string]string{
		"yes": "needed; then commit, or roll back", "no": "not needed", "module": "the update module says after installing",
	}[p.Reboot])
	if p.Speed != nil {
		line("time:", "at least %s: %s", max(time.Duration(p.AtLeastMS)*time.Millisecond, time.Second/10).Round(time.Second/10), speeds(p.Speed))
	}
	for _, note := range p.Notes {
		line("note:", "%s", note)
	}
	return append(lines, "Nothing was written.")
}

func signature(p *device.Plan) string {
	keys := strings.Join(p.Keys, ", ")
	switch {
	case keys != "":
		return "right, by " + keys
	case p.Signed:
		return "is there, and is not checked, because no keys are configured"
	}
	return "none, and none is needed, because no keys are configured"
}

func planPayload(p *device.Plan, line func(label, format string, args ...any)) {
	switch {
	case p.PayloadType == "":
		line("payload:", "none: what the artifact provides is recorded at once")
		return
	case p.Module != "":
		line("payload:", "%s, for the update module %s; checked by the manifest's checksums", p.PayloadType, p.Module)
		return
	case p.ImageSize > 0:
		line("payload:", "%s, %s (%d bytes)", p.PayloadType, size(p.ImageSize), p.ImageSize)
		line("target:", "slot %s: it fits", describe(p.Target))
	default:
		line("payload:", "%s", p.PayloadType)
		line("target:", "slot %s", describe(p.Target))
	}
	if p.ReadBack {
		line("verified:", "by the manifest's checksum while it is written, and by reading the slot back")
	} else {
		line("verified:", "by the manifest's checksum while it is written; the slot is not read back")
	}
}

func change(c bootenv.Change) string {
	quote := func(s string) string {
		if s == "" {
			return "nothing"
		}
		return s
	}
	return quote(c.Old) + " -> " + quote(c.New)
}

func when(when string) string {
	switch when {
	case "commit":
		return ", with the commit"
	case "failure":
		return ", only if something fails or is rolled back"
	}
	return ""
}

func speeds(s *device.Speed) string {
	text := fmt.Sprintf("the source gives %.1f MB/s unpacked", s.Source/1e6)
	if s.Slot > 0 {
		text += fmt.Sprintf(", the slot reads at %.1f MB/s", s.Slot/1e6)
	}
	return text + "; writing was not tried"
}
