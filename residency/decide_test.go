package residency_test

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/residency"
)

// ask is a request about identifiable data of some origins.

func ask(origins, where, have string) residency.Request {
	q := residency.Request{Target: at(where), Now: now}
	q.Subject = residency.Subject{Class: residency.Identifiable, Origins: places(origins)}
	q.Target.Papers = papers(have)
	return q
}

func decide(t testing.TB, r *residency.Ruleset, q residency.Request) residency.Decision {
	d, err := r.Decide(q)
	require.NoError(t, err)
	return d
}

// What became known later is not used: an auditor asks what was known then.

// On the day that a source names as the last, the decision says so.

// Without a date the law is that of the regime's own day: it is the first of January in Auckland before it is in Texas.

// A rule that nobody has looked at again is not believed, whatever date is asked about.

func TestOverride(t *testing.T) {
	r := rules(t)
	o := &residency.Override{ID: "o-1", Person: "Dr A. Practitioner", Reason: "the only other copy is lost", From: now.Add(-time.Hour), Until: now.Add(time.Hour)}
	q := ask("IE", "aws us-east-1", "no:dpf-listing no:scc no:bcr")
	require.Equal(t, D, decide(t, r, q).Verdict)
	for _, c := range []struct {
		name            string
		existing, write bool
		after           time.Duration
		want            residency.Verdict
		expires         time.Time
		warning         string
	}{
		{"what is there may stay", true, false, 0, A, o.Until, "allows this until 2026-11-22 13:00 UTC"},
		{"and nothing is added", false, false, 0, D, time.Time{}, "lets data stay, and adds none"},
		{"unless it says so", false, true, 0, A, o.Until, "the rules say denied"},
		{"which lets data stay too", true, true, 0, A, o.Until, "allows this"},
		{"not before it begins", true, true, -2 * time.Hour, D, o.From, "no effect yet"},
		{"from when it begins", true, true, -time.Hour, A, o.Until, "allows this"},
		{"until it ends", true, true, time.Hour, D, time.Time{}, "no effect any more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, o := q, *o
			o.Write = c.write
			q.Override, q.Existing, q.Now = &o, c.existing, now.Add(c.after)
			q.Target.Location.At = q.Now.Add(-time.Minute)
			d := decide(t, r, q)
			require.Equal(t, c.want, d.Verdict)
			require.Equal(t, D, d.Rules, "the verdict of the rules stands beside it")
			require.Len(t, d.Warnings, 1)
			require.Contains(t, d.Warnings[0], c.warning)
			require.NotContains(t, d.Warnings[0], "Practitioner")
			require.Equal(t, c.want == A, d.Override != nil)
			if !c.expires.IsZero() {
				require.Equal(t, c.expires, d.Expires)
				require.Equal(t, "override o-1", d.ExpiresBy)
			}
		})
	}

	// It is not used where the rules allow.
	q = ask("IE", "aws eu-west-1", "")
	q.Override = o
	d := decide(t, r, q)
	require.Equal(t, A, d.Rules)
	require.Nil(t, d.Override)
	require.Empty(t, d.Warnings)

	for want, change := range map[string]func(*residency.Override){
		"needs an id":      func(o *residency.Override) { o.ID = "" },
		"the person":       func(o *residency.Override) { o.Person = " " },
		"a reason":         func(o *residency.Override) { o.Reason = "" },
		"a later one":      func(o *residency.Override) { o.Until = o.From },
		"a time from":      func(o *residency.Override) { o.From = time.Time{} },
		"at most 168h0m0s": func(o *residency.Override) { o.Until = o.From.Add(residency.MaxOverride + 1) },
	} {
		bad := *o
		change(&bad)
		q.Override = &bad
		_, err := r.Decide(q)
		require.ErrorContains(t, err, want)
	}
}

// All regimes that bind must pass, and each says why.

