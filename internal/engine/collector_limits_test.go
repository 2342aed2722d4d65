package engine

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/gcerrors"
	"pgregory.net/rapid"

	"github.com/carekeep/carekeep/internal/compress"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/carekeep/carekeep/internal/store"
)

// place is a repository in memory, of which a test looks inside.
type place struct {
	*testing.T
	s    *faultstore.Store
	c    Config
	repo *Repo
}

func newPlace(t *testing.T, c Config) *place {
	k, err := seal.DefaultKDF(seal.T1)
	require.NoError(t, err)
	k.MemoryKiB, k.Time, k.Threads = 8<<10, 1, 1
	c.KDF, c.Store = &k, store.Options{Attempts: 2, Backoff: time.Nanosecond}
	p := &place{T: t, s: faultstore.New(), c: c}
	p.repo, err = Create(t.Context(), p.s.Bucket(), Key{Password: []byte("x")}, c)
	require.NoError(t, err)
	t.Cleanup(p.repo.Close) // Windows removes no folder of open files
	return p
}

// elsewhere opens the repository, or what became of a copy of it, on another host.
func (p *place) elsewhere(s *faultstore.Store) *Repo {
	p.Helper()
	c := p.c
	c.HostDir = ""
	r, err := Open(p.Context(), s.Bucket(), Key{Password: []byte("x")}, c)
	require.NoError(p, err)
	p.Cleanup(r.Close)
	return r
}

func (p *place) backup(r *Repo, src source.Source) format.SnapID {
	p.Helper()
	res, err := r.Backup(p.Context(), src, BackupOptions{Host: "h", Sources: []string{"s"}, Workers: 1})
	require.NoError(p, err)
	return res.Ref.ID
}

func (p *place) forget(ids ...format.SnapID) {
	p.Helper()
	r := p.elsewhere(p.s)
	require.NoError(p, r.Forget(p.Context(), r.Head(), format.Hash{}, ids, nil))
}

// sound reads every byte on another host.
func (p *place) sound() {
	p.Helper()
	rep, err := p.elsewhere(p.s).Check(p.Context(), CheckOptions{ReadAll: true})
	require.NoError(p, err)
	require.Empty(p, rep.Findings)
}

