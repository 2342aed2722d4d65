package router_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/router"
)

// at is when the tests below take place; all shipped rules have been reviewed then.
var at = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// europe are four sites of a practice in France: one in Frankfurt, one in Virginia whose provider is listed under the Data
// Privacy Framework, one in Paris and one in Zurich that are spare.
func europe(p *process) []router.Site {
	sites := p.sites()
	for i, v := range []struct {
		provider, region string
		papers           []residency.Paper
	}{
		{"aws", "eu-central-1", nil},
		{"aws", "us-east-1", []residency.Paper{{Kind: "dpf-listing", From: residency.Day{Year: 2025, Month: 1, Day: 1}, Until: residency.Day{Year: 2027, Month: 1, Day: 15}}}},
		{"aws", "eu-west-3", nil},
		{"aws", "eu-central-2", nil},
	}[:len(sites)] {
		sites[i].Target = residency.Target{
			Location: residency.Location{Provider: v.provider, Region: v.region, Level: residency.Observed, At: at.Add(-time.Hour)},
			Custody:  residency.Custody{Holder: residency.CustomerHeld}, Papers: v.papers,
		}
	}
	return sites
}

var irish = residency.Subject{Class: residency.Identifiable, Origins: []residency.Place{"IE"}}

func openEurope(t *testing.T, w *world, n int) *router.Router {
	rules, err := residency.Rules()
	require.NoError(t, err)
	o := w.opts
	o.Now = func() time.Time { return at }
	r, err := router.Open(t.Context(), rules, irish, europe(w.process())[:n], &o)
	require.NoError(t, err)
	return r
}

func TestReevaluateAndWhatIf(t *testing.T) {
	w := newWorld(t, 2, "fra", "iad", "cdg", "zrh")
	w.opts.Placement.Copies = 2
	require.NoError(t, openEurope(t, w, 2).Close(t.Context()))
	r := openEurope(t, w, 4)
	reported := seed(t, r, 5)

	v, err := r.Reevaluate(t.Context(), residency.Day{})
	require.NoError(t, err)
	require.Empty(t, v.Violations)
	require.Empty(t, v.Lacks)
	require.True(t, v.Enough)
	require.Equal(t, []string{"cdg", "zrh"}, v.Spare)
	require.Len(t, v.Sites, 4)
	require.EqualValues(t, 5, v.Sites[1].Objects)
	require.EqualValues(t, 40, v.Sites[1].Bytes)
	require.Equal(t, []string{"2 sites"}, v.Sites[1].Lacks)
	require.Equal(t, residency.Allowed, v.Sites[1].Stay.Verdict)
	require.True(t, v.Sites[0].Home)
	require.False(t, v.Sites[2].Enrolled)

	// The listing of the provider ends in January: the same question a day later has another answer.
	v, err = r.Reevaluate(t.Context(), residency.Day{Year: 2027, Month: 1, Day: 15})
	require.NoError(t, err)
	require.Equal(t, []string{"iad"}, v.Violations)
	require.Equal(t, []string{"2 sites"}, v.Lacks)
	require.True(t, v.Enough)

	day := residency.Day{Year: 2026, Month: 12, Day: 1}
	what, err := r.WhatIf(t.Context(), "eu-gdpr.adequacy.us-dpf", day)
	require.NoError(t, err)
	require.Equal(t, []string{"iad"}, what.Hit)
	require.EqualValues(t, 5, what.Objects)
	require.EqualValues(t, 40, what.Bytes)
	require.True(t, what.Enough)
	require.Equal(t, []string{"cdg", "zrh"}, what.Spare)
	require.Empty(t, what.Before.Violations)
	require.Equal(t, []string{"iad"}, what.After.Violations)

	// Without the spare sites there is nowhere to go, and that is said.
	what, err = openEurope(t, w, 2).WhatIf(t.Context(), "eu-gdpr.adequacy.us-dpf", day)
	require.NoError(t, err)
	require.False(t, what.Enough)
	require.Empty(t, what.Spare)
	require.Equal(t, []string{"2 sites"}, what.After.Lacks)

	_, err = r.WhatIf(t.Context(), "eu-gdpr.no-such", day)
	require.Error(t, err)
	plain, err := router.Open(t.Context(), allow{}, irish, europe(w.process()), &w.opts)
	require.NoError(t, err)
	_, err = plain.WhatIf(t.Context(), "eu-gdpr.adequacy.us-dpf", day)
	require.ErrorContains(t, err, "residency.Ruleset")

	// And then it is done: out of Virginia into Paris.
	_, err = r.Migrate(t.Context(), planned(t, r, migration("iad", "cdg")), nil)
	require.NoError(t, err)
	what, err = openEurope(t, w, 4).WhatIf(t.Context(), "eu-gdpr.adequacy.us-dpf", day)
	require.NoError(t, err)
	require.Empty(t, what.After.Violations)
	require.Equal(t, []string{"iad"}, what.Hit, "nothing could go back there")
	require.Zero(t, what.Objects)
	require.NoError(t, w.check(2, reported, "iad"))
}

