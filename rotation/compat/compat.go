// Package compat keeps what other backup programs keep: restic, borg, kopia and Proxmox Backup Server.
//
// These rules are less safe than a [rotation.Policy], and are here to compare with and to move away from. They believe
// the time that each point claims, keep the last point of a day, week or month, and mostly count. So whoever can add
// points can make them let go of every older one, with dates in the future or with one more point at the end of each
// day, and kopia's do so when a single clock was wrong. None of them asks whether a point was ever verified.
//
// [rotation.EvaluateLike] makes a plan of them in which holds, locks, promises, quarantine, budgets and doubts about the
// clock still bind.
package compat

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/carekeep/carekeep/rotation"
)

// Unlimited as a count keeps one point of every period, for restic and borg.
const Unlimited = -1

// Duration is a length of restic's: calendar units that are taken from the newest point's time, and hours.
type Duration struct {
	Years, Months, Days, Hours int
}

// before goes back from t as restic does: a month before 31 March is 3 March, since there is no 31 February.
func (d Duration) before(t time.Time) time.Time {
	return t.AddDate(-d.Years, -d.Months, -d.Days).Add(-time.Duration(d.Hours) * time.Hour)
}

// Restic keeps what restic 0.19.1 keeps by "forget" with the --keep options of the same names. Days, weeks and months are
// those of the zone of the machine that made the point. Points of a catalogue do not tell it: give it here.
//
// A point may fill a day, a week and a month at once. While a rule has counts left, the oldest point stays as well.
type Restic struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly                                 int
	Within, WithinHourly, WithinDaily, WithinWeekly, WithinMonthly, WithinYearly Duration
	// Zone is where the points were made: only its location counts. Without one it is that of each point's Claimed.
	Zone rotation.Zone
}

// Keep implements [rotation.Keeper].
func (r Restic) Keep(points []rotation.Point, now time.Time) map[rotation.PointID][]string {
	if r == (Restic{Zone: r.Zone}) {
		return all(points)
	}
	list := newestFirst(points)
	if loc := r.Zone.Location; loc != nil {
		for i := range list {
			list[i].Claimed = list[i].Claimed.In(loc)
		}
	}
	var latest time.Time // the newest that is not in the future
	for _, p := range list {
		if p.Claimed.After(latest) && p.Claimed.Before(now) {
			latest = p.Claimed
		}
	}
	type rule struct {
		name   string
		format func(time.Time) string
		count  int
		within Duration
		last   string
	}
	var rules []rule
	add := func(name string, format func(time.Time) string, count int, within Duration) {
		if count != 0 {
			rules = append(rules, rule{name: name, format: format, count: count})
		}
		if within != (Duration{}) {
			rules = append(rules, rule{name: name + " within", format: format, count: Unlimited, within: within})
		}
	}
	add("last", nil, r.Last, Duration{})
	add("hourly", hour, r.Hourly, r.WithinHourly)
	add("daily", day, r.Daily, r.WithinDaily)
	add("weekly", week, r.Weekly, r.WithinWeekly)
	add("monthly", month, r.Monthly, r.WithinMonthly)
	add("yearly", year, r.Yearly, r.WithinYearly)
	add("all", nil, 0, r.Within)

	kept := map[rotation.PointID][]string{}
	for i, p := range list {
		for j := range rules {
			k := &rules[j]
			if k.count == 0 || k.within != (Duration{}) && !p.Claimed.After(k.within.before(latest)) {
				continue
			}
			bucket := fmt.Sprint(i)
			if k.format != nil {
				bucket = k.format(p.Claimed)
			}
			if bucket == k.last && i < len(list)-1 {
				continue
			}
			k.last = bucket
			if k.count > 0 {
				k.count--
			}
			kept[p.ID] = append(kept[p.ID], k.name)
		}
	}
	return kept
}

// Borg keeps what borg 1.2.4 keeps by "prune" with the --keep options of the same names. Rules are taken from the finest
// to the coarsest, and a point that a finer one keeps does not use up a coarser one's count. A rule that is left with
// counts keeps the oldest point.
type Borg struct {
	Within                                                     time.Duration // counted back from now
	Secondly, Minutely, Hourly, Daily, Weekly, Monthly, Yearly int
	Zone                                                       rotation.Zone // of the machine that prunes: only its location counts
}

