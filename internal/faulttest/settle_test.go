package faulttest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
)

// What an administrator does about a slot of the log that is lost, and nobody has a copy of.

// rot has the store show other bytes in a slot of the log from now on, for good.
func (x *scene) rot(seq uint64) { x.s.Set(format.EntryKey(seq), []byte("rubbish")) }

// give gives up what a snapshot was committed with.
func (x *scene) give(ids ...format.SnapID) {
	for _, id := range ids {
		x.doomed[id], x.gone[id] = true, true
	}
}

func (x *scene) settle(slots ...uint64) *engine.Settled {
	x.Helper()
	rep, err := x.main().Settle(x.Context(), slots, nil)
	require.NoError(x, err)
	return rep
}

// refused requires that settling names just these as lost, beside what it is asked for.
func (x *scene) refused(slots []uint64, ids []format.SnapID, unnamed ...string) {
	x.Helper()
	head := x.main().Head()
	_, err := x.main().Settle(x.Context(), slots, ids)
	var e *engine.LossError
	require.ErrorAs(x, err, &e)
	require.Equal(x, unnamed, e.Unnamed)
	require.Empty(x, e.Sound)
	require.Equal(x, head, x.main().Head())
}

// quiet requires that a check finds nothing but slots whose loss was accepted.
func (x *scene) quiet(accepted int64) {
	x.Helper()
	rep, err := x.main().Check(x.Context(), engine.CheckOptions{ReadAll: true})
	require.NoError(x, err)
	require.NoError(x, findings(rep))
	require.Equal(x, accepted, rep.Accepted)
}

// TestSettle: the entry of a snapshot in the midst of the log is lost. Later snapshots have built on what it stored, and
// it alone told where that is. All but that snapshot stays, and everything works again.
func TestSettle(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	f := some(1, 20)
	x.must(x.main(), "one", some(2, 3))
	lost := x.must(x.main(), "two", f)
	seq := x.main().Head().Seq
	f["more"] = []byte("more")
	x.must(x.main(), "three", f)
	x.rot(seq)

	_, err := x.main().Compact(t.Context(), later)
	require.ErrorIs(t, err, engine.ErrDamaged)
	require.ErrorContains(t, err, "accept its loss")
	x.refused(nil, nil, format.EntryKey(seq))

	rep := x.settle(seq)
	require.Equal(t, []uint64{seq}, rep.Slots)
	require.Equal(t, []uint64{seq}, rep.Unknown)
	require.Empty(t, rep.Damaged)
	require.Positive(t, rep.Located)
	require.False(t, rep.RecordLost)
	x.give(lost)
	x.quiet(1)
	x.sound()
	_, sure, err := x.main().Snapshots(t.Context())
	require.NoError(t, err)
	require.True(t, sure)
	x.must(x.main(), "two", f)
	x.sound()
	x.quiet(1)

	rep = x.settle(seq)
	require.True(t, rep.Again)
	head := x.main().Head()
	for _, sound := range []uint64{0, seq - 1, head.Seq, head.Seq + 1} {
		_, err = x.main().Settle(t.Context(), []uint64{sound}, nil)
		var e *engine.LossError
		require.ErrorAs(t, err, &e)
		require.Equal(t, []string{format.EntryKey(sound)}, e.Sound)
	}
	require.Equal(t, head, x.main().Head())
}

var _ = source.FromFS
var _ = faultstore.On
var _ = time.Hour

// TestSettleMovedContent: a condemn entry is lost, and what it condemned is deleted. It alone told where content was moved
// to; nothing of that is lost.
func TestSettleMovedContent(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	for i := range 4 { // several packs to be moved into one
		x.must(x.main(), "s", some(uint64(i), 20))
	}
	gone := x.must(x.main(), "t", some(9, 20))
	x.forget(gone)
	before := x.main().Head().Seq
	rep := x.compact(engine.CompactOptions{Grace: time.Nanosecond, Abandoned: time.Nanosecond, Workers: 1})
	require.Positive(t, rep.Rewritten)
	require.Positive(t, rep.Deleted)
	after := x.main().Head().Seq
	require.Greater(t, after, before+1)
	x.must(x.main(), "u", some(3, 22))
	for lost := before + 1; lost <= after; lost++ {
		y := &scene{t, x.truth.clone(), x.s.Clone()}
		y.rot(lost)
		_, err := y.main().Compact(t.Context(), later)
		require.Error(t, err)
		_, err = y.main().Settle(t.Context(), nil, nil)
		var e *engine.LossError
		require.ErrorAs(t, err, &e)
		t.Log(lost, e)
		rep := y.settle(lost)
		require.Empty(t, rep.Damaged)
		y.quiet(1)
		y.sound()
		y.must(y.main(), "s", some(1, 20))
		y.sound()
	}
}
