package router_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/router"
)

// vast is a bucket of very many small objects, big/0000000 and so on, of which it keeps one bit each. What else it holds
// is in a store.
type vast struct {
	driver.Bucket
	n   int
	mu  sync.Mutex
	has []uint64
}

const vastPrefix = "big/"

func newVast(n int, full bool) *vast {
	v := &vast{Bucket: faultstore.New().Driver(), n: n, has: make([]uint64, n/64+1)}
	for i := range n {
		if full {
			v.has[i/64] |= 1 << (i % 64)
		}
	}
	return v
}

func vastKey(i int) string    { return fmt.Sprintf("big/%07d", i) }
func vastData(i int) []byte   { return []byte(vastKey(i)) }
func (v *vast) at(i int) bool { return v.has[i/64]&(1<<(i%64)) != 0 }

func (v *vast) index(key string) (int, bool) {
	i, err := strconv.Atoi(strings.TrimPrefix(key, vastPrefix))
	return i, strings.HasPrefix(key, vastPrefix) && err == nil
}

func (v *vast) count() (n int) {
	for i := range v.n {
		if v.at(i) {
			n++
		}
	}
	return n
}

var vastTime = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func missing() error { return &faultstore.Error{Code: gcerrors.NotFound, Text: "not found"} }

func (v *vast) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	i, ok := v.index(key)
	if !ok {
		return v.Bucket.Attributes(ctx, key)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.at(i) {
		return nil, missing()
	}
	return &driver.Attributes{Size: int64(len(vastData(i))), ModTime: vastTime, ContentType: "application/octet-stream"}, nil
}

func (v *vast) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	i, ok := v.index(key)
	if !ok {
		return v.Bucket.Delete(ctx, key, o)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.has[i/64] &^= 1 << (i % 64)
	return nil
}

type vastReader struct {
	*bytes.Reader
	a driver.ReaderAttributes
}

func (r *vastReader) Close() error                         { return nil }
func (r *vastReader) Attributes() *driver.ReaderAttributes { return &r.a }
func (r *vastReader) As(any) bool                          { return false }

func (v *vast) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	i, ok := v.index(key)
	if !ok {
		return v.Bucket.NewRangeReader(ctx, key, offset, length, o)
	}
	a, err := v.Attributes(ctx, key)
	if err != nil {
		return nil, err
	}
	return &vastReader{bytes.NewReader(vastData(i)), driver.ReaderAttributes{Size: a.Size, ModTime: a.ModTime, ContentType: a.ContentType}}, nil
}

type vastWriter struct {
	bytes.Buffer
	v *vast
	i int
}

func (w *vastWriter) Close() error {
	if !bytes.Equal(w.Bytes(), vastData(w.i)) {
		return io.ErrShortWrite
	}
	w.v.mu.Lock()
	defer w.v.mu.Unlock()
	w.v.has[w.i/64] |= 1 << (w.i % 64)
	return nil
}

func (v *vast) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	i, ok := v.index(key)
	if !ok {
		return v.Bucket.NewTypedWriter(ctx, key, contentType, o)
	}
	return &vastWriter{v: v, i: i}, nil
}

// ListPaged gives what the store has first: records of the router sort before the many.
func (v *vast) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	from, many := v.index(string(o.PageToken))
	if !many {
		p, err := v.Bucket.ListPaged(ctx, o)
		if err == nil && len(p.NextPageToken) == 0 && o.Prefix == "" {
			p.NextPageToken = []byte(vastKey(0))
		}
		return p, err
	}
	p, size := &driver.ListPage{}, o.PageSize
	if size == 0 {
		size = 1000
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for ; from < v.n; from++ {
		if !v.at(from) {
			continue
		}
		if len(p.Objects) == size {
			p.NextPageToken = []byte(vastKey(from))
			break
		}
		p.Objects = append(p.Objects, &driver.ListObject{Key: vastKey(from), Size: int64(len(vastData(from))), ModTime: vastTime})
	}
	return p, nil
}

// heap is the memory in use, in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func openVast(t *testing.T, n int) (*router.Router, []*vast) {
	stores := []*vast{newVast(n, false), newVast(n, false), newVast(n, false)}
	var sites []router.Site
	for i, name := range []string{"a", "b", "c"} {
		b := blob.NewBucket(stores[i])
		t.Cleanup(func() { _ = b.Close() })
		sites = append(sites, router.Site{Name: name, Bucket: b})
	}
	o := &router.Options{Placement: router.Placement{Copies: 2, MustReach: 2}}
	first, err := router.Open(t.Context(), allow{}, subject, sites[:2], o)
	require.NoError(t, err)
	require.NoError(t, first.Close(t.Context()))
	for _, v := range stores[:2] {
		v.has = newVast(n, true).has
	}
	r, err := router.Open(t.Context(), allow{}, subject, sites, o)
	require.NoError(t, err)
	return r, stores
}

// TestAMillionObjectsAreCounted in bounded memory.
func TestAMillionObjectsAreCounted(t *testing.T) {
	const n = 1_000_000
	r, _ := openVast(t, n)
	before := heap()
	v, err := r.Reevaluate(t.Context(), residency.Day{})
	require.NoError(t, err)
	require.EqualValues(t, n, v.Sites[0].Objects)
	require.EqualValues(t, n, v.Sites[1].Objects)
	require.EqualValues(t, 11*n, v.Sites[1].Bytes)
	require.Less(t, heap(), before+(8<<20))
}

// TestManyObjectsAreMoved in memory that does not grow with them. With CAREKEEP_LARGE=1 they are a million.
func TestManyObjectsAreMoved(t *testing.T) {
	n := 20_000
	if os.Getenv("CAREKEEP_LARGE") == "1" {
		n = 1_000_000
	}
	r, stores := openVast(t, n)
	before, most, calls := heap(), uint64(0), 0
	report, err := r.Migrate(t.Context(), planned(t, r, migration("b", "c")), &router.MigrateOptions{Progress: func(router.MigrationProgress) {
		if calls++; calls%(n/640) == 0 {
			most = max(most, heap())
		}
	}})
	require.NoError(t, err)
	require.True(t, report.Done)
	require.EqualValues(t, n, report.Proof.Objects)
	require.Zero(t, stores[1].count())
	require.Equal(t, n, stores[2].count())
	// The entries are kept at the target, which is in memory here: 150 bytes each, in two passes.
	require.Less(t, most, before+(8<<20)+uint64(n)*400)
	require.NotZero(t, most)
}
