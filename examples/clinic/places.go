package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/register"
	"github.com/carekeep/carekeep/residency/router"
)

// subject is whose data it is: a practice in New South Wales.
var subject = residency.Subject{Class: residency.Identifiable, Origins: []residency.Place{"AU-NSW"}}

// lawDay is the day whose law is asked for, on which the rules that ship had been read. A practice asks for today's, and
// replaces rules that nobody has looked at for long.
var lawDay = time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)

// The sites. The folders of the last three stand for buckets of hosters.
const (
	office    = "office"
	sydney    = "sydney"
	melbourne = "melbourne"
	oregon    = "oregon"
)

// wanted is what the practice asks for: a copy at every site; at two at least, of two operators, one of them offsite, before
// a write counts.
var wanted = router.Placement{MustReach: 2, Operators: 2, Offsite: 1}

// place is what the practice knows of a site.
func place(name string) router.Site {
	custody := residency.Custody{Holder: residency.CustomerHeld, Places: subject.Origins}
	hosted := func(where, country residency.Place, operator string) router.Site {
		return router.Site{Name: name, Operator: operator, Target: residency.Target{Custody: custody,
			Location: residency.Location{Places: []residency.Place{where}}, Exposure: residency.Exposure{Operator: country, Parent: country},
			Papers: []residency.Paper{{Kind: residency.PaperLocation, Scope: []string{string(where)}}}}}
	}
	switch name {
	case office:
		return router.Site{Name: name, Onsite: true, Target: residency.Target{Custody: custody,
			Location: residency.Location{Places: subject.Origins}}}
	case sydney:
		return hosted("AU-NSW", "AU", "Harbour Hosting")
	case melbourne:
		return hosted("AU-VIC", "AU", "Yarra Cloud")
	}
	s := hosted("US-OR", "US", "Cheap Buckets")
	for _, kind := range []string{"au-similar-protection", "patient-consent", "compatible-privacy-law"} {
		s.Target.Papers = append(s.Target.Papers, residency.Paper{Kind: kind, Refuted: true}) // the practice looked, and has none
	}
	return s
}

// openSites makes one bucket of sites.
func (c *clinic) openSites(ctx context.Context, p router.Placement, names ...string) (err error) {
	if c.rules == nil {
		if c.rules, err = residency.Rules(); err != nil {
			return err
		}
	}
	var sites []router.Site
	for _, name := range names {
		b, err := dirblob.OpenBucket(c.site(name), &dirblob.Options{CreateDir: true})
		if err != nil {
			return err
		}
		c.buckets = append(c.buckets, b)
		s := place(name)
		s.Bucket = b
		sites = append(sites, s)
	}
	c.router, err = router.Open(ctx, c.rules, subject, sites, &router.Options{Placement: p, Now: func() time.Time { return lawDay }})
	return err
}

// site is the folder of a site.
func (c *clinic) site(name string) string { return filepath.Join(c.places, name) }

// closeSites lets go of the sites.
func (c *clinic) closeSites(ctx context.Context) error {
	var errs []error
	if c.router != nil {
		errs = append(errs, c.router.Close(ctx))
	}
	for _, b := range c.buckets {
		errs = append(errs, b.Close())
	}
	c.router, c.buckets = nil, nil
	return errors.Join(errs...)
}

// askForOregon tries to keep the copies where it is cheapest.
func (c *clinic) askForOregon(ctx context.Context) (string, error) {
	if err := c.openSites(ctx, router.Placement{}, oregon); err != nil {
		return "", err
	}
	err := c.router.Bucket().WriteAll(ctx, "try", []byte("what the rules do not let there"), nil)
	if !errors.As(err, &c.refusal) {
		return "", errors.Join(errors.New("a write that should have been refused was not"), err, c.closeSites(ctx))
	}
	n, _, err := tally(ctx, c.buckets[0])
	if err == nil && n != 0 {
		err = errors.New("a refused write was written all the same")
	}
	return "refused, and nothing was written; the reasons are below", errors.Join(err, c.closeSites(ctx))
}

// tally counts what a site holds, without the router's own records.
func tally(ctx context.Context, b *blob.Bucket) (objects, bytes int64, err error) {
	for it := b.List(nil); ; {
		o, err := it.Next(ctx)
		if err == io.EOF {
			return objects, bytes, nil
		}
		if err != nil {
			return 0, 0, err
		}
		if !strings.HasPrefix(o.Key, ".router/") {
			objects, bytes = objects+1, bytes+o.Size
		}
	}
}

// newOffice puts an empty disk where the burnt one was. Another site decides now, and the disk gets its copies.
func (c *clinic) newOffice(ctx context.Context) (string, error) {
	if err := c.openSites(ctx, wanted, sydney, melbourne, office); err != nil {
		return "", err
	}
	rep, err := c.router.Promote(ctx, router.Promotion{Home: sydney, Person: "Dr Ada", Cause: evidence.CauseOutage})
	if err != nil {
		return "", err
	}
	got := rep.Sites[office].Bytes
	if rep, err = c.router.Reconcile(ctx, nil); err != nil {
		return "", err
	}
	return fmt.Sprintf("the new disk at the office got %s from the other sites", size(got+rep.Sites[office].Bytes)), nil
}

// compareSites reads every copy at every site.
func (c *clinic) compareSites(ctx context.Context) (string, error) {
	rep, err := c.router.Reconcile(ctx, &router.ReconcileOptions{Deep: true})
	if err != nil {
		return "", err
	}
	c.alike = rep.UndecidedCount == 0
	for _, s := range rep.Sites {
		c.alike = c.alike && !s.Absent && s.Missing+s.Wrong+s.Failed == 0
	}
	return fmt.Sprintf("%s objects at %d sites, %s read; all alike: %s", number(rep.Keys), len(c.buckets), size(rep.Compared), yes(c.alike)), nil
}

// writeRegister writes the page that says where the data is.
func (c *clinic) writeRegister(ctx context.Context) (string, error) {
	st, err := c.router.Status(ctx)
	if err != nil {
		return "", err
	}
	r := register.Register{Practice: "Sample practice", At: lawDay, Subject: subject, Ruleset: c.rules.Digest(),
		Encryption: "AES-256-GCM, before it leaves the practice",
		Wanted:     register.Wanted{Copies: len(st.Sites), MustReach: wanted.MustReach, Operators: wanted.Operators, Offsite: wanted.Offsite}}
	for i, v := range st.Sites {
		known := place(v.Name)
		s := register.Site{Name: v.Name, Home: v.Name == st.Home, Onsite: known.Onsite, Operator: known.Operator, Target: known.Target,
			Decision: v.Decision, Counted: lawDay}
		if s.Objects, s.Bytes, err = tally(ctx, c.buckets[i]); err != nil {
			return "", err
		}
		r.Sites = append(r.Sites, s)
	}
	var page bytes.Buffer
	if err := register.WriteHTML(&page, r); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d sites in register.html, a page to print", len(r.Sites)),
		os.WriteFile(filepath.Join(filepath.Dir(c.folder), "register.html"), page.Bytes(), 0o600)
}

// reasons are those why a place was refused, in lines.
func (c *clinic) reasons() (lines []string) {
	if c.refusal == nil {
		return nil
	}
	for _, r := range c.refusal.Decisions[oregon].Reasons {
		if r.Verdict != residency.Allowed {
			lines = append(lines, r.Text+" ("+r.Ref+")")
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}
