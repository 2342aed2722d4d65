package main

import (
	"fmt"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/router"
)

type reevaluateCmd struct {
	AsOf residency.Day `help:"By the law of this day, which may be past or to come; by default today." placeholder:"DAY"`
}

func (c *reevaluateCmd) Help() string {
	return `Nothing is changed. The exit status is 1 if a site holds data that may not be there, or if the sites that may be written
do not give the copies that must be reached.`
}

func (c *reevaluateCmd) Run(a *app) error {
	s, err := a.openSites(nil)
	if err != nil {
		return err
	}
	v, err := s.router.Reevaluate(a.ctx, c.AsOf)
	if err != nil {
		return err
	}
	if a.JSON {
		a.line(struct {
			Type string `json:"type"`
			*router.Review
		}{"review", v})
	} else {
		a.review(v)
	}
	switch {
	case len(v.Violations) > 0:
		return fmt.Errorf("what is at %s may not be there: carekeep sites migrate brings it elsewhere", join(v.Violations))
	case len(v.Lacks) > 0:
		return fmt.Errorf("the sites that may be written do not give %s", join(v.Lacks))
	}
	return nil
}

// review shows what the rules say of data where it is.
func (a *app) review(v *router.Review) {
	for i := range v.Sites {
		w := &v.Sites[i]
		held := fmt.Sprintf("%s, %s", count(w.Objects, "object"), size(w.Bytes))
		if w.Error != nil {
			held = "not counted, as it does not answer"
		}
		fmt.Fprintf(a.stdout, "%-12s  %-34s  may stay: %-8s  may be added to: %s\n", w.Site, held, w.Stay.Verdict, w.Write.Verdict)
		if w.Stay.Verdict != residency.Allowed {
			a.against(w.Stay)
		}
		if len(w.Lacks) > 0 {
			fmt.Fprintf(a.stdout, "  without it the others do not give %s\n", join(w.Lacks))
		}
	}
	if len(v.Spare) > 0 {
		fmt.Fprintf(a.stdout, "spare sites that may hold it: %s\n", join(v.Spare))
	}
}

// against shows what speaks against a decision.
func (a *app) against(d residency.Decision) {
	for _, r := range d.Reasons {
		if r.Verdict != residency.Allowed {
			fmt.Fprintln(a.stdout, "  "+reason(r))
		}
	}
	for _, m := range d.Missing {
		fmt.Fprintf(a.stdout, "  missing  %s, for %s\n", plain(m.Fact), m.Rule)
	}
}

type whatIfCmd struct {
	Rule string        `arg:"" help:"The rule, as decide shows it; or \"paper:\" and a kind, for all papers of that kind."`
	Ends residency.Day `help:"The first day on which it no longer holds." required:"" placeholder:"DAY"`
}

func (c *whatIfCmd) Help() string {
	return `Nothing is changed. The exit status is 1 if the sites of the file could not give the placement any more.`
}

func (c *whatIfCmd) Run(a *app) error {
	s, err := a.openSites(nil)
	if err != nil {
		return err
	}
	w, err := s.router.WhatIf(a.ctx, c.Rule, c.Ends)
	if err != nil {
		return err
	}
	if a.JSON {
		a.line(struct {
			Type string `json:"type"`
			*router.WhatIf
		}{"what-if", w})
	} else {
		a.whatIf(w)
	}
	if !w.Enough {
		return fmt.Errorf("without %s the sites do not give %s", w.Rule, join(w.After.Lacks))
	}
	return nil
}

func (a *app) whatIf(w *router.WhatIf) {
	if len(w.Hit) == 0 {
		fmt.Fprintf(a.stdout, "if %s ended on %s, every site would do as before\n", w.Rule, w.EndsOn)
		return
	}
	fmt.Fprintf(a.stdout, "if %s ended on %s, %s would no longer do, with %s, %s\n",
		w.Rule, w.EndsOn, join(w.Hit), count(w.Objects, "object"), size(w.Bytes))
	for i := range w.After.Sites {
		if v := &w.After.Sites[i]; v.Stay.Verdict != w.Before.Sites[i].Stay.Verdict {
			fmt.Fprintf(a.stdout, "%s: %s\n", v.Site, v.Stay.Verdict)
			a.against(v.Stay)
		}
	}
	if w.Enough && len(w.Spare) > 0 {
		fmt.Fprintf(a.stdout, "it could go to %s\n", join(w.Spare))
	} else if w.Enough {
		fmt.Fprintln(a.stdout, "the others are enough")
	}
}
