package practice_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/practice"
)

const canary = "Zqxwvcanary"

// small is a practice for tests that need every kind but no true proportions.
func small(seed uint64) *practice.Options {
	return &practice.Options{Seed: seed, Size: practice.MinSize, Canary: canary}
}

// sample makes one default-sized practice for all tests of a run; tests must not change it.
func sample(t *testing.T) (string, *practice.Summary) {
	t.Helper()
	made.once.Do(func() {
		made.dir, made.err = os.MkdirTemp("", "practice")
		if made.err == nil {
			made.sum, made.err = practice.Generate(context.Background(), made.dir, &practice.Options{Canary: canary})
		}
	})
	require.NoError(t, made.err)
	return made.dir, made.sum
}

var made struct {
	once sync.Once
	dir  string
	sum  *practice.Summary
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if made.dir != "" {
		os.RemoveAll(made.dir)
	}
	os.Exit(code)
}

// copyOf copies a practice to a new folder.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// walk calls do for each file and folder below dir.
func walk(t *testing.T, dir string, do func(rel string, e fs.DirEntry)) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		rel, err := filepath.Rel(dir, name)
		require.NoError(t, err)
		do(filepath.ToSlash(rel), e)
		return nil
	}))
}

// digest covers names, times and bytes of everything below dir.
func digest(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	walk(t, dir, func(rel string, e fs.DirEntry) {
		info, err := e.Info()
		require.NoError(t, err)
		fmt.Fprintf(h, "%q %v %d\n", rel, e.IsDir(), info.ModTime().UnixNano())
		if !e.IsDir() {
			data, err := os.ReadFile(filepath.Join(dir, rel))
			require.NoError(t, err)
			h.Write(data)
		}
	})
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestSameSeedGivesTheSameTree(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	lived := func(workers int, seed uint64) (after [3]string) {
		dir := t.TempDir()
		opts := small(seed)
		opts.Workers = workers
		_, err := practice.Generate(ctx, dir, opts)
		require.NoError(t, err)
		after[0] = digest(t, dir)
		for day := 1; day < len(after); day++ {
			_, err = practice.LiveDay(ctx, dir, day, opts)
			require.NoError(t, err)
			after[day] = digest(t, dir)
		}
		return after
	}
	one := lived(1, 7)
	require.Equal(t, one, lived(3, 7), "the number of workers must not matter")
	require.NotEqual(t, one[0], one[1])
	require.NotEqual(t, one[1], one[2])
	other := t.TempDir()
	_, err := practice.Generate(ctx, other, small(8))
	require.NoError(t, err)
	require.NotEqual(t, one[0], digest(t, other), "another seed is another practice")
}

func TestProportions(t *testing.T) {
	t.Parallel()
	dir, sum := sample(t)
	found := map[practice.Kind]practice.Count{}
	var total practice.Count
	walk(t, dir, func(rel string, e fs.DirEntry) {
		if e.IsDir() {
			return
		}
		info, err := e.Info()
		require.NoError(t, err)
		top, _, _ := strings.Cut(rel, "/")
		kind := practice.Kind(top)
		if rel == "clinical.db" {
			kind = practice.Database
		}
		n := found[kind]
		n.Files++
		n.Bytes += info.Size()
		found[kind] = n
		total.Files++
		total.Bytes += info.Size()
		require.LessOrEqual(t, len(filepath.Base(rel)), 255)
		if strings.HasSuffix(rel, ".pdf") {
			require.Greater(t, info.Size(), int64(60_000))
			require.Less(t, info.Size(), int64(700_000))
		}
	})
	require.Equal(t, found, sum.Kinds, "the summary counts what is there")
	require.Equal(t, total, sum.Total)
	require.InEpsilon(t, practice.DefaultSize, total.Bytes, 0.06)
	for kind, share := range map[practice.Kind]float64{
		practice.Database: 25, practice.Scans: 35, practice.Images: 25, practice.FHIR: 8, practice.HL7: 1.3, practice.Letters: 0.5, practice.Audio: 5,
	} {
		require.InDelta(t, share, 100*float64(found[kind].Bytes)/float64(total.Bytes), 2.5, kind)
		require.Positive(t, found[kind].Files, kind)
	}
	require.Greater(t, found[practice.HL7].Files*10, total.Files*6, "most files are messages")
	require.Len(t, practice.Kinds(), len(found))
}

func TestProgressAndRefusals(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	last := map[practice.Kind]practice.Count{}
	opts := small(1)
	opts.Progress = func(k practice.Kind, n practice.Count) { last[k] = n }
	sum, err := practice.Generate(ctx, dir, opts)
	require.NoError(t, err)
	require.Equal(t, sum.Kinds, last)

	for name, try := range map[string]func() error{
		"not empty": func() error { _, err := practice.Generate(ctx, dir, opts); return err },
		"bad canary": func() error {
			_, err := practice.Generate(ctx, t.TempDir(), &practice.Options{Canary: "a/b"})
			return err
		},
		"day 0":     func() error { _, err := practice.LiveDay(ctx, dir, 0, opts); return err },
		"no folder": func() error { _, err := practice.LiveDay(ctx, filepath.Join(dir, "none"), 1, opts); return err },
		"cancelled": func() error {
			gone, cancel := context.WithCancel(ctx)
			cancel()
			_, err := practice.Generate(gone, t.TempDir(), opts)
			require.ErrorIs(t, err, context.Canceled)
			return err
		},
	} {
		err := try()
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), filepath.Base(dir), name)
	}
}

