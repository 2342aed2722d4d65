package engine

import (
	"context"
	"slices"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/store"
)

// needs finds out what the snapshots need, and what of it the store has.
func (s *settling) needs(ctx context.Context) error {
	s.live, s.present = objectSet{}, objectSet{}
	for _, prefix := range []string{"p/", "m/", "sess/"} {
		err := s.r.store.List(ctx, prefix, func(l store.Listed) error {
			if o, ok := parseKey(l.Key); ok {
				s.present[o] = struct{}{}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	var broken []int
	err := s.lists(ctx, func(i int, l refsList, err error) error {
		if err != nil {
			broken = append(broken, i)
			return final(ctx, err)
		}
		for _, o := range l.objects {
			s.live[o] = struct{}{}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.confirm(ctx); err != nil {
		return err
	}
	err = s.lists(ctx, func(i int, l refsList, err error) error {
		gone := func(o format.Object) bool { return isPack(o) && !s.there(o) }
		if err == nil && (s.hearsay(s.state.Snapshots[i]) || slices.ContainsFunc(l.objects, gone)) {
			broken = append(broken, i)
		}
		return final(ctx, err)
	})
	if err != nil || len(broken) == 0 {
		return err
	}
	return s.relist(ctx, broken)
}

// hearsay reports whether a snapshot has another list than the administrator's entries give it: that of a writer's
// checkpoint, which may have left out what the snapshot needs.
func (s *settling) hearsay(ref format.SnapRef) bool {
	if s.survey.Lists[ref.ID] == ref.Refs {
		return false
	}
	return slices.ContainsFunc(s.survey.Trusted.Snapshots, func(r format.SnapRef) bool { return r.ID == ref.ID && r.Refs != ref.Refs })
}

// lists reads the lists of the snapshots.
func (s *settling) lists(ctx context.Context, f func(int, refsList, error) error) error {
	list := func(i int) format.Hash { return s.state.Snapshots[i].Refs }
	return newRefsReader(s.r.store, nil).each(ctx, len(s.state.Snapshots), list, f)
}

// confirm asks for what is needed and a listing did not show, which may lag.
func (s *settling) confirm(ctx context.Context) error {
	var missed []format.Object
	for o := range s.live {
		if !s.present.has(o) {
			missed = append(missed, o)
		}
	}
	there := make([]bool, len(missed))
	err := each(ctx, len(missed), checkRequests, func(ctx context.Context, i int) (err error) {
		there[i], err = s.r.store.Exists(ctx, missed[i].Key())
		return err
	})
	for i, o := range missed {
		if there[i] {
			s.present[o] = struct{}{}
		}
	}
	return err
}

func isPack(o format.Object) bool { return o.Type == format.TypeData || o.Type == format.TypeMetadata }

// there reports whether the store has a pack that can be relied on from here on.
func (s *settling) there(o format.Object) bool {
	session := format.Object{Type: format.TypeSession, Session: o.Session}
	for _, x := range []format.Object{o, session} {
		if _, condemned := s.survey.Condemned[x]; condemned || !s.present.has(x) {
			return false
		}
	}
	return true
}

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
