package residency_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/residency"
)

func TestKnownThen(t *testing.T) {
	r := rules(t)
	for _, c := range []struct {
		name, where, papers string
		asOf, known         string
		want                residency.Verdict
		until               string // of the rule that allows
	}{
		{"the first extension was not adopted yet", "aws eu-west-2", "no:scc no:bcr", "2025-07-01", "2025-06-23", D, ""},
		{"it was adopted on this day", "aws eu-west-2", "no:scc no:bcr", "2025-07-01", "2025-06-24", A, "2025-12-28"},
		{"the renewal was not known", "aws eu-west-2", "no:scc no:bcr", "2026-01-01", "2025-12-18", D, ""},
		{"the renewal", "aws eu-west-2", "no:scc no:bcr", "2026-01-01", "2025-12-19", A, "2031-12-28"},
		{"the day before the judgment the Shield had no end", "aws us-east-1", "privacy-shield-listing no:scc no:bcr", "2020-08-01", "2020-07-15", A, ""},
		{"and then it had", "aws us-east-1", "privacy-shield-listing no:scc no:bcr", "2020-08-01", "2020-07-16", D, ""},
		{"and before that date it still holds", "aws us-east-1", "privacy-shield-listing no:scc no:bcr", "2020-07-01", "2026-01-01", A, "2020-07-16"},
		{"the Shield was unknown", "aws us-east-1", "privacy-shield-listing no:scc no:bcr", "2016-08-01", "2016-07-11", D, ""},
		{"nobody knew that the United Kingdom would leave", "aws eu-west-2", "no:scc no:bcr", "2020-06-01", "2019-06-01", A, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := ask("IE", c.where, c.papers)
			q.AsOf, q.Known = day(t, c.asOf), day(t, c.known)
			d := decide(t, r, q)
			require.Equal(t, c.want, d.Verdict, explain(d))
			for _, s := range d.Reasons {
				if s.Verdict == A && s.Regime == "eu-gdpr" {
					require.Equal(t, c.until, s.Until.String())
				}
			}
		})
	}
}

func TestBoundary(t *testing.T) {
	r, err := rules(t).With(residency.RuleFile{Name: "vendor.json", Data: []byte(`{"extends": "eu-gdpr", "rules": [
		{"id": "eu-gdpr.adequacy.gb", "amends": true, "values": [], "checked": "2031-12-01", "reviewBy": "2032-12-01", "sources": ["read again"]}]}`)})
	require.NoError(t, err)
	q := ask("IE", "GB", "")
	for asOf, warned := range map[int]bool{26: false, 27: true} {
		q.Now = time.Date(2031, 12, asOf, 12, 0, 0, 0, time.UTC)
		d := decide(t, r, q)
		require.Equal(t, A, d.Verdict)
		require.Equal(t, warned, len(d.Warnings) == 1, "%v", d.Warnings)
		if warned {
			require.Contains(t, d.Warnings[0], "expires on 2031-12-27")
		}
		require.Equal(t, "2031-12-28T00:00:00+01:00", d.Expires.In(mustZone(t, "Europe/Brussels")).Format(time.RFC3339))
		require.Equal(t, "eu-gdpr.adequacy.gb", d.ExpiresBy)
	}
}

func mustZone(t testing.TB, name string) *time.Location {
	z, err := time.LoadLocation(name)
	require.NoError(t, err)
	return z
}

func TestZones(t *testing.T) {
	r := rules(t)
	q := ask("US-TX", "aws ca-central-1", "baa")
	q.Target.Location.At = time.Date(2025, 12, 31, 12, 0, 0, 0, time.UTC)
	q.Now = time.Date(2026, 1, 1, 5, 59, 59, 0, time.UTC)
	d := decide(t, r, q)
	require.Equal(t, A, d.Verdict, explain(d))
	require.Equal(t, time.Date(2026, 1, 1, 6, 0, 0, 0, time.UTC), d.Expires, "a rule that begins ends an allowance")
	require.Equal(t, "us-tx.183-002", d.ExpiresBy)
	q.Now = d.Expires
	require.Equal(t, D, decide(t, r, q).Verdict)
}

