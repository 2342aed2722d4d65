package ledger_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
)

// condemned is [ledger.Ledger.Condemned] of a log that was never settled.
func condemned(ctx context.Context, l *ledger.Ledger, newest, since uint64, f func(uint64, int64, *format.Condemn) error) error {
	settled, err := l.Condemned(ctx, newest, since, f)
	if settled != 0 {
		return errors.New("the log was settled")
	}
	return err
}

// list is the name of a list of references.
func list(n byte) format.Hash { return format.Hash{100, n} }

// kept appends a snapshot with a list, and a segment, of its number.
func (f *fixture) kept(l *ledger.Ledger, n int, by *seal.Signer) format.SnapRef {
	c := format.Commit{ID: snapID(n), Refs: list(byte(n)), Segments: []format.Segment{segment(byte(n), by)}, Sessions: []format.SessionID{{byte(n)}}}
	ref := f.add(l, proposal(format.KindSnapshot, by, c.Append(nil)))
	ref.ID, ref.Refs = c.ID, c.Refs
	return ref
}

func partial(n byte, by *seal.Signer, sessions ...format.SessionID) ledger.Proposal {
	c := format.Commit{Refs: list(n), Segments: []format.Segment{segment(n, by)}, Sessions: sessions}
	return proposal(format.KindPartial, by, c.Append(nil))
}

func forget(by *seal.Signer, numbers ...int) ledger.Proposal {
	x := format.Forget{Plan: format.Hash{1}}
	for _, n := range numbers {
		x.Snapshots = append(x.Snapshots, snapID(n))
	}
	return proposal(format.KindForget, by, x.Append(nil))
}

func condemn(by *seal.Signer, c format.Condemn) ledger.Proposal {
	return proposal(format.KindCondemn, by, c.Append(nil))
}

func listObject(n byte) format.Object { return format.Object{Type: format.TypeRefs, Hash: list(n)} }
func segmentObject(n byte) format.Object {
	return format.Object{Type: format.TypeIndex, Hash: format.Hash{n}}
}

// everywhere compares what l holds with what others read, from its memory, from a checkpoint and from entry 0.
func (f *fixture) everywhere(l *ledger.Ledger) {
	f.t.Helper()
	want := l.State()
	check := func(x *ledger.Ledger) {
		f.t.Helper()
		require.Equal(f.t, want.Append(nil), x.State().Append(nil))
		require.Equal(f.t, l.Head(), x.Head())
		require.Empty(f.t, unvouched(x.Damage()))
		_, err := x.Verify(f.t.Context())
		require.NoError(f.t, err)
	}
	check(l)
	check(f.open())
	x, err := ledger.Open(f.t.Context(), f.c, l.Memory())
	require.NoError(f.t, err)
	check(x)
}

func TestForget(t *testing.T) {
	f, l := begin(t)
	var refs []format.SnapRef
	for n := 1; n <= 4; n++ {
		refs = append(refs, f.kept(l, n, f.one))
	}
	f.add(l, forget(f.admin, 3))
	f.add(l, forget(f.admin, 1, 4))
	st := l.State()
	require.Equal(t, []format.SnapRef{refs[1]}, st.Snapshots)
	require.Equal(t, []format.SnapRef{refs[2], refs[0], refs[3]}, st.Forgotten, "in the order they were forgotten")
	require.Len(t, st.Segments, 4, "nothing is condemned yet")
	f.everywhere(l)
	f.add(l, checkpoint(f.two))
	require.Equal(t, st, l.State())
	f.everywhere(l)
}

