package rotation

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// NotLegalAdvice is part of every text that this package renders about the retention of records.
const NotLegalAdvice = "Not legal advice: dated data with sources, for a named person to check against the law in force."

// Answer is what is known about a question: yes, no, or (the zero Answer) unknown. What is unknown never
// lets anything be deleted.
type Answer uint8

const (
	Unknown Answer = iota
	Yes
	No
)

// String returns "unknown", "yes" or "no".
func (a Answer) String() string { return nameOf(answerNames(), a) }

// MarshalText implements [encoding.TextMarshaler].
func (a Answer) MarshalText() ([]byte, error) { return marshalName("answer", answerNames(), a) }

// UnmarshalText implements [encoding.TextUnmarshaler]. Empty text is unknown.
func (a *Answer) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = Unknown
		return nil
	}
	return unmarshalName("answer", answerNames(), text, a)
}

func answerNames() []string { return []string{"unknown", "yes", "no"} }

// Fact is the day on which something last happened, or that it never did. The zero Fact is not known. Its
// text is a date, "never", or nothing.
type Fact struct {
	Day   Day
	Never bool
}

// String returns the fact's text.
func (f Fact) String() string {
	if f.Never {
		return "never"
	}
	return f.Day.String()
}

// MarshalText implements [encoding.TextMarshaler].
func (f Fact) MarshalText() ([]byte, error) {
	if f.Never && !f.Day.IsZero() {
		return nil, fmt.Errorf("fact: both %s and never", f.Day)
	}
	if f.Never {
		return []byte("never"), nil
	}
	return f.Day.MarshalText()
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (f *Fact) UnmarshalText(text []byte) error {
	if string(text) == "never" {
		*f = Fact{Never: true}
		return nil
	}
	var d Day
	if err := d.UnmarshalText(text); err != nil {
		return err
	}
	*f = Fact{Day: d}
	return nil
}

func (f Fact) known() bool { return f.Never || !f.Day.IsZero() }

// RecordClass is a kind of record that some rule treats apart, such as "mental-health": lower case letters,
// digits and hyphens. Which classes the rules in use know, [ObligationRules] tells.
type RecordClass string

// ClassDocumentation is what a practice must document about itself, such as its privacy policies. A rule
// about it says nothing about charts.
const ClassDocumentation RecordClass = "compliance-documentation"

// Interval is a run of days, both ends included.
type Interval struct {
	From Day `json:"from"`
	To   Day `json:"to"`
}

// Facts is what has to be known of a set of records to say how long it must be kept. It holds aggregates
// over all subjects, and nothing from which one of them could be told: whoever fills it in asks the clinical
// database for a maximum, never for a list. What is left out is not known.
//
// A set is kept as long as the record in it that is kept longest, and an aggregate gives a day that is never
// too early for any of them. Set Single where the facts are those of one subject; then conditions on age are
// decided, and not assumed.
type Facts struct {
	// Single says that every fact is about one and the same subject.
	Single bool `json:"single,omitempty"`
	// Classes says which classes of record the set holds.
	Classes map[RecordClass]Answer `json:"classes,omitempty"`
	// LastEntry is the newest entry, contact or service of any subject.
	LastEntry Fact `json:"lastEntry,omitzero"`
	// YoungestBirth is the latest date of birth of any subject; Never if the set has no subjects.
	YoungestBirth Fact `json:"youngestBirth,omitzero"`
	// InTreatment says whether any subject's treatment or care still goes on.
	InTreatment Answer `json:"inTreatment,omitzero"`
	// LastTreatmentEnd is the newest end of treatment, care or stay.
	LastTreatmentEnd Fact `json:"lastTreatmentEnd,omitzero"`
	// Living says whether any subject still lives.
	Living Answer `json:"living,omitzero"`
	// LastDeath is the newest death.
	LastDeath Fact `json:"lastDeath,omitzero"`
	// LastCreation is when the newest document was made.
	LastCreation Fact `json:"lastCreation,omitzero"`
	// Events are the newest days of the events that rules name, such as "transfusion".
	Events map[string]Fact `json:"events,omitempty"`
	// OpenClaims says whether a claim, complaint or lawsuit about any of the records is open. To answer it
	// also says that ClosedClaims is complete.
	OpenClaims Answer `json:"openClaims,omitzero"`
	// ClosedClaims are the times during which claims were open that are settled now.
	ClosedClaims []Interval `json:"closedClaims,omitempty"`
}

// Anchor is what a period counts from.
type Anchor string

// The anchors. Each counts from the fact of that name; AnchorTreatmentEnd has no end while a subject is in
// treatment, and AnchorDeath none while a subject lives.
const (
	AnchorLastEntry    Anchor = "last-entry"
	AnchorBirth        Anchor = "birth"
	AnchorDeath        Anchor = "death"
	AnchorTreatmentEnd Anchor = "treatment-end"
	AnchorCreation     Anchor = "creation"
	AnchorEvent        Anchor = "event"
)

// AgeCondition limits a period to subjects who were of an age on a day: From years or more, and less than
// Under. On aggregates it is taken as met, because somebody in the set may meet it.
type AgeCondition struct {
	From  int    `json:"from,omitempty"`
	Under int    `json:"under"`
	At    Anchor `json:"at"`
	Event string `json:"event,omitempty"`
}

// ObligationPeriod is one period of a rule. Of several the latest wins.
type ObligationPeriod struct {
	Anchor Anchor `json:"anchor"`
	// Event names the event when Anchor is AnchorEvent.
	Event  string        `json:"event,omitempty"`
	Length Span          `json:"length"`
	Age    *AgeCondition `json:"age,omitempty"`
	// IfDied makes a period from death an addition to others: the living are left to those.
	IfDied bool `json:"ifDied,omitempty"`
}

// ClaimEffect is what a claim does to a rule's periods.
type ClaimEffect string

const (
	// ClaimsIgnored is a rule that says nothing of claims.
	ClaimsIgnored ClaimEffect = ""
	// ClaimsBlock forbids destruction while a claim is open. Time runs on.
	ClaimsBlock ClaimEffect = "block"
	// ClaimsSuspend stops the time while a claim is open.
	ClaimsSuspend ClaimEffect = "suspend"
)

// Strength says how far a rule binds.
type Strength string

const (
	StrengthLaw      Strength = "law"
	StrengthPolicy   Strength = "policy"
	StrengthGuidance Strength = "guidance"
)

// Reference is where a rule comes from.
type Reference struct {
	// Citation names the provision, or the publication where there is none.
	Citation string `json:"citation"`
	// Date is the date of the text: of its last amendment, version or printing.
	Date Day `json:"date"`
	// Read is what was read in fact, which may be a summary by somebody else.
	Read string `json:"read"`
}

// Obligation is one rule of law, policy or guidance on how long records must be kept, as dated data. It
// speaks of the record, which lives in the clinical system or in an archive set. A recovery point is not a
// record, until it is the last copy.
type Obligation struct {
	// ID names the rule, and Regime the file that it came from. Versions of one rule share an ID and are
	// valid at different times.
	ID     string `json:"id"`
	Regime string `json:"-"`
	Title  string `json:"title"`
	// Jurisdiction is an ISO 3166-1 country ("DE") or an ISO 3166-2 subdivision ("AU-NSW").
	Jurisdiction string      `json:"jurisdiction"`
	Class        RecordClass `json:"class"`
	// Freeze is an order to keep a class of records until further notice; it has no periods.
	Freeze  bool               `json:"freeze,omitempty"`
	Periods []ObligationPeriod `json:"periods,omitempty"`
	Claims  ClaimEffect        `json:"claims,omitempty"`
	// Valid is when the rule is in force; a zero end is not known or open.
	Valid     Interval  `json:"valid,omitzero"`
	Strength  Strength  `json:"strength"`
	Reference Reference `json:"reference"`
	// Checked is when the data was last held against the reference, and ReviewBy when that is due again.
	Checked  Day `json:"checked"`
	ReviewBy Day `json:"reviewBy"`
	// Confirmed says that the length was read in the reference. A rule that is not confirmed has no effect
	// until it is enabled by name, and says so in its reasons.
	Confirmed bool   `json:"confirmed"`
	Note      string `json:"note,omitempty"`
}

// Term is how long records must be kept. The zero Term asks for nothing.
type Term struct {
	// Last is the last day on which they must be kept; the day after is the first without a duty. It is zero
	// where no period applies. With Forever or Missing it is only what the known periods come to.
	Last Day `json:"last,omitzero"`
	// Forever says that no end is known yet: a freeze, a patient who lives, an open claim.
	Forever bool `json:"forever,omitempty"`
	// Missing names the facts without which no end can be told, sorted. Keep while there are any.
	Missing []string `json:"missing,omitempty"`
	// Reasons explain it, one or more for each rule.
	Reasons []Reason `json:"reasons,omitempty"`
}

// Keep reports whether the records must be kept on the day, as far as is known. It is never false while a
// fact is missing.
func (t Term) Keep(on Day) bool {
	return t.Forever || len(t.Missing) > 0 || !t.Last.IsZero() && !on.After(t.Last)
}

// String renders the term for people, with [NotLegalAdvice].
func (t Term) String() string {
	var b strings.Builder
	switch {
	case t.Forever:
		b.WriteString("Keep: no end is known.")
	case len(t.Missing) > 0:
		b.WriteString("Keep: the end cannot be told.")
	case t.Last.IsZero():
		b.WriteString("No duty to keep was found.")
	default:
		fmt.Fprintf(&b, "Keep through %s.", t.Last)
	}
	b.WriteByte('\n')
	if len(t.Missing) > 0 {
		fmt.Fprintf(&b, "  missing: %s\n", strings.Join(t.Missing, ", "))
	}
	for _, r := range t.Reasons {
		fmt.Fprintf(&b, "  %s\n", r.Text)
	}
	b.WriteString(NotLegalAdvice)
	return b.String()
}

// MissingFactsError says which facts are not known. Until they are, the records are kept.
type MissingFactsError struct {
	Facts []string
}

// Error implements error.
func (e *MissingFactsError) Error() string {
	return "keep the records: not known: " + strings.Join(e.Facts, ", ")
}

// Until says how long the rule asks for records with such facts to be kept. It does not look at whether the
// rule is in force, confirmed or enabled; [Obligations] does.
//
// If a fact is missing the error is a [*MissingFactsError], and the Term, which lists the same facts, says
// what is known without it: it must not be read as permission.
func (o Obligation) Until(f Facts) (Term, error) {
	if err := f.validate(); err != nil {
		return Term{}, err
	}
	if err := o.validate(); err != nil {
		return Term{}, fmt.Errorf("obligation %q: %w", strictjson.Clip(o.ID), err)
	}
	u := ruling{rule: o, facts: f}
	u.eval()
	t := Term{Last: u.last, Forever: u.forever, Reasons: u.reasons, Missing: sorted(u.missing)}
	if len(t.Missing) > 0 {
		return t, &MissingFactsError{Facts: t.Missing}
	}
	return t, nil
}

// ruling is one evaluation of a rule.
type ruling struct {
	rule    Obligation
	facts   Facts
	last    Day
	forever bool
	missing []string
	reasons []Reason
}

func (u *ruling) eval() {
	class := u.facts.Classes[u.rule.Class]
	if class == No {
		u.say("class-absent", Day{}, "the set holds no record of class %s", u.rule.Class)
		return
	}
	if class == Unknown {
		u.miss("classes."+string(u.rule.Class), "whether the set holds records of this class")
	}
	if u.rule.Freeze {
		// Of a class that may be absent, no end can be told, which is as good a reason to keep.
		if class == Yes {
			u.open("freeze", "kept until further notice")
		}
		return
	}
	if u.rule.Claims != ClaimsIgnored {
		switch u.facts.OpenClaims {
		case Unknown:
			u.miss("openClaims", "whether a claim is open")
		case Yes:
			u.open("claim", "a claim is open: no end until it is settled")
		}
	}
	applied := false
	for _, p := range u.rule.Periods {
		applied = u.period(p) || applied
	}
	if !applied && len(u.missing) == 0 && !u.forever {
		u.say("nothing", Day{}, "nothing has happened that the rule counts from")
	}
}

// period reports whether p applied.
func (u *ruling) period(p ObligationPeriod) bool {
	if p.Anchor == AnchorDeath && !p.IfDied || p.Anchor == AnchorTreatmentEnd {
		name, ask, still := "living", u.facts.Living, "a subject lives"
		if p.Anchor == AnchorTreatmentEnd {
			name, ask, still = "inTreatment", u.facts.InTreatment, "treatment goes on"
		}
		switch ask {
		case Unknown:
			u.miss(name, "whether "+still)
		case Yes:
			u.open(name, "%s after %s, and %s: no end yet", p.Length, p.from(), still)
		}
	}
	at, name := u.facts.anchor(p.Anchor, p.Event)
	if !at.known() {
		u.miss(name, "the day that "+p.Length.String()+" count from")
		return false
	}
	if at.Never || !u.ofAge(p.Age) {
		return false
	}
	end := p.Length.From(at.Day)
	text := fmt.Sprintf("%s after %s %s", p.Length, p.from(), at.Day)
	if u.rule.Claims == ClaimsSuspend && len(u.facts.ClosedClaims) > 0 {
		if e := u.facts.suspended(at.Day, p.Length); e.After(end) {
			text += fmt.Sprintf(", prolonged by claims from %s", end)
			end = e
		}
	}
	if !end.Valid() {
		u.open("period", "%s: later than the calendar reaches", text)
		return true
	}
	u.say("period", end.AddDays(1), "%s: keep through %s", text, end)
	if end.After(u.last) {
		u.last = end
	}
	return true
}

// ofAge reports whether a period with the condition may apply. Without the facts it may.
func (u *ruling) ofAge(c *AgeCondition) bool {
	if c == nil || !u.facts.Single {
		return true
	}
	if c.At == AnchorTreatmentEnd && u.facts.InTreatment != No {
		if u.facts.InTreatment == Unknown {
			u.miss("inTreatment", "whether treatment goes on")
		}
		return true // the age at its end is still to come
	}
	at, name := u.facts.anchor(c.At, c.Event)
	birth := u.facts.YoungestBirth
	if !at.known() || !birth.known() {
		if !at.known() {
			u.miss(name, "the day on which an age counts")
		}
		return true
	}
	if at.Never || birth.Never {
		return false
	}
	return !at.Day.Before(birth.Day.AddYears(c.From)) && at.Day.Before(birth.Day.AddYears(c.Under))
}

func (u *ruling) open(code, format string, args ...any) {
	u.forever = true
	u.say(code, Day{}, format, args...)
}

func (u *ruling) miss(fact, what string) {
	if !slices.Contains(u.missing, fact) {
		u.missing = append(u.missing, fact)
		u.say("missing", Day{}, "not known: %s (%s)", what, fact)
	}
}

func (u *ruling) say(code string, end Day, format string, args ...any) {
	o := u.rule
	text := fmt.Sprintf("%s: %s [%s, %s, %s, text of %s]", o.ID, fmt.Sprintf(format, args...),
		o.Jurisdiction, o.Strength, o.Reference.Citation, o.Reference.Date)
	if !o.Confirmed {
		text += "; UNCONFIRMED: " + o.Reference.Read
	}
	u.reasons = append(u.reasons, Reason{Code: code, Text: text, Rule: o.ID, Until: end})
}

func (p ObligationPeriod) from() string {
	if p.Anchor == AnchorEvent {
		return p.Event
	}
	return strings.ReplaceAll(string(p.Anchor), "-", " ")
}

// anchor returns the fact that an anchor counts from, and its name.
func (f Facts) anchor(a Anchor, event string) (Fact, string) {
	switch a {
	case AnchorLastEntry:
		return f.LastEntry, "lastEntry"
	case AnchorBirth:
		return f.YoungestBirth, "youngestBirth"
	case AnchorDeath:
		return f.LastDeath, "lastDeath"
	case AnchorTreatmentEnd:
		return f.LastTreatmentEnd, "lastTreatmentEnd"
	case AnchorCreation:
		return f.LastCreation, "lastCreation"
	}
	return f.Events[event], "events." + event
}

// suspended returns the last day of a period that stood still while claims were open.
//
// For one subject every day of a claim after the anchor counts. An aggregate stands for subjects with any
// earlier anchor. For those, what remained when the last claim was settled is no more than the whole length,
// and what was added is no more than all the days of claims: each gives a day that is late enough for all. The
// first needs a margin, since the same number of years and months is a few days longer from another day.
func (f Facts) suspended(anchor Day, length Span) Day {
	end := length.From(anchor)
	all, settled, days := end, anchor, 0
	for _, c := range merged(f.ClosedClaims) {
		days = c.To.Sub(c.From) + 1
		all = all.AddDays(days)
		if after := c.To.AddDays(1); after.After(settled) {
			settled = after
		}
		if c.To.Before(anchor) || c.From.After(end) {
			continue
		}
		end = end.AddDays(c.To.Sub(laterDay(c.From, anchor)) + 1)
	}
	if f.Single {
		return end
	}
	if whole := length.From(settled).AddDays(5); whole.Before(all) {
		return whole
	}
	return all
}

// merged returns the intervals sorted, with overlaps joined.
func merged(in []Interval) (out []Interval) {
	in = slices.Clone(in)
	slices.SortFunc(in, func(a, b Interval) int { return a.From.Compare(b.From) })
	for _, c := range in {
		if n := len(out) - 1; n >= 0 && !c.From.After(out[n].To) {
			out[n].To = laterDay(out[n].To, c.To)
			continue
		}
		out = append(out, c)
	}
	return out
}

func laterDay(a, b Day) Day {
	if a.After(b) {
		return a
	}
	return b
}

func sorted(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

func (f Facts) validate() error {
	facts := map[string]Fact{"lastEntry": f.LastEntry, "youngestBirth": f.YoungestBirth,
		"lastTreatmentEnd": f.LastTreatmentEnd, "lastDeath": f.LastDeath, "lastCreation": f.LastCreation}
	for name, e := range f.Events {
		facts["events."+name] = e
	}
	for name, v := range facts {
		if _, err := v.MarshalText(); err != nil {
			return fmt.Errorf("facts: %s: %w", name, err)
		}
	}
	if f.Living == No && f.LastDeath.Never && !f.YoungestBirth.Never {
		return fmt.Errorf("facts: nobody lives and nobody died; answer living and lastDeath alike")
	}
	for i, c := range f.ClosedClaims {
		if c.From.IsZero() || c.To.Before(c.From) || !c.From.Valid() || !c.To.Valid() {
			return fmt.Errorf("facts: closedClaims[%d]: expected a first day and a last one that is not earlier", i)
		}
	}
	return nil
}

// ObligationOptions are for [Obligations]; nil and zero are the rules that ship, those that are confirmed.
type ObligationOptions struct {
	// Rules are used in place of those that ship. See [DecodeObligations] and [ObligationRules].
	Rules []Obligation
	// Enabled names unconfirmed rules to apply all the same, by somebody who has read their text.
	Enabled []string
}

// Obligations says how long records must be kept at all of the places: the latest of every rule that is in
// force there on asOf, confirmed or enabled. Places are ISO 3166-1 countries or ISO 3166-2 subdivisions; the
// rules of a country count in its subdivisions too.
//
// Facts that no answer was given for are in Term.Missing, and so are places for which too little is known:
// "rules.NZ" where no rule about charts applies, "subdivision.US" where rules differ inside the country. A
// Term with missing facts keeps; it is not an error. An error is a place, a rule's name or a fact that makes
// no sense, or rules whose times overlap.
//
// Reasons also name the rules that were left out for want of confirmation, and those whose review is overdue.
func Obligations(places []string, f Facts, asOf Day, o *ObligationOptions) (Term, error) {
	if o == nil {
		o = &ObligationOptions{}
	}
	if err := f.validate(); err != nil {
		return Term{}, err
	}
	if len(places) == 0 {
		return Term{}, errors.New("obligations: no place given; name the country, or its part such as AU-NSW")
	}
	if !asOf.Valid() {
		return Term{}, errors.New("obligations: no day given to judge on")
	}
	rules := o.Rules
	if rules == nil {
		var err error
		if rules, err = ObligationRules(); err != nil {
			return Term{}, err
		}
	}
	if err := checkRules(rules); err != nil {
		return Term{}, err
	}
	for _, id := range o.Enabled {
		if !slices.ContainsFunc(rules, func(r Obligation) bool { return r.ID == id }) {
			return Term{}, fmt.Errorf("obligations: cannot enable %q: there is no rule of that name", strictjson.Clip(id))
		}
	}

	var t Term
	seen := map[string]bool{}
	for _, p := range places {
		if !jurisdiction(p) {
			return Term{}, fmt.Errorf("obligations: place %q: expected ISO 3166 such as DE or AU-NSW", strictjson.Clip(p))
		}
		charts, parts := false, false
		for _, r := range rules {
			if !r.inForce(asOf) {
				continue
			}
			if !r.bindsIn(p) {
				parts = parts || strings.HasPrefix(r.Jurisdiction, p+"-")
				continue
			}
			on := r.Confirmed || slices.Contains(o.Enabled, r.ID)
			charts = charts || on && r.Class != ClassDocumentation && !r.Freeze
			if seen[r.ID] {
				continue
			}
			seen[r.ID] = true
			if !on {
				t.Reasons = append(t.Reasons, Reason{Code: "not-enabled", Rule: r.ID, Text: fmt.Sprintf(
					"%s: no effect, since it is unconfirmed and not enabled by name [%s, %s, %s]",
					r.ID, r.Jurisdiction, r.Strength, r.Reference.Citation)})
				continue
			}
			if err := t.add(r, f, asOf); err != nil {
				return Term{}, err
			}
		}
		if !charts {
			t.miss("rules."+p, "no rule on charts is known and enabled for "+p)
		}
		if parts {
			t.miss("subdivision."+p, "rules differ inside "+p+": name the part")
		}
	}
	t.Missing = sorted(t.Missing)
	return t, nil
}

// add makes t the later of itself and what r asks for.
func (t *Term) add(r Obligation, f Facts, asOf Day) error {
	v, err := r.Until(f)
	if missing := (*MissingFactsError)(nil); err != nil && !errors.As(err, &missing) {
		return err
	}
	t.Last = laterDay(t.Last, v.Last)
	t.Forever = t.Forever || v.Forever
	t.Missing = append(t.Missing, v.Missing...)
	t.Reasons = append(t.Reasons, v.Reasons...)
	if asOf.After(r.ReviewBy) {
		t.Reasons = append(t.Reasons, Reason{Code: "review-overdue", Rule: r.ID, Text: fmt.Sprintf(
			"%s: review overdue since %s: hold it against the law in force", r.ID, r.ReviewBy)})
	}
	return nil
}

func (t *Term) miss(fact, text string) {
	if !slices.Contains(t.Missing, fact) {
		t.Missing = append(t.Missing, fact)
		t.Reasons = append(t.Reasons, Reason{Code: "missing", Text: fmt.Sprintf("%s (%s)", text, fact)})
	}
}

// inForce reports whether the rule is valid on the day.
func (o Obligation) inForce(on Day) bool {
	return !on.Before(o.Valid.From) && (o.Valid.To.IsZero() || !on.After(o.Valid.To))
}

// bindsIn reports whether the rule is one of the place or of the country that the place lies in.
func (o Obligation) bindsIn(place string) bool {
	country, _, _ := strings.Cut(place, "-")
	return o.Jurisdiction == place || o.Jurisdiction == country
}
