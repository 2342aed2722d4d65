package residency_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/carekeep/carekeep/residency"
)

const r2Account = "0123456789abcdef0123456789abcdef"

// named is an endpoint with what it names.
type named struct{ host, provider, region string }

// hosts are endpoints with the provider and the region that they name.
var hosts = []named{
	{"s3.eu-west-1.amazonaws.com", "aws", "eu-west-1"},
	{"s3.dualstack.ap-southeast-2.amazonaws.com", "aws", "ap-southeast-2"},
	{"s3-fips.us-gov-west-1.amazonaws.com", "aws", "us-gov-west-1"},
	{"s3-fips.dualstack.us-east-2.amazonaws.com", "aws", "us-east-2"},
	{"s3-us-west-2.amazonaws.com", "aws", "us-west-2"},
	{"s3.amazonaws.com", "aws", ""},
	{"s3-accelerate.amazonaws.com", "aws", ""},
	{"mrap.accesspoint.s3-global.amazonaws.com", "aws", ""},
	{"point-123456789012.s3-accesspoint.eu-central-1.amazonaws.com", "aws", "eu-central-1"},
	{"bucket.vpce-0a1b2c3d-4e5f.s3.eu-west-3.vpce.amazonaws.com", "aws", "eu-west-3"},
	{"s3.cn-north-1.amazonaws.com.cn", "aws", "cn-north-1"},
	{"s3.eusc-de-east-1.amazonaws.eu", "aws", "eusc-de-east-1"},
	{"storage.googleapis.com", "gcp", ""},
	{"storage.europe-west3.rep.googleapis.com", "gcp", "europe-west3"},
	{"storage.me-central2.p.rep.googleapis.com", "gcp", "me-central2"},
	{"practice.blob.core.windows.net", "azure", ""},
	{"practice-secondary.blob.core.windows.net", "azure", ""},
	{"practice.z12.blob.storage.azure.net", "azure", ""},
	{"practice.blob.core.usgovcloudapi.net", "azure", ""},
	{"practice.blob.core.chinacloudapi.cn", "azure", ""},
	{r2Account + ".r2.cloudflarestorage.com", "cloudflare-r2", "auto"},
	{"bucket." + r2Account + ".r2.cloudflarestorage.com", "cloudflare-r2", "auto"},
	{r2Account + ".eu.r2.cloudflarestorage.com", "cloudflare-r2", "jurisdiction:eu"},
	{r2Account + ".us.r2.cloudflarestorage.com", "cloudflare-r2", "jurisdiction:us"},
	{r2Account + ".fedramp.r2.cloudflarestorage.com", "cloudflare-r2", "jurisdiction:fedramp"},
	{"s3.wasabisys.com", "wasabi", ""},
	{"s3.eu-west-1.wasabisys.com", "wasabi", "eu-west-1"},
	{"s3.us-west-004.backblazeb2.com", "backblaze", "us-west-004"},
	{"s3.gra.io.cloud.ovh.net", "ovhcloud", "gra"},
	{"s3.us-east-va.io.cloud.ovh.us", "ovhcloud", "us-east-va"},
	{"s3.fr-par.scw.cloud", "scaleway", "fr-par"},
	{"fsn1.your-objectstorage.com", "hetzner", "fsn1"},
	{"s3.eu-central-1.ionoscloud.com", "ionos", "de"},
	{"s3.eu-central-2.ionoscloud.com", "ionos", "eu-central-2"},
	{"eu-west-1.storage.impossibleapi.net", "impossiblecloud", "eu-west-1"},
	{"oos.cloudgouv-eu-west-1.outscale.com", "outscale", "cloudgouv-eu-west-1"},
	{"ap-south-1.linodeobjects.com", "linode", "ap-south-1"},
	{"syd1.digitaloceanspaces.com", "digitalocean", "syd1"},
	{"bucket.syd1.cdn.digitaloceanspaces.com", "digitalocean", "syd1"},
	{"s3.rackcorp.com", "rackcorp", "global"},
	{"au-nsw.s3.rackcorp.com", "rackcorp", "au-nsw"},
	{"s3.eu-gb.cloud-object-storage.appdomain.cloud", "ibm-cos", "eu-gb"},
	{"s3.private.eu-de.cloud-object-storage.appdomain.cloud", "ibm-cos", "eu-de"},
	{"s3.direct.mel01.cloud-object-storage.appdomain.cloud", "ibm-cos", "mel01"},
	{"s3.tok.ap.cloud-object-storage.appdomain.cloud", "ibm-cos", "ap"},
	{"s3.private.dal.us.cloud-object-storage.appdomain.cloud", "ibm-cos", "us"},
	{"objectstorage.eu-zurich-1.oraclecloud.com", "oci", "eu-zurich-1"},
	{"namespace.compat.objectstorage.ap-sydney-1.oraclecloud.com", "oci", "ap-sydney-1"},
	{"namespace.objectstorage.uk-london-1.oci.customer-oci.com", "oci", "uk-london-1"},
	{"objectstorage.uk-gov-london-1.oraclegovcloud.uk", "oci", "uk-gov-london-1"},
	{"objectstorage.eu-frankfurt-2.oraclecloud.eu", "oci", "eu-frankfurt-2"},
	{"objectstorage.eu-jovanovac-1.oraclecloud20.com", "oci", "eu-jovanovac-1"},
	{"sos-ch-gva-2.exo.io", "exoscale", "ch-gva-2"},
	{"object-storage.nz-por-1.catalystcloud.io", "catalystcloud", "nz-por-1"},
	{"s3.eu-luxembourg-1.megas4.com", "mega-s4", "eu-luxembourg-1"},
	{"gateway.storjshare.io", "storj", "global"},
	{"gateway.eu1.storjshare.io", "storj", "global"},
	{"de-fra.i3storage.com", "intercolo", "de-fra"},
	{"s3.eu-west-1.idrivee2.com", "idrive-e2", "eu-west-1"},
}

