package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/router"
)

// sitesCmd are the commands about the sites of --sites.
type sitesCmd struct {
	Status     statusCmd     `cmd:"" help:"Show how the sites stand, what they owe, and what ends soon."`
	Decide     decideCmd     `cmd:"" help:"Ask the rules which sites may hold the data, and why."`
	Reconcile  reconcileCmd  `cmd:"" help:"Make the sites equal: bring them what they have missed."`
	Promote    promoteCmd    `cmd:"" help:"Let another site decide what is written, when the one that does is lost."`
	Quarantine quarantineCmd `cmd:"" help:"Write nothing to a site until it is released."`
	Release    releaseCmd    `cmd:"" help:"End a quarantine."`
	Reevaluate reevaluateCmd `cmd:"" help:"Ask the rules anew about the data that the sites hold."`
	WhatIf     whatIfCmd     `cmd:"" name:"what-if" help:"Show what would follow if a rule ended, such as an adequacy decision that a court may void."`
	Migrate    migrateCmd    `cmd:"" help:"Bring everything from a site to others, and leave it."`
	Exit       exitCmd       `cmd:"" help:"Plan and rehearse to leave a site."`
	Evidence   evidenceCmd   `cmd:"" help:"Write the evidence of what was decided and done, as files that can be checked."`
	Register   registerCmd   `cmd:"" help:"Write the register of locations: where the data is, by which rules, until when."`
}

type statusCmd struct{}

func (c *statusCmd) Run(a *app) error {
	s, err := a.openSites(nil)
	if err != nil {
		return err
	}
	st, err := s.router.Status(a.ctx)
	if err != nil {
		return err
	}
	if a.JSON {
		a.line(struct {
			Type string `json:"type"`
			*router.Status
		}{"status", st})
		return nil
	}
	fmt.Fprintf(a.stdout, "%s decides, in epoch %d; a write is done when %s it\n", st.Home, st.Epoch, have(st.MustReach))
	for i := range st.Sites {
		v := &st.Sites[i]
		fmt.Fprintf(a.stdout, "%-12s  %-8s  %-14s  %s\n", v.Name, v.Standing, use(v), until(v.Decision))
	}
	say := func(n int, what, consequence string) {
		switch {
		case n < 0:
			fmt.Fprintf(a.stdout, "%s: not known, as %s does not answer\n", what, st.Home)
		case n > 0:
			fmt.Fprintf(a.stdout, "%s: %d; %s\n", what, n, consequence)
		}
	}
	say(st.Intents, "unfinished writes", "they end with the next write, or by reconcile")
	say(st.Debts, "changes that sites have missed", "carekeep sites reconcile brings them")
	for _, l := range st.Lacks {
		fmt.Fprintf(a.stdout, "writes fail: what can be written now does not give %s\n", l)
	}
	for _, w := range st.Warnings {
		fmt.Fprintln(a.stdout, warning(w))
	}
	return nil
}

func have(n int) string {
	if n == 1 {
		return "1 site has"
	}
	return fmt.Sprintf("%d sites have", n)
}

// use says what a site is good for now.
func use(v *router.SiteStatus) string {
	switch {
	case v.Quarantined:
		return "in quarantine"
	case !v.Answers:
		return "does not answer"
	case v.Writable:
		return "written to"
	case v.Readable:
		return "read only"
	}
	return "not used"
}

// until says what a decision comes to in a few words.
func until(d residency.Decision) string {
	text := d.Verdict.String()
	if len(d.Places) > 0 {
		text += " in " + join(d.Places)
	}
	if !d.Expires.IsZero() {
		text += ", asked again on " + d.Expires.Format(time.DateOnly)
		if d.ExpiresBy != "" {
			text += " (" + d.ExpiresBy + ")"
		}
	}
	return text
}

func join[T ~string](all []T) string {
	var parts []string
	for _, s := range all {
		parts = append(parts, string(s))
	}
	return strings.Join(parts, ", ")
}

// warn tells what ends within 90 days, of every command that works with the sites.
func (a *app) warn(s *sites) {
	for _, w := range s.router.Warnings(a.now()) {
		if w.Severity != "notice" {
			fmt.Fprintln(a.stderr, "carekeep:", warning(w))
		}
	}
}

