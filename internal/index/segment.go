package index

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
)

const (
	wholeSize   = 256 << 10 // an object up to this is read whole
	piecePages  = 8         // pages that a longer read takes at once
	rangedReads = 16        // ranges read from the bucket before a segment is brought to the cache folder
)

// errSwapped says that an object is not the one it is named as.
var errSwapped = fmt.Errorf("%w: its bytes are not those it is named by", format.ErrMalformed)

// segment is one segment of an index, opened or not.
type segment struct {
	format.Segment
	gate   chan struct{} // held while it is opened or brought to the cache folder
	state  atomic.Pointer[state]
	failed atomic.Pointer[SegmentError] // will not pass by itself

	ranged   atomic.Uint32           // ranges read from the bucket
	uncached atomic.Bool             // no more attempts to use the cache folder
	discards atomic.Uint32           // copies that turned out damaged
	file     atomic.Pointer[os.File] // copy in the cache folder; set under Index.mu

	resident int64 // bytes counted in Index.resident; under Index.mu
	dropped  bool  // no longer in the index; under Index.mu
}

// state is what is known of an open segment. It does not change, but for what fences learn.
type state struct {
	layout
	seg         *segment
	number      uint32 // for keys of pages; another each time that a segment is opened
	stream      *seal.Stream
	first, last uint64 // prefixes of the first and the last id
	filter      []byte // nil if it did not fit in memory
	// fences[p] is the prefix of the first entry that lies wholly in page p, once the page was seen;
	// else 0. With them a later lookup finds its page without another.
	fences []atomic.Uint64
	whole  []byte // the object, while it is being opened
}

func newSegment(d format.Segment) *segment {
	return &segment{Segment: d, gate: make(chan struct{}, 1)}
}

// drop frees what a segment holds; the caller holds x.mu and settles afterwards.
func (x *Index) drop(s *segment) {
	s.dropped = true
	x.resident -= s.resident
	s.resident = 0
	if f := s.file.Swap(nil); f != nil {
		_ = f.Close()
	}
}

func (x *Index) release(s *segment) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.drop(s)
	x.settle()
}

// settle gives pages what filters leave of the memory.
func (x *Index) settle() { x.pages.resize(x.c.Memory - x.resident) }

// admit counts n bytes of a segment's filter if they fit: filters get up to three quarters of the memory.
func (x *Index) admit(s *segment, n int64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s.dropped || x.resident+n > x.c.Memory/4*3 {
		return false
	}
	x.resident += n
	s.resident += n
	x.settle()
	return true
}

func (s *segment) enter(ctx context.Context) error {
	select {
	case s.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *segment) leave() { <-s.gate }

// open returns the state of a segment, which it reads if nobody has. Its errors are of [Index.fail].
func (x *Index) open(ctx context.Context, s *segment) (*state, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	if st := s.state.Load(); st != nil {
		return st, nil
	}
	if err := s.failed.Load(); err != nil {
		return nil, err
	}
	st, err := x.openSealed(ctx, s)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, x.fail(s, err)
	}
	s.state.Store(st)
	return st, nil
}

func (x *Index) openSealed(ctx context.Context, s *segment) (*state, error) {
	if _, err := x.c.Suite.PlainSize(int64(s.Size)); err != nil {
		return nil, err
	}
	x.useCached(s)
	if s.file.Load() != nil {
		st, err := x.openFrom(ctx, s, nil)
		if err == nil || s.file.Load() != nil || ctx.Err() != nil {
			return st, err
		}
		// The copy was bad and is gone, perhaps after its prologue had been believed: once more.
	}
	var whole []byte
	if s.Size <= wholeSize {
		var err error
		if whole, err = x.c.Store.Get(ctx, format.IndexKey(s.Hash), int64(s.Size)); err != nil {
			return nil, err
		}
		if err := checkWhole(s.Segment, whole); err != nil {
			return nil, err
		}
		x.saveCached(s, whole)
	}
	return x.openFrom(ctx, s, whole)
}

func checkWhole(d format.Segment, object []byte) error {
	if uint64(len(object)) != d.Size || sha256.Sum256(object) != d.Hash {
		return errSwapped
	}
	return nil
}

// prime opens a segment from its object.
func (x *Index) prime(s *segment, object []byte) error {
	if err := checkWhole(s.Segment, object); err != nil {
		return err
	}
	st, err := x.openFrom(context.Background(), s, object)
	if err != nil {
		return err
	}
	s.state.Store(st)
	x.saveCached(s, object)
	return nil
}

