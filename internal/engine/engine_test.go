package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/source"
)

var old = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

func quickKDF(t testing.TB) *seal.KDF {
	k, err := seal.DefaultKDF(seal.T1)
	require.NoError(t, err)
	k.MemoryKiB, k.Time, k.Threads = 8<<10, 1, 1
	return &k
}

func sample(n int) fstest.MapFS {
	m := fstest.MapFS{}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		size := r.IntN(20_000)
		if i%50 == 0 {
			size = 3 << 20
		}
		b := make([]byte, size)
		for j := range b {
			b[j] = byte(r.IntN(1 << (1 + i%8)))
		}
		m[fmt.Sprintf("d%d/f%d", i%7, i)] = &fstest.MapFile{Data: b, Mode: 0o644, ModTime: old}
	}
	return m
}

func contents(t *testing.T, s *engine.Snapshot) map[string][]byte {
	out := map[string][]byte{}
	for e, err := range s.Tree().Walk(context.Background(), ".") {
		require.NoError(t, err)
		if e.Kind != format.File {
			continue
		}
		var b bytes.Buffer
		for r, err := range s.Content(e).Refs(context.Background(), 0) {
			require.NoError(t, err)
			if r.Hole {
				b.Write(make([]byte, r.Len))
				continue
			}
			c, err := s.Chunk(context.Background(), r.Ref)
			require.NoError(t, err)
			b.Write(c)
		}
		out[e.Path] = b.Bytes()
	}
	return out
}

func keys(t *testing.T, b *blob.Bucket) map[string]int64 {
	out := map[string]int64{}
	it := b.List(nil)
	for {
		o, err := it.Next(context.Background())
		if err != nil {
			return out
		}
		out[o.Key] = o.Size
	}
}

func TestBackupAndBack(t *testing.T) {
	ctx := t.Context()
	for _, hosted := range []bool{true, false} {
		bucket := memblob.OpenBucket(nil)
		c := engine.Config{KDF: quickKDF(t)}
		if hosted {
			c.HostDir = t.TempDir()
		}
		r, err := engine.Create(ctx, bucket, engine.Key{Password: []byte("secret")}, c)
		require.NoError(t, err)
		files := sample(300)
		o := engine.BackupOptions{Host: "h", Sources: []string{"s"}}
		res, err := r.Backup(ctx, source.FromFS(files), o)
		require.NoError(t, err)
		require.Zero(t, res.Outcome)
		require.EqualValues(t, 300, res.Description.Files)
		before := keys(t, bucket)

		same, err := r.Backup(ctx, source.FromFS(files), o)
		require.NoError(t, err)
		require.True(t, same.Unchanged)
		require.Zero(t, same.Read)
		require.Len(t, keys(t, bucket), len(before)+1, "an unchanged snapshot commits one object")

		files["d3/new"] = &fstest.MapFile{Data: []byte("new"), ModTime: old}
		delete(files, "d1/f1")
		_, err = r.Backup(ctx, source.FromFS(files), o)
		require.NoError(t, err)

		again, err := engine.Open(ctx, bucket, engine.Key{Password: []byte("secret")}, engine.Config{})
		require.NoError(t, err)
		refs, sure, err := again.Snapshots(ctx)
		require.NoError(t, err)
		require.True(t, sure)
		require.Len(t, refs, 3)
		for i, n := range []int{300, 300, 300} {
			s, err := again.Snapshot(ctx, refs[i])
			require.NoError(t, err)
			got := contents(t, s)
			require.Len(t, got, n)
			if i == 2 {
				require.Equal(t, []byte("new"), got["d3/new"])
				for p, b := range got {
					want, err := fs.ReadFile(files, p)
					require.NoError(t, err)
					require.True(t, bytes.Equal(want, b), p)
				}
			}
			_, err = again.Refs(ctx, s.Commit.Refs)
			require.NoError(t, err)
		}
		_, err = engine.Open(ctx, bucket, engine.Key{Password: []byte("wrong")}, engine.Config{})
		require.ErrorIs(t, err, engine.ErrWrongKey)
		_, err = engine.Create(ctx, bucket, engine.Key{Password: []byte("secret")}, c)
		require.ErrorIs(t, err, engine.ErrExists)
	}
}
