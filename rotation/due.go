package rotation

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Occurrence is one opening of a window. Its name is the window and the business day that it is for, so the
// same run is the same occurrence however often, and however late, it comes up.
type Occurrence struct {
	Window string `json:"window"`
	// Day is the business day that the occurrence is for.
	Day Day `json:"day"`
	// RunDay is the business day on which it runs. It differs from Day where a holiday moved it.
	RunDay Day `json:"runDay"`
	// Opens is when the window opens, and Adjustment what had to be done to that civil time.
	Opens      time.Time  `json:"opens"`
	Adjustment Adjustment `json:"adjustment"`
	// Start is when a run may start: after the jitter and outside blackouts. A run may start later, but
	// before Latest. Both are Opens where blackouts leave no moment to start.
	Start  time.Time `json:"start"`
	Latest time.Time `json:"latest"`
	// Closes is when the run should be over: the window ends or a blackout begins. For an occurrence from
	// [Due] it belongs to the hours in which it is due now; it is zero for a run outside all hours, which
	// should be throttled.
	Closes time.Time `json:"closes,omitzero"`
	// CatchUp marks a run after its own time.
	CatchUp bool `json:"catchUp"`
	// Reason says, in a sentence, what is not ordinary about it; empty if nothing is.
	Reason string `json:"reason,omitempty"`
}

// ID returns the occurrence's name, such as "nightly@2026-10-04". It is unique among the occurrences of
// windows with different names.
func (o Occurrence) ID() string { return o.Window + "@" + o.Day.String() }

// Done is the set of the ids of occurrences that were carried out.
type Done map[string]bool

// DueOptions refine [Due] and [Next]. Nil and the zero value are ready to use.
type DueOptions struct {
	// Site names this installation, for the jitter. Give each its own, such as the repository's id.
	Site string
	// CatchUp is how many of each window's newest occurrences are carried out although their time is over;
	// zero is one, negative is none. Since a run of today holds what the missed ones would have held, more
	// than one is seldom of use.
	CatchUp int
	// Since is the first business day that counts: when the windows were set up. Zero looks back a year.
	Since Day
	// Verified is when the newest recovery point that was verified was made; zero is that there is none.
	Verified time.Time
	// Breach is the age of the newest verified point from which a missed run no longer waits for a window
	// and may enter opening hours; zero is never.
	Breach time.Duration
}

const (
	lookBack  = 366      // days
	lookAhead = 41 * 366 // days; any recurrence comes up, unless its anchor is farther away
)

// Due returns the occurrences that should start now, newest first: those that have begun, less those done.
//
// It has no memory. Call it every minute or so, by the wall clock; run what it returns; put the ids of what
// succeeded into done. Firing twice is harmless, since the second time the id is in done; a machine that
// slept or was off, and a clock that was set, need no care.
//
// Of each window the newest occurrence that has begun is looked at, and older ones as far as
// [DueOptions.CatchUp] says. Within its own hours it is due. Once they are over it was missed, and is due,
// marked as CatchUp, as soon as any window is open, outside its own blackouts; or at any time when the
// newest verified point is older than [DueOptions.Breach].
//
// The times returned are in the zone's location. An invalid window, zone or table is an error.
func Due(windows []Window, z Zone, h Holidays, done Done, now time.Time, opts *DueOptions) ([]Occurrence, error) {
	s, err := newSchedule(windows, z, h, now, opts)
	if err != nil {
		return nil, err
	}
	var due []Occurrence
	for i := range windows {
		w := &windows[i]
		for _, o := range s.begun(w, now, lookBack, max(1, s.CatchUp)) {
			if done[o.ID()] {
				continue
			}
			if o, ok := s.due(w, o, now); ok {
				due = append(due, o)
			}
		}
	}
	slices.SortStableFunc(due, func(a, b Occurrence) int { return b.Opens.Compare(a.Opens) })
	return due, nil
}

// Next returns, for display, the next occurrence of each window that opens after now, soonest first. A window
// that opens on no day of the next 41 years is left out.
func Next(windows []Window, z Zone, h Holidays, now time.Time, opts *DueOptions) ([]Occurrence, error) {
	s, err := newSchedule(windows, z, h, now, opts)
	if err != nil {
		return nil, err
	}
	var next []Occurrence
	for i := range windows {
		if o, ok := s.next(&windows[i], now); ok {
			next = append(next, o)
		}
	}
	slices.SortStableFunc(next, func(a, b Occurrence) int { return a.Opens.Compare(b.Opens) })
	return next, nil
}

// schedule is what the occurrences of some windows depend on.
type schedule struct {
	windows []Window
	zone    Zone
	h       Holidays
	DueOptions
}

// hours is a stretch of time from from until just before to.
type hours struct{ from, to time.Time }

func (h hours) contains(t time.Time) bool { return !t.Before(h.from) && t.Before(h.to) }

