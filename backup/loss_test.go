package backup_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/rotation"
)

// entries are the files of the log, in order.
func (s *surgery) entries() (files []string) {
	s.Helper()
	require.NoError(s, filepath.WalkDir(filepath.Join(s.dir, "log"), func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, p)
		}
		return err
	}))
	slices.Sort(files)
	return files
}

// reported are the objects that a check finds fault with.
func (s *surgery) reported(r *backup.Repository) (names []string) {
	s.Helper()
	rep, err := r.Check(s.Context(), nil)
	require.ErrorIs(s, err, backup.ErrDamaged)
	for _, f := range rep.Findings {
		names = append(names, f.Object)
	}
	return names
}

// TestAcceptLoss: the newest entries of the log are lost, a snapshot and a hold, and nobody has a copy. What refuses to work
// names the way out, and works again after it; the host that remembers them goes on.
func TestAcceptLoss(t *testing.T) {
	ctx := t.Context()
	s := newSurgery(t)
	s.night()
	require.NoError(t, s.repo.Hold(ctx, rotation.Hold{ID: "H-1", PlacedBy: "Dr Ada", Placed: monday}))
	s.night()
	kept := s.ids()
	lost := s.night()
	require.NoError(t, s.repo.Hold(ctx, rotation.Hold{ID: "H-2", PlacedBy: "Dr Ada", Placed: monday}))
	files := s.entries()
	for _, f := range files[len(files)-2:] {
		require.NoError(t, os.WriteFile(f, []byte("rubbish"), 0o600))
	}

	r := s.elsewhere()
	_, err := r.Catalogue(ctx, nil)
	require.ErrorIs(t, err, backup.ErrLatestUnknown)
	require.ErrorContains(t, err, "accept its loss")
	_, err = r.Compact(ctx, nil)
	require.ErrorIs(t, err, backup.ErrDamaged)
	require.ErrorContains(t, err, "copy of the store")
	require.ErrorContains(t, err, "accept its loss")
	names := s.reported(r)
	require.Len(t, names, 2)

	var e *backup.LossError
	_, err = r.AcceptLoss(ctx)
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, backup.ErrDamaged)
	require.Equal(t, names, e.Unnamed)
	_, err = r.AcceptLoss(ctx, names[0])
	require.ErrorAs(t, err, &e)
	require.Equal(t, names[1:], e.Unnamed)
	sound := "log/00000000000000000001"
	_, err = r.AcceptLoss(ctx, append(names, sound)...)
	require.ErrorAs(t, err, &e)
	require.NotErrorIs(t, err, backup.ErrDamaged)
	require.Equal(t, []string{sound}, e.Sound)
	for _, name := range []string{"", "log/1", "log/", "p/1", "latest", lost.ID()[:12]} {
		_, err = r.AcceptLoss(ctx, name)
		require.ErrorContains(t, err, "neither")
	}
	_, err = backup.Open(ctx, s.bucket, backup.Password("secret"), &s.opts)
	require.ErrorIs(t, err, backup.ErrRolledBack)

	rep, err := r.AcceptLoss(ctx, names...)
	require.NoError(t, err)
	require.Equal(t, names, rep.Objects)
	require.Equal(t, names, rep.Unknown)
	require.Empty(t, rep.Damaged)
	require.Equal(t, s.clock.Load().Add(-48*time.Hour).UTC(), rep.Record.UTC(), "of H-1")
	again, err := r.AcceptLoss(ctx, names...)
	require.NoError(t, err)
	require.True(t, again.Again)

	require.Equal(t, kept, s.ids())
	check, err := s.elsewhere().Check(ctx, nil)
	require.NoError(t, err)
	require.EqualValues(t, 2, check.Accepted)
	s.repo, err = backup.Open(ctx, s.bucket, backup.Password("secret"), &s.opts)
	require.NoError(t, err)
	holds, err := s.repo.Holds(ctx)
	require.NoError(t, err)
	require.Len(t, holds, 1)
	require.Equal(t, rotation.HoldID("H-1"), holds[0].ID)
	s.night()
	require.NoError(t, s.repo.Hold(ctx, rotation.Hold{ID: "H-2", PlacedBy: "Dr Ada", Placed: monday}))
	s.sound()

	c, err := backup.Open(ctx, s.bucket, backup.Credential(), &s.opts)
	require.NoError(t, err)
	_, err = c.AcceptLoss(ctx, names...)
	require.ErrorIs(t, err, backup.ErrRole)
}
