package dirblob

import (
	"io"
	"io/fs"
	"os"
)

// vfs is every file operation that the driver uses, so that the tests can put
// a model that loses power, or runs full, in its place. Paths are absolute.
type vfs interface {
	// openRead opens a file for reading. It must not block on a pipe.
	openRead(path string) (file, error)
	// openSync opens a file for flushing it.
	openSync(path string) (file, error)
	// create makes a new file for reading and writing; an existing one is fs.ErrExist.
	create(path string) (file, error)
	// stat follows symbolic links.
	stat(path string) (fs.FileInfo, error)
	sameFile(a, b fs.FileInfo) bool
	// list opens a folder for reading its entries.
	list(path string) (lister, error)
	mkdir(path string) error
	// remove deletes a file, never a folder; rmdir an empty folder, never a file.
	remove(path string) error
	rmdir(path string) error
	// rename replaces what is at the new path.
	rename(from, to string) error
	// renameNew and link fail with fs.ErrExist where the new path exists, in
	// one step with the naming, or with an error that unsupported recognises.
	renameNew(from, to string) error
	link(from, to string) error
	// openDir opens a folder for flushing its entries.
	openDir(path string) (folderHandle, error)
}

// file is an open file.
type file interface {
	io.Writer
	io.ReaderAt
	Stat() (fs.FileInfo, error)
	Sync() error
	Close() error
}

// lister reads the entries of a folder in batches, in no order; io.EOF ends them.
type lister interface {
	ReadDir(n int) ([]fs.DirEntry, error)
	Close() error
}

// folderHandle is an open folder. While it is open, the identity of the folder
// is not given to another one, even if the folder is removed.
type folderHandle interface {
	Stat() (fs.FileInfo, error)
	Sync() error
	Close() error
}

// osFS is the real file system. The methods that differ between platforms are in sys_*.go.
type osFS struct{}

func (osFS) openRead(path string) (file, error) {
	return fileOf(os.OpenFile(path, os.O_RDONLY|openNonblock, 0))
}

func (osFS) create(path string) (file, error) {
	return fileOf(os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666))
}

// fileOf keeps a nil *os.File from becoming a non-nil interface.
func fileOf(f *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (osFS) stat(path string) (fs.FileInfo, error) { return os.Stat(path) }

func (osFS) sameFile(a, b fs.FileInfo) bool { return os.SameFile(a, b) }

func (osFS) list(path string) (lister, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (osFS) mkdir(path string) error { return os.Mkdir(path, 0o777) }

func (osFS) link(from, to string) error { return os.Link(from, to) }
