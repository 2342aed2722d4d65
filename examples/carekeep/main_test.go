package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/internal/servertest"
)

// quick makes guessing a password cheap, and hundreds of commands quick.
var quick = backup.PasswordCost{Passes: 1, MemoryKiB: 8 << 10, Threads: 1}

// call runs the command in this process.
type caller struct {
	t    *testing.T
	repo string
	host string
}

func (c *caller) run(want int, args ...string) (stdout, stderr string) {
	c.t.Helper()
	return c.pipe("", want, args...)
}

func (c *caller) pipe(stdin string, want int, args ...string) (stdout, stderr string) {
	c.t.Helper()
	var out, errs bytes.Buffer
	if c.repo != "" {
		args = append(args, "--repo", c.repo)
	}
	args = append(args, "--host-dir", c.host)
	got := runIn(c.t.Context(), world{time.Now, quick}, args, strings.NewReader(stdin), &out, &errs)
	require.Equal(c.t, want, got, "%v\n%s\n%s", args, out.String(), errs.String())
	return out.String(), errs.String()
}

func (c *caller) password(p string) {
	if p == "" {
		os.Unsetenv("CAREKEEP_PASSWORD")
		return
	}
	c.t.Setenv("CAREKEEP_PASSWORD", p)
}

func tree(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "ehr")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "letters"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "letters", "one.txt"), []byte("first"), 0o640))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "db"), bytes.Repeat([]byte("row "), 100_000), 0o600))
	return dir
}

func TestCommand(t *testing.T) {
	cycle(t, filepath.Join(t.TempDir(), "repository"))
}

// TestCommandOnS3 does the same on a real S3-compatible server.
func TestCommandOnS3(t *testing.T) {
	url := servertest.S3(t)
	cycle(t, url)
	b, err := blob.OpenBucket(t.Context(), url)
	require.NoError(t, err)
	defer b.Close()
}

// TestCommandOnGCS and TestCommandOnAzure do the same on servers of the other two interfaces. Package backup always
// tries those; the command adds nothing to them, so it is tried only with CAREKEEP_LONG=1.
func TestCommandOnGCS(t *testing.T) {
	onlyLong(t)
	cycle(t, servertest.GCS(t))
}

func TestCommandOnAzure(t *testing.T) {
	onlyLong(t)
	cycle(t, servertest.Azure(t))
}

func onlyLong(t *testing.T) {
	if os.Getenv("CAREKEEP_LONG") == "" {
		t.Skip("set CAREKEEP_LONG=1")
	}
}

func cycle(t *testing.T, repo string) {
	c := &caller{t: t, repo: repo, host: t.TempDir()}
	c.password("secret")
	dir := tree(t)
	out, _ := c.run(exitComplete, "init")
	require.Contains(t, out, "repository ")
	_, errs := c.run(exitFailed, "init")
	require.Contains(t, errs, "already")

	out, _ = c.run(exitComplete, "backup", dir, "--label", "site=north", "--exclude", "*.tmp")
	require.Contains(t, out, "complete: 2 files")
	// The host holds its credential now: no password is asked for, and a wrong one is an error all the same.
	c.password("")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "letters", "two.txt"), []byte("second"), 0o640))
	c.run(exitComplete, "backup", dir)
	c.password("wrong")
	_, errs = c.run(exitFailed, "backup", dir)
	require.Contains(t, errs, "no key slot opens")
	c.password("secret")

	out, _ = c.run(exitComplete, "snapshots", "--json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2)
	var first struct {
		ID      string
		Files   int
		Labels  map[string]string
		Outcome string
	}
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
	require.Equal(t, map[string]string{"site": "north"}, first.Labels)

	out, _ = c.run(exitComplete, "ls", "latest", "letters")
	require.Equal(t, "letters\nletters/one.txt\nletters/two.txt\n", out)
	out, _ = c.run(exitComplete, "cat", first.ID[:8], "letters/one.txt")
	require.Equal(t, "first", out)
	out, _ = c.run(exitComplete, "diff", first.ID, "latest")
	require.Contains(t, out, "+ letters/two.txt\n")

	to := filepath.Join(t.TempDir(), "to")
	c.run(exitComplete, "restore", "latest", "--to", to)
	b, err := os.ReadFile(filepath.Join(to, "letters", "two.txt"))
	require.NoError(t, err)
	require.Equal(t, "second", string(b))
	part := filepath.Join(t.TempDir(), "part")
	c.run(exitComplete, "restore", "latest", "letters/one.txt", "--to", part)
	require.NoFileExists(t, filepath.Join(part, "db"))
	c.run(exitFailed, "restore", "latest", "no/such", "--to", part)
	c.run(exitFailed, "restore", "0000", "--to", part)

	out, _ = c.run(exitComplete, "check", "--read-all")
	require.Contains(t, out, "0 findings")

	t.Setenv("CAREKEEP_NEW_PASSWORD", "another")
	out, _ = c.run(exitComplete, "key", "add")
	id := strings.Fields(out)[1]
	c.password("another")
	out, _ = c.run(exitComplete, "key", "list")
	require.Contains(t, out, id)
	c.password("secret")
	c.run(exitComplete, "key", "remove", id)
	c.password("another")
	c.run(exitFailed, "snapshots")
	c.password("secret")

	c.pipe("a dump", exitComplete, "backup", "--stdin", "dump.sql", "--name", "db")
	out, _ = c.run(exitComplete, "cat", "latest", "dump.sql")
	require.Equal(t, "a dump", out)
}

