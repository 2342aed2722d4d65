package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// settle is how long files are left alone after a change: contenders do not trust times younger than this.
const settle = 2500 * time.Millisecond

// bench is a comparison under way.
type bench struct {
	tools []*contender
	data  *dataset
	work  string
	rep   *report
}

// once runs every stage with every contender once. What it leaves stays until the end. Linux does not give the inodes of
// deleted files on an ext file system away again for a minute, and searches past all of them for each new file: every
// restore would look slow, and the later the slower. And memory that a deletion frees goes back to the host of a
// virtual machine, which charges it to whoever writes next.
func (b *bench) once(ctx context.Context, n int) error {
	home := filepath.Join(b.work, fmt.Sprint("run", n))
	if err := b.data.reset(ctx); err != nil {
		return err
	}
	cost, err := fileCost(filepath.Join(home, "cost"))
	if err != nil {
		return err
	}
	b.rep.FileCost.add(cost)
	b.rep.PageCost.add(pageCost())
	for i, t := range b.tools {
		if err := b.start(ctx, t, b.place(home, i)); err != nil {
			return fmt.Errorf("%s: init: %w", t.name, err)
		}
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	var want map[string]thing
	for _, stage := range stages {
		if stage == "changed" {
			var err error
			if want, err = b.nextDay(ctx); err != nil {
				return err
			}
		}
		for k := range b.tools {
			// Each run begins with another contender, so that none is always behind the same one.
			i := (k + n) % len(b.tools)
			t := b.tools[i]
			fmt.Fprintf(os.Stderr, "run %d of %d: %s: %s\n", n+1, b.rep.Runs, stage, t.name)
			if err := b.stage(ctx, stage, t, b.place(home, i), want); err != nil {
				return fmt.Errorf("%s: %s: %w", t.name, stage, err)
			}
		}
	}
	return nil
}

func (b *bench) place(home string, i int) place {
	p := place{home: filepath.Join(home, fmt.Sprint(i)), src: b.data.src}
	p.out = filepath.Join(p.home, "out")
	return p
}

// start makes a contender's folders and its repository.
func (b *bench) start(ctx context.Context, t *contender, p place) error {
	for _, dir := range append([]string{"$W/home", "$W/tmp"}, t.folders...) {
		if err := os.MkdirAll(t.expand(dir, p), 0o700); err != nil {
			return err
		}
	}
	_, err := b.calls(ctx, t, t.stages["init"], p)
	return err
}

// nextDay changes the data and lists what a restore must give from now on.
func (b *bench) nextDay(ctx context.Context) (map[string]thing, error) {
	if err := b.data.change(ctx); err != nil {
		return nil, err
	}
	want, err := inventory(ctx, b.data.src)
	if err != nil {
		return nil, err
	}
	return want, pause(ctx, settle)
}

// fileCost returns how many microseconds it takes to make a file, of one thousand that are left there.
func fileCost(dir string) (float64, error) {
	const n = 1000
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	start := time.Now()
	for i := range n {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return 0, err
		}
		if err := f.Close(); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Microseconds()) / n, nil
}

// fillCache fills the page cache with a file of zeros that takes no room on the disk, as it is full on any machine that
// has been up for some days. It does nothing where the size of the memory is not known.
func fillCache(ctx context.Context, dir string) error {
	var kib int64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemAvailable"), "%d kB", &kib); err != nil {
		return nil
	}
	f, err := os.Create(filepath.Join(dir, "zeros"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(kib << 10); err != nil {
		return err
	}
	return warm(ctx, f.Name())
}

// pageCost returns how many microseconds it takes to touch a page of fresh memory, of 256 MiB.
func pageCost() float64 {
	const size = 256 << 20
	memory := make([]byte, size)
	start := time.Now()
	for i := 0; i < size; i += os.Getpagesize() {
		memory[i] = 1
	}
	cost := float64(time.Since(start).Nanoseconds()) / 1e3 / float64(size/os.Getpagesize())
	runtime.KeepAlive(memory)
	debug.FreeOSMemory()
	return cost
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stage runs one stage of one contender and takes down what it took.
func (b *bench) stage(ctx context.Context, stage string, t *contender, p place, want map[string]thing) error {
	if _, err := b.calls(ctx, t, t.stages[stage+"-prep"], p); err != nil {
		return err
	}
	reads := t.expand(t.repo, p)
	if slices.Contains([]string{"cold", "unchanged", "changed"}, stage) {
		reads = p.src
	}
	if stage == "restore" {
		if err := os.Mkdir(p.out, 0o755); err != nil {
			return err
		}
	}
	_, before, err := size(t.expand(t.repo, p))
	if err != nil {
		return err
	}
	if err := warm(ctx, reads); err != nil {
		return err
	}
	syncDisks()
	u, err := b.calls(ctx, t, t.stages[stage], p)
	if err != nil {
		return err
	}
	_, after, err := size(t.expand(t.repo, p))
	if err != nil {
		return err
	}
	b.rep.add(t.name, stage, u, before, after)
	if stage != "restore" {
		return nil
	}
	got, err := inventory(ctx, p.out)
	if err != nil {
		return err
	}
	if d, grave := differences(want, got); len(d) > 0 {
		b.rep.wrong(t.name+": "+strings.Join(d, "; "), grave || t.ours)
	}
	return nil
}

// calls runs commands one after the other and adds up what they took.
func (b *bench) calls(ctx context.Context, t *contender, cs []command, p place) (sum usage, err error) {
	for _, c := range cs {
		u, err := measure(ctx, t.spec(c, p))
		if err != nil {
			return sum, err
		}
		sum.Wall += u.Wall
		sum.CPU += u.CPU
		sum.Memory = max(sum.Memory, u.Memory)
	}
	return sum, nil
}
