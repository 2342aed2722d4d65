package tree

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strings"

	"github.com/carekeep/carekeep/internal/format"
)

var (
	errFinished = errors.New("the tree is finished: use a new builder")
	errHigh     = errors.New("the tree is higher than a reader accepts")
)

// Builder makes a tree of a stream of entries. It holds one node per level, and is for one goroutine.
type Builder struct {
	spine   spine
	seed    uint64
	leaf    []byte // the leaf's encoding so far, empty before its first entry
	first   string
	entries uint64 // of the leaf
	bytes   uint64 // of the leaf
	total   uint64 // bytes of the whole stream
	prev    string // path of the entry before, "" at the start
	lineage lineage
	err     error // the first failure of the store, or errFinished
}

// NewBuilder returns a builder of a tree whose nodes go to saver. Trees share nodes if they are built with
// the same seed; it is secret, so that nobody can choose names that make no node end, or all.
func NewBuilder(saver Saver, seed uint64) *Builder {
	return &Builder{spine: spine{saver: saver, encode: format.AppendChildren}, seed: seed}
}

// Add adds the next entry. It keeps nothing of e but its path. An entry that is not after the one before
// it, whose folder has not come before it, or that no reader would accept is refused: see [ErrRefused].
// The first entry is that of the root, ".". Any other error is the store's and final.
func (b *Builder) Add(ctx context.Context, e *format.Entry) error {
	if b.err != nil {
		return b.err
	}
	if err := b.check(e); err != nil {
		return err
	}
	held := len(b.leaf)
	prev := b.prev
	if held == 0 {
		b.leaf, prev = format.AppendLeafHeader(b.leaf), ""
	}
	b.leaf = format.AppendEntry(b.leaf, prev, e)
	if len(b.leaf) > maxLeaf && held > 0 {
		// It begins the next leaf. It is encoded anew, because a leaf's first path is whole.
		own := format.AppendEntry(format.AppendLeafHeader(nil), "", e)
		if len(own) > format.MaxChunk {
			b.leaf = b.leaf[:held]
			return refused("an entry is larger than a node may be")
		}
		b.leaf = b.leaf[:held]
		if err := b.endLeaf(ctx); err != nil {
			return err
		}
		b.leaf = append(b.leaf, own...)
	} else if len(b.leaf) > format.MaxChunk {
		b.leaf = b.leaf[:held]
		return refused("an entry is larger than a node may be")
	}
	b.count(e)
	if pathBorder(b.seed, e.Path) {
		return b.endLeaf(ctx)
	}
	return nil
}

// count takes note of an entry that was encoded.
func (b *Builder) count(e *format.Entry) {
	if b.entries == 0 {
		b.first = e.Path
	}
	b.entries++
	if e.Kind == format.File {
		b.bytes += uint64(e.Size)
		b.total += uint64(e.Size)
	}
	b.prev = e.Path
	b.lineage.step(e.Path, e.Kind)
}

// Finish stores what is left and returns the root and its level. A stream without entries gives a leaf
// without entries. After Finish the builder takes no more entries.
func (b *Builder) Finish(ctx context.Context) (root format.Child, level uint8, err error) {
	if b.err != nil {
		return format.Child{}, 0, b.err
	}
	if b.prev == "" {
		b.leaf = format.AppendLeafHeader(b.leaf)
	}
	if len(b.leaf) > 0 {
		if err := b.endLeaf(ctx); err != nil {
			return format.Child{}, 0, err
		}
	}
	if root, level, err = b.spine.finish(ctx); err != nil {
		b.err = err
		return format.Child{}, 0, err
	}
	b.err = errFinished
	return root, level, nil
}

// endLeaf stores the leaf and begins the next.
func (b *Builder) endLeaf(ctx context.Context) error {
	c := format.Child{First: b.first, Entries: b.entries, Bytes: b.bytes}
	if b.err = b.spine.save(ctx, 0, b.leaf, c); b.err != nil {
		return b.err
	}
	if b.leaf = b.leaf[:0]; cap(b.leaf) > 2*maxLeaf {
		b.leaf = nil // one huge entry is no reason to hold its memory for the rest of the run
	}
	b.first, b.entries, b.bytes = "", 0, 0
	return nil
}

