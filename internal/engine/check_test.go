package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/chunk"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/carekeep/carekeep/internal/store"
)

var checkKey = engine.Key{Password: []byte("secret")}

// checkStore are the options of a store that answers at once.
var checkStore = store.Options{Attempts: 2, Backoff: time.Nanosecond}

// checkRepo makes a repository of a few files and snapshots, and opens it again from nothing.
func checkRepo(t testing.TB) (*faultstore.Store, *engine.Repo) {
	t.Helper()
	ctx := t.Context()
	s := faultstore.New()
	r, err := engine.Create(ctx, s.Bucket(), checkKey, engine.Config{KDF: quickKDF(t), Store: checkStore})
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	data := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	files := fstest.MapFS{
		"a/one": {Data: data(3000), ModTime: old}, "a/two": {Data: data(900), ModTime: old}, "b/three": {Data: data(40), ModTime: old},
		"b/empty": {ModTime: old},
	}
	for _, change := range []func(){
		func() {},
		func() {},
		func() {
			files["b/four"] = &fstest.MapFile{Data: data(2000), ModTime: old}
			delete(files, "a/two")
		},
	} {
		change()
		_, err := r.Backup(ctx, source.FromFS(files), engine.BackupOptions{Host: "h"})
		require.NoError(t, err)
	}
	return s, checkReopen(t, s)
}

func checkReopen(t testing.TB, s *faultstore.Store) *engine.Repo {
	t.Helper()
	r, err := engine.Open(t.Context(), s.Bucket(), checkKey, engine.Config{Store: checkStore})
	require.NoError(t, err)
	return r
}

func foundObjects(rep *engine.CheckReport) (keys []string) {
	for _, f := range rep.Findings {
		if f.Object != "" && !slices.Contains(keys, f.Object) {
			keys = append(keys, f.Object)
		}
	}
	return keys
}

// describeFindings is for messages of failed tests.
func describeFindings(rep *engine.CheckReport) string {
	var b strings.Builder
	for _, f := range rep.Findings {
		fmt.Fprintf(&b, "\n%v %s snapshot=%v path=%q: %v", f.Kind, f.Object, f.Snapshot, f.Path, f.Err)
	}
	return b.String()
}

func requireSound(t testing.TB, rep *engine.CheckReport, err error) {
	t.Helper()
	require.NoError(t, err)
	require.True(t, rep.OK(), describeFindings(rep))
	require.Empty(t, rep.Losses)
	require.Zero(t, rep.Lost+rep.Found+rep.Skipped)
}

func TestCheckFindsNothingWrong(t *testing.T) {
	s, r := checkRepo(t)
	for _, all := range []bool{false, true} {
		for _, memory := range []int64{0, 1} {
			rep, err := r.Check(t.Context(), engine.CheckOptions{ReadAll: all, Memory: memory})
			requireSound(t, rep, err)
			require.EqualValues(t, 3, rep.Snapshots)
			require.EqualValues(t, len(s.Keys()), rep.Objects, "a repository holds nothing that is not looked at")
			packs, meta := 0, 0
			for _, k := range s.Keys() {
				if strings.HasPrefix(k, "p/") || strings.HasPrefix(k, "m/") {
					packs++
				}
				if strings.HasPrefix(k, "m/") {
					meta++
				}
			}
			if !all {
				packs = meta
			}
			require.EqualValues(t, packs, rep.Packs)
			require.Positive(t, rep.Chunks)
		}
	}
	rep, err := engine.Scrub(t.Context(), s.Bucket(), engine.Config{Store: checkStore}, 0)
	requireSound(t, rep, err)
	require.EqualValues(t, 3, rep.Snapshots)
	require.EqualValues(t, len(s.Keys()), rep.Objects)
}

