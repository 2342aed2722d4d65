package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
)

// Quarantine takes a site out of use until [Router.Release], also for other routers that open later: nothing is
// written there, and it is read only for what no other site has. What it misses is owed to it.
func (r *Router) Quarantine(ctx context.Context, site, person string, cause evidence.Cause) error {
	return r.byPerson(ctx, site, evidence.Quarantine{Person: person, Cause: cause})
}

// Release ends a quarantine. The site's copies count again at once; reconcile deeply if they may be wrong.
func (r *Router) Release(ctx context.Context, site, person string, cause evidence.Cause) error {
	return r.byPerson(ctx, site, evidence.Quarantine{Released: true, Person: person, Cause: cause})
}

func (r *Router) byPerson(ctx context.Context, name string, q evidence.Quarantine) error {
	if q.Person == "" {
		return fmt.Errorf("%w: a quarantine needs a person who answers for it", ErrSites)
	}
	return r.setQuarantine(ctx, name, q)
}

func (r *Router) setQuarantine(ctx context.Context, name string, q evidence.Quarantine) error {
	s := r.site(name)
	if s == nil {
		return fmt.Errorf("%w: there is no site %s", ErrSites, name)
	}
	if err := r.answerable(evidence.KindQuarantine, q); err != nil {
		return err
	}
	if err := r.readQuarantine(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	rec := &quarantineRecord{V: recordVersion, N: 1, Site: name, Quarantined: !q.Released, Person: q.Person, Cause: q.Cause, At: r.o.Now().UTC().Truncate(time.Second)}
	if s.quarantine != nil {
		rec.N = s.quarantine.N + 1
	}
	s.mu.Unlock()
	if err := r.evidence(ctx, evidence.KindQuarantine, name, q); err != nil {
		return err
	}
	at, err := r.keepers(ctx)
	if err != nil {
		return err
	}
	put := 0
	errs := each(at, func(at *site) error { return at.put(ctx, rec.name(), rec) })
	for _, err := range errs {
		if err == nil {
			put++
		}
	}
	if put > 0 || rec.Quarantined {
		s.mu.Lock()
		s.quarantine = rec
		s.mu.Unlock()
	}
	if event := observe.Released; put > 0 || rec.Quarantined {
		if rec.Quarantined {
			event = observe.Quarantined
		}
		r.seen.Count(ctx, event, name, 1)
	}
	if put == 0 {
		return fail(ErrTooFewSites, errs...)
	}
	return ctx.Err()
}

// keepers are the sites that keep quarantines: enrolled, known to be ours, and lawful. That includes the one that it is
// about: a practice may have no other.
func (r *Router) keepers(ctx context.Context) ([]*site, error) {
	var out []*site
	for _, s := range r.enrolled() {
		r.revive(ctx, s)
		d, err := r.decide(ctx, s)
		if err != nil {
			return nil, err
		}
		if st := s.stands(); d.Verdict == residency.Allowed && !s.ReadOnly && st != unseen && st != foreign {
			out = append(out, s)
		}
	}
	return out, ctx.Err()
}

// readQuarantine reads from every site which sites are in quarantine. Of two records of one number that differ, the
// stricter counts.
func (r *Router) readQuarantine(ctx context.Context) error {
	for _, at := range r.sites {
		if at.resting() || at.stands() == foreign {
			continue
		}
		for _, s := range r.sites {
			rec, err := latestQuarantine(ctx, at, s.Name)
			if errors.Is(err, errRecord) {
				return err
			}
			if err != nil || rec == nil {
				continue
			}
			s.mu.Lock()
			if s.quarantine == nil || rec.N > s.quarantine.N || rec.N == s.quarantine.N && rec.Quarantined {
				s.quarantine = rec
			}
			s.mu.Unlock()
		}
	}
	return ctx.Err()
}

// latestQuarantine returns the last record about a site that another has; nil if there is none.
func latestQuarantine(ctx context.Context, at *site, about string) (*quarantineRecord, error) {
	last := ""
	err := at.list(ctx, quarantinePrefix(about), func(name string) bool {
		last = name
		return true
	})
	if err != nil || last == "" {
		return nil, err
	}
	rec := new(quarantineRecord)
	if err := at.get(ctx, last, rec); err != nil {
		return nil, err
	}
	return rec, nil
}
