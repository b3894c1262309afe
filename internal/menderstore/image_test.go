package menderstore_test

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// image is an LMDB file built by hand, for what no tool writes: machines that are not at hand, and
// damage at a known place. Its pages: 0 the meta page of an empty commit 1, 1 that of commit 2, 2
// a branch page, 3 and 4 leaves, 5 and 6 the value of artifact-provides.
type image struct {
	order binary.ByteOrder
	word  int
	data  []byte
}

const imagePage = 512

// What Read says about an image.
const (
	imageName     = "release-1"
	imageGroup    = "canary"
	imageProvides = `{"extra":"two"}`
	imagePending  = `{"Version":2,"ArtifactName":"release-2"}`
)

func eachMachine(t *testing.T, test func(t *testing.T, newImage func() *image)) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, word := range []int{8, 4} {
			t.Run(fmt.Sprintf("%v%d", order, 8*word), func(t *testing.T) {
				test(t, func() *image { return newImage(order, word, imageProvides) })
			})
		}
	}
}

func newImage(order binary.ByteOrder, word int, provides string) *image {
	m := &image{order: order, word: word, data: make([]byte, 7*imagePage)}
	m.meta(0, 1, 0, 1<<(8*word)-1)
	m.meta(1, 2, 2, 2)
	m.nodes(2, 1, m.branch("", 3), m.branch("artifact-provides", 4))
	m.nodes(3, 2, m.leaf("artifact-group", imageGroup, 0), m.leaf("artifact-name", imageName, 0))
	big := make([]byte, word)
	m.setWord(big, 5)
	m.nodes(4, 2,
		m.leafOf("artifact-provides", big, uint32(len(provides)+imagePage), 1),
		m.leaf("standalone-state", imagePending, 0))
	m.header(5, 4)
	order.PutUint32(m.at(5, word+4), 2)
	// Blanks before the JSON, so that the value needs both pages.
	value := m.data[5*imagePage+m.pageHeader():]
	copy(value, fmt.Sprintf("%*s", len(provides)+imagePage, provides))
	return m
}

func (m *image) pageHeader() int { return m.word + 8 }

// at is the memory of a page from offset on.
func (m *image) at(page, offset int) []byte {
	return m.data[page*imagePage+offset : (page+1)*imagePage]
}

// metaAt is the memory of a meta page from an offset behind its page header on, where the offset
// is given as a number of bytes and one of words.
func (m *image) metaAt(page, bytes, words int) []byte {
	return m.at(page, m.pageHeader()+bytes+words*m.word)
}

// nodeAt is the memory of a page's node.
func (m *image) nodeAt(page, node int) []byte {
	return m.at(page, int(m.order.Uint16(m.at(page, m.pageHeader()+2*node))))
}

func (m *image) setWord(b []byte, v uint64) {
	if m.word == 8 {
		m.order.PutUint64(b, v)
	} else {
		m.order.PutUint32(b, uint32(v))
	}
}

func (m *image) put16(b []byte, v uint16) { m.order.PutUint16(b, v) }
func (m *image) put32(b []byte, v uint32) { m.order.PutUint32(b, v) }

func (m *image) header(page int, flags uint16) {
	m.setWord(m.at(page, 0), uint64(page))
	m.put16(m.at(page, m.word+2), flags)
}

func (m *image) meta(page int, txn uint64, depth uint16, root uint64) {
	m.header(page, 8)
	m.put32(m.metaAt(page, 0, 0), 0xBEEFC0DE)
	m.put32(m.metaAt(page, 4, 0), 1)
	m.put32(m.metaAt(page, 8, 2), imagePage)
	m.put16(m.metaAt(page, 12, 2), 8)                 // the free list's keys are numbers
	m.setWord(m.metaAt(page, 16, 6), 1<<(8*m.word)-1) // and there are none
	m.put16(m.metaAt(page, 22, 7), depth)
	m.setWord(m.metaAt(page, 24, 11), root)
	m.setWord(m.metaAt(page, 24, 12), 6)
	m.setWord(m.metaAt(page, 24, 13), txn)
}

func (m *image) leaf(key, value string, flags uint16) []byte {
	return m.leafOf(key, []byte(value), uint32(len(value)), flags)
}

func (m *image) leafOf(key string, value []byte, size uint32, flags uint16) []byte {
	b := make([]byte, 8, 64)
	m.put32(b, size)
	m.put16(b[4:], flags)
	m.put16(b[6:], uint16(len(key)))
	return append(append(b, key...), value...)
}

func (m *image) branch(key string, child uint32) []byte { return m.leafOf(key, nil, child, 0) }

// nodes fills a page; like LMDB, from its end.
func (m *image) nodes(page int, flags uint16, nodes ...[]byte) {
	m.header(page, flags)
	upper := imagePage
	for i, n := range nodes {
		upper -= (len(n) + 1) &^ 1
		copy(m.at(page, upper), n)
		m.put16(m.at(page, m.pageHeader()+2*i), uint16(upper))
	}
	m.put16(m.at(page, m.word+4), uint16(m.pageHeader()+2*len(nodes)))
	m.put16(m.at(page, m.word+6), uint16(upper))
}
