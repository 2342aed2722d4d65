package engine

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/localfs"
)

// walkBatch is how many entries go from the walk to the goroutine that opens files at once.
const walkBatch = 64

// restoreLinks bounds the later names that wait for the first one's content.
const restoreLinks = 4096

// walk sends all chosen entries in their order. It runs ahead of the files, so that reading the tree takes no time of
// its own.
func (x *restore) walk(ctx context.Context, out chan<- []format.Entry) error {
	var batch []format.Entry
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		select {
		case out <- batch:
			batch = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	take := func(e *format.Entry) error {
		if batch == nil {
			batch = make([]format.Entry, 0, walkBatch)
		}
		if batch = append(batch, *e); len(batch) == walkBatch {
			return send()
		}
		return nil
	}
	err := x.chosen(ctx, take)
	return errors.Join(err, send())
}

// chosen calls take with the chosen entries and the folders that lead to them.
func (x *restore) chosen(ctx context.Context, take func(*format.Entry) error) error {
	t := x.s.Tree()
	paths := choose(x.o.Paths)
	if paths == nil {
		for e, err := range t.Walk(ctx, ".") {
			if err == nil {
				err = take(e)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	last := "." // the folder that was led to last
	for _, path := range paths {
		_, err := t.Lookup(ctx, path)
		if errors.Is(err, fs.ErrNotExist) {
			x.missing = append(x.missing, path)
			continue
		}
		if err != nil {
			return err
		}
		for i := range len(path) {
			if path[i] != '/' || last == path[:i] || within(path[:i], last) {
				continue
			}
			e, err := t.Lookup(ctx, path[:i])
			if err == nil {
				err = take(e)
			}
			if err != nil {
				return err
			}
		}
		last = folderOf(path)
		for e, err := range t.Subtree(ctx, path) {
			if err == nil {
				err = take(e)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// choose sorts paths as a walk meets them, without those that lie in others; nil for everything.
func choose(paths []string) []string {
	if len(paths) == 0 || slices.Contains(paths, ".") {
		return nil
	}
	paths = slices.Clone(paths)
	slices.SortFunc(paths, format.ComparePaths)
	out := paths[:0]
	for _, p := range paths {
		if n := len(out); n > 0 && (out[n-1] == p || strings.HasPrefix(p, out[n-1]+"/")) {
			continue
		}
		out = append(out, p)
	}
	return out
}

// within reports whether the folder dir is above path.
func within(dir, path string) bool { return strings.HasPrefix(path, dir+"/") }

// folderOf is the folder that path is in.
func folderOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return "."
}

// make makes what the entries say, and hands on the files for their content.
func (x *restore) make(ctx context.Context, in <-chan []format.Entry) error {
	for batch := range in {
		for i := range batch {
			if err := x.entry(ctx, &batch[i]); err != nil {
				return err
			}
		}
	}
	if err := x.makeLinks(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

func (x *restore) entry(ctx context.Context, e *format.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(x.links) > 0 && (folderOf(e.Path) != folderOf(x.links[0].Path) || len(x.links) == restoreLinks) {
		if err := x.makeLinks(ctx); err != nil {
			return err
		}
	}
	switch e.Kind {
	case format.Dir:
		return x.place(ctx, e, &x.res.Folders, x.target.Folder)
	case format.File:
		return x.name(ctx, e)
	case format.Symlink:
		return x.place(ctx, e, &x.res.Others, x.target.Symlink)
	default:
		return x.place(ctx, e, &x.res.Others, x.target.Special)
	}
}

// place makes one entry and counts it. Only what ends the run is an error.
func (x *restore) place(ctx context.Context, e *format.Entry, count *int64, do func(*format.Entry) error) error {
	err := do(e)
	if isTooManyOpen(err) {
		// This process has no room for as many files as we would open: let those at hand end first.
		if err := x.await(ctx, func() bool { return len(x.open) == 0 }); err != nil {
			return err
		}
		err = do(e)
	}
	if fatal := targetFull(err); fatal != nil {
		return fatal
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case err == nil:
		*count++
	case errors.Is(err, localfs.ErrKept):
		x.res.Kept++
	case errors.Is(err, localfs.ErrSocket), errors.Is(err, localfs.ErrDevice):
		x.res.LeftOut++
	default:
		x.res.addProblem(asEntryProblem("restore", e.Path, err))
	}
	return nil
}

// name restores one name of a file: its content if it is the first, else a link to that.
func (x *restore) name(ctx context.Context, e *format.Entry) error {
	if e.LinkGroup == 0 {
		return x.file(ctx, e, nil)
	}
	first := x.groups[e.LinkGroup]
	if first == nil {
		return x.firstName(ctx, e)
	}
	x.mu.Lock()
	state := first.state
	x.mu.Unlock()
	if state == linkOpen {
		x.links = append(x.links, e)
		return nil
	}
	return x.laterName(ctx, e, first, state)
}

// firstName restores the content of a file of several names.
func (x *restore) firstName(ctx context.Context, e *format.Entry) error {
	var link *linkName
	if len(x.groups) < restoreGroups || x.groups[e.LinkGroup] != nil {
		link = &linkName{path: e.Path}
		x.groups[e.LinkGroup] = link
	}
	return x.file(ctx, e, link)
}

// makeLinks links the names that waited for the content of the first.
func (x *restore) makeLinks(ctx context.Context) error {
	links := x.links
	x.links = nil
	for _, e := range links {
		first := x.groups[e.LinkGroup]
		var state linkState
		err := x.await(ctx, func() bool { state = first.state; return state != linkOpen })
		if err != nil {
			return err
		}
		if err := x.laterName(ctx, e, first, state); err != nil {
			return err
		}
	}
	return nil
}

// laterName links e to the first name. Where that cannot be, it gets the content itself.
func (x *restore) laterName(ctx context.Context, e *format.Entry, first *linkName, state linkState) error {
	if state == linkBad {
		return x.firstName(ctx, e)
	}
	err := x.target.Link(e, first.path)
	if fatal := targetFull(err); fatal != nil {
		return fatal
	}
	if err != nil && !errors.Is(err, localfs.ErrKept) {
		return x.firstName(ctx, e)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err != nil {
		x.res.Kept++
		return nil
	}
	x.res.Files++
	x.res.Bytes += e.Size
	x.op.Add(1, e.Size)
	return nil
}

// file opens a file and hands it on for its content.
func (x *restore) file(ctx context.Context, e *format.Entry, link *linkName) error {
	if err := x.await(ctx, func() bool { return len(x.open) < restoreOpen }); err != nil {
		return err
	}
	f := &restoreFile{entry: e, link: link}
	f.pending.Store(1)
	var opened int64
	err := x.place(ctx, e, &opened, func(e *format.Entry) (err error) {
		f.out, err = x.target.File(e)
		return err
	})
	if err != nil {
		return err
	}
	x.mu.Lock()
	if opened == 0 {
		if link != nil {
			link.state = linkBad
		}
		x.mu.Unlock()
		return nil
	}
	x.open[f] = struct{}{}
	x.mu.Unlock()
	select {
	case x.tasks <- f:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
