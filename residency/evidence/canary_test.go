package evidence_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
)

// canaries are what must never be in a text of a record, whatever field somebody puts it into.
var canaries = []string{
	"patients/meyer-anna/letter.pdf", `C:\Users\Anna`, "/var/lib/ehr/meyer", "p/0f3a/77aa01", "anna@example.org",
	"9434765919", "943-476-5919", "1961-03-11", "2951-12345-1", "mrn-00123456", "8003608166690503",
	"Anna Meyer, born 11 March 1961", "seen for chest pain; sent home", "Anna\nMeyer", "Meyer^Anna", "a\x00b", "\xff\xfe", "<b>x</b>",
	strings.Repeat("a", 200), "{\"name\":\"Anna\"}", "name=Anna&dob=1961", "Anna_Meyer_1961", "1234567-Meyer", "12345678901234567890",
}

// names are allowed where a member of staff is named, and nowhere else.
var names = []string{"Anna Meyer", "Meyer Anna", "Zoë"}

// texts calls f with every text in v, which is addressable, and with a way to set it.
func texts(v reflect.Value, form string, f func(form string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.String:
		f(form, v)
	case reflect.Pointer:
		texts(v.Elem(), form, f)
	case reflect.Slice:
		for i := range v.Len() {
			texts(v.Index(i), form, f)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			texts(v.Field(i), v.Type().Field(i).Tag.Get("is"), f)
		}
	}
}

func TestNoCanaryGetsIntoAnyField(t *testing.T) {
	s := faultstore.New()
	l := open(t, s.Bucket(), "w")
	tried := 0
	for kind, data := range every() {
		v := reflect.New(reflect.TypeOf(data)).Elem()
		v.Set(reflect.ValueOf(data))
		texts(v, "", func(form string, text reflect.Value) {
			require.NotEmpty(t, form, "%s has a text without a form", kind)
			require.NotEmpty(t, text.String(), "%s has a text that is not tried", kind)
			was := text.String()
			bad := canaries
			if form != "person" {
				bad = append(bad[:len(bad):len(bad)], names...)
			}
			for _, c := range bad {
				text.SetString(c)
				err := l.Append(t.Context(), kind, "akl", v.Interface())
				require.ErrorIs(t, err, evidence.ErrRefused, "%s took %q as %s", kind, c, form)
				require.Equal(t, err, evidence.Check(kind, "akl", v.Interface()))
				var refused *evidence.RefusedError
				require.ErrorAs(t, err, &refused)
				require.NotEmpty(t, refused.Field)
				require.NotContains(t, err.Error(), c)
				tried++
			}
			text.SetString(was)
		})
		require.NoError(t, evidence.Check(kind, "akl", v.Interface()))
		require.NoError(t, l.Append(t.Context(), kind, "akl", v.Interface()))
		for _, c := range append(canaries, names...) {
			require.ErrorIs(t, l.Append(t.Context(), kind, c, data), evidence.ErrRefused, "%q is a site", c)
		}
	}
	require.Greater(t, tried, 1000)
	holdsNone(t, s, l)
}

// holdsNone looks for canaries in all that is stored and exported.
func holdsNone(t *testing.T, s *faultstore.Store, l *evidence.Log) {
	file, err := export(t, l)
	require.NoError(t, err)
	for key, data := range s.Objects() {
		file = append(append(file, data...), key...)
	}
	for _, c := range append(canaries, names[:2]...) {
		require.False(t, bytes.Contains(file, []byte(c)), "%q", c)
	}
	for _, c := range []string{"Anna", "anna", "Meyer", "meyer", "chest"} {
		require.NotContains(t, string(file), c)
	}
}

// Only the kind's own type is taken: what is not known cannot be checked.
func TestOnlyTheKindsOwnTypeIsTaken(t *testing.T) {
	s := faultstore.New()
	l := open(t, s.Bucket(), "w")
	for _, data := range []any{nil, "text", 7, map[string]string{"name": "Anna"}, []byte("x"), struct{ Name string }{"Anna"},
		&evidence.Debt{}, evidence.Probe{}, residency.Request{}, residency.Decision{}, residency.Override{Person: "Ann"}, (*evidence.Debt)(nil)} {
		err := l.Append(t.Context(), evidence.KindDebt, "akl", data)
		require.ErrorIs(t, err, evidence.ErrRefused, "%T", data)
		require.ErrorContains(t, err, "evidence.Debt")
	}
	require.ErrorIs(t, l.Append(t.Context(), "Anna Meyer", "akl", debt(1)), evidence.ErrRefused)
	require.ErrorIs(t, l.Append(t.Context(), "", "akl", debt(1)), evidence.ErrRefused)
	require.ErrorIs(t, l.Append(t.Context(), evidence.KindDecision, "", evidence.Decision{}), evidence.ErrRefused, "it has no verdict")
	many := evidence.Exit{To: make([]string, 101)}
	for i := range many.To {
		many.To[i] = "akl"
	}
	require.ErrorContains(t, l.Append(t.Context(), evidence.KindExit, "", many), "more than 100")
	require.ErrorContains(t, l.Append(t.Context(), evidence.KindExit, "", evidence.Exit{To: []string{""}}), "empty member")
	require.Error(t, l.Append(t.Context(), evidence.KindWarning, "", evidence.Warning{About: "rule", Ends: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)}))
	require.Empty(t, s.Keys())
}

