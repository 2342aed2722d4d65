package router

import (
	"context"
	"fmt"

	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/residency/evidence"
)

// evidence sums a reconciliation up over all sites.
func (r *ReconcileReport) evidence(deep bool) evidence.Reconcile {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := evidence.Reconcile{Outcome: evidence.OutcomeOK, Deep: deep, Objects: r.Keys, Undecided: r.UndecidedCount,
		TookMillis: r.Ended.Sub(r.Started).Milliseconds()}
	for _, s := range r.Sites {
		e.Lacking += s.Missing
		e.Differing += s.Wrong
		e.Repaired += s.Copied
		e.Bytes += s.Bytes
		e.Aside += s.Aside
		if s.Absent || s.Failed > 0 {
			e.Outcome = evidence.OutcomePartial
		}
	}
	if e.Undecided > 0 || r.Cursor != "" {
		e.Outcome = evidence.OutcomePartial
	}
	return e
}

// answerable checks, before something is done that a person answers for, that it can be recorded.
func (r *Router) answerable(kind evidence.Kind, data any) error {
	if err := evidence.Check(kind, "", data); err != nil {
		return fmt.Errorf("%w: a person and a cause are needed, in the forms of evidence: %w", ErrSites, err)
	}
	return nil
}

// recordDebts records how many copies sites have missed since this was last called, and got by a reconciliation.
func (r *Router) recordDebts(ctx context.Context, paid map[string]SiteReport) error {
	r.mu.Lock()
	debts := r.newDebts
	r.newDebts = map[string]int64{}
	r.mu.Unlock()
	for _, s := range r.sites {
		if n := paid[s.Name].Paid; n > 0 {
			r.seen.Count(ctx, observe.DebtsPaid, s.Name, n)
		}
		if d := (evidence.Debt{Taken: debts[s.Name], Paid: paid[s.Name].Paid}); d != (evidence.Debt{}) {
			if err := r.evidence(ctx, evidence.KindDebt, s.Name, d); err != nil {
				return err
			}
		}
	}
	return nil
}
