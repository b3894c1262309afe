package artifact

// decode decodes n bytes, or some more to complete a match, but not more than limit. What was decoded
// before an error counts for nothing.
//
// All that changes with each symbol is in variables, which stay in registers.
func (l *lzma) decode(n, limit int) (int, error) {
	c, state, at, total := l.coder, l.state, l.pos, l.total
	begin, stop, last := total, total+int64(n), total+int64(limit)
	pbMask, lpMask, lc, fewer := uint32(1)<<l.pb-1, uint32(1)<<l.lp-1, l.lc&31, (8-l.lc)&31
	previous, match, length := l.previous(), false, 0
	for total < stop {
		if c.pos > uint(l.packed) {
			return 0, errLZMA
		}
		pos := uint32(total) & pbMask
		if c, match = c.normal(&l.in).choose(&l.isMatch[state&15][pos&15]); match {
			c, length, state = l.match(c, state, pos)
			if int64(l.reps[0]) >= min(total, int64(l.size)) || total+int64(length) > last {
				return 0, errLZMA
			}
			at = l.repeat(at, int(l.reps[0])+1, length)
			total += int64(length)
			previous = l.at(at, 1)
			continue
		}
		probs := &l.literals[(uint32(total)&lpMask<<lc|uint32(previous)>>fewer)&15]
		var literal uint32
		if state < 7 {
			c, literal = c.tree(&l.in, probs[:0x100])
		} else {
			c, literal = c.matched(&l.in, probs, uint32(l.at(at, int(l.reps[0])+1)))
		}
		state = afterLiteral[state&15]
		previous = byte(literal)
		l.ring[at] = previous
		if at++; at == len(l.ring) {
			at = 0
		}
		total++
	}
	l.coder, l.state = c, state
	l.moved(at, int(total-begin))
	return int(total - begin), nil
}

// afterLiteral is the state after a literal, by the one before it. States tell what the last few symbols
// were; from 7 on the last one was a match.
var afterLiteral = [16]uint32{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5}

// match decodes the length of a match and brings its distance to the front of reps.
func (l *lzma) match(c coder, state, pos uint32) (coder, int, uint32) {
	var again, other bool
	if c, again = c.normal(&l.in).choose(&l.isRep[state&15]); !again {
		c, length := l.length(c, &l.matchLen, pos)
		c, distance := l.distance(c, length)
		l.reps = [4]uint32{distance, l.reps[0], l.reps[1], l.reps[2]}
		return c, int(length), after(state, 7)
	}
	if c, other = c.normal(&l.in).choose(&l.isRep0[state&15]); !other {
		var long bool
		if c, long = c.normal(&l.in).choose(&l.isRep0Long[state&15][pos&15]); !long {
			return c, 1, after(state, 9)
		}
	} else {
		c = l.front(c, state)
	}
	c, length := l.length(c, &l.repLen, pos)
	return c, int(length), after(state, 8)
}

// front brings one of the older distances to the front.
func (l *lzma) front(c coder, state uint32) coder {
	var third, fourth bool
	r := l.reps
	if c, third = c.normal(&l.in).choose(&l.isRep1[state&15]); !third {
		l.reps = [4]uint32{r[1], r[0], r[2], r[3]}
		return c
	}
	if c, fourth = c.normal(&l.in).choose(&l.isRep2[state&15]); !fourth {
		l.reps = [4]uint32{r[2], r[0], r[1], r[3]}
		return c
	}
	l.reps = [4]uint32{r[3], r[0], r[1], r[2]}
	return c
}

// after is the state after a match of some kind: 7, 8 or 9 after literals.
func after(state, kind uint32) uint32 {
	switch {
	case state < 7:
		return kind
	case kind == 7:
		return 10
	}
	return 11
}

func (l *lzma) length(c coder, p *lengths, pos uint32) (coder, uint32) {
	var m uint32
	var more bool
	if c, more = c.normal(&l.in).choose(&p.choice); !more {
		c, m = c.tree(&l.in, p.low[pos&15][:])
		return c, m - 8 + minMatch
	}
	if c, more = c.normal(&l.in).choose(&p.choice2); !more {
		c, m = c.tree(&l.in, p.mid[pos&15][:])
		return c, m - 8 + minMatch + 8
	}
	c, m = c.tree(&l.in, p.high[:])
	return c, m - 256 + minMatch + 16
}

// distance decodes a distance, less one.
func (l *lzma) distance(c coder, length uint32) (coder, uint32) {
	c, slot := c.tree(&l.in, l.slots[min(length-minMatch, 3)][:])
	slot -= 64
	if slot < 4 {
		return c, slot
	}
	n := slot/2 - 1
	base := (2 | slot&1) << (n & 31)
	if slot < 14 {
		c, v := c.reverse(&l.in, l.special[base-slot:], n)
		return c, base + v
	}
	c, high := c.direct(&l.in, n-4)
	c, low := c.reverse(&l.in, l.align[:], 4)
	return c, base + high<<4 + low
}
