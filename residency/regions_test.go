package residency_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/carekeep/carekeep/residency"
)

func regions(t require.TestingT) []residency.Region {
	all, err := residency.Regions()
	require.NoError(t, err)
	return all
}

func TestRegionTable(t *testing.T) {
	count := map[string]int{}
	for _, r := range regions(t) {
		count[r.Provider]++
		require.NotEmpty(t, r.Source, r.Name)
		require.True(t, r.Checked.Valid(), r.Name)
		for _, p := range r.Places {
			require.True(t, p.Valid() || p == "@EU" || p == "@ASIA", "%s %s", r.Name, p)
		}
		for _, name := range []string{r.Name, strings.ToUpper(r.Name), strings.ToLower(r.Name)} {
			found, ok := residency.LookupRegion(r.Provider, name)
			require.True(t, ok)
			require.Equal(t, r, found)
		}
	}
	require.Equal(t, map[string]int{
		"aws": 40, "azure": 77, "backblaze": 7, "catalystcloud": 2, "cloudflare-r2": 10, "digitalocean": 10,
		"exoscale": 8, "gcp": 57, "hetzner": 3, "ibm-cos": 22, "impossiblecloud": 7, "intercolo": 1, "ionos": 6,
		"linode": 21, "mega-s4": 7, "oci": 43, "outscale": 5, "ovhcloud": 15, "rackcorp": 9, "scaleway": 3,
		"storj": 1, "wasabi": 14,
	}, count)
}

// Only some rows are known well enough to say where data is.
func TestEveryRegionResolvesOrSaysWhy(t *testing.T) {
	for _, r := range regions(t) {
		redundancy := ""
		if r.Provider == "azure" {
			redundancy = "LRS"
		}
		places, problem := residency.Location{Provider: r.Provider, Region: r.Name, Redundancy: redundancy}.Resolve()
		if r.Status == residency.Announced || len(r.Places) == 0 {
			require.Empty(t, places, r.Name)
			require.Contains(t, problem, r.Name)
			continue
		}
		require.Empty(t, problem, r.Name)
		want := slices.Sorted(slices.Values(r.Places))
		require.Equal(t, want, places)
	}
}

func TestLookupRegionNeedsBoth(t *testing.T) {
	for _, k := range [][2]string{
		{"", ""}, {"aws", ""}, {"", "eu-west-1"}, {"aws", "eu-west"}, {"aws", "eu-west-11"}, {"aw", "eu-west-1"},
		{"provider", "region"}, {"aws", "eu-west-1,region"}, {"aws,eu-west-1", "region"}, {"aws\naws", "eu-west-1"}, {"azure", "Australia East"},
	} {
		_, ok := residency.LookupRegion(k[0], k[1])
		require.False(t, ok, k)
	}
}

// resolved returns the places of a location as text, or the problem.
func resolved(l residency.Location) string {
	places, problem := l.Resolve()
	if problem != "" {
		return problem
	}
	words := make([]string, len(places))
	for i, p := range places {
		words[i] = string(p)
	}
	return strings.Join(words, " ")
}

