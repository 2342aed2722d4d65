package residency_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/residency"
)

const renewal = `{"reviews": [
  {"by": "Example Clinical Software", "rules": ["eu-gdpr.union", "eu-gdpr.adequacy.ch"],
   "checked": "2027-05-20", "reviewBy": "2027-11-20", "sources": ["EUR-Lex, read 2027-05-20"]}]}`

// A vendor renews rules whose text it read again, and it is seen that it was the vendor.
func TestReview(t *testing.T) {
	r := rules(t)
	with := func(data ...string) *residency.Ruleset {
		more := r
		for _, text := range data {
			var err error
			more, err = more.With(residency.RuleFile{Name: "reviews.json", Data: []byte(text)})
			require.NoError(t, err)
		}
		return more
	}
	listed := func(r *residency.Ruleset, id string) residency.Rule {
		i := slices.IndexFunc(r.Rules(), func(one residency.Rule) bool { return one.ID == id })
		require.GreaterOrEqual(t, i, 0)
		return r.Rules()[i]
	}
	renewed := with(renewal)
	q := ask("IE", "IE", "")
	for _, c := range []struct {
		on             string
		before, after  residency.Verdict
		expires, where string
	}{
		{"2027-05-22", A, A, "2027-11-21", "IE"}, {"2027-05-23", U, A, "2027-11-21", "IE"},
		{"2027-11-20", U, A, "2027-11-21", "CH"}, {"2027-11-21", U, U, "", "IE"}, {"2027-05-23", U, U, "", "NZ"},
	} {
		q := q
		q.Now, q.Target.Location.Places = day(t, c.on).UTC().Add(12*time.Hour), places(c.where)
		require.Equal(t, c.before, decide(t, r, q).Verdict, "%v", c)
		d := decide(t, renewed, q)
		require.Equal(t, c.after, d.Verdict, "%v: %s", c, explain(d))
		if c.after != A {
			continue
		}
		require.Equal(t, day(t, c.expires), dayIn(d.Expires, "Europe/Brussels", t))
		require.Len(t, d.Reasons, 1)
		require.Equal(t, "Example Clinical Software", d.Reasons[0].ReviewedBy)
	}

	// What it says else is as it was.
	was, is := listed(r, "eu-gdpr.union"), listed(renewed, "eu-gdpr.union")
	require.Empty(t, was.ReviewedBy)
	require.Equal(t, append(slices.Clone(was.Sources), "EUR-Lex, read 2027-05-20"), is.Sources)
	is.Sources, is.Checked, is.ReviewBy, is.ReviewedBy = was.Sources, was.Checked, was.ReviewBy, ""
	require.Equal(t, was, is)
	require.Equal(t, listed(r, "eu-gdpr.adequacy.nz"), listed(renewed, "eu-gdpr.adequacy.nz"))
	require.NotEqual(t, r.Digest(), renewed.Digest())
	require.NotEqual(t, renewed.Digest(), with(strings.Replace(renewal, "Example Clinical", "Another", 1)).Digest(), "who answers for it is part of it")

	// The last look counts, whatever the order of files, and one that is no later than the rule's own does not.
	later := strings.NewReplacer("2027-05-20", "2027-06-01", "2027-11-20", "2027-12-01", "Example Clinical", "Another").Replace(renewal)
	require.Equal(t, "2027-12-01", listed(with(renewal, later), "eu-gdpr.union").ReviewBy.String())
	require.Equal(t, "Another Software", listed(with(later, renewal), "eu-gdpr.union").ReviewedBy)
	require.Equal(t, with(renewal, later).Digest(), with(later, renewal).Digest())
	for _, checked := range []string{"2026-11-21", "2026-11-22"} {
		old := strings.NewReplacer("2027-05-20", checked, "2027-11-20", "2027-11-01").Replace(renewal)
		require.Equal(t, was, listed(with(old), "eu-gdpr.union"), checked)
	}
	const amends = `{"extends": "eu-gdpr", "rules": [{"id": "eu-gdpr.union", "amends": true, "values": [],
		"checked": "2026-11-21", "reviewBy": "2027-11-21", "sources": ["read again"]}]}`
	require.Equal(t, was.ReviewBy, listed(with(amends), "eu-gdpr.union").ReviewBy, "nor does that of an older amendment")
	require.Equal(t, "2027-11-22", listed(with(strings.ReplaceAll(amends, "-21", "-22")), "eu-gdpr.union").ReviewBy.String())

	// It does not confirm what nobody confirmed.
	require.False(t, listed(with(strings.Replace(renewal, "eu-gdpr.union", "uk-gdpr.adequate.fo", 1)), "uk-gdpr.adequate.fo").Enabled)
}

func TestReviewIsStrict(t *testing.T) {
	r := rules(t)
	for want, change := range map[string][2]string{
		"there is no rule of that name":  {`"eu-gdpr.union"`, `"eu-gdpr.onion"`},
		"by: expected who":               {`"Example Clinical Software"`, `""`},
		"rules: expected the rules":      {`["eu-gdpr.union", "eu-gdpr.adequacy.ch"]`, `[]`},
		"reviewBy: expected the day":     {`"reviewBy": "2027-11-20", `, ``},
		"within a year":                  {`"reviewBy": "2027-11-20"`, `"reviewBy": "2028-05-21"`},
		"not before":                     {`"reviewBy": "2027-11-20"`, `"reviewBy": "2027-05-19"`},
		"checked: expected the day":      {`"checked": "2027-05-20", `, ``},
		"sources: expected at least one": {`["EUR-Lex, read 2027-05-20"]`, `[]`},
		`unknown field "values"`:         {`"by"`, `"values": [], "by"`},
		"in a file of their own":         {`{"reviews"`, `{"extends": "eu-gdpr", "rules": [{"id": "eu-gdpr.union"}], "reviews"`},
		"expected a regime such as":      {`{"reviews"`, `{"zone": "Europe/Brussels", "reviews"`},
	} {
		require.Contains(t, renewal, change[0])
		_, err := r.With(residency.RuleFile{Name: "reviews.json", Data: []byte(strings.Replace(renewal, change[0], change[1], 1))})
		require.ErrorContains(t, err, want)
		var where *residency.RuleError
		require.True(t, errors.As(err, &where), want)
		require.LessOrEqual(t, where.Line, 3, want)
	}
	// Nobody writes into a rule who reviewed it.
	_, err := residency.NewRuleset(residency.RuleFile{Name: "xx.json", Data: []byte(strings.Replace(oneRegime, `"strength": "law"`, `"strength": "law", "reviewedBy": "us"`, 1))})
	require.ErrorContains(t, err, `unknown field "reviewedBy"`)
}
