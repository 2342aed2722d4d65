package tree_test

import (
	"context"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/tree"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// change is a Change that may be kept.
type change struct {
	Kind     tree.ChangeKind
	Old, New format.Entry
}

func changes(a, b *tree.Tree, opts *tree.DiffOptions) (out []change, err error) {
	for c, err := range tree.Diff(context.Background(), a, b, opts) {
		if err != nil {
			return out, err
		}
		x := change{Kind: c.Kind}
		if c.Old != nil {
			x.Old = *c.Old
		}
		if c.New != nil {
			x.New = *c.New
		}
		out = append(out, x)
	}
	return out, nil
}

// modelDiff merges two sorted slices.
func modelDiff(a, b []format.Entry) (out []change) {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || (len(a) > 0 && format.ComparePaths(a[0].Path, b[0].Path) < 0):
			out = append(out, change{Kind: tree.Removed, Old: a[0]})
			a = a[1:]
		case len(a) == 0 || format.ComparePaths(a[0].Path, b[0].Path) > 0:
			out = append(out, change{Kind: tree.Added, New: b[0]})
			b = b[1:]
		default:
			if !reflect.DeepEqual(a[0], b[0]) {
				out = append(out, change{Kind: tree.Modified, Old: a[0], New: b[0]})
			}
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// edit removes sub-trees, adds entries and changes others.
func edit(rng *rand.Rand, entries []format.Entry, edits int) []format.Entry {
	out := append([]format.Entry(nil), entries...)
	for range edits {
		if len(out) < 2 {
			break
		}
		i := 1 + rng.IntN(len(out)-1)
		switch rng.IntN(4) {
		case 0:
			gone := len(subtree(out, out[i].Path))
			out = append(out[:i], out[i+gone:]...)
		case 1:
			e := randomEntry(rng, join(out[i].Path, randomName(rng)), format.File)
			if out[i].Kind == format.Dir && len(subtree(out, e.Path)) == 0 {
				out = append(out, e)
				sortEntries(out)
			}
		case 2:
			out[i].ModTime.Sec ^= 1
		case 3:
			out[i] = randomEntry(rng, out[i].Path, out[i].Kind)
		}
	}
	return out
}

func TestDiffAsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, rng := drawTree(t)
		b := edit(rng, a, rapid.IntRange(0, 10).Draw(t, "edits"))
		if rapid.IntRange(0, 9).Draw(t, "unrelated") == 0 {
			b, _ = drawTree(t)
		}
		m := newMemory()
		ta, tb := build(t, m, a), build(t, m, b)
		got, err := changes(ta, tb, nil)
		require.NoError(t, err)
		require.Equal(t, modelDiff(a, b), got)
		back, err := changes(tb, ta, nil)
		require.NoError(t, err)
		require.Equal(t, modelDiff(b, a), back)
	})
}

