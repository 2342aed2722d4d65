package refreader

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// ErrDamage means that the log has damage after the last snapshot that no later entry vouches for: a newer snapshot
// may be lost.
var ErrDamage = errors.New("the log is damaged after the last snapshot")

// ErrForgotten means that the administrator has forgotten the snapshot: what it needed may have been deleted.
var ErrForgotten = errors.New("the snapshot has been forgotten")

// Damage is a slot of the log without a valid entry.
type Damage struct {
	Seq     uint64
	Vouched bool // a later entry's writer saw the same bytes: harmless
	Settled bool // the administrator has said what the log adds up to after it
	GivenUp bool // and that this slot is lost
	final   bool // nothing can vouch for it any more

	settledBy, givenUpBy uint64 // entries of kind 10; 0: none
}

type enrolment struct{ writers, recipients [][]byte }

type slotRef struct {
	id    [16]byte
	kind  byte
	added uint64
}

type segment struct {
	sum           [32]byte
	size, entries uint64
	writer        [8]byte
}

type snapRef struct {
	id   [16]byte
	seq  uint64
	sum  [32]byte
	time uint64
	refs [32]byte // its list of references, which a condemn entry may replace
}

// A partial is what a run that has not committed has told of.
type partial struct {
	seq, time uint64
	refs      [32]byte
	sessions  [][16]byte
}

// A state is what the log adds up to (section 14).
type state struct {
	enrolSeq                   uint64
	enrol                      enrolment
	slots                      []slotRef
	segments                   []segment
	snaps, forgotten           []snapRef
	partials                   []partial
	recorded, condemned, swept uint64
}

type commit struct {
	id       [16]byte
	outcome  byte
	refs     [32]byte
	segments []segment
	sessions [][16]byte
}

// A condemn is the body of an entry of kind 6.
type condemn struct {
	previous, swept, forgotten uint64
	lists                      map[[16]byte][32]byte // of snapshots
	removed                    map[[32]byte]bool     // segments
	added                      []segment
	objects                    []Reference
}

// names reports whether an object without a session is condemned.
func (c condemn) names(typ byte, sum [32]byte) bool {
	_, ok := slices.BinarySearchFunc(c.objects, Reference{Type: typ, SHA256: sum}, compareReferences)
	return ok
}

// An entry is one log entry as far as it decodes without its body.
type entry struct {
	raw               []byte
	sum               [32]byte
	seq               uint64
	chain             [32]byte
	kind              byte
	signer            [8]byte
	time              uint64
	checkpoint, enrol uint64
	body, sealed      []byte
}

func logName(seq uint64) string { return fmt.Sprintf("log/%020d", seq) }

// slot reads slot seq. A missing object counts as zero bytes; e is nil if the object does not decode as the entry
// of this slot and repository.
func (r *Repository) slot(seq uint64) (e *entry, sum [32]byte, err error) {
	b, err := readObject(r.fsys, logName(seq), 128*mib)
	if err != nil && !errors.Is(err, errMissing) {
		return nil, sum, err
	}
	sum = sha256.Sum256(b)
	d, err := object(b, 'L')
	if err != nil {
		return nil, sum, nil
	}
	e = &entry{raw: b, sum: sum}
	repo := d.id16()
	e.seq, e.chain, e.kind, e.signer, e.time = d.u64(), d.id32(), d.u8(), d.short(), d.u64()
	d.id16() // random
	e.checkpoint, e.enrol, e.body, e.sealed = d.u64(), d.u64(), d.bytes(), d.bytes()
	d.take(64)
	d.check(e.seq == seq && repo == r.format.repo && (e.kind == 1) == (seq == 0))
	d.check(e.kind == 3 || e.kind == 5 || e.kind >= 128 || len(e.sealed) == 0)
	if seq == 0 {
		d.check(e.chain == [32]byte{} && e.checkpoint == 0 && e.enrol == 0)
	} else {
		d.check(e.checkpoint < seq && e.enrol < seq)
	}
	if d.end() != nil {
		return nil, sum, nil
	}
	return e, sum, nil
}

func (e *entry) signedBy(key []byte) bool {
	return shortID(key) == e.signer && verify(key, "carekeep/v1 log", e.raw)
}

func (e *entry) signedByOne(keys [][]byte) bool { return slices.ContainsFunc(keys, e.signedBy) }