func TestIntersection(t *testing.T) {
	r := rules(t)
	for _, c := range []struct {
		origins, where, papers string
		want                   residency.Verdict
		rule                   string
	}{
		{"US-FL", "aws ca-central-1", "baa", A, ""},
		{"US-TX", "aws ca-central-1", "baa", D, "us-tx.183-002"},
		{"US-FL US-TX", "aws ca-central-1", "baa", D, "us-tx.183-002"},
		{"US-FL US-TX", "aws us-east-1", "baa", A, ""},
		{"US-FL US-TX", "aws us-east-1", "", U, "us-hipaa.baa"},
		{"IE US-TX", "aws eu-west-1", "baa", D, "us-tx.183-002"},
		{"IE US-TX", "aws us-east-1", "baa dpf-listing", A, ""},
		// Puerto Rico is the United States to its laws, by either of its codes.
		{"US-TX", "PR", "baa", A, ""},
		{"US-TX", "US-PR", "baa", A, ""},
		// Where the state is not told, passing in all is passing, and failing in some is not known.
		{"US", "aws us-east-1", "baa", A, ""},
		{"US", "aws ca-central-1", "baa", U, "us-tx.183-002"},
		{"CA", "aws ca-central-1", "", A, ""},
	} {
		d := decide(t, r, ask(c.origins, c.where, c.papers))
		require.Equal(t, c.want, d.Verdict, "%s to %s: %s", c.origins, c.where, explain(d))
		if c.rule != "" {
			require.Contains(t, rulesOf(d), c.rule)
		}
	}
	d := decide(t, r, ask("US", "aws ca-central-1", "baa"))
	require.Contains(t, d.Missing, residency.Missing{Rule: "us-tx", Fact: "which part of its country the data is from"})
}

// No rule is not the same as no objection.

func TestUncovered(t *testing.T) {
	r := rules(t)
	for _, c := range []struct {
		origins string
		want    residency.Verdict
		fact    string
	}{
		{"KE", U, "rules for KE"},
		{"IE KE", U, "rules for KE"},
		{"", U, "where the body that answers for the data is"},
		{"IE", A, ""},
	} {
		d := decide(t, r, ask(c.origins, "aws eu-west-1", ""))
		require.Equal(t, c.want, d.Verdict, explain(d))
		if c.fact != "" {
			require.Equal(t, []residency.Missing{{Rule: "carekeep.origin", Fact: c.fact}}, d.Missing)
		}
	}
	// A vendor that knows the country says so in a file.
	more, err := r.With(residency.RuleFile{Name: "ke.json", Data: []byte(`{"regime": "ke", "title": "Kenya", "zone": "Africa/Nairobi",
		"binds": {"origins": ["KE"], "minClass": "demographic"}, "default": "allow", "inForce": [{"from": "2020-01-01", "known": "2020-01-01", "ref": "an act"}],
		"rules": [{"id": "ke.forbidden", "kind": "forbid", "strength": "law", "title": "not there", "places": ["CN"],
		"values": [{"from": "2020-01-01", "known": "2020-01-01", "ref": "an act"}], "confirmed": true,
		"checked": "2026-11-01", "reviewBy": "2027-11-01", "sources": ["the act"]}]}`)})
	require.NoError(t, err)
	require.Equal(t, A, decide(t, more, ask("KE", "aws eu-west-1", "")).Verdict)
	require.Equal(t, D, decide(t, more, ask("KE", "CN", "")).Verdict)
	require.Equal(t, U, decide(t, more, ask("IE KE", "aws us-east-1", "")).Verdict)
	// What is lower than the class that a regime looks at passes it, but is not unknown to it.
	q := ask("US-TX", "CN", "")
	q.Subject.Class = residency.Business
	q.Subject.Origins = places("KE")
	d := decide(t, more, q)
	require.Equal(t, A, d.Verdict, explain(d))
	require.Equal(t, "Kenya: asks nothing of the class business", d.Reasons[0].Text)
}

// It must be known where a provider keeps data about patients, and of late.

