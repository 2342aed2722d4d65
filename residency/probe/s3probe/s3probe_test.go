package s3probe_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/blob/s3blob"

	"github.com/carekeep/carekeep/internal/servertest"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/probe"
	"github.com/carekeep/carekeep/residency/probe/s3probe"
)

var now = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// reply is what a stub answers to one kind of request about a bucket.
type reply struct {
	status int
	region string // the header
	body   string
	kind   string // the header of directory buckets
}

// stub answers for buckets, as "HEAD practice", "replication practice" or "location practice", and notes on which
// host and for which region it was asked.
type stub struct {
	replies map[string]reply
	mu      sync.Mutex
	asked   []string
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if bucket == "" || rest != "" {
		bucket, _, _ = strings.Cut(r.Host, ".")
	}
	op := r.Method
	for _, q := range []string{"replication", "location"} {
		if r.URL.Query().Has(q) {
			op = q
		}
	}
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	region := "-"
	if parts := strings.Split(scope, "/"); len(parts) > 2 {
		region = parts[2]
	}
	s.mu.Lock()
	s.asked = append(s.asked, op+" "+bucket+" "+region)
	s.mu.Unlock()
	a, ok := s.replies[op+" "+bucket]
	if !ok {
		a = reply{status: 404, body: errorBody("NoSuchBucket")}
	}
	if a.region != "" {
		w.Header().Set("x-amz-bucket-region", a.region)
	}
	if a.kind != "" {
		w.Header().Set("x-amz-bucket-location-type", a.kind)
	}
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		fmt.Fprint(w, a.body)
	}
}

