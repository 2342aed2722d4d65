package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"github.com/carekeep/carekeep/internal/format"
)

const maxSize = 1 << 62 // bytes of a file, as the decoder of entries has it

// ListBuilder makes the content of one file after the other of their references. It holds one node per
// level, whatever the file's size, and is for one goroutine.
type ListBuilder struct {
	spine spine
	refs  []format.Ref // of the leaf in the making
	size  int64
	err   error
}

// NewListBuilder returns a builder whose nodes go to saver.
func NewListBuilder(saver Saver) *ListBuilder {
	encode := func(b []byte, level int, children []format.Child) []byte {
		return format.AppendRefChildren(b, level, children)
	}
	return &ListBuilder{spine: spine{saver: saver, encode: encode}}
}

// Add adds the next run of the file. A hole after a hole makes it longer. A run without bytes, or one that
// a reader would not accept, is refused: see [ErrRefused]. Any other error is the store's and final for
// this file.
func (b *ListBuilder) Add(ctx context.Context, r format.Ref) error {
	if b.err != nil {
		return b.err
	}
	if !validRef(r) || r.Len > maxSize-b.size {
		return refused("a reference's length is out of range")
	}
	b.size += r.Len
	n := len(b.refs)
	if r.Hole {
		if n > 0 && b.refs[n-1].Hole {
			b.refs[n-1].Len += r.Len
			return nil
		}
		r.ID = format.ID{}
	}
	// A full leaf ends only now, so that a hole at its end could grow.
	if n == maxRefs {
		if err := b.endLeaf(ctx); err != nil {
			return err
		}
	}
	b.refs = append(b.refs, r)
	// No leaf but the last is so short that it could be the whole of a content without a tree.
	if len(b.refs) > format.MaxInline && !r.Hole && idBorder(r.ID, refBits) {
		return b.endLeaf(ctx)
	}
	return nil
}

// Size returns the bytes added so far.
func (b *ListBuilder) Size() int64 { return b.size }

// Finish returns the content and makes the builder ready for the next file. The content is the caller's.
func (b *ListBuilder) Finish(ctx context.Context) (format.Content, error) {
	defer b.Reset()
	if b.err != nil {
		return format.Content{}, b.err
	}
	if len(b.spine.rows) == 0 && len(b.refs) <= format.MaxInline {
		return format.Content{Refs: slices.Clone(b.refs)}, nil
	}
	if len(b.refs) > 0 {
		if err := b.endLeaf(ctx); err != nil {
			return format.Content{}, err
		}
	}
	root, level, err := b.spine.finish(ctx)
	if err != nil {
		return format.Content{}, err
	}
	if level >= format.MaxLevel {
		return format.Content{}, errHigh
	}
	return format.Content{Root: root.ID, Level: level + 1, RootLen: root.Len}, nil
}

// Reset forgets the file in the making, and an error with it.
func (b *ListBuilder) Reset() {
	b.refs, b.spine.rows = b.refs[:0], b.spine.rows[:0]
	b.size, b.err = 0, nil
}

func (b *ListBuilder) endLeaf(ctx context.Context) error {
	var c format.Child
	for _, r := range b.refs {
		c.Bytes += uint64(r.Len)
	}
	b.spine.buf = format.AppendRefs(b.spine.buf[:0], b.refs)
	b.refs = b.refs[:0]
	b.err = b.spine.save(ctx, 0, b.spine.buf, c)
	return b.err
}

func validRef(r format.Ref) bool {
	return r.Len > 0 && r.Len <= maxSize && (r.Hole || r.Len <= format.MaxChunk)
}

// checkContent tells what is wrong with a content of a file of size bytes, as far as it shows without its
// nodes.
func checkContent(c *format.Content, size int64) error {
	if size < 0 || size > maxSize {
		return errors.New("a size is out of range")
	}
	if c.Level > 0 {
		if c.Level > format.MaxLevel || c.RootLen == 0 || c.RootLen > format.MaxChunk || len(c.Refs) > 0 {
			return errors.New("a content list is out of range")
		}
		return nil
	}
	if len(c.Refs) > format.MaxInline {
		return errors.New("too many references in an entry")
	}
	for _, r := range c.Refs {
		if !validRef(r) {
			return errors.New("a reference's length is out of range")
		}
		if size -= r.Len; size < 0 {
			break
		}
	}
	if size != 0 {
		return errors.New("a file's references do not add up to its size")
	}
	return nil
}

