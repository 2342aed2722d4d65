package residency

import (
	"net"
	"strings"
)

// endpoints are the hosts of storage providers, one pattern a line, in the providers' public documentation and, for
// those that speak S3, in the provider files of rclone. A pattern is compared from its end. A leading "*" is any
// number of labels, none included, for a bucket's name; "?" is one label; "{r}" is the region. Where the
// host does not name it, the region is the third word, or not known. The first pattern that fits decides.
const endpoints = `
aws *.s3.amazonaws.com
aws *.s3-accelerate.amazonaws.com
aws *.s3-accelerate.dualstack.amazonaws.com
aws *.s3-global.amazonaws.com
aws *.s3-{r}.amazonaws.com
aws *.s3.{r}.amazonaws.com
aws *.s3.dualstack.{r}.amazonaws.com
aws *.s3-fips.{r}.amazonaws.com
aws *.s3-fips.dualstack.{r}.amazonaws.com
aws *.s3-accesspoint.{r}.amazonaws.com
aws *.s3-accesspoint-fips.{r}.amazonaws.com
aws *.s3.{r}.vpce.amazonaws.com
aws *.s3.{r}.amazonaws.com.cn
aws *.s3.dualstack.{r}.amazonaws.com.cn
aws *.s3.{r}.amazonaws.eu
gcp *.storage.googleapis.com
gcp storage.{r}.rep.googleapis.com
gcp storage.{r}.p.rep.googleapis.com
azure *.blob.core.windows.net
azure *.blob.storage.azure.net
azure *.blob.core.usgovcloudapi.net
azure *.blob.core.chinacloudapi.cn
wasabi *.s3.wasabisys.com
wasabi *.s3.{r}.wasabisys.com
backblaze *.s3.{r}.backblazeb2.com
ovhcloud *.s3.{r}.io.cloud.ovh.net
ovhcloud *.s3.{r}.io.cloud.ovh.us
scaleway *.s3.{r}.scw.cloud
hetzner *.{r}.your-objectstorage.com
ionos *.s3.eu-central-1.ionoscloud.com de
ionos *.s3.{r}.ionoscloud.com
impossiblecloud *.{r}.storage.impossibleapi.net
outscale *.oos.{r}.outscale.com
linode *.{r}.linodeobjects.com
digitalocean *.{r}.cdn.digitaloceanspaces.com
digitalocean *.{r}.digitaloceanspaces.com
rackcorp s3.rackcorp.com global
rackcorp {r}.s3.rackcorp.com
ibm-cos *.s3.{r}.cloud-object-storage.appdomain.cloud
ibm-cos *.s3.private.{r}.cloud-object-storage.appdomain.cloud
ibm-cos *.s3.direct.{r}.cloud-object-storage.appdomain.cloud
ibm-cos *.s3.private.?.{r}.cloud-object-storage.appdomain.cloud
ibm-cos *.s3.direct.?.{r}.cloud-object-storage.appdomain.cloud
ibm-cos *.s3.?.{r}.cloud-object-storage.appdomain.cloud
oci *.objectstorage.{r}.oraclecloud.com
oci *.objectstorage.{r}.oraclegovcloud.com
oci *.objectstorage.{r}.oraclegovcloud.uk
oci *.objectstorage.{r}.oraclecloud.eu
oci *.objectstorage.{r}.oraclecloud20.com
oci *.objectstorage.{r}.oci.customer-oci.com
exoscale *.sos-{r}.exo.io
catalystcloud *.{r}.catalystcloud.io
mega-s4 *.s3.{r}.megas4.com
storj *.storjshare.io global
intercolo *.{r}.i3storage.com
idrive-e2 *.s3.{r}.idrivee2.com
`

// ProviderOf returns the storage provider of an endpoint's host, such as s3.eu-west-1.wasabisys.com, and the region
// that the host names, both in the words of the region table. A port, a final full stop and the name of a bucket in
// front do not matter. The region is empty where the host does not name one, as storage.googleapis.com does
// not: then ask the provider. A provider that is not in the region table, and a region that is not, still need
// their places declared. For an unknown host ok is false.
//
// It is an inference from a name: a proxy can have any name. See [Inferred].
func ProviderOf(host string) (provider, region string, ok bool) {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if l == "" || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", "", false
		}
	}
	if before, fits := strings.CutSuffix(host, ".r2.cloudflarestorage.com"); fits {
		return "cloudflare-r2", jurisdictionOf(before), true
	}
	for line := range strings.Lines(endpoints) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		if region, fits := matchHost(strings.Split(words[1], "."), labels); fits {
			if len(words) == 3 {
				region = words[2]
			}
			return words[0], region, true
		}
	}
	return "", "", false
}

// jurisdictionOf returns the region of an R2 endpoint from what stands before the common part of its host: an account,
// with a jurisdiction after it, if any, and a bucket before it, if any. An account is 32 hexadecimal digits,
// so it cannot be taken for a jurisdiction.
func jurisdictionOf(before string) string {
	labels := strings.Split(before, ".")
	last := labels[len(labels)-1]
	if len(labels) > 1 && !account(last) {
		return "jurisdiction:" + last
	}
	return "auto"
}

// account reports whether s has the form of an account of Cloudflare.
func account(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// matchHost reports whether the labels of a host fit those of a pattern, and what the region is.
func matchHost(pattern, labels []string) (region string, ok bool) {
	if pattern[0] == "*" {
		pattern = pattern[1:]
		labels = labels[max(0, len(labels)-len(pattern)):]
	}
	if len(labels) != len(pattern) {
		return "", false
	}
	for i, p := range pattern {
		before, after, capture := strings.Cut(p, "{r}")
		switch {
		case p == "?":
		case capture:
			if region, ok = strings.CutPrefix(labels[i], before); !ok {
				return "", false
			}
			if region, ok = strings.CutSuffix(region, after); !ok || region == "" {
				return "", false
			}
		case p != labels[i]:
			return "", false
		}
	}
	return region, true
}
