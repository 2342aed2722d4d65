package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/internal/practice"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/router"
	"github.com/carekeep/carekeep/rotation"
)

// day is a day in the life of the practice.
type day int

const (
	first day = iota
	second
	days
)

func (d day) String() string { return [...]string{"the first day", "the second day"}[d] }

// clinic is one run: where things are, and what is known so far.
type clinic struct {
	config
	folder   string       // the practice's data, as its software sees it
	places   string       // a folder for each site that holds copies
	host     string       // what the practice's computer keeps for its next backup
	restored [days]string // fresh folders

	out      *report
	bar      *meter
	clock    *clock
	policy   rotation.Policy
	password string
	rules    *residency.Ruleset
	router   *router.Router // makes one bucket of the sites
	buckets  []*blob.Bucket // theirs
	repo     *backup.Repository

	made     *practice.Summary
	lived    *practice.DaySummary
	was      [days]manifest // each day's folder, noted by other code than the backup's
	snaps    [days]*backup.Snapshot
	stored   [days]int64 // bytes that each day added to the repository
	verdicts [days]verdict
	changes  bool                // the snapshots differ just as the days did
	sound    bool                // the check found nothing
	document bool                // one document came out of the snapshot as it was, or not at all if it was damaged
	refusal  *router.DeniedError // of the place where copies must not be
	alike    bool                // all sites hold the same, byte for byte
	month    *month
}

// lineage is the label that names the practice's series to the policy.
var lineage = map[string]string{backup.LineageLabel: "practice"}

func newClinic(cfg config, root string, stdout, stderr io.Writer) (*clinic, error) {
	policy, err := rotation.ParsePolicy(sample)
	if err != nil {
		return nil, err
	}
	return &clinic{
		config: cfg, password: newPassword(), policy: policy, clock: newClock(policy.Zone),
		folder:   filepath.Join(root, "practice"),
		places:   filepath.Join(root, "sites"),
		host:     filepath.Join(root, "host"),
		restored: [days]string{filepath.Join(root, "restored-1"), filepath.Join(root, "restored-2")},
		out:      &report{w: stdout}, bar: newMeter(stderr, cfg.size),
	}, nil
}

// step is one line of the report. It returns what the line says beside the time taken.
type step struct {
	title string
	do    func(context.Context) (string, error)
}

// steps are the story, in order.
func (c *clinic) steps() []step {
	all := []step{
		{"Make a sample practice", c.makePractice},
		{"Note every file", c.note(first)},
		{"Write a copy to Oregon", c.askForOregon},
		{"Create the repository", c.createRepository},
		{"Back up the first day", c.backUp(first)},
		{"Work for a day", c.workForADay},
		{"Note every file", c.note(second)},
		{"Back up the second day", c.backUp(second)},
	}
	if c.hurt {
		all = append(all, step{"Damage one stored byte", c.damage})
	}
	all = append(all, []step{
		{"Lose the office, open elsewhere", c.openElsewhere},
		{"See what changed", c.seeChanges},
		{"Restore the first day", c.restore(first)},
		{"Compare the first day", c.compare(first)},
		{"Restore the second day", c.restore(second)},
		{"Compare the second day", c.compare(second)},
		{"Read and check all that is stored", c.check},
		{"Open one document", c.openDocument},
	}...)
	if c.hurt || c.nights == 0 {
		return all
	}
	return append(all, []step{
		{"Go on with a new office", c.startMonth},
		{"Live and back up " + nights(c.nights), c.nightly},
		{"Restore every night that is kept", c.restoreKept},
		{"Read and check all that is stored", c.checkAgain},
		{"Compare the sites", c.compareSites},
		{"Write the register of locations", c.writeRegister},
	}...)
}

// work takes the steps. The first error ends it; a copy that differs is no error but a finding.
func (c *clinic) work(ctx context.Context) error {
	for _, s := range c.steps() {
		start := time.Now()
		c.bar.begin(s.title)
		told, err := s.do(ctx)
		c.bar.end()
		if err != nil {
			return fmt.Errorf("%s: %w", s.title, err)
		}
		c.out.step(s.title, time.Since(start), told)
	}
	return nil
}

