package faulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"go.uber.org/goleak"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/carekeep/carekeep/internal/store"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		os.Exit(child(what))
	}
	debug.SetGCPercent(400) // thousands of short runs
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

func long() bool { return os.Getenv("CAREKEEP_LONG") == "1" }

// key returns a key service in memory, which unlike a password costs nothing to ask.
func key(name string) engine.Key {
	a, err := subtle.NewAESGCM(bytes.Repeat([]byte{byte(len(name))}, 32))
	if err != nil {
		panic(err) // of a wrong length
	}
	return engine.Key{KMSName: name, KMS: a}
}

func config(host string) engine.Config {
	return engine.Config{
		HostDir: host, PackSize: 2 << 20, Memory: 1 << 20,
		Store: store.Options{Backoff: 10 * time.Microsecond},
	}
}

// files is one version of what is backed up, by path.
type files map[string][]byte

func (f files) fs() fstest.MapFS {
	m := fstest.MapFS{}
	for p, b := range f {
		// The time follows from the content, as it would of a file that is written anew.
		at := time.Date(2020, 1, 1, 0, 0, len(b), int(crc(b)%1e9), time.UTC)
		m[p] = &fstest.MapFile{Data: b, Mode: 0o644, ModTime: at}
	}
	return m
}

func crc(b []byte) (h uint32) {
	for _, c := range b {
		h = h*16777619 ^ uint32(c)
	}
	return h
}

// bytesOf returns n bytes that do not compress and follow from the seed.
func bytesOf(seed uint64, n int) []byte {
	var s [32]byte
	s[0], s[1], s[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	b := make([]byte, n)
	rand.NewChaCha8(s).Read(b)
	return b
}

// version returns a practice's files: version v+1 is a day later than v.
func version(v, bulk int) files {
	f := files{
		"empty":                  {},
		"letters/a.txt":          bytes.Repeat([]byte("Dear colleague, "), 500),
		"letters/today.txt":      []byte("letter " + strconv.Itoa(v)),
		"db/main.db":             append(bytesOf(uint64(v), 6000), bytesOf(1<<16, 30_000)...),
		"images/scan":            bytesOf(2<<16, 20_000),
		"new/" + strconv.Itoa(v): []byte("written on day " + strconv.Itoa(v)),
	}
	for i := range bulk {
		f["bulk/"+strconv.Itoa(i)] = bytesOf(3<<16+uint64(i), 200_000)
	}
	return f
}

// world is what a test knows of a repository: which runs there were, what each of them saw, and which of
// them said that they had succeeded.
type world struct {
	saw  map[string]files
	done map[string]bool
}

func newWorld() *world { return &world{map[string]files{}, map[string]bool{}} }

func (w *world) clone() *world { return &world{maps.Clone(w.saw), maps.Clone(w.done)} }

// backup runs one backup and notes what it promised.
func (w *world) backup(ctx context.Context, r *engine.Repo, f files) (*engine.Result, error) {
	name := "run " + strconv.Itoa(len(w.saw)+1)
	w.saw[name] = f
	res, err := r.Backup(ctx, source.FromFS(f.fs()), options(name))
	if err == nil {
		w.done[name] = true
	}
	return res, err
}

func options(name string) engine.BackupOptions {
	return engine.BackupOptions{
		Host: "h", Sources: []string{"s"}, Labels: []format.Label{{Key: "run", Value: name}}, Workers: 2,
	}
}

func runOf(d *format.Description) string {
	for _, l := range d.Labels {
		if l.Key == "run" {
			return l.Value
		}
	}
	return ""
}

// verify opens the repository as a process does that has nothing but the store and the key, and checks
// every promise. With newest > 0 the content of no more than that many snapshots is looked at. It returns
// how many snapshots there are.
func (w *world) verify(ctx context.Context, b *blob.Bucket, newest int) (int, error) {
	r, err := engine.Open(ctx, b, key("main"), config(""))
	if err != nil {
		return 0, fmt.Errorf("open: %w", err)
	}
	defer r.Close()
	refs, sure, err := r.Snapshots(ctx)
	if err != nil || !sure {
		return 0, fmt.Errorf("snapshots: sure %v: %w", sure, err)
	}
	look := refs
	if newest > 0 && len(refs) > newest {
		look = refs[len(refs)-newest:]
	}
	seen, roots := map[string]bool{}, map[format.ID]string{}
	for _, ref := range look {
		s, err := r.Snapshot(ctx, ref)
		if err != nil {
			return 0, fmt.Errorf("snapshot: %w", err)
		}
		run := runOf(s.Description)
		if seen[run] {
			return 0, fmt.Errorf("%s committed twice", run)
		}
		seen[run] = true
		// The same root read by the same process is the same content.
		if old, ok := roots[s.Description.Root.ID]; !ok || !maps.EqualFunc(w.saw[old], w.saw[run], bytes.Equal) {
			if err := same(ctx, s, w.saw[run]); err != nil {
				return 0, fmt.Errorf("%s: %w", run, err)
			}
			roots[s.Description.Root.ID] = run
		}
		if _, err := r.Refs(ctx, s.Commit.Refs); err != nil {
			return 0, fmt.Errorf("%s: %w", run, err)
		}
	}
	if len(look) < len(refs) {
		if len(refs) < len(w.done) {
			return 0, fmt.Errorf("%d snapshots of %d", len(refs), len(w.done))
		}
		return len(refs), nil
	}
	for run := range w.done {
		if !seen[run] {
			return 0, fmt.Errorf("%s is lost", run)
		}
	}
	return len(refs), nil
}

var errWrong = errors.New("WRONG BYTES")

// same compares a snapshot with what its run saw.
func same(ctx context.Context, s *engine.Snapshot, want files) error {
	got, err := contents(ctx, s)
	if err != nil {
		return err
	}
	if len(got) != len(want) {
		return fmt.Errorf("%w: %d files of %d", errWrong, len(got), len(want))
	}
	for p, b := range want {
		if g, ok := got[p]; !ok || !bytes.Equal(g, b) {
			return fmt.Errorf("%w: %s", errWrong, p)
		}
	}
	return nil
}

func contents(ctx context.Context, s *engine.Snapshot) (files, error) {
	out := files{}
	for e, err := range s.Tree().Walk(ctx, ".") {
		if err != nil {
			return nil, err
		}
		if e.Kind != format.File {
			continue
		}
		b := []byte{}
		for r, err := range s.Content(e).Refs(ctx, 0) {
			if err != nil {
				return nil, err
			}
			if r.Hole {
				b = append(b, make([]byte, r.Len)...)
				continue
			}
			c, err := s.Chunk(ctx, r.Ref)
			if err != nil {
				return nil, err
			}
			b = append(b, c...)
		}
		out[e.Path] = b
	}
	return out, nil
}

// restored restores a snapshot to a folder and compares the files there.
func restored(ctx context.Context, r *engine.Repo, s *engine.Snapshot, dir string, want files) error {
	res, err := r.Restore(ctx, s, dir, engine.RestoreOptions{NoXattrs: true})
	if err != nil {
		return err
	}
	if res.Failed > 0 {
		return fmt.Errorf("%d files were not restored: %w", res.Failed, res.Problems[0].Err)
	}
	n := 0
	err = fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		b, err := fs.ReadFile(os.DirFS(dir), p)
		if err == nil && !bytes.Equal(b, want[p]) {
			err = fmt.Errorf("%w: %s", errWrong, p)
		}
		return err
	})
	if err == nil && n != len(want) {
		err = fmt.Errorf("%w: %d files of %d", errWrong, n, len(want))
	}
	return err
}

