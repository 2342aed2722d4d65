package router_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency/router"
)

// TestOldHome: what a writer of an old epoch leaves is kept aside, and nothing that was reported yields to it.
func TestOldHome(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 2, "a", "b", "c")
	reported := map[string]string{}
	old := w.process()
	ro := old.mustOpen()
	logEntries(ro, "old", 1, 2, reported)
	p := w.process()
	p.cut(true, "a")
	r := p.mustOpen()
	require.ErrorIs(t, promote(r, "c", false), nil)
	old.cut(true, "b", "c")
	err := create(ro, "log/3", "old 3") // the old home site takes it, and nobody else
	require.ErrorIs(t, err, router.ErrTooFewSites)
	require.Error(t, confirm(ro, "log/3", "old 3"))
	require.Equal(t, "old 3", string(w.stores["a"].Get("log/3")))
	require.Error(t, create(ro, "log/4", "old 4"))
	logEntries(r, "new", 3, 3, reported)
	require.Equal(t, "new 3", reported["log/3"])

	// One that reaches a site of the new epoch with a copy that comes too late learns of it there.
	old.cut(false, "b", "c")
	ro2 := w.process()
	ro2.cut(true, "b", "c")
	_, err = ro2.open()
	require.NoError(t, err, "alone with its old records it cannot know")
	fresh := w.open()
	require.NoError(t, readable(fresh, reported), "the old home site is not read")
	rep, err := fresh.Reconcile(ctx, nil)
	require.NoError(t, err)
	require.ElementsMatch(t, []router.AsideObject{{Key: "log/3", Site: "a"}, {Key: "log/4", Site: "a"}}, rep.Aside)
	require.NoError(t, w.check(3, reported))
	require.Equal(t, 4, records(w.stores["a"], "aside/"))
	require.NoError(t, w.survives(2, reported))
	st, err := fresh.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, "current", st.Sites[0].Standing)
	require.Equal(t, 2, st.Epoch)
}

// TestStaleCopyAtNewHome: a copy of an old writer that arrives at the new home site after the promotion has an intent
// there, so that nothing is reported on top of it before it is where it has to be.
func TestStaleCopyAtNewHome(t *testing.T) {
	w := newWorld(t, 2, "a", "b", "c")
	reported := map[string]string{}
	old := w.process()
	ro := old.mustOpen()
	logEntries(ro, "old", 1, 1, reported)
	old.cut(true, "c")
	promoted := false
	old.setFault(func(site string, o faultstore.Op) faultstore.Fault {
		if site == "b" && o.Key == "log/2" && o.Kind == faultstore.Write && !promoted {
			promoted = true
			old.mu.Unlock() // the writer is held up just here
			p := w.process()
			p.cut(true, "a")
			r := p.mustOpen()
			require.NoError(t, promote(r, "b", false))
			old.mu.Lock()
		}
		return faultstore.Fault{}
	})
	require.ErrorIs(t, create(ro, "log/2", "old 2"), router.ErrSuperseded)
	require.True(t, promoted)
	require.Equal(t, "old 2", string(w.stores["b"].Get("log/2")))
	p := w.process()
	p.cut(true, "a")
	r := p.mustOpen()
	require.NoError(t, readable(r, map[string]string{"log/2": "old 2"}))
	reported["log/2"] = "old 2" // what the next entry rests on
	logEntries(r, "new", 3, 3, reported)
	require.Len(t, reported, 3)
	require.NoError(t, w.check(2, reported, "a"))
}

func TestPromoteNeedsEnough(t *testing.T) {
	w := newWorld(t, 2, "a", "b", "c")
	p := w.process()
	r := p.mustOpen()
	reported := map[string]string{}
	p.cut(true, "c")
	logEntries(r, "x", 1, 1, reported)
	p.cut(true, "a", "b")
	p.cut(false, "c")
	require.ErrorIs(t, promote(r, "c", false), router.ErrTooFewSites)
	require.Equal(t, 1, strings.Count(strings.Join(w.stores["c"].Keys(), " "), "epoch-")-1, "nothing was claimed")
	require.ErrorIs(t, promote(r, "x", false), router.ErrSites)
	_, err := r.Promote(t.Context(), router.Promotion{Home: "c"})
	require.ErrorIs(t, err, router.ErrSites)
	require.NoError(t, promote(r, "c", true), "a person may decide otherwise")
	_, err = r.Bucket().ReadAll(t.Context(), "log/1")
	require.Error(t, err)
	// What was missed comes back with the sites.
	p.cut(false, "a", "b")
	r = w.open()
	_, err = r.Reconcile(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, w.check(3, reported))
}