// A decision of residency is recorded without its texts, whatever they say; it is never refused for them.
func TestADecisionIsReducedAndNeverRefused(t *testing.T) {
	s := faultstore.New()
	l := open(t, s.Bucket(), "w")
	for _, c := range append(canaries, names[0], names[1], "") {
		o := residency.Override{ID: c, Person: c, Reason: c, From: start, Until: start.Add(time.Hour)}
		if c == names[0] || c == names[1] {
			o.Person = "Dr Lee"
		}
		d := residency.Decision{Verdict: residency.Allowed, Rules: residency.Denied, Override: &o, Warnings: []string{c}, ExpiresBy: c,
			Reasons:     []residency.Reason{{Regime: c, Rule: c, Place: residency.Place(c), Ref: c, Text: c}},
			Obligations: []residency.Obligation{{Rule: c, Code: c, Text: c}}, Missing: []residency.Missing{{Rule: c, Fact: c}},
			Places: []residency.Place{residency.Place(c)}, Unconfirmed: []string{c}, Ruleset: c, Facts: c, Now: start}
		require.NoError(t, l.Append(t.Context(), evidence.KindDecision, "akl", d), "%q", c)
		require.NoError(t, l.Append(t.Context(), evidence.KindOverride, "akl", o), "%q", c)
	}
	holdsNone(t, s, l)
	for r, err := range l.Records(t.Context()) {
		require.NoError(t, err)
		if d, ok := r.Data.(evidence.Decision); ok {
			require.GreaterOrEqual(t, d.Withheld, 7)
			require.Equal(t, "withheld", d.Grounds[0].Regime)
			require.Contains(t, []string{"withheld", "Dr Lee"}, d.Override.Person)
			require.Equal(t, residency.Place("ZZ"), d.Places[0])
			require.Equal(t, "allowed", d.Verdict)
			require.Equal(t, "denied", d.Rules)
		}
	}
}

// The longest decision there can be is recorded too.
func TestTheLongestDecisionFits(t *testing.T) {
	s := faultstore.New()
	l := open(t, s.Bucket(), "w")
	id, fact, first := strings.Repeat("a", 64), strings.Repeat("a", 96), residency.Day{Year: 2021, Month: 6, Day: 28}
	var d residency.Decision
	for range 300 {
		d.Reasons = append(d.Reasons, residency.Reason{Regime: id, Rule: id, Place: "AU-NSW", From: first, Until: first})
		d.Obligations = append(d.Obligations, residency.Obligation{Rule: id, Code: id})
		d.Missing = append(d.Missing, residency.Missing{Rule: id, Fact: fact})
		d.Places = append(d.Places, "AU-NSW")
		d.Unconfirmed = append(d.Unconfirmed, id)
	}
	for range 4 {
		require.NoError(t, l.Append(t.Context(), evidence.KindDecision, strings.Repeat("a", 40), d))
	}
	require.Greater(t, len(s.Get(key("w", 1))), 60<<10)
	require.Zero(t, sound(t, l).Foreign)
}

func TestADecisionKeepsWhatAnAuditorNeeds(t *testing.T) {
	l := open(t, faultstore.New().Bucket(), "w")
	digest := strings.Repeat("0a", 32)
	from, until := residency.Day{Year: 2021, Month: 6, Day: 28}, residency.Day{Year: 2031, Month: 12, Day: 28}
	d := residency.Decision{Verdict: residency.Denied, Rules: residency.Denied, Places: []residency.Place{"GB", "BE"}, Now: start,
		Missing: []residency.Missing{{Rule: "eu-gdpr.dpf", Fact: "paper dpf-listing/uk-extension"}, {Rule: "de-393", Fact: "custody-in:@EEA"}},
		Ruleset: digest, Facts: digest, ExpiresBy: "paper dpf-listing", Expires: until.UTC(), Unconfirmed: []string{"us-fl.1"}}
	for range 150 {
		d.Reasons = append(d.Reasons, residency.Reason{Regime: "eu-gdpr", Rule: "eu-gdpr.adequacy.gb", Place: "GB", Verdict: residency.Allowed,
			From: from, Until: until, Ref: "(EU) 2021/1772", Text: "The Commission found the United Kingdom adequate."})
	}
	require.NoError(t, l.Append(t.Context(), evidence.KindDecision, "lon", d))
	for r, err := range l.Records(t.Context()) {
		require.NoError(t, err)
		got := r.Data.(evidence.Decision)
		require.Len(t, got.Grounds, 100)
		require.Equal(t, evidence.Ground{Regime: "eu-gdpr", Rule: "eu-gdpr.adequacy.gb", Place: "GB", Verdict: "allowed", From: from, Until: until}, got.Grounds[0])
		require.Equal(t, 50, got.Cut)
		require.Zero(t, got.Withheld)
		require.Equal(t, []evidence.Lack{{Rule: "eu-gdpr.dpf", Fact: "paper dpf-listing/uk-extension"}, {Rule: "de-393", Fact: "custody-in:@EEA"}}, got.Missing)
		require.Equal(t, digest, got.Ruleset)
	}
}
