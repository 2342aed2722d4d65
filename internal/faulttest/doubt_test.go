package faulttest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
)

// Which slots of the log may have held a snapshot is asked before everything that would delete its content or vouch
// for what is in the slot now, and not once when a collector begins.

// lose has another process commit a snapshot, of which the store then shows other bytes in the log. What it returns
// brings the entry back.
func (x *scene) lose(r *engine.Repo, series string, f files) (back func()) {
	x.Helper()
	x.must(r, series, f)
	k := format.EntryKey(r.Head().Seq)
	entry := x.s.Get(k)
	x.s.Set(k, []byte("rubbish"))
	return func() { x.s.Set(k, entry) }
}

// grow adds n entries to the log that change nothing.
func (x *scene) grow(n int) {
	x.Helper()
	r := x.main()
	for range n {
		require.NoError(x, r.Forget(x.Context(), r.Head(), format.Hash{}, nil, nil))
	}
}

// later is a compact that leaves young things alone, and packs as they are.
var later = engine.CompactOptions{Grace: time.Hour, Abandoned: time.Hour, Waste: 1, Workers: 1}

// TestDoubtWhileMarking: an entry that came while a collector was marking cannot be read. What its snapshot relies on is
// not condemned, although no other snapshot needs it.
func TestDoubtWhileMarking(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	f := some(1, 20)
	a := x.must(x.main(), "one", f)
	x.must(x.main(), "other", some(2, 3))
	x.forget(a)
	var back func()
	b := x.beside(faultstore.On(faultstore.List, "refs/"), func() faultstore.Fault {
		back = x.lose(x.main(), "two", f)
		return faultstore.Fault{}
	})
	r := x.open(b, key("main"), "")
	_, err := r.Compact(t.Context(), atOnce)
	require.NotNil(t, back)
	require.ErrorIs(t, err, engine.ErrDamaged)
	back()
	x.sound()
}

// TestDoubtWhileDeleting: an entry that came while a collector deleted cannot be read. That all is deleted is not written
// down after it.
func TestDoubtWhileDeleting(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	a := x.must(x.main(), "one", some(1, 20))
	x.must(x.main(), "other", some(2, 3))
	x.forget(a)
	x.compact(later)
	var back func()
	b := x.beside(faultstore.On(faultstore.Delete, "p/"), func() faultstore.Fault {
		back = x.lose(x.main(), "two", some(3, 3))
		return faultstore.Fault{}
	})
	o := later
	o.Grace = time.Nanosecond
	rep, err := x.open(b, key("main"), "").Compact(t.Context(), o)
	require.NotNil(t, back)
	require.ErrorIs(t, err, engine.ErrDamaged)
	require.Positive(t, rep.Deleted)
	back()
	x.sound()
}

// TestDoubtWhileCheckpointing: an entry that was faster than the checkpoint of a collector, or of a run, cannot be read. No
// checkpoint without its snapshot is written after it.
func TestDoubtWhileCheckpointing(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"compact", "backup"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			x := newScene(t)
			x.must(x.main(), "one", some(1, 5))
			x.grow(ledger.CheckpointEvery)
			var back func()
			begun, writes := false, 0
			b := x.s.Gated(func(o faultstore.Op) (faultstore.Fault, func()) {
				if begun && faultstore.On(faultstore.Write, "log/")(o) {
					if writes++; what == "compact" || writes == 2 {
						begun = false
						back = x.lose(x.open(x.oneEntry(), key("main"), ""), "two", some(2, 3))
					}
				}
				return faultstore.Fault{}, func() {}
			})
			r := x.open(b, key("main"), "")
			begun = true
			if what == "compact" {
				_, err := r.Compact(t.Context(), later)
				require.ErrorIs(t, err, engine.ErrDamaged)
			} else {
				x.must(r, "three", some(3, 3))
			}
			require.NotNil(t, back)
			back()
			x.sound()
		})
	}
}

// oneEntry opens the store for a run that may commit, and then write no checkpoint.
func (x *scene) oneEntry() *blob.Bucket {
	var writes atomic.Int64
	return x.s.Gated(func(o faultstore.Op) (f faultstore.Fault, done func()) {
		if faultstore.On(faultstore.Write, "log/")(o) && writes.Add(1) > 1 {
			f = faultstore.Fail(gcerrors.PermissionDenied)
		}
		return f, func() {}
	})
}

