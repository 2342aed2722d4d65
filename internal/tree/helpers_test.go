package tree_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/tree"
	"github.com/stretchr/testify/require"
)

const seed = 0x5eed5eed5eed5eed

var long = os.Getenv("CAREKEEP_LONG") != ""

// memory keeps nodes and counts what is done with them.
type memory struct {
	nodes map[format.ID][]byte
	fresh int // nodes that were not there before
	loads int
}

func newMemory() *memory { return &memory{nodes: map[format.ID][]byte{}} }

func (m *memory) SaveNode(_ context.Context, plaintext []byte) (format.ID, error) {
	id := format.ID(sha256.Sum256(plaintext))
	if _, ok := m.nodes[id]; !ok {
		m.nodes[id] = slices.Clone(plaintext)
		m.fresh++
	}
	return id, nil
}

func (m *memory) LoadNode(_ context.Context, id format.ID, size uint32) ([]byte, error) {
	m.loads++
	node, ok := m.nodes[id]
	if !ok {
		return nil, fmt.Errorf("no such node: %w", format.ErrMalformed)
	}
	return node, nil
}

// put stores a node made by hand.
func (m *memory) put(t testing.TB, node []byte, c format.Child) format.Child {
	id, err := m.SaveNode(t.Context(), node)
	require.NoError(t, err)
	c.ID, c.Len = id, uint32(len(node))
	return c
}

// fataler is what a testing.TB and a rapid.T have in common.
type fataler interface {
	require.TestingT
	Helper()
}

func build(t fataler, m *memory, entries []format.Entry) *tree.Tree {
	t.Helper()
	ctx := context.Background()
	b := tree.NewBuilder(m, seed)
	for i := range entries {
		require.NoError(t, b.Add(ctx, &entries[i]))
	}
	root, level, err := b.Finish(ctx)
	require.NoError(t, err)
	root.First = "" // a snapshot's description does not keep it
	return &tree.Tree{Root: root, Level: level, Loader: m}
}

// collect keeps copies of what an iterator gives, up to its first error. Every test that uses it also
// shows that copies may be kept.
func collect(seq iter.Seq2[*format.Entry, error]) ([]format.Entry, error) {
	var out []format.Entry
	for e, err := range seq {
		if err != nil {
			return out, err
		}
		out = append(out, *e)
	}
	return out, nil
}

// pathHash follows the words of the format document, and not the code.
func pathHash(seed uint64, path string) uint64 {
	h := seed ^ uint64(len(path))
	padded := path + strings.Repeat("\x00", (8-len(path)%8)%8)
	for i := 0; i < len(padded); i += 8 {
		hi, lo := bits.Mul64(h^binary.LittleEndian.Uint64([]byte(padded[i:i+8])), 0x9E3779B97F4A7C15)
		h = hi ^ lo
	}
	h = (h ^ h>>32) * 0xD6E8FEB86659FD93
	return h ^ h>>32
}

func endsLeaf(path string) bool { return pathHash(seed, path)>>60 == 0 }

// endsNode reports whether the last n bits of id are zero.
func endsNode(id format.ID, n uint) bool {
	return binary.BigEndian.Uint64(id[24:])%(1<<n) == 0
}

// randomTree makes up to n entries below a root. If dense, most names end a leaf, so that few entries make
// a tree of several levels.
func randomTree(rng *rand.Rand, n int, dense bool) []format.Entry {
	if n == 0 {
		return nil
	}
	taken := map[string]bool{".": true}
	dirs := []string{"."}
	out := []format.Entry{randomEntry(rng, ".", format.Dir)}
	for len(out) < n {
		kind := format.Kind(1 + rng.IntN(7))
		if rng.IntN(2) == 0 {
			kind = format.File
		}
		path := join(dirs[rng.IntN(len(dirs))], randomName(rng))
		for try := 0; dense && rng.IntN(4) > 0 && try < 2000 && !endsLeaf(path); try++ {
			path = join(dirs[rng.IntN(len(dirs))], randomName(rng)+randomName(rng))
		}
		if taken[path] {
			continue
		}
		taken[path] = true
		if kind == format.Dir {
			dirs = append(dirs, path)
		}
		out = append(out, randomEntry(rng, path, kind))
	}
	sortEntries(out)
	return out
}

