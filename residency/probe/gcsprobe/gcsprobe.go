// Package gcsprobe asks Google Cloud Storage where a bucket is.
//
// It reads the bucket's attributes, which needs the permission storage.buckets.get. Of a bucket in two regions
// that the customer chose, the location is only a word such as "EU"; where the data is, its placement says, and the
// observation names both regions, such as "europe-west1+europe-west4". A bucket can be moved to another location
// when it is in use, so probe it again and again.
//
// Answers of another host than Google's are not Google's: the provider is then unknown, unless the options name it.
// A client of the gRPC interface does not show the host, and its answer counts as inferred.
package gcsprobe

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"google.golang.org/api/googleapi"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/probe"
)

// Options are the options of [New].
type Options struct {
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Provider names the provider behind a host that [residency.ProviderOf] does not know, such as that of a national
	// cloud which runs Google's software.
	Provider func(host string) (provider string, ok bool)
}

// New returns a prober for buckets of gcsblob. It sends requests with the bucket's own client, and so with its
// credentials.
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

const (
	google   = "gcp"
	attempts = 3 // because the client would go on for ever
)

func (p *prober) Probe(ctx context.Context, b *blob.Bucket, ref probe.Ref) (probe.Observation, error) {
	var c *storage.Client
	if !b.As(&c) {
		return probe.Observation{}, errors.New("probe GCS: the bucket was not opened by gcsblob")
	}
	e, err := ref.Endpoint()
	if err != nil {
		return probe.Observation{}, err
	}
	if e.Bucket == "" {
		return probe.Observation{}, errors.New("probe GCS: the bucket's name is not given")
	}
	o := probe.Observation{Location: residency.Location{At: p.Now()}}
	ctx, host := listen(ctx)
	attrs, err := c.Bucket(e.Bucket).Retryer(storage.WithMaxAttempts(attempts)).Attrs(ctx)
	p.provider(host(), e.Bucket, &o)
	if err != nil {
		f := failure(err)
		if f.Status != 401 && f.Status != 403 {
			return probe.Observation{}, f
		}
		o.Location.Level = residency.Declared
		o.Report(probe.Problem{Code: "forbidden", Text: "the provider refuses to tell where the bucket is: grant storage.buckets.get"})
		return o, nil
	}
	o.Note("location", attrs.Location)
	o.Note("location-type", attrs.LocationType)
	o.Note("rpo", attrs.RPO.String())
	if attrs.CustomPlacementConfig != nil {
		o.Note("data-locations", strings.Join(attrs.CustomPlacementConfig.DataLocations, " "))
	}
	if o.Location.Provider != "" {
		place(attrs, &o)
	}
	return o, nil
}

// provider works out who answered.
func (p *prober) provider(host, bucket string, o *probe.Observation) {
	o.Note("host", strings.TrimPrefix(host, bucket+"."))
	if host == "" {
		o.Location.Provider, o.Location.Level = google, residency.Inferred
		o.Report(probe.Problem{Code: "host-unseen",
			Text: "this client does not show which host answered: probe the bucket through a client of the HTTP interface"})
		return
	}
	provider, _, ok := residency.ProviderOf(host)
	if !ok && p.Provider != nil {
		provider, ok = p.Provider(host)
	}
	if !ok {
		o.Report(probe.Problem{Code: "provider-unknown",
			Text: "nobody known is behind the host that answered, so the name of its location means nothing: declare its places"})
		return
	}
	o.Location.Provider, o.Location.Level = provider, residency.Observed
}

// place takes the regions out of a bucket's attributes.
func place(attrs *storage.BucketAttrs, o *probe.Observation) {
	o.Location.Region = attrs.Location
	row, known := residency.LookupRegion(o.Location.Provider, attrs.Location)
	if known {
		o.Location.Region = row.Name
	}
	var chosen []string
	if attrs.CustomPlacementConfig != nil && attrs.LocationType != "zone" {
		for _, l := range attrs.CustomPlacementConfig.DataLocations {
			chosen = append(chosen, strings.ToLower(l))
		}
	}
	switch {
	case len(chosen) > 0:
		slices.Sort(chosen)
		o.Location.Region = strings.Join(chosen, "+")
	case attrs.LocationType == "dual-region" && known && row.Kind == residency.MultiRegion:
		o.Report(probe.Problem{Code: "placement-missing", Unplaced: true,
			Text: "the bucket is in two regions, and the provider does not say which: read its placement in the provider's console"})
	}
}

// listen returns a context whose requests are listened to, and what gives the host of the last one. The client has no
// other way to tell it. HTTP/2 writes it under another name.
func listen(ctx context.Context) (context.Context, func() string) {
	var mu sync.Mutex
	var last string
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: func(key string, value []string) {
		if (key == "Host" || key == ":authority") && len(value) > 0 {
			mu.Lock()
			defer mu.Unlock()
			last = value[0]
		}
	}})
	return ctx, func() string {
		mu.Lock()
		defer mu.Unlock()
		if h, _, err := net.SplitHostPort(last); err == nil {
			return strings.ToLower(h)
		}
		return strings.ToLower(last)
	}
}

// failure makes an error that is safe to show of the client's.
func failure(err error) *probe.Error {
	f := &probe.Error{Op: "probe GCS: get bucket", Err: err}
	if e := (*googleapi.Error)(nil); errors.As(err, &e) {
		f.Status = e.Code
		if len(e.Errors) > 0 {
			f.Code = e.Errors[0].Reason
		}
	}
	if errors.Is(err, storage.ErrBucketNotExist) {
		f.Status = cmp.Or(f.Status, 404)
	}
	return f
}
