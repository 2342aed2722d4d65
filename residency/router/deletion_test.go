package router_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency/router"
)

// at runs f within the process's n-th request from now on, and lets it die at the k-th, if that is not 0, after that took
// effect.
func (p *process) at(n, k int, f func()) {
	i := 0
	p.setFault(func(string, faultstore.Op) faultstore.Fault {
		if i++; i == n {
			p.mu.Unlock()
			f()
			p.mu.Lock()
		}
		if i == k {
			p.dead = true
			return faultstore.FailWith(faultstore.ErrKilled).Applied()
		}
		return faultstore.Fault{}
	})
}

// unfinished is a world in which a process was killed before it brought an object to the second site.
func unfinished(t *testing.T) *world {
	w := newWorld(t, 2, "a", "b", "c")
	p := w.process()
	r := p.mustOpen()
	require.NoError(t, create(r, "other", "y"))
	p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
		if o.Key == "k" && site != "a" && o.Kind == faultstore.Write {
			p.dead = true
			return faultstore.FailWith(faultstore.ErrKilled)
		}
		return faultstore.Fault{}
	})
	require.Error(t, create(r, "k", "x"))
	require.NotEmpty(t, w.stores["a"].Get("k"))
	return w
}

// lacking is a world in which a site has lost an object.
func lacking(t *testing.T) *world {
	w := newWorld(t, 2, "a", "b", "c")
	r := w.open()
	require.NoError(t, create(r, "other", "y"))
	require.NoError(t, create(r, "k", "x"))
	require.NoError(t, r.Close(t.Context()))
	w.stores["c"].Remove("k")
	return w
}

// gone checks that a reported deletion holds once somebody has reconciled, that nothing else was lost, and that no record stays
// for ever.
func gone(w *world, reported bool) error {
	for n := range 3 {
		if n == 1 {
			time.Sleep(8 * 24 * time.Hour) // what was abandoned is then removed
		}
		r, err := w.process().open()
		if err != nil {
			return err
		}
		if _, err := r.Reconcile(context.Background(), nil); err != nil {
			return err
		}
		if err := r.Close(context.Background()); err != nil {
			return err
		}
		for name, s := range w.stores {
			if (len(s.Get("k")) > 0) != (len(w.stores["a"].Get("k")) > 0) || reported && len(s.Get("k")) > 0 {
				return fmt.Errorf("%s has what was deleted, after %d", name, n)
			}
			if string(s.Get("other")) != "y" {
				return errors.New(name + " has lost another object")
			}
		}
	}
	for name, s := range w.stores {
		if n := records(s, "intent-") + records(s, "debt/"); n > 0 {
			return fmt.Errorf("%d records are left at %s", n, name)
		}
	}
	return nil
}

// every calls f with 1, 2, … until it returns false.
func every(f func(n int) bool) {
	for n := 1; f(n); n++ {
		continue
	}
}

// nowhere checks that no site has the object.
func nowhere(t *testing.T, w *world, format string, args ...any) {
	for name, s := range w.stores {
		require.Empty(t, s.Get("k"), name+": "+fmt.Sprintf(format, args...))
	}
}

// copyists are what makes copies of an object.
var copyists = []struct {
	name  string
	world func(*testing.T) *world
	do    func(*router.Router) error
	dies  bool // what a comparison copies has no intent, so that it must not die
}{
	{"reconciling what was unfinished", unfinished, reconciled, true},
	{"settling it after a write", unfinished, func(r *router.Router) error { return create(r, "next", "z") }, true},
	{"confirming it", unfinished, func(r *router.Router) error { return confirm(r, "k", "x") }, true},
	{"making a copy that was lost", lacking, reconciled, false},
}

func reconciled(r *router.Router) error {
	_, err := r.Reconcile(context.Background(), nil)
	return err
}

// TestDeletedWhileItIsCopied deletes an object within every request of a process that copies it, which is killed at every
// later one.
func TestDeletedWhileItIsCopied(t *testing.T) {
	for _, c := range copyists {
		t.Run(c.name, func(t *testing.T) {
			told := 0
			every(func(n int) (more bool) {
				killed := true
				for k := 0; k == 0 || c.dies && more && killed; k = max(after(k, n), n) {
					synctest.Test(t, func(t *testing.T) {
						w := c.world(t)
						p, q := w.process(), w.process()
						p.setFault(blind) // opening would settle it
						q.setFault(blind)
						r, deleter := p.mustOpen(), q.mustOpen()
						q.setFault(nil)
						reported := false
						more = false
						p.at(n, k, func() {
							more = true
							reported = deleter.Bucket().Delete(context.Background(), "k") == nil
						})
						_ = c.do(r)
						p.setFault(nil)
						killed = k == 0 || p.dead
						if !p.dead && reported {
							told++
							nowhere(t, w, "deleted within request %d", n)
						}
						require.NoError(t, gone(w, reported), "deleted within request %d, killed at %d", n, k)
					})
				}
				return more
			})
			require.Greater(t, told, 10)
		})
	}
}

// after is the request after k at which a process is killed: the next one with CAREKEEP_LONG=1, else one in four, others
// for each n.
func after(k, n int) int {
	k++
	for os.Getenv("CAREKEEP_LONG") == "" && k%4 != n%4 {
		k++
	}
	return k
}

