package dirblob

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"gocloud.dev/blob/driver"
)

const (
	// placeTries bounds the fight with others who remove our folder as fast as we make it.
	placeTries = 1000
	// lockLife is the age at which a lock file belongs to a dead process.
	lockLife = time.Minute
	lockPoll = 5 * time.Millisecond
)

const (
	opWrite  = "write an object"
	opNested = "write an object: its key is the folder of another key, or has another key as its folder"
)

// writer writes an object to a file in the folder for unfinished writes, and
// gives it its name in Close. One goroutine uses it at a time.
type writer struct {
	b         *bucket
	ctx       context.Context
	at        location
	exclusive bool
	attrs     attributes
	raw       bool // the bytes bring their trailer along

	f     file
	temp  string
	size  int64
	begun bool
	err   error // the first failure; Close then discards
}

// NewTypedWriter implements driver.Bucket. The portable type checks ContentMD5.
func (b *bucket) NewTypedWriter(ctx context.Context, key, contentType string, opts *driver.WriterOptions) (driver.Writer, error) {
	at, err := locate(key)
	if err != nil {
		return nil, err
	}
	w, err := b.newWriter(ctx, at, opts.IfNotExist)
	if err != nil {
		return nil, err
	}
	w.attrs = attributes{
		CacheControl:       opts.CacheControl,
		ContentDisposition: opts.ContentDisposition,
		ContentEncoding:    opts.ContentEncoding,
		ContentLanguage:    opts.ContentLanguage,
		ContentType:        contentType,
		Metadata:           opts.Metadata,
	}
	if opts.BeforeWrite != nil {
		if err := opts.BeforeWrite(func(any) bool { return false }); err != nil {
			w.discard()
			return nil, err
		}
	}
	return w, nil
}

func (b *bucket) newWriter(ctx context.Context, at location, exclusive bool) (*writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := b.prepare(); err != nil {
		return nil, b.missing(opWrite, err)
	}
	w := &writer{b: b, ctx: ctx, at: at, exclusive: exclusive, temp: filepath.Join(b.temp, randomName())}
	var err error
	if w.f, err = b.fs.create(w.temp); err != nil {
		return nil, b.missing(opWrite, err)
	}
	return w, nil
}

