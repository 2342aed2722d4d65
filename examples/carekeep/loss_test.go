package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAcceptLossCommand: an entry of the log is lost, and then its loss is accepted.
func TestAcceptLossCommand(t *testing.T) {
	repo := t.TempDir()
	c := threeSnapshots(t, repo)
	files, err := filepath.Glob(filepath.Join(repo, "log", "*"))
	require.NoError(t, err)
	require.Len(t, files, 4)
	require.NoError(t, os.WriteFile(files[3], []byte("rubbish"), 0o600))

	fresh := func(want int, args ...string) (string, string) { return c.run(want, append(args, "--no-host")...) }
	_, stderr := c.run(exitFailed, "snapshots")
	require.Contains(t, stderr, "not the one, this host has seen")
	_, stderr = fresh(exitFailed, "compact")
	require.Contains(t, stderr, "accept its loss")
	stdout, _ := fresh(exitFailed, "check", "--json")
	object := last(t, stdout, "finding")["object"].(string)
	require.Equal(t, "log/00000000000000000003", object)

	fresh(exitUsage, "accept-loss")
	_, stderr = fresh(exitFailed, "accept-loss", "nonsense")
	require.Contains(t, stderr, "neither")
	_, stderr = fresh(exitFailed, "accept-loss", object, "log/00000000000000000002")
	require.Contains(t, stderr, "not lost: log/00000000000000000002")
	stdout, _ = fresh(exitFailed, "accept-loss", "--json", "log/00000000000000000002")
	require.Equal(t, []any{"log/00000000000000000002"}, last(t, stdout, "refused")["sound"])

	stdout, _ = fresh(exitComplete, "accept-loss", object)
	require.Contains(t, stdout, "given up for lost: 1 entry")
	require.Contains(t, stdout, "holds and policies may be lost")
	stdout, _ = fresh(exitComplete, "accept-loss", "--json", object)
	require.Equal(t, true, last(t, stdout, "accepted")["again"])
	stdout, _ = fresh(exitComplete, "accept-loss", object)
	require.Contains(t, stdout, "accepted before")

	stdout, _ = c.run(exitComplete, "check")
	require.Contains(t, stdout, "0 findings\nlost, as was accepted: 1 entry of the commit log")
	stdout, _ = c.run(exitComplete, "check", "--json")
	require.EqualValues(t, 1, last(t, stdout, "checked")["accepted"])
	c.run(exitComplete, "compact")
	stdout, _ = c.run(exitComplete, "accept-loss", "--help")
	require.Contains(t, stdout, "bring")
}
