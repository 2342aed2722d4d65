package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/router"
)

type migrateCmd struct {
	From    string         `help:"The site that the data leaves for good." placeholder:"SITE"`
	To      []string       `help:"A site that gets what it has; without one those that remain take over. May be repeated." placeholder:"SITE"`
	Promote string         `help:"The site that decides from then on, where the one that does is left." placeholder:"SITE"`
	Person  string         `help:"Who answers for it." placeholder:"NAME"`
	Cause   evidence.Cause `help:"Why: ${enum}." enum:",${causes}" default:""`
	Rate    string         `help:"Limit what is read, bytes per second (suffixes k, M, G)." placeholder:"RATE"`
	DryRun  bool           `help:"Show the plan, and change nothing." xor:"do"`
	Resume  bool           `help:"Go on with a migration that was interrupted, and delete what a store would not let go earlier." xor:"do"`
	NoLocks bool           `help:"Do not ask the store which objects it has locked."`
}

func (c *migrateCmd) Help() string {
	return `Everything is copied, every copy is read and compared, and only then is anything deleted; others may write meanwhile. A new
site is added to the file of sites first, for every host that writes. If it is interrupted, --resume goes on.

What the store has locked stays until its date, and the exit status is 3; run --resume after that date.`
}

func (c *migrateCmd) Run(a *app) error {
	limit, err := rate(c.Rate)
	if err != nil {
		return usageError{err}
	}
	if !c.Resume && (c.From == "" || c.Person == "" || c.Cause == "") {
		return usageError{errors.New("a migration needs --from, --person and --cause; or --resume")}
	}
	s, err := a.openSites(c.creates)
	if err != nil {
		return err
	}
	o := &router.MigrateOptions{BytesPerSecond: int(min(limit, 1<<30))}
	if !c.NoLocks {
		if o.LockedUntil, err = a.siteLocks(s); err != nil {
			return err
		}
	}
	if c.Resume {
		reports, err := s.router.ResumeMigrations(a.ctx, o)
		for _, r := range reports {
			a.migrated(r)
		}
		if len(reports) == 0 && err == nil && !a.JSON {
			fmt.Fprintln(a.stdout, "no migration is under way")
		}
		return residue(err)
	}
	plan, err := s.router.PlanMigration(a.ctx, router.Migration{From: c.From, To: c.To, Promote: c.Promote, Person: c.Person, Cause: c.Cause})
	if err != nil {
		return err
	}
	a.migrationPlan(plan)
	if c.DryRun {
		return nil
	}
	r, err := s.router.Migrate(a.ctx, plan, o)
	a.migrated(r)
	return residue(err)
}

// creates reports whether a site's folder is made where it is missing: only where the data goes to. A disk that is
// not connected would be taken for one that has lost everything.
func (c *migrateCmd) creates(site string) bool {
	return !c.DryRun && !c.Resume && slices.Contains(c.To, site)
}

// residueError is a migration that is complete but for what a store has locked.
type residueError struct{ error }

func (e residueError) Unwrap() error { return e.error }

// residue tells objects that stay behind from a failure.
func residue(err error) error {
	if errors.As(err, new(*router.ResidueError)) {
		return residueError{err}
	}
	return err
}

func (a *app) migrationPlan(p *router.MigrationPlan) {
	if a.JSON {
		a.line(struct {
			Type string `json:"type"`
			*router.MigrationPlan
		}{"migration-plan", p})
		return
	}
	held := fmt.Sprintf("%s, %s", count(p.Objects, "object"), size(p.Bytes))
	if p.Unreachable {
		held = "what it has is not known, as it does not answer; the others' copies are used"
	}
	fmt.Fprintf(a.stdout, "from %s: %s; the sites are then %s\n", p.From, held, join(p.Keeps))
	if p.Promote != "" {
		fmt.Fprintf(a.stdout, "%s will decide\n", p.Promote)
	}
}

func (a *app) migrated(r *router.MigrationReport) {
	if r == nil {
		return
	}
	if a.JSON {
		a.line(struct {
			Type string `json:"type"`
			*router.MigrationReport
		}{"migrated", r})
		return
	}
	fmt.Fprintf(a.stdout, "from %s: %s compared, %d copied (%s), %d deleted\n", r.From, count(r.Checked, "object"), r.Copied, size(r.Bytes), r.Deleted)
	if r.Kept > 0 {
		fmt.Fprintf(a.stdout, "%s stay there, because too few copies elsewhere are known to be right\n", count(r.Kept, "object"))
	}
	if l := r.Locked; l.Objects > 0 {
		fmt.Fprintf(a.stdout, "locked by the store: %s, %s", count(l.Objects, "object"), size(l.Bytes))
		if !l.Until.IsZero() {
			fmt.Fprintf(a.stdout, ", until %s", l.Until.UTC().Format("2006-01-02 15:04 UTC"))
		}
		fmt.Fprintln(a.stdout)
	}
	if p := r.Proof; p != nil {
		fmt.Fprintf(a.stdout, "proof: %s, %s, digest %s\n", count(p.Objects, "object"), size(p.Bytes), p.Digest)
	}
}

// siteLocks returns how the stores of the sites are asked for their locks; nil if none has any.
func (a *app) siteLocks(s *sites) (func(context.Context, *blob.Bucket, string) (time.Time, bool, error), error) {
	ask := map[*blob.Bucket]func(context.Context, string) (time.Time, error){}
	for i, b := range s.buckets {
		until, versions, err := a.locksAt(b, s.Sites[i].Bucket)
		if err != nil {
			return nil, fmt.Errorf("site %s: %w", s.Sites[i].Name, err)
		}
		if versions {
			fmt.Fprintf(a.stderr, "carekeep: site %s keeps old versions of what is deleted: its lifecycle rule has to remove them\n", s.Sites[i].Name)
		}
		if until != nil {
			ask[b] = until
		}
	}
	if len(ask) == 0 {
		return nil, nil
	}
	return func(ctx context.Context, b *blob.Bucket, key string) (time.Time, bool, error) {
		if ask[b] == nil {
			return time.Time{}, false, nil
		}
		until, err := ask[b](ctx, key)
		locked := until.After(time.Now())
		if until.Equal(noEnd) { // a hold: nobody knows until when
			until = time.Time{}
		}
		return until, locked, err
	}, nil
}
