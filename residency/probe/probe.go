package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/residency"
)

// Prober asks where a bucket is. Implementations are safe for concurrent use, write nothing and read no object.
type Prober interface {
	// Probe looks at a bucket that was opened with the driver of the prober's provider. What the provider refuses
	// to tell is a problem in the observation. An error, an [*Error] where the provider is to blame, means that
	// nothing was learned: what was known before is as old as it was.
	Probe(ctx context.Context, b *blob.Bucket, ref Ref) (Observation, error)
}

// Ref is what a bucket does not tell about itself.
type Ref struct {
	// Bucket is the name of the bucket or container at its provider. It may be empty where the URL has it.
	Bucket string
	// URL is what the bucket was opened by, such as
	// "s3://practice?endpoint=https://s3.eu-central-1.wasabisys.com", or the endpoint alone.
	URL string
}

// Observation is what a probe found. It is data and can be kept as evidence: it holds no name of an object or a
// bucket.
type Observation struct {
	// Location is what was found and nothing else: a region that nobody told is empty. Places are those of
	// replicas. Location.At is when it was looked at.
	Location residency.Location `json:"location"`
	// Evidence is what the provider answered, field by field, in its own words.
	Evidence map[string]string `json:"evidence,omitempty"`
	Problems []Problem         `json:"problems,omitempty"`
}

// Problem is something that a probe could not find out, or that should not be as it is.
type Problem struct {
	Code string `json:"code"` // such as "replication-unreadable"
	Text string `json:"text"` // what is wrong and what to do
	// Unplaced says that bytes rest or pass where nobody can say. It makes the location as a whole unknown.
	Unplaced bool `json:"unplaced,omitempty"`
}

// Note adds to the evidence. An empty value is not noted.
func (o *Observation) Note(field, value string) {
	if value == "" {
		return
	}
	if o.Evidence == nil {
		o.Evidence = map[string]string{}
	}
	o.Evidence[field] = value
}

// Report adds a problem.
func (o *Observation) Report(p Problem) { o.Problems = append(o.Problems, p) }

// Replica adds the places of a region that holds copies. One whose places nobody knows is an unplaced problem.
func (o *Observation) Replica(provider, region string) {
	r, ok := residency.LookupRegion(provider, region)
	known := ok && len(r.Places) > 0 && r.Status != residency.Announced
	for _, p := range r.Places {
		known = known && p.Valid()
	}
	if !known {
		o.Report(Problem{Code: "replica-unplaced", Unplaced: true,
			Text: fmt.Sprintf("copies are kept in region %s of %s, whose place is not known: end the replication", clip(region), clip(provider))})
		return
	}
	o.Location.Places = slices.Compact(slices.Sorted(slices.Values(slices.Concat(o.Location.Places, r.Places))))
}

// unplaced returns the first problem that makes the location unknown, or nil.
func (o Observation) unplaced() *Problem {
	for i, p := range o.Problems {
		if p.Unplaced {
			return &o.Problems[i]
		}
	}
	return nil
}

// ErrBucket is what an [*Error] is when there is no such bucket.
var ErrBucket = errors.New("there is no such bucket")

// Error is a probe that failed. Its text has no name of a bucket, unlike the errors of the providers' clients;
// those are there for errors.As.
type Error struct {
	Op     string // such as "head bucket"
	Status int    // of HTTP; 0 where there was no answer
	Code   string // the provider's, such as "SlowDown"
	Err    error
}

// Error implements error.
func (e *Error) Error() string {
	switch {
	case errors.Is(e.Err, context.Canceled):
		return e.Op + ": " + context.Canceled.Error()
	case errors.Is(e.Err, context.DeadlineExceeded):
		return e.Op + ": no answer in time"
	case e.Status == 404:
		return e.Op + ": " + ErrBucket.Error() + ": check its name and its endpoint"
	case e.Status == 0:
		return e.Op + ": no answer: check the endpoint, the credentials and the network"
	}
	text := e.Op + ": the provider answered with status " + strconv.Itoa(e.Status)
	if e.Code != "" {
		text += " (" + clip(e.Code) + ")"
	}
	return text
}

// Unwrap returns the client's error.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is [ErrBucket] and the bucket is missing.
func (e *Error) Is(target error) bool { return target == ErrBucket && e.Status == 404 }

// clip quotes what a provider said, cut to a length that a line of text bears.
func clip(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return strconv.Quote(s)
}
