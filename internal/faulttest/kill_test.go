package faulttest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
)

// scenario is an operation to be killed. The state before it is kept, so that it can be run any number of
// times.
type scenario struct {
	name   string
	store  *faultstore.Store
	host   fs.FS // what the host keeps
	world  *world
	newest int // verify the content of so many snapshots; 0 for all
	// act runs the operation once, in a new process as it were.
	act func(ctx context.Context, s *faultstore.Store, host string, w *world) error
	// again completes it after a kill.
	again func(ctx context.Context, s *faultstore.Store, host string, w *world) error
	// adds is whether act, when it succeeds, has added a snapshot.
	adds bool
}

// backupOf returns an act that opens the repository and backs f up.
func backupOf(k engine.Key, f files) func(context.Context, *faultstore.Store, string, *world) error {
	return limitedBackupOf(k, f, engine.Limits{})
}

func limitedBackupOf(k engine.Key, f files, l engine.Limits) func(context.Context, *faultstore.Store, string, *world) error {
	return func(ctx context.Context, s *faultstore.Store, host string, w *world) error {
		c := config(host)
		c.Limits = l
		r, err := engine.Open(ctx, s.Bucket(), k, c)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = w.backup(ctx, r, f)
		return err
	}
}

// createAgain completes a creation that was killed. One that had been completed without anybody hearing of
// it says that it exists, and then opens.
func createAgain(ctx context.Context, s *faultstore.Store, host string, _ *world) error {
	r, err := engine.Create(ctx, s.Bucket(), key("main"), config(host))
	if errors.Is(err, engine.ErrExists) {
		r, err = reopen(ctx, s, host)
	}
	if err == nil {
		r.Close()
	}
	return err
}

func create(ctx context.Context, s *faultstore.Store, host string, _ *world) error {
	r, err := engine.Create(ctx, s.Bucket(), key("main"), config(host))
	if err == nil {
		r.Close()
	}
	return err
}

func addKey(ctx context.Context, s *faultstore.Store, host string, _ *world) error {
	r, err := reopen(ctx, s, host)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.AddSlot(ctx, key("second"))
	return err
}

func addKeyAgain(ctx context.Context, s *faultstore.Store, host string, w *world) error {
	if err := addKey(ctx, s, host, w); err != nil && !errors.Is(err, engine.ErrExists) {
		return err
	}
	r, err := engine.Open(ctx, s.Bucket(), key("second"), config(""))
	if err == nil {
		r.Close()
	}
	return err
}

// removeKeyOf returns an act that removes the slot, which is the second key's.
func removeKeyOf(slot format.SlotID) func(context.Context, *faultstore.Store, string, *world) error {
	return func(ctx context.Context, s *faultstore.Store, host string, _ *world) error {
		r, err := reopen(ctx, s, host)
		if err != nil {
			return err
		}
		defer r.Close()
		return r.RemoveSlot(ctx, slot)
	}
}

// removeKeyAgain removes the second key, and insists that it opens nothing afterwards.
func removeKeyAgain(slot format.SlotID) func(context.Context, *faultstore.Store, string, *world) error {
	return func(ctx context.Context, s *faultstore.Store, host string, w *world) error {
		err := removeKeyOf(slot)(ctx, s, host, w)
		if err != nil && !errors.Is(err, engine.ErrWrongKey) { // it was removed before
			return err
		}
		if _, err = engine.Open(ctx, s.Bucket(), key("second"), config("")); !errors.Is(err, engine.ErrWrongKey) {
			return fmt.Errorf("a removed key opens the repository: %w", err)
		}
		if s.Get(format.SlotKey(slot)) != nil {
			return errors.New("the slot of a removed key is still there")
		}
		return nil
	}
}

var prepared struct {
	sync.Once
	all []*scenario
}

// scenarios returns the operations that are killed, which are prepared once for all tests.
func scenarios(t *testing.T) []*scenario {
	prepared.Do(func() { prepared.all = prepare(t) })
	require.NotEmpty(t, prepared.all)
	return prepared.all
}

