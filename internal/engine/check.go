package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/carekeep/carekeep/internal/compress"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/internal/pack"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// CheckOptions says how much a check does. The zero value checks the structure.
type CheckOptions struct {
	// ReadAll reads every pack, decodes it, and computes the id of every chunk again. Without it only the
	// packs of metadata are read, and those of content must be there with the right length.
	ReadAll bool
	// Workers is how many packs are read at once; 0 means one for each core. Each takes up to 16 MiB for the
	// pack and 4 MiB for a decoded frame.
	Workers int
	// Memory bounds, in bytes, what is remembered of nodes that are verified, so that snapshots which share
	// them need not read them again; 0 means 64 MiB. With too little a check takes longer.
	Memory int64
}

const (
	defaultCheckMemory = 64 << 20
	maxFindings        = 1000   // listed; all are counted
	maxLosses          = 10_000 // listed; all are counted
	checkRequests      = 32     // small requests on their way at once; the store may allow fewer
	// maxOutage is how many objects in a row may fail to be read for reasons that may pass. Beyond it the
	// store cannot be reached, and a list of all its objects would be no help.
	maxOutage = 64
)

// FindingKind says what is wrong.
type FindingKind byte

// The kinds of findings.
const (
	// MissingObject: the store does not have an object.
	MissingObject FindingKind = iota + 1
	// DamagedObject: an object is not what was stored, or is not what such an object must be.
	DamagedObject
	// UnreadableObject: the store did not give an object, for a reason that may pass or not.
	UnreadableObject
	// DamagedLog: a slot of the commit log holds no valid entry, or the log contradicts itself.
	DamagedLog
	// WrongIndex: an index segment and a pack contradict each other.
	WrongIndex
	// UnlistedPack: a snapshot needs a pack which is not in the list of what it needs, so that the space of
	// that pack might be given back too early. The snapshot can be restored.
	UnlistedPack
	// DamagedSnapshot: a snapshot cannot be restored completely. Losses says what is lost.
	DamagedSnapshot
)

func (k FindingKind) String() string {
	names := [...]string{"", "missing object", "damaged object", "unreadable object", "damaged log", "wrong index", "unlisted pack", "damaged snapshot"}
	if int(k) < len(names) {
		return names[k]
	}
	return ""
}

// Finding is one thing that is wrong.
type Finding struct {
	Kind     FindingKind
	Object   string        // the object's name in the bucket, which says nothing of patients; may be empty
	Snapshot format.SnapID // the first one affected, as far as it is known; else zero
	Path     string        // the first file affected in it: patient data, and in no error's text
	Err      error         // what was met
}

// Loss is a file that cannot be restored completely, or a part of a snapshot of which not even the names can
// be read.
type Loss struct {
	Snapshot format.SnapID
	Path     string // of the file; of the first entry of the part. Patient data
	Entries  uint64 // how many entries are lost: 1 for a file
}

// CheckReport is what a check did and found.
type CheckReport struct {
	Objects   int64 // objects looked at
	Packs     int64 // packs read whole
	Chunks    int64 // chunks of which the id was computed again
	Snapshots int64
	Bytes     int64 // of packs read whole, as stored
	// Skipped counts slots of the log that never held a valid entry. They do no harm, but somebody has
	// written to the store who is not enrolled.
	Skipped int64
	// Accepted counts slots of the log whose loss the administrator has accepted.
	Accepted int64

	Findings []Finding // the first 1000
	Found    int64     // all findings
	Losses   []Loss    // the first 10,000, in the order of the log and of paths
	Lost     int64     // all losses
}

// OK reports whether nothing was found.
func (c *CheckReport) OK() bool { return c.Found == 0 }

