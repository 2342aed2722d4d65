package router

import (
	"context"
	"errors"

	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/observe"
)

// The operations, as spans and metrics name them. Those that a person or a schedule asks for are logged too.
const (
	opOpen       = "open"
	opLook       = "look"
	opList       = "list"
	opRead       = "read"
	opWrite      = "write"
	opReconcile  = "reconcile"
	opPromote    = "promote"
	opMigrate    = "migrate"
	opResume     = "resume"
	opReevaluate = "reevaluate"
	opDrill      = "drill"
)

// observer makes what tells of the router's work. No call of it takes a key or the text of an error.
func (o *Options) observer() *observe.Sites {
	return observe.NewSites(observe.Options{Logger: o.Logger, Tracer: o.TracerProvider, Meter: o.MeterProvider, Classify: class})
}

// class is the word for an error: one of a closed set. What an operation says comes before what its sites said.
func class(err error) string {
	var denied *DeniedError
	var residue *ResidueError
	switch {
	case errors.As(err, &denied):
		return "denied"
	case errors.As(err, &residue):
		return "residue"
	}
	for _, c := range []struct {
		err  error
		word string
	}{
		{context.Canceled, "canceled"}, {context.DeadlineExceeded, "deadline_exceeded"},
		{ErrHomeDown, "home_down"}, {ErrTooFewSites, "too_few_sites"}, {ErrUnknown, "unknown"}, {ErrSuperseded, "superseded"},
		{ErrUnfinished, "unfinished"}, {ErrConflict, "conflict"}, {ErrDiffering, "conflict"}, {ErrStale, "stale"}, {ErrMoving, "moving"},
		{ErrDrill, "drill"}, {ErrReserved, "invalid"}, {ErrSites, "invalid"}, {ErrFirst, "first"}, {ErrForeign, "foreign"},
		{ErrOtherSite, "foreign"}, {ErrOtherSubject, "foreign"}, {ErrStalled, "stalled"}, {errReadOnly, "read_only"}, {errAborted, "given_up"},
	} {
		if errors.Is(err, c.err) {
			return c.word
		}
	}
	switch codeOf(err) {
	case gcerrors.NotFound:
		return "not_found"
	case gcerrors.FailedPrecondition, gcerrors.AlreadyExists:
		return "exists"
	case gcerrors.PermissionDenied:
		return "refused"
	case gcerrors.ResourceExhausted:
		return "full"
	}
	return "other"
}
