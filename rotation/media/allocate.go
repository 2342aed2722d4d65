package media

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Rejection is a medium that was not taken, with every reason.
type Rejection struct {
	Medium  string
	Reasons []Reason
}

// Allocation is the medium for a slot.
type Allocation struct {
	Medium     string
	Substitute bool   // it does not stand in the slot
	Why        string // one sentence
	Rejected   []Rejection
}

// NoMediumError is returned by [Allocate] when no medium may be written.
type NoMediumError struct {
	Slot     Slot
	Rejected []Rejection
}

// Error lists the media with the first reason of each.
func (e *NoMediumError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no medium may be written for %s", e.Slot.Name)
	if len(e.Rejected) == 0 {
		b.WriteString(": none is registered")
	}
	for i, r := range e.Rejected {
		fmt.Fprintf(&b, "%s %s: %s", map[bool]string{true: ":", false: ";"}[i == 0], r.Medium, r.Reasons[0].Text)
	}
	return b.String()
}

// Allocate picks the medium for a slot: the one that stands in it; otherwise a spare that holds nothing;
// otherwise the one of the same tier, or the spare, that was written longest ago. A medium that stands in a
// slot of another tier is never taken. Every medium must pass [Overwritable] and [Unfit] and be at the
// practice. Where none does, the error is a [*NoMediumError].
func Allocate(want Slot, register []Medium, g Guards) (Allocation, error) {
	return allocate(want, register, g, false)
}

// allocate may also look at media that are away but may be fetched: a person can be asked for them.
func allocate(want Slot, register []Medium, g Guards, fetch bool) (Allocation, error) {
	type candidate struct {
		m    Medium
		rank int
	}
	var good []candidate
	var rejected []Rejection
	for _, m := range register {
		rs := append(Overwritable(m, g), unfitToAsk(m, g, fetch)...)
		rank := 0
		switch {
		case m.Slot == want.Name:
		case m.Slot == "" && len(m.Contents) == 0:
			rank = 1
		case m.Slot == "" || m.Tier == want.Tier:
			rank = 2
		default:
			rs = append(rs, Reason{Code: CodeSlot, Text: fmt.Sprintf("it is the %s medium for %s", m.Tier, m.Slot)})
		}
		if len(rs) > 0 {
			rejected = append(rejected, Rejection{m.Name, rs})
			continue
		}
		good = append(good, candidate{m, rank})
	}
	if len(good) == 0 {
		return Allocation{}, &NoMediumError{Slot: want, Rejected: rejected}
	}
	best := slices.MinFunc(good, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), a.m.Written.Compare(b.m.Written), cmp.Compare(a.m.WriteNo, b.m.WriteNo),
			cmp.Compare(a.m.Wear.Writes, b.m.Wear.Writes), cmp.Compare(a.m.Name, b.m.Name))
	})
	for _, c := range good {
		if c.m.Name != best.m.Name {
			rejected = append(rejected, Rejection{c.m.Name,
				[]Reason{{Code: CodeSlot, Text: fmt.Sprintf("%s is the better choice", best.m.Name)}}})
		}
	}
	a := Allocation{Medium: best.m.Name, Substitute: best.rank > 0, Rejected: rejected}
	switch best.rank {
	case 0:
		a.Why = fmt.Sprintf("%s is the medium for %s.", best.m.Name, want.Name)
	case 1:
		a.Why = fmt.Sprintf("%s is a spare and holds nothing.", best.m.Name)
	default:
		a.Why = fmt.Sprintf("Of the media that may be overwritten, %s was written longest ago.", best.m.Name)
	}
	return a, nil
}

// unfitToAsk is Unfit plus being at the practice, or at least within reach of a person.
func unfitToAsk(m Medium, g Guards, fetch bool) []Reason {
	if fetch && slices.Contains([]State{Offsite, Recalled, TransitBack}, m.State) {
		m.State = Scratch
		return Unfit(m, g)
	}
	rs := Unfit(m, g)
	if len(rs) == 0 && m.Site != "" && m.Site != g.site() {
		rs = append(rs, Reason{Code: CodeAway, Text: fmt.Sprintf("it is at %s", m.Site)})
	}
	return rs
}

// Action is what a host does with a medium that was plugged in.
type Action string

const (
	// Write: tonight's backup goes onto it.
	Write Action = "write"
	// Read: it is only read, for a test or a restore that was ordered.
	Read Action = "read"
	// Say: nothing is done with it; the sentence says what the person should do.
	Say Action = "say"
)

// Verdict is what to do with a medium that was plugged in.
type Verdict struct {
	Action   Action
	Medium   string // which it is; empty if it cannot be told
	Sentence string // for the person at the desk
	Reasons  []Reason
	Fetch    string // the medium to plug in instead, where there is one
}

