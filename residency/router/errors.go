package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/residency"
)

// Errors that a caller can tell apart, with errors.Is, also through the errors of the routed bucket.
var (
	// ErrHomeDown: the home site, which decides writes, does not answer.
	ErrHomeDown = errors.New("router: the home site does not answer: wait for it, or promote another site")
	// ErrTooFewSites: fewer sites than the placement requires hold what was written; or promotion would need more.
	ErrTooFewSites = errors.New("router: too few sites were reached: bring them back and try again")
	// ErrUnknown: the object is at none of the sites that answer, and may be at one that does not.
	ErrUnknown = errors.New("router: no site that answers has the object, and too few answer to say that it is nowhere: bring the home site back")
	// ErrSuperseded: there is a later epoch, which this router did not begin.
	ErrSuperseded = errors.New("router: another site was promoted, or the set of sites has changed: open the router again")
	// ErrUnfinished: a promotion was begun and not finished, or two were begun at once.
	ErrUnfinished = errors.New("router: a promotion was not finished: promote a site again")
	// ErrReserved: the key is one of the router's own.
	ErrReserved = errors.New("router: keys that begin with .router/ are the router's own: use another key")
	// ErrOtherSubject: a site holds data of another class, origin or tag.
	ErrOtherSubject = errors.New("router: the site holds data of another subject: give each subject sites or prefixes of its own")
	// ErrOtherSite: a bucket is that of another site, so it was given twice, or buckets were swapped.
	ErrOtherSite = errors.New("router: the bucket belongs to another site: check which bucket is which site")
	// ErrForeign: a bucket that is to become a copy holds objects that no router put there.
	ErrForeign = errors.New("router: the site holds objects of somebody else: give an empty bucket or a prefix")
	// ErrFirst: a router is opened for the first time while a site does not answer.
	ErrFirst = errors.New("router: the first opening needs every site: bring all of them up")
	// ErrConflict: two sites hold different objects at one key.
	ErrConflict = errors.New("router: a site holds another object at the same key: reconcile")
	// ErrSites: the sites or the placement given make no sense.
	ErrSites = errors.New("router: the sites or the placement are not valid")
	// ErrStalled: a site made no progress within its timeout.
	ErrStalled = errors.New("no progress within the site's timeout")
)

var (
	errDeleted    = errors.New("router: the object was deleted meanwhile")
	errDeleting   = errors.New("router: the object is being deleted: if that goes on, reconcile")
	errNotFound   = errors.New("router: no such object")
	errExists     = errors.New("router: the object exists")
	errNoURL      = errors.New("router: a signed URL would go round the router: there are none")
	errNoKey      = errors.New("router: the key is empty")
	errShortRead  = errors.New("the object ended early")
	errOtherSize  = errors.New("the copies differ in size")
	errChanged    = errors.New("the object was replaced while it was read")
	errNotCurrent = errors.New("the site has to be reconciled first")
	errOtherPlace = errors.New("the bucket is elsewhere than was declared: put the declaration right, or use another")
	errNotLawful  = errors.New("the rules no longer allow it")
	errReadOnly   = errors.New("the site is read-only")
)

// DeniedError says that the lawful sites cannot satisfy the placement, so that nothing was written.
type DeniedError struct {
	Decisions map[string]residency.Decision // of every site, by name
	Lacks     []string                      // what the placement would need and the lawful sites do not give
}

// Error names the verdict of every site, and what is lacking.
func (e *DeniedError) Error() string {
	var parts []string
	for name, d := range e.Decisions {
		word := "unknown"
		switch d.Verdict {
		case residency.Allowed:
			word = "allowed"
		case residency.Denied:
			word = "denied"
		}
		parts = append(parts, name+" is "+word)
	}
	slices.Sort(parts)
	return fmt.Sprintf("router: nothing was written: the lawful sites do not give %s (%s): add a lawful site, or ask less of the placement",
		strings.Join(e.Lacks, ", "), strings.Join(parts, ", "))
}

// SiteError is what went wrong at one site. Its text holds no key: what a provider says may, and is left out.
type SiteError struct {
	Site string
	Op   string
	Code gcerrors.ErrorCode
	err  error
}