func (e *entry) next() [32]byte { return link(e.chain, e.sum) }

// link is C(n) of C(n-1) and the SHA-256 of the object in slot n.
func link(chain, sum [32]byte) [32]byte { return sha256.Sum256(append(chain[:], sum[:]...)) }

func decodeEnrolment(d *dec) (v enrolment) {
	for n := d.count(1); n > 0; n-- {
		v.writers = append(v.writers, d.bytes())
	}
	for n := d.count(1); n > 0; n-- {
		v.recipients = append(v.recipients, d.bytes())
	}
	return v
}

func decodeSlot(d *dec) slotRef { return slotRef{id: d.id16(), kind: d.u8(), added: d.u64()} }

func decodeSegments(d *dec) (v []segment) {
	for n := d.count(42); n > 0; n-- {
		v = append(v, segment{sum: d.id32(), size: d.uv(), entries: d.uv(), writer: d.short()})
	}
	d.check(!repeated(v))
	return v
}

// repeated reports whether a segment is named twice.
func repeated(v []segment) bool {
	sums := map[[32]byte]bool{}
	for _, g := range v {
		sums[g.sum] = true
	}
	return len(sums) < len(v)
}

func decodeSessions(d *dec) (v [][16]byte) {
	for n := d.count(16); n > 0; n-- {
		v = append(v, d.id16())
	}
	return v
}

func decodeSnaps(d *dec) (v []snapRef) {
	for n := d.count(89); n > 0; n-- {
		v = append(v, snapRef{id: d.id16(), seq: d.uv(), sum: d.id32(), time: d.u64(), refs: d.id32()})
	}
	return v
}

func decodeState(b []byte) (v state, err error) {
	d := &dec{b: b}
	v.enrolSeq, v.enrol = d.uv(), decodeEnrolment(d)
	for n := d.count(25); n > 0; n-- {
		v.slots = append(v.slots, decodeSlot(d))
	}
	v.segments, v.snaps, v.forgotten = decodeSegments(d), decodeSnaps(d), decodeSnaps(d)
	for n := d.count(42); n > 0; n-- {
		v.partials = append(v.partials, partial{d.uv(), d.u64(), d.id32(), decodeSessions(d)})
	}
	v.recorded, v.condemned, v.swept = d.uv(), d.uv(), d.uv()
	return v, d.end()
}

func decodeCommit(b []byte) (v commit, err error) {
	d := &dec{b: b}
	v.id, v.outcome, v.refs, v.segments, v.sessions = d.id16(), d.u8(), d.id32(), decodeSegments(d), decodeSessions(d)
	d.check(v.outcome <= 1)
	return v, d.end()
}

// decodeForget gives the id of the record and those of the snapshots.
func decodeForget(b []byte) (record [16]byte, ids map[[16]byte]bool, err error) {
	d := &dec{b: b}
	record = d.id16()
	d.id32() // plan
	ids = map[[16]byte]bool{}
	var before [16]byte
	for i := range d.count(16) {
		id := d.id16()
		d.check(i == 0 || bytes.Compare(before[:], id[:]) < 0)
		ids[id], before = true, id
	}
	return record, ids, d.end()
}

func decodeCondemn(b []byte) (v condemn, err error) {
	d := &dec{b: b}
	v.previous, v.swept, v.forgotten = d.uv(), d.uv(), d.uv()
	v.lists, v.removed = map[[16]byte][32]byte{}, map[[32]byte]bool{}
	var id [16]byte
	for i := range d.count(48) {
		next := d.id16()
		d.check(i == 0 || bytes.Compare(id[:], next[:]) < 0)
		v.lists[next], id = d.id32(), next
	}
	var sum [32]byte
	for i := range d.count(32) {
		next := d.id32()
		d.check(i == 0 || bytes.Compare(sum[:], next[:]) < 0)
		v.removed[next], sum = true, next
	}
	v.added = decodeSegments(d)
	decodeSessions(d) // that the collector opened
	v.objects = decodeReferences(d, true)
	return v, d.end()
}

