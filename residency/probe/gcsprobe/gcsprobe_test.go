package gcsprobe_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcp"
	"google.golang.org/api/option"

	"github.com/carekeep/carekeep/internal/servertest"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/probe"
	"github.com/carekeep/carekeep/residency/probe/gcsprobe"
)

var now = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

type attributes = map[string]any

// open returns a bucket whose client believes to talk to Google, or to another endpoint.
func open(t *testing.T, status int, answer any, opts ...option.ClientOption) *blob.Bucket {
	client := servertest.Impersonate(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/b/practice") {
			status, answer = 404, nil
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	}))
	b, err := gcsblob.OpenBucket(t.Context(), &gcp.HTTPClient{Client: *client}, "practice", &gcsblob.Options{ClientOptions: opts})
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
	at := func(region string, level residency.Level) residency.Location {
		return residency.Location{Provider: "gcp", Region: region, Level: level, At: now}
	}
	chosen := func(regions ...string) attributes { return attributes{"dataLocations": regions} }
	for name, c := range map[string]struct {
		status   int
		answer   attributes
		endpoint string
		want     residency.Location
		codes    []string
	}{
		"a region": {status: 200, answer: attributes{"location": "EUROPE-WEST2", "locationType": "region"},
			want: at("europe-west2", residency.Observed)},
		"a region that the table does not have": {status: 200, answer: attributes{"location": "MARS-NORTH1", "locationType": "region"},
			want: at("MARS-NORTH1", residency.Observed)},
		"two regions with a name": {status: 200, answer: attributes{"location": "EUR5", "locationType": "dual-region", "rpo": "ASYNC_TURBO"},
			want: at("EUR5", residency.Observed)},
		"two regions that were chosen": {status: 200,
			answer: attributes{"location": "EU", "locationType": "dual-region", "customPlacementConfig": chosen("EUROPE-WEST4", "EUROPE-WEST1")},
			want:   at("europe-west1+europe-west4", residency.Observed)},
		"two regions that nobody tells": {status: 200, answer: attributes{"location": "ASIA", "locationType": "dual-region"},
			want: at("ASIA", residency.Observed), codes: []string{"placement-missing"}},
		"a multi-region": {status: 200, answer: attributes{"location": "US", "locationType": "multi-region"},
			want: at("US", residency.Observed)},
		"a zone": {status: 200,
			answer: attributes{"location": "US-EAST1", "locationType": "zone", "customPlacementConfig": chosen("US-EAST1-B")},
			want:   at("us-east1", residency.Observed)},
		"refused": {status: 403, answer: attributes{"error": attributes{"code": 403, "message": "practice"}},
			want: residency.Location{Provider: "gcp", Level: residency.Declared, At: now}, codes: []string{"forbidden"}},
		"a regional endpoint": {status: 200, answer: attributes{"location": "EUROPE-WEST3", "locationType": "region"}, endpoint: "https://storage.europe-west3.rep.googleapis.com/storage/v1/",
			want: at("europe-west3", residency.Observed)},
		"nobody's host": {status: 200, answer: attributes{"location": "EUROPE-WEST3", "locationType": "region"}, endpoint: "https://storage.example.com/storage/v1/",
			want: residency.Location{At: now}, codes: []string{"provider-unknown"}},
	} {
		t.Run(name, func(t *testing.T) {
			var opts []option.ClientOption
			if c.endpoint != "" {
				opts = append(opts, option.WithEndpoint(c.endpoint))
			}
			b := open(t, c.status, c.answer, opts...)
			o, err := gcsprobe.New(&gcsprobe.Options{Now: func() time.Time { return now }}).Probe(t.Context(), b, probe.Ref{URL: "gs://practice"})
			require.NoError(t, err)
			require.Equal(t, c.want, o.Location)
			require.Equal(t, c.codes, codes(o))
			if c.status == 200 {
				require.Equal(t, c.answer["location"], o.Evidence["location"])
				require.Equal(t, c.answer["locationType"], o.Evidence["location-type"])
			}
			require.NotEmpty(t, o.Evidence["host"])
			for _, v := range o.Evidence {
				require.NotContains(t, v, "practice")
			}
			match, _ := probe.Compare(residency.Location{Provider: "gcp", Region: "nowhere"}, o)
			require.Equal(t, c.want.Region == "", match)
		})
	}
}

