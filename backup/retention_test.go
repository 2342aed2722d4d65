package backup_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/rotation"
)

// surgery is a repository in a folder, with a clock that the test sets: that of the host, and that of the store,
// which for a folder is its files' times.
type surgery struct {
	*testing.T
	dir    string
	bucket *blob.Bucket
	opts   backup.Options
	repo   *backup.Repository
	clock  atomic.Pointer[time.Time]
	held   map[string][]byte // what each snapshot's file holds, by id
}

// monday is when a surgery begins. It is in the past: what the store has not been set to looks young.
var monday = time.Date(2026, 3, 2, 20, 0, 0, 0, time.UTC)

func newSurgery(t *testing.T) *surgery {
	s := &surgery{T: t, dir: t.TempDir(), held: map[string][]byte{}}
	s.set(monday)
	var err error
	s.bucket, err = dirblob.OpenBucket(s.dir, nil)
	require.NoError(t, err)
	t.Cleanup(func() { s.bucket.Close() })
	s.opts = backup.Options{HostDir: t.TempDir(), Now: func() time.Time { return *s.clock.Load() }}
	s.repo = create(t, s.bucket, &backup.CreateOptions{Options: s.opts})
	return s
}

func (s *surgery) set(t time.Time) { s.clock.Store(&t) }

// night goes on by a day, backs up a file that changes wholly every night, and sets the store's clock.
func (s *surgery) night() *backup.Snapshot {
	s.Helper()
	s.set(s.clock.Load().Add(24 * time.Hour))
	content := fmt.Appendf(nil, "%s %s", s.clock.Load(), strings.Repeat(s.clock.Load().String(), 5_000))
	src := fstest.MapFS{"db": {Data: content, ModTime: *s.clock.Load()}}
	snap, err := s.repo.Backup(s.Context(), src, &backup.BackupOptions{Labels: map[string]string{backup.LineageLabel: "db"}})
	require.NoError(s, err)
	s.held[snap.ID()] = content
	s.stamp(*s.clock.Load())
	return snap
}

// stamp sets the store's time of the entries of the log that have the real one yet.
func (s *surgery) stamp(t time.Time) {
	s.Helper()
	require.NoError(s, filepath.WalkDir(filepath.Join(s.dir, "log"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fi, err := d.Info()
		if err == nil && time.Since(fi.ModTime()) < time.Hour {
			err = os.Chtimes(p, t, t)
		}
		return err
	}))
}

// elsewhere opens the repository on a host that knows nothing but the password.
func (s *surgery) elsewhere() *backup.Repository {
	s.Helper()
	r, err := backup.Open(s.Context(), s.bucket, backup.Password("secret"), &backup.Options{Stateless: true, Now: s.opts.Now})
	require.NoError(s, err)
	return r
}

// checked says that every point was checked.
func checked(_ *backup.Snapshot, p *rotation.Point) { p.Verified = rotation.Checked }

func (s *surgery) catalogue(p *rotation.Policy) rotation.Catalogue {
	s.Helper()
	c, err := s.repo.Catalogue(s.Context(), &backup.CatalogueOptions{Policy: p, Point: checked})
	require.NoError(s, err)
	return c
}

// evaluate makes a plan of a catalogue as of the surgery's clock.
func (s *surgery) evaluate(p rotation.Policy, c rotation.Catalogue) rotation.Plan {
	s.Helper()
	plan, err := rotation.Evaluate(p, c, rotation.Judge(rotation.Reading{Wall: *s.clock.Load()}, c.HighWater(p.Time), p.Time))
	require.NoError(s, err)
	require.True(s, plan.Time.Usable, "%+v", plan.Time)
	return plan
}

// apply carries a policy out, and returns the plan.
func (s *surgery) apply(p rotation.Policy) rotation.Plan {
	s.Helper()
	c := s.catalogue(&p)
	plan := s.evaluate(p, c)
	require.NoError(s, s.repo.Forget(s.Context(), c, plan))
	return plan
}

func (s *surgery) ids() (ids []rotation.PointID) {
	s.Helper()
	for snap, err := range s.elsewhere().Snapshots(s.Context()) {
		require.NoError(s, err)
		ids = append(ids, rotation.PointID(snap.ID()))
	}
	return ids
}

