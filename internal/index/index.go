// Package index knows where every chunk of a repository is, in memory that does not grow with it.
//
// A [Builder] makes segments: immutable objects, each a sorted table of chunk ids and places with a Bloom
// filter, encrypted in 64 KiB pages; layout.go has the format. An [Index] answers from any number of
// them: the filters in memory say which segments cannot hold an id, and for the others about one page is
// read, decrypted and kept for a while. [Plan] and [Index.Merge] keep their number small as snapshots
// come.
//
// What is not in memory comes from the bucket in ranges, and where there is a cache folder each segment
// that is used much is brought there once, as the bucket has it: nothing is ever on disk in clear.
//
// A segment read whole is held against its name, the digest of its bytes. A range is authenticated by
// the stream that it belongs to, so it comes from a writer of this repository and from one segment only;
// that this is the segment asked for follows from size and number of entries, not from the digest.
// Whoever uses a location checks the chunk's id after reading, so the worst that a wrong segment can do
// is to send him to nothing.
package index

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

const (
	defaultMemory = 48 << 20
	minMemory     = 1 << 20
	openers       = 4 // segments opened at once
)

// Config says what an index reads from and with. Store may be nil where only a [Builder] is made.
type Config struct {
	Store *store.Store
	Suite seal.Suite
	Key   []byte // the index key, 32 bytes
	Repo  format.RepoID
	// CacheDir is a folder for copies of segments of this repository, made when needed; "" for none.
	// Several processes may share it.
	CacheDir string
	// CacheFailed is told, from any goroutine, when CacheDir cannot be used. The index goes on without
	// it, so this is only for the log; it may be nil. The error holds no path.
	CacheFailed func(error)
	// Memory is the most bytes for filters and pages together; 0 means 48 MiB, and the least is 1 MiB.
	// What a call needs while it runs is beside that: 128 KiB for a lookup, up to 4 MiB for the first.
	Memory int64
}

// Index finds chunks. It is safe for concurrent use.
type Index struct {
	c      Config
	aad    []byte
	pages  *pageCache
	cipher sync.Pool // *[]byte of one page of ciphertext
	layout pageLayout

	set atomic.Pointer[[]*segment] // newest first

	mu       sync.Mutex // guards resident here, and resident, dropped and file of every segment
	resident int64      // bytes of filters and fences in memory

	next                 atomic.Uint32 // counts opened segments
	pageReads, falseHits atomic.Uint64
}

// Found says where a chunk is.
type Found struct {
	Pack     format.PackRef
	Location format.Location // Pack in it is the number in the segment's table, of no use elsewhere
	Segment  format.Hash
	Writer   format.WriterID
}

// SegmentError says that a segment could not be read. The cause wraps store.ErrNotFound if it is missing,
// and seal.ErrAuthentication or format.ErrMalformed if it is damaged; those two stay until the segment is
// set again. Any other cause may pass.
type SegmentError struct {
	Hash format.Hash
	Err  error
}

func (e *SegmentError) Error() string {
	return fmt.Sprintf("index segment %v cannot be read: %v", e.Hash, e.Err)
}

func (e *SegmentError) Unwrap() error { return e.Err }

// New returns an index of no segments. It does not fail: a wrong key shows in the first lookup.
func New(c Config) *Index {
	if c.Memory <= 0 {
		c.Memory = defaultMemory
	}
	c.Memory = max(c.Memory, minMemory)
	c.Key = slices.Clone(c.Key)
	x := &Index{c: c, aad: additional(c.Suite, c.Repo), pages: newPageCache(c.Memory), layout: newPageLayout(c.Suite)}
	x.cipher.New = func() any { b := make([]byte, 0, pageBytes); return &b }
	x.set.Store(new([]*segment))
	return x
}

// Set makes segments, oldest first, all that the index answers from. Nothing is read. What is known of
// segments that stay is kept, except that they failed.
func (x *Index) Set(segments []format.Segment) {
	x.mu.Lock()
	defer x.mu.Unlock()
	old := make(map[format.Segment]*segment)
	for _, s := range *x.set.Load() {
		old[s.Segment] = s
	}
	list := make([]*segment, 0, len(segments))
	seen := make(map[format.Segment]bool, len(segments))
	for _, d := range slices.Backward(segments) {
		if seen[d] {
			continue
		}
		seen[d] = true
		s := old[d]
		if s == nil {
			s = newSegment(d)
		}
		s.failed.Store(nil)
		delete(old, d)
		list = append(list, s)
	}
	x.set.Store(&list)
	for _, s := range old {
		x.drop(s)
	}
	x.settle()
}

