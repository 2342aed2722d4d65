package tree

import (
	"context"
	"math/bits"
	"sort"

	"github.com/carekeep/carekeep/internal/format"
)

// cursor is a place in a tree, either at an entry of the open leaf or, when no leaf is open, before the
// child that the last frame points at. It moves forward only. It holds one node per level.
type cursor struct {
	tree   *Tree
	frames []frame // the open inner nodes, the root's first
	leaf   *format.EntryReader
	at     format.Child // what the parent says of the open leaf
	seen   uint64       // entries of the leaf up to here
	bytes  uint64       // and their bytes
	entry  format.Entry // the current one, while a leaf is open
	last   string       // path of the last entry read; "" before the first
}

// frame is an open inner node.
type frame struct {
	level    int
	children []format.Child
	i        int // the child that the cursor is in or before
}

// open returns a cursor at the tree's beginning: the root is loaded, nothing below it.
func (t *Tree) open(ctx context.Context) (*cursor, error) {
	if t.Level > format.MaxLevel || t.Root.Len == 0 || t.Root.Len > format.MaxChunk {
		return nil, malformed("a tree's root is out of range")
	}
	c := &cursor{tree: t}
	return c, c.load(ctx, t.Root, int(t.Level), true)
}

// done reports that there are no more entries.
func (c *cursor) done() bool { return c.leaf == nil && len(c.frames) == 0 }

// ahead returns the child that the cursor is before and its level. A leaf is not open.
func (c *cursor) ahead() (*format.Child, int) {
	f := &c.frames[len(c.frames)-1]
	return &f.children[f.i], f.level - 1
}

// expand opens the child that the cursor is before.
func (c *cursor) expand(ctx context.Context) error {
	at, level := c.ahead()
	return c.load(ctx, *at, level, false)
}

// skip goes past the child that the cursor is before, or past the leaf that has ended.
func (c *cursor) skip() {
	for n := len(c.frames); n > 0; n-- {
		f := &c.frames[n-1]
		if f.i++; f.i < len(f.children) {
			return
		}
		*f = frame{}
		c.frames = c.frames[:n-1]
	}
}

// bound returns the first path behind the child that the cursor is in or before, as far as it is known.
func (c *cursor) bound() (string, bool) {
	for n := len(c.frames) - 1; n >= 0; n-- {
		if f := &c.frames[n]; f.i+1 < len(f.children) {
			return f.children[f.i+1].First, true
		}
	}
	return "", false
}

// load opens the node at, of which the parent says what at says. Of a root only the sums are known.
func (c *cursor) load(ctx context.Context, at format.Child, level int, root bool) error {
	if level > 0 && at.Len > maxInner {
		return malformed("an inner node is too large")
	}
	node, err := load(ctx, c.tree.Loader, &at)
	if err != nil {
		return err
	}
	if l, err := format.NodeLevel(node); err != nil {
		return err
	} else if l != level {
		return malformed("a node is not of the level its parent says")
	}
	if level == 0 {
		return c.openLeaf(node, at, root)
	}
	children, err := format.DecodeChildren(node)
	if err != nil {
		return err
	}
	if err := checkChildren(children, &at); err != nil {
		return err
	}
	if !root {
		if children[0].First != at.First {
			return malformed("a node does not begin where its parent says")
		}
		if b, ok := c.bound(); ok && format.ComparePaths(children[len(children)-1].First, b) >= 0 {
			return malformed("a node reaches into the next")
		}
	}
	c.frames = append(c.frames, frame{level: level, children: children})
	return nil
}

// checkChildren compares the children of a node with what its parent says of it.
func checkChildren(children []format.Child, at *format.Child) error {
	if len(children) > maxChildren {
		return malformed("a node holds too many children")
	}
	entries, bytes := at.Entries, at.Bytes
	for i := range children {
		ch := &children[i]
		if ch.Entries == 0 || ch.Entries > entries || ch.Bytes > bytes {
			return malformed("a node's counts do not add up")
		}
		entries -= ch.Entries
		bytes -= ch.Bytes
	}
	if entries != 0 || bytes != 0 {
		return malformed("a node's counts do not add up")
	}
	return nil
}

// openLeaf begins a leaf and reads its first entry.
func (c *cursor) openLeaf(node []byte, at format.Child, root bool) error {
	leaf, err := format.ReadLeaf(node)
	if err != nil {
		return err
	}
	before := c.last
	c.leaf, c.at, c.seen, c.bytes = leaf, at, 0, 0
	if err := c.step(); err != nil {
		return err
	}
	switch {
	case c.seen == 0: // the leaf has ended; step found that its parent expects no entry
		if !root {
			return malformed("a leaf is empty")
		}
	case !root && c.entry.Path != at.First:
		return malformed("a leaf does not begin where its parent says")
	case before != "" && format.ComparePaths(before, c.entry.Path) >= 0:
		return malformed("leaves are out of order")
	}
	return nil
}

// step goes to the next entry of the open leaf. At its end it compares the counts and leaves the cursor
// before what follows the leaf.
func (c *cursor) step() error {
	more, err := c.leaf.Next(&c.entry)
	if err != nil {
		return err
	}
	if !more {
		if c.seen != c.at.Entries || c.bytes != c.at.Bytes {
			return malformed("a leaf's counts do not match its entries")
		}
		c.leaf = nil
		c.skip()
		return nil
	}
	c.seen++
	if c.entry.Kind == format.File {
		sum, carry := bits.Add64(c.bytes, uint64(c.entry.Size), 0)
		if c.bytes = sum; carry != 0 {
			return malformed("sizes are out of range")
		}
	}
	if c.seen > c.at.Entries || c.bytes > c.at.Bytes {
		return malformed("a leaf's counts do not match its entries")
	}
	c.last = c.entry.Path
	return nil
}

// settle opens nodes until the cursor is at an entry, and returns it; nil at the end.
func (c *cursor) settle(ctx context.Context) (*format.Entry, error) {
	for c.leaf == nil {
		if len(c.frames) == 0 {
			return nil, nil
		}
		if err := c.expand(ctx); err != nil {
			return nil, err
		}
	}
	return &c.entry, nil
}

// next goes to the next entry and returns it; nil at the end. The cursor is at an entry.
func (c *cursor) next(ctx context.Context) (*format.Entry, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	return c.settle(ctx)
}

// seek goes forward to the first entry at or after target and returns it; nil at the end. It does not go
// back. It loads at most one node per level, and one more leaf where target lies behind a leaf's last
// entry.
func (c *cursor) seek(ctx context.Context, target string) (*format.Entry, error) {
	for d := range c.frames {
		f := &c.frames[d]
		if f.i+1 < len(f.children) && format.ComparePaths(f.children[f.i+1].First, target) <= 0 {
			clear(c.frames[d+1:])
			c.frames, c.leaf = c.frames[:d+1], nil
			f.seek(target)
			break
		}
	}
	for c.leaf == nil && len(c.frames) > 0 {
		depth := len(c.frames)
		if err := c.expand(ctx); err != nil {
			return nil, err
		}
		if len(c.frames) > depth {
			c.frames[depth].seek(target)
		}
	}
	for c.leaf != nil && format.ComparePaths(c.entry.Path, target) < 0 {
		if err := c.step(); err != nil {
			return nil, err
		}
	}
	return c.settle(ctx)
}

// seek goes to the child that holds target: the last that does not begin behind it.
func (f *frame) seek(target string) {
	rest := f.children[f.i:]
	n := sort.Search(len(rest), func(k int) bool { return format.ComparePaths(rest[k].First, target) > 0 })
	f.i += max(n-1, 0)
}