// sound restores every snapshot, on another host, and checks every byte.
func (s *surgery) sound() {
	s.Helper()
	r := s.elsewhere()
	for snap, err := range r.Snapshots(s.Context()) {
		require.NoError(s, err)
		b, err := fs.ReadFile(snap.FS(s.Context()), "db")
		require.NoError(s, err)
		require.True(s, string(b) == string(s.held[snap.ID()]))
	}
	_, err := r.Check(s.Context(), &backup.CheckOptions{ReadAll: true})
	require.NoError(s, err)
}

// keep is a policy of days.
func keep(days int) rotation.Policy {
	return rotation.Policy{
		Rules:  []rotation.Rule{{Lineages: []string{"*"}, Tiers: rotation.Tiers(days, 0, 0, 0)}},
		Budget: rotation.Budget{Points: 100, Per: rotation.Span{Days: 1}},
	}
}

func TestCatalogue(t *testing.T) {
	ctx := t.Context()
	s := newSurgery(t)
	a, b := s.night(), s.night()
	other, err := s.repo.Backup(ctx, flaky{fstest.MapFS{"one.txt": {Data: []byte("x")}, "two": {Data: []byte("y")}}},
		&backup.BackupOptions{Host: "host", Name: "/srv"})
	require.ErrorIs(t, err, backup.ErrIncomplete)
	// The store's clock was set back before the last of them.
	s.stamp(monday.Add(36 * time.Hour))

	c, err := s.repo.Catalogue(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, s.repo.ID(), c.Repository)
	require.NotEmpty(t, c.Head)
	require.Empty(t, c.Policies)
	require.Len(t, c.Points, 3)
	for i, snap := range []*backup.Snapshot{a, b, other} {
		p := c.Points[i]
		require.Equal(t, rotation.PointID(snap.ID()), p.ID)
		require.Equal(t, snap.Sequence(), p.Seq)
		require.True(t, snap.Time().Equal(p.Claimed))
		require.Equal(t, snap != other, p.Complete)
		require.Equal(t, rotation.Unverified, p.Verified, "the repository itself cannot know")
		require.Equal(t, []string{"db", "db", "host:/srv"}[i], p.Lineage)
		if i > 0 {
			require.False(t, p.Observed.Before(c.Points[i-1].Observed), "observed decreases")
		}
	}
	require.True(t, c.Points[0].Observed.Equal(monday.Add(24*time.Hour)), "it is the store's clock that says when")
	require.True(t, c.Points[1].Observed.Equal(monday.Add(36*time.Hour)), "no later than what follows it in the log")

	policy := keep(7)
	c = s.catalogue(&policy)
	require.Len(t, c.Policies, 1)
	require.Equal(t, rotation.Checked, c.Points[0].Verified)
	bad := rotation.Policy{Rules: []rotation.Rule{{}}}
	_, err = s.repo.Catalogue(ctx, &backup.CatalogueOptions{Policy: &bad})
	require.ErrorContains(t, err, "lineages")
}

func TestForget(t *testing.T) {
	s := newSurgery(t)
	for range 5 {
		s.night()
	}
	before := s.ids()
	plan := s.apply(keep(2))
	require.Len(t, plan.Releases(), 3)
	require.Equal(t, before[3:], s.ids())
	require.Equal(t, before[3:], plan.Keeps())
	_, err := s.repo.Snapshot(t.Context(), string(before[0]))
	require.ErrorIs(t, err, backup.ErrNoSnapshot)
	s.sound()
	require.Empty(t, s.apply(keep(2)).Releases(), "what was carried out is not found again")

	c := s.catalogue(nil)
	require.Len(t, c.Releases, 1)
	require.Equal(t, 3, c.Releases[0].Points)
	require.Len(t, c.Policies, 1, "the same policy is adopted once")
}

