package router_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency/router"
)

func TestSiteDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := newWorld(t, 2, "a", "b", "c")
		p := w.process()
		r := p.mustOpen()
		reported := map[string]string{}
		logEntries(r, "x", 1, 1, reported)

		// A copy that is down is owed.
		p.cut(true, "b")
		logEntries(r, "x", 2, 3, reported)
		require.Len(t, reported, 3)
		require.NoError(t, w.check(2, reported))
		require.Equal(t, 2, records(w.stores["a"], "debt/"))
		require.Zero(t, records(w.stores["a"], "intent-"))
		p.cut(false, "b")
		logEntries(r, "x", 4, 4, reported)
		require.Empty(t, w.stores["b"].Get("log/4"), "a site that lately failed is not asked again at once")

		// With two down there are too few, and nothing is reported.
		p.cut(true, "b", "c")
		err := create(r, "log/5", "x 5")
		require.ErrorIs(t, err, router.ErrTooFewSites)
		require.ErrorContains(t, err, "site c: ")
		st, err := r.Status(ctx)
		require.NoError(t, err)
		require.Equal(t, 3, st.Debts)
		require.NoError(t, readable(r, reported), "reading goes on")
		p.cut(false, "c")
		require.NoError(t, confirm(r, "log/5", "x 5"), "the object is at the home site: it is brought to another")
		reported["log/5"] = "x 5"
		require.NoError(t, w.check(2, reported))

		// The home site down: reading goes on, writing does not, and the error says what to do.
		p.cut(true, "a")
		require.NoError(t, readable(r, reported))
		err = create(r, "log/6", "x 6")
		require.ErrorIs(t, err, router.ErrHomeDown)
		require.ErrorContains(t, err, "promote another site")
		require.ErrorIs(t, r.Bucket().Delete(ctx, "log/1"), router.ErrHomeDown)
		_, err = r.Reconcile(ctx, nil)
		require.ErrorIs(t, err, router.ErrHomeDown)

		p.cut(false, "a", "b")
		time.Sleep(time.Hour)
		rep, err := r.Reconcile(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, w.check(3, reported))
		require.EqualValues(t, 4, rep.Sites["b"].Paid)
		require.Zero(t, records(w.stores["a"], "debt/"))
	})
}

// TestNotFound is only said when it is known.
func TestNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		for _, c := range []struct {
			must int
			down string
			code gcerrors.ErrorCode
		}{
			{2, "", gcerrors.NotFound}, {2, "b", gcerrors.NotFound}, {2, "bc", gcerrors.NotFound}, // the home site knows
			{2, "a", gcerrors.NotFound}, {2, "ab", gcerrors.Internal}, {1, "a", gcerrors.Internal},
			{3, "ab", gcerrors.NotFound}, {3, "abc", gcerrors.Internal},
		} {
			w := newWorld(t, c.must, "a", "b", "c")
			p := w.process()
			r := p.mustOpen()
			p.cut(true, strings.Split(c.down, "")...)
			_, err := r.Bucket().Attributes(ctx, "none")
			require.Equal(t, c.code, gcerrors.Code(err), "%+v: %v", c, err)
			_, err = r.Bucket().ReadAll(ctx, "none")
			require.Equal(t, c.code, gcerrors.Code(err), "%+v", c)
			_, err = r.Bucket().List(nil).Next(ctx)
			if c.code == gcerrors.NotFound {
				require.Equal(t, io.EOF, err, "%+v", c)
			} else {
				require.ErrorIs(t, err, router.ErrUnknown, "%+v", c)
			}
		}
	})
}

func TestListWithoutHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := newWorld(t, 2, "a", "b", "c")
		p := w.process()
		r := p.mustOpen()
		var want []string
		for i := range 40 {
			p.cut(true, []string{"b", "c"}[i%2])
			key := fmt.Sprintf("k/%02d", i)
			require.NoError(t, create(r, key, "x"))
			want = append(want, key)
			p.cut(false, "b", "c")
			time.Sleep(time.Hour)
		}
		list := func(size int, breakAt int) (got []string) {
			for token := blob.FirstPageToken; token != nil; {
				var page []*blob.ListObject
				var err error
				page, token, err = r.Bucket().ListPage(ctx, token, size, nil)
				require.NoError(t, err)
				for _, o := range page {
					got = append(got, o.Key)
				}
				p.cut(len(got) >= breakAt, "a")
			}
			return got
		}
		for _, size := range []int{1, 3, 7, 40, 1000} {
			require.Equal(t, want, list(size, 1000), "the home site's, pages of %d", size)
			require.Equal(t, want, list(size, 9), "the home site fails in between, pages of %d", size)
			require.Equal(t, want, list(size, 0), "without it, pages of %d", size)
			p.cut(false, "a")
			time.Sleep(time.Hour)
		}
		p.cut(true, "a")
		it := r.Bucket().List(&blob.ListOptions{Delimiter: "/"})
		o, err := it.Next(ctx)
		require.NoError(t, err)
		require.True(t, o.IsDir)
		require.Equal(t, "k/", o.Key)
		_, err = it.Next(ctx)
		require.Equal(t, io.EOF, err)
	})
}