// TestOtherSites takes a site in and leaves one out.
func TestOtherSites(t *testing.T) {
	w := newWorld(t, 2, "a", "b", "c", "d")
	w.names = []string{"a", "b", "c"}
	r := w.open()
	reported := map[string]string{}
	logEntries(r, "x", 1, 3, reported)
	w.names = []string{"a", "b", "d"}
	r = w.open()
	logEntries(r, "x", 4, 4, reported)
	require.Empty(t, users(w.stores["d"]), "it is not enrolled")
	require.NoError(t, promote(r, "a", false))
	require.NoError(t, w.check(3, reported))
	logEntries(r, "x", 5, 5, reported)
	require.NoError(t, w.check(3, reported))
	require.Empty(t, w.stores["c"].Get("log/5"))
	require.NoError(t, w.survives(2, reported))
}

// TestNoNames checks that keys reach no log, evidence or text of ours.
func TestNoNames(t *testing.T) {
	ctx := t.Context()
	const mark = "meyer-anna"
	var logged bytes.Buffer
	notes := &diary{}
	w := newWorld(t, 2, "a", "b", "c")
	w.opts.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	w.opts.Evidence = notes.note
	p := w.process()
	r := p.mustOpen()
	p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
		if site != "a" && strings.Contains(o.Key, mark) {
			return faultstore.FailWith(errors.New("cannot store " + o.Key))
		}
		return faultstore.Fault{}
	})
	var errs []error
	errs = append(errs, create(r, mark, "1"), create(r, mark+"2", "1"))
	_, err := r.Reconcile(ctx, nil)
	errs = append(errs, err)
	w.stores["b"].Set(mark, []byte("other"))
	p.setFault(nil)
	_, err = w.process().mustOpen().Reconcile(ctx, &router.ReconcileOptions{Deep: true})
	errs = append(errs, err)
	require.NoError(t, r.Close(ctx))
	seen := 0
	for _, err := range errs {
		var s *router.SiteError
		if errors.As(err, &s) {
			seen++
			require.NotContains(t, s.Error(), mark)
		}
	}
	require.Positive(t, seen)
	require.NotContains(t, logged.String(), mark)
	require.NotContains(t, strings.Join(notes.lines, "\n"), mark)
	require.NotEmpty(t, notes.lines)
}

// TestStaleWriterYields: a writer of an old epoch whose copy comes too late does not touch what the new home site has
// decided, though that is still in doubt there.
func TestStaleWriterYields(t *testing.T) {
	w := newWorld(t, 2, "a", "b", "c")
	old := w.process()
	ro := old.mustOpen()
	logEntries(ro, "old", 1, 1, map[string]string{})
	once := false
	old.cut(true, "c")
	old.setFault(func(site string, o faultstore.Op) faultstore.Fault {
		if site == "b" && o.Key == "log/2" && o.Kind == faultstore.Write && !once {
			once = true
			old.mu.Unlock()
			p := w.process()
			p.cut(true, "a")
			r := p.mustOpen()
			require.NoError(t, promote(r, "b", false))
			p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
				if site == "c" && o.Kind == faultstore.Write {
					return faultstore.Fail(gcerrors.Internal)
				}
				return faultstore.Fault{}
			})
			require.ErrorIs(t, create(r, "log/2", "new 2"), router.ErrTooFewSites)
			require.Equal(t, 1, records(w.stores["b"], "intent-")-1, "the old writer's and the new one's")
			old.mu.Lock()
		}
		return faultstore.Fault{}
	})
	require.Error(t, create(ro, "log/2", "old 2"))
	require.True(t, once)
	require.Equal(t, "new 2", string(w.stores["b"].Get("log/2")))
}

