package router_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/router"
)

// world is some sites in memory, which outlive the processes that use them.
type world struct {
	t      testing.TB
	names  []string
	stores map[string]*faultstore.Store
	opts   router.Options
	rules  router.Decider                     // default: all is allowed
	places map[string]residency.Place         // of the sites, if it matters
	watch  func(site string, o faultstore.Op) // sees all requests of living processes
	still  string                             // a site that is read-only
}

func newWorld(t testing.TB, mustReach int, names ...string) *world {
	w := &world{t: t, names: names, stores: map[string]*faultstore.Store{}}
	w.opts.Placement.MustReach = mustReach
	for _, n := range names {
		w.stores[n] = faultstore.New()
	}
	return w
}

// process is a user of a world, who can be killed and cut off from sites. Its requests are numbered over all sites.
type process struct {
	w       *world
	buckets map[string]*blob.Bucket

	mu     sync.Mutex
	n      int
	killAt int
	lost   bool // whether the request at which it is killed has no effect
	dead   bool
	down   map[string]bool
	fault  func(site string, o faultstore.Op) faultstore.Fault
}

func (w *world) process() *process {
	p := &process{w: w, buckets: map[string]*blob.Bucket{}, down: map[string]bool{}}
	for name, s := range w.stores {
		p.buckets[name] = s.Gated(func(o faultstore.Op) (faultstore.Fault, func()) { return p.gate(name, o), func() {} })
		w.t.Cleanup(func() { _ = p.buckets[name].Close() })
	}
	return p
}

func (p *process) gate(site string, o faultstore.Op) faultstore.Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	killed := faultstore.FailWith(faultstore.ErrKilled)
	if p.dead {
		return killed
	}
	if p.down[site] {
		return faultstore.FailWith(errors.New("connection refused"))
	}
	if p.w.watch != nil {
		p.w.watch(site, o)
	}
	if p.n++; p.n == p.killAt {
		p.dead = true
		if !p.lost {
			return killed.Applied()
		}
		return killed
	}
	if p.fault != nil {
		return p.fault(site, o)
	}
	return faultstore.Fault{}
}

func (p *process) cut(down bool, sites ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range sites {
		p.down[s] = down
	}
}

