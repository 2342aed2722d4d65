package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
)

// atOnce gives space back without waiting for anybody.
var atOnce = engine.CompactOptions{Grace: time.Nanosecond, Abandoned: time.Nanosecond}

// living is a repository of which the files change.
type living struct {
	*testing.T
	bucket *blob.Bucket
	config engine.Config
	repo   *engine.Repo
	files  fstest.MapFS
	rnd    *rand.Rand
	then   map[format.SnapID]map[string][]byte // what each snapshot holds
	days   int
}

func live(t *testing.T, n int) *living {
	l := &living{
		T: t, bucket: memblob.OpenBucket(nil), files: fstest.MapFS{}, rnd: rand.New(rand.NewPCG(3, 4)),
		then: map[format.SnapID]map[string][]byte{}, config: smallChunks,
	}
	l.config.KDF, l.config.HostDir = quickKDF(t), t.TempDir()
	for i := range n {
		l.write(fmt.Sprintf("d%d/f%d", i%7, i), l.rnd.IntN(20_000))
	}
	var err error
	l.repo, err = engine.Create(t.Context(), l.bucket, checkKey, l.config)
	require.NoError(t, err)
	t.Cleanup(l.repo.Close) // Windows removes no folder of open files
	return l
}

func (l *living) write(path string, size int) {
	b := make([]byte, size)
	for j := range b {
		b[j] = byte(l.rnd.IntN(64))
	}
	l.files[path] = &fstest.MapFile{Data: b, Mode: 0o644, ModTime: old.Add(time.Duration(l.days) * time.Hour)}
}

// day changes a few files and backs up.
func (l *living) day(changes int) format.SnapID {
	l.Helper()
	l.days++
	for range changes {
		l.write(fmt.Sprintf("d%d/f%d", l.rnd.IntN(7), l.rnd.IntN(200)), l.rnd.IntN(20_000))
	}
	res, err := l.repo.Backup(l.Context(), source.FromFS(l.files), engine.BackupOptions{Host: "h", Sources: []string{"s"}})
	require.NoError(l, err)
	now := map[string][]byte{}
	for p, f := range l.files {
		now[p] = f.Data
	}
	l.then[res.Ref.ID] = now
	return res.Ref.ID
}

func (l *living) forget(ids ...format.SnapID) {
	l.Helper()
	_, _, err := l.repo.Snapshots(l.Context())
	require.NoError(l, err)
	require.NoError(l, l.repo.Forget(l.Context(), l.repo.Head(), format.Hash{}, ids, nil))
	for _, id := range ids {
		delete(l.then, id)
	}
}

func (l *living) compact(o engine.CompactOptions) *engine.CompactReport {
	l.Helper()
	rep, err := l.repo.Compact(l.Context(), o)
	require.NoError(l, err)
	return rep
}

// sound opens the repository on another host, checks every byte and reads every snapshot.
func (l *living) sound() {
	l.Helper()
	r, err := engine.Open(l.Context(), l.bucket, checkKey, engine.Config{})
	require.NoError(l, err)
	rep, err := r.Check(l.Context(), engine.CheckOptions{ReadAll: true})
	require.NoError(l, err)
	require.Empty(l, findings(rep))
	refs, sure, err := r.Snapshots(l.Context())
	require.NoError(l, err)
	require.True(l, sure)
	require.Len(l, refs, len(l.then))
	for _, ref := range refs {
		s, err := r.Snapshot(l.Context(), ref)
		require.NoError(l, err)
		got := contents(l.T, s)
		want := l.then[ref.ID]
		require.Len(l, got, len(want))
		for p, b := range want {
			require.True(l, bytes.Equal(b, got[p]), p)
		}
	}
	scrub, err := engine.Scrub(l.Context(), l.bucket, engine.Config{}, 0)
	require.NoError(l, err)
	require.Empty(l, findings(scrub))
}

func findings(rep *engine.CheckReport) (out []string) {
	for _, f := range rep.Findings {
		out = append(out, fmt.Sprint(f.Kind, " ", f.Object, " ", f.Err))
	}
	return out
}

// stored is the bytes of all objects but the log, which is never deleted.
func stored(t *testing.T, b *blob.Bucket) (sum int64) {
	for k, n := range keys(t, b) {
		if !strings.HasPrefix(k, "log/") && !strings.HasPrefix(k, "probe/") {
			sum += n
		}
	}
	return sum
}

// fresh is what a repository takes that holds just the files of now.
func (l *living) fresh() int64 {
	l.Helper()
	b := memblob.OpenBucket(nil)
	c := l.config
	c.HostDir = ""
	r, err := engine.Create(l.Context(), b, checkKey, c)
	require.NoError(l, err)
	_, err = r.Backup(l.Context(), source.FromFS(l.files), engine.BackupOptions{Host: "h"})
	require.NoError(l, err)
	return stored(l.T, b)
}

