package backup

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/carekeep/carekeep/rotation"
)

// LineageLabel is the label that names the series of a snapshot to package rotation. A snapshot without it
// belongs to the series "host:name".
const LineageLabel = "lineage"

// CatalogueOptions say what a catalogue holds beside what the repository knows. Nil is the zero value.
type CatalogueOptions struct {
	// Policy is the one to decide by. If it is not the last that was carried out here, the catalogue has it as
	// adopted now, and the next Forget writes that down. Nil means the last one.
	Policy *rotation.Policy
	// Point is called with every point, to add what only the caller knows: how well it is verified, its
	// copies, its business day, what looks wrong. It must not change ID, Lineage, Seq, Observed and Promise.
	Point func(*Snapshot, *rotation.Point)
}

// add calls Point, if there is one. A panic in it is an error.
func (o *CatalogueOptions) add(s *Snapshot, p *rotation.Point) (err error) {
	defer source.Recover(&err)
	if o.Point != nil {
		o.Point(s, p)
	}
	return nil
}

// Catalogue returns the snapshots as recovery points for package rotation to decide on, with the policies,
// holds, grants and releases that this repository remembers. It needs the reader's role.
//
// Observed is the store's clock, which is not a writer's: the time at which it took the snapshot's entry in
// the commit log. Claimed is when the run says that it began. A point's Lineage and the texts of a plan name
// hosts and folders: they are for those who may read the repository.
func (r *Repository) Catalogue(ctx context.Context, opts *CatalogueOptions) (rotation.Catalogue, error) {
	if opts == nil {
		opts = &CatalogueOptions{}
	}
	c, err := r.catalogue(ctx, opts)
	if err != nil {
		return rotation.Catalogue{}, fmt.Errorf("backup: catalogue: %w", err)
	}
	return c, nil
}

func (r *Repository) catalogue(ctx context.Context, opts *CatalogueOptions) (rotation.Catalogue, error) {
	c := rotation.Catalogue{Repository: r.ID()}
	refs, head, sure, err := r.e.SnapshotsAt(ctx)
	if err != nil {
		return c, err
	}
	c.Head = headOf(head)
	if !sure {
		return c, ErrLatestUnknown
	}
	rec, err := r.record(ctx)
	if err != nil {
		return c, err
	}
	c.Holds, c.Policies, c.Releases = rec.Holds, rec.Policies, rec.Releases
	seen, err := r.e.Written(ctx, refs)
	if err != nil {
		return c, err
	}
	grants := map[rotation.PointID]rotation.Grant{}
	for _, g := range rec.Grants {
		grants[g.Point] = g
	}
	i := 0
	for part := range slices.Chunk(refs, 16) {
		for _, o := range r.openAll(ctx, part) {
			if o.err != nil {
				return c, o.err
			}
			p := pointOf(o.snap, seen[i])
			if g, ok := grants[p.ID]; ok {
				p.Promoted, p.Promise = g.Buckets, g.Promise
			}
			if err := opts.add(o.snap, &p); err != nil {
				return c, err
			}
			c.Points = append(c.Points, p)
			i++
		}
	}
	if p := opts.Policy; p != nil {
		if err := p.Validate(); err != nil {
			return c, err
		}
		if n := len(c.Policies); n == 0 || !samePolicy(c.Policies[n-1].Policy, *p) {
			at := c.HighWater(p.Time)
			if at.IsZero() {
				at = r.now()
			}
			if n > 0 && at.Before(c.Policies[n-1].At) {
				at = c.Policies[n-1].At
			}
			c.Policies = append(slices.Clone(c.Policies), rotation.Revision{Policy: *p, At: at})
		}
	}
	return c, nil
}

func pointOf(s *Snapshot, observed time.Time) rotation.Point {
	lineage := s.Labels()[LineageLabel]
	if lineage == "" {
		lineage = strings.ToValidUTF8(s.Host()+":"+s.Name(), "?")
	}
	return rotation.Point{
		ID: rotation.PointID(s.ID()), Lineage: strings.ToValidUTF8(lineage, "?"), Seq: s.Sequence(),
		Claimed: s.Time(), Observed: observed, Complete: s.Outcome() == Complete,
	}
}

func headOf(p ledger.Pin) string { return hex.EncodeToString(p.Chain[:]) }

func samePolicy(a, b rotation.Policy) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

// record is what a repository remembers of its retention, sealed to readers in its newest forget entry.
type record struct {
	Format   int                 `json:"format"` // 1
	Policies []rotation.Revision `json:"policies,omitempty"`
	Releases []rotation.Release  `json:"releases,omitempty"`
	Holds    []rotation.Hold     `json:"holds,omitempty"`
	Grants   []rotation.Grant    `json:"grants,omitempty"`
}

