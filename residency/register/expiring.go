package register

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/residency"
)

// Expiring returns what ends within 180 days of r.At, or has ended: what decisions rest on, papers, exceptions, and
// locks. The soonest is first. Each has the narrowest threshold that it has passed: 180, 90 or 30 days, or 0.
func Expiring(r Register) []Warning {
	var all []Warning
	add := func(site, what string, ends time.Time) {
		if days, soon := threshold(r.At, ends); soon {
			all = append(all, Warning{Site: site, What: what, Ends: ends, Days: days})
		}
	}
	for _, s := range r.Sites {
		reviewed := false
		for _, e := range s.Decision.Endings {
			switch {
			case e.By == looked:
			case !strings.HasPrefix(e.By, "review of "):
				add(s.Name, "decision, by "+e.By, e.At)
			case !reviewed: // a newer release brings them all, or a file of reviews does, so the first is enough
				reviewed = true
				add(s.Name, "review of the rules", e.At)
			}
		}
		for _, p := range s.Target.Papers {
			if !p.Until.IsZero() && !p.Refuted {
				add(s.Name, "paper "+p.Kind, midnight(p.Until, r.At.Location()))
			}
		}
	}
	for _, o := range r.Overrides {
		if o.Until.After(r.At) { // one that has ended is history, and needs nobody
			add(o.Site, "override by "+o.Person, o.Until)
		}
	}
	for _, s := range r.Residuals {
		add(s.Site, "lock on what remains", s.Release)
	}
	slices.SortStableFunc(all, func(a, b Warning) int {
		return cmp.Or(a.Ends.Compare(b.Ends), cmp.Compare(a.Site, b.Site), cmp.Compare(a.What, b.What))
	})
	return all
}

// looked is the policy on how old a look at the place may be. The router looks daily, so nobody needs to be told.
const looked = "evidence.age"

// threshold returns the narrowest one that has been passed.
func threshold(at, ends time.Time) (days int, soon bool) {
	left := ends.Sub(at)
	for _, days := range []int{0, 30, 90, 180} {
		if left <= time.Duration(days)*24*time.Hour {
			return days, true
		}
	}
	return 0, false
}

// midnight is when a day begins.
func midnight(d residency.Day, in *time.Location) time.Time {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, in)
}
