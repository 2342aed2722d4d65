package faulttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
)

// compact is a repository of two snapshots with every type of object, as small as can be.
type compact struct {
	store *faultstore.Store
	world *world
	ids   []format.SnapID
	keys  []string
	first map[string]bool // the keys that were there before the second snapshot
}

func newCompact(t *testing.T) *compact {
	s, r := begin(t, "")
	x := &compact{store: s, world: newWorld(), first: map[string]bool{}}
	for v := range 2 {
		if v == 1 {
			for _, k := range s.Keys() {
				x.first[k] = true
			}
		}
		f := version(0, 0)
		if v == 1 { // another tree, and no more content: a pack has 64 KiB at least
			f["renamed"] = f["images/scan"]
			delete(f, "images/scan")
		}
		_, err := x.world.backup(t.Context(), r, f)
		require.NoError(t, err)
	}
	refs, _, err := r.Snapshots(t.Context())
	require.NoError(t, err)
	for _, ref := range refs {
		x.ids = append(x.ids, ref.ID)
	}
	require.Len(t, x.ids, 2)
	x.keys = s.Keys()
	types := map[string]bool{}
	for _, k := range x.keys {
		name, _, _ := strings.Cut(k, "/")
		types[name] = true
	}
	for _, name := range []string{"format", "format.copy", "keys", "sess", "p", "m", "i", "refs", "log"} {
		require.True(t, types[name], "no object of type %s", name)
	}
	return x
}

// read is what a new process gets of the two snapshots: nil when all is right, errWrong when it is wrong and
// nobody said so, and else the error that somebody was given.
func (x *compact) read(ctx context.Context, s *faultstore.Store) error {
	err, _ := x.examine(ctx, s)
	return err
}

// examine is read, and reports whether a check of everything tells of damage.
func (x *compact) examine(ctx context.Context, s *faultstore.Store) (err error, found bool) {
	r, err := reopen(ctx, s, "")
	if err != nil {
		return err, true
	}
	defer r.Close()
	err = x.readAll(ctx, r)
	rep, cerr := r.Check(ctx, engine.CheckOptions{ReadAll: true, Workers: 1})
	return err, cerr != nil || !rep.OK()
}

func (x *compact) readAll(ctx context.Context, r *engine.Repo) error {
	refs, sure, err := r.Snapshots(ctx)
	if err != nil {
		return err
	}
	var all error
	if !sure {
		all = errors.New("not sure of the newest snapshot")
	}
	for i, id := range x.ids {
		at := slices.IndexFunc(refs, func(ref format.SnapRef) bool { return ref.ID == id })
		if at < 0 {
			all = errors.Join(all, errMissing)
			continue
		}
		snap, err := r.Snapshot(ctx, refs[at])
		if err == nil {
			err = same(ctx, snap, x.world.saw[fmt.Sprintf("run %d", i+1)])
		}
		if errors.Is(err, errWrong) {
			return err
		}
		all = errors.Join(all, err)
	}
	if len(refs) > len(x.ids) {
		return errWrong
	}
	return all
}

var errMissing = errors.New("a snapshot is not listed")

// damage is one case: what to do to a clone of the store.
type damage struct {
	kind, text string
	do         func(s *faultstore.Store)
	// hidden is why a check need not find it; "" for must.
	hidden string
}

