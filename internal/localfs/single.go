package localfs

import (
	"context"
	"io/fs"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
)

// single is a folder that shows one file of a real folder.
type single struct {
	f           *folder
	shown, real string
}

func (s *single) name(name string) (string, error) {
	if name != s.shown {
		return "", problem("open", name, fs.ErrNotExist)
	}
	return s.real, nil
}

func (s *single) Names(context.Context) (source.Names, error) {
	l := new(list)
	l.addStrings([]string{s.shown})
	return l, nil
}

func (s *single) Lstat(name string) (*format.Entry, error) {
	real, err := s.name(name)
	if err != nil {
		return nil, err
	}
	return s.f.Lstat(real)
}

func (s *single) Xattrs(name string, e *format.Entry) error {
	if name == "." {
		return nil
	}
	real, err := s.name(name)
	if err != nil {
		return err
	}
	return s.f.Xattrs(real, e)
}

func (s *single) Folder(name string) (source.Folder, error) {
	real, err := s.name(name)
	if err != nil {
		return nil, err
	}
	return s.f.Folder(real)
}

func (s *single) File(name string) (source.File, error) {
	real, err := s.name(name)
	if err != nil {
		return nil, err
	}
	return s.f.File(real)
}

func (s *single) Close() error { return s.f.Close() }
