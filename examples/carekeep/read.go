package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup"
)

// withSnapshot opens the repository for reading, and a snapshot in it.
func (a *app) withSnapshot(of *series, id string, progress func(backup.Progress), f func(*backup.Repository, *backup.Snapshot) error) error {
	return a.with(progress, func(r *backup.Repository, _ *blob.Bucket) error {
		s, err := of.open(a, r, id)
		if err != nil {
			return err
		}
		return f(r, s)
	})
}

type snapshotsCmd struct {
	series
}

func (c *snapshotsCmd) Run(a *app) error {
	return a.with(nil, func(r *backup.Repository, _ *blob.Bucket) error { return c.list(a, r) })
}

func (c *snapshotsCmd) list(a *app, r *backup.Repository) error {
	return c.each(a, r, func(s *backup.Snapshot) {
		st := s.Stats()
		if a.JSON {
			a.line(map[string]any{
				"type": "snapshot", "id": s.ID(), "sequence": s.Sequence(), "time": s.Time(), "finished": s.Finished(),
				"outcome": s.Outcome().String(), "host": s.Host(), "name": s.Name(), "labels": s.Labels(),
				"files": st.Files, "folders": st.Folders, "others": st.Others, "bytes": st.Bytes, "problems": st.Problems,
			})
			return
		}
		fmt.Fprintf(a.stdout, "%s  %s  %-10s  %8d files  %10s  %s:%s\n", s.ID()[:12],
			s.Time().Format("2006-01-02 15:04:05"), s.Outcome(), st.Files, size(st.Bytes), show(s.Host()), show(s.Name()))
	})
}

type lsCmd struct {
	series
	Snapshot string `arg:"" help:"An id, the beginning of one, or latest."`
	Path     string `arg:"" optional:"" help:"Where to begin."`
	Long     bool   `short:"l" help:"Show modes, sizes and times."`
}

func (c *lsCmd) Run(a *app) error {
	return a.withSnapshot(&c.series, c.Snapshot, nil, func(_ *backup.Repository, s *backup.Snapshot) error {
		return a.buffered(func(w io.Writer) error {
			return fs.WalkDir(s.FS(a.ctx), clean(c.Path), func(p string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				return c.entry(a, w, p, d)
			})
		})
	})
}

func (c *lsCmd) entry(a *app, w io.Writer, p string, d fs.DirEntry) error {
	fi, err := d.Info()
	if err != nil {
		return err
	}
	switch {
	case a.JSON:
		lineTo(w, map[string]any{"type": "entry", "path": p, "mode": fi.Mode().String(), "size": fi.Size(), "time": fi.ModTime()})
	case c.Long:
		_, err = fmt.Fprintf(w, "%s %12d %s %s\n", fi.Mode(), fi.Size(), fi.ModTime().Format("2006-01-02 15:04:05"), show(p))
	default:
		_, err = fmt.Fprintln(w, show(p))
	}
	return err
}

type catCmd struct {
	series
	Snapshot string `arg:"" help:"An id, the beginning of one, or latest."`
	Path     string `arg:"" help:"The file."`
}

func (c *catCmd) Run(a *app) error {
	return a.withSnapshot(&c.series, c.Snapshot, nil, func(_ *backup.Repository, s *backup.Snapshot) error {
		f, err := s.FS(a.ctx).Open(clean(c.Path))
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyBuffer(struct{ io.Writer }{a.stdout}, struct{ io.Reader }{f}, make([]byte, 1<<20))
		return err
	})
}

type diffCmd struct {
	series
	Old string `arg:"" help:"The older snapshot: an id, the beginning of one, or latest."`
	New string `arg:"" help:"The newer snapshot, likewise."`
}

func (c *diffCmd) Run(a *app) error {
	return a.withSnapshot(&c.series, c.Old, nil, func(r *backup.Repository, old *backup.Snapshot) error {
		s, err := c.open(a, r, c.New)
		if err != nil {
			return err
		}
		return a.buffered(func(w io.Writer) error {
			for ch, err := range r.Diff(a.ctx, old, s) {
				if err != nil {
					return err
				}
				if a.JSON {
					lineTo(w, map[string]any{"type": "change", "change": ch.Kind.String(), "path": ch.Path})
					continue
				}
				mark := map[backup.ChangeKind]string{backup.Added: "+", backup.Removed: "-", backup.Modified: "M"}
				fmt.Fprintln(w, mark[ch.Kind], show(ch.Path))
			}
			return nil
		})
	})
}

