package media

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/carekeep/carekeep/rotation"
)

// Outcome is how a session ended.
type Outcome string

// Outcomes.
const (
	Good       Outcome = "good"       // complete, and read back
	Unverified Outcome = "unverified" // complete, but not known to be readable
	Missed     Outcome = "missed"     // nothing was written
)

// Night is one session of a timeline.
type Night struct {
	Day      rotation.Day
	Slot     Slot
	Medium   string
	Keeper   string
	Outcome  Outcome
	Why      string         `json:",omitempty"` // of one that is not good
	In       bool           // the medium had to be brought in this morning
	LeavesOn rotation.Day   `json:",omitzero"` // when its keeper took it away; zero: not within the timeline
	Run      rotation.Clock // when the session began
}

// Happening is one thing that somebody did or that went wrong, in words.
type Happening struct {
	At     Moment
	Medium string
	Text   string
	minute int
}

// Move is a medium that a keeper brings to the practice or takes away from it.
type Move struct {
	At     Moment
	Medium string
	Keeper string
	Out    bool // taken away; otherwise brought
}

// Timeline is what [Simulate] made of a scenario.
type Timeline struct {
	Scenario   Scenario // with all defaults filled in
	Nights     []Night
	Moves      []Move
	Happenings []Happening
	// Exhaustive: the timeline covers everything that can happen without faults and holidays, because set
	// and week have come round together. For [KindGFS] by calendar it is the 28 years in which weekdays and
	// dates come round, though not every medium of a tier has then met every date.
	Exhaustive bool

	from, to   int // minutes
	spans      []span
	overwrites []overwrite
	writes     []int // by medium
	rests      []rest
	seen       *surgery
}

// span is a time in which nothing changes.
type span struct {
	from, to int // minutes since midnight of the first day
	units    []unit
}

// unit is one medium at one time.
type unit struct {
	keeper  int16
	away    bool
	plugged bool
	lost    bool
	writing bool
	has     *copied
}

// copied is one copy on a medium.
type copied struct {
	day      rotation.Day
	data     int // when the run began: what is in it
	session  int
	tier     Tier
	verified bool
}

// good is the copy that could be restored from the unit.
func (u unit) good() *copied {
	if u.lost || u.writing || u.has == nil || !u.has.verified {
		return nil
	}
	return u.has
}

// overwrite is the beginning of a run on a medium that held a copy.
type overwrite struct {
	at     int
	medium int
	old    copied
	days   int  // since it was written
	others int  // writes to other media since
	newer  bool // a newer good copy was on another medium
}

// rest is a time in which a medium was neither read nor powered.
type rest struct {
	medium   int
	from, to int
	power    bool // no power; otherwise, not read back
}

const day = 24 * 60

// Simulate plays a scenario. It plays faults too, and policies that [Approve] refuses, so that one can see
// what they do; an error means that the scenario makes no sense.
func Simulate(s Scenario) (Timeline, error) {
	s, err := s.withDefaults()
	if err != nil {
		return Timeline{}, err
	}
	t := Timeline{Scenario: s}
	cycle, whole := s.cycle()
	if s.Days == 0 {
		s.Days = cycle
		t.Scenario.Days = cycle
	}
	t.Exhaustive = whole && s.Days >= cycle && !s.Cold && len(s.Hours.Holidays.Days) == 0
	warm := 0
	if !s.Cold {
		warm = s.warm()
	}
	t.to = s.Days * day
	p := newPlayer(&t, s, s.Start.AddDays(-warm))
	p.play(warm)
	return t, nil
}

// player plays one day after the other.
type player struct {
	t     *Timeline
	s     Scenario
	slots []Slot
	units []unit
	now   int
	last  int // begin of the current span

	sessions int   // that took place
	opened   int   // business days that began
	darkTill int   // business day on which a blackout is over
	lateTill []int // by medium, in business days
	back     []int // by lost medium: business day from which there is a new one; 0: not lost
	leaving  []int // by medium: business day at whose end it leaves; 0: stays
	night    []int // by medium: index of the night that it was last written in, -1
	lose     []int // by medium: length of the loss that waits for it, 0
	at       []int // by medium: session number of the last write to the set
	powered  []int
	read     []int
	writes   int
}

func newPlayer(t *Timeline, s Scenario, from rotation.Day) *player {
	slots := s.Set.Slots()
	n := len(slots)
	p := &player{t: t, s: s, slots: slots, units: make([]unit, n), lateTill: make([]int, n), back: make([]int, n),
		leaving: make([]int, n), night: slices.Repeat([]int{-1}, n), lose: make([]int, n), at: make([]int, n),
		powered: make([]int, n), read: make([]int, n)}
	for i := range p.units {
		p.units[i].keeper = int16(i % len(s.Keepers))
	}
	if s.Set.Kind != KindSpread {
		p.sessions = mod(nominal(from, s.Hours), max(s.Set.Period(), 1))
	}
	t.writes = make([]int, n)
	t.seen = newSurgery(s, from)
	p.last = s.Start.Sub(from) * -day
	p.now = p.last
	for i := range n {
		p.powered[i], p.read[i] = p.now, p.now
	}
	return p
}

