package localfs

import (
	"errors"
	"io/fs"
	"strings"
	"sync/atomic"

	"github.com/carekeep/carekeep/internal/format"
)

// level is one open folder of the target.
type level struct {
	path    string
	dir     *dir
	created bool
	known   bool         // Folder was called for it
	entry   format.Entry // what to make of it when it is left, if known; else how it was found
	inherit bool         // has a default ACL, which new entries inherit
	refs    atomic.Int32 // one for the stack and one for each Out in it
	listing *list
	lists   int // how often listed
}

func (t *Target) newLevel(path string, d *dir, created, inherit bool) (*level, error) {
	l := &level{path: path, dir: d, created: created}
	l.refs.Store(1)
	if !created {
		x, err := d.stat(&t.tree, "", &l.entry)
		if err != nil {
			return nil, problem("stat", path, err)
		}
		if l.entry.Mode&0o700 != 0o700 && x.uid == t.who.uid && t.who.uid != 0 {
			// We need full access to our own folder until it is left. A failure shows in what comes next.
			_ = d.node().chmod(l.entry.Mode | 0o700)
		}
	}
	if inherit || !created {
		l.inherit = d.hasDefaultACL()
	}
	if created && l.inherit && !t.opts.NoXattrs {
		l.inherit = d.dropACLs() != nil
	}
	return l, nil
}

func (l *level) know(e *format.Entry) { l.entry, l.known = *e, true }

// enter makes the folder of path the top of the stack, leaving others and making missing ones on the way.
func (t *Target) enter(path string) (*level, string, error) {
	if err := t.check(path); err != nil {
		return nil, "", err
	}
	if path == "." {
		return nil, "", problem("restore", path, ErrName)
	}
	n := len(t.stack)
	for n > 1 && !below(path, t.stack[n-1].path) {
		n--
	}
	t.leaveTo(n - 1)
	top := t.stack[n-1]
	for {
		rest := path
		if top.path != "." {
			rest = path[len(top.path)+1:]
		}
		name, _, more := strings.Cut(rest, "/")
		if !more {
			return top, name, nil
		}
		sub := path[:len(path)-len(rest)+len(name)]
		l, err := t.openFolder(top, name, sub)
		if err != nil {
			t.refused = sub
			return nil, "", err
		}
		t.stack = append(t.stack, l)
		top = l
	}
}

// leaveTo leaves all folders above the n-th of the stack.
func (t *Target) leaveTo(n int) {
	for len(t.stack) > n+1 {
		last := len(t.stack) - 1
		t.release(t.stack[last])
		t.stack[last] = nil
		t.stack = t.stack[:last]
	}
}

// release gives a folder its own attributes when nothing in it is being worked on any more.
func (t *Target) release(l *level) {
	if l.refs.Add(-1) > 0 {
		return
	}
	defer l.dir.close()
	var now format.Entry
	x, err := l.dir.stat(&t.tree, "", &now)
	if err != nil {
		t.lose(l.path, "mode", "", err)
		return
	}
	n := l.dir.node()
	switch {
	case l.known:
		t.apply(n, l.path, &l.entry, &now, &x, l.created && !l.inherit)
	case !l.created: // it was only passed through
		if now.Mode != l.entry.Mode {
			t.loseErr(l.path, "mode", n.chmod(l.entry.Mode))
		}
	}
}

const attempts = 8 // against somebody who changes the target meanwhile

// openFolder opens or makes a folder.
func (t *Target) openFolder(parent *level, name, path string) (*level, error) {
	for range attempts {
		err := parent.dir.mkdir(name, 0o700)
		created := err == nil
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, problem("mkdir", path, err)
		}
		if !created && !t.exact(parent, name) {
			return nil, problem("mkdir", path, ErrCollision)
		}
		d, err := parent.dir.openDir(name)
		if errors.Is(err, fs.ErrPermission) && !created {
			return t.openClosed(parent, name, path)
		}
		switch {
		case err == nil:
			return t.pushable(path, d, created, parent.inherit)
		case errors.Is(err, fs.ErrNotExist):
			continue
		case !errors.Is(err, ErrKind):
			return nil, problem("open", path, err)
		case t.opts.Overwrite == KeepAll:
			return nil, problem("mkdir", path, ErrKept)
		}
		if err := parent.dir.remove(name, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, problem("remove", path, err)
		}
	}
	return nil, problem("mkdir", path, ErrUnstable)
}

// pushable makes the level of a folder just opened.
func (t *Target) pushable(path string, d *dir, created, inherit bool) (*level, error) {
	l, err := t.newLevel(path, d, created, inherit)
	if err != nil {
		d.close()
	}
	return l, err
}

// openClosed opens a folder of our own that lets nobody in, as an earlier restore may have left it.
func (t *Target) openClosed(parent *level, name, path string) (*level, error) {
	var before format.Entry
	_, err := parent.dir.stat(&t.tree, name, &before)
	if err == nil {
		err = parent.dir.makeUsable(name)
	}
	if err != nil {
		return nil, problem("open", path, err)
	}
	d, err := parent.dir.openDir(name)
	if err != nil {
		return nil, problem("open", path, err)
	}
	l, err := t.pushable(path, d, false, parent.inherit)
	if err == nil {
		l.entry.Mode = before.Mode
	}
	return l, err
}

const maxLists = 16 // per folder: hostile names must not make us list a large folder again and again

// exact tells whether the folder holds this very name, after the system said that it exists. On a file system
// that ignores case, or makes short names, it may be another entry's.
func (t *Target) exact(l *level, name string) bool {
	if l.listing != nil && l.listing.has(name) {
		return true
	}
	if l.lists == maxLists {
		return false
	}
	l.lists++
	names, err := l.dir.names(&t.tree)
	if err != nil {
		return false
	}
	l.listing = names
	return names.has(name)
}
