package residency_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/residency"
)

// question is one about the rules of one country, and the answer.
type question struct {
	name    string
	on      string // the day whose law is asked for
	known   string // and the day whose knowledge; empty for all
	origin  residency.Place
	tags    []residency.Tag
	at      residency.Location
	papers  string // in words
	support []residency.Place
	keys    residency.Holder
	keysIn  []residency.Place
	purpose residency.Purpose
	want    residency.Verdict
	by      string // a rule that must be among the reasons
	owes    string // the code of an obligation, or the rule that gives one
	free    string // a rule that gives none
}

func aws(region string) residency.Location {
	return residency.Location{Provider: "aws", Region: region}
}

func azure(region, redundancy string) residency.Location {
	return residency.Location{Provider: "azure", Region: region, Redundancy: redundancy}
}

func onsite(p residency.Place) residency.Location {
	return residency.Location{Places: []residency.Place{p}}
}

func TestRulesOfTheWorld(t *testing.T) {
	rules := rules(t)
	for _, c := range slices.Concat(oceania(), america(), elsewhere(), britain(), firstDays()) {
		t.Run(c.name, func(t *testing.T) {
			c := c
			exposure := residency.Exposure{Support: c.support}
			if c.at.Provider != "" {
				c.at.Level, c.at.At = residency.Observed, now.Add(-time.Hour)
				exposure.Operator, exposure.Parent = "US", "US"
			}
			if strings.HasPrefix(string(c.origin), "US") && c.name != "hipaa without baa" {
				c.papers += " baa"
			}
			known := residency.Day{}
			if c.known != "" {
				known = day(t, c.known)
			}
			d, err := rules.Decide(residency.Request{
				Subject: residency.Subject{Class: residency.Identifiable, Origins: []residency.Place{c.origin}, Tags: c.tags},
				Target: residency.Target{Location: c.at, Papers: papers(c.papers), Exposure: exposure,
					Custody: residency.Custody{Holder: c.keys, Places: c.keysIn}},
				Purpose: c.purpose, AsOf: day(t, c.on), Known: known, Now: now,
			})
			require.NoError(t, err)
			require.Equal(t, c.want, d.Verdict, "%+v", d.Reasons)
			if c.by != "" {
				require.True(t, slices.ContainsFunc(d.Reasons, func(r residency.Reason) bool { return r.Rule == c.by && r.Verdict == c.want }), "%s: %+v", c.by, d.Reasons)
			}
			owed := func(what string) bool {
				return slices.ContainsFunc(d.Obligations, func(o residency.Obligation) bool { return o.Code == what || o.Rule == what })
			}
			require.True(t, c.owes == "" || owed(c.owes), "%s: %+v", c.owes, d.Obligations)
			require.True(t, c.free == "" || !owed(c.free), "%s: %+v", c.free, d.Obligations)
		})
	}
}

// A rule that nobody looked at for half a year is not to be believed.
func TestRulesAreReviewedHalfYearly(t *testing.T) {
	for _, r := range rules(t).Rules() {
		if r.ReviewBy.IsZero() {
			continue
		}
		require.False(t, r.ReviewBy.UTC().After(r.Checked.UTC().AddDate(0, 6, 0)), r.ID)
	}
}

// All regimes of the countries below are there.
func TestRegimesOfTheWorld(t *testing.T) {
	there := map[string]bool{}
	for _, r := range rules(t).Rules() {
		there[r.Regime] = true
	}
	for _, regime := range strings.Fields(`au-privacy au-mhr au-hcf au-nsw au-vic au-states au-racgp nz-policy nz-hipc nz-hiso
		us-hipaa us-fl us-tx us-doj us-cloud-act uk-nhs-critical us-cms us-medicaid ca-pipeda ca-bc ca-ns ca-nb ca-on ca-qc ca-qc-hssi
		ch-fadp nl-nen7510 dk-dpa sg-pdpa ae-health sa-pdpl in-dpdp cn-pipl ru-152`) {
		require.True(t, there[regime], regime)
	}
}

// Rules that nobody confirmed say so and do nothing until somebody enables them.
func TestRulesThatWaitForASource(t *testing.T) {
	frankfurt := residency.Location{Provider: "aws", Region: "eu-central-1", Level: residency.Observed, At: now}
	dutch := residency.Subject{Class: residency.Identifiable, Origins: []residency.Place{"NL"}}
	danish := residency.Subject{Class: residency.Identifiable, Origins: []residency.Place{"DK"}, Tags: []residency.Tag{"dk-kept-in-denmark"}}
	for _, c := range []struct {
		rule    string
		subject residency.Subject
		papers  string
		want    residency.Verdict
	}{
		{"nl-nen7510.conformity", dutch, "", residency.Unknown},
		{"nl-nen7510.conformity", dutch, "nen-7510", residency.Allowed},
		{"dk-dpa.3-9", danish, "", residency.Denied},
	} {
		q := residency.Request{Subject: c.subject, Target: residency.Target{Location: frankfurt, Papers: papers(c.papers),
			Exposure: residency.Exposure{Operator: "US", Parent: "US"}}, AsOf: day(t, "2026-11-22"), Now: now}
		d, err := rules(t).Decide(q)
		require.NoError(t, err)
		require.Equal(t, residency.Allowed, d.Verdict, "%s: %+v", c.rule, d.Reasons)
		require.Contains(t, d.Unconfirmed, c.rule)
		enabled, err := rules(t).Enable(c.rule)
		require.NoError(t, err)
		d, err = enabled.Decide(q)
		require.NoError(t, err)
		require.Equal(t, c.want, d.Verdict, "%s: %+v", c.rule, d.Reasons)
		require.NotContains(t, d.Unconfirmed, c.rule)
	}
}

