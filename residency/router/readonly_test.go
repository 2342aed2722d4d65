package router_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/router"
)

// stillWorld is a world with a filled site c that is read-only from now on, and what was asked of it that changes anything.
func stillWorld(t *testing.T, sites ...string) (w *world, reported map[string]string, changes func() []string) {
	w = newWorld(t, 2, sites...)
	r := w.open()
	reported = seed(t, r, 6)
	require.NoError(t, r.Close(t.Context()))
	var mu sync.Mutex
	var seen []string
	w.still, w.watch = "c", func(site string, o faultstore.Op) {
		mu.Lock()
		defer mu.Unlock()
		if site == "c" && w.still == "c" && o.Changes() {
			seen = append(seen, string(o.Kind)+" "+o.Key)
		}
	}
	return w, reported, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

// TestReadOnly: a read-only site gets no request that changes anything, what it misses is owed to it, and what it has not
// missed can still be read there.
func TestReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w, reported, changes := stillWorld(t, "a", "b", "c", "d")
		p := w.process()
		r := p.mustOpen()

		require.NoError(t, create(r, "new", "1"))
		require.NoError(t, r.Bucket().WriteAll(ctx, "p/002", []byte("changed"), &blob.WriterOptions{ContentType: "x/y"}))
		require.NoError(t, r.Bucket().Delete(ctx, "p/001"))
		delete(reported, "p/001")
		reported["new"], reported["p/002"] = "1", "changed"
		p.cut(true, "b")
		require.NoError(t, r.Bucket().Delete(ctx, "p/003"))
		delete(reported, "p/003")
		p.cut(false, "b")
		time.Sleep(time.Hour)
		require.NoError(t, r.Quarantine(ctx, "b", "Dr Ada", evidence.CauseOther))
		require.NoError(t, r.Release(ctx, "b", "Dr Ada", evidence.CauseSettled))
		w.stores["a"].Remove("p/000") // the home site loses one that the read-only site has

		for _, deep := range []bool{false, true} {
			rep, err := r.Reconcile(ctx, &router.ReconcileOptions{Deep: deep})
			require.NoError(t, err)
			require.Zero(t, rep.UndecidedCount)
			require.Zero(t, rep.Sites["c"].Wrong)
			for _, n := range []string{"a", "b", "d"} {
				require.Equal(t, reported, users(w.stores[n]), "%s, deep %v: what was deleted does not come back", n, deep)
			}
		}
		require.Empty(t, changes())
		st, err := r.Status(ctx)
		require.NoError(t, err)
		require.Equal(t, 3, st.Debts)
		require.True(t, st.Sites[2].ReadOnly)
		require.Equal(t, 3, st.Sites[2].Owed)
		require.Zero(t, st.Sites[1].Owed)
		require.Equal(t, router.Warning{Site: "c", Severity: "notice", Text: "it is read-only, and has missed 3 changes"}, st.Warnings[len(st.Warnings)-1])
		p.cut(true, "a", "b", "d")
		require.NoError(t, readable(r, map[string]string{"p/005": "object 5"}))
		p.cut(false, "a", "b", "d")
		time.Sleep(time.Hour)

		// Another home site, and another set of sites.
		require.NoError(t, promote(r, "b", false))
		_, err = r.Reconcile(ctx, nil)
		require.NoError(t, err)
		w.stores["c"].Set("stray", []byte("x"))
		rep, err := r.Reconcile(ctx, nil)
		require.NoError(t, err)
		require.Positive(t, rep.Sites["c"].Failed, "what it alone has stays")
		report, err := r.Migrate(ctx, planned(t, r, migration("a", "d")), nil)
		require.NoError(t, err)
		require.True(t, report.Done)
		require.NoError(t, create(r, "later", "1"))
		reported["later"] = "1"
		require.Empty(t, changes())
		st, err = w.open().Status(ctx)
		require.NoError(t, err)
		require.Equal(t, "behind", st.Sites[2].Standing)

		// When it may be written again, it gets all that it missed.
		w.still = ""
		time.Sleep(time.Hour)
		r = w.open()
		_, err = r.Reconcile(ctx, &router.ReconcileOptions{Deep: true})
		require.NoError(t, err)
		require.Equal(t, reported, users(w.stores["c"]))
		require.Equal(t, []string{"x"}, aside(w.stores["c"]))
		st, err = r.Status(ctx)
		require.NoError(t, err)
		require.Zero(t, st.Debts)
		require.Equal(t, "current", st.Sites[2].Standing)
	})
}

