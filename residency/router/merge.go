package router

import (
	"context"
	"crypto/sha256"
	"io"
	"slices"
	"strings"
	"sync"

	"gocloud.dev/blob"
	"golang.org/x/time/rate"
)

// holding is a copy that a listing shows.
type holding struct {
	s    *site
	size int64
}

// walk goes through the listings of several sites at once, in the order of the keys, and calls f with each key that
// any of them has. It keeps one page of each listing.
func walk(ctx context.Context, sites []*site, after string, f func(key string, have []holding) error) error {
	cursors := make([]*cursor, len(sites))
	for i, s := range sites {
		cursors[i] = &cursor{s: s, after: after, size: pageSize}
	}
	for {
		least, err := smallest(ctx, cursors)
		if err != nil || least == nil {
			return err
		}
		key := least.Key
		var have []holding
		for _, c := range cursors {
			o, err := c.peek(ctx)
			if err != nil {
				return err
			}
			if o != nil && o.Key == key {
				have = append(have, holding{c.s, o.Size})
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

// pass is one comparison of sites, by Reconcile or after a promotion.
type pass struct {
	r      *Router
	o      ReconcileOptions
	epoch  *epochRecord
	home   *site
	sites  []*site // that take part
	legal  []*site // of these, those that may be written
	doubts map[string]map[*site]bool
	limit  *rate.Limiter
	report *ReconcileReport
	// owed are the keys of which a site has missed a change, and could not be given it: what it has there says nothing.
	owed map[string]map[*site]bool
	// noted are debts at the home site that were read, by name.
	noted   map[string]*debtRecord
	reading sync.Mutex
	// adopt says that what only a site behind the epoch has may have been reported, so that it is brought back.
	adopt bool
	// force says that the home site wins where nothing else decides.
	force bool
	// united are the keys in doubt that have been brought into order, if anybody wants to know.
	united map[string]bool
}

// enter keeps promotions by the same router out, until leave is called. It fails if there was one since the comparison
// began: then the home site that it goes by is not that any more. A promotion's own comparison need not be kept
// from it.
func (p *pass) enter() (leave func(), err error) {
	if p.united != nil {
		return func() {}, nil
	}
	p.r.gate.RLock()
	if p.r.epoch.Load() != p.epoch || p.r.later.Load() {
		p.r.gate.RUnlock()
		return nil, fail(ErrSuperseded)
	}
	return p.r.gate.RUnlock, nil
}

// readDoubts notes which keys have an intent at which site.
func (p *pass) readDoubts(ctx context.Context) ([]intentRecord, error) {
	p.doubts = map[string]map[*site]bool{}
	var all []intentRecord
	for _, s := range p.sites {
		ids, err := p.r.intentsAt(ctx, s)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			var rec intentRecord
			if err := s.get(ctx, intentPrefix+id, &rec); isNotFound(err) {
				continue
			} else if err != nil {
				return nil, err
			}
			if p.doubts[rec.Key] == nil {
				p.doubts[rec.Key] = map[*site]bool{}
			}
			p.doubts[rec.Key][s] = true
			all = append(all, rec)
		}
	}
	return all, nil
}

// counting are the copies of a key that are not known to be out of date.
func (p *pass) counting(key string, have []holding) []holding {
	owed := p.owed[key]
	if owed == nil {
		return have
	}
	return slices.DeleteFunc(slices.Clone(have), func(h holding) bool { return owed[h.s] })
}

// sound reports whether nothing is to be done about a key.
func (p *pass) sound(key string, have []holding) bool {
	have = p.counting(key, have)
	if p.o.Deep || p.doubts[key] != nil {
		return false
	}
	if len(have) == 0 {
		return true
	}
	var legal []*site
	atHome := false
	for _, h := range have {
		if h.size != have[0].size || h.s.stands() != current && !p.holds(have, p.home) {
			return false
		}
		atHome = atHome || h.s == p.home
		if contains(p.legal, h.s) {
			legal = append(legal, h.s)
		}
	}
	return atHome && p.complete(legal)
}

func (p *pass) holds(have []holding, s *site) bool {
	for _, h := range have {
		if h.s == s {
			return true
		}
	}
	return false
}

// complete reports whether sites are all that an object needs.
func (p *pass) complete(sites []*site) bool {
	return len(sites) >= min(p.r.copies(), len(p.legal)) && (len(sites) == len(p.legal) || len(p.r.lacks(sites)) == 0)
}

// repair brings a key into order: one object, at the home site and at as many others as there shall be.
func (p *pass) repair(ctx context.Context, key string) error {
	leave, err := p.enter()
	if err != nil {
		return err
	}
	defer leave()
	unlock, err := p.r.keys.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	have, err := p.holdings(ctx, key)
	if err == nil {
		have, err = p.dead(ctx, key, p.counting(key, have))
	}
	if err != nil || len(have) == 0 {
		return err
	}
	if done, err := p.orphan(ctx, key, have); done || err != nil {
		return err
	}
	right, wrong, err := p.judge(ctx, key, have)
	if err != nil || len(right) == 0 {
		return err
	}
	if right, err = p.correctAll(ctx, key, right, wrong); err != nil {
		return err
	}
	if p.doubts[key] == nil && p.holds(right, p.home) {
		return p.fill(ctx, key, right, nil)
	}
	if err := p.fillDoubted(ctx, key, right); err != nil {
		return err
	}
	p.report.mu.Lock()
	defer p.report.mu.Unlock()
	if p.united != nil && p.doubts[key] != nil {
		p.united[key] = true
	}
	return nil
}

// fillDoubted copies an object that perhaps nobody was told of, or that the home site does not have. As with a write, an
// intent goes first wherever it goes.
func (p *pass) fillDoubted(ctx context.Context, key string, right []holding) error {
	own := p.r.intend(key, opCreate, &plan{home: p.home, want: p.legal})
	own.ask()
	err := p.fill(ctx, key, right, own)
	own.settle(err == nil)
	if err != nil {
		return err
	}
	p.r.withdraw(ctx, own, append(without(p.sites, p.home), p.home))
	return nil
}

// holdings asks the sites again who has a key: a listing may be old. The home site is asked first: a deletion
// removes what others have before what the home site has, so what it lacks and another has afterwards is lost there.
func (p *pass) holdings(ctx context.Context, key string) ([]holding, error) {
	var out []holding
	for _, s := range append([]*site{p.home}, without(p.sites, p.home)...) {
		a, err := attributes(ctx, key, s)
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, holding{s, a.Size})
	}
	return out, nil
}

// orphan handles a key that only sites behind the epoch have: it was deleted since, or never reported. It is kept
// aside there, or at the home site where nothing more may be written.
func (p *pass) orphan(ctx context.Context, key string, have []holding) (done bool, err error) {
	if p.adopt {
		return false, nil
	}
	for _, h := range have {
		if h.s.stands() == current {
			return false, nil
		}
	}
	for _, h := range have {
		at := h.s
		if !contains(p.legal, at) {
			at = p.home
		}
		if !contains(p.legal, at) || h.s.ReadOnly {
			p.report.failed(h.s)
			continue
		}
		if err := p.r.setAside(ctx, key, h.s, at); err != nil {
			return true, err
		}
		if err := h.s.remove(ctx, key); err != nil {
			return true, err
		}
		p.report.aside(key, h.s)
	}
	return true, nil
}

// judge parts the copies of a key into those that are right and those that are not. Where that cannot be told, both
// are empty and the key is reported.
func (p *pass) judge(ctx context.Context, key string, have []holding) (right, wrong []holding, err error) {
	if !p.mustCompare(key, have) {
		return have, nil, nil
	}
	groups := map[[sha256.Size]byte][]holding{}
	var order [][sha256.Size]byte
	for _, h := range have {
		sum, n, err := digest(ctx, key, h.s)
		if err != nil && ctx.Err() != nil {
			return nil, nil, err
		}
		if err != nil {
			p.report.failed(h.s)
			continue
		}
		p.report.compared(n)
		if groups[sum] == nil {
			order = append(order, sum)
		}
		groups[sum] = append(groups[sum], holding{h.s, n})
	}
	if len(order) == 0 {
		return nil, nil, nil
	}
	winner, err := p.winner(ctx, key, groups, order)
	if err != nil || winner < 0 {
		if err == nil {
			p.report.undecided(key)
		}
		return nil, nil, err
	}
	for i, sum := range order {
		if i == winner {
			right = groups[sum]
		} else {
			wrong = append(wrong, groups[sum]...)
		}
	}
	return right, wrong, nil
}

// mustCompare reports whether the bytes of a key's copies have to be read.
func (p *pass) mustCompare(key string, have []holding) bool {
	if p.o.Deep || p.doubts[key] != nil && len(have) > 1 {
		return true
	}
	for _, h := range have {
		if h.size != have[0].size {
			return true
		}
	}
	return false
}

// winner returns which group of equal copies is right: the only one; the one that is not in doubt; that of the sites
// that are current; the one that the caller's check accepts; that of more than half of the copies; -1 if
// nothing tells.
func (p *pass) winner(ctx context.Context, key string, groups map[[sha256.Size]byte][]holding, order [][sha256.Size]byte) (int, error) {
	if i := p.only(groups, order, func(holding) bool { return true }); i >= 0 && (p.o.Verify == nil || !p.o.Deep) {
		return i, nil
	}
	if i := p.only(groups, order, func(h holding) bool { return !p.doubts[key][h.s] }); i >= 0 && len(order) > 1 {
		return i, nil
	}
	if i := p.only(groups, order, func(h holding) bool { return h.s.stands() == current }); i >= 0 && len(order) > 1 && !p.adopt {
		return i, nil
	}
	if p.o.Verify != nil {
		return p.verified(ctx, key, groups, order)
	}
	return p.majority(groups, order), nil
}

// majority returns the group of more than half of the copies; after a promotion, if there is none, that of the home
// site; else -1.
func (p *pass) majority(groups map[[sha256.Size]byte][]holding, order [][sha256.Size]byte) int {
	all, atHome := 0, -1
	for i, sum := range order {
		all += len(groups[sum])
		if p.force && p.holds(groups[sum], p.home) {
			atHome = i
		}
	}
	for i, sum := range order {
		if 2*len(groups[sum]) > all {
			return i
		}
	}
	return atHome
}

// only returns the one group that has a copy of which f is true, or -1.
func (p *pass) only(groups map[[sha256.Size]byte][]holding, order [][sha256.Size]byte, f func(holding) bool) int {
	found := -1
	for i, sum := range order {
		for _, h := range groups[sum] {
			if f(h) {
				if found >= 0 && found != i {
					return -1
				}
				found = i
			}
		}
	}
	return found
}

// verified returns the one group that the caller's check accepts.
func (p *pass) verified(ctx context.Context, key string, groups map[[sha256.Size]byte][]holding, order [][sha256.Size]byte) (int, error) {
	found := -1
	for i, sum := range order {
		var verdict error
		err := groups[sum][0].s.open(ctx, key, func(r io.Reader, _ *blob.Reader) error {
			verdict = p.o.Verify(ctx, key, r)
			return nil
		})
		if err != nil {
			return -1, err
		}
		if verdict == nil {
			if found >= 0 {
				return -1, nil
			}
			found = i
		}
	}
	return found, nil
}

// digest reads an object of a site whole.
func digest(ctx context.Context, key string, s *site) (sum [sha256.Size]byte, n int64, err error) {
	h := sha256.New()
	err = s.open(ctx, key, func(r io.Reader, br *blob.Reader) error {
		n, err = io.CopyBuffer(h, onlyReader{r}, make([]byte, bufferFor(br.Size())))
		if err == nil && n != br.Size() {
			err = &SiteError{Site: s.Name, Op: "read", err: errShortRead}
		}
		return err
	})
	copy(sum[:], h.Sum(nil))
	return sum, n, err
}

// correctAll replaces wrong copies where that may be done, and returns all that are right then.
func (p *pass) correctAll(ctx context.Context, key string, right, wrong []holding) ([]holding, error) {
	for _, h := range wrong {
		if err := p.correct(ctx, key, right[0], h); err != nil {
			return nil, err
		}
		if contains(p.legal, h.s) {
			right = append(right, holding{h.s, right[0].size})
		}
	}
	return right, nil
}

// correct replaces a wrong copy by a right one. One that may be another object, not a damaged one, is kept aside.
func (p *pass) correct(ctx context.Context, key string, right, wrong holding) error {
	p.report.wrong(wrong.s)
	if !contains(p.legal, wrong.s) {
		return nil
	}
	if err := p.r.outdated(ctx, wrong.s); err != nil {
		return err
	}
	if p.doubts[key] != nil || wrong.s.stands() != current || p.force {
		if err := p.r.setAside(ctx, key, wrong.s, wrong.s); err != nil {
			return err
		}
		p.report.aside(key, wrong.s)
	}
	return p.transfer(ctx, key, right, wrong.s, false)
}

// fill copies an object to the home site and to what else shall have it.
func (p *pass) fill(ctx context.Context, key string, right []holding, own *ownIntent) error {
	var legal []*site
	for _, h := range right {
		if contains(p.legal, h.s) {
			legal = append(legal, h.s)
		}
	}
	for _, s := range append([]*site{p.home}, p.legal...) {
		if p.holds(right, s) || !contains(p.legal, s) || s != p.home && p.complete(legal) {
			continue
		}
		p.report.missing(s)
		err := p.supply(ctx, key, right[0], s, own)
		if err != nil && ctx.Err() == nil && isTaken(err) {
			continue // somebody else was quicker; a later pass compares
		}
		if err != nil && (s == p.home || ctx.Err() != nil) {
			return err
		}
		if err != nil {
			p.report.failed(s)
			continue
		}
		if s != p.home {
			if gone, err := p.takeBack(ctx, key, s); err != nil || gone {
				return err
			}
		}
		right, legal = append(right, holding{s, right[0].size}), append(legal, s)
	}
	return nil
}

// takeBack removes a copy that was made of what was or is being deleted. Who deletes has an intent at the home site from before
// he asks the others until the home site has carried it out.
func (p *pass) takeBack(ctx context.Context, key string, made *site) (gone bool, err error) {
	del, err := p.r.deleting(ctx, p.home, key)
	if err != nil {
		return false, err
	}
	if del == nil {
		if there, err := p.home.exists(ctx, key); err != nil || there {
			return false, err
		}
	}
	return true, made.remove(ctx, key)
}

// dead handles copies, of what the home site lacks, at sites for which it has noted a deletion of the key: they were made or
// found again after the debts were paid. It returns the others.
func (p *pass) dead(ctx context.Context, key string, have []holding) ([]holding, error) {
	if len(have) == 0 || p.holds(have, p.home) {
		return have, nil
	}
	named, err := p.deletedAt(ctx, key)
	if err != nil {
		return nil, err
	}
	var out []holding
	for _, h := range have {
		if !named[h.s.Name] {
			out = append(out, h)
		} else if !h.s.ReadOnly {
			if err := h.s.remove(ctx, key); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// deletedAt returns the names of the sites for which the home site has noted a deletion of a key. Records do not change, so each
// is read once.
func (p *pass) deletedAt(ctx context.Context, key string) (map[string]bool, error) {
	var all []string
	if err := p.home.list(ctx, debtPrefix, func(name string) bool {
		all = append(all, name)
		return true
	}); err != nil {
		return nil, err
	}
	p.reading.Lock()
	defer p.reading.Unlock()
	named := map[string]bool{}
	for _, name := range all {
		d := p.noted[name]
		if d == nil {
			d = new(debtRecord)
			if err := p.home.get(ctx, name, d); isNotFound(err) {
				continue
			} else if err != nil {
				return nil, err
			}
			if p.noted == nil {
				p.noted = map[string]*debtRecord{}
			}
			p.noted[name] = d
		}
		if d.Key == key && d.Op == opDelete {
			for _, s := range d.Sites {
				named[s] = true
			}
		}
	}
	return named, nil
}

// supply copies an object to a site that lacks it, after an intent if there is one.
func (p *pass) supply(ctx context.Context, key string, from holding, to *site, own *ownIntent) error {
	if own != nil {
		if err := to.put(ctx, own.name(), &own.intentRecord); err != nil {
			return err
		}
	}
	return p.transfer(ctx, key, from, to, true)
}

// transfer copies an object to a site, if it may still be written: a pass can take longer than a decision holds.
func (p *pass) transfer(ctx context.Context, key string, from holding, to *site, once bool) error {
	if ok, err := p.r.writable(ctx, to); err != nil {
		return err
	} else if !ok {
		return p.r.denied(ctx, []string{"site " + to.Name})
	}
	if err := p.pace(ctx, from.size); err != nil {
		return err
	}
	if err := transfer(ctx, key, from.s, to, once); err != nil {
		return err
	}
	p.report.copied(to, from.size)
	return nil
}

// pace waits as the limit on bytes demands.
func (p *pass) pace(ctx context.Context, n int64) error {
	if p.limit == nil {
		return ctx.Err()
	}
	for n > 0 {
		part := min(n, int64(p.limit.Burst()))
		if err := p.limit.WaitN(ctx, int(part)); err != nil {
			return err
		}
		n -= part
	}
	return nil
}
