package report

import (
	"strings"
	"unicode"
)

// printable is text without what a terminal would obey: names come from artifacts, which anybody
// may have made.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}
