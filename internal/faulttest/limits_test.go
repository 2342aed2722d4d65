package faulttest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/carekeep/carekeep/internal/store"
)

func password(p string) engine.Key { return engine.Key{Password: []byte(p)} }

// TestWrongKeys opens repositories with keys that do not belong to them (W1).
func TestWrongKeys(t *testing.T) {
	t.Parallel()
	k, err := seal.DefaultKDF(seal.T1)
	require.NoError(t, err)
	k.MemoryKiB, k.Time, k.Threads = 8<<10, 1, 1
	c := config("")
	c.KDF = &k
	one, two := faultstore.New(), faultstore.New()
	r, err := engine.Create(t.Context(), one.Bucket(), password("one"), c)
	require.NoError(t, err)
	w := newWorld()
	_, err = w.backup(t.Context(), r, version(0, 0))
	require.NoError(t, err)
	_, err = r.AddSlot(t.Context(), key("main"))
	require.NoError(t, err)
	_, err = engine.Create(t.Context(), two.Bucket(), password("two"), c)
	require.NoError(t, err)

	for _, wrong := range []engine.Key{password("two"), password("One"), password("one "), key("other"), {KMSName: "main", KMS: key("other").KMS}} {
		_, err := engine.Open(t.Context(), one.Bucket(), wrong, config(""))
		require.ErrorIs(t, err, engine.ErrWrongKey)
	}
	_, err = engine.Open(t.Context(), one.Bucket(), engine.Key{}, config(t.TempDir()))
	require.ErrorIs(t, err, engine.ErrNoCredential)
	_, err = engine.Open(t.Context(), faultstore.New().Bucket(), password("one"), config(""))
	require.ErrorIs(t, err, engine.ErrNoRepository)

	// A slot of another repository, and one slot in the place of another, open nothing.
	slots := func(s *faultstore.Store) (keys []string) {
		for _, k := range s.Keys() {
			if strings.HasPrefix(k, "keys/") {
				keys = append(keys, k)
			}
		}
		return keys
	}
	mine, foreign := slots(one), slots(two)
	require.Len(t, mine, 2)
	for _, at := range mine {
		s := one.Clone()
		s.Set(at, two.Get(foreign[0]))
		for _, k := range []engine.Key{password("two"), password("one"), key("main")} {
			r, err := engine.Open(t.Context(), s.Bucket(), k, config(""))
			if err == nil {
				require.Equal(t, one.Get("format"), s.Get("format"))
				require.NotNil(t, r)
				_, err = w.verify(t.Context(), s.Bucket(), 0)
				if errors.Is(err, errWrong) {
					require.NoError(t, err)
				}
				require.NotEqual(t, password("two"), k)
			}
		}
	}
	_, err = w.verify(t.Context(), one.Bucket(), 0)
	require.NoError(t, err)
	t.Logf("cases=%d lost=0", 7+3*len(mine))
}

// TestNewerFormat raises the version of every object: the error says what to do, nothing is written, and
// what an older release may still read it reads.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	x := newCompact(t)
	var c tally
	for _, k := range x.keys {
		c.add(class(k))
		s := x.store.Clone()
		both := []string{k}
		if class(k) == "format" {
			both = []string{"format", "format.copy"}
		}
		for _, k := range both {
			b := s.Get(k)
			b[3]++
			s.Set(k, b)
		}
		err, found := x.examine(t.Context(), s)
		// Lists of references are not needed to read a snapshot, but a check reads them.
		if errors.Is(err, errWrong) || err == nil && class(k) != "refs" {
			c.lost("%s: %v", k, err)
		}
		if !found {
			c.lost("%s: a check does not mind", k)
		}
		if class(k) == "format" {
			require.ErrorIs(t, err, format.ErrVersion)
			require.ErrorContains(t, err, "use a newer release")
			_, err = engine.Create(t.Context(), s.Bucket(), key("main"), config(""))
			require.ErrorIs(t, err, format.ErrVersion)
		}
	}
	c.report(t)
}

