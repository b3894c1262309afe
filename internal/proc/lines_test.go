package proc_test

import (
	"slices"
	"strings"
	"testing"

	"flipside/internal/proc"
)

func TestLines(t *testing.T) {
	x4096 := strings.Repeat("x", 4096)
	for name, tc := range map[string]struct {
		writes []string
		want   []string
	}{
		"nothing":               {nil, nil},
		"lines":                 {[]string{"a\nb\n"}, []string{"a", "b"}},
		"in pieces":             {[]string{"a", "b\nc", "d", "\n"}, []string{"ab", "cd"}},
		"last without end":      {[]string{"a\nb"}, []string{"a", "b"}},
		"empty lines":           {[]string{"\n\na\n\n"}, []string{"", "", "a", ""}},
		"carriage returns":      {[]string{"a\r", "\nb\r\n"}, []string{"a", "b"}},
		"the longest":           {[]string{x4096 + "\n"}, []string{x4096}},
		"one more":              {[]string{x4096 + "y\n"}, []string{x4096, "y"}},
		"much more":             {[]string{x4096 + x4096 + x4096}, []string{x4096, x4096, x4096}},
		"a character in two":    {[]string{x4096[1:] + "é\n"}, []string{x4096[1:], "é"}},
		"not a character":       {[]string{x4096[3:] + "\x80\x80\x80\x80y\n"}, []string{x4096[3:] + "\x80\x80\x80", "\x80y"}},
		"four bytes, one fits":  {[]string{x4096[1:] + "😀\n"}, []string{x4096[1:], "😀"}},
		"four bytes, four fit":  {[]string{x4096[4:] + "😀z\n"}, []string{x4096[4:] + "😀", "z"}},
		"byte by byte":          {strings.Split("ab\ncd\n", ""), []string{"ab", "cd"}},
		"longest, byte by byte": {strings.Split(x4096+"y", ""), []string{x4096, "y"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			l := proc.NewLines(func(line string) { got = append(got, line) })
			for _, w := range tc.writes {
				if n, err := l.Write([]byte(w)); n != len(w) || err != nil {
					t.Errorf("Write(%d bytes) = %d, %v; want all", len(w), n, err)
				}
			}
			l.Flush()
			l.Flush()
			if !slices.Equal(got, tc.want) {
				t.Errorf("lines = %.60q; want %.60q", got, tc.want)
			}
		})
	}
}

func TestTail(t *testing.T) {
	full := strings.Repeat("0123456789", proc.TailSize/10)
	for name, tc := range map[string]struct {
		writes []string
		want   string
	}{
		"nothing":       {nil, ""},
		"little":        {[]string{"a", "b"}, "ab"},
		"all it keeps":  {[]string{full}, full},
		"one more":      {[]string{full, "x"}, "..." + full[1:] + "x"},
		"one too large": {[]string{"before", "x" + full}, "..." + full},
		"twice":         {[]string{full, full}, "..." + full},
	} {
		t.Run(name, func(t *testing.T) {
			var tail proc.Tail
			for _, w := range tc.writes {
				if n, err := tail.Write([]byte(w)); n != len(w) || err != nil {
					t.Errorf("Write(%d bytes) = %d, %v; want all", len(w), n, err)
				}
			}
			if got := tail.String(); got != tc.want {
				t.Errorf("String() = %.40q (%d bytes); want %.40q (%d bytes)", got, len(got), tc.want, len(tc.want))
			}
		})
	}
}
