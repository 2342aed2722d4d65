package residency_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/residency"
)

// Guidance about data of an origin is no rule for it.
func TestUncoveredByGuidance(t *testing.T) {
	for strength, want := range map[string]residency.Verdict{"guidance": U, "policy": A, "law": A} {
		r, err := rules(t).With(residency.RuleFile{Name: "ke.json", Data: []byte(`{"regime": "ke", "title": "Kenya", "zone": "Africa/Nairobi",
			"binds": {"origins": ["KE"]}, "default": "allow", "inForce": [{"from": "2020-01-01", "known": "2020-01-01", "ref": "an act"}], "rules": [
			{"id": "ke.advice", "kind": "forbid", "strength": "guidance", "title": "not there", "places": ["CN"],
			"values": [{"from": "2020-01-01", "known": "2020-01-01", "ref": "advice"}], "confirmed": true,
			"checked": "2026-11-01", "reviewBy": "2027-11-01", "sources": ["advice"]},
			{"id": "ke.other", "kind": "forbid", "strength": "` + strength + `", "title": "nor there", "places": ["RU"],
			"values": [{"from": "2020-01-01", "known": "2020-01-01", "ref": "a text"}], "confirmed": true,
			"checked": "2026-11-01", "reviewBy": "2027-11-01", "sources": ["a text"]}]}`)})
		require.NoError(t, err)
		d := decide(t, r, ask("KE", "KE", ""))
		require.Equal(t, want, d.Verdict, "%s: %s", strength, explain(d))
		require.Equal(t, want == U, slices.Contains(d.Missing, residency.Missing{Rule: "carekeep.origin", Fact: "rules for KE"}))
		require.Equal(t, D, decide(t, r, ask("KE", "CN", "")).Verdict, "what it advises against is refused all the same")
	}
}

// Somebody else runs a target of which a fact is told that only such a target has.
func TestHosted(t *testing.T) {
	r := rules(t)
	for name, c := range map[string]struct {
		exposure residency.Exposure
		holder   residency.Holder
		want     bool
	}{
		"nothing told":     {},
		"own keys":         {holder: residency.CustomerHeld},
		"an operator":      {exposure: residency.Exposure{Operator: "IE"}, want: true},
		"a parent":         {exposure: residency.Exposure{Parent: "US"}, want: true},
		"keys at a third":  {holder: residency.ThirdPartyHeld, want: true},
		"keys at provider": {holder: residency.ProviderHeld, want: true},
	} {
		q := ask("US-OR", "US-OR", "no:baa")
		q.Target.Exposure, q.Target.Custody.Holder = c.exposure, c.holder
		d := decide(t, r, q)
		require.Equal(t, c.want, slices.Contains(rulesOf(d), "us-hipaa.baa"), "%s: %s", name, explain(d))
		require.Equal(t, c.want, d.Verdict == D, "%s: %s", name, explain(d))
	}
}
