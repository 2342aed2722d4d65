package engine

import (
	"context"
	"fmt"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/store"
)

// refsReader reads lists of references, and keeps the last few: each is a difference to one before it. It
// is for one goroutine.
type refsReader struct {
	store *store.Store
	count *int64 // of objects read; may be nil
	known map[format.Hash]refsList
	order []format.Hash          // of known, oldest first
	ahead map[format.Hash][]byte // objects fetched ahead
}

type refsList struct {
	objects []format.Object
	depth   uint8
	chain   []format.Hash // the lists that it is made of: its own name comes last
}

// keptRefs is how many whole lists are kept: one for each of some hosts that take turns.
const keptRefs = 6

// read returns a whole list. The object that it failed at is named with the error.
func (x *refsReader) read(ctx context.Context, hash format.Hash) (refsList, format.Hash, error) {
	return x.below(ctx, hash, format.MaxRefsDepth+1)
}

// below is read for a list that must be of less depth than given, which bounds a chain.
func (x *refsReader) below(ctx context.Context, hash format.Hash, depth uint8) (list refsList, at format.Hash, err error) {
	if l, ok := x.known[hash]; ok {
		return l, hash, nil
	}
	object, err := x.fetch(ctx, hash)
	if x.count != nil {
		*x.count++
	}
	if err != nil {
		return list, hash, err
	}
	if hashOf(object) != hash {
		return list, hash, fmt.Errorf("%w: its digest is another", ErrDamaged)
	}
	refs, err := format.DecodeRefsObject(object)
	if err != nil {
		return list, hash, err
	}
	var base refsList
	if refs.Depth >= depth {
		return list, hash, fmt.Errorf("%w: a chain of differences is broken", ErrDamaged)
	}
	if refs.Depth > 0 {
		if base, at, err = x.below(ctx, refs.Base, refs.Depth); err != nil {
			return list, at, err
		}
		if base.depth+1 != refs.Depth {
			return list, hash, fmt.Errorf("%w: a chain of differences is broken", ErrDamaged)
		}
	}
	if list.objects, err = refs.Apply(base.objects); err != nil {
		return list, hash, err
	}
	list.depth = refs.Depth
	list.chain = append(base.chain[:len(base.chain):len(base.chain)], hash)
	x.keep(hash, list)
	return list, hash, nil
}

func (x *refsReader) fetch(ctx context.Context, hash format.Hash) ([]byte, error) {
	if object, ok := x.ahead[hash]; ok {
		return object, nil
	}
	return x.store.Get(ctx, format.RefsKey(hash), maxRefsObject)
}

// fetchAhead is how many lists are fetched at once.
const fetchAhead = 64

// each reads the lists that names gives for 0 to n-1 and calls f with each, in order. The objects are fetched
// many at once, which on a distant store is most of the time.
func (x *refsReader) each(ctx context.Context, n int, name func(int) format.Hash, f func(int, refsList, error) error) error {
	defer func() { x.ahead = nil }()
	for from := 0; from < n; from += fetchAhead {
		k := min(fetchAhead, n-from)
		objects := make([][]byte, k)
		err := each(ctx, k, checkRequests, func(ctx context.Context, i int) error {
			hash := name(from + i)
			if _, ok := x.known[hash]; ok {
				return nil
			}
			object, err := x.store.Get(ctx, format.RefsKey(hash), maxRefsObject)
			if err == nil {
				objects[i] = object
			}
			return ctx.Err() // what failed is asked for again, where its error belongs
		})
		if err != nil {
			return err
		}
		x.ahead = make(map[format.Hash][]byte, k)
		for i, object := range objects {
			if object != nil {
				x.ahead[name(from+i)] = object
			}
		}
		for i := range k {
			l, at, err := x.read(ctx, name(from+i))
			if err != nil {
				err = fmt.Errorf("list of references %v: %w", at, err)
			}
			if err := f(from+i, l, err); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (x *refsReader) keep(hash format.Hash, l refsList) {
	if len(x.order) == keptRefs {
		delete(x.known, x.order[0])
		x.order = append(x.order[:0], x.order[1:]...)
	}
	x.known[hash] = l
	x.order = append(x.order, hash)
}

func newRefsReader(s *store.Store, count *int64) *refsReader {
	return &refsReader{store: s, count: count, known: map[format.Hash]refsList{}}
}

func (c *checkBase) refsReader() *refsReader {
	return newRefsReader(c.store, &c.rep.Objects)
}