// Reader reads the references of one file. It keeps no state: several goroutines may use it at once if its
// Loader allows.
type Reader struct {
	loader  Loader
	content format.Content
	size    int64
}

// OpenContent returns a reader of the content of a file of size bytes. It loads nothing.
func OpenContent(loader Loader, content format.Content, size int64) *Reader {
	return &Reader{loader: loader, content: content, size: size}
}

// RefAt is a run of a file's bytes and where it begins in the file.
type RefAt struct {
	format.Ref
	Offset int64 // bytes from the file's start
}

// Refs gives the runs of the file in their order, beginning with the one that holds the byte at from; none
// if from is the file's size or more. It loads one node per level to get there, and holds one per level.
// Every node is compared with what its parent says before anything in it is given out; the runs add up to
// the file's size.
func (r *Reader) Refs(ctx context.Context, from int64) iter.Seq2[RefAt, error] {
	return func(yield func(RefAt, error) bool) {
		if from < 0 {
			yield(RefAt{}, fmt.Errorf("an offset is negative: %w", fs.ErrInvalid))
			return
		}
		if err := checkContent(&r.content, r.size); err != nil {
			yield(RefAt{}, malformed(err.Error()))
			return
		}
		if from >= r.size {
			return
		}
		v := refVisit{loader: r.loader, from: from, yield: yield}
		if r.content.Level == 0 {
			v.give(r.content.Refs, 0)
			return
		}
		root := format.Child{ID: r.content.Root, Len: r.content.RootLen, Bytes: uint64(r.size)}
		if _, err := v.node(ctx, &root, int(r.content.Level)-1, 0); err != nil {
			yield(RefAt{}, err)
		}
	}
}

// refVisit is one iteration over a list.
type refVisit struct {
	loader Loader
	from   int64
	yield  func(RefAt, error) bool
}

// node visits the node at, which begins at the offset off of the file. It reports false when the caller
// wants no more.
func (v *refVisit) node(ctx context.Context, at *format.Child, level int, off int64) (bool, error) {
	if at.Len > maxRefLeaf { // an inner node is smaller: 2048 times at most 46 bytes
		return false, malformed("a node of references is too large")
	}
	node, err := load(ctx, v.loader, at)
	if err != nil {
		return false, err
	}
	if level == 0 {
		refs, err := format.DecodeRefs(node)
		if err == nil {
			err = checkRefs(refs, at.Bytes)
		}
		if err != nil {
			return false, err
		}
		return v.give(refs, off), nil
	}
	children, err := format.DecodeRefChildren(node, level)
	if err == nil {
		err = checkRefChildren(children, at.Bytes)
	}
	if err != nil {
		return false, err
	}
	for i := range children {
		end := off + int64(children[i].Bytes)
		if end > v.from {
			if more, err := v.node(ctx, &children[i], level-1, off); !more || err != nil {
				return false, err
			}
		}
		off = end
	}
	return true, nil
}

// give hands out the references of a leaf that begins at off.
func (v *refVisit) give(refs []format.Ref, off int64) bool {
	for _, r := range refs {
		if off+r.Len > v.from && !v.yield(RefAt{Ref: r, Offset: off}, nil) {
			return false
		}
		off += r.Len
	}
	return true
}

// checkRefs compares a leaf with the bytes that its parent says it has, of which there is at least one.
func checkRefs(refs []format.Ref, bytes uint64) error {
	if len(refs) > maxRefs {
		return malformed("a node holds too many references")
	}
	var sum uint64 // cannot overflow: the decoder has added the lengths up
	for i := range refs {
		sum += uint64(refs[i].Len)
	}
	if sum != bytes {
		return malformed("references do not add up")
	}
	return nil
}

// checkRefChildren does the same for an inner node. Children without bytes are refused, so that every
// node brings the reading forward.
func checkRefChildren(children []format.Child, bytes uint64) error {
	if len(children) > maxChildren {
		return malformed("a node holds too many children")
	}
	var sum uint64 // cannot overflow: the decoder has added the bytes up
	for i := range children {
		if children[i].Bytes == 0 {
			return malformed("a node of references has no bytes")
		}
		sum += children[i].Bytes
	}
	if sum != bytes {
		return malformed("nodes of references do not add up")
	}
	return nil
}

// load loads one node. It looks at ctx, since a loader that has the node need not.
func load(ctx context.Context, l Loader, at *format.Child) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.LoadNode(ctx, at.ID, at.Len)
}
