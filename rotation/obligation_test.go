package rotation_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

func day(t testing.TB, s string) rotation.Day {
	d, err := rotation.ParseDay(s)
	require.NoError(t, err)
	return d
}

// facts reads facts as a vendor would send them.
func facts(t testing.TB, s string) (f rotation.Facts) {
	dec := json.NewDecoder(strings.NewReader(s))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&f))
	return f
}

func ruleOf(t testing.TB, id string) rotation.Obligation {
	rules, err := rotation.ObligationRules()
	require.NoError(t, err)
	for _, r := range rules {
		if r.ID == id {
			return r
		}
	}
	t.Fatalf("no rule %s", id)
	return rotation.Obligation{}
}

// golden are the last days on which each rule that ships asks for a record.
var golden = []struct {
	rule, facts, last string
}{
	// Australia: seven years, and 25 for whoever was under 18 at the last entry.
	{"au.general", `{"lastEntry":"2020-06-30","youngestBirth":"1980-01-01"}`, "2027-06-30"},
	{"au.general", `{"lastEntry":"2020-06-30","youngestBirth":"2010-05-05"}`, "2035-05-05"},
	{"au.general", `{"single":true,"lastEntry":"2020-06-30","youngestBirth":"2002-07-01"}`, "2027-07-01"}, // 17, a day before 18
	{"au.general", `{"single":true,"lastEntry":"2020-06-30","youngestBirth":"2002-06-30"}`, "2027-06-30"}, // 18 that day
	{"au.general", `{"lastEntry":"2024-02-29","youngestBirth":"1970-01-01"}`, "2031-03-01"},
	{"au.general", `{"lastEntry":"2024-03-01","youngestBirth":"2024-02-29"}`, "2049-03-01"},
	{"au-nsw.hrip-25", `{"lastEntry":"2020-01-31","youngestBirth":"2004-02-29"}`, "2029-03-01"},
	{"au-vic.hpp-4.2", `{"lastEntry":"2020-01-31","youngestBirth":"2000-02-29"}`, "2027-01-31"},
	{"au-act.principle-4.1", `{"lastEntry":"2019-12-31","youngestBirth":"2003-01-01"}`, "2028-01-01"},
	// England: each class of the NHS code.
	{"uk-nhs.gp", `{"living":"no","lastDeath":"2016-02-29"}`, "2026-03-01"},
	{"uk-nhs.adult", `{"inTreatment":"no","lastTreatmentEnd":"2020-02-29"}`, "2028-02-29"},
	{"uk-nhs.adult", `{"inTreatment":"no","lastTreatmentEnd":"2021-02-28"}`, "2029-02-28"},
	{"uk-nhs.child", `{"single":true,"youngestBirth":"2004-03-10","inTreatment":"no","lastTreatmentEnd":"2021-03-09"}`, "2029-03-10"}, // 16
	{"uk-nhs.child", `{"single":true,"youngestBirth":"2004-03-10","inTreatment":"no","lastTreatmentEnd":"2021-03-10"}`, "2030-03-10"}, // 17
	{"uk-nhs.child", `{"single":true,"youngestBirth":"2004-03-10","inTreatment":"no","lastTreatmentEnd":"2022-03-09"}`, "2030-03-10"}, // 17
	{"uk-nhs.child", `{"single":true,"youngestBirth":"2004-03-10","inTreatment":"no","lastTreatmentEnd":"2022-03-10"}`, "2029-03-10"}, // 18
	{"uk-nhs.child", `{"youngestBirth":"2004-03-10"}`, "2030-03-10"},                                                                  // somebody may have been 17
	{"uk-nhs.child", `{"single":true,"youngestBirth":"2004-02-29","inTreatment":"no","lastTreatmentEnd":"2010-01-01"}`, "2029-03-01"},
	{"uk-nhs.mental-health", `{"inTreatment":"no","lastTreatmentEnd":"2010-05-01","lastDeath":"never"}`, "2030-05-01"},
	{"uk-nhs.mental-health", `{"inTreatment":"no","lastTreatmentEnd":"2010-05-01","lastDeath":"2012-01-01"}`, "2030-05-01"},
	{"uk-nhs.mental-health", `{"inTreatment":"no","lastTreatmentEnd":"2010-05-01","lastDeath":"2025-01-01"}`, "2035-01-01"},
	{"uk-nhs.obstetric", `{"inTreatment":"no","lastTreatmentEnd":"2000-02-29"}`, "2025-03-01"},
	{"uk-nhs.deregistered", `{"events":{"deregistration":"2000-02-29"}}`, "2100-03-01"}, // 2100 is no leap year
	// United States.
	{"us-hipaa.security", `{"lastCreation":"2018-01-01","events":{"last-in-effect":"2020-06-30"}}`, "2026-06-30"},
	{"us-hipaa.security", `{"lastCreation":"2021-01-01","events":{"last-in-effect":"never"}}`, "2027-01-01"},
	{"us-hipaa.privacy", `{"lastCreation":"2020-02-29","events":{"last-in-effect":"2019-01-01"}}`, "2026-03-01"},
	{"us-tx.physician", `{"lastEntry":"2020-01-01","youngestBirth":"2010-01-01"}`, "2031-01-01"},
	{"us-tx.physician", `{"lastEntry":"2020-01-01","youngestBirth":"1960-01-01"}`, "2027-01-01"},
	{"us-tx.hospital", `{"lastEntry":"2020-01-01","youngestBirth":"2012-01-01","openClaims":"no"}`, "2032-01-01"},
	{"us-tx.hospital", `{"lastEntry":"2020-01-01","youngestBirth":"2002-01-02","openClaims":"no"}`, "2030-01-01"},
	{"us-fl.physician", `{"lastEntry":"2020-02-29"}`, "2025-03-01"},
	{"us-fl.hospital", `{"lastEntry":"2020-02-29"}`, "2027-03-01"},
	{"us-ca.facility", `{"inTreatment":"no","lastTreatmentEnd":"2020-01-01","youngestBirth":"2015-07-04"}`, "2034-07-04"},
	{"us-ca.facility", `{"inTreatment":"no","lastTreatmentEnd":"2020-01-01","youngestBirth":"2007-07-04"}`, "2027-01-01"},
	// Germany.
	{"de.bgb-630f", `{"inTreatment":"no","lastTreatmentEnd":"2016-11-26"}`, "2026-11-26"},
	{"de.strlschg-85-treatment", `{"inTreatment":"no","lastTreatmentEnd":"1996-11-26"}`, "2026-11-26"},
	{"de.strlschg-85-examination", `{"single":true,"youngestBirth":"1990-01-01","events":{"radiation-examination":"2018-05-05"}}`, "2028-05-05"},
	{"de.strlschg-85-examination", `{"single":true,"youngestBirth":"2008-02-29","events":{"radiation-examination":"2026-02-28"}}`, "2036-02-29"}, // 17
	{"de.strlschg-85-examination", `{"single":true,"youngestBirth":"2015-01-01","events":{"radiation-examination":"2018-05-05"}}`, "2043-01-01"},
	// France: twenty years, at least to the 28th birthday, ten after death; claims stop the time.
	{"fr.r1112-7", `{"inTreatment":"no","lastTreatmentEnd":"2006-02-01","youngestBirth":"1960-01-01","lastDeath":"never","openClaims":"no"}`, "2026-02-01"},
	{"fr.r1112-7", `{"inTreatment":"no","lastTreatmentEnd":"2006-02-01","youngestBirth":"2004-02-29","lastDeath":"never","openClaims":"no"}`, "2032-02-29"},
	{"fr.r1112-7", `{"inTreatment":"no","lastTreatmentEnd":"2006-02-01","youngestBirth":"1960-01-01","lastDeath":"2020-01-01","openClaims":"no"}`, "2030-01-01"},
	{"fr.r1112-7", `{"inTreatment":"no","lastTreatmentEnd":"2006-02-01","youngestBirth":"1960-01-01","lastDeath":"2007-01-01","openClaims":"no"}`, "2026-02-01"},
	{"fr.r1112-7", `{"single":true,"inTreatment":"no","lastTreatmentEnd":"2006-02-01","youngestBirth":"1960-01-01","lastDeath":"never",
		"openClaims":"no","closedClaims":[{"from":"2010-01-01","to":"2010-01-10"}]}`, "2026-02-11"},
	{"fr.r1112-7", `{"single":true,"inTreatment":"no","lastTreatmentEnd":"2006-02-01","youngestBirth":"1960-01-01","lastDeath":"never",
		"openClaims":"no","closedClaims":[{"from":"2010-01-05","to":"2010-01-10"},{"from":"2010-01-01","to":"2010-01-05"}]}`, "2026-02-11"}, // the overlap counts once
	{"fr.r1112-7", `{"single":true,"inTreatment":"no","lastTreatmentEnd":"2006-02-01","youngestBirth":"1960-01-01","lastDeath":"never",
		"openClaims":"no","closedClaims":[{"from":"2000-01-01","to":"2006-01-01"}]}`, "2026-02-01"}, // before the stay ended
	{"fr.r1112-7", `{"single":true,"inTreatment":"no","lastTreatmentEnd":"2006-02-01","youngestBirth":"1960-01-01","lastDeath":"never",
		"openClaims":"no","closedClaims":[{"from":"2005-01-01","to":"2006-02-10"}]}`, "2026-02-11"}, // ten days of it after
	{"fr.r1112-7", `{"single":true,"inTreatment":"no","lastTreatmentEnd":"2006-02-01","youngestBirth":"1960-01-01","lastDeath":"never",
		"openClaims":"no","closedClaims":[{"from":"2026-02-02","to":"2027-01-01"}]}`, "2026-02-01"}, // too late
	{"fr.r1112-7", `{"single":true,"inTreatment":"no","lastTreatmentEnd":"2006-02-01","youngestBirth":"1960-01-01","lastDeath":"never",
		"openClaims":"no","closedClaims":[{"from":"2026-02-01","to":"2026-02-01"}]}`, "2026-02-02"}, // on the last day
	{"fr.r1112-7", `{"inTreatment":"no","lastTreatmentEnd":"2006-02-01","youngestBirth":"1960-01-01","lastDeath":"never",
		"openClaims":"no","closedClaims":[{"from":"2025-01-01","to":"2025-01-10"}]}`, "2026-02-11"}, // of a set: all days of claims
	{"fr.r1112-7", `{"inTreatment":"no","lastTreatmentEnd":"2006-02-01","youngestBirth":"1940-01-01","lastDeath":"never",
		"openClaims":"no","closedClaims":[{"from":"1990-01-01","to":"1999-12-31"}]}`, "2026-02-06"}, // or what can have remained, with a margin
	{"fr.r1112-7-transfusion", `{"events":{"transfusion":"1996-02-29"},"openClaims":"no"}`, "2026-03-01"},
	{"fr.cnom", `{"inTreatment":"no","lastTreatmentEnd":"2006-02-01","youngestBirth":"1999-01-01","lastDeath":"never","openClaims":"no"}`, "2027-01-01"},
	// New Zealand.
	{"nz.retention-1996", `{"lastEntry":"2016-11-26"}`, "2026-11-26"},
}

