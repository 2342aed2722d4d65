package index

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sort"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
)

// FlushEntries is how many entries a [Builder] takes unless told otherwise: a segment of about 7 MiB.
const FlushEntries = 128 << 10

// ErrFull is returned by [Builder.Add] when the builder holds all it may: build, then add again.
var ErrFull = errors.New("the index builder is full")

// Builder gathers where chunks are and makes a segment of it. It holds about 57 bytes an entry, and three
// times that while it builds. It is not safe for concurrent use.
type Builder struct {
	sealer
	writer  format.WriterID
	limit   int
	entries []byte // encoded
	packs   []format.PackRef
}

// sealer is what turns a plaintext into an object.
type sealer struct {
	suite seal.Suite
	key   []byte
	aad   []byte
}

// NewBuilder returns an empty builder for segments of one writer. Of c it uses Suite, Key and Repo. Limit
// is the most entries it takes, at most MaxEntries; 0 means [FlushEntries].
func NewBuilder(c Config, writer format.WriterID, limit int) *Builder {
	if limit <= 0 {
		limit = FlushEntries
	}
	return &Builder{sealer: newSealer(c), writer: writer, limit: min(limit, MaxEntries)}
}

func newSealer(c Config) sealer {
	return sealer{suite: c.Suite, key: slices.Clone(c.Key), aad: additional(c.Suite, c.Repo)}
}

// AddPack makes a pack known and returns its number for [format.Location.Pack]. Numbers are valid until
// the next Build. Packs of which no entry is kept are left out of the segment, and equal ones are one.
func (b *Builder) AddPack(p format.PackRef) uint32 {
	b.packs = append(b.packs, p)
	return uint32(len(b.packs) - 1)
}

// Add records where a chunk is. It returns [ErrFull] when the builder is full, and an error that wraps
// format.ErrMalformed for a location that no reader would take. Of several entries with one id in one pack
// the first is kept; the others still count towards the limit.
func (b *Builder) Add(id format.ID, l format.Location) error {
	if b.Len() >= b.limit {
		return ErrFull
	}
	if int64(l.Pack) >= int64(len(b.packs)) {
		return malformed("a location names a pack that was not added")
	}
	if l.Start >= 1<<24 {
		return malformed("a location is out of range")
	}
	e := format.AppendIndexEntry(b.entries, id, l)
	if err := checkEntry(e[len(b.entries):], &b.packs[l.Pack]); err != nil {
		return err
	}
	b.entries = e
	return nil
}

// AddFrames records where every chunk of a pack is, from the pack's frames in their order. It fails as
// [Builder.Add] does.
func (b *Builder) AddFrames(p format.PackRef, frames []format.Frame) error {
	n := b.AddPack(p)
	offset := uint32(0)
	for _, f := range frames {
		plain, start := uint32(0), uint32(0)
		for _, c := range f.Chunks {
			plain += c.Len
		}
		for _, c := range f.Chunks {
			l := format.Location{Pack: n, Offset: offset, Stored: f.Stored, Plain: plain, Codec: f.Codec, Start: start, Len: c.Len}
			if err := b.Add(c.ID, l); err != nil {
				return err
			}
			start += c.Len
		}
		offset += f.Stored
	}
	return nil
}

// checkEntry says whether a reader would take the entry.
func checkEntry(entry []byte, p *format.PackRef) error {
	_, l, err := format.DecodeIndexEntry(entry)
	if err != nil {
		return err
	}
	return checkPack(l, p)
}

func checkPack(l format.Location, p *format.PackRef) error {
	if uint64(l.Offset)+uint64(l.Stored) > uint64(p.Size) {
		return malformed("an index entry points beyond its pack")
	}
	return nil
}

// Len is the number of entries added since the last Build.
func (b *Builder) Len() int { return len(b.entries) / entrySize }

// Build returns the object and what names it, and empties the builder; it keeps its memory for the next
// segment. The caller stores the object under format.IndexKey(segment.Hash). Without entries there is
// nothing to build, and that is an error. The object is the caller's.
func (b *Builder) Build() ([]byte, format.Segment, error) {
	if b.Len() == 0 {
		return nil, format.Segment{}, errors.New("an index segment needs at least one entry")
	}
	var e encoder
	e.grow(int64(b.Len()), int64(len(b.packs)))
	numbers := make([]uint32, len(b.packs)) // new number of a pack, plus one
	for _, k := range b.sorted() {
		entry := b.entries[int(k.n)*entrySize:][:entrySize]
		p := binary.BigEndian.Uint32(entry[32:])
		if numbers[p] == 0 {
			numbers[p] = e.number(&b.packs[p]) + 1
		}
		e.add(entry, numbers[p]-1)
	}
	if e.packCount() > MaxPacks {
		return nil, format.Segment{}, malformed("a segment would name too many packs")
	}
	object, s, err := b.seal(nil, e.finish())
	if err != nil {
		return nil, format.Segment{}, err
	}
	s.Entries, s.Writer = uint64(e.n), b.writer
	b.entries, b.packs = b.entries[:0], b.packs[:0]
	return object, s, nil
}

type sortKey struct {
	prefix uint64
	n      uint32
}

