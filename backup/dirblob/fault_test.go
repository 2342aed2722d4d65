package dirblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

func TestCancelLeavesNothing(t *testing.T) {
	b, dir := openTemp(t)
	for name, stop := range map[string]func(*blob.Writer, context.CancelFunc) error{
		"before the first write": func(w *blob.Writer, cancel context.CancelFunc) error {
			cancel()
			_, err := w.Write([]byte("more"))
			return errors.Join(err, w.Close())
		},
		"before Close": func(w *blob.Writer, cancel context.CancelFunc) error {
			_, err := w.Write(make([]byte, 100_000))
			cancel()
			return errors.Join(err, w.Close())
		},
		"amid an upload": func(w *blob.Writer, cancel context.CancelFunc) error {
			_, err := w.ReadFrom(io.MultiReader(strings.NewReader("begin"), readerFunc(func([]byte) (int, error) {
				cancel()
				return 0, errors.New("the source broke")
			})))
			return errors.Join(err, w.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w, err := b.NewWriter(ctx, "data/aa/x", plainType)
			require.NoError(t, err)
			require.ErrorIs(t, stop(w, cancel), context.Canceled)
			require.Empty(t, files(t, dir))
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestBrokenUploadIsNotPublished: the portable type calls Close after a failed
// Upload, without a word about the failure.
func TestBrokenUploadIsNotPublished(t *testing.T) {
	b, dir := openTemp(t)
	broken := errors.New("the source broke")
	src := io.MultiReader(strings.NewReader("begin"), readerFunc(func([]byte) (int, error) { return 0, broken }))
	require.ErrorIs(t, b.Upload(t.Context(), "x", src, plainType), broken)
	require.Empty(t, files(t, dir))
}

func TestCancelledReads(t *testing.T) {
	b, _ := openTemp(t)
	require.NoError(t, b.WriteAll(t.Context(), "x", make([]byte, 10), plainType))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := b.NewReader(ctx, "x", nil)
	require.NoError(t, err)
	cancel()
	_, err = r.Read(make([]byte, 1))
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, r.Close())
	_, err = b.List(nil).Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = b.Exists(ctx, "x")
	require.ErrorIs(t, err, context.Canceled)
}

// TestVagueNotFound: where one error stands for a folder that is missing and for one that is a file, the
// first must be made and the second be refused.
func TestVagueNotFound(t *testing.T) {
	for way, refused := range ways() {
		d, err := open(&view{model: newModel(), fault: refused, vague: true}, modelRoot, &Options{CreateDir: true})
		require.NoError(t, err)
		b := blob.NewBucket(d)
		for _, once := range []bool{false, true} {
			opts := &blob.WriterOptions{ContentType: defaultType, IfNotExist: once}
			key := fmt.Sprint("data/", once, "/x")
			require.NoError(t, b.WriteAll(t.Context(), key, []byte("bytes"), opts), way)
			err = b.WriteAll(t.Context(), key+"/below/it", nil, opts)
			require.Equal(t, gcerrors.InvalidArgument, gcerrors.Code(err), "%s: %v", way, err)
			_, err = b.ReadAll(t.Context(), key+"/below/it")
			require.Equal(t, gcerrors.NotFound, gcerrors.Code(err), "%s: %v", way, err)
		}
		require.NoError(t, b.Close())
	}
}

// causes are the errors of this system for a full volume, a read-only one, a lack of permission and a broken disk.
func causes() (full, readOnly, denied, broken syscall.Errno) {
	if runtime.GOOS == "windows" { // ERROR_DISK_FULL, ERROR_WRITE_PROTECT, ERROR_ACCESS_DENIED, ERROR_CRC
		return 112, 19, 5, 23
	}
	return syscall.ENOSPC, syscall.EROFS, syscall.EACCES, syscall.EIO
}

// TestFailingCalls fails every kind of call that a write makes, with every
// cause that a volume has. Nothing may be published or left, the code must be right.
func TestFailingCalls(t *testing.T) {
	full, readOnly, denied, broken := causes()
	for cause, code := range map[syscall.Errno]gcerrors.ErrorCode{
		full:     gcerrors.ResourceExhausted,
		readOnly: gcerrors.PermissionDenied,
		denied:   gcerrors.PermissionDenied,
		broken:   gcerrors.Unknown,
	} {
		for _, call := range []string{"create", "write", "sync", "mkdir", "renameNew"} {
			t.Run(cause.Error()+"/"+call, func(t *testing.T) {
				v := &view{model: newModel()}
				d, err := open(v, modelRoot, &Options{CreateDir: true})
				require.NoError(t, err)
				b := blob.NewBucket(d)
				defer func() { _ = b.Close() }()
				write := func() error {
					return b.WriteAll(t.Context(), "data/x", []byte("bytes"), &blob.WriterOptions{ContentType: defaultType, IfNotExist: true})
				}
				v.fault = func(c, path string) error {
					if c == call {
						return cause
					}
					return nil
				}
				err = write()
				require.Equal(t, code, gcerrors.Code(err), "%v", err)
				require.NotContains(t, err.Error(), modelRoot)
				v.fault = nil
				left, err := v.find(modelRoot + "/" + tempFolder)
				require.NoError(t, err)
				require.Empty(t, left.kids, "an unfinished file is left")
				require.NoError(t, write(), "the volume is well again")
			})
		}
	}
}

// TestFolderFlushFails: the object has its name by then, but the caller must not
// be told that it is safe, and a repetition must flush again.
func TestFolderFlushFails(t *testing.T) {
	v := &view{model: newModel()}
	d, err := open(v, modelRoot, &Options{CreateDir: true})
	require.NoError(t, err)
	b := blob.NewBucket(d)
	defer func() { _ = b.Close() }()
	v.fault = func(call, path string) error {
		if call == "sync" && path == modelRoot+"/data" {
			return syscall.EIO
		}
		return nil
	}
	require.ErrorIs(t, b.WriteAll(t.Context(), "data/x", nil, plainType), syscall.EIO)
	v.fault = nil
	require.NoError(t, b.WriteAll(t.Context(), "data/x", nil, plainType))
}

// TestFullVolumeOpens: a volume on which nothing can be written must still be
// read, and freed, and must be fully usable once it has room again.
func TestFullVolumeOpens(t *testing.T) {
	full, _, _, _ := causes()
	v := &view{model: newModel()}
	d, err := open(v, modelRoot, &Options{CreateDir: true})
	require.NoError(t, err)
	require.NoError(t, blob.NewBucket(d).WriteAll(t.Context(), "x", []byte("bytes"), plainType))
	v.fault = func(call, _ string) error {
		if call == "create" || call == "mkdir" || call == "write" {
			return full
		}
		return nil
	}
	d, err = open(v, modelRoot, nil)
	require.NoError(t, err)
	b := blob.NewBucket(d)
	defer func() { _ = b.Close() }()
	data, err := b.ReadAll(t.Context(), "x")
	require.NoError(t, err)
	require.Equal(t, "bytes", string(data))
	require.Equal(t, gcerrors.ResourceExhausted, gcerrors.Code(b.WriteAll(t.Context(), "y", nil, plainType)))
	var info *Info
	require.True(t, b.As(&info))
	root, err := filepath.Abs(modelRoot) // with a drive on Windows
	require.NoError(t, err)
	require.Equal(t, &Info{Root: root}, info)
	require.NoError(t, b.Delete(t.Context(), "x"))
	v.fault = nil
	require.True(t, b.As(&info))
	require.Equal(t, &Info{Root: root, ExclusiveCreate: true, FolderSync: true}, info)
	require.NoError(t, b.WriteAll(t.Context(), "y", nil, plainType))
}

// TestLostReply: a network file system repeats a call and reports the name that the
// first call made. The winner must not take itself for the loser.
func TestLostReply(t *testing.T) {
	for _, way := range []string{"rename", "link"} {
		t.Run(way, func(t *testing.T) {
			dir := t.TempDir()
			d, err := open(repeatFS{faultyFS{fault: ways()[way]}}, dir, nil)
			require.NoError(t, err)
			b := blob.NewBucket(d)
			defer func() { _ = b.Close() }()
			exclusive := &blob.WriterOptions{ContentType: defaultType, IfNotExist: true}
			require.NoError(t, b.WriteAll(t.Context(), "x", []byte("a"), exclusive))
			require.Equal(t, gcerrors.FailedPrecondition, gcerrors.Code(b.WriteAll(t.Context(), "x", []byte("a"), exclusive)))
			require.Equal(t, []string{"x"}, files(t, dir))
		})
	}
}

// repeatFS does every exclusive call on an object twice, as if the first answer was lost.
type repeatFS struct{ faultyFS }

func twice(to string, call func() error) error {
	err := call()
	if err == nil && filepath.Base(filepath.Dir(to)) != tempFolder {
		return call()
	}
	return err
}

func (f repeatFS) renameNew(from, to string) error {
	return twice(to, func() error { return f.faultyFS.renameNew(from, to) })
}

func (f repeatFS) link(from, to string) error {
	return twice(to, func() error { return f.faultyFS.link(from, to) })
}

// TestDeadLock: where a lock file stands in for an exclusive create, one that a
// dead process left is waited for, and then broken.
func TestDeadLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &view{model: newModel(), fault: ways()["lock"]}
		d, err := open(v, modelRoot, &Options{CreateDir: true})
		require.NoError(t, err)
		b := blob.NewBucket(d)
		defer func() { _ = b.Close() }()
		exclusive := &blob.WriterOptions{ContentType: defaultType, IfNotExist: true}
		lock := func() {
			_, err := v.create(d.lockOf(location{name: "x"}))
			require.NoError(t, err)
		}

		lock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.WriteAll(ctx, "x", nil, exclusive), context.DeadlineExceeded)
		begin := time.Now()
		require.NoError(t, b.WriteAll(t.Context(), "x", nil, exclusive))
		require.InDelta(t, lockLife.Seconds(), time.Since(begin).Seconds(), 1)
		left, err := v.find(modelRoot + "/" + tempFolder)
		require.NoError(t, err)
		require.Empty(t, left.kids)
	})
}