// decodeSettle gives the slots that an entry of kind 10 gives up, and its state, or an error if these cannot be valid.
func decodeSettle(e *entry) (lost []uint64, s state, err error) {
	d := &dec{b: e.body}
	before := uint64(0)
	for n := d.count(1); n > 0; n-- {
		seq := d.uv()
		d.check(seq > before && seq < e.seq)
		lost, before = append(lost, seq), seq
	}
	if d.check(len(lost) > 0); d.err != nil {
		return nil, s, d.err
	}
	if s, err = decodeState(d.b); err != nil {
		return nil, s, err
	}
	left := func(seq uint64) bool { return seq < e.seq && !slices.Contains(lost, seq) }
	d.check(s.enrolSeq == e.enrol && left(s.enrolSeq) && left(s.recorded) && s.condemned == e.seq && s.swept == e.seq && len(s.partials) == 0)
	for _, o := range slices.Concat(s.snaps, s.forgotten) {
		d.check(left(o.seq))
	}
	return lost, s, d.err
}

// clone gives a state that can be changed without changing the other.
func (s state) clone() state {
	s.slots, s.segments = slices.Clone(s.slots), slices.Clone(s.segments)
	s.snaps, s.forgotten, s.partials = slices.Clone(s.snaps), slices.Clone(s.forgotten), slices.Clone(s.partials)
	return s
}

// same compares all but the segments.
func (s state) same(o state) bool {
	return s.enrolSeq == o.enrolSeq && s.enrol.same(o.enrol) && slices.Equal(s.slots, o.slots) &&
		slices.Equal(s.snaps, o.snaps) && slices.Equal(s.forgotten, o.forgotten) &&
		slices.EqualFunc(s.partials, o.partials, func(a, b partial) bool {
			return a.seq == b.seq && a.time == b.time && a.refs == b.refs && slices.Equal(a.sessions, b.sessions)
		}) && s.recorded == o.recorded && s.condemned == o.condemned && s.swept == o.swept
}

func (v enrolment) same(o enrolment) bool {
	return slices.EqualFunc(v.writers, o.writers, bytes.Equal) && slices.EqualFunc(v.recipients, o.recipients, bytes.Equal)
}

// wellSigned is the first half of the validity of an entry after entry 0 (section 15).
func (r *Repository) wellSigned(e *entry, s *state) bool {
	if e.enrol != s.enrolSeq {
		return false
	}
	byWriter := e.kind == 3 || e.kind == 4 || e.kind == 7 || e.kind >= 128
	return e.signedBy(r.format.admin) || byWriter && e.signedByOne(s.enrol.writers)
}

// apply gives the state after a well signed entry, or false if the entry is not valid.
func (r *Repository) apply(e *entry, before state) (state, bool) {
	s := before.clone()
	switch e.kind {
	case 2:
		d := &dec{b: e.body}
		s.enrolSeq, s.enrol = e.seq, decodeEnrolment(d)
		return s, d.end() == nil
	case 3, 4:
		c, err := decodeCommit(e.body)
		if err != nil || e.kind == 4 && (c.id != [16]byte{} || c.outcome != 0) {
			return s, false
		}
		for _, g := range c.segments {
			if g.writer != e.signer {
				return s, false
			}
			if !slices.ContainsFunc(s.segments, func(o segment) bool { return o.sum == g.sum }) {
				s.segments = append(s.segments, g)
			}
		}
		if e.kind == 3 {
			if slices.ContainsFunc(s.snaps, func(o snapRef) bool { return o.id == c.id }) {
				return s, false
			}
			s.snaps = append(s.snaps, snapRef{c.id, e.seq, e.sum, e.time, c.refs})
		}
		s.partials = slices.DeleteFunc(s.partials, func(p partial) bool {
			return slices.ContainsFunc(p.sessions, func(id [16]byte) bool { return slices.Contains(c.sessions, id) })
		})
		if e.kind == 4 {
			s.partials = append(s.partials, partial{e.seq, e.time, c.refs, c.sessions})
		}
	case 5:
		_, ids, err := decodeForget(e.body)
		if err != nil {
			return s, false
		}
		s.snaps = slices.DeleteFunc(s.snaps, func(o snapRef) bool {
			if ids[o.id] {
				s.forgotten = append(s.forgotten, o)
			}
			return ids[o.id]
		})
		s.recorded = e.seq
		return s, len(s.forgotten) == len(before.forgotten)+len(ids)
	case 6:
		c, err := decodeCondemn(e.body)
		if err != nil {
			return s, false
		}
		return s.collect(e.seq, c)
	case 7:
		v, err := decodeState(e.body)
		if err != nil {
			return s, false
		}
		if !s.same(v) {
			return s, false
		}
		mine := func(g segment) bool { return g.writer == e.signer }
		if !e.signedBy(r.format.admin) && !slices.Equal(slices.DeleteFunc(slices.Clone(s.segments), mine),
			slices.DeleteFunc(slices.Clone(v.segments), mine)) {
			return s, false
		}
		return v, true
	case 10:
		_, v, err := decodeSettle(e)
		if err != nil || v.enrolSeq != s.enrolSeq || !v.enrol.same(s.enrol) {
			return s, false
		}
		return v, true
	case 8:
		d := &dec{b: e.body}
		removed, slot := d.u8(), decodeSlot(d)
		if d.check(removed <= 1); d.end() != nil {
			return s, false
		}
		s.slots = slices.DeleteFunc(s.slots, func(o slotRef) bool { return o.id == slot.id })
		if removed == 0 {
			s.slots = append(s.slots, slot)
		}
	}
	return s, true
}

