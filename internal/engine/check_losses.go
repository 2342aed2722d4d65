package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/tree"
)

// explain finds out what is lost of a flawed node, by reading it again. First and entries are what the node
// above says of it.
func (w *snapChecker) explain(ctx context.Context, nd *node, first string, entries uint64) error {
	if nd.failed != nil {
		w.blameNode(ctx, nd, first)
		w.lose(Loss{Path: first, Entries: entries}, nd.failed)
		return ctx.Err()
	}
	data, err := w.c.nodeBytes(ctx, nd.id)
	if oerr := w.c.reached(ctx, err); oerr != nil {
		return oerr
	}
	if err != nil {
		w.blameNode(ctx, nd, first)
		w.lose(Loss{Path: first, Entries: entries}, err)
		return nil
	}
	// Where one place of the node failed, the list must name another.
	if err := w.lostChunk(ctx, nd.id, int64(len(data)), format.TypeMetadata, first); err != nil && ctx.Err() != nil {
		return ctx.Err() // of others none matters: it was read just now
	}
	if nd.level == 0 {
		return w.explainLeaf(ctx, data)
	}
	children, err := format.DecodeChildren(data)
	if err != nil {
		return err // it was decoded before
	}
	if err := w.load(ctx, nd); err != nil {
		return err
	}
	for i := range min(len(children), len(nd.edges)) {
		to := nd.edges[i].to
		bad, err := w.visit(ctx, to)
		if err == nil && bad {
			err = w.explain(ctx, to, children[i].First, children[i].Entries)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// blameNode names the snapshot with the findings about the pack that a node should lie in.
func (w *snapChecker) blameNode(ctx context.Context, nd *node, path string) {
	at, ok, err := w.c.r.index.Lookup(ctx, nd.id)
	if n, known := w.c.number[at.Pack.Hash]; ok && err == nil && known {
		w.blame(n, path)
	}
}

func (w *snapChecker) blame(n uint32, path string) {
	if w.blamed[n] {
		return
	}
	w.blamed[n] = true
	ref := &w.c.packs[n].ref
	w.c.affects(ref.Key(), w.s.id, path)
	w.c.affects(format.SessionKey(ref.Session, 0), w.s.id, path)
}

// explainLeaf finds the files of a leaf that cannot be read completely.
func (w *snapChecker) explainLeaf(ctx context.Context, data []byte) error {
	leaf, err := format.ReadLeaf(data)
	if err != nil {
		return err
	}
	for {
		var e format.Entry
		more, err := leaf.Next(&e)
		if err != nil || !more {
			return err
		}
		if e.Kind != format.File {
			continue
		}
		why, err := w.lostContent(ctx, &e)
		if err != nil {
			return err
		}
		if why != nil {
			w.lose(Loss{Path: e.Path, Entries: 1}, why)
		}
	}
}

// lostContent says why a file cannot be read completely; nil if it can.
func (w *snapChecker) lostContent(ctx context.Context, e *format.Entry) (why, err error) {
	for r, err := range tree.OpenContent(w.c.r.loader, e.Content, e.Size).Refs(ctx, 0) {
		if err == nil && !r.Hole {
			err = w.lostChunk(ctx, r.ID, r.Len, format.TypeData, e.Path)
		}
		if oerr := w.c.reached(ctx, err); oerr != nil {
			return nil, oerr
		}
		if err != nil {
			return err, nil
		}
	}
	return nil, ctx.Err()
}

// lostChunk says why a chunk cannot be read; nil if it can. Chunks in sound packs are not tried.
func (w *snapChecker) lostChunk(ctx context.Context, id format.ID, size int64, t format.Type, path string) error {
	at, n, err := w.c.find(ctx, id, uint32(size), t)
	if err != nil {
		return err
	}
	if w.c.packs[n].health == packSound {
		return nil
	}
	listed, err := w.goodPlace(ctx, id, size, t)
	if err != nil {
		w.blame(n, path)
		return err
	}
	if !listed && w.listed && at.Pack.Type == t {
		w.saved[id] = path
	}
	return nil
}

// goodPlace looks for a place that a chunk can be read from, and reports whether there is one in a pack that
// the snapshot lists. The error is that of the first place if there is none at all.
func (w *snapChecker) goodPlace(ctx context.Context, id format.ID, size int64, t format.Type) (listed bool, err error) {
	good := false
	var failure error
	for at, err := range w.c.r.index.Places(ctx, id) {
		if err != nil {
			failure = errors.Join(failure, err)
			break
		}
		n, known := w.c.number[at.Pack.Hash]
		if !known || !fits(&at, size, t) {
			continue
		}
		if err := w.tryPlace(ctx, id, n, at); err != nil {
			failure = cmp.Or(failure, err)
			continue
		}
		if good = true; w.allowed[n] == w.epoch {
			return true, nil
		}
	}
	if good {
		return false, nil
	}
	return false, cmp.Or(failure, error(errNoPlace))
}

var errNoPlace = fmt.Errorf("%w: the index does not know a chunk that a snapshot needs", ErrDamaged)

// tryPlace says why a chunk cannot be read from a place; nil if it can.
func (w *snapChecker) tryPlace(ctx context.Context, id format.ID, n uint32, at index.Found) error {
	p := &w.c.packs[n]
	end := w.c.r.suite.StreamSize(int64(at.Location.Offset) + int64(at.Location.Stored))
	switch {
	case p.health == packSound:
		return nil
	case p.health == packGone, p.short && p.size < end:
		return fmt.Errorf("%w: a pack is gone, or too short", ErrDamaged)
	}
	_, err := w.c.r.loader.loadAt(ctx, id, at)
	return err
}

// findUnlisted reports the packs that the snapshot needs and does not list. A chunk that is stored twice may
// lie in a listed pack as well, and if it can be read from there nothing is wrong.
func (w *snapChecker) findUnlisted(ctx context.Context) error {
	need := maps.Clone(w.saved) // and a path near to it
	for _, nd := range w.unlisted {
		if err := w.gather(ctx, nd, need); err != nil {
			return err
		}
	}
	if err := w.locate(ctx, need); err != nil {
		return err
	}
	reported := map[uint32]bool{}
	for id, path := range need {
		places := w.places[id]
		i := slices.IndexFunc(places, func(n uint32) bool { return w.allowed[n] != w.epoch })
		if i < 0 || reported[places[i]] {
			continue
		}
		if covered, err := w.covered(ctx, id, places); err != nil || covered {
			if err != nil {
				return err
			}
			continue
		}
		reported[places[i]] = true
		w.c.found(Finding{
			Kind: UnlistedPack, Object: w.c.packs[places[i]].ref.Key(), Snapshot: w.s.id, Path: path,
			Err: fmt.Errorf("%w: a snapshot needs a pack that its list does not name", ErrDamaged),
		})
	}
	return nil
}

// covered reports whether a chunk can be read from a listed pack.
func (w *snapChecker) covered(ctx context.Context, id format.ID, places []uint32) (bool, error) {
	some := false
	for _, n := range places {
		if w.allowed[n] == w.epoch {
			if w.c.packs[n].health == packSound {
				return true, nil
			}
			some = true
		}
	}
	if !some {
		return false, nil
	}
	at, ok, err := w.c.r.index.Lookup(ctx, id)
	if err != nil || !ok {
		return false, ctx.Err() // found by checkIndex
	}
	listed, err := w.goodPlace(ctx, id, int64(at.Location.Len), at.Pack.Type)
	return listed || err != nil, ctx.Err() // what is lost altogether is a loss, not unlisted
}

// gather adds the chunks of a node that lie in unlisted packs, and the node itself if it does.
func (w *snapChecker) gather(ctx context.Context, nd *node, need map[format.ID]string) error {
	ids := []format.ID{nd.id}
	if nd.known {
		if p, err := w.c.readNode(ctx, nd.id); err == nil {
			for _, r := range p.refs {
				if !r.Hole {
					ids = append(ids, r.ID)
				}
			}
		}
	}
	for _, id := range ids {
		at, ok, err := w.c.r.index.Lookup(ctx, id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if n, known := w.c.number[at.Pack.Hash]; err == nil && ok && known && w.allowed[n] != w.epoch {
			need[id] = nd.first
		}
	}
	return nil
}

// locate finds every pack that the segments name for the given chunks, with one reading of the index for
// those it has not been asked for before.
func (w *snapChecker) locate(ctx context.Context, need map[format.ID]string) error {
	missing := false
	for id := range need {
		if _, ok := w.places[id]; !ok {
			w.places[id], missing = nil, true
		}
	}
	if !missing {
		return nil
	}
	for _, d := range w.c.state.Segments {
		for item, err := range w.c.r.index.All(ctx, d) {
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				break // found by checkIndex
			}
			places, wanted := w.places[item.ID]
			if n, ok := w.c.number[item.Pack.Hash]; wanted && ok && !slices.Contains(places, n) {
				w.places[item.ID] = append(places, n)
			}
		}
	}
	return nil
}
