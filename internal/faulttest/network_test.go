package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
)

// TestFailuresThatPass lets every request fail with a probability (N1, N2) through a repository's life: what
// fails is tried again, what fails nevertheless gives an error, and the next attempt finds everything whole.
func TestFailuresThatPass(t *testing.T) {
	t.Parallel()
	seeds := 3
	if long() {
		seeds = 40
	}
	var c tally
	for _, percent := range []int{1, 10, 30, 50} {
		var calls, failed, requests, least atomic.Int64
		workers(seeds, func(seed int) {
			r := rand.New(rand.NewPCG(uint64(seed), uint64(percent)))
			var mu sync.Mutex
			burst := 0
			s, w := faultstore.New(), newWorld()
			hook := func(faultstore.Op) faultstore.Fault {
				mu.Lock()
				defer mu.Unlock()
				requests.Add(1)
				if burst > 0 {
					burst--
				} else if r.IntN(100) >= percent {
					return faultstore.Fault{}
				} else if r.IntN(10) == 0 {
					burst = r.IntN(20)
				}
				codes := []gcerrors.ErrorCode{gcerrors.Unknown, gcerrors.Internal, gcerrors.ResourceExhausted}
				f := faultstore.Fail(codes[r.IntN(len(codes))])
				if r.IntN(2) == 0 {
					f = f.Applied()
				}
				return f
			}
			host := t.TempDir()
			steps := []func(context.Context, *faultstore.Store, string, *world) error{
				createAgain, backupOf(key("main"), version(0, 1)), backupOf(key("main"), version(0, 1)),
				backupOf(key("main"), version(1, 2)), addKeyAgain, backupOf(engine.Key{}, version(2, 1)),
			}
			for i, step := range steps {
				err := errors.New("not tried")
				for try := 0; err != nil && try < 500; try++ {
					s.SetHook(hook)
					calls.Add(1)
					if err = step(t.Context(), s, host, w); err != nil {
						failed.Add(1)
					}
					s.SetHook(nil)
				}
				c.add(fmt.Sprintf("p%02d", percent))
				if err != nil {
					c.lost("seed %d, %d %%, step %d never succeeded: %v", seed, percent, i, err)
					return
				}
				if _, err := w.verify(t.Context(), s.Bucket(), 0); i > 0 && err != nil {
					c.lost("seed %d, %d %%, step %d: %v", seed, percent, i, err)
				}
			}
			quiet, x, dir := faultstore.New(), newWorld(), t.TempDir()
			quiet.Record()
			for _, step := range steps {
				if err := step(t.Context(), quiet, dir, x); err != nil {
					c.lost("without faults: %v", err)
				}
			}
			least.Add(int64(len(quiet.Log())))
		})
		t.Logf("faults %d %%: calls=%d failed=%d requests=%d, %.1f for each that is needed", percent, calls.Load(), failed.Load(),
			requests.Load(), float64(requests.Load())/float64(least.Load()))
	}
	c.report(t)
}

