package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/probe"
	"github.com/carekeep/carekeep/residency/probe/azureprobe"
	"github.com/carekeep/carekeep/residency/probe/gcsprobe"
	"github.com/carekeep/carekeep/residency/probe/s3probe"
	"github.com/carekeep/carekeep/residency/router"
)

// sitesFile is the form of the file of --sites: whose data it is, and where its copies may be and shall be.
type sitesFile struct {
	Practice  string            `json:"practice,omitempty"` // as the register of locations names it
	Subject   residency.Subject `json:"subject"`
	Placement placement         `json:"placement,omitzero"`
	Home      string            `json:"home,omitempty"` // which site decides at first; the sites remember it
	Sites     []siteEntry       `json:"sites"`
	// Rules are files of rules beside those that ship. Enable names rules that are not confirmed, for somebody who
	// has read their text; WithoutGuidance names guidance that is not followed.
	Rules           []string    `json:"rules,omitempty"`
	Enable          []string    `json:"enable,omitempty"`
	WithoutGuidance []string    `json:"withoutGuidance,omitempty"`
	Overrides       []exception `json:"overrides,omitempty"`
	// Rehearsals are empty places for exit drills; nothing else is written there.
	Rehearsals []siteEntry `json:"rehearsals,omitempty"`
}

// placement is a [router.Placement].
type placement struct {
	Copies       int  `json:"copies,omitempty"`
	MustReach    int  `json:"mustReach,omitempty"`
	Operators    int  `json:"operators,omitempty"`
	Subdivisions int  `json:"subdivisions,omitempty"`
	Offsite      int  `json:"offsite,omitempty"`
	KeysOutside  bool `json:"keysOutside,omitempty"`
}

// siteEntry is a site: its bucket, and what is known of the place.
type siteEntry struct {
	Name      string             `json:"name"`
	Bucket    string             `json:"bucket"` // a URL, or a folder, from the folder of the file
	Operator  string             `json:"operator,omitempty"`
	Onsite    bool               `json:"onsite,omitempty"`
	Removable bool               `json:"removable,omitempty"`
	ReadOnly  bool               `json:"readOnly,omitempty"`
	Timeout   age                `json:"timeout,omitempty"`
	Location  residency.Location `json:"location"`
	Exposure  residency.Exposure `json:"exposure,omitzero"`
	Custody   residency.Custody  `json:"custody,omitzero"`
	Papers    []residency.Paper  `json:"papers,omitempty"`
}

func (s *siteEntry) target() residency.Target {
	return residency.Target{Location: s.Location, Exposure: s.Exposure, Custody: s.Custody, Papers: s.Papers}
}

