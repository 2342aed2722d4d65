package residency

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // the zones of the world, for machines that have none

	"github.com/carekeep/carekeep/internal/strictjson"
)

// RuleFile is a file of rules in the form that the package comment describes, such as a vendor's own.
type RuleFile struct {
	Name string // used in errors alone
	Data []byte
}

// RuleError says where a file of rules is wrong, and why.
type RuleError struct {
	File string // as in [RuleFile]
	Line int    // from 1
	Rule string // the id of the rule, or "@" and that of the set, where one was read
	Err  error
}

// Error implements error.
func (e *RuleError) Error() string {
	if e.Rule != "" {
		return fmt.Sprintf("%s:%d: %s: %v", e.File, e.Line, e.Rule, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap returns the reason.
func (e *RuleError) Unwrap() error { return e.Err }

// regime is a body of rules that binds somebody, as a file has it.
type regime struct {
	ID      string            `json:"regime,omitempty"`
	Extends string            `json:"extends,omitempty"`
	Title   string            `json:"title,omitempty"`
	Zone    string            `json:"zone,omitempty"`
	Binds   binds             `json:"binds,omitzero"`
	Default string            `json:"default,omitempty"`
	Access  bool              `json:"access,omitempty"`
	Papers  map[string]string `json:"papers,omitempty"`
	Tags    map[Tag]string    `json:"tags,omitempty"`
	InForce values            `json:"inForce,omitempty"`
	// MaybeEarlier says that nobody knows since when the regime binds: it surely does from InForce on.
	MaybeEarlier bool    `json:"maybeEarlier,omitempty"`
	Rules        []*rule `json:"rules,omitempty"`
	Note         string  `json:"note,omitempty"`

	sets    []*set
	reviews []*review
	zone    *time.Location
	where   located
}

// located is where something stands in a file.
type located struct {
	file *RuleFile
	from int // its first byte
	raw  []byte
}

// fail returns an error at a field, or at the beginning where the field is not there.
func (l located) fail(id, field string, err error) error {
	return l.at(id, fieldOffset(l.raw, field), err)
}

// fieldOffset returns where the name of a field stands in an object: of its own fields, or else of those within, or 0.
func fieldOffset(object []byte, field string) int {
	dec := json.NewDecoder(bytes.NewReader(object))
	depth, name := 0, true
	for {
		tok, err := dec.Token()
		if err != nil {
			return max(0, bytes.Index(object, []byte(`"`+field+`"`)))
		}
		switch v := tok.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth++
			} else {
				depth--
			}
			name = depth == 1
			continue
		case string:
			if depth == 1 && name && v == field {
				return int(dec.InputOffset()) - len(field) - len(`""`)
			}
		}
		name = depth == 1 && !name
	}
}

func (l located) at(id string, offset int, err error) error {
	return &RuleError{File: l.file.Name, Line: strictjson.Line(l.file.Data, l.from+offset), Rule: strictjson.Clip(id), Err: err}
}

// fields are the names that a file of rules may use, exactly so, beside the kinds of its papers and its tags.
const fields = " regime extends title zone binds default access papers tags inForce maybeEarlier note sets rules id members place " +
	"amends kind strength places exceptPlaces where when needs anyOf obliges code text values from until known ref boundary ends " +
	"grandfather before reviews by confirmed checked reviewBy sources origins all minClass hosted purposes exceptTags "

// emptyDate returns where a date is given as nothing, or -1. To take it for an open end would be the laxer reading.
func emptyDate(data []byte) int {
	at := regexp.MustCompile(`"(?:from|until|known|checked|reviewBy|before)"\s*:\s*""`).FindIndex(data)
	if at == nil {
		return -1
	}
	return at[0]
}

// decode reads one file strictly, as far as it can be judged alone.
func decode(file RuleFile) (*regime, error) {
	top := located{file: &file, raw: file.Data}
	var whatever any
	if offset, err := strictjson.Decode(file.Data, &whatever); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			offset, err = len(file.Data), errors.New("the file ends too early")
		}
		return nil, top.at("", offset, err)
	}
	if offset, err := strictjson.Fields(file.Data, names(file.Data)); err != nil {
		return nil, top.at("", offset, err)
	}
	if at := emptyDate(file.Data); at >= 0 {
		return nil, top.at("", at, errors.New("a date is empty: leave the field out where there is none"))
	}
	var doc struct {
		regime
		Sets    []json.RawMessage `json:"sets"`
		Reviews []json.RawMessage `json:"reviews"`
		Rules   []json.RawMessage `json:"rules"`
	}
	if offset, err := strictjson.Decode(file.Data, &doc); err != nil {
		return nil, top.at("", offset, err)
	}
	g := &doc.regime
	g.where = top
	if err := g.validate(len(doc.Sets), len(doc.Reviews), len(doc.Rules)); err != nil {
		return nil, top.fail("", err.field, err)
	}
	next := 0 // where to look for the next item's bytes; raw messages are the file's own bytes
	for _, raw := range doc.Sets {
		s := &set{where: located{file: &file, raw: raw}}
		s.where.from, next = find(file.Data, raw, next)
		if offset, err := strictjson.Decode(raw, s); err != nil {
			return nil, s.where.at("@"+s.ID, offset, err)
		}
		if err := s.validate(); err != nil {
			return nil, s.where.fail("@"+s.ID, err.field, err)
		}
		g.sets = append(g.sets, s)
	}
	next = 0
	for _, raw := range doc.Reviews {
		v := &review{where: located{file: &file, raw: raw}}
		v.where.from, next = find(file.Data, raw, next)
		if offset, err := strictjson.Decode(raw, v); err != nil {
			return nil, v.where.at("", offset, err)
		}
		if err := v.validate(); err != nil {
			return nil, v.where.fail("", err.field, err)
		}
		g.reviews = append(g.reviews, v)
	}
	next = 0
	for _, raw := range doc.Rules {
		r := &rule{where: located{file: &file, raw: raw}}
		r.where.from, next = find(file.Data, raw, next)
		if offset, err := strictjson.Decode(raw, r); err != nil {
			return nil, r.where.at(r.ID, offset, err)
		}
		if err := r.validate(); err != nil {
			return nil, r.where.fail(r.ID, err.field, err)
		}
		if prefix := g.ID + g.Extends + "."; !strings.HasPrefix(r.ID, prefix) {
			return nil, r.where.fail(r.ID, "id", errors.New("id: expected one that begins with "+prefix))
		}
		g.Rules = append(g.Rules, r)
	}
	return g, nil
}