// The decree that writes the EEA into the French Code waits for the day on which it took effect.
func TestFrenchDecreeWaits(t *testing.T) {
	q := ask("FR", "aws us-east-1", "hds/v1 dpf-listing")
	r := rules(t)
	enabled, err := r.Enable("fr-hds.code-eea")
	require.NoError(t, err)
	for on, want := range map[string]residency.Verdict{"2026-03-26": A, "2026-03-27": D, "2026-05-15": D} {
		q.AsOf = day(t, on)
		d := decide(t, r, q)
		require.Equal(t, A, d.Verdict, "%s: %s", on, explain(d))
		require.Equal(t, want == D, slices.Contains(d.Unconfirmed, "fr-hds.code-eea"), on)
		require.Equal(t, want, decide(t, enabled, q).Verdict, on)
	}
}

func oceania() []question {
	return []question{
		{name: "mhr abroad at once", on: "2012-06-29", origin: "AU", tags: []residency.Tag{"mhr"}, at: aws("ap-southeast-1"), papers: "compatible-privacy-law", want: D, by: "au-mhr.s77"},
		{name: "mhr abroad", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"mhr"}, at: aws("ap-southeast-1"), papers: "compatible-privacy-law", want: D, by: "au-mhr.s77"},
		{name: "mhr at home at once", on: "2012-06-29", origin: "AU", tags: []residency.Tag{"mhr"}, at: aws("ap-southeast-2"), want: A},
		{name: "mhr at home", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"mhr"}, at: aws("ap-southeast-2"), want: A, owes: "record-locations"},
		{name: "mhr handled abroad", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"mhr"}, at: aws("ap-southeast-2"), support: []residency.Place{"IN"}, keys: residency.ProviderHeld, want: D, by: "au-mhr.s77-handling"},
		{name: "mhr reached abroad without keys", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"mhr"}, at: aws("ap-southeast-2"), support: []residency.Place{"IN"}, keys: residency.CustomerHeld, want: A},
		{name: "mhr on the way, reached abroad without keys", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"mhr"}, at: aws("ap-southeast-2"), support: []residency.Place{"IN"}, keys: residency.CustomerHeld, purpose: residency.Migration, want: A},
		{name: "mhr restored, reached from abroad", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"mhr"}, at: aws("ap-southeast-2"), support: []residency.Place{"IN"}, keys: residency.CustomerHeld, purpose: residency.RestoreTest, want: D, by: "au-mhr.s77-clear"},
		{name: "mhr at work, reached from abroad", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"mhr"}, at: aws("ap-southeast-2"), support: []residency.Place{"IN"}, keys: residency.CustomerHeld, purpose: residency.Recovery, want: D, by: "au-mhr.s77-clear"},
		{name: "mhr handed over, reached from abroad", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"mhr"}, at: aws("ap-southeast-2"), support: []residency.Place{"IN"}, keys: residency.CustomerHeld, purpose: residency.Exit, want: D, by: "au-mhr.s77-clear"},
		{name: "mhr at work, reached from home", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"mhr"}, at: aws("ap-southeast-2"), support: []residency.Place{"AU"}, purpose: residency.Recovery, want: A},
		{name: "ordinary record abroad, not compared", on: "2026-11-22", origin: "AU-QLD", at: aws("ap-southeast-1"), want: U, by: "au-racgp.compatible-law"},
		{name: "ordinary record abroad", on: "2026-11-22", origin: "AU-QLD", at: aws("ap-southeast-1"), papers: "compatible-privacy-law", want: A, owes: "take-reasonable-steps"},
		{name: "ordinary record before the guide", on: "2023-04-20", origin: "AU-QLD", at: aws("ap-southeast-1"), want: A, owes: "take-reasonable-steps"},
		{name: "own disk at home", on: "2026-11-22", origin: "AU-NSW", at: onsite("AU-NSW"), want: A},
		{name: "nsw within nsw", on: "2026-11-22", origin: "AU-NSW", at: azure("australiaeast", "ZRS"), want: A},
		{name: "nsw to victoria by its pair", on: "2026-11-22", origin: "AU-NSW", at: azure("australiaeast", "GRS"), want: A, owes: "record-transfer-gate"},
		{name: "nsw abroad without a ground", on: "2026-11-22", origin: "AU-NSW", at: aws("ap-southeast-1"), papers: "compatible-privacy-law", want: U, by: "au-nsw.hpp-14"},
		{name: "nsw abroad with a refuted ground", on: "2026-11-22", origin: "AU-NSW", at: aws("ap-southeast-1"), papers: "compatible-privacy-law no:au-similar-protection no:patient-consent", want: D, by: "au-nsw.hpp-14"},
		{name: "nsw abroad under a contract", on: "2026-11-22", origin: "AU-NSW", at: aws("ap-southeast-1"), papers: "compatible-privacy-law au-similar-protection", want: A},
		{name: "victoria to nsw", on: "2026-11-22", origin: "AU-VIC", at: aws("ap-southeast-2"), want: A, owes: "record-transfer-gate"},
		{name: "victoria abroad", on: "2026-11-22", origin: "AU-VIC", at: aws("ap-southeast-1"), papers: "compatible-privacy-law", want: U, by: "au-vic.hpp-9"},
		{name: "hcf before", on: "2022-06-29", origin: "AU", tags: []residency.Tag{"au-commonwealth"}, at: aws("ap-southeast-2"), want: A},
		{name: "hcf without", on: "2022-06-30", origin: "AU", tags: []residency.Tag{"au-commonwealth"}, at: aws("ap-southeast-2"), want: U, by: "au-hcf.certified"},
		{name: "hcf certified", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"au-commonwealth"}, at: aws("ap-southeast-2"), papers: "hosting-certification/strategic", want: A},
		{name: "hcf certified at another level", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"au-commonwealth"}, at: aws("ap-southeast-2"), papers: "hosting-certification/uncertified", want: U},
		{name: "hcf older contract", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"au-commonwealth"}, at: aws("ap-southeast-2"), papers: "hosting-contract-before-2022-06-30", want: A},

		{name: "nz v2, nothing", on: "2017-04-11", origin: "NZ", at: aws("ap-southeast-2"), papers: "no:nz-health-exemption no:nz-accepted-service nz-risk-assessment", want: D},
		{name: "nz v2, listed", on: "2017-04-11", origin: "NZ", at: aws("ap-southeast-2"), papers: "nz-accepted-service", want: A, by: "nz-policy.accepted"},
		{name: "nz v1, a list that is not there yet", on: "2016-03-31", origin: "NZ", at: aws("ap-southeast-2"), papers: "no:nz-health-exemption nz-accepted-service", want: D},
		{name: "nz v1, exempt", on: "2016-03-31", origin: "NZ", at: aws("ap-southeast-2"), papers: "nz-health-exemption", want: A, by: "nz-policy.exemption"},
		{name: "nz, exempt in years of which nothing is known", on: "2015-06-01", origin: "NZ", at: aws("ap-southeast-2"), papers: "nz-health-exemption", want: U},
		{name: "nz v3", on: "2017-04-13", origin: "NZ", at: aws("ap-southeast-2"), papers: "nz-risk-assessment", want: A, owes: "record-risk-assessment"},
		{name: "nz v3, exempt is no longer enough", on: "2017-04-12", origin: "NZ", at: aws("ap-southeast-2"), papers: "nz-health-exemption no:nz-risk-assessment", want: D},
		{name: "nz now, no contract", on: "2026-11-22", origin: "NZ", at: aws("ap-southeast-2"), papers: "nz-risk-assessment", want: U, by: "nz-hipc.rule-12"},
		{name: "nz now", on: "2026-11-22", origin: "NZ", at: aws("ap-southeast-2"), papers: "nz-risk-assessment nz-agent-contract", want: A},
		{name: "nz at home", on: "2026-11-22", origin: "NZ", at: residency.Location{Provider: "catalystcloud", Region: "nz-por-1"}, want: A},
	}
}

