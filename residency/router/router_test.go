package router_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/drivertest"
	"gocloud.dev/blob/memblob"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/router"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// allow is a decider that allows everything.
type allow struct{}

func (allow) Decide(q residency.Request) (residency.Decision, error) {
	return residency.Decision{Verdict: residency.Allowed, Rules: residency.Allowed, Places: q.Target.Location.Places, Now: q.Now}, nil
}

var subject = residency.Subject{Class: residency.Identifiable, Origins: []residency.Place{"AU-NSW"}}

// harness runs gocloud's conformance tests.
type harness struct {
	t     *testing.T
	sites []router.Site
}

func (h *harness) MakeDriver(ctx context.Context) (driver.Bucket, error) {
	r, err := router.Open(ctx, allow{}, subject, h.sites, nil)
	if err != nil {
		return nil, err
	}
	return router.Driver(r), nil
}
func (h *harness) MakeDriverForNonexistentBucket(context.Context) (driver.Bucket, error) {
	return nil, nil // Open refuses
}
func (h *harness) HTTPClient() *http.Client         { return nil }
func (h *harness) SupportsCopy() bool               { return true }
func (h *harness) SupportsNonSlashDelimiters() bool { return true }
func (h *harness) Close()                           {}

func conform(t *testing.T, sites func(t *testing.T) []router.Site) {
	drivertest.RunConformanceTests(t, func(_ context.Context, t *testing.T) (drivertest.Harness, error) {
		return &harness{t, sites(t)}, nil
	}, nil)
}

func memSites(t testing.TB, names ...string) []router.Site {
	var out []router.Site
	for _, n := range names {
		b := memblob.OpenBucket(nil)
		t.Cleanup(func() { _ = b.Close() })
		out = append(out, router.Site{Name: n, Bucket: b})
	}
	return out
}

func dirSites(t testing.TB, names ...string) []router.Site {
	var out []router.Site
	for _, n := range names {
		b, err := dirblob.OpenBucket(t.TempDir(), nil)
		require.NoError(t, err)
		t.Cleanup(func() { _ = b.Close() })
		out = append(out, router.Site{Name: n, Bucket: b})
	}
	return out
}

func TestConformance(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		conform(t, func(t *testing.T) []router.Site { return memSites(t, "a", "b", "c") })
	})
	t.Run("folders", func(t *testing.T) {
		conform(t, func(t *testing.T) []router.Site { return dirSites(t, "a", "b", "c") })
	})
}
