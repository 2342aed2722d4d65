package engine

import (
	"bytes"
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/pack"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// loaderBytes bounds what a loader keeps of decoded frames.
const loaderBytes = 24 << 20

// loader reads single chunks, keeping the frames they came in: a frame holds the neighbours that are
// asked for next. It is safe for concurrent use.
type loader struct {
	r          *Repo
	data, meta *prfs

	// fixed keeps to the state of the log that the index was set from.
	fixed     bool
	movedMu   sync.Mutex
	condemned uint64                    // the newest condemn entry that the index has followed
	looked    map[format.Hash]time.Time // when the log was last read in vain for a pack or segment that is gone

	mu     sync.Mutex
	frames map[frameKey]*list.Element // of *frame
	recent *list.List
	bytes  int
}

type frameKey struct {
	pack   format.Hash
	offset uint32
}

type frame struct {
	key   frameKey
	once  sync.Once
	plain []byte
	err   error
	kept  int // bytes accounted for; guarded by the loader
}

// prfs hands out PRFs of one key, which are not safe for concurrent use.
type prfs struct{ pool sync.Pool }

func newPRFs(key []byte) *prfs {
	p := &prfs{}
	p.pool.New = func() any {
		prf, err := seal.NewPRF(key)
		if err != nil {
			return err // of a wrong length, which build has excluded
		}
		return prf
	}
	return p
}

// check refuses data that is not what id names.
func (p *prfs) check(id format.ID, data []byte) error {
	v := p.pool.Get()
	prf, ok := v.(*seal.PRF)
	if !ok {
		return v.(error)
	}
	defer p.pool.Put(prf)
	var sum [32]byte
	prf.Sum(&sum, data)
	if !seal.Equal(sum[:], id[:]) {
		return fmt.Errorf("%w: a chunk's bytes are not those its id names", ErrDamaged)
	}
	return nil
}

func newLoader(r *Repo) *loader {
	return &loader{
		r: r, data: newPRFs(r.dataID), meta: newPRFs(r.metaID),
		frames: map[frameKey]*list.Element{}, recent: list.New(), condemned: r.ledger.State().Condemned,
		looked: map[format.Hash]time.Time{},
	}
}

// LoadNode implements tree.Loader.
func (l *loader) LoadNode(ctx context.Context, id format.ID, size uint32) ([]byte, error) {
	return l.load(ctx, id, int64(size), format.TypeMetadata)
}

// LoadChunk returns the bytes of a data chunk; the caller only reads them.
func (l *loader) LoadChunk(ctx context.Context, id format.ID, size int64) ([]byte, error) {
	return l.load(ctx, id, size, format.TypeData)
}

func (l *loader) load(ctx context.Context, id format.ID, size int64, t format.Type) ([]byte, error) {
	at, err := l.locate(ctx, id, size, t)
	if err != nil {
		return nil, err
	}
	data, err := l.loadAt(ctx, id, at)
	if err == nil {
		return data, nil
	}
	return l.elsewhere(ctx, id, size, at.Pack.Type, at.Pack.Hash, err)
}

// loadAt returns a chunk from one of its places.
func (l *loader) loadAt(ctx context.Context, id format.ID, at index.Found) ([]byte, error) {
	plain, err := l.frame(ctx, at)
	if err != nil {
		return nil, err
	}
	data := plain[at.Location.Start : at.Location.Start+at.Location.Len]
	ids := l.data
	if at.Pack.Type == format.TypeMetadata {
		ids = l.meta
	}
	return data, ids.check(id, data)
}

// elsewhere returns a chunk from any place but the one in a pack that failed, or else that failure.
func (l *loader) elsewhere(ctx context.Context, id format.ID, size int64, t format.Type, not format.Hash, failure error) ([]byte, error) {
	tried := []format.Hash{not}
	for {
		seen := l.followed()
		for at, err := range l.r.index.Places(ctx, id) {
			if err != nil || ctx.Err() != nil {
				break
			}
			if slices.Contains(tried, at.Pack.Hash) || !fits(&at, size, t) {
				continue
			}
			tried = append(tried, at.Pack.Hash)
			if data, err := l.loadAt(ctx, id, at); err == nil {
				return data, nil
			}
		}
		moved, err := l.moved(ctx, failure, seen, not)
		if err != nil {
			return nil, err
		}
		if !moved {
			if errors.Is(failure, store.ErrNotFound) && ctx.Err() == nil {
				failure = fmt.Errorf("%w: an object that a snapshot needs is gone, or the snapshot was forgotten: %w", ErrDamaged, failure)
			}
			return nil, failure
		}
	}
}

var errUnknown = fmt.Errorf("%w: the index does not know a chunk that a snapshot needs", ErrDamaged)

// lookAgain is how long the log, once read in vain for an object that is gone, is not read for it again.
const lookAgain = time.Second

// maxLooked bounds how many such objects are remembered.
const maxLooked = 1000

// followed is the newest condemn entry that the index has followed for this loader.
func (l *loader) followed() uint64 {
	l.movedMu.Lock()
	defer l.movedMu.Unlock()
	return l.condemned
}

// moved reports whether an object that is gone may have been condemned and deleted, and its content moved, since
// the index followed the log as far as seen. The index then answers from the log as it is now. What is gone is named
// by its digest; zero is all that the index does not know. It fails if the log cannot be read: then nobody can tell
// whether anything is damaged.
func (l *loader) moved(ctx context.Context, err error, seen uint64, what format.Hash) (bool, error) {
	if l.fixed || !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errUnknown) || ctx.Err() != nil {
		return false, nil
	}
	l.movedMu.Lock()
	defer l.movedMu.Unlock()
	if l.condemned != seen {
		return true, nil
	}
	st := l.r.ledger.State()
	if st.Condemned == l.condemned && time.Since(l.looked[what]) > lookAgain {
		if err := l.r.ledger.Refresh(ctx); err != nil {
			return false, err
		}
		if st = l.r.ledger.State(); st.Condemned == l.condemned {
			if len(l.looked) >= maxLooked {
				clear(l.looked)
			}
			l.looked[what] = time.Now()
		}
	}
	if st.Condemned == l.condemned {
		return false, nil
	}
	l.condemned = st.Condemned
	l.r.follow()
	return true, nil
}

