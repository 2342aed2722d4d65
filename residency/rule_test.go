package residency_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/residency"
)

// TestRules asks single rules what they say, each in a regime of its own beside those that ship.
func TestRules(t *testing.T) {
	base := rules(t)
	for _, c := range []struct {
		name         string
		deny         bool   // the regime's default
		rule         string // beside its head and dates
		kind         string
		change       func(*residency.Request)
		origins      string
		where        string
		papers       string
		want         residency.Verdict
		fact         string // that is missing
		enable       bool
		notConfirmed bool
	}{
		{name: "a permit for one origin", deny: true, kind: "permit", rule: `"when": {"origins": ["KE"]}`, where: "KE", want: A},
		{name: "is not one for two", deny: true, kind: "permit", rule: `"when": {"origins": ["KE"]}`, origins: "KE TZ", where: "KE", want: D},
		{name: "a forbid for one origin", kind: "forbid", rule: `"when": {"origins": ["KE"]}`, origins: "KE TZ", where: "KE", want: D},
		{name: "a forbid for another", kind: "forbid", rule: `"when": {"origins": ["TZ"]}`, where: "KE", want: A},
		{name: "which may be the origin", kind: "forbid", rule: `"when": {"origins": ["KE-30"]}`, where: "KE", want: U, fact: "which part of its country the data is from"},
		{name: "for a class", kind: "forbid", rule: `"when": {"minClass": "identifiable"}`, where: "KE", want: D},
		{name: "below the class", kind: "forbid", rule: `"when": {"minClass": "identifiable"}`, where: "KE", want: A,
			change: func(q *residency.Request) { q.Subject.Class = residency.Clinical }},
		{name: "no class is the highest", kind: "forbid", rule: `"when": {"minClass": "identifiable"}`, where: "KE", want: D,
			change: func(q *residency.Request) { q.Subject.Class = residency.Unclassified }},
		{name: "for a purpose", kind: "forbid", rule: `"when": {"purposes": ["recovery", "exit"]}`, where: "KE", want: D,
			change: func(q *residency.Request) { q.Purpose = residency.Exit }},
		{name: "for another purpose", kind: "forbid", rule: `"when": {"purposes": ["recovery", "exit"]}`, where: "KE", want: A},
		{name: "hosted", kind: "forbid", rule: `"when": {"hosted": true}`, where: "KE", want: D,
			change: func(q *residency.Request) { q.Target.Exposure.Operator = "KE" }},
		{name: "not hosted", kind: "forbid", rule: `"when": {"hosted": true}`, where: "KE", want: A},
		{name: "a forbid there", kind: "forbid", rule: `"places": ["KE-30"]`, where: "KE-30", want: D},
		{name: "a forbid that may be there", kind: "forbid", rule: `"places": ["KE-30"]`, where: "KE", want: U, fact: "which part of KE the target is in"},
		{name: "a forbid elsewhere", kind: "forbid", rule: `"places": ["KE-30"]`, where: "KE-31", want: A},
		{name: "a forbid all but there", kind: "forbid", rule: `"exceptPlaces": ["KE-30"]`, where: "KE-31", want: D},
		{name: "a forbid that may except it", kind: "forbid", rule: `"exceptPlaces": ["KE-30"]`, where: "KE", want: U, fact: "which part of KE the target is in"},
		{name: "a forbid with a need that holds", kind: "forbid", rule: `"needs": ["custody:provider"]`, where: "KE", want: D,
			change: func(q *residency.Request) { q.Target.Custody.Holder = residency.ProviderHeld }},
		{name: "a forbid with a need that does not", kind: "forbid", rule: `"needs": ["custody:provider"]`, where: "KE", want: A,
			change: func(q *residency.Request) { q.Target.Custody.Holder = residency.CustomerHeld }},
		{name: "a forbid with a need that may", kind: "forbid", rule: `"needs": ["custody:provider"]`, where: "KE", want: U, fact: "who holds the keys"},
		{name: "a demand that is met", kind: "demand", rule: `"needs": ["paper:scc"]`, where: "KE", papers: "scc", want: A},
		{name: "a demand that is not", kind: "demand", rule: `"needs": ["paper:scc"]`, where: "KE", papers: "no:scc", want: D},
		{name: "a demand that may be", kind: "demand", rule: `"needs": ["paper:scc"]`, where: "KE", want: U, fact: "paper scc"},
		{name: "a demand that may not be asked", kind: "demand", rule: `"places": ["KE-30"], "needs": ["paper:scc"]`, where: "KE", papers: "no:scc", want: U, fact: "which part of KE the target is in"},
		{name: "a demand that may not be asked, and is met", kind: "demand", rule: `"places": ["KE-30"], "needs": ["paper:scc"]`, where: "KE", papers: "scc", want: A},
		{name: "one of two", kind: "demand", rule: `"anyOf": [["paper:scc"], ["paper:bcr", "paper:tia"]]`, where: "KE", papers: "no:scc bcr tia", want: A},
		{name: "half of the second", kind: "demand", rule: `"anyOf": [["paper:scc"], ["paper:bcr", "paper:tia"]]`, where: "KE", papers: "no:scc bcr", want: U, fact: "paper tia"},
		{name: "neither", kind: "demand", rule: `"anyOf": [["paper:scc"], ["paper:bcr", "paper:tia"]]`, where: "KE", papers: "no:scc no:bcr", want: D},
		{name: "a scope refuted is not the paper refuted", kind: "demand", rule: `"needs": ["paper:scc"]`, where: "KE", papers: "scc no:scc/2010", want: A},
		{name: "a paper refuted is refuted in its scopes", kind: "demand", rule: `"needs": ["paper:scc/2021"]`, where: "KE", papers: "scc/2021 no:scc", want: D},
		{name: "another scope", kind: "demand", rule: `"needs": ["paper:scc/2021"]`, where: "KE", papers: "scc/2010", want: U, fact: "paper scc that covers 2021"},
		{name: "well enough known", kind: "demand", rule: `"needs": ["level:attested"]`, where: "aws af-south-1", want: D},
		{name: "operator there", kind: "demand", rule: `"needs": ["operator-in:@EEA,KE"]`, where: "KE", want: A,
			change: func(q *residency.Request) { q.Target.Exposure.Operator = "IE" }},
		{name: "operator elsewhere", kind: "demand", rule: `"needs": ["operator-in:@EEA,KE"]`, where: "KE", want: D,
			change: func(q *residency.Request) { q.Target.Exposure.Operator = "US" }},
		{name: "operator not known", kind: "demand", rule: `"needs": ["operator-in:@EEA,KE"]`, where: "KE", want: U, fact: "where the operator is established"},
		{name: "out of reach", kind: "demand", rule: `"needs": ["exposure-not-in:@US"]`, where: "KE", want: A,
			change: func(q *residency.Request) {
				q.Target.Exposure = residency.Exposure{Operator: "KE", Parent: "KE", Support: places("IN")}
			}},
		{name: "within reach of the parent's law", kind: "demand", rule: `"needs": ["exposure-not-in:@US"]`, where: "KE", want: D,
			change: func(q *residency.Request) { q.Target.Exposure = residency.Exposure{Operator: "KE", Parent: "US"} }},
		{name: "within reach of staff", kind: "demand", rule: `"needs": ["exposure-not-in:@US"]`, where: "KE", want: D,
			change: func(q *residency.Request) {
				q.Target.Exposure = residency.Exposure{Operator: "KE", Parent: "KE", Support: places("PR")}
			}},
		{name: "exposed to nobody knows whom", kind: "demand", rule: `"needs": ["exposure-not-in:@US"]`, where: "KE", want: U, fact: "where the operator's ultimate parent is",
			change: func(q *residency.Request) { q.Target.Exposure.Operator = "KE" }},
		{name: "permitted by others", kind: "demand", rule: `"needs": ["permitted-by:eu-gdpr.adequacy"]`, where: "CH", want: A},
		{name: "not permitted by others", kind: "demand", rule: `"needs": ["permitted-by:eu-gdpr.adequacy"]`, where: "KE", want: D},
		{name: "permitted by others if", kind: "demand", rule: `"needs": ["permitted-by:eu-gdpr.adequacy"]`, where: "BR", want: U, fact: "paper lgpd-recipient"},
		{name: "permitted by what nobody confirmed", kind: "demand", rule: `"needs": ["permitted-by:uk-gdpr.adequate.fo"]`, where: "FO", want: D},
		{name: "an oblige", kind: "oblige", rule: `"obliges": [{"code": "do-it", "text": "Do it."}]`, where: "KE", want: A},
		{name: "not confirmed", kind: "forbid", rule: `"note": "n"`, where: "KE", notConfirmed: true, want: U, fact: "rules for KE"},
		{name: "not confirmed and enabled", kind: "forbid", rule: `"note": "n"`, where: "KE", notConfirmed: true, enable: true, want: D},
	} {
		t.Run(c.name, func(t *testing.T) {
			byDefault := "allow"
			if c.deny {
				byDefault = "deny"
			}
			r, err := base.With(residency.RuleFile{Name: "ke.json", Data: fmt.Appendf(nil, `{"regime": "ke", "title": "Kenya", "zone": "Africa/Nairobi",
				"binds": {"origins": ["KE", "TZ"]}, "default": "%s", "inForce": [{"from": "2000-01-01", "known": "2000-01-01", "ref": "r"}], "rules": [{"id": "ke.rule", "kind": "%s", "strength": "law", "title": "The rule", %s,
				"values": [{"from": "2000-01-01", "known": "2000-01-01", "ref": "r"}], "confirmed": %v, "checked": "2026-11-01",
				"reviewBy": "2027-11-01", "sources": ["s"]}]}`, byDefault, c.kind, c.rule, !c.notConfirmed)})
			require.NoError(t, err)
			if c.enable {
				r, err = r.Enable("ke.rule")
				require.NoError(t, err)
			}
			if c.origins == "" {
				c.origins = "KE"
			}
			q := ask(c.origins, c.where, c.papers+" location-attestation/KE")
			if c.change != nil {
				c.change(&q)
			}
			d := decide(t, r, q)
			require.Equal(t, c.want, d.Verdict, explain(d))
			if c.fact != "" {
				require.Len(t, d.Missing, 1)
				require.Equal(t, c.fact, d.Missing[0].Fact)
			}
			if c.kind == "oblige" {
				require.Equal(t, []residency.Obligation{{Rule: "ke.rule", Code: "do-it", Text: "Do it."}}, d.Obligations)
			}
			require.Equal(t, c.notConfirmed && !c.enable, len(d.Unconfirmed) == 1)
		})
	}
}

