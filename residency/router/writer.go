package router

import (
	"context"
	"errors"
	"io"
	"slices"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// writer is a write to several sites at once. Its bytes go to all of them as they come; in Close the home site gets
// the end of the object first, and the others only if it took it.
type writer struct {
	r       *Router
	ctx     context.Context
	key     string
	plan    *plan
	feeds   []*feed // the first is that of the home site
	own     *ownIntent
	op      string
	closed  bool
	err     error        // why it was given up
	intents chan []error // what became of the intents, in the order of the feeds
	end     func(error)
}

// newWriter begins a write of an object.
func (r *Router) newWriter(ctx context.Context, key string, o blob.WriterOptions) (*writer, error) {
	ctx, end := r.seen.Begin(ctx, opWrite, false)
	// What may replace an object goes to every site, so that none keeps an older one.
	p, err := r.place(ctx, !o.IfNotExist)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		end(err)
		return nil, err
	}
	w := &writer{r: r, ctx: ctx, key: key, plan: p, op: opPut, intents: make(chan []error, 1), end: end}
	if o.IfNotExist {
		w.op = opCreate
	}
	w.own = r.intend(key, w.op, p)
	for _, s := range p.try {
		w.feeds = append(w.feeds, newFeed(ctx, s, key, o))
	}
	// The intents are put while the bytes flow.
	go func() {
		w.intents <- each(p.try, func(s *site) error { return s.put(ctx, w.own.name(), &w.own.intentRecord) })
	}()
	return w, nil
}

// Write implements io.Writer. A site that fails is left out; the error is that of the home site, or that too few
// sites are left. After an error nothing is left to close, because the portable type may not close what it could not
// write the first bytes to.
func (w *writer) Write(p []byte) (int, error) {
	if w.closed {
		return 0, w.err
	}
	writeAll(w.feeds, p)
	err := w.ctx.Err()
	if err == nil {
		err = w.enoughLeft()
	}
	if err != nil {
		w.giveUp(err)
		return 0, err
	}
	return len(p), nil
}

// Upload implements driver.Uploader.
func (w *writer) Upload(r io.Reader) error { return w.readFrom(r) }

func (w *writer) readFrom(r io.Reader) error {
	// A reader that can write itself does so without a buffer of ours.
	_, err := io.CopyBuffer(onlyWriter{w}, r, make([]byte, 256<<10))
	return err
}

// onlyWriter hides other methods from io.Copy.
type onlyWriter struct{ io.Writer }

// taken reports whether an error says that there is an object at the key already. At the home site this decides the
// write; at another it may be the same object.
func (w *writer) taken(err error) bool {
	return w.op == opCreate && isTaken(err)
}

// enoughLeft is nil while the sites that have not failed would satisfy the placement.
func (w *writer) enoughLeft() error {
	if home := w.feeds[0]; home.lost() {
		return w.homeError(home.err)
	}
	var left []*site
	var errs []error
	for _, f := range w.feeds {
		if f.lost() && !w.taken(f.err) {
			errs = append(errs, f.err)
		} else {
			left = append(left, f.s)
		}
	}
	if len(errs) > 0 && len(w.r.lacks(left)) > 0 {
		return fail(ErrTooFewSites, errs...)
	}
	return nil
}

// homeError is what a failed write at the home site means.
func (w *writer) homeError(err error) error {
	switch {
	case isContext(err) && w.ctx.Err() != nil:
		return err
	case w.taken(err):
		return fail(errExists)
	case codeOf(err) == gcerrors.InvalidArgument, codeOf(err) == gcerrors.PermissionDenied, codeOf(err) == gcerrors.ResourceExhausted:
		return &failure{code: codeOf(err), err: ErrHomeDown, sites: []error{err}}
	}
	return fail(ErrHomeDown, err)
}

// giveUp ends the write before the home site was asked, so that nothing is written anywhere.
func (w *writer) giveUp(err error) {
	if w.closed {
		return
	}
	w.closed, w.err = true, err
	w.drop(w.feeds)
	<-w.intents
	w.own.settle(false)
	w.r.withdraw(w.ctx, w.own, w.plan.try)
	w.end(err)
}

// feed is the one to a site, if there is one.
func (w *writer) feed(s *site) *feed {
	for _, f := range w.feeds {
		if f.s == s {
			return f
		}
	}
	return nil
}

func (w *writer) drop(feeds []*feed) {
	for _, f := range feeds {
		f.cancel()
	}
	for _, f := range feeds {
		f.drop()
	}
}

// Close ends the object and reports whether it is where it has to be.
func (w *writer) Close() error {
	if w.closed {
		return w.err
	}
	w.r.gate.RLock()
	defer w.r.gate.RUnlock()
	unlock, err := w.r.keys.lock(w.ctx, w.key)
	if err == nil {
		defer unlock()
		err = w.stillGood()
	}
	if err != nil {
		w.giveUp(err)
		return err
	}
	w.closed = true
	others, err := w.commit()
	unlock()
	if err == nil && w.op == opCreate {
		err = w.r.finishOthers(w.ctx, others)
	}
	w.end(err)
	return err
}