func TestGoldenDays(t *testing.T) {
	tested := map[string]bool{}
	for _, g := range golden {
		r := ruleOf(t, g.rule)
		tested[g.rule] = true
		f := facts(t, g.facts)
		f.Classes = map[rotation.RecordClass]rotation.Answer{r.Class: rotation.Yes}
		term, err := r.Until(f)
		require.NoError(t, err, g)
		require.Equal(t, g.last, term.Last.String(), "%s %s", g.rule, g.facts)
		require.False(t, term.Forever)
		require.NotEmpty(t, term.Reasons)
		// The last day is inside, and the day after is out.
		require.True(t, term.Keep(term.Last.AddDays(-1)))
		require.True(t, term.Keep(term.Last))
		require.False(t, term.Keep(term.Last.AddDays(1)))
		for _, reason := range term.Reasons {
			require.Equal(t, g.rule, reason.Rule)
			require.Contains(t, reason.Text, r.Reference.Citation)
			require.Equal(t, !r.Confirmed, strings.Contains(reason.Text, "UNCONFIRMED"))
		}
	}
	rules, err := rotation.ObligationRules()
	require.NoError(t, err)
	for _, r := range rules {
		require.True(t, r.Freeze || tested[r.ID], "%s has no golden day", r.ID)
	}
}