func prepare(t *testing.T) []*scenario {
	ctx := t.Context()
	v0, v1 := version(0, 1), version(1, 2)
	s0, host0, w0 := faultstore.New(), t.TempDir(), newWorld()
	require.NoError(t, create(ctx, s0, host0, w0))
	s1, host1, w1 := s0.Clone(), copyDir(t, host0), w0.clone()
	require.NoError(t, backupOf(key("main"), v0)(ctx, s1, host1, w1))
	s2, host2, w2 := s1.Clone(), copyDir(t, host1), w1.clone()
	require.NoError(t, backupOf(key("main"), v1)(ctx, s2, host2, w2))
	sk, hostk := s1.Clone(), copyDir(t, host1)
	require.NoError(t, addKey(ctx, sk, hostk, nil))
	rk, err := reopen(ctx, sk, "")
	require.NoError(t, err)
	second := rk.Slots()[1].ID

	// A log that is one entry short of a checkpoint, with segments to be merged.
	sc, hostc, wc := s1.Clone(), copyDir(t, host1), w1.clone()
	r, err := reopen(ctx, sc, hostc)
	require.NoError(t, err)
	for i := range 61 {
		_, err := wc.backup(ctx, r, version(i/8, 0))
		require.NoError(t, err)
	}
	require.NotNil(t, sc.Get(format.EntryKey(62)))
	require.Nil(t, sc.Get(format.EntryKey(63)))

	// One whose segments are merged by the next run that tells of its packs before it ends.
	sm, hostm, wm := s1.Clone(), copyDir(t, host1), w1.clone()
	r, err = reopen(ctx, sm, hostm)
	require.NoError(t, err)
	for i := range 8 {
		_, err := wm.backup(ctx, r, version(i, 0))
		require.NoError(t, err)
	}
	merges := limitedBackupOf(key("main"), version(9, 1), engine.Limits{PartialEvery: 1})

	first := &scenario{name: "first", store: s0, host: pack(t, host0), world: w0, act: backupOf(key("main"), v0), adds: true}
	return []*scenario{
		{name: "create", store: faultstore.New(), host: fstest.MapFS{}, world: newWorld(), act: create, again: createAgain},
		first,
		{name: "unchanged", store: s1, host: pack(t, host1), world: w1, act: backupOf(key("main"), v0), adds: true},
		{name: "changed", store: s1, host: pack(t, host1), world: w1, act: backupOf(key("main"), v1), adds: true},
		{name: "credential", store: s2, host: pack(t, host2), world: w2, act: backupOf(engine.Key{}, version(2, 3)), adds: true},
		{name: "checkpoint", store: sc, host: pack(t, hostc), world: wc, act: backupOf(key("main"), version(9, 1)), adds: true, newest: 3},
		{name: "merges", store: sm, host: pack(t, hostm), world: wm, act: merges, adds: true, newest: 3},
		{name: "addkey", store: s1, host: pack(t, host1), world: w1, act: addKey, again: addKeyAgain},
		{name: "removekey", store: sk, host: pack(t, hostk), world: w1, act: removeKeyOf(second), again: removeKeyAgain(second)},
	}
}

// killed is what a killed run leaves.
type killed struct {
	store *faultstore.Store
	host  string
	world *world
}

// kill runs sc's operation and kills it at request n. It returns nil when the operation has fewer requests;
// with sound, it must then have succeeded.
func (sc *scenario) kill(t *testing.T, n int, f faultstore.Fault, sound bool) *killed {
	k := &killed{sc.store.Clone(), unpack(t, sc.host), sc.world.clone()}
	k.store.SetHook(faultstore.At(n, f))
	err := sc.act(t.Context(), k.store, k.host, k.world)
	if !k.store.Killed() {
		if sound {
			assert.NoError(t, err)
		}
		return nil
	}
	k.store.SetHook(nil)
	k.store.Revive()
	return k
}

// survey checks a killed run's state with nothing but the store, and returns how many snapshots there are.
func (sc *scenario) survey(ctx context.Context, k *killed) (int, error) {
	if sc.name == "create" {
		return 0, nil
	}
	n, err := k.world.verify(ctx, k.store.Clone().Bucket(), sc.newest)
	if err != nil {
		return n, fmt.Errorf("after the kill: %w", err)
	}
	if was := len(sc.world.done); n > was+1 {
		return n, fmt.Errorf("%d snapshots after the kill of one run, %d before it", n, was)
	}
	return n, nil
}

