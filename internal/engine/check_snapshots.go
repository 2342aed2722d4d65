package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/tree"
)

// snapState is what the log says of a snapshot.
type snapState struct {
	id       format.SnapID
	refs     format.Hash
	sessions []format.SessionID
	desc     *format.Description
	err      error // why it cannot be opened
}

// checkLog verifies the log and takes from it what the other steps need.
func (c *check) checkLog(ctx context.Context) error {
	if err := c.checkFormat(ctx); err != nil {
		return err
	}
	bad, err := c.verifyLog(ctx)
	if err != nil {
		return err
	}
	return c.readLog(ctx, bad)
}

// readLog opens the snapshots of the state, and takes from the log what else the other steps need.
func (c *check) readLog(ctx context.Context, bad map[uint64]bool) error {
	c.enrol(&c.state.Enrolment)
	at := map[uint64]int{}
	for i, s := range c.state.Snapshots {
		at[s.Seq] = i
	}
	opened := make([]*snapState, len(c.state.Snapshots))
	err := c.entries(ctx, bad, func(window []logged) error {
		for _, e := range window {
			c.enrolled(e.LogEntry)
			if e.Kind != format.KindPartial || e.Seq <= c.state.Condemned {
				continue // what a run that was cut off left may have been deleted since
			}
			if p, err := format.DecodeCommit(e.Body); err == nil {
				c.partials = append(c.partials, p.Refs)
				c.uses(p.Sessions)
			}
		}
		return each(ctx, len(window), c.workers, func(ctx context.Context, i int) error {
			n, ok := at[window[i].Seq]
			if ok && window[i].Kind == format.KindSnapshot && window[i].hash == c.state.Snapshots[n].Hash {
				opened[n] = c.openSnapshot(c.state.Snapshots[n], window[i].LogEntry)
			}
			return ctx.Err()
		})
	})
	if err != nil {
		return err
	}
	for i, s := range opened {
		switch ref := c.state.Snapshots[i]; {
		case s == nil:
			c.lostSnapshot(ref.ID, errors.New("its log entry cannot be read"))
		case s.err != nil:
			c.lostSnapshot(ref.ID, s.err)
		default:
			if ref.Seq > c.state.Condemned {
				c.uses(s.sessions) // those that are not deleted are named by the lists
			}
			c.snapshots = append(c.snapshots, s)
		}
	}
	c.rep.Snapshots = int64(len(c.state.Snapshots))
	return nil
}

func (c *check) checkKeys(ctx context.Context) error { return c.checkSlots(ctx) }

func (c *check) uses(ids []format.SessionID) {
	for _, id := range ids {
		c.sessions[id] = false
	}
}

// lostSnapshot reports a snapshot of which nothing can be restored.
func (c *check) lostSnapshot(id format.SnapID, err error) {
	c.found(Finding{Kind: DamagedSnapshot, Snapshot: id, Path: ".", Err: fmt.Errorf("%w: %w", ErrDamaged, err)})
	c.lost(Loss{Snapshot: id, Path: "."})
}

func (c *check) openSnapshot(ref format.SnapRef, e *format.LogEntry) *snapState {
	commit, err := format.DecodeCommit(e.Body)
	if err != nil {
		return &snapState{err: err}
	}
	s := &snapState{id: ref.ID, refs: ref.Refs, sessions: commit.Sessions}
	if commit.ID != ref.ID {
		s.err = errors.New("the log calls it by another name")
		return s
	}
	if s.desc, s.err = c.r.openDescription(commit.ID, e.Sealed); s.err != nil {
		return s
	}
	if d := s.desc; d.Files+d.Folders+d.Others != d.Root.Entries || d.Bytes != d.Root.Bytes {
		s.err = errors.New("its counts are not those of its tree")
	}
	return s
}

// snapChecker goes through the trees of snapshots, one after the other.
type snapChecker struct {
	c       *check
	refs    *refsReader
	epoch   uint32
	allowed []uint32 // epoch in which a pack was listed
	listed  bool     // the list of the snapshot could be read

	s        *snapState
	unlisted []*node
	first    *Loss
	why      error
	failed   map[format.Hash]bool
	blamed   map[uint32]bool        // packs whose findings name a snapshot
	places   map[format.ID][]uint32 // all packs of chunks that lie in an unlisted one
	saved    map[format.ID]string   // chunks that only an unlisted pack has whole, with a path near to it
}

