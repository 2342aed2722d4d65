package residency_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/carekeep/carekeep/residency"
)

// world draws requests of which many rules say something.
type world struct {
	tags   []residency.Tag
	kinds  []string
	places []residency.Place
}

func newWorld(r *residency.Ruleset) world {
	w := world{places: places("DE FR IE NO GB GI CH US US-TX US-FL US-VA PR CA CA-QC CA-ON CA-BC CA-NS BR KR JP NZ AU AU-NSW AU-VIC SG IN CN KE AE RU NL-AW FR-PF RE @EU")}
	for tag := range r.Tags() {
		w.tags = append(w.tags, tag)
	}
	for kind := range r.PaperKinds() {
		w.kinds = append(w.kinds, kind)
	}
	slices.Sort(w.tags)
	slices.Sort(w.kinds)
	return w
}

// place draws a place, and none of the groups, which nobody may declare.
func (w world) place(t *rapid.T, name string) residency.Place {
	return rapid.SampledFrom(w.places[:len(w.places)-1]).Draw(t, name)
}

func (w world) some(t *rapid.T, name string, least, most int) []residency.Place {
	var out []residency.Place
	for range rapid.IntRange(least, most).Draw(t, name) {
		out = append(out, w.place(t, name))
	}
	return out
}

func drawDay(t *rapid.T, name string, from, to int) residency.Day {
	at := time.Date(rapid.IntRange(from, to).Draw(t, name), time.January, 1+rapid.IntRange(0, 364).Draw(t, name), 0, 0, 0, 0, time.UTC)
	y, m, d := at.Date()
	return residency.Day{Year: y, Month: m, Day: d}
}

func (w world) paper(t *rapid.T) residency.Paper {
	p := residency.Paper{Kind: rapid.SampledFrom(w.kinds).Draw(t, "kind")}
	p.Scope = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"2010", "2021", "uk-extension", "swiss-us", "v1", "v2", "type-1", "type-2", "IE", "US"}), 0, 10, rapid.ID).Draw(t, "scope")
	if rapid.Bool().Draw(t, "dated") {
		p.From = drawDay(t, "paper from", 2014, 2027)
		p.Until = p.From.AddDays(rapid.IntRange(1, 2000).Draw(t, "paper days"))
	}
	p.Refuted = rapid.IntRange(0, 5).Draw(t, "refuted") == 0
	return p
}

func (w world) request(t *rapid.T) residency.Request {
	var q residency.Request
	q.Subject.Class = residency.Class(rapid.IntRange(0, 6).Draw(t, "class"))
	q.Subject.Origins = w.some(t, "origin", 1, 2)
	q.Subject.Tags = rapid.SliceOfN(rapid.SampledFrom(w.tags), 0, 1).Draw(t, "tags")
	q.Purpose = residency.Purpose(rapid.IntRange(0, 4).Draw(t, "purpose"))
	q.Now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 500*24*60).Draw(t, "now")) * time.Minute)
	l := &q.Target.Location
	if rapid.Bool().Draw(t, "provider") {
		region := rapid.SampledFrom([]string{"aws eu-west-1", "aws eu-west-2", "aws us-east-1", "aws ca-central-1", "gcp EU", "gcp EUR5", "aws ap-southeast-2", "cloudflare-r2 weur"}).Draw(t, "region")
		l.Provider, l.Region = splitRegion(region)
		l.Level = residency.Level(rapid.IntRange(1, 3).Draw(t, "level"))
		l.At = q.Now.Add(-time.Duration(rapid.IntRange(0, 40*24).Draw(t, "seen")) * time.Hour)
	} else {
		l.Places = w.some(t, "place", 1, 2)
	}
	e := &q.Target.Exposure
	if rapid.Bool().Draw(t, "exposure") {
		e.Operator, e.Parent, e.Support = w.place(t, "operator"), w.place(t, "parent"), w.some(t, "support", 0, 2)
	}
	q.Target.Custody.Holder = residency.Holder(rapid.IntRange(0, 3).Draw(t, "holder"))
	q.Target.Custody.Places = w.some(t, "keys", 0, 2)
	for range rapid.IntRange(0, 12).Draw(t, "papers") {
		q.Target.Papers = append(q.Target.Papers, w.paper(t))
	}
	if rapid.Bool().Draw(t, "as of") {
		q.AsOf = drawDay(t, "as of", 2010, 2034)
	}
	if rapid.IntRange(0, 3).Draw(t, "known") == 0 {
		q.Known = drawDay(t, "known", 2015, 2027)
	}
	if rapid.IntRange(0, 4).Draw(t, "override") == 0 {
		from := q.Now.Add(time.Duration(rapid.IntRange(-200, 50).Draw(t, "override from")) * time.Hour)
		q.Override = &residency.Override{ID: "o", Person: "P", Reason: "R", From: from, Until: from.Add(100 * time.Hour), Write: rapid.Bool().Draw(t, "write")}
		q.Existing = rapid.Bool().Draw(t, "existing")
	}
	return q
}

