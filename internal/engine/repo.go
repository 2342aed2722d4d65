// Package engine runs a repository: it creates and opens one, backs up into it, restores from it and checks
// it. Package backup is its public face.
//
// A Repo ties the layers together: seal (cryptography), store (the bucket), ledger (the commit log), index
// (where chunks are), pack (frames in packs), tree (a snapshot's entries) and host (what this computer keeps
// between runs).
package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/internal/chunk"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/host"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/internal/pack"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// Errors that callers tell apart; package backup documents them.
var (
	ErrNoRepository = errors.New("there is no repository here")
	ErrExists       = errors.New("there is a repository here already")
	ErrWrongKey     = errors.New("no key slot opens with this key")
	ErrNoCredential = errors.New("this host holds no writer credential for the repository")
	ErrRole         = errors.New("the key used does not hold the role for this")
	ErrFileblob     = errors.New("gocloud's fileblob can lose data: use dirblob for folders")
	ErrSingleWriter = errors.New("the repository takes one writer only, for its store cannot create exclusively")
	ErrDamaged      = pack.ErrDamaged
)

// Key is one way into a repository: a password, a key service, or, when all is zero, the credential that
// this host holds.
type Key struct {
	Password []byte
	KMSName  string
	KMS      tink.AEAD
}

func (k Key) isCredential() bool { return k.Password == nil && k.KMS == nil }

// Config is how a repository is created or opened.
type Config struct {
	Store    store.Options
	HostDir  string // "" for none
	Memory   int64  // bytes for the index; default 48 MiB
	TakeOver bool   // of a repository for a single writer: this host is the one from now on
	Now      func() time.Time
	Observer *observe.Observer
	Limits   Limits // for tests

	// The rest is for Create.
	Suite        seal.Suite
	KDF          *seal.KDF
	Chunks       chunk.Params
	PackSize     int
	SingleWriter bool
	Residency    string
}

// Repo is an open repository. It is safe for concurrent use.
type Repo struct {
	store        *store.Store
	format       *format.Format
	formatObject []byte
	suite        seal.Suite
	keys         *format.Keyset
	ledger       *ledger.Ledger
	index        *index.Index
	indexConfig  index.Config
	packs        *pack.Reader
	ring         *keyring
	host         *host.Folder // nil without a host folder
	loader       *loader
	writing      *writing
	now          func() time.Time
	obs          *observe.Observer
	limits       Limits

	pending *pendingSegments

	// derived from the dataset secret
	dataID, metaID []byte
	indexKey       []byte
	table          *chunk.Table
	treeSeed       uint64
}

// Info strings of the keys derived from the dataset secret; the salt is the repository's id.
const (
	infoDataID  = "carekeep/v1 data id"
	infoMetaID  = "carekeep/v1 metadata id"
	infoChunker = "carekeep/v1 chunker"
	infoIndex   = "carekeep/v1 index"
	infoTree    = "carekeep/v1 tree"
)

// Signature domains.
const (
	domainFormat  = "carekeep/v1 format"
	domainSession = "carekeep/v1 session"
)

const maxSmallObject = 1 << 20

