package engine

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/ledger"
)

// ErrCondemned ends a run that was about to refer to what a collector has given free for deletion.
var ErrCondemned = errors.New("space that this run relied on was given back meanwhile: run it again")

// settledError ends a run that began before a settle entry. What was condemned before that is not known, and may be
// what the run relies on.
type settledError struct{ seq uint64 }

func (e *settledError) Error() string { return ErrCondemned.Error() + ": the log was settled" }

func (e *settledError) Unwrap() error { return ErrCondemned }

// errRecheck sends a commit back: something was condemned since it last looked.
var errRecheck = errors.New("something was condemned meanwhile")

// condemned is what collectors have given free for deletion after some entry of the log. No run may refer to
// it: a run commits only after it has read every entry before its own and found none of its objects condemned
// there. It is safe for concurrent use.
type condemned struct {
	ledger *ledger.Ledger

	mu    sync.Mutex
	seq   uint64 // names are those of condemn entries up to here
	names map[format.Object]struct{}
}

// newCondemned learns what was condemned after entry since.
func newCondemned(ctx context.Context, l *ledger.Ledger, since uint64) (*condemned, error) {
	c := &condemned{ledger: l, seq: since, names: map[format.Object]struct{}{}}
	return c, c.read(ctx, l.State().Condemned)
}

// read learns what was condemned up to entry newest.
func (c *condemned) read(ctx context.Context, newest uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	settled, err := c.ledger.Condemned(ctx, newest, c.seq, func(_ uint64, _ int64, e *format.Condemn) error {
		for _, o := range e.Objects {
			c.names[o] = struct{}{}
		}
		return nil
	})
	if err == nil && settled > 0 {
		err = &settledError{settled}
	}
	if err == nil {
		c.seq = max(c.seq, newest)
	}
	return err
}

// current reports whether everything is known that was condemned in a state of the log.
func (c *condemned) current(s *format.State) bool { return c.at() == s.Condemned }

func (c *condemned) at() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seq
}

func (c *condemned) has(o format.Object) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.names[o]
	return ok
}

// check refuses a commit that names anything condemned.
func (c *condemned) check(objects []format.Object, segments []format.Segment) error {
	if slices.ContainsFunc(objects, c.has) ||
		slices.ContainsFunc(segments, func(s format.Segment) bool { return c.has(format.Object{Type: format.TypeIndex, Hash: s.Hash}) }) {
		return ErrCondemned
	}
	return nil
}

// refsObject names a list of references.
func refsObject(h format.Hash) format.Object { return format.Object{Type: format.TypeRefs, Hash: h} }

// place finds a chunk where this run may rely on it.
func (s *sink) place(ctx context.Context, id format.ID) (index.Found, bool, error) {
	at, ok, err := s.r.index.LookupFrom(ctx, id, s.writer)
	if err != nil || !ok || s.counts(at.Segment) {
		return at, ok, err
	}
	return s.placeIn(s.r.index.PlacesFrom(ctx, id, s.writer))
}

// placeIn returns the first of a chunk's places that this run may rely on.
func (s *sink) placeIn(places iter.Seq2[index.Found, error]) (index.Found, bool, error) {
	for at, err := range places {
		if err != nil {
			return at, false, err
		}
		if s.counts(at.Segment) {
			return at, true, nil
		}
	}
	return index.Found{}, false, nil
}

// counts reports whether a segment is the log's or this run's own. The index has those of other runs of this
// process as well, which may never be committed, and which may be condemned without this run's knowing.
func (s *sink) counts(segment format.Hash) bool {
	if _, ok := (*s.r.pending.logged.Load())[segment]; ok {
		return true
	}
	_, ok := s.mine.Load(segment)
	return ok
}

// stands reports whether a snapshot is still kept, with that list of references. What the list names is then
// alive, and so are the lists that it is a difference to.
func stands(s *format.State, id format.SnapID, refs format.Hash) bool {
	return slices.ContainsFunc(s.Snapshots, func(r format.SnapRef) bool { return r.ID == id && r.Refs == refs })
}