// The adequacy decisions for the United Kingdom left data for the control of immigration out, until the renewal.
func TestImmigrationControl(t *testing.T) {
	r := rules(t)
	q := ask("IE", "aws eu-west-2", "no:scc no:bcr")
	q.Subject.Tags = []residency.Tag{"immigration-control"}
	for asOf, want := range map[string]residency.Verdict{"2025-12-27": D, "2025-12-28": A, "2031-12-27": A, "2031-12-28": D} {
		q.AsOf = day(t, asOf)
		require.Equal(t, want, decide(t, r, q).Verdict, asOf)
	}
}

// What ended for good needs no review; one rule of guidance can be switched off by itself.
func TestEndedAndSwitchedOff(t *testing.T) {
	r := rules(t)
	q := ask("CA-BC", "aws us-west-2", "no:patient-consent")
	q.Subject.Tags = []residency.Tag{"public-body"}
	q.Now = time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	q.Target.Location.At = q.Now
	require.NotContains(t, rulesOf(decide(t, r, q)), "ca-bc.fippa-30-1")

	q = ask("AU-QLD", "aws eu-west-1", "no:compatible-privacy-law")
	require.Equal(t, D, decide(t, r, q).Verdict)
	off, err := r.WithoutGuidance("au-racgp.compatible-law")
	require.NoError(t, err)
	d := decide(t, off, q)
	require.NotContains(t, rulesOf(d), "au-racgp.compatible-law")
	require.Contains(t, codesOf(d), "record-locations", "the other rule of that guidance stays: %s", explain(d))
	require.NotEqual(t, r.Digest(), off.Digest())
}
