//go:build linux

package localfs_test

import (
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/localfs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// fastDir is a folder in memory, where there is one: these tests make many small files.
func fastDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "localfs")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// arena is a folder with a target, and things around it that nothing may touch.
type arena struct {
	must
	target string
}

func newArena(t testing.TB, base string) arena {
	a := arena{must{t, base}, base + "/target"}
	a.folder("target")
	a.folder("outside")
	a.folder("outside/dir")
	a.file("outside/file", "precious", 0o640)
	a.file("outside/dir/deep", "precious too", 0o600)
	a.link("file", "outside/link")
	a.ok(syscall.Mkfifo(a.p("outside/fifo"), 0o600))
	a.time("outside/file", 1_111_111_111, 1)
	a.time("outside/dir", 1_111_111_112, 1)
	a.time("outside", 1_111_111_113, 1)
	a.plant()
	return a
}

// plant puts traps into the target.
func (a arena) plant() {
	a.link("../outside", "target/ln")
	a.link(a.p("outside"), "target/abs")
	a.link("../outside/file", "target/lnf")
	a.link("../outside/new", "target/dangling")
	a.link(".", "target/self")
	a.link("..", "target/up")
	a.ok(os.Link(a.p("outside/file"), a.p("target/hl")))
	a.folder("target/dir")
	a.link("../../outside", "target/dir/ln")
	a.ok(syscall.Mkfifo(a.p("target/fifo"), 0o600))
}

// outside lists what must stay as it is. Of the file that has a second name in the target, removing
// that name changes the number of names and thus the ctime, and nothing else.
func (a arena) outside() map[string]seen {
	all := listTree(a.TB, a.p("outside"))
	f := all["file"]
	f.Ctim = syscall.Timespec{}
	all["file"] = f
	names, err := os.ReadDir(a.dir)
	require.NoError(a, err)
	require.Len(a, names, 2, "something is beside the target")
	return all
}

// act restores one entry and returns its error.
func act(target *localfs.Target, kind format.Kind, path, to string) error {
	e := entry(kind, path)
	e.Owner = &format.Owner{UID: 4242, GID: 4242}
	e.Mode = 0o777
	e.Xattrs = []format.Xattr{{Name: "user.escaped", Value: []byte("x")}}
	switch kind {
	case format.Dir:
		return target.Folder(e)
	case format.Symlink:
		e.Target, e.Xattrs = to, nil
		return target.Symlink(e)
	case format.File:
		if to != "" {
			return target.Link(e, to)
		}
		out, err := target.File(e)
		if err != nil {
			return err
		}
		_, err = out.WriteAt([]byte("escaped"), 0)
		e.Size = 7
		if ferr := out.Finish(e); err == nil {
			err = ferr
		}
		return err
	}
	e.Xattrs = nil
	return target.Special(e)
}

type step struct {
	kind     format.Kind
	path, to string
}

func hostilePaths(base string) []string {
	outside := base + "/outside"
	paths := []string{"../outside/file", "../new", "..", ".", "", "/", outside + "/file", outside, "/tmp/../" + outside[1:] + "/new",
		"a/../../outside/file", "a/..", "dir/..", "dir/../..", "dir/../../outside/new", "./ln/file", "a//b", "a/", "/a", "dir/./x",
		"\x00", "a\x00b", "../outside/file\x00", "dir/\x00/../x", "ln/../../outside/file", "ln/..", "up/outside/file", "up/new",
		"ln", "ln/file", "ln/new", "ln/dir/deep", "ln/dir/new", "ln/link", "ln/fifo", "abs", "abs/file", "abs/new", "lnf", "lnf/x",
		"dangling", "dangling/x", "self/ln/file", "self/self/up/outside/file", "up", "up/up/x", "hl", "hl/x", "fifo", "fifo/x",
		"dir/ln", "dir/ln/file", "dir/ln/new", "...", ".../x", " ", "~", "~/x", "C:\\x", "C:/x", "a\\..\\..\\x", "\\\\server\\share", "CON", "x:stream",
		strings.Repeat("x", 256), strings.Repeat("x/", 3000) + "x", strings.Repeat("../", 40) + outside[1:] + "/file", "ln/" + strings.Repeat("y", 300)}
	return paths
}

// hostileSequences are restores that try to get out, one step after another.
func hostileSequences(base string) [][]step {
	var all [][]step
	kinds := []format.Kind{format.Dir, format.File, format.Symlink, format.FIFO, format.CharDevice}
	for _, path := range hostilePaths(base) {
		for _, kind := range kinds {
			s := step{kind: kind, path: path}
			if kind == format.Symlink {
				s.to = "../outside/file"
			}
			all = append(all, []step{s})
		}
		if path != "" {
			all = append(all, []step{{format.File, "a link", path}})
		}
	}
	for _, to := range []string{"../outside", base + "/outside", "..", "self/../outside", ".", "ln", "up/outside", "/proc/self/cwd", "/proc/self/root" + base} {
		link := step{format.Symlink, "s", to}
		for _, kind := range kinds {
			all = append(all,
				[]step{link, {kind, "s/file", "x"}}, // through a link of the snapshot's own
				[]step{link, {kind, "s", "x"}},
				[]step{link, {format.Dir, "s", ""}, {kind, "s/file", "x"}},
				[]step{{format.Dir, "s", ""}, link, {kind, "s/new", "x"}},
				[]step{{format.Dir, "s/t", ""}, link, {kind, "s/t/new", "x"}})
		}
		all = append(all, []step{link, {format.File, "h", "s"}, {format.File, "h", ""}}, // a hard link to a link
			[]step{link, {format.File, "h", "s/file"}, {format.File, "h", ""}},
			[]step{link, {format.Dir, "d", ""}, {format.Symlink, "d/e", "../s"}, {format.File, "d/e/file", ""}})
	}
	for _, to := range []string{"hl", "ln/file", "lnf", "up/outside/file", "dir/ln/file", "abs/link"} {
		all = append(all, []step{{format.File, "h", to}, {format.File, "h", ""}, {format.File, to, ""}})
	}
	return all
}

