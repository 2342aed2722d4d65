package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/host"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/tree"
)

func hashOf(b []byte) format.Hash { return sha256.Sum256(b) }

// describe turns the spool into the snapshot's tree, its list of references and its description. Where
// nothing changed, those of the snapshot before serve again and nothing is stored. The keeper, which may be
// nil, holds what the host will remember once the snapshot is committed.
func (b *backup) describe(ctx context.Context) (*format.Commit, *keeping, error) {
	n, err := b.sink.newNodes()
	if err != nil {
		return nil, nil, err
	}
	c := &format.Commit{}
	seal.Random(c.ID[:])
	if b.desc.Problems > 0 {
		c.Outcome = 1
		if err := b.listProblems(ctx, n); err != nil {
			return nil, nil, err
		}
	}
	b.desc.Host, b.desc.Sources, b.desc.Labels = b.o.Host, b.o.Sources, b.o.Labels
	same, err := b.sameAsBefore()
	if err != nil {
		return nil, nil, err
	}
	if same && !b.anew {
		return b.repeat(c), nil, nil
	}
	b.changed = true
	if err := b.sink.data.Flush(ctx); err != nil {
		return nil, nil, err
	}
	b.sink.shed(1)
	long, err := b.build(ctx, n)
	if err != nil {
		return nil, nil, err
	}
	if !b.anew && b.sameTree() {
		return b.repeat(c), nil, nil
	}
	if err := n.f.flush(ctx); err != nil {
		return nil, nil, err
	}
	if err := b.sink.meta.Flush(ctx); err != nil {
		return nil, nil, err
	}
	b.sink.shed(0)
	b.sink.mu.Lock()
	err = b.sink.flushIndex(ctx, false)
	c.Segments, c.Sessions = b.sink.segments, b.sink.sessions
	b.sink.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	k, err := b.references(ctx, n, long)
	if err != nil {
		return nil, nil, err
	}
	if c.Refs, k.depth, err = b.storeRefs(ctx, k.packs, b.prev); err != nil {
		k.Drop()
		return nil, nil, err
	}
	b.desc.Finished = b.r.now().UnixMilli()
	return c, k, nil
}

// sameAsBefore reports whether the walk met just what the snapshot before holds.
func (b *backup) sameAsBefore() (bool, error) {
	if b.prev == nil || b.changed || len(b.sink.packs) > 0 && b.sinkWrote() {
		return false, nil
	}
	removed, err := b.prevFeed.rest()
	if err != nil || removed > 0 {
		return false, err
	}
	p := &b.prev.Description
	same := p.Problems == b.desc.Problems && p.ProblemBytes == b.desc.ProblemBytes &&
		slices.Equal(p.ProblemList.Refs, b.desc.ProblemList.Refs)
	return same, nil
}

// sameTree reports whether files that were read again turned out to be what the snapshot before holds.
func (b *backup) sameTree() bool {
	if b.prev == nil || b.desc.Problems > 0 || b.prev.Description.Problems > 0 {
		return false
	}
	p := &b.prev.Description
	b.sink.mu.Lock()
	defer b.sink.mu.Unlock()
	return len(b.sink.packs) == 0 && b.desc.Root.ID == p.Root.ID && b.desc.RootLevel == p.RootLevel
}

// repeat makes a snapshot of what the one before holds.
func (b *backup) repeat(c *format.Commit) *format.Commit {
	b.changed = false
	b.desc.Root, b.desc.RootLevel = b.prev.Description.Root, b.prev.Description.RootLevel
	c.Refs = b.prev.Refs
	b.desc.Finished = b.r.now().UnixMilli()
	return c
}

// sinkWrote reports whether this run, and not one that was cut off, stored packs.
func (b *backup) sinkWrote() bool {
	b.sink.mu.Lock()
	defer b.sink.mu.Unlock()
	return slices.Contains(b.sink.sessions, b.sink.session)
}

