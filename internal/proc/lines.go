package proc

import (
	"bytes"
	"unicode/utf8"
)

// maxLine is the longest line in bytes that is handed on in one piece: no program's output is
// worth more memory than this.
const maxLine = 4096

// Lines is a writer that hands on what is written line by line, as the lines come, without their
// ends (newline, or carriage return and newline). Longer lines than 4 KiB come in pieces. One
// Lines is for one stream.
type Lines struct {
	emit func(line string)
	rest []byte
}

// NewLines returns a Lines that calls emit for each line.
func NewLines(emit func(line string)) *Lines { return &Lines{emit: emit} }

// Write never fails.
func (l *Lines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		piece, rest, ended := bytes.Cut(p, []byte{'\n'})
		l.add(piece)
		if ended {
			l.flush()
		}
		p = rest
	}
	return n, nil
}

// Flush hands on a last line that had no end. Call it when nothing more will be written.
func (l *Lines) Flush() {
	if len(l.rest) > 0 {
		l.flush()
	}
}

func (l *Lines) add(piece []byte) {
	for len(l.rest)+len(piece) > maxLine {
		n := maxLine - len(l.rest)
		l.rest = append(l.rest, piece[:n]...)
		piece = piece[n:]
		cut := wholeRunes(l.rest)
		l.emit(string(l.rest[:cut]))
		l.rest = append(l.rest[:0], l.rest[cut:]...)
	}
	l.rest = append(l.rest, piece...)
}

func (l *Lines) flush() {
	l.emit(string(bytes.TrimSuffix(l.rest, []byte{'\r'})))
	l.rest = l.rest[:0]
}

// wholeRunes is how much of b, which is full, can be cut off without cutting a character in two.
func wholeRunes(b []byte) int {
	for i := 1; i < utf8.UTFMax; i++ {
		start := len(b) - i
		if utf8.RuneStart(b[start]) {
			if utf8.FullRune(b[start:]) {
				break
			}
			return start
		}
	}
	return len(b)
}