// What an entry that is not valid says does not count, be it that a process asks for it or that the store shows it.
func TestInvalidForgetAndCondemn(t *testing.T) {
	admin := func(f *fixture) *seal.Signer { return f.admin }
	writer := func(f *fixture) *seal.Signer { return f.one }
	objects := func(o ...format.Object) format.Condemn { return format.Condemn{Previous: 6, Swept: 5, Objects: o} }
	for name, c := range map[string]struct {
		by   func(*fixture) *seal.Signer
		body []byte
		kind format.EntryKind
	}{
		"unknown snapshot":   {admin, (&format.Forget{Snapshots: []format.SnapID{snapID(1), snapID(9)}}).Append(nil), format.KindForget},
		"forgotten already":  {admin, (&format.Forget{Snapshots: []format.SnapID{snapID(3)}}).Append(nil), format.KindForget},
		"writer forgets":     {writer, (&format.Forget{Snapshots: []format.SnapID{snapID(1)}}).Append(nil), format.KindForget},
		"writer condemns":    {writer, body(objects()), format.KindCondemn},
		"an older previous":  {admin, body(format.Condemn{Previous: 5, Swept: 5}), format.KindCondemn},
		"a later previous":   {admin, body(format.Condemn{Previous: 7, Swept: 5}), format.KindCondemn},
		"no previous":        {admin, body(format.Condemn{}), format.KindCondemn},
		"swept backwards":    {admin, body(format.Condemn{Previous: 6, Swept: 4}), format.KindCondemn},
		"swept ahead":        {admin, body(format.Condemn{Previous: 6, Swept: 7}), format.KindCondemn},
		"forgotten too many": {admin, body(format.Condemn{Previous: 6, Swept: 5, Forgotten: 2}), format.KindCondemn},
		"list of none":       {admin, body(format.Condemn{Previous: 6, Swept: 5, Refs: []format.NewRefs{{ID: snapID(9)}}}), format.KindCondemn},
		"list of forgotten":  {admin, body(format.Condemn{Previous: 6, Swept: 5, Refs: []format.NewRefs{{ID: snapID(3)}}}), format.KindCondemn},
		"removed not there":  {admin, body(format.Condemn{Previous: 6, Swept: 5, Removed: []format.Hash{{9}}}), format.KindCondemn},
		"added is there":     {admin, body(format.Condemn{Previous: 6, Swept: 5, Added: []format.Segment{{Hash: format.Hash{2}}}}), format.KindCondemn},
		"live list":          {admin, body(objects(listObject(1))), format.KindCondemn},
		"live segment":       {admin, body(objects(segmentObject(2))), format.KindCondemn},
		"new list": {admin, body(format.Condemn{
			Previous: 6, Swept: 5, Refs: []format.NewRefs{{ID: snapID(1), Refs: list(50)}}, Objects: []format.Object{listObject(50)},
		}), format.KindCondemn},
		"added segment": {admin, body(format.Condemn{
			Previous: 6, Swept: 5, Added: []format.Segment{{Hash: format.Hash{50}}}, Objects: []format.Object{segmentObject(50)},
		}), format.KindCondemn},
		"malformed": {admin, []byte{6, 5}, format.KindCondemn},
	} {
		t.Run(name, func(t *testing.T) {
			f, l := begin(t)
			for n := 1; n <= 3; n++ {
				f.kept(l, n, f.one)
			}
			f.add(l, forget(f.admin, 3))
			require.Equal(t, uint64(5), f.add(l, condemn(f.admin, format.Condemn{})).Seq)
			f.add(l, condemn(f.admin, format.Condemn{Previous: 5, Swept: 5}))
			want := l.State()
			_, err := l.Append(t.Context(), proposal(c.kind, c.by(f), c.body))
			require.ErrorContains(t, err, "would not be valid")
			seq := f.put(l, f.forge(l, c.kind, c.by(f), c.body))
			x := f.open()
			require.Equal(t, want.Append(nil), x.State().Append(nil))
			require.Equal(t, []uint64{seq}, unvouched(x.Damage()))
		})
	}
}

func body(c format.Condemn) []byte { return c.Append(nil) }

func TestCondemn(t *testing.T) {
	f, l := begin(t)
	for n := 1; n <= 4; n++ {
		f.kept(l, n, []*seal.Signer{f.one, f.two}[n%2])
	}
	f.add(l, partial(5, f.one, format.SessionID{5}))
	f.add(l, partial(6, f.one, format.SessionID{6}))
	f.add(l, forget(f.admin, 1))
	f.add(l, forget(f.admin, 2))
	pack := format.Object{Type: format.TypeData, Session: format.SessionID{1}, Hash: format.Hash{1}}
	at := f.add(l, condemn(f.admin, format.Condemn{
		Forgotten: 1, Refs: []format.NewRefs{{ID: snapID(3), Refs: list(33)}, {ID: snapID(4), Refs: list(34)}},
		Removed: []format.Hash{{1}, {3}}, Added: []format.Segment{segment(31, f.two)}, Sessions: []format.SessionID{{7}},
		Objects: []format.Object{segmentObject(1), segmentObject(3), pack, listObject(1), listObject(3), listObject(4), listObject(5)},
	}))
	st := l.State()
	require.Equal(t, wantIDs(3, 4), ids(l))
	require.Equal(t, []format.Hash{list(33), list(34)}, []format.Hash{st.Snapshots[0].Refs, st.Snapshots[1].Refs})
	require.Equal(t, []format.Segment{segment(2, f.one), segment(4, f.one), segment(5, f.one), segment(6, f.one), segment(31, f.two)}, st.Segments)
	require.Len(t, st.Forgotten, 1)
	require.Equal(t, snapID(2), st.Forgotten[0].ID)
	require.Len(t, st.Partials, 1)
	require.Equal(t, list(6), st.Partials[0].Refs)
	require.Equal(t, [2]uint64{at.Seq, 0}, [2]uint64{st.Condemned, st.Swept})
	f.everywhere(l)
	f.add(l, checkpoint(f.one))
	f.everywhere(l)

	// A snapshot is read by its own entry, whatever list it has now.
	e, err := l.Entry(t.Context(), st.Snapshots[0])
	require.NoError(t, err)
	c, err := format.DecodeCommit(e.Body)
	require.NoError(t, err)
	require.Equal(t, list(3), c.Refs)

	f.add(l, condemn(f.admin, format.Condemn{Previous: at.Seq, Swept: at.Seq}))
	require.Equal(t, at.Seq, l.State().Swept)
	f.everywhere(l)
}

