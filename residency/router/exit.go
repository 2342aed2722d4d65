package router

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"golang.org/x/time/rate"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/probe"
)

// ExitPlan says what it would take to leave a site.
type ExitPlan struct {
	Site string `json:"site"`
	// Where is what every site holds, and what the rules say of it.
	Where []SiteReview `json:"where"`
	// Lacks is what the sites that remain, and may be written, do not give of what must be reached. If it is empty, the
	// site can be left without another.
	Lacks []string `json:"lacks,omitempty"`
	// Targets are the other sites, those that data may go to first.
	Targets []ExitTarget `json:"targets"`
}

// ExitTarget is a site that data might go to.
type ExitTarget struct {
	Site     string `json:"site"`
	Lawful   bool   `json:"lawful"` // new data may go there
	Enrolled bool   `json:"enrolled"`
	// Missing are the facts that would have to be found out, Papers those of them that are papers to obtain.
	Missing []residency.Missing `json:"missing,omitempty"`
	Papers  []string            `json:"papers,omitempty"`
	// Suffices is whether the placement can be had with it in place of the site.
	Suffices bool `json:"suffices"`
}

// PlanExit says what it would take to leave a site: what is where, where it might go, and what is missing for that. It
// changes nothing, and lists every site. Errors wrap [ErrSites] or are the context's.
func (r *Router) PlanExit(ctx context.Context, leave string) (*ExitPlan, error) {
	from := r.site(leave)
	if from == nil {
		return nil, fmt.Errorf("%w: there is no site %s", ErrSites, leave)
	}
	v, err := r.Reevaluate(ctx, residency.Day{})
	if err != nil {
		return nil, err
	}
	p := &ExitPlan{Site: leave, Where: v.Sites}
	var rest []*site
	for _, w := range v.Sites {
		if s := r.site(w.Site); w.Enrolled && s != from && r.canWrite(s, w.Write) {
			rest = append(rest, s)
		}
	}
	p.Lacks = r.lacks(rest)
	for _, w := range v.Sites {
		s := r.site(w.Site)
		if s == from {
			continue
		}
		t := ExitTarget{Site: w.Site, Enrolled: w.Enrolled, Lawful: r.canWrite(s, w.Write), Missing: w.Write.Missing}
		for _, m := range t.Missing {
			if paper, ok := strings.CutPrefix(m.Fact, "paper "); ok && !slices.Contains(t.Papers, paper) {
				t.Papers = append(t.Papers, paper)
			}
		}
		with := rest
		if !contains(rest, s) {
			with = append(slices.Clone(rest), s)
		}
		t.Suffices = t.Lawful && len(r.lacks(with)) == 0
		p.Targets = append(p.Targets, t)
	}
	slices.SortStableFunc(p.Targets, func(a, b ExitTarget) int { return cmp.Compare(rankTarget(a), rankTarget(b)) })
	e := evidence.Exit{}
	for _, w := range v.Sites {
		if w.Site == leave {
			e.Objects, e.Bytes = w.Objects, w.Bytes
		}
	}
	for _, t := range p.Targets {
		if t.Lawful {
			e.To = append(e.To, t.Site)
		}
	}
	return p, r.evidence(ctx, evidence.KindExit, leave, e)
}

func rankTarget(t ExitTarget) int {
	switch {
	case t.Suffices:
		return 0
	case t.Lawful:
		return 1
	case len(t.Missing) > 0:
		return 2 // papers may help
	}
	return 3
}

// DrillOptions say how an exit is rehearsed.
type DrillOptions struct {
	// Restore restores from the bucket that everything was brought to, and says whether that can be used. It must be given.
	Restore func(ctx context.Context, b *blob.Bucket) error
	// Keep leaves the copy where it is. Otherwise it is deleted at the end, also of a drill that failed.
	Keep bool
	// BytesPerSecond limits what is read; 0 is no limit.
	BytesPerSecond int
	// Workers is how many objects are copied at once; default 4.
	Workers int
	// Progress, if not nil, is told what has been copied, by one goroutine at a time.
	Progress func(MigrationProgress)
}

// DrillReport is the outcome of a rehearsed exit.
type DrillReport struct {
	Site      string        `json:"site"`
	Objects   int64         `json:"objects"` // brought out and read back equal
	Bytes     int64         `json:"bytes"`
	Digest    string        `json:"digest"` // as [Proof.Digest]
	Copying   time.Duration `json:"copying"`
	Restored  bool          `json:"restored"`
	Restoring time.Duration `json:"restoring"`
}

// ErrDrill is wrapped by the error of a drill whose restore failed, beside what the restore said.
var ErrDrill = errors.New("router: what was brought out could not be restored")

// Drill rehearses the exit from a site: it brings everything that the site has to an empty bucket, which is none of the
// router's, by the way of the site alone; reads it back; and restores from it. The bucket's place is judged first, like any
// that data goes to. How it went is recorded as evidence, also if it failed.
//
// Errors are a *[DeniedError] or wrap [ErrSites], [ErrForeign] or [ErrDrill], or are those of the sites or the context.
func (r *Router) Drill(ctx context.Context, from string, to Site, opts *DrillOptions) (*DrillReport, error) {
	d := &drill{r: r, from: r.site(from), report: &DrillReport{Site: from}, sum: sha256.New()}
	if opts != nil {
		d.o = *opts
	}
	ctx, end := r.seen.Begin(ctx, opDrill, true)
	if err := d.begin(ctx, to); err != nil {
		end(err)
		return nil, err
	}
	err := d.run(ctx)
	end(err)
	if !d.o.Keep {
		err = errors.Join(err, d.clean(context.WithoutCancel(ctx)))
	}
	v := evidence.Drill{
		Outcome: evidence.OutcomeOK, Objects: d.report.Objects, Bytes: d.report.Bytes, Restored: d.report.Restored,
		CopyMillis: d.report.Copying.Milliseconds(), RestoreMillis: d.report.Restoring.Milliseconds(), Digest: d.report.Digest,
	}
	if err != nil {
		v.Outcome = evidence.OutcomeFailed
	}
	return d.report, errors.Join(err, r.evidence(context.WithoutCancel(ctx), evidence.KindDrill, from, v))
}