// TestFullStore lets the store be full from every write on (D1): the error says so, nothing is lost, and the
// next run succeeds when there is room.
func TestFullStore(t *testing.T) {
	t.Parallel()
	var c tally
	for _, code := range []error{syscall.ENOSPC, &faultstore.Error{Code: gcerrors.ResourceExhausted, Text: "quota"}} {
		for _, sc := range scenarios(t) {
			if sc.name == "addkey" || sc.name == "removekey" || sc.name == "checkpoint" && !long() {
				continue
			}
			writes := 0
			for n := 1; ; n++ {
				k := &killed{sc.store.Clone(), unpack(t, sc.host), sc.world.clone()}
				seen, full := 0, faultstore.FailWith(code)
				match := func(o faultstore.Op) bool {
					if o.Kind == faultstore.Write {
						seen++
					}
					return o.Kind == faultstore.Write && seen >= n
				}
				k.store.SetHook(faultstore.Nth(0, serial(match), full))
				err := sc.act(t.Context(), k.store, k.host, k.world)
				k.store.SetHook(nil)
				if seen < n {
					require.NoError(t, err)
					break
				}
				writes++
				c.add(sc.name)
				optional := sc.name == "checkpoint" || sc.name == "merges" // the last writes, after the commit
				if err == nil && sc.name != "create" && !optional {
					c.lost("%s, write %d: success on a full store", sc.name, n)
				}
				if err != nil && errors.Is(code, syscall.ENOSPC) && !errors.Is(err, store.ErrSpace) {
					c.lost("%s, write %d: the error does not say that the store is full: %v", sc.name, n, err)
				}
				before, err := sc.survey(t.Context(), k)
				if err == nil {
					err = sc.recover(t.Context(), k, k.host, before)
				}
				if err != nil {
					c.lost("%s, write %d: %v", sc.name, n, err)
				}
			}
			require.Positive(t, writes)
		}
	}
	c.report(t)
}

// serial makes a match that counts safe for requests made at once.
func serial(match func(faultstore.Op) bool) func(faultstore.Op) bool {
	turn := make(chan struct{}, 1)
	return func(o faultstore.Op) bool {
		turn <- struct{}{}
		defer func() { <-turn }()
		return match(o)
	}
}

// TestReadOnlyStore refuses every change (D2): reading works, writing says why it does not.
func TestReadOnlyStore(t *testing.T) {
	t.Parallel()
	x := newCompact(t)
	x.store.SetHook(faultstore.Nth(0, faultstore.Op.Changes, faultstore.Fail(gcerrors.PermissionDenied)))
	err, found := x.examine(t.Context(), x.store)
	require.NoError(t, err)
	require.False(t, found)
	r, err := reopen(t.Context(), x.store, "")
	require.NoError(t, err)
	_, err = newWorld().backup(t.Context(), r, version(3, 0))
	require.ErrorIs(t, err, store.ErrDenied)
	_, err = r.AddSlot(t.Context(), key("second"))
	require.ErrorIs(t, err, store.ErrDenied)
	s := faultstore.New()
	s.SetHook(faultstore.Nth(0, faultstore.Op.Changes, faultstore.Fail(gcerrors.PermissionDenied)))
	_, err = engine.Create(t.Context(), s.Bucket(), key("main"), config(""))
	require.ErrorIs(t, err, store.ErrDenied)
	t.Log("cases=5 lost=0")
}

