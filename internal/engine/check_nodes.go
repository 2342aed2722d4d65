package engine

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"

	"github.com/carekeep/carekeep/internal/format"
)

// Limits of package tree, which refuses to read what exceeds them.
const (
	maxNodeChildren = 2048
	maxInnerNode    = 1 << 20
	maxLeafRefs     = 4096
	maxRefsNode     = 1 + maxLeafRefs*36
)

// node is what a check remembers of a node of a tree: enough to verify the tree of every snapshot that holds
// it without reading it again. Its fields are set once it is known, under the table's lock or by the one
// goroutine that goes through the snapshots.
type node struct {
	id      format.ID
	size    uint32 // bytes of its plaintext
	level   uint8
	list    bool // of references, not of entries
	kept    bool // in the table
	opened  bool // edges and packs are set
	known   bool // what follows is set, but for edges and packs
	entries uint64
	bytes   uint64
	first   string // path of the first entry
	last    string // path of the last entry
	lastDir bool   // and whether it is a folder
	self    uint64 // hash of what a parent must say of it
	edges   []edge
	packs   []uint32 // that it and the chunks it names lie in, sorted
	missing error    // the first chunk that the index does not have as the node says
	failed  error    // it cannot be read, or is malformed
	judged  bool     // its edges were verified

	// Of the snapshot under examination.
	epoch    uint32
	flawed   bool // it, or something below it, cannot be read
	unlisted bool // it needs a pack that the snapshot does not list
}

// edge is a reference to a node, with a hash of what is said of it.
type edge struct {
	to    *node
	claim uint64
}

// needs notes that the node needs a chunk in pack n, or one that is not to be had.
func (nd *node) needs(n uint32, err error) {
	if err != nil {
		if nd.missing == nil {
			nd.missing = err
		}
		return
	}
	if i, ok := slices.BinarySearch(nd.packs, n); !ok {
		nd.packs = slices.Insert(nd.packs, i, n)
	}
}

// nodeTable remembers nodes up to a bound. It is safe for concurrent use where methods are used.
type nodeTable struct {
	mu    sync.Mutex
	nodes map[format.ID]*node
	room  int64 // bytes left
	seed  maphash.Seed
}

func newNodeTable(memory int64) *nodeTable {
	return &nodeTable{nodes: map[format.ID]*node{}, room: memory, seed: maphash.MakeSeed()}
}

// nodeBytes is about what a node takes beside its strings, edges and packs.
const nodeBytes = 320

// get returns the node of an id; one that is not remembered if there is no room. The table is locked.
func (t *nodeTable) get(id format.ID) *node {
	if nd := t.nodes[id]; nd != nil {
		return nd
	}
	nd := &node{id: id}
	if t.room > 0 {
		nd.kept = true
		t.nodes[id] = nd
		t.room -= nodeBytes
	}
	return nd
}

func (t *nodeTable) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.room <= 0
}

// claim hashes what a parent says of a node, or what a node is.
func (t *nodeTable) claim(first string, list bool, level uint8, size uint32, entries, bytes uint64) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	maphash.WriteComparable(&h, struct {
		list           bool
		level          uint8
		size           uint32
		entries, bytes uint64
	}{list, level, size, entries, bytes})
	h.WriteString(first)
	return h.Sum64()
}

// takeNode takes a metadata chunk into the table, if it is a node. Some chunks are not: those of lists of
// problems. One that is taken for a node by mistake does no harm, for nothing refers to it as one.
func (c *check) takeNode(ctx context.Context, id format.ID, data []byte) error {
	if c.nodes.full() {
		return nil
	}
	p, err := parseNode(data)
	if err != nil {
		return nil // a finding if a snapshot needs it: it is read again then
	}
	c.nodes.mu.Lock()
	nd := c.nodes.get(id)
	wants := c.nodes.fill(nd, p)
	c.nodes.mu.Unlock()
	return c.wants.add(ctx, wants)
}

// fill makes a node known, and returns the chunks whose packs are to be found. The table is locked.
func (t *nodeTable) fill(nd *node, p *parsedNode) []want {
	if nd.opened {
		return nil
	}
	nd.opened, nd.known = true, true
	nd.size, nd.level, nd.list, nd.entries, nd.bytes = p.size, p.level, p.list, p.entries, p.bytes
	nd.first, nd.last, nd.lastDir = p.first, p.last, p.lastDir
	nd.self = t.claim(p.first, p.list, p.level, p.size, p.entries, p.bytes)
	nd.edges = make([]edge, 0, len(p.below))
	for i := range p.below {
		b := &p.below[i]
		nd.edges = append(nd.edges, edge{t.get(b.child.ID), t.claim(b.child.First, b.list, b.level, b.child.Len, b.child.Entries, b.child.Bytes)})
	}
	if nd.kept {
		t.room -= int64(len(nd.first)+len(nd.last)) + 16*int64(len(nd.edges))
	}
	wants := make([]want, 0, len(p.refs)+1)
	wants = append(wants, want{id: nd.id, size: nd.size | wantsMetadata, by: nd})
	for _, r := range p.refs {
		if !r.Hole {
			wants = append(wants, want{id: r.ID, size: uint32(r.Len), by: nd})
		}
	}
	return wants
}

