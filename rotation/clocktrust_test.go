package rotation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

func TestJudge(t *testing.T) {
	mark := time.Date(2026, 11, 20, 20, 0, 0, 0, time.UTC)
	store := func(at time.Time) rotation.Witness {
		return rotation.Witness{Name: "store", Time: at, Error: time.Second}
	}
	for name, c := range map[string]struct {
		wall      time.Time
		witnesses []rotation.Witness
		mark      time.Time
		policy    rotation.TimePolicy
		now       time.Time
		refused   string
	}{
		"no witness: the mark is what is known": {wall: mark.Add(24 * time.Hour), mark: mark, now: mark},
		"a witness confirms": {
			wall: mark.Add(24 * time.Hour), witnesses: []rotation.Witness{store(mark.Add(24*time.Hour + time.Minute))}, mark: mark,
			now: mark.Add(24 * time.Hour),
		},
		"the earliest of witnesses": {
			wall: mark.Add(24 * time.Hour), mark: mark, now: mark.Add(24*time.Hour - time.Minute - time.Second),
			witnesses: []rotation.Witness{store(mark.Add(24 * time.Hour)), store(mark.Add(24*time.Hour - time.Minute))},
		},
		"a witness that knows nothing": {
			wall: mark.Add(time.Hour), mark: mark, now: mark,
			witnesses: []rotation.Witness{{Name: "vague", Time: mark.Add(time.Hour), Error: 1 << 60}},
		},
		"a little behind":    {wall: mark.Add(-10 * time.Minute), mark: mark, now: mark.Add(-10 * time.Minute)},
		"dead battery":       {wall: time.Unix(0, 0), mark: mark, refused: "behind the latest time known to have passed"},
		"behind":             {wall: mark.Add(-16 * time.Minute), mark: mark, refused: "16m0s behind"},
		"ahead, alone":       {wall: mark.AddDate(0, 0, 46), mark: mark, refused: "no witness confirms"},
		"ahead, policy":      {wall: mark.AddDate(0, 0, 3), mark: mark, policy: rotation.TimePolicy{MaxForward: span("2d")}, refused: "no witness"},
		"ten years, alone":   {wall: mark.AddDate(10, 0, 0), mark: mark, refused: "no witness confirms"},
		"off for a year":     {wall: mark.AddDate(1, 0, 0), witnesses: []rotation.Witness{store(mark.AddDate(1, 0, 0))}, mark: mark, now: mark.AddDate(1, 0, 0).Add(-time.Second)},
		"witness disagrees":  {wall: mark.AddDate(0, 0, 1), witnesses: []rotation.Witness{store(mark)}, mark: mark, refused: "witness 1 of 1"},
		"witness ten years":  {wall: mark, witnesses: []rotation.Witness{store(mark.AddDate(10, 0, 0))}, mark: mark, refused: "apart"},
		"one of two lies":    {wall: mark, witnesses: []rotation.Witness{store(mark), store(mark.AddDate(0, 0, 1))}, mark: mark, refused: "witness 2 of 2"},
		"too few":            {wall: mark, mark: mark, policy: rotation.TimePolicy{Witnesses: 1}, refused: "1 witnesses are needed, 0 answered"},
		"nothing known":      {wall: mark, refused: "nothing to compare"},
		"no clock":           {mark: mark, refused: "is not set"},
		"policy not valid":   {wall: mark, mark: mark, policy: rotation.TimePolicy{Skew: -1}, refused: "not valid"},
		"first ever, a word": {wall: mark, witnesses: []rotation.Witness{store(mark)}, now: mark.Add(-time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			v := rotation.Judge(rotation.Reading{Wall: c.wall, Witnesses: c.witnesses}, c.mark, c.policy)
			if c.refused != "" {
				require.False(t, v.Usable)
				require.Zero(t, v.Now)
				require.Contains(t, v.Reasons[0].Text, c.refused)
				return
			}
			require.True(t, v.Usable, "%v", v.Reasons)
			require.Equal(t, c.now, v.Now)
		})
	}
}

// P13: without a clock everything stays, and nothing is granted or locked by it. Adding a point is still possible.
func TestNothingGoesWithoutClock(t *testing.T) {
	p := keep(t, rotation.Tiers(1, 1, 0, 0)...)
	s := newSeries(t, "2026-01-01 20:00")
	s.nights(100)
	for _, v := range []rotation.TimeVerdict{{}, {Now: s.now}, {Usable: true}} {
		plan, err := rotation.Evaluate(p, s.c, v)
		require.NoError(t, err)
		require.Len(t, plan.Keeps(), 100)
		require.Empty(t, plan.Grants)
		require.Contains(t, codes(plan, "rp-000001"), rotation.CodeClock)
		next := rotation.Point{ID: "x", Lineage: "clinic-sql", Seq: 101, Observed: s.now, Complete: true, Verified: rotation.Checked}
		a, err := rotation.Admit(p, s.c, next, v)
		require.NoError(t, err)
		require.Zero(t, a.Lock)
	}
}
