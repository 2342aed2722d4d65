// Package ledger is the commit log: a hash-chained sequence of signed entries at log/0, log/1, … each
// created exclusively. It is the only commit point of a repository; whatever no entry names does not exist.
//
// The head is found without listing, by probing forward from a pinned entry. Every entry names the newest
// checkpoint, whose body is the state that the log adds up to, so opening costs one checkpoint and the few
// entries after it however long the log is.
//
// An entry that cannot be decoded, is not signed by a key enrolled for its kind, or carries another
// sequence number occupies its slot and is skipped. Its bytes stay in the chain: the next valid entry
// vouches for them. See [Ledger.Damage] for what that means to a reader.
package ledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// CheckpointEvery is how many entries may follow a checkpoint before the next one is due.
const CheckpointEvery = 64

// maxEntry bounds one entry: a checkpoint of a million snapshots.
const maxEntry = 128 << 20

// signDomain separates signatures of log entries from all others.
const signDomain = "carekeep/v1 log"

// Errors that callers tell apart.
var (
	// ErrNoLog: the log has no entry 0.
	ErrNoLog = errors.New("the repository has no commit log")
	// ErrRolledBack: the store shows an older or another log than this host has seen.
	ErrRolledBack = errors.New("the store's commit log is older than, or not the one, this host has seen before")
	// ErrAltered: a slot does not hold what was committed there.
	ErrAltered = errors.New("the store returned other bytes than were committed")
	// ErrMoved: others have added entries since the one that a proposal was made after.
	ErrMoved = errors.New("the commit log has moved on")
)

// Pin is a log position that a host has verified and remembers.
type Pin struct {
	Seq   uint64
	Hash  format.Hash // SHA-256 of the entry's object
	Chain format.Hash // of every object up to it; see format.Chain
}

// Config says which log to open.
type Config struct {
	Store    *store.Store
	Repo     format.RepoID
	AdminKey []byte
	Now      func() time.Time // default time.Now
}

// Memory is what a ledger knows, to be kept by a host between runs.
type Memory struct {
	Pin        Pin
	Checkpoint uint64
	State      []byte // format.State
	Damage     []Damage
	Broken     uint64
}

// Damage is a slot of the log that holds no valid entry.
type Damage struct {
	Seq uint64
	// Vouched: a later valid entry was chained to these very bytes, so they were no entry when it was
	// written. Otherwise the slot may have held a commit that the store has altered since.
	Vouched bool
	// Settled: a settle entry follows, which says what the log adds up to, whatever the slot held.
	Settled bool
	// Accepted: a settle entry names this slot as lost.
	Accepted bool
}

// InDoubt reports whether the slot may have held a commit that whoever reads the log does not know of.
func (d Damage) InDoubt() bool { return !d.Vouched && !d.Settled }

// Ledger is an opened log. It is safe for concurrent use; Append and Refresh exclude each other.
type Ledger struct {
	c Config

	mu         sync.Mutex
	head       Pin
	checkpoint uint64
	state      *format.State
	settled    uint64   // the newest settle entry that was read; 0 for none
	accepted   []uint64 // slots that such entries name as lost
	damage     []Damage // Settled and Accepted follow from the above
	broken     uint64   // the slot from which on the chain is whole
	newer      bool     // the log holds an entry of a kind that only a later release understands

	// before is what there was without the newest entry, if that is valid. Until a later entry is chained to
	// it, the store may have put another signed entry, one that lost the race for its slot, in its place.
	before *position

	look func(*format.LogEntry) // at each well signed entry, valid or not; may be nil
}

// position is what the entries up to some slot add up to.
type position struct {
	state      *format.State
	checkpoint uint64
	settled    uint64
	accepted   []uint64
}

func (l *Ledger) position() *position {
	return &position{l.copyState(), l.checkpoint, l.settled, slices.Clip(l.accepted)}
}

func (l *Ledger) goBack(p *position) {
	l.state, l.checkpoint, l.settled, l.accepted = p.state, p.checkpoint, p.settled, p.accepted
}