func TestNoEnd(t *testing.T) {
	for _, c := range []struct{ rule, facts, code string }{
		{"uk-nhs.gp", `{"living":"yes","lastDeath":"2001-01-01"}`, "living"},
		{"uk-nhs.adult", `{"inTreatment":"yes","lastTreatmentEnd":"2001-01-01"}`, "inTreatment"},
		{"fr.r1112-7-transfusion", `{"events":{"transfusion":"1980-01-01"},"openClaims":"yes"}`, "claim"},
		{"us-tx.hospital", `{"lastEntry":"1980-01-01","youngestBirth":"1940-01-01","openClaims":"yes"}`, "claim"},
		{"au-wa.children-freeze", `{}`, "freeze"},
		{"au-wa.aboriginal-1970", `{}`, "freeze"},
	} {
		r := ruleOf(t, c.rule)
		f := facts(t, c.facts)
		f.Classes = map[rotation.RecordClass]rotation.Answer{r.Class: rotation.Yes}
		term, err := r.Until(f)
		require.NoError(t, err)
		require.True(t, term.Forever, c.rule)
		require.True(t, term.Keep(day(t, "9999-01-01")))
		require.Equal(t, c.code, term.Reasons[0].Code)

		f.Classes[r.Class] = rotation.No
		term, err = r.Until(f)
		require.NoError(t, err)
		require.False(t, term.Keep(day(t, "0001-01-01")), "the set holds no such record")
	}
}

