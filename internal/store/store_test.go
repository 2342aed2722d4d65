package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"
	"golang.org/x/time/rate"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/store"
)

func on(s *faultstore.Store, o store.Options) *store.Store { return store.New(s.Bucket(), o) }

func every(kind faultstore.Kind) func(faultstore.Op) bool { return faultstore.On(kind, "") }

// operations are one of each, on an object that is there.
var operations = map[string]func(context.Context, *store.Store) error{
	"get": func(ctx context.Context, s *store.Store) error { _, err := s.Get(ctx, "k", 100); return err },
	"read": func(ctx context.Context, s *store.Store) error {
		_, err := s.ReadRange(ctx, "k", 1, 2, nil)
		return err
	},
	"exists": func(ctx context.Context, s *store.Store) error { _, err := s.Exists(ctx, "k"); return err },
	"stat":   func(ctx context.Context, s *store.Store) error { _, err := s.Size(ctx, "k"); return err },
	"delete": func(ctx context.Context, s *store.Store) error { return s.Delete(ctx, "k") },
	"put":    func(ctx context.Context, s *store.Store) error { return s.Put(ctx, "new", []byte("data")) },
}

func TestRoundTrip(t *testing.T) {
	ctx := t.Context()
	f := faultstore.New()
	s := on(f, store.Options{})
	require.NoError(t, s.Put(ctx, "a/k", []byte("content")))
	require.NoError(t, s.Put(ctx, "a/k", []byte("content")), "the same bytes again")
	require.ErrorIs(t, s.Put(ctx, "a/k", []byte("others")), store.ErrExists)
	require.ErrorIs(t, s.Put(ctx, "a/k", []byte("longer than content")), store.ErrExists)
	require.ErrorIs(t, s.Put(ctx, "a/k", []byte("c")), store.ErrExists)
	b, err := s.Get(ctx, "a/k", 7)
	require.NoError(t, err)
	require.Equal(t, "content", string(b))
	memory := make([]byte, 0, 100)
	b, err = s.ReadRange(ctx, "a/k", 3, 4, memory)
	require.NoError(t, err)
	require.Equal(t, "tent", string(b))
	require.Same(t, &memory[:1][0], &b[0])
	n, err := s.Size(ctx, "a/k")
	require.NoError(t, err)
	require.Equal(t, int64(7), n)
	require.NoError(t, s.Put(ctx, "b/k", nil))
	b, err = s.Get(ctx, "b/k", 0)
	require.NoError(t, err)
	require.Empty(t, b)

	var listed []string
	require.NoError(t, s.List(ctx, "a/", func(o store.Listed) error {
		listed = append(listed, fmt.Sprint(o.Key, o.Size))
		return nil
	}))
	require.Equal(t, []string{"a/k7"}, listed)
	stop := errors.New("stop")
	require.ErrorIs(t, s.List(ctx, "", func(store.Listed) error { return stop }), stop)
	require.NoError(t, s.Delete(ctx, "a/k"))
	require.NoError(t, s.Delete(ctx, "a/k"), "what is gone already")
	ok, err := s.Exists(ctx, "a/k")
	require.NoError(t, err)
	require.False(t, ok)
}

// A fault that passes is waited out, with pauses that double; each retry is told.
func TestRetry(t *testing.T) {
	for name, f := range operations {
		for _, code := range []gcerrors.ErrorCode{gcerrors.Internal, gcerrors.Unknown, gcerrors.ResourceExhausted, gcerrors.DeadlineExceeded} {
			synctest.Test(t, func(t *testing.T) {
				fs := faultstore.New()
				fs.Set("k", []byte("content"))
				var told []string
				s := on(fs, store.Options{OnRetry: func(op string, _ error) { told = append(told, op) }})
				left := 3
				kind := map[string]faultstore.Kind{"get": faultstore.Read, "read": faultstore.Read, "exists": faultstore.Stat, "stat": faultstore.Stat, "delete": faultstore.Delete, "put": faultstore.Write}[name]
				fs.SetHook(func(o faultstore.Op) faultstore.Fault {
					if o.Kind != kind || left == 0 {
						return faultstore.Fault{}
					}
					left--
					return faultstore.Fail(code)
				})
				began := time.Now()
				require.NoError(t, f(t.Context(), s), name)
				require.Equal(t, []string{name, name, name}, told)
				took := time.Since(began) // 100, 200 and 400 ms, each times a half to one and a half
				require.GreaterOrEqual(t, took, 350*time.Millisecond)
				require.Less(t, took, 1050*time.Millisecond)
			})
		}
	}
}

func TestAttemptsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := faultstore.New()
		fs.SetHook(faultstore.Nth(0, every(faultstore.Read), faultstore.Fail(gcerrors.Internal)))
		_, err := on(fs, store.Options{}).Get(t.Context(), "k", 1)
		require.ErrorContains(t, err, "get: ")
		require.Equal(t, gcerrors.Internal, gcerrors.Code(err))
		require.Equal(t, 6, fs.Ops())
		fs.SetHook(faultstore.Nth(0, every(faultstore.Read), faultstore.Fail(gcerrors.Internal)))
		_, err = on(fs, store.Options{Attempts: 2}).Get(t.Context(), "k", 1)
		require.Error(t, err)
		require.Equal(t, 2, fs.Ops())
	})
}

// Answers that will not change are given at once.
func TestFinalAnswers(t *testing.T) {
	for name, f := range operations {
		for _, c := range []struct {
			fault faultstore.Fault
			want  error
		}{
			{faultstore.Fail(gcerrors.PermissionDenied), store.ErrDenied},
			{faultstore.Fail(gcerrors.NotFound), store.ErrNotFound},
			{faultstore.FailWith(fmt.Errorf("write: %w", syscall.ENOSPC)), store.ErrSpace},
		} {
			if errors.Is(c.want, store.ErrNotFound) && (name == "exists" || name == "delete") {
				continue // an answer, no error
			}
			fs := faultstore.New()
			fs.Set("k", []byte("content"))
			told := 0
			s := on(fs, store.Options{OnRetry: func(string, error) { told++ }})
			fs.SetHook(faultstore.Nth(1, func(faultstore.Op) bool { return true }, c.fault))
			require.ErrorIs(t, f(t.Context(), s), c.want, name)
			require.Zero(t, told)
		}
	}
}

// Every answer that an exclusive write can get, and what it comes to.
func TestAmbiguousCreate(t *testing.T) {
	first := func(f faultstore.Fault) faultstore.Hook { return faultstore.Nth(1, every(faultstore.Write), f) }
	for name, c := range map[string]struct {
		there string
		hook  faultstore.Hook
		want  error
	}{
		"lost answer":                     {hook: first(faultstore.Fail(gcerrors.Internal).Applied())},
		"lost answer, told as lost race":  {hook: first(faultstore.Fail(gcerrors.FailedPrecondition).Applied())},
		"failed before":                   {hook: first(faultstore.Fail(gcerrors.Internal))},
		"conflict, nothing there (409)":   {hook: first(faultstore.Fail(gcerrors.Unknown))},
		"error, another's bytes":          {there: "theirs", hook: first(faultstore.Fail(gcerrors.Internal)), want: store.ErrExists},
		"error, another's longer bytes":   {there: "much longer than ours", hook: first(faultstore.Fail(gcerrors.Internal)), want: store.ErrExists},
		"denied, another's bytes":         {there: "theirs", hook: first(faultstore.Fail(gcerrors.PermissionDenied)), want: store.ErrExists},
		"denied, our bytes":               {there: "ours", hook: first(faultstore.Fail(gcerrors.PermissionDenied))},
		"error, and reading back fails":   {hook: func(o faultstore.Op) faultstore.Fault { return failUpTo(o, 2, gcerrors.Internal) }},
		"lost answer, reading back fails": {there: "ours", hook: func(o faultstore.Op) faultstore.Fault { return failUpTo(o, 2, gcerrors.Internal) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := faultstore.New()
				if c.there != "" {
					fs.Set("k", []byte(c.there))
				}
				fs.SetHook(c.hook)
				err := on(fs, store.Options{}).Create(t.Context(), "k", []byte("ours"))
				require.ErrorIs(t, err, c.want)
				if c.want == nil {
					require.Equal(t, "ours", string(fs.Get("k")))
				} else {
					require.Equal(t, c.there, string(fs.Get("k")))
				}
			})
		})
	}
}