// try lets every case happen.
func (x *compact) try(t *testing.T, c *tally, cases []damage) {
	var mu sync.Mutex
	errs, checked := 0, 0
	workers(len(cases), func(i int) {
		d := cases[i]
		s := x.store.Clone()
		d.do(s)
		c.add(d.kind)
		err, found := x.examine(t.Context(), s)
		if errors.Is(err, errWrong) {
			c.lost("undetected: %s: %v", d.text, err)
		}
		if !found && d.hidden == "" {
			c.lost("not found by check: %s (reading: %v)", d.text, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs++
		}
		if found {
			checked++
		}
	})
	t.Logf("of %d cases %d gave an error to a reader, the others the exact bytes; check found %d", len(cases), errs, checked)
}

func flip(key string, i int, mask byte) func(*faultstore.Store) {
	return func(s *faultstore.Store) {
		b := s.Get(key)
		b[i] ^= mask
		s.Set(key, b)
	}
}

// step is every how many bytes of an object are damaged: all of them in the long run, but for packs, which are
// most of the bytes. Of packs there is a sample here, with all that opening, reading and checking a repository
// does; TestFlipAndCutPacks in package engine takes every byte of them, with all that can depend on it.
func step(key string) int {
	switch {
	case isPack(key) && long():
		return 509
	case isPack(key):
		return 8191
	case long():
		return 1
	}
	return 131
}

func isPack(key string) bool { return strings.HasPrefix(key, "p/") || strings.HasPrefix(key, "m/") }

// unsampled is the bytes of all objects that are not packs.
func (x *compact) unsampled() (n int) {
	for _, k := range x.keys {
		if !isPack(k) {
			n += len(x.store.Get(k))
		}
	}
	return n
}

// TestFlipEveryByte flips one bit of every byte of a repository, and every bit of the first 64 bytes of each
// object (B1).
func TestFlipEveryByte(t *testing.T) {
	t.Parallel()
	x := newCompact(t)
	var cases []damage
	for _, k := range x.keys {
		n := len(x.store.Get(k))
		for i := 0; i < n; i += step(k) {
			kind := "byte"
			if isPack(k) {
				kind = "packbyte"
			}
			cases = append(cases, damage{kind: kind, text: fmt.Sprintf("%s byte %d", k, i), do: flip(k, i, 1<<(i%8))})
		}
		for i := range min(64, n) {
			for bit := range 8 {
				if bit == i%8 && i%step(k) == 0 || !long() && (8*i+bit)%83 != 0 {
					continue
				}
				cases = append(cases, damage{kind: "headbit", text: fmt.Sprintf("%s byte %d bit %d", k, i, bit), do: flip(k, i, 1<<bit)})
			}
		}
	}
	var c tally
	x.try(t, &c, cases)
	c.report(t)
	if long() {
		require.Equal(t, x.unsampled(), c.cases["byte"], "every byte")
	}
}

// TestCutAndExtend cuts every object at every length, lets it grow, and fills sectors with zeros (B2).
func TestCutAndExtend(t *testing.T) {
	t.Parallel()
	x := newCompact(t)
	var cases []damage
	add := func(kind, k string, n int, make func(b []byte) []byte) {
		cases = append(cases, damage{kind: kind, text: fmt.Sprintf("%s %s at %d", k, kind, n), do: func(s *faultstore.Store) { s.Set(k, make(s.Get(k))) }})
	}
	for _, k := range x.keys {
		n := len(x.store.Get(k))
		for i := 0; i < n; i += step(k) {
			kind := "cut"
			if isPack(k) {
				kind = "packcut"
			}
			add(kind, k, i, func(b []byte) []byte { return b[:i] })
		}
		add("cutlast", k, n-1, func(b []byte) []byte { return b[:n-1] })
		for _, more := range [][]byte{{0}, {1}, make([]byte, 64), x.store.Get(k)} {
			add("append", k, len(more), func(b []byte) []byte { return append(b, more...) })
		}
		for i := 0; i < n; i += 4096 {
			if !long() && i > 0 && i%(16*4096) > 0 {
				continue
			}
			add("zero", k, i, func(b []byte) []byte { clear(b[i:min(i+4096, n)]); return b })
		}
	}
	var c tally
	x.try(t, &c, cases)
	c.report(t)
	if long() {
		require.Equal(t, x.unsampled(), c.cases["cut"], "every length")
	}
}

// class is the type of an object, by its name.
func class(key string) string {
	name, _, _ := strings.Cut(key, "/")
	return strings.TrimSuffix(name, ".copy")
}

// TestSwap puts the bytes of every object in the place of every other of its type, of both places, and those
// of another repository with the same content (S1).
func TestSwap(t *testing.T) {
	t.Parallel()
	x, y := newCompact(t), newCompact(t)
	var cases []damage
	for _, a := range x.keys {
		for _, b := range x.keys {
			if a == b || class(a) != class(b) || class(a) == "format" { // those are equal
				continue
			}
			cases = append(cases, damage{kind: "replace", text: a + " by " + b, do: func(s *faultstore.Store) { s.Set(a, s.Get(b)) }})
			if a < b {
				cases = append(cases, damage{kind: "swap", text: a + " and " + b, do: func(s *faultstore.Store) {
					one, two := s.Get(a), s.Get(b)
					s.Set(a, two)
					s.Set(b, one)
				}})
			}
		}
		for _, b := range y.keys {
			if class(a) == class(b) {
				object := y.store.Get(b)
				cases = append(cases, damage{kind: "foreign", text: a + " by another repository's " + b, do: func(s *faultstore.Store) { s.Set(a, object) }})
			}
		}
	}
	var c tally
	x.try(t, &c, cases)
	c.report(t)
	require.Greater(t, c.n(), 50)
}

// TestDelete removes each object, and each pair (S2), and adds objects that nobody named (S4).
func TestDelete(t *testing.T) {
	t.Parallel()
	x := newCompact(t)
	newest := format.EntryKey(2)
	require.NotNil(t, x.store.Get(newest))
	require.Nil(t, x.store.Get(format.EntryKey(3)))
	var cases []damage
	for i, a := range x.keys {
		d := damage{kind: "delete", text: a, do: func(s *faultstore.Store) { s.Remove(a) }}
		if a == newest {
			d.hidden = "without a pin nobody can know of the newest entry; TestRolledBack shows that a host with one does"
		}
		cases = append(cases, d)
		for _, b := range x.keys[i+1:] {
			d := damage{kind: "pair", text: a + " and " + b, do: func(s *faultstore.Store) { s.Remove(a); s.Remove(b) }}
			if a == format.EntryKey(1) && b == newest {
				d.hidden = "nor of the two newest"
			}
			if a == newest && !x.first[b] || b == newest && !x.first[a] {
				d.hidden = "what only that snapshot needs is not missed either"
			}
			if long() || i%3 == 0 {
				cases = append(cases, d)
			}
		}
	}
	var c tally
	x.try(t, &c, cases)

	s := x.store.Clone()
	for _, k := range x.keys {
		dir, name, ok := strings.Cut(k, "/")
		if !ok {
			continue
		}
		s.Set(dir+"/"+strings.ToUpper(name)+"x", s.Get(k)) // as a store may hold that folds case
		s.Set(dir+"/.DS_Store", []byte("junk"))
	}
	s.Set("lost+found", []byte("junk"))
	s.Set(format.EntryKey(40), []byte("junk"))
	c.add("unknown")
	if err := x.read(t.Context(), s); err != nil {
		c.lost("objects that nobody named: %v", err)
	}
	c.report(t)
}
