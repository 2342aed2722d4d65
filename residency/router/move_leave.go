package router

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/residency/evidence"
)

// leave deletes at the leaving site what is elsewhere, and proves it.
func (m *mover) leave(ctx context.Context) error {
	if m.phases[phaseDone] {
		m.report.Done = true
		return m.recall(ctx)
	}
	m.stage(evidence.Deleted)
	l := &leaving{m: m}
	if err := l.sweep(ctx); err != nil {
		return err
	}
	if m.report.Kept > 0 {
		return m.short()
	}
	if err := l.records(ctx); err != nil {
		return err
	}
	if err := m.prove(ctx); err != nil {
		return err
	}
	if m.report.Locked.Objects > 0 {
		return m.residue(ctx)
	}
	if err := m.r.evidence(ctx, evidence.KindMove, m.rec.From, m.rec.evidence(evidence.Done, m.report.Deleted, 0)); err != nil {
		return err
	}
	if err := m.mark(ctx, &phaseRecord{V: recordVersion, Phase: phaseDone}); err != nil {
		return err
	}
	m.report.Done = true
	return nil
}

// short is the error of objects of which not enough copies could be made or found equal.
func (m *mover) short() error {
	if m.odd.Load() {
		return fail(ErrDiffering)
	}
	return fail(ErrTooFewSites, lasts(m.r.enrolled())...)
}

// leaving deletes what a site has.
type leaving struct {
	m  *mover
	mu sync.Mutex
}

// sweep goes over all that the leaving site has. What a listing of the remaining sites shows at too few of them, and what
// the passes have not read, is brought there first.
func (l *leaving) sweep(ctx context.Context) error {
	m := l.m
	home := m.r.home()
	if home == nil {
		return fail(ErrHomeDown)
	}
	sites := append([]*site{m.from, home}, without(m.r.enrolled(), home)...)
	read := &manifestReader{m: m, pass: 2}
	b := &batch{m: m}
	err := walkObjects(ctx, sites, "", func(key string, have listed) error {
		if have[0] == nil {
			return nil
		}
		known, err := read.at(ctx, key)
		if err != nil {
			return err
		}
		v := m.weigh(sites[1:], have[1:])
		sound := known != nil && known.Good && !known.Odd && have[1] != nil && have[1].Size == known.Size && v.enough
		f := found{key: key, size: have[0].Size, sound: sound, atHome: have[1] != nil, weight: v}
		f.atFrom = true
		return b.add(ctx, func(ctx context.Context) (*movedEntry, error) { return l.one(ctx, f) })
	})
	if err != nil {
		return err
	}
	return b.finish(ctx)
}

// found is what the listings show of a key at the leaving site.
type found struct {
	key    string
	size   int64
	sound  bool // a pass has read enough copies, and the listings show them
	atHome bool
	weight
}

// one deletes an object, if enough others are known.
func (l *leaving) one(ctx context.Context, f found) (*movedEntry, error) {
	m := l.m
	until, locked, err := m.locked(ctx, f.key)
	if err != nil {
		return nil, err
	}
	dropped := false
	if !f.sound && !(locked && m.phases[phaseProved]) {
		e, err := l.assure(ctx, f)
		if err != nil {
			return nil, err
		}
		dropped = e == nil // deleted since: what is left here is nobody's
		if dropped && !m.sameHome() {
			// Another site was promoted meanwhile, which may not have had it: this may be the last copy.
			l.mu.Lock()
			defer l.mu.Unlock()
			m.keep(f.key)
			return nil, nil
		}
		if e != nil && (e.Odd || !e.Good) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if e.Odd {
				m.odd.Store(true)
			}
			m.keep(f.key)
			return nil, nil
		}
	}
	if !locked {
		locked, err = m.erase(ctx, f.key)
	}
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if locked {
		m.lock(f.key, f.size, until)
		return nil, nil
	}
	m.report.Deleted++
	if dropped {
		m.report.Dropped++
	}
	return &movedEntry{Key: f.key, Size: f.size}, nil
}

