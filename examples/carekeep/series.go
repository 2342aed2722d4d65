package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/backup"
)

// series are the options that say which snapshots are meant, where several hosts or paths share a repository.
type series struct {
	Host  string            `help:"Only snapshots of this host: latest is the newest of them." placeholder:"HOST"`
	Name  string            `help:"Only snapshots of this name, as the command snapshots shows it after the host: the path, unless the backup was given another." placeholder:"NAME"`
	Label map[string]string `help:"Only snapshots with this label; may be repeated." placeholder:"K=V" mapsep:"none"`
}

func (c *series) given() bool { return c.Host != "" || c.Name != "" || len(c.Label) > 0 }

func (c *series) has(s *backup.Snapshot) bool {
	if c.Host != "" && c.Host != s.Host() || c.Name != "" && c.Name != s.Name() && c.Name != show(s.Name()) {
		return false
	}
	labels := s.Labels()
	for k, v := range c.Label {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// each calls f for the snapshots meant, the oldest first. That there are none is an error, which says what there is, if
// the options are to blame.
func (c *series) each(a *app, r *backup.Repository, f func(*backup.Snapshot)) error {
	var others []string
	found := false
	for s, err := range r.Snapshots(a.ctx) {
		if err != nil {
			return err
		}
		if c.has(s) {
			found = true
			f(s)
		} else if line := c.line(s); !found && !slices.Contains(others, line) {
			others = append(others, line)
		}
	}
	if found || len(others) == 0 {
		return nil
	}
	const most = 50
	if n := len(others) - most; n > 0 {
		others = append(others[:most], fmt.Sprintf("and %d more", n))
	}
	return fmt.Errorf("%w as --host, --name and --label want it; there are those of\n  %s", backup.ErrNoSnapshot, strings.Join(others, "\n  "))
}

// line shows the series that a snapshot is of, and its labels if those were asked for.
func (c *series) line(s *backup.Snapshot) string {
	line := "--host " + show(s.Host()) + " --name " + show(s.Name())
	if labels := s.Labels(); len(c.Label) > 0 {
		for _, k := range sortedKeys(labels) {
			line += " --label " + show(k+"="+labels[k])
		}
	}
	return line
}

// open opens a snapshot by its id, or the latest of those meant.
func (c *series) open(a *app, r *backup.Repository, id string) (*backup.Snapshot, error) {
	if id != backup.Latest || !c.given() {
		return r.Snapshot(a.ctx, id)
	}
	var latest *backup.Snapshot
	if err := c.each(a, r, func(s *backup.Snapshot) { latest = s }); err != nil {
		return nil, err
	}
	if latest == nil {
		return r.Snapshot(a.ctx, id) // which says that there is none at all
	}
	return latest, nil
}
