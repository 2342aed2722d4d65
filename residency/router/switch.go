package router

import (
	"context"
	"errors"
	"slices"

	"github.com/carekeep/carekeep/residency/evidence"
)

// lineage are the epochs that one has grown out of by moves alone: its home site decided in all of them, so that a write
// which was begun in one of them can be ended in the last.
type lineage struct {
	of   string
	from map[string]bool
}

// continues reports whether the epoch has grown out of another by moves alone.
func (r *Router) continues(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.line.of == r.epoch.Load().ID && r.line.from[id]
}

// adoptEpoch goes on in an epoch that has grown out of the present one, through those given.
func (r *Router) adoptEpoch(e *epochRecord, through []string) {
	old := r.epoch.Load()
	from := map[string]bool{old.ID: true}
	for _, id := range through {
		from[id] = true
	}
	r.mu.Lock()
	if r.line.of == old.ID {
		for id := range r.line.from {
			from[id] = true
		}
	}
	r.line = lineage{of: e.ID, from: from}
	r.mu.Unlock()
	// A site that is new must take part before anybody counts on it.
	for _, name := range e.Filling {
		if s := r.site(name); s != nil && s.stands() != foreign {
			s.setStanding(filling, nil)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch.Store(e)
	r.later.Store(false)
}

// moved reports whether another epoch has begun since a plan was made.
func (r *Router) moved(p *plan) bool {
	return r.later.Load() || p.epoch != "" && p.epoch != r.epoch.Load().ID
}

// follow goes on in a later epoch if that differs in nothing but its sites, as after a move. It is nil if there is
// no later epoch; the error wraps [ErrSuperseded].
func (r *Router) follow(ctx context.Context) error {
	if !r.later.Load() {
		return nil
	}
	r.shift.Lock()
	defer r.shift.Unlock()
	if !r.later.Load() {
		return nil
	}
	e, through, err := r.successor(ctx)
	if err != nil {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		return fail(ErrSuperseded, err)
	}
	r.adoptEpoch(e, through)
	r.lookAgain(ctx)
	if r.later.Load() {
		return fail(ErrSuperseded)
	}
	if err := r.finishSwitch(ctx); err != nil {
		r.log("a change of the set of sites could not be finished", "", err)
	}
	return nil
}

// lookAgain finds out anew how each site stands.
func (r *Router) lookAgain(ctx context.Context) {
	for i, err := range each(r.sites, func(s *site) error {
		v, err := r.sight(ctx, s)
		r.stand(s, v, err)
		return err
	}) {
		if err != nil {
			r.log("a site did not answer when the set of sites changed", r.sites[i].Name, err)
		}
	}
}

var errPromoted = errors.New("the later epoch is not of a move")

// successor returns the latest epoch if it has grown out of the present one by moves alone, and those in between.
func (r *Router) successor(ctx context.Context) (*epochRecord, []string, error) {
	old := r.epoch.Load()
	views, errs := r.sightings(ctx)
	newest, highest, twice := "", old.N, false
	for i := range r.sites {
		if errs[i] != nil {
			continue
		}
		for name, n := range views[i].epochs {
			switch {
			case n > highest:
				newest, highest, twice = name, n, false
			case n == highest && name != newest && name != old.name():
				twice = true
			}
		}
	}
	if newest == "" || twice {
		return nil, nil, errPromoted
	}
	latest, err := r.readEpoch(ctx, newest, views, errs)
	if err != nil {
		return nil, nil, err
	}
	var through []string
	for e := latest; ; {
		if e.Move == "" || e.Home != old.Home || e.N <= old.N {
			return nil, nil, errPromoted
		}
		if e.Previous == old.ID {
			return latest, through, nil
		}
		through = append(through, e.Previous)
		before := epochRecord{N: e.N - 1, ID: e.Previous}
		if e, err = r.readEpoch(ctx, before.name(), views, errs); err != nil {
			return nil, nil, err
		}
	}
}

// sightings looks at all sites.
func (r *Router) sightings(ctx context.Context) ([]*sighting, []error) {
	views := make([]*sighting, len(r.sites))
	errs := each(r.sites, func(s *site) (err error) {
		views[slices.Index(r.sites, s)], err = r.sight(ctx, s)
		return err
	})
	return views, errs
}

// staying are the sites that were given and that data was not moved away from.
func (r *Router) staying(e *epochRecord) []*site {
	var out []*site
	for _, s := range r.sites {
		if !slices.Contains(e.Left, s.Name) {
			out = append(out, s)
		}
	}
	return out
}

// finishSwitch ends what somebody else began and did not end.
func (r *Router) finishSwitch(ctx context.Context) error {
	e := r.epoch.Load()
	home := r.home()
	if e.Move == "" || r.ready.Load() || home == nil || home.stands() == unseen {
		return nil
	}
	views, errs := r.sightings(ctx)
	before := &epochRecord{N: e.N - 1, ID: e.Previous}
	old, err := r.readEpoch(ctx, before.name(), views, errs)
	if err != nil {
		return err
	}
	return r.carryOut(ctx, old, e)
}

// switchTo changes the set of sites for a move: an epoch with the same home site. Writes of this router wait for
// it; those of others meet its record at the home site, and go on in it.
func (r *Router) switchTo(ctx context.Context, mv *moveRecord, sites, fill, left []string) error {
	r.gate.Lock()
	defer r.gate.Unlock()
	if err := r.follow(ctx); err != nil {
		return err
	}
	r.shift.Lock()
	defer r.shift.Unlock()
	old := r.epoch.Load()
	if !r.ready.Load() {
		return fail(ErrUnfinished)
	}
	e := &epochRecord{
		V: recordVersion, N: old.N + 1, Home: old.Home, Sites: sites, MustReach: old.MustReach, Person: mv.Person, Cause: mv.Cause,
		At: mv.At, Previous: old.ID, Filling: fill, Left: left, Move: mv.ID, Adopt: old.Forced || old.Adopt,
	}
	// Two processes that carry out one move make one epoch.
	e.ID = shortDigest(mv.ID + "/" + old.ID)[:16]
	if err := r.carryOut(ctx, old, e); err != nil {
		return err
	}
	p := r.o.Placement
	return r.evidence(ctx, evidence.KindPlacement, "", evidence.Placement{
		Number: int64(e.N), Home: e.Home, Sites: e.Sites, Class: r.subject.Class.String(), Origins: r.subject.Origins, Tags: r.subject.Tags,
		Copies: r.copies(), MustReach: r.mustReach(), Operators: p.Operators, Subdivisions: p.Subdivisions, Offsite: p.Offsite, KeysOutside: p.KeysOutside,
	})
}

// carryOut brings an epoch of a move to the sites. Each step may be done twice. The order matters: first those that
// are to be filled, so that whoever knows of the epoch finds them ready to be written; the home site after the others,
// because from then on no write of the old epoch succeeds.
//
// As many sites of the old epoch must know the new one that no reader of the old takes an object for absent, and no
// promotion from the old epoch gets by, without meeting it.
func (r *Router) carryOut(ctx context.Context, old, e *epochRecord) error {
	home := r.site(e.Home)
	var fill, rest []*site
	for _, s := range r.sites {
		switch {
		case s == home:
		case slices.Contains(e.Filling, s.Name):
			fill = append(fill, s)
		case slices.Contains(e.Sites, s.Name) || slices.Contains(old.Sites, s.Name):
			rest = append(rest, s)
		}
	}
	known, errs := []*site{home}, []error(nil)
	for _, group := range [][]*site{fill, rest} {
		for i, err := range each(group, func(s *site) error { return r.enrol(ctx, s, e) }) {
			if err == nil {
				known = append(known, group[i])
			} else {
				errs = append(errs, err)
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	n := 0
	for _, s := range known {
		if slices.Contains(old.Sites, s.Name) {
			n++
		}
	}
	for _, s := range fill {
		if !contains(known, s) {
			return fail(ErrTooFewSites, errs...)
		}
	}
	if n < max(old.MustReach, len(old.Sites)-old.MustReach+1) {
		return fail(ErrTooFewSites, errs...)
	}
	if err := r.enrol(ctx, home, e); err != nil {
		return r.homeDown(ctx, err)
	}
	return r.admit(ctx, old, e, known)
}

// enrol brings the record of an epoch to a site.
func (r *Router) enrol(ctx context.Context, s *site, e *epochRecord) error {
	if err := s.put(ctx, markerName, &marker{V: recordVersion, Site: s.Name, Subject: r.subject}); err != nil {
		return r.whose(ctx, s, err)
	}
	return s.put(ctx, e.name(), e)
}

// admit lets those sites go on that were current in the old epoch, the home site last.
func (r *Router) admit(ctx context.Context, old, e *epochRecord, known []*site) error {
	home := r.site(e.Home)
	present := r.epoch.Load()
	if present.ID == old.ID {
		r.adoptEpoch(e, nil)
	}
	if err := r.outdated(ctx, home); err != nil {
		return err
	}
	for _, s := range append(without(known, home), home) {
		if !slices.Contains(e.Sites, s.Name) || slices.Contains(e.Filling, s.Name) {
			continue
		}
		was, err := s.exists(ctx, old.name()+readySuffix)
		if err != nil {
			return err
		}
		if !was {
			s.setStanding(behind, nil)
			continue
		}
		if err := s.put(ctx, e.name()+readySuffix, &readyRecord{V: recordVersion, Site: s.Name}); errors.Is(err, errReadOnly) {
			s.setStanding(behind, nil)
			continue
		} else if err != nil {
			return err
		}
		s.setStanding(current, nil)
	}
	for _, s := range r.sites {
		if slices.Contains(e.Sites, s.Name) && !contains(known, s) && s.takes() {
			s.setStanding(behind, nil) // it does not know the epoch
		}
	}
	if home.stands() != current {
		return fail(ErrUnfinished)
	}
	r.ready.Store(true)
	return nil
}
