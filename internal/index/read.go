package index

import (
	"context"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
)

// pageLayout says which plaintext lies in which page: a page is one segment of the sealed stream, and
// the first one holds less for the stream's prologue.
type pageLayout struct{ first, body int64 }

func newPageLayout(s seal.Suite) pageLayout {
	// Sizes of one and two full pages; an unknown suite gives zeros, and every open then fails.
	one, _ := s.PlainSize(pageBytes)
	two, err := s.PlainSize(2 * pageBytes)
	if err != nil {
		return pageLayout{1, 1}
	}
	return pageLayout{one, two - one}
}

// start is the offset in the plaintext at which page p begins.
func (l pageLayout) start(p int64) int64 {
	if p == 0 {
		return 0
	}
	return l.first + (p-1)*l.body
}

// page is the page that holds the byte at off of the plaintext.
func (l pageLayout) page(off int64) int64 {
	if off < l.first {
		return 0
	}
	return 1 + (off-l.first)/l.body
}

// entriesIn returns which of n entries lie wholly in page p.
func (l pageLayout) entriesIn(p, n int64) (from, to int64) {
	from = max(0, (l.start(p)-HeadSize+entrySize-1)/entrySize)
	to = min(n, (l.start(p+1)-HeadSize)/entrySize)
	return min(from, to), to
}

// view returns page p of the plaintext, good until the caller unlocks the shard.
func (x *Index) view(ctx context.Context, st *state, p int64) (*shard, []byte, error) {
	key := uint64(st.number)<<32 | uint64(p)
	sh := x.pages.shard(key)
	sh.mu.Lock()
	if b := sh.get(key); b != nil {
		return sh, b, nil
	}
	sh.mu.Unlock()

	sealed := x.cipher.Get().(*[]byte)
	defer x.cipher.Put(sealed)
	pg := sh.take()
	plain, err := x.decrypt(ctx, st, forLookup, p, 1, sealed, pg.buf[:0])
	if err != nil {
		return nil, nil, err
	}
	x.pageReads.Add(1)
	pg.buf = plain
	return sh, sh.put(key, pg), nil
}

// purpose says which copies of a segment will do.
type purpose int

const (
	forLookup purpose = iota // the cache folder's; it is filled by and by
	forMerge                 // the cache folder's if it is there
	forCheck                 // only the bucket's
)

// decrypt appends the plaintext of n pages from p on, fewer at the end, to dst, and leaves what it read
// in *sealed. A damaged copy in the cache folder is discarded and the bucket asked instead.
func (x *Index) decrypt(ctx context.Context, st *state, why purpose, p, n int64, sealed *[]byte, dst []byte) ([]byte, error) {
	size := int64(st.seg.Size)
	off := p * pageBytes
	length := min(n*pageBytes, size-off)
	for {
		b, fromCopy, err := x.fetch(ctx, st, why, off, length, (*sealed)[:0])
		if err != nil {
			return nil, err
		}
		plain, _, err := st.stream.Decrypt(dst, off, b, size)
		if st.whole == nil {
			*sealed = b
		}
		if err == nil || !fromCopy {
			return plain, err
		}
		x.discard(st.seg)
	}
}

// fetch returns sealed bytes of a segment: from the object at hand, from the copy in the cache folder, or
// from the bucket. It says whether they are from a copy, which may be damaged while the bucket is not.
func (x *Index) fetch(ctx context.Context, st *state, why purpose, off, n int64, dst []byte) (b []byte, fromCopy bool, err error) {
	if st.whole != nil {
		return st.whole[off : off+n], false, nil
	}
	s := st.seg
	if why != forCheck {
		if b, ok := x.readCached(s, off, n, dst); ok {
			return b, true, nil
		}
	}
	if why == forLookup {
		if err := x.bring(ctx, s); err != nil {
			return nil, false, err
		}
		if b, ok := x.readCached(s, off, n, dst); ok {
			return b, true, nil
		}
		s.ranged.Add(1)
	}
	b, err = x.c.Store.ReadRange(ctx, format.IndexKey(s.Hash), off, n, dst)
	return b, false, err
}

// readAt fills dst from the plaintext at off, through the pages in memory.
func (x *Index) readAt(ctx context.Context, st *state, off int64, dst []byte) error {
	for len(dst) > 0 {
		p := x.layout.page(off)
		sh, plain, err := x.view(ctx, st, p)
		if err != nil {
			return err
		}
		n := 0
		if at := off - x.layout.start(p); at < int64(len(plain)) {
			n = copy(dst, plain[at:])
		}
		sh.mu.Unlock()
		if n == 0 {
			return malformed("it ends too early")
		}
		dst, off = dst[n:], off+int64(n)
	}
	return nil
}

// readLong fills dst from the plaintext at off, past the pages in memory.
func (x *Index) readLong(ctx context.Context, st *state, off int64, dst []byte) error {
	sealed := make([]byte, 0, piecePages*pageBytes)
	plain := make([]byte, 0, piecePages*pageBytes)
	for len(dst) > 0 {
		p := x.layout.page(off)
		n := min(piecePages, x.layout.page(off+int64(len(dst))-1)-p+1)
		var err error
		if plain, err = x.decrypt(ctx, st, forLookup, p, n, &sealed, plain[:0]); err != nil {
			return err
		}
		at := off - x.layout.start(p)
		if at >= int64(len(plain)) {
			return malformed("it ends too early")
		}
		k := copy(dst, plain[at:])
		dst, off = dst[k:], off+int64(k)
	}
	return nil
}
