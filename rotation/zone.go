package rotation

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	_ "time/tzdata" // the zones of the world, for machines that have none

	"github.com/carekeep/carekeep/internal/strictjson"
)

// Gap says what becomes of a civil time that does not exist, because the clocks were put forward over it.
// Neither choice loses a run: a schedule that skips the day is how backups go missing.
type Gap uint8

const (
	// GapAfter takes the instant of the transition, the first that exists after the gap. It is the default.
	GapAfter Gap = iota
	// GapBefore takes the last whole minute before the transition.
	GapBefore
)

// Fold says which of two instants is meant by a civil time that exists twice, because the clocks were put
// back over it. It is never both.
type Fold uint8

const (
	// FoldFirst takes the earlier instant. It is the default.
	FoldFirst Fold = iota
	// FoldSecond takes the later instant.
	FoldSecond
)

// Zone is civil time at one place: its location, when its business day begins, and what happens at the two
// odd hours of a year. The zero Zone is UTC with days that begin at midnight.
//
// A Zone is a value and safe for concurrent use. Its JSON form is
//
//	{"location":"Australia/Sydney","dayStart":"04:00","gap":"after","fold":"first"}
//
// where dayStart, gap and fold may be left out and unknown fields are refused.
type Zone struct {
	// Location is a place of the IANA time zone database, from [time.LoadLocation]; nil is UTC.
	// [time.Local] works, but has no name that means the same elsewhere, and so no JSON form.
	Location *time.Location
	// DayStart is when a business day begins. With 04:00, a run at 01:30 belongs to the day before.
	DayStart Clock
	Gap      Gap
	Fold     Fold
}

// Adjustment says what was done to a civil time so that it names one instant. The zero Adjustment is
// nothing: the time exists, and once. Its text is empty, "moved 30m0s", "moved -1m0s", "first of two" or
// "second of two".
type Adjustment struct {
	// Moved is how much later the clock on the wall shows than was asked for, because that time falls into
	// a gap; negative with [GapBefore].
	Moved time.Duration
	// Fold is 0 for a time that exists once. For one that exists twice it is 1 or 2: which was taken.
	Fold int
}

// reach is more than any offset from UTC, the database's are below 16 hours, with room for the transitions
// around.
const reach = 48 * 60 * 60

// Instant returns the one instant that civil time c on date d names at this place, and what had to be
// adjusted so that it is one. It is monotone: a later civil time never gives an earlier instant.
//
// It does not use [time.Date], which leaves open what it does with a time that does not exist, or exists
// twice, and in practice does it differently from zone to zone.
func (z Zone) Instant(d Day, c Clock) (time.Time, Adjustment) {
	loc := z.location()
	wall := d.UTC().Unix() + int64(c.minutes())*60
	at := func(sec int64) time.Time { return time.Unix(sec, 0).In(loc) }

	// Walk through the stretches of constant offset around. In each, wall has at most one instant. Where it
	// has none in any, the first stretch whose clock begins after wall ends the gap.
	var first, last, transition, offset int64
	var found int
	var inGap bool
	start := int64(math.MinInt64)
	for probe := at(wall - reach); start <= wall+reach; {
		end := stretchEnd(probe)
		_, off := probe.Zone()
		switch sec := wall - int64(off); {
		case sec >= end:
		case sec < start:
			if !inGap {
				inGap, transition, offset = true, start, int64(off)
			}
		default:
			if found == 0 {
				first = sec
			}
			last = sec
			found++
		}
		start, probe = end, at(end)
	}

	switch {
	case found == 1:
		return at(first), Adjustment{}
	case found > 1 && z.Fold == FoldSecond:
		return at(last), Adjustment{Fold: 2}
	case found > 1:
		return at(first), Adjustment{Fold: 1}
	case z.Gap == GapBefore:
		t := at(transition - 60)
		_, off := t.Zone()
		return t, Adjustment{Moved: time.Duration(t.Unix()+int64(off)-wall) * time.Second}
	default:
		return at(transition), Adjustment{Moved: time.Duration(transition+offset-wall) * time.Second}
	}
}

