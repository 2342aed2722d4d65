package tree_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/tree"
	"github.com/stretchr/testify/require"
)

func TestEmptyTree(t *testing.T) {
	m := newMemory()
	tr := build(t, m, nil)
	require.Equal(t, uint8(0), tr.Level)
	require.Equal(t, []byte{0}, m.nodes[tr.Root.ID])
	require.Equal(t, uint32(1), tr.Root.Len)
	require.Zero(t, tr.Root.Entries)
	got, err := collect(tr.Walk(t.Context(), ""))
	require.NoError(t, err)
	require.Empty(t, got)
}

// TestBorders compares every border of a large tree with the rules of the format document.
func TestBorders(t *testing.T) {
	for name, entries := range map[string][]format.Entry{
		"practice": practice(30_000),
		"dense":    randomTree(rand.New(rand.NewPCG(3, 4)), 3000, true),
		"large":    largeEntries(600),
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			tr := build(t, m, entries)
			require.GreaterOrEqual(t, int(tr.Level), 1)
			level := []format.Child{tr.Root}
			for l := int(tr.Level); l > 0; l-- {
				level = checkRow(t, m, level, l)
			}
			checkLeaves(t, m, level)
		})
	}
}

// checkRow checks the nodes of one level and returns their children.
func checkRow(t *testing.T, m *memory, nodes []format.Child, level int) (out []format.Child) {
	for i, n := range nodes {
		children, err := format.DecodeChildren(m.nodes[n.ID])
		require.NoError(t, err)
		last := i == len(nodes)-1
		for k, c := range children {
			border := k >= 7 && endsNode(c.ID, 6)
			end := k == len(children)-1
			require.False(t, border && !end, "a node goes on behind a border")
			if end && !border && !last {
				next, err := format.DecodeChildren(m.nodes[nodes[i+1].ID])
				require.NoError(t, err)
				with := format.AppendChildren(nil, level, append(children, next[0]))
				require.True(t, len(children) == 2048 || len(with) > 1<<20, "a node ends without a border")
			}
		}
		require.LessOrEqual(t, len(children), 2048)
		require.LessOrEqual(t, int(n.Len), 1<<20)
		out = append(out, children...)
	}
	return out
}

func checkLeaves(t *testing.T, m *memory, leaves []format.Child) {
	for i, n := range leaves {
		r, err := format.ReadLeaf(m.nodes[n.ID])
		require.NoError(t, err)
		var e format.Entry
		var count uint64
		prev := ""
		for {
			ok, err := r.Next(&e)
			require.NoError(t, err)
			if !ok {
				break
			}
			require.False(t, count > 0 && endsLeaf(prev), "a leaf goes on behind a border")
			prev = e.Path
			count++
		}
		require.Equal(t, n.Entries, count)
		if i < len(leaves)-1 && !endsLeaf(prev) {
			next, err := format.ReadLeaf(m.nodes[leaves[i+1].ID])
			require.NoError(t, err)
			_, err = next.Next(&e)
			require.NoError(t, err)
			with := format.AppendEntry(append([]byte(nil), m.nodes[n.ID]...), prev, &e)
			require.Greater(t, len(with), 256<<10, "a leaf ends without a border")
		}
		require.True(t, n.Len <= 256<<10 || count == 1, "a leaf is too large")
	}
}

// largeEntries have long paths and large attributes, up to 1.5 MiB.
func largeEntries(n int) []format.Entry {
	rng := rand.New(rand.NewPCG(5, 6))
	out := []format.Entry{dir(".")}
	for i := range n {
		e := dir(fmt.Sprintf("%04d%s", i, strings.Repeat("x", rng.IntN(60_000))))
		if i%100 == 50 {
			e.Xattrs = []format.Xattr{{Name: "user.huge", Value: make([]byte, 3<<19)}}
		}
		out = append(out, e)
	}
	return out
}

func TestLargeEntriesComeBack(t *testing.T) {
	entries := largeEntries(200)
	m := newMemory()
	tr := build(t, m, entries)
	got, err := collect(tr.Walk(t.Context(), ""))
	require.NoError(t, err)
	require.Equal(t, entries, got)
	alone := 0
	for _, n := range m.nodes {
		if len(n) > 3<<19 {
			alone++
			require.Less(t, len(n), 3<<19+64<<10)
		}
	}
	require.Equal(t, 2, alone)
}

