package routermodel

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNothingIsLost(t *testing.T) {
	n, trace := new(rules).search()
	require.Empty(t, trace)
	t.Logf("%d states", n)
	require.Greater(t, n, 1_000_000)
}

func TestEveryRuleIsNeeded(t *testing.T) {
	for name, r := range map[string]rules{
		"no check for a later epoch":        {noCheck: true},
		"intents at the home site only":     {noIntents: true},
		"others are not rolled forward":     {noRollForward: true},
		"others do not wait for home":       {homeLast: true},
		"one claim is enough":               {claimFew: true},
		"ready before it is united":         {noUnite: true},
		"intents removed before the check":  {earlyRemoval: true},
		"intents dropped unseen":            {dropAllIntents: true},
		"others looked for before the head": {lookBeforeWrite: true},
		"what is in doubt yields":           {overrule: true},
	} {
		t.Run(name, func(t *testing.T) {
			n, trace := r.search()
			t.Logf("after %d states:\n\t%s", n, trace)
			require.NotEmpty(t, trace)
		})
	}
}
