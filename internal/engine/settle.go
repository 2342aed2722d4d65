package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/internal/seal"
)

// Settled says what was given up, and what not.
type Settled struct {
	Again     bool            // all of it had been given up before: nothing was written
	Slots     []uint64        // that are given up
	Unknown   []uint64        // of them, those of which nobody knows what they held
	Snapshots []format.SnapID // that are known to have been in these slots
	Damaged   []format.SnapID // that are kept, and cannot be restored completely
	Returned  []format.SnapID // that are kept because the entry that forgot them is lost, or somebody left them out
	// RecordLost: the newest record of holds, policies and promises was in one of the slots. It may have been in one
	// that is Unknown, too.
	RecordLost bool
	Recorded   time.Time // when the record was made that counts now; zero if there is none
	Relisted   int64     // lists that were made anew, because an entry is lost that told where content had gone
	Located    int64     // packs that a snapshot needs, and that no index segment named but one found by listing
}

// settling is one attempt to settle the log.
type settling struct {
	r       *Repo
	op      *observe.Operation
	survey  *ledger.Survey
	lost    map[uint64]bool
	state   format.State
	live    objectSet        // packs and sessions that the snapshots need
	present objectSet        // of these, what the store has
	found   []format.Segment // that the state does not name; nil before anybody looked
	rep     *Settled
}

// Settle accepts the loss of slots of the log that hold no valid entry, and writes down what the log adds up to without
// them. Snapshots that cannot be restored completely in consequence, or that could not anyway, have to be named with
// the slots. It needs the administrator's and the reader's roles, and reads what a check of the structure reads. All
// that is named must be lost, and all that is lost must be named: else it is a [*LossError].
//
// A slot of which nobody knows what it held may have condemned what the state names. So no run relies on anything that
// it knew before: the index segments are written again without what no snapshot needs, and whoever began before begins
// anew. What the snapshots need must be there.
func (r *Repo) Settle(ctx context.Context, slots []uint64, faulty []format.SnapID) (rep *Settled, err error) {
	if err := r.needAdmin(); err != nil {
		return nil, err
	}
	if err := r.needReader(); err != nil {
		return nil, err
	}
	ctx, op := r.obs.Begin(ctx, "settle")
	defer func() { op.End(ctx, err) }()
	end, err := r.beginWrite(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	for try := 1; ; try++ {
		var at ledger.Pin
		rep, at, err = r.settleOnce(ctx, op, slots, faulty)
		if cerr := context.Cause(ctx); err != nil && cerr != nil {
			return nil, cerr
		}
		if err == nil {
			return rep, nil
		}
		if try == attempts {
			return nil, err
		}
		// What was found lost may have been given back, or the log settled, by somebody who was faster.
		if r.ledger.Refresh(ctx) != nil || r.ledger.Head() == at && !errors.Is(err, ledger.ErrMoved) {
			return nil, err
		}
	}
}

func (r *Repo) settleOnce(ctx context.Context, op *observe.Operation, slots []uint64, faulty []format.SnapID) (_ *Settled, at ledger.Pin, _ error) {
	op.Phase("log")
	if err := r.ledger.Refresh(ctx); err != nil {
		return nil, at, err
	}
	survey, err := r.ledger.Survey(ctx)
	if err != nil {
		return nil, r.ledger.Head(), err
	}
	at = survey.Head
	s := &settling{r: r, op: op, survey: survey, rep: &Settled{}}
	verdict := s.slots(slots)
	if len(verdict.Sound) > 0 {
		return nil, at, verdict
	}
	if len(s.lost) == 0 {
		if len(slots) == 0 {
			return nil, at, errNothingLost
		}
		s.rep.Again, s.rep.Slots = true, slots
		return s.rep, at, s.recorded(ctx)
	}
	if err := s.make(ctx); err != nil {
		return nil, at, err
	}
	if err := s.verify(ctx, faulty, verdict); err != nil {
		return nil, at, err
	}
	if len(verdict.Sound)+len(verdict.Unnamed) > 0 {
		return nil, at, verdict
	}
	op.Phase("commit")
	return s.rep, at, s.commit(ctx)
}

// slots compares the slots that are named with those that are lost.
func (s *settling) slots(named []uint64) *LossError {
	e := &LossError{}
	s.lost = map[uint64]bool{}
	for _, seq := range s.survey.Lost {
		s.lost[seq] = true
		if !slices.Contains(named, seq) {
			e.Unnamed = append(e.Unnamed, format.EntryKey(seq))
		}
	}
	for _, seq := range named {
		switch {
		case s.lost[seq], slices.Contains(s.survey.Accepted, seq):
		case slices.Contains(s.survey.Damaged, seq) && seq > 0:
			s.lost[seq] = true // nothing depends on it any more
		default:
			e.Sound = append(e.Sound, format.EntryKey(seq))
		}
	}
	return e
}

// verify checks the structure of what is to be the state, and compares the snapshots at fault with those named.
func (s *settling) verify(ctx context.Context, named []format.SnapID, verdict *LossError) error {
	c := newCheck(s.r, CheckOptions{}, s.op)
	defer func() { c.r.index.Close() }()
	c.state = &s.state
	c.r.index.Set(s.state.Segments)
	for _, step := range []struct {
		phase string
		do    func(context.Context) error
	}{
		{"log", func(ctx context.Context) error { return c.readLog(ctx, s.lost) }},
		{"index", c.checkIndex},
		{"sessions", c.checkSessions},
		{"read", c.checkPacks},
		{"snapshots", c.checkSnapshots},
	} {
		s.op.Phase(step.phase)
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	if c.vague != nil {
		return fmt.Errorf("what is lost cannot be told: the store did not give an object: %w", c.vague)
	}
	for _, r := range s.state.Snapshots {
		if _, bad := c.faulty[r.ID]; !bad {
			continue
		}
		s.rep.Damaged = append(s.rep.Damaged, r.ID)
		if !slices.Contains(named, r.ID) {
			verdict.Unnamed = append(verdict.Unnamed, r.ID.String())
		}
	}
	for _, id := range named {
		if !slices.Contains(s.rep.Damaged, id) && !slices.Contains(s.rep.Snapshots, id) {
			verdict.Sound = append(verdict.Sound, id.String())
		}
	}
	return nil
}

// commit writes the state down, right after the entry up to which the log was surveyed.
func (s *settling) commit(ctx context.Context) error {
	signer, err := seal.NewSigner(s.r.keys.Admin)
	if err != nil {
		return err
	}
	body := (&format.Settle{Lost: s.rep.Slots, State: s.state}).Append(nil)
	_, err = s.r.ledger.Append(ctx, ledger.Proposal{
		Kind: format.KindSettle, Signer: signer, After: &s.survey.Head,
		Build: func(*format.State) ([]byte, []byte, error) { return body, nil, nil },
	})
	if err != nil {
		return err
	}
	s.r.follow()
	s.r.remember()
	return nil
}