// A fact that is missing keeps, whichever it is.
func TestMissingFactsKeep(t *testing.T) {
	rules, err := rotation.ObligationRules()
	require.NoError(t, err)
	for _, r := range rules {
		term, err := r.Until(rotation.Facts{})
		var missing *rotation.MissingFactsError
		require.ErrorAs(t, err, &missing, r.ID)
		require.Equal(t, term.Missing, missing.Facts)
		require.Contains(t, missing.Facts, "classes."+string(r.Class))
		require.True(t, term.Keep(day(t, "9999-12-31")), r.ID)
	}
	for _, g := range golden {
		r := ruleOf(t, g.rule)
		var whole map[string]any
		require.NoError(t, json.Unmarshal([]byte(g.facts), &whole))
		for name := range whole {
			if name == "single" || name == "closedClaims" {
				continue
			}
			part := map[string]any{}
			for k, v := range whole {
				if k != name {
					part[k] = v
				}
			}
			b, err := json.Marshal(part)
			require.NoError(t, err)
			f := facts(t, string(b))
			f.Classes = map[rotation.RecordClass]rotation.Answer{r.Class: rotation.Yes}
			term, err := r.Until(f)
			require.ErrorContains(t, err, name, "%s without %s", g.rule, name)
			require.True(t, term.Keep(day(t, "9999-12-31")))
		}
	}
}

func TestFactsThatMakeNoSense(t *testing.T) {
	r := ruleOf(t, "uk-nhs.gp")
	for _, f := range []rotation.Facts{
		{LastDeath: rotation.Fact{Day: day(t, "2020-01-01"), Never: true}},
		{Events: map[string]rotation.Fact{"x": {Day: rotation.Day{Year: 2023, Month: 2, Day: 29}}}},
		{Living: rotation.No, LastDeath: rotation.Fact{Never: true}},
		{ClosedClaims: []rotation.Interval{{From: day(t, "2020-01-02"), To: day(t, "2020-01-01")}}},
	} {
		_, err := r.Until(f)
		require.ErrorContains(t, err, "facts: ")
		_, err = rotation.Obligations([]string{"AU"}, f, day(t, "2026-01-01"), nil)
		require.ErrorContains(t, err, "facts: ")
	}
	_, err := rotation.Obligation{}.Until(rotation.Facts{})
	require.ErrorContains(t, err, "expected")
}

