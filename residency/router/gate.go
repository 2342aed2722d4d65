package router

import (
	"context"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
)

// longestDecision is how long a decision is used before it is made again, whatever it says of its end: a rule may
// begin as well as end.
const longestDecision = time.Hour

// decide returns whether more data may go to the site, from the last decision as long as that holds. Whether what is
// there may stay, and so be read, is decided with it: an override can allow the one and not the other.
func (r *Router) decide(ctx context.Context, s *site) (residency.Decision, error) {
	now := r.o.Now()
	s.mu.Lock()
	if !s.recheck.IsZero() && now.Before(s.recheck) && !now.Before(s.decided) {
		defer s.mu.Unlock()
		return s.decision, nil
	}
	s.mu.Unlock()

	d, stay := r.ask(r.rules, s, residency.Day{}, false), r.ask(r.rules, s, residency.Day{}, true)
	s.mu.Lock()
	changed := s.recheck.IsZero() || !sameDecision(s.decision, d) || !sameDecision(s.stay, stay)
	s.decision, s.stay, s.decided = d, stay, now
	s.recheck = now.Add(longestDecision)
	for _, ends := range []time.Time{d.Expires, stay.Expires} {
		if !ends.IsZero() && ends.Before(s.recheck) {
			s.recheck = ends
		}
	}
	s.mu.Unlock()
	if !changed {
		return d, nil
	}
	err := r.evidence(ctx, evidence.KindDecision, s.Name, d)
	if err == nil && stay.Override != nil {
		err = r.evidence(ctx, evidence.KindOverride, s.Name, *stay.Override)
	}
	if err != nil {
		s.mu.Lock()
		s.recheck = time.Time{} // what is not recorded is not used
		s.mu.Unlock()
	}
	return d, err
}

// sameDecision is whether two decisions say the same, for evidence.
func sameDecision(a, b residency.Decision) bool {
	over := func(d residency.Decision) string {
		if d.Override == nil {
			return ""
		}
		return d.Override.ID
	}
	return a.Verdict == b.Verdict && a.Rules == b.Rules && a.Ruleset == b.Ruleset && a.Expires.Equal(b.Expires) &&
		a.ExpiresBy == b.ExpiresBy && over(a) == over(b)
}

