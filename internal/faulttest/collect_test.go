package faulttest

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
)

// scene is a repository in which something happens beside something else.
type scene struct {
	*testing.T
	*truth
	s *faultstore.Store
}

func newScene(t *testing.T) *scene { return &scene{t, newTruth(), emptyRepo().Clone()} }

// beside opens the store so that f runs in the midst of the first request that match picks, whose fault it returns.
func (x *scene) beside(match func(faultstore.Op) bool, f func() faultstore.Fault) *blob.Bucket {
	var over atomic.Bool
	return x.s.Gated(func(o faultstore.Op) (fault faultstore.Fault, done func()) {
		if match(o) && !over.Swap(true) {
			fault = f()
		}
		return fault, func() {}
	})
}

func (x *scene) open(b *blob.Bucket, k engine.Key, host string) *engine.Repo {
	x.Helper()
	return x.limited(b, k, host, engine.Limits{})
}

func (x *scene) limited(b *blob.Bucket, k engine.Key, host string, l engine.Limits) *engine.Repo {
	x.Helper()
	c := tiny(host)
	c.Limits = l
	c.Store.Requests = 0 // some may be made in the midst of others
	r, err := engine.Open(x.Context(), b, k, c)
	require.NoError(x, err)
	x.Cleanup(r.Close)
	return r
}

// main opens the repository as a process without a host folder.
func (x *scene) main() *engine.Repo { return x.open(x.s.Bucket(), key("main"), "") }

// backup backs up as one of a series.
func (x *scene) backup(r *engine.Repo, series string, f files) (format.SnapID, error) {
	return x.from(r, series, source.FromFS(f.fs()), f)
}

