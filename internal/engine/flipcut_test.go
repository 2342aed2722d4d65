package engine

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/chunk"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/carekeep/carekeep/internal/store"
)

// packWorld is a repository of two snapshots whose packs are to be damaged, as one worker has it open. Opening
// a repository and a snapshot reads no pack, so that is done once; then what can depend on the pack at hand is
// read anew for each case: all content of both snapshots, and what Check with ReadAll does with the pack.
type packWorld struct {
	store     *faultstore.Store
	r         *Repo
	snapshots []*Snapshot
	want      []map[string][]byte
	check     *check
	checker   *packChecker
}

func everyByteWorld(t *testing.T) (*faultstore.Store, []map[string][]byte) {
	s := faultstore.New()
	k, err := seal.DefaultKDF(seal.T1)
	require.NoError(t, err)
	k.MemoryKiB, k.Time, k.Threads = 8<<10, 1, 1
	r, err := Create(t.Context(), s.Bucket(), Key{Password: []byte("x")}, Config{
		KDF: &k, Chunks: chunk.Params{Min: 1 << 10, Avg: 4 << 10, Max: 16 << 10}, PackSize: frameSize + 64<<10,
	})
	require.NoError(t, err)
	random := rand.NewChaCha8([32]byte{1})
	dense := make([]byte, 60_000)
	_, _ = random.Read(dense)
	samples := make([]byte, 24_000) // 16 bits, like those of an image
	for i := 0; i < len(samples); i += 2 {
		samples[i], samples[i+1] = byte(i/40)+byte(random.Uint64()&7), byte(i/4000)
	}
	files := fstest.MapFS{}
	add := func(name string, b []byte) {
		files[name] = &fstest.MapFile{Data: b, Mode: 0o644, ModTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	}
	add("a/dense", dense)
	add("a/empty", nil)
	add("b/letter", []byte(strings.Repeat("Dear colleague, thank you for referring ", 200)))
	add("b/samples", samples)
	var want []map[string][]byte
	for i := range 2 {
		if i == 1 { // another tree, and no more content
			files["c"] = files["b/letter"]
			delete(files, "a/empty")
		}
		_, err = r.Backup(t.Context(), source.FromFS(files), BackupOptions{})
		require.NoError(t, err)
		w := map[string][]byte{}
		for name, f := range files {
			w[name] = bytes.Clone(f.Data)
		}
		want = append(want, w)
	}
	return s, want
}

func openPackWorld(ctx context.Context, s *faultstore.Store, want []map[string][]byte) (*packWorld, error) {
	w := &packWorld{store: s.Clone(), want: want}
	var err error
	if w.r, err = Open(ctx, w.store.Bucket(), Key{Password: []byte("x")}, Config{Store: store.Options{Attempts: 1}}); err != nil {
		return nil, err
	}
	refs, _, err := w.r.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		snap, err := w.r.Snapshot(ctx, ref)
		if err != nil {
			return nil, err
		}
		w.snapshots = append(w.snapshots, snap)
	}
	_, op := w.r.obs.Begin(ctx, "check")
	defer op.End(ctx, nil)
	w.check = newCheck(w.r, CheckOptions{ReadAll: true, Workers: 1}, op)
	if err := w.check.checkIndex(ctx); err != nil {
		return nil, err
	}
	w.check.r.ring = w.r.ring
	w.checker, err = w.check.newPackChecker()
	return w, err
}

// read is nil if the content of both snapshots is exact, errWrongBytes if it is not and nobody said so, and else
// what a reader is told.
func (w *packWorld) read(ctx context.Context) error {
	var all error
	for i, snap := range w.snapshots {
		cold := *w.r
		cold.loader = newLoader(&cold)
		s := *snap
		s.r = &cold
		seen := 0
		for e, err := range s.Tree().Walk(ctx, ".") {
			if err != nil {
				all = err
				seen = len(w.want[i])
				break
			}
			if e.Kind != format.File {
				continue
			}
			seen++
			b, want := []byte{}, w.want[i][e.Path]
			var failed error
			for ref, err := range s.Content(e).Refs(ctx, 0) {
				var c []byte
				if err == nil && !ref.Hole {
					c, err = s.Chunk(ctx, ref.Ref)
				}
				if err != nil {
					failed = err
					break
				}
				b = append(b, c...)
			}
			if failed != nil {
				all = failed
			} else if !bytes.Equal(b, want) {
				return errWrongBytes
			}
		}
		if seen != len(w.want[i]) {
			return errWrongBytes
		}
	}
	return all
}

