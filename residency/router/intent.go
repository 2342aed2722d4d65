package router

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/carekeep/carekeep/internal/observe"
)

// ownIntent is an intent of this router.
type ownIntent struct {
	intentRecord
	epochID string
	mu      sync.Mutex
	phase   phase
	done    chan struct{} // closed when the phase is past asked
}

type phase int

const (
	flowing phase = iota // the home site cannot have the object by this write
	asked                // it may have
	done                 // enough sites have it
	failed               // it may have, and this write does no more about it
)

// intend makes an intent, which is not yet anywhere.
func (r *Router) intend(key, op string, p *plan) *ownIntent {
	e := r.epoch.Load()
	o := &ownIntent{epochID: e.ID, done: make(chan struct{})}
	o.intentRecord = intentRecord{
		V: recordVersion, ID: r.id[:6] + randomID(), Key: key, Op: op, Writer: r.id, Epoch: e.ID,
		Sites: names(p.want), At: r.o.Now().UTC().Truncate(time.Second),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mine[o.ID] = o
	return o
}

// ask says that the home site is now being asked.
func (o *ownIntent) ask() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.phase = asked
}

// settle ends this write's part.
func (o *ownIntent) settle(ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.phase >= done {
		return
	}
	o.phase = failed
	if ok {
		o.phase = done
	}
	close(o.done)
}

// forget drops an intent from this router's memory.
func (r *Router) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.mine, id)
	delete(r.read, id)
}

// withdraw takes an intent back that is about nothing, or no longer needed. What cannot be removed now does no
// harm: whoever finds it looks and removes it.
func (r *Router) withdraw(ctx context.Context, o *ownIntent, sites []*site) {
	c := context.WithoutCancel(ctx)
	errs := each(sites, func(s *site) error { return s.remove(c, o.name()) })
	if !slices.ContainsFunc(errs, isError) {
		r.forget(o.ID)
	}
}

// intentsAt lists the intents at a site.
func (r *Router) intentsAt(ctx context.Context, s *site) (ids []string, err error) {
	err = s.list(ctx, intentPrefix, func(name string) bool {
		ids = append(ids, name[len(intentPrefix):])
		return true
	})
	return ids, err
}

// underWay returns an intent about a key at a site that is one of those looked for; nil if there is none.
func (r *Router) underWay(ctx context.Context, at *site, key string, is func(*intentRecord) bool) (*intentRecord, error) {
	ids, err := r.intentsAt(ctx, at)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		r.mu.Lock()
		rec, known := r.read[id]
		if own := r.mine[id]; own != nil {
			rec, known = own.intentRecord, true
		}
		r.mu.Unlock()
		if !known {
			if err := at.get(ctx, intentPrefix+id, &rec); isNotFound(err) {
				continue
			} else if err != nil {
				return nil, err
			}
			r.remember(rec)
		}
		if rec.Key == key && is(&rec) {
			return &rec, nil
		}
	}
	return nil, nil
}

// deleting returns an intent of another router at the home site to delete a key. This one works on one change of a key at a
// time.
func (r *Router) deleting(ctx context.Context, home *site, key string) (*intentRecord, error) {
	return r.underWay(ctx, home, key, func(rec *intentRecord) bool { return rec.Op == opDelete && rec.Writer != r.id })
}

// rollForward finishes what is unfinished at the home site.
func (r *Router) rollForward(ctx context.Context) error {
	home := r.home()
	if home == nil || home.stands() != current {
		return nil
	}
	ids, err := r.intentsAt(ctx, home)
	if err != nil {
		return err
	}
	return r.finishOthers(ctx, ids)
}

// finishOthers brings what the intents are about to where it has to be, so that what is reported after it never
// rests on less.
func (r *Router) finishOthers(ctx context.Context, ids []string) error {
	for _, id := range ids {
		rec, err := r.unfinished(ctx, id)
		if err != nil {
			return err
		}
		// Nobody relies on what is being deleted, and to bring it back would get in the way of who deletes it.
		if rec == nil || rec.Op == opDelete {
			continue
		}
		if _, err := r.settleKey(ctx, rec); err != nil {
			if isDeletion(err) {
				continue // the same
			}
			if there, herr := r.home().exists(ctx, rec.name()); herr == nil && !there {
				continue // whoever wrote it was quicker, and may even have deleted it again
			}
			return err
		}
	}
	return nil
}