// TestCheckLargeTree has inner nodes, long files with trees of their own, problems, and several hosts.
func TestCheckLargeTree(t *testing.T) {
	ctx := t.Context()
	s := faultstore.New()
	c := engine.Config{
		KDF: quickKDF(t), Store: checkStore, HostDir: t.TempDir(), PackSize: 2 << 20,
		Chunks: chunk.Params{Min: 4 << 10, Avg: 8 << 10, Max: 64 << 10},
	}
	r, err := engine.Create(ctx, s.Bucket(), checkKey, c)
	require.NoError(t, err)
	files := sample(20)
	for i := range 2000 {
		files[fmt.Sprintf("many/%d/name%d", i%13, i)] = &fstest.MapFile{Data: []byte{byte(i), byte(i >> 8)}, ModTime: old}
	}
	random := rand.New(rand.NewPCG(3, 4))
	long := make([]byte, 3<<20)
	for i := 0; i < len(long); i += 8 {
		long[i] = byte(random.Uint32())
		long[i+1] = byte(random.Uint32())
	}
	files["long"] = &fstest.MapFile{Data: long, ModTime: old}
	for i := range 3 {
		files[fmt.Sprintf("many/new%d", i)] = &fstest.MapFile{Data: []byte("new"), ModTime: old}
		delete(files, fmt.Sprintf("many/%d/name%d", (600*i)%13, 600*i))
		_, err = r.Backup(ctx, source.FromFS(files), engine.BackupOptions{Host: "h"})
		require.NoError(t, err)
	}
	r = checkReopen(t, s)
	var chunks int64
	for _, o := range []engine.CheckOptions{{Memory: 1}, {ReadAll: true}, {ReadAll: true, Memory: 4000, Workers: 7}} {
		rep, err := r.Check(ctx, o)
		requireSound(t, rep, err)
		if o.ReadAll {
			require.True(t, chunks == 0 || chunks == rep.Chunks)
			chunks = rep.Chunks
		}
	}
	requireLosses(t, s, r)
}

// requireLosses removes packs of content, one at a time, and compares what the check says is lost with what
// reading every file says.
func requireLosses(t *testing.T, s *faultstore.Store, r *engine.Repo) {
	ctx := t.Context()
	refs, _, err := r.Snapshots(ctx)
	require.NoError(t, err)
	tried, losses := 0, 0
	for _, key := range s.Keys() {
		if !strings.HasPrefix(key, "p/") {
			continue
		}
		tried++
		whole := s.Get(key)
		half := slices.Clone(whole)
		half[len(half)/2] ^= 1
		for _, damage := range []func(){
			func() { s.Remove(key) },
			func() { s.Set(key, half) },
			func() { s.Set(key, whole[:len(whole)/2]) },
		} {
			damage()
			fresh := checkReopen(t, s)
			want := map[string]bool{}
			for _, ref := range refs {
				snap, err := fresh.Snapshot(ctx, ref)
				require.NoError(t, err)
				addUnreadable(t, snap, want)
			}
			for _, memory := range []int64{0, 1} {
				rep, err := r.Check(ctx, engine.CheckOptions{ReadAll: true, Memory: memory})
				require.NoError(t, err)
				got := map[string]bool{}
				for _, l := range rep.Losses {
					require.EqualValues(t, 1, l.Entries)
					got[fmt.Sprintf("%v %s", l.Snapshot, l.Path)] = true
				}
				require.Equal(t, want, got)
				require.Equal(t, []string{key}, foundObjects(rep))
				if len(want) > 0 { // else what is damaged is padding
					losses++
					require.NotZero(t, rep.Findings[0].Snapshot)
					require.True(t, want[fmt.Sprintf("%v %s", rep.Findings[0].Snapshot, rep.Findings[0].Path)])
				}
			}
			s.Set(key, whole)
		}
		if tried == 1 && os.Getenv("CAREKEEP_LONG") == "" {
			break
		}
	}
	require.Positive(t, losses)
}

// addUnreadable adds the files that cannot be read.
func addUnreadable(t *testing.T, snap *engine.Snapshot, out map[string]bool) {
	for e, err := range snap.Tree().Walk(t.Context(), ".") {
		require.NoError(t, err)
		if e.Kind != format.File {
			continue
		}
		for r, err := range snap.Content(e).Refs(t.Context(), 0) {
			require.NoError(t, err)
			if _, err = snap.Chunk(t.Context(), r.Ref); err != nil {
				out[fmt.Sprintf("%v %s", snap.Ref.ID, e.Path)] = true
				break
			}
		}
	}
}

