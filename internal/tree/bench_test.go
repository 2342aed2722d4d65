package tree_test

import (
	"context"
	"testing"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/tree"
	"github.com/stretchr/testify/require"
)

// counter gives ids that cost nothing, so that the benchmark measures the builder.
type counter struct{ n uint32 }

func (c *counter) SaveNode(context.Context, []byte) (format.ID, error) {
	c.n++
	return format.ID{28: byte(c.n * 0x9E3779B1 >> 24), 29: byte(c.n * 0x9E3779B1 >> 16), 30: byte(c.n * 0x9E3779B1 >> 8), 31: byte(c.n)}, nil
}

const benchEntries = 100_000

func perEntry(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
}

// BenchmarkEncode is what the encoding alone costs.
func BenchmarkEncode(b *testing.B) {
	entries := practice(benchEntries)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		prev := ""
		for i := range entries {
			if i%512 == 0 {
				buf, prev = format.AppendLeafHeader(buf[:0]), ""
			}
			buf = format.AppendEntry(buf, prev, &entries[i])
			prev = entries[i].Path
		}
	}
	perEntry(b, len(entries))
}

func BenchmarkBuild(b *testing.B) {
	entries := practice(benchEntries)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		bu := tree.NewBuilder(&counter{}, seed)
		for i := range entries {
			if err := bu.Add(ctx, &entries[i]); err != nil {
				b.Fatal(err)
			}
		}
		_, _, err := bu.Finish(ctx)
		require.NoError(b, err)
	}
	perEntry(b, len(entries))
}

// BenchmarkDecode is what decoding the leaves alone costs.
func BenchmarkDecode(b *testing.B) {
	m := newMemory()
	build(b, m, practice(benchEntries))
	b.ReportAllocs()
	for b.Loop() {
		var e format.Entry
		for _, n := range m.nodes {
			if r, err := format.ReadLeaf(n); err == nil {
				for ok := true; ok; {
					ok, err = r.Next(&e)
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		}
	}
	perEntry(b, benchEntries)
}

func BenchmarkWalk(b *testing.B) {
	tr := build(b, newMemory(), practice(benchEntries))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range tr.Walk(context.Background(), "") {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		require.Greater(b, n, benchEntries)
	}
	perEntry(b, benchEntries)
}

func BenchmarkLookup(b *testing.B) {
	entries := practice(benchEntries)
	tr := build(b, newMemory(), entries)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := tr.Lookup(context.Background(), entries[i*7919%len(entries)].Path); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDiff finds three changes in 100,000 entries.
func BenchmarkDiff(b *testing.B) {
	entries := practice(benchEntries)
	m := newMemory()
	x := build(b, m, entries)
	for _, at := range []int{1000, 50_000, 90_000} {
		entries[at].ModTime.Sec++
	}
	y := build(b, m, entries)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range tree.Diff(context.Background(), x, y, nil) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		require.Equal(b, 3, n)
	}
}

func BenchmarkList(b *testing.B) {
	refs := make([]format.Ref, 1<<16)
	for i := range refs {
		refs[i] = format.Ref{ID: format.ID{30: byte(i >> 8), 31: byte(i)}, Len: 256 << 10}
	}
	lb := tree.NewListBuilder(&counter{})
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range refs {
			if err := lb.Add(context.Background(), r); err != nil {
				b.Fatal(err)
			}
		}
		_, err := lb.Finish(context.Background())
		require.NoError(b, err)
	}
}
