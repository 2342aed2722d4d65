package rotation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// ErasureOptions are for [ErasureHorizon]; nil and zero are UTC, no archives and points that are gone on the
// day on which they may go.
type ErasureOptions struct {
	// Zone gives the days of instants.
	Zone Zone
	// Lag is how long after a point may go its content is gone, at most: the rhythm of expiry, the cooling-off
	// before a plan is carried out and the grace of the collector.
	Lag Span
	// Archives are points that were set aside to stay, such as the last state of a closed practice.
	Archives []PointID
}

// Horizon says when the last point that can contain a subject is gone.
type Horizon struct {
	// Asked is the day on which the subject was erased from the live system.
	Asked Day `json:"asked"`
	// Points is how many points can contain the subject.
	Points int `json:"points"`
	// Last is the day on which the last of them leaves, as far as an end is known; zero if there are none.
	// Where a point is open its other bounds count, as if its hold were released today.
	Last Day `json:"last,omitzero"`
	// Open says that at least one point has no end: see Exceptions.
	Open       bool               `json:"open,omitempty"`
	Exceptions []HorizonException `json:"exceptions,omitempty"`
	Reasons    []Reason           `json:"reasons,omitempty"`
}

// HorizonException is one cause for which points stay without an end, or longer than the policy would have it.
type HorizonException struct {
	// Cause is "hold", "archive", "no-end" (no expiry is known), "lock", "promise" or "required"
	// (a later point cannot be restored without it).
	Cause string `json:"cause"`
	// Name is the hold, or the site of the lock.
	Name   string    `json:"name,omitempty"`
	Points []PointID `json:"points"`
	// Until is the last of the days on which the cause ends for them; zero: no end is known.
	Until Day `json:"until,omitzero"`
}

// ErasureHorizon says when the last recovery point that can contain a subject is gone, if the subject was
// erased from the live system on the day asked, and which points are exceptions. Points are not rewritten:
// they age out, and what is restored from one before then is cleaned again with an [ErasureLedger].
//
// Expiries is the day on which the policy lets each point go, as [Plan.Expiries] gives it; a point that is
// not in it has no end. A point that was taken before or on the day asked can contain the subject; so can
// one that only says that it was taken later. A hold that a point names counts as standing unless it is
// among the holds and released.
//
// More points or holds never make the horizon earlier: Open stays, and Last does not decrease.
func ErasureHorizon(points []Point, holds []Hold, expiries map[PointID]Day, asked Day, o *ErasureOptions) Horizon {
	if o == nil {
		o = &ErasureOptions{}
	}
	h := horizon{Horizon: Horizon{Asked: asked}, causes: map[[2]string]*HorizonException{}}
	own := make([]bound, len(points))
	for i, p := range points {
		own[i] = boundOf(p, holds, expiries, asked, o)
	}
	all := withDependents(points, own)
	for i, p := range points {
		if !asked.IsZero() && o.Zone.firstDay(p).After(asked) {
			continue
		}
		h.Points++
		h.Last = laterDay(h.Last, all[i].leaves)
		h.Open = h.Open || all[i].open
		for _, c := range own[i].causes {
			h.except(p.ID, c)
		}
		switch {
		case all[i].open && !own[i].open:
			h.except(p.ID, HorizonException{Cause: "required"})
		case all[i].leaves.After(own[i].leaves):
			h.except(p.ID, HorizonException{Cause: "required", Until: all[i].leaves})
		}
	}
	h.explain()
	return h.Horizon
}

