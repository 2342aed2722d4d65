package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/carekeep/carekeep/internal/compress"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/pack"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// usage is how much of a pack is alive.
type usage struct {
	ref    format.PackRef
	writer format.WriterID // whose segments locate it
	live   int64           // bytes as stored, about
	dead   bool            // some chunk of it is dead
}

// footerBytes is what a chunk takes in its pack's footer.
const footerBytes = 36

func (u *usage) waste() int64 { return max(0, int64(u.ref.Size)-u.live) }

// repack writes the packs again that waste most, and reports whether it is worth another look.
func (c *collector) repack(ctx context.Context) (moved bool, err error) {
	m, err := c.mark(ctx)
	if err != nil {
		return false, err
	}
	packs, live, err := c.usage(ctx, m)
	if err != nil {
		return false, err
	}
	shred := map[format.SessionID]bool{}
	if c.o.Shred {
		if shred, err = c.halfDead(ctx, m, packs); err != nil {
			return false, err
		}
	}
	todo := c.choose(m, packs, shred)
	if len(todo) == 0 {
		return false, nil
	}
	exact, err := c.exact(ctx, m, todo, live)
	if err != nil {
		return false, err
	}
	w, err := c.newMover(ctx, exact)
	if err != nil {
		return false, err
	}
	if err := w.move(ctx, todo); err != nil {
		return false, err
	}
	var before int64
	for _, u := range todo {
		before += int64(u.ref.Size)
	}
	c.tight = c.tight || w.size >= before // or it could go on for ever and gain nothing
	known := map[format.SnapID]bool{}
	for _, s := range m.state.Snapshots {
		known[s.ID] = true
	}
	err = c.again(ctx, func(ctx context.Context) (err error) {
		moved, err = c.publishMove(ctx, w, m.state.Condemned, known)
		return err
	})
	return moved, err // if others were too fast, the next Compact may have more luck
}

// usage finds out how much of every pack in use is alive. Ids are compared with a filter, segment by segment, so
// the memory that it takes does not depend on the order in which files refer to chunks.
func (c *collector) usage(ctx context.Context, m *mark) (map[format.Object]*usage, *liveChunks, error) {
	var entries uint64
	for _, s := range m.state.Segments {
		entries += s.Entries
	}
	live := newLiveChunks(entries, c.o.Memory/2)
	c.r.follow()
	if err := c.r.walkLive(ctx, m.state.Snapshots, c.o.Memory/2, live.add); err != nil {
		return nil, nil, err
	}
	packs := map[format.Object]*usage{}
	for _, s := range m.state.Segments {
		for it, err := range c.r.index.All(ctx, s) {
			if err != nil {
				return nil, nil, err
			}
			o := object(it.Pack)
			if !m.live.has(o) {
				continue
			}
			u := packs[o]
			if u == nil {
				u = &usage{ref: it.Pack, writer: s.Writer}
				packs[o] = u
			}
			if !live.has(it.ID) {
				u.dead = true
				continue
			}
			l := it.Location
			u.live += (int64(l.Len)*int64(l.Stored)+int64(l.Plain)-1)/int64(l.Plain) + footerBytes
		}
	}
	if c.o.Shred {
		return packs, live, c.findDead(ctx, m, packs, entries)
	}
	return packs, live, nil
}

// findDead marks every pack that holds a dead chunk, without the filter's errors: what was forgotten must not be
// overlooked. It goes through the snapshots once for every part of the ids that fits the memory.
func (c *collector) findDead(ctx context.Context, m *mark, packs map[format.Object]*usage, entries uint64) error {
	parts := entries*seenBytes/uint64(c.o.Memory/2) + 1
	for k := range parts {
		in := func(id *format.ID) bool { return binary.BigEndian.Uint64(id[16:])%parts == k }
		alive := map[format.ID]struct{}{}
		err := c.r.walkLive(ctx, m.state.Snapshots, c.o.Memory/2, func(id format.ID) {
			if in(&id) {
				alive[id] = struct{}{}
			}
		})
		if err != nil {
			return err
		}
		for _, s := range m.state.Segments {
			for it, err := range c.r.index.All(ctx, s) {
				if err != nil {
					return err
				}
				u := packs[object(it.Pack)]
				if u == nil || u.dead || !in(&it.ID) {
					continue
				}
				if _, ok := alive[it.ID]; !ok {
					u.dead = true
				}
			}
		}
	}
	return nil
}