// Error names the site, what was tried and the class of the error.
func (e *SiteError) Error() string {
	text := fmt.Sprint(e.Code)
	for _, known := range []error{ErrStalled, ErrConflict, ErrSuperseded, ErrOtherSubject, ErrOtherSite, ErrForeign, errShortRead, errOtherSize, errNotCurrent, errReadOnly, errAborted} {
		if errors.Is(e.err, known) {
			text = strings.TrimPrefix(known.Error(), "router: ")
		}
	}
	if n := syscall.Errno(0); errors.As(e.err, &n) {
		text += ": " + n.Error()
	}
	return "site " + e.Site + ": " + e.Op + ": " + text
}

// Unwrap gives the error of this package or of the operating system that is behind it. It gives no error of a
// provider and none of a context: a site's timeout is not the caller's.
func (e *SiteError) Unwrap() error {
	for _, known := range []error{ErrStalled, ErrConflict, ErrSuperseded, ErrOtherSubject, ErrOtherSite, ErrForeign, errOtherRecord, errReadOnly, errAborted} {
		if errors.Is(e.err, known) {
			return known
		}
	}
	if n := syscall.Errno(0); errors.As(e.err, &n) {
		return n
	}
	return nil
}

// failure is an error of the routed bucket: which of ours, under which code, and what the sites said.
type failure struct {
	code  gcerrors.ErrorCode
	err   error
	sites []error
}

func (e *failure) Error() string {
	text := e.err.Error()
	for _, s := range e.sites {
		if s != nil {
			text += "; " + s.Error()
		}
	}
	return text
}

func (e *failure) Unwrap() []error {
	out := []error{e.err}
	for _, s := range e.sites {
		if s != nil {
			out = append(out, s)
		}
	}
	return out
}

func notFound() error { return &failure{code: gcerrors.NotFound, err: errNotFound} }

// fail makes an error of this package of one of its sentinels.
func fail(err error, sites ...error) error {
	code := gcerrors.Unknown
	switch {
	case errors.Is(err, ErrSuperseded), errors.Is(err, ErrUnfinished):
		code = gcerrors.PermissionDenied // so that nobody tries again
	case errors.Is(err, ErrReserved), errors.Is(err, errNoKey):
		code = gcerrors.InvalidArgument
	case errors.Is(err, errExists):
		code = gcerrors.FailedPrecondition
	case errors.Is(err, errDeleted):
		code = gcerrors.NotFound
	case errors.Is(err, errNoURL):
		code = gcerrors.Unimplemented
	case errors.Is(err, ErrHomeDown), errors.Is(err, ErrTooFewSites), errors.Is(err, ErrUnknown), errors.Is(err, errDeleting):
		code = gcerrors.Internal // may pass
	}
	return &failure{code: code, err: err, sites: sites}
}

// codeOf is the code of an error of ours or of a bucket.
func codeOf(err error) gcerrors.ErrorCode {
	var f *failure
	var s *SiteError
	var d *DeniedError
	switch {
	case err == nil:
		return gcerrors.OK
	case errors.As(err, &f):
		return f.code
	case errors.As(err, &d):
		return gcerrors.PermissionDenied
	case errors.As(err, &s):
		return s.Code
	}
	code := gcerrors.Code(err)
	if code != gcerrors.Unknown {
		return code
	}
	// Bucket.Upload hands on what the driver's writer says, without the driver's code for it. These are a folder's.
	switch {
	case errors.Is(err, fs.ErrExist):
		return gcerrors.FailedPrecondition
	case errors.Is(err, fs.ErrNotExist):
		return gcerrors.NotFound
	case errors.Is(err, fs.ErrPermission):
		return gcerrors.PermissionDenied
	case errors.Is(err, syscall.ENOSPC):
		return gcerrors.ResourceExhausted
	}
	return code
}

func isNotFound(err error) bool { return codeOf(err) == gcerrors.NotFound }

// isDeletion reports whether a write was not settled because its object was or is being deleted.
func isDeletion(err error) bool { return errors.Is(err, errDeleted) || errors.Is(err, errDeleting) }

// isTaken reports whether a conditional write met an object.
func isTaken(err error) bool {
	code := codeOf(err)
	return code == gcerrors.FailedPrecondition || code == gcerrors.AlreadyExists
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// isEOF tells the end of a stream.
func isEOF(err error) bool { return errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) }
