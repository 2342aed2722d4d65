package probe_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob/memblob"
	"pgregory.net/rapid"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/probe"
	"github.com/carekeep/carekeep/residency/probe/probetest"
)

type (
	location = residency.Location
	places   = []residency.Place
)

var now = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func seen(l location) probe.Observation {
	l.At = now
	return probe.Observation{Location: l}
}

func TestCompare(t *testing.T) {
	frankfurt := location{Provider: "aws", Region: "eu-central-1"}
	for name, c := range map[string]struct {
		declared, seen location
		why            string // empty: it matches
	}{
		"the same":                {frankfurt, frankfurt, ""},
		"case does not matter":    {location{Provider: "gcp", Region: "europe-west3"}, location{Provider: "GCP", Region: "EUROPE-WEST3"}, ""},
		"nothing was told":        {frankfurt, location{}, ""},
		"no region was told":      {frankfurt, location{Provider: "aws"}, ""},
		"no region was declared":  {location{Provider: "aws"}, frankfurt, ""},
		"another region":          {frankfurt, location{Provider: "aws", Region: "us-east-1"}, "us-east-1"},
		"same name, other shop":   {location{Provider: "aws", Region: "eu-west-1"}, location{Provider: "wasabi", Region: "eu-west-1"}, "wasabi"},
		"said to be onsite":       {location{Places: places{"DE-HE"}}, frankfurt, "without a provider"},
		"two regions, any order":  {location{Provider: "gcp", Region: "europe-west4+europe-west1"}, location{Provider: "gcp", Region: "europe-west1+EUROPE-WEST4"}, ""},
		"one of two regions":      {location{Provider: "gcp", Region: "europe-west1"}, location{Provider: "gcp", Region: "europe-west1+europe-west2"}, "europe-west2"},
		"a replica":               {frankfurt, location{Provider: "aws", Region: "eu-central-1", Places: places{"US-VA"}}, "US-VA"},
		"a replica next door":     {frankfurt, location{Provider: "aws", Region: "eu-central-1", Places: places{"DE-BE"}}, "DE-BE"},
		"a declared replica":      {location{Provider: "aws", Region: "eu-central-1", Places: places{"US-VA"}}, location{Provider: "aws", Region: "eu-central-1", Places: places{"US-VA"}}, ""},
		"a country was declared":  {location{Provider: "aws", Region: "eu-central-1", Places: places{"US"}}, location{Provider: "aws", Region: "eu-central-1", Places: places{"US-VA"}}, ""},
		"a part was declared":     {location{Provider: "aws", Region: "eu-central-1", Places: places{"US-VA"}}, location{Provider: "aws", Region: "eu-central-1", Places: places{"US"}}, "US"},
		"fewer replicas":          {location{Provider: "aws", Region: "eu-central-1", Places: places{"US-VA"}}, frankfurt, ""},
		"GRS was declared local":  {location{Provider: "azure", Region: "brazilsouth", Redundancy: "ZRS"}, location{Provider: "azure", Redundancy: "Standard_RAGRS"}, "leave the region"},
		"LRS is less than GRS":    {location{Provider: "azure", Region: "brazilsouth", Redundancy: "GRS"}, location{Provider: "azure", Redundancy: "Standard_LRS"}, ""},
		"the pair of GRS":         {location{Provider: "azure", Region: "canadaeast", Redundancy: "GRS"}, location{Provider: "azure", Redundancy: "GRS", Places: places{"CA-ON"}}, ""},
		"the pair, but ZRS":       {location{Provider: "azure", Region: "canadaeast", Redundancy: "ZRS"}, location{Provider: "azure", Redundancy: "ZRS", Places: places{"CA-ON"}}, "CA-ON"},
		"redundancy not declared": {location{Provider: "azure", Region: "canadaeast"}, location{Provider: "azure", Redundancy: "GRS"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			match, why := probe.Compare(c.declared, seen(c.seen))
			require.Equal(t, c.why == "", match, why)
			require.Equal(t, c.why == "", why == "")
			require.Contains(t, why, c.why)
		})
	}
	o := seen(frankfurt)
	o.Report(probe.Problem{Code: "advice", Text: "do it"})
	match, _ := probe.Compare(frankfurt, o)
	require.True(t, match)
	o.Report(probe.Problem{Code: "edge", Text: "requests go anywhere", Unplaced: true})
	match, why := probe.Compare(frankfurt, o)
	require.False(t, match)
	require.Equal(t, "requests go anywhere", why)
}

