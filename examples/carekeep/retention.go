package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/rotation"
)

type forgetCmd struct {
	Policy  string `help:"File with the policy; see rotation.ParsePolicy for its form." required:"" placeholder:"FILE"`
	DryRun  bool   `help:"Show what would be forgotten, and forget nothing."`
	Diff    string `help:"Show what the policy decides otherwise than this older one, and forget nothing." placeholder:"FILE"`
	NoCheck bool   `help:"Check nothing first: no snapshot counts as verified then, so little or nothing goes." xor:"check"`
	ReadAll bool   `help:"Read every byte first, for policies that ask for points that were read back." xor:"check"`
	Damaged bool   `help:"Go on although the check finds damage."`
}

func (c *forgetCmd) Help() string {
	return `The structure of the repository is checked first, so that snapshots count as verified. Then each is kept or
released as the policy says, and every decision tells why. Without a witness for the clock nothing is older than the
newest snapshot makes it: a clock that was set forward makes nothing go.

If the check finds damage nothing is forgotten, because what an old snapshot holds may be needed yet. With --damaged it
is, and snapshots that cannot be restored completely do not count as verified.

Their space is given back by carekeep compact.`
}

func (c *forgetCmd) Run(a *app) error {
	policy, err := readPolicy(c.Policy)
	if err != nil {
		return err
	}
	var old rotation.Policy
	if c.Diff != "" {
		if old, err = readPolicy(c.Diff); err != nil {
			return err
		}
	}
	p := a.progress()
	return a.with(p.event, func(r *backup.Repository, _ *blob.Bucket) error { return c.forget(a, p, r, policy, old) })
}

// forget carries a policy out, or shows what it would do.
func (c *forgetCmd) forget(a *app, p *meter, r *backup.Repository, policy, old rotation.Policy) error {
	known, damage, err := c.assure(a.ctx, r)
	p.end()
	if err != nil {
		return err
	}
	cat, err := r.Catalogue(a.ctx, &backup.CatalogueOptions{Policy: &policy, Point: known.grade})
	if err != nil {
		return err
	}
	clock := rotation.Judge(rotation.Reading{Wall: time.Now()}, cat.HighWater(policy.Time), policy.Time)
	if c.Diff != "" {
		return errors.Join(a.policyChange(old, policy, cat, clock), damage)
	}
	plan, err := rotation.Evaluate(policy, cat, clock)
	if err != nil {
		return err
	}
	a.plan(plan)
	switch {
	case c.DryRun || len(cat.Points) == 0:
		return damage
	case damage != nil && !c.Damaged:
		return fmt.Errorf("nothing was forgotten; pass --damaged to go on: %w", damage)
	case !plan.Time.Usable:
		return errors.Join(errors.New("the clock cannot be believed: nothing was forgotten"), damage)
	}
	if err := r.Forget(a.ctx, cat, plan); err != nil {
		return err
	}
	n := len(plan.Releases())
	if a.JSON {
		a.line(map[string]any{"type": "forgotten", "snapshots": n})
	} else {
		fmt.Fprintf(a.stdout, "forgot %s\n", count(n, "snapshot"))
	}
	return damage
}

// readPolicy reads a file that a person wrote: what is wrong with it is a wrong call.
func readPolicy(name string) (rotation.Policy, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return rotation.Policy{}, usageError{err}
	}
	p, err := rotation.ParsePolicy(data)
	if err != nil {
		return p, usageError{fmt.Errorf("%s: %w", show(name), err)}
	}
	return p, nil
}

// assurance is how well each snapshot is verified that the check has seen, by its id.
type assurance map[string]rotation.Assurance

// assure checks the repository. The second result is what to tell of damage. A snapshot that can be restored
// completely counts as verified whatever others lack.
func (c *forgetCmd) assure(ctx context.Context, r *backup.Repository) (assurance, error, error) {
	if c.NoCheck {
		return nil, nil, nil
	}
	grade := rotation.Checked
	if c.ReadAll {
		grade = rotation.ReadBack
	}
	known := assurance{}
	for s, err := range r.Snapshots(ctx) {
		if err != nil {
			return nil, nil, err
		}
		known[s.ID()] = grade
	}
	rep, err := r.Check(ctx, &backup.CheckOptions{ReadAll: c.ReadAll})
	if rep == nil {
		return nil, nil, err
	}
	for _, l := range rep.Losses {
		known[l.Snapshot] = rotation.Unverified
	}
	if rep.Lost > int64(len(rep.Losses)) { // the list ends before it has named all snapshots that lack something
		for id := range known {
			known[id] = rotation.Unverified
		}
	}
	if err != nil {
		err = fmt.Errorf("%w; carekeep check shows them", err)
	}
	return known, err, nil
}

