package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// CompactOptions says how space is given back. The zero value works.
type CompactOptions struct {
	// Grace is how long what is condemned stays, so that a restore under way can end. 0 means 24 hours.
	Grace time.Duration
	// Abandoned is the age from which what no log entry leads to is taken for left over. 0 means 7 days.
	Abandoned time.Duration
	// Waste is how much of what is kept may be dead before packs are written again, as a share of what is
	// alive. 0 means 0.05.
	Waste float64
	// Shred writes every pack again whose session holds anything dead, so that the session's secret can be
	// destroyed and nothing that was forgotten can be decrypted, even from copies of the packs.
	Shred bool
	// Memory bounds, in bytes, what is remembered of chunks and nodes; 0 means 64 MiB.
	Memory int64
	// Round is how many bytes of packs are written again between two commits; 0 means 4 GiB.
	Round int64
	// Workers is how many packs are read at once; 0 means one for each core.
	Workers int
	// DryRun reports what would be condemned and changes nothing.
	DryRun bool
	// LockedUntil says until when the store refuses to delete an object; zero if it does not.
	LockedUntil func(ctx context.Context, key string) (time.Time, error)
}

const (
	defaultGrace     = 24 * time.Hour
	defaultAbandoned = 7 * 24 * time.Hour
	defaultWaste     = 0.05
	defaultRound     = 4 << 30
	// attempts is how often a collector marks anew because others have committed meanwhile.
	attempts = 20
)

// CompactReport is what was done.
type CompactReport struct {
	Snapshots  int64 // that are kept
	Live       int64 // bytes of objects that they need
	Condemned  int64 // objects condemned by this run
	Bytes      int64 // of them, as far as the store has said
	Deleted    int64 // objects deleted by this run
	Rewritten  int64 // packs written again
	Waiting    int64 // condemned objects that wait for their grace to end
	InFlight   int64 // objects left alone because a run may be at work
	Shredded   int64 // sessions of which the secret was deleted
	Unreadable int64 // packs that could not be written again because they are damaged
	Delayed    []Delayed
}

// Delayed is an object that the store does not let go yet.
type Delayed struct {
	Object string
	Until  time.Time // zero if the store does not say
}

// maxDelayed is how many are listed.
const maxDelayed = 1000

// collector is one run of Compact.
type collector struct {
	r      *Repo
	o      CompactOptions
	op     *observe.Operation
	signer *seal.Signer
	refs   *refsReader
	rep    *CompactReport
	base   uint64 // the newest checkpoint or settle entry that the administrator signed
	swept  uint64 // condemn entries up to this one have had all their objects deleted
	done   bool   // swept has moved on since the log was told
	marked *mark  // the last one
	most   int    // objects that are condemned at once
	tight  bool   // packs that were written again have become no smaller
}

// Compact gives back the space of what no kept snapshot needs. It needs the administrator's role; writing
// packs again needs the reader's too. It may run beside backups, restores, checks and other collectors, in any
// number of processes, and may be cut off at any point: the next one goes on.
//
// The rules that make this safe without locks and clocks are in internal/collectmodel. An object is deleted
// only after a condemn entry of the log has named it; such an entry is only written from a mark that took in
// every entry before it; and no run commits that refers to anything condemned before its own entry.
func (r *Repo) Compact(ctx context.Context, o CompactOptions) (rep *CompactReport, err error) {
	if err := r.needAdmin(); err != nil {
		return nil, err
	}
	ctx, op := r.obs.Begin(ctx, "compact")
	defer func() { err = op.End(ctx, err) }()
	c, err := r.newCollector(o, op)
	if err != nil {
		return nil, err
	}
	if !o.DryRun {
		end, err := r.beginWrite(ctx)
		if err != nil {
			return nil, err
		}
		defer end()
	}
	if err := c.run(ctx); err != nil {
		if cerr := context.Cause(ctx); cerr != nil {
			err = cerr
		}
		return c.rep, err
	}
	r.remember()
	return c.rep, nil
}

