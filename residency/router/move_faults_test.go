package router_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"
	"pgregory.net/rapid"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/router"
)

// TestCopiesNeverGetFewer looks at every site before each request of random migrations of random objects, with requests
// that fail and processes that are killed: each reported object must have enough copies at sites where it may be.
func TestCopiesNeverGetFewer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		must := rapid.IntRange(1, 3).Draw(rt, "must reach")
		names := []string{"a", "b", "c", "d", "e"}
		enrolled := rapid.IntRange(must, 4).Draw(rt, "enrolled")
		w := newWorld(t, must, names...)
		w.opts.Placement.Copies = rapid.IntRange(must, enrolled).Draw(rt, "copies")
		v := *w
		v.names = names[:enrolled]
		require.NoError(rt, v.open().Close(context.Background()))

		r := w.open()
		reported := seed(t, r, rapid.IntRange(0, 7).Draw(rt, "objects"))
		m := migration(names[rapid.IntRange(0, enrolled-1).Draw(rt, "from")])
		for _, to := range names[enrolled:] {
			if rapid.Bool().Draw(rt, "to "+to) {
				m.To = append(m.To, to)
			}
		}
		if m.From == "a" {
			m.Promote = names[1]
			if enrolled == 1 {
				m.Promote = names[enrolled]
			}
		}
		plan, err := r.PlanMigration(context.Background(), m)
		if enrolled-1+len(m.To) < must || m.Promote != "" && enrolled == 1 && !slices.Contains(m.To, m.Promote) {
			require.Error(rt, err)
			return
		}
		require.NoError(rt, err)
		for range 20 {
			p := w.process()
			worst := error(nil)
			var mu sync.Mutex
			fails := rapid.IntRange(0, 60).Draw(rt, "one in so many requests fails")
			count := 0
			p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
				mu.Lock()
				defer mu.Unlock()
				if o.Changes() && worst == nil {
					worst = w.check(must, reported)
				}
				if count++; fails > 5 && count%fails == 0 {
					return faultstore.Fail(gcerrors.Internal)
				}
				return faultstore.Fault{}
			})
			p.kill(rapid.IntRange(30, 400).Draw(rt, "killed at"), rapid.Bool().Draw(rt, "lost"))
			var report *router.MigrationReport
			if r, err = p.open(); err == nil {
				router.SmallChunks(r, 2)
				report, err = r.Migrate(context.Background(), plan, serial)
			}
			require.NoError(rt, worst)
			if err == nil {
				require.True(rt, report.Done)
				require.Empty(rt, users(w.stores[m.From]))
				require.NoError(rt, w.check(must, reported, m.From))
				return
			}
		}
		p := w.process() // without faults it comes to its end
		r = p.mustOpen()
		_, err = r.Migrate(context.Background(), plan, serial)
		require.NoError(rt, err)
		require.Empty(rt, users(w.stores[m.From]))
		require.NoError(rt, w.check(must, reported, m.From))
	})
}

// TestTwoAtOnce carries one plan out in several processes, and lets two plans compete.
func TestTwoAtOnce(t *testing.T) {
	w := newMoveWorld(t, 2, "a", "b", "c", "d")
	first := w.open()
	reported := seed(t, first, 40)
	one, two := planned(t, first, migration("b", "c")), planned(t, first, migration("b", "d"))
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		r := w.open()
		router.SmallChunks(r, 3+i)
		plan := one
		if i%2 == 1 {
			plan = two
		}
		wg.Go(func() { _, errs[i] = r.Migrate(t.Context(), plan, &router.MigrateOptions{Workers: 2}) })
	}
	wg.Wait()
	won := map[int]int{}
	for i, err := range errs {
		if err == nil {
			won[i%2]++
			continue
		}
		require.True(t, errors.Is(err, router.ErrMoving) || errors.Is(err, router.ErrStale), "%d: %v; %v", i, err, errs)
	}
	require.Len(t, won, 1, "one of the two plans: %v", errs)
	for _, n := range won {
		require.Equal(t, 3, n, "all processes that carry it out: %v", errs)
	}
	require.NoError(t, moved(w, reported, "b"))
}