// grade fills in what the repository itself does not know of a point.
func (k assurance) grade(s *backup.Snapshot, p *rotation.Point) {
	p.Verified, p.Bytes = k[s.ID()], s.Stats().Bytes
}

// plan shows a plan: each point with its reasons, what somebody should look at, and totals.
func (a *app) plan(p rotation.Plan) {
	var stay, gone int64
	for _, v := range p.Verdicts {
		if v.Release {
			gone += v.Bytes
		} else {
			stay += v.Bytes
		}
		a.verdict(p.Zone, v)
	}
	for _, n := range p.Notes {
		a.note(n)
	}
	keeps, releases := len(p.Keeps()), len(p.Releases())
	if a.JSON {
		a.line(map[string]any{
			"type": "plan", "id": p.Digest(), "policy": p.Policy, "catalogue": p.Catalogue, "head": p.Head, "time": p.Time,
			"keeps": keeps, "bytes": stay, "releases": releases, "bytes_released": gone,
		})
		return
	}
	if p.Time.Usable {
		fmt.Fprintf(a.stdout, "as of %s: ", local(p.Zone, p.Time.Now))
	}
	fmt.Fprintf(a.stdout, "to keep %s (%s), to release %d (%s)\n", count(keeps, "snapshot"), size(stay), releases, size(gone))
	if releases > 0 {
		fmt.Fprintln(a.stdout, "sizes are of their files; carekeep compact gives back what no snapshot that stays shares")
	}
}

func (a *app) verdict(z rotation.Zone, v rotation.Verdict) {
	if a.JSON {
		a.line(struct {
			Type string `json:"type"`
			rotation.Verdict
		}{"point", v})
		return
	}
	what := "keep"
	if v.Release {
		what = "release"
	}
	fmt.Fprintf(a.stdout, "%-7s  %.12s  %s  %10s  %-10s  %s\n", what, v.Point, local(z, v.Observed), size(v.Bytes), v.Verified, show(v.Lineage))
	a.reasons(v.Reasons)
}

func (a *app) reasons(reasons []rotation.Reason) {
	for _, r := range reasons {
		line := "         " + plain(r.Text)
		if !r.Until.IsZero() {
			line += "; until " + r.Until.String()
		}
		fmt.Fprintln(a.stdout, line)
	}
}

func (a *app) note(n rotation.Note) {
	if a.JSON {
		a.line(struct {
			Type string `json:"type"`
			rotation.Note
		}{"note", n})
		return
	}
	line := "note: " + plain(n.Text)
	if n.Points > 0 {
		line += " (" + count(n.Points, "point") + ")"
	}
	if n.Lineage != "" {
		line += ": " + show(n.Lineage)
	}
	fmt.Fprintln(a.stdout, line)
}

// policyChange shows of which points two policies decide otherwise.
func (a *app) policyChange(old, policy rotation.Policy, cat rotation.Catalogue, clock rotation.TimeVerdict) error {
	changes, err := rotation.Diff(old, policy, cat, clock)
	if err != nil {
		return err
	}
	released := 0
	for _, ch := range changes {
		if ch.Release {
			released++
		}
		if a.JSON {
			a.line(struct {
				Type string `json:"type"`
				rotation.Change
			}{"change", ch})
			continue
		}
		what := "would stay"
		if ch.Release {
			what = "would go"
		}
		fmt.Fprintf(a.stdout, "%-10s  %.12s  %s  %s\n", what, ch.Point, ch.Day, show(ch.Lineage))
		fmt.Fprintln(a.stdout, "       old:")
		a.reasons(ch.Was)
		fmt.Fprintln(a.stdout, "       new:")
		a.reasons(ch.Now)
	}
	if a.JSON {
		a.line(map[string]any{"type": "compared", "released": released, "kept": len(changes) - released})
		return nil
	}
	for _, r := range clock.Reasons {
		fmt.Fprintln(a.stdout, "note: no clock can be believed, so nothing would go:", plain(r.Text))
	}
	fmt.Fprintf(a.stdout, "the policy lets go %s that the old one keeps, and keeps %d that the old one lets go\n",
		count(released, "snapshot"), len(changes)-released)
	return nil
}

type compactCmd struct {
	Shred     bool `help:"Destroy the keys of what was forgotten, so that not even copies of the store can be read for it. What else the same runs stored is stored again."`
	Grace     age  `help:"How long what nothing needs any more stays, so that restores under way can end." default:"24h" placeholder:"AGE"`
	Abandoned age  `help:"Age from which what an interrupted backup left is not waited for." default:"7d" placeholder:"AGE"`
	DryRun    bool `help:"Show what is not needed, and change nothing. What would be written again to save space is not counted."`
	NoLocks   bool `help:"Do not ask the store which objects it has locked."`
}