func TestNothingEscapes(t *testing.T) {
	base := fastDir(t)
	sequences := hostileSequences(base)
	require.Greater(t, len(sequences), 200)
	refused := 0
	a := newArena(t, base)
	before := a.outside()
	for i, seq := range sequences {
		if i > 0 {
			require.NoError(t, os.RemoveAll(a.target))
			a.folder("target")
			a.plant()
		}
		target, err := localfs.OpenTarget(a.target, localfs.TargetOptions{Owners: localfs.NumericOwners, Devices: true})
		require.NoError(t, err)
		for _, s := range seq {
			if err := act(target, s.kind, s.path, s.to); err != nil {
				refused++
				var p *localfs.Problem
				require.ErrorAs(t, err, &p)
				require.NotContains(t, err.Error(), "outside")
			}
		}
		_ = target.Close() // attributes that some file systems refuse
		require.Equal(t, before, a.outside(), "%.200q", seq)
	}
	t.Logf("%d sequences, %d steps refused", len(sequences), refused)
	require.Greater(t, refused, 100)
}

// TestRacedFolder swaps folders of the target for links to the outside, as fast as it can, while the
// restore is writing into them.
func TestRacedFolder(t *testing.T) {
	needRoot(t)
	a := newArena(t, fastDir(t))
	before := a.outside()
	var stop atomic.Bool
	swaps := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		d, trap := a.target+"/race", a.target+"/trap"
		_ = os.Symlink(a.p("outside"), trap)
		for !stop.Load() {
			// One call swaps the folder and the link, so that each moment has one of the two.
			if unix.Renameat2(unix.AT_FDCWD, d, unix.AT_FDCWD, trap, unix.RENAME_EXCHANGE) == nil {
				swaps++
			}
			// Inside, only through the folder itself: the swapping must not lead this side out.
			fd, err := unix.Open(d, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
			if err != nil {
				continue
			}
			_ = unix.Renameat(fd, "sub", fd, "aside")
			_ = unix.Symlinkat(a.p("outside/dir"), fd, "sub")
			_ = unix.Unlinkat(fd, "file", 0)
			_ = unix.Symlinkat(a.p("outside/file"), fd, "file")
			_ = unix.Unlinkat(fd, "aside", unix.AT_REMOVEDIR)
			unix.Close(fd)
		}
	}()
	end := time.Now().Add(700 * time.Millisecond)
	if os.Getenv("CAREKEEP_LONG") != "" {
		end = end.Add(20 * time.Second)
	}
	rounds := 0
	for ; time.Now().Before(end); rounds++ {
		target, err := localfs.OpenTarget(a.target, localfs.TargetOptions{Owners: localfs.NumericOwners, Devices: true})
		require.NoError(t, err)
		for _, s := range []step{{format.Dir, "race", ""}, {format.Symlink, "race/dir", "x"}, {format.File, "race/file", ""}, {format.FIFO, "race/fifo", ""},
			{format.File, "race/link", "race/file"}, {format.Dir, "race/sub", ""}, {format.File, "race/sub/deep", ""}, {format.File, "race/sub/file", ""}} {
			_ = act(target, s.kind, s.path, s.to) // the race may well make it fail
		}
		_ = target.Close()
	}
	stop.Store(true)
	<-done
	require.Equal(t, before, a.outside())
	t.Logf("%d rounds, %d swaps", rounds, swaps)
	require.Greater(t, swaps, 100)
}

func FuzzPath(f *testing.F) {
	for i, p := range hostilePaths("/tmp/x") {
		f.Add(p, byte(i), "../outside")
	}
	f.Fuzz(func(t *testing.T, path string, kind byte, to string) {
		if strings.Count(path, "/") > 200 {
			return
		}
		a := newArena(t, fastDir(t))
		before := a.outside()
		target, err := localfs.OpenTarget(a.target, localfs.TargetOptions{})
		require.NoError(t, err)
		k := format.Kind(kind%7) + 1
		err = act(target, k, path, to)
		if !format.ValidPath(path) && k < format.Socket {
			require.ErrorIs(t, err, localfs.ErrName)
		}
		_ = act(target, format.File, path+"/inside", "")
		_ = target.Close()
		require.Equal(t, before, a.outside())
	})
}