// Create writes entry 0. It fails with an error that wraps [store.ErrExists] if the log has begun.
func Create(ctx context.Context, c Config, admin *seal.Signer, first *format.Enrolment, slots []format.SlotInfo) (*Ledger, error) {
	l := &Ledger{c: c.withDefaults(), state: &format.State{}}
	l.state.Enrolment, l.state.Slots = *first, slots
	object := l.encode(&format.LogEntry{Kind: format.KindGenesis, Body: l.state.Append(nil)}, admin)
	if err := c.Store.Create(ctx, format.EntryKey(0), object); err != nil {
		return nil, fmt.Errorf("commit log: %w", err)
	}
	l.head = Pin{Hash: sha256.Sum256(object), Chain: format.Chain(format.Hash{}, object)}
	return l, nil
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Open finds the head of the log and learns its state. A memory of an earlier opening, which may be nil,
// saves most of the reading and makes a rolled-back store an error that wraps [ErrRolledBack].
func Open(ctx context.Context, c Config, m *Memory) (*Ledger, error) {
	l := &Ledger{c: c.withDefaults()}
	if m != nil {
		changed, err := l.resume(ctx, m)
		if err != nil {
			return nil, err
		}
		if err := l.Refresh(ctx); err != nil {
			return nil, err
		}
		if changed != nil && !slices.Contains(l.accepted, m.Pin.Seq) {
			return nil, changed
		}
		return l, nil
	}
	head, err := l.findHead(ctx, 0, true)
	if err != nil {
		return nil, err
	}
	if err := l.load(ctx, head); err != nil {
		return nil, err
	}
	return l, nil
}

// resume goes on from a memory. Changed says that the store shows something else in the slot of its pin: the store was
// rolled back, unless what follows says that the administrator has accepted the loss of that very slot.
func (l *Ledger) resume(ctx context.Context, m *Memory) (changed, err error) {
	object, err := l.c.Store.Get(ctx, format.EntryKey(m.Pin.Seq), maxEntry)
	switch {
	case errors.Is(err, store.ErrNotFound):
		changed = fmt.Errorf("%w: entry %d is gone", ErrRolledBack, m.Pin.Seq)
	case err != nil:
		return nil, fmt.Errorf("commit log: %w", err)
	case sha256.Sum256(object) != m.Pin.Hash:
		changed = fmt.Errorf("%w: entry %d is another", ErrRolledBack, m.Pin.Seq)
	}
	st, err := format.DecodeState(m.State)
	if err != nil {
		return nil, fmt.Errorf("remembered state: %w", err)
	}
	l.head, l.checkpoint, l.state = m.Pin, m.Checkpoint, st
	l.damage, l.broken = slices.Clone(m.Damage), m.Broken
	for _, d := range m.Damage {
		if d.Settled {
			l.settled = d.Seq // as good as the slot of the entry itself: no damage lies between
		}
		if d.Accepted {
			l.accepted = append(l.accepted, d.Seq)
		}
	}
	return changed, nil
}

// Memory returns what a host should remember; nil while a slot since the last checkpoint is in doubt: the
// store may only have failed to show it, so the next opening looks again. Likewise nil after an entry that
// only a later release understands: each opening has to meet it, and then refuses to write.
func (l *Ledger) Memory() *Memory {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newer || l.doubt() > l.checkpoint {
		return nil
	}
	return &Memory{
		Pin: l.head, Checkpoint: l.checkpoint, State: l.state.Append(nil), Damage: l.allDamage(), Broken: l.broken,
	}
}

// Head returns the newest entry's position.
func (l *Ledger) Head() Pin {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// State returns a copy of what the log adds up to at its head.
func (l *Ledger) State() *format.State {
	s, _ := l.At()
	return s
}

// At returns what the log adds up to, as a copy, and the head that it is of.
func (l *Ledger) At() (*format.State, Pin) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := *l.state
	s.Slots, s.Segments = slices.Clone(s.Slots), slices.Clone(s.Segments)
	s.Snapshots, s.Forgotten, s.Partials = slices.Clone(s.Snapshots), slices.Clone(s.Forgotten), slices.Clone(s.Partials)
	return &s, l.head
}

// Damage lists the slots known to hold no valid entry. One that is in doubt and comes after the newest
// snapshot may have been a newer snapshot: "the latest" is then not known.
func (l *Ledger) Damage() []Damage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.allDamage()
}

