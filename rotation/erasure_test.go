package rotation_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

func instant(t testing.TB, s string) time.Time {
	v, err := time.Parse(time.RFC3339, s)
	require.NoError(t, err)
	return v
}

// oneADay returns points taken at 10:00 UTC, one a day, and lets each go after keep.
func oneADay(t testing.TB, first string, n, keep int) ([]rotation.Point, map[rotation.PointID]rotation.Day) {
	var points []rotation.Point
	earliest := map[rotation.PointID]rotation.Day{}
	for i := range n {
		d := day(t, first).AddDays(i)
		p := rotation.Point{ID: rotation.PointID(fmt.Sprintf("%04x", i)), Seq: uint64(i), Complete: true, Verified: rotation.Checked,
			Observed: instant(t, d.String()+"T10:00:00Z")}
		points = append(points, p)
		earliest[p.ID] = d.AddDays(keep)
	}
	return points, earliest
}

func hold(id string) rotation.Hold {
	return rotation.Hold{ID: rotation.HoldID(id), PlacedBy: "A", Placed: time.Unix(1, 0), Matter: "coroner 118/26"}
}

func released(h rotation.Hold) rotation.Hold {
	h.Releases = []rotation.Approval{{By: "B", At: time.Unix(2, 0)}, {By: "C", At: time.Unix(3, 0)}}
	return h
}

func TestErasureHorizon(t *testing.T) {
	points, earliest := oneADay(t, "2026-11-01", 10, 30)
	asked := day(t, "2026-11-05")
	h := rotation.ErasureHorizon(points, nil, earliest, asked, nil)
	require.Equal(t, 5, h.Points, "those of the day itself can contain the subject, later ones cannot")
	require.Equal(t, "2026-12-05", h.Last.String())
	require.False(t, h.Open)
	require.Empty(t, h.Exceptions)
	require.Contains(t, h.String(), "leaves on 2026-12-05")
	require.Contains(t, h.String(), rotation.NotLegalAdvice)
	require.False(t, h.Exceeds(rotation.Span{Days: 30}))
	require.True(t, h.Exceeds(rotation.Span{Days: 29}))

	// It takes a while until what may go is gone.
	h = rotation.ErasureHorizon(points, nil, earliest, asked, &rotation.ErasureOptions{Lag: rotation.Span{Days: 7}})
	require.Equal(t, "2026-12-12", h.Last.String())

	// What may go already goes today at the earliest.
	h = rotation.ErasureHorizon(points, nil, earliest, day(t, "2027-06-01"), nil)
	require.Equal(t, "2027-06-01", h.Last.String())

	// No points, no horizon; a day that is not known excludes no point.
	h = rotation.ErasureHorizon(points, nil, earliest, day(t, "2026-10-31"), nil)
	require.Zero(t, h.Points)
	require.True(t, h.Last.IsZero())
	require.Equal(t, 10, rotation.ErasureHorizon(points, nil, earliest, rotation.Day{}, nil).Points)
}

func TestErasureHorizonExceptions(t *testing.T) {
	points, earliest := oneADay(t, "2026-11-01", 10, 30)
	asked := day(t, "2026-11-05")
	on := func(change func(ps []rotation.Point), holds ...rotation.Hold) rotation.Horizon {
		ps := append([]rotation.Point(nil), points...)
		change(ps)
		return rotation.ErasureHorizon(ps, holds, earliest, asked, &rotation.ErasureOptions{Archives: []rotation.PointID{"0009"}})
	}
	nothing := func([]rotation.Point) {}

	h := on(nothing, hold("H-7"))
	require.True(t, h.Open)
	require.Equal(t, "2026-12-05", h.Last.String(), "otherwise")
	require.Equal(t, []rotation.HorizonException{{Cause: "hold", Name: "H-7",
		Points: []rotation.PointID{"0000", "0001", "0002", "0003", "0004"}}}, h.Exceptions)
	require.NotContains(t, h.String(), "coroner", "why a hold was placed is nobody else's business")
	require.False(t, on(nothing, released(hold("H-7"))).Open)

	named := func(ps []rotation.Point) { ps[2].Holds = []rotation.HoldID{"H-8"} }
	require.True(t, on(named).Open, "a hold that nobody lists may stand")
	scoped := hold("H-8")
	scoped.Scope.Points = []rotation.PointID{"ffff"}
	require.True(t, on(named, scoped).Open)
	require.False(t, on(named, released(scoped)).Open)
	require.False(t, on(func(ps []rotation.Point) { ps[7].Holds = []rotation.HoldID{"H-8"} }).Open, "not of a later point")

	h = on(func(ps []rotation.Point) {
		ps[1].Copies = []rotation.Copy{{Site: "s3", LockedUntil: instant(t, "2027-02-14T09:00:00Z")},
			{Site: "s3", LockedUntil: instant(t, "2027-01-01T00:00:00Z")}}
		ps[2].Promise = instant(t, "2027-01-31T00:00:00Z")
		ps[3].Promise = instant(t, "2026-11-20T00:00:00Z") // before the policy lets it go
	})
	require.False(t, h.Open)
	require.Equal(t, "2027-02-14", h.Last.String())
	require.Equal(t, []rotation.HorizonException{
		{Cause: "lock", Name: "s3", Points: []rotation.PointID{"0001"}, Until: day(t, "2027-02-14")},
		{Cause: "promise", Points: []rotation.PointID{"0002"}, Until: day(t, "2027-01-31")},
	}, h.Exceptions)

	// A later point that needs an earlier one holds it back, through others and around a circle too.
	h = on(func(ps []rotation.Point) {
		ps[8].Requires = []rotation.PointID{"0007"}
		ps[7].Requires = []rotation.PointID{"0002"}
		ps[2].Requires = []rotation.PointID{"0007"}
	})
	require.Equal(t, "2026-12-09", h.Last.String())
	require.Equal(t, []rotation.HorizonException{{Cause: "required", Points: []rotation.PointID{"0002"}, Until: day(t, "2026-12-09")}},
		h.Exceptions)
	h = on(func(ps []rotation.Point) { ps[9].Requires = []rotation.PointID{"0002"} })
	require.True(t, h.Open, "an archive needs it")

	require.True(t, rotation.ErasureHorizon(points, nil, nil, asked, nil).Open, "nobody said when they go")
	h = rotation.ErasureHorizon(points, nil, earliest, asked, &rotation.ErasureOptions{Archives: []rotation.PointID{"0001"}})
	require.Equal(t, "archive", h.Exceptions[0].Cause)
}

