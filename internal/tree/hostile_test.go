package tree_test

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/tree"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// leaf stores a leaf and returns what an honest parent says of it.
func (m *memory) leaf(t testing.TB, entries ...format.Entry) format.Child {
	node, prev := format.AppendLeafHeader(nil), ""
	c := format.Child{Entries: uint64(len(entries))}
	for i, e := range entries {
		if i == 0 {
			c.First = e.Path
		}
		node = format.AppendEntry(node, prev, &e)
		prev = e.Path
		c.Bytes += uint64(e.Size)
	}
	return m.put(t, node, c)
}

func (m *memory) inner(t testing.TB, level int, children ...format.Child) format.Child {
	c := format.Child{First: children[0].First}
	for _, ch := range children {
		c.Entries += ch.Entries
		c.Bytes += ch.Bytes
	}
	return m.put(t, format.AppendChildren(nil, level, children), c)
}

func with(c format.Child, edit func(c *format.Child)) format.Child {
	edit(&c)
	return c
}

// TestHostileTrees walks trees that are wrong in one respect each.
func TestHostileTrees(t *testing.T) {
	m := newMemory()
	size := func(path string, n int64) format.Entry {
		return format.Entry{Path: path, Kind: format.File, Size: n, Content: format.Content{Refs: []format.Ref{{Len: n, Hole: true}}}}
	}
	pipe := format.Entry{Path: "b", Kind: format.FIFO}
	l1 := m.leaf(t, dir("."), dir("a"), size("a/f", 7))
	l2 := m.leaf(t, dir("b"), size("b/f", 9))
	empty := m.leaf(t)
	huge := []format.Entry{dir(".")} // seven times 2^62 bytes: as three times, modulo 2^64
	for _, name := range "abcdefg" {
		huge = append(huge, size(string(name), 1<<62))
	}
	tall := m.leaf(t, dir("."))
	for level := 1; level <= format.MaxLevel; level++ {
		tall = m.inner(t, level, tall)
	}
	many := make([]format.Child, 0, 2049)
	for i := range 2049 {
		many = append(many, format.Child{First: string([]byte{'a' + byte(i>>8), 'a' + byte(i>>4&15), 'a' + byte(i&15)}), Len: 1, Entries: 1})
	}

	good := []struct {
		root  format.Child
		level uint8
	}{{m.inner(t, 1, l1, l2), 1}, {l1, 0}, {empty, 0}, {tall, format.MaxLevel}}
	for _, x := range good {
		_, err := collect((&tree.Tree{Root: x.root, Level: x.level, Loader: m}).Walk(t.Context(), ""))
		require.NoError(t, err, "what is wrong below must be wrong for one reason alone")
	}

	early := map[string]bool{
		"many children": true, "empty leaf": true, "counts that wrap": true, "bytes that wrap": true,
		"more of the root": true, "bytes of the root": true, "entries of the root": true, "inner over the next": true,
	}
	for name, x := range map[string]struct {
		root  format.Child
		level uint8
	}{
		"level of the root":   {m.inner(t, 1, l1, l2), 2},
		"leaf as inner":       {l1, 1},
		"inner as leaf":       {m.inner(t, 1, l1), 0},
		"level skipped":       {m.inner(t, 2, l1, l2), 2},
		"level repeated":      {m.inner(t, 1, m.inner(t, 1, l1), m.inner(t, 1, l2)), 2},
		"level too high":      {m.inner(t, 1, l1), 13},
		"no length":           {with(l1, func(c *format.Child) { c.Len = 0 }), 0},
		"length":              {with(l1, func(c *format.Child) { c.Len = 4<<20 + 1 }), 0},
		"large inner":         {with(m.inner(t, 1, l1), func(c *format.Child) { c.Len = 2 << 20 }), 1},
		"many children":       {m.inner(t, 1, append([]format.Child{l1}, many...)...), 1},
		"first":               {m.inner(t, 1, l1, with(l2, func(c *format.Child) { c.First = "aa" })), 1},
		"first of inner":      {m.inner(t, 2, m.inner(t, 1, l1), with(m.inner(t, 1, l2), func(c *format.Child) { c.First = "aa" })), 2},
		"first leaf":          {m.inner(t, 1, with(l1, func(c *format.Child) { c.First = "a" }), l2), 1},
		"entries of a leaf":   {m.inner(t, 1, l1, with(l2, func(c *format.Child) { c.Entries++ })), 1},
		"fewer entries":       {m.inner(t, 1, l1, with(l2, func(c *format.Child) { c.Entries-- })), 1},
		"bytes of a leaf":     {m.inner(t, 1, l1, with(l2, func(c *format.Child) { c.Bytes++ })), 1},
		"fewer bytes":         {m.inner(t, 1, l1, with(l2, func(c *format.Child) { c.Bytes-- })), 1},
		"entries of the root": {with(m.inner(t, 1, l1, l2), func(c *format.Child) { c.Entries++ }), 1},
		"more of the root":    {with(m.inner(t, 1, l1, l2), func(c *format.Child) { c.Bytes++ }), 1},
		"bytes that wrap":     {m.inner(t, 1, with(l1, func(c *format.Child) { c.Bytes -= 1 << 63 }), with(l2, func(c *format.Child) { c.Bytes += 1 << 63 })), 1},
		"bytes of the root":   {with(m.inner(t, 1, l1, l2), func(c *format.Child) { c.Bytes-- }), 1},
		"entries of one leaf": {with(l1, func(c *format.Child) { c.Entries++ }), 0},
		"bytes of one leaf":   {with(l1, func(c *format.Child) { c.Bytes-- }), 0},
		"sizes overflow":      {m.leaf(t, huge...), 0},
		"empty leaf":          {m.inner(t, 1, l1, with(empty, func(c *format.Child) { c.First = "b" })), 1},
		"empty leaf counted":  {m.inner(t, 1, l1, with(empty, func(c *format.Child) { c.First, c.Entries = "b", 1 })), 1},
		"counts that wrap":    {m.inner(t, 1, with(l1, func(c *format.Child) { c.Entries -= 1 << 63 }), with(l2, func(c *format.Child) { c.Entries += 1 << 63 })), 1},
		"leaf over the next":  {m.inner(t, 1, m.leaf(t, dir("."), dir("a"), dir("c")), l2), 1},
		"inner over the next": {m.inner(t, 2, m.inner(t, 1, l1, m.leaf(t, dir("c"))), m.inner(t, 1, l2)), 2},
		"a leaf twice":        {m.inner(t, 1, l1, with(l1, func(c *format.Child) { c.First = "b" })), 1},
		"no root folder":      {m.leaf(t, dir("a")), 0},
		"root not a folder":   {m.leaf(t, size(".", 3), dir("a")), 0},
		"orphan":              {m.leaf(t, dir("."), dir("a/b")), 0},
		"orphan in a leaf":    {m.inner(t, 1, l1, m.leaf(t, dir("b/f"))), 1},
		"below a pipe":        {m.leaf(t, dir("."), pipe, dir("b/f")), 0},
		"below a file":        {m.leaf(t, dir("."), dir("a"), size("a/f", 3), dir("a/f/g")), 0},
		"no node":             {with(l1, func(c *format.Child) { c.ID[0]++ }), 0},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &tree.Tree{Root: x.root, Level: x.level, Loader: m}
			m.loads = 0
			got, err := collect(tr.Walk(t.Context(), ""))
			require.ErrorIs(t, err, format.ErrMalformed)
			require.Less(t, m.loads, 20)
			require.LessOrEqual(t, uint64(len(got)), x.root.Entries, "no more than was announced")
			if early[name] {
				require.LessOrEqual(t, m.loads, 2, "it shows in an inner node")
				require.Empty(t, got)
			}
		})
	}
}

