package azureprobe_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
	"gocloud.dev/blob/memblob"

	"github.com/carekeep/carekeep/internal/servertest"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/probe"
	"github.com/carekeep/carekeep/residency/probe/azureprobe"
)

var now = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// open returns a bucket of a container at a host whose account has a SKU, or that refuses with a status.
func open(t *testing.T, host string, status int, sku string) *blob.Bucket {
	transport := servertest.Impersonate(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); r.URL.Path != "/practice" || q.Get("restype") != "account" || q.Get("comp") != "properties" {
			t.Errorf("asked for %s", r.URL)
		}
		if sku != "" {
			w.Header().Set("x-ms-sku-name", sku)
			w.Header().Set("x-ms-account-kind", "StorageV2")
		}
		if status != 200 {
			w.Header().Set("x-ms-error-code", "AuthorizationFailure")
		}
		w.WriteHeader(status)
	}))
	c, err := container.NewClientWithNoCredential("https://"+host+"/practice?sig=secret", &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{Transport: transport, Retry: policy.RetryOptions{MaxRetries: -1}}})
	require.NoError(t, err)
	b, err := azureblob.OpenBucket(t.Context(), c, nil)
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

func codes(o probe.Observation) (codes []string) {
	for _, p := range o.Problems {
		codes = append(codes, p.Code)
	}
	return codes
}

func TestProbe(t *testing.T) {
	const host = "clinic.blob.core.windows.net"
	at := func(region, sku string, level residency.Level, p ...residency.Place) residency.Location {
		return residency.Location{Provider: "azure", Region: region, Redundancy: sku, Level: level, Places: p, At: now}
	}
	for name, c := range map[string]struct {
		host    string
		status  int
		sku     string
		account *azureprobe.Account // nil: Resource Manager is not asked
		want    residency.Location
		codes   []string
	}{
		"LRS":                           {host, 200, "Standard_LRS", nil, at("", "Standard_LRS", residency.Declared), []string{"region-not-told"}},
		"RA-GRS":                        {host, 200, "Standard_RAGRS", nil, at("", "Standard_RAGRS", residency.Declared), []string{"region-not-told"}},
		"the second endpoint":           {"clinic-secondary.blob.core.windows.net", 200, "Standard_RAGRS", &azureprobe.Account{Region: "uksouth"}, at("uksouth", "Standard_RAGRS", residency.Observed), nil},
		"refused":                       {host, 403, "", nil, at("", "", residency.Declared), []string{"forbidden", "region-not-told"}},
		"Resource Manager":              {host, 200, "Standard_ZRS", &azureprobe.Account{Region: "westeurope"}, at("westeurope", "Standard_ZRS", residency.Observed), nil},
		"Resource Manager, names":       {host, 200, "Standard_GZRS", &azureprobe.Account{Region: "Brazil South", Secondary: "South Central US"}, at("brazilsouth", "Standard_GZRS", residency.Observed, "US-TX"), nil},
		"Resource Manager alone":        {host, 403, "", &azureprobe.Account{Region: "westeurope", SKU: "Standard_LRS"}, at("westeurope", "Standard_LRS", residency.Observed), []string{"forbidden"}},
		"Resource Manager without SKU":  {host, 403, "", &azureprobe.Account{Region: "westeurope"}, at("westeurope", "", residency.Declared), []string{"forbidden"}},
		"Resource Manager says nothing": {host, 200, "Standard_LRS", &azureprobe.Account{}, at("", "Standard_LRS", residency.Declared), []string{"account-unreadable"}},
		"object replication":            {host, 200, "Standard_LRS", &azureprobe.Account{Region: "uksouth", Replicas: []string{"uksouth", "canadaeast"}}, at("uksouth", "Standard_LRS", residency.Observed, "CA-QC"), nil},
		"object replication to nobody knows where": {host, 200, "Standard_LRS", &azureprobe.Account{Region: "uksouth", Replicas: []string{"mars"}}, at("uksouth", "Standard_LRS", residency.Observed), []string{"replica-unplaced"}},
		"a delivery network":                       {"clinic.azureedge.net", 200, "Standard_LRS", nil, residency.Location{At: now}, []string{"edge", "provider-unknown"}},
		"nobody's host":                            {"storage.example.com", 200, "Standard_LRS", nil, residency.Location{At: now}, []string{"provider-unknown"}},
	} {
		t.Run(name, func(t *testing.T) {
			opts := &azureprobe.Options{Now: func() time.Time { return now }}
			if c.account != nil {
				opts.Account = func(_ context.Context, name string) (azureprobe.Account, error) {
					require.Equal(t, "clinic", name)
					return *c.account, nil
				}
			}
			o, err := azureprobe.New(opts).Probe(t.Context(), open(t, c.host, c.status, c.sku), probe.Ref{URL: "azblob://practice"})
			require.NoError(t, err)
			require.Equal(t, c.want, o.Location)
			require.Equal(t, c.codes, codes(o))
			if c.want.Redundancy != "" {
				require.Equal(t, c.want.Redundancy, o.Evidence["sku"])
			}
			for _, v := range o.Evidence {
				require.NotContains(t, v, "practice")
				require.NotContains(t, v, "secret")
			}
		})
	}

	// The declared region's pair follows from the redundancy that was observed.
	o, err := azureprobe.New(nil).Probe(t.Context(), open(t, host, 200, "Standard_GRS"), probe.Ref{})
	require.NoError(t, err)
	declared := residency.Location{Provider: "azure", Region: "canadaeast", Redundancy: "LRS"}
	match, why := probe.Compare(declared, o)
	require.False(t, match)
	require.Contains(t, why, "leave the region")
	require.Equal(t, "Standard_GRS", o.Settle(declared).Redundancy)
	require.Equal(t, residency.Declared, o.Settle(declared).Level)
}

