package progress_test

import (
	"io"
	"os"
	"strings"
	"testing"

	"flipside/internal/hosttest"
)

// openPTY returns both ends of a pseudo terminal with so many columns.
func openPTY(t *testing.T, columns uint16) (master, slave *os.File) {
	t.Helper()
	master, slave = hosttest.Terminal(t, columns)
	t.Cleanup(func() { _ = master.Close(); _ = slave.Close() })
	return master, slave
}

// hangUp closes the slave and returns what it wrote.
func hangUp(t *testing.T, master, slave *os.File) string {
	t.Helper()
	if err := slave.Close(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	_, _ = io.Copy(&b, master) // ends with EIO when the slave is gone
	return b.String()
}

// screen is a very old terminal: it knows characters, carriage return and line feed, nothing else,
// and wraps as the real ones do.
type screen struct {
	t       *testing.T
	columns int
	rows    [][]rune
	x       int
	states  []string // of the last row, at each carriage return or line feed
}

func (s *screen) write(text string) {
	for _, r := range text {
		if len(s.rows) == 0 {
			s.rows = [][]rune{{}}
		}
		last := len(s.rows) - 1
		switch {
		case r == '\r':
			s.states = append(s.states, strings.TrimRight(string(s.rows[last]), " "))
			s.x = 0
		case r == '\n':
			s.states = append(s.states, strings.TrimRight(string(s.rows[last]), " "))
			s.rows = append(s.rows, nil)
			if s.x > 0 { // a line feed alone does not return
				s.rows[last+1] = []rune(strings.Repeat(" ", s.x))
			}
		case r < ' ' || r == 0x7f:
			s.t.Errorf("control character %q on a terminal that does not know it", r)
		default:
			if s.x >= s.columns {
				s.t.Errorf("line wrapped at column %d after %q", s.columns, string(s.rows[last]))
				s.rows, s.x = append(s.rows, nil), 0
				last++
			}
			for len(s.rows[last]) <= s.x {
				s.rows[last] = append(s.rows[last], ' ')
			}
			s.rows[last][s.x] = r
			s.x++
		}
	}
}

// text is what can be read in the end.
func (s *screen) text() string {
	var b strings.Builder
	for _, row := range s.rows {
		b.WriteString(strings.TrimRight(string(row), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