// TestStalePlans: a plan counts for just what it was made of.
func TestStalePlans(t *testing.T) {
	ctx := t.Context()
	s := newSurgery(t)
	s.night()
	s.night()
	s.night()
	policy := keep(1)
	c := s.catalogue(&policy)
	plan := s.evaluate(policy, c)
	require.NotEmpty(t, plan.Releases())
	all := s.ids()
	refused := func(c rotation.Catalogue, plan rotation.Plan) {
		t.Helper()
		err := s.repo.Forget(ctx, c, plan)
		require.ErrorIs(t, err, backup.ErrStalePlan)
		require.Equal(t, all, s.ids())
	}

	changed := c
	changed.Points = slices.Clone(c.Points)
	changed.Points[0].Complete = false
	refused(changed, plan)
	refused(c, s.evaluate(policy, changed))
	less := c
	less.Points = c.Points[1:]
	refused(less, plan)
	refused(less, s.evaluate(policy, less)) // whose grants and holds would be forgotten with it
	other := c
	other.Points = slices.Clone(c.Points)
	for i := range other.Points {
		other.Points[i].Lineage = "another series"
	}
	refused(other, s.evaluate(policy, other)) // of which a hold on its series would not know

	// A catalogue of something else, with a plan that fits it.
	elsewhere := c
	elsewhere.Repository = strings.Repeat("0", 32)
	refused(elsewhere, s.evaluate(policy, elsewhere))
	older := c
	older.Head = strings.Repeat("0", 64)
	refused(older, s.evaluate(policy, older))
	invented := c
	invented.Points = slices.Clone(c.Points)
	invented.Points[0].ID = rotation.PointID(strings.Repeat("0", 32))
	refused(invented, s.evaluate(policy, invented))

	// Somebody else commits: a backup, or another who forgets.
	require.NoError(t, s.elsewhere().Hold(ctx, rotation.Hold{ID: "H-1", PlacedBy: "a", Placed: monday}))
	refused(c, plan)
	c = s.catalogue(&policy)
	plan = s.evaluate(policy, c)
	s.night()
	all = s.ids()
	refused(c, plan)
}

func TestRolesOfRetention(t *testing.T) {
	ctx := t.Context()
	s := newSurgery(t)
	s.night()
	s.night()
	policy := keep(1)
	c := s.catalogue(&policy)
	plan := s.evaluate(policy, c)
	keys := objects(t, s.bucket)
	writer, err := backup.Open(ctx, s.bucket, backup.Credential(), &s.opts)
	require.NoError(t, err)
	closing(t, writer)
	_, err = writer.Catalogue(ctx, nil)
	require.ErrorIs(t, err, backup.ErrRole)
	_, err = writer.Holds(ctx)
	require.ErrorIs(t, err, backup.ErrRole)
	require.ErrorIs(t, writer.Forget(ctx, c, plan), backup.ErrRole)
	require.ErrorIs(t, writer.Hold(ctx, rotation.Hold{ID: "H", PlacedBy: "a", Placed: monday}), backup.ErrRole)
	_, err = writer.Compact(ctx, nil)
	require.ErrorIs(t, err, backup.ErrRole)
	require.Equal(t, keys, objects(t, s.bucket))
}

func TestHolds(t *testing.T) {
	ctx := t.Context()
	s := newSurgery(t)
	for range 3 {
		s.night()
	}
	all := s.ids()
	h := rotation.Hold{ID: "H-7", Matter: "coroner 118/26", PlacedBy: "Dr Ada", Placed: time.Now(), Scope: rotation.Scope{Points: all[:1]}}
	require.Error(t, s.repo.Hold(ctx, rotation.Hold{ID: "H-7"}), "who placed it is missing")
	require.NoError(t, s.repo.Hold(ctx, h))
	require.NoError(t, s.repo.Hold(ctx, h), "the same again changes nothing")

	// The plan keeps what is held, and who leaves the hold out of the catalogue is refused.
	policy := keep(1)
	c := s.catalogue(&policy)
	require.Equal(t, []rotation.PointID{all[0], all[2]}, s.evaluate(policy, c).Keeps())
	forged := func(change func(c *rotation.Catalogue)) {
		t.Helper()
		c := s.catalogue(&policy)
		c.Holds = slices.Clone(c.Holds)
		change(&c)
		require.ErrorIs(t, s.repo.Forget(ctx, c, s.evaluate(policy, c)), backup.ErrProtected)
		require.Equal(t, all, s.ids())
	}
	forged(func(c *rotation.Catalogue) { c.Holds = nil })
	forged(func(c *rotation.Catalogue) { c.Holds[0].Scope.Points = all[1:2] })
	forged(func(c *rotation.Catalogue) { c.Holds[0].ID = "H-8" })
	longer := keep(100)
	c = s.catalogue(&longer)
	c.Holds = nil
	require.ErrorIs(t, s.repo.Forget(ctx, c, s.evaluate(longer, c)), backup.ErrProtected, "also when nothing goes: it would be forgotten")

	// It says what it said. Two people end it, and one of them twice does not.
	other := h
	other.Scope = rotation.Scope{Points: all[1:2]}
	require.ErrorIs(t, s.repo.Hold(ctx, other), backup.ErrProtected)
	release := func(by string) {
		t.Helper()
		h.Releases = append(slices.Clone(h.Releases), rotation.Approval{By: by, At: time.Now()})
		require.NoError(t, s.repo.Hold(ctx, h))
	}
	release("Dr Ada")
	release("dr  ADA")
	require.Empty(t, slices.DeleteFunc(s.apply(policy).Releases(), func(id rotation.PointID) bool { return id != all[0] }))
	require.Contains(t, s.ids(), all[0])
	withdrawn := h
	withdrawn.Releases = nil
	require.ErrorIs(t, s.repo.Hold(ctx, withdrawn), backup.ErrProtected)

	release("Mr Babbage")
	holds, err := s.elsewhere().Holds(ctx)
	require.NoError(t, err)
	require.Len(t, holds, 1)
	require.False(t, holds[0].Stands())
	require.Len(t, holds[0].Releases, 3)
	require.Equal(t, "coroner 118/26", holds[0].Matter)
	require.Equal(t, []rotation.PointID{all[0]}, s.apply(policy).Releases())
	require.Equal(t, all[2:], s.ids())
}

