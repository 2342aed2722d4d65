package rotation

import (
	"fmt"
	"slices"
	"time"
)

// Activity counts writes by weekday, as [time.Weekday] numbers them, and half-hour of the civil day: a
// typical week, or the sum of several. What is counted, rows or bytes or transactions, is the caller's choice.
type Activity [7][48]int64

// Suggestion is a time of low use, with the numbers that speak for it. It moves nothing.
type Suggestion struct {
	Opens  Clock
	Length time.Duration
	// Writes is how many of the Total writes fall into the time.
	Writes, Total int64
	// Earliest and Latest bound the openings around Opens that are as good. Opens lies midway.
	Earliest, Latest Clock
}

const halfHour = 30 * time.Minute

// Suggest returns the quietest time of the given length, which is rounded up to half-hours, that opens on
// the given weekdays; none is all. It is an error if there are no writes at all to learn from.
func (a *Activity) Suggest(length time.Duration, weekdays ...time.Weekday) (Suggestion, error) {
	if length <= 0 || length > 24*time.Hour {
		return Suggestion{}, fmt.Errorf("suggest a window of %s: expected up to 24h", length)
	}
	if err := checkWeekdays(weekdays); err != nil {
		return Suggestion{}, fmt.Errorf("suggest a window: %w", err)
	}
	var total int64
	for _, day := range a {
		for _, n := range day {
			if n < 0 || n > 1<<50 {
				return Suggestion{}, fmt.Errorf("suggest a window: %d writes in a half-hour; expected 0 to 2^50", n)
			}
			total += n
		}
	}
	if total == 0 {
		return Suggestion{}, fmt.Errorf("suggest a window: no writes were counted, so no time is quieter than another")
	}

	slots := int((length + halfHour - 1) / halfHour)
	var sums [48]int64
	for opens := range sums {
		sums[opens] = a.sum(opens, slots, weekdays)
	}
	least := slices.Min(sums[:])
	// The longest stretch of equally quiet openings, around midnight too, and its middle.
	from, run := 0, 0
	for i := range 48 {
		n := 0
		for n < 48 && sums[(i+n)%48] == least {
			n++
		}
		if n > run {
			from, run = i, n
		}
	}
	return Suggestion{
		Opens:    halfHourClock(from + (run-1)/2),
		Length:   time.Duration(slots) * halfHour,
		Writes:   least,
		Total:    total,
		Earliest: halfHourClock(from),
		Latest:   halfHourClock(from + run - 1),
	}, nil
}

// Writes counts the writes in the half-hours that a time opening then, of that length, touches on the given
// weekdays; none is all. It shows what a window has against what [Activity.Suggest] found.
func (a *Activity) Writes(opens Clock, length time.Duration, weekdays ...time.Weekday) int64 {
	first := opens.minutes() / 30
	end := time.Duration(opens.minutes())*time.Minute + min(max(length, 0), 24*time.Hour)
	last := int((end + halfHour - 1) / halfHour)
	return a.sum(first, min(last-first, 48), weekdays)
}

func (a *Activity) sum(opens, slots int, weekdays []time.Weekday) (n int64) {
	for wd := range 7 {
		if len(weekdays) > 0 && !slices.Contains(weekdays, time.Weekday(wd)) {
			continue
		}
		for i := opens; i < opens+slots; i++ {
			n += a[(wd+i/48)%7][i%48]
		}
	}
	return n
}

func halfHourClock(i int) Clock { return Clock{i % 48 / 2, i % 2 * 30} }

// String says the suggestion in a sentence.
func (s Suggestion) String() string {
	length, _ := minutes(s.Length).MarshalText()
	text := fmt.Sprintf("open at %s for %s: %d of %d writes (%.1f %%) fall into it", s.Opens, length, s.Writes, s.Total,
		100*float64(s.Writes)/float64(s.Total))
	if s.Earliest != s.Latest {
		text += fmt.Sprintf("; opening at any time from %s to %s is as quiet", s.Earliest, s.Latest)
	}
	return text
}
