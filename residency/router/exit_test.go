package router_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/practice"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/router"
)

func TestPlanExit(t *testing.T) {
	w := newWorld(t, 2, "fra", "iad", "cdg", "zrh")
	w.opts.Placement.Copies = 2
	require.NoError(t, openEurope(t, w, 2).Close(t.Context()))
	r := openEurope(t, w, 4)
	seed(t, r, 3)
	p, err := r.PlanExit(t.Context(), "fra")
	require.NoError(t, err)
	require.Equal(t, []string{"2 sites"}, p.Lacks)
	require.EqualValues(t, 3, p.Where[0].Objects)
	require.Len(t, p.Targets, 3)
	require.Equal(t, "cdg", p.Targets[0].Site)
	require.True(t, p.Targets[0].Suffices)
	require.Equal(t, "iad", p.Targets[2].Site)
	require.True(t, p.Targets[2].Lawful)
	require.False(t, p.Targets[2].Suffices, "it has what there is already")
	_, err = r.PlanExit(t.Context(), "nowhere")
	require.ErrorIs(t, err, router.ErrSites)

	// A target that lacks papers says which.
	sites := europe(w.process())
	sites[1].Target.Papers = nil
	rules, err := residency.Rules()
	require.NoError(t, err)
	o := w.opts
	o.Now = func() time.Time { return at }
	r, err = router.Open(t.Context(), rules, irish, sites, &o)
	require.NoError(t, err)
	p, err = r.PlanExit(t.Context(), "fra")
	require.NoError(t, err)
	require.Equal(t, "iad", p.Targets[2].Site)
	require.False(t, p.Targets[2].Lawful)
	require.Contains(t, p.Targets[2].Papers, "dpf-listing")
}

// TestDrill brings a repository out of one site and restores it from there.
func TestDrill(t *testing.T) {
	ctx := t.Context()
	w := newMoveWorld(t, 2, "a", "b")
	notes := &diary{}
	w.opts.Evidence = notes.note
	r := w.open()
	src := t.TempDir()
	_, err := practice.Generate(ctx, src, &practice.Options{Size: 1 << 20})
	require.NoError(t, err)
	repo, err := backup.Create(ctx, r.Bucket(), backup.Password("secret"), &backup.CreateOptions{PasswordCost: quick, Options: backup.Options{HostDir: t.TempDir()}})
	require.NoError(t, err)
	_, err = repo.Backup(ctx, backup.Dir(src), nil)
	require.NoError(t, err)
	held := users(w.stores["b"])

	out := memblob.OpenBucket(nil)
	defer out.Close()
	restored := t.TempDir()
	drill, err := r.Drill(ctx, "b", router.Site{Name: "elsewhere", Bucket: out}, &router.DrillOptions{
		Restore: func(ctx context.Context, b *blob.Bucket) error {
			require.Same(t, out, b)
			repo, err := backup.Open(ctx, b, backup.Password("secret"), &backup.Options{HostDir: t.TempDir()})
			if err != nil {
				return err
			}
			snap, err := repo.Snapshot(ctx, "latest")
			if err != nil {
				return err
			}
			_, err = snap.Restore(ctx, restored, nil)
			return err
		},
	})
	require.NoError(t, err)
	require.Equal(t, tree(t, src), tree(t, restored))
	require.True(t, drill.Restored)
	require.EqualValues(t, len(held), drill.Objects)
	var bytes int64
	sum := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(held)) {
		bytes += int64(len(held[k]))
		key, data := sha256.Sum256([]byte(k)), sha256.Sum256([]byte(held[k]))
		fmt.Fprintf(sum, "%x %x\n", key, data)
	}
	require.Equal(t, bytes, drill.Bytes)
	require.Equal(t, hex.EncodeToString(sum.Sum(nil)), drill.Digest)
	require.Positive(t, drill.Copying)
	require.Positive(t, drill.Restoring)
	it := out.List(nil)
	_, err = it.Next(ctx)
	require.Error(t, err, "nothing is left there")
	require.Equal(t, 1, notes.count(`drill b {"outcome":"ok"`))
}

func TestDrillThatFails(t *testing.T) {
	w := newMoveWorld(t, 2, "a", "b")
	notes := &diary{}
	w.opts.Evidence = notes.note
	p := w.process()
	r := p.mustOpen()
	seed(t, r, 5)
	store := faultstore.New()
	to := router.Site{Name: "elsewhere", Bucket: store.Bucket()}
	broken := errors.New("no snapshot")
	opts := &router.DrillOptions{Workers: 1, Restore: func(context.Context, *blob.Bucket) error { return broken }}
	report, err := r.Drill(t.Context(), "b", to, opts)
	require.ErrorIs(t, err, router.ErrDrill)
	require.ErrorIs(t, err, broken)
	require.EqualValues(t, 5, report.Objects)
	require.False(t, report.Restored)
	require.Equal(t, 1, notes.count(`drill b {"outcome":"failed","objects":5`))
	require.Empty(t, store.Keys())

	// A copy that was damaged on its way is found out, and put right while that can be done.
	n := 0
	store.SetHook(func(o faultstore.Op) faultstore.Fault {
		if o.Kind == faultstore.Write && o.Key == "p/002" {
			if n++; n == 1 {
				return faultstore.Flip(3, 1)
			}
		}
		return faultstore.Fault{}
	})
	opts.Restore = func(_ context.Context, b *blob.Bucket) error {
		require.Equal(t, users(w.stores["b"]), users(store))
		return nil
	}
	opts.Keep = true
	_, err = r.Drill(t.Context(), "b", to, opts)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Len(t, store.Keys(), 5)
	_, err = r.Drill(t.Context(), "b", to, opts)
	require.ErrorIs(t, err, router.ErrForeign, "it must be empty")

	for _, o := range []struct {
		from string
		to   router.Site
		opts *router.DrillOptions
	}{{"nowhere", to, opts}, {"b", router.Site{Name: "a", Bucket: to.Bucket}, opts}, {"b", router.Site{Name: "x"}, opts}, {"b", to, nil}} {
		_, err = r.Drill(t.Context(), o.from, o.to, o.opts)
		require.ErrorIs(t, err, router.ErrSites)
	}
	p.setFault(func(string, faultstore.Op) faultstore.Fault { return faultstore.Fail(gcerrors.Internal) })
	_, err = r.Drill(t.Context(), "b", router.Site{Name: "y", Bucket: faultstore.New().Bucket()}, opts)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "p/")

	// A place where the data may not be is refused before anything goes there.
	w = newMoveWorld(t, 2, "a", "b")
	rules := &law{verdict: map[residency.Place]residency.Verdict{"AU": residency.Allowed, "US": residency.Denied}}
	r, err = router.Open(t.Context(), rules, subject, placed(w.process().sites(), "AU", "AU"), &w.opts)
	require.NoError(t, err)
	seed(t, r, 2)
	there := faultstore.New()
	abroad := placed([]router.Site{{Name: "abroad", Bucket: there.Bucket()}}, "US")[0]
	_, err = r.Drill(t.Context(), "b", abroad, opts)
	var denied *router.DeniedError
	require.ErrorAs(t, err, &denied)
	require.Equal(t, residency.Denied, denied.Decisions["abroad"].Verdict)
	require.Empty(t, there.Keys())
	require.True(t, strings.Contains(err.Error(), "abroad"))
}
