package evidence_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency/evidence"
)

// history is a store with chains of several writers, of which each but the first has seen those before it.
func history(t testing.TB, chains map[string]int) (*faultstore.Store, *evidence.Log) {
	s := faultstore.New()
	var l *evidence.Log
	for _, w := range []string{"a", "b", "c"} {
		l = open(t, s.Bucket(), w)
		for i := range chains[w] {
			appendDebt(t, l, int64(w[0])*1000+int64(i))
		}
	}
	return s, l
}

func key(w string, seq int64) string { return fmt.Sprintf("%s%s/%010d", prefix, w, seq) }

// broken expects that both the log and a file made of it show a fault.
func broken(t testing.TB, s *faultstore.Store, noted ...evidence.Head) *evidence.BrokenError {
	l := open(t, s.Bucket(), "auditor")
	file, exported := export(t, l)
	_, err := evidence.Verify(bytes.NewReader(file), noted...)
	require.ErrorIs(t, err, evidence.ErrBroken)
	if len(noted) == 0 {
		require.ErrorIs(t, exported, evidence.ErrBroken)
		_, faults := taken(t, l)
		require.NotEmpty(t, faults)
	}
	var b *evidence.BrokenError
	require.ErrorAs(t, err, &b)
	return b
}

func TestAttacksAreFoundAndPlaced(t *testing.T) {
	cases := map[string]struct {
		do   func(s *faultstore.Store)
		want string
		n    int // how many faults, if it must not be more
	}{
		"removed in the middle": {func(s *faultstore.Store) { s.Remove(key("a", 2)) }, "writer a, block 3: the block before it is missing", 1},
		"several removed": {func(s *faultstore.Store) { s.Remove(key("b", 1)); s.Remove(key("b", 2)) },
			"writer b, block 3: the 2 blocks before it are missing", 1},
		"the newest removed, seen by another": {func(s *faultstore.Store) { s.Remove(key("a", 4)) }, "writer a, block 4: writer b saw it, but it is missing", 0},
		"a chain removed": {func(s *faultstore.Store) {
			for i := int64(1); i <= 4; i++ {
				s.Remove(key("a", i))
			}
		}, "writer a, block 4: writer b saw it, but it is missing", 0},
		"altered": {func(s *faultstore.Store) {
			s.Set(key("b", 2), bytes.Replace(s.Get(key("b", 2)), []byte(`"open":98001`), []byte(`"open":98000`), 1))
		}, "writer b, block 3: it does not follow from the block before it: one of the two was altered or exchanged", 0},
		"the newest altered, seen by another": {func(s *faultstore.Store) {
			s.Set(key("b", 4), bytes.Replace(s.Get(key("b", 4)), []byte(`"open":98003`), []byte(`"open":0`), 1))
		}, "writer b, block 4: writer c saw it, but it is not the same any more", 0},
		"exchanged": {func(s *faultstore.Store) {
			two, three := s.Get(key("a", 2)), s.Get(key("a", 3))
			s.Set(key("a", 2), three)
			s.Set(key("a", 3), two)
		}, "writer a, block 2: it is a block of another place", 0},
		"renumbered": {func(s *faultstore.Store) {
			two, three := s.Get(key("a", 2)), s.Get(key("a", 3))
			s.Set(key("a", 2), bytes.Replace(three, []byte(`"seq":3`), []byte(`"seq":2`), 1))
			s.Set(key("a", 3), bytes.Replace(two, []byte(`"seq":2`), []byte(`"seq":3`), 1))
		}, "writer a, block 2: it does not follow from the block before it: one of the two was altered or exchanged", 0},
		"taken from another chain": {func(s *faultstore.Store) { s.Set(key("a", 5), s.Get(key("c", 2))) }, "writer a, block 5: it is a block of another place", 0},
		"cut in half":              {func(s *faultstore.Store) { s.Set(key("a", 2), s.Get(key("a", 2))[:50]) }, "writer a, block 2: it is not a block of evidence", 1},
		"put in far ahead": {func(s *faultstore.Store) {
			s.Set(key("a", 9_999_999_999), bytes.Replace(s.Get(key("a", 4)), []byte(`"seq":4`), []byte(`"seq":9999999999`), 1))
		}, "writer a, block 9999999999: the 9999999994 blocks before it are missing", 0},
		"the first names one before it": {func(s *faultstore.Store) {
			s.Set(key("c", 1), bytes.Replace(s.Get(key("c", 1)), []byte(`"prev":"00`), []byte(`"prev":"01`), 1))
		}, "writer c, block 1: it does not follow from the block before it: one of the two was altered or exchanged", 0},
		"a time of another zone": {func(s *faultstore.Store) {
			s.Set(key("c", 1), bytes.Replace(s.Get(key("c", 1)), []byte(`Z","kind"`), []byte(`+13:00","kind"`), 1))
		}, "writer c, block 1: one of its records cannot be one", 0},
		"names written twice": {func(s *faultstore.Store) {
			s.Set(key("c", 1), bytes.Replace(s.Get(key("c", 1)), []byte(`"seq":1`), []byte(`"seq":7,"seq":1`), 1))
		}, "writer c, block 1: it is not written as a block of evidence is", 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, l := history(t, map[string]int{"a": 4, "b": 4, "c": 4})
			sound(t, l)
			c.do(s)
			b := broken(t, s)
			require.Equal(t, c.want, b.Faults[0].String())
			if c.n > 0 {
				require.Len(t, b.Faults, c.n)
			}
		})
	}
}

