package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gocloud.dev/blob"
	"golang.org/x/time/rate"

	"github.com/carekeep/carekeep/residency/evidence"
)

// MigrateOptions tune [Router.Migrate]. The zero value, and nil, work.
type MigrateOptions struct {
	// BytesPerSecond limits what is read; 0 is no limit.
	BytesPerSecond int
	// Workers is how many objects are worked on at once; default 4.
	Workers int
	// LockedUntil, if not nil, says whether a store refuses to delete an object, and until when. It is asked before
	// each deletion, because a bucket with versions takes one by hiding the object. A zero time is not known.
	LockedUntil func(ctx context.Context, b *blob.Bucket, key string) (until time.Time, locked bool, err error)
	// Erase, if not nil, deletes an object for good, with all its versions; default is the bucket's Delete. Give it
	// for buckets with versions.
	Erase func(ctx context.Context, b *blob.Bucket, key string) error
	// Shredded says that nobody has the keys of what stays behind any more. It is recorded as evidence.
	Shredded bool
	// Progress, if not nil, is told what has been done so far, by one goroutine at a time.
	Progress func(MigrationProgress)
}

// MigrationProgress is how far a migration has come.
type MigrationProgress struct {
	Stage   evidence.Stage // that is being worked for: Copied, Verified or Deleted
	Objects int64          // done in it by this call
	Bytes   int64          // of these
}

// Migrate carries out a plan: it copies what the leaving site has to the targets and reads all copies back, changes the
// set of sites, does the same for what was written meanwhile, and then deletes at the leaving site what enough other
// lawful sites are known to have. Others may read and write all the time.
//
// A call that fails or is killed at any moment is resumed by another with the same plan, in any process, which
// goes on from what is recorded. It never deletes a copy without having read as many as [Placement.MustReach] others that
// are equal, at sites that may be written.
//
// Objects that the store does not let go are a *[ResidueError]; a later call deletes them. Other errors wrap [ErrStale],
// [ErrPlan], [ErrMoving], [ErrDiffering], [ErrTooFewSites], [ErrHomeDown] or [ErrSuperseded], or are a *[DeniedError], which
// may also come in the middle, or the context's. The report says what was done also beside an error.
func (r *Router) Migrate(ctx context.Context, plan *MigrationPlan, opts *MigrateOptions) (*MigrationReport, error) {
	if plan == nil {
		return nil, ErrPlan
	}
	if d, err := plan.digest(); err != nil || d != plan.Digest {
		return nil, ErrPlan
	}
	ctx, end := r.seen.Begin(ctx, opMigrate, true)
	report, err := r.carryPlanOut(ctx, plan, opts)
	end(err)
	return report, err
}

// carryPlanOut carries a plan out beside other processes that may do the same. What one of them has just done can look,
// halfway, like the doing of strangers: then all sites are looked at again.
func (r *Router) carryPlanOut(ctx context.Context, plan *MigrationPlan, opts *MigrateOptions) (*MigrationReport, error) {
	for try := time.Duration(1); ; try++ {
		report, err := r.carryPlanOutOnce(ctx, plan, opts)
		overtaken := errors.Is(err, ErrSuperseded) || errors.Is(err, ErrForeign) || isNotFound(err)
		if err == nil || !overtaken || try == overtakenTries {
			return report, err
		}
		if sleep(ctx, try*overtakenPause) != nil {
			return report, err
		}
		r.lookAgain(ctx)
	}
}

const (
	overtakenTries = 5
	overtakenPause = 50 * time.Millisecond
)

func (r *Router) carryPlanOutOnce(ctx context.Context, plan *MigrationPlan, opts *MigrateOptions) (*MigrationReport, error) {
	if err := r.follow(ctx); err != nil {
		return nil, err
	}
	rec, err := r.claimMove(ctx, plan)
	if err != nil {
		return nil, err
	}
	return r.migrate(ctx, rec, opts)
}

// ResumeMigrations goes on with the migration that is under way, and deletes what earlier ones had to leave behind, as
// far as that is possible now, and what killed writers have put there since. There is a report for each. See [Router.Migrate] for the errors.
func (r *Router) ResumeMigrations(ctx context.Context, opts *MigrateOptions) ([]*MigrationReport, error) {
	ctx, end := r.seen.Begin(ctx, opResume, true)
	reports, err := r.resumeAll(ctx, opts)
	end(err)
	return reports, err
}

