package router

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
)

// Promotion makes a site the home site.
type Promotion struct {
	Home   string // the site
	Person string // who answers for it
	Cause  evidence.Cause
	// Force goes ahead with fewer sites than it takes to be sure that every reported write is known. What is missed
	// is brought back when the missing sites are reconciled. It is recorded.
	Force bool
}

// Promote begins a new epoch: another site decides, or the same one for another set of sites or another
// [Placement.MustReach], which are those that the router was opened with. Writers of the earlier epoch can report
// nothing from then on. The sites that answer are united first; the new home site takes writes when that is done.
// A promotion that failed in between is finished by promoting again. Those sites that did not answer take part again
// after [Router.Reconcile].
//
// It needs more sites than may be missing of a reported write: all but MustReach, and one. Errors wrap [ErrSites],
// [ErrTooFewSites] or [ErrUnfinished], or are a *[DeniedError] or the context's.
func (r *Router) Promote(ctx context.Context, pr Promotion) (*ReconcileReport, error) {
	home := r.site(pr.Home)
	if home == nil {
		return nil, fmt.Errorf("%w: there is no site %s", ErrSites, pr.Home)
	}
	if err := r.answerable(evidence.KindPromotion, evidence.Promotion{To: pr.Home, Person: pr.Person, Cause: pr.Cause}); err != nil {
		return nil, err
	}
	ctx, end := r.seen.Begin(ctx, opPromote, true)
	report, err := r.promote(ctx, pr, home)
	end(err)
	return report, err
}

func (r *Router) promote(ctx context.Context, pr Promotion, home *site) (*ReconcileReport, error) {
	r.gate.Lock()
	defer r.gate.Unlock()
	// Whatever this router knew, the sites may know better. Until something was begun, a refusal leaves it as it was.
	later, ready := r.later.Load(), r.ready.Load()
	refuse := func(err error) error {
		r.later.Store(later || r.later.Load())
		r.ready.Store(ready)
		return err
	}
	r.later.Store(false)
	r.ready.Store(false)
	if err := r.look(ctx); err != nil {
		return nil, refuse(err)
	}
	if err := r.mayPromote(ctx, home); err != nil {
		return nil, refuse(err)
	}
	old := r.epoch.Load()
	sites := names(r.staying(old))
	_, must := r.o.Placement.among(len(sites))
	e := &epochRecord{
		V: recordVersion, N: old.N + 1, ID: randomID(), Home: home.Name, Sites: sites, Left: old.Left, MustReach: must,
		Person: pr.Person, Cause: pr.Cause, At: r.o.Now().UTC().Truncate(time.Second), Previous: old.ID, Forced: pr.Force, Adopt: old.Forced || old.Adopt,
	}
	up, whole, errs := r.claimable(ctx, old, e)
	// Looked at before anything is written, because a claim that is not enough stops everybody.
	if !enough(old, e, up) || !e.Forced && len(old.Filling) > 0 && !known(old, whole) {
		return nil, refuse(cmp.Or(ctx.Err(), fail(ErrTooFewSites, errs...)))
	}
	claimed, err := r.claim(ctx, old, e, up)
	if cerr := ctx.Err(); cerr != nil && err != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, err
	}
	begun := evidence.Promotion{Epoch: int64(e.N), From: old.Home, To: e.Home, Person: e.Person, Cause: e.Cause, Forced: e.Forced,
		Reached: len(claimed), Sites: len(r.sites)}
	if err := r.evidence(ctx, evidence.KindPromotion, home.Name, begun); err != nil {
		return nil, err
	}
	r.epoch.Store(e)
	r.later.Store(false)
	return r.unite(ctx, home, claimed)
}

// mayPromote checks that a site may be home.
func (r *Router) mayPromote(ctx context.Context, home *site) error {
	d, err := r.decide(ctx, home)
	if err != nil {
		return err
	}
	if !r.canWrite(home, d) {
		return r.refused(ctx, &DeniedError{Decisions: map[string]residency.Decision{home.Name: d}, Lacks: []string{"the home site"}})
	}
	return nil
}

// claim puts the record of the new epoch on the sites, and returns those that have it. Once enough have, no writer of
// the old epoch can reach as many sites as it must without meeting one.
func (r *Router) claim(ctx context.Context, old, e *epochRecord, up []*site) ([]*site, error) {
	errs := each(up, func(s *site) error {
		if err := s.put(ctx, markerName, &marker{V: recordVersion, Site: s.Name, Subject: r.subject}); err != nil {
			return r.whose(ctx, s, err)
		}
		return s.put(ctx, e.name(), e)
	})
	var claimed []*site
	for i, s := range up {
		if errs[i] == nil {
			claimed = append(claimed, s)
		}
	}
	if !enough(old, e, claimed) {
		r.later.Store(true)
		return nil, fail(ErrTooFewSites, errs...)
	}
	return claimed, nil
}

