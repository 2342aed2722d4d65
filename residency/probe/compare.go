package probe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/residency"
)

// Compare reports whether an observation contradicts what was declared of a target, and how. What was not
// observed contradicts nothing: the level of [Observation.Settle] says what that is worth. Fewer places than declared
// match, more do not.
func Compare(declared residency.Location, o Observation) (match bool, why string) {
	seen := o.Location
	if p := o.unplaced(); p != nil {
		return false, p.Text
	}
	switch {
	case seen.Provider != "" && declared.Provider == "":
		return false, fmt.Sprintf("it was declared without a provider, and is at %s", clip(seen.Provider))
	case seen.Provider != "" && !strings.EqualFold(seen.Provider, declared.Provider):
		return false, fmt.Sprintf("it was declared to be at %s, and is at %s", clip(declared.Provider), clip(seen.Provider))
	case seen.Region != "" && declared.Region != "" && !sameRegion(seen.Region, declared.Region):
		return false, fmt.Sprintf("it was declared to be in region %s, and is in %s of %s", clip(declared.Region), clip(seen.Region), clip(seen.Provider))
	case local(declared.Redundancy) && seen.Redundancy != "" && !local(seen.Redundancy):
		return false, fmt.Sprintf("it was declared to be %s, and is %s: copies leave the region", clip(declared.Redundancy), clip(seen.Redundancy))
	}
	in := declaredPlaces(declared)
	for _, p := range seen.Places {
		if !slices.ContainsFunc(in, func(d residency.Place) bool { return d == p || strings.HasPrefix(string(p), string(d)+"-") }) {
			return false, fmt.Sprintf("copies are kept in %s, which was not declared", clip(string(p)))
		}
	}
	return true, ""
}

// Settle returns the location that the rules are to judge: what was observed, with what was declared where the
// provider does not tell. Its level is that of the weakest part. With an unplaced problem the region is left
// empty, which the rules take as not known. Attested stays of a declaration only beside an observation that agrees.
func (o Observation) Settle(declared residency.Location) residency.Location {
	l := o.Location
	l.Level = min(l.Level, residency.Observed)
	l.Places = slices.Clone(l.Places)
	if o.unplaced() != nil {
		l.Region, l.Redundancy = "", ""
		if l.Provider == "" {
			l.Places = nil
		}
		return l
	}
	if l.Provider == "" {
		l.Provider, l.Level = declared.Provider, residency.Declared
	}
	if strings.EqualFold(l.Provider, declared.Provider) {
		if l.Region == "" {
			l.Region, l.Level = declared.Region, residency.Declared
		}
		if l.Redundancy == "" && declared.Redundancy != "" {
			l.Redundancy, l.Level = declared.Redundancy, residency.Declared
		}
	}
	l.Places = slices.Compact(slices.Sorted(slices.Values(slices.Concat(l.Places, declared.Places))))
	if match, _ := Compare(declared, o); match && declared.Level == residency.Attested && l.Level == residency.Observed {
		l.Level = residency.Attested
	}
	return l
}

// sameRegion compares names of regions, and of pairs of regions that a customer chose in either order.
func sameRegion(a, b string) bool {
	parts := func(s string) []string { return slices.Sorted(strings.SplitSeq(strings.ToLower(s), "+")) }
	return slices.Equal(parts(a), parts(b))
}

// local reports whether a provider's word for redundancy, such as Azure's Standard_LRS, keeps copies in the region.
func local(redundancy string) bool {
	_, word, cut := strings.Cut(redundancy, "_")
	if !cut {
		word = redundancy
	}
	return strings.EqualFold(word, "LRS") || strings.EqualFold(word, "ZRS")
}

// declaredPlaces returns all the places that a declaration admits.
func declaredPlaces(l residency.Location) []residency.Place {
	places := slices.Clone(l.Places)
	for name := range strings.SplitSeq(l.Region, "+") {
		r, ok := residency.LookupRegion(l.Provider, name)
		if !ok {
			continue
		}
		places = append(places, r.Places...)
		if pair, ok := residency.LookupRegion(l.Provider, r.Pair); ok && l.Redundancy != "" && !local(l.Redundancy) {
			places = append(places, pair.Places...)
		}
	}
	return places
}