// recover runs a killed operation again with a host folder and checks what there is then.
func (sc *scenario) recover(ctx context.Context, k *killed, host string, before int) error {
	again := sc.again
	if again == nil {
		again = sc.act
	}
	s, w := k.store.Clone(), k.world.clone()
	if err := again(ctx, s, host, w); err != nil {
		return fmt.Errorf("the next run: %w", err)
	}
	after, err := w.verify(ctx, s.Bucket(), sc.newest)
	if err != nil {
		return fmt.Errorf("after the next run: %w", err)
	}
	if sc.adds && after != before+1 {
		return fmt.Errorf("%d snapshots before the next run, %d after it", before, after)
	}
	return nil
}

// TestKillAtEveryRequest kills every operation before and after each of its requests takes effect (C1, C2),
// and runs it again with and without what the killed process left on its host.
func TestKillAtEveryRequest(t *testing.T) {
	t.Parallel()
	var c tally
	for _, sc := range scenarios(t) {
		log := sc.requests(t)
		require.Greater(t, len(log), 5, sc.name)
		workers(2*len(log), func(i int) {
			n, f, how := i/2+1, faultstore.Kill(), "before"
			if i%2 == 1 {
				f, how = f.Applied(), "after"
				if !log[n-1].Changes() && !long() {
					return // a read that was answered changes nothing
				}
			}
			if !long() && sc.name == "checkpoint" && !log[n-1].Changes() && n%3 > 0 {
				return
			}
			k := sc.kill(t, n, f, true)
			if k == nil { // requests run side by side, so their number may vary
				return
			}
			before, err := sc.survey(t.Context(), k)
			if err != nil {
				c.lost("%s, %s request %d: %v", sc.name, how, n, err)
				return
			}
			hosts := []string{k.host, t.TempDir()}
			if !long() && !log[n-1].Changes() {
				hosts = hosts[n%2:][:1]
			}
			for _, host := range hosts {
				if host != k.host && sc.name == "credential" {
					continue // without its folder a host has no credential; "changed" is that case
				}
				c.add(sc.name)
				if err := sc.recover(t.Context(), k, host, before); err != nil {
					c.lost("%s, %s request %d, host folder kept %v: %v", sc.name, how, n, host == k.host, err)
				}
			}
		})
	}
	c.report(t)
}

// requests returns what sc's operation asks of the store when all is well.
func (sc *scenario) requests(t *testing.T) []faultstore.Op {
	s := sc.store.Clone()
	s.Record()
	require.NoError(t, sc.act(t.Context(), s, unpack(t, sc.host), sc.world.clone()))
	for _, o := range s.Log() {
		require.NotEqual(t, faultstore.List, o.Kind, "%s rests on a list, which may lag (K1)", sc.name)
	}
	return s.Log()
}

// points counts the requests of sc's operation.
func (sc *scenario) points(t *testing.T) int { return len(sc.requests(t)) }

// TestKillTheRecovery kills the run that follows a killed run as well (C6).
func TestKillTheRecovery(t *testing.T) {
	t.Parallel()
	step := 127
	if long() {
		step = 1
	}
	var c tally
	for _, sc := range scenarios(t) {
		if sc.name == "create" {
			continue // there is nothing to lose yet, and TestKillAtEveryRequest completes each of them
		}
		points := sc.points(t)
		workers(points*points*2/step, func(i int) {
			i *= step
			n, m, f := i/2%points+1, i/2/points+1, faultstore.Kill()
			if i%2 == 1 {
				f = f.Applied()
			}
			k := sc.kill(t, n, f, true)
			if k == nil {
				return
			}
			next := *sc
			next.store, next.host, next.world = k.store, os.DirFS(k.host), k.world.clone()
			if sc.again != nil {
				next.act = sc.again
			}
			if k = next.kill(t, m, f, false); k == nil {
				return
			}
			c.add(sc.name)
			next.world.done["the first killed run"] = true // it may have committed
			before, err := next.survey(t.Context(), k)
			if err == nil {
				host := k.host
				if (n+m)%2 == 0 && sc.name != "credential" {
					host = t.TempDir()
				}
				err = next.recover(t.Context(), k, host, before)
			}
			if err != nil {
				c.lost("%s, requests %d and %d: %v", sc.name, n, m, err)
			}
		})
	}
	c.report(t)
}