// collect gives the state after a condemn entry, or false if that is not valid.
func (s state) collect(seq uint64, c condemn) (state, bool) {
	if c.previous != s.condemned || c.swept < s.swept || c.swept > c.previous || c.forgotten > uint64(len(s.forgotten)) {
		return s, false
	}
	changed, segments := 0, len(s.segments)
	for i := range s.snaps {
		if list, ok := c.lists[s.snaps[i].id]; ok {
			s.snaps[i].refs = list
			changed++
		}
	}
	s.segments = slices.DeleteFunc(s.segments, func(g segment) bool { return c.removed[g.sum] })
	if changed != len(c.lists) || segments-len(s.segments) != len(c.removed) {
		return s, false
	}
	s.segments = append(s.segments, c.added...)
	if repeated(s.segments) ||
		slices.ContainsFunc(s.segments, func(g segment) bool { return c.names('I', g.sum) }) ||
		slices.ContainsFunc(s.snaps, func(o snapRef) bool { return c.names('R', o.refs) }) {
		return s, false
	}
	s.forgotten = s.forgotten[c.forgotten:]
	s.partials = slices.DeleteFunc(s.partials, func(p partial) bool { return c.names('R', p.refs) })
	s.condemned, s.swept = seq, c.swept
	return s, true
}

// genesis takes entry 0.
func (r *Repository) genesis() (*entry, state, error) {
	e, _, err := r.slot(0)
	if err != nil {
		return nil, state{}, err
	}
	if e == nil || !e.signedBy(r.format.admin) {
		return nil, state{}, errors.New("entry 0 is missing or not good")
	}
	s, err := decodeState(e.body)
	if err == nil && s.enrolSeq != 0 {
		err = errMalformed
	}
	return e, s, err
}

// checkpoint takes a checkpoint as the start, or gives nil if it is not to be trusted.
func (r *Repository) checkpoint(seq uint64) (*entry, state, error) {
	e, _, err := r.slot(seq)
	if err != nil || e == nil || e.kind != 7 && e.kind != 10 {
		return nil, state{}, err
	}
	var s state
	if e.kind == 7 {
		s, err = decodeState(e.body)
	} else {
		_, s, err = decodeSettle(e)
	}
	if err != nil || s.enrolSeq != e.enrol {
		return nil, state{}, nil
	}
	n, _, err := r.slot(s.enrolSeq)
	if err != nil || n == nil || !n.signedBy(r.format.admin) {
		return nil, state{}, err
	}
	d := &dec{b: n.body}
	var enrol enrolment
	switch n.kind {
	case 1:
		g, err := decodeState(n.body)
		if enrol = g.enrol; err != nil {
			return nil, state{}, nil
		}
	case 2:
		if enrol = decodeEnrolment(d); d.end() != nil {
			return nil, state{}, nil
		}
	default:
		return nil, state{}, nil
	}
	if !enrol.same(s.enrol) || !e.signedBy(r.format.admin) && (e.kind != 7 || !e.signedByOne(enrol.writers)) {
		return nil, state{}, nil
	}
	return e, s, nil
}

