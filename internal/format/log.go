package format

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// EntryKind says what a log entry records.
type EntryKind byte

// The kinds of log entries. The numbers are frozen. Home is reserved: a reader of version 1 keeps it in the
// chain.
const (
	KindGenesis    EntryKind = 1  // administrator: the first signers and recipients; entry 0
	KindEnrol      EntryKind = 2  // administrator: a change of signers or recipients
	KindSnapshot   EntryKind = 3  // writer
	KindPartial    EntryKind = 4  // writer: what an unfinished run has stored
	KindForget     EntryKind = 5  // administrator: snapshots that need not be kept any more
	KindCondemn    EntryKind = 6  // administrator: objects that may be deleted from here on
	KindCheckpoint EntryKind = 7  // writer or administrator: the state up to here
	KindSlots      EntryKind = 8  // administrator: a key slot added or removed
	KindHome       EntryKind = 9  // administrator
	KindSettle     EntryKind = 10 // administrator: slots whose loss is accepted, and the state from there on
)

// LogEntry is one entry of the commit log: the only commit point.
type LogEntry struct {
	Repo       RepoID
	Seq        uint64
	Prev       Hash // the chain up to Seq-1, see Chain; zero for entry 0
	Kind       EntryKind
	Signer     WriterID
	Time       int64 // the signer's clock, milliseconds since 1970 UTC; never used for safety
	Nonce      [16]byte
	Checkpoint uint64 // sequence of the newest checkpoint before this entry; 0 means the genesis
	Enrolled   uint64 // sequence of the newest enrolment before this entry; 0 means the genesis
	Body       []byte // in clear, by kind
	Sealed     []byte // to the recipients, by kind; may be empty
}

// Append encodes e without its signature.
func (e *LogEntry) Append(b []byte) []byte {
	b = append(b, Header(TypeEntry)...)
	b = append(b, e.Repo[:]...)
	b = binary.BigEndian.AppendUint64(b, e.Seq)
	b = append(b, e.Prev[:]...)
	b = append(b, byte(e.Kind))
	b = append(b, e.Signer[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time))
	b = append(b, e.Nonce[:]...)
	b = binary.BigEndian.AppendUint64(b, e.Checkpoint)
	b = binary.BigEndian.AppendUint64(b, e.Enrolled)
	b = appendBytes(b, e.Body)
	return appendBytes(b, e.Sealed)
}

// DecodeLogEntry decodes an entry and returns the bytes that its signature covers.
func DecodeLogEntry(object []byte) (e *LogEntry, signed, signature []byte, err error) {
	if err := CheckHeader(object, TypeEntry); err != nil {
		return nil, nil, nil, err
	}
	if signed, signature, err = splitSignature(object); err != nil {
		return nil, nil, nil, err
	}
	d := decoder{b: signed[HeaderSize:]}
	e = &LogEntry{Repo: d.short(), Seq: d.u64(), Prev: d.hash(), Kind: EntryKind(d.u8())}
	copy(e.Signer[:], d.take(8))
	e.Time = int64(d.u64())
	e.Nonce = d.short()
	e.Checkpoint, e.Enrolled = d.u64(), d.u64()
	e.Body, e.Sealed = d.bytes(), d.bytes()
	switch {
	case d.err != nil:
	case e.Seq == 0 && (e.Checkpoint != 0 || e.Enrolled != 0 || e.Prev != Hash{}):
		d.fail("the first entry refers to others")
	case e.Seq > 0 && (e.Checkpoint >= e.Seq || e.Enrolled >= e.Seq):
		d.fail("an entry refers to one that lies ahead")
	case len(e.Sealed) > 0 && e.Kind != KindSnapshot && e.Kind != KindForget && e.Kind < 128:
		d.fail("an entry of this kind has no sealed body")
	}
	return e, signed, signature, d.end()
}

// Chain continues the hash chain of the log with the object of the next slot, whatever it holds. The chain
// before entry 0 is zero. So an entry's Prev commits to every object before it.
func Chain(prev Hash, object []byte) Hash {
	h := sha256.Sum256(object)
	return sha256.Sum256(append(prev[:], h[:]...))
}