func TestRecordsAreHidden(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 1, "a")
	r := w.open()
	b := r.Bucket()
	require.NoError(t, create(r, ".roof", "x"))
	for _, o := range []*blob.ListOptions{nil, {Delimiter: "/"}, {Delimiter: "o"}, {Prefix: ".router/"}, {Prefix: ".r"}, {Prefix: ".router", Delimiter: "/"}} {
		for it := b.List(o); ; {
			x, err := it.Next(ctx)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			require.NotContains(t, x.Key, "router")
			require.False(t, x.Key == ".ro" && o.Delimiter != "o")
		}
	}
	require.NoError(t, b.Delete(ctx, ".roof"))
	_, err := b.List(&blob.ListOptions{Delimiter: "o"}).Next(ctx)
	require.Equal(t, io.EOF, err, "a folder of nothing but records is none")
	require.ErrorIs(t, create(r, ".router/marker", "x"), router.ErrReserved)
	require.ErrorIs(t, b.Delete(ctx, ".router/marker"), router.ErrReserved)
	require.ErrorIs(t, b.Copy(ctx, ".router/x", ".router/marker", nil), router.ErrReserved)
	_, err = b.ReadAll(ctx, ".router/marker")
	require.Equal(t, gcerrors.NotFound, gcerrors.Code(err))
	_, err = b.Attributes(ctx, ".router/marker")
	require.Equal(t, gcerrors.NotFound, gcerrors.Code(err))
}

// TestReadingGoesOn at another copy when one breaks, ends early or stalls.
func TestReadingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := newWorld(t, 2, "a", "b", "c")
		p := w.process()
		r := p.mustOpen()
		data := strings.Repeat("0123456789", 1000)
		require.NoError(t, create(r, "k", data))
		for name, f := range map[string]faultstore.Fault{
			"broken": faultstore.Broken(4321), "short": faultstore.Short(4321), "hanging": faultstore.Hang(),
			"failing": faultstore.Fail(gcerrors.Internal), "not found": faultstore.Fail(gcerrors.NotFound),
		} {
			bad := "a"
			if name == "not found" {
				bad = "b" // a copy's "not found" means nothing
			}
			p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
				if site == bad && o.Kind == faultstore.Read && o.Key == "k" {
					return f
				}
				return faultstore.Fault{}
			})
			begun := time.Now()
			got, err := r.Bucket().ReadAll(ctx, "k")
			require.NoError(t, err, name)
			require.Equal(t, data, string(got), name)
			rd, err := r.Bucket().NewRangeReader(ctx, "k", 4000, 2500, nil)
			require.NoError(t, err, name)
			got, err = io.ReadAll(rd)
			require.NoError(t, err, name)
			require.NoError(t, rd.Close())
			require.Equal(t, data[4000:6500], string(got), name)
			require.Less(t, time.Since(begun), 5*time.Minute)
			time.Sleep(time.Hour)
		}
		// Another length is another object.
		p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
			if site == "a" && o.Kind == faultstore.Read {
				return faultstore.Broken(10)
			}
			return faultstore.Fault{}
		})
		w.stores["b"].Set("k", []byte(data+"!"))
		w.stores["c"].Set("k", []byte(data+"!"))
		_, err := r.Bucket().ReadAll(ctx, "k")
		require.ErrorIs(t, err, router.ErrUnknown)
		require.ErrorContains(t, err, "differ in size")
	})
}

func TestReadFrom(t *testing.T) {
	w := newWorld(t, 2, "a", "b", "c")
	w.opts.ReadFrom = []string{"c"}
	p := w.process()
	r := p.mustOpen()
	require.NoError(t, create(r, "k", "x"))
	var asked []string
	p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
		if o.Kind == faultstore.Read {
			asked = append(asked, site)
		}
		return faultstore.Fault{}
	})
	require.NoError(t, readable(r, map[string]string{"k": "x"}))
	require.Equal(t, []string{"c"}, asked)
	w.stores["c"].Remove("k")
	require.NoError(t, readable(r, map[string]string{"k": "x"}))
	require.Equal(t, []string{"c", "c", "a"}, asked)
}