// under returns the names of objects that begin so.
func (p *place) under(prefix string) (keys []string) {
	for _, k := range p.s.Keys() {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	return keys
}

// filled is the filter of what a repository's snapshots need, as a collector fills it, and the ids themselves.
func (p *place) filled(r *Repo) (*liveChunks, map[format.ID]bool) {
	p.Helper()
	_, _, err := r.Snapshots(p.Context())
	require.NoError(p, err)
	filter, ids := newLiveChunks(0, 1<<20), map[format.ID]bool{}
	require.NoError(p, r.walkLive(p.Context(), r.ledger.State().Snapshots, 1<<20, func(id format.ID) {
		filter.add(id)
		ids[id] = true
	}))
	return filter, ids
}

// TestShredOverlooksNothing: the one dead chunk of a session is one that the filter of the living takes for alive. The
// session's secret is destroyed all the same, also where the exact test has little memory.
func TestShredOverlooksNothing(t *testing.T) {
	p := newPlace(t, Config{HostDir: t.TempDir()})
	kept := fstest.MapFS{}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	random := rand.NewChaCha8([32]byte{1})
	file := func() *fstest.MapFile {
		f := &fstest.MapFile{Data: make([]byte, 300), Mode: 0o600, ModTime: at}
		_, _ = random.Read(f.Data)
		return f
	}
	for i := range 3500 {
		kept[fmt.Sprintf("d%d/%d", i%10, i)] = file()
	}
	other := p.elsewhere(p.s.Clone()) // where the same has the same ids
	p.backup(other, source.FromFS(kept))
	filter, _ := p.filled(other)
	prf, err := seal.NewPRF(p.repo.dataID)
	require.NoError(t, err)
	doomed, id := file(), [32]byte{}
	for prf.Sum(&id, doomed.Data); !filter.has(id); prf.Sum(&id, doomed.Data) {
		_, _ = random.Read(doomed.Data)
	}

	// A run stores its content and is cut off; the next takes it over without the file that is gone meanwhile.
	all := fstest.MapFS{"a": doomed}
	for name, f := range kept {
		all[name] = f
	}
	p.s.SetHook(faultstore.Nth(0, faultstore.On(faultstore.Write, "m/"), faultstore.Fail(gcerrors.PermissionDenied)))
	_, err = p.repo.Backup(t.Context(), source.FromFS(all), BackupOptions{Host: "h", Sources: []string{"s"}, Workers: 1})
	require.Error(t, err)
	p.s.SetHook(nil)
	session := strings.TrimSuffix(strings.TrimPrefix(p.under("sess/")[0], "sess/"), ".0")
	require.Len(t, p.under("p/"+session), 1)
	p.backup(p.repo, source.FromFS(kept))
	require.Len(t, p.under("p/"), 1)
	filter, ids := p.filled(p.elsewhere(p.s))
	require.True(t, filter.has(id), "the filter errs")
	require.False(t, ids[id])
	entries := uint64(0)
	for _, s := range p.repo.ledger.State().Segments {
		entries += s.Entries
	}
	require.Equal(t, len(filter.bits), len(newLiveChunks(entries, 1<<20).bits), "a collector makes the same filter")

	before := p.s
	for _, memory := range []int64{0, 64 << 10} {
		p.s = before.Clone()
		rep, err := p.elsewhere(p.s).Compact(t.Context(), CompactOptions{Grace: 1, Abandoned: 1, Waste: 1, Shred: true, Memory: memory, Workers: 1})
		require.NoError(t, err)
		require.EqualValues(t, 1, rep.Shredded)
		require.Empty(t, p.under("sess/"+session))
		require.Empty(t, p.under("p/"+session))
		require.Len(t, p.under("p/"), 1)
		p.sound()
	}
}

// invented returns the frames of a pack of n chunks that are nowhere.
func invented(n int) (format.PackRef, []format.Frame) {
	ref := format.PackRef{Type: format.TypeData, Size: 8 << 20}
	seal.Random(ref.Session[:])
	seal.Random(ref.Hash[:])
	var frames []format.Frame
	for n > 0 {
		f := format.Frame{Codec: compress.Raw}
		for range min(n, 10_000) {
			ch := format.Chunk{Len: 10}
			seal.Random(ch.ID[:])
			f.Chunks = append(f.Chunks, ch)
			f.Plain, f.Stored = f.Plain+10, f.Stored+10
			n--
		}
		frames = append(frames, f)
	}
	return ref, frames
}

// TestMoverTakesAnyPack: a pack that a collector has written, of as many chunks as there can be, fits the index segment in
// the making, however full that is.
func TestMoverTakesAnyPack(t *testing.T) {
	p := newPlace(t, Config{})
	ctx, op := p.repo.obs.Begin(t.Context(), "compact")
	c, err := p.repo.newCollector(CompactOptions{}, op)
	require.NoError(t, err)
	w, err := c.newMover(ctx, func(format.ID) bool { return true })
	require.NoError(t, err)
	missing, _ := invented(0)
	require.NoError(t, w.move(ctx, []*usage{{ref: missing}})) // begins an index of that writer
	for _, n := range []int{flushEntries - 1, 450_000} {
		ref, frames := invented(n)
		require.NoError(t, w.store(ctx, ref, frames))
	}
	require.Len(t, w.segments, 1)
	require.EqualValues(t, flushEntries-1+450_000, w.segments[0].Entries)
}

// TestManyRunsCutOff: so many runs were cut off, each with as much as a run keeps out of an index segment, that together it
// would not fit one. The next run takes all of it over.
func TestManyRunsCutOff(t *testing.T) {
	p := newPlace(t, Config{HostDir: t.TempDir()})
	lineage := p.repo.host.Lineage([]string{"h", "s"})
	random := rand.New(rand.NewPCG(1, 2))
	ref, frames := invented(flushEntries)
	const runs = maxBuilt/flushEntries + 1
	for range runs {
		run, err := p.repo.host.NewRun(lineage, 0)
		require.NoError(t, err)
		ref.Session = run.Session
		seal.Random(ref.Hash[:])
		for _, f := range frames {
			for i := range f.Chunks {
				binary.BigEndian.PutUint64(f.Chunks[i].ID[:], random.Uint64())
			}
		}
		require.NoError(t, run.Stored(ref, frames))
		require.NoError(t, run.End(false))
	}
	p.backup(p.repo, source.FromFS(fstest.MapFS{"a": {Data: []byte("a"), ModTime: time.Unix(1e9, 0)}}))
	st := p.repo.ledger.State()
	entries := uint64(0)
	for _, s := range st.Segments {
		entries += s.Entries
	}
	require.Greater(t, entries, uint64(runs*flushEntries))
}

// TestCondemnInParts: more is free than one entry names. It is condemned in several, none of them too large, and no session before
// its packs.
func TestCondemnInParts(t *testing.T) {
	p := newPlace(t, Config{})
	const most = 3
	at := time.Unix(1e9, 0)
	files := func(n int) fstest.MapFS {
		return fstest.MapFS{"same": {Data: []byte("same"), ModTime: at}, "a": {Data: fmt.Appendf(nil, "%d", n), ModTime: at.Add(time.Duration(n) * time.Hour)}}
	}
	var ids []format.SnapID
	for n := range 8 {
		ids = append(ids, p.backup(p.elsewhere(p.s), source.FromFS(files(n))))
	}
	p.forget(ids[1:]...)
	r := p.elsewhere(p.s)
	ctx, op := r.obs.Begin(t.Context(), "compact")
	c, err := r.newCollector(CompactOptions{Grace: 1, Waste: 1}, op)
	require.NoError(t, err)
	c.most = most
	require.NoError(t, c.run(ctx))
	st := r.ledger.State()
	require.Empty(t, st.Forgotten)
	var entries []*format.Condemn
	_, err = r.ledger.Condemned(ctx, st.Condemned, 0, func(_ uint64, _ int64, e *format.Condemn) error {
		entries = append(entries, e)
		return nil
	})
	require.NoError(t, err)
	slices.Reverse(entries)
	gone := objectSet{}
	for i, e := range entries {
		n := 0
		for _, o := range e.Objects {
			require.False(t, gone.has(o), "condemned twice")
			gone[o] = struct{}{}
			if o.Type != format.TypeIndex {
				n++
			}
		}
		require.LessOrEqual(t, n, most)
		for _, o := range e.Objects {
			for _, later := range entries[i+1:] {
				if o.Type == format.TypeSession {
					require.False(t, slices.ContainsFunc(later.Objects, func(x format.Object) bool { return x.Session == o.Session }))
				}
			}
		}
	}
	require.Greater(t, len(entries), 7)
	require.EqualValues(t, len(gone), c.rep.Condemned)
	require.Equal(t, c.rep.Condemned, c.rep.Deleted)
	for _, prefix := range []string{"p/", "m/", "sess/"} {
		require.Len(t, p.under(prefix), 1)
	}
	p.sound()
}

// TestPart: parts come to an end, none is larger than asked for, and in none is a session whose packs are left.
func TestPart(t *testing.T) {
	types := []format.Type{format.TypeData, format.TypeMetadata, format.TypeSession, format.TypeIndex, format.TypeRefs}
	rapid.Check(t, func(rt *rapid.T) {
		left := objectSet{}
		for range rapid.IntRange(0, 40).Draw(rt, "objects") {
			o := format.Object{Type: rapid.SampledFrom(types).Draw(rt, "type")}
			if o.Type != format.TypeIndex && o.Type != format.TypeRefs {
				o.Session[0] = rapid.Byte().Draw(rt, "session") % 4
			}
			if o.Type != format.TypeSession {
				o.Hash[0] = rapid.Byte().Draw(rt, "hash")
			}
			left[o] = struct{}{}
		}
		n := rapid.IntRange(1, 50).Draw(rt, "n")
		for len(left) > 0 {
			part := left.part(n)
			require.NotEmpty(rt, part)
			require.LessOrEqual(rt, len(part), n)
			for o := range part {
				require.True(rt, left.has(o))
			}
			if len(left) <= n {
				require.Len(rt, part, len(left))
			}
			for o := range part {
				delete(left, o)
			}
			for o := range left {
				if o.Type == format.TypeData || o.Type == format.TypeMetadata {
					require.False(rt, part.has(format.Object{Type: format.TypeSession, Session: o.Session}))
				}
			}
		}
	})
}