// mayRead reports whether what is at the site may stay there, and so be read.
func (r *Router) mayRead(ctx context.Context, s *site) bool {
	_, err := r.decide(ctx, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	return err == nil && s.stay.Verdict == residency.Allowed
}

// plan is where a write goes.
type plan struct {
	epoch string // that it was made in; empty if that does not matter
	home  *site
	want  []*site // that should hold the object
	try   []*site // of these, the ones to write to now, the home site first
}

// place chooses the sites of a write. With all, every site that may be written is wanted.
func (r *Router) place(ctx context.Context, all bool) (*plan, error) {
	if err := r.follow(ctx); err != nil {
		return nil, err
	}
	epoch := r.epoch.Load().ID
	home := r.home()
	if home == nil {
		return nil, fail(ErrHomeDown)
	}
	legal, err := r.legal(ctx)
	if err != nil {
		return nil, err
	}
	if lacks := r.lacks(legal); len(lacks) > 0 || !slices.Contains(legal, home) {
		if len(lacks) == 0 {
			lacks = []string{"the home site"}
		}
		return nil, r.denied(ctx, lacks)
	}
	if err := r.homeReady(ctx, home); err != nil {
		return nil, err
	}
	p := &plan{epoch: epoch, home: home, want: legal}
	if !all {
		p.want = r.choose(home, legal)
	}
	for _, removable := range []bool{false, true} {
		// What is expected to be away is looked for only if it cannot be done without.
		p.try = r.spare(home, r.standing(ctx, p.want, removable))
		if len(r.lacks(p.try)) == 0 {
			return p, nil
		}
	}
	return nil, fail(ErrTooFewSites, lasts(p.want)...)
}

// standing are those of the sites that take part in the epoch, after another look at those that did not.
func (r *Router) standing(ctx context.Context, sites []*site, removable bool) []*site {
	var out []*site
	for _, s := range sites {
		if removable || !s.Removable {
			r.revive(ctx, s)
		}
		if s.takes() {
			out = append(out, s)
		}
	}
	return out
}

// homeReady is nil if the home site takes writes.
func (r *Router) homeReady(ctx context.Context, home *site) error {
	r.revive(ctx, home)
	switch {
	case r.ready.Load():
		return nil
	case home.stands() == unseen:
		return fail(ErrHomeDown, home.lastError())
	}
	return fail(ErrUnfinished)
}

// denied is the error of a placement that the lawful sites cannot give.
func (r *Router) denied(ctx context.Context, lacks []string) error {
	e := &DeniedError{Decisions: map[string]residency.Decision{}, Lacks: lacks}
	for _, s := range r.enrolled() {
		s.mu.Lock()
		e.Decisions[s.Name] = s.decision
		s.mu.Unlock()
	}
	return r.refused(ctx, e)
}

// refused counts a refusal by the sites that are not lawful.
func (r *Router) refused(ctx context.Context, e *DeniedError) error {
	for name, d := range e.Decisions {
		if d.Verdict != residency.Allowed {
			r.seen.Count(ctx, observe.Denied, name, 1)
		}
	}
	return e
}

// legal are the enrolled sites that may be written.
func (r *Router) legal(ctx context.Context) ([]*site, error) {
	var out []*site
	for _, s := range r.enrolled() {
		if err := r.probeDue(ctx, s); err != nil {
			return nil, err
		}
		d, err := r.decide(ctx, s)
		if err != nil {
			return nil, err
		}
		holder := s.Target.Custody.Holder
		inside := holder == residency.ProviderHeld || holder == residency.HolderUnknown
		if d.Verdict == residency.Allowed && !s.ReadOnly && !s.isQuarantined() && !(r.o.Placement.KeysOutside && inside) {
			out = append(out, s)
		}
	}
	return out, nil
}

// lacks says in words what a set of sites does not give of what must be reached.
func (r *Router) lacks(sites []*site) []string {
	p := r.o.Placement
	operators, places := map[string]bool{}, map[string]bool{}
	offsite := 0
	for _, s := range sites {
		operators[s.operator()] = true
		places[s.places()] = true
		if !s.Onsite {
			offsite++
		}
	}
	var out []string
	if len(sites) < r.mustReach() {
		out = append(out, countWord(r.mustReach(), "site"))
	}
	if len(operators) < p.Operators {
		out = append(out, countWord(p.Operators, "operator"))
	}
	if len(places) < p.Subdivisions {
		out = append(out, countWord(p.Subdivisions, "place"))
	}
	if offsite < p.Offsite {
		out = append(out, countWord(p.Offsite, "site")+" offsite")
	}
	return out
}

func countWord(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return itoa(n) + " " + of + "s"
}

// places names where the site's bytes are, for counting.
func (s *site) places() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts []string
	for _, p := range s.decision.Places {
		parts = append(parts, string(p))
	}
	return strings.Join(parts, ",")
}

// choose picks the sites of an object: as many as there shall be copies, the home site among them, such that the minima
// hold; those that answer before those that do not, else in the order given.
func (r *Router) choose(home *site, legal []*site) []*site {
	if len(legal) <= r.copies() {
		return legal
	}
	best, cost := legal, 1<<30
	for mask := range uint(1) << len(legal) {
		if bits.OnesCount(mask) != r.copies() {
			continue
		}
		set, c := []*site(nil), 0
		for i, s := range legal {
			if mask&(1<<i) != 0 {
				set = append(set, s)
				c += 1 << i
				if !s.takes() || s.resting() {
					c += 1 << len(legal)
				}
			}
		}
		if c < cost && slices.Contains(set, home) && len(r.lacks(set)) == 0 {
			best, cost = set, c
		}
	}
	return best
}

// spare puts the home site first, and leaves out sites that lately failed where the others suffice.
func (r *Router) spare(home *site, sites []*site) []*site {
	up := []*site{home}
	var rest []*site
	for _, s := range sites {
		switch {
		case s == home:
		case s.resting():
			rest = append(rest, s)
		default:
			up = append(up, s)
		}
	}
	if len(r.lacks(up)) > 0 {
		up = append(up, rest...) // one of them may be back
	}
	return up
}

func (s *site) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil && s.standing == behind {
		return &SiteError{Site: s.Name, Op: "write", err: errNotCurrent}
	}
	return s.last
}

func lasts(sites []*site) []error {
	var out []error
	for _, s := range sites {
		out = append(out, s.lastError())
	}
	return out
}