// keptReleases is how far back releases are remembered: the longest that a budget counts is far less.
const keptReleases = 400 * 24 * time.Hour

func (r *Repository) record(ctx context.Context) (record, error) {
	b, err := r.e.Record(ctx)
	if err != nil || b == nil {
		return record{Format: 1}, err
	}
	var rec record
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&rec); err != nil || rec.Format != 1 {
		return rec, fmt.Errorf("%w: the record of its retention: use a newer release", ErrNewerFormat)
	}
	return rec, nil
}

// recordOf takes from a catalogue what has to be remembered.
func recordOf(c rotation.Catalogue) record {
	rec := record{Format: 1, Policies: c.Policies, Holds: c.Holds}
	var clocks rotation.TimePolicy
	if n := len(c.Policies); n > 0 {
		clocks = c.Policies[n-1].Policy.Time
	}
	oldest := c.HighWater(clocks).Add(-keptReleases)
	for _, x := range c.Releases {
		if x.At.After(oldest) {
			rec.Releases = append(rec.Releases, x)
		}
	}
	for _, p := range c.Points {
		if len(p.Promoted) > 0 || !p.Promise.IsZero() {
			rec.Grants = append(rec.Grants, rotation.Grant{Point: p.ID, Buckets: p.Promoted, Promise: p.Promise})
		}
	}
	return rec
}

// Forget carries out a plan that rotation.Evaluate made of the catalogue: it takes the snapshots that the plan
// releases out of the repository, and remembers what the plan grants. Their space is given back by
// [Repository.Compact]. It needs the administrator's and the reader's roles.
//
// A plan is refused with an error that wraps [ErrStalePlan] unless it was made of just this catalogue, of this
// repository, and nothing was committed since. Whatever the plan says, what a standing hold covers or a
// recorded promise protects is not forgotten: that is [ErrProtected].
func (r *Repository) Forget(ctx context.Context, c rotation.Catalogue, plan rotation.Plan) error {
	if err := r.forget(ctx, c, plan); err != nil {
		return fmt.Errorf("backup: forget: %w", err)
	}
	return nil
}

func (r *Repository) forget(ctx context.Context, c rotation.Catalogue, plan rotation.Plan) error {
	if !r.e.IsAdmin() || !r.e.CanRead() {
		return fmt.Errorf("%w: forgetting needs the password or the key service", ErrRole)
	}
	after, err := c.After(plan)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStalePlan, err)
	}
	refs, at, sure, err := r.e.SnapshotsAt(ctx)
	if err != nil {
		return err
	}
	switch head := headOf(at); {
	case plan.Repository != r.ID() || c.Repository != r.ID():
		return fmt.Errorf("%w: it is of another repository", ErrStalePlan)
	case plan.Head != head || c.Head != head:
		return fmt.Errorf("%w: the repository has changed since: evaluate again", ErrStalePlan)
	case !sure:
		return ErrLatestUnknown
	}
	rec, err := r.record(ctx)
	if err != nil {
		return err
	}
	byID := map[rotation.PointID]rotation.Point{}
	for _, p := range c.Points {
		byID[p.ID] = p
	}
	if len(c.Points) != len(refs) {
		return fmt.Errorf("%w: the catalogue lacks snapshots of the repository", ErrStalePlan)
	}
	for _, s := range refs {
		if p, ok := byID[rotation.PointID(s.ID.String())]; !ok || p.Seq != s.Seq {
			return fmt.Errorf("%w: the catalogue lacks snapshots of the repository", ErrStalePlan)
		}
	}
	if err := continues(rec, c, byID); err != nil {
		return err
	}
	if err := protected(rec, c, plan, byID); err != nil {
		return err
	}
	var ids []format.SnapID
	for _, id := range plan.Releases() {
		i := slices.IndexFunc(refs, func(s format.SnapRef) bool { return rotation.PointID(s.ID.String()) == id })
		if i < 0 {
			return fmt.Errorf("%w: it releases a snapshot that is not there", ErrStalePlan)
		}
		snap, err := r.openSnapshot(ctx, refs[i])
		if err != nil {
			return err
		}
		if p := byID[id]; pointOf(snap, p.Observed).Lineage != p.Lineage {
			return fmt.Errorf("%w: the catalogue says that a snapshot is of another series", ErrStalePlan)
		}
		ids = append(ids, refs[i].ID)
	}
	b, err := json.Marshal(recordOf(after))
	if err != nil {
		return err
	}
	if err := r.e.Forget(ctx, at, format.Hash(plan.Digest()), ids, b); err != nil {
		return err
	}
	return nil
}

