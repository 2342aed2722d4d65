package engine_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/carekeep/carekeep/internal/engine"
)

func TestRestoreFullDisk(t *testing.T) {
	k := keep(t, folder(t, 100), engine.Config{})
	to := t.TempDir()
	if err := unix.Mount("tmpfs", to, "tmpfs", 0, "size=2m"); err != nil {
		t.Skip("this user may not mount")
	}
	defer func() { require.NoError(t, unix.Unmount(to, 0)) }()
	res, err := k.repo.Restore(t.Context(), k.snap, filepath.Join(to, "x"), engine.RestoreOptions{})
	require.ErrorIs(t, err, engine.ErrTargetFull)
	require.Zero(t, res.Failed)
	require.Less(t, res.Files, int64(100))
	want := look(t, k.from)
	for path, g := range look(t, filepath.Join(to, "x")) {
		require.True(t, !g.mode.IsRegular() || want[path].data == g.data, "%s is there in part", path)
	}
	require.NoError(t, unix.Mount("", to, "", unix.MS_REMOUNT, "size=64m"))
	again := k.restore(filepath.Join(to, "x"), engine.RestoreOptions{})
	require.GreaterOrEqual(t, again.Skipped, res.Files, "what was complete is not written twice")
	requireSame(t, k.from, filepath.Join(to, "x"))
}

// TestReadOnlyTarget restores to a disk that is mounted for reading: the error says so, and not that something is missing.
func TestReadOnlyTarget(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_RDONLY, "size=1m"); err != nil {
		t.Skip("this user may not mount")
	}
	defer func() { require.NoError(t, unix.Unmount(disk, 0)) }()
	k := keep(t, folder(t, 1), engine.Config{})
	_, err := k.repo.Restore(t.Context(), k.snap, filepath.Join(disk, "restored"), engine.RestoreOptions{})
	require.ErrorIs(t, err, unix.EROFS)
}
