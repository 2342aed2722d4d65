package engine

import (
	"context"
	"slices"

	"github.com/carekeep/carekeep/internal/format"
)

// relist makes lists anew for snapshots of which the list is gone, or names what is gone: an entry that is lost may have
// moved their content, and told where to. They are read by way of every index segment that the store has.
func (s *settling) relist(ctx context.Context, broken []int) error {
	others, err := s.others(ctx)
	if err != nil {
		return err
	}
	own := newCheck(s.r, CheckOptions{}, s.op).r // with an index and a loader of its own
	defer func() { own.index.Close() }()
	own.index.Set(slices.Concat(others, s.survey.State.Segments))
	made := map[format.Hash]format.Hash{} // lists, of trees
	for _, i := range broken {
		ref := &s.state.Snapshots[i]
		snap, err := own.Snapshot(ctx, *ref)
		if err != nil {
			if err := final(ctx, err); err != nil {
				return err
			}
			continue
		}
		tree := treeOf(snap.Description)
		list, ok := made[tree]
		if !ok {
			if list, err = s.listOf(ctx, own, *ref); err != nil {
				return err
			}
			made[tree] = list
		}
		ref.Refs = list
	}
	return nil
}

// treeOf is the same for snapshots that need the same nodes.
func treeOf(x *format.Description) format.Hash {
	d := format.Description{Root: x.Root, RootLevel: x.RootLevel, ProblemBytes: x.ProblemBytes, ProblemList: x.ProblemList}
	return hashOf(d.Append(nil))
}

// listOf stores a list of the packs that what is left of a snapshot lies in, and returns its name. A snapshot whose tree
// cannot be read keeps the list that it has.
func (s *settling) listOf(ctx context.Context, own *Repo, ref format.SnapRef) (format.Hash, error) {
	packs := objectSet{}
	var failure error
	w := &liveWalk{r: own, load: own.loader, room: int(defaultCheckMemory / seenBytes), seen: map[format.ID]struct{}{}}
	w.visit = func(id format.ID) {
		if failure == nil {
			failure = s.whereabouts(ctx, own, id, packs)
		}
	}
	if err := w.snapshot(ctx, ref); err != nil {
		return ref.Refs, final(ctx, err)
	}
	if failure != nil {
		return ref.Refs, failure
	}
	refs := &format.Refs{}
	for o := range packs {
		refs.Added = append(refs.Added, o)
	}
	refs.Added = withSessions(refs.Added)
	for _, o := range refs.Added {
		s.live[o] = struct{}{}
	}
	s.rep.Relisted++
	return s.r.putRefs(ctx, refs)
}

// whereabouts adds a pack that a chunk is in, unless it is in one of them or nowhere.
func (s *settling) whereabouts(ctx context.Context, own *Repo, id format.ID, packs objectSet) error {
	var one *format.Object
	for at, err := range own.index.Places(ctx, id) {
		if err != nil {
			if err := final(ctx, err); err != nil {
				return err
			}
			break // some segment is gone: what it named is in others, or nowhere
		}
		o := object(at.Pack)
		if packs.has(o) {
			return nil
		}
		if one == nil && s.there(o) {
			one = &o
		}
	}
	if one != nil {
		packs[*one] = struct{}{}
	}
	return nil
}