func TestUsage(t *testing.T) {
	c := &caller{t: t, repo: filepath.Join(t.TempDir(), "r"), host: t.TempDir()}
	c.password("secret")
	c.run(exitUsage, "backup")
	c.run(exitUsage, "nonsense")
	c.run(exitUsage, "restore", "latest")
	c.run(exitUsage, "snapshots", "--upload", "fast")
	c.run(exitFailed, "snapshots")
	c.run(exitComplete, "init")
	_, errs := c.run(exitFailed, "backup", t.TempDir(), filepath.Join(t.TempDir(), "missing"))
	require.Contains(t, errs, "missing: there is nothing to back up")
	c.password("")
	c.run(exitUsage, "snapshots")
}

// TestMain lets a test run the command as a process of its own: this binary again, told to be the command.
func TestMain(m *testing.M) {
	if os.Getenv(beCommand) != "" {
		ctx, stop := interruptible(context.Background())
		defer stop()
		os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

const beCommand = "CAREKEEP_TEST_IS_COMMAND"

// TestNoConfigurationFolder: a service's account often has no home, and the error names the options that help.
func TestNoConfigurationFolder(t *testing.T) {
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "AppData"} {
		t.Setenv(name, "")
	}
	t.Setenv("CAREKEEP_PASSWORD", "secret")
	var out, errs bytes.Buffer
	require.Equal(t, exitUsage, run(t.Context(), []string{"init", "--repo", filepath.Join(t.TempDir(), "r")}, strings.NewReader(""), &out, &errs))
	require.Contains(t, errs.String(), "--host-dir")
}

// TestMissingPath: the operator is told which of the chosen paths is not there, and gets the others.
func TestMissingPath(t *testing.T) {
	c := &caller{t: t, repo: filepath.Join(t.TempDir(), "r"), host: t.TempDir()}
	c.password("secret")
	c.run(exitComplete, "init")
	c.run(exitComplete, "backup", tree(t))
	to := t.TempDir()
	_, errs := c.run(exitFailed, "restore", "latest", "db", "letters/on.txt", "--to", to)
	require.Contains(t, errs, "letters/on.txt: not in the snapshot\n")
	require.FileExists(t, filepath.Join(to, "db"))
}

// TestOddArguments: a name that is not UTF-8 arrives as it was given, and a label may hold a semicolon.
func TestOddArguments(t *testing.T) {
	c := &caller{t: t, repo: filepath.Join(t.TempDir(), "r"), host: t.TempDir()}
	c.password("secret")
	c.run(exitComplete, "init")
	const name = "M\xfcller.txt" // in Latin-1
	c.pipe("letter", exitComplete, "backup", "--stdin", name, "--label", "why=a;b=c")
	out, _ := c.run(exitComplete, "ls", "latest")
	require.Contains(t, out, `"M\xfcller.txt"`)
	out, _ = c.run(exitComplete, "cat", "latest", name)
	require.Equal(t, "letter", out)
	out, _ = c.run(exitComplete, "snapshots", "--json")
	require.Contains(t, out, `"labels":{"why":"a;b=c"}`)
}

// full is standard output on a disk that is full.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestOutputThatFails: a listing that was cut short must not end as if it were whole.
func TestOutputThatFails(t *testing.T) {
	c := &caller{t: t, repo: filepath.Join(t.TempDir(), "r"), host: t.TempDir()}
	c.password("secret")
	c.run(exitComplete, "init")
	c.run(exitComplete, "backup", tree(t))
	for _, args := range [][]string{
		{"snapshots"}, {"snapshots", "--json"}, {"ls", "latest"}, {"ls", "latest", "--json"}, {"cat", "latest", "db"}, {"key", "list"},
	} {
		var errs bytes.Buffer
		args = append(args, "--repo", c.repo, "--host-dir", c.host)
		require.Equal(t, exitFailed, run(t.Context(), args, strings.NewReader(""), full{}, &errs), "%v", args)
		require.Equal(t, 1, strings.Count(errs.String(), "no space left"), "%v: %s", args, errs.String())
	}
}

// TestFullStore: the operator of a full store is told what becomes of what arrived, in a way that works.
func TestFullStore(t *testing.T) {
	var out, errs bytes.Buffer
	a := &app{command: &command{}, ctx: t.Context(), stdout: &out, stderr: &errs}
	require.Equal(t, exitFailed, a.exit(fmt.Errorf("backup: %w", backup.ErrNoSpace)))
	_, advice, _ := strings.Cut(errs.String(), "by: carekeep ")
	require.NotEmpty(t, advice)
	require.Equal(t, exitFailed, a.exit(errors.New("another failure")))
	require.Equal(t, 1, strings.Count(errs.String(), "compact"))
	require.Equal(t, 1, strings.Count(errs.String(), "kept for the next one"))
	a.NoHost = true // without which nothing is known of it
	require.Equal(t, exitFailed, a.exit(backup.ErrNoSpace))
	require.Equal(t, 1, strings.Count(errs.String(), "kept for the next one"))

	c := &caller{t: t, repo: filepath.Join(t.TempDir(), "r"), host: t.TempDir()}
	c.password("secret")
	c.run(exitComplete, "init")
	// A session that leads to no snapshot, as a run that failed leaves it.
	c.run(exitComplete, "backup", tree(t))
	left := filepath.Join(c.repo, "sess", strings.Repeat("0a", 16)+".0")
	copyOne(t, filepath.Join(c.repo, "sess"), left)
	stdout, _ := c.run(exitComplete, strings.Fields(advice)...)
	require.Contains(t, stdout, "condemned: 1 object")
	require.NoFileExists(t, left)
}

// copyOne copies one of the files of a folder.
func copyOne(t *testing.T, dir, to string) {
	all, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NotEmpty(t, all)
	b, err := os.ReadFile(filepath.Join(dir, all[0].Name()))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, b, 0o600))
}
