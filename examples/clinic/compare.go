package main

import (
	"context"
	"crypto/sha256"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/carekeep/carekeep/backup"
)

// manifest is what a folder holds, by slash-separated path. It is taken with package os alone, so that a
// fault of the backup cannot hide itself.
type manifest map[string]entry

type entry struct {
	mode   fs.FileMode // type and permissions
	time   time.Time   // last change of the content, in nanoseconds; zero for a link
	size   int64       // of a regular file, bytes
	sum    [sha256.Size]byte
	target string // of a symbolic link
}

// takeManifest reads everything in dir, and dir itself. read is told after each file how many bytes it had.
func takeManifest(ctx context.Context, dir string, read func(int64)) (manifest, error) {
	m := manifest{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		e, err := look(p, d)
		m[filepath.ToSlash(name)] = e
		read(e.size)
		return err
	})
	return m, err
}

func look(p string, d fs.DirEntry) (entry, error) {
	fi, err := d.Info()
	if err != nil {
		return entry{}, err
	}
	e := entry{mode: fi.Mode(), time: fi.ModTime()}
	switch {
	case e.mode.IsRegular():
		e.size, e.sum, err = digest(p)
	case e.mode&fs.ModeSymlink != 0:
		e.time = time.Time{} // few systems let anybody set it
		e.target, err = os.Readlink(p)
	}
	return e, err
}

func digest(p string) (n int64, sum [sha256.Size]byte, err error) {
	f, err := os.Open(p)
	if err != nil {
		return 0, sum, err
	}
	defer f.Close()
	h := sha256.New()
	n, err = io.Copy(h, f)
	h.Sum(sum[:0])
	return n, sum, err
}

// difference is one path that is not as it was.
type difference struct {
	path string
	what string
}

// compare lists what differs in now, in the order of paths.
func (m manifest) compare(now manifest) []difference {
	var all []difference
	for _, p := range slices.Sorted(maps.Keys(m)) {
		n, there := now[p]
		if !there {
			all = append(all, difference{p, "missing"})
		} else if what := m[p].differs(n); what != "" {
			all = append(all, difference{p, what})
		}
	}
	for _, p := range slices.Sorted(maps.Keys(now)) {
		if _, was := m[p]; !was {
			all = append(all, difference{p, "was not there"})
		}
	}
	return all
}

// differs names the first thing that is different, or nothing.
func (e entry) differs(n entry) string {
	switch {
	case e.mode.Type() != n.mode.Type():
		return "another kind of file"
	case e.size != n.size || e.sum != n.sum:
		return "other content"
	case e.target != n.target:
		return "leads elsewhere"
	case e.mode != n.mode:
		return "other permissions"
	case !e.time.Equal(n.time):
		return "another time"
	}
	return ""
}

// changes is the comparison in the words of [backup.Repository.Diff].
func (m manifest) changes(now manifest) map[string]backup.ChangeKind {
	all := map[string]backup.ChangeKind{}
	for _, d := range m.compare(now) {
		switch d.what {
		case "missing":
			all[d.path] = backup.Removed
		case "was not there":
			all[d.path] = backup.Added
		default:
			all[d.path] = backup.Modified
		}
	}
	return all
}

func same(a, b map[string]backup.ChangeKind) bool { return maps.Equal(a, b) }

// verdict is what is known of one restored day.
type verdict struct {
	missing     *backup.IncompleteError // what the restore says it could not bring back
	differences []difference
	unusable    error // what the practice's own check found
}

func (v *verdict) identical() bool { return v.missing == nil && len(v.differences) == 0 }

// unnamed lists the differences that the restore did not name: these are what must never be.
func (v *verdict) unnamed() []difference {
	named := map[string]bool{}
	if v.missing != nil {
		for _, p := range v.missing.Problems {
			named[p.Path] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(v.differences), func(d difference) bool { return named[d.path] })
}

// good says whether the run came out as it must.
func (c *clinic) good() bool {
	if c.hurt {
		return c.noticed()
	}
	good := c.changes && c.sound && c.document && c.refusal != nil && (c.nights == 0 || c.month != nil && c.month.good() && c.alike)
	for d := range c.verdicts {
		good = good && c.verdicts[d].identical() && c.verdicts[d].unusable == nil
	}
	return good
}

// noticed says whether the damage was found by the check and by a restore, and nothing came back wrong in
// silence.
func (c *clinic) noticed() bool {
	restore, silent := false, false
	for d := range c.verdicts {
		v := &c.verdicts[d]
		restore = restore || v.missing != nil
		silent = silent || len(v.unnamed()) > 0 || v.unusable != nil
	}
	return restore && !silent && !c.sound && c.document && c.changes
}
