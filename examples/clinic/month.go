package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/internal/practice"
	"github.com/carekeep/carekeep/rotation"
)

// sample is the policy that the month goes by.
//
//go:embed policy.json
var sample []byte

// closing is when the practice backs up.
var closing = rotation.Clock{Hour: 20}

// grace is shorter than a night, so that a night deletes what one before condemned.
const grace = 12 * time.Hour

// clock is the clock of the practice and of its store, whose days pass in seconds: it stands at closing time of
// one night and is set to the next. It goes in between, so that what takes time seems to.
type clock struct {
	zone  rotation.Zone
	first rotation.Day
	ahead time.Duration // of the real one
}

// newClock stands at closing time of the day after the real one. It is ahead of the real clock, as files that
// change after a backup began would else look like ones that change while it runs.
func newClock(z rotation.Zone) *clock {
	k := &clock{zone: z, first: z.BusinessDay(time.Now()).AddDays(1)}
	k.set(0)
	return k
}

// closing is when the practice closes before a night, counted from 0.
func (k *clock) closing(night int) time.Time {
	t, _ := k.zone.Instant(k.first.AddDays(night), closing)
	return t
}

// set goes to a night. Nothing may be under way.
func (k *clock) set(night int) { k.ahead = time.Until(k.closing(night)) }

func (k *clock) now() time.Time { return time.Now().Add(k.ahead) }

// month is what is known of the nights after the two days.
type month struct {
	policy    rotation.Policy
	was       map[rotation.PointID]manifest // of the nights that are kept
	snapshots int
	stored    int64 // bytes that all backups have stored, the first two included
	held      int64 // bytes of the repository at the end
	forgotten int
	plan      rotation.Plan
	gone      rotation.Verdict // one that was forgotten

	different int // kept nights that did not come back as they were
	restored  int
	sound     bool // the check after it all
}

// good says whether every night that is kept came back, and there is something to come back from.
func (m *month) good() bool {
	return m.sound && m.different == 0 && m.restored > 0 && m.restored == len(m.was)
}

// startMonth is a new office with a new computer, which knows nothing but the password, and an empty disk. It goes on where
// the lost one stopped.
func (c *clinic) startMonth(ctx context.Context) (string, error) {
	if err := c.close(ctx); err != nil {
		return "", err
	}
	told, err := c.newOffice(ctx)
	if err != nil {
		return "", err
	}
	repo, err := backup.Open(ctx, c.router.Bucket(), backup.Password(c.password), &backup.Options{
		HostDir: c.host + "-2", Progress: c.bar.event, Now: c.clock.now,
	})
	if err != nil {
		return "", err
	}
	c.repo = repo
	c.month = &month{
		policy: c.policy, snapshots: int(days), stored: c.stored[first] + c.stored[second],
		was: map[rotation.PointID]manifest{},
	}
	for d := range days {
		c.month.was[rotation.PointID(c.snaps[d].ID())] = c.was[d]
	}
	return told, nil
}

// nightly lives the days. The bar counts nights.
func (c *clinic) nightly(ctx context.Context) (string, error) {
	c.bar.hold(true)
	defer c.bar.hold(false)
	for i := range c.nights {
		if err := c.night(ctx, int(days)+i); err != nil {
			return "", err
		}
		c.bar.share(i+1, c.nights)
	}
	// At the end, space is given back at once: what the first night condemns, the second deletes.
	for i := range 2 {
		c.clock.set(int(days) + c.nights + i)
		if err := c.compact(ctx); err != nil {
			return "", err
		}
	}
	var err error
	c.month.held, err = held(c.site(sydney))
	return fmt.Sprintf("%d snapshots, checked and sorted out every night, compacted every week; %d forgotten", c.nights, c.month.forgotten), err
}

// night is a day's work and the night after it: back up, check, forget what the policy lets go, and once a week give back
// space.
func (c *clinic) night(ctx context.Context, n int) error {
	c.clock.set(n)
	if _, err := practice.LiveDay(ctx, c.folder, n, &practice.Options{Seed: c.seed, Size: c.size}); err != nil {
		return err
	}
	is, err := takeManifest(ctx, c.folder, func(int64) {})
	if err != nil {
		return err
	}
	snap, err := c.repo.Backup(ctx, backup.Dir(c.folder), &backup.BackupOptions{Labels: lineage})
	if err != nil {
		return err
	}
	m := c.month
	m.snapshots++
	m.stored += snap.Run().BytesStored
	m.was[rotation.PointID(snap.ID())] = is
	if err := c.stamp(); err != nil {
		return err
	}
	if _, err := c.repo.Check(ctx, nil); err != nil {
		return err
	}
	if err := c.forget(ctx); err != nil {
		return err
	}
	if n%7 == 0 {
		return c.compact(ctx)
	}
	return c.stamp()
}

