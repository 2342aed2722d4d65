package dirblob

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"
)

// Scheme is the URL scheme of this package. A caller may route "file" to
// [URLOpener] as well.
const Scheme = "dirblob"

// Options configures [OpenBucket]. The zero value, and nil, are ready to use.
type Options struct {
	// CreateDir makes OpenBucket create the folder, and the folders above it,
	// where they are missing. Without it a missing folder is an error, so that
	// a drive that is not mounted is not mistaken for an empty one.
	CreateDir bool
}

// Info tells what a bucket is and what it can promise. Get it with
//
//	var info *dirblob.Info
//	if bucket.As(&info) { … }
//
// It also works through blob.PrefixedBucket. Each call gives a fresh copy.
type Info struct {
	// Root is the absolute path of the folder.
	Root string
	// ExclusiveCreate is true where IfNotExist is exact between processes. It is
	// false where the file system has neither a rename that does not replace
	// nor hard links. There IfNotExist is made of a lock file, a look and a rename;
	// it is sound only while a single process writes to the folder, and a writer
	// that finds a dead lock waits for up to a minute. False, too, while the folder cannot be written.
	ExclusiveCreate bool
	// FolderSync is true where folders can be flushed. Where it is false, a
	// power cut may undo the latest creations, though never leave one torn. False, too, while
	// the folder cannot be written. On Windows it stands for MOVEFILE_WRITE_THROUGH.
	FolderSync bool
	// ReadOnly is true where the folder refused a test write for lack of permission or because
	// the volume is mounted read-only. Writes are still tried, as this may change.
	ReadOnly bool
}

// Flusher makes an object that is there as durable as a write that succeeded would have. Whoever takes an object
// that he reads back for written, after a write that failed, asks for it: the object may have got its name
// before the flush of its folder failed. Get it from the reader of the object with
//
//	var f dirblob.Flusher
//	if reader.As(&f) { err = f.Flush() }
//
// Flush flushes the file, its folder and what is not known to be durable above it.
type Flusher = interface{ Flush() error }

// CopyOptions is what blob.CopyOptions.BeforeCopy can reach:
//
//	BeforeCopy: func(as func(any) bool) error {
//		var o *dirblob.CopyOptions
//		if as(&o) { o.IfNotExist = true }
//		return nil
//	}
type CopyOptions struct {
	// IfNotExist makes the copy fail with gcerrors.FailedPrecondition where the
	// destination exists, as exactly as a write does.
	IfNotExist bool
}

// OpenBucket opens the folder dir as a bucket. dir must exist unless
// Options.CreateDir is set. A folder that cannot be written opens for reading.
//
// The bucket may be used by any number of goroutines, and the folder by any
// number of processes. OpenBucket writes a few small files to .tmp below dir to
// find out what the file system can do.
func OpenBucket(dir string, opts *Options) (*blob.Bucket, error) {
	b, err := open(osFS{}, dir, opts)
	if err != nil {
		return nil, err
	}
	return blob.NewBucket(b), nil
}

// URLOpener opens URLs with a folder in them. Register it where it is wanted:
//
//	mux := new(blob.URLMux)
//	mux.RegisterBucket(dirblob.Scheme, &dirblob.URLOpener{})
//	mux.RegisterBucket("file", &dirblob.URLOpener{})
//
// The path of the URL is the folder:
//
//   - dirblob:///srv/backup is /srv/backup; the host "localhost" means the same.
//   - dirblob://./backup is the relative path backup.
//   - dirblob:///d:/backup on Windows is d:\backup.
//   - dirblob://nas/backup on Windows is \\nas\backup; elsewhere a host is an error.
//
// The query parameter create_dir=true sets Options.CreateDir; others are errors.
type URLOpener struct {
	// Options are the defaults for every bucket.
	Options Options
}

// OpenBucketURL opens the bucket that u names. It does not use ctx: opening a
// folder cannot be interrupted.
func (o *URLOpener) OpenBucketURL(_ context.Context, u *url.URL) (*blob.Bucket, error) {
	opts := o.Options
	for name, values := range u.Query() {
		if name != "create_dir" || len(values) != 1 {
			return nil, invalid("open the URL: only the query parameter create_dir is known, given once")
		}
		switch values[0] {
		case "true", "1":
			opts.CreateDir = true
		case "false", "0", "":
			opts.CreateDir = false
		default:
			return nil, invalid("open the URL: create_dir must be true or false")
		}
	}
	dir, err := urlFolder(u, os.PathSeparator == '\\')
	if err != nil {
		return nil, err
	}
	return OpenBucket(filepath.FromSlash(dir), &opts)
}

// urlFolder returns the folder that u names, with forward slashes.
func urlFolder(u *url.URL, windows bool) (string, error) {
	path := u.Path
	switch {
	case u.Host == ".":
		path = "." + path
	case u.Host == "" || u.Host == "localhost":
		if windows { // "/d:/backup" is "d:/backup"
			path = strings.TrimPrefix(path, "/")
		}
	case windows:
		path = "//" + u.Host + path
	default:
		return "", invalid("open the URL: it names a host; write three slashes before an absolute path")
	}
	if path == "" {
		return "", invalid("open the URL: it names no folder")
	}
	return path, nil
}

// open is OpenBucket over any file system.
func open(fsys vfs, dir string, opts *Options) (*bucket, error) {
	if opts == nil {
		opts = &Options{}
	}
	if dir == "" {
		return nil, invalid("open the bucket: no folder given")
	}
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, wrap("open the bucket", err)
	}
	st, err := fsys.stat(root)
	if errors.Is(err, fs.ErrNotExist) && opts.CreateDir {
		if err = createRoot(fsys, root); err == nil {
			st, err = fsys.stat(root)
		}
	}
	if err == nil && !st.IsDir() {
		err = &fs.PathError{Path: root, Err: errNotFolder}
	}
	if err != nil {
		return nil, wrap("open the bucket", err)
	}
	return newBucket(fsys, root)
}

// createRoot creates root and what is missing above it, each flushed into its
// parent, so that the first object of a new bucket is not lost with its folder.
func createRoot(fsys vfs, root string) error {
	parent := filepath.Dir(root)
	if parent == root {
		return &fs.PathError{Path: root, Err: fs.ErrNotExist}
	}
	if _, err := fsys.stat(parent); errors.Is(err, fs.ErrNotExist) {
		if err := createRoot(fsys, parent); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := fsys.mkdir(root); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return flushEntry(fsys, root)
}

// flushEntry makes the entry of a folder in its parent durable, as far as this
// user can: a parent that may be entered but not read cannot be flushed.
func flushEntry(fsys vfs, path string) error {
	h, err := fsys.openDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }()
	if err := h.Sync(); err != nil && !unsupported(err) && !isReadOnly(err) {
		return err
	}
	return nil
}