// TestLateArrival: what reaches the new home site after a promotion has looked there stays in doubt.
func TestLateArrival(t *testing.T) {
	w := newWorld(t, 2, "a", "b", "c")
	old := w.process()
	ro := old.mustOpen()
	logEntries(ro, "old", 1, 1, map[string]string{})
	old.cut(true, "c")
	held, goOn, ended := make(chan bool), make(chan bool), make(chan error)
	old.setFault(func(site string, o faultstore.Op) faultstore.Fault {
		if site == "b" && o.Key == "log/2" && o.Kind == faultstore.Write {
			old.mu.Unlock()
			held <- true
			<-goOn
			old.mu.Lock()
		}
		return faultstore.Fault{}
	})
	go func() { ended <- create(ro, "log/2", "old 2") }()
	<-held
	p := w.process()
	p.cut(true, "a")
	r := p.mustOpen()
	listed := false
	p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
		if site == "c" && o.Kind == faultstore.List && o.Key == "" && !listed { // b was listed before
			listed = true
			goOn <- true
			require.ErrorIs(t, <-ended, router.ErrSuperseded)
		}
		return faultstore.Fault{}
	})
	require.NoError(t, promote(r, "b", false))
	require.True(t, listed)
	require.Equal(t, "old 2", string(w.stores["b"].Get("log/2")))
	require.Empty(t, w.stores["c"].Get("log/2"))
	require.Equal(t, 1, records(w.stores["b"], "intent-"), "nobody has brought it to others yet")
	reported := map[string]string{"log/2": "old 2"}
	logEntries(r, "new", 3, 3, reported)
	require.Len(t, reported, 2)
	require.NoError(t, w.check(2, reported, "a"))
}

// TestReplacedObjects: a site that has missed a change of an object does not pass for right, whichever becomes home.
func TestReplacedObjects(t *testing.T) {
	ctx := t.Context()
	for _, home := range []string{"b", "c"} {
		w := newWorld(t, 2, "a", "b", "c")
		p := w.process()
		r := p.mustOpen()
		for _, k := range []string{"same", "old", "gone"} {
			require.NoError(t, create(r, k, "1"))
		}
		p.cut(true, "c")
		require.NoError(t, r.Bucket().WriteAll(ctx, "old", []byte("2"), nil))
		require.NoError(t, r.Bucket().Delete(ctx, "gone"))
		require.Equal(t, gcerrors.NotFound, gcerrors.Code(r.Bucket().Delete(ctx, "gone")))
		require.Equal(t, "1", string(w.stores["c"].Get("old")))
		require.NotEmpty(t, w.stores["c"].Get("gone"))

		q := w.process()
		q.cut(true, "a")
		rq := q.mustOpen()
		require.NoError(t, promote(rq, home, false))
		require.NoError(t, readable(rq, map[string]string{"same": "1", "old": "2"}), home)
		_, err := rq.Bucket().ReadAll(ctx, "gone")
		require.Equal(t, gcerrors.NotFound, gcerrors.Code(err), home)
		require.NoError(t, rq.Bucket().WriteAll(ctx, "old", []byte("3"), nil))
		r = w.open()
		_, err = r.Reconcile(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, w.check(3, map[string]string{"same": "1", "old": "3"}))
		for n, s := range w.stores {
			require.Len(t, users(s), 2, n)
			require.Zero(t, records(s, "debt/")+records(s, "intent-"), n)
		}
	}
}

// TestPlainWritesRace: several routers that replace one object at once leave the same at every site.
func TestPlainWritesRace(t *testing.T) {
	ctx := t.Context()
	for range 20 {
		w := newWorld(t, 2, "a", "b", "c")
		w.open()
		var wg sync.WaitGroup
		for i := range 3 {
			r := w.open()
			wg.Go(func() {
				for n := range 3 {
					_ = r.Bucket().WriteAll(ctx, "k", fmt.Appendf(nil, "%d of %d", n, i), nil)
				}
			})
		}
		wg.Wait()
		_, err := w.open().Reconcile(ctx, &router.ReconcileOptions{Deep: true})
		require.NoError(t, err)
		require.NoError(t, w.check(3, map[string]string{"k": string(w.stores["a"].Get("k"))}))
	}
}
