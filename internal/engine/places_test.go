package engine

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/refreader"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/carekeep/carekeep/internal/store"
	"github.com/carekeep/carekeep/internal/tree"
)

// meanwhile is files of which the first to be opened waits for something else to happen.
type meanwhile struct {
	fstest.MapFS
	once sync.Once
	do   func()
}

func (m *meanwhile) Open(name string) (fs.File, error) {
	if name == "a" {
		m.once.Do(m.do)
	}
	return m.MapFS.Open(name)
}

// twoHosts has two hosts with one password back up the same files, neither of which sees what the other stores,
// and then one of them make runs until the index segments are merged.
func twoHosts(t *testing.T) (*faultstore.Store, *Repo) {
	ctx := t.Context()
	s := faultstore.New()
	k, err := seal.DefaultKDF(seal.T1)
	require.NoError(t, err)
	k.MemoryKiB, k.Time, k.Threads = 8<<10, 1, 1
	quick := store.Options{Attempts: 2, Backoff: time.Nanosecond}
	key := Key{Password: []byte("x")}
	one, err := Create(ctx, s.Bucket(), key, Config{KDF: &k, Store: quick, HostDir: t.TempDir()})
	require.NoError(t, err)
	two, err := Open(ctx, s.Bucket(), key, Config{Store: quick, HostDir: t.TempDir()})
	require.NoError(t, err)

	random := rand.NewChaCha8([32]byte{7})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	file := func(n int) *fstest.MapFile {
		f := &fstest.MapFile{Data: make([]byte, n), Mode: 0o644, ModTime: at}
		_, _ = random.Read(f.Data)
		return f
	}
	files := fstest.MapFS{"a": file(5000), "b/c": file(300_000), "b/d": file(100)}
	run := func(r *Repo, host string, f fs.FS) {
		_, err := r.Backup(ctx, source.FromFS(f), BackupOptions{Host: host, Workers: 1})
		require.NoError(t, err)
	}
	run(one, "one", &meanwhile{MapFS: files, do: func() { run(two, "two", files) }})
	for i := 0; i < 140 && len(one.ledger.State().Segments) != 1; i++ {
		files[fmt.Sprintf("b/e%03d", i)] = file(10)
		run([]*Repo{one, two}[i%2], []string{"one", "two"}[i%2], files)
	}
	r, err := Open(ctx, s.Bucket(), key, Config{Store: quick})
	require.NoError(t, err)
	require.Len(t, r.ledger.State().Segments, 1, "the segments were not merged")
	return s, r
}

// placesByChunk are the packs that each chunk is in, by the index.
func placesByChunk(t *testing.T, r *Repo) map[format.ID][]format.PackRef {
	out := map[format.ID][]format.PackRef{}
	for _, d := range r.ledger.State().Segments {
		for item, err := range r.index.All(t.Context(), d) {
			require.NoError(t, err)
			if p := out[item.ID]; !slices.Contains(p, item.Pack) {
				out[item.ID] = append(p, item.Pack)
			}
		}
	}
	return out
}

// chunksOf are the ids of all nodes and chunks that a snapshot needs.
func chunksOf(t *testing.T, s *Snapshot) (ids []format.ID) {
	seen := &recordingLoader{loader: s.r.loader}
	d := s.Description
	for e, err := range (&tree.Tree{Root: d.Root, Level: d.RootLevel, Loader: seen}).Walk(t.Context(), ".") {
		require.NoError(t, err)
		if e.Kind != format.File {
			continue
		}
		for r, err := range s.Content(e).Refs(t.Context(), 0) {
			require.NoError(t, err)
			if !r.Hole {
				ids = append(ids, r.ID)
			}
		}
	}
	return append(ids, seen.ids...)
}