func TestCanaryIsEverywhere(t *testing.T) {
	t.Parallel()
	dir, _ := sample(t)
	inName, inText := map[string]int{}, map[string]int{}
	folders := 0
	walk(t, dir, func(rel string, e fs.DirEntry) {
		if e.IsDir() {
			if strings.Contains(filepath.Base(rel), canary) {
				folders++
			}
			return
		}
		ext := filepath.Ext(rel)
		if strings.Contains(rel, canary) {
			inName[ext]++
		}
		data, err := os.ReadFile(filepath.Join(dir, rel))
		require.NoError(t, err)
		if bytes.Contains(data, []byte(canary)) {
			inText[ext]++
		}
	})
	require.GreaterOrEqual(t, folders, 2)
	for _, ext := range []string{".pdf", ".dcm", ".hl7", ".rtf", ".wav"} {
		require.Positive(t, inName[ext], ext)
		require.Positive(t, inText[ext], ext)
	}
	require.Positive(t, inText[".db"])
	require.Positive(t, inText[".ndjson"])
}

// changedBytes compares two trees without the help of the summary: new files, appended tails, rewritten files and
// database pages that differ.
func changedBytes(t *testing.T, before, after string) (changed int64) {
	t.Helper()
	old := map[[32]byte]bool{}
	walk(t, before, func(rel string, e fs.DirEntry) {
		if !e.IsDir() {
			data, err := os.ReadFile(filepath.Join(before, rel))
			require.NoError(t, err)
			old[sha256.Sum256(data)] = true
		}
	})
	walk(t, after, func(rel string, e fs.DirEntry) {
		if e.IsDir() {
			return
		}
		data, err := os.ReadFile(filepath.Join(after, rel))
		require.NoError(t, err)
		if old[sha256.Sum256(data)] {
			return // unchanged or renamed
		}
		was, err := os.ReadFile(filepath.Join(before, rel))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			changed += int64(len(data))
		case rel == "clinical.db":
			for at := 0; at < len(data); at += 4096 {
				if at >= len(was) || !bytes.Equal(was[at:at+4096], data[at:at+4096]) {
					changed += 4096
				}
			}
		case bytes.HasPrefix(data, was):
			changed += int64(len(data) - len(was))
		default:
			changed += int64(len(data))
		}
	})
	return changed
}

func TestLiveDay(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	before, _ := sample(t)
	dir := copyOf(t, before)
	opts := &practice.Options{Canary: canary}
	sum, err := practice.LiveDay(ctx, dir, 1, opts)
	require.NoError(t, err)
	require.NoError(t, practice.Check(ctx, dir))

	changed := changedBytes(t, before, dir)
	require.Equal(t, changed, sum.BytesChanged, "the summary says what a comparison finds")
	share := 100 * float64(changed) / float64(practice.DefaultSize)
	require.GreaterOrEqual(t, share, 2.0)
	require.LessOrEqual(t, share, 4.0)
	for _, kind := range []practice.Kind{practice.Scans, practice.Images, practice.HL7, practice.Letters, practice.Audio, practice.FHIR} {
		require.Positive(t, sum.Added[kind].Files, kind)
	}
	require.Positive(t, sum.Changed[practice.Letters].Files)
	require.Equal(t, 2, sum.Removed)
	require.Equal(t, 2, sum.Renamed)
	require.Positive(t, sum.RowsInserted)
	require.Positive(t, sum.RowsUpdated)
	require.Greater(t, sum.PagesChanged, int64(40))
	info, err := os.Stat(filepath.Join(dir, "clinical.db"))
	require.NoError(t, err)
	require.Equal(t, time.Date(2025, 3, 4, 18, 0, 0, 0, time.UTC), info.ModTime().UTC())
	_, err = os.Stat(filepath.Join(dir, "clinical.db-journal"))
	require.ErrorIs(t, err, fs.ErrNotExist)

	_, err = practice.LiveDay(ctx, dir, 1, opts)
	require.Error(t, err, "a day is lived once")
	_, err = practice.LiveDay(ctx, dir, 2, opts)
	require.NoError(t, err)
	require.NoError(t, practice.Check(ctx, dir))
}
