package dirblob

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob/driver"
)

const (
	defaultPage = 1000
	listBatch   = 1024
	// listWindow is how many names of one folder are held at once. A folder is
	// read once for each window, so a million objects are eight readings,
	// not one for each page, in some twenty megabytes.
	listWindow = 1 << 17
	// cursorLife is how long a page may follow from what was read for the one before.
	cursorLife = time.Minute
	maxCursors = 4
)

// ListPaged implements driver.Bucket. Objects that appear or vanish while the
// pages are read may or may not be listed; all others are, in order.
func (b *bucket) ListPaged(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	if opts.BeforeList != nil {
		if err := opts.BeforeList(func(any) bool { return false }); err != nil {
			return nil, err
		}
	}
	page, err := b.listPage(ctx, opts)
	if err != nil {
		return nil, wrap("list objects", err)
	}
	return page, nil
}

func (b *bucket) listPage(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	want := query{prefix: opts.Prefix, delimiter: opts.Delimiter, token: string(opts.PageToken)}
	w := b.lists.take(want)
	if w == nil {
		var err error
		if w, err = b.newWalker(want); err != nil {
			return nil, err
		}
	}
	size := opts.PageSize
	if size == 0 {
		size = defaultPage
	}
	page := new(driver.ListPage)
	for {
		it, ok, err := w.next(ctx)
		if err != nil || !ok {
			return page, err
		}
		obj, err := b.describe(w, it)
		if err != nil {
			return nil, err
		}
		if obj == nil {
			continue
		}
		if len(page.Objects) == size {
			w.pending = &it
			want.token = w.after.token()
			page.NextPageToken = []byte(want.token)
			b.lists.put(want, w)
			return page, nil
		}
		page.Objects = append(page.Objects, obj)
		w.after = bound{key: obj.Key, whole: obj.IsDir}
	}
}

// describe turns an item into an entry of a page, or nil where the file has
// vanished or is no object.
func (b *bucket) describe(w *walker, it item) (*driver.ListObject, error) {
	if it.folder {
		return &driver.ListObject{Key: it.key, IsDir: true}, nil
	}
	if key, ok := w.collapsed(it.key); ok {
		return &driver.ListObject{Key: key, IsDir: true}, nil
	}
	path := filepath.Join(b.root, it.path)
	st, err := b.fs.stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !isObject(st) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	size := st.Size()
	if mayHaveTrailer(size) {
		if f, o, err := b.openObject(location{folder: filepath.Dir(it.path), name: filepath.Base(it.path)}); err == nil {
			size = o.size
			_ = f.Close()
		} // else the reader of the object is told, not the one who lists
	}
	return &driver.ListObject{Key: it.key, ModTime: st.ModTime(), Size: size}, nil
}

// bound is the last thing listed: what sorts up to key is done and, if whole,
// everything below the prefix key too.
type bound struct {
	key   string
	whole bool
}

// token is the form of a bound for the caller: one letter and the key.
func (a bound) token() string {
	if a.whole {
		return "p" + a.key
	}
	return "k" + a.key
}

func parseToken(token string) (bound, error) {
	switch {
	case token == "":
		return bound{}, nil
	case token[0] == 'k':
		return bound{key: token[1:]}, nil
	case token[0] == 'p':
		return bound{key: token[1:], whole: true}, nil
	}
	return bound{}, invalid("list objects: the page token is not from this bucket")
}

// pastKey is whether the key is listed already. The empty bound is past nothing,
// as no key is empty.
func (a bound) pastKey(key string) bool {
	return key <= a.key || a.whole && strings.HasPrefix(key, a.key)
}

// pastFolder is whether all keys that begin with dir, which ends in a slash, are.
func (a bound) pastFolder(dir string) bool {
	if a.whole && strings.HasPrefix(dir, a.key) {
		return true
	}
	return dir < a.key && !strings.HasPrefix(a.key, dir)
}

// query is what a walker answers. The token is that of the next page.
type query struct{ prefix, delimiter, token string }

// item is a thing to list: an object, or a folder that stands for all below it.
type item struct {
	key    string
	path   string // relative to the root
	folder bool
}

// walker goes through the keys with a prefix in the order of their bytes.
type walker struct {
	b       *bucket
	query   query
	after   bound
	stack   []*frame
	pending *item
	born    time.Time
}

// frame is a folder on the way of a walker, with a window of its names.
type frame struct {
	path   string // relative to the root
	prefix string // of all keys below; ends in a slash or is empty
	names  []name
	pos    int
	more   bool // names past the window are left
}

// name is an entry of a folder. Folders sort with their slash, which is
// where their keys sort among those of the objects beside them.
type name struct {
	sort string
	file string
}

func (n name) folder() bool { return strings.HasSuffix(n.sort, "/") }

// newWalker starts in the deepest folder that holds all keys with the prefix.
func (b *bucket) newWalker(q query) (*walker, error) {
	after, err := parseToken(q.token)
	if err != nil {
		return nil, err
	}
	if b.gone() {
		return nil, &fs.PathError{Path: b.root, Err: errGone}
	}
	w := &walker{b: b, query: q, after: after, born: time.Now()}
	start := &frame{more: true}
	if cut := strings.LastIndexByte(q.prefix, '/'); cut >= 0 {
		path, ok := escapeFolder(q.prefix[:cut])
		if !ok {
			return w, nil // no such folder can exist
		}
		start.path, start.prefix = path, q.prefix[:cut+1]
	}
	w.stack = []*frame{start}
	return w, nil
}

