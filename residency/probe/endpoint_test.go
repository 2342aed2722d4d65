package probe_test

import (
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/probe"
)

const account = "0123456789abcdef0123456789abcdef"

func TestEndpoint(t *testing.T) {
	for url, want := range map[string]probe.Endpoint{
		"":              {},
		"s3://practice": {Bucket: "practice", Provider: "aws"},
		"s3://practice?region=eu-west-1&endpoint=https://s3.eu-west-1.wasabisys.com": {Bucket: "practice", Host: "s3.eu-west-1.wasabisys.com", Provider: "wasabi", Region: "eu-west-1"},
		"s3://practice?endpoint=s3.eu-central-1.amazonaws.com:443":                   {Bucket: "practice", Host: "s3.eu-central-1.amazonaws.com", Provider: "aws", Region: "eu-central-1"},
		"s3://practice?endpoint=http://127.0.0.1:9000":                               {Bucket: "practice", Host: "127.0.0.1"},
		"s3://practice?endpoint=http://[::1]:9000":                                   {Bucket: "practice", Host: "::1"},
		"s3://practice?accelerate=true":                                              {Bucket: "practice", Provider: "aws", Edge: "transfer acceleration"},
		"s3://practice?accelerate=false":                                             {Bucket: "practice", Provider: "aws"},
		"https://" + account + ".eu.r2.cloudflarestorage.com/":                       {Host: account + ".eu.r2.cloudflarestorage.com", Provider: "cloudflare-r2", Region: "jurisdiction:eu"},
		account + ".us.r2.cloudflarestorage.com":                                     {Host: account + ".us.r2.cloudflarestorage.com", Provider: "cloudflare-r2", Region: "jurisdiction:us"},
		account + ".FEDRAMP.r2.cloudflarestorage.com.":                               {Host: account + ".fedramp.r2.cloudflarestorage.com", Provider: "cloudflare-r2", Region: "jurisdiction:fedramp"},
		"https://" + account + ".r2.cloudflarestorage.com":                           {Host: account + ".r2.cloudflarestorage.com", Provider: "cloudflare-r2", Region: "auto"},
		// A bucket whose name looks like a jurisdiction is in none.
		"https://eu." + account + ".r2.cloudflarestorage.com": {Host: "eu." + account + ".r2.cloudflarestorage.com", Provider: "cloudflare-r2", Region: "auto"},
		"https://r2.cloudflarestorage.com.example.com":        {Host: "r2.cloudflarestorage.com.example.com"},
		"https://storage.example.com":                         {Host: "storage.example.com"},
		"gs://practice":                                       {Bucket: "practice", Provider: "gcp"},
		"azblob://practice":                                   {Bucket: "practice"},
		"azblob://practice?storage_account=clinic":            {Bucket: "practice", Host: "clinic.blob.core.windows.net", Provider: "azure"},
		"azblob://practice?storage_account=clinic&domain=blob.core.usgovcloudapi.net":   {Bucket: "practice", Host: "clinic.blob.core.usgovcloudapi.net", Provider: "azure"},
		"azblob://practice?storage_account=clinic&domain=127.0.0.1:10000":               {Bucket: "practice", Host: "127.0.0.1"},
		"azblob://practice?storage_account=clinic&domain=emulator:10000&localemu=true":  {Bucket: "practice", Host: "emulator"},
		"azblob://practice?storage_account=clinic&domain=clinic.azureedge.net&cdn=true": {Bucket: "practice", Host: "clinic.azureedge.net", Edge: "content delivery network"},
		"https://d111111abcdef8.cloudfront.net":                                         {Host: "d111111abcdef8.cloudfront.net", Edge: "content delivery network"},
	} {
		e, err := probe.Ref{URL: url}.Endpoint()
		require.NoError(t, err, url)
		require.Equal(t, want, e, url)
	}
	e, err := probe.Ref{Bucket: "given", URL: "gs://other"}.Endpoint()
	require.NoError(t, err)
	require.Equal(t, "given", e.Bucket)
	for _, bad := range []string{"mem://", "file:///secret", "s3://secret?endpoint=ftp://x", "s3://secret?endpoint=https://%zz", "https://", "https://sec ret/", "s3://secret?endpoint=https://", "%", "s3://a?%zz", "://"} {
		_, err := probe.Ref{URL: bad}.Endpoint()
		require.ErrorContains(t, err, "give it as it was opened", bad)
		require.NotContains(t, err.Error(), "secret")
	}
}

// FuzzEndpoint: whatever the address is, what comes out of it is a plain host which means the same by itself, and no
// R2 endpoint outside of the known jurisdictions has a place.
func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{"s3://b?endpoint=https://s3.eu-west-1.wasabisys.com", "gs://b", "azblob://b?storage_account=a&domain=x", "https://" + account + ".eu.r2.cloudflarestorage.com",
		"https://eu." + account + ".r2.cloudflarestorage.com", "http://[::1]:9000", "https://h%2f", "s3://b?endpoint=http://[fe80::1%25eth0]:1"} {
		f.Add("practice", s)
	}
	f.Add("arn:aws:s3::1:accesspoint/x.mrap", "")
	f.Fuzz(func(t *testing.T, bucket, url string) {
		e, err := probe.Ref{Bucket: bucket, URL: url}.Endpoint()
		if err != nil {
			require.Equal(t, probe.Endpoint{}, e)
			return
		}
		if bucket != "" {
			require.Equal(t, bucket, e.Bucket)
		}
		if e.Host == "" {
			require.Empty(t, e.Region)
			return
		}
		require.Equal(t, strings.ToLower(e.Host), e.Host)
		require.False(t, strings.ContainsAny(e.Host, "/\\@%? \t\n"), e.Host)
		host := e.Host
		if net.ParseIP(host) != nil && strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		again, err := probe.Ref{Bucket: bucket, URL: "https://" + host}.Endpoint()
		require.NoError(t, err)
		require.Equal(t, e.Host, again.Host)
		require.Equal(t, e.Provider+" "+e.Region, again.Provider+" "+again.Region)

		if e.Provider == "cloudflare-r2" {
			r, known := residency.LookupRegion(e.Provider, e.Region)
			fits := false
			for _, j := range []string{"eu", "us", "fedramp"} {
				fits = fits || strings.HasSuffix(e.Host, "."+j+".r2.cloudflarestorage.com")
			}
			require.Equal(t, fits, known && r.Kind == residency.Jurisdiction, e.Host)
		}
	})
}