func TestUnconfirmedRules(t *testing.T) {
	f := facts(t, `{"classes":{"health-record":"yes"},"lastEntry":"2020-01-01","youngestBirth":"1950-01-01"}`)
	on := day(t, "2026-11-26")

	// Alone an unconfirmed rule has no effect, and a place without another rule keeps for want of one.
	term, err := rotation.Obligations([]string{"NZ"}, f, on, nil)
	require.NoError(t, err)
	require.True(t, term.Last.IsZero())
	require.Equal(t, []string{"rules.NZ"}, term.Missing)
	require.True(t, term.Keep(day(t, "9999-01-01")))
	require.Equal(t, "not-enabled", term.Reasons[0].Code)
	require.Contains(t, term.String(), rotation.NotLegalAdvice)

	term, err = rotation.Obligations([]string{"NZ"}, f, on, &rotation.ObligationOptions{Enabled: []string{"nz.retention-1996"}})
	require.NoError(t, err)
	require.Empty(t, term.Missing)
	require.Equal(t, "2030-01-01", term.Last.String())
	require.Contains(t, term.Reasons[0].Text, "UNCONFIRMED")
	require.Contains(t, term.String(), "Keep through 2030-01-01.")

	_, err = rotation.Obligations([]string{"NZ"}, f, on, &rotation.ObligationOptions{Enabled: []string{"nz.retention"}})
	require.ErrorContains(t, err, `"nz.retention"`)
}

func TestPlaces(t *testing.T) {
	f := facts(t, `{"classes":{"health-record":"yes","institution-record":"no","transfusion":"no","radiation-treatment":"no",
		"radiation-examination":"no","government-children":"no","government-aboriginal-1970":"no","compliance-documentation":"no"},
		"lastEntry":"2020-01-01","youngestBirth":"1950-01-01","inTreatment":"no","lastTreatmentEnd":"2020-01-01",
		"lastDeath":"never","openClaims":"no"}`)
	on := day(t, "2026-11-26")
	at := func(places ...string) rotation.Term {
		term, err := rotation.Obligations(places, f, on, nil)
		require.NoError(t, err)
		return term
	}
	require.Equal(t, "2027-01-01", at("AU-QLD").Last.String())
	require.Empty(t, at("AU-QLD").Missing)
	require.Empty(t, at("AU-WA").Missing)
	require.Equal(t, "2030-01-01", at("DE-BY").Last.String(), "a country's rules bind in its parts")
	require.Equal(t, "2040-01-01", at("DE", "FR", "AU-NSW").Last.String(), "the latest of all places")
	require.Equal(t, []string{"subdivision.AU"}, at("AU").Missing, "rules differ inside")
	require.Equal(t, []string{"rules.GB", "subdivision.GB"}, at("GB").Missing)
	require.Equal(t, []string{"rules.US-NY"}, at("US-NY").Missing, "documentation says nothing of charts")
	require.Equal(t, []string{"rules.JP"}, at("JP").Missing)
	for _, bad := range [][]string{nil, {""}, {"au"}, {"AUS"}, {"AU-"}, {"AU-NSWX"}, {"Australia"}} {
		_, err := rotation.Obligations(bad, f, on, nil)
		require.ErrorContains(t, err, "place")
	}
	_, err := rotation.Obligations([]string{"AU"}, f, rotation.Day{}, nil)
	require.ErrorContains(t, err, "no day")

	// Not answering a class keeps: a practice in Western Australia has to say whether it is a government's.
	delete(f.Classes, "government-children")
	require.Equal(t, []string{"classes.government-children"}, at("AU-WA").Missing)
	f.Classes["government-children"] = rotation.Yes
	require.True(t, at("AU-WA").Forever)
	require.False(t, at("AU-QLD").Forever)
}