// A run's next entry, or that of a run which took it over, stands for what it has told before.
func TestPartials(t *testing.T) {
	f, l := begin(t)
	a, b, c := format.SessionID{1}, format.SessionID{2}, format.SessionID{3}
	lists := func() (out []format.Hash) {
		for _, p := range l.State().Partials {
			out = append(out, p.Refs)
		}
		return out
	}
	f.add(l, partial(1, f.one, a))
	first := f.add(l, partial(2, f.two, b))
	f.add(l, partial(3, f.one, a, c))
	require.Equal(t, []format.Hash{list(2), list(3)}, lists())
	p := l.State().Partials[0]
	require.Equal(t, format.Partial{Seq: first.Seq, Time: first.Time, Refs: list(2), Sessions: []format.SessionID{b}}, p)
	f.everywhere(l)
	before := l.State()
	f.add(l, proposal(format.KindSnapshot, f.one, (&format.Commit{ID: snapID(1), Sessions: []format.SessionID{c}}).Append(nil)))
	require.Equal(t, []format.Hash{list(2)}, lists())
	require.Len(t, before.Partials, 2, "a state that was given out does not change")
	f.add(l, snapshot(2, f.two))
	require.Equal(t, []format.Hash{list(2)}, lists())
	f.everywhere(l)

	for name, c := range map[string]format.Commit{"id": {ID: snapID(9)}, "outcome": {Outcome: 1}} {
		_, err := l.Append(t.Context(), proposal(format.KindPartial, f.one, c.Append(nil)))
		require.ErrorContains(t, err, "would not be valid", name)
	}
}

