package e2e_test

import (
	"bytes"
	"io"
	"sync"
)

// console keeps what a guest prints on its first serial port.
type console struct {
	mu      sync.Mutex
	text    []byte
	waiting []wait
}

type wait struct {
	mark []byte
	from int
	done chan struct{}
}

func newConsole() *console { return &console{} }

func (c *console) copy(r io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		c.add(buf[:n])
		if err != nil {
			return
		}
	}
}

func (c *console) add(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p...)
	left := c.waiting[:0]
	for _, w := range c.waiting {
		if bytes.Contains(c.text[w.from:], w.mark) {
			close(w.done)
		} else {
			left = append(left, w)
		}
	}
	c.waiting = left
}

func (c *console) note(line string) { c.add([]byte("\n" + line + "\n")) }

// appears is closed when mark has been printed, after from.
func (c *console) appears(mark string, from int) <-chan struct{} {
	c.mu.Lock()
	w := wait{mark: []byte(mark), from: from, done: make(chan struct{})}
	c.waiting = append(c.waiting, w)
	c.mu.Unlock()
	c.add(nil)
	return w.done
}

// mark is a place in the text; since returns what follows it.
func (c *console) mark() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.text)
}

func (c *console) since(mark int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text[mark:])
}

func (c *console) tail() string {
	const enough = 12 << 10
	text := c.since(0)
	return text[max(0, len(text)-enough):]
}
