package engine

import (
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// excluder decides what a backup leaves out. A pattern without a slash is matched against every name; one
// with a slash against the path from the root of the source. "*" and "?" stop at a slash, "**" does not.
// A pattern that ends in a slash is for folders only. A folder that is left out is not entered.
type excluder struct{ names, paths []pattern }

type pattern struct {
	glob   string
	folder bool
}

func newExcluder(patterns []string) (*excluder, error) {
	x := &excluder{}
	for i, s := range patterns {
		p := pattern{glob: strings.TrimPrefix(s, "/")}
		p.glob, p.folder = strings.CutSuffix(p.glob, "/")
		if p.glob == "" || !doublestar.ValidatePattern(p.glob) {
			return nil, fmt.Errorf("the exclude pattern at index %d is malformed", i) // its text may hold a name
		}
		if strings.Contains(p.glob, "/") || strings.HasPrefix(s, "/") {
			x.paths = append(x.paths, p)
		} else {
			x.names = append(x.names, p)
		}
	}
	return x, nil
}

// excluded reports whether a path is left out. A trailing slash says that it is a folder.
func (b *backup) excluded(path string) bool {
	x := b.exclude
	if len(x.names)+len(x.paths) == 0 {
		return false
	}
	path, folder := strings.CutSuffix(path, "/")
	name := path[strings.LastIndexByte(path, '/')+1:]
	return match(x.names, name, folder) || match(x.paths, path, folder)
}

func match(ps []pattern, s string, folder bool) bool {
	for _, p := range ps {
		if p.folder && !folder {
			continue
		}
		if doublestar.MatchUnvalidated(p.glob, s) {
			return true
		}
	}
	return false
}
