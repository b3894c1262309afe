package slot

import "bytes"

// comparing decides which blocks are read before they are written. Reading costs less than
// writing, but is not free: where the slot holds something else, it soon is one block in sixty.
type comparing struct {
	misses int // in a row
	gap    int // blocks to write unread after a miss
	left   int // of these
}

const (
	patience = 8  // misses in a row before blocks are left out
	maxGap   = 64 // blocks left out at most
)

func (c *comparing) worth() bool {
	if c.left > 0 {
		c.left--
		return false
	}
	return true
}

func (c *comparing) learn(same bool) {
	if same {
		*c = comparing{}
		return
	}
	if c.misses++; c.misses >= patience {
		c.gap = min(max(2*c.gap, patience), maxGap)
		c.left = c.gap
	}
}

const (
	// compareUnit is what file systems change at a time.
	compareUnit = 4 << 10
	// maxPieces of a block are written one by one; where there are more, one write takes less time.
	maxPieces = 32
)

// differences are where two blocks differ.
type differences struct {
	pieces [maxPieces]piece
	n      int
	same   int64 // bytes outside the pieces
}

type piece struct{ from, to int64 }

// find compares unit by unit. If there are too many pieces, or hardly anything is equal, it finds
// that nothing is.
func (d *differences) find(old, new []byte, unit int64) {
	size := int64(len(new))
	d.same = size
	for from := int64(0); from < size; from += unit {
		to := min(from+unit, size)
		if bytes.Equal(old[from:to], new[from:to]) {
			continue
		}
		d.same -= to - from
		switch {
		case d.n > 0 && d.pieces[d.n-1].to == from:
			d.pieces[d.n-1].to = to
			continue
		case d.n == maxPieces:
			d.same = 0
			return
		}
		d.pieces[d.n] = piece{from, to}
		d.n++
	}
	if d.same < size/8 {
		d.same = 0
	}
}

// isZero compares b with itself, one byte on: as fast as memory, and soon over for other data.
func isZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}
