package router_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency/router"
)

// host is a user of the sites that keeps a log, as a backup host does, and stores objects that its entries rest on.
type host struct {
	name string
	p    *process
	r    *router.Router
	next int // of the log
}

// run is one random history.
type run struct {
	rng      *rand.Rand
	w        *world
	hosts    []*host
	reported map[string]string
	log      []string
	serial   int
	must     int
}

func (x *run) say(format string, args ...any) { x.log = append(x.log, fmt.Sprintf(format, args...)) }

// TestRandomHistories lets hosts write, read, reconcile and promote while sites fail in all ways, and checks after every
// step that nothing that was reported is lost, and that no key has two objects. The seed of a history that fails is
// printed; see [seeds].
func TestRandomHistories(t *testing.T) {
	first, n := seeds(t)
	told, steps := 0, map[string]int{}
	for seed := first; seed < first+n; seed++ {
		synctest.Test(t, func(t *testing.T) {
			x := &run{rng: rand.New(rand.NewPCG(7, seed)), reported: map[string]string{}}
			if err := x.history(t, steps); err != nil {
				for _, l := range x.log {
					t.Log(l)
				}
				t.Fatalf("seed %d: %v", seed, err)
			}
			told += len(x.reported)
		})
	}
	t.Logf("%d histories, %d objects reported, steps %v", n, told, steps)
	if n > 1 {
		require.Greater(t, told, 5*int(n))
		for _, s := range []string{"append", "reconcile", "promote", "kill", "lose", "read"} {
			require.Greater(t, steps[s], int(n)/10, s)
		}
	}
}

// seeds are the first and the number of random histories to run: 200, or 1,000 with CAREKEEP_LONG=1; CAREKEEP_HISTORIES is
// another number, and CAREKEEP_SEED runs one alone.
func seeds(t *testing.T) (first, n uint64) {
	first, n = 1, 200
	if os.Getenv("CAREKEEP_LONG") == "1" {
		n = 1000
	}
	for name, to := range map[string]*uint64{"CAREKEEP_HISTORIES": &n, "CAREKEEP_SEED": &first} {
		if s := os.Getenv(name); s != "" {
			v, err := strconv.ParseUint(s, 10, 64)
			require.NoError(t, err)
			*to = v
			if name == "CAREKEEP_SEED" {
				return v, 1
			}
		}
	}
	return first, n
}

func (x *run) history(t *testing.T, steps map[string]int) error {
	sites := []string{"a", "b", "c"}
	x.must = 2
	if x.rng.IntN(4) == 0 {
		sites, x.must = append(sites, "d"), 2+x.rng.IntN(2)
	}
	x.w = newWorld(t, x.must, sites...)
	for i := range 2 {
		h := &host{name: string(rune('P' + i)), next: 1}
		x.hosts = append(x.hosts, h)
		x.restart(h)
	}
	defer x.close()
	for range 8 + x.rng.IntN(14) {
		h := x.hosts[x.rng.IntN(len(x.hosts))]
		name, step := x.pick(h)
		steps[name]++
		if err := step(); err != nil {
			return fmt.Errorf("%s %s: %w", name, h.name, err)
		}
		if err := x.w.safe(x.must, x.reported); err != nil {
			return fmt.Errorf("after %s %s: %w", name, h.name, err)
		}
	}
	return x.settle()
}

func (x *run) close() {
	for _, h := range x.hosts {
		if h.r != nil {
			_ = h.r.Close(context.Background())
		}
	}
}

// safe is check, for moments at which unreported objects may differ: a site that is behind the epoch, or at which a
// writer of an old one was stopped, may hold what is set aside later.
func (w *world) safe(mustReach int, reported map[string]string) error {
	copies := map[string]int{}
	for _, n := range w.names {
		for k, v := range users(w.stores[n]) {
			if reported[k] == v {
				copies[k]++
			}
		}
	}
	for k := range reported {
		if copies[k] < mustReach {
			return fmt.Errorf("%s has %d copies, not %d", k, copies[k], mustReach)
		}
	}
	return nil
}

