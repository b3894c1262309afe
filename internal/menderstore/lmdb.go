package menderstore

import "fmt"

// LMDB's own limits.
const (
	maxDepth = 32
	maxKey   = 511
)

// The kinds of pages. Other bits of the flags are LMDB's notes for itself.
const (
	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageOverflow = 0x04
	pageMeta     = 0x08
	pageFixed    = 0x20 // a leaf of equal keys without values: only in kinds of databases that we refuse
	pageSub      = 0x40 // a page inside a value: likewise
	pageKinds    = pageBranch | pageLeaf | pageOverflow | pageMeta | pageFixed | pageSub
)

// The flags of a leaf's node.
const (
	nodeBig   = 0x01 // the value is on overflow pages
	nodeFlags = 0x07 // the others: the value is a database, or many values
)

const nodeHeader = 8 // size or child: 4, flags: 2, length of the key: 2

// database is the newest commit of an LMDB file, all of it in memory.
type database struct {
	meta
	data []byte
}

// open finds the newest commit in an LMDB file.
func open(data []byte) (*database, error) {
	m, err := newestMeta(data)
	if err != nil {
		return nil, err
	}
	db := &database{meta: m, data: data}
	switch {
	case m.flags != 0: // keys in another order, or many values for a key
		return nil, damaged("a database of another kind (flags %#x)", m.flags)
	case m.depth > maxDepth:
		return nil, damaged("a tree of %d levels", m.depth)
	case (m.depth == 0) != (m.root == m.none()):
		return nil, damaged("a tree of %d levels with root page %d", m.depth, m.root)
	}
	return db, nil
}

// get is the value of key, a part of data, or nil if there is none.
//
// The way down has as many steps as the tree has levels, whatever the pages say: a tree that runs
// in a circle ends at a page of the wrong kind.
func (db *database) get(key string) ([]byte, error) {
	if db.depth == 0 {
		return nil, nil
	}
	at := db.root
	for range db.depth - 1 {
		var err error
		if at, err = db.child(at, key); err != nil {
			return nil, err
		}
	}
	nodes, err := db.nodes(at, pageLeaf)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if string(n.key) == key {
			return db.value(n)
		}
	}
	return nil, nil
}

// child is the page below branch page at that would hold key.
func (db *database) child(at uint64, key string) (uint64, error) {
	nodes, err := db.nodes(at, pageBranch)
	if err != nil {
		return 0, err
	}
	if len(nodes) == 0 {
		return 0, damaged("branch page %d is empty", at)
	}
	next := nodes[0] // its key counts as smaller than all others
	for _, n := range nodes[1:] {
		if string(n.key) <= key {
			next = n
		}
	}
	return db.childPage(next), nil
}

// value is the value of a leaf's node.
func (db *database) value(n node) ([]byte, error) {
	size := int(n.size)
	switch {
	case n.flags&nodeFlags&^nodeBig != 0:
		return nil, damaged("the value of %q is of another kind (flags %#x)", n.key, n.flags)
	case n.size > maxValue:
		return nil, damaged("the value of %q has %d bytes", n.key, n.size)
	case n.flags&nodeBig == 0:
		if size > len(n.rest) {
			return nil, damaged("the value of %q leaves its page", n.key)
		}
		return n.rest[:size], nil
	case len(n.rest) < db.word:
		return nil, damaged("the value of %q leaves its page", n.key)
	}
	first := db.wordAt(n.rest, 0)
	page, err := db.page(first, pageOverflow)
	if err != nil {
		return nil, fmt.Errorf("%w, for the value of %q", err, n.key)
	}
	pages := uint64(db.order.Uint32(page[db.word+4:]))
	start := first*uint64(db.pageSize) + uint64(db.pageHeader())
	end := start + uint64(n.size)
	if end > (first+pages)*uint64(db.pageSize) || end > uint64(len(db.data)) {
		return nil, damaged("the value of %q leaves its pages", n.key)
	}
	return db.data[start:end], nil
}

// page is page number at, which must be of that kind.
func (db *database) page(at uint64, kind uint16) ([]byte, error) {
	if at < metaPages || at > db.lastPage || at >= uint64(len(db.data)/db.pageSize) {
		return nil, damaged("page %d is outside", at)
	}
	page := db.data[int(at)*db.pageSize:][:db.pageSize]
	if got := db.wordAt(page, 0); got != at {
		return nil, damaged("page %d says that it is page %d", at, got)
	}
	if got := db.pageFlags(page); got&pageKinds != kind {
		return nil, damaged("page %d is of kind %#x, not %#x", at, got&pageKinds, kind)
	}
	return page, nil
}

// node is an entry of a branch page or a leaf page.
type node struct {
	key   []byte
	rest  []byte // from the end of the key to the end of the page
	size  uint32 // of the value; in a branch page the lower half of the child's number
	flags uint16 // in a branch page the upper part of the child's number
}

// nodes are the entries of page number at, each inside the page, in the order of their keys.
func (db *database) nodes(at uint64, kind uint16) ([]node, error) {
	page, err := db.page(at, kind)
	if err != nil {
		return nil, err
	}
	header := db.pageHeader()
	lower := int(db.order.Uint16(page[db.word+4:])) // the end of the list of nodes
	upper := int(db.order.Uint16(page[db.word+6:])) // where the nodes begin
	if lower < header || lower%2 != 0 || upper < lower || upper > db.pageSize {
		return nil, damaged("page %d: its free space is %d to %d", at, lower, upper)
	}
	nodes := make([]node, (lower-header)/2)
	for i := range nodes {
		offset := int(db.order.Uint16(page[header+2*i:]))
		if offset < upper || offset > db.pageSize-nodeHeader {
			return nil, damaged("page %d: node %d is at %d", at, i, offset)
		}
		n, ok := db.node(page[offset:])
		if !ok {
			return nil, damaged("page %d: node %d has too long a key", at, i)
		}
		// The first key of a branch page has no meaning.
		if (i > 1 || i == 1 && kind == pageLeaf) && string(n.key) <= string(nodes[i-1].key) {
			return nil, damaged("page %d: the keys are not in order", at)
		}
		nodes[i] = n
	}
	return nodes, nil
}

// node is the node at the beginning of raw, which ends with the page and has room for the header.
func (l layout) node(raw []byte) (node, bool) {
	keySize := int(l.order.Uint16(raw[6:]))
	end := nodeHeader + keySize
	if keySize > maxKey || end > len(raw) {
		return node{}, false
	}
	return node{
		key:   raw[nodeHeader:end],
		rest:  raw[end:],
		size:  l.order.Uint32(raw),
		flags: l.order.Uint16(raw[4:]),
	}, true
}

// childPage is the page that a branch page's node points to.
func (l layout) childPage(n node) uint64 {
	if l.word == 4 {
		return uint64(n.size)
	}
	return uint64(n.flags)<<32 | uint64(n.size)
}
