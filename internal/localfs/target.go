package localfs

import (
	"errors"
	"io/fs"
	"strings"
	"sync"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
)

// Owners says whose the restored entries shall be.
type Owners int

const (
	// SkipOwners leaves everything with the user who restores. Setuid and setgid are then left out wherever
	// the owner is another than in the snapshot.
	SkipOwners Owners = iota
	// NumericOwners restores the numbers, like tar --numeric-owner. It is right for the same machine, and
	// for a target that is mounted elsewhere, whose names mean nothing here.
	NumericOwners
	// NamedOwners restores the user and the group of the same name, where this machine has it, and the
	// number otherwise, like tar.
	NamedOwners
)

// Overwrite says what happens to files, links and the like that exist already. Folders are always used.
type Overwrite int

const (
	// Replace brings everything to the state of the snapshot.
	Replace Overwrite = iota
	// KeepNewer keeps a regular file that is newer than the snapshot's; ErrKept.
	KeepNewer
	// KeepAll keeps whatever exists; ErrKept.
	KeepAll
)

// TargetOptions changes what is restored. The zero value restores everything but owners and devices, over
// whatever is there.
type TargetOptions struct {
	Owners    Owners
	Devices   bool // make devices
	NoXattrs  bool // leave extended attributes and ACLs alone
	Overwrite Overwrite

	// Report is told, for each attribute, what could not be restored of an entry that was: Op is "owner",
	// "mode", "xattr", "times" or "attributes". What Windows never has, most bits of the mode and times finer than
	// 100 ns, does not count. It is called by several goroutines at once. If nil, Close returns the
	// first 1000 of them, joined.
	Report func(*Problem)
}

const maxLosses = 1000

// Target is a folder into which a snapshot is restored. Entries must come in the order of
// [format.ComparePaths], except that what is not restored may be left out: missing folders are made, with
// mode 0700. The methods are for one goroutine; those of an [Out] are not. An entry passed in may be
// used until Close and must not be changed.
//
// Every error is a *[Problem] for one entry; the next one can go on. A folder's own owner, attributes, times
// and mode are restored after all that is in it.
type Target struct {
	opts    TargetOptions
	who     identity
	tree    tree       // for reading what exists
	stack   []*level   // the open folders from the target itself to the last one used
	refused string     // the folder that could not be restored last; what is in it follows
	link    linkFolder // where the last hard link led

	mu     sync.Mutex
	losses []error
	names  nameCache
}

// OpenTarget opens the folder dir for restoring into; a link at dir itself is followed. If it is missing, it is
// made with mode 0700; its parent must exist.
func OpenTarget(path string, opts TargetOptions) (*Target, error) {
	d, created, err := openTargetDir(path)
	if err != nil {
		return nil, problem("open", path, err)
	}
	t := &Target{opts: opts, who: currentIdentity()}
	root, err := t.newLevel(".", d, created, true)
	if err != nil {
		d.close()
		return nil, err
	}
	t.stack = []*level{root}
	return t, nil
}

// Folder restores a folder: it opens it, or makes it if it is missing. A link or file in its place is
// removed. "." stands for the target itself.
func (t *Target) Folder(e *format.Entry) error {
	if e.Kind != format.Dir {
		return problem("folder", e.Path, ErrKind)
	}
	if e.Path == "." {
		if err := t.check(e.Path); err != nil {
			return err
		}
		t.leaveTo(0)
		t.stack[0].know(e)
		return nil
	}
	parent, name, err := t.enter(e.Path)
	if err != nil {
		return err
	}
	l, err := t.openFolder(parent, name, e.Path)
	if err != nil {
		t.refused = e.Path
		return err
	}
	l.know(e)
	t.stack = append(t.stack, l)
	return nil
}

// check refuses a path that is not for this target.
func (t *Target) check(path string) error {
	if len(t.stack) == 0 {
		return problem("restore", path, ErrClosed)
	}
	if !format.ValidPath(path) || !systemPath(path) {
		return problem("restore", path, ErrName)
	}
	if t.refused != "" {
		if below(path, t.refused) {
			return problem("restore", path, ErrParent)
		}
		t.refused = ""
	}
	return nil
}

// below tells whether path lies in the folder dir.
func below(path, dir string) bool {
	return dir == "." || len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}

// clear removes what stands where an entry belongs, if the policy allows.
func (t *Target) clear(parent *level, name string, e *format.Entry) error {
	var now format.Entry
	_, err := parent.dir.stat(&t.tree, name, &now)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return problem("stat", e.Path, err)
	}
	if t.keeps(e, &now) {
		return problem("restore", e.Path, ErrKept)
	}
	err = parent.dir.remove(name, now.Kind == format.Dir)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	case isNotEmpty(err):
		err = ErrInTheWay
	}
	return problem("remove", e.Path, err)
}

func (t *Target) keeps(e, now *format.Entry) bool {
	switch t.opts.Overwrite {
	case KeepAll:
		return true
	case KeepNewer:
		a, b := now.ModTime, e.ModTime
		return now.Kind == format.File && (a.Sec > b.Sec || a.Sec == b.Sec && a.Nsec > b.Nsec)
	}
	return false
}

// place calls create until nothing is in its way.
func (t *Target) place(op string, parent *level, name string, e *format.Entry, create func() error) error {
	for range attempts {
		err := create()
		if !errors.Is(err, fs.ErrExist) {
			return asProblem(op, e.Path, err)
		}
		if !t.exact(parent, name) {
			return problem(op, e.Path, ErrCollision)
		}
		if err := t.clear(parent, name, e); err != nil {
			return err
		}
	}
	return problem(op, e.Path, ErrUnstable)
}