// sorted orders entries by id, and those of one id as they were added. It sorts 16 bytes an entry instead
// of 56, and seldom looks past the prefix.
func (b *Builder) sorted() []sortKey {
	keys := make([]sortKey, b.Len())
	for i := range keys {
		keys[i] = sortKey{prefix(b.entries[i*entrySize:]), uint32(i)}
	}
	id := func(k sortKey) []byte { return b.entries[int(k.n)*entrySize:][:32] }
	slices.SortFunc(keys, func(x, y sortKey) int {
		if x.prefix != y.prefix {
			return cmp.Compare(x.prefix, y.prefix)
		}
		if c := slices.Compare(id(x), id(y)); c != 0 {
			return c
		}
		return cmp.Compare(x.n, y.n)
	})
	return keys
}

// seal appends the object of a plaintext to dst and names it by its digest.
func (s *sealer) seal(dst, plaintext []byte) ([]byte, format.Segment, error) {
	object, err := s.suite.SealStream(dst, format.Header(format.TypeIndex), s.key, s.aad, plaintext)
	if err != nil {
		return nil, format.Segment{}, err
	}
	object = object[len(dst):]
	return object, format.Segment{Hash: sha256.Sum256(object), Size: uint64(len(object))}, nil
}

// encoder lays out the plaintext of one segment from entries in the order of their ids. It can be used again
// after reset.
type encoder struct {
	buf    []byte // head and entries; after finish the whole plaintext
	packs  []byte
	n      int64
	byHash map[format.Hash]uint32 // number of a pack
	ref    []byte
	same   int  // where the entries of the last id begin
	mixed  bool // and that they are not in order
}

func (e *encoder) grow(entries, packs int64) {
	l := layout{entries: entries, packs: packs, blocks: filterBlocks(entries)}
	e.buf = slices.Grow(e.buf[:0], int(l.size()))
	e.reset()
}

func (e *encoder) reset() {
	e.buf = append(e.buf[:0], make([]byte, HeadSize)...)
	e.packs = e.packs[:0]
	e.n, e.mixed = 0, false
	if e.byHash == nil {
		e.byHash = map[format.Hash]uint32{}
	}
	clear(e.byHash)
}

func (e *encoder) packCount() int64 { return int64(len(e.packs) / packSize) }

// plainSize is what the plaintext would be if finished now.
func (e *encoder) plainSize() int64 {
	return layout{entries: e.n, packs: e.packCount(), blocks: filterBlocks(e.n)}.size()
}

// number returns the number of a pack, which becomes known if it is not yet. Two that share a digest and
// differ in something else are two.
func (e *encoder) number(p *format.PackRef) uint32 {
	e.ref = p.Append(e.ref[:0])
	n, known := e.byHash[p.Hash]
	if known && bytes.Equal(e.packs[int(n)*packSize:][:packSize], e.ref) {
		return n
	}
	e.packs = append(e.packs, e.ref...)
	n = uint32(e.packCount() - 1)
	e.byHash[p.Hash] = n
	return n
}

// add takes an encoded entry and gives it the number of its pack in this segment. Of those with one id and
// one pack the first is kept.
func (e *encoder) add(entry []byte, pack uint32) {
	if end := len(e.buf); end > HeadSize && [32]byte(e.buf[end-entrySize:]) == [32]byte(entry) {
		e.mixed = e.mixed || binary.BigEndian.Uint32(e.buf[end-entrySize+32:]) >= pack
	} else {
		e.settle()
		e.same = len(e.buf)
	}
	e.buf = append(e.buf, entry...)
	binary.BigEndian.PutUint32(e.buf[len(e.buf)-entrySize+32:], pack)
	e.n++
}

// settle puts the entries of the last id in the order of their packs.
func (e *encoder) settle() {
	if !e.mixed {
		return
	}
	e.mixed = false
	p := places(e.buf[e.same:])
	sort.Stable(p)
	kept := p[:0]
	for len(p) > 0 {
		if len(kept) == 0 || !bytes.Equal(kept[len(kept)-entrySize:][:placeSize], p[:placeSize]) {
			kept = append(kept, p[:entrySize]...)
		} else {
			e.n--
		}
		p = p[entrySize:]
	}
	e.buf = e.buf[:e.same+len(kept)]
}

// places are encoded entries to be sorted.
type places []byte

func (p places) at(i int) []byte { return p[i*entrySize:][:entrySize] }
func (p places) Len() int        { return len(p) / entrySize }
func (p places) Less(i, j int) bool {
	return bytes.Compare(p.at(i)[:placeSize], p.at(j)[:placeSize]) < 0
}

func (p places) Swap(i, j int) {
	a, b := (*[entrySize]byte)(p.at(i)), (*[entrySize]byte)(p.at(j))
	*a, *b = *b, *a
}

func (e *encoder) finish() []byte {
	e.settle()
	l := layout{entries: e.n, packs: e.packCount(), blocks: filterBlocks(e.n)}
	l.put(e.buf)
	e.buf = append(e.buf, e.packs...)
	filter := len(e.buf)
	e.buf = slices.Grow(e.buf, int(l.blocks)*FilterBlockSize)[:int(l.size())]
	clear(e.buf[filter:])
	for i := range l.entries {
		id := (*format.ID)(e.buf[l.entry(i):])
		filterSet(e.buf[l.block(filterBlock(id, l.blocks)):], id[:])
	}
	return e.buf
}
