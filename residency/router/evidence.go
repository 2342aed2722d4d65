package router

import "context"

// debtEvidence is what is recorded of debts.
type debtEvidence struct {
	Copies int64 `json:"copies"`
}

// recordDebts records how many copies sites have missed since this was last called.
func (r *Router) recordDebts(ctx context.Context) error {
	r.mu.Lock()
	debts := r.newDebts
	r.newDebts = map[string]int64{}
	r.mu.Unlock()
	for _, s := range r.sites {
		if n := debts[s.Name]; n > 0 {
			if err := r.evidence(ctx, "debt-taken", s.Name, debtEvidence{n}); err != nil {
				return err
			}
		}
	}
	return nil
}