func TestAPlanThatIsStaleOrAlteredIsRefused(t *testing.T) {
	w := newMoveWorld(t, 2, "a", "b", "c")
	p := w.process()
	rules := &law{verdict: map[residency.Place]residency.Verdict{"AU": residency.Allowed, "NZ": residency.Allowed, "US": residency.Allowed}}
	o := w.opts
	r, err := router.Open(t.Context(), rules, subject, placed(p.sites(), "AU", "US", "NZ"), &o)
	require.NoError(t, err)
	seed(t, r, 3)
	plan := planned(t, r, migration("b", "c"))
	altered := *plan
	altered.To = []string{"a"}
	_, err = r.Migrate(t.Context(), &altered, nil)
	require.ErrorIs(t, err, router.ErrPlan)

	// The target becomes unlawful after the plan was made, and the rules are asked again.
	rules.set("NZ", residency.Denied)
	r, err = router.Open(t.Context(), rules, subject, placed(p.sites(), "AU", "US", "NZ"), &o)
	require.NoError(t, err)
	_, err = r.Migrate(t.Context(), plan, nil)
	var denied *router.DeniedError
	require.ErrorAs(t, err, &denied)
	require.Equal(t, residency.Denied, denied.Decisions["c"].Verdict)
	require.Equal(t, residency.Allowed, denied.Decisions["a"].Verdict)
	require.ErrorContains(t, err, "the site c to move to")
	_, err = r.PlanMigration(t.Context(), migration("b", "c"))
	require.ErrorAs(t, err, &denied)
	require.Empty(t, users(w.stores["c"]))

	rules.set("NZ", residency.Allowed)
	rules.set("US", residency.Denied)
	r, err = router.Open(t.Context(), rules, subject, placed(p.sites(), "AU", "US", "NZ"), &o)
	require.NoError(t, err)
	_, err = r.Migrate(t.Context(), plan, nil)
	require.ErrorIs(t, err, router.ErrStale, "the leaving site was lawful then")
	require.Error(t, create(r, "x", "x"), "one lawful site is not enough")
	report, err := r.Migrate(t.Context(), planned(t, r, migration("b", "c")), nil)
	require.NoError(t, err)
	require.True(t, report.Done)
	require.NoError(t, create(r, "x", "x"))
	_, err = r.Migrate(t.Context(), plan, nil)
	require.ErrorIs(t, err, router.ErrStale, "the set of sites has changed")
	for _, m := range []router.Migration{migration("b", "c"), migration("x", "c"), migration("a", "a"), migration("c", "nowhere"),
		{From: "a", Person: "Dr Ada", Cause: evidence.CauseOther}, {From: "c", To: []string{"b"}}, {From: "c", To: []string{"b"}, Promote: "b", Person: "Dr Ada", Cause: evidence.CauseOther}} {
		_, err = r.PlanMigration(t.Context(), m)
		require.ErrorIs(t, err, router.ErrSites, "%+v", m)
	}
}

// TestATargetThatBecomesUnlawfulInTheMiddle is not written any more.
func TestATargetThatBecomesUnlawfulInTheMiddle(t *testing.T) {
	w := newMoveWorld(t, 2, "a", "b", "c")
	p := w.process()
	rules := &law{verdict: map[residency.Place]residency.Verdict{"AU": residency.Allowed, "NZ": residency.Allowed, "US": residency.Allowed}}
	o := w.opts
	now := time.Now()
	o.Now = func() time.Time { return now }
	r, err := router.Open(t.Context(), rules, subject, placed(p.sites(), "AU", "US", "NZ"), &o)
	require.NoError(t, err)
	reported := seed(t, r, 10)
	n := 0
	p.setFault(func(site string, f faultstore.Op) faultstore.Fault {
		if site == "c" && f.Kind == faultstore.Write && strings.HasPrefix(f.Key, "p/") {
			if n++; n == 4 {
				rules.set("NZ", residency.Denied)
				now = now.Add(2 * time.Hour)
			}
		}
		return faultstore.Fault{}
	})
	_, err = r.Migrate(t.Context(), planned(t, r, migration("b", "c")), serial)
	var denied *router.DeniedError
	require.ErrorAs(t, err, &denied)
	require.Equal(t, residency.Denied, denied.Decisions["c"].Verdict)
	require.Len(t, users(w.stores["c"]), 4)
	require.NoError(t, w.check(2, reported, "c"))
}