func TestCheckFindsWhatIsGone(t *testing.T) {
	s, r := checkRepo(t)
	for _, key := range s.Keys() {
		data := s.Get(key)
		s.Remove(key)
		kind := engine.MissingObject
		if strings.HasPrefix(key, "log/") {
			kind = engine.DamagedLog
		}
		for _, all := range []bool{false, true} {
			rep, err := r.Check(t.Context(), engine.CheckOptions{ReadAll: all})
			require.NoError(t, err, key)
			require.Equal(t, []string{key}, foundObjects(rep), describeFindings(rep))
			require.Equal(t, kind, rep.Findings[0].Kind)
			for _, f := range rep.Findings {
				for _, name := range []string{"one", "two", "three", "four", "empty"} {
					require.NotContains(t, f.Err.Error(), "/"+name, "names are told in typed fields only")
				}
			}
			lost := strings.HasPrefix(key, "p/") || strings.HasPrefix(key, "m/") || strings.HasPrefix(key, "sess/") ||
				strings.HasPrefix(key, "i/") || rep.Lost > 0
			require.Equal(t, lost, rep.Lost > 0, "%s%s", key, describeFindings(rep))
		}
		rep, err := engine.Scrub(t.Context(), s.Bucket(), engine.Config{Store: checkStore}, 2)
		switch {
		case key == format.EntryKey(0):
			require.Error(t, err, "without its first entry a log cannot be opened")
		case key == s.Keys()[len(s.Keys())-1] || key > newestEntry(s):
			// Nobody can tell the newest entry's absence who has not seen it. A host that has does.
			require.NoError(t, err)
		default:
			require.NoError(t, err)
			require.Equal(t, []string{key}, foundObjects(rep), describeFindings(rep))
		}
		s.Set(key, data)
	}
	rep, err := r.Check(t.Context(), engine.CheckOptions{ReadAll: true})
	requireSound(t, rep, err)
}

func newestEntry(s *faultstore.Store) (last string) {
	for _, k := range s.Keys() {
		if strings.HasPrefix(k, "log/") {
			last = k
		}
	}
	return last
}

// TestCheckFindsEveryByte flips bytes all over a repository: a sample, or with CAREKEEP_LONG every byte of all
// objects but of the packs after the first of each type, which takes a quarter of an hour of one core.
func TestCheckFindsEveryByte(t *testing.T) {
	s, _ := checkRepo(t)
	long := os.Getenv("CAREKEEP_LONG") != ""
	steps, first := map[string]int{}, map[string]bool{}
	for _, key := range s.Keys() {
		if strings.HasPrefix(key, "keys/") {
			continue // TestCheckFindsSlotBytes
		}
		steps[key] = max(1, min(19_997, len(s.Get(key))/3))
		if kind := key[:2]; long && (!first[kind] || kind != "p/" && kind != "m/") {
			first[kind], steps[key] = true, 1
		}
	}
	const stripes = 2
	for i := range stripes {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			mine := s.Clone()
			flipBytes(t, mine, checkReopen(t, mine), steps, i, stripes)
		})
	}
}

// flipBytes flips one byte in step of each object, one at a time, and of those every stripes-th from the i-th on.
func flipBytes(t *testing.T, s *faultstore.Store, r *engine.Repo, steps map[string]int, i, stripes int) {
	tried := 0
	for key, step := range steps {
		data := s.Get(key)
		for at := i * step; at < len(data); at += stripes * step {
			data[at] ^= 1 << (at % 8)
			s.Set(key, data)
			tried++
			rep, err := r.Check(t.Context(), engine.CheckOptions{ReadAll: true})
			require.NoError(t, err, key)
			require.False(t, rep.OK(), "undetected: %s byte %d", key, at)
			require.Equal(t, []string{key}, foundObjects(rep), describeFindings(rep))
			if step > 1 || at%64 < stripes {
				alsoFound(t, s, r, key, at)
			}
			data[at] ^= 1 << (at % 8)
		}
		s.Set(key, data)
	}
	t.Logf("flipped %d bytes, all of them found", tried)
}

// alsoFound requires that a check of the structure finds what is wrong with anything but packs of content,
// and a scrub with everything.
func alsoFound(t *testing.T, s *faultstore.Store, r *engine.Repo, key string, at int) {
	if !strings.HasPrefix(key, "p/") {
		rep, err := r.Check(t.Context(), engine.CheckOptions{})
		require.NoError(t, err, key)
		require.False(t, rep.OK(), "%s byte %d, structure only", key, at)
	}
	rep, err := engine.Scrub(t.Context(), s.Bucket(), engine.Config{Store: checkStore}, 1)
	require.True(t, err != nil || !rep.OK(), "%s byte %d, scrub", key, at)
}

