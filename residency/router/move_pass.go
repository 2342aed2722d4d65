package router

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"golang.org/x/sync/errgroup"

	"github.com/carekeep/carekeep/residency/evidence"
)

// listed is what the listings of some sites, in their order, show of a key; nil where a site does not have it.
type listed []*blob.ListObject

// walkObjects goes through the listings of several sites at once, as walk does, and says what each shows.
func walkObjects(ctx context.Context, sites []*site, after string, f func(key string, have listed) error) error {
	cursors := make([]*cursor, len(sites))
	for i, s := range sites {
		cursors[i] = &cursor{s: s, after: after, size: pageSize}
	}
	for {
		least, err := smallest(ctx, cursors)
		if err != nil || least == nil {
			return err
		}
		key, have := least.Key, make(listed, len(sites))
		for i, c := range cursors {
			o, err := c.peek(ctx)
			if err != nil {
				return err
			}
			if o != nil && o.Key == key {
				have[i] = o
			}
		}
		if !strings.HasPrefix(key, reserved) {
			if err := f(key, have); err != nil {
				return err
			}
		}
		for _, c := range cursors {
			c.pass(key)
		}
	}
}

// batch works on some keys at a time, in parallel, and takes the results in the order of the keys.
type batch struct {
	m    *mover
	out  *manifest         // nil: entries go nowhere
	each func(*movedEntry) // may be nil
	work []func(context.Context) (*movedEntry, error)
}

const batchSize = 64

// add takes work.
func (b *batch) add(ctx context.Context, f func(context.Context) (*movedEntry, error)) error {
	if b.work = append(b.work, f); len(b.work) < batchSize {
		return nil
	}
	return b.run(ctx)
}

