package rotation_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

const clinicPolicy = `{
  "zone": {"location": "Australia/Sydney", "dayStart": "04:00"},
  "rules": [{
    "lineages": ["clinic-sql"],
    "tiers": [
      {"period": "every", "count": 1, "within": "2d"},
      {"period": "daily", "count": 7, "within": "7d"},
      {"period": "weekly", "count": 5, "within": "5w", "preferDay": 5},
      {"period": "monthly", "count": 12, "within": "12m"}
    ],
    "floors": [{"need": "offsite", "points": 1, "maxAge": "3d"}]
  }],
  "verified": "readBack",
  "budget": {"points": 20, "per": "1d"},
  "ratchet": "30d",
  "promise": "30d",
  "time": {"skew": "5m", "maxForward": "10d", "witnesses": 1}
}`

func TestParsePolicy(t *testing.T) {
	p, err := rotation.ParsePolicy([]byte(clinicPolicy))
	require.NoError(t, err)
	require.Equal(t, rotation.Tier{Period: rotation.Weekly, Count: 5, Within: span("5w"), PreferDay: 5}, p.Rules[0].Tiers[2])
	require.Equal(t, 5*time.Minute, p.Time.Skew)
	require.Equal(t, rotation.ReadBack, p.Verified)
	b, err := json.Marshal(p)
	require.NoError(t, err)
	again, err := rotation.ParsePolicy(b)
	require.NoError(t, err)
	require.Equal(t, p.Digest(), again.Digest())
	p.Ratchet.Days++
	require.NotEqual(t, p.Digest(), again.Digest())

	for in, want := range map[string]string{
		``:                                   "EOF",
		`[]`:                                 "cannot unmarshal",
		`{"rules":[],"rules":[]}`:            `the field "rules" is given twice`,
		`{"rules":[],"Rules":[]}`:            `the field "rules" is given twice`,
		`{"keep-daily":7}`:                   `unknown field "keep-daily"`,
		`{} {}`:                              "something after the JSON value",
		`{"time":{"scew":"5m"}}`:             `unknown field "scew"`,
		`{"time":{"skew":"soon"}}`:           "expected a duration such as 15m",
		`{"ratchet":"a month"}`:              "expected years, months, weeks and days",
		`{"verified":"hopefully"}`:           "expected one of",
		`{"rules":[{"tiers":[{"each":1}]}]}`: `unknown field "each"`,
		`{"rules":[{"tiers":[{"period":"fortnightly"}]}]}`: "expected one of",
	} {
		_, err := rotation.ParsePolicy([]byte(in))
		require.ErrorContains(t, err, want, "%s", in)
		require.ErrorContains(t, err, "policy: ")
	}
}

