package residency

import (
	"errors"
	"fmt"
	"strings"
)

// override lets an exception change the verdict, says in words what it did, and returns when that changes.
func (d *Decision) override(o *Override, existing bool) []Ending {
	if o == nil || d.Rules == Allowed {
		return nil
	}
	name := "override " + o.ID
	switch {
	case d.Now.Before(o.From):
		d.Warnings = append(d.Warnings, name+" has no effect yet: it begins at "+o.From.UTC().Format("2006-01-02 15:04 UTC"))
		return []Ending{{o.From.UTC(), name}}
	case !d.Now.Before(o.Until):
		d.Warnings = append(d.Warnings, name+" has no effect any more: it ended at "+o.Until.UTC().Format("2006-01-02 15:04 UTC"))
		return nil
	case !existing && !o.Write:
		d.Warnings = append(d.Warnings, name+" has no effect on this: it lets data stay, and adds none")
		return nil
	}
	d.Verdict = Allowed
	d.Override = o
	d.Warnings = append(d.Warnings, fmt.Sprintf("%s allows this until %s, by the person it names; the rules say %s",
		name, o.Until.UTC().Format("2006-01-02 15:04 UTC"), d.Rules))
	return []Ending{{o.Until.UTC(), name}}
}

func (o *Override) validate() error {
	switch {
	case o == nil:
		return nil
	case o.ID == "" || strings.TrimSpace(o.Person) == "" || strings.TrimSpace(o.Reason) == "":
		return errors.New("residency: an override needs an id, the person who answers for it, and a reason")
	case o.From.IsZero() || !o.Until.After(o.From):
		return errors.New("residency: an override needs a time from which it holds and a later one until which it does")
	case o.Until.Sub(o.From) > MaxOverride:
		return fmt.Errorf("residency: an override holds for at most %s; make another one when it has ended", MaxOverride)
	}
	return nil
}
