package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/residency/router"
	"github.com/carekeep/carekeep/rotation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is the size of every practice here, the least that holds every kind of data.
const small = "4"

// sandbox makes temporary and configuration folders that a run could leave something in, and returns them.
func sandbox(t *testing.T) []string {
	tmp, home := t.TempDir(), t.TempDir()
	for _, v := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(v, tmp)
	}
	for _, v := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "APPDATA", "LOCALAPPDATA"} {
		t.Setenv(v, home)
	}
	return []string{tmp, home}
}

func requireEmpty(t *testing.T, dirs []string) {
	t.Helper()
	for _, dir := range dirs {
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

func TestTwoDaysComeBackIdentical(t *testing.T) {
	dirs := sandbox(t)
	var out, errs bytes.Buffer
	require.Equal(t, exitGood, run(t.Context(), []string{"-size", small, "-nights", "0"}, &out, &errs), "%s%s", &out, &errs)
	require.Empty(t, errs.String()) // no bar, as nobody looks at a terminal
	report := out.String()
	require.Regexp(t, `Restored copy of the first day is identical: +yes\n`, report)
	require.Regexp(t, `Restored copy of the second day is identical: +yes\n`, report)
	require.Regexp(t, `just those that the day changed: yes\n`, report)
	require.Equal(t, 2, strings.Count(report, "database, documents and images open: yes"))
	require.Regexp(t, `All that is stored is sound: +yes\n`, report)
	require.Regexp(t, `Write a copy to Oregon .* refused, and nothing was written`, report)
	require.Regexp(t, `Why no copy is in Oregon: +Health information leaves the state only under .*: not met \(Health Records and Information Privacy Act 2002 \(NSW\) sch 1 cl 14\)\n`, report)
	require.Regexp(t, `Lose the office, open elsewhere .* from the other sites, with the password alone`, report)
	require.Regexp(t, `straight from the snapshot: identical: yes\n`, report)
	require.Regexp(t, `[1-9][0-9]* patients, [1-9][0-9]* scanned documents, [1-9][0-9]* letters, [1-9][0-9]* images`, report)
	require.NotContains(t, report, "NO\n")
	requireEmpty(t, dirs)
}

// TestNights: of twelve nights seven are kept for their day, and the first, which stands for its month, its week,
// or both. Every one of them comes back, and the others are gone.
func TestNights(t *testing.T) {
	dirs := sandbox(t)
	var out, errs bytes.Buffer
	require.Equal(t, exitGood, run(t.Context(), []string{"-size", small, "-nights", "10"}, &out, &errs), "%s%s", &out, &errs)
	require.Empty(t, errs.String())
	report := out.String()
	require.Regexp(t, `Live and back up 10 nights .* 10 snapshots, .*; [2-4] forgotten`, report)
	require.Regexp(t, `Nights that are kept: +([89]|10) of 12: 7 daily, [23] weekly, [12] monthly`, report)
	require.Regexp(t, `Every kept night comes back identical: +yes\n`, report)
	require.Regexp(t, `Go on with a new office .* the new disk at the office got [1-9]`, report)
	require.Regexp(t, `The sites hold the same, the new office too: +yes\n`, report)
	require.Regexp(t, `Why 20\d\d-\d\d-\d\d is kept: +.*weekly .*: first verified point of the week, for 4w`, report)
	require.Regexp(t, `Why 20\d\d-\d\d-\d\d is not: +daily .*: first verified point of the day, older than 7d`, report)
	require.NotContains(t, report, "NO\n")
	requireEmpty(t, dirs)
}

func TestDamageIsNoticed(t *testing.T) {
	dirs := sandbox(t)
	var out, errs bytes.Buffer
	require.Equal(t, exitGood, run(t.Context(), []string{"-size", small, "-hurt"}, &out, &errs), "%s%s", &out, &errs)
	require.Regexp(t, `The damage was noticed: +yes\n`, out.String())
	require.Regexp(t, `Restored copy of the first day is identical: +NO\n`, out.String())
	require.Regexp(t, `All that is stored is sound: +NO\n`, out.String())
	requireEmpty(t, dirs)
}

// TestCancellationLeavesNothing stops runs while the practice is made, during a backup and during a restore.
func TestCancellationLeavesNothing(t *testing.T) {
	for _, after := range []string{"nothing", "Create the repository", "See what changed", "Lose the office", "Go on with a new office"} {
		t.Run(after, func(t *testing.T) {
			dirs := sandbox(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if after == "nothing" {
				time.AfterFunc(5*time.Millisecond, cancel)
			}
			out, errs := &trigger{at: after, pull: cancel}, &bytes.Buffer{}
			require.Equal(t, exitFailed, run(ctx, []string{"-size", small}, out, errs))
			require.Equal(t, "clinic: stopped\n", errs.String())
			require.NotContains(t, out.String(), "Everything together")
			requireEmpty(t, dirs)
		})
	}
}

// trigger cancels a moment after a line was written, so that the next step is under way.
type trigger struct {
	bytes.Buffer
	at   string
	pull func()
}

func (w *trigger) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.at) {
		time.AfterFunc(5*time.Millisecond, w.pull)
	}
	return w.Buffer.Write(p)
}

func TestKeep(t *testing.T) {
	dirs := sandbox(t)
	keep := filepath.Join(t.TempDir(), "new", "clinic")
	var out bytes.Buffer
	require.Equal(t, exitGood, run(t.Context(), []string{"-size", small, "-seed", "2", "-nights", "0", "-keep", keep}, &out, io.Discard))
	requireEmpty(t, dirs)
	for _, name := range []string{"practice", "sites/sydney", "sites/melbourne", "host", "restored-1", "restored-2"} {
		require.DirExists(t, filepath.Join(keep, name))
	}
	require.NoDirExists(t, filepath.Join(keep, "sites", "office"), "it was lost")
	require.Contains(t, out.String(), keep)

	// What is kept is not written over.
	var errs bytes.Buffer
	require.Equal(t, exitFailed, run(t.Context(), []string{"-size", small, "-keep", keep}, io.Discard, &errs))
	require.Contains(t, errs.String(), "not empty")
}

func TestWrongCalls(t *testing.T) {
	dirs := sandbox(t)
	for _, args := range [][]string{{"-nonsense"}, {"-size", "0"}, {"-size", "x"}, {"-nights", "-1"}, {"-nights", "1001"}, {"more"}} {
		var errs bytes.Buffer
		require.Equal(t, exitUsage, run(t.Context(), args, io.Discard, &errs), "%v", args)
		require.Contains(t, errs.String(), "-size", "%v", args)
	}
	require.Equal(t, exitGood, run(t.Context(), []string{"-h"}, io.Discard, io.Discard))
	requireEmpty(t, dirs)
}

// TestManifestNotices changes one thing at a time, and nothing else that a careless comparison would see.
func TestManifestNotices(t *testing.T) {
	when := time.Date(2026, 3, 1, 9, 0, 0, 123456700, time.UTC)
	fresh := func(t *testing.T) string {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "scans"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "scans", "a.pdf"), []byte("page"), 0o644))
		if err := os.Symlink("a.pdf", filepath.Join(dir, "scans", "latest")); err != nil {
			t.Skip("this user may not make links: ", err)
		}
		for _, p := range []string{"scans/a.pdf", "scans", "."} {
			require.NoError(t, os.Chtimes(filepath.Join(dir, p), when, when))
		}
		return dir
	}
	file := func(dir string) string { return filepath.Join(dir, "scans", "a.pdf") }
	cases := []struct {
		change func(dir string) error
		want   difference
	}{
		{func(d string) error { return os.WriteFile(file(d), []byte("Page"), 0o644) }, difference{"scans/a.pdf", "other content"}},
		{func(d string) error { return os.WriteFile(file(d), []byte("pages"), 0o644) }, difference{"scans/a.pdf", "other content"}},
		{func(d string) error { return os.Chtimes(file(d), when, when.Add(100)) }, difference{"scans/a.pdf", "another time"}},
		{func(d string) error { return os.Chmod(file(d), 0o444) }, difference{"scans/a.pdf", "other permissions"}},
		{func(d string) error { return os.Remove(file(d)) }, difference{"scans/a.pdf", "missing"}},
		{func(d string) error { return errors.Join(os.Remove(file(d)), os.Mkdir(file(d), 0o755)) }, difference{"scans/a.pdf", "another kind of file"}},
		{func(d string) error { return os.WriteFile(file(d)+".bak", nil, 0o644) }, difference{"scans/a.pdf.bak", "was not there"}},
		{func(d string) error {
			link := filepath.Join(d, "scans", "latest")
			return errors.Join(os.Remove(link), os.Symlink("b.pdf", link))
		}, difference{"scans/latest", "leads elsewhere"}},
		{func(d string) error { return os.Chtimes(filepath.Join(d, "scans"), when, when.Add(time.Second)) }, difference{"scans", "another time"}},
	}
	was, err := takeManifest(t.Context(), fresh(t), func(int64) {})
	require.NoError(t, err)
	require.Len(t, was, 4)
	for i, c := range cases {
		t.Run(fmt.Sprint(i, " ", c.want.what), func(t *testing.T) {
			dir := fresh(t)
			now, err := takeManifest(t.Context(), dir, func(int64) {})
			require.NoError(t, err)
			require.Empty(t, was.compare(now))
			require.NoError(t, c.change(dir))
			if c.want.path != "scans" { // only that case is about the folder
				require.NoError(t, os.Chtimes(filepath.Join(dir, "scans"), when, when))
			}
			if c.want.what == "other content" {
				require.NoError(t, os.Chtimes(file(dir), when, when))
			}
			now, err = takeManifest(t.Context(), dir, func(int64) {})
			require.NoError(t, err)
			require.Equal(t, []difference{c.want}, was.compare(now))
		})
	}
}