// Keep implements [rotation.Keeper].
func (b Borg) Keep(points []rotation.Point, now time.Time) map[rotation.PointID][]string {
	if b == (Borg{Zone: b.Zone}) {
		return all(points)
	}
	list := newestFirst(points)
	kept := map[rotation.PointID][]string{}
	if b.Within > 0 {
		for _, p := range list {
			if p.Claimed.After(now.Add(-b.Within)) {
				kept[p.ID] = []string{"within"}
			}
		}
	}
	inTurn(list, location(b.Zone), kept, []turn{
		{"secondly", second, b.Secondly}, {"minutely", minute, b.Minutely}, {"hourly", hour, b.Hourly}, {"daily", day, b.Daily},
		{"weekly", week, b.Weekly}, {"monthly", month, b.Monthly}, {"yearly", year, b.Yearly},
	})
	return kept
}

// Proxmox keeps what Proxmox Backup Server's documentation says that "prune" keeps (version 2, "Maintenance Tasks", read
// 2026-11): the last of each period, the options in this order, each looking only at what those before have not covered.
// It was not compared with the program. Incomplete points go unless they are newer than the last complete one, of which
// the newest stays.
type Proxmox struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly int
	Zone                                         rotation.Zone // of the server: only its location counts
}

// Keep implements [rotation.Keeper].
func (x Proxmox) Keep(points []rotation.Point, _ time.Time) map[rotation.PointID][]string {
	if x == (Proxmox{Zone: x.Zone}) {
		return all(points)
	}
	kept := map[rotation.PointID][]string{}
	var list []rotation.Point
	for i, p := range newestFirst(points) {
		switch {
		case p.Complete:
			list = append(list, p)
		case i == 0:
			kept[p.ID] = []string{"newest, incomplete"}
		}
	}
	turns := []turn{
		{"hourly", hour, x.Hourly}, {"daily", day, x.Daily},
		{"weekly", week, x.Weekly}, {"monthly", month, x.Monthly}, {"yearly", year, x.Yearly},
	}
	for _, p := range list[:min(max(0, x.Last), len(list))] {
		kept[p.ID] = []string{"last"}
	}
	covered(list, location(x.Zone), kept, turns)
	return kept
}

// Kopia keeps what kopia 0.23.1 keeps by a retention policy with numbers of the same names. Numbers are durations too,
// counted back from the newest complete point, whatever future it claims to be from. Hours, days, months and years are
// those of UTC, weeks those of the machine. Weeks share their names with months: the point of ISO week 2026-05 stands in
// the way of May's.
type Kopia struct {
	Latest, Hourly, Daily, Weekly, Monthly, Annual int
	Zone                                           rotation.Zone // of the machine: only its location counts
}

// Keep implements [rotation.Keeper].
func (k Kopia) Keep(points []rotation.Point, _ time.Time) map[rotation.PointID][]string {
	list := newestFirst(points)
	kept := map[rotation.PointID][]string{}
	var newest, newestComplete time.Time
	for _, p := range list {
		if p.Claimed.After(newest) {
			newest = p.Claimed
		}
		if p.Complete && p.Claimed.After(newestComplete) {
			newestComplete = p.Claimed
		}
	}
	loc := location(k.Zone)
	base := newestComplete.In(loc)
	rules := []struct {
		name   string
		cutoff time.Time
		format func(time.Time) string
		loc    *time.Location
		count  int
	}{
		{"annual", base.AddDate(-k.Annual, 0, 0), year, time.UTC, k.Annual},
		{"monthly", base.AddDate(0, -k.Monthly, 0), month, time.UTC, k.Monthly},
		{"weekly", base.AddDate(0, 0, -7*k.Weekly), week, loc, k.Weekly},
		{"daily", base.AddDate(0, 0, -k.Daily), day, time.UTC, k.Daily},
		{"hourly", base.Add(-time.Duration(k.Hourly) * time.Hour), hour, time.UTC, k.Hourly},
	}
	taken, used := map[string]bool{}, map[string]int{}
	for _, p := range list {
		if !p.Complete {
			continue
		}
		if used["latest"] < k.Latest || k == (Kopia{Zone: k.Zone}) {
			used["latest"]++
			kept[p.ID] = append(kept[p.ID], "latest")
		}
		for _, r := range rules {
			name := r.format(p.Claimed.In(r.loc))
			if p.Claimed.Before(r.cutoff) || taken[name] || used[r.name] >= r.count {
				continue
			}
			taken[name] = true
			used[r.name]++
			kept[p.ID] = append(kept[p.ID], r.name)
		}
	}
	for i, p := range list { // of incomplete points the newest few
		if p.Complete || newest.Sub(p.Claimed) >= 4*time.Hour && i >= 3 {
			break
		}
		kept[p.ID] = append(kept[p.ID], "incomplete")
	}
	return kept
}

