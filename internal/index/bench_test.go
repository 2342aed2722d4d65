package index_test

import (
	"context"
	"testing"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/seal"
)

// benchIndex is sixteen segments of 64 Ki entries, a million chunks, of which all pages are in memory.
func benchIndex(b *testing.B) (*index.Index, []format.ID) {
	w := newWorld(b, seal.T1)
	w.cfg.Memory = 128 << 20
	all := ids(1, 1<<20)
	var segments []format.Segment
	for i := range 16 {
		segments = append(segments, w.segment(writerA, all[i<<16:(i+1)<<16]))
	}
	x := w.index(segments...)
	for _, id := range all {
		requireFound(b, x, id)
	}
	for _, id := range ids(2, 1<<16) {
		requireAbsent(b, x, id)
	}
	return x, all
}

func BenchmarkLookupHit(b *testing.B) {
	x, all := benchIndex(b)
	ctx := context.Background()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, ok, err := x.Lookup(ctx, all[i*7919&(1<<20-1)]); !ok || err != nil {
			b.Fatal(ok, err)
		}
		i++
	}
}

func BenchmarkLookupMiss(b *testing.B) {
	x, _ := benchIndex(b)
	absent := ids(2, 1<<16)
	ctx := context.Background()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, ok, err := x.Lookup(ctx, absent[i&(1<<16-1)]); ok || err != nil {
			b.Fatal(ok, err)
		}
		i++
	}
}

func BenchmarkLookupParallel(b *testing.B) {
	x, all := benchIndex(b)
	ctx := context.Background()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, ok, err := x.Lookup(ctx, all[i*7919&(1<<20-1)]); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
}

func BenchmarkBuild128k(b *testing.B) {
	for _, suite := range []seal.Suite{seal.T1, seal.F1} {
		b.Run(suite.String(), func(b *testing.B) {
			w := newWorld(b, suite)
			all := ids(1, index.FlushEntries)
			builder := index.NewBuilder(w.cfg, writerA, 0)
			b.ReportAllocs()
			for b.Loop() {
				fill(b, builder, all)
				if _, _, err := builder.Build(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	w := newWorld(b, seal.T1)
	var segments []format.Segment
	for i := range 8 {
		segments = append(segments, w.segment(writerA, ids(uint64(i), 40_000)))
	}
	x := w.index(segments...)
	for b.Loop() {
		if err := x.Merge(context.Background(), segments, 0, func(format.Segment, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/320_000, "ns/entry")
}