// readFormat returns the repository's format object, from its copy if the first is damaged.
func readFormat(ctx context.Context, s *store.Store) (*format.Format, []byte, error) {
	var first error
	missing := 0
	for _, key := range []string{format.FormatKey, format.FormatCopyKey} {
		object, err := s.Get(ctx, key, maxSmallObject)
		if errors.Is(err, store.ErrNotFound) {
			missing++
			continue
		}
		var f *format.Format
		if err == nil {
			f, err = parseFormat(object)
		}
		if err == nil {
			return f, object, nil
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		first = errors.Join(first, err)
	}
	if missing == 2 {
		return nil, nil, ErrNoRepository
	}
	return nil, nil, fmt.Errorf("format object: %w", first)
}

func parseFormat(object []byte) (*format.Format, error) {
	f, signed, sig, err := format.DecodeFormat(object)
	if err != nil {
		return nil, err
	}
	if err := seal.Verify(f.AdminKey, domainFormat, signed, sig); err != nil {
		return nil, err
	}
	if !seal.Suite(f.Suite).Valid() {
		return nil, fmt.Errorf("%w: cipher suite %d: use a newer release", format.ErrVersion, f.Suite)
	}
	if want := suiteKDF(seal.Suite(f.Suite)); f.KDF.Algorithm != want {
		return nil, fmt.Errorf("%w: the password derivation is not the suite's", format.ErrMalformed)
	}
	p := chunk.Params{Min: f.ChunkMin, Avg: f.ChunkAvg, Max: f.ChunkMax}
	if err := checkSizes(p, int(f.PackSize)); err != nil {
		return nil, fmt.Errorf("%w: %w", format.ErrMalformed, err)
	}
	return f, nil
}

// suiteKDF is the password derivation of a suite. A format object that names another is refused before
// anything is derived: the store could choose one that is quick to guess.
func suiteKDF(s seal.Suite) byte {
	if s == seal.F1 {
		return seal.PBKDF2
	}
	return seal.Argon2id
}

// checkSizes makes sure that the largest frame fits a pack with room for its footer.
func checkSizes(p chunk.Params, packSize int) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if packSize > 64<<20 || packSize < max(frameSize, int(p.Max))+64<<10 {
		return errors.New("the pack size is out of range")
	}
	return nil
}

// Create makes a repository and opens it. A creation that was cut off is completed by another call with
// the same key.
func Create(ctx context.Context, b *blob.Bucket, key Key, c Config) (*Repo, error) {
	if store.IsFileblob(b) {
		return nil, ErrFileblob
	}
	if key.isCredential() {
		return nil, fmt.Errorf("%w: a repository is created with a password or a key service", ErrRole)
	}
	s := store.New(b, c.Store)
	f, object, err := readFormat(ctx, s)
	switch {
	case err == nil:
		return resumeCreate(ctx, s, f, object, key, c)
	case !errors.Is(err, ErrNoRepository):
		return nil, err
	}
	exclusive, err := s.ProbeExclusive(ctx)
	if err != nil {
		return nil, err
	}
	if !exclusive && !c.SingleWriter {
		return nil, fmt.Errorf("%w: say that there will be one when you create it, or use another store", ErrSingleWriter)
	}
	if !exclusive && c.HostDir == "" {
		return nil, errNoHostFolder
	}
	ks, f, err := newKeys(&c, !exclusive)
	if err != nil {
		return nil, err
	}
	admin, err := seal.NewSigner(ks.Admin)
	if err != nil {
		return nil, err
	}
	seal.Random(f.FirstSlot[:])
	object = f.Append(nil)
	object = append(object, admin.Sign(domainFormat, object)...)
	ks.FormatHash = sha256.Sum256(object)
	if f.SingleWriter {
		if err := reserve(c.HostDir, f, ks); err != nil {
			return nil, err
		}
	}
	slot, err := sealSlot(ctx, f, f.FirstSlot, key, ks)
	if err != nil {
		return nil, err
	}
	if err := s.Put(ctx, format.SlotKey(f.FirstSlot), slot.Append(nil)); err != nil {
		return nil, err
	}
	if err := s.Create(ctx, format.FormatKey, object); err != nil {
		if errors.Is(err, store.ErrExists) {
			err = ErrExists
		}
		return nil, err
	}
	return finishCreate(ctx, s, f, object, ks, format.SlotInfo{ID: f.FirstSlot, Kind: slot.Kind, Added: f.Created}, c)
}

