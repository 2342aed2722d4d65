package router

import (
	"context"
	"io"
	"slices"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
)

// order is the sites to read from, in order: those named by ReadFrom, the home site, the others; what lately failed
// after what did not; what is quarantined last of all, because it is better than nothing. Sites that must not be
// read, or are not current, are left out.
func (r *Router) order(ctx context.Context) []*site {
	home := r.home()
	var out []*site
	add := func(s *site) {
		if s != nil && !slices.Contains(out, s) && slices.Contains(r.epoch.Load().Sites, s.Name) {
			r.revive(ctx, s)
			if s.takes() && r.mayRead(ctx, s) {
				out = append(out, s)
			}
		}
	}
	for _, name := range r.o.ReadFrom {
		add(r.site(name))
	}
	add(home)
	for _, s := range r.sites {
		add(s)
	}
	rank := func(s *site) int {
		switch {
		case s.isQuarantined():
			return 2
		case s.resting():
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(a, b *site) int { return rank(a) - rank(b) })
	return out
}

// decides reports whether the home site's "not found" is final. It is not if another epoch has begun, which the sites
// that answer are asked for. If none but the home site answers, its word has to do, so that one can read with it alone;
// a home site that was replaced and cut off from the others can so be behind.
func (r *Router) decides(ctx context.Context, home *site) bool {
	if !r.ready.Load() || r.later.Load() || home.isQuarantined() {
		return false
	}
	var ask []*site
	for _, s := range r.enrolled() {
		if s == home || s.stands() != foreign && !s.resting() {
			ask = append(ask, s)
		}
	}
	each(ask, func(s *site) error { return r.outdated(ctx, s) })
	return !r.later.Load()
}

// find asks the sites in order until one has the object. The home site's "not found" is final; that of others is
// only if the object, had its write been reported, would have to be at one of them.
func (r *Router) find(ctx context.Context, ask func(*site) error) error {
	var errs []error
	absent := 0
	for _, s := range r.order(ctx) {
		err := ask(s)
		if err == nil {
			return nil
		}
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		switch {
		case !isNotFound(err):
			errs = append(errs, err)
		case s == r.home() && r.decides(ctx, s):
			return notFound()
		case s.isQuarantined() || s.stands() != current:
		default:
			// Who does not know the epoch may be a site that data was moved away from.
			if err := r.outdated(ctx, s); err != nil {
				errs = append(errs, err)
			} else {
				absent++
			}
		}
	}
	if r.later.Load() && r.follow(ctx) == nil {
		return r.find(ctx, ask) // of the sites as a move has left them
	}
	e := r.epoch.Load()
	if len(e.Sites)-absent < e.MustReach {
		return notFound()
	}
	return fail(ErrUnknown, errs...)
}

// NewRangeReader implements driver.Bucket.
func (b *bucket) NewRangeReader(ctx context.Context, key string, offset, length int64, opts *driver.ReaderOptions) (driver.Reader, error) {
	if strings.HasPrefix(key, reserved) {
		return nil, notFound()
	}
	found, end := b.r.seen.Begin(ctx, opRead, false)
	rd := &reader{r: b.r, ctx: found, key: key, offset: offset, left: length, size: -1}
	err := b.r.find(found, rd.openAt)
	end(err)
	if err != nil {
		return nil, err
	}
	if opts.BeforeRead != nil {
		if err := opts.BeforeRead(noAs); err != nil {
			_ = rd.Close()
			return nil, err
		}
	}
	return rd, nil
}

// reader reads an object from one site, and goes on at the next if that breaks.
type reader struct {
	r      *Router
	ctx    context.Context
	key    string
	offset int64 // of the next byte
	left   int64 // bytes still to come; negative before the size is known: all
	size   int64
	attrs  driver.ReaderAttributes
	tried  []*site

	s    *site
	in   *blob.Reader
	dog  *watchdog
	stop context.CancelFunc
}

// openAt opens the object at a site, at the byte that was reached.
func (rd *reader) openAt(s *site) error {
	if slices.Contains(rd.tried, s) {
		return &SiteError{Site: s.Name, Op: "read", err: errShortRead}
	}
	c, end := s.seen.Request(rd.ctx, s.Name, "open")
	c, dog, stop := s.guarded(c)
	in, err := s.Bucket.NewRangeReader(c, rd.key, rd.offset, rd.left, nil)
	dog.timer.Stop()
	if err == nil && rd.size >= 0 && in.Size() != rd.size {
		_ = in.Close()
		err = &SiteError{Site: s.Name, Op: "read", err: errOtherSize}
	}
	err = s.outcome(rd.ctx, "read", err)
	end(err)
	if err != nil {
		stop()
		return err
	}
	rd.close()
	rd.s, rd.in, rd.dog, rd.stop = s, in, dog, stop
	if rd.size < 0 {
		rd.size = in.Size()
		rd.attrs = driver.ReaderAttributes{ContentType: in.ContentType(), ModTime: in.ModTime(), Size: in.Size()}
		if rest := max(rd.size-rd.offset, 0); rd.left < 0 || rd.left > rest {
			rd.left = rest
		}
	}
	return nil
}

// Read implements io.Reader.
func (rd *reader) Read(p []byte) (int, error) {
	for {
		if rd.left == 0 {
			return 0, io.EOF
		}
		if len(p) == 0 {
			return 0, nil
		}
		rd.dog.timer.Reset(rd.dog.timeout)
		n, err := rd.in.Read(p[:min(int64(len(p)), rd.left)])
		rd.dog.timer.Stop()
		rd.offset += int64(n)
		rd.left -= int64(n)
		if n > 0 || err == nil {
			return n, nil
		}
		if err := rd.next(err); err != nil {
			return 0, err
		}
	}
}

// next goes on at another site after an error.
func (rd *reader) next(err error) error {
	if isEOF(err) {
		err = &SiteError{Site: rd.s.Name, Op: "read", err: errShortRead}
		rd.s.failed(err)
	}
	first := rd.s.outcome(rd.ctx, "read", err)
	if cerr := rd.ctx.Err(); cerr != nil {
		return cerr
	}
	rd.tried = append(rd.tried, rd.s)
	errs := []error{first}
	for _, s := range rd.r.order(rd.ctx) {
		if slices.Contains(rd.tried, s) {
			continue
		}
		err := rd.openAt(s)
		if err == nil {
			return nil
		}
		if cerr := rd.ctx.Err(); cerr != nil {
			return cerr
		}
		errs = append(errs, err)
	}
	return fail(ErrUnknown, errs...)
}

func (rd *reader) close() {
	if rd.in != nil {
		_ = rd.in.Close()
		rd.stop()
		rd.in = nil
	}
}

// Close implements io.Closer.
func (rd *reader) Close() error {
	rd.close()
	return nil
}

// Attributes implements driver.Reader.
func (rd *reader) Attributes() *driver.ReaderAttributes { return &rd.attrs }

// As implements driver.Reader: it gives an interface{ Flush() error }, which makes an object that a failed write may have
// left as safe as a reported one.
func (rd *reader) As(i any) bool {
	p, ok := i.(*interface{ Flush() error })
	if !ok {
		return false
	}
	*p = &flusher{r: rd.r, ctx: rd.ctx, key: rd.key}
	return true
}

// flusher settles one key.
type flusher struct {
	r   *Router
	ctx context.Context
	key string
}

// Flush returns nil when the home site has the object and enough others do, and what others have left unfinished has been
// finished: it stands for a write that was reported.
func (f *flusher) Flush() error {
	f.r.gate.RLock()
	defer f.r.gate.RUnlock()
	others, err := f.settle()
	if err != nil {
		return err
	}
	return f.r.finishOthers(f.ctx, others)
}

// settle brings the key to where it has to be, and returns the intents of others at the home site.
func (f *flusher) settle() (others []string, err error) {
	unlock, err := f.r.keys.lock(f.ctx, f.key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	p, err := f.r.place(f.ctx, false)
	if err != nil {
		return nil, err
	}
	if others, err = f.r.intentsAt(f.ctx, p.home); err != nil {
		return nil, f.r.homeDown(f.ctx, err)
	}
	own := f.r.intend(f.key, opCreate, p)
	own.ask()
	if err := p.home.put(f.ctx, own.name(), &own.intentRecord); err != nil {
		own.settle(false)
		f.r.withdraw(f.ctx, own, []*site{p.home})
		return nil, f.r.homeDown(f.ctx, err)
	}
	err = f.r.settleWrite(f.ctx, &own.intentRecord, p)
	own.settle(err == nil)
	switch {
	case err == nil:
		f.r.dropFailed(f.ctx, f.key)
	case isDeletion(err):
		f.r.withdraw(f.ctx, own, append(without(p.try, p.home), p.home))
	}
	return others, err
}

// dropFailed removes this router's intents about a key that is now settled. What is left of them at a site that does not
// answer, Reconcile removes.
func (r *Router) dropFailed(ctx context.Context, key string) {
	r.mu.Lock()
	var old []*ownIntent
	for _, o := range r.mine {
		if o.Key == key {
			old = append(old, o)
		}
	}
	r.mu.Unlock()
	for _, o := range old {
		o.mu.Lock()
		ended := o.phase == failed
		if ended {
			o.phase = done
		}
		o.mu.Unlock()
		if ended {
			r.withdraw(ctx, o, r.enrolled())
			r.forget(o.ID)
		}
	}
}