// Symlink restores a symbolic link, whose target is not looked at.
func (t *Target) Symlink(e *format.Entry) error {
	if e.Kind != format.Symlink {
		return problem("symlink", e.Path, ErrKind)
	}
	parent, name, err := t.enter(e.Path)
	if err != nil {
		return err
	}
	if e.Target == "" || strings.IndexByte(e.Target, 0) >= 0 {
		return problem("symlink", e.Path, ErrName)
	}
	err = t.place("symlink", parent, name, e, func() error { return parent.dir.symlink(e.Target, name, e.Attributes) })
	if err != nil {
		return err
	}
	return t.dress(parent, name, e)
}

// Special restores a FIFO, or a device if TargetOptions.Devices says so. Sockets are an error, [ErrSocket].
func (t *Target) Special(e *format.Entry) error {
	switch e.Kind {
	case format.FIFO:
	case format.Socket:
		return problem("special", e.Path, ErrSocket)
	case format.CharDevice, format.BlockDevice:
		if !t.opts.Devices {
			return problem("special", e.Path, ErrDevice)
		}
	default:
		return problem("special", e.Path, ErrKind)
	}
	parent, name, err := t.enter(e.Path)
	if err != nil {
		return err
	}
	err = t.place("special", parent, name, e, func() error { return parent.dir.special(name, e.Kind, e.Device) })
	if err != nil {
		return err
	}
	return t.dress(parent, name, e)
}

// dress gives attributes to what was just made.
func (t *Target) dress(parent *level, name string, e *format.Entry) error {
	n, err := parent.dir.openNode(name, e.Kind)
	if err != nil {
		return problem("restore", e.Path, err)
	}
	defer n.close()
	var now format.Entry
	x, err := n.stat(&t.tree, &now)
	if err == nil && (now.Kind != e.Kind || x.nlink > 1) {
		err = ErrUnstable // somebody put another thing there
	}
	if err != nil {
		return problem("restore", e.Path, err)
	}
	t.apply(n, e.Path, e, &now, &x, !parent.inherit)
	return nil
}

// linkFolder is an open folder that hard links lead to.
type linkFolder struct {
	path string
	dir  *dir
}

// Link makes e a further name of the file at the path to, which was restored before; the attributes are
// that file's. A file system without hard links says so by an error; the engine may then restore a copy.
func (t *Target) Link(e *format.Entry, to string) error {
	if to == "." || !format.ValidPath(to) || !systemPath(to) {
		return problem("link", e.Path, ErrName)
	}
	parent, name, err := t.enter(e.Path)
	if err != nil {
		return err
	}
	from, base, err := t.walk(to)
	if err != nil {
		return problem("link", e.Path, err)
	}
	return t.place("link", parent, name, e, func() error {
		err := parent.dir.link(from, base, name)
		if errors.Is(err, fs.ErrExist) && t.exact(parent, name) && t.same(from, base, parent.dir, name) {
			return nil
		}
		return err
	})
}

func (t *Target) same(a *dir, aName string, b *dir, bName string) bool {
	var one, two format.Entry
	x, err := a.stat(&t.tree, aName, &one)
	y, err2 := b.stat(&t.tree, bName, &two)
	return err == nil && err2 == nil && x.dev == y.dev && one.Inode == two.Inode && one.Kind == format.File
}

// walk opens the folder of a path, which the Target keeps open.
func (t *Target) walk(path string) (*dir, string, error) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return t.stack[0].dir, path, nil
	}
	folder, base := path[:i], path[i+1:]
	start := t.stack[0]
	for _, l := range t.stack[1:] {
		if l.path == folder {
			return l.dir, base, nil
		}
		if below(folder, l.path) {
			start = l
		}
	}
	if t.link.dir != nil && t.link.path == folder {
		return t.link.dir, base, nil
	}
	rest := folder
	if start.path != "." {
		rest = folder[len(start.path)+1:]
	}
	at := start.dir
	for name := range strings.SplitSeq(rest, "/") {
		next, err := at.openPath(name)
		if at != start.dir {
			at.close()
		}
		if err != nil {
			return nil, "", err
		}
		at = next
	}
	t.closeLink()
	t.link = linkFolder{folder, at}
	return at, base, nil
}

func (t *Target) closeLink() {
	if t.link.dir != nil {
		t.link.dir.close()
	}
	t.link = linkFolder{}
}

// Names returns the names that a folder of the target holds now, sorted bytewise; "." is the target itself.
func (t *Target) Names(path string) (source.Names, error) {
	if err := t.check(path); err != nil {
		return nil, err
	}
	d := t.stack[0].dir
	if path != "." {
		parent, base, err := t.walk(path)
		if err == nil {
			d, err = parent.openDir(base)
		}
		if err != nil {
			return nil, problem("list", path, err)
		}
		defer d.close()
	}
	names, err := d.names(&t.tree)
	if err != nil {
		return nil, problem("list", path, err)
	}
	return names, nil
}

// Close gives the folders that are still open their attributes. Every Out must have been finished. It
// returns what was lost if TargetOptions.Report is nil.
func (t *Target) Close() error {
	if len(t.stack) == 0 {
		return problem("close", "", ErrClosed)
	}
	t.closeLink()
	t.leaveTo(0)
	root := t.stack[0]
	t.stack = nil
	t.release(root)
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.losses...)
}

// lose reports an attribute that could not be restored.
func (t *Target) lose(path, op, detail string, err error) {
	p := &Problem{Path: path, Op: op, Detail: detail, Err: err}
	if t.opts.Report != nil {
		t.opts.Report(p)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.losses) < maxLosses {
		t.losses = append(t.losses, p)
	}
}

func (t *Target) loseErr(path, op string, err error) {
	if err != nil {
		t.lose(path, op, "", err)
	}
}
