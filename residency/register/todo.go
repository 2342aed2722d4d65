package register

import (
	"fmt"

	"github.com/carekeep/carekeep/residency"
)

// todo says what must be done now, the most urgent first.
func (v *viewer) todo() (list []string) {
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for _, s := range v.r.Sites {
		v.unlawful(s, add)
	}
	for _, s := range v.r.Sites {
		if !s.Quarantined.IsZero() {
			add("Site %s has been shut since %s%s. Find out what happened; it stays shut until a person releases it.", plain(s.Name),
				v.date(s.Quarantined), because(s.Why))
		}
	}
	v.shortfall(add)
	for _, o := range v.r.Overrides {
		if o.Until.After(v.r.At) {
			add("The exception by %s at site %s ends on %s. Before that, make it needless.", plain(o.Person), plain(o.Site), v.moment(o.Until))
		}
	}
	for _, s := range v.r.Sites {
		if s.Owed > 0 {
			since := ""
			if !s.OwedSince.IsZero() {
				since = ", the oldest since " + v.date(s.OwedSince)
			}
			add("Site %s lacks %s%s. They are brought there by themselves once it can be reached; see that it can.", plain(s.Name),
				count(s.Owed, "object"), since)
		}
	}
	for _, x := range v.r.Residuals {
		if !x.Release.After(v.r.At) {
			add("What remained at site %s (%s) can be deleted since %s. Delete it.", plain(x.Site), objects(x.Objects, x.Bytes), v.date(x.Release))
		}
	}
	return list
}

// unlawful says what to do about a site that may take no new data.
func (v *viewer) unlawful(s Site, add func(string, ...any)) {
	d, name := s.Decision, plain(s.Name)
	holds := ""
	if s.Objects > 0 {
		holds = " It holds " + objects(s.Objects, s.Bytes) + "."
	}
	switch {
	case d.Verdict == residency.Denied:
		rules := ""
		for _, x := range d.Reasons {
			if x.Verdict == residency.Denied && x.Rule != "" {
				rules = " (" + plain(x.Rule) + ")"
				break
			}
		}
		add("A rule denies site %s%s.%s Move the data to another site.", name, rules, holds)
	case d.Verdict != residency.Allowed && len(d.Missing) > 0:
		add("Of site %s not enough is known.%s Find out: %s.", name, holds, plain(d.Missing[0].Fact)+andMore(len(d.Missing)-1))
	case d.Verdict != residency.Allowed:
		add("Of site %s not enough is known.%s Find out where it is and which papers are in place.", name, holds)
	case !d.Expires.IsZero() && !d.Expires.After(v.r.At):
		add("The answer about site %s ended on %s.%s It must be asked again.", name, v.date(d.Expires), holds)
	}
}

func andMore(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(", and %d more", n)
}

func because(why string) string {
	if why = plain(why); why != "" {
		return " (" + why + ")"
	}
	return ""
}

// shortfall says where the sites that may be written are fewer than wanted. A site that is only read, shut, or behind
// does not count. One copy at least is always wanted.
func (v *viewer) shortfall(add func(string, ...any)) {
	var operators, places []string
	usable, offsite := 0, 0
	for _, s := range v.r.Sites {
		if words, bad := v.state(s); bad && words != "in use by an exception" || s.ReadOnly {
			continue
		}
		usable++
		operators = append(operators, operator(s))
		for _, p := range s.places() {
			places = append(places, string(p))
		}
		if !s.Onsite {
			offsite++
		}
	}
	for _, c := range []struct {
		have, want int
		what       string
	}{
		{usable, max(1, v.r.Wanted.Copies), "Sites in good order: %s; copies wanted: %d. Add a site, or put one right."},
		{len(unique(operators)), v.r.Wanted.Operators, "Operators of the sites in good order: %s; wanted: %d."},
		{len(unique(places)), v.r.Wanted.Subdivisions, "Different places of the sites in good order: %s; wanted: %d."},
		{offsite, v.r.Wanted.Offsite, "Offsite sites in good order: %s; wanted: %d."},
	} {
		if c.have < c.want {
			add(c.what, number(c.have), c.want)
		}
	}
}
