package residency

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// shipped holds the rules that ship with the package, one file for each regime, and the sets of places.
//
//go:embed rules/*.json
var shipped embed.FS

// Ruleset is a body of dated rules. It is immutable and safe for concurrent use; the methods that change something
// return another.
type Ruleset struct {
	decoded   []*regime // the files, as given; never changed
	regimes   []*regime // sorted by id
	sets      map[string][]span
	papers    map[string]string
	tags      map[Tag]string
	enabled   map[string]bool // unconfirmed rules that somebody answers for
	off       map[string]bool // guidance that is switched off
	ends      map[string]Day  // of rules
	paperEnds map[string]Day  // of kinds of papers
	digest    string
}

// Rules returns the rules that ship with the package. It decodes them at each call, which takes tens of milliseconds: keep
// the result.
func Rules() (*Ruleset, error) {
	entries, err := shipped.ReadDir("rules")
	if err != nil {
		return nil, err
	}
	var files []RuleFile
	for _, e := range entries {
		data, err := shipped.ReadFile("rules/" + e.Name())
		if err != nil {
			return nil, err
		}
		files = append(files, RuleFile{Name: e.Name(), Data: data})
	}
	return NewRuleset(files...)
}

// NewRuleset returns a ruleset of these files alone. It is strict: a field that is not known, that occurs twice or that is
// written in other case, a value without a source, values that overlap, a date that the calendar does not have, and a
// set, a place, a tag, a kind of paper or a rule that is named and not there, are errors of type [*RuleError].
func NewRuleset(files ...RuleFile) (*Ruleset, error) {
	return (&Ruleset{}).With(files...)
}

// With returns the ruleset with more files: regimes of their own, files that extend regimes which are there, or
// reviews of their rules. See [NewRuleset] for its errors.
func (r *Ruleset) With(files ...RuleFile) (*Ruleset, error) {
	n := r.clone()
	for _, f := range files {
		f.Data = slices.Clone(f.Data)
		g, err := decode(f)
		if err != nil {
			return nil, err
		}
		n.decoded = append(n.decoded, g)
	}
	return n.built()
}

func (r *Ruleset) clone() *Ruleset {
	return &Ruleset{decoded: slices.Clone(r.decoded), enabled: maps.Clone(r.enabled), off: maps.Clone(r.off),
		ends: maps.Clone(r.ends), paperEnds: maps.Clone(r.paperEnds)}
}

// Enable returns the ruleset with rules that are not confirmed, for somebody who has read their text and answers for
// it. An id that no rule has is an error.
func (r *Ruleset) Enable(ids ...string) (*Ruleset, error) {
	n := r.clone()
	for _, id := range ids {
		if r.rule(id) == nil {
			return nil, fmt.Errorf("residency: cannot enable %q: there is no rule of that name", strictjson.Clip(id))
		}
		n.enabled = put(n.enabled, id, true)
	}
	return n.built()
}

// WithoutGuidance returns the ruleset without rules of guidance, or without a regime that is all guidance, or without
// the built-in policies "evidence.level" and "evidence.age". Law, policy and contract cannot be switched off; an id
// that nothing has is an error too.
func (r *Ruleset) WithoutGuidance(ids ...string) (*Ruleset, error) {
	n := r.clone()
	for _, id := range ids {
		if err := r.mayBeOff(id); err != nil {
			return nil, err
		}
		n.off = put(n.off, id, true)
	}
	return n.built()
}

func (r *Ruleset) mayBeOff(id string) error {
	var rules []*rule
	if g := r.regime(id); g != nil {
		rules = g.Rules
	} else if one := r.rule(id); one != nil {
		rules = []*rule{one}
	} else if id != ruleLevel && id != ruleAge {
		return fmt.Errorf("residency: cannot switch off %q: there is no rule and no regime of that name", strictjson.Clip(id))
	}
	for _, one := range rules {
		if one.Strength != "guidance" {
			return fmt.Errorf("residency: cannot switch off %s: it is %s, and only guidance can be", one.ID, one.Strength)
		}
	}
	return nil
}

