package backup

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/tree"
)

// Latest is the id by which [Repository.Snapshot] opens the newest snapshot.
const Latest = "latest"

// Snapshot is a committed snapshot. It never changes and is safe for concurrent use.
type Snapshot struct {
	r       *Repository
	ref     format.SnapRef
	outcome byte
	desc    *format.Description
	open    *engine.Snapshot // nil until something is read
	run     RunStats
}

// Outcome says whether a snapshot holds all that it was to hold.
type Outcome byte

// The outcomes. A run that failed leaves no snapshot.
const (
	Complete   Outcome = 0
	Incomplete Outcome = 1
)

func (o Outcome) String() string {
	if o == Complete {
		return "complete"
	}
	return "incomplete"
}

// Stats counts what a snapshot holds.
type Stats struct {
	Files, Folders, Others int64 // others are links and special files
	Bytes                  int64 // of file content, holes and repeats included
	Problems               int64 // what it lacks
}

func newSnapshot(r *Repository, ref format.SnapRef, outcome byte, d *format.Description) *Snapshot {
	return &Snapshot{r: r, ref: ref, outcome: outcome, desc: d}
}

// ID is the snapshot's random id, 32 hexadecimal digits.
func (s *Snapshot) ID() string { return s.ref.ID.String() }

// Sequence is the snapshot's number in the commit log: later commits have greater ones, whatever the
// clocks said.
func (s *Snapshot) Sequence() uint64 { return s.ref.Seq }

// Time is when the run began, by its host's clock.
func (s *Snapshot) Time() time.Time { return time.UnixMilli(s.desc.Started) }

// Finished is when the run had stored everything, by its host's clock.
func (s *Snapshot) Finished() time.Time { return time.UnixMilli(s.desc.Finished) }

// Outcome says whether the snapshot is complete.
func (s *Snapshot) Outcome() Outcome { return Outcome(s.outcome) }

// Host is the host that the snapshot was made on.
func (s *Snapshot) Host() string { return s.desc.Host }

// Name is the series that the snapshot belongs to; see BackupOptions.Name.
func (s *Snapshot) Name() string { return strings.Join(s.desc.Sources, ", ") }

// Labels returns a copy of the labels that the snapshot was made with.
func (s *Snapshot) Labels() map[string]string {
	m := make(map[string]string, len(s.desc.Labels))
	for _, l := range s.desc.Labels {
		m[l.Key] = l.Value
	}
	return m
}

// Stats counts what the snapshot holds.
func (s *Snapshot) Stats() Stats {
	d := s.desc
	return Stats{
		Files: int64(d.Files), Folders: int64(d.Folders), Others: int64(d.Others),
		Bytes: int64(d.Bytes), Problems: int64(d.Problems),
	}
}

// Run says what the run did that made the snapshot. It is zero for a snapshot that was opened.
func (s *Snapshot) Run() RunStats { return s.run }

// Problems lists what the snapshot lacks; at most 100,000 of them were kept.
func (s *Snapshot) Problems(ctx context.Context) ([]Problem, error) {
	e, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	ps, err := e.Problems(ctx)
	if err != nil {
		return nil, fmt.Errorf("backup: problems: %w", err)
	}
	return problems(ps), nil
}

// reader returns the engine's view, which needs the reader's role.
func (s *Snapshot) reader(ctx context.Context) (*engine.Snapshot, error) {
	if s.open != nil {
		return s.open, nil
	}
	e, err := s.r.e.Snapshot(ctx, s.ref)
	if err != nil {
		return nil, fmt.Errorf("backup: snapshot: %w", err)
	}
	return e, nil
}

// Snapshots returns the snapshots in the order of their commits, oldest first. It needs the reader's role.
// An error ends the sequence. [ErrLatestUnknown] may follow the last snapshot: then a newer one may have
// been there that the store has damaged.
func (r *Repository) Snapshots(ctx context.Context) iter.Seq2[*Snapshot, error] {
	return func(yield func(*Snapshot, error) bool) {
		refs, sure, err := r.e.Snapshots(ctx)
		if err != nil {
			yield(nil, fmt.Errorf("backup: snapshots: %w", err))
			return
		}
		// A few are fetched ahead: on a distant store each costs a round trip.
		for part := range slices.Chunk(refs, 16) {
			for _, res := range r.openAll(ctx, part) {
				if !yield(res.snap, res.err) || res.err != nil {
					return
				}
			}
		}
		if !sure {
			yield(nil, fmt.Errorf("backup: snapshots: %w", ErrLatestUnknown))
		}
	}
}