// parsedNode is a decoded node.
type parsedNode struct {
	size           uint32
	level          uint8
	list           bool
	entries, bytes uint64
	first, last    string
	lastDir        bool
	refs           []format.Ref // of chunks of content
	below          []below
}

// below is a node that a node refers to.
type below struct {
	child format.Child
	level uint8
	list  bool
}

// parseNode decodes a node and verifies all of it that does not depend on others.
func parseNode(data []byte) (*parsedNode, error) {
	p := &parsedNode{size: uint32(len(data))}
	if len(data) > 0 && data[0]&0x40 != 0 {
		p.list = true
		return p, p.parseList(data)
	}
	level, err := format.NodeLevel(data)
	if err != nil {
		return nil, err
	}
	p.level = uint8(level)
	if level == 0 {
		return p, p.parseLeaf(data)
	}
	children, err := format.DecodeChildren(data)
	if err != nil {
		return nil, err
	}
	if len(data) > maxInnerNode {
		return nil, errNode
	}
	p.first = children[0].First
	return p, p.addChildren(children)
}

var errNode = fmt.Errorf("%w: a node of a snapshot's tree is not as it must be", ErrDamaged)

func (p *parsedNode) addChildren(children []format.Child) error {
	if len(children) > maxNodeChildren || len(children) == 0 {
		return errNode
	}
	for _, ch := range children {
		sum, carry := bits.Add64(p.bytes, ch.Bytes, 0)
		n, more := bits.Add64(p.entries, ch.Entries, 0)
		if carry+more != 0 || ch.Entries == 0 != p.list || p.list && ch.Bytes == 0 {
			return errNode
		}
		p.bytes, p.entries = sum, n
		p.below = append(p.below, below{ch, p.level - 1, p.list})
	}
	return nil
}

func (p *parsedNode) parseList(data []byte) error {
	p.level = data[0] &^ 0x40
	if len(data) > maxRefsNode {
		return errNode
	}
	if p.level > 0 {
		children, err := format.DecodeRefChildren(data, int(p.level))
		if err != nil {
			return err
		}
		return p.addChildren(children)
	}
	var err error
	if p.refs, err = format.DecodeRefs(data); err != nil {
		return err
	}
	if len(p.refs) > maxLeafRefs || len(p.refs) == 0 {
		return errNode
	}
	for _, r := range p.refs {
		p.bytes += uint64(r.Len) // DecodeRefs has summed them up
	}
	return nil
}

func (p *parsedNode) parseLeaf(data []byte) error {
	leaf, err := format.ReadLeaf(data)
	if err != nil {
		return err
	}
	var e format.Entry
	for {
		more, err := leaf.Next(&e)
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
		if p.entries == 0 {
			p.first = e.Path
		} else if !follows(p.last, p.lastDir, e.Path) {
			return errNode
		}
		p.entries++
		p.last, p.lastDir = e.Path, e.Kind == format.Dir
		if e.Kind != format.File {
			continue
		}
		sum, carry := bits.Add64(p.bytes, uint64(e.Size), 0)
		if p.bytes = sum; carry != 0 {
			return errNode
		}
		p.refs = append(p.refs, e.Content.Refs...)
		if c := &e.Content; c.Level > 0 {
			root := format.Child{ID: c.Root, Len: c.RootLen, Bytes: uint64(e.Size)}
			p.below = append(p.below, below{root, c.Level - 1, true})
		}
	}
}

// follows reports whether an entry may come right after the one of path last: its folder is last itself or
// one that last is in, at any depth.
func follows(last string, lastDir bool, path string) bool {
	if format.ComparePaths(last, path) >= 0 {
		return false
	}
	up, at := parentOf(path), last
	if !lastDir {
		at = parentOf(last)
	}
	return up == at || inFolder(up, at)
}

func parentOf(path string) string {
	if path == "." {
		return ""
	}
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return "."
}

// inFolder reports whether path lies in the folder dir, at any depth.
func inFolder(dir, path string) bool {
	if dir == "." {
		return path != "." && path != ""
	}
	return len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}

func compareIDs(a, b *format.ID) int { return bytes.Compare(a[:], b[:]) }