func TestEvidence(t *testing.T) {
	r := rules(t)
	off, err := r.WithoutGuidance("evidence.level", "evidence.age")
	require.NoError(t, err)
	for _, c := range []struct {
		name  string
		level residency.Level
		age   time.Duration
		class residency.Class
		want  residency.Verdict
		rule  string
	}{
		{"declared", residency.Declared, time.Hour, residency.Identifiable, U, "evidence.level"},
		{"inferred", residency.Inferred, time.Hour, residency.Clinical, U, "evidence.level"},
		{"observed", residency.Observed, time.Hour, residency.Demographic, A, ""},
		{"attested", residency.Attested, time.Hour, residency.Identifiable, A, ""},
		{"who the patients are", residency.Declared, time.Hour, residency.Demographic, U, "evidence.level"},
		{"accounts", residency.Declared, time.Hour, residency.Business, A, ""},
		{"just fresh", residency.Observed, residency.MaxObservationAge - 1, residency.Identifiable, A, ""},
		{"stale", residency.Observed, residency.MaxObservationAge, residency.Identifiable, U, "evidence.age"},
		{"by a clock a little ahead", residency.Observed, -5 * time.Minute, residency.Identifiable, A, ""},
		{"from the future", residency.Observed, -5*time.Minute - 1, residency.Identifiable, U, "evidence.age"},
		{"at no time", residency.Observed, 0, residency.Identifiable, U, "evidence.age"},
	} {
		q := ask("IE", "aws eu-west-1", "")
		q.Subject.Class = c.class
		q.Target.Location.Level = c.level
		q.Target.Location.At = now.Add(-c.age)
		if c.age == 0 {
			q.Target.Location.At = time.Time{}
		}
		d := decide(t, r, q)
		require.Equal(t, c.want, d.Verdict, "%s: %s", c.name, explain(d))
		if c.rule != "" {
			require.Contains(t, rulesOf(d), c.rule, c.name)
		}
		require.Equal(t, A, decide(t, off, q).Verdict, c.name)
	}
	d := decide(t, r, ask("IE", "aws eu-west-1", ""))
	require.Equal(t, now.Add(-time.Hour).Add(residency.MaxObservationAge), d.Expires)
	require.Equal(t, residency.Ending{At: d.Expires, By: "evidence.age"}, d.Endings[0], "what is renewed daily does not hide the rest")
	require.Contains(t, endings(d), "review of eu-gdpr.union")
	require.True(t, slices.IsSortedFunc(d.Endings, func(a, b residency.Ending) int { return a.At.Compare(b.At) }))

	// What does not bind the data does not end its decision either.
	d = decide(t, r, ask("AU-NSW", "aws ap-southeast-2", ""))
	for _, by := range endings(d) {
		require.NotContains(t, by, "in-dpdp")
	}
	require.Equal(t, "evidence.age", d.ExpiresBy)
	require.Equal(t, A, decide(t, r, ask("IE", "IE", "")).Verdict, "a disk onsite is where its owner says")
}

// Where somebody else runs a target without an interface that could be asked, a paper says where it is.

func TestAttestedLocation(t *testing.T) {
	r := rules(t)
	off, err := r.WithoutGuidance("evidence.level")
	require.NoError(t, err)
	require.Contains(t, r.PaperKinds(), residency.PaperLocation)
	operator := residency.Exposure{Operator: "IE"}
	for _, c := range []struct {
		name     string
		where    string
		exposure residency.Exposure
		papers   string
		want     residency.Verdict
		fact     string
	}{
		{"a disk of one's own", "IE", residency.Exposure{}, "", A, ""},
		{"an operator's word", "IE", operator, "", U, "paper location-attestation that covers IE"},
		{"a parent's", "IE", residency.Exposure{Parent: "IE"}, "", U, "paper location-attestation that covers IE"},
		{"on paper", "IE", operator, "location-attestation/IE", A, ""},
		{"of another place", "IE", operator, "location-attestation/FR", U, "paper location-attestation that covers IE"},
		{"of no place", "IE", operator, "location-attestation", U, "paper location-attestation that covers IE"},
		{"of the country", "IE-D", operator, "location-attestation/IE", A, ""},
		{"of a part alone", "IE", operator, "location-attestation/IE-D", U, "paper location-attestation that covers IE"},
		{"found to be wrong", "IE", operator, "location-attestation/IE no:location-attestation", U, "paper location-attestation that covers IE"},
		{"of one place of two", "IE FR", operator, "location-attestation/IE", U, "paper location-attestation that covers FR"},
		{"of both", "IE FR", operator, "location-attestation/IE,FR", A, ""},
		{"where a provider could be asked", "aws eu-west-1", residency.Exposure{}, "location-attestation/IE", U, "a location that the provider's interface shows"},
	} {
		q := ask("IE", "IE", c.papers+" hds/v2")
		q.Target.Location.Places = places(c.where)
		if c.where == "aws eu-west-1" {
			q.Target.Location = residency.Location{Provider: "aws", Region: "eu-west-1"}
		}
		q.Target.Exposure = c.exposure
		d := decide(t, r, q)
		require.Equal(t, c.want, d.Verdict, "%s: %s", c.name, explain(d))
		require.Equal(t, c.fact != "", slices.Contains(d.Missing, residency.Missing{Rule: "evidence.level", Fact: c.fact}), "%s: %s", c.name, explain(d))
		require.Equal(t, A, decide(t, off, q).Verdict, c.name)
		q.Subject.Class = residency.Business
		require.Equal(t, A, decide(t, r, q).Verdict, "%s: accounts", c.name)
	}

	// The paper ends, and so does the decision; a look that is fresh does as well, and one that is not does not.
	q := ask("IE", "IE", "")
	q.Target.Exposure = operator
	q.Target.Papers = []residency.Paper{{Kind: residency.PaperLocation, Scope: []string{"IE"}, From: day(t, "2026-01-01"), Until: day(t, "2026-12-01")}}
	d := decide(t, r, q)
	require.Equal(t, A, d.Verdict)
	require.Equal(t, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), d.Expires)
	require.Equal(t, "paper location-attestation", d.ExpiresBy)
	for on, want := range map[string]residency.Verdict{"2025-12-31": U, "2026-01-01": A, "2026-11-30": A, "2026-12-01": U} {
		q.AsOf = day(t, on)
		require.Equal(t, want, decide(t, r, q).Verdict, on)
	}
	q.AsOf, q.Target.Papers, q.Target.Location.Level = residency.Day{}, nil, residency.Observed
	for age, want := range map[time.Duration]residency.Verdict{time.Hour: A, residency.MaxObservationAge: U} {
		q.Target.Location.At = now.Add(-age)
		require.Equal(t, want, decide(t, r, q).Verdict, age)
	}
}