// checkSnapshots verifies the list of references and the tree of every snapshot.
func (c *check) checkSnapshots(ctx context.Context) error {
	w := &snapChecker{
		c: c, refs: c.refsReader(), allowed: make([]uint32, len(c.packs)),
		failed: map[format.Hash]bool{}, blamed: map[uint32]bool{}, places: map[format.ID][]uint32{},
		saved: map[format.ID]string{},
	}
	sound := map[format.Hash]bool{}
	for _, s := range c.snapshots {
		// A run without changes refers to the very tree of the run before.
		d := format.Description{Root: s.desc.Root, RootLevel: s.desc.RootLevel, ProblemBytes: s.desc.ProblemBytes, ProblemList: s.desc.ProblemList}
		k := hashOf(d.Append(s.refs[:]))
		if sound[k] {
			continue
		}
		ok, err := w.snapshot(ctx, s)
		if err != nil {
			return err
		}
		if ok {
			sound[k] = true
		}
	}
	for _, hash := range c.partials {
		if _, err := w.list(ctx, hash, format.SnapID{}); err != nil {
			return err
		}
	}
	return nil
}

// list reads a list of references and notes which packs it names. It reports false if it cannot be read.
func (w *snapChecker) list(ctx context.Context, hash format.Hash, id format.SnapID) (bool, error) {
	c := w.c
	if w.failed[hash] {
		return false, nil
	}
	l, at, err := w.refs.read(ctx, hash)
	if w.failed[at] {
		return false, nil
	}
	ok, oerr := c.judge(ctx, format.RefsKey(at), err)
	if oerr != nil {
		return false, oerr
	}
	if !ok {
		w.failed[at], w.failed[hash] = true, true
		c.affects(format.RefsKey(at), id, "")
		return false, nil
	}
	for _, o := range l.objects {
		if err := w.listedObject(ctx, o, id); err != nil {
			return false, err
		}
	}
	return true, nil
}

// listedObject looks at one object that a list names.
func (w *snapChecker) listedObject(ctx context.Context, o format.Object, id format.SnapID) error {
	c := w.c
	switch o.Type {
	case format.TypeData, format.TypeMetadata:
		n, ok := c.number[o.Hash]
		if ok && c.packs[n].ref.Type == o.Type && c.packs[n].ref.Session == o.Session {
			w.allowed[n] = w.epoch
			return nil
		}
		if w.failed[o.Hash] {
			return nil
		}
		w.failed[o.Hash] = true // reported once
		if c.badIndex {
			return nil
		}
		c.found(Finding{
			Kind: WrongIndex, Object: format.PackKey(o.Type, o.Session, o.Hash), Snapshot: id,
			Err: fmt.Errorf("%w: no index segment knows a pack that a snapshot lists", ErrDamaged),
		})
	case format.TypeSession:
		if _, known := c.sessions[o.Session]; known {
			return nil
		}
		ok, err := c.checkSession(ctx, o.Session)
		c.sessions[o.Session] = ok
		return err
	}
	return nil
}

// snapshot verifies one snapshot and reports whether nothing was found.
func (w *snapChecker) snapshot(ctx context.Context, s *snapState) (bool, error) {
	c := w.c
	w.epoch++
	w.s, w.unlisted, w.first, w.why = s, nil, nil, nil
	clear(w.saved)
	var err error
	if w.listed, err = w.list(ctx, s.refs, s.id); err != nil {
		return false, err
	}
	d := s.desc
	c.nodes.mu.Lock()
	root := c.nodes.get(d.Root.ID)
	c.nodes.mu.Unlock()
	flawed, err := w.visit(ctx, root)
	if err != nil {
		return false, err
	}
	switch {
	case root.failed == nil && root.known && !isRoot(root, d):
		w.lose(Loss{Path: ".", Entries: d.Root.Entries}, errNode)
	case flawed:
		if err := w.explain(ctx, root, ".", d.Root.Entries); err != nil {
			return false, err
		}
	}
	if err := w.problems(ctx); err != nil {
		return false, err
	}
	if w.first != nil {
		c.found(Finding{Kind: DamagedSnapshot, Snapshot: s.id, Path: w.first.Path, Err: w.why})
	}
	unlisted := len(w.unlisted)+len(w.saved) > 0
	if unlisted {
		err = w.findUnlisted(ctx)
	}
	return w.first == nil && w.listed && !unlisted, err
}

// isRoot reports whether a node is as the description says of the tree.
func isRoot(nd *node, d *format.Description) bool {
	return !nd.list && nd.level == d.RootLevel && nd.size == d.Root.Len && nd.entries == d.Root.Entries &&
		nd.bytes == d.Root.Bytes && (nd.entries == 0 || nd.first == ".")
}

func (w *snapChecker) lose(l Loss, why error) {
	l.Snapshot = w.s.id
	if w.first == nil {
		w.first, w.why = &l, why
	}
	w.c.lost(l)
}

