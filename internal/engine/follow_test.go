package engine

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/source"
)

// exchange has the log name other index segments in place of some.
func (p *place) exchange(r *Repo, old, with []format.Segment) {
	p.Helper()
	signer, err := seal.NewSigner(r.keys.Admin)
	require.NoError(p, err)
	e := format.Condemn{Added: with}
	for _, s := range old {
		e.Removed = append(e.Removed, s.Hash)
	}
	slices.SortFunc(e.Removed, func(a, b format.Hash) int { return bytes.Compare(a[:], b[:]) })
	_, err = r.ledger.Append(p.Context(), ledger.Proposal{
		Kind: format.KindCondemn, Signer: signer,
		Build: func(st *format.State) ([]byte, []byte, error) {
			e.Previous, e.Swept = st.Condemned, st.Swept
			return e.Append(nil), nil, nil
		},
	})
	require.NoError(p, err)
}

// copied stores index segments again, under other names.
func (p *place) copied(r *Repo, old []format.Segment) (out []format.Segment) {
	p.Helper()
	for _, s := range old {
		err := r.index.Rewrite(p.Context(), []format.Segment{s}, 0, func(*format.PackRef) bool { return false }, func(s format.Segment, object []byte) error {
			out = append(out, s)
			return r.store.Put(p.Context(), format.IndexKey(s.Hash), object)
		})
		require.NoError(p, err)
	}
	return out
}

// counting is files, and how often the one of a name was opened.
type counting struct {
	fstest.MapFS
	name string
	n    *atomic.Int64
}

func (c counting) Open(name string) (fs.File, error) {
	if name == c.name {
		c.n.Add(1)
	}
	return c.MapFS.Open(name)
}

// TestIndexMovesBesideSearch: a run looks up in which pack a chunk lies, and whenever it has an index segment read the log
// has another in its place, which the index follows for another call of the same Repo; or the segment is even deleted. The
// run searches on, instead of taking the chunk for unknown and beginning again.
func TestIndexMovesBesideSearch(t *testing.T) {
	for name, deleted := range map[string]bool{"replaced": false, "deleted": true} {
		t.Run(name, func(t *testing.T) { moveBesideSearch(t, deleted) })
	}
}

func moveBesideSearch(t *testing.T, deleted bool) {
	p := newPlace(t, Config{})
	at := time.Unix(1e9, 0)
	files := fstest.MapFS{}
	for i := range 10 {
		files[fmt.Sprint("d/", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "content %d", i), ModTime: at}
	}
	p.backup(p.repo, source.FromFS(files))
	files["z"] = &fstest.MapFile{Data: []byte("new"), ModTime: at}

	var r *Repo
	var mu sync.Mutex
	seen := map[string]bool{}
	searching, moves := false, 0
	b := p.s.Gated(func(o faultstore.Op) (faultstore.Fault, func()) {
		mu.Lock()
		move := false
		switch {
		case !searching && faultstore.On(faultstore.Write, "i/")(o): // the last before the run searches
			searching, move = true, true
		case searching && faultstore.On(faultstore.Read, "i/")(o) && !seen[o.Key] && moves < 6:
			seen[o.Key], move = true, true
		}
		if move {
			moves++
		}
		mu.Unlock()
		if move {
			old := p.repo.ledger.State().Segments
			p.exchange(p.repo, old, p.copied(p.repo, old))
			for _, s := range old {
				if deleted {
					p.s.Remove(format.IndexKey(s.Hash))
				}
			}
			_, _, err := r.Snapshots(context.WithoutCancel(t.Context()))
			require.NoError(t, err)
		}
		return faultstore.Fault{}, func() {}
	})
	r, err := Open(t.Context(), b, Key{Password: []byte("x")}, Config{Store: p.c.Store})
	require.NoError(t, err)
	defer r.Close()
	var opened atomic.Int64
	_, err = r.Backup(t.Context(), source.FromFS(counting{files, "z", &opened}), BackupOptions{Host: "other", Workers: 1})
	require.NoError(t, err)
	require.Equal(t, 6, moves)
	require.EqualValues(t, 1, opened.Load(), "it began again")
	p.sound()
}

// TestSearchWhileIndexFollows: a chunk that was stored all the time is found at any moment of a change of the index, which
// takes a while where there are many segments.
func TestSearchWhileIndexFollows(t *testing.T) {
	p := newPlace(t, Config{})
	p.backup(p.repo, source.FromFS(fstest.MapFS{"a": {Data: []byte("content"), ModTime: time.Unix(1e9, 0)}}))
	r := p.repo
	admin, err := seal.NewSigner(r.keys.Admin)
	require.NoError(t, err)
	own := r.ledger.State().Segments
	var many []format.Segment // of another writer: a run does not look there first
	for range 2000 {
		s := format.Segment{Size: 100, Entries: 1, Writer: ledger.SignerID(admin.Public())}
		seal.Random(s.Hash[:])
		many = append(many, s)
	}
	p.exchange(r, nil, many)
	r.follow()
	turns := [2][]format.Segment{own, p.copied(r, own)}
	var id format.ID
	for item, err := range r.index.All(t.Context(), turns[0][0]) {
		require.NoError(t, err)
		id = item.ID
	}
	dead, err := newCondemned(t.Context(), r.ledger, r.ledger.State().Condemned)
	require.NoError(t, err)
	_, op := r.obs.Begin(t.Context(), "backup")
	s, err := r.newSink(t.Context(), op, nil, dead, 0)
	require.NoError(t, err)
	defer s.abort()
	b := &backup{r: r, sink: s}

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var searches atomic.Int64
	var failed atomic.Pointer[error]
	for range 2 {
		wg.Go(func() {
			k := &keeping{number: map[format.Hash]uint32{}}
			for ctx.Err() == nil {
				if _, err := b.pack(t.Context(), k, id); err != nil {
					failed.Store(&err)
					return
				}
				searches.Add(1)
			}
		})
	}
	for i := range 60 {
		p.exchange(r, turns[i%2], turns[(i+1)%2])
		before := searches.Load()
		r.follow()
		for searches.Load() == before && failed.Load() == nil {
			time.Sleep(10 * time.Microsecond)
		}
	}
	stop()
	wg.Wait()
	if err := failed.Load(); err != nil {
		require.NoError(t, *err, "a chunk that is stored was not found")
	}
	require.Greater(t, searches.Load(), int64(60))
}