// TestPromises: what was promised outlives the policy that promised it, and who strikes it from the catalogue is
// refused.
func TestPromises(t *testing.T) {
	ctx := t.Context()
	s := newSurgery(t)
	s.night()
	generous := keep(30)
	generous.Promise = rotation.Span{Days: 20}
	require.Empty(t, s.apply(generous).Releases())
	s.night()
	s.apply(generous)
	first := s.ids()[0]

	policy := keep(1)
	c := s.catalogue(&policy)
	require.False(t, c.Points[0].Promise.IsZero(), "the repository remembers it")
	require.NotEmpty(t, c.Points[0].Promoted)
	require.Empty(t, s.evaluate(policy, c).Releases())
	for _, strike := range []func(p *rotation.Point){
		func(p *rotation.Point) { p.Promise = time.Time{} },
		func(p *rotation.Point) { p.Promise = p.Promise.Add(-time.Hour) },
		func(p *rotation.Point) { p.Promoted = nil },
	} {
		c := s.catalogue(&policy)
		c.Points = slices.Clone(c.Points)
		strike(&c.Points[0])
		require.ErrorIs(t, s.repo.Forget(ctx, c, s.evaluate(policy, c)), backup.ErrProtected)
	}
	for range 18 {
		s.night()
	}
	s.apply(policy)
	require.Contains(t, s.ids(), first, "the day has not come")
	s.night()
	s.night()
	s.apply(policy)
	require.NotContains(t, s.ids(), first)
}

// TestRatchet: a policy that keeps less waits for as long as the one before it said, whoever opens the repository.
func TestRatchet(t *testing.T) {
	ctx := t.Context()
	s := newSurgery(t)
	for range 4 {
		s.night()
	}
	careful := keep(30)
	careful.Ratchet = rotation.Span{Days: 10}
	s.apply(careful)
	policy := keep(2)
	plan := s.apply(policy)
	require.Empty(t, plan.Releases())
	first := s.ids()[0]
	require.True(t, slices.ContainsFunc(plan.Explain(first), func(r rotation.Reason) bool { return r.Code == rotation.CodeRatchet }))

	s.repo = s.elsewhere()
	c := s.catalogue(&policy)
	require.Len(t, c.Policies, 2, "both are remembered, by the repository and not by the host")
	require.Empty(t, s.evaluate(policy, c).Releases())
	c.Policies = c.Policies[1:]
	require.ErrorIs(t, s.repo.Forget(ctx, c, s.evaluate(policy, c)), backup.ErrStalePlan, "a policy was left out")

	for range 12 {
		s.night()
	}
	require.Contains(t, s.apply(policy).Releases(), first)
	require.Len(t, s.ids(), 2)
	s.sound()
}

