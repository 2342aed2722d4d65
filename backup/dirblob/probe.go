package dirblob

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"
)

// exclusive is the way in which a file system creates a name exclusively.
type exclusive int

const (
	byLock   exclusive = iota // not at all: a lock file stands in
	byRename                  // a rename that does not replace
	byLink                    // a hard link
)

// abilities are what a file system can do.
type abilities struct {
	exclusive  exclusive
	folderSync bool
}

// probe tries in a folder what its file system can do, and returns the time by
// the clock that stamps its files, which on a NAS is not ours.
func probe(fsys vfs, folder string) (abilities, time.Time, error) {
	var able abilities
	p := prober{fs: fsys, dir: filepath.Join(folder, "probe-"+randomName())}
	defer p.clean()
	now, err := p.clock()
	if err != nil {
		return able, now, err
	}
	for _, try := range []struct {
		way  exclusive
		call func(from, to string) error
	}{{byRename, fsys.renameNew}, {byLink, fsys.link}} {
		ok, err := p.isExclusive(try.call)
		if err != nil {
			return able, now, err
		}
		if ok {
			able.exclusive = try.way
			break
		}
	}
	h, err := fsys.openDir(folder)
	if err != nil {
		return able, now, err
	}
	defer func() { _ = h.Close() }()
	err = h.Sync()
	if err != nil && !unsupported(err) {
		return able, now, err
	}
	able.folderSync = err == nil
	return able, now, nil
}

// prober makes files with a common prefix, and removes them.
type prober struct {
	fs   vfs
	dir  string
	made []string
}

// clean removes everything. A name that is gone already does not matter.
func (p *prober) clean() {
	for _, path := range p.made {
		_ = p.fs.remove(path)
	}
}

// file makes an empty file.
func (p *prober) file(suffix string) (path string, st fs.FileInfo, err error) {
	path = p.dir + suffix
	f, err := p.fs.create(path)
	if err != nil {
		return path, nil, err
	}
	p.made = append(p.made, path)
	st, err = f.Stat()
	return path, st, errors.Join(err, f.Close())
}

func (p *prober) clock() (time.Time, error) {
	_, st, err := p.file("-clock")
	if err != nil {
		return time.Time{}, err
	}
	return st.ModTime(), nil
}

// isExclusive is whether the call names a file where nothing is, and refuses
// where something is. A file system that takes the call and replaces would be
// worse than one that does not know it.
func (p *prober) isExclusive(call func(from, to string) error) (bool, error) {
	taken := p.dir + "-" + randomName()
	for i, suffix := range []string{"-first", "-second"} {
		from, _, err := p.file(suffix + randomName())
		if err != nil {
			return false, err
		}
		err = call(from, taken)
		if i == 1 {
			return errors.Is(err, fs.ErrExist), nil
		}
		p.made = append(p.made, taken)
		if err != nil && unsupported(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}
