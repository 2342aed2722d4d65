package media

import "slices"

// Spread keeps n media (4 to 20) as evenly as can be over the whole time since the first session, however
// long that grows: two are written in turn, and n-2 hold copies that are kept. From time to time the older
// of the two becomes a kept one, and the kept copy that is missed least is given up for it. So it answers
// another question than [Hanoi] or [GFS], whose horizon is fixed: how far can one go back, evenly, with
// these drives?
//
// This is online checkpointing: k points of time, and the only move is to give one up for now. The
// discrepancy of a strategy is the longest gap between neighbours, with start and now at the ends, over the
// ideal gap T/(k+1), at the worst T. No strategy stays below ln 4 ≈ 1.386 for large k, and some reach it
// (Bar-On, Dinur, Dunkelman, Hod, Keller, Ronen and Shamir, Tight Bounds on Online Checkpointing
// Algorithms, ACM Transactions on Algorithms 16(3), article 31, 2020). For the sizes here the strategy is
// to wait as long as the bound in [SpreadBound] allows, and then to close the smallest double gap.
func Spread(n int) (Set, error) {
	s := Set{Kind: KindSpread, Ordinal: BySession, Media: n}
	return s, s.check()
}

// SpreadBound is the discrepancy that Spread(n) keeps to, between 1.47 and 1.59, apart from the rounding to
// whole sessions: a gap may be one session longer. It is zero where there is no such set. The values were
// found by trying bounds in steps of 0.001 until the strategy held for 10^7 sessions.
func SpreadBound(n int) float64 {
	if n < 4 || n-4 >= len(spreadBounds) {
		return 0
	}
	return float64(spreadBounds[n-4]) / 1000
}

// spreadBounds is in thousandths, from two kept media on.
var spreadBounds = [...]int64{1500, 1528, 1589, 1471, 1554, 1507, 1582, 1522, 1508, 1474, 1536, 1478, 1494,
	1502, 1503, 1478, 1490}

// spread plays the strategy. Times are integers, in millionths of a session, so that every machine comes to
// the same answer.
type spread struct {
	kept  []keptCopy // by time
	pool  []int      // media that may be written, the longest unwritten first
	scale int64      // (k+1) thousandths
	bound int64
	last  int64 // time of the newest kept copy
	k     int   // how many copies are kept
}

type keptCopy struct {
	at     int64
	medium int
}

const spreadUnit = 1_000_000

func newSpread(n int) *spread {
	sp := &spread{scale: 1000 * int64(n-1), bound: spreadBounds[n-4], k: n - 2}
	for i := range n {
		sp.pool = append(sp.pool, i)
	}
	return sp
}

// next is when the next copy is to be kept: at once while there are media left, then as late as the gap to
// the newest kept copy may grow.
func (sp *spread) next() int64 {
	soonest := sp.last + spreadUnit
	if len(sp.kept) < sp.k {
		return soonest
	}
	return max(soonest, sp.last*sp.scale/(sp.scale-sp.bound))
}

// keep makes the medium that was written last a kept one at time t, and gives up another when all are used.
func (sp *spread) keep(t int64) {
	full := len(sp.kept) == sp.k
	newest := sp.pool[len(sp.pool)-1]
	sp.pool = sp.pool[:len(sp.pool)-1]
	sp.kept = append(sp.kept, keptCopy{t, newest})
	sp.last = t
	if !full {
		return
	}
	victim, smallest := 0, int64(-1)
	for i := range len(sp.kept) - 1 {
		before := int64(0)
		if i > 0 {
			before = sp.kept[i-1].at
		}
		if gap := sp.kept[i+1].at - before; smallest < 0 || gap < smallest {
			victim, smallest = i, gap
		}
	}
	sp.pool = slices.Insert(sp.pool, 0, sp.kept[victim].medium)
	sp.kept = slices.Delete(sp.kept, victim, victim+1)
}

// spreadIndex is the medium that session number n-1 of a set writes.
func spreadIndex(media, session int) int {
	sp := newSpread(media)
	done := int64(0) // sessions played
	for {
		t := sp.next()
		at := max((t+spreadUnit/2)/spreadUnit, done+1) // the session whose copy is kept
		if at > int64(session) {
			return sp.pool[(int64(session)-done)%int64(len(sp.pool))]
		}
		// Sessions done+1 to at go round the pool.
		turn := int((at - done) % int64(len(sp.pool)))
		sp.pool = slices.Concat(sp.pool[turn:], sp.pool[:turn])
		sp.keep(t)
		done = at
	}
}
