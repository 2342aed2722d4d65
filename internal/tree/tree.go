// Package tree keeps a snapshot's entries, and the references of a long file, as trees of nodes that are
// named by their content.
//
// A snapshot is one stream of entries in the order of [format.ComparePaths]: a folder, everything below
// it, its next sibling. [Builder] cuts the stream into leaves and stacks inner nodes on them until one
// node is left, the root. Where a node ends depends on the entries near the border alone, so two snapshots
// share every node that holds the same entries: an unchanged run stores no node, and a changed file costs
// one node per level. [Tree] reads: one path, one folder, or everything, with one node per level in
// memory. [Diff] compares two trees and skips what they share.
//
// [ListBuilder] and [Reader] do the same for the references of a file that are too many for its entry.
//
// Nothing here trusts what it reads. A node that contradicts its parent, that is out of order or of the
// wrong level gives an error that wraps [format.ErrMalformed]; the work is bounded by what is stored.
package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/carekeep/carekeep/internal/format"
)

// Saver stores nodes.
type Saver interface {
	// SaveNode stores a node and returns its id, which depends on the plaintext alone. It copies what it
	// keeps of plaintext, and need not store a node that it has stored before.
	SaveNode(ctx context.Context, plaintext []byte) (format.ID, error)
}

// Loader loads nodes. It is used by several goroutines when its tree is.
type Loader interface {
	// LoadNode returns the size bytes of the node id and has verified that they are that node's. The
	// caller only reads them. A tree asks for the same node again and again: the loader caches.
	LoadNode(ctx context.Context, id format.ID, size uint32) ([]byte, error)
}

// ErrRefused is wrapped by the errors of Add that concern the argument and not the store: it would give a
// tree that no reader accepts. The builder is as it was, and the caller may go on without it.
var ErrRefused = errors.New("it cannot stand in a snapshot")

// ErrNotFolder is wrapped when the children of something that is not a folder are asked for.
var ErrNotFolder = errors.New("it is not a folder")

var errAbsent = fmt.Errorf("the snapshot has no entry of that path: %w", fs.ErrNotExist)

func refused(why string) error { return fmt.Errorf("%s: %w", why, ErrRefused) }

// malformed says what is wrong with a tree that was read. It never names a path.
func malformed(what string) error { return fmt.Errorf("%s: %w", what, format.ErrMalformed) }

// Tree is a stored tree of entries. It keeps no state: several goroutines may use it at once if its
// Loader allows.
//
// The entries that its iterators give out are overwritten by the next step of the iteration. Nothing that
// an entry refers to is: a copy of the struct (kept := *e) may be kept for good.
type Tree struct {
	Root   format.Child // its First is not used
	Level  uint8        // of the root: 0 is a leaf
	Loader Loader
}

// Lookup returns the entry of path, which is the caller's to keep. It loads one node per level. If there
// is none, the error wraps fs.ErrNotExist.
func (t *Tree) Lookup(ctx context.Context, path string) (*format.Entry, error) {
	c, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	e, err := c.seek(ctx, start(path))
	if err != nil {
		return nil, err
	}
	if e == nil || e.Path != path {
		return nil, errAbsent
	}
	found := *e // without the cursor and its nodes
	return &found, nil
}

// start is the place where a walk from path begins: the empty path is before everything.
func start(path string) string {
	if path == "" {
		return "."
	}
	return path
}

// past is the place behind path and everything below it: no path holds a NUL, and after the slash that
// sorts first NUL is the smallest byte. It is not for the root, behind which there is nothing.
func past(path string) string { return path + "\x00" }

// below reports whether path lies in the folder dir, at any depth.
func below(dir, path string) bool {
	if dir == "." {
		return path != "."
	}
	return len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}

// parent returns the folder that path is in. The root is in none: "".
func parent(path string) string {
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

// lineage knows which folders are open at one place of a stream of entries: dir and all above it. The
// zero lineage is that of the stream's beginning.
type lineage struct{ dir string }

// step goes on to the entry of path and kind, and reports false if the folder that it is in has not come
// before. Since a folder's entries follow it in one run, only the open folders can hold the next entry.
func (l *lineage) step(path string, kind format.Kind) bool {
	up := parent(path)
	if up != "" && (l.dir == "" || (up != l.dir && !below(up, l.dir))) {
		return false
	}
	if l.dir = up; kind == format.Dir {
		l.dir = path
	}
	return true
}