func (l *Ledger) allDamage() []Damage {
	out := slices.Clone(l.damage)
	for i := range out {
		out[i].Settled = out[i].Seq <= l.settled
		out[i].Accepted = slices.Contains(l.accepted, out[i].Seq)
	}
	return out
}

// CheckpointDue reports whether the next entry should be a checkpoint. One that is written by a process
// which a slot was withheld from would hide that slot's snapshot from all others, so doubt puts it off.
func (l *Ledger) CheckpointDue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head.Seq+1 >= max(l.checkpoint, l.doubt())+CheckpointEvery
}

// CheckpointAllowed reports whether no doubt puts a checkpoint off, be it due or not.
func (l *Ledger) CheckpointAllowed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	doubt := l.doubt()
	return doubt == 0 || l.head.Seq+1 >= doubt+CheckpointEvery
}

// doubt is the newest slot that is in doubt; 0 for none.
func (l *Ledger) doubt() uint64 {
	for _, d := range slices.Backward(l.damage) {
		if !d.Vouched && d.Seq > l.settled {
			return d.Seq
		}
	}
	return 0
}

// Refresh reads the entries that others have added.
func (l *Ledger) Refresh(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refresh(ctx)
}

func (l *Ledger) refresh(ctx context.Context) error {
	head, err := l.findHead(ctx, l.head.Seq, false)
	if err != nil {
		return err
	}
	return l.follow(ctx, l.head.Seq+1, head)
}

// Proposal is an entry to be appended.
type Proposal struct {
	Kind   format.EntryKind
	Signer *seal.Signer
	// Build makes the entry's body from the state that it will follow. It is called again, with a newer
	// state, after every lost race; its error ends the attempt.
	Build func(*format.State) (body, sealed []byte, err error)
	// After, if not nil, is the only entry that this one may follow. Otherwise Append fails with ErrMoved.
	After *Pin
}

// Append commits an entry and returns where. It returns nil only when the entry is in the log; after an
// error of ctx it may be there or not.
func (l *Ledger) Append(ctx context.Context, p Proposal) (format.SnapRef, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if l.newer {
			return format.SnapRef{}, fmt.Errorf("commit log: %w: it holds entries of a later release, which must write here: use that release", format.ErrVersion)
		}
		if p.After != nil && *p.After != l.head {
			return format.SnapRef{}, fmt.Errorf("commit log: %w", ErrMoved)
		}
		body, sealed, err := p.Build(l.state)
		if err != nil {
			return format.SnapRef{}, err
		}
		e := &format.LogEntry{
			Seq: l.head.Seq + 1, Prev: l.head.Chain, Kind: p.Kind,
			Checkpoint: l.checkpoint, Enrolled: l.state.Enrolled, Body: body, Sealed: sealed,
		}
		object := l.encode(e, p.Signer)
		if err := l.would(e, object); err != nil {
			return format.SnapRef{}, fmt.Errorf("commit log: the entry would not be valid: %w", err)
		}
		err = l.c.Store.Create(ctx, format.EntryKey(e.Seq), object)
		if errors.Is(err, store.ErrExists) {
			if err := l.refresh(ctx); err != nil {
				return format.SnapRef{}, err
			}
			continue
		}
		if err != nil {
			return format.SnapRef{}, fmt.Errorf("commit log: %w", err)
		}
		ref := format.SnapRef{Seq: e.Seq, Hash: sha256.Sum256(object), Time: e.Time}
		l.apply(e.Seq, object)
		return ref, nil
	}
}

func (l *Ledger) encode(e *format.LogEntry, by *seal.Signer) []byte {
	e.Repo = l.c.Repo
	e.Signer = SignerID(by.Public())
	e.Time = l.c.Now().UnixMilli()
	rand.Read(e.Nonce[:])
	b := e.Append(nil)
	return append(b, by.Sign(signDomain, b)...)
}

// SignerID is the short name of a public key in entries and sessions.
func SignerID(public []byte) (id format.WriterID) {
	h := sha256.Sum256(public)
	copy(id[:], h[:])
	return id
}