// Enrolment is the body of an enrol entry, and a part of that of the genesis: who may write from here on,
// and who may read what is written. It replaces what went before.
type Enrolment struct {
	Writers    [][]byte // Ed25519 public keys
	Recipients [][]byte // HPKE public keys
}

// Append encodes x.
func (x *Enrolment) Append(b []byte) []byte {
	for _, list := range [][][]byte{x.Writers, x.Recipients} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, k := range list {
			b = appendBytes(b, k)
		}
	}
	return b
}

func (d *decoder) enrolment() (x Enrolment) {
	for _, list := range []*[][]byte{&x.Writers, &x.Recipients} {
		n := d.count(1)
		for range n {
			*list = append(*list, slices.Clone(d.bytes()))
		}
	}
	return x
}

// DecodeEnrolment is the inverse of [Enrolment.Append].
func DecodeEnrolment(b []byte) (*Enrolment, error) {
	d := decoder{b: b}
	x := d.enrolment()
	return &x, d.end()
}

// Segment names an index segment.
type Segment struct {
	Hash    Hash
	Size    uint64 // bytes of the object
	Entries uint64
	Writer  WriterID // whose chunks it locates: a writer deduplicates only against its own
}

func appendSegments(b []byte, ss []Segment) []byte {
	b = binary.AppendUvarint(b, uint64(len(ss)))
	for _, s := range ss {
		b = append(b, s.Hash[:]...)
		b = binary.AppendUvarint(b, s.Size)
		b = binary.AppendUvarint(b, s.Entries)
		b = append(b, s.Writer[:]...)
	}
	return b
}

func (d *decoder) segments() (ss []Segment) {
	n := d.count(42)
	for range n {
		s := Segment{Hash: d.hash(), Size: d.uvarint(), Entries: d.uvarint()}
		copy(s.Writer[:], d.take(8))
		ss = append(ss, s)
	}
	if d.err == nil && Repeated(ss) {
		d.fail("an index segment is named twice")
	}
	return ss
}

// Repeated reports whether a list names an index segment twice.
func Repeated(ss []Segment) bool {
	seen := make(map[Hash]struct{}, len(ss))
	for _, s := range ss {
		seen[s.Hash] = struct{}{}
	}
	return len(seen) < len(ss)
}

// Commit is the body of a snapshot or partial entry: what it depends on, in clear.
type Commit struct {
	ID       SnapID
	Outcome  byte // 0 complete, 1 incomplete; 0 in a partial entry
	Refs     Hash // digest of the refs object
	Segments []Segment
	Sessions []SessionID // sessions that this run opened
}

// Append encodes c.
func (c *Commit) Append(b []byte) []byte {
	b = append(b, c.ID[:]...)
	b = append(b, c.Outcome)
	b = append(b, c.Refs[:]...)
	b = appendSegments(b, c.Segments)
	return appendSessions(b, c.Sessions)
}

func appendSessions(b []byte, list []SessionID) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = append(b, s[:]...)
	}
	return b
}

func (d *decoder) sessions() (list []SessionID) {
	n := d.count(16)
	for range n {
		list = append(list, d.short())
	}
	return list
}

// DecodeCommit is the inverse of [Commit.Append].
func DecodeCommit(b []byte) (*Commit, error) {
	d := decoder{b: b}
	c := &Commit{ID: d.short(), Outcome: d.u8(), Refs: d.hash(), Segments: d.segments(), Sessions: d.sessions()}
	if d.err == nil && c.Outcome > 1 {
		d.fail("an outcome is unknown")
	}
	return c, d.end()
}

// SlotChange is the body of a slots entry.
type SlotChange struct {
	Removed bool
	Slot    SlotInfo
}

// SlotInfo describes a key slot.
type SlotInfo struct {
	ID    SlotID
	Kind  SlotKind
	Added int64 // milliseconds since 1970 UTC
}

func appendSlot(b []byte, s SlotInfo) []byte {
	b = append(b, s.ID[:]...)
	b = append(b, byte(s.Kind))
	return binary.BigEndian.AppendUint64(b, uint64(s.Added))
}

func (d *decoder) slot() SlotInfo {
	return SlotInfo{ID: d.short(), Kind: SlotKind(d.u8()), Added: int64(d.u64())}
}

