package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/carekeep/carekeep/residency/evidence"
)

// ReconcileOptions tune [Router.Reconcile]. The zero value, and nil, work.
type ReconcileOptions struct {
	// Deep reads all copies of every object and compares their SHA-256. Otherwise only what listings show, who has
	// an object and its length, is compared; and the bytes where these or an unfinished write give reason to.
	Deep bool
	// Verify, if not nil, says which of differing copies is right: it returns nil for that one. With Deep it judges
	// also where all copies are equal. Without it more than half of the copies are right.
	Verify func(ctx context.Context, key string, r io.Reader) error
	// After goes on behind a key: the Cursor of a report. A site that was away takes part again only after a call
	// that began at the beginning.
	After string
	// BytesPerSecond limits what is copied; 0 is no limit.
	BytesPerSecond int
	// Abandon is how old an unfinished write may be whose object the home site does not have, before its record is
	// removed; default 7 days. Its writer must not come back after that.
	Abandon time.Duration
}

// ReconcileReport says what was found and done.
type ReconcileReport struct {
	Started  time.Time             `json:"started"`
	Ended    time.Time             `json:"ended"`
	Keys     int64                 `json:"keys"`          // that were compared
	Compared int64                 `json:"bytesCompared"` // read for that
	Sites    map[string]SiteReport `json:"sites"`
	// Undecided are keys, at most a thousand, of differing copies of which nothing tells which is right; they were
	// left as they are.
	Undecided      []string `json:"-"`
	UndecidedCount int64    `json:"undecided"`
	// Aside are objects, at most a thousand, that are no longer at their key, by key and site. See ErrConflict.
	Aside []AsideObject `json:"-"`
	// Cursor is where a next call can go on; empty when all keys were compared.
	Cursor string `json:"-"`

	mu sync.Mutex
}

// SiteReport is what a reconciliation found at one site.
type SiteReport struct {
	Missing int64 `json:"missing"` // copies that it should have had
	Wrong   int64 `json:"wrong"`   // copies that differed from what is right
	Copied  int64 `json:"copied"`  // copies that it got
	Bytes   int64 `json:"bytes"`   // of these
	Paid    int64 `json:"paid"`    // debts that were settled
	Aside   int64 `json:"aside"`   // objects that were kept aside
	Failed  int64 `json:"failed"`  // copies that could not be read or written
	Absent  bool  `json:"absent"`  // it did not answer, or may not be used
}

// AsideObject names an object that lost its key to another.
type AsideObject struct{ Key, Site string }

// maxReported bounds the lists of a report.
const maxReported = 1000

func (r *ReconcileReport) change(s *site, f func(*SiteReport)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.Sites[s.Name]
	f(&v)
	r.Sites[s.Name] = v
}

func (r *ReconcileReport) missing(s *site) { r.change(s, func(v *SiteReport) { v.Missing++ }) }
func (r *ReconcileReport) wrong(s *site)   { r.change(s, func(v *SiteReport) { v.Wrong++ }) }
func (r *ReconcileReport) failed(s *site)  { r.change(s, func(v *SiteReport) { v.Failed++ }) }
func (r *ReconcileReport) paid(s *site)    { r.change(s, func(v *SiteReport) { v.Paid++ }) }

func (r *ReconcileReport) copied(s *site, n int64) {
	r.change(s, func(v *SiteReport) { v.Copied++; v.Bytes += n })
}

func (r *ReconcileReport) aside(key string, s *site) {
	r.change(s, func(v *SiteReport) {
		if v.Aside++; len(r.Aside) < maxReported {
			r.Aside = append(r.Aside, AsideObject{key, s.Name})
		}
	})
}

func (r *ReconcileReport) compared(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Compared += n
}

func (r *ReconcileReport) undecided(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.UndecidedCount++; len(r.Undecided) < maxReported {
		r.Undecided = append(r.Undecided, key)
	}
}

