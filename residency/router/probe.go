package router

import (
	"context"
	"time"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/probe"
)

// probeDue asks where the site is, if that was long ago.
func (r *Router) probeDue(ctx context.Context, s *site) error {
	if s.Probe == nil {
		return nil
	}
	s.mu.Lock()
	now := r.o.Now()
	due := now.Sub(s.probed) >= r.o.ProbeEvery && !now.Before(s.probeAgain)
	s.mu.Unlock()
	if !due {
		return nil
	}
	return r.probe(ctx, s)
}

// probePause is how long a probe that failed is not tried again.
const probePause = 5 * time.Minute

// probe asks where the site is. What is observed counts for the rules; what contradicts the declaration puts the site
// into quarantine. A probe that fails leaves what is known, and no better than it was declared.
func (r *Router) probe(ctx context.Context, s *site) error {
	if s.Probe == nil {
		return nil
	}
	// That the place cannot be asked says nothing of whether it can be written.
	c, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	at, err := s.Probe(c, s.Bucket)
	if cerr := ctx.Err(); cerr != nil {
		return cerr
	}
	if err != nil {
		err = &SiteError{Site: s.Name, Op: "probe", Code: codeOf(err), err: err}
	}
	s.mu.Lock()
	s.probeErr = err
	if err != nil {
		s.probeAgain = r.o.Now().Add(probePause)
		if s.probed.IsZero() {
			s.location.Level = residency.Declared
		}
		s.mu.Unlock()
		r.log("the site could not be probed", s.Name, err)
		return r.evidence(ctx, evidence.KindProbe, s.Name, evidence.Probe{Outcome: evidence.OutcomeUnreachable, Declared: where(s.Target.Location)})
	}
	matches, _ := probe.Compare(s.Target.Location, at)
	s.probed = r.o.Now()
	s.location = at.Settle(s.Target.Location)
	s.recheck = s.probed // decide anew
	s.mu.Unlock()
	seen := evidence.Probe{Outcome: evidence.OutcomeOK, Declared: where(s.Target.Location), Found: where(at.Location)}
	if !matches {
		seen.Outcome = evidence.OutcomeMismatch
	}
	err = r.evidence(ctx, evidence.KindProbe, s.Name, seen)
	if err == nil && !matches && !s.isQuarantined() {
		err = r.setQuarantine(ctx, s.Name, evidence.Quarantine{Cause: evidence.CauseMismatch})
	}
	if err != nil {
		s.mu.Lock()
		s.probed = time.Time{} // what could not be acted upon is asked again
		s.mu.Unlock()
	}
	return err
}

// where is a location as evidence has it.
func where(l residency.Location) evidence.Where {
	return evidence.Where{Provider: l.Provider, Region: l.Region, Redundancy: l.Redundancy, Places: l.Places, Level: int(l.Level)}
}
