// Package probetest has a prober for tests, so that what depends on where buckets are can be tested without a
// network.
package probetest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/probe"
)

// Fake is a [probe.Prober] that finds what it was told to. It works with any bucket, and is safe for concurrent
// use. The zero Fake fails until it is told something.
type Fake struct {
	mu   sync.Mutex
	now  probe.Observation
	err  error
	set  bool
	refs []probe.Ref
}

// At returns a Fake that observes a location.
func At(l residency.Location) *Fake {
	f := &Fake{}
	f.Set(probe.Observation{Location: l})
	return f
}

// Set changes what is found from now on, and ends a failure.
func (f *Fake) Set(o probe.Observation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now, f.err, f.set = o, nil, true
}

// Fail makes each probe from now on fail with an error.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// Refs returns what was asked for so far, in order.
func (f *Fake) Refs() []probe.Ref {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.refs)
}

// Probe implements [probe.Prober].
func (f *Fake) Probe(ctx context.Context, _ *blob.Bucket, ref probe.Ref) (probe.Observation, error) {
	if err := ctx.Err(); err != nil {
		return probe.Observation{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refs = append(f.refs, ref)
	switch {
	case f.err != nil:
		return probe.Observation{}, f.err
	case !f.set:
		return probe.Observation{}, errors.New("probetest: the fake was not told what to find")
	}
	o := f.now
	o.Location.Places = slices.Clone(o.Location.Places)
	o.Problems = slices.Clone(o.Problems)
	o.Evidence = nil
	for k, v := range f.now.Evidence {
		o.Note(k, v)
	}
	return o, nil
}