// A region's name means nothing without its provider, and the EU in a name need not be the EU.
func TestRegionTraps(t *testing.T) {
	for _, c := range []struct{ provider, region, places string }{
		{"aws", "eu-west-1", "IE"},
		{"wasabi", "eu-west-1", "GB-ENG"},
		{"impossiblecloud", "eu-west-1", "NL-NH"},
		{"aws", "eu-central-1", "DE-HE"},
		{"wasabi", "eu-central-1", "NL-NH"},
		{"linode", "eu-central-1", "DE-HE"},
		{"aws", "eu-central-2", "CH-ZH"},
		{"wasabi", "eu-central-2", "DE-HE"},
		{"ionos", "eu-central-2", "DE-BE"},
		{"impossiblecloud", "eu-central-2", "DE-HE"},
		{"aws", "eu-west-2", "GB-ENG"},
		{"wasabi", "eu-west-2", "FR-IDF"},
		{"outscale", "eu-west-2", "FR-IDF"},
		{"impossiblecloud", "eu-west-2", "GB-ENG"},
		{"aws", "ap-northeast-2", "KR-11"},
		{"wasabi", "ap-northeast-2", "JP-27"},
		{"aws", "ap-south-1", "IN-MH"},
		{"linode", "ap-south-1", "SG"},
		{"aws", "ca-central-1", "CA-QC"},
		{"wasabi", "ca-central-1", "CA-ON"},
		{"gcp", "europe-west2", "GB-ENG"},
		{"gcp", "europe-west6", "CH-ZH"},
		{"ibm-cos", "eu-gb", "GB-ENG"},
		{"oci", "eu-zurich-1", "CH-ZH"},
		{"oci", "eu-jovanovac-1", "RS"},
		{"oci", "eu-frankfurt-2", "DE-HE"},
		// Errors of a public data set.
		{"aws", "ap-east-2", "TW"},
		{"aws", "us-west-1", "US-CA"},
		{"aws", "us-west-2", "US-OR"},
		{"aws", "ap-southeast-6", "NZ-AUK"},
		// Dual-regions cross borders.
		{"gcp", "EUR4", "FI-09 NL-GR"},
		{"gcp", "EUR5", "BE-WHT GB-ENG"},
		{"gcp", "EUR7", "DE-HE GB-ENG"},
		{"gcp", "EUR8", "CH-ZH DE-HE"},
		{"gcp", "NAM4", "US-IA US-SC"},
		{"gcp", "ASIA1", "JP-13 JP-27"},
		{"gcp", "AU", "AU-NSW AU-VIC"},
		{"gcp", "CA", "CA-ON CA-QC"},
		{"gcp", "ASIA-EAST1+ASIA-SOUTHEAST1", "SG TW-CHA"},
		{"gcp", "europe-west1+europe-west2", "BE-WHT GB-ENG"},
		// Groups.
		{"gcp", "EU", "@EU"},
		{"gcp", "ASIA", "@ASIA"},
		{"gcp", "US", "US"},
		{"ibm-cos", "eu", "@EU"},
		{"ibm-cos", "ap", "@ASIA"},
		{"rackcorp", "au", "AU"},
		{"catalystcloud", "nz-por-1", "NZ"},
		{"cloudflare-r2", "jurisdiction:eu", "@EU"},
		{"cloudflare-r2", "jurisdiction:us", "US"},
		{"aws", "eusc-de-east-1", "DE-BB"},
	} {
		require.Equal(t, c.places, resolved(residency.Location{Provider: c.provider, Region: c.region}), "%s %s", c.provider, c.region)
	}
}

// Azure copies to the pair of a region when the account's redundancy says so.
func TestAzureRedundancy(t *testing.T) {
	for _, c := range []struct{ region, redundancy, places string }{
		{"brazilsouth", "GRS", "BR-SP US-TX"},
		{"brazilsouth", "LRS", "BR-SP"},
		{"brazilsouth", "zrs", "BR-SP"},
		{"southcentralus", "GRS", "US-IL US-TX"}, // the pairs are not symmetric
		{"eastasia", "RA-GRS", "HK SG"},
		{"southeastasia", "RAGRS", "HK SG"},
		{"northeurope", "GZRS", "IE NL-NH"},
		{"canadaeast", "GRS", "CA-ON CA-QC"},
		{"canadacentral", "Standard_RAGZRS", "CA-ON CA-QC"},
		{"australiaeast", "RA-GZRS", "AU-NSW AU-VIC"},
		{"australiasoutheast", "StandardV2_GRS", "AU-NSW AU-VIC"},
		{"uksouth", "Standard_GRS", "GB-ENG GB-WLS"},
		{"uksouth", "Premium_ZRS", "GB-ENG"},
		{"westus3", "GRS", "US-AZ US-VA"},
		{"newzealandnorth", "ZRS", "NZ-AUK"},
		{"newzealandnorth", "", "NZ-AUK"}, // no pair to copy to
		{"chinanorth3", "GRS", "CN"},
		{"francesouth", "LRS", "FR-PAC"}, // restricted, and real
	} {
		require.Equal(t, c.places, resolved(residency.Location{Provider: "azure", Region: c.region, Redundancy: c.redundancy}), "%s %s", c.region, c.redundancy)
	}
}

