package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSeries: where several things are backed up to one repository, latest is the newest of what was asked for.
func TestSeries(t *testing.T) {
	c := &caller{t: t, repo: filepath.Join(t.TempDir(), "r"), host: t.TempDir()}
	c.password("secret")
	c.run(exitComplete, "init")
	out, _ := c.run(exitComplete, "snapshots")
	require.Empty(t, out)
	_, errs := c.run(exitFailed, "cat", "latest", "dump", "--name", "dump")
	require.Contains(t, errs, "the repository holds none")

	dir := tree(t)
	for _, s := range [][]string{{"first", "site=north"}, {"second", "site=north"}, {"third", "site=south"}} {
		c.pipe(s[0], exitComplete, "backup", "--stdin", "dump", "--name", s[1][5:], "--label", s[1], "--label", "kind=sql")
	}
	c.run(exitComplete, "backup", dir)
	cat := func(args ...string) string {
		out, _ := c.run(exitComplete, append([]string{"cat", "latest", "dump"}, args...)...)
		return out
	}
	require.Equal(t, "second", cat("--name", "north"))
	require.Equal(t, "second", cat("--label", "site=north", "--label", "kind=sql"))
	require.Equal(t, "third", cat("--label", "kind=sql"))
	out, _ = c.run(exitComplete, "ls", "latest", "--name", dir)
	require.Contains(t, out, "letters/one.txt")
	to := filepath.Join(t.TempDir(), "to")
	c.run(exitComplete, "restore", "latest", "--name", "south", "--to", to)
	require.FileExists(t, filepath.Join(to, "dump"))
	out, _ = c.run(exitComplete, "snapshots", "--json", "--name", "north")
	both := lines(t, out)
	require.Len(t, both, 2)
	out, _ = c.run(exitComplete, "diff", both[0]["id"].(string), "latest", "--name", "north")
	require.Equal(t, "M dump\n", out)
	host := both[0]["host"].(string)
	out, _ = c.run(exitComplete, "snapshots", "--host", host)
	require.Equal(t, 4, strings.Count(out, "\n"))

	// The series there are, each once, in words that can be given.
	_, errs = c.run(exitFailed, "ls", "latest", "--host", host, "--name", "west")
	require.Contains(t, errs, "there is no such snapshot")
	require.Equal(t, 1, strings.Count(errs, "  --host "+show(host)+" --name north\n"), errs)
	require.Contains(t, errs, " --name south\n")
	_, errs = c.run(exitFailed, "snapshots", "--label", "site=west")
	require.Contains(t, errs, " --name north --label kind=sql --label site=north\n")
	require.NotContains(t, errs, "site=west\n  ")

	// Several paths have a name that nobody can type, but for the way it is shown.
	c.run(exitComplete, "backup", dir, t.TempDir())
	out, _ = c.run(exitComplete, "snapshots")
	name := strings.TrimSpace(out[strings.LastIndex(out, show(host)+":")+len(show(host))+1:])
	c.run(exitComplete, "ls", "latest", "ehr", "--name", name)

	// An id is the snapshot's, whatever else is asked for.
	out, _ = c.run(exitComplete, "cat", both[0]["id"].(string), "dump", "--name", "south")
	require.Equal(t, "first", out)
}
