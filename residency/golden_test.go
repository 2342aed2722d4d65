package residency_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/civil"
	"github.com/carekeep/carekeep/residency"
)

// now is when the golden cases are asked: the day on which the rules that ship were checked.
var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const (
	A = residency.Allowed
	D = residency.Denied
	U = residency.Unknown
)

func day(t testing.TB, s string) residency.Day {
	d, err := civil.ParseDay(s)
	require.NoError(t, err)
	return d
}

func rules(t testing.TB) *residency.Ruleset {
	r, err := residency.Rules()
	require.NoError(t, err)
	return r
}

// papers makes papers of words such as "dpf-listing/uk-extension", and refuted ones of "no:scc".
func papers(words string) []residency.Paper {
	var out []residency.Paper
	for _, w := range strings.Fields(words) {
		w, refuted := strings.CutPrefix(w, "no:")
		kind, scope, scoped := strings.Cut(w, "/")
		p := residency.Paper{Kind: kind, Refuted: refuted}
		if scoped {
			p.Scope = strings.Split(scope, ",")
		}
		out = append(out, p)
	}
	return out
}

func places(words string) []residency.Place {
	var out []residency.Place
	for _, w := range strings.Fields(words) {
		out = append(out, residency.Place(w))
	}
	return out
}

// at is a target at a provider, seen by its interface an hour ago, or declared places.
func at(where string) residency.Target {
	provider, region, ok := strings.Cut(where, " ")
	if len(provider) == 2 || strings.Contains(where, "-") && !ok {
		return residency.Target{Location: residency.Location{Places: places(where)}}
	}
	region, redundancy, _ := strings.Cut(region, " ")
	return residency.Target{Location: residency.Location{Provider: provider, Region: region, Redundancy: redundancy,
		Level: residency.Observed, At: now.Add(-time.Hour)}}
}