func (x *scene) from(r *engine.Repo, series string, src source.Source, f files) (format.SnapID, error) {
	run := x.begin(f)
	o := options(run)
	o.Sources, o.Workers = []string{series}, 1
	res, err := r.Backup(x.Context(), src, o)
	if err != nil {
		return format.SnapID{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.done[run] = res.Ref.ID
	return res.Ref.ID, nil
}

func (x *scene) must(r *engine.Repo, series string, f files) format.SnapID {
	x.Helper()
	id, err := x.backup(r, series, f)
	require.NoError(x, err)
	return id
}

func (x *scene) forget(ids ...format.SnapID) {
	x.Helper()
	r := x.main()
	require.NoError(x, x.forgetting(x.Context(), r, ids...))
	for _, id := range ids {
		x.gone[id] = true
	}
}

func (x *scene) compact(o engine.CompactOptions) *engine.CompactReport {
	x.Helper()
	rep, err := x.main().Compact(x.Context(), o)
	require.NoError(x, err)
	return rep
}

// sound requires that nothing is lost, now and when all that may be deleted is.
func (x *scene) sound() {
	x.Helper()
	require.NoError(x, x.audit(x.Context(), x.s.Bucket()))
	require.NoError(x, x.settled(x.Context(), x.s))
	require.NoError(x, x.audit(x.Context(), x.s.Bucket()))
}

// some returns files of n chunks or so, alike for a seed.
func some(seed uint64, n int) files {
	f := files{}
	for i := range n {
		f["d/"+strconv.Itoa(i)] = bytesOf(seed<<8+uint64(i), 900)
	}
	return f
}

var shredAtOnce = engine.CompactOptions{Grace: time.Nanosecond, Abandoned: time.Nanosecond, Workers: 1, Shred: true}

// TestCompactEnds: packs that are mostly padding, or mostly footer, are not written again for ever.
func TestCompactEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	short := files{}
	for i := range 3000 {
		short["d/"+strconv.Itoa(i)] = []byte(strconv.Itoa(i * i))
	}
	for _, f := range []files{{}, {"a": {1}}, short} {
		x := newScene(t)
		x.must(x.main(), "s", f)
		for _, o := range []engine.CompactOptions{atOnce, shredAtOnce, {Grace: 1, Abandoned: 1, Waste: 0.001}, {Grace: 1, Abandoned: 1, Round: 1}} {
			rep, err := x.main().Compact(ctx, o)
			require.NoError(t, err)
			require.Less(t, rep.Rewritten, int64(10))
		}
		x.sound()
	}
}

// TestChunkInTwoPacks: two runs at once store the same; moved to one pack, it is there once.
func TestChunkInTwoPacks(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	f := some(1, 20)
	b := x.beside(faultstore.On(faultstore.Write, "i/"), func() faultstore.Fault {
		x.must(x.main(), "other", f)
		return faultstore.Fault{}
	})
	x.must(x.open(b, key("main"), ""), "s", f)
	x.compact(atOnce)
	x.sound()
}

// TestListCondemnedBeforeItsCommit: a run of which only the list is new loses it to a collector, and writes another.
func TestListCondemnedBeforeItsCommit(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	f := some(1, 20)
	x.must(x.main(), "one", f)
	b := x.beside(faultstore.On(faultstore.Write, "log/"), func() faultstore.Fault {
		x.compact(engine.CompactOptions{Grace: time.Hour, Abandoned: time.Nanosecond, Waste: 1})
		return faultstore.Fault{}
	})
	x.must(x.open(b, key("main"), ""), "two", f)
	x.sound()
}

// TestSegmentOfTwoRunsCutOff: the segment of a run that was cut off places also what the run before it had stored. That
// is condemned, and the run after them must not name the segment.
func TestSegmentOfTwoRunsCutOff(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	host := t.TempDir()
	cut := func(at string, f files) {
		b := x.beside(faultstore.On(faultstore.Write, at), func() faultstore.Fault { return faultstore.Fail(gcerrors.PermissionDenied) })
		_, err := x.backup(x.open(b, key("main"), host), "s", f)
		require.Error(t, err)
	}
	first, second := some(1, 20), some(2, 20)
	cut("m/", first)
	old := map[string]bool{}
	for _, k := range x.s.Keys() {
		old[k] = true
	}
	cut("log/", second)
	var newest time.Time // of the second run's first pack
	b := x.s.Bucket()
	for it := b.List(&blob.ListOptions{Prefix: "p/"}); ; {
		o, err := it.Next(t.Context())
		if err != nil {
			break
		}
		if !old[o.Key] && (newest.IsZero() || o.ModTime.Before(newest)) {
			newest = o.ModTime
		}
	}
	require.False(t, newest.IsZero())
	c := tiny("")
	c.Now = func() time.Time { return newest }
	r, err := engine.Open(t.Context(), b, key("main"), c)
	require.NoError(t, err)
	rep, err := r.Compact(t.Context(), engine.CompactOptions{Grace: time.Hour, Abandoned: time.Nanosecond})
	require.NoError(t, err)
	require.Positive(t, rep.Condemned, "what the first run has left")
	require.Positive(t, rep.InFlight, "what the second run has left")
	x.must(x.open(b, key("main"), host), "s", second)
	x.must(x.main(), "other", first)
	x.sound()
}

// TestRunReliesOnNoOtherRun: of two runs of one Repo at once, one is given up. What it had stored is in no segment that
// the log names, and the other has not relied on it.
func TestRunReliesOnNoOtherRun(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	f := some(1, 20)
	var r *engine.Repo
	b := x.beside(faultstore.On(faultstore.Write, "refs/"), func() faultstore.Fault {
		x.must(r, "other", f)
		return faultstore.Fail(gcerrors.PermissionDenied)
	})
	r = x.open(b, key("main"), t.TempDir())
	_, err := x.backup(r, "s", f)
	require.Error(t, err)
	require.NoError(t, x.audit(t.Context(), x.s.Bucket()))
	x.must(r, "third", f)
	x.sound()
}

// TestRunsCutOffSideBySide: of two runs of one series that were cut off, one had stored a pack that no segment locates, and
// the other, which comes after it when they are taken over, a segment. The next run stores nothing of either again.
func TestRunsCutOffSideBySide(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	host := t.TempDir()
	cut := func(at string, l engine.Limits) *engine.Repo {
		b := x.beside(faultstore.On(faultstore.Write, at), func() faultstore.Fault { return faultstore.Fail(gcerrors.PermissionDenied) })
		return x.limited(b, key("main"), host, l)
	}
	first, second := some(1, 20), files{"z/last": []byte("last")}
	p := pausing(second, "z/last")
	done := make(chan error, 1)
	r := cut("refs/", engine.Limits{FlushEntries: 1})
	go func() {
		_, err := x.from(r, "s", source.FromFS(p), second)
		done <- err
	}()
	<-p.at
	_, err := x.backup(cut("m/", engine.Limits{}), "s", first)
	require.Error(t, err)
	close(p.on)
	require.Error(t, <-done)

	packs := func() (out []string) {
		for _, k := range x.s.Keys() {
			if strings.HasPrefix(k, "p/") {
				out = append(out, k)
			}
		}
		return out
	}
	before := packs()
	require.Len(t, before, 2)
	maps.Copy(first, second)
	x.must(x.open(x.s.Bucket(), key("main"), host), "s", first)
	require.Equal(t, before, packs())
	x.sound()
}

// TestMergeOfOthersContent: a long run merges its segments with those of a snapshot that is forgotten meanwhile. What the
// merge made is not relied upon: neither does the run name it, when others have replaced it and what it locates is
// condemned, nor does it have to begin again.
func TestMergeOfOthersContent(t *testing.T) {
	t.Parallel()
	for _, mergedAgain := range []bool{false, true} {
		x := newScene(t)
		a := x.must(x.main(), "one", some(1, 20))
		for i := range uint64(8) {
			x.must(x.main(), "more", some(10+i, 5))
		}
		f := files{"z/last": []byte("last")}
		for i := range uint64(6) { // a pack or two each
			f["q/"+strconv.Itoa(int(i))] = bytesOf(777+i, 900_000)
		}
		p := pausing(f, "z/last")
		opened := 0
		src := opens{p, &opened}
		r := x.limited(x.s.Bucket(), key("main"), "", engine.Limits{PartialEvery: 1})
		before := x.kinds(format.KindCheckpoint)
		done := make(chan error, 1)
		go func() {
			_, err := x.from(r, "two", source.FromFS(src), f)
			done <- err
		}()
		<-p.at
		// Until it has told of all packs but the one that it is filling.
		for was := 0; x.kinds(format.KindCheckpoint) == before || was != len(x.s.Keys()); time.Sleep(50 * time.Millisecond) {
			was = len(x.s.Keys())
		}
		if mergedAgain {
			for i := range uint64(9) {
				x.must(x.main(), "more", some(30+i, 5))
			}
			x.must(x.limited(x.s.Bucket(), key("main"), "", engine.Limits{PartialEvery: 1}), "more", some(50, 5))
		}
		x.forget(a)
		o := engine.CompactOptions{Grace: time.Nanosecond, Abandoned: 24 * time.Hour, Waste: 1, Workers: 1}
		if !mergedAgain {
			o.Grace = time.Hour // so that the run finds what it reads
		}
		require.Positive(t, x.compact(o).Condemned)
		close(p.on)
		require.NoError(t, <-done)
		if !mergedAgain {
			require.Equal(t, 1, opened, "the run began again")
		}
		o.Grace = time.Nanosecond
		x.must(x.main(), "three", some(1, 20))
		x.compact(o)
		x.sound()
	}
}

// opens counts how often the last file is opened.
type opens struct {
	fs.FS
	n *int
}

func (o opens) Open(name string) (fs.File, error) {
	if name == "z/last" {
		*o.n++
	}
	return o.FS.Open(name)
}

// kinds counts the entries of a kind.
func (x *scene) kinds(k format.EntryKind) (n int) {
	for _, key := range x.s.Keys() {
		if strings.HasPrefix(key, "log/") {
			if e, _, _, err := format.DecodeLogEntry(x.s.Get(key)); err == nil && e.Kind == k {
				n++
			}
		}
	}
	return n
}

// TestCheckBesideBackup: a check of a Repo that commits meanwhile, be it in parts, does not find its log at odds.
func TestCheckBesideBackup(t *testing.T) {
	t.Parallel()
	for _, every := range []int{0, 1} {
		x := newScene(t)
		x.must(x.main(), "s", some(1, 5))
		var r *engine.Repo
		checking := false
		b := x.beside(func(o faultstore.Op) bool {
			return checking && faultstore.On(faultstore.Read, "log/")(o)
		}, func() faultstore.Fault {
			x.must(r, "other", some(2, 5))
			return faultstore.Fault{}
		})
		r = x.limited(b, key("main"), "", engine.Limits{PartialEvery: every})
		checking = true
		rep, err := r.Check(t.Context(), engine.CheckOptions{ReadAll: true})
		require.NoError(t, err)
		require.NoError(t, findings(rep))
		require.Len(t, x.done, 2)
		x.sound()
	}
}

// paused is a file system that stops when a file is opened for the first time.
type paused struct {
	fs.FS
	file   string
	once   sync.Once
	at, on chan struct{}
}

func pausing(f files, file string) *paused {
	return &paused{FS: f.fs(), file: file, at: make(chan struct{}), on: make(chan struct{})}
}

func (p *paused) Open(name string) (fs.File, error) {
	if name == p.file {
		p.once.Do(func() {
			close(p.at)
			<-p.on
		})
	}
	return p.FS.Open(name)
}

// TestRunBesideItsRepo: a run has found what it keeps stored; it is condemned and deleted, and another call of the same
// Repo has the index follow. The run begins again, and stores it under new names.
func TestRunBesideItsRepo(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	f := some(1, 20)
	a := x.must(x.main(), "one", f)
	f["z/last"] = []byte("last")
	r := x.main()
	p := pausing(f, "z/last")
	done := make(chan error, 1)
	go func() {
		_, err := x.from(r, "two", source.FromFS(p), f)
		done <- err
	}()
	<-p.at
	x.forget(a)
	x.compact(atOnce)
	_, _, err := r.Snapshots(t.Context())
	require.NoError(t, err)
	close(p.on)
	require.NoError(t, <-done)
	x.sound()
}

// TestIndexDoesNotGoBack: a compact that was overtaken does not have the index of its Repo answer for a run beside it
// from what was condemned before that run began.
func TestIndexDoesNotGoBack(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	f := some(1, 20)
	a := x.must(x.main(), "one", f)
	for i := range 3 { // something to write again
		x.must(x.main(), "more", some(uint64(10+i), 20))
	}
	x.forget(x.must(x.main(), "gone", some(20, 3))) // something to condemn, after which it is marked anew
	f["a/first"] = []byte("first")
	p := pausing(f, "a/first")
	var r *engine.Repo
	lists := 0
	done := make(chan error, 1)
	goOn := sync.OnceFunc(func() {
		close(p.on)
		require.NoError(x, <-done)
	})
	b := x.s.Gated(func(o faultstore.Op) (faultstore.Fault, func()) {
		none := func() {}
		switch {
		case o.Kind == faultstore.List:
			switch lists++; lists {
			case 10: // the last of the mark for what is to be written again
				x.forget(a)
				x.compact(engine.CompactOptions{Grace: time.Hour, Abandoned: time.Hour, Waste: 1})
				go func() {
					_, err := x.from(r, "two", source.FromFS(p), f)
					done <- err
				}()
				<-p.at
			case 11: // it begins again
				goOn()
			}
		case lists == 10 && faultstore.On(faultstore.Write, "p/")(o):
			goOn()
		}
		return faultstore.Fault{}, none
	})
	r = x.open(b, key("main"), "")
	_, err := r.Compact(t.Context(), engine.CompactOptions{Grace: time.Hour, Abandoned: time.Hour, Workers: 1})
	require.NoError(t, err)
	goOn()
	x.sound()
}

// TestIndexFollowsTheNewest: a compact that was overtaken by a snapshot does not have the index of its Repo lose what a
// run beside it relies on.
func TestIndexFollowsTheNewest(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	for i := range 3 { // something to write again
		x.must(x.main(), "more", some(uint64(10+i), 20))
	}
	x.forget(x.must(x.main(), "gone", some(20, 3))) // something to condemn, after which it is marked anew
	f := some(1, 20)
	f["z/last"] = []byte("last")
	p := pausing(f, "z/last")
	var r *engine.Repo
	var lists atomic.Int64
	done := make(chan error, 1)
	goOn := sync.OnceFunc(func() {
		close(p.on)
		require.NoError(x, <-done)
	})
	b := x.s.Gated(func(o faultstore.Op) (faultstore.Fault, func()) {
		switch {
		case o.Kind == faultstore.List:
			if lists.Add(1) == 10 { // the last of the mark for what is to be written again
				x.must(r, "two", some(1, 20))
				go func() {
					_, err := x.from(r, "three", source.FromFS(p), f)
					done <- err
				}()
				<-p.at
				lists.Add(1)
			}
		case faultstore.On(faultstore.Write, "p/")(o) && lists.CompareAndSwap(11, 12):
			goOn()
		}
		return faultstore.Fault{}, func() {}
	})
	r = x.open(b, key("main"), "")
	_, err := r.Compact(t.Context(), engine.CompactOptions{Grace: time.Hour, Abandoned: time.Hour, Workers: 1})
	require.NoError(t, err)
	goOn()
	x.sound()
}

// TestTwoCollectors: one finds that another has moved and deleted all that it was about to read.
func TestTwoCollectors(t *testing.T) {
	t.Parallel()
	all := []string{"i/", "m/", "refs/"}
	if long() {
		all = append(all, "p/", "sess/", "log/")
	}
	for _, at := range all {
		for _, kind := range []faultstore.Kind{faultstore.Read, faultstore.List, faultstore.Write, faultstore.Delete} {
			x := newScene(t)
			var ids []format.SnapID
			for i := range 4 {
				ids = append(ids, x.must(x.main(), "s", day(i)))
			}
			x.forget(ids[1])
			ready := false
			b := x.beside(func(o faultstore.Op) bool { return ready && faultstore.On(kind, at)(o) }, func() faultstore.Fault {
				x.compact(shredAtOnce)
				return faultstore.Fault{}
			})
			r := x.open(b, key("main"), "")
			ready = true
			_, err := r.Compact(t.Context(), shredAtOnce)
			require.NoError(t, err, "%s of %s", kind, at)
			x.sound()
		}
	}
}

// TestResumeLargeFile: a run that carries a large file over is cut off, and the next has the writer's credential only;
// or what the file consists of has been forgotten and deleted meanwhile.
func TestResumeLargeFile(t *testing.T) {
	t.Parallel()
	for _, k := range []engine.Key{{}, key("main")} {
		for _, forgotten := range []bool{false, true} {
			x := newScene(t)
			host := t.TempDir()
			f := files{"large": bytesOf(1, 200_000), "z": {1}}
			a := x.must(x.open(x.s.Bucket(), key("main"), host), "s", f)
			f = files{"large": f["large"], "z": {1, 2}}
			b := x.beside(faultstore.On(faultstore.Write, "log/"), func() faultstore.Fault { return faultstore.Fail(gcerrors.PermissionDenied) })
			_, err := x.backup(x.open(b, k, host), "s", f)
			require.Error(t, err)
			if forgotten {
				x.forget(a)
				x.compact(atOnce)
			}
			x.must(x.open(x.s.Bucket(), k, host), "s", f)
			x.sound()
		}
	}
}

// TestRestoreBesideCompact: all is moved and deleted again and again while a snapshot is read; its content is found. Once it
// is forgotten the end is an error.
func TestRestoreBesideCompact(t *testing.T) {
	t.Parallel()
	for _, forgotten := range []bool{false, true} {
		x := newScene(t)
		var ids []format.SnapID
		for i := range 3 {
			ids = append(ids, x.must(x.main(), "s", day(i)))
		}
		other := x.must(x.main(), "other", some(9, 30))
		reads, moves := 0, 0
		var next []format.SnapID // to be forgotten, so that there is something to move for
		next = append(next, ids[0], ids[2], other)
		reading, inside := false, false
		b := x.s.Gated(func(o faultstore.Op) (faultstore.Fault, func()) {
			if reading && !inside && o.Kind == faultstore.Read && (strings.HasPrefix(o.Key, "p/") || strings.HasPrefix(o.Key, "m/") || strings.HasPrefix(o.Key, "sess/")) {
				if reads++; reads%2 == 1 && len(next) > 0 {
					inside = true
					x.forget(next[0])
					next = next[1:]
					if forgotten && len(next) == 1 {
						x.forget(ids[1])
					}
					require.Positive(x, x.compact(shredAtOnce).Deleted)
					moves++
					inside = false
				}
			}
			return faultstore.Fault{}, func() {}
		})
		r := x.open(b, key("main"), "")
		refs, _, err := r.Snapshots(t.Context())
		require.NoError(t, err)
		require.Equal(t, ids[1], refs[1].ID)
		s, err := r.Snapshot(t.Context(), refs[1])
		require.NoError(t, err)
		reading = true
		dir := t.TempDir()
		err = restored(t.Context(), r, s, dir, day(1))
		require.NotErrorIs(t, err, errWrong)
		if forgotten {
			require.ErrorIs(t, err, engine.ErrDamaged)
			require.ErrorIs(t, same(t.Context(), s, day(1)), engine.ErrDamaged)
		} else {
			require.NoError(t, err)
			require.NoError(t, same(t.Context(), s, day(1)))
		}
		require.GreaterOrEqual(t, moves, 2)
		x.sound()
	}
}

// TestGoneOrMoved: an object is not there, and the log cannot be read that may say that it was moved: nobody can tell
// whether that is damage, in a restore or in a run. Once the log can be read, it is.
func TestGoneOrMoved(t *testing.T) {
	t.Parallel()
	x := newScene(t)
	id := x.must(x.main(), "s", some(1, 20))
	var reading atomic.Bool
	b := x.s.Gated(func(o faultstore.Op) (f faultstore.Fault, done func()) {
		if reading.Load() && o.Kind == faultstore.Stat {
			f = faultstore.Fail(gcerrors.PermissionDenied)
		}
		return f, func() {}
	})
	for _, class := range []string{"p/", "m/"} {
		r := x.open(b, key("main"), "")
		refs, _, err := r.Snapshots(t.Context())
		require.NoError(t, err)
		require.Equal(t, id, refs[0].ID)
		s, err := r.Snapshot(t.Context(), refs[0])
		require.NoError(t, err)
		for _, k := range x.s.Keys() {
			if strings.HasPrefix(k, class) {
				x.s.Remove(k)
			}
		}
		reading.Store(true)
		err = same(t.Context(), s, some(1, 20))
		require.Error(t, err)
		require.NotErrorIs(t, err, engine.ErrDamaged)
		reading.Store(false)
		require.ErrorIs(t, same(t.Context(), s, some(1, 20)), engine.ErrDamaged)
	}
}

// TestStalledWriter: a run stands still for 90 days after it has found its content stored, while that is forgotten and
// deleted, its own uploads are taken for left over, and others go on. It then commits, having stored anew what it
// lacks (P4).
func TestStalledWriter(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"", t.TempDir()} {
		x := newScene(t)
		shared := some(1, 30)
		a := x.must(x.main(), "one", shared)
		f := some(1, 30)
		f["a/own"] = bytesOf(77, 5000)
		b := x.beside(faultstore.On(faultstore.Write, "log/"), func() faultstore.Fault {
			x.forget(a)
			c := tiny("")
			c.Now = func() time.Time { return time.Now().Add(90 * 24 * time.Hour) }
			late, err := engine.Open(x.Context(), x.s.Bucket(), key("main"), c)
			require.NoError(x, err)
			for range 2 { // the second deletes, with the default grace, what the first has condemned
				_, err = late.Compact(x.Context(), engine.CompactOptions{})
				require.NoError(x, err)
				c.Now = func() time.Time { return time.Now().Add(92 * 24 * time.Hour) }
				late, err = engine.Open(x.Context(), x.s.Bucket(), key("main"), c)
				require.NoError(x, err)
			}
			for _, k := range x.s.Keys() {
				require.NotContains(x, []string{"p", "m", "sess", "i"}, class(k), "everything is deleted")
			}
			x.must(x.main(), "one", some(5, 3))
			return faultstore.Fault{}
		})
		x.must(x.open(b, key("main"), host), "two", f)
		x.sound()
	}
}

