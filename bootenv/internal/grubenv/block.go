// Package grubenv is GRUB's environment block: a file of fixed size with a signature line, lines
// "name=value" and a filling of '#'. There is no checksum. In values, a backslash stands before a
// backslash or a newline. GRUB itself can only rewrite the bytes that the file has: nothing may
// change the size or, on the boot file system, needs to.
package grubenv

import (
	"errors"
	"fmt"
	"strings"
)

// DefaultSize is what grub-editenv makes. Any size works.
const DefaultSize = 1024

// MaxSize is the largest block that is read, as it is held in memory.
const MaxSize = 1 << 20

const signature = "# GRUB Environment Block\n"

// What can be wrong with a block.
var (
	ErrSignature = errors.New("it is no GRUB environment block")
	ErrTooLarge  = errors.New("the variables do not fit")
	// ErrUnwritable: GRUB reads the block, but neither GRUB nor grub-editenv can change it.
	ErrUnwritable = errors.New("text that is no line stands between the variables and the filling")
)

// Block is an environment block in memory.
type Block struct {
	lines []string // each with its newline: variables, comments, and what else is there
	tail  string   // what stands between the last newline and the filling; empty in a sound block
	size  int
}

// New returns an empty block of size bytes.
func New(size int) *Block { return &Block{size: size} }

// Parse parses a block. Its size is that of data.
func Parse(data []byte) (*Block, error) {
	rest, ok := strings.CutPrefix(string(data), signature)
	if !ok {
		return nil, ErrSignature
	}
	b := New(len(data))
	for rest != "" {
		n := lineLength(rest)
		if n == 0 {
			break
		}
		b.lines = append(b.lines, rest[:n])
		rest = rest[n:]
	}
	b.tail = strings.TrimRight(rest, "#")
	if strings.Trim(b.tail, "\x00") == "" {
		b.tail = "" // filled with NUL by other tools: nothing is lost if '#' takes its place
	}
	return b, nil
}

// lineLength is the length of the first line of s with its newline, or 0 if it has no end. An
// escaped newline does not end a line.
func lineLength(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '\n':
			return i + 1
		}
	}
	return 0
}

// Vars are the variables as GRUB's load_env takes them: the last of a name wins. Defined and empty
// is not the same as undefined.
func (b *Block) Vars() map[string]string {
	vars := make(map[string]string)
	for rest := strings.Join(b.lines, ""); rest != ""; {
		if rest[0] == '#' {
			n := lineLength(rest)
			if n == 0 {
				break
			}
			rest = rest[n:]
			continue
		}
		// A line without "=" becomes part of the next name.
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		n := lineLength(after)
		if n == 0 {
			break
		}
		vars[name] = unescape(after[:n-1])
		rest = after[n:]
	}
	return vars
}

// Set defines a variable, in its place if it has one.
func (b *Block) Set(name, value string) {
	line := name + "=" + escape(value) + "\n"
	for i, l := range b.lines {
		if strings.HasPrefix(l, name+"=") {
			b.lines[i] = line
			// Of two lines with one name GRUB takes the last.
			b.lines = append(b.lines[:i+1], without(b.lines[i+1:], name)...)
			return
		}
	}
	b.lines = append(b.lines, line)
}

// Unset removes a variable.
func (b *Block) Unset(name string) { b.lines = without(b.lines, name) }

func without(lines []string, name string) []string {
	var kept []string
	for _, l := range lines {
		if !strings.HasPrefix(l, name+"=") {
			kept = append(kept, l)
		}
	}
	return kept
}

// Size is the length of the block.
func (b *Block) Size() int { return b.size }

// Bytes is the block as it is stored: always Size bytes.
func (b *Block) Bytes() ([]byte, error) {
	if b.tail != "" {
		return nil, ErrUnwritable
	}
	text := signature + strings.Join(b.lines, "")
	if len(text) > b.size {
		return nil, fmt.Errorf("%w: %d bytes are needed, the block has %d", ErrTooLarge, len(text), b.size)
	}
	return []byte(text + strings.Repeat("#", b.size-len(text))), nil
}

var escaper = strings.NewReplacer("\\", "\\\\", "\n", "\\\n")

func escape(value string) string { return escaper.Replace(value) }

func unescape(s string) string {
	var value strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		value.WriteByte(s[i])
	}
	return value.String()
}
