package dirblob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

const (
	// tempFolder can never be the folder of a key, as a leading dot is escaped.
	tempFolder = ".tmp"
	// tempLife is the age at which an unfinished write belongs to a dead process.
	tempLife = 24 * time.Hour
	// copyBuffer is the size of one read or write when the driver moves bytes itself.
	copyBuffer = 1 << 20
)

// bucket implements driver.Bucket. It holds no state of objects: any number of
// buckets, in any number of processes, may share a folder.
type bucket struct {
	fs      vfs
	root    string
	temp    string
	folders *folders
	lists   cursors
	buffers sync.Pool // of *[]byte, copyBuffer long

	mu    sync.Mutex
	ready bool // temp exists and the abilities are known
	able  abilities
	fail  error // why the last try to get ready failed
}

func newBucket(fsys vfs, root string) (*bucket, error) {
	b := &bucket{fs: fsys, root: root, temp: filepath.Join(root, tempFolder)}
	b.buffers.New = func() any { p := make([]byte, copyBuffer); return &p }
	b.folders = newFolders(fsys, root)
	b.lists.window = listWindow
	// A full or read-only volume can still be read, and freed of objects.
	_ = b.prepare()
	return b, nil
}

// Close implements driver.Bucket. Open readers and writers stay usable.
func (b *bucket) Close() error {
	b.folders.close()
	b.lists.close()
	return nil
}

// As implements driver.Bucket.
func (b *bucket) As(i any) bool {
	p, ok := i.(**Info)
	if !ok {
		return false
	}
	err := b.prepare()
	b.mu.Lock()
	defer b.mu.Unlock()
	*p = &Info{
		Root:            b.root,
		ExclusiveCreate: b.able.exclusive != byLock,
		FolderSync:      b.able.folderSync,
		ReadOnly:        err != nil && b.ErrorCode(err) == gcerrors.PermissionDenied,
	}
	return true
}

// prepare makes the folder for unfinished writes, finds out what the file
// system can do and removes what dead processes left. It does so once, and
// again only after a failure, because a full volume may have been freed since.
func (b *bucket) prepare() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ready {
		return nil
	}
	if _, b.fail = b.fs.stat(b.root); b.fail != nil {
		return b.fail
	}
	if b.fail = b.fs.mkdir(b.temp); b.fail != nil && !errors.Is(b.fail, fs.ErrExist) {
		return b.fail
	}
	if b.fail = flushEntry(b.fs, b.root); b.fail != nil {
		return b.fail
	}
	able, now, err := probe(b.fs, b.temp)
	if b.fail = err; err != nil {
		return err
	}
	b.able, b.ready = able, true
	removeStale(b.fs, b.temp, now.Add(-tempLife))
	return nil
}

// removeStale deletes the files in the folder that were last written before
// the time, as far as it can. The time comes from the clock of the file system.
func removeStale(fsys vfs, folder string, before time.Time) {
	l, err := fsys.list(folder)
	if err != nil {
		return
	}
	defer func() { _ = l.Close() }()
	for {
		entries, err := l.ReadDir(listBatch)
		for _, e := range entries {
			path := filepath.Join(folder, e.Name())
			if st, err := fsys.stat(path); err == nil && isObject(st) && st.ModTime().Before(before) {
				_ = fsys.remove(path)
			}
		}
		if err != nil || len(entries) == 0 {
			return
		}
	}
}

// randomName returns a name that nobody else has.
func randomName() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// gone is whether the volume was taken away: then its root is missing, or it is
// the bare mount point, which has no folder for unfinished writes.
func (b *bucket) gone() bool {
	b.mu.Lock()
	path := b.root
	if b.ready {
		path = b.temp
	}
	b.mu.Unlock()
	_, err := b.fs.stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// missing settles what it means that a path was not found.
func (b *bucket) missing(op string, err error) error {
	if errors.Is(err, syscall.ENOTDIR) { // a part of the path is an object
		err = &fs.PathError{Path: pathOf(err), Err: fs.ErrNotExist}
	}
	if errors.Is(err, fs.ErrNotExist) && b.gone() {
		err = &fs.PathError{Path: b.root, Err: errGone}
	}
	return wrap(op, err)
}

func pathOf(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Path
	}
	return ""
}

