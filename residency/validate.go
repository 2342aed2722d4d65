package residency

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// validate refuses a request that makes no sense, and says what to put right. It quotes codes and kinds, and no text
// that somebody wrote freely.
func (r *Ruleset) validate(q *Request) error {
	for _, e := range []struct {
		marshal func() ([]byte, error)
	}{
		{q.Subject.Class.MarshalText}, {q.Purpose.MarshalText}, {q.Target.Location.Level.MarshalText},
		{q.Target.Custody.Holder.MarshalText}, {q.AsOf.MarshalText}, {q.Known.MarshalText},
	} {
		if _, err := e.marshal(); err != nil {
			return fmt.Errorf("residency: %w", err)
		}
	}
	if r.digest == "" {
		return errors.New("residency: an empty ruleset decides nothing; take one from Rules or NewRuleset")
	}
	if q.Now.IsZero() {
		return errors.New("residency: the request does not say when it is asked; set Now")
	}
	for _, t := range []time.Time{q.Now, q.Target.Location.At} {
		if y := t.UTC().Year(); y < 1 || y >= 9999 {
			return errors.New("residency: a time is outside the years 1 to 9998")
		}
	}
	for _, t := range q.Subject.Tags {
		if _, ok := r.tags[t]; !ok {
			return fmt.Errorf("residency: no rule knows the tag %q; see Ruleset.Tags", strictjson.Clip(string(t)))
		}
	}
	if err := q.validatePlaces(); err != nil {
		return err
	}
	for i := range q.Target.Papers {
		if err := q.Target.Papers[i].validate(); err != nil {
			return err
		}
	}
	return q.Override.validate()
}

// validatePlaces refuses places that do not exist. The location's own are judged as unknown instead, since a probe or a
// person may have found them.
func (q *Request) validatePlaces() error {
	t := &q.Target
	for _, part := range []struct {
		name   string
		places []Place
	}{
		{"an origin", q.Subject.Origins}, {"the operator's place", given(t.Exposure.Operator)},
		{"the parent's place", given(t.Exposure.Parent)}, {"a place of support", t.Exposure.Support},
		{"a place of the keys", t.Custody.Places},
	} {
		for _, p := range part.places {
			if !p.Valid() {
				return fmt.Errorf("residency: %s, %q, is no code of ISO 3166 such as AU or AU-NSW", part.name, strictjson.Clip(string(p)))
			}
		}
	}
	return nil
}

func (p *Paper) validate() error {
	days := []Day{p.From, p.Until, p.Checked}
	switch {
	case !strictjson.Slug(p.Kind, "-"):
		return errors.New("residency: a paper needs a kind such as dpf-listing; see Ruleset.PaperKinds")
	case slices.ContainsFunc(days, func(d Day) bool { return !d.IsZero() && !d.Valid() }):
		return fmt.Errorf("residency: paper %s has a date that the calendar does not have", strictjson.Clip(p.Kind))
	case !p.Until.IsZero() && !p.Until.After(p.From):
		return fmt.Errorf("residency: paper %s ends before it begins; until is the first day on which it no longer holds", strictjson.Clip(p.Kind))
	}
	return nil
}

// canonical returns the request in the one form that all equal requests have, and shares nothing with q.
func (q Request) canonical() Request {
	q.Subject.Origins = sorted(q.Subject.Origins)
	q.Subject.Tags = slices.Compact(slices.Sorted(slices.Values(q.Subject.Tags)))
	t := &q.Target
	t.Location.Places = sorted(t.Location.Places)
	t.Location.At = utc(t.Location.At)
	t.Exposure.Support = sorted(t.Exposure.Support)
	t.Custody.Places = sorted(t.Custody.Places)
	t.Papers = slices.Clone(t.Papers)
	for i := range t.Papers {
		t.Papers[i].Scope = slices.Compact(slices.Sorted(slices.Values(t.Papers[i].Scope)))
	}
	slices.SortFunc(t.Papers, func(a, b Paper) int {
		x, _ := canonical(a)
		y, _ := canonical(b)
		return bytes.Compare(x, y)
	})
	q.Now = utc(q.Now)
	if q.Override != nil {
		o := *q.Override
		o.From, o.Until = utc(o.From), utc(o.Until)
		q.Override = &o
	}
	return q
}

// utc returns the instant without what else a [time.Time] carries.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.Round(0).UTC()
}

// digest returns the SHA-256 of the request without Now, which stands beside it in the decision: the same facts have
// the same digest whenever they are asked about.
func (q Request) digest() (string, error) {
	q.Now = time.Time{}
	return digest(q)
}
