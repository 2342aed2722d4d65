//go:build linux

package localfs_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/localfs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func lList(path string, b []byte) (int, error) {
	n, err := unix.Llistxattr(path, b)
	if err == unix.ENOTSUP {
		return 0, nil
	}
	return n, err
}
func lGet(path, name string, b []byte) (int, error) { return unix.Lgetxattr(path, name, b) }

// acl encodes a POSIX ACL as the kernel's xattr: version 2, then tag, permissions, id.
func acl(entries ...[3]uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return b
}

const noID = 0xffffffff

func someACL() []byte {
	return acl([3]uint32{1, 7, noID}, [3]uint32{2, 5, 1234}, [3]uint32{4, 4, noID}, [3]uint32{16, 5, noID}, [3]uint32{32, 0, noID})
}

// must builds trees by path, with plain calls.
type must struct {
	testing.TB
	dir string
}

func (m must) p(name string) string { return m.dir + "/" + name }

func (m must) ok(err error) { m.Helper(); require.NoError(m, err) }

func (m must) file(name, content string, mode uint32) {
	m.Helper()
	m.ok(os.WriteFile(m.p(name), []byte(content), 0o600))
	m.ok(syscall.Chmod(m.p(name), mode))
}

func (m must) folder(name string) { m.Helper(); m.ok(os.Mkdir(m.p(name), 0o755)) }

func (m must) link(target, name string) { m.Helper(); m.ok(os.Symlink(target, m.p(name))) }

func (m must) time(name string, sec int64, nsec int64) {
	m.Helper()
	ts := []unix.Timespec{{Sec: 1, Nsec: 1}, unix.NsecToTimespec(sec*1e9 + nsec)}
	m.ok(unix.UtimesNanoAt(unix.AT_FDCWD, m.p(name), ts, unix.AT_SYMLINK_NOFOLLOW))
}

func (m must) xattr(name, attr string, value []byte) {
	m.Helper()
	m.ok(unix.Lsetxattr(m.p(name), attr, value, 0))
}