// TestHostileChildren: a listing meets what has no folder, or lies in what is none.
func TestHostileChildren(t *testing.T) {
	m := newMemory()
	for _, root := range []format.Child{
		m.leaf(t, dir("."), dir("a"), dir("a/b/c")),
		m.leaf(t, dir("."), dir("a"), format.Entry{Path: "a/b", Kind: format.FIFO}, dir("a/b/c")),
	} {
		_, err := collect((&tree.Tree{Root: root, Loader: m}).Children(t.Context(), "a", ""))
		require.ErrorIs(t, err, format.ErrMalformed)
	}
}

// TestHostileLists reads lists that are wrong in one respect each.
func TestHostileLists(t *testing.T) {
	m := newMemory()
	leaf := func(refs ...format.Ref) format.Child {
		var c format.Child
		for _, r := range refs {
			c.Bytes += uint64(r.Len)
		}
		return m.put(t, format.AppendRefs(nil, refs), c)
	}
	inner := func(level int, children ...format.Child) format.Child {
		var c format.Child
		for _, ch := range children {
			c.Bytes += ch.Bytes
		}
		return m.put(t, format.AppendRefChildren(nil, level, children), c)
	}
	ref := format.Ref{ID: format.ID{1}, Len: 5}
	one, none := leaf(ref, ref), leaf()
	zero := none // a tree of nothing: 2048^12 nodes to visit
	for level := 1; level < format.MaxLevel; level++ {
		zero = inner(level, slices.Repeat([]format.Child{zero}, 2048)...)
	}
	holes := make([]format.Ref, 4097)
	for i := range holes {
		holes[i] = format.Ref{Hole: true, Len: 1}
	}
	type list struct {
		root  format.Child
		level uint8
		size  int64
	}
	for _, x := range []list{{one, 1, 10}, {inner(1, one, one), 2, 20}, {leaf(holes[1:]...), 1, 4096}} {
		c := format.Content{Root: x.root.ID, RootLen: x.root.Len, Level: x.level}
		_, err := refsFrom(tree.OpenContent(m, c, x.size), 0)
		require.NoError(t, err, "what is wrong below must be wrong for one reason alone")
	}
	for name, x := range map[string]list{
		"size":             {one, 1, 11},
		"less":             {one, 1, 9},
		"empty":            {none, 1, 1},
		"level":            {one, 2, 10},
		"inner as leaf":    {inner(1, one), 1, 10},
		"level skipped":    {inner(2, one), 3, 10},
		"child's bytes":    {inner(1, one, with(one, func(c *format.Child) { c.Bytes++ })), 2, 21},
		"fewer bytes":      {inner(1, one, with(one, func(c *format.Child) { c.Bytes-- })), 2, 19},
		"tree of zero":     {zero, format.MaxLevel, 1},
		"zero and one":     {inner(1, with(none, func(c *format.Child) { c.Bytes = 1 })), 2, 1},
		"no children":      {m.put(t, []byte{0x41}, format.Child{}), 2, 1},
		"long node":        {with(one, func(c *format.Child) { c.Len = 1 + 4096*36 + 1 }), 1, 10},
		"nothing behind":   {inner(1, one, none), 2, 10},
		"many refs":        {leaf(holes...), 1, 4097},
		"many children":    {inner(1, slices.Repeat([]format.Child{one}, 2049)...), 2, 20490},
		"a leaf of a tree": {m.leaf(t, dir(".")), 1, 10},
	} {
		t.Run(name, func(t *testing.T) {
			m.loads = 0
			c := format.Content{Root: x.root.ID, RootLen: x.root.Len, Level: x.level}
			_, err := refsFrom(tree.OpenContent(m, c, x.size), 0)
			require.ErrorIs(t, err, format.ErrMalformed)
			require.Less(t, m.loads, 5)
			if name == "nothing behind" || name == "many children" {
				require.Equal(t, 1, m.loads, "it shows in the inner node")
			}
		})
	}
}

