package faulttest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/chunk"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
)

// peak runs f and returns by how much what was alive in the heap grew at most, as found by Go's collector, which looks
// whenever a tenth of the heap has been allocated.
func peak(f func()) int64 {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	runtime.GC()
	heap := func() int64 {
		s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(s)
		return int64(s[0].Value.Uint64())
	}
	before, most := heap(), int64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				most = max(most, heap()-before)
			}
		}
	}()
	f()
	close(stop)
	<-stopped
	return most
}

// withoutLog is the bytes of all objects but the log, which is never deleted.
func withoutLog(s *faultstore.Store) (sum int64) {
	for k, b := range s.Objects() {
		if !strings.HasPrefix(k, "log/") {
			sum += int64(len(b))
		}
	}
	return sum
}

// TestThousandSnapshots keeps one of a thousand snapshots. What is stored is then hardly more than in a repository that
// never held another, and to get there takes a bounded amount of memory.
func TestThousandSnapshots(t *testing.T) {
	runs := 15
	if long() {
		runs = 1000
	}
	for _, hosts := range []int{1, 3} {
		c := config("")
		c.Chunks, c.Memory = chunk.Params{Min: 256, Avg: 1 << 10, Max: 4 << 10}, 2<<20
		s := faultstore.New()
		rnd := rand.New(rand.NewPCG(1, uint64(hosts)))
		var repos []*engine.Repo
		now := make([]files, hosts)
		for h := range hosts {
			c.HostDir = t.TempDir()
			make := engine.Open
			if h == 0 {
				make = engine.Create
			}
			r, err := make(t.Context(), s.Bucket(), key("main"), c)
			require.NoError(t, err)
			defer r.Close()
			repos = append(repos, r)
			now[h] = files{}
			for i := range 300 {
				now[h]["d/"+strconv.Itoa(i)] = bytesOf(uint64(h<<12+i), 20_000)
			}
		}
		var ids []format.SnapID
		for i := range runs {
			h := i % hosts
			now[h]["d/"+strconv.Itoa(rnd.IntN(300))] = bytesOf(uint64(1<<16+i), 20_000)
			o := options("run " + strconv.Itoa(i))
			o.Host = "h" + strconv.Itoa(h)
			res, err := repos[h].Backup(t.Context(), source.FromFS(now[h].fs()), o)
			require.NoError(t, err)
			ids = append(ids, res.Ref.ID)
		}
		last := now[(runs-1)%hosts]
		c.HostDir = ""
		r, err := engine.Open(t.Context(), s.Bucket(), key("main"), c)
		require.NoError(t, err)
		defer r.Close()
		require.NoError(t, r.Forget(t.Context(), r.Head(), format.Hash{}, ids[:runs-1], nil))
		full, objects := withoutLog(s), len(s.Keys())
		var rep *engine.CompactReport
		began := time.Now()
		grew := peak(func() { rep, err = r.Compact(t.Context(), engine.CompactOptions{Grace: 1, Abandoned: 1}) })
		require.NoError(t, err)
		took := time.Since(began)
		f := faultstore.New()
		fr, err := engine.Create(t.Context(), f.Bucket(), key("main"), c)
		require.NoError(t, err)
		_, err = fr.Backup(t.Context(), source.FromFS(last.fs()), options("fresh"))
		require.NoError(t, err)
		after, fresh := withoutLog(s), withoutLog(f)
		t.Logf("hosts=%d runs=%d stored=%d compacted=%d fresh=%d ratio=%.3f peak heap=%d MiB objects=%d took=%v %+v",
			hosts, runs, full, after, fresh, float64(after)/float64(fresh), grew>>20, objects, took.Round(time.Millisecond), *rep)
		require.LessOrEqual(t, float64(after), 1.10*float64(fresh))
		// 64 MiB, and 100 bytes for each object; what was written meanwhile is in memory because the store is.
		require.Less(t, grew, int64(64<<20+100*objects)+after)
		x := newTruth()
		x.saw["run "+strconv.Itoa(runs-1)] = last
		x.done["run "+strconv.Itoa(runs-1)] = ids[runs-1]
		require.NoError(t, x.audit(t.Context(), s.Bucket()))
		t.Logf("cases=%d lost=0", runs)
	}
}

