package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/carekeep/carekeep/internal/store"
)

// Errors to be told apart with [errors.Is]. The text of no error holds a file name, a path or a label;
// where those matter they are fields of a typed error.
var (
	// ErrNoRepository: the bucket holds no repository, or one whose creation was cut off.
	ErrNoRepository = engine.ErrNoRepository
	// ErrRepositoryExists: Create met a repository.
	ErrRepositoryExists = engine.ErrExists
	// ErrWrongKey: no key slot opens with this password or key service. What the service said of it is wrapped too.
	ErrWrongKey = engine.ErrWrongKey
	// ErrNoCredential: this host holds no writer credential; open the repository once with a password.
	ErrNoCredential = engine.ErrNoCredential
	// ErrRole: the key that opened the repository does not allow this.
	ErrRole = engine.ErrRole
	// ErrNewerFormat: the repository was written by a newer release.
	ErrNewerFormat = format.ErrVersion
	// ErrUnsafeBucket: the bucket is gocloud's fileblob, which can lose data; use package dirblob.
	ErrUnsafeBucket = engine.ErrFileblob
	// ErrSingleWriter: the store cannot create objects exclusively, so two writers could overwrite each
	// other, and this one would be the second; see CreateOptions.SingleWriter and Options.TakeOver.
	ErrSingleWriter = engine.ErrSingleWriter
	// ErrRolledBack: the store shows an older state than this host has seen, or another log.
	ErrRolledBack = ledger.ErrRolledBack
	// ErrDamaged: bytes in the store are not those that were stored, or are missing.
	ErrDamaged = engine.ErrDamaged
	// ErrStalePlan: a plan was not made of the repository as it is.
	ErrStalePlan = engine.ErrStale
	// ErrProtected: a hold or a promise keeps what was to be forgotten, or a hold was to be changed.
	ErrProtected = errors.New("it is protected")
	// ErrCondemned: space that a backup relied on was given back while it ran, and its source cannot be read
	// again. Nothing was committed; run it again.
	ErrCondemned = engine.ErrCondemned
	// ErrForgotten: a snapshot was forgotten, and its space given back, while it was read.
	ErrForgotten = engine.ErrForgotten
	// ErrNoSnapshot: there is no such snapshot.
	ErrNoSnapshot = errors.New("there is no such snapshot")
	// ErrAmbiguous: the beginning of an id fits several snapshots.
	ErrAmbiguous = errors.New("several snapshots fit: give more of the id")
	// ErrLatestUnknown: the log's newest entries are damaged, so the newest snapshot is not known. Older
	// ones can be opened by id. [Repository.AcceptLoss] is the way out where no copy of the store has them.
	ErrLatestUnknown = errors.New("the newest entry of the commit log is damaged: which snapshot is the latest is not known: " +
		"bring the object that a check names back from a copy of the store, or accept its loss")
	// ErrIncomplete is what every *IncompleteError is.
	ErrIncomplete = errors.New("not everything could be kept")
	// ErrPanic is what every *PanicError is.
	ErrPanic = source.ErrPanic
	// ErrNoSpace: the store is full. Nothing that was committed is lost.
	ErrNoSpace = store.ErrSpace
	// ErrStoreDenied: the store refused for lack of rights.
	ErrStoreDenied = store.ErrDenied
)

// PanicError is a panic of code that the caller gave: an fs.FS, the reader of a [Stream], a key service,
// Options.Progress, CatalogueOptions.Point or CompactOptions.LockedUntil. It ends the operation, not the process. Its text is fixed; what was
// panicked with, which may hold names, is in its field Value, and where in Stack.
type PanicError = source.PanicError

// IncompleteError is returned beside a snapshot, or a report of a restore, that lacks something. It is not
// a failure: what could be kept was kept and committed. Its text tells how much is missing, its fields
// what.
type IncompleteError struct {
	// Total counts everything that is missing; Problems lists at most 100,000 of them.
	Total    int64
	Problems []Problem
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("%v: %d problems, listed in the error's fields", ErrIncomplete, e.Total)
}

