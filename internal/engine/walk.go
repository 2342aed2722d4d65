package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/host"
	"github.com/carekeep/carekeep/internal/source"
)

// Reasons why something is missing from a snapshot; frozen numbers.
const (
	ReasonUnreadable byte = 1 // it could not be read
	ReasonVanished   byte = 2 // it was gone when it was to be read
	ReasonChanged    byte = 3 // it changed while it was read: what is kept may mix old and new
	ReasonRefused    byte = 4 // a snapshot cannot hold it
	ReasonAttributes byte = 5 // kept, but without some of its attributes
)

// item is one name met by the walk, on its way to the spool in the order of the walk.
type item struct {
	rec     host.Record
	carried bool // as it was in the previous snapshot
	skip    bool // nothing of it is kept
	done    chan struct{}
	folder  *openFolder // of a file to be read
	name    string
	before  *host.Record // the file as last recorded, if it was
	same    *item        // an earlier name of this file
	problem *format.Problem
}

// openFolder is a folder that stays open until the walk has left it and every file in it was read, as do
// the folders above it.
type openFolder struct {
	dir  source.Folder
	up   *openFolder // nil for the root
	refs atomic.Int32
}

func newOpenFolder(dir source.Folder, up *openFolder) *openFolder {
	o := &openFolder{dir: dir, up: up}
	o.refs.Store(1)
	if up != nil {
		up.hold()
	}
	return o
}

func (o *openFolder) hold() { o.refs.Add(1) }

func (o *openFolder) release() {
	if o.refs.Add(-1) == 0 {
		o.dir.Close()
		if o.up != nil {
			o.up.release()
		}
	}
}

// walker goes through a source and compares it with what earlier runs recorded.
type walker struct {
	b       *backup
	out     chan<- *item  // everything, in order
	jobs    chan<- *item  // files to be read
	earlier []*recordFeed // sorted streams of earlier records, the one to prefer first
	links   map[uint64]*item
}

func (w *walker) run(ctx context.Context, src source.Source) error {
	root, e, err := src.Open(ctx)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	f := newOpenFolder(root, nil)
	defer f.release()
	e.Path = "."
	it := &item{rec: host.Record{Entry: *e, Fresh: true}}
	if err := w.entry(ctx, it, f, "."); err != nil {
		return err
	}
	return w.folder(ctx, f, "")
}

