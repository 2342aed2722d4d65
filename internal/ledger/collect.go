package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/carekeep/carekeep/internal/format"
)

// forget moves snapshots from those that are kept to those that are not.
func forget(s *format.State, seq uint64, f *format.Forget) error {
	gone := map[format.SnapID]bool{}
	for _, id := range f.Snapshots {
		gone[id] = true
	}
	var kept, left []format.SnapRef
	for _, r := range s.Snapshots {
		if gone[r.ID] {
			left = append(left, r)
		} else {
			kept = append(kept, r)
		}
	}
	if len(left) != len(gone) {
		return errors.New("the entry forgets a snapshot that is not there")
	}
	s.Snapshots, s.Forgotten = kept, append(slices.Clip(s.Forgotten), left...)
	s.Recorded = seq
	return nil
}

// condemn takes the entry seq, after which what it names may be deleted.
func condemn(s *format.State, seq uint64, c *format.Condemn) error {
	if c.Previous != s.Condemned || c.Swept < s.Swept || c.Swept > c.Previous {
		return errors.New("the entry does not go on from the condemn entry before it")
	}
	if c.Forgotten > uint64(len(s.Forgotten)) {
		return errors.New("the entry deals with more snapshots than are forgotten")
	}
	changes := make(map[format.SnapID]format.Hash, len(c.Refs))
	for _, n := range c.Refs {
		changes[n.ID] = n.Refs
	}
	snapshots := slices.Clone(s.Snapshots)
	for i, r := range snapshots {
		if h, ok := changes[r.ID]; ok {
			snapshots[i].Refs = h
			delete(changes, r.ID)
		}
	}
	if len(changes) > 0 {
		return errors.New("the entry changes a snapshot that is not there")
	}
	removed := 0
	segments := slices.DeleteFunc(slices.Clone(s.Segments), func(x format.Segment) bool {
		_, there := slices.BinarySearchFunc(c.Removed, x.Hash, compareHashes)
		if there {
			removed++
		}
		return there
	})
	if removed != len(c.Removed) {
		return errors.New("the entry removes an index segment that is not there")
	}
	if segments = append(segments, c.Added...); format.Repeated(segments) {
		return errors.New("the entry adds an index segment that is there")
	}
	condemned := func(t format.Type, h format.Hash) bool {
		_, there := slices.BinarySearchFunc(c.Objects, format.Object{Type: t, Hash: h}, format.CompareObjects)
		return there
	}
	if slices.ContainsFunc(segments, func(x format.Segment) bool { return condemned(format.TypeIndex, x.Hash) }) ||
		slices.ContainsFunc(snapshots, func(x format.SnapRef) bool { return condemned(format.TypeRefs, x.Refs) }) {
		return errors.New("the entry condemns what the state names")
	}
	s.Snapshots, s.Segments = snapshots, segments
	s.Forgotten = slices.Clone(s.Forgotten[c.Forgotten:])
	s.Partials = slices.DeleteFunc(slices.Clone(s.Partials), func(p format.Partial) bool { return condemned(format.TypeRefs, p.Refs) })
	s.Condemned, s.Swept = seq, c.Swept
	return nil
}

func compareHashes(a, b format.Hash) int { return slices.Compare(a[:], b[:]) }

// Condemned calls f with every condemn entry from slot newest, which a state names, down to the one after
// slot since. They are found by the chain that they form, however long ago it was. Where a settle entry has begun
// the chain anew after slot since, that entry's slot is returned: what was condemned before it is not known.
func (l *Ledger) Condemned(ctx context.Context, newest, since uint64, f func(seq uint64, time int64, c *format.Condemn) error) (settled uint64, _ error) {
	for at := newest; at > since; {
		e, err := l.SignedByAdmin(ctx, at)
		if err != nil {
			return 0, err
		}
		if e.Kind == format.KindSettle {
			return at, nil
		}
		if e.Kind != format.KindCondemn {
			return 0, fmt.Errorf("log entry %d: %w: it condemns nothing", at, ErrAltered)
		}
		c, err := format.DecodeCondemn(e.Body)
		if err != nil {
			return 0, fmt.Errorf("log entry %d: %w", at, err)
		}
		if c.Previous >= at {
			return 0, fmt.Errorf("log entry %d: %w", at, ErrAltered)
		}
		if err := f(at, e.Time, c); err != nil {
			return 0, err
		}
		at = c.Previous
	}
	return 0, nil
}

// Trusted returns the log as it adds up from the newest checkpoint or settle entry that the administrator signed,
// with every entry after it verified by this process. A writer's checkpoint may leave out what others committed; who
// deletes must not go by it. The slot of that entry comes with it.
func (l *Ledger) Trusted(ctx context.Context) (_ *Ledger, base uint64, _ error) {
	st, head := l.At()
	t, base, err := l.trusted(ctx, head)
	if err != nil {
		return nil, 0, err
	}
	if !sameState(t.state, st) {
		return nil, 0, fmt.Errorf("commit log: %w: where a check names an entry that is lost, bring it back from a copy of the store, or accept its loss", errContradicts)
	}
	return t, base, nil
}

// trusted is Trusted for a log that may add up to something else than this process has.
func (l *Ledger) trusted(ctx context.Context, head Pin) (_ *Ledger, base uint64, _ error) {
	t := &Ledger{c: l.c}
	admin := SignerID(l.c.AdminKey)
	for at := head.Seq; ; {
		var err error
		if base, err = t.checkpointOf(ctx, at); err != nil {
			return nil, 0, err
		}
		ok, signer, err := t.start(ctx, base)
		if err != nil {
			return nil, 0, err
		}
		if ok && signer == admin {
			if err := t.follow(ctx, base+1, head.Seq); err != nil {
				return nil, 0, err
			}
			break
		}
		if base == 0 {
			return nil, 0, fmt.Errorf("commit log: entry 0: %w", ErrAltered)
		}
		at = base - 1
	}
	if t.head != head {
		return nil, 0, fmt.Errorf("commit log: entry %d: %w", head.Seq, ErrAltered)
	}
	return t, base, nil
}