// drill is a rehearsal under way.
type drill struct {
	r      *Router
	o      DrillOptions
	from   *site
	to     *site
	report *DrillReport
	sum    hash.Hash
}

// begin checks that the drill may be held.
func (d *drill) begin(ctx context.Context, to Site) error {
	switch {
	case d.from == nil:
		return fmt.Errorf("%w: there is no site %s", ErrSites, d.report.Site)
	case to.Bucket == nil || !siteName.MatchString(to.Name) || d.r.site(to.Name) != nil:
		return fmt.Errorf("%w: a drill needs a bucket of its own, with a name of its own", ErrSites)
	case d.o.Restore == nil:
		return fmt.Errorf("%w: a drill that restores nothing shows nothing", ErrSites)
	}
	to.Timeout = cmp.Or(to.Timeout, time.Minute)
	d.to = &site{Site: to, seen: d.r.seen, location: to.Target.Location}
	if err := d.look(ctx); err != nil {
		return err
	}
	q := d.r.request(d.to)
	q.Purpose, q.Override = residency.Exit, nil
	v, err := d.r.rules.Decide(q)
	if err != nil {
		v = residency.Decision{Verdict: residency.Unknown, Now: q.Now, Warnings: []string{"the rules could not decide"}}
	}
	if !d.r.canWrite(d.to, v) {
		return d.r.refused(ctx, &DeniedError{Decisions: map[string]residency.Decision{to.Name: v}, Lacks: []string{"the site " + to.Name + " to rehearse at"}})
	}
	empty := true
	if err := d.to.list(ctx, "", func(string) bool { empty = false; return false }); err != nil {
		return err
	}
	if !empty {
		return &SiteError{Site: to.Name, Op: "drill", err: ErrForeign}
	}
	return nil
}

// look asks where the bucket of the rehearsal is, as for any that data goes to.
func (d *drill) look(ctx context.Context) error {
	if d.to.Probe == nil {
		return nil
	}
	var seen probe.Observation
	err := d.to.call(ctx, "probe", func(c context.Context) (err error) {
		seen, err = d.to.Probe(c, d.to.Bucket)
		return err
	})
	if err != nil {
		return err
	}
	if match, _ := probe.Compare(d.to.Target.Location, seen); !match {
		return &SiteError{Site: d.to.Name, Op: "probe", Code: gcerrors.PermissionDenied, err: errOtherPlace}
	}
	d.to.location = seen.Settle(d.to.Target.Location)
	return nil
}

func (d *drill) run(ctx context.Context) error {
	start := time.Now()
	err := d.copy(ctx)
	d.report.Copying = time.Since(start)
	if err != nil {
		return err
	}
	d.report.Digest = hex.EncodeToString(d.sum.Sum(nil))
	start = time.Now()
	err = d.o.Restore(ctx, d.to.Bucket)
	d.report.Restoring = time.Since(start)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDrill, err)
	}
	d.report.Restored = true
	return nil
}

// copy brings everything out.
func (d *drill) copy(ctx context.Context) error {
	m := &mover{r: d.r, from: d.from, report: &MigrationReport{}}
	m.o.Workers, m.o.Progress = cmp.Or(max(d.o.Workers, 0), 4), d.o.Progress
	m.stage(evidence.Copied)
	if n := d.o.BytesPerSecond; n > 0 {
		m.pass.limit = rate.NewLimiter(rate.Limit(n), n)
	}
	b := &batch{m: m, each: d.note}
	err := walkObjects(ctx, []*site{d.from}, "", func(key string, _ listed) error {
		return b.add(ctx, func(ctx context.Context) (*movedEntry, error) { return d.bring(ctx, m, key) })
	})
	if err != nil {
		return err
	}
	return b.finish(ctx)
}

// bring brings one object out. One that is deleted meanwhile is left out.
func (d *drill) bring(ctx context.Context, m *mover, key string) (*movedEntry, error) {
	for range 3 {
		a, err := attributes(ctx, key, d.from)
		if err == nil {
			b := &bringing{m: m, key: key, home: d.from, size: a.Size}
			equal := false
			if equal, err = b.settle(ctx, d.to); equal {
				return &movedEntry{Key: key, Size: a.Size, Sum: hex.EncodeToString(b.ref[:])}, nil
			}
		}
		if isNotFound(err) {
			return nil, d.to.remove(ctx, key)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, fail(ErrConflict)
}

// note sums up what was brought out, in the order of the keys.
func (d *drill) note(e *movedEntry) {
	d.report.Objects, d.report.Bytes = d.report.Objects+1, d.report.Bytes+e.Size
	e.line(d.sum)
}

// clean deletes the copy.
func (d *drill) clean(ctx context.Context) error {
	c := &cursor{s: d.to, size: pageSize}
	for {
		o, err := c.peek(ctx)
		if err != nil || o == nil {
			return err
		}
		c.pass(o.Key)
		if err := d.to.remove(ctx, o.Key); err != nil {
			return err
		}
	}
}
