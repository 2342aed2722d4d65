package residency

import (
	"errors"
	"fmt"
	"slices"
)

// Value is a time in which a rule holds, as far as was known from a day on. Values are added and never edited: a
// later one with the same From and a later Known revises an earlier one, so what was known before can still
// be asked for.
type Value struct {
	From  Day    `json:"from"`           // the first day
	Until Day    `json:"until,omitzero"` // the first day on which it no longer holds; zero: open
	Known Day    `json:"known"`          // when this became public: an act's adoption, a judgment's day
	Ref   string `json:"ref"`            // the act, case or page
	// Boundary is the source's wording of an end that can be read either way, such as "expires on 2031-12-27".
	Boundary string `json:"boundary,omitempty"`
}

// values are those of one rule.
type values []Value

// at returns the value in force on a day by what was known then, or nil, and the next day on which that changes, if
// any. Known may be zero for everything.
func (vs values) at(on, known Day) (in *Value, next Day) {
	for i := range vs {
		v := &vs[i]
		if !vs.visible(v, known) {
			continue
		}
		switch {
		case v.From.After(on):
			next = sooner(next, v.From)
		case v.Until.IsZero() || v.Until.After(on):
			in = v
			next = sooner(next, v.Until)
		}
	}
	return in, next
}

// begun reports whether any value begins by a day, by what was known then. Known may be zero for everything.
func (vs values) begun(on, known Day) bool {
	return slices.ContainsFunc(vs, func(v Value) bool { return vs.visible(&v, known) && !v.From.After(on) })
}

// visible reports whether v was known and not yet revised.
func (vs values) visible(v *Value, known Day) bool {
	if !known.IsZero() && v.Known.After(known) {
		return false
	}
	for i := range vs {
		w := &vs[i]
		if w.From == v.From && w.Known.After(v.Known) && (known.IsZero() || !w.Known.After(known)) {
			return false
		}
	}
	return true
}

// sooner returns the earlier of two days, of which the zero one is never.
func sooner(a, b Day) Day {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// before returns the values as they are when everything ends on a day.
func (vs values) before(end Day) values {
	var out values
	for _, v := range vs {
		if !v.From.Before(end) {
			continue
		}
		if v.Until.IsZero() || v.Until.After(end) {
			v.Until, v.Boundary = end, ""
		}
		out = append(out, v)
	}
	return out
}

// closed reports whether no value is open, by all that is known.
func (vs values) closed() bool {
	for i := range vs {
		if vs.visible(&vs[i], Day{}) && vs[i].Until.IsZero() {
			return false
		}
	}
	return true
}

// validate refuses values that cannot be traced to a source, or of which two were in force on one day by what was known
// at some time.
func (vs values) validate() error {
	for i := range vs {
		if err := vs[i].validate(vs[:i]); err != nil {
			return err
		}
	}
	for i := range vs {
		if err := vs.overlap(vs[i].Known); err != nil {
			return err
		}
	}
	return nil
}

// validate refuses a value that makes no sense after the earlier ones in the file.
func (v Value) validate(earlier values) error {
	annuls := slices.ContainsFunc(earlier, func(w Value) bool { return w.From == v.From && w.Known.Before(v.Known) })
	switch {
	case !v.From.Valid():
		return errors.New("values: expected from, the first day")
	case !v.Known.Valid():
		return errors.New("values: expected known, the day on which it became public")
	case v.Ref == "":
		return errors.New("values: expected ref, the act or page that says so: a value has a source")
	case !v.Until.IsZero() && v.Until.Before(v.From):
		return fmt.Errorf("values: until %s is before from %s", v.Until, v.From)
	case v.Until == v.From && !annuls:
		return fmt.Errorf("values: empty from %s; only a later value that annuls an earlier one may be", v.From)
	case v.Boundary != "" && v.Until.IsZero():
		return errors.New("values: a boundary without until")
	case slices.ContainsFunc(earlier, func(w Value) bool { return w.From == v.From && w.Known == v.Known }):
		return fmt.Errorf("values: two from %s became known on one day", v.From)
	}
	return nil
}

// overlap refuses two values in force on one day by what was known on a day.
func (vs values) overlap(known Day) error {
	for i := range vs {
		for j := range vs[:i] {
			a, b := &vs[i], &vs[j]
			if !vs.visible(a, known) || !vs.visible(b, known) || a.Until == a.From || b.Until == b.From {
				continue
			}
			if (a.Until.IsZero() || a.Until.After(b.From)) && (b.Until.IsZero() || b.Until.After(a.From)) {
				return fmt.Errorf("values: those from %s and from %s overlap by what was known on %s; revise the older one", b.From, a.From, known)
			}
		}
	}
	return nil
}
