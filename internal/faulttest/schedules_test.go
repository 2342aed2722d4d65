package faulttest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/chunk"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/carekeep/carekeep/internal/store"
)

// turns lets the requests of several actors pass one at a time, in an order that follows from a seed: after each
// request the next actor is drawn, and everybody waits until that one makes its next request or has ended. So a seed
// gives the same users, the same things that they do, and the same turns. Where a user has several requests to make at
// once, Go's scheduler chooses which comes first.
type turns struct {
	mu   sync.Mutex
	wake []*sync.Cond // of each actor
	rnd  *rand.Rand
	live []int
	turn int
	busy bool // the request of this turn is being carried out

	stay float64 // how likely it is that the same actor goes on
	rank []int   // or, if not nil, the highest of the living goes on
	ops  int
	note func(actor int, o faultstore.Op) // for traces; may be nil
}

func newTurns(rnd *rand.Rand, actors int) *turns {
	t := &turns{rnd: rnd}
	for i := range actors {
		t.live = append(t.live, i)
		t.wake = append(t.wake, sync.NewCond(&t.mu))
	}
	switch rnd.IntN(3) {
	case 0: // everybody at any time
	case 1:
		t.stay = 0.5 + rnd.Float64()/2
	case 2: // some stand still for long, while others do all that they have to do
		t.rank = rnd.Perm(actors)
	}
	t.draw()
	return t
}

// draw chooses who is next. Called with the lock held.
func (t *turns) draw() {
	switch {
	case len(t.live) == 0:
		return
	case t.rank != nil:
		if t.rnd.IntN(25) == 0 {
			t.rank[t.turn] = t.rnd.IntN(2*len(t.rank)) - len(t.rank)
		}
		t.turn = slices.MaxFunc(t.live, func(a, b int) int { return cmp.Compare(t.rank[a], t.rank[b]) })
	case slices.Contains(t.live, t.turn) && t.rnd.Float64() < t.stay:
	default:
		t.turn = t.live[t.rnd.IntN(len(t.live))]
	}
	t.wake[t.turn].Broadcast()
}

// pass waits for the actor's turn, which ends when done is called.
func (t *turns) pass(actor int, o faultstore.Op) (done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.turn != actor || t.busy {
		t.wake[actor].Wait()
	}
	t.busy = true
	t.ops++
	if t.note != nil {
		t.note(actor, o)
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.busy = false
		t.draw()
	}
}

// leave says that an actor makes no further requests.
func (t *turns) leave(actor int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live = slices.DeleteFunc(t.live, func(a int) bool { return a == actor })
	if t.turn == actor {
		t.draw()
	}
}

// truth is what is known of a repository from the answers that its users got.
type truth struct {
	mu     sync.Mutex
	saw    map[string]files // what each run that was begun holds
	done   map[string]format.SnapID
	doomed map[format.SnapID]bool // somebody has begun to forget it: it may be there or not
	gone   map[format.SnapID]bool // it is forgotten
	bad    []string
}

func newTruth() *truth {
	return &truth{saw: map[string]files{}, done: map[string]format.SnapID{}, doomed: map[format.SnapID]bool{}, gone: map[format.SnapID]bool{}}
}

func (x *truth) clone() *truth {
	return &truth{saw: maps.Clone(x.saw), done: maps.Clone(x.done), doomed: maps.Clone(x.doomed), gone: maps.Clone(x.gone)}
}

func (x *truth) begin(f files) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	name := "run " + strconv.Itoa(len(x.saw)+1)
	x.saw[name] = f
	return name
}

func (x *truth) wants(run string) files {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.saw[run]
}

func (x *truth) isDoomed(id format.SnapID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.doomed[id]
}

// wrong notes a broken promise.
func (x *truth) wrong(formatted string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.bad = append(x.bad, fmt.Sprintf(formatted, args...))
}

// tiny is a repository of small chunks and packs.
func tiny(host string) engine.Config {
	return engine.Config{
		HostDir: host, Memory: 1 << 20, Chunks: chunk.Params{Min: 256, Avg: 1 << 10, Max: 4 << 10}, PackSize: 576 << 10,
		Store: store.Options{Backoff: 10 * time.Microsecond, Requests: 1},
	}
}

