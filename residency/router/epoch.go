package router

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carekeep/carekeep/residency"
)

func itoa(n int) string { return strconv.Itoa(n) }

// sighting is what a look at a site found.
type sighting struct {
	marked bool
	epochs map[string]int  // names of epoch records to their number
	ready  map[string]bool // names of epochs in which the site is current
	empty  bool            // no object but records; not looked at where an epoch is known
}

// sight looks at the records of a site.
func (r *Router) sight(ctx context.Context, s *site) (*sighting, error) {
	v := &sighting{epochs: map[string]int{}, ready: map[string]bool{}}
	var m marker
	err := s.get(ctx, markerName, &m)
	switch {
	case err == nil:
		v.marked = true
		if m.Site != s.Name {
			return v, &SiteError{Site: s.Name, Op: "open", err: ErrOtherSite}
		}
		if !sameSubject(m.Subject, r.subject) {
			return v, &SiteError{Site: s.Name, Op: "open", err: ErrOtherSubject}
		}
	case !isNotFound(err):
		return v, err
	}
	err = s.list(ctx, epochPrefix, func(name string) bool {
		if n, id, ready, ok := epochName(name); ok {
			e := epochRecord{N: n, ID: id}
			if ready {
				v.ready[e.name()] = true
			} else {
				v.epochs[e.name()] = n
			}
		}
		return true
	})
	if err != nil || len(v.ready) > 0 {
		return v, err
	}
	v.empty = true
	return v, s.list(ctx, "", func(name string) bool {
		v.empty = strings.HasPrefix(name, reserved)
		return v.empty
	})
}

// sameSubject compares what two subjects say, in whatever order.
func sameSubject(a, b residency.Subject) bool {
	for _, x := range []*residency.Subject{&a, &b} {
		x.Origins, x.Tags = slices.Sorted(slices.Values(x.Origins)), slices.Sorted(slices.Values(x.Tags))
	}
	return reflect.DeepEqual(a, b)
}