// findHead looks for the last slot with an object: at 8 slots after every one that is found.
func (r *Repository) findHead() error {
	found := false
	for s := uint64(0); s <= r.head+8; s++ {
		_, err := fs.Stat(r.fsys, logName(s))
		if err == nil {
			r.head, found = s, true
		} else if !errors.Is(err, fs.ErrNotExist) {
			return plain(err)
		}
	}
	if !found {
		return errors.New("there is no log")
	}
	return nil
}

// start finds the entry and the state to begin with ("Opening").
func (r *Repository) start(full bool) (*entry, state, error) {
	for at := r.head; !full && at > 0; {
		e, _, err := r.slot(at)
		if err != nil {
			return nil, state{}, err
		}
		if e == nil {
			at--
			continue
		}
		cp := e.checkpoint
		if e.kind == 7 || e.kind == 10 {
			cp = e.seq
		}
		if cp == 0 {
			break
		}
		c, s, err := r.checkpoint(cp)
		if c != nil || err != nil {
			return c, s, err
		}
		at = cp - 1
	}
	return r.genesis()
}

// openLog finds the state at the head (section 15).
func (r *Repository) openLog(full bool) error {
	if err := r.findHead(); err != nil {
		return err
	}
	first, s, err := r.start(full)
	if err != nil {
		return err
	}
	r.state, r.before, r.undo, r.chain, r.first, r.at = s, s, false, first.next(), first.seq, first.seq
	return r.follow()
}

// readOn takes the entries that have come since the log was opened.
func (r *Repository) readOn() error {
	if err := r.findHead(); err != nil {
		return err
	}
	return r.follow()
}

// follow takes the entries up to the head.
func (r *Repository) follow() error {
	for r.at < r.head {
		seq := r.at + 1
		e, sum, err := r.slot(seq)
		if err != nil {
			return err
		}
		valid := false
		if e != nil && r.wellSigned(e, &r.state) {
			if e.chain == r.chain {
				for i := range r.damage {
					r.damage[i].Vouched = r.damage[i].Vouched || !r.damage[i].final
				}
			} else {
				if r.undo {
					r.state = r.before
					r.unsettle(seq - 1)
				}
				if r.undo || seq == r.first+1 { // the start itself cannot be undone, but is under suspicion
					r.damage = append(r.damage, Damage{Seq: seq - 1})
				}
				for i := range r.damage {
					r.damage[i].final = r.damage[i].final || !r.damage[i].Vouched
				}
				r.chain = e.chain
			}
			if r.wellSigned(e, &r.state) { // still, should an entry have been undone
				var after state
				if after, valid = r.apply(e, r.state); valid {
					r.before, r.state = r.state, after
					r.settle(e)
				}
			}
		}
		if r.undo = valid; !valid {
			r.damage = append(r.damage, Damage{Seq: seq})
		}
		r.chain, r.at = link(r.chain, sum), seq
	}
	return nil
}

// settle marks all damage before an entry of kind 10.
func (r *Repository) settle(e *entry) {
	if e.kind != 10 {
		return
	}
	lost, _, _ := decodeSettle(e)
	for i := range r.damage {
		d := &r.damage[i]
		if d.settledBy == 0 {
			d.settledBy = e.seq
		}
		if d.givenUpBy == 0 && slices.Contains(lost, d.Seq) {
			d.givenUpBy = e.seq
		}
	}
}

// unsettle takes back what an entry marked that is undone.
func (r *Repository) unsettle(seq uint64) {
	for i := range r.damage {
		d := &r.damage[i]
		if d.settledBy == seq {
			d.settledBy = 0
		}
		if d.givenUpBy == seq {
			d.givenUpBy = 0
		}
	}
}

// Damage lists the damaged slots of the log after the point that it was opened from.
func (r *Repository) Damage() []Damage {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(r.damage)
	for i := range out {
		out[i].Settled, out[i].GivenUp = out[i].settledBy > 0, out[i].givenUpBy > 0
	}
	return out
}

// A Snapshot is one snapshot with its description.
type Snapshot struct {
	ID                     [16]byte
	Seq                    uint64 // of its log entry
	Complete               bool
	Time                   int64 // of its log entry, ms
	Started, Finished      int64 // ms
	Host                   string
	Sources                []string
	Labels                 map[string]string
	Files, Folders, Others uint64
	Bytes                  uint64 // of content of files
	ProblemCount           uint64

	r        *Repository
	root     child
	level    byte
	problems content
	listSize uint64
}