// golden are the cases of the research, with the day before and after wherever a date decides.
var golden = []struct {
	name, origins, tags, where, papers string
	custody                            residency.Custody
	class                              residency.Class
	days                               map[string]residency.Verdict
	obliges                            string // a code among the obligations where it is allowed
	rule                               string // that is among the reasons
	places                             string
	enable                             string
}{
	{name: "1 Safe Harbour", origins: "IE", where: "aws us-east-1", papers: "safe-harbour-listing no:scc no:bcr",
		days: map[string]residency.Verdict{"2015-10-05": A, "2015-10-06": D}},
	{name: "2 Privacy Shield", origins: "IE", where: "aws us-east-1", papers: "privacy-shield-listing no:scc no:bcr",
		days: map[string]residency.Verdict{"2016-07-11": D, "2016-07-12": A, "2020-07-15": A, "2020-07-16": D}},
	{name: "3 clauses, ciphertext, keys in the EEA", origins: "IE", where: "aws us-east-1", papers: "scc/2010 tia",
		custody: residency.Custody{Holder: residency.CustomerHeld, Places: places("IE")}, obliges: "keep-keys-with-exporter",
		days: map[string]residency.Verdict{"2020-07-16": A}},
	{name: "3 clauses, provider holds the keys", origins: "IE", where: "aws us-east-1", papers: "scc/2010 tia no:bcr",
		custody: residency.Custody{Holder: residency.ProviderHeld, Places: places("IE")},
		days:    map[string]residency.Verdict{"2020-07-15": A, "2020-07-16": D}},
	{name: "4 Data Privacy Framework", origins: "IE", where: "aws us-east-1", papers: "dpf-listing no:scc no:bcr", obliges: "watch-dpf",
		days: map[string]residency.Verdict{"2023-07-09": D, "2023-07-10": A, "2026-11-22": A}},
	{name: "5 listing not known", origins: "IE", where: "aws us-east-1", days: map[string]residency.Verdict{"2026-11-22": U}},
	{name: "6 7 8 the United Kingdom", origins: "IE", where: "aws eu-west-2", papers: "no:scc no:bcr",
		days: map[string]residency.Verdict{"2020-01-31": A, "2020-02-01": A, "2020-12-31": A, "2021-01-01": A, "2021-01-15": A, "2021-06-27": A,
			"2021-06-28": A, "2021-07-01": A, "2025-06-27": A, "2025-06-28": A, "2025-12-27": A, "2025-12-28": A, "2031-12-27": A, "2031-12-28": D}},
	{name: "9 Brazil", origins: "IE", where: "aws sa-east-1", papers: "lgpd-recipient no:scc no:bcr",
		days: map[string]residency.Verdict{"2026-01-25": D, "2026-01-26": A}},
	{name: "10 Canada, a public hospital", origins: "IE", where: "aws ca-central-1", papers: "no:pipeda no:scc no:bcr",
		days: map[string]residency.Verdict{"2026-11-22": D}},
	{name: "10 Canada, a company", origins: "IE", where: "aws ca-central-1", papers: "pipeda",
		days: map[string]residency.Verdict{"2001-12-19": D, "2001-12-20": A, "2026-11-22": A}},
	{name: "11 Korea", origins: "GB", where: "aws ap-northeast-2", papers: "no:idta no:uk-addendum no:scc",
		days: map[string]residency.Verdict{"2022-12-18": D, "2022-12-19": A}},
	{name: "12 data bridge", origins: "GB", where: "aws us-east-1", papers: "dpf-listing/uk-extension no:idta no:uk-addendum no:scc",
		days: map[string]residency.Verdict{"2023-10-11": D, "2023-10-12": A}},
	{name: "12 without the extension", origins: "GB", where: "aws us-east-1", papers: "dpf-listing no:idta no:uk-addendum no:scc",
		days: map[string]residency.Verdict{"2023-10-12": U}},
	{name: "13 14 the first NHS guidance", origins: "GB", tags: "nhs", where: "aws us-east-1", papers: "privacy-shield-listing no:scc no:bcr no:idta no:uk-addendum",
		days: map[string]residency.Verdict{"2018-06-01": A, "2020-07-15": A, "2020-07-16": D, "2021-06-01": D}},
	{name: "15 NHS England without approval", origins: "GB", tags: "nhs-england", where: "aws eu-west-1", papers: "no:siro-approval no:emt-approval",
		days: map[string]residency.Verdict{"2026-11-22": D}},
	{name: "15 NHS England, approval not known", origins: "GB", tags: "nhs-england", where: "aws eu-west-1", papers: "siro-approval risk-assessment",
		days: map[string]residency.Verdict{"2026-11-22": U}},
	{name: "15 NHS England with approval", origins: "GB", tags: "nhs-england", where: "aws eu-west-1", papers: "siro-approval emt-approval risk-assessment",
		days: map[string]residency.Verdict{"2026-11-22": A}},
	{name: "16 German statutory care", origins: "DE", tags: "de-statutory", where: "aws eu-central-1", papers: "c5/type-1 no:c5/type-2 no:c5-equivalent de-establishment",
		days: map[string]residency.Verdict{"2024-06-30": A, "2024-07-01": A, "2025-06-30": A, "2025-07-01": D}},
	{name: "16 with type 2", origins: "DE", tags: "de-statutory", where: "aws eu-central-1", papers: "c5/type-2 de-establishment", obliges: "customer-criteria",
		days: map[string]residency.Verdict{"2026-06-30": A, "2026-07-01": A, "2026-11-22": A}},
	{name: "17 clauses are not enough", origins: "DE", tags: "de-statutory", where: "aws us-east-1", papers: "scc/2021 tia no:dpf-listing c5/type-2 de-establishment",
		custody: residency.Custody{Holder: residency.CustomerHeld, Places: places("DE")}, days: map[string]residency.Verdict{"2024-06-30": A, "2024-07-01": D, "2026-11-22": D}},
	{name: "18 London is not in the EEA", origins: "FR", where: "aws eu-west-2", papers: "hds/v2 no:hds/v1",
		days: map[string]residency.Verdict{"2026-11-22": D}},
	{name: "19 the first HDS certificate", origins: "FR", where: "aws eu-west-3", papers: "hds/v1 no:hds/v2",
		days: map[string]residency.Verdict{"2026-05-15": A, "2026-05-16": D, "2026-05-17": D}},
	{name: "20 My Health Record abroad", origins: "AU", tags: "mhr", where: "aws ap-southeast-1",
		days: map[string]residency.Verdict{"2012-06-29": D, "2026-11-22": D}},
	{name: "20 My Health Record at home", origins: "AU", tags: "mhr", where: "aws ap-southeast-2",
		days: map[string]residency.Verdict{"2012-06-28": A, "2012-06-29": A, "2026-11-22": A}},
	{name: "21 New Zealand", origins: "NZ", where: "aws ap-southeast-2", papers: "no:nz-health-exemption no:nz-accepted-service nz-risk-assessment",
		obliges: "record-risk-assessment", days: map[string]residency.Verdict{"2017-04-11": D, "2017-04-12": A, "2017-04-13": A}},
	{name: "22 Texas, Canada", origins: "US-TX", where: "aws ca-central-1", papers: "baa",
		days: map[string]residency.Verdict{"2025-12-31": A, "2026-01-01": D}},
	{name: "23 Florida, Canada", origins: "US-FL", where: "aws ca-central-1", papers: "baa",
		days: map[string]residency.Verdict{"2023-06-30": A, "2023-07-01": A, "2024-01-01": A}},
	{name: "23 Florida, Ireland", origins: "US-FL", where: "aws eu-west-1", papers: "baa",
		days: map[string]residency.Verdict{"2023-06-30": A, "2023-07-01": D, "2024-01-01": D}},
	{name: "23 Florida and Texas together", origins: "US-FL US-TX", where: "aws ca-central-1", papers: "baa",
		days: map[string]residency.Verdict{"2025-12-31": A, "2026-01-01": D}},
	{name: "24 British Columbia", origins: "CA-BC", tags: "public-body", where: "aws us-west-2", papers: "no:patient-consent",
		days: map[string]residency.Verdict{"2021-11-24": D}},
	{name: "24 British Columbia, later", origins: "CA-BC", tags: "public-body", where: "aws us-west-2", papers: "no:patient-consent", obliges: "follow-regulations",
		days: map[string]residency.Verdict{"2021-11-25": A, "2021-11-26": A}},
	{name: "25 Nova Scotia, PIIDPA", origins: "CA-NS", tags: "public-body", where: "aws us-east-1", rule: "ca-ns.piidpa-5",
		papers: "no:ns-head-approval no:patient-consent no:ns-regulation-allows", days: map[string]residency.Verdict{"2027-03-31": D}},
	{name: "25 Nova Scotia, FOIPOP", origins: "CA-NS", tags: "public-body", where: "aws us-east-1", rule: "ca-ns.foipop",
		papers: "no:ns-head-approval no:patient-consent no:ns-regulation-allows", days: map[string]residency.Verdict{"2027-04-01": D}},
	{name: "26 Quebec and the pair in Ontario", origins: "CA-QC", where: "azure canadaeast GRS", obliges: "privacy-impact-assessment", places: "CA-ON CA-QC",
		days: map[string]residency.Verdict{"2026-11-22": A}},
	{name: "27 EUR5 is Belgium and London", origins: "IE", where: "gcp EUR5", papers: "no:scc no:bcr", places: "BE-WHT GB-ENG",
		days: map[string]residency.Verdict{"2031-12-27": A, "2031-12-28": D}},
	{name: "28 a hint", origins: "IE", where: "cloudflare-r2 weur", rule: "carekeep.place", days: map[string]residency.Verdict{"2026-11-22": U}},
	{name: "29 no personal data", origins: "IE", class: residency.Operational, where: "cloudflare-r2 weur", days: map[string]residency.Verdict{"2026-11-22": A}},
	{name: "29 nowhere", origins: "DE", tags: "de-statutory", class: residency.Operational, where: "nobody nowhere", days: map[string]residency.Verdict{"2026-11-22": A}},
}