// openFrom reads the head, both ends of the entries, and the filter if there is room for it.
func (x *Index) openFrom(ctx context.Context, s *segment, whole []byte) (st *state, err error) {
	st = &state{seg: s, whole: whole, number: x.next.Add(1)}
	n := min(int64(s.Size), pageBytes)
	page, fromCopy, err := x.fetch(ctx, st, forLookup, 0, n, make([]byte, 0, n))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && fromCopy {
			x.discard(s)
		}
	}()
	if err := format.CheckHeader(page, format.TypeIndex); err != nil {
		return nil, err
	}
	if st.stream, err = x.c.Suite.OpenStream(x.c.Key, x.aad, page); err != nil {
		return nil, err
	}
	plain, _, err := st.stream.Decrypt(nil, 0, page, int64(s.Size))
	if err != nil {
		return nil, err
	}
	if st.layout, err = decodeHead(plain, x.c.Suite, s.Segment); err != nil {
		return nil, err
	}
	var ends [2][8]byte
	for i, n := range []int64{0, st.entries - 1} {
		if err := x.readAt(ctx, st, st.entry(n), ends[i][:]); err != nil {
			return nil, err
		}
	}
	st.first, st.last = prefix(ends[0][:]), prefix(ends[1][:])
	if st.first > st.last {
		return nil, malformed("its entries are not sorted")
	}
	fences := x.layout.page(st.entry(st.entries-1)) + 1
	if x.admit(s, fences*8) { // 1 byte in 8,192; without them a lookup may read a page more
		st.fences = make([]atomic.Uint64, fences)
	}
	if size := st.blocks * FilterBlockSize; x.admit(s, size) {
		st.filter = make([]byte, size)
		if err := x.readLong(ctx, st, st.block(0), st.filter); err != nil {
			x.mu.Lock()
			x.resident -= s.resident
			s.resident = 0
			x.settle()
			x.mu.Unlock()
			return nil, err
		}
	}
	st.whole = nil
	return st, nil
}

// find looks an id up in one segment that may hold it, and hands its places to take while that returns true.
// It reports whether that never returned false.
func (x *Index) find(ctx context.Context, st *state, id *format.ID, take func(*Found) bool) (more bool, err error) {
	if st.filter == nil {
		var block [FilterBlockSize]byte
		if err := x.readAt(ctx, st, st.block(filterBlock(id, st.blocks)), block[:]); err != nil {
			return true, err
		}
		if !filterHas(block[:], id) {
			return true, nil
		}
	}
	n, ok, err := x.search(ctx, st, id)
	if err != nil {
		return true, err
	}
	if !ok {
		x.falseHits.Add(1)
		return true, nil
	}
	var entry [entrySize]byte
	for ; n < st.entries; n++ {
		if err := x.readAt(ctx, st, st.entry(n), entry[:]); err != nil {
			return true, err
		}
		if format.ID(entry[:]) != *id {
			break
		}
		f := Found{Segment: st.seg.Hash, Writer: st.seg.Writer}
		if f.Location, f.Pack, err = x.resolve(ctx, st, entry[:]); err != nil {
			return true, err
		}
		if !take(&f) {
			return false, nil
		}
	}
	return true, nil
}

// resolve decodes an entry and the pack that it names.
func (x *Index) resolve(ctx context.Context, st *state, entry []byte) (l format.Location, p format.PackRef, err error) {
	if _, l, err = format.DecodeIndexEntry(entry); err != nil {
		return l, p, err
	}
	if p, err = x.packRef(ctx, st, l.Pack); err != nil {
		return l, p, err
	}
	return l, p, checkPack(l, &p)
}

func (x *Index) packRef(ctx context.Context, st *state, number uint32) (format.PackRef, error) {
	if int64(number) >= st.packs {
		return format.PackRef{}, malformed("an entry names a pack that is not there")
	}
	var b [packSize]byte
	if err := x.readAt(ctx, st, st.pack(int64(number)), b[:]); err != nil {
		return format.PackRef{}, err
	}
	return format.DecodePackRef(b[:])
}

