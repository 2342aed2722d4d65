package tree_test

import (
	"context"
	"crypto/sha256"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/tree"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// randomRefs favours ids that end a node; some repeat. Holes are never next to each other.
func randomRefs(rng *rand.Rand, n int) (refs []format.Ref, size int64) {
	for range n {
		r := format.Ref{Len: 1 + rng.Int64N(1000)}
		switch k := rng.IntN(10); {
		case k == 0 && (len(refs) == 0 || !refs[len(refs)-1].Hole):
			r.Hole, r.Len = true, 1+rng.Int64N(1<<40)
		case k < 3:
			r.ID = format.ID{7}
		default:
			r.ID = randomID(rng)
			if rng.IntN(20) == 0 {
				clear(r.ID[24:])
			}
		}
		refs = append(refs, r)
		size += r.Len
	}
	return refs, size
}

func buildList(t fataler, m tree.Saver, refs []format.Ref) format.Content {
	t.Helper()
	b := tree.NewListBuilder(m)
	for _, r := range refs {
		require.NoError(t, b.Add(context.Background(), r))
	}
	c, err := b.Finish(context.Background())
	require.NoError(t, err)
	return c
}

func refsFrom(r *tree.Reader, from int64) (out []tree.RefAt, err error) {
	for x, err := range r.Refs(context.Background(), from) {
		if err != nil {
			return out, err
		}
		out = append(out, x)
	}
	return out, nil
}

func modelRefs(refs []format.Ref, from int64) (out []tree.RefAt) {
	off := int64(0)
	for _, r := range refs {
		if off+r.Len > from {
			out = append(out, tree.RefAt{Ref: r, Offset: off})
		}
		off += r.Len
	}
	return out
}

func TestListAsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		n := rapid.OneOf(rapid.SampledFrom([]int{0, 1, 63, 64, 65, 66}), rapid.IntRange(0, 3000)).Draw(t, "refs")
		refs, size := randomRefs(rng, n)
		m := newMemory()
		c := buildList(t, m, refs)
		require.Equal(t, n <= format.MaxInline, c.Level == 0)
		require.Equal(t, n <= format.MaxInline, m.fresh == 0)
		r := tree.OpenContent(m, c, size)
		got, err := refsFrom(r, 0)
		require.NoError(t, err)
		require.Equal(t, modelRefs(refs, 0), got)
		for range 5 {
			from := rng.Int64N(size + 2)
			m.loads = 0
			got, err := refsFrom(r, from)
			require.NoError(t, err)
			require.Equal(t, modelRefs(refs, from), got)
			m.loads = 0
			for range r.Refs(context.Background(), from) {
				break
			}
			require.LessOrEqual(t, m.loads, int(c.Level), "one node per level")
		}
	})
}

func TestListBuilderMergesHoles(t *testing.T) {
	hole := format.Ref{Hole: true, Len: 10}
	data := format.Ref{ID: format.ID{1}, Len: 3}
	b := tree.NewListBuilder(newMemory())
	for _, r := range []format.Ref{hole, hole, data, hole, {Hole: true, Len: 1, ID: format.ID{9}}, data} {
		require.NoError(t, b.Add(t.Context(), r))
	}
	require.Equal(t, int64(37), b.Size())
	c, err := b.Finish(t.Context())
	require.NoError(t, err)
	require.Equal(t, []format.Ref{{Hole: true, Len: 20}, data, {Hole: true, Len: 11}, data}, c.Refs)

	// The builder is ready for another file, and the first one's content stays.
	require.Zero(t, b.Size())
	require.NoError(t, b.Add(t.Context(), hole))
	other, err := b.Finish(t.Context())
	require.NoError(t, err)
	require.Equal(t, []format.Ref{hole}, other.Refs)
	require.Equal(t, int64(20), c.Refs[0].Len)
}

// TestHoleAtAFullLeaf: a hole that grows must not be cut by the maximum of a leaf.
func TestHoleAtAFullLeaf(t *testing.T) {
	id := format.ID{1, 31: 1}
	var refs []format.Ref
	for range 4095 {
		refs = append(refs, format.Ref{ID: id, Len: 1})
	}
	m := newMemory()
	whole := buildList(t, m, append(slices.Clone(refs), format.Ref{Hole: true, Len: 5}, format.Ref{ID: id, Len: 1}))
	cut := buildList(t, m, append(slices.Clone(refs), format.Ref{Hole: true, Len: 2}, format.Ref{Hole: true, Len: 3}, format.Ref{ID: id, Len: 1}))
	require.Equal(t, whole, cut)
	require.Equal(t, uint8(2), whole.Level)
}

func TestListBuilderRefuses(t *testing.T) {
	b := tree.NewListBuilder(newMemory())
	for _, r := range []format.Ref{
		{}, {Len: -1}, {Hole: true}, {Len: format.MaxChunk + 1}, {Hole: true, Len: 1<<62 + 1},
	} {
		require.ErrorIs(t, b.Add(t.Context(), r), tree.ErrRefused)
	}
	require.NoError(t, b.Add(t.Context(), format.Ref{Hole: true, Len: 1 << 62}))
	require.ErrorIs(t, b.Add(t.Context(), format.Ref{Len: 1}), tree.ErrRefused)
	c, err := b.Finish(t.Context())
	require.NoError(t, err)
	got, err := refsFrom(tree.OpenContent(nil, c, 1<<62), 1<<61)
	require.NoError(t, err)
	require.Len(t, got, 1)
}