// TestHostFolderInTrouble damages what a host keeps, before a run and in the midst of it (D2): the run
// succeeds or fails with an error, the store loses nothing, and the run after it succeeds.
func TestHostFolderInTrouble(t *testing.T) {
	t.Parallel()
	base, host, w0 := faultstore.New(), t.TempDir(), newWorld()
	require.NoError(t, create(t.Context(), base, host, w0))
	require.NoError(t, backupOf(key("main"), version(0, 1))(t.Context(), base, host, w0))
	interrupted := &scenario{store: base, host: pack(t, host), world: w0, act: backupOf(key("main"), version(1, 2))}
	k := interrupted.kill(t, interrupted.points(t)-1, faultstore.Kill(), true) // leaves a journal and a spool
	require.NotNil(t, k)
	var files []string
	require.NoError(t, filepath.WalkDir(k.host, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			p, err = filepath.Rel(k.host, p)
			files = append(files, p)
		}
		return err
	}))
	require.Greater(t, len(files), 5)
	harms := map[string]func(path string) error{
		"removed": os.RemoveAll,
		"emptied": func(p string) error { return os.Truncate(p, 0) },
		"cut": func(p string) error {
			fi, err := os.Stat(p)
			if err != nil {
				return err
			}
			return os.Truncate(p, fi.Size()*2/3)
		},
		"flipped": func(p string) error {
			b, err := os.ReadFile(p)
			if err != nil || len(b) == 0 {
				return err
			}
			b[len(b)/2] ^= 1
			return os.WriteFile(p, b, 0o600)
		},
		"a folder": func(p string) error { return errors.Join(os.RemoveAll(p), os.Mkdir(p, 0o700)) },
	}
	var c tally
	check := func(what string, s *faultstore.Store, host string, w *world, must bool) {
		err := backupOf(key("main"), version(2, 1))(t.Context(), s, host, w)
		if err != nil && must {
			c.lost("%s: %v", what, err)
		}
		if _, err := w.verify(t.Context(), s.Bucket(), 0); err != nil {
			c.lost("%s: %v", what, err)
		}
	}
	for name, harm := range harms {
		for _, f := range files {
			c.add("before")
			dir := copyDir(t, k.host)
			require.NoError(t, harm(filepath.Join(dir, f)))
			check(f+" was "+name, k.store.Clone(), dir, k.world.clone(), name != "a folder")
		}
	}
	// In the midst of a run everything goes, or a file takes the folder's place.
	points := interrupted.points(t)
	for n := 1; n <= points; n += 4 {
		for _, file := range []bool{false, true} {
			c.add("during")
			dir := filepath.Join(t.TempDir(), "host")
			require.NoError(t, os.CopyFS(dir, os.DirFS(k.host)))
			s, w := k.store.Clone(), k.world.clone()
			s.SetHook(func(o faultstore.Op) faultstore.Fault {
				if o.N == n {
					_ = os.RemoveAll(dir)
					if file {
						_ = os.WriteFile(dir, nil, 0o600)
					}
				}
				return faultstore.Fault{}
			})
			check("gone in the midst", s, dir, w, false)
			s.SetHook(nil)
			check("after the midst", s, t.TempDir(), w, true)
			if !file {
				check("after the midst, in its place", s, dir, w, true)
			}
		}
	}
	// A host without a place for its folder works all the same.
	c.add("file")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	check("a file in place of the folder", k.store.Clone(), file, k.world.clone(), true)
	c.report(t)
}