// Inserted says what to do with a medium that somebody plugged in, when the slot is to be written next.
// The identity is what [Identify] made of it. It says Write only for a known medium on which nothing is
// missed: no hold, no promise that still runs, no only copy, rested, fit, and the right one for the slot or
// an acceptable substitute.
func Inserted(name string, found Finding, want Slot, register []Medium, g Guards) Verdict {
	v := Verdict{Action: Say, Medium: name}
	// Someone may have plugged it in before it was booked in.
	here := slices.Clone(register)
	var m *Medium
	for i := range here {
		if name != "" && here[i].Name == name {
			m = &here[i]
		}
	}
	if found != Known || m == nil {
		if found == Known { // a name that the register does not have
			found, v.Medium = Foreign, ""
		}
		v.Reasons = []Reason{{Code: CodeIdentity, Text: string(found)}}
		v.Sentence = join(stranger(name, found), "Nothing was written.", instead(want, here, g, name, &v), aside(found, g))
		return v
	}
	if slices.Contains(g.ReadOrders, name) && m.State != Destroyed {
		v.Action = Read
		v.Sentence = join(fmt.Sprintf("This is %s.", name), "It will be read now, as was asked.", "Nothing will be written to it.")
		return v
	}
	if slices.Contains([]State{Offsite, Recalled, TransitBack, TransitOut}, m.State) {
		m.State, m.Site = Written, g.site()
	}
	m.Site = g.site()
	v.Reasons = append(Overwritable(*m, g), Unfit(*m, g)...)
	if len(v.Reasons) == 0 {
		a, err := allocate(want, []Medium{*m}, g, false)
		if err == nil && m.Slot != want.Name {
			// A substitute will do only if the medium that belongs there cannot be had.
			if b, err := allocate(want, here, g, true); err == nil && b.Medium != name && !b.Substitute {
				v.Reasons = []Reason{{Code: CodeSlot, Text: fmt.Sprintf("%s is the one for %s", b.Medium, want.Name)}}
			}
		}
		var none *NoMediumError
		if errors.As(err, &none) {
			v.Reasons = none.Rejected[0].Reasons
		}
		if len(v.Reasons) == 0 {
			v.Action = Write
			v.Sentence = join(fmt.Sprintf("This is %s.", name), map[bool]string{
				false: "The next backup goes onto it.",
				true:  "It stands in for the one that is missing: the next backup goes onto it.",
			}[a.Substitute], "Please leave it plugged in.")
			return v
		}
	}
	v.Sentence = join(fmt.Sprintf("This is %s.", name), holding(*m, v.Reasons, g), "Nothing was written.", instead(want, here, g, name, &v))
	return v
}

func join(sentences ...string) string {
	return strings.Join(slices.DeleteFunc(sentences, func(s string) bool { return s == "" }), " ")
}

// holding is the most important reason as a sentence.
func holding(m Medium, rs []Reason, g Guards) string {
	order := []Code{CodeHold, CodePromise, CodeOnlyCopy, CodeState, CodeErrors, CodeWorn, CodeClock, CodeTooSoon, CodeTooFew}
	best := slices.MinFunc(rs, func(a, b Reason) int {
		rank := func(c Code) int {
			if i := slices.Index(order, c); i >= 0 {
				return i
			}
			return len(order)
		}
		if c := cmp.Compare(rank(a.Code), rank(b.Code)); c != 0 {
			return c
		}
		return -a.Until.Compare(b.Until) // the promise that runs longest
	})
	if best.Code == CodeClock {
		return "The date of the computer is not to be trusted, so it is not known whether it may be written yet. Please call " +
			g.contact() + "."
	}
	return strings.ToUpper(best.Text[:1]) + best.Text[1:] + "."
}

// stranger is what is said of a medium that is not known.
func stranger(name string, f Finding) string {
	switch f {
	case Wiped:
		return fmt.Sprintf("This should be %s, but its label is gone.", name)
	case Cloned:
		return fmt.Sprintf("This says that it is %s, but it is another drive.", name)
	case Swapped:
		return fmt.Sprintf("This says that it is %s, but the drive is another one of ours: their labels were swapped.", name)
	case Stale:
		return fmt.Sprintf("This has an old label of %s.", name)
	case Foreign:
		return "This drive belongs to somebody else's backup."
	case Forged:
		return "The label of this drive is not genuine."
	case Unlabelled:
		return "This drive is not one of ours: it has no label."
	}
	return "This drive could not be recognised."
}

// aside is what to do with a medium that raises a suspicion.
func aside(f Finding, g Guards) string {
	switch f {
	case Wiped, Cloned, Swapped, Stale, Forged:
		return fmt.Sprintf("Put this one aside and call %s.", g.contact())
	}
	return ""
}

// instead asks for the right medium.
func instead(want Slot, register []Medium, g Guards, not string, v *Verdict) string {
	others := slices.DeleteFunc(slices.Clone(register), func(m Medium) bool { return m.Name == not })
	a, err := allocate(want, others, g, true)
	if err != nil {
		return fmt.Sprintf("No other drive may be written now: please call %s.", g.contact())
	}
	v.Fetch = a.Medium
	return fmt.Sprintf("Please plug in %s.", a.Medium)
}