// step is something that happens at a minute of a day; steps of the same minute go by order of rank.
type step struct {
	minute, rank int
	do           func()
}

func (p *player) play(warm int) {
	for i := -warm; i < p.s.Days; i++ {
		d := p.s.Start.AddDays(i)
		if !p.s.Hours.Open(d) {
			continue
		}
		p.opened++
		p.day(d, i*day)
	}
	p.advance(p.t.to)
	p.t.split()
	for i := range p.units {
		p.rested(i, false, p.t.to)
		if !p.units[i].plugged {
			p.rested(i, true, p.t.to)
		}
	}
}

func (p *player) day(d rotation.Day, midnight int) {
	h, shift := p.s.Hours, p.s.Routine.shift(p.s.Hours, d)
	m := p.s.Set.index(p.sessions, d, h)
	fault := func(k FaultKind) (Fault, bool) {
		for _, f := range p.s.Faults {
			if f.Kind == k && f.Day == d {
				return f, true
			}
		}
		return Fault{}, false
	}
	in := false
	ran := false
	nightOf := len(p.t.Nights)
	recorded := midnight >= p.t.from
	if recorded {
		p.t.Nights = append(p.t.Nights, Night{Day: d, Slot: p.slots[m], Medium: p.s.Names[m], Keeper: p.keeper(m),
			Outcome: Missed, Run: shift.Run})
	}
	note := func(f func(*Night)) {
		if recorded {
			f(&p.t.Nights[nightOf])
		}
	}
	if f, ok := fault(Blackout); ok {
		p.darkTill = p.opened + f.length()
	}
	if p.opened < p.darkTill {
		p.advance(midnight + minutes(h.StaffFrom))
		p.tell(m, "blackout: nobody comes in, and nothing runs")
		note(func(n *Night) { n.Why = "nothing could run" })
		return
	}
	departure := p.opened + 1
	if shift.SameDay {
		departure = p.opened
	}
	run, end := minutes(shift.Run), minutes(shift.Run)+p.s.RunMinutes
	steps := []step{
		{minutes(h.StaffFrom), 2, func() {
			if f, ok := fault(LateReturn); ok && p.units[m].away {
				p.lateTill[m] = p.opened + f.length()
				p.tell(m, "%s should have brought %s back, and did not", p.keeper(m), p.s.Names[m])
			}
			in = p.bring(m, departure)
			note(func(n *Night) { n.In = in })
		}},
		{minutes(h.StaffTo), 1, func() {
			stay := 0
			if f, ok := fault(StayedIn); ok {
				stay = f.length()
			}
			for i := range p.units {
				p.leave(i, stay, i == m && !ran && run >= minutes(h.StaffTo), d)
			}
		}},
		{run, 3, func() {
			_, missed := fault(MissedNight)
			u := &p.units[m]
			why := ""
			switch {
			case u.lost:
				why = "the medium is lost"
			case u.away:
				why = "the medium was not brought back"
			case missed:
				why = "the backup did not run"
			}
			if why != "" {
				p.tell(m, "no backup: %s", why)
				note(func(n *Night) { n.Why = why })
				return
			}
			ran = true
			p.begin(m, d)
		}},
		{end, 0, func() {
			if !ran {
				return
			}
			_, bad := fault(BadCopy)
			p.end(m, !bad && !p.s.NoVerify)
			if recorded {
				p.night[m] = nightOf
			}
			note(func(n *Night) {
				n.Outcome = Good
				if bad || p.s.NoVerify {
					n.Outcome, n.Why = Unverified, "it was not read back"
					if bad {
						n.Why = "it could not be read back"
					}
				}
			})
			if f, ok := fault(LostDrive); ok {
				p.lose[m] = f.length()
			}
		}},
	}
	if shift.Unplug != (rotation.Clock{}) {
		steps = append(steps, step{max(minutes(shift.Unplug), end), 1, func() {
			if p.units[m].plugged && ran {
				p.unplug(m)
				p.tell(m, "%s is detached", p.s.Names[m])
			}
		}})
	}
	slices.SortStableFunc(steps, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.minute, b.minute), cmp.Compare(a.rank, b.rank))
	})
	for _, st := range steps {
		p.advance(midnight + st.minute)
		st.do()
	}
}

