// Command stages measures backup, restore and check piece by piece beside what the machine can do, to show
// what is left to gain and where.
//
//	CAREKEEP_BENCH_DIR=FOLDER go run ./internal/bench/stages [-runs N] [-work DIR]
//
// Each line does what the line above it does and one thing more, on all cores, over the packages that the
// engine is made of. The lines named "engine" are the whole run of the engine on the same data. All count
// bytes of the source, so all lines can be compared with each other, with the speed at which memory is
// copied, and with the speed at which the disk takes synced data; two look at names alone and count files. The best of the runs counts: here the
// question is what is possible.
//
// Without CAREKEEP_BENCH_DIR an invented practice of 64 MiB is made. The data is read once before, so it is
// in the page cache if it fits. Every restore goes into a new folder, and nothing is deleted before the end:
// just after many deletions Linux is slow to make files on an ext file system, which would pass for the cost
// of a restore. So give it a file system on which nobody else deletes much, and ten times the data's room.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/carekeep/carekeep/internal/practice"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("stopped: %w", context.Cause(ctx))
		}
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "stages:", err)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("stages", flag.ContinueOnError)
	runs := f.Int("runs", 3, "how often each line is measured; the best counts")
	workDir := f.String("work", "", "folder for repositories and restores, on the disk to measure; default a temporary one")
	size := f.Int64("size", 64<<20, "bytes of the practice, without CAREKEEP_BENCH_DIR")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *runs < 1 || f.NArg() > 0 {
		return errors.New("-runs is at least 1, and there are no arguments without a flag")
	}
	work, err := os.MkdirTemp(*workDir, "stages-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	dir := os.Getenv("CAREKEEP_BENCH_DIR")
	if dir == "" {
		dir = filepath.Join(work, "practice")
		if _, err := practice.Generate(ctx, dir, &practice.Options{Seed: 1, Size: *size}); err != nil {
			return err
		}
	}
	files, err := list(dir)
	if err != nil {
		return err
	}
	t := &table{out: out, runs: *runs, bytes: files.bytes}
	fmt.Fprintf(out, "%s/%s, %d cores, %s; %d files, %.1f MB; the best of %d\n\n", runtime.GOOS, runtime.GOARCH,
		runtime.GOMAXPROCS(0), runtime.Version(), len(files.names), float64(files.bytes)/1e6, *runs)
	return measureAll(ctx, t, files, work)
}

func measureAll(ctx context.Context, t *table, files *fileSet, work string) error {
	if err := t.limits(ctx, work); err != nil {
		return err
	}
	packs, err := backupLines(ctx, t, files, work)
	if err != nil {
		return err
	}
	if err := checkLines(ctx, t, packs); err != nil {
		return err
	}
	if err := restoreLines(ctx, t, packs, files, work); err != nil {
		return err
	}
	return engineLines(ctx, t, files, work)
}

// table prints a line for each thing measured.
type table struct {
	out   io.Writer
	runs  int
	bytes int64 // of the source
	copy  float64
	disk  float64 // bytes a second
}

// head begins a part of the table.
func (t *table) head(name string) {
	fmt.Fprintf(t.out, "\n%-34s %9s %9s %9s %9s %9s\n", name, "wall s", "CPU s", "MB/s", "of copy", "of disk")
}

// line measures f, which handles all bytes of the source once, and prints it. Prepare, if not nil, comes
// before each run and is not measured.
func (t *table) line(name string, prepare func() error, f func() error) error {
	best, cpu, err := t.best(prepare, f)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	speed := float64(t.bytes) / best.Seconds()
	fmt.Fprintf(t.out, "%-34s %9.3f %9.2f %9.0f %8.1f%% %8.0f%%\n", name, best.Seconds(), cpu.Seconds(), speed/1e6,
		100*speed/t.copy, 100*speed/t.disk)
	return nil
}

// names measures f, which looks at n names and no content, and prints it.
func (t *table) names(name string, n int, prepare func() error, f func() error) error {
	best, cpu, err := t.best(prepare, f)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(t.out, "%-34s %9.3f %9.2f %9.0f files/s\n", name, best.Seconds(), cpu.Seconds(), float64(n)/best.Seconds())
	return nil
}

// best runs f several times and returns the least wall and CPU time.
func (t *table) best(prepare, f func() error) (wall, cpu time.Duration, err error) {
	for n := range t.runs {
		if prepare != nil {
			if err := prepare(); err != nil {
				return 0, 0, err
			}
		}
		runtime.GC() // what a line leaves behind is not the next one's work
		c, start := cpuTime(), time.Now()
		if err := f(); err != nil {
			return 0, 0, err
		}
		w := time.Since(start)
		c = cpuTime() - c
		if n == 0 || w < wall {
			wall = w
		}
		if n == 0 || c < cpu {
			cpu = c
		}
	}
	return wall, cpu, nil
}
