package localfs

import (
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/carekeep/carekeep/internal/format"
)

// Out is a regular file being restored. ReadAt, WriteAt and Hole may be called by several goroutines at
// once, for different parts; Finish or Abort comes last, from any goroutine, also after the Target has gone
// on to other folders. Any number may be open.
type Out struct {
	t       *Target
	l       *level
	name    string
	path    string
	f       *handle
	created bool
	present format.Entry // as opened
	x       extra
	mode    uint32 // at present
	size    atomic.Int64
	soften  sync.Once
	dirty   atomic.Bool // the content may have changed, and so its time
	done    atomic.Bool
}

// File opens the file for the entry e, or makes it. An existing file is used only if it is a regular file
// with one name that can be opened for writing; anything else is removed and made anew. Nothing of an
// existing file changes before the first call of WriteAt, Hole, Truncate or Finish.
func (t *Target) File(e *format.Entry) (*Out, error) {
	if e.Kind != format.File {
		return nil, problem("file", e.Path, ErrKind)
	}
	parent, name, err := t.enter(e.Path)
	if err != nil {
		return nil, err
	}
	o := &Out{t: t, l: parent, name: name, path: e.Path}
	known := parent.listing != nil && parent.listing.has(name)
	err = t.place("create", parent, name, e, func() error {
		if known { // then it is likely still there, which saves an attempt
			known = false
			if err := o.reuse(e); err != fs.ErrExist {
				return err
			}
		}
		err := o.create(e)
		if !errors.Is(err, fs.ErrExist) || !t.exact(parent, name) {
			return err
		}
		return o.reuse(e)
	})
	if err != nil {
		return nil, err
	}
	parent.refs.Add(1)
	return o, nil
}

// createMode is the final mode where nobody gains by that before the owner is right, else 0600.
func (t *Target) createMode(e *format.Entry) uint32 {
	if len(e.Xattrs) > 0 || t.opts.Owners != SkipOwners && e.Owner != nil && (e.Owner.UID != t.who.uid || e.Owner.GID != t.who.gid) {
		return 0o600
	}
	return e.Mode & 0o777
}

func (o *Out) create(e *format.Entry) error {
	f, err := o.l.dir.create(o.name, o.t.createMode(e))
	if err != nil {
		return err
	}
	if o.x, err = f.stat(&o.t.tree, &o.present); err != nil {
		f.close()
		return err
	}
	o.f, o.created, o.mode = f, true, o.present.Mode
	return nil
}

// reuse opens the existing file. It returns fs.ErrExist if it has to be replaced.
func (o *Out) reuse(e *format.Entry) error {
	var now format.Entry
	x, err := o.l.dir.stat(&o.t.tree, o.name, &now)
	if err != nil {
		return fs.ErrExist // gone again, or replaceable
	}
	if now.Kind != format.File || x.nlink > 1 {
		return fs.ErrExist
	}
	if o.t.keeps(e, &now) {
		return ErrKept
	}
	f, err := o.l.dir.openFile(o.name)
	if err != nil {
		return fs.ErrExist
	}
	o.x, err = f.stat(&o.t.tree, &o.present)
	if err != nil || o.present.Kind != format.File || o.x.nlink > 1 || o.present.Inode != now.Inode || o.x.dev != x.dev {
		f.close()
		return fs.ErrExist
	}
	o.f, o.mode = f, o.present.Mode
	o.size.Store(o.present.Size)
	return nil
}

// Existed tells whether the file was there before.
func (o *Out) Existed() bool { return !o.created }

// Entry describes the file as it was found or made, without Path, owner names and attributes.
func (o *Out) Entry() *format.Entry { return &o.present }

// ReadAt reads what the file holds now, like io.ReaderAt.
func (o *Out) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.f.readAt(p, off)
	return n, ioProblem("read", o.path, err)
}

// WriteAt writes, like io.WriterAt.
func (o *Out) WriteAt(p []byte, off int64) (int, error) {
	o.changing()
	n, err := o.f.writeAt(p, off)
	o.grown(off + int64(n))
	return n, problem("write", o.path, err)
}

func (o *Out) grown(to int64) {
	for {
		size := o.size.Load()
		if to <= size || o.size.CompareAndSwap(size, to) {
			return
		}
	}
}

// changing takes setuid and setgid, and access that the snapshot's file may not give, from an existing file
// before new content comes into it.
func (o *Out) changing() {
	if o.created {
		return
	}
	o.soften.Do(func() {
		o.dirty.Store(true)
		if mode := o.mode & 0o700; mode != o.mode && o.f.node().chmod(mode) == nil {
			o.mode = mode
		}
	})
}

// Hole makes n bytes at off read as zeros, without space on the disk where the file system can do that. What was
// never written in a new file is a hole already, which costs nothing.
func (o *Out) Hole(off, n int64) error {
	if n <= 0 {
		return nil
	}
	if off >= o.size.Load() {
		o.f.sparse()
		return nil
	}
	o.changing()
	n = min(n, o.size.Load()-off)
	return problem("write", o.path, o.f.punch(off, n))
}

// Truncate sets the size in bytes. What is added is a hole. Finish sets the entry's size by itself.
func (o *Out) Truncate(size int64) error {
	o.changing()
	if err := o.f.truncate(size); err != nil {
		return problem("truncate", o.path, err)
	}
	o.size.Store(size)
	return nil
}

// Finish sets the size and all attributes of e, in the order that keeps each of them, and closes the file. An error
// means that the content may not be right; lost attributes are reported as TargetOptions.Report says.
func (o *Out) Finish(e *format.Entry) error {
	if o.done.Swap(true) {
		return problem("finish", o.path, ErrClosed)
	}
	defer o.t.release(o.l)
	if e.Size != o.size.Load() {
		o.changing()
		if err := o.f.truncate(e.Size); err != nil {
			o.f.close()
			return problem("truncate", o.path, err)
		}
	}
	now := o.present
	now.Mode = o.mode
	if o.created || o.dirty.Load() {
		now.ModTime = format.Time{}
	}
	n := o.f.node()
	n.at(o.l.dir, o.name)
	o.t.apply(n, o.path, e, &now, &o.x, o.created && !o.l.inherit)
	return problem("close", o.path, o.f.close())
}

// Abort closes the file, and removes it if it was not there before. An existing file that was changed stays as
// it is then: part old, part new, and open to its owner only.
func (o *Out) Abort() error {
	if o.done.Swap(true) {
		return problem("abort", o.path, ErrClosed)
	}
	defer o.t.release(o.l)
	var err error
	if o.created {
		err = o.l.dir.removeSame(&o.t.tree, o.name, o.present.Inode, o.x.dev)
	}
	if cerr := o.f.close(); err == nil {
		err = cerr
	}
	return problem("abort", o.path, err)
}