// TestLeavingAReadOnlySite brings everything elsewhere, and says what stays.
func TestLeavingAReadOnlySite(t *testing.T) {
	w, reported, changes := stillWorld(t, "a", "b", "c")
	r := w.open()
	report, err := r.Migrate(t.Context(), planned(t, r, migration("c", "b")), &router.MigrateOptions{Erase: erase("none")})
	var left *router.ResidueError
	require.ErrorAs(t, err, &left)
	require.GreaterOrEqual(t, left.Objects, int64(6))
	require.EqualValues(t, 6, report.Proof.Objects)
	require.NoError(t, w.check(2, reported, "c"))
	require.Empty(t, changes())
	require.NoError(t, create(r, "new", "1"))
}

// TestMovingBesideASiteThatMissedADeletion does not bring back what is still there, be it read-only or in quarantine.
func TestMovingBesideASiteThatMissedADeletion(t *testing.T) {
	for _, still := range []string{"c", ""} {
		w, reported, changes := stillWorld(t, "a", "b", "c")
		v := *w
		v.names, v.stores["d"] = append(v.names, "d"), faultstore.New()
		v.still, w.still = still, still
		r := v.open()
		if still == "" {
			require.NoError(t, r.Quarantine(t.Context(), "c", "Dr Ada", evidence.CauseOther))
		}
		require.NoError(t, r.Bucket().Delete(t.Context(), "p/001"))
		delete(reported, "p/001")
		require.Len(t, users(v.stores["c"]), 6)
		_, err := r.Migrate(t.Context(), planned(t, r, migration("b", "d")), nil)
		require.NoError(t, err)
		for _, n := range []string{"a", "d"} {
			require.Equal(t, reported, users(v.stores[n]))
		}
		require.Empty(t, changes())
	}
}

// TestPromotionWithoutAReadOnlySite: it cannot be claimed, and a promotion that needs it begins nothing.
func TestPromotionWithoutAReadOnlySite(t *testing.T) {
	w, reported, changes := stillWorld(t, "a", "b", "c")
	p := w.process()
	p.cut(true, "a")
	r := p.mustOpen()
	err := promote(r, "b", false)
	require.ErrorIs(t, err, router.ErrTooFewSites)
	require.ErrorContains(t, err, "site c: promote: the site is read-only")
	require.Equal(t, 2, records(w.stores["b"], "epoch-"), "the record of the first epoch and that it is current in it")
	require.NoError(t, promote(r, "b", true))
	p.cut(false, "a")
	_, err = w.open().Reconcile(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, w.check(3, reported))
	require.Empty(t, changes())
}

// TestWritesOfBeforeItWasReadOnly: what a killed process has left unfinished there is finished elsewhere.
func TestWritesOfBeforeItWasReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, reported, changes := stillWorld(t, "a", "b", "c")
		w.still = ""
		p := w.process()
		r := p.mustOpen()
		p.setFault(func(site string, o faultstore.Op) faultstore.Fault { // the intents stay, and b misses the object
			if o.Kind == faultstore.Delete && strings.HasPrefix(o.Key, ".router/intent-") || site == "b" && o.Kind == faultstore.Write && o.Key == "k" {
				return faultstore.Fail(gcerrors.Internal)
			}
			return faultstore.Fault{}
		})
		require.NoError(t, create(r, "k", "1"))
		reported["k"] = "1"
		require.NotZero(t, records(w.stores["c"], "intent-"))
		w.still = "c"
		r = w.open()
		for range 2 {
			_, err := r.Reconcile(t.Context(), nil)
			require.NoError(t, err)
		}
		require.NoError(t, w.check(3, reported))
		require.Zero(t, records(w.stores["a"], "intent-")+records(w.stores["b"], "intent-"))
		require.Empty(t, changes())
	})
}

// TestFirstOpeningOfAReadOnlySite changes nothing anywhere.
func TestFirstOpeningOfAReadOnlySite(t *testing.T) {
	w := newWorld(t, 1, "a", "b")
	w.still = "b"
	_, err := w.process().open()
	require.ErrorIs(t, err, router.ErrFirst)
	require.ErrorContains(t, err, "site b: open: the site is read-only")
	require.Empty(t, append(w.stores["a"].Keys(), w.stores["b"].Keys()...))
}
