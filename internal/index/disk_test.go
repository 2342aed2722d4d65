package index_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
)

func TestCacheDir(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, n := range []int{3000, 30_000} { // read whole; read in ranges first
		w := newWorld(t, seal.T1)
		w.cfg.Memory = 1
		w.cfg.CacheDir = filepath.Join(t.TempDir(), "not", "there", "yet")
		all := ids(uint64(n), n)
		s := w.segment(writerA, all)
		sealed := w.read(s)
		path := filepath.Join(w.cfg.CacheDir, s.Hash.String())

		all = all[:2000] // they lie in every page
		x := w.index(s)
		requireFound(t, x, all[0])
		if n > 5000 {
			require.NoFileExists(t, path, "brought for a single lookup")
		}
		for _, id := range all {
			requireFound(t, x, id)
		}
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, sealed, b, "the copy is not what the bucket has")

		// The next process does not need the bucket, and one with another view prunes.
		require.NoError(t, w.bucket.Delete(ctx, format.IndexKey(s.Hash)))
		again := w.index(s)
		for _, id := range all {
			requireFound(t, again, id)
		}
		again.Close()

		// A check is of the bucket, whatever the copy is.
		w.replace(s, append([]byte("x"), sealed[1:]...))
		var last error
		for _, err := range x.All(ctx, s) {
			last = err
		}
		require.Error(t, last)
		w.replace(s, sealed)
		x.Set([]format.Segment{s})

		// Damage anywhere is found, the copy goes, and the bucket answers.
		for _, at := range []int{0, 10, 44, 70_000, len(sealed) - 70_000, len(sealed) - 1} {
			bad := bytes.Clone(sealed)
			bad[at] ^= 1
			require.NoError(t, os.WriteFile(path, bad, 0o600))
			y := w.index(s)
			for _, id := range all {
				requireFound(t, y, id)
			}
			y.Close()
			b, err := os.ReadFile(path)
			if err == nil {
				require.Equal(t, sealed, b)
			}
		}
		require.NoError(t, os.WriteFile(path, sealed[:len(sealed)-1], 0o600))
		y := w.index(s)
		requireFound(t, y, all[1])

		require.NoError(t, os.WriteFile(path, sealed, 0o600))
		old := filepath.Join(w.cfg.CacheDir, s.Hash.String()+".123.part")
		young := filepath.Join(w.cfg.CacheDir, s.Hash.String()+".456.part")
		for _, p := range []string{old, young, filepath.Join(w.cfg.CacheDir, "notes.txt")} {
			require.NoError(t, os.WriteFile(p, nil, 0o600))
		}
		require.NoError(t, os.Chtimes(old, time.Time{}, time.Now().Add(-48*time.Hour)))
		require.NoError(t, x.Prune())
		require.FileExists(t, path)
		require.NoFileExists(t, old)
		require.FileExists(t, young)
		x.Close()
		y.Close()
		require.NoError(t, x.Prune())
		require.NoFileExists(t, path)
		require.FileExists(t, filepath.Join(w.cfg.CacheDir, "notes.txt"))
	}
}

func TestCacheDirUnusable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, seal.T1)
	w.cfg.Memory = 1
	w.cfg.CacheDir = filepath.Join(t.TempDir(), "file", "below")
	require.NoError(t, os.WriteFile(filepath.Dir(w.cfg.CacheDir), nil, 0o600))
	var mu sync.Mutex
	var told []error
	w.cfg.CacheFailed = func(err error) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, err)
	}
	all := ids(13, 60_000)
	x := w.index(w.segment(writerA, all[:3000]), w.segment(writerA, all[3000:]))
	for _, id := range all[:5000] {
		requireFound(t, x, id)
	}
	require.Len(t, told, 2, "once for each segment")
	require.NotContains(t, told[0].Error(), "below")
}