// nastyTree has everything that a file system can hold and that restores have got wrong.
func nastyTree(t testing.TB, dir string, root bool) {
	m := must{t, dir}
	long := strings.Repeat("n", 255)
	m.file("plain", "hello", 0o644)
	m.file("empty", "", 0o600)
	m.file("no access", "secret", 0)
	m.file("read only", "ro", 0o444)
	m.file("line\nbreak", "x", 0o640)
	m.file("-rf", "x", 0o640)
	m.file("\xff\xfe latin \xe9", "not UTF-8", 0o644)
	m.file("a\\b:c", "back\\slash", 0o644)
	m.file(long, "long name", 0o644)
	m.file("a.b", "sorts before a/b in bytes", 0o644)
	m.folder("a")
	m.file("a/b", "x", 0o644)
	m.folder("a/empty")
	m.folder("A") // differs in case only
	m.file("A/b", "X", 0o644)
	m.folder("shut")
	m.file("shut/inside", "in 0500", 0o400)
	m.folder("shut/deep")
	m.file("shut/deep/inside", "in 0500/0500", 0o600)
	m.folder("none")
	m.file("none/inside", "in 0000", 0o600)
	m.file("setuid", "#!", 0o4755)
	m.file("setgid", "#!", 0o2755)
	m.folder("sticky")
	m.ok(syscall.Chmod(m.p("sticky"), 0o1777))
	m.file("future", "x", 0o644)
	if strconv.IntSize == 64 { // a test of 32 bits cannot set or see it by plain calls
		m.time("future", 4_000_000_000, 999_999_999)
	}
	m.file("past", "x", 0o644)
	m.time("past", -1_000_000_000, 123_456_789)
	m.file("nano", "x", 0o644)
	m.time("nano", 1_600_000_000, 1)
	m.file("name 1", "one file", 0o644)
	m.ok(os.Link(m.p("name 1"), m.p("a/name 2")))
	m.ok(os.Link(m.p("name 1"), m.p("zz name 3")))
	m.link("a/b", "link")
	m.link("nowhere/at all", "dangling")
	m.link("/etc/passwd", "absolute")
	m.link("../../../../..", "upwards")
	m.link("\xff\n", "odd link")
	m.link(strings.Repeat("x/", 2047), "long link")
	m.link(".", "self")
	m.time("link", 1_500_000_000, 5)
	m.ok(syscall.Mkfifo(m.p("fifo"), 0o622))
	m.ok(syscall.Chmod(m.p("fifo"), 0o622))
	m.time("fifo", 1_500_000_001, 7)
	m.sparse("sparse", 1<<30)
	m.ok(os.WriteFile(m.p("hole at end"), []byte("start"), 0o644))
	m.ok(os.Truncate(m.p("hole at end"), 1<<20))
	m.ok(os.WriteFile(m.p("only hole"), nil, 0o644))
	m.ok(os.Truncate(m.p("only hole"), 123_456_789))
	m.xattr("plain", "user.note", []byte("value"))
	m.xattr("plain", "user.empty", nil)
	m.xattr("plain", "user.binary", []byte{0, 1, 2, 0xff})
	m.xattr("a", "user.folder", bytes.Repeat([]byte("v"), 2000))
	deep := "deep"
	m.folder(deep)
	for range 12 { // longer than PATH_MAX allows in one go would need chdir; 12 * 200 is long enough to hurt
		deep += "/" + strings.Repeat("d", 200)
		m.folder(deep)
	}
	m.file(deep+"/bottom", "deep", 0o644)
	if root {
		rootTree(m)
	}
	m.time("a", 1_400_000_000, 1_000)
	m.time("shut/deep", 1_400_000_001, 0)
	m.time("shut", 1_400_000_002, 0)
	m.ok(syscall.Chmod(m.p("shut/deep"), 0o500))
	m.ok(syscall.Chmod(m.p("shut"), 0o500))
	if root {
		m.ok(syscall.Chmod(m.p("none"), 0))
	} else {
		m.ok(os.RemoveAll(m.p("none")))
		m.ok(os.Remove(m.p("no access")))
	}
	m.ok(syscall.Chmod(dir, 0o711))
	m.time(".", 1_300_000_000, 42)
}

func (m must) sparse(name string, size int64) {
	f, err := os.Create(m.p(name))
	m.ok(err)
	defer f.Close()
	m.ok(f.Truncate(size))
	for _, off := range []int64{300 << 20, 900<<20 + 12345} {
		_, err := f.WriteAt([]byte("island"), off%size)
		m.ok(err)
	}
}