// continues refuses a catalogue that lacks what the repository remembers: with it a hold, a promise, a ratchet or
// the use of a budget would be forgotten.
func continues(rec record, c rotation.Catalogue, points map[rotation.PointID]rotation.Point) error {
	policies, releases := len(rec.Policies), len(rec.Releases)
	if len(c.Policies) < policies || len(c.Releases) < releases ||
		(rotation.Catalogue{Policies: rec.Policies, Releases: rec.Releases}).Digest() !=
			(rotation.Catalogue{Policies: c.Policies[:policies], Releases: c.Releases[:releases]}).Digest() {
		return fmt.Errorf("%w: the catalogue lacks policies or releases that the repository remembers", ErrStalePlan)
	}
	for _, h := range rec.Holds {
		if !slices.ContainsFunc(c.Holds, func(x rotation.Hold) bool { return extends(h, x) }) {
			return fmt.Errorf("%w: the catalogue lacks a hold, or says something else of it", ErrProtected)
		}
	}
	for _, g := range rec.Grants {
		p, ok := points[g.Point]
		if ok && (p.Promise.Before(g.Promise) ||
			slices.ContainsFunc(g.Buckets, func(b string) bool { return !slices.Contains(p.Promoted, b) })) {
			return fmt.Errorf("%w: the catalogue lacks what was promised to a snapshot", ErrProtected)
		}
	}
	return nil
}

// protected refuses a plan that releases what the repository itself knows to be kept.
func protected(rec record, c rotation.Catalogue, plan rotation.Plan, points map[rotation.PointID]rotation.Point) error {
	for _, id := range plan.Releases() {
		v, _ := plan.Verdict(id)
		for _, list := range [][]rotation.Hold{rec.Holds, c.Holds} {
			for _, h := range list {
				if h.Stands() && h.Covers(points[id], v.Day) && !releasedIn(c.Holds, h.ID) {
					return fmt.Errorf("%w: a hold covers a snapshot that the plan releases", ErrProtected)
				}
			}
		}
		for _, g := range rec.Grants {
			if g.Point == id && g.Promise.After(plan.Time.Now) {
				return fmt.Errorf("%w: a promise protects a snapshot that the plan releases", ErrProtected)
			}
		}
	}
	return nil
}

// releasedIn reports whether a hold has since been released, by the two people that takes.
func releasedIn(holds []rotation.Hold, id rotation.HoldID) bool {
	return slices.ContainsFunc(holds, func(h rotation.Hold) bool { return h.ID == id && !h.Stands() })
}

// Hold places a hold on snapshots, or writes down that somebody consents to end one: a hold with the id of one
// that is there must be the same but for further releases. It stands until two different people have released
// it, whatever policies say. It needs the administrator's and the reader's roles.
func (r *Repository) Hold(ctx context.Context, h rotation.Hold) error {
	for {
		err := r.hold(ctx, h)
		if !errors.Is(err, engine.ErrStale) || ctx.Err() != nil {
			if err != nil {
				err = fmt.Errorf("backup: hold: %w", err)
			}
			return err
		}
	}
}