// choose picks the packs to be written again in one round: those that waste most, until what is left is within
// bounds; and to shred a session, all packs of it.
func (c *collector) choose(m *mark, packs map[format.Object]*usage, shred map[format.SessionID]bool) (todo []*usage) {
	var list []*usage
	var live, waste int64
	for o, u := range packs {
		live += u.live
		waste += u.waste()
		if !m.busy.has(o) {
			list = append(list, u)
		}
	}
	slices.SortFunc(list, func(a, b *usage) int {
		return cmp.Or(
			cmp.Compare(b.waste()*int64(a.ref.Size), a.waste()*int64(b.ref.Size)),
			bytes.Compare(a.ref.Hash[:], b.ref.Hash[:]),
		)
	})
	allowed := int64(c.o.Waste * float64(live))
	var saved, size int64
	after := map[format.Type]int64{} // what the wasteful ones will come to
	wasteful := map[*usage]bool{}
	for _, u := range list {
		// The gain is that of this round, not of rounds to come.
		size += int64(u.ref.Size)
		if waste <= allowed || 10*u.waste() < int64(u.ref.Size) || size > c.o.Round && len(wasteful) > 0 {
			break
		}
		waste -= u.waste()
		saved += int64(u.ref.Size)
		after[u.ref.Type] += u.live
		wasteful[u] = true
	}
	for _, n := range after {
		full := int64(c.r.format.PackSize)
		saved -= n/full*full + max(pack.Padme(n%full), pack.MinSize)
	}
	if saved <= 0 || 2*saved < allowed || c.tight {
		clear(wasteful) // padding that would come back
	}
	if c.o.Shred {
		for u := range wasteful {
			shred[u.ref.Session] = true // or the session would be half dead afterwards
		}
	}
	size = 0
	for _, u := range list {
		if !wasteful[u] && !shred[u.ref.Session] {
			continue
		}
		if size += int64(u.ref.Size); size > c.o.Round && len(todo) > 0 {
			break
		}
		todo = append(todo, u)
	}
	// Neighbours stay neighbours.
	slices.SortFunc(todo, func(a, b *usage) int {
		return cmp.Or(
			bytes.Compare(a.writer[:], b.writer[:]), cmp.Compare(a.ref.Type, b.ref.Type),
			bytes.Compare(a.ref.Session[:], b.ref.Session[:]), cmp.Compare(a.ref.Number, b.ref.Number),
		)
	})
	return todo
}

// halfDead returns the sessions that are still needed and whose secret opens something dead: a dead chunk in a
// pack that is alive, or a pack that was condemned, of which somebody may hold a copy.
func (c *collector) halfDead(ctx context.Context, m *mark, packs map[format.Object]*usage) (map[format.SessionID]bool, error) {
	out := map[format.SessionID]bool{}
	for _, u := range packs {
		if u.dead {
			out[u.ref.Session] = true
		}
	}
	_, err := c.r.ledger.Condemned(ctx, m.state.Condemned, 0, func(_ uint64, _ int64, e *format.Condemn) error {
		for _, o := range e.Objects {
			pack := o.Type == format.TypeData || o.Type == format.TypeMetadata
			if pack && m.live.has(format.Object{Type: format.TypeSession, Session: o.Session}) {
				out[o.Session] = true
			}
		}
		return nil
	})
	return out, err
}

