package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/carekeep/carekeep/internal/practice"
)

// dataset is the data that is backed up: a folder that is set to the state before the day and then changed.
type dataset struct {
	what  string
	src   string
	files int
	bytes int64 // before the day
	// reset makes src the state before the day, whatever it was.
	reset func(context.Context) error
	// change makes the day's changes in src.
	change func(context.Context) error
}

// prepare makes the data under work. Sources that are not ours are copied and never changed.
func prepare(ctx context.Context, c *config, work string) (*dataset, error) {
	d := &dataset{src: filepath.Join(work, "data")}
	if err := os.Mkdir(d.src, 0o755); err != nil {
		return nil, err
	}
	var err error
	switch c.data {
	case "practice":
		err = d.practice(ctx, c, work)
	case "tree":
		var goroot string
		if goroot, err = goRoot(ctx); err == nil {
			d.what = "the Go distribution and /usr/share, and a day of small changes all over them"
			d.copies(map[string]string{"go": goroot, "share": filepath.FromSlash("/usr/share")})
		}
	default:
		d.what = "a folder, and a day of small changes all over it"
		d.copies(map[string]string{"folder": c.data})
	}
	if err != nil {
		return nil, err
	}
	if err := d.reset(ctx); err != nil {
		return nil, err
	}
	d.files, d.bytes, err = size(d.src)
	if err == nil && d.files == 0 {
		err = errors.New("there is no file in the data")
	}
	return d, err
}

// practice finds or makes day 0 and day 1.
func (d *dataset) practice(ctx context.Context, c *config, work string) error {
	d.what = "an invented practice of internal/practice, and one day lived in it"
	day0, day1 := filepath.Join(c.practice, "day0"), filepath.Join(c.practice, "day1")
	if c.practice == "" {
		day0, day1 = filepath.Join(work, "day0"), filepath.Join(work, "day1")
		opts := &practice.Options{Seed: c.seed, Size: c.size}
		if _, err := practice.Generate(ctx, day0, opts); err != nil {
			return err
		}
		if err := mirror(ctx, day1, day0); err != nil {
			return err
		}
		if _, err := practice.LiveDay(ctx, day1, 1, opts); err != nil {
			return err
		}
	}
	d.reset = func(ctx context.Context) error { return mirror(ctx, d.src, day0) }
	d.change = func(ctx context.Context) error { return mirror(ctx, d.src, day1) }
	return nil
}

// copies takes folders as parts of the data, under the names given.
func (d *dataset) copies(parts map[string]string) {
	d.reset = func(ctx context.Context) error {
		for name, from := range parts {
			if err := mirror(ctx, filepath.Join(d.src, name), from); err != nil {
				return err
			}
		}
		return nil
	}
	d.change = func(ctx context.Context) error { return liveDay(ctx, d.src) }
}

func goRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("where is Go: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// size counts the regular files under a folder and their bytes.
func size(dir string) (files int, bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		fi, err := e.Info()
		if err == nil {
			files++
			bytes += fi.Size()
		}
		return err
	})
	return files, bytes, err
}

// warm reads everything under a folder, so that it is in the page cache.
func warm(ctx context.Context, dir string) error {
	buf := make([]byte, 1<<20)
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		for ctx.Err() == nil {
			if n, err := f.Read(buf); n == 0 || err != nil {
				return nil // what cannot be read here, the contenders will complain of
			}
		}
		return ctx.Err()
	})
}
