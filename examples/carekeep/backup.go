package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/carekeep/carekeep/backup"
)

type backupCmd struct {
	Paths    []string          `arg:"" optional:"" name:"path" help:"Folders and files to back up."`
	Stdin    string            `help:"Back up standard input under this name." placeholder:"NAME"`
	Label    map[string]string `help:"Keep a label with the snapshot; may be repeated." placeholder:"K=V" mapsep:"none"`
	Exclude  []string          `help:"Leave out what the pattern matches; may be repeated." placeholder:"GLOB" sep:"none"`
	FullRead bool              `help:"Read every file again."`
	Compress string            `help:"fastest, balanced or smallest." enum:"fastest,balanced,smallest" default:"fastest"`
	Name     string            `help:"Name of the series of snapshots; by default the path." placeholder:"NAME"`
	Workers  int               `help:"Files read at once."`
}

func (c *backupCmd) Help() string {
	return `A single PATH is the root of the snapshot; several stand in it under their last names.

GLOB is not a path of this computer: without a slash it is matched against every name (*.tmp), with one against the path
from the root of the snapshot (/spool/old). A slash at the end means folders only (cache/). "*" and "?" stop at a slash.

A repository, or the folder of --host-dir, that lies in PATH is left out, because it grows with each run.

Standard input ends like a whole one when the program that writes it fails: look at its exit status too.`
}

func (c *backupCmd) Run(a *app) error {
	roots, err := c.roots()
	if err != nil {
		return err
	}
	if err := checkExcludes(roots, c.Exclude); err != nil {
		return err
	}
	p := a.progress()
	r, b, err := a.open(true, p.event)
	if err != nil {
		return err
	}
	defer b.Close()
	defer r.Close()
	mine, err := a.leaveOut(roots, c.Exclude)
	if err != nil {
		return err
	}
	levels := map[string]backup.Compression{"fastest": backup.Fastest, "balanced": backup.Balanced, "smallest": backup.Smallest}
	snap, err := r.Backup(a.ctx, c.source(a, roots), &backup.BackupOptions{
		Labels: c.Label, Exclude: slices.Concat(c.Exclude, mine), FullRead: c.FullRead, Name: c.Name,
		Compression: levels[c.Compress], Workers: c.Workers,
	})
	p.end()
	if snap != nil {
		c.report(a, snap)
		if st := snap.Stats(); st.Files+st.Others == 0 && len(c.Exclude) > 0 {
			a.tell("no-files", "the snapshot holds no files: is --exclude what was meant?", "")
		}
	}
	return err
}

func (c *backupCmd) report(a *app, s *backup.Snapshot) {
	st, run := s.Stats(), s.Run()
	if a.JSON {
		a.line(map[string]any{
			"type": "snapshot", "id": s.ID(), "outcome": s.Outcome().String(), "files": st.Files, "folders": st.Folders,
			"others": st.Others, "bytes": st.Bytes, "problems": st.Problems, "read": run.BytesRead, "stored": run.BytesStored,
			"unchanged": run.Unchanged, "seconds": s.Finished().Sub(s.Time()).Seconds(),
		})
		return
	}
	fmt.Fprintf(a.stdout, "snapshot %s %s: %d files, %s; read %s, stored %s\n",
		s.ID()[:12], s.Outcome(), st.Files, size(st.Bytes), size(run.BytesRead), size(run.BytesStored))
}

// roots are the paths that were named. A single folder is the root of the snapshot; several things stand in it under
// their base names.
func (c *backupCmd) roots() ([]root, error) {
	if len(c.Paths) == 0 && c.Stdin == "" {
		return nil, usageError{errors.New("nothing to back up: name a path, or --stdin NAME")}
	}
	for _, p := range c.Paths { // the library does not say which one is missing
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: there is nothing to back up: is the disk connected?", show(p))
		}
	}
	if len(c.Paths) == 1 && c.Stdin == "" {
		return []root{{"", c.Paths[0]}}, nil
	}
	parts := map[string]fs.FS{} // the names that are taken
	if c.Stdin != "" {
		parts[c.Stdin] = nil
	}
	var roots []root
	for _, p := range c.Paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, err
		}
		name := partName(parts, filepath.VolumeName(abs), filepath.Base(abs))
		parts[name] = nil
		roots = append(roots, root{name, p})
	}
	return roots, nil
}

// source makes one source of the roots and of standard input.
func (c *backupCmd) source(a *app, roots []root) fs.FS {
	if c.Stdin == "" && len(roots) == 1 && roots[0].name == "" {
		return backup.Dir(roots[0].path)
	}
	if len(roots) == 0 {
		return backup.Stream(c.Stdin, a.stdin)
	}
	parts := map[string]fs.FS{}
	if c.Stdin != "" {
		parts[c.Stdin] = backup.Stream(c.Stdin, a.stdin)
	}
	for _, r := range roots {
		parts[r.name] = backup.Dir(r.path)
	}
	return backup.Group(parts)
}

// partName names what stands under base on a volume. Names that differ in case alone could not be restored side by side on
// Windows and macOS. A drive is named by its letter, a share by its name.
func partName(parts map[string]fs.FS, volume, base string) string {
	if base == "/" || base == `\` {
		base = strings.TrimSuffix(volume[strings.LastIndexAny(volume, `/\`)+1:], ":")
	}
	if base == "" {
		base = "root"
	}
	taken := func(name string) bool {
		for other := range parts {
			if strings.EqualFold(name, other) {
				return true
			}
		}
		return false
	}
	name := base
	for i := 2; taken(name); i++ {
		name = base + "-" + strconv.Itoa(i)
	}
	return name
}

// meter shows progress: a bar on a terminal, JSON lines with --json, else nothing.
type meter struct {
	a    *app
	bar  *progressbar.ProgressBar
	last time.Time
}

func (a *app) progress() *meter {
	m := &meter{a: a}
	f, ok := a.stderr.(*os.File)
	if !a.JSON && ok && term.IsTerminal(int(f.Fd())) {
		m.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(f), progressbar.OptionShowBytes(true),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond))
	}
	return m
}

func (m *meter) event(p backup.Progress) {
	if m.bar != nil {
		if p.BytesAll > 0 {
			m.bar.ChangeMax64(max(p.BytesAll, p.Bytes))
		}
		m.bar.Describe(fmt.Sprintf("%s: %s, %d files", p.Operation, p.Phase, p.Files))
		_ = m.bar.Set64(p.Bytes)
		return
	}
	if m.a.JSON && (p.Done || time.Since(m.last) > time.Second) {
		m.last = time.Now()
		m.a.line(map[string]any{
			"type": "progress", "operation": p.Operation, "phase": p.Phase, "files": p.Files, "bytes": p.Bytes,
			"stored": p.Stored, "files_all": p.FilesAll, "bytes_all": p.BytesAll,
			"elapsed": p.Elapsed.Seconds(), "remaining": p.Remaining.Seconds(), "done": p.Done,
		})
	}
}

func (m *meter) end() {
	if m.bar != nil {
		_ = m.bar.Finish()
	}
}

// clean turns what a person types into a path of a snapshot.
func clean(p string) string {
	p = strings.Trim(filepath.ToSlash(p), "/")
	for strings.HasPrefix(p, "./") {
		p = p[2:]
	}
	if p == "" {
		return "."
	}
	return p
}