// Append encodes c.
func (c *SlotChange) Append(b []byte) []byte {
	removed := byte(0)
	if c.Removed {
		removed = 1
	}
	return appendSlot(append(b, removed), c.Slot)
}

// DecodeSlotChange is the inverse of [SlotChange.Append].
func DecodeSlotChange(b []byte) (*SlotChange, error) {
	d := decoder{b: b}
	v := d.u8()
	c := &SlotChange{Removed: v == 1, Slot: d.slot()}
	if d.err == nil && v > 1 {
		d.fail("a flag is out of range")
	}
	return c, d.end()
}

// SnapRef names a committed snapshot.
type SnapRef struct {
	ID   SnapID
	Seq  uint64
	Hash Hash  // of the log entry's object
	Time int64 // of the log entry
	Refs Hash  // of the list of what it depends on now; a collector that moves content writes a new one
}

func appendSnapshots(b []byte, list []SnapRef) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, r := range list {
		b = append(b, r.ID[:]...)
		b = binary.AppendUvarint(b, r.Seq)
		b = append(b, r.Hash[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(r.Time))
		b = append(b, r.Refs[:]...)
	}
	return b
}

func (d *decoder) snapshots() (list []SnapRef) {
	n := d.count(89)
	for range n {
		list = append(list, SnapRef{ID: d.short(), Seq: d.uvarint(), Hash: d.hash(), Time: int64(d.u64()), Refs: d.hash()})
	}
	return list
}

// Forget is the body of a forget entry: snapshots that leave the state. What they alone depend on is not
// deleted before a condemn entry says so. The entry's sealed body is a record for the next decision, which
// readers keep and do not interpret.
type Forget struct {
	Record    [16]byte // random; part of what seals the record
	Plan      Hash     // digest of the plan that was carried out; zero when there was none
	Snapshots []SnapID // strictly ascending; may be empty, when only the record is new
}

// Append encodes f.
func (f *Forget) Append(b []byte) []byte {
	b = append(b, f.Record[:]...)
	b = append(b, f.Plan[:]...)
	b = binary.AppendUvarint(b, uint64(len(f.Snapshots)))
	for _, id := range f.Snapshots {
		b = append(b, id[:]...)
	}
	return b
}

// DecodeForget is the inverse of [Forget.Append].
func DecodeForget(b []byte) (*Forget, error) {
	d := decoder{b: b}
	f := &Forget{Record: d.short(), Plan: d.hash()}
	n := d.count(16)
	for i := range n {
		f.Snapshots = append(f.Snapshots, d.short())
		if i > 0 && bytes.Compare(f.Snapshots[i-1][:], f.Snapshots[i][:]) >= 0 {
			d.fail("snapshots are out of order")
		}
	}
	return f, d.end()
}

// NewRefs gives a snapshot another list of references.
type NewRefs struct {
	ID   SnapID
	Refs Hash
}

// Condemn is the body of a condemn entry: what may be deleted from this entry on, by anybody and at any
// time. No name in it is ever used again.
type Condemn struct {
	Previous  uint64      // sequence of the condemn entry before this one; 0 for none
	Swept     uint64      // everything condemned up to that entry has been deleted; 0 for nothing
	Forgotten uint64      // how many of the forgotten snapshots, the oldest in the state first, are dealt with
	Refs      []NewRefs   // strictly ascending by ID
	Removed   []Hash      // index segments that leave the state, strictly ascending
	Added     []Segment   // index segments in their place
	Sessions  []SessionID // sessions that the collector opened
	Objects   []Object    // sorted by [CompareObjects]
}

// Append encodes c.
func (c *Condemn) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, c.Previous)
	b = binary.AppendUvarint(b, c.Swept)
	b = binary.AppendUvarint(b, c.Forgotten)
	b = binary.AppendUvarint(b, uint64(len(c.Refs)))
	for _, r := range c.Refs {
		b = append(b, r.ID[:]...)
		b = append(b, r.Refs[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Removed)))
	for _, h := range c.Removed {
		b = append(b, h[:]...)
	}
	b = appendSegments(b, c.Added)
	b = appendSessions(b, c.Sessions)
	return appendObjects(b, c.Objects)
}

