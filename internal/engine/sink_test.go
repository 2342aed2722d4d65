package engine_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob/memblob"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/source"
)

// TestManyChunks stores more chunks than a run keeps in memory, in packs enough that it can tell.
func TestManyChunks(t *testing.T) {
	const n = 40_000
	files := fstest.MapFS{}
	for i := range n {
		b := make([]byte, 128)
		seal.Random(b)
		binary.BigEndian.PutUint32(b, uint32(i))
		files[fmt.Sprintf("%d/%d", i%200, i)] = &fstest.MapFile{Data: b, Mode: 0o644, ModTime: old}
	}
	bucket := memblob.OpenBucket(nil)
	c := engine.Config{KDF: quickKDF(t), HostDir: t.TempDir(), PackSize: 2 << 20}
	r, err := engine.Create(t.Context(), bucket, engine.Key{Password: []byte("secret")}, c)
	require.NoError(t, err)
	_, err = r.Backup(t.Context(), source.FromFS(files), engine.BackupOptions{Host: "h", Sources: []string{"s"}})
	require.NoError(t, err)

	count := func(prefix string) (n int) {
		for key := range keys(t, bucket) {
			if strings.HasPrefix(key, prefix) {
				n++
			}
		}
		return n
	}
	require.Equal(t, 2, count("i/"), "index segments")
	require.Equal(t, 2, count("log/"), "the log's beginning and the snapshot: so short a run tells of no part of it")

	// Another host knows what was stored from the log and the store alone.
	again, err := engine.Open(t.Context(), bucket, engine.Key{Password: []byte("secret")}, engine.Config{})
	require.NoError(t, err)
	rep, err := again.Check(t.Context(), engine.CheckOptions{ReadAll: true})
	require.NoError(t, err)
	require.Empty(t, rep.Findings)
	require.GreaterOrEqual(t, rep.Chunks, int64(n))
}