// mutant is a store whose nodes have been changed under their ids.
type mutant struct {
	nodes map[format.ID][]byte
	loads int
}

func (m *mutant) LoadNode(_ context.Context, id format.ID, _ uint32) ([]byte, error) {
	m.loads++
	if n, ok := m.nodes[id]; ok {
		return n, nil
	}
	return nil, format.ErrMalformed
}

// mutate applies ops, six bytes each, to the nodes in order.
func mutate(m *memory, ops []byte) *mutant {
	ids := make([]format.ID, 0, len(m.nodes))
	out := &mutant{nodes: map[format.ID][]byte{}}
	for id, n := range m.nodes {
		ids = append(ids, id)
		out.nodes[id] = slices.Clone(n)
	}
	slices.SortFunc(ids, func(a, b format.ID) int { return slices.Compare(a[:], b[:]) })
	for ; len(ops) >= 6; ops = ops[6:] {
		id := ids[int(ops[1])%len(ids)]
		n := out.nodes[id]
		if len(n) == 0 {
			continue
		}
		at := (int(ops[2])<<8 | int(ops[3])) % len(n)
		switch ops[0] % 6 {
		case 0:
			n[at] = ops[5]
		case 1:
			n[at] += 1 << (ops[5] % 8)
		case 2:
			n = slices.Delete(n, at, min(at+1+int(ops[4]%40), len(n)))
		case 3:
			n = slices.Insert(n, at, ops[4], ops[5])
		case 4:
			n = slices.Clone(out.nodes[ids[int(ops[4])%len(ids)]])
		case 5: // a reference to another node: cycles and shared nodes
			copy(n[at:], ids[int(ops[4])%len(ids)][:])
		}
		out.nodes[id] = n
	}
	return out
}

