package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/seal"
)

// packHealth is what is known of a pack.
type packHealth byte

const (
	packSound   packHealth = iota
	packGone               // nothing of it can be read
	packDamaged            // some of it may be readable
)

// packState is one pack that the index names.
type packState struct {
	ref    format.PackRef
	health packHealth
	short  bool // the store has only size bytes of it
	size   int64
	// What index segments say is in the pack: the sum of the entries' hashes, and their number. The pack's
	// footer must come to the same. A sum does not depend on the order, so nothing has to be sorted or looked
	// up, and what differs is found by comparing those packs alone.
	sum     uint64
	entries uint32
}

// sums hashes entries with a secret of the run, so that nobody can choose entries that cancel out.
type sums struct{ seed maphash.Seed }

func (s sums) entry(id *format.ID, l format.Location) uint64 {
	var b [format.IndexEntrySize]byte
	l.Pack = 0 // another number in every segment
	return maphash.Bytes(s.seed, format.AppendIndexEntry(b[:0], *id, l))
}

// checkIndex verifies every index segment, and learns of the packs that they name.
func (c *check) checkIndex(ctx context.Context) error {
	var mu sync.Mutex
	err := each(ctx, len(c.state.Segments), c.workers, func(ctx context.Context, i int) error {
		return c.checkSegment(ctx, c.state.Segments[i], &mu)
	})
	if err != nil {
		return err
	}
	if c.cacheDir != "" && !c.badIndex {
		// Now that the store's segments are known to be sound, copies of them are as good for lookups.
		c.r.index.Close()
		c.r.indexConfig.CacheDir = c.cacheDir
		c.r.index = index.New(c.r.indexConfig)
		c.r.index.Set(c.state.Segments)
	}
	return each(ctx, len(c.packs), checkRequests, func(ctx context.Context, i int) error { return c.checkSize(ctx, &c.packs[i]) })
}

// perPack gathers what a segment says of one pack.
type perPack struct {
	ref     format.PackRef
	sum     uint64
	entries uint32
}

func (c *check) checkSegment(ctx context.Context, d format.Segment, mu *sync.Mutex) error {
	key := format.IndexKey(d.Hash)
	size, err := c.store.Size(ctx, key)
	if err == nil && size != int64(d.Size) {
		err = fmt.Errorf("%w: it is not as long as the log says", ErrDamaged)
	}
	found := map[format.Hash]*perPack{}
	if err == nil {
		err = c.readSegment(ctx, d, found)
	}
	ok, err := c.object(ctx, key, err)
	mu.Lock()
	defer mu.Unlock()
	if !ok {
		c.badIndex = true
	}
	// What was read before a segment failed is as good as what a lookup finds in it.
	for hash, p := range found {
		n, known := c.number[hash]
		if !known {
			n = uint32(len(c.packs))
			c.number[hash] = n
			c.packs = append(c.packs, packState{ref: p.ref})
		}
		s := &c.packs[n]
		if s.ref != p.ref {
			c.found(Finding{Kind: WrongIndex, Object: key, Err: fmt.Errorf("%w: segments say different things of one pack", ErrDamaged)})
		}
		s.sum += p.sum
		s.entries += p.entries
	}
	return err
}

// readSegment reads a segment whole and adds up what it says of each pack.
func (c *check) readSegment(ctx context.Context, d format.Segment, found map[format.Hash]*perPack) error {
	var p *perPack
	for item, err := range c.r.index.All(ctx, d) {
		if err != nil {
			return err
		}
		if p == nil || p.ref.Hash != item.Pack.Hash {
			if p = found[item.Pack.Hash]; p == nil {
				p = &perPack{ref: item.Pack}
				found[item.Pack.Hash] = p
			}
		}
		if err := c.sane(&item); err != nil {
			return err
		}
		p.sum += c.sums.entry(&item.ID, item.Location)
		p.entries++
	}
	return nil
}

// sane refuses an entry that no pack can bear out.
func (c *check) sane(item *index.Item) error {
	plain, err := c.r.suite.PlainSize(int64(item.Pack.Size))
	if err != nil || item.Pack.Size > c.format.PackSize {
		return fmt.Errorf("%w: a pack's size is out of range", ErrDamaged)
	}
	l := &item.Location
	if int64(l.Offset)+int64(l.Stored) > plain || l.Stored > l.Plain || l.Stored == 0 {
		return fmt.Errorf("%w: an entry reaches beyond its pack", ErrDamaged)
	}
	return nil
}

