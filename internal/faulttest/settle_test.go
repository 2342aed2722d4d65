package faulttest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
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
	relisted := int64(0)
	for lost := before + 1; lost <= after; lost++ {
		y := &scene{t, x.truth.clone(), x.s.Clone()}
		y.rot(lost)
		_, err := y.main().Compact(t.Context(), later)
		require.Error(t, err)
		y.refused(nil, nil, format.EntryKey(lost))
		rep := y.settle(lost)
		require.Empty(t, rep.Damaged)
		relisted += rep.Relisted
		y.quiet(1)
		y.sound()
		y.must(y.main(), "s", some(1, 20))
		y.sound()
	}
	require.Positive(t, relisted)
}

// TestSettleHosts: the newest entry is lost. The host that wrote it takes the store for rolled back, until somebody else
// has accepted the loss; then it goes on.
func TestSettleHosts(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	one, two := t.TempDir(), t.TempDir()
	x.must(x.open(x.s.Bucket(), key("main"), two), "two", some(2, 5))
	x.must(x.main(), "three", some(3, 5))
	running := x.open(x.s.Bucket(), key("main"), one)
	f := some(1, 20)
	lost := x.must(running, "one", f)
	seq := running.Head().Seq
	x.rot(seq)

	open := func(host string) error {
		r, err := engine.Open(t.Context(), x.s.Bucket(), key("main"), tiny(host))
		if err == nil {
			r.Close()
		}
		return err
	}
	require.ErrorIs(t, open(one), ledger.ErrRolledBack)
	_, err := running.Settle(t.Context(), []uint64{seq}, nil)
	require.ErrorContains(t, err, "open the repository anew")
	_, sure, err := x.main().Snapshots(t.Context())
	require.NoError(t, err)
	require.False(t, sure)
	x.settle(seq)
	x.give(lost)
	x.quiet(1)

	require.NoError(t, open(one))
	for range 2 { // what it remembers, and what it remembers then
		for _, host := range []string{one, two} {
			r := x.open(x.s.Bucket(), key("main"), host)
			_, sure, err = r.Snapshots(t.Context())
			require.NoError(t, err)
			require.True(t, sure)
			x.must(r, "one", f)
		}
	}
	x.must(running, "one", f)
	x.sound()
	x.quiet(1)

	x.must(x.open(x.s.Bucket(), key("main"), one), "one", f)
	x.rot(x.main().Head().Seq) // which nobody has accepted
	require.ErrorIs(t, open(one), ledger.ErrRolledBack)
}

// TestSettleByWhoKnowsMore: a host remembers what a lost entry said, and settles the log. A host that knows nothing finds
// what it would have found.
func TestSettleByWhoKnowsMore(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	host := t.TempDir()
	r := x.open(x.s.Bucket(), key("main"), host)
	f := some(1, 20)
	lost := x.must(r, "one", f)
	seq := r.Head().Seq
	f["more"] = []byte("more")
	x.must(r, "one", f)
	x.rot(seq)
	rep, err := x.open(x.s.Bucket(), key("main"), host).Settle(t.Context(), []uint64{seq}, nil)
	require.NoError(t, err)
	require.Equal(t, []format.SnapID{lost}, rep.Snapshots)
	require.Empty(t, rep.Unknown)
	require.Zero(t, rep.Located)
	x.give(lost)
	x.quiet(1)
	x.must(x.open(x.s.Bucket(), key("main"), host), "one", f)
	x.sound()
}

// TestSettleBeside: somebody commits while the log is being settled: a run, or another administrator, who settles it.
func TestSettleBeside(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"run", "settle", "compact"} {
		for _, at := range []func(faultstore.Op) bool{faultstore.On(faultstore.List, "i/"), faultstore.On(faultstore.Write, "log/")} {
			x := newScene(t)
			f := some(1, 20)
			lost := x.must(x.main(), "one", f)
			seq := x.main().Head().Seq
			f["more"] = []byte("more")
			x.must(x.main(), "one", f)
			x.give(lost)
			x.rot(seq)
			b := x.beside(at, func() faultstore.Fault {
				switch what {
				case "run":
					x.must(x.main(), "two", f)
				case "settle":
					x.settle(seq)
				case "compact":
					x.settle(seq)
					x.compact(atOnce)
				}
				return faultstore.Fault{}
			})
			rep, err := x.open(b, key("main"), "").Settle(t.Context(), []uint64{seq}, nil)
			require.NoError(t, err)
			require.Equal(t, what != "run", rep.Again)
			x.quiet(1)
			x.sound()
		}
	}
}