// advance closes the span up to a minute.
func (p *player) advance(to int) {
	if to > p.last && to > p.t.from {
		p.t.spans = append(p.t.spans, span{from: max(p.last, p.t.from), to: to, units: slices.Clone(p.units)})
	}
	p.last, p.now = to, to
}

func (p *player) keeper(m int) string { return p.s.Keepers[p.units[m].keeper].Name }

// tell notes what happened. What is over two days before the timeline begins can be in no trace.
func (p *player) tell(m int, format string, args ...any) {
	if p.now < p.t.from-2*day {
		return
	}
	p.t.Happenings = append(p.t.Happenings, Happening{At: p.t.moment(p.now), Medium: p.s.Names[m], minute: p.now,
		Text: fmt.Sprintf(format, args...)})
}

// bring lets the due medium come in and be plugged in, in the place of the one that is. It leaves in its turn,
// whether a backup was made or not.
func (p *player) bring(m, departure int) bool {
	u := &p.units[m]
	if u.lost && p.back[m] > 0 && p.opened >= p.back[m] {
		*u = unit{keeper: u.keeper}
		p.back[m] = 0
		p.tell(m, "a new %s takes the place of the lost one", p.s.Names[m])
	}
	if u.lost || u.away && p.opened < p.lateTill[m] {
		return false
	}
	came := u.away
	u.away = false
	if !u.plugged {
		for i := range p.units {
			if p.units[i].plugged {
				p.unplug(i)
			}
		}
		u.plugged = true
		p.rested(m, true, p.now)
	}
	p.leaving[m] = departure
	if came {
		p.move(m, false)
		p.tell(m, "%s brings %s back, and it is plugged in", p.keeper(m), p.s.Names[m])
	} else {
		p.tell(m, "%s is plugged in", p.s.Names[m])
	}
	return came
}

func (p *player) move(m int, out bool) {
	if p.now >= p.t.from {
		p.t.Moves = append(p.t.Moves, Move{p.t.moment(p.now), p.s.Names[m], p.keeper(m), out})
	}
}

func (p *player) unplug(m int) {
	p.units[m].plugged = false
	p.powered[m] = p.now
}

func (p *player) leave(m, stay int, needed bool, d rotation.Day) {
	u := &p.units[m]
	if p.leaving[m] == 0 || p.leaving[m] > p.opened || needed || u.away || u.lost {
		return
	}
	if stay > 0 {
		p.leaving[m] = p.opened + stay
		p.tell(m, "%s stays at the practice: nobody took it", p.s.Names[m])
		return
	}
	p.leaving[m] = 0
	if u.plugged {
		p.unplug(m)
	}
	u.away = true
	p.move(m, true)
	p.tell(m, "%s takes %s away", p.keeper(m), p.s.Names[m])
	if n := p.night[m]; n >= 0 {
		p.t.Nights[n].LeavesOn = d
		p.night[m] = -1
	}
	if p.lose[m] > 0 {
		u.lost, u.has = true, nil
		p.back[m] = p.opened + p.lose[m]
		p.lose[m] = 0
		p.tell(m, "%s is lost on the way", p.s.Names[m])
	}
}

// begin starts a run: from now on the old copy is gone.
func (p *player) begin(m int, d rotation.Day) {
	u := &p.units[m]
	if u.has != nil && p.now >= p.t.from {
		newer := false
		for i, o := range p.units {
			c := o.good()
			newer = newer || i != m && c != nil && c.data > u.has.data
		}
		p.t.overwrites = append(p.t.overwrites, overwrite{at: p.now, medium: m, old: *u.has,
			days: d.Sub(u.has.day), others: p.writes - p.at[m], newer: newer})
	}
	u.writing = true
	u.has = &copied{day: d, data: p.now, session: p.sessions, tier: p.slots[m].Tier}
	if p.now >= p.t.from {
		p.t.writes[m]++
	}
	p.writes++
	p.at[m] = p.writes
	p.sessions++
	p.tell(m, "the backup onto %s begins", p.s.Names[m])
}

func (p *player) end(m int, verified bool) {
	u := &p.units[m]
	u.writing = false
	u.has.verified = verified
	if !verified {
		p.tell(m, "the copy on %s is not known to be readable", p.s.Names[m])
		return
	}
	p.rested(m, false, p.now)
	p.tell(m, "the backup on %s is complete and was read back", p.s.Names[m])
}

// rested records that a medium is read or powered again.
func (p *player) rested(m int, power bool, now int) {
	since := &p.read[m]
	if power {
		since = &p.powered[m]
	}
	if now > p.t.from && !p.units[m].lost {
		p.t.rests = append(p.t.rests, rest{m, *since, now, power})
	}
	*since = now
}

