package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob/memblob"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/localfs"
	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/internal/pack"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// An index that leads to other bytes than a chunk's, which only a writer's key can forge, is found out. It
// takes the package's inside to forge one.
func TestRestoreForgedIndex(t *testing.T) {
	key := bytes.Repeat([]byte{1}, seal.KeySize)
	prf, err := seal.NewPRF(key)
	require.NoError(t, err)
	dir := t.TempDir()
	_, op := observe.New(observe.Options{}).Begin(t.Context(), "restore")
	r := &Repo{dataID: key, index: index.New(index.Config{}), ledger: emptyLog(t)} // an index that knows no other place
	r.loader = newLoader(r)
	x := &restore{r: r, op: op, open: map[*restoreFile]struct{}{}, kept: newLeftovers(1 << 20)}
	x.finished.L = &x.mu
	x.target, err = localfs.OpenTarget(dir, localfs.TargetOptions{Report: x.lose})
	require.NoError(t, err)

	plain := []byte("onetwothree")
	id := func(b []byte) (id format.ID) {
		prf.Sum((*[32]byte)(&id), b)
		return id
	}
	piece := func(name string, pieces ...wantedPiece) []wantedPiece {
		size := int64(0)
		for i := range pieces {
			pieces[i].off = size
			size += int64(pieces[i].len)
		}
		e := &format.Entry{Path: name, Kind: format.File, Mode: 0o600, Size: size}
		f := &restoreFile{entry: e}
		f.out, err = x.target.File(e)
		require.NoError(t, err)
		f.pending.Store(int64(len(pieces)))
		for i := range pieces {
			pieces[i].file = f
		}
		return pieces
	}
	one, two := id(plain[:3]), id(plain[3:6])
	wants := piece("a", wantedPiece{start: 0, len: 3, id: one}, wantedPiece{start: 3, len: 3, id: two})
	wants = append(wants, piece("b", wantedPiece{start: 0, len: 3, id: one}, wantedPiece{start: 3, len: 3, id: one})...)
	wants = append(wants, piece("c", wantedPiece{start: 0, len: 3, id: two})...)
	wants = append(wants, piece("d", wantedPiece{start: 3, len: 3, id: two}, wantedPiece{start: 3, len: 3, id: two})...)
	w := &worker{ctx: t.Context(), x: x, prf: prf, checked: map[checkedChunk]bool{}}
	f := &wantedFrame{pack: &wantedPack{}, at: pack.FrameAt{Plain: uint32(len(plain))}, wants: wants}
	require.NoError(t, w.frame(f, plain))
	require.NoError(t, x.target.Close())
	op.End(t.Context(), nil)

	var bad []string
	for _, p := range x.res.Problems {
		require.ErrorIs(t, p, ErrContentLost)
		bad = append(bad, p.Path)
	}
	require.Equal(t, []string{"b", "c"}, bad)
	for name, want := range map[string]string{"a": "onetwo", "d": "twotwo"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	require.NoFileExists(t, filepath.Join(dir, "b"))
	require.NoFileExists(t, filepath.Join(dir, "c"))
}

// emptyLog is the log of a repository in which nothing has happened.
func emptyLog(t *testing.T) *ledger.Ledger {
	key, err := seal.GenerateSigner()
	require.NoError(t, err)
	admin, err := seal.NewSigner(key)
	require.NoError(t, err)
	c := ledger.Config{Store: store.New(memblob.OpenBucket(nil), store.Options{}), AdminKey: admin.Public()}
	l, err := ledger.Create(t.Context(), c, admin, &format.Enrolment{}, nil)
	require.NoError(t, err)
	return l
}
