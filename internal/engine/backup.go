package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carekeep/carekeep/internal/compress"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/host"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/carekeep/carekeep/internal/store"
	"github.com/carekeep/carekeep/internal/tree"
)

// BackupOptions says what a run keeps and how.
type BackupOptions struct {
	Host     string   // of the computer, for readers
	Sources  []string // what is backed up, for readers; also what tells one series of snapshots from another
	Labels   []format.Label
	Exclude  []string
	FullRead bool // read every file again
	Workers  int
	Level    compress.Level
}

// Result is what a run did.
type Result struct {
	Ref         format.SnapRef
	Outcome     byte // 0 complete, 1 incomplete
	Description format.Description
	Problems    []format.Problem // at most maxProblems of them
	Unchanged   bool             // the snapshot holds just what the one before it holds
	Read        int64            // bytes of content read
	Stored      int64            // bytes written to the store
}

// maxProblems bounds the list of what a snapshot lacks. Problems beyond it are counted, not listed.
const maxProblems = 100_000

// racy is how long before a run a file must have changed last for its times to be trusted by the next
// run. Within it, a change could have been made in the same tick of the file system's clock as one that
// the run saw.
const racy = 2 * time.Second

// backup is one run.
type backup struct {
	r       *Repo
	o       BackupOptions
	op      *observe.Operation
	exclude *excluder
	sink    *sink
	folder  *host.Folder // the host's, or a temporary one
	run     *host.Run
	old     []*host.Run // cut off, taken over
	lineage string
	dead    *condemned

	prev     *host.Previous // the snapshot before, if known
	prevFeed *recordFeed
	anew     bool // the log was settled since: nothing of prev is taken for stored but what the index has
	closers  []func()

	desc     format.Description
	problems []format.Problem
	changed  bool
	lookups  int // about how many chunks have to be looked up when all is stored
	read     atomic.Int64
	sides    sideNumbers
}

// retries is how often a run begins again that met something condemned. A collector leaves what is in flight
// alone, so this is rare, and each time less is left to be met.
const retries = 3

