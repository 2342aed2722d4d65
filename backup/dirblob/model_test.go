package dirblob

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// errPower is what every call gets after the power went.
var errPower = errors.New("the power is out")

// model is a file system in memory that knows what is on the disk and what is
// only in the cache. It promises as little as POSIX does: bytes are on the disk
// after an fsync of the file, an entry after an fsync of the folder, and
// everything else may be there or not, in any combination.
type model struct {
	mu    sync.Mutex
	root  *inode
	calls int
	limit int // the power goes after so many calls; negative: never
	clock time.Time
}

type inode struct {
	folder bool
	mod    time.Time

	data  []byte   // as programs see it
	disk  []byte   // as after the last fsync
	cache []extent // written since, oldest first

	kids     map[string]*inode
	diskKids map[string]*inode
	changes  map[string][]*inode // of an entry since the last fsync; nil is a removal
	removed  bool                // the latest change of an entry was a removal
}

type extent struct {
	off  int
	data []byte
}

func newModel() *model {
	return &model{root: newFolder(), limit: -1, clock: time.Unix(1_800_000_000, 0)}
}

func newFolder() *inode {
	return &inode{folder: true, kids: map[string]*inode{}, diskKids: map[string]*inode{}, changes: map[string][]*inode{}}
}

// crash returns a new file system with what a power cut leaves. The dice decide on
// everything that was not flushed: each entry keeps the state on the disk or any later one; each
// write is kept, dropped or torn.
func (m *model) crash(dice *rand.Rand) *model {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := newModel()
	n.clock = m.clock.Add(time.Minute)
	keep := []float64{0, 0.5, 0.9}[dice.IntN(3)]
	n.root = m.root.survive(dice, keep, map[*inode]*inode{})
	return n
}

func (in *inode) survive(dice *rand.Rand, keep float64, done map[*inode]*inode) *inode {
	if out := done[in]; out != nil {
		return out
	}
	out := &inode{folder: in.folder, mod: in.mod}
	done[in] = out
	if !in.folder {
		out.data = slices.Clone(in.disk)
		for _, e := range in.cache {
			if dice.Float64() < keep {
				out.data = overlay(out.data, e.off, e.data[:dice.IntN(len(e.data)+1)])
			}
		}
		out.disk = out.data
		return out
	}
	kids := maps.Clone(in.diskKids)
	for _, name := range slices.Sorted(maps.Keys(in.changes)) {
		if dice.Float64() >= keep {
			continue
		}
		states := in.changes[name]
		if kid := states[dice.IntN(len(states))]; kid != nil {
			kids[name] = kid
		} else {
			delete(kids, name)
		}
	}
	out.kids, out.changes = map[string]*inode{}, map[string][]*inode{}
	for _, name := range slices.Sorted(maps.Keys(kids)) {
		out.kids[name] = kids[name].survive(dice, keep, done)
	}
	out.diskKids = maps.Clone(out.kids)
	return out
}

func overlay(data []byte, off int, p []byte) []byte {
	if grow := off + len(p) - len(data); grow > 0 {
		data = append(data, make([]byte, grow)...)
	}
	copy(data[off:], p)
	return data
}

func (in *inode) set(name string, kid *inode) {
	in.removed = kid == nil
	if kid == nil {
		delete(in.kids, name)
	} else {
		in.kids[name] = kid
	}
	in.changes[name] = append(in.changes[name], kid)
}

func (in *inode) flush() {
	if !in.folder {
		in.disk, in.cache = slices.Clone(in.data), nil
		return
	}
	in.diskKids, in.changes = maps.Clone(in.kids), map[string][]*inode{}
}

// flushCall describes an fsync, for a test that leaves it out.
type flushCall struct {
	file    bool
	path    string
	removed bool // folders: the latest change was a removal
}

// view is a process that uses a model; it implements vfs.
type view struct {
	*model
	skip  func(flushCall) bool          // which fsyncs to leave out
	fault func(call, path string) error // which calls to fail
	vague bool                          // as Windows, which has one error where POSIX has two; see notFound
}

