package choose

import (
	"cmp"
	"slices"
	"strings"
)

// newestFirst sorts artifacts. If their names say it, they decide: all begin with the same word,
// which is followed by a version (release-9, release-10-rc1, release-10). Otherwise the time at which
// the file was last changed does, and then the file's name. Times alone would be a bad guide: on a
// stick they are those of the copying, in the time zone of who did it.
func newestFirst(all []Candidate) {
	byName := sameSeries(all)
	slices.SortStableFunc(all, func(a, b Candidate) int {
		if byName {
			if c := compareVersions(b.Artifact, a.Artifact); c != 0 {
				return c
			}
		}
		return cmp.Or(b.Modified.Compare(a.Modified), strings.Compare(b.Name, a.Name))
	})
}

// sameSeries says whether names differ in their versions only.
func sameSeries(all []Candidate) bool {
	for _, c := range all {
		word, version := series(c.Artifact)
		first, _ := series(all[0].Artifact)
		if version == "" || !strings.EqualFold(word, first) {
			return false
		}
	}
	return true
}

// series splits a name where its version begins: at the first digit. "v1" and "1" are the same.
func series(name string) (word, version string) {
	i := strings.IndexAny(name, "0123456789")
	if i < 0 {
		return name, ""
	}
	word = name[:i]
	if n := len(word); n > 0 && (word[n-1] == 'v' || word[n-1] == 'V') && (n == 1 || !isLetter(word[n-2])) {
		word = word[:n-1]
	}
	return word, name[i:]
}

// compareVersions compares two names part by part: numbers as numbers, so that 1.10 is newer than
// 1.9; words that announce a release (alpha, beta, dev, pre, rc, and what begins with ~) are older
// than nothing, which is older than anything else.
func compareVersions(a, b string) int {
	_, a = series(a)
	_, b = series(b)
	for a != "" || b != "" {
		var x, y string
		x, a = part(a)
		y, b = part(b)
		if c := compareParts(x, y); c != 0 {
			return c
		}
	}
	return 0
}

// part splits off a run of digits, or of anything else.
func part(s string) (first, rest string) {
	if s == "" {
		return "", ""
	}
	digits := isDigit(s[0])
	i := 1
	for i < len(s) && isDigit(s[i]) == digits {
		i++
	}
	return s[:i], s[i:]
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// kinds of parts, the older first.
const (
	announcement = iota
	nothing
	word
	number
)

func kind(s string) int {
	if s == "" {
		return nothing
	}
	if isDigit(s[0]) {
		return number
	}
	if strings.HasPrefix(s, "~") {
		return announcement
	}
	plain := strings.ToLower(strings.Trim(s, "-._+ "))
	for _, w := range []string{"alpha", "beta", "dev", "pre", "preview", "rc"} {
		if plain == w {
			return announcement
		}
	}
	return word
}

func compareParts(x, y string) int {
	if c := cmp.Compare(kind(x), kind(y)); c != 0 {
		return c
	}
	if kind(x) != number {
		return strings.Compare(strings.ToLower(x), strings.ToLower(y))
	}
	x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)) // however many digits
}
