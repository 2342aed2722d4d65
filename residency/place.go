package residency

import "strings"

// own returns the code of ISO 3166-1 of a part that has one, and p otherwise. ISO lists Aruba and Hong Kong as parts of
// countries as well, as NL-AW and CN-HK, where the law of that country does not go.
func (p Place) own() Place {
	switch p {
	case "CN-HK", "CN-MO", "CN-TW",
		"FR-BL", "FR-GF", "FR-GP", "FR-MF", "FR-MQ", "FR-NC", "FR-PF", "FR-PM", "FR-RE", "FR-TF", "FR-WF", "FR-YT",
		"NL-AW", "NL-CW", "NL-SX",
		"US-AS", "US-GU", "US-MP", "US-PR", "US-UM", "US-VI":
		return p[3:]
	case "FR-971":
		return "GP"
	case "FR-972":
		return "MQ"
	case "FR-973":
		return "GF"
	case "FR-974":
		return "RE"
	case "FR-976":
		return "YT"
	case "FI-01":
		return "AX"
	case "NL-BQ1", "NL-BQ2", "NL-BQ3":
		return "BQ"
	case "NO-21", "NO-22":
		return "SJ"
	}
	return p
}

// within says whether p lies within q. It is not known where q is a part of p.
func (p Place) within(q Place) truth {
	p, q = p.own(), q.own()
	switch {
	case p == q || strings.HasPrefix(string(p), string(q)+"-"):
		return yes
	case strings.HasPrefix(string(q), string(p)+"-"):
		return unsure
	}
	return no
}

// set returns the name of the set that a list of places stands for with a leading "@", and whether it does.
func (p Place) set() (string, bool) { return strings.CutPrefix(string(p), "@") }