// TestDiffNoticesEachField changes one field at a time.
func TestDiffNoticesEachField(t *testing.T) {
	base := []format.Entry{dir("."), {
		Path: "f", Kind: format.File, Mode: 0o600, Size: 1, Owner: &format.Owner{UID: 1},
		Xattrs: []format.Xattr{{Name: "n", Value: []byte("v")}}, Content: format.Content{Refs: []format.Ref{{ID: format.ID{1}, Len: 1}}},
	}}
	noise := map[string]bool{"ctime": true, "btime": true, "inode": true}
	for name, edit := range map[string]func(e *format.Entry){
		"ctime":   func(e *format.Entry) { e.ChangeTime.Sec++ },
		"btime":   func(e *format.Entry) { e.BirthTime.Sec++ },
		"inode":   func(e *format.Entry) { e.Inode++ },
		"mtime":   func(e *format.Entry) { e.ModTime.Nsec++ },
		"mode":    func(e *format.Entry) { e.Mode++ },
		"group":   func(e *format.Entry) { e.LinkGroup++ },
		"owner":   func(e *format.Entry) { e.Owner = &format.Owner{UID: 2} },
		"unowned": func(e *format.Entry) { e.Owner = nil },
		"attr":    func(e *format.Entry) { e.Attributes++ },
		"xname":   func(e *format.Entry) { e.Xattrs = []format.Xattr{{Name: "m", Value: []byte("v")}} },
		"xvalue":  func(e *format.Entry) { e.Xattrs = []format.Xattr{{Name: "n", Value: []byte("w")}} },
		"xless":   func(e *format.Entry) { e.Xattrs = nil },
		"content": func(e *format.Entry) { e.Content.Refs = []format.Ref{{ID: format.ID{2}, Len: 1}} },
		"list":    func(e *format.Entry) { e.Content = format.Content{Level: 1, RootLen: 9} },
		"size":    func(e *format.Entry) { e.Size, e.Content.Refs = 2, []format.Ref{{ID: format.ID{1}, Len: 2}} },
		"kind":    func(e *format.Entry) { e.Kind, e.Size, e.Content.Refs = format.FIFO, 0, nil },
		"link":    func(e *format.Entry) { *e = format.Entry{Path: e.Path, Kind: format.Symlink, Target: "x"} },
		"device":  func(e *format.Entry) { *e = format.Entry{Path: e.Path, Kind: format.CharDevice, Device: 7} },
	} {
		t.Run(name, func(t *testing.T) {
			other := append([]format.Entry(nil), base...)
			edit(&other[1])
			m := newMemory()
			ta, tb := build(t, m, base), build(t, m, other)
			got, err := changes(ta, tb, nil)
			require.NoError(t, err)
			require.Equal(t, []change{{Kind: tree.Modified, Old: base[1], New: other[1]}}, got)
			got, err = changes(ta, tb, &tree.DiffOptions{IgnoreNoise: true})
			require.NoError(t, err)
			require.Equal(t, noise[name], len(got) == 0)
		})
	}
}

// TestDiffIsCheap counts the nodes that three changes in many entries cost.
func TestDiffIsCheap(t *testing.T) {
	entries := practice(bigFolder())
	m := newMemory()
	a := build(t, m, entries)
	other := append([]format.Entry(nil), entries...)
	n := len(entries)
	other[n/2].ModTime.Sec++
	other = append(other[:n/5], other[n/5+1:]...)
	other = append(other, file(rand.New(rand.NewPCG(1, 9)), entries[n/3].Path+"~"))
	sortEntries(other)
	b := build(t, m, other)
	m.loads = 0
	got, err := changes(a, b, nil)
	require.NoError(t, err)
	require.Equal(t, modelDiff(entries, other), got)
	require.Len(t, got, 3)
	t.Logf("%d loads of %d nodes, level %d", m.loads, len(m.nodes), a.Level)
	require.LessOrEqual(t, m.loads, 3*2*(int(a.Level)+1)+6)

	m.loads = 0
	got, err = changes(a, a, nil)
	require.NoError(t, err)
	require.Empty(t, got)
	require.Zero(t, m.loads)
}

// TestDiffWithOtherBorders compares trees of different seeds, which share no node.
func TestDiffWithOtherBorders(t *testing.T) {
	a := practice(5000)
	b := edit(rand.New(rand.NewPCG(2, 2)), a, 20)
	m := newMemory()
	ta := build(t, m, a)
	other := tree.NewBuilder(m, seed+1)
	for i := range b {
		require.NoError(t, other.Add(t.Context(), &b[i]))
	}
	root, level, err := other.Finish(t.Context())
	require.NoError(t, err)
	got, err := changes(ta, &tree.Tree{Root: root, Level: level, Loader: m}, nil)
	require.NoError(t, err)
	require.Equal(t, modelDiff(a, b), got)
}

func TestDiffStopsWhenAsked(t *testing.T) {
	a, b := practice(100), practice(100)
	for i := range b {
		b[i].Mode ^= 1
	}
	m := newMemory()
	empty := build(t, m, nil)
	ta, tb := build(t, m, a), build(t, m, b)
	for _, pair := range [][2]*tree.Tree{{ta, tb}, {ta, empty}, {empty, tb}} {
		n := 0
		for _, err := range tree.Diff(t.Context(), pair[0], pair[1], nil) {
			require.NoError(t, err)
			if n++; n == 2 {
				break
			}
		}
		require.Equal(t, 2, n)
	}
}
