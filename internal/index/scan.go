package index

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"iter"

	"github.com/carekeep/carekeep/internal/format"
)

// Item is one entry of a segment with the pack that it names.
type Item struct {
	ID       format.ID
	Pack     format.PackRef
	Location format.Location
}

// All yields every entry of a segment in order, for checks: read from the bucket, not from a copy, held
// against its digest and its filter. A fault ends it with a [*SegmentError] as the last pair; the digest
// can only be compared after the last entry, so what was yielded counts once All has ended without one.
// The segment need not be in the index. It takes 1 MiB while it runs.
func (x *Index) All(ctx context.Context, d format.Segment) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		s, done := x.handle(d)
		defer done()
		st, err := x.open(ctx, s)
		if err != nil {
			yield(Item{}, err)
			return
		}
		sc := newScanner(x, st, forCheck, piecePages)
		for {
			item, ok, err := sc.item(ctx)
			if err != nil {
				if ctx.Err() == nil {
					err = x.fail(s, err)
				}
				yield(Item{}, err)
				return
			}
			if !ok || !yield(item, nil) {
				return
			}
		}
	}
}

// Packs yields the packs that a segment names, each before it is known that an entry needs it. A fault ends it
// with a [*SegmentError]. The segment need not be in the index.
func (x *Index) Packs(ctx context.Context, d format.Segment) iter.Seq2[format.PackRef, error] {
	return func(yield func(format.PackRef, error) bool) {
		s, done := x.handle(d)
		defer done()
		st, err := x.open(ctx, s)
		if err != nil {
			yield(format.PackRef{}, err)
			return
		}
		for n := range uint32(st.packs) {
			p, err := x.packRef(ctx, st, n)
			if err != nil {
				if ctx.Err() == nil {
					err = x.fail(s, err)
				}
				yield(p, err)
				return
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}

// handle returns the segment d of the index, or one beside it that done lets go.
func (x *Index) handle(d format.Segment) (s *segment, done func()) {
	for _, s := range *x.set.Load() {
		if s.Segment == d {
			return s, func() {}
		}
	}
	s = newSegment(d)
	return s, func() { x.release(s) }
}

// scanner reads one segment from front to back, past the pages in memory.
type scanner struct {
	x      *Index
	st     *state
	why    purpose
	step   int64 // pages read at once
	page   int64 // the next one to read
	sum    hash.Hash
	sealed []byte
	plain  []byte
	rest   []byte // of plain, not taken yet
	n      int64  // entries taken
	last   [placeSize]byte
}

func newScanner(x *Index, st *state, why purpose, step int64) *scanner {
	size := int64(st.seg.Size)
	step = min(step, (size+pageBytes-1)/pageBytes)
	return &scanner{
		x: x, st: st, why: why, step: step, sum: sha256.New(),
		sealed: make([]byte, 0, min(size, step*pageBytes)),
		plain:  make([]byte, 0, min(size, step*pageBytes)+entrySize),
	}
}

// next returns the next entry, good until the call after; nil after the last one, when the digest of all
// the bytes has been found right.
func (s *scanner) next(ctx context.Context) ([]byte, error) {
	if s.n == s.st.entries {
		return nil, s.finish(ctx)
	}
	for len(s.rest) < entrySize {
		if err := s.fill(ctx); err != nil {
			return nil, err
		}
	}
	e := s.rest[:entrySize]
	s.rest = s.rest[entrySize:]
	if s.n > 0 && bytes.Compare(e[:placeSize], s.last[:]) <= 0 {
		return nil, malformed("its entries are not sorted")
	}
	if int64(binary.BigEndian.Uint32(e[32:])) >= s.st.packs {
		return nil, malformed("an entry names a pack that is not there")
	}
	if _, _, err := format.DecodeIndexEntry(e); err != nil {
		return nil, err
	}
	s.last = [placeSize]byte(e)
	s.n++
	return e, nil
}

func (s *scanner) fill(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.page*pageBytes >= int64(s.st.seg.Size) {
		return malformed("it ends too early")
	}
	kept := copy(s.plain[:cap(s.plain)], s.rest)
	plain, err := s.x.decrypt(ctx, s.st, s.why, s.page, s.step, &s.sealed, s.plain[:kept])
	if err != nil {
		return err
	}
	s.sum.Write(s.sealed)
	s.plain, s.rest = plain, plain
	if s.page == 0 {
		s.rest = plain[HeadSize:]
	}
	s.page += s.step
	return nil
}

// finish reads what follows the entries, for the digest only.
func (s *scanner) finish(ctx context.Context) error {
	for s.page*pageBytes < int64(s.st.seg.Size) {
		s.rest = nil
		if err := s.fill(ctx); err != nil {
			return err
		}
	}
	return checkSum(s.sum, s.st.seg)
}

// item is next with all that a check asks of an entry; false at the end.
func (s *scanner) item(ctx context.Context) (it Item, ok bool, err error) {
	e, err := s.next(ctx)
	if err != nil || e == nil {
		return it, false, err
	}
	it.ID = format.ID(s.last[:])
	var block [FilterBlockSize]byte
	at := filterBlock(&it.ID, s.st.blocks)
	if s.st.filter != nil {
		copy(block[:], s.st.filter[at*FilterBlockSize:])
	} else if err := s.x.readAt(ctx, s.st, s.st.block(at), block[:]); err != nil {
		return it, false, err
	}
	if !filterHas(block[:], &it.ID) {
		return it, false, malformed("its filter denies an entry")
	}
	it.Location, it.Pack, err = s.x.resolve(ctx, s.st, e)
	return it, err == nil, err
}