// TestWaitingIsNotCondemnedTwice: what was condemned and waits for its grace to end is not condemned again by every
// compact until then, which would put its end off and have the log grow.
func TestWaitingIsNotCondemnedTwice(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	a := x.must(x.main(), "one", some(1, 20))
	x.must(x.main(), "other", some(2, 3))
	x.forget(a)
	o := later
	o.Abandoned = time.Nanosecond
	first := x.compact(o)
	require.Positive(t, first.Condemned)
	require.Equal(t, first.Condemned, first.Waiting)
	before := x.s.Keys()
	for range 2 {
		again := x.compact(o)
		require.Zero(t, again.Condemned)
		require.Equal(t, first.Condemned, again.Waiting)
		require.Equal(t, before, x.s.Keys(), "nothing is written")
	}
	o.DryRun = true
	require.Zero(t, x.compact(o).Condemned)
	o.DryRun, o.Grace = false, time.Nanosecond
	require.Equal(t, first.Condemned, x.compact(o).Deleted)
	x.sound()
}

// TestRepackOutrunEnds: while packs are written again, others come to need all that is in them, each time. The new packs are
// of no use then, and the collector leaves it at that.
func TestRepackOutrunEnds(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	all := func() {
		for i := range 4 {
			x.must(x.main(), "more", some(uint64(10+i), 20))
		}
	}
	all()
	rounds := 0
	b := x.s.Gated(func(o faultstore.Op) (faultstore.Fault, func()) {
		if faultstore.On(faultstore.Write, "sess/")(o) { // a round begins to store what it moves
			if rounds++; rounds <= 4 {
				all()
			}
		}
		return faultstore.Fault{}, func() {}
	})
	o := later
	o.Waste = 0 // the usual
	rep, err := x.open(b, key("main"), "").Compact(t.Context(), o)
	require.NoError(t, err)
	require.Positive(t, rep.Rewritten)
	require.Equal(t, 1, rounds)
	x.sound()
}

// TestMarkedOnce: until something is committed, by itself or by others, a collector reads the lists of the snapshots, and
// lists the store, once.
func TestMarkedOnce(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	x.must(x.main(), "one", some(1, 20))
	x.must(x.main(), "other", some(2, 3))
	var lists, refs atomic.Int64
	b := x.s.Gated(func(o faultstore.Op) (faultstore.Fault, func()) {
		if o.Kind == faultstore.List {
			lists.Add(1)
		}
		if faultstore.On(faultstore.Read, "refs/")(o) {
			refs.Add(1)
		}
		return faultstore.Fault{}, func() {}
	})
	for _, want := range []struct{ moved, heads int64 }{{4, 2}, {0, 1}} {
		lists.Store(0)
		refs.Store(0)
		rep, err := x.open(b, key("main"), "").Compact(t.Context(), later)
		require.NoError(t, err)
		require.Equal(t, want.moved, rep.Rewritten)
		require.Equal(t, 5*want.heads, lists.Load(), "one for each kind of object")
		require.Equal(t, 2*want.heads, refs.Load(), "one for each snapshot")
	}
	x.sound()
}

// TestDoubtBeforeCheckpoint: a slot of which a writer's checkpoint hides that it may have held a snapshot stops a collector,
// which goes back to what the administrator has signed. As it was when the next entry vouched for it, it does not.
func TestDoubtBeforeCheckpoint(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	x.must(x.main(), "one", some(1, 5))
	slot := format.EntryKey(x.main().Head().Seq + 1)
	x.s.Set(slot, []byte("rubbish"))
	x.must(x.main(), "two", some(2, 5))
	x.grow(ledger.CheckpointEvery)
	r := x.main()
	x.must(r, "three", some(3, 5)) // and a checkpoint
	x.s.Set(slot, []byte("other rubbish"))
	r = x.main()
	refs, sure, err := r.Snapshots(t.Context())
	require.NoError(t, err)
	require.True(t, sure, "nobody sees it who begins with the checkpoint")
	require.Len(t, refs, 3)
	before := x.s.Keys()
	_, err = r.Compact(t.Context(), atOnce)
	require.ErrorIs(t, err, engine.ErrDamaged)
	require.Equal(t, before, x.s.Keys())
	x.s.Set(slot, []byte("rubbish"))
	_, err = x.main().Compact(t.Context(), atOnce)
	require.NoError(t, err)
}
