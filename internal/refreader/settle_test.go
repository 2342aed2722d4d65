package refreader

import (
	"encoding/binary"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// settled gives the entry of kind 10 in the vectors, and the state before it.
func settled(t *testing.T) (*Repository, *entry, state) {
	objects, want := load(t, "repo-s1")
	r, err := Open(objects, want.Passwords[0])
	require.NoError(t, err)
	e, _, err := r.slot(want.Lost[0] + 2)
	require.NoError(t, err)
	require.EqualValues(t, 10, e.kind)
	_, first, err := r.genesis()
	require.NoError(t, err)
	return r, e, first
}

// TestSettle applies entries of kind 10 to a state that has little to do with theirs.
func TestSettle(t *testing.T) {
	r, e, before := settled(t)
	after, ok := r.apply(e, before)
	require.True(t, ok)
	require.Equal(t, e.seq, after.condemned)
	require.Len(t, after.snaps, 1)
	require.Len(t, after.forgotten, 1)
	require.EqualValues(t, 2, after.recorded)

	state := e.body[2:] // after one slot that is lost
	lost := func(slots ...uint64) []byte {
		b := binary.AppendUvarint(nil, uint64(len(slots)))
		for _, s := range slots {
			b = binary.AppendUvarint(b, s)
		}
		return append(b, state...)
	}
	tail := func(b ...byte) []byte { // instead of partials, recorded, condemned and swept
		return append(lost(3)[:len(e.body)-4:len(e.body)-4], b...)
	}
	require.Equal(t, e.body, lost(3))
	require.Equal(t, e.body, tail(0, 2, 5, 5))
	for name, b := range map[string][]byte{
		"none": lost(), "entry 0": lost(0), "twice": lost(3, 3), "out of order": lost(3, 2), "itself": lost(5), "ahead": lost(3, 6),
		"forgotten": lost(1, 3), "record": lost(2, 3), "snapshot": lost(3, 4), "left over": append(lost(3), 0), "cut off": lost(3)[:len(e.body)-1],
		"record ahead": tail(0, 5, 5, 5), "condemned before": tail(0, 2, 4, 5), "swept before": tail(0, 2, 5, 0),
		"partial": append(tail(1, 4), append(make([]byte, 8+32+1), 2, 5, 5)...),
	} {
		x := *e
		x.body = b
		_, ok := r.apply(&x, before)
		require.False(t, ok, name)
	}
	other := before
	other.enrol.recipients = nil
	_, ok = r.apply(e, other)
	require.False(t, ok, "who is enrolled")
	require.False(t, r.wellSigned(&entry{raw: e.raw, kind: 10, signer: shortID(before.enrol.writers[0])}, &before))
}

// TestOpenSettled: a log is opened from an entry of kind 10; while that cannot be read, the slot is in doubt.
func TestOpenSettled(t *testing.T) {
	objects, want := load(t, "repo-s1")
	r, err := Open(objects, want.Passwords[0])
	require.NoError(t, err)
	require.EqualValues(t, want.Lost[0]+2, r.first)
	require.Empty(t, r.Damage())
	for seq := want.Lost[0] + 2; seq <= r.head; seq++ { // as it was before
		delete(objects, logName(seq))
	}
	r, err = Open(objects, want.Passwords[0])
	require.NoError(t, err)
	require.Equal(t, want.Lost[0], r.Damage()[0].Seq)
	require.False(t, r.Damage()[0].Vouched || r.Damage()[0].Settled)

	objects, _ = load(t, "repo-s1") // an entry that is chained to another settlement than the store shows
	e := objects[logName(want.Lost[0]+2)].Data
	objects[logName(want.Lost[0]+2)] = &fstest.MapFile{Data: append(e[:len(e)-1:len(e)-1], e[len(e)-1]^1)}
	r, err = Open(objects, want.Passwords[0])
	require.NoError(t, err)
	for _, d := range r.Damage() {
		require.False(t, d.Settled || d.GivenUp)
	}
}