func TestStaleUnfinishedWritesGo(t *testing.T) {
	dir := t.TempDir()
	temp := filepath.Join(dir, tempFolder)
	require.NoError(t, os.Mkdir(temp, 0o700))
	for name, age := range map[string]time.Duration{"old": 25 * time.Hour, "young": 23 * time.Hour} {
		path := filepath.Join(temp, name)
		require.NoError(t, os.WriteFile(path, []byte("half"), 0o600))
		when := time.Now().Add(-age)
		require.NoError(t, os.Chtimes(path, when, when))
	}
	b, err := OpenBucket(dir, nil)
	require.NoError(t, err)
	defer func() { _ = b.Close() }()
	require.Equal(t, []string{tempFolder + "/young"}, files(t, dir))
	_, err = b.List(nil).Next(t.Context())
	require.ErrorIs(t, err, io.EOF, "unfinished writes are not objects")
}

// TestVolumeTakenAway: a bare mount point must not look like an empty bucket,
// nor be filled by a writer.
func TestVolumeTakenAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mnt")
	b, err := OpenBucket(dir, &Options{CreateDir: true})
	require.NoError(t, err)
	defer func() { _ = b.Close() }()
	require.NoError(t, b.WriteAll(t.Context(), "x", nil, plainType))
	require.NoError(t, os.Rename(dir, dir+"-away"))
	for _, bare := range []bool{false, true} {
		if bare {
			require.NoError(t, os.Mkdir(dir, 0o700))
		}
		_, err = b.Exists(t.Context(), "x")
		require.ErrorIs(t, err, errGone)
		require.Equal(t, gcerrors.Unknown, gcerrors.Code(err))
		_, err = b.ReadAll(t.Context(), "x")
		require.ErrorIs(t, err, errGone)
		require.ErrorIs(t, b.Delete(t.Context(), "x"), errGone)
		_, err = b.List(nil).Next(t.Context())
		require.ErrorIs(t, err, errGone)
		require.ErrorIs(t, b.WriteAll(t.Context(), "y", nil, plainType), errGone)
	}
	require.Empty(t, files(t, dir))
}