// TestVerdict goes through what makes a run bad.
func TestVerdict(t *testing.T) {
	wrong := difference{"scans/a.pdf", "other content"}
	named := &backup.IncompleteError{Total: 1, Problems: []backup.Problem{{Path: wrong.path, Reason: backup.NotRestored}}}
	good := clinic{changes: true, sound: true, document: true, alike: true, refusal: &router.DeniedError{}}
	require.True(t, good.good())
	for i, spoil := range []func(*clinic){
		func(c *clinic) { c.changes = false },
		func(c *clinic) { c.sound = false },
		func(c *clinic) { c.refusal = nil }, // a place where copies must not be took one
		func(c *clinic) { c.document = false },
		func(c *clinic) { c.verdicts[second].differences = []difference{wrong} },
		func(c *clinic) { c.verdicts[first].unusable = fs.ErrInvalid },
		func(c *clinic) { c.verdicts[first].missing = named },
	} {
		c := good
		spoil(&c)
		require.False(t, c.good(), i)
	}

	kept := map[rotation.PointID]manifest{"a": nil, "b": nil}
	good.nights = 30
	require.False(t, good.good(), "there were no nights")
	for _, m := range []month{
		{was: kept, restored: 2, sound: true, different: 1}, {was: kept, restored: 1, sound: true}, {was: kept, restored: 2}, {sound: true},
	} {
		good.month = &m
		require.False(t, good.good())
	}
	good.month = &month{was: kept, restored: 2, sound: true}
	require.True(t, good.good())
	apart := good
	apart.alike = false
	require.False(t, apart.good(), "a site lacks something")

	hurt := clinic{config: config{hurt: true}, changes: true, document: true}
	hurt.verdicts[first] = verdict{missing: named, differences: []difference{wrong}}
	require.True(t, hurt.good())
	for i, spoil := range []func(*clinic){
		func(c *clinic) { c.sound = true },                                                                 // the check missed it
		func(c *clinic) { c.verdicts[first] = verdict{} },                                                  // no restore met it
		func(c *clinic) { c.verdicts[first].differences = []difference{wrong, {"letters/b.rtf", "lost"}} }, // one in silence
		func(c *clinic) { c.verdicts[second].differences = []difference{wrong} },                           // the other day in silence
		func(c *clinic) { c.verdicts[second].unusable = fs.ErrInvalid },
		func(c *clinic) { c.document = false },
	} {
		c := hurt
		spoil(&c)
		require.False(t, c.good(), i)
	}
}

