package index_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/seal"
)

func TestLookup(t *testing.T) {
	t.Parallel()
	eachSuite(t, func(t *testing.T, suite seal.Suite) {
		w := newWorld(t, suite)
		// One entry; a page's worth and both sides of its border; several pages; more than is read whole.
		for i, n := range []int{1, 2, 1167, 1168, 1169, 1170, 1171, 4000, 10_000} {
			all := ids(uint64(i), n)
			s := w.segment(writerA, all)
			require.EqualValues(t, n, s.Entries)
			require.Len(t, w.read(s), int(s.Size))
			require.Equal(t, format.Hash(sha256.Sum256(w.read(s))), s.Hash)
			x := w.index(s)
			require.Zero(t, x.Stats().Open, "a segment was read before it was needed")
			for k, id := range all {
				f := requireFound(t, x, id)
				require.Equal(t, packOf(all[k/64*64]), f.Pack)
				require.Equal(t, s.Hash, f.Segment)
				require.Equal(t, writerA, f.Writer)
			}
			for _, id := range ids(1000+uint64(i), 2000) {
				requireAbsent(t, x, id)
			}
			for _, id := range []format.ID{{}, format.ID(bytes.Repeat([]byte{255}, 32))} {
				requireAbsent(t, x, id)
			}
			items := collect(t, x, s)
			slices.SortFunc(all, func(a, b format.ID) int { return bytes.Compare(a[:], b[:]) })
			require.Len(t, items, n)
			for k := range items {
				require.Equal(t, all[k], items[k].ID)
			}
		}
	})
}

func TestLayoutOffsets(t *testing.T) {
	// The plaintext byte by byte, as the table in layout.go has it.
	w := newWorld(t, seal.T1)
	list := []format.ID{{3}, {1}, {2}}
	for i := range list {
		copy(list[i][8:], ids(uint64(i), 1)[0][8:])
	}
	b := index.NewBuilder(w.cfg, writerA, 0)
	b.AddPack(packOf(list[2])) // no entry: left out
	for i, id := range list {
		require.EqualValues(t, i+1, b.AddPack(packOf(list[i])))
		require.NoError(t, b.Add(id, locationOf(id, uint32(i+1))))
	}
	object, s, err := b.Build()
	require.NoError(t, err)
	require.Equal(t, []byte("CKI\x01"), object[:4])
	aad := append([]byte("carekeep/v1 index\x01"), w.cfg.Repo[:]...)
	st, err := seal.T1.OpenStream(w.cfg.Key, aad, object)
	require.NoError(t, err)
	plain, _, err := st.Decrypt(nil, 0, object, int64(s.Size))
	require.NoError(t, err)

	want := []byte{0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 1}
	for i, k := range []int{1, 2, 0} { // packs are numbered as entries name them
		want = format.AppendIndexEntry(want, list[k], locationOf(list[k], uint32(i)))
	}
	for _, k := range []int{1, 2, 0} {
		p := packOf(list[k])
		want = p.Append(want)
	}
	var block [64]byte
	for _, id := range list {
		for j := range 8 {
			v := id[16+j] % 64
			block[8*j+7-int(v/8)] |= 1 << (v % 8) // bit v of a big-endian word
		}
	}
	require.Equal(t, append(want, block[:]...), plain)
}