// close lets go of the repository and the sites.
func (c *clinic) close(ctx context.Context) error {
	err := c.closeRepo()
	return errors.Join(err, c.closeSites(ctx))
}

func (c *clinic) closeRepo() error {
	if c.repo == nil {
		return nil
	}
	r := c.repo
	c.repo = nil
	return r.Close()
}

func (c *clinic) practice() *practice.Options {
	return &practice.Options{Seed: c.seed, Size: c.size, Progress: c.bar.practice()}
}

func (c *clinic) makePractice(ctx context.Context) (told string, err error) {
	c.made, err = practice.Generate(ctx, c.folder, c.practice())
	if err != nil {
		return "", err
	}
	return c.out.practice(c.made), nil
}

// note takes the manifest of the folder as it is that day.
func (c *clinic) note(d day) func(context.Context) (string, error) {
	return func(ctx context.Context) (told string, err error) {
		c.was[d], err = takeManifest(ctx, c.folder, c.bar.bytes())
		return "digest, mode and time of " + number(len(c.was[d])) + " files and folders", err
	}
}

func (c *clinic) createRepository(ctx context.Context) (told string, err error) {
	if err := c.openSites(ctx, wanted, office, sydney, melbourne); err != nil {
		return "", err
	}
	// The host's folder is named so that this run leaves nothing in the user's configuration folder.
	c.repo, err = backup.Create(ctx, c.router.Bucket(), backup.Password(c.password), &backup.CreateOptions{
		Options: backup.Options{HostDir: c.host, Progress: c.bar.event, Now: c.clock.now},
	})
	return "encrypted, at the office and at two hosters", err
}

func (c *clinic) backUp(d day) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		c.clock.set(int(d))
		snap, err := c.repo.Backup(ctx, backup.Dir(c.folder), &backup.BackupOptions{Labels: lineage})
		if err != nil { // also when something could not be read: nothing here may be missing
			return "", err
		}
		c.snaps[d], c.stored[d] = snap, snap.Run().BytesStored
		return fmt.Sprintf("%s files, %s; stored %s", number(snap.Stats().Files), size(snap.Stats().Bytes), size(c.stored[d])), c.stamp()
	}
}

func (c *clinic) workForADay(ctx context.Context) (told string, err error) {
	c.lived, err = practice.LiveDay(ctx, c.folder, 1, c.practice())
	if err != nil {
		return "", err
	}
	return c.out.day(c.lived), nil
}

// openElsewhere is the day of the loss: the office is gone, with the practice's computer and the copies on its disk. The
// other sites and the password must do.
func (c *clinic) openElsewhere(ctx context.Context) (string, error) {
	if err := c.close(ctx); err != nil {
		return "", err
	}
	if err := os.RemoveAll(c.site(office)); err != nil {
		return "", err
	}
	if err := c.openSites(ctx, wanted, sydney, melbourne); err != nil {
		return "", err
	}
	repo, err := backup.Open(ctx, c.router.Bucket(), backup.Password(c.password), &backup.Options{
		Stateless: true, Progress: c.bar.event, Now: c.clock.now,
	})
	if err != nil {
		return "", err
	}
	c.repo = repo
	n := 0
	for snap, err := range repo.Snapshots(ctx) {
		if err != nil {
			return "", err
		}
		if n == int(days) || snap.ID() != c.snaps[n].ID() {
			return "", errors.New("the repository lists other snapshots than those that were made")
		}
		c.snaps[n] = snap
		n++
	}
	if n != int(days) {
		return "", fmt.Errorf("the repository lists %d snapshots", n)
	}
	return "from the other sites, with the password alone: 2 snapshots", nil
}

