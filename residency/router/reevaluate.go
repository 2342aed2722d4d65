package router

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/residency"
)

// Review is what the rules say of data where it is.
type Review struct {
	AsOf residency.Day `json:"asOf,omitzero"` // zero: today
	// Sites are all sites that were given, in their order.
	Sites []SiteReview `json:"sites"`
	// Violations name the sites that hold data which may not be there, the strictest case first: a judgment gives no
	// time, then other law, policy and contract, guidance, and last what is merely not known.
	Violations []string `json:"violations,omitempty"`
	// Lacks is what the enrolled sites that may be written do not give of what must be reached.
	Lacks []string `json:"lacks,omitempty"`
	// Spare are lawful sites that were given and are not enrolled; with them, or without need of them, Enough says
	// whether the placement can be had.
	Spare  []string `json:"spare,omitempty"`
	Enough bool     `json:"enough"`
}

// SiteReview is what the rules say of one site.
type SiteReview struct {
	Site     string `json:"site"`
	Home     bool   `json:"home,omitempty"`
	Enrolled bool   `json:"enrolled"` // the epoch counts it
	// Stay is whether what is there may stay; Write, whether more may be added.
	Stay  residency.Decision `json:"stay"`
	Write residency.Decision `json:"write"`
	// Objects and Bytes are what it holds, records of the router left out. They are not known if Error is set.
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
	Error   error `json:"-"` // why it could not be counted
	// Lacks is what the other sites that may be written would not give of what must be reached.
	Lacks []string `json:"lacks,omitempty"`
}

// Reevaluate asks the rules anew about every site, as of a day, whose law may be past or to come; zero is today. It
// changes nothing, and counts what each site holds by listing it. The errors are the context's.
func (r *Router) Reevaluate(ctx context.Context, asOf residency.Day) (*Review, error) {
	ctx, end := r.seen.Begin(ctx, opReevaluate, true)
	v, err := r.review(ctx, r.rules, asOf)
	if err == nil {
		err = r.countAll(ctx, v)
	}
	end(err)
	return v, err
}

// review judges every site by some rules.
func (r *Router) review(ctx context.Context, rules Decider, asOf residency.Day) (*Review, error) {
	v := &Review{AsOf: asOf}
	e := r.epoch.Load()
	var legal, spare []*site
	for _, s := range r.sites {
		if err := r.probeDue(ctx, s); err != nil {
			return nil, err
		}
		w := SiteReview{Site: s.Name, Home: s.Name == e.Home, Enrolled: slices.Contains(e.Sites, s.Name)}
		w.Stay, w.Write = r.ask(rules, s, asOf, true), r.ask(rules, s, asOf, false)
		v.Sites = append(v.Sites, w)
		if !r.canWrite(s, w.Write) {
			continue
		}
		if w.Enrolled {
			legal = append(legal, s)
		} else {
			spare = append(spare, s)
		}
	}
	for i := range v.Sites {
		w := &v.Sites[i]
		w.Lacks = r.lacks(without(legal, r.site(w.Site)))
	}
	v.Lacks = r.lacks(legal)
	v.Spare = names(spare)
	v.Enough = len(r.lacks(append(slices.Clone(legal), spare...))) == 0
	return v, ctx.Err()
}

// ask puts a question to some rules. One that they cannot take is not answered with yes.
func (r *Router) ask(rules Decider, s *site, asOf residency.Day, existing bool) residency.Decision {
	q := r.request(s)
	q.AsOf, q.Existing = asOf, existing
	d, err := rules.Decide(q)
	if err != nil {
		return residency.Decision{Verdict: residency.Unknown, Now: q.Now, AsOf: asOf, Warnings: []string{"the rules could not decide"}}
	}
	return d
}

// request is the question about a site, as it is known now.
func (r *Router) request(s *site) residency.Request {
	s.mu.Lock()
	target := s.Target
	target.Location = s.location
	s.mu.Unlock()
	q := residency.Request{Subject: r.subject, Purpose: r.o.Purpose, Target: target, Now: r.o.Now()}
	if o, ok := r.o.Overrides[s.Name]; ok {
		q.Override = &o
	}
	return q
}

// canWrite says whether a decision and what else is known of a site let new data go there.
func (r *Router) canWrite(s *site, d residency.Decision) bool {
	write := d.Verdict == residency.Allowed
	holder := s.Target.Custody.Holder
	inside := holder == residency.ProviderHeld || holder == residency.HolderUnknown
	return write && !s.ReadOnly && !s.isQuarantined() && !(r.o.Placement.KeysOutside && inside)
}

// countAll counts what the sites hold, and then orders the violations: a place without data violates nothing.
func (r *Router) countAll(ctx context.Context, v *Review) error {
	each(r.sites, func(s *site) error {
		w := &v.Sites[slices.Index(r.sites, s)]
		w.Objects, w.Bytes, w.Error = s.holds(ctx)
		return nil
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	v.order(strictness(r.rules))
	return nil
}

// order finds the violations.
func (v *Review) order(rank func(residency.Decision) int) {
	var bad []SiteReview
	for _, w := range v.Sites {
		if w.Stay.Verdict != residency.Allowed && (w.Objects > 0 || w.Error != nil) {
			bad = append(bad, w)
		}
	}
	slices.SortStableFunc(bad, func(a, b SiteReview) int {
		return cmp.Or(rank(a.Stay)-rank(b.Stay), cmp.Compare(b.Bytes, a.Bytes))
	})
	v.Violations = nil
	for _, w := range bad {
		v.Violations = append(v.Violations, w.Site)
	}
}

// holds counts the objects at a site.
func (s *site) holds(ctx context.Context) (objects, bytes int64, err error) {
	c := &cursor{s: s, size: pageSize}
	for {
		o, err := c.peek(ctx)
		if err != nil || o == nil {
			return objects, bytes, err
		}
		if !strings.HasPrefix(o.Key, reserved) {
			objects, bytes = objects+1, bytes+o.Size
		}
		c.pass(o.Key)
	}
}

// ruleLister is a [Decider] that can say what its rules are, as a [residency.Ruleset] can.
type ruleLister interface{ Rules() []residency.Rule }

// strictness ranks decisions that do not allow: 0 is the strictest.
func strictness(rules Decider) func(residency.Decision) int {
	ranks := map[string]int{}
	judicial := map[string]bool{}
	if l, ok := rules.(ruleLister); ok {
		for _, one := range l.Rules() {
			ranks[one.ID] = map[string]int{"law": 1, "policy": 2, "contract": 2, "guidance": 3}[one.Strength]
			judicial[one.ID] = one.Ends == "judicial"
		}
	}
	return func(d residency.Decision) int {
		best := 4
		for _, why := range d.Reasons {
			rank := 1 // a regime as a whole: nothing in it permits this
			if known, ok := ranks[why.Rule]; ok {
				rank = max(known, 1)
			}
			switch {
			case why.Verdict != residency.Denied:
			case judicial[why.Rule] && !why.Until.IsZero():
				// A court has ended what permitted this. That other tools may, which is then not known, gives no time.
				best = 0
			case d.Verdict == residency.Denied:
				best = min(best, rank)
			}
		}
		return best
	}
}