// Only a witness can say that a point is too young to contain the subject.
func TestErasureHorizonTrustsNoWriter(t *testing.T) {
	asked := day(t, "2026-11-05")
	at := func(p rotation.Point, z rotation.Zone) int {
		p.ID = "0001"
		return rotation.ErasureHorizon([]rotation.Point{p}, nil, nil, asked, &rotation.ErasureOptions{Zone: z}).Points
	}
	seen := instant(t, "2026-11-05T20:00:00Z")
	require.Equal(t, 1, at(rotation.Point{Observed: seen, Day: day(t, "2026-11-09"), Claimed: seen.AddDate(1, 0, 0)}, rotation.Zone{}))
	require.Equal(t, 1, at(rotation.Point{}, rotation.Zone{}), "nothing is known of its time")
	next := instant(t, "2026-11-06T01:00:00Z")
	require.Equal(t, 0, at(rotation.Point{Observed: next}, rotation.Zone{}))
	require.Equal(t, 1, at(rotation.Point{Observed: next, Claimed: seen}, rotation.Zone{}), "the run began the day before")
	require.Equal(t, 1, at(rotation.Point{Observed: next, Day: asked}, rotation.Zone{}))
	require.Equal(t, 1, at(rotation.Point{Observed: next}, rotation.Zone{DayStart: rotation.Clock{Hour: 4}}), "the night belongs to the day")
	sydney, err := time.LoadLocation("Australia/Sydney")
	require.NoError(t, err)
	require.Equal(t, 0, at(rotation.Point{Observed: seen}, rotation.Zone{Location: sydney}), "the 6th in Sydney")
}

// More points or holds never make the horizon earlier.
func TestErasureHorizonOnlyGrows(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	base := day(t, "2026-01-01")
	for range 500 {
		var points []rotation.Point
		earliest := map[rotation.PointID]rotation.Day{}
		for i := range 2 + rng.IntN(8) {
			d := base.AddDays(rng.IntN(60))
			p := rotation.Point{ID: rotation.PointID(fmt.Sprint(i)), Observed: instant(t, d.String()+"T12:00:00Z")}
			for range rng.IntN(3) {
				p.Requires = append(p.Requires, rotation.PointID(fmt.Sprint(rng.IntN(10))))
			}
			if rng.IntN(4) == 0 {
				p.Copies = []rotation.Copy{{Site: "x", LockedUntil: p.Observed.AddDate(0, 0, rng.IntN(300))}}
			}
			if rng.IntN(10) > 0 {
				earliest[p.ID] = d.AddDays(rng.IntN(200))
			}
			points = append(points, p)
		}
		asked := base.AddDays(rng.IntN(80))
		less := rotation.ErasureHorizon(points[1:], nil, earliest, asked, nil)
		more := rotation.ErasureHorizon(points, nil, earliest, asked, nil)
		held := rotation.ErasureHorizon(points, []rotation.Hold{hold("H")}, earliest, asked, nil)
		for _, pair := range [][2]rotation.Horizon{{less, more}, {more, held}} {
			require.False(t, pair[0].Last.After(pair[1].Last))
			require.False(t, pair[0].Open && !pair[1].Open)
			require.LessOrEqual(t, pair[0].Points, pair[1].Points)
		}
		rng.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
		again := rotation.ErasureHorizon(points, nil, earliest, asked, nil)
		require.Equal(t, more.Last, again.Last)
		require.Equal(t, more.Open, again.Open)
	}
}