func (r *Router) resumeAll(ctx context.Context, opts *MigrateOptions) ([]*MigrationReport, error) {
	if err := r.follow(ctx); err != nil {
		return nil, err
	}
	all, err := r.readMoves(ctx)
	if err != nil {
		return nil, err
	}
	var out []*MigrationReport
	var errs []error
	for _, n := range slices.Sorted(maps.Keys(all.records)) {
		if all.phases[n][phaseDone] {
			continue
		}
		report, err := r.migrate(ctx, all.records[n], opts)
		out, errs = append(out, report), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return out, err
	}
	if len(out) > 0 {
		if all, err = r.readMoves(ctx); err != nil {
			return out, err
		}
	}
	return out, r.clearLeft(ctx, all, opts)
}

// claimMove begins the migration of a plan, or finds that it was begun.
func (r *Router) claimMove(ctx context.Context, plan *MigrationPlan) (*moveRecord, error) {
	home := r.home()
	if home == nil {
		return nil, fail(ErrHomeDown)
	}
	for {
		all, err := r.readMoves(ctx)
		if err != nil {
			return nil, err
		}
		highest := 0
		for n, rec := range all.records {
			if rec.Plan == plan.Digest {
				return rec, nil
			}
			highest = max(highest, n)
		}
		if all.open() != nil {
			return nil, ErrMoving
		}
		// A migration that ended since this router last looked has left an epoch at the home site. The plan would otherwise
		// be compared with the epoch before it, and a second one begin beside it.
		switch err := r.outdated(ctx, home); {
		case errors.Is(err, ErrSuperseded):
			if err := r.follow(ctx); err != nil {
				return nil, err
			}
			continue
		case err != nil:
			return nil, r.homeDown(ctx, err)
		}
		if err := r.fresh(ctx, plan); err != nil {
			return nil, err
		}
		rec := &moveRecord{
			V: recordVersion, N: highest + 1, ID: plan.Digest[:32], Plan: plan.Digest, From: plan.From, To: plan.To, Promote: plan.Promote,
			Home: home.Name, Person: plan.Person, Cause: plan.Cause, At: plan.Made,
		}
		for _, s := range plan.Sites {
			if slices.Contains(plan.To, s.Site) && s.Facts != "" {
				rec.Facts = append(rec.Facts, s.Facts)
			}
		}
		// Of two that begin at once, the home site takes one.
		err = home.put(ctx, rec.name(), rec)
		if err == nil {
			return rec, r.evidence(ctx, evidence.KindMove, rec.From, rec.evidence(evidence.Planned, plan.Objects, plan.Bytes))
		}
		if !errors.Is(err, errOtherRecord) {
			return nil, r.homeDown(ctx, err)
		}
	}
}

// evidence is a step of a migration for the records.
func (m *moveRecord) evidence(stage evidence.Stage, objects, bytes int64) evidence.Move {
	v := evidence.Move{ID: m.ID, From: m.From, Stage: stage, Cause: m.Cause, Objects: objects, Bytes: bytes}
	if len(m.To) > 0 {
		v.To = m.To[0]
	}
	return v
}

// mover carries out one migration.
type mover struct {
	r      *Router
	o      MigrateOptions
	rec    *moveRecord
	from   *site
	to     []*site
	desk   *site // keeps the entries
	phases map[string]bool
	begun  time.Time // by the home site's clock
	chunk  int       // entries in a chunk
	pass   pass      // for its pace
	report *MigrationReport
	counts sync.Mutex  // guards what workers add to report
	odd    atomic.Bool // some object's copies differ
	done   MigrationProgress
}

// newMover finds the sites of a migration, which must have been given.
func (r *Router) newMover(rec *moveRecord, opts *MigrateOptions) (*mover, error) {
	m := &mover{r: r, rec: rec, from: r.site(rec.From), chunk: cmp.Or(r.chunk, maxEntries)}
	if opts != nil {
		m.o = *opts
	}
	m.o.Workers = cmp.Or(max(m.o.Workers, 0), 4)
	if n := m.o.BytesPerSecond; n > 0 {
		m.pass.limit = rate.NewLimiter(rate.Limit(n), n)
	}
	m.report = &MigrationReport{ID: rec.ID, From: rec.From, To: rec.To}
	for _, name := range rec.To {
		m.to = append(m.to, r.site(name))
	}
	m.desk = r.site(cmp.Or(rec.Promote, rec.Home))
	if len(m.to) > 0 {
		m.desk = m.to[0]
	}
	if m.from == nil || m.desk == nil || contains(m.to, nil) {
		return nil, fmt.Errorf("%w: a migration from %s to %s is under way, and not all of its sites were given", ErrSites, rec.From, strings.Join(rec.To, ", "))
	}
	return m, nil
}

