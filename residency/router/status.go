package router

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/residency"
)

// Status is how a router and its sites stand.
type Status struct {
	Epoch     int    `json:"epoch"`
	Home      string `json:"home"`
	MustReach int    `json:"mustReach"`
	// Ready is whether the home site takes writes; Superseded, whether a later epoch was seen.
	Ready      bool         `json:"ready"`
	Superseded bool         `json:"superseded"`
	Sites      []SiteStatus `json:"sites"`
	// Lacks is what the sites that can be written now do not give of what must be reached: with any of it, writes fail.
	Lacks    []string  `json:"lacks,omitempty"`
	Warnings []Warning `json:"warnings,omitempty"`
	Intents  int       `json:"intents"` // unfinished writes at the home site; -1: it does not answer
	Debts    int       `json:"debts"`   // changes at the home site that some site has missed; -1: it does not answer
}

// SiteStatus is how a site stands.
type SiteStatus struct {
	Name        string             `json:"name"`
	Standing    string             `json:"standing"` // "unseen", "current", "behind", "foreign" or "filling"
	Enrolled    bool               `json:"enrolled"` // the epoch counts it
	Answers     bool               `json:"answers"`  // as far as was last seen
	Writable    bool               `json:"writable"` // by the rules, and not read-only or in quarantine
	Readable    bool               `json:"readable"`
	ReadOnly    bool               `json:"readOnly,omitempty"`
	Quarantined bool               `json:"quarantined"`
	Since       time.Time          `json:"since,omitzero"` // when the quarantine began
	Decision    residency.Decision `json:"decision"`
	Location    residency.Location `json:"location"`
	Probed      time.Time          `json:"probed,omitzero"`
	// Owed are the changes that it has missed, among the first thousand that the home site knows of.
	Owed  int   `json:"owed,omitempty"`
	Error error `json:"-"` // the last error, if it does not answer
}

// Status says how everything stands. It asks the home site for what is unfinished, and no other.
func (r *Router) Status(ctx context.Context) (*Status, error) {
	e := r.epoch.Load()
	st := &Status{Epoch: e.N, Home: e.Home, MustReach: r.mustReach(), Ready: r.ready.Load(), Superseded: r.later.Load()}
	legal, err := r.legal(ctx)
	if err != nil {
		return nil, err
	}
	var up []*site
	for _, s := range r.sites {
		d, err := r.decide(ctx, s)
		if err != nil {
			return nil, err
		}
		read := r.mayRead(ctx, s)
		resting := s.resting()
		s.mu.Lock()
		v := SiteStatus{
			Name: s.Name, Standing: s.standing.String(), Enrolled: slices.Contains(e.Sites, s.Name), Answers: s.standing != unseen && !resting,
			Writable: contains(legal, s), Readable: read, Quarantined: s.quarantine != nil && s.quarantine.Quarantined, ReadOnly: s.ReadOnly,
			Decision: d, Location: s.location, Probed: s.probed, Error: s.last,
		}
		if v.Quarantined {
			v.Since = s.quarantine.At
		}
		if s.standing == foreign {
			v.Error = s.wrong
		}
		s.mu.Unlock()
		st.Sites = append(st.Sites, v)
		if v.Writable && v.Standing == current.String() && v.Answers {
			up = append(up, s)
		}
	}
	st.Lacks = r.lacks(up)
	if len(legal) < r.copies() {
		st.Warnings = append(st.Warnings, Warning{Severity: "warning", Text: fmt.Sprintf("%s of %d wanted may lawfully hold the data", countWord(len(legal), "site"), r.copies())})
	}
	st.Warnings = append(st.Warnings, r.Warnings(r.o.Now())...)
	st.Intents, st.Debts = r.count(ctx, intentPrefix), r.count(ctx, debtPrefix)
	if st.Debts > 0 {
		r.countOwed(ctx, st)
	}
	return st, ctx.Err()
}

// countOwed says what each site has missed, and warns of what a read-only site is not given.
func (r *Router) countOwed(ctx context.Context, st *Status) {
	owed := map[string]int{}
	n := 0
	_, err := r.home().debts(ctx, func(d *debtRecord) bool {
		for _, name := range d.Sites {
			if !d.Buried {
				owed[name]++
			}
		}
		n++
		return n == maxReported
	})
	if err != nil && ctx.Err() == nil {
		r.log("debts could not be read", r.home().Name, err)
	}
	for i := range st.Sites {
		s := &st.Sites[i]
		s.Owed = owed[s.Name]
		if s.ReadOnly && s.Owed > 0 {
			st.Warnings = append(st.Warnings, Warning{Site: s.Name, Severity: "notice", Text: "it is read-only, and has missed " + countWord(s.Owed, "change")})
		}
	}
}

func (r *Router) count(ctx context.Context, prefix string) int {
	home := r.home()
	n := 0
	if home == nil || home.list(ctx, prefix, func(string) bool { n++; return true }) != nil {
		return -1
	}
	return n
}

// Decisions are the decisions in use, by site.
func (r *Router) Decisions() map[string]residency.Decision {
	out := map[string]residency.Decision{}
	for _, s := range r.sites {
		s.mu.Lock()
		out[s.Name] = s.decision
		s.mu.Unlock()
	}
	return out
}

// Warning is something that ends, or has ended.
type Warning struct {
	Site     string    `json:"site,omitempty"`
	Severity string    `json:"severity"` // "notice" within 180 days, "warning" within 90, "urgent" within 30 or over
	Text     string    `json:"text"`
	Ends     time.Time `json:"ends,omitzero"`
}

// Warnings are the decisions, papers and overrides that end within 180 days of now, the earliest first. It asks nobody:
// it goes by the decisions in use and what the sites declare.
func (r *Router) Warnings(now time.Time) []Warning {
	var out []Warning
	for _, s := range r.sites {
		s.mu.Lock()
		d, at := s.decision, s.location
		s.mu.Unlock()
		t := s.Target
		t.Location = at
		var over *residency.Override
		if o, ok := r.o.Overrides[s.Name]; ok {
			over = &o
		}
		out = append(out, Expiring(s.Name, d, t, over, now)...)
	}
	slices.SortStableFunc(out, func(a, b Warning) int {
		if c := a.Ends.Compare(b.Ends); c != 0 {
			return c
		}
		return strings.Compare(a.Site+a.Text, b.Site+b.Text)
	})
	return out
}

// warn adds a warning if an end is near.
func warn(to []Warning, now time.Time, site, what string, ends time.Time) []Warning {
	const day = 24 * time.Hour
	left := ends.Sub(now)
	if ends.IsZero() || left > 180*day {
		return to
	}
	severity, text := "notice", what+" ends"
	switch {
	case left <= 0:
		severity, text = "urgent", what+" has ended"
	case left <= 30*day:
		severity = "urgent"
	case left <= 90*day:
		severity = "warning"
	}
	return append(to, Warning{Site: site, Severity: severity, Text: text, Ends: ends})
}
