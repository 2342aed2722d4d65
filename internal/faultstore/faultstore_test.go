package faultstore_test

import (
	"context"
	"io"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/drivertest"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/faultstore"
)

// harness runs gocloud's conformance tests.
type harness struct{ s *faultstore.Store }

func (h *harness) MakeDriver(context.Context) (driver.Bucket, error) { return h.s.Driver(), nil }
func (h *harness) MakeDriverForNonexistentBucket(context.Context) (driver.Bucket, error) {
	return nil, nil // there is none
}
func (h *harness) HTTPClient() *http.Client         { return nil }
func (h *harness) SupportsCopy() bool               { return true }
func (h *harness) SupportsNonSlashDelimiters() bool { return true }
func (h *harness) Close()                           {}

func TestConformance(t *testing.T) {
	drivertest.RunConformanceTests(t, func(context.Context, *testing.T) (drivertest.Harness, error) {
		return &harness{faultstore.New()}, nil
	}, nil)
}

func create(ctx context.Context, b *blob.Bucket, key, data string) error {
	return b.WriteAll(ctx, key, []byte(data), &blob.WriterOptions{IfNotExist: true, ContentType: "x/y"})
}

func TestCountsAndNumbers(t *testing.T) {
	ctx := t.Context()
	s := faultstore.New()
	s.Record()
	b := s.Bucket()
	require.NoError(t, create(ctx, b, "a", "one"))
	require.Equal(t, gcerrors.FailedPrecondition, gcerrors.Code(create(ctx, b, "a", "two")))
	_, err := b.ReadAll(ctx, "a")
	require.NoError(t, err)
	_, err = b.Exists(ctx, "b")
	require.NoError(t, err)
	require.NoError(t, b.Copy(ctx, "c", "a", nil))
	require.NoError(t, b.Delete(ctx, "c"))
	_, err = b.List(nil).Next(ctx)
	require.NoError(t, err)
	require.Equal(t, []faultstore.Op{
		{N: 1, Kind: faultstore.Write, Key: "a", Bytes: 3, Exclusive: true},
		{N: 2, Kind: faultstore.Write, Key: "a", Bytes: 3, Exclusive: true},
		{N: 3, Kind: faultstore.Read, Key: "a", Bytes: 3},
		{N: 4, Kind: faultstore.Stat, Key: "b"},
		{N: 5, Kind: faultstore.Copy, Key: "c"},
		{N: 6, Kind: faultstore.Delete, Key: "c"},
		{N: 7, Kind: faultstore.List},
	}, s.Log())
	require.Equal(t, 7, s.Ops())
	require.Equal(t, map[string][]byte{"a": []byte("one")}, s.Objects())
}

func TestKill(t *testing.T) {
	ctx := t.Context()
	for _, applied := range []bool{false, true} {
		s := faultstore.New()
		b := s.Bucket()
		f := faultstore.Kill()
		if applied {
			f = f.Applied()
		}
		s.SetHook(faultstore.At(2, f))
		require.NoError(t, create(ctx, b, "a", "1"))
		before := s.Clone()
		for range 3 {
			err := create(ctx, b, "b", "2")
			require.ErrorIs(t, err, faultstore.ErrKilled)
			require.Equal(t, gcerrors.Canceled, gcerrors.Code(err))
		}
		require.True(t, s.Killed())
		require.Equal(t, 2, s.Ops(), "what comes after a kill is no request")
		want := []string{"a"}
		if applied {
			want = []string{"a", "b"}
		}
		require.Equal(t, want, s.Clone().Keys())
		require.Equal(t, []string{"a"}, before.Keys())
		_, err := s.Clone().Bucket().ReadAll(ctx, "a")
		require.NoError(t, err, "a clone is not killed")
		s.Revive()
		require.NoError(t, create(ctx, b, "c", "3"))
	}
}

func TestKillStopsRequestsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faultstore.New()
		s.SetHook(func(o faultstore.Op) faultstore.Fault {
			if o.Key == "slow" {
				return faultstore.Delay(time.Hour)
			}
			return faultstore.Kill()
		})
		slow := make(chan error)
		go func() { slow <- create(context.Background(), s.Bucket(), "slow", "x") }()
		synctest.Wait()
		require.ErrorIs(t, create(t.Context(), s.Bucket(), "now", "x"), faultstore.ErrKilled)
		require.ErrorIs(t, <-slow, faultstore.ErrKilled)
		require.Empty(t, s.Keys())
	})
}

