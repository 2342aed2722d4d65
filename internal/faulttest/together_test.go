package faulttest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/source"
)

// versionOf returns the files of a run by its name, which ends in v and a number. An odd number is of data
// that is this writer's alone, an even one is shared by all writers.
func versionOf(run string) files {
	v, err := strconv.Atoi(run[strings.IndexByte(run, 'v')+1:])
	if err != nil {
		return nil
	}
	f := version(v, 1+v%3)
	if v%2 == 1 {
		f["own"] = bytesOf(uint64(crc([]byte(run)))&0xffff, 50_000)
		f["name"] = []byte(run)
	}
	return f
}

// writeMany makes runs backups one after the other with one Repo.
func writeMany(ctx context.Context, b *blob.Bucket, host, name string, runs int, tell func(string)) error {
	r, err := engine.Open(ctx, b, key("main"), config(host))
	if err != nil {
		return err
	}
	defer r.Close()
	for i := range runs {
		run := fmt.Sprintf("%s.%d v%d", name, i, i/2)
		o := options(run)
		o.Host = name
		if _, err := r.Backup(ctx, source.FromFS(versionOf(run).fs()), o); err != nil {
			return fmt.Errorf("%s: %w", run, err)
		}
		tell(run)
	}
	return nil
}

// childMany is a process that backs up several times.
func childMany(repo, host, name string) error {
	b, err := dirblob.OpenBucket(repo, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	return writeMany(context.Background(), b, host, name, manyRuns(), func(run string) { fmt.Println("kept", run) })
}

func manyRuns() int {
	if long() {
		return 20
	}
	return 6
}

// requireAll verifies that the repository holds just these runs, each once and whole, and that a check of
// everything finds nothing.
func requireAll(t *testing.T, b *blob.Bucket, runs []string) {
	w := newWorld()
	for _, run := range runs {
		w.saw[run], w.done[run] = versionOf(run), true
	}
	n, err := w.verify(t.Context(), b, 0)
	require.NoError(t, err)
	require.Len(t, runs, n)
	r, err := engine.Open(t.Context(), b, key("main"), config(""))
	require.NoError(t, err)
	defer r.Close()
	rep, err := r.Check(t.Context(), engine.CheckOptions{ReadAll: true})
	require.NoError(t, err)
	require.Zero(t, rep.Lost)
	require.Zero(t, rep.Skipped)
	require.Empty(t, rep.Findings)
	t.Logf("cases=%d lost=0 (snapshots of writers at once; check looked at %d objects)", len(runs), rep.Objects)
}

// TestWritersTogether has eight goroutines, each with a Repo and a host folder of its own, back up to one
// store at once, and pass the border of a checkpoint.
func TestWritersTogether(t *testing.T) {
	t.Parallel()
	s, _ := begin(t, "")
	var mu sync.Mutex
	var runs []string
	var c tally
	workers8(func(i int) {
		host := ""
		if i%2 == 0 {
			host = t.TempDir()
		}
		err := writeMany(t.Context(), s.Bucket(), host, "w"+strconv.Itoa(i), 9, func(run string) {
			mu.Lock()
			defer mu.Unlock()
			runs = append(runs, run)
		})
		c.add("writer")
		if err != nil {
			c.lost("writer %d: %v", i, err)
		}
	})
	c.report(t)
	require.Len(t, runs, 72)
	entries := 0
	for _, k := range s.Keys() {
		if strings.HasPrefix(k, "log/") {
			entries++
		}
	}
	require.Greater(t, entries, 73, "there is no checkpoint")
	requireAll(t, s.Bucket(), runs)
}

// workers8 calls f in eight goroutines at once.
func workers8(f func(i int)) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// TestProcessesTogether has two other processes and eight goroutines of this one back up to one folder.
func TestProcessesTogether(t *testing.T) {
	t.Parallel()
	repo := t.TempDir()
	b, err := dirblob.OpenBucket(repo, nil)
	require.NoError(t, err)
	defer b.Close()
	first, err := engine.Create(t.Context(), b, key("main"), config(""))
	require.NoError(t, err)
	first.Close()
	var mu sync.Mutex
	var runs []string
	tell := func(run string) {
		mu.Lock()
		defer mu.Unlock()
		runs = append(runs, run)
	}
	var c tally
	var wg sync.WaitGroup
	for i := range 2 {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "host"), 0o700))
		cmd, pipe := process(t, "many", repo, filepath.Join(dir, "host"), "process"+strconv.Itoa(i))
		wg.Go(func() {
			c.add("process")
			for sc := bufio.NewScanner(pipe); sc.Scan(); {
				if run, ok := strings.CutPrefix(sc.Text(), "kept "); ok {
					tell(run)
				} else if sc.Text() != "end" {
					c.lost("process %d: %s", i, sc.Text())
				}
			}
			if err := cmd.Wait(); err != nil {
				c.lost("process %d: %v", i, err)
			}
		})
	}
	workers8(func(i int) {
		c.add("goroutine")
		own, err := dirblob.OpenBucket(repo, nil)
		if err == nil {
			err = writeMany(t.Context(), own, "", "w"+strconv.Itoa(i), 2, tell)
			own.Close()
		}
		if err != nil {
			c.lost("goroutine %d: %v", i, err)
		}
	})
	wg.Wait()
	c.report(t)
	require.Len(t, runs, 2*manyRuns()+16)
	requireAll(t, b, runs)
}

// TestOneHostTwoRuns starts two runs of one host, with one folder, at once: both succeed, and neither takes
// what the other has under way for its own.
func TestOneHostTwoRuns(t *testing.T) {
	t.Parallel()
	host := t.TempDir()
	s, _ := begin(t, host)
	var c tally
	var mu sync.Mutex
	var runs []string
	for range 5 {
		c.add("pair")
		var wg sync.WaitGroup
		for range 2 {
			mu.Lock()
			run := fmt.Sprintf("r%d v%d", len(runs), len(runs)%5)
			runs = append(runs, run)
			mu.Unlock()
			wg.Go(func() {
				if err := one(t.Context(), s, host, run); err != nil {
					c.lost("%s: %v", run, err)
				}
			})
		}
		wg.Wait()
	}
	c.report(t)
	requireAll(t, s.Bucket(), runs)
}

func one(ctx context.Context, s *faultstore.Store, host, run string) error {
	r, err := reopen(ctx, s, host)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.Backup(ctx, source.FromFS(versionOf(run).fs()), options(run))
	return err
}