// next returns the next item, or false at the end.
func (w *walker) next(ctx context.Context) (item, bool, error) {
	if it := w.pending; it != nil {
		w.pending = nil
		return *it, true, nil
	}
	for len(w.stack) > 0 {
		f := w.stack[len(w.stack)-1]
		if f.pos == len(f.names) {
			if !f.more {
				w.stack = w.stack[:len(w.stack)-1]
			} else if err := w.fill(ctx, f); err != nil {
				return item{}, false, err
			}
			continue
		}
		n := f.names[f.pos]
		f.pos++
		it := item{key: f.prefix + n.sort, path: filepath.Join(f.path, n.file)}
		if !n.folder() {
			if !w.after.pastKey(it.key) {
				return it, true, nil
			}
			continue
		}
		if w.after.pastFolder(it.key) {
			continue
		}
		if key, ok := w.collapsed(it.key); ok {
			if some, err := w.b.holdsObject(ctx, it.path); err != nil {
				return item{}, false, err
			} else if some {
				return item{key: key, folder: true}, true, nil
			}
			continue
		}
		w.stack = append(w.stack, &frame{path: it.path, prefix: it.key, more: true})
	}
	return item{}, false, nil
}

// collapsed returns the prefix that stands for the key in the answer, if the
// delimiter asks for one.
func (w *walker) collapsed(key string) (string, bool) {
	if w.query.delimiter == "" || len(key) < len(w.query.prefix) {
		return "", false
	}
	rest := key[len(w.query.prefix):]
	i := strings.Index(rest, w.query.delimiter)
	if i < 0 {
		return "", false
	}
	return w.query.prefix + rest[:i+len(w.query.delimiter)], true
}

// fill reads the next window of names of a folder: the smallest ones that come
// after what the frame has given already.
func (w *walker) fill(ctx context.Context, f *frame) error {
	last, again := "", len(f.names) > 0
	if again {
		last = f.names[len(f.names)-1].sort
	}
	window := w.b.lists.window
	var names []name
	f.more = false
	trim := func() {
		slices.SortFunc(names, func(a, b name) int { return strings.Compare(a.sort, b.sort) })
		names = slices.CompactFunc(names, func(a, b name) bool { return a.sort == b.sort })
		if len(names) > window {
			clear(names[window:])
			names, f.more = names[:window], true
		}
	}
	err := w.b.entries(ctx, f.path, func(n name) bool {
		key := f.prefix + n.sort
		if again && n.sort <= last || !strings.HasPrefix(key, w.query.prefix) {
			return true
		}
		if n.folder() && w.after.pastFolder(key) || !n.folder() && w.after.pastKey(key) {
			return true
		}
		if names = append(names, n); len(names) >= 2*window {
			trim()
		}
		return true
	})
	trim()
	f.names, f.pos = names, 0
	return err
}

// entries calls use for every entry of a folder that is ours, in no order,
// until it returns false. A folder that has been removed has none.
func (b *bucket) entries(ctx context.Context, folder string, use func(name) bool) error {
	l, err := b.fs.list(filepath.Join(b.root, folder))
	if err != nil {
		if err = b.missing("list objects", err); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	defer func() { _ = l.Close() }()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch, err := l.ReadDir(listBatch)
		for _, e := range batch {
			segment, ok := unescape(e.Name())
			if !ok {
				continue
			}
			if e.IsDir() {
				segment += "/"
			}
			if !use(name{sort: segment, file: e.Name()}) {
				return nil
			}
		}
		if err == io.EOF || err == nil && len(batch) == 0 || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// holdsObject is whether there is an object anywhere below a folder.
func (b *bucket) holdsObject(ctx context.Context, folder string) (bool, error) {
	var below []string
	found := false
	err := b.entries(ctx, folder, func(n name) bool {
		if n.folder() {
			below = append(below, filepath.Join(folder, n.file))
		} else {
			found = true
		}
		return !found
	})
	for _, dir := range below {
		if found || err != nil {
			break
		}
		found, err = b.holdsObject(ctx, dir)
	}
	return found, err
}

// cursors keeps walkers between one page and the next, so that a large folder
// is not read again for every page. It is a cache: a page token alone is enough to go on.
type cursors struct {
	window int

	mu     sync.Mutex
	held   map[query]*walker
	closed bool
}

// take returns the walker that stands before the page, if there is a young one.
func (c *cursors) take(q query) *walker {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.held[q]
	delete(c.held, q)
	if w == nil || time.Since(w.born) > cursorLife {
		return nil
	}
	return w
}

// put keeps a walker, at the cost of the oldest one.
func (c *cursors) put(q query, w *walker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if c.held == nil {
		c.held = make(map[query]*walker)
	}
	c.held[q] = w
	for len(c.held) > maxCursors {
		var oldest query
		for k, v := range c.held {
			if o := c.held[oldest]; o == nil || v.born.Before(o.born) {
				oldest = k
			}
		}
		delete(c.held, oldest)
	}
}

func (c *cursors) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held, c.closed = nil, true
}