func sortEntries(es []format.Entry) {
	slices.SortFunc(es, func(a, b format.Entry) int { return format.ComparePaths(a.Path, b.Path) })
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// randomName favours what is hard to order: bytes below the slash, bytes that are no UTF-8, prefixes.
func randomName(rng *rand.Rand) string {
	const hard = "ab-. !\x01\xff\xfe0\x80"
	for {
		b := make([]byte, 1+rng.IntN(4))
		for i := range b {
			b[i] = hard[rng.IntN(len(hard))]
		}
		if s := string(b); s != "." && s != ".." {
			return s
		}
	}
}

func randomEntry(rng *rand.Rand, path string, kind format.Kind) format.Entry {
	e := format.Entry{Path: path, Kind: kind, Mode: uint32(rng.IntN(0o10000))}
	e.ModTime = format.Time{Sec: rng.Int64() - 1<<62, Nsec: uint32(rng.IntN(1e9))}
	if rng.IntN(2) == 0 {
		e.Owner = &format.Owner{UID: rng.Uint32(), GID: rng.Uint32(), User: "dr", Group: "ward"}
		e.ChangeTime = format.Time{Sec: rng.Int64N(1e9)}
		e.Inode, e.LinkGroup = rng.Uint64(), uint64(rng.IntN(2))
	}
	if rng.IntN(8) == 0 {
		e.Xattrs = []format.Xattr{{Name: "user.a", Value: []byte(randomName(rng))}}
	}
	switch kind {
	case format.File:
		for range rng.IntN(3) {
			r := format.Ref{Len: 1 + rng.Int64N(format.MaxChunk), Hole: rng.IntN(4) == 0}
			if !r.Hole {
				r.ID = randomID(rng)
			}
			e.Content.Refs = append(e.Content.Refs, r)
			e.Size += r.Len
		}
	case format.Symlink:
		e.Target = "../" + randomName(rng)
	case format.CharDevice, format.BlockDevice:
		e.Device = rng.Uint64()
	}
	return e
}

func randomID(rng *rand.Rand) (id format.ID) {
	for i := 0; i < len(id); i += 8 {
		binary.BigEndian.PutUint64(id[i:], rng.Uint64())
	}
	return id
}

// practice makes what a practice's archive looks like: n files in folders of 1000, in order.
func practice(n int) []format.Entry {
	rng := rand.New(rand.NewPCG(1, 2))
	out := []format.Entry{dir(".")}
	for i := range n {
		if i%1000 == 0 {
			out = append(out, dir(fmt.Sprintf("patients-%04d", i/1000)))
		}
		out = append(out, file(rng, fmt.Sprintf("patients-%04d/letter-%07d.pdf", i/1000, i)))
	}
	return out
}

func dir(path string) format.Entry {
	return format.Entry{Path: path, Kind: format.Dir, Mode: 0o755, ModTime: format.Time{Sec: 1_700_000_000}}
}

func file(rng *rand.Rand, path string) format.Entry {
	n := 1 + rng.Int64N(200_000)
	return format.Entry{
		Path: path, Kind: format.File, Mode: 0o640, Size: n, Inode: 1 + rng.Uint64N(1<<32),
		Owner:      &format.Owner{UID: 1000, GID: 1000, User: "practice", Group: "practice"},
		ModTime:    format.Time{Sec: 1_700_000_000 + rng.Int64N(1e6), Nsec: uint32(rng.IntN(1e9))},
		ChangeTime: format.Time{Sec: 1_700_000_000 + rng.Int64N(1e6), Nsec: uint32(rng.IntN(1e9))},
		Content:    format.Content{Refs: []format.Ref{{ID: randomID(rng), Len: n}}},
	}
}

// The model: what the operations mean on a sorted slice.

func from(es []format.Entry, path string) (out []format.Entry) {
	for _, e := range es {
		if path == "" || format.ComparePaths(e.Path, path) >= 0 {
			out = append(out, e)
		}
	}
	return out
}

func subtree(es []format.Entry, path string) (out []format.Entry) {
	for _, e := range es {
		if e.Path == path || path == "." || strings.HasPrefix(e.Path, path+"/") {
			out = append(out, e)
		}
	}
	return out
}

func children(es []format.Entry, in, after string) (out []format.Entry) {
	for _, e := range es {
		up, name := ".", e.Path
		if i := strings.LastIndexByte(e.Path, '/'); i >= 0 {
			up, name = e.Path[:i], e.Path[i+1:]
		}
		if e.Path != "." && up == in && name > after {
			out = append(out, e)
		}
	}
	return out
}