// newKeys draws the secrets of a repository and writes down its parameters.
func newKeys(c *Config, single bool) (*format.Keyset, *format.Format, error) {
	if c.Suite == 0 {
		c.Suite = seal.T1
	}
	if !c.Suite.Valid() {
		return nil, nil, errors.New("unknown cipher suite")
	}
	if c.Chunks == (chunk.Params{}) {
		c.Chunks = chunk.DefaultParams()
	}
	if c.PackSize == 0 {
		c.PackSize = pack.DefaultSize
	}
	if err := checkSizes(c.Chunks, c.PackSize); err != nil {
		return nil, nil, err
	}
	if c.KDF == nil {
		k, err := seal.DefaultKDF(c.Suite)
		if err != nil {
			return nil, nil, err
		}
		c.KDF = &k
	}
	if len(c.Residency) > 64 {
		return nil, nil, errors.New("the residency tag is longer than 64 bytes")
	}
	ks := &format.Keyset{Suite: byte(c.Suite), Dataset: make([]byte, seal.KeySize)}
	seal.Random(ks.Repo[:])
	seal.Random(ks.Dataset)
	var err error
	if ks.Admin, err = seal.GenerateSigner(); err != nil {
		return nil, nil, err
	}
	if ks.Writer, err = seal.GenerateSigner(); err != nil {
		return nil, nil, err
	}
	if ks.Reader, err = seal.GenerateRecipient(c.Suite); err != nil {
		return nil, nil, err
	}
	if ks.ReaderKey, err = seal.RecipientPublic(c.Suite, ks.Reader); err != nil {
		return nil, nil, err
	}
	if ks.AdminKey, err = seal.SignerPublic(ks.Admin); err != nil {
		return nil, nil, err
	}
	f := &format.Format{
		Suite: byte(c.Suite), Repo: ks.Repo, Created: c.clock()().UnixMilli(), AdminKey: ks.AdminKey,
		KDF:      format.KDF(*c.KDF),
		ChunkMin: c.Chunks.Min, ChunkAvg: c.Chunks.Avg, ChunkMax: c.Chunks.Max,
		PackSize: uint32(c.PackSize), SingleWriter: single, Residency: c.Residency,
	}
	if single {
		f.Host = newHostID()
	}
	return ks, f, nil
}

func (c *Config) clock() func() time.Time {
	if c.Now == nil {
		return time.Now
	}
	return c.Now
}

// resumeCreate completes a creation that stopped between the format object and the log, if the key opens
// it; a repository that is complete is an error.
func resumeCreate(ctx context.Context, s *store.Store, f *format.Format, object []byte, key Key, c Config) (*Repo, error) {
	done, err := s.Exists(ctx, format.EntryKey(0))
	if err != nil {
		return nil, err
	}
	if done {
		return nil, ErrExists
	}
	if f.SingleWriter && !c.TakeOver && !reserved(c.HostDir, f) {
		return nil, fmt.Errorf("%w: its creation was cut off on another host: complete it there, or take it over", ErrSingleWriter)
	}
	first := []format.SlotInfo{{ID: f.FirstSlot, Kind: key.slotKind(), Added: f.Created}}
	ks, slot, err := unlock(ctx, s, f, object, first, key)
	if err != nil {
		return nil, fmt.Errorf("%w, and its creation was cut off: create it again with the same key: %w", ErrExists, err)
	}
	return finishCreate(ctx, s, f, object, ks, slot, c)
}

