package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// limits measures what no line can pass: copying memory on all cores, and writing synced data.
func (t *table) limits(ctx context.Context, work string) error {
	const rounds = 16
	block := int(min(max(t.bytes/2, 1<<20), 32<<20)) // beyond the processor's caches, unless the data is not either
	cores := runtime.GOMAXPROCS(0)
	type pair struct{ from, to []byte }
	pairs := make([]pair, cores)
	for i := range pairs {
		pairs[i] = pair{make([]byte, block), make([]byte, block)}
		fill(pairs[i].from)
		copy(pairs[i].to, pairs[i].from)
	}
	wall, _, err := t.best(nil, func() error {
		return parallel(ctx, cores, func(_ context.Context, i int) error {
			for range rounds {
				copy(pairs[i].to, pairs[i].from)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	t.copy = float64(cores*rounds*block) / wall.Seconds()

	name := filepath.Join(work, "limit")
	defer os.Remove(name)
	const blocks = 8
	wall, _, err = t.best(nil, func() error { return writeSynced(name, pairs[0].from, blocks) })
	if err != nil {
		return err
	}
	t.disk = float64(blocks*block) / wall.Seconds()
	fmt.Fprintf(t.out, "memory copy, all cores %24.0f MB/s\ndisk, %d MiB written and synced %14.0f MB/s\n", t.copy/1e6, (blocks*block)>>20, t.disk/1e6)
	return nil
}

// fill makes noise, which no disk can make smaller.
func fill(b []byte) {
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b) // it never fails
}

func writeSynced(name string, block []byte, blocks int) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for range blocks {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return f.Sync()
}

// parallel runs f(0) to f(n-1) at once.
func parallel(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for i := range n {
		g.Go(func() error { return f(ctx, i) })
	}
	return g.Wait()
}
