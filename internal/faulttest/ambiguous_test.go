package faulttest

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/faultstore"
)

// TestAmbiguousWrites lets every conditional write of every operation fail in every ambiguous way (N6): the
// operation succeeds all the same, and commits once.
func TestAmbiguousWrites(t *testing.T) {
	t.Parallel()
	faults := []struct {
		name string
		f    faultstore.Fault
	}{
		{"500 after", faultstore.Fail(gcerrors.Unknown).Applied()},
		{"412 for our own write", faultstore.Fail(gcerrors.FailedPrecondition).Applied()},
		{"412 and nothing there", faultstore.Fail(gcerrors.FailedPrecondition)},
		{"409 for our own write", faultstore.Fail(gcerrors.AlreadyExists).Applied()},
		{"time-out after", faultstore.FailWith(fmt.Errorf("send: %w", context.DeadlineExceeded)).Applied()},
		{"time-out before", faultstore.FailWith(fmt.Errorf("send: %w", context.DeadlineExceeded))},
	}
	if long() { // as other faults here, by the same path
		faults = append(faults, []struct {
			name string
			f    faultstore.Fault
		}{{"409 before", faultstore.Fail(gcerrors.Unknown)}, {"slow down", faultstore.Fail(gcerrors.ResourceExhausted)}}...)
	}
	more := 0
	if long() {
		more = 1
	}
	var c tally
	for _, sc := range scenarios(t) {
		if sc.name == "credential" {
			continue // as changed
		}
		before := len(sc.world.done)
		for _, fault := range faults {
			// Twice: the answer to the first attempt is lost, or to the first two.
			for times := 1; times <= 1+more; times++ {
				var writes atomic.Int64
				count := func(o faultstore.Op) bool {
					return o.Kind == faultstore.Write && o.Exclusive && !strings.HasPrefix(o.Key, "probe/")
				}
				s := sc.store.Clone()
				s.SetHook(func(o faultstore.Op) faultstore.Fault {
					if count(o) {
						writes.Add(1)
					}
					return faultstore.Fault{}
				})
				require.NoError(t, sc.act(t.Context(), s, unpack(t, sc.host), sc.world.clone()))
				n := int(writes.Load())
				require.Positive(t, n)
				workers(n, func(i int) {
					if !long() && sc.name == "checkpoint" && i < n-2 {
						return // as in changed
					}
					c.add(sc.name)
					s, w := sc.store.Clone(), sc.world.clone()
					first, second := faultstore.Nth(i+1, count, fault.f), faultstore.Nth(i+times, count, fault.f)
					s.SetHook(func(o faultstore.Op) faultstore.Fault {
						if f := first(o); f != (faultstore.Fault{}) {
							return f
						}
						if times == 1 {
							return faultstore.Fault{}
						}
						return second(o)
					})
					err := sc.act(t.Context(), s, unpack(t, sc.host), w)
					s.SetHook(nil)
					after := before
					if err == nil {
						after, err = w.verify(t.Context(), s.Bucket(), sc.newest)
					}
					want := before
					if sc.adds {
						want++
					}
					if err != nil || after != want {
						c.lost("%s, write %d, %s (%d): %d snapshots of %d: %v", sc.name, i+1, fault.name, times, after, want, err)
					}
				})
			}
		}
	}
	c.report(t)
}

// TestAmbiguousProbe lets the answers of the probe for exclusive creation be lost: a creation then succeeds
// or says clearly that it did not, and a store that creates exclusively is never taken for one that does not.
func TestAmbiguousProbe(t *testing.T) {
	t.Parallel()
	var c tally
	probe := faultstore.On(faultstore.Write, "probe/")
	for _, f := range []faultstore.Fault{
		faultstore.Fail(gcerrors.Unknown), faultstore.Fail(gcerrors.Unknown).Applied(),
		faultstore.Fail(gcerrors.FailedPrecondition).Applied(),
	} {
		for n := 0; n <= 9; n++ {
			c.add("probe")
			s := faultstore.New()
			s.SetHook(faultstore.Nth(n, probe, f))
			err := create(t.Context(), s, "", nil)
			if n > 0 && err != nil {
				c.lost("one fault in the probe, at its write %d: %v", n, err)
			}
			if n == 0 && err == nil {
				c.lost("a probe all of whose answers were lost succeeded")
			}
			s.SetHook(nil)
			if err := createAgain(t.Context(), s, "", nil); err != nil {
				c.lost("creating again: %v", err)
			}
			r, err := reopen(t.Context(), s, "")
			if err != nil {
				c.lost("open: %v", err)
				continue
			}
			if r.Format().SingleWriter {
				c.lost("a store that creates exclusively was taken for one that does not")
			}
		}
	}
	c.report(t)
}