func (r *Repository) hold(ctx context.Context, h rotation.Hold) error {
	if !r.e.IsAdmin() || !r.e.CanRead() {
		return fmt.Errorf("%w: a hold needs the password or the key service", ErrRole)
	}
	if digestOf(h) == (rotation.Digest{}) {
		return errors.New("the hold is not valid: it needs an id, who placed it and when, and dates in their order")
	}
	_, at, sure, err := r.e.SnapshotsAt(ctx)
	if err != nil {
		return err
	}
	if !sure {
		return ErrLatestUnknown // an entry written now would vouch for the damaged one
	}
	rec, err := r.record(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(rec.Holds, func(x rotation.Hold) bool { return x.ID == h.ID })
	if i < 0 {
		rec.Holds = append(rec.Holds, h)
	} else {
		if !extends(rec.Holds[i], h) {
			return fmt.Errorf("%w: a hold of that id says something else", ErrProtected)
		}
		rec.Holds[i] = h
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return r.e.Forget(ctx, at, format.Hash{}, nil, b)
}

// extends reports whether b is a with, perhaps, further releases.
func extends(a, b rotation.Hold) bool {
	n := len(a.Releases)
	if len(b.Releases) < n {
		return false
	}
	b.Releases = b.Releases[:n]
	return digestOf(a) == digestOf(b)
}

// digestOf is the same for holds that say the same, and zero for one that is not valid.
func digestOf(h rotation.Hold) rotation.Digest {
	return rotation.Catalogue{Holds: []rotation.Hold{h}}.Digest()
}

// Holds returns the holds that the repository remembers, released ones included. It needs the reader's role.
func (r *Repository) Holds(ctx context.Context) ([]rotation.Hold, error) {
	if _, _, err := r.e.Snapshots(ctx); err != nil {
		return nil, fmt.Errorf("backup: holds: %w", err)
	}
	rec, err := r.record(ctx)
	if err != nil {
		return nil, fmt.Errorf("backup: holds: %w", err)
	}
	return rec.Holds, nil
}

// CompactOptions say how space is given back. The zero value works, and so does nil.
type CompactOptions struct {
	// Grace is how long what is found to be needed no more stays before it is deleted, so that restores and
	// backups that rely on it can end. 0 means 24 hours.
	Grace time.Duration
	// Abandoned is the age from which packs that no snapshot needs are taken for those of a run that will not
	// be continued. 0 means 7 days.
	Abandoned time.Duration
	// Waste is how much of the space may be held by content that nothing needs, beside content in the same
	// packs that is needed, as a share of the latter. Beyond it packs are written again. 0 means 0.05.
	Waste float64
	// Shred writes everything that is needed out of sessions that also hold something forgotten, and destroys
	// the keys of those sessions. What was forgotten can then be decrypted by nobody, not even from copies of
	// the packs. It costs as much as storing those sessions' content again.
	Shred bool
	// Memory bounds, in bytes, what is remembered of content while packs are compared with snapshots, beside
	// about 100 bytes for each object; 0 means 64 MiB.
	Memory int64
	// Workers is how many packs are read at once; 0 means one per processor.
	Workers int
	// DryRun reports what would be condemned, and changes nothing.
	DryRun bool
	// LockedUntil says until when the store refuses to delete an object (S3 Object Lock and the like); zero if
	// it does not. Without it, on a bucket with versions, a locked object seems deleted and is not.
	LockedUntil func(ctx context.Context, key string) (time.Time, error)
}

// CompactReport says what was done.
type CompactReport struct {
	Snapshots  int64 // that are kept
	Live       int64 // bytes of the objects that they need
	Condemned  int64 // objects that this run found to be needed no more
	Bytes      int64 // of them
	Deleted    int64 // objects deleted by this run
	Waiting    int64 // objects that wait for their grace to end
	InFlight   int64 // objects left alone because a backup may be at work on them
	Rewritten  int64 // packs written again
	Shredded   int64 // sessions whose keys were destroyed
	Unreadable int64 // packs that are damaged and were left as they are
	// Delayed are objects that the store does not let go yet; the first 1,000. Keys among them are destroyed when
	// the lock has ended and Compact runs again.
	Delayed []DelayedDeletion
}

// DelayedDeletion is an object that the store does not let go yet.
type DelayedDeletion struct {
	Object string    // its name in the bucket, which tells nothing of patients
	Until  time.Time // zero if the store does not say
}

// Compact gives back the space of what no snapshot needs any more. It may run beside backups, restores, checks
// and other Compacts, in any number of processes, and may be cut off at any moment: the next one goes on. It
// needs the administrator's role, and the reader's to write packs again.
//
// Space comes back in two steps. A run condemns what is not needed, in the commit log; once the grace has
// passed, it or a later run deletes it. A backup never relies on what was condemned before it commits: it
// stores that content again, or fails with [ErrCondemned] if its source can be read only once. A restore that
// takes longer than the grace finds moved content by itself; if its snapshot was forgotten, it ends with
// [ErrForgotten].
//
// A log that may hide a snapshot, because an entry is damaged, is not compacted: that is [ErrDamaged]. Bring the entry's
// object back from a copy of the store; if there is none, see [Repository.AcceptLoss].
func (r *Repository) Compact(ctx context.Context, opts *CompactOptions) (*CompactReport, error) {
	if opts == nil {
		opts = &CompactOptions{}
	}
	locked := opts.LockedUntil
	if locked != nil {
		locked = func(ctx context.Context, key string) (_ time.Time, err error) {
			defer source.Recover(&err)
			return opts.LockedUntil(ctx, key)
		}
	}
	rep, err := r.e.Compact(ctx, engine.CompactOptions{
		Grace: opts.Grace, Abandoned: opts.Abandoned, Waste: opts.Waste, Shred: opts.Shred, Memory: opts.Memory,
		Workers: opts.Workers, DryRun: opts.DryRun, LockedUntil: locked,
	})
	if rep == nil {
		return nil, fmt.Errorf("backup: compact: %w", err)
	}
	out := &CompactReport{
		Snapshots: rep.Snapshots, Live: rep.Live, Condemned: rep.Condemned, Bytes: rep.Bytes, Deleted: rep.Deleted, Waiting: rep.Waiting,
		InFlight: rep.InFlight, Rewritten: rep.Rewritten, Shredded: rep.Shredded, Unreadable: rep.Unreadable,
	}
	for _, d := range rep.Delayed {
		out.Delayed = append(out.Delayed, DelayedDeletion(d))
	}
	if err != nil {
		return out, fmt.Errorf("backup: compact: %w", err)
	}
	return out, nil
}
