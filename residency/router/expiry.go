package router

import (
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/residency"
)

// stale is how long before it is too old the look at a location is warned of. It lives for 30 days, and a probe renews it
// every day: with the time of other warnings there would always be one.
const stale = residency.MaxObservationAge / 3

// Expiring warns of what ends within 180 days of now and lets a site hold data: the decision, each rule that it rests on,
// papers, an override, and the look at where the site is. The earliest comes first. It is a pure function.
func Expiring(site string, d residency.Decision, t residency.Target, o *residency.Override, now time.Time) []Warning {
	var out []Warning
	seen := map[string]bool{}
	add := func(what string, ends time.Time) {
		if !seen[what] {
			seen[what] = true
			out = warn(out, now, site, what, ends)
		}
	}
	// The age of the look and the override have warnings of their own.
	if d.ExpiresBy == "" {
		add("the decision", d.Expires)
	} else if !strings.HasPrefix(d.ExpiresBy, "evidence.") && !strings.HasPrefix(d.ExpiresBy, "override ") {
		add("the decision that rests on "+d.ExpiresBy, d.Expires)
	}
	for _, why := range d.Reasons {
		if why.Verdict == residency.Allowed && why.Rule != "" && why.Rule != d.ExpiresBy && !why.Until.IsZero() {
			add("the decision that rests on "+why.Rule, why.Until.UTC())
		}
	}
	for _, p := range t.Papers {
		if !p.Refuted && !p.Until.IsZero() && "paper "+p.Kind != d.ExpiresBy {
			add("the paper "+p.Kind, p.Until.UTC())
		}
	}
	if o != nil {
		add("the override "+o.ID, o.Until)
	}
	if at := t.Location.At; !at.IsZero() && t.Location.Level >= residency.Observed {
		if ends := at.Add(residency.MaxObservationAge); ends.Sub(now) <= stale {
			add("what was seen of the location", ends)
		}
	}
	slices.SortStableFunc(out, func(a, b Warning) int { return a.Ends.Compare(b.Ends) })
	return out
}
