package residency

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// rule is a rule as a file has it.
type rule struct {
	ID           string        `json:"id"`
	Amends       bool          `json:"amends,omitempty"`
	Kind         string        `json:"kind"`
	Strength     string        `json:"strength"`
	Title        string        `json:"title"`
	Places       []Place       `json:"places,omitempty"`
	ExceptPlaces []Place       `json:"exceptPlaces,omitempty"`
	Where        string        `json:"where,omitempty"`
	When         when          `json:"when,omitzero"`
	Needs        []condition   `json:"needs,omitempty"`
	AnyOf        [][]condition `json:"anyOf,omitempty"`
	Obliges      []duty        `json:"obliges,omitempty"`
	Values       values        `json:"values"`
	Ends         string        `json:"ends,omitempty"`
	Grandfather  *grandfather  `json:"grandfather,omitempty"`
	Confirmed    bool          `json:"confirmed"`
	Checked      Day           `json:"checked"`
	ReviewBy     Day           `json:"reviewBy,omitzero"`
	Sources      []string      `json:"sources"`
	Note         string        `json:"note,omitempty"`
	ReviewedBy   string        `json:"reviewedBy,omitempty"` // of a review, and in no file

	where located
}

// The kinds of rules. A permit allows a place in a regime that otherwise denies; a demand must be met and a
// forbid must not; an oblige adds obligations alone.
const (
	kindPermit = "permit"
	kindDemand = "demand"
	kindForbid = "forbid"
	kindOblige = "oblige"
)

// when narrows a rule to some requests.
type when struct {
	MinClass   Class     `json:"minClass,omitempty"`
	Purposes   []Purpose `json:"purposes,omitempty"`
	Tags       []Tag     `json:"tags,omitempty"`
	ExceptTags []Tag     `json:"exceptTags,omitempty"`
	Origins    []Place   `json:"origins,omitempty"`
	Hosted     bool      `json:"hosted,omitempty"`
}

// duty is what a rule obliges to.
type duty struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// grandfather keeps a value in force for those who have a paper from before a day.
type grandfather struct {
	Papers []string `json:"papers"`         // one of these, as in a condition: "scc/2010"
	Before Day      `json:"before"`         // that began before this day
	Until  Day      `json:"until,omitzero"` // up to this day, exclusively; zero: as long as the paper holds
}

// binds says whom a regime binds.
type binds struct {
	Origins  []Place `json:"origins,omitempty"`
	Tags     []Tag   `json:"tags,omitempty"`
	All      bool    `json:"all,omitempty"` // an origin and a tag, not one of them
	MinClass Class   `json:"minClass,omitempty"`
	Hosted   bool    `json:"hosted,omitempty"`
}

// fieldError is an error about one field.
type fieldError struct {
	field, text string
}

func (e *fieldError) Error() string { return e.field + ": " + e.text }

// validate refuses a rule that could not be applied or traced to its source.
func (r *rule) validate() *fieldError {
	bad := func(field, text string) *fieldError { return &fieldError{field, text} }
	if !strictjson.Slug(r.ID, "-.") || !strings.Contains(r.ID, ".") {
		return bad("id", "expected the regime, a full stop and a name, such as eu-gdpr.adequacy.gb")
	}
	if r.Amends {
		return r.validateAmendment()
	}
	return cmp.Or(r.validateWords(), r.validateKind(), r.validateLists(), validLook(r.Sources, r.Checked, r.ReviewBy), r.validateValues(), r.Grandfather.validate())
}

// validateWords refuses words that a rule does not have, and silence where it must speak.
func (r *rule) validateWords() *fieldError {
	bad := func(field, text string) *fieldError { return &fieldError{field, text} }
	switch {
	case r.Title == "":
		return bad("title", "expected what the rule says, in a line")
	case !slices.Contains([]string{kindPermit, kindDemand, kindForbid, kindOblige}, r.Kind):
		return bad("kind", "expected permit, demand, forbid or oblige")
	case !slices.Contains([]string{"law", "policy", "contract", "guidance"}, r.Strength):
		return bad("strength", "expected law, policy, contract or guidance")
	case !slices.Contains([]string{"", "rest", "access"}, r.Where):
		return bad("where", "expected rest or access, or no such field")
	case len(r.Values) == 0:
		return bad("values", "expected at least one, with from, known and ref")
	case !slices.Contains([]string{"", "sunset", "judicial", "repeal", "superseded"}, r.Ends):
		return bad("ends", "expected sunset, judicial, repeal or superseded")
	case !r.Confirmed && r.Note == "":
		return bad("confirmed", "expected a note that says what is missing from confirmation")
	case r.ReviewBy.IsZero() && !r.ended():
		return bad("reviewBy", "expected the day of the next review; only a rule that ended for good needs none")
	}
	return nil
}

