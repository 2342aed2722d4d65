package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
)

// Decider answers whether data may rest at a target. A [residency.Ruleset] is one.
type Decider interface {
	Decide(residency.Request) (residency.Decision, error)
}

// Placement says how many copies there must be, and where. The zero Placement wants a copy at every site, and all of
// them before a write is reported.
type Placement struct {
	// Copies is how many sites get each object, the home site among them; 0 is all. Where fewer are lawful or
	// up, MustReach and the minima below decide, and what is missing is made good by [Router.Reconcile].
	Copies int
	// MustReach is how many sites, the home site among them, must hold an object before its write is
	// reported; 0 is Copies. With 1, the loss of the home site loses what only it has.
	MustReach int
	// Minima of what must be reached. Sites whose places are the same count as one subdivision.
	Operators    int
	Subdivisions int
	Offsite      int
	// KeysOutside leaves out sites whose provider holds the keys, or where nobody says who does.
	KeysOutside bool
}

// Options tune a Router. The zero Options, and nil, work.
type Options struct {
	Placement Placement
	// Home is the site that decides writes in the first epoch; default the first site. Later the records say.
	Home string
	// ReadFrom are the names of sites to read from first; default the home site, then the others in their order.
	ReadFrom []string
	// Overrides are exceptions by site. Each use is recorded as evidence.
	Overrides map[string]residency.Override
	// Purpose is what the sites are wanted for; default residency.Storage.
	Purpose residency.Purpose
	// ProbeEvery is how old a probe's answer may become; default 24 hours.
	ProbeEvery time.Duration
	// Evidence, if not nil, keeps a record of each decision that changed, probe, override, quarantine, debt,
	// promotion and reconciliation. The data encodes as JSON and holds no key. Where it fails, so does what it is about.
	Evidence func(ctx context.Context, kind evidence.Kind, site string, data any) error
	// Logger, TracerProvider and MeterProvider are told of operations and how long they took, by kind; of requests, by kind
	// and site; of debts, quarantines and denials, by site; and the logger of sites that fail and of what is repaired. nil is
	// silence. Nothing that they are told names a key.
	Logger         *slog.Logger
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	// Now is the clock of decisions and records; default time.Now. Nothing that keeps data safe rests on it.
	Now func() time.Time
}

// Router is several sites as one bucket. It is safe for concurrent use.
type Router struct {
	o       Options
	rules   Decider
	subject residency.Subject
	id      string // of this router, in its intents
	sites   []*site
	bucket  *blob.Bucket
	seen    *observe.Sites

	gate     sync.RWMutex // a promotion holds it; the commit of a write holds it for reading
	epoch    atomic.Pointer[epochRecord]
	ready    atomic.Bool // the home site is current in the epoch
	later    atomic.Bool // a later epoch was seen
	keys     keyLocks
	mu       sync.Mutex
	mine     map[string]*ownIntent   // intents of this router, by id
	read     map[string]intentRecord // intents of others, by id
	newDebts map[string]int64        // copies missed by site since the last evidence of it
	line     lineage
	shift    sync.Mutex // held while the set of sites changes
	chunk    int        // entries of a migration in one record; 0 is the default. For tests of many records with few objects
	closed   bool
}

