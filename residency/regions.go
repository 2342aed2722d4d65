package residency

import (
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/carekeep/carekeep/internal/civil"
	"github.com/carekeep/carekeep/internal/strictjson"
)

// regionTable says where the regions of storage providers are.
//
//go:embed rules/regions.csv
var regionTable string

// RegionKind says what a provider promises about the places of a region.
type RegionKind string

// The kinds. Hints, automatic and distributed regions name no place.
const (
	SingleRegion           RegionKind = "region"
	SingleSite             RegionKind = "single-site"
	DualRegion             RegionKind = "dual-region"
	ConfigurableDualRegion RegionKind = "configurable-dual-region" // two regions that the customer chose
	MultiRegion            RegionKind = "multi-region"             // somewhere within its places
	CrossRegion            RegionKind = "cross-region"             // IBM's word for a multi-region
	Jurisdiction           RegionKind = "jurisdiction"             // a promise that data stays within its places
	LocationHint           RegionKind = "hint"                     // a wish, which the provider need not fulfil
	Automatic              RegionKind = "automatic"                // the provider chooses
	Distributed            RegionKind = "distributed"              // anywhere, at many parties
)

// RegionStatus says whether a region can be used.
type RegionStatus string

// The statuses.
const (
	Live       RegionStatus = "live"
	Restricted RegionStatus = "restricted" // live, for some customers or as the pair of another region
	Announced  RegionStatus = "announced"  // or not confirmed; its place counts as unknown
)

// Region is a row of the region table. Provider and Name together are its key: eu-west-1 is in Ireland at AWS,
// in London at Wasabi and in Amsterdam at Impossible Cloud.
type Region struct {
	Provider string
	Name     string
	Kind     RegionKind
	// Places are where data rests, in ISO 3166-1 or 3166-2; "@EU" and "@ASIA" stand for places within a group
	// that the provider does not tell. Empty where it promises nothing.
	Places []Place
	City   string
	// Pair is the region of the provider that geo-redundant storage is copied to, if any.
	Pair string
	// Members are the regions that make up a dual-region.
	Members []string
	Status  RegionStatus
	Since   Day    // the first day on which it was offered, where known
	Parent  Place  // where the ultimate parent of the operator is, where known
	Source  string // what says all this
	Checked Day    // when the source was read
	Note    string
}

// Regions returns the region table in its order. It is decoded at each call, so the caller may change it.
func Regions() ([]Region, error) {
	return decodeRegions("regions.csv", regionTable)
}

// LookupRegion returns the row of a provider's region. Case does not matter, as providers answer with
// "EUROPE-WEST1" as well.
func LookupRegion(provider, region string) (Region, bool) {
	if provider == "" || region == "" || strings.ContainsAny(provider+region, "\",\r\n") {
		return Region{}, false
	}
	// One row is found by its text: to decode the whole table for it would make each decision slow.
	for line := range strings.Lines(regionTable) {
		p, rest, _ := strings.Cut(line, ",")
		name, _, _ := strings.Cut(rest, ",")
		if !strings.EqualFold(p, provider) || !strings.EqualFold(name, region) {
			continue
		}
		fields, err := csv.NewReader(strings.NewReader(line)).Read()
		if err != nil {
			return Region{}, false
		}
		r, err := decodeRegion(fields)
		return r, err == nil
	}
	return Region{}, false
}

// regionColumns is the first line of the table.
const regionColumns = "provider,region,kind,places,city,pair,members,status,since,operator_parent,source,checked,note"

// decodeRegions reads a region table strictly: its columns are exactly [regionColumns], each row can be read in one
// way only, no region occurs twice, and pairs and members exist at the same provider. The file's name is used
// in errors alone.
func decodeRegions(file, data string) ([]Region, error) {
	fail := func(line int, err error) error { return fmt.Errorf("%s:%d: %w", file, line, err) }
	if head, _, _ := strings.Cut(data, "\n"); head != regionColumns {
		return nil, fail(1, errors.New("expected the columns "+regionColumns))
	}
	in := csv.NewReader(strings.NewReader(data))
	in.FieldsPerRecord = strings.Count(regionColumns, ",") + 1
	if _, err := in.Read(); err != nil {
		return nil, fail(1, err)
	}
	var all []Region
	lines := map[string]int{} // of each region, by its key
	for {
		fields, err := in.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err) // which says the line
		}
		line, _ := in.FieldPos(0)
		r, err := decodeRegion(fields)
		if err != nil {
			return nil, fail(line, err)
		}
		if lines[r.key()] != 0 {
			return nil, fail(line, fmt.Errorf("region %s of %s occurs twice", r.Name, r.Provider))
		}
		lines[r.key()] = line
		all = append(all, r)
	}
	byKey := map[string]Region{}
	for _, r := range all {
		byKey[r.key()] = r
	}
	for _, r := range all {
		if err := r.checkLinks(byKey); err != nil {
			return nil, fail(lines[r.key()], err)
		}
	}
	return all, nil
}

