package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// fileSet is the regular files of a folder.
type fileSet struct {
	dir   string
	names []string // paths in dir
	bytes int64
}

// list finds the regular files of a folder. Everything else is left out: it has no bytes.
func list(dir string) (*fileSet, error) {
	s := &fileSet{dir: dir}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		s.names = append(s.names, rel)
		s.bytes += fi.Size()
		return nil
	})
	if err == nil && s.bytes == 0 {
		err = errors.New("the folder holds no data")
	}
	return s, err
}

// open opens file number i.
func (s *fileSet) open(i int) (*os.File, error) { return os.Open(filepath.Join(s.dir, s.names[i])) }