func TestUnresolvedLocations(t *testing.T) {
	for _, c := range []struct {
		l    residency.Location
		want string
	}{
		{residency.Location{}, "declare the places"},
		{residency.Location{Region: "eu-west-1"}, "name the provider"},
		{residency.Location{Redundancy: "GRS", Places: []residency.Place{"AU"}}, "name the provider"},
		{residency.Location{Provider: "nobody", Region: "x"}, "not in the table"},
		{residency.Location{Provider: "aws", Region: "eu-west-9"}, "not in the table"},
		{residency.Location{Provider: "aws", Region: "eu-west-1+eu-west-3"}, "not in the table"},
		{residency.Location{Provider: "aws"}, "probe the bucket"},
		{residency.Location{Provider: "gcp"}, "without one is in the US"},
		{residency.Location{Provider: "gcp", Region: "europe-west1+EU"}, "two regions"},
		{residency.Location{Provider: "gcp", Region: "europe-west1+nowhere"}, "not in the table"},
		{residency.Location{Provider: "aws", Region: "sa-west-1"}, "no source confirms"},
		{residency.Location{Provider: "azure", Region: "taiwannorth", Redundancy: "LRS"}, "no source confirms"},
		{residency.Location{Provider: "oci", Region: "au-gov-canberra-1"}, "no source confirms"},
		{residency.Location{Provider: "azure", Region: "canadaeast"}, "give the redundancy"},
		{residency.Location{Provider: "azure", Region: "canadaeast", Redundancy: "XRS"}, "is not known at azure"},
		{residency.Location{Provider: "azure", Region: "newzealandnorth", Redundancy: "GRS"}, "has no pair"},
		{residency.Location{Provider: "aws", Region: "eu-west-1", Redundancy: "CRR"}, "declare the places of replicas"},
		{residency.Location{Provider: "cloudflare-r2", Region: "auto"}, "make a bucket in a jurisdiction"},
		{residency.Location{Provider: "cloudflare-r2", Region: "weur"}, "location hint"},
		{residency.Location{Provider: "cloudflare-r2", Region: "oc"}, "location hint"},
		{residency.Location{Provider: "cloudflare-r2", Region: "jurisdiction:fedramp"}, "no source says where"},
		{residency.Location{Provider: "cloudflare-r2", Region: "jurisdiction:au"}, "not in the table"},
		{residency.Location{Provider: "storj", Region: "global"}, "lets the provider choose"},
		{residency.Location{Provider: "rackcorp", Region: "global"}, "lets the provider choose"},
		{residency.Location{Places: []residency.Place{"UK"}}, "not a code of ISO 3166"},
		{residency.Location{Places: []residency.Place{"@EU"}}, "not a code of ISO 3166"},
		{residency.Location{Provider: "aws", Region: "eu-west-1", Places: []residency.Place{"EU"}}, "not a code of ISO 3166"},
	} {
		places, problem := c.l.Resolve()
		require.Empty(t, places, "%+v", c.l)
		require.Contains(t, problem, c.want, "%+v", c.l)
	}
}

// Where replicas are known beyond the table, they count as well.
func TestPlacesAreAdded(t *testing.T) {
	require.Equal(t, "AU-NSW", resolved(residency.Location{Places: []residency.Place{"AU-NSW"}}))
	require.Equal(t, "AU-NSW NZ", resolved(residency.Location{Provider: "aws", Region: "ap-southeast-2", Places: []residency.Place{"NZ", "AU-NSW", "NZ"}}))
	require.Equal(t, "BR-SP PT US-TX", resolved(residency.Location{Provider: "azure", Region: "brazilsouth", Redundancy: "GRS", Places: []residency.Place{"PT"}}))
}

// An observation from before a region was offered is wrong.
func TestRegionSince(t *testing.T) {
	for _, c := range []struct {
		at   string
		want string
	}{
		{"2026-08-16T23:59:59Z", "jurisdiction:us of cloudflare-r2 was not offered before 2026-08-17; look again where the bucket is"},
		{"2026-08-17T00:00:00Z", "US"},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		require.NoError(t, err)
		require.Equal(t, c.want, resolved(residency.Location{Provider: "cloudflare-r2", Region: "jurisdiction:us", At: at}))
	}
}

