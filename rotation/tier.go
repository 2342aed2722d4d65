package rotation

import (
	"errors"
	"fmt"
	"time"
)

// Period is the length of a tier's buckets.
type Period uint8

// The periods. Weeks are those of ISO 8601; days are business days; months, quarters and years are the calendar's.
const (
	Every     Period = 1 // each point is a bucket of its own
	Hourly    Period = 2
	Daily     Period = 3
	Weekly    Period = 4
	Monthly   Period = 5
	Quarterly Period = 6
	Yearly    Period = 7
)

// The texts begin the names of buckets, which are kept for years: they must not change.
var periodNames = []string{"none", "every", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly"}

// String returns "every", "hourly", "daily", "weekly", "monthly", "quarterly" or "yearly".
func (p Period) String() string { return nameOf(periodNames, p) }

// MarshalText implements [encoding.TextMarshaler].
func (p Period) MarshalText() ([]byte, error) { return marshalName("period", periodNames, p) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Period) UnmarshalText(text []byte) error {
	return unmarshalName("period", periodNames, text, p)
}

// noun is what one bucket is called.
func (p Period) noun() string {
	return []string{"bucket", "point", "hour", "day", "week", "month", "quarter", "year"}[p]
}

// days is how long a bucket is, at the shortest and at the longest.
func (p Period) days() (shortest, longest int) {
	switch p {
	case Daily:
		return 1, 1
	case Weekly:
		return 7, 7
	case Monthly:
		return 28, 31
	case Quarterly:
		return 90, 92
	case Yearly:
		return 365, 366
	}
	return 0, 0
}

// Tier keeps one point in each bucket of time: the first verified one, which keeps the bucket whatever comes later.
//
// Count and Within join: the point may go only when it is older than Within and Count newer buckets have a verified
// point. So neither a stopped backup nor a wrong clock nor a flood of new points empties a tier.
type Tier struct {
	Period Period `json:"period"`
	// Count is how many of the newest buckets are kept whatever their age, 1 at least.
	Count int `json:"count"`
	// Within is the age, counted from the point's day, below which its bucket is kept however many newer ones exist.
	Within Span `json:"within"`
	// PreferDay is the day of the bucket, from 1, that the point should stand for: 5 of a week is Friday, 31 of a month
	// its last day. The first verified point of that day or later takes the bucket; if there is none when the bucket's
	// time and the policy's Lag have passed, the last one before it does. Until then the newest is kept provisionally. 0:
	// the first verified point of the bucket.
	PreferDay int `json:"preferDay,omitempty"`
}

// Tiers returns the tiers that keep so many days, weeks, months and years, each also for that long. A zero leaves its
// tier out.
func Tiers(days, weeks, months, years int) []Tier {
	var ts []Tier
	add := func(p Period, n int, s Span) {
		if n != 0 {
			ts = append(ts, Tier{Period: p, Count: n, Within: s})
		}
	}
	add(Daily, days, Span{Days: days})
	add(Weekly, weeks, Span{Days: 7 * weeks})
	add(Monthly, months, Span{Months: months})
	add(Yearly, years, Span{Years: years})
	return ts
}

func (t Tier) validate() error {
	if t.Period == 0 || int(t.Period) >= len(periodNames) {
		return fmt.Errorf(`give "period", one of %q`, periodNames[1:])
	}
	shortest, longest := t.Period.days()
	switch {
	case t.Count < 1:
		return fmt.Errorf("count %d: keep 1 at least, or leave the tier out", t.Count)
	case t.Count > maxCount:
		return fmt.Errorf("count %d: keep %d at most", t.Count, maxCount)
	case !t.Within.valid():
		return errors.New("within: years, months and days must not be negative")
	case t.Within.IsZero():
		return errors.New(`give "within", an age such as 5w: a count alone is used up by whoever adds points`)
	case length(t.Within) < shortest:
		return fmt.Errorf("within %s is shorter than a %s", t.Within, t.Period.noun())
	case t.PreferDay < 0:
		return fmt.Errorf("preferDay %d: count the days of the %s from 1", t.PreferDay, t.Period.noun())
	case t.PreferDay > 0 && t.Period < Weekly:
		return fmt.Errorf("preferDay: there is nothing to prefer within a %s", t.Period.noun())
	case t.PreferDay > longest:
		return fmt.Errorf("preferDay %d: a %s has at most %d days", t.PreferDay, t.Period.noun(), longest)
	}
	return nil
}

// maxCount bounds counts, so that sums of them stay far from overflow.
const maxCount = 1_000_000

// length is about how many days the span has, generously.
func length(s Span) int {
	begin := Day{Year: 2001, Month: time.January, Day: 1}
	return s.From(begin).Sub(begin)
}

// horizon is about how many days back the tier reaches, at the least and at the most.
func (t Tier) horizon() (least, most int) {
	shortest, longest := t.Period.days()
	return max(length(t.Within), t.Count*shortest), max(length(t.Within), t.Count*longest)
}

// bucket is a stretch of time that one tier keeps a point of. Buckets of different periods are never equal: an ISO week
// and a month may both be called "2026-01".
type bucket struct {
	period Period
	start  int64 // of an hour in seconds since 1970, else the first day in days since 1970
}

// bucketOf returns the bucket of a point that stands for day d and was observed at t.
func bucketOf(p Period, d Day, t time.Time, z Zone) bucket {
	if p == Hourly {
		t = t.In(z.location())
		_, offset := t.Zone()
		sec := t.Unix()
		return bucket{p, sec - mod(sec+int64(offset), 3600)}
	}
	return bucket{p, firstOf(p, d).UTC().Unix() / secondsOfDay}
}

const secondsOfDay = 24 * 60 * 60

func mod(a, b int64) int64 { return (a%b + b) % b }

// firstOf returns the first day of the period that d lies in.
func firstOf(p Period, d Day) Day {
	switch p {
	case Weekly:
		return d.AddDays(-((int(d.Weekday()) + 6) % 7))
	case Monthly:
		return Day{Year: d.Year, Month: d.Month, Day: 1}
	case Quarterly:
		return Day{Year: d.Year, Month: (d.Month-1)/3*3 + 1, Day: 1}
	case Yearly:
		return Day{Year: d.Year, Month: time.January, Day: 1}
	}
	return d
}

// first and last are the days that the bucket spans.
func (b bucket) first() Day { return DayOf(time.Unix(b.start*secondsOfDay, 0).UTC()) }

func (b bucket) last() Day {
	d := b.first()
	switch b.period {
	case Weekly:
		return d.AddDays(6)
	case Monthly:
		return d.AddMonths(1).AddDays(-1)
	case Quarterly:
		return d.AddMonths(3).AddDays(-1)
	case Yearly:
		return d.AddYears(1).AddDays(-1)
	}
	return d
}

// prefer returns the day of the bucket that the tier prefers.
func (b bucket) prefer(n int) Day {
	d := b.first().AddDays(n - 1)
	if last := b.last(); d.After(last) {
		return last
	}
	return d
}

// name is what the bucket is called in [Point.Promoted].
func (b bucket) name(z Zone) string {
	var label string
	switch b.period {
	case Hourly:
		label = time.Unix(b.start, 0).In(z.location()).Format("2006-01-02T15:04Z07:00")
	case Weekly:
		y, w := b.first().ISOWeek()
		label = fmt.Sprintf("%04d-W%02d", y, w)
	case Monthly:
		label = b.first().String()[:len("2006-01")]
	case Quarterly:
		label = fmt.Sprintf("%04d-Q%d", b.first().Year, (int(b.first().Month)+2)/3)
	case Yearly:
		label = fmt.Sprintf("%04d", b.first().Year)
	default:
		label = b.first().String()
	}
	return b.period.String() + " " + label
}
