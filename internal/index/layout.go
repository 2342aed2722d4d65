package index

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
)

// A segment is the object i/<lower-case hex SHA-256 of its bytes>: the clear header "CKI" 0x01, then a
// stream of package seal under the index key, with the associated data
//
//	"carekeep/v1 index" ‖ suite (1) ‖ repository id (16)
//
// All integers are big-endian. With E entries, P packs and B filter blocks, the plaintext is
//
//	offset           bytes  content
//	0                8      E, 1 to 2^24
//	8                4      P, 1 to min(E, 2^20)
//	12               4      B = ⌈10·E / 512⌉
//	16               56·E   entries, strictly ascending by their first 36 bytes: by id, then by pack
//	16+56·E          97·P   packs; an entry names one by its number from 0
//	16+56·E+97·P     64·B   filter blocks
//
// and ends there. An entry is
//
//	0                32     id
//	32               4      number of the pack in the table of packs
//	36               4      offset of the frame in the pack's plaintext
//	40               4      bytes of the frame in the pack
//	44               4      bytes of the decoded frame
//	48               1      codec
//	49               3      offset of the chunk in the decoded frame
//	52               4      bytes of the chunk
//
// A chunk that was stored more than once, as when two hosts of one writer meet it at the same time, has an
// entry for each pack that it is in. None may be left out: each snapshot depends on the packs that it lists,
// and another snapshot's copy may be given back.
//
// A pack is
//
//	0                1      'P' data, 'M' metadata
//	1                16     session
//	17               4      number in its session
//	21               4      bytes of the object
//	25               32     SHA-256 of the object
//	57               40     bytes 4 to 43 of the object: the prologue of its stream
//
// The filter is a blocked Bloom filter. Ids are values of a keyed pseudorandom function, so their own
// bits serve as hashes. An id belongs to block ⌊x·B / 2^64⌋ where x is its bytes 8 to 15 as an integer:
// not the first bytes, which in a segment that holds a slice of all ids are not uniform. There it sets
// one bit in each of the eight 64-bit words: in word j the bit of value 2^(b mod 64), b being byte 16+j
// of the id. An id whose eight bits are not all set is not in the segment; about 1% of absent ids find
// all of theirs set.
const (
	// HeadSize is the bytes of the three counts that begin the plaintext.
	HeadSize = 16
	// FilterBlockSize is the bytes of one block of the filter.
	FilterBlockSize = 64
	// FilterBits is how many bits of filter there are for every entry.
	FilterBits = 10
	// MaxEntries and MaxPacks are the most that a reader takes in one segment; writers stay far below.
	MaxEntries = 1 << 24
	MaxPacks   = 1 << 20
)

const (
	entrySize = format.IndexEntrySize
	packSize  = format.PackRefSize
	placeSize = 32 + 4 // id and number of the pack: what entries are ordered by
)

// filterBlocks is B for a segment of n entries.
func filterBlocks(n int64) int64 {
	const bits = FilterBlockSize * 8
	return (n*FilterBits + bits - 1) / bits
}

// layout is where the parts of a plaintext are.
type layout struct{ entries, packs, blocks int64 }

func (l layout) entry(i int64) int64 { return HeadSize + i*entrySize }
func (l layout) pack(i int64) int64  { return l.entry(l.entries) + i*packSize }
func (l layout) block(i int64) int64 { return l.pack(l.packs) + i*FilterBlockSize }
func (l layout) size() int64         { return l.block(l.blocks) }

func (l layout) put(head []byte) {
	binary.BigEndian.PutUint64(head, uint64(l.entries))
	binary.BigEndian.PutUint32(head[8:], uint32(l.packs))
	binary.BigEndian.PutUint32(head[12:], uint32(l.blocks))
}

// decodeHead reads the counts and holds them against what names the segment: they must account for every
// byte of the object, so nothing is ever allocated by a count that the object does not bear out.
func decodeHead(head []byte, suite seal.Suite, s format.Segment) (l layout, err error) {
	if len(head) < HeadSize {
		return l, malformed("its head is cut off")
	}
	entries := binary.BigEndian.Uint64(head)
	l.packs = int64(binary.BigEndian.Uint32(head[8:]))
	l.blocks = int64(binary.BigEndian.Uint32(head[12:]))
	if entries != s.Entries || entries == 0 || entries > MaxEntries {
		return l, malformed("its number of entries is not the one that it is known by")
	}
	l.entries = int64(entries)
	if l.packs == 0 || l.packs > min(l.entries, MaxPacks) || l.blocks != filterBlocks(l.entries) {
		return l, malformed("its counts do not agree")
	}
	if suite.StreamSize(l.size()) != int64(s.Size) {
		return l, malformed("its size does not follow from its counts")
	}
	return l, nil
}

func malformed(what string) error {
	return fmt.Errorf("%w: %s", format.ErrMalformed, what)
}

// additional is the associated data of every segment of a repository.
func additional(suite seal.Suite, repo format.RepoID) []byte {
	return append(append([]byte("carekeep/v1 index"), byte(suite)), repo[:]...)
}

// prefix is the first eight bytes of an id as an integer; it orders as ids do.
func prefix(id []byte) uint64 { return binary.BigEndian.Uint64(id) }

func filterBlock(id *format.ID, blocks int64) int64 {
	hi, _ := bits.Mul64(binary.BigEndian.Uint64(id[8:]), uint64(blocks))
	return int64(hi)
}

func filterSet(block []byte, id []byte) {
	_ = block[FilterBlockSize-1]
	for j := range 8 {
		v := id[16+j] & 63
		block[8*j+7-int(v>>3)] |= 1 << (v & 7)
	}
}

func filterHas(block []byte, id *format.ID) bool {
	_ = block[FilterBlockSize-1]
	for j := range 8 {
		if binary.BigEndian.Uint64(block[8*j:])>>(id[16+j]&63)&1 == 0 {
			return false
		}
	}
	return true
}
