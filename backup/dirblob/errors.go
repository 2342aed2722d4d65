package dirblob

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"gocloud.dev/gcerrors"
)

// Causes that the operating system has no number for.
var (
	errGone       = errors.New("the folder of the bucket is gone; mount the volume again and reopen the bucket")
	errNotFolder  = errors.New("not a folder")
	errUnsettled  = errors.New("the folder is replaced again and again by others; try again")
	errTempGone   = errors.New("the unfinished file was removed by somebody else; write the object again")
	errBadTrailer = errors.New("the attributes at the end of the file are damaged; restore the file from another copy")
)

// opError is an error of this package. Its text holds no path; the path is in
// the wrapped *fs.PathError.
type opError struct {
	op   string
	code gcerrors.ErrorCode // Unknown: derive it from the cause
	path *fs.PathError      // nil where no file is concerned
}

func (e *opError) Error() string {
	text := "dirblob: " + e.op
	if e.path == nil {
		return text
	}
	text += ": " + e.path.Err.Error()
	switch {
	case isFull(e.path.Err):
		text += "; free some space on the volume"
	case isReadOnly(e.path.Err), errors.Is(e.path.Err, fs.ErrPermission):
		text += "; allow this user to write to the folder"
	}
	return text
}

func (e *opError) Unwrap() error {
	if e.path == nil {
		return nil
	}
	return e.path
}

// invalid is a refusal of what the caller asked for.
func invalid(op string) error { return &opError{op: op, code: gcerrors.InvalidArgument} }

// wrap turns an error of the file system into one of this package. Errors of
// a context, and errors of this package, pass unchanged.
func wrap(op string, err error) error {
	var own *opError
	if err == nil || errors.As(err, &own) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	pe := &fs.PathError{Op: op, Err: err}
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		pe.Path, pe.Err = path.Path, path.Err
	case errors.As(err, &link):
		pe.Path, pe.Err = link.New, link.Err
	}
	return &opError{op: op, path: pe}
}

// unsupported is whether the file system lacks the operation, as opposed to refusing this call.
func unsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EPERM)
}

// ErrorCode implements driver.Bucket.
func (b *bucket) ErrorCode(err error) gcerrors.ErrorCode {
	var e *opError
	switch {
	case errors.As(err, &e) && e.code != 0:
		return e.code
	case errors.Is(err, fs.ErrNotExist):
		return gcerrors.NotFound
	case errors.Is(err, fs.ErrExist):
		return gcerrors.FailedPrecondition
	case isFull(err):
		return gcerrors.ResourceExhausted
	case isReadOnly(err), errors.Is(err, fs.ErrPermission):
		return gcerrors.PermissionDenied
	case errors.Is(err, syscall.ENAMETOOLONG):
		return gcerrors.InvalidArgument
	}
	return gcerrors.Unknown
}

// ErrorAs implements driver.Bucket: it gives the *fs.PathError.
func (b *bucket) ErrorAs(err error, i any) bool {
	p, ok := i.(**fs.PathError)
	return ok && errors.As(err, p)
}