// exact returns the test for chunks that are alive. To shred it must not err at all: what the filter lets pass
// is looked up in the snapshots once more.
func (c *collector) exact(ctx context.Context, m *mark, todo []*usage, live *liveChunks) (func(format.ID) bool, error) {
	if !c.o.Shred {
		return live.has, nil
	}
	chosen := objectSet{}
	for _, u := range todo {
		chosen[object(u.ref)] = struct{}{}
	}
	found := map[format.ID]bool{}
	for _, s := range m.state.Segments {
		for it, err := range c.r.index.All(ctx, s) {
			if err != nil {
				return nil, err
			}
			if chosen.has(object(it.Pack)) && live.has(it.ID) {
				found[it.ID] = false
			}
		}
	}
	err := c.r.walkLive(ctx, m.state.Snapshots, c.o.Memory/2, func(id format.ID) {
		if _, ok := found[id]; ok {
			found[id] = true
		}
	})
	return func(id format.ID) bool { return found[id] }, err
}

// mover writes the live chunks of packs to new packs of a session of its own.
type mover struct {
	c       *collector
	alive   func(format.ID) bool
	session format.SessionID
	ctx     context.Context // of the run: packs are stored beside the calls that fill them

	begin    sync.Once
	beginErr error
	secret   []byte

	mu      sync.Mutex // guards what follows, and the writers
	writers map[format.Type]*pack.Writer
	gather  map[gatherKey]*gathered
	enc     *compress.Encoder
	out     []byte
	into    map[format.Object]map[number]bool // packs that a pack's chunks went to
	failed  map[format.Object]bool            // packs that could not be read whole
	homes   map[format.ID]home                // so that what several packs hold is written once

	stored   sync.Mutex
	numbers  map[number]format.Object
	size     int64 // of the packs
	builder  *index.Builder
	segments []format.Segment

	to map[format.Object][]format.Object // what became of each pack, once all is stored
}

// number names a pack before it has a digest.
type number struct {
	t format.Type
	n uint32
}

type gatherKey struct {
	t     format.Type
	class compress.Class
}

// home is where a chunk has gone: into a pack, or among those gathered for one.
type home struct {
	to number
	in *gathered // nil once it is in a pack
}

// homeBytes is about what a remembered home takes.
const homeBytes = 128

// gathered are chunks that are to be compressed as one.
type gathered struct {
	buf    []byte
	chunks []format.Chunk
	from   map[format.Object]bool
}

func (c *collector) newMover(ctx context.Context, alive func(format.ID) bool) (*mover, error) {
	enc, err := compress.NewEncoder(compress.Level(0))
	if err != nil {
		return nil, err
	}
	w := &mover{
		c: c, ctx: ctx, alive: alive, secret: make([]byte, seal.KeySize), enc: enc,
		writers: map[format.Type]*pack.Writer{}, gather: map[gatherKey]*gathered{},
		into: map[format.Object]map[number]bool{}, failed: map[format.Object]bool{},
		homes: map[format.ID]home{}, numbers: map[number]format.Object{}, to: map[format.Object][]format.Object{},
	}
	seal.Random(w.session[:])
	seal.Random(w.secret)
	keys, err := c.r.ring.add(w.session, w.secret)
	if err != nil {
		return nil, err
	}
	buffers := pack.NewBuffers(packBuffers)
	for t, key := range map[format.Type][]byte{format.TypeData: keys.data, format.TypeMetadata: keys.metadata} {
		w.writers[t], err = pack.NewWriter(pack.Config{
			Suite: c.r.suite, Repo: c.r.format.Repo, Session: w.session, Type: t, Key: key,
			Size: int(c.r.format.PackSize), Buffers: buffers, Put: w.put, Stored: w.store,
		})
		if err != nil {
			return nil, err
		}
	}
	return w, nil
}

// put stores a pack, after the session object without which nobody could read it.
func (w *mover) put(_ context.Context, key string, object []byte) error {
	w.begin.Do(func() { w.beginErr = w.storeSession() })
	if w.beginErr != nil {
		return w.beginErr
	}
	if err := w.c.r.store.Put(w.ctx, key, object); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	w.c.op.AddStored(int64(len(object)))
	return nil
}