func TestErrors(t *testing.T) {
	b := open(t, "clinic.blob.core.windows.net", 500, "")
	_, err := azureprobe.New(nil).Probe(t.Context(), b, probe.Ref{})
	var e *probe.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 500, e.Status)
	_, err = azureprobe.New(nil).Probe(t.Context(), open(t, "clinic.blob.core.windows.net", 404, ""), probe.Ref{})
	require.ErrorIs(t, err, probe.ErrBucket)
	for _, name := range []string{"practice", "secret", "clinic"} {
		require.NotContains(t, err.Error(), name)
	}

	ctx, cancel := context.WithCancel(t.Context())
	opts := &azureprobe.Options{Account: func(context.Context, string) (azureprobe.Account, error) {
		return azureprobe.Account{}, errors.New("the secret of the practice")
	}}
	b = open(t, "clinic.blob.core.windows.net", 200, "Standard_LRS")
	o, err := azureprobe.New(opts).Probe(ctx, b, probe.Ref{})
	require.NoError(t, err)
	require.Equal(t, []string{"account-unreadable"}, codes(o))
	require.NotContains(t, o.Problems[0].Text, "secret")
	opts.Account = func(context.Context, string) (azureprobe.Account, error) {
		cancel()
		return azureprobe.Account{Region: "uksouth"}, nil
	}
	_, err = azureprobe.New(opts).Probe(ctx, b, probe.Ref{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = azureprobe.New(opts).Probe(ctx, b, probe.Ref{})
	require.ErrorIs(t, err, context.Canceled)

	mem := memblob.OpenBucket(nil)
	defer mem.Close()
	_, err = azureprobe.New(nil).Probe(t.Context(), mem, probe.Ref{})
	require.ErrorContains(t, err, "azureblob")
}

// TestServer asks a real server. It is on loopback, so only the options can say whose it is, and its account is
// geo-redundant on paper.
func TestServer(t *testing.T) {
	url := servertest.Azure(t)
	b, err := blob.OpenBucket(t.Context(), url)
	require.NoError(t, err)
	defer b.Close()
	o, err := azureprobe.New(nil).Probe(t.Context(), b, probe.Ref{URL: url})
	require.NoError(t, err)
	require.Equal(t, []string{"provider-unknown"}, codes(o))
	require.Equal(t, "127.0.0.1", o.Evidence["host"])

	opts := &azureprobe.Options{
		Provider: func(host string) (string, bool) { return "azure", host == "127.0.0.1" },
		Account: func(_ context.Context, name string) (azureprobe.Account, error) {
			require.Equal(t, "devstoreaccount1", name)
			return azureprobe.Account{Region: "canadaeast"}, nil
		},
	}
	o, err = azureprobe.New(opts).Probe(t.Context(), b, probe.Ref{URL: url})
	require.NoError(t, err)
	require.Equal(t, "Standard_RAGRS", o.Location.Redundancy)
	require.Equal(t, "canadaeast", o.Location.Region)
	require.Equal(t, residency.Observed, o.Location.Level)
	require.WithinDuration(t, time.Now(), o.Location.At, time.Minute)
}
