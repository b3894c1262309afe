package artifact

import "errors"

// lzma decodes LZMA: bytes ("literals") and repetitions of earlier bytes ("matches"), written with
// a range coder. It follows the description of the format that comes with the LZMA SDK.
type lzma struct {
	window
	coder  coder
	in     chunk
	packed int // bytes in it

	state uint32    // what the last few symbols were
	reps  [4]uint32 // the last distances, less one

	lc, lp, pb uint32 // bits of context for literals from the byte before, from the position; for the rest

	// Probabilities. Those with [16] depend on the position's lowest bits.
	isMatch, isRep0Long           [16][16]uint16
	isRep, isRep0, isRep1, isRep2 [16]uint16
	matchLen, repLen              lengths
	slots                         [4][64]uint16 // by length
	special                       [128]uint16   // the lower bits of near distances
	align                         [16]uint16    // the lowest bits of far ones
	literals                      [16][0x300]uint16
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
	for _, p := range [][]uint16{l.isRep[:], l.isRep0[:], l.isRep1[:], l.isRep2[:], l.special[:], l.align[:]} {
		fill(p)
	}
	for i := range l.literals {
		fill(l.literals[i][:])
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