func failUpTo(o faultstore.Op, n int, code gcerrors.ErrorCode) faultstore.Fault {
	if o.N <= n {
		return faultstore.Fail(code)
	}
	return faultstore.Fault{}
}

func TestOneWinner(t *testing.T) {
	for name, b := range map[string]*blob.Bucket{"memblob": memblob.OpenBucket(nil), "faultstore": faultstore.New().Bucket()} {
		s := store.New(b, store.Options{})
		for i := range 20 {
			var won atomic.Int32
			var wg sync.WaitGroup
			for r := range 10 {
				wg.Go(func() {
					err := s.Create(context.Background(), fmt.Sprint("k", i), fmt.Append(nil, r))
					if err == nil {
						won.Add(1)
					} else if !errors.Is(err, store.ErrExists) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.Equal(t, int32(1), won.Load(), name)
		}
		require.NoError(t, b.Close())
	}
}

func TestReading(t *testing.T) {
	ctx := t.Context()
	fs := faultstore.New()
	fs.Set("k", []byte("content"))
	s := on(fs, store.Options{Attempts: 1})
	_, err := s.ReadRange(ctx, "k", 5, 3, nil)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = s.ReadRange(ctx, "k", 7, 1, nil)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	fs.SetHook(faultstore.At(1, faultstore.Short(3)))
	_, err = s.Get(ctx, "k", 100)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)

	// Too large: refused at once, on the word of the store, before memory for it is taken.
	fs.SetHook(nil)
	fs.Record()
	_, err = on(fs, store.Options{}).Get(ctx, "k", 6)
	require.ErrorIs(t, err, store.ErrTooLarge)
	require.Len(t, fs.Log(), 1)
	limited := on(fs, store.Options{Download: rate.NewLimiter(0, 0)}) // lets no byte pass
	_, err = limited.Get(ctx, "k", 6)
	require.ErrorIs(t, err, store.ErrTooLarge)

	// A connection that breaks in the middle is made again.
	synctest.Test(t, func(t *testing.T) {
		fs := faultstore.New()
		fs.Set("k", []byte("content"))
		fs.SetHook(faultstore.At(1, faultstore.Broken(3)))
		b, err := on(fs, store.Options{}).Get(t.Context(), "k", 100)
		require.NoError(t, err)
		require.Equal(t, "content", string(b))
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := faultstore.New()
		data := bytes.Repeat([]byte{1}, 10_000)
		s := on(fs, store.Options{Upload: rate.NewLimiter(1000, 100), Download: rate.NewLimiter(5000, 100)})
		began := time.Now()
		require.NoError(t, s.Put(t.Context(), "k", data))
		require.InDelta(t, 9.9, time.Since(began).Seconds(), 0.1)
		began = time.Now()
		_, err := s.Get(t.Context(), "k", 10_000)
		require.NoError(t, err)
		require.InDelta(t, 1.98, time.Since(began).Seconds(), 0.1)
	})
}

func TestConcurrentRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := faultstore.New()
		fs.SetHook(faultstore.Nth(0, every(faultstore.Stat), faultstore.Delay(time.Second)))
		s := on(fs, store.Options{Requests: 3})
		began := time.Now()
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() { _, _ = s.Exists(t.Context(), "k") })
		}
		wg.Wait()
		require.Equal(t, 4*time.Second, time.Since(began))
	})
}