// DecodeCondemn is the inverse of [Condemn.Append].
func DecodeCondemn(b []byte) (*Condemn, error) {
	d := decoder{b: b}
	c := &Condemn{Previous: d.uvarint(), Swept: d.uvarint(), Forgotten: d.uvarint()}
	n := d.count(48)
	for i := range n {
		c.Refs = append(c.Refs, NewRefs{ID: d.short(), Refs: d.hash()})
		if i > 0 && bytes.Compare(c.Refs[i-1].ID[:], c.Refs[i].ID[:]) >= 0 {
			d.fail("snapshots are out of order")
		}
	}
	n = d.count(32)
	for i := range n {
		c.Removed = append(c.Removed, d.hash())
		if i > 0 && bytes.Compare(c.Removed[i-1][:], c.Removed[i][:]) >= 0 {
			d.fail("index segments are out of order")
		}
	}
	c.Added, c.Sessions, c.Objects = d.segments(), d.sessions(), d.objects(true)
	return c, d.end()
}

// Partial is what a run that has not committed yet has told the log of.
type Partial struct {
	Seq      uint64 // of its newest partial entry
	Time     int64  // of that entry
	Refs     Hash   // what the run has stored
	Sessions []SessionID
}

// State is what a log adds up to, and the body of a checkpoint: with it and the entries after it a
// repository opens without reading the rest of the log.
type State struct {
	Enrolled  uint64 // sequence of the entry that Enrolment comes from
	Enrolment Enrolment
	Slots     []SlotInfo
	Segments  []Segment
	Snapshots []SnapRef // in the order of the log
	Forgotten []SnapRef // and not yet dealt with by a condemn entry, in the order they were forgotten
	Partials  []Partial // of runs that have not committed, in the order of the log
	Recorded  uint64    // sequence of the newest forget entry; 0 for none
	Condemned uint64    // sequence of the newest condemn entry; 0 for none
	Swept     uint64    // everything condemned up to that entry has been deleted
}

// Append encodes s.
func (s *State) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, s.Enrolled)
	b = s.Enrolment.Append(b)
	b = binary.AppendUvarint(b, uint64(len(s.Slots)))
	for _, x := range s.Slots {
		b = appendSlot(b, x)
	}
	b = appendSegments(b, s.Segments)
	b = appendSnapshots(b, s.Snapshots)
	b = appendSnapshots(b, s.Forgotten)
	b = binary.AppendUvarint(b, uint64(len(s.Partials)))
	for _, p := range s.Partials {
		b = binary.AppendUvarint(b, p.Seq)
		b = binary.BigEndian.AppendUint64(b, uint64(p.Time))
		b = append(b, p.Refs[:]...)
		b = appendSessions(b, p.Sessions)
	}
	b = binary.AppendUvarint(b, s.Recorded)
	b = binary.AppendUvarint(b, s.Condemned)
	return binary.AppendUvarint(b, s.Swept)
}

// DecodeState is the inverse of [State.Append].
func DecodeState(b []byte) (*State, error) {
	d := decoder{b: b}
	s := d.state()
	return s, d.end()
}

func (d *decoder) state() *State {
	s := &State{Enrolled: d.uvarint(), Enrolment: d.enrolment()}
	n := d.count(25)
	for range n {
		s.Slots = append(s.Slots, d.slot())
	}
	s.Segments = d.segments()
	s.Snapshots, s.Forgotten = d.snapshots(), d.snapshots()
	n = d.count(42)
	for range n {
		s.Partials = append(s.Partials, Partial{Seq: d.uvarint(), Time: int64(d.u64()), Refs: d.hash(), Sessions: d.sessions()})
	}
	s.Recorded, s.Condemned, s.Swept = d.uvarint(), d.uvarint(), d.uvarint()
	return s
}

// Settle is the body of a settle entry: it gives slots of the log up for lost, and says what the log adds up to
// from there on.
type Settle struct {
	Lost  []uint64 // sequences, strictly ascending; at least one, and never entry 0
	State State
}

// Append encodes s.
func (s *Settle) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.Lost)))
	for _, seq := range s.Lost {
		b = binary.AppendUvarint(b, seq)
	}
	return s.State.Append(b)
}

