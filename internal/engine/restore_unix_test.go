//go:build unix

package engine_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/carekeep/carekeep/internal/engine"
)

func onDisk(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

func TestRestoreSparse(t *testing.T) {
	const size = int64(1) << 36
	from := t.TempDir()
	path := filepath.Join(from, "sparse")
	data := noiseOf(1, 300_000)
	places := []int64{0, 1 << 30, 7<<30 + 4096, size - 1<<20}
	f, err := os.Create(path)
	require.NoError(t, err)
	for _, off := range places {
		_, err = f.WriteAt(data, off)
		require.NoError(t, err)
	}
	require.NoError(t, f.Truncate(size))
	require.NoError(t, f.Close())
	require.NoError(t, os.Chtimes(path, old, old))
	if onDisk(t, path) > 8<<20 {
		t.Skip("this file system keeps no holes")
	}
	k := keep(t, from, engine.Config{})
	to := t.TempDir()
	got := filepath.Join(to, "sparse")
	check := func() {
		t.Helper()
		require.Less(t, onDisk(t, got), int64(8<<20))
		f, err := os.Open(got)
		require.NoError(t, err)
		defer f.Close()
		info, err := f.Stat()
		require.NoError(t, err)
		require.Equal(t, size, info.Size())
		require.True(t, info.ModTime().Equal(old))
		for _, off := range places {
			b := make([]byte, len(data)+4096)
			n, err := f.ReadAt(b, off)
			require.True(t, err == nil || n > len(data))
			require.True(t, bytes.Equal(b[:len(data)], data))
			require.True(t, bytes.Equal(b[len(data):], make([]byte, 4096)))
		}
	}
	res := k.restore(to, engine.RestoreOptions{})
	check()
	require.Less(t, res.Written, int64(4<<20))

	f, err = os.OpenFile(got, os.O_RDWR, 0) // what is in a hole is taken out of it
	require.NoError(t, err)
	_, err = f.WriteAt(noiseOf(2, 20<<20), 2<<30)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	res = k.restore(to, engine.RestoreOptions{})
	check()
	require.Zero(t, res.Written)
}

func TestRestoreSpecial(t *testing.T) {
	from := t.TempDir()
	require.NoError(t, unix.Mkfifo(filepath.Join(from, "fifo"), 0o640))
	require.NoError(t, os.Chtimes(filepath.Join(from, "fifo"), old, old))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(from, "socket")}); err != nil {
		t.Skip("the path is too long for a socket here")
	}
	k := keep(t, from, engine.Config{})
	to := t.TempDir()
	res := k.restore(to, engine.RestoreOptions{})
	require.EqualValues(t, 1, res.Others)
	require.EqualValues(t, 1, res.LeftOut)
	info, err := os.Lstat(filepath.Join(to, "fifo"))
	require.NoError(t, err)
	require.Equal(t, os.ModeNamedPipe|0o640, info.Mode())
	require.True(t, info.ModTime().Equal(old))
}

// A process that may open few files restores all the same.
func TestRestoreFewFiles(t *testing.T) {
	from := t.TempDir()
	for i := range 200 {
		writeFile(t, filepath.Join(from, fmt.Sprint("d", i), "f"), noiseOf(uint64(i), 2000))
	}
	k := keep(t, from, engine.Config{})
	to := t.TempDir()
	var before unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	fd, err := unix.Dup(0)
	require.NoError(t, err)
	require.NoError(t, unix.Close(fd))
	few := before
	setLimit(&few.Cur, fd+60)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before)) }()
	k.restore(to, engine.RestoreOptions{})
	requireSame(t, from, to)
}

// setLimit bridges the two types that systems give a limit: FreeBSD's is signed.
func setLimit[T int64 | uint64](to *T, n int) { *to = T(n) }

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
