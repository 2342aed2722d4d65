package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// waysOut is what to do about an entry of the log that cannot be read.
const waysOut = "bring that object back from a copy of the store, or accept its loss"

// lostEntry says what to do about an error of reading an entry, if that is lost.
func lostEntry(err error) error {
	if errors.Is(err, ledger.ErrAltered) || errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %w: %s", ErrDamaged, err, waysOut)
	}
	return err
}

// LossError refuses to give up what was named, because it is not just what is lost.
type LossError struct {
	Unnamed []string // lost as well: slots of the log, by the names of their objects, and ids of snapshots
	Sound   []string // named, and not lost
}

func (e *LossError) Error() string {
	var parts []string
	if n := len(e.Sound); n > 0 {
		parts = append(parts, fmt.Sprintf("not lost: %s", some(e.Sound)))
	}
	if n := len(e.Unnamed); n > 0 {
		parts = append(parts, fmt.Sprintf("lost as well, and not named: %s", some(e.Unnamed)))
	}
	return "nothing was accepted: " + strings.Join(parts, "; ")
}

var errNothingLost = errors.New("no slot of the commit log is lost")

// some lists the first few names.
func some(names []string) string {
	const most = 10
	s := strings.Join(names[:min(len(names), most)], ", ")
	if n := len(names); n > most {
		s += fmt.Sprintf(" and %d more", n-most)
	}
	return s
}

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

