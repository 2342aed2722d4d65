package ledger_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

func TestCreateAppendOpen(t *testing.T) {
	f, l := begin(t)
	_, err := ledger.Create(t.Context(), f.c, f.admin, f.enrolled, nil)
	require.ErrorIs(t, err, store.ErrExists)

	ref := f.add(l, proposal(format.KindSnapshot, f.one, commitBody(1, segment(1, f.one))))
	require.Equal(t, uint64(1), ref.Seq)
	f.add(l, proposal(format.KindPartial, f.two, commitBody(0, segment(2, f.two))))
	slot := format.SlotInfo{ID: format.SlotID{10}, Kind: format.SlotKMS, Added: 2}
	f.add(l, proposal(format.KindSlots, f.admin, (&format.SlotChange{Slot: slot}).Append(nil)))
	f.add(l, proposal(format.KindSlots, f.admin, (&format.SlotChange{Removed: true, Slot: format.SlotInfo{ID: format.SlotID{9}}}).Append(nil)))
	f.add(l, checkpoint(f.two))

	for _, x := range []*ledger.Ledger{l, f.open()} {
		st := x.State()
		require.Equal(t, []format.Segment{segment(1, f.one), segment(2, f.two)}, st.Segments)
		require.Equal(t, []format.SlotInfo{slot}, st.Slots)
		require.Equal(t, *f.enrolled, st.Enrolment)
		require.Len(t, st.Snapshots, 1)
		require.Equal(t, ref.Hash, st.Snapshots[0].Hash)
		require.Equal(t, l.Head(), x.Head())
		require.Empty(t, x.Damage())
		damage, err := x.Verify(t.Context())
		require.NoError(t, err)
		require.Empty(t, damage)
	}

	e, err := l.Entry(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, format.KindSnapshot, e.Kind)
	f.s.Set(format.EntryKey(1), f.s.Get(format.EntryKey(2)))
	_, err = l.Entry(t.Context(), ref)
	require.ErrorContains(t, err, "other bytes than were committed")
	f.s.Remove(format.EntryKey(1))
	_, err = l.Entry(t.Context(), ref)
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestOpenWithoutLog(t *testing.T) {
	f, _ := begin(t)
	_, err := ledger.Open(t.Context(), f.on(faultstore.New()), nil)
	require.ErrorIs(t, err, ledger.ErrNoLog)

	f.s.Set(format.EntryKey(0), []byte("no entry"))
	_, err = ledger.Open(t.Context(), f.c, nil)
	require.ErrorContains(t, err, "cannot be opened without it")
	_, err = ledger.Open(cancelled(), f.c, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestOpenManyEntries(t *testing.T) {
	for name, checkpoints := range map[string]bool{"with checkpoints": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			f, l := begin(t)
			f.fill(l, 1, 300, checkpoints)
			x := f.open()
			require.Equal(t, l.Head(), x.Head())
			require.Equal(t, wantIDs(1, 300), ids(x))
			require.Equal(t, l.State(), x.State())
			require.Equal(t, !checkpoints, x.CheckpointDue())
			damage, err := x.Verify(t.Context())
			require.NoError(t, err)
			require.Empty(t, damage)
			require.NotNil(t, x.Memory())
		})
	}
}

// An opening costs a search for the head, one checkpoint and at most CheckpointEvery entries, however long
// the log is; a pinned one costs one round of probes.
func TestOpeningIsCheap(t *testing.T) {
	n := 1000
	if os.Getenv("CAREKEEP_LONG") != "" {
		n = 10_000
	}
	f, l := begin(t)
	f.fill(l, 1, n, true)
	f.s.SetHook(nil) // counts from here
	x := f.open()
	t.Logf("opening %d entries: %d requests", n, f.s.Ops())
	require.Less(t, f.s.Ops(), 64+80)
	require.Len(t, x.State().Snapshots, n)
	require.Equal(t, l.Head(), x.Head())

	f.s.SetHook(nil)
	y, err := ledger.Open(t.Context(), f.c, x.Memory())
	require.NoError(t, err)
	require.Equal(t, l.State(), y.State())
	require.LessOrEqual(t, f.s.Ops(), 9)
}

func TestMemory(t *testing.T) {
	f, l := begin(t)
	f.fill(l, 1, 5, false)
	m := l.Memory()
	f.fill(l, 6, 9, false)
	x, err := ledger.Open(t.Context(), f.c, m)
	require.NoError(t, err)
	require.Equal(t, l.Head(), x.Head())
	require.Equal(t, wantIDs(1, 9), ids(x))
	f.fill(l, 10, 12, false)
	require.NoError(t, x.Refresh(t.Context()))
	require.Equal(t, wantIDs(1, 12), ids(x))

	m.State = m.State[:3]
	_, err = ledger.Open(t.Context(), f.c, m)
	require.ErrorContains(t, err, "remembered state")
}

func TestGaps(t *testing.T) { synctest.Test(t, gaps) } // the pauses between readings are not waited for

func gaps(t *testing.T) {
	for n := 1; n <= 7; n++ {
		for _, first := range []int{1, 3, 20, 31} {
			f, l := begin(t)
			f.fill(l, 1, 40, false)
			var lost []int
			for i := range n {
				lost = append(lost, first+i)
				f.s.Remove(format.EntryKey(uint64(first + i)))
			}
			x := f.open()
			require.Equal(t, wantIDs(1, 40, lost...), ids(x), "%d from %d", n, first)
			require.Equal(t, l.Head(), x.Head())
			require.Len(t, x.Damage(), n)
			for i, d := range x.Damage() {
				require.Equal(t, ledger.Damage{Seq: uint64(first + i)}, d)
			}
			require.Nil(t, x.Memory(), "a host must look again")
			damage, err := x.Verify(t.Context())
			require.NoError(t, err)
			require.Equal(t, x.Damage(), damage)
		}
	}
}

// A slot that the store does not show at once is read again, and does not become damage.
func TestLaggingSlot(t *testing.T) {
	f, l := begin(t)
	f.fill(l, 1, 10, false)
	f.s.SetHook(faultstore.Nth(1, faultstore.On(faultstore.Read, format.EntryKey(4)), faultstore.Fail(gcerrors.NotFound)))
	x := f.open()
	require.Empty(t, x.Damage())
	require.Equal(t, wantIDs(1, 10), ids(x))

	f.s.SetHook(faultstore.Nth(1, faultstore.On(faultstore.Read, format.EntryKey(4)), faultstore.Flip(60, 1)))
	x = f.open()
	require.Empty(t, x.Damage())
	require.Equal(t, wantIDs(1, 10), ids(x))
}

// A process from which a slot is withheld must not write a checkpoint that hides it from all others.
func TestDoubtPutsOffCheckpoint(t *testing.T) {
	f, l := begin(t)
	f.fill(l, 1, ledger.CheckpointEvery+5, false)
	require.True(t, l.CheckpointDue())
	require.True(t, l.CheckpointAllowed())
	f.s.Remove(format.EntryKey(60))
	x := f.open()
	require.False(t, x.CheckpointDue())
	require.False(t, x.CheckpointAllowed())
	f.add(x, snapshot(1000, f.two)) // what it adds chains to what the others saw
	require.NoError(t, l.Refresh(t.Context()))
	require.Empty(t, l.Damage())
	require.Equal(t, x.Head(), l.Head())
}

func TestTwoWriters(t *testing.T) {
	f, l := begin(t)
	a, b := f.open(), f.open()
	const each = 40
	var wg sync.WaitGroup
	refs := make([][]format.SnapRef, 2)
	for i, x := range []*ledger.Ledger{a, b} {
		wg.Go(func() {
			by := []*seal.Signer{f.one, f.two}[i]
			for n := range each {
				ref, err := x.Append(context.Background(), snapshot(1000*i+n, by))
				if err != nil {
					t.Error(err)
					return
				}
				refs[i] = append(refs[i], ref)
			}
		})
	}
	wg.Wait()
	require.NoError(t, a.Refresh(t.Context()))
	require.NoError(t, b.Refresh(t.Context()))
	require.NoError(t, l.Refresh(t.Context()))
	require.Equal(t, uint64(2*each), l.Head().Seq)
	require.Equal(t, a.State(), b.State())
	require.Equal(t, a.State(), l.State())
	require.Equal(t, a.Head(), b.Head())
	require.ElementsMatch(t, slices.Concat(wantIDs(0, each-1), wantIDs(1000, 1000+each-1)), ids(a))
	for _, ref := range slices.Concat(refs...) {
		require.Equal(t, ref.Hash, a.State().Snapshots[ref.Seq-1].Hash)
	}
}

// Build is given the state that the entry will follow, again after every lost race.
func TestLostRaceBuildsAgain(t *testing.T) {
	f, a := begin(t)
	b := f.open()
	f.add(a, snapshot(1, f.one))
	f.add(a, snapshot(2, f.one))
	var saw []int
	p := snapshot(3, f.two)
	p.Build = func(s *format.State) ([]byte, []byte, error) {
		saw = append(saw, len(s.Snapshots))
		return commitBody(3), nil, nil
	}
	require.Equal(t, uint64(3), f.add(b, p).Seq)
	require.Equal(t, []int{0, 2}, saw)

	stop := errors.New("the other one has done it")
	p.Build = func(s *format.State) ([]byte, []byte, error) {
		if len(s.Snapshots) == 3 {
			return nil, nil, stop
		}
		return commitBody(4), nil, nil
	}
	_, err := a.Append(t.Context(), p)
	require.ErrorIs(t, err, stop)
	require.Equal(t, uint64(3), a.Head().Seq, "the lost race was read")
	require.NotContains(t, f.s.Keys(), format.EntryKey(4))
}

// The answer to a write may be lost: the entry is in the log once all the same.
func TestLostAnswer(t *testing.T) {
	f, l := begin(t)
	f.s.SetHook(faultstore.Nth(1, faultstore.On(faultstore.Write, "log/"), faultstore.Fail(gcerrors.Internal).Applied()))
	ref := f.add(l, snapshot(1, f.one))
	require.Equal(t, uint64(1), ref.Seq)
	f.s.SetHook(faultstore.Nth(0, faultstore.On(faultstore.Write, "log/"), faultstore.Fail(gcerrors.Internal)))
	_, err := l.Append(t.Context(), snapshot(2, f.one))
	require.Error(t, err)
	f.s.SetHook(nil)
	f.add(l, snapshot(2, f.one))
	require.Equal(t, wantIDs(1, 2), ids(f.open()))
	_, err = l.Append(cancelled(), snapshot(3, f.one))
	require.ErrorIs(t, err, context.Canceled)
}

// Whoever is not enrolled, or not any more, writes nothing; a writer does not do an administrator's work.
func TestWhoMayWrite(t *testing.T) {
	f, l := begin(t)
	before := f.forge(l, format.KindSnapshot, f.two, commitBody(9))
	for name, p := range map[string]ledger.Proposal{
		"stranger":         snapshot(1, f.stranger),
		"writer enrols":    proposal(format.KindEnrol, f.one, f.foreign.Append(nil)),
		"writer's slot":    proposal(format.KindSlots, f.one, (&format.SlotChange{}).Append(nil)),
		"second genesis":   proposal(format.KindGenesis, f.admin, l.State().Append(nil)),
		"malformed commit": proposal(format.KindSnapshot, f.one, []byte{1}),
		"unknown kind":     proposal(99, f.one, nil),
	} {
		_, err := l.Append(t.Context(), p)
		require.ErrorContains(t, err, "would not be valid", name)
	}
	require.Len(t, f.s.Keys(), 1)

	alone := &format.Enrolment{Writers: [][]byte{f.one.Public()}, Recipients: f.enrolled.Recipients}
	f.add(l, proposal(format.KindEnrol, f.admin, alone.Append(nil)))
	_, err := l.Append(t.Context(), snapshot(1, f.two))
	require.ErrorContains(t, err, "not enrolled")
	f.put(l, before) // of slot 1
	f.add(l, snapshot(2, f.one))
	f.add(l, checkpoint(f.one))
	x := f.open()
	require.Equal(t, *alone, x.State().Enrolment)
	require.Equal(t, uint64(1), x.State().Enrolled)
	require.Equal(t, wantIDs(2, 2), ids(x))
}

// An entry that no reader would take for its size is refused before it is in the log, where nobody could read it or
// what follows.
func TestTooLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a gigabyte of memory")
	}
	f, l := begin(t)
	f.fill(l, 1, 2, false)
	const most = 128 << 20
	later := format.EntryKind(200) // which readers pass over
	_, err := l.Append(t.Context(), proposal(later, f.admin, make([]byte, most)))
	require.ErrorContains(t, err, "larger than any reader takes")
	require.Nil(t, f.s.Get(format.EntryKey(l.Head().Seq+1)))
	f.add(l, snapshot(3, f.one))
	require.Equal(t, wantIDs(1, 3), ids(f.open()))
}
