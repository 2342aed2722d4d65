package router_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/residency/router"
)

// killEverywhere runs a scenario once to count its requests, then once for each request at which the process is
// killed, with and without the request's effect. Prepare makes the world; run returns what it was told is safe.
func killEverywhere(t *testing.T, prepare func(w *world, p *process) *router.Router, run func(p *process, r *router.Router, reported map[string]string), after func(w *world, reported map[string]string) error) {
	for _, lost := range []bool{true, false} {
		for n := 1; ; n++ {
			w := newWorld(t, 2, "a", "b", "c")
			p := w.process()
			r := prepare(w, p)
			reported := map[string]string{}
			p.kill(n, lost)
			run(p, r, reported)
			if p.requests() < n {
				require.Greater(t, n, 5, "the scenario makes requests")
				break
			}
			require.NoError(t, w.check(2, reported), "killed at %d, lost %v", n, lost)
			require.NoError(t, after(w, reported), "killed at %d, lost %v", n, lost)
			require.NoError(t, w.survives(2, reported), "killed at %d, lost %v", n, lost)
		}
	}
}

// logEntries appends entries as a log does: entry n+1 only after n is known to be safe.
func logEntries(r *router.Router, who string, from, to int, reported map[string]string) {
	for i := from; i <= to; i++ {
		key, data := fmt.Sprintf("log/%d", i), fmt.Sprintf("%s %d", who, i)
		err := create(r, key, data)
		if err != nil {
			err = confirm(r, key, data)
		}
		if err != nil {
			return
		}
		reported[key] = data
	}
}

// appendNext finds the head of the log and appends to it, as another host would.
func appendNext(w *world, reported map[string]string) error {
	r := w.open()
	for i := 1; ; i++ {
		key := fmt.Sprintf("log/%d", i)
		got, err := r.Bucket().ReadAll(context.Background(), key)
		if err == nil {
			reported[key] = string(got) // what the next entry rests on
			continue
		}
		if err := create(r, key, "next"); err != nil {
			return fmt.Errorf("append %s: %w", key, err)
		}
		reported[key] = "next"
		return w.check(2, reported)
	}
}

func openIn(w *world, p *process) *router.Router { return p.mustOpen() }

func TestKilledWhileWriting(t *testing.T) {
	killEverywhere(t, openIn, func(_ *process, r *router.Router, reported map[string]string) {
		logEntries(r, "first", 1, 2, reported)
	}, appendNext)
}

// TestKilledWhileWritingDegraded has a site down, so that debts are taken.
func TestKilledWhileWritingDegraded(t *testing.T) {
	killEverywhere(t, openIn, func(p *process, r *router.Router, reported map[string]string) {
		p.cut(true, "c")
		logEntries(r, "first", 1, 2, reported)
	}, func(w *world, reported map[string]string) error {
		if err := appendNext(w, reported); err != nil {
			return err
		}
		if _, err := w.open().Reconcile(context.Background(), nil); err != nil {
			return err
		}
		return w.check(3, reported)
	})
}

func TestKilledWhileDeleting(t *testing.T) {
	deleted := false
	killEverywhere(t, func(w *world, p *process) *router.Router {
		r := p.mustOpen()
		require.NoError(t, create(r, "dead", "x"))
		require.NoError(t, create(r, "live", "y"))
		return r
	}, func(_ *process, r *router.Router, reported map[string]string) {
		reported["live"] = "y"
		deleted = r.Bucket().Delete(context.Background(), "dead") == nil
	}, func(w *world, reported map[string]string) error {
		if deleted {
			for n, s := range w.stores {
				if users(s)["dead"] != "" {
					return errors.New("a deleted object is still at " + n)
				}
			}
		}
		if _, err := w.open().Reconcile(context.Background(), nil); err != nil {
			return err
		}
		// Deleted or not, but the same everywhere, and nothing is left over.
		for n, s := range w.stores {
			if got := users(s)["dead"]; got != users(w.stores["a"])["dead"] {
				return errors.New("half a deletion is left at " + n)
			}
			if records(s, "intent-")+records(s, "debt/") > 0 {
				return errors.New("records are left at " + n)
			}
		}
		return nil
	})
}

// TestKilledWhileReconciling kills a reconciliation that has everything to do: a debt, a site that was away, a loss at
// the home site.
func TestKilledWhileReconciling(t *testing.T) {
	told := map[string]string{}
	killEverywhere(t, func(w *world, p *process) *router.Router {
		clear(told)
		r := p.mustOpen()
		logEntries(r, "first", 1, 2, told)
		p.cut(true, "c")
		logEntries(r, "first", 3, 4, told)
		require.Len(t, told, 4)
		p.cut(false, "c")
		require.True(t, w.stores["a"].Remove("log/2"))
		w.stores["b"].Set("log/5", []byte("late"))
		return p.mustOpen()
	}, func(_ *process, r *router.Router, reported map[string]string) {
		maps.Copy(reported, told)
		_, _ = r.Reconcile(context.Background(), nil)
	}, func(w *world, reported map[string]string) error {
		reported["log/5"] = "late"
		if _, err := w.open().Reconcile(context.Background(), nil); err != nil {
			return err
		}
		return w.check(3, reported)
	})
}

// TestKilledWhilePromoting kills a promotion after the home site was lost.
func TestKilledWhilePromoting(t *testing.T) {
	for _, lost := range []bool{true, false} {
		for n := 1; ; n++ {
			w := newWorld(t, 2, "a", "b", "c")
			first := w.process()
			r := first.mustOpen()
			reported := map[string]string{}
			logEntries(r, "first", 1, 2, reported)
			first.cut(true, "c")
			logEntries(r, "first", 3, 4, reported)
			require.Len(t, reported, 4)
			require.NoError(t, r.Close(t.Context()))

			p := w.process()
			p.cut(true, "a")
			r = p.mustOpen()
			p.kill(n, lost)
			perr := promote(r, "c", false)
			if p.requests() < n {
				require.NoError(t, perr)
				require.Greater(t, n, 20)
				break
			}
			require.NoError(t, w.check(2, reported), "killed at %d", n)
			// The old home site is back for somebody who has not heard of the promotion. He may be told of success or
			// not, but not of anything that is lost afterwards.
			old := w.process()
			old.cut(true, "c")
			if ro, err := old.open(); err == nil {
				logEntries(ro, "old", 5, 5, reported)
			}
			require.NoError(t, w.check(2, reported), "killed at %d, lost %v", n, lost)
			again := w.process()
			again.cut(true, "a")
			ra := again.mustOpen()
			require.NoError(t, promote(ra, "c", false), "killed at %d, lost %v", n, lost)
			require.NoError(t, readable(ra, reported), "killed at %d, lost %v", n, lost)
			next := fmt.Sprintf("log/%d", len(reported)+1)
			if err := create(ra, next, "new"); err == nil {
				reported[next] = "new"
			} else {
				// An entry of the old epoch that nobody was told of has been adopted.
				require.ErrorContains(t, err, "the object exists")
			}
			require.NoError(t, w.check(2, reported, "a"), "killed at %d, lost %v", n, lost)
			// The old home site comes back and is reconciled.
			_, err := w.open().Reconcile(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, w.check(3, reported), "killed at %d, lost %v", n, lost)
			require.NoError(t, w.survives(2, reported), "killed at %d, lost %v", n, lost)
		}
	}
}