// SignedByAdmin reads an entry that the state names by its sequence alone, and refuses one that the
// administrator did not sign.
func (l *Ledger) SignedByAdmin(ctx context.Context, seq uint64) (*format.LogEntry, error) {
	object, err := l.c.Store.Get(ctx, format.EntryKey(seq), maxEntry)
	if err != nil {
		return nil, fmt.Errorf("log entry %d: %w", seq, err)
	}
	e, err := l.signedByAdmin(seq, object)
	if err != nil {
		return nil, fmt.Errorf("log entry %d: %w: %w", seq, ErrAltered, err)
	}
	return e, nil
}

// Entry reads one committed entry again, and refuses other bytes than those the log holds.
func (l *Ledger) Entry(ctx context.Context, ref format.SnapRef) (*format.LogEntry, error) {
	object, err := l.c.Store.Get(ctx, format.EntryKey(ref.Seq), maxEntry)
	if err != nil {
		return nil, fmt.Errorf("log entry %d: %w", ref.Seq, err)
	}
	if sha256.Sum256(object) != ref.Hash {
		return nil, fmt.Errorf("log entry %d: %w", ref.Seq, ErrAltered)
	}
	e, _, _, err := format.DecodeLogEntry(object)
	return e, err
}

// would reports whether an entry about to be written would be taken by every reader.
func (l *Ledger) would(e *format.LogEntry, object []byte) error {
	if len(object) > maxEntry {
		return errors.New("it is larger than any reader takes")
	}
	if _, err := l.check(e.Seq, object); err != nil {
		return err
	}
	trial := &Ledger{c: l.c, head: l.head, checkpoint: l.checkpoint, state: l.copyState()}
	return trial.take(e)
}

// apply takes the object at seq, the next slot, into the state.
func (l *Ledger) apply(seq uint64, object []byte) {
	e, err := l.check(seq, object)
	l.applyChecked(seq, object, e, err)
}

// applyChecked is apply for an object of which check has said e and err.
func (l *Ledger) applyChecked(seq uint64, object []byte, e *format.LogEntry, err error) {
	prev, before := l.head, l.position()
	if err == nil && l.look != nil {
		l.look(e)
	}
	if err == nil && seq > 0 && e.Prev != prev.Chain {
		// This entry's writer saw other bytes in some slot before it than we did. Go on from what it saw.
		l.altered(seq - 1)
		before = l.position()
		prev.Chain = e.Prev
	} else if err == nil {
		l.vouch()
	}
	l.head = Pin{Seq: seq, Hash: sha256.Sum256(object), Chain: format.Chain(prev.Chain, object)}
	if err == nil {
		err = l.take(e)
	}
	if err != nil {
		l.goBack(before)
		l.before = nil
		l.damage = append(l.damage, Damage{Seq: seq})
		return
	}
	l.before = before
}

// altered notes that the bytes of slot last, or of one of the invalid slots just before it, are not those
// that the next entry was chained to. A valid entry in slot last is then not the one that was committed.
func (l *Ledger) altered(last uint64) {
	l.broken = last + 1
	if l.damaged(last) {
		return // it and its neighbours stay damage that nobody vouches for
	}
	if l.before != nil {
		l.goBack(l.before)
	}
	l.damage = append(l.damage, Damage{Seq: last})
}

// vouch marks the damaged slots since the chain was last broken: a valid entry was chained to their very
// bytes.
func (l *Ledger) vouch() {
	for i := len(l.damage) - 1; i >= 0 && l.damage[i].Seq >= l.broken; i-- {
		l.damage[i].Vouched = true
	}
}

func (l *Ledger) damaged(seq uint64) bool {
	return slices.ContainsFunc(l.damage, func(d Damage) bool { return d.Seq == seq })
}

// copyState copies the state so far as take changes it.
func (l *Ledger) copyState() *format.State {
	if l.state == nil {
		return nil
	}
	s := *l.state
	s.Slots, s.Segments = slices.Clip(s.Slots), slices.Clip(s.Segments)
	s.Snapshots, s.Forgotten = slices.Clip(s.Snapshots), slices.Clip(s.Forgotten)
	return &s
}