// Data in a group of places can be in any of them; a group that says no country is unknown.

func TestGroups(t *testing.T) {
	r := rules(t)
	d := decide(t, r, ask("IE", "gcp EU", ""))
	require.Equal(t, A, d.Verdict, explain(d))
	require.Contains(t, d.Places, residency.Place("HR"))
	require.NotContains(t, d.Places, residency.Place("GB"))
	require.NotContains(t, d.Places, residency.Place("@EU"))
	q := ask("IE", "gcp EU", "")
	q.AsOf = day(t, "2019-01-01")
	require.Contains(t, decide(t, r, q).Places, residency.Place("GB"))
	d = decide(t, r, ask("IE", "gcp ASIA", ""))
	require.Equal(t, U, d.Verdict)
	require.Equal(t, "carekeep.place", d.Missing[0].Rule)
	require.Equal(t, U, decide(t, r, ask("US-FL", "gcp ASIA", "baa")).Verdict)
}

// Codes of ISO 3166-2 for parts that the law of their country does not reach.

func TestPartsWithCodesOfTheirOwn(t *testing.T) {
	r := rules(t)
	for place, want := range map[string]residency.Verdict{
		"NL": A, "NL-AW": D, "AW": D, "FR": A, "FR-PF": D, "FR-974": A, "RE": A, "GF": A, "AX": A, "FO": A, "GL": D, "GI": D,
		"NO": A, "NO-21": D, "SJ": D, "CH": A, "US-PR": D, "CN-HK": D, "HK": D,
	} {
		d := decide(t, r, ask("IE", place, "no:scc no:bcr no:dpf-listing"))
		require.Equal(t, want, d.Verdict, "%s: %s", place, explain(d))
	}
}

// Access from elsewhere is a transfer, in the regimes that say so.

func TestAccess(t *testing.T) {
	r := rules(t)
	q := ask("IE", "aws eu-west-1", "no:scc no:bcr")
	q.Target.Exposure.Support = places("IE IN")
	d := decide(t, r, q)
	require.Equal(t, D, d.Verdict, explain(d))
	q.Target.Exposure.Support = places("IE NZ")
	require.Equal(t, A, decide(t, r, q).Verdict)

	q = ask("FR", "aws eu-west-3", "hds/v2 no:scc no:bcr")
	q.Target.Exposure.Support = places("GB")
	d = decide(t, r, q)
	require.Equal(t, A, d.Verdict, explain(d))
	require.Contains(t, codesOf(d), "describe-access")
	q.Target.Location.Places = places("GB")
	require.Equal(t, D, decide(t, r, q).Verdict, "to be there is more than to be reached from there")
}

// Who is exposed to what is another question than where bytes rest.

