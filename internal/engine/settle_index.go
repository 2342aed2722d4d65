package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/store"
)

// index writes new index segments of what the snapshots need. Nothing else is left for a run to rely on: that is what a
// condemn entry may have named which is lost, and so may the segments themselves.
func (s *settling) index(ctx context.Context) error {
	unknown := objectSet{} // packs that no segment names
	for o := range s.live {
		if isPack(o) && s.there(o) {
			unknown[o] = struct{}{}
		}
	}
	var sources []format.Segment
	needed := cloneSet(unknown)
	for _, d := range s.survey.State.Segments {
		if err := s.source(ctx, d, needed, unknown, &sources); err != nil {
			return err
		}
	}
	if located := int64(len(unknown)); located > 0 {
		if err := s.locate(ctx, unknown, &sources); err != nil {
			return err
		}
		s.rep.Located = located - int64(len(unknown))
	}
	return s.rewrite(ctx, sources)
}

// source takes a segment that names a pack which is wanted. One that cannot be read is passed over.
func (s *settling) source(ctx context.Context, d format.Segment, wanted, unknown objectSet, sources *[]format.Segment) error {
	take := false
	for p, err := range s.r.index.Packs(ctx, d) {
		if err != nil {
			return final(ctx, err)
		}
		o := object(p)
		take = take || wanted.has(o)
		delete(unknown, o)
	}
	if take {
		*sources = append(*sources, d)
	}
	return nil
}

// final returns an error that may pass, and nil for damage.
func final(ctx context.Context, err error) error {
	if ctx.Err() == nil && isDamage(err) {
		return nil
	}
	return err
}

// locate looks for segments that name packs which the snapshots need and the state's segments do not: those of an entry
// that is lost, on which later ones have built.
func (s *settling) locate(ctx context.Context, unknown objectSet, sources *[]format.Segment) error {
	wanted := cloneSet(unknown)
	others, err := s.others(ctx)
	if err != nil {
		return err
	}
	for _, d := range others {
		if err := s.source(ctx, d, wanted, unknown, sources); err != nil {
			return err
		}
	}
	return nil
}

// others returns the segments that the store has and the state does not name.
func (s *settling) others(ctx context.Context) ([]format.Segment, error) {
	if s.found != nil {
		return s.found, nil
	}
	known := map[format.Hash]bool{}
	for _, d := range s.survey.State.Segments {
		known[d.Hash] = true
	}
	found := []format.Segment{}
	for _, d := range s.survey.Trusted.Segments {
		if !known[d.Hash] {
			known[d.Hash] = true
			found = append(found, d)
		}
	}
	var names []format.Hash
	err := s.r.store.List(ctx, "i/", func(l store.Listed) error {
		if o, ok := parseKey(l.Key); ok && !known[o.Hash] {
			names = append(names, o.Hash)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		d, err := s.r.index.Identify(ctx, name)
		if err != nil {
			if err := final(ctx, err); err != nil {
				return nil, err
			}
			continue
		}
		// An object does not say whose it is. Where there are several writers it is nobody's, and serves to read.
		if w := s.state.Enrolment.Writers; len(w) == 1 {
			d.Writer = ledger.SignerID(w[0])
		}
		found = append(found, d)
	}
	s.found = found
	return found, nil
}

// rewrite merges the segments of each writer into new ones, without the places that nothing needs.
func (s *settling) rewrite(ctx context.Context, sources []format.Segment) error {
	drop := func(p *format.PackRef) bool { o := object(*p); return !s.live.has(o) || !s.there(o) }
	for len(sources) > 0 {
		me := sources[0].Writer
		other := func(d format.Segment) bool { return d.Writer != me }
		group := slices.DeleteFunc(slices.Clone(sources), other)
		sources = slices.DeleteFunc(sources, func(d format.Segment) bool { return !other(d) })
		for {
			var out []format.Segment
			err := s.r.index.Rewrite(ctx, group, 0, drop, func(d format.Segment, object []byte) error {
				out = append(out, d)
				if err := s.r.store.Put(ctx, format.IndexKey(d.Hash), object); err != nil {
					return fmt.Errorf("index: %w", err)
				}
				return nil
			})
			if err == nil {
				s.state.Segments = append(s.state.Segments, out...)
				break
			}
			var bad *index.SegmentError
			if !errors.As(err, &bad) || final(ctx, err) != nil {
				return err
			}
			group = slices.DeleteFunc(group, func(d format.Segment) bool { return d.Hash == bad.Hash })
		}
	}
	return nil
}
