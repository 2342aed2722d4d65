package backup_test

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/backup"
)

func TestRestoreOfMissingPaths(t *testing.T) {
	snap, err := create(t, memory(t), nil).Backup(t.Context(), files, nil)
	require.NoError(t, err)
	rep, err := snap.Restore(t.Context(), t.TempDir(), &backup.RestoreOptions{Paths: []string{"letters/one.txt", "letters/three.txt"}})
	var missing *backup.PathsError
	require.ErrorAs(t, err, &missing)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, []string{"letters/three.txt"}, missing.Paths)
	require.NotContains(t, err.Error(), "three")
	require.EqualValues(t, 1, rep.Files)
}