func TestPolicyRefused(t *testing.T) {
	tier := func(p rotation.Period, n int, within string) rotation.Tier {
		return rotation.Tier{Period: p, Count: n, Within: span(within)}
	}
	for want, change := range map[string]func(p *rotation.Policy){
		`rules[0]: give "lineages"`:                        func(p *rotation.Policy) { p.Rules[0].Lineages = nil },
		"rules[0].lineages[0]: a lineage needs a name":     func(p *rotation.Policy) { p.Rules[0].Lineages[0] = " x" },
		"rules[1].lineages[0] names the same lineage":      func(p *rotation.Policy) { p.Rules = append(p.Rules, p.Rules[0]) },
		`rules[0]: give "tiers"`:                           func(p *rotation.Policy) { p.Rules[0].Tiers = nil },
		"rules[0].tiers[0]: count 0: keep 1 at least":      func(p *rotation.Policy) { p.Rules[0].Tiers[0].Count = 0 },
		"rules[0].tiers[1]: count -3":                      func(p *rotation.Policy) { p.Rules[0].Tiers[1].Count = -3 },
		`rules[0].tiers[0]: give "within"`:                 func(p *rotation.Policy) { p.Rules[0].Tiers[0].Within = rotation.Span{} },
		`rules[0].tiers[0]: give "period"`:                 func(p *rotation.Policy) { p.Rules[0].Tiers[0].Period = 0 },
		"rules[0].tiers[1]: within 6d is shorter than a w": func(p *rotation.Policy) { p.Rules[0].Tiers[1].Within = span("6d") },
		"rules[0].tiers[2]: .tiers[1] is weekly as well": func(p *rotation.Policy) {
			p.Rules[0].Tiers = append(p.Rules[0].Tiers, tier(rotation.Weekly, 9, "9w"))
		},
		"the longer period must not keep for less": func(p *rotation.Policy) {
			p.Rules[0].Tiers = []rotation.Tier{tier(rotation.Weekly, 4, "4w"), tier(rotation.Daily, 10, "30d")}
		},
		"the longer period would add nothing": func(p *rotation.Policy) {
			p.Rules[0].Tiers = []rotation.Tier{tier(rotation.Daily, 90, "30d"), tier(rotation.Weekly, 5, "5w")}
		},
		"preferDay 8: a week has at most 7 days": func(p *rotation.Policy) { p.Rules[0].Tiers[1].PreferDay = 8 },
		"nothing to prefer within a day":         func(p *rotation.Policy) { p.Rules[0].Tiers[0].PreferDay = 1 },
		"preferDay -1":                           func(p *rotation.Policy) { p.Rules[0].Tiers[1].PreferDay = -1 },
		"the tiers keep 12 at most": func(p *rotation.Policy) {
			p.Rules[0].Floors = []rotation.Floor{{Need: rotation.NeedVerified, Points: 13}}
		},
		"rules[0].floors[0]: points 0": func(p *rotation.Policy) {
			p.Rules[0].Floors = []rotation.Floor{{Need: rotation.NeedOffsite}}
		},
		`rules[0].floors[0]: give "need"`: func(p *rotation.Policy) { p.Rules[0].Floors = []rotation.Floor{{Points: 1}} },
		"floors[0] needs the same": func(p *rotation.Policy) {
			f := rotation.Floor{Need: rotation.NeedOffline, Points: 1}
			p.Rules[0].Floors = []rotation.Floor{f, f}
		},
		"budget: set points, bytes or percent": func(p *rotation.Policy) { p.Budget = rotation.Budget{Per: span("1d")} },
		`budget: give "per"`:                   func(p *rotation.Policy) { p.Budget.Per = rotation.Span{} },
		"budget: percent 101":                  func(p *rotation.Policy) { p.Budget.Percent = 101 },
		"must not be negative":                 func(p *rotation.Policy) { p.Budget.Points = -1 },
		"maxLock 5d is shorter than what is promised": func(p *rotation.Policy) {
			p.MaxLock, p.Promise = span("5d"), span("6d")
		},
		"ratchet: years, months and days": func(p *rotation.Policy) { p.Ratchet.Days = -1 },
		"time: skew":                      func(p *rotation.Policy) { p.Time.Skew = -1 },
		"local time has no name":          func(p *rotation.Policy) { p.Zone.Location = time.Local },
	} {
		p := keep(t, rotation.Tiers(7, 5, 0, 0)...)
		change(&p)
		err := p.Validate()
		require.ErrorContains(t, err, want)
		require.Zero(t, p.Digest())
		_, err = rotation.Evaluate(p, rotation.Catalogue{}, rotation.TimeVerdict{})
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "clinic")
	}
	require.NoError(t, rotation.Policy{}.Validate())
	for _, ok := range [][]rotation.Tier{
		rotation.Tiers(7, 5, 12, 3), rotation.Tiers(30, 8, 24, 10), rotation.Tiers(0, 52, 12, 0), rotation.Tiers(7, 0, 0, 7),
	} {
		keep(t, ok...)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(clinicPolicy))
	f.Add([]byte(`{"rules":[{"lineages":["*"],"tiers":[{"period":"hourly","count":9,"within":"1y2m3w4d"}]}],` +
		`"budget":{"percent":5,"per":"99999d"},"promise":"9999y","lag":"9999y","maxLock":"9999y","ratchet":"9999y"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := rotation.ParsePolicy(in)
		if err != nil {
			return
		}
		b, err := json.Marshal(p)
		require.NoError(t, err)
		again, err := rotation.ParsePolicy(b)
		require.NoError(t, err)
		require.Equal(t, p.Digest(), again.Digest())
		require.NotZero(t, p.Digest())

		s := newSeries(t, "2026-01-01 20:00")
		s.nights(3)
		s.add(func(pt *rotation.Point) { pt.Observed = time.Date(8999, 12, 31, 0, 0, 0, 0, time.UTC) })
		s.c.Policies = []rotation.Revision{{Policy: p, At: s.now}}
		next := p
		next.Rules = nil
		for i, v := range []rotation.TimeVerdict{s.verdict(), {Usable: true, Now: time.Unix(1<<60, 0)}, s.verdict(), {}} {
			plan, err := rotation.Evaluate([]rotation.Policy{p, next}[i/2], s.c, v)
			require.NoError(t, err)
			require.NotZero(t, plan.Digest())
			b, err = json.Marshal(plan)
			require.NoError(t, err)
			_, err = rotation.ParsePlan(b)
			require.NoError(t, err)
		}
	})
}