func TestRulesInForce(t *testing.T) {
	old, now := ruleOf(t, "de.bgb-630f"), ruleOf(t, "de.bgb-630f")
	old.Valid.To = day(t, "2026-12-31")
	now.Valid.From = day(t, "2027-01-01")
	now.Periods = []rotation.ObligationPeriod{{Anchor: rotation.AnchorTreatmentEnd, Length: rotation.Span{Years: 30}}}
	f := facts(t, `{"classes":{"health-record":"yes"},"inTreatment":"no","lastTreatmentEnd":"2020-01-01"}`)
	o := &rotation.ObligationOptions{Rules: []rotation.Obligation{old, now}}
	for on, last := range map[string]string{"2026-12-31": "2030-01-01", "2027-01-01": "2050-01-01"} {
		term, err := rotation.Obligations([]string{"DE"}, f, day(t, on), o)
		require.NoError(t, err)
		require.Equal(t, last, term.Last.String())
	}
	o.Rules[0].Valid.To = day(t, "2027-01-01")
	_, err := rotation.Obligations([]string{"DE"}, f, day(t, "2026-12-31"), o)
	require.ErrorContains(t, err, "two versions of de.bgb-630f")

	codes := func(on string) (codes []string) {
		term, err := rotation.Obligations([]string{"DE"}, f, day(t, on), &rotation.ObligationOptions{Rules: o.Rules[1:]})
		require.NoError(t, err)
		for _, r := range term.Reasons {
			codes = append(codes, r.Code)
		}
		return codes
	}
	require.NotContains(t, codes(now.ReviewBy.String()), "review-overdue")
	require.Contains(t, codes(now.ReviewBy.AddDays(1).String()), "review-overdue")
}

// An aggregate is never earlier than any of the subjects that it stands for.
func TestAggregatesCoverEverySubject(t *testing.T) {
	rules, err := rotation.ObligationRules()
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	base := day(t, "1990-01-01")
	for range 400 {
		var claims []rotation.Interval
		for range rng.IntN(4) {
			from := base.AddDays(rng.IntN(15000))
			claims = append(claims, rotation.Interval{From: from, To: from.AddDays(rng.IntN(900))})
		}
		whole := rotation.Facts{InTreatment: rotation.No, Living: rotation.No, OpenClaims: rotation.No, ClosedClaims: claims,
			Events: map[string]rotation.Fact{}, Classes: map[rotation.RecordClass]rotation.Answer{}}
		for _, r := range rules {
			whole.Classes[r.Class] = rotation.Yes
		}
		var subjects []rotation.Facts
		for range 1 + rng.IntN(3) {
			s := whole
			s.Single = true
			s.ClosedClaims = nil
			for _, c := range claims {
				if rng.IntN(2) == 0 {
					s.ClosedClaims = append(s.ClosedClaims, c)
				}
			}
			birth := base.AddDays(rng.IntN(12000) - 6000)
			at := func() rotation.Fact { return rotation.Fact{Day: birth.AddDays(rng.IntN(15000))} }
			s.YoungestBirth, s.LastEntry, s.LastTreatmentEnd = rotation.Fact{Day: birth}, at(), at()
			s.LastDeath, s.LastCreation = at(), at()
			s.Events = map[string]rotation.Fact{}
			for _, e := range []string{"deregistration", "last-in-effect", "radiation-examination", "transfusion"} {
				s.Events[e] = at()
				whole.Events[e] = newest(whole.Events[e], s.Events[e])
			}
			whole.YoungestBirth = newest(whole.YoungestBirth, s.YoungestBirth)
			whole.LastEntry = newest(whole.LastEntry, s.LastEntry)
			whole.LastTreatmentEnd = newest(whole.LastTreatmentEnd, s.LastTreatmentEnd)
			whole.LastDeath = newest(whole.LastDeath, s.LastDeath)
			whole.LastCreation = newest(whole.LastCreation, s.LastCreation)
			subjects = append(subjects, s)
		}
		for _, r := range rules {
			all, err := r.Until(whole)
			require.NoError(t, err)
			for _, s := range subjects {
				one, err := r.Until(s)
				require.NoError(t, err)
				require.False(t, one.Last.After(all.Last), "%s: %+v outlives %+v", r.ID, s, whole)
				require.Equal(t, all.Forever, one.Forever)
			}
		}
	}
}

