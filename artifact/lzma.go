package artifact

import "errors"

// lzma decodes LZMA: bytes ("literals") and repetitions of earlier bytes ("matches"), written with
// a range coder. It follows the description of the format that comes with the LZMA SDK.
type lzma struct {
	rangeDecoder
	window

	state uint32    // what the last few symbols were
	reps  [4]uint32 // the last distances, less one

	lc, lp, pb uint32 // bits of context for literals from the byte before, from the position; for the rest

	// Probabilities. Those with [16] depend on the position's lowest bits.
	isMatch, isRep0Long           [12][16]uint16
	isRep, isRep0, isRep1, isRep2 [12]uint16
	matchLen, repLen              lengths
	slots                         [4][64]uint16 // by length
	special                       [128]uint16   // the lower bits of near distances
	align                         [16]uint16    // the lowest bits of far ones
	literals                      [16 * 0x300]uint16
}

// lengths are the probabilities of the lengths of matches.
type lengths struct {
	choice, choice2 uint16
	low, mid        [16][8]uint16
	high            [256]uint16
}

const (
	minMatch = 2
	maxMatch = 273
)

var errLZMA = errors.New("xz: the packed data is damaged")

// setProperties takes the byte that states lc, lp and pb.
func (l *lzma) setProperties(b byte) error {
	if b >= 9*5*5 {
		return errLZMA
	}
	l.lc, l.lp, l.pb = uint32(b%9), uint32(b/9%5), uint32(b/45)
	if l.lc+l.lp > 4 { // LZMA2 allows no more: literals has room for no more
		return errLZMA
	}
	return nil
}

// reset forgets all that was learned.
func (l *lzma) reset() {
	l.state, l.reps = 0, [4]uint32{}
	for i := range l.isMatch {
		fill(l.isMatch[i][:])
		fill(l.isRep0Long[i][:])
	}
	for _, p := range [][]uint16{l.isRep[:], l.isRep0[:], l.isRep1[:], l.isRep2[:], l.special[:], l.align[:], l.literals[:]} {
		fill(p)
	}
	for i := range l.slots {
		fill(l.slots[i][:])
	}
	l.matchLen.reset()
	l.repLen.reset()
}

func (l *lengths) reset() {
	l.choice, l.choice2 = probInit, probInit
	for i := range l.low {
		fill(l.low[i][:])
		fill(l.mid[i][:])
	}
	fill(l.high[:])
}

func fill(p []uint16) {
	for i := range p {
		p[i] = probInit
	}
}

// decode decodes n bytes, or some more to complete a match, but not more than limit.
func (l *lzma) decode(n, limit int) (int, error) {
	done := 0
	for done < n {
		literals, match := l.literalRun(n - done)
		done += literals
		pos := uint32(l.total) & (1<<l.pb - 1)
		if !match {
			if done == n {
				break
			}
			if l.bit(&l.isMatch[l.state][pos]) == 0 {
				l.literal()
				done++
				continue
			}
		}
		length := l.match(pos)
		if done += length; done > limit || !l.repeat(l.reps[0], length) {
			return done, errLZMA
		}
	}
	return done, nil
}

func (l *lzma) literal() {
	i := (uint32(l.total)&(1<<l.lp-1))<<l.lc | uint32(l.back(0))>>(8-l.lc)
	probs := l.literals[0x300*i:][:0x300]
	if l.state < 7 {
		l.put(byte(l.tree(probs, 0x100)))
		l.state = max(l.state, 3) - 3
		return
	}
	l.put(l.matched(probs, uint32(l.back(l.reps[0]))))
	if l.state < 10 {
		l.state -= 3
	} else {
		l.state -= 6
	}
}

// match decodes the length of a match and brings its distance to the front of reps.
func (l *lzma) match(pos uint32) int {
	old := l.state
	if l.bit(&l.isRep[old]) == 0 {
		l.state = after(old, 7)
		length := l.length(&l.matchLen, pos)
		l.reps = [4]uint32{l.distance(length), l.reps[0], l.reps[1], l.reps[2]}
		return int(length)
	}
	if l.bit(&l.isRep0[old]) == 0 {
		if l.bit(&l.isRep0Long[old][pos]) == 0 {
			l.state = after(old, 9)
			return 1
		}
	} else {
		l.front(old)
	}
	l.state = after(old, 8)
	return int(l.length(&l.repLen, pos))
}

// front brings one of the older distances to the front.
func (l *lzma) front(state uint32) {
	r := l.reps
	switch {
	case l.bit(&l.isRep1[state]) == 0:
		l.reps = [4]uint32{r[1], r[0], r[2], r[3]}
	case l.bit(&l.isRep2[state]) == 0:
		l.reps = [4]uint32{r[2], r[0], r[1], r[3]}
	default:
		l.reps = [4]uint32{r[3], r[0], r[1], r[2]}
	}
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

func (l *lzma) length(p *lengths, pos uint32) uint32 {
	if l.bit(&p.choice) == 0 {
		return minMatch + l.tree(p.low[pos][:], 8) - 8
	}
	if l.bit(&p.choice2) == 0 {
		return minMatch + 8 + l.tree(p.mid[pos][:], 8) - 8
	}
	return minMatch + 16 + l.tree(p.high[:], 256) - 256
}

// distance decodes a distance, less one.
func (l *lzma) distance(length uint32) uint32 {
	slot := l.tree(l.slots[min(length-minMatch, 3)][:], 64) - 64
	if slot < 4 {
		return slot
	}
	n := slot/2 - 1
	base := (2 | slot&1) << n
	if slot < 14 {
		return base + l.reverse(l.special[base-slot:], n)
	}
	return base + l.direct(n-4)<<4 + l.reverse(l.align[:], 4)
}
