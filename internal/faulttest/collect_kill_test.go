package faulttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
)

// collection is an operation of the administrator, in a repository that gives it work to do.
type collection struct {
	name  string
	store *faultstore.Store
	*truth
	act func(ctx context.Context, s *faultstore.Store) error
}

// with opens the repository for one operation.
func with(ctx context.Context, s *faultstore.Store, f func(*engine.Repo) error) error {
	r, err := engine.Open(ctx, s.Bucket(), key("main"), tiny(""))
	if err != nil {
		return err
	}
	defer r.Close()
	return f(r)
}

// keep backs files up and notes the promise.
func (x *truth) keep(ctx context.Context, r *engine.Repo, f files) (format.SnapID, error) {
	run := x.begin(f)
	o := options(run)
	o.Workers = 1
	res, err := r.Backup(ctx, source.FromFS(f.fs()), o)
	if err != nil {
		return format.SnapID{}, err
	}
	x.done[run] = res.Ref.ID
	return res.Ref.ID, nil
}

// forgetting takes snapshots out of the log and notes that.
func (x *truth) forgetting(ctx context.Context, r *engine.Repo, ids ...format.SnapID) error {
	if _, _, err := r.Snapshots(ctx); err != nil {
		return err
	}
	for _, id := range ids {
		x.doomed[id] = true
	}
	return r.Forget(ctx, r.Head(), format.Hash{}, ids, []byte("record"))
}

// day returns files of which some change each day.
func day(n int) files {
	f := files{"a/same": bytesOf(1, 9000), "a/page": append(bytesOf(2, 5000), bytesOf(uint64(100+n), 3000)...)}
	f[fmt.Sprintf("b/%d", n)] = bytesOf(uint64(200+n), 4000)
	f[fmt.Sprintf("c/%d", n/2)] = bytesOf(uint64(300+n/2), 70_000) // more chunks than an entry can name
	return f
}

var collecting struct {
	sync.Once
	all []*collection
}

// collections returns the operations, which are prepared once for all tests.
func collections(t *testing.T) []*collection {
	collecting.Do(func() { collecting.all = prepareCollections(t) })
	require.NotEmpty(t, collecting.all)
	return collecting.all
}