// assure brings an object to where it has to be. It returns nil if nobody has it any more.
func (l *leaving) assure(ctx context.Context, f found) (*movedEntry, error) {
	if f.atHome {
		return l.m.bring(ctx, f.key, true)
	}
	return l.m.reconsider(ctx, f.key, f.weight)
}

// lock notes an object that the store does not let go.
func (m *mover) lock(key string, size int64, until time.Time) {
	v := &m.report.Locked
	v.Objects, v.Bytes = v.Objects+1, v.Bytes+size
	if until.IsZero() {
		v.Undated++
	} else if until.After(v.Until) {
		v.Until = until
	}
	if len(m.report.LockedKeys) < maxReported {
		m.report.LockedKeys = append(m.report.LockedKeys, key)
	}
}

// locked asks whether the leaving site's store refuses to delete an object.
func (m *mover) locked(ctx context.Context, key string) (until time.Time, locked bool, err error) {
	if m.o.LockedUntil == nil {
		return time.Time{}, false, nil
	}
	err = m.from.call(ctx, "ask for a lock", func(c context.Context) (err error) {
		until, locked, err = m.o.LockedUntil(c, m.from.Bucket, key)
		return err
	})
	if isNotFound(err) {
		err = nil
	}
	if !locked {
		until = time.Time{}
	}
	return until, locked, err
}

// erase deletes an object at the leaving site, or says that its store refuses to.
func (m *mover) erase(ctx context.Context, key string) (refused bool, err error) {
	s := m.from
	if m.o.Erase == nil || s.ReadOnly {
		err = s.remove(ctx, key)
	} else if err = s.call(ctx, "delete", func(c context.Context) error { return m.o.Erase(c, s.Bucket, key) }); isNotFound(err) {
		err = nil
	}
	switch codeOf(err) {
	case gcerrors.PermissionDenied, gcerrors.FailedPrecondition, gcerrors.Unimplemented:
		return true, nil
	}
	return false, err
}

// sameHome reports whether the home site is that of the plan, or the one that it promotes, or became it with all that was
// reported.
func (m *mover) sameHome() bool {
	e := m.r.epoch.Load()
	home := e.Home
	return home == m.rec.Home || home == m.rec.Promote || !e.Forced && !e.Adopt
}

// records clears the leaving site of the router's records: they hold keys. What was kept aside there is brought to the
// desk. The marker and the epochs stay, so that nobody takes the site for a new one; they name sites only.
func (l *leaving) records(ctx context.Context) error {
	c := &cursor{s: l.m.from, opts: blob.ListOptions{Prefix: reserved}, size: pageSize}
	for {
		o, err := c.peek(ctx)
		if err != nil || o == nil {
			return err
		}
		c.pass(o.Key)
		if o.Key == markerName || strings.HasPrefix(o.Key, epochPrefix) || strings.HasPrefix(o.Key, evidencePrefix) {
			continue
		}
		if err := l.record(ctx, o.Key, o.Size); err != nil {
			return err
		}
	}
}

func (l *leaving) record(ctx context.Context, name string, size int64) error {
	until, locked, err := l.m.locked(ctx, name)
	if err == nil && strings.HasPrefix(name, asidePrefix) && !(locked && l.m.phases[phaseProved]) {
		err = l.aside(ctx, name)
	}
	if err == nil && !locked {
		locked, err = l.m.erase(ctx, name)
	}
	if err == nil && locked {
		l.m.lock(name, size, until)
	}
	return err
}