func TestExposureAndCustody(t *testing.T) {
	r := rules(t)
	q := ask("FR", "aws eu-west-3", "hds/v2 secnumcloud")
	q.Subject.Tags = []residency.Tag{"fr-health-data-hub"}
	for _, c := range []struct {
		operator, parent residency.Place
		want             residency.Verdict
	}{{"FR", "FR", A}, {"FR", "US", D}, {"FR", "", U}, {"", "FR", U}, {"", "US", D}} {
		q.Target.Exposure = residency.Exposure{Operator: c.operator, Parent: c.parent}
		d := decide(t, r, q)
		require.Equal(t, c.want, d.Verdict, "%v: %s", c, explain(d))
	}

	q = ask("IE", "aws ap-south-1", "scc/2021 tia")
	for _, c := range []struct {
		custody residency.Custody
		purpose residency.Purpose
		want    residency.Verdict
	}{
		{residency.Custody{Holder: residency.CustomerHeld, Places: places("IE DE")}, residency.Storage, A},
		{residency.Custody{Holder: residency.CustomerHeld, Places: places("IE DE")}, residency.Migration, A},
		{residency.Custody{Holder: residency.CustomerHeld, Places: places("IE DE")}, residency.Recovery, D},
		{residency.Custody{Holder: residency.CustomerHeld, Places: places("IE DE")}, residency.RestoreTest, D},
		{residency.Custody{Holder: residency.CustomerHeld, Places: places("IE IN")}, residency.Storage, D},
		{residency.Custody{Holder: residency.CustomerHeld}, residency.Storage, U},
		{residency.Custody{Holder: residency.ProviderHeld, Places: places("IE")}, residency.Storage, D},
		{residency.Custody{}, residency.Storage, U},
	} {
		q.Target.Custody, q.Purpose = c.custody, c.purpose
		d := decide(t, r, q)
		require.Equal(t, c.want, d.Verdict, "%v: %s", c, explain(d))
	}
}

// Old contracts served for a while after the clauses were repealed.

// Papers begin, end and are refuted, at the date that is asked about.

// What-if: a decision that ends tomorrow.

// Whoever does not want guidance says so; law stays.

func TestGuidance(t *testing.T) {
	r := rules(t)
	q := ask("GB", "aws us-east-1", "tra idta no:dpf-listing")
	q.Subject.Tags = []residency.Tag{"nhs"}
	require.Equal(t, D, decide(t, r, q).Verdict)
	off, err := r.WithoutGuidance("uk-nhs")
	require.NoError(t, err)
	require.Equal(t, A, decide(t, off, q).Verdict, explain(decide(t, off, q)))
	for _, id := range []string{"uk-gdpr", "uk-gdpr.home", "uk-nhs-england.uk", "carekeep.place", "nothing"} {
		_, err := r.WithoutGuidance(id)
		require.ErrorContains(t, err, id)
	}
}

// A rule that nobody confirmed has no effect and is named, until somebody answers for it.

func TestUnconfirmed(t *testing.T) {
	r := rules(t)
	q := ask("GB", "FO", "no:idta no:uk-addendum no:scc")
	d := decide(t, r, q)
	require.Equal(t, D, d.Verdict)
	require.Equal(t, []string{"uk-gdpr.adequate.fo"}, d.Unconfirmed)
	on, err := r.Enable("uk-gdpr.adequate.fo")
	require.NoError(t, err)
	d = decide(t, on, q)
	require.Equal(t, A, d.Verdict)
	require.Empty(t, d.Unconfirmed)
	require.NotEqual(t, r.Digest(), on.Digest())
	_, err = r.Enable("uk-gdpr.adequate.xx")
	require.ErrorContains(t, err, "no rule of that name")

	q = ask("IE", "US", "dpf-listing")
	q.Subject.Tags = []residency.Tag{"ehds"}
	q.AsOf = day(t, "2028-01-01")
	d = decide(t, r, q)
	require.Equal(t, A, d.Verdict, explain(d))
	require.Equal(t, []string{"ehds.article-86"}, d.Unconfirmed)
}

