package source

import (
	"errors"
	"io"
	"runtime/debug"
)

// ErrPanic is what every *PanicError is.
const ErrPanic = Reason("code of the caller panicked; what it said is in the error's fields and not shown because it may hold a name")

// PanicError is a panic of code that the caller gave to the library. On a goroutine of the library it would
// end the process, so it ends the operation instead.
type PanicError struct {
	Value any    // what was panicked with; may hold names: not for logs
	Stack []byte // of the goroutine, as debug.Stack gives it
}

// Error returns a fixed text.
func (e *PanicError) Error() string { return string(ErrPanic) }

// Unwrap returns ErrPanic, and what was panicked with if that is an error.
func (e *PanicError) Unwrap() []error {
	if err, ok := e.Value.(error); ok {
		return []error{ErrPanic, err}
	}
	return []error{ErrPanic}
}

// EndsBackup tells a failure of the run from one of the file at hand.
func (e *PanicError) EndsBackup() bool { return true }

// EndsBackup reports whether an error is more than a failure of the file or folder at hand.
func EndsBackup(err error) bool {
	var stop interface{ EndsBackup() bool }
	return errors.As(err, &stop) && stop.EndsBackup()
}

// Recover is deferred around a call of the caller's code. A panic becomes its error.
func Recover(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: debug.Stack()}
	}
}

// recovered is Recover for one entry of a source.
func recovered(op, path string, err *error) {
	if v := recover(); v != nil {
		*err = problem(op, path, &PanicError{Value: v, Stack: debug.Stack()})
	}
}

// read reads from the caller's reader. Like package bytes it panics at a count that cannot be, which would
// otherwise do so further up.
func read(r io.Reader, p []byte) (int, error) {
	n, err := r.Read(p)
	if n < 0 || n > len(p) {
		panic("a reader returned a count that cannot be")
	}
	return n, err
}
