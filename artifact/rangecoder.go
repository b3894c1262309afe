package artifact

// rangeDecoder decodes the bits of an LZMA chunk from memory. Each bit is decoded with a
// probability, in units of 1/2048 that it is zero, which learns from it.
//
// Reading over the end of the chunk is not an error at once: zeros are read, and done tells. That
// keeps errors out of the inner loops.
type rangeDecoder struct {
	in   []byte
	pos  int
	rng  uint32
	code uint32
}

const (
	probBits = 11
	probInit = 1 << probBits / 2 // one half
	probMove = 5                 // how slowly it learns
	rangeTop = 1 << 24
)

// start begins with a chunk; false if it cannot be one.
func (d *rangeDecoder) start(in []byte) bool {
	if len(in) < 5 || in[0] != 0 {
		return false
	}
	d.in, d.pos, d.rng = in, 5, 0xffffffff
	d.code = uint32(in[1])<<24 | uint32(in[2])<<16 | uint32(in[3])<<8 | uint32(in[4])
	return true
}

// done says whether the chunk was used up exactly.
func (d *rangeDecoder) done() bool {
	d.normalize()
	return d.pos == len(d.in) && d.code == 0
}

func (d *rangeDecoder) normalize() {
	if d.rng < rangeTop {
		d.rng <<= 8
		d.code = d.code<<8 | d.next()
	}
}

func (d *rangeDecoder) next() uint32 {
	c := uint32(0)
	if d.pos < len(d.in) {
		c = uint32(d.in[d.pos])
	}
	d.pos++
	return c
}

// bit decodes one bit.
func (d *rangeDecoder) bit(p *uint16) uint32 {
	d.normalize()
	prob := uint32(*p)
	bound := d.rng >> probBits * prob
	if d.code < bound {
		d.rng = bound
		*p = uint16(prob + (1<<probBits-prob)>>probMove)
		return 0
	}
	d.rng -= bound
	d.code -= bound
	*p = uint16(prob - prob>>probMove)
	return 1
}

// branchless decodes one bit, after normalize, and puts it behind m. Which way a bit goes no processor
// can foresee; this costs the same both ways.
func branchless(p *uint16, m, rng, code uint32) (uint32, uint32, uint32) {
	prob := uint32(*p)
	bound := rng >> probBits * prob
	rest := uint64(code) - uint64(bound)
	zero := uint32(rest >> 32) // all ones if the bit is zero
	*p = uint16(int32(prob) - (int32(prob)+int32(zero)&(1<<probMove-1-1<<probBits))>>probMove)
	return m<<1 + 1 + zero, bound&zero + (rng-bound)&^zero, uint32(rest) + bound&zero
}

// tree decodes a number bit by bit, the highest first: probs[1] is for the first bit, and each
// other one for the bits before it with a one in front. What it returns has that one in front too.
// Most bits are decoded here; on copies of the fields, which stay in registers.
func (d *rangeDecoder) tree(probs []uint16, end uint32) uint32 {
	rng, code := d.rng, d.code
	m := uint32(1)
	for m < end {
		if rng < rangeTop {
			rng <<= 8
			code = code<<8 | d.next()
		}
		m, rng, code = branchless(&probs[m], m, rng, code)
	}
	d.rng, d.code = rng, code
	return m
}

// matched decodes a literal where there was none expected: with probabilities that depend on the
// byte which stands where the last match would have gone on.
func (d *rangeDecoder) matched(probs []uint16, match uint32) byte {
	rng, code := d.rng, d.code
	m, offset := uint32(1), uint32(0x100)
	for m < 0x100 {
		if rng < rangeTop {
			rng <<= 8
			code = code<<8 | d.next()
		}
		match <<= 1
		side := match & offset
		m, rng, code = branchless(&probs[offset+side+m], m, rng, code)
		offset &= match ^ (m&1 - 1) // for a one what match has, for a zero what it has not
	}
	d.rng, d.code = rng, code
	return byte(m)
}

// reverse decodes n bits, the lowest first.
func (d *rangeDecoder) reverse(probs []uint16, n uint32) uint32 {
	m, v := uint32(1), uint32(0)
	for i := range n {
		b := d.bit(&probs[m])
		m = m<<1 | b
		v |= b << i
	}
	return v
}

// direct decodes n bits that are as often zero as one: without a branch, which a processor could not
// foresee.
func (d *rangeDecoder) direct(n uint32) uint32 {
	rng, code, v := d.rng, d.code, uint32(0)
	for range n {
		if rng < rangeTop {
			rng <<= 8
			code = code<<8 | d.next()
		}
		rng >>= 1
		rest := uint64(code) - uint64(rng)
		zero := uint32(rest >> 32) // all ones if the bit is zero
		code = uint32(rest) + rng&zero
		v = v<<1 + 1 + zero
	}
	d.rng, d.code = rng, code
	return v
}
