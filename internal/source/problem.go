package source

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"syscall"
)

// Reason is an error with a fixed text, which therefore holds no name.
type Reason string

// Error returns the text.
func (r Reason) Error() string { return string(r) }

// Reasons of this package, found with errors.Is.
const (
	// ErrName: the name cannot be used with this source: empty, ".", "..", with a slash or a NUL, or (for
	// an fs.FS) not UTF-8.
	ErrName = Reason("the name is not valid here")
	// ErrLink: the source has a symbolic link but no way to read where it leads.
	ErrLink = Reason("the source cannot read symbolic links; give it a ReadLink method")
	// ErrKind: the thing is not, or is no longer, of the kind that was asked for.
	ErrKind = Reason("the entry is not, or is no longer, of the kind expected")
	// ErrUsed: a stream was asked for a second time.
	ErrUsed = Reason("a stream can be read only once; open it again and make a new source")
	// ErrStream: the reader of a stream failed. Its own error is wrapped beside it.
	ErrStream = Reason("the stream failed; its own error is wrapped and not shown because it may hold a name")
	// ErrNames: sources of one group have names that are equal, or one name is a folder of another.
	ErrNames = Reason("two sources of a group have the same name, or one name lies inside the other")
)

// Problem is what went wrong with one entry. Names are patient data: they are in Path only, and Error()
// never shows them.
type Problem struct {
	Path   string // the path, or the name in its folder, where that is all that the source knows
	Op     string // what was being done: "open", "owner", "xattr", …
	Detail string // which extended attribute, where it was one; like Path not part of the text
	Err    error
}

// Error returns a text without names: the operation, and the reason as far as its text is known to be
// free of names.
func (p *Problem) Error() string { return p.Op + ": " + nameless(p.Err) }

// Unwrap returns Err. Its own text may hold names.
func (p *Problem) Unwrap() error { return p.Err }

func nameless(err error) string {
	var reason Reason
	var errno syscall.Errno
	switch {
	case errors.As(err, &reason):
		return string(reason)
	case errors.As(err, &errno):
		return errno.Error()
	}
	for _, known := range []error{fs.ErrNotExist, fs.ErrPermission, fs.ErrExist, fs.ErrClosed, fs.ErrInvalid,
		io.ErrUnexpectedEOF, io.EOF, context.Canceled, context.DeadlineExceeded, errors.ErrUnsupported} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "the file system reports an error; its text is kept from view because it may hold a name"
}

func problem(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &Problem{Path: path, Op: op, Err: err}
}
