package tree

import (
	"bytes"
	"context"
	"iter"
	"slices"

	"github.com/carekeep/carekeep/internal/format"
)

// ChangeKind says how an entry differs between two trees.
type ChangeKind byte

// The kinds of changes.
const (
	Added    ChangeKind = 1
	Removed  ChangeKind = 2
	Modified ChangeKind = 3
)

// Change is one difference between two trees. Its entries are overwritten by the next step: see [Tree].
type Change struct {
	Kind ChangeKind
	Old  *format.Entry // nil if Added
	New  *format.Entry // nil if Removed
}

// DiffOptions are options of [Diff].
type DiffOptions struct {
	// IgnoreNoise passes over entries that differ in ChangeTime, BirthTime and Inode alone: a copy or a
	// restore of a file differs in these, and most systems let nobody set them.
	IgnoreNoise bool
}

// Diff gives what changed from a to b, in the order of paths. Nodes that both trees have at the same place
// are not loaded, so the work grows with the number of changes and not with that of entries. What is
// loaded is verified as in [Tree.Walk], but for the folders of entries. opts may be nil. After an error
// there is no more.
func Diff(ctx context.Context, a, b *Tree, opts *DiffOptions) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		if a.Root.ID == b.Root.ID && a.Level == b.Level {
			return
		}
		d := differ{yield: yield}
		if opts != nil {
			d.noise = opts.IgnoreNoise
		}
		var err error
		if d.a, err = a.open(ctx); err == nil {
			d.b, err = b.open(ctx)
		}
		for more := true; more && err == nil; {
			more, err = d.step(ctx)
		}
		if err != nil {
			yield(Change{}, err)
		}
	}
}

// differ goes through two trees at once. Each side is at an entry or before a node of which only the first
// path is known.
type differ struct {
	a, b  *cursor
	noise bool
	yield func(Change, error) bool
}

// item is what a cursor is at.
type item struct {
	path  string
	level int // -1: an entry
	id    format.ID
}

func (c *cursor) item() item {
	if c.leaf != nil {
		return item{path: c.entry.Path, level: -1}
	}
	ch, level := c.ahead()
	return item{path: ch.First, level: level, id: ch.ID}
}

// step deals with what comes first of both sides. It reports false at the end.
func (d *differ) step(ctx context.Context) (bool, error) {
	var x, y item
	order := 0
	switch {
	case d.a.done() && d.b.done():
		return false, nil
	case d.a.done():
		order, y = 1, d.b.item()
	case d.b.done():
		order, x = -1, d.a.item()
	default:
		x, y = d.a.item(), d.b.item()
		order = format.ComparePaths(x.path, y.path)
	}
	switch {
	case order < 0 && x.level < 0:
		if !d.give(Change{Kind: Removed, Old: &d.a.entry}) {
			return false, nil
		}
		return true, d.a.step()
	case order > 0 && y.level < 0:
		if !d.give(Change{Kind: Added, New: &d.b.entry}) {
			return false, nil
		}
		return true, d.b.step()
	case order < 0:
		return true, d.a.expand(ctx)
	case order > 0:
		return true, d.b.expand(ctx)
	case x.level < 0 && y.level < 0:
		return d.both()
	case x.level == y.level && x.id == y.id:
		d.a.skip()
		d.b.skip()
		return true, nil
	case x.level >= y.level:
		// The higher one first: below it there may be the node that the other side is before.
		return true, d.a.expand(ctx)
	}
	return true, d.b.expand(ctx)
}

func (d *differ) give(c Change) bool { return d.yield(c, nil) }

// both deals with two entries of one path.
func (d *differ) both() (bool, error) {
	if !same(&d.a.entry, &d.b.entry, d.noise) && !d.give(Change{Kind: Modified, Old: &d.a.entry, New: &d.b.entry}) {
		return false, nil
	}
	if err := d.a.step(); err != nil {
		return false, err
	}
	return true, d.b.step()
}

// same reports whether two entries of one path are equal; if noise, but for what [DiffOptions.IgnoreNoise] names.
func same(a, b *format.Entry, noise bool) bool {
	if !noise && (a.ChangeTime != b.ChangeTime || a.BirthTime != b.BirthTime || a.Inode != b.Inode) {
		return false
	}
	return a.Kind == b.Kind && a.Mode == b.Mode && a.ModTime == b.ModTime && a.LinkGroup == b.LinkGroup &&
		a.Size == b.Size && a.Target == b.Target && a.Device == b.Device && a.Attributes == b.Attributes &&
		(a.Owner == b.Owner || (a.Owner != nil && b.Owner != nil && *a.Owner == *b.Owner)) &&
		slices.EqualFunc(a.Xattrs, b.Xattrs, func(x, y format.Xattr) bool {
			return x.Name == y.Name && bytes.Equal(x.Value, y.Value)
		}) &&
		a.Content.Root == b.Content.Root && a.Content.Level == b.Content.Level &&
		slices.Equal(a.Content.Refs, b.Content.Refs)
}
