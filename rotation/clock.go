package rotation

import (
	"fmt"

	"github.com/carekeep/carekeep/internal/civil"
	"github.com/carekeep/carekeep/internal/strictjson"
)

// Clock is a time of day in minutes, from 00:00, which is the zero Clock, to 23:59. It has no zone.
type Clock struct {
	Hour, Minute int
}

// ParseClock reads a time of day like "20:00".
func ParseClock(s string) (Clock, error) {
	if len(s) == len("20:00") && s[2] == ':' {
		h, okH := civil.Digits(s[:2])
		m, okM := civil.Digits(s[3:])
		if c := (Clock{h, m}); okH && okM && c.valid() {
			return c, nil
		}
	}
	return Clock{}, fmt.Errorf("clock %q: expected hours and minutes from 00:00 to 23:59", strictjson.Clip(s))
}

// String returns the time of day like "20:00".
func (c Clock) String() string { return fmt.Sprintf("%02d:%02d", c.Hour, c.Minute) }

// MarshalText implements [encoding.TextMarshaler]. A time that no day has is an error.
func (c Clock) MarshalText() ([]byte, error) {
	if !c.valid() {
		return nil, fmt.Errorf("clock %s: not between 00:00 and 23:59", c)
	}
	return []byte(c.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *Clock) UnmarshalText(text []byte) error {
	v, err := ParseClock(string(text))
	if err != nil {
		return err
	}
	*c = v
	return nil
}

func (c Clock) valid() bool {
	return c.Hour >= 0 && c.Hour <= 23 && c.Minute >= 0 && c.Minute <= 59
}

// minutes counts from midnight.
func (c Clock) minutes() int { return c.Hour*60 + c.Minute }