// run does what was taken.
func (b *batch) run(ctx context.Context) error {
	entries := make([]*movedEntry, len(b.work))
	g, c := errgroup.WithContext(ctx)
	g.SetLimit(b.m.o.Workers)
	for i, f := range b.work {
		g.Go(func() (err error) {
			entries[i], err = f(c)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	b.work = b.work[:0]
	var n, bytes int64
	for _, e := range entries {
		if e == nil {
			continue
		}
		n, bytes = n+1, bytes+e.Size
		if b.each != nil {
			b.each(e)
		}
		if b.out != nil {
			if err := b.out.add(ctx, *e); err != nil {
				return err
			}
		}
	}
	b.m.progress(n, bytes)
	return ctx.Err()
}

// finish does the rest, and records it.
func (b *batch) finish(ctx context.Context) error {
	if err := b.run(ctx); err != nil || b.out == nil {
		return err
	}
	return b.out.flush(ctx)
}

// passes runs a pass again when another process has recorded what this one was about to: that is then the truth.
func (m *mover) passes(ctx context.Context, pass int, do func(w *manifest) error) error {
	for {
		w, err := m.resume(ctx, pass)
		if err == nil {
			err = do(w)
		}
		if err != errElsewhere {
			return err
		}
	}
}

// copyAll copies what the leaving site has, while everything goes on as before.
func (m *mover) copyAll(ctx context.Context) error {
	m.stage(evidence.Copied)
	home := m.r.home()
	if home == nil {
		return fail(ErrHomeDown)
	}
	return m.passes(ctx, 1, func(w *manifest) error {
		b := &batch{m: m, out: w}
		sites := []*site{home}
		if m.from != home && m.from.stands() != unseen {
			sites = append(sites, m.from)
		}
		err := walkObjects(ctx, sites, w.after, func(key string, have listed) error {
			if have[len(have)-1] == nil {
				return nil // it is not at the leaving site
			}
			return b.add(ctx, func(ctx context.Context) (*movedEntry, error) {
				if have[0] == nil {
					if back, err := m.restore(ctx, key); !back {
						return nil, err
					}
				}
				return m.bring(ctx, key, true)
			})
		})
		if err != nil {
			return err
		}
		return b.finish(ctx)
	})
}

// restore brings back to the home site what only the leaving site has, unless it is known that it was deleted. A
// deletion that the leaving site has missed is noted down before the home site carries it out, so the
// order of the questions matters.
func (m *mover) restore(ctx context.Context, key string) (back bool, err error) {
	home := m.r.home()
	for _, s := range []*site{home, m.from} {
		there, err := s.exists(ctx, key)
		if err != nil || there == (s == home) {
			return there && err == nil, err
		}
	}
	gone, err := m.missed(ctx, key, opDelete, m.from)
	if err != nil || gone {
		return false, err
	}
	if doubt, err := m.r.inDoubt(ctx, key, m.from); err != nil || doubt {
		return false, err // its writer has told nobody of it
	}
	m.r.log("the home site has lost an object that the leaving site has", home.Name, nil)
	err = transfer(ctx, key, m.from, home, true)
	if isTaken(err) {
		err = nil
	}
	return err == nil, err
}

// missed reports whether a site has missed a change of a key, of some kind. Who noted that may not be the home site,
// if another was promoted since.
func (m *mover) missed(ctx context.Context, key, op string, who *site) (bool, error) {
	home := m.r.home()
	for _, s := range append([]*site{home}, without(m.r.enrolled(), home)...) {
		if s != home && (s == who || !s.takes() || s.resting()) {
			continue
		}
		if found, err := s.debts(ctx, func(d *debtRecord) bool {
			return d.Key == key && d.Op == op && slices.Contains(d.Sites, who.Name)
		}); err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// debts reports whether any debt that is noted at a site is one that is looked for.
func (s *site) debts(ctx context.Context, is func(*debtRecord) bool) (bool, error) {
	var names []string
	if err := s.list(ctx, debtPrefix, func(name string) bool {
		names = append(names, name)
		return true
	}); err != nil {
		return false, err
	}
	for _, name := range names {
		var d debtRecord
		if err := s.get(ctx, name, &d); err != nil && !isNotFound(err) {
			return false, err
		} else if err == nil && is(&d) {
			return true, nil
		}
	}
	return false, nil
}

// fill changes the set of sites, and then brings to the targets what was written until then.
func (m *mover) fill(ctx context.Context) error {
	if m.mustPromote() {
		if m.rec.Promote == "" {
			return ErrLeavingHome // it was promoted since the plan was made
		}
		if _, err := m.r.Promote(ctx, Promotion{Home: m.rec.Promote, Person: m.rec.Person, Cause: m.rec.Cause}); err != nil {
			return err
		}
		if err := m.prepare(ctx); err != nil { // the new home site must know of the migration
			return err
		}
	}
	if err := m.change(ctx); err != nil {
		return err
	}
	if err := m.awaitDeletions(ctx); err != nil {
		return err
	}
	m.stage(evidence.Verified)
	if err := m.passes(ctx, 2, func(w *manifest) error { return m.fillFrom(ctx, w) }); err != nil {
		return err
	}
	if m.report.Kept > 0 {
		return m.short()
	}
	for _, s := range m.r.enrolled() {
		if s.stands() == filling {
			if err := m.r.welcome(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// awaitDeletions waits for those who were deleting something when the set of sites changed, and do not know of the
// targets. Each has an intent at the home site, put there before it looked for a later epoch. One whose process has ended
// does nothing more; its deletion was not reported.
func (m *mover) awaitDeletions(ctx context.Context) error {
	home := m.r.home()
	ids, err := m.r.intentsAt(ctx, home)
	if err != nil {
		return err
	}
	end := time.Now().Add(2 * home.Timeout)
	for _, id := range ids {
		for wait := time.Millisecond; ; wait = min(2*wait, time.Second) {
			var rec intentRecord
			err := home.get(ctx, intentPrefix+id, &rec)
			if isNotFound(err) || err == nil && (rec.Op != opDelete || rec.Epoch == m.r.epoch.Load().ID) {
				break
			}
			if err != nil {
				return err
			}
			if time.Now().After(end) {
				break
			}
			if err := sleep(ctx, wait); err != nil {
				return err
			}
		}
	}
	return nil
}

// sleep waits, unless the context ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mustPromote reports whether the leaving site is home, or a promotion was begun and not ended.
func (m *mover) mustPromote() bool {
	home := m.r.home()
	return home == m.from || home != nil && home.Name == m.rec.Promote && !m.r.ready.Load() && m.r.epoch.Load().Move == ""
}

// change changes the set of sites, if that has not been done.
func (m *mover) change(ctx context.Context) error {
	if err := m.r.follow(ctx); err != nil {
		return err
	}
	e := m.r.epoch.Load()
	sites := slices.DeleteFunc(slices.Clone(e.Sites), func(name string) bool { return name == m.from.Name })
	for _, s := range m.to {
		if !slices.Contains(sites, s.Name) {
			sites = append(sites, s.Name)
		}
	}
	if slices.Equal(sites, e.Sites) {
		return m.r.finishSwitch(ctx)
	}
	if err := m.r.affords(ctx, sites, m.rec.To); err != nil {
		return err
	}
	// What was written until now counted on the leaving site, so that some site must not be believed when it says that
	// an object is nowhere: the targets, or else all.
	fill := slices.Clone(m.rec.To)
	if len(fill) == 0 || slices.Equal(fill, []string{e.Home}) {
		fill = slices.DeleteFunc(slices.Clone(sites), func(name string) bool { return name == e.Home })
	}
	fill = slices.DeleteFunc(fill, func(name string) bool { return name == e.Home })
	left := slices.DeleteFunc(slices.Clone(e.Left), func(name string) bool { return slices.Contains(sites, name) })
	if err := m.r.switchTo(ctx, m.rec, sites, fill, append(left, m.from.Name)); err != nil {
		return err
	}
	return m.r.evidence(ctx, evidence.KindMove, m.rec.From, m.rec.evidence(evidence.Switched, 0, 0))
}

// fillFrom is the second pass, over everything that the home site has.
func (m *mover) fillFrom(ctx context.Context, w *manifest) error {
	home := m.r.home()
	sites := append([]*site{home}, without(m.r.enrolled(), home)...)
	if m.from.stands() != unseen {
		sites = append(sites, m.from)
	}
	first := &manifestReader{m: m, pass: 1}
	b := &batch{m: m, out: w}
	var mu sync.Mutex
	err := walkObjects(ctx, sites, w.after, func(key string, have listed) error {
		known, err := first.at(ctx, key)
		if err != nil {
			return err
		}
		v := m.weigh(sites, have)
		switch {
		case have[0] == nil:
			return b.add(ctx, func(ctx context.Context) (*movedEntry, error) { return m.reconsider(ctx, key, v) })
		case known != nil && m.still(known, have[0], v):
			e := *known
			return b.add(ctx, func(context.Context) (*movedEntry, error) { return &e, nil })
		case !v.atFrom && v.enough:
			return nil
		}
		return b.add(ctx, func(ctx context.Context) (*movedEntry, error) {
			e, err := m.bring(ctx, key, v.atFrom)
			if err == nil && e != nil && !e.Good {
				mu.Lock()
				m.keep(key)
				mu.Unlock()
			}
			return e, err
		})
	})
	if err != nil {
		return err
	}
	return b.finish(ctx)
}

// weight is what listings show of a key beside what the home site has.
type weight struct {
	atFrom  bool
	targets bool    // all targets have it
	others  []*site // the other sites that have it, and are not being filled
	enough  bool    // the sites that have it give the placement
}

// weigh looks at who has a key in the home site's length.
func (m *mover) weigh(sites []*site, have listed) weight {
	v := weight{targets: true}
	var copies []*site
	for i, s := range sites {
		o := have[i]
		switch {
		case s == m.from:
			v.atFrom = o != nil
		case o == nil:
			v.targets = v.targets && !contains(m.to, s)
		case have[0] == nil || o.Size == have[0].Size:
			if s.stands() == current && i > 0 {
				v.others = append(v.others, s)
			}
			if m.legal(s) {
				copies = append(copies, s)
			}
		}
	}
	v.enough = len(m.r.lacks(copies)) == 0
	return v
}

// legal reports whether a copy at a site counts, by the decision in use.
func (m *mover) legal(s *site) bool {
	s.mu.Lock()
	d := s.decision
	s.mu.Unlock()
	return m.r.canWrite(s, d)
}

// still reports whether what the first pass found holds: the object was written before the migration began and has
// not been written since, and the listings show it where it has to be. After a promotion nothing is
// believed, because another site's clock counts.
func (m *mover) still(e *movedEntry, o *blob.ListObject, v weight) bool {
	return m.rec.Home == m.r.epoch.Load().Home && e.Good && !e.Odd && e.Size == o.Size && e.Time == o.ModTime.UnixNano() &&
		o.ModTime.Before(m.begun) && v.targets && v.enough
}

// reconsider handles a key that the home site does not have, after the set of sites has changed. What another site has
// that is not being filled is lost at the home site. What only the targets have, or the leaving site, was
// deleted since, or its writer told nobody of it.
func (m *mover) reconsider(ctx context.Context, key string, v weight) (*movedEntry, error) {
	home := m.r.home()
	there, err := home.exists(ctx, key)
	if err != nil {
		return nil, err
	}
	if there {
		return m.bring(ctx, key, v.atFrom)
	}
	if ok, err := m.r.writable(ctx, home); err != nil {
		return nil, err
	} else if !ok && len(v.others) > 0 {
		return nil, m.r.denied(ctx, []string{"the home site"})
	}
	for _, s := range v.others {
		if gone, err := m.missed(ctx, key, opDelete, s); err != nil {
			return nil, err
		} else if gone {
			continue
		}
		if doubt, err := m.r.inDoubt(ctx, key, s); err != nil || doubt {
			return nil, err
		}
		err := transfer(ctx, key, s, home, true)
		if isNotFound(err) {
			continue
		}
		if err != nil && !isTaken(err) {
			return nil, err
		}
		return m.bring(ctx, key, v.atFrom)
	}
	for _, s := range m.to {
		if s.stands() != filling {
			continue
		}
		if err := s.remove(ctx, key); err != nil {
			return nil, err
		}
		// A write that came meanwhile has the home site before the target, and may have lost it there.
		if there, err := home.exists(ctx, key); err != nil {
			return nil, err
		} else if there {
			return m.bring(ctx, key, v.atFrom)
		}
	}
	return nil, nil
}

// keep notes an object that cannot be deleted yet.
func (m *mover) keep(key string) {
	if m.report.Kept++; len(m.report.KeptKeys) < maxReported {
		m.report.KeptKeys = append(m.report.KeptKeys, key)
	}
}

// inDoubt reports whether a site has an intent about a key.
func (r *Router) inDoubt(ctx context.Context, key string, s *site) (bool, error) {
	ids, err := r.intentsAt(ctx, s)
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		var rec intentRecord
		if err := s.get(ctx, intentPrefix+id, &rec); err != nil && !isNotFound(err) {
			return false, err
		} else if err == nil && rec.Key == key {
			return true, nil
		}
	}
	return false, nil
}