func TestBuilder(t *testing.T) {
	w := newWorld(t, seal.T1)
	b := index.NewBuilder(w.cfg, writerA, 3)
	_, _, err := b.Build()
	require.Error(t, err, "an empty segment")
	id := ids(1, 4)
	require.ErrorIs(t, b.Add(id[0], locationOf(id[0], 0)), format.ErrMalformed, "no such pack")
	b.AddPack(packOf(id[0]))
	good := locationOf(id[0], 0)
	for _, f := range []func(*format.Location){
		func(l *format.Location) { l.Len = 0 },
		func(l *format.Location) { l.Start = 1 << 24 },
		func(l *format.Location) { l.Plain = format.MaxFrame + 1 },
		func(l *format.Location) { l.Len = l.Plain },
		func(l *format.Location) { l.Offset = 16 << 20 },
	} {
		l := good
		f(&l)
		require.ErrorIs(t, b.Add(id[0], l), format.ErrMalformed)
	}
	require.Zero(t, b.Len())
	second := good
	second.Codec++
	require.NoError(t, b.Add(id[1], locationOf(id[1], 0)))
	require.NoError(t, b.Add(id[0], good))
	require.NoError(t, b.Add(id[0], second))
	require.ErrorIs(t, b.Add(id[3], good), index.ErrFull)
	object, s, err := b.Build()
	require.NoError(t, err)
	require.EqualValues(t, 2, s.Entries)
	require.Zero(t, b.Len())
	x := w.index()
	require.NoError(t, x.Add(s, object)) // never in the bucket
	require.Equal(t, good, requireFound(t, x, id[0]).Location, "the first location is kept")
	requireFound(t, x, id[1])

	_, _, err = index.NewBuilder(index.Config{Suite: seal.T1, Key: []byte("short")}, writerA, 0).Build()
	require.Error(t, err)
}

func TestWritersAndOrder(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, seal.T1)
	both := ids(1, 100)
	old, theirs, young := w.segment(writerA, both[:60]), w.segment(writerB, both[30:]), w.segment(writerA, both[50:80])
	x := w.index(old, theirs, young)
	require.Equal(t, young.Hash, requireFound(t, x, both[55]).Segment)
	require.Equal(t, theirs.Hash, requireFound(t, x, both[40]).Segment)
	f, ok, err := x.LookupFrom(ctx, both[40], writerA)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, old.Hash, f.Segment)
	_, ok, err = x.LookupFrom(ctx, both[99], writerA)
	require.NoError(t, err)
	require.False(t, ok)

	// What stays in a new set stays open; what left is forgotten.
	x.Set([]format.Segment{old, old})
	require.Equal(t, 1, x.Stats().Segments)
	require.Equal(t, 1, x.Stats().Open)
	requireAbsent(t, x, both[99])
	require.NoError(t, x.Add(theirs, nil))
	require.NoError(t, x.Add(theirs, nil))
	require.Equal(t, 2, x.Stats().Segments)
	requireFound(t, x, both[99])
	x.Close()
	requireAbsent(t, x, both[0])
	require.Zero(t, x.Stats().FilterBytes)
}