// The newest blocks that nobody saw can be removed unnoticed, unless a head was noted.
func TestTheNewestBlockIsMissedOnlyIfItWasNoted(t *testing.T) {
	s, l := history(t, map[string]int{"a": 2, "b": 2, "c": 3})
	noted := l.Head()
	s.Remove(key("c", 3))
	sound(t, open(t, s.Bucket(), "auditor"))
	b := broken(t, s, noted)
	require.Equal(t, "writer c, block 3: it was noted elsewhere, but it is missing", b.Faults[0].String())
	sound(t, open(t, s.Bucket(), "auditor"), evidence.Head{Writer: "nobody"})
}

// Whatever is done to one object of those that another block names or follows is found; what is left alone is not.
func TestAnyChangeIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := faultstore.New()
		logs := map[string]*evidence.Log{}
		total := 0
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			w := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "writer")
			if logs[w] == nil || rapid.Bool().Draw(t, "restart") {
				l, err := evidence.Open(t.Context(), s.Bucket(), prefix, &evidence.Options{Writer: w})
				require.NoError(t, err)
				logs[w] = l
			}
			require.NoError(t, logs[w].Append(t.Context(), evidence.KindDebt, "akl", debt(int64(total))))
			total++
		}
		end, err := evidence.Open(t.Context(), s.Bucket(), prefix, &evidence.Options{Writer: "end"})
		require.NoError(t, err)
		require.NoError(t, end.Append(t.Context(), evidence.KindDebt, "akl", debt(int64(total))))
		check := func() (evidence.Summary, error) {
			var file bytes.Buffer
			_ = end.Export(t.Context(), &file)
			return evidence.Verify(&file, end.Head())
		}
		sum, err := check()
		require.NoError(t, err)
		require.EqualValues(t, total+1, sum.Records)
		keys := s.Keys()
		k := rapid.SampledFrom(keys).Draw(t, "key")
		data := s.Get(k)
		switch rapid.SampledFrom([]string{"remove", "flip", "cut", "extend", "swap"}).Draw(t, "attack") {
		case "remove":
			s.Remove(k)
		case "flip":
			data[rapid.IntRange(0, len(data)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "mask"))
			s.Set(k, data)
		case "cut":
			s.Set(k, data[:rapid.IntRange(0, len(data)-1).Draw(t, "at")])
		case "extend":
			s.Set(k, append(data, '\n'))
		case "swap":
			other := rapid.SampledFrom(keys).Filter(func(o string) bool { return o != k || len(keys) == 1 }).Draw(t, "other")
			s.Set(k, s.Get(other))
			s.Set(other, data)
			if other == k {
				s.Remove(k)
			}
		}
		_, err = check()
		require.ErrorIs(t, err, evidence.ErrBroken)
	})
}

