package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"flipside/internal/device"
	"flipside/internal/slot"
)

// Status prints where the device stands, for a person.
func Status(w io.Writer, s device.Status) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s %s\n", label, printable(fmt.Sprintf(format, args...)))
	}
	line("artifact:", "%s", s.Artifact)
	if s.DeviceType != "" {
		line("device type:", "%s", s.DeviceType)
	}
	if s.Slots.Active != nil {
		line("active slot:", "%s; %s", describe(s.Slots.Active), s.Slots.How)
		line("inactive slot:", "%s", describe(s.Slots.Inactive))
	}
	if s.Slots.Problem != "" {
		line("slots:", "%s", s.Slots.Problem)
	}
	if next := nextBoot(s.Bootloader); next != "" {
		line("next boot:", "%s", next)
	}
	if kind := s.Bootloader.Environment.Kind; kind != "" {
		line("bootloader:", "%s, from %s", kind, s.Bootloader.Environment.Source)
	}
	if s.Bootloader.Problem != "" {
		line("bootloader:", "%s", s.Bootloader.Problem)
	}
	if s.Deployment != nil {
		line("update:", "%s", update(s.Deployment))
	}
	if h := s.Working; h != nil {
		line("at work:", "%s", h)
		if w := h.Waiting; w != nil {
			line("waiting:", "for %s, since %s, at the latest until %s", w.Script, w.Since.Format(time.DateTime), w.Until.Format(time.DateTime))
		}
	}
	for _, warning := range s.Warnings {
		line("warning:", "%s", warning)
	}
	label := "what to do:"
	for _, step := range s.Next {
		line(label, "%s", step)
		label = ""
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func describe(s *slot.Slot) string {
	return fmt.Sprintf("%s, %s, %s", s.Name, s.Device, size(s.Size))
}

func size(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func nextBoot(b device.BootStatus) string {
	if b.NextPart == 0 {
		return ""
	}
	next := fmt.Sprintf("partition %d", b.NextPart)
	if b.NextSlot != "" {
		next = "slot " + b.NextSlot
	}
	if b.Trial {
		return next + ", on trial: it falls back unless it is committed"
	}
	return next
}

func update(d *device.DeploymentStatus) string {
	text := fmt.Sprintf("%s is %s", d.Artifact.Name, d.State)
	switch {
	case d.FellBack:
		text += "; it did not come up, the device fell back"
	case d.Running:
		text += " and runs on trial"
	}
	if d.Failure != "" {
		text += "; failed: " + d.Failure
	}
	return text
}