// TestTwoHostsStoreTheSame: whatever is merged, every chunk of a snapshot keeps a place in a pack that the
// snapshot lists, or a collector that goes by lists would take it away.
func TestTwoHostsStoreTheSame(t *testing.T) {
	ctx := t.Context()
	s, r := twoHosts(t)
	places := placesByChunk(t, r)
	twice := 0
	for _, p := range places {
		twice += len(p) - 1
	}
	require.Positive(t, twice, "no chunk is in two packs: the test shows nothing")
	snapshots, _, err := r.Snapshots(ctx)
	require.NoError(t, err)
	type snapshot struct {
		needs, list map[any]bool
	}
	var all []snapshot
	for _, ref := range snapshots {
		snap, err := r.Snapshot(ctx, ref)
		require.NoError(t, err)
		list, err := r.Refs(ctx, snap.Commit.Refs)
		require.NoError(t, err)
		k := snapshot{map[any]bool{}, map[any]bool{}}
		for _, o := range list {
			k.list[o.Hash] = true
		}
		for _, id := range chunksOf(t, snap) {
			k.needs[id] = true
			require.True(t, slices.ContainsFunc(places[id], func(p format.PackRef) bool { return k.list[p.Hash] }),
				"a snapshot depends on a pack that it does not list")
		}
		all = append(all, k)
	}
	rep, err := r.Check(ctx, CheckOptions{ReadAll: true})
	require.NoError(t, err)
	require.Empty(t, rep.Findings)

	// Any one of the packs that hold the same may be lost: what the others hold can be restored.
	firstTwo := map[format.Hash]format.PackRef{}
	for _, p := range places {
		if len(p) > 1 {
			firstTwo[p[0].Hash], firstTwo[p[1].Hash] = p[0], p[1]
		}
	}
	require.Len(t, firstTwo, 4, "two packs of data and two of metadata")
	restored := 0
	for _, p := range firstTwo {
		for _, how := range []string{"missing", "damaged"} {
			object, err := s.Bucket().ReadAll(ctx, p.Key())
			require.NoError(t, err)
			if how == "missing" {
				require.NoError(t, s.Bucket().Delete(ctx, p.Key()))
			} else {
				bad := bytes.Clone(object)
				for i := 50; i < len(bad); i += 100 {
					bad[i] ^= 1
				}
				require.NoError(t, s.Bucket().WriteAll(ctx, p.Key(), bad, nil))
			}
			again, err := Open(ctx, s.Bucket(), Key{Password: []byte("x")}, Config{Store: store.Options{Attempts: 2, Backoff: time.Nanosecond}})
			require.NoError(t, err)
			rep, err := again.Check(ctx, CheckOptions{ReadAll: true})
			require.NoError(t, err)
			require.NotEmpty(t, rep.Findings)
			lost, unlisted := map[format.SnapID]bool{}, map[format.SnapID]bool{}
			for _, l := range rep.Losses {
				lost[l.Snapshot] = true
			}
			for _, f := range rep.Findings {
				if f.Kind == UnlistedPack {
					unlisted[f.Snapshot] = true
				}
			}
			for i, ref := range snapshots {
				wantLost, wantUnlisted := false, false
				for id, in := range places {
					if !all[i].needs[id] || !slices.Contains(in, p) {
						continue
					}
					wantLost = wantLost || len(in) == 1
					wantUnlisted = wantUnlisted || len(in) > 1 &&
						!slices.ContainsFunc(in, func(q format.PackRef) bool { return q != p && all[i].list[q.Hash] })
				}
				require.Equal(t, wantLost, lost[ref.ID])
				if wantLost {
					continue
				}
				require.Equal(t, wantUnlisted, unlisted[ref.ID])
				if i > 4 {
					continue
				}
				restored++
				snap, err := again.Snapshot(ctx, ref)
				require.NoError(t, err)
				dir := t.TempDir()
				res, err := again.Restore(ctx, snap, dir, RestoreOptions{})
				require.NoError(t, err)
				require.Empty(t, res.Problems)
				b, err := os.ReadFile(filepath.Join(dir, "b", "c"))
				require.NoError(t, err)
				require.Len(t, b, 300_000)
			}
			require.NoError(t, s.Bucket().WriteAll(ctx, p.Key(), object, nil))
		}
	}
	require.Positive(t, restored)

	// The independent reader reads all of it, and tries other places as well.
	for _, gone := range append(slices.Collect(maps.Values(firstTwo)), format.PackRef{}) {
		objects := fstest.MapFS{}
		for key, b := range s.Objects() {
			if key != gone.Key() {
				objects[key] = &fstest.MapFile{Data: b}
			}
		}
		other, err := refreader.Open(objects, "x")
		require.NoError(t, err)
		theirs, err := other.Snapshots()
		require.NoError(t, err)
		require.Len(t, theirs, len(snapshots))
		for i := range 2 {
			alone := false // does it hold what the snapshot needs and no other pack has?
			for id, in := range places {
				alone = alone || all[i].needs[id] && len(in) == 1 && in[0] == gone
			}
			files := 0
			err := theirs[i].Walk(func(e refreader.Entry) error {
				files++
				if format.Kind(e.Kind) != format.File {
					return nil
				}
				return theirs[i].WriteContent(e, io.Discard)
			})
			if alone {
				require.Error(t, err)
				continue
			}
			require.NoError(t, err)
			require.Greater(t, files, 3)
		}
	}
}