func (p *process) setFault(f func(site string, o faultstore.Op) faultstore.Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

// kill sets the request, counted from now on, at which the process dies; 0 for never.
func (p *process) kill(n int, lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n, p.killAt, p.lost = 0, n, lost
}

func (p *process) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

func (p *process) sites() []router.Site {
	var out []router.Site
	for _, n := range p.w.names {
		s := router.Site{Name: n, Bucket: p.buckets[n], ReadOnly: n == p.w.still}
		if at, ok := p.w.places[n]; ok {
			s.Target.Location.Places = []residency.Place{at}
		}
		out = append(out, s)
	}
	return out
}

func (p *process) open() (*router.Router, error) {
	o, rules := p.w.opts, p.w.rules
	if rules == nil {
		rules = allow{}
	}
	return router.Open(context.Background(), rules, subject, p.sites(), &o)
}

func (p *process) mustOpen() *router.Router {
	r, err := p.open()
	require.NoError(p.w.t, err)
	p.w.t.Cleanup(func() { _ = r.Close(context.Background()) })
	return r
}

// open opens a router in a new process.
func (w *world) open() *router.Router { return w.process().mustOpen() }

func create(r *router.Router, key, data string) error {
	return r.Bucket().WriteAll(context.Background(), key, []byte(data), &blob.WriterOptions{IfNotExist: true, ContentType: "application/octet-stream"})
}

// confirm is what package store does after a write that failed: it reads back, and has the object flushed.
func confirm(r *router.Router, key, data string) error {
	ctx := context.Background()
	rd, err := r.Bucket().NewReader(ctx, key, nil)
	if err != nil {
		return err
	}
	defer rd.Close()
	var there bytes.Buffer
	if _, err := there.ReadFrom(rd); err != nil {
		return err
	}
	if there.String() != data {
		return errors.New("another object")
	}
	var f interface{ Flush() error }
	if !rd.As(&f) {
		return errors.New("the reader offers no flush")
	}
	return f.Flush()
}

func promote(r *router.Router, home string, force bool) error {
	_, err := r.Promote(context.Background(), router.Promotion{Home: home, Person: "Dr Ada", Cause: evidence.CauseOther, Force: force})
	return err
}

// users returns what a store holds that is not the router's.
func users(s *faultstore.Store) map[string]string {
	out := map[string]string{}
	for k, v := range s.Objects() {
		if !strings.HasPrefix(k, ".router/") {
			out[k] = string(v)
		}
	}
	return out
}

// records counts a store's records below a prefix.
func records(s *faultstore.Store, prefix string) (n int) {
	for _, k := range s.Keys() {
		if strings.HasPrefix(k, ".router/"+prefix) {
			n++
		}
	}
	return n
}

// check checks what must always hold: every reported object is whole at as many sites as it must be, and no two sites
// have different objects at one key.
func (w *world) check(mustReach int, reported map[string]string, gone ...string) error {
	copies, seen := map[string]int{}, map[string]string{}
	for _, n := range w.names {
		if slices.Contains(gone, n) {
			continue
		}
		for k, v := range users(w.stores[n]) {
			if old, ok := seen[k]; ok && old != v {
				return fmt.Errorf("two objects at %s: %q and %q", k, old, v)
			}
			seen[k] = v
			copies[k]++
		}
	}
	for _, k := range slices.Sorted(maps.Keys(reported)) {
		if seen[k] != reported[k] {
			return fmt.Errorf("%s is %q, not %q", k, seen[k], reported[k])
		}
		if copies[k] < mustReach {
			return fmt.Errorf("%s has %d copies, not %d", k, copies[k], mustReach)
		}
	}
	return nil
}

// readable checks that a router gives every reported object back.
func readable(r *router.Router, reported map[string]string) error {
	for k, v := range reported {
		got, err := r.Bucket().ReadAll(context.Background(), k)
		if err != nil {
			return fmt.Errorf("read %s: %w", k, err)
		}
		if string(got) != v {
			return fmt.Errorf("%s reads as %q, not %q", k, got, v)
		}
	}
	return nil
}

// lose returns the world without a site: its store is empty from now on.
func (w *world) lose(name string) *world {
	v := &world{t: w.t, names: w.names, stores: map[string]*faultstore.Store{}, opts: w.opts}
	for n, s := range w.stores {
		v.stores[n] = s.Clone()
	}
	v.stores[name] = faultstore.New()
	return v
}

// survives checks that every reported object can be read whichever site is lost, after another site was promoted if
// it was the home site, and that writing goes on.
func (w *world) survives(mustReach int, reported map[string]string) error {
	for _, lost := range w.names {
		v := w.lose(lost)
		p := v.process()
		p.cut(true, lost)
		r, err := p.open()
		if err != nil {
			return fmt.Errorf("without %s: open: %w", lost, err)
		}
		if err := readable(r, reported); err != nil {
			return fmt.Errorf("without %s: %w", lost, err)
		}
		st, err := r.Status(context.Background())
		if err != nil {
			return err
		}
		if st.Home == lost || !st.Ready {
			for _, n := range w.names {
				if n != lost {
					if err := promote(r, n, false); err != nil {
						return fmt.Errorf("without %s: promote %s: %w", lost, n, err)
					}
					break
				}
			}
			if err := readable(r, reported); err != nil {
				return fmt.Errorf("without %s, promoted: %w", lost, err)
			}
			if err := v.check(mustReach, reported, lost); err != nil {
				return fmt.Errorf("without %s, promoted: %w", lost, err)
			}
		}
		if err := create(r, "after/"+lost, "x"); err != nil {
			return fmt.Errorf("without %s: write: %w", lost, err)
		}
		if err := r.Close(context.Background()); err != nil {
			return err
		}
	}
	return nil
}