// TestBudget: what went counts, on whatever host it is asked next, and cannot be struck out.
func TestBudget(t *testing.T) {
	s := newSurgery(t)
	for range 6 {
		s.night()
	}
	policy := keep(1)
	policy.Budget.Points = 2
	require.Len(t, s.apply(policy).Releases(), 2)
	s.repo = s.elsewhere()
	require.Empty(t, s.apply(policy).Releases(), "the day's budget is used up")
	c := s.catalogue(&policy)
	require.NotEmpty(t, c.Releases)
	c.Releases = nil
	require.ErrorIs(t, s.repo.Forget(t.Context(), c, s.evaluate(policy, c)), backup.ErrStalePlan)
	s.night()
	s.night()
	require.Len(t, s.apply(policy).Releases(), 2)
}

func (s *surgery) bytes() (n int64) {
	s.Helper()
	it := s.bucket.List(nil)
	for {
		o, err := it.Next(s.Context())
		if err != nil {
			return n
		}
		n += o.Size
	}
}

func TestCompact(t *testing.T) {
	ctx := t.Context()
	s := newSurgery(t)
	for range 4 {
		s.night()
	}
	s.apply(keep(1))
	require.Len(t, s.ids(), 1)
	full, keys := s.bytes(), objects(t, s.bucket)

	rep, err := s.repo.Compact(ctx, &backup.CompactOptions{DryRun: true})
	require.NoError(t, err)
	require.Positive(t, rep.Condemned)
	require.Positive(t, rep.Bytes)
	require.Equal(t, keys, objects(t, s.bucket), "a dry run changes nothing")

	rep, err = s.repo.Compact(ctx, nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, rep.Snapshots)
	require.Positive(t, rep.Condemned)
	require.Equal(t, rep.Condemned, rep.Waiting)
	require.Zero(t, rep.Deleted, "restores that rely on it may be under way")
	require.Subset(t, objects(t, s.bucket), keys)
	s.set(s.clock.Load().Add(23 * time.Hour))
	rep, err = s.repo.Compact(ctx, nil)
	require.NoError(t, err)
	require.Zero(t, rep.Deleted)
	s.set(s.clock.Load().Add(2 * time.Hour))

	// What the store has locked waits until its lock ends.
	free := s.clock.Load().Add(time.Hour)
	locked := &backup.CompactOptions{LockedUntil: func(_ context.Context, key string) (time.Time, error) {
		if strings.HasPrefix(key, "sess/") {
			return free, nil
		}
		return time.Time{}, nil
	}}
	rep, err = s.repo.Compact(ctx, locked)
	require.NoError(t, err)
	require.Positive(t, rep.Deleted)
	require.Zero(t, rep.Shredded)
	require.NotEmpty(t, rep.Delayed)
	for _, d := range rep.Delayed {
		require.True(t, strings.HasPrefix(d.Object, "sess/"))
		require.True(t, free.Equal(d.Until))
		require.Contains(t, objects(t, s.bucket), d.Object)
	}
	require.Less(t, s.bytes(), full*2/3)
	s.set(free)
	waiting := len(rep.Delayed)
	rep, err = s.repo.Compact(ctx, locked)
	require.NoError(t, err)
	require.Empty(t, rep.Delayed)
	require.EqualValues(t, waiting, rep.Shredded)
	s.sound()
	rep, err = s.repo.Compact(ctx, nil)
	require.NoError(t, err)
	require.Zero(t, rep.Condemned+rep.Deleted+rep.Waiting, "there is nothing left to do")
}

// TestCompactAndBackup: a night after a compaction stores again what was given back, and finds what was not.
func TestCompactAndBackup(t *testing.T) {
	ctx := t.Context()
	s := newSurgery(t)
	old := s.night()
	src := fstest.MapFS{"db": {Data: s.held[old.ID()], ModTime: monday}}
	s.night()
	s.apply(keep(1))
	_, err := s.repo.Compact(ctx, &backup.CompactOptions{Grace: 1})
	require.NoError(t, err)
	again, err := s.repo.Backup(ctx, src, &backup.BackupOptions{Labels: map[string]string{backup.LineageLabel: "db"}})
	require.NoError(t, err)
	s.held[again.ID()] = s.held[old.ID()]
	require.Positive(t, again.Run().BytesStored)
	s.sound()
}