func (w *mover) storeSession() error {
	r := w.c.r
	signer, err := seal.NewSigner(r.keys.Writer)
	if err != nil {
		return err
	}
	b, err := sessionObject(r.format, signer, r.ledger.State().Enrolment.Recipients, w.session, w.secret, r.now().UnixMilli())
	if err != nil {
		return err
	}
	if err := r.store.Put(w.ctx, format.SessionKey(w.session, 0), b); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	return nil
}

// store takes a pack that the bucket has into the index in the making.
func (w *mover) store(_ context.Context, ref format.PackRef, frames []format.Frame) error {
	w.stored.Lock()
	defer w.stored.Unlock()
	w.numbers[number{ref.Type, ref.Number}] = object(ref)
	w.size += int64(ref.Size)
	if err := w.builder.AddFrames(ref, frames); err != nil {
		return err
	}
	if w.builder.Len() >= flushEntries {
		return w.index()
	}
	return nil
}

// index stores what the builder holds as a segment. Called with the lock held.
func (w *mover) index() error {
	if w.builder.Len() == 0 {
		return nil
	}
	object, seg, err := w.builder.Build()
	if err != nil {
		return err
	}
	if err := w.c.r.store.Put(w.ctx, format.IndexKey(seg.Hash), object); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	w.segments = append(w.segments, seg)
	return nil
}

// move writes the live chunks of packs again. The packs are sorted by writer: whose segments locate the old
// places will find the new ones in segments of the same name, and go on deduplicating against them.
func (w *mover) move(ctx context.Context, packs []*usage) error {
	defer func() {
		for _, x := range w.writers {
			x.Abort()
		}
	}()
	for len(packs) > 0 {
		n := slices.IndexFunc(packs, func(u *usage) bool { return u.writer != packs[0].writer })
		if n < 0 {
			n = len(packs)
		}
		w.builder = index.NewBuilder(w.c.r.indexConfig, packs[0].writer, maxBuilt)
		if err := w.moveAll(ctx, packs[:n]); err != nil {
			return err
		}
		w.stored.Lock()
		err := w.index()
		w.stored.Unlock()
		if err != nil {
			return err
		}
		packs = packs[n:]
	}
	w.alive, w.homes, w.gather = nil, nil, nil // what follows needs the room
	for o, numbers := range w.into {
		if w.failed[o] {
			continue
		}
		to := []format.Object{}
		for n := range numbers {
			to = append(to, w.numbers[n])
		}
		w.to[o] = to
	}
	return nil
}

