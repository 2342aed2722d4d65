package index_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/seal"
)

const miB = 1 << 20

// TestScale opens a repository of a million chunks, of sixteen million with CAREKEEP_LONG=1, and looks
// 200,000 up, half of them absent, in at most 64 MiB of live heap; then it merges everything.
func TestScale(t *testing.T) {
	chunks, each, lookups := 1<<20, 128<<10, 200_000
	if long() {
		chunks, each = 16<<20, 256<<10
	}
	if raceEnabled {
		chunks, each, lookups = chunks/4, each/4, lookups/10
	}
	w := newDiskWorld(t, seal.T1)
	var segments []format.Segment
	var present []format.ID
	for i := range chunks / each {
		all := ids(uint64(i), each)
		segments = append(segments, w.segment(writerA, all))
		for k := 0; k < len(all); k += chunks / (1 << 16) {
			present = append(present, all[k])
		}
	}
	absent := ids(1<<40, 1<<16)
	for _, cacheDir := range []string{"", t.TempDir()} {
		w.cfg.CacheDir = cacheDir
		if cacheDir != "" && !long() {
			lookups /= 4
		}
		base, baseInuse := heap()
		started := time.Now()
		x := w.index(segments...)
		opened := time.Since(started)
		requireAbsent(t, x, absent[0])
		first := time.Since(started) - opened
		r := rand.New(rand.NewPCG(1, 2))
		var most, mostInuse int64
		var hits, misses time.Duration
		for range 10 {
			started = time.Now()
			for range lookups / 20 {
				requireFound(t, x, present[r.IntN(len(present))])
			}
			hits += time.Since(started)
			started = time.Now()
			for range lookups / 20 {
				requireAbsent(t, x, absent[r.IntN(len(absent))])
			}
			misses += time.Since(started)
			alloc, inuse := heap()
			most, mostInuse = max(most, alloc-base), max(mostInuse, inuse-baseInuse)
		}
		s := x.Stats()
		t.Logf("%d chunks in %d segments, cache folder %t: set in %v, first lookup %v; hit %v, miss %v; heap %.1f MiB, in use %.1f MiB; filters %.1f MiB, pages %.1f MiB; %.2f pages read a lookup; %.2f false hits a miss",
			chunks, len(segments), cacheDir != "", opened, first, hits/time.Duration(lookups/2), misses/time.Duration(lookups/2),
			float64(most)/miB, float64(mostInuse)/miB, float64(s.FilterBytes)/miB, float64(s.PageBytes)/miB,
			float64(s.PageReads)/float64(lookups), float64(s.FalseHits)/float64(lookups/2))
		require.Equal(t, len(segments), s.Open)
		require.LessOrEqual(t, s.FilterBytes+s.PageBytes, int64(48*miB))
		require.LessOrEqual(t, most, int64(64*miB))
		require.LessOrEqual(t, mostInuse, int64(64*miB))
		x.Close()
	}

	base, _ := heap()
	x := w.index(segments...)
	started := time.Now()
	var merged []format.Segment
	var most int64
	var spent time.Duration
	groups := index.Plan(segments)
	for _, group := range groups {
		require.NoError(t, x.Merge(context.Background(), group, 0, func(s format.Segment, object []byte) error {
			stopped := time.Now()
			alloc, _ := heap()
			most = max(most, alloc-base)
			w.put(s, object)
			merged = append(merged, s)
			spent += time.Since(stopped)
			return nil
		}))
	}
	var size uint64
	for _, s := range merged {
		size += s.Size
	}
	t.Logf("%d merges made %d segments of %.1f bytes an entry in %v; heap %.1f MiB", len(groups), len(merged), float64(size)/float64(chunks), time.Since(started)-spent, float64(most)/miB)
	require.LessOrEqual(t, most, int64(144*miB), "output 64, inputs 16, index 48 and 16 for the rest")
	x.Set(merged)
	before := x.Stats().FalseHits
	for _, id := range present[:1000] {
		requireFound(t, x, id)
	}
	for _, id := range absent[:20_000] {
		requireAbsent(t, x, id)
	}
	perMerge := float64(x.Stats().FalseHits-before) / 20_000 / float64(len(groups))
	require.Less(t, perMerge, 0.015, "outputs of a merge do not overlap: one filter of them is asked")
}