// listProblems stores what the snapshot lacks as a list beside the tree.
func (b *backup) listProblems(ctx context.Context, n *nodes) error {
	lists := tree.NewListBuilder(n)
	var buf []byte
	put := func() error {
		if len(buf) == 0 {
			return nil
		}
		id, err := n.SaveNode(ctx, buf)
		if err != nil {
			return err
		}
		b.desc.ProblemBytes += uint64(len(buf))
		r := format.Ref{ID: id, Len: int64(len(buf))}
		buf = buf[:0]
		return lists.Add(ctx, r)
	}
	for _, p := range b.problems {
		buf = format.AppendProblem(buf, p)
		if len(buf) > 256<<10 {
			if err := put(); err != nil {
				return err
			}
		}
	}
	if err := put(); err != nil {
		return err
	}
	c, err := lists.Finish(ctx)
	b.desc.ProblemList = c
	return err
}

// longFile is a file whose references became a tree.
type longFile struct {
	content format.Content
	nodes   []format.ID
}

// build makes the tree of entries out of the spool, and trees of references for long files.
func (b *backup) build(ctx context.Context, n *nodes) (map[string]longFile, error) {
	rr, err := b.run.ReadSpool()
	if err != nil {
		return nil, err
	}
	defer rr.Close()
	builder := tree.NewBuilder(n, b.r.treeSeed)
	long := map[string]longFile{}
	lists := tree.NewListBuilder(n)
	for {
		var rec host.Record
		if err := rr.Next(&rec); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
		if rec.Refs != nil || rec.Side != 0 {
			own := n.collect()
			c, err := b.list(ctx, lists, &rec)
			if err != nil {
				return nil, err
			}
			long[rec.Entry.Path] = longFile{content: c, nodes: own()}
			rec.Entry.Content = c
		}
		if err := builder.Add(ctx, &rec.Entry); err != nil {
			return nil, err
		}
	}
	b.desc.Root, b.desc.RootLevel, err = builder.Finish(ctx)
	return long, err
}