func (c *compactCmd) Help() string {
	return `What no snapshot needs any more is deleted in two steps: it is condemned first, and deleted by a run that comes
when its grace has passed. AGE is like 7d, 36h or 90m.

What a backup that failed has stored is kept for the next one for as long as --abandoned says. While no backup and no
restore is at work, --abandoned 0 --grace 0 gives its space back at once.

On S3 the lock of each object (Object Lock, legal hold) is asked for before it is deleted, and what is locked waits.
Where a bucket keeps old versions, space comes back when its lifecycle rule removes them.`
}

func (c *compactCmd) Run(a *app) error {
	p := a.progress()
	return a.with(p.event, func(r *backup.Repository, b *blob.Bucket) error { return c.compact(a, p, r, b) })
}

func (c *compactCmd) compact(a *app, p *meter, r *backup.Repository, b *blob.Bucket) error {
	o := &backup.CompactOptions{
		// To the library, no grace and no age mean the usual ones.
		Grace: max(time.Duration(c.Grace), 1), Abandoned: max(time.Duration(c.Abandoned), 1),
		Shred: c.Shred, DryRun: c.DryRun,
	}
	versions := false
	if !c.NoLocks {
		var err error
		if o.LockedUntil, versions, err = a.locks(b); err != nil {
			return err
		}
	}
	rep, err := r.Compact(a.ctx, o)
	p.end()
	if rep != nil {
		c.report(a, rep, versions)
	}
	return err
}

func (c *compactCmd) report(a *app, rep *backup.CompactReport, versions bool) {
	if a.JSON {
		delayed := []map[string]any{}
		for _, d := range rep.Delayed {
			delayed = append(delayed, map[string]any{"object": d.Object, "until": d.Until})
		}
		a.line(map[string]any{
			"type": "compacted", "dry_run": c.DryRun, "snapshots": rep.Snapshots, "live": rep.Live, "condemned": rep.Condemned, "bytes": rep.Bytes,
			"deleted": rep.Deleted, "waiting": rep.Waiting, "in_flight": rep.InFlight, "rewritten": rep.Rewritten,
			"shredded": rep.Shredded, "unreadable": rep.Unreadable, "delayed": delayed, "versions": versions,
		})
		return
	}
	say := func(n int64, format string, args ...any) {
		if n > 0 {
			fmt.Fprintf(a.stdout, format+"\n", args...)
		}
	}
	fmt.Fprintf(a.stdout, "%s: %s is needed\n", count(rep.Snapshots, "snapshot"), size(rep.Live))
	condemned := fmt.Sprintf("%s, %s", count(rep.Condemned, "object"), size(rep.Bytes))
	if c.DryRun {
		fmt.Fprintf(a.stdout, "not needed: %s; nothing was changed\n", condemned)
	} else {
		fmt.Fprintf(a.stdout, "condemned: %s; deleted: %s\n", condemned, count(rep.Deleted, "object"))
	}
	say(rep.Rewritten, "written again to save space: %s", count(rep.Rewritten, "pack"))
	say(rep.Shredded, "keys destroyed: of %s", count(rep.Shredded, "run"))
	say(rep.Waiting, "waiting for the grace of %s to pass: %s; run compact again then", time.Duration(c.Grace), count(rep.Waiting, "object"))
	say(rep.InFlight, "left alone, as a backup may be at work on them: %s", count(rep.InFlight, "object"))
	say(rep.Unreadable, "damaged and left as they are: %s; see carekeep check", count(rep.Unreadable, "pack"))
	if n := len(rep.Delayed); n > 0 {
		last := slices.MaxFunc(rep.Delayed, func(x, y backup.DelayedDeletion) int { return x.Until.Compare(y.Until) })
		until := "the store does not say until when"
		if !last.Until.IsZero() {
			until = "the last until " + last.Until.Format("2006-01-02 15:04 MST")
		}
		if !last.Until.Before(noEnd) {
			until = "some by a legal hold, until it is lifted"
		}
		fmt.Fprintf(a.stdout, "locked by the store: %s, %s; run compact again then\n", count(n, "object"), until)
	}
	if versions && rep.Deleted > 0 {
		fmt.Fprintln(a.stdout, "the bucket keeps old versions: their space comes back when its lifecycle rule removes them")
	}
}

// age is a length of time as people give it: 7d, 36h or 90m.
type age time.Duration

// UnmarshalText reads what follows an option.
func (g *age) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if days, isDays := strings.CutSuffix(string(text), "d"); isDays {
		var n int64
		n, err = strconv.ParseInt(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < 0 {
		return errors.New("an age is like 7d, 36h or 90m")
	}
	*g = age(d)
	return nil
}

// local shows an instant in the zone of a policy or schedule.
func local(z rotation.Zone, t time.Time) string {
	loc := z.Location
	if loc == nil {
		loc = time.UTC
	}
	return t.In(loc).Format("Mon 2006-01-02 15:04 MST")
}

// plain makes a text safe for a terminal that may quote names.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

func count[N int | int64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