// needs finds out what the snapshots need, and what of it the store has.
func (s *settling) needs(ctx context.Context) error {
	s.live, s.present = objectSet{}, objectSet{}
	for _, prefix := range []string{"p/", "m/", "sess/"} {
		err := s.r.store.List(ctx, prefix, func(l store.Listed) error {
			if o, ok := parseKey(l.Key); ok {
				s.present[o] = struct{}{}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	var broken []int
	err := s.lists(ctx, func(i int, l refsList, err error) error {
		if err != nil {
			broken = append(broken, i)
			return final(ctx, err)
		}
		for _, o := range l.objects {
			s.live[o] = struct{}{}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.confirm(ctx); err != nil {
		return err
	}
	err = s.lists(ctx, func(i int, l refsList, err error) error {
		gone := func(o format.Object) bool { return isPack(o) && !s.there(o) }
		if err == nil && slices.ContainsFunc(l.objects, gone) {
			broken = append(broken, i)
		}
		return final(ctx, err)
	})
	if err != nil || len(broken) == 0 {
		return err
	}
	return s.relist(ctx, broken)
}

// lists reads the lists of the snapshots.
func (s *settling) lists(ctx context.Context, f func(int, refsList, error) error) error {
	list := func(i int) format.Hash { return s.state.Snapshots[i].Refs }
	return newRefsReader(s.r.store, nil).each(ctx, len(s.state.Snapshots), list, f)
}

// confirm asks for what is needed and a listing did not show, which may lag.
func (s *settling) confirm(ctx context.Context) error {
	var missed []format.Object
	for o := range s.live {
		if !s.present.has(o) {
			missed = append(missed, o)
		}
	}
	there := make([]bool, len(missed))
	err := each(ctx, len(missed), checkRequests, func(ctx context.Context, i int) (err error) {
		there[i], err = s.r.store.Exists(ctx, missed[i].Key())
		return err
	})
	for i, o := range missed {
		if there[i] {
			s.present[o] = struct{}{}
		}
	}
	return err
}

func isPack(o format.Object) bool { return o.Type == format.TypeData || o.Type == format.TypeMetadata }

// there reports whether the store has a pack that can be relied on from here on.
func (s *settling) there(o format.Object) bool {
	session := format.Object{Type: format.TypeSession, Session: o.Session}
	for _, x := range []format.Object{o, session} {
		if _, condemned := s.survey.Condemned[x]; condemned || !s.present.has(x) {
			return false
		}
	}
	return true
}

// index writes new index segments of what the snapshots need. Nothing else is left for a run to rely on: that is what a
// condemn entry may have named which is lost, and so may the segments themselves.
func (s *settling) index(ctx context.Context) error {
	unknown := objectSet{} // packs that no segment names
	for o := range s.live {
		if isPack(o) && s.there(o) {
			unknown[o] = struct{}{}
		}
	}
	var sources []format.Segment
	needed := cloneSet(unknown)
	for _, d := range s.survey.State.Segments {
		if err := s.source(ctx, d, needed, unknown, &sources); err != nil {
			return err
		}
	}
	if located := int64(len(unknown)); located > 0 {
		if err := s.locate(ctx, unknown, &sources); err != nil {
			return err
		}
		s.rep.Located = located - int64(len(unknown))
	}
	return s.rewrite(ctx, sources)
}

// source takes a segment that names a pack which is wanted. One that cannot be read is passed over.
func (s *settling) source(ctx context.Context, d format.Segment, wanted, unknown objectSet, sources *[]format.Segment) error {
	take := false
	for p, err := range s.r.index.Packs(ctx, d) {
		if err != nil {
			return final(ctx, err)
		}
		o := object(p)
		take = take || wanted.has(o)
		delete(unknown, o)
	}
	if take {
		*sources = append(*sources, d)
	}
	return nil
}

// final returns an error that may pass, and nil for damage.
func final(ctx context.Context, err error) error {
	if ctx.Err() == nil && isDamage(err) {
		return nil
	}
	return err
}

// locate looks for segments that name packs which the snapshots need and the state's segments do not: those of an entry
// that is lost, on which later ones have built.
func (s *settling) locate(ctx context.Context, unknown objectSet, sources *[]format.Segment) error {
	wanted := cloneSet(unknown)
	others, err := s.others(ctx)
	if err != nil {
		return err
	}
	for _, d := range others {
		if err := s.source(ctx, d, wanted, unknown, sources); err != nil {
			return err
		}
	}
	return nil
}

// others returns the segments that the store has and the state does not name.
func (s *settling) others(ctx context.Context) ([]format.Segment, error) {
	if s.found != nil {
		return s.found, nil
	}
	known := map[format.Hash]bool{}
	for _, d := range s.survey.State.Segments {
		known[d.Hash] = true
	}
	found := []format.Segment{}
	for _, d := range s.survey.Trusted.Segments {
		if !known[d.Hash] {
			known[d.Hash] = true
			found = append(found, d)
		}
	}
	var names []format.Hash
	err := s.r.store.List(ctx, "i/", func(l store.Listed) error {
		if o, ok := parseKey(l.Key); ok && !known[o.Hash] {
			names = append(names, o.Hash)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		d, err := s.r.index.Identify(ctx, name)
		if err != nil {
			if err := final(ctx, err); err != nil {
				return nil, err
			}
			continue
		}
		// An object does not say whose it is. Where there are several writers it is nobody's, and serves to read.
		if w := s.state.Enrolment.Writers; len(w) == 1 {
			d.Writer = ledger.SignerID(w[0])
		}
		found = append(found, d)
	}
	s.found = found
	return found, nil
}

// rewrite merges the segments of each writer into new ones, without the places that nothing needs.
func (s *settling) rewrite(ctx context.Context, sources []format.Segment) error {
	drop := func(p *format.PackRef) bool { o := object(*p); return !s.live.has(o) || !s.there(o) }
	for len(sources) > 0 {
		me := sources[0].Writer
		other := func(d format.Segment) bool { return d.Writer != me }
		group := slices.DeleteFunc(slices.Clone(sources), other)
		sources = slices.DeleteFunc(sources, func(d format.Segment) bool { return !other(d) })
		for {
			var out []format.Segment
			err := s.r.index.Rewrite(ctx, group, 0, drop, func(d format.Segment, object []byte) error {
				out = append(out, d)
				if err := s.r.store.Put(ctx, format.IndexKey(d.Hash), object); err != nil {
					return fmt.Errorf("index: %w", err)
				}
				return nil
			})
			if err == nil {
				s.state.Segments = append(s.state.Segments, out...)
				break
			}
			var bad *index.SegmentError
			if !errors.As(err, &bad) || final(ctx, err) != nil {
				return err
			}
			group = slices.DeleteFunc(group, func(d format.Segment) bool { return d.Hash == bad.Hash })
		}
	}
	return nil
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