// key is the same for two regions that LookupRegion would take for each other.
func (r Region) key() string { return r.Provider + "," + strings.ToLower(r.Name) }

// decodeRegion reads the fields of one row.
func decodeRegion(fields []string) (Region, error) {
	for i, f := range fields {
		if !utf8.ValidString(f) || strings.TrimSpace(f) != f || strings.ContainsAny(f, "\r\n\t") {
			column := strings.Split(regionColumns, ",")[i]
			return Region{}, fmt.Errorf("%s: expected a line of text without space around it", column)
		}
	}
	r := Region{
		Provider: fields[0], Name: fields[1], Kind: RegionKind(fields[2]), City: fields[4], Pair: fields[5],
		Status: RegionStatus(fields[7]), Parent: Place(fields[9]), Source: fields[10], Note: fields[12],
	}
	for _, p := range list(fields[3]) {
		r.Places = append(r.Places, Place(p))
	}
	r.Members = list(fields[6])
	var err error
	if fields[8] != "" {
		if r.Since, err = civil.ParseDay(fields[8]); err != nil {
			return Region{}, fmt.Errorf("since: %w", err)
		}
	}
	if r.Checked, err = civil.ParseDay(fields[11]); err != nil {
		return Region{}, fmt.Errorf("checked: %w", err)
	}
	return r, r.validate()
}

// list splits a field of several values.
func list(field string) []string {
	if field == "" {
		return nil
	}
	return strings.Split(field, ";")
}

// validate refuses a row that says too little, too much, or what cannot be.
func (r Region) validate() error {
	kinds := []RegionKind{SingleRegion, SingleSite, DualRegion, ConfigurableDualRegion, MultiRegion, CrossRegion,
		Jurisdiction, LocationHint, Automatic, Distributed}
	nowhere := r.Kind == LocationHint || r.Kind == Automatic || r.Kind == Distributed
	dual := r.Kind == DualRegion || r.Kind == ConfigurableDualRegion
	switch {
	case !strictjson.Slug(r.Provider, "-"):
		return errors.New("provider: expected words of lower case letters and digits such as ibm-cos")
	case !strictjson.Slug(strings.ToLower(r.Name), "-:_"):
		return errors.New("region: expected words such as eu-west-1")
	case !slices.Contains(kinds, r.Kind):
		return fmt.Errorf("kind %q is not known", strictjson.Clip(string(r.Kind)))
	case !slices.Contains([]RegionStatus{Live, Restricted, Announced}, r.Status):
		return errors.New("status: expected live, restricted or announced")
	case nowhere && len(r.Places) > 0:
		return fmt.Errorf("places: a region of kind %s names none", r.Kind)
	case !nowhere && r.Kind != Jurisdiction && len(r.Places) == 0:
		return fmt.Errorf("places: a region of kind %s needs them", r.Kind)
	case r.Pair != "" && r.Kind != SingleRegion:
		return errors.New("pair: only a region of kind region has one")
	case dual && len(r.Members) != 2 || !dual && len(r.Members) > 0:
		return errors.New("members: expected two in a dual-region, and none elsewhere")
	case r.Parent != "" && !r.Parent.Valid():
		return fmt.Errorf("operator_parent: no place has the code %q", strictjson.Clip(string(r.Parent)))
	case r.City == "" || r.Source == "":
		return errors.New("expected a city or area, and a source")
	}
	for i, p := range r.Places {
		group := (p == groupEU || p == groupAsia) && (r.Kind == MultiRegion || r.Kind == CrossRegion || r.Kind == Jurisdiction)
		if !p.Valid() && !group || slices.Contains(r.Places[:i], p) {
			return fmt.Errorf("places: %q is not a code of ISO 3166, or occurs twice", strictjson.Clip(string(p)))
		}
	}
	return nil
}

// The groups that stand for places that a provider does not tell.
const (
	groupEU   Place = "@EU"
	groupAsia Place = "@ASIA"
)

// checkLinks refuses a pair or a member that is not a region of the same provider, and a dual-region whose places
// are not those of its members.
func (r Region) checkLinks(all map[string]Region) error {
	find := func(name string) (Region, error) {
		m, ok := all[Region{Provider: r.Provider, Name: name}.key()]
		if !ok || m.Kind != SingleRegion || m.Status == Announced || m.Name != name || m.Name == r.Name {
			return m, fmt.Errorf("%q is not another region of %s that is open", strictjson.Clip(name), r.Provider)
		}
		return m, nil
	}
	if r.Pair != "" {
		if _, err := find(r.Pair); err != nil {
			return fmt.Errorf("pair: %w", err)
		}
	}
	var places []Place
	for _, name := range r.Members {
		m, err := find(name)
		if err != nil {
			return fmt.Errorf("members: %w", err)
		}
		places = append(places, m.Places...)
	}
	if len(r.Members) > 0 && !slices.Equal(sorted(places), sorted(r.Places)) {
		return errors.New("places: expected those of the members")
	}
	return nil
}

// sorted returns the places in order, each once.
func sorted(places []Place) []Place {
	return slices.Compact(slices.Sorted(slices.Values(places)))
}