// Unwrap makes errors.Is(err, ErrIncomplete) true.
func (e *IncompleteError) Unwrap() error { return ErrIncomplete }

// Problem is one thing that a snapshot or a restore lacks, and why.
type Problem struct {
	Path   string // patient data: not for logs
	Reason Reason
	Detail string // the system's words, without the path
}

// Reason says why something is missing.
type Reason byte

// The reasons. Their numbers are part of the repository format.
const (
	Unreadable     Reason = 1 // it could not be read
	Vanished       Reason = 2 // it was gone when it was to be read
	Changed        Reason = 3 // it changed while it was read; what is kept may mix old and new
	Refused        Reason = 4 // a snapshot cannot hold it
	LostAttributes Reason = 5 // it is kept, without some of its attributes
	NotRestored    Reason = 6 // it is in the snapshot and could not be restored
)

func (r Reason) String() string {
	switch r {
	case Unreadable:
		return "unreadable"
	case Vanished:
		return "vanished"
	case Changed:
		return "changed while it was read"
	case Refused:
		return "cannot be kept"
	case LostAttributes:
		return "attributes lost"
	case NotRestored:
		return "not restored"
	}
	return "unknown reason"
}

// PathsError is in the error of a restore that was told to restore what the snapshot does not hold. It is
// fs.ErrNotExist to errors.Is.
type PathsError struct {
	Paths []string // as they were chosen; patient data: not for logs
}

func (e *PathsError) Error() string {
	return (&engine.PathsError{Paths: e.Paths}).Error()
}

// Is makes errors.Is(err, fs.ErrNotExist) true.
func (e *PathsError) Is(target error) bool { return target == fs.ErrNotExist }

// DamageError is returned beside the report of a check that found damage.
type DamageError struct {
	Total int64 // findings, also those that the report does not list
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%v: %d findings, listed in the report", ErrDamaged, e.Total)
}

// Unwrap makes errors.Is(err, ErrDamaged) true.
func (e *DamageError) Unwrap() error { return ErrDamaged }

// LossError refuses [Repository.AcceptLoss], because what was named is not just what is lost. Nothing was changed.
type LossError struct {
	// Unnamed is lost as well, and has to be named too: slots of the log by the names of their objects, and ids of
	// snapshots that cannot be restored completely.
	Unnamed []string
	// Sound was named, and is not lost.
	Sound []string

	err *engine.LossError
}

func (e *LossError) Error() string { return e.err.Error() }

// Unwrap makes errors.Is(err, ErrDamaged) true if something is lost that was not named.
func (e *LossError) Unwrap() error {
	if len(e.Unnamed) > 0 {
		return ErrDamaged
	}
	return nil
}

// class is the word by which logs, spans and metrics know an error: one of a closed set.
func class(err error) string {
	for _, c := range []struct {
		err  error
		word string
	}{
		{context.Canceled, "canceled"}, {context.DeadlineExceeded, "deadline_exceeded"},
		{ErrIncomplete, "incomplete"}, {ErrWrongKey, "wrong_key"}, {ErrRole, "role"}, {ErrNewerFormat, "newer_format"},
		{ErrRolledBack, "rolled_back"}, {ErrForgotten, "forgotten"}, {ErrDamaged, "damaged"}, {seal.ErrAuthentication, "damaged"}, {format.ErrMalformed, "damaged"},
		{ErrStalePlan, "stale"}, {ErrProtected, "protected"}, {ErrCondemned, "condemned"}, {ErrPanic, "panic"}, {ErrNoSpace, "no_space"}, {ErrStoreDenied, "denied"}, {store.ErrNotFound, "not_found"}, {store.ErrExists, "exists"},
	} {
		if errors.Is(err, c.err) {
			return c.word
		}
	}
	return "other"
}
