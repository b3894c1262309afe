package artifact

// coder decodes the bits of an LZMA chunk from memory. Each bit is decoded with a probability, in units
// of 1/2048 that it is zero, which learns from it.
//
// It is handed from function to function by value, so that it stays in registers: each bit depends on
// the one before it, and would have to wait for memory otherwise.
type coder struct {
	rng, code uint32
	pos       uint // of the next byte of the chunk
}

// chunk is what a coder reads from. Its size is what LZMA2 allows, and what an index of 16 bits
// reaches: behind the end of the bytes in it there are others, but always some, and whoever decodes
// looks after each symbol whether that happened.
type chunk [1 << 16]byte

const (
	probBits = 11
	probInit = 1 << probBits / 2 // one half
	probMove = 5                 // how slowly it learns
	rangeTop = 1 << 24
)

// newCoder begins with a chunk of n bytes; false if it cannot be one.
func newCoder(in *chunk, n int) (coder, bool) {
	code := uint32(in[1])<<24 | uint32(in[2])<<16 | uint32(in[3])<<8 | uint32(in[4])
	return coder{0xffffffff, code, 5}, n >= 5 && in[0] == 0
}

// normal makes c fit for the next bit.
func (c coder) normal(in *chunk) coder {
	if c.rng < rangeTop {
		c.rng, c.code = c.rng<<8, c.code<<8|uint32(in[uint16(c.pos)])
		c.pos++
	}
	return c
}

// choose decodes a bit on which it depends what comes next. It and bit want a normal coder.
func (c coder) choose(p *uint16) (coder, bool) {
	prob := uint32(*p)
	bound := c.rng >> probBits * prob
	if c.code < bound {
		c.rng = bound
		*p = uint16(prob + (1<<probBits-prob)>>probMove)
		return c, false
	}
	c.rng -= bound
	c.code -= bound
	*p = uint16(prob - prob>>probMove)
	return c, true
}

// bit decodes a bit of a number, and returns what its probability is from now on. Which way it goes no
// processor can foresee: this is written so that compilers do without a branch where the processor can.
func (c coder) bit(prob uint16) (_ coder, learnt uint16, bit uint32) {
	bound := c.rng >> probBits * uint32(prob)
	rng, code, learn := c.rng-bound, c.code-bound, int32(prob)
	bit = 1
	if c.code < bound {
		rng, code, learn, bit = bound, c.code, learn+(1<<probMove-1-1<<probBits), 0
	}
	c.rng, c.code = rng, code
	return c, prob - uint16(learn>>probMove), bit
}

// tree decodes a number bit by bit, the highest first: probs[1] is for the first bit, and each
// other one for the bits before it with a one in front. What it returns has that one in front too.
//
// Most of what is packed is decoded here. The probability of the next bit is fetched for both cases
// before it is known which of them it is: to wait for it would take as long as to decode it.
func (c coder) tree(in *chunk, probs []uint16) (coder, uint32) {
	var bit uint32
	m, prob := uint32(1), probs[1]
	for 2*m+1 < uint32(len(probs)) {
		zero, one := probs[2*m], probs[2*m+1]
		c = c.normal(in)
		c, probs[m], bit = c.bit(prob)
		m, prob = 2*m+bit, zero
		if bit != 0 {
			prob = one
		}
	}
	c = c.normal(in)
	c, probs[m], bit = c.bit(prob)
	return c, 2*m + bit
}

// matched is tree for a literal where there was none expected: with probabilities that depend on the
// byte which stands where the last match would have gone on.
func (c coder) matched(in *chunk, probs *[0x300]uint16, match uint32) (coder, uint32) {
	var bit uint32
	m, offset := uint32(1), uint32(0x100)
	for m < 0x100 {
		match <<= 1
		p := &probs[offset+match&offset+m]
		c = c.normal(in)
		c, *p, bit = c.bit(*p)
		m = 2*m + bit
		offset &= match ^ (bit - 1) // for a one what match has, for a zero what it has not
	}
	return c, m
}

// reverse decodes n bits, the lowest first.
func (c coder) reverse(in *chunk, probs []uint16, n uint32) (coder, uint32) {
	var bit uint32
	m, v := uint32(1), uint32(0)
	for i := range n {
		p := &probs[m]
		c = c.normal(in)
		c, *p, bit = c.bit(*p)
		m = 2*m + bit
		v |= bit << (i & 31)
	}
	return c, v
}

// direct decodes n bits that are as often zero as one.
func (c coder) direct(in *chunk, n uint32) (coder, uint32) {
	v := uint32(0)
	for range n {
		c = c.normal(in)
		c.rng >>= 1
		code, bit := c.code-c.rng, uint32(1)
		if c.code < c.rng {
			code, bit = c.code, 0
		}
		c.code = code
		v = 2*v + bit
	}
	return c, v
}