// Snapshots gives the snapshots that the log leads to, oldest first. With an error it gives those that can be read.
func (r *Repository) Snapshots() ([]Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Snapshot
	var errs []error
	last := uint64(0)
	for _, ref := range r.state.snaps {
		s, err := r.snapshot(ref)
		if last = ref.seq; err != nil {
			errs = append(errs, fmt.Errorf("snapshot: %w", err))
			continue
		}
		out = append(out, s)
	}
	for _, d := range r.damage {
		if d.Seq > last && !d.Vouched && d.settledBy == 0 {
			errs = append(errs, ErrDamage)
			break
		}
	}
	return out, errors.Join(errs...)
}

// snapshot reads a snapshot's entry again and opens its description.
func (r *Repository) snapshot(ref snapRef) (Snapshot, error) {
	e, sum, err := r.slot(ref.seq)
	if err != nil {
		return Snapshot{}, err
	}
	if e == nil || sum != ref.sum || e.kind != 3 {
		return Snapshot{}, errors.New("the log entry is not the one that the state names")
	}
	c, err := decodeCommit(e.body)
	if err != nil || c.id != ref.id {
		return Snapshot{}, errMalformed
	}
	b, err := r.openBody("carekeep/v1 snapshot", c.id, e.sealed)
	if err != nil {
		return Snapshot{}, err
	}
	s := Snapshot{ID: c.id, Seq: e.seq, Complete: c.outcome == 0, Time: int64(ref.time), r: r}
	return s, s.decode(b)
}

// openBody opens a sealed body (section 14).
func (r *Repository) openBody(domain string, id [16]byte, body []byte) ([]byte, error) {
	aad := join(domain, r.scope(), id[:])
	d := &dec{b: body}
	key, err := r.unwrap(d, aad)
	if err != nil {
		return nil, err
	}
	sealed := d.bytes()
	if err := d.end(); err != nil {
		return nil, err
	}
	return r.unseal(key, aad, sealed)
}

// Record gives the record of the newest entry that forgets, or nil if there is none.
func (r *Repository) Record() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.recorded == 0 {
		return nil, nil
	}
	e, _, err := r.slot(r.state.recorded)
	if err != nil {
		return nil, err
	}
	if e == nil || e.kind != 5 || !e.signedBy(r.format.admin) {
		return nil, errors.New("the log entry is not the one that the state names")
	}
	id, _, err := decodeForget(e.body)
	if err != nil {
		return nil, err
	}
	return r.openBody("carekeep/v1 record", id, e.sealed)
}

// list gives the list of references that the state names for the snapshot now.
func (s *Snapshot) list() (refs [32]byte, ok bool) {
	i := slices.IndexFunc(s.r.state.snaps, func(o snapRef) bool { return o.id == s.ID })
	if i < 0 {
		return refs, false
	}
	return s.r.state.snaps[i].refs, true
}

// explain says ErrForgotten where a snapshot could not be read because it is no longer kept.
func (s *Snapshot) explain(err error) error {
	if err == nil {
		return nil
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.r.readOn() == nil {
		if _, ok := s.list(); !ok {
			return errors.Join(ErrForgotten, err)
		}
	}
	return err
}

// decode takes the description.
func (s *Snapshot) decode(b []byte) error {
	d := &dec{b: b}
	if v := d.u8(); v > 1 || v == 0 && d.err == nil {
		return errNewer
	}
	s.root = child{id: d.id32(), size: d.uv(), entries: d.uv(), bytes: d.uv()}
	level := d.uv()
	d.check(level <= 12)
	s.level = byte(level)
	s.Started, s.Finished, s.Host = d.sv(), d.sv(), string(d.bytes())
	for n := d.count(1); n > 0; n-- {
		s.Sources = append(s.Sources, string(d.bytes()))
	}
	s.Labels = map[string]string{}
	var before []byte
	for i := range d.count(2) {
		k := d.bytes()
		d.check(i == 0 || bytes.Compare(before, k) < 0)
		s.Labels[string(k)], before = string(d.bytes()), k
	}
	s.Files, s.Folders, s.Others, s.Bytes = d.uv(), d.uv(), d.uv(), d.uv()
	s.ProblemCount, s.listSize = d.uv(), d.uv()
	d.check(s.listSize <= 1<<40)
	s.problems = decodeContent(d, s.listSize)
	return d.end()
}