// claimable are the sites that answer, may be changed and are what they should be, those of them that have not lost their
// records, and what is wrong with the others. Enough claims without a read-only site mean enough knowledge too.
func (r *Router) claimable(ctx context.Context, old, e *epochRecord) (up, whole []*site, errs []error) {
	seen := make([]bool, len(r.sites))
	errs = each(r.sites, func(s *site) error {
		if s.ReadOnly {
			return s.unchangeable("promote")
		}
		if s.stands() == foreign || s.isQuarantined() {
			return &SiteError{Site: s.Name, Op: "promote", err: errNotCurrent}
		}
		v, err := r.sight(ctx, s)
		if err == nil && !v.marked && !v.empty && len(v.epochs) == 0 {
			err = &SiteError{Site: s.Name, Op: "promote", err: ErrForeign}
		}
		seen[slices.Index(r.sites, s)] = err == nil && old.tookPart(s.Name, v)
		return err
	})
	for i, s := range r.sites {
		if errs[i] == nil && !slices.Contains(e.Left, s.Name) {
			up = append(up, s)
			if seen[i] {
				whole = append(whole, s)
			}
		}
	}
	return up, whole, errs
}

// known reports whether every object that was reported is at one of the given sites: they are all of the old epoch but
// MustReach, and one.
func known(old *epochRecord, whole []*site) bool {
	n := 0
	for _, s := range whole {
		if slices.Contains(old.Sites, s.Name) {
			n++
		}
	}
	return n > len(old.Sites)-old.MustReach
}

// tookPart reports whether a site has what was reported while it was enrolled: one that lost its records has nothing, and
// one that is being filled need not have what was reported before, unless it took part in the epoch before.
func (e *epochRecord) tookPart(site string, v *sighting) bool {
	if slices.Contains(e.Filling, site) {
		before := epochRecord{N: e.N - 1, ID: e.Previous}
		return v.ready[e.name()] || v.ready[before.name()]
	}
	return len(v.ready) > 0
}

// enough reports whether as many sites of the old epoch are among those given as a promotion needs, and the new home
// site.
func enough(old, e *epochRecord, sites []*site) bool {
	n, home := 0, false
	for _, s := range sites {
		home = home || s.Name == e.Home
		if slices.Contains(old.Sites, s.Name) {
			n++
		}
	}
	return home && (e.Forced || n >= len(old.Sites)-old.MustReach+1)
}

// unite brings everything that the claimed sites have to the new home site and to as many others as there shall be,
// and lets them take part in the epoch, the home site last.
func (r *Router) unite(ctx context.Context, home *site, claimed []*site) (*ReconcileReport, error) {
	p := &pass{
		r: r, home: home, sites: claimed, adopt: true, force: true, united: map[string]bool{},
		report: &ReconcileReport{Started: r.o.Now(), Sites: map[string]SiteReport{}},
	}
	intents, err := p.readDoubts(ctx)
	if err == nil {
		err = p.setLegal(ctx)
	}
	if err == nil {
		err = p.payDebts(ctx)
	}
	if err == nil {
		err = p.compare(ctx)
	}
	if err == nil {
		err = p.dropIntents(ctx, intents)
	}
	for _, s := range append(without(claimed, home), home) {
		if err == nil && p.report.Sites[s.Name].Failed == 0 {
			err = r.welcome(ctx, s)
		}
	}
	for _, s := range r.sites {
		if err == nil && !contains(claimed, s) && s.stands() == current {
			s.setStanding(behind, nil)
		}
	}
	r.ready.Store(err == nil && home.stands() == current)
	p.report.Ended = r.o.Now()
	return p.report, err
}

// dropIntents removes the intents of writes whose object has been united. One whose object was not seen stays, also if
// it is there now: it came too late to be united.
func (p *pass) dropIntents(ctx context.Context, intents []intentRecord) error {
	for _, rec := range intents {
		if !p.united[rec.Key] {
			continue
		}
		for _, s := range changeable(append(without(p.sites, p.home), p.home)) {
			if err := s.remove(ctx, rec.name()); err != nil {
				return err
			}
		}
	}
	return nil
}
