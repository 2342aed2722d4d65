package media

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Requirements is what a practice asks of its routine; a zero field asks nothing.
type Requirements struct {
	OffsiteWithin  time.Duration // surgery time that may be lost in a fire
	OfflineWithin  time.Duration // and when everything that is attached is encrypted
	OffsiteCopies  int           // good copies away at all times; default 1
	Evidence       Grade         // at which hand-overs must be known
	RestDays       int           // of a medium before it is overwritten
	RestWrites     int           // and writes to other media since
	Promises       Promises
	ReadEvery      int // days between read tests of a medium
	UnpoweredDays  int // that a flash drive may be without power
	WearRatio      float64
	MostWrites     int  // to one medium within the scenario's cycle
	Apart          bool // the media are never all in one place, not even in the same home
	AllowUncovered bool // accept times with nothing offsite, which is otherwise refused
}

// Properties are the requirements as [Check] takes them, P1 to P11.
func (r Requirements) Properties() []Property {
	copies := max(r.OffsiteCopies, 1)
	if r.AllowUncovered {
		copies = 0
	}
	ps := []Property{AlwaysOne()}
	if copies > 0 || r.OffsiteWithin > 0 {
		ps = append(ps, KeptOffsite(copies, r.OffsiteWithin, r.Evidence))
	}
	if r.OfflineWithin > 0 {
		ps = append(ps, KeptOffline(r.OfflineWithin))
	}
	if r.RestDays > 0 || r.RestWrites > 0 {
		ps = append(ps, RestBeforeWrite(r.RestDays, r.RestWrites))
	}
	ps = append(ps, NeverThePromised(r.Promises), NewBeforeOld())
	if r.Apart {
		ps = append(ps, NeverOneRoof())
	}
	ps = append(ps, NeverTwoOnOne())
	if r.WearRatio > 0 || r.MostWrites > 0 {
		ps = append(ps, WearSpread(r.WearRatio, r.MostWrites))
	}
	if r.ReadEvery > 0 {
		ps = append(ps, ReadEvery(r.ReadEvery))
	}
	if r.UnpoweredDays > 0 {
		ps = append(ps, Powered(r.UnpoweredDays))
	}
	return ps
}

// RefusedError is returned by [Approve].
type RefusedError struct {
	Reasons []Reason
	// First is, for every property that does not hold, its first violation with the trace.
	First []Counterexample
}

// Error lists the reasons.
func (e *RefusedError) Error() string {
	texts := make([]string, len(e.Reasons))
	for i, r := range e.Reasons {
		texts[i] = r.Text
	}
	return "policy refused: " + strings.Join(texts, "; ")
}

// Approve refuses a policy that cannot work or does not meet the requirements, with a [*RefusedError] that
// says why and what would help, before anybody buys drives for it. It looks at the scheme's figures, then
// plays the routine without faults. Another error means that the scenario cannot be played at all.
func Approve(s Scenario, r Requirements) error {
	base, err := s.withDefaults()
	if err != nil {
		if errors.Is(err, ErrSet) {
			return &RefusedError{Reasons: []Reason{{Code: CodeRoutine, Text: err.Error()}}}
		}
		return err
	}
	f, err := s.Set.Figures(0)
	if err != nil {
		return err
	}
	var rs []Reason
	add := func(code Code, format string, args ...any) {
		rs = append(rs, Reason{Code: code, Text: fmt.Sprintf(format, args...)})
	}
	if f.Media == 1 {
		add(CodeOnlyCopy, "with one medium the only copy is overwritten every time; buy at least two")
	}
	if nextDay := !base.Routine.Usual.SameDay; nextDay && f.Media == 2 && !r.AllowUncovered {
		add(CodeRoutine, "with two media and next-day departure the returning one comes in before the other has left, so nothing is "+
			"away while the practice is open: take a third medium, or back up before the staff leave and take it away the same day")
	}
	if len(f.NeverWritten) > 0 {
		add(CodeRoutine, "the turn of %s never comes: the numbers of %s do not fit the week", strings.Join(f.NeverWritten, ", "), s.Set)
	}
	days := mostDays(f.LongestReturn, base.Hours)
	if r.ReadEvery > 0 && days > r.ReadEvery {
		add(CodeReadTest, "a medium comes back only every %d sessions, up to %d days, so it cannot be read back every %s", f.LongestReturn,
			days, count(r.ReadEvery, "day"))
	}
	if r.UnpoweredDays > 0 && base.Class.forgets() && days > r.UnpoweredDays {
		add(CodePower, "a flash drive would lie without power for up to %d days, and %d are allowed", days, r.UnpoweredDays)
	}
	shortest := leastDays(f.ShortestReturn, base.Hours)
	if r.RestDays > 0 && shortest < r.RestDays {
		add(CodeTooSoon, "a medium comes back after %s, at least %s, and must rest for %d days", count(f.ShortestReturn, "session"),
			count(shortest, "day"), r.RestDays)
	}
	if r.RestWrites > 0 && f.ShortestReturn-1 < r.RestWrites {
		add(CodeTooFew, "a medium is written again after %s, and %d are required", count(f.ShortestReturn-1, "other backup"), r.RestWrites)
	}
	if s.NoVerify {
		add(CodeEvidence, "nothing is read back, so no copy counts as good: an unread backup may be blank")
	}
	refused := &RefusedError{Reasons: rs}
	t, err := Simulate(s)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, v := range Check(t, r.Properties()...) {
		if seen[v.Property] {
			continue
		}
		seen[v.Property] = true
		refused.First = append(refused.First, Counterexample{v, t.Trace(v)})
		refused.Reasons = append(refused.Reasons, Reason{Code: CodeRoutine, Text: v.String()})
	}
	if len(refused.Reasons) > 0 {
		return refused
	}
	return nil
}

// leastDays and mostDays bound the calendar days that so many sessions span, without holidays.
func leastDays(n int, h Hours) int {
	week := h.perWeek()
	return n/week*7 + n%week
}

func mostDays(n int, h Hours) int {
	week := h.perWeek()
	if n%week == 0 {
		return n / week * 7
	}
	return leastDays(n, h) + 7 - week
}