func TestReviewOverdue(t *testing.T) {
	r := rules(t)
	q := ask("IE", "aws eu-west-1", "")
	q.Now = time.Date(2027, 5, 22, 21, 59, 59, 0, time.UTC)
	q.Target.Location.At = q.Now
	d := decide(t, r, q)
	require.Equal(t, A, d.Verdict, explain(d))
	require.Equal(t, q.Now.Add(time.Second), d.Expires, "the day after the review was due, in Brussels")
	require.Equal(t, "review of eu-gdpr.union", d.ExpiresBy)
	q.Now = d.Expires
	for _, asOf := range []residency.Day{{}, day(t, "2026-11-22")} {
		q.AsOf = asOf
		d = decide(t, r, q)
		require.Equal(t, U, d.Verdict, explain(d))
		require.Contains(t, d.Missing, residency.Missing{Rule: "eu-gdpr.union", Fact: "a review of the rule, which was due by 2027-05-22"})
	}
	// What a court ended needs no review: it stays denied.
	q = ask("IE", "aws us-east-1", "privacy-shield-listing no:scc no:bcr no:dpf-listing")
	q.AsOf = day(t, "2021-01-01")
	q.Now = time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	q.Target.Location.At = q.Now
	d = decide(t, r, q)
	require.NotContains(t, fmt.Sprint(d.Missing), "privacy-shield")

	// Somebody reviews the rule, and says so in a file of their own.
	reviewed, err := r.With(residency.RuleFile{Name: "vendor.json", Data: []byte(`{"extends": "eu-gdpr", "rules": [
		{"id": "eu-gdpr.union", "amends": true, "values": [], "checked": "2027-05-20", "reviewBy": "2028-05-20", "sources": ["read again"]}]}`)})
	require.NoError(t, err)
	reviewed, err = reviewed.With(residency.RuleFile{Name: "vendor-us.json", Data: []byte(`{"extends": "us-cloud-act", "rules": [
		{"id": "us-cloud-act.advice", "amends": true, "values": [], "checked": "2027-05-20", "reviewBy": "2028-05-20", "sources": ["read again"]},
		{"id": "us-cloud-act.avoid", "amends": true, "values": [], "checked": "2027-05-20", "reviewBy": "2028-05-20", "sources": ["read again"]}]}`)})
	require.NoError(t, err)
	q = ask("IE", "aws eu-west-1", "")
	q.Now = time.Date(2027, 5, 23, 12, 0, 0, 0, time.UTC)
	q.Target.Location.At = q.Now
	require.Equal(t, A, decide(t, reviewed, q).Rules, explain(decide(t, reviewed, q)))
	require.Equal(t, U, decide(t, r, q).Rules)
	require.NotEqual(t, r.Digest(), reviewed.Digest())
}

// Where silence allows, a rule that nobody looked at again makes the regime unknown, also where it speaks of other places.
func TestReviewOverdueElsewhere(t *testing.T) {
	const file = `{"regime": "ke", "title": "Kenya", "zone": "Africa/Nairobi", "binds": {"origins": ["KE"]}, "default": "allow", "inForce": [{"from": "2020-01-01", "known": "2020-01-01", "ref": "an act"}], "rules": [
		{"id": "ke.china", "kind": "forbid", "strength": "law", "title": "not there", "places": ["CN"],
		"values": [{"from": "2020-01-01", "known": "2020-01-01", "ref": "an act"}], "confirmed": true,
		"checked": "2026-11-01", "reviewBy": "2027-02-01", "sources": ["the act"]},
		{"id": "ke.repealed", "kind": "forbid", "strength": "law", "title": "nor there", "places": ["IN"],
		"values": [{"from": "2020-01-01", "until": "2021-01-01", "known": "2020-01-01", "ref": "an act"}], "ends": "repeal", "confirmed": true,
		"checked": "2026-11-01", "reviewBy": "2027-01-01", "sources": ["the act"]},
		{"id": "ke.draft", "kind": "forbid", "strength": "law", "title": "nor here", "places": ["IN"],
		"values": [{"from": "2020-01-01", "known": "2020-01-01", "ref": "a draft"}], "confirmed": false,
		"checked": "2026-11-01", "reviewBy": "2027-01-01", "sources": ["the draft"], "note": "a draft"}]}`
	r, err := rules(t).With(residency.RuleFile{Name: "ke.json", Data: []byte(file)})
	require.NoError(t, err)
	q := ask("KE", "KE", "")
	d := decide(t, r, q)
	require.Equal(t, A, d.Verdict, explain(d))
	require.Equal(t, time.Date(2027, 2, 1, 21, 0, 0, 0, time.UTC), d.Expires, "the day after, in Nairobi")
	require.Equal(t, "review of ke.china", d.ExpiresBy)
	q.Now = d.Expires.Add(-time.Second)
	require.Equal(t, A, decide(t, r, q).Verdict)
	q.Now = d.Expires
	d = decide(t, r, q)
	require.Equal(t, U, d.Verdict, explain(d))
	require.Equal(t, []residency.Missing{{Rule: "ke.china", Fact: "review of ke.china"}}, d.Missing)

	// A regime that does not bind is not asked who looked at it.
	q = ask("IE", "IE", "")
	q.Now = d.Now
	require.Equal(t, A, decide(t, r, q).Verdict, explain(decide(t, r, q)))
}

