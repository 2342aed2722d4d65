package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/tree"
)

// Snapshot is a committed snapshot, opened for reading.
type Snapshot struct {
	r           *Repo
	Ref         format.SnapRef
	Commit      *format.Commit
	Description *format.Description
}

// Snapshots returns every snapshot that the log holds, oldest first, and whether the newest of them is
// known to be the newest that was committed.
func (r *Repo) Snapshots(ctx context.Context) ([]format.SnapRef, bool, error) {
	refs, _, sure, err := r.SnapshotsAt(ctx)
	return refs, sure, err
}

// SnapshotsAt is [Repo.Snapshots] with the entry of the log that it is true of, whatever other calls read meanwhile.
func (r *Repo) SnapshotsAt(ctx context.Context) (refs []format.SnapRef, at ledger.Pin, sure bool, err error) {
	if err := r.ledger.Refresh(ctx); err != nil {
		return nil, at, false, err
	}
	st, at := r.ledger.At()
	r.follow()
	last := uint64(0)
	if n := len(st.Snapshots); n > 0 {
		last = st.Snapshots[n-1].Seq
	}
	sure = !slices.ContainsFunc(r.ledger.Damage(), func(d ledger.Damage) bool { return d.Seq > last && d.InDoubt() })
	return st.Snapshots, at, sure, nil
}

// Snapshot opens a snapshot. It needs the reader's role.
func (r *Repo) Snapshot(ctx context.Context, ref format.SnapRef) (*Snapshot, error) {
	if err := r.needReader(); err != nil {
		return nil, err
	}
	e, err := r.ledger.Entry(ctx, ref)
	if err != nil {
		return nil, lostEntry(err)
	}
	c, err := format.DecodeCommit(e.Body)
	if err != nil {
		return nil, err
	}
	d, err := r.openDescription(c.ID, e.Sealed)
	if err != nil {
		return nil, fmt.Errorf("log entry %d: %w", ref.Seq, err)
	}
	return &Snapshot{r: r, Ref: ref, Commit: c, Description: d}, nil
}

func (r *Repo) openDescription(id format.SnapID, sealed []byte) (*format.Description, error) {
	plain, err := r.openBody(bodyAAD(domainBody, r.format, id), sealed)
	if err != nil {
		return nil, err
	}
	return format.DecodeDescription(plain)
}

// openBody decrypts a sealed body.
func (r *Repo) openBody(aad, sealed []byte) ([]byte, error) {
	s, err := format.DecodeSealedBody(sealed)
	if err != nil {
		return nil, err
	}
	me := recipientID(r.keys.ReaderKey)
	for _, w := range s.Wraps {
		if w.Recipient != me {
			continue
		}
		key, err := seal.Unwrap(r.suite, r.keys.Reader, aad, w.Sealed)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		plain, err := r.suite.Open(key, aad, s.Sealed)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return plain, nil
	}
	return nil, fmt.Errorf("%w: it is not sealed to this reader", ErrRole)
}

// Tree is the snapshot's entries.
func (s *Snapshot) Tree() *tree.Tree {
	return &tree.Tree{Root: s.Description.Root, Level: s.Description.RootLevel, Loader: snapshotLoader{s.r.loader, s}}
}

// Content gives the runs of a file's bytes.
func (s *Snapshot) Content(e *format.Entry) *tree.Reader {
	return tree.OpenContent(snapshotLoader{s.r.loader, s}, e.Content, e.Size)
}

// Chunk returns the bytes of one run of a file; the caller only reads them.
func (s *Snapshot) Chunk(ctx context.Context, r format.Ref) ([]byte, error) {
	b, err := s.r.loader.LoadChunk(ctx, r.ID, r.Len)
	return b, s.explain(ctx, err)
}

// ErrForgotten: the snapshot was forgotten after it was opened, and its content is being deleted.
var ErrForgotten = errors.New("the snapshot was forgotten, and its space given back, while it was read")

// snapshotLoader loads the nodes of one snapshot.
type snapshotLoader struct {
	*loader
	s *Snapshot
}

func (l snapshotLoader) LoadNode(ctx context.Context, id format.ID, size uint32) ([]byte, error) {
	b, err := l.loader.LoadNode(ctx, id, size)
	return b, l.s.explain(ctx, err)
}

// explain tells content that was given back from content that is lost.
func (s *Snapshot) explain(ctx context.Context, err error) error {
	if err == nil || !isDamage(err) || !s.forgotten(ctx) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrForgotten, err)
}

func (s *Snapshot) forgotten(ctx context.Context) bool {
	kept := func() bool {
		return slices.ContainsFunc(s.r.ledger.State().Snapshots, func(r format.SnapRef) bool { return r.ID == s.Ref.ID })
	}
	return !kept() || s.r.ledger.Refresh(ctx) == nil && !kept()
}

// Problems lists what the snapshot lacks.
func (s *Snapshot) Problems(ctx context.Context) ([]format.Problem, error) {
	var out []format.Problem
	d := s.Description
	for ref, err := range tree.OpenContent(s.r.loader, d.ProblemList, int64(d.ProblemBytes)).Refs(ctx, 0) {
		if err != nil {
			return nil, err
		}
		b, err := s.r.loader.LoadNode(ctx, ref.ID, uint32(ref.Len))
		if err != nil {
			return nil, err
		}
		for len(b) > 0 {
			var p format.Problem
			if p, b, err = format.DecodeProblem(b); err != nil {
				return nil, err
			}
			out = append(out, p)
		}
	}
	return out, nil
}

// Refs returns every object that the snapshot depends on.
func (r *Repo) Refs(ctx context.Context, hash format.Hash) ([]format.Object, error) {
	l, _, err := newRefsReader(r.store, nil).read(ctx, hash)
	if err != nil {
		return nil, fmt.Errorf("refs: %w", err)
	}
	return l.objects, nil
}

const maxRefsObject = 256 << 20