// TestSlowSite does not hold up a write that can do without it, nor does a full one.
func TestSlowSite(t *testing.T) {
	for name, f := range map[string]faultstore.Fault{
		"hanging": faultstore.Hang(), "hanging late": faultstore.Hang().Applied(), "full": faultstore.FailWith(syscall.ENOSPC),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 2, "a", "b", "c")
				p := w.process()
				r := p.mustOpen()
				p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
					if site == "c" && o.Kind == faultstore.Write && o.Key == "k" {
						return f
					}
					return faultstore.Fault{}
				})
				begun := time.Now()
				require.NoError(t, create(r, "k", "x"))
				require.LessOrEqual(t, time.Since(begun), 61*time.Second)
				require.Equal(t, 1, records(w.stores["a"], "debt/"))
				require.Equal(t, 1, records(w.stores["c"], "intent-"), "what is there is in doubt")
				p.setFault(nil)
				time.Sleep(time.Hour)
				_, err := r.Reconcile(t.Context(), nil)
				require.NoError(t, err)
				require.NoError(t, w.check(3, map[string]string{"k": "x"}))
				require.Zero(t, records(w.stores["c"], "intent-"))

				// At the home site it is another matter: then nothing is written anywhere else.
				p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
					if site == "a" && o.Kind == faultstore.Write && o.Key == "k2" {
						return f
					}
					return faultstore.Fault{}
				})
				err = create(r, "k2", "x")
				require.ErrorIs(t, err, router.ErrHomeDown)
				require.Empty(t, users(w.stores["b"])["k2"]+users(w.stores["c"])["k2"])
				if name == "full" {
					require.ErrorIs(t, err, syscall.ENOSPC, "package store tells a full store from it")
				} else {
					require.NotErrorIs(t, err, context.DeadlineExceeded, "a site's timeout is not the caller's")
					require.NotErrorIs(t, err, context.Canceled)
				}
			})
		})
	}
}

// TestSlowWriter: a writer that takes its time is not taken for a slow site.
func TestSlowWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3, "a", "b", "c")
		r := w.open()
		bw, err := r.Bucket().NewWriter(t.Context(), "k", &blob.WriterOptions{ContentType: "x/y", IfNotExist: true})
		require.NoError(t, err)
		for range 5 {
			_, err = bw.Write([]byte("part "))
			require.NoError(t, err)
			time.Sleep(time.Hour)
		}
		require.NoError(t, bw.Close())
		require.NoError(t, w.check(3, map[string]string{"k": "part part part part part "}))
	})
}

// TestAbortedWrite leaves nothing anywhere.
func TestAbortedWrite(t *testing.T) {
	w := newWorld(t, 2, "a", "b", "c")
	r := w.open()
	ctx, cancel := context.WithCancel(t.Context())
	bw, err := r.Bucket().NewWriter(ctx, "k", &blob.WriterOptions{ContentType: "x/y"})
	require.NoError(t, err)
	_, err = bw.Write(make([]byte, 3<<20))
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, bw.Close(), context.Canceled)
	require.NoError(t, create(r, "l", "1"))
	require.ErrorContains(t, create(r, "l", "2"), "the object exists")
	require.NoError(t, w.check(3, map[string]string{"l": "1"}))
	for n, s := range w.stores {
		require.Len(t, users(s), 1)
		require.Zero(t, records(s, "intent-"), n)
	}
}

