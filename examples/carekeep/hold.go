package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/rotation"
)

type holdCmd struct {
	List    holdListCmd    `cmd:"" help:"List the holds, ended ones included."`
	Place   holdPlaceCmd   `cmd:"" help:"Keep snapshots, whatever policies say."`
	Release holdReleaseCmd `cmd:"" help:"Consent to end a hold. It ends when two people have."`
}

type holdListCmd struct{}

func (c *holdListCmd) Run(a *app) error {
	return a.withHolds(func(_ *backup.Repository, holds []rotation.Hold) error {
		for _, h := range holds {
			a.hold(h)
		}
		return nil
	})
}

// withHolds opens the repository for a command about its holds.
func (a *app) withHolds(f func(*backup.Repository, []rotation.Hold) error) error {
	return a.with(nil, func(r *backup.Repository, _ *blob.Bucket) error {
		holds, err := r.Holds(a.ctx)
		if err != nil {
			return err
		}
		return f(r, holds)
	})
}

func (a *app) hold(h rotation.Hold) {
	if a.JSON {
		a.line(struct {
			Type   string `json:"type"`
			Stands bool   `json:"stands"`
			rotation.Hold
		}{"hold", h.Stands(), h})
		return
	}
	state := "stands"
	if !h.Stands() {
		state = "ended"
	}
	fmt.Fprintf(a.stdout, "%s  %s  placed %s by %s  covers %s", show(string(h.ID)), state, h.Placed.Format("2006-01-02"), show(h.PlacedBy), scope(h.Scope))
	if h.Matter != "" {
		fmt.Fprintf(a.stdout, "  for %s", show(h.Matter))
	}
	for _, x := range h.Releases {
		fmt.Fprintf(a.stdout, "  released %s by %s", x.At.Format("2006-01-02"), show(x.By))
	}
	fmt.Fprintln(a.stdout)
}

// scope says in words what a hold covers.
func scope(s rotation.Scope) string {
	var parts []string
	if s.Lineage != "" {
		parts = append(parts, "lineage "+show(s.Lineage))
	}
	if s.Class != "" {
		parts = append(parts, "class "+show(s.Class))
	}
	if !s.From.IsZero() {
		parts = append(parts, "days from "+s.From.String())
	}
	if !s.To.IsZero() {
		parts = append(parts, "days to "+s.To.String())
	}
	if n := len(s.Points); n > 0 {
		parts = append(parts, count(n, "snapshot"))
	}
	if len(parts) == 0 {
		return "every snapshot"
	}
	return strings.Join(parts, ", ")
}

type holdPlaceCmd struct {
	ID        string       `arg:"" help:"Name of the hold, such as H-7. It stands in plans: name no patient."`
	By        string       `help:"Who places it." required:"" placeholder:"NAME"`
	Matter    string       `help:"Why, such as a court's reference. Only readers of the repository see it." placeholder:"TEXT"`
	Lineage   string       `help:"Only snapshots of this series, host:name or the label lineage." placeholder:"NAME"`
	From      rotation.Day `help:"Only those of this day and later." placeholder:"DAY"`
	To        rotation.Day `help:"Only those of this day and earlier." placeholder:"DAY"`
	Snapshots []string     `name:"snapshot" help:"Only this one, by id or the beginning of one; may be repeated." placeholder:"ID"`
}

func (c *holdPlaceCmd) Help() string {
	return "The hold covers what meets every option that is given, snapshots to come included; without any, everything."
}

func (c *holdPlaceCmd) Run(a *app) error {
	return a.withHolds(func(r *backup.Repository, holds []rotation.Hold) error { return c.place(a, r, holds) })
}

func (c *holdPlaceCmd) place(a *app, r *backup.Repository, holds []rotation.Hold) error {
	if slices.ContainsFunc(holds, func(h rotation.Hold) bool { return string(h.ID) == c.ID }) {
		return usageError{errors.New("there is a hold of that name: choose another")}
	}
	h := rotation.Hold{
		ID: rotation.HoldID(c.ID), Matter: c.Matter, PlacedBy: c.By, Placed: time.Now().UTC().Truncate(time.Second),
		Scope: rotation.Scope{Lineage: c.Lineage, From: c.From, To: c.To},
	}
	for _, id := range c.Snapshots {
		s, err := r.Snapshot(a.ctx, id)
		if err != nil {
			return err
		}
		h.Scope.Points = append(h.Scope.Points, rotation.PointID(s.ID()))
	}
	if err := r.Hold(a.ctx, h); err != nil {
		return err
	}
	a.hold(h)
	return nil
}

type holdReleaseCmd struct {
	ID string `arg:"" help:"Name of the hold."`
	By string `help:"Who consents." required:"" placeholder:"NAME"`
}

func (c *holdReleaseCmd) Run(a *app) error {
	return a.withHolds(func(r *backup.Repository, holds []rotation.Hold) error { return c.release(a, r, holds) })
}

func (c *holdReleaseCmd) release(a *app, r *backup.Repository, holds []rotation.Hold) error {
	i := slices.IndexFunc(holds, func(h rotation.Hold) bool { return string(h.ID) == c.ID })
	if i < 0 {
		return errors.New("there is no hold of that name")
	}
	h := holds[i]
	if !h.Stands() {
		return errors.New("the hold has ended already")
	}
	first := len(h.Releases) == 0
	h.Releases = append(slices.Clone(h.Releases), rotation.Approval{By: c.By, At: time.Now().UTC().Truncate(time.Second)})
	if !first && h.Stands() {
		return errors.New("the same person has released it already: a second one has to")
	}
	if err := r.Hold(a.ctx, h); err != nil {
		return err
	}
	a.hold(h)
	return nil
}
