package evidence

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/carekeep/carekeep/internal/strictjson"
	"github.com/carekeep/carekeep/residency"
)

// sample returns the empty data of a kind; nil if there is no such kind.
func (k Kind) sample() any {
	switch k {
	case KindDecision:
		return Decision{}
	case KindProbe:
		return Probe{}
	case KindOverride:
		return Override{}
	case KindQuarantine:
		return Quarantine{}
	case KindDebt:
		return Debt{}
	case KindReconcile:
		return Reconcile{}
	case KindPromotion:
		return Promotion{}
	case KindPlacement:
		return Placement{}
	case KindMove:
		return Move{}
	case KindProof:
		return Proof{}
	case KindResidual:
		return Residual{}
	case KindExit:
		return Exit{}
	case KindDrill:
		return Drill{}
	case KindWarning:
		return Warning{}
	}
	return nil
}

// Limits of one record, so that a block of several stays small.
const (
	maxMembers = 100      // of a list
	maxData    = 96 << 10 // bytes of JSON
)

// Check reports whether [Log.Append] would take this, with the error that it would give. Call it before doing what is to
// be recorded, so that nothing is done of which there can be no record.
func Check(kind Kind, site string, data any) error {
	_, err := encodeRecord(kind, site, data)
	return err
}

func encodeRecord(kind Kind, site string, data any) (json.RawMessage, error) {
	raw, err := encodeData(kind, data)
	if err != nil {
		return nil, err
	}
	if site != "" && !forms("site", site) {
		return nil, &RefusedError{Kind: kind, Field: "site", Why: "it is not " + formNames("site")}
	}
	return raw, nil
}

// encodeData returns the JSON of data that may be recorded under a kind.
func encodeData(k Kind, data any) (json.RawMessage, error) {
	want := k.sample()
	if want == nil {
		return nil, &RefusedError{Why: "the kind is not one of this package's"}
	}
	switch d := data.(type) {
	case residency.Decision:
		data = reduce(d)
	case residency.Override:
		data = (&reducer{}).override(d)
	}
	if reflect.TypeOf(data) != reflect.TypeOf(want) {
		return nil, &RefusedError{Kind: k, Why: fmt.Sprintf("its data must be %T, a value", want)}
	}
	if field, why := checkValue(reflect.ValueOf(data), "", reflect.TypeOf(data).Name()); why != "" {
		return nil, &RefusedError{Kind: k, Field: field, Why: why}
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return nil, &RefusedError{Kind: k, Why: "a date or time of it cannot be written"}
	}
	if len(raw) > maxData {
		return nil, &RefusedError{Kind: k, Why: fmt.Sprintf("it is longer than %d bytes", maxData)}
	}
	return raw, nil
}

// decodeData returns the data of a record: the kind's type, or, if it is foreign, the JSON as it is. Foreign is
// what this version would not have written, such as a record of a later version.
func decodeData(k Kind, raw json.RawMessage) (data any, foreign bool) {
	want := k.sample()
	if want == nil {
		return raw, true
	}
	p := reflect.New(reflect.TypeOf(want))
	if _, err := strictjson.Decode(raw, p.Interface()); err != nil {
		return raw, true
	}
	data = p.Elem().Interface()
	again, err := encodeData(k, data)
	if err != nil || string(again) != string(raw) {
		return raw, true
	}
	return data, false
}

// reducer drops what a record has no place for, and counts it.
type reducer struct{ withheld, cut int }

// withheldText stands for a text that was not of its form.
const withheldText = "withheld"

// keep returns a text that is of its form. An empty one is not.
func (r *reducer) keep(form, s string) string {
	if forms(form, s) {
		return s
	}
	r.withheld++
	return withheldText
}

func clip[T, U any](r *reducer, list []T, f func(T) U) []U {
	if len(list) == 0 {
		return nil
	}
	if len(list) > maxMembers {
		r.cut += len(list) - maxMembers
		list = list[:maxMembers]
	}
	out := make([]U, 0, len(list))
	for _, v := range list {
		out = append(out, f(v))
	}
	return out
}

// optional is keep for a text that may be empty.
func (r *reducer) optional(form, s string) string {
	if s == "" {
		return s
	}
	return r.keep(form, s)
}

func (r *reducer) place(p residency.Place) residency.Place {
	if forms("place", string(p)) {
		return p
	}
	r.withheld++
	return "ZZ"
}

func reduce(d residency.Decision) Decision {
	r := &reducer{}
	out := Decision{
		Verdict: verdict(d.Verdict), Rules: verdict(d.Rules), Expires: d.Expires, ExpiresBy: r.optional("fact", d.ExpiresBy),
		AsOf: d.AsOf, Known: d.Known, Now: d.Now,
		Grounds: clip(r, d.Reasons, func(v residency.Reason) Ground {
			g := Ground{Regime: r.keep("id", v.Regime), Rule: r.optional("id", v.Rule), Verdict: verdict(v.Verdict), From: v.From, Until: v.Until}
			if v.Place != "" {
				g.Place = r.place(v.Place)
			}
			return g
		}),
		Duties: clip(r, d.Obligations, func(v residency.Obligation) Duty {
			return Duty{r.keep("id", v.Rule), r.keep("id", v.Code)}
		}),
		Missing: clip(r, d.Missing, func(v residency.Missing) Lack {
			return Lack{r.keep("id", v.Rule), r.keep("fact", v.Fact)}
		}),
		Places:      clip(r, d.Places, r.place),
		Unconfirmed: clip(r, d.Unconfirmed, func(s string) string { return r.keep("id", s) }),
	}
	for _, v := range []struct {
		from string
		to   *string
	}{{d.Ruleset, &out.Ruleset}, {d.Facts, &out.Facts}} {
		if forms("digest", v.from) {
			*v.to = v.from
		} else if v.from != "" {
			r.withheld++
		}
	}
	if d.Override != nil {
		o := r.override(*d.Override)
		out.Override = &o
	}
	out.Withheld, out.Cut = r.withheld, r.cut
	return out
}

// override drops the reason, which is in a person's words.
func (r *reducer) override(o residency.Override) Override {
	return Override{ID: r.optional("opaque", o.ID), Person: r.keep("person", o.Person), Cause: CauseOther, From: o.From, Until: o.Until, Write: o.Write}
}

func verdict(v residency.Verdict) string {
	switch v {
	case residency.Allowed:
		return "allowed"
	case residency.Denied:
		return "denied"
	}
	return "unknown"
}
