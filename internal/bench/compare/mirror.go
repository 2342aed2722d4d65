package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// mirror makes dst equal to src by changing only what differs, as the programs that own such data would: a
// file that changed keeps its inode, and only its differing blocks are written. Folders, regular files and
// symbolic links are copied, with modes, owners and modification times; hard links become files of their own.
func mirror(ctx context.Context, dst, src string) error {
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	if err := prune(dst, src); err != nil {
		return err
	}
	var folders []string
	err := filepath.WalkDir(src, func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, name)
		if err != nil {
			return err
		}
		to := filepath.Join(dst, rel)
		switch {
		case e.IsDir():
			folders = append(folders, rel)
			if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			return os.Chmod(to, 0o700|permissions(to))
		case e.Type() == fs.ModeSymlink:
			return mirrorLink(to, name)
		case e.Type().IsRegular():
			return mirrorFile(to, name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("copy of the data: %w", err)
	}
	for _, rel := range slices.Backward(folders) {
		fi, err := os.Stat(filepath.Join(src, rel))
		if err != nil {
			return err
		}
		if err := attributes(filepath.Join(dst, rel), fi); err != nil {
			return err
		}
	}
	return nil
}

// prune removes from dst what src does not have, or has as something else.
func prune(dst, src string) error {
	return filepath.WalkDir(dst, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dst, name)
		if err != nil {
			return err
		}
		fi, err := os.Lstat(filepath.Join(src, rel))
		if err == nil && fi.Mode().Type() == e.Type() {
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.RemoveAll(name); err != nil {
			return err
		}
		if e.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
}

func mirrorLink(dst, src string) error {
	want, err := os.Readlink(src)
	if err != nil {
		return err
	}
	if have, err := os.Readlink(dst); err == nil {
		if have == want {
			return nil
		}
		if err := os.Remove(dst); err != nil {
			return err
		}
	}
	return os.Symlink(want, dst)
}

func mirrorFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(dst, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrPermission) { // a mode without the right to write, and we are not root
		if err = os.Chmod(dst, 0o600); err == nil {
			out, err = os.OpenFile(dst, os.O_RDWR, 0)
		}
	}
	if err != nil {
		return err
	}
	err = copyBlocks(out, in, fi.Size())
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return attributes(dst, fi)
}

// copyBlocks writes the blocks in which out differs from in.
func copyBlocks(out *os.File, in io.Reader, size int64) error {
	old, err := out.Stat()
	if err != nil {
		return err
	}
	if old.Size() > size {
		if err := out.Truncate(size); err != nil {
			return err
		}
	}
	const block = 16 << 10
	want, have := make([]byte, block), make([]byte, block)
	for off := int64(0); off < size; off += block {
		n, err := io.ReadFull(in, want[:min(block, size-off)])
		if err != nil {
			return err
		}
		k, err := out.ReadAt(have[:n], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if k == n && bytes.Equal(want[:n], have[:n]) {
			continue
		}
		if _, err := out.WriteAt(want[:n], off); err != nil {
			return err
		}
	}
	return nil
}

// attributes gives a copy the mode, owner and time of the original, without touching what is so already,
// because that would show in its change time.
func attributes(name string, want fs.FileInfo) error {
	have, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if !sameOwner(have, want) {
		own(name, want)
	}
	if have.Mode() != want.Mode() {
		if err := os.Chmod(name, want.Mode()); err != nil {
			return err
		}
	}
	if have.ModTime().Equal(want.ModTime()) {
		return nil
	}
	return os.Chtimes(name, want.ModTime(), want.ModTime())
}

func permissions(name string) fs.FileMode {
	fi, err := os.Lstat(name)
	if err != nil {
		return 0
	}
	return fi.Mode().Perm()
}
