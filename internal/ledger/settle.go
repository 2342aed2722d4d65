package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// settles refuses a settle entry at slot seq that may not follow the state have. What the administrator says of
// snapshots and segments is not compared with it: the slots that are lost would have to be known for that.
func settles(have *format.State, seq uint64, s *format.Settle) error {
	st := &s.State
	lost := func(at uint64) bool {
		_, there := slices.BinarySearch(s.Lost, at)
		return there || at >= seq
	}
	named := func(r format.SnapRef) bool { return lost(r.Seq) }
	switch {
	case s.Lost[len(s.Lost)-1] >= seq:
		return errors.New("the entry gives up a slot that lies ahead")
	case st.Enrolled != have.Enrolled || !bytes.Equal(st.Enrolment.Append(nil), have.Enrolment.Append(nil)):
		return errors.New("the entry changes who is enrolled")
	case st.Condemned != seq || st.Swept != seq || len(st.Partials) > 0:
		return errors.New("the entry does not begin anew with what was condemned and is under way")
	case lost(st.Enrolled), lost(st.Recorded), slices.ContainsFunc(st.Snapshots, named), slices.ContainsFunc(st.Forgotten, named):
		return errors.New("the entry names a slot that it gives up")
	}
	return nil
}

// Survey is what is known of a log by who is to settle it.
type Survey struct {
	Head    Pin
	State   *format.State // as this process has it, perhaps from a writer's checkpoint
	Trusted *format.State // as it adds up from what the administrator has signed, as far as that can be read
	// Lost are slots that cannot be done without and cannot be read, ascending: those in doubt, and those that
	// State names.
	Lost []uint64
	// Damaged are all slots of the log without a valid entry that nobody vouches for and no settle entry names.
	Damaged []uint64
	// Accepted are the slots that settle entries name.
	Accepted []uint64
	// Recorded is the newest forget entry that can be read; 0 for none.
	Recorded uint64
	// Forgotten, Lists and Condemned are what entries say that the administrator has signed, on which others have built,
	// and which Trusted does not take for want of what was lost before them.
	Forgotten map[format.SnapID]bool
	Lists     map[format.SnapID]format.Hash
	Condemned map[format.Object]struct{}
}