type restoreCmd struct {
	series
	Snapshot string   `arg:"" help:"An id, the beginning of one, or latest."`
	Paths    []string `arg:"" optional:"" name:"path" help:"What to restore; everything by default."`
	To       string   `help:"Folder to restore into; made if it is missing, in a folder that is there. A whole snapshot gives it its own mode and owner." required:"" placeholder:"DIR"`
	NoOwners bool     `help:"Do not set owners. They are set by default when root restores."`
	Devices  bool     `help:"Make device files."`
	Compare  bool     `help:"Compare the content of files already there, even if size and time agree."`
}

func (c *restoreCmd) Run(a *app) error {
	p := a.progress()
	return a.withSnapshot(&c.series, c.Snapshot, p.event, func(_ *backup.Repository, s *backup.Snapshot) error {
		o := &backup.RestoreOptions{Owners: os.Geteuid() == 0 && !c.NoOwners, Devices: c.Devices, CompareContent: c.Compare}
		for _, name := range c.Paths {
			o.Paths = append(o.Paths, clean(name))
		}
		rep, err := s.Restore(a.ctx, c.To, o)
		p.end()
		if rep == nil {
			return err
		}
		if a.JSON {
			a.line(map[string]any{
				"type": "restored", "files": rep.Files, "folders": rep.Folders, "others": rep.Others, "bytes": rep.Bytes,
				"written": rep.BytesWritten, "identical": rep.Identical, "problems": rep.Problems,
			})
		} else {
			fmt.Fprintf(a.stdout, "restored %d files, %s; %s written\n", rep.Files, size(rep.Bytes), size(rep.BytesWritten))
		}
		if s.Outcome() == backup.Incomplete { // restored as it is, which is not all that there was
			fmt.Fprintf(a.stderr, "carekeep: the snapshot is incomplete: it lacks %d of what was to be backed up\n", s.Stats().Problems)
		}
		return err
	})
}

type checkCmd struct {
	ReadAll bool `help:"Read, decrypt and verify every byte."`
}

func (c *checkCmd) Run(a *app) error {
	p := a.progress()
	return a.with(p.event, func(r *backup.Repository, _ *blob.Bucket) error { return c.check(a, p, r) })
}

func (c *checkCmd) check(a *app, p *meter, r *backup.Repository) error {
	rep, err := r.Check(a.ctx, &backup.CheckOptions{ReadAll: c.ReadAll})
	p.end()
	if rep == nil {
		return err
	}
	for _, f := range rep.Findings {
		if a.JSON {
			a.line(map[string]any{"type": "finding", "kind": f.Kind.String(), "object": f.Object, "snapshot": f.Snapshot, "path": f.Path, "error": f.Detail})
		} else {
			fmt.Fprintln(a.stderr, findingText(f))
		}
	}
	if a.JSON {
		a.line(map[string]any{"type": "checked", "snapshots": rep.Snapshots, "objects": rep.Objects, "packs": rep.Packs, "chunks": rep.Chunks, "bytes": rep.Bytes, "findings": rep.Total, "accepted": rep.Accepted})
	} else {
		fmt.Fprintf(a.stdout, "checked %d snapshots, %d objects, %s read: %d findings\n", rep.Snapshots, rep.Objects, size(rep.Bytes), rep.Total)
		if rep.Accepted > 0 {
			fmt.Fprintf(a.stdout, "lost, as was accepted: %s of the commit log\n", entries(rep.Accepted))
		}
	}
	return err
}

func findingText(f backup.Finding) string {
	s := f.Kind.String()
	if f.Object != "" {
		s += ": object " + f.Object
	}
	if f.Snapshot != "" {
		s += ": snapshot " + f.Snapshot[:min(12, len(f.Snapshot))]
	}
	if f.Path != "" {
		s += ": " + show(path.Clean(f.Path))
	}
	if f.Detail != "" {
		s += ": " + f.Detail
	}
	return s
}