// begin makes a repository in a new store.
func begin(t testing.TB, host string) (*faultstore.Store, *engine.Repo) {
	s := faultstore.New()
	r, err := engine.Create(t.Context(), s.Bucket(), key("main"), config(host))
	require.NoError(t, err)
	return s, r
}

// reopen opens a repository with the main key.
func reopen(ctx context.Context, s *faultstore.Store, host string) (*engine.Repo, error) {
	return engine.Open(ctx, s.Bucket(), key("main"), config(host))
}

// copyDir makes a copy of a folder.
func copyDir(t testing.TB, dir string) string { return unpack(t, os.DirFS(dir)) }

// unpack writes a folder out.
func unpack(t testing.TB, dir fs.FS) string {
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, dir))
	return to
}

// pack reads a folder into memory.
func pack(t testing.TB, dir string) fs.FS {
	m := fstest.MapFS{}
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(os.DirFS(dir), p)
		m[p] = &fstest.MapFile{Data: b, Mode: 0o600}
		return err
	}))
	return m
}

// tally counts cases and what went wrong in them, for several goroutines.
type tally struct {
	mu    sync.Mutex
	cases map[string]int
	bad   []string
}

func (c *tally) add(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cases == nil {
		c.cases = map[string]int{}
	}
	c.cases[kind]++
}

// lost notes a broken promise.
func (c *tally) lost(formatted string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad = append(c.bad, fmt.Sprintf(formatted, args...))
}

func (c *tally) n() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.cases {
		n += k
	}
	return n
}

// report logs the counts and fails the test if anything was lost.
func (c *tally) report(t testing.TB) {
	t.Helper()
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(c.cases)) {
		parts = append(parts, fmt.Sprintf("%s=%d", k, c.cases[k]))
	}
	t.Logf("cases=%d lost=%d (%s)", c.n(), len(c.bad), strings.Join(parts, " "))
	require.Positive(t, c.n())
	require.Empty(t, c.bad[:min(len(c.bad), 10)], "the first of %d", len(c.bad))
}

// workers calls f for 0 to n-1 on all cores.
func workers(n int, f func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range 4 {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