func TestSettle(t *testing.T) {
	const (
		declared = residency.Declared
		inferred = residency.Inferred
		observed = residency.Observed
		attested = residency.Attested
	)
	for name, c := range map[string]struct {
		declared, seen, want location
	}{
		"what was seen counts": {
			location{Provider: "aws", Region: "eu-central-1", Level: observed}, location{Provider: "aws", Region: "us-east-1", Level: observed},
			location{Provider: "aws", Region: "us-east-1", Level: observed}},
		"an operator observes nothing": {
			location{Provider: "aws", Region: "eu-central-1", Level: observed}, location{Provider: "aws", Region: "eu-central-1", Level: inferred},
			location{Provider: "aws", Region: "eu-central-1", Level: inferred}},
		"attested": {
			location{Provider: "aws", Region: "eu-central-1", Level: attested}, location{Provider: "aws", Region: "eu-central-1", Level: observed},
			location{Provider: "aws", Region: "eu-central-1", Level: attested}},
		"attested, but elsewhere": {
			location{Provider: "aws", Region: "eu-central-1", Level: attested}, location{Provider: "aws", Region: "us-east-1", Level: observed},
			location{Provider: "aws", Region: "us-east-1", Level: observed}},
		"attested, but only inferred": {
			location{Provider: "aws", Region: "eu-central-1", Level: attested}, location{Provider: "aws", Region: "eu-central-1", Level: inferred},
			location{Provider: "aws", Region: "eu-central-1", Level: inferred}},
		"a probe cannot attest": {
			location{Provider: "aws", Region: "eu-central-1"}, location{Provider: "aws", Region: "eu-central-1", Level: attested},
			location{Provider: "aws", Region: "eu-central-1", Level: observed}},
		"the region is not on the data plane": {
			location{Provider: "azure", Region: "brazilsouth", Level: attested}, location{Provider: "azure", Redundancy: "Standard_GRS", Level: observed},
			location{Provider: "azure", Region: "brazilsouth", Redundancy: "Standard_GRS", Level: declared}},
		"the redundancy was refused": {
			location{Provider: "azure", Region: "westeurope", Redundancy: "ZRS"}, location{Provider: "azure", Region: "westeurope", Level: observed},
			location{Provider: "azure", Region: "westeurope", Redundancy: "ZRS", Level: declared}},
		"onsite": {
			location{Places: places{"AU-NSW"}}, location{},
			location{Places: places{"AU-NSW"}, Level: declared}},
		"the host is nobody's": {
			location{Provider: "wasabi", Region: "eu-west-1", Level: attested}, location{Level: inferred},
			location{Provider: "wasabi", Region: "eu-west-1", Level: declared}},
		"another provider takes nothing over": {
			location{Provider: "aws", Region: "eu-west-1", Redundancy: "x"}, location{Provider: "wasabi", Level: observed},
			location{Provider: "wasabi", Level: observed}},
		"places add up": {
			location{Provider: "aws", Region: "eu-central-1", Places: places{"US-VA", "IE"}}, location{Provider: "aws", Region: "eu-central-1", Places: places{"IE", "GB"}, Level: observed},
			location{Provider: "aws", Region: "eu-central-1", Places: places{"GB", "IE", "US-VA"}, Level: observed}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.At = now
			o := seen(c.seen)
			got := o.Settle(c.declared)
			require.Equal(t, c.want, got)
			require.Equal(t, seen(c.seen), o)
		})
	}
	o := seen(location{Provider: "aws", Region: "eu-central-1", Places: places{"IE"}, Level: observed})
	o.Report(probe.Problem{Code: "replica-unplaced", Unplaced: true})
	got := o.Settle(location{Provider: "aws", Region: "eu-central-1"})
	require.Empty(t, got.Region, "the rules would take the place as known")
	got.Places[0] = "XX"
	require.Equal(t, places{"IE"}, o.Location.Places)
	o.Location.Provider = ""
	got = o.Settle(location{Places: places{"DE"}})
	require.Empty(t, got.Places, "the rules would take the place as known")
}

// TestSettleIsNeverBetterKnown: whatever was declared, the level is not above what was observed, but for Attested.
func TestSettleIsNeverBetterKnown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		any := func(label string) location {
			return location{
				Provider:   rapid.SampledFrom([]string{"", "aws", "azure", "gcp"}).Draw(t, label+" provider"),
				Region:     rapid.SampledFrom([]string{"", "eu-west-1", "westeurope", "EU", "a+b"}).Draw(t, label+" region"),
				Redundancy: rapid.SampledFrom([]string{"", "LRS", "Standard_GRS"}).Draw(t, label+" redundancy"),
				Places:     rapid.SliceOf(rapid.SampledFrom(places{"DE", "US-VA", "US"})).Draw(t, label+" places"),
				Level:      residency.Level(rapid.IntRange(0, 3).Draw(t, label+" level")),
			}
		}
		declared, o := any("declared"), seen(any("seen"))
		if rapid.Bool().Draw(t, "unplaced") {
			o.Report(probe.Problem{Unplaced: true})
		}
		match, _ := probe.Compare(declared, o)
		got := o.Settle(declared)
		switch {
		case got.Level == residency.Attested:
			require.True(t, match && declared.Level == residency.Attested && o.Location.Level >= residency.Observed)
		default:
			require.LessOrEqual(t, got.Level, o.Location.Level)
		}
		for _, p := range o.Location.Places {
			if got.Provider != "" {
				require.Contains(t, got.Places, p, "a replica was lost")
			}
		}
		if o.Location.Region != "" && got.Region != "" {
			require.True(t, got.Region == o.Location.Region && got.Provider == o.Location.Provider || o.Location.Provider == "")
		}
	})
}

