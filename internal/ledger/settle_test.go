package ledger_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
)

// settle gives slots up, and has the snapshots of l's state that are in none of them.
func settle(by *seal.Signer, l *ledger.Ledger, lost ...uint64) ledger.Proposal {
	return proposal(format.KindSettle, by, settlement(l.Head().Seq+1, l.State(), lost...).Append(nil))
}

func settlement(seq uint64, s *format.State, lost ...uint64) *format.Settle {
	x := &format.Settle{Lost: lost, State: *s}
	x.State.Snapshots = nil
	gone := map[uint64]bool{}
	for _, at := range lost {
		gone[at] = true
	}
	for _, r := range s.Snapshots {
		if !gone[r.Seq] {
			x.State.Snapshots = append(x.State.Snapshots, r)
		}
	}
	x.State.Partials, x.State.Condemned, x.State.Swept = nil, seq, seq
	return x
}

// TestSettle: nobody is in doubt after a settle entry, from wherever he has read the log, and all agree.
func TestSettle(t *testing.T) {
	f, l := begin(t)
	f.fill(l, 1, 5, false)
	f.add(l, partial(9, f.one, format.SessionID{9}))
	knows, memory := f.open(), l.Memory()
	f.s.Set(format.EntryKey(3), []byte("rubbish"))
	x := f.open()
	require.Equal(t, []uint64{3}, inDoubt(x.Damage()))
	require.Nil(t, x.Memory())
	_, err := x.Append(t.Context(), settle(f.one, x, 3))
	require.Error(t, err, "a writer")
	f.add(x, settle(f.admin, x, 3))

	want := []ledger.Damage{{Seq: 3, Settled: true, Accepted: true}}
	require.Equal(t, want, x.Damage())
	damage, err := x.Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, damage)
	require.Equal(t, wantIDs(1, 5, 3), ids(x))
	require.NoError(t, knows.Refresh(t.Context()))
	remembers, err := ledger.Open(t.Context(), f.c, memory)
	require.NoError(t, err)
	for _, y := range []*ledger.Ledger{knows, remembers, f.open()} {
		require.Equal(t, x.Head(), y.Head())
		require.Equal(t, x.State().Append(nil), y.State().Append(nil))
		require.Empty(t, y.Damage(), "nothing that this one has read")
		_, base, err := y.Trusted(t.Context())
		require.NoError(t, err)
		require.Equal(t, x.Head().Seq, base)
	}
	require.NotNil(t, x.Memory())
	y, err := ledger.Open(t.Context(), f.c, x.Memory())
	require.NoError(t, err)
	require.Equal(t, want, y.Damage())

	f.fill(x, 10, 10+ledger.CheckpointEvery, true)
	require.Equal(t, x.State().Append(nil), f.open().State().Append(nil))
	require.Empty(t, f.open().State().Partials)
	damage, err = f.open().Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, damage)
	settled, err := x.Condemned(t.Context(), x.State().Condemned, 0, nil)
	require.NoError(t, err)
	require.Equal(t, x.State().Condemned, settled, "where the chain ends")
	settled, err = x.Condemned(t.Context(), settled, settled, nil)
	require.NoError(t, err)
	require.Zero(t, settled)
}

func inDoubt(ds []ledger.Damage) (out []uint64) {
	for _, d := range ds {
		if d.InDoubt() {
			out = append(out, d.Seq)
		}
	}
	return out
}

// TestInvalidSettle: be it that a process asks for it or that the store shows it.
func TestInvalidSettle(t *testing.T) {
	for name, change := range map[string]func(f *fixture, x *format.Settle){
		"a slot ahead":        func(f *fixture, x *format.Settle) { x.Lost = []uint64{3, 7} },
		"itself":              func(f *fixture, x *format.Settle) { x.Lost = []uint64{3, 6} },
		"entry 0":             func(f *fixture, x *format.Settle) { x.Lost = []uint64{0, 3} },
		"nothing":             func(f *fixture, x *format.Settle) { x.Lost = nil },
		"a snapshot":          func(f *fixture, x *format.Settle) { x.Lost = []uint64{2, 3} },
		"a snapshot ahead":    func(f *fixture, x *format.Settle) { x.State.Snapshots[0].Seq = 6 },
		"one forgotten":       func(f *fixture, x *format.Settle) { x.State.Forgotten = []format.SnapRef{{ID: snapID(3), Seq: 3}} },
		"the record":          func(f *fixture, x *format.Settle) { x.State.Recorded = 3 },
		"a record ahead":      func(f *fixture, x *format.Settle) { x.State.Recorded = 6 },
		"condemned before":    func(f *fixture, x *format.Settle) { x.State.Condemned = 5 },
		"not swept":           func(f *fixture, x *format.Settle) { x.State.Swept = 0 },
		"a partial":           func(f *fixture, x *format.Settle) { x.State.Partials = []format.Partial{{Seq: 4}} },
		"who is enrolled":     func(f *fixture, x *format.Settle) { x.State.Enrolment = *f.foreign },
		"since when they are": func(f *fixture, x *format.Settle) { x.State.Enrolled = 4 },
	} {
		t.Run(name, func(t *testing.T) {
			f, l := begin(t)
			f.fill(l, 1, 5, false)
			f.s.Set(format.EntryKey(3), []byte("rubbish"))
			l = f.open()
			x := settlement(6, l.State(), 3)
			change(f, x)
			before := l.State()
			_, err := l.Append(t.Context(), proposal(format.KindSettle, f.admin, x.Append(nil)))
			require.Error(t, err)
			f.put(l, f.forge(l, format.KindSettle, f.admin, x.Append(nil)))
			require.NoError(t, l.Refresh(t.Context()))
			for _, y := range []*ledger.Ledger{l, f.open()} {
				require.Equal(t, before.Append(nil), y.State().Append(nil))
				require.Equal(t, []uint64{3, 6}, inDoubt(y.Damage()))
			}
		})
	}
}