// DecodeSettle is the inverse of [Settle.Append].
func DecodeSettle(b []byte) (*Settle, error) {
	d := decoder{b: b}
	s := &Settle{}
	before := uint64(0)
	for range d.count(1) {
		seq := d.uvarint()
		if d.err == nil && seq <= before {
			d.fail("lost slots are out of order")
		}
		s.Lost = append(s.Lost, seq)
		before = seq
	}
	if d.err == nil && len(s.Lost) == 0 {
		d.fail("no slot is lost")
	}
	s.State = *d.state()
	return s, d.end()
}

// SealedBody is the sealed part of a snapshot entry: a fresh key wrapped to the recipients, and the
// snapshot's description under that key.
type SealedBody struct {
	Wraps  []Wrap
	Sealed []byte
}

// Append encodes s.
func (s *SealedBody) Append(b []byte) []byte { return appendBytes(appendWraps(b, s.Wraps), s.Sealed) }

// DecodeSealedBody is the inverse of [SealedBody.Append].
func DecodeSealedBody(b []byte) (*SealedBody, error) {
	d := decoder{b: b}
	s := &SealedBody{Wraps: d.wraps(), Sealed: d.bytes()}
	return s, d.end()
}

// Label is a key and value that the caller gave a snapshot.
type Label struct{ Key, Value string }

// Description is what only readers may know of a snapshot.
type Description struct {
	Root      Child // First is unused
	RootLevel uint8
	Started   int64 // milliseconds since 1970 UTC
	Finished  int64
	Host      string
	Sources   []string
	Labels    []Label // sorted by key, keys unique
	Files     uint64
	Folders   uint64
	Others    uint64 // links and special files
	Bytes     uint64 // of file content, holes included

	Problems     uint64 // what the snapshot lacks
	ProblemBytes uint64 // plaintext of the list of problems
	ProblemList  Content
}

// Append encodes x.
func (x *Description) Append(b []byte) []byte {
	b = append(b, Version)
	b = append(b, x.Root.ID[:]...)
	for _, v := range []uint64{uint64(x.Root.Len), x.Root.Entries, x.Root.Bytes, uint64(x.RootLevel)} {
		b = binary.AppendUvarint(b, v)
	}
	b = appendVarint(b, x.Started)
	b = appendVarint(b, x.Finished)
	b = appendString(b, x.Host)
	b = binary.AppendUvarint(b, uint64(len(x.Sources)))
	for _, s := range x.Sources {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(x.Labels)))
	for _, l := range x.Labels {
		b = appendString(b, l.Key)
		b = appendString(b, l.Value)
	}
	for _, v := range []uint64{x.Files, x.Folders, x.Others, x.Bytes, x.Problems, x.ProblemBytes} {
		b = binary.AppendUvarint(b, v)
	}
	return appendContent(b, x.ProblemList)
}

// DecodeDescription is the inverse of [Description.Append].
func DecodeDescription(b []byte) (*Description, error) {
	d := decoder{b: b}
	x := &Description{}
	if v := d.u8(); d.err == nil && v != Version {
		return nil, fmt.Errorf("%w: description version %d: use a newer release", ErrVersion, v)
	}
	x.Root.ID = d.id()
	x.Root.Len = d.nodeLen()
	x.Root.Entries, x.Root.Bytes = d.uvarint(), d.uvarint()
	level := d.uvarint()
	if level > MaxLevel {
		d.fail("a tree is too high")
	}
	x.RootLevel = uint8(level)
	x.Started, x.Finished = d.varint(), d.varint()
	x.Host = d.str()
	n := d.count(1)
	for range n {
		x.Sources = append(x.Sources, d.str())
	}
	n = d.count(2)
	for range n {
		x.Labels = append(x.Labels, Label{Key: d.str(), Value: d.str()})
		if i := len(x.Labels) - 1; i > 0 && x.Labels[i-1].Key >= x.Labels[i].Key {
			d.fail("labels are out of order")
		}
	}
	for _, v := range []*uint64{&x.Files, &x.Folders, &x.Others, &x.Bytes, &x.Problems, &x.ProblemBytes} {
		*v = d.uvarint()
	}
	if x.ProblemBytes > 1<<40 {
		d.fail("a list of problems is out of range")
	}
	if d.err == nil {
		x.ProblemList = d.content(int64(x.ProblemBytes))
	}
	return x, d.end()
}
