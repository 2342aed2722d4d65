package localfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/localfs"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows"
)

func write(t testing.TB, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

// onWine is whether this is Wine, which keeps no times of creation.
func onWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

func requireContent(t testing.TB, path, content string) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, content, string(b))
}

// dress gives a file times in steps of 100 ns and attributes.
func dress(t testing.TB, path string, made, written time.Time, attributes uint32) {
	t.Helper()
	p, err := windows.UTF16PtrFromString(path)
	require.NoError(t, err)
	h, err := windows.CreateFile(p, windows.FILE_WRITE_ATTRIBUTES, 0, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	require.NoError(t, err)
	m, w := windows.NsecToFiletime(made.UnixNano()), windows.NsecToFiletime(written.UnixNano())
	require.NoError(t, windows.SetFileTime(h, &m, nil, &w))
	require.NoError(t, windows.CloseHandle(h))
	if attributes != 0 {
		require.NoError(t, windows.SetFileAttributes(p, attributes))
	}
}

// survey lists what a source tells of a folder, as far as a restore can make it again.
func survey(t testing.TB, dir string) map[string]format.Entry {
	t.Helper()
	root, e, err := localfs.Source(dir).Open(t.Context())
	require.NoError(t, err)
	defer root.Close()
	out, first := map[string]format.Entry{}, map[uint64]string{}
	note := func(e *format.Entry, path string) {
		seen := format.Entry{Path: path, Kind: e.Kind, Mode: e.Mode, Size: e.Size, ModTime: e.ModTime,
			Attributes: e.Attributes & (windows.FILE_ATTRIBUTE_READONLY | windows.FILE_ATTRIBUTE_HIDDEN | windows.FILE_ATTRIBUTE_SYSTEM)}
		if !onWine() {
			seen.BirthTime = e.BirthTime
		}
		if e.LinkGroup != 0 {
			if first[e.LinkGroup] == "" {
				first[e.LinkGroup] = path
			}
			seen.Target = "as " + first[e.LinkGroup]
		}
		out[path] = seen
	}
	var walk func(f source.Folder, prefix string)
	walk = func(f source.Folder, prefix string) {
		names, err := f.Names(t.Context())
		require.NoError(t, err)
		for i := range names.Len() {
			e, err := f.Lstat(names.At(i))
			require.NoError(t, err)
			note(e, prefix+names.At(i))
			if e.Kind == format.Dir {
				sub, err := f.Folder(names.At(i))
				require.NoError(t, err)
				walk(sub, prefix+names.At(i)+"/")
				require.NoError(t, sub.Close())
			}
		}
	}
	note(e, ".")
	walk(root, "")
	return out
}

func TestWindowsRoundTrip(t *testing.T) {
	from := t.TempDir()
	p := func(parts ...string) string { return filepath.Join(append([]string{from}, parts...)...) }
	write(t, p("plain"), "content")
	write(t, p("ä und 漢字 \U0001F3E5"), "a name outside ASCII")
	write(t, p("hidden.txt"), "hidden")
	write(t, p("read only"), "stays")
	deep := filepath.Join(strings.Split(strings.Repeat("a folder of thirty characters/", 12), "/")...)
	write(t, p(deep, "leaf"), "beyond 260 characters")
	write(t, p("l", "a"), "one file")
	require.NoError(t, os.Mkdir(p("m"), 0o755))
	require.NoError(t, os.Link(p("l", "a"), p("l", "b")))
	require.NoError(t, os.Link(p("l", "a"), p("m", "c"))) // names of one letter are the shortest that the call takes
	require.NoError(t, os.Link(p("l", "a"), p("m", "a longer name")))

	// A filetime counts 100 ns.
	made, written := time.Date(2001, 2, 3, 4, 5, 6, 123456700, time.UTC), time.Date(1999, 12, 31, 23, 59, 59, 999999900, time.UTC)
	dress(t, p("plain"), made, written, 0)
	dress(t, p("hidden.txt"), made, written, windows.FILE_ATTRIBUTE_HIDDEN|windows.FILE_ATTRIBUTE_SYSTEM)
	dress(t, p("read only"), made, written, windows.FILE_ATTRIBUTE_READONLY)
	t.Cleanup(func() { _ = os.Chmod(p("read only"), 0o644) })
	dress(t, p(deep, "leaf"), made, written, 0)
	dress(t, p("m"), made, written, 0)
	dress(t, from, made, written, 0)
	want := survey(t, from)
	if !onWine() {
		require.Equal(t, format.Time{Sec: made.Unix(), Nsec: 123456700}, want["plain"].BirthTime)
	}
	require.EqualValues(t, 0o444, want["read only"].Mode)
	require.Equal(t, format.Time{Sec: written.Unix(), Nsec: 999999900}, want["plain"].ModTime)
	require.Equal(t, "as l/a", want["m/c"].Target)

	to, target := newTarget(t, localfs.TargetOptions{})
	require.Empty(t, copyTree(t, localfs.Source(from), target))
	require.NoError(t, target.Close(), "attributes were lost")
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(to, "read only"), 0o644) })
	require.Equal(t, want, survey(t, to))

	// Again, over what somebody changed.
	write(t, filepath.Join(to, "plain"), "another content, which is longer")
	require.NoError(t, os.Remove(filepath.Join(to, "m", "c")))
	require.NoError(t, os.Mkdir(filepath.Join(to, "m", "c"), 0o755))
	require.NoError(t, os.Chmod(filepath.Join(to, "hidden.txt"), 0o444))
	target, err := localfs.OpenTarget(to, localfs.TargetOptions{})
	require.NoError(t, err)
	require.Empty(t, copyTree(t, localfs.Source(from), target))
	require.NoError(t, target.Close())
	require.Equal(t, want, survey(t, to))
	requireContent(t, filepath.Join(to, "plain"), "content")
	requireContent(t, filepath.Join(to, deep, "leaf"), "beyond 260 characters")
}