// search returns the number of the first entry of id. Ids are uniform between the first and the last of a segment, so
// their prefix tells about where an entry is: seldom off by more than a page, and hardly ever once
// fences are known. After a few pages it halves instead, in case the ids are not what they should be.
func (x *Index) search(ctx context.Context, st *state, id *format.ID) (n int64, ok bool, err error) {
	const patience = 4
	key := prefix(id[:])
	a, b := int64(0), st.entries // the entry is in [a, b)
	ka, kb := st.first, st.last  // about the prefixes there
	for views := 0; a < b; {
		m := (a + b) / 2
		if views < patience && key >= ka && key <= kb && ka < kb {
			m = min(b-1, a+int64(float64(b-a)*(float64(key-ka)/float64(kb-ka))))
		}
		p := x.layout.page(st.entry(m))
		i0, i1 := x.layout.entriesIn(p, st.entries)
		if m >= i1 { // it lies across the border of two pages
			var there format.ID
			if err := x.readAt(ctx, st, st.entry(m), there[:]); err != nil {
				return 0, false, err
			}
			switch c := bytes.Compare(id[:], there[:]); {
			case c == 0:
				n, err := x.firstOf(ctx, st, id, m)
				return n, true, err
			case c < 0:
				b = m
			default:
				a = m + 1
			}
			continue
		}
		if f := st.fence(p); f != 0 && key < f {
			b, kb = i0, f
			continue
		}
		if f := st.fence(p + 1); f != 0 && key > f {
			a, _ = x.layout.entriesIn(p+1, st.entries)
			ka = f
			continue
		}
		views++
		n, found, lo, hi, err := x.searchAt(ctx, st, p, id)
		if err != nil {
			return 0, false, err
		}
		switch {
		case found:
			n, err := x.firstOf(ctx, st, id, i0+n)
			return n, true, err
		case n == 0:
			b, kb = i0, lo
		case n == i1-i0:
			a, ka = i1, hi
		default:
			return 0, false, nil
		}
	}
	return 0, false, nil
}

// firstOf returns the number of the first of the entries of id, of which n is one.
func (x *Index) firstOf(ctx context.Context, st *state, id *format.ID, n int64) (int64, error) {
	var there format.ID
	low, step := int64(0), int64(1) // the first is in [low, n]
	for low < n {
		m := max(low, n-step)
		if err := x.readAt(ctx, st, st.entry(m), there[:]); err != nil {
			return 0, err
		}
		if there == *id {
			n, step = m, 2*step
		} else {
			low, step = m+1, max(1, (n-m)/2)
		}
	}
	return n, nil
}

// searchAt looks among the entries that lie wholly in page p. It returns where among them id is or would
// be, and about the prefixes of the first and the last one.
func (x *Index) searchAt(ctx context.Context, st *state, p int64, id *format.ID) (n int64, found bool, lo, hi uint64, err error) {
	i0, i1 := x.layout.entriesIn(p, st.entries)
	sh, plain, err := x.view(ctx, st, p)
	if err != nil {
		return 0, false, 0, 0, err
	}
	defer sh.mu.Unlock()
	table := plain[st.entry(i0)-x.layout.start(p):][:(i1-i0)*entrySize]
	lo, hi = st.fence(p), st.fence(p+1)
	if lo == 0 {
		lo = prefix(table)
		if p < int64(len(st.fences)) {
			st.fences[p].Store(lo)
		}
	}
	if hi == 0 {
		hi = prefix(table[len(table)-entrySize:])
	}
	at, found := searchPage(table, id, lo, hi)
	return int64(at), found, lo, hi, nil
}

// searchPage returns where id is in a table of entries, or where it would be. The prefixes of about the
// first and the last entry lead to it in two or three steps, where halving would touch ten cache lines.
func searchPage(table []byte, id *format.ID, first, last uint64) (int, bool) {
	const guesses = 3
	key := prefix(id[:])
	lo, hi := 0, len(table)/entrySize
	for step := 0; lo < hi; step++ {
		m := int(uint(lo+hi) / 2)
		if step < guesses && first < last && key >= first && key <= last {
			m = min(hi-1, lo+int(float64(hi-lo)*(float64(key-first)/float64(last-first))))
		}
		e := table[m*entrySize:][:32]
		k := binary.BigEndian.Uint64(e)
		c := cmp.Compare(k, key)
		if c == 0 {
			c = bytes.Compare(e, id[:])
		}
		switch {
		case c == 0:
			return m, true
		case c < 0:
			lo, first = m+1, k
		default:
			hi, last = m, k
		}
	}
	return lo, false
}

func (st *state) fence(p int64) uint64 {
	if p >= int64(len(st.fences)) {
		return 0
	}
	return st.fences[p].Load()
}