// checkSize compares the length of a pack in the store with what the index says.
func (c *check) checkSize(ctx context.Context, p *packState) error {
	size, err := c.store.Size(ctx, p.ref.Key())
	if err == nil && size != int64(p.ref.Size) {
		err = fmt.Errorf("%w: it is not as long as the index says", ErrDamaged)
		p.health, p.size, p.short = packDamaged, size, size < int64(p.ref.Size)
	} else if err != nil {
		p.health = packGone
	}
	_, err = c.object(ctx, p.ref.Key(), err)
	return err
}

// checkSessions verifies the sessions of all packs, and that their secrets can be had.
func (c *check) checkSessions(ctx context.Context) error {
	ids := make([]format.SessionID, 0, len(c.sessions))
	for i := range c.packs {
		c.sessions[c.packs[i].ref.Session] = false
	}
	for id := range c.sessions {
		ids = append(ids, id)
	}
	sound := make([]bool, len(ids))
	err := each(ctx, len(ids), checkRequests, func(ctx context.Context, i int) (err error) {
		sound[i], err = c.checkSession(ctx, ids[i])
		return err
	})
	for i, id := range ids {
		c.sessions[id] = sound[i]
	}
	for i := range c.packs {
		if p := &c.packs[i]; !c.sessions[p.ref.Session] {
			p.health = packGone
		}
	}
	return err
}

func (c *check) checkSession(ctx context.Context, id format.SessionID) (bool, error) {
	key := format.SessionKey(id, 0)
	object, err := c.store.Get(ctx, key, maxSmallObject)
	if err == nil {
		_, err = c.session(object, id)
	}
	if err == nil {
		_, err = c.r.ring.StreamKey(ctx, id, format.TypeData) // and keeps it for the packs
	}
	if errors.Is(err, seal.ErrAuthentication) || errors.Is(err, ErrRole) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return c.object(ctx, key, err)
}

// mismatches are packs whose footers do not come to what the index says, to be compared chunk by chunk. It
// is safe for concurrent use.
type mismatches struct {
	mu     sync.Mutex
	chunks int
	packs  map[format.Hash]map[format.ID]format.Location
}

// maxMismatch is how many chunks of such packs are gathered before the segments are read for them.
const maxMismatch = 256 << 10

// add takes a pack, and compares what was gathered if that is much.
func (m *mismatches) add(ctx context.Context, c *check, hash format.Hash, chunks map[format.ID]format.Location) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.packs == nil {
		m.packs = map[format.Hash]map[format.ID]format.Location{}
	}
	m.packs[hash] = chunks
	if m.chunks += len(chunks); m.chunks < maxMismatch {
		return nil
	}
	return m.compare(ctx, c)
}

// finish compares the rest.
func (m *mismatches) finish(ctx context.Context, c *check) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.compare(ctx, c)
}

// compare reads all segments and holds what they say of the gathered packs against the footers. A chunk that
// is stored twice may be known in one place only; one that is known in none is a finding.
func (m *mismatches) compare(ctx context.Context, c *check) error {
	if m.chunks == 0 {
		return nil
	}
	for _, d := range c.state.Segments {
		wrong := 0
		for item, err := range c.r.index.All(ctx, d) {
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				break // found by checkIndex
			}
			chunks, ok := m.packs[item.Pack.Hash]
			if !ok {
				continue
			}
			l := item.Location
			l.Pack = 0
			if at, ok := chunks[item.ID]; !ok || at != l {
				wrong++
			}
		}
		if wrong > 0 {
			c.found(Finding{Kind: WrongIndex, Object: format.IndexKey(d.Hash), Err: fmt.Errorf("%w: %d entries are not what the packs hold", ErrDamaged, wrong)})
		}
	}
	for hash, chunks := range m.packs {
		if err := c.known(ctx, hash, chunks); err != nil {
			return err
		}
	}
	m.packs, m.chunks = nil, 0
	return nil
}

// known verifies that the index knows the chunks of a pack, wherever.
func (c *check) known(ctx context.Context, hash format.Hash, chunks map[format.ID]format.Location) error {
	missing := 0
	for id := range chunks {
		_, ok, err := c.r.index.Lookup(ctx, id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !ok && err == nil {
			missing++
		}
	}
	if missing > 0 {
		p := &c.packs[c.number[hash]]
		c.found(Finding{Kind: WrongIndex, Object: p.ref.Key(), Err: fmt.Errorf("%w: no index segment knows %d chunks of the pack", ErrDamaged, missing)})
	}
	return nil
}