// The condemn entries are found from the newest, and only they.
func TestCondemned(t *testing.T) {
	f, l := begin(t)
	f.fill(l, 1, 3, false)
	var at []uint64
	want := map[uint64][]format.Object{}
	for n := range byte(4) {
		previous := uint64(0)
		if n > 0 {
			previous = at[n-1]
		}
		o := []format.Object{{Type: format.TypeSession, Session: format.SessionID{n}}}
		seq := f.add(l, condemn(f.admin, format.Condemn{Previous: previous, Objects: o})).Seq
		at, want[seq] = append(at, seq), o
		f.fill(l, 10+2*int(n), 11+2*int(n), false)
	}
	f.add(l, checkpoint(f.one))
	x := f.open()
	read := func(newest, since uint64) (out []uint64, err error) {
		err = condemned(t.Context(), x, newest, since, func(seq uint64, ms int64, c *format.Condemn) error {
			require.NotZero(t, ms)
			require.Equal(t, want[seq], c.Objects)
			out = append(out, seq)
			return nil
		})
		return out, err
	}
	for _, c := range []struct {
		newest, since uint64
		want          []uint64
	}{
		{x.State().Condemned, 0, []uint64{at[3], at[2], at[1], at[0]}},
		{at[3], at[1], []uint64{at[3], at[2]}},
		{at[2], at[1], []uint64{at[2]}},
		{at[2], at[2], nil},
		{0, 0, nil},
	} {
		got, err := read(c.newest, c.since)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	stop := errors.New("enough")
	require.ErrorIs(t, condemned(t.Context(), x, at[3], 0, func(uint64, int64, *format.Condemn) error { return stop }), stop)

	// Nothing else is taken for one, whoever signed it.
	never := func(uint64, int64, *format.Condemn) error { require.Fail(t, "that condemns nothing"); return nil }
	own := f.s.Get(format.EntryKey(at[3]))
	b := body(format.Condemn{Objects: []format.Object{segmentObject(1)}})
	here := func(e *format.LogEntry) { e.Seq = at[3] }
	for name, object := range map[string][]byte{
		"another slot":  f.s.Get(format.EntryKey(at[2])),
		"writer's":      f.forge(l, format.KindCondemn, f.one, b, here),
		"another kind":  f.forge(l, format.KindSlots, f.admin, b, here),
		"going forward": f.forge(l, format.KindCondemn, f.admin, body(format.Condemn{Previous: at[3]}), here),
		"altered":       append(own[:len(own)-1:len(own)-1], own[len(own)-1]^1),
		"malformed":     f.forge(l, format.KindCondemn, f.admin, []byte{1}, here),
		"empty":         {},
	} {
		f.s.Set(format.EntryKey(at[3]), object)
		require.Error(t, condemned(t.Context(), x, at[3], 0, never), name)
	}
	f.s.Remove(format.EntryKey(at[3]))
	require.Error(t, condemned(t.Context(), x, at[3], 0, never))
}

// Who deletes believes the administrator's checkpoints and no other's.
func TestTrusted(t *testing.T) {
	f, l := begin(t)
	f.kept(l, 1, f.one)
	f.kept(l, 2, f.two)
	trusted, base, err := l.Trusted(t.Context())
	require.NoError(t, err)
	require.Zero(t, base)
	require.Equal(t, l.State(), trusted.State())

	f.add(l, checkpoint(f.two))
	first := f.add(l, checkpoint(f.admin))
	f.kept(l, 3, f.one)
	f.add(l, checkpoint(f.one))
	f.kept(l, 4, f.two)
	x := f.open()
	f.s.SetHook(nil) // counts from here
	trusted, base, err = x.Trusted(t.Context())
	require.NoError(t, err)
	require.Equal(t, first.Seq, base)
	require.Equal(t, l.State().Append(nil), trusted.State().Append(nil))
	require.Equal(t, l.Head(), trusted.Head())

	for name, lie := range map[string]func(*format.State){
		"snapshot":  func(s *format.State) { s.Snapshots = s.Snapshots[1:] },
		"list":      func(s *format.State) { s.Snapshots[2].Refs = list(77) },
		"forgotten": func(s *format.State) { s.Forgotten = append(s.Forgotten, s.Snapshots[0]) },
		"condemned": func(s *format.State) { s.Condemned = 1 },
		"partial":   func(s *format.State) { s.Partials = []format.Partial{{Seq: 1}} },
	} {
		t.Run(name, func(t *testing.T) {
			store := f.s.Clone()
			f := &fixture{t: t, s: store, c: f.on(store), admin: f.admin, one: f.one, two: f.two}
			l := f.open()
			st := l.State()
			lie(st)
			honest := l.Head()

			seq := f.put(l, f.forge(l, format.KindCheckpoint, f.one, st.Append(nil)))
			x := f.open()
			require.Equal(t, st.Append(nil), x.State().Append(nil), "who opens without a memory believes an enrolled writer")
			_, _, err := x.Trusted(t.Context())
			require.ErrorContains(t, err, "contradicts the log")
			require.NoError(t, l.Refresh(t.Context()))
			trusted, _, err := l.Trusted(t.Context())
			require.NoError(t, err, "who has followed the log knows better")
			require.Equal(t, []uint64{seq}, unvouched(trusted.Damage()))

			// What the administrator says stands.
			f.s.Remove(format.EntryKey(seq))
			l = f.open()
			require.Equal(t, honest, l.Head())
			f.put(l, f.forge(l, format.KindCheckpoint, f.admin, st.Append(nil)))
			x = f.open()
			trusted, base, err := x.Trusted(t.Context())
			require.NoError(t, err)
			require.Equal(t, seq, base)
			require.Equal(t, st.Append(nil), trusted.State().Append(nil))
		})
	}

	// A store that shows another log than was followed is found out, be its state the same.
	other := f.forge(l, 200, f.one, []byte("other"))
	f.add(l, proposal(200, f.one, []byte("one")))
	whole := f.s.Get(format.EntryKey(l.Head().Seq))
	f.s.Set(format.EntryKey(l.Head().Seq), other)
	_, _, err = l.Trusted(t.Context())
	require.ErrorContains(t, err, "other bytes than were committed")
	f.s.Set(format.EntryKey(l.Head().Seq), whole)
	_, _, err = l.Trusted(t.Context())
	require.NoError(t, err)
	f.s.Set(format.EntryKey(first.Seq+1), []byte("overwritten"))
	_, _, err = l.Trusted(t.Context())
	require.Error(t, err)
}

// A checkpoint names no segment twice: no entry could remove it.
func TestSegmentNamedTwice(t *testing.T) {
	f, l := begin(t)
	f.kept(l, 1, f.one)
	st := l.State()
	again := st.Segments[0]
	again.Size++
	st.Segments = append(st.Segments, again)
	_, err := l.Append(t.Context(), proposal(format.KindCheckpoint, f.one, st.Append(nil)))
	require.ErrorContains(t, err, "named twice")
	f.put(l, f.forge(l, format.KindCheckpoint, f.one, st.Append(nil)))
	require.Len(t, f.open().State().Segments, 1)
}