// migrate goes on with a migration.
func (r *Router) migrate(ctx context.Context, rec *moveRecord, opts *MigrateOptions) (*MigrationReport, error) {
	m, err := r.newMover(rec, opts)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	err = m.run(ctx)
	m.report.Took = time.Since(start)
	return m.report, err
}

func (m *mover) run(ctx context.Context) error {
	if err := m.prepare(ctx); err != nil {
		return err
	}
	steps := []struct {
		phase string
		do    func(context.Context) error
		stage evidence.Stage
	}{
		{phaseCopied, m.copyAll, evidence.Copied},
		{phaseFilled, m.fill, evidence.Verified},
	}
	for _, s := range steps {
		if m.phases[s.phase] || m.phases[phaseProved] {
			continue
		}
		if err := s.do(ctx); err != nil {
			return err
		}
		if err := m.r.evidence(ctx, evidence.KindMove, m.rec.From, m.rec.evidence(s.stage, m.done.Objects, m.done.Bytes)); err != nil {
			return err
		}
		if err := m.mark(ctx, &phaseRecord{V: recordVersion, Phase: s.phase}); err != nil {
			return err
		}
	}
	return m.leave(ctx)
}

// prepare reads how far the migration has come, and makes it known to the sites that it is about.
func (m *mover) prepare(ctx context.Context) error {
	all, err := m.r.readMoves(ctx)
	if err != nil {
		return err
	}
	m.phases = all.phases[m.rec.N]
	if m.phases == nil {
		m.phases = map[string]bool{}
	}
	for _, s := range m.to {
		if m.phases[phaseProved] {
			break
		}
		v, err := m.r.sight(ctx, s)
		if err != nil {
			return err
		}
		if !v.marked && !v.empty && len(v.epochs) == 0 {
			return &SiteError{Site: s.Name, Op: "migrate", err: ErrForeign}
		}
		if err := s.put(ctx, markerName, &marker{V: recordVersion, Site: s.Name, Subject: m.r.subject}); err != nil {
			return m.r.whose(ctx, s, err)
		}
	}
	if err := m.record(ctx, m.rec.name(), m.rec); err != nil {
		return err
	}
	home := m.r.home()
	a, err := attributes(ctx, m.rec.name(), home)
	if err == nil {
		m.begun = a.ModTime.Truncate(time.Second)
	}
	return err
}

// record puts a record where the migration must be known: at the home site, at the targets and at the desk; and, as
// far as they answer and may be written, at the others that remain.
func (m *mover) record(ctx context.Context, name string, v any) error {
	must := append([]*site{m.r.home(), m.desk}, m.to...)
	var all []*site
	for i, s := range append(must, m.r.enrolled()...) {
		if contains(all, s) || s == m.from && s != m.r.home() {
			continue
		}
		if i >= len(must) {
			if ok, err := m.r.writable(ctx, s); err != nil {
				return err
			} else if !ok {
				continue
			}
		}
		all = append(all, s)
	}
	for i, err := range each(all, func(s *site) error { return s.put(ctx, name, v) }) {
		if err != nil && (contains(must, all[i]) || ctx.Err() != nil) {
			return err
		}
	}
	return nil
}

// mark records that a phase has ended.
func (m *mover) mark(ctx context.Context, p *phaseRecord) error {
	m.phases[p.Phase] = true
	return m.record(ctx, m.rec.name()+"-"+p.Phase, p)
}

// stage begins to count anew.
func (m *mover) stage(s evidence.Stage) { m.done = MigrationProgress{Stage: s} }

// progress tells how far it is.
func (m *mover) progress(objects, bytes int64) {
	m.done.Objects, m.done.Bytes = m.done.Objects+objects, m.done.Bytes+bytes
	if m.o.Progress != nil {
		m.o.Progress(m.done)
	}
}
