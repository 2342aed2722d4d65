package router_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/router"
)

// newMoveWorld is a world whose router knows the first sites, and then also spares. Two copies of everything.
func newMoveWorld(t testing.TB, enrolled int, names ...string) *world {
	w := newWorld(t, 2, names...)
	w.opts.Placement.Copies = 2
	v := *w
	v.names = names[:enrolled]
	r := v.open()
	require.NoError(t, r.Close(context.Background()))
	return w
}

func migration(from string, to ...string) router.Migration {
	return router.Migration{From: from, To: to, Person: "Dr Ada", Cause: evidence.CauseOther}
}

func planned(t testing.TB, r *router.Router, m router.Migration) *router.MigrationPlan {
	p, err := r.PlanMigration(context.Background(), m)
	require.NoError(t, err)
	return p
}

// seed writes objects and returns what was reported.
func seed(t testing.TB, r *router.Router, n int) map[string]string {
	reported := map[string]string{}
	for i := range n {
		key, data := fmt.Sprintf("p/%03d", i), fmt.Sprintf("object %d", i)
		require.NoError(t, create(r, key, data))
		reported[key] = data
	}
	return reported
}

var serial = &router.MigrateOptions{Workers: 1}

// moved checks the end of a migration.
func moved(w *world, reported map[string]string, from string) error {
	if n := len(users(w.stores[from])); n > 0 {
		return fmt.Errorf("%d objects are left at %s", n, from)
	}
	for _, k := range w.stores[from].Keys() {
		if k != ".router/marker" && k[:len(".router/epoch-")] != ".router/epoch-" {
			return fmt.Errorf("a record is left: %s", k)
		}
	}
	if err := w.check(2, reported, from); err != nil {
		return err
	}
	p := w.process()
	r, err := p.open()
	if err != nil {
		return err
	}
	if err := readable(r, reported); err != nil {
		return err
	}
	st, err := r.Status(context.Background())
	if err != nil {
		return err
	}
	for _, s := range st.Sites {
		if s.Name == from && s.Enrolled || s.Name != from && s.Enrolled && s.Standing != "current" {
			return fmt.Errorf("%s is enrolled and %s", s.Name, s.Standing)
		}
	}
	if !st.Ready || st.Home == from {
		return fmt.Errorf("home %s, ready %v", st.Home, st.Ready)
	}
	return create(r, "after", "x")
}

func TestMigrate(t *testing.T) {
	for _, c := range []struct {
		name     string
		enrolled int
		m        router.Migration
	}{
		{"a copy to a spare site", 2, migration("b", "c")},
		{"the home site to a spare site", 2, router.Migration{From: "a", To: []string{"c"}, Promote: "b", Person: "Dr Ada", Cause: evidence.CauseOther}},
		{"the home site to one that becomes home", 2, router.Migration{From: "a", To: []string{"c"}, Promote: "c", Person: "Dr Ada", Cause: evidence.CauseOther}},
		{"to those that remain", 3, migration("b")},
		{"to one that is enrolled", 3, migration("b", "c")},
		{"to two sites", 2, migration("b", "c", "d")},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newMoveWorld(t, c.enrolled, "a", "b", "c", "d")
			r := w.open()
			reported := seed(t, r, 10)
			require.NoError(t, r.Bucket().Delete(t.Context(), "p/004"))
			delete(reported, "p/004")
			p := planned(t, r, c.m)
			require.EqualValues(t, 9, p.Objects)
			report, err := r.Migrate(t.Context(), p, serial)
			require.NoError(t, err)
			require.True(t, report.Done)
			require.EqualValues(t, 9, report.Deleted)
			require.EqualValues(t, 9, report.Proof.Objects)
			require.NoError(t, moved(w, reported, c.m.From))
			for _, to := range c.m.To {
				require.Len(t, users(w.stores[to]), 9+min(1, len(users(w.stores[to]))-9), to)
			}
			for name, s := range w.stores {
				if name != c.m.From && len(users(s)) > 0 {
					require.GreaterOrEqual(t, records(s, "epoch-00000002-"), 2, "%s knows the epoch and is current in it", name)
				}
				require.Zero(t, records(s, "moved/"), name)
				require.Zero(t, records(s, "intent-"), name)
			}
			again, err := r.Migrate(t.Context(), p, serial)
			require.NoError(t, err)
			require.True(t, again.Done)
			require.Equal(t, report.Proof, again.Proof)
		})
	}
}