func TestRequestErrors(t *testing.T) {
	r := rules(t)
	good := ask("IE", "aws eu-west-1", "")
	for want, change := range map[string]func(*residency.Request){
		"set Now":               func(q *residency.Request) { q.Now = time.Time{} },
		"no rule knows the tag": func(q *residency.Request) { q.Subject.Tags = []residency.Tag{"nhs-engalnd"} },
		`an origin, "UK"`:       func(q *residency.Request) { q.Subject.Origins = places("UK") },
		"the operator's place":  func(q *residency.Request) { q.Target.Exposure.Operator = "Ireland" },
		"the parent's place":    func(q *residency.Request) { q.Target.Exposure.Parent = "@EU" },
		"a place of support":    func(q *residency.Request) { q.Target.Exposure.Support = places("XX") },
		"a place of the keys":   func(q *residency.Request) { q.Target.Custody.Places = places("de") },
		"class 7":               func(q *residency.Request) { q.Subject.Class = 7 },
		"purpose -1":            func(q *residency.Request) { q.Purpose = -1 },
		"level 9":               func(q *residency.Request) { q.Target.Location.Level = 9 },
		"holder 4":              func(q *residency.Request) { q.Target.Custody.Holder = 4 },
		"not a date":            func(q *residency.Request) { q.AsOf = residency.Day{Year: 2026, Month: 2, Day: 30} },
		"a paper needs a kind":  func(q *residency.Request) { q.Target.Papers = []residency.Paper{{Kind: "DPF"}} },
		"ends before it begins": func(q *residency.Request) {
			q.Target.Papers = []residency.Paper{{Kind: "scc", From: day(t, "2026-01-01"), Until: day(t, "2026-01-01")}}
		},
		"that the calendar does not": func(q *residency.Request) {
			q.Target.Papers = []residency.Paper{{Kind: "scc", Checked: residency.Day{Year: 1}}}
		},
		"outside the years": func(q *residency.Request) { q.Now = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		q := good
		change(&q)
		_, err := r.Decide(q)
		require.ErrorContains(t, err, want)
		q.Subject.Class = max(0, min(q.Subject.Class, residency.Operational))
		if want != "class 7" {
			_, err = r.Decide(q)
			require.ErrorContains(t, err, want, "also for data without personal data")
		}
	}
	_, err := (&residency.Ruleset{}).Decide(good)
	require.ErrorContains(t, err, "empty ruleset")

	// A region that does not exist is found by a probe or a person, and unknown; so is a class.
	q := good
	q.Target.Location.Region = "eu-west-99"
	require.Equal(t, U, decide(t, r, q).Verdict)
	q = good
	q.Subject.Class = residency.Unclassified
	d := decide(t, r, q)
	require.Equal(t, A, d.Verdict)
	require.Equal(t, []string{"the class is not given: the data is judged as identifiable"}, d.Warnings)
}

// One ruleset serves many at once, also while others are made from it.

func TestManyAtOnce(t *testing.T) {
	r := rules(t)
	q := ask("DE IE", "aws us-east-1", "dpf-listing scc/2021 tia")
	want := decide(t, r, q)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5 {
				d, err := r.Decide(q)
				assert.NoError(t, err)
				assert.Equal(t, want, d)
				ended, err := r.EndRule("eu-gdpr.adequacy.us-dpf", day(t, "2026-11-01"))
				assert.NoError(t, err)
				d, err = ended.Decide(q)
				assert.NoError(t, err)
				assert.NotEqual(t, A, d.Verdict)
			}
		})
	}
	all.Wait()
	require.Equal(t, want, decide(t, r, q))
}

// A decision is data: it can be kept, read again and made again.

func TestDecisionIsData(t *testing.T) {
	q := ask("FR IE", "azure westeurope GRS", "hds/v2 scc/2021,2010 dpf-listing")
	q.Subject.Tags = []residency.Tag{"nhs", "ehds"}
	q.Target.Location.At = now.Add(-time.Hour).In(mustZone(t, "Asia/Tokyo"))
	q.Override = &residency.Override{ID: "o", Person: "P", Reason: "R", From: now.Add(-time.Minute), Until: now.Add(time.Minute)}
	before, err := json.Marshal(q)
	require.NoError(t, err)
	r := rules(t)
	d := decide(t, r, q)
	text, err := json.MarshalIndent(d, "", "  ")
	require.NoError(t, err)
	var back residency.Decision
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, d, back)
	after, err := json.Marshal(q)
	require.NoError(t, err)
	require.Equal(t, string(before), string(after), "the request is left as it was")

	var again residency.Request
	require.NoError(t, json.Unmarshal(before, &again))
	require.Equal(t, d, decide(t, rules(t), again), "by another process, from what was kept")

	// The facts have one digest, however they are written and whenever they are asked about.
	other := q
	other.Subject.Origins = places("IE FR IE")
	other.Subject.Tags = []residency.Tag{"ehds", "nhs", "ehds"}
	other.Target.Papers = papers("dpf-listing scc/2010,2021,2010 hds/v2")
	other.Target.Location.At = q.Target.Location.At.UTC()
	other.Now = now.Add(time.Second)
	require.Equal(t, d.Facts, decide(t, r, other).Facts)
	other.Existing = true
	require.NotEqual(t, d.Facts, decide(t, r, other).Facts)
	require.Len(t, d.Facts, 64)
	require.Equal(t, r.Digest(), d.Ruleset)
}

func endings(d residency.Decision) (by []string) {
	for _, e := range d.Endings {
		by = append(by, e.By)
	}
	return by
}