func (b *backup) list(ctx context.Context, lists *tree.ListBuilder, rec *host.Record) (format.Content, error) {
	add := func(refs []format.Ref) error {
		for _, r := range refs {
			if err := lists.Add(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}
	var err error
	if rec.Side != 0 {
		err = b.run.ReadSide(rec.Side, add)
	} else {
		err = add(rec.Refs)
	}
	if err != nil {
		return format.Content{}, err
	}
	return lists.Finish(ctx)
}

// keeping is what the host will remember of the snapshot, and the packs that it lies in.
type keeping struct {
	*host.Keeper
	packs []format.Object
	depth uint8

	number map[format.Hash]uint32
	before []uint32 // number here of each pack of the snapshot before, plus one
}

// references goes through the spool again, now that everything is stored, and finds out in which packs the
// snapshot lies.
func (b *backup) references(ctx context.Context, n *nodes, long map[string]longFile) (*keeping, error) {
	keeper, err := b.folder.Keep(b.lineage)
	if err != nil {
		return nil, err
	}
	k := &keeping{Keeper: keeper, number: map[format.Hash]uint32{}}
	if b.prev != nil {
		k.before = make([]uint32, len(b.prev.Packs))
	}
	err = b.keepRecords(ctx, k, long)
	for _, id := range n.ids {
		if err != nil {
			break
		}
		_, err = b.pack(ctx, k, id)
	}
	if err == nil {
		err = k.Finish()
	}
	if err != nil {
		k.Drop()
		return nil, err
	}
	return k, nil
}

func (b *backup) keepRecords(ctx context.Context, k *keeping, long map[string]longFile) error {
	rr, err := b.run.ReadSpool()
	if err != nil {
		return err
	}
	defer rr.Close()
	ahead := b.newLookahead(ctx, k)
	defer ahead.stop()
	for {
		var rec host.Record
		if err := rr.Next(&rec); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		if rec.Entry.Kind == format.File {
			if err := b.locate(ctx, k, ahead, &rec, long[rec.Entry.Path]); err != nil {
				return err
			}
		}
		rec.Fresh, rec.Refs, rec.Side = false, nil, 0
		if err := k.Write(&rec); err != nil {
			return err
		}
	}
}

// locate fills in rec.Packs.
func (b *backup) locate(ctx context.Context, k *keeping, ahead *lookahead, rec *host.Record, l longFile) error {
	if rec.Packs != nil {
		for i, p := range rec.Packs {
			if int(p) >= len(k.before) {
				return errors.New("a remembered snapshot names a pack that it does not list")
			}
			if k.before[p] == 0 {
				k.before[p] = k.add(b.prev.Packs[p]) + 1
			}
			rec.Packs[i] = k.before[p] - 1
		}
		slices.Sort(rec.Packs)
		return nil
	}
	rec.Packs = []uint32{}
	add := func(p uint32, err error) error {
		if err == nil && (len(rec.Packs) == 0 || rec.Packs[len(rec.Packs)-1] != p) {
			rec.Packs = append(rec.Packs, p)
		}
		return err
	}
	lookUp := func(id format.ID) error { return add(b.pack(ctx, k, id)) }
	err := b.chunksOf(rec, func(id format.ID) error { return add(ahead.pack(ctx, id)) })
	if err == nil && rec.Side == 0 && rec.Refs == nil && rec.Entry.Content.Level > 0 {
		err = b.locateTree(ctx, rec, lookUp) // carried from a snapshot whose packs were not remembered
	}
	for _, id := range l.nodes {
		if err == nil {
			err = lookUp(id)
		}
	}
	if l.content.Level > 0 {
		rec.Entry.Content = l.content
	}
	slices.Sort(rec.Packs)
	rec.Packs = slices.Compact(rec.Packs)
	return err
}

// locateTree finds the packs of a content tree by reading it.
func (b *backup) locateTree(ctx context.Context, rec *host.Record, add func(format.ID) error) error {
	seen := &recordingLoader{loader: b.r.loader}
	for r, err := range tree.OpenContent(seen, rec.Entry.Content, rec.Entry.Size).Refs(ctx, 0) {
		if err != nil {
			return err
		}
		if !r.Hole {
			if err := add(r.ID); err != nil {
				return err
			}
		}
	}
	for _, id := range seen.ids {
		if err := add(id); err != nil {
			return err
		}
	}
	return nil
}

// recordingLoader notes the nodes that are loaded through it.
type recordingLoader struct {
	*loader
	ids []format.ID
}

func (l *recordingLoader) LoadNode(ctx context.Context, id format.ID, size uint32) ([]byte, error) {
	l.ids = append(l.ids, id)
	return l.loader.LoadNode(ctx, id, size)
}

// pack returns the number of the pack that a chunk lies in.
func (b *backup) pack(ctx context.Context, k *keeping, id format.ID) (uint32, error) {
	var found index.Found
	var ok bool
	var err error
	for {
		logged := b.r.pending.logged.Load()
		found, ok, err = b.sink.place(ctx, id)
		if err == nil && !ok {
			// What a reader carried over from another writer's snapshot.
			found, ok, err = b.sink.placeIn(b.r.index.Places(ctx, id))
		}
		if ok || ctx.Err() != nil || b.r.pending.logged.Load() == logged {
			break // else the index has moved on beside the search, which may have met segments that are deleted
		}
	}
	if err != nil {
		return 0, fmt.Errorf("index: %w", err)
	}
	if !ok {
		return 0, errUnknown
	}
	return k.add(format.Object{Type: found.Pack.Type, Session: found.Pack.Session, Hash: found.Pack.Hash}), nil
}

func (k *keeping) add(o format.Object) uint32 {
	if n, ok := k.number[o.Hash]; ok {
		return n
	}
	n := uint32(len(k.packs))
	k.packs = append(k.packs, o)
	k.number[o.Hash] = n
	return n
}

// storeRefs stores the list of all that the snapshot depends on: as a difference to the snapshot before
// where that is known and shorter.
func (b *backup) storeRefs(ctx context.Context, packs []format.Object, p *host.Previous) (format.Hash, uint8, error) {
	all := withSessions(packs)
	refs := &format.Refs{Added: all}
	if p != nil && p.RefsDepth < format.MaxRefsDepth && len(p.Packs) > 0 {
		removed, added := format.DiffRefs(withSessions(p.Packs), all)
		if len(removed)+len(added) < len(all) {
			refs = &format.Refs{Depth: p.RefsDepth + 1, Base: p.Refs, Removed: removed, Added: added}
		}
	}
	hash, err := b.r.putRefs(ctx, refs)
	return hash, refs.Depth, err
}

// commit writes the log entry that makes the snapshot exist. It does so only if nothing that the snapshot
// depends on was condemned in any entry before.
func (b *backup) commit(ctx context.Context, c *format.Commit, k *keeping) (format.SnapRef, error) {
	recipients := b.r.ledger.State().Enrolment.Recipients
	sealed, err := sealBody(b.r.format, recipients, bodyAAD(domainBody, b.r.format, c.ID), b.desc.Append(nil))
	if err != nil {
		return format.SnapRef{}, err
	}
	for {
		var seen format.State
		ref, err := b.r.ledger.Append(ctx, ledger.Proposal{
			Kind: format.KindSnapshot, Signer: b.sink.signer,
			Build: func(st *format.State) ([]byte, []byte, error) {
				if seen = *st; !b.dead.current(st) || !b.based(st, c, k) {
					return nil, nil, errRecheck
				}
				if k != nil {
					// Also what only the segments name: they make it known to later runs.
					b.sink.mu.Lock()
					own := withSessions(slices.Concat(k.packs, b.sink.packs))
					b.sink.mu.Unlock()
					if err := b.dead.check(own, c.Segments); err != nil {
						return nil, nil, err
					}
				}
				return c.Append(nil), sealed, nil
			},
		})
		ref.ID, ref.Refs = c.ID, c.Refs
		if !errors.Is(err, errRecheck) {
			return ref, err
		}
		if err := b.dead.read(ctx, seen.Condemned); err != nil {
			return ref, err
		}
		if b.based(&seen, c, k) {
			continue
		}
		if k == nil {
			return ref, ErrCondemned // the list of the snapshot before is all that this one has
		}
		if c.Refs, k.depth, err = b.storeRefs(ctx, k.packs, nil); err != nil {
			return ref, err
		}
	}
}

// based reports whether the snapshot's list is certain to stay, and the one that it is a difference to.
func (b *backup) based(st *format.State, c *format.Commit, k *keeping) bool {
	if k != nil && b.dead.has(refsObject(c.Refs)) {
		return false
	}
	return k != nil && k.depth == 0 || stands(st, b.prev.Snapshot, b.prev.Refs)
}

// keep leaves with the host what the next run needs. The snapshot is committed: a failure here costs that
// run time, no more.
func (b *backup) keep(ref format.SnapRef, c *format.Commit, k *keeping) {
	p := host.Previous{Snapshot: ref.ID, Outcome: c.Outcome, Description: b.desc, Refs: c.Refs, Condemned: b.dead.at()}
	if k != nil {
		p.Packs, p.RefsDepth = k.packs, k.depth
		if err := k.Commit(p); err != nil {
			k.Drop()
		}
		return
	}
	if b.prev.Packs != nil {
		q := *b.prev
		q.Snapshot, q.Outcome, q.Description, q.Condemned = p.Snapshot, p.Outcome, p.Description, p.Condemned
		_ = b.folder.Renew(b.lineage, &q)
	}
}

// Domains of sealed bodies.
const (
	domainBody   = "carekeep/v1 snapshot"
	domainRecord = "carekeep/v1 record"
)

// bodyAAD binds a sealed body to its kind, the repository and an id that stands in the clear body.
func bodyAAD(domain string, f *format.Format, id [16]byte) []byte {
	b := append([]byte(domain), f.Suite)
	b = append(b, f.Repo[:]...)
	return append(b, id[:]...)
}

// sealBody encrypts a body to the readers.
func sealBody(f *format.Format, recipients [][]byte, aad, plain []byte) ([]byte, error) {
	suite := seal.Suite(f.Suite)
	key := make([]byte, seal.KeySize)
	seal.Random(key)
	s := &format.SealedBody{}
	var err error
	if s.Wraps, err = wrapAll(suite, recipients, aad, key); err != nil {
		return nil, err
	}
	if s.Sealed, err = suite.Seal(key, aad, plain); err != nil {
		return nil, err
	}
	return s.Append(nil), nil
}

// pullEntries turns a walk of a tree into a feed of records.
func pullEntries(seq iter.Seq2[*format.Entry, error]) (next func(*host.Record) error, stop func()) {
	pull, stop := iter.Pull2(seq)
	return func(r *host.Record) error {
		e, err, ok := pull()
		if !ok {
			return io.EOF
		}
		if err != nil {
			return err
		}
		*r = host.Record{Entry: *e}
		return nil
	}, stop
}