type opened struct {
	snap *Snapshot
	err  error
}

func (r *Repository) openAll(ctx context.Context, refs []format.SnapRef) []opened {
	out := make([]opened, len(refs))
	done := make(chan struct{}, len(refs))
	for i, ref := range refs {
		go func() {
			out[i].snap, out[i].err = r.openSnapshot(ctx, ref)
			done <- struct{}{}
		}()
	}
	for range refs {
		<-done
	}
	return out
}

func (r *Repository) openSnapshot(ctx context.Context, ref format.SnapRef) (*Snapshot, error) {
	e, err := r.e.Snapshot(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("backup: snapshot: %w", err)
	}
	s := newSnapshot(r, ref, e.Commit.Outcome, e.Description)
	s.open = e
	return s, nil
}

// Snapshot opens one snapshot by its id, by the beginning of one, or the newest by [Latest]. It needs the
// reader's role.
func (r *Repository) Snapshot(ctx context.Context, id string) (*Snapshot, error) {
	refs, sure, err := r.e.Snapshots(ctx)
	if err != nil {
		return nil, fmt.Errorf("backup: snapshot: %w", err)
	}
	if id == Latest {
		switch {
		case !sure:
			return nil, fmt.Errorf("backup: snapshot: %w", ErrLatestUnknown)
		case len(refs) == 0:
			return nil, fmt.Errorf("backup: snapshot: %w: the repository holds none", ErrNoSnapshot)
		}
		return r.openSnapshot(ctx, refs[len(refs)-1])
	}
	id = strings.ToLower(id)
	fits := refs[:0:0]
	for _, ref := range refs {
		if id != "" && strings.HasPrefix(ref.ID.String(), id) {
			fits = append(fits, ref)
		}
	}
	switch len(fits) {
	case 0:
		return nil, fmt.Errorf("backup: snapshot: %w", ErrNoSnapshot)
	case 1:
		return r.openSnapshot(ctx, fits[0])
	}
	return nil, fmt.Errorf("backup: snapshot: %w", ErrAmbiguous)
}

// Change is one difference between two snapshots.
type Change struct {
	Kind     ChangeKind
	Path     string      // patient data: not for logs
	Old, New fs.FileInfo // nil where the path was not there
}

// ChangeKind says what happened to a path.
type ChangeKind byte

// The kinds of changes.
const (
	Added    ChangeKind = 1
	Removed  ChangeKind = 2
	Modified ChangeKind = 3
)

func (k ChangeKind) String() string {
	switch k {
	case Added:
		return "added"
	case Removed:
		return "removed"
	case Modified:
		return "modified"
	}
	return "unknown"
}

// Diff gives what differs between two snapshots of the repository, in the order of a walk. What both share
// is not read, so the differences of two large snapshots are found quickly. Changes of the inode and of
// the change time alone are not differences. It needs the reader's role.
func (r *Repository) Diff(ctx context.Context, old, new *Snapshot) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		fail := func(err error) { yield(Change{}, fmt.Errorf("backup: diff: %w", err)) }
		a, err := old.reader(ctx)
		if err != nil {
			fail(err)
			return
		}
		b, err := new.reader(ctx)
		if err != nil {
			fail(err)
			return
		}
		for c, err := range tree.Diff(ctx, a.Tree(), b.Tree(), &tree.DiffOptions{IgnoreNoise: true}) {
			if err != nil {
				fail(err)
				return
			}
			if !yield(changeOf(c), nil) {
				return
			}
		}
	}
}

func changeOf(c tree.Change) Change {
	out := Change{}
	if c.Old != nil {
		e := *c.Old
		out.Path, out.Old, out.Kind = e.Path, &info{&e}, Removed
	}
	if c.New != nil {
		e := *c.New
		out.Path, out.New = e.Path, &info{&e}
		if out.Kind == Removed {
			out.Kind = Modified
		} else {
			out.Kind = Added
		}
	}
	return out
}