func america() []question {
	return []question{
		{name: "hipaa without baa", on: "2026-11-22", origin: "US-OR", at: aws("us-west-2"), want: U, by: "us-hipaa.baa"},
		{name: "hipaa", on: "2026-11-22", origin: "US-OR", at: aws("us-west-2"), want: A},
		{name: "hipaa abroad", on: "2026-11-22", origin: "US-OR", at: aws("eu-west-1"), want: A},
		{name: "own disk in the us", on: "2026-11-22", origin: "US-OR", at: onsite("US-OR"), want: A},
		{name: "texas before", on: "2025-12-31", origin: "US-TX", at: aws("ca-central-1"), want: A},
		{name: "texas", on: "2026-01-01", origin: "US-TX", at: aws("ca-central-1"), want: D, by: "us-tx.183-002"},
		{name: "texas as known before the signature", on: "2026-01-01", known: "2025-06-19", origin: "US-TX", at: aws("ca-central-1"), want: A},
		{name: "texas as known at the signature", on: "2026-01-01", known: "2025-06-20", origin: "US-TX", at: aws("ca-central-1"), want: D, by: "us-tx.183-002"},
		{name: "texas at home", on: "2026-01-01", origin: "US-TX", at: aws("us-gov-west-1"), want: A},
		{name: "texas in a territory", on: "2026-01-01", origin: "US-TX", at: onsite("PR"), want: A},
		{name: "florida before", on: "2023-06-30", origin: "US-FL", at: aws("eu-west-1"), want: A},
		{name: "florida", on: "2024-01-01", origin: "US-FL", at: aws("eu-west-1"), want: D, by: "us-fl.408-051"},
		{name: "florida in canada", on: "2024-01-01", origin: "US-FL", at: aws("ca-central-1"), want: A},
		{name: "florida in hawaii", on: "2024-01-01", origin: "US-FL", at: onsite("US-HI"), want: D, by: "us-fl.408-051-not-continental"},
		{name: "florida in alaska", on: "2024-01-01", origin: "US-FL", at: onsite("US-AK"), want: D, by: "us-fl.408-051-not-continental"},
		{name: "florida in hawaii before", on: "2023-06-30", origin: "US-FL", at: onsite("US-HI"), want: A},
		{name: "doj before", on: "2025-04-07", origin: "US-OR", at: aws("ap-east-1"), want: A},
		{name: "doj", on: "2025-04-08", origin: "US-OR", at: aws("ap-east-1"), want: D, by: "us-doj.countries-of-concern"},
		{name: "doj, staff", on: "2025-04-08", origin: "US-OR", at: aws("us-west-2"), support: []residency.Place{"CN"}, want: D, by: "us-doj.countries-of-concern"},
		{name: "doj, bulk", on: "2026-11-22", origin: "US-OR", tags: []residency.Tag{"us-bulk-health"}, at: aws("us-west-2"), want: A, owes: "vendor-due-diligence"},
		{name: "doj, how many persons", on: "2025-04-08", origin: "US-OR", at: aws("us-west-2"), want: A, owes: "count-persons"},
		{name: "medicaid offshore", on: "2026-11-22", origin: "US-OR", tags: []residency.Tag{"us-medicaid"}, at: aws("ca-central-1"), want: U, by: "us-medicaid.offshore"},
		{name: "no us exposure, keys at the provider", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"no-us-exposure"}, at: aws("ap-southeast-2"), keys: residency.ProviderHeld, want: D, by: "us-cloud-act.avoid"},
		{name: "no us exposure, own keys", on: "2026-11-22", origin: "AU", tags: []residency.Tag{"no-us-exposure"}, at: aws("ap-southeast-2"), keys: residency.CustomerHeld, want: A, owes: "know-exposure"},

		{name: "pipeda abroad", on: "2026-11-22", origin: "CA-AB", at: aws("us-west-2"), want: A, owes: "comparable-protection"},
		{name: "bc public body before", on: "2021-11-24", origin: "CA-BC", tags: []residency.Tag{"public-body"}, at: aws("us-west-2"), papers: "no:patient-consent", want: D, by: "ca-bc.fippa-30-1"},
		{name: "bc public body", on: "2021-11-26", origin: "CA-BC", tags: []residency.Tag{"public-body"}, at: aws("us-west-2"), want: A, owes: "follow-regulations"},
		{name: "bc public body, reached from abroad", on: "2021-11-24", origin: "CA-BC", tags: []residency.Tag{"public-body"}, at: aws("ca-central-1"), support: []residency.Place{"US"}, want: U, by: "ca-bc.fippa-30-1"},
		{name: "bc practice before", on: "2021-11-24", origin: "CA-BC", at: aws("us-west-2"), want: A},
		{name: "ns under the old act", on: "2027-03-31", origin: "CA-NS", tags: []residency.Tag{"public-body"}, at: aws("us-east-1"), papers: "no:patient-consent no:ns-head-approval no:ns-regulation-allows", want: D, by: "ca-ns.piidpa-5"},
		{name: "ns under the new act", on: "2027-04-01", origin: "CA-NS", tags: []residency.Tag{"public-body"}, at: aws("us-east-1"), papers: "no:patient-consent no:ns-head-approval no:ns-regulation-allows", want: D, by: "ca-ns.foipop"},
		{name: "ns head approves, old act", on: "2027-03-31", origin: "CA-NS", tags: []residency.Tag{"public-body"}, at: aws("us-east-1"), papers: "ns-head-approval", want: A},
		{name: "ns head approves, new act", on: "2027-04-01", origin: "CA-NS", tags: []residency.Tag{"public-body"}, at: aws("us-east-1"), papers: "ns-head-approval", want: U, by: "ca-ns.foipop"},
		{name: "ns older contract", on: "2027-04-01", origin: "CA-NS", tags: []residency.Tag{"public-body"}, at: aws("us-east-1"), papers: "ns-head-approval ns-contract-before-2027-04-01", want: A},
		{name: "ns as known before the new act", on: "2027-04-01", known: "2025-10-02", origin: "CA-NS", tags: []residency.Tag{"public-body"}, at: aws("us-east-1"), papers: "ns-head-approval", want: A, by: "ca-ns.piidpa-5"},
		{name: "ns as known after it", on: "2027-04-01", known: "2025-10-03", origin: "CA-NS", tags: []residency.Tag{"public-body"}, at: aws("us-east-1"), papers: "ns-head-approval", want: U, by: "ca-ns.foipop"},
		{name: "ns at home", on: "2027-04-01", origin: "CA-NS", tags: []residency.Tag{"public-body"}, at: aws("ca-central-1"), want: A},
		{name: "nb abroad", on: "2026-11-22", origin: "CA-NB", at: aws("us-east-1"), want: U, by: "ca-nb.phipaa"},
		{name: "nb at home", on: "2026-11-22", origin: "CA-NB", at: aws("ca-central-1"), want: A},
		{name: "ontario to quebec", on: "2026-11-22", origin: "CA-ON", at: aws("ca-central-1"), want: A, owes: "contract-and-safeguards"},
		{name: "quebec at home", on: "2026-11-22", origin: "CA-QC", at: azure("canadaeast", "ZRS"), want: A},
		{name: "quebec by its pair", on: "2026-11-22", origin: "CA-QC", at: azure("canadaeast", "GRS"), want: A, owes: "privacy-impact-assessment"},
		{name: "quebec abroad, in writing", on: "2023-09-22", origin: "CA-QC", at: aws("us-east-1"), want: A, owes: "written-agreement"},
		{name: "quebec, the pair is not known", on: "2026-11-22", origin: "CA-QC", at: azure("canadaeast", ""), want: U},
	}
}

