package index_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// faults looks every id up and returns the errors and how many ids were found.
func faults(t *testing.T, x *index.Index, s format.Segment, list []format.ID) (errs []error, found int) {
	for _, id := range list {
		f, ok, err := x.Lookup(context.Background(), id)
		if ok {
			require.Equal(t, locationOf(id, f.Location.Pack), f.Location)
			found++
		}
		if err != nil {
			var se *index.SegmentError
			require.ErrorAs(t, err, &se)
			require.Equal(t, s.Hash, se.Hash)
			errs = append(errs, err)
		}
	}
	return errs, found
}

func TestDamage(t *testing.T) {
	t.Parallel()
	eachSuite(t, func(t *testing.T, suite seal.Suite) {
		for _, n := range []int{2000, 5000} { // read whole; read in ranges
			w := newWorld(t, suite)
			w.cfg.Memory = 1
			all := ids(uint64(n), n)
			s := w.segment(writerA, all)
			all = all[:n/5] // they lie in every page
			sealed := w.read(s)
			ranged := len(sealed) > 256<<10
			for _, at := range []int{0, 3, 4, 20, 43, 44, 60, 65_535, 65_536, len(sealed) / 2, len(sealed) - 40, len(sealed) - 1} {
				bad := bytes.Clone(sealed)
				bad[at] ^= 4
				w.replace(s, bad)
				errs, found := faults(t, w.index(s), s, all)
				require.NotEmpty(t, errs, "byte %d", at)
				require.Equal(t, len(all), len(errs)+found, "a present chunk was called absent")
				if !ranged {
					require.Zero(t, found)
				}
				var last error
				for _, err := range w.index().All(context.Background(), s) {
					last = err
				}
				require.Error(t, last)
				err := w.index().Merge(context.Background(), []format.Segment{s}, 0, func(format.Segment, []byte) error { return nil })
				require.Error(t, err, "byte %d", at)
			}
			for name, bad := range map[string][]byte{
				"empty": nil, "header only": sealed[:4], "prologue only": sealed[:44], "cut in a page": sealed[:len(sealed)-1],
				"cut between pages": sealed[:65_536], "longer": append(bytes.Clone(sealed), 0),
			} {
				w.replace(s, bad)
				errs, found := faults(t, w.index(s), s, all[:20])
				if name == "longer" && ranged {
					// The range that is read is the segment as it was written: nothing is wrong with it.
					require.Equal(t, 20, found)
					continue
				}
				require.Len(t, errs, 20, name)
			}
		}
	})
}

func TestMissing(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, seal.T1)
	all := ids(1, 30_000)
	for _, n := range []int{10, 29_000} {
		gone, there := w.segment(writerA, all[:n]), w.segment(writerA, all[n:])
		sealed := w.read(gone)
		require.NoError(t, w.bucket.Delete(ctx, format.IndexKey(gone.Hash)))
		x := w.index(there, gone)
		requireFound(t, x, all[n]) // what another segment has is found all the same
		_, ok, err := x.Lookup(ctx, all[0])
		require.False(t, ok)
		require.ErrorIs(t, err, store.ErrNotFound)
		var se *index.SegmentError
		require.ErrorAs(t, err, &se)
		require.Equal(t, gone.Hash, se.Hash)
		// It stays an error until the segment is set again.
		w.put(gone, sealed)
		_, _, err = x.Lookup(ctx, all[0])
		require.ErrorIs(t, err, store.ErrNotFound)
		x.Set([]format.Segment{there, gone})
		requireFound(t, x, all[0])
	}
}

func TestSwapped(t *testing.T) {
	w := newWorld(t, seal.T1)
	for _, n := range []int{100, 12_000} {
		mine, other, more := ids(1, n), ids(2, n), ids(3, n+1)
		a, b, c := w.segment(writerA, mine), w.segment(writerA, other), w.segment(writerA, more)
		whole := w.read(a)

		// Another segment of the same repository in its place.
		for _, d := range []format.Segment{b, c} {
			w.replace(a, w.read(d))
			if d == b && n > 5000 {
				// Of the same size, and read in ranges only: what a digest alone can tell. See the package comment.
				_, found := faults(t, w.index(a), a, mine[:50])
				require.Zero(t, found)
			} else {
				errs, _ := faults(t, w.index(a), a, mine[:50])
				require.Len(t, errs, 50)
			}
			var last error
			for _, err := range w.index().All(context.Background(), a) {
				last = err
			}
			require.Error(t, last, "a check reads all")
			err := w.index().Merge(context.Background(), []format.Segment{a}, 0, func(format.Segment, []byte) error { return nil })
			require.Error(t, err, "a merge reads all")
		}

		// Pages of another segment, in their place.
		if n > 5000 {
			mixed := bytes.Clone(whole)
			copy(mixed[65_536:2*65_536], w.read(b)[65_536:])
			w.replace(a, mixed)
			errs, found := faults(t, w.index(a), a, mine)
			require.NotEmpty(t, errs)
			require.Equal(t, n, len(errs)+found)
		}
		w.replace(a, whole)

		// Known under counts or a size that are not its own; under another key or repository.
		for _, f := range []func(*format.Segment, *index.Config){
			func(s *format.Segment, _ *index.Config) { s.Entries++ },
			func(s *format.Segment, _ *index.Config) { s.Entries = 1 << 60 },
			func(s *format.Segment, _ *index.Config) { s.Size-- },
			func(s *format.Segment, _ *index.Config) { s.Size++ },
			func(s *format.Segment, _ *index.Config) { s.Size = 1 << 47 },
			func(s *format.Segment, _ *index.Config) { s.Size = 1 << 63 },
			func(s *format.Segment, _ *index.Config) { s.Size = 0 },
			func(s *format.Segment, _ *index.Config) { s.Hash[0]++ },
			func(_ *format.Segment, c *index.Config) { c.Key = bytes.Repeat([]byte{1}, 32) },
			func(_ *format.Segment, c *index.Config) { c.Key = nil },
			func(_ *format.Segment, c *index.Config) { c.Repo[0]++ },
			func(_ *format.Segment, c *index.Config) { c.Suite = seal.F1 },
			func(_ *format.Segment, c *index.Config) { c.Suite = 0 },
		} {
			s, cfg := a, w.cfg
			f(&s, &cfg)
			x := index.New(cfg)
			x.Set([]format.Segment{s})
			errs, _ := faults(t, x, s, mine[:5])
			require.Len(t, errs, 5)
			require.Error(t, x.Add(s, whole))
			x.Close()
		}
	}
}

