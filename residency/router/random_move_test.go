package router_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/router"
)

// judgment is a decider for which one place ends to be lawful at a time that is known before.
type judgment struct {
	place residency.Place
	at    time.Time
}

func (j judgment) Decide(q residency.Request) (residency.Decision, error) {
	d, _ := allow{}.Decide(q)
	if q.Target.Location.Places[0] != j.place {
		return d, nil
	}
	if q.Now.Before(j.at) {
		d.Expires, d.ExpiresBy = j.at, "a judgment"
		return d, nil
	}
	d.Verdict, d.Rules = residency.Denied, residency.Denied
	return d, nil
}

// grace is how long a write that began before a judgment may take.
const grace = 2 * time.Minute

// moving is a random history in which the place of one site becomes unlawful, and its data is moved to a spare site.
type moving struct {
	run
	from string
	law  judgment
	mu   sync.Mutex
	bad  []string // writes to where nothing may be
}

// TestRandomMigrations lets hosts write, read, reconcile, promote and migrate while sites fail and hosts are killed, and
// checks after every step that nothing that was reported is lost or has too few copies, that no key has two objects,
// and that nothing is written to where it may no longer be. See [seeds].
func TestRandomMigrations(t *testing.T) {
	first, n := seeds(t)
	told, steps := 0, map[string]int{}
	for seed := first; seed < first+n; seed++ {
		synctest.Test(t, func(t *testing.T) {
			x := &moving{run: run{rng: rand.New(rand.NewPCG(11, seed)), reported: map[string]string{}, must: 2}}
			if err := x.history(t, steps); err != nil {
				for _, l := range x.log {
					t.Log(l)
				}
				t.Fatalf("seed %d: %v", seed, err)
			}
			told += len(x.reported)
		})
	}
	t.Logf("%d histories, %d objects reported, steps %v", n, told, steps)
	if n > 1 {
		require.Greater(t, told, 4*int(n))
		for _, s := range []string{"append", "reconcile", "promote", "kill", "migrate", "migrated", "read"} {
			require.Greater(t, steps[s], int(n)/10, s)
		}
	}
}

func (x *moving) history(t *testing.T, steps map[string]int) error {
	x.w = newMoveWorld(t, 3, "a", "b", "c", "s")
	x.w.opts.Placement.Copies = 0
	x.w.places = map[string]residency.Place{"a": "AU-NSW", "b": "AU-VIC", "c": "NZ", "s": "AU-QLD"}
	x.from = []string{"a", "b", "c"}[x.rng.IntN(3)]
	x.law = judgment{x.w.places[x.from], time.Now().Add(time.Duration(1+x.rng.IntN(5)) * time.Minute)}
	x.w.rules, x.w.watch = x.law, x.watch
	for i := range 2 {
		h := &host{name: string(rune('P' + i)), next: 1}
		x.hosts = append(x.hosts, h)
		x.restart(h)
	}
	defer x.close()
	for range 10 + x.rng.IntN(14) {
		h := x.hosts[x.rng.IntN(len(x.hosts))]
		name, step := x.pick(h)
		switch n := x.rng.IntN(10); {
		case name == "lose", n == 0:
			name, step = "wait", func() error { time.Sleep(time.Minute); return nil }
		case n == 1:
			name, step = "migrate", func() error { return x.migrate(h, steps) }
		}
		steps[name]++
		if err := step(); err != nil {
			return fmt.Errorf("%s %s: %w", name, h.name, err)
		}
		if err := x.sound(); err != nil {
			return fmt.Errorf("after %s %s: %w", name, h.name, err)
		}
	}
	return x.settle(steps)
}

// watch notes what is written for users at a site whose place is no longer lawful.
func (x *moving) watch(site string, o faultstore.Op) {
	if site == x.from && o.Kind == faultstore.Write && o.Key[0] != '.' && time.Now().After(x.law.at.Add(grace)) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.bad = append(x.bad, o.Key)
	}
}

