// Package source is what the backup engine reads from: a tree of folders and files, with everything that
// a snapshot keeps of them. [FromFS] makes one from any fs.FS; internal/localfs makes one with full
// fidelity from a local folder.
package source

import (
	"context"
	"io"

	"github.com/carekeep/carekeep/internal/format"
)

// Source is something to back up.
type Source interface {
	// Open opens the root folder and returns it with its own entry, whose Path is ".".
	// A root that does not exist is an error that wraps fs.ErrNotExist.
	Open(ctx context.Context) (Folder, *format.Entry, error)
}

// Folder is one open folder. Its methods may be called by several goroutines at once.
type Folder interface {
	// Names returns the names in the folder, sorted bytewise, without "." and "..".
	// It holds a million names without trouble; the caller keeps no other list.
	Names(ctx context.Context) (Names, error)

	// Lstat describes one name, without following a link and without Path, Xattrs and Content.
	// A symlink's Target is filled in. It costs as little as the system allows.
	Lstat(name string) (*format.Entry, error)

	// Xattrs fills in e.Xattrs, and what else Lstat was too cheap to read.
	Xattrs(name string, e *format.Entry) error

	// Folder opens a sub-folder. It fails if name is not, or is no longer, a real folder.
	Folder(name string) (Folder, error)

	// File opens a regular file for reading. It never follows a link and never blocks on a FIFO.
	File(name string) (File, error)

	Close() error
}

// Names is a sorted list of names.
type Names interface {
	Len() int
	At(i int) string
}

// File is an open file, used by one goroutine.
type File interface {
	io.ReadCloser

	// Stat describes the open file as Lstat does its name: the engine compares both, and again after
	// reading, to notice that the file changed while it was read.
	Stat() (*format.Entry, error)

	// NextData returns the bounds of the next run of data at or after off, so that holes are not read:
	// start >= off. At the end of the file, or when only a hole is left, start is the file's size.
	// It moves the read position to start. A file that cannot tell, such as a stream, returns
	// (off, math.MaxInt64).
	NextData(off int64) (start, end int64, err error)
}
