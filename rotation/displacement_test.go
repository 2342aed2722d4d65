package rotation_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

// game is an adversary's game: bytes decide what happens, the properties must hold throughout.
//
// True time passes. Honest and hostile points are added, points are verified and found bad, clocks lie, plans are made
// and carried out. The store's clock alone is honest: it is what Observed means.
type game struct {
	t      testing.TB
	in     []byte
	now    time.Time // true
	policy rotation.Policy
	held   map[rotation.PointID]bool
	c      rotation.Catalogue
	seq    uint64
	record bool                              // grants are recorded, and verification may change
	kept   map[rotation.PointID]rotation.Day // the latest word on when each may go
	plans  int
	gone   int
}

func (w *game) next() int {
	if len(w.in) == 0 {
		return 0
	}
	b := w.in[0]
	w.in = w.in[1:]
	return int(b)
}

func (w *game) flip() bool { return w.next()%2 == 1 }

func span(s string) rotation.Span {
	v, err := rotation.ParseSpan(s)
	if err != nil {
		panic(err)
	}
	return v
}

func play(t testing.TB, in []byte) *game {
	sydney := location(t, "Australia/Sydney")
	w := &game{
		t: t, in: in, now: time.Date(2026, 9, 20, 20, 0, 0, 0, sydney), kept: map[rotation.PointID]rotation.Day{},
	}
	w.record = !w.flip()
	w.held = map[rotation.PointID]bool{}
	w.adopt()
	for len(w.in) > 0 {
		switch w.next() % 24 {
		case 0, 1, 2, 3:
			w.now = w.now.Add(time.Duration(w.next()%40) * time.Hour)
		case 4, 5, 6, 7:
			w.add(false)
		case 8, 9, 10, 11:
			w.add(true)
		case 12, 13, 14, 15:
			w.verify()
		case 16:
			w.adopt()
		case 17:
			w.hold()
		default:
			w.decide()
		}
	}
	w.decide()
	return w
}

// ratchet is that of every policy of the game.
var ratchet = span("5d")

// adopt takes one of several policies. What was named before holds for as long as the old one's ratchet.
func (w *game) adopt() {
	bound := w.policy.Zone.BusinessDay(w.now.Add(5 * 24 * time.Hour))
	for id, day := range w.kept {
		if bound.Before(day) {
			w.kept[id] = bound
		}
	}
	tiers := [][]rotation.Tier{
		rotation.Tiers(7, 5, 12, 3),
		{{Period: rotation.Every, Count: 2, Within: span("2d")}, {Period: rotation.Daily, Count: 3, Within: span("4d")}},
		{{Period: rotation.Daily, Count: 2, Within: span("3d")},
			{Period: rotation.Weekly, Count: 2, Within: span("2w"), PreferDay: 5},
			{Period: rotation.Monthly, Count: 2, Within: span("2m"), PreferDay: 31}},
		{{Period: rotation.Hourly, Count: 3, Within: span("1d")}, {Period: rotation.Quarterly, Count: 1, Within: span("3m")}},
	}
	w.policy = keep(w.t, tiers[w.next()%len(tiers)]...)
	w.policy.Ratchet = ratchet
	if w.flip() {
		w.policy.Rules[0].Floors = []rotation.Floor{{Need: rotation.NeedVerified, Points: 2, MaxAge: span("30d")}}
	}
	if w.flip() {
		w.policy.Budget = rotation.Budget{Points: 2, Bytes: 350, Per: span("1d")}
	}
	if w.flip() {
		w.policy.Promise = span("10d")
	}
	require.NoError(w.t, w.policy.Validate())
	w.c.Policies = append(slices.Clone(w.c.Policies), rotation.Revision{Policy: w.policy, At: w.now})
}

// hold places a hold on a point, which one person then wants to end.
func (w *game) hold() {
	if n := len(w.c.Points); n > 0 {
		id := w.c.Points[w.next()%n].ID
		w.held[id] = true
		w.c.Holds = append(slices.Clone(w.c.Holds), rotation.Hold{
			ID: rotation.HoldID(fmt.Sprintf("H-%d", len(w.c.Holds))), PlacedBy: "M. Lee", Placed: w.now,
			Scope: rotation.Scope{Points: []rotation.PointID{id}}, Releases: []rotation.Approval{{By: "M. Lee", At: w.now}},
		})
	}
}

// when is a time or day that a hostile writer may claim.
func (w *game) when() time.Time {
	switch w.next() % 5 {
	case 0:
		return time.UnixMilli(int64(w.next()) << (w.next() % 56))
	case 1:
		return w.now.AddDate(0, 0, -w.next())
	case 2:
		return w.now.AddDate(w.next()%20, 0, w.next())
	case 3:
		return time.Time{}
	}
	return w.now
}