// TestModel holds an index against a map: segments of several writers with ids in common come, go, and
// are merged.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rapid.SampledFrom([]seal.Suite{seal.T1, seal.F1}).Draw(rt, "suite"))
		w.cfg.Memory = 1 // the least there is
		if rapid.Bool().Draw(rt, "cached") {
			w.cfg.CacheDir = filepath.Join(t.TempDir(), "c")
		}
		universe := ids(rapid.Uint64().Draw(rt, "seed"), 1500)
		x := index.New(w.cfg)
		defer x.Close()
		type known struct {
			format.Segment
			ids    map[format.ID]bool
			places placesOf
		}
		var model []known
		set := func() {
			list := make([]format.Segment, len(model))
			for i, k := range model {
				list[i] = k.Segment
			}
			x.Set(list)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				from := rapid.IntRange(0, len(universe)-1).Draw(rt, "from")
				n := rapid.IntRange(1, len(universe)-from).Draw(rt, "n")
				writer := rapid.SampledFrom([]format.WriterID{writerA, writerB}).Draw(rt, "writer")
				list := universe[from : from+n]
				b := index.NewBuilder(w.cfg, writer, 0)
				fill(t, b, list)
				object, s, err := b.Build()
				require.NoError(rt, err)
				w.put(s, object)
				if rapid.Bool().Draw(rt, "give") {
					require.NoError(rt, x.Add(s, object))
				} else {
					require.NoError(rt, x.Add(s, nil))
				}
				k := known{s, map[format.ID]bool{}, placesOf{}}
				for i, id := range list {
					k.ids[id] = true
					k.places.add(id, packOf(list[i/64*64]))
				}
				model = append(model, k)
			},
			"drop": func(rt *rapid.T) {
				if len(model) > 0 {
					i := rapid.IntRange(0, len(model)-1).Draw(rt, "i")
					model = slices.Delete(model, i, i+1)
					set()
				}
			},
			"merge": func(rt *rapid.T) {
				var in []format.Segment
				var rest []known
				ids, places := map[format.ID]bool{}, placesOf{}
				for _, k := range model {
					if k.Writer != writerA {
						rest = append(rest, k)
						continue
					}
					in = append(in, k.Segment)
					for id := range k.ids {
						ids[id] = true
					}
					for id, packs := range k.places {
						for p := range packs {
							places.add(id, p)
						}
					}
				}
				most := uint64(rapid.IntRange(500, 2000).Draw(rt, "most"))
				err := x.Merge(context.Background(), in, most, func(s format.Segment, object []byte) error {
					w.put(s, object)
					rest = append(rest, known{s, ids, nil})
					return nil
				})
				require.NoError(rt, err)
				model = rest
				set()
				got := placesOf{}
				for i := range model { // which of the outputs has what
					if k := &model[i]; k.Writer == writerA {
						k.ids, k.places = map[format.ID]bool{}, placesOf{}
						for _, item := range collect(t, x, k.Segment) {
							k.ids[item.ID] = true
							k.places.add(item.ID, item.Pack)
							delete(ids, item.ID)
							got.add(item.ID, item.Pack)
						}
					}
				}
				require.Empty(rt, ids, "lost by a merge")
				require.Equal(rt, places, got)
			},
			"": func(rt *rapid.T) {
				for range 20 {
					id := universe[rapid.IntRange(0, len(universe)-1).Draw(rt, "id")]
					var want, wantA format.Hash
					for _, k := range model {
						if k.ids[id] {
							want = k.Hash
							if k.Writer == writerA {
								wantA = k.Hash
							}
						}
					}
					f, ok, err := x.Lookup(context.Background(), id)
					require.NoError(rt, err)
					require.Equal(rt, want != format.Hash{}, ok)
					require.Equal(rt, want, f.Segment)
					f, ok, err = x.LookupFrom(context.Background(), id, writerA)
					require.NoError(rt, err)
					require.Equal(rt, wantA != format.Hash{}, ok)
					require.Equal(rt, wantA, f.Segment)
					packs := map[format.PackRef]bool{}
					for _, k := range model {
						for p := range k.places[id] {
							packs[p] = true
						}
					}
					require.Equal(rt, packs, allPlaces(rt, x, id))
				}
			},
		})
	})
}

func TestFalsePositiveRate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, seal.T1)
	all := ids(7, 100_000)
	x := w.index(w.segment(writerA, all))
	const n = 200_000
	for _, id := range ids(8, n) {
		requireAbsent(t, x, id)
	}
	rate := float64(x.Stats().FalseHits) / n
	t.Logf("false-positive rate %.3f%%", 100*rate)
	require.Less(t, rate, 0.013)
	require.Greater(t, rate, 0.007, "a filter this good is not the one described")
}

// TestPageReads holds lookups to about one page each when nothing is in memory, and to fewer once the
// borders of pages are known.
func TestPageReads(t *testing.T) {
	t.Parallel()
	skipUnderRace(t)
	w := newWorld(t, seal.T1)
	w.cfg.Memory = 1
	all := ids(9, 200_000) // 11 MiB of entries for 1 MiB of memory
	x := w.index(w.segment(writerA, all))
	r := rand.New(rand.NewPCG(1, 2))
	rate := func() float64 {
		const n = 2000
		before := x.Stats().PageReads
		for range n {
			requireFound(t, x, all[r.IntN(len(all))])
		}
		return float64(x.Stats().PageReads-before) / n
	}
	cold, learned := rate(), rate()
	t.Logf("pages read for a hit, entry and pack: %.2f, then %.2f", cold, learned)
	require.Less(t, cold, 1.8)
	require.Less(t, learned, 1.75)
}