// Attributes implements driver.Bucket. It costs one stat for a plain object.
func (b *bucket) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	const op = "look at an object"
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	at, err := locate(key)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(b.root, at.path())
	st, err := b.fs.stat(path)
	if err == nil && !isObject(st) {
		err = &fs.PathError{Path: path, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, b.missing(op, err)
	}
	size, attrs := st.Size(), attributes{}
	if mayHaveTrailer(size) {
		f, o, err := b.openObject(at)
		if err != nil {
			return nil, b.missing(op, err)
		}
		_ = f.Close()
		st, size, attrs = o.st, o.size, o.attrs
	}
	return &driver.Attributes{
		CacheControl:       attrs.CacheControl,
		ContentDisposition: attrs.ContentDisposition,
		ContentEncoding:    attrs.ContentEncoding,
		ContentLanguage:    attrs.ContentLanguage,
		ContentType:        attrs.contentType(),
		Metadata:           attrs.Metadata,
		ModTime:            st.ModTime(),
		Size:               size,
		ETag:               fmt.Sprintf("\"%x-%x\"", st.ModTime().UnixNano(), st.Size()),
	}, nil
}

// object is what the file of an object tells.
type object struct {
	st    fs.FileInfo
	size  int64 // without the trailer
	attrs attributes
}

// openObject opens the file of an object.
func (b *bucket) openObject(at location) (file, object, error) {
	path := filepath.Join(b.root, at.path())
	f, err := b.fs.openRead(path)
	if err != nil {
		return nil, object{}, err
	}
	var o object
	if o.st, err = f.Stat(); err == nil && !isObject(o.st) {
		err = fs.ErrNotExist
	}
	if err == nil {
		o.size, o.attrs, err = readTrailer(f, o.st.Size())
	}
	if err != nil {
		_ = f.Close()
		return nil, object{}, &fs.PathError{Path: path, Err: err}
	}
	return f, o, nil
}

// NewRangeReader implements driver.Bucket.
func (b *bucket) NewRangeReader(ctx context.Context, key string, offset, length int64, opts *driver.ReaderOptions) (driver.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	at, err := locate(key)
	if err != nil {
		return nil, err
	}
	f, o, err := b.openObject(at)
	if err != nil {
		return nil, b.missing("open an object", err)
	}
	if opts.BeforeRead != nil {
		if err := opts.BeforeRead(func(any) bool { return false }); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	left := max(o.size-offset, 0)
	if length >= 0 {
		left = min(left, length)
	}
	return &reader{b: b, ctx: ctx, at: at, f: f, off: offset, left: left, attrs: driver.ReaderAttributes{
		ContentType: o.attrs.contentType(), ModTime: o.st.ModTime(), Size: o.size,
	}}, nil
}

// reader reads a range of an object, one pread for each Read.
type reader struct {
	b         *bucket
	ctx       context.Context
	at        location
	f         file
	off, left int64
	attrs     driver.ReaderAttributes
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.f.ReadAt(p[:min(int64(len(p)), r.left)], r.off)
	r.off += int64(n)
	r.left -= int64(n)
	switch {
	case err == io.EOF && r.left > 0: // somebody cut the file
		return n, wrap("read an object", io.ErrUnexpectedEOF)
	case err == io.EOF:
		return n, nil
	}
	return n, wrap("read an object", err)
}

// Download implements driver.Downloader with a buffer that is used again.
func (r *reader) Download(w io.Writer) error {
	buf := r.b.buffers.Get().(*[]byte)
	defer r.b.buffers.Put(buf)
	_, err := io.CopyBuffer(writerOnly{w}, r, *buf)
	return err
}

// writerOnly hides ReadFrom, which would bring its own, smaller buffer.
type writerOnly struct{ io.Writer }

func (r *reader) Close() error                         { return wrap("close an object", r.f.Close()) }
func (r *reader) Attributes() *driver.ReaderAttributes { return &r.attrs }

// As implements driver.Reader: it gives the object's [Flusher].
func (r *reader) As(i any) bool {
	p, ok := i.(*Flusher)
	if ok {
		*p = &flusher{b: r.b, at: r.at}
	}
	return ok
}

// flusher is the [Flusher] of one object.
type flusher struct {
	b  *bucket
	at location
}

// Flush implements [Flusher].
func (f *flusher) Flush() error {
	const op = "flush an object"
	h, err := f.b.fs.openSync(filepath.Join(f.b.root, f.at.path()))
	if err != nil {
		return f.b.missing(op, err)
	}
	err = h.Sync()
	if cerr := h.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = f.b.flush(f.at.folder)
	}
	return wrap(op, err)
}

