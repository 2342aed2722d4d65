package tree_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/tree"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawTree(t *rapid.T) ([]format.Entry, *rand.Rand) {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	n := rapid.OneOf(rapid.IntRange(0, 12), rapid.IntRange(0, 600)).Draw(t, "entries")
	return randomTree(rng, n, rapid.Bool().Draw(t, "dense")), rng
}

// drawPath is mostly the path of an entry, or near one.
func drawPath(rng *rand.Rand, es []format.Entry) string {
	if len(es) == 0 || rng.IntN(8) == 0 {
		return randomName(rng)
	}
	p := es[rng.IntN(len(es))].Path
	switch rng.IntN(6) {
	case 0:
		return p + randomName(rng)
	case 1:
		return join(p, randomName(rng))
	case 2:
		return p[:len(p)-1] + randomName(rng)
	}
	return p
}

func TestReadsAsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		entries, rng := drawTree(t)
		tr := build(t, newMemory(), entries)
		got, err := collect(tr.Walk(ctx, ""))
		require.NoError(t, err)
		require.Equal(t, entries, got)
		require.Equal(t, uint64(len(entries)), tr.Root.Entries)
		var size uint64
		for _, e := range entries {
			size += uint64(e.Size)
		}
		require.Equal(t, size, tr.Root.Bytes)
		for range 20 {
			checkPath(t, tr, entries, drawPath(rng, entries), randomName(rng))
		}
		checkPath(t, tr, entries, ".", "")
	})
}

// checkPath compares all that can be asked about one path with the model.
func checkPath(t *rapid.T, tr *tree.Tree, entries []format.Entry, path, after string) {
	ctx := context.Background()
	got, err := collect(tr.Walk(ctx, path))
	require.NoError(t, err)
	require.Equal(t, from(entries, path), got)

	i := slices.IndexFunc(entries, func(e format.Entry) bool { return e.Path == path })
	e, err := tr.Lookup(ctx, path)
	below, errBelow := collect(tr.Subtree(ctx, path))
	all, errAll := collect(tr.Children(ctx, path, ""))
	some, errSome := collect(tr.Children(ctx, path, after))
	if i < 0 {
		for _, err := range []error{err, errBelow, errAll, errSome} {
			require.ErrorIs(t, err, fs.ErrNotExist)
			require.NotContains(t, err.Error(), "\x01")
		}
		return
	}
	require.NoError(t, err)
	require.Equal(t, entries[i], *e)
	require.NoError(t, errBelow)
	require.Equal(t, subtree(entries, path), below)
	if entries[i].Kind != format.Dir {
		require.ErrorIs(t, errAll, tree.ErrNotFolder)
		require.ErrorIs(t, errSome, tree.ErrNotFolder)
		return
	}
	require.NoError(t, errAll)
	require.Equal(t, children(entries, path, ""), all)
	require.NoError(t, errSome)
	require.Equal(t, children(entries, path, after), some)
}

func TestOrderOfNeighbours(t *testing.T) {
	paths := []string{".", "a", "a/\x01", "a/b", "a/b/c", "a\x01", "a-", "a-/x", "a.", "ab", "\xff", "\xff/\xfe"}
	var entries []format.Entry
	for _, p := range paths {
		entries = append(entries, dir(p))
	}
	tr := build(t, newMemory(), entries)
	var got []string
	for e, err := range tr.Walk(t.Context(), "") {
		require.NoError(t, err)
		got = append(got, e.Path)
	}
	require.Equal(t, paths, got)
	top, err := collect(tr.Children(t.Context(), ".", "a"))
	require.NoError(t, err)
	require.Equal(t, children(entries, ".", "a"), top)
	require.Len(t, top, 5)
}

func TestChildrenRefusesNoName(t *testing.T) {
	tr := build(t, newMemory(), practice(10))
	for _, after := range []string{".", "..", "a/b", "a\x00"} {
		_, err := collect(tr.Children(t.Context(), ".", after))
		require.ErrorIs(t, err, fs.ErrInvalid)
	}
}

func TestStopsWhenAsked(t *testing.T) {
	tr := build(t, newMemory(), practice(2000))
	for _, seq := range []func(func(*format.Entry, error) bool){
		tr.Walk(t.Context(), ""), tr.Subtree(t.Context(), "."), tr.Children(t.Context(), "patients-0001", ""),
	} {
		n := 0
		for range seq {
			if n++; n == 3 {
				break
			}
		}
		require.Equal(t, 3, n)
	}
}