func TestGrandfather(t *testing.T) {
	r := rules(t)
	q := ask("IE", "aws ap-south-1", "tia no:bcr")
	q.Target.Custody = residency.Custody{Holder: residency.CustomerHeld, Places: places("IE")}
	for _, c := range []struct {
		signed, asOf string
		want         residency.Verdict
	}{
		{"2021-09-26", "2021-09-26", A}, {"2021-09-26", "2021-09-27", A}, {"2021-09-26", "2022-12-27", A}, {"2021-09-26", "2022-12-28", U},
		{"2021-09-27", "2021-09-27", U}, {"2021-09-27", "2022-01-01", U}, {"", "2022-01-01", U},
	} {
		scc := residency.Paper{Kind: "scc", Scope: []string{"2010"}}
		if c.signed != "" {
			scc.From = day(t, c.signed)
		}
		q.Target.Papers = append(papers("tia no:bcr"), scc)
		q.AsOf = day(t, c.asOf)
		d := decide(t, r, q)
		require.Equal(t, c.want, d.Verdict, "%v: %s", c, explain(d))
		if c.want == A && c.asOf >= "2021-09-27" {
			require.Equal(t, day(t, "2022-12-28"), dayIn(d.Expires, "Europe/Brussels", t))
		}
	}
}

// What is kept in force for old contracts is kept for the clauses that were replaced, signed in time, and no longer.
func TestGrandfatheredClauses(t *testing.T) {
	r := rules(t)
	eu := ask("IE", "aws ap-south-1", "tia no:bcr")
	eu.Target.Custody = residency.Custody{Holder: residency.CustomerHeld, Places: places("IE")}
	gb := ask("GB", "aws ap-south-1", "tra no:idta no:uk-addendum")
	old := residency.Paper{Kind: "scc", Scope: []string{"2010"}}
	for _, c := range []struct {
		name   string
		q      residency.Request
		last   string // day on which a contract could be signed
		over   string // the first day on which it no longer serves
		zone   string
		others string
		not    string // clauses that are not those
	}{
		{"the Union", eu, "2021-09-26", "2022-12-28", "Europe/Brussels", "tia no:bcr", "2004"},
		{"the United Kingdom", gb, "2022-09-21", "2024-03-21", "Europe/London", "tra no:idta no:uk-addendum", "2021"},
	} {
		other := residency.Paper{Kind: "scc", Scope: []string{c.not}}
		last, over := day(t, c.last), day(t, c.over)
		judge := func(on residency.Day, have ...residency.Paper) residency.Decision {
			q := c.q
			q.Target.Papers, q.AsOf = append(papers(c.others), have...), on
			return decide(t, r, q)
		}
		signed := func(p residency.Paper, from residency.Day) residency.Paper {
			p.From = from
			return p
		}
		for _, on := range []residency.Day{last, last.AddDays(1), over.AddDays(-1)} {
			d := judge(on, signed(old, last))
			require.Equal(t, A, d.Verdict, "%s on %s: %s", c.name, on, explain(d))
			if on != last {
				require.Equal(t, over, dayIn(d.Expires, c.zone, t), "%s on %s", c.name, on)
			}
		}
		require.NotEqual(t, A, judge(over, signed(old, last)).Verdict, "%s: over", c.name)
		for name, have := range map[string][]residency.Paper{
			"signed too late":             {signed(old, last.AddDays(1))},
			"signed nobody knows when":    {old},
			"other clauses in time":       {signed(other, last)},
			"other in time, old too late": {signed(other, last), signed(old, last.AddDays(1))},
		} {
			require.NotEqual(t, A, judge(last.AddDays(1), have...).Verdict, "%s: %s", c.name, name)
		}
		ended := signed(old, last)
		ended.Until = over.AddDays(-10)
		require.Equal(t, A, judge(over.AddDays(-11), ended).Verdict, c.name)
		require.NotEqual(t, A, judge(over.AddDays(-10), ended).Verdict, "%s: the contract itself is over", c.name)
		both := []residency.Paper{signed(old, last), signed(other, last)}
		require.Equal(t, A, judge(last.AddDays(1), both...).Verdict, c.name)
	}
}