var emptyRepo = sync.OnceValue(func() *faultstore.Store {
	s := faultstore.New()
	r, err := engine.Create(context.Background(), s.Bucket(), key("main"), tiny(""))
	if err != nil {
		panic(err)
	}
	r.Close()
	return s
})

// oldRepo is a repository with a log that will soon be due for a checkpoint, and index segments to be merged in it.
// Most of its snapshots are forgotten, but nothing has been given back yet.
var oldRepo = sync.OnceValues(func() (*faultstore.Store, *truth) {
	ctx, s, x := context.Background(), emptyRepo().Clone(), newTruth()
	err := with(ctx, s, func(r *engine.Repo) error {
		var ids []format.SnapID
		for n := range 52 {
			id, err := x.keep(ctx, r, files{"d0/f0": bytesOf(uint64(n), 2000), "d0/f1": bytesOf(uint64(n/5), 3000)})
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return x.forgetting(ctx, r, ids[:50]...)
	})
	if err != nil {
		panic(err)
	}
	x.gone = maps.Clone(x.doomed)
	return s, x
})

// audit looks at a repository as a process does that has nothing but the store and the key: every snapshot that
// was promised and not forgotten is there, every one that is there holds what its run saw, and a check of every byte
// finds nothing.
func (x *truth) audit(ctx context.Context, b *blob.Bucket) error {
	r, err := engine.Open(ctx, b, key("main"), tiny(""))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer r.Close()
	refs, sure, err := r.Snapshots(ctx)
	if err != nil || !sure {
		return fmt.Errorf("snapshots: sure %v: %w", sure, err)
	}
	runs := map[string]bool{}
	roots := map[format.ID]string{} // to a run that was compared
	for _, ref := range refs {
		s, err := r.Snapshot(ctx, ref)
		if err != nil {
			return fmt.Errorf("snapshot of entry %d: %w", ref.Seq, err)
		}
		run := runOf(s.Description)
		switch {
		case runs[run]:
			return fmt.Errorf("%s is there twice", run)
		case x.gone[ref.ID]:
			return fmt.Errorf("%s was forgotten and is there", run)
		}
		runs[run] = true
		if old, ok := roots[s.Description.Root.ID]; !ok || !maps.EqualFunc(x.saw[old], x.saw[run], bytes.Equal) {
			if err := same(ctx, s, x.saw[run]); err != nil {
				return fmt.Errorf("%s: %w", run, err)
			}
			roots[s.Description.Root.ID] = run
		}
		if _, err := r.Refs(ctx, ref.Refs); err != nil {
			return fmt.Errorf("%s: list: %w", run, err)
		}
	}
	for run, id := range x.done {
		if !runs[run] && !x.doomed[id] {
			return fmt.Errorf("%s is lost", run)
		}
	}
	rep, err := r.Check(ctx, engine.CheckOptions{ReadAll: true, Workers: 1})
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	return findings(rep)
}

func findings(rep *engine.CheckReport) error {
	if rep.OK() {
		return nil
	}
	var all []string
	for _, f := range rep.Findings[:min(len(rep.Findings), 5)] {
		all = append(all, fmt.Sprint(f.Kind, " ", f.Object, ": ", f.Err))
	}
	return fmt.Errorf("a check has %d findings: %s", rep.Found, strings.Join(all, "; "))
}

var atOnce = engine.CompactOptions{Grace: time.Nanosecond, Abandoned: time.Nanosecond, Workers: 1}

// settled compacts a repository that nobody else uses, and requires that only what its snapshots need is left.
func (x *truth) settled(ctx context.Context, s *faultstore.Store) error {
	o := tiny("")
	o.Now = func() time.Time { return time.Now().Add(365 * 24 * time.Hour) } // later than any collector's clock
	r, err := engine.Open(ctx, s.Bucket(), key("main"), o)
	if err != nil {
		return err
	}
	defer r.Close()
	for range 2 { // what the first moves may have left over
		if _, err := r.Compact(ctx, atOnce); err != nil {
			return fmt.Errorf("the last compact: %w", err)
		}
	}
	before := s.Keys()
	rep, err := r.Compact(ctx, atOnce)
	if err != nil {
		return fmt.Errorf("the last compact: %w", err)
	}
	if rep.Condemned > 0 || rep.Waiting > 0 || rep.InFlight > 0 || !slices.Equal(before, s.Keys()) {
		return fmt.Errorf("a compact of a compacted repository still had work: %+v", *rep)
	}
	return onlyNeeded(ctx, r, s)
}

// onlyNeeded requires that every object is one that a snapshot's list names, or part of the repository itself.
func onlyNeeded(ctx context.Context, r *engine.Repo, s *faultstore.Store) error {
	refs, _, err := r.Snapshots(ctx)
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	lists := map[format.Hash]bool{}
	for _, ref := range refs {
		objects, err := r.Refs(ctx, ref.Refs)
		if err != nil {
			return err
		}
		for _, o := range objects {
			needed[o.Key()] = true
		}
		lists[ref.Refs] = true
	}
	most := len(lists) * (format.MaxRefsDepth + 1)
	for _, k := range s.Keys() {
		switch class(k) {
		case "p", "m", "sess":
			if !needed[k] {
				return fmt.Errorf("%s is there and nothing needs it", k)
			}
		case "refs":
			if most--; most < 0 {
				return errors.New("there are lists of references that nothing needs")
			}
		}
	}
	return nil
}

// actor is one user of a repository, with a host folder of its own or without one.
type actor struct {
	*chaos
	n    int
	rnd  *rand.Rand
	name string
	host string // "" for none
	cred bool   // opens with the host's credential
	skew time.Duration

	r      *engine.Repo
	files  files
	decide sync.Mutex

	// Guarded by the gate, which lets one request at a time through.
	chance *rand.Rand
	faults float64
	left   int // requests until the kill; 0 for none
	dead   bool
}

// chaos is one schedule.
type chaos struct {
	*truth
	s     *faultstore.Store
	t     *turns
	blobs [][]byte // what files are made of
	sound bool     // no faults, so that no operation may fail
	count func(kind string)
}

// gate is the way of all requests of an actor.
func (a *actor) gate(o faultstore.Op) (f faultstore.Fault, done func()) {
	done = a.t.pass(a.n, o)
	if a.left > 0 {
		if a.left--; a.left == 0 {
			a.dead = true
			f = faultstore.FailWith(faultstore.ErrKilled)
			if a.chance.IntN(2) == 0 {
				f = f.Applied()
			}
			return f, done
		}
	}
	if a.dead {
		return faultstore.FailWith(faultstore.ErrKilled), done
	}
	if a.chance.Float64() >= a.faults {
		return f, done
	}
	switch a.chance.IntN(4) {
	case 0:
		f = faultstore.Fail(gcerrors.Unknown)
	case 1:
		f = faultstore.Fail(gcerrors.Unknown).Applied()
	case 2:
		f = faultstore.Fail(gcerrors.ResourceExhausted)
	case 3:
		if f = faultstore.Fail(gcerrors.Internal); o.Kind == faultstore.Write {
			f = faultstore.Fail(gcerrors.FailedPrecondition).Applied()
		}
	}
	return f, done
}

func (a *actor) open(ctx context.Context) error {
	if a.r != nil {
		return nil
	}
	k := key("main")
	if a.cred {
		k = engine.Key{}
	}
	c := tiny(a.host)
	c.Now = func() time.Time { return time.Now().Add(a.skew) }
	if a.rnd.IntN(2) == 0 {
		c.Limits.PartialEvery = 1 // and so to merge the log's segments in the midst of a run
	}
	r, err := engine.Open(ctx, a.s.Gated(a.gate), k, c)
	if err != nil {
		return err
	}
	a.r = r
	return nil
}

func (a *actor) close() {
	if a.r != nil {
		a.r.Close()
		a.r = nil
	}
}

// live does some things one after the other.
func (a *actor) live(ctx context.Context, things int) {
	defer a.t.leave(a.n)
	defer a.close()
	for range things {
		if a.rnd.IntN(4) == 0 {
			a.close()
		}
		if !a.sound && a.rnd.IntN(5) == 0 {
			a.left = 1 + a.rnd.IntN(80)
		}
		a.thing(ctx)
		a.left = 0
		if a.dead {
			a.close()
			a.dead = false
			if a.rnd.IntN(4) == 0 && !a.cred && a.host != "" { // the host is lost with it
				a.host += "x"
				if err := os.Mkdir(a.host, 0o700); err != nil {
					a.wrong("%v", err)
				}
			}
		}
	}
}

// fine judges the error of an operation.
func (a *actor) fine(what string, err error, expected ...error) bool {
	if err == nil {
		a.count(what)
		return true
	}
	if !a.sound {
		var fault *faultstore.Error
		if errors.As(err, &fault) || errors.Is(err, faultstore.ErrKilled) {
			a.count(what + " cut off")
			return false
		}
	}
	for _, e := range expected {
		if errors.Is(err, e) {
			a.count(what + " gave up")
			return false
		}
	}
	a.wrong("actor %d: %s: %v", a.n, what, err)
	return false
}

func (a *actor) thing(ctx context.Context) {
	if !a.fine("open", a.open(ctx)) {
		return
	}
	one := func(rnd *rand.Rand) func() {
		admin := !a.cred
		switch n := rnd.IntN(20); {
		case n < 3 && admin:
			return func() { a.forget(ctx, rnd) }
		case n < 9 && admin:
			return func() { a.compact(ctx, rnd) }
		case n < 10 && admin:
			return func() { a.check(ctx, rnd) }
		case n < 12 && admin:
			return func() { a.restore(ctx, rnd) }
		case n < 13:
			return func() { a.stream(ctx, rnd) }
		}
		f := a.change(rnd)
		return func() { a.backup(ctx, rnd, a.name, source.FromFS(f.fs()), f) }
	}
	fork := func() *rand.Rand { return rand.New(rand.NewPCG(a.rnd.Uint64(), 0)) }
	if a.rnd.IntN(6) > 0 {
		one(fork())()
		return
	}
	// Two at once with one Repo.
	x, y := one(fork()), one(fork())
	var wg sync.WaitGroup
	wg.Go(x)
	wg.Go(y)
	wg.Wait()
}

// change returns the files of the next run: a few others, or some that somebody had before.
func (a *actor) change(rnd *rand.Rand) files {
	f := maps.Clone(a.files)
	switch n := rnd.IntN(10); {
	case n == 0: // nothing
	case n < 3:
		a.mu.Lock()
		if runs := len(a.saw); runs > 0 {
			f = maps.Clone(a.saw["run "+strconv.Itoa(1+rnd.IntN(runs))])
		}
		a.mu.Unlock()
	default:
		for range 1 + rnd.IntN(3) {
			p := "d" + strconv.Itoa(rnd.IntN(2)) + "/f" + strconv.Itoa(rnd.IntN(3))
			if rnd.IntN(5) == 0 {
				delete(f, p)
				continue
			}
			n := rnd.IntN(4)
			if rnd.IntN(12) == 0 {
				n = 60 // more than an entry can name
			}
			var b []byte
			for range n {
				b = append(b, a.blobs[rnd.IntN(len(a.blobs))]...)
			}
			f[p] = b
		}
	}
	a.files = f
	return f
}

func (a *actor) backup(ctx context.Context, rnd *rand.Rand, lineage string, src source.Source, f files) {
	run := a.begin(f)
	o := options(run)
	o.Sources, o.Workers, o.FullRead = []string{lineage}, 1, rnd.IntN(8) == 0
	res, err := a.r.Backup(ctx, src, o)
	if !a.fine("backup", err, engine.ErrCondemned) {
		return
	}
	if res.Outcome != 0 {
		a.wrong("actor %d: %s is incomplete", a.n, run)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done[run] = res.Ref.ID
}

func (a *actor) stream(ctx context.Context, rnd *rand.Rand) {
	var b []byte
	for range rnd.IntN(6) {
		b = append(b, a.blobs[rnd.IntN(len(a.blobs))]...)
	}
	a.backup(ctx, rnd, a.name+" stream", source.Stream("dump", bytes.NewReader(b)), files{"dump": b})
}

func (a *actor) forget(ctx context.Context, rnd *rand.Rand) {
	a.decide.Lock() // the list and the head are to be of one moment, for two calls with one Repo as well
	defer a.decide.Unlock()
	refs, _, err := a.r.Snapshots(ctx)
	if !a.fine("list", err) {
		return
	}
	at := a.r.Head()
	var ids []format.SnapID
	share := []float64{0.3, 0.7, 1}[rnd.IntN(3)]
	for _, r := range refs {
		if rnd.Float64() < share {
			ids = append(ids, r.ID)
		}
	}
	a.mu.Lock()
	for _, id := range ids {
		a.doomed[id] = true
	}
	a.mu.Unlock()
	err = a.r.Forget(ctx, at, format.Hash{}, ids, []byte("record"))
	ok := a.fine("forget", err, engine.ErrStale)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		if ok {
			a.gone[id] = true
		}
	}
}

func (a *actor) compact(ctx context.Context, rnd *rand.Rand) {
	o := engine.CompactOptions{Shred: rnd.IntN(4) == 0, Workers: 1 + rnd.IntN(2), Round: []int64{0, 100 << 10}[rnd.IntN(2)]}
	o.Waste = []float64{0, 0.3, 1}[rnd.IntN(3)]
	pick := func() time.Duration {
		if rnd.IntN(3) > 0 {
			return time.Nanosecond
		}
		return time.Hour
	}
	o.Grace, o.Abandoned = pick(), pick()
	if rnd.IntN(8) == 0 {
		o.LockedUntil = func(_ context.Context, key string) (time.Time, error) {
			if key[len(key)-1]&3 == 0 {
				return time.Now().Add(365 * 24 * time.Hour), nil
			}
			return time.Time{}, nil
		}
	}
	_, err := a.r.Compact(ctx, o)
	a.fine("compact", err, ledger.ErrMoved)
}

func (a *actor) check(ctx context.Context, rnd *rand.Rand) {
	rep, err := a.r.Check(ctx, engine.CheckOptions{ReadAll: rnd.IntN(2) == 0, Workers: 1})
	if !a.fine("check", err) {
		return
	}
	if err := findings(rep); err != nil && a.sound {
		a.wrong("actor %d: %v", a.n, err)
	}
}

func (a *actor) restore(ctx context.Context, rnd *rand.Rand) {
	refs, _, err := a.r.Snapshots(ctx)
	if !a.fine("list", err) || len(refs) == 0 {
		return
	}
	ref := refs[rnd.IntN(len(refs))]
	s, err := a.r.Snapshot(ctx, ref)
	if !a.fine("snapshot", err) {
		return
	}
	run := runOf(s.Description)
	err = same(ctx, s, a.wants(run))
	switch {
	case errors.Is(err, errWrong):
		a.wrong("actor %d: restore of %s: %v", a.n, run, err)
	case err != nil && a.isDoomed(ref.ID):
		a.count("restore of what was forgotten")
	default:
		a.fine("restore", err)
	}
}

// play runs one schedule and returns what went wrong.
func play(ctx context.Context, dir string, seed uint64, count func(string), note func(int, faultstore.Op)) []string {
	rnd := rand.New(rand.NewPCG(seed, 1))
	c := &chaos{truth: newTruth(), s: emptyRepo().Clone(), count: count, sound: rnd.IntN(3) == 0}
	if rnd.IntN(6) == 0 {
		s, x := oldRepo()
		c.s, c.truth = s.Clone(), x.clone()
	}
	actors := 2 + rnd.IntN(4)
	if rnd.IntN(8) == 0 {
		actors = 8
	}
	c.t = newTurns(rand.New(rand.NewPCG(seed, 50)), actors)
	c.t.note = note
	for i := range 10 {
		c.blobs = append(c.blobs, bytesOf(seed<<4+uint64(i), 300+rnd.IntN(2000)))
	}
	faults := 0.0
	if !c.sound && rnd.IntN(2) == 0 {
		faults = 0.03 * rnd.Float64()
	}
	var start []func()
	for i := range actors {
		a := &actor{
			chaos: c, n: i, rnd: rand.New(rand.NewPCG(seed, 2+uint64(i))), chance: rand.New(rand.NewPCG(seed, 100+uint64(i))),
			faults: faults, files: files{},
		}
		a.skew = []time.Duration{0, 0, 2 * time.Hour, 90 * 24 * time.Hour}[rnd.IntN(4)]
		a.name = "s" + strconv.Itoa(rnd.IntN(actors)) // two may take one for another
		if rnd.IntN(3) > 0 {
			a.host = dir + "/" + strconv.Itoa(i)
			if err := os.Mkdir(a.host, 0o700); err != nil {
				return []string{err.Error()}
			}
			if rnd.IntN(3) == 0 {
				if r, err := engine.Open(ctx, c.s.Bucket(), key("main"), tiny(a.host)); err == nil {
					r.Close()
					a.cred = true
				}
			}
		}
		things := 1 + rnd.IntN(5)
		start = append(start, func() { a.live(ctx, things) })
	}
	var wg sync.WaitGroup
	for _, f := range start {
		wg.Go(f)
	}
	if rnd.IntN(4) == 0 {
		c.auditBeside(ctx, &wg)
	} else {
		wg.Wait()
	}
	if err := c.audit(ctx, c.s.Bucket()); err != nil {
		c.wrong("at the end: %v", err)
	} else if err := c.settled(ctx, c.s); err != nil {
		c.wrong("at the end: %v", err)
	} else if err := c.audit(ctx, c.s.Bucket()); err != nil {
		c.wrong("compacted at the end: %v", err)
	}
	for k := range c.s.Objects() {
		if strings.HasPrefix(k, "probe/") && c.sound {
			c.wrong("a probe was left")
		}
	}
	return c.bad
}

// auditBeside waits for the actors and audits some copies of the store meanwhile.
func (c *chaos) auditBeside(ctx context.Context, wg *sync.WaitGroup) {
	ended := make(chan struct{})
	go func() {
		wg.Wait()
		close(ended)
	}()
	defer func() { <-ended }()
	for range 3 {
		select {
		case <-ended:
			return
		case <-time.After(20 * time.Millisecond):
		}
		c.truth.mu.Lock()
		then, s := c.truth.clone(), c.s.Clone()
		c.truth.mu.Unlock()
		// What somebody has begun since to forget is in neither; what was promised since is in the copy alone.
		if err := then.audit(ctx, s.Bucket()); err != nil {
			c.wrong("meanwhile: %v", err)
			return
		}
		c.count("audit meanwhile")
	}
}

// TestSchedules has two to eight users back up, forget, compact, check and restore at once, with requests in an
// order drawn from a seed, kills and faults (P1). What was promised is there at the end, and whole; nobody is told of
// damage; no rubbish stays.
func TestSchedules(t *testing.T) {
	t.Parallel()
	n := 50
	if long() {
		n = 10_000
	}
	first := uint64(time.Now().UnixNano()) % 1e9
	if s := os.Getenv("FAULTTEST_SEED"); s != "" {
		var err error
		first, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	if s := os.Getenv("FAULTTEST_SCHEDULES"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	var c, kinds tally
	began := time.Now()
	workers(n, func(i int) {
		seed := first + uint64(i)
		dir, err := os.MkdirTemp("", "schedule")
		if err != nil {
			c.lost("%v", err)
			return
		}
		defer os.RemoveAll(dir)
		c.add("schedule")
		for _, bad := range play(t.Context(), dir, seed, kinds.add, nil) {
			c.lost("seed %d: %s", seed, bad)
			t.Logf("seed %d: %s", seed, bad)
		}
	})
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(kinds.cases)) {
		parts = append(parts, fmt.Sprintf("%s=%d", k, kinds.cases[k]))
	}
	t.Logf("seed=%d (%v) %s", first, time.Since(began).Round(time.Millisecond), strings.Join(parts, ", "))
	c.report(t)
}