func TestGolden(t *testing.T) {
	shipped := rules(t)
	for _, c := range golden {
		t.Run(c.name, func(t *testing.T) {
			r := shipped
			if c.enable != "" {
				var err error
				r, err = r.Enable(strings.Fields(c.enable)...)
				require.NoError(t, err)
			}
			for asOf, want := range c.days {
				q := residency.Request{Target: at(c.where), AsOf: day(t, asOf), Now: now}
				q.Subject.Class = max(c.class, residency.Operational)
				if c.class == 0 {
					q.Subject.Class = residency.Identifiable
				}
				q.Subject.Origins = places(c.origins)
				for _, tag := range strings.Fields(c.tags) {
					q.Subject.Tags = append(q.Subject.Tags, residency.Tag(tag))
				}
				q.Target.Papers, q.Target.Custody = papers(c.papers), c.custody
				d, err := r.Decide(q)
				require.NoError(t, err)
				require.Equal(t, want, d.Verdict, "%s: %s", asOf, explain(d))
				require.NotEmpty(t, d.Reasons)
				require.Equal(t, want == U, len(d.Missing) > 0 && d.Verdict == U, "%s: %s", asOf, explain(d))
				if c.obliges != "" && want == A {
					require.Contains(t, codesOf(d), c.obliges, "%s", asOf)
				}
				if c.rule != "" {
					require.Contains(t, rulesOf(d), c.rule, "%s", asOf)
				}
				if c.places != "" {
					require.Equal(t, places(c.places), d.Places)
				}
			}
		})
	}
}

