package router

import (
	"context"
	"slices"
)

// delete removes an object everywhere: at the home site last, so that what another site has and the home site lacks
// is a loss at the home site, and never garbage. Sites that do not answer owe it.
func (r *Router) delete(ctx context.Context, key string) error {
	r.gate.RLock()
	defer r.gate.RUnlock()
	unlock, err := r.keys.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	p, err := r.deletePlan(ctx)
	if err != nil {
		return err
	}
	there, err := p.home.exists(ctx, key)
	if err != nil {
		return r.homeDown(ctx, err)
	}
	if !there {
		return notFound()
	}
	own := r.intend(key, opDelete, p)
	own.ask()
	if err := p.home.put(ctx, own.name(), &own.intentRecord); err != nil {
		own.settle(false)
		r.withdraw(ctx, own, []*site{p.home})
		return r.homeDown(ctx, err)
	}
	if err = r.warnOthers(ctx, &own.intentRecord, p); err == nil {
		err = r.deleteAt(ctx, &own.intentRecord, p)
	}
	own.settle(err == nil)
	return err
}

// deletePlan is where a deletion goes: to every site that may be changed, lawful or not, since to remove data from
// where it may not be is never unlawful. The home site must be lawful, because it gets an intent, which holds the key.
func (r *Router) deletePlan(ctx context.Context) (*plan, error) {
	if err := r.follow(ctx); err != nil {
		return nil, err
	}
	home := r.home()
	if home == nil {
		return nil, fail(ErrHomeDown)
	}
	if ok, err := r.writable(ctx, home); err != nil {
		return nil, err
	} else if !ok {
		return nil, r.denied(ctx, []string{"the home site"})
	}
	if err := r.homeReady(ctx, home); err != nil {
		return nil, err
	}
	p := &plan{epoch: r.epoch.Load().ID, home: home, want: r.enrolled(), try: []*site{home}}
	for _, s := range p.want {
		r.revive(ctx, s)
		if s != home && s.takes() && !s.ReadOnly && !s.isQuarantined() && !s.resting() {
			p.try = append(p.try, s)
		}
	}
	return p, nil
}

func (r *Router) homeDown(ctx context.Context, err error) error {
	if cerr := ctx.Err(); cerr != nil {
		return cerr
	}
	return fail(ErrHomeDown, err)
}

// deleteAt removes the object at the other sites, notes down who missed it, and removes it at the home site.
func (r *Router) deleteAt(ctx context.Context, rec *intentRecord, p *plan) error {
	if err := r.unspread(ctx, rec, p); err != nil {
		return err
	}
	if err := p.home.remove(ctx, rec.Key); err != nil {
		return r.homeDown(ctx, err)
	}
	if there, err := p.home.exists(ctx, rec.name()); err != nil || !there {
		if err := r.sweepAgain(ctx, rec, p); err != nil {
			return err
		}
	}
	if err := p.home.remove(ctx, rec.name()); err == nil {
		r.forget(rec.ID)
	}
	return nil
}

// warnOthers notes a deletion for every other site if a write of the key is under way or was left unfinished, because whoever
// settles that can make a copy after the others were asked to delete theirs, and be killed before he looks whether he should have.
// He puts an intent before he looks for the deletion's, and this looks after the deletion's was put: one sees the other.
func (r *Router) warnOthers(ctx context.Context, rec *intentRecord, p *plan) error {
	busy, err := r.underWay(ctx, p.home, rec.Key, func(i *intentRecord) bool { return i.Op != opDelete && i.ID != rec.ID })
	if err != nil {
		return r.homeDown(ctx, err)
	}
	if busy == nil {
		return nil
	}
	return r.bury(ctx, rec, p)
}

// sweepAgain removes what somebody has copied who took the deletion for that of a process which was killed.
func (r *Router) sweepAgain(ctx context.Context, rec *intentRecord, p *plan) error {
	if err := r.bury(ctx, rec, p); err != nil {
		return err
	}
	each(without(p.try, p.home), func(s *site) error { return s.remove(ctx, rec.Key) }) // what fails is noted
	return ctx.Err()
}

// bury notes that a key is deleted, wherever else a copy of it may turn up.
func (r *Router) bury(ctx context.Context, rec *intentRecord, p *plan) error {
	others := without(r.enrolled(), p.home)
	if len(others) == 0 {
		return nil
	}
	d := &debtRecord{V: recordVersion, ID: rec.ID + "-buried", Key: rec.Key, Op: rec.Op, Sites: names(others), At: rec.At, Buried: true}
	return r.note(ctx, d, p.try)
}

// settleDelete finishes a deletion that the home site has carried out.
func (r *Router) settleDelete(ctx context.Context, rec *intentRecord, p *plan) error {
	p.want = r.enrolled()
	if err := r.unspread(ctx, rec, p); err != nil {
		return err
	}
	if err := p.home.remove(ctx, rec.name()); err != nil {
		return err
	}
	r.forget(rec.ID)
	return nil
}

func (r *Router) unspread(ctx context.Context, rec *intentRecord, p *plan) error {
	errs := each(p.try, func(s *site) error {
		if err := r.outdated(ctx, s); err != nil || s == p.home {
			return err
		}
		return s.remove(ctx, rec.Key)
	})
	if r.moved(p) {
		next, err := r.deletePlan(ctx) // of the sites as a move has left them
		if err != nil {
			return err
		}
		*p = *next
		return r.unspread(ctx, rec, p)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var reached, owed []*site
	for i, s := range p.try {
		if errs[i] == nil {
			reached = append(reached, s)
		} else if s == p.home {
			return r.homeDown(ctx, errs[i])
		}
	}
	for _, s := range p.want {
		if !slices.Contains(reached, s) {
			owed = append(owed, s)
		}
	}
	if len(owed) == 0 {
		return nil
	}
	return r.owe(ctx, rec, owed, reached)
}
