package progress

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
)

// Terminal is what must be known to draw on one.
type Terminal struct {
	Width   func() int // columns, asked for each frame; less than 1: unknown
	Unicode bool       // it shows more than ASCII
}

// NewBar returns a Display for a terminal: one line that is drawn again at most twice a second, and
// messages above it. It needs nothing of the terminal but the carriage return.
func NewBar(w io.Writer, t Terminal) *Display { return newDisplay(w, &bar{terminal: t}) }

type bar struct {
	forPeople
	terminal Terminal
	text     string // what stands on the line now
}

func (b *bar) prompt() bool { return false }

func (b *bar) lines(t *tracker, ev Event, _ time.Time) []string {
	if ev.Kind == Done {
		return []string{t.summary(b.width())}
	}
	return nil
}

func (b *bar) frame(t *tracker, lines []string, now time.Time, last bool) string {
	var out strings.Builder
	for _, line := range lines {
		out.WriteString(b.over(line) + "\n")
		b.text = ""
	}
	s := t.status(now)
	switch {
	case t.finished:
	case s.phase != "" && (len(lines) > 0 || b.text != b.line(s)):
		line := b.line(s)
		out.WriteString(b.over(line))
		b.text = line
	}
	if last && b.text != "" {
		out.WriteString("\n") // leave standing how far it came
		b.text = ""
	}
	return out.String()
}

// over is the line written over what stands there.
func (b *bar) over(line string) string {
	if b.text == "" {
		return line
	}
	rest := utf8.RuneCountInString(b.text) - utf8.RuneCountInString(line)
	return "\r" + line + strings.Repeat(" ", max(rest, 0))
}

// width is how many columns may be used. The last one stays free: terminals differ in what happens
// after it.
func (b *bar) width() int {
	if width := b.terminal.Width() - 1; width >= 1 {
		return width
	}
	return 79
}

// line is the status as wide as fits.
func (b *bar) line(s status) string {
	width := b.width()
	name, numbers := string(s.phase), s.numbers()
	if s.percent < 0 {
		return fit(width, name, numbers)
	}
	const most = 40 // cells; a longer bar says no more
	for _, l := range append(s.details(), plainShape(numbers)) {
		free := width - len(name+percentage(s.percent)+l.tail)
		if l.fewest == 0 && free >= 0 {
			return name + percentage(s.percent) + l.tail
		}
		if cells := min(free-len(" []"), max(width-l.beside, l.fewest), most); cells >= max(l.fewest, 1) {
			return name + percentAndBar(s.percent, cells, b.terminal.Unicode) + l.tail
		}
	}
	return fit(width, name+percentage(s.percent), numbers)
}

func percentage(percent int) string { return fmt.Sprintf("%4d%%", percent) }

// shape is one way to fill the line.
type shape struct {
	tail   string // behind the bar
	fewest int    // cells that the bar needs to say anything; 0: no bar
	beside int    // what stands beside the bar at most times: it should not change its size
}

func plainShape(numbers []string) shape { return shape{join("", numbers), 10, 61} }

// numbers are what is known of the phase, the most important first.
func (s status) numbers() []string {
	left, ok := s.left()
	switch {
	case s.total <= 0 && s.done <= 0:
		return []string{clock(s.elapsed)}
	case !ok:
		return []string{amount(s.done, s.total), clock(s.elapsed), speed(s.rate)}
	}
	return []string{amount(s.done, s.total), "ETA " + clock(left), speed(s.rate)}
}

// details are the shapes for a download, the widest first: what came in, was written and skipped.
func (s status) details() []shape {
	if s.phase != Download || s.total <= 0 || s.in == 0 && s.skipped == 0 {
		return nil
	}
	full := join("", s.numbers()) + fmt.Sprintf("  in %s, written %s, skipped %s", size(s.in), size(s.written), size(s.skipped))
	i, divisor := binary.unit(float64(s.total))
	in := func(n int64) string { return brief(float64(n), i, divisor) }
	moved := fmt.Sprintf("  in %s, written %s, skipped %s", in(s.in), in(s.written), in(s.skipped))
	unit := " " + binary.units[i] + "  " + s.pace()
	return []shape{
		{full, 10, 100},
		{moved + " of " + in(s.total) + unit, 10, 81},
		{moved + unit, 4, 75}, // 80 columns are enough for this
		{moved + unit, 0, 0},
	}
}

// pace is speed and time, in few characters.
func (s status) pace() string {
	i, divisor := decimal.unit(s.rate)
	text := brief(s.rate, i, divisor) + " " + decimal.units[i] + "  "
	if left, ok := s.left(); ok {
		return text + "ETA " + clock(left)
	}
	return text + clock(s.elapsed)
}

// join puts the numbers behind a line, in the order in which they are read: the time last.
func join(line string, numbers []string) string {
	if len(numbers) == 3 {
		numbers = []string{numbers[0], numbers[2], numbers[1]}
	}
	for _, n := range numbers {
		line += "  " + n
	}
	return line
}

// fit leaves out the least important numbers, and in the end cuts the name.
func fit(width int, name string, numbers []string) string {
	for n := len(numbers); n >= 0; n-- {
		if line := join(name, numbers[:n]); len(line) <= width {
			return line
		}
	}
	return name[:min(len(name), width)]
}

// percentAndBar draws "  42% [====>.....]" with so many cells, into memory. The library would also
// draw on things that are no terminals, return errors when there is more than its maximum, and show
// 100 % when the last byte came instead of when all is done; so it gets neither writer nor bytes.
func percentAndBar(percent, cells int, unicode bool) string {
	theme := progressbar.ThemeASCII
	if unicode {
		theme = progressbar.ThemeDefault
	}
	p := progressbar.NewOptions(100,
		progressbar.OptionSetWriter(io.Discard),
		progressbar.OptionSetWidth(cells),
		progressbar.OptionSetTheme(theme),
		progressbar.OptionSetPredictTime(false),
	)
	// Errors could only come from the writer, or from a percentage above 99.
	_ = p.Set(percent)
	_ = p.RenderBlank() // Set does not draw 0 %
	return strings.TrimRight(strings.TrimPrefix(p.String(), "\r"), " ")
}