// TestStreamCondemned: what a stream's run relied on is deleted before it commits. It cannot be read again: the error
// says so, and nothing is committed.
func TestStreamCondemned(t *testing.T) {
	t.Parallel()
	s := faultstore.New()
	repo, err := backup.Create(t.Context(), s.Bucket(), backup.Password("a long enough secret"),
		&backup.CreateOptions{Options: backup.Options{HostDir: t.TempDir()}})
	require.NoError(t, err)
	defer repo.Close()
	data := bytesOf(1, 400_000)
	first, err := repo.Backup(t.Context(), backup.Stream("dump", bytes.NewReader(data)), &backup.BackupOptions{Host: "h", Name: "one"})
	require.NoError(t, err)
	id := first.ID()
	e, err := engine.Open(t.Context(), s.Bucket(), engine.Key{Password: []byte("a long enough secret")}, config(""))
	require.NoError(t, err)
	forget := func() {
		refs, _, err := e.Snapshots(t.Context())
		require.NoError(t, err)
		require.Equal(t, id, refs[0].ID.String())
		require.NoError(t, e.Forget(t.Context(), e.Head(), format.Hash{}, []format.SnapID{refs[0].ID}, nil))
		_, err = e.Compact(t.Context(), atOnce)
		require.NoError(t, err)
	}
	_, err = repo.Backup(t.Context(), backup.Stream("dump", &afterwards{bytes.NewReader(data), forget}), &backup.BackupOptions{Host: "h", Name: "two"})
	require.ErrorIs(t, err, backup.ErrCondemned)
	refs, sure, err := e.Snapshots(t.Context())
	require.NoError(t, err)
	require.True(t, sure)
	require.Empty(t, refs)
	_, err = repo.Backup(t.Context(), backup.Stream("dump", bytes.NewReader(data)), &backup.BackupOptions{Host: "h", Name: "two"})
	require.NoError(t, err)
	rep, err := e.Check(t.Context(), engine.CheckOptions{ReadAll: true})
	require.NoError(t, err)
	require.NoError(t, findings(rep))
}

// afterwards reads to the end and then calls a function.
type afterwards struct {
	io.Reader
	then func()
}

func (a *afterwards) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if err != nil && a.then != nil {
		a.then()
		a.then = nil
	}
	return n, err
}