func TestMigrationIsResumedWhereverItWasKilled(t *testing.T) {
	for _, m := range []router.Migration{
		migration("b", "c"),
		{From: "a", To: []string{"c"}, Promote: "b", Person: "Dr Ada", Cause: evidence.CauseOther},
	} {
		for _, lost := range []bool{true, false} {
			for n := 1; ; n++ {
				w := newMoveWorld(t, 2, "a", "b", "c")
				p := w.process()
				r := p.mustOpen()
				router.SmallChunks(r, 2)
				reported := seed(t, r, 5)
				plan := planned(t, r, m)
				p.kill(n, lost)
				_, err := r.Migrate(t.Context(), plan, serial)
				if p.requests() < n {
					require.NoError(t, err)
					require.Greater(t, n, 50)
					require.NoError(t, moved(w, reported, m.From))
					break
				}
				require.NoError(t, w.check(2, reported), "killed at %d, lost %v", n, lost)
				r2 := w.open()
				if m.Promote == "" { // a promotion that was not ended has to be ended first
					require.NoError(t, readable(r2, reported), "killed at %d, lost %v", n, lost)
					// Others go on writing, also before it is resumed.
					require.NoError(t, create(r2, "between", "y"), "killed at %d, lost %v", n, lost)
					reported["between"] = "y"
					require.NoError(t, r2.Bucket().Delete(t.Context(), "p/001"), "killed at %d, lost %v", n, lost)
					delete(reported, "p/001")
				}
				router.SmallChunks(r2, 2)
				reports, err := r2.ResumeMigrations(t.Context(), serial)
				require.NoError(t, err, "killed at %d, lost %v", n, lost)
				if len(reports) == 0 {
					// It was killed before it was begun, or after it was done.
					_, err = r2.Migrate(t.Context(), plan, serial)
					require.NoError(t, err, "killed at %d, lost %v", n, lost)
				}
				require.NoError(t, moved(w, reported, m.From), "killed at %d, lost %v", n, lost)
			}
		}
	}
}

// TestOthersWriteDuringAMigration lets the router that migrates and another process write and delete all the time. Nobody
// may notice, and at every request each reported object must have enough copies.
func TestOthersWriteDuringAMigration(t *testing.T) {
	for round := range 5 {
		w := newMoveWorld(t, 2, "a", "b", "c")
		p := w.process()
		r, other := p.mustOpen(), w.open()
		reported := seed(t, r, 150)
		plan := planned(t, r, migration("b", "c"))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		results := make([]map[string]string, 2)
		for i, at := range []*router.Router{r, other} {
			results[i] = map[string]string{}
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					key := fmt.Sprintf("w/%d/%d", i, n)
					if err := create(at, key, key); !assert.NoError(t, err, "round %d, writer %d", round, i) {
						return
					}
					results[i][key] = key
					// What others had before the migration began is deleted and replaced, each object by one of them.
					if old := fmt.Sprintf("p/%03d", 2*n+i); n < 70 && n%3 == 2 {
						if err := at.Bucket().Delete(context.Background(), old); !assert.NoError(t, err, "round %d, writer %d", round, i) {
							return
						}
						results[i][old] = ""
					} else if n < 70 {
						if !assert.NoError(t, at.Bucket().WriteAll(context.Background(), old, []byte(reportedAs(i)), nil)) {
							return
						}
						results[i][old] = reportedAs(i)
					}
				}
			})
		}
		report, err := r.Migrate(t.Context(), plan, &router.MigrateOptions{Workers: 3})
		cancel()
		wg.Wait()
		require.NoError(t, err)
		require.True(t, report.Done)
		for i := range results {
			for k, v := range results[i] {
				if reported[k] = v; v == "" {
					delete(reported, k)
				}
			}
		}
		require.NotEmpty(t, results[0])
		require.NotEmpty(t, results[1])
		require.NoError(t, moved(w, reported, "b"))
		require.Empty(t, differences(users(w.stores["a"]), users(w.stores["c"])), "intents at a %d, c %d", records(w.stores["a"], "intent-"), records(w.stores["c"], "intent-"))
	}
}

// differences names the keys at which two stores differ.
func differences(a, b map[string]string) (out []string) {
	for k := range a {
		if a[k] != b[k] {
			out = append(out, fmt.Sprintf("%s: %q, %q", k, a[k], b[k]))
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k+" is extra")
		}
	}
	return out
}

func reportedAs(writer int) string { return fmt.Sprintf("replaced by %d", writer) }

// TestASpareSiteChangesNothing until something is moved there: who asks for a copy at every site means those enrolled.
func TestASpareSiteChangesNothing(t *testing.T) {
	w := newWorld(t, 0, "a", "b", "c")
	v := *w
	v.names = []string{"a", "b"}
	require.NoError(t, v.open().Close(t.Context()))
	r := w.open()
	reported := seed(t, r, 3)
	require.Empty(t, users(w.stores["c"]))
	_, err := r.PlanMigration(t.Context(), migration("b"))
	var denied *router.DeniedError
	require.ErrorAs(t, err, &denied)
	require.Equal(t, []string{"2 sites"}, denied.Lacks)
	_, err = r.Migrate(t.Context(), planned(t, r, migration("b", "c")), serial)
	require.NoError(t, err)
	require.NoError(t, moved(w, reported, "b"))
}