// finishOne settles one intent, and reports whether its object was seen and brought to where it has to be.
func (r *Router) finishOne(ctx context.Context, id string) (settled bool, err error) {
	rec, err := r.unfinished(ctx, id)
	if err != nil || rec == nil {
		return false, err
	}
	settled, err = r.settleKey(ctx, rec)
	if isDeletion(err) {
		return false, nil
	}
	return settled, err
}

// unfinished returns what an intent says, or nil if nothing has to be done about it.
func (r *Router) unfinished(ctx context.Context, id string) (*intentRecord, error) {
	r.mu.Lock()
	own := r.mine[id]
	rec, known := r.read[id]
	r.mu.Unlock()
	if own != nil {
		own.mu.Lock()
		p := own.phase
		own.mu.Unlock()
		switch p {
		case flowing, done:
			return nil, nil // nobody can have seen it; or it is where it has to be
		case asked:
			select {
			case <-own.done:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return r.unfinished(ctx, id)
		}
		rec, known = own.intentRecord, true
	}
	if !known {
		if err := r.home().get(ctx, intentPrefix+id, &rec); isNotFound(err) {
			return nil, nil // it has been finished meanwhile
		} else if err != nil {
			return nil, err
		}
		r.remember(rec)
	}
	return &rec, nil
}

// remember keeps a record that need not be read again, as long as there are not many.
func (r *Router) remember(rec intentRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.read) > 1024 {
		clear(r.read)
	}
	r.read[rec.ID] = rec
}

// settleKey brings the sites to the home site's state of a key, and then removes the intent that said that they may
// not be. It reports whether there was anything to bring.
func (r *Router) settleKey(ctx context.Context, rec *intentRecord) (settled bool, err error) {
	unlock, err := r.keys.lock(ctx, rec.Key)
	if err != nil {
		return false, err
	}
	defer unlock()
	home := r.home()
	there, err := home.exists(ctx, rec.Key)
	if err != nil {
		return false, err
	}
	if !there && rec.Op != opDelete {
		return false, nil // its writer may be about to write; what is not there, nobody relies on
	}
	p, err := r.place(ctx, rec.Op != opCreate)
	if err != nil {
		return false, err
	}
	if !there {
		err = r.settleDelete(ctx, rec, p)
	} else {
		err = r.settleOther(ctx, rec, p)
	}
	return err == nil, err
}

// settleOther settles a write that somebody has left, or takes a deletion back that was not carried out at the home site,
// under an intent of its own, by which who deletes the object sees that it is copied.
//
// Whose deletion is taken back may be alive. His intent goes before the first copy: if it is still there when the home site has
// carried the deletion out, nobody has copied anything.
func (r *Router) settleOther(ctx context.Context, rec *intentRecord, p *plan) error {
	op := rec.Op
	if op == opDelete {
		op = opPut
	}
	own := r.intend(rec.Key, op, p)
	own.ask()
	err := p.home.put(ctx, own.name(), &own.intentRecord)
	switch {
	case err != nil:
	case rec.Op != opDelete:
		err = r.settleWrite(ctx, rec, p)
	default:
		if err = p.home.remove(ctx, rec.name()); err == nil {
			r.forget(rec.ID)
			err = r.settleWrite(ctx, &own.intentRecord, p)
		}
	}
	own.settle(err == nil)
	switch {
	case rec.Op != opDelete:
		r.withdraw(ctx, own, []*site{p.home})
	case isDeletion(err):
		r.withdraw(ctx, own, append(without(p.try, p.home), p.home))
	}
	return err
}

// settleWrite brings an object that the home site has to the others, unless it is being deleted. An intent of this router
// about it is at the home site.
func (r *Router) settleWrite(ctx context.Context, rec *intentRecord, p *plan) error {
	if del, err := r.deleting(ctx, p.home, rec.Key); err != nil {
		return err
	} else if del != nil {
		return fail(errDeleting)
	}
	if err := r.flush(ctx, rec.Key, p.home); isNotFound(err) {
		return fail(errDeleted)
	} else if err != nil {
		return err
	}
	made := make([]bool, len(p.try))
	errs := each(p.try, func(s *site) error {
		if s == p.home {
			return nil
		}
		copied, err := r.ensure(ctx, rec.Key, p.home, s, rec)
		made[slices.Index(p.try, s)] = copied
		return err
	})
	if there, err := p.home.exists(ctx, rec.Key); err != nil {
		return err
	} else if !there { // who deleted it need not have seen the copies
		each(p.try, func(s *site) error {
			if made[slices.Index(p.try, s)] {
				return s.remove(ctx, rec.Key)
			}
			return nil
		})
		return fail(errDeleted)
	}
	var reached []*site
	for i, err := range errs {
		if err == nil {
			reached = append(reached, p.try[i])
		}
	}
	return r.conclude(ctx, rec, p, reached, errs)
}