// Whatever an operation waits for, an end of its context ends it then.
func TestCancel(t *testing.T) {
	for name, f := range operations {
		for what, fault := range map[string]faultstore.Fault{
			"a request that hangs":   faultstore.Hang(),
			"the pause for a retry":  faultstore.Fail(gcerrors.Internal),
			"nothing: it is over":    faultstore.Delay(time.Hour),
			"a request that is held": faultstore.Hang().Applied(),
		} {
			synctest.Test(t, func(t *testing.T) {
				fs := faultstore.New()
				fs.Set("k", []byte("content"))
				fs.SetHook(faultstore.Nth(0, func(faultstore.Op) bool { return true }, fault))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				err := f(ctx, on(fs, store.Options{Attempts: 100, Backoff: time.Minute}))
				require.ErrorIs(t, err, context.DeadlineExceeded, "%s: %s", name, what)
				require.Equal(t, time.Second, time.Since(began))
			})
		}
		synctest.Test(t, func(t *testing.T) { // waiting for a free slot, and for a limiter
			fs := faultstore.New()
			fs.Set("k", []byte("content"))
			fs.SetHook(faultstore.Nth(0, func(faultstore.Op) bool { return true }, faultstore.Delay(time.Hour)))
			s := on(fs, store.Options{Requests: 1})
			go func() { _, _ = s.Exists(t.Context(), "k") }()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			require.ErrorIs(t, f(ctx, s), context.DeadlineExceeded, name)
			require.Equal(t, time.Second, time.Since(began))
			time.Sleep(2 * time.Hour)
		})
	}
}

func TestIsFileblob(t *testing.T) {
	b, err := fileblob.OpenBucket(t.TempDir(), nil)
	require.NoError(t, err)
	defer b.Close()
	require.True(t, store.IsFileblob(b))
	m := memblob.OpenBucket(nil)
	defer m.Close()
	require.False(t, store.IsFileblob(m))
}

func TestProbeExclusive(t *testing.T) {
	ctx := t.Context()
	m := memblob.OpenBucket(nil)
	defer m.Close()
	ok, err := store.New(m, store.Options{}).ProbeExclusive(ctx)
	require.NoError(t, err)
	require.True(t, ok)

	fs := faultstore.New()
	ok, err = on(fs, store.Options{}).ProbeExclusive(ctx)
	require.NoError(t, err)
	require.True(t, ok)
	require.Empty(t, fs.Keys(), "nothing is left")

	fs.SetHook(faultstore.Nth(0, every(faultstore.Write), faultstore.Replace()))
	ok, err = on(fs, store.Options{}).ProbeExclusive(ctx)
	require.NoError(t, err)
	require.False(t, ok)

	// A store that keeps no rival out once the race is over.
	fs.SetHook(faultstore.Nth(9, every(faultstore.Write), faultstore.Replace()))
	ok, err = on(fs, store.Options{}).ProbeExclusive(ctx)
	require.NoError(t, err)
	require.False(t, ok)

	fs.SetHook(faultstore.Nth(0, every(faultstore.Write), faultstore.Fail(gcerrors.PermissionDenied)))
	_, err = on(fs, store.Options{}).ProbeExclusive(ctx)
	require.ErrorIs(t, err, store.ErrDenied)

	fs.SetHook(faultstore.Nth(0, every(faultstore.Write), faultstore.Fail(gcerrors.NotFound)))
	_, err = on(fs, store.Options{}).ProbeExclusive(ctx)
	require.ErrorContains(t, err, "the bucket does not exist")

	// A store that does not let us delete is exclusive all the same.
	fs.SetHook(faultstore.Nth(0, every(faultstore.Delete), faultstore.Fail(gcerrors.PermissionDenied)))
	ok, err = on(fs, store.Options{}).ProbeExclusive(ctx)
	require.NoError(t, err)
	require.True(t, ok)

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = on(fs, store.Options{}).ProbeExclusive(cancelled)
	require.ErrorIs(t, err, context.Canceled)
}