// TestCheckFindsSlotBytes flips bytes of key slots. A check that does not have the slot's key finds what is
// wrong with its form; the rest is found by whoever opens the repository with that key.
func TestCheckFindsSlotBytes(t *testing.T) {
	s, r := checkRepo(t)
	for _, key := range s.Keys() {
		if !strings.HasPrefix(key, "keys/") {
			continue
		}
		data := s.Get(key)
		for at := 0; at < len(data); at += 1 + len(data)/40 {
			data[at] ^= 1 << (at % 8)
			s.Set(key, data)
			rep, err := r.Check(t.Context(), engine.CheckOptions{})
			require.NoError(t, err)
			if rep.OK() {
				_, err = engine.Open(t.Context(), s.Bucket(), checkKey, engine.Config{Store: checkStore})
				require.Error(t, err, "byte %d", at)
			}
			data[at] ^= 1 << (at % 8)
		}
		s.Set(key, data)
	}
}

// TestCheckFindsOtherLengths cuts objects and makes them longer.
func TestCheckFindsOtherLengths(t *testing.T) {
	s, r := checkRepo(t)
	for i, key := range s.Keys() {
		data := s.Get(key)
		for j, other := range [][]byte{append(slices.Clone(data), 0), nil, data[:1], data[:len(data)-1], data[:len(data)/2]} {
			if os.Getenv("CAREKEEP_LONG") == "" && j > 0 && j != 1+i%4 {
				continue
			}
			s.Set(key, other)
			rep, err := r.Check(t.Context(), engine.CheckOptions{ReadAll: j%2 == 0})
			require.NoError(t, err, key)
			require.Equal(t, []string{key}, foundObjects(rep), "%s %d of %d bytes: %s", key, len(other), len(data), describeFindings(rep))
			if key != newestEntry(s) && key != format.EntryKey(0) {
				rep, err := engine.Scrub(t.Context(), s.Bucket(), engine.Config{Store: checkStore}, 1)
				require.NoError(t, err)
				require.Equal(t, []string{key}, foundObjects(rep), describeFindings(rep))
			}
		}
		s.Set(key, data)
	}
}

// TestCheckFindsSwaps puts one object in the place of another of its type.
func TestCheckFindsSwaps(t *testing.T) {
	s, r := checkRepo(t)
	for _, a := range s.Keys() {
		for _, b := range s.Keys() {
			x, y := s.Get(a), s.Get(b)
			if a == b || a[:1] != b[:1] || strings.HasPrefix(a, "format") || string(x) == string(y) {
				continue
			}
			s.Set(a, y)
			rep, err := r.Check(t.Context(), engine.CheckOptions{ReadAll: true})
			require.NoError(t, err)
			require.Equal(t, []string{a}, foundObjects(rep), "%s as %s: %s", b, a, describeFindings(rep))
			s.Set(a, x)
		}
	}
}

func TestCheckOutage(t *testing.T) {
	s, r := checkRepo(t)
	// One object that cannot be read is a finding, and may be well the next time.
	s.SetHook(faultstore.Nth(0, faultstore.On(faultstore.Read, "i/"), faultstore.Fail(gcerrors.Internal)))
	rep, err := r.Check(t.Context(), engine.CheckOptions{})
	require.NoError(t, err)
	require.Equal(t, engine.UnreadableObject, rep.Findings[0].Kind)
	s.SetHook(nil)
	rep, err = r.Check(t.Context(), engine.CheckOptions{})
	requireSound(t, rep, err)

	ctx, cancel := context.WithCancel(t.Context())
	s.SetHook(func(o faultstore.Op) faultstore.Fault {
		if strings.HasPrefix(o.Key, "m/") {
			cancel()
		}
		return faultstore.Fault{}
	})
	_, err = r.Check(ctx, engine.CheckOptions{})
	require.ErrorIs(t, err, context.Canceled)

	writer, err := engine.Open(t.Context(), s.Bucket(), engine.Key{}, engine.Config{Store: checkStore})
	require.ErrorIs(t, err, engine.ErrNoCredential)
	require.Nil(t, writer)
}