// noise is a file system of files whose bytes follow from their number, so that it takes no memory.
type noise struct {
	n, size int
	first   int // number of the first
	skip    int // every so many is not there; 0 for none
}

func (f noise) Open(name string) (fs.File, error) {
	if name == "." {
		return fstest.MapFS{}.Open(".")
	}
	i, err := strconv.Atoi(name)
	if err != nil {
		return nil, fs.ErrNotExist
	}
	var seed [32]byte
	seed[0], seed[1], seed[2] = byte(i), byte(i>>8), byte(i>>16)
	return &noiseFile{name: name, size: f.size, rest: f.size, r: rand.NewChaCha8(seed)}, nil
}

func (f noise) ReadDir(string) (out []fs.DirEntry, err error) {
	for i := f.first; i < f.first+f.n; i++ {
		if f.skip == 0 || i%f.skip > 0 {
			out = append(out, fs.FileInfoToDirEntry(&noiseFile{name: fmt.Sprintf("%06d", i), size: f.size}))
		}
	}
	return out, nil
}

type noiseFile struct {
	name       string
	size, rest int
	r          io.Reader
}

func (f *noiseFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *noiseFile) Close() error               { return nil }
func (f *noiseFile) Name() string               { return f.name }
func (f *noiseFile) Size() int64                { return int64(f.size) }
func (f *noiseFile) Mode() fs.FileMode          { return 0o600 }
func (f *noiseFile) ModTime() time.Time         { return time.Unix(1e9, 0) }
func (f *noiseFile) IsDir() bool                { return false }
func (f *noiseFile) Sys() any                   { return nil }
func (f *noiseFile) Read(p []byte) (int, error) {
	if f.rest == 0 {
		return 0, io.EOF
	}
	n, err := f.r.Read(p[:min(len(p), f.rest)])
	for i := range p[:n] {
		p[i] = 'a' + p[i]&3 // so that it is stored in a quarter of the space
	}
	f.rest -= n
	return n, err
}

// TestCompactMemory compacts a repository of two million chunks (long), of which every other one is dead, so that all packs are
// written again.
func TestCompactMemory(t *testing.T) {
	chunks := 20_000
	if long() {
		chunks = 2_000_000
	}
	b, err := dirblob.OpenBucket(t.TempDir(), nil)
	require.NoError(t, err)
	defer b.Close()
	c := engine.Config{
		Chunks: chunk.Params{Min: 256, Avg: 1 << 10, Max: 4 << 10}, PackSize: 2 << 20, HostDir: t.TempDir(),
	}
	r, err := engine.Create(t.Context(), b, key("main"), c)
	require.NoError(t, err)
	defer r.Close()
	all := noise{n: chunks / 500, size: 512 << 10}
	o := options("all")
	first, err := r.Backup(t.Context(), source.FromFS(all), o)
	require.NoError(t, err)
	all.skip = 2
	o = options("half")
	_, err = r.Backup(t.Context(), source.FromFS(all), o)
	require.NoError(t, err)
	require.NoError(t, r.Forget(t.Context(), r.Head(), format.Hash{}, []format.SnapID{first.Ref.ID}, nil))
	r.Close()
	c.HostDir, c.Memory = "", 4<<20
	r, err = engine.Open(t.Context(), b, key("main"), c)
	require.NoError(t, err)
	defer r.Close()
	objects := count(t.Context(), t, b)
	var rep *engine.CompactReport
	began := time.Now()
	grew := peak(func() { rep, err = r.Compact(t.Context(), engine.CompactOptions{Grace: 1, Abandoned: 1}) })
	require.NoError(t, err)
	t.Logf("chunks=%d bytes=%d objects=%d took=%v peak heap=%.1f MiB %+v",
		chunks, first.Description.Bytes, objects, time.Since(began).Round(time.Millisecond), float64(grew)/(1<<20), *rep)
	require.Greater(t, rep.Rewritten, int64(0))
	require.Less(t, grew, int64(64<<20+100*objects))
	check, err := r.Check(t.Context(), engine.CheckOptions{ReadAll: true})
	require.NoError(t, err)
	require.NoError(t, findings(check))
}

func count(ctx context.Context, t *testing.T, b *blob.Bucket) (n int) {
	for it := b.List(nil); ; n++ {
		if _, err := it.Next(ctx); err != nil {
			require.ErrorIs(t, err, io.EOF)
			return n
		}
	}
}
