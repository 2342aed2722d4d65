package ledger_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
)

// The tests here are of a store, or a holder of a writer's key, that lies.

// unvouched returns the damaged slots that may have held a commit.
func unvouched(ds []ledger.Damage) (out []uint64) {
	for _, d := range ds {
		if !d.Vouched {
			out = append(out, d.Seq)
		}
	}
	return out
}

// Junk after a snapshot must not serve as a veil behind which the snapshot is overwritten.
func TestOverwrittenBehindJunk(t *testing.T) {
	for _, valid := range []bool{false, true} {
		f, l := begin(t)
		f.fill(l, 1, 3, false)
		rival := f.forge(l, format.KindSnapshot, f.two, commitBody(77))
		f.add(l, snapshot(4, f.one))
		junk := f.put(l, []byte("junk"))
		f.add(l, snapshot(6, f.one))
		require.Equal(t, []ledger.Damage{{Seq: junk, Vouched: true}}, l.Damage())

		if valid {
			f.s.Set(format.EntryKey(4), rival)
		} else {
			f.s.Set(format.EntryKey(4), []byte("overwritten"))
		}
		x := f.open()
		require.NotEmpty(t, unvouched(x.Damage()))
		if !valid {
			require.Equal(t, []uint64{4, 5}, unvouched(x.Damage()))
		}
		damage, err := x.Verify(t.Context())
		require.NoError(t, err)
		require.Equal(t, x.Damage(), damage)

		// Who saw the log before holds on to it, and says that entry 4 is another.
		require.Equal(t, wantIDs(1, 6, 5), ids(l))
		damage, err = l.Verify(t.Context())
		require.True(t, err != nil || len(unvouched(damage)) > 0)

		// More entries do not turn the doubt into trust.
		f.add(x, snapshot(7, f.one))
		require.NotEmpty(t, unvouched(f.open().Damage()))
	}
}

// A writer's key does not enrol recipients by way of a checkpoint.
func TestForgedCheckpointEnrols(t *testing.T) {
	f, l := begin(t)
	f.fill(l, 1, 3, false)
	st := l.State()
	st.Enrolment = *f.foreign
	_, err := l.Append(t.Context(), proposal(format.KindCheckpoint, f.one, st.Append(nil)))
	require.ErrorContains(t, err, "contradicts the log")

	seq := f.put(l, f.forge(l, format.KindCheckpoint, f.one, st.Append(nil)))
	x := f.open()
	require.Equal(t, *f.enrolled, x.State().Enrolment)
	require.Equal(t, wantIDs(1, 3), ids(x))
	require.Equal(t, []uint64{seq}, unvouched(x.Damage()))

	// Nor by one that pretends to repeat an enrolment, be it the writer's own entry.
	f, l = begin(t)
	f.put(l, f.forge(l, format.KindEnrol, f.one, f.foreign.Append(nil)))
	require.NoError(t, l.Refresh(t.Context()))
	st = l.State()
	st.Enrolment, st.Enrolled = *f.foreign, 1
	f.put(l, f.forge(l, format.KindCheckpoint, f.one, st.Append(nil), func(e *format.LogEntry) { e.Enrolled = 1 }))
	x = f.open()
	require.Equal(t, *f.enrolled, x.State().Enrolment)
	require.Equal(t, uint64(0), x.State().Enrolled)
	f.add(x, snapshot(1, f.one))
	require.Equal(t, *f.enrolled, f.open().State().Enrolment)
}

