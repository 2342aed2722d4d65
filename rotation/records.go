package rotation

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// records holds the rules on keeping health records, one file for each regime.
//
//go:embed records/*.json
var records embed.FS

// ObligationRules returns the rules that ship with the package, sorted by file and then as written. They are
// decoded at each call, so the caller may change what it gets.
func ObligationRules() ([]Obligation, error) {
	files, err := records.ReadDir("records")
	if err != nil {
		return nil, err
	}
	var all []Obligation
	for _, f := range files {
		b, err := records.ReadFile("records/" + f.Name())
		if err != nil {
			return nil, err
		}
		rules, err := DecodeObligations(f.Name(), b)
		if err != nil {
			return nil, err
		}
		all = append(all, rules...)
	}
	return all, checkRules(all)
}

// RuleError says where a file of rules is wrong, and why.
type RuleError struct {
	File string // as given to DecodeObligations
	Line int    // from 1
	Rule string // the rule's id, where one was read
	Err  error
}

// Error implements error.
func (e *RuleError) Error() string {
	if e.Rule != "" {
		return fmt.Sprintf("%s:%d: rule %s: %v", e.File, e.Line, e.Rule, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap returns the reason.
func (e *RuleError) Unwrap() error { return e.Err }

// DecodeObligations reads a file of rules, such as a vendor's own; the files in the folder records are
// examples. It is strict: a field that is not known, that occurs twice or that is written in other case, a
// date that the calendar does not have, a rule without a source and rules of one id whose times overlap are
// errors of type [*RuleError]. The file's name is used in errors alone.
func DecodeObligations(file string, data []byte) ([]Obligation, error) {
	fail := func(offset int, id string, err error) error {
		return &RuleError{File: file, Line: strictjson.Line(data, offset), Rule: id, Err: err}
	}
	if offset, err := strictjson.Fields(data, fields); err != nil {
		return nil, fail(offset, "", err)
	}
	var doc struct {
		Regime string            `json:"regime"`
		Title  string            `json:"title"`
		Rules  []json.RawMessage `json:"rules"`
	}
	if offset, err := strictjson.Decode(data, &doc); err != nil {
		return nil, fail(offset, "", err)
	}
	if !strictjson.Slug(doc.Regime, "-") || doc.Title == "" || len(doc.Rules) == 0 {
		return nil, fail(0, "", errors.New("expected a regime such as au-nsw, a title and rules"))
	}
	var rules []Obligation
	next := 0 // where to look for the next rule's bytes; raw messages are the file's own bytes, in order
	for _, raw := range doc.Rules {
		start := next + max(0, bytes.Index(data[next:], raw))
		next = start + len(raw)
		o := Obligation{Regime: doc.Regime}
		if offset, err := strictjson.Decode(raw, &o); err != nil {
			return nil, fail(start+offset, o.ID, err)
		}
		if err := o.validate(); err != nil {
			return nil, fail(start+max(0, bytes.Index(raw, []byte(`"`+err.field+`"`))), o.ID, err)
		}
		rules = append(rules, o)
		if err := checkRules(rules); err != nil {
			return nil, fail(start, o.ID, err)
		}
	}
	return rules, nil
}

// fields are the names that a file of rules may use, exactly so.
const fields = " regime title rules id jurisdiction class freeze periods anchor event length age from under at ifDied " +
	"claims valid to strength reference citation date read checked reviewBy confirmed note "

// fieldError is an error about one field of a rule.
type fieldError struct {
	field, text string
}

func (e *fieldError) Error() string { return e.field + ": " + e.text }

// jurisdiction reports whether s has the form of an ISO 3166-1 or 3166-2 code.
func jurisdiction(s string) bool {
	country, part, cut := strings.Cut(s, "-")
	upper := func(s string, digits bool) bool {
		for _, c := range []byte(s) {
			if !(c >= 'A' && c <= 'Z' || digits && c >= '0' && c <= '9') {
				return false
			}
		}
		return s != ""
	}
	return len(country) == 2 && upper(country, false) && (!cut || len(part) <= 3 && upper(part, true))
}

// validate refuses a rule that could not be applied or traced to its source.
func (o Obligation) validate() *fieldError {
	bad := func(field, text string) *fieldError { return &fieldError{field, text} }
	dates := o.Reference.Date.Valid() && o.Checked.Valid() && o.ReviewBy.Valid()
	switch {
	case !strictjson.Slug(o.ID, "-.") || !strings.Contains(o.ID, "."):
		return bad("id", "expected the regime, a full stop and a name, such as de.bgb-630f")
	case o.Title == "":
		return bad("title", "expected what the rule asks for, in a line")
	case !jurisdiction(o.Jurisdiction):
		return bad("jurisdiction", "expected ISO 3166 such as DE or AU-NSW")
	case !strictjson.Slug(string(o.Class), "-"):
		return bad("class", "expected a kind of record such as mental-health")
	case !slices.Contains([]Strength{StrengthLaw, StrengthPolicy, StrengthGuidance}, o.Strength):
		return bad("strength", "expected law, policy or guidance")
	case !slices.Contains([]ClaimEffect{ClaimsIgnored, ClaimsBlock, ClaimsSuspend}, o.Claims):
		return bad("claims", "expected block or suspend, or no such field")
	case o.Reference.Citation == "" || o.Reference.Read == "":
		return bad("reference", "expected a source: what to cite, and what was read")
	case !dates:
		return bad("reference", "expected the date of the text, the day it was checked and the day of the next review")
	case o.ReviewBy.Before(o.Checked):
		return bad("reviewBy", "expected a day that is not before the one on which it was checked")
	case o.Reference.Date.After(o.Checked):
		return bad("date", "expected a text that is not younger than the day on which it was checked")
	case !o.Valid.From.IsZero() && !o.Valid.From.Valid() || !o.Valid.To.IsZero() && !o.Valid.To.Valid() ||
		!o.Valid.To.IsZero() && o.Valid.To.Before(o.Valid.From):
		return bad("valid", "expected a first day and a last one that is not earlier")
	case !o.Confirmed && o.Note == "":
		return bad("confirmed", "expected a note that says what is missing from confirmation")
	case o.Freeze == (len(o.Periods) > 0):
		return bad("periods", "expected periods, or a freeze, and not both")
	}
	for _, p := range o.Periods {
		if err := p.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (p ObligationPeriod) validate() *fieldError {
	bad := func(field, text string) *fieldError { return &fieldError{field, text} }
	switch {
	case !p.Anchor.valid(p.Event):
		return bad("anchor", "expected last-entry, birth, death, treatment-end or creation, or event with the event's name")
	case p.Length.IsZero() || !p.Length.valid() || p.Length.Years > 200:
		return bad("length", "expected a span such as 7y, of at most 200 years")
	case p.IfDied && p.Anchor != AnchorDeath:
		return bad("ifDied", "expected only in a period from death")
	}
	if c := p.Age; c != nil {
		if !c.At.valid(c.Event) || c.At == AnchorBirth || c.From < 0 || c.Under <= c.From || c.Under > 150 {
			return bad("age", "expected from and under in years, and at which anchor the age counts")
		}
	}
	return nil
}

func (a Anchor) valid(event string) bool {
	switch a {
	case AnchorLastEntry, AnchorBirth, AnchorDeath, AnchorTreatmentEnd, AnchorCreation:
		return event == ""
	case AnchorEvent:
		return strictjson.Slug(event, "-")
	}
	return false
}

// checkRules refuses two versions of one rule that are in force on the same day.
func checkRules(rules []Obligation) error {
	for i, a := range rules {
		for _, b := range rules[:i] {
			if a.ID == b.ID && !ends(a.Valid, b.Valid) && !ends(b.Valid, a.Valid) {
				return fmt.Errorf("two versions of %s are in force at once; give the older one a last day", a.ID)
			}
		}
	}
	return nil
}

// ends reports whether a is over before b begins.
func ends(a, b Interval) bool {
	return !a.To.IsZero() && a.To.Before(b.From)
}
