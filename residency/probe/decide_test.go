package probe_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/probe"
)

// TestRulesJudgeWhatIsSettled: what a probe found moves the verdict, whatever was declared.
func TestRulesJudgeWhatIsSettled(t *testing.T) {
	rules, err := residency.Rules()
	require.NoError(t, err)
	const observed = residency.Observed
	declared := location{Provider: "aws", Region: "eu-central-1", Level: observed}
	unplaced := func(l location) probe.Observation {
		o := seen(l)
		o.Report(probe.Problem{Code: "replica-unplaced", Text: "somewhere", Unplaced: true})
		return o
	}
	for name, c := range map[string]struct {
		class    residency.Class
		declared location
		seen     probe.Observation
		allowed  bool
	}{
		"observed":            {residency.Identifiable, declared, seen(location{Provider: "aws", Region: "eu-central-1", Level: observed}), true},
		"elsewhere":           {residency.Identifiable, declared, seen(location{Provider: "aws", Region: "ap-southeast-1", Level: observed}), false},
		"a replica elsewhere": {residency.Identifiable, declared, seen(location{Provider: "aws", Region: "eu-central-1", Places: places{"SG"}, Level: observed}), false},
		"inferred":            {residency.Identifiable, declared, seen(location{Provider: "aws", Region: "eu-central-1", Level: residency.Inferred}), false},
		"not told":            {residency.Identifiable, declared, seen(location{Provider: "aws"}), false},
		"unplaced":            {residency.Demographic, declared, unplaced(location{Provider: "aws", Region: "eu-central-1", Level: observed}), false},
		"unplaced, nobody's":  {residency.Demographic, location{Places: places{"DE"}}, unplaced(location{}), false},
		"onsite":              {residency.Identifiable, location{Places: places{"DE"}}, seen(location{}), true},
		"the pair leaves": {residency.Identifiable, location{Provider: "azure", Region: "brazilsouth", Redundancy: "LRS"},
			seen(location{Provider: "azure", Region: "brazilsouth", Redundancy: "Standard_GRS", Level: observed}), false},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := rules.Decide(residency.Request{
				Subject: residency.Subject{Class: c.class, Origins: places{"DE"}},
				Target:  residency.Target{Location: c.seen.Settle(c.declared), Custody: residency.Custody{Holder: residency.CustomerHeld, Places: places{"DE"}}},
				Now:     now,
			})
			require.NoError(t, err)
			require.Equal(t, c.allowed, d.Verdict == residency.Allowed, "%+v", d)
		})
	}
}
