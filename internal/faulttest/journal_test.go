package faulttest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/faultstore"
)

// written adds up what requests wrote: packs of content, and everything.
func written(log []faultstore.Op) (packs, all int) {
	for _, o := range log {
		if o.Kind != faultstore.Write {
			continue
		}
		all += o.Bytes
		if strings.HasPrefix(o.Key, "p/") {
			packs += o.Bytes
		}
	}
	return packs, all
}

// stored adds up what the store holds in packs of content.
func stored(s *faultstore.Store) (n int) {
	for k, b := range s.Objects() {
		if strings.HasPrefix(k, "p/") {
			n += len(b)
		}
	}
	return n
}

// TestInterruptedRunUploadsTheRestOnly kills a large first backup at every write and runs it again with the
// host's folder: what had arrived is not uploaded again, whether its answer had arrived too or not.
func TestInterruptedRunUploadsTheRestOnly(t *testing.T) {
	t.Parallel()
	base, host, w := faultstore.New(), t.TempDir(), newWorld()
	require.NoError(t, create(t.Context(), base, host, w))
	sc := &scenario{name: "first", store: base, host: pack(t, host), world: w, act: backupOf(key("main"), version(0, 33)), adds: true}
	whole := base.Clone()
	whole.Record()
	require.NoError(t, sc.act(t.Context(), whole, copyDir(t, host), w.clone()))
	full, everything := written(whole.Log())
	writes := 0
	for _, o := range whole.Log() {
		if o.Kind == faultstore.Write {
			writes++
		}
	}
	require.Greater(t, full, 6_000_000)
	// The last pack is padded to 64 KiB at least, and by up to 6 %; so is the one of metadata. Session, index,
	// refs and the log entry are small. A pack ends where the next frame does not fit, and which frames come
	// together is up to the workers: that is worth a frame.
	const padding, small = 2*64<<10 + 512<<10, 16 << 10
	var c tally
	again, saved := 0, 0
	for n := 1; n <= writes; n++ {
		k := &killed{base.Clone(), copyDir(t, host), w.clone()}
		write := func(o faultstore.Op) bool { return o.Kind == faultstore.Write }
		k.store.SetHook(faultstore.Nth(n, write, faultstore.Kill()))
		require.ErrorIs(t, sc.act(t.Context(), k.store, k.host, k.world), faultstore.ErrKilled)
		arrived := stored(k.store)
		k.store.SetHook(nil)
		k.store.Revive()
		k.store.Record()
		require.NoError(t, sc.act(t.Context(), k.store, k.host, k.world))
		packs, all := written(k.store.Log())
		c.add("write")
		// A pack whose answer is lost in the kill is uploaded again: here none is, the kill comes first. But
		// of packs that were on their way beside it, one may have arrived and not be in the journal yet.
		const beside = 2 << 20
		slack := padding + small
		if arrived > 0 {
			slack += beside
		}
		if missing := full - arrived; packs > missing+slack || all > everything-arrived+slack {
			c.lost("write %d: %d bytes had arrived of %d, %d were uploaded then, %d with all", n, arrived, full, packs, all)
		}
		again += packs
		saved += arrived
		if _, err := k.world.verify(t.Context(), k.store.Bucket(), 0); err != nil {
			c.lost("write %d: %v", n, err)
		}
	}
	t.Logf("content=%d arrived before kills=%d uploaded after=%d", full, saved, again)
	require.Positive(t, saved)
	require.Less(t, again, writes*full-saved*8/10, "what had arrived was uploaded again")
	c.report(t)
}