// A checkpoint that leaves out a snapshot, or another writer's segment, is refused by whoever follows the
// log; who opens without a memory learns it from Verify.
func TestForgedCheckpointHides(t *testing.T) {
	for name, lie := range map[string]func(*format.State){
		"snapshot": func(s *format.State) { s.Snapshots = s.Snapshots[:1] },
		"segment":  func(s *format.State) { s.Segments = s.Segments[:1] },
		"slot":     func(s *format.State) { s.Slots = nil },
	} {
		t.Run(name, func(t *testing.T) {
			f, l := begin(t)
			f.add(l, proposal(format.KindSnapshot, f.one, commitBody(1, segment(1, f.one))))
			f.add(l, proposal(format.KindSnapshot, f.two, commitBody(2, segment(2, f.two))))
			st := l.State()
			lie(st)
			_, err := l.Append(t.Context(), proposal(format.KindCheckpoint, f.one, st.Append(nil)))
			require.ErrorContains(t, err, "would not be valid")
			seq := f.put(l, f.forge(l, format.KindCheckpoint, f.one, st.Append(nil)))
			require.NoError(t, l.Refresh(t.Context()))
			require.Equal(t, []uint64{seq}, unvouched(l.Damage()))
			require.Len(t, l.State().Snapshots, 2)
			_, err = f.open().Verify(t.Context())
			require.ErrorContains(t, err, "contradicts the log")
		})
	}
}

// The administrator, and a writer for itself, may merge segments in a checkpoint.
func TestCheckpointMergesOwnSegments(t *testing.T) {
	f, l := begin(t)
	f.add(l, proposal(format.KindSnapshot, f.one, commitBody(1, segment(1, f.one), segment(2, f.one))))
	f.add(l, proposal(format.KindSnapshot, f.two, commitBody(2, segment(3, f.two))))
	st := l.State()
	st.Segments = []format.Segment{segment(3, f.two), segment(4, f.one)}
	f.add(l, proposal(format.KindCheckpoint, f.one, st.Append(nil)))
	x := f.open()
	require.Equal(t, st.Segments, x.State().Segments)
	damage, err := x.Verify(t.Context())
	require.NoError(t, err)
	require.Empty(t, damage)
}

func TestInvalidCommits(t *testing.T) {
	for name, body := range map[string]func(f *fixture) []byte{
		"another writer's segment": func(f *fixture) []byte { return commitBody(2, segment(1, f.two)) },
		"an id that is taken":      func(f *fixture) []byte { return commitBody(1) },
	} {
		t.Run(name, func(t *testing.T) {
			f, l := begin(t)
			f.add(l, snapshot(1, f.one))
			want := l.State()
			_, err := l.Append(t.Context(), proposal(format.KindSnapshot, f.one, body(f)))
			require.ErrorContains(t, err, "would not be valid")
			seq := f.put(l, f.forge(l, format.KindSnapshot, f.one, body(f)))
			x := f.open()
			require.Equal(t, want, x.State())
			require.Equal(t, []ledger.Damage{{Seq: seq}}, x.Damage())
			f.add(x, snapshot(3, f.one))
			require.Equal(t, []ledger.Damage{{Seq: seq, Vouched: true}}, x.Damage())
		})
	}
}

// Two entries are signed for a slot, and one loses the race. The store cannot show the loser later.
func TestLoserInTheWinnersPlace(t *testing.T) {
	f, l := begin(t)
	f.fill(l, 1, 2, false)
	loser := f.forge(l, format.KindSnapshot, f.two, commitBody(77, segment(7, f.two)))
	f.add(l, snapshot(3, f.one))
	f.add(l, snapshot(4, f.one))
	f.s.Set(format.EntryKey(3), loser)
	x := f.open()
	require.Equal(t, wantIDs(1, 4, 3), ids(x))
	require.Empty(t, x.State().Segments)
	require.Equal(t, []ledger.Damage{{Seq: 3}}, x.Damage())
	require.Equal(t, l.Head(), x.Head())
	damage, err := x.Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, x.Damage(), damage)
}

// The same where the loser is an enrolment. What was written under the winner's cannot be told from what a
// signer wrote who is enrolled no more, so none of it is taken, and all of it is reported.
func TestLosingEnrolment(t *testing.T) {
	f, l := begin(t)
	loser := f.forge(l, format.KindEnrol, f.admin, f.foreign.Append(nil))
	f.add(l, snapshot(1, f.one))
	f.add(l, snapshot(2, f.one))
	f.s.Set(format.EntryKey(1), loser)
	x := f.open()
	require.Equal(t, []uint64{2}, unvouched(x.Damage()))
	require.Empty(t, ids(x))
	require.Nil(t, x.Memory())
	_, err := ledger.Open(t.Context(), f.c, l.Memory())
	require.NoError(t, err, "who knows the head does not look back")
}

