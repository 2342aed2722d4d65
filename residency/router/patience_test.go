package router_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency/router"
)

// TestHangingSite: a site that answers nothing, from the beginning or in the middle, or only some kind of request, is a site that is
// down.
func TestHangingSite(t *testing.T) {
	for _, kind := range []faultstore.Kind{"", faultstore.Read, faultstore.Write, faultstore.Delete, faultstore.List, faultstore.Stat} {
		for _, early := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s %v", kind, early), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx := t.Context()
					w := newWorld(t, 2, "a", "b", "c")
					require.NoError(t, w.open().Close(ctx))
					p := w.process()
					hang := func(site string, o faultstore.Op) faultstore.Fault {
						if site == "c" && (kind == "" || o.Kind == kind) {
							return faultstore.Hang()
						}
						return faultstore.Fault{}
					}
					if early {
						p.setFault(hang)
					}
					begun := time.Now()
					r := p.mustOpen()
					p.setFault(hang)
					reported := map[string]string{}
					logEntries(r, "x", 1, 100, reported)
					require.Len(t, reported, 100)
					require.NoError(t, readable(r, reported))
					require.NoError(t, r.Bucket().Delete(ctx, "log/100"))
					delete(reported, "log/100")
					_, err := r.Bucket().List(nil).Next(ctx)
					require.NoError(t, err)
					require.LessOrEqual(t, time.Since(begun), 10*time.Minute)
					st, err := r.Status(ctx)
					require.NoError(t, err)
					if !st.Sites[2].Answers {
						require.ErrorIs(t, st.Sites[2].Error, router.ErrStalled)
					}
					require.NoError(t, w.check(2, reported))
					_, _ = r.Reconcile(ctx, nil)
					require.LessOrEqual(t, time.Since(begun), 30*time.Minute)

					p.setFault(nil)
					time.Sleep(time.Hour)
					_, err = r.Reconcile(ctx, nil)
					require.NoError(t, err)
					require.NoError(t, w.check(3, reported))
				})
			})
		}
	}
}

// TestHangingHome ends what needs it.
func TestHangingHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := newWorld(t, 2, "a", "b", "c")
		p := w.process()
		r := p.mustOpen()
		require.NoError(t, create(r, "k", "x"))
		p.setFault(func(site string, _ faultstore.Op) faultstore.Fault {
			if site == "a" {
				return faultstore.Hang()
			}
			return faultstore.Fault{}
		})
		begun := time.Now()
		require.ErrorIs(t, create(r, "l", "x"), router.ErrHomeDown)
		require.ErrorIs(t, r.Bucket().Delete(ctx, "k"), router.ErrHomeDown)
		require.NoError(t, readable(r, map[string]string{"k": "x"}))
		_, err := r.Reconcile(ctx, nil)
		require.ErrorIs(t, err, router.ErrHomeDown)
		require.NoError(t, promote(r, "b", false))
		require.NoError(t, create(r, "l", "x"))
		require.LessOrEqual(t, time.Since(begun), 15*time.Minute)
		require.NoError(t, w.check(2, map[string]string{"k": "x", "l": "x"}, "a"))
	})
}

// slow is a store behind a slow line: it takes, and gives, 64 KiB in so much time; a negative time is a line that is dead after
// the first. Its requests end with their contexts.
type slow struct {
	driver.Bucket
	each time.Duration
}

func (s *slow) pass(ctx context.Context) error {
	wait := time.NewTimer(max(s.each, 0))
	defer wait.Stop()
	select {
	case <-wait.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

type slowWriter struct {
	driver.Writer
	s   *slow
	ctx context.Context
}

// Write implements io.Writer.
func (w *slowWriter) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		part := b[done:min(len(b), done+64<<10)]
		if err := w.s.pass(w.ctx); err != nil {
			return done, err
		}
		n, err := w.Writer.Write(part)
		if done += n; err != nil {
			return done, err
		}
	}
	return len(b), nil
}

// Close implements io.Closer.
func (w *slowWriter) Close() error {
	if w.s.each < 0 {
		<-w.ctx.Done()
		return errors.Join(w.ctx.Err(), w.Writer.Close())
	}
	return w.Writer.Close()
}

func (s *slow) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	w, err := s.Bucket.NewTypedWriter(ctx, key, contentType, o)
	if err != nil || key[0] == '.' {
		return w, err
	}
	return &slowWriter{Writer: w, s: s, ctx: ctx}, nil
}

type slowReader struct {
	driver.Reader
	s   *slow
	ctx context.Context
}

// Read implements io.Reader.
func (r *slowReader) Read(b []byte) (int, error) {
	if err := r.s.pass(r.ctx); err != nil {
		return 0, err
	}
	return r.Reader.Read(b[:min(len(b), 64<<10)])
}

func (s *slow) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	r, err := s.Bucket.NewRangeReader(ctx, key, offset, length, o)
	if err != nil || key[0] == '.' {
		return r, err
	}
	return &slowReader{Reader: r, s: s, ctx: ctx}, nil
}

// slowWorld opens a router of two sites, the second of which is slow.
func slowWorld(t *testing.T, s *slow, home string, mustReach int) (*router.Router, [2]*faultstore.Store) {
	stores := [2]*faultstore.Store{faultstore.New(), faultstore.New()}
	s.Bucket = stores[1].Driver()
	sites := []router.Site{{Name: "a", Bucket: stores[0].Bucket()}, {Name: "b", Bucket: blob.NewBucket(s)}}
	r, err := router.Open(t.Context(), allow{}, subject, sites, &router.Options{Home: home, Placement: router.Placement{MustReach: mustReach}})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = r.Close(context.Background())
		for _, s := range sites {
			_ = s.Bucket.Close()
		}
	})
	return r, stores
}

// TestSlowLine: what goes on is not cut off, however long it takes.
func TestSlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stores := slowWorld(t, &slow{each: 40 * time.Second}, "a", 2)
		data := make([]byte, 8<<20)
		begun := time.Now()
		require.NoError(t, create(r, "k", string(data)))
		require.Greater(t, time.Since(begun), time.Hour)
		require.Len(t, stores[1].Get("k"), len(data))
		stores[0].Remove("k") // it is read from there, as slowly
		_, err := r.Reconcile(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, stores[0].Get("k"), len(data))
	})
}

// TestBlackHole: an upload that a site takes and never ends is given up, whatever its size.
func TestBlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stores := slowWorld(t, &slow{each: -1}, "a", 1)
		begun := time.Now()
		require.NoError(t, create(r, "k", string(make([]byte, 64<<20))))
		require.Less(t, time.Since(begun), 10*time.Minute)
		require.Empty(t, stores[1].Get("k"))
		time.Sleep(4 * time.Minute)
		begun = time.Now()
		require.NoError(t, create(r, "l", "x"))
		require.Zero(t, time.Since(begun), "it is left out for a while")
	})
}

// TestSlowReader: a site is not blamed for what becomes of the bytes that were read there.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := slowWorld(t, &slow{}, "b", 2)
		require.NoError(t, create(r, "k", "xyz"))
		rep, err := r.Reconcile(t.Context(), &router.ReconcileOptions{Deep: true, Verify: func(_ context.Context, _ string, in io.Reader) error {
			for { // the hour before each read is none of the site's
				time.Sleep(time.Hour)
				if _, err := in.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
			}
		}})
		require.NoError(t, err)
		require.Zero(t, rep.UndecidedCount+rep.Sites["a"].Failed+rep.Sites["b"].Failed)
	})
}
