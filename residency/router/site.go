package router

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/probe"
)

// Site is a place that holds copies.
type Site struct {
	// Name names the site in records, errors and reports: lower-case letters, digits and inner hyphens, at most 32. It
	// must not change, and never name a patient.
	Name string
	// Bucket holds the copies. It stays the caller's to close. The router expects of it what [gocloud.dev/blob] says,
	// and that a listing shows what was written before it began.
	Bucket *blob.Bucket
	// Target is what is known of the place, for the rules.
	Target residency.Target
	// Operator is who runs the place, in the caller's words, for [Placement.Operators]. Empty: the site's name.
	Operator string
	// Onsite places do not count for [Placement.Offsite].
	Onsite bool
	// Removable places are expected to be away at times. One that was away when the router was opened is looked for
	// again when it is reconciled, and by writes only if they cannot do without it.
	Removable bool
	// ReadOnly places get no request that changes anything. What they miss is owed to them ([SiteStatus.Owed]). As no record
	// of another epoch can be put there, such a place is not read after a promotion or a migration, until it may be
	// written and was reconciled. The first opening of a router needs places that may be written.
	ReadOnly bool
	// Timeout is how long the place may make no progress with a request; default one minute, which is longer than the retries
	// of providers' clients take and short beside a backup. After it the request's context ends, the place counts as down
	// ([ErrStalled]) and is not asked for five minutes by what can do without it. It bounds a short request (a look, a deletion,
	// a record, a page of a listing, a probe) as a whole. Of an upload or a download it bounds the time between two reads:
	// one that goes on may take as long as it takes. As drivers take bytes before they have sent them, the end of an upload has
	// a second more for each 64 KiB that may still be on their way, which are the last 32 MiB, or what
	// blob.WriterOptions lets a driver buffer; so with the default an upload into a black hole ends within ten minutes.
	//
	// A request that has begun is waited for, so that it takes no effect afterwards. A driver must give up when its context
	// ends: a call that does not return, as of a system call on a dead network disk, cannot be ended, and nor can what waits.
	Timeout time.Duration
	// Probe, if not nil, finds out where the bucket really is. It is asked when the router is opened and every
	// [Options.ProbeEvery]. The rules judge what it observes, with what Target declares where the provider does not
	// tell ([probe.Observation.Settle]); if it contradicts that ([probe.Compare]), the site is quarantined. A
	// [probe.Prober] is one with its [probe.Ref].
	Probe func(ctx context.Context, b *blob.Bucket) (probe.Observation, error)
}

// standing is how a site relates to the epoch.
type standing int

const (
	unseen  standing = iota // it has not answered yet
	current                 // it has taken part in the epoch from its beginning, or was reconciled with it
	behind                  // it missed the beginning of the epoch, or lost its records
	foreign                 // its marker is that of another subject or site
	filling                 // it has what was written in the epoch, and is being brought what was written before
)

func (s standing) String() string {
	return [...]string{"unseen", "current", "behind", "foreign", "filling"}[s]
}

// Times of the circuit breaker.
const (
	firstPause = 15 * time.Second
	longPause  = 5 * time.Minute
)

// site is a Site at work.
type site struct {
	Site
	seen *observe.Sites

	mu       sync.Mutex
	standing standing
	wrong    error     // why it is foreign
	until    time.Time // it is not asked before, for what can do without
	failures int       // in a row
	last     error

	quarantine *quarantineRecord // the latest record, if any
	location   residency.Location
	probed     time.Time
	probeErr   error
	probeAgain time.Time          // a probe that failed is not tried before
	decision   residency.Decision // on adding more
	stay       residency.Decision // on what is there
	decided    time.Time
	recheck    time.Time // when the decision has to be made again
}

// call carries out a short request, within the site's timeout, and takes note of how it went.
func (s *site) call(ctx context.Context, op string, f func(context.Context) error) error {
	c, end := s.seen.Request(ctx, s.Name, op)
	c, cancel := context.WithTimeout(c, s.Timeout)
	defer cancel()
	err := s.outcome(ctx, op, f(c))
	end(err)
	return err
}