// TestSettleBesideRun: what a run under way relies on was condemned and deleted, and the entry that condemned it is lost.
// When the log has been settled the run begins again, and stores it.
func TestSettleBesideRun(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	f := some(1, 20)
	a := x.must(x.main(), "one", f)
	f["z/last"] = []byte("last")
	p := pausing(f, "z/last")
	done := make(chan error, 1)
	r := x.main()
	go func() {
		_, err := x.from(r, "two", source.FromFS(p), f)
		done <- err
	}()
	<-p.at
	x.forget(a)
	before := x.main().Head().Seq
	x.compact(atOnce)
	after := x.main().Head().Seq
	x.must(x.main(), "other", some(3, 2))
	require.Greater(t, after, before)
	x.rot(before + 1)
	x.settle(before + 1)
	close(p.on)
	require.NoError(t, <-done)
	x.quiet(1)
	x.sound()
}

// TestSettleBeforeCutOffRun: what a run that was cut off had stored was condemned and deleted by an entry that is lost. The
// run that follows it takes nothing of that up.
func TestSettleBeforeCutOffRun(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	x.must(x.main(), "other", some(3, 2))
	host := t.TempDir()
	f := some(1, 20)
	b := x.beside(faultstore.On(faultstore.Write, "m/"), func() faultstore.Fault { return faultstore.Fail(gcerrors.PermissionDenied) })
	_, err := x.backup(x.open(b, key("main"), host), "s", f)
	require.Error(t, err)
	before := x.main().Head().Seq
	require.Positive(t, x.compact(atOnce).Deleted)
	x.must(x.main(), "other", some(3, 3))
	x.rot(before + 1)
	x.settle(before + 1)
	x.must(x.open(x.s.Bucket(), key("main"), host), "s", f)
	x.quiet(1)
	x.sound()
}

// TestSettleLostForgetting: the entry is lost that forgot a snapshot and held the record. The snapshot is back where its
// content is, and who settles the log is told of the record.
func TestSettleLostForgetting(t *testing.T) {
	t.Parallel()
	for _, compacted := range []bool{false, true} {
		x := newScene(t)
		require.NoError(t, x.main().Forget(t.Context(), x.main().Head(), format.Hash{}, nil, []byte("older record")))
		a := x.must(x.main(), "one", some(1, 20))
		x.must(x.main(), "other", some(2, 3))
		x.forget(a)
		seq := x.main().Head().Seq
		if compacted {
			x.compact(atOnce)
		}
		for range ledger.CheckpointEvery {
			x.must(x.main(), "more", some(3, 2)) // and a writer's checkpoint, which knows of it
		}
		x.rot(seq)
		_, err := x.main().Record(t.Context())
		require.ErrorContains(t, err, "accept its loss")
		_, err = x.main().Compact(t.Context(), later)
		require.ErrorContains(t, err, "accept its loss")
		rep := x.settle(seq)
		require.True(t, rep.RecordLost)
		require.Empty(t, rep.Unknown)
		require.False(t, rep.Recorded.IsZero())
		b, err := x.main().Record(t.Context())
		require.NoError(t, err)
		require.Equal(t, "older record", string(b))
		if compacted {
			require.Empty(t, rep.Returned)
		} else {
			require.Equal(t, []format.SnapID{a}, rep.Returned)
			x.gone[a] = false
			x.doomed[a] = false
		}
		x.quiet(1)
		x.sound()
	}
}

// TestSettleNamedSnapshot: a checkpoint names a snapshot whose own entry is lost. Nothing is in doubt, but nobody can open it.
func TestSettleNamedSnapshot(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	a := x.must(x.main(), "one", some(1, 20))
	seq := x.main().Head().Seq
	for range ledger.CheckpointEvery {
		x.must(x.main(), "more", some(3, 2))
	}
	x.rot(seq)
	refs, sure, err := x.main().Snapshots(t.Context())
	require.NoError(t, err)
	require.True(t, sure)
	_, err = x.main().Snapshot(t.Context(), refs[0])
	require.Error(t, err)
	x.refused(nil, nil, format.EntryKey(seq))
	rep := x.settle(seq)
	require.Equal(t, []format.SnapID{a}, rep.Snapshots)
	x.give(a)
	x.quiet(1)
	x.sound()
}