func TestCompactGivesSpaceBack(t *testing.T) {
	l := live(t, 200)
	var ids []format.SnapID
	for range 20 {
		ids = append(ids, l.day(10))
	}
	full := stored(t, l.bucket)
	l.forget(ids[:len(ids)-1]...)
	rep := l.compact(atOnce)
	l.sound()
	after, fresh := stored(t, l.bucket), l.fresh()
	t.Logf("20 snapshots %d bytes, compacted %d, fresh %d: %.3f; %+v", full, after, fresh, float64(after)/float64(fresh), *rep)
	require.Less(t, float64(after), 1.10*float64(fresh))

	// Nothing more to do: nothing is written.
	before := keys(t, l.bucket)
	rep = l.compact(atOnce)
	require.Equal(t, before, keys(t, l.bucket), "%+v", rep)

	// Life goes on: unchanged files are found, and what was forgotten is stored again under new names.
	l.day(0)
	l.day(30)
	l.sound()
}

func TestCompactWaits(t *testing.T) {
	l := live(t, 50)
	a := l.day(0)
	l.day(20)
	l.forget(a)
	before := keys(t, l.bucket)
	rep := l.compact(engine.CompactOptions{})
	require.Zero(t, rep.Deleted)
	require.NotZero(t, rep.Waiting)
	require.Zero(t, rep.InFlight, "what was condemned just now waits for its grace and for no run")
	for k := range before {
		require.Contains(t, keys(t, l.bucket), k, "nothing is deleted before the grace has ended")
	}
	l.sound()
	rep = l.compact(engine.CompactOptions{})
	require.Zero(t, rep.Condemned)
	require.NotZero(t, rep.Waiting)
	require.Zero(t, rep.InFlight)
	rep = l.compact(atOnce)
	require.NotZero(t, rep.Deleted)
	l.sound()
}

func TestForgetRefusesWhatIsStale(t *testing.T) {
	l := live(t, 10)
	a := l.day(0)
	head := l.repo.Head()
	b := l.day(3)
	require.ErrorIs(t, l.repo.Forget(t.Context(), head, format.Hash{}, []format.SnapID{a}, nil), engine.ErrStale)
	require.Error(t, l.repo.Forget(t.Context(), l.repo.Head(), format.Hash{}, []format.SnapID{{1}}, nil), "an unknown snapshot")
	require.Error(t, l.repo.Forget(t.Context(), l.repo.Head(), format.Hash{}, []format.SnapID{a, a}, nil))
	refs, _, err := l.repo.Snapshots(t.Context())
	require.NoError(t, err)
	require.Len(t, refs, 2)
	l.forget(b)
	l.sound()
}

// A run that is under way while its chunks are condemned commits nothing that is deleted.
func TestBackupBesideCompact(t *testing.T) {
	l := live(t, 100)
	a := l.day(0)
	l.day(50)
	gate := &gated{FS: l.files, at: make(chan struct{}), go_: make(chan struct{})}
	other := l.config
	other.HostDir = t.TempDir()
	r2, err := engine.Open(t.Context(), l.bucket, checkKey, other)
	require.NoError(t, err)
	t.Cleanup(r2.Close)
	// The other host backs up what the first snapshot holds, finds all of it stored, and stops before its end.
	done := make(chan error, 1)
	old := fstest.MapFS{}
	for p, b := range l.then[a] {
		old[p] = &fstest.MapFile{Data: b, Mode: 0o644}
	}
	old["z/last"] = &fstest.MapFile{Data: []byte("x")}
	gate.FS = old
	var res *engine.Result
	go func() {
		var err error
		res, err = r2.Backup(context.WithoutCancel(t.Context()), source.FromFS(gate), engine.BackupOptions{Host: "other"})
		done <- err
	}()
	<-gate.at
	l.forget(a)
	l.compact(atOnce)
	close(gate.go_)
	require.NoError(t, <-done)
	now := map[string][]byte{}
	for p, f := range old {
		now[p] = f.Data
	}
	l.then[res.Ref.ID] = now
	l.sound()
}

// gated stops the first time that a certain file is opened.
type gated struct {
	fs.FS
	at, go_ chan struct{}
	once    bool
}

func (g *gated) Open(name string) (fs.File, error) {
	if name == "z/last" && !g.once {
		g.once = true
		close(g.at)
		<-g.go_
	}
	return g.FS.Open(name)
}

func TestShred(t *testing.T) {
	l := live(t, 100)
	a := l.day(0)
	l.day(5)
	l.day(5)
	l.forget(a)
	rep := l.compact(engine.CompactOptions{Grace: time.Nanosecond, Abandoned: time.Nanosecond, Shred: true})
	require.NotZero(t, rep.Shredded)
	l.sound()
	// No secret is left that opens anything of the forgotten snapshot alone: every session that is there is
	// younger than the packs that were condemned.
	again := l.compact(engine.CompactOptions{Grace: time.Nanosecond, Abandoned: time.Nanosecond, Shred: true})
	require.Zero(t, again.Rewritten)
}

