//go:build linux

package localfs_test

import (
	"fmt"
	"os"
	"testing"
	"unsafe"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/localfs"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	benchFolders = 60
	benchFiles   = 1000 // in each
)

func benchTree(b *testing.B) string {
	dir := b.TempDir()
	for i := range benchFolders {
		d := fmt.Sprintf("%s/d%03d", dir, i)
		require.NoError(b, os.Mkdir(d, 0o755))
		for j := range benchFiles {
			require.NoError(b, unix.Mknod(fmt.Sprintf("%s/document-%06d.pdf", d, j), unix.S_IFREG|0o644, 0))
		}
	}
	return dir
}

// lstater avoids the allocation of an entry.
type lstater interface {
	LstatTo(name string, e *format.Entry) error
}

func scan(b *testing.B, dir string, one func(f source.Folder, name string) error) {
	root, _, err := localfs.Source(dir).Open(b.Context())
	require.NoError(b, err)
	defer root.Close()
	folders, err := root.Names(b.Context())
	require.NoError(b, err)
	count := 0
	for i := range folders.Len() {
		f, err := root.Folder(folders.At(i))
		require.NoError(b, err)
		names, err := f.Names(b.Context())
		require.NoError(b, err)
		for j := range names.Len() {
			if err := one(f, names.At(j)); err != nil {
				b.Fatal(err)
			}
			count++
		}
		f.Close()
	}
	if count != benchFolders*benchFiles {
		b.Fatal(count)
	}
}

// BenchmarkScan compares a scan with the bare system calls that it needs: getdents and statx.
func BenchmarkScan(b *testing.B) {
	dir := benchTree(b)
	perFile := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(benchFolders*benchFiles), "ns/file")
	}
	b.Run("Lstat", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			scan(b, dir, func(f source.Folder, name string) error { _, err := f.Lstat(name); return err })
		}
		perFile(b)
	})
	b.Run("LstatTo", func(b *testing.B) {
		b.ReportAllocs()
		var e format.Entry
		for b.Loop() {
			scan(b, dir, func(f source.Folder, name string) error { return f.(lstater).LstatTo(name, &e) })
		}
		perFile(b)
	})
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			bareScan(b, dir)
		}
		perFile(b)
	})
	b.Run("os.ReadDir+Info", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for i := range benchFolders {
				es, err := os.ReadDir(fmt.Sprintf("%s/d%03d", dir, i))
				require.NoError(b, err)
				for _, e := range es {
					if _, err := e.Info(); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		perFile(b)
	})
}

// bareScan does nothing but the system calls, with names taken straight from the kernel's buffer.
func bareScan(b *testing.B, dir string) {
	buf := make([]byte, 128<<10)
	count := 0
	for i := range benchFolders {
		fd, err := unix.Open(fmt.Sprintf("%s/d%03d", dir, i), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		require.NoError(b, err)
		for {
			n, err := unix.Getdents(fd, buf)
			require.NoError(b, err)
			if n == 0 {
				break
			}
			for at := 0; at < n; {
				name := uintptr(unsafe.Pointer(&buf[at+19]))
				if buf[at+19] != '.' {
					count++
					var st unix.Statx_t
					_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(fd), name, unix.AT_SYMLINK_NOFOLLOW,
						unix.STATX_BASIC_STATS|unix.STATX_BTIME, uintptr(unsafe.Pointer(&st)), 0)
					if errno != 0 {
						b.Fatal(errno)
					}
				}
				at += int(buf[at+16]) | int(buf[at+17])<<8
			}
		}
		unix.Close(fd)
	}
	if count != benchFolders*benchFiles {
		b.Fatal(count)
	}
}

// BenchmarkRestore restores 10,000 files of 4 KiB in 100 folders, beside the same by plain calls.
func BenchmarkRestore(b *testing.B) {
	const files = 10_000
	content := make([]byte, 4096)
	perFile := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/files, "ns/file")
	}
	path := func(i int) string { return fmt.Sprintf("d%02d/file-%05d", i/100, i) }
	restore := func(b *testing.B, dir string) {
		target, err := localfs.OpenTarget(dir, localfs.TargetOptions{Owners: localfs.NumericOwners})
		require.NoError(b, err)
		owner := &format.Owner{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
		for i := range files {
			if i%100 == 0 {
				d := entry(format.Dir, path(i)[:3])
				d.Owner = owner
				require.NoError(b, target.Folder(d))
			}
			e := &format.Entry{Path: path(i), Kind: format.File, Mode: 0o644, Owner: owner, Size: int64(len(content)), ModTime: format.Time{Sec: 1_700_000_000, Nsec: 1}}
			out, err := target.File(e)
			if err == nil {
				_, err = out.WriteAt(content, 0)
			}
			if err == nil {
				err = out.Finish(e)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		require.NoError(b, target.Close())
	}
	bare := func(b *testing.B, dir string) {
		require.NoError(b, os.Mkdir(dir, 0o755))
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: 1_700_000_000, Nsec: 1}}
		d := -1
		for i := range files {
			if i%100 == 0 {
				unix.Close(d)
				require.NoError(b, os.Mkdir(dir+"/"+path(i)[:3], 0o755))
				d, _ = unix.Open(dir+"/"+path(i)[:3], unix.O_DIRECTORY, 0)
			}
			fd, err := unix.Openat(d, path(i)[4:], unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o644)
			if err != nil {
				b.Fatal(err)
			}
			unix.Pwrite(fd, content, 0)
			unix.UtimesNanoAt(d, path(i)[4:], times, 0)
			unix.Close(fd)
		}
		unix.Close(d)
	}
	for name, run := range map[string]func(*testing.B, string){"Target": restore, "bare": bare} {
		b.Run(name, func(b *testing.B) {
			base := b.TempDir()
			for i := 0; b.Loop(); i++ {
				run(b, fmt.Sprintf("%s/%d", base, i))
			}
			perFile(b)
		})
	}
	b.Run("Again", func(b *testing.B) { // over an identical tree, every file opened and left as it is
		base := b.TempDir() + "/x"
		restore(b, base)
		for b.Loop() {
			restore(b, base)
		}
		perFile(b)
	})
}
