package router_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/router"
)

// stopped is a world in which a migration from b to c ends just after the set of sites has changed.
func stopped(t *testing.T, late bool) (*world, map[string]string) {
	w := newMoveWorld(t, 2, "a", "b", "c")
	w.opts.Evidence = func(_ context.Context, _ evidence.Kind, _ string, d any) error {
		if m, ok := d.(evidence.Move); ok && m.Stage == evidence.Switched {
			return errors.New("stop")
		}
		return nil
	}
	r, q := w.open(), w.open()
	reported := seed(t, r, 5)
	o := *serial
	o.Progress = func(p router.MigrationProgress) {
		if late && p.Stage == evidence.Copied && reported["late"] == "" {
			require.NoError(t, create(q, "late", "x"))
			reported["late"] = "x"
		}
	}
	_, err := r.Migrate(t.Context(), planned(t, r, migration("b", "c")), &o)
	require.Error(t, err)
	w.opts.Evidence = nil
	return w, reported
}

// TestAStaleRouterClearsNothing: a site that was left and taken back is no longer left, whoever thinks so.
func TestAStaleRouterClearsNothing(t *testing.T) {
	w := newMoveWorld(t, 2, "a", "b", "c")
	r := w.open()
	reported := seed(t, r, 5)
	_, err := r.Migrate(t.Context(), planned(t, r, migration("b", "c")), serial)
	require.NoError(t, err)
	stale, other := w.open(), w.open()
	_, err = other.Migrate(t.Context(), planned(t, other, migration("c", "b")), serial)
	require.NoError(t, err)
	_, _ = stale.ResumeMigrations(t.Context(), nil)
	require.NoError(t, w.check(2, reported))
	_, err = w.open().ResumeMigrations(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, w.check(2, reported))
}

// TestWhatWasLeftIsClearedOfItsOwn: what a killed writer left is deleted at a site that was left, and nothing else is:
// not evidence, and nothing in a bucket that is somebody else's now.
func TestWhatWasLeftIsClearedOfItsOwn(t *testing.T) {
	w := newMoveWorld(t, 2, "a", "b", "c")
	r := w.open()
	seed(t, r, 3)
	w.stores["b"].Set(".router/evidence/w/1", []byte("{}"))
	_, err := r.Migrate(t.Context(), planned(t, r, migration("b", "c")), serial)
	require.NoError(t, err)
	w.stores["b"].Set("p/late", []byte("x"))
	_, err = r.ResumeMigrations(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, users(w.stores["b"]))
	require.Equal(t, 1, records(w.stores["b"], "evidence/"))

	for _, k := range w.stores["b"].Keys() {
		w.stores["b"].Remove(k)
	}
	w.stores["b"].Set("their/object", []byte("x"))
	_, _ = w.open().ResumeMigrations(t.Context(), nil)
	_, _ = r.ResumeMigrations(t.Context(), nil)
	require.NotEmpty(t, users(w.stores["b"]))
}

// TestPromotedInTheMiddleOfAMigration: a site that is being filled is not enough for a promotion; and if it is promoted
// by force, the site that is left keeps what it alone has.
func TestPromotedInTheMiddleOfAMigration(t *testing.T) {
	w, reported := stopped(t, true)
	v := w.lose("a")
	r := v.open()
	require.ErrorIs(t, promote(r, "c", false), router.ErrTooFewSites)
	_ = promote(r, "c", true)
	_, _ = v.open().ResumeMigrations(t.Context(), nil)
	require.NoError(t, v.check(1, reported), "the last copy stays")
}

// TestARefusedPromotionChangesNothing: the home site was down for a moment, and the promotion was refused.
func TestARefusedPromotionChangesNothing(t *testing.T) {
	w := newWorld(t, 1, "a", "b")
	p := w.process()
	r := p.mustOpen()
	p.cut(true, "a")
	require.ErrorIs(t, promote(r, "b", false), router.ErrTooFewSites)
	p.cut(false, "a")
	require.NoError(t, create(r, "k", "x"))
}

func TestMigrationsWithoutTheHomeSite(t *testing.T) {
	w, _ := stopped(t, false)
	v := *w
	v.names = []string{"b", "c"}
	_, err := v.open().ResumeMigrations(t.Context(), nil)
	require.ErrorIs(t, err, router.ErrHomeDown)
	_, err = w.open().Migrate(t.Context(), nil, nil)
	require.ErrorIs(t, err, router.ErrPlan)
}

// TestAWriteThatADriverRepeats: the first answer is lost, and the driver's own second try is told that the object exists.
// Nobody may build on it before it is where it has to be.
func TestAWriteThatADriverRepeats(t *testing.T) {
	w := newWorld(t, 2, "a", "b")
	p := w.process()
	r := p.mustOpen()
	p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
		if site == "a" && o.Kind == faultstore.Write && o.Key == "log/1" {
			return faultstore.Fail(gcerrors.FailedPrecondition).Applied()
		}
		return faultstore.Fault{}
	})
	require.Equal(t, gcerrors.FailedPrecondition, gcerrors.Code(create(r, "log/1", "x")))
	other := w.open()
	got, err := other.Bucket().ReadAll(t.Context(), "log/1")
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
	require.NoError(t, create(other, "log/2", "y"))
	require.NoError(t, w.check(2, map[string]string{"log/1": "x", "log/2": "y"}))
}