func TestRolledBack(t *testing.T) {
	f, l := begin(t)
	f.fill(l, 1, 5, false)
	old := f.s.Clone()
	other := f.forge(l, format.KindSnapshot, f.one, commitBody(60))
	f.fill(l, 6, 9, false)
	m := l.Memory()

	_, err := ledger.Open(t.Context(), f.on(old), m)
	require.ErrorIs(t, err, ledger.ErrRolledBack)
	for range 4 {
		f.s.Remove(format.EntryKey(l.Head().Seq))
	}
	_, err = ledger.Open(t.Context(), f.c, m)
	require.ErrorIs(t, err, ledger.ErrRolledBack)
	f.s.Set(format.EntryKey(9), other)
	_, err = ledger.Open(t.Context(), f.c, m)
	require.ErrorIs(t, err, ledger.ErrRolledBack)
}

// A slot that somebody filled with junk does not stop the log.
func TestJunkAtTheHead(t *testing.T) {
	f, l := begin(t)
	f.fill(l, 1, 2, false)
	unsigned := f.forge(l, format.KindSnapshot, f.one, commitBody(3))
	unsigned[len(unsigned)-1] ^= 1
	junk := f.put(l, unsigned)
	x := f.open()
	require.Equal(t, []ledger.Damage{{Seq: junk}}, x.Damage())
	require.Nil(t, x.Memory())
	require.Equal(t, junk+1, f.add(l, snapshot(4, f.one)).Seq)
	require.Equal(t, []ledger.Damage{{Seq: junk, Vouched: true}}, l.Damage())
	require.NotNil(t, l.Memory())
	y := f.open()
	require.Equal(t, l.Damage(), y.Damage())
	require.Equal(t, wantIDs(1, 4, 3), ids(y))

	f.put(l, nil)
	require.Equal(t, []uint64{l.Head().Seq + 1}, unvouched(f.open().Damage()))
}

// A valid entry copied to another slot, or from another repository, is junk.
func TestEntryElsewhere(t *testing.T) {
	f, l := begin(t)
	f.fill(l, 1, 2, false)
	f.put(l, f.s.Get(format.EntryKey(1)))
	require.NoError(t, l.Refresh(t.Context()))
	f.put(l, f.forge(l, format.KindSnapshot, f.one, commitBody(5), func(e *format.LogEntry) { e.Repo[0]++ }))
	require.NoError(t, l.Refresh(t.Context()))
	x := f.open()
	require.Equal(t, []uint64{3, 4}, unvouched(x.Damage()))
	require.Equal(t, wantIDs(1, 2), ids(x))
}

// A later release's entry can be read past, but not written after; one that says it may be ignored is.
func TestLaterKinds(t *testing.T) {
	f, l := begin(t)
	f.add(l, snapshot(1, f.one))
	f.add(l, proposal(200, f.two, []byte("who knows")))
	f.add(l, snapshot(2, f.one))
	require.Empty(t, f.open().Damage())
	m := l.Memory()

	f.put(l, f.forge(l, 50, f.admin, []byte("who knows")))
	pinned, err := ledger.Open(t.Context(), f.c, m)
	require.NoError(t, err)
	refreshed := l
	require.NoError(t, l.Refresh(t.Context()))
	for _, x := range []*ledger.Ledger{f.open(), pinned, refreshed} {
		require.Empty(t, x.Damage())
		require.Equal(t, wantIDs(1, 2), ids(x))
		require.Equal(t, uint64(4), x.Head().Seq)
		_, err := x.Append(t.Context(), snapshot(3, f.one))
		require.ErrorIs(t, err, format.ErrVersion)

		require.Nil(t, x.Memory())
		again, err := ledger.Open(t.Context(), f.c, m)
		require.NoError(t, err)
		_, err = again.Append(t.Context(), snapshot(3, f.one))
		require.ErrorIs(t, err, format.ErrVersion, "what was read is not forgotten with the next opening")
	}
	require.NotContains(t, f.s.Keys(), format.EntryKey(5))
}