// TestListBorders compares the leaves of a long list with the rules of the format document.
func TestListBorders(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	refs, size := randomRefs(rng, 100_000)
	m := newMemory()
	c := buildList(t, m, refs)
	require.Equal(t, uint8(3), c.Level)
	nodes := []format.Child{{ID: c.Root, Len: c.RootLen, Bytes: uint64(size)}}
	for level := int(c.Level) - 1; level > 0; level-- {
		var below []format.Child
		for i, n := range nodes {
			children, err := format.DecodeRefChildren(m.nodes[n.ID], level)
			require.NoError(t, err)
			for k, ch := range children {
				border := k >= 7 && endsNode(ch.ID, 6)
				require.Equal(t, border || k == 2047, k == len(children)-1 && (i < len(nodes)-1 || border))
			}
			below = append(below, children...)
		}
		nodes = below
	}
	full := 0
	for i, n := range nodes {
		leaf, err := format.DecodeRefs(m.nodes[n.ID])
		require.NoError(t, err)
		for k, r := range leaf {
			border := k >= 64 && !r.Hole && endsNode(r.ID, 7)
			if k < len(leaf)-1 {
				require.False(t, border)
			} else if i < len(nodes)-1 {
				require.True(t, border || len(leaf) == 4096)
			}
		}
		if len(leaf) == 4096 {
			full++
		}
		require.LessOrEqual(t, len(leaf), 4096)
	}
	t.Logf("%d leaves, %d of them full", len(nodes), full)
}

// sameID gives all nodes one id that ends none, and notes how large they get.
type sameID struct{ children, refs int }

func (s *sameID) SaveNode(_ context.Context, p []byte) (format.ID, error) {
	if refs, err := format.DecodeRefs(p); err == nil {
		s.refs = max(s.refs, len(refs))
	}
	if children, err := format.DecodeRefChildren(p, 1); err == nil {
		s.children = max(s.children, len(children))
	}
	return format.ID{31: 1}, nil
}

// TestMaximumOfChildren builds a tree whose ids end no node.
func TestMaximumOfChildren(t *testing.T) {
	s := &sameID{}
	refs := slices.Repeat([]format.Ref{{Len: 1}}, 65*2500) // their zero ids end a leaf as soon as may be
	c := buildList(t, s, refs)
	require.Equal(t, sameID{children: 2048, refs: 65}, *s)
	require.Equal(t, uint8(3), c.Level)
}

// TestListSharesNodes changes a few chunks of a long file.
func TestListSharesNodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var refs []format.Ref
	for range 200_000 {
		refs = append(refs, format.Ref{ID: randomID(rng), Len: 1 + rng.Int64N(format.MaxChunk)})
	}
	m := newMemory()
	c := buildList(t, m, refs)
	before := m.fresh
	require.Greater(t, before, 100)
	other := slices.Insert(slices.Clone(refs), 77_777, format.Ref{ID: randomID(rng), Len: 9})
	buildList(t, m, other)
	t.Logf("%d new nodes of %d, level %d", m.fresh-before, before, c.Level)
	require.LessOrEqual(t, m.fresh-before, int(c.Level)+2)
}

// discard forgets nodes: what is left in memory is the builder's.
type discard struct{ nodes int }

func (d *discard) SaveNode(_ context.Context, p []byte) (format.ID, error) {
	d.nodes++
	return sha256.Sum256(p), nil
}

// TestListMemoryIsBounded builds the list of a file of 10 TiB: 40 million chunks of 256 KiB.
func TestListMemoryIsBounded(t *testing.T) {
	n := 400_000
	if long {
		n = 40 << 20
	}
	rng := rand.New(rand.NewPCG(1, 1))
	d := &discard{}
	b := tree.NewListBuilder(d)
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	for range n {
		if err := b.Add(t.Context(), format.Ref{ID: randomID(rng), Len: 256 << 10}); err != nil {
			t.Fatal(err)
		}
	}
	held := int64(heap()) - int64(before)
	require.Equal(t, int64(n)*256<<10, b.Size())
	c, err := b.Finish(t.Context())
	require.NoError(t, err)
	t.Logf("%d references, %d nodes, level %d, %d bytes held", n, d.nodes, c.Level, held)
	require.Less(t, held, int64(2<<20))
}

func TestRefsRefuses(t *testing.T) {
	ref := format.Ref{ID: format.ID{1}, Len: 5}
	for name, x := range map[string]struct {
		c    format.Content
		size int64
	}{
		"size":       {format.Content{Refs: []format.Ref{ref}}, 6},
		"more":       {format.Content{Refs: []format.Ref{ref, ref}}, 6},
		"no size":    {format.Content{}, -1},
		"level":      {format.Content{Level: 13, RootLen: 1}, 5},
		"no length":  {format.Content{Level: 1}, 5},
		"large root": {format.Content{Level: 1, RootLen: 4 << 20}, 5},
		"both":       {format.Content{Level: 1, RootLen: 5, Refs: []format.Ref{ref}}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := refsFrom(tree.OpenContent(newMemory(), x.c, x.size), 0)
			require.ErrorIs(t, err, format.ErrMalformed)
		})
	}
	_, err := refsFrom(tree.OpenContent(nil, format.Content{}, 0), -1)
	require.ErrorIs(t, err, fs.ErrInvalid)
}