// The problem's text quotes the operator's words no further than is needed to find them.
func TestProblemsAreShort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := residency.Location{
			Provider:   rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "aws", "azure", "gcp", "cloudflare-r2"})).Draw(t, "provider"),
			Region:     rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "eu-west-1", "canadaeast", "EU", "auto"})).Draw(t, "region"),
			Redundancy: rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "GRS", "LRS"})).Draw(t, "redundancy"),
		}
		places, problem := l.Resolve()
		require.Equal(t, problem == "", len(places) > 0, "places and a problem, or neither")
		require.Less(t, len(problem), 1000)
		require.True(t, slices.IsSorted(places))
	})
}

func TestCodes(t *testing.T) {
	countries, parts := 0, 0
	letters := func(yield func(string) bool) {
		for a := 'A'; a <= 'Z'; a++ {
			for b := 'A'; b <= 'Z'; b++ {
				if !yield(string(a) + string(b)) {
					return
				}
			}
		}
	}
	for code := range letters {
		if residency.Place(code).Valid() {
			countries++
		}
	}
	require.Equal(t, 249, countries)
	for code := range letters {
		if residency.Place("US-" + code).Valid() {
			parts++
		}
	}
	require.Equal(t, 57, parts, "50 states, the district and 6 territories")
	for _, p := range []residency.Place{"AU", "AU-NSW", "AT-9", "GB-ENG", "FR-IDF", "FR-75C", "FR-2A", "JP-13", "ZA-WC", "ZW", "ZW-MW", "AD", "IN-TS", "AX"} {
		require.True(t, p.Valid(), p)
	}
	for _, p := range []residency.Place{
		"", "A", "au", "AUS", "UK", "EU", "EN", "XX", "AU-", "-", "AU-nsw", "AU-NS", "AU-NSW ", " AU", "AU NSW", "AU-ACT NSW", "IN-TG", "FR-75", "@EU",
		"AU-NSW-1", "US-ZZ", "AU\n", "W", "ZW-", "AX-X",
	} {
		require.False(t, p.Valid(), "%q", p)
	}
}

