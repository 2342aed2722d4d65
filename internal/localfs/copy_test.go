package localfs_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/localfs"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/stretchr/testify/require"
)

// copyTree is the least engine: it copies everything from a source to a target and returns the errors.
func copyTree(t testing.TB, src source.Source, target *localfs.Target) []error {
	root, e, err := src.Open(context.Background())
	require.NoError(t, err)
	defer root.Close()
	c := copier{t: t, target: target, links: map[uint64]string{}}
	c.fail(target.Folder(e))
	c.folder(root, "")
	return c.errs
}

type copier struct {
	t      testing.TB
	target *localfs.Target
	links  map[uint64]string
	errs   []error
}

func (c *copier) fail(err error) {
	if err != nil {
		c.errs = append(c.errs, err)
	}
}

func (c *copier) folder(f source.Folder, prefix string) {
	names, err := f.Names(context.Background())
	require.NoError(c.t, err)
	for i := range names.Len() {
		name := names.At(i)
		e, err := f.Lstat(name)
		require.NoError(c.t, err)
		require.NoError(c.t, f.Xattrs(name, e))
		e.Path = prefix + name
		if e.LinkGroup != 0 {
			if first, ok := c.links[e.LinkGroup]; ok {
				c.fail(c.target.Link(e, first))
				continue
			}
			c.links[e.LinkGroup] = e.Path
		}
		switch e.Kind {
		case format.Dir:
			c.fail(c.target.Folder(e))
			sub, err := f.Folder(name)
			require.NoError(c.t, err)
			c.folder(sub, e.Path+"/")
			require.NoError(c.t, sub.Close())
		case format.File:
			c.fail(c.file(f, name, e))
		case format.Symlink:
			c.fail(c.target.Symlink(e))
		default:
			c.fail(c.target.Special(e))
		}
	}
}

func (c *copier) file(f source.Folder, name string, e *format.Entry) error {
	in, err := f.File(name)
	require.NoError(c.t, err)
	defer in.Close()
	out, err := c.target.File(e)
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	last := int64(0)
	for off := int64(0); ; {
		start, end, err := in.NextData(off)
		require.NoError(c.t, err)
		require.NoError(c.t, out.Hole(last, start-last))
		if start == end || start >= e.Size {
			break
		}
		for off = start; off < end; {
			n, err := in.Read(buf[:min(int64(len(buf)), end-off)])
			if n > 0 {
				_, werr := out.WriteAt(buf[:n], off)
				require.NoError(c.t, werr)
				off += int64(n)
			}
			if err == io.EOF {
				end = off
			} else {
				require.NoError(c.t, err)
			}
		}
		last = off
	}
	return out.Finish(e)
}

func needRoot(t testing.TB) {
	if os.Geteuid() != 0 {
		t.Skip("owners and devices need root")
	}
}

func newTarget(t testing.TB, opts localfs.TargetOptions) (string, *localfs.Target) {
	dir := filepath.Join(t.TempDir(), "target")
	target, err := localfs.OpenTarget(dir, opts)
	require.NoError(t, err)
	return dir, target
}

func entry(kind format.Kind, path string) *format.Entry {
	e := &format.Entry{Path: path, Kind: kind, Mode: 0o644, ModTime: format.Time{Sec: 1_700_000_000, Nsec: 3}}
	switch kind {
	case format.Dir:
		e.Mode = 0o755
	case format.Symlink:
		e.Target = "somewhere"
	case format.CharDevice, format.BlockDevice:
		e.Device = 1<<32 | 3
	}
	return e
}

func put(t testing.TB, target *localfs.Target, e *format.Entry, content string) *localfs.Out {
	t.Helper()
	out, err := target.File(e)
	require.NoError(t, err)
	_, err = out.WriteAt([]byte(content), 0)
	require.NoError(t, err)
	e.Size = int64(len(content))
	return out
}
