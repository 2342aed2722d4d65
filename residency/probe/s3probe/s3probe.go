package s3probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/probe"
)

// Options are the options of [New].
type Options struct {
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Provider names the provider behind a host that [residency.ProviderOf] does not know, such as that of a hospital
	// group's own storage, and the region if the host has one.
	Provider func(host string) (provider, region string, ok bool)
}

// New returns a prober for buckets of s3blob. It sends requests with the bucket's own client, and so with its
// credentials, retries and time limits.
func New(opts *Options) probe.Prober {
	p := &prober{}
	if opts != nil {
		p.Options = *opts
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	return p
}

type prober struct{ Options }

// Names of providers that need care.
const (
	amazon     = "aws"
	cloudflare = "cloudflare-r2"
	google     = "gcp"
)

func (p *prober) Probe(ctx context.Context, b *blob.Bucket, ref probe.Ref) (probe.Observation, error) {
	var c *s3.Client
	if !b.As(&c) {
		return probe.Observation{}, errors.New("probe S3: the bucket was not opened by s3blob")
	}
	e, err := ref.Endpoint()
	if err != nil {
		return probe.Observation{}, err
	}
	if e.Bucket == "" {
		return probe.Observation{}, errors.New("probe S3: the bucket's name is not given")
	}
	o := probe.Observation{Location: residency.Location{At: p.Now()}}
	if c.Options().UseAccelerate {
		e.Edge = "transfer acceleration"
	}
	if e.Edge != "" {
		o.Location.Provider = e.Provider
		o.Note("endpoint", e.Host)
		edge(&o, e.Edge)
		return o, nil
	}
	if outpost(e.Bucket) {
		o.Location.Provider = amazon
		o.Report(probe.Problem{Code: "outpost", Unplaced: true,
			Text: "the bucket is on an outpost, which stands where its owner put it: declare its places and no provider"})
		return o, nil
	}
	a, err := head(ctx, c, e.Bucket)
	if err != nil {
		return probe.Observation{}, err
	}
	if err := p.locate(ctx, c, e, a, &o); err != nil {
		return probe.Observation{}, err
	}
	if o.Location.Provider == "" || o.Location.Provider == cloudflare {
		return o, nil // nobody knows what its regions mean; it has no replication
	}
	if err := replicas(ctx, c, e.Bucket, a.region, &o); err != nil {
		return probe.Observation{}, err
	}
	return o, nil
}

// outpost reports whether a bucket is reached through an access point of an outpost, by its ARN or its alias.
func outpost(bucket string) bool {
	return strings.Contains(bucket, ":s3-outposts:") || strings.HasSuffix(bucket, "--op-s3")
}

// edge reports what requests pass through.
func edge(o *probe.Observation, name string) {
	o.Report(probe.Problem{Code: "edge", Unplaced: true,
		Text: fmt.Sprintf("requests go through a %s, which takes them anywhere: open the bucket at its region's endpoint", name)})
}

// locate works out the provider and the region from an answer to HeadBucket.
func (p *prober) locate(ctx context.Context, c *s3.Client, e probe.Endpoint, a answer, o *probe.Observation) error {
	at, err := probe.Ref{Bucket: e.Bucket, URL: a.host}.Endpoint()
	if err != nil {
		return fmt.Errorf("probe S3: the host that answered has no usable name")
	}
	if at.Provider == "" && p.Provider != nil {
		at.Provider, at.Region, _ = p.Provider(at.Host)
	}
	o.Note("host", strings.TrimPrefix(at.Host, strings.ToLower(e.Bucket)+"."))
	o.Note("status", strconv.Itoa(a.status))
	o.Note("x-amz-bucket-region", a.region)
	o.Note("location-type", a.kind)
	if a.status == 401 || a.status == 403 {
		o.Report(probe.Problem{Code: "forbidden", Text: "the provider refuses to show the bucket: grant s3:ListBucket"})
	}
	if at.Edge != "" {
		edge(o, at.Edge)
	}
	if e.Host != "" && e.Host != at.Host && !strings.HasSuffix(at.Host, "."+e.Host) {
		o.Report(probe.Problem{Code: "endpoint-differs", Text: "another host answered than the one in the bucket's URL: see that nothing redirects requests"})
	}
	if at.Provider == "" {
		o.Report(probe.Problem{Code: "provider-unknown",
			Text: "nobody known is behind the bucket's host, so the name of its region means nothing: declare its places"})
		return nil
	}
	o.Location.Provider = at.Provider
	if a.kind == string(types.LocationTypeLocalZone) {
		o.Report(probe.Problem{Code: "local-zone", Unplaced: true,
			Text: "the bucket is in a local zone, which need not be in the country of its region: declare its places and no provider"})
	}
	switch {
	case at.Provider == cloudflare:
		jurisdiction(at.Region, o)
	case a.region != "" && at.Provider != google:
		told(at, a.region, o)
	default:
		return inferred(ctx, c, at, a, o)
	}
	return nil
}

// jurisdiction takes the place of an R2 bucket from its endpoint's host, which is the only promise that there is. What
// R2 answers elsewhere is a hint.
func jurisdiction(region string, o *probe.Observation) {
	if r, ok := residency.LookupRegion(cloudflare, region); ok && r.Kind == residency.Jurisdiction {
		o.Location.Region, o.Location.Level = r.Name, residency.Inferred
		return
	}
	o.Location.Region = cmp.Or(region, "auto")
	o.Report(probe.Problem{Code: "no-jurisdiction",
		Text: "the bucket is at no jurisdiction's endpoint, so it can be anywhere: make one in a jurisdiction, and open it at that endpoint"})
}

// told takes the region that the provider said. A word that the table does not know, as storage software has a
// default for it, gives way to the region of the host.
func told(at probe.Endpoint, region string, o *probe.Observation) {
	o.Location.Region, o.Location.Level = region, residency.Observed
	if strings.EqualFold(at.Region, region) || at.Region == "" {
		return
	}
	if _, ok := residency.LookupRegion(at.Provider, region); !ok {
		o.Location.Region, o.Location.Level = at.Region, residency.Inferred
		o.Report(probe.Problem{Code: "region-not-told",
			Text: "the provider gives a region that the table does not have, so the endpoint's is taken: declare the places if it is new"})
		return
	}
	o.Report(probe.Problem{Code: "region-differs", Text: "the bucket is in another region than its endpoint: open it at the endpoint of its region"})
}

// inferred takes the region from the host, or where that has none, from the older GetBucketLocation. Only Amazon's
// answer to that is as good as the header.
func inferred(ctx context.Context, c *s3.Client, at probe.Endpoint, a answer, o *probe.Observation) error {
	if at.Region != "" {
		o.Location.Region, o.Location.Level = at.Region, residency.Inferred
	}
	// Google answers "EU" here of buckets whose two regions only its own interface tells.
	if a.status == 200 && at.Provider != google {
		constraint, ok, err := constraint(ctx, c, at.Bucket)
		if err != nil {
			return err
		}
		if ok && at.Provider == amazon {
			o.Note("location-constraint", cmp.Or(constraint, "(empty)"))
			o.Location.Region, o.Location.Level = classic(constraint), residency.Observed
			return nil
		}
		if _, known := residency.LookupRegion(at.Provider, constraint); ok && known && at.Region == "" {
			o.Note("location-constraint", constraint)
			o.Location.Region, o.Location.Level = constraint, residency.Inferred
		}
	}
	text := "the provider does not tell the bucket's region, so it is that of the endpoint's name: where that does not do, see its contract"
	if at.Provider == google {
		text = "Google does not tell the bucket's regions through this interface: open it by gcsblob and probe it by gcsprobe"
	}
	o.Report(probe.Problem{Code: "region-not-told", Text: text})
	return nil
}

// classic turns what GetBucketLocation says of Amazon's oldest regions into their names.
func classic(constraint string) string {
	switch constraint {
	case "":
		return "us-east-1"
	case "EU":
		return "eu-west-1"
	}
	return constraint
}