// TestDifferingCopiesAreNotChosenFrom keeps what the leaving site has where nobody knows which copy is right.
func TestDifferingCopiesAreNotChosenFrom(t *testing.T) {
	w := newMoveWorld(t, 2, "a", "b", "c")
	r := w.open()
	reported := seed(t, r, 6)
	rotten := w.stores["a"].Get("p/003")
	rotten[0] ^= 1
	w.stores["a"].Set("p/003", rotten)
	time.Sleep(1100 * time.Millisecond) // what is written in the second in which a migration begins may be newer than it
	plan := planned(t, r, migration("b", "c"))
	report, err := r.Migrate(t.Context(), plan, serial)
	require.ErrorIs(t, err, router.ErrDiffering)
	require.Equal(t, []string{"p/003"}, report.KeptKeys)
	require.Equal(t, map[string]string{"p/003": "object 3"}, users(w.stores["b"]))
	require.NotContains(t, err.Error(), "p/")

	w.stores["a"].Set("p/003", []byte("object 3"))
	w.stores["c"].Set("p/003", []byte("object 3"))
	report, err = r.Migrate(t.Context(), plan, serial)
	require.NoError(t, err)
	require.True(t, report.Done)
	require.NoError(t, moved(w, reported, "b"))
}

// TestSitesFailDuringAMigration takes each site away at some time, and brings it back.
func TestSitesFailDuringAMigration(t *testing.T) {
	for _, site := range []string{"a", "b", "c"} {
		for _, at := range []int{1, 20, 60, 100, 150} {
			w := newMoveWorld(t, 2, "a", "b", "c")
			p := w.process()
			r := p.mustOpen()
			reported := seed(t, r, 6)
			plan := planned(t, r, migration("b", "c"))
			n := 0
			var mu sync.Mutex
			p.setFault(func(s string, _ faultstore.Op) faultstore.Fault {
				mu.Lock()
				defer mu.Unlock()
				if n++; n >= at && s == site {
					return faultstore.Fail(gcerrors.Internal)
				}
				return faultstore.Fault{}
			})
			_, err := r.Migrate(t.Context(), plan, serial)
			require.NoError(t, w.check(2, reported), "%s fails at %d", site, at)
			if err == nil {
				continue
			}
			require.NotContains(t, err.Error(), "p/0")
			r = w.open()
			report, err := r.Migrate(t.Context(), plan, serial)
			require.NoError(t, err, "%s fails at %d", site, at)
			require.True(t, report.Done)
			require.NoError(t, moved(w, reported, "b"), "%s fails at %d", site, at)
		}
	}
}

// TestLockedObjectsStayUntilTheirDate has a store that refuses to delete.
func TestLockedObjectsStayUntilTheirDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMoveWorld(t, 2, "a", "b", "c", "d")
		notes := &diary{}
		w.opts.Evidence = notes.note
		p := w.process()
		r := p.mustOpen()
		reported := seed(t, r, 6)
		until := time.Now().Add(90 * 24 * time.Hour).UTC()
		opts := &router.MigrateOptions{LockedUntil: func(_ context.Context, b *blob.Bucket, key string) (time.Time, bool, error) {
			if b != p.buckets["b"] {
				return time.Time{}, false, nil
			}
			return until, key == "p/002" && time.Now().Before(until), nil
		}}
		p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
			if site == "b" && o.Kind == faultstore.Delete && o.Key == "p/004" && time.Now().Before(until) {
				return faultstore.Fail(gcerrors.PermissionDenied)
			}
			return faultstore.Fault{}
		})
		plan := planned(t, r, migration("b", "c"))
		report, err := r.Migrate(t.Context(), plan, opts)
		var residue *router.ResidueError
		require.ErrorAs(t, err, &residue)
		require.Equal(t, router.Residue{Objects: 2, Bytes: 16, Until: until, Undated: 1}, residue.Residue)
		require.ErrorContains(t, err, "crypto-shred")
		require.ErrorContains(t, err, until.Format("2006-01-02"))
		require.ElementsMatch(t, []string{"p/002", "p/004"}, report.LockedKeys)
		require.NotNil(t, report.Proof)
		require.False(t, report.Done)
		require.Equal(t, 1, notes.count("residual b"))
		require.Equal(t, 1, notes.count("proof b"))
		require.NoError(t, w.check(2, reported, "b"))
		left, err := r.Residues(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]router.Residue{"b": residue.Residue}, left)

		// It does not keep anybody from another migration, nor does promoting bring the site back.
		r = p.mustOpen()
		_, err = r.Migrate(t.Context(), planned(t, r, migration("c", "d")), serial)
		require.NoError(t, err)
		require.NoError(t, promote(r, "d", false))
		require.Len(t, users(w.stores["b"]), 2)
		st, err := r.Status(t.Context())
		require.NoError(t, err)
		for _, s := range st.Sites {
			require.Equal(t, s.Name == "a" || s.Name == "d", s.Enrolled, s.Name)
		}
		reports, err := r.ResumeMigrations(t.Context(), opts)
		require.ErrorAs(t, err, &residue)
		require.Len(t, reports, 1)

		time.Sleep(91 * 24 * time.Hour)
		reports, err = r.ResumeMigrations(t.Context(), opts)
		require.NoError(t, err)
		require.True(t, reports[0].Done)
		require.Empty(t, users(w.stores["b"]))
		left, err = r.Residues(t.Context())
		require.NoError(t, err)
		require.Empty(t, left)
		reports, err = r.ResumeMigrations(t.Context(), opts)
		require.NoError(t, err)
		require.Empty(t, reports)
		require.NoError(t, w.check(2, reported, "b", "c"))
		require.Empty(t, users(w.stores["c"]), "what the first migration brought to a place that was left since is cleared")
		require.NoError(t, r.Close(t.Context()))
	})
}