// split cuts spans where surgery begins and ends, so that the loss is linear within each.
func (t *Timeline) split() {
	h := t.Scenario.Hours
	var out []span
	for _, s := range t.spans {
		for d := floorDiv(s.from, day); d*day < s.to; d++ {
			for _, c := range [...]rotation.Clock{h.SurgeryFrom, h.SurgeryTo} {
				if at := d*day + minutes(c); at > s.from && at < s.to {
					out = append(out, span{s.from, at, s.units})
					s.from = at
				}
			}
		}
		out = append(out, s)
	}
	t.spans = out
}

// surgery counts surgery time since the simulation's first day.
type surgery struct {
	from       int // day
	whole      []int
	open       []bool
	begin, end int
}

func newSurgery(s Scenario, from rotation.Day) *surgery {
	sg := &surgery{from: from.Sub(s.Start), begin: minutes(s.Hours.SurgeryFrom), end: minutes(s.Hours.SurgeryTo)}
	sum := 0
	for i := sg.from; i <= s.Days; i++ {
		open := s.Hours.Open(s.Start.AddDays(i))
		sg.whole, sg.open = append(sg.whole, sum), append(sg.open, open)
		if open {
			sum += sg.end - sg.begin
		}
	}
	return sg
}

// until is the surgery time, in minutes, from the beginning to a minute.
func (sg *surgery) until(minute int) int {
	d := floorDiv(minute, day)
	i := d - sg.from
	if !sg.open[i] {
		return sg.whole[i]
	}
	return sg.whole[i] + min(max(minute-d*day, sg.begin), sg.end) - sg.begin
}

func (t *Timeline) moment(minute int) Moment {
	d := floorDiv(minute, day)
	at := minute - d*day
	return Moment{t.Scenario.Start.AddDays(d), rotation.Clock{Hour: at / 60, Minute: at % 60}}
}

// Loss is what an incident costs, in surgery hours, while there is a copy that survives it.
type Loss struct {
	Worst, Mean float64
	None        float64 // part of the time, 0 to 1, in which no good copy survives
}

// Exposure is what a routine risks.
type Exposure struct {
	NothingOffsite float64 // part of the time, 0 to 1, in which no good copy is away from the practice
	Fire           Loss    // everything at the practice is gone
	Ransom         Loss    // everything that is attached is encrypted
}

func away(u unit) bool    { return u.away }
func offline(u unit) bool { return !u.plugged }

// newest is the newest good copy among the units that pass.
func newest(units []unit, pass func(unit) bool) *copied {
	var best *copied
	for _, u := range units {
		if c := u.good(); c != nil && pass(u) && (best == nil || c.data > best.data) {
			best = c
		}
	}
	return best
}

// Exposure integrates over the timeline exactly: the loss grows linearly within surgery hours. The worst is
// the limit just before relief comes.
func (t Timeline) Exposure() Exposure {
	measure := func(pass func(unit) bool) Loss {
		var l Loss
		var sum, has, none float64
		for _, s := range t.spans {
			c := newest(s.units, pass)
			length := float64(s.to - s.from)
			if c == nil {
				none += length
				continue
			}
			a, b := t.seen.until(s.from)-t.seen.until(c.data), t.seen.until(s.to)-t.seen.until(c.data)
			has += length
			sum += length * float64(a+b) / 2
			l.Worst = max(l.Worst, float64(b)/60)
		}
		if has > 0 {
			l.Mean = sum / has / 60
		}
		l.None = none / float64(t.to-t.from)
		return l
	}
	e := Exposure{Fire: measure(away), Ransom: measure(offline)}
	e.NothingOffsite = e.Fire.None
	return e
}

// Sampled is [Timeline.Exposure] looked at once per step only, from the timeline's beginning. It is for
// comparison with figures that were found so: the true worst may lie between two looks.
func (t Timeline) Sampled(step time.Duration) Exposure {
	every := max(int(step/time.Minute), 1)
	measure := func(pass func(unit) bool) Loss {
		var l Loss
		n, none, i := 0, 0, 0
		for at := t.from; at < t.to; at += every {
			for t.spans[i].to <= at {
				i++
			}
			n++
			c := newest(t.spans[i].units, pass)
			if c == nil {
				none++
				continue
			}
			lost := float64(t.seen.until(at)-t.seen.until(c.data)) / 60
			l.Worst = max(l.Worst, lost)
			l.Mean += lost
		}
		if n > none {
			l.Mean /= float64(n - none)
		}
		if n > 0 {
			l.None = float64(none) / float64(n)
		}
		return l
	}
	e := Exposure{Fire: measure(away), Ransom: measure(offline)}
	e.NothingOffsite = e.Fire.None
	return e
}
