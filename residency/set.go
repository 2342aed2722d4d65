package residency

import (
	"errors"
	"fmt"
	"slices"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// set is a group of places whose members come and go, such as the European Union. A rule names it as "@EU".
type set struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	Members []member `json:"members"`
	Sources []string `json:"sources"`
	Checked Day      `json:"checked"`
	Note    string   `json:"note,omitempty"`

	where located
}

// member is a time in which a place, or with a leading "@" another set, belongs to a set.
type member struct {
	Place Place `json:"place"`
	From  Day   `json:"from"`
	Until Day   `json:"until,omitzero"`
	Known Day   `json:"known"`
}

// spans returns the times of one place in the set.
func (s *set) spans(p Place) values {
	var vs values
	for _, m := range s.Members {
		if m.Place == p {
			vs = append(vs, Value{From: m.From, Until: m.Until, Known: m.Known, Ref: "@" + s.ID})
		}
	}
	return vs
}

// places returns every place that ever was a member, each once, in the file's order.
func (s *set) places() []Place {
	var all []Place
	for _, m := range s.Members {
		if !slices.Contains(all, m.Place) {
			all = append(all, m.Place)
		}
	}
	return all
}

func (s *set) validate() *fieldError {
	bad := func(field, text string) *fieldError { return &fieldError{field, text} }
	switch {
	case !setName(s.ID):
		return bad("id", "expected a name of capital letters, digits and hyphens such as EU")
	case s.Title == "":
		return bad("title", "expected what the set is, in a line")
	case len(s.Members) == 0:
		return bad("members", "expected places")
	case !sourced(s.Sources):
		return bad("sources", "expected at least one source")
	case !s.Checked.Valid():
		return bad("checked", "expected the day on which the sources were read")
	}
	for _, p := range s.places() {
		if name, ok := p.set(); !p.Valid() && (!ok || !setName(name)) {
			return bad("members", fmt.Sprintf("place %q is no code of ISO 3166 and no set", strictjson.Clip(string(p))))
		}
		if err := s.spans(p).validate(); err != nil {
			return bad("members", string(p)+": "+err.Error())
		}
	}
	return nil
}

func setName(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) <= 40
}

func sourced(sources []string) bool {
	return len(sources) > 0 && !slices.Contains(sources, "")
}

// span is a place of a set with the sets between, flattened, and the time in which it belongs.
type span struct {
	place Place
	times values
}

// flatten returns the places of a set and, for those of sets within it, the times in which both belong. Sets
// within sets are few and small.
func flatten(sets map[string]*set, id string, open []string) ([]span, error) {
	s, ok := sets[id]
	switch {
	case !ok:
		return nil, fmt.Errorf("set @%s is in no file", strictjson.Clip(id))
	case slices.Contains(open, id):
		return nil, errors.New("set @" + id + " is within itself")
	}
	var all []span
	for _, p := range s.places() {
		times := s.spans(p)
		name, ok := p.set()
		if !ok {
			all = append(all, span{p, times})
			continue
		}
		if len(times) != 1 || !times[0].Until.IsZero() {
			return nil, fmt.Errorf("set @%s has @%s for a time only; name its places", id, name)
		}
		inner, err := flatten(sets, name, append(open, id))
		if err != nil {
			return nil, err
		}
		all = append(all, inner...)
	}
	return all, nil
}