func TestErrors(t *testing.T) {
	ref := probe.Ref{Bucket: "practice"}
	_, err := gcsprobe.New(nil).Probe(t.Context(), open(t, 404, attributes{"error": attributes{"code": 404, "message": "practice"}}), ref)
	require.ErrorIs(t, err, probe.ErrBucket)
	require.NotContains(t, err.Error(), "practice")

	var tries atomic.Int32
	client := servertest.Impersonate(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tries.Add(1)
		w.WriteHeader(503)
	}))
	b, err := gcsblob.OpenBucket(t.Context(), &gcp.HTTPClient{Client: *client}, "practice", nil)
	require.NoError(t, err)
	defer b.Close()
	_, err = gcsprobe.New(nil).Probe(t.Context(), b, ref)
	var e *probe.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 503, e.Status)
	require.EqualValues(t, 3, tries.Load(), "the client would go on for ever")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = gcsprobe.New(nil).Probe(ctx, b, ref)
	require.True(t, errors.Is(err, context.Canceled))

	mem := memblob.OpenBucket(nil)
	defer mem.Close()
	_, err = gcsprobe.New(nil).Probe(t.Context(), mem, ref)
	require.ErrorContains(t, err, "gcsblob")
	_, err = gcsprobe.New(nil).Probe(t.Context(), b, probe.Ref{})
	require.ErrorContains(t, err, "name is not given")
}

// TestUnseen: a client that does not show its host is believed less.
func TestUnseen(t *testing.T) {
	hide := roundTripper(func(r *http.Request) (*http.Response, error) {
		w := &http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/json"}}, Request: r, Body: http.NoBody}
		b, err := json.Marshal(attributes{"location": "EUROPE-WEST3", "locationType": "region"})
		w.Body = body{strings.NewReader(string(b))}
		return w, err
	})
	c, err := storage.NewClient(t.Context(), option.WithHTTPClient(&http.Client{Transport: hide}))
	require.NoError(t, err)
	b, err := gcsblob.OpenBucket(t.Context(), nil, "practice", &gcsblob.Options{Client: c})
	require.NoError(t, err)
	defer b.Close()
	o, err := gcsprobe.New(nil).Probe(t.Context(), b, probe.Ref{Bucket: "practice"})
	require.NoError(t, err)
	require.Equal(t, residency.Inferred, o.Location.Level)
	require.Equal(t, "europe-west3", o.Location.Region)
	require.Equal(t, []string{"host-unseen"}, codes(o))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type body struct{ *strings.Reader }

func (body) Close() error { return nil }

// TestServer asks a real server over HTTP/1.1. It is on loopback, so only the options can say whose it is.
func TestServer(t *testing.T) {
	url := servertest.GCS(t)
	b, err := blob.OpenBucket(t.Context(), url)
	require.NoError(t, err)
	defer b.Close()
	o, err := gcsprobe.New(nil).Probe(t.Context(), b, probe.Ref{URL: url})
	require.NoError(t, err)
	require.Equal(t, []string{"provider-unknown"}, codes(o))
	require.Equal(t, "127.0.0.1", o.Evidence["host"])
	require.Empty(t, o.Location.Region)

	own := func(host string) (string, bool) { return "gcp", host == "127.0.0.1" }
	o, err = gcsprobe.New(&gcsprobe.Options{Provider: own}).Probe(t.Context(), b, probe.Ref{URL: url})
	require.NoError(t, err)
	require.Equal(t, "europe-west3", o.Location.Region)
	require.Equal(t, residency.Observed, o.Location.Level)
	require.WithinDuration(t, time.Now(), o.Location.At, time.Minute)

	_, err = gcsprobe.New(nil).Probe(t.Context(), b, probe.Ref{Bucket: "another", URL: url})
	require.ErrorIs(t, err, probe.ErrBucket)
}
