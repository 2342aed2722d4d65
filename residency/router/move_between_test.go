package router_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/faultstore"
)

// TestACopyThatWasLostMeanwhileIsMadeAgain loses a verified copy at the target before the leaving site is swept.
func TestACopyThatWasLostMeanwhileIsMadeAgain(t *testing.T) {
	for _, site := range []string{"a", "c"} {
		w := newMoveWorld(t, 2, "a", "b", "c")
		p := w.process()
		r := p.mustOpen()
		reported := seed(t, r, 6)
		plan := planned(t, r, migration("b", "c"))
		p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
			if site == "b" && o.Kind == faultstore.Delete && strings.HasPrefix(o.Key, "p/") {
				return faultstore.Fail(gcerrors.Internal)
			}
			return faultstore.Fault{}
		})
		_, err := r.Migrate(t.Context(), plan, serial)
		require.Error(t, err)
		require.Len(t, users(w.stores["b"]), 6)
		require.True(t, w.stores[site].Remove("p/004"))
		report, err := w.open().Migrate(t.Context(), plan, serial)
		require.NoError(t, err, site)
		if site == "a" {
			// What the home site does not have and another has was lost there.
			require.Equal(t, "object 4", string(w.stores["a"].Get("p/004")))
		}
		require.Zero(t, report.Dropped)
		require.NoError(t, moved(w, reported, "b"))
	}
}

// TestADeletionThatSpansTheChange is held by another process after it has asked the leaving site, and before it asks the
// home site: it knows nothing of the target.
func TestADeletionThatSpansTheChange(t *testing.T) {
	w := newMoveWorld(t, 2, "a", "b", "c")
	other := w.process()
	ro := other.mustOpen()
	reported := seed(t, ro, 6)
	held, release, ended := make(chan bool), make(chan bool), make(chan error)
	other.setFault(func(site string, o faultstore.Op) faultstore.Fault {
		if site == "a" && o.Kind == faultstore.Delete && o.Key == "p/003" {
			other.mu.Unlock()
			held <- true
			<-release
			other.mu.Lock()
		}
		return faultstore.Fault{}
	})
	go func() { ended <- ro.Bucket().Delete(context.Background(), "p/003") }()
	<-held
	delete(reported, "p/003")
	r := w.open()
	time.AfterFunc(300*time.Millisecond, func() { release <- true })
	report, err := r.Migrate(t.Context(), planned(t, r, migration("b", "c")), serial)
	require.NoError(t, err)
	require.NoError(t, <-ended)
	require.True(t, report.Done)
	require.Equal(t, reported, users(w.stores["c"]))
	require.NoError(t, moved(w, reported, "b"))
}

// onRecord calls f once, when the process is about to put a record at the home site, a; it reports whether that was.
func onRecord(p *process, record string, f func()) func(site string, o faultstore.Op) bool {
	var once sync.Once
	changed := false
	return func(site string, o faultstore.Op) bool {
		if site == "a" && o.Kind == faultstore.Write && strings.HasPrefix(o.Key, ".router/"+record) {
			once.Do(func() {
				p.mu.Unlock()
				f()
				p.mu.Lock()
				changed = true
			})
		}
		return changed
	}
}

// TestAnObjectThatIsReplacedInTheSameInstant has a store whose clock does not tell the two apart.
func TestAnObjectThatIsReplacedInTheSameInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMoveWorld(t, 2, "a", "b", "c")
		p := w.process()
		r, other := p.mustOpen(), w.open()
		reported := seed(t, r, 4)
		at := onRecord(p, "move-00000001-copied", func() {
			require.NoError(t, other.Bucket().WriteAll(context.Background(), "p/002", []byte("OBJECT 2"), nil))
		})
		p.setFault(func(site string, o faultstore.Op) faultstore.Fault { at(site, o); return faultstore.Fault{} })
		_, err := r.Migrate(t.Context(), planned(t, r, migration("b", "c")), serial)
		require.NoError(t, err)
		reported["p/002"] = "OBJECT 2"
		require.Equal(t, reported, users(w.stores["c"]))
		require.NoError(t, r.Close(t.Context()))
	})
}

// TestADeletionDuringTheSecondPass is held after it has asked the target, which does not have the object yet, and goes on
// when it does.
func TestADeletionDuringTheSecondPass(t *testing.T) {
	w := newMoveWorld(t, 2, "a", "b", "c")
	p, q := w.process(), w.process()
	r, other := p.mustOpen(), q.mustOpen()
	reported := seed(t, r, 4)
	held, release, ended := make(chan bool), make(chan bool), make(chan error)
	q.setFault(func(site string, o faultstore.Op) faultstore.Fault {
		if site == "a" && o.Kind == faultstore.Delete && o.Key == "late" {
			q.mu.Unlock()
			held <- true
			<-release
			q.mu.Lock()
		}
		return faultstore.Fault{}
	})
	changed := onRecord(p, "epoch-00000002", func() { require.NoError(t, create(other, "late", "x")) })
	begun, copied := false, false
	p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
		if changed(site, o) && site == "a" && o.Kind == faultstore.List && o.Key == "" && !begun {
			begun = true
			p.mu.Unlock()
			go func() { ended <- other.Bucket().Delete(context.Background(), "late") }()
			<-held
			p.mu.Lock()
		}
		if site == "c" && o.Kind == faultstore.Write && o.Key == "late" && !copied {
			copied = true
			time.AfterFunc(200*time.Millisecond, func() { release <- true })
		}
		return faultstore.Fault{}
	})
	_, err := r.Migrate(t.Context(), planned(t, r, migration("b", "c")), serial)
	require.NoError(t, err)
	require.True(t, copied)
	require.NoError(t, <-ended)
	require.Equal(t, reported, users(w.stores["c"]))
	require.NoError(t, moved(w, reported, "b"))
}