// Expiries returns the day on which the policy lets each point of the plan go, for [ErasureHorizon] and
// [Situation]. [Verdict.Earliest] is too early for that, since a point also stays until enough newer ones
// have taken the later buckets; here those are counted too, as if backups go on and are verified. A point
// that only a person can let go is left out, and so has no end: one in quarantine, without a rule, in a
// lineage that gets no new points, or any while no clock can be believed.
//
// Budgets, and a pause in the backups, delay what goes: allow for them in [ErasureOptions.Lag]. A policy
// that the plan was not made from is an error.
func (p Plan) Expiries(policy Policy) (map[PointID]Day, error) {
	if p.Policy != policy.Digest() {
		return nil, errors.New("expiries: the plan was made from another policy")
	}
	stale := map[string]bool{}
	for _, n := range p.Notes {
		if n.Code == CodeStale {
			stale[n.Lineage] = true
		}
	}
	out := make(map[PointID]Day, len(p.Verdicts))
	for _, v := range p.Verdicts {
		rule := policy.ruleFor(v.Lineage)
		waits := slices.ContainsFunc(v.Reasons, func(r Reason) bool {
			return r.Code == CodeQuarantine || r.Code == CodeNoRule || r.Code == CodeClock
		})
		if !v.Release && (waits || rule < 0 || stale[v.Lineage]) {
			continue
		}
		end := laterDay(v.Day, v.Earliest)
		for i := 0; rule >= 0 && i < len(policy.Rules[rule].Tiers); i++ {
			place := fmt.Sprintf("rules[%d].tiers[%d]", rule, i)
			if slices.ContainsFunc(v.Reasons, func(r Reason) bool { return r.Rule == place }) && !v.Release {
				t := policy.Rules[rule].Tiers[i]
				_, most := t.horizon()
				_, bucket := t.Period.days() // the last of the newer buckets may be taken at its end
				end = laterDay(end, policy.lag().From(v.Day.AddDays(most+bucket)))
			}
		}
		out[v.Point] = end
	}
	return out, nil
}

// bound is when a point leaves.
type bound struct {
	leaves Day  // as far as an end is known
	open   bool // something keeps it without an end
	causes []HorizonException
}

// boundOf returns what keeps the point itself.
func boundOf(p Point, holds []Hold, expiries map[PointID]Day, asked Day, o *ErasureOptions) (b bound) {
	open := func(cause, name string) {
		b.open = true
		b.causes = append(b.causes, HorizonException{Cause: cause, Name: name})
	}
	free := laterDay(asked, expiries[p.ID])
	b.leaves = o.Lag.From(free)
	if slices.Contains(o.Archives, p.ID) {
		open("archive", "")
	} else if expiries[p.ID].IsZero() {
		open("no-end", "")
	}
	for _, id := range standing(p, o.Zone.dayOf(p), holds) {
		open("hold", string(id))
	}
	after := func(cause, name string, t time.Time) {
		if t.IsZero() {
			return
		}
		if end := DayOf(t.In(o.Zone.location())); end.After(free) {
			end = o.Lag.From(end)
			b.causes = append(b.causes, HorizonException{Cause: cause, Name: name, Until: end})
			b.leaves = laterDay(b.leaves, end)
		}
	}
	after("promise", "", p.Promise)
	for _, c := range p.Copies {
		after("lock", c.Site, c.LockedUntil)
	}
	return b
}

// withDependents returns the bounds under which no point leaves before those that cannot be restored without
// it. The points are visited from the last to leave, so each gets its final bound at the first visit.
func withDependents(points []Point, own []bound) []bound {
	at := make(map[PointID][]int, len(points))
	order := make([]int, len(points))
	for i, p := range points {
		at[p.ID] = append(at[p.ID], i)
		order[i] = i
	}
	all := slices.Clone(own)
	spread := func(from int, visit func(to int) bool) {
		for next := []int{from}; len(next) > 0; {
			i := next[len(next)-1]
			next = next[:len(next)-1]
			for _, id := range points[i].Requires {
				for _, j := range at[id] {
					if visit(j) {
						next = append(next, j)
					}
				}
			}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return own[b].leaves.Compare(own[a].leaves) })
	done := make([]bool, len(points))
	for _, i := range order {
		if done[i] {
			continue
		}
		done[i] = true
		spread(i, func(j int) bool {
			if done[j] {
				return false
			}
			done[j] = true
			all[j].leaves = own[i].leaves
			return true
		})
	}
	for i := range points {
		if own[i].open {
			spread(i, func(j int) bool {
				was := all[j].open
				all[j].open = true
				return !was
			})
		}
	}
	return all
}

// horizon is one evaluation.
type horizon struct {
	Horizon
	causes map[[2]string]*HorizonException
}

func (h *horizon) except(id PointID, c HorizonException) {
	key := [2]string{c.Cause, c.Name}
	if c.Until.IsZero() {
		key[0] += " without end"
	}
	e := h.causes[key]
	if e == nil {
		e = &HorizonException{Cause: c.Cause, Name: c.Name}
		h.causes[key] = e
	}
	e.Until = laterDay(e.Until, c.Until)
	if n := len(e.Points); n == 0 || e.Points[n-1] != id { // two copies may be locked at one site
		e.Points = append(e.Points, id)
	}
}