// stillGood is nil if the write may go on to its end.
func (w *writer) stillGood() error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := w.r.follow(w.ctx); err != nil {
		return err
	}
	if id := w.own.epochID; w.r.epoch.Load().ID != id {
		if !w.r.continues(id) {
			return fail(ErrSuperseded)
		}
		// The sites are others since the write began: those that are new get the object from the home site.
		p, err := w.r.place(w.ctx, w.op != opCreate)
		if err != nil {
			return err
		}
		w.plan = p
	}
	if err := w.stillLawful(); err != nil {
		return err
	}
	return w.enoughLeft()
}

// stillLawful leaves out sites that may no longer be written: a long write can outlive the decisions that it began with.
func (w *writer) stillLawful() error {
	for _, f := range w.feeds {
		d, err := w.r.decide(w.ctx, f.s)
		switch {
		case err != nil:
			return err
		case w.r.canWrite(f.s, d):
		case f.s == w.plan.home:
			return w.r.denied(w.ctx, []string{"the home site"})
		default:
			f.drop()
			f.err = &SiteError{Site: f.s.Name, Op: "write", Code: gcerrors.PermissionDenied, err: errNotLawful}
		}
	}
	return nil
}

// commit asks the home site, then the others. It returns the intents of others that were at the home site before it
// was asked, which the user of this write may rely on.
func (w *writer) commit() ([]string, error) {
	intentErrs := <-w.intents
	var feeds []*feed
	for i, f := range w.feeds {
		if !contains(w.plan.try, f.s) {
			f.drop() // data has been moved away from there since the write began
			if err := f.s.remove(context.WithoutCancel(w.ctx), w.own.name()); err != nil {
				w.r.log("an intent stays", f.s.Name, err)
			}
			continue
		}
		if intentErrs[i] != nil {
			f.drop() // nothing is written where no intent could be
			f.err = intentErrs[i]
			if f.s == w.plan.home {
				return nil, w.retreat(w.homeError(f.err))
			}
			continue
		}
		feeds = append(feeds, f)
	}
	var others []string
	var listed error
	if w.op == opCreate {
		others, listed = w.r.intentsAt(w.ctx, w.plan.home)
	}
	if listed != nil {
		return nil, w.retreat(w.homeError(listed))
	}
	w.own.ask()
	if err := feeds[0].finish(); err != nil {
		w.drop(feeds[1:])
		if w.taken(err) {
			return nil, w.lost()
		}
		w.own.settle(false) // who knows whether it was written: the intents stay
		return nil, w.homeError(err)
	}
	return others, w.spread(feeds)
}

// lost ends a write that the home site says another has won. That may be this very write, if its first answer was lost
// and a driver tried again: then the object is at the home site alone, so it is brought to where it has to be
// before the intents go.
func (w *writer) lost() error {
	w.own.settle(false)
	if err := w.r.settleWrite(w.ctx, &w.own.intentRecord, w.plan); err != nil {
		w.r.log("the object that exists could not be brought to where it has to be", w.plan.home.Name, err)
	}
	return fail(errExists)
}

// retreat ends a write that has written nothing.
func (w *writer) retreat(err error) error {
	w.drop(w.feeds)
	w.own.settle(false)
	w.r.withdraw(w.ctx, w.own, w.plan.try)
	return err
}

// retract removes the object where data was moved away from while it was written there.
func (w *writer) retract(feeds []*feed) {
	c := context.WithoutCancel(w.ctx)
	for _, f := range feeds {
		if slices.Contains(w.r.epoch.Load().Sites, f.s.Name) {
			continue
		}
		for _, name := range []string{w.key, w.own.name()} {
			if err := f.s.remove(c, name); err != nil {
				w.r.log("an object stays at a site that was left", f.s.Name, err)
			}
		}
	}
}

// spread lets the other sites take the object that the home site has taken, and reports whether enough did.
func (w *writer) spread(feeds []*feed) error {
	reached := []*site{feeds[0].s}
	errs := make([]error, len(feeds))
	sites := make([]*site, len(feeds))
	for i, f := range feeds {
		sites[i] = f.s
	}
	for _, s := range w.plan.try {
		if !contains(sites, s) && w.feed(s) == nil { // a move brought it in since the write began
			sites, errs = append(sites, s), append(errs, nil)
		}
	}
	each(sites[1:], func(s *site) error {
		i := slices.Index(sites, s)
		if i >= len(feeds) {
			_, errs[i] = w.r.ensure(w.ctx, w.key, w.plan.home, s, &w.own.intentRecord)
			return nil
		}
		errs[i] = feeds[i].finish()
		if w.taken(errs[i]) {
			_, errs[i] = w.r.ensure(w.ctx, w.key, w.plan.home, s, &w.own.intentRecord)
		}
		return nil
	})
	for i, err := range errs[1:] {
		if err == nil {
			reached = append(reached, sites[i+1])
		}
	}
	for _, f := range w.feeds {
		if f.err != nil && !slices.Contains(errs, f.err) {
			errs = append(errs, f.err)
		}
	}
	err := w.r.conclude(w.ctx, &w.own.intentRecord, w.plan, reached, errs)
	w.own.settle(err == nil)
	if err == nil {
		w.retract(feeds)
	}
	if cerr := w.ctx.Err(); cerr != nil && err != nil && !errors.Is(err, ErrSuperseded) {
		return cerr
	}
	return err
}
