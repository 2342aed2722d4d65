package rotation_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

func somePlan(t testing.TB) (*series, rotation.Policy, rotation.Plan) {
	p := keep(t, rotation.Tiers(2, 1, 0, 0)...)
	p.Promise = span("1d")
	s := newSeries(t, "2026-11-16 20:00")
	s.nights(5)
	s.c.Points[3].Copies = []rotation.Copy{{Site: "BLUE-2", Offsite: true, Offline: true, Verified: rotation.Restored}}
	s.add(func(pt *rotation.Point) { pt.Claimed = pt.Claimed.AddDate(1, 0, 0) })
	return s, p, s.plan(t, p)
}

func TestPlanRoundTrip(t *testing.T) {
	s, p, plan := somePlan(t)
	require.Equal(t, p.Digest(), plan.Policy)
	require.Equal(t, s.c.Digest(), plan.Catalogue)
	require.Equal(t, s.c.Head, plan.Head)
	require.Equal(t, p.Zone.Rules(), plan.ZoneRules)
	require.Equal(t, s.c.Repository, plan.Repository)
	b, err := json.Marshal(plan)
	require.NoError(t, err)
	again, err := rotation.ParsePlan(b)
	require.NoError(t, err)
	require.Equal(t, plan.Digest(), again.Digest())
	require.Equal(t, plan.Releases(), again.Releases())
	require.Equal(t, []rotation.PointID{"rp-000002", "rp-000003"}, plan.Releases())

	for name, change := range map[string]func(s string) string{
		"space":               func(s string) string { return " " + s },
		"unknown field":       func(s string) string { return strings.Replace(s, `"format":1`, `"format":1,"x":1`, 1) },
		"other format":        func(s string) string { return strings.Replace(s, `"format":1`, `"format":2`, 1) },
		"released by stealth": func(s string) string { return strings.Replace(s, `"release":false`, `"release":true`, 1) },
		"kept by stealth":     func(s string) string { return strings.Replace(s, `"release":true`, `"release":false`, 1) },
		"point twice":         func(s string) string { return strings.ReplaceAll(s, "rp-000002", "rp-000001") },
		"order":               func(s string) string { return strings.Replace(s, `"seq":2`, `"seq":9`, 1) },
		"clock":               func(s string) string { return strings.Replace(s, `"usable":true`, `"usable":false`, 1) },
		"case of a field":     func(s string) string { return strings.Replace(s, `"head"`, `"Head"`, 1) },
		"digest in capitals": func(s string) string {
			return strings.Replace(s, plan.Policy.String(), strings.ToUpper(plan.Policy.String()), 1)
		},
		"more": func(s string) string { return s + "{}" },
		"cut":  func(s string) string { return s[:len(s)-1] },
	} {
		changed := change(string(b))
		require.NotEqual(t, string(b), changed, name)
		_, err := rotation.ParsePlan([]byte(changed))
		require.ErrorContains(t, err, "plan: ", name)
	}
}

func FuzzParsePlan(f *testing.F) {
	_, _, plan := somePlan(f)
	b, err := json.Marshal(plan)
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := rotation.ParsePlan(in)
		if err != nil {
			return
		}
		b, err := json.Marshal(p)
		require.NoError(t, err)
		require.Equal(t, string(in), string(b))
	})
}

// A plan that was made from another state of the log is refused.
func TestStalePlan(t *testing.T) {
	for name, change := range map[string]func(c *rotation.Catalogue){
		"head":     func(c *rotation.Catalogue) { c.Head = "01" },
		"verified": func(c *rotation.Catalogue) { c.Points[1].Verified = rotation.Restored },
		"hold": func(c *rotation.Catalogue) {
			c.Holds = []rotation.Hold{{ID: "H-1", PlacedBy: "M. Lee", Placed: c.Points[0].Observed}}
		},
		"point": func(c *rotation.Catalogue) { c.Points = c.Points[:5] },
	} {
		s, p, plan := somePlan(t)
		change(&s.c)
		_, err := s.c.After(plan)
		require.ErrorContains(t, err, "made for another catalogue", name)
		require.NotEqual(t, plan.Digest(), s.plan(t, p).Digest(), name)
	}
}

func TestPlanText(t *testing.T) {
	_, _, plan := somePlan(t)
	require.Equal(t, strings.TrimLeft(`
rp-000004  Thu 2026-11-19 20:00 AEDT  lineage clinic-sql  verified: readBack
  KEEP  daily 2026-11-19: first verified point of the day, for 2d      rules[0].tiers[0]  until 2026-11-21
  ON    BLUE-2 (offline, offsite, restored)
  EARLIEST RELEASE  2026-11-21
`, "\n"), plan.Text("rp-000004"))
	require.Empty(t, plan.Text("nobody"))
	require.Empty(t, plan.Explain("nobody"))
	var b strings.Builder
	require.NoError(t, plan.WriteText(&b))
	require.Contains(t, b.String(), "4 points stay, 2 may go (up to 200 bytes)")
	require.Contains(t, b.String(), "NOTE  points whose claims cannot be true: look at them: 1 points")
	require.Contains(t, b.String(), "GOES  weekly 2026-W47: another point has it")
	require.Contains(t, b.String(), "ASIDE it claims to be from the future")
}

func TestDiff(t *testing.T) {
	s, p, _ := somePlan(t)
	longer := keep(t, rotation.Tiers(4, 1, 0, 0)...)
	longer.Ratchet = span("30d")
	cs, err := rotation.Diff(p, longer, s.c, s.verdict())
	require.NoError(t, err)
	require.Len(t, cs, 2)
	require.False(t, cs[0].Release)
	require.Equal(t, rotation.PointID("rp-000002"), cs[0].Point)
	require.Contains(t, cs[0].Now[0].Text, "daily 2026-11-17")
	require.Equal(t, rotation.CodeAged, cs[0].Was[0].Code)

	longer.Budget = rotation.Budget{Points: 1, Per: span("1d")}
	p.Budget = longer.Budget
	cs, err = rotation.Diff(longer, p, s.c, s.verdict())
	require.NoError(t, err)
	require.Len(t, cs, 2, "neither ratchet nor budget hide what would go")
	require.True(t, cs[0].Release)

	p.Rules[0].Tiers[0].Count = 0
	_, err = rotation.Diff(longer, p, s.c, s.verdict())
	require.ErrorContains(t, err, "the new one: policy: ")
}

// Ten thousand points are planned in well under a second.
func BenchmarkEvaluate(b *testing.B) {
	p := keep(b, rotation.Tiers(30, 26, 60, 30)...)
	s := newSeries(b, "2000-01-01 20:00")
	s.nights(10_000)
	for b.Loop() {
		s.plan(b, p)
	}
}
