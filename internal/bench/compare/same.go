package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// thing is what a restore must bring back of a name.
type thing struct {
	mode   fs.FileMode
	time   time.Time // not of symbolic links
	size   int64     // of regular files
	sum    [sha256.Size]byte
	target string // of symbolic links
}

// inventory lists everything below a folder by its path in it. The folder itself is not part of it: not
// every contender restores into the folder as well as below it.
func inventory(ctx context.Context, dir string) (map[string]thing, error) {
	all := map[string]thing{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || name == dir {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		all[rel], err = look(name, e)
		return err
	})
	return all, err
}

func look(name string, e fs.DirEntry) (t thing, err error) {
	fi, err := e.Info()
	if err != nil {
		return t, err
	}
	t.mode = fi.Mode()
	switch {
	case t.mode.Type() == fs.ModeSymlink:
		t.mode = fs.ModeSymlink
		t.target, err = os.Readlink(name)
		return t, err
	case t.mode.IsRegular():
		t.size = fi.Size()
		t.sum, err = digest(name)
	}
	t.time = fi.ModTime()
	return t, err
}

func digest(name string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, 256<<10)); err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	return sum, nil
}

// folderTimes is the one difference that a peer is forgiven: kopia gives a folder the time of the newest file
// in it.
const folderTimes = "folders with another time"

// differences says in what got is not want: how many names of each sort, with one example. It is grave if
// there is more than folderTimes.
func differences(want, got map[string]thing) (list []string, grave bool) {
	count, example := map[string]int{}, map[string]string{}
	note := func(what, name string) {
		count[what]++
		if e, ok := example[what]; !ok || name < e {
			example[what] = name
		}
	}
	for name, w := range want {
		g, ok := got[name]
		switch {
		case !ok:
			note("missing", name)
		case g.mode.Type() != w.mode.Type():
			note("of another kind", name)
		case g.size != w.size || g.sum != w.sum || g.target != w.target:
			note("with other content", name)
		case g.mode != w.mode:
			note("with another mode", name)
		case !g.time.Equal(w.time) && w.mode.IsDir():
			note(folderTimes, name)
		case !g.time.Equal(w.time):
			note("with another time", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			note("too many", name)
		}
	}
	for what, n := range count {
		list = append(list, fmt.Sprintf("%d %s, such as %q", n, what, example[what]))
		grave = grave || what != folderTimes
	}
	slices.Sort(list)
	return list, grave
}