func (x *run) pick(h *host) (string, func() error) {
	switch n := x.rng.IntN(100); {
	case n < 40:
		return "append", func() error { return x.append(h) }
	case n < 50:
		return "read", func() error { return x.read(h) }
	case n < 60:
		return "fault", func() error { x.fault(h); return nil }
	case n < 70:
		return "down", func() error {
			s := x.w.names[x.rng.IntN(len(x.w.names))]
			down := x.rng.IntN(2) == 0
			x.say("%s: %s down: %v", h.name, s, down)
			h.p.cut(down, s)
			return nil
		}
	case n < 78:
		return "kill", func() error {
			k := 1 + x.rng.IntN(25)
			x.say("%s: killed at %d", h.name, k)
			h.p.kill(k, x.rng.IntN(2) == 0)
			err := x.append(h)
			x.restart(h)
			return err
		}
	case n < 86:
		return "reconcile", func() error { return x.reconcile(h) }
	case n < 93:
		return "promote", func() error { return x.promote(h) }
	case n < 96:
		return "lose", func() error { return x.loseSite() }
	default:
		return "wait", func() error { time.Sleep(time.Minute); return nil }
	}
}

// restart begins a host's process anew, with nothing in its way.
func (x *run) restart(h *host) {
	if h.r != nil {
		_ = h.r.Close(context.Background())
	}
	h.p = x.w.process()
	h.r, _ = h.p.open()
	x.say("%s: restarted: %v", h.name, h.r != nil)
}

// append stores an object and then a log entry that names it, at the first free place.
func (x *run) append(h *host) error {
	if h.r == nil {
		x.restart(h)
	}
	if h.r == nil {
		return nil
	}
	x.serial++
	pack, data := fmt.Sprintf("p/%d", x.serial), fmt.Sprintf("pack %d of %s", x.serial, h.name)
	if err := x.write(h, pack, data); err != nil {
		return nil
	}
	for {
		key := fmt.Sprintf("log/%d", h.next)
		there, err := h.r.Bucket().ReadAll(context.Background(), key)
		if err == nil {
			if old, ok := x.reported[key]; ok && old != string(there) {
				return fmt.Errorf("%s reads as %q, but %q was reported", key, there, old)
			}
			h.next++
			continue
		}
		if gcerrors.Code(err) != gcerrors.NotFound {
			return nil
		}
		if old, ok := x.reported[key]; ok && !x.excused(h) {
			return fmt.Errorf("%s is said not to be, but %q was reported", key, old)
		}
		err = x.write(h, key, pack)
		if errors.Is(err, errOthers) {
			continue
		}
		if err == nil {
			x.restsOn(h)
			h.next++
		}
		return nil
	}
}

// restsOn counts what a reported entry rests on as reported: all entries before it must be as safe as it is.
func (x *run) restsOn(h *host) {
	for i := 1; i < h.next; i++ {
		before := fmt.Sprintf("log/%d", i)
		there, err := h.r.Bucket().ReadAll(context.Background(), before)
		if err == nil && x.reported[before] == "" {
			x.reported[before] = string(there)
		}
	}
}

var errOthers = errors.New("somebody else was first")

// write is what package store does, and notes what was reported.
func (x *run) write(h *host, key, data string) error {
	ctx := context.Background()
	for range 3 {
		err := h.r.Bucket().WriteAll(ctx, key, []byte(data), &blob.WriterOptions{IfNotExist: true, ContentType: "x/y"})
		if err != nil {
			cerr := confirm(h.r, key, data)
			x.say("%s: write %s: %v; confirm: %v", h.name, key, err, cerr)
			if cerr != nil && cerr.Error() == "another object" {
				return errOthers
			}
			err = cerr
		}
		if err == nil {
			x.say("%s: reported %s", h.name, key)
			if old, ok := x.reported[key]; ok && old != data {
				return fmt.Errorf("%s was reported twice", key)
			}
			x.reported[key] = data
			return nil
		}
	}
	return errors.New("not written")
}

func (x *run) read(h *host) error {
	if h.r == nil {
		return nil
	}
	for k, v := range x.reported {
		got, err := h.r.Bucket().ReadAll(context.Background(), k)
		if err == nil && string(got) != v {
			return fmt.Errorf("%s reads as %q, not %q", k, got, v)
		}
		if gcerrors.Code(err) == gcerrors.NotFound && !x.excused(h) {
			return fmt.Errorf("%s is said not to be", k)
		}
	}
	return nil
}

// excused reports whether a host may believe an old home site: it is cut off from others and has not heard of a promotion.
func (x *run) excused(h *host) bool {
	st, err := h.r.Status(context.Background())
	if err != nil {
		return false
	}
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	whole := h.p.fault == nil
	for _, down := range h.p.down {
		whole = whole && !down
	}
	return !whole && x.newestEpoch() > st.Epoch
}

