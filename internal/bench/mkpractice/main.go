// Command mkpractice makes an invented general practice in a folder and lives days in it, for benchmarks by hand.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/carekeep/carekeep/internal/practice"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "mkpractice:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir := flag.String("dir", "", "the folder: new or empty, or with -first one that mkpractice made")
	size := flag.Int64("size", 1105954078, "bytes of day 0 (default 1.03 GiB)")
	seed := flag.Uint64("seed", 1, "which practice")
	days := flag.Int("days", 0, "the last day to live")
	first := flag.Int("first", 0, "the first day to make: 0 makes the practice, n goes on from day n")
	canary := flag.String("canary", "", "a word to work into names and contents")
	check := flag.Bool("check", false, "check the result")
	flag.Parse()
	if *dir == "" || flag.NArg() > 0 {
		return fmt.Errorf("give -dir FOLDER; see -help")
	}
	opts := &practice.Options{Seed: *seed, Size: *size, Canary: *canary}
	for day := *first; day <= *days; day++ {
		if err := live(ctx, *dir, day, opts); err != nil {
			return err
		}
	}
	if *check {
		if err := practice.Check(ctx, *dir); err != nil {
			return err
		}
		fmt.Println("check: usable")
	}
	return nil
}

// live makes day 0 or lives a later one, and prints what it did.
func live(ctx context.Context, dir string, day int, opts *practice.Options) error {
	if day == 0 {
		s, err := practice.Generate(ctx, dir, opts)
		if err != nil {
			return err
		}
		for _, k := range practice.Kinds() {
			n := s.Kinds[k]
			fmt.Printf("%-9s %6d files %12d bytes %5.1f %%\n", k, n.Files, n.Bytes, 100*float64(n.Bytes)/float64(s.Total.Bytes))
		}
		fmt.Printf("total     %6d files %12d bytes, %d patients, rows %v, %.1f s\n", s.Total.Files, s.Total.Bytes, s.Patients, s.Rows, s.Elapsed.Seconds())
		return nil
	}
	s, err := practice.LiveDay(ctx, dir, day, opts)
	if err != nil {
		return err
	}
	fmt.Printf("day %d: %d bytes changed (%d pages), added %v, changed %v, %d removed, %d renamed, rows +%d ~%d, %.1f s\n", day,
		s.BytesChanged, s.PagesChanged, s.Added, s.Changed, s.Removed, s.Renamed, s.RowsInserted, s.RowsUpdated, s.Elapsed.Seconds())
	return nil
}