func TestReplica(t *testing.T) {
	o := seen(location{Provider: "gcp", Region: "europe-west1"})
	for _, r := range []string{"europe-west2", "europe-west2", "EUR4"} {
		o.Replica("gcp", r)
	}
	require.Equal(t, places{"FI-09", "GB-ENG", "NL-GR"}, o.Location.Places)
	require.Empty(t, o.Problems)
	for i, r := range []string{"nowhere-1", "EU", ""} { // "EU" is somewhere in the union
		o.Replica("gcp", r)
		require.Len(t, o.Problems, i+1)
		require.True(t, o.Problems[i].Unplaced)
	}
	o.Replica("cloudflare-r2", "weur") // a hint
	o.Replica("aws", "sa-west-1")      // announced
	require.Len(t, o.Problems, 5)
}

func TestObservationIsData(t *testing.T) {
	o := seen(location{Provider: "aws", Region: "eu-central-1", Level: residency.Observed})
	o.Note("host", "s3.eu-central-1.amazonaws.com")
	o.Note("empty", "")
	o.Report(probe.Problem{Code: "edge", Text: "text", Unplaced: true})
	b, err := json.Marshal(o)
	require.NoError(t, err)
	require.JSONEq(t, `{"location":{"provider":"aws","region":"eu-central-1","level":"observed","at":"2026-11-22T03:00:00Z"},
		"evidence":{"host":"s3.eu-central-1.amazonaws.com"},"problems":[{"code":"edge","text":"text","unplaced":true}]}`, string(b))
	var back probe.Observation
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, o, back)
}

func TestError(t *testing.T) {
	inner := &fs.PathError{Op: "head", Path: "practice-of-doctor-who", Err: errors.New("x")}
	for status, want := range map[int]string{
		0: "op: no answer: check the endpoint, the credentials and the network", 404: "op: there is no such bucket: check its name and its endpoint",
		503: `op: the provider answered with status 503 ("SlowDown")`,
	} {
		err := error(&probe.Error{Op: "op", Status: status, Code: "SlowDown", Err: inner})
		require.EqualError(t, err, want)
		require.ErrorIs(t, err, inner)
		require.Equal(t, status == 404, errors.Is(err, probe.ErrBucket))
	}
	long := (&probe.Error{Status: 500, Code: strings.Repeat("é\n", 100), Err: inner}).Error()
	require.Less(t, len(long), 300)
	require.NotContains(t, long, "\n")
}

func TestFake(t *testing.T) {
	b := memblob.OpenBucket(nil)
	defer b.Close()
	var p probe.Prober = &probetest.Fake{}
	_, err := p.Probe(t.Context(), b, probe.Ref{})
	require.ErrorContains(t, err, "not told")
	f := probetest.At(location{Provider: "aws", Region: "eu-central-1", Places: places{"IE"}})
	p = f
	o, err := p.Probe(t.Context(), b, probe.Ref{Bucket: "one"})
	require.NoError(t, err)
	require.Equal(t, "eu-central-1", o.Location.Region)
	o.Location.Places[0] = "XX" // another's copy
	o, err = p.Probe(t.Context(), b, probe.Ref{Bucket: "two"})
	require.NoError(t, err)
	require.Equal(t, places{"IE"}, o.Location.Places)
	f.Fail(probe.ErrBucket)
	_, err = p.Probe(t.Context(), b, probe.Ref{Bucket: "three"})
	require.ErrorIs(t, err, probe.ErrBucket)
	f.Set(seen(location{Provider: "aws", Region: "us-east-1"}))
	o, err = p.Probe(t.Context(), b, probe.Ref{Bucket: "four"})
	require.NoError(t, err)
	require.Equal(t, "us-east-1", o.Location.Region)
	require.Equal(t, []probe.Ref{{Bucket: "one"}, {Bucket: "two"}, {Bucket: "three"}, {Bucket: "four"}}, f.Refs())
}