func elsewhere() []question {
	return []question{
		{name: "swiss at home", on: "2026-11-22", origin: "CH", at: aws("eu-central-2"), want: A, owes: "know-exposure"},
		{name: "swiss in germany", on: "2026-11-22", origin: "CH", at: aws("eu-central-1"), want: A, by: "ch-fadp.annex-1"},
		{name: "swiss in france", on: "2026-11-22", origin: "CH", at: aws("eu-west-3"), want: A, by: "ch-fadp.annex-1"},
		{name: "swiss in poland, not confirmed", on: "2026-11-22", origin: "CH", at: onsite("PL"), want: U},
		{name: "swiss in the us before", on: "2024-09-14", origin: "CH", at: aws("us-east-1"), papers: "dpf-listing/swiss-us no:scc no:bcr", want: D},
		{name: "swiss in the us", on: "2024-09-15", origin: "CH", at: aws("us-east-1"), papers: "dpf-listing/swiss-us", want: A, by: "ch-fadp.swiss-us-dpf"},
		{name: "swiss in the us under the eu framework alone", on: "2026-11-22", origin: "CH", at: aws("us-east-1"), papers: "dpf-listing", want: U},
		{name: "swiss in the us with clauses", on: "2026-11-22", origin: "CH", at: aws("us-east-1"), papers: "scc/2021 tia no:bcr no:dpf-listing", keys: residency.CustomerHeld, keysIn: []residency.Place{"CH", "DE"}, want: A, owes: "encrypt-before-upload"},
		{name: "swiss in the us with corporate rules", on: "2026-11-22", origin: "CH", at: aws("us-east-1"), papers: "bcr tia no:scc no:dpf-listing", keys: residency.CustomerHeld, keysIn: []residency.Place{"CH", "DE"}, want: A, by: "ch-fadp.safeguards"},
		{name: "swiss in the us with older clauses", on: "2026-11-22", origin: "CH", at: aws("us-east-1"), papers: "scc/2010 tia no:bcr no:dpf-listing", keys: residency.CustomerHeld, keysIn: []residency.Place{"CH", "DE"}, want: U},
		{name: "swiss in the us with clauses, not assessed", on: "2026-11-22", origin: "CH", at: aws("us-east-1"), papers: "scc/2021 no:tia no:bcr no:dpf-listing", keys: residency.CustomerHeld, keysIn: []residency.Place{"CH", "DE"}, want: D},
		{name: "swiss in the us, keys at the provider", on: "2026-11-22", origin: "CH", at: aws("us-east-1"), papers: "scc/2021 tia no:bcr no:dpf-listing", keys: residency.ProviderHeld, keysIn: []residency.Place{"CH"}, want: D},
		{name: "swiss in the us, keys there too", on: "2026-11-22", origin: "CH", at: aws("us-east-1"), papers: "scc/2021 tia no:bcr no:dpf-listing", keys: residency.CustomerHeld, keysIn: []residency.Place{"CH", "US"}, want: D},
		{name: "swiss in the us, in clear", on: "2026-11-22", origin: "CH", at: aws("us-east-1"), papers: "scc/2021 tia no:bcr no:dpf-listing", keys: residency.CustomerHeld, keysIn: []residency.Place{"CH", "DE"}, purpose: residency.Recovery, want: D},
		{name: "swiss at home, reached from elsewhere", on: "2026-11-22", origin: "CH", at: aws("eu-central-2"), support: []residency.Place{"IN"}, papers: "no:scc no:bcr", want: D},
		{name: "swiss at home, reached from germany", on: "2026-11-22", origin: "CH", at: aws("eu-central-2"), support: []residency.Place{"DE"}, papers: "no:scc no:bcr", want: A},
		{name: "swiss under the older act", on: "2023-08-31", origin: "CH", at: aws("eu-central-2"), want: U},
		{name: "singapore abroad", on: "2026-11-22", origin: "SG", at: aws("ap-southeast-2"), want: U, by: "sg-pdpa.s26"},
		{name: "singapore with a contract", on: "2026-11-22", origin: "SG", at: aws("ap-southeast-2"), papers: "sg-comparable-protection", want: A},
		{name: "singapore and hong kong", on: "2026-11-22", origin: "SG", at: azure("southeastasia", "GRS"), want: U, by: "sg-pdpa.s26"},
		{name: "emirates at home", on: "2026-11-22", origin: "AE", at: aws("me-central-1"), want: A},
		{name: "emirates abroad before the exceptions", on: "2021-05-15", origin: "AE", at: aws("eu-west-1"), papers: "ae-exception/research no:ae-exception", want: D, by: "ae-health.art-13"},
		{name: "emirates abroad", on: "2026-11-22", origin: "AE", at: aws("eu-west-1"), want: U, by: "ae-health.exceptions"},
		{name: "emirates abroad with approval", on: "2026-11-22", origin: "AE", at: aws("eu-west-1"), papers: "ae-exception/authority-approval", want: A, owes: "exception-conditions"},
		{name: "emirates at home, reached from elsewhere", on: "2026-11-22", origin: "AE", at: aws("me-central-1"), support: []residency.Place{"IN"}, papers: "no:ae-exception", want: D, by: "ae-health.exceptions"},
		{name: "emirates at home, reached from home", on: "2026-11-22", origin: "AE", at: aws("me-central-1"), support: []residency.Place{"AE"}, papers: "no:ae-exception", want: A},
		{name: "saudi abroad", on: "2026-11-22", origin: "SA", at: aws("eu-west-1"), want: U, by: "sa-pdpl.transfer"},
		{name: "saudi with clauses", on: "2026-11-22", origin: "SA", at: aws("eu-west-1"), papers: "sa-standard-clauses", want: A, owes: "ask-sector-rules"},
		{name: "india is not assessed before 2027", on: "2026-11-22", origin: "IN", at: aws("ap-south-1"), want: U},
		{name: "india", on: "2027-05-13", origin: "IN", at: aws("ap-southeast-1"), want: A, owes: "check-restrictions"},
		{name: "china at home", on: "2026-11-22", origin: "CN", at: aws("cn-north-1"), want: A, by: "cn-pipl.home"},
		{name: "china in hong kong", on: "2026-11-22", origin: "CN", at: aws("ap-east-1"), papers: "cn-security-assessment", want: D},
		{name: "russia at home", on: "2026-11-22", origin: "RU", at: onsite("RU"), want: A, by: "ru-152.home"},
		{name: "russia with a mirror before", on: "2025-06-30", origin: "RU", at: aws("eu-north-1"), papers: "ru-primary-database", want: A, by: "ru-152.copy-abroad"},
		{name: "russia with a mirror", on: "2025-07-01", origin: "RU", at: aws("eu-north-1"), papers: "ru-primary-database ru-transfer-notified", want: D},
		{name: "kenya has no rules here", on: "2026-11-22", origin: "KE", at: aws("af-south-1"), want: U},
		{name: "in asia somewhere", on: "2026-11-22", origin: "SG", at: residency.Location{Provider: "gcp", Region: "ASIA"}, papers: "sg-comparable-protection", want: U},
	}
}