func TestProviderOf(t *testing.T) {
	for _, c := range hosts {
		for _, host := range []string{c.host, strings.ToUpper(c.host), c.host + ".", c.host + ":443", c.host + ".:9000"} {
			provider, region, ok := residency.ProviderOf(host)
			require.True(t, ok, host)
			require.Equal(t, c.provider, provider, host)
			require.Equal(t, c.region, region, host)
		}
		if _, known := residency.LookupRegion(c.provider, c.region); c.region != "" && c.provider != "idrive-e2" {
			require.True(t, known, "%s is in the table", c.host)
		}
	}
}

// Every provider of the table can be told by its endpoint.
func TestEveryProviderHasAnEndpoint(t *testing.T) {
	named := map[string]bool{}
	for _, c := range hosts {
		named[c.provider] = true
	}
	for _, r := range regions(t) {
		require.True(t, named[r.Provider], r.Provider)
	}
}

func TestProviderOfUnknownHosts(t *testing.T) {
	for _, host := range []string{
		"", ".", ":", ":443", "localhost", "localhost:9000", "127.0.0.1", "[::1]:9000", "minio.practice.example", "amazonaws.com",
		"s3.eu-west-1.amazonaws.com.evil.example", "xs3.eu-west-1.amazonaws.com", "ec2.eu-west-1.amazonaws.com",
		"s3.eu-west-1.evilamazonaws.com", "evilstorage.googleapis.com", "www.googleapis.com", "blob.core.windows.net.example",
		"r2.cloudflarestorage.com", "evilr2.cloudflarestorage.com", "a..s3.eu-west-1.amazonaws.com", "s3..amazonaws.com", "s3-.amazonaws.com",
		"s3.eu west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com/bucket", "https://s3.eu-west-1.amazonaws.com", "s3.éu.amazonaws.com", "f004.backblazeb2.com",
	} {
		_, _, ok := residency.ProviderOf(host)
		require.False(t, ok, "%q", host)
	}
}

// A name of a bucket in front of the host cannot move it to another place, however it is made. At RackCorp alone a
// bucket at the global host looks like a region, so there the endpoint's own host must be asked for.
func TestBucketNameDoesNotChangeTheRegion(t *testing.T) {
	exact := map[string]bool{ // hosts that no name can stand in front of
		"storage.europe-west3.rep.googleapis.com": true, "storage.me-central2.p.rep.googleapis.com": true,
	}
	label := rapid.OneOf(
		rapid.SampledFrom([]string{"s3", "eu-west-1", "us-east-1", "private", "dualstack", "eu", "us", "s3-eu-west-1", "objectstorage", "storage", "r2", "amazonaws", "com"}),
		rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?`),
	)
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(hosts).Filter(func(c named) bool { return c.provider != "rackcorp" }).Draw(t, "host")
		name := strings.Join(rapid.SliceOfN(label, 1, 4).Draw(t, "bucket"), ".")
		provider, region, ok := residency.ProviderOf(name + "." + c.host)
		if exact[c.host] {
			require.False(t, ok)
			return
		}
		require.True(t, ok)
		require.Equal(t, c.provider, provider)
		require.Equal(t, c.region, region)
	})
}

func FuzzProviderOf(f *testing.F) {
	for _, c := range hosts {
		f.Add(c.host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		provider, region, ok := residency.ProviderOf(host)
		if !ok {
			require.Empty(t, provider+region)
			return
		}
		require.NotEmpty(t, provider)
		require.NotContains(t, region, ".")
		require.Equal(t, strings.ToLower(region), region)
		again, same, ok := residency.ProviderOf(strings.ToUpper(host))
		require.True(t, ok && again == provider && same == region)
	})
}
