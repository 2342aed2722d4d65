package media

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/rotation"
)

// Grade is how well a fact about a medium is known.
type Grade uint8

// Grades, from the weakest.
const (
	Unknown  Grade = iota
	Claimed        // somebody ticked a box
	Scanned        // the codes on the drive and on the safe were scanned
	Observed       // a computer saw it, such as a drive being plugged in or taken out
	Received       // the other side scanned it
)

var gradeNames = []string{"unknown", "claimed", "scanned", "observed", "received"}

// String returns the grade's name.
func (g Grade) String() string {
	if int(g) < len(gradeNames) {
		return gradeNames[g]
	}
	return fmt.Sprintf("Grade(%d)", uint8(g))
}

// MarshalText implements [encoding.TextMarshaler].
func (g Grade) MarshalText() ([]byte, error) {
	if int(g) >= len(gradeNames) {
		return nil, fmt.Errorf("grade %d: there is none", uint8(g))
	}
	return []byte(g.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (g *Grade) UnmarshalText(text []byte) error {
	i := slices.Index(gradeNames, string(text))
	if i < 0 {
		return fmt.Errorf("grade: expected one of %s", strings.Join(gradeNames, ", "))
	}
	*g = Grade(i)
	return nil
}

// Kind of event in the life of a medium.
type EventKind string

// The events, and the states that they lead from and to.
const (
	LabelWritten EventKind = "label-written" // new → labelled
	Freed        EventKind = "freed"         // labelled, written → scratch; written only if it may be overwritten
	WriteBegan   EventKind = "write-began"   // labelled, scratch, written → writing; only if it may be overwritten
	WriteEnded   EventKind = "write-ended"   // writing → written
	WriteFailed  EventKind = "write-failed"  // writing → quarantined
	Left         EventKind = "left"          // written → transit-out
	Arrived      EventKind = "arrived"       // transit-out → offsite
	CalledBack   EventKind = "called-back"   // offsite → recalled; only if a newer copy is offsite, or by order
	Returning    EventKind = "returning"     // recalled → transit-back
	Returned     EventKind = "returned"      // transit-back → scratch if it may be overwritten, otherwise written
	ReadTested   EventKind = "read-tested"   // labelled, scratch, written: stays; a failed one → quarantined
	SetAside     EventKind = "set-aside"     // any in use → quarantined
	Cleared      EventKind = "cleared"       // quarantined → written or labelled, after somebody looked
	Lost         EventKind = "lost"          // any in use → missing
	Found        EventKind = "found"         // missing → quarantined
	TakenOut     EventKind = "taken-out"     // at the practice, quarantined or missing → retired
	Sanitise     EventKind = "sanitise"      // retired → sanitising; no hold, no promise, and custody known
	Gone         EventKind = "gone"          // sanitising → destroyed, with a certificate
)

// Event is something that happened to a medium.
type Event struct {
	Kind     EventKind
	Medium   string // name
	Day      rotation.Day
	Clock    rotation.Clock
	Who      string // who did it
	Witness  string `json:",omitempty"`
	From, To string `json:",omitempty"` // sites
	Evidence Grade
	Nonce    Nonce        `json:",omitzero"`  // label-written: of the new label
	Finding  Finding      `json:",omitempty"` // write-began: what [Identify] said; it must be Known
	Contents []Content    `json:",omitempty"` // write-ended: what the medium holds now
	Bytes    int64        `json:",omitempty"`
	Good     bool         `json:",omitempty"` // read-tested, cleared: the outcome
	Order    string       `json:",omitempty"` // called-back: what for, "restore" or "read test"
	Proof    *Certificate `json:",omitempty"` // gone
	Note     string       `json:",omitempty"`
}

// ErrNotAllowed is wrapped by every refusal of [Apply].
var ErrNotAllowed = errors.New("not allowed")

// moves says from which states an event is possible, and where it leads; an empty target is decided by the
// event.
var moves = map[EventKind]struct {
	from []State
	to   State
}{
	LabelWritten: {[]State{New}, Labelled},
	Freed:        {[]State{Labelled, Written}, Scratch},
	WriteBegan:   {[]State{Labelled, Scratch, Written}, Writing},
	WriteEnded:   {[]State{Writing}, Written},
	WriteFailed:  {[]State{Writing}, Quarantined},
	Left:         {[]State{Written}, TransitOut},
	Arrived:      {[]State{TransitOut}, Offsite},
	CalledBack:   {[]State{Offsite}, Recalled},
	Returning:    {[]State{Recalled}, TransitBack},
	Returned:     {[]State{TransitBack}, ""},
	ReadTested:   {[]State{Labelled, Scratch, Written}, ""},
	SetAside:     {[]State{Labelled, Scratch, Written, TransitOut, Offsite, Recalled, TransitBack}, Quarantined},
	Cleared:      {[]State{Quarantined}, ""},
	Lost:         {[]State{Labelled, Scratch, Written, TransitOut, Offsite, Recalled, TransitBack, Quarantined, Retired}, Missing},
	Found:        {[]State{Missing}, Quarantined},
	TakenOut:     {[]State{New, Labelled, Scratch, Written, Quarantined, Missing}, Retired},
	Sanitise:     {[]State{Retired}, Sanitising},
	Gone:         {[]State{Sanitising}, Destroyed},
}

// Apply returns the medium after an event, or the reason why the event may not happen. It does not change
// m. What is refused here is refused before it is done: the caller asks first and acts then.
func Apply(m Medium, e Event, g Guards) (Medium, error) {
	refuse := func(reasons ...Reason) (Medium, error) {
		texts := make([]string, len(reasons))
		for i, r := range reasons {
			texts[i] = r.Text
		}
		return m, fmt.Errorf("%w: %s of %s: %s", ErrNotAllowed, e.Kind, m.Name, strings.Join(texts, "; "))
	}
	say := func(code Code, format string, args ...any) (Medium, error) {
		return refuse(Reason{Code: code, Text: fmt.Sprintf(format, args...)})
	}
	move, ok := moves[e.Kind]
	switch {
	case !ok:
		return say(CodeState, "there is no such event")
	case e.Medium != m.Name:
		return say(CodeIdentity, "the event is about another medium")
	case !slices.Contains(move.from, m.State):
		return say(CodeState, "it is %s", m.State)
	case e.Who == "":
		return say(CodeEvidence, "nobody is named who did it")
	}
	n := m
	n.State = move.to
	n.Contents = slices.Clone(m.Contents)
	n.Reads = slices.Clone(m.Reads)
	n.Evidence = e.Evidence
	switch e.Kind {
	case LabelWritten:
		if e.Nonce == (Nonce{}) {
			return say(CodeIdentity, "the label has no nonce")
		}
		n.Identity.Nonce = e.Nonce
		n.Site = cmp.Or(e.To, g.site())
	case Freed:
		if rs := Overwritable(m, g); len(rs) > 0 {
			return refuse(rs...)
		}
	case WriteBegan:
		if e.Finding != Known {
			return say(CodeIdentity, "its identity is not confirmed (%s)", cmp.Or(e.Finding, "not looked at"))
		}
		if rs := append(Overwritable(m, g), Unfit(m, g)...); len(rs) > 0 {
			return refuse(rs...)
		}
		n.Contents = nil // from the first byte on the old copy is not to be counted on
		n.Written, n.WriteNo = e.Day, g.Writes+1
		n.Wear.Writes++
		n.Wear.Mounts++
		n.Wear.LastPowered = e.Day
		if n.Wear.FirstUsed.IsZero() {
			n.Wear.FirstUsed = e.Day
		}
	case WriteEnded:
		if len(e.Contents) == 0 {
			return say(CodeEvidence, "it names no recovery point; a backup of nothing is not a backup")
		}
		n.Contents = slices.Clone(e.Contents)
		n.Wear.Bytes += e.Bytes
	case WriteFailed:
		n.Wear.Errors++
	case Left:
		n.Site, n.Keeper = "", cmp.Or(e.Who, m.Keeper)
	case Arrived:
		if e.To == "" || e.To == g.site() {
			return say(CodeEvidence, "the place where it arrived is not named, or is the practice itself")
		}
		n.Site = e.To
	case CalledBack:
		if e.Order == "" {
			if rs := replaced(m, g); len(rs) > 0 {
				return refuse(rs...)
			}
		}
	case Returned:
		n.Site = cmp.Or(e.To, g.site())
		n.State = Written
		if len(Overwritable(n, g)) == 0 {
			n.State = Scratch
		}
	case ReadTested:
		n.State = m.State
		n.Reads = append(n.Reads, ReadTest{Day: e.Day, By: e.Who, Bytes: e.Bytes, Good: e.Good})
		n.Wear.Mounts++
		n.Wear.LastPowered = e.Day
		if e.Good {
			n.Wear.LastRead = e.Day
		} else {
			n.Wear.Errors++
			n.State = Quarantined
		}
		for i := range n.Contents {
			n.Contents[i].Verified = e.Good
		}
	case Cleared:
		if !e.Good {
			return say(CodeErrors, "nobody found it good")
		}
		if e.Witness == "" || e.Witness == e.Who {
			return say(CodeEvidence, "it needs a second person")
		}
		n.State = Labelled
		if len(n.Contents) > 0 {
			n.State = Written
		}
		if n.Identity.Nonce == (Nonce{}) {
			n.State = New
		}
		n.Site = cmp.Or(e.To, g.site())
	case Sanitise:
		if m.Evidence < Claimed {
			return say(CodeEvidence, "nobody knows where it is")
		}
		if rs := keeps(m, g); len(rs) > 0 {
			return refuse(rs...)
		}
	case Gone:
		if e.Proof == nil {
			return say(CodeSanitised, "no certificate is attached")
		}
		if err := e.Proof.Check(m); err != nil {
			return say(CodeSanitised, "%v", err)
		}
		if rs := keeps(m, g); len(rs) > 0 { // a hold may have come since
			return refuse(rs...)
		}
		n.Contents = nil
	case Lost, SetAside, Found, TakenOut:
	}
	return n, nil
}

// keeps says what on a medium must not be destroyed; rest days do not count here.
func keeps(m Medium, g Guards) []Reason {
	return slices.DeleteFunc(Overwritable(m, g), func(r Reason) bool { return r.Code == CodeTooSoon || r.Code == CodeTooFew })
}

// replaced says why an offsite medium may not be called back yet: something newer, verified, and known well
// enough to be offsite must have taken its place.
func replaced(m Medium, g Guards) []Reason {
	for _, p := range g.Peers {
		if p.Name != m.Name && p.State == Offsite && p.Evidence >= g.Evidence && p.verified() && p.newest().After(m.newest()) {
			return nil
		}
	}
	return []Reason{{Code: CodeOnlyCopy,
		Text: fmt.Sprintf("no newer verified copy is confirmed to be offsite (%s or better)", g.Evidence)}}
}