func (w *mover) moveAll(ctx context.Context, packs []*usage) error {
	next := make(chan *usage, len(packs))
	for _, u := range packs {
		next <- u
	}
	close(next)
	err := each(ctx, w.c.o.Workers, w.c.o.Workers, func(ctx context.Context, _ int) error {
		prfs := map[format.Type]*seal.PRF{}
		for t, key := range map[format.Type][]byte{format.TypeData: w.c.r.dataID, format.TypeMetadata: w.c.r.metaID} {
			prf, err := seal.NewPRF(key)
			if err != nil {
				return err
			}
			prfs[t] = prf
		}
		var buf pack.Buffer
		for u := range next {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := w.movePack(ctx, u, &buf, prfs[u.ref.Type]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.finish(ctx)
}

// finish ends the packs that are begun. Chunks that are moved later may be stored once more, but in no pack twice.
func (w *mover) finish(ctx context.Context) error {
	for k := range w.gather {
		if err := w.flush(ctx, k); err != nil {
			return err
		}
	}
	for _, x := range w.writers {
		if err := x.Flush(ctx); err != nil {
			return err
		}
	}
	w.homes = map[format.ID]home{} // a cleared one would keep its room
	return nil
}

// movePack moves what is alive in one pack. A pack that is damaged stays as it is.
func (w *mover) movePack(ctx context.Context, u *usage, buf *pack.Buffer, prf *seal.PRF) error {
	from := object(u.ref)
	w.mu.Lock()
	w.into[from] = map[number]bool{}
	w.mu.Unlock()
	err := w.c.r.packs.Whole(ctx, u.ref, buf, func(f format.Frame, _ uint32, stored, plain []byte) error {
		return w.frame(ctx, from, f, stored, plain, prf)
	})
	if err == nil {
		w.mu.Lock()
		w.c.rep.Rewritten++
		w.mu.Unlock()
		return nil
	}
	if ctx.Err() != nil || !isDamage(err) && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed[from] = true
	w.c.rep.Unreadable++
	return nil
}

// frame moves what is alive in one frame, after it has verified it.
func (w *mover) frame(ctx context.Context, from format.Object, f format.Frame, stored, plain []byte, prf *seal.PRF) error {
	var live []format.Chunk
	var at []int
	start := 0
	for _, ch := range f.Chunks {
		if w.alive(ch.ID) {
			var sum [32]byte
			if prf.Sum(&sum, plain[start:start+int(ch.Len)]); sum != ch.ID {
				return fmt.Errorf("%w: a chunk's bytes are not those its id names", ErrDamaged)
			}
			live, at = append(live, ch), append(at, start)
		}
		start += int(ch.Len)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if int64(len(w.homes)) > max(w.c.o.Memory/8, 1<<20)/homeBytes {
		if err := w.finish(ctx); err != nil {
			return err
		}
	}
	if live, at = w.homeless(from, live, at); len(live) == 0 {
		return nil
	}
	if len(live) == len(f.Chunks) && len(plain) >= frameSize/4 {
		return w.add(ctx, from.Type, f.Codec, stored, live, map[format.Object]bool{from: true})
	}
	limit := frameSize
	for i, ch := range live {
		data := plain[at[i] : at[i]+int(ch.Len)]
		k := gatherKey{from.Type, compress.Plain}
		if from.Type == format.TypeMetadata {
			limit = metaFrameSize
		} else {
			k.class = compress.Classify(data)
		}
		g := w.gather[k]
		if g == nil {
			g = &gathered{from: map[format.Object]bool{}}
			w.gather[k] = g
		}
		if len(g.buf) > 0 && len(g.buf)+len(data) > limit {
			if err := w.flush(ctx, k); err != nil {
				return err
			}
		}
		g.buf, g.chunks = append(g.buf, data...), append(g.chunks, ch)
		g.from[from] = true
		w.homes[ch.ID] = home{in: g}
	}
	return nil
}

// homeless leaves out the chunks that were moved out of another pack, and notes where they have gone.
func (w *mover) homeless(from format.Object, live []format.Chunk, at []int) ([]format.Chunk, []int) {
	n := 0
	for i, ch := range live {
		h, ok := w.homes[ch.ID]
		switch {
		case !ok:
			w.homes[ch.ID] = home{}
			live[n], at[n] = ch, at[i]
			n++
		case h == home{}: // twice in this frame
		case h.in != nil:
			h.in.from[from] = true
		default:
			w.into[from][h.to] = true
		}
	}
	return live[:n], at[:n]
}

// flush compresses what was gathered.
func (w *mover) flush(ctx context.Context, k gatherKey) error {
	g := w.gather[k]
	if g == nil || len(g.chunks) == 0 {
		return nil
	}
	stored, codec := g.buf, compress.Raw
	if k.class != compress.Dense {
		w.out, codec = w.enc.Encode(w.out[:0], g.buf, k.class)
		stored = w.out
	}
	err := w.add(ctx, k.t, codec, stored, g.chunks, g.from)
	g.buf, g.chunks, g.from = g.buf[:0], nil, map[format.Object]bool{}
	return err
}

func (w *mover) add(ctx context.Context, t format.Type, codec byte, stored []byte, chunks []format.Chunk, from map[format.Object]bool) error {
	x := w.writers[t]
	if err := x.Add(ctx, codec, stored, chunks); err != nil {
		return err
	}
	to := number{t, x.Number()}
	for o := range from {
		w.into[o][to] = true
	}
	for _, ch := range chunks {
		w.homes[ch.ID] = home{to: to}
	}
	return nil
}

// publishMove makes the new packs count, in place of the old ones. A pack that a snapshot has come to need
// which the move did not know stays, because the snapshot may need chunks that were dead.
func (c *collector) publishMove(ctx context.Context, w *mover, since uint64, known map[format.SnapID]bool) (bool, error) {
	m, err := c.mark(ctx)
	if err != nil {
		return false, err
	}
	dead, err := newCondemned(ctx, c.r.ledger, since)
	if err != nil {
		return false, err
	}
	var news []format.Object
	for _, o := range w.numbers {
		news = append(news, o)
	}
	if err := dead.check(withSessions(news), w.segments); err != nil {
		return false, err
	}
	gone := objectSet{}
	for o := range w.to {
		if m.live.has(o) && !dead.has(o) {
			gone[o] = struct{}{}
		}
	}
	for _, s := range m.state.Snapshots {
		if known[s.ID] {
			continue
		}
		l, _, err := c.refs.read(ctx, s.Refs)
		if err != nil {
			return false, err
		}
		for _, o := range l.objects {
			delete(gone, o)
		}
	}
	if len(gone) == 0 {
		return false, nil
	}
	e := &format.Condemn{Added: slices.Clone(w.segments), Sessions: []format.SessionID{w.session}}
	if err := c.newLists(ctx, m, w, gone, e); err != nil {
		return false, err
	}
	return true, c.publish(ctx, m, e, gone)
}

// newLists gives every snapshot that needs a moved pack a new list, and adds to gone what no list names then.
func (c *collector) newLists(ctx context.Context, m *mark, w *mover, gone objectSet, e *format.Condemn) error {
	after := objectSet{} // what is alive afterwards
	var base refsList
	var baseName format.Hash
	made := map[format.Hash]format.Hash{} // of equal lists
	list := func(i int) format.Hash { return m.state.Snapshots[i].Refs }
	err := c.refs.each(ctx, len(m.state.Snapshots), list, func(i int, l refsList, err error) error {
		if err != nil {
			return err
		}
		s := m.state.Snapshots[i]
		if !slices.ContainsFunc(l.objects, gone.has) {
			after.add(l)
			return nil
		}
		name, ok := made[s.Refs]
		if !ok {
			all := moved(l.objects, w.to, gone)
			refs := &format.Refs{Added: all}
			if baseName != (format.Hash{}) && base.depth < format.MaxRefsDepth {
				removed, added := format.DiffRefs(base.objects, all)
				if len(removed)+len(added) < len(all) {
					refs = &format.Refs{Depth: base.depth + 1, Base: baseName, Removed: removed, Added: added}
				}
			}
			if name, err = c.r.putRefs(ctx, refs); err != nil {
				return err
			}
			chain := []format.Hash{name}
			if refs.Depth > 0 {
				chain = append(base.chain[:len(base.chain):len(base.chain)], name)
			}
			base, baseName = refsList{objects: all, depth: refs.Depth, chain: chain}, name
			after.add(base)
			made[s.Refs] = name
		}
		e.Refs = append(e.Refs, format.NewRefs{ID: s.ID, Refs: name})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(e.Refs, func(a, b format.NewRefs) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for o := range m.live {
		if o.Type != format.TypeIndex && !after.has(o) {
			gone[o] = struct{}{}
		}
	}
	return nil
}

// moved is a list with moved packs replaced by those that hold their chunks now.
func moved(objects []format.Object, to map[format.Object][]format.Object, gone objectSet) []format.Object {
	var packs []format.Object
	for _, o := range objects {
		switch {
		case o.Type == format.TypeSession:
		case gone.has(o):
			packs = append(packs, to[o]...)
		default:
			packs = append(packs, o)
		}
	}
	slices.SortFunc(packs, format.CompareObjects)
	return withSessions(slices.Compact(packs))
}