// visit verifies a node and all below it for the snapshot, and reports whether something of it is lost. What
// the table knows is not read.
func (w *snapChecker) visit(ctx context.Context, nd *node) (bool, error) {
	if nd.epoch == w.epoch {
		return nd.flawed, nil
	}
	loaded := !nd.opened
	if err := w.load(ctx, nd); err != nil {
		return false, err
	}
	flawed := nd.failed != nil || nd.missing != nil
	nd.unlisted = false
	for _, n := range nd.packs {
		p := &w.c.packs[n]
		flawed = flawed || p.health != packSound
		nd.unlisted = nd.unlisted || w.allowed[n] != w.epoch
	}
	if nd.unlisted && w.listed {
		w.unlisted = append(w.unlisted, nd)
	}
	for i := range nd.edges {
		bad, err := w.visit(ctx, nd.edges[i].to)
		if err != nil {
			return false, err
		}
		flawed = flawed || bad
	}
	if !nd.judged && nd.opened {
		nd.judged = true
		nd.judge()
		flawed = flawed || nd.failed != nil || nd.missing != nil
	}
	nd.epoch, nd.flawed = w.epoch, flawed
	if loaded && w.c.nodes.full() {
		nd.close()
	}
	return flawed, nil
}

// close forgets what is below a node, where there is no room for it.
func (nd *node) close() { nd.opened, nd.judged, nd.edges, nd.packs = false, false, nil, nil }

// load reads a node that the table does not know. A node that cannot be had is no error.
func (w *snapChecker) load(ctx context.Context, nd *node) error {
	if nd.opened || nd.failed != nil {
		return nil
	}
	p, err := w.c.readNode(ctx, nd.id)
	if err := w.c.reached(ctx, err); err != nil {
		return err
	}
	if err != nil {
		nd.failed = err
		return nil
	}
	t := w.c.nodes
	t.mu.Lock()
	wants := t.fill(nd, p)
	t.mu.Unlock()
	for _, x := range wants {
		if err := w.c.resolve(ctx, []want{x}); err != nil {
			return err
		}
	}
	return nil
}

// readNode reads and decodes a node of whatever size the index says.
func (c *check) readNode(ctx context.Context, id format.ID) (*parsedNode, error) {
	data, err := c.nodeBytes(ctx, id)
	if err != nil {
		return nil, err
	}
	return parseNode(data)
}

func (c *check) nodeBytes(ctx context.Context, id format.ID) ([]byte, error) {
	at, ok, err := c.r.index.Lookup(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	if !ok {
		return nil, fmt.Errorf("%w: the index does not know a node of a snapshot's tree", ErrDamaged)
	}
	if n, ok := c.number[at.Pack.Hash]; ok && c.packs[n].health == packGone {
		// The length is only known from the index, which may say different ones.
		gone := fmt.Errorf("%w: a pack is gone", ErrDamaged)
		return c.r.loader.elsewhere(ctx, id, int64(at.Location.Len), format.TypeMetadata, at.Pack.Hash, gone)
	}
	return c.r.loader.LoadNode(ctx, id, at.Location.Len)
}

// judge compares what the node says of those below it with what they are, and their order.
func (nd *node) judge() {
	for i := range nd.edges {
		to := nd.edges[i].to
		switch {
		case !to.known: // lost; reported as such
			nd.last = ""
			continue
		case to.self != nd.edges[i].claim && nd.level == 0 && !nd.list:
			nd.missing = errNode // of one file
			continue
		case to.self != nd.edges[i].claim:
			nd.failed = errNode
			return
		case to.list:
			continue
		}
		if i > 0 {
			if before := nd.edges[i-1].to; before.known && before.last != "" && !follows(before.last, before.lastDir, to.first) {
				nd.failed = errNode
				return
			}
		}
		nd.last, nd.lastDir = to.last, to.lastDir
	}
}

// problems verifies the list of what the snapshot lacks.
func (w *snapChecker) problems(ctx context.Context) error {
	d := w.s.desc
	if d.ProblemBytes == 0 {
		return nil
	}
	seen := &recordingLoader{loader: w.c.r.loader}
	err := readProblems(ctx, seen, d)
	if err := w.c.reached(ctx, err); err != nil {
		return err
	}
	if err != nil {
		w.lose(Loss{Path: "."}, fmt.Errorf("the list of what it lacks: %w", err))
	}
	for _, id := range seen.ids {
		at, ok, err := w.c.r.index.Lookup(ctx, id)
		if n, known := w.c.number[at.Pack.Hash]; err == nil && ok && known && w.allowed[n] != w.epoch && w.listed {
			w.unlisted = append(w.unlisted, &node{id: id, packs: []uint32{n}})
		}
		if err == nil && ok {
			_ = w.lostChunk(ctx, id, int64(at.Location.Len), format.TypeMetadata, ".") // lost ones were found above
		}
	}
	return ctx.Err()
}

func readProblems(ctx context.Context, l *recordingLoader, d *format.Description) error {
	for ref, err := range tree.OpenContent(l, d.ProblemList, int64(d.ProblemBytes)).Refs(ctx, 0) {
		if err != nil {
			return err
		}
		b, err := l.LoadNode(ctx, ref.ID, uint32(ref.Len))
		for err == nil && len(b) > 0 {
			_, b, err = format.DecodeProblem(b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