func dayIn(at time.Time, zone string, t testing.TB) residency.Day {
	y, m, d := at.In(mustZone(t, zone)).Date()
	return residency.Day{Year: y, Month: m, Day: d}
}

func TestPapers(t *testing.T) {
	r := rules(t)
	q := ask("IE", "aws us-east-1", "")
	others := papers("no:scc no:bcr")
	listed := residency.Paper{Kind: "dpf-listing", From: day(t, "2024-01-01"), Until: day(t, "2025-01-01")}
	refuted := residency.Paper{Kind: "dpf-listing", From: day(t, "2024-06-01"), Until: day(t, "2024-07-01"), Refuted: true}
	for _, c := range []struct {
		papers []residency.Paper
		asOf   string
		want   residency.Verdict
	}{
		{[]residency.Paper{listed}, "2023-12-31", U}, {[]residency.Paper{listed}, "2024-01-01", A},
		{[]residency.Paper{listed}, "2024-12-31", A}, {[]residency.Paper{listed}, "2025-01-01", U},
		{[]residency.Paper{listed, refuted}, "2024-05-31", A}, {[]residency.Paper{listed, refuted}, "2024-06-01", D},
		{[]residency.Paper{refuted, listed}, "2024-06-30", D}, {[]residency.Paper{refuted, listed}, "2024-07-01", A},
	} {
		q.Target.Papers, q.AsOf = append(others, c.papers...), day(t, c.asOf)
		d := decide(t, r, q)
		require.Equal(t, c.want, d.Verdict, "%s: %s", c.asOf, explain(d))
	}
	q.Target.Papers, q.AsOf = append(others, listed, refuted), day(t, "2024-02-01")
	d := decide(t, r, q)
	require.Equal(t, day(t, "2024-06-01"), dayIn(d.Expires, "Europe/Brussels", t))
	require.Equal(t, "paper dpf-listing", d.ExpiresBy)

	q = ask("IE", "aws eu-west-1", "lorry")
	require.Equal(t, []string{"no rule asks for a paper of kind lorry"}, decide(t, r, q).Warnings)
}

func TestEndRule(t *testing.T) {
	r := rules(t)
	q := ask("IE", "aws us-east-1", "dpf-listing no:scc no:bcr")
	require.Equal(t, A, decide(t, r, q).Verdict)
	tomorrow := day(t, "2026-11-23")
	for _, id := range []string{"eu-gdpr.adequacy.us-dpf", "paper:dpf-listing"} {
		ended, err := r.EndRule(id, tomorrow)
		require.NoError(t, err)
		d := decide(t, ended, q)
		require.Equal(t, A, d.Verdict, "until then it holds")
		require.Equal(t, tomorrow, dayIn(d.Expires, "Europe/Brussels", t))
		q.AsOf = tomorrow
		require.NotEqual(t, A, decide(t, ended, q).Verdict)
		require.Equal(t, A, decide(t, r, q).Verdict, "the ruleset itself is as it was")
		require.NotEqual(t, r.Digest(), ended.Digest())
		earlier, err := ended.EndRule(id, day(t, "2026-11-20"))
		require.NoError(t, err)
		q.AsOf = day(t, "2026-11-21")
		require.NotEqual(t, A, decide(t, earlier, q).Verdict)
		q.AsOf = residency.Day{}
	}
	// Rules that refer to others end with them.
	q = ask("GB", "aws us-east-1", "dpf-listing/uk-extension no:idta no:uk-addendum no:scc")
	q.Subject.Tags = []residency.Tag{"nhs"}
	require.Equal(t, A, decide(t, r, q).Verdict)
	ended, err := r.EndRule("uk-gdpr.adequate.us-data-bridge", day(t, "2026-11-22"))
	require.NoError(t, err)
	d := decide(t, ended, q)
	require.Equal(t, D, d.Verdict)
	require.Contains(t, explain(d), "uk-nhs")

	for id, want := range map[string]string{"nothing.here": "no rule of that name", "paper:nothing": "no rule asks for papers"} {
		_, err := r.EndRule(id, tomorrow)
		require.ErrorContains(t, err, want)
	}
	_, err = r.EndRule("eu-gdpr.union", residency.Day{})
	require.ErrorContains(t, err, "first day")
}