// check decodes an entry and verifies that it belongs at seq and is signed by a key that may write it.
func (l *Ledger) check(seq uint64, object []byte) (*format.LogEntry, error) {
	e, signed, sig, err := format.DecodeLogEntry(object)
	if err != nil {
		return nil, err
	}
	if e.Repo != l.c.Repo || e.Seq != seq || (seq == 0) != (e.Kind == format.KindGenesis) {
		return nil, errors.New("the entry belongs elsewhere")
	}
	if l.state != nil && seq > 0 && e.Enrolled != l.state.Enrolled {
		return nil, errors.New("the entry was written under another enrolment")
	}
	key := l.key(e)
	if key == nil {
		return nil, errors.New("the entry's signer is not enrolled")
	}
	return e, seal.Verify(key, signDomain, signed, sig)
}

// key returns the public key that must have signed e, or nil if its signer may not write such an entry.
func (l *Ledger) key(e *format.LogEntry) []byte {
	if e.Signer == SignerID(l.c.AdminKey) {
		return l.c.AdminKey
	}
	switch {
	case e.Kind == format.KindSnapshot, e.Kind == format.KindPartial, e.Kind == format.KindCheckpoint, e.Kind >= ignorable:
	default:
		return nil
	}
	if l.state == nil { // the base of an opening: see start
		return nil
	}
	return writer(&l.state.Enrolment, e.Signer)
}

// ignorable is the first kind of entry that a reader may pass over without knowing it. An unknown kind
// below it means that an older release must not write any more.
const ignorable = 128

// writer returns the enrolled key of that name, or nil.
func writer(x *format.Enrolment, id format.WriterID) []byte {
	for _, w := range x.Writers {
		if SignerID(w) == id {
			return w
		}
	}
	return nil
}

// take adds a checked entry to the state.
func (l *Ledger) take(e *format.LogEntry) error {
	switch e.Kind {
	case format.KindGenesis, format.KindCheckpoint:
		s, err := format.DecodeState(e.Body)
		if err != nil {
			return err
		}
		if e.Kind == format.KindCheckpoint {
			admin := e.Signer == SignerID(l.c.AdminKey)
			if err := follows(l.state, s, e.Signer, admin); err != nil {
				return err
			}
		}
		l.state, l.checkpoint = s, e.Seq
	case format.KindSettle:
		s, err := format.DecodeSettle(e.Body)
		if err != nil {
			return err
		}
		if err := settles(l.state, e.Seq, s); err != nil {
			return err
		}
		l.state, l.checkpoint, l.settled = &s.State, e.Seq, e.Seq
		l.accepted = append(l.accepted, s.Lost...)
	case format.KindEnrol:
		x, err := format.DecodeEnrolment(e.Body)
		if err != nil {
			return err
		}
		l.state.Enrolment, l.state.Enrolled = *x, e.Seq
	case format.KindSnapshot, format.KindPartial:
		c, err := format.DecodeCommit(e.Body)
		if err != nil {
			return err
		}
		foreign := func(s format.Segment) bool { return s.Writer != e.Signer }
		if slices.ContainsFunc(c.Segments, foreign) {
			return errors.New("the entry names another writer's index segment as its own")
		}
		if e.Kind == format.KindPartial && (c.ID != format.SnapID{} || c.Outcome != 0) {
			return errors.New("a partial entry says that it is a snapshot")
		}
		again := func(s format.SnapRef) bool { return s.ID == c.ID }
		if e.Kind == format.KindSnapshot && slices.ContainsFunc(l.state.Snapshots, again) {
			return errors.New("there is a snapshot of that id")
		}
		l.addSegments(c.Segments)
		// A run's entry stands for what it, and the runs it took over, have told before.
		l.state.Partials = slices.DeleteFunc(slices.Clone(l.state.Partials), func(p format.Partial) bool {
			return slices.ContainsFunc(p.Sessions, func(s format.SessionID) bool { return slices.Contains(c.Sessions, s) })
		})
		if e.Kind == format.KindPartial {
			l.state.Partials = append(l.state.Partials, format.Partial{Seq: e.Seq, Time: e.Time, Refs: c.Refs, Sessions: c.Sessions})
		} else {
			l.state.Snapshots = append(l.state.Snapshots, format.SnapRef{ID: c.ID, Seq: e.Seq, Hash: l.head.Hash, Time: e.Time, Refs: c.Refs})
		}
	case format.KindForget:
		f, err := format.DecodeForget(e.Body)
		if err != nil {
			return err
		}
		return forget(l.state, e.Seq, f)
	case format.KindCondemn:
		c, err := format.DecodeCondemn(e.Body)
		if err != nil {
			return err
		}
		return condemn(l.state, e.Seq, c)
	case format.KindSlots:
		c, err := format.DecodeSlotChange(e.Body)
		if err != nil {
			return err
		}
		l.state.Slots = slices.DeleteFunc(slices.Clone(l.state.Slots), func(s format.SlotInfo) bool { return s.ID == c.Slot.ID })
		if !c.Removed {
			l.state.Slots = append(l.state.Slots, c.Slot)
		}
	default:
		if e.Kind < ignorable {
			l.newer = true
		}
	}
	return nil
}

