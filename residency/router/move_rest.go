package router

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// clearLeft deletes what reached a site after it was left. A writer that was killed in the middle of a write that spans
// the change of sites leaves an object there, or an intent. Nothing is lost with it: what such a writer reported before the
// change was seen by the second pass, and what it reported after it is at enough sites of the new set.
func (r *Router) clearLeft(ctx context.Context, opts *MigrateOptions) error {
	var errs []error
	for _, s := range r.sites {
		if slices.Contains(r.epoch.Load().Left, s.Name) {
			m := &mover{r: r, from: s}
			if opts != nil {
				m.o = *opts
			}
			errs = append(errs, m.clear(ctx))
		}
	}
	return errors.Join(errs...)
}

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
		if o.Key == markerName || strings.HasPrefix(o.Key, epochPrefix) {
			continue
		}
		no, err := m.erase(ctx, o.Key)
		if err != nil {
			return err
		}
		if no {
			kept.Objects++
			kept.Bytes += o.Size
		}
	}
}