func (w *game) add(hostile bool) {
	w.seq++
	p := rotation.Point{
		ID: rotation.PointID(fmt.Sprintf("%t-%d", hostile, w.seq)), Lineage: []string{"a", "b"}[w.next()%2], Seq: w.seq,
		Claimed: w.now, Observed: w.now, Complete: true, Bytes: int64(w.next()), Verified: rotation.Assurance(w.next() % 4),
	}
	if hostile {
		p.Complete = w.flip()
		p.Claimed = w.when()
		if w.flip() {
			if at := w.when(); at.Year() > 0 && at.Year() < 10000 {
				p.Day = rotation.DayOf(at)
			}
		}
		if w.flip() {
			p.Anomalies = []string{"much smaller than the one before"}
		}
		for range w.next() % 3 {
			if n := len(w.c.Points); n > 0 {
				p.Requires = append(p.Requires, w.c.Points[w.next()%n].ID)
			}
		}
		if w.flip() {
			p.Requires = append(p.Requires, p.ID, "nobody")
		}
	}
	w.c.Points = append(slices.Clone(w.c.Points), p)
}

func (w *game) verify() {
	if n := len(w.c.Points); n > 0 && w.record {
		w.c.Points = slices.Clone(w.c.Points)
		w.c.Points[w.next()%n].Verified = rotation.Assurance(w.next() % 4)
	}
}

// read is what clocks say: the wall clock anything, witnesses the truth or nothing.
func (w *game) read() rotation.Reading {
	var r rotation.Reading
	switch w.next() % 4 {
	case 0:
		r.Wall = w.now
	case 1:
		r.Wall = w.now.Add(time.Duration(w.next()) * 24 * time.Hour)
	case 2:
		r.Wall = w.now.Add(time.Duration(w.next()) * time.Minute)
	case 3:
		r.Wall = w.when()
	}
	if w.flip() {
		r.Witnesses = append(r.Witnesses, rotation.Witness{Name: "store", Time: w.now, Error: time.Duration(w.next()) * time.Hour})
	}
	return r
}

func (w *game) decide() {
	t, today := w.t, w.policy.Zone.BusinessDay(w.now)
	v := rotation.Judge(w.read(), w.c.HighWater(w.policy.Time), w.policy.Time)
	require.False(t, v.Now.After(w.now), "Now must have been reached")
	plan, err := rotation.Evaluate(w.policy, w.c, v)
	require.NoError(t, err)
	w.plans++

	// P17: the order in which points are given says nothing, and the plan survives its JSON.
	shuffled := w.c
	shuffled.Points = slices.Clone(w.c.Points)
	slices.Reverse(shuffled.Points)
	again, err := rotation.Evaluate(w.policy, shuffled, v)
	require.NoError(t, err)
	require.Equal(t, plan.Digest(), again.Digest())
	b, err := json.Marshal(plan)
	require.NoError(t, err)
	parsed, err := rotation.ParsePlan(b)
	require.NoError(t, err)
	require.Equal(t, plan.Digest(), parsed.Digest())

	released := map[rotation.PointID]bool{}
	good := map[string]bool{}
	byID := map[rotation.PointID]rotation.Point{}
	for _, p := range w.c.Points {
		byID[p.ID] = p
	}
	for _, d := range plan.Verdicts {
		p := byID[d.Point]
		if !d.Release {
			good[p.Lineage] = good[p.Lineage] || p.Complete && p.Verified >= rotation.Checked && len(p.Anomalies) == 0
			continue
		}
		released[d.Point] = true
		require.True(t, v.Usable, "P13: nothing goes by a clock that is not believed")
		require.False(t, today.Before(w.kept[d.Point]), "P12: %s goes on %s, although kept until %s", d.Point, today, w.kept[d.Point])
		require.False(t, w.now.Before(p.Promise), "P12: a promise is broken")
		require.False(t, w.held[d.Point], "P14: %s is held", d.Point)
	}
	for id := range released {
		require.True(t, good[byID[id].Lineage], "P1: a verified point remains")
	}
	for _, d := range plan.Verdicts {
		for _, id := range byID[d.Point].Requires {
			require.False(t, released[id] && !d.Release, "P16: %s is left without %s", d.Point, id)
		}
	}
	if !v.Usable {
		return
	}
	for _, d := range plan.Verdicts {
		if !d.Release && d.Earliest.After(w.kept[d.Point]) {
			w.kept[d.Point] = d.Earliest
		}
	}
	after, err := w.c.After(plan)
	require.NoError(t, err)
	again, err = rotation.Evaluate(w.policy, after, v)
	require.NoError(t, err)
	require.Empty(t, again.Releases(), "P17: a plan carried out leaves nothing to do")
	w.gone += len(plan.Releases())
	if !w.record {
		for i := range after.Points {
			after.Points[i].Promoted, after.Points[i].Promise = nil, time.Time{}
		}
	}
	w.c = after
}

// P12, P13, P14, P16, P17, P18: nothing that is added, claimed or read off a clock lets a point go before the day that was named.
func FuzzNonDisplacement(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		f.Add(randomBytes(r, 200))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 2000 {
			t.Skip("long games only repeat")
		}
		play(t, in)
	})
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestNonDisplacement(t *testing.T) {
	games := 40
	if os.Getenv("CAREKEEP_LONG") == "1" {
		games = 3_000
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	plans, gone, kept := 0, 0, 0
	for range games {
		w := play(t, randomBytes(r, 100+r.IntN(500)))
		plans, gone, kept = plans+w.plans, gone+w.gone, kept+len(w.kept)
	}
	t.Logf("games=%d plans=%d released=%d points given a day=%d", games, plans, gone, kept)
	require.Positive(t, gone, "the games must release something")
	require.Positive(t, kept, "the games must name days")
}