// check refuses whatever a reader would refuse, so that no snapshot is written that cannot be read.
func (b *Builder) check(e *format.Entry) error {
	switch {
	case !format.ValidPath(e.Path):
		return refused("a path is not allowed")
	case b.prev != "" && format.ComparePaths(b.prev, e.Path) >= 0:
		return refused("entries are out of order")
	case e.Kind < format.Dir || e.Kind > format.BlockDevice:
		return refused("an entry's kind is unknown")
	case e.Mode&^0o7777 != 0:
		return refused("a mode is out of range")
	case e.ModTime.Nsec > 999_999_999 || e.ChangeTime.Nsec > 999_999_999 || e.BirthTime.Nsec > 999_999_999:
		return refused("a time's nanoseconds are out of range")
	case e.Kind == format.Symlink && (len(e.Target) > format.MaxPath || strings.IndexByte(e.Target, 0) >= 0):
		return refused("a link's target is not allowed")
	case e.Kind != format.File && e.Content.Level > 0:
		return refused("only a file has content")
	}
	if l := b.lineage; !l.step(e.Path, e.Kind) {
		return refused("an entry's folder has not come before it")
	}
	if e.Kind == format.File {
		if e.Size < 0 || e.Size > maxSize || b.total+uint64(e.Size) > math.MaxInt64 {
			return refused("a size is out of range")
		}
		if err := checkContent(&e.Content, e.Size); err != nil {
			return refused(err.Error())
		}
	}
	return nil
}

// spine builds the inner nodes of a tree of either kind.
type spine struct {
	saver  Saver
	encode func(b []byte, level int, children []format.Child) []byte
	rows   []row // rows[i] gathers the children of the next node of level i+1
	buf    []byte
}

// row is an inner node in the making.
type row struct {
	children []format.Child
	size     int // bytes of their encoding
}

// save stores a finished node of the given level and hands it to the level above. c says what is below it.
func (s *spine) save(ctx context.Context, level int, node []byte, c format.Child) (err error) {
	if err = ctx.Err(); err != nil {
		return err
	}
	c.Len = uint32(len(node))
	if c.ID, err = s.saver.SaveNode(ctx, node); err != nil {
		return err
	}
	return s.add(ctx, level+1, c)
}

// add adds a child to the node in the making of a level.
func (s *spine) add(ctx context.Context, level int, c format.Child) error {
	if level > format.MaxLevel {
		return errHigh
	}
	if level > len(s.rows) {
		s.rows = append(s.rows, row{})
	}
	r := &s.rows[level-1]
	size := childSize(r.last(), &c)
	if len(r.children) == maxChildren || 1+r.size+size > maxInner {
		if err := s.end(ctx, level); err != nil {
			return err
		}
		r, size = &s.rows[level-1], childSize("", &c)
	}
	r.children = append(r.children, c)
	r.size += size
	if len(r.children) >= minChildren && idBorder(c.ID, innerBits) {
		return s.end(ctx, level)
	}
	return nil
}

// end stores the node in the making of a level and begins the next.
func (s *spine) end(ctx context.Context, level int) error {
	r := &s.rows[level-1]
	c := format.Child{First: r.children[0].First}
	for i := range r.children {
		c.Entries += r.children[i].Entries
		c.Bytes += r.children[i].Bytes
	}
	s.buf = s.encode(s.buf[:0], level, r.children)
	clear(r.children) // lets go of the paths
	r.children, r.size = r.children[:0], 0
	return s.save(ctx, level, s.buf, c)
}

// finish stores the nodes in the making and returns the root: the only node of the highest level. At
// least one leaf has been saved.
func (s *spine) finish(ctx context.Context) (root format.Child, level uint8, err error) {
	for i := 0; ; i++ {
		// The highest row has never ended a node, else there were one above it.
		if i == len(s.rows)-1 && len(s.rows[i].children) == 1 {
			return s.rows[i].children[0], uint8(i), nil
		}
		if len(s.rows[i].children) > 0 {
			if err := s.end(ctx, i+1); err != nil {
				return format.Child{}, 0, err
			}
		}
	}
}

func (r *row) last() string {
	if n := len(r.children); n > 0 {
		return r.children[n-1].First
	}
	return ""
}

// childSize is the number of bytes that a child after one with the path prev adds to a node of entries.
func childSize(prev string, c *format.Child) int {
	shared := 0
	for shared < len(prev) && shared < len(c.First) && prev[shared] == c.First[shared] {
		shared++
	}
	n := len(c.First) - shared + len(c.ID)
	for _, v := range [...]uint64{uint64(shared), uint64(len(c.First) - shared), uint64(c.Len), c.Entries, c.Bytes} {
		n += uvarintLen(v)
	}
	return n
}

func uvarintLen(v uint64) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], v)
}