var siteName = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9])*$`)

// maxSites bounds the search for a placement.
const maxSites = 12

// Open makes a router of sites for the data of one subject.
//
// The first time it marks the sites as belonging to the subject, which needs all of them; all but the home site must be
// empty. Later it works with those that answer: reads need a site that has the object, writes the home site and
// as many as the placement requires. What others left unfinished is finished where that can be done.
//
// Errors wrap [ErrSites], [ErrFirst], [ErrOtherSubject], [ErrOtherSite] or [ErrForeign], or are the context's.
func Open(ctx context.Context, rules Decider, subject residency.Subject, sites []Site, opts *Options) (*Router, error) {
	r := &Router{rules: rules, subject: subject, id: randomID(), mine: map[string]*ownIntent{}, read: map[string]intentRecord{}, newDebts: map[string]int64{}}
	if opts != nil {
		r.o = *opts
	}
	if err := r.setUp(sites); err != nil {
		return nil, err
	}
	ctx, end := r.seen.Begin(ctx, opOpen, true)
	err := r.open(ctx)
	end(err)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// open looks at the sites and finishes what can be finished.
func (r *Router) open(ctx context.Context) error {
	if err := r.look(ctx); err != nil {
		return err
	}
	if err := r.finishSwitch(ctx); err != nil {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		r.log("a change of the set of sites could not be finished", "", err)
	}
	for _, s := range r.sites {
		if err := r.probe(ctx, s); err != nil {
			return err
		}
		if _, err := r.decide(ctx, s); err != nil {
			return err
		}
	}
	r.bucket = blob.NewBucket(&bucket{r: r})
	// What cannot be finished now does not keep anybody from reading.
	if err := r.rollForward(ctx); err != nil {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		r.log("unfinished writes of others could not be finished", "", err)
	}
	return nil
}

// setUp checks what was given and fills in defaults.
func (r *Router) setUp(sites []Site) error {
	if r.rules == nil {
		return fmt.Errorf("%w: no rules given, so nothing is lawful", ErrSites)
	}
	if len(sites) == 0 || len(sites) > maxSites {
		return fmt.Errorf("%w: give 1 to %d sites", ErrSites, maxSites)
	}
	for _, s := range sites {
		if len(s.Name) > 32 || !siteName.MatchString(s.Name) {
			return fmt.Errorf("%w: the name of a site has lower-case letters, digits and inner hyphens, at most 32", ErrSites)
		}
		if s.Bucket == nil {
			return fmt.Errorf("%w: site %s has no bucket", ErrSites, s.Name)
		}
		if r.site(s.Name) != nil {
			return fmt.Errorf("%w: two sites are called %s", ErrSites, s.Name)
		}
		if s.Timeout <= 0 {
			s.Timeout = time.Minute
		}
		r.sites = append(r.sites, &site{Site: s, location: s.Target.Location})
	}
	r.setDefaults(sites[0].Name)
	r.seen = r.o.observer()
	for _, s := range r.sites {
		s.seen = r.seen
	}
	for _, name := range append(slices.Clone(r.o.ReadFrom), r.o.Home) {
		if r.site(name) == nil {
			return fmt.Errorf("%w: there is no site %s", ErrSites, name)
		}
	}
	return r.setPlacement(len(sites))
}

func (r *Router) setDefaults(home string) {
	if r.o.Home == "" {
		r.o.Home = home
	}
	if r.o.Now == nil {
		r.o.Now = time.Now
	}
	if r.o.ProbeEvery <= 0 {
		r.o.ProbeEvery = 24 * time.Hour
	}
	if r.o.Logger == nil {
		r.o.Logger = slog.New(slog.DiscardHandler)
	}
}

func (r *Router) setPlacement(n int) error {
	p := r.o.Placement // what is left out follows the enrolled sites, of which there may be others later
	p.Copies, p.MustReach = p.among(n)
	least := max(p.Operators, p.Subdivisions, p.Offsite)
	if p.Copies < 1 || p.Copies > n || p.MustReach < 1 || p.MustReach > p.Copies || least > p.Copies {
		return fmt.Errorf("%w: MustReach is at most Copies, Copies and the minima at most the number of sites", ErrSites)
	}
	return nil
}

// Bucket is the sites as one bucket. It may be closed; so is it by [Router.Close].
func (r *Router) Bucket() *blob.Bucket { return r.bucket }

// Close ends the use of the router. The buckets of the sites stay open. Debts that were taken since the last
// evidence of them are recorded.
func (r *Router) Close(ctx context.Context) error {
	r.mu.Lock()
	done := r.closed
	r.closed = true
	r.mu.Unlock()
	if done {
		return nil
	}
	err := r.recordDebts(ctx, nil)
	if berr := r.bucket.Close(); berr != nil && gcerrors.Code(berr) != gcerrors.FailedPrecondition {
		err = errors.Join(err, berr)
	}
	return err
}

func (r *Router) site(name string) *site {
	for _, s := range r.sites {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// home is the site that decides; nil if it was not given.
func (r *Router) home() *site { return r.site(r.epoch.Load().Home) }

// enrolled are the given sites that the epoch counts.
func (r *Router) enrolled() []*site {
	e := r.epoch.Load()
	var out []*site
	for _, s := range r.sites {
		if slices.Contains(e.Sites, s.Name) {
			out = append(out, s)
		}
	}
	return out
}

// mustReach is how many sites must hold what is reported: never fewer than the epoch says, on which others rely.
func (r *Router) mustReach() int {
	if p := r.o.Placement; p.MustReach+p.Copies > 0 {
		_, must := p.among(0)
		return max(must, r.epoch.Load().MustReach)
	}
	return r.epoch.Load().MustReach
}

// among returns Copies and MustReach where so many sites are enrolled.
func (p Placement) among(n int) (copies, mustReach int) {
	copies, mustReach = p.Copies, p.MustReach
	if copies == 0 {
		copies = n
	}
	if mustReach == 0 {
		mustReach = copies
	}
	return copies, mustReach
}

// copies is how many sites get each object.
func (r *Router) copies() int {
	n, _ := r.o.Placement.among(len(r.epoch.Load().Sites))
	return n
}

// log tells the logger of an error. Errors of sites hold no keys.
func (r *Router) log(what, site string, err error) {
	r.o.Logger.Warn("router: "+what, "site", site, "error", err)
}

// evidence records something that happened.
func (r *Router) evidence(ctx context.Context, kind evidence.Kind, site string, data any) error {
	if r.o.Evidence == nil {
		return nil
	}
	if err := r.o.Evidence(ctx, kind, site, data); err != nil {
		return fmt.Errorf("router: the evidence could not be recorded: %w", err)
	}
	return nil
}