func TestParallel(t *testing.T) {
	t.Parallel()
	for _, cached := range []bool{false, true} {
		w := newWorld(t, seal.T1)
		w.cfg.Memory = 1
		if cached {
			w.cfg.CacheDir = t.TempDir()
		}
		all, absent := ids(10, 60_000), ids(11, 2_000)
		var segments []format.Segment
		for i := range 6 {
			segments = append(segments, w.segment(writerA, all[i*10_000:][:10_000]))
		}
		var extra []format.Segment
		for i := range 60 {
			extra = append(extra, w.segment(writerB, ids(uint64(100+i), 10)))
		}
		x := w.index(segments...)
		var g errgroup.Group // require may not be used outside the test's goroutine
		for n := range 6 {
			g.Go(func() error {
				r := rand.New(rand.NewPCG(uint64(n), 0))
				for range 700 {
					f, ok, err := x.Lookup(t.Context(), all[r.IntN(len(all))])
					if err != nil || !ok || f.Pack.Size == 0 {
						return fmt.Errorf("a present chunk: %t, %w", ok, err)
					}
					if _, ok, err := x.LookupFrom(t.Context(), absent[r.IntN(len(absent))], writerA); err != nil || ok {
						return fmt.Errorf("an absent chunk: %t, %w", ok, err)
					}
				}
				return nil
			})
		}
		g.Go(func() error {
			for i := range 60 {
				if err := x.Add(extra[i], nil); err != nil {
					return err
				}
				x.Set(append([]format.Segment{extra[i]}, segments...))
				x.Stats()
				if i%10 == 0 {
					if err := x.Prune(); err != nil {
						return err
					}
				}
			}
			return nil
		})
		g.Go(func() error {
			return x.Merge(t.Context(), segments, 0, func(s format.Segment, object []byte) error {
				if err := w.cfg.Store.Put(t.Context(), format.IndexKey(s.Hash), object); err != nil {
					return err
				}
				return x.Add(s, bytes.Clone(object))
			})
		})
		require.NoError(t, g.Wait())
	}
}

// TestTightMemory: filters that do not fit are read in pages, pages make room for filters that do.
func TestTightMemory(t *testing.T) {
	skipUnderRace(t)
	t.Parallel()
	w := newWorld(t, seal.T1)
	w.cfg.Memory = 1 << 20
	all := ids(14, 700_000) // filters of 875 KiB
	var segments []format.Segment
	for part := range slices.Chunk(all, 100_000) {
		segments = append(segments, w.segment(writerA, part))
	}
	x := w.index(segments[0])
	for _, id := range all[:2000] {
		requireFound(t, x, id)
	}
	within := func() {
		s := x.Stats()
		require.LessOrEqual(t, s.FilterBytes+s.PageBytes, w.cfg.Memory)
	}
	within()
	require.Greater(t, x.Stats().PageBytes, int64(700<<10))
	x.Set(segments)
	requireAbsent(t, x, ids(15, 1)[0])
	within()
	require.Greater(t, x.Stats().FilterBytes, int64(500<<10))
	for i := 0; i < len(all); i += 2000 {
		requireFound(t, x, all[i])
	}
	before := x.Stats().FalseHits
	for _, id := range ids(16, 500) {
		requireAbsent(t, x, id)
	}
	require.Less(t, float64(x.Stats().FalseHits-before)/500/7, 0.02, "a filter that is not in memory is asked all the same")
	within()
	x.Set(segments[:1])
	require.Less(t, x.Stats().FilterBytes, int64(130<<10))
}

func TestContext(t *testing.T) {
	w := newWorld(t, seal.T1)
	all := ids(12, 5000)
	s := w.segment(writerA, all)
	x := w.index(s)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err := x.Lookup(ctx, all[0])
	require.ErrorIs(t, err, context.Canceled)
	for _, err := range x.All(ctx, s) {
		require.ErrorIs(t, err, context.Canceled)
	}
	err = x.Merge(ctx, []format.Segment{s}, 0, func(format.Segment, []byte) error { return nil })
	require.ErrorIs(t, err, context.Canceled)
	requireFound(t, x, all[0]) // it did not stick
}
