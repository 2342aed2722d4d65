package rotation_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

func TestRulesThatShip(t *testing.T) {
	rules, err := rotation.ObligationRules()
	require.NoError(t, err)
	regimes := map[string]int{}
	seen := map[string]bool{}
	for _, r := range rules {
		regimes[r.Regime]++
		require.False(t, seen[r.ID], r.ID)
		seen[r.ID] = true
		require.NotEmpty(t, r.Reference.Read, r.ID)
		require.False(t, r.Reference.Date.After(r.Checked), r.ID)
		require.True(t, r.ReviewBy.After(r.Checked), r.ID)
		require.LessOrEqual(t, r.ReviewBy.Sub(r.Checked), 366, "%s: reviewed once a year", r.ID)
		if !r.Confirmed {
			require.NotEmpty(t, r.Note, r.ID)
		}
	}
	require.Equal(t, map[string]int{"au": 1, "au-nsw": 1, "au-vic": 1, "au-act": 1, "au-wa": 2, "uk-nhs": 6, "us-hipaa": 2,
		"us-states": 5, "de": 3, "fr": 3, "nz": 1}, regimes)
	for _, id := range []string{"au-nsw.hrip-25", "au-vic.hpp-4.2", "au-act.principle-4.1", "nz.retention-1996"} {
		require.False(t, ruleOf(t, id).Confirmed, "the text of %s was not read", id)
	}

	// What one caller changes, another does not see.
	rules[0].Periods[0].Length = rotation.Span{}
	again, err := rotation.ObligationRules()
	require.NoError(t, err)
	require.NotEqual(t, rules[0], again[0])
}

const oneRule = `{
  "regime": "xx",
  "title": "A regime",
  "rules": [
    {
      "id": "xx.one",
      "title": "Ten years",
      "jurisdiction": "DE",
      "class": "health-record",
      "periods": [
        {"anchor": "last-entry", "length": "10y"},
        {"anchor": "birth", "length": "25y", "age": {"under": 18, "at": "last-entry"}}
      ],
      "valid": {"from": "2020-01-01", "to": "2029-12-31"},
      "strength": "law",
      "reference": {"citation": "An Act s 1", "date": "2020-01-01", "read": "the text"},
      "checked": "2026-01-01",
      "reviewBy": "2027-01-01",
      "confirmed": true
    }
  ]
}
`

func TestDecoderIsStrict(t *testing.T) {
	rules, err := rotation.DecodeObligations("xx.json", []byte(oneRule))
	require.NoError(t, err)
	require.Len(t, rules, 1)
	require.Equal(t, "xx", rules[0].Regime)

	second := strings.Replace(oneRule[strings.Index(oneRule, "    {\n"):strings.Index(oneRule, "\n  ]\n")], "2020-01-01\", \"to\": \"2029-12-31", "%s", 1)
	for name, c := range map[string]struct {
		old, new string
		line     int
		want     string
	}{
		"unknown field":         {`"title": "Ten years",`, `"tittle": "Ten years",`, 7, `unknown field "tittle"`},
		"another case":          {`"title": "Ten years",`, `"Title": "Ten years",`, 7, `unknown field "Title"`},
		"field in the wrong":    {`"title": "Ten years",`, `"title": "Ten years", "anchor": "birth",`, 7, `unknown field "anchor"`},
		"twice":                 {`"title": "Ten years",`, `"title": "Ten years", "title": "x",`, 7, `"title" occurs twice`},
		"no date":               {`"checked": "2026-01-01"`, `"checked": "2026-02-30"`, 17, "2026-02-30"},
		"no date of the text":   {`"date": "2020-01-01"`, `"date": ""`, 16, "expected the date of the text"},
		"no source":             {`"reference": {"citation": "An Act s 1", "date": "2020-01-01", "read": "the text"},`, ``, 5, "expected a source"},
		"empty citation":        {`"citation": "An Act s 1"`, `"citation": ""`, 16, "expected a source"},
		"nothing read":          {`"read": "the text"`, `"read": ""`, 16, "expected a source"},
		"text after checking":   {`"date": "2020-01-01"`, `"date": "2026-01-02"`, 16, "not younger"},
		"review before":         {`"reviewBy": "2027-01-01"`, `"reviewBy": "2025-01-01"`, 18, "reviewBy"},
		"backwards":             {`"to": "2029-12-31"`, `"to": "2019-12-31"`, 14, "valid"},
		"id":                    {`"id": "xx.one"`, `"id": "One"`, 6, "id: expected"},
		"jurisdiction":          {`"jurisdiction": "DE"`, `"jurisdiction": "Germany"`, 8, "ISO 3166"},
		"class":                 {`"class": "health-record"`, `"class": "Health"`, 9, "class: expected"},
		"strength":              {`"strength": "law"`, `"strength": "advice"`, 15, "law, policy or guidance"},
		"claims":                {`"strength": "law"`, `"claims": "stop", "strength": "law"`, 15, "block or suspend"},
		"anchor":                {`"anchor": "last-entry", "length"`, `"anchor": "visit", "length"`, 11, "anchor: expected"},
		"event without a name":  {`"anchor": "last-entry", "length"`, `"anchor": "event", "length"`, 11, "anchor: expected"},
		"a length":              {`"length": "10y"`, `"length": "ten years"`, 11, "ten years"},
		"no length":             {`"length": "10y"`, `"length": "0d"`, 11, "length: expected"},
		"age":                   {`"under": 18`, `"from": 18, "under": 18`, 12, "age: expected"},
		"age as text":           {`"under": 18`, `"under": "18"`, 12, "under"},
		"freeze and periods":    {`"periods": [`, `"freeze": true, "periods": [`, 10, "not both"},
		"unconfirmed, no note":  {`"confirmed": true`, `"confirmed": false`, 19, "note"},
		"a second file":         {"\n  ]\n}\n", "\n  ]\n}\n{}", 23, "after"},
		"not closed":            {"\n  ]\n}\n", "\n  ]\n", 22, ""},
		"no rules":              {oneRule[strings.Index(oneRule, "    {\n"):strings.Index(oneRule, "\n  ]\n")], "", 1, "rules"},
		"overlapping intervals": {"\n  ]\n", ",\n" + fmt.Sprintf(second, `2029-12-31", "to": "`) + "\n  ]\n", 21, "two versions of xx.one"},
		"two without end":       {"\n  ]\n", ",\n" + fmt.Sprintf(second, `", "to": "`) + "\n  ]\n", 21, "two versions of xx.one"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, oneRule, c.old)
			_, err := rotation.DecodeObligations("xx.json", []byte(strings.Replace(oneRule, c.old, c.new, 1)))
			var where *rotation.RuleError
			require.True(t, errors.As(err, &where), "%v", err)
			require.Equal(t, "xx.json", where.File)
			require.Equal(t, c.line, where.Line, "%v", err)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, fmt.Sprintf("xx.json:%d: ", c.line))
		})
	}

	// Versions that follow each other are no overlap.
	after := strings.Replace(oneRule, "\n  ]\n", ",\n"+fmt.Sprintf(second, `2030-01-01", "to": "`)+"\n  ]\n", 1)
	rules, err = rotation.DecodeObligations("xx.json", []byte(after))
	require.NoError(t, err)
	require.Len(t, rules, 2)
}

