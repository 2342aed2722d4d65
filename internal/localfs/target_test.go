//go:build linux

package localfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/localfs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestOutOutlivesFolder: files are finished in any order, by other goroutines, after the target has left their
// folders, and the folders' times and modes are right all the same.
func TestOutOutlivesFolder(t *testing.T) {
	dir, target := newTarget(t, localfs.TargetOptions{})
	var wg sync.WaitGroup
	content := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	for i := range 50 {
		d := entry(format.Dir, fmt.Sprintf("d%02d", i))
		d.Mode = 0o500
		require.NoError(t, target.Folder(d))
		for j := range 4 {
			e := entry(format.File, fmt.Sprintf("%s/f%d", d.Path, j))
			e.Size = int64(len(content))
			out, err := target.File(e)
			require.NoError(t, err)
			wg.Go(func() {
				time.Sleep(time.Duration((i*7+j*3)%5) * time.Millisecond)
				var parts sync.WaitGroup
				for k := range 4 {
					parts.Go(func() {
						n := len(content) / 4
						if _, err := out.WriteAt(content[k*n:(k+1)*n], int64(k*n)); err != nil {
							t.Error(err)
						}
					})
				}
				parts.Wait()
				if j == 3 {
					if err := out.Abort(); err != nil {
						t.Error(err)
					}
				} else if err := out.Finish(e); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	require.NoError(t, target.Close())
	got := listTree(t, dir)
	require.Len(t, got, 1+50*4)
	for path, s := range got {
		if path == "." {
			continue
		}
		require.Equal(t, syscall.Timespec{Sec: 1_700_000_000, Nsec: 3}, s.Mtime, path)
		if strings.Contains(path, "/") {
			require.Equal(t, int64(len(content)), s.Size)
			require.Equal(t, got["d00/f0"].Sum, s.Sum)
		} else {
			require.Equal(t, uint32(syscall.S_IFDIR|0o500), s.Mode)
		}
	}
}

func TestOutOfExistingFile(t *testing.T) {
	dir, target := newTarget(t, localfs.TargetOptions{})
	m := must{t, dir}
	m.file("f", "old content", 0o4777)
	e := entry(format.File, "f")
	out, err := target.File(e)
	require.NoError(t, err)
	require.True(t, out.Existed())
	require.Equal(t, int64(11), out.Entry().Size)
	b := make([]byte, 20)
	n, err := out.ReadAt(b, 4)
	require.Equal(t, io.EOF, err)
	require.Equal(t, "content", string(b[:n]))
	require.Equal(t, uint32(syscall.S_IFREG|0o4777), look(t, m.p("f")).Mode, "looking changes nothing")
	_, err = out.WriteAt([]byte("new"), 0)
	require.NoError(t, err)
	require.Equal(t, uint32(syscall.S_IFREG|0o700), look(t, m.p("f")).Mode, "nobody else sees the new content under the old mode")
	require.NoError(t, out.Hole(3, 4))
	e.Size = 9
	require.NoError(t, out.Finish(e))
	content, err := os.ReadFile(m.p("f"))
	require.NoError(t, err)
	require.Equal(t, "new\x00\x00\x00\x00te", string(content))
	require.Equal(t, uint32(syscall.S_IFREG|0o644), look(t, m.p("f")).Mode)
	require.ErrorIs(t, out.Finish(e), localfs.ErrClosed)
	require.ErrorIs(t, out.Abort(), localfs.ErrClosed)

	// The same again: its change time shows that it was not touched.
	same := look(t, m.p("f"))
	out, err = target.File(e)
	require.NoError(t, err)
	require.NoError(t, out.Finish(e))
	require.Equal(t, same, look(t, m.p("f")))

	// Left alone: nothing changes.
	before := look(t, m.p("f"))
	out, err = target.File(e)
	require.NoError(t, err)
	require.NoError(t, out.Abort())
	require.Equal(t, before, look(t, m.p("f")))

	// A second name elsewhere keeps the old content.
	m.ok(os.Link(m.p("f"), filepath.Join(filepath.Dir(dir), "outside")))
	out = put(t, target, e, "third")
	require.False(t, out.Existed())
	require.NoError(t, out.Finish(e))
	content, err = os.ReadFile(filepath.Join(filepath.Dir(dir), "outside"))
	require.NoError(t, err)
	require.Equal(t, "new\x00\x00\x00\x00te", string(content))
	require.NoError(t, target.Close())
	require.ErrorIs(t, target.Close(), localfs.ErrClosed)
	_, err = target.File(e)
	require.ErrorIs(t, err, localfs.ErrClosed)
}

func TestSparseStaysSparse(t *testing.T) {
	dir, target := newTarget(t, localfs.TargetOptions{})
	m := must{t, dir}
	m.file("s", strings.Repeat("x", 4<<20), 0o600)
	e := entry(format.File, "s")
	e.Size = 100 << 20
	out, err := target.File(e)
	require.NoError(t, err)
	require.NoError(t, out.Hole(0, 50<<20))
	_, err = out.WriteAt([]byte("island"), 50<<20)
	require.NoError(t, err)
	require.NoError(t, out.Hole(50<<20+6, 50<<20-6))
	require.NoError(t, out.Finish(e))
	require.NoError(t, target.Close())
	var st syscall.Stat_t
	require.NoError(t, syscall.Stat(m.p("s"), &st))
	require.Equal(t, int64(100<<20), st.Size)
	require.Less(t, st.Blocks*512, int64(64<<10))
}

func TestOverwritePolicies(t *testing.T) {
	for _, c := range []struct {
		policy localfs.Overwrite
		mtime  int64
		kept   bool
	}{
		{localfs.Replace, 1_900_000_000, false},
		{localfs.KeepNewer, 1_900_000_000, true},
		{localfs.KeepNewer, 1_600_000_000, false},
		{localfs.KeepAll, 1_600_000_000, true},
	} {
		dir, target := newTarget(t, localfs.TargetOptions{Overwrite: c.policy})
		m := must{t, dir}
		m.file("f", "old", 0o600)
		m.time("f", c.mtime, 0)
		e := entry(format.File, "f")
		out, err := target.File(e)
		if c.kept {
			require.ErrorIs(t, err, localfs.ErrKept)
			require.Nil(t, out)
		} else {
			require.NoError(t, err)
			require.NoError(t, out.Finish(e))
		}
		m.link("x", "l")
		err = target.Symlink(entry(format.Symlink, "l"))
		if c.policy == localfs.KeepAll {
			require.ErrorIs(t, err, localfs.ErrKept)
			require.ErrorIs(t, target.Folder(entry(format.Dir, "l")), localfs.ErrKept)
		} else {
			require.NoError(t, err)
		}
		require.NoError(t, target.Close())
		require.Equal(t, c.kept, look(t, m.p("f")).Size == 3)
	}
}

// TestNotDeleted: a folder with content is never removed, and what belongs into a refused folder is refused.
func TestNotDeleted(t *testing.T) {
	dir, target := newTarget(t, localfs.TargetOptions{})
	m := must{t, dir}
	m.folder("f")
	m.file("f/keep", "x", 0o600)
	_, err := target.File(entry(format.File, "f"))
	require.ErrorIs(t, err, localfs.ErrInTheWay)
	require.ErrorIs(t, target.Symlink(entry(format.Symlink, "f")), localfs.ErrInTheWay)
	require.ErrorIs(t, target.Folder(entry(format.Dir, strings.Repeat("g", 300))), syscall.ENAMETOOLONG)
	_, err = target.File(entry(format.File, strings.Repeat("g", 300)+"/x"))
	require.ErrorIs(t, err, localfs.ErrParent)
	require.NoError(t, target.Folder(entry(format.Dir, "h")))
	require.NoError(t, target.Close())
	require.Equal(t, int64(1), look(t, m.p("f/keep")).Size)
}

func TestCollision(t *testing.T) {
	_, target := newTarget(t, localfs.TargetOptions{})
	e := entry(format.File, "Scan.pdf")
	require.NoError(t, put(t, target, e, "first").Finish(e))
	localfs.Blind(target)
	_, err := target.File(e)
	require.ErrorIs(t, err, localfs.ErrCollision)
	require.NotContains(t, err.Error(), "Scan")
	require.ErrorIs(t, target.Symlink(entry(format.Symlink, "Scan.pdf")), localfs.ErrCollision)
	require.ErrorIs(t, target.Special(entry(format.FIFO, "Scan.pdf")), localfs.ErrCollision)
	require.ErrorIs(t, target.Link(entry(format.File, "Scan.pdf"), "Scan.pdf"), localfs.ErrCollision)
	require.ErrorIs(t, target.Folder(entry(format.Dir, "Scan.pdf")), localfs.ErrCollision)
	require.ErrorIs(t, target.Folder(entry(format.Dir, "Scan.pdf/in it")), localfs.ErrParent)
	require.NoError(t, target.Close())
}

func TestSpecialKinds(t *testing.T) {
	_, target := newTarget(t, localfs.TargetOptions{})
	require.ErrorIs(t, target.Special(entry(format.Socket, "s")), localfs.ErrSocket)
	require.ErrorIs(t, target.Special(entry(format.CharDevice, "c")), localfs.ErrDevice)
	require.ErrorIs(t, target.Special(entry(format.File, "f")), localfs.ErrKind)
	require.ErrorIs(t, target.Folder(entry(format.File, "f")), localfs.ErrKind)
	require.ErrorIs(t, target.Symlink(entry(format.File, "f")), localfs.ErrKind)
	_, err := target.File(entry(format.Dir, "f"))
	require.ErrorIs(t, err, localfs.ErrKind)
	names, err := target.Names(".")
	require.NoError(t, err)
	require.Zero(t, names.Len())
	require.NoError(t, target.Close())
}

// TestMissingFolders: what is not restored may be left out, and links lead across folders.
func TestMissingFolders(t *testing.T) {
	dir, target := newTarget(t, localfs.TargetOptions{})
	e := entry(format.File, "a/b/c/file")
	require.NoError(t, put(t, target, e, "x").Finish(e))
	require.NoError(t, target.Link(entry(format.File, "a/b/d"), "a/b/c/file"))
	require.NoError(t, target.Link(entry(format.File, "z/y"), "a/b/d"))
	require.NoError(t, target.Link(entry(format.File, "z/z"), "a/b/d"))
	require.ErrorIs(t, target.Link(entry(format.File, "z/zz"), "a/b/e"), os.ErrNotExist)
	names, err := target.Names("a/b")
	require.NoError(t, err)
	require.Equal(t, 2, names.Len())
	require.Equal(t, "c", names.At(0))
	require.NoError(t, target.Close())
	got := listTree(t, dir)
	require.Equal(t, "a/b/c/file", got["z/z"].First)
	require.Equal(t, uint32(syscall.S_IFDIR|0o700), got["a/b"].Mode)
}

func TestLostAttributes(t *testing.T) {
	needRoot(t)
	var mu sync.Mutex
	lost := map[string]error{}
	dir, target := newTarget(t, localfs.TargetOptions{Report: func(p *localfs.Problem) {
		mu.Lock()
		defer mu.Unlock()
		lost[p.Op+" "+p.Path+" "+p.Detail] = p.Err
	}})
	e := entry(format.File, "f")
	e.Mode = 0o4755
	e.Owner = &format.Owner{UID: 1000, GID: 1000}
	e.ModTime.Sec = 1 << 40 // later than the file system can hold
	e.Xattrs = []format.Xattr{{Name: "nospace.x", Value: []byte("1")}, {Name: "user.ok", Value: []byte("1")}}
	out, err := target.File(e)
	require.NoError(t, err)
	require.NoError(t, out.Finish(e))
	require.NoError(t, target.Close())
	require.ErrorIs(t, lost["mode f "], localfs.ErrPrivilege)
	require.ErrorIs(t, lost["times f "], localfs.ErrNotKept)
	require.ErrorIs(t, lost["xattr f nospace.x"], syscall.ENOTSUP)
	require.Len(t, lost, 3)
	s := look(t, dir+"/f")
	require.Equal(t, uint32(syscall.S_IFREG|0o755), s.Mode)
	require.Equal(t, "user.ok=31", s.Xattrs)
}

// TestSystemLabels: what only macOS itself can set is neither set, nor missed.
func TestSystemLabels(t *testing.T) {
	dir, target := newTarget(t, localfs.TargetOptions{})
	e := entry(format.File, "f")
	for _, name := range []string{"com.apple.macl", "com.apple.provenance", "com.apple.rootless", "user.kept"} {
		e.Xattrs = append(e.Xattrs, format.Xattr{Name: name, Value: []byte{1, 2, 0}})
	}
	require.NoError(t, put(t, target, e, "content").Finish(e))
	require.NoError(t, target.Close())
	require.Equal(t, "user.kept=010200", lookXattrs(t, filepath.Join(dir, "f")))
}

func TestLostJoined(t *testing.T) {
	_, target := newTarget(t, localfs.TargetOptions{})
	e := entry(format.File, "patient")
	e.Xattrs = []format.Xattr{{Name: "patient.x", Value: []byte("1")}}
	out, err := target.File(e)
	require.NoError(t, err)
	require.NoError(t, out.Finish(e))
	err = target.Close()
	require.ErrorIs(t, err, syscall.ENOTSUP)
	require.NotContains(t, err.Error(), "patient")
	var p *localfs.Problem
	require.True(t, errors.As(err, &p))
	require.Equal(t, "patient", p.Path)
	require.Equal(t, "patient.x", p.Detail)
}

func TestNamedOwners(t *testing.T) {
	needRoot(t)
	dir, target := newTarget(t, localfs.TargetOptions{Owners: localfs.NamedOwners})
	e := entry(format.File, "f")
	e.Owner = &format.Owner{UID: 4000, GID: 4001, User: "daemon", Group: "no such group here"}
	out, err := target.File(e)
	require.NoError(t, err)
	require.NoError(t, out.Finish(e))
	require.NoError(t, target.Close())
	s := look(t, dir+"/f")
	require.Equal(t, []uint32{1, 4001}, []uint32{s.UID, s.GID})
}

// TestInheritedACLs: a default ACL of the target does not get into what is restored, unless attributes are
// to be left alone.
func TestInheritedACLs(t *testing.T) {
	for _, alone := range []bool{false, true} {
		dir, target := newTarget(t, localfs.TargetOptions{NoXattrs: alone})
		require.NoError(t, target.Close())
		must{t, dir}.xattr(".", "system.posix_acl_default", someACL())
		target, err := localfs.OpenTarget(dir, localfs.TargetOptions{NoXattrs: alone})
		require.NoError(t, err)
		f := entry(format.File, "d/f")
		require.NoError(t, target.Folder(entry(format.Dir, "d")))
		require.NoError(t, put(t, target, f, "x").Finish(f))
		g := entry(format.File, "g")
		require.NoError(t, put(t, target, g, "x").Finish(g))
		require.NoError(t, target.Close())
		got := listTree(t, dir)
		for _, path := range []string{"d", "d/f", "g"} {
			require.Equal(t, alone, got[path].Xattrs != "", path)
		}
		require.Equal(t, uint32(syscall.S_IFREG|0o644), got["g"].Mode)
		require.NotEmpty(t, got["."].Xattrs)
	}
}

func TestXattrLimit(t *testing.T) {
	if _, err := os.Stat("/dev/shm"); err != nil {
		t.Skip("no tmpfs at hand; ext4 takes no large attributes")
	}
	dir, err := os.MkdirTemp("/dev/shm", "localfs")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	m := must{t, dir}
	m.file("f", "x", 0o600)
	for i := range 20 {
		if err := unix.Lsetxattr(m.p("f"), fmt.Sprintf("trusted.a%02d", i), make([]byte, 60<<10), 0); err != nil {
			t.Skip("this file system takes no large attributes: ", err)
		}
	}
	root, _, err := localfs.Source(dir).Open(t.Context())
	require.NoError(t, err)
	defer root.Close()
	var e format.Entry
	require.ErrorIs(t, root.Xattrs("f", &e), localfs.ErrXattrSize)
	require.Len(t, e.Xattrs, 17)
}

// TestUnprivileged restores as somebody who is not root, into folders that shut him out.
func TestUnprivileged(t *testing.T) {
	if dir := os.Getenv("LOCALFS_AS_NOBODY"); dir != "" {
		asNobody(t, dir)
		return
	}
	needRoot(t)
	dir, err := os.MkdirTemp("/tmp", "localfs")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.Chmod(dir, 0o777))
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	binary := dir + "/test"
	require.NoError(t, os.WriteFile(binary, self, 0o755))
	cmd := exec.Command(binary, "-test.run=^TestUnprivileged$")
	cmd.Dir = dir
	cmd.Env = []string{"LOCALFS_AS_NOBODY=" + dir, "TMPDIR=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, string(output))
}

func asNobody(t *testing.T, dir string) {
	from := dir + "/from"
	require.NoError(t, os.Mkdir(from, 0o700))
	nastyTree(t, from, false)
	want := listTree(t, from)
	for round := range 2 { // the second time into folders of 0500
		target, err := localfs.OpenTarget(dir+"/to", localfs.TargetOptions{})
		require.NoError(t, err)
		require.Empty(t, copyTree(t, localfs.Source(from), target))
		require.NoError(t, target.Close(), round)
		sameTree(t, want, listTree(t, dir+"/to"))
	}
	// A folder that even its owner cannot open.
	require.NoError(t, os.Chmod(dir+"/to/shut", 0))
	target, err := localfs.OpenTarget(dir+"/to", localfs.TargetOptions{Owners: localfs.NumericOwners})
	require.NoError(t, err)
	e := entry(format.File, "shut/new")
	require.NoError(t, put(t, target, e, "x").Finish(e))
	e = entry(format.File, "not mine")
	e.Owner = &format.Owner{UID: 1, GID: 1}
	require.NoError(t, put(t, target, e, "x").Finish(e))
	err = target.Close()
	require.ErrorIs(t, err, syscall.EPERM)
	require.Contains(t, err.Error(), "owner")
	require.Equal(t, uint32(syscall.S_IFDIR), look(t, dir+"/to/shut").Mode&^0o7000, "its mode is as it was")
	require.NoError(t, os.Chmod(dir+"/to/shut", 0o700))
	require.NoError(t, os.Chmod(dir+"/to/shut/deep", 0o700))
	require.NoError(t, os.Chmod(dir+"/from/shut/deep", 0o700))
	require.NoError(t, os.Chmod(dir+"/from/shut", 0o700))
}

// TestLargeFolder: 100,000 names, or a million with CAREKEEP_LONG=1, in memory that is little more than
// their bytes.
func TestLargeFolder(t *testing.T) {
	n := 100_000
	if os.Getenv("CAREKEEP_LONG") != "" {
		n = 1_000_000
	}
	dir := fastDir(t)
	fd, err := unix.Open(dir, unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	for i := range n {
		require.NoError(t, unix.Mknodat(fd, fmt.Sprintf("scan-%015d", uint32(i)*2654435761), unix.S_IFREG|0o600, 0))
	}
	root, _, err := localfs.Source(dir).Open(t.Context())
	require.NoError(t, err)
	defer root.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	names, err := root.Names(t.Context())
	require.NoError(t, err)
	took := time.Since(start)
	runtime.GC()
	runtime.ReadMemStats(&after)
	perName := float64(after.HeapAlloc-before.HeapAlloc) / float64(n)
	t.Logf("%d names in %v: %.1f bytes of heap each, %.1f allocated", n, took, perName, float64(after.TotalAlloc-before.TotalAlloc)/float64(n))
	require.Less(t, perName, 34.0, "20 bytes of name and 8 to find it")
	require.Less(t, float64(after.TotalAlloc-before.TotalAlloc)/float64(n), 100.0)
	require.Equal(t, n, names.Len())
	last := ""
	for i := range n {
		name := names.At(i)
		require.Len(t, name, 20)
		if name <= last {
			t.Fatal("not sorted")
		}
		last = name
	}
	runtime.KeepAlive(names)
}