// look looks at all sites, finds the epoch, and how each site stands to it.
func (r *Router) look(ctx context.Context) error {
	views := make([]*sighting, len(r.sites))
	errs := make([]error, len(r.sites))
	each(r.sites, func(s *site) error {
		i := slices.Index(r.sites, s)
		views[i], errs[i] = r.sight(ctx, s)
		return nil
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, err := range errs {
		if errors.Is(err, ErrOtherSite) || errors.Is(err, ErrOtherSubject) {
			return err
		}
	}
	newest, contested := latest(views, errs)
	if newest == "" {
		return r.first(ctx, views, errs)
	}
	if contested {
		r.log("two promotions were begun at once", "", ErrUnfinished)
		r.later.Store(true)
	}
	e, err := r.readEpoch(ctx, newest, views, errs)
	if err != nil {
		return err
	}
	r.epoch.Store(e)
	for i, s := range r.sites {
		r.stand(s, views[i], errs[i])
	}
	if e.N == 1 && !slices.ContainsFunc(errs, isError) && r.unbegun(views) {
		return r.first(ctx, views, errs)
	}
	return r.readQuarantine(ctx)
}

// latest returns the name of the latest epoch that any site knows of, and whether there are two.
func latest(views []*sighting, errs []error) (newest string, contested bool) {
	last := 0
	for i, v := range views {
		if errs[i] != nil {
			continue
		}
		for name, n := range v.epochs {
			switch {
			case n > last:
				newest, last, contested = name, n, false
			case n == last && name != newest:
				contested = true
			}
		}
	}
	return newest, contested
}

// unbegun reports whether whoever began the first epoch did not get to its end: then the home site has its record and is
// not current, or no site is. A home site without the record while others are current has lost what it had.
func (r *Router) unbegun(views []*sighting) bool {
	name := r.epoch.Load().name()
	none := true
	for i, s := range r.sites {
		if s.Name == r.epoch.Load().Home && views[i].epochs[name] > 0 && !views[i].ready[name] {
			return true
		}
		none = none && !views[i].ready[name]
	}
	return none
}

func isError(err error) bool { return err != nil }

// readEpoch reads an epoch's record from any site that has it.
func (r *Router) readEpoch(ctx context.Context, name string, views []*sighting, errs []error) (*epochRecord, error) {
	last := error(errRecord)
	for i, s := range r.sites {
		if errs[i] != nil || views[i].epochs[name] == 0 {
			continue
		}
		e := new(epochRecord)
		if last = s.get(ctx, name, e); last == nil && e.name() == name && len(e.Sites) > 0 && e.MustReach > 0 {
			return e, nil
		}
	}
	if last == nil {
		last = errRecord
	}
	return nil, last
}

// stand sets how a site stands to the epoch.
func (r *Router) stand(s *site, v *sighting, err error) {
	e := r.epoch.Load()
	switch {
	case errors.Is(err, ErrOtherSite) || errors.Is(err, ErrOtherSubject):
		s.setStanding(foreign, err)
		return
	case err != nil:
		return // it stays as it was
	case !v.marked && !v.empty && len(v.epochs) == 0:
		s.setStanding(foreign, &SiteError{Site: s.Name, Op: "open", err: ErrForeign})
		return
	case v.marked && v.ready[e.name()]:
		s.setStanding(current, nil)
	case v.marked && v.epochs[e.name()] > 0 && slices.Contains(e.Filling, s.Name):
		s.setStanding(filling, nil)
	default:
		s.setStanding(behind, nil)
	}
	for name := range v.epochs {
		if n, id, _, ok := epochName(name); ok {
			r.noteEpoch(n, id)
		}
	}
	if s.Name == e.Home {
		r.ready.Store(s.stands() == current)
	}
}

// revive looks again at a site that did not answer or was behind, unless it was asked a moment ago.
func (r *Router) revive(ctx context.Context, s *site) {
	if st := s.stands(); st == current || st == filling || st == foreign || s.resting() {
		return
	}
	v, err := r.sight(ctx, s)
	if ctx.Err() != nil {
		return
	}
	r.stand(s, v, err)
	if !s.takes() {
		s.mu.Lock()
		s.until = time.Now().Add(firstPause)
		s.mu.Unlock()
	}
}

// first begins the first epoch.
func (r *Router) first(ctx context.Context, views []*sighting, errs []error) error {
	for i, s := range r.sites {
		if errs[i] != nil {
			return fmt.Errorf("%w: %w", ErrFirst, errs[i])
		}
		if s.ReadOnly {
			return fmt.Errorf("%w: %w", ErrFirst, s.unchangeable("open"))
		}
		if !views[i].empty && !views[i].marked && s.Name != r.o.Home {
			return &SiteError{Site: s.Name, Op: "open", err: ErrForeign}
		}
	}
	// Its id follows from the home site, so that two routers that are opened with the same options begin the same.
	_, must := r.o.Placement.among(len(r.sites))
	e := &epochRecord{V: recordVersion, N: 1, ID: shortDigest(r.o.Home)[:16], Home: r.o.Home, Sites: names(r.sites), MustReach: must}
	filled := !views[slices.Index(r.sites, r.site(r.o.Home))].empty
	for _, s := range r.sites {
		if err := s.put(ctx, markerName, &marker{V: recordVersion, Site: s.Name, Subject: r.subject}); err != nil {
			return r.whose(ctx, s, err)
		}
		if err := s.put(ctx, e.name(), e); err != nil {
			return err
		}
	}
	r.epoch.Store(e)
	home := r.home()
	for _, s := range append(without(r.sites, home), home) { // it is last: see unbegun
		// A home site with objects in it has to be copied first, by Reconcile.
		if filled && s.Name != e.Home {
			s.setStanding(behind, nil)
			continue
		}
		if err := s.put(ctx, e.name()+readySuffix, &readyRecord{V: recordVersion, Site: s.Name}); err != nil {
			return err
		}
		s.setStanding(current, nil)
	}
	r.ready.Store(true)
	return nil
}

// whose explains why a marker could not be put.
func (r *Router) whose(ctx context.Context, s *site, err error) error {
	if !errors.Is(err, errOtherRecord) {
		return err
	}
	if _, serr := r.sight(ctx, s); serr != nil {
		return serr
	}
	return err
}

// outdated reports whether a site knows of an epoch that this router does not.
func (r *Router) outdated(ctx context.Context, s *site) error {
	later := false
	err := s.list(ctx, epochPrefix, func(name string) bool {
		if n, id, _, ok := epochName(name); ok && r.noteEpoch(n, id) {
			later = true
		}
		return !later
	})
	if err == nil && later {
		return fail(ErrSuperseded)
	}
	return err
}

// noteEpoch takes note of an epoch that was seen at a site, and reports whether it is later than this router's, or
// another of the same number.
func (r *Router) noteEpoch(n int, id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.epoch.Load()
	later := n > e.N || n == e.N && id != e.ID
	if later {
		r.later.Store(true)
	}
	return later
}
