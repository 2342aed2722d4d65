package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/localfs"
	"github.com/carekeep/carekeep/internal/source"
)

// unreadable is the files of which a chunk cannot be read one by one.
func (k *kept) unreadable() map[string]bool {
	k.Helper()
	k.open()
	out := map[string]bool{}
	for e, err := range k.snap.Tree().Walk(k.Context(), ".") {
		require.NoError(k, err)
		if e.Kind != format.File {
			continue
		}
		for r, err := range k.snap.Content(e).Refs(k.Context(), 0) {
			require.NoError(k, err)
			if _, err := k.snap.Chunk(k.Context(), r.Ref); err != nil {
				out[e.Path] = true
			}
		}
	}
	k.open()
	return out
}

func (k *kept) packs() (out []string) {
	for _, key := range k.store.Keys() {
		if strings.HasPrefix(key, "p/") {
			out = append(out, key)
		}
	}
	return out
}

// requireAllBut wants everything but the files of bad to be restored.
func (k *kept) requireAllBut(to string, bad map[string]bool, res *engine.RestoreResult) {
	k.Helper()
	require.False(k, res.Complete())
	require.EqualValues(k, len(bad), res.Failed)
	for _, p := range res.Problems {
		require.True(k, bad[p.Path], p.Path)
		require.Equal(k, "content", p.Op)
		require.ErrorIs(k, p, engine.ErrDamaged)
		require.ErrorIs(k, p, engine.ErrContentLost)
		require.NotContains(k, p.Error(), p.Path)
	}
	want, got := look(k.T, k.from), look(k.T, to)
	for path, w := range want {
		g, ok := got[path]
		require.Equal(k, !bad[path], ok, path)
		require.True(k, !ok || w.data == g.data, path)
	}
}

func TestRestoreDamaged(t *testing.T) {
	sound := keep(t, folder(t, 200), engine.Config{PackSize: 2 << 20})
	require.Greater(t, len(sound.packs()), 2)
	other := largest(sound.store, "m/")
	for name, harm := range map[string]func(s *faultstore.Store, key string){
		"one byte": func(s *faultstore.Store, key string) {
			b := s.Get(key)
			b[len(b)/3] ^= 1
			s.Set(key, b)
		},
		"shorter": func(s *faultstore.Store, key string) { s.Set(key, s.Get(key)[:300_000]) },
		"gone":    func(s *faultstore.Store, key string) { s.Remove(key) },
		"another": func(s *faultstore.Store, key string) { s.Set(key, s.Get(other)) },
	} {
		t.Run(name, func(t *testing.T) {
			k := &kept{T: t, store: sound.store.Clone(), from: sound.from}
			harm(k.store, largest(k.store, "p/"))
			bad := k.unreadable()
			require.NotEmpty(t, bad)
			sound := 0
			for path, w := range look(t, k.from) {
				if w.data != "" && !bad[path] {
					sound++
				}
			}
			require.Greater(t, sound, 5, "files with content in other packs")
			to := t.TempDir()
			res, err := k.repo.Restore(t.Context(), k.snap, to, engine.RestoreOptions{})
			require.NoError(t, err)
			k.requireAllBut(to, bad, res)
		})
	}
}

// largest is the longest object of a kind.
func largest(s *faultstore.Store, prefix string) (key string) {
	for _, k := range s.Keys() {
		if strings.HasPrefix(k, prefix) && len(s.Get(k)) > len(s.Get(key)) {
			key = k
		}
	}
	return key
}

// longNames is n small files whose names take much of a tree.
func longNames(n int) fstest.MapFS {
	m := fstest.MapFS{}
	for i := range n {
		name := fmt.Sprintf("d%d/%x", i%7, noiseOf(uint64(i), 110))
		m[name] = &fstest.MapFile{Data: fmt.Append(nil, "file ", i), Mode: 0o644, ModTime: old}
	}
	return m
}

