package backup_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/rotation"
)

// newest is the file of the newest entry of the log.
func (s *surgery) newest() string {
	s.Helper()
	var files []string
	require.NoError(s, filepath.WalkDir(filepath.Join(s.dir, "log"), func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, p)
		}
		return err
	}))
	return slices.Max(files)
}

// TestHoldInDoubt: the newest entry of the log cannot be read. A hold would be written after it and vouch for what is
// there, so that its snapshot were lost even when the entry is brought back: it is refused, as is whatever else goes by
// the list of snapshots. A hold that is released, and the same hold again, are no exception.
func TestHoldInDoubt(t *testing.T) {
	ctx := t.Context()
	s := newSurgery(t)
	s.night()
	h := rotation.Hold{ID: "H-1", PlacedBy: "Dr Ada", Placed: monday}
	require.NoError(t, s.repo.Hold(ctx, h))
	s.night()
	policy := keep(1)
	c := s.catalogue(&policy)
	plan := s.evaluate(policy, c)
	all := s.ids()
	file := s.newest()
	entry, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, entry[:len(entry)/2], 0o600))

	r := s.elsewhere()
	before := objects(t, s.bucket)
	released := h
	released.Releases = []rotation.Approval{{By: "Dr Ben", At: monday}}
	for _, h := range []rotation.Hold{{ID: "H-2", PlacedBy: "Dr Ada", Placed: monday}, h, released} {
		require.ErrorIs(t, r.Hold(ctx, h), backup.ErrLatestUnknown)
	}
	_, err = r.Catalogue(ctx, nil)
	require.ErrorIs(t, err, backup.ErrLatestUnknown)
	require.ErrorIs(t, r.Forget(ctx, c, plan), backup.ErrStalePlan)
	_, err = r.Compact(ctx, nil)
	require.ErrorIs(t, err, backup.ErrDamaged)
	require.Equal(t, before, objects(t, s.bucket), "nothing was written")

	require.NoError(t, os.WriteFile(file, entry, 0o600))
	require.Equal(t, all, s.ids())
	require.NoError(t, s.elsewhere().Hold(ctx, released))
	s.sound()
}