func britain() []question {
	nhs, critical, england := []residency.Tag{"nhs"}, []residency.Tag{"nhs-critical"}, []residency.Tag{"nhs-england"}
	const clauses, approved = "idta tra", "siro-approval emt-approval risk-assessment"
	return []question{
		{name: "nhs at home", on: "2026-11-22", origin: "GB", tags: nhs, at: aws("eu-west-2"), want: A},
		{name: "gp at home, reached from elsewhere", on: "2026-11-22", origin: "GB", at: aws("eu-west-2"), support: []residency.Place{"IN"}, papers: clauses, want: A},
		{name: "nhs at home, reached from elsewhere", on: "2026-11-22", origin: "GB", tags: nhs, at: aws("eu-west-2"), support: []residency.Place{"IN"}, papers: clauses, want: D},
		{name: "nhs england in the us, no agreement", on: "2026-11-22", origin: "GB", tags: england, at: aws("us-east-1"), papers: approved + " dpf-listing/uk-extension no:idta", want: D},
		{name: "nhs england in the us under an agreement", on: "2026-11-22", origin: "GB", tags: england, at: aws("us-east-1"), papers: approved + " idta tra", want: A, by: "uk-nhs-england.us"},
		{name: "nhs england in korea, adequate to the british alone", on: "2026-11-22", origin: "GB", tags: england, at: aws("ap-northeast-2"), papers: approved + " no:pipa-recipient", want: D},
		{name: "nhs england in korea, adequate to both", on: "2026-11-22", origin: "GB", tags: england, at: aws("ap-northeast-2"), papers: approved + " pipa-recipient", want: A, by: "uk-nhs-england.adequate"},
		{name: "nhs v1 asks who reaches the provider", on: "2018-01-19", origin: "GB", tags: nhs, at: aws("eu-west-1"), want: A, owes: "consider-regions", free: "uk-nhs.v2.satisfied"},
		{name: "nhs v2 asks the siro", on: "2022-05-04", origin: "GB", tags: nhs, at: aws("eu-west-1"), want: A, owes: "siro-satisfied", free: "uk-nhs.v1.exposure"},
		{name: "critical at home", on: "2026-11-22", origin: "GB", tags: critical, at: aws("eu-west-2"), want: A, by: "uk-nhs-critical.uk"},
		{name: "critical in ireland", on: "2026-11-22", origin: "GB", tags: critical, at: aws("eu-west-1"), want: D},
		{name: "critical at home, reached from ireland", on: "2026-11-22", origin: "GB", tags: critical, at: aws("eu-west-2"), support: []residency.Place{"IE"}, want: D},
		{name: "critical abroad, eve", on: "2026-11-21", origin: "GB", tags: critical, at: aws("eu-west-1"), want: U},
		{name: "critical abroad", on: "2026-11-22", origin: "GB", tags: critical, at: aws("eu-west-1"), want: D},
		{name: "critical abroad long before", on: "2017-01-01", origin: "GB", tags: critical, at: aws("eu-west-1"), want: U},
		{name: "critical at home long before", on: "2017-01-01", origin: "GB", tags: critical, at: aws("eu-west-2"), want: U},
		{name: "critical abroad, as known before anybody read of it", on: "2026-11-22", known: "2026-11-21", origin: "GB", tags: critical, at: aws("eu-west-1"), want: U},
		{name: "nhs england abroad, eve", on: "2017-12-31", origin: "GB", tags: england, at: aws("eu-west-1"), papers: "no:siro-approval", want: U},
		{name: "nhs england abroad", on: "2018-01-01", origin: "GB", tags: england, at: aws("eu-west-1"), papers: "no:siro-approval", want: D},
		{name: "british law of its own, known ahead", on: "2021-01-15", known: "2020-06-01", origin: "GB", at: aws("eu-west-1"), want: A, by: "uk-gdpr.adequate.eea"},
		{name: "british law of its own, not known yet", on: "2021-01-15", known: "2019-02-27", origin: "GB", at: aws("eu-west-1"), want: A, by: "eu-gdpr.union"},
		{name: "older clauses, their end not known", on: "2022-10-01", known: "2022-02-01", origin: "GB", at: aws("ap-south-1"), papers: "scc/2010 tra", want: A, by: "uk-gdpr.tool.scc-2010"},
		{name: "older clauses, their end known", on: "2022-10-01", known: "2022-02-02", origin: "GB", at: aws("ap-south-1"), papers: "scc/2010 tra no:idta no:uk-addendum", want: D},
	}
}