func errorBody(code string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><Error><Code>` + code + `</Code><Message>practice</Message></Error>`
}

func replication(rules ...string) string {
	return `<ReplicationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Role>arn:aws:iam::1:role/r</Role>` +
		strings.Join(rules, "") + `</ReplicationConfiguration>`
}

func rule(status, to string) string {
	return `<Rule><ID>r</ID><Priority>1</Priority><Filter><Prefix></Prefix></Filter><Status>` + status +
		`</Status><Destination><Bucket>arn:aws:s3:::` + to + `</Bucket></Destination></Rule>`
}

func location(constraint string) string {
	return `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` + constraint + `</LocationConstraint>`
}

var none = reply{status: 404, body: errorBody("ReplicationConfigurationNotFoundError")}

// open returns a bucket whose client believes to talk to the endpoint, or to Amazon's in a region.
func open(t *testing.T, s *stub, endpoint, region string) *blob.Bucket {
	o := s3.Options{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider("a", "s", ""),
		HTTPClient: servertest.Impersonate(t, s), RetryMaxAttempts: 1,
	}
	if endpoint != "" {
		o.BaseEndpoint, o.UsePathStyle = aws.String(endpoint), true
	}
	b, err := s3blob.OpenBucket(t.Context(), s3.New(o), "practice", nil)
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
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := &stub{replies: c.replies}
			b := open(t, s, c.endpoint, c.region)
			o, err := s3probe.New(&s3probe.Options{Now: func() time.Time { return now }}).Probe(t.Context(), b, probe.Ref{Bucket: "practice", URL: cmp.Or(c.url, c.endpoint)})
			require.NoError(t, err)
			require.Equal(t, c.want, o.Location)
			require.Equal(t, c.codes, codes(o))
			for k, v := range c.evidence {
				require.Equal(t, v, o.Evidence[k], k)
			}
			for _, v := range o.Evidence {
				require.NotContains(t, v, "practice")
				require.NotContains(t, v, "far")
			}
		})
	}
}

// TestReplicationIsAskedInTheBucketsRegion: Amazon does not answer another region's client.
func TestReplicationIsAskedInTheBucketsRegion(t *testing.T) {
	s := &stub{replies: map[string]reply{"HEAD practice": {301, "us-east-2", "", ""}, "replication practice": none}}
	_, err := s3probe.New(nil).Probe(t.Context(), open(t, s, "", "eu-central-1"), probe.Ref{Bucket: "practice"})
	require.NoError(t, err)
	require.Equal(t, []string{"HEAD practice eu-central-1", "replication practice us-east-2"}, s.asked)
}

// TestEdges: what passes through an edge is refused, however it is told, and nothing is asked.
func TestEdges(t *testing.T) {
	const mrap = "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap"
	for _, ref := range []probe.Ref{
		{Bucket: mrap},
		{Bucket: "mfzwi23gnjvgw.mrap"},
		{Bucket: "practice", URL: "s3://practice?accelerate=true&region=eu-central-1"},
		{URL: "s3://practice?endpoint=https://s3-accelerate.amazonaws.com"},
		{URL: "s3://practice?endpoint=https://practice.ams3.cdn.digitaloceanspaces.com"},
		{Bucket: "practice", URL: "https://mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com"},
		{Bucket: "arn:aws:s3-outposts:eu-central-1:123456789012:outpost/op-1/accesspoint/p"},
	} {
		s := &stub{}
		o, err := s3probe.New(nil).Probe(t.Context(), open(t, s, "", "eu-central-1"), ref)
		require.NoError(t, err)
		require.Len(t, o.Problems, 1, ref)
		require.True(t, o.Problems[0].Unplaced)
		require.Empty(t, s.asked)
		match, _ := probe.Compare(residency.Location{Provider: "aws", Region: "eu-central-1"}, o)
		require.False(t, match)
	}
	// The client's own setting counts as well.
	c := s3.New(s3.Options{Region: "eu-central-1", UseAccelerate: true})
	b, err := s3blob.OpenBucket(t.Context(), c, "practice", nil)
	require.NoError(t, err)
	defer b.Close()
	o, err := s3probe.New(nil).Probe(t.Context(), b, probe.Ref{Bucket: "practice"})
	require.NoError(t, err)
	require.Equal(t, []string{"edge"}, codes(o))
	// An access point of a region is not an edge.
	e, err := probe.Ref{Bucket: "arn:aws:s3:eu-west-1:123456789012:accesspoint/p"}.Endpoint()
	require.NoError(t, err)
	require.Empty(t, e.Edge)
}

// TestErrors: where nothing was learned there is an error, whose text has no name.
func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		replies map[string]reply
		bucket  bool
		status  int
	}{
		"no bucket":           {nil, true, 404},
		"no bucket, a region": {map[string]reply{"HEAD practice": {404, "eu-central-1", "", ""}}, true, 404},
		"too many requests":   {map[string]reply{"HEAD practice": {429, "eu-central-1", "", ""}}, false, 429},
		"too many requests for replication": {map[string]reply{"HEAD practice": {200, "eu-central-1", "", ""},
			"replication practice": {429, "", errorBody("TooManyRequests"), ""}}, false, 429},
		"server error":        {map[string]reply{"HEAD practice": {500, "", "", ""}}, false, 500},
		"redirect to nowhere": {map[string]reply{"HEAD practice": {301, "", "", ""}}, false, 301},
		"replication fails": {map[string]reply{"HEAD practice": {200, "eu-central-1", "", ""},
			"replication practice": {503, "", errorBody("SlowDown"), ""}}, false, 503},
		"a destination fails": {map[string]reply{"HEAD practice": {200, "eu-central-1", "", ""}, "HEAD far": {500, "", "", ""},
			"replication practice": {200, "", replication(rule("Enabled", "far")), ""}}, false, 500},
	} {
		t.Run(name, func(t *testing.T) {
			s := &stub{replies: c.replies}
			o, err := s3probe.New(nil).Probe(t.Context(), open(t, s, "", "eu-central-1"), probe.Ref{Bucket: "practice"})
			var e *probe.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.status, e.Status)
			require.Equal(t, c.bucket, errors.Is(err, probe.ErrBucket))
			require.NotContains(t, err.Error(), "practice")
			require.Zero(t, o)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &stub{}
	_, err := s3probe.New(nil).Probe(ctx, open(t, s, "", "eu-central-1"), probe.Ref{Bucket: "practice"})
	require.ErrorIs(t, err, context.Canceled)
	require.NotContains(t, err.Error(), "practice")

	mem := memblob.OpenBucket(nil)
	defer mem.Close()
	_, err = s3probe.New(nil).Probe(t.Context(), mem, probe.Ref{Bucket: "practice"})
	require.ErrorContains(t, err, "s3blob")
	_, err = s3probe.New(nil).Probe(t.Context(), open(t, s, "", "eu-central-1"), probe.Ref{})
	require.ErrorContains(t, err, "name is not given")
}

// TestServer asks a real server. It is on loopback, so only the options can say whose it is. It keeps no replication,
// which is why the answers about that are a stub's in [TestProbe].
func TestServer(t *testing.T) {
	url := servertest.S3(t)
	b, err := blob.OpenBucket(t.Context(), url)
	require.NoError(t, err)
	defer b.Close()
	o, err := s3probe.New(nil).Probe(t.Context(), b, probe.Ref{URL: url})
	require.NoError(t, err)
	require.Equal(t, []string{"provider-unknown"}, codes(o))
	require.Equal(t, "eu-central-1", o.Evidence["x-amz-bucket-region"])
	require.Empty(t, o.Location.Region)

	own := func(host string) (string, string, bool) { return "wasabi", "", host == "127.0.0.1" }
	o, err = s3probe.New(&s3probe.Options{Provider: own}).Probe(t.Context(), b, probe.Ref{URL: url})
	require.NoError(t, err)
	require.Equal(t, "wasabi", o.Location.Provider)
	require.Equal(t, "eu-central-1", o.Location.Region)
	require.Equal(t, residency.Observed, o.Location.Level)
	require.WithinDuration(t, time.Now(), o.Location.At, time.Minute)
	match, why := probe.Compare(residency.Location{Provider: "wasabi", Region: "eu-west-1"}, o)
	require.False(t, match)
	require.Contains(t, why, "eu-central-1")

	_, err = s3probe.New(nil).Probe(t.Context(), b, probe.Ref{Bucket: "another", URL: url})
	require.ErrorIs(t, err, probe.ErrBucket)
}