// find returns where an item begins, looking from a place on, and where it ends.
func find(data, item []byte, from int) (start, end int) {
	start = from + max(0, bytes.Index(data[from:], item))
	return start, start + len(item)
}

// names returns the names of fields that a file may use: the fixed ones, and those of its papers and tags, which it
// makes up itself.
func names(data []byte) string {
	var own struct {
		Papers map[string]any `json:"papers"`
		Tags   map[string]any `json:"tags"`
	}
	// What cannot be read here is refused when it is read strictly.
	_ = json.Unmarshal(data, &own)
	var b strings.Builder
	b.WriteString(fields)
	for _, m := range []map[string]any{own.Papers, own.Tags} {
		for name := range m {
			// A kind of paper called "reviewby" would let that field be written in other case.
			if strictjson.Slug(name, "-.:") && !strings.Contains(strings.ToLower(fields), " "+name+" ") {
				b.WriteString(name + " ")
			}
		}
	}
	return b.String()
}

// validate refuses what stands at the top of a file and makes no sense.
func (g *regime) validate(sets, reviews, rules int) *fieldError {
	bad := func(field, text string) *fieldError { return &fieldError{field, text} }
	if err := g.validateNames(); err != nil {
		return err
	}
	switch {
	case g.ID != "" && g.Extends != "":
		return bad("extends", "expected regime or extends, and not both")
	case g.ID == "" && !g.silent():
		return bad("regime", "expected a regime such as au-nsw; a file that extends one, or has only sets or reviews, says nothing about whom it binds")
	case g.ID == "" && g.Extends == "":
		if rules > 0 || sets+reviews == 0 {
			return bad("regime", "expected a regime such as au-nsw with rules, or reviews, or sets alone")
		}
		return nil
	case reviews > 0:
		return bad("reviews", "expected in a file of their own, with no regime and no rules")
	case rules == 0:
		return bad("rules", "expected rules")
	case g.Extends != "":
		return nil
	}
	return g.validateRegime()
}

// silent reports whether the file says nothing about whom it binds, and when.
func (g *regime) silent() bool {
	return g.Title == "" && g.Zone == "" && g.Default == "" && !g.Access && len(g.InForce) == 0 && !g.MaybeEarlier && !g.bindsSomeone()
}

// validateNames refuses kinds of papers and tags that have no proper name, or no meaning.
func (g *regime) validateNames() *fieldError {
	bad := func(field, text string) *fieldError { return &fieldError{field, text} }
	for kind, meaning := range g.Papers {
		if !strictjson.Slug(kind, "-") || meaning == "" {
			return bad("papers", "expected kinds such as dpf-listing, each with its meaning")
		}
	}
	for tag, meaning := range g.Tags {
		if !strictjson.Slug(string(tag), "-:") || meaning == "" {
			return bad("tags", "expected tags such as nhs-england, each with its meaning")
		}
	}
	return nil
}

func (g *regime) validateRegime() *fieldError {
	bad := func(field, text string) *fieldError { return &fieldError{field, text} }
	var err error
	g.zone, err = zoneOf(g.Zone)
	switch {
	case !strictjson.Slug(g.ID, "-") || g.ID == builtIn:
		return bad("regime", "expected a name of lower case letters, digits and hyphens such as au-nsw")
	case g.Title == "":
		return bad("title", "expected what the regime is, in a line")
	case err != nil:
		return bad("zone", err.Error())
	case g.Default != "allow" && g.Default != "deny":
		return bad("default", "expected allow, or deny where each place needs a permit")
	case len(g.InForce) == 0:
		return bad("inForce", "expected since when the regime binds: on the days before it says nothing")
	case !g.bindsSomeone():
		return bad("binds", "expected the origins or the tags that the regime binds")
	case g.Binds.All && (len(g.Binds.Origins) == 0 || len(g.Binds.Tags) == 0):
		return bad("all", "expected origins and tags beside all")
	}
	if err := validPlaces(g.Binds.Origins); err != nil {
		return bad("origins", err.Error())
	}
	if err := g.InForce.validate(); err != nil {
		return bad("inForce", strings.TrimPrefix(err.Error(), "values: "))
	}
	return nil
}

func (g *regime) bindsSomeone() bool {
	return len(g.Binds.Origins)+len(g.Binds.Tags) > 0
}

// zoneOf returns a time zone of the IANA database by its name.
func zoneOf(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, errors.New("expected a zone of the IANA database such as Europe/Brussels")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is no zone of the IANA database", strictjson.Clip(name))
	}
	return zone, nil
}
