package probe

import (
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/carekeep/carekeep/residency"
)

// Endpoint is what the address of a bucket says.
type Endpoint struct {
	// Bucket is the name of the bucket, where the Ref or its URL has it.
	Bucket string
	// Host is in lower case, without a port. It is empty where the provider's client picks it.
	Host string
	// Provider and Region are those that the host stands for, by [residency.ProviderOf], and empty where it stands for
	// none. A region in the URL of a client is not used: it says where the client believes the bucket to be.
	Provider, Region string
	// Edge, if not empty, names what requests pass through that is not in the bucket's region, such as "transfer
	// acceleration" or "multi-region access point".
	Edge string
}

// Endpoint reads the address of a bucket. A URL has the scheme of a driver (s3, gs, azblob), or is that of
// an endpoint (http, https, or a host alone). Its errors do not show the URL, which can hold a secret.
func (r Ref) Endpoint() (Endpoint, error) {
	e := Endpoint{Bucket: r.Bucket}
	err := e.read(r.URL)
	if err != nil {
		return Endpoint{}, err
	}
	if e.Host != "" {
		e.Provider, e.Region, _ = residency.ProviderOf(e.Host)
	}
	if edge := edgeOf(e); edge != "" {
		e.Edge = edge
	}
	return e, nil
}

var errURL = errors.New("the URL of the bucket cannot be read: give it as it was opened, such as s3://bucket?endpoint=https://host")

// read takes the parts out of a URL.
func (e *Endpoint) read(raw string) error {
	if raw == "" {
		return nil
	}
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return errURL
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errURL
	}
	switch u.Scheme {
	case "http", "https":
		return e.host(u.Host)
	case "s3":
		e.bucket(u.Host)
		return e.s3(q)
	case "gs":
		e.bucket(u.Host)
		e.Provider = "gcp"
		return nil
	case "azblob":
		e.bucket(u.Host)
		return e.azure(q)
	}
	return errURL
}

func (e *Endpoint) bucket(name string) {
	if e.Bucket == "" {
		e.Bucket = name
	}
}

// host sets the host from one with or without a port.
func (e *Endpoint) host(s string) error {
	if h, _, err := net.SplitHostPort(s); err == nil {
		s = h
	}
	s = strings.TrimSuffix(strings.ToLower(strings.Trim(s, "[]")), ".")
	plain := strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == ""
	if !plain && net.ParseIP(s) == nil || slices.Contains(strings.Split(s, "."), "") {
		return errURL
	}
	e.Host = s
	return nil
}

// s3 reads the query of s3blob.
func (e *Endpoint) s3(q url.Values) error {
	if on, _ := strconv.ParseBool(q.Get("accelerate")); on {
		e.Edge = edgeAccelerate
	}
	endpoint := q.Get("endpoint")
	if endpoint == "" {
		e.Provider = "aws"
		return nil
	}
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return errURL
	}
	return e.host(u.Host)
}

// azure reads the query of azureblob. Where it has neither a domain nor an account, they come from the environment,
// and only the client knows.
func (e *Endpoint) azure(q url.Values) error {
	if cdn, _ := strconv.ParseBool(q.Get("cdn")); cdn {
		e.Edge = edgeCDN
	}
	domain, account := q.Get("domain"), q.Get("storage_account")
	emulator, _ := strconv.ParseBool(q.Get("localemu"))
	loopback := strings.HasPrefix(domain, "127.0.0.1") || strings.HasPrefix(domain, "localhost")
	switch {
	case domain != "" && (emulator || loopback || e.Edge != ""):
		return e.host(domain)
	case account == "":
		return nil
	case domain == "":
		domain = "blob.core.windows.net"
	}
	return e.host(account + "." + domain)
}

// The edges.
const (
	edgeAccelerate = "transfer acceleration"
	edgeMRAP       = "multi-region access point"
	edgeCDN        = "content delivery network"
)

// edgeOf tells by names whether requests pass through an edge. Amazon's multi-region access points have ARNs without
// a region, aliases that end in ".mrap" and hosts of their own; its accelerated hosts enter at the nearest edge.
func edgeOf(e Endpoint) string {
	bucket := strings.ToLower(e.Bucket)
	arn := strings.SplitN(bucket, ":", 6)
	global := len(arn) == 6 && arn[0] == "arn" && arn[2] == "s3" && arn[3] == "" && strings.HasPrefix(arn[5], "accesspoint")
	labels := "." + e.Host + "."
	switch {
	case global, strings.HasSuffix(bucket, ".mrap"), strings.Contains(labels, ".s3-global."):
		return edgeMRAP
	case strings.Contains(labels, ".s3-accelerate."):
		return edgeAccelerate
	case strings.Contains(labels, ".cdn.digitaloceanspaces."), strings.HasSuffix(e.Host, ".azureedge.net"),
		strings.HasSuffix(e.Host, ".azurefd.net"), strings.HasSuffix(e.Host, ".cloudfront.net"):
		return edgeCDN
	}
	return ""
}