func (h *horizon) explain() {
	say := func(code string, until Day, format string, args ...any) {
		h.Reasons = append(h.Reasons, Reason{Code: code, Text: fmt.Sprintf(format, args...), Until: until})
	}
	switch {
	case h.Points == 0:
		say("none", Day{}, "no point was taken on or before %s", h.Asked)
	case h.Open:
		say("open", h.Last, "some points have no known end; all else that can contain the subject is gone on %s", h.Last)
	default:
		say("horizon", h.Last, "the last point that can contain the subject leaves on %s", h.Last)
	}
	for _, e := range h.causes {
		h.Exceptions = append(h.Exceptions, *e)
	}
	slices.SortFunc(h.Exceptions, func(a, b HorizonException) int {
		if a.Until.IsZero() != b.Until.IsZero() {
			return map[bool]int{true: -1, false: 1}[a.Until.IsZero()]
		}
		return strings.Compare(a.Cause+"\x00"+a.Name, b.Cause+"\x00"+b.Name)
	})
	for _, e := range h.Exceptions {
		say(e.Cause, e.Until, "%s", e)
	}
}

// String renders an exception for people.
func (e HorizonException) String() string {
	what := map[string]string{"hold": "under hold", "archive": "set aside as archive", "no-end": "without a known end",
		"lock": "locked", "promise": "promised", "required": "needed by a later point"}[e.Cause]
	text := count(len(e.Points), "point") + " " + what
	switch {
	case e.Name != "" && e.Cause == "lock":
		text += " at " + e.Name
	case e.Name != "":
		text += " " + e.Name
	}
	if e.Until.IsZero() {
		return text + ", no end"
	}
	return text + ", until " + e.Until.String()
}

// Exceeds reports whether the horizon lies beyond what was promised, counted from the day asked.
func (h Horizon) Exceeds(promise Span) bool {
	return h.Open || h.Last.After(promise.From(h.Asked))
}

// String renders the horizon for people, with [NotLegalAdvice].
func (h Horizon) String() string {
	var b strings.Builder
	for _, r := range h.Reasons {
		b.WriteString(r.Text + "\n")
	}
	b.WriteString(NotLegalAdvice)
	return b.String()
}