func warning(w router.Warning) string {
	text := w.Severity + ": "
	if w.Site != "" {
		text += "site " + w.Site + ": "
	}
	text += plain(w.Text)
	if !w.Ends.IsZero() {
		text += " on " + w.Ends.Format(time.DateOnly)
	}
	return text
}

type decideCmd struct {
	Sites      []string      `arg:"" optional:"" name:"site" help:"Sites to ask about; all by default."`
	AsOf       residency.Day `help:"Ask for the law of this day; by default today." placeholder:"DAY"`
	Known      residency.Day `help:"Leave out what became known later than on this day." placeholder:"DAY"`
	AsDeclared bool          `help:"Ask no provider: take it that each bucket is where the file says."`
}

func (c *decideCmd) Help() string {
	return `Nothing is written. The providers are asked where their buckets are, because data about patients goes to a provider
only where its interface shows the location; --as-declared asks as if it had shown what the file says, for a bucket that
does not exist yet.

It never says that something is compliant: "allowed" means that no rule denies it. The exit status is 1 if a site that
was asked about is not allowed.`
}

func (c *decideCmd) Run(a *app) error {
	s, err := a.readSites()
	if err != nil {
		return err
	}
	asked := s.Sites
	if len(c.Sites) > 0 {
		asked = nil
		for _, name := range c.Sites {
			e, err := s.site(name)
			if err != nil {
				return err
			}
			asked = append(asked, *e)
		}
	}
	refused := 0
	for i := range asked {
		d, err := c.decide(a, s, &asked[i])
		if err != nil {
			return fmt.Errorf("site %s: %w", asked[i].Name, err)
		}
		a.decision(asked[i].Name, d, true)
		if d.Verdict != residency.Allowed {
			refused++
		}
	}
	if refused > 0 {
		return fmt.Errorf("%s of %d may not hold the data", count(refused, "site"), len(asked))
	}
	return nil
}

func (c *decideCmd) decide(a *app, s *sites, e *siteEntry) (residency.Decision, error) {
	q := s.request(e, a.now())
	q.AsOf, q.Known = c.AsOf, c.Known
	if err := c.locate(a, e, &q.Target.Location); err != nil {
		return residency.Decision{}, err
	}
	q.Now = a.now() // not before the look
	return s.rules.Decide(q)
}

// locate finds out where a site is, or takes it from the file. A provider that does not answer shows nothing.
func (c *decideCmd) locate(a *app, e *siteEntry, l *residency.Location) error {
	look := e.probe(a.now)
	switch {
	case look == nil:
		return nil
	case c.AsDeclared:
		l.Level, l.At = max(l.Level, residency.Observed), a.now()
		return nil
	}
	b, err := a.openBucket(e.Bucket, false)
	if err != nil {
		return err
	}
	defer b.Close()
	seen, err := look(a.ctx, b)
	if err == nil {
		*l = seen.Settle(e.Location)
		return nil
	}
	l.Level = residency.Declared
	fmt.Fprintf(a.stderr, "carekeep: site %s: %v\n", e.Name, err)
	return a.ctx.Err()
}

// decision shows a decision with its reasons and where they stand written; without all, only what speaks against it.
func (a *app) decision(site string, d residency.Decision, all bool) {
	if a.JSON {
		a.line(struct {
			Type string `json:"type"`
			Site string `json:"site"`
			residency.Decision
		}{"decision", site, d})
		return
	}
	w := a.stdout
	if !all {
		w = a.stderr
	}
	fmt.Fprintf(w, "%s: %s\n", site, until(d))
	for _, r := range d.Reasons {
		if all || r.Verdict != residency.Allowed {
			fmt.Fprintln(w, "  "+reason(r))
		}
	}
	for _, m := range d.Missing {
		fmt.Fprintf(w, "  missing  %s, for %s\n", plain(m.Fact), m.Rule)
	}
	for _, o := range d.Obligations {
		fmt.Fprintf(w, "  to do    %s (%s)\n", plain(o.Text), o.Rule)
	}
	for _, text := range d.Warnings {
		fmt.Fprintf(w, "  note     %s\n", plain(text))
	}
	if all && len(d.Unconfirmed) > 0 {
		fmt.Fprintf(w, "  note     not asked, because nobody has confirmed their text: %s\n", strings.Join(d.Unconfirmed, ", "))
	}
}