// turn is one rule of those that are taken in turn.
type turn struct {
	name   string
	format func(time.Time) string
	count  int
}

// inTurn keeps the last of each period that no rule before has kept.
func inTurn(list []rotation.Point, loc *time.Location, kept map[rotation.PointID][]string, turns []turn) {
	for _, t := range turns {
		if t.count == 0 || len(list) == 0 {
			continue
		}
		n, last := 0, ""
		for _, p := range list {
			bucket := t.format(p.Claimed.In(loc))
			if bucket == last {
				continue
			}
			last = bucket
			if kept[p.ID] != nil {
				continue
			}
			kept[p.ID] = []string{t.name}
			if n++; n == t.count {
				break
			}
		}
		if p := list[len(list)-1]; n < t.count && kept[p.ID] == nil {
			kept[p.ID] = []string{t.name + ", oldest"}
		}
	}
}

// covered keeps the last of each period in which no rule before has kept one. A point that is passed over, because its
// period has one, is not looked at by later rules: they look at older points only.
func covered(list []rotation.Point, loc *time.Location, kept map[rotation.PointID][]string, turns []turn) {
	passed := map[rotation.PointID]bool{}
	for _, t := range turns {
		if t.count <= 0 {
			continue
		}
		before, taken := map[string]bool{}, map[string]bool{}
		for _, p := range list {
			if kept[p.ID] != nil {
				before[t.format(p.Claimed.In(loc))] = true
			}
		}
		for _, p := range list {
			bucket := t.format(p.Claimed.In(loc))
			switch {
			case kept[p.ID] != nil || passed[p.ID]:
				continue
			case before[bucket] || taken[bucket]:
				passed[p.ID] = true
				continue
			}
			if len(taken) == t.count {
				break
			}
			taken[bucket] = true
			kept[p.ID] = []string{t.name}
		}
	}
}

// all keeps everything, as the programs do or say when no option is given.
func all(points []rotation.Point) map[rotation.PointID][]string {
	kept := make(map[rotation.PointID][]string, len(points))
	for _, p := range points {
		kept[p.ID] = []string{"no option is given"}
	}
	return kept
}

func newestFirst(points []rotation.Point) []rotation.Point {
	list := slices.Clone(points)
	slices.SortStableFunc(list, func(a, b rotation.Point) int {
		return cmp.Or(b.Claimed.Compare(a.Claimed), cmp.Compare(b.Seq, a.Seq))
	})
	return list
}

func location(z rotation.Zone) *time.Location {
	return cmp.Or(z.Location, time.UTC)
}

func second(t time.Time) string { return t.Format("2006-01-02 15:04:05") }
func minute(t time.Time) string { return t.Format("2006-01-02 15:04") }
func hour(t time.Time) string   { return t.Format("2006-01-02 15") }
func day(t time.Time) string    { return t.Format("2006-01-02") }
func month(t time.Time) string  { return t.Format("2006-01") }
func year(t time.Time) string   { return t.Format("2006") }

func week(t time.Time) string {
	y, w := t.ISOWeek()
	return fmt.Sprintf("%04d-%02d", y, w)
}