func bigFolder() int {
	if long {
		return 1_000_000
	}
	return 50_000
}

// TestOneLargeFolder lists a folder of very many files, and pages through it.
func TestOneLargeFolder(t *testing.T) {
	n := bigFolder()
	m := newMemory()
	rng := rand.New(rand.NewPCG(1, 1))
	b := tree.NewBuilder(m, seed)
	add := func(e format.Entry) { require.NoError(t, b.Add(t.Context(), &e)) }
	add(dir("."))
	add(dir("in"))
	for i := range n {
		add(file(rng, fmt.Sprintf("in/%07d", i)))
	}
	add(dir("out"))
	root, level, err := b.Finish(t.Context())
	require.NoError(t, err)
	tr := &tree.Tree{Root: root, Level: level, Loader: m}
	t.Logf("%d nodes, level %d", len(m.nodes), level)

	count := 0
	for e, err := range tr.Children(t.Context(), "in", "") {
		require.NoError(t, err)
		if e.Path != fmt.Sprintf("in/%07d", count) {
			t.Fatalf("entry %d is another", count)
		}
		count++
	}
	require.Equal(t, n, count)
	// A seek can load the leaf before the place as well as the one that holds it.
	require.LessOrEqual(t, m.loads, len(m.nodes)+int(level)+1)

	m.loads = 0
	page, err := collect(limit(tr.Children(t.Context(), "in", fmt.Sprintf("%07d", n*2/3)), 10))
	require.NoError(t, err)
	require.Len(t, page, 10)
	require.Equal(t, fmt.Sprintf("in/%07d", n*2/3+1), page[0].Path)
	require.LessOrEqual(t, m.loads, 2*(int(level)+1)+2)

	m.loads = 0
	_, err = tr.Lookup(t.Context(), fmt.Sprintf("in/%07d", n/3))
	require.NoError(t, err)
	require.Equal(t, int(level)+1, m.loads)
	m.loads = 0
	top, err := collect(tr.Children(t.Context(), ".", ""))
	require.NoError(t, err)
	require.Len(t, top, 2)
	require.LessOrEqual(t, m.loads, 2*(int(level)+1)+2)
}

// TestLargeSubfolders lists a folder whose ten sub-folders hold almost everything.
func TestLargeSubfolders(t *testing.T) {
	n := bigFolder() / 10
	m := newMemory()
	rng := rand.New(rand.NewPCG(1, 1))
	entries := []format.Entry{dir("."), dir("deep")}
	for d := range 10 {
		name := fmt.Sprintf("deep/%d", d)
		entries = append(entries, dir(name))
		for i := range n {
			entries = append(entries, file(rng, fmt.Sprintf("%s/%07d", name, i)))
		}
	}
	tr := build(t, m, entries)
	m.loads = 0
	got, err := collect(tr.Children(t.Context(), "deep", ""))
	require.NoError(t, err)
	require.Len(t, got, 10)
	t.Logf("%d loads of %d nodes", m.loads, len(m.nodes))
	require.LessOrEqual(t, m.loads, 11*(int(tr.Level)+2))
	require.Less(t, m.loads, len(m.nodes)/2)
}

func limit(seq func(func(*format.Entry, error) bool), n int) func(func(*format.Entry, error) bool) {
	return func(yield func(*format.Entry, error) bool) {
		left := n
		for e, err := range seq {
			if left--; !yield(e, err) || left == 0 {
				return
			}
		}
	}
}

type failingLoader struct {
	tree.Loader
	left int
	err  error
}

func (l *failingLoader) LoadNode(ctx context.Context, id format.ID, size uint32) ([]byte, error) {
	if l.left--; l.left < 0 {
		return nil, l.err
	}
	return l.Loader.LoadNode(ctx, id, size)
}

func TestReadsKeepTheStoresError(t *testing.T) {
	boom := errors.New("boom")
	entries := practice(5000)
	m := newMemory()
	tr := build(t, m, entries)
	for left := range 4 {
		bad := *tr
		bad.Loader = &failingLoader{Loader: m, left: left, err: boom}
		got, err := collect(bad.Walk(t.Context(), ""))
		require.ErrorIs(t, err, boom)
		require.Equal(t, append([]format.Entry(nil), entries[:len(got)]...), got)
	}
}

func TestReadsHonourContext(t *testing.T) {
	tr := build(t, newMemory(), practice(5000))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var err error
	for _, err = range tr.Walk(ctx, "") {
		if n++; n == 5 {
			cancel()
		}
	}
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, n, 5000)
}