// begin counts a call and locks the model, unless the call fails.
func (v *view) begin(call, path string) error {
	if v.fault != nil {
		if err := v.fault(call, modelPath(path)); err != nil {
			return &fs.PathError{Op: call, Path: path, Err: err}
		}
	}
	v.mu.Lock()
	if v.limit >= 0 && v.calls >= v.limit {
		v.mu.Unlock()
		return errPower
	}
	v.calls++
	v.clock = v.clock.Add(time.Millisecond)
	return nil
}

// modelPath is the path without what Windows adds: the model has no drives, and slashes only.
func modelPath(path string) string {
	return filepath.ToSlash(path[len(filepath.VolumeName(path)):])
}

// find returns the inode at the path.
func (v *view) find(path string) (*inode, error) {
	in := v.root
	for part := range strings.SplitSeq(strings.Trim(modelPath(path), "/"), "/") {
		if part == "" {
			continue
		}
		if !in.folder {
			return nil, v.notFound(path, syscall.ENOTDIR)
		}
		if in = in.kids[part]; in == nil {
			return nil, v.notFound(path, syscall.ENOENT)
		}
	}
	return in, nil
}

func (v *view) notFound(path string, err error) error {
	if v.vague {
		err = pathNotFound{}
	}
	return &fs.PathError{Path: path, Err: err}
}

// pathNotFound is ERROR_PATH_NOT_FOUND as package syscall knows it: a folder is missing, or is a file.
type pathNotFound struct{}

func (pathNotFound) Error() string { return "path not found" }
func (pathNotFound) Is(target error) bool {
	return target == syscall.ENOTDIR || target == fs.ErrNotExist
}

// parent returns the folder of the path, the last name, and what has that name, if anything.
func (v *view) parent(path string) (*inode, string, *inode, error) {
	dir, err := v.find(filepath.Dir(path))
	if err != nil {
		return nil, "", nil, err
	}
	if !dir.folder {
		return nil, "", nil, v.notFound(path, syscall.ENOTDIR)
	}
	name := filepath.Base(path)
	return dir, name, dir.kids[name], nil
}

func (v *view) openRead(path string) (file, error) {
	if err := v.begin("open", path); err != nil {
		return nil, err
	}
	defer v.mu.Unlock()
	in, err := v.find(path)
	if err != nil {
		return nil, err
	}
	return &handle{v: v, in: in, path: path}, nil
}

func (v *view) create(path string) (file, error) {
	if err := v.begin("create", path); err != nil {
		return nil, err
	}
	defer v.mu.Unlock()
	dir, name, old, err := v.parent(path)
	if err == nil && old != nil {
		err = &fs.PathError{Path: path, Err: syscall.EEXIST}
	}
	if err != nil {
		return nil, err
	}
	in := &inode{mod: v.clock}
	dir.set(name, in)
	return &handle{v: v, in: in, path: path}, nil
}

func (v *view) stat(path string) (fs.FileInfo, error) {
	if err := v.begin("stat", path); err != nil {
		return nil, err
	}
	defer v.mu.Unlock()
	in, err := v.find(path)
	if err != nil {
		return nil, err
	}
	return in.info(filepath.Base(path)), nil
}

func (v *view) sameFile(a, b fs.FileInfo) bool { return a.Sys() == b.Sys() }

func (v *view) list(path string) (lister, error) {
	if err := v.begin("list", path); err != nil {
		return nil, err
	}
	defer v.mu.Unlock()
	in, err := v.find(path)
	if err != nil {
		return nil, err
	}
	l := new(listing)
	for name, kid := range in.kids { // in no order, as on a disk
		*l = append(*l, fs.FileInfoToDirEntry(kid.info(name)))
	}
	return l, nil
}

func (v *view) mkdir(path string) error {
	if err := v.begin("mkdir", path); err != nil {
		return err
	}
	defer v.mu.Unlock()
	dir, name, old, err := v.parent(path)
	if err == nil && old != nil {
		err = &fs.PathError{Path: path, Err: syscall.EEXIST}
	}
	if err != nil {
		return err
	}
	dir.set(name, newFolder())
	return nil
}

func (v *view) remove(path string) error {
	return v.unname("remove", path, func(in *inode) error {
		if in.folder {
			return syscall.EISDIR
		}
		return nil
	})
}

