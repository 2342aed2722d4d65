package engine

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
)

// incompressible is n files that take a pack of 2 MiB each.
func incompressible(n int) fstest.MapFS {
	random := rand.NewChaCha8([32]byte{1})
	f := fstest.MapFS{}
	for i := range n {
		b := make([]byte, 3<<19)
		_, _ = random.Read(b)
		f[fmt.Sprintf("%02d", i)] = &fstest.MapFile{Data: b, ModTime: time.Unix(1e9, 0)}
	}
	return f
}

// indexedOnce requires that all is sound and that the index has an entry for each chunk of each pack.
func (p *place) indexedOnce() {
	p.Helper()
	rep, err := p.elsewhere(p.s).Check(p.Context(), CheckOptions{ReadAll: true})
	require.NoError(p, err)
	require.Empty(p, rep.Findings)
	entries := int64(0)
	for _, s := range p.elsewhere(p.s).ledger.State().Segments {
		entries += int64(s.Entries)
	}
	require.Equal(p, rep.Chunks, entries)
}

// TestMergesMeanwhile: a run that tells the log of each pack merges what it has told. When it has ended all is in few
// segments, once.
func TestMergesMeanwhile(t *testing.T) {
	p := newPlace(t, Config{HostDir: t.TempDir(), PackSize: 2 << 20, Limits: Limits{PartialEvery: 1}})
	checkpoints, most := 0, 0
	var mu sync.Mutex
	p.s.SetHook(func(o faultstore.Op) faultstore.Fault {
		mu.Lock()
		defer mu.Unlock()
		most = max(most, p.repo.index.Stats().Segments)
		return faultstore.Fault{}
	})
	p.backup(p.repo, source.FromFS(incompressible(40)))
	p.s.SetHook(nil)
	st := p.repo.ledger.State()
	require.LessOrEqual(t, most, 2*mergeEvery, "while it went on")
	require.Len(t, st.Segments, 1)
	for seq := range p.repo.Head().Seq + 1 {
		e, _, _, err := format.DecodeLogEntry(p.s.Get(format.EntryKey(seq)))
		require.NoError(t, err)
		if e.Kind == format.KindCheckpoint {
			checkpoints++
		}
	}
	require.GreaterOrEqual(t, checkpoints, 40/mergeEvery-1)
	p.indexedOnce()
}

// TestMergesAreTakenOver: a run that has merged segments is cut off again and again. What it had stored is in the index
// once, whoever goes on.
func TestMergesAreTakenOver(t *testing.T) {
	p := newPlace(t, Config{HostDir: t.TempDir(), PackSize: 2 << 20, Limits: Limits{PartialEvery: 1}})
	f := incompressible(30)
	for cut := range 3 {
		n := 0
		p.s.SetHook(func(o faultstore.Op) faultstore.Fault {
			if faultstore.On(faultstore.Write, "p/")(o) {
				if n++; n > 12 {
					return faultstore.Fail(gcerrors.PermissionDenied)
				}
			}
			if faultstore.On(faultstore.Write, "m/")(o) {
				return faultstore.Fail(gcerrors.PermissionDenied)
			}
			return faultstore.Fault{}
		})
		_, err := p.repo.Backup(t.Context(), source.FromFS(f), BackupOptions{Host: "h", Sources: []string{"s"}, Workers: 1})
		require.Error(t, err)
		if cut < 2 { // or all has arrived, and the nodes are what is missing
			require.NotZero(t, n, cut)
		}
	}
	p.s.SetHook(nil)
	packs := len(p.under("p/"))
	require.Greater(t, packs, 20)
	p.backup(p.repo, source.FromFS(f))
	require.Len(t, p.under("p/"), packs, "all had arrived")
	p.indexedOnce()
}