// compact gives back the space of what no snapshot needs any more.
func (c *clinic) compact(ctx context.Context) error {
	if _, err := c.repo.Compact(ctx, &backup.CompactOptions{Grace: grace}); err != nil {
		return err
	}
	return c.stamp()
}

// forget is what a vendor's software does with a policy: look, judge the clock, decide, carry out.
func (c *clinic) forget(ctx context.Context) error {
	m := c.month
	cat, err := c.repo.Catalogue(ctx, &backup.CatalogueOptions{
		Policy: &m.policy,
		Point:  func(_ *backup.Snapshot, p *rotation.Point) { p.Verified = rotation.Checked }, // just now
	})
	if err != nil {
		return err
	}
	now := rotation.Judge(rotation.Reading{Wall: c.clock.now()}, cat.HighWater(m.policy.Time), m.policy.Time)
	if m.plan, err = rotation.Evaluate(m.policy, cat, now); err != nil {
		return err
	}
	if !m.plan.Time.Usable {
		return errors.New("the clock cannot be believed")
	}
	if err := c.repo.Forget(ctx, cat, m.plan); err != nil {
		return err
	}
	for _, id := range m.plan.Releases() {
		m.gone, _ = m.plan.Verdict(id)
		m.forgotten++
		delete(m.was, id)
	}
	return nil
}

// stamp sets the time of everything that the sites have written since the last call. The clock of a store is not
// its writer's: that of a folder is its disk's, and this is how the example sets it.
func (c *clinic) stamp() error {
	begin := c.clock.closing(0) // the real time is earlier
	return filepath.WalkDir(c.places, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fi, err := d.Info()
		if err != nil || !fi.ModTime().Before(begin) {
			return err
		}
		t := c.clock.now()
		return os.Chtimes(p, t, t)
	})
}

// held is how many bytes a folder holds.
func held(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			n += fi.Size()
		}
		return err
	})
	return n, err
}

// restoreKept brings back every night that is kept, one at a time, and holds it against its manifest.
func (c *clinic) restoreKept(ctx context.Context) (string, error) {
	c.bar.hold(true)
	defer c.bar.hold(false)
	m := c.month
	bytes := int64(0)
	for snap, err := range c.repo.Snapshots(ctx) {
		if err != nil {
			return "", err
		}
		was, known := m.was[rotation.PointID(snap.ID())]
		if !known {
			return "", errors.New("the repository holds a snapshot that was forgotten")
		}
		dir := filepath.Join(filepath.Dir(c.folder), "restored-night")
		rep, err := snap.Restore(ctx, dir, nil)
		if err != nil {
			return "", err
		}
		bytes += rep.Bytes
		is, err := takeManifest(ctx, dir, func(int64) {})
		if err != nil {
			return "", err
		}
		if len(was.compare(is)) > 0 {
			m.different++
		}
		m.restored++
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
		c.bar.share(m.restored, len(m.was))
	}
	return fmt.Sprintf("%d nights, %s; all identical: %s", m.restored, size(bytes), yes(m.different == 0 && m.restored == len(m.was))), nil
}

func (c *clinic) checkAgain(ctx context.Context) (string, error) {
	rep, err := c.repo.Check(ctx, &backup.CheckOptions{ReadAll: true})
	if err != nil {
		return "", err
	}
	c.month.sound = true
	return fmt.Sprintf("%s pieces of content in %s packs, %s: sound", number(rep.Chunks), number(rep.Packs), size(rep.Bytes)), nil
}

// tiers says how many points each tier of the policy keeps.
func (m *month) tiers() string {
	kept := map[string]int{}
	for _, v := range m.plan.Verdicts {
		for _, r := range v.Reasons {
			if r.Code == rotation.CodeTier {
				kept[r.Rule]++
			}
		}
	}
	var parts []string
	for i, t := range m.policy.Rules[0].Tiers {
		parts = append(parts, fmt.Sprintf("%d %s", kept[fmt.Sprintf("rules[0].tiers[%d]", i)], t.Period))
	}
	return strings.Join(parts, ", ")
}

// because gives the reasons of a verdict.
func because(v rotation.Verdict) string {
	var parts []string
	for _, r := range v.Reasons {
		parts = append(parts, r.Text)
	}
	return strings.Join(parts, "; ")
}

// oldest is the oldest night that is kept.
func (m *month) oldest() rotation.Verdict {
	for _, v := range m.plan.Verdicts {
		if !v.Release {
			return v
		}
	}
	return rotation.Verdict{}
}