// TestStoreThatReplaces creates a repository on a store that ignores the condition of exclusive writes (K3).
func TestStoreThatReplaces(t *testing.T) {
	t.Parallel()
	replace := func() *faultstore.Store {
		s := faultstore.New()
		s.SetHook(func(faultstore.Op) faultstore.Fault { return faultstore.Replace() })
		return s
	}
	for range 50 {
		s := replace()
		_, err := engine.Create(t.Context(), s.Bucket(), key("main"), config(""))
		require.ErrorIs(t, err, engine.ErrSingleWriter)
		require.Empty(t, s.Keys(), "a refused creation leaves nothing")
	}
	c := config("")
	c.SingleWriter = true
	s := replace()
	_, err := engine.Create(t.Context(), s.Bucket(), key("main"), c)
	require.ErrorIs(t, err, engine.ErrSingleWriter, "nothing would tell this host from another")
	require.Empty(t, s.Keys())

	c.HostDir = t.TempDir()
	r, err := engine.Create(t.Context(), s.Bucket(), key("main"), c)
	require.NoError(t, err)
	require.True(t, r.Format().SingleWriter)
	w := newWorld()
	_, err = w.backup(t.Context(), r, version(0, 0))
	require.NoError(t, err)

	// Others read and do not write, whichever key they open it with.
	_, err = r.AddSlot(t.Context(), key("second"))
	require.NoError(t, err)
	refused := func(k engine.Key, host string) {
		t.Helper()
		before := len(s.Keys())
		other, err := engine.Open(t.Context(), s.Bucket(), k, config(host))
		require.NoError(t, err)
		defer other.Close()
		_, err = other.Backup(t.Context(), source.FromFS(version(1, 0).fs()), engine.BackupOptions{})
		require.ErrorIs(t, err, engine.ErrSingleWriter)
		_, err = other.AddSlot(t.Context(), key("x"))
		require.ErrorIs(t, err, engine.ErrSingleWriter)
		require.ErrorIs(t, other.RemoveSlot(t.Context(), other.Slots()[0].ID), engine.ErrSingleWriter)
		require.Len(t, s.Keys(), before)
		refs, _, err := other.Snapshots(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, refs)
	}
	another := t.TempDir()
	for range 2 {
		refused(key("main"), another)
		refused(key("second"), "")
	}

	// Of two that write from one host at once, one waits, and then goes on from what the other wrote.
	again, err := reopen(t.Context(), s, c.HostDir)
	require.NoError(t, err)
	met := false
	_, err = r.Backup(t.Context(), source.FromFS(during(version(2, 0).fs(), func() {
		met = true
		_, err := again.Backup(t.Context(), source.FromFS(version(3, 0).fs()), engine.BackupOptions{})
		require.ErrorIs(t, err, engine.ErrSingleWriter)
	})), options("v2"))
	require.NoError(t, err)
	require.True(t, met)
	w.saw["v2"], w.done["v2"] = version(2, 0), true
	_, err = again.AddSlot(t.Context(), key("third key"))
	require.NoError(t, err)
	_, err = w.backup(t.Context(), r, version(4, 0))
	require.NoError(t, err)
	n, err := w.verify(t.Context(), s.Bucket(), 0)
	require.NoError(t, err)
	require.Equal(t, 3, n)

	// Taking it over is an act of somebody with a key, and is remembered.
	take := config(another)
	take.TakeOver = true
	_, err = engine.Open(t.Context(), s.Bucket(), engine.Key{}, take)
	require.ErrorIs(t, err, engine.ErrRole)
	take.HostDir = ""
	_, err = engine.Open(t.Context(), s.Bucket(), key("main"), take)
	require.ErrorIs(t, err, engine.ErrSingleWriter)
	take.HostDir = another
	_, err = engine.Open(t.Context(), s.Bucket(), key("main"), take)
	require.NoError(t, err)
	moved, err := reopen(t.Context(), s, another)
	require.NoError(t, err)
	_, err = w.backup(t.Context(), moved, version(5, 0))
	require.NoError(t, err)
	n, err = w.verify(t.Context(), s.Bucket(), 0)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	rep, err := moved.Check(t.Context(), engine.CheckOptions{ReadAll: true})
	require.NoError(t, err)
	require.Empty(t, rep.Findings)
	t.Log("cases=60 lost=0")
}

// during is files of which the first to be opened makes something else happen first.
func during(f fs.FS, do func()) fs.FS { return &duringFS{FS: f, do: do} }

type duringFS struct {
	fs.FS
	once sync.Once
	do   func()
}

func (d *duringFS) Open(name string) (fs.File, error) {
	f, err := d.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if st, serr := f.Stat(); serr == nil && st.Mode().IsRegular() {
		d.once.Do(d.do)
	}
	return f, nil
}