func (r *Repo) newCollector(o CompactOptions, op *observe.Operation) (*collector, error) {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.Grace, defaultGrace}, {&o.Abandoned, defaultAbandoned}} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < 0 {
			return nil, errors.New("a duration is negative")
		}
	}
	if o.Waste == 0 {
		o.Waste = defaultWaste
	}
	if o.Waste < 0 || o.Waste > 1 {
		return nil, errors.New("the share of waste must be between 0 and 1")
	}
	if o.Memory <= 0 {
		o.Memory = defaultCheckMemory
	}
	if o.Round <= 0 {
		o.Round = defaultRound
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	signer, err := seal.NewSigner(r.keys.Admin)
	if err != nil {
		return nil, err
	}
	return &collector{
		r: r, o: o, op: op, signer: signer, refs: newRefsReader(r.store, nil), rep: &CompactReport{}, most: maxCondemned,
	}, nil
}

func (c *collector) run(ctx context.Context) error {
	c.op.Phase("log")
	if err := c.trust(ctx); err != nil {
		return err
	}
	if !c.o.DryRun {
		c.op.Phase("sweep")
		if err := c.sweep(ctx); err != nil {
			return err
		}
	}
	c.op.Phase("mark")
	if err := c.again(ctx, c.condemn); err != nil {
		return err
	}
	if c.o.DryRun {
		return nil
	}
	if c.r.CanRead() {
		c.op.Phase("repack")
		for moved := true; moved; {
			err := c.again(ctx, func(ctx context.Context) (err error) {
				moved, err = c.repack(ctx)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	c.op.Phase("sweep")
	if err := c.sweep(ctx); err != nil {
		return err
	}
	if c.done {
		if err := c.again(ctx, c.record); err != nil {
			return err
		}
	}
	err := c.again(ctx, c.checkpoint)
	if errors.Is(err, ledger.ErrMoved) {
		return nil // all else is done, and the next compact writes it
	}
	return err
}

// record tells the log how far everything is deleted that was condemned, so that the next sweep begins there.
func (c *collector) record(ctx context.Context) error {
	m := &mark{}
	m.state, m.head = c.r.ledger.At()
	if err := undoubted(c.r.ledger); err != nil {
		return err
	}
	return c.publish(ctx, m, &format.Condemn{}, nil)
}

// again repeats a step for as long as others commit while it is made, or delete what it was to read or has stored.
func (c *collector) again(ctx context.Context, step func(context.Context) error) error {
	for try := 1; ; try++ {
		before := c.r.ledger.Head()
		err := step(ctx)
		if err == nil || try == attempts || ctx.Err() != nil {
			return err
		}
		if !errors.Is(err, ledger.ErrMoved) && !errors.Is(err, ErrCondemned) && !gone(err) {
			return err
		}
		if err := c.r.ledger.Refresh(ctx); err != nil {
			return err
		}
		if c.r.ledger.Head() == before {
			return err
		}
	}
}

// trust verifies the log from the newest checkpoint that the administrator signed. What a writer's checkpoint
// says is not enough to delete by.
func (c *collector) trust(ctx context.Context) error {
	if err := c.r.ledger.Refresh(ctx); err != nil {
		return err
	}
	t, base, err := c.r.ledger.Trusted(ctx)
	if err != nil {
		return err
	}
	if err := undoubted(t); err != nil {
		return err
	}
	c.base, c.swept = base, t.State().Swept
	return nil
}

// undoubted refuses a log in which a slot may have held a snapshot that this process does not know: its content
// would be deleted, and an entry written now would vouch for what is in the slot.
func undoubted(l *ledger.Ledger) error {
	for _, d := range l.Damage() {
		if d.InDoubt() {
			return fmt.Errorf("%w: %s may have held a snapshot, whose content would be deleted: %s", ErrDamaged, format.EntryKey(d.Seq), waysOut)
		}
	}
	return nil
}

// checkpoint writes the state down under the administrator's signature, so that the next collector need not
// verify the log from its beginning. It follows the entry up to which there was no doubt, and no other: it would
// hide for good what a slot before it held.
func (c *collector) checkpoint(ctx context.Context) error {
	at := c.r.ledger.Head()
	if at.Seq-c.base < ledger.CheckpointEvery {
		return nil
	}
	if err := undoubted(c.r.ledger); err != nil {
		return err
	}
	_, err := c.r.ledger.Append(ctx, ledger.Proposal{
		Kind: format.KindCheckpoint, Signer: c.signer, After: &at,
		Build: func(st *format.State) ([]byte, []byte, error) { return st.Append(nil), nil, nil },
	})
	return err
}

// sweep deletes what was condemned before the grace began. Any number of sweepers may be at work, at any
// time: no name that was condemned is ever used again.
func (c *collector) sweep(ctx context.Context) error {
	c.rep.Waiting, c.rep.Delayed = 0, nil
	st := c.r.ledger.State()
	type batch struct {
		seq   uint64
		early bool // its grace has not ended
		any   bool
	}
	var batches []batch
	_, err := c.r.ledger.Condemned(ctx, st.Condemned, max(c.swept, st.Swept), func(seq uint64, ms int64, e *format.Condemn) error {
		b := batch{seq: seq, any: len(e.Objects) > 0}
		if b.early = b.any && c.r.now().Sub(time.UnixMilli(ms)) < c.o.Grace; b.early {
			c.rep.Waiting += int64(len(e.Objects))
		}
		batches = append(batches, b)
		return nil
	})
	if err != nil {
		return lostEntry(err)
	}
	whole := true
	for _, b := range slices.Backward(batches) {
		if b.early {
			whole = false
			continue
		}
		done := true
		_, err := c.r.ledger.Condemned(ctx, b.seq, b.seq-1, func(_ uint64, _ int64, e *format.Condemn) (err error) {
			done, err = c.delete(ctx, e.Objects)
			return err
		})
		if err != nil {
			return err
		}
		if whole = whole && done; whole {
			c.swept = b.seq
			c.done = c.done || b.any
		}
	}
	return nil
}

// delete removes objects and reports whether all are gone. The secrets of sessions go first: without them
// nobody can read what a copy of the packs holds.
func (c *collector) delete(ctx context.Context, objects []format.Object) (bool, error) {
	objects = slices.Clone(objects)
	session := func(o format.Object) bool { return o.Type == format.TypeSession }
	slices.SortStableFunc(objects, func(a, b format.Object) int {
		switch {
		case session(a) == session(b):
			return 0
		case session(a):
			return -1
		}
		return 1
	})
	n := slices.IndexFunc(objects, func(o format.Object) bool { return !session(o) })
	if n < 0 {
		n = len(objects)
	}
	delayed := make([]*Delayed, len(objects))
	for _, part := range [][2]int{{0, n}, {n, len(objects)}} {
		err := each(ctx, part[1]-part[0], checkRequests, func(ctx context.Context, i int) (err error) {
			delayed[part[0]+i], err = c.deleteOne(ctx, objects[part[0]+i].Key())
			return err
		})
		if err != nil {
			return false, err
		}
	}
	all := true
	for i, d := range delayed {
		switch {
		case d != nil:
			all = false
			if len(c.rep.Delayed) < maxDelayed {
				c.rep.Delayed = append(c.rep.Delayed, *d)
			}
		case session(objects[i]):
			c.rep.Shredded++
			fallthrough
		default:
			c.rep.Deleted++
		}
	}
	return all, nil
}

func (c *collector) deleteOne(ctx context.Context, key string) (*Delayed, error) {
	if c.o.LockedUntil != nil {
		until, err := c.o.LockedUntil(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("lock of an object: %w", err)
		}
		if until.After(c.r.now()) {
			return &Delayed{Object: key, Until: until}, nil
		}
	}
	err := c.r.store.Delete(ctx, key)
	if errors.Is(err, store.ErrDenied) {
		return &Delayed{Object: key}, nil
	}
	return nil, err
}