// Whatever decodes can be applied, and no input makes the decoder panic.
func FuzzDecodeObligations(f *testing.F) {
	f.Add([]byte(oneRule))
	f.Add([]byte(`{"regime":"x","title":"t","rules":[{}]}`))
	f.Add([]byte(`{"regime":"a","title":"b","rules":[{"id":"a.b","freeze":true,"note":"é"}]}`))
	f.Add([]byte("[[{"))
	classes := func(r rotation.Obligation) map[rotation.RecordClass]rotation.Answer {
		return map[rotation.RecordClass]rotation.Answer{r.Class: rotation.Yes}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, err := rotation.DecodeObligations("fuzz.json", data)
		if err != nil {
			var where *rotation.RuleError
			require.True(t, errors.As(err, &where))
			require.GreaterOrEqual(t, where.Line, 1)
			require.LessOrEqual(t, where.Line, 1+strings.Count(string(data), "\n"))
			require.Empty(t, rules)
			return
		}
		for _, r := range rules {
			term, err := r.Until(rotation.Facts{})
			require.Error(t, err)
			require.True(t, term.Keep(rotation.Day{Year: 9999, Month: 12, Day: 31}))
			last := rotation.Fact{Day: rotation.Day{Year: 9998, Month: 2, Day: 28}}
			_, err = r.Until(rotation.Facts{Single: true, Classes: classes(r), LastEntry: last, YoungestBirth: last, LastDeath: last,
				LastTreatmentEnd: last, LastCreation: last, InTreatment: rotation.No, Living: rotation.No, OpenClaims: rotation.No})
			var missing *rotation.MissingFactsError
			require.True(t, err == nil || errors.As(err, &missing), "%v", err)
		}
	})
}

// TestAnswers: an answer is one of three words, and no text is no answer.
func TestAnswers(t *testing.T) {
	for a, name := range map[rotation.Answer]string{rotation.Unknown: "unknown", rotation.Yes: "yes", rotation.No: "no"} {
		require.Equal(t, name, a.String())
		text, err := a.MarshalText()
		require.NoError(t, err)
		require.Equal(t, name, string(text))
		got := rotation.Answer(9)
		require.NoError(t, got.UnmarshalText(text))
		require.Equal(t, a, got)
	}
	got := rotation.Yes
	require.NoError(t, got.UnmarshalText(nil))
	require.Equal(t, rotation.Unknown, got, "no text")
	for _, text := range []string{"Yes", "true", "1", " no"} {
		require.ErrorContains(t, got.UnmarshalText([]byte(text)), "expected one of")
	}
	_, err := rotation.Answer(3).MarshalText()
	require.ErrorContains(t, err, "answer 3")
}
