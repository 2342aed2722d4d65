package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// lines reads what a command wrote with --json.
func lines(t *testing.T, out string) (all []map[string]any) {
	for l := range strings.Lines(out) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(l), &m))
		all = append(all, m)
	}
	return all
}

// TestOwnFolders: what the command itself writes into the folder that it backs up is left out, or each run would store
// what the one before stored.
func TestOwnFolders(t *testing.T) {
	dir := tree(t)
	real := filepath.Join(dir, "b[1]", "Repository")
	require.NoError(t, os.MkdirAll(filepath.Dir(real), 0o700))
	place := real
	if os.Symlink(dir, filepath.Join(filepath.Dir(dir), "link")) == nil {
		place = filepath.Join(filepath.Dir(dir), "link", "b[1]", "Repository")
	}
	if runtime.GOOS == "windows" {
		place = strings.ToUpper(place)
	}
	c := &caller{t: t, repo: place, host: filepath.Join(dir, "host")}
	c.password("secret")
	c.run(exitComplete, "init")
	_, errs := c.run(exitComplete, "backup", dir)
	require.Contains(t, errs, show(place)+": left out, as it is the repository")
	require.Contains(t, errs, show(c.host)+": left out, as it is what this host keeps")
	out, _ := c.run(exitComplete, "ls", "latest")
	require.Equal(t, ".\nb[1]\ndb\nletters\nletters/one.txt\n", out)

	url := "file://" + filepath.ToSlash(place)
	if runtime.GOOS == "windows" {
		url = "file:///" + filepath.ToSlash(place)
	}
	c.repo = strings.NewReplacer("[", "%5B", "]", "%5D").Replace(url)
	out, errs = c.run(exitComplete, "backup", dir, "--json")
	require.Empty(t, errs)
	all := lines(t, out)
	require.Equal(t, "note", all[0]["type"])
	require.Equal(t, "left-out", all[0]["code"])
	require.Equal(t, true, all[len(all)-1]["unchanged"])

	// Beside another path each stands under its own name.
	_, errs = c.run(exitComplete, "backup", dir, t.TempDir())
	require.Contains(t, errs, "the repository")
	out, _ = c.run(exitComplete, "ls", "latest", "ehr")
	require.Equal(t, "ehr\nehr/b[1]\nehr/db\nehr/letters\nehr/letters/one.txt\n", out)

	// Who leaves it out himself is told nothing.
	_, errs = c.run(exitComplete, "backup", dir, "--exclude", `/b\[1\]/Repository`, "--exclude", "/host/")
	require.Empty(t, errs)
	_, errs = c.run(exitUsage, "backup", real)
	require.Contains(t, errs, "cannot be backed up into itself")
	c.run(exitComplete, "backup", filepath.Join(dir, "letters"))
}

func TestOwnFoldersOfSites(t *testing.T) {
	g := newGroup(t, `{"copies": 3, "mustReach": 2}`, three...)
	g.run(exitComplete, "init")
	require.NoError(t, os.WriteFile(filepath.Join(g.dir, "letter.txt"), []byte("letter"), 0o600))
	_, errs := g.run(exitComplete, "backup", g.dir)
	for _, s := range three {
		require.Contains(t, errs, g.path(s.name)+": left out, as it is the folder of site "+s.name)
	}
	out, _ := g.run(exitComplete, "ls", "latest")
	require.Equal(t, ".\nletter.txt\nsites.json\n", out)
}

// TestExcludesThatMatchNothing: a path of this computer is no pattern, and the operator is told which one is.
func TestExcludesThatMatchNothing(t *testing.T) {
	c := &caller{t: t, repo: filepath.Join(t.TempDir(), "r"), host: t.TempDir()}
	c.password("secret")
	c.run(exitComplete, "init")
	dir, other := tree(t), t.TempDir()
	at := filepath.Join(dir, "letters")
	_, errs := c.run(exitUsage, "backup", dir, "--exclude", at)
	require.Contains(t, errs, "give --exclude /letters\n")
	_, errs = c.run(exitUsage, "backup", dir, other, "--exclude", at+"/*.txt")
	require.Contains(t, errs, "give --exclude /ehr/letters/*.txt\n")
	_, errs = c.run(exitUsage, "backup", dir, "--exclude", dir)
	require.Contains(t, errs, "leaves out all")
	if link := filepath.Join(other, "link"); os.Symlink(dir, link) == nil {
		_, errs = c.run(exitUsage, "backup", link, "--exclude", link+"/letters/")
		require.Contains(t, errs, "give --exclude /letters/\n")
		_, errs = c.run(exitUsage, "backup", link, "--exclude", at)
		require.Contains(t, errs, "give --exclude /letters\n")
	}
	_, errs = c.run(exitComplete, "backup", dir, "--exclude", "/letters")
	require.Empty(t, errs)

	// A tree that holds such a path itself.
	deep := filepath.Join(dir, strings.TrimPrefix(at, filepath.VolumeName(at)))
	require.NoError(t, os.MkdirAll(deep, 0o700))
	c.run(exitComplete, "backup", dir, "--exclude", filepath.ToSlash(strings.TrimPrefix(at, filepath.VolumeName(at))))

	_, errs = c.run(exitComplete, "backup", dir, "--exclude", "*")
	require.Contains(t, errs, "the snapshot holds no files")
	out, _ := c.run(exitComplete, "backup", dir, "--exclude", "*", "--json")
	all := lines(t, out)
	require.Equal(t, "no-files", all[len(all)-1]["code"])
}