// TestEvidenceThatFailsIsOwed: a decision that could not be recorded is not used, now or later.
func TestEvidenceThatFailsIsOwed(t *testing.T) {
	w := newWorld(t, 1, "a")
	log, err := evidence.Open(t.Context(), memblob.OpenBucket(nil), "e/", nil)
	require.NoError(t, err)
	now, fails := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), false
	o := w.opts
	o.Now = func() time.Time { return now }
	o.Evidence = func(ctx context.Context, k evidence.Kind, site string, data any) error {
		if fails {
			return errors.New("full")
		}
		return log.Append(ctx, k, site, data)
	}
	rules := &law{verdict: map[residency.Place]residency.Verdict{"DE": residency.Allowed}, expires: now.AddDate(0, 1, 0)}
	r, err := router.Open(t.Context(), rules, subject, placed(w.process().sites(), "DE"), &o)
	require.NoError(t, err)
	now, rules.expires, fails = now.Add(2*time.Hour), now.AddDate(0, 2, 0), true
	require.Error(t, create(r, "1", "x"))
	require.Error(t, create(r, "2", "x"), "nor the second time")
	fails = false
	require.NoError(t, create(r, "3", "x"))
}

// TestDecisionsEndInTheMiddle: a long write and a long reconciliation outlive the decisions that they began with.
func TestDecisionsEndInTheMiddle(t *testing.T) {
	w := newWorld(t, 1, "a", "b")
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	o := w.opts
	o.Now = func() time.Time { return now }
	rules := &law{verdict: map[residency.Place]residency.Verdict{"DE": residency.Allowed, "GB": residency.Allowed}, expires: now.Add(time.Hour)}
	p := w.process()
	r, err := router.Open(t.Context(), rules, subject, placed(p.sites(), "DE", "GB"), &o)
	require.NoError(t, err)
	end := func() {
		rules.set("GB", residency.Denied)
		now = now.Add(2 * time.Hour)
	}
	write := func(key string) error {
		b, err := r.Bucket().NewWriter(t.Context(), key, &blob.WriterOptions{ContentType: "x/y"})
		require.NoError(t, err)
		_, err = b.Write([]byte("half, "))
		require.NoError(t, err)
		end()
		_, err = b.Write([]byte("and half"))
		require.NoError(t, err)
		return b.Close()
	}
	require.NoError(t, write("long"))
	require.Contains(t, users(w.stores["a"]), "long")
	require.Empty(t, users(w.stores["b"]), "it was not lawful any more when the write ended")

	rules.set("GB", residency.Allowed)
	now = now.Add(2 * time.Hour)
	for i := range 100 {
		require.NoError(t, create(r, "k/"+string(rune('A'+i)), "x"))
		w.stores["b"].Remove("k/" + string(rune('A'+i)))
	}
	copied := 0
	p.setFault(func(site string, op faultstore.Op) faultstore.Fault {
		if site == "b" && op.Kind == faultstore.Write && op.Key[0] == 'k' {
			if copied++; copied == 10 {
				end()
			}
		}
		return faultstore.Fault{}
	})
	_, _ = r.Reconcile(t.Context(), nil)
	require.Less(t, len(users(w.stores["b"])), 100, "the rest was not copied")

	// The home site itself: nothing is written anywhere.
	rules.set("GB", residency.Allowed)
	now = now.Add(2 * time.Hour)
	p.setFault(nil)
	b, err := r.Bucket().NewWriter(t.Context(), "denied", &blob.WriterOptions{ContentType: "x/y"})
	require.NoError(t, err)
	_, err = b.Write([]byte("x"))
	require.NoError(t, err)
	rules.set("DE", residency.Denied)
	now = now.Add(2 * time.Hour)
	var denied *router.DeniedError
	require.ErrorAs(t, b.Close(), &denied)
	for _, s := range w.stores {
		require.NotContains(t, users(s), "denied")
	}
}

// TestDebtsAreEvidence: what a site missed is recorded, and what it got.
func TestDebtsAreEvidence(t *testing.T) {
	w := newWorld(t, 1, "a", "b")
	notes := &diary{}
	w.opts.Evidence = notes.note
	p := w.process()
	r := p.mustOpen()
	p.cut(true, "b")
	require.NoError(t, create(r, "k", "x"))
	require.NoError(t, r.Close(t.Context()))
	require.Equal(t, 1, notes.count(`debt b {"taken":1,"open":0}`))
	p.cut(false, "b")
	_, err := p.mustOpen().Reconcile(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, 1, notes.count(`debt b {"paid":1,"open":0}`))
}