// Every adequacy decision of the Union and of the United Kingdom begins and ends on its day.
func TestAdequacy(t *testing.T) {
	r := rules(t)
	for _, c := range []struct{ origin, place, needs, from, until string }{
		{"IE", "CH", "", "2000-07-26", ""}, {"IE", "US", "safe-harbour-listing", "2000-07-26", "2015-10-06"},
		{"IE", "CA", "pipeda", "2001-12-20", ""}, {"IE", "AR", "", "2003-06-30", ""}, {"IE", "GG", "", "2003-11-21", ""},
		{"IE", "IM", "", "2004-04-28", ""}, {"IE", "JE", "", "2008-05-08", ""}, {"IE", "FO", "", "2010-03-05", ""},
		{"IE", "AD", "", "2010-10-19", ""}, {"IE", "IL", "", "2011-01-31", ""}, {"IE", "UY", "", "2012-08-21", ""},
		{"IE", "NZ", "", "2012-12-19", ""}, {"IE", "US", "privacy-shield-listing", "2016-07-12", "2020-07-16"},
		{"IE", "JP", "appi-recipient", "2019-01-23", ""}, {"IE", "KR", "pipa-recipient", "2021-12-17", ""},
		{"IE", "US", "dpf-listing", "2023-07-10", ""}, {"IE", "BR", "lgpd-recipient", "2026-01-26", ""},
		{"GB", "KR", "", "2022-12-19", ""}, {"GB", "US", "dpf-listing/uk-extension", "2023-10-12", ""},
	} {
		others := "no:scc no:bcr no:idta no:uk-addendum "
		judge := func(asOf residency.Day, have string) residency.Verdict {
			q := ask(c.origin, c.place, others+have)
			q.AsOf = asOf
			return decide(t, r, q).Verdict
		}
		from := day(t, c.from)
		require.Equal(t, D, judge(from.AddDays(-1), c.needs), "%s: the eve", c.place)
		require.Equal(t, A, judge(from, c.needs), "%s: the day", c.place)
		if c.needs != "" {
			kind, _, _ := strings.Cut(c.needs, "/")
			require.Equal(t, U, judge(from, ""), "%s: not known whether it is covered", c.place)
			require.Equal(t, D, judge(from, "no:"+kind), "%s: not covered", c.place)
		}
		if c.until != "" {
			until := day(t, c.until)
			require.Equal(t, A, judge(until.AddDays(-1), c.needs), "%s: the last day", c.place)
			require.Equal(t, D, judge(until, c.needs), "%s: the end", c.place)
		} else {
			require.Equal(t, A, judge(day(t, "2026-11-22"), c.needs), "%s: today", c.place)
		}
	}
	for _, place := range []string{"GB", "IE", "NO", "GI", "CH", "AR", "GG", "IM", "JE", "AD", "IL", "UY", "NZ"} {
		require.Equal(t, A, decide(t, r, ask("GB", place, "")).Verdict, place)
	}
	for _, place := range []string{"KE", "SG", "IN", "BR"} {
		require.Equal(t, D, decide(t, r, ask("GB", place, "no:scc no:idta no:uk-addendum")).Verdict, place)
	}
}

func codesOf(d residency.Decision) (out []string) {
	for _, o := range d.Obligations {
		out = append(out, o.Code)
	}
	return out
}

func rulesOf(d residency.Decision) (out []string) {
	for _, r := range d.Reasons {
		out = append(out, r.Rule)
	}
	return out
}

// explain shows a decision in an error of a test.
func explain(d residency.Decision) string {
	var b strings.Builder
	b.WriteString(d.Verdict.String())
	for _, r := range d.Reasons {
		b.WriteString("\n  " + r.Verdict.String() + " " + r.Regime + " " + r.Rule + " " + string(r.Place) + ": " + r.Text)
	}
	for _, m := range d.Missing {
		b.WriteString("\n  missing for " + m.Rule + ": " + m.Fact)
	}
	return b.String()
}
