//go:build unix

package localfs

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/carekeep/carekeep/internal/format"
	"golang.org/x/sys/unix"
)

// procPath is a path to name in the open folder dir, or to the open file dir itself. It works without
// reading any name on the way, and whoever renames folders cannot bend it.
func procPath(dir int, name string) string {
	p := "/proc/self/fd/" + strconv.Itoa(dir)
	if name != "" {
		p += "/" + name
	}
	return p
}

// readXattrs reads all attributes through list and get, sorted by name. One that vanishes meanwhile is left
// out; one that cannot be read, or is one too many, leaves an error beside those that were read.
func readXattrs(buf *[bufSize]byte, list func([]byte) (int, error), get func(string, []byte) (int, error)) ([]format.Xattr, error) {
	names, err := readGrowing(buf[:bufSize/2], list)
	if err == unix.ENOTSUP || err == unix.EOPNOTSUPP || len(names) == 0 {
		return nil, noSupport(err)
	}
	if err != nil {
		return nil, err
	}
	var xattrs []format.Xattr
	var first error
	total := 0
	for _, name := range strings.Split(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		value, err := readGrowing(buf[bufSize/2:], func(b []byte) (int, error) { return get(name, b) })
		if total += len(name) + len(value); err == nil && total > MaxXattrs {
			total -= len(name) + len(value)
			err = ErrXattrSize
		}
		switch {
		case err == nil:
			xattrs = append(xattrs, format.Xattr{Name: name, Value: slices.Clone(value)})
		case err == errNoXattr || err == unix.ENOTSUP:
		case first == nil:
			first = &Problem{Op: "xattr", Detail: name, Err: err}
		}
	}
	slices.SortFunc(xattrs, func(a, b format.Xattr) int { return cmp.Compare(a.Name, b.Name) })
	return xattrs, first
}

func noSupport(err error) error {
	if err == unix.ENOTSUP || err == unix.EOPNOTSUPP {
		return nil
	}
	return err
}

// readGrowing calls read with buf and, if that is too small, with larger buffers up to one byte more than
// is allowed.
func readGrowing(buf []byte, read func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := read(buf)
		if err == nil {
			return buf[:n], nil
		}
		if err == unix.E2BIG || err == unix.ERANGE && len(buf) > MaxXattrs {
			return nil, ErrXattrSize
		}
		if err != unix.ERANGE {
			return nil, err
		}
		buf = make([]byte, min(4*len(buf), MaxXattrs+1))
	}
}