// checkBase is what the checks with and without a key share. Its methods are safe for concurrent use.
type checkBase struct {
	store   *store.Store
	format  *format.Format
	ledger  *ledger.Ledger
	state   *format.State
	head    ledger.Pin // of the log when the state was taken: what came later is none of this check's business
	op      *observe.Operation
	workers int

	mu      sync.Mutex
	rep     *CheckReport
	faulty  map[format.SnapID]struct{} // every snapshot that a finding or a loss names
	vague   error                      // of an object that the store did not give, for a reason that may pass
	writers map[format.WriterID][]byte // every writer that was ever enrolled
	outage  atomic.Int64
}

// errOutage ends a check: the store cannot be reached.
var errOutage = errors.New("the store failed too often in a row: check again when it can be reached")

// found adds a finding.
func (c *checkBase) found(f Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rep.Found++
	c.blames(f.Snapshot)
	if f.Kind == UnreadableObject {
		c.vague = f.Err
	}
	if len(c.rep.Findings) < maxFindings {
		c.rep.Findings = append(c.rep.Findings, f)
	}
}

// lost adds a loss.
func (c *checkBase) lost(l Loss) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rep.Lost++
	c.blames(l.Snapshot)
	if len(c.rep.Losses) < maxLosses {
		c.rep.Losses = append(c.rep.Losses, l)
	}
}

// affects fills in which snapshot and file the findings about an object were first seen to affect.
func (c *checkBase) affects(object string, id format.SnapID, path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blames(id)
	for i := range c.rep.Findings {
		if f := &c.rep.Findings[i]; f.Object == object && f.Snapshot == (format.SnapID{}) {
			f.Snapshot, f.Path = id, path
		}
	}
}

// blames notes that a snapshot is at fault, if there is one. Called with the lock held.
func (c *checkBase) blames(id format.SnapID) {
	if id == (format.SnapID{}) {
		return
	}
	if c.faulty == nil {
		c.faulty = map[format.SnapID]struct{}{}
	}
	c.faulty[id] = struct{}{}
}

// object counts an object that was looked at, and judges what came of it.
func (c *checkBase) object(ctx context.Context, key string, err error) (bool, error) {
	c.mu.Lock()
	c.rep.Objects++
	c.mu.Unlock()
	return c.judge(ctx, key, err)
}

// judge turns what came of reading an object into a finding, or, where the check cannot go on, into an
// error. It reports whether the object is sound.
func (c *checkBase) judge(ctx context.Context, key string, err error) (bool, error) {
	if oerr := c.reached(ctx, err); err == nil || oerr != nil {
		return oerr == nil, oerr
	}
	c.found(Finding{Kind: kindOf(err), Object: key, Err: err})
	return false, nil
}

// reached ends the check if the store has failed too often in a row for reasons that may pass.
func (c *checkBase) reached(ctx context.Context, err error) error {
	if cerr := ctx.Err(); cerr != nil {
		return cerr
	}
	if err == nil || kindOf(err) != UnreadableObject {
		c.outage.Store(0)
	} else if c.outage.Add(1) > maxOutage {
		return fmt.Errorf("%w: %w", errOutage, err)
	}
	return nil
}

// kindOf tells an object that is gone, one that is damaged, and one that may be neither apart.
func kindOf(err error) FindingKind {
	if errors.Is(err, store.ErrNotFound) {
		return MissingObject
	}
	for _, e := range []error{
		ErrDamaged, pack.ErrDamaged, format.ErrMalformed, format.ErrVersion, seal.ErrAuthentication,
		compress.ErrMalformed, compress.ErrCodec, store.ErrTooLarge, io.ErrUnexpectedEOF,
	} {
		if errors.Is(err, e) {
			return DamagedObject
		}
	}
	return UnreadableObject
}

