package ledger_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// fixture is a log with an administrator and two enrolled writers, and what an attacker knows of it.
type fixture struct {
	t                 *testing.T
	s                 *faultstore.Store
	c                 ledger.Config
	admin, one, two   *seal.Signer
	stranger          *seal.Signer
	enrolled, foreign *format.Enrolment // the true one, and one of an attacker's
}

func signer(t *testing.T, n byte) *seal.Signer {
	x, err := seal.NewSigner(bytes.Repeat([]byte{n}, 32))
	require.NoError(t, err)
	return x
}

// begin creates a log of entry 0 alone.
func begin(t *testing.T) (*fixture, *ledger.Ledger) {
	f := &fixture{t: t, s: faultstore.New()}
	f.admin, f.one, f.two, f.stranger = signer(t, 1), signer(t, 2), signer(t, 3), signer(t, 4)
	f.c = f.on(f.s)
	f.enrolled = &format.Enrolment{
		Writers: [][]byte{f.one.Public(), f.two.Public()}, Recipients: [][]byte{bytes.Repeat([]byte{7}, 32)},
	}
	f.foreign = &format.Enrolment{Writers: f.enrolled.Writers, Recipients: [][]byte{bytes.Repeat([]byte{66}, 32)}}
	slots := []format.SlotInfo{{ID: format.SlotID{9}, Kind: format.SlotPassword, Added: 1}}
	l, err := ledger.Create(t.Context(), f.c, f.admin, f.enrolled, slots)
	require.NoError(t, err)
	return f, l
}

// on is the configuration of the same log in another store.
func (f *fixture) on(s *faultstore.Store) ledger.Config {
	b := s.Bucket()
	f.t.Cleanup(func() { b.Close() })
	return ledger.Config{
		Store: store.New(b, store.Options{Attempts: 2, Backoff: time.Millisecond}),
		Repo:  format.RepoID{5}, AdminKey: signer(f.t, 1).Public(),
	}
}

func (f *fixture) open() *ledger.Ledger {
	l, err := ledger.Open(f.t.Context(), f.c, nil)
	require.NoError(f.t, err)
	return l
}

func snapID(n int) (id format.SnapID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

func segment(n byte, by *seal.Signer) format.Segment {
	return format.Segment{Hash: format.Hash{n}, Size: 100, Entries: 3, Writer: ledger.SignerID(by.Public())}
}

func commitBody(n int, ss ...format.Segment) []byte {
	return (&format.Commit{ID: snapID(n), Segments: ss}).Append(nil)
}

// proposal is an entry of a body that does not depend on the state.
func proposal(k format.EntryKind, by *seal.Signer, body []byte) ledger.Proposal {
	return ledger.Proposal{Kind: k, Signer: by, Build: func(*format.State) ([]byte, []byte, error) { return body, nil, nil }}
}

func snapshot(n int, by *seal.Signer) ledger.Proposal {
	return proposal(format.KindSnapshot, by, commitBody(n))
}

func checkpoint(by *seal.Signer) ledger.Proposal {
	return ledger.Proposal{Kind: format.KindCheckpoint, Signer: by, Build: func(s *format.State) ([]byte, []byte, error) {
		return s.Append(nil), nil, nil
	}}
}

func (f *fixture) add(l *ledger.Ledger, p ledger.Proposal) format.SnapRef {
	ref, err := l.Append(f.t.Context(), p)
	require.NoError(f.t, err)
	return ref
}

// fill appends snapshots first to last, and a checkpoint whenever one is due if asked to.
func (f *fixture) fill(l *ledger.Ledger, first, last int, checkpoints bool) {
	for n := first; n <= last; n++ {
		if checkpoints && l.CheckpointDue() {
			f.add(l, checkpoint(f.one))
		}
		f.add(l, snapshot(n, f.one))
	}
}

// forge signs an entry that follows what l holds, for a store that writes what it likes.
func (f *fixture) forge(l *ledger.Ledger, k format.EntryKind, by *seal.Signer, body []byte, change ...func(*format.LogEntry)) []byte {
	e := &format.LogEntry{
		Repo: f.c.Repo, Seq: l.Head().Seq + 1, Prev: l.Head().Chain, Kind: k, Signer: ledger.SignerID(by.Public()),
		Time: 1, Enrolled: l.State().Enrolled, Body: body,
	}
	seal.Random(e.Nonce[:])
	for _, c := range change {
		c(e)
	}
	b := e.Append(nil)
	return append(b, by.Sign("carekeep/v1 log", b)...)
}

// put writes an object into the slot after what l holds, behind l's back, and returns the slot.
func (f *fixture) put(l *ledger.Ledger, object []byte) uint64 {
	seq := l.Head().Seq + 1
	f.s.Set(format.EntryKey(seq), object)
	return seq
}

func ids(l *ledger.Ledger) (out []format.SnapID) {
	for _, s := range l.State().Snapshots {
		out = append(out, s.ID)
	}
	return out
}

func wantIDs(first, last int, without ...int) (out []format.SnapID) {
	skip := map[int]bool{}
	for _, n := range without {
		skip[n] = true
	}
	for n := first; n <= last; n++ {
		if !skip[n] {
			out = append(out, snapID(n))
		}
	}
	return out
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
