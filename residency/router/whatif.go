package router

import (
	"context"
	"errors"
	"fmt"

	"github.com/carekeep/carekeep/residency"
)

// WhatIf is what would follow if a rule ended.
type WhatIf struct {
	Rule   string        `json:"rule"`
	EndsOn residency.Day `json:"endsOn"`
	// Before and After are the same day, without and with the end.
	Before *Review `json:"before"`
	After  *Review `json:"after"`
	// Hit are the sites that would no longer do, the strictest case first, and what they hold together.
	Hit     []string `json:"hit,omitempty"`
	Objects int64    `json:"objects"`
	Bytes   int64    `json:"bytes"`
	// Enough is whether the sites that were given would still give the placement, by moving to those in Spare
	// where need be.
	Enough bool     `json:"enough"`
	Spare  []string `json:"spare,omitempty"`
}

// ender is a [Decider] that can say what would be without a rule, as a [residency.Ruleset] can.
type ender interface {
	EndRule(id string, day residency.Day) (*residency.Ruleset, error)
}

// errNoEnd says that the decider cannot answer.
var errNoEnd = errors.New("router: the rules cannot be asked what would be without one of them: open the router with a residency.Ruleset")

// WhatIf answers what would follow if a rule ended on a day, such as an adequacy decision that a court may void. It
// changes nothing. The id may also be "paper:" and a kind, for all papers of that kind. An id that no rule has is an
// error, as are rules of another make than [residency.Ruleset]; the others are the context's.
func (r *Router) WhatIf(ctx context.Context, ruleID string, endsOn residency.Day) (*WhatIf, error) {
	rules, ok := r.rules.(ender)
	if !ok {
		return nil, errNoEnd
	}
	without, err := rules.EndRule(ruleID, endsOn)
	if err != nil {
		return nil, fmt.Errorf("router: what if: %w", err)
	}
	w := &WhatIf{Rule: ruleID, EndsOn: endsOn}
	if w.Before, err = r.review(ctx, r.rules, endsOn); err != nil {
		return nil, err
	}
	if w.After, err = r.review(ctx, without, endsOn); err != nil {
		return nil, err
	}
	if err := r.countAll(ctx, w.Before); err != nil {
		return nil, err
	}
	for i, s := range w.Before.Sites {
		w.After.Sites[i].Objects, w.After.Sites[i].Bytes, w.After.Sites[i].Error = s.Objects, s.Bytes, s.Error
	}
	w.After.order(strictness(r.rules))
	was := map[string]bool{}
	for _, s := range w.Before.Sites {
		was[s.Site] = s.Stay.Verdict == residency.Allowed
	}
	for _, s := range w.After.Sites {
		if was[s.Site] && s.Stay.Verdict != residency.Allowed {
			w.Hit = append(w.Hit, s.Site)
			w.Objects, w.Bytes = w.Objects+s.Objects, w.Bytes+s.Bytes
		}
	}
	w.Enough, w.Spare = w.After.Enough, w.After.Spare
	return w, nil
}