func splitRegion(s string) (provider, region string) {
	q := at(s)
	return q.Location.Provider, q.Location.Region
}

// rank orders verdicts as AND and OR do.
func rank(v residency.Verdict) int {
	return slices.Index([]residency.Verdict{residency.Denied, residency.Unknown, residency.Allowed}, v)
}

// decided decides twice, since the same question has the same answer.
func decided(t *rapid.T, r *residency.Ruleset, q residency.Request) residency.Decision {
	d, err := r.Decide(q)
	require.NoError(t, err)
	again, err := r.Decide(q)
	require.NoError(t, err)
	require.Equal(t, d, again)
	return d
}

// stricter requires that what changed made nothing lawful that was not.
func stricter(t *rapid.T, before, after residency.Decision) {
	require.LessOrEqual(t, rank(after.Rules), rank(before.Rules), "before: %s\nafter: %s", explain(before), explain(after))
}

// More to answer for is never more lawful: another place, another origin, a more telling class, a paper less.
func TestMoreIsNeverMoreLawful(t *testing.T) {
	r := rules(t)
	w := newWorld(r)
	t.Run("place", rapid.MakeCheck(func(t *rapid.T) {
		q := w.request(t)
		before := decided(t, r, q)
		q.Target.Location.Places = append(slices.Clone(q.Target.Location.Places), w.place(t, "another place"))
		stricter(t, before, decided(t, r, q))
	}))
	t.Run("support", rapid.MakeCheck(func(t *rapid.T) {
		q := w.request(t)
		before := decided(t, r, q)
		q.Target.Exposure.Support = append(slices.Clone(q.Target.Exposure.Support), w.place(t, "another place"))
		stricter(t, before, decided(t, r, q))
	}))
	t.Run("origin", rapid.MakeCheck(func(t *rapid.T) {
		q := w.request(t)
		before := decided(t, r, q)
		q.Subject.Origins = append(slices.Clone(q.Subject.Origins), w.place(t, "another origin"))
		stricter(t, before, decided(t, r, q))
	}))
	t.Run("class", rapid.MakeCheck(func(t *rapid.T) {
		q := w.request(t)
		q.Subject.Class = residency.Class(rapid.IntRange(1, 5).Draw(t, "class"))
		before := decided(t, r, q)
		q.Subject.Class++
		stricter(t, before, decided(t, r, q))
	}))
	t.Run("paper", rapid.MakeCheck(func(t *rapid.T) {
		q := w.request(t)
		before := decided(t, r, q)
		i := slices.IndexFunc(q.Target.Papers, func(p residency.Paper) bool { return !p.Refuted })
		if i < 0 {
			return
		}
		q.Target.Papers = slices.Delete(slices.Clone(q.Target.Papers), i, i+1)
		after := decided(t, r, q)
		require.False(t, after.Rules == residency.Allowed && before.Rules != residency.Allowed, "%s", explain(after))
	}))
}