func TestDelayedByLock(t *testing.T) {
	l := live(t, 30)
	a := l.day(0)
	l.day(30)
	l.forget(a)
	until := time.Now().Add(30 * 24 * time.Hour)
	locked := atOnce
	locked.Shred = true
	locked.LockedUntil = func(_ context.Context, key string) (time.Time, error) {
		if strings.HasPrefix(key, "sess/") {
			return until, nil
		}
		return time.Time{}, nil
	}
	rep := l.compact(locked)
	l.sound()
	for _, d := range rep.Delayed {
		require.Equal(t, until, d.Until)
		require.Contains(t, keys(t, l.bucket), d.Object)
	}
	require.NotEmpty(t, rep.Delayed)
	locked.LockedUntil = nil
	rep = l.compact(locked)
	require.Empty(t, rep.Delayed)
	require.NotZero(t, rep.Shredded)
	l.sound()
}

// cutting ends a run when it opens its last file.
type cutting struct {
	fs.FS
	cut context.CancelCauseFunc
}

func (c *cutting) Open(name string) (fs.File, error) {
	if name == "z/last" {
		time.Sleep(300 * time.Millisecond) // packs are on their way
		c.cut(errors.New("cut off"))
	}
	return c.FS.Open(name)
}

// A run that was cut off has stored packs which the next one takes over but does not need. Once they are condemned,
// no index segment may lead a later run to them.
func TestCondemnedPackThatNobodyNeeds(t *testing.T) {
	l := live(t, 20)
	l.day(0)
	c := l.config
	c.HostDir = t.TempDir()
	other, err := engine.Open(t.Context(), l.bucket, checkKey, c)
	require.NoError(t, err)
	t.Cleanup(other.Close)
	o := engine.BackupOptions{Host: "other", Workers: 1}
	last := &fstest.MapFile{Data: []byte("x"), ModTime: old}
	large, small := fstest.MapFS{"z/last": last}, fstest.MapFS{"a/0": {Data: []byte("small"), ModTime: old}, "z/last": last}
	for i := range 60 {
		b := make([]byte, 50_000)
		for j := range b {
			b[j] = byte(l.rnd.Uint32())
		}
		large[fmt.Sprintf("a/%d", i)] = &fstest.MapFile{Data: b, ModTime: old}
	}
	before := len(keys(t, l.bucket))
	ctx, cut := context.WithCancelCause(t.Context())
	_, err = other.Backup(ctx, source.FromFS(&cutting{large, cut}), o)
	require.Error(t, err)
	require.Greater(t, len(keys(t, l.bucket)), before)

	gate := &gated{FS: small, at: make(chan struct{}), go_: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		_, err := other.Backup(context.WithoutCancel(t.Context()), source.FromFS(gate), o)
		done <- err
	}()
	<-gate.at
	require.NotZero(t, l.compact(atOnce).Deleted)
	close(gate.go_)
	require.NoError(t, <-done)
	_, err = other.Backup(t.Context(), source.FromFS(large), o) // the files are back
	require.NoError(t, err)
	r, err := engine.Open(t.Context(), l.bucket, checkKey, engine.Config{})
	require.NoError(t, err)
	rep, err := r.Check(t.Context(), engine.CheckOptions{ReadAll: true})
	require.NoError(t, err)
	require.Empty(t, findings(rep))
}

// What was opened before it was forgotten and deleted fails with its own error.
func TestForgottenWhileRead(t *testing.T) {
	l := live(t, 60)
	a := l.day(0)
	l.day(60)
	r, err := engine.Open(t.Context(), l.bucket, checkKey, engine.Config{})
	require.NoError(t, err)
	refs, _, err := r.Snapshots(t.Context())
	require.NoError(t, err)
	s, err := r.Snapshot(t.Context(), refs[0])
	require.NoError(t, err)
	kept, err := r.Snapshot(t.Context(), refs[1])
	require.NoError(t, err)
	want := l.then[refs[1].ID]
	l.forget(a)
	l.compact(engine.CompactOptions{Grace: time.Nanosecond, Abandoned: time.Nanosecond, Shred: true})
	_, err = r.Restore(t.Context(), s, t.TempDir(), engine.RestoreOptions{})
	require.ErrorIs(t, err, engine.ErrForgotten)
	for _, err = range s.Tree().Walk(t.Context(), ".") {
		if err != nil {
			break
		}
	}
	require.ErrorIs(t, err, engine.ErrForgotten)
	// The one that is kept was moved to other packs meanwhile, and is found there.
	got := contents(t, kept)
	require.Len(t, got, len(want))
	for p, b := range want {
		require.True(t, bytes.Equal(b, got[p]))
	}
}
