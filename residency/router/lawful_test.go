package router_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/router"
)

// arrivals notes what living processes put at some sites.
type arrivals struct {
	mu   sync.Mutex
	at   map[string]bool
	keys []string
}

func (a *arrivals) watch(site string, o faultstore.Op) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at[site] && (o.Kind == faultstore.Write || o.Kind == faultstore.Copy) {
		a.keys = append(a.keys, site+" "+o.Key)
	}
}

// named are those that name a key of a user or a person: all but what says whose a site is and which epoch began.
func (a *arrivals) named() (out []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.keys {
		if _, name, _ := strings.Cut(k, " "); name != ".router/marker" && !strings.HasPrefix(name, ".router/epoch-") {
			out = append(out, k)
		}
	}
	return out
}

// lawWorld is a world in which some sites become unlawful when law says so.
func lawWorld(t *testing.T, mustReach int, sites ...string) (*world, *law, *arrivals) {
	w := newWorld(t, mustReach, sites...)
	rules := &law{verdict: map[residency.Place]residency.Verdict{}}
	w.places = map[string]residency.Place{}
	for _, s := range sites {
		w.places[s] = residency.Place("AU-" + strings.ToUpper(s))
		rules.verdict[w.places[s]] = residency.Allowed
	}
	seen := &arrivals{at: map[string]bool{}}
	w.rules, w.watch = rules, seen.watch
	return w, rules, seen
}

// deny makes a site unlawful, and waits until the decisions in use have ended.
func (a *arrivals) deny(rules *law, w *world, site string) {
	rules.set(w.places[site], residency.Denied)
	a.mu.Lock()
	a.at[site] = true
	a.mu.Unlock()
	time.Sleep(2 * time.Hour)
}

// TestNoRecordWhereNoMoreMayBe: a site that may hold no more gets deletions, and no record that names a key or a person.
func TestNoRecordWhereNoMoreMayBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w, rules, seen := lawWorld(t, 2, "a", "b", "c", "d")
		w.opts.Overrides = map[string]residency.Override{"d": {ID: "o1", Person: "Dr Ada", Reason: "to be left", From: time.Now(), Until: time.Now().AddDate(1, 0, 0)}}
		p := w.process()
		r := p.mustOpen()
		reported := seed(t, r, 6)
		seen.deny(rules, w, "d")

		// What another site misses is noted, but not there.
		p.cut(true, "b")
		require.NoError(t, r.Bucket().Delete(ctx, "p/001"))
		delete(reported, "p/001")
		require.NotContains(t, users(w.stores["d"]), "p/001")
		require.Equal(t, []int{1, 1, 0}, []int{records(w.stores["a"], "debt/"), records(w.stores["c"], "debt/"), records(w.stores["d"], "debt/")})
		require.NoError(t, r.Bucket().WriteAll(ctx, "p/002", []byte("new"), &blob.WriterOptions{ContentType: "x/y"}))
		reported["p/002"] = "new"
		p.cut(false, "b")
		time.Sleep(time.Hour)

		require.NoError(t, r.Quarantine(ctx, "c", "Dr Ada", evidence.CauseOther))
		require.NoError(t, r.Release(ctx, "c", "Dr Ada", evidence.CauseSettled))
		require.NotZero(t, records(w.stores["a"], "quarantine-"))
		_, err := r.Reconcile(ctx, &router.ReconcileOptions{Deep: true})
		require.NoError(t, err)
		require.Empty(t, seen.named())

		// What it alone has after an epoch that it missed is kept aside at the home site.
		p.cut(true, "d")
		require.NoError(t, promote(r, "b", false))
		p.cut(false, "d")
		w.stores["d"].Set("stray", []byte("of d"))
		time.Sleep(time.Hour)
		rep, err := r.Reconcile(ctx, nil)
		require.NoError(t, err)
		require.Equal(t, []router.AsideObject{{Key: "stray", Site: "d"}}, rep.Aside)
		require.Equal(t, []string{"of d"}, aside(w.stores["b"]))
		require.NotContains(t, users(w.stores["d"]), "stray")

		// Another is left, and then it itself.
		for _, from := range []string{"c", "d"} {
			report, err := r.Migrate(ctx, planned(t, r, migration(from, "a")), nil)
			require.NoError(t, err)
			require.True(t, report.Done)
		}
		require.NoError(t, moved(w, reported, "d"))
		require.Empty(t, seen.named())
		require.NotEmpty(t, seen.keys, "it was told that another epoch has begun")
	})
}

// TestHomeMayHoldNoMore: an unlawful home site takes no deletion, whose intent would name the key there, until another was
// promoted; it may be left all the same.
func TestHomeMayHoldNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w, rules, seen := lawWorld(t, 2, "a", "b", "c")
		r := w.open()
		reported := seed(t, r, 4)
		seen.deny(rules, w, "a")
		var denied *router.DeniedError
		require.ErrorAs(t, r.Bucket().Delete(ctx, "p/001"), &denied)
		require.Equal(t, residency.Denied, denied.Decisions["a"].Verdict)
		require.ErrorContains(t, denied, "the home site")
		require.Len(t, users(w.stores["a"]), 4)

		w.stores["b"].Remove("p/002") // so that something is copied while a is home
		m := migration("a", "b")
		m.Promote = "b"
		report, err := r.Migrate(ctx, planned(t, r, m), nil)
		require.NoError(t, err)
		require.True(t, report.Done)
		require.NoError(t, r.Bucket().Delete(ctx, "p/001"))
		delete(reported, "p/001")
		require.NoError(t, moved(w, reported, "a"))
		for _, k := range seen.named() {
			require.True(t, strings.HasPrefix(k, "a .router/move-"), "%s: that a migration began must be known where it is decided", k)
		}
	})
}

// TestQuarantineLeavesForeignBucketsAlone: what is not known to be ours gets no record.
func TestQuarantineLeavesForeignBucketsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := newMoveWorld(t, 2, "a", "b", "spare", "theirs")
		w.stores["theirs"].Set("holiday.jpg", []byte("x"))
		r := w.open()
		for _, s := range []string{"b", "theirs"} {
			require.NoError(t, r.Quarantine(ctx, s, "Dr Ada", evidence.CauseOther))
		}
		require.Equal(t, []string{"holiday.jpg"}, w.stores["theirs"].Keys())
		require.Empty(t, w.stores["spare"].Keys(), "nor one that is not enrolled")
		st, err := w.open().Status(ctx)
		require.NoError(t, err)
		require.True(t, st.Sites[1].Quarantined, "others know it from the sites that are")
		require.True(t, st.Sites[3].Quarantined)
	})
}