// TestEveryJudicialEndHasAnAnswer asks what would be if any of the rules that ship with the package were voided by a court.
func TestEveryJudicialEndHasAnAnswer(t *testing.T) {
	rules, err := residency.Rules()
	require.NoError(t, err)
	w := newWorld(t, 2, "fra", "iad", "cdg", "zrh")
	w.opts.Placement.Copies = 2
	require.NoError(t, openEurope(t, w, 2).Close(t.Context()))
	r := openEurope(t, w, 4)
	seed(t, r, 1)
	asked, hit := 0, 0
	for _, rule := range rules.Rules() {
		if rule.Ends != "judicial" {
			continue
		}
		asked++
		what, err := r.WhatIf(t.Context(), rule.ID, residency.Day{Year: 2026, Month: 11, Day: 26})
		require.NoError(t, err, rule.ID)
		require.True(t, what.Enough, rule.ID)
		require.Subset(t, []string{"iad"}, what.Hit, rule.ID)
		require.Equal(t, what.Hit, what.After.Violations, rule.ID)
		hit += len(what.Hit)
		if len(what.Hit) > 0 {
			require.EqualValues(t, 1, what.Objects)
		}
	}
	require.GreaterOrEqual(t, asked, 5)
	require.Equal(t, 1, hit)
}

// TestTheStrictestViolationComesFirst orders by why a site does not do.
func TestTheStrictestViolationComesFirst(t *testing.T) {
	rules, err := residency.Rules()
	require.NoError(t, err)
	w := newWorld(t, 1, "unknown", "china", "iad")
	o := w.opts
	o.Now = func() time.Time { return at }
	p := w.process()
	sites := p.sites()
	r, err := router.Open(t.Context(), allow{}, irish, sites, &o)
	require.NoError(t, err)
	seed(t, r, 3)
	sites[1].Target.Location = residency.Location{Places: []residency.Place{"CN"}}
	for kind := range rules.PaperKinds() { // it is known that there is none
		sites[1].Target.Papers = append(sites[1].Target.Papers, residency.Paper{Kind: kind, Refuted: true})
	}
	sites[2].Target = europe(newWorld(t, 1, "a", "b").process())[1].Target
	r, err = router.Open(t.Context(), rules, irish, sites, &o)
	require.NoError(t, err)
	what, err := r.WhatIf(t.Context(), "eu-gdpr.adequacy.us-dpf", residency.Day{Year: 2026, Month: 11, Day: 1})
	require.NoError(t, err)
	require.Equal(t, []string{"china", "unknown"}, what.Before.Violations)
	require.Equal(t, []string{"iad", "china", "unknown"}, what.After.Violations)
}

