package residency

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/internal/civil"
	"github.com/carekeep/carekeep/internal/strictjson"
)

// resolve returns all the places where the bytes rest, sorted and each once, or a problem that says why they
// are not known and what to do. Among the places can be the groups "@EU" and "@ASIA", where the provider promises
// no more.
func (l Location) resolve() (places []Place, problem string) {
	for _, p := range l.Places {
		if !p.Valid() {
			return nil, fmt.Sprintf("place %q is not a code of ISO 3166; declare one such as AU or AU-NSW", strictjson.Clip(string(p)))
		}
	}
	switch {
	case l.Provider != "":
		if places, problem = l.regions(); problem != "" {
			return nil, problem
		}
	case l.Region != "":
		return nil, fmt.Sprintf("region %q means nothing without its provider; name the provider", strictjson.Clip(l.Region))
	case l.Redundancy != "":
		return nil, "redundancy means nothing without a provider; name the provider and the region"
	case len(l.Places) == 0:
		return nil, "no provider and no place is given; name the provider and the region, or declare the places"
	}
	return sorted(slices.Concat(places, l.Places)), ""
}

// regions returns the places that the table gives.
func (l Location) regions() (places []Place, problem string) {
	if l.Region == "" {
		if strings.EqualFold(l.Provider, "gcp") {
			return nil, "the bucket's location is not known, and a bucket created without one is in the US; read it from the bucket"
		}
		return nil, fmt.Sprintf("the region at %s is not known; probe the bucket, or declare the region", strictjson.Clip(l.Provider))
	}
	for _, name := range l.names() {
		r, ok := LookupRegion(l.Provider, name)
		if !ok {
			return nil, fmt.Sprintf("region %q of provider %q is not in the table; check both names, or declare the places and no provider",
				strictjson.Clip(name), strictjson.Clip(l.Provider))
		}
		if problem := r.unresolved(l); problem != "" {
			return nil, problem
		}
		places = append(places, r.Places...)
		more, problem := r.copies(l.Redundancy)
		if problem != "" {
			return nil, problem
		}
		places = append(places, more...)
	}
	return places, ""
}

// names returns the regions that the location names: Google Cloud lets a customer choose two, and writes them with
// a plus sign.
func (l Location) names() []string {
	if strings.EqualFold(l.Provider, "gcp") {
		return strings.Split(l.Region, "+")
	}
	return []string{l.Region}
}

// unresolved says why a region's places are not known, or nothing.
func (r Region) unresolved(l Location) string {
	name := r.Name + " of " + r.Provider
	switch {
	case r.Kind == LocationHint:
		return fmt.Sprintf("%s is a location hint, which promises nothing; make a bucket in a jurisdiction or in a region", name)
	case r.Kind == Automatic, r.Kind == Distributed:
		return fmt.Sprintf("%s lets the provider choose the places; make a bucket in a jurisdiction or in a region", name)
	case len(r.Places) == 0:
		return fmt.Sprintf("no source says where %s is; use a region that names its places", name)
	case r.Status == Announced:
		return fmt.Sprintf("no source confirms that %s is open; use another region until the table has it as live", name)
	case !r.Since.IsZero() && !l.At.IsZero() && civil.DayOf(l.At.UTC()).Before(r.Since):
		return fmt.Sprintf("%s was not offered before %s; look again where the bucket is", name, r.Since)
	case strings.Contains(l.Region, "+") && r.Kind != SingleRegion:
		return fmt.Sprintf("%s cannot be one of two regions that a customer chose; name two regions of kind region", name)
	}
	return ""
}

// copies returns the places that a provider's word for redundancy adds.
func (r Region) copies(redundancy string) (places []Place, problem string) {
	if r.Provider != "azure" {
		if redundancy != "" {
			return nil, fmt.Sprintf("redundancy %q is not known at %s; leave it out and declare the places of replicas",
				strictjson.Clip(redundancy), r.Provider)
		}
		return nil, ""
	}
	// An account's SKU is a word such as Standard_RAGRS; people write RA-GRS.
	word := redundancy
	if _, after, cut := strings.Cut(word, "_"); cut {
		word = after
	}
	switch strings.ToUpper(strings.ReplaceAll(word, "-", "")) {
	case "LRS", "ZRS":
		return nil, ""
	case "GRS", "RAGRS", "GZRS", "RAGZRS":
		if r.Pair == "" {
			return nil, fmt.Sprintf("%s of azure has no pair, so it cannot be geo-redundant; read the account's SKU again", r.Name)
		}
		pair, ok := LookupRegion(r.Provider, r.Pair)
		if !ok {
			return nil, fmt.Sprintf("the pair of %s of azure is not in the table; declare the places", r.Name)
		}
		return pair.Places, ""
	case "":
		if r.Pair == "" {
			return nil, ""
		}
		return nil, fmt.Sprintf("%s of azure has a pair, and it is not known whether data is copied there; give the redundancy, such as ZRS or GRS", r.Name)
	}
	return nil, fmt.Sprintf("redundancy %q is not known at azure; expected LRS, ZRS, GRS, RA-GRS, GZRS or RA-GZRS", strictjson.Clip(redundancy))
}
