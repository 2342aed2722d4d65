package engine

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/store"
)

// mark is what a collector knows of a state of the log: what is alive, and what is free to go. It takes about
// 100 bytes for each object, which is 7 MB for a terabyte.
type mark struct {
	head  ledger.Pin
	state *format.State
	live  objectSet // what the lists of the snapshots name, and the lists themselves
	free  objectSet // what the lists of forgotten snapshots name and nothing alive does
	busy  objectSet // what a run may be at work on
	sizes map[format.Object]int64

	waiting *condemned // what entries have named that are not swept yet
}

type objectSet map[format.Object]struct{}

func (s objectSet) add(l refsList) {
	for _, o := range l.objects {
		s[o] = struct{}{}
	}
	for _, h := range l.chain {
		s[refsObject(h)] = struct{}{}
	}
}

func (s objectSet) has(o format.Object) bool {
	_, ok := s[o]
	return ok
}

// mark finds out what is alive at the log's head as this process knows it. What it found holds for as long as that is
// the head: lists never change, and what came to the store since is of runs that have not committed, which look before
// they do.
func (c *collector) mark(ctx context.Context) (*mark, error) {
	state, head := c.r.ledger.At()
	if err := undoubted(c.r.ledger); err != nil {
		return nil, err // also of entries that came after the collector began
	}
	if c.marked != nil && c.marked.head == head {
		return c.marked, nil
	}
	c.marked = nil // there is room for one
	m, err := c.markAt(ctx, state, head)
	if err == nil {
		c.marked = m
	}
	return m, err
}