func TestDecodeRegionsRefuses(t *testing.T) {
	head, _, _ := strings.Cut(residency.RegionTable(), "\n")
	const row = "aws,eu-west-1,region,IE,Dublin,,,live,,US,a page,2026-11-22,"
	const dual = "gcp,a,region,BE,City,,,live,,US,a page,2026-11-22,\n" + "gcp,b,region,GB,City,,,live,,US,a page,2026-11-22,\n"
	all, err := residency.DecodeRegions("t.csv", head+"\n"+row+"\n")
	require.NoError(t, err)
	require.Len(t, all, 1)
	_, err = residency.DecodeRegions("t.csv", head+"\n"+dual+"gcp,AB,dual-region,GB;BE,Cities,,a;b,live,,US,a page,2026-11-22,\n")
	require.NoError(t, err)

	for _, c := range []struct{ data, want string }{
		{"", "t.csv:1: expected the columns"},
		{row, "t.csv:1: expected the columns"},
		{strings.Replace(head, "city", "town", 1) + "\n" + row, "t.csv:1: expected the columns"},
		{head + "\n" + row + ",extra\n", "wrong number of fields"},
		{head + "\n" + strings.Replace(row, "Dublin", `Dub"lin`, 1), `bare "`},
		{head + "\n" + row + "\n" + row, "t.csv:3: region eu-west-1 of aws occurs twice"},
		{head + "\n" + row + "\n" + strings.Replace(row, "eu-west-1", "EU-WEST-1", 1), "t.csv:3: region EU-WEST-1 of aws occurs twice"},
		{head + "\n" + strings.Replace(row, "aws", "AWS", 1), "t.csv:2: provider"},
		{head + "\n" + strings.Replace(row, "aws", "", 1), "t.csv:2: provider"},
		{head + "\n" + strings.Replace(row, "eu-west-1", "eu west", 1), "t.csv:2: region"},
		{head + "\n" + strings.Replace(row, ",region,", ",zone,", 1), `kind "zone" is not known`},
		{head + "\n" + strings.Replace(row, "live", "dead", 1), "status"},
		{head + "\n" + strings.Replace(row, "IE", "UK", 1), `places: "UK"`},
		{head + "\n" + strings.Replace(row, "IE", "IE;IE", 1), `places: "IE"`},
		{head + "\n" + strings.Replace(row, "IE", "IE;", 1), `places: ""`},
		{head + "\n" + strings.Replace(row, "IE", "@EU", 1), `places: "@EU"`},
		{head + "\n" + strings.Replace(row, "IE", "", 1), "needs them"},
		{head + "\n" + strings.Replace(row, ",region,", ",hint,", 1), "names none"},
		{head + "\n" + strings.Replace(row, "US", "USA", 1), "operator_parent"},
		{head + "\n" + strings.Replace(row, "a page", "", 1), "a source"},
		{head + "\n" + strings.Replace(row, "Dublin", "", 1), "a city"},
		{head + "\n" + strings.Replace(row, "Dublin", " Dublin", 1), "city: expected a line"},
		{head + "\n" + strings.Replace(row, "a page", "\"a\npage\"", 1), "source: expected a line"},
		{head + "\n" + strings.Replace(row, "a page", "a \xff", 1), "source: expected a line"},
		{head + "\n" + strings.Replace(row, "2026-11-22", "2026-11-31", 1), "checked"},
		{head + "\n" + strings.Replace(row, "2026-11-22", "", 1), "checked"},
		{head + "\n" + strings.Replace(row, "live,,", "live,2026,", 1), "since"},
		{head + "\n" + strings.Replace(row, "Dublin,,", "Dublin,eu-west-2,", 1), "pair"},
		{head + "\n" + strings.Replace(row, "Dublin,,", "Dublin,eu-west-1,", 1), "pair"},
		{head + "\n" + strings.Replace(row, "Dublin,,,", "Dublin,,a;b,", 1), "members"},
		{head + "\n" + dual + "gcp,AB,dual-region,BE;GB,Cities,,a,live,,US,a page,2026-11-22,", "members: expected two"},
		{head + "\n" + dual + "gcp,AB,dual-region,BE;GB,Cities,,a;c,live,,US,a page,2026-11-22,", `members: "c" is not another region`},
		{head + "\n" + dual + "gcp,AB,dual-region,BE,Cities,,a;b,live,,US,a page,2026-11-22,", "t.csv:4: places: expected those of the members"},
		{head + "\n" + strings.Replace(dual, "live", "announced", 1) + "gcp,AB,dual-region,BE;GB,Cities,,a;b,live,,US,a page,2026-11-22,", "that is open"},
	} {
		_, err := residency.DecodeRegions("t.csv", c.data)
		require.ErrorContains(t, err, c.want, c.data)
	}
}

func FuzzDecodeRegions(f *testing.F) {
	head, rest, _ := strings.Cut(residency.RegionTable(), "\n")
	f.Add(head + "\n")
	for line := range strings.Lines(rest) {
		if strings.HasPrefix(line, "gcp,EUR5") || strings.HasPrefix(line, "azure,brazil") || strings.HasPrefix(line, "cloudflare") {
			f.Add(head + "\n" + line)
		}
	}
	f.Fuzz(func(t *testing.T, data string) {
		all, err := residency.DecodeRegions("fuzz.csv", data)
		if err != nil {
			require.Nil(t, all)
			return
		}
		seen := map[string]bool{}
		for _, r := range all {
			key := r.Provider + "," + strings.ToLower(r.Name)
			require.False(t, seen[key])
			seen[key] = true
			for _, p := range r.Places {
				require.True(t, p.Valid() || strings.HasPrefix(string(p), "@"))
			}
		}
	})
}

func BenchmarkLookupRegion(b *testing.B) {
	for b.Loop() {
		residency.LookupRegion("intercolo", "de-fra")
	}
}