// blind hides the intents at the home site, so that nothing is settled.
func blind(_ string, o faultstore.Op) faultstore.Fault {
	if o.Kind == faultstore.List && o.Key == ".router/intent-" {
		return faultstore.FailWith(errors.New("not now"))
	}
	return faultstore.Fault{}
}

// withinDeletion does something within every request of a deletion, in a process that is killed at each of its own where it
// dies. With hidden, nobody who opens sees what was left unfinished. It returns how often both ended well.
func withinDeletion(t *testing.T, build func(*testing.T) *world, hidden, dies bool, do func(*router.Router) error, doing string) (told int) {
	every(func(n int) (more bool) {
		killed := true
		for k := 0; k == 0 || dies && more && killed; k = after(k, n) {
			synctest.Test(t, func(t *testing.T) {
				w := build(t)
				p, q := w.process(), w.process()
				if hidden {
					p.setFault(blind)
					q.setFault(blind)
				}
				deleter, r := p.mustOpen(), q.mustOpen()
				q.setFault(nil)
				more = false
				p.at(n, 0, func() {
					more = true
					q.kill(k, false)
					_ = do(r)
				})
				reported := deleter.Bucket().Delete(context.Background(), "k") == nil
				killed = k == 0 || q.dead
				if reported && !q.dead {
					told++
					nowhere(t, w, doing+" within request %d", n)
				}
				require.NoError(t, gone(w, reported), "%s within request %d, killed at %d", doing, n, k)
			})
		}
		return more
	})
	return told
}

// TestCopiedWhileItIsDeleted copies an object within every request of its deletion, which looks like that of a process that was
// killed; and lets the copying process die.
func TestCopiedWhileItIsDeleted(t *testing.T) {
	for _, c := range copyists {
		t.Run(c.name, func(t *testing.T) {
			require.Greater(t, withinDeletion(t, c.world, true, c.dies, c.do, "copied"), 5)
		})
	}
}

// TestDeletionIsTakenBack reconciles within every request of a deletion of an object that is where it has to be, and is killed.
func TestDeletionIsTakenBack(t *testing.T) {
	build := func(t *testing.T) *world {
		w := lacking(t)
		w.stores["c"].Set("k", []byte("x"))
		return w
	}
	require.Greater(t, withinDeletion(t, build, false, true, reconciled, "reconciled"), 5)
}

// TestACopyThatComesLate is that of a process which was held up until the deletion was over, and then killed: it is found,
// before, within or after the reconciliation that pays the deletion.
func TestACopyThatComesLate(t *testing.T) {
	every(func(n int) (more bool) {
		synctest.Test(t, func(t *testing.T) {
			w := unfinished(t)
			p := w.process()
			p.setFault(blind)
			r := p.mustOpen()
			p.setFault(nil)
			require.NoError(t, r.Bucket().Delete(t.Context(), "k"))
			st, err := r.Status(t.Context())
			require.NoError(t, err)
			require.Zero(t, st.Sites[1].Owed+st.Sites[2].Owed, "nobody has missed it")
			land := func() {
				more = true
				w.stores["c"].Set("k", []byte("x"))
			}
			more = false
			p.at(n, 0, land)
			require.NoError(t, reconciled(r))
			if !more {
				land()
				more = false
			}
			require.NoError(t, gone(w, true), "within request %d", n)
		})
		return more
	})
}

// TestDeletedWhileItIsMoved migrates within every request of a deletion, by a process that is killed soon after it has begun to
// copy, and resumes the migration then.
func TestDeletedWhileItIsMoved(t *testing.T) {
	told := 0
	every(func(n int) (more bool) {
		killed := true
		for k := 1; k == 1 || more && killed; k = after(k, n) {
			synctest.Test(t, func(t *testing.T) {
				w := newMoveWorld(t, 3, "a", "b", "c")
				first := w.open()
				require.NoError(t, create(first, "k", "x"))
				require.NoError(t, first.Close(t.Context()))
				w.stores["b"].Set("k", []byte("x")) // copies are at a and b
				w.stores["c"].Remove("k")
				p, q := w.process(), w.process()
				deleter, r := p.mustOpen(), q.mustOpen()
				plan := planned(t, r, migration("b", "c"))
				copied := 0
				q.setFault(func(site string, o faultstore.Op) faultstore.Fault {
					if site == "c" && o.Key == "k" && o.Kind == faultstore.Write || copied > 0 {
						if copied++; copied == k {
							q.dead = true
							return faultstore.FailWith(faultstore.ErrKilled).Applied()
						}
					}
					return faultstore.Fault{}
				})
				more = false
				p.at(n, 0, func() {
					more = true
					_, _ = r.Migrate(context.Background(), plan, serial)
				})
				reported := deleter.Bucket().Delete(context.Background(), "k") == nil
				killed = q.dead
				if reported && killed {
					told++
				}
				fresh := w.open()
				time.Sleep(time.Hour)
				_ = reconciled(fresh) // which knows nothing of the migration
				_, err := fresh.Migrate(context.Background(), plan, serial)
				require.NoError(t, err, "within request %d, killed at %d", n, k)
				for range 2 {
					require.NoError(t, reconciled(fresh))
				}
				if reported {
					nowhere(t, w, "within request %d, killed at %d", n, k)
				}
				require.NoError(t, fresh.Close(context.Background()))
			})
		}
		return more
	})
	require.Greater(t, told, 10)
}
