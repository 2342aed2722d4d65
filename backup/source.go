package backup

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/carekeep/carekeep/internal/localfs"
	"github.com/carekeep/carekeep/internal/source"
)

// sourcer is an fs.FS that this package can read better than through fs.FS.
type sourcer interface {
	source() source.Source
	name() string
}

// Dir is the source for a local folder, with full fidelity: symbolic links, hard links, sparse files,
// owners, modes, times in nanoseconds, extended attributes and POSIX ACLs, names in any encoding, FIFOs
// and devices. The path may also be that of a single file. As an fs.FS it is what os.DirFS returns.
//
// A path that does not exist is an error of Backup, never an empty snapshot. A repository or an
// Options.HostDir that lies in the folder is backed up like everything else, and each run then stores what the
// one before it stored: leave them out with BackupOptions.Exclude.
func Dir(path string) fs.FS { return dir{os.DirFS(path), path} }

type dir struct {
	fs.FS
	path string
}

func (d dir) source() source.Source { return localfs.Source(d.path) }

func (d dir) name() string {
	if abs, err := filepath.Abs(d.path); err == nil {
		return abs
	}
	return d.path
}

// Stream is the source for one file of unknown length, such as the output of a database's dump command.
// The reader is read once, so the source serves one backup. If it fails the backup fails: half a dump is
// no backup. Its error is wrapped, and its text, which may hold names, left out.
//
// A pipe ends for a program that failed as for one that is done, so half a dump would count as whole. Let
// the reader fail when the program does:
//
//	cmd := exec.CommandContext(ctx, "pg_dump", "clinic")
//	r, w := io.Pipe()
//	cmd.Stdout = w
//	go func() { w.CloseWithError(cmd.Run()) }()
//	snap, err := repo.Backup(ctx, backup.Stream("clinic.sql", r), nil)
//	r.Close() // ends the program too, if the backup failed
//
// A backup ends no sooner than a call of Read that is under way. exec.CommandContext sees to that as well.
//
// Unless BackupOptions.Name says otherwise, name is the name of the series.
func Stream(name string, r io.Reader) fs.FS { return stream{file: name, r: whole{r}} }

// whole makes a failure of a stream end the backup.
type whole struct{ r io.Reader }

func (w whole) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &streamError{err}
	}
	return n, err
}

type streamError struct{ err error }

func (e *streamError) Error() string    { return "the stream failed: " + e.err.Error() }
func (e *streamError) Unwrap() []error  { return []error{source.ErrStream, e.err} }
func (e *streamError) EndsBackup() bool { return true }

type stream struct {
	noFS
	file string
	r    whole
}

func (s stream) source() source.Source { return source.Stream(s.file, s.r) }
func (s stream) name() string          { return s.file }

// Group is the source for several sources captured together: a database, its documents, its images. Each
// stands in the snapshot under its name, which may have several elements separated by slashes. A group of
// nothing is an error of Backup, never an empty snapshot.
//
// Unless BackupOptions.Name says otherwise, the names together are the name of the series, so a group with
// one source more begins a new series.
func Group(sources map[string]fs.FS) fs.FS { return group{sources: sources} }

type group struct {
	noFS
	sources map[string]fs.FS
}

func (g group) source() source.Source {
	var named []source.Named
	for n, f := range g.sources {
		named = append(named, source.Named{Name: n, Source: sourceOf(f)})
	}
	slices.SortFunc(named, func(a, b source.Named) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return source.Group(named...)
}

func (g group) name() string {
	names := make([]string, 0, len(g.sources))
	for n := range g.sources {
		names = append(names, n)
	}
	slices.Sort(names)
	out := "group"
	for _, n := range names {
		out += "\x00" + n
	}
	return out
}

// noFS is the fs.FS of a source that only Backup can read.
type noFS struct{}

func (noFS) Open(name string) (fs.File, error) {
	return nil, pathError("open", name, fs.ErrInvalid)
}

var errNoSource = errors.New("there is no source: a file system or a reader is nil, or a group is empty")

// given reports sources that are not there, which are mistakes of the caller.
func given(f fs.FS) error {
	switch f := f.(type) {
	case nil:
		return errNoSource
	case stream:
		if f.r.r == nil {
			return errNoSource
		}
	case group:
		if len(f.sources) == 0 {
			return errNoSource
		}
		for _, part := range f.sources {
			if err := given(part); err != nil {
				return err
			}
		}
	}
	return nil
}

func sourceOf(f fs.FS) source.Source {
	if s, ok := f.(sourcer); ok {
		return s.source()
	}
	return source.FromFS(f)
}
