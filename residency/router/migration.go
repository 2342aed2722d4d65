package router

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
)

// Errors of migrations.
var (
	// ErrStale: sites, decisions or epoch are others than when the plan was made.
	ErrStale = errors.New("router: the plan is out of date, because the sites or what may be where have changed: make it again")
	// ErrPlan: the plan was altered since it was made.
	ErrPlan = errors.New("router: the plan is not as it was made: make it again")
	// ErrMoving: another migration has been begun and not ended.
	ErrMoving = errors.New("router: another migration is under way: end it first, with its own plan or ResumeMigrations")
	// ErrLeavingHome: the site that is being left has become the home site since the plan was made.
	ErrLeavingHome = errors.New("router: the site that data leaves has become the home site: promote another, then resume the migration")
	// ErrDiffering: copies of an object differ, and the migration does not choose.
	ErrDiffering = errors.New("router: the copies of an object differ: reconcile deeply, and migrate again")
)

// Migration says what to move.
type Migration struct {
	// From is the site that data leaves, for good. It must be enrolled.
	From string `json:"from"`
	// To are the sites that get what it has. Those that are not enrolled yet will be. With none, the sites that
	// remain take over. Every process that writes must have been given them before.
	To []string `json:"to,omitempty"`
	// Promote is the site that becomes home where From is; see [Router.Promote].
	Promote string         `json:"promote,omitempty"`
	Person  string         `json:"person"` // who answers for it
	Cause   evidence.Cause `json:"cause"`
}

// MigrationPlan is what a migration would do. It is data: it can be printed, compared, signed and kept.
type MigrationPlan struct {
	Migration
	Made time.Time `json:"made"`
	// Epoch is the state of the sites that it was made for, and Sites what the rules said of each.
	Epoch   int           `json:"epoch"`
	EpochID string        `json:"epochId"`
	Sites   []PlannedSite `json:"sites"`
	// Keeps are the enrolled sites when it is done.
	Keeps []string `json:"keeps"`
	// Objects and Bytes are what From held; not known if Unreachable is set.
	Objects     int64 `json:"objects"`
	Bytes       int64 `json:"bytes"`
	Unreachable bool  `json:"unreachable,omitempty"`
	// Digest is the SHA-256 of all the rest, in lower-case hexadecimal.
	Digest string `json:"digest"`
}

// PlannedSite is what the rules said of a site when a plan was made.
type PlannedSite struct {
	Site     string            `json:"site"`
	Verdict  residency.Verdict `json:"verdict"` // on new data
	Rules    residency.Verdict `json:"rules"`   // where an override changed it
	Ruleset  string            `json:"ruleset,omitempty"`
	Facts    string            `json:"facts,omitempty"`
	Override string            `json:"override,omitempty"`
}

