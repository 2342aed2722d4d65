package index_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

var (
	writerA = format.WriterID{'a'}
	writerB = format.WriterID{'b'}
)

// world is a bucket and what an index on it is configured with.
type world struct {
	t      testing.TB
	bucket *blob.Bucket
	cfg    index.Config
}

func newWorld(t testing.TB, suite seal.Suite) *world {
	return onBucket(t, suite, memblob.OpenBucket(nil))
}

// newDiskWorld keeps the bucket out of the heap that a test measures.
func newDiskWorld(t testing.TB, suite seal.Suite) *world {
	b, err := fileblob.OpenBucket(t.TempDir(), &fileblob.Options{Metadata: fileblob.MetadataDontWrite, NoTempDir: true})
	require.NoError(t, err)
	return onBucket(t, suite, b)
}

func onBucket(t testing.TB, suite seal.Suite, b *blob.Bucket) *world {
	t.Cleanup(func() { _ = b.Close() })
	key := make([]byte, seal.KeySize)
	copy(key, "the index key of a test repository")
	return &world{t: t, bucket: b, cfg: index.Config{
		Store: store.New(b, store.Options{Attempts: 2, Backoff: time.Millisecond}),
		Suite: suite, Key: key, Repo: format.RepoID{1, 2, 3},
	}}
}

func (w *world) index(segments ...format.Segment) *index.Index {
	x := index.New(w.cfg)
	x.Set(segments)
	w.t.Cleanup(x.Close)
	return x
}

func (w *world) put(s format.Segment, object []byte) {
	require.NoError(w.t, w.cfg.Store.Put(context.Background(), format.IndexKey(s.Hash), object))
}

// replace overwrites the object of a segment, as no honest program does.
func (w *world) replace(s format.Segment, object []byte) {
	require.NoError(w.t, w.bucket.WriteAll(context.Background(), format.IndexKey(s.Hash), object, nil))
}

func (w *world) read(s format.Segment) []byte {
	b, err := w.bucket.ReadAll(context.Background(), format.IndexKey(s.Hash))
	require.NoError(w.t, err)
	return b
}

// segment makes and stores a segment of ids, a pack for every 64 of them.
func (w *world) segment(writer format.WriterID, ids []format.ID) format.Segment {
	b := index.NewBuilder(w.cfg, writer, len(ids))
	fill(w.t, b, ids)
	object, s, err := b.Build()
	require.NoError(w.t, err)
	w.put(s, object)
	return s
}

func fill(t testing.TB, b *index.Builder, ids []format.ID) {
	const perPack = 64
	for i, id := range ids {
		if i%perPack == 0 {
			b.AddPack(packOf(ids[i]))
		}
		// Not require: its cost for every entry would be most of the test.
		if err := b.Add(id, locationOf(id, uint32(i/perPack))); err != nil {
			t.Fatal(err)
		}
	}
}

// packOf and locationOf derive what is said of a chunk from its id, so that a test can tell it is right.
func packOf(id format.ID) format.PackRef {
	p := format.PackRef{Type: format.TypeData, Number: binary.BigEndian.Uint32(id[4:]), Size: 16 << 20, Hash: format.Hash(id)}
	copy(p.Session[:], id[8:])
	copy(p.Prologue[:], id[:])
	return p
}

func locationOf(id format.ID, pack uint32) format.Location {
	v := binary.LittleEndian.Uint64(id[24:])
	return format.Location{
		Pack: pack, Offset: uint32(v) & 0x7fffff, Stored: uint32(v>>23)&0xfffff + 1, Plain: 4 << 20, Codec: byte(v >> 60),
		Start: uint32(v>>44) & 0xffff, Len: uint32(v>>30)&0x1fffff + 1,
	}
}

func ids(seed uint64, n int) []format.ID {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	r := rand.NewChaCha8(key)
	out := make([]format.ID, n)
	for i := range out {
		_, _ = r.Read(out[i][:])
	}
	return out
}

// requireFound checks that an id is found, in the right place.
func requireFound(t testing.TB, x *index.Index, id format.ID) index.Found {
	t.Helper()
	f, ok, err := x.Lookup(context.Background(), id)
	if err != nil || !ok || f.Location != locationOf(id, f.Location.Pack) {
		require.NoError(t, err)
		require.True(t, ok, "a chunk was not found")
		require.Equal(t, locationOf(id, f.Location.Pack), f.Location)
	}
	return f
}

func requireAbsent(t testing.TB, x *index.Index, id format.ID) {
	t.Helper()
	if _, ok, err := x.Lookup(context.Background(), id); err != nil || ok {
		require.NoError(t, err)
		require.False(t, ok, "an absent chunk was found")
	}
}

func collect(t testing.TB, x *index.Index, s format.Segment) (out []index.Item) {
	t.Helper()
	for item, err := range x.All(context.Background(), s) {
		require.NoError(t, err)
		out = append(out, item)
	}
	return out
}

func long() bool { return os.Getenv("CAREKEEP_LONG") == "1" }

// skipUnderRace spares the race detector what has one goroutine and a lot to do.
func skipUnderRace(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine only")
	}
}

// heap is the live heap in bytes, by both of the runtime's measures.
func heap() (alloc, inuse int64) {
	// Each collection makes garbage of what the one before found to finalize: gocloud.dev sets a finalizer on every
	// reader, and on a busy machine 150,000 of them, closed long ago, wait for theirs. The last empties what sync.Pool kept.
	for range 3 {
		runtime.GC()
		finalized()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.HeapInuse)
}

// finalized waits until all that the collector has queued is finalized.
func finalized() {
	samples := []metrics.Sample{{Name: "/gc/finalizers/executed:finalizers"}, {Name: "/gc/finalizers/queued:finalizers"}}
	for {
		metrics.Read(samples)
		if samples[0].Value.Uint64() >= samples[1].Value.Uint64() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func eachSuite(t *testing.T, f func(t *testing.T, s seal.Suite)) {
	for _, s := range []seal.Suite{seal.T1, seal.F1} {
		t.Run(s.String(), func(t *testing.T) { f(t, s) })
	}
}
