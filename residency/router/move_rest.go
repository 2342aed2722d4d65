package router

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// clearLeft deletes what reached a site after it was left for good. A writer that was killed in the middle of a write that
// spans the change of sites leaves an object there, or an intent. Nothing is lost with it: what such a writer reported
// before the change was seen by the second pass, and what it reported after it is at enough sites of the new set.
// Nothing is deleted unless the home site says that the migration away from there has ended and none is under way.
func (r *Router) clearLeft(ctx context.Context, all *moves, opts *MigrateOptions) error {
	if all.open() != nil {
		return nil
	}
	var errs []error
	for n, rec := range all.records {
		s := r.site(rec.From)
		if s == nil || !all.phases[n][phaseDone] || s.resting() {
			continue
		}
		m := &mover{r: r, from: s}
		if opts != nil {
			m.o = *opts
		}
		errs = append(errs, m.clear(ctx))
	}
	return errors.Join(errs...)
}

// clear deletes users' objects and intents at the site that was left.
func (m *mover) clear(ctx context.Context) error {
	var kept Residue
	for c := (&cursor{s: m.from, size: pageSize}); ; {
		o, err := c.peek(ctx)
		switch {
		case err != nil:
			return err
		case o == nil && kept.Objects > 0:
			return &ResidueError{Site: m.from.Name, Residue: kept}
		case o == nil:
			return nil
		}
		c.pass(o.Key)
		if strings.HasPrefix(o.Key, reserved) && !strings.HasPrefix(o.Key, intentPrefix) {
			continue
		}
		if ours, err := m.isLeft(ctx); err != nil || !ours {
			return err
		}
		_, locked, err := m.locked(ctx, o.Key)
		if err == nil && !locked {
			locked, err = m.erase(ctx, o.Key)
		}
		if err != nil {
			return err
		}
		if locked {
			kept.Objects++
			kept.Bytes += o.Size
		}
	}
}

// isLeft reports whether the site is still ours, and left in the newest epoch that it and the home site know. It is asked
// before each deletion, because the site may be taken back at any time, and there is seldom anything to delete.
func (m *mover) isLeft(ctx context.Context) (bool, error) {
	home := m.r.home()
	if home == nil {
		return false, fail(ErrHomeDown)
	}
	for _, s := range []*site{home, m.from} {
		v, err := m.r.sight(ctx, s)
		if err != nil || !v.marked {
			return false, err
		}
		if err := m.r.outdated(ctx, s); err != nil {
			return false, err
		}
	}
	return slices.Contains(m.r.epoch.Load().Left, m.from.Name), nil
}
