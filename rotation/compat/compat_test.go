package compat_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
	"github.com/carekeep/carekeep/rotation/compat"
)

// golden is what a program kept, as [TestRecord] recorded it.
type golden struct {
	Program, Version string
	Recorded         time.Time // what the program took for now
	Series           map[string][]time.Time
	Cases            []goldenCase
}

type goldenCase struct {
	Series  string
	Options []string // as given to the program
	Rules   json.RawMessage
	Kept    []time.Time
}

// The programs' own answers, in testdata, and ours.
func TestGolden(t *testing.T) {
	for _, program := range []string{"restic", "borg", "kopia"} {
		t.Run(program, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata", program+".json"))
			require.NoError(t, err)
			var g golden
			require.NoError(t, json.Unmarshal(b, &g))
			require.Greater(t, len(g.Cases), 20)
			for _, c := range g.Cases {
				k := keeper(t, program, c.Rules)
				points := pointsOf(g.Series[c.Series])
				kept := k.Keep(points, g.Recorded)
				var got []time.Time
				for _, p := range points {
					if kept[p.ID] != nil {
						got = append(got, p.Claimed.UTC())
					}
				}
				// Borg keeps nothing at all of a series that ended before its --keep-within.
				require.Equal(t, c.Kept, got, "%s: %v of %s", g.Version, c.Options, c.Series)
			}
			t.Logf("%s %s: %d cases", g.Program, g.Version, len(g.Cases))
		})
	}
}

// keeper reads the rules of a case.
func keeper(t *testing.T, program string, rules []byte) rotation.Keeper {
	switch program {
	case "restic":
		var r compat.Restic
		require.NoError(t, json.Unmarshal(rules, &r))
		return r
	case "borg":
		var r compat.Borg
		require.NoError(t, json.Unmarshal(rules, &r))
		return r
	default:
		var r compat.Kopia
		require.NoError(t, json.Unmarshal(rules, &r))
		return r
	}
}

func pointsOf(times []time.Time) (points []rotation.Point) {
	for i, at := range times {
		points = append(points, rotation.Point{
			ID: rotation.PointID(fmt.Sprint(i)), Lineage: "a", Seq: uint64(i), Claimed: at, Observed: at, Complete: true,
		})
	}
	return points
}

func nights(start string, n int) (times []time.Time) {
	at, err := time.Parse(time.DateTime, start)
	if err != nil {
		panic(err)
	}
	for i := range n {
		times = append(times, at.AddDate(0, 0, i))
	}
	return times
}

// What Proxmox documents, on its own terms: later options look only at older backups that are not covered.
func TestProxmox(t *testing.T) {
	points := pointsOf(nights("2026-01-01 20:00:00", 60)) // Thursday, 1 January, to Sunday, 1 March
	days := func(x compat.Proxmox) (out []string) {
		kept := x.Keep(points, time.Time{})
		for _, p := range points {
			if r := kept[p.ID]; r != nil {
				out = append(out, p.Claimed.Format("01-02 ")+r[0])
			}
		}
		return out
	}
	require.Equal(t, []string{"02-28 last", "03-01 last"}, days(compat.Proxmox{Last: 2}))
	require.Equal(t, []string{"02-15 weekly", "02-22 weekly", "02-28 daily", "03-01 daily"}, days(compat.Proxmox{Daily: 2, Weekly: 2}),
		"the week of the days is covered")
	require.Equal(t, []string{"01-31 monthly", "02-22 weekly", "03-01 last"}, days(compat.Proxmox{Last: 1, Weekly: 1, Monthly: 1}),
		"February is covered by its week")
	require.Len(t, days(compat.Proxmox{}), 60)
	points[59].Complete = false
	require.Equal(t, []string{"02-28 last", "03-01 newest, incomplete"}, days(compat.Proxmox{Last: 1}))
	points = append(points, pointsOf(nights("2026-03-02 20:00:00", 1))...)
	points[60].ID, points[60].Seq = "60", 60
	require.Equal(t, []string{"03-02 last"}, days(compat.Proxmox{Last: 1}))
}