// TestHostileWindowsNames: a snapshot is from anywhere, so its names may be more than names here.
func TestHostileWindowsNames(t *testing.T) {
	base := t.TempDir()
	write(t, filepath.Join(base, "outside.txt"), "outside")
	write(t, filepath.Join(base, "to", "there"), "inside")
	before := survey(t, base)
	target, err := localfs.OpenTarget(filepath.Join(base, "to"), localfs.TargetOptions{})
	require.NoError(t, err)
	for _, name := range []string{
		`..\outside.txt`, `..\new`, `a\b`, `\new`, `C:\new`, `C:new`, `C:`, `\\?\C:\new`, `\??\C:\new`, `\\localhost\c$\new`,
		"there:stream", "there::$DATA", ":stream", "there:", "new:stream:$DATA", "there::$INDEX_ALLOCATION",
		"CON", "nul", "NUL.txt", "aux .x", "COM1", "lpt9.log", "COM¹", "CONIN$", "CONOUT$",
		"there.", "there ", "new.", "new ", ". .", "...", "new?", "new*", "new|", "new\"", "<", "new\x1f",
	} {
		for _, path := range []string{name, name + "/below"} {
			_, err := target.File(entry(format.File, path))
			require.ErrorIs(t, err, localfs.ErrName, "%q", path)
			require.NotContains(t, err.Error(), name)
			require.ErrorIs(t, target.Folder(entry(format.Dir, path)), localfs.ErrName, "%q", path)
			require.ErrorIs(t, target.Symlink(entry(format.Symlink, path)), localfs.ErrName, "%q", path)
			require.ErrorIs(t, target.Link(entry(format.File, path), "there"), localfs.ErrName, "%q", path)
			require.ErrorIs(t, target.Link(entry(format.File, "new"), path), localfs.ErrName, "%q", path)
			_, err = target.Names(path)
			require.ErrorIs(t, err, localfs.ErrName, "%q", path)
		}
	}
	require.NoError(t, target.Close())
	require.Equal(t, before, survey(t, base))
	requireContent(t, filepath.Join(base, "to", "there"), "inside")

	// The reading side takes single names as well.
	root, _, err := localfs.Source(filepath.Join(base, "to")).Open(t.Context())
	require.NoError(t, err)
	defer root.Close()
	for _, name := range []string{`..\outside.txt`, "..", "there::$DATA", `C:\`, ""} {
		_, err := root.File(name)
		require.ErrorIs(t, err, localfs.ErrName, "%q", name)
		_, err = root.Folder(name)
		require.ErrorIs(t, err, localfs.ErrName, "%q", name)
	}
}

// TestWindowsIgnoresCase: what differs in case alone must not be merged, nor the first be lost.
func TestWindowsIgnoresCase(t *testing.T) {
	dir, target := newTarget(t, localfs.TargetOptions{})
	require.NoError(t, target.Folder(entry(format.Dir, "Folder")))
	e := entry(format.File, "Folder/A")
	require.NoError(t, put(t, target, e, "first").Finish(e))
	_, err := target.File(entry(format.File, "Folder/a"))
	require.ErrorIs(t, err, localfs.ErrCollision)
	require.ErrorIs(t, target.Symlink(entry(format.Symlink, "Folder/a")), localfs.ErrCollision)
	require.ErrorIs(t, target.Folder(entry(format.Dir, "Folder/a")), localfs.ErrCollision)
	require.ErrorIs(t, target.Folder(entry(format.Dir, "folder")), localfs.ErrCollision)
	_, err = target.File(entry(format.File, "folder/A"))
	require.ErrorIs(t, err, localfs.ErrParent)
	require.NoError(t, target.Close())
	requireContent(t, filepath.Join(dir, "Folder", "A"), "first")
}

// TestFilesInUse: a file that somebody has open and shares with nobody stays as it is, and is told; one that is
// open for reading only is restored.
func TestFilesInUse(t *testing.T) {
	dir, target := newTarget(t, localfs.TargetOptions{})
	write(t, filepath.Join(dir, "locked"), "in use")
	write(t, filepath.Join(dir, "shared"), "being read")
	p, err := windows.UTF16PtrFromString(filepath.Join(dir, "locked"))
	require.NoError(t, err)
	h, err := windows.CreateFile(p, windows.GENERIC_READ, 0, nil, windows.OPEN_EXISTING, 0, 0)
	require.NoError(t, err)
	_, err = target.File(entry(format.File, "locked"))
	require.ErrorIs(t, err, windows.ERROR_SHARING_VIOLATION)
	require.NoError(t, windows.CloseHandle(h))
	reader, err := os.Open(filepath.Join(dir, "shared"))
	require.NoError(t, err)
	e := entry(format.File, "shared")
	require.NoError(t, put(t, target, e, "restored").Finish(e))
	require.NoError(t, reader.Close())
	require.NoError(t, target.Close())
	requireContent(t, filepath.Join(dir, "locked"), "in use")
	requireContent(t, filepath.Join(dir, "shared"), "restored")

	root, _, err := localfs.Source(dir).Open(t.Context())
	require.NoError(t, err)
	defer root.Close()
	h, err = windows.CreateFile(p, windows.GENERIC_READ, 0, nil, windows.OPEN_EXISTING, 0, 0)
	require.NoError(t, err)
	defer windows.CloseHandle(h)
	_, err = root.File("locked")
	require.ErrorIs(t, err, windows.ERROR_SHARING_VIOLATION)
}

// TestWaysToName: a source and a target by every sort of path that Windows has.
func TestWaysToName(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sub", "file"), "content")
	t.Chdir(dir)
	drive := filepath.VolumeName(dir)
	for _, path := range []string{dir, dir + `\`, filepath.ToSlash(dir), ".", drive, drive + ".", dir[len(drive):], `\\?\` + dir, dir + `\sub\..`} {
		root, _, err := localfs.Source(path).Open(t.Context())
		require.NoError(t, err, path)
		names, err := root.Names(t.Context())
		require.NoError(t, err)
		require.Equal(t, "sub", names.At(0), path)
		require.NoError(t, root.Close())
		target, err := localfs.OpenTarget(path, localfs.TargetOptions{})
		require.NoError(t, err, path)
		require.NoError(t, target.Folder(entry(format.Dir, "sub")))
		require.NoError(t, target.Close())
	}
	for _, path := range []string{"NUL", "CON", `\\.\NUL`, "none", ""} {
		_, _, err := localfs.Source(path).Open(t.Context())
		require.Error(t, err, path)
		_, err = localfs.OpenTarget(path, localfs.TargetOptions{})
		if path != "none" {
			require.Error(t, err, path)
		}
	}
}

// TestUnixModesAndTimes: what Windows has no place for, in a snapshot from elsewhere, is no loss. The right to write is.
func TestUnixModesAndTimes(t *testing.T) {
	dir, target := newTarget(t, localfs.TargetOptions{})
	d, f := entry(format.Dir, "d"), entry(format.File, "d/f")
	d.Mode, f.Mode = 0o750, 0o751
	f.ModTime.Nsec = 123456789
	require.NoError(t, target.Folder(d))
	require.NoError(t, put(t, target, f, "content").Finish(f))
	require.NoError(t, target.Close())
	got := survey(t, dir)
	require.Equal(t, format.Time{Sec: f.ModTime.Sec, Nsec: 123456700}, got["d/f"].ModTime)
	require.EqualValues(t, 0o644, got["d/f"].Mode)

	target, err := localfs.OpenTarget(dir, localfs.TargetOptions{})
	require.NoError(t, err)
	f.Mode |= 0o4000
	require.NoError(t, put(t, target, f, "content").Finish(f))
	require.ErrorIs(t, target.Close(), localfs.ErrPrivilege)
}
