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
	// Papers, the age of the look and the override have warnings of their own.
	for _, e := range endings(d) {
		own := strings.HasPrefix(e.By, "paper ") || strings.HasPrefix(e.By, "evidence.") || strings.HasPrefix(e.By, "override ")
		switch {
		case own:
		case strings.HasPrefix(e.By, "review of "): // a newer release brings them all, or a file of reviews does
			add("the validity of the rules' last review", e.At)
		case e.By == "":
			add("the decision", e.At)
		default:
			add("the decision that rests on "+e.By, e.At)
		}
	}
	for _, p := range t.Papers {
		if !p.Refuted && !p.Until.IsZero() {
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

// endings are those that a decision names. A [Decider] of somebody else's may name the first alone.
func endings(d residency.Decision) []residency.Ending {
	if len(d.Endings) == 0 && !d.Expires.IsZero() {
		return []residency.Ending{{At: d.Expires, By: d.ExpiresBy}}
	}
	return d.Endings
}
