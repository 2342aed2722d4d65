package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
)

// racers is how many writers a probe sets against each other. Four find a store that ignores the
// condition at once, and one that races (gocloud's fileblob) in all but one of some thousands of probes.
const racers = 8

// ProbeExclusive finds out, by a race over one fresh name, whether the bucket creates exclusively. The
// object it leaves is deleted if the store lets us.
func (s *Store) ProbeExclusive(ctx context.Context) (exclusive bool, err error) {
	err = s.retry(ctx, "probe", func() (again bool, err error) {
		exclusive, again, err = s.probe(ctx)
		return again, err
	})
	return exclusive, err
}

// probe is one race. Where nobody won, as when the winner's answer was lost, another one may tell.
func (s *Store) probe(ctx context.Context) (exclusive, again bool, err error) {
	var tag [16]byte
	rand.Read(tag[:])
	key := "probe/" + hex.EncodeToString(tag[:])
	results := make([]error, racers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			data := append(tag[:len(tag):len(tag)], byte(i))
			<-start
			results[i] = s.upload(ctx, key, data)
		})
	}
	close(start)
	wg.Wait()
	won := 0
	var failure error
	for _, err := range results {
		if err == nil {
			won++
		} else {
			failure = err
		}
	}
	if err := ctx.Err(); err != nil {
		return false, false, err
	}
	if won == 0 {
		failure, again = classify(failure), retryable(failure)
		if errors.Is(failure, ErrNotFound) { // of what is being written it says nothing
			failure = fmt.Errorf("%w: the bucket does not exist", failure)
		}
		return false, again, fmt.Errorf("the store took no object: %w", failure)
	}
	// A late second writer must lose as well: some stores honour the condition only while writes overlap.
	late := s.upload(ctx, key, append(tag[:len(tag):len(tag)], racers))
	if err := s.Delete(ctx, key); err != nil && ctx.Err() != nil {
		return false, false, errors.Join(ctx.Err(), err)
	}
	return won == 1 && late != nil, false, nil
}