// Reconcile makes the sites equal to the home site: it finishes what is unfinished, pays debts, compares the listings
// of all sites, copies what is missing, brings back what the home site has lost, and lets sites that were away
// take part again. It works while others write. It reports what it did also when it fails in between, with a Cursor
// to go on from. Errors wrap [ErrHomeDown], [ErrSuperseded] or [ErrUnfinished], or are the context's.
func (r *Router) Reconcile(ctx context.Context, opts *ReconcileOptions) (*ReconcileReport, error) {
	p := &pass{r: r, report: &ReconcileReport{Started: r.o.Now(), Sites: map[string]SiteReport{}}}
	if opts != nil {
		p.o = *opts
	}
	if p.o.Abandon <= 0 {
		p.o.Abandon = 7 * 24 * time.Hour
	}
	if n := p.o.BytesPerSecond; n > 0 {
		p.limit = rate.NewLimiter(rate.Limit(n), n)
	}
	p.report.Cursor = p.o.After
	ctx, end := r.seen.Begin(ctx, opReconcile, true)
	err := p.reconcile(ctx)
	end(err)
	p.report.Ended = r.o.Now()
	if eerr := r.evidence(ctx, evidence.KindReconcile, "", p.report.evidence(p.o.Deep)); err == nil {
		err = eerr
	}
	if derr := r.recordDebts(ctx, p.report.Sites); err == nil {
		err = derr
	}
	return p.report, err
}

func (p *pass) reconcile(ctx context.Context) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	if err := p.finishIntents(ctx); err != nil {
		return err
	}
	if err := p.payDebts(ctx); err != nil {
		return err
	}
	if err := p.compare(ctx); err != nil {
		return err
	}
	for _, s := range p.sites {
		if s.stands() == behind && !s.ReadOnly && p.report.Sites[s.Name].Failed == 0 && p.o.After == "" {
			leave, err := p.enter()
			if err != nil {
				return err
			}
			err = p.r.welcome(ctx, s)
			leave()
			if err != nil {
				return err
			}
		}
	}
	// What was written while the listings were read is owed to the sites that have just become current.
	return p.payDebts(ctx)
}

