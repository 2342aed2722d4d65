package index_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/seal"
)

// packs is how many packs a segment names: nothing else of its size is free.
func packs(t testing.TB, suite seal.Suite, s format.Segment) int64 {
	plain, err := suite.PlainSize(int64(s.Size))
	require.NoError(t, err)
	blocks := (int64(s.Entries)*10 + 511) / 512
	rest := plain - 16 - 56*int64(s.Entries) - 64*blocks
	require.Zero(t, rest%97)
	return rest / 97
}

// placesOf are the packs that each id is in.
type placesOf map[format.ID]map[format.PackRef]bool

func (p placesOf) add(id format.ID, pack format.PackRef) {
	if p[id] == nil {
		p[id] = map[format.PackRef]bool{}
	}
	p[id][pack] = true
}

func TestMerge(t *testing.T) {
	t.Parallel()
	eachSuite(t, func(t *testing.T, suite seal.Suite) {
		w := newWorld(t, suite)
		all := ids(1, 9000)
		var in []format.Segment
		want := placesOf{}
		r := rand.New(rand.NewPCG(1, 1))
		for range 12 {
			from := r.IntN(len(all) - 3000)
			list := all[from : from+1+r.IntN(3000)]
			in = append(in, w.segment(writerA, list))
			for i, id := range list {
				want.add(id, packOf(list[i/64*64]))
			}
		}
		x := w.index(in...)
		for _, most := range []uint64{0, 1, 997, 4096} {
			if most == 1 {
				in = in[len(in)-1:] // one segment for each entry of a few
				in[0] = w.segment(writerA, all[:9])
				want = placesOf{}
				for _, id := range all[:9] {
					want.add(id, packOf(all[0]))
				}
				x = w.index(in...)
			}
			var out []format.Segment
			require.NoError(t, x.Merge(context.Background(), in, most, func(s format.Segment, object []byte) error {
				w.put(s, object)
				out = append(out, s)
				return nil
			}))
			y := w.index(out...)
			got := placesOf{}
			var last format.ID
			for _, s := range out {
				require.LessOrEqual(t, s.Entries, min(most-1, math.MaxUint32)+1)
				require.Equal(t, writerA, s.Writer)
				used := map[format.PackRef]bool{}
				for _, item := range collect(t, y, s) {
					require.GreaterOrEqual(t, bytes.Compare(item.ID[:], last[:]), 0, "outputs are slices in order")
					last = item.ID
					used[item.Pack] = true
					got.add(item.ID, item.Pack)
				}
				require.EqualValues(t, len(used), packs(t, suite, s), "packs that no entry needs, or one twice")
				var named []format.PackRef
				for p, err := range y.Packs(context.Background(), s) {
					require.NoError(t, err)
					require.True(t, used[p])
					named = append(named, p)
				}
				require.Len(t, named, len(used))
			}
			require.Equal(t, want, got)
			for id, packs := range want {
				require.True(t, packs[requireFound(t, y, id).Pack])
				require.Equal(t, packs, allPlaces(t, y, id))
				require.Equal(t, packs, allPlaces(t, x, id))
			}
			for _, id := range ids(99, 500) {
				requireAbsent(t, y, id)
			}
		}
	})
}

// allPlaces are the packs of a chunk by [index.Index.Places].
func allPlaces(t require.TestingT, x *index.Index, id format.ID) map[format.PackRef]bool {
	out := map[format.PackRef]bool{}
	for at, err := range x.Places(context.Background(), id) {
		require.NoError(t, err)
		require.Equal(t, locationOf(id, at.Location.Pack), at.Location)
		out[at.Pack] = true
	}
	return out
}

// TestRewrite takes packs out of segments: all places in them go, all others stay.
func TestRewrite(t *testing.T) {
	w := newWorld(t, seal.T1)
	all := ids(1, 4000)
	var in []format.Segment
	want, gone := placesOf{}, map[format.PackRef]bool{}
	r := rand.New(rand.NewPCG(2, 1))
	for range 9 {
		from := r.IntN(len(all) - 1500)
		list := all[from : from+1+r.IntN(1500)]
		in = append(in, w.segment(writerA, list))
		for i, id := range list {
			p := packOf(list[i/64*64])
			if i%64 == 0 && r.IntN(3) == 0 {
				gone[p] = true
			}
			want.add(id, p)
		}
	}
	for id, packs := range want {
		for p := range packs {
			if gone[p] {
				delete(packs, p)
			}
		}
		if len(packs) == 0 {
			delete(want, id)
		}
	}
	rewrite := func(drop func(*format.PackRef) bool) (out []format.Segment) {
		require.NoError(t, w.index(in...).Rewrite(context.Background(), in, 700, drop, func(s format.Segment, object []byte) error {
			w.put(s, object)
			out = append(out, s)
			return nil
		}))
		return out
	}
	out := rewrite(func(p *format.PackRef) bool { return gone[*p] })
	y, got := w.index(out...), placesOf{}
	for _, s := range out {
		require.LessOrEqual(t, s.Entries, uint64(700))
		for _, item := range collect(t, y, s) {
			got.add(item.ID, item.Pack)
		}
	}
	require.Equal(t, want, got)
	require.Empty(t, rewrite(func(*format.PackRef) bool { return true }), "nothing is left to emit")
}