// Write implements io.Writer. It fails early where IfNotExist cannot succeed.
func (w *writer) Write(p []byte) (int, error) {
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	if w.err == nil && !w.begun {
		w.begun = true
		w.err = w.precheck()
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.f.Write(p)
	w.size += int64(n)
	w.err = wrap(opWrite, err)
	return n, w.err
}

// Upload implements driver.Uploader. What is in memory is written from there, the rest through a buffer that is
// used again.
func (w *writer) Upload(r io.Reader) error {
	if b, ok := r.(*bytes.Reader); ok {
		_, err := b.WriteTo(writerOnly{w})
		return cmp.Or(w.err, err)
	}
	buf := w.b.buffers.Get().(*[]byte)
	defer w.b.buffers.Put(buf)
	_, err := io.CopyBuffer(writerOnly{w}, readerOnly{r}, *buf)
	if w.err == nil {
		w.err = err // half an upload must not be published by Close
	}
	return w.err
}

// readerOnly hides WriteTo, which would write in pieces of its own choosing.
type readerOnly struct{ io.Reader }

// precheck spares the losers of an exclusive create the work. It decides nothing.
func (w *writer) precheck() error {
	if !w.exclusive {
		return nil
	}
	path := filepath.Join(w.b.root, w.at.path())
	if st, err := w.b.fs.stat(path); err == nil && !st.IsDir() {
		return wrap(opWrite, &fs.PathError{Path: path, Err: fs.ErrExist})
	}
	return nil
}

// Close publishes the object, or discards what was written if anything failed
// or the context has ended.
func (w *writer) Close() error {
	own, err := w.finish()
	if err == nil {
		err = w.ctx.Err()
	}
	if err == nil {
		err = w.b.place(w.ctx, w, own)
	}
	w.err = wrap(opWrite, fs.ErrClosed) // for whoever goes on after Close
	w.discard()                         // a hard link leaves the first name
	if err != nil {
		return wrap(opWrite, err)
	}
	return wrap(opWrite, w.b.flush(w.at.folder))
}

// finish completes the file and flushes it. Only then may it get a name.
func (w *writer) finish() (fs.FileInfo, error) {
	if w.err != nil {
		return nil, w.err
	}
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	if err := w.precheck(); err != nil {
		return nil, err
	}
	if err := w.addTrailer(); err != nil {
		return nil, err
	}
	if err := w.f.Sync(); err != nil {
		return nil, err
	}
	own, err := w.f.Stat()
	if err != nil {
		return nil, err
	}
	f := w.f
	w.f = nil
	return own, f.Close()
}

// addTrailer stores the attributes, if there are any to store.
func (w *writer) addTrailer() error {
	if w.raw {
		return nil
	}
	if w.attrs.plain() {
		if trailed, err := looksTrailed(w.f, w.size); err != nil || !trailed {
			return err
		}
	}
	trailer, err := makeTrailer(&w.attrs, w.size)
	if err != nil {
		return err
	}
	_, err = w.f.Write(trailer)
	return err
}

// discard leaves nothing behind.
func (w *writer) discard() {
	if w.f != nil {
		_ = w.f.Close()
		w.f = nil
	}
	_ = w.b.fs.remove(w.temp)
}

// place gives the finished file its name, and makes the folders that it needs.
func (b *bucket) place(ctx context.Context, w *writer, own fs.FileInfo) error {
	path := filepath.Join(b.root, w.at.path())
	for range placeTries {
		err := b.name(ctx, w, path)
		if err == nil {
			return nil
		}
		st, serr := b.fs.stat(path)
		switch {
		case serr == nil && b.isOwn(st, own):
			return nil
		case serr == nil && st.IsDir(), errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, fs.ErrNotExist):
			// Windows has one error for both, and the making of folders finds out which it is.
			return invalid(opNested)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if _, err := b.fs.stat(w.temp); errors.Is(err, fs.ErrNotExist) {
			if b.gone() {
				return &fs.PathError{Path: b.root, Err: errGone}
			}
			return &fs.PathError{Path: w.temp, Err: errTempGone}
		}
		if err := b.makeFolders(w.at.folder); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return &fs.PathError{Path: path, Err: errUnsettled}
}

// isOwn is whether the file that has the name is the one we wrote. A network
// file system may repeat a call whose answer was lost, and then report that the
// name which the first call gave is taken. The time guards against a file
// that took over the identity of ours after somebody deleted it.
func (b *bucket) isOwn(st, own fs.FileInfo) bool {
	return b.fs.sameFile(st, own) && st.Size() == own.Size() && st.ModTime().Equal(own.ModTime())
}

// name does one try of giving the finished file its name.
func (b *bucket) name(ctx context.Context, w *writer, path string) error {
	if !w.exclusive {
		return b.fs.rename(w.temp, path)
	}
	b.mu.Lock()
	way := b.able.exclusive
	b.mu.Unlock()
	switch way {
	case byRename:
		return b.fs.renameNew(w.temp, path)
	case byLink:
		return b.fs.link(w.temp, path)
	default:
		return b.nameLocked(ctx, w, path)
	}
}

// nameLocked is the stand-in where the file system knows no exclusive create.
// It is sound while all writers are in one process; see Info.ExclusiveCreate.
func (b *bucket) nameLocked(ctx context.Context, w *writer, path string) error {
	lock := b.lockOf(w.at)
	if err := b.takeLock(ctx, lock); err != nil {
		return err
	}
	defer func() { _ = b.fs.remove(lock) }()
	if _, err := b.fs.stat(path); err == nil {
		return &fs.PathError{Path: path, Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return b.fs.rename(w.temp, path)
}

func (b *bucket) lockOf(at location) string {
	sum := sha256.Sum256([]byte(at.path()))
	return filepath.Join(b.temp, "lock-"+hex.EncodeToString(sum[:16]))
}

func (b *bucket) takeLock(ctx context.Context, lock string) error {
	waited := time.Duration(0)
	for {
		f, err := b.fs.create(lock)
		if err == nil {
			return f.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Our own waiting is the only clock that is sure to be ours.
		if waited > lockLife {
			_ = b.fs.remove(lock)
			waited = 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPoll):
			waited += lockPoll
		}
	}
}

// makeFolders makes a folder and those above it. That one of them vanishes
// again in between is no error here: the caller tries again.
func (b *bucket) makeFolders(folder string) error {
	if folder == "" {
		return nil
	}
	for _, dir := range chainOf(folder)[1:] {
		path := filepath.Join(b.root, dir)
		err := b.fs.mkdir(path)
		if errors.Is(err, fs.ErrExist) {
			if st, serr := b.fs.stat(path); serr == nil && !st.IsDir() {
				return invalid(opNested)
			}
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