// The horizon that a plan gives is kept by the plans of the nights that follow.
func TestHorizonOfPlans(t *testing.T) {
	friday := rotation.Tier{Period: rotation.Weekly, Count: 5, Within: rotation.Span{Days: 35}, PreferDay: 5}
	for name, tiers := range map[string][]rotation.Tier{
		"days": rotation.Tiers(7, 0, 0, 0), "months": rotation.Tiers(7, 5, 3, 0),
		"friday": {{Period: rotation.Daily, Count: 7, Within: rotation.Span{Days: 7}}, friday},
		"counts": {{Period: rotation.Weekly, Count: 9, Within: rotation.Span{Days: 14}}}, // the count keeps for longer than the age
	} {
		t.Run(name, func(t *testing.T) {
			policy := keep(t, tiers...)
			s := newSeries(t, "2026-02-03 20:00")
			var horizon rotation.Horizon
			for night := range 330 {
				s.add()
				plan := s.plan(t, policy)
				if night == 120 {
					expiries, err := plan.Expiries(policy)
					require.NoError(t, err)
					asked := plan.Verdicts[len(plan.Verdicts)-1].Day
					horizon = rotation.ErasureHorizon(s.c.Points, nil, expiries, asked, &rotation.ErasureOptions{Zone: policy.Zone})
					require.False(t, horizon.Open)
					require.Equal(t, len(s.c.Points), horizon.Points)
				}
				s.apply(t, plan)
				left := 0
				for _, p := range s.c.Points {
					if p.Seq <= 121 {
						left++
					}
				}
				if today := policy.Zone.BusinessDay(s.now); night >= 120 && !today.Before(horizon.Last) {
					require.Zero(t, left, "on %s, though all was to be gone on %s", today, horizon.Last)
				}
				s.days(1)
			}
			require.True(t, horizon.Last.Before(policy.Zone.BusinessDay(s.now)), "the test ran beyond the horizon")
		})
	}
}

func TestExpiriesLeaveOutWhatWaitsForAPerson(t *testing.T) {
	policy := keep(t, rotation.Tiers(7, 0, 0, 0)...)
	s := newSeries(t, "2026-02-03 20:00")
	s.nights(3)
	plan := s.plan(t, policy)
	all, err := plan.Expiries(policy)
	require.NoError(t, err)
	require.Len(t, all, 3)
	_, err = plan.Expiries(keep(t, rotation.Tiers(8, 0, 0, 0)...))
	require.ErrorContains(t, err, "another policy")

	future := s.add(func(p *rotation.Point) { p.Claimed = s.now.AddDate(1, 0, 0) })
	plan = s.plan(t, policy)
	all, err = plan.Expiries(policy)
	require.NoError(t, err)
	require.Len(t, all, 3)
	require.NotContains(t, all, future, "in quarantine")

	plan, err = rotation.Evaluate(policy, s.c, rotation.TimeVerdict{})
	require.NoError(t, err)
	all, err = plan.Expiries(policy)
	require.NoError(t, err)
	require.Empty(t, all, "no clock")

	s.days(60) // nothing new for longer than any tier keeps
	all, err = s.plan(t, policy).Expiries(policy)
	require.NoError(t, err)
	for id := range all {
		v, _ := s.plan(t, policy).Verdict(id)
		require.True(t, v.Release, "what is left of a lineage that ended stays")
	}
}

func TestLongChainsAreQuick(t *testing.T) {
	points, earliest := oneADay(t, "2000-01-01", 9000, 30)
	for i := 1; i < len(points); i++ {
		points[i].Requires = []rotation.PointID{points[i-1].ID}
	}
	start := time.Now()
	h := rotation.ErasureHorizon(points, nil, earliest, day(t, "2010-01-01"), nil)
	require.Equal(t, earliest[points[8999].ID], h.Last)
	require.Less(t, time.Since(start), 5*time.Second)
}

const tokenA, tokenB = rotation.SubjectToken("kZ4T1n7Qw0b9sXyR2mVu8A"), rotation.SubjectToken("b1946ac92492d2347c6235b4d2611184")