// TestManyPlaces: the places of one id fill pages, and are found in order between its neighbours.
func TestManyPlaces(t *testing.T) {
	w := newWorld(t, seal.T1)
	all := ids(4, 3000)
	slices.SortFunc(all, func(a, b format.ID) int { return bytes.Compare(a[:], b[:]) })
	for _, n := range []int{1, 2, 3, 7, 1170, 5000} {
		b := index.NewBuilder(w.cfg, writerA, len(all)+2*n)
		fill(t, b, all)
		mid := all[len(all)/2]
		want := map[format.PackRef]bool{packOf(all[len(all)/2/64*64]): true}
		for _, id := range ids(uint64(n), n) {
			p := packOf(id)
			want[p] = true
			require.NoError(t, b.Add(mid, locationOf(mid, b.AddPack(p))))
			require.NoError(t, b.Add(mid, locationOf(mid, b.AddPack(p))), "the same again")
		}
		object, s, err := b.Build()
		require.NoError(t, err)
		require.EqualValues(t, len(all)+len(want)-1, s.Entries)
		w.put(s, object)
		x := w.index(s)
		last := -1
		n := 0
		for at, err := range x.Places(context.Background(), mid) {
			require.NoError(t, err)
			require.Greater(t, int(at.Location.Pack), last)
			if last = int(at.Location.Pack); n == 0 {
				require.Equal(t, at, requireFound(t, x, mid))
			}
			require.True(t, want[at.Pack])
			n++
		}
		require.Equal(t, len(want), n)
		for _, id := range all[len(all)/2-40:][:80] {
			requireFound(t, x, id)
		}
		require.Len(t, collect(t, x, s), int(s.Entries))
		for range x.Places(context.Background(), mid) {
			break // ends it
		}
	}
}

// TestMergeManyPacks: where every chunk has a pack of its own, the outputs are cut by their bytes.
func TestMergeManyPacks(t *testing.T) {
	t.Parallel()
	skipUnderRace(t)
	w := newWorld(t, seal.T1)
	var in []format.Segment
	all := ids(3, 240_000)
	for part := range slices.Chunk(all, 80_000) {
		b := index.NewBuilder(w.cfg, writerA, len(part))
		for _, id := range part {
			if err := b.Add(id, locationOf(id, b.AddPack(packOf(id)))); err != nil {
				t.Fatal(err)
			}
		}
		object, s, err := b.Build()
		require.NoError(t, err)
		w.put(s, object)
		in = append(in, s)
	}
	var out []format.Segment
	require.NoError(t, w.index().Merge(context.Background(), in, 0, func(s format.Segment, object []byte) error {
		w.put(s, object)
		out = append(out, s)
		return nil
	}))
	require.Len(t, out, 2)
	plain, err := seal.T1.PlainSize(int64(out[0].Size))
	require.NoError(t, err)
	require.LessOrEqual(t, plain, int64(32<<20))
	require.Equal(t, out[0].Entries, uint64(packs(t, seal.T1, out[0])))
	require.EqualValues(t, len(all), out[0].Entries+out[1].Entries)
	x := w.index(out...)
	for _, id := range all[:2000] {
		require.Equal(t, packOf(id), requireFound(t, x, id).Pack)
	}
	// One that was cut is full.
	require.Empty(t, index.Plan(slices.Repeat([]format.Segment{out[0]}, 20)))
}

// TestMergeSharedPack: a pack that two inputs name is named once, unless they differ in what they say.
func TestMergeSharedPack(t *testing.T) {
	w := newWorld(t, seal.T1)
	list := ids(1, 6)
	same, other := packOf(list[0]), packOf(list[0])
	other.Number++
	var in []format.Segment
	for i, p := range []format.PackRef{same, same, other} {
		b := index.NewBuilder(w.cfg, writerA, 0)
		b.AddPack(p)
		for _, id := range list[2*i : 2*i+2] {
			require.NoError(t, b.Add(id, locationOf(id, 0)))
		}
		object, s, err := b.Build()
		require.NoError(t, err)
		w.put(s, object)
		in = append(in, s)
	}
	merge := func(in []format.Segment) (out format.Segment) {
		require.NoError(t, w.index().Merge(context.Background(), in, 0, func(s format.Segment, object []byte) error {
			w.put(s, object)
			out = s
			return nil
		}))
		return out
	}
	require.EqualValues(t, 1, packs(t, seal.T1, merge(in[:2])))
	x := w.index(merge(in))
	for i, id := range list {
		want := same
		if i >= 4 {
			want = other
		}
		require.Equal(t, want, requireFound(t, x, id).Pack)
	}
}

