// Command compare measures the carekeep command beside restic, kopia and borg: the same data, the same
// machine, the same run.
//
//	go run ./internal/bench/compare [-data practice|tree|DIR] [-runs N] [-out FILE.md] [-out FILE.json] [-require]
//
// It builds ./examples/carekeep itself, takes those of the peers that are on the PATH, and fails when there
// are none. In every stage the contenders take turns, so that a machine which gets slower or faster does so
// for all. Before every timed command the disk is synced and what the command will read is read once, so all
// find it in the page cache. Every restore is compared with the source: content, mode and modification time.
//
// The stages are: cold, the first backup; unchanged, the same again; changed, after a day of changes; list,
// the snapshots, which shows what opening costs; restore, of everything into an empty folder; check, with all
// data read and verified.
//
// For restores the file system should be one on which nobody has deleted many files for some minutes, best a
// fresh one: see FileCost. It needs room for all repositories and restores of all runs, each some 10 times the data. A
// virtual machine should own its memory: see PageCost. The page cache is filled before the first run.
//
// The command has to be called inside the module. Nothing is left behind but the files of -out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv(childEnv) != "" {
		os.Exit(child(ctx, os.Stdin, os.Stdout))
	}
	if err := run(ctx, os.Args[1:]); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("stopped: %w", context.Cause(ctx))
		}
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "compare:", err)
		}
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	data     string
	practice string
	size     int64
	seed     uint64
	work     string
	runs     int
	only     string
	bin      string
	out      []string
	require  bool
}

func parse(args []string) (*config, error) {
	c := &config{}
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.StringVar(&c.data, "data", "practice", "practice: an invented practice and a day in it; tree: the Go distribution and /usr/share; or a folder")
	f.StringVar(&c.practice, "practice-dir", "", "for practice: a folder with day0 and day1, made before; else they are made")
	f.Int64Var(&c.size, "size", 1<<30, "for practice: bytes of day 0")
	f.Uint64Var(&c.seed, "seed", 1, "for practice: which one")
	f.StringVar(&c.work, "work", "", "folder for data, repositories and restores, on the disk to measure; default a temporary one")
	f.IntVar(&c.runs, "runs", 3, "how often everything is run")
	f.StringVar(&c.only, "only", "", "regular expression: contenders to run, as the report names them")
	f.StringVar(&c.bin, "bin", "", "our command, built before, such as one of an older revision; by default it is built")
	f.Func("out", "also write the report to this file, .md or .json; may be repeated", func(s string) error {
		if e := filepath.Ext(s); e != ".md" && e != ".json" {
			return errors.New("name a .md or .json file")
		}
		c.out = append(c.out, s)
		return nil
	})
	f.BoolVar(&c.require, "require", false, "exit with 1 unless carekeep beats every compressing peer in every time and size, within 128 MiB")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, errors.New("arguments without a flag; see -help")
	case c.runs < 1:
		return nil, errors.New("-runs is at least 1")
	}
	return c, nil
}

func run(ctx context.Context, args []string) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(c.work, "compare-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if work, err = filepath.Abs(work); err != nil {
		return err
	}
	tools, err := choose(ctx, c, work)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "preparing the data")
	data, err := prepare(ctx, c, work)
	if err != nil {
		return err
	}
	b := &bench{tools: tools, data: data, work: work, rep: newReport(c, tools, data, work)}
	if err := fillCache(ctx, work); err != nil {
		return err
	}
	for n := range c.runs {
		if err := b.once(ctx, n); err != nil {
			return err
		}
	}
	return b.finish(c)
}

// finish writes the report and judges it.
func (b *bench) finish(c *config) error {
	b.rep.close()
	text := b.rep.markdown()
	fmt.Print(text)
	for _, name := range c.out {
		content := []byte(text)
		if strings.HasSuffix(name, ".json") {
			var err error
			if content, err = b.rep.json(); err != nil {
				return err
			}
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return err
		}
	}
	if len(b.rep.Wrong) > 0 {
		return errors.New("a restore was not right; see the report")
	}
	if c.require && len(b.rep.Shortfalls) > 0 {
		return errors.New("carekeep does not beat every compressing peer everywhere; see the report")
	}
	return nil
}

// choose builds our command and finds the peers.
func choose(ctx context.Context, c *config, work string) ([]*contender, error) {
	pattern, err := regexp.Compile(c.only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	ours, err := build(ctx, c.bin, work)
	if err != nil {
		return nil, err
	}
	var tools []*contender
	peers := 0
	for _, t := range contenders() {
		if !pattern.MatchString(t.name) || !t.find(ctx, ours) {
			continue
		}
		if !t.ours {
			peers++
		}
		tools = append(tools, t)
	}
	if peers == 0 {
		return nil, errors.New("no peer to compare with: put restic, kopia or borg on the PATH")
	}
	return tools, nil
}