// The day on which rules that ship are believed no longer is warned of in time, and moves when somebody renews them.
func TestReviewsAreSeenComing(t *testing.T) {
	rules, err := residency.Rules()
	require.NoError(t, err)
	renewed, err := rules.With(residency.RuleFile{Name: "reviews.json", Data: []byte(`{"reviews": [{"by": "Example Clinical Software",
		"rules": ["eu-gdpr.union"], "checked": "2027-05-20", "reviewBy": "2027-11-20", "sources": ["EUR-Lex"]}]}`)})
	require.NoError(t, err)
	ends := map[*residency.Ruleset]time.Time{ // Brussels is an hour or two ahead
		rules: time.Date(2027, 5, 22, 22, 0, 0, 0, time.UTC), renewed: time.Date(2027, 11, 20, 23, 0, 0, 0, time.UTC),
	}
	for r, end := range ends {
		for days, want := range map[int]string{181: "", 180: "notice", 91: "notice", 90: "warning", 31: "warning", 30: "urgent", 1: "urgent", 0: "urgent"} {
			now := end.Add(-time.Duration(days) * 24 * time.Hour)
			target := residency.Target{Location: residency.Location{Places: []residency.Place{"IE"}}}
			d, err := r.Decide(residency.Request{Subject: irish, Target: target, Now: now})
			require.NoError(t, err)
			require.Equal(t, days > 0, d.Verdict == residency.Allowed, "%d days before: %s", days, d.Verdict)
			got := router.Expiring("dub", d, target, nil, now)
			if want == "" || days == 0 {
				require.Empty(t, got, "%d days before", days)
				continue
			}
			require.Len(t, got, 1, "%d days before", days)
			require.Equal(t, router.Warning{Site: "dub", Severity: want, Text: "the validity of the rules' last review ends", Ends: end}, got[0])
		}
	}
}

func TestExpiring(t *testing.T) {
	day := func(n int) time.Time { return at.Add(time.Duration(n) * 24 * time.Hour) }
	d := residency.Decision{
		Verdict: residency.Allowed, Expires: day(25), ExpiresBy: "evidence.age",
		Endings: []residency.Ending{
			{At: day(3), By: "override ov-1"}, {At: day(25), By: "evidence.age"},
			{At: time.Date(2027, 1, 25, 0, 0, 0, 0, time.UTC), By: "uk-gdpr.adequate.eea"},
			{At: time.Date(2027, 4, 30, 0, 0, 0, 0, time.UTC), By: "review of one"},
			{At: time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC), By: "paper hds"},
			{At: time.Date(2027, 5, 2, 0, 0, 0, 0, time.UTC), By: "review of another"},
			{At: time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC), By: "far"},
		},
	}
	target := residency.Target{
		Location: residency.Location{Level: residency.Observed, At: day(-5)},
		Papers: []residency.Paper{
			{Kind: "c5-report", Until: residency.Day{Year: 2026, Month: 11, Day: 1}},
			{Kind: "hds", Until: residency.Day{Year: 2027, Month: 5, Day: 1}}, {Kind: "open"},
			{Kind: "refuted", Until: residency.Day{Year: 2026, Month: 12, Day: 1}, Refuted: true},
		},
	}
	over := &residency.Override{ID: "ov-1", Until: day(3)}
	got := router.Expiring("fra", d, target, over, at)
	type line struct{ severity, text string }
	var lines []line
	for _, w := range got {
		require.Equal(t, "fra", w.Site)
		lines = append(lines, line{w.Severity, w.Text})
	}
	require.Equal(t, []line{
		{"urgent", "the paper c5-report has ended"},
		{"urgent", "the override ov-1 ends"},
		{"warning", "the decision that rests on uk-gdpr.adequate.eea ends"},
		{"notice", "the validity of the rules' last review ends"},
		{"notice", "the paper hds ends"},
	}, lines)
	require.Equal(t, got, router.Expiring("fra", d, target, over, at), "it is a pure function")
	// Thresholds: 180, 90 and 30 days. The look at a location is warned of for ten days.
	paper := residency.Target{Papers: []residency.Paper{{Kind: "c5-report", Until: residency.Day{Year: 2027, Month: 6, Day: 1}}}}
	ends := time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC)
	for days, want := range map[int]string{181: "", 180: "notice", 91: "notice", 90: "warning", 31: "warning", 30: "urgent", 0: "urgent", -400: "urgent"} {
		got := router.Expiring("fra", residency.Decision{}, paper, nil, ends.Add(-time.Duration(days)*24*time.Hour))
		if want == "" {
			require.Empty(t, got)
			continue
		}
		require.Len(t, got, 1, "%d days", days)
		require.Equal(t, want, got[0].Severity, "%d days", days)
	}
	look := residency.Target{Location: residency.Location{Level: residency.Observed, At: at}}
	require.Empty(t, router.Expiring("fra", residency.Decision{}, look, nil, day(19)))
	require.Len(t, router.Expiring("fra", residency.Decision{}, look, nil, day(21)), 1)
}
