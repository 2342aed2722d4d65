package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// liveDay makes the changes of a day in a folder that knows no days of its own: of every thousand files
// five get another block in their middle, two grow by a tenth, two are deleted, two are renamed, and two new
// ones appear beside them. Which, depends on their paths alone; in a small folder it is one file of each
// sort at least.
func liveDay(ctx context.Context, dir string) error {
	names, err := shuffled(dir)
	if err != nil {
		return err
	}
	sorts := []struct {
		perThousand int
		do          func(name string) error
	}{
		{5, rewriteMiddle},
		{2, grow},
		{2, os.Remove},
		{2, func(name string) error { return os.Rename(name, name+".renamed") }},
		{2, sibling},
	}
	for _, s := range sorts {
		n := min(max(1, len(names)*s.perThousand/1000), len(names))
		for _, name := range names[:n] {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.do(name); err != nil {
				return err
			}
		}
		names = names[n:]
	}
	return nil
}

// shuffled lists the regular files that are not empty, in the order of the digests of their paths.
func shuffled(dir string) ([]string, error) {
	type file struct {
		key  [32]byte
		name string
	}
	var all []file
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		fi, err := e.Info()
		if err != nil || fi.Size() == 0 {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err == nil {
			all = append(all, file{sha256.Sum256([]byte(filepath.ToSlash(rel))), name})
		}
		return err
	})
	slices.SortFunc(all, func(a, b file) int {
		return cmp.Or(bytes.Compare(a.key[:], b.key[:]), cmp.Compare(a.name, b.name))
	})
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.name
	}
	return names, err
}

// other makes bytes that are not those of b, and compress as well as they do.
func other(b []byte) []byte {
	out := make([]byte, len(b))
	for i, v := range b {
		out[i] = v ^ 1
	}
	return out
}

func rewriteMiddle(name string) error {
	return edit(name, func(f *os.File, size int64) error {
		b := make([]byte, min(4096, size))
		off := (size - int64(len(b))) / 2
		if _, err := f.ReadAt(b, off); err != nil {
			return err
		}
		_, err := f.WriteAt(other(b), off)
		return err
	})
}

func grow(name string) error {
	return edit(name, func(f *os.File, size int64) error {
		b := make([]byte, min(max(size/10, 1), 1<<20))
		if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
			return err
		}
		_, err := f.WriteAt(other(b), size)
		return err
	})
}

// sibling makes a new file of at most 1 MiB beside one.
func sibling(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return err
	}
	return os.WriteFile(name+".new", other(b), 0o644)
}

// edit opens a file for changes, though its mode may forbid them.
func edit(name string, do func(f *os.File, size int64) error) error {
	fi, err := os.Stat(name)
	if err != nil {
		return err
	}
	if err := os.Chmod(name, 0o600|fi.Mode().Perm()); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = do(f, fi.Size())
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Chmod(name, fi.Mode())
}
