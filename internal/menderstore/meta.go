package menderstore

import "encoding/binary"

const (
	magic       = 0xBEEFC0DE
	version     = 1 // of every LMDB 0.9
	metaPages   = 2 // the first two pages; commits write to them in turn
	minPageSize = 512
	maxPageSize = 32 << 10 // LMDB uses no larger ones, even where the kernel's pages are
)

// layout is how the machine that wrote a file lays out numbers: an LMDB file is its memory.
type layout struct {
	order binary.ByteOrder
	word  int // bytes of a size_t: page numbers and counters
}

var layouts = [...]layout{
	{binary.LittleEndian, 8}, {binary.LittleEndian, 4},
	{binary.BigEndian, 8}, {binary.BigEndian, 4},
}

func (l layout) wordAt(b []byte, offset int) uint64 {
	if l.word == 8 {
		return l.order.Uint64(b[offset:])
	}
	return uint64(l.order.Uint32(b[offset:]))
}

// none is the page number that means no page.
func (l layout) none() uint64 { return 1<<(8*l.word) - 1 }

// pageHeader is the size of a page's header: its number, 2 bytes of padding, 2 of flags, and 2 and
// 2 for the free space (or 4 for the number of overflow pages).
func (l layout) pageHeader() int { return l.word + 8 }

func (l layout) pageFlags(page []byte) uint16 { return l.order.Uint16(page[l.word+2:]) }

// meta is what a meta page says of one commit.
type meta struct {
	layout
	pageSize int
	flags    uint16 // of the main database, like those below
	depth    uint16
	root     uint64
	lastPage uint64
	txn      uint64 // the commit's number
}

// newestMeta finds the newest commit. One torn meta page is no damage: a power cut leaves it, and
// the other page is the commit before. A missing one is: LMDB begins a file with both.
func newestMeta(data []byte) (meta, error) {
	first, err := parseMeta(data, 0)
	if err == nil {
		if len(data) < metaPages*first.pageSize {
			return meta{}, damaged("only %d bytes", len(data))
		}
		if second, err := parseMeta(data, first.pageSize); err == nil && second.txn > first.txn {
			return second, nil
		}
		return first, nil
	}
	// Without the first page, the place of the second is unknown.
	for size := minPageSize; size <= maxPageSize; size *= 2 {
		if second, err := parseMeta(data, size); err == nil {
			return second, nil
		}
	}
	return meta{}, err
}

// parseMeta reads the meta page at offset: page 0, or page 1 if the offset is not 0.
func parseMeta(data []byte, offset int) (meta, error) {
	if len(data) < offset+minPageSize {
		return meta{}, damaged("only %d bytes", len(data))
	}
	page := data[offset:][:minPageSize]
	for _, l := range layouts {
		if l.order.Uint32(page[l.pageHeader():]) == magic && l.pageFlags(page)&pageKinds == pageMeta {
			return l.parseMeta(page, offset)
		}
	}
	return meta{}, damaged("no LMDB meta page at %d", offset)
}

// parseMeta reads, after the page's header: magic and version of 4 bytes each, the address and the
// size of the map, the free list's and the main database, the last page, the commit's number.
func (l layout) parseMeta(page []byte, offset int) (meta, error) {
	b := page[l.pageHeader():]
	if v := l.order.Uint32(b[4:]); v != version {
		return meta{}, damaged("LMDB's data version %d; only %d is known", v, version)
	}
	// A database is 4 bytes (in the free list's: the page size), flags and depth of 2 bytes each,
	// the numbers of branch, leaf and overflow pages and of entries, and the root page.
	freeList := 8 + 2*l.word
	main := freeList + 8 + 5*l.word
	end := main + 8 + 5*l.word
	size := l.order.Uint32(b[freeList:])
	if size < minPageSize || size > maxPageSize || size&(size-1) != 0 {
		return meta{}, damaged("a page size of %d", size)
	}
	if number := l.wordAt(page, 0); number >= metaPages || int(number)*int(size) != offset {
		return meta{}, damaged("the meta page at %d is number %d of %d bytes", offset, number, size)
	}
	return meta{
		layout:   l,
		pageSize: int(size),
		flags:    l.order.Uint16(b[main+4:]),
		depth:    l.order.Uint16(b[main+6:]),
		root:     l.wordAt(b, main+8+4*l.word),
		lastPage: l.wordAt(b, end),
		txn:      l.wordAt(b, end+l.word),
	}, nil
}