// Add makes one more segment, the newest, known. Its object, which must be in the bucket already, may be
// given, or nil: then it is read when needed. The error is for an object that is not the segment, and then nothing is added.
func (x *Index) Add(d format.Segment, object []byte) error {
	s := newSegment(d)
	if object != nil {
		if err := x.prime(s, object); err != nil {
			x.release(s)
			return &SegmentError{d.Hash, err}
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	list := *x.set.Load()
	if slices.ContainsFunc(list, func(t *segment) bool { return t.Segment == d }) {
		x.drop(s)
		x.settle()
		return nil
	}
	list = append([]*segment{s}, list...)
	x.set.Store(&list)
	return nil
}

// Close forgets all segments and closes what is open in the cache folder. A lookup under way ends well.
func (x *Index) Close() { x.Set(nil) }

// Lookup says where a chunk is; false if no segment has it. It asks the newest segment first. A segment
// that cannot be read does not hide what others hold: its error, a [*SegmentError], comes only if the
// chunk was in none of the others. Lookup waits for the network when it must read; otherwise it takes
// about a microsecond. Where a chunk has several places it is the first that [Index.Places] yields.
func (x *Index) Lookup(ctx context.Context, id format.ID) (Found, bool, error) {
	return x.first(ctx, &id, nil)
}

// LookupFrom is [Index.Lookup] in the segments of one writer only.
func (x *Index) LookupFrom(ctx context.Context, id format.ID, writer format.WriterID) (Found, bool, error) {
	return x.first(ctx, &id, &writer)
}

func (x *Index) first(ctx context.Context, id *format.ID, writer *format.WriterID) (f Found, ok bool, err error) {
	err = x.lookup(ctx, id, writer, func(at *Found) bool {
		f, ok = *at, true
		return false
	})
	if ok {
		return f, true, nil
	}
	return f, false, err
}

// Places yields every place of a chunk, of the newest segment first; the same one twice if two segments name
// it. Segments that cannot be read hide nothing: their errors are the last pair, joined.
func (x *Index) Places(ctx context.Context, id format.ID) iter.Seq2[Found, error] {
	return x.places(ctx, id, nil)
}

// PlacesFrom is [Index.Places] in the segments of one writer only.
func (x *Index) PlacesFrom(ctx context.Context, id format.ID, writer format.WriterID) iter.Seq2[Found, error] {
	return x.places(ctx, id, &writer)
}

func (x *Index) places(ctx context.Context, id format.ID, writer *format.WriterID) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		more := true
		err := x.lookup(ctx, &id, writer, func(at *Found) bool {
			more = yield(*at, nil)
			return more
		})
		if more && err != nil {
			yield(Found{}, err)
		}
	}
}

// lookup hands the places of a chunk to take until that returns false. The error joins those of all segments
// that could not be read.
func (x *Index) lookup(ctx context.Context, id *format.ID, writer *format.WriterID, take func(*Found) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var failure error
	list := *x.set.Load()
	key := prefix(id[:])
	opened := false
	for i, s := range list {
		if writer != nil && s.Writer != *writer {
			continue
		}
		st := s.state.Load()
		if st == nil {
			if !opened {
				opened = true
				failure = errors.Join(failure, x.openAll(ctx, list[i:], writer))
			}
			if st = s.state.Load(); st == nil {
				continue
			}
		}
		if key < st.first || key > st.last {
			continue
		}
		if st.filter != nil && !filterHas(st.filter[filterBlock(id, st.blocks)*FilterBlockSize:], id) {
			continue
		}
		more, err := x.find(ctx, st, id, take)
		if !more {
			return nil
		}
		if err != nil {
			failure = errors.Join(failure, x.fail(s, err))
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return failure
}

// openAll opens those of list that are not open yet, a few at once, and joins their errors.
func (x *Index) openAll(ctx context.Context, list []*segment, writer *format.WriterID) error {
	errs := make([]error, len(list))
	var g errgroup.Group
	g.SetLimit(openers)
	for i, s := range list {
		if s.state.Load() != nil || writer != nil && s.Writer != *writer {
			continue
		}
		g.Go(func() error {
			_, errs[i] = x.open(ctx, s)
			return nil
		})
	}
	_ = g.Wait()
	return errors.Join(errs...)
}

// fail wraps the error of a segment and remembers one that will not pass.
func (x *Index) fail(s *segment, err error) error {
	var se *SegmentError
	if !errors.As(err, &se) {
		se = &SegmentError{s.Hash, err}
	}
	for _, final := range []error{store.ErrNotFound, store.ErrTooLarge, seal.ErrAuthentication, format.ErrMalformed, format.ErrVersion} {
		if errors.Is(err, final) {
			s.failed.CompareAndSwap(nil, se)
			break
		}
	}
	return se
}

// Stats is what an index holds and has done.
type Stats struct {
	Segments    int
	Open        int    // segments that were read from
	FilterBytes int64  // in memory, fences included
	PageBytes   int64  // in memory
	PageReads   uint64 // pages read and decrypted for lookups
	FalseHits   uint64 // times that a filter let an id pass which its segment does not hold
}

// Stats returns the figures of this moment.
func (x *Index) Stats() Stats {
	list := *x.set.Load()
	n := Stats{Segments: len(list), PageBytes: x.pages.bytes(), PageReads: x.pageReads.Load(), FalseHits: x.falseHits.Load()}
	for _, s := range list {
		if s.state.Load() != nil {
			n.Open++
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	n.FilterBytes = x.resident
	return n
}