// TestEditsShareNodes counts the nodes that an edit costs.
func TestEditsShareNodes(t *testing.T) {
	entries := practice(50_000)
	m := newMemory()
	tr := build(t, m, entries)
	height := int(tr.Level) + 1
	require.GreaterOrEqual(t, m.fresh, 80)

	again := m.fresh
	require.Equal(t, tr.Root, build(t, m, entries).Root)
	require.Equal(t, again, m.fresh, "an unchanged tree stores nothing")

	rng := rand.New(rand.NewPCG(7, 8))
	edits := map[string]func(at int, es []format.Entry) []format.Entry{
		"modify": func(at int, es []format.Entry) []format.Entry {
			es[at].ModTime.Sec++
			return es
		},
		"remove": func(at int, es []format.Entry) []format.Entry { return append(es[:at], es[at+1:]...) },
		"insert": func(at int, es []format.Entry) []format.Entry {
			es = append(es, file(rng, es[at].Path+"~"))
			sortEntries(es)
			return es
		},
	}
	for name, edit := range edits {
		for _, at := range []int{2, 20_000, 33_333, len(entries) - 1} {
			before := m.fresh
			build(t, m, edit(at, append([]format.Entry(nil), entries...)))
			cost := m.fresh - before
			t.Logf("%s at %d: %d new nodes of a tree of %d levels", name, at, cost, height)
			// One node per level; a border that comes or goes, or a leaf at its maximum, costs one more.
			require.LessOrEqual(t, cost, height+2, name)
			require.GreaterOrEqual(t, cost, height-1, name)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	ref := format.Ref{ID: format.ID{1}, Len: 5}
	in := func(n int) format.Content { return format.Content{Refs: make([]format.Ref, n)} }
	bad := map[string]format.Entry{
		"order":      dir("a"),
		"same":       dir("b"),
		"orphan":     dir("x/y"),
		"in a file":  dir("b/f/g"),
		"path":       dir("b/../c"),
		"root":       dir("."),
		"nul":        dir("c\x00"),
		"long":       dir(strings.Repeat("c", format.MaxPath+1)),
		"kind":       {Path: "c", Kind: 9},
		"no kind":    {Path: "c"},
		"mode":       {Path: "c", Kind: format.Dir, Mode: 0o20000},
		"time":       {Path: "c", Kind: format.Dir, BirthTime: format.Time{Nsec: 1e9}},
		"target":     {Path: "c", Kind: format.Symlink, Target: "a\x00b"},
		"size":       {Path: "c", Kind: format.File, Size: 4, Content: format.Content{Refs: []format.Ref{ref}}},
		"negative":   {Path: "c", Kind: format.File, Size: -1},
		"empty refs": {Path: "c", Kind: format.File, Content: in(1)},
		"refs":       {Path: "c", Kind: format.File, Content: in(65)},
		"list":       {Path: "c", Kind: format.File, Content: format.Content{Level: 13, RootLen: 1}},
		"dir's list": {Path: "c", Kind: format.Dir, Content: format.Content{Level: 1, RootLen: 1}},
		"huge":       {Path: "c", Kind: format.Dir, Xattrs: []format.Xattr{{Value: make([]byte, 4<<20)}}},
	}
	good := []format.Entry{dir("."), dir("b"), {Path: "b/f", Kind: format.File}, dir("d")}
	for name, e := range bad {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			b := tree.NewBuilder(m, seed)
			require.ErrorIs(t, b.Add(t.Context(), &format.Entry{Path: "b", Kind: format.Dir}), tree.ErrRefused, "the root comes first")
			for i := range good[:3] {
				require.NoError(t, b.Add(t.Context(), &good[i]))
			}
			require.ErrorIs(t, b.Add(t.Context(), &e), tree.ErrRefused)
			require.NoError(t, b.Add(t.Context(), &good[3]))
			root, _, err := b.Finish(t.Context())
			require.NoError(t, err)
			// As if it had never been tried.
			require.Equal(t, build(t, m, good).Root.ID, root.ID)
			require.Error(t, b.Add(t.Context(), &e))
			_, _, err = b.Finish(t.Context())
			require.Error(t, err)
		})
	}
}

type failingSaver struct{ err error }

func (s failingSaver) SaveNode(context.Context, []byte) (format.ID, error) { return format.ID{}, s.err }

func TestBuilderKeepsTheStoresError(t *testing.T) {
	boom := errors.New("boom")
	b := tree.NewBuilder(failingSaver{boom}, seed)
	var err error
	for _, e := range practice(5000) {
		if err = b.Add(t.Context(), &e); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, boom)
	require.NotErrorIs(t, err, tree.ErrRefused)
	_, _, err = b.Finish(t.Context())
	require.ErrorIs(t, err, boom)
}

func TestBuilderHonoursContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := tree.NewBuilder(newMemory(), seed)
	_, _, err := b.Finish(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
