package rotation

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// Reading is what the clocks said at one moment.
type Reading struct {
	Wall      time.Time // the machine's own clock
	Witnesses []Witness
}

// Witness is a clock that whoever changes the machine's own cannot change: the date in a storage provider's answer, a
// signed time, a transparency log.
type Witness struct {
	Name  string
	Time  time.Time
	Error time.Duration // the true time lies this far around Time
}

// TimePolicy says which clocks are believed. The zero TimePolicy is a usable one.
type TimePolicy struct {
	// Skew is by how much honest clocks may differ. Zero: 15 minutes.
	Skew time.Duration
	// MaxForward is how far the machine's clock may lie ahead of the high-water mark when there is no witness. Zero: 45
	// days.
	MaxForward Span
	// Witnesses is how many are needed. Zero: none.
	Witnesses int
}

// TimeVerdict says whether a clock may be believed when something is to be destroyed. Its zero value says no. Nothing of
// it ever stops a backup.
type TimeVerdict struct {
	Usable bool `json:"usable"`
	// Now is the time that has certainly been reached. It may lie before the wall clock's, never after it.
	Now     time.Time `json:"now,omitzero"`
	Reasons []Reason  `json:"reasons,omitempty"`
}

// Judge says whether the clocks may be believed, and which time has certainly been reached.
//
// The high-water mark is the latest time that is known to have passed: [Catalogue.HighWater], or what the caller knows
// better. A person has to correct it where it is wrong.
//
// A machine's clock alone cannot bring any deletion forward: without a witness, Now is the high-water mark. A clock that
// lies behind the mark, far ahead of it without a witness, or apart from any witness, is not usable.
func Judge(r Reading, highWater time.Time, p TimePolicy) TimeVerdict {
	var v TimeVerdict
	doubt := func(format string, args ...any) {
		v.Reasons = append(v.Reasons, Reason{Code: CodeClock, Text: fmt.Sprintf(format, args...), Rule: "time"})
	}
	if err := p.validate(); err != nil {
		doubt("the time policy is not valid: %v", err)
		return v
	}
	r.Wall, highWater = moment(r.Wall), moment(highWater)
	if r.Wall.IsZero() {
		doubt("the machine's clock is not set")
	}
	if highWater.After(r.Wall.Add(p.skew())) {
		doubt("the machine's clock is %s behind the latest time known to have passed", apart(highWater, r.Wall))
	}
	reached := highWater
	if n := len(r.Witnesses); n > 0 {
		var sure time.Time // reached by every witness' word
		for i, w := range r.Witnesses {
			t, e := moment(w.Time), max(w.Error, 0)
			if apart(t, r.Wall) > p.skew()+min(e, p.skew()) {
				doubt("the machine's clock and witness %d of %d are %s apart", i+1, n, apart(t, r.Wall))
			}
			if t = t.Add(-e); i == 0 || t.Before(sure) {
				sure = t
			}
		}
		if sure.After(reached) {
			reached = sure
		}
	} else if highWater.IsZero() {
		doubt("there is nothing to compare the machine's clock with")
	} else if limit := later(highWater, p.maxForward()); r.Wall.After(limit) {
		doubt("the machine's clock is %s ahead of the latest time known to have passed, and no witness confirms it",
			apart(r.Wall, highWater))
	}
	if len(r.Witnesses) < p.Witnesses {
		doubt("%d witnesses are needed, %d answered", p.Witnesses, len(r.Witnesses))
	}
	if len(v.Reasons) > 0 {
		return v
	}
	v.Usable, v.Now = true, reached
	if r.Wall.Before(reached) {
		v.Now = r.Wall
	}
	return v
}

func (p TimePolicy) skew() time.Duration { return cmp.Or(p.Skew, 15*time.Minute) }

func (p TimePolicy) maxForward() Span { return cmp.Or(p.MaxForward, Span{Days: 45}) }

func (p TimePolicy) validate() error {
	switch {
	case p.Skew < 0 || p.Skew > 24*time.Hour:
		return errors.New("skew: expected up to 24h0m0s")
	case !p.MaxForward.valid():
		return errors.New("maxForward: years, months and days must not be negative")
	case p.Witnesses < 0:
		return errors.New("witnesses: must not be negative")
	}
	return nil
}

type timePolicyJSON struct {
	Skew       string `json:"skew,omitempty"`
	MaxForward Span   `json:"maxForward,omitzero"`
	Witnesses  int    `json:"witnesses,omitempty"`
}

// MarshalJSON implements [json.Marshaler]: {"skew":"15m0s","maxForward":"45d","witnesses":1}.
func (p TimePolicy) MarshalJSON() ([]byte, error) {
	v := timePolicyJSON{MaxForward: p.MaxForward, Witnesses: p.Witnesses}
	if p.Skew != 0 {
		v.Skew = p.Skew.String()
	}
	return json.Marshal(v)
}

// UnmarshalJSON implements [json.Unmarshaler]. It refuses unknown fields.
func (p *TimePolicy) UnmarshalJSON(data []byte) error {
	var v timePolicyJSON
	if err := strict(data, &v); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	*p = TimePolicy{MaxForward: v.MaxForward, Witnesses: v.Witnesses}
	if v.Skew != "" {
		d, err := time.ParseDuration(v.Skew)
		if err != nil {
			return fmt.Errorf("time: skew %q: expected a duration such as 15m", strictjson.Clip(v.Skew))
		}
		p.Skew = d
	}
	return nil
}

// moment makes t safe to calculate and to print with: in UTC, without a monotonic reading, within the years 2 to 9000.
func moment(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	lowest, highest := time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)
	switch t = t.Round(0).UTC(); {
	case t.Before(lowest):
		return lowest
	case t.After(highest):
		return highest
	}
	return t
}

// later adds a span to an instant, by the calendar of UTC.
func later(t time.Time, s Span) time.Time {
	t = t.UTC()
	midnight := t.Truncate(24 * time.Hour)
	return moment(until(s, DayOf(t)).UTC().Add(t.Sub(midnight)))
}

// earlier takes a span from an instant, by the calendar of UTC.
func earlier(t time.Time, s Span) time.Time {
	t = t.UTC()
	midnight := t.Truncate(24 * time.Hour)
	return s.Before(DayOf(t)).UTC().Add(t.Sub(midnight))
}

// apart is how far two instants lie apart, for people: in whole seconds.
func apart(a, b time.Time) time.Duration {
	d := a.Sub(b)
	if d < 0 {
		d = -max(d, -1<<62)
	}
	return d.Round(time.Second)
}