// Survey reads the whole log, of which some slots may be lost, and says what has to be known to settle it. The
// ledger must be refreshed.
func (l *Ledger) Survey(ctx context.Context) (*Survey, error) {
	s := &Survey{Forgotten: map[format.SnapID]bool{}, Lists: map[format.SnapID]format.Hash{}, Condemned: map[format.Object]struct{}{}}
	s.State, s.Head = l.At()
	t, _, err := l.trusted(ctx, s.Head)
	if errors.Is(err, ErrAltered) {
		return nil, fmt.Errorf("%w: this process has read what is lost: open the repository anew, on a host that remembers nothing of it", err)
	}
	if err != nil {
		return nil, err
	}
	if t.state.Enrolled != s.State.Enrolled {
		return nil, errors.New("commit log: an entry is lost that says who is enrolled: bring it back from a copy of the store")
	}
	s.Trusted = t.state
	for _, d := range t.allDamage() {
		switch {
		case d.InDoubt():
			s.Lost = append(s.Lost, d.Seq)
		case d.Vouched:
			if err := l.overlooked(ctx, d.Seq, s); err != nil {
				return nil, err
			}
		}
	}
	records, err := l.surveyAll(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := l.named(ctx, s); err != nil {
		return nil, err
	}
	slices.Sort(s.Lost)
	s.Lost = slices.Compact(s.Lost)
	for _, seq := range slices.Backward(records) {
		if !slices.Contains(s.Damaged, seq) && !slices.Contains(s.Lost, seq) {
			s.Recorded = seq
			break
		}
	}
	return s, nil
}

// overlooked takes what an entry says that others have built upon, and that is not valid only for want of one that is
// lost: a forgetting of a lost snapshot, say.
func (l *Ledger) overlooked(ctx context.Context, seq uint64, s *Survey) error {
	e, err := l.SignedByAdmin(ctx, seq)
	if err != nil {
		return transient(err) // rubbish, as it seemed
	}
	switch e.Kind {
	case format.KindForget:
		f, err := format.DecodeForget(e.Body)
		if err != nil {
			return nil
		}
		for _, id := range f.Snapshots {
			s.Forgotten[id] = true
		}
	case format.KindCondemn:
		c, err := format.DecodeCondemn(e.Body)
		if err != nil {
			return nil
		}
		for _, n := range c.Refs {
			s.Lists[n.ID] = n.Refs
		}
		for _, o := range c.Objects {
			s.Condemned[o] = struct{}{}
		}
	}
	return nil
}

// surveyAll reads the log from entry 0, and returns the slots of the administrator's forget entries.
func (l *Ledger) surveyAll(ctx context.Context, s *Survey) (records []uint64, _ error) {
	v := &Ledger{c: l.c}
	if ok, _, err := v.start(ctx, 0); err != nil || !ok {
		return nil, errors.Join(err, fmt.Errorf("commit log: entry 0: %w", ErrAltered))
	}
	v.look = func(e *format.LogEntry) {
		if e.Kind == format.KindForget {
			records = append(records, e.Seq)
		}
	}
	if err := v.follow(ctx, 1, s.Head.Seq); err != nil {
		return nil, err
	}
	s.Accepted = v.accepted
	for _, d := range v.allDamage() {
		if !d.Vouched && !d.Accepted {
			s.Damaged = append(s.Damaged, d.Seq)
		}
	}
	return records, nil
}

// named adds the slots to those that are lost which the state names and which do not hold what it says.
func (l *Ledger) named(ctx context.Context, s *Survey) error {
	refs := append(slices.Clone(s.State.Snapshots), s.State.Forgotten...)
	refs = append(refs, s.Trusted.Snapshots...)
	seen := map[uint64]bool{}
	for _, ref := range refs {
		if seen[ref.Seq] {
			continue
		}
		seen[ref.Seq] = true
		sound, err := l.committed(ctx, ref)
		if err != nil {
			return err
		}
		if !sound {
			s.Lost = append(s.Lost, ref.Seq)
		}
	}
	if at := s.State.Recorded; at > 0 {
		if e, err := l.SignedByAdmin(ctx, at); transient(err) != nil {
			return err
		} else if err != nil || e.Kind != format.KindForget {
			s.Lost = append(s.Lost, at)
		}
	}
	at := s.State.Condemned
	_, err := l.Condemned(ctx, at, 0, func(_ uint64, _ int64, c *format.Condemn) error {
		at = c.Previous
		return nil
	})
	if err != nil && transient(err) == nil {
		s.Lost, err = append(s.Lost, at), nil
	}
	return err
}

// committed reports whether the slot of a snapshot holds the entry that a state says, signed by one who may.
func (l *Ledger) committed(ctx context.Context, ref format.SnapRef) (sound bool, _ error) {
	for try := range readings {
		object, err := l.readAgain(ctx, ref.Seq, time.Duration(try)*10*time.Millisecond)
		if err != nil {
			return false, err
		}
		if sha256.Sum256(object) != ref.Hash {
			continue // the store may lag
		}
		e, signed, sig, err := format.DecodeLogEntry(object)
		if err != nil || e.Repo != l.c.Repo || e.Seq != ref.Seq || e.Kind != format.KindSnapshot || e.Time != ref.Time {
			return false, nil
		}
		c, err := format.DecodeCommit(e.Body)
		if err != nil || c.ID != ref.ID {
			return false, nil
		}
		l.mu.Lock()
		key := l.key(e)
		l.mu.Unlock()
		return key != nil && seal.Verify(key, signDomain, signed, sig) == nil, nil
	}
	return false, nil
}

// transient returns an error that says nothing of what a slot holds, and nil for one that says it is not what it was.
func transient(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, ErrAltered) || errors.Is(err, format.ErrMalformed) {
		return nil
	}
	return err
}