func (x *run) newestEpoch() (n int) {
	for _, s := range x.w.stores {
		for _, k := range s.Keys() {
			if rest, ok := strings.CutPrefix(k, ".router/epoch-"); ok {
				i, _ := strconv.Atoi(rest[:8])
				n = max(n, i)
			}
		}
	}
	return n
}

// fault lets every so many of the host's requests go wrong.
func (x *run) fault(h *host) {
	every := x.rng.IntN(12)
	if every == 0 {
		h.p.setFault(nil)
		return
	}
	rng := rand.New(rand.NewPCG(1, x.rng.Uint64()))
	x.say("%s: one of %d requests fails", h.name, every+3)
	h.p.setFault(func(_ string, o faultstore.Op) faultstore.Fault {
		if rng.IntN(every+3) != 0 {
			return faultstore.Fault{}
		}
		f := faultstore.Fail([]gcerrors.ErrorCode{gcerrors.Unknown, gcerrors.Internal, gcerrors.ResourceExhausted}[rng.IntN(3)])
		if rng.IntN(2) == 0 {
			f = f.Applied()
		}
		return f
	})
}

func (x *run) reconcile(h *host) error {
	if h.r == nil {
		return nil
	}
	_, err := h.r.Reconcile(context.Background(), &router.ReconcileOptions{Deep: x.rng.IntN(3) == 0})
	x.say("%s: reconcile: %v", h.name, err)
	return nil
}

func (x *run) promote(h *host) error {
	if h.r == nil {
		return nil
	}
	to := x.w.names[x.rng.IntN(len(x.w.names))]
	err := promote(h.r, to, false)
	x.say("%s: promote %s: %v", h.name, to, err)
	return nil
}

// loseSite empties a site, as a disk that is replaced, if every reported object can stand the loss; and restores
// the copies at once, so that the next loss can be stood too.
func (x *run) loseSite() error {
	lost := x.w.names[x.rng.IntN(len(x.w.names))]
	for _, h := range x.hosts {
		x.restart(h) // no host has the site open while it is replaced
	}
	x.say("%s is lost", lost)
	for _, k := range x.w.stores[lost].Keys() {
		x.w.stores[lost].Remove(k)
	}
	h := x.hosts[0]
	x.restart(h)
	if h.r == nil {
		return errors.New("cannot open after a loss")
	}
	st, err := h.r.Status(context.Background())
	if err != nil {
		return err
	}
	if err := x.read(h); err != nil {
		return err
	}
	if st.Home == lost || !st.Ready {
		to := x.w.names[0]
		if to == lost {
			to = x.w.names[1]
		}
		if err := promote(h.r, to, false); err != nil {
			return fmt.Errorf("promote after a loss: %w", err)
		}
	}
	if _, err := h.r.Reconcile(context.Background(), nil); err != nil {
		return fmt.Errorf("reconcile after a loss: %w", err)
	}
	for _, h := range x.hosts {
		x.restart(h)
	}
	return nil
}

// settle ends all faults, reconciles, and expects every site to hold the same.
func (x *run) settle() error {
	time.Sleep(time.Hour)
	for _, h := range x.hosts {
		x.restart(h)
	}
	r := x.hosts[0].r
	if r == nil {
		return errors.New("cannot open at the end")
	}
	st, err := r.Status(context.Background())
	if err != nil {
		return err
	}
	if !st.Ready || st.Superseded {
		x.say("promote at the end")
		if err := promote(r, "b", false); err != nil {
			return err
		}
	}
	rep, err := r.Reconcile(context.Background(), nil)
	if err != nil {
		return err
	}
	if rep.UndecidedCount > 0 {
		return fmt.Errorf("%d undecided", rep.UndecidedCount)
	}
	if err := x.w.check(len(x.w.names), x.reported); err != nil {
		return err
	}
	if err := readable(r, x.reported); err != nil {
		return err
	}
	all := users(x.w.stores["a"])
	for _, n := range x.w.names[1:] {
		if !maps.Equal(all, users(x.w.stores[n])) {
			return fmt.Errorf("%s does not hold what a holds", n)
		}
		if d := records(x.w.stores[n], "debt/"); d > 0 {
			return fmt.Errorf("%d debts are left at %s", d, n)
		}
	}
	return create(r, "last", "x")
}