// TestRace lets routers race for log entries. There is one winner of each, and what was reported survives.
func TestRace(t *testing.T) {
	const routers, entries = 4, 15
	w := newWorld(t, 2, "a", "b", "c")
	var mu sync.Mutex
	reported := map[string]string{}
	var wg sync.WaitGroup
	fails := make(chan error, routers)
	for i := range routers {
		p := w.process()
		r := p.mustOpen()
		if i%2 == 1 {
			p.cut(true, "c")
		}
		wg.Go(func() {
			for n := range entries {
				key, data := fmt.Sprintf("log/%d", n), fmt.Sprintf("router %d", i)
				err := create(r, key, data)
				if err != nil && gcerrors.Code(err) != gcerrors.FailedPrecondition {
					fails <- err
					return
				}
				if err != nil {
					continue
				}
				mu.Lock()
				if reported[key] != "" {
					fails <- errors.New("two winners")
				}
				reported[key] = data
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	close(fails)
	require.NoError(t, <-fails)
	require.Len(t, reported, entries)
	require.NoError(t, w.check(2, reported))
	require.NoError(t, w.survives(2, reported))
}

// TestLyingSite finds a site that says it has taken what it has not, and one that alters bytes.
func TestLyingSite(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 2, "a", "b", "c")
	p := w.process()
	r := p.mustOpen()
	reported := map[string]string{}
	logEntries(r, "x", 1, 6, reported)
	w.stores["c"].Remove("log/1")                      // it was never there
	w.stores["b"].Set("log/2", []byte("X 2"))          // altered, same length
	w.stores["a"].Set("log/3", []byte("x 3 and more")) // the home site itself
	w.stores["a"].Remove("log/4")                      // lost at the home site
	w.stores["a"].Set("log/5", []byte("A 5"))          // three of three differ
	w.stores["b"].Set("log/5", []byte("B 5"))
	rep, err := r.Reconcile(ctx, nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, rep.Sites["c"].Missing)
	require.EqualValues(t, 1, rep.Sites["a"].Missing)
	require.EqualValues(t, 1, rep.Sites["a"].Wrong, "the lengths differ")
	require.Zero(t, rep.Sites["b"].Wrong, "which listings do not show")
	rep, err = r.Reconcile(ctx, &router.ReconcileOptions{Deep: true})
	require.NoError(t, err)
	require.EqualValues(t, 1, rep.Sites["b"].Wrong)
	require.Equal(t, []string{"log/5"}, rep.Undecided, "nothing tells which is right: it is not guessed")
	require.Equal(t, "A 5", string(w.stores["a"].Get("log/5")))
	rep, err = r.Reconcile(ctx, &router.ReconcileOptions{Deep: true, Verify: func(_ context.Context, key string, r io.Reader) error {
		b, err := io.ReadAll(r)
		if err == nil && string(b) != reported[key] {
			err = errors.New("not what was written")
		}
		return err
	}})
	require.NoError(t, err)
	require.Zero(t, rep.UndecidedCount)
	require.NoError(t, w.check(3, reported))
	rep, err = r.Reconcile(ctx, &router.ReconcileOptions{Deep: true})
	require.NoError(t, err)
	require.EqualValues(t, 6, rep.Keys)
	for n, s := range rep.Sites {
		require.Zero(t, s.Wrong+s.Missing+s.Copied+s.Failed, n)
	}
}

func TestReconcileGoesOn(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 1, "a", "b")
	p := w.process()
	r := p.mustOpen()
	for i := range 200 {
		require.NoError(t, create(r, fmt.Sprintf("k/%03d", i), "x"))
		w.stores["b"].Remove(fmt.Sprintf("k/%03d", i))
	}
	p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
		if site == "a" && o.Kind == faultstore.Read && o.Key == "k/150" {
			p.down["a"] = true
			return faultstore.Fail(gcerrors.Internal)
		}
		return faultstore.Fault{}
	})
	rep, err := r.Reconcile(ctx, nil)
	require.Error(t, err)
	require.Equal(t, "k/127", rep.Cursor)
	p.setFault(nil)
	p.cut(false, "a")
	before := len(users(w.stores["b"]))
	rep, err = r.Reconcile(ctx, &router.ReconcileOptions{After: rep.Cursor})
	require.NoError(t, err)
	require.Empty(t, rep.Cursor)
	require.EqualValues(t, 72, rep.Keys)
	require.EqualValues(t, 200-before, rep.Sites["b"].Copied)
	require.Len(t, users(w.stores["b"]), 200)
}

func TestRemovable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, "a", "b", "usb")
		w.open()
		p := w.process()
		p.cut(true, "usb")
		sites := p.sites()
		sites[2].Removable = true
		r, err := router.Open(t.Context(), allow{}, subject, sites, &w.opts)
		require.NoError(t, err)
		p.cut(false, "usb")
		time.Sleep(time.Hour)
		require.NoError(t, create(r, "1", "x"))
		require.Empty(t, users(w.stores["usb"]), "writes do not look for it")
		p.cut(true, "b")
		require.Error(t, create(r, "2", "x"))
		require.NoError(t, confirm(r, "2", "x"), "unless they have to")
		require.NotEmpty(t, users(w.stores["usb"])["2"])
		p.cut(false, "b")
		time.Sleep(time.Hour)
		_, err = r.Reconcile(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, w.check(3, map[string]string{"1": "x", "2": "x"}))
	})
}