// firstDays asks on the last day before a rule and on its first.
func firstDays() []question {
	return []question{
		{name: "npp 9, eve", on: "2001-12-20", origin: "AU-QLD", at: aws("ap-southeast-2"), want: U},
		{name: "npp 9", on: "2001-12-21", origin: "AU-QLD", at: aws("ap-southeast-1"), want: A, owes: "au-privacy.npp-9"},
		{name: "npp 9, its last day", on: "2014-03-11", origin: "AU-QLD", at: aws("ap-southeast-1"), want: A, owes: "au-privacy.npp-9"},
		{name: "npp 9, over", on: "2014-03-12", origin: "AU-QLD", at: aws("ap-southeast-1"), want: A, free: "au-privacy.npp-9"},
		{name: "own disk in the us before hipaa reached its helpers", on: "2013-09-22", origin: "US-OR", at: onsite("US-OR"), want: U},
		{name: "own disk in the us under hipaa", on: "2013-09-23", origin: "US-OR", at: onsite("US-OR"), want: A},
		{name: "app 8, eve", on: "2014-03-11", origin: "AU-QLD", at: aws("ap-southeast-1"), want: A, free: "au-privacy.app-8"},
		{name: "app 8", on: "2014-03-12", origin: "AU-QLD", at: aws("ap-southeast-1"), want: A, owes: "au-privacy.app-8"},
		{name: "mhr handling, eve", on: "2012-06-28", origin: "AU-QLD", tags: []residency.Tag{"mhr"}, at: aws("ap-southeast-2"), support: []residency.Place{"IN"}, keys: residency.ProviderHeld, want: A},
		{name: "mhr handling", on: "2012-06-29", origin: "AU-QLD", tags: []residency.Tag{"mhr"}, at: aws("ap-southeast-2"), support: []residency.Place{"IN"}, keys: residency.ProviderHeld, want: D},
		{name: "hpp 14, eve", on: "2004-08-31", origin: "AU-NSW", at: aws("ap-southeast-1"), want: A},
		{name: "hpp 14", on: "2004-09-01", origin: "AU-NSW", at: aws("ap-southeast-1"), want: U, by: "au-nsw.hpp-14"},
		{name: "hpp 14 within australia, eve", on: "2004-08-31", origin: "AU-NSW", at: aws("ap-southeast-4"), want: A, free: "au-nsw.hpp-14-australia"},
		{name: "hpp 14 within australia", on: "2004-09-01", origin: "AU-NSW", at: aws("ap-southeast-4"), want: A, owes: "au-nsw.hpp-14-australia"},
		{name: "hpp 9, eve", on: "2002-06-30", origin: "AU-VIC", at: aws("ap-southeast-1"), want: A},
		{name: "hpp 9", on: "2002-07-01", origin: "AU-VIC", at: aws("ap-southeast-1"), want: U, by: "au-vic.hpp-9"},
		{name: "hpp 9 within australia, eve", on: "2002-06-30", origin: "AU-VIC", at: aws("ap-southeast-2"), want: A, free: "au-vic.hpp-9-australia"},
		{name: "hpp 9 within australia", on: "2002-07-01", origin: "AU-VIC", at: aws("ap-southeast-2"), want: A, owes: "au-vic.hpp-9-australia"},
		{name: "racgp", on: "2023-04-21", origin: "AU-QLD", at: aws("ap-southeast-1"), want: U, by: "au-racgp.compatible-law"},
		{name: "racgp locations, eve", on: "2023-04-20", origin: "AU-QLD", at: aws("ap-southeast-2"), want: A, free: "au-racgp.record-locations"},
		{name: "racgp locations", on: "2023-04-21", origin: "AU-QLD", at: aws("ap-southeast-2"), want: A, owes: "au-racgp.record-locations"},
		{name: "nz policy, eve", on: "2015-12-31", origin: "NZ", at: aws("ap-southeast-6"), want: U},
		{name: "nz policy", on: "2016-01-01", origin: "NZ", at: aws("ap-southeast-6"), want: A, by: "nz-policy.domiciled"},
		{name: "nz rule 12, eve", on: "2020-11-30", origin: "NZ", at: aws("ap-southeast-2"), papers: "nz-risk-assessment", want: A},
		{name: "nz rule 12", on: "2020-12-01", origin: "NZ", at: aws("ap-southeast-2"), papers: "nz-risk-assessment", want: U, by: "nz-hipc.rule-12"},
		{name: "pipeda, eve", on: "2003-12-31", origin: "CA-AB", at: aws("us-west-2"), want: U, free: "ca-pipeda.accountability"},
		{name: "pipeda", on: "2004-01-01", origin: "CA-AB", at: aws("us-west-2"), want: A, owes: "ca-pipeda.accountability"},
		{name: "bc, eve", on: "2004-10-20", origin: "CA-BC", tags: []residency.Tag{"public-body"}, at: aws("us-west-2"), want: A},
		{name: "bc", on: "2004-10-21", origin: "CA-BC", tags: []residency.Tag{"public-body"}, at: aws("us-west-2"), want: U, by: "ca-bc.fippa-30-1"},
		{name: "ns, eve", on: "2006-11-14", origin: "CA-NS", tags: []residency.Tag{"public-body"}, at: aws("us-west-2"), want: A},
		{name: "ns", on: "2006-11-15", origin: "CA-NS", tags: []residency.Tag{"public-body"}, at: aws("us-west-2"), want: U, by: "ca-ns.piidpa-5"},
		{name: "nb, eve", on: "2010-08-31", origin: "CA-NB", at: aws("us-west-2"), want: A},
		{name: "nb", on: "2010-09-01", origin: "CA-NB", at: aws("us-west-2"), want: U, by: "ca-nb.phipaa"},
		{name: "on, eve", on: "2004-10-31", origin: "CA-ON", at: aws("us-west-2"), want: A, free: "ca-on.phipa-50"},
		{name: "on", on: "2004-11-01", origin: "CA-ON", at: aws("us-west-2"), want: A, owes: "ca-on.phipa-50"},
		{name: "qc, eve", on: "2023-09-21", origin: "CA-QC", at: aws("ca-west-1"), want: A, free: "ca-qc.private-17"},
		{name: "qc", on: "2023-09-22", origin: "CA-QC", at: aws("ca-west-1"), want: A, owes: "ca-qc.private-17"},
		{name: "qc hssi, eve", on: "2024-06-30", origin: "CA-QC", at: aws("ca-west-1"), want: A, free: "ca-qc-hssi.outside"},
		{name: "qc hssi", on: "2024-07-01", origin: "CA-QC", at: aws("ca-west-1"), want: A, owes: "ca-qc-hssi.outside"},
		{name: "swiss home", on: "2023-09-01", origin: "CH", at: aws("eu-central-2"), want: A, owes: "ch-fadp.us-exposure"},
		{name: "swiss annex", on: "2023-09-01", origin: "CH", at: aws("eu-central-1"), want: A, by: "ch-fadp.annex-1"},
		{name: "swiss annex, canada", on: "2023-09-01", origin: "CH", at: aws("ca-central-1"), papers: "pipeda", want: A, by: "ch-fadp.annex-1-canada"},
		{name: "swiss safeguards", on: "2023-09-01", origin: "CH", at: aws("us-east-1"), papers: "bcr tia", keys: residency.CustomerHeld, keysIn: []residency.Place{"CH", "DE"}, want: A, by: "ch-fadp.safeguards"},
		{name: "singapore, eve", on: "2014-07-01", origin: "SG", at: aws("ap-southeast-1"), want: U},
		{name: "singapore", on: "2014-07-02", origin: "SG", at: aws("ap-southeast-1"), want: A},
		{name: "emirates, eve", on: "2019-05-13", origin: "AE", at: aws("me-central-1"), want: U},
		{name: "emirates", on: "2019-05-14", origin: "AE", at: aws("eu-west-1"), want: U, by: "ae-health.art-13"},
		{name: "emirates exceptions, eve", on: "2021-05-15", origin: "AE", at: aws("eu-west-1"), papers: "ae-exception/insurance", want: U, by: "ae-health.art-13"},
		{name: "emirates exceptions", on: "2021-05-16", origin: "AE", at: aws("eu-west-1"), papers: "ae-exception/insurance", want: A, by: "ae-health.exceptions"},
		{name: "saudi, eve", on: "2024-09-13", origin: "SA", at: onsite("SA"), want: U},
		{name: "saudi", on: "2024-09-14", origin: "SA", at: onsite("SA"), want: A},
		{name: "china, eve", on: "2014-05-04", origin: "CN", at: aws("cn-north-1"), want: U},
		{name: "china", on: "2014-05-05", origin: "CN", at: aws("cn-north-1"), want: A, by: "cn-pipl.home"},
		{name: "russia, eve", on: "2015-08-31", origin: "RU", at: onsite("RU"), want: U},
		{name: "russia", on: "2015-09-01", origin: "RU", at: onsite("RU"), want: A, by: "ru-152.home"},
	}
}