func newSchedule(windows []Window, z Zone, h Holidays, now time.Time, opts *DueOptions) (*schedule, error) {
	s := &schedule{windows: windows, zone: z, h: h}
	if opts != nil {
		s.DueOptions = *opts
	}
	if err := z.check(); err != nil {
		return nil, err
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, w := range windows {
		if err := w.Check(); err != nil {
			return nil, err
		}
		if names[w.Name] {
			return nil, fmt.Errorf("window %q: two windows of this name", w.Name)
		}
		names[w.Name] = true
	}
	if y := now.UTC().Year(); y < 2 || y > 9900 {
		return nil, fmt.Errorf("now is in the year %d: give the wall clock's time", y)
	}
	if s.Breach < 0 {
		return nil, errors.New("breach is negative: give the age of the newest verified point that is too old, or zero")
	}
	return s, nil
}

// due decides about an occurrence that has begun and is not done.
func (s *schedule) due(w *Window, o Occurrence, now time.Time) (Occurrence, bool) {
	open := s.open(w, o.Opens)
	for _, h := range s.starts(w, o, open) {
		if h.contains(now) {
			o.Closes = closes(open, now)
			return o, true
		}
	}
	// In its jitter, or in a blackout at the window's beginning, it waits for its start.
	if now.Before(o.Start) || s.CatchUp < 0 {
		return o, false
	}
	o.CatchUp, o.Closes = true, time.Time{}
	if host, end, ok := s.host(now); ok && !s.blackedOut(w, now) {
		o.Closes = end
		o.because("missed, and caught up in the hours of %s", host.Window)
		return o, true
	}
	switch age := now.Sub(s.Verified); {
	case s.Breach == 0:
		return o, false
	case s.Verified.IsZero():
		o.because("missed, and run outside the hours because no point is verified")
	case age > s.Breach:
		o.because("missed, and run outside the hours because the newest verified point is %s old, more than %s",
			age.Truncate(time.Minute), s.Breach)
	default:
		return o, false
	}
	return o, true
}

func (o *Occurrence) because(format string, args ...any) {
	if o.Reason != "" {
		o.Reason += "; "
	}
	o.Reason += fmt.Sprintf(format, args...)
}

// begun returns the n newest occurrences of w that have opened by now, newest first, looking back as many
// days.
func (s *schedule) begun(w *Window, now time.Time, days, n int) []Occurrence {
	today := s.zone.BusinessDay(now)
	first := today.AddDays(-days)
	if s.Since.After(first) {
		first = s.Since
	}
	pad := s.moves(w)
	var found []Occurrence
	last := first
	for d := today.AddDays(pad); !d.Before(last); d = d.AddDays(-1) {
		o, ok := s.on(w, d)
		if !ok || o.Opens.After(now) {
			continue
		}
		found = append(found, o)
		if len(found) == n {
			// What a holiday moved may be newer though its day is older.
			last = latest(first, o.RunDay.AddDays(-pad))
		}
	}
	slices.SortStableFunc(found, func(a, b Occurrence) int { return b.Opens.Compare(a.Opens) })
	return found[:min(n, len(found))]
}

// next returns the first occurrence of w that opens after now.
func (s *schedule) next(w *Window, now time.Time) (next Occurrence, ok bool) {
	pad := s.moves(w)
	d := latest(s.zone.BusinessDay(now).AddDays(-pad), s.Since)
	last := d.AddDays(lookAhead)
	for ; !d.After(last); d = d.AddDays(1) {
		o, on := s.on(w, d)
		if !on || !o.Opens.After(now) {
			continue
		}
		if !ok {
			last = o.RunDay.AddDays(pad)
		}
		if !ok || o.Opens.Before(next.Opens) {
			next, ok = o, true
		}
	}
	if !ok {
		return next, false
	}
	next.Closes = closes(s.open(w, next.Opens), next.Start)
	return next, true
}

func latest(a, b Day) Day {
	if a.Before(b) {
		return b
	}
	return a
}

// moves is how many days an occurrence of w may be from its own day.
func (s *schedule) moves(w *Window) int {
	if (w.Holidays == HolidayEarlier || w.Holidays == HolidayLater) && len(s.h.Days) > 0 {
		return maxMove
	}
	return 0
}

// on returns the occurrence of w for business day d, if there is one, without Closes.
func (s *schedule) on(w *Window, d Day) (Occurrence, bool) {
	o := Occurrence{Window: w.Name, Day: d, RunDay: d}
	on := w.on(d, d.Weekday(), s.h)
	if name, holiday := s.h.Days[d]; holiday {
		switch {
		case on && w.Holidays == HolidayEarlier:
			o.RunDay = s.h.nearest(d, -1)
		case on && w.Holidays == HolidayLater:
			o.RunDay = s.h.nearest(d, 1)
		case w.Holidays == HolidaySunday:
			sunday := w.on(d, time.Sunday, s.h)
			switch {
			case on && !sunday && s.covered(w, d):
				on = false
			case on && !sunday:
				o.because("%s, and runs all the same because no window is open on it as on a Sunday", holidayName(name))
			case !on && sunday:
				on = true
				o.because("%s, treated as a Sunday", holidayName(name))
			}
		}
		if o.RunDay != d {
			o.because("%s, moved from %s to %s", holidayName(name), d, o.RunDay)
		}
	}
	if !on {
		return Occurrence{}, false
	}
	o.Opens, o.Adjustment = s.zone.within(o.RunDay, w.Opens)
	o.Start, o.Latest = o.Opens, o.Opens
	if starts := s.starts(w, o, s.open(w, o.Opens)); len(starts) > 0 {
		o.Start, o.Latest = starts[0].from, starts[len(starts)-1].to
	} else {
		o.because("blackouts leave no moment to start in this window")
	}
	return o, true
}

func holidayName(name string) string {
	if strings.TrimSpace(name) == "" {
		return "holiday"
	}
	return name
}

// covered reports whether, on holiday d, a window other than w opens.
func (s *schedule) covered(w *Window, d Day) bool {
	for i := range s.windows {
		other := &s.windows[i]
		switch {
		case other.Name == w.Name:
		case other.Holidays == HolidayRun && other.on(d, d.Weekday(), s.h),
			other.Holidays == HolidaySunday && other.on(d, time.Sunday, s.h):
			return true
		}
	}
	return false
}

// open returns the hours of the window that opens at opens: its length less its blackouts.
func (s *schedule) open(w *Window, opens time.Time) []hours {
	open := []hours{{opens, opens.Add(w.Length)}}
	for _, b := range s.blackouts(w, opens, opens.Add(w.Length)) {
		var left []hours
		for _, h := range open {
			if h.from.Before(b.from) {
				left = append(left, hours{h.from, earliest(h.to, b.from)})
			}
			if b.to.Before(h.to) {
				left = append(left, hours{latestTime(h.from, b.to), h.to})
			}
		}
		open = left
	}
	return open
}

// starts returns those of the open hours in which a run may start.
func (s *schedule) starts(w *Window, o Occurrence, open []hours) (starts []hours) {
	from := o.Opens.Add(jitter(s.Site, w, o.Day))
	to := o.Opens.Add(w.startWithin())
	for _, h := range open {
		if h := (hours{latestTime(from, h.from), earliest(to, h.to)}); h.from.Before(h.to) {
			starts = append(starts, h)
		}
	}
	return starts
}

// blackouts returns those of w's that begin on the dates around from and to.
func (s *schedule) blackouts(w *Window, from, to time.Time) (out []hours) {
	if len(w.Blackouts) == 0 {
		return nil
	}
	loc := s.zone.location()
	early, late := s.zone, s.zone
	early.Gap, early.Fold = GapBefore, FoldFirst
	late.Gap, late.Fold = GapAfter, FoldSecond
	last := DayOf(to.In(loc))
	for d := DayOf(from.In(loc)).AddDays(-1); !d.After(last); d = d.AddDays(1) {
		for _, b := range w.Blackouts {
			if len(b.Weekdays) > 0 && !slices.Contains(b.Weekdays, d.Weekday()) {
				continue
			}
			end := d
			if b.To.minutes() <= b.From.minutes() {
				end = d.AddDays(1)
			}
			start, _ := early.Instant(d, b.From)
			stop, _ := late.Instant(end, b.To)
			out = append(out, hours{start, stop})
		}
	}
	return out
}

func (s *schedule) blackedOut(w *Window, now time.Time) bool {
	return slices.ContainsFunc(s.blackouts(w, now, now), func(h hours) bool { return h.contains(now) })
}

// host returns an occurrence of any window in whose hours a run may start now, and when they end.
func (s *schedule) host(now time.Time) (Occurrence, time.Time, bool) {
	for i := range s.windows {
		w := &s.windows[i]
		days := int(w.Length/(24*time.Hour)) + 2 // since the oldest that may still be open
		for _, o := range s.begun(w, now, days+s.moves(w), days+2*s.moves(w)) {
			open := s.open(w, o.Opens)
			if slices.ContainsFunc(s.starts(w, o, open), func(h hours) bool { return h.contains(now) }) {
				return o, closes(open, now), true
			}
		}
	}
	return Occurrence{}, time.Time{}, false
}

// closes returns the end of the hours that hold t.
func closes(open []hours, t time.Time) time.Time {
	for _, h := range open {
		if h.contains(t) {
			return h.to
		}
	}
	return time.Time{}
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latestTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// jitter returns how long the window's run for d waits at this site, in whole seconds below w.Jitter. The
// same arguments always wait the same time, or a restart of the service would draw again.
func jitter(site string, w *Window, d Day) time.Duration {
	span := uint64(w.Jitter / time.Second)
	if span == 0 {
		return 0
	}
	var b []byte
	for _, s := range []string{site, w.Name, d.String()} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	sum := sha256.Sum256(b)
	return time.Duration(binary.BigEndian.Uint64(sum[:8])%span) * time.Second
}