// conclude ends a change that has reached some sites: it checks that nobody has begun another epoch and that the
// sites are enough, notes down what is missing elsewhere, and removes the intents.
func (r *Router) conclude(ctx context.Context, rec *intentRecord, p *plan, reached []*site, errs []error) error {
	checks := each(reached, func(s *site) error { return r.outdated(ctx, s) })
	var sure []*site
	for i, err := range checks {
		switch {
		case r.moved(p):
			next, err := r.place(ctx, rec.Op != opCreate) // of the sites as a move has left them
			if err != nil {
				return err
			}
			*p = *next
			return r.settleWrite(ctx, rec, p)
		case err == nil:
			sure = append(sure, reached[i])
		default:
			errs = append(errs, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if lacks := r.lacks(sure); len(lacks) > 0 || !slices.Contains(sure, p.home) {
		return fail(ErrTooFewSites, errs...)
	}
	owed := r.owing(rec, p, sure)
	if len(owed) > 0 {
		if err := r.owe(ctx, rec, owed, sure); err != nil {
			return err
		}
	}
	// The home site's intent goes last: by it the others are found.
	removed := each(without(sure, p.home), func(s *site) error { return s.remove(ctx, rec.name()) })
	if !slices.ContainsFunc(removed, isError) {
		if err := p.home.remove(ctx, rec.name()); err == nil {
			r.forget(rec.ID)
		}
	}
	return nil
}

// owing are the sites that have missed a change: those that were wanted, and of an object that may have replaced
// another all that may hold the older one.
func (r *Router) owing(rec *intentRecord, p *plan, reached []*site) []*site {
	from := p.want
	if rec.Op != opCreate {
		from = r.enrolled()
	} else if len(reached) >= r.copies() {
		return nil
	}
	var out []*site
	for _, s := range from {
		if !slices.Contains(reached, s) {
			out = append(out, s)
		}
	}
	return out
}

// owe records a debt. For a new object the home site's record is enough, because a comparison of listings would find
// what is missing; of a change of an old one every site that knows it has to tell, whichever will be home. But a deletion
// reaches sites that may not be written, and these get no record: they cannot become home.
func (r *Router) owe(ctx context.Context, rec *intentRecord, owed, reached []*site) error {
	d := &debtRecord{V: recordVersion, ID: rec.ID, Key: rec.Key, Op: rec.Op, Sites: names(owed), At: rec.At}
	if err := r.note(ctx, d, reached); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range owed {
		r.newDebts[s.Name]++
		r.seen.Count(ctx, observe.DebtsTaken, s.Name, 1)
	}
	return nil
}

// note puts the record of a debt at the home site, and at those of the sites that know of it that have to.
func (r *Router) note(ctx context.Context, d *debtRecord, reached []*site) error {
	at := []*site{r.home()}
	if d.Op != opCreate {
		for _, s := range without(reached, r.home()) {
			if ok, err := r.writable(ctx, s); err != nil {
				return err
			} else if ok {
				at = append(at, s)
			}
		}
	}
	for _, err := range each(at, func(s *site) error {
		err := s.put(ctx, d.name(), d)
		if err != nil && ctx.Err() == nil {
			// An earlier attempt may have recorded other sites; the debt is then known, which is what counts.
			if there, lerr := s.exists(ctx, d.name()); lerr == nil && there {
				return nil
			}
		}
		return err
	}) {
		if err != nil {
			return fail(ErrTooFewSites, err)
		}
	}
	return nil
}

func without(sites []*site, not *site) []*site {
	var out []*site
	for _, s := range sites {
		if s != not {
			out = append(out, s)
		}
	}
	return out
}