// Copy implements driver.Bucket. It copies the file as it is, attributes included.
func (b *bucket) Copy(ctx context.Context, dstKey, srcKey string, opts *driver.CopyOptions) error {
	dst, err := locate(dstKey)
	if err != nil {
		return err
	}
	src, err := locate(srcKey)
	if err != nil {
		return err
	}
	f, o, err := b.openObject(src)
	if err != nil {
		return b.missing("open an object", err)
	}
	defer func() { _ = f.Close() }()
	var want CopyOptions
	if opts.BeforeCopy != nil {
		err := opts.BeforeCopy(func(i any) bool {
			p, ok := i.(**CopyOptions)
			if ok {
				*p = &want
			}
			return ok
		})
		if err != nil {
			return err
		}
	}
	w, err := b.newWriter(ctx, dst, want.IfNotExist)
	if err != nil {
		return err
	}
	w.raw = true
	if err := w.Upload(io.NewSectionReader(f, 0, o.st.Size())); err != nil {
		_ = w.Close()
		return err
	}
	return w.Close()
}

// Delete implements driver.Bucket.
func (b *bucket) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) error {
	const op = "delete an object"
	if err := ctx.Err(); err != nil {
		return err
	}
	at, err := locate(key)
	if err != nil {
		return err
	}
	if opts.BeforeDelete != nil {
		if err := opts.BeforeDelete(func(any) bool { return false }); err != nil {
			return err
		}
	}
	path := filepath.Join(b.root, at.path())
	if err := b.fs.remove(path); err != nil {
		// Systems differ in what they say about the removal of a folder.
		if st, serr := b.fs.stat(path); serr == nil && st.IsDir() {
			err = &fs.PathError{Path: path, Err: fs.ErrNotExist}
		}
		return b.missing(op, err)
	}
	if err := b.flush(at.folder); err != nil {
		return wrap(op, err)
	}
	// An empty folder is harmless, so failures to remove it do not matter. A writer
	// that loses its folder to this makes it again.
	for dir := at.folder; dir != ""; dir = parentOf(dir) {
		if b.fs.rmdir(filepath.Join(b.root, dir)) != nil {
			break
		}
	}
	return nil
}

// flush makes the entries of a folder durable, and the folder itself.
func (b *bucket) flush(folder string) error {
	b.mu.Lock()
	skip := b.ready && !b.able.folderSync
	b.mu.Unlock()
	if skip {
		return nil
	}
	err := b.folders.flush(folder)
	if errors.Is(err, fs.ErrNotExist) && !b.gone() {
		// Somebody deleted the last object of the folder, and then the folder:
		// nothing is left to flush.
		return nil
	}
	return err
}

// SignedURL implements driver.Bucket: a folder serves no URLs.
func (b *bucket) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", &opError{op: "signed URLs are not supported", code: gcerrors.Unimplemented}
}