// stretchEnd returns the second at which a stretch of constant offset around t ends, always after t. The
// next stretch may have the same offset.
func stretchEnd(t time.Time) int64 {
	_, end := t.ZoneBounds()
	if end.IsZero() {
		return math.MaxInt64
	}
	if !end.After(t) {
		// ZoneBounds takes every year for one of 365 days when it works from a rule instead of a table, so
		// on 31 December of a leap year it gives an end that is over. It meant the end of the year.
		end = time.Date(t.UTC().Year()+1, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return end.Unix()
}

// BusinessDay returns the business day that t belongs to: the last one that has begun, each at DayStart.
func (z Zone) BusinessDay(t time.Time) Day {
	d := DayOf(t.In(z.location()))
	for t.Before(z.begin(d)) {
		d = d.AddDays(-1)
	}
	for !t.Before(z.begin(d.AddDays(1))) {
		d = d.AddDays(1)
	}
	return d
}

// begin is the instant at which business day d begins.
func (z Zone) begin(d Day) time.Time {
	t, _ := z.Instant(d, z.DayStart)
	return t
}

// within returns the instant of civil time c in business day d: a time before DayStart is in the small
// hours of the next date.
func (z Zone) within(d Day, c Clock) (time.Time, Adjustment) {
	if c.minutes() < z.DayStart.minutes() {
		d = d.AddDays(1)
	}
	return z.Instant(d, c)
}

// Rules names the rules by which the location sets its clocks, as this machine knows them: a fingerprint,
// 16 hexadecimal digits, of every change of offset from 2000 to 2099. Governments change the rules, and two
// machines may know different ones. A plan that notes them can be told from one made under others.
//
// No version of the database stands here, since none can be had honestly: Go prefers the machine's own zone
// files, which carry none, and falls back to the copy of its release, which [runtime.Version] names.
func (z Zone) Rules() string {
	loc := z.location()
	h := sha256.New()
	var b [16]byte
	limit := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	last := int64(math.MinInt64)
	for sec := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix(); sec < limit; {
		t := time.Unix(sec, 0).In(loc)
		// A stretch may end where nothing changes; only changes count.
		if _, off := t.Zone(); int64(off) != last {
			last = int64(off)
			binary.BigEndian.PutUint64(b[:8], uint64(sec))
			binary.BigEndian.PutUint64(b[8:], uint64(last))
			h.Write(b[:])
		}
		sec = stretchEnd(t)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// MarshalJSON implements [json.Marshaler]. The form is canonical: equal zones give equal bytes.
func (z Zone) MarshalJSON() ([]byte, error) {
	if err := z.check(); err != nil {
		return nil, err
	}
	name := z.location().String()
	if name == "Local" || name == "" {
		return nil, errors.New("zone: the machine's local time has no name: load a location such as Europe/London")
	}
	return json.Marshal(zoneJSON{name, z.DayStart, z.Gap, z.Fold})
}

// UnmarshalJSON implements [json.Unmarshaler]. It refuses unknown fields and unknown locations.
func (z *Zone) UnmarshalJSON(data []byte) error {
	var v zoneJSON
	if err := strict(data, &v); err != nil {
		return fmt.Errorf("zone: %w", err)
	}
	if v.Location == "" || v.Location == "Local" {
		return errors.New(`zone: give "location", a place of the time zone database such as Europe/London`)
	}
	loc, err := time.LoadLocation(v.Location)
	if err != nil {
		return fmt.Errorf("zone: location %q is not in the time zone database; expected one such as Europe/London", strictjson.Clip(v.Location))
	}
	*z = Zone{loc, v.DayStart, v.Gap, v.Fold}
	return nil
}

type zoneJSON struct {
	Location string `json:"location"`
	DayStart Clock  `json:"dayStart"`
	Gap      Gap    `json:"gap"`
	Fold     Fold   `json:"fold"`
}

func (z Zone) location() *time.Location {
	if z.Location == nil {
		return time.UTC
	}
	return z.Location
}

func (z Zone) check() error {
	switch {
	case !z.DayStart.valid():
		return fmt.Errorf("zone: day start %s is not between 00:00 and 23:59", z.DayStart)
	case z.Gap > GapBefore:
		return fmt.Errorf("zone: gap %d: expected GapAfter or GapBefore", z.Gap)
	case z.Fold > FoldSecond:
		return fmt.Errorf("zone: fold %d: expected FoldFirst or FoldSecond", z.Fold)
	}
	return nil
}

var (
	gapNames  = []string{GapAfter: "after", GapBefore: "before"}
	foldNames = []string{FoldFirst: "first", FoldSecond: "second"}
)

// String returns "after" or "before".
func (g Gap) String() string { return nameOf(gapNames, g) }

// MarshalText implements [encoding.TextMarshaler].
func (g Gap) MarshalText() ([]byte, error) { return marshalName("gap", gapNames, g) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (g *Gap) UnmarshalText(text []byte) error { return unmarshalName("gap", gapNames, text, g) }

// String returns "first" or "second".
func (f Fold) String() string { return nameOf(foldNames, f) }

// MarshalText implements [encoding.TextMarshaler].
func (f Fold) MarshalText() ([]byte, error) { return marshalName("fold", foldNames, f) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (f *Fold) UnmarshalText(text []byte) error { return unmarshalName("fold", foldNames, text, f) }

// String returns the adjustment's text.
func (a Adjustment) String() string {
	switch {
	case a.Fold == 1:
		return "first of two"
	case a.Fold == 2:
		return "second of two"
	case a.Moved != 0:
		return "moved " + a.Moved.String()
	}
	return ""
}

// MarshalText implements [encoding.TextMarshaler].
func (a Adjustment) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (a *Adjustment) UnmarshalText(text []byte) error {
	var v Adjustment
	switch s := string(text); s {
	case "":
	case "first of two":
		v.Fold = 1
	case "second of two":
		v.Fold = 2
	default:
		d, ok := bytes.CutPrefix(text, []byte("moved "))
		moved, err := time.ParseDuration(string(d))
		if v.Moved = moved; !ok || err != nil || v.String() != s {
			return fmt.Errorf("adjustment %q: expected nothing, moved 30m0s, first of two or second of two", strictjson.Clip(s))
		}
	}
	*a = v
	return nil
}

func nameOf[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("unknown %d", v)
}

func marshalName[T ~uint8](what string, names []string, v T) ([]byte, error) {
	if int(v) >= len(names) {
		return nil, fmt.Errorf("%s %d: expected one of %q", what, v, names)
	}
	return []byte(names[v]), nil
}

func unmarshalName[T ~uint8](what string, names []string, text []byte, v *T) error {
	for i, name := range names {
		if string(text) == name {
			*v = T(i)
			return nil
		}
	}
	return fmt.Errorf("%s %q: expected one of %q", what, strictjson.Clip(string(text)), names)
}

// strict decodes one JSON value and refuses unknown fields, fields given twice and anything after it.
func strict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is something after the JSON value")
	}
	return repeated(json.NewDecoder(bytes.NewReader(data)))
}

// repeated returns an error if an object in the JSON value that comes next names a field twice, which
// encoding/json lets pass, as it does names in another case.
func repeated(d *json.Decoder) error {
	open, err := d.Token()
	if err != nil || open != json.Delim('{') && open != json.Delim('[') {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		if open == json.Delim('{') {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name := strings.ToLower(fmt.Sprint(key))
			if seen[name] {
				return fmt.Errorf("field %q is given twice", strictjson.Clip(name))
			}
			seen[name] = true
		}
		if err := repeated(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