// TestRateOfAMigration holds the limit, by a clock of its own, and stops when it is told to.
func TestRateOfAMigration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMoveWorld(t, 2, "a", "b", "c")
		r := w.open()
		for i := range 10 {
			require.NoError(t, create(r, fmt.Sprint("big/", i), strings.Repeat("x", 10_000)))
		}
		plan := planned(t, r, migration("b", "c"))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var seen []router.MigrationProgress
		opts := &router.MigrateOptions{BytesPerSecond: 10_000, Progress: func(p router.MigrationProgress) { seen = append(seen, p) }}
		start := time.Now()
		_, err := r.Migrate(ctx, plan, opts)
		require.Error(t, err)
		require.LessOrEqual(t, time.Since(start), 11*time.Second)
		start = time.Now()
		_, err = r.Migrate(t.Context(), plan, opts)
		require.NoError(t, err)
		// Of each object at least three copies are read.
		require.GreaterOrEqual(t, time.Since(start), 20*time.Second)
		last := seen[len(seen)-1]
		require.Equal(t, router.MigrationProgress{Stage: evidence.Deleted, Objects: 10, Bytes: 100_000}, last)
		require.NoError(t, r.Close(t.Context()))
	})
}

// TestAWriteThatSpansTheChange is begun before the set of sites changes and ended after.
func TestAWriteThatSpansTheChange(t *testing.T) {
	w := newMoveWorld(t, 2, "a", "b", "c")
	for _, same := range []bool{true, false} {
		w := *w
		p := w.process()
		r := p.mustOpen()
		writer := r
		if !same {
			writer = w.open()
		}
		key := fmt.Sprint("spanning/", same)
		b, err := writer.Bucket().NewWriter(t.Context(), key, &blob.WriterOptions{IfNotExist: true, ContentType: "application/octet-stream"})
		require.NoError(t, err)
		_, err = b.Write([]byte("half, "))
		require.NoError(t, err)
		from, to := "b", "c"
		if !same {
			from, to = "c", "b"
		}
		report, err := r.Migrate(t.Context(), planned(t, r, migration(from, to)), serial)
		require.NoError(t, err)
		require.True(t, report.Done)
		p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
			require.False(t, same && site == from && o.Kind == faultstore.Write && o.Key == key, "nothing goes to where data was moved away from")
			return faultstore.Fault{}
		})
		_, err = b.Write([]byte("and half"))
		require.NoError(t, err)
		require.NoError(t, b.Close())
		require.NoError(t, w.check(2, map[string]string{key: "half, and half"}, from))
		require.Zero(t, records(w.stores[from], "intent-"))
		require.Empty(t, users(w.stores[from]))
	}
}

// TestNothingOfAMigrationNamesAKey looks for keys in evidence and errors.
func TestNothingOfAMigrationNamesAKey(t *testing.T) {
	w := newMoveWorld(t, 2, "a", "b", "c")
	log, err := evidence.Open(t.Context(), memblob.OpenBucket(nil), "e/", nil)
	require.NoError(t, err)
	notes := &diary{}
	w.opts.Evidence = func(ctx context.Context, kind evidence.Kind, site string, data any) error {
		_ = notes.note(ctx, kind, site, data)
		return log.Append(ctx, kind, site, data)
	}
	r := w.open()
	require.NoError(t, create(r, "patients/meyer-anna", "x"))
	_, err = r.PlanExit(t.Context(), "b")
	require.NoError(t, err)
	_, err = r.Migrate(t.Context(), planned(t, r, migration("b", "c")), nil)
	require.NoError(t, err)
	for _, kind := range []string{"move b", "proof b", "placement ", "exit b"} {
		require.Positive(t, notes.count(kind), kind)
	}
	require.NotContains(t, strings.Join(notes.lines, "\n"), "meyer")
}