func (l *Ledger) addSegments(ss []format.Segment) {
	for _, s := range ss {
		if !slices.ContainsFunc(l.state.Segments, func(t format.Segment) bool { return t.Hash == s.Hash }) {
			l.state.Segments = append(l.state.Segments, s)
		}
	}
}

var errContradicts = errors.New("the checkpoint contradicts the log")

// follows refuses a checkpoint that says anything else than the entries before it. Only index segments may
// have been merged, and by a writer only its own.
func follows(have, said *format.State, signer format.WriterID, admin bool) error {
	a, b := *have, *said
	a.Segments, b.Segments = nil, nil
	if !bytes.Equal(a.Append(nil), b.Append(nil)) {
		return errContradicts
	}
	if admin {
		return nil
	}
	own := func(s format.Segment) bool { return s.Writer == signer }
	if !slices.Equal(slices.DeleteFunc(slices.Clone(have.Segments), own), slices.DeleteFunc(slices.Clone(said.Segments), own)) {
		return errors.New("the checkpoint changes another writer's index segments")
	}
	return nil
}

// readRange fetches the objects of slots from to to inclusive and passes them on in order.
func (l *Ledger) readRange(ctx context.Context, from, to uint64, f func(seq uint64, object []byte) error) error {
	const window = 128
	for from <= to {
		n := min(to-from+1, window)
		objects := make([][]byte, n)
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(16)
		for i := range n {
			g.Go(func() (err error) {
				objects[i], err = l.c.Store.Get(gctx, format.EntryKey(from+i), maxEntry)
				if errors.Is(err, store.ErrNotFound) {
					objects[i], err = []byte{}, nil // a hole: bytes that are no entry
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return fmt.Errorf("commit log: %w", err)
		}
		for i, o := range objects {
			if err := f(from+uint64(i), o); err != nil {
				return err
			}
		}
		from += n
	}
	return nil
}

func (l *Ledger) follow(ctx context.Context, from, to uint64) error {
	if from > to {
		return nil
	}
	return l.readRange(ctx, from, to, func(seq uint64, object []byte) error {
		e, invalid := l.check(seq, object)
		for try := 1; invalid != nil && try < readings; try++ {
			again, err := l.readAgain(ctx, seq, time.Duration(try)*10*time.Millisecond)
			if err != nil {
				return err
			}
			if len(again) > 0 && bytes.Equal(again, object) {
				break // this is what the store holds
			}
			object = again
			e, invalid = l.check(seq, object)
		}
		l.applyChecked(seq, object, e, invalid)
		return nil
	})
}

// readings is how often a slot is read before it is taken for one that holds no valid entry. A process that
// went on from a slot it misread would contradict, in the entry it writes next, what was committed there.
const readings = 4

// readAgain reads a slot once more, after a pause in which a store that lags may catch up.
func (l *Ledger) readAgain(ctx context.Context, seq uint64, pause time.Duration) ([]byte, error) {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	object, err := l.c.Store.Get(ctx, format.EntryKey(seq), maxEntry)
	if errors.Is(err, store.ErrNotFound) {
		return []byte{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("commit log: %w", err)
	}
	return object, nil
}