// TestSingleWriterCreationCutOff: a creation for one writer is completed by the host that began it.
func TestSingleWriterCreationCutOff(t *testing.T) {
	t.Parallel()
	for n := 10; n < 18; n++ {
		s := faultstore.New()
		writes := 0
		s.SetHook(func(o faultstore.Op) faultstore.Fault {
			if o.Kind == faultstore.Write {
				if writes++; writes > n {
					return faultstore.Fail(gcerrors.PermissionDenied)
				}
			}
			return faultstore.Replace()
		})
		c := config(t.TempDir())
		c.SingleWriter = true
		_, err := engine.Create(t.Context(), s.Bucket(), key("main"), c)
		s.SetHook(func(faultstore.Op) faultstore.Fault { return faultstore.Replace() })
		_, ferr := s.Bucket().ReadAll(t.Context(), "format")
		if err == nil || ferr != nil {
			continue
		}
		other := c
		other.HostDir = t.TempDir()
		_, err = engine.Create(t.Context(), s.Bucket(), key("main"), other)
		require.ErrorIs(t, err, engine.ErrSingleWriter)
		r, err := engine.Create(t.Context(), s.Bucket(), key("main"), c)
		require.NoError(t, err)
		_, err = newWorld().backup(t.Context(), r, version(0, 0))
		require.NoError(t, err)
		return
	}
	t.Fatal("no creation was cut off in the midst")
}

// TestProbeOncePerHost: a host asks the store once, before it first writes, whether it creates exclusively, and
// does not write where another host may if it does not.
func TestProbeOncePerHost(t *testing.T) {
	t.Parallel()
	s, r := begin(t, t.TempDir())
	w := newWorld()
	var probes atomic.Int64
	count := func(o faultstore.Op) faultstore.Fault {
		if o.Kind == faultstore.Write && strings.HasPrefix(o.Key, "probe/") {
			probes.Add(1)
		}
		return faultstore.Fault{}
	}
	s.SetHook(count)
	_, err := w.backup(t.Context(), r, version(0, 0))
	require.NoError(t, err)
	require.Zero(t, probes.Load(), "creating it has told this host")

	host := t.TempDir()
	for i := range 3 {
		r, err := reopen(t.Context(), s, host)
		require.NoError(t, err)
		if i == 0 {
			_, _, err = r.Snapshots(t.Context())
			require.NoError(t, err)
			require.Zero(t, probes.Load(), "reading needs no probe")
		}
		_, err = w.backup(t.Context(), r, version(i+1, 0))
		require.NoError(t, err)
		require.EqualValues(t, 9, probes.Load(), "one race, and one who comes late")
	}
	for i := range 2 {
		r, err := reopen(t.Context(), s, "")
		require.NoError(t, err)
		for range 2 {
			_, err = w.backup(t.Context(), r, version(i+4, 0))
			require.NoError(t, err)
		}
		require.EqualValues(t, 18+9*i, probes.Load(), "a host that keeps nothing asks once in each process")
	}

	// Through a door of its own the same store may behave otherwise.
	s.SetHook(func(faultstore.Op) faultstore.Fault { return faultstore.Replace() })
	for _, host := range []string{t.TempDir(), ""} {
		r, err := reopen(t.Context(), s, host)
		require.NoError(t, err)
		before := s.Keys()
		_, err = r.Backup(t.Context(), source.FromFS(version(9, 0).fs()), options("no"))
		require.ErrorIs(t, err, engine.ErrSingleWriter)
		_, err = r.AddSlot(t.Context(), key("second"))
		require.ErrorIs(t, err, engine.ErrSingleWriter)
		require.Equal(t, before, s.Keys())
	}
}

// TestRolledBack shows a host an older copy of the store than it has seen, at every distance (S3).
func TestRolledBack(t *testing.T) {
	t.Parallel()
	host, w := t.TempDir(), newWorld()
	s, r := begin(t, host)
	states := []*faultstore.Store{s.Clone()}
	for v := range 5 {
		_, err := w.backup(t.Context(), r, version(v, 0))
		require.NoError(t, err)
		states = append(states, s.Clone())
	}
	var c tally
	for i, old := range states {
		for name, k := range map[string]engine.Key{"key": key("main"), "credential": {}} {
			c.add(name)
			r, err := engine.Open(t.Context(), old.Clone().Bucket(), k, config(copyDir(t, host)))
			if newest := i == len(states)-1; newest != (err == nil) || !newest && !errors.Is(err, ledger.ErrRolledBack) {
				c.lost("%d of 5 snapshots there, %s: %v", i, name, err)
			}
			if err == nil {
				r.Close()
			}
		}
	}
	// The newest entry alone is gone, or is another that was signed as well.
	gone := s.Clone()
	require.True(t, gone.Remove(format.EntryKey(5)))
	fork := states[4].Clone()
	other, err := reopen(t.Context(), fork, "")
	require.NoError(t, err)
	_, err = newWorld().backup(t.Context(), other, version(9, 0))
	require.NoError(t, err)
	require.NotNil(t, fork.Get(format.EntryKey(5)))
	for _, bad := range []*faultstore.Store{gone, fork} {
		c.add("newest")
		if _, err := reopen(t.Context(), bad, copyDir(t, host)); !errors.Is(err, ledger.ErrRolledBack) {
			c.lost("a missing or forked newest entry: %v", err)
		}
	}
	c.report(t)
}