func TestMeter(t *testing.T) {
	var b bytes.Buffer
	m := &meter{w: &b, size: 1000}
	m.begin("Back up")
	m.event(backup.Progress{Bytes: 10})
	time.Sleep(60 * time.Millisecond) // the bar is drawn twenty times a second
	m.event(backup.Progress{Bytes: 500})
	require.Contains(t, b.String(), "Back up")
	require.Contains(t, b.String(), "50%")
	time.Sleep(60 * time.Millisecond)
	m.event(backup.Progress{Bytes: 4000, BytesAll: 4000}) // the last event of an operation is not the end of the step
	require.NotContains(t, b.String(), "100%")
	m.end()
	drawn := b.Len()
	m.event(backup.Progress{Bytes: 900, BytesAll: 1000}) // too late
	require.Equal(t, drawn, b.Len())

	// While nights pass the bar shows them, whatever operations tell.
	b.Reset()
	m.begin("Live")
	m.hold(true)
	time.Sleep(60 * time.Millisecond)
	m.share(1, 4)
	m.event(backup.Progress{Bytes: 900, BytesAll: 1000})
	require.Contains(t, b.String(), "25%")
	require.NotContains(t, b.String(), "90%")
	m.end()
}

func TestNumbersForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		require.Equal(t, want, number(n))
	}
	for n, want := range map[int64]string{12: "12 bytes", 45_600: "46 kB", 1_250_000: "1.2 MB", 3_210_000_000: "3.21 GB"} {
		require.Equal(t, want, size(n))
	}
}
