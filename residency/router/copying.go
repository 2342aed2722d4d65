package router

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// watchdog ends a context when it is not reset for a time.
type watchdog struct {
	timer   *time.Timer
	timeout time.Duration
}

// guarded returns a context that ends when the site lets its timeout pass without progress.
func (s *site) guarded(ctx context.Context) (context.Context, *watchdog, context.CancelFunc) {
	c, cancel := context.WithCancel(ctx)
	w := &watchdog{timer: time.AfterFunc(s.Timeout, cancel), timeout: s.Timeout}
	return c, w, func() {
		w.timer.Stop()
		cancel()
	}
}

// watched is a reader of a site under a watchdog.
type watched struct {
	io.Reader
	w *watchdog
}

// Read implements io.Reader.
func (r *watched) Read(p []byte) (int, error) {
	r.w.timer.Reset(r.w.timeout)
	defer r.w.timer.Stop() // what becomes of the bytes is not the site's
	return r.Reader.Read(p)
}

// open opens an object at a site. The reader ends when the site makes no progress.
func (s *site) open(ctx context.Context, key string, f func(r io.Reader, from *blob.Reader) error) error {
	c, end := s.seen.Request(ctx, s.Name, "read")
	c, dog, stop := s.guarded(c)
	defer stop()
	r, err := s.Bucket.NewReader(c, key, nil)
	dog.timer.Stop()
	if err != nil {
		err = s.outcome(ctx, "read", err)
		end(err)
		return err
	}
	defer r.Close()
	var inner error
	watchedReader := &watched{Reader: r, w: dog}
	tap := &tap{r: watchedReader, s: s, ctx: ctx}
	inner = f(tap, r)
	end(tap.err)
	if tap.err != nil {
		return tap.err
	}
	return inner
}

// tap notes an error of the site it reads from, to tell it from an error of where the bytes go.
type tap struct {
	r   io.Reader
	s   *site
	ctx context.Context
	err error
}

// Read implements io.Reader.
func (t *tap) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && !isEOF(err) {
		t.err = t.s.outcome(t.ctx, "read", err)
		err = t.err
	}
	return n, err
}

// transfer copies an object from one site to another, with its attributes. With once it does not replace one.
func transfer(ctx context.Context, key string, from, to *site, once bool) error {
	return transferAs(ctx, key, key, from, to, once)
}

// transferAs is transfer to another key.
func transferAs(ctx context.Context, key, as string, from, to *site, once bool) error {
	a, err := attributes(ctx, key, from)
	if err != nil {
		return err
	}
	o := *writerOptions(driverAttributes(a))
	o.IfNotExist = once
	return from.open(ctx, key, func(r io.Reader, fr *blob.Reader) error {
		if fr.Size() != a.Size {
			return &SiteError{Site: from.Name, Op: "read", err: errOtherSize}
		}
		return pour(r, a.Size, from, newFeed(ctx, to, as, o))
	})
}

// pour writes what a reader of a site gives, which must be so many bytes, to another.
func pour(r io.Reader, size int64, from *site, f *feed) error {
	n, err := io.CopyBuffer(onlyWriter{feedWriter{f}}, onlyReader{r}, make([]byte, bufferFor(size)))
	if err == nil && n != size {
		err = &SiteError{Site: from.Name, Op: "read", err: errShortRead}
	}
	if err != nil {
		f.drop()
		if f.err != nil && errors.Is(err, io.ErrClosedPipe) {
			return f.err
		}
		return err
	}
	return f.finish()
}

type onlyReader struct{ io.Reader }

// feedWriter is a feed as an io.Writer.
type feedWriter struct{ f *feed }

// Write implements io.Writer.
func (w feedWriter) Write(p []byte) (int, error) {
	w.f.write(p)
	if w.f.lost() {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func attributes(ctx context.Context, key string, s *site) (a *blob.Attributes, err error) {
	err = s.call(ctx, "look", func(c context.Context) error {
		a, err = s.Bucket.Attributes(c, key)
		return err
	})
	return a, err
}

// flush makes an object durable that a failed write may have left, where the site's driver knows a way.
func (r *Router) flush(ctx context.Context, key string, s *site) error {
	var f interface{ Flush() error }
	err := s.open(ctx, key, func(_ io.Reader, br *blob.Reader) error {
		br.As(&f)
		return nil
	})
	if err != nil || f == nil {
		return err
	}
	return s.call(ctx, "flush", func(context.Context) error { return f.Flush() })
}

// same compares an object's bytes at two sites.
func same(ctx context.Context, key string, a, b *site) (equal bool, err error) {
	err = a.open(ctx, key, func(ra io.Reader, sa *blob.Reader) error {
		return b.open(ctx, key, func(rb io.Reader, sb *blob.Reader) error {
			if sa.Size() != sb.Size() {
				return nil
			}
			var err error
			equal, err = sameBytes(ra, rb, bufferFor(sa.Size()))
			return err
		})
	})
	return equal, err
}

// bufferFor is the size of a buffer for an object.
func bufferFor(size int64) int64 { return max(512, min(size, 256<<10)) }

func sameBytes(a, b io.Reader, buffer int64) (bool, error) {
	x, y := make([]byte, buffer), make([]byte, buffer)
	for {
		n, aerr := io.ReadFull(a, x)
		m, berr := io.ReadFull(b, y)
		for _, err := range []error{aerr, berr} {
			if err != nil && !isEOF(err) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, err
			}
		}
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if aerr != nil || berr != nil {
			return true, nil
		}
	}
}

// ensure brings an object from the home site to another. The intent goes there first, if the object is not yet there:
// what is at a site without an intent is where it has to be, whichever site will be home. It reports whether it may have made
// a copy, also beside an error.
func (r *Router) ensure(ctx context.Context, key string, from, to *site, rec *intentRecord) (copied bool, err error) {
	if err := to.put(ctx, rec.name(), rec); err != nil {
		return false, err
	}
	for range 3 {
		err := transferUnlessThere(ctx, key, from, to)
		if err == nil || !isTaken(err) {
			return true, err
		}
		equal, err := same(ctx, key, from, to)
		switch {
		case isNotFound(err):
			continue // deleted meanwhile
		case err != nil:
			return false, err
		case equal:
			return false, r.flush(ctx, key, to)
		}
		return true, r.overrule(ctx, key, from, to, rec)
	}
	return false, &SiteError{Site: to.Name, Op: "copy", err: ErrConflict}
}

// transferUnlessThere is a transfer that does not begin where the object is already.
func transferUnlessThere(ctx context.Context, key string, from, to *site) error {
	there, err := to.exists(ctx, key)
	if err != nil {
		return err
	}
	if there {
		return &SiteError{Site: to.Name, Op: "copy", Code: gcerrors.FailedPrecondition, err: errExists}
	}
	return transfer(ctx, key, from, to, true)
}

// overrule replaces a site's object by the home site's, if the change itself may replace an object. Else it is a
// conflict, and left to Reconcile: also where nobody was told of what the site has, because it may be the decision of
// a later epoch.
func (r *Router) overrule(ctx context.Context, key string, from, to *site, rec *intentRecord) error {
	if rec.Op == opCreate {
		return &SiteError{Site: to.Name, Op: "copy", Code: gcerrors.FailedPrecondition, err: ErrConflict}
	}
	return transfer(ctx, key, from, to, false)
}
