package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/pack"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// checkPacks reads packs whole: those of metadata, whose nodes it takes into the table, and with ReadAll
// those of content.
func (c *check) checkPacks(ctx context.Context) error {
	todo := make([]uint32, 0, len(c.packs))
	bytes := int64(0)
	for i := range c.packs {
		if p := &c.packs[i]; p.ref.Type == format.TypeMetadata || c.o.ReadAll {
			todo = append(todo, uint32(i))
			bytes += int64(p.ref.Size)
		}
	}
	c.op.Expect(int64(len(todo)), bytes)
	// Metadata first: what is wrong with a small part is known early.
	slices.SortStableFunc(todo, func(a, b uint32) int { return int(c.packs[a].ref.Type) - int(c.packs[b].ref.Type) })
	if err := c.readPacks(ctx, todo); err != nil {
		return err
	}
	if err := c.wants.finish(ctx); err != nil {
		return err
	}
	return c.mismatch.finish(ctx, c)
}

func (c *check) readPacks(ctx context.Context, todo []uint32) error {
	next := make(chan uint32, len(todo))
	for _, n := range todo {
		next <- n
	}
	close(next)
	return each(ctx, c.workers, c.workers, func(ctx context.Context, _ int) error {
		w, err := c.newPackChecker()
		if err != nil {
			return err
		}
		for n := range next {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := w.check(ctx, &c.packs[n]); err != nil {
				return err
			}
		}
		return nil
	})
}

// packChecker reads packs whole, one after the other.
type packChecker struct {
	c          *check
	buf        pack.Buffer
	data, meta *seal.PRF

	sum     uint64
	entries uint32
	chunks  int64
	frames  []format.Frame
}

func (c *check) newPackChecker() (*packChecker, error) {
	data, err := seal.NewPRF(c.r.dataID)
	if err != nil {
		return nil, err
	}
	meta, err := seal.NewPRF(c.r.metaID)
	return &packChecker{c: c, data: data, meta: meta}, err
}

func (w *packChecker) check(ctx context.Context, p *packState) error {
	c := w.c
	defer c.op.Add(1, int64(p.ref.Size))
	if p.health != packSound {
		return nil // what is left of it is seen to where snapshots need it
	}
	w.sum, w.entries, w.chunks, w.frames = 0, 0, 0, w.frames[:0]
	err := c.r.packs.Whole(ctx, p.ref, &w.buf, func(f format.Frame, where uint32, _, plain []byte) error {
		return w.frame(ctx, p, f, where, plain)
	})
	c.op.AddStored(int64(p.ref.Size))
	if err != nil {
		p.health = packDamaged
		if errors.Is(err, store.ErrNotFound) {
			p.health = packGone
		}
		_, err = c.judge(ctx, p.ref.Key(), err)
		return err
	}
	c.outage.Store(0)
	c.mu.Lock()
	c.rep.Packs++
	c.rep.Bytes += int64(p.ref.Size)
	c.rep.Chunks += w.chunks
	c.mu.Unlock()
	if w.sum == p.sum && w.entries == p.entries {
		return nil
	}
	return c.mismatch.add(ctx, c, p.ref.Hash, w.locations())
}

// frame verifies the chunks of a decoded frame.
func (w *packChecker) frame(ctx context.Context, p *packState, f format.Frame, where uint32, plain []byte) error {
	prf := w.data
	if p.ref.Type == format.TypeMetadata {
		prf = w.meta
	}
	at := format.Location{Offset: where, Stored: f.Stored, Plain: f.Plain, Codec: f.Codec}
	for i := range f.Chunks {
		ch := &f.Chunks[i]
		data := plain[at.Start : at.Start+ch.Len]
		var id [32]byte
		if prf.Sum(&id, data); id != ch.ID {
			return fmt.Errorf("%w: a chunk's bytes are not those its id names", ErrDamaged)
		}
		at.Len = ch.Len
		w.sum += w.c.sums.entry(&ch.ID, at)
		w.entries++
		if p.ref.Type == format.TypeMetadata {
			if err := w.c.takeNode(ctx, ch.ID, data); err != nil {
				return err
			}
		}
		at.Start += ch.Len
	}
	w.chunks += int64(len(f.Chunks))
	w.frames = append(w.frames, f)
	return nil
}

// locations is where the footer just read says that the chunks are.
func (w *packChecker) locations() map[format.ID]format.Location {
	out := make(map[format.ID]format.Location, w.entries)
	offset := uint32(0)
	for _, f := range w.frames {
		at := format.Location{Offset: offset, Stored: f.Stored, Plain: f.Plain, Codec: f.Codec}
		for _, ch := range f.Chunks {
			at.Len = ch.Len
			out[ch.ID] = at
			at.Start += ch.Len
		}
		offset += f.Stored
	}
	return out
}

// want is a chunk that a node needs.
type want struct {
	id   format.ID
	size uint32 // the highest bit says metadata
	by   *node
}

const wantsMetadata = 1 << 31

// wantList looks chunks up in the index, many at once in the order of their ids: neighbours are in one page
// of the index, so each page is read once for all of them, where looking up at random would read one for
// every chunk of a large repository. It is safe for concurrent use.
type wantList struct {
	c    *check
	mu   sync.Mutex
	list []want
	used []want // room for the next list
}

// maxWants is how many are gathered; each takes 48 bytes.
const maxWants = 192 << 10

func (l *wantList) add(ctx context.Context, more []want) error {
	l.mu.Lock()
	l.list = append(l.list, more...)
	if len(l.list) < maxWants {
		l.mu.Unlock()
		return nil
	}
	full := l.list
	l.list, l.used = l.used[:0], nil
	l.mu.Unlock()
	return l.resolve(ctx, full)
}

func (l *wantList) finish(ctx context.Context) error {
	l.mu.Lock()
	full := l.list
	l.list, l.used = nil, nil
	l.mu.Unlock()
	return l.resolve(ctx, full)
}

func (l *wantList) resolve(ctx context.Context, list []want) error {
	slices.SortFunc(list, func(a, b want) int { return compareIDs(&a.id, &b.id) })
	parts := max(1, min(l.c.workers, len(list)/1024))
	err := each(ctx, parts, parts, func(ctx context.Context, i int) error {
		from, to := len(list)*i/parts, len(list)*(i+1)/parts
		return l.c.resolve(ctx, list[from:to])
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = list[:0]
	return err
}

// resolve looks up chunks, sorted by id, and notes with each node the packs that it needs.
func (c *check) resolve(ctx context.Context, list []want) error {
	for i := 0; i < len(list); {
		id := list[i].id
		size, t := list[i].size&^wantsMetadata, format.TypeData
		if list[i].size&wantsMetadata != 0 {
			t = format.TypeMetadata
		}
		_, n, err := c.find(ctx, id, size, t)
		if err := c.reached(ctx, err); err != nil {
			return err
		}
		c.nodes.mu.Lock()
		for first := list[i].size; i < len(list) && list[i].id == id && list[i].size == first; i++ {
			list[i].by.needs(n, err)
		}
		c.nodes.mu.Unlock()
	}
	return nil
}