func (p *MigrationPlan) digest() (string, error) {
	c := *p
	c.Digest = ""
	text, err := json.Marshal(&c)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// PlanMigration plans to bring everything that a site has to others. It changes nothing. A target that may not hold the
// data is a *[DeniedError] with the decisions of all sites, as are targets with which the placement cannot be had;
// other errors wrap [ErrSites] or [ErrSuperseded], or are the context's.
func (r *Router) PlanMigration(ctx context.Context, m Migration) (*MigrationPlan, error) {
	if err := r.follow(ctx); err != nil {
		return nil, err
	}
	if m.Cause == "" {
		m.Cause = evidence.CauseOther
	}
	e := r.epoch.Load()
	keeps, err := r.checkMigration(e, m)
	if err != nil {
		return nil, err
	}
	if err := r.affords(ctx, keeps, m.To); err != nil {
		return nil, err
	}
	p := &MigrationPlan{Migration: m, Made: r.o.Now().UTC().Truncate(time.Second), Epoch: e.N, EpochID: e.ID, Keeps: keeps}
	for _, s := range r.sites {
		d, err := r.decide(ctx, s)
		if err != nil {
			return nil, err
		}
		p.Sites = append(p.Sites, planned(s, d))
	}
	p.Objects, p.Bytes, err = r.site(m.From).holds(ctx)
	if cerr := ctx.Err(); cerr != nil {
		return nil, cerr
	}
	p.Unreachable = err != nil
	p.Digest, err = p.digest()
	return p, err
}

func planned(s *site, d residency.Decision) PlannedSite {
	v := PlannedSite{Site: s.Name, Verdict: d.Verdict, Rules: d.Rules, Ruleset: d.Ruleset, Facts: d.Facts}
	if d.Override != nil {
		v.Override = d.Override.ID
	}
	return v
}

// checkMigration checks the names in a migration, and returns the sites that will be enrolled.
func (r *Router) checkMigration(e *epochRecord, m Migration) ([]string, error) {
	bad := func(format string, args ...any) ([]string, error) {
		return nil, fmt.Errorf("%w: %s", ErrSites, fmt.Sprintf(format, args...))
	}
	if err := r.answerable(evidence.KindPromotion, evidence.Promotion{To: m.From, Person: m.Person, Cause: m.Cause}); err != nil {
		return nil, err
	}
	if r.site(m.From) == nil || !slices.Contains(e.Sites, m.From) {
		return bad("there is no enrolled site %s to move from", m.From)
	}
	keeps := slices.DeleteFunc(slices.Clone(e.Sites), func(name string) bool { return name == m.From })
	for i, name := range m.To {
		s := r.site(name)
		switch {
		case s == nil || name == m.From || slices.Contains(m.To[:i], name):
			return bad("%s cannot be moved to: give other sites, each once", name)
		case s.stands() == foreign:
			return nil, &SiteError{Site: name, Op: "migrate", err: s.wrong}
		}
		if !slices.Contains(keeps, name) {
			keeps = append(keeps, name)
		}
	}
	slices.Sort(keeps)
	switch {
	case len(keeps) == 0:
		return bad("no site would be left: give a site to move to")
	case m.From == e.Home && m.Promote == "":
		return bad("%s is the home site: say which site is to be promoted", m.From)
	case m.Promote != "" && (m.From != e.Home || !slices.Contains(keeps, m.Promote)):
		return bad("a site is promoted only where the home site is left, and only one that remains")
	}
	return keeps, nil
}

// affords checks that the sites of a migration's end give the placement, and that its targets may be written.
func (r *Router) affords(ctx context.Context, keeps, to []string) error {
	var good []*site
	var lacks []string
	for _, s := range r.sites {
		ok, err := r.writable(ctx, s)
		if err != nil {
			return err
		}
		switch {
		case ok && slices.Contains(keeps, s.Name):
			good = append(good, s)
		case !ok && slices.Contains(to, s.Name):
			lacks = append(lacks, "the site "+s.Name+" to move to")
		}
	}
	if lacks = append(lacks, r.lacks(good)...); len(lacks) == 0 {
		return nil
	}
	e := &DeniedError{Decisions: map[string]residency.Decision{}, Lacks: lacks}
	for _, s := range r.sites {
		d, err := r.decide(ctx, s)
		if err != nil {
			return err
		}
		e.Decisions[s.Name] = d
	}
	return r.refused(ctx, e)
}

// writable says whether new data may go to a site now.
func (r *Router) writable(ctx context.Context, s *site) (bool, error) {
	if err := r.probeDue(ctx, s); err != nil {
		return false, err
	}
	d, err := r.decide(ctx, s)
	return err == nil && r.canWrite(s, d), err
}

// fresh is nil if a plan is as it was made, and what it rests on too.
func (r *Router) fresh(ctx context.Context, p *MigrationPlan) error {
	e := r.epoch.Load()
	if e.ID != p.EpochID || e.N != p.Epoch {
		return ErrStale
	}
	keeps, err := r.checkMigration(e, p.Migration)
	if err != nil {
		return err
	}
	if err := r.affords(ctx, keeps, p.To); err != nil {
		return err
	}
	if !slices.Equal(keeps, p.Keeps) || len(p.Sites) != len(r.sites) {
		return ErrStale
	}
	for i, s := range r.sites {
		d, err := r.decide(ctx, s)
		if err != nil {
			return err
		}
		now, then := planned(s, d), p.Sites[i]
		now.Facts, then.Facts = "", "" // they name the time of asking
		if now != then {
			return ErrStale
		}
	}
	return nil
}

// MigrationReport says what a call of [Router.Migrate] did. A later call goes on, and counts anew.
type MigrationReport struct {
	ID      string        `json:"id"`
	From    string        `json:"from"`
	To      []string      `json:"to,omitempty"`
	Took    time.Duration `json:"took"`
	Checked int64         `json:"checked"` // objects whose copies were read and compared
	Copied  int64         `json:"copied"`  // copies that were made
	Bytes   int64         `json:"bytes"`   // of these
	Deleted int64         `json:"deleted"` // objects that were deleted at From
	Dropped int64         `json:"dropped"` // of these, those that nobody has any more
	// Kept are objects that were left at From because too few verified copies are elsewhere, or copies differ.
	Kept     int64    `json:"kept"`
	KeptKeys []string `json:"-"` // at most a thousand
	// Locked are the objects that the store of From would not let go.
	Locked     Residue  `json:"locked"`
	LockedKeys []string `json:"-"`               // at most a thousand
	Proof      *Proof   `json:"proof,omitempty"` // once everything is where it shall be
	Done       bool     `json:"done"`            // nothing is left at From
}

// Residue is ciphertext that stays where it should not be, until its store lets it go.
type Residue struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
	// Until is when the last of it whose date is known can be deleted; of Undated objects it is not known.
	Until   time.Time `json:"until,omitzero"`
	Undated int64     `json:"undated,omitempty"`
}

// Proof says what a migration brought, without naming it.
type Proof struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
	// Digest is the SHA-256, in lower-case hexadecimal, of a line for each object, in the order of the keys: the
	// SHA-256 of the key, a space, the SHA-256 of the bytes, both in the same notation, and a newline.
	Digest string `json:"digest"`
	// Decisions are the digests of the facts that the targets' decisions were made on.
	Decisions []string `json:"decisions,omitempty"`
}

// ResidueError says that objects stay at a site that was left. Everything is elsewhere as it should be.
type ResidueError struct {
	Site string
	Residue
}

// Error says what to do about it.
func (e *ResidueError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "router: %s, %d bytes, stay at site %s, whose store refuses to delete them", countWord(int(e.Objects), "object"), e.Bytes, e.Site)
	if !e.Until.IsZero() {
		fmt.Fprintf(&b, " until %s", e.Until.UTC().Format("2006-01-02 15:04 UTC"))
	}
	b.WriteString(": destroy the keys that they are sealed with (crypto-shred), and resume the migration after that date")
	return b.String()
}