func newest(a, b rotation.Fact) rotation.Fact {
	if b.Day.After(a.Day) {
		return b
	}
	return a
}

// One more rule, claim or freeze never lets anything go earlier.
func TestMoreNeverEndsEarlier(t *testing.T) {
	rules, err := rotation.ObligationRules()
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(3, 4))
	base := day(t, "1990-01-01")
	places := []string{"AU-NSW", "AU-WA", "GB-ENG", "US-TX", "US-CA", "DE", "FR", "NZ"}
	for range 150 {
		random := func() rotation.Fact {
			switch rng.IntN(8) {
			case 0:
				return rotation.Fact{Never: true}
			case 1:
				return rotation.Fact{}
			}
			return rotation.Fact{Day: base.AddDays(rng.IntN(13000))}
		}
		answer := func() rotation.Answer { return rotation.Answer(rng.IntN(3)) }
		f := rotation.Facts{Single: rng.IntN(2) == 0, LastEntry: random(), YoungestBirth: random(), LastTreatmentEnd: random(),
			LastDeath: random(), LastCreation: random(), InTreatment: answer(), Living: rotation.Yes, OpenClaims: answer(),
			Events:  map[string]rotation.Fact{"transfusion": random(), "last-in-effect": random()},
			Classes: map[rotation.RecordClass]rotation.Answer{}}
		for _, r := range rules {
			f.Classes[r.Class] = answer()
		}
		var some, rest []rotation.Obligation
		var enabled []string
		for _, r := range rules {
			if rng.IntN(2) == 0 {
				some = append(some, r)
				if rng.IntN(2) == 0 {
					enabled = append(enabled, r.ID)
				}
			} else {
				rest = append(rest, r)
			}
		}
		until := func(f rotation.Facts, rules []rotation.Obligation, enabled []string) rotation.Term {
			if rules == nil {
				rules = []rotation.Obligation{}
			}
			term, err := rotation.Obligations(places, f, day(t, "2026-11-26"),
				&rotation.ObligationOptions{Rules: rules, Enabled: enabled})
			require.NoError(t, err)
			return term
		}
		notEarlier := func(more, less rotation.Term) {
			require.False(t, less.Last.After(more.Last))
			require.False(t, less.Forever && !more.Forever)
		}
		less := until(f, some, enabled)
		notEarlier(until(f, append(some[:len(some):len(some)], rest...), enabled), less)
		notEarlier(until(f, some, ids(some)), less)

		from := base.AddDays(rng.IntN(14000))
		more := f
		more.ClosedClaims = append(more.ClosedClaims, rotation.Interval{From: from, To: from.AddDays(rng.IntN(2000))})
		notEarlier(until(more, some, enabled), less)
		from = base.AddDays(rng.IntN(14000))
		again := more
		again.ClosedClaims = append(again.ClosedClaims[:1:1], rotation.Interval{From: from, To: from.AddDays(rng.IntN(2000))})
		notEarlier(until(again, some, enabled), until(more, some, enabled))
	}
}

func ids(rules []rotation.Obligation) (ids []string) {
	for _, r := range rules {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestFactsText(t *testing.T) {
	in := `{"single":true,"classes":{"health-record":"yes","obstetric":"no"},"lastEntry":"2020-01-01","youngestBirth":"never",` +
		`"inTreatment":"no","events":{"transfusion":"never"},"openClaims":"yes","closedClaims":[{"from":"2020-01-01","to":"2020-01-02"}]}`
	out, err := json.Marshal(facts(t, in))
	require.NoError(t, err)
	require.JSONEq(t, in, string(out))
	require.Equal(t, in, string(out))
	for _, bad := range []string{`{"inTreatment":"maybe"}`, `{"lastEntry":"2023-02-29"}`, `{"lastEntry":"always"}`} {
		require.Error(t, json.Unmarshal([]byte(bad), &rotation.Facts{}))
	}
}
