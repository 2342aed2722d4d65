package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/carekeep/carekeep/internal/format"
)

// make works out the state without what is lost.
func (s *settling) make(ctx context.Context) error {
	have, seq := s.survey.State, s.survey.Head.Seq+1
	s.state = format.State{Enrolled: have.Enrolled, Enrolment: have.Enrolment, Condemned: seq, Swept: seq}
	for at := range s.lost {
		s.rep.Slots = append(s.rep.Slots, at)
	}
	slices.Sort(s.rep.Slots)
	s.snapshots()
	if err := s.recorded(ctx); err != nil {
		return err
	}
	if err := s.keySlots(ctx); err != nil {
		return err
	}
	s.op.Phase("lists")
	if err := s.needs(ctx); err != nil {
		return err
	}
	s.op.Phase("index")
	return s.index(ctx)
}

// snapshots keeps what the state or the trusted log has, but for what is lost and what the administrator is known to
// have forgotten: a writer's checkpoint may have left out, or called forgotten, what nobody gave up.
func (s *settling) snapshots() {
	v, known := s.survey, map[uint64]bool{}
	lost := func(r format.SnapRef) bool {
		if s.lost[r.Seq] && !known[r.Seq] {
			s.rep.Snapshots = append(s.rep.Snapshots, r.ID)
		}
		known[r.Seq] = known[r.Seq] || s.lost[r.Seq]
		return s.lost[r.Seq]
	}
	has := func(list []format.SnapRef, id format.SnapID) bool {
		return slices.ContainsFunc(list, func(r format.SnapRef) bool { return r.ID == id })
	}
	add := func(r format.SnapRef) {
		_, dealt := v.Condemned[refsObject(r.Refs)]
		// As trusted, it may have another list since; as this process has it, only if that is gone.
		if list, ok := v.Lists[r.ID]; ok && (dealt || slices.Contains(v.Trusted.Snapshots, r)) {
			r.Refs = list
			_, dealt = v.Condemned[refsObject(list)]
		}
		switch {
		case lost(r), dealt:
		case v.Forgotten[r.ID]:
			s.state.Forgotten = append(s.state.Forgotten, r)
		default:
			s.state.Snapshots = append(s.state.Snapshots, r)
			if !has(v.State.Snapshots, r.ID) {
				s.rep.Returned = append(s.rep.Returned, r.ID)
			}
		}
	}
	for _, r := range v.State.Snapshots {
		add(r)
	}
	for _, r := range v.State.Forgotten {
		switch {
		case has(v.Trusted.Snapshots, r.ID):
			add(r)
		case !lost(r):
			s.state.Forgotten = append(s.state.Forgotten, r)
		}
	}
	for _, r := range v.Trusted.Snapshots {
		if !has(v.State.Snapshots, r.ID) && !has(v.State.Forgotten, r.ID) {
			add(r)
		}
	}
	slices.SortFunc(s.state.Snapshots, func(a, b format.SnapRef) int { return cmp.Compare(a.Seq, b.Seq) })
	known[v.State.Recorded], known[v.State.Condemned] = true, true
	for _, p := range v.State.Partials {
		known[p.Seq] = true
	}
	for _, at := range s.rep.Slots {
		if !known[at] {
			s.rep.Unknown = append(s.rep.Unknown, at)
		}
	}
}

// recorded finds the newest record of retention that is left.
func (s *settling) recorded(ctx context.Context) error {
	v := s.survey
	s.rep.RecordLost = s.lost[v.State.Recorded]
	if s.state.Recorded = v.Recorded; v.Recorded == 0 {
		return nil
	}
	e, err := s.r.ledger.SignedByAdmin(ctx, v.Recorded)
	if err == nil {
		s.rep.Recorded = time.UnixMilli(e.Time)
	}
	return err
}

// keySlots keeps the ways in whose objects are there: one is removed by its entry first.
func (s *settling) keySlots(ctx context.Context) error {
	for _, x := range append(slices.Clone(s.survey.Trusted.Slots), s.survey.State.Slots...) {
		same := func(y format.SlotInfo) bool { return x.ID == y.ID }
		if slices.ContainsFunc(s.state.Slots, same) {
			continue
		}
		there, err := s.r.store.Exists(ctx, format.SlotKey(x.ID))
		if err != nil {
			return err
		}
		if there {
			s.state.Slots = append(s.state.Slots, x)
		}
	}
	return nil
}