// attack reads everything of a mutated tree and list in every way. Errors must be of the right sort, the
// order right, the work bounded.
func attack(t fataler, rngSeed uint64, ops []byte) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(rngSeed%16, 0))
	entries := randomTree(rng, 60, true)
	whole := newMemory()
	a := build(t, whole, entries)
	mut := mutate(whole, ops)
	b := &tree.Tree{Root: a.Root, Level: a.Level, Loader: mut}
	stored := 0
	for _, n := range mut.nodes {
		stored += len(n)
	}
	ordered := func(seq func(func(*format.Entry, error) bool)) {
		mut.loads = 0
		last, count := "", 0
		for e, err := range seq {
			if err != nil {
				checkError(t, err)
				break
			}
			require.True(t, last == "" || format.ComparePaths(last, e.Path) < 0)
			last = e.Path
			count++
		}
		require.LessOrEqual(t, count, stored)
		require.LessOrEqual(t, mut.loads, 2*len(mut.nodes)+30)
	}
	ordered(b.Walk(ctx, ""))
	for range 3 {
		path := drawPath(rng, entries)
		ordered(b.Walk(ctx, path))
		ordered(b.Subtree(ctx, path))
		_, err := b.Lookup(ctx, path)
		checkError(t, err)
	}
	for _, d := range []string{".", entries[len(entries)/2].Path} {
		ordered(b.Children(ctx, d, ""))
	}
	attackDiff(t, a, b, mut)
	attackDiff(t, b, a, mut)
	attackList(t, rng, ops)
}

func attackDiff(t fataler, a, b *tree.Tree, mut *mutant) {
	// The roots' ids are the same, and so would their trees be: another one is put above.
	a, b = over(a), over(b)
	mut.loads = 0
	last := ""
	for c, err := range tree.Diff(context.Background(), a, b, nil) {
		if err != nil {
			checkError(t, err)
			break
		}
		e := c.Old
		if e == nil {
			e = c.New
		}
		require.True(t, last == "" || format.ComparePaths(last, e.Path) < 0)
		last = e.Path
	}
	require.LessOrEqual(t, mut.loads, 2*len(mut.nodes)+30)
}

// over renames a tree's root, so that Diff looks at it.
func over(t *tree.Tree) *tree.Tree {
	out := *t
	if _, ok := t.Loader.(*mutant); ok {
		out.Root.ID = format.ID{0xff}
		out.Loader = renamed{t.Loader, t.Root.ID}
	}
	return &out
}

type renamed struct {
	tree.Loader
	root format.ID
}

func (r renamed) LoadNode(ctx context.Context, id format.ID, n uint32) ([]byte, error) {
	if id == (format.ID{0xff}) {
		id = r.root
	}
	return r.Loader.LoadNode(ctx, id, n)
}

