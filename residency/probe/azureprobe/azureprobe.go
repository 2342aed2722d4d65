// Package azureprobe asks Azure Blob Storage how a container's account keeps its copies.
//
// The data plane tells an account's kind and redundancy and not its region. So the region is the operator's
// declaration, and the level Declared, unless [Options.Account] asks Azure Resource Manager. With redundancy such as
// GRS copies are kept in the region's pair as well, which the region table knows and which can be in another
// country: that of brazilsouth is in the United States.
//
// Azure shows an account's redundancy to those who hold its key or a shared access signature. To others it
// refuses; give Account then.
package azureprobe

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/probe"
)

// Account is what Azure Resource Manager says of a storage account.
type Account struct {
	Region    string // properties.primaryLocation, such as "westeurope"
	Secondary string // properties.secondaryLocation, if any
	SKU       string // sku.name, such as "Standard_GRS"; used where the data plane does not tell
	// Replicas are the regions of accounts to which object replication policies copy.
	Replicas []string
}

// Options are the options of [New].
type Options struct {
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Account asks Azure Resource Manager for an account by its name, as by AccountsClient.GetProperties of
	// armstorage. Its error is a problem in the observation. Nil: the region is not observed.
	Account func(ctx context.Context, name string) (Account, error)
	// Provider names the provider behind a host that [residency.ProviderOf] does not know.
	Provider func(host string) (provider string, ok bool)
}

// New returns a prober for buckets of azureblob. It sends requests with the bucket's own client, and so with its
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

func (p *prober) Probe(ctx context.Context, b *blob.Bucket, ref probe.Ref) (probe.Observation, error) {
	var c *container.Client
	if !b.As(&c) {
		return probe.Observation{}, errors.New("probe Azure: the bucket was not opened by azureblob")
	}
	e, err := ref.Endpoint()
	if err != nil {
		return probe.Observation{}, err
	}
	o := probe.Observation{Location: residency.Location{At: p.Now()}}
	var resp *http.Response
	info, err := c.GetAccountInfo(policy.WithCaptureResponse(ctx, &resp), nil)
	if err != nil {
		f := failure(err)
		if f.Status != 401 && f.Status != 403 {
			return probe.Observation{}, f
		}
		o.Report(probe.Problem{Code: "forbidden",
			Text: "Azure refuses to tell the account's redundancy: open the container with the account's key or a signature, or give Options.Account"})
	}
	if resp == nil || resp.Request == nil || !p.provider(resp.Request.URL, e, &o) {
		return o, nil
	}
	if info.SKUName != nil {
		o.Location.Redundancy = string(*info.SKUName)
		o.Note("sku", o.Location.Redundancy)
	}
	if info.AccountKind != nil {
		o.Note("account-kind", string(*info.AccountKind))
	}
	if err := p.manager(ctx, resp.Request.URL, &o); err != nil {
		return probe.Observation{}, err
	}
	return o, nil
}

// provider works out who answered, and reports whether that is known.
func (p *prober) provider(u *url.URL, e probe.Endpoint, o *probe.Observation) bool {
	host := strings.ToLower(u.Hostname())
	o.Note("host", host)
	at, err := probe.Ref{URL: u.Host}.Endpoint()
	if err == nil && at.Edge != "" {
		e.Edge = at.Edge
	}
	if e.Edge != "" {
		o.Report(probe.Problem{Code: "edge", Unplaced: true,
			Text: "requests go through a " + e.Edge + ", which takes them anywhere: open the container at the account's own endpoint"})
	}
	provider, ok := at.Provider, at.Provider != ""
	if !ok && p.Provider != nil {
		provider, ok = p.Provider(host)
	}
	if !ok {
		o.Report(probe.Problem{Code: "provider-unknown",
			Text: "nobody known is behind the host that answered: declare the container's places"})
		return false
	}
	o.Location.Provider = provider
	return true
}

// manager adds what Azure Resource Manager says, if it may be asked.
func (p *prober) manager(ctx context.Context, u *url.URL, o *probe.Observation) error {
	if p.Account == nil {
		o.Report(probe.Problem{Code: "region-not-told",
			Text: "Azure's data plane does not tell the region, so it is as declared: give Options.Account to have it observed"})
		return nil
	}
	a, err := p.Account(ctx, account(u))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || a.Region == "" {
		o.Report(probe.Problem{Code: "account-unreadable",
			Text: "the account's region could not be asked for: grant Microsoft.Storage/storageAccounts/read"})
		return nil
	}
	o.Location.Region = plain(a.Region)
	o.Note("primary-location", a.Region)
	o.Note("secondary-location", a.Secondary)
	o.Note("replica-regions", strings.Join(a.Replicas, " "))
	if o.Location.Redundancy == "" {
		o.Location.Redundancy = a.SKU
		o.Note("sku", a.SKU)
	}
	if o.Location.Redundancy != "" {
		o.Location.Level = residency.Observed
	}
	for _, region := range append([]string{a.Secondary}, a.Replicas...) {
		if region = plain(region); region != "" && region != o.Location.Region {
			o.Replica(o.Location.Provider, region)
		}
	}
	return nil
}

// plain turns the name that people see, such as "West Europe", into that of interfaces.
func plain(region string) string { return strings.ToLower(strings.ReplaceAll(region, " ", "")) }

// account returns the name of the account: the first label of its host, less what marks the secondary endpoint. An
// emulator has it in the path.
func account(u *url.URL) string {
	host := u.Hostname()
	if host == "localhost" || net.ParseIP(host) != nil {
		name, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		return name
	}
	name, _, _ := strings.Cut(host, ".")
	return strings.TrimSuffix(name, "-secondary")
}

// failure makes an error that is safe to show of the client's.
func failure(err error) *probe.Error {
	f := &probe.Error{Op: "probe Azure: get account information", Err: err}
	if e := (*azcore.ResponseError)(nil); errors.As(err, &e) {
		f.Status, f.Code = e.StatusCode, e.ErrorCode
	}
	return f
}