// begin looks at all sites and chooses those that take part.
func (p *pass) begin(ctx context.Context) error {
	r := p.r
	e := r.epoch.Load()
	p.epoch = e
	for i, err := range each(r.sites, func(s *site) error {
		v, err := r.sight(ctx, s)
		r.stand(s, v, err)
		return err
	}) {
		if err != nil {
			r.log("a site does not take part in reconciling", r.sites[i].Name, err)
			p.report.change(r.sites[i], func(v *SiteReport) { v.Absent = true })
			continue
		}
		s := r.sites[i]
		if st := s.stands(); slices.Contains(e.Sites, s.Name) && (st == current || st == behind) && !s.isQuarantined() && r.mayRead(ctx, s) {
			p.sites = append(p.sites, s)
		} else {
			p.report.change(s, func(v *SiteReport) { v.Absent = true })
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.later.Load() {
		return fail(ErrSuperseded)
	}
	p.home, p.adopt = r.home(), e.Forced || e.Adopt
	if p.home == nil || !contains(p.sites, p.home) {
		return fail(ErrHomeDown)
	}
	if p.home.stands() != current {
		return fail(ErrUnfinished)
	}
	return p.setLegal(ctx)
}

func (p *pass) setLegal(ctx context.Context) error {
	legal, err := p.r.legal(ctx)
	if err != nil {
		return err
	}
	for _, s := range legal {
		if contains(p.sites, s) {
			p.legal = append(p.legal, s)
		}
	}
	return nil
}

// finishIntents settles what is unfinished, at every site, and removes records of writes that never came.
func (p *pass) finishIntents(ctx context.Context) error {
	all, err := p.readDoubts(ctx)
	if err != nil {
		return err
	}
	byID := map[string]intentRecord{}
	for _, rec := range all {
		byID[rec.ID] = rec
	}
	for _, deletions := range []bool{true, false} { // first: they keep writes from being settled
		for id, rec := range byID {
			if deletions != (rec.Op == opDelete) {
				continue
			}
			if err := p.finishIntent(ctx, id, rec); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pass) finishIntent(ctx context.Context, id string, rec intentRecord) error {
	leave, err := p.enter()
	if err != nil {
		return err
	}
	defer leave()
	p.r.remember(rec)
	settled, err := p.r.finishOne(ctx, id)
	if err != nil {
		p.r.log("an unfinished write could not be finished", "", err)
		return ctx.Err()
	}
	if !settled {
		if settled, err = p.abandoned(ctx, rec); err != nil {
			return err
		}
	}
	if !settled {
		return nil
	}
	return p.removeIntent(ctx, rec)
}

// abandoned reports whether an intent is so old that its writer will not come back, and no site has its object.
func (p *pass) abandoned(ctx context.Context, rec intentRecord) (bool, error) {
	p.r.mu.Lock()
	own := p.r.mine[rec.ID]
	p.r.mu.Unlock()
	if own != nil || p.r.o.Now().Sub(rec.At) < p.o.Abandon {
		return false, nil
	}
	for _, s := range p.sites {
		if there, err := s.exists(ctx, rec.Key); err != nil || there {
			return false, err
		}
	}
	return true, nil
}

// removeIntent removes what is left of an intent.
func (p *pass) removeIntent(ctx context.Context, rec intentRecord) error {
	for _, s := range changeable(append(without(p.sites, p.home), p.home)) {
		if s.stands() != current {
			continue // its doubts are needed to judge what it has
		}
		if err := s.remove(ctx, intentPrefix+rec.ID); err != nil {
			return err
		}
		if d := p.doubts[rec.Key]; d != nil {
			delete(d, s)
		}
	}
	if len(p.doubts[rec.Key]) == 0 {
		delete(p.doubts, rec.Key)
	}
	p.r.forget(rec.ID)
	return nil
}

// compare goes through the listings.
func (p *pass) compare(ctx context.Context) error {
	const batch, workers = 64, 4
	type work struct {
		key  string
		need bool
	}
	var keys []work
	flush := func() error {
		g, c := errgroup.WithContext(ctx)
		g.SetLimit(workers)
		for _, w := range keys {
			if w.need {
				g.Go(func() error { return p.repair(c, w.key) })
			}
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if n := len(keys); n > 0 {
			p.report.Keys += int64(n)
			p.report.Cursor = keys[n-1].key
		}
		keys = keys[:0]
		return nil
	}
	err := walk(ctx, p.sites, p.o.After, func(key string, have []holding) error {
		keys = append(keys, work{key, !p.sound(key, have)})
		if len(keys) < batch {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		p.report.Cursor = ""
	}
	return err
}

// welcome lets a site take part that has been made equal to the home site.
func (r *Router) welcome(ctx context.Context, s *site) error {
	e := r.epoch.Load()
	if err := s.put(ctx, markerName, &marker{V: recordVersion, Site: s.Name, Subject: r.subject}); err != nil {
		return r.whose(ctx, s, err)
	}
	if err := s.put(ctx, e.name(), e); err != nil {
		return err
	}
	// A later epoch may have begun meanwhile: then the site is not current in it, whatever it says of this one.
	if err := r.outdated(ctx, s); err != nil {
		return err
	}
	if err := s.put(ctx, e.name()+readySuffix, &readyRecord{V: recordVersion, Site: s.Name}); err != nil {
		return err
	}
	s.setStanding(current, nil)
	s.recovered()
	return nil
}

// payDebts brings the sites that have missed a change to the state of the site that knows of it. What a read-only site has
// noted is not asked for: it could not be removed when it is paid, and would be believed for ever.
func (p *pass) payDebts(ctx context.Context) error {
	seen := map[string]bool{}
	p.owed = map[string]map[*site]bool{}
	for _, at := range changeable(append([]*site{p.home}, without(p.sites, p.home)...)) {
		var ids []string
		err := at.list(ctx, debtPrefix, func(name string) bool {
			ids = append(ids, name)
			return true
		})
		if err != nil {
			return err
		}
		for _, name := range ids {
			if seen[name] {
				continue
			}
			seen[name] = true
			var d debtRecord
			if err := at.get(ctx, name, &d); isNotFound(err) {
				continue
			} else if err != nil {
				return err
			}
			if err := p.payDebt(ctx, at, &d); err != nil {
				return fmt.Errorf("pay a debt: %w", err)
			}
		}
	}
	return nil
}

func (p *pass) payDebt(ctx context.Context, at *site, d *debtRecord) error {
	leave, err := p.enter()
	if err != nil {
		return err
	}
	defer leave()
	unlock, err := p.r.keys.lock(ctx, d.Key)
	if err != nil {
		return err
	}
	defer unlock()
	from := p.home
	if slices.Contains(d.Sites, from.Name) {
		from = at // a promotion made home of a site that had missed it
	}
	there, err := from.exists(ctx, d.Key)
	if err != nil {
		return err
	}
	var left []string
	for _, name := range d.Sites {
		s := p.r.site(name)
		if s == nil || !contains(p.sites, s) || from == s {
			left = append(left, name)
			continue
		}
		if done, err := p.payOne(ctx, d, from, s, there); err != nil && !errors.Is(err, errReadOnly) {
			return err
		} else if !done || err != nil {
			left = append(left, name)
			p.stillOwed(d, s)
			continue
		}
		p.report.paid(s)
	}
	if len(left) == len(d.Sites) || d.Buried && !there && p.doubts[d.Key] != nil {
		return nil
	}
	return p.settleDebt(ctx, d, left)
}

// settleDebt removes a debt that was paid, but to those left, of whom those sites that knew of it keep a new record.
func (p *pass) settleDebt(ctx context.Context, d *debtRecord, left []string) error {
	all := changeable(append(without(p.sites, p.home), p.home))
	if len(left) > 0 {
		rest := *d
		rest.ID, rest.Sites = shortDigest(d.ID + "/" + strings.Join(left, "/"))[:16], left
		kept := false
		for _, s := range all {
			there, err := s.exists(ctx, d.name())
			if err != nil {
				return err
			}
			ok, err := p.r.writable(ctx, s)
			if err != nil {
				return err
			}
			if there && ok {
				if err := s.put(ctx, rest.name(), &rest); err != nil {
					return err
				}
				kept = true
			}
		}
		if !kept {
			return nil // where it is nothing may be written
		}
	}
	for _, s := range all {
		if err := s.remove(ctx, d.name()); err != nil {
			return err
		}
	}
	return nil
}

// stillOwed notes that a site could not be given a change. Of a new object it may have another, which is compared.
func (p *pass) stillOwed(d *debtRecord, s *site) {
	if d.Op == opCreate {
		return
	}
	if p.owed[d.Key] == nil {
		p.owed[d.Key] = map[*site]bool{}
	}
	p.owed[d.Key][s] = true
}

// payOne brings one site to another's state of a key.
func (p *pass) payOne(ctx context.Context, d *debtRecord, from, to *site, there bool) (done bool, err error) {
	if !there {
		if d.Op != opDelete {
			return true, nil // deleted since; the deletion has a debt of its own
		}
		return true, to.remove(ctx, d.Key)
	}
	has, err := to.exists(ctx, d.Key)
	if err != nil {
		return false, err
	}
	if has {
		equal, err := same(ctx, d.Key, from, to)
		if equal || err != nil {
			return equal, err
		}
		if d.Op == opCreate {
			return false, nil // two objects of one key: for the comparison to judge
		}
	} else if !contains(p.legal, to) {
		return d.Op != opCreate, nil
	}
	if !contains(p.legal, to) {
		return false, nil
	}
	a, err := attributes(ctx, d.Key, from)
	if err != nil {
		return false, err
	}
	if err := p.transfer(ctx, d.Key, holding{from, a.Size}, to, !has); err != nil || from != p.home {
		return true, err
	}
	_, err = p.takeBack(ctx, d.Key, to)
	return true, err
}

func contains(sites []*site, s *site) bool { return slices.Contains(sites, s) }