// rootTree adds what only root can make.
func rootTree(m must) {
	m.ok(syscall.Mknod(m.p("null"), syscall.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	m.ok(syscall.Chmod(m.p("null"), 0o666))
	m.ok(syscall.Mknod(m.p("disk"), syscall.S_IFBLK|0o660, int(unix.Mkdev(259, 1048575))))
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	m.ok(err)
	here, err := os.Getwd()
	m.ok(err)
	m.ok(os.Chdir(m.dir))
	m.ok(syscall.Bind(fd, &syscall.SockaddrUnix{Name: "socket"}))
	m.ok(os.Chdir(here))
	m.ok(syscall.Close(fd))
	for name, ids := range map[string][2]uint32{"plain": {1000, 1001}, "link": {1002, 1003}, "a": {1000, 0}, "fifo": {7, 8},
		"null": {5, 6}, "setuid": {0, 0}, "name 1": {12, 13}, "future": {4294967294, 4294967293}} {
		m.ok(os.Lchown(m.p(name), int(ids[0]), int(ids[1])))
	}
	m.file("setuid of other", "#!", 0o600)
	m.ok(os.Lchown(m.p("setuid of other"), 1000, 1000))
	m.ok(syscall.Chmod(m.p("setuid of other"), 0o6711))
	m.file("capable", "#!", 0o755)
	m.ok(os.Lchown(m.p("capable"), 1000, 1000))
	// VFS_CAP_REVISION_2 with CAP_NET_RAW.
	m.xattr("capable", "security.capability", []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	m.xattr("plain", "trusted.t", []byte("trusted"))
	m.xattr("link", "trusted.onlink", []byte("a link's own"))
	m.file("acl", "x", 0o640)
	m.xattr("acl", "system.posix_acl_access", someACL())
	m.folder("acl folder")
	m.xattr("acl folder", "system.posix_acl_access", someACL())
	m.xattr("acl folder", "system.posix_acl_default", someACL())
	m.file("acl folder/inherits", "x", 0o600)
	m.folder("acl folder/bare")
	m.ok(unix.Removexattr(m.p("acl folder/bare"), "system.posix_acl_access"))
	m.ok(unix.Removexattr(m.p("acl folder/bare"), "system.posix_acl_default"))
	m.folder("setgid folder")
	m.ok(os.Lchown(m.p("setgid folder"), 0, 77))
	m.ok(syscall.Chmod(m.p("setgid folder"), 0o2775))
	m.file("setgid folder/other group", "x", 0o644)
	m.ok(os.Lchown(m.p("setgid folder/other group"), 0, 0))
}

func onlySockets(t *testing.T, errs []error) {
	t.Helper()
	for _, err := range errs {
		require.ErrorIs(t, err, localfs.ErrSocket)
	}
}

func TestRoundTrip(t *testing.T) {
	needRoot(t)
	from := t.TempDir()
	nastyTree(t, from, true)
	want := listTree(t, from)
	everything := localfs.TargetOptions{Owners: localfs.NumericOwners, Devices: true}

	dir, target := newTarget(t, everything)
	errs := copyTree(t, localfs.Source(from), target)
	require.Len(t, errs, 1)
	onlySockets(t, errs)
	require.NoError(t, target.Close())
	sameTree(t, want, listTree(t, dir), "socket")

	// Again over what is there, changed in every way.
	spoil(must{t, dir})
	target, err := localfs.OpenTarget(dir, everything)
	require.NoError(t, err)
	onlySockets(t, copyTree(t, localfs.Source(from), target))
	require.NoError(t, target.Close())
	got := listTree(t, dir)
	require.Contains(t, got, "a/not in the snapshot")
	delete(got, "a/not in the snapshot")
	sameTree(t, want, got, "socket")
	require.Equal(t, want["a"].Mtime, got["a"].Mtime)
}

// spoil puts wrong things into every place.
func spoil(m must) {
	m.file("a/not in the snapshot", "stays", 0o600)
	m.ok(os.WriteFile(m.p("plain"), bytes.Repeat([]byte("long old content"), 1000), 0o777))
	m.xattr("plain", "user.old", []byte("goes"))
	m.ok(os.Remove(m.p("a/b")))
	m.folder("a/b") // an empty folder for a file
	m.ok(os.RemoveAll(m.p("A")))
	m.file("A", "a file for a folder", 0o600)
	m.ok(os.RemoveAll(m.p("acl folder")))
	m.link("a", "acl folder") // a link for a folder
	m.ok(os.Remove(m.p("fifo")))
	m.link("plain", "fifo")
	m.ok(os.Remove(m.p("link")))
	m.ok(syscall.Mkfifo(m.p("link"), 0o600))
	m.ok(os.Remove(m.p("empty")))
	m.ok(syscall.Mkfifo(m.p("empty"), 0o600)) // opening it would wait for ever
	m.ok(os.Remove(m.p("nano")))
	m.ok(os.Link(m.p("past"), m.p("nano"))) // one file for two
	f, err := os.OpenFile(m.p("sparse"), os.O_WRONLY, 0)
	m.ok(err)
	_, err = f.WriteAt(bytes.Repeat([]byte{1}, 8<<20), 100<<20)
	m.ok(err)
	m.ok(f.Close())
	m.xattr("shut", "system.posix_acl_default", someACL())
	m.ok(os.Remove(m.p("self")))
	m.link("elsewhere", "self")
}

func TestEntries(t *testing.T) {
	dir := t.TempDir()
	m := must{t, dir}
	m.file("f", "12345", 0o4751)
	m.ok(os.Link(m.p("f"), m.p("g")))
	m.link("to/where", "l")
	m.time("f", -5, 17)
	before := time.Now()
	root, e, err := localfs.Source(dir).Open(t.Context())
	require.NoError(t, err)
	defer root.Close()
	require.Equal(t, ".", e.Path)
	require.Equal(t, format.Dir, e.Kind)
	for _, older := range []bool{false, true} {
		if older {
			localfs.Older(root)
		}
		f, err := root.Lstat("f")
		require.NoError(t, err)
		var st syscall.Stat_t
		require.NoError(t, syscall.Stat(m.p("f"), &st))
		require.Equal(t, uint32(0o4751), f.Mode)
		require.Equal(t, format.Time{Sec: -5, Nsec: 17}, f.ModTime)
		require.Equal(t, format.Time{Sec: int64(st.Ctim.Sec), Nsec: uint32(st.Ctim.Nsec)}, f.ChangeTime)
		require.Equal(t, st.Ino, f.Inode)
		require.Equal(t, int64(5), f.Size)
		require.Equal(t, uint32(os.Getuid()), f.Owner.UID)
		if os.Getuid() == 0 {
			require.Equal(t, "root", f.Owner.User)
			require.Equal(t, "root", f.Owner.Group)
		}
		if !older {
			require.InDelta(t, before.Unix(), f.BirthTime.Sec, 10)
		}
		g, err := root.Lstat("g")
		require.NoError(t, err)
		require.NotZero(t, f.LinkGroup)
		require.Equal(t, f.LinkGroup, g.LinkGroup)
		require.NotContains(t, []uint64{st.Dev, st.Ino}, f.LinkGroup)
		l, err := root.Lstat("l")
		require.NoError(t, err)
		require.Equal(t, "to/where", l.Target)
		require.Zero(t, l.LinkGroup)
		open, err := root.File("f")
		require.NoError(t, err)
		stat, err := open.Stat()
		require.NoError(t, err)
		require.Equal(t, f, stat)
		require.NoError(t, open.Close())
	}
	for _, bad := range []string{"", ".", "..", "a/b", "/", "nul\x00"} {
		_, err := root.Lstat(bad)
		require.ErrorIs(t, err, localfs.ErrName)
		_, err = root.File(bad)
		require.ErrorIs(t, err, localfs.ErrName)
		_, err = root.Folder(bad)
		require.ErrorIs(t, err, localfs.ErrName)
	}
}

// TestOnlyTheKindAsked: a FIFO, a link and a device are never opened, nor followed.
func TestOnlyTheKindAsked(t *testing.T) {
	dir := t.TempDir()
	m := must{t, dir}
	m.ok(syscall.Mkfifo(m.p("fifo"), 0o600))
	m.folder("folder")
	m.file("file", "x", 0o600)
	m.link("file", "link")
	m.link("folder", "folder link")
	root, _, err := localfs.Source(dir).Open(t.Context())
	require.NoError(t, err)
	defer root.Close()
	for _, name := range []string{"fifo", "folder", "link", "folder link"} {
		_, err := root.File(name)
		require.ErrorIs(t, err, localfs.ErrKind, name)
	}
	for _, name := range []string{"fifo", "file", "link", "folder link"} {
		_, err := root.Folder(name)
		require.ErrorIs(t, err, localfs.ErrKind, name)
	}
	_, err = root.File("patient name")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NotContains(t, err.Error(), "patient")
	var p *localfs.Problem
	require.True(t, errors.As(err, &p))
	require.Equal(t, "patient name", p.Path)
}

func TestSingleFileAndMissing(t *testing.T) {
	dir := t.TempDir()
	m := must{t, dir}
	m.file("real", "content", 0o640)
	m.link("real", "alias")
	for _, shown := range []string{"real", "alias"} {
		root, e, err := localfs.Source(m.p(shown)).Open(t.Context())
		require.NoError(t, err)
		require.Equal(t, format.Dir, e.Kind)
		names, err := root.Names(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, names.Len())
		require.Equal(t, shown, names.At(0))
		got, err := root.Lstat(shown)
		require.NoError(t, err)
		require.Equal(t, format.File, got.Kind)
		f, err := root.File(shown)
		require.NoError(t, err)
		content, err := io.ReadAll(f)
		require.NoError(t, err)
		require.Equal(t, "content", string(content))
		require.NoError(t, f.Close())
		_, err = root.Lstat("other")
		require.ErrorIs(t, err, os.ErrNotExist)
		require.NoError(t, root.Close())
	}
	_, _, err := localfs.Source(m.p("missing")).Open(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NotContains(t, err.Error(), "missing")
}

func TestSparseRuns(t *testing.T) {
	dir := t.TempDir()
	m := must{t, dir}
	m.sparse("s", 1<<30)
	m.file("plain", "0123456789", 0o600)
	root, _, err := localfs.Source(dir).Open(t.Context())
	require.NoError(t, err)
	defer root.Close()
	f, err := root.File("s")
	require.NoError(t, err)
	defer f.Close()
	var read int64
	runs := 0
	for off := int64(0); ; runs++ {
		start, end, err := f.NextData(off)
		require.NoError(t, err)
		if start == end {
			require.Equal(t, int64(1<<30), start)
			break
		}
		b := make([]byte, end-start)
		_, err = io.ReadFull(f, b)
		require.NoError(t, err)
		require.Contains(t, string(b), "island")
		read += end - start
		off = end
	}
	require.Equal(t, 2, runs)
	require.Less(t, read, int64(1<<20))

	p, err := root.File("plain")
	require.NoError(t, err)
	defer p.Close()
	start, end, err := p.NextData(4)
	require.NoError(t, err)
	require.Equal(t, []int64{4, 10}, []int64{start, end})
	rest, err := io.ReadAll(p)
	require.NoError(t, err)
	require.Equal(t, "456789", string(rest))
	m.file("plain", "0123456789 and more", 0o600) // it grew while it was read
	start, end, err = p.NextData(10)
	require.NoError(t, err)
	require.Equal(t, []int64{10, 19}, []int64{start, end})
	start, end, err = p.NextData(19)
	require.NoError(t, err)
	require.Equal(t, []int64{19, 19}, []int64{start, end})
}

// TestNamesSorted uses names that begin alike, are prefixes of each other, and hold the lowest and highest bytes.
func TestNamesSorted(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, prefix := range []string{"", "the same beginning ", "\xff"} {
		dir := fastDir(t)
		want := map[string]bool{}
		for range 2000 {
			b := []byte(prefix)
			for range 1 + rnd.IntN(14) {
				b = append(b, "a\x01\xffb"[rnd.IntN(4)])
			}
			want[string(b)] = true
			require.NoError(t, os.WriteFile(dir+"/"+string(b), nil, 0o600))
		}
		root, _, err := localfs.Source(dir).Open(t.Context())
		require.NoError(t, err)
		for range 2 { // a folder can be listed again
			names, err := root.Names(t.Context())
			require.NoError(t, err)
			require.Equal(t, len(want), names.Len())
			for i := range names.Len() {
				require.True(t, want[names.At(i)])
				require.False(t, i > 0 && names.At(i-1) >= names.At(i), "not sorted")
			}
		}
		require.NoError(t, root.Close())
	}
}
