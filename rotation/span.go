package rotation

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/carekeep/carekeep/internal/civil"
	"github.com/carekeep/carekeep/internal/strictjson"
)

// Span is a length in civil units, none of them negative. What a year, a month or a day is in hours depends
// on where it lies, so a Span is added to a [Day], never to an instant.
//
// Its text is like "7d", "5w", "12m", "3y" or "1y6m". A week is seven days: two weeks and more are written
// in weeks where that is exact. "12m" and "1y" are different spans, because of 29 February. The zero Span
// is "0d".
type Span struct {
	Years, Months, Days int
}

// ParseSpan reads a span: numbers followed by y, m, w and d, each at most once and in that order.
func ParseSpan(s string) (Span, error) {
	var v Span
	bad := fmt.Errorf("span %q: expected years, months, weeks and days such as 7d, 5w, 12m, 3y or 1y6m", strictjson.Clip(s))
	units, rest := "ymwd", s
	for rest != "" {
		end := strings.IndexAny(rest, units)
		if end < 0 || end > 5 {
			return Span{}, bad
		}
		n, ok := civil.Digits(rest[:end])
		if !ok {
			return Span{}, bad
		}
		switch rest[end] {
		case 'y':
			v.Years = n
		case 'm':
			v.Months = n
		case 'w':
			v.Days = 7 * n
		case 'd':
			v.Days += n
		}
		units, rest = units[strings.IndexByte(units, rest[end])+1:], rest[end+1:]
	}
	if s == "" || !v.valid() {
		return Span{}, bad
	}
	return v, nil
}

// String returns the span's text.
func (s Span) String() string {
	var b strings.Builder
	unit := func(n int, unit byte) {
		if n != 0 {
			b.WriteString(strconv.Itoa(n))
			b.WriteByte(unit)
		}
	}
	unit(s.Years, 'y')
	unit(s.Months, 'm')
	if s.Days >= 14 && s.Days%7 == 0 {
		unit(s.Days/7, 'w')
	} else {
		unit(s.Days, 'd')
	}
	if b.Len() == 0 {
		return "0d"
	}
	return b.String()
}

// MarshalText implements [encoding.TextMarshaler]. A negative or very long span is an error.
func (s Span) MarshalText() ([]byte, error) {
	if !s.valid() {
		return nil, fmt.Errorf("span %s: years, months and days must lie between 0 and 9999, 99999 and 99999", s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Span) UnmarshalText(text []byte) error {
	v, err := ParseSpan(string(text))
	if err != nil {
		return err
	}
	*s = v
	return nil
}

// IsZero reports whether the span is empty.
func (s Span) IsZero() bool { return s == Span{} }

// From returns the day on which a span that begins at d ends: the years are added first, then the months,
// then the days, as [Day.AddYears], [Day.AddMonths] and [Day.AddDays] do.
func (s Span) From(d Day) Day {
	return d.AddYears(s.Years).AddMonths(s.Months).AddDays(s.Days)
}

// Before returns the day that lies the span before d. Years and months go back together, and end at the
// month's last day where the month is too short: a year before 29 February is 28 February.
func (s Span) Before(d Day) Day {
	return d.AddMonths(-12*s.Years - s.Months).AddDays(-s.Days)
}

func (s Span) valid() bool {
	return s.Years >= 0 && s.Years <= 9999 && s.Months >= 0 && s.Months <= 99999 && s.Days >= 0 && s.Days <= 99999
}