func (w *walker) folder(ctx context.Context, f *openFolder, prefix string) error {
	names, err := f.dir.Names(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return w.lost(ctx, strings.TrimSuffix(prefix, "/"), reasonOf(err), err)
	}
	for i := range names.Len() {
		name := names.At(i)
		path := prefix + name
		if w.b.excluded(path) {
			continue
		}
		if err := w.name(ctx, f, name, path); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) name(ctx context.Context, f *openFolder, name, path string) error {
	e, err := f.dir.Lstat(name)
	if err != nil {
		return w.lost(ctx, path, reasonOf(err), err)
	}
	e.Path = path
	if !format.ValidPath(path) {
		return w.lost(ctx, path, ReasonRefused, errors.New("the name is too long, or not a name"))
	}
	if e.Kind == format.Dir && w.b.excluded(path+"/") {
		return nil
	}
	it := &item{rec: host.Record{Entry: *e, Fresh: true}, name: name}
	if err := w.entry(ctx, it, f, name); err != nil || e.Kind != format.Dir {
		return err
	}
	sub, err := f.dir.Folder(name)
	if err != nil {
		return w.lost(ctx, path, reasonOf(err), err)
	}
	of := newOpenFolder(sub, f)
	defer of.release()
	return w.folder(ctx, of, path+"/")
}

// entry sends one name on its way: as it was recorded before, if nothing tells of a change.
func (w *walker) entry(ctx context.Context, it *item, f *openFolder, name string) error {
	e := &it.rec.Entry
	before, feed, err := w.recorded(e.Path)
	if err != nil {
		return err
	}
	if before != nil && w.b.unchanged(e, before, feed.started) {
		ok, err := w.b.proven(ctx, before, feed)
		if err != nil {
			return err
		}
		if ok {
			it.rec = *before
			it.carried = !feed.unproven
			w.link(it)
			return w.send(ctx, it)
		}
		before = nil
	}
	if name != "." {
		if err := f.dir.Xattrs(name, e); source.EndsBackup(err) {
			return err
		} else if err != nil {
			it.problem = w.problem(e.Path, ReasonAttributes, err)
		}
	}
	if e.Kind != format.File {
		return w.send(ctx, it)
	}
	if w.link(it); it.same != nil {
		it.done = it.same.done
		return w.send(ctx, it)
	}
	if before != nil && !feed.unproven {
		it.before = before
	}
	it.folder, it.done = f, make(chan struct{})
	f.hold()
	if err := w.send(ctx, it); err != nil {
		f.release()
		return err
	}
	select {
	case w.jobs <- it:
		return nil
	case <-ctx.Done():
		f.release()
		return ctx.Err()
	}
}

// link finds the first name of a file that has several, so that it is read once.
func (w *walker) link(it *item) {
	e := &it.rec.Entry
	if e.Kind != format.File || e.LinkGroup == 0 {
		return
	}
	if first, ok := w.links[e.LinkGroup]; ok {
		it.same = first
		return
	}
	w.links[e.LinkGroup] = it
}

// recorded returns what earlier runs recorded of a path, and where. Paths must come in order.
func (w *walker) recorded(path string) (*host.Record, *recordFeed, error) {
	var found *host.Record
	var from *recordFeed
	for _, feed := range w.earlier {
		r, err := feed.at(path)
		if err != nil {
			return nil, nil, err
		}
		if found == nil && r != nil {
			found, from = r, feed
		}
	}
	return found, from, nil
}

func (w *walker) send(ctx context.Context, it *item) error {
	select {
	case w.out <- it:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lost records that something could not be kept at all.
func (w *walker) lost(ctx context.Context, path string, reason byte, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if source.EndsBackup(err) {
		return err
	}
	return w.send(ctx, &item{skip: true, problem: w.problem(path, reason, err)})
}

func (w *walker) problem(path string, reason byte, err error) *format.Problem {
	return &format.Problem{Path: path, Reason: reason, Detail: bare(err)}
}

// bare is an error's text without a path.
func bare(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		err = no
	}
	s := err.Error()
	return s[:min(len(s), 200)]
}

func reasonOf(err error) byte {
	if errors.Is(err, fs.ErrNotExist) {
		return ReasonVanished
	}
	return ReasonUnreadable
}

// recordFeed walks a sorted stream of records beside the walk of the source.
type recordFeed struct {
	next func(*host.Record) error // host.AtEnd when there are no more
	cur  *host.Record
	end  bool
	// started is when the run began that wrote the records: later changes may have escaped it.
	started time.Time
	// unproven marks the records of a run that was cut off: what they refer to may never have arrived.
	unproven bool
	// removed is how many records were passed that the walk did not ask for.
	removed int
}

// at returns the record of path, or nil.
func (f *recordFeed) at(path string) (*host.Record, error) {
	for {
		if f.cur == nil {
			if f.end {
				return nil, nil
			}
			r := new(host.Record)
			if err := f.next(r); host.AtEnd(err) {
				f.end = true
				return nil, nil
			} else if err != nil {
				return nil, err
			}
			f.cur = r
		}
		switch c := format.ComparePaths(f.cur.Entry.Path, path); {
		case c == 0:
			r := f.cur
			f.cur = nil
			return r, nil
		case c > 0:
			return nil, nil
		}
		f.cur = nil
		f.removed++
	}
}

// rest passes what is left and returns how many records the walk never asked for.
func (f *recordFeed) rest() (int, error) {
	for {
		if f.cur != nil {
			f.removed++
			f.cur = nil
		}
		if f.end {
			return f.removed, nil
		}
		r := new(host.Record)
		if err := f.next(r); host.AtEnd(err) {
			f.end = true
		} else if err != nil {
			return f.removed, err
		} else {
			f.cur = r
		}
	}
}
