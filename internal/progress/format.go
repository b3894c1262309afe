package progress

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// scale is how people write large numbers: a factor and the names of its powers.
type scale struct {
	factor float64
	units  []string
}

var (
	binary  = scale{1024, []string{"B", "KiB", "MiB", "GiB", "TiB"}}
	decimal = scale{1000, []string{"B/s", "kB/s", "MB/s", "GB/s", "TB/s"}}
)

// unit picks the power for a value: its index and divisor.
func (s scale) unit(value float64) (int, float64) {
	i, divisor := 0, 1.0
	for i < len(s.units)-1 && value/divisor >= s.factor-0.05 {
		i, divisor = i+1, divisor*s.factor
	}
	return i, divisor
}

func (s scale) format(value float64) string {
	i, divisor := s.unit(value)
	return number(value, i, divisor) + " " + s.units[i]
}

// number has one decimal, but for bytes.
func number(value float64, unit int, divisor float64) string {
	if unit == 0 {
		return fmt.Sprintf("%.0f", value)
	}
	return fmt.Sprintf("%.1f", value/divisor)
}

// brief is a number in three characters, or four: "8.0", "48", "480".
func brief(value float64, unit int, divisor float64) string {
	if value /= divisor; unit > 0 && value < 9.95 {
		return fmt.Sprintf("%.1f", value)
	}
	return fmt.Sprintf("%.0f", value)
}

// size is "48.0 MiB".
func size(n int64) string { return binary.format(float64(n)) }

// speed is "31.5 MB/s".
func speed(perSecond float64) string { return decimal.format(perSecond) }

// amount is "20.2/48.0 MiB", or "20.2 MiB" if the total is not known.
func amount(done, total int64) string {
	if total <= 0 {
		return size(done)
	}
	i, divisor := binary.unit(float64(total))
	return number(float64(done), i, divisor) + "/" + number(float64(total), i, divisor) + " " + binary.units[i]
}

// clock is "0:12", "12:34" or "1:02:03".
func clock(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// summary is the last line, as long as fits into width columns.
func (t *tracker) summary(width int) string {
	took := t.ended.Sub(t.began)
	var bytes int64
	var what string
	switch {
	case t.written > 0 || t.skipped > 0 || t.zeroed > 0:
		bytes, what = t.written+t.skipped+t.zeroed, fmt.Sprintf(": %s written, %s skipped", size(t.written), size(t.skipped))
		if t.zeroed > 0 {
			what += fmt.Sprintf(", %s zeroed", size(t.zeroed))
		}
	case t.moved > 0:
		bytes, what = t.moved, ": "+size(t.moved)
	}
	line := "done" + what + " in " + clock(took)
	if bytes > 0 && took >= time.Second {
		if full := line + " (" + speed(float64(bytes)/took.Seconds()) + ")"; len(full) <= width {
			return full
		}
	}
	for _, shorter := range []string{line, "done: " + size(bytes) + " in " + clock(took), "done in " + clock(took)} {
		if len(shorter) <= width {
			return shorter
		}
	}
	return "done"
}

// heading is what the Begin of a phase says: which, and how much of it, or what for.
func heading(ev Event) string {
	line := clean(string(ev.Phase))
	switch {
	case ev.Total > 0:
		line += ": " + size(ev.Total)
	case ev.Phase == Scripts && ev.Text != "":
		line += ": " + clean(ev.Text)
	}
	return line
}

// message is what Note, Warning and Output events say, in lines; nil for the other kinds.
func message(ev Event) []string {
	before := ""
	switch ev.Kind {
	case Note:
		before = "flipside: "
	case Warning:
		before = "flipside: warning: "
	case LeftOut:
		before = "flipside: left out here: "
	case Output:
		before = clean(ev.From) + ": "
		if ev.From == "" {
			before = ""
		}
	default:
		return nil
	}
	var lines []string
	for text := range strings.SplitSeq(strings.TrimRight(ev.Text, "\r\n"), "\n") {
		lines = append(lines, before+clean(text))
	}
	return lines
}

// clean makes one line of text harmless: programs of others wrote it, and a terminal obeys what it
// is told. Colours and other control sequences vanish, and so does what a carriage return overwrote.
func clean(text string) string {
	const longest = 4 << 10 // bytes; a line that nobody reads to the end
	text = strings.TrimRight(text, "\r")
	text = text[strings.LastIndexByte(text, '\r')+1:]
	text = text[:min(len(text), longest)]
	var b strings.Builder
	for len(text) > 0 {
		if n := escapeLen(text); n > 0 {
			text = text[n:]
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1, r < ' ' && r != '\t', 0x7f <= r && r < 0xa0:
			b.WriteByte('?')
		default:
			b.WriteString(text[:n])
		}
		text = text[n:]
	}
	return b.String()
}

// escapeLen is the length of the control sequence (ECMA-48) that text begins with.
func escapeLen(text string) int {
	if !strings.HasPrefix(text, "\x1b[") {
		return 0
	}
	for i := 2; i < len(text); i++ {
		if c := text[i]; c >= 0x40 && c <= 0x7e {
			return i + 1
		}
	}
	return len(text)
}