// prove sums up what the migration has brought, records it, and forgets the keys.
func (m *mover) prove(ctx context.Context) error {
	if m.phases[phaseProved] {
		return m.recall(ctx)
	}
	p := &Proof{Decisions: m.rec.Facts}
	all := sha256.New()
	read := &manifestReader{m: m, pass: 2}
	for {
		e, err := read.next(ctx)
		if err != nil {
			return err
		}
		if e == nil {
			break
		}
		p.Objects, p.Bytes = p.Objects+1, p.Bytes+e.Size
		e.line(all)
		read.entries = read.entries[1:]
	}
	p.Digest = hex.EncodeToString(all.Sum(nil))
	v := evidence.Proof{Move: m.rec.ID, From: m.rec.From, To: m.desk.Name, Objects: p.Objects, Bytes: p.Bytes, Digest: p.Digest, Decisions: p.Decisions}
	if err := m.r.evidence(ctx, evidence.KindProof, m.rec.From, v); err != nil {
		return err
	}
	err := m.mark(ctx, &phaseRecord{V: recordVersion, Phase: phaseProved, Proof: p})
	if errors.Is(err, errOtherRecord) {
		return m.recall(ctx) // another process has proved it and forgotten the keys
	}
	if err != nil {
		return err
	}
	m.report.Proof = p
	return m.forget(ctx)
}

// line writes what stands for an object in the digest of a proof.
func (e *movedEntry) line(to io.Writer) {
	key := sha256.Sum256([]byte(e.Key))
	fmt.Fprintf(to, "%s %s\n", hex.EncodeToString(key[:]), e.Sum)
}

// recall reads the proof from whoever has it, and sees to it that all have it that should.
func (m *mover) recall(ctx context.Context) error {
	name := m.rec.name() + "-" + phaseProved
	last := error(errRecord)
	for _, s := range m.r.sites {
		var p phaseRecord
		if last = s.get(ctx, name, &p); last != nil {
			continue
		}
		m.report.Proof = p.Proof
		if err := m.record(ctx, name, &p); err != nil {
			return err
		}
		return m.forget(ctx)
	}
	return last
}

// residue records what is left behind.
func (m *mover) residue(ctx context.Context) error {
	v := m.report.Locked
	v.Until = v.Until.UTC()
	err := m.r.evidence(ctx, evidence.KindResidual, m.rec.From, evidence.Residual{
		Move: m.rec.ID, Objects: v.Objects, Bytes: v.Bytes, Until: v.Until, Shredded: m.o.Shredded,
	})
	if err != nil {
		return err
	}
	n := 1
	for m.phases[residuePhase(n)] {
		n++
	}
	if n > 1 {
		if last, err := m.r.readResidue(ctx, m.rec, n-1); err != nil {
			return err
		} else if *last == v {
			return &ResidueError{Site: m.rec.From, Residue: v}
		}
	}
	err = m.mark(ctx, &phaseRecord{V: recordVersion, Phase: residuePhase(n), Left: &v})
	if err != nil && !errors.Is(err, errOtherRecord) { // another process has recorded what it found
		return err
	}
	return &ResidueError{Site: m.rec.From, Residue: v}
}

func residuePhase(n int) string { return phaseResidue + fmt.Sprintf("%08d", n) }

// readResidue reads what was left behind, from whoever knows it.
func (r *Router) readResidue(ctx context.Context, rec *moveRecord, n int) (*Residue, error) {
	last := error(errRecord)
	for _, s := range r.sites {
		var p phaseRecord
		if last = s.get(ctx, rec.name()+"-"+residuePhase(n), &p); last == nil && p.Left != nil {
			p.Left.Until = p.Left.Until.UTC()
			return p.Left, nil
		}
	}
	if last == nil {
		last = errRecord
	}
	return nil, last
}

// Residues are what earlier migrations had to leave behind, as it was last found, by site. See
// [Router.ResumeMigrations]. The home site must answer.
func (r *Router) Residues(ctx context.Context) (map[string]Residue, error) {
	all, err := r.readMoves(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]Residue{}
	for n, rec := range all.records {
		k := 0
		for all.phases[n][residuePhase(k+1)] {
			k++
		}
		if k == 0 || all.phases[n][phaseDone] {
			continue
		}
		v, err := r.readResidue(ctx, rec, k)
		if err != nil {
			return nil, err
		}
		out[rec.From] = *v
	}
	return out, nil
}