func (c *collector) markAt(ctx context.Context, s *format.State, head ledger.Pin) (*mark, error) {
	m := &mark{head: head, state: s, live: objectSet{}, free: objectSet{}, busy: objectSet{}, sizes: map[format.Object]int64{}}
	err := c.refs.each(ctx, len(s.Snapshots), func(i int) format.Hash { return s.Snapshots[i].Refs }, func(_ int, l refsList, err error) error {
		m.live.add(l)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, x := range s.Segments {
		m.live[format.Object{Type: format.TypeIndex, Hash: x.Hash}] = struct{}{}
	}
	// Should one of these lists be lost, what it names is found by listing once it is old.
	err = c.refs.each(ctx, len(s.Forgotten), func(i int) format.Hash { return s.Forgotten[i].Refs }, func(_ int, l refsList, _ error) error {
		m.free.add(l)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = c.refs.each(ctx, len(s.Partials), func(i int) format.Hash { return s.Partials[i].Refs }, func(i int, l refsList, _ error) error {
		if c.r.now().Sub(time.UnixMilli(s.Partials[i].Time)) < c.o.Abandoned {
			m.busy.add(l)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for o := range m.free {
		if m.live.has(o) {
			delete(m.free, o)
		}
	}
	if m.waiting, err = newCondemned(ctx, c.r.ledger, max(c.swept, s.Swept)); err != nil {
		return nil, err
	}
	return m, c.list(ctx, m)
}

// list looks for what no entry of the log leads to. A listing may lag behind and miss objects: those are left
// for the next collector. What is young may be of a run under way, and is left alone for that run's sake;
// nothing would be lost otherwise, because the run looks before it commits.
func (c *collector) list(ctx context.Context, m *mark) error {
	c.rep.Snapshots, c.rep.Live, c.rep.InFlight = int64(len(m.state.Snapshots)), 0, 0
	for _, prefix := range []string{"p/", "m/", "sess/", "i/", "refs/"} {
		err := c.r.store.List(ctx, prefix, func(l store.Listed) error {
			o, ok := parseKey(l.Key)
			if !ok {
				return nil
			}
			m.sizes[o] = l.Size
			switch {
			case m.live.has(o):
				c.rep.Live += l.Size
			case m.free.has(o):
			case m.busy.has(o), c.r.now().Sub(l.Written) < c.o.Abandoned:
				m.busy[o] = struct{}{}
				if !m.waiting.has(o) { // young as it is, it was condemned before its list went
					c.rep.InFlight++
				}
			default:
				m.free[o] = struct{}{}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	// A session stays as long as any pack of it.
	for _, set := range []objectSet{m.live, m.busy} {
		for o := range set {
			if o.Type == format.TypeData || o.Type == format.TypeMetadata {
				delete(m.free, format.Object{Type: format.TypeSession, Session: o.Session})
			}
		}
	}
	return nil
}

// parseKey is the inverse of [format.Object.Key].
func parseKey(key string) (o format.Object, ok bool) {
	prefix, rest, _ := strings.Cut(key, "/")
	fill := func(dst []byte, s string) bool {
		n, err := hex.Decode(dst, []byte(s[:min(len(s), 2*len(dst))]))
		return err == nil && n == len(dst) && len(s) == 2*len(dst)
	}
	switch prefix {
	case "p", "m":
		o.Type = format.TypeData
		if prefix == "m" {
			o.Type = format.TypeMetadata
		}
		session, hash, _ := strings.Cut(rest, "/")
		ok = fill(o.Session[:], session) && fill(o.Hash[:], hash)
	case "sess":
		o.Type = format.TypeSession
		session, _, _ := strings.Cut(rest, ".")
		ok = fill(o.Session[:], session)
	case "i":
		o.Type, ok = format.TypeIndex, fill(o.Hash[:], rest)
	case "refs":
		o.Type, ok = format.TypeRefs, fill(o.Hash[:], rest)
	}
	return o, ok && o.Key() == key
}

// condemn publishes what is free to go.
func (c *collector) condemn(ctx context.Context) error {
	m, err := c.mark(ctx)
	if err != nil {
		return err
	}
	for o := range m.free {
		if m.waiting.has(o) {
			delete(m.free, o) // an entry that is not swept yet has named it
		}
	}
	if c.o.DryRun {
		c.count(m, m.free)
		return nil
	}
	if len(m.free) == 0 && len(m.state.Forgotten) == 0 {
		return nil
	}
	part := m.free.part(c.most)
	if len(part) == len(m.free) {
		return c.publish(ctx, m, &format.Condemn{Forgotten: uint64(len(m.state.Forgotten))}, part)
	}
	if err := c.publish(ctx, m, &format.Condemn{}, part); err != nil {
		return err
	}
	return c.condemn(ctx)
}

// maxCondemned is how many objects one entry condemns at once: 50 MB of it.
const maxCondemned = 1 << 20

// part returns at most n of the objects: packs and index segments before sessions and lists, so that no session goes
// before its packs.
func (s objectSet) part(n int) objectSet {
	if len(s) <= n {
		return s
	}
	out := make(objectSet, n)
	for _, first := range []bool{true, false} {
		for o := range s {
			if pack := o.Type != format.TypeSession && o.Type != format.TypeRefs; pack == first && len(out) < n {
				out[o] = struct{}{}
			}
		}
	}
	return out
}

func (c *collector) count(m *mark, objects objectSet) {
	c.rep.Condemned += int64(len(objects))
	for o := range objects {
		c.rep.Bytes += m.sizes[o]
	}
}

// publish writes a condemn entry right after the entry that the mark was made at. The index segments that
// name a condemned pack are written again without it, so that no later run finds it there.
func (c *collector) publish(ctx context.Context, m *mark, e *format.Condemn, gone objectSet) error {
	gone = cloneSet(gone)
	dead := func(p *format.PackRef) bool {
		o := object(*p)
		if !gone.has(o) && gone.has(format.Object{Type: format.TypeSession, Session: o.Session}) {
			gone[o] = struct{}{} // a listing may have missed it; without its session it is lost
		}
		return gone.has(o)
	}
	for _, s := range m.state.Segments {
		touched, added, err := c.rewriteSegment(ctx, s, dead)
		if err != nil {
			return err
		}
		if !touched {
			continue
		}
		e.Removed = append(e.Removed, s.Hash)
		e.Added = append(e.Added, added...)
		gone[format.Object{Type: format.TypeIndex, Hash: s.Hash}] = struct{}{}
	}
	slices.SortFunc(e.Removed, func(a, b format.Hash) int { return bytes.Compare(a[:], b[:]) })
	e.Previous, e.Swept = m.state.Condemned, max(c.swept, m.state.Swept)
	e.Objects = make([]format.Object, 0, len(gone))
	for o := range gone {
		e.Objects = append(e.Objects, o)
	}
	slices.SortFunc(e.Objects, format.CompareObjects)
	body := e.Append(nil)
	_, err := c.r.ledger.Append(ctx, ledger.Proposal{
		Kind: format.KindCondemn, Signer: c.signer, After: &m.head,
		Build: func(*format.State) ([]byte, []byte, error) { return body, nil, nil },
	})
	if err != nil {
		return err
	}
	c.count(m, gone)
	c.done = false
	c.r.follow()
	return nil
}

func cloneSet(s objectSet) objectSet {
	out := make(objectSet, len(s))
	for o := range s {
		out[o] = struct{}{}
	}
	return out
}

// rewriteSegment stores an index segment without the places in dead packs, if it names any.
func (c *collector) rewriteSegment(ctx context.Context, s format.Segment, dead func(*format.PackRef) bool) (touched bool, added []format.Segment, err error) {
	for p, err := range c.r.index.Packs(ctx, s) {
		if err != nil {
			return false, nil, err
		}
		if touched = dead(&p); touched {
			break
		}
	}
	if !touched {
		return false, nil, nil
	}
	err = c.r.index.Rewrite(ctx, []format.Segment{s}, 0, dead, func(d format.Segment, object []byte) error {
		added = append(added, d)
		if err := c.r.store.Put(ctx, format.IndexKey(d.Hash), object); err != nil {
			return fmt.Errorf("index: %w", err)
		}
		return nil
	})
	return true, added, err
}