// TestSettleIsUndone: the store shows a settlement that was never committed, in the slot of another entry. Who sees
// the next entry takes back all that it said.
func TestSettleIsUndone(t *testing.T) {
	f, l := begin(t)
	f.fill(l, 1, 4, false)
	f.s.Set(format.EntryKey(2), []byte("rubbish"))
	l = f.open()
	loser := f.forge(l, format.KindSettle, f.admin, settlement(5, l.State(), 2).Append(nil))
	f.add(l, snapshot(5, f.one))
	own := f.s.Get(format.EntryKey(5))
	f.s.Set(format.EntryKey(5), loser)
	x := f.open()
	require.Empty(t, inDoubt(x.Damage()), "as it seems")
	f.s.Set(format.EntryKey(5), own)
	f.add(l, snapshot(6, f.one))
	f.s.Set(format.EntryKey(5), loser)
	require.NoError(t, x.Refresh(t.Context()))
	damage, err := f.open().Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, []uint64{2, 5}, inDoubt(damage))
	for _, d := range damage {
		require.False(t, d.Accepted || d.Settled)
	}
}

// TestSettleAfterPin: a host remembers an entry that is lost as the newest.
func TestSettleAfterPin(t *testing.T) {
	for _, rewritten := range []bool{false, true} {
		f, l := begin(t)
		f.fill(l, 1, 3, false)
		memory := l.Memory()
		f.s.Set(format.EntryKey(3), []byte("rubbish"))
		x := f.open()
		if rewritten { // somebody has taken it for rubbish
			f.add(x, snapshot(4, f.two))
		}
		_, err := ledger.Open(t.Context(), f.c, memory)
		require.ErrorIs(t, err, ledger.ErrRolledBack)
		f.add(x, settle(f.admin, x, 2))
		_, err = ledger.Open(t.Context(), f.c, memory)
		require.ErrorIs(t, err, ledger.ErrRolledBack, "another slot was given up")
		f.add(x, settle(f.admin, x, 2, 3))
		y, err := ledger.Open(t.Context(), f.c, memory)
		require.NoError(t, err)
		require.Equal(t, x.State().Append(nil), y.State().Append(nil))
		require.Equal(t, x.Head(), y.Head())
		require.Empty(t, inDoubt(y.Damage()))
	}
}

// TestSurvey: a writer's checkpoint has left out what another committed, and calls forgotten what nobody forgot.
func TestSurvey(t *testing.T) {
	f, l := begin(t)
	for n := 1; n <= 4; n++ {
		f.kept(l, n, f.one)
	}
	f.add(l, forget(f.admin, 4))
	f.add(l, forget(f.admin)) // only records
	st := l.State()
	st.Snapshots, st.Forgotten = st.Snapshots[1:2], append(st.Forgotten, st.Snapshots[2])
	f.put(l, f.forge(l, format.KindCheckpoint, f.one, st.Append(nil)))
	x := f.open()
	require.Len(t, x.State().Snapshots, 1)
	f.add(x, snapshot(9, f.one))
	_, _, err := x.Trusted(t.Context())
	require.Error(t, err)
	s, err := x.Survey(t.Context())
	require.NoError(t, err)
	require.Equal(t, x.Head(), s.Head)
	require.Len(t, s.State.Snapshots, 2)
	require.Len(t, s.Trusted.Snapshots, 4)
	require.Empty(t, s.Lost, "the checkpoint is vouched for")
	require.EqualValues(t, 6, s.Recorded)

	f.s.Set(format.EntryKey(2), []byte("rubbish")) // a snapshot that both name
	f.s.Set(format.EntryKey(6), []byte("rubbish")) // the record
	x = f.open()
	s, err = x.Survey(t.Context())
	require.NoError(t, err)
	require.Equal(t, []uint64{2, 6}, s.Lost)
	require.Contains(t, s.Damaged, uint64(2))
	require.EqualValues(t, 5, s.Recorded)
	require.NotContains(t, s.Forgotten, snapID(4), "it is valid")
}
