package artifact

import (
	"encoding/binary"
	"io"
)

// lzma2 reads LZMA2: chunks of LZMA or of plain bytes, of at most 2 MiB, that share a window.
type lzma2 struct {
	lzma
	in    io.Reader
	chunk [64 << 10]byte // the packed bytes of the current chunk
	left  int            // unpacked bytes of the current chunk that are still to come
	plain bool           // the chunk is not packed
	first bool           // the next chunk has to begin anew
	naked bool           // the next packed chunk has to state its properties
	err   error
}

// restart begins with new data from in. What size the window has, the caller knows.
func (l *lzma2) restart(in io.Reader, size int) {
	l.in, l.left, l.first, l.naked, l.err = in, 0, true, true, nil
	l.resize(size)
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
		return l.copyFrom(l.in, n)
	}
	n, err := l.decode(n, l.left)
	l.left -= n
	if err == nil && l.left == 0 && !l.done() {
		err = errLZMA
	}
	return err
}

// nextChunk reads the header of a chunk, and the chunk if it is packed; io.EOF after the last.
func (l *lzma2) nextChunk() error {
	h := l.chunk[:6]
	if _, err := io.ReadFull(l.in, h[:1]); err != nil {
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
		_, err := io.ReadFull(l.in, h[1:3])
		l.left = (int(h[1])<<8 | int(h[2])) + 1
		return cut(err)
	}
	if _, err := io.ReadFull(l.in, h[1:5]); err != nil {
		return cut(err)
	}
	l.left = (int(control&0x1f)<<16 | int(h[1])<<8 | int(h[2])) + 1
	return l.packedChunk(control, (int(h[3])<<8|int(h[4]))+1)
}

func (l *lzma2) packedChunk(control byte, size int) error {
	if control >= 0xc0 {
		properties := l.chunk[:1]
		if _, err := io.ReadFull(l.in, properties); err != nil {
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
	if _, err := io.ReadFull(l.in, l.chunk[:size]); err != nil {
		return cut(err)
	}
	if !l.start(l.chunk[:size]) {
		return errLZMA
	}
	return nil
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

// resize makes room for distances up to size, which is 4 KiB at least, and forgets everything. No
// memory is touched before it is used: a large window costs nothing if what it is for is small.
func (w *window) resize(size int) {
	if cap(w.ring) < size+overshoot {
		w.ring = make([]byte, size+overshoot)
	}
	w.ring = w.ring[:size+overshoot]
	w.size, w.pos, w.unread = size, 0, 0
	w.forget()
}

// forget makes everything before unreachable for matches.
func (w *window) forget() { w.total = 0 }

func (w *window) room() int { return len(w.ring) - w.unread }

// back is the byte at a distance, which is given less one; zero if there is none
// to be reached: repeat refuses that distance.
func (w *window) back(distance uint32) byte {
	if int64(distance) >= min(w.total, int64(w.size)) {
		return 0
	}
	i := w.pos - 1 - int(distance)
	if i < 0 {
		i += len(w.ring)
	}
	return w.ring[i]
}

func (w *window) put(c byte) {
	w.ring[w.pos] = c
	w.advance(1)
}

func (w *window) advance(n int) {
	if w.pos += n; w.pos == len(w.ring) {
		w.pos = 0
	}
	w.total += int64(n)
	w.unread += n
}

// repeat puts length bytes from a distance, which is given less one; false if there are none.
func (w *window) repeat(distance uint32, length int) bool {
	if int64(distance) >= min(w.total, int64(w.size)) {
		return false
	}
	from := w.pos - 1 - int(distance)
	if from < 0 {
		from += len(w.ring)
	}
	// Most are a few bytes: eight at a time, and up to seven too many, which fall where nothing can be
	// reached or is unread.
	if end := length + 8; distance >= 7 && max(w.pos, from)+end <= len(w.ring) {
		dst, src := w.ring[w.pos:w.pos+end], w.ring[from:from+end]
		for i := 0; i < length; i += 8 {
			binary.LittleEndian.PutUint64(dst[i:], binary.LittleEndian.Uint64(src[i:]))
		}
		w.advance(length)
		return true
	}
	for length > 0 {
		// A piece ends where the ring does, or where it would read what it has yet to write.
		n := min(length, len(w.ring)-w.pos, len(w.ring)-from, int(distance)+1)
		copy(w.ring[w.pos:w.pos+n], w.ring[from:from+n])
		w.advance(n)
		if from += n; from == len(w.ring) {
			from = 0
		}
		length -= n
	}
	return true
}

// copyFrom puts n bytes from in.
func (w *window) copyFrom(in io.Reader, n int) error {
	for n > 0 {
		piece := w.ring[w.pos:min(len(w.ring), w.pos+n)]
		if _, err := io.ReadFull(in, piece); err != nil {
			return cut(err)
		}
		w.advance(len(piece))
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