func TestFailures(t *testing.T) {
	ctx := t.Context()
	s := faultstore.New()
	b := s.Bucket()
	onWrite := faultstore.On(faultstore.Write, "k/")
	s.SetHook(faultstore.Nth(2, onWrite, faultstore.Fail(gcerrors.AlreadyExists).Applied()))
	require.NoError(t, create(ctx, b, "other", ""))
	require.NoError(t, create(ctx, b, "k/1", "1"))
	require.Equal(t, gcerrors.AlreadyExists, gcerrors.Code(create(ctx, b, "k/2", "2")))
	require.Equal(t, []byte("2"), s.Get("k/2"), "the answer was lost, the write was not")
	require.NoError(t, create(ctx, b, "k/3", "3"))

	s.SetHook(faultstore.Nth(0, onWrite, faultstore.FailWith(syscall.ENOSPC)))
	for range 2 {
		require.ErrorIs(t, create(ctx, b, "k/4", "4"), syscall.ENOSPC)
	}
	require.Nil(t, s.Get("k/4"))

	s.SetHook(faultstore.At(1, faultstore.Replace()))
	require.NoError(t, create(ctx, b, "k/1", "other"))
	require.Equal(t, []byte("other"), s.Get("k/1"))

	s.SetHook(faultstore.At(1, faultstore.Fail(gcerrors.NotFound)))
	there, err := b.Exists(ctx, "k/1")
	require.NoError(t, err)
	require.False(t, there)
}

func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := faultstore.New()
		s.SetHook(faultstore.At(1, faultstore.Hang().Applied()))
		require.ErrorIs(t, create(ctx, s.Bucket(), "a", "x"), context.DeadlineExceeded)
		require.Equal(t, []byte("x"), s.Get("a"))
	})
}

func TestBytes(t *testing.T) {
	ctx := t.Context()
	s := faultstore.New()
	b := s.Bucket()
	s.Set("a", []byte("0123456789"))

	s.SetHook(faultstore.At(1, faultstore.Flip(3, 1)))
	got, err := b.ReadAll(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, "0122456789", string(got))

	s.SetHook(faultstore.At(1, faultstore.Broken(4)))
	r, err := b.NewReader(ctx, "a", nil)
	require.NoError(t, err)
	got, err = io.ReadAll(r)
	require.Error(t, err)
	require.Equal(t, "0123", string(got))
	require.NoError(t, r.Close())

	s.SetHook(faultstore.At(1, faultstore.Short(4)))
	r, err = b.NewRangeReader(ctx, "a", 2, 6, nil)
	require.NoError(t, err)
	got, err = io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "2345", string(got))
	require.NoError(t, r.Close())

	s.SetHook(faultstore.At(1, faultstore.Short(2)))
	require.NoError(t, create(ctx, b, "b", "xyz"))
	require.Equal(t, []byte("xy"), s.Get("b"))
	s.SetHook(faultstore.At(1, faultstore.Flip(-1, 0xff)))
	require.NoError(t, create(ctx, b, "c", "xyz"))
	require.Equal(t, []byte{'x', 'y', 'z' ^ 0xff}, s.Get("c"))
	require.Equal(t, "0123456789", string(s.Get("a")), "a fault of a read changes nothing")
}

func TestCloneIsIndependent(t *testing.T) {
	s := faultstore.New()
	data := []byte("abc")
	s.Set("a", data)
	data[0] = 'x'
	c := s.Clone()
	c.Get("a")[1] = 'y'
	c.Set("b", nil)
	require.True(t, s.Remove("a"))
	require.False(t, s.Remove("a"))
	require.Equal(t, "abc", string(c.Get("a")))
	require.NotNil(t, c.Get("b"))
	require.Equal(t, []string{"a", "b"}, c.Keys())
	require.EqualValues(t, 3, c.Size())
	require.Empty(t, s.Keys())
}