// A permit never forbids, and a demand or a forbid never allows.
func TestMoreRules(t *testing.T) {
	r := rules(t)
	w := newWorld(r)
	rapid.Check(t, func(t *rapid.T) {
		q := w.request(t)
		before := decided(t, r, q)
		kind := rapid.SampledFrom([]string{"permit", "demand", "forbid"}).Draw(t, "kind")
		rule := map[string]any{"kind": kind, "strength": "law", "title": "new", "confirmed": true, "checked": "2026-11-01",
			"reviewBy": "2027-11-01", "sources": []string{"s"}, "values": []map[string]any{{"from": "2000-01-01", "known": "2000-01-01", "ref": "r"}}}
		if rapid.Bool().Draw(t, "places") || kind == "permit" {
			rule["places"] = slices.Compact(slices.Sorted(slices.Values(w.some(t, "rule place", 1, 3))))
		}
		if kind == "demand" || rapid.Bool().Draw(t, "needs") {
			rule["needs"] = []string{rapid.SampledFrom([]string{"paper:" + w.kinds[0], "custody:customer", "exposure-not-in:US", "level:observed", "custody-in:@EEA"}).Draw(t, "need")}
		}
		if rapid.Bool().Draw(t, "when") {
			rule["when"] = map[string]any{"origins": places("DE FR US-TX")}
		}
		regime := "eu-gdpr"
		if kind != "permit" {
			regime = rapid.SampledFrom([]string{"eu-gdpr", "us-hipaa", "uk-gdpr"}).Draw(t, "regime")
		}
		rule["id"] = regime + ".new"
		text, err := json.Marshal(map[string]any{"extends": regime, "rules": []any{rule}})
		require.NoError(t, err)
		more, err := r.With(residency.RuleFile{Name: "new.json", Data: text})
		require.NoError(t, err)
		after := decided(t, more, q)
		if kind == "permit" {
			require.GreaterOrEqual(t, rank(after.Rules), rank(before.Rules), "%s\n%s", explain(before), explain(after))
		} else {
			stricter(t, before, after)
		}
	})
}

// Until a decision expires the answer is the same; and it has an end at all only if something ends.
func TestExpiresIsNeverTooLate(t *testing.T) {
	r := rules(t)
	w := newWorld(r)
	rapid.Check(t, func(t *rapid.T) {
		q := w.request(t)
		q.AsOf = residency.Day{}
		if rapid.Bool().Draw(t, "early") {
			// Most of the changes of law are in the past.
			q.Now = time.Date(2011, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 15*365*24).Draw(t, "hour")) * time.Hour)
			if q.Target.Location.Provider != "" {
				q.Target.Location.At = q.Now
			}
			q.Override = nil
		}
		d := decided(t, r, q)
		horizon := q.Now.AddDate(3, 0, 0)
		end := d.Expires
		if end.IsZero() || end.After(horizon) {
			end = horizon
		} else {
			require.True(t, end.After(q.Now), "it ended before it was asked: %s", d.ExpiresBy)
			require.NotEmpty(t, d.ExpiresBy)
		}
		moment := q.Now.Add(time.Duration(rapid.Int64Range(0, int64(end.Sub(q.Now))-1).Draw(t, "later")))
		for _, at := range []time.Time{moment, end.Add(-1)} {
			later := q
			later.Now = at
			then := decided(t, r, later)
			require.Equal(t, d.Verdict, then.Verdict, "at %s, though it expires at %s by %s:\n%s\n%s", at, d.Expires, d.ExpiresBy, explain(d), explain(then))
			require.Equal(t, d.Facts, then.Facts)
		}
	})
}

// Whatever is decided says why, and what is not known says what is missing.
func TestEveryDecisionExplains(t *testing.T) {
	r := rules(t)
	w := newWorld(r)
	rapid.Check(t, func(t *rapid.T) {
		d := decided(t, r, w.request(t))
		worst := residency.Allowed
		for _, s := range d.Reasons {
			require.NotEmpty(t, s.Text)
			require.NotEmpty(t, s.Regime)
			if rank(s.Verdict) < rank(worst) {
				worst = s.Verdict
			}
		}
		require.NotEmpty(t, d.Reasons)
		switch d.Rules {
		case residency.Denied:
			require.Equal(t, residency.Denied, worst, "%s", explain(d))
		case residency.Unknown:
			require.NotEmpty(t, d.Missing, "%s", explain(d))
			require.NotEqual(t, residency.Allowed, worst, "%s", explain(d))
		case residency.Allowed:
			require.Empty(t, d.Missing, "%s", explain(d))
			require.Equal(t, residency.Allowed, worst, "%s", explain(d))
		}
		if d.Verdict != d.Rules {
			require.NotNil(t, d.Override)
			require.Equal(t, residency.Allowed, d.Verdict)
		}
		if d.Verdict != residency.Allowed {
			require.Empty(t, d.Obligations)
		}
		require.Equal(t, fmt.Sprint(slices.Sorted(slices.Values(d.Places))), fmt.Sprint(d.Places))
	})
}