// finishCreate writes what follows the format object; the log's first entry is what makes a repository.
func finishCreate(ctx context.Context, s *store.Store, f *format.Format, object []byte, ks *format.Keyset, slot format.SlotInfo, c Config) (*Repo, error) {
	if err := s.Create(ctx, format.FormatCopyKey, object); err != nil {
		return nil, err
	}
	admin, err := seal.NewSigner(ks.Admin)
	if err != nil {
		return nil, err
	}
	writer, err := seal.SignerPublic(ks.Writer)
	if err != nil {
		return nil, err
	}
	first := &format.Enrolment{Writers: [][]byte{writer}, Recipients: [][]byte{ks.ReaderKey}}
	lc := ledger.Config{Store: s, Repo: f.Repo, AdminKey: f.AdminKey, Now: c.Now}
	l, err := ledger.Create(ctx, lc, admin, first, []format.SlotInfo{slot})
	if errors.Is(err, store.ErrExists) {
		return nil, ErrExists
	}
	if err != nil {
		return nil, err
	}
	r, err := build(s, f, object, ks, l, c)
	if err != nil {
		return nil, err
	}
	if err := r.settleCreation(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Open opens a repository.
func Open(ctx context.Context, b *blob.Bucket, key Key, c Config) (*Repo, error) {
	if store.IsFileblob(b) {
		return nil, ErrFileblob
	}
	s := store.New(b, c.Store)
	f, object, err := readFormat(ctx, s)
	if err != nil {
		return nil, err
	}
	var folder *host.Folder
	var ks *format.Keyset
	if c.HostDir != "" {
		folder, ks, err = host.Open(c.HostDir, f.Repo)
	}
	if key.isCredential() {
		if c.HostDir == "" || errors.Is(err, fs.ErrNotExist) {
			return nil, ErrNoCredential
		}
		if err == nil {
			err = checkKeyset(ks, f, object)
		}
		if err != nil {
			return nil, err
		}
	}
	var memory *ledger.Memory
	if folder != nil {
		if v, ok := folder.Load("log"); ok {
			memory = decodeMemory(v)
		}
	}
	// The log is opened before the key is tried: it says which slots there are, so that nothing that
	// depends on the password is ever sent to the store.
	lc := ledger.Config{Store: s, Repo: f.Repo, AdminKey: f.AdminKey, Now: c.Now}
	l, err := ledger.Open(ctx, lc, memory)
	if errors.Is(err, ledger.ErrNoLog) {
		return nil, fmt.Errorf("%w: its creation was cut off: create it again with the same key", ErrNoRepository)
	}
	if err != nil {
		return nil, err
	}
	if !key.isCredential() {
		if ks, _, err = unlock(ctx, s, f, object, l.State().Slots, key); err != nil {
			return nil, err
		}
	}
	return build(s, f, object, ks, l, c)
}

// checkKeyset refuses a keyset that belongs to another repository or format object.
func checkKeyset(ks *format.Keyset, f *format.Format, object []byte) error {
	if ks.Repo != f.Repo || !bytes.Equal(ks.AdminKey, f.AdminKey) || ks.FormatHash != sha256.Sum256(object) || ks.Suite != f.Suite {
		return fmt.Errorf("%w: the key belongs to another repository than the store shows", ErrDamaged)
	}
	return nil
}

// build makes a Repo of its parts and leaves this host the writer's credential.
func build(s *store.Store, f *format.Format, object []byte, ks *format.Keyset, l *ledger.Ledger, c Config) (*Repo, error) {
	r := &Repo{
		store: s, format: f, formatObject: object, suite: seal.Suite(f.Suite), keys: ks, ledger: l, now: c.clock(), obs: c.Observer,
		limits: c.Limits.orDefaults(), pending: &pendingSegments{},
	}
	if r.obs == nil {
		r.obs = observe.New(observe.Options{})
	}
	var err error
	derive := func(info string) []byte {
		k, derr := seal.Derive(ks.Dataset, f.Repo[:], info, seal.KeySize)
		err = errors.Join(err, derr)
		return k
	}
	r.dataID, r.metaID, r.indexKey = derive(infoDataID), derive(infoMetaID), derive(infoIndex)
	gear, seed := derive(infoChunker), derive(infoTree)
	if err != nil {
		return nil, err
	}
	r.treeSeed = binary.BigEndian.Uint64(seed)
	if r.table, err = chunk.NewTable(gear); err != nil {
		return nil, err
	}
	cache := ""
	if c.HostDir != "" {
		// Without a place for it a host works all the same, only slower.
		if r.host, err = host.Enrol(c.HostDir, ks); err == nil {
			cache = r.host.IndexDir()
		}
	}
	r.indexConfig = index.Config{
		Store: s, Suite: r.suite, Key: r.indexKey, Repo: f.Repo, CacheDir: cache, Memory: c.Memory,
	}
	r.index = index.New(r.indexConfig)
	r.follow()
	r.ring = newKeyring(s, f, ks)
	r.packs = pack.NewReader(s, r.suite, f.Repo, r.ring)
	r.loader = newLoader(r)
	r.writing = &writing{}
	r.remember()
	if c.TakeOver {
		if err := r.takeOver(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// remember leaves the log's position with the host. A failure costs time at the next opening, no more.
func (r *Repo) remember() {
	if r.host == nil {
		return
	}
	if m := r.ledger.Memory(); m != nil {
		r.host.Save("log", encodeMemory(m))
	}
}

// Marks of a damaged slot in what a host remembers, above all sequences.
const (
	memorySettled  = 1 << 63
	memoryAccepted = 1 << 62
)

func encodeMemory(m *ledger.Memory) []byte {
	b := binary.BigEndian.AppendUint64(nil, m.Pin.Seq)
	b = append(b, m.Pin.Hash[:]...)
	b = append(b, m.Pin.Chain[:]...)
	b = binary.BigEndian.AppendUint64(b, m.Checkpoint)
	b = binary.BigEndian.AppendUint64(b, m.Broken)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Damage)))
	for _, d := range m.Damage {
		v := d.Seq << 1
		for _, f := range []struct {
			on  bool
			bit uint64
		}{{d.Vouched, 1}, {d.Settled, memorySettled}, {d.Accepted, memoryAccepted}} {
			if f.on {
				v |= f.bit
			}
		}
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return append(b, m.State...)
}

func decodeMemory(b []byte) *ledger.Memory {
	const fixed = 8 + 32 + 32 + 8 + 8 + 4
	if len(b) < fixed {
		return nil
	}
	m := &ledger.Memory{Checkpoint: binary.BigEndian.Uint64(b[72:]), Broken: binary.BigEndian.Uint64(b[80:])}
	m.Pin.Seq = binary.BigEndian.Uint64(b)
	copy(m.Pin.Hash[:], b[8:])
	copy(m.Pin.Chain[:], b[40:])
	n := binary.BigEndian.Uint32(b[88:])
	if b = b[fixed:]; uint64(n) > uint64(len(b)/8) {
		return nil
	}
	for range n {
		v := binary.BigEndian.Uint64(b)
		m.Damage = append(m.Damage, ledger.Damage{
			Seq: (v &^ (memorySettled | memoryAccepted)) >> 1, Vouched: v&1 != 0, Settled: v&memorySettled != 0, Accepted: v&memoryAccepted != 0,
		})
		b = b[8:]
	}
	m.State = b
	return m
}

// pendingSegments are those of runs under way in this process: the log does not name them yet.
type pendingSegments struct {
	mu   sync.Mutex
	list []format.Segment

	logged atomic.Pointer[map[format.Hash]struct{}] // the segments of the state that the index follows
}

// follow makes the index answer from the segments of the log's state, and from those of runs under way. It never
// goes back: an older state may name what was condemned since, and lack what runs have come to rely on.
func (r *Repo) follow() {
	r.pending.mu.Lock()
	defer r.pending.mu.Unlock()
	s := r.ledger.State()
	logged := make(map[format.Hash]struct{}, len(s.Segments))
	for _, d := range s.Segments {
		logged[d.Hash] = struct{}{}
	}
	// While the index changes, what it had counts as well as what it will have: all of it is of states that a run
	// under way has looked at, or of later ones.
	both := maps.Clone(logged)
	if was := r.pending.logged.Load(); was != nil {
		maps.Copy(both, *was)
	}
	r.pending.logged.Store(&both)
	list := slices.Clone(s.Segments)
	for _, p := range r.pending.list {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	r.index.Set(list)
	r.pending.logged.Store(&logged)
}

// addSegment adds an index segment of a run under way. Its object may be nil.
func (r *Repo) addSegment(s format.Segment, object []byte) error {
	r.pending.mu.Lock()
	defer r.pending.mu.Unlock()
	if err := r.index.Add(s, object); err != nil {
		return err
	}
	r.pending.list = append(r.pending.list, s)
	return nil
}

// settle ends the wait of segments for the log: a run that stored them has ended.
func (r *Repo) settle(segments []format.Segment) {
	r.pending.mu.Lock()
	defer r.pending.mu.Unlock()
	r.pending.list = slices.DeleteFunc(r.pending.list, func(s format.Segment) bool { return slices.Contains(segments, s) })
}

// CanRead reports whether the key that opened the repository holds the reader's role.
func (r *Repo) CanRead() bool { return len(r.keys.Reader) > 0 }

// IsAdmin reports whether the key that opened the repository holds the administrator's role.
func (r *Repo) IsAdmin() bool { return len(r.keys.Admin) > 0 }

// ID is the repository's id.
func (r *Repo) ID() format.RepoID { return r.format.Repo }

// Format is how the repository is written. It must not be changed.
func (r *Repo) Format() *format.Format { return r.format }

func (r *Repo) needReader() error {
	if !r.CanRead() {
		return fmt.Errorf("%w: reading needs the password or the key service, this is the writer's credential", ErrRole)
	}
	return nil
}

// Close gives back what the index holds.
func (r *Repo) Close() { r.index.Close() }
