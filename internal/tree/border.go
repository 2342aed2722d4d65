package tree

import (
	"encoding/binary"
	"math/bits"

	"github.com/carekeep/carekeep/internal/format"
)

// The sizes of nodes. Writers of one repository must agree on them to share nodes; a reader enforces the
// maxima, so that no hostile node makes it allocate more than a few MiB.
//
// An entry is mostly ids and times, which no compression makes smaller, so a changed file costs what its leaf
// and the inner nodes above it hold. Of 67,000 entries with changes scattered all over them, a day's nodes take
// 3.4 MiB when a leaf has 512 entries, 1.8 with 32, 1.3 with 16 and 1.1 with 8, while the nodes of the first
// backup and their places in the index grow from 3.4 to 3.6, 3.8 and 4.2 MiB. The references of a database, of
// which every day changes a few pages here and there, are cut fine for the same reason.
const (
	maxLeaf     = 256 << 10 // bytes of a leaf of entries, unless it holds only one
	leafBits    = 4         // a leaf of entries ends after 1 in 16 paths
	minChildren = 8         // with this many, MaxLevel levels hold 8^12 leaves, whatever the ids
	maxChildren = 2048
	maxInner    = 1 << 20 // bytes of an inner node: 15 of the longest paths fit
	innerBits   = 6       // an inner node ends after 1 in 64 children
	maxRefs     = 4096
	refBits     = 7 // a leaf of references ends after 1 in 128 chunks, once it is longer than an entry's list

	// What maxRefs references take at most: a chunk's is 4 bytes of length and 32 of id. A node of holes
	// alone could hold more of them, which the count refuses.
	maxRefLeaf = 1 + maxRefs*36
)

// pathHash is the keyed hash of a path that decides where leaves end:
//
//	h = seed XOR len(path)
//	for each 8 bytes of path, the last of them padded with zero bytes, as a little-endian number w:
//	    p = (h XOR w) * 0x9E3779B97F4A7C15, a product of 128 bits
//	    h = the upper half of p XOR the lower half of p
//	h = h XOR (h >> 32); h = h * 0xD6E8FEB86659FD93 (mod 2^64); h = h XOR (h >> 32)
//
// It need not withstand more than a file's name chosen without knowledge of the seed.
func pathHash(seed uint64, path string) uint64 {
	h := seed ^ uint64(len(path))
	b := []byte(path) // never written to, so it is no copy
	for ; len(b) >= 8; b = b[8:] {
		h = fold(h ^ binary.LittleEndian.Uint64(b))
	}
	if len(b) > 0 {
		var tail [8]byte
		copy(tail[:], b)
		h = fold(h ^ binary.LittleEndian.Uint64(tail[:]))
	}
	h ^= h >> 32
	h *= 0xD6E8FEB86659FD93
	return h ^ h>>32
}

func fold(v uint64) uint64 {
	hi, lo := bits.Mul64(v, 0x9E3779B97F4A7C15)
	return hi ^ lo
}

// pathBorder reports whether a leaf of entries ends after path.
func pathBorder(seed uint64, path string) bool { return pathHash(seed, path)>>(64-leafBits) == 0 }

// idBorder reports whether the last n bits of id are zero. Ids are a keyed PRF: their bits are as good as
// any hash of them.
func idBorder(id format.ID, n uint) bool {
	return binary.BigEndian.Uint64(id[len(id)-8:])&(1<<n-1) == 0
}