// TestDeleteRacesCreate makes and removes the same folder from many sides. No
// writer may fail, or lose its object, because its folder went away.
func TestDeleteRacesCreate(t *testing.T) {
	v := &view{model: newModel()}
	d, err := open(v, modelRoot, &Options{CreateDir: true})
	require.NoError(t, err)
	b := blob.NewBucket(d)
	defer func() { _ = b.Close() }()
	ctx := t.Context()
	var all sync.WaitGroup
	for id := range 8 {
		all.Go(func() {
			key := "deep/er/" + string(rune('a'+id))
			for range 300 {
				if err := b.WriteAll(ctx, key, []byte("x"), plainType); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				if ok, err := b.Exists(ctx, key); !ok || err != nil {
					t.Errorf("lost: %v", err)
					return
				}
				if err := b.Delete(ctx, key); err != nil {
					t.Errorf("delete: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	left, err := v.find(modelRoot)
	require.NoError(t, err)
	require.Len(t, left.kids, 1, "only the folder of unfinished writes is left")
}

// TestConcurrentWritersShareFlushes holds one flush of the folder until all
// others wait for the next, which must then do for all of them.
func TestConcurrentWritersShareFlushes(t *testing.T) {
	var count, waiting atomic.Int32
	var g flushes
	hold := make(chan struct{})
	g.sync = func() error {
		if count.Add(1) == 1 {
			<-hold
		}
		return nil
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			waiting.Add(1)
			if err := g.flush(); err != nil {
				t.Error(err)
			}
		})
	}
	require.Eventually(t, func() bool { return waiting.Load() == 20 && count.Load() == 1 }, time.Second, time.Millisecond)
	time.Sleep(20 * time.Millisecond) // let the last ones join the round
	close(hold)
	all.Wait()
	require.LessOrEqual(t, count.Load(), int32(3))
}

// TestCostOfReading counts the calls to the file system.
func TestCostOfReading(t *testing.T) {
	v := &view{model: newModel()}
	d, err := open(v, modelRoot, &Options{CreateDir: true})
	require.NoError(t, err)
	b := blob.NewBucket(d)
	defer func() { _ = b.Close() }()
	ctx := t.Context()
	require.NoError(t, b.WriteAll(ctx, "data/aa/x", make([]byte, 5000), plainType))
	var calls []string
	v.fault = func(call, _ string) error { calls = append(calls, call); return nil }

	_, err = b.Attributes(ctx, "data/aa/x")
	require.NoError(t, err)
	require.Equal(t, []string{"stat"}, calls)

	calls = nil
	r, err := b.NewRangeReader(ctx, "data/aa/x", 100, 200, nil)
	require.NoError(t, err)
	n, err := io.ReadFull(r, make([]byte, 200))
	require.NoError(t, err)
	require.Equal(t, 200, n)
	require.NoError(t, r.Close())
	require.Equal(t, []string{"open", "fstat", "read"}, calls)

	calls = nil
	require.NoError(t, b.WriteAll(ctx, "data/aa/y", []byte("z"), plainType))
	require.Equal(t, 2, count(calls, "sync"), "one flush of the file, one of its folder: %v", calls)
}

func count(calls []string, want string) int {
	n := 0
	for _, c := range calls {
		if c == want {
			n++
		}
	}
	return n
}