// An export on its way to the auditor can be damaged as well.
func TestTheFileIsCheckedByItself(t *testing.T) {
	_, l := history(t, map[string]int{"a": 3, "b": 3})
	file, err := export(t, l)
	require.NoError(t, err)
	lines := slices.Collect(bytes.Lines(file))
	join := func(lines ...[]byte) []byte { return bytes.Join(lines, nil) }
	verify := func(data []byte) error {
		_, err := evidence.Verify(bytes.NewReader(data))
		return err
	}
	for i := range file {
		flipped := bytes.Clone(file)
		flipped[i] ^= 1
		require.ErrorIs(t, verify(flipped), evidence.ErrBroken, "byte %d", i)
		require.ErrorIs(t, verify(file[:i]), evidence.ErrBroken, "cut at %d", i)
	}
	require.ErrorContains(t, verify(join(slices.Concat(lines, lines)...)), "follows the last line")
	require.ErrorContains(t, verify(append(bytes.Clone(file), 'x')), "the file is cut in line")
	require.ErrorContains(t, verify(file[:len(file)-len(lines[len(lines)-1])]), "its last line is missing")
	require.ErrorContains(t, verify(bytes.Repeat([]byte("x"), 1<<20)), "longer")
	require.ErrorContains(t, verify(slices.Concat(lines[0], lines[1], lines[1])), "comes twice")
	// With the digest at the end made right again, order and completeness still show.
	for i := 1; i < len(lines)-2; i++ { // the last block nobody has seen
		require.ErrorIs(t, verify(seal(join(slices.Delete(slices.Clone(lines[:len(lines)-1]), i, i+1)...))), evidence.ErrBroken, "without line %d", i)
	}
	swapped := slices.Clone(lines[:len(lines)-1])
	swapped[1], swapped[4] = swapped[4], swapped[1]
	require.ErrorIs(t, verify(seal(join(swapped...))), evidence.ErrBroken)
	require.NoError(t, verify(seal(join(lines[:len(lines)-1]...))))
}

// Memory does not grow with the records, be they in many objects or in few.
func TestAHundredThousandRecordsInBoundedMemory(t *testing.T) {
	for name, c := range map[string]struct{ writers, rounds, together, objects int }{
		"together": {4, 100, 250, 4 * 101}, "one by one": {10, 1000, 1, 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := faultstore.New()
				s.SetHook(faultstore.Nth(0, faultstore.On(faultstore.Write, ""), faultstore.Delay(time.Millisecond)))
				for w := range c.writers {
					l := open(t, s.Bucket(), fmt.Sprintf("w%d", w))
					for range c.rounds {
						appendTogether(t, l, c.together)
					}
				}
				require.LessOrEqual(t, len(s.Keys()), 2*c.objects, "calls that wait share an object")
				measure(t, open(t, s.Bucket(), "reader"), c.writers*c.rounds*c.together)
			})
		})
	}
}

// measure reads n records, and expects little memory for it.
func measure(t *testing.T, l *evidence.Log, n int) {
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most, seen := uint64(0), 0
	for _, err := range l.Records(t.Context()) {
		require.NoError(t, err)
		if seen++; seen%(n/10) == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
		}
	}
	require.Equal(t, n, seen)
	require.Less(t, most, uint64(16<<20))
}

// What is written while a log is read, or what a listing does not show yet, is read if another block names it.
func TestAListingThatLags(t *testing.T) {
	for _, hidden := range [][]string{{key("a", 4)}, {key("a", 3), key("a", 4)}, {key("a", 1), key("a", 2), key("a", 3), key("a", 4)}} {
		s, _ := history(t, map[string]int{"a": 4, "b": 2, "c": 1})
		l := open(t, s.Bucket(), "auditor")
		objects := s.Objects()
		s.SetHook(func(o faultstore.Op) faultstore.Fault {
			for _, k := range hidden {
				if o.Kind == faultstore.List {
					s.Remove(k)
				} else {
					s.Set(k, objects[k])
				}
			}
			return faultstore.Fault{}
		})
		ns, faults := taken(t, l)
		require.Empty(t, faults)
		require.Equal(t, []int64{97000, 97001, 97002, 97003, 98000, 98001, 99000}, ns)
	}
}

// Somebody who can write makes the auditor's reader neither ask without end nor list without end.
func TestAnAttackersNumbersCostLittle(t *testing.T) {
	s, _ := history(t, map[string]int{"a": 4, "b": 4})
	l := open(t, s.Bucket(), "auditor")
	far := bytes.Replace(s.Get(key("a", 4)), []byte(`"seq":4`), []byte(`"seq":5000000`), 1)
	s.Set(key("b", 1), bytes.Replace(s.Get(key("b", 1)), []byte(`"seq":4`), []byte(`"seq":5000000`), 1))
	s.SetHook(func(o faultstore.Op) faultstore.Fault {
		if o.Kind == faultstore.List {
			s.Remove(key("a", 5_000_000))
		} else {
			s.Set(key("a", 5_000_000), far)
		}
		return faultstore.Fault{}
	})
	_, faults := taken(t, l)
	require.Less(t, s.Ops(), 11_000)
	require.Contains(t, faults, evidence.Fault{Writer: "a", Seq: 5_000_000, Problem: "the 4999995 blocks before it are missing"})

	s = faultstore.New()
	for i := int64(1); i <= 150; i++ {
		s.Set(key("a", 2*i), []byte("rubbish"))
	}
	b := broken(t, s)
	require.Len(t, b.Faults, 100)
	require.Equal(t, 200, b.More)
	require.ErrorContains(t, b, "300 places")
}
