//go:build linux

package localfs_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sort"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// seen is all that plain system calls by path tell of one name. It shares no code with the package.
type seen struct {
	Mode     uint32 // with the type
	UID, GID uint32
	Mtime    syscall.Timespec
	Size     int64
	Rdev     uint64
	Target   string
	Xattrs   string
	Sum      uint32
	Holes    bool   // fewer blocks than its size
	First    string // the first name of the same file
	Ctim     syscall.Timespec
	Inode    uint64
}

// listTree lists everything below dir. Of files with several names, First is the first of them.
func listTree(t testing.TB, dir string) map[string]seen {
	t.Helper()
	all := map[string]seen{}
	first := map[uint64]string{}
	var walk func(at, rel string)
	walk = func(at, rel string) {
		names, err := os.ReadDir(at)
		require.NoError(t, err)
		sort.Slice(names, func(i, j int) bool { return names[i].Name() < names[j].Name() })
		for _, n := range names {
			path := at + "/" + n.Name()
			name := strings.TrimPrefix(rel+"/"+n.Name(), "/")
			s := look(t, path)
			if f, ok := first[s.Inode]; ok {
				s.First = f
			} else {
				first[s.Inode] = name
				s.First = name
			}
			all[name] = s
			if s.Mode&syscall.S_IFMT == syscall.S_IFDIR {
				walk(path, name)
			}
		}
	}
	all["."] = look(t, dir)
	walk(dir, "")
	return all
}

func look(t testing.TB, path string) seen {
	t.Helper()
	var st syscall.Stat_t
	require.NoError(t, syscall.Lstat(path, &st))
	s := seen{Mode: st.Mode, UID: st.Uid, GID: st.Gid, Mtime: st.Mtim, Rdev: uint64(st.Rdev), Ctim: st.Ctim, Inode: st.Ino}
	s.Xattrs = lookXattrs(t, path)
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		target, err := os.Readlink(path)
		require.NoError(t, err)
		s.Target = target
	case syscall.S_IFREG:
		s.Size, s.Holes = st.Size, st.Blocks*512 < st.Size
		f, err := os.Open(path)
		require.NoError(t, err)
		defer f.Close()
		s.Sum = sumData(t, f, st.Size)
	}
	return s
}

// sumData adds up all pages that are not zero, with their offsets, and skips holes to be fast.
func sumData(t testing.TB, f *os.File, size int64) uint32 {
	h := crc32.NewIEEE()
	page := make([]byte, 4096)
	zero := make([]byte, 4096)
	for off := int64(0); off < size; off += int64(len(page)) {
		data, err := syscall.Seek(int(f.Fd()), off, 3) // SEEK_DATA
		if err == syscall.ENXIO {
			break
		}
		require.NoError(t, err)
		off = data &^ int64(len(page)-1)
		n, err := f.ReadAt(page, off)
		if err != io.EOF {
			require.NoError(t, err)
		}
		if !bytes.Equal(page[:n], zero[:n]) {
			fmt.Fprintf(h, "%d:%x", off, page[:n])
		}
	}
	return h.Sum32()
}

// syscall has no calls for links' attributes; a raw one does it.
func lookXattrs(t testing.TB, path string) string {
	buf := make([]byte, 64<<10)
	n, err := lList(path, buf)
	require.NoError(t, err)
	var lines []string
	for _, name := range strings.Split(string(buf[:n]), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		m, err := lGet(path, name, value)
		require.NoError(t, err)
		lines = append(lines, fmt.Sprintf("%s=%x", name, value[:m]))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// sameTree compares everything but ctime, inode, and what skip names.
func sameTree(t testing.TB, want, got map[string]seen, skip ...string) {
	t.Helper()
	for _, s := range skip {
		delete(want, s)
	}
	for path, w := range want {
		g, ok := got[path]
		if !ok {
			t.Errorf("%.80q is missing", path)
			continue
		}
		w.Ctim, g.Ctim, w.Inode, g.Inode = syscall.Timespec{}, syscall.Timespec{}, 0, 0
		if w != g {
			t.Errorf("%.80q differs:\n want %+v\n got  %+v", path, w, g)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%.80q is too much", path)
		}
	}
}