// validateKind refuses what a rule of its kind cannot have.
func (r *rule) validateKind() *fieldError {
	bad := func(field, text string) *fieldError { return &fieldError{field, text} }
	needs := len(r.Needs) + len(r.AnyOf)
	switch {
	case len(r.When.ExceptTags) > 0 && r.Kind != kindPermit:
		return bad("exceptTags", "expected only in a permit: a tag must never lift a demand")
	case r.Kind == kindOblige && len(r.Obliges) == 0:
		return bad("obliges", "expected what the rule obliges to")
	case r.Kind == kindOblige && needs > 0:
		return bad("needs", "expected none in an oblige; write a demand")
	case r.Kind == kindForbid && len(r.Obliges) > 0:
		return bad("obliges", "expected none in a forbid: there is nothing to do for what is denied")
	case r.Kind == kindDemand && needs == 0:
		return bad("needs", "expected what the rule demands")
	}
	return nil
}

// ended reports whether the rule is over for good, and needs no review. A sunset can be put off.
func (r *rule) ended() bool {
	return r.Values.closed() && r.Ends != "" && r.Ends != "sunset"
}

// validateAmendment refuses an amendment that says more than when its rule holds and who says so.
func (r *rule) validateAmendment() *fieldError {
	said := *r
	said.ID, said.Amends, said.Values, said.Checked, said.ReviewBy, said.Sources, said.Note = "", false, nil, Day{}, Day{}, nil, ""
	said.Confirmed, said.where = false, located{}
	if text, _ := canonical(said); string(text) != emptyRule {
		return &fieldError{"amends", "expected only values, confirmed, sources, checked, reviewBy and note beside it; what the rule says is not edited: write another rule"}
	}
	return validLook(r.Sources, r.Checked, r.ReviewBy)
}

// emptyRule is the canonical text of a rule that says nothing.
const emptyRule = `{"id":"","kind":"","strength":"","title":"","values":null,"confirmed":false,"checked":"","sources":null}`

func (r *rule) validateValues() *fieldError {
	if err := r.Values.validate(); err != nil {
		return &fieldError{"values", strings.TrimPrefix(err.Error(), "values: ")}
	}
	return nil
}

func (r *rule) validateLists() *fieldError {
	if err := validPlaces(r.Places); err != nil {
		return &fieldError{"places", err.Error()}
	}
	if err := validPlaces(r.ExceptPlaces); err != nil {
		return &fieldError{"exceptPlaces", err.Error()}
	}
	if err := validPlaces(r.When.Origins); err != nil {
		return &fieldError{"origins", err.Error()}
	}
	for _, list := range r.AnyOf {
		if len(list) == 0 {
			return &fieldError{"anyOf", "expected lists of conditions, none of them empty"}
		}
	}
	for _, d := range r.Obliges {
		if !strictjson.Slug(d.Code, "-") || d.Text == "" {
			return &fieldError{"obliges", "expected a code such as record-risk-assessment, and a text"}
		}
	}
	for _, c := range r.conditions() {
		if c.kind == needPermitted && r.Kind == kindForbid {
			return &fieldError{"needs", "expected no permitted-by in a forbid; write a demand"}
		}
	}
	return nil
}

func (g *grandfather) validate() *fieldError {
	if g == nil {
		return nil
	}
	if len(g.Papers) == 0 || !g.Before.Valid() || !g.Until.IsZero() && (!g.Until.Valid() || g.Until.Before(g.Before)) {
		return &fieldError{"grandfather", "expected papers, before, and until where it ends, not before that"}
	}
	for _, p := range g.Papers {
		if _, _, ok := cutPaper(p); !ok {
			return &fieldError{"grandfather", "expected kinds of papers, each with a scope after a slash if it must cover that"}
		}
	}
	return nil
}

// conditions returns all conditions of the rule.
func (r *rule) conditions() []condition {
	return slices.Concat(r.Needs, slices.Concat(r.AnyOf...))
}

// validPlaces refuses what is neither a code of ISO 3166 nor the name of a set.
func validPlaces(places []Place) error {
	for i, p := range places {
		name, ok := p.set()
		if !p.Valid() && (!ok || !setName(name)) {
			return fmt.Errorf("%q is no code of ISO 3166 and no set such as @EU", strictjson.Clip(string(p)))
		}
		if slices.Contains(places[:i], p) {
			return errors.New(string(p) + " occurs twice")
		}
	}
	return nil
}
