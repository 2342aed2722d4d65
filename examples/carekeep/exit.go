package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/residency/router"
)

type exitCmd struct {
	Plan  exitPlanCmd  `cmd:"" help:"Show what it would take to leave a site."`
	Drill exitDrillCmd `cmd:"" help:"Rehearse it: bring everything out of a site, and restore from that alone."`
}

type exitPlanCmd struct {
	Site string `arg:"" help:"The site to leave."`
}

func (c *exitPlanCmd) Run(a *app) error {
	s, err := a.openSites(nil)
	if err != nil {
		return err
	}
	p, err := s.router.PlanExit(a.ctx, c.Site)
	if err != nil {
		return err
	}
	if a.JSON {
		a.line(struct {
			Type string `json:"type"`
			*router.ExitPlan
		}{"exit-plan", p})
		return nil
	}
	for _, w := range p.Where {
		if w.Site == c.Site {
			fmt.Fprintf(a.stdout, "%s holds %s, %s\n", w.Site, count(w.Objects, "object"), size(w.Bytes))
		}
	}
	if len(p.Lacks) == 0 {
		fmt.Fprintln(a.stdout, "the others are enough: carekeep sites migrate --from", c.Site)
	} else {
		fmt.Fprintf(a.stdout, "without it the others do not give %s\n", join(p.Lacks))
	}
	for _, t := range p.Targets {
		word := "may not hold the data"
		switch {
		case t.Suffices:
			word = "can stand in for it"
		case t.Lawful:
			word = "may hold the data, and is not enough"
		}
		fmt.Fprintf(a.stdout, "%-12s  %s\n", t.Site, word)
		for _, m := range t.Missing {
			fmt.Fprintf(a.stdout, "  missing  %s, for %s\n", plain(m.Fact), m.Rule)
		}
	}
	return nil
}

type exitDrillCmd struct {
	Site string `arg:"" help:"The site to bring everything out of."`
	At   string `help:"Which of the file's rehearsal sites it is brought to; it has to be empty, and is emptied again." required:"" placeholder:"NAME"`
	Rate string `help:"Limit what is read, bytes per second (suffixes k, M, G)." placeholder:"RATE"`
}

func (c *exitDrillCmd) Help() string {
	return `The newest snapshot is restored from the copy into a temporary folder, which is removed. It takes the password.`
}

func (c *exitDrillCmd) Run(a *app) error {
	limit, err := rate(c.Rate)
	if err != nil {
		return usageError{err}
	}
	s, err := a.openSites(nil)
	if err != nil {
		return err
	}
	for i := range s.Rehearsals {
		if s.Rehearsals[i].Name == c.At {
			return c.drill(a, s, &s.Rehearsals[i], int(min(limit, 1<<30)))
		}
	}
	return usageError{fmt.Errorf("the file of sites has no rehearsal site %q", c.At)}
}

func (c *exitDrillCmd) drill(a *app, s *sites, at *siteEntry, limit int) error {
	password, given := os.LookupEnv("CAREKEEP_PASSWORD")
	if !given {
		var err error
		if password, err = a.ask("Password: "); err != nil {
			return err
		}
	}
	to, err := a.openEntry(at, true)
	if err != nil {
		return err
	}
	rep, err := s.router.Drill(a.ctx, c.Site, to, &router.DrillOptions{BytesPerSecond: limit,
		Restore: func(ctx context.Context, b *blob.Bucket) error { return restoreNewest(ctx, b, password) }})
	if rep == nil {
		return err
	}
	if a.JSON {
		a.line(struct {
			Type string `json:"type"`
			*router.DrillReport
		}{"drill", rep})
		return err
	}
	fmt.Fprintf(a.stdout, "brought out of %s: %s, %s, in %s\n", rep.Site, count(rep.Objects, "object"), size(rep.Bytes), rep.Copying.Round(time.Millisecond))
	if rep.Restored {
		fmt.Fprintf(a.stdout, "restored from that alone in %s\n", rep.Restoring.Round(time.Millisecond))
	}
	return err
}

// restoreNewest restores the newest snapshot of a bucket, to see that it can be done.
func restoreNewest(ctx context.Context, b *blob.Bucket, password string) (err error) {
	r, err := backup.Open(ctx, b, backup.Password(password), &backup.Options{Stateless: true})
	if err != nil {
		return err
	}
	defer r.Close()
	snap, err := r.Snapshot(ctx, "latest")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "carekeep-drill-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if _, err = snap.Restore(ctx, dir, nil); errors.Is(err, backup.ErrIncomplete) {
		err = fmt.Errorf("%v", err) // a drill that brings back a part has failed
	}
	return err
}
