package backup

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/internal/compress"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
)

// BackupOptions say what a snapshot holds and how it is made. The zero value works, and so does nil.
type BackupOptions struct {
	// Labels are kept with the snapshot, sealed to readers.
	Labels map[string]string
	// Host and Name tell one series of snapshots from another: a run compares itself with the last
	// snapshot of its series. Host defaults to the computer's name, Name to the absolute path of a [Dir], the
	// name of a [Stream], the names in a [Group], and to nothing for any other fs.FS. Give a name to what is
	// to stay one series when its path or its parts change.
	Host, Name string
	// Exclude leaves out what a pattern matches. A pattern without a slash is matched against every name,
	// one with a slash against the path from the source's root; "*" and "?" stop at a slash, "**" does
	// not; a slash at the end means folders only. A folder that is left out is not entered. The root is the
	// folder of a [Dir], whose own path is no part of what is matched.
	Exclude []string
	// FullRead reads every file again. Otherwise a file is taken as unchanged, and not read, when kind,
	// size, modification time, change time (ctime), inode, owner and mode are as recorded, and its last
	// change lies more than two seconds before the run that recorded it. A program that writes without
	// changing the size and sets the times back can fool this only where the file system keeps no ctime
	// (FAT, some network shares), or by setting the system's clock.
	FullRead bool
	// Workers is how many files are read at once; 0 means one per processor, at least two.
	Workers int
	// Compression trades time for size.
	Compression Compression
}

// Compression is how hard new data is compressed. All levels are Zstandard (RFC 8878); data that is
// compressed already is stored as it is.
type Compression int

// The levels.
const (
	Fastest Compression = iota
	Balanced
	Smallest
)

// Backup makes a snapshot of src: [Dir] for a local folder, [Stream] for one file of unknown length,
// [Group] for several sources, or any other fs.FS.
//
// A nil error means that the snapshot is complete and committed: it restores whatever happens to this
// process or host from here on. An [*IncompleteError] comes with a snapshot that is committed too, and
// says what it lacks and why. Any other error means that no snapshot was made, and none is returned; what
// was uploaded by then is found by the next run, which does not upload it again.
//
// A cancelled context ends the run promptly. If it was cancelled during the last request, the snapshot may
// be there.
func (r *Repository) Backup(ctx context.Context, src fs.FS, opts *BackupOptions) (*Snapshot, error) {
	if opts == nil {
		opts = &BackupOptions{}
	}
	if err := given(src); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	o := engine.BackupOptions{
		Host: opts.Host, Exclude: opts.Exclude, FullRead: opts.FullRead, Workers: opts.Workers,
		Level: compress.Level(opts.Compression),
	}
	if o.Host == "" {
		o.Host, _ = os.Hostname()
	}
	name := opts.Name
	if s, ok := src.(sourcer); ok && name == "" {
		name = s.name()
	}
	o.Sources = []string{name}
	for k, v := range opts.Labels {
		o.Labels = append(o.Labels, format.Label{Key: k, Value: v})
	}
	slices.SortFunc(o.Labels, func(a, b format.Label) int { return strings.Compare(a.Key, b.Key) })
	res, err := r.e.Backup(ctx, sourceOf(src), o)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	snap := newSnapshot(r, res.Ref, res.Outcome, &res.Description)
	snap.run = RunStats{BytesRead: res.Read, BytesStored: res.Stored, Unchanged: res.Unchanged}
	if res.Outcome == 0 {
		return snap, nil
	}
	return snap, &IncompleteError{Total: int64(res.Description.Problems), Problems: problems(res.Problems)}
}

func problems(in []format.Problem) []Problem {
	out := make([]Problem, len(in))
	for i, p := range in {
		out[i] = Problem{Path: p.Path, Reason: Reason(p.Reason), Detail: p.Detail}
	}
	return out
}

// RunStats says what a run did.
type RunStats struct {
	BytesRead   int64 // of file content read
	BytesStored int64 // written to the store
	Unchanged   bool  // the snapshot holds just what the one before it holds
}