// reason is one step of a decision in a line.
func reason(r residency.Reason) string {
	rule := r.Rule
	if rule == "" {
		rule = r.Regime
	}
	text := fmt.Sprintf("%-8s %s: ", r.Verdict, rule)
	if r.Place != "" {
		text += string(r.Place) + ": "
	}
	text += plain(r.Text)
	if r.Ref != "" {
		text += " [" + plain(r.Ref) + "]"
	}
	if r.ReviewedBy != "" {
		text += ", reviewed by " + plain(r.ReviewedBy)
	}
	return text
}

// denied explains a write that nothing lawful can take.
func (a *app) denied(e *router.DeniedError) {
	for _, name := range sortedKeys(e.Decisions) {
		if d := e.Decisions[name]; d.Verdict != residency.Allowed {
			a.decision(name, d, false)
		}
	}
}

type reconcileCmd struct {
	Deep bool   `help:"Read every copy and compare its bytes, not only the lists."`
	Rate string `help:"Limit what is copied, bytes per second (suffixes k, M, G)." placeholder:"RATE"`
}

func (c *reconcileCmd) Run(a *app) error {
	limit, err := rate(c.Rate)
	if err != nil {
		return usageError{err}
	}
	s, err := a.openSites(nil)
	if err != nil {
		return err
	}
	rep, err := s.router.Reconcile(a.ctx, &router.ReconcileOptions{Deep: c.Deep, BytesPerSecond: int(min(limit, 1<<30))})
	if rep != nil {
		a.reconciled(rep)
	}
	if err == nil && rep.UndecidedCount > 0 {
		err = fmt.Errorf("%s differ between sites, and nothing tells which copy is right: carekeep check --read-all finds out", count(rep.UndecidedCount, "object"))
	}
	return err
}

func (a *app) reconciled(rep *router.ReconcileReport) {
	if a.JSON {
		a.line(struct {
			Type string `json:"type"`
			*router.ReconcileReport
		}{"reconciled", rep})
		return
	}
	fmt.Fprintf(a.stdout, "compared %s\n", count(rep.Keys, "object"))
	for _, name := range sortedKeys(rep.Sites) {
		v := rep.Sites[name]
		if v.Absent {
			fmt.Fprintf(a.stdout, "%-12s  it was not there\n", name)
			continue
		}
		fmt.Fprintf(a.stdout, "%-12s  missing %d, wrong %d; copied %d (%s), kept aside %d, failed %d\n",
			name, v.Missing, v.Wrong, v.Copied, size(v.Bytes), v.Aside, v.Failed)
	}
}

// causes are the words of evidence for why somebody did something. Free text might name a patient.
const causes = "only-copy,clinical-emergency,outage,mismatch,law-changed,contract-changed,provider-exit,maintenance,settled,other"

type promoteCmd struct {
	Site   string         `arg:"" help:"The site that shall decide."`
	Person string         `help:"Who answers for it." required:"" placeholder:"NAME"`
	Cause  evidence.Cause `help:"Why: ${enum}." required:"" enum:"${causes}"`
	Force  bool           `help:"Go ahead with fewer sites than it takes to be sure that nothing reported is missed."`
}

func (c *promoteCmd) Run(a *app) error {
	s, err := a.openSites(nil)
	if err != nil {
		return err
	}
	rep, err := s.router.Promote(a.ctx, router.Promotion{Home: c.Site, Person: c.Person, Cause: c.Cause, Force: c.Force})
	if rep != nil {
		a.reconciled(rep)
	}
	if errors.Is(err, router.ErrTooFewSites) {
		err = fmt.Errorf("%w; --force goes ahead all the same, and what is missed comes back with the missing sites", err)
	}
	if err == nil && !a.JSON {
		fmt.Fprintf(a.stdout, "%s decides now\n", c.Site)
	}
	return err
}

type quarantineCmd struct {
	Site   string         `arg:"" help:"The site."`
	Person string         `help:"Who answers for it." required:"" placeholder:"NAME"`
	Cause  evidence.Cause `help:"Why: ${enum}." required:"" enum:"${causes}"`
}

func (c *quarantineCmd) Run(a *app) error {
	s, err := a.openSites(nil)
	if err != nil {
		return err
	}
	return s.router.Quarantine(a.ctx, c.Site, c.Person, c.Cause)
}

type releaseCmd quarantineCmd

func (c *releaseCmd) Run(a *app) error {
	s, err := a.openSites(nil)
	if err != nil {
		return err
	}
	return s.router.Release(a.ctx, c.Site, c.Person, c.Cause)
}