// standing returns the holds that keep the point.
func standing(p Point, day Day, holds []Hold) (ids []HoldID) {
	for _, h := range holds {
		if h.Stands() && h.Covers(p, day) {
			ids = append(ids, h.ID)
		}
	}
	for _, id := range p.Holds {
		if !slices.ContainsFunc(holds, func(h Hold) bool { return h.ID == id }) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// dayOf is the business day that the point stands for.
func (z Zone) dayOf(p Point) Day {
	if p.Day.IsZero() && !p.Observed.IsZero() {
		return z.BusinessDay(p.Observed)
	}
	return p.Day
}

// firstDay is the earliest day whose data the point may show, whatever its writer says; the zero Day if
// nothing is known of its time.
func (z Zone) firstDay(p Point) Day {
	if p.Observed.IsZero() {
		return Day{}
	}
	first := z.BusinessDay(p.Observed)
	if !p.Day.IsZero() && p.Day.Before(first) {
		first = p.Day
	}
	if !p.Claimed.IsZero() {
		if d := z.BusinessDay(p.Claimed); d.Before(first) {
			first = d
		}
	}
	return first
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// SubjectToken stands for a person in an [ErasureLedger]. The caller makes it and can find the person again,
// for instance as a keyed hash (HMAC) of the record number under a secret that stays with the clinical
// system. This package cannot tell what it stands for, and nobody else must be able to.
//
// A token must not be a name, a date of birth, a record, insurance or telephone number, an address, or a
// hash of any of those without a key: there are so few of them that all can be tried.
//
// It has 22 to 128 letters, digits, hyphens and underscores: room for at least 128 bits. Digits alone are
// refused, since that is what numbers given to people look like.
type SubjectToken string

// Validate refuses what cannot be a token. That a token passes does not make it opaque.
func (s SubjectToken) Validate() error {
	letters := false
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
			return errors.New("subject token: expected letters, digits, hyphens and underscores alone")
		}
		letters = letters || letter
	}
	if len(s) < 22 || len(s) > 128 || !letters {
		// The text is not repeated: who passes something else may pass a name.
		return errors.New("subject token: expected an opaque value of 22 to 128 characters, such as a keyed hash")
	}
	return nil
}

// Erasure is the fact that a subject was erased from the live system on a day.
type Erasure struct {
	Token SubjectToken `json:"token"`
	Asked Day          `json:"asked"`
}

// ErasureLedger is the list of erasures that every restore has to apply again, because the point that it
// came from may be older. It knows tokens and days, and no person. The zero ledger is empty and ready.
//
// It is a value: Append leaves the receiver as it was. Its JSON is canonical, so that equal ledgers have
// equal digests: {"version":1,"entries":[{"token":…,"asked":…},…]}, ordered by day and token.
type ErasureLedger struct {
	entries []Erasure
}

// Append returns the ledger with one more erasure. One that is in it already changes nothing; the same
// subject on another day is another erasure, since the person may have come back in between.
func (l ErasureLedger) Append(e Erasure) (ErasureLedger, error) {
	if err := e.Token.Validate(); err != nil {
		return l, err
	}
	if !e.Asked.Valid() {
		return l, errors.New("erasure: expected the day on which the subject was erased from the live system")
	}
	i, found := slices.BinarySearchFunc(l.entries, e, compareErasures)
	if found {
		return l, nil
	}
	return ErasureLedger{entries: slices.Insert(slices.Clone(l.entries), i, e)}, nil
}

func compareErasures(a, b Erasure) int {
	if c := a.Asked.Compare(b.Asked); c != 0 {
		return c
	}
	return strings.Compare(string(a.Token), string(b.Token))
}

// Len returns the number of erasures.
func (l ErasureLedger) Len() int { return len(l.entries) }

// Contains reports whether the subject was ever erased.
func (l ErasureLedger) Contains(t SubjectToken) bool {
	return slices.ContainsFunc(l.entries, func(e Erasure) bool { return e.Token == t })
}

// Since returns the erasures of the day and later: those that a point which shows the data of that day may
// lack. After a restore from a point apply Since(the point's day), or, with the zero Day, all of them.
func (l ErasureLedger) Since(day Day) []Erasure {
	i, _ := slices.BinarySearchFunc(l.entries, day, func(e Erasure, d Day) int {
		if e.Asked.Before(d) {
			return -1
		}
		return 1
	})
	return slices.Clone(l.entries[i:])
}

// ledgerJSON is the ledger's JSON.
type ledgerJSON struct {
	Version int       `json:"version"`
	Entries []Erasure `json:"entries"`
}

// MarshalJSON implements [json.Marshaler].
func (l ErasureLedger) MarshalJSON() ([]byte, error) {
	return json.Marshal(ledgerJSON{Version: 1, Entries: append([]Erasure{}, l.entries...)})
}

// UnmarshalJSON implements [json.Unmarshaler]. It takes the canonical form alone, white space apart: a field
// that is not known, another version, an entry out of order or twice, and a token that cannot be one are
// errors.
func (l *ErasureLedger) UnmarshalJSON(data []byte) error {
	var v ledgerJSON
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		// The decoder's error may quote the text, and who gave the wrong file may have given names.
		return errors.New(`erasure ledger: expected JSON like {"version":1,"entries":[{"token":"…","asked":"…"}]}`)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("erasure ledger: expected nothing after the closing brace")
	}
	if v.Version != 1 {
		return fmt.Errorf("erasure ledger: version %d: this release reads version 1", v.Version)
	}
	var out ErasureLedger
	for i, e := range v.Entries {
		if err := e.Token.Validate(); err != nil {
			return fmt.Errorf("erasure ledger: entry %d: %w", i, err)
		}
		if !e.Asked.Valid() || i > 0 && compareErasures(v.Entries[i-1], e) >= 0 {
			return fmt.Errorf("erasure ledger: entry %d: expected a day, and entries in order of day and token", i)
		}
		out.entries = append(out.entries, e)
	}
	var compact bytes.Buffer
	canonical, err := out.MarshalJSON()
	if err == nil {
		err = json.Compact(&compact, data)
	}
	if err != nil || !bytes.Equal(canonical, compact.Bytes()) {
		return errors.New("erasure ledger: not the canonical form; write it with MarshalJSON")
	}
	*l = out
	return nil
}