// seeChanges asks the repository what the day changed, and holds it against the two manifests.
func (c *clinic) seeChanges(ctx context.Context) (string, error) {
	got := map[string]backup.ChangeKind{}
	for ch, err := range c.repo.Diff(ctx, c.snaps[first], c.snaps[second]) {
		if err != nil {
			return "", err
		}
		got[ch.Path] = ch.Kind
	}
	want := c.was[first].changes(c.was[second])
	c.changes = same(got, want)
	return fmt.Sprintf("%s files and folders differ; just those that the day changed: %s", number(len(got)), yes(c.changes)), nil
}

// restore brings a day back. Only after deliberate damage may something be missing, and then it is named.
func (c *clinic) restore(d day) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		rep, err := c.snaps[d].Restore(ctx, c.restored[d], nil)
		var inc *backup.IncompleteError
		if errors.As(err, &inc) && c.hurt {
			c.verdicts[d].missing = inc
			return fmt.Sprintf("could not restore %s; the rest is there", files(inc.Total)), nil
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s files, %s", number(rep.Files), size(rep.Bytes)), nil
	}
}

// compare holds a restored folder against its manifest, and uses it as the practice would.
func (c *clinic) compare(d day) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		is, err := takeManifest(ctx, c.restored[d], c.bar.bytes())
		if err != nil {
			return "", err
		}
		v := &c.verdicts[d]
		v.differences = c.was[d].compare(is)
		if v.missing != nil {
			return fmt.Sprintf("%s; every one was named by the restore: %s", files(int64(len(v.differences))), yes(len(v.unnamed()) == 0)), nil
		}
		err = practice.Check(ctx, c.restored[d])
		if err != nil && ctx.Err() != nil {
			return "", err
		}
		v.unusable = err
		return fmt.Sprintf("restored copy is identical: %s; database, documents and images open: %s", yes(v.identical()), yes(err == nil)), nil
	}
}

// check reads every stored byte.
func (c *clinic) check(ctx context.Context) (string, error) {
	rep, err := c.repo.Check(ctx, &backup.CheckOptions{ReadAll: true})
	if errors.Is(err, backup.ErrDamaged) && rep != nil {
		return fmt.Sprintf("damage was found: both days together, %s cannot be restored", files(rep.Lost)), nil
	}
	if err != nil {
		return "", err
	}
	c.sound = true
	return fmt.Sprintf("%s pieces of content in %s packs, %s: sound", number(rep.Chunks), number(rep.Packs), size(rep.Bytes)), nil
}

// openDocument reads one scanned document from the newest snapshot, without restoring the rest.
func (c *clinic) openDocument(ctx context.Context) (string, error) {
	view := c.snaps[second].FS(ctx)
	name := ""
	err := fs.WalkDir(view, "scans", func(p string, e fs.DirEntry, err error) error {
		if err != nil || path.Ext(p) != ".pdf" {
			return err
		}
		name = p
		return fs.SkipAll
	})
	if err != nil {
		return "", err
	}
	content, err := fs.ReadFile(view, name)
	if c.hurt && err != nil && ctx.Err() == nil {
		c.document = true // an error is an honest answer; wrong bytes are not
		return "it holds the damaged byte, and was refused", nil
	}
	if err != nil {
		return "", err
	}
	c.document = sha256.Sum256(content) == c.was[second][name].sum
	return fmt.Sprintf("a scan of %s straight from the snapshot: identical: %s", size(int64(len(content))), yes(c.document)), nil
}

// damage flips one bit in the middle of the largest object of content, at every site, behind the repository's back. Packs
// of content lie below p/, as FORMAT.md says.
func (c *clinic) damage(ctx context.Context) (string, error) {
	var pack *blob.ListObject
	for it := c.router.Bucket().List(&blob.ListOptions{Prefix: "p/"}); ; {
		o, err := it.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
		if pack == nil || o.Size > pack.Size {
			pack = o
		}
	}
	if pack == nil {
		return "", errors.New("the repository holds no pack")
	}
	content, err := c.router.Bucket().ReadAll(ctx, pack.Key)
	if err != nil {
		return "", err
	}
	content[len(content)/2] ^= 1
	return "in the middle of a pack of " + size(pack.Size), c.router.Bucket().WriteAll(ctx, pack.Key, content, nil)
}