// EndRule returns the ruleset as it would be if a rule ended: from the day on, its values hold no longer. The id
// "paper:" and a kind stands for all papers of that kind. It answers what-if questions, such as that of an adequacy
// decision that a court may void: ask [Ruleset.Decide] again with the result. An id that nothing has is an error.
func (r *Ruleset) EndRule(id string, day Day) (*Ruleset, error) {
	if !day.Valid() {
		return nil, errors.New("residency: cannot end a rule without the first day on which it holds no longer")
	}
	n := r.clone()
	if kind, ok := strings.CutPrefix(id, needPaper+":"); ok {
		if _, ok := r.papers[kind]; !ok {
			return nil, fmt.Errorf("residency: cannot end %q: no rule asks for papers of that kind", strictjson.Clip(id))
		}
		n.paperEnds = put(n.paperEnds, kind, sooner(n.paperEnds[kind], day))
		return n.built()
	}
	if r.rule(id) == nil {
		return nil, fmt.Errorf("residency: cannot end %q: there is no rule of that name", strictjson.Clip(id))
	}
	n.ends = put(n.ends, id, sooner(n.ends[id], day))
	return n.built()
}

// put sets a key, also in a map that is not made yet.
func put[V any](m map[string]V, key string, v V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[key] = v
	return m
}

func (r *Ruleset) built() (*Ruleset, error) {
	if err := r.build(); err != nil {
		return nil, err
	}
	return r, nil
}

// Digest is the SHA-256 of everything that a decision of the ruleset depends on beside the request, in lower-case
// hexadecimal: its rules, what is enabled, switched off and ended, and the region table.
func (r *Ruleset) Digest() string { return r.digest }

// Tags returns the tags that the rules know, with their meaning.
func (r *Ruleset) Tags() map[Tag]string { return maps.Clone(r.tags) }

// PaperKinds returns the kinds of papers that the rules ask for, with their meaning.
func (r *Ruleset) PaperKinds() map[string]string { return maps.Clone(r.papers) }

// Rule is a rule as [Ruleset.Rules] lists it.
type Rule struct {
	ID       string
	Regime   string
	Title    string
	Kind     string // permit, demand, forbid or oblige
	Strength string // law, policy, contract or guidance
	// Ends says how its last value ended, or would: sunset, judicial, repeal, superseded, or nothing.
	Ends      string
	Confirmed bool
	Enabled   bool // confirmed or enabled by name, and not switched off
	Checked   Day
	ReviewBy  Day // the last day on which it is believed without another look; zero for what ended for good
	// ReviewedBy is who looked last, where that was somebody in a review of their own file.
	ReviewedBy string
	Values     []Value
	Sources    []string
	Note       string
}

// Rules returns all rules, sorted by regime and then as written. The caller may change what it gets.
func (r *Ruleset) Rules() []Rule {
	var out []Rule
	for _, g := range r.regimes {
		for _, one := range g.Rules {
			out = append(out, Rule{ID: one.ID, Regime: g.ID, Title: one.Title, Kind: one.Kind, Strength: one.Strength,
				Ends: one.Ends, Confirmed: one.Confirmed, Enabled: r.on(one) && !r.off[g.ID], Checked: one.Checked,
				ReviewBy: one.ReviewBy, ReviewedBy: one.ReviewedBy, Values: slices.Clone(one.Values), Sources: slices.Clone(one.Sources), Note: one.Note})
		}
	}
	return out
}

// on reports whether a rule has effect.
func (r *Ruleset) on(one *rule) bool {
	return (one.Confirmed || r.enabled[one.ID]) && !r.off[one.ID]
}

func (r *Ruleset) regime(id string) *regime {
	for _, g := range r.regimes {
		if g.ID == id {
			return g
		}
	}
	return nil
}

func (r *Ruleset) rule(id string) *rule {
	for _, g := range r.regimes {
		for _, one := range g.Rules {
			if one.ID == id {
				return one
			}
		}
	}
	return nil
}

// sum returns the digest of the ruleset.
func (r *Ruleset) sum() (string, error) {
	sets := map[string][]map[string]any{}
	for id, spans := range r.sets {
		for _, s := range spans {
			sets[id] = append(sets[id], map[string]any{"place": s.place, "times": s.times})
		}
	}
	return digest(map[string]any{"regimes": r.regimes, "sets": sets, "enabled": r.enabled, "off": r.off,
		"paperEnds": r.paperEnds, "regions": regionTable, "codes": codes})
}

// canonical returns the one JSON text of a value: fields in their order, keys of maps sorted.
func canonical(v any) ([]byte, error) { return json.Marshal(v) }

// digest returns the SHA-256 of a value's canonical text.
func digest(v any) (string, error) {
	text, err := canonical(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}
