package rotation

import (
	"time"

	"github.com/carekeep/carekeep/internal/civil"
)

// Day is a civil date in the proleptic Gregorian calendar, without a zone. The zero Day is no day, and its
// text is empty; the text of any other is like "2026-10-04", for the years 1 to 9999.
type Day = civil.Day

// ParseDay reads a date like "2026-10-04". Years run from 0001 to 9999.
func ParseDay(s string) (Day, error) { return civil.ParseDay(s) }

// DayOf returns the date that t shows in its own location.
func DayOf(t time.Time) Day { return civil.DayOf(t) }
