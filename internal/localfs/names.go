package localfs

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"unsafe"
)

// list is the names of a folder: the bytes in blocks of one batch each, and one number per name. A million
// names of 20 bytes take 30 MB; a slice of strings would take twice that and a million objects to mark.
type list struct {
	blocks [][]byte
	refs   []uint64 // block<<40 | offset<<20 | length
}

const refBits = 20 // of offset and length; a batch of names is smaller than 1 MiB

// grow starts a block of exactly size bytes, for n names.
func (l *list) grow(size, n int) {
	l.blocks = append(l.blocks, make([]byte, 0, size))
	l.refs = slices.Grow(l.refs, n)
}

// add puts a name into the current block.
func (l *list) add(name []byte) {
	last := len(l.blocks) - 1
	b := l.blocks[last]
	l.refs = append(l.refs, uint64(last)<<(2*refBits)|uint64(len(b))<<refBits|uint64(len(name)))
	l.blocks[last] = append(b, name...)
}

// addStrings adds a batch of names.
func (l *list) addStrings(names []string) {
	size := 0
	for _, n := range names {
		size += len(n)
	}
	l.grow(size, len(names))
	for _, n := range names {
		l.add(unsafe.Slice(unsafe.StringData(n), len(n)))
	}
}

func (l *list) bytes(ref uint64) []byte {
	const mask = 1<<refBits - 1
	off, n := ref>>refBits&mask, ref&mask
	return l.blocks[ref>>(2*refBits)][off : off+n]
}

func (l *list) Len() int { return len(l.refs) }

// At returns a name that shares its bytes with the list, which never change once it is sorted.
func (l *list) At(i int) string {
	b := l.bytes(l.refs[i])
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// has tells whether the list holds exactly this name.
func (l *list) has(name string) bool {
	_, ok := slices.BinarySearchFunc(l.refs, name, func(ref uint64, name string) int {
		b := l.bytes(ref)
		return cmp.Compare(unsafe.String(unsafe.SliceData(b), len(b)), name)
	})
	return ok
}

// sort sorts bytewise. Names in a large folder mostly begin alike, so the eight bytes after what all have
// in common decide nearly every comparison, without a look at the names.
func (l *list) sort() {
	byName := func(a, b uint64) int { return bytes.Compare(l.bytes(a), l.bytes(b)) }
	if len(l.refs) < 64 {
		slices.SortFunc(l.refs, byName)
		return
	}
	if slices.IsSortedFunc(l.refs, byName) {
		return
	}
	common := l.bytes(l.refs[0])
	for _, ref := range l.refs {
		b := l.bytes(ref)
		n := 0
		for n < len(common) && n < len(b) && b[n] == common[n] {
			n++
		}
		common = common[:n]
	}
	type keyed struct{ key, ref uint64 }
	keys := make([]keyed, len(l.refs))
	for i, ref := range l.refs {
		var k [8]byte
		copy(k[:], l.bytes(ref)[len(common):])
		keys[i] = keyed{binary.BigEndian.Uint64(k[:]), ref}
	}
	slices.SortFunc(keys, func(a, b keyed) int {
		if a.key != b.key {
			return cmp.Compare(a.key, b.key)
		}
		return byName(a.ref, b.ref) // a short name is padded with zeros, so equal keys are not equal names
	})
	for i, k := range keys {
		l.refs[i] = k.ref
	}
}