// each calls f for 0 to n-1, some at once, and returns its first error.
func each(ctx context.Context, n, limit int, f func(context.Context, int) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(limit)
	for i := range n {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error { return f(gctx, i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// check is one run of Check.
type check struct {
	checkBase
	r        *Repo // a copy with an index, a loader and keys of its own
	o        CheckOptions
	cacheDir string // of the index

	packs     []packState
	number    map[format.Hash]uint32 // of packs
	sessions  map[format.SessionID]bool
	badIndex  bool // a segment could not be read: what is not found may be in it
	sums      sums
	snapshots []*snapState
	partials  []format.Hash // refs that runs cut off have left
	nodes     *nodeTable
	wants     wantList
	mismatch  mismatches
}

// Check verifies the repository and says what is wrong with it. It needs the reader's role. The error is for
// what kept the check from being done; what is damaged is in the report.
//
// It reads and verifies the format object and its copy, the key slots, the whole commit log, every session,
// every index segment, every list of references, every metadata pack, and the tree of every snapshot: that
// each node is sound, that every chunk of every file is in the index with the right length, in a pack that
// the store has and the snapshot's list names. With ReadAll it reads the packs of content as well.
func (r *Repo) Check(ctx context.Context, o CheckOptions) (rep *CheckReport, err error) {
	if err := r.needReader(); err != nil {
		return nil, err
	}
	ctx, op := r.obs.Begin(ctx, "check")
	defer func() { err = op.End(ctx, err) }()
	for {
		if err := r.ledger.Refresh(ctx); err != nil {
			return nil, err
		}
		c := newCheck(r, o, op)
		err := c.run(ctx)
		c.r.index.Close()
		if cerr := context.Cause(ctx); err != nil && cerr != nil {
			err = cerr
		}
		if err != nil {
			return nil, err
		}
		if c.rep.OK() || !c.overtaken(ctx) {
			return c.rep, nil
		}
	}
}

func (c *check) run(ctx context.Context) error {
	steps := []struct {
		phase string
		do    func(context.Context) error
	}{
		{"log", c.checkLog},
		{"keys", c.checkKeys},
		{"index", c.checkIndex},
		{"sessions", c.checkSessions},
		{"read", c.checkPacks},
		{"snapshots", c.checkSnapshots},
	}
	for _, s := range steps {
		c.op.Phase(s.phase)
		if err := s.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// overtaken reports whether objects were condemned after the check had begun: what it missed may have been
// deleted by right.
func (c *checkBase) overtaken(ctx context.Context) bool {
	return c.ledger.Refresh(ctx) == nil && c.ledger.State().Condemned != c.state.Condemned
}

func newCheck(r *Repo, o CheckOptions, op *observe.Operation) *check {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Memory <= 0 {
		o.Memory = defaultCheckMemory
	}
	// What this process has in memory of the store must not stand in for what the store has now.
	own := *r
	own.ring = newKeyring(r.store, r.format, r.keys)
	own.packs = pack.NewReader(r.store, r.suite, r.format.Repo, own.ring)
	own.indexConfig.CacheDir = ""
	own.index = index.New(own.indexConfig)
	own.loader = newLoader(&own)
	own.loader.fixed = true
	state, head := r.ledger.At()
	c := &check{
		checkBase: checkBase{
			store: r.store, format: r.format, ledger: r.ledger, state: state, head: head, op: op, workers: o.Workers,
			rep: &CheckReport{}, writers: map[format.WriterID][]byte{},
		},
		r: &own, o: o, cacheDir: r.indexConfig.CacheDir,
		number: map[format.Hash]uint32{}, sessions: map[format.SessionID]bool{},
		nodes: newNodeTable(o.Memory), sums: sums{maphash.MakeSeed()},
	}
	own.index.Set(c.state.Segments)
	c.wants.c = c
	return c
}

// find is the index's answer with the number of the pack.
func (c *check) find(ctx context.Context, id format.ID, size uint32, t format.Type) (index.Found, uint32, error) {
	at, err := c.r.loader.locate(ctx, id, int64(size), t)
	if err != nil {
		return at, 0, err
	}
	n, ok := c.number[at.Pack.Hash]
	if !ok {
		// A segment is damaged, and names this pack only behind the fault: nothing is known of the pack.
		return at, 0, fmt.Errorf("%w: an index segment cannot be read to the end", ErrDamaged)
	}
	return at, n, nil
}