// fits reports whether a place is of the class and length that a chunk is known to have.
func fits(at *index.Found, size int64, t format.Type) bool {
	return int64(at.Location.Len) == size && at.Pack.Type == t
}

// locate finds a chunk of a known size and class.
func (l *loader) locate(ctx context.Context, id format.ID, size int64, t format.Type) (index.Found, error) {
	for {
		seen := l.followed()
		at, err := l.locateOnce(ctx, id, size, t)
		var what format.Hash
		var se *index.SegmentError
		if errors.As(err, &se) {
			what = se.Hash
		}
		if err == nil {
			return at, nil
		}
		if moved, merr := l.moved(ctx, err, seen, what); merr != nil || !moved {
			return at, cmp.Or(merr, err)
		}
	}
}

func (l *loader) locateOnce(ctx context.Context, id format.ID, size int64, t format.Type) (index.Found, error) {
	at, ok, err := l.r.index.Lookup(ctx, id)
	if err != nil {
		return at, fmt.Errorf("index: %w", err)
	}
	if !ok {
		return at, errUnknown
	}
	if fits(&at, size, t) {
		return at, nil
	}
	for other, err := range l.r.index.Places(ctx, id) {
		if err == nil && fits(&other, size, t) {
			return other, nil
		}
	}
	return at, fmt.Errorf("%w: a chunk is not as long as the snapshot says", ErrDamaged)
}

// frame returns the decoded frame of a location. Callers that ask for one frame at once share the read.
func (l *loader) frame(ctx context.Context, at index.Found) ([]byte, error) {
	for {
		plain, err := l.frameOnce(ctx, at)
		// The reader whose read we shared may have been cancelled; we were not.
		if err == nil || ctx.Err() != nil || !(errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
			return plain, err
		}
	}
}

func (l *loader) frameOnce(ctx context.Context, at index.Found) ([]byte, error) {
	key := frameKey{at.Pack.Hash, at.Location.Offset}
	l.mu.Lock()
	el, ok := l.frames[key]
	if ok {
		l.recent.MoveToFront(el)
	} else {
		el = l.recent.PushFront(&frame{key: key})
		l.frames[key] = el
	}
	f := el.Value.(*frame)
	l.mu.Unlock()
	f.once.Do(func() {
		f.err = l.r.packs.Frames(ctx, at.Pack, []pack.FrameAt{pack.At(at.Location)}, func(_ int, plain []byte) error {
			f.plain = bytes.Clone(plain)
			return nil
		})
		l.settle(f)
	})
	if f.err == nil && len(f.plain) != int(at.Location.Plain) {
		return nil, fmt.Errorf("%w: two index entries contradict each other", ErrDamaged)
	}
	return f.plain, f.err
}

// settle accounts for a frame that was read, and drops what is too much. A failed read is not kept.
func (l *loader) settle(f *frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.err != nil {
		if el, ok := l.frames[f.key]; ok && el.Value.(*frame) == f {
			l.recent.Remove(el)
			delete(l.frames, f.key)
		}
		return
	}
	f.kept = len(f.plain)
	l.bytes += f.kept
	for el := l.recent.Back(); el != nil && l.bytes > loaderBytes; {
		old, prev := el.Value.(*frame), el.Prev()
		if old != f && old.kept > 0 {
			l.bytes -= old.kept
			l.recent.Remove(el)
			delete(l.frames, old.key)
		}
		el = prev
	}
}