func attackList(t fataler, rng *rand.Rand, ops []byte) {
	refs, _ := randomRefs(rng, 900)
	for i := range refs { // short leaves
		if i%70 == 69 {
			refs[i] = format.Ref{Len: 1 + int64(i), ID: format.ID{byte(i), 1}}
		}
	}
	size := int64(0)
	for _, r := range refs {
		size += r.Len
	}
	m := newMemory()
	c := buildList(t, m, refs)
	mut := mutate(m, ops)
	for _, from := range []int64{0, size / 2, size - 1} {
		mut.loads = 0
		end, count := int64(-1), 0
		for r, err := range tree.OpenContent(mut, c, size).Refs(context.Background(), from) {
			if err != nil {
				checkError(t, err)
				break
			}
			require.True(t, r.Len > 0 && r.Offset+r.Len > from && r.Offset+r.Len <= size)
			require.True(t, end < 0 || end == r.Offset)
			end = r.Offset + r.Len
			if count++; count == 10_000 { // a list may say that a file has one run per byte
				break
			}
		}
		require.LessOrEqual(t, mut.loads, (count+2)*int(c.Level))
	}
}

func checkError(t fataler, err error) {
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, tree.ErrNotFolder) {
		return
	}
	require.ErrorIs(t, err, format.ErrMalformed)
}

func TestMutatedStores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		attack(t, rapid.Uint64().Draw(t, "tree"), rapid.SliceOfN(rapid.Byte(), 6, 36).Draw(t, "ops"))
	})
}

func FuzzMutatedStores(f *testing.F) {
	f.Add(uint64(1), []byte{0, 1, 0, 2, 0, 9})
	f.Add(uint64(2), []byte{4, 1, 0, 2, 3, 9, 5, 2, 0, 5, 1, 1})
	f.Add(uint64(3), []byte{1, 9, 0, 70, 3, 1, 3, 2, 0, 9, 1, 1})
	f.Fuzz(func(t *testing.T, seed uint64, ops []byte) {
		if len(ops) > 120 {
			return
		}
		attack(t, seed, ops)
	})
}

// FuzzNodes reads nodes that were never a tree: the input is cut into nodes, and an id names one of them
// by its first byte.
func FuzzNodes(f *testing.F) {
	m := newMemory()
	l := m.leaf(f, dir("."), dir("a"))
	l.ID = format.ID{1}
	node := format.AppendChildren(nil, 1, []format.Child{l})
	f.Add(uint8(len(node)), append(slices.Clone(node), m.nodes[m.leaf(f, dir("."), dir("a")).ID]...), uint8(1), uint64(2), uint64(0))
	refs := format.AppendRefs(nil, []format.Ref{{Len: 3, Hole: true}, {Len: 4, ID: format.ID{5}}})
	f.Add(uint8(len(refs)), refs, uint8(1), uint64(1), uint64(7))
	f.Fuzz(func(t *testing.T, cut uint8, data []byte, level uint8, entries, size uint64) {
		store := pieces{n: max(1, int(cut)), data: data}
		ctx := t.Context()
		tr := &tree.Tree{Root: format.Child{Len: 9, Entries: entries, Bytes: size}, Level: level % 16, Loader: &store}
		got, err := collect(tr.Walk(ctx, ""))
		checkError(t, err)
		require.LessOrEqual(t, len(got), len(data))
		require.LessOrEqual(t, store.loads, 2*len(data)+30)
		_, err = collect(tr.Children(ctx, ".", ""))
		checkError(t, err)
		c := format.Content{Level: level % 16, RootLen: 9}
		count := 0
		store.loads = 0
		for _, err := range tree.OpenContent(&store, c, int64(size)).Refs(ctx, 0) {
			checkError(t, err)
			if count++; count == 1000 {
				break
			}
		}
		require.LessOrEqual(t, store.loads, (count+2)*16)
	})
}

// pieces is a store whose nodes are pieces of n bytes.
type pieces struct {
	n     int
	data  []byte
	loads int
}

func (p *pieces) LoadNode(_ context.Context, id format.ID, _ uint32) ([]byte, error) {
	p.loads++
	at := int(id[0]) * p.n
	if at >= len(p.data) {
		return nil, format.ErrMalformed
	}
	return p.data[at:min(at+p.n, len(p.data))], nil
}