func TestMergeFaults(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, seal.T1)
	a, b := w.segment(writerA, ids(1, 3000)), w.segment(writerB, ids(2, 10))
	none := func(format.Segment, []byte) error { t.Fatal("emitted"); return nil }
	x := w.index(a, b)
	require.NoError(t, x.Merge(ctx, nil, 0, none))
	require.Error(t, x.Merge(ctx, []format.Segment{a, b}, 0, none), "two writers")
	failure := errors.New("no room")
	require.ErrorIs(t, x.Merge(ctx, []format.Segment{a}, 0, func(format.Segment, []byte) error { return failure }), failure)
}

// TestPlan plays ten thousand snapshots, a checkpoint every 64, and counts.
func TestPlan(t *testing.T) {
	t.Parallel()
	for name, grow := range map[string]func(i int) []uint64{
		"one entry": func(int) []uint64 { return []uint64{1} },
		"some":      func(i int) []uint64 { return []uint64{uint64(100 + i*7919%300)} },
		"a quiet clinic": func(i int) []uint64 {
			if i == 0 { // 4 TB at first
				return slices.Repeat([]uint64{index.FlushEntries}, 122)
			}
			return []uint64{uint64(20 + i*7919%100)}
		},
		"a few thousand": func(i int) []uint64 { return []uint64{uint64(2000 + i*7919%4000)} },
		"uneven": func(i int) []uint64 {
			if i%97 == 0 {
				return []uint64{index.FlushEntries, index.FlushEntries, 5000}
			}
			return []uint64{uint64(i*i%700 + 1)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var live []format.Segment
			var total, written uint64
			most, mostFull := 0, 0
			size := func(n uint64) uint64 { return n * 58 }
			for i := range 10_000 {
				for _, n := range grow(i) {
					live = append(live, format.Segment{Entries: n, Size: size(n), Hash: format.Hash{byte(i), byte(i >> 8), byte(len(live))}})
					total += n
				}
				if i%64 != 63 {
					continue
				}
				full := 0
				for _, s := range live {
					if s.Entries >= index.MergeEntries {
						full++
					}
				}
				most, mostFull = max(most, len(live)-full), max(mostFull, full)
				for _, group := range index.Plan(live) {
					require.Greater(t, len(group), 1)
					require.LessOrEqual(t, len(group), 128)
					var sum uint64
					for _, s := range group {
						require.Less(t, s.Entries, uint64(index.MergeEntries))
						sum += s.Entries
						live = slices.DeleteFunc(live, func(l format.Segment) bool { return l == s })
					}
					require.LessOrEqual(t, sum, uint64(16*index.MergeEntries))
					written += sum
					for sum > 0 {
						n := min(sum, index.MergeEntries)
						live = append(live, format.Segment{Entries: n, Size: size(n), Hash: format.Hash{byte(i), byte(i >> 8), 1, byte(sum)}})
						sum -= n
					}
				}
			}
			t.Logf("%d entries: at most %d live segments and %d full ones; an entry is rewritten %.1f times", total, most, mostFull, float64(written)/float64(total))
			if name != "a quiet clinic" { // its first day leaves 122, until the first checkpoint
				require.Less(t, most, 90)
			}
			require.LessOrEqual(t, uint64(mostFull), total/index.MergeEntries+1)
			if total > 1<<20 { // below that the lowest tier, which is cheap, counts for most
				require.Less(t, float64(written)/float64(total), 8.0)
			}
		})
	}
}

func TestPlanByWriter(t *testing.T) {
	s := func(writer format.WriterID, n uint64) format.Segment {
		return format.Segment{Writer: writer, Entries: n, Size: 58 * n, Hash: format.Hash{byte(n)}}
	}
	list := []format.Segment{
		s(writerA, 10), s(writerB, 20), s(writerA, 5000), s(writerA, 30), s(writerB, index.MergeEntries), s(writerB, 4095),
	}
	require.Equal(t, [][]format.Segment{{list[0], list[3]}, {list[1], list[5]}}, index.Plan(list))
	require.Empty(t, index.Plan(nil))
	require.Empty(t, index.Plan(list[:3]))
	// Eight of a tier are merged, seven are not; the edges of a tier are 4,096 and 32,768.
	seven := []format.Segment{
		s(writerA, 4096), s(writerA, 32_767), s(writerA, 4097), s(writerA, 9000), s(writerA, 9001), s(writerA, 9002), s(writerA, 9003),
	}
	require.Empty(t, index.Plan(append(seven, s(writerA, 32_768))))
	require.Equal(t, [][]format.Segment{append(seven, s(writerA, 9004))}, index.Plan(append(seven, s(writerA, 9004))))
}
