package artifact

import (
	"encoding/binary"
	"io"
)

// lzma2 reads LZMA2: chunks of LZMA or of plain bytes, of at most 2 MiB, that share a window.
type lzma2 struct {
	lzma
	src   io.Reader
	left  int  // unpacked bytes of the current chunk that are still to come
	plain bool // the chunk is not packed
	first bool // the next chunk has to begin anew
	naked bool // the next packed chunk has to state its properties
	err   error
}

// restart begins with new data from in. What size the window has, the caller knows.
func (l *lzma2) restart(in io.Reader, size int) {
	ring := l.ring[:cap(l.ring)]
	if len(ring) < size+overshoot {
		ring = make([]byte, size+overshoot) // its memory is not touched before it is used
	}
	l.begin(in, size, ring[:size+overshoot])
}

// begin is restart with a ring of the caller's, which has to have room for size bytes, or for all that
// is going to be unpacked, and overshoot.
func (l *lzma2) begin(in io.Reader, size int, ring []byte) {
	l.src, l.left, l.first, l.naked, l.err = in, 0, true, true, nil
	l.window = window{ring: ring, size: size}
}

func (l *lzma2) Read(b []byte) (int, error) {
	for l.unread == 0 && l.err == nil && len(b) > 0 {
		l.err = l.more(len(b))
	}
	if n := l.take(b); n > 0 || l.err == nil {
		return n, nil
	}
	return 0, l.err
}

// more unpacks about n bytes, or goes to the next chunk.
func (l *lzma2) more(n int) error {
	if l.left == 0 {
		return l.nextChunk()
	}
	n = min(n, l.left, l.room()-overshoot)
	if l.plain {
		l.left -= n
		return l.copyFrom(l.src, n)
	}
	n, err := l.decode(n, l.left)
	l.left -= n
	if err == nil && l.left == 0 && !l.ended() {
		err = errLZMA
	}
	return err
}

// nextChunk reads the header of a chunk, and the chunk if it is packed; io.EOF after the last.
func (l *lzma2) nextChunk() error {
	h := l.in[:6]
	if _, err := io.ReadFull(l.src, h[:1]); err != nil {
		return cut(err)
	}
	control := h[0]
	if control == 0 {
		return io.EOF
	}
	if control == 1 || control >= 0xe0 {
		l.forget()
		l.first, l.naked = false, true
	}
	if l.first || control > 2 && control < 0x80 || control >= 0x80 && control < 0xc0 && l.naked {
		return errLZMA
	}
	if l.plain = control < 0x80; l.plain {
		_, err := io.ReadFull(l.src, h[1:3])
		l.left = (int(h[1])<<8 | int(h[2])) + 1
		return cut(err)
	}
	if _, err := io.ReadFull(l.src, h[1:5]); err != nil {
		return cut(err)
	}
	l.left = (int(control&0x1f)<<16 | int(h[1])<<8 | int(h[2])) + 1
	return l.packedChunk(control, (int(h[3])<<8|int(h[4]))+1)
}

func (l *lzma2) packedChunk(control byte, size int) error {
	if control >= 0xc0 {
		properties := l.in[:1]
		if _, err := io.ReadFull(l.src, properties); err != nil {
			return cut(err)
		}
		if err := l.setProperties(properties[0]); err != nil {
			return err
		}
		l.naked = false
	}
	if control >= 0xa0 {
		l.reset()
	}
	if _, err := io.ReadFull(l.src, l.in[:size]); err != nil {
		return cut(err)
	}
	var ok bool
	if l.coder, ok = newCoder(&l.in, size); !ok {
		return errLZMA
	}
	l.packed = size
	return nil
}

// ended says whether the chunk was used up exactly.
func (l *lzma2) ended() bool {
	l.coder = l.coder.normal(&l.in)
	return l.coder.pos == uint(l.packed) && l.coder.code == 0
}

// window is what was unpacked last, as far back as matches may reach: the dictionary. It is a ring.
type window struct {
	ring   []byte
	size   int   // how far back that is
	pos    int   // where the next byte goes
	total  int64 // bytes since the last forget
	unread int   // bytes before pos that nobody has taken yet
}

// overshoot is how much more may be written than was asked for: all of the last match but its first
// byte, and what repeat writes behind it.
const overshoot = maxMatch - 1 + 7

// forget makes everything before unreachable for matches.
func (w *window) forget() { w.total = 0 }

func (w *window) room() int { return len(w.ring) - w.unread }

// previous is the last byte; zero if there is none.
func (w *window) previous() byte {
	if w.total == 0 {
		return 0
	}
	return w.at(w.pos, 1)
}

// at is the byte at a distance before the one at pos; zero if that is out of reach, which is refused
// before it counts.
func (w *window) at(pos, distance int) byte {
	i := pos - distance
	if i < 0 {
		i += len(w.ring)
	}
	if uint(i) >= uint(len(w.ring)) {
		return 0
	}
	return w.ring[i]
}

// repeat puts length bytes from a distance, at pos, and returns where they end. That they can be
// reached is for the caller to know, and so is it to call moved.
func (w *window) repeat(pos, distance, length int) int {
	from := pos - distance
	if from < 0 {
		from += len(w.ring)
	}
	// Most are a few bytes: eight at a time, and up to seven too many, which fall where nothing can be
	// reached or is unread.
	if end := length + 8; distance >= 8 && max(pos, from)+end <= len(w.ring) {
		dst, src := w.ring[pos:pos+end], w.ring[from:from+end]
		for i := 0; i < length; i += 8 {
			binary.LittleEndian.PutUint64(dst[i:], binary.LittleEndian.Uint64(src[i:]))
		}
		return pos + length
	}
	for length > 0 {
		// A piece ends where the ring does, or where it would read what it has yet to write.
		n := min(length, len(w.ring)-pos, len(w.ring)-from, distance)
		copy(w.ring[pos:pos+n], w.ring[from:from+n])
		if pos += n; pos == len(w.ring) {
			pos = 0
		}
		if from += n; from == len(w.ring) {
			from = 0
		}
		length -= n
	}
	return pos
}

// moved says that there are n bytes more, up to pos.
func (w *window) moved(pos, n int) {
	w.pos = pos
	w.total += int64(n)
	w.unread += n
}

// copyFrom puts n bytes from in.
func (w *window) copyFrom(in io.Reader, n int) error {
	for n > 0 {
		piece := w.ring[w.pos:min(len(w.ring), w.pos+n)]
		if _, err := io.ReadFull(in, piece); err != nil {
			return cut(err)
		}
		w.moved((w.pos+len(piece))%len(w.ring), len(piece))
		n -= len(piece)
	}
	return nil
}

// take copies what is unread to b, and returns how much.
func (w *window) take(b []byte) int {
	taken := 0
	for w.unread > 0 && taken < len(b) {
		from := w.pos - w.unread
		if from < 0 {
			from += len(w.ring)
		}
		n := copy(b[taken:], w.ring[from:min(len(w.ring), from+w.unread)])
		w.unread -= n
		taken += n
	}
	return taken
}