// The attacks that make these rules less safe, by the programs' own semantics: see the goldens "future" as well.
func TestLessSafe(t *testing.T) {
	rules := compat.Restic{Daily: 7, Weekly: 5, Monthly: 12, Yearly: 3}
	points := pointsOf(nights("2025-01-01 20:00:00", 400))
	own := func(k rotation.Keeper, points []rotation.Point) (n int) {
		kept := k.Keep(points, points[399].Claimed)
		for _, p := range points[:400] {
			if kept[p.ID] != nil {
				n++
			}
		}
		return n
	}
	require.Equal(t, 21, own(rules, points))
	attacked := slices.Clone(points)
	for i := range 19 {
		p := pointsOf([]time.Time{points[399].Claimed.AddDate(1+i, i, 7*i)})[0]
		p.ID = rotation.PointID(fmt.Sprint("future-", i))
		attacked = append(attacked, p)
	}
	require.Zero(t, own(rules, attacked), "nothing good is left")
	kopia := compat.Kopia{Latest: 10, Hourly: 48, Daily: 7, Weekly: 4, Monthly: 24, Annual: 3}
	require.Equal(t, 24, own(kopia, points))
	wrong := pointsOf([]time.Time{points[399].Claimed.AddDate(50, 0, 0)})[0]
	wrong.ID = "wrong clock"
	require.Equal(t, 9, own(kopia, append(slices.Clone(points), wrong)), "one wrong clock is enough")
}

// A plan of such rules still respects what binds.
func TestEvaluateLike(t *testing.T) {
	points := pointsOf(nights("2026-01-01 20:00:00", 30))
	for i := range points {
		points[i].Verified = rotation.Checked
	}
	points[3].Promise = points[29].Claimed.AddDate(0, 1, 0)
	points[4].Copies = []rotation.Copy{{Site: "s3", LockedUntil: points[29].Claimed.AddDate(0, 1, 0)}}
	points[5].Holds = []rotation.HoldID{"H-1"}
	points[6].Claimed = points[6].Claimed.AddDate(50, 0, 0)
	points[29].Requires = []rotation.PointID{"7"}
	c := rotation.Catalogue{Repository: "r", Head: "h", Points: points}
	policy := rotation.Policy{Budget: rotation.Budget{Percent: 100, Per: rotation.Span{Days: 1}}}
	v := rotation.TimeVerdict{Usable: true, Now: points[29].Claimed}
	plan, err := rotation.EvaluateLike(compat.Restic{Last: 2}, policy, c, v)
	require.NoError(t, err)
	require.Equal(t, []rotation.PointID{"3", "4", "5", "6", "7", "29"}, plan.Keeps())
	other, err := rotation.EvaluateLike(compat.Restic{Last: 3}, policy, c, v)
	require.NoError(t, err)
	require.NotEqual(t, plan.Policy, other.Policy)
	plan, err = rotation.EvaluateLike(compat.Restic{Last: 2}, policy, c, rotation.TimeVerdict{})
	require.NoError(t, err)
	require.Empty(t, plan.Releases())
	plan, err = rotation.EvaluateLike(compat.Borg{}, policy, c, v)
	require.NoError(t, err)
	require.Empty(t, plan.Releases(), "no option keeps everything")

	_, err = rotation.EvaluateLike(compat.Borg{Daily: 1}, rotation.Policy{}, c, v)
	require.ErrorContains(t, err, "policy: budget: set points")
	policy.Rules = []rotation.Rule{{Lineages: []string{"*"}, Tiers: rotation.Tiers(1, 0, 0, 0)}}
	_, err = rotation.EvaluateLike(compat.Borg{Daily: 1}, policy, c, v)
	require.ErrorContains(t, err, "rules: leave them out")
}

func ExampleRestic() {
	points := pointsOf(nights("2026-11-16 20:00:00", 7))
	kept := compat.Restic{Daily: 2, Weekly: 1}.Keep(points, points[6].Claimed)
	for _, p := range points {
		fmt.Println(p.Claimed.Format(time.DateOnly), kept[p.ID])
	}
	// Output:
	// 2026-11-16 []
	// 2026-11-17 []
	// 2026-11-18 []
	// 2026-11-19 []
	// 2026-11-20 []
	// 2026-11-21 [daily]
	// 2026-11-22 [daily weekly]
}
