package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/localfs"
)

// RestoreOptions say what is restored and how. The zero value restores everything but owners and devices,
// over what is there; so does nil.
type RestoreOptions struct {
	// Paths are what to restore, as the snapshot names it; a folder means everything below it. Empty means
	// all.
	Paths []string
	// Owners restores owners: by name where this system knows the name, else by number. It needs rights.
	Owners bool
	// NumericOwners restores owners by number alone, for another system's disk. It implies Owners.
	NumericOwners bool
	// Devices makes device files. Take it only for a repository that you trust, and as root.
	Devices bool
	// NoXattrs leaves out extended attributes and ACLs.
	NoXattrs bool
	// KeepExisting leaves every file alone that exists already.
	KeepExisting bool
	// CompareContent compares the content of files that exist, even if size and time agree.
	CompareContent bool
	// Workers is how many runs of a pack are read and written at once; 0 chooses.
	Workers int
}

// RestoreReport says what a restore did.
type RestoreReport struct {
	Files, Folders, Others int64 // as in the snapshot now
	Bytes                  int64 // of their content
	BytesWritten           int64 // the rest was there already
	Identical              int64 // files that were left alone
	LeftOut                int64 // sockets, and devices that nobody asked for
	Kept                   int64 // existing files that KeepExisting kept
	Problems               int64 // what is not as in the snapshot; the error lists them
}

// Errors of Restore.
var (
	// ErrTargetFull: the disk that is restored to is full; restoring again goes on.
	ErrTargetFull = engine.ErrTargetFull
	// ErrStoreGone: the store stopped answering; restoring again goes on.
	ErrStoreGone = engine.ErrStoreGone
)

// Restore brings the folder dir to the state of the snapshot, its own mode, time and, if asked for, owner
// included, unless RestoreOptions.Paths chooses a part. The folder is made if it is missing; those above
// it must be there. What is there already is compared, and only what differs is read and written. Files
// that the snapshot does not hold are left alone. Nothing is written outside dir, whatever the snapshot
// holds and whatever links lie in dir. That the snapshot itself is incomplete is no error: see
// Snapshot.Outcome. It needs the reader's role.
//
// An [*IncompleteError] comes with a report and says what could not be restored, or lacks attributes. Any
// other error ended the restore early; restoring again goes on, file by file: a new file that was being
// written is removed, and begun again. Paths that the snapshot does not hold give a [*PathsError], after the
// others were restored.
func (s *Snapshot) Restore(ctx context.Context, dir string, opts *RestoreOptions) (*RestoreReport, error) {
	if opts == nil {
		opts = &RestoreOptions{}
	}
	e, err := s.reader(ctx)
	if err != nil {
		return nil, err
	}
	o := engine.RestoreOptions{
		Paths: opts.Paths, Devices: opts.Devices, NoXattrs: opts.NoXattrs,
		FullCompare: opts.CompareContent, Workers: opts.Workers,
	}
	switch {
	case opts.NumericOwners:
		o.Owners = localfs.NumericOwners
	case opts.Owners:
		o.Owners = localfs.NamedOwners
	}
	if opts.KeepExisting {
		o.Overwrite = localfs.KeepAll
	}
	res, err := s.r.e.Restore(ctx, e, dir, o)
	rep := &RestoreReport{
		Files: res.Files, Folders: res.Folders, Others: res.Others, Bytes: res.Bytes, BytesWritten: res.Written,
		Identical: res.Skipped, LeftOut: res.LeftOut, Kept: res.Kept, Problems: res.Failed + res.Lost,
	}
	var paths *engine.PathsError
	if err != nil && !errors.As(err, &paths) {
		return rep, fmt.Errorf("backup: restore: %w", err)
	}
	if paths != nil {
		err = &PathsError{Paths: paths.Paths}
	}
	if !res.Complete() {
		inc := &IncompleteError{Total: rep.Problems}
		for _, p := range res.Problems {
			inc.Problems = append(inc.Problems, Problem{Path: p.Path, Reason: NotRestored, Detail: p.Error()})
		}
		for _, p := range res.Losses {
			inc.Problems = append(inc.Problems, Problem{Path: p.Path, Reason: LostAttributes, Detail: p.Error()})
		}
		if err == nil {
			return rep, inc
		}
		return rep, fmt.Errorf("backup: restore: %w", errors.Join(err, inc))
	}
	if err != nil {
		return rep, fmt.Errorf("backup: restore: %w", err)
	}
	return rep, nil
}