// A damaged tree ends a restore, but what comes before is restored.
func TestRestoreDamagedTree(t *testing.T) {
	s, files := faultstore.New(), longNames(3000)
	r, err := engine.Create(t.Context(), s.Bucket(), checkKey, engine.Config{KDF: quickKDF(t)})
	require.NoError(t, err)
	_, err = r.Backup(t.Context(), source.FromFS(files), engine.BackupOptions{})
	require.NoError(t, err)
	damaged := largest(s, "m/")
	whole := s.Get(damaged) // leaves in their order, and inner nodes among them, after those below each
	most := int64(0)
	for _, at := range []int{4, 5, 6, 7, 8} {
		b := bytes.Clone(whole)
		b[len(b)*at/12] ^= 1
		s.Set(damaged, b)
		k := &kept{T: t, store: s}
		k.open()
		to := t.TempDir()
		res, err := k.repo.Restore(t.Context(), k.snap, to, engine.RestoreOptions{})
		require.Error(t, err)
		require.Zero(t, res.Failed)
		n := 0
		for path, g := range look(t, to) {
			if g.mode.IsRegular() {
				require.True(t, string(files[path].Data) == g.data, path)
				n++
			}
		}
		require.EqualValues(t, n, res.Files)
		most = max(most, res.Files)
	}
	require.Positive(t, most, "the node on top of the first leaves cannot lie in every place")
}

func TestRestoreOutage(t *testing.T) {
	k := keep(t, folder(t, 200), engine.Config{PackSize: 2 << 20})
	broken := faultstore.Fail(gcerrors.Internal)
	t.Run("of everything", func(t *testing.T) {
		k.store.SetHook(faultstore.Nth(0, faultstore.On(faultstore.Read, "p/"), broken))
		to := t.TempDir()
		res, err := k.repo.Restore(t.Context(), k.snap, to, engine.RestoreOptions{})
		require.ErrorIs(t, err, engine.ErrStoreGone)
		require.Less(t, k.store.Ops(), 100)
		for path, g := range look(t, to) {
			require.True(t, !g.mode.IsRegular() || g.data == "", "%s: an empty file needs no store", path)
		}
		require.Zero(t, res.Written)
	})
	t.Run("of all there is to read, which is little", func(t *testing.T) {
		k := keep(t, folder(t, 10), engine.Config{PackSize: 2 << 20})
		writeFile(t, filepath.Join(k.from, "later"), noiseOf(1, 1000))
		_, err := k.repo.Backup(t.Context(), localfs.Source(k.from), engine.BackupOptions{Host: "h"})
		require.NoError(t, err)
		k.open()
		require.Len(t, k.packs(), 2)
		k.store.SetHook(faultstore.Nth(0, faultstore.On(faultstore.Read, "p/"), broken))
		_, err = k.repo.Restore(t.Context(), k.snap, t.TempDir(), engine.RestoreOptions{})
		require.ErrorIs(t, err, engine.ErrStoreGone)
	})
	t.Run("of one object", func(t *testing.T) {
		key := k.packs()[2]
		k.store.SetHook(faultstore.Nth(0, faultstore.On(faultstore.Read, key), broken))
		res, err := k.repo.Restore(t.Context(), k.snap, t.TempDir(), engine.RestoreOptions{})
		require.NoError(t, err)
		require.Positive(t, res.Failed)
		// Which pack this is, and so how many of the 200 files, is up to the digests that name packs.
		require.Positive(t, res.Files, "files in other packs are restored")
		for _, p := range res.Problems {
			require.ErrorIs(t, p, engine.ErrContentUnread)
			require.NotErrorIs(t, p, engine.ErrDamaged)
		}
		k.store.SetHook(nil)
	})
	t.Run("that passes", func(t *testing.T) {
		k.store.SetHook(func(o faultstore.Op) faultstore.Fault {
			if o.N%2 == 1 {
				return broken
			}
			return faultstore.Fault{}
		})
		to := t.TempDir()
		k.T = t
		k.restore(to, engine.RestoreOptions{Workers: 1})
		requireSame(t, k.from, to)
	})
}

func TestRestoreCancelled(t *testing.T) {
	k := keep(t, folder(t, 150), engine.Config{PackSize: 2 << 20})
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	to := filepath.Join(t.TempDir(), "to")
	for n := 1; ; n += 3 {
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, os.RemoveAll(to))
		k.open()
		k.store.SetHook(func(o faultstore.Op) faultstore.Fault {
			if o.N == n {
				cancel()
				return faultstore.Hang()
			}
			return faultstore.Fault{}
		})
		began := time.Now()
		res, err := k.repo.Restore(ctx, k.snap, to, engine.RestoreOptions{})
		cancel()
		k.store.SetHook(nil)
		if err == nil {
			require.Greater(t, n, 5)
			break
		}
		require.ErrorIs(t, err, context.Canceled)
		require.Less(t, time.Since(began), 2*time.Second)
		want, files := look(t, k.from), 0
		for path, g := range look(t, to) {
			if g.mode.IsRegular() {
				require.True(t, want[path].data == g.data, "%s is there in part", path)
				files++
			}
		}
		require.EqualValues(t, files, res.Files)
	}
	requireSame(t, k.from, to)
}