func TestErasureLedger(t *testing.T) {
	add := func(l rotation.ErasureLedger, token rotation.SubjectToken, on string) rotation.ErasureLedger {
		out, err := l.Append(rotation.Erasure{Token: token, Asked: day(t, on)})
		require.NoError(t, err)
		return out
	}
	var empty rotation.ErasureLedger
	one := add(empty, tokenA, "2026-11-05")
	two := add(one, tokenB, "2026-10-01")
	three := add(two, tokenA, "2027-01-01")
	require.Equal(t, []int{0, 1, 2, 3}, []int{empty.Len(), one.Len(), two.Len(), three.Len()}, "a value: Append leaves the old one")
	require.Equal(t, 3, add(three, tokenA, "2026-11-05").Len())
	require.True(t, one.Contains(tokenA))
	require.False(t, one.Contains(tokenB))

	// A point of the day on which the subject was erased may still contain it; one of the day after does not.
	require.Len(t, three.Since(day(t, "2026-11-05")), 2)
	require.Len(t, three.Since(day(t, "2026-11-06")), 1)
	require.Len(t, three.Since(rotation.Day{}), 3)
	require.Empty(t, three.Since(day(t, "2027-01-02")))
	three.Since(rotation.Day{})[0].Token = "changed"
	require.True(t, three.Contains(tokenB))

	b, err := json.Marshal(three)
	require.NoError(t, err)
	require.Equal(t, `{"version":1,"entries":[{"token":"b1946ac92492d2347c6235b4d2611184","asked":"2026-10-01"},`+
		`{"token":"kZ4T1n7Qw0b9sXyR2mVu8A","asked":"2026-11-05"},{"token":"kZ4T1n7Qw0b9sXyR2mVu8A","asked":"2027-01-01"}]}`, string(b))
	other, err := json.Marshal(add(add(one, tokenA, "2027-01-01"), tokenB, "2026-10-01"))
	require.NoError(t, err)
	require.Equal(t, b, other, "the order of Append leaves no trace")
	var back rotation.ErasureLedger
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, three, back)
	b, err = json.Marshal(empty)
	require.NoError(t, err)
	require.Equal(t, `{"version":1,"entries":[]}`, string(b))
}

func TestErasureLedgerRefuses(t *testing.T) {
	for _, token := range []rotation.SubjectToken{"", "Jane Citizen 1980-01-01", "4111111111111111111111111", "2951234567",
		"jane.citizen@example.org", "short", "ümlaut-ümlaut-ümlaut-ümlaut", rotation.SubjectToken(strings.Repeat("a", 129))} {
		_, err := rotation.ErasureLedger{}.Append(rotation.Erasure{Token: token, Asked: day(t, "2026-11-05")})
		require.ErrorContains(t, err, "subject token: expected")
		if len(token) > 5 {
			require.NotContains(t, err.Error(), string(token), "who passes a name must not find it in a log")
		}
	}
	_, err := rotation.ErasureLedger{}.Append(rotation.Erasure{Token: tokenA})
	require.ErrorContains(t, err, "day")

	entry := func(token rotation.SubjectToken, on string) string {
		return fmt.Sprintf(`{"token":%q,"asked":%q}`, token, on)
	}
	a, b := entry(tokenA, "2026-11-05"), entry(tokenB, "2026-10-01")
	for _, bad := range []string{``, `[]`, `{}`, `null`, `{"version":2,"entries":[]}`, `{"version":1}`, `{"version":1,"entries":null}`,
		`{"version":1,"entries":[],"name":"Jane Citizen"}`, `{"entries":[],"version":1}`, `{"version":1,"version":1,"entries":[]}`,
		`{"version":1,"entries":[` + a + `,` + b + `]}`, `{"version":1,"entries":[` + a + `,` + a + `]}`,
		`{"version":1,"entries":[` + entry("Jane Citizen of 1 High Street", "2026-11-05") + `]}`,
		`{"version":1,"entries":[` + entry(tokenA, "") + `]}`, `{"version":1,"entries":[` + entry(tokenA, "2026-02-30") + `]}`} {
		var l rotation.ErasureLedger
		err := l.UnmarshalJSON([]byte(bad))
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "Jane")
		require.Zero(t, l.Len())
	}
	require.NoError(t, new(rotation.ErasureLedger).UnmarshalJSON([]byte(" { \"version\": 1,\n \"entries\": ["+b+", "+a+"] }\n")))
}

func FuzzErasureLedger(f *testing.F) {
	f.Add([]byte(`{"version":1,"entries":[{"token":"kZ4T1n7Qw0b9sXyR2mVu8A","asked":"2026-11-05"}]}`))
	f.Add([]byte(`{"version":1,"entries":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var l rotation.ErasureLedger
		if l.UnmarshalJSON(data) != nil {
			require.Zero(t, l.Len())
			return
		}
		b, err := l.MarshalJSON()
		require.NoError(t, err)
		var again rotation.ErasureLedger
		require.NoError(t, again.UnmarshalJSON(b))
		require.Equal(t, l, again)
		for _, e := range l.Since(rotation.Day{}) {
			require.NoError(t, e.Token.Validate())
		}
	})
}