// TestSettleBesideSweeper: a collector has read an entry that condemned a pack, and is about to delete it, when that entry is
// lost. Once the log is settled no run relies on the pack.
func TestSettleBesideSweeper(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	// The secret of a repository may cut its trees so that all begin with one node, and its pack stays: not that of the first.
	x.must(x.main(), "other", some(2, 2))
	f := some(1, 20)
	a := x.must(x.main(), "one", f)
	g := files{}
	for name, b := range f {
		g["e/"+strings.ReplaceAll(name, "/", "-")] = b
	}
	x.must(x.main(), "more", g)             // which keeps the session of the first
	for i := range ledger.CheckpointEvery { // so that one segment names the packs of many
		x.must(x.main(), "other", some(2, 3+i))
	}
	x.forget(a)
	seq := x.main().Head().Seq + 1
	rep, _ := x.open(x.oneEntry(), key("main"), "").Compact(t.Context(), later) // without a checkpoint, which would know of it
	require.Positive(t, rep.Condemned)
	x.must(x.main(), "other", some(2, 3))
	settled := false
	b := x.beside(faultstore.On(faultstore.Delete, "m/"), func() faultstore.Fault {
		x.rot(seq)
		x.settle(seq)
		x.must(x.main(), "two", f)
		settled = true
		return faultstore.Fault{}
	})
	o := later
	o.Grace = time.Nanosecond
	_, _ = x.open(b, key("main"), "").Compact(t.Context(), o)
	require.True(t, settled)
	x.quiet(1)
	x.sound()
}

// TestSettleDamagedSnapshot: beside an entry a pack is lost. The snapshots that need it have to be named; they stay, for what
// is left of them. The next run of a host that remembers the pack stores what was in it again.
func TestSettleDamagedSnapshot(t *testing.T) {
	t.Parallel()
	for _, of := range []format.Type{format.TypeData, format.TypeMetadata} {
		t.Run(string(rune(of)), func(t *testing.T) { settleDamaged(t, of) })
	}
}

func settleDamaged(t *testing.T, of format.Type) {
	x := newScene(t)
	host := t.TempDir()
	x.must(x.main(), "other", some(2, 3))
	f := some(1, 20)
	a := x.must(x.open(x.s.Bucket(), key("main"), host), "one", f)
	other := x.must(x.main(), "other", some(2, 4))
	seq := x.main().Head().Seq
	x.must(x.main(), "third", some(4, 3))
	x.rot(seq)
	x.give(other)
	refs, _, err := x.main().Snapshots(t.Context())
	require.NoError(t, err)
	list, err := x.main().Refs(t.Context(), refs[1].Refs)
	require.NoError(t, err)
	require.Equal(t, a, refs[1].ID)
	var ids []format.SnapID // of those that need what is gone: a, and what may share a node with it
	var names []string
	for _, ref := range refs {
		other, err := x.main().Refs(t.Context(), ref.Refs)
		require.NoError(t, err)
		if slices.ContainsFunc(other, func(o format.Object) bool { return o.Type == of && slices.Contains(list, o) }) {
			ids, names = append(ids, ref.ID), append(names, ref.ID.String())
		}
	}
	require.Contains(t, ids, a)
	for _, o := range list {
		if o.Type == of {
			x.s.Remove(o.Key())
		}
	}
	slots := []uint64{seq}
	x.refused(nil, nil, append([]string{format.EntryKey(seq)}, names...)...)
	x.refused(slots, nil, names...)
	_, err = x.main().Settle(t.Context(), slots, append(slices.Clone(ids), format.SnapID{1}))
	var e *engine.LossError
	require.ErrorAs(t, err, &e)
	require.Equal(t, []string{format.SnapID{1}.String()}, e.Sound)
	rep, err := x.main().Settle(t.Context(), slots, ids)
	require.NoError(t, err)
	require.Equal(t, ids, rep.Damaged)
	before := x.s.Clone()
	x.must(x.open(x.s.Bucket(), key("main"), host), "one", f)
	x.forget(ids...)
	x.sound()
	x.quiet(1)
	x.s = before // where nobody remembers anything
	x.truth = newTruth()
	x.must(x.main(), "one", f)
	for _, r := range refs {
		if r.ID != other {
			x.forget(r.ID)
		}
	}
	x.sound()
	x.quiet(1)
}

// TestFlipSettled flips bits of every entry of a log that was settled: whoever reads it gets the snapshots as they are, or
// is told, and a check finds it. What is in the slot that was given up makes no difference.
func TestFlipSettled(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	x.must(x.main(), "one", some(1, 20))
	lost := x.must(x.main(), "two", some(2, 5))
	seq := x.main().Head().Seq
	x.must(x.main(), "one", some(1, 22))
	x.give(lost)
	x.rot(seq)
	x.settle(seq)
	x.must(x.main(), "one", some(1, 21))
	want := x.main().Head()
	require.NoError(t, x.audit(t.Context(), x.s.Bucket()))
	every := 41
	if long() {
		every = 1
	}
	var c tally
	for slot := range want.Seq + 1 {
		key := format.EntryKey(slot)
		n := (len(x.s.Get(key)) + every - 1) / every
		workers(n, func(i int) {
			s := x.s.Clone()
			flip(key, i*every, 1<<(i%8))(s)
			c.add(key)
			err := x.audit(t.Context(), s.Bucket())
			if slot == seq && err != nil || slot != seq && err == nil {
				c.lost("%s, byte %d: %v", key, i*every, err)
			}
		})
	}
	c.report(t)
}
