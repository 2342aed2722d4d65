package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/practice"
)

// A line that loses or mixes up bytes measures nothing.
func TestTheLastLinesBringEveryByteBack(t *testing.T) {
	work := t.TempDir()
	dir := filepath.Join(work, "practice")
	_, err := practice.Generate(t.Context(), dir, &practice.Options{Size: practice.MinSize})
	require.NoError(t, err)
	twice, err := os.ReadFile(filepath.Join(dir, "clinical.db"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "copy.db"), twice, 0o600)) // duplicates have two places
	files, err := list(dir)
	require.NoError(t, err)

	tab := &table{out: io.Discard, runs: 1, bytes: files.bytes, copy: 1, disk: 1}
	set, err := backupLines(t.Context(), tab, files, work)
	require.NoError(t, err)
	require.NoError(t, checkLines(t.Context(), tab, set))
	require.NoError(t, restoreLines(t.Context(), tab, set, files, work))
	restored, err := filepath.Glob(filepath.Join(work, "restored-*"))
	require.NoError(t, err)
	require.Len(t, restored, 2)
	slices.SortFunc(restored, func(a, b string) int { return modTime(t, a).Compare(modTime(t, b)) })
	for _, name := range files.names {
		want, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(restored[1], name))
		if len(want) == 0 {
			continue // no chunk leads to it
		}
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	}

	set.packs[0].frames[0].Chunks[0].ID[0] ^= 1
	require.ErrorIs(t, checkLines(t.Context(), tab, set), errWrong)
}

func modTime(t *testing.T, name string) time.Time {
	fi, err := os.Stat(name)
	require.NoError(t, err)
	return fi.ModTime()
}

func TestRunPrintsEveryPart(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte(strings.Repeat("some text ", 100_000)), 0o600))
	t.Setenv("CAREKEEP_BENCH_DIR", dir)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-runs", "1", "-work", t.TempDir()}, &out))
	for _, want := range []string{"memory copy", "\nbackup", "\ncheck", "\nrestore", "\nengine", "cold backup", "nothing changed"} {
		require.Contains(t, out.String(), want)
	}
}
