package tree

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/carekeep/carekeep/internal/format"
)

// Walk gives all entries at or after the path from, which need not exist, in their order; all of them if
// it is "" or ".". An entry is overwritten by the next step: see [Tree]. After an error there is no more.
//
// A walk verifies what it passes: the order, the counts and first paths that inner nodes claim, and that
// every entry's folder came before it. A walk from the start to the end thus verifies the whole tree.
func (t *Tree) Walk(ctx context.Context, from string) iter.Seq2[*format.Entry, error] {
	return func(yield func(*format.Entry, error) bool) {
		from := start(from)
		c, err := t.open(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		e, err := c.seek(ctx, from)
		if err != nil {
			yield(nil, err)
			return
		}
		var l lineage
		if e != nil && from != "." {
			l.dir = parent(e.Path) // not seen, but only verified by those who begin before it
		}
		c.each(ctx, e, l, ".", yield)
	}
}

// Subtree gives the entry of path and everything below it, as Walk does. If there is no such entry, the
// error wraps fs.ErrNotExist.
func (t *Tree) Subtree(ctx context.Context, path string) iter.Seq2[*format.Entry, error] {
	return func(yield func(*format.Entry, error) bool) {
		c, e, err := t.find(ctx, path)
		if err != nil {
			yield(nil, err)
			return
		}
		c.each(ctx, e, lineage{dir: parent(path)}, path, yield)
	}
}

// each gives out e and what follows it, as long as it is dir or below it.
func (c *cursor) each(ctx context.Context, e *format.Entry, l lineage, dir string, yield func(*format.Entry, error) bool) {
	var err error
	for e != nil && (e.Path == dir || below(dir, e.Path)) {
		if !l.step(e.Path, e.Kind) {
			yield(nil, malformed("an entry's folder does not come before it"))
			return
		}
		if !yield(e, nil) {
			return
		}
		if e, err = c.next(ctx); err != nil {
			yield(nil, err)
			return
		}
	}
}

// find returns a cursor at the entry of path.
func (t *Tree) find(ctx context.Context, path string) (*cursor, *format.Entry, error) {
	c, err := t.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	e, err := c.seek(ctx, start(path))
	if err != nil {
		return nil, nil, err
	}
	if e == nil || e.Path != path {
		return nil, nil, errAbsent
	}
	return c, e, nil
}

// Children gives the entries directly in the folder dir whose names come after the name after, which need
// not exist, in bytewise order; all of them if it is "". What lies in sub-folders is not read but sought
// past: a large sub-folder costs one node per level. An entry is overwritten by the next step: see [Tree].
//
// The error wraps fs.ErrNotExist if there is no dir, [ErrNotFolder] if it is something else, and
// fs.ErrInvalid if after cannot be a name.
func (t *Tree) Children(ctx context.Context, dir, after string) iter.Seq2[*format.Entry, error] {
	return func(yield func(*format.Entry, error) bool) {
		c, e, err := t.find(ctx, dir)
		if err == nil && e.Kind != format.Dir {
			err = fmt.Errorf("the children of an entry were asked for: %w", ErrNotFolder)
		}
		if err == nil {
			e, err = c.firstChild(ctx, dir, after)
		}
		for err == nil && e != nil && below(dir, e.Path) {
			if parent(e.Path) != dir {
				err = malformed("an entry's folder does not come before it")
				break
			}
			path, kind := e.Path, e.Kind
			if !yield(e, nil) {
				return
			}
			e, err = c.pass(ctx, path, kind)
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// firstChild goes from dir to the first entry behind its child of the name after.
func (c *cursor) firstChild(ctx context.Context, dir, after string) (*format.Entry, error) {
	if after == "" {
		return c.next(ctx)
	}
	if after == "." || strings.IndexByte(after, '/') >= 0 || !format.ValidPath(after) {
		return nil, fmt.Errorf("what is to come before the children is not a name: %w", fs.ErrInvalid)
	}
	if dir != "." {
		after = dir + "/" + after
	}
	return c.seek(ctx, past(after))
}

// pass goes from the entry of path and kind to the first that is not below it.
func (c *cursor) pass(ctx context.Context, path string, kind format.Kind) (*format.Entry, error) {
	e, err := c.next(ctx)
	if err != nil || e == nil || !below(path, e.Path) {
		return e, err
	}
	if kind != format.Dir {
		return nil, malformed("an entry's folder is not one")
	}
	return c.seek(ctx, past(path))
}