var errWrongBytes = fmt.Errorf("wrong bytes, or too few, and nobody said so")

// found reports whether Check finds the damage of a pack.
func (w *packWorld) found(ctx context.Context, hash format.Hash) (bool, error) {
	c := w.check
	n := c.number[hash]
	p := c.packs[n]
	c.rep = &CheckReport{}
	c.nodes = newNodeTable(0) // remembers nothing
	c.wants.list = c.wants.list[:0]
	err := c.checkSize(ctx, &p)
	if err == nil {
		err = w.checker.check(ctx, &p)
	}
	if err == nil {
		err = c.mismatch.finish(ctx, c)
	}
	return c.rep.Found > 0, err
}

// TestFlipAndCutPacks flips a bit of every byte of every pack, and cuts every pack at every length: a reader
// gets the exact bytes or an error, and a check finds it. All other objects are treated so in package faulttest.
// Without CAREKEEP_LONG=1 it takes a sample.
func TestFlipAndCutPacks(t *testing.T) {
	ctx := t.Context()
	s, want := everyByteWorld(t)
	step := 1499
	if os.Getenv("CAREKEEP_LONG") == "1" {
		step = 1
	}
	type damage struct {
		key string
		at  int
		cut bool
	}
	var cases []damage
	bytesOfPacks, several := 0, false
	for _, key := range s.Keys() {
		if !strings.HasPrefix(key, "p/") && !strings.HasPrefix(key, "m/") {
			continue
		}
		size := len(s.Get(key))
		bytesOfPacks += size
		several = several || size > 64<<10
		for i := 0; i < size; i += step {
			cases = append(cases, damage{key, i, false}, damage{key, i, true})
		}
	}
	require.True(t, several, "no pack has more than one segment of its stream")
	var next, flips, cuts, told, exact atomic.Int64
	var mu sync.Mutex
	var bad []string
	start := time.Now()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			complain := func(format string, args ...any) {
				mu.Lock()
				defer mu.Unlock()
				bad = append(bad, fmt.Sprintf(format, args...))
			}
			w, err := openPackWorld(ctx, s, want)
			if err != nil {
				complain("%v", err)
				return
			}
			defer w.r.Close()
			if err := w.read(ctx); err != nil {
				complain("the sound repository: %v", err)
			}
			hashes := map[string]format.Hash{}
			for _, p := range w.check.packs {
				hashes[p.ref.Key()] = p.ref.Hash
				if found, err := w.found(ctx, p.ref.Hash); err != nil || found {
					complain("the sound repository: found %v, %v", found, err)
				}
			}
			whole := map[string][]byte{}
			for {
				i := int(next.Add(1)) - 1
				if i >= len(cases) {
					return
				}
				d := cases[i]
				if whole[d.key] == nil {
					whole[d.key] = s.Get(d.key)
				}
				b := slices.Clone(whole[d.key])
				if d.cut {
					cuts.Add(1)
					b = b[:d.at]
				} else {
					flips.Add(1)
					b[d.at] ^= 1 << (d.at % 8)
				}
				w.store.Set(d.key, b)
				switch err := w.read(ctx); {
				case err == errWrongBytes:
					complain("undetected: %+v", d)
				case err != nil:
					told.Add(1)
				default:
					exact.Add(1)
				}
				if found, err := w.found(ctx, hashes[d.key]); err != nil || !found {
					complain("not found by check: %+v, %v", d, err)
				}
				w.store.Set(d.key, whole[d.key])
			}
		})
	}
	wg.Wait()
	t.Logf("cases=%d undetected=%d (flips=%d cuts=%d of %d bytes in packs; %d gave an error to a reader, %d the exact bytes) in %v",
		flips.Load()+cuts.Load(), len(bad), flips.Load(), cuts.Load(), bytesOfPacks, told.Load(), exact.Load(), time.Since(start).Round(time.Second))
	require.Empty(t, bad[:min(len(bad), 10)])
	if step == 1 {
		require.EqualValues(t, bytesOfPacks, flips.Load())
		require.EqualValues(t, bytesOfPacks, cuts.Load())
	}
	require.Positive(t, told.Load())
}
