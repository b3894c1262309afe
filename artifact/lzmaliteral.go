package artifact

// maxLiteral is how many packed bytes a literal takes at most: one for each of its bits, the one that
// says that it is a literal included.
const maxLiteral = 9

// literalRun decodes up to n literals, until a match begins: then match is true. It ends before the
// chunk does, and before the ring does, and decodes none right behind a match: there decode goes on,
// bit by bit.
//
// Most of what is packed is decoded here, which is why everything is in variables of its own, that
// stay in registers.
func (l *lzma) literalRun(n int) (done int, match bool) {
	if l.total == 0 {
		return 0, false
	}
	in, at, rng, code := l.in, l.rangeDecoder.pos, l.rng, l.code
	state, total, previous := l.state, uint32(l.total), uint32(l.back(0))
	out := l.ring[l.window.pos:]
	out = out[:min(n, len(out))]
	for done < len(out) && state < 7 && at+maxLiteral <= len(in) {
		if rng < rangeTop {
			rng, code = rng<<8, code<<8|uint32(in[at])
			at++
		}
		p := &l.isMatch[state][total&(1<<l.pb-1)&15]
		prob := uint32(*p)
		bound := rng >> probBits * prob
		if code >= bound {
			rng, code, match = rng-bound, code-bound, true
			*p = uint16(prob - prob>>probMove)
			break
		}
		rng = bound
		*p = uint16(prob + (1<<probBits-prob)>>probMove)

		context := (total&(1<<l.lp-1))<<l.lc | previous>>(8-l.lc)
		probs := (*[0x300]uint16)(l.literals[0x300*context:])
		m := uint32(1)
		for m < 0x100 {
			if rng < rangeTop {
				rng, code = rng<<8, code<<8|uint32(in[at])
				at++
			}
			m, rng, code = branchless(&probs[m], m, rng, code)
		}
		state = max(state, 3) - 3
		previous = m & 0xff
		out[done] = byte(m)
		done, total = done+1, total+1
	}
	l.rangeDecoder.pos, l.rng, l.code, l.state = at, rng, code, state
	l.advance(done)
	return done, match
}