func (v *view) rmdir(path string) error {
	return v.unname("rmdir", path, func(in *inode) error {
		if !in.folder {
			return syscall.ENOTDIR
		}
		if len(in.kids) > 0 {
			return syscall.ENOTEMPTY
		}
		return nil
	})
}

func (v *view) unname(call, path string, allowed func(*inode) error) error {
	if err := v.begin(call, path); err != nil {
		return err
	}
	defer v.mu.Unlock()
	dir, name, in, err := v.parent(path)
	switch {
	case err != nil:
		return err
	case in == nil:
		err = syscall.ENOENT
	default:
		err = allowed(in)
	}
	if err != nil {
		return &fs.PathError{Path: path, Err: err}
	}
	dir.set(name, nil)
	return nil
}

func (v *view) rename(from, to string) error    { return v.move("rename", from, to, true, false) }
func (v *view) renameNew(from, to string) error { return v.move("renameNew", from, to, true, true) }
func (v *view) link(from, to string) error      { return v.move("link", from, to, false, true) }

func (v *view) move(call, from, to string, unname, exclusive bool) error {
	if err := v.begin(call, to); err != nil {
		return err
	}
	defer v.mu.Unlock()
	src, srcName, in, err := v.parent(from)
	if err == nil && in == nil {
		err = &fs.PathError{Path: from, Err: syscall.ENOENT}
	}
	if err != nil {
		return err
	}
	dst, dstName, old, err := v.parent(to)
	switch {
	case err != nil:
		return err
	case old != nil && exclusive:
		return &fs.PathError{Path: to, Err: syscall.EEXIST}
	case old != nil && old.folder:
		return &fs.PathError{Path: to, Err: syscall.EISDIR}
	}
	dst.set(dstName, in)
	if unname {
		src.set(srcName, nil)
	}
	return nil
}

func (v *view) openSync(path string) (file, error) { return v.openRead(path) }

func (v *view) openDir(path string) (folderHandle, error) {
	if err := v.begin("openDir", path); err != nil {
		return nil, err
	}
	defer v.mu.Unlock()
	in, err := v.find(path)
	if err != nil {
		return nil, err
	}
	return &handle{v: v, in: in, path: path}, nil
}

// handle is an open file or folder.
type handle struct {
	v    *view
	in   *inode
	path string
}

func (h *handle) Write(p []byte) (int, error) {
	if err := h.v.begin("write", h.path); err != nil {
		return 0, err
	}
	defer h.v.mu.Unlock()
	e := extent{off: len(h.in.data), data: slices.Clone(p)}
	h.in.data = overlay(h.in.data, e.off, p)
	h.in.cache = append(h.in.cache, e)
	h.in.mod = h.v.clock
	return len(p), nil
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	if err := h.v.begin("read", h.path); err != nil {
		return 0, err
	}
	defer h.v.mu.Unlock()
	n := copy(p, h.in.data[min(off, int64(len(h.in.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) Sync() error {
	if err := h.v.begin("sync", h.path); err != nil {
		return err
	}
	defer h.v.mu.Unlock()
	call := flushCall{file: !h.in.folder, path: modelPath(h.path), removed: h.in.removed}
	if h.v.skip == nil || !h.v.skip(call) {
		h.in.flush()
	}
	return nil
}

func (h *handle) Stat() (fs.FileInfo, error) {
	if err := h.v.begin("fstat", h.path); err != nil {
		return nil, err
	}
	defer h.v.mu.Unlock()
	return h.in.info(filepath.Base(h.path)), nil
}

func (h *handle) Close() error { return nil }

// info is the fs.FileInfo of an inode; its Sys is the inode.
type info struct {
	name string
	in   *inode
	size int64
	mod  time.Time
}

func (in *inode) info(name string) info {
	return info{name: name, in: in, size: int64(len(in.data)), mod: in.mod}
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return i.mod }
func (i info) IsDir() bool        { return i.in.folder }
func (i info) Sys() any           { return i.in }
func (i info) Mode() fs.FileMode {
	if i.in.folder {
		return fs.ModeDir | 0o777
	}
	return 0o666
}

type listing []fs.DirEntry

func (l *listing) ReadDir(n int) ([]fs.DirEntry, error) {
	if len(*l) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(*l))
	out := (*l)[:n]
	*l = (*l)[n:]
	return out, nil
}

func (l *listing) Close() error { return nil }
