package router_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/s3blob"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/practice"
	"github.com/carekeep/carekeep/internal/servertest"
	"github.com/carekeep/carekeep/residency/router"
	"github.com/carekeep/carekeep/rotation"
)

// quick is a password derivation for tests.
var quick = backup.PasswordCost{Passes: 1, MemoryKiB: 8 << 10, Threads: 1}

// tree returns the content of every file below a folder.
func tree(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = string(b)
		return err
	}))
	return out
}

// TestBackup goes through the whole cycle of package backup on a routed bucket: every snapshot can be restored whichever
// site is dead.
func TestBackup(t *testing.T) {
	t.Run("folders", func(t *testing.T) {
		dirs := map[string]string{}
		cycle(t, func(name string) *blob.Bucket {
			if dirs[name] == "" {
				dirs[name] = t.TempDir()
			}
			b, err := dirblob.OpenBucket(dirs[name], nil)
			require.NoError(t, err)
			return b
		}, 2, "a", "b", "c")
	})
	t.Run("S3 and a folder", func(t *testing.T) {
		url, dir := servertest.S3(t), t.TempDir()
		cycle(t, func(name string) *blob.Bucket {
			if name == "cloud" {
				b, err := blob.OpenBucket(t.Context(), url)
				require.NoError(t, err)
				return b
			}
			b, err := dirblob.OpenBucket(dir, nil)
			require.NoError(t, err)
			return b
		}, 2, "cloud", "disk")
	})
}

func cycle(t *testing.T, bucket func(string) *blob.Bucket, must int, names ...string) {
	ctx := t.Context()
	open := func(dead string) (*router.Router, error) {
		var sites []router.Site
		for _, n := range names {
			b := bucket(n)
			t.Cleanup(func() { _ = b.Close() })
			if n == dead {
				require.NoError(t, b.Close())
			}
			sites = append(sites, router.Site{Name: n, Bucket: b})
		}
		return router.Open(ctx, allow{}, subject, sites, &router.Options{Placement: router.Placement{MustReach: must}})
	}
	r, err := open("")
	require.NoError(t, err)
	src := t.TempDir()
	o := &practice.Options{Size: 3 << 20}
	_, err = practice.Generate(ctx, src, o)
	require.NoError(t, err)
	opts := backup.Options{HostDir: t.TempDir()}
	repo, err := backup.Create(ctx, r.Bucket(), backup.Password("secret"), &backup.CreateOptions{PasswordCost: quick, Options: opts})
	require.NoError(t, err)
	want := map[string]map[string]string{}
	scratch := make([]byte, 1<<20)
	for day := range 3 {
		// What is new every day is needed no more when its day is forgotten.
		rand.NewChaCha8([32]byte{byte(day)}).Read(scratch)
		require.NoError(t, os.WriteFile(filepath.Join(src, "scratch"), scratch, 0o600))
		snap, err := repo.Backup(ctx, backup.Dir(src), &backup.BackupOptions{Labels: map[string]string{backup.LineageLabel: "practice"}})
		require.NoError(t, err)
		want[snap.ID()] = tree(t, src)
		_, err = practice.LiveDay(ctx, src, day+1, o)
		require.NoError(t, err)
	}
	everySnapshot(t, open, names, want)
	for _, id := range forget(t, repo) {
		delete(want, string(id))
	}
	require.Less(t, len(want), 3)
	deleted := int64(0)
	for n := 0; n < 50 && deleted == 0; n++ { // what one finds to be needed no more, a later one deletes
		time.Sleep(100 * time.Millisecond)
		compacted, err := repo.Compact(ctx, &backup.CompactOptions{Grace: 1})
		require.NoError(t, err)
		deleted += compacted.Deleted
	}
	require.Positive(t, deleted)
	report, err := repo.Check(ctx, &backup.CheckOptions{ReadAll: true})
	require.NoError(t, err)
	require.Zero(t, report.Total)
	everySnapshot(t, open, names, want)
	rep, err := r.Reconcile(ctx, &router.ReconcileOptions{Deep: true})
	require.NoError(t, err)
	for n, s := range rep.Sites {
		require.Zero(t, s.Copied+s.Missing+s.Wrong+s.Failed, n)
	}
	require.NoError(t, r.Close(ctx))
}

// forget releases what a policy of one day does not keep.
func forget(t *testing.T, repo *backup.Repository) []rotation.PointID {
	policy := rotation.Policy{
		Rules:  []rotation.Rule{{Lineages: []string{"*"}, Tiers: rotation.Tiers(1, 0, 0, 0)}},
		Budget: rotation.Budget{Points: 100, Per: rotation.Span{Days: 1}},
	}
	c, err := repo.Catalogue(t.Context(), &backup.CatalogueOptions{Policy: &policy, Point: func(_ *backup.Snapshot, p *rotation.Point) { p.Verified = rotation.Checked }})
	require.NoError(t, err)
	plan, err := rotation.Evaluate(policy, c, rotation.Judge(rotation.Reading{Wall: time.Now()}, c.HighWater(policy.Time), policy.Time))
	require.NoError(t, err)
	require.NoError(t, repo.Forget(t.Context(), c, plan))
	return plan.Releases()
}

// everySnapshot restores all snapshots with each of the sites dead.
func everySnapshot(t *testing.T, open func(string) (*router.Router, error), names []string, want map[string]map[string]string) {
	for _, dead := range append([]string{""}, names...) {
		r, err := open(dead)
		require.NoError(t, err, dead)
		repo, err := backup.Open(context.Background(), r.Bucket(), backup.Password("secret"), &backup.Options{Stateless: true})
		require.NoError(t, err, dead)
		for id, files := range want {
			s, err := repo.Snapshot(t.Context(), id)
			require.NoError(t, err, dead)
			to := t.TempDir()
			_, err = s.Restore(t.Context(), to, nil)
			require.NoError(t, err, dead)
			require.True(t, maps.Equal(files, tree(t, to)), dead)
		}
	}
}