func TestNewerVersion(t *testing.T) {
	w := newWorld(t, seal.T1)
	all := ids(1, 12_000)
	s := w.segment(writerA, all)
	b := w.read(s)
	b[3] = 2
	w.replace(s, b)
	_, _, err := w.index(s).Lookup(context.Background(), all[0])
	require.ErrorIs(t, err, format.ErrVersion)
}

// TestTransient: a fault that may pass does not stick.
func TestTransient(t *testing.T) {
	w := newWorld(t, seal.T1)
	all := ids(1, 12_000)
	s := w.segment(writerA, all)
	x := w.index(s)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("gone"))
	_, _, err := x.Lookup(ctx, all[0])
	require.ErrorIs(t, err, context.Canceled)
	requireFound(t, x, all[0])
	sealed := w.read(s)
	w.replace(s, sealed[:70_000]) // a store that answers short
	_, found := faults(t, x, s, all[:200])
	require.Less(t, found, 200)
	w.replace(s, sealed)
	for _, id := range all {
		requireFound(t, x, id)
	}
}

// TestHostile: what somebody with the key sealed is checked like anything else.
func TestHostile(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, seal.T1)
	all := ids(5, 100)
	b := index.NewBuilder(w.cfg, writerA, 0)
	fill(t, b, all)
	object, s, err := b.Build()
	require.NoError(t, err)
	aad := append([]byte("carekeep/v1 index\x01"), w.cfg.Repo[:]...)
	st, err := seal.T1.OpenStream(w.cfg.Key, aad, object)
	require.NoError(t, err)
	good, _, err := st.Decrypt(nil, 0, object, int64(s.Size))
	require.NoError(t, err)
	const packTable = 16 + 56*100
	for name, f := range map[string]func(p []byte) []byte{
		"nothing wrong":   func(p []byte) []byte { return p },
		"entries off":     func(p []byte) []byte { p[7]++; return p },
		"packs off":       func(p []byte) []byte { p[11]--; return p },
		"no packs":        func(p []byte) []byte { p[11] = 0; return p },
		"blocks off":      func(p []byte) []byte { p[15]++; return p },
		"counts overflow": func(p []byte) []byte { p[8], p[12] = 255, 255; return p },
		"cut":             func(p []byte) []byte { return p[:len(p)-1] },
		"longer":          func(p []byte) []byte { return append(p, 0) },
		"no head":         func(p []byte) []byte { return p[:15] },
		"nothing":         func(p []byte) []byte { return nil },
		"no such pack":    func(p []byte) []byte { p[16+56*7+35] = 2; return p },
		"no length":       func(p []byte) []byte { clear(p[16+56*7+52:][:4]); return p },
		"beyond the pack": func(p []byte) []byte { p[16+56*7+36] = 1; return p },
		"pack of no type": func(p []byte) []byte { p[packTable] = 'X'; return p },
		"filter denies":   func(p []byte) []byte { clear(p[len(p)-64:]); return p },
		"reversed": func(p []byte) []byte {
			a, z := bytes.Clone(p[16:16+56]), p[packTable-56:packTable]
			copy(p[16:], z)
			copy(z, a)
			return p
		},
		"swapped": func(p []byte) []byte {
			a := bytes.Clone(p[16+56*7:][:56])
			copy(p[16+56*7:], p[16+56*8:][:56])
			copy(p[16+56*8:], a)
			return p
		},
		"places reversed": func(p []byte) []byte {
			i, j := 16+56*7, 16+56*8
			copy(p[i:], p[j:][:56])
			p[i+35], p[j+35] = 1, 0
			return p
		},
		"twice": func(p []byte) []byte { copy(p[16+56*7:], p[16+56*8:][:56]); return p },
	} {
		t.Run(name, func(t *testing.T) {
			bad, err := seal.T1.SealStream(nil, format.Header(format.TypeIndex), w.cfg.Key, aad, f(bytes.Clone(good)))
			require.NoError(t, err)
			d := format.Segment{Hash: sha256.Sum256(bad), Size: uint64(len(bad)), Entries: 100, Writer: writerA}
			w.put(d, bad)
			x := w.index(d)
			for _, id := range all {
				f, ok, err := x.Lookup(ctx, id)
				if ok {
					require.NoError(t, err)
					require.Equal(t, locationOf(id, f.Location.Pack), f.Location)
				}
			}
			var last error
			for _, err := range x.All(ctx, d) {
				last = err
			}
			if name == "nothing wrong" {
				require.NoError(t, last)
				return
			}
			require.ErrorIs(t, last, format.ErrMalformed)
			var se *index.SegmentError
			require.ErrorAs(t, last, &se)
		})
	}
}