// TestClocks runs backups with clocks that are ten years off, jump in the midst of a run, stand still or run
// backwards (T1): safety does not rest on them.
func TestClocks(t *testing.T) {
	t.Parallel()
	year := 365 * 24 * time.Hour
	var calls atomic.Int64
	clocks := map[string]func() time.Time{
		"behind":    func() time.Time { return time.Now().Add(-10 * year) },
		"ahead":     func() time.Time { return time.Now().Add(10 * year) },
		"still":     func() time.Time { return time.Unix(0, 0) },
		"1901":      func() time.Time { return time.Date(1901, 1, 1, 0, 0, 0, 0, time.UTC) },
		"2038":      func() time.Time { return time.Unix(1<<31+5, 0) },
		"backwards": func() time.Time { return time.Unix(1<<31-calls.Add(1)*1e6, 0) },
		"jumps":     func() time.Time { return time.Now().Add(time.Duration(calls.Add(1)%3-1) * 10 * year) },
	}
	host, w := t.TempDir(), newWorld()
	s, r := begin(t, host)
	_, err := w.backup(t.Context(), r, version(0, 1))
	require.NoError(t, err)
	var c tally
	for name, now := range clocks {
		for _, dir := range []string{host, t.TempDir()} {
			for v := range 2 {
				c.add(name)
				cfg := config(dir)
				cfg.Now = now
				err := withClock(t.Context(), s, cfg, w, version(v, 1))
				if err == nil {
					_, err = w.verify(t.Context(), s.Bucket(), 0)
				}
				if err != nil {
					c.lost("%s: %v", name, err)
				}
			}
		}
	}
	c.report(t)
	r2, err := reopen(t.Context(), s, "")
	require.NoError(t, err)
	rep, err := r2.Check(t.Context(), engine.CheckOptions{ReadAll: true})
	require.NoError(t, err)
	require.True(t, rep.OK(), "%+v", rep.Findings)
}

func withClock(ctx context.Context, s *faultstore.Store, c engine.Config, w *world, f files) error {
	r, err := engine.Open(ctx, s.Bucket(), key("main"), c)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = w.backup(ctx, r, f)
	return err
}

// TestJunkInTheLog puts bytes of a stranger into the log's next slot: everything before stays, the next
// backup takes the slot after, and then nothing is in doubt.
func TestJunkInTheLog(t *testing.T) {
	t.Parallel()
	x := newCompact(t)
	var c tally
	for _, junk := range [][]byte{{}, []byte("junk"), x.store.Get(format.EntryKey(1)), bytes.Repeat([]byte{0}, 5000)} {
		c.add("junk")
		s, w := x.store.Clone(), x.world.clone()
		s.Set(format.EntryKey(3), junk)
		if err := x.read(t.Context(), s); err == nil || errors.Is(err, errWrong) || errors.Is(err, errMissing) {
			c.lost("reading with a strange newest entry: %v", err)
		}
		if err := backupOf(key("main"), version(2, 0))(t.Context(), s, t.TempDir(), w); err != nil {
			c.lost("backup after a strange entry: %v", err)
		} else if n, err := w.verify(t.Context(), s.Bucket(), 0); err != nil || n != 3 {
			c.lost("after it: %d snapshots: %v", n, err)
		}
	}
	c.report(t)
}