// Backup makes a snapshot of src.
func (r *Repo) Backup(ctx context.Context, src source.Source, o BackupOptions) (res *Result, err error) {
	ctx, op := r.obs.Begin(ctx, "backup")
	defer func() { err = op.End(ctx, err) }()
	end, err := r.beginWrite(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	for try := 1; ; try++ {
		before := r.ledger.State().Condemned
		if res, err = r.backup(ctx, op, src, o); err == nil || ctx.Err() != nil {
			return res, err
		}
		// An object that is gone may have been deleted beside a run that took longer than its grace.
		if gone(err) {
			if rerr := r.ledger.Refresh(ctx); rerr != nil {
				return nil, rerr // nobody can tell whether that is damage
			}
			if r.ledger.State().Condemned != before {
				err = fmt.Errorf("%w: %w", ErrCondemned, err)
			}
		}
		if !errors.Is(err, ErrCondemned) || try > retries || !source.Again(src) {
			return res, err
		}
	}
}

// backup is one attempt. It fails with ErrCondemned if a collector was in its way; another one then goes on
// from the journal, without what was condemned.
func (r *Repo) backup(ctx context.Context, op *observe.Operation, src source.Source, o BackupOptions) (res *Result, err error) {
	b := &backup{r: r, o: o, op: op}
	b.desc.Started = r.now().UnixMilli()
	if b.exclude, err = newExcluder(o.Exclude); err != nil {
		return nil, err
	}
	if b.o.Workers <= 0 {
		b.o.Workers = max(2, runtime.GOMAXPROCS(0))
	}
	if err := b.open(ctx); err != nil {
		b.close(false)
		return nil, err
	}
	res, err = b.do(ctx, src)
	b.close(err == nil)
	if err != nil {
		return nil, err
	}
	r.remember()
	// The snapshot is committed: a checkpoint that fails is tried again by the next run.
	due := r.ledger.CheckpointDue
	if b.sink.mergedSome {
		due = r.ledger.CheckpointAllowed // it has left to its end what takes more memory
	}
	if due() {
		if _, err := r.mergeAndCheckpoint(ctx, 0, due); err == nil {
			_ = r.index.Prune()
		}
		r.remember()
	}
	return res, nil
}

// open learns what is stored already, here and in runs that were cut off.
func (b *backup) open(ctx context.Context) error {
	b.op.Phase("open")
	if err := b.r.ledger.Refresh(ctx); err != nil {
		return err
	}
	st := b.r.ledger.State()
	b.r.follow()
	b.folder = b.r.host
	if b.folder == nil {
		tmp, err := host.Temporary(b.r.suite, b.r.format.Repo)
		if err != nil {
			return err
		}
		b.folder = tmp
		b.closers = append(b.closers, func() { tmp.Forget() })
	}
	b.lineage = b.folder.Lineage(append([]string{b.o.Host}, b.o.Sources...))
	var err error
	if b.old, err = b.folder.Unfinished(b.lineage); err != nil {
		return err
	}
	if b.run, err = b.folder.NewRun(b.lineage, st.Condemned); err != nil {
		return err
	}
	since := st.Condemned
	for _, run := range b.old {
		since = min(since, run.Condemned)
	}
	b.dead, err = newCondemned(ctx, b.r.ledger, since)
	var settled *settledError
	if errors.As(err, &settled) {
		b.leave(settled.seq)
		b.dead, err = newCondemned(ctx, b.r.ledger, st.Condemned)
	}
	if err != nil {
		return err
	}
	if b.sink, err = b.r.newSink(ctx, b.op, b.run, b.dead, b.o.Level); err != nil {
		return err
	}
	for _, run := range b.old {
		if err := b.sink.takeOver(ctx, run); err != nil {
			return err
		}
	}
	return b.openPrevious(ctx, st)
}

// leave gives up what runs had stored that were cut off before a settle entry: it may have been condemned by an
// entry that is lost.
func (b *backup) leave(settled uint64) {
	b.old = slices.DeleteFunc(b.old, func(run *host.Run) bool {
		before := run.Condemned < settled
		if before {
			run.End(true)
		}
		return before
	})
}

// close ends the run. What it journaled is kept for the next one unless it is done.
func (b *backup) close(done bool) {
	for _, f := range slices.Backward(b.closers) {
		f()
	}
	if b.sink != nil {
		b.r.settle(b.sink.segments)
	}
	if b.run != nil {
		b.run.End(done)
	}
	for _, run := range b.old {
		run.End(done)
	}
}

// do walks, reads, stores and commits.
func (b *backup) do(ctx context.Context, src source.Source) (*Result, error) {
	b.op.Phase("scan")
	if err := b.scan(ctx, src); err != nil {
		return nil, err
	}
	b.op.Phase("metadata")
	commit, keeper, err := b.describe(ctx)
	if err != nil {
		return nil, err
	}
	b.op.Phase("commit")
	ref, err := b.commit(ctx, commit, keeper)
	if err != nil {
		if keeper != nil {
			keeper.Drop()
		}
		return nil, err
	}
	b.keep(ref, commit, keeper)
	return &Result{
		Ref: ref, Outcome: commit.Outcome, Description: b.desc, Problems: b.problems,
		Unchanged: !b.changed, Read: b.read.Load(), Stored: b.op.Stored(),
	}, nil
}

// scan fills the spool with an entry for everything there is, and the store with new content.
func (b *backup) scan(ctx context.Context, src source.Source) error {
	spool, err := b.run.Spool()
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	out := make(chan *item, 1024)
	jobs := make(chan *item, 256)
	w := &walker{b: b, out: out, jobs: jobs, links: map[uint64]*item{}}
	for _, run := range b.old {
		if feed := b.spoolFeed(run); feed != nil {
			w.earlier = append(w.earlier, feed)
		}
	}
	if b.prevFeed != nil {
		w.earlier = append(w.earlier, b.prevFeed)
	}
	g.Go(func() error {
		defer close(out)
		defer close(jobs)
		return w.run(gctx, src)
	})
	frames := b.sink.startFrames(g, gctx, b.o.Workers)
	readers, rctx := errgroup.WithContext(gctx)
	for range b.o.Workers {
		readers.Go(func() error {
			rd, err := b.newReader(frames)
			if err != nil {
				return err
			}
			return rd.run(rctx, jobs)
		})
	}
	g.Go(func() error {
		defer frames.close()
		if err := readers.Wait(); err != nil {
			drain(jobs)
			return err
		}
		return nil
	})
	g.Go(func() error { return b.spool(gctx, spool, out) })
	err = g.Wait()
	if err == nil {
		err = spool.Finish()
	} else {
		// What is in the spool saves the next run from reading it again.
		err = errors.Join(err, spool.Flush())
		spool.Abandon()
	}
	if err != nil {
		b.sink.abort()
		if cerr := context.Cause(ctx); cerr != nil {
			return cerr
		}
		return err
	}
	return nil
}

// drain releases what the walker still hands out after the readers have failed.
func drain(jobs <-chan *item) {
	for it := range jobs {
		it.folder.release()
		close(it.done)
	}
}

// spool writes entries in the order of the walk.
func (b *backup) spool(ctx context.Context, w *host.RecordWriter, out <-chan *item) error {
	last := time.Now()
	for it := range out {
		if it.done != nil {
			select {
			case <-it.done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if it.same != nil && !it.skip {
			b.copyContent(it)
		}
		if it.problem != nil {
			b.desc.Problems++
			if len(b.problems) < maxProblems {
				b.problems = append(b.problems, *it.problem)
			}
		}
		if it.skip {
			continue
		}
		b.changed = b.changed || !it.carried
		if it.rec.Packs == nil {
			b.lookups += len(it.rec.Entry.Content.Refs) + len(it.rec.Refs)
			if it.rec.Side != 0 {
				b.lookups += sideRefs
			}
		}
		b.count(&it.rec.Entry)
		it.rec.Fresh = !it.carried
		if err := w.Write(&it.rec); err != nil {
			return err
		}
		if time.Since(last) > 2*time.Second {
			last = time.Now()
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// copyContent gives a second name of a file the content of the first.
func (b *backup) copyContent(it *item) {
	first := it.same
	if first.skip {
		it.skip = true
		return
	}
	e := &it.rec.Entry
	e.Content, e.Size = first.rec.Entry.Content, first.rec.Entry.Size
	it.rec.Refs, it.rec.Side, it.rec.Packs = first.rec.Refs, first.rec.Side, first.rec.Packs
}

func (b *backup) count(e *format.Entry) {
	switch e.Kind {
	case format.Dir:
		b.desc.Folders++
	case format.File:
		b.desc.Files++
		b.desc.Bytes += uint64(e.Size)
		b.op.Add(1, e.Size)
	default:
		b.desc.Others++
	}
}

// unchanged reports whether nothing tells that a name is other than recorded.
func (b *backup) unchanged(e *format.Entry, before *host.Record, since time.Time) bool {
	p := &before.Entry
	if e.Kind != p.Kind || e.Mode != p.Mode || e.ModTime != p.ModTime || e.ChangeTime != p.ChangeTime ||
		e.Inode != p.Inode || e.LinkGroup != p.LinkGroup || e.Attributes != p.Attributes ||
		e.Target != p.Target || e.Device != p.Device || !sameOwner(e.Owner, p.Owner) {
		return false
	}
	if e.Kind != format.File {
		return true
	}
	return e.Size == p.Size && e.ModTime != (format.Time{}) && !b.o.FullRead && trusted(e, since)
}

// trusted reports whether a file's times are old enough to tell of every change since it was recorded.
func trusted(e *format.Entry, since time.Time) bool {
	t := e.ChangeTime
	if t == (format.Time{}) {
		t = e.ModTime
	}
	return time.Unix(t.Sec, int64(t.Nsec)).Before(since.Add(-racy))
}

func sameOwner(a, b *format.Owner) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// gone reports whether an error may come of an object that was deleted, or of a place that the index named before.
func gone(err error) bool { return errors.Is(err, store.ErrNotFound) || errors.Is(err, errUnknown) }

// commitPartial tells the log what a long run has stored so far. Called with the sink's lock held.
func (s *sink) commitPartial(ctx context.Context) error {
	objects := withSessions(s.packs)
	refs := &format.Refs{Added: objects}
	hash, err := s.r.putRefs(ctx, refs)
	if err != nil {
		return err
	}
	c := format.Commit{Refs: hash, Segments: slices.Clone(s.segments), Sessions: slices.Clone(s.sessions)}
	for {
		if s.dead.has(refsObject(c.Refs)) {
			if c.Refs, err = s.r.putRefs(ctx, refs); err != nil {
				return err
			}
		}
		body := c.Append(nil)
		// The entry adds index segments to the state, which may name nothing condemned: others rely on it.
		if err := s.dead.check(objects, s.segments); err != nil {
			return err
		}
		var newest uint64
		_, err = s.r.ledger.Append(ctx, ledger.Proposal{
			Kind: format.KindPartial, Signer: s.signer,
			Build: func(st *format.State) ([]byte, []byte, error) {
				if newest = st.Condemned; !s.dead.current(st) {
					return nil, nil, errRecheck
				}
				return body, nil, nil
			},
		})
		if !errors.Is(err, errRecheck) {
			s.reported = len(s.packs)
			return err
		}
		if err := s.dead.read(ctx, newest); err != nil {
			return err
		}
	}
}

// takeOver makes what a run that was cut off had stored known to this one.
func (s *sink) takeOver(ctx context.Context, run *host.Run) error {
	if _, err := s.r.ring.add(run.Session, run.Secret[:]); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := objectSet{}
	for _, o := range s.packs {
		known[o] = struct{}{}
	}
	used, whole := false, true // whole: nothing recorded since the last segment was condemned
	kept := len(s.built)       // chunks that no segment will locate: of runs before, or before a segment that is not whole
	keep := func() error {
		if kept = len(s.built); kept < s.r.limits.FlushEntries {
			return nil
		}
		kept = 0
		return s.flushIndex(ctx, false) // or what many runs have left would not fit one segment
	}
	err := run.Replay(func(ref format.PackRef, frames []format.Frame) error {
		if s.dead.has(object(ref)) || s.dead.has(format.Object{Type: format.TypeSession, Session: ref.Session}) {
			whole = false
			return nil
		}
		used = true
		known[object(ref)] = struct{}{}
		for _, f := range frames {
			for _, c := range f.Chunks {
				s.seen.add(c.ID)
			}
		}
		return s.note(ref, frames)
	}, func(seg format.Segment) error {
		// It locates also what that run had taken over from others.
		var packs []format.Object
		elsewhere := s.merged[seg.Hash] // the log has all that it locates in other segments
		if whole = elsewhere || whole && !s.dead.has(format.Object{Type: format.TypeIndex, Hash: seg.Hash}); whole {
			var sound bool
			var err error
			if packs, sound, err = s.packsOf(ctx, seg); err != nil {
				return err
			}
			whole = elsewhere || sound
		}
		if !whole {
			whole = true
			return keep() // what it locates and is still there, for a segment of this run
		}
		// The segment locates every pack since the one before it.
		if kept == 0 {
			s.seen.remove(s.built)
			s.builder, s.built = s.r.newBuilder(s.signer), nil
		}
		for _, o := range packs {
			if !known.has(o) {
				known[o] = struct{}{}
				s.packs = append(s.packs, o)
			}
		}
		if !elsewhere {
			s.mine.Store(seg.Hash, nil)
			if err := s.r.addSegment(seg, nil); err != nil {
				return err
			}
			if !slices.Contains(s.segments, seg) {
				s.segments = append(s.segments, seg)
			}
		}
		return keep()
	}, func(segments []format.Segment) error {
		for _, seg := range segments {
			s.merged[seg.Hash] = true
		}
		s.replaced(segments)
		return nil
	})
	if used {
		s.sessions = append(s.sessions, run.Session)
	}
	if err != nil {
		return err
	}
	return keep()
}

// packsOf returns the packs that a segment of a run that was cut off names. It reports false if one of them was
// condemned, or the segment cannot be read.
func (s *sink) packsOf(ctx context.Context, seg format.Segment) (packs []format.Object, sound bool, err error) {
	for ref, err := range s.r.index.Packs(ctx, seg) {
		if err != nil {
			return nil, false, ctx.Err()
		}
		o := object(ref)
		if s.dead.has(o) || s.dead.has(format.Object{Type: format.TypeSession, Session: o.Session}) {
			return nil, false, nil
		}
		packs = append(packs, o)
	}
	return packs, true, nil
}

// abort waits for packs under way and drops the rest.
func (s *sink) abort() {
	s.data.Abort()
	s.meta.Abort()
}

// spoolFeed reads the spool of a run that was cut off, as far as it got.
func (b *backup) spoolFeed(run *host.Run) *recordFeed {
	rr, err := run.ReadSpool()
	if err != nil {
		return nil
	}
	b.closers = append(b.closers, rr.Close)
	return &recordFeed{started: run.Started, unproven: true, next: func(r *host.Record) error {
		for {
			if err := rr.Next(r); err != nil {
				return err
			}
			// What a tree of references names cannot be proven to be there still: the snapshot before may have it.
			if r.Entry.Content.Level == 0 {
				break
			}
		}
		r.Packs = nil // they count in a table that was never written
		if r.Side != 0 {
			return b.inherit(run, r)
		}
		return nil
	}}
}

// inherit copies the references of a long file from a run that was cut off. Where they are not whole, the
// file is read again.
func (b *backup) inherit(run *host.Run, r *host.Record) error {
	n := b.sides.next()
	side, err := b.run.NewSide(n)
	if err != nil {
		return err
	}
	if err := run.ReadSide(r.Side, side.Write); err != nil {
		side.Abandon()
		b.run.RemoveSide(n)
		r.Entry.ModTime = format.Time{} // never taken for unchanged
		r.Side = 0
		return nil
	}
	r.Side = n
	return side.Finish()
}

// proven reports whether all that a record refers to is stored.
func (b *backup) proven(ctx context.Context, r *host.Record, feed *recordFeed) (bool, error) {
	if !feed.unproven || r.Entry.Kind != format.File {
		return true, nil
	}
	ok := true
	check := func(refs []format.Ref) error {
		for _, ref := range refs {
			if ref.Hole || !ok {
				continue
			}
			known, err := b.sink.known(ctx, ref.ID)
			if err != nil {
				return err
			}
			ok = ok && known
		}
		return nil
	}
	c := r.Entry.Content
	if err := check(c.Refs); err != nil {
		return false, err
	}
	if c.Level > 0 {
		if err := check([]format.Ref{{ID: c.Root, Len: int64(c.RootLen)}}); err != nil {
			return false, err
		}
	}
	if err := check(r.Refs); err != nil {
		return false, err
	}
	if r.Side != 0 {
		if err := b.run.ReadSide(r.Side, check); err != nil {
			return false, err
		}
	}
	return ok, nil
}

// openPrevious finds the snapshot before this one: in the host's memory, or, for a reader, in the store. It is one of
// the state that the run began with, whose segments are known to it.
func (b *backup) openPrevious(ctx context.Context, st *format.State) error {
	if p, rr := b.folder.Recall(b.lineage); p != nil {
		b.closers = append(b.closers, rr.Close)
		i := slices.IndexFunc(st.Snapshots, func(s format.SnapRef) bool { return s.ID == p.Snapshot })
		if i >= 0 {
			b.prev = p
			b.prevFeed = &recordFeed{next: rr.Next, started: time.UnixMilli(p.Description.Started)}
			if refs := st.Snapshots[i].Refs; refs != p.Refs {
				b.moved(refs)
			}
			b.op.Expect(int64(p.Description.Files), int64(p.Description.Bytes))
			return b.prove(ctx, st, st.Snapshots[i])
		}
	}
	if !b.r.CanRead() {
		return nil
	}
	const look = 16
	for _, ref := range slices.Backward(st.Snapshots[max(0, len(st.Snapshots)-look):]) {
		s, err := b.r.Snapshot(ctx, ref)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue // damage elsewhere is no reason not to back up
		}
		if s.Description.Host != b.o.Host || !slices.Equal(s.Description.Sources, b.o.Sources) {
			continue
		}
		b.prev = &host.Previous{Snapshot: ref.ID, Outcome: s.Commit.Outcome, Description: *s.Description, Refs: ref.Refs, RefsDepth: format.MaxRefsDepth}
		next, stop := pullEntries(s.Tree().Walk(ctx, "."))
		b.closers = append(b.closers, stop)
		b.prevFeed = &recordFeed{next: next, started: time.UnixMilli(s.Description.Started)}
		b.op.Expect(int64(s.Description.Files), int64(s.Description.Bytes))
		return b.prove(ctx, st, ref)
	}
	return nil
}

// prove has nothing taken for stored because the snapshot before has it, if the log was settled after that was committed:
// the snapshot may lack something since.
func (b *backup) prove(ctx context.Context, st *format.State, ref format.SnapRef) error {
	settled, err := b.r.ledger.Condemned(ctx, st.Condemned, ref.Seq, func(uint64, int64, *format.Condemn) error { return nil })
	if err != nil || settled == 0 {
		return err
	}
	b.anew = true
	b.prev.RefsDepth, b.prev.Packs = format.MaxRefsDepth, nil
	next := b.prevFeed.next
	b.prevFeed.unproven = true
	b.prevFeed.next = func(r *host.Record) error {
		err := next(r)
		if err != nil && isDamage(err) {
			return io.EOF // what it lacks is read again
		}
		r.Packs = nil
		if r.Entry.Content.Level > 0 { // of a tree of references only the root can be looked up
			r.Entry.ModTime = format.Time{} // never taken for unchanged
		}
		return err
	}
	return nil
}

// moved drops what is remembered of the packs that the snapshot before lies in: a collector has moved its
// content to others.
func (b *backup) moved(refs format.Hash) {
	b.prev.Refs, b.prev.RefsDepth, b.prev.Packs = refs, format.MaxRefsDepth, nil
	next := b.prevFeed.next
	b.prevFeed.next = func(r *host.Record) error {
		err := next(r)
		r.Packs = nil
		if r.Entry.Content.Level > 0 && !b.r.CanRead() {
			// Where its list of references lies only a reader can tell: the file is read again.
			r.Entry.ModTime = format.Time{}
		}
		return err
	}
}

var _ tree.Saver = (*nodes)(nil)

func object(p format.PackRef) format.Object {
	return format.Object{Type: p.Type, Session: p.Session, Hash: p.Hash}
}

func withSessions(packs []format.Object) []format.Object {
	out := slices.Clone(packs)
	for _, p := range packs {
		out = append(out, format.Object{Type: format.TypeSession, Session: p.Session})
	}
	slices.SortFunc(out, format.CompareObjects)
	return slices.Compact(out)
}

// putRefs stores a refs object and returns its digest.
func (r *Repo) putRefs(ctx context.Context, refs *format.Refs) (format.Hash, error) {
	seal.Random(refs.Random[:])
	object := refs.Append(nil)
	hash := hashOf(object)
	if err := r.store.Put(ctx, format.RefsKey(hash), object); err != nil {
		return hash, fmt.Errorf("refs: %w", err)
	}
	return hash, nil
}