// outcome takes note of how a request went. It returns nil, the error of the caller's context, or a *SiteError.
func (s *site) outcome(ctx context.Context, op string, err error) error {
	if err == nil {
		s.answered()
		return nil
	}
	if cerr := ctx.Err(); cerr != nil {
		return cerr
	}
	var own *SiteError
	if errors.As(err, &own) {
		return own
	}
	e := &SiteError{Site: s.Name, Op: op, Code: codeOf(err), err: err}
	if isContext(err) {
		e.Code, e.err = gcerrors.DeadlineExceeded, ErrStalled
	}
	switch e.Code {
	case gcerrors.NotFound, gcerrors.FailedPrecondition, gcerrors.AlreadyExists, gcerrors.InvalidArgument, gcerrors.Unimplemented:
		s.answered()
	default:
		s.failed(e)
	}
	return e
}

// answered notes that the site is up; but one that stalled rests to the end, because it may answer requests of another kind.
func (s *site) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !errors.Is(s.last, ErrStalled) || !time.Now().Before(s.until) {
		s.failures, s.until, s.last = 0, time.Time{}, nil
	}
}

// recovered ends the site's rest.
func (s *site) recovered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures, s.until, s.last = 0, time.Time{}, nil
}

func (s *site) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = err
	pause := min(firstPause<<min(s.failures, 8), longPause)
	if errors.Is(err, ErrStalled) {
		pause = longPause // to find out costs the whole timeout
	}
	s.failures++
	s.until = time.Now().Add(pause)
}

// resting reports whether the breaker is open.
func (s *site) resting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.until)
}

func (s *site) stands() standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing
}

// takes reports whether the site takes part in writes.
func (s *site) takes() bool {
	st := s.stands()
	return st == current || st == filling
}

func (s *site) setStanding(to standing, wrong error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standing, s.wrong = to, wrong
}

func (s *site) isQuarantined() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quarantine != nil && s.quarantine.Quarantined
}

// operator is whom the placement counts.
func (s *site) operator() string {
	if s.Operator != "" {
		return s.Operator
	}
	return s.Name
}

// exists asks the site whether it has the object.
func (s *site) exists(ctx context.Context, key string) (ok bool, err error) {
	err = s.call(ctx, "look", func(c context.Context) error {
		ok, err = s.Bucket.Exists(c, key)
		return err
	})
	return ok, err
}

// unchangeable is the error of a change at a read-only site, which is not asked for it.
func (s *site) unchangeable(op string) error {
	return &SiteError{Site: s.Name, Op: op, Code: gcerrors.PermissionDenied, err: errReadOnly}
}

// changeable are those of the sites that are not read-only.
func changeable(sites []*site) []*site {
	return slices.DeleteFunc(slices.Clone(sites), func(s *site) bool { return s.ReadOnly })
}

// remove deletes the object; one that is not there is success.
func (s *site) remove(ctx context.Context, key string) error {
	if s.ReadOnly {
		if there, err := s.exists(ctx, key); err != nil || !there {
			return err
		}
		return s.unchangeable("delete")
	}
	err := s.call(ctx, "delete", func(c context.Context) error { return s.Bucket.Delete(c, key) })
	if isNotFound(err) {
		return nil
	}
	return err
}

// each calls f for every site at once and returns the errors in the order of the sites.
func each(sites []*site, f func(*site) error) []error {
	errs := make([]error, len(sites))
	var wg sync.WaitGroup
	for i, s := range sites {
		wg.Go(func() { errs[i] = f(s) })
	}
	wg.Wait()
	return errs
}

// names returns the names of sites.
func names(sites []*site) []string {
	out := make([]string, len(sites))
	for i, s := range sites {
		out[i] = s.Name
	}
	return out
}
