package backup_test

import (
	"errors"
	"io/fs"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/backup"
)

// TestStreamThatFails: the error is the reader's, and its text, which may hold names, is not shown.
func TestStreamThatFails(t *testing.T) {
	r := create(t, memory(t), nil)
	failure := errors.New("dump of Smith failed")
	_, err := r.Backup(t.Context(), backup.Stream("dump.sql", iotest.ErrReader(failure)), nil)
	require.ErrorIs(t, err, failure)
	require.ErrorContains(t, err, "the stream failed")
	require.NotContains(t, err.Error(), "Smith")
}

// TestSourceOfNothing gives sources that a mistake in the caller's code makes: each is an error of the call.
func TestSourceOfNothing(t *testing.T) {
	r := create(t, memory(t), nil)
	for name, src := range map[string]fs.FS{
		"no source":             nil,
		"no reader":             backup.Stream("dump.sql", nil),
		"an empty group":        backup.Group(nil),
		"no source in a group":  backup.Group(map[string]fs.FS{"db": nil, "docs": files}),
		"no reader in a group":  backup.Group(map[string]fs.FS{"db": backup.Stream("dump.sql", nil), "docs": files}),
		"an empty group in one": backup.Group(map[string]fs.FS{"db": backup.Group(nil), "docs": files}),
	} {
		snap, err := r.Backup(t.Context(), src, nil)
		require.ErrorContains(t, err, "no source", name)
		require.Nil(t, snap, name)
	}
	_, err := r.Snapshot(t.Context(), backup.Latest)
	require.ErrorIs(t, err, backup.ErrNoSnapshot)
}
