package router

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/carekeep/carekeep/residency"
)

// Promotion makes a site the home site.
type Promotion struct {
	Home   string // the site
	Person string // who answers for it
	Reason string
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
	if pr.Person == "" || pr.Reason == "" {
		return nil, fmt.Errorf("%w: a promotion needs a person and a reason", ErrSites)
	}
	r.gate.Lock()
	defer r.gate.Unlock()
	// Whatever this router knew, the sites may know better.
	r.later.Store(false)
	r.ready.Store(false)
	if err := r.look(ctx); err != nil {
		return nil, err
	}
	if err := r.mayPromote(ctx, home); err != nil {
		return nil, err
	}
	old := r.epoch.Load()
	e := &epochRecord{
		V: recordVersion, N: old.N + 1, ID: randomID(), Home: home.Name, Sites: names(r.staying(old)), Left: old.Left, MustReach: r.o.Placement.MustReach,
		Person: pr.Person, Reason: pr.Reason, At: r.o.Now().UTC().Truncate(time.Second), Previous: old.ID, Forced: pr.Force,
	}
	claimed, err := r.claim(ctx, old, e)
	if err != nil {
		return nil, err
	}
	if err := r.evidence(ctx, "promotion", home.Name, e); err != nil {
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
	if write, _ := lawful(d); !write || home.ReadOnly || home.isQuarantined() {
		return &DeniedError{Decisions: map[string]residency.Decision{home.Name: d}, Lacks: []string{"the home site"}}
	}
	return nil
}

// claim puts the record of the new epoch on the sites, and returns those that have it. Once enough have, no writer of
// the old epoch can reach as many sites as it must without meeting one.
func (r *Router) claim(ctx context.Context, old, e *epochRecord) ([]*site, error) {
	need := len(old.Sites) - old.MustReach + 1
	count := func(sites []*site) (n int) {
		for _, s := range sites {
			if slices.Contains(old.Sites, s.Name) {
				n++
			}
		}
		return n
	}
	var up []*site
	errs := each(r.sites, func(s *site) error {
		if s.stands() == foreign || s.isQuarantined() {
			return s.lastError()
		}
		v, err := r.sight(ctx, s)
		if err == nil && !v.marked && !v.empty && len(v.epochs) == 0 {
			err = &SiteError{Site: s.Name, Op: "promote", err: ErrForeign}
		}
		return err
	})
	for i, s := range r.sites {
		if errs[i] == nil && s.stands() != foreign && !s.isQuarantined() && !slices.Contains(e.Left, s.Name) {
			up = append(up, s)
		}
	}
	// Looked at before anything is written, because a claim that is not enough stops everybody.
	if err := r.enough(ctx, e, up, count(up), need, errs); err != nil {
		return nil, err
	}
	errs = each(up, func(s *site) error {
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
	if err := r.enough(ctx, e, claimed, count(claimed), need, errs); err != nil {
		r.later.Store(true)
		return nil, err
	}
	return claimed, nil
}

// enough is nil if as many sites can be claimed, or have been, as a promotion needs, the new home site among them.
func (r *Router) enough(ctx context.Context, e *epochRecord, sites []*site, n, need int, errs []error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n < need && !e.Forced || !contains(sites, r.site(e.Home)) {
		return fail(ErrTooFewSites, errs...)
	}
	return nil
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
		for _, s := range append(without(p.sites, p.home), p.home) {
			if err := s.remove(ctx, rec.name()); err != nil {
				return err
			}
		}
	}
	return nil
}