func (x *moving) sound() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.bad) > 0 {
		return fmt.Errorf("%v was written where it may not be", x.bad)
	}
	return x.w.safe(x.must, x.reported)
}

// migrate begins the migration away from the unlawful place, or goes on with it, and may be killed.
func (x *moving) migrate(h *host, steps map[string]int) error {
	if h.r == nil {
		x.restart(h)
	}
	if h.r == nil {
		return nil
	}
	if x.rng.IntN(3) == 0 {
		k := 1 + x.rng.IntN(80)
		x.say("%s: killed at %d", h.name, k)
		h.p.kill(k, x.rng.IntN(2) == 0)
		defer x.restart(h)
	}
	done, err := x.move(h.r)
	x.say("%s: migrate from %s: %v, %v", h.name, x.from, done, err)
	if done {
		steps["migrated"]++
	}
	return nil
}

// other is a site that stays.
func (x *moving) other() string {
	if x.from == "b" {
		return "a"
	}
	return "b"
}

// move resumes what is under way, or plans anew and carries it out.
func (x *moving) move(r *router.Router) (done bool, err error) {
	ctx := context.Background()
	reports, err := r.ResumeMigrations(ctx, nil)
	if errors.Is(err, router.ErrLeavingHome) {
		if err := promote(r, x.other(), false); err != nil {
			return false, err
		}
		reports, err = r.ResumeMigrations(ctx, nil)
	}
	if err != nil {
		return false, err
	}
	for _, rep := range reports {
		done = done || rep.Done
	}
	if done {
		return true, nil
	}
	st, err := r.Status(ctx)
	if err != nil {
		return false, err
	}
	for _, s := range st.Sites {
		if s.Name == x.from && !s.Enrolled {
			return true, nil // it has been left before
		}
	}
	m := router.Migration{From: x.from, To: []string{"s"}, Person: "Dr Ada", Cause: evidence.CauseLaw}
	if st.Home == x.from {
		m.Promote = x.other()
	}
	plan, err := r.PlanMigration(ctx, m)
	if err != nil {
		return false, err
	}
	rep, err := r.Migrate(ctx, plan, nil)
	return rep != nil && rep.Done, err
}

// settle ends all faults, moves what is not moved, and expects the sites that remain to hold the same, and the one that
// was left nothing.
func (x *moving) settle(steps map[string]int) error {
	ctx := context.Background()
	time.Sleep(time.Hour)
	for _, h := range x.hosts {
		x.restart(h)
	}
	r := x.hosts[0].r
	if r == nil {
		return errors.New("cannot open at the end")
	}
	st, err := r.Status(ctx)
	if err != nil {
		return err
	}
	if !st.Ready || st.Superseded {
		x.say("promote %s at the end", x.other())
		if err := promote(r, x.other(), false); err != nil {
			return err
		}
	}
	done, err := x.move(r)
	x.say("at the end: migrate from %s: %v, %v", x.from, done, err)
	if err != nil {
		return fmt.Errorf("migrate at the end: %w", err)
	}
	steps["settled"]++
	rep, err := r.Reconcile(ctx, nil)
	if err != nil {
		return err
	}
	if rep.UndecidedCount > 0 {
		return fmt.Errorf("%d undecided", rep.UndecidedCount)
	}
	if err := create(r, "last", "x"); err != nil {
		return err
	}
	x.reported["last"] = "x"
	return x.final(r)
}

func (x *moving) final(r *router.Router) error {
	if n := len(users(x.w.stores[x.from])); n > 0 {
		return fmt.Errorf("%d objects are left at %s", n, x.from)
	}
	if err := x.sound(); err != nil {
		return err
	}
	if err := x.w.check(len(x.w.names)-1, x.reported, x.from); err != nil {
		return err
	}
	if err := readable(r, x.reported); err != nil {
		return err
	}
	all := users(x.w.stores["s"])
	for _, n := range x.w.names {
		if n != x.from && !maps.Equal(all, users(x.w.stores[n])) {
			return fmt.Errorf("%s does not hold what s holds", n)
		}
	}
	return nil
}
