package media

import (
	"slices"

	"github.com/carekeep/carekeep/rotation"
)

// Figures is what a set guarantees, in sessions. Ages are counted from the newest complete copy, whose age
// is 0. Guarantees hold at all times, also while a medium is being overwritten and its old copy is gone.
type Figures struct {
	Media    int
	Sessions int  // how many were looked at, after each medium had been written
	Repeats  bool // they are whole periods, so the figures hold for ever

	Horizon           int // age of the oldest usable copy at the worst moment
	HorizonAfterWrite int // the same just after a session, at the worst one
	HorizonBest       int // and at the best one

	MostWrites, FewestWrites int // of one medium in these sessions: the spread of wear
	LongestReturn            int // between two writes of one medium, the longest
	ShortestReturn           int // and the shortest

	NeverWritten []string // slots whose turn never comes: a mistake in the numbers of the set

	// Age of the newest usable copy that is at least as old as the index, at the worst moment; -1: at some
	// moment there is none.
	clean []int
}

// ExtraLoss answers for an incident that is noticed age sessions after it happened, such as a poisoned
// database: how many sessions older than necessary the newest clean copy is, at the worst moment. It
// reports false if at some moment no clean copy is left, and for more than 1000 sessions, which are not
// looked at.
func (f Figures) ExtraLoss(age int) (int, bool) {
	if age < 0 || age >= len(f.clean) || f.clean[age] < 0 {
		return 0, false
	}
	return f.clean[age] - age, true
}

const (
	// maxPlay bounds the sessions that are played, to 63 years of them: some grandfather-father-son sets repeat
	// after ages only.
	maxPlay = 1 << 14
	// maxAge bounds the age of the incidents that are looked at, to nearly four years.
	maxAge = 1000
)

// cycleYears is the period of the Gregorian weekdays within 1901 to 2099, and a whole number of weeks.
const cycleYears = 28

// Figures plays the set without holidays and measures it. Sets that repeat are measured over two whole
// periods. [KindGFS] by calendar is measured over 28 years, in which weekdays and dates repeat, in a
// Monday-to-Friday week; [KindSpread] never repeats and is measured over the sessions asked for, 1000 if
// zero. Sets that repeat ignore the argument.
func (s Set) Figures(sessions int) (Figures, error) {
	if err := s.check(); err != nil {
		return Figures{}, err
	}
	var f Figures
	var play []int
	warm := 0
	switch {
	case s.Kind == KindSpread:
		if sessions <= 0 {
			sessions = 1000
		}
		for n := range sessions {
			play = append(play, s.index(n, rotation.Day{}, Hours{}))
		}
		warm = s.Media
	case s.Period() == 0: // grandfather-father-son by calendar
		years := 2 + s.GFS.Monthly/11 + s.GFS.Yearly
		from := rotation.Day{Year: epoch.Year - years, Month: 1, Day: 1}
		for d := from; d.Year < epoch.Year+cycleYears; d = d.AddDays(1) {
			if !(Hours{}).Open(d) {
				continue
			}
			if d.Before(epoch) {
				warm++
			}
			play = append(play, s.index(0, d, Hours{}))
		}
	default:
		set := s
		set.Ordinal = BySession // by calendar without holidays is the same
		warm = s.Period()
		f.Repeats = warm <= maxPlay
		warm = min(warm, maxPlay)
		for n := range 3 * warm {
			play = append(play, set.index(n, rotation.Day{}, Hours{}))
		}
	}
	f.measure(s.Slots(), play, warm)
	return f, nil
}

func (f *Figures) measure(slots []Slot, play []int, warm int) {
	f.Media, f.Sessions = len(slots), len(play)-warm
	const never = -1
	last := slices.Repeat([]int{never}, len(slots))
	writes := make([]int, len(slots))
	base := never // the newest full copy that partial ones build on
	needs := make([]int, len(slots))
	f.Horizon, f.HorizonAfterWrite, f.FewestWrites = len(play), len(play), len(play)
	var ages []int
	look := func(now, gone int) int { // ages of usable copies, ascending; the oldest
		ages = ages[:0]
		for i, at := range last {
			if at == never || i == gone {
				continue
			}
			if slots[i].Partial && (needs[i] == gone || needs[i] == never || last[needs[i]] > at) {
				continue
			}
			ages = append(ages, now-at)
		}
		slices.Sort(ages)
		f.look(ages)
		if len(ages) == 0 {
			return never
		}
		return ages[len(ages)-1]
	}
	for n, m := range play {
		if n >= warm && n > 0 {
			f.Horizon = min(f.Horizon, look(n-1, m))
		}
		if n >= warm && last[m] != never {
			back := n - last[m]
			f.LongestReturn = max(f.LongestReturn, back)
			if f.ShortestReturn == 0 || back < f.ShortestReturn {
				f.ShortestReturn = back
			}
		}
		last[m] = n
		if slots[m].Partial {
			needs[m] = base
		} else {
			base = m
		}
		if n >= warm {
			writes[m]++
			oldest := look(n, never)
			f.HorizonAfterWrite = min(f.HorizonAfterWrite, oldest)
			f.HorizonBest = max(f.HorizonBest, oldest)
		}
	}
	for i, w := range writes {
		f.MostWrites, f.FewestWrites = max(f.MostWrites, w), min(f.FewestWrites, w)
		if w == 0 {
			f.NeverWritten = append(f.NeverWritten, slots[i].Name)
		}
	}
}

// look records, for every age of an incident, the newest copy that is clean.
func (f *Figures) look(ages []int) {
	if f.clean == nil {
		f.clean = []int{}
		if len(ages) > 0 {
			f.clean = make([]int, min(ages[len(ages)-1], maxAge)+1)
		}
	}
	oldest := -1
	if len(ages) > 0 {
		oldest = ages[len(ages)-1]
	}
	// Beyond the oldest copy at any moment there is none.
	f.clean = f.clean[:min(len(f.clean), oldest+1)]
	i := 0
	for age := range f.clean {
		for ages[i] < age {
			i++
		}
		f.clean[age] = max(f.clean[age], ages[i])
	}
}