// exception is an override at a site.
type exception struct {
	Site   string    `json:"site"`
	ID     string    `json:"id"`
	Person string    `json:"person"`
	Reason string    `json:"reason"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	Write  bool      `json:"write,omitempty"`
}

// sites are the sites of --sites at work.
type sites struct {
	sitesFile
	rules   *residency.Ruleset
	buckets []*blob.Bucket // of the sites, in their order
	router  *router.Router
	trail   *trail
}

// readSites reads the file and its rules. What is wrong with them is a wrong call.
func (a *app) readSites() (*sites, error) {
	if a.Sites == "" {
		return nil, usageError{errors.New("which sites? name their file with --sites or CAREKEEP_SITES")}
	}
	data, err := os.ReadFile(a.Sites)
	if err != nil {
		return nil, usageError{err}
	}
	s := &sites{}
	if err := decode(data, &s.sitesFile); err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", show(a.Sites), err)}
	}
	if len(s.Sites) == 0 {
		return nil, usageError{fmt.Errorf("%s: it has no sites", show(a.Sites))}
	}
	for _, o := range s.Overrides {
		if _, err := s.site(o.Site); err != nil {
			return nil, usageError{fmt.Errorf("%s: the override %q: %w", show(a.Sites), o.ID, err)}
		}
	}
	if s.rules, err = s.ruleset(filepath.Dir(a.Sites)); err != nil {
		return nil, usageError{err}
	}
	for _, list := range [][]siteEntry{s.Sites, s.Rehearsals} {
		for i := range list {
			if b := &list[i].Bucket; !isURL(*b) && !filepath.IsAbs(*b) {
				*b = filepath.Join(filepath.Dir(a.Sites), filepath.FromSlash(*b))
			}
		}
	}
	return s, nil
}

// ruleset is the rules that ship, with what the file adds and leaves out.
func (s *sites) ruleset(dir string) (*residency.Ruleset, error) {
	rules, err := residency.Rules()
	if err != nil {
		return nil, err
	}
	for _, name := range s.Rules {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, filepath.FromSlash(name))
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if rules, err = rules.With(residency.RuleFile{Name: filepath.Base(name), Data: data}); err != nil {
			return nil, err
		}
	}
	if rules, err = rules.Enable(s.Enable...); err != nil {
		return nil, err
	}
	return rules.WithoutGuidance(s.WithoutGuidance...)
}

// site finds a site by its name.
func (s *sites) site(name string) (*siteEntry, error) {
	for i := range s.Sites {
		if s.Sites[i].Name == name {
			return &s.Sites[i], nil
		}
	}
	return nil, usageError{fmt.Errorf("the file of sites has no site %q", name)}
}

func (o *exception) override() *residency.Override {
	return &residency.Override{ID: o.ID, Person: o.Person, Reason: o.Reason, From: o.From, Until: o.Until, Write: o.Write}
}

// override is the exception of a site: the one that holds now, else the next to begin, else the last that ended;
// nil if it has none.
func (s *sites) override(site string, now time.Time) *residency.Override {
	var next, last *exception
	for i := range s.Overrides {
		switch o := &s.Overrides[i]; {
		case o.Site != site:
		case now.Before(o.From):
			if next == nil || o.From.Before(next.From) {
				next = o
			}
		case now.Before(o.Until):
			return o.override()
		case last == nil || o.Until.After(last.Until):
			last = o
		}
	}
	if o := cmp.Or(next, last); o != nil {
		return o.override()
	}
	return nil
}

// request asks whether data may be written to a site.
func (s *sites) request(e *siteEntry, now time.Time) residency.Request {
	return residency.Request{Subject: s.Subject, Target: e.target(), Override: s.override(e.Name, now)}
}

// routed opens the sites of --sites as one bucket.
func (a *app) routed(create bool) (*blob.Bucket, error) {
	s, err := a.openSites(func(string) bool { return create })
	if err != nil {
		return nil, err
	}
	return s.router.Bucket(), nil
}

// openSites makes a router of the sites, once. It makes the folders that are missing of the sites for which creates
// says so; nil makes none.
func (a *app) openSites(creates func(site string) bool) (*sites, error) {
	if a.routes != nil {
		return a.routes, nil
	}
	s, err := a.readSites()
	if err != nil {
		return nil, err
	}
	given, err := a.openBuckets(s, creates)
	if err != nil {
		return nil, err
	}
	if s.trail, err = a.openTrail(s); err != nil {
		return nil, err
	}
	p := s.Placement
	o := &router.Options{
		Placement: router.Placement{Copies: p.Copies, MustReach: p.MustReach, Operators: p.Operators,
			Subdivisions: p.Subdivisions, Offsite: p.Offsite, KeysOutside: p.KeysOutside},
		Home: s.Home, Now: a.now, Evidence: s.trail.record, Overrides: map[string]residency.Override{},
	}
	for _, e := range s.Overrides {
		o.Overrides[e.Site] = *s.override(e.Site, a.now())
	}
	if s.router, err = router.Open(a.ctx, s.rules, s.Subject, given, o); err != nil {
		return nil, err
	}
	a.atEnd(func() error { return s.router.Close(context.WithoutCancel(a.ctx)) })
	a.routes = s
	a.warn(s)
	return s, nil
}

// openBuckets opens the bucket of each site. A folder that is missing and not to be made is a site that is away.
func (a *app) openBuckets(s *sites, creates func(site string) bool) ([]router.Site, error) {
	var given []router.Site
	for i := range s.Sites {
		e := &s.Sites[i]
		site, err := a.openEntry(e, creates != nil && creates(e.Name))
		if err != nil {
			return nil, err
		}
		s.buckets = append(s.buckets, site.Bucket)
		given = append(given, site)
	}
	return given, nil
}

func (a *app) openEntry(e *siteEntry, create bool) (router.Site, error) {
	b, err := a.openBucket(e.Bucket, create)
	switch {
	case errors.Is(err, os.ErrNotExist):
		fmt.Fprintf(a.stderr, "carekeep: site %s: its folder does not exist: is the disk connected?\n", e.Name)
		b = awayBucket()
	case err != nil:
		return router.Site{}, fmt.Errorf("site %s: %w", e.Name, err)
	}
	a.atEnd(b.Close)
	return router.Site{Name: e.Name, Bucket: b, Target: e.target(), Operator: e.Operator, Onsite: e.Onsite,
		Removable: e.Removable, ReadOnly: e.ReadOnly, Timeout: time.Duration(e.Timeout), Probe: e.probe(a.now)}, nil
}

// prober asks the provider of a URL where the bucket is; nil for a folder, which nobody can ask.
func prober(bucket string, now func() time.Time) probe.Prober {
	scheme, _, _ := strings.Cut(bucket, "://")
	switch scheme {
	case "s3":
		return s3probe.New(&s3probe.Options{Now: now})
	case "gs":
		return gcsprobe.New(&gcsprobe.Options{Now: now})
	case "azblob":
		return azureprobe.New(&azureprobe.Options{Now: now})
	}
	return nil
}

// probe looks where the bucket of a site is, in the form that a router asks for; nil for a folder.
func (e *siteEntry) probe(now func() time.Time) func(context.Context, *blob.Bucket) (probe.Observation, error) {
	p := prober(e.Bucket, now)
	if p == nil {
		return nil
	}
	return func(ctx context.Context, b *blob.Bucket) (probe.Observation, error) {
		return p.Probe(ctx, b, probe.Ref{URL: e.Bucket})
	}
}
