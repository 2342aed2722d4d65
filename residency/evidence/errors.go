package evidence

import (
	"context"
	"errors"
	"fmt"

	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/store"
)

// Errors that a caller can tell apart.
var (
	// ErrRefused: what was to be recorded is not of the kind's type, or might hold patient data. See [RefusedError].
	ErrRefused = errors.New("evidence refused")
	// ErrBroken: the evidence was altered or is incomplete. See [BrokenError].
	ErrBroken = errors.New("evidence broken")
)

// RefusedError says which field of a record was refused. It does not repeat the value, which may be the very
// thing that must not be written.
type RefusedError struct {
	Kind  Kind   // empty if it is the kind that is not known
	Field string // such as "Decision.Reasons.Rule"; empty if it is the data as a whole
	Why   string
}

func (e *RefusedError) Error() string {
	s := "evidence"
	if e.Kind != "" {
		s += ": " + string(e.Kind)
	}
	if e.Field != "" {
		s += ": field " + e.Field
	}
	return s + ": " + e.Why
}

// Is makes it an [ErrRefused].
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// Fault is one place where evidence is not as it was written.
type Fault struct {
	Writer  string `json:"writer,omitempty"` // whose chain; empty for the file as a whole
	Seq     int64  `json:"seq,omitempty"`    // the block; 0 for the file or the chain as a whole
	Problem string `json:"problem"`
}

func (f Fault) String() string {
	switch {
	case f.Writer == "":
		return f.Problem
	case f.Seq == 0:
		return fmt.Sprintf("writer %s: %s", f.Writer, f.Problem)
	}
	return fmt.Sprintf("writer %s, block %d: %s", f.Writer, f.Seq, f.Problem)
}

// maxFaults is how many faults are listed; more are counted.
const maxFaults = 100

// BrokenError lists the faults that were found.
type BrokenError struct {
	Faults []Fault
	More   int // found beyond those listed
}

func (e *BrokenError) Error() string {
	n := len(e.Faults) + e.More
	if n == 1 {
		return "evidence is broken: " + e.Faults[0].String()
	}
	return fmt.Sprintf("evidence is broken in %d places; the first: %s", n, e.Faults[0])
}

// Is makes it an [ErrBroken].
func (e *BrokenError) Is(target error) bool { return target == ErrBroken }

// storeError hides the text of a driver's error, which holds the object's key.
type storeError struct {
	op  string
	err error
}

func (e *storeError) Error() string {
	for _, known := range []error{store.ErrSpace, store.ErrDenied, store.ErrNotFound, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(e.err, known) {
			return "evidence: " + e.op + ": " + known.Error()
		}
	}
	return fmt.Sprintf("evidence: %s: the store failed (%s)", e.op, gcerrors.Code(e.err))
}

func (e *storeError) Unwrap() error { return e.err }