// prepareCollections prepares a repository with snapshots of some days, of which two are forgotten, and with what a run has
// left that was killed.
func prepareCollections(t *testing.T) []*collection {
	ctx, s, x := t.Context(), emptyRepo().Clone(), newTruth()
	var ids []format.SnapID
	require.NoError(t, with(ctx, s, func(r *engine.Repo) error {
		for n := range 5 {
			id, err := x.keep(ctx, r, day(n))
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	}))
	s.SetHook(faultstore.Nth(1, faultstore.On(faultstore.Write, "refs/"), faultstore.Kill()))
	require.ErrorIs(t, with(ctx, s, func(r *engine.Repo) error {
		_, err := x.keep(ctx, r, day(9))
		return err
	}), faultstore.ErrKilled)
	s.Revive()
	s.SetHook(nil)
	before := s.Clone()
	require.NoError(t, with(ctx, s, func(r *engine.Repo) error { return x.forgetting(ctx, r, ids[1], ids[2]) }))
	x.gone = maps.Clone(x.doomed)

	far, xf := s.Clone(), x.clone() // a log that is due for a checkpoint
	require.NoError(t, with(ctx, far, func(r *engine.Repo) error {
		for range 62 {
			if _, err := xf.keep(ctx, r, day(4)); err != nil {
				return err
			}
		}
		return nil
	}))
	compact := func(shred bool) func(ctx context.Context, s *faultstore.Store) error {
		return func(ctx context.Context, s *faultstore.Store) error {
			return with(ctx, s, func(r *engine.Repo) error {
				o := atOnce
				o.Shred = shred
				_, err := r.Compact(ctx, o)
				return err
			})
		}
	}
	waiting, xw := s.Clone(), x.clone() // what was condemned is still to be deleted
	require.NoError(t, with(ctx, waiting, func(r *engine.Repo) error {
		o := atOnce
		o.Grace = 0 // a day
		_, err := r.Compact(ctx, o)
		return err
	}))
	xb := x.clone()
	clear(xb.gone)
	lossy, xl, lost := s.Clone(), x.clone(), uint64(0) // the entry of a snapshot cannot be read
	require.NoError(t, with(ctx, lossy, func(r *engine.Repo) error {
		refs, _, err := r.Snapshots(ctx)
		lost = refs[1].Seq
		return err
	}))
	require.NoError(t, with(ctx, lossy, func(r *engine.Repo) error {
		_, err := xl.keep(ctx, r, day(5))
		return err
	}))
	xl.doomed[ids[3]], xl.gone[ids[3]] = true, true
	lossy.Set(format.EntryKey(lost), []byte("rubbish"))
	return []*collection{
		{"settle", lossy, xl, func(ctx context.Context, s *faultstore.Store) error {
			return with(ctx, s, func(r *engine.Repo) error {
				_, err := r.Settle(ctx, []uint64{lost}, nil)
				return err
			})
		}},
		{"forget", before, xb, func(ctx context.Context, s *faultstore.Store) error {
			return with(ctx, s, func(r *engine.Repo) error { return x.clone().forgetting(ctx, r, ids[1], ids[2]) })
		}},
		{"compact", s, x, compact(false)},
		{"shred", s, x, compact(true)},
		{"sweep", waiting, xw, compact(false)},
		{"checkpoint", far, xf, compact(false)},
	}
}

// survive looks at what an operation that was cut off has left, and goes on: the next backup and the next compact
// succeed, lose nothing and leave no rubbish.
func (c *collection) survive(ctx context.Context, s *faultstore.Store, thorough bool) error {
	x := c.clone()
	if thorough && c.name != "settle" { // before which a check finds the slot
		if err := x.audit(ctx, s.Bucket()); err != nil {
			return err
		}
	}
	if err := with(ctx, s, func(r *engine.Repo) error {
		_, err := x.keep(ctx, r, day(3))
		return err
	}); err != nil {
		return fmt.Errorf("the next backup: %w", err)
	}
	if err := c.act(ctx, s); err != nil && c.name != "forget" {
		return fmt.Errorf("the same again: %w", err)
	}
	if err := x.settled(ctx, s); err != nil {
		return err
	}
	return x.audit(ctx, s.Bucket())
}

// TestKillTheCollector kills forget and compact before and after each of their requests takes effect (C1, C2). A
// process that starts from nothing then finds every snapshot that is kept, needs no repair, and brings to an end what
// was begun.
func TestKillTheCollector(t *testing.T) {
	t.Parallel()
	var c tally
	for _, op := range collections(t) {
		s := op.store.Clone()
		s.Record()
		require.NoError(t, op.act(t.Context(), s))
		log := s.Log()
		require.NoError(t, op.audit(t.Context(), s.Bucket()))
		kinds := map[faultstore.Kind]int{}
		for _, o := range log {
			kinds[o.Kind]++
		}
		t.Logf("%s: %v", op.name, kinds)
		require.Greater(t, len(log), 10, op.name)
		workers(2*len(log), func(i int) {
			n, f, how := i/2+1, faultstore.Kill(), "before"
			if i%2 == 1 {
				f, how = f.Applied(), "after"
			}
			o := log[n-1]
			every := map[bool]int{true: 11, false: 71} // a read changes nothing, so what follows is as after the change before it
			switch op.name {
			case "checkpoint": // which takes longer
				every = map[bool]int{true: 23, false: 211}
			case "settle":
				every = map[bool]int{true: 1, false: 29}
			}
			if !long() && (i+len(op.name))%every[o.Changes()] > 0 {
				return
			}
			s := op.store.Clone()
			s.SetHook(faultstore.At(n, f))
			err := op.act(t.Context(), s)
			if !s.Killed() {
				if err != nil {
					c.lost("%s, without a kill: %v", op.name, err)
				}
				return
			}
			s.SetHook(nil)
			s.Revive()
			c.add(op.name)
			if err := op.survive(t.Context(), s, long() || i%3 == 0); err != nil {
				c.lost("%s, %s request %d, %s of %s: %v", op.name, how, n, o.Kind, class(o.Key), err)
			}
		})
	}
	c.report(t)
}

// TestAmbiguousCollector lets every write and every deletion of forget and compact fail in every ambiguous way (N6): the
// operation succeeds all the same.
func TestAmbiguousCollector(t *testing.T) {
	t.Parallel()
	faults := map[string]faultstore.Fault{
		"500 after":              faultstore.Fail(gcerrors.Unknown).Applied(),
		"500 before":             faultstore.Fail(gcerrors.Internal),
		"412 for our own write":  faultstore.Fail(gcerrors.FailedPrecondition).Applied(),
		"412 and nothing there":  faultstore.Fail(gcerrors.FailedPrecondition),
		"time-out after":         faultstore.FailWith(fmt.Errorf("send: %w", context.DeadlineExceeded)).Applied(),
		"slow down, not applied": faultstore.Fail(gcerrors.ResourceExhausted),
	}
	changes := func(o faultstore.Op) bool { return o.Changes() && !strings.HasPrefix(o.Key, "probe/") }
	var c tally
	for _, op := range collections(t) {
		if op.name == "checkpoint" && !long() {
			continue // as compact
		}
		var total atomic.Int64
		s := op.store.Clone()
		s.SetHook(func(o faultstore.Op) faultstore.Fault {
			if changes(o) {
				total.Add(1)
			}
			return faultstore.Fault{}
		})
		require.NoError(t, op.act(t.Context(), s))
		n := int(total.Load())
		require.Positive(t, n)
		for name, f := range faults {
			workers(n, func(i int) {
				if !long() && (i*len(op.name)+len(name))%41 > 0 {
					return
				}
				c.add(op.name)
				s := op.store.Clone()
				s.SetHook(faultstore.Nth(i+1, changes, f))
				err := op.act(t.Context(), s)
				s.SetHook(nil)
				if err == nil {
					err = op.audit(t.Context(), s.Bucket())
				}
				if err == nil && op.name == "forget" {
					err = with(t.Context(), s, func(r *engine.Repo) error {
						if refs, _, err := r.Snapshots(t.Context()); err != nil || len(refs) != 3 {
							return errors.Join(fmt.Errorf("%d snapshots are left of 3", len(refs)), err)
						}
						return nil
					})
				}
				if err != nil {
					c.lost("%s, change %d, %s: %v", op.name, i+1, name, err)
				}
			})
		}
	}
	c.report(t)
}

// TestKillTheCollectorTwice kills compact, and then the compact that follows it (C6).
func TestKillTheCollectorTwice(t *testing.T) {
	t.Parallel()
	step := 6007
	if long() {
		step = 41
	}
	var c tally
	for _, op := range collections(t) {
		if op.name != "compact" && op.name != "shred" {
			continue
		}
		s := op.store.Clone()
		s.Record()
		require.NoError(t, op.act(t.Context(), s))
		points := len(s.Log())
		workers(points*points*2/step, func(i int) {
			i *= step
			s := op.store.Clone()
			for _, n := range []int{i/2%points + 1, i/2/points + 1} {
				f := faultstore.Kill()
				if i%2 == 1 {
					f = f.Applied()
				}
				s.SetHook(faultstore.At(n, f))
				err := op.act(t.Context(), s)
				if err != nil && !s.Killed() {
					c.lost("%s, after a kill: %v", op.name, err)
				}
				s.SetHook(nil)
				s.Revive()
			}
			c.add(op.name)
			if err := op.survive(t.Context(), s, true); err != nil {
				c.lost("%s, requests %d and %d: %v", op.name, i/2%points+1, i/2/points+1, err)
			}
		})
	}
	c.report(t)
}