// TestCompactRefusesADamagedLog: an entry that cannot be read may have been a snapshot.
func TestCompactRefusesADamagedLog(t *testing.T) {
	ctx := t.Context()
	s := newSurgery(t)
	s.night()
	s.night()
	s.apply(keep(1))
	log := slices.DeleteFunc(objects(t, s.bucket), func(k string) bool { return !strings.HasPrefix(k, "log/") })
	entry := log[len(log)-2] // the newest snapshot's; the last is the forgetting
	b, err := s.bucket.ReadAll(ctx, entry)
	require.NoError(t, err)
	b[len(b)/2] ^= 1
	require.NoError(t, s.bucket.WriteAll(ctx, entry, b, nil))
	keys := objects(t, s.bucket)
	_, err = s.elsewhere().Compact(ctx, &backup.CompactOptions{Grace: 1})
	require.ErrorIs(t, err, backup.ErrDamaged)
	require.Equal(t, keys, objects(t, s.bucket))
}

// forgetting goes through the failures of retention, for TestCanary: what is marked here is in no error, log, span
// or metric.
func forgetting(t *testing.T, bucket *blob.Bucket, opts backup.Options, mark string, failed func(error)) {
	ctx := t.Context()
	r, err := backup.Open(ctx, bucket, backup.Password("secret"), &opts)
	require.NoError(t, err)
	closing(t, r)
	for i := range 3 {
		src := fstest.MapFS{mark: {Data: fmt.Append(nil, mark, i)}}
		_, err := r.Backup(ctx, src, &backup.BackupOptions{Host: mark, Name: mark, Labels: map[string]string{backup.LineageLabel: mark}})
		require.NoError(t, err)
	}
	policy := keep(1)
	policy.Rules[0].Lineages = []string{mark}
	look := func() (rotation.Catalogue, rotation.Plan) {
		c, err := r.Catalogue(ctx, &backup.CatalogueOptions{Policy: &policy, Point: checked})
		require.NoError(t, err)
		plan, err := rotation.Evaluate(policy, c, rotation.Judge(rotation.Reading{Wall: time.Now()}, c.HighWater(policy.Time), policy.Time))
		require.NoError(t, err)
		return c, plan
	}
	c, plan := look()
	hold := rotation.Hold{ID: rotation.HoldID(mark), Matter: mark, PlacedBy: mark, Placed: time.Now(), Scope: rotation.Scope{Lineage: mark}}
	require.NoError(t, r.Hold(ctx, hold))
	failed(r.Forget(ctx, c, plan)) // stale
	changed := hold
	changed.Matter = "x" + mark
	failed(r.Hold(ctx, changed))
	failed(r.Hold(ctx, rotation.Hold{ID: rotation.HoldID(mark), Matter: mark}))
	c, _ = look()
	c.Holds = nil
	plan, err = rotation.Evaluate(policy, c, rotation.TimeVerdict{Usable: true, Now: c.HighWater(rotation.TimePolicy{})})
	require.NoError(t, err)
	failed(r.Forget(ctx, c, plan)) // protected
	other := c
	other.Repository = mark
	plan, err = rotation.Evaluate(policy, other, rotation.TimeVerdict{Usable: true, Now: c.HighWater(rotation.TimePolicy{})})
	require.NoError(t, err)
	failed(r.Forget(ctx, other, plan))
	writer, err := backup.Open(ctx, bucket, backup.Credential(), &opts)
	require.NoError(t, err)
	closing(t, writer)
	failed(writer.Forget(ctx, c, plan))
	bad := policy
	bad.Budget = rotation.Budget{}
	_, err = r.Catalogue(ctx, &backup.CatalogueOptions{Policy: &bad})
	failed(err)
	by := []rotation.Approval{{By: mark, At: time.Now()}, {By: mark + "2", At: time.Now()}}
	hold.Releases = by
	require.NoError(t, r.Hold(ctx, hold))
	c, plan = look()
	require.NotEmpty(t, plan.Releases())
	require.NoError(t, r.Forget(ctx, c, plan))
	_, err = r.Compact(ctx, &backup.CompactOptions{Grace: -1})
	failed(err)
	_, err = r.Compact(ctx, &backup.CompactOptions{Grace: 1, Shred: true})
	require.NoError(t, err)
}