// TestHangs lets every request of every operation hang (N3): the operation returns as soon as its context
// is done, and what it leaves behind is whole. TestMain finds goroutines that it leaves behind.
func TestHangs(t *testing.T) {
	t.Parallel()
	var c tally
	var worst atomic.Int64
	for _, sc := range scenarios(t) {
		points := sc.points(t)
		workers(points, func(i int) {
			if !long() && i%3 > 0 && points > 20 {
				return
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, w := sc.store.Clone(), sc.world.clone()
			var hung atomic.Int64
			f := faultstore.Hang()
			if i%2 == 0 {
				f = f.Applied()
			}
			s.SetHook(func(o faultstore.Op) faultstore.Fault {
				if o.N != i+1 {
					return faultstore.Fault{}
				}
				time.AfterFunc(2*time.Millisecond, func() { hung.Store(time.Now().UnixNano()); cancel() })
				return f
			})
			host := unpack(t, sc.host)
			err := sc.act(ctx, s, host, w)
			at := hung.Load()
			if at == 0 {
				return
			}
			c.add(sc.name)
			took := time.Since(time.Unix(0, at))
			worst.Store(max(worst.Load(), int64(took)))
			if took > 10*time.Second { // the machine may be busy; a hang would be for ever
				c.lost("%s, request %d: returned %v after its context was done", sc.name, i+1, took)
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				c.lost("%s, request %d: the error does not tell of the context: %v", sc.name, i+1, err)
			}
			s.SetHook(nil)
			if sc.name == "create" {
				err = createAgain(t.Context(), s, host, w)
			} else {
				_, err = w.verify(t.Context(), s.Bucket(), sc.newest)
			}
			if err != nil {
				c.lost("%s, request %d: %v", sc.name, i+1, err)
			}
		})
	}
	t.Logf("slowest return %v after the context was done", time.Duration(worst.Load()))
	c.report(t)
}

// lies are what a store or a network may make of one answer.
func lies() map[string]func(o faultstore.Op) faultstore.Fault {
	always := func(f faultstore.Fault) func(faultstore.Op) faultstore.Fault {
		return func(faultstore.Op) faultstore.Fault { return f }
	}
	return map[string]func(o faultstore.Op) faultstore.Fault{
		"empty":  always(faultstore.Short(0)),
		"short":  func(o faultstore.Op) faultstore.Fault { return faultstore.Short(o.Bytes - 1) },
		"broken": func(o faultstore.Op) faultstore.Fault { return faultstore.Broken(o.Bytes / 2) },
		"flip":   func(o faultstore.Op) faultstore.Fault { return faultstore.Flip(o.Bytes/3, 1) },
		"stale":  always(faultstore.Fail(gcerrors.NotFound)),
	}
}

func reads(o faultstore.Op) bool { return o.Kind == faultstore.Read || o.Kind == faultstore.Stat }

// TestReadsThatLie lets every read of an opening and a restore go wrong, once and for good (N4, N5, K2):
// there is an error, or the right bytes. Once, a short or broken answer is overcome.
func TestReadsThatLie(t *testing.T) {
	t.Parallel()
	var sc *scenario
	for _, s := range scenarios(t) {
		if s.name == "credential" {
			sc = s // two snapshots
		}
	}
	s := sc.store.Clone()
	s.Record()
	n, err := sc.world.verify(t.Context(), s.Bucket(), 0)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	points := len(s.Log())
	var c tally
	for name, lie := range lies() {
		for _, always := range []bool{false, true} {
			workers(points, func(i int) {
				if !long() && (i+len(name))%3 > 0 {
					return
				}
				c.add(name)
				s := sc.store.Clone()
				var at string
				s.SetHook(func(o faultstore.Op) faultstore.Fault {
					if o.N == i+1 {
						at = o.Key // the first hook call of that number
					}
					if o.N == i+1 || always && o.N > i+1 && o.Key == at {
						return lie(o)
					}
					return faultstore.Fault{}
				})
				n, err := sc.world.verify(t.Context(), s.Bucket(), 0)
				switch {
				case errors.Is(err, errWrong):
					c.lost("%s at request %d: %v", name, i+1, err)
				case err != nil && !always && (name == "short" || name == "broken" || name == "empty"):
					c.lost("%s at request %d was not overcome: %v", name, i+1, err)
				case err == nil && n != 2:
					c.lost("%s at request %d: %d snapshots", name, i+1, n)
				}
			})
		}
	}
	c.report(t)
}

// TestWritersThatAreLiedTo lets every read of every operation go wrong once: whatever the operation then
// takes for the state of the repository, nothing that is committed may be lost for others.
func TestWritersThatAreLiedTo(t *testing.T) {
	t.Parallel()
	var c tally
	for _, sc := range scenarios(t) {
		if sc.name == "create" {
			continue
		}
		for _, kept := range []bool{true, false} {
			if !kept && sc.name == "credential" {
				continue
			}
			host := func() string {
				if kept {
					return unpack(t, sc.host)
				}
				return t.TempDir()
			}
			s := sc.store.Clone()
			s.Record()
			require.NoError(t, sc.act(t.Context(), s, host(), sc.world.clone()))
			log, sample := s.Log(), 8
			if sc.name == "checkpoint" {
				sample = 6
			}
			for name, lie := range lies() {
				if !long() && name != "stale" && name != "flip" {
					continue
				}
				workers(len(log), func(i int) {
					if !reads(log[i]) || !long() && (i+len(name))%sample > 0 {
						return
					}
					c.add(sc.name)
					s, w, host := sc.store.Clone(), sc.world.clone(), host()
					s.SetHook(func(o faultstore.Op) faultstore.Fault {
						if o.N == i+1 && reads(o) {
							return lie(o)
						}
						return faultstore.Fault{}
					})
					first := sc.act(t.Context(), s, host, w)
					s.SetHook(nil)
					_, err := w.verify(t.Context(), s.Bucket(), sc.newest)
					if err == nil && sc.adds {
						// What the host has remembered of the lie must not harm it either.
						if err = sc.act(t.Context(), s, host, w); err == nil {
							_, err = w.verify(t.Context(), s.Bucket(), sc.newest)
						}
					}
					if err != nil {
						c.lost("%s, host folder kept %v, %s at request %d of %q (%v): %v", sc.name, kept, name, i+1, log[i].Key, first, err)
					}
				})
			}
		}
	}
	c.report(t)
}

// longBodies is a driver whose answers hold more than was asked for, and say so or not.
type longBodies struct {
	driver.Bucket
	extra int
	say   bool
}

func (b *longBodies) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	r, err := b.Bucket.NewRangeReader(ctx, key, offset, length, o)
	if err != nil {
		return nil, err
	}
	a := *r.Attributes()
	if b.say {
		a.Size += int64(b.extra)
	}
	return &longReader{Reader: r, rest: b.extra, attrs: a}, nil
}

type longReader struct {
	driver.Reader
	rest  int
	attrs driver.ReaderAttributes
}

func (r *longReader) Attributes() *driver.ReaderAttributes { return &r.attrs }

func (r *longReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == nil || r.rest == 0 {
		return n, err
	}
	more := min(len(p)-n, r.rest)
	for i := range more {
		p[n+i] = 0x55
	}
	r.rest -= more
	return n + more, nil
}

// TestLongBodies reads from a store whose answers are too long (N5).
func TestLongBodies(t *testing.T) {
	t.Parallel()
	s, r := begin(t, "")
	w := newWorld()
	for v := range 2 {
		_, err := w.backup(t.Context(), r, version(v, 1))
		require.NoError(t, err)
	}
	var c tally
	for _, extra := range []int{1, 100, 1 << 20} {
		for _, say := range []bool{true, false} {
			c.add("long")
			b := blob.NewBucket(&longBodies{s.Driver(), extra, say})
			_, err := w.verify(t.Context(), b, 0)
			if errors.Is(err, errWrong) || !say && err != nil || say && err == nil {
				c.lost("%d bytes too many, said %v: %v", extra, say, err)
			}
			require.NoError(t, b.Close())
		}
	}
	c.report(t)
}
